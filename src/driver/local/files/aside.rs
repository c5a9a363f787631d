//! Steps that block on a sandbox's files: each on a thread of its own, which has the rights of the sandbox's
//! programs where the hub is root. One that hangs is let be; it keeps its turn.

use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_res_gid, set_thread_res_uid},
};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::FILES_STEP_WITHIN,
    },
    driver::{files::Turns, local::sys},
};

/// Whose rights a thread has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shoes {
    pub uid: u32,
    pub gid: u32,
}

impl Shoes {
    /// Gives up all other rights of this thread for good. Only of this one: the system knows no processes.
    fn step_into(self) -> Outcome<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        sys::drop_groups()
            .and_then(|()| Ok(set_thread_res_gid(gid, gid, gid)?))
            .and_then(|()| Ok(set_thread_res_uid(uid, uid, uid)?))
            .map_err(|error| Fault::io("taking the rights of the sandbox", &error))
    }
}

#[derive(Clone)]
pub struct Aside {
    turns: Turns,
    shoes: Option<Shoes>,
}

impl Aside {
    pub fn new(turns: Turns, shoes: Option<Shoes>) -> Self {
        Self { turns, shoes }
    }

    /// Runs one step; late is a fault, and what it does then it does for nobody.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let turn = self.turns.take().await?;
        let (done, outcome) = oneshot::channel();
        let shoes = self.shoes;
        let step = move || {
            let outcome = shoes.map_or(Ok(()), Shoes::step_into).and_then(|()| work());
            drop(turn);
            // Whoever asked may have left.
            drop(done.send(outcome));
        };
        std::thread::Builder::new()
            .name("files".to_owned())
            .spawn(step)
            .map_err(|error| Fault::io("looking at files", &error))?;
        match timeout(FILES_STEP_WITHIN, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Fault::bug("looking at files ended without an outcome")),
            Err(_) => Err(Fault::late(format!(
                "looking at files of the sandbox did not end within {} s",
                FILES_STEP_WITHIN.as_secs()
            ))
            .hint("a file system in it may hang")),
        }
    }

    /// Does something last that nobody waits for, and that must not wait for a turn.
    pub fn last(&self, work: impl FnOnce() + Send + 'static) {
        let shoes = self.shoes;
        let step = move || {
            if shoes.map_or(Ok(()), Shoes::step_into).is_ok() {
                work();
            }
        };
        // Without a thread it stays undone, which is said where it shows.
        drop(std::thread::Builder::new().name("files".to_owned()).spawn(step));
    }
}
