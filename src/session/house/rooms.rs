//! Room for one more session, and what it begins with.

use std::sync::Arc;

use super::{Inner, verbs::tell};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{RECORDING_BYTES_MAX, SCROLLBACK_BYTES_MAX, SESSIONS_PER_SANDBOX_MAX},
    },
    driver::{Program, PtyIo},
    model::{
        sandbox::State,
        session::{Session, SessionSpec, Status},
    },
    session::{
        host::Host,
        journal::{self, Meta, Writer},
        status::look,
    },
    vt::Screen,
};

impl Inner {
    /// Refuses what a sandbox in this state can't do.
    pub(super) fn ready_to_start(&self) -> Outcome<()> {
        let name = &self.ground.name;
        let seen = self.place.facts().state;
        match self.rooms().state_by(seen) {
            // What can't be asked whether it runs says itself what is the matter.
            State::Running | State::Unknown => {}
            State::Paused => {
                return Err(Fault::failed(format!("the sandbox is paused: {name}"))
                    .hint(format!("sandwatch resume {name}")));
            }
            state => {
                return Err(Fault::failed(format!("the sandbox is {}: {name}", state.word()))
                    .hint("make a new one with `sandwatch run`"));
            }
        }
        Ok(())
    }

    /// Refuses one session more than there may be.
    pub(super) fn has_room(&self) -> Outcome<()> {
        let rooms = self.rooms();
        if rooms.hosts.len() < SESSIONS_PER_SANDBOX_MAX || rooms.oldest_ended().is_some() {
            return Ok(());
        }
        let name = &self.ground.name;
        Err(Fault::busy(format!(
            "the sandbox has {SESSIONS_PER_SANDBOX_MAX} sessions already: {name}"
        ))
        .hint("end one of them first"))
    }

    /// Adds a session; when there are too many, the oldest that has ended goes. Its recording stays.
    pub(super) fn add(&self, id: SessionId, host: Arc<Host>) {
        let mut rooms = self.rooms();
        rooms.hosts.push((id, host));
        if rooms.hosts.len() > SESSIONS_PER_SANDBOX_MAX
            && let Some(index) = rooms.oldest_ended()
        {
            let (id, host) = rooms.hosts.remove(index);
            drop(rooms);
            drop(host);
            if !self.record
                && let Err(fault) = journal::remove(&self.recordings.join(id.as_str()))
            {
                tracing::warn!(%fault, session = %id, "its scrollback stays until recordings are pruned");
            }
        }
    }

    /// Gives a program that was started its room.
    pub(super) fn seat_in(
        self: &Arc<Self>,
        id: SessionId,
        spec: &SessionSpec,
        program: Program<PtyIo>,
        screen: Option<Screen>,
    ) -> Session {
        let session = self.new_session(id.clone(), spec, program.pid);
        let journal = self.journal(&session);
        let dir = self.recordings.join(id.as_str());
        let place = Arc::downgrade(&self.place);
        let starved =
            Box::new(move || place.upgrade().and_then(|it| it.starved()).unwrap_or_default());
        let tell = tell(self, id.clone());
        let host = Arc::new(Host::start(session, program, screen, dir, journal, starved, tell));
        look::start(&host, self.around());
        let session = host.session();
        self.add(id, host);
        self.feed.changed();
        session
    }

    pub(super) fn new_session(
        &self,
        id: SessionId,
        spec: &SessionSpec,
        pid: Option<u32>,
    ) -> Session {
        let mut rooms = self.rooms();
        let ordinal = rooms.next_ordinal;
        rooms.next_ordinal += 1;
        Session {
            id,
            sandbox: self.ground.id.clone(),
            ordinal,
            command: spec.command.clone(),
            status: Status::Starting,
            status_why: String::new(),
            status_since: None,
            pid,
            size: spec.size,
            title: None,
            started_at: clock::wall(),
            exit: None,
            exited_at: None,
            lease: None,
            output_bytes: 0,
            last_output_at: None,
            journal_lost_bytes: 0,
            bells: 0,
            recording: self.record,
            asking: None,
        }
    }

    /// Makes the journal; without one the session still runs, and a note says so.
    pub(super) fn journal(&self, session: &Session) -> Option<(Writer, Meta)> {
        let dir = self.recordings.join(session.id.as_str());
        let bytes_max = if self.record { RECORDING_BYTES_MAX } else { SCROLLBACK_BYTES_MAX };
        let meta = Meta {
            session: session.id.clone(),
            sandbox: self.ground.id.clone(),
            sandbox_name: self.ground.name.clone(),
            session_name: session.name(&self.ground.name),
            command: session.command.clone(),
            started_at: session.started_at,
            size: session.size,
            record: self.record,
            ended_at: None,
            exit: None,
            lost_bytes: 0,
        };
        let made = Writer::create(&dir, bytes_max).and_then(|it| meta.save(&dir).map(|()| it));
        match made {
            Ok(writer) => Some((writer, meta)),
            Err(fault) => {
                let note =
                    format!("{} has no scrollback and no recording: {fault}", meta.session_name);
                self.rooms().notes.push(note);
                None
            }
        }
    }
}
