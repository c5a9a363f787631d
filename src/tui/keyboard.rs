//! Reads the terminal in a thread of its own and hands events over in order; a full queue holds the
//! thread, and so the terminal, back. It can be held, so that somebody else reads the terminal.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use crossterm::event::Event;
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::mpsc;

use super::late::Late;
use crate::base::{
    clock,
    fault::{Fault, Outcome},
};

/// Events read ahead of the loop: a fast typist and a moving mouse between two turns.
const EVENTS_MAX: usize = 256;

/// How long the thread may take to let go of the terminal.
const LETS_GO_WITHIN: Duration = Duration::from_secs(2);

/// Whether the thread is to wait, and does.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    wanted: bool,
    so: bool,
}

/// Holds the thread that reads, as long as somebody else does.
#[derive(Clone, Debug, Default)]
pub struct Hold(Arc<(Mutex<Held>, Condvar)>);

impl Hold {
    /// Has the thread wait; it is woken by what says that the terminal has another size.
    pub fn take(&self) -> Outcome<()> {
        let (held, changed) = &*self.0;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        held.wanted = true;
        let _ = kill_process(getpid(), Signal::WINCH);
        let waited = changed.wait_timeout_while(held, LETS_GO_WITHIN, |it| !it.so);
        held = waited.unwrap_or_else(PoisonError::into_inner).0;
        if held.so {
            return Ok(());
        }
        held.wanted = false;
        Err(Fault::failed("the terminal is not let go of by who reads it here"))
    }

    pub fn release(&self) {
        let (held, changed) = &*self.0;
        held.lock().unwrap_or_else(PoisonError::into_inner).wanted = false;
        changed.notify_all();
    }

    /// In the thread: waits as long as it is held.
    fn obey(&self) {
        let (held, changed) = &*self.0;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.wanted {
            return;
        }
        held.so = true;
        changed.notify_all();
        let waited = changed.wait_while(held, |it| it.wanted);
        waited.unwrap_or_else(PoisonError::into_inner).so = false;
    }
}

/// Starts reading, after what was typed `ahead`; answers that are late are left out. The channel closes when the terminal is
/// gone.
pub fn listen(ahead: Vec<Event>, mut late: Late, hold: Hold) -> Outcome<mpsc::Receiver<Event>> {
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let body = move || {
        for event in ahead {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
        loop {
            match crossterm::event::read() {
                Ok(event) => {
                    hold.obey();
                    let is_answer = late.has(&event, clock::monotonic());
                    if !is_answer && sender.blocking_send(event).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::info!(%error, "the terminal can't be read any more");
                    return;
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("keyboard".to_owned())
        .spawn(body)
        .map_err(|error| Fault::io("start the thread that reads keys", &error))?;
    Ok(events)
}
