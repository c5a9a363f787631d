//! Bytes on their way to a program: bounded, never partly taken, written by a task of their own so
//! that a program that does not read holds nothing else up.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Notify,
};

use crate::base::{
    fault::{Fault, Outcome},
    limits::INPUT_QUEUE_BYTES_MAX,
};

/// The queue in front of one PTY.
#[derive(Debug, Default)]
pub struct InputQueue {
    waiting: Mutex<Waiting>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    closed: bool,
}

impl InputQueue {
    /// Takes all of `bytes`, or none: `Busy` when they don't fit.
    pub fn push(&self, bytes: Bytes) -> Outcome<()> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Fault::failed("the program has ended").hint("start another session"));
        }
        if waiting.bytes + bytes.len() > INPUT_QUEUE_BYTES_MAX {
            return Err(Fault::busy("the program does not read its input and the queue is full")
                .hint("wait until it reads again, or interrupt it"));
        }
        waiting.bytes += bytes.len();
        waiting.pieces.push_back(bytes);
        drop(waiting);
        self.woken.notify_one();
        Ok(())
    }

    /// Refuses everything from now on; ends `write_to`.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.pieces.clear();
        waiting.bytes = 0;
        drop(waiting);
        self.woken.notify_one();
    }

    /// Writes what comes until the queue is closed or the program hung up.
    pub async fn write_to(&self, mut writer: Box<dyn AsyncWrite + Send + Unpin>) {
        loop {
            let woken = self.woken.notified();
            let (next, closed) = {
                let mut waiting = self.lock();
                (waiting.pieces.pop_front(), waiting.closed)
            };
            match next {
                _ if closed => return,
                None => woken.await,
                Some(bytes) => {
                    let written = writer.write_all(&bytes).await;
                    // Counted until it is written: what the kernel did not take is still here.
                    let mut waiting = self.lock();
                    waiting.bytes = waiting.bytes.saturating_sub(bytes.len());
                    drop(waiting);
                    if written.is_err() {
                        return self.close();
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
