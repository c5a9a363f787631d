//! One session: drains its PTY always, keeps ring, journal and screen in step, and serves any
//! number of watchers, none of whom can hold the drain up.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    input::InputQueue,
    journal::{Meta, Writer},
    marks::{Mark, Marks},
    seat::BoxStream,
    status::{Assessed, Beside, Recorder, look::Looks, rules::Rules},
    watch,
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::Outcome,
        limits::{COUNTERS_EVERY_MIN, FACTS_PER_SECOND_MAX, PTY_CHUNK_BYTES_MAX, RING_BYTES},
        ring::Ring,
        units::Size,
    },
    driver::{Program, PtyIo, Slept, TerminalUse},
    model::{
        fact::Fact,
        output::{Output, OutputRequest},
        process::Processes,
        session::{ExitStatus, Lease, Session, Status},
        status::{Evidence, Source, Weight, judge},
    },
    vt::screen::Screen,
};

/// What a host tells its house.
#[derive(Debug)]
pub enum Told {
    /// Something in `Session` is different; told once a second at most when it is only the counter
    /// of bytes and the time of the last one.
    Changed,
    Said(Fact),
}

/// How many processes of the sandbox the kernel ended for want of memory, so far.
pub type Starved = Box<dyn Fn() -> u64 + Send + Sync>;

/// Called from the drain: must not block.
pub type Tell = Box<dyn Fn(Told) + Send + Sync>;

/// One session. Dropping it ends its tasks and hangs up on the program.
pub struct Host {
    shared: Arc<Shared>,
    tasks: [AbortHandle; 2],
    /// One looks at its processes at a time.
    looks: tokio::sync::Mutex<Looks>,
    /// How often it was held still or let go on.
    turns: AtomicU64,
}

/// What the drain, the watchers and the verbs share.
///
/// Locks are taken in the order journal, live; no lock is held across an await. Watchers only take
/// `live`. The journal is written where the PTY is drained: a disk that does not answer holds up this
/// session, and in a shim, which has one thread, all of its sandbox.
pub(super) struct Shared {
    pub(super) journal_dir: PathBuf,
    journal: Mutex<Option<(Writer, Meta)>>,
    live: Mutex<Live>,
    pub(super) woken: Notify,
    pub(super) input: InputQueue,
    resize: Box<dyn Fn(Size) -> Outcome<()> + Send + Sync>,
    terminal: Box<dyn Fn() -> TerminalUse + Send + Sync>,
    starved: Starved,
    /// Rung when something happened that may be another status.
    bell: Arc<Notify>,
    tell: Tell,
}

/// The session as it is after the last parsed byte. Ring, marks and screen are always in step.
pub(super) struct Live {
    pub(super) session: Session,
    pub(super) ring: Ring,
    pub(super) marks: Marks,
    pub(super) screen: Screen,
    /// So much of the ring is what it showed when it came.
    painted: u64,
    /// On the monotonic clock, for status and counters.
    pub(super) last_output: Option<Duration>,
    /// Before any resize.
    pub(super) first_size: Size,
    /// The host is gone: nothing will be added.
    pub(super) closed: bool,
    recorder: Recorder,
    counted: Duration,
    /// Facts told in the second that began at `.0`.
    told: (Duration, u32),
}

impl Host {
    /// Takes over a started program. `session` is what is known of it so far; without a journal
    /// (it could not be made) everything else still works. `screen` is what it shows already.
    pub fn start(
        session: Session,
        program: Program<PtyIo>,
        screen: Option<Screen>,
        journal_dir: PathBuf,
        journal: Option<(Writer, Meta)>,
        starved: Starved,
        tell: Tell,
    ) -> Self {
        let PtyIo { reader, writer, resize, terminal } = program.io;
        let now = clock::monotonic();
        let shared = Arc::new(Shared {
            journal_dir,
            journal: Mutex::new(journal),
            live: Mutex::new(Live {
                ring: Ring::starting_at(0, RING_BYTES),
                marks: Marks::default(),
                screen: Screen::new(session.size),
                painted: 0,
                last_output: None,
                first_size: session.size,
                closed: false,
                recorder: Recorder::start(),
                counted: now,
                told: (now, 0),
                session,
            }),
            woken: Notify::new(),
            input: InputQueue::default(),
            resize,
            terminal,
            starved: since_now(starved),
            bell: Arc::default(),
            tell,
        });
        if let Some(screen) = screen {
            shared.goes_on_from(screen);
        }
        shared.live().decide();
        shared.refresh_journal();
        let writing = Arc::clone(&shared);
        let drain = tokio::spawn(super::drain::run(Arc::clone(&shared), reader, program.exit));
        let write = tokio::spawn(async move { writing.input.write_to(writer).await });
        let looks = tokio::sync::Mutex::default();
        let tasks = [drain.abort_handle(), write.abort_handle()];
        Self { shared, tasks, looks, turns: AtomicU64::new(0) }
    }

    pub fn session(&self) -> Session {
        self.shared.live().session.clone()
    }

    /// It as it is written down with its program.
    pub fn slept(&self, key: &str) -> Slept {
        let live = self.shared.live();
        let (size, screen) = live.keyframe();
        let command = live.session.command.clone();
        let printed = live.ring.end() - live.painted;
        Slept { key: key.to_owned(), command, size, screen: screen.to_vec(), printed }
    }

    pub fn has_ended(&self) -> bool {
        self.shared.live().session.exit.is_some()
    }

    /// The number of its program, as long as that runs.
    pub fn pid(&self) -> Option<u32> {
        let live = self.shared.live();
        live.session.pid.filter(|_| live.session.exit.is_none())
    }

    pub fn output(&self, request: OutputRequest) -> BoxStream<Outcome<Output>> {
        watch::start(Arc::clone(&self.shared), request)
    }

    /// `Busy` when the queue is full; nothing is taken then.
    pub fn input(&self, bytes: Bytes) -> Outcome<()> {
        let typed = is_typed(&bytes);
        self.shared.input.push(bytes)?;
        if typed {
            self.answered();
        }
        self.shared.bell.notify_one();
        Ok(())
    }

    /// Resizes PTY and screen; the new size has its place in the stream of output.
    pub fn resize(&self, size: Size) -> Outcome<()> {
        let mut journal = self.shared.journal();
        let mut live = self.shared.live();
        if live.session.size == size || live.session.exit.is_some() {
            return Ok(());
        }
        (self.shared.resize)(size)?;
        live.session.size = size;
        live.screen.resize(size);
        let end = live.ring.end();
        live.marks.push(end, Mark::Resize(size));
        drop(live);
        if let Some((journal, _)) = journal.as_mut() {
            journal.resize(clock::wall(), size);
        }
        drop(journal);
        self.shared.changed();
        Ok(())
    }

    pub fn set_lease(&self, lease: Option<Lease>) {
        self.shared.live().session.lease = lease;
        (self.shared.tell)(Told::Changed);
    }
}

/// Its status, and what that stands on.
impl Host {
    /// The session, with its status as it follows from what the sandbox knows, too.
    pub fn session_beside(&self, beside: &Beside) -> Session {
        let live = self.shared.live();
        let mut session = live.session.clone();
        if beside.paused.is_some() || beside.asks.is_some() {
            let told = live.recorder.judge(beside);
            (session.status, session.status_why, session.status_since) =
                (told.status, told.why, told.since);
        }
        session
    }

    /// All of the evidence, with what became of it.
    pub fn evidence(&self, beside: &Beside) -> Vec<(Evidence, Weight)> {
        let (all, now) = self.shared.live().recorder.evidence(beside);
        let told = judge(&all, now);
        all.into_iter().zip(told.weights).collect()
    }

    pub fn status(&self) -> Status {
        self.shared.live().session.status
    }

    /// Whether its status can't be another one before something is printed, typed or told.
    pub fn rests(&self) -> bool {
        let live = self.shared.live();
        if !matches!(live.session.status, Status::Idle | Status::Waiting) {
            return false;
        }
        let (all, now) = live.recorder.evidence(&Beside::default());
        let weights = judge(&all, now).weights;
        let decides = all.iter().zip(weights).find(|(_, weight)| *weight == Weight::Decides);
        decides.is_some_and(|(it, _)| !matches!(it.source, Source::Process | Source::Output))
    }

    /// How long until something that was said counts no more.
    pub fn changes_in(&self) -> Option<Duration> {
        self.shared.live().recorder.changes_in()
    }

    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.bell)
    }

    pub fn terminal(&self) -> TerminalUse {
        (self.shared.terminal)()
    }

    /// When it printed last, as of `clock::monotonic`.
    pub fn printed(&self) -> Option<Duration> {
        self.shared.live().last_output
    }

    /// A person answered it, in whatever way.
    pub fn answered(&self) {
        self.differs(Recorder::answered);
    }

    /// It is held still from now on, or goes on.
    pub fn turned(&self) {
        self.turns.fetch_add(1, Ordering::SeqCst);
        self.differs(Recorder::turned);
        self.shared.bell.notify_one();
    }

    /// How often it was held still or let go on: two looks between which that happened are of two times.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }

    /// Has the evidence be another, and tells where another status follows from that.
    fn differs(&self, by: impl FnOnce(&mut Recorder) -> bool) {
        let mut live = self.shared.live();
        let changed = live.session.exit.is_none() && by(&mut live.recorder) && live.decide();
        drop(live);
        if changed {
            (self.shared.tell)(Told::Changed);
        }
    }

    pub async fn looks(&self) -> tokio::sync::MutexGuard<'_, Looks> {
        self.looks.lock().await
    }

    /// Takes what a look at its processes showed, and looks at its screen. Neither files nor patterns are a matter of the lock
    /// that output and keys wait for.
    pub fn looked(&self, seen: &Assessed, processes: &Processes, rules: &Rules) {
        let starved = (self.shared.starved)();
        let live = self.shared.live();
        if live.session.exit.is_some() {
            return;
        }
        let (lines, own) = (live.screen.lines(), live.session.program());
        drop(live);
        let front = processes.all.iter().filter(|it| it.foreground).map(|it| it.name.clone());
        let programs: Vec<String> = own.into_iter().chain(front).collect();
        let read = rules.read(&programs, &lines);
        let mut live = self.shared.live();
        if live.session.exit.is_some() {
            return;
        }
        if starved > 0 {
            live.recorder.starved(starved);
        }
        live.recorder.looked(seen.clone(), read.as_ref(), &lines);
        let changed = live.decide();
        drop(live);
        if changed {
            (self.shared.tell)(Told::Changed);
        }
    }

    /// An agent's hook was run in it.
    pub fn told(&self, word: &super::status::HookWord) {
        let mut live = self.shared.live();
        if live.session.exit.is_some() {
            return;
        }
        live.recorder.told(word);
        let changed = live.decide();
        drop(live);
        self.shared.bell.notify_one();
        if changed {
            (self.shared.tell)(Told::Changed);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.live().closed = true;
        self.shared.woken.notify_waiters();
        self.shared.bell.notify_one();
    }
}

impl Shared {
    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> MutexGuard<'_, Option<(Writer, Meta)>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the watchers and tells the house.
    fn changed(&self) {
        self.woken.notify_waiters();
        (self.tell)(Told::Changed);
    }

    /// Has a screen already, which is its first output to whoever looks from the start.
    fn goes_on_from(&self, screen: Screen) {
        let mut painted = Vec::new();
        if screen.modes().alternate_screen {
            painted.extend_from_slice(b"\x1b[?1049h");
        }
        painted.extend(screen.contents_formatted());
        painted.chunks(PTY_CHUNK_BYTES_MAX).for_each(|it| self.take(it));
        let mut live = self.live();
        live.session.title = screen.title().map(str::to_owned).filter(|it| !it.is_empty());
        live.screen = screen;
        live.painted = live.ring.end();
    }

    /// Takes a piece of output, at most a chunk: journal first, then ring and screen
    /// together, then the watchers.
    pub(super) fn take(&self, bytes: &[u8]) {
        let (now, at) = (clock::monotonic(), clock::wall());
        let mut journal = self.journal();
        let mut lost = 0;
        if let Some((journal, _)) = journal.as_mut() {
            journal.output(at, bytes);
            lost = journal.lost();
        }
        let mut live = self.live();
        let (found, told) = live.take(bytes, now, at);
        live.session.journal_lost_bytes = lost;
        drop(live);
        drop(journal);
        self.woken.notify_waiters();
        self.bell.notify_one();
        self.refresh_journal();
        if !found.is_empty() {
            // Nothing to do when a program asks questions without reading the answers: its queue
            // is full of them.
            drop(self.input.push(found.into()));
        }
        for told in told {
            (self.tell)(told);
        }
    }

    /// Opens the next segment of the journal when it is time to.
    fn refresh_journal(&self) {
        let mut journal = self.journal();
        let Some((writer, meta)) = journal.as_mut().filter(|it| it.0.wants_keyframe()) else {
            return;
        };
        let (size, state) = self.live().keyframe();
        writer.keyframe(clock::wall(), size, state);
        if writer.failure().is_none() && meta.lost_bytes != writer.lost() {
            meta.lost_bytes = writer.lost();
            drop(meta.save(&self.journal_dir));
        }
    }

    /// No output for a while.
    pub(super) fn quiet(&self) {
        let mut live = self.live();
        live.recorder.quiet();
        live.decide();
        drop(live);
        (self.tell)(Told::Changed);
    }

    /// The program ended, and all it printed has been taken.
    pub(super) fn ended(&self, status: ExitStatus, why: String) {
        let at = clock::wall();
        // It may have been another that was ended, but seldom is it by chance.
        let killed = status == ExitStatus::Signal(9) || status == ExitStatus::Code(128 + 9);
        let starved = if killed { (self.starved)() } else { 0 };
        let mut journal = self.journal();
        let mut live = self.live();
        live.recorder.ended(&why);
        if starved > 0 {
            live.recorder.starved(starved);
        }
        live.decide();
        live.session.exit = Some(status);
        live.session.exited_at = Some(at);
        live.session.pid = None;
        live.session.lease = None;
        let end = live.ring.end();
        live.marks.push(end, Mark::Exit(status));
        drop(live);
        if let Some((journal, meta)) = journal.as_mut() {
            journal.exit(at, status);
            (meta.ended_at, meta.exit, meta.lost_bytes) = (Some(at), Some(status), journal.lost());
            // On a full disk the exit is only in the session itself.
            drop(meta.save(&self.journal_dir));
        }
        drop(journal);
        self.input.close();
        self.bell.notify_one();
        self.changed();
    }
}

/// Whether a person typed it, and no terminal tells by itself where the mouse and the focus are.
fn is_typed(bytes: &[u8]) -> bool {
    const BY_ITSELF: [&[u8]; 4] = [b"\x1b[I", b"\x1b[O", b"\x1b[<", b"\x1b[M"];
    !bytes.is_empty() && !BY_ITSELF.iter().any(|it| bytes.starts_with(it))
}

/// The same, counted from now on.
fn since_now(starved: Starved) -> Starved {
    let before = starved();
    Box::new(move || starved().saturating_sub(before))
}

impl Live {
    /// The screen as it is after the newest byte.
    pub(super) fn keyframe(&self) -> (Size, Bytes) {
        (self.screen.size(), self.screen.keyframe().into())
    }

    /// Feeds ring and screen; gives the answers for the program and what to tell.
    fn take(&mut self, bytes: &[u8], now: Duration, at: Timestamp) -> (Vec<u8>, Vec<Told>) {
        let base = self.ring.end();
        self.ring.push(bytes);
        let found = self.screen.feed(bytes);
        self.last_output = Some(now);
        self.session.output_bytes = self.ring.end();
        self.session.last_output_at = Some(at);
        self.recorder.printed();
        for (_, fact) in &found.facts {
            self.recorder.fact(fact);
        }
        let mut told = Vec::new();
        let counts = now.saturating_sub(self.counted) >= COUNTERS_EVERY_MIN;
        if self.decide() || counts {
            self.counted = now;
            told.push(Told::Changed);
        }
        let mut bell = false;
        for (after, fact) in found.facts {
            let offset = base + (after as u64).min(bytes.len() as u64);
            match &fact {
                // A slice full of bells rings once.
                Fact::Bell => {
                    self.session.bells += 1;
                    if std::mem::replace(&mut bell, true) {
                        continue;
                    }
                    told.push(Told::Changed);
                }
                Fact::Title(title) => {
                    self.session.title = Some(title.clone()).filter(|it| !it.is_empty());
                    told.push(Told::Changed);
                }
                _ => {}
            }
            if self.may_tell(now) {
                told.push(Told::Said(fact.clone()));
            }
            self.marks.push(offset, Mark::Fact(fact));
        }
        self.marks.forget(self.ring.start());
        (found.replies, told)
    }

    /// Has the session say what follows from the evidence by now; tells whether that is something else.
    fn decide(&mut self) -> bool {
        let told = self.recorder.judge(&Beside::default());
        let session = &mut self.session;
        let same = session.status == told.status && session.status_why == told.why;
        if session.status != told.status || session.status_since.is_none() {
            // What speaks for it may have done so before, without being believed.
            session.status_since = told.since.map(|_| self.recorder.now());
        }
        (session.status, session.status_why) = (told.status, told.why);
        !same
    }

    /// Bounds what one program can make the whole fleet listen to.
    fn may_tell(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.told.0) >= Duration::from_secs(1) {
            self.told = (now, 0);
        }
        self.told.1 += 1;
        self.told.1 <= FACTS_PER_SECOND_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_tells_by_itself_is_not_typed() {
        for by_itself in ["\x1b[I", "\x1b[O", "\x1b[<35;1;1M", "\x1b[M !!", ""] {
            assert!(!is_typed(by_itself.as_bytes()), "{by_itself:?}");
        }
        for typed in ["y", "\r", "\x1b", "\x1b[A", "\x1bOP", "\x1b[200~pasted\x1b[201~"] {
            assert!(is_typed(typed.as_bytes()), "{typed:?}");
        }
    }
}
