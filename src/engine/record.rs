//! What of a sandbox is kept, in the registry and in its own directory.

use super::{
    fleet::{Entry, make_room},
    store::{Kept, Row, SessionRow},
};
use crate::{
    base::fault::{Fault, Outcome},
    model::{
        sandbox::{Sandbox, SandboxSpec, State},
        session::{ExitStatus, Session},
    },
    wire::stored,
};

/// A sandbox as the registry keeps it.
pub(super) fn row(entry: &Entry) -> Row {
    let mut bare = Sandbox::clone(&entry.sandbox);
    let sessions = std::mem::take(&mut bare.sessions);
    // They have a table of their own.
    bare.asks.clear();
    Row {
        id: bare.id.to_string(),
        name: bare.name.clone(),
        driver: bare.driver.clone(),
        state: bare.state.word(),
        created_at: bare.created_at.0,
        version: entry.version,
        removing: entry.removing || entry.doomed,
        spec: stored::spec_bytes(&entry.spec),
        record: stored::sandbox_bytes(&bare),
        sessions: sessions.iter().map(session_row).collect(),
    }
}

fn session_row(session: &Session) -> SessionRow {
    SessionRow {
        id: session.id.to_string(),
        ordinal: session.ordinal,
        lease_holder: session.lease.as_ref().map(|it| it.holder.to_string()),
        exit_code: session.exit.map(ExitStatus::code),
        record: stored::session_bytes(session),
    }
}

/// Reads a row back. A session that can't be read costs its line in a list, not the sandbox.
pub(super) fn read(kept: &Kept) -> Outcome<(Sandbox, SandboxSpec)> {
    let mut sandbox = stored::sandbox(&kept.record)?;
    for session in &kept.sessions {
        match stored::session(session) {
            Ok(session) => sandbox.sessions.push(session),
            Err(fault) => sandbox.notes.push(format!("a session can't be read: {fault}")),
        }
    }
    make_room(&mut sandbox.sessions);
    Ok((sandbox, stored::spec(&kept.spec)?))
}

/// The file in a sandbox's own directory: length and bytes of the sandbox, then the spec.
pub(super) fn file(entry: &Entry) -> Vec<u8> {
    let sandbox = Sandbox { asks: Vec::new(), ..Sandbox::clone(&entry.sandbox) };
    let sandbox = stored::sandbox_bytes(&sandbox);
    let mut out = (sandbox.len() as u64).to_be_bytes().to_vec();
    out.extend(sandbox);
    out.extend(stored::spec_bytes(&entry.spec));
    out
}

/// Reads such a file back.
pub(super) fn read_file(bytes: &[u8]) -> Outcome<(Sandbox, SandboxSpec)> {
    let torn = || Fault::failed("damaged record: too short");
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(torn)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| torn())?;
    let (sandbox, spec) = rest.split_at_checked(length).ok_or_else(torn)?;
    Ok((stored::sandbox(sandbox)?, stored::spec(spec)?))
}

/// The part of a sandbox that must survive the hub; the rest is told anew by its seat.
#[derive(PartialEq)]
pub(super) struct Durable {
    state: State,
    notes: usize,
    sessions: Vec<(u32, Option<ExitStatus>, Option<String>)>,
}

impl Durable {
    pub(super) fn of(sandbox: &Sandbox) -> Self {
        let sessions = sandbox
            .sessions
            .iter()
            .map(|it| (it.ordinal, it.exit, it.lease.as_ref().map(|it| it.holder.to_string())));
        Self { state: sandbox.state, notes: sandbox.notes.len(), sessions: sessions.collect() }
    }
}
