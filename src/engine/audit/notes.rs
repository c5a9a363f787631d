//! What is written down behind the back of who does it: steps into panes, and who was refused. Nobody who types waits for a
//! disk.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc;

use crate::{
    base::limits::AUDIT_NOTES_QUEUED_MAX,
    engine::{Inner, store::Store},
    model::{audit::Act, event::Level},
};

/// Written in one go.
const AT_ONCE: usize = 64;

/// The way to whoever writes them, who ends with the last of it.
#[derive(Clone)]
pub(in crate::engine) struct Notes {
    queue: mpsc::Sender<Act>,
    left_out: Arc<AtomicU64>,
}

/// The other end, until somebody begins to write.
pub(in crate::engine) struct Writer {
    queue: mpsc::Receiver<Act>,
    left_out: Arc<AtomicU64>,
}

impl Notes {
    pub fn new() -> (Self, Writer) {
        let (queue, taken) = mpsc::channel(AUDIT_NOTES_QUEUED_MAX);
        let left_out = Arc::new(AtomicU64::new(0));
        (Self { queue, left_out: Arc::clone(&left_out) }, Writer { queue: taken, left_out })
    }

    /// Takes one, in order; one that finds no room is counted, and told.
    pub fn note(&self, act: Act) {
        if self.queue.try_send(act).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Writer {
    /// Writes what comes, until nobody can note anything any more.
    pub fn start(mut self, engine: Weak<Inner>, store: Store) {
        tokio::spawn(async move {
            let mut acts = Vec::new();
            while self.queue.recv_many(&mut acts, AT_ONCE).await > 0 {
                let count = acts.len() as u64;
                let written = store.record(std::mem::take(&mut acts)).await;
                let lost = self.left_out.swap(0, Ordering::Relaxed)
                    + written.as_ref().err().map_or(0, |_| count);
                let why = written.err().map_or_else(|| "too many".to_owned(), |it| it.to_string());
                if let (1.., Some(engine)) = (lost, engine.upgrade()) {
                    let words = format!(
                        "steps into panes or refusals are not in the audit record, {lost}: {why}"
                    );
                    engine.fleet().notice(Level::Error, None, &words);
                }
            }
        });
    }
}
