//! Carries effects out: calls to the hub as owned, bounded tasks whose results come back as
//! messages. Nothing here waits for an answer.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::{self, AbortHandle, JoinSet},
};
use tokio_stream::StreamExt;

use crate::{
    app::{
        Act, Effect, EffectId, Msg, dialog::DOCKER_DRIVER, effect::Order, files::FilesAct,
        msg::Reply,
    },
    base::{
        fault::{Fault, Outcome},
        id::{HubNumber, SessionId},
        limits::{
            APPLY_WITHIN, AUDIT_READ_WITHIN, CALLS_PER_HUB_MAX, CHANGES_WITHIN, CONSOLE_CALLS_MAX,
            CREATE_WITHIN, FIND_WITHIN, HUB_ANSWER_WITHIN, PARSE_SLICE_BYTES,
            SNAPSHOT_FIRST_WITHIN, SNAPSHOT_WITHIN, STOP_GRACE, TTL_MAX,
        },
        secret::Secret,
    },
    config::environment::{self, Variable},
    model::{
        gauge::GaugesWanted,
        output::{Fidelity, From, Output, OutputRequest},
        sandbox::SandboxSpec,
        secret::{Given, is_usual, lacking},
    },
    runtime::{HubSeen, Runtime},
};

use super::{
    agents::search_path,
    browse, hubs,
    lane::Lane,
    pictures::Showing,
    reads::{read_audit, read_diff},
    terminal,
};

/// Taking a snapshot, and making a sandbox of one.
const SNAPSHOT_CALL_WITHIN: Duration = SNAPSHOT_WITHIN.saturating_add(CREATE_WITHIN);
/// Looking for changes, with others before it.
const DIFF_CALL_WITHIN: Duration = CHANGES_WITHIN.saturating_mul(3);

/// Where results go: answers and output apart, so that a flood never delays an answer.
#[derive(Clone)]
pub struct Outbox {
    pub answers: mpsc::Sender<Msg>,
    pub outputs: mpsc::Sender<Msg>,
}

/// Puts in what is the operator's: variables that are passed on, and the values of secrets.
fn fill(spec: &mut SandboxSpec, pass: Vec<String>) -> Outcome<()> {
    let named = |name: &str, hint: &str| {
        let missing = format!("your environment has no variable {name}");
        environment::named(name).ok_or_else(|| Fault::absent(missing).hint(hint))
    };
    for name in pass {
        let value = named(&name, "it is the one that the console was started with")?;
        spec.env.push((name, value));
    }
    for name in lacking(&spec.secrets, &[]) {
        let value = environment::named(name).ok_or_else(|| {
            // What is no variable may be a value that was written in a name's place.
            let which = if is_usual(name) { name } else { "one of `secrets`" };
            Fault::absent(format!("your environment has no variable for {which}"))
                .hint("`secrets` of [new] in config.toml has NAMES of variables that the console was started with")
        })?;
        spec.given.push(Given { name: name.to_owned(), value: Secret::new(value) });
    }
    Ok(())
}

/// Makes a sandbox; `here` on this machine: where its programs are is nothing to another.
async fn create(runtime: &dyn Runtime, order: Order, here: bool) -> Outcome<Reply> {
    let Order { mut spec, pass } = order;
    fill(&mut spec, pass)?;
    if spec.driver == DOCKER_DRIVER && spec.image.is_none() {
        spec.image = Variable::Image.text();
    }
    if here {
        spec.search_path = search_path();
    }
    runtime.create(spec).await.map(|it| Reply::Sandbox(Box::new(it)))
}

/// Owns every task it started; dropping it ends them.
pub struct Runner {
    runtime: Arc<dyn Runtime>,
    /// Whose the effect is that is started, and whose it is said to be.
    hub: HubNumber,
    of: Option<HubNumber>,
    /// Calls under way, where there is more than one hub: whose each is.
    busy: HashMap<task::Id, HubNumber>,
    /// `None` = it is one.
    several: Option<watch::Receiver<Arc<Vec<HubSeen>>>>,
    outbox: Outbox,
    calls: JoinSet<()>,
    streams: HashMap<(SessionId, u64), AbortHandle>,
    subscriptions: JoinSet<()>,
    lanes: HashMap<SessionId, Lane>,
    /// Readings of gauges, while they are wanted.
    gauges: Option<AbortHandle>,
    /// Looks at what one process calls.
    calls_of: Option<AbortHandle>,
    /// Calls that only read and may be given up.
    reads: HashMap<EffectId, AbortHandle>,
    /// What the place of files watches.
    watching: Option<browse::Older>,
    /// What the terminal can show of pictures.
    showing: Showing,
}

impl Runner {
    /// Hubs that are down are looked for at once.
    pub fn look_now(&self) {
        self.runtime.look_now();
    }

    pub fn new(runtime: Arc<dyn Runtime>, outbox: Outbox, showing: Showing) -> Self {
        let mut runner = Self {
            several: runtime.hubs(),
            runtime,
            hub: HubNumber::FIRST,
            of: None,
            busy: HashMap::new(),
            outbox,
            calls: JoinSet::new(),
            streams: HashMap::new(),
            subscriptions: JoinSet::new(),
            lanes: HashMap::new(),
            gauges: None,
            calls_of: None,
            reads: HashMap::new(),
            watching: None,
            showing,
        };
        let (runtime, answers) = (&runner.runtime, &runner.outbox.answers);
        runner.subscriptions.spawn(hubs::feed(runtime.clone(), answers.clone()));
        match runtime.hubs() {
            Some(seen) => runner.subscriptions.spawn(hubs::states(seen, answers.clone())),
            None => runner.subscriptions.spawn(hubs::link(runtime.clone(), answers.clone())),
        };
        runner
    }

    /// The window of the terminal may be another.
    pub fn resized(&mut self) {
        if let Some(window) = terminal::window() {
            self.showing.resized(window);
        }
    }

    /// Starts an effect of one of several hubs, which are no others' now.
    fn start_of(&mut self, hub: HubNumber, id: EffectId, act: Act) -> Option<Effect> {
        let Some(one) = self.runtime.one(hub) else {
            self.refuse(id, Fault::absent("that hub is not in this console any more"));
            return None;
        };
        let all = std::mem::replace(&mut self.runtime, one);
        self.of = Some(hub);
        let left = self.start(Effect { id, act });
        self.of = None;
        self.runtime = all;
        left
    }

    fn forget_ended(&mut self) {
        while let Some(done) = self.calls.try_join_next_with_id() {
            self.busy.remove(&done.map_or_else(|it| it.id(), |it| it.0));
        }
        while self.subscriptions.try_join_next().is_some() {}
    }

    /// Starts an effect that concerns the hub; gives the others back.
    pub fn start(&mut self, effect: Effect) -> Option<Effect> {
        self.forget_ended();
        self.hub = self.of.unwrap_or_else(|| effect.act.hub());
        let Effect { id, act } = effect;
        let act = match act {
            Act::Of(hub, act) => return self.start_of(hub, id, *act),
            act => act,
        };
        let runtime = self.runtime.clone();
        match act {
            Act::Subscribe { session, generation } => self.subscribe(session, generation),
            Act::Unsubscribe { session, generation } => {
                if let Some(stream) = self.streams.remove(&(session, generation)) {
                    stream.abort();
                }
            }
            Act::Input { session, bytes, run } => {
                if let Err(fault) = self.lane(&session).input(id, run, bytes) {
                    self.refuse(id, fault);
                }
            }
            Act::CloseLane(session) => drop(self.lanes.remove(&session)),
            Act::Nudge { session, what } => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.nudge(&session, what).await.map(|()| Reply::Nothing)
            }),
            Act::Resize { session, size } => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.resize(&session, size).await.map(|()| Reply::Nothing)
            }),
            Act::Lease { session, verb } => {
                let lane = self.lane(&session);
                if let Err(fault) = lane.lease(id, verb) {
                    self.refuse(id, fault);
                }
            }
            Act::Create(order) => {
                let here = self.hub == HubNumber::FIRST;
                self.call(id, CREATE_WITHIN + HUB_ANSWER_WITHIN, async move {
                    create(&*runtime, *order, here).await
                });
            }
            Act::Open { sandbox, spec } => self.call(id, CREATE_WITHIN, async move {
                runtime.open(&sandbox, spec).await.map(|it| Reply::Session(Box::new(it)))
            }),
            Act::Pause(sandbox) => self.call(id, 2 * HUB_ANSWER_WITHIN, async move {
                runtime.pause(&sandbox).await.map(|()| Reply::Nothing)
            }),
            Act::Resume(sandbox) => self.call(id, 2 * HUB_ANSWER_WITHIN, async move {
                runtime.resume(&sandbox).await.map(|()| Reply::Nothing)
            }),
            Act::Stop(sandbox) => self.call(id, 2 * HUB_ANSWER_WITHIN + STOP_GRACE, async move {
                runtime.stop(&sandbox, STOP_GRACE).await.map(|()| Reply::Nothing)
            }),
            Act::Remove(sandbox) => self.call(id, CREATE_WITHIN + HUB_ANSWER_WITHIN, async move {
                runtime.remove(&sandbox).await.map(|()| Reply::Nothing)
            }),
            Act::History { session, request } => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.history(&session, request).await.map(Reply::History)
            }),
            Act::Search { session, request } => self.read(id, HUB_ANSWER_WITHIN, async move {
                runtime.search(&session, request).await.map(Reply::Search)
            }),
            Act::Doctor => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.doctor().await.map(Reply::Checks)
            }),
            act => return self.start_on_files(id, act),
        }
        None
    }

    /// The same for what concerns the files of a sandbox.
    fn start_on_files(&mut self, id: EffectId, act: Act) -> Option<Effect> {
        let runtime = self.runtime.clone();
        match act {
            Act::Snapshots => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.snapshots().await.map(Reply::Snapshots)
            }),
            Act::Snapshot { sandbox, name, kind } => {
                self.call(id, SNAPSHOT_CALL_WITHIN, async move {
                    let taken = runtime.snapshot(&sandbox, name, kind).await;
                    taken.map(|it| Reply::Snapshot(Box::new(it)))
                });
            }
            Act::RemoveSnapshot(snapshot) => self.call(id, SNAPSHOT_CALL_WITHIN, async move {
                runtime.remove_snapshot(&snapshot).await.map(|()| Reply::Nothing)
            }),
            Act::Restore { sandbox, to } => self.call(id, SNAPSHOT_CALL_WITHIN, async move {
                runtime.restore(&sandbox, to.as_ref()).await.map(|it| Reply::Sandbox(Box::new(it)))
            }),
            Act::Fork { from, how } => self.call(id, SNAPSHOT_CALL_WITHIN, async move {
                runtime.fork(from, how).await.map(|it| Reply::Sandbox(Box::new(it)))
            }),
            Act::Apply { sandbox, request } => self.call(id, APPLY_WITHIN, async move {
                runtime.apply(&sandbox, request).await.map(|it| Reply::Applied(Box::new(it)))
            }),
            Act::TakeBack { sandbox, overwrite } => self.call(id, APPLY_WITHIN, async move {
                runtime.take_back(&sandbox, overwrite).await.map(|it| Reply::Applied(Box::new(it)))
            }),
            Act::Diff { of, request } => {
                let read = async move {
                    let read = read_diff(&*runtime, of, request).await;
                    read.map(|it| Reply::Diff(Box::new(it)))
                };
                if let Some(call) = self.start_call(id, DIFF_CALL_WITHIN, read) {
                    self.reads.retain(|_, it| !it.is_finished());
                    self.reads.insert(id, call);
                }
            }
            Act::Cancel(read) => {
                if let Some(call) = self.reads.remove(&read) {
                    call.abort();
                }
            }
            act => return self.start_on_rules(id, act),
        }
        None
    }

    /// The same for asks and rules, and for what is told of both.
    fn start_on_rules(&mut self, id: EffectId, act: Act) -> Option<Effect> {
        let runtime = self.runtime.clone();
        match act {
            Act::Asks(wanted) => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.asks(&wanted).await.map(Reply::Asks)
            }),
            Act::Revoke(ask) => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.revoke(&ask).await.map(|it| Reply::Ask(Box::new(it)))
            }),
            Act::Decide { ask, digest, choice } => {
                let first = if choice.snapshot { SNAPSHOT_FIRST_WITHIN } else { Duration::ZERO };
                self.call(id, HUB_ANSWER_WITHIN + first, async move {
                    let decided = runtime.decide(&ask, &digest, *choice).await;
                    decided.map(|it| Reply::Ask(Box::new(it)))
                });
            }
            Act::Rules => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.rules().await.map(|it| Reply::Rules(Box::new(it)))
            }),
            Act::Propose(question) => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.propose(*question).await.map(|it| Reply::Proposal(Box::new(it)))
            }),
            Act::AddRule { text, domain } => self.call(id, HUB_ANSWER_WITHIN, async move {
                let made = runtime.add_rules(&text, domain).await;
                made.map(|it| Reply::Rule(it.into_iter().next().map(Box::new)))
            }),
            Act::RemoveRule(name) => self.call(id, HUB_ANSWER_WITHIN, async move {
                let gone = runtime.remove_rule(&name).await;
                gone.map(|it| Reply::Rule(Some(Box::new(it))))
            }),
            Act::Traffic(sandbox) => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.traffic(&sandbox).await.map(|it| Reply::Traffic(Box::new(it)))
            }),
            Act::Audit => {
                let read = async move {
                    let read = tokio::time::timeout(AUDIT_READ_WITHIN, read_audit(&*runtime));
                    let late = || Err(Fault::late("the audit record takes too long to be read"));
                    let read = read.await.unwrap_or_else(|_| late());
                    read.map(|it| Reply::Audit(Box::new(it)))
                };
                if let Some(call) = self.start_call(id, AUDIT_READ_WITHIN + HUB_ANSWER_WITHIN, read)
                {
                    self.reads.retain(|_, it| !it.is_finished());
                    self.reads.insert(id, call);
                }
            }
            Act::Files(files) => return self.start_in_files(id, *files),
            act @ (Act::Timeline(_)
            | Act::Replay { .. }
            | Act::FindInTime { .. }
            | Act::Export { .. }
            | Act::Sign(_)) => self.start_in_time(id, act),
            act => return self.start_to_see(id, act),
        }
        None
    }

    /// The same for what sandboxes use and do.
    fn start_to_see(&mut self, id: EffectId, act: Act) -> Option<Effect> {
        let runtime = self.runtime.clone();
        match act {
            Act::WatchGauges(on) => {
                self.gauges.take().inspect(AbortHandle::abort);
                if on {
                    let task = watch_gauges(runtime, self.outbox.answers.clone());
                    self.gauges = Some(self.subscriptions.spawn(task));
                }
            }
            Act::WatchSyscalls { of, generation } => {
                self.calls_of.take().inspect(AbortHandle::abort);
                if let Some((session, pid)) = of {
                    let answers = self.outbox.answers.clone();
                    let task = watch_syscalls(runtime, answers, (session, pid), generation);
                    self.calls_of = Some(self.subscriptions.spawn(task));
                }
            }
            Act::GaugePast(wanted) => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.past(wanted).await.map(|it| Reply::GaugePast(Box::new(it)))
            }),
            Act::Explain(session) => self.call(id, HUB_ANSWER_WITHIN, async move {
                runtime.explain(&session).await.map(|it| Reply::Explained(Box::new(it)))
            }),
            act => return Some(Effect { id, act }),
        }
        None
    }

    /// The same for the place of files.
    fn start_in_files(&mut self, id: EffectId, act: FilesAct) -> Option<Effect> {
        let runtime = self.runtime.clone();
        match act {
            FilesAct::Edit(_) => return Some(Effect { id, act: Act::Files(Box::new(act)) }),
            FilesAct::Watch { sandbox, paths, generation } => {
                let (answers, before) = (self.outbox.answers.clone(), self.watching.take());
                let watch = browse::watch(runtime, answers, sandbox, paths, generation, before);
                self.watching = Some(browse::Older(self.subscriptions.spawn(watch)));
            }
            FilesAct::Unwatch => drop(self.watching.take()),
            act => {
                // Copies may be long; all others are soon over.
                let long = matches!(act, FilesAct::Get { .. } | FilesAct::Send { .. });
                let within = if long { TTL_MAX } else { FIND_WITHIN + HUB_ANSWER_WITHIN };
                let graphics = self.showing.now();
                let answer = async move {
                    let done = browse::answer(&*runtime, act, graphics).await;
                    done.map(|it| Reply::Files(Box::new(it)))
                };
                if let Some(call) = self.start_call(id, within, answer) {
                    self.reads.retain(|_, it| !it.is_finished());
                    self.reads.insert(id, call);
                }
            }
        }
        None
    }

    /// Runs blocking work (a file) whose result is a message, beside the loop.
    pub fn aside(&mut self, work: impl FnOnce() -> Vec<Msg> + Send + 'static) {
        let answers = self.outbox.answers.clone();
        self.calls.spawn(async move {
            let Ok(messages) = tokio::task::spawn_blocking(work).await else { return };
            for message in messages {
                // The console is closing when nobody takes it.
                drop(answers.send(message).await);
            }
        });
    }

    /// Lets what was typed reach the hub before the console ends.
    pub async fn finish(mut self, within: Duration) {
        let lanes = std::mem::take(&mut self.lanes);
        let all = async move {
            for (_, lane) in lanes {
                lane.finish().await;
            }
        };
        // Longer than this the operator would wait for a dead hub.
        let _ = tokio::time::timeout(within, all).await;
    }

    fn lane(&mut self, session: &SessionId) -> &mut Lane {
        self.lanes.retain(|_, lane| !lane.ended());
        self.lanes.entry(session.clone()).or_insert_with(|| {
            // What it says of its link is of that hub.
            let of_it = self.runtime.one(session.hub());
            let runtime = of_it.unwrap_or_else(|| self.runtime.clone());
            Lane::open(runtime, session.clone(), self.outbox.answers.clone())
        })
    }

    fn call(
        &mut self,
        id: EffectId,
        within: Duration,
        work: impl Future<Output = Outcome<Reply>> + Send + 'static,
    ) {
        drop(self.start_call(id, within, work));
    }

    /// Starts a call; `None` when it is refused, which is answered.
    fn start_call(
        &mut self,
        id: EffectId,
        within: Duration,
        work: impl Future<Output = Outcome<Reply>> + Send + 'static,
    ) -> Option<AbortHandle> {
        if self.is_full() {
            self.refuse(id, Fault::busy("too much is waiting for the hub"));
            return None;
        }
        let answers = self.outbox.answers.clone();
        let call = self.calls.spawn(async move {
            let late = || Err(Fault::late(format!("the hub did not answer within {within:?}")));
            let result = tokio::time::timeout(within, work).await.unwrap_or_else(|_| late());
            drop(answers.send(Msg::Done { id, result }).await);
        });
        self.busy.insert(call.id(), self.hub);
        Some(call)
    }

    /// Whether too much waits for the hub. Of several, each has so many calls of its own.
    fn is_full(&self) -> bool {
        if self.several.as_ref().is_none_or(|it| it.borrow().len() < 2) {
            return self.calls.len() >= CONSOLE_CALLS_MAX;
        }
        self.busy.values().filter(|it| **it == self.hub).count() >= CALLS_PER_HUB_MAX
    }

    pub(super) fn runtime(&self) -> Arc<dyn Runtime> {
        self.runtime.clone()
    }

    /// A call that only reads, and may be given up.
    pub(super) fn read(
        &mut self,
        id: EffectId,
        within: Duration,
        work: impl Future<Output = Outcome<Reply>> + Send + 'static,
    ) {
        if let Some(call) = self.start_call(id, within, work) {
            self.reads.retain(|_, it| !it.is_finished());
            self.reads.insert(id, call);
        }
    }

    fn refuse(&mut self, id: EffectId, fault: Fault) {
        let answers = self.outbox.answers.clone();
        // Bounded by the effects of one turn; it only waits for the loop to take it.
        self.calls.spawn(async move {
            drop(answers.send(Msg::Done { id, result: Err(fault) }).await);
        });
    }

    fn subscribe(&mut self, session: SessionId, generation: u64) {
        self.streams.retain(|_, stream| !stream.is_finished());
        let key = (session.clone(), generation);
        let task = watch(self.runtime.clone(), self.outbox.outputs.clone(), session, generation);
        let stream = self.subscriptions.spawn(task);
        if let Some(older) = self.streams.insert(key, stream) {
            older.abort();
        }
    }
}

/// One subscription: its messages, then its end.
async fn watch(
    runtime: Arc<dyn Runtime>,
    outputs: mpsc::Sender<Msg>,
    session: SessionId,
    generation: u64,
) {
    let request =
        OutputRequest { from: From::Now, fidelity: Fidelity::Screen, every_at_least: None };
    let why = match runtime.output(&session, request).await {
        Err(fault) => Some(fault),
        Ok(mut stream) => loop {
            match stream.next().await {
                None => break None,
                Some(Err(fault)) => break Some(fault),
                Some(Ok(output)) => {
                    for output in slices(output) {
                        let message = Msg::Output { session: session.clone(), generation, output };
                        if outputs.send(message).await.is_err() {
                            return;
                        }
                    }
                }
            }
        },
    };
    drop(outputs.send(Msg::OutputEnded { session, generation, why }).await);
}

/// Cuts a chunk so that a waiting key goes first after each slice.
fn slices(output: Output) -> Vec<Output> {
    let Output::Chunk { offset, bytes } = output else { return vec![output] };
    let starts = (0..bytes.len()).step_by(PARSE_SLICE_BYTES);
    starts
        .map(|start| Output::Chunk {
            offset: offset + start as u64,
            bytes: bytes.slice(start..bytes.len().min(start + PARSE_SLICE_BYTES)),
        })
        .collect()
}

/// Readings of gauges, round after round.
async fn watch_gauges(runtime: Arc<dyn Runtime>, answers: mpsc::Sender<Msg>) {
    let wanted = GaugesWanted { only: Vec::new(), watch: true };
    let why = match runtime.gauges(wanted).await {
        Err(fault) => fault,
        Ok(mut rounds) => loop {
            match rounds.next().await {
                None => break Fault::lost("the hub ended the readings"),
                Some(Err(fault)) => break fault,
                Some(Ok(round)) => {
                    if answers.send(Msg::Gauges(Ok(Box::new(round)))).await.is_err() {
                        return;
                    }
                }
            }
        },
    };
    // Not at once: what asks again does so with the next message.
    tokio::time::sleep(hubs::RECONNECT_AFTER_MAX).await;
    drop(answers.send(Msg::Gauges(Err(why))).await);
}

/// What a process calls, until that is over.
async fn watch_syscalls(
    runtime: Arc<dyn Runtime>,
    answers: mpsc::Sender<Msg>,
    (session, pid): (SessionId, u32),
    generation: u64,
) {
    let why = match runtime.syscalls(&session, pid).await {
        Err(fault) => fault,
        Ok(mut parts) => loop {
            match parts.next().await {
                None => break Fault::lost("the hub ended the look"),
                Some(Err(fault)) => break fault,
                Some(Ok(part)) => {
                    let is_over = part.over.is_some();
                    let part = Ok(Box::new(part));
                    if answers.send(Msg::Syscalls { generation, part }).await.is_err() || is_over {
                        return;
                    }
                }
            }
        },
    };
    drop(answers.send(Msg::Syscalls { generation, part: Err(why) }).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_a_chunk_are_the_chunk() {
        let bytes = bytes::Bytes::from(vec![7; PARSE_SLICE_BYTES * 2 + 5]);
        let parts = slices(Output::Chunk { offset: 100, bytes: bytes.clone() });
        let mut next = 100;
        let mut whole = Vec::new();
        for part in parts {
            let Output::Chunk { offset, bytes } = part else { panic!("not a chunk") };
            assert_eq!(offset, next);
            next += bytes.len() as u64;
            whole.extend_from_slice(&bytes);
        }
        assert_eq!(whole, bytes);
    }
}
