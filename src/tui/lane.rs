//! What is typed into one session, in order: one task, one bounded queue. Keys that wait are sent
//! together.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    app::{EffectId, Msg, msg::Reply},
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{CONSOLE_INPUTS_MAX, HUB_ANSWER_WITHIN, INPUT_BYTES_MAX},
    },
    runtime::{LeaseVerb, Runtime},
};

enum Item {
    Input(EffectId, Bytes),
    Lease(EffectId, LeaseVerb),
}

/// One session's queue.
pub struct Lane {
    queue: mpsc::Sender<Item>,
    task: JoinHandle<()>,
}

impl Lane {
    pub fn open(runtime: Arc<dyn Runtime>, session: SessionId, answers: mpsc::Sender<Msg>) -> Self {
        let (queue, items) = mpsc::channel(CONSOLE_INPUTS_MAX);
        let lane = Carrier { runtime, session, answers };
        Self { queue, task: tokio::spawn(lane.run(items)) }
    }

    pub fn input(&self, id: EffectId, bytes: Bytes) -> Outcome<()> {
        self.put(Item::Input(id, bytes))
    }

    pub fn lease(&self, id: EffectId, verb: LeaseVerb) -> Outcome<()> {
        self.put(Item::Lease(id, verb))
    }

    fn put(&self, item: Item) -> Outcome<()> {
        let full = |_| {
            Fault::busy("keys are typed faster than the hub takes them; the last were not sent")
        };
        self.queue.try_send(item).map_err(full)
    }

    pub fn ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Takes no more; resolves when all was sent.
    pub async fn finish(self) {
        drop(self.queue);
        drop(self.task.await);
    }
}

struct Carrier {
    runtime: Arc<dyn Runtime>,
    session: SessionId,
    answers: mpsc::Sender<Msg>,
}

impl Carrier {
    async fn run(self, mut items: mpsc::Receiver<Item>) {
        let mut next = items.recv().await;
        while let Some(item) = next.take() {
            match item {
                Item::Input(id, bytes) => {
                    let (ids, bytes, after) = gather(id, bytes, &mut items);
                    next = after;
                    let result = self.within(self.runtime.input(&self.session, bytes)).await;
                    for id in ids {
                        self.answer(id, result.clone().map(|()| Reply::Nothing)).await;
                    }
                }
                Item::Lease(id, verb) => {
                    let result = self.within(self.runtime.lease(&self.session, verb)).await;
                    self.answer(id, result.map(Reply::Lease)).await;
                }
            }
            if next.is_none() {
                next = items.recv().await;
            }
        }
    }

    async fn within<T>(&self, call: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let late =
            || Err(Fault::late(format!("the hub did not answer within {HUB_ANSWER_WITHIN:?}")));
        tokio::time::timeout(HUB_ANSWER_WITHIN, call).await.unwrap_or_else(|_| late())
    }

    async fn answer(&self, id: EffectId, result: Outcome<Reply>) {
        // The console is closing when nobody takes it.
        drop(self.answers.send(Msg::Done { id, result }).await);
    }
}

/// Joins the inputs that wait right behind this one; gives back what came after them.
fn gather(
    id: EffectId,
    first: Bytes,
    items: &mut mpsc::Receiver<Item>,
) -> (Vec<EffectId>, Bytes, Option<Item>) {
    let mut ids = vec![id];
    let mut joined = BytesMut::new();
    loop {
        match items.try_recv() {
            Ok(Item::Input(id, bytes))
                if first.len() + joined.len() + bytes.len() <= INPUT_BYTES_MAX =>
            {
                ids.push(id);
                joined.extend_from_slice(&bytes);
            }
            after => {
                if joined.is_empty() {
                    return (ids, first, after.ok());
                }
                let mut all = BytesMut::with_capacity(first.len() + joined.len());
                all.extend_from_slice(&first);
                all.extend_from_slice(&joined);
                return (ids, all.freeze(), after.ok());
            }
        }
    }
}
