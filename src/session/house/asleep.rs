//! Programs that are written down with what they have in memory, and that go on later.

use std::sync::Arc;

use super::{House, Inner};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
    },
    driver::Slept,
    model::{sandbox::State, session::SessionSpec},
    vt::Screen,
};

impl House {
    /// Takes up what came back with the sandbox, as sessions in their order: all of it, or it is a failure.
    pub async fn wake(&self) -> Outcome<()> {
        let inner = &self.inner;
        let Some(memory) = inner.place.memory() else { return Ok(()) };
        let _one = inner.opening.lock().await;
        for slept in memory.came_back() {
            let program = memory.rejoin(&slept).await?;
            let id = SessionId::random();
            inner.rooms().came_back.push((id.clone(), slept.key));
            let screen = Screen::from_keyframe(slept.size, &slept.screen);
            let spec = SessionSpec {
                command: slept.command,
                cwd: None,
                env: Vec::new(),
                size: slept.size,
            };
            inner.seat_in(id, &spec, program, Some(screen));
        }
        Ok(())
    }
}

impl Inner {
    /// Writes all programs down, which stand still then.
    pub(super) async fn write_down(self: &Arc<Self>) -> Outcome<()> {
        let name = &self.ground.name;
        let memory = self
            .place
            .memory()
            .ok_or_else(|| Fault::unsupported(format!("programs of {name} can't be kept")))?;
        if self.rooms().state != State::Running {
            return Err(Fault::busy(format!("programs of {name} that don't run can't be kept"))
                .hint(format!("sandwatch resume {name}")));
        }
        if !self.asks.pending().is_empty() {
            return Err(Fault::busy(format!("a program of {name} waits for an answer"))
                .hint("answer it first: who would hear of it later is not known"));
        }
        let programs = || {
            let rooms = self.rooms();
            let live = rooms.hosts.iter().filter(|it| !it.1.has_ended());
            let slept = live.map(|(id, host)| host.slept(rooms.key_of(id)));
            slept.collect::<Vec<Slept>>()
        };
        memory.keep(&programs).await
    }
}
