//! Why a session has its status: asked of whoever holds it, else as the registry has it.

use std::sync::Arc;

use super::Inner;
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::SessionId,
    },
    model::{
        process::Processes,
        session::{Session, Status},
        status::{Evidence, Explained, Source, Weight},
        syscall::SyscallPart,
    },
    runtime::BoxStream,
    session::seat::Seat,
};

impl Inner {
    /// What a process of a session calls.
    pub(super) async fn syscalls(
        &self,
        id: &SessionId,
        pid: u32,
    ) -> Outcome<BoxStream<SyscallPart>> {
        let seat = self.fleet().of_session(id)?.seat()?;
        seat.syscalls(id, pid).await
    }

    pub(super) async fn explain(&self, id: &SessionId) -> Outcome<Explained> {
        let (seat, session): (Option<Arc<dyn Seat>>, Session) = {
            let fleet = self.fleet();
            let entry = fleet.of_session(id)?;
            let session = entry.session(id).cloned();
            let session = session.ok_or_else(|| Fault::absent(format!("no such session: {id}")))?;
            (entry.seat.clone(), session)
        };
        match seat {
            Some(seat) => seat.explain(id).await,
            None => Ok(remembered(&session)),
        }
    }
}

/// What is still known of one that nobody holds.
fn remembered(session: &Session) -> Explained {
    let now = clock::wall();
    let ended = session.status == Status::Exited;
    let since = session.exited_at.or(session.status_since).unwrap_or(session.started_at);
    let evidence = Evidence {
        source: Source::Runtime,
        what: if ended { "exit" } else { "registry" }.to_owned(),
        says: Some(session.status),
        cause: None,
        since,
        at: since,
        until: None,
        words: session.status_why.clone(),
    };
    let note = if ended {
        "its program has ended"
    } else {
        "nobody who holds its programs can be reached"
    };
    Explained {
        session: session.id.clone(),
        status: session.status,
        since: Some(since),
        why: session.status_why.clone(),
        evidence: vec![(evidence, Weight::Decides)],
        processes: Processes { notes: vec![note.to_owned()], ..Processes::default() },
        at: now,
    }
}
