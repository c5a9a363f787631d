//! What is typed into one session, in order: one task, one bounded queue. Keys that wait are sent
//! together, and nothing is sent behind what failed, which the queue alone knows.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};

use crate::{
    app::{EffectId, Msg, msg::Reply},
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{CONSOLE_LEASES_MAX, HUB_ANSWER_WITHIN, INPUT_BYTES_MAX, TYPED_BYTES_MAX},
    },
    runtime::{LeaseVerb, Link, Runtime},
};

enum Item {
    Input(Typed),
    Lease(EffectId, LeaseVerb),
}

/// Keys that are sent together, arriving all or none.
struct Typed {
    /// Those that it is the end of.
    ids: Vec<EffectId>,
    run: u64,
    bytes: BytesMut,
}

/// What waits.
#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Of all inputs in there.
    bytes: usize,
    leases: usize,
    closed: bool,
    /// The run that failed last, and why: nothing more of it is sent.
    broken: Option<(u64, Fault)>,
}

impl Queue {
    /// Why what belongs to this run goes no more.
    fn refusal(&self, run: u64) -> Option<&Fault> {
        self.broken.as_ref().filter(|it| run <= it.0).map(|it| &it.1)
    }

    /// Puts one piece behind the others; together with the last where both fit into one.
    fn push(&mut self, id: Option<EffectId>, run: u64, piece: &[u8]) {
        self.bytes += piece.len();
        match self.items.back_mut() {
            Some(Item::Input(last))
                if last.run == run && last.bytes.len() + piece.len() <= INPUT_BYTES_MAX =>
            {
                last.bytes.extend_from_slice(piece);
                last.ids.extend(id.filter(|it| last.ids.last() != Some(it)));
            }
            _ => {
                let ids = id.into_iter().collect();
                self.items.push_back(Item::Input(Typed { ids, run, bytes: piece.into() }));
            }
        }
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    rung: Notify,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next thing to do; `None` once nothing more comes.
    async fn next(&self) -> Option<Item> {
        loop {
            {
                let mut queue = self.queue();
                match queue.items.pop_front() {
                    Some(Item::Input(typed)) => {
                        queue.bytes -= typed.bytes.len();
                        return Some(Item::Input(typed));
                    }
                    Some(lease) => {
                        queue.leases -= 1;
                        return Some(lease);
                    }
                    None if queue.closed => return None,
                    None => {}
                }
            }
            // Rung meanwhile, it returns at once.
            self.rung.notified().await;
        }
    }
}

/// One session's queue.
pub struct Lane {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Lane {
    pub fn open(runtime: Arc<dyn Runtime>, session: SessionId, answers: mpsc::Sender<Msg>) -> Self {
        let shared = Arc::new(Shared::default());
        let link = runtime.link();
        let carrier = Carrier { runtime, session, answers, link, shared: shared.clone() };
        let task = tokio::spawn(carrier.run());
        Self { shared, task }
    }

    /// Takes all of it or none. What fits into one piece arrives whole or not at all; what is longer
    /// is sent in several, and answered once. When an input fails, those of the same `run` and of
    /// earlier ones fail with it, whenever they come: whoever types begins another once it is known.
    pub fn input(&self, id: EffectId, run: u64, bytes: Bytes) -> Outcome<()> {
        let mut queue = self.shared.queue();
        if let Some(why) = queue.refusal(run) {
            return Err(why.clone());
        }
        if queue.bytes + bytes.len() > TYPED_BYTES_MAX {
            return Err(Fault::busy("what is typed does not get through; not sent"));
        }
        let mut pieces = bytes.chunks(INPUT_BYTES_MAX).peekable();
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            queue.push(last.then_some(id), run, piece);
        }
        drop(queue);
        self.shared.rung.notify_one();
        Ok(())
    }

    pub fn lease(&self, id: EffectId, verb: LeaseVerb) -> Outcome<()> {
        let mut queue = self.shared.queue();
        if queue.leases >= CONSOLE_LEASES_MAX {
            return Err(Fault::busy(
                "the keyboard was asked for too often; the hub does not answer",
            ));
        }
        queue.leases += 1;
        queue.items.push_back(Item::Lease(id, verb));
        drop(queue);
        self.shared.rung.notify_one();
        Ok(())
    }

    pub fn ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Takes no more; resolves when all was sent.
    pub async fn finish(mut self) {
        self.close();
        // Ended otherwise is fine: the console is closing.
        drop((&mut self.task).await);
    }

    fn close(&self) {
        self.shared.queue().closed = true;
        self.shared.rung.notify_one();
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.close();
    }
}

struct Carrier {
    runtime: Arc<dyn Runtime>,
    session: SessionId,
    answers: mpsc::Sender<Msg>,
    link: Option<watch::Receiver<Link>>,
    shared: Arc<Shared>,
}

impl Carrier {
    async fn run(mut self) {
        while let Some(item) = self.shared.next().await {
            match item {
                Item::Input(Typed { ids, run, bytes }) => {
                    let result = self.send(run, bytes.freeze()).await;
                    for id in ids {
                        self.answer(id, result.clone().map(|()| Reply::Nothing)).await;
                    }
                }
                Item::Lease(id, verb) => {
                    let result = within(self.runtime.lease(&self.session, verb)).await;
                    self.answer(id, result.map(Reply::Lease)).await;
                }
            }
        }
    }

    async fn send(&mut self, run: u64, bytes: Bytes) -> Outcome<()> {
        if let Some(why) = self.shared.queue().refusal(run) {
            tracing::debug!(run, "typed behind what was lost; not sent");
            return Err(why.clone());
        }
        // A hub that stands still may go on long after: what waits must not be sent then.
        let sent = tokio::select! {
            biased;
            sent = within(self.runtime.input(&self.session, bytes)) => sent,
            () = down(self.link.as_mut()) => {
                Err(Fault::lost("the link broke while typing; it may or may not have arrived"))
            }
        };
        if let Err(fault) = &sent {
            self.shared.queue().broken = Some((run, fault.clone()));
        }
        sent
    }

    async fn answer(&self, id: EffectId, result: Outcome<Reply>) {
        // The console is closing when nobody takes it.
        drop(self.answers.send(Msg::Done { id, result }).await);
    }
}

async fn within<T>(call: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let late = || Err(Fault::late(format!("the hub did not answer within {HUB_ANSWER_WITHIN:?}")));
    tokio::time::timeout(HUB_ANSWER_WITHIN, call).await.unwrap_or_else(|_| late())
}

/// Resolves when the hub can't be reached.
async fn down(link: Option<&mut watch::Receiver<Link>>) {
    if let Some(link) = link
        && link.wait_for(|it| matches!(it, Link::Down { .. })).await.is_ok()
    {
        return;
    }
    // An engine in this process can't be lost.
    std::future::pending::<()>().await;
}
