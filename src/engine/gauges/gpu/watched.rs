//! One source of GPUs on a thread of its own. Whoever asks never waits for the driver: one that hangs is one thread
//! that hangs, and is told of. The thread ends, and lets go of the driver, when there is nothing to read or nobody to
//! read it for.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::watch;

use super::{Reading, Source};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        limits::{GAUGED_WITHIN, GPU_FIRST_WITHIN, GPU_TOLD_AFTER, GPU_TRIED_AFTER},
    },
    model::event::Level,
};

type Make = Box<dyn Fn() -> Box<dyn Source> + Send + Sync>;

/// A source, and what it said last.
pub struct Watched {
    /// What is asked, for a person: "the X driver".
    pub name: &'static str,
    shared: Arc<Shared>,
}

struct Shared {
    make: Make,
    state: Mutex<State>,
    /// Rung for the thread.
    wake: Condvar,
    /// Sent to with every answer.
    answered: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// There is a thread.
    runs: bool,
    /// The thread is to read.
    wanted: bool,
    /// The thread is to end.
    rests: bool,
    /// Since when an answer is awaited.
    asked: Option<(Duration, Timestamp)>,
    /// The source has not answered since it was made.
    fresh: bool,
    answer: Option<Outcome<Reading>>,
    answered_at: Duration,
    told: Told,
}

/// What was told without being asked.
#[derive(Default)]
struct Told {
    /// There were GPUs here.
    worked: bool,
    amiss: bool,
    at: Option<Duration>,
}

/// What is known of a source.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// What it read last; nothing, where it has nothing to read.
    Read(Reading),
    /// It was asked for the first time, and has some time left.
    Waiting,
    Failed(Fault),
    /// It was asked then, and does not answer.
    Late(Timestamp),
}

impl Watched {
    pub fn new(
        name: &'static str,
        make: impl Fn() -> Box<dyn Source> + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            make: Box::new(make),
            state: Mutex::default(),
            wake: Condvar::new(),
            answered: watch::Sender::new(()),
        };
        Self { name, shared: Arc::new(shared) }
    }

    /// Asks for a reading, if it is not being made, and not if there was nothing to read a moment ago.
    pub fn ask(&self, now: Duration) {
        let tried = {
            let state = self.shared.state();
            let nothing = state.answer.as_ref().is_some_and(|it| !has_gpus(it));
            nothing && now.saturating_sub(state.answered_at) < GPU_TRIED_AFTER
        };
        if !tried {
            self.ask_anyway(now);
        }
    }

    /// The same without looking at when it was tried.
    pub fn ask_anyway(&self, now: Duration) {
        let mut state = self.shared.state();
        state.rests = false;
        if state.asked.is_some() {
            return;
        }
        state.asked = Some((now, clock::wall()));
        state.wanted = true;
        if state.runs {
            self.shared.wake.notify_one();
            return;
        }
        state.runs = true;
        state.fresh = true;
        drop(state);
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("gpus".to_owned()).spawn(move || serve(&shared));
        if let Err(error) = thread {
            self.shared.state().runs = false;
            self.shared.take(Err(Fault::io("starting a thread that reads GPUs", &error)));
        }
    }

    /// Until what was asked at `asked` or later is answered. What is late from before is not waited for.
    pub async fn answered(&self, asked: Duration) {
        let awaited = |state: &State| state.asked.is_some_and(|it| it.0 >= asked);
        let mut answers = self.shared.answered.subscribe();
        // It ends only with the last sender, which is in `self`.
        drop(answers.wait_for(|()| !awaited(&self.shared.state())).await);
    }

    /// Nobody looks any more: the thread ends as soon as it can, and what was read is forgotten.
    pub fn rest(&self) {
        let mut state = self.shared.state();
        state.rests = state.runs;
        if state.answer.as_ref().is_some_and(has_gpus) {
            state.answer = None;
        }
        self.shared.wake.notify_one();
    }

    pub fn known(&self, now: Duration) -> Known {
        self.shared.state().known(now)
    }

    /// What there is to tell without being asked: that its GPUs are not read any more, or are again.
    pub fn news(&self, now: Duration) -> Option<(Level, String)> {
        let mut state = self.shared.state();
        let known = state.known(now);
        let amiss = match &known {
            Known::Late(_) => true,
            Known::Failed(_) => state.told.worked || state.told.amiss,
            Known::Read(reading) => !reading.amiss.is_empty(),
            Known::Waiting => return None,
        };
        let recent = state.told.at.is_some_and(|at| now.saturating_sub(at) < GPU_TOLD_AFTER);
        if amiss == state.told.amiss || (amiss && recent) {
            return None;
        }
        state.told.amiss = amiss;
        drop(state);
        let name = self.name;
        let words = match known {
            Known::Failed(fault) => format!("{name}: its GPUs are not read any more: {fault}"),
            Known::Read(reading) if amiss => format!("{name}: {}", reading.amiss.join("; ")),
            Known::Late(since) => {
                let since = clock::Zone::here().time(since);
                format!("{name} has not answered since {since}: its GPUs are read when it does")
            }
            _ => format!("{name} answers again"),
        };
        self.shared.state().told.at = Some(now);
        Some(if amiss { (Level::Warning, words) } else { (Level::Info, words) })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.rest();
    }
}

fn has_gpus(answer: &Outcome<Reading>) -> bool {
    answer.as_ref().is_ok_and(|it| !it.gpus.is_empty())
}

impl State {
    fn known(&self, now: Duration) -> Known {
        let within = if self.fresh { GPU_FIRST_WITHIN } else { GAUGED_WITHIN };
        match (&self.asked, &self.answer) {
            (Some((at, since)), _) if now.saturating_sub(*at) >= within => Known::Late(*since),
            (_, Some(Ok(reading))) => Known::Read(reading.clone()),
            (_, Some(Err(fault))) => Known::Failed(fault.clone()),
            (Some(_), None) => Known::Waiting,
            (None, None) => Known::Read(Reading::default()),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a reading is wanted; `false` = none will be.
    fn next(&self) -> bool {
        let mut state = self.state();
        loop {
            if std::mem::take(&mut state.wanted) {
                return true;
            }
            if state.rests {
                return false;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take(&self, answer: Outcome<Reading>) {
        let mut state = self.state();
        state.answered_at = clock::monotonic();
        state.asked = None;
        state.fresh = false;
        state.told.worked |= has_gpus(&answer);
        // Nobody looks any more: it would be old when somebody does.
        let kept = !(state.rests && has_gpus(&answer));
        state.answer = kept.then_some(answer);
        drop(state);
        self.answered.send_replace(());
    }

    /// Whether the thread may end: nobody has asked meanwhile.
    fn ends(&self) -> bool {
        let mut state = self.state();
        state.runs = state.wanted;
        state.fresh = state.wanted;
        !state.runs
    }
}

/// The thread.
fn serve(shared: &Shared) {
    loop {
        let turn = catch_unwind(AssertUnwindSafe(|| {
            let mut source = (shared.make)();
            while shared.next() {
                let answer = source.read();
                let more = has_gpus(&answer);
                shared.take(answer);
                if !more {
                    break;
                }
            }
        }));
        if turn.is_err() {
            shared.take(Err(Fault::bug("reading GPUs failed unexpectedly")));
        }
        if shared.ends() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;
    use crate::model::gauge::Gpu;

    /// Answers what it is handed, and until then hangs.
    struct Handed(Arc<Mutex<Receiver<Outcome<Reading>>>>, SyncSender<&'static str>);

    impl Source for Handed {
        fn read(&mut self) -> Outcome<Reading> {
            // At the end of a test nobody listens any more.
            let _ = self.1.send("asked");
            self.0.lock().unwrap().recv().unwrap_or_else(|_| Ok(Reading::default()))
        }
    }

    impl Drop for Handed {
        fn drop(&mut self) {
            let _ = self.1.send("let go");
        }
    }

    struct Stage {
        watched: Watched,
        answer: SyncSender<Outcome<Reading>>,
        seen: Receiver<&'static str>,
    }

    impl Stage {
        fn new() -> Self {
            let (answer, answers) = sync_channel(9);
            let (saw, seen) = sync_channel(9);
            let answers = Arc::new(Mutex::new(answers));
            let make = move || Box::new(Handed(answers.clone(), saw.clone())) as Box<dyn Source>;
            Self { watched: Watched::new("the driver", make), answer, seen }
        }

        fn seen(&self) -> &'static str {
            self.seen.recv_timeout(Duration::from_secs(60)).unwrap()
        }

        /// One reading from end to end.
        async fn turn(&self, now: Duration, answer: Outcome<Reading>) {
            self.watched.ask(now);
            assert_eq!(self.seen(), "asked");
            self.answer.send(answer).unwrap();
            self.watched.answered(now).await;
        }

        fn known(&self, now: Duration) -> Known {
            self.watched.known(now)
        }

        fn told(&self, now: Duration) -> Option<String> {
            self.watched.news(now).map(|it| it.1)
        }
    }

    fn one() -> Reading {
        Reading { gpus: vec![Gpu::default()], ..Reading::default() }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn one_that_hangs_is_given_up_told_of_once_and_comes_back_by_itself() {
        let stage = Stage::new();
        let start = clock::monotonic();
        let at = |seconds: u32| start + SECOND * seconds;
        stage.watched.ask(start);
        assert_eq!(stage.known(at(29)), Known::Waiting, "the first time takes long");
        assert_eq!(stage.seen(), "asked");
        stage.answer.send(Ok(one())).unwrap();
        stage.watched.answered(start).await;
        assert_eq!(stage.known(at(1)), Known::Read(one()));
        // From here on it hangs. Each round asks, and nothing comes of it.
        stage.watched.ask(at(1));
        assert_eq!(stage.seen(), "asked");
        for second in 2..6 {
            stage.watched.ask(at(second));
            assert_eq!(stage.known(at(second)), Known::Read(one()), "{second}");
            // What is late is not waited for.
            stage.watched.answered(at(second)).await;
            assert_eq!(stage.told(at(second)), None);
        }
        assert!(matches!(stage.known(at(6)), Known::Late(_)));
        assert!(stage.told(at(6)).unwrap().contains("the driver has not answered since"));
        assert_eq!(stage.told(at(7)), None);
        assert!(stage.seen.try_recv().is_err(), "it was asked once");
        // Nobody looks, and then somebody does: no second thread.
        stage.watched.rest();
        stage.watched.ask(at(8));
        assert!(stage.seen.try_recv().is_err());
        assert!(matches!(stage.known(at(8)), Known::Late(_)));
        stage.answer.send(Ok(one())).unwrap();
        stage.watched.answered(Duration::ZERO).await;
        assert_eq!(stage.known(at(9)), Known::Read(one()));
        assert_eq!(stage.told(at(9)).unwrap(), "the driver answers again");
        assert_eq!(stage.told(at(10)), None);
        // It hangs again at once: that is not told again so soon, and yet known.
        stage.watched.ask(at(10));
        assert!(matches!(stage.known(at(15)), Known::Late(_)));
        assert_eq!(stage.told(at(15)), None);
        stage.answer.send(Ok(one())).unwrap();
    }

    #[tokio::test]
    async fn one_that_vanishes_is_let_go_of_and_tried_again_later() {
        let stage = Stage::new();
        let start = clock::monotonic();
        stage.turn(start, Ok(one())).await;
        assert_eq!(stage.told(start), None);
        let gone = || Err(Fault::absent("not loaded"));
        stage.turn(start, gone()).await;
        assert_eq!(stage.seen(), "let go");
        let now = clock::monotonic();
        assert_eq!(stage.known(now), Known::Failed(Fault::absent("not loaded")));
        assert!(stage.told(now).unwrap().contains("not read any more: not loaded"));
        for second in 1..59 {
            stage.watched.ask(start + SECOND * second);
            assert_eq!(stage.told(now + SECOND * second), None);
        }
        assert!(stage.seen.try_recv().is_err(), "a round costs nothing");
        stage.turn(now + SECOND * 60, Ok(one())).await;
        assert_eq!(stage.known(now + SECOND * 60), Known::Read(one()));
        assert_eq!(stage.told(now + SECOND * 60).unwrap(), "the driver answers again");
    }

    #[tokio::test]
    async fn what_never_was_there_is_no_news_and_what_rests_is_let_go_of() {
        let stage = Stage::new();
        let now = clock::monotonic();
        stage.turn(now, Err(Fault::absent("no library"))).await;
        assert_eq!(stage.seen(), "let go");
        assert_eq!(stage.told(now), None);
        stage.watched.ask_anyway(now);
        assert_eq!(stage.seen(), "asked");
        stage.answer.send(Ok(one())).unwrap();
        stage.watched.answered(now).await;
        stage.watched.rest();
        assert_eq!(stage.seen(), "let go");
        assert_eq!(stage.known(now), Known::Read(Reading::default()), "nothing old is shown");
        // Nor what was asked for before it rested and is answered after.
        stage.watched.ask(now);
        assert_eq!(stage.seen(), "asked");
        stage.watched.rest();
        stage.answer.send(Ok(one())).unwrap();
        assert_eq!(stage.seen(), "let go");
        assert_eq!(stage.known(now), Known::Read(Reading::default()));
        stage.turn(now, Ok(one())).await;
        drop(stage.watched);
        assert_eq!(stage.seen.recv_timeout(Duration::from_secs(60)).unwrap(), "let go");
    }

    #[tokio::test]
    async fn one_that_panics_has_failed() {
        struct Falls;
        impl Source for Falls {
            fn read(&mut self) -> Outcome<Reading> {
                panic!("as a test wants it")
            }
        }
        let watched = Watched::new("the driver", || Box::new(Falls));
        let now = clock::monotonic();
        watched.ask(now);
        watched.answered(now).await;
        assert!(matches!(watched.known(now), Known::Failed(_)));
    }
}
