//! Where a first process sits, an init or the keeper of a container: what the shim orders comes in, how programs
//! ended goes out, and what lost its parent is buried. It may have no second thread.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, WaitId, WaitIdOptions, waitid},
};

use super::{
    message::{Order, Packet, Word, receive, send},
    processes, sys,
};

/// Orphans reaped before the shim is listened to again.
const ORPHANS_AT_ONCE: usize = 256;

pub struct Desk {
    control: OwnedFd,
    children: OwnedFd,
    /// There may be more to reap than was.
    more: bool,
}

/// What has come.
pub struct Come {
    pub order: bool,
    pub child: bool,
}

impl Desk {
    /// Ends this process where it can't hear of its children.
    pub fn take(control: OwnedFd) -> Self {
        let Ok(children) = sys::child_signals() else { sys::exit_now(1) };
        Self { control, children, more: false }
    }

    /// Waits for one thing; `None` when there is nothing to wait for any more.
    pub fn wait(&self) -> Option<Come> {
        let mut wanted =
            [PollFd::new(&self.control, PollFlags::IN), PollFd::new(&self.children, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut wanted, self.more.then_some(&at_once)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Some(Come { order: false, child: false }),
            Err(_) => return None,
        }
        let [order, child] = wanted.map(|it| !it.revents().is_empty());
        let child = child || self.more;
        if child {
            let mut seen = [0_u8; 512];
            while rustix::io::read(&self.children, &mut seen).is_ok() {}
        }
        Some(Come { order, child })
    }

    /// Tells the shim; `false` when it is gone.
    pub fn say(&self, word: &Word) -> bool {
        send(self.control.as_fd(), &word.bytes(), &[]).is_ok()
    }

    /// What the shim orders, with descriptors for it; `None` when it is gone. An order of a later version is none.
    pub fn order(&self) -> Option<(Option<Order>, Vec<OwnedFd>)> {
        let Packet { bytes, descriptors, .. } = receive(&self.control).ok()?;
        (!bytes.is_empty()).then(|| (Order::parse(&bytes), descriptors))
    }

    /// What lost its parent is nobody's business. No more than some at once: they may come faster than they go.
    pub fn reap_orphans(&mut self, own: impl Fn(Pid) -> bool) {
        self.more = false;
        for _ in 0..ORPHANS_AT_ONCE {
            let Ok(Some(pid)) = sys::ended_child() else { return };
            if own(pid) {
                // The kernel always shows the same one, and others lie behind it.
                let rest = processes::each(|it| {
                    if !own(it) {
                        bury(it);
                    }
                    Ok(())
                });
                // Where it could not look: the end of the next one makes it look again.
                drop(rest);
                return;
            }
            bury(pid);
        }
        self.more = true;
    }
}

/// `None` while it has not; it is left as it is.
pub fn how_it_ended(number: u64, leader: Pid) -> Option<Word> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(leader), options).ok()??;
    Some(match status.terminating_signal() {
        Some(signal) => Word::Killed { number, signal },
        None => Word::Exited { number, code: status.exit_status().unwrap_or(0) },
    })
}

/// Reaps a process if it is a child that has ended.
pub fn bury(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}
