//! What processes of this machine are seen to do, where that is not plain: what is not certain is not taken for a fact.

use std::process::{Child, Command, Stdio};

use sandwatch::{
    driver::local::doing::Looker,
    model::process::{Doing, Process, Reading},
};

use crate::{
    given::SOON,
    skip::{not_on_this_host, not_to_be_had},
};

/// A program of python's; ended when this is dropped.
struct Python(Child);

impl Python {
    fn start(code: &str) -> Option<Self> {
        let started = Command::new("python3").args(["-c", code]).stdin(Stdio::null()).spawn();
        if started.is_err() {
            not_to_be_had("there is no python3");
        }
        started.ok().map(Self)
    }

    /// As it is seen once that is so; `None` where the kernel does not tell.
    async fn seen_once(&self, so: impl Fn(&Process, &Reading) -> bool) -> Option<Reading> {
        let seen = async {
            loop {
                // Where much else runs a look may take too long.
                let Ok(seen) = Looker::default().look(self.0.id()).await else { continue };
                let hidden = seen.notes.iter().any(|it| it.contains("this kernel does not tell"));
                if hidden || so(&seen.processes[0], &seen) {
                    return (seen, hidden);
                }
                tokio::task::yield_now().await;
            }
        };
        let (seen, hidden) = tokio::time::timeout(SOON, seen).await.expect("it comes to that");
        if hidden {
            not_on_this_host("the kernel does not tell what who does not trace it waits on");
        }
        (!hidden).then_some(seen)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn a_lock_that_others_may_let_go_of_is_not_waited_for_without_an_end() {
    const LOCKED: &str = "
import fcntl, tempfile
file = tempfile.NamedTemporaryFile()
held = open(file.name)
fcntl.flock(held, fcntl.LOCK_EX)
fcntl.flock(open(file.name), fcntl.LOCK_EX)
";
    let Some(python) = Python::start(LOCKED) else { return };
    let Some(seen) = python.seen_once(|it, _| it.doing == Doing::Lock).await else { return };
    assert!(!seen.processes[0].endless, "{seen:?}");
}

#[tokio::test]
async fn of_one_with_more_threads_than_are_looked_at_nothing_is_certain() {
    const THREADS: &str = "
import threading
held = threading.Lock()
held.acquire()
[threading.Thread(target=held.acquire).start() for _ in range(70)]
held.acquire()
";
    let Some(python) = Python::start(THREADS) else { return };
    let many = |it: &Process, _: &Reading| it.threads > 70 && it.doing == Doing::Lock;
    let Some(seen) = python.seen_once(many).await else { return };
    let it = &seen.processes[0];
    assert!(!it.endless && it.in_words() == "waits for a lock", "{seen:?}");
    assert!(seen.notes.iter().any(|it| it.contains("is not known")), "{seen:?}");
}

#[tokio::test]
async fn what_one_thread_waits_for_is_told_of_the_whole() {
    const BOTH: &str = "
import os, socket, threading
one, other = socket.socketpair()
threading.Thread(target=lambda: one.recv(1)).start()
main, side = os.openpty()
os.read(side, 1)
";
    let Some(python) = Python::start(BOTH) else { return };
    let linked = |it: &Process, _: &Reading| it.linked && it.threads > 1;
    python.seen_once(linked).await;
}
