//! The system calls of a process: opened from the inspector, and asked for only as long as they show.

use super::Turn;
use crate::{
    app::{
        effect::Act,
        records::{Of, What},
    },
    base::fault::Outcome,
    model::{event::Level, syscall::SyscallPart},
};

impl Turn<'_> {
    /// Shows those of the process under the cursor, else of the one that leads; `false` in another list.
    pub(super) fn open_syscalls(&mut self) -> bool {
        let Some(it) = self.state.records() else { return false };
        let Of::Status(sandbox, session) = it.of.clone() else { return false };
        let row = it.open.as_ref().and_then(|it| it.record.as_ref()).or_else(|| it.current());
        let here = row.and_then(|it| match it.of {
            What::Process(pid) => Some(pid),
            _ => None,
        });
        match here.or(it.leading) {
            Some(pid) => self.open_records(Of::Syscalls(sandbox, session, pid)),
            None => self.notice(Level::Info, "none of its processes is seen"),
        }
        true
    }

    /// Asked for once more, what has come to an end begins anew.
    pub(super) fn look_at_calls_again(&mut self) {
        if let Some(it) = self.records_mut() {
            it.log.over = None;
        }
    }

    /// They are asked for as long as they show, and have not come to an end.
    pub(super) fn watch_syscalls(&mut self) {
        let shows = self.state.records().filter(|it| it.log.over.is_none());
        let wanted = shows.filter(|_| !self.state.frame.too_small).and_then(|it| match &it.of {
            Of::Syscalls(_, session, pid) => Some((session.clone(), *pid)),
            _ => None,
        });
        if wanted != self.state.calls.0 {
            let generation = self.state.calls.1 + 1;
            self.state.calls = (wanted.clone(), generation);
            self.start(Act::WatchSyscalls { of: wanted, generation }, None);
        }
    }

    pub(super) fn syscalls_came(&mut self, generation: u64, part: Outcome<Box<SyscallPart>>) {
        let zone = self.state.zone.clone();
        let (of, current) = self.state.calls.clone();
        let Some((session, pid)) = of.filter(|_| current == generation) else { return };
        let found = self.state.fleet.session(&session);
        let name = found.map(|(row, it)| it.name(&row.sandbox.name)).unwrap_or_default();
        let name = format!("process {pid} of {}", crate::base::text::visible(&name));
        let Some(it) = self.records_mut() else { return };
        it.log.take(part);
        it.take_calls(&name, &zone);
        self.state.dirty = true;
    }
}
