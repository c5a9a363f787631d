//! What a session is said to do, by whom, and who of them is believed: pure, and the only place that decides it.
//!
//! Precedence: facts of the machine, then agents' hooks, then what a program tells its terminal, then what is read off the
//! screen, then how its processes look. What a program says of itself is never believed over a fact. From silence alone
//! nothing follows.

use std::time::Duration;

use super::{process::Processes, sandbox::words, session::Status};
use crate::base::{clock::Timestamp, id::SessionId};

words! {
    /// Who says it, the most believed first.
    Source {
        /// The host itself: an exit, a pause, an ask that waits, what its processes provably do.
        Runtime = "runtime",
        /// An agent's hook.
        Hook = "hook",
        /// The program, by OSC 7501.
        Program = "program",
        /// The program, by its progress (OSC 9;4), prompt marks (OSC 133) or title.
        Terminal = "terminal",
        /// A rule about what is on the screen.
        Screen = "screen",
        /// That it prints, just now.
        Output = "output",
        /// What its processes seem to do.
        Process = "process",
    }
}

words! {
    /// What keeps a session from going on.
    Cause {
        Ask = "ask",
        Paused = "paused",
        Stopped = "stopped",
        Deadlock = "deadlock",
        /// It hangs in the kernel.
        Disk = "disk",
        /// What it writes to has no room left.
        Full = "disk full",
        Network = "network",
        Repeats = "repeats",
        Loops = "loops",
        Spins = "spins",
        Banner = "banner",
        Memory = "memory",
        Zombies = "zombies",
    }
}

words! {
    /// What a person may do about it. Nothing of it is ever done by itself.
    Offer {
        Peek = "peek",
        Answer = "answer",
        Nudge = "nudge",
        Interrupt = "interrupt",
        Pause = "pause",
        Resume = "resume",
        Snapshot = "snapshot",
        Shell = "shell",
    }
}

words! {
    /// What became of a piece of evidence.
    Weight {
        /// The status stands on it.
        Decides = "decides",
        /// It says the same as what decides.
        Agrees = "agrees",
        /// Somebody who is believed more says otherwise.
        Outranked = "outranked",
        /// It was true once.
        Stale = "stale",
        /// It says nothing about the status.
        Silent = "silent",
    }
}

impl Cause {
    /// What fits to do about it.
    pub fn fits(self) -> &'static [Offer] {
        match self {
            Self::Ask => &[Offer::Answer, Offer::Peek],
            Self::Paused => &[Offer::Resume, Offer::Snapshot],
            Self::Stopped => &[Offer::Peek, Offer::Shell],
            Self::Deadlock | Self::Disk => {
                &[Offer::Peek, Offer::Interrupt, Offer::Snapshot, Offer::Shell]
            }
            Self::Full => &[Offer::Peek, Offer::Shell, Offer::Interrupt],
            Self::Network => &[Offer::Peek, Offer::Interrupt, Offer::Shell],
            Self::Repeats | Self::Loops => {
                &[Offer::Peek, Offer::Nudge, Offer::Interrupt, Offer::Pause, Offer::Snapshot]
            }
            Self::Spins => &[Offer::Peek, Offer::Nudge, Offer::Interrupt, Offer::Pause],
            Self::Banner => &[Offer::Peek, Offer::Nudge, Offer::Shell],
            Self::Memory | Self::Zombies => &[Offer::Shell, Offer::Snapshot],
        }
    }
}

/// One thing that was said or seen. Its words are safe to show, and may be the program's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub source: Source,
    /// Which of its source, in a word: `exit`, `ask`, `Stop`, `title`.
    pub what: String,
    /// The status it speaks for; `None` = it is only good to know.
    pub says: Option<Status>,
    pub cause: Option<Cause>,
    /// It says so since then.
    pub since: Timestamp,
    /// It was heard or seen last then.
    pub at: Timestamp,
    /// It counts until then; `None` = until something else comes in its place.
    pub until: Option<Timestamp>,
    /// Without the time, which goes on.
    pub words: String,
}

/// How long somebody who is believed more must have been silent before a question that is to be seen counts before what they
/// said: a screen is drawn a moment before its hook runs, and the other way round.
pub const BLOCKER_AFTER: Duration = Duration::from_secs(2);

impl Evidence {
    fn counts(&self, now: Timestamp) -> bool {
        self.says.is_some() && self.until.is_none_or(|it| now < it)
    }

    /// That it waits for a person is to be seen, whatever the rest is.
    fn is_blocker(&self) -> bool {
        matches!(self.says, Some(Status::Waiting | Status::Stuck))
            && matches!(self.source, Source::Program | Source::Terminal | Source::Screen)
    }

    /// Whether a question came after this was said. That a program reads its terminal, and what the question is, are seen at once.
    fn is_before(&self, blocker: &Self) -> bool {
        self.source == Source::Runtime
            || blocker.at.0 >= self.at.0 && blocker.at.since(self.at) >= BLOCKER_AFTER
    }

    /// Whether what this says may be out of date, as far as a question on the screen goes. An end, a pause and a running
    /// processor are not.
    fn may_miss_a_question(&self) -> bool {
        match self.source {
            Source::Runtime => self.says == Some(Status::Idle) && self.cause.is_none(),
            _ => matches!(
                self.says,
                Some(Status::Working | Status::Idle | Status::Starting | Status::Unknown)
            ),
        }
    }
}

/// What is believed, and what became of each piece of evidence, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub status: Status,
    /// `None` = nothing is known.
    pub since: Option<Timestamp>,
    pub why: String,
    pub weights: Vec<Weight>,
}

/// Decides. Of one source, what comes first in the list is believed more.
pub fn judge(all: &[Evidence], now: Timestamp) -> Judgement {
    let counts = || all.iter().enumerate().filter(|(_, it)| it.counts(now));
    let mut chosen = counts().min_by_key(|(at, it)| (it.source, *at));
    if let Some((_, strongest)) = chosen
        && strongest.may_miss_a_question()
    {
        // All that is believed more must have been silent since the question came.
        let is_new = |blocker: &Evidence| {
            let over = |it: &Evidence| it.source < blocker.source;
            let mut above = counts().filter(|(_, it)| over(it));
            above.all(|(_, it)| it.may_miss_a_question() && it.is_before(blocker))
        };
        let blockers = counts().filter(|(_, it)| it.is_blocker() && is_new(it));
        chosen = blockers.min_by_key(|(at, it)| (it.source, *at)).or(chosen);
    }
    let status = chosen.and_then(|(_, it)| it.says).unwrap_or(Status::Unknown);
    let weigh = |(at, it): (usize, &Evidence)| match it.says {
        _ if chosen.is_some_and(|it| it.0 == at) => Weight::Decides,
        None => Weight::Silent,
        Some(_) if !it.counts(now) => Weight::Stale,
        Some(says) if says == status => Weight::Agrees,
        Some(_) => Weight::Outranked,
    };
    Judgement {
        status,
        since: chosen.map(|(_, it)| it.since),
        why: chosen.map_or_else(
            || "nothing tells what it does; silence alone does not".to_owned(),
            |(_, it)| it.words.clone(),
        ),
        weights: all.iter().enumerate().map(weigh).collect(),
    }
}

/// All that is known of one session's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub session: SessionId,
    pub status: Status,
    pub since: Option<Timestamp>,
    pub why: String,
    /// The most believed first.
    pub evidence: Vec<(Evidence, Weight)>,
    pub processes: Processes,
    /// When this was put together.
    pub at: Timestamp,
}

impl Explained {
    /// What keeps it from going on, as far as that is known; the most believed first.
    pub fn causes(&self) -> impl Iterator<Item = (Cause, &Evidence)> {
        let found = self.evidence.iter().filter(|(_, weight)| *weight != Weight::Stale);
        found.filter_map(|(it, _)| Some((it.cause?, it)))
    }

    /// What fits to do, each once.
    pub fn offers(&self) -> Vec<Offer> {
        let mut out: Vec<Offer> = Vec::new();
        let of_causes = self.causes().flat_map(|(cause, _)| cause.fits());
        let is_asked = self.causes().any(|(cause, _)| cause == Cause::Ask);
        let of_status: &[Offer] = match self.status {
            Status::Exited => &[Offer::Peek],
            // What is held at an ask takes no line.
            Status::Waiting if !is_asked => &[Offer::Peek, Offer::Nudge],
            _ => &[],
        };
        for it in of_causes.chain(of_status) {
            if !out.contains(it) {
                out.push(*it);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn evidence(source: Source, says: Option<Status>, at: i64) -> Evidence {
        let (since, at) = (Timestamp(at), Timestamp(at));
        let words = format!("{} says so", source.word());
        let what = "test".to_owned();
        Evidence { source, what, says, cause: None, since, at, until: None, words }
    }

    fn status_of(all: &[Evidence], now: i64) -> Status {
        judge(all, Timestamp(now)).status
    }

    #[test]
    fn a_fact_is_believed_over_any_claim_and_nothing_over_the_end() {
        let reads = evidence(Source::Runtime, Some(Status::Idle), 0);
        let title = evidence(Source::Terminal, Some(Status::Working), 50_000);
        assert_eq!(status_of(&[reads, title.clone()], 60_000), Status::Idle);
        let runs = evidence(Source::Runtime, Some(Status::Working), 0);
        let claim = evidence(Source::Program, Some(Status::Waiting), 50_000);
        assert_eq!(status_of(&[runs, claim.clone()], 60_000), Status::Working);
        let exit = evidence(Source::Runtime, Some(Status::Exited), 0);
        let hook = evidence(Source::Hook, Some(Status::Working), 50_000);
        assert_eq!(status_of(&[exit, hook, claim, title], 60_000), Status::Exited);
    }

    #[test]
    fn a_question_on_the_screen_counts_before_an_older_word_and_not_before_a_newer_one() {
        let hook = |at| evidence(Source::Hook, Some(Status::Working), at);
        let asks = |at| evidence(Source::Screen, Some(Status::Waiting), at);
        assert_eq!(status_of(&[hook(0), asks(2000)], 9000), Status::Waiting);
        assert_eq!(status_of(&[hook(0), asks(1999)], 9000), Status::Working);
        assert_eq!(status_of(&[hook(5000), asks(4000)], 9000), Status::Working);
        // It is a loan: when the question is gone, the older word counts again.
        let gone = Evidence { until: Some(Timestamp(5000)), ..asks(4000) };
        assert_eq!(status_of(&[hook(0), gone], 9000), Status::Working);
        // Only a question: that it looks idle is no reason to disbelieve.
        let idle = evidence(Source::Screen, Some(Status::Idle), 8000);
        assert_eq!(status_of(&[hook(0), idle], 9000), Status::Working);
        // Who reads keys may well wait for an answer.
        let reads = evidence(Source::Runtime, Some(Status::Idle), 8000);
        assert_eq!(status_of(&[reads, asks(8000)], 9000), Status::Waiting);
    }

    #[test]
    fn without_a_word_nothing_is_known_and_what_is_stale_says_nothing() {
        assert_eq!(status_of(&[], 0), Status::Unknown);
        let silence = evidence(Source::Output, None, 0);
        let told = judge(&[silence], Timestamp(9000));
        assert_eq!((told.status, told.since), (Status::Unknown, None));
        assert_eq!(told.weights, [Weight::Silent]);
        let printed = Evidence {
            until: Some(Timestamp(5000)),
            ..evidence(Source::Output, Some(Status::Working), 0)
        };
        assert_eq!(status_of(std::slice::from_ref(&printed), 4999), Status::Working);
        let told = judge(&[printed], Timestamp(5000));
        assert_eq!((told.status, told.weights), (Status::Unknown, vec![Weight::Stale]));
    }

    prop_compose! {
        fn any_evidence()(
            source in prop::sample::select(Source::ALL),
            says in prop::option::weighted(0.8, prop::sample::select(Status::ALL)),
            at in 0..20_000_i64, lasts in prop::option::of(0..20_000_i64),
        ) -> Evidence {
            let until = lasts.map(|it| Timestamp(at + it));
            Evidence { until, ..evidence(source, says, at) }
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_in_whatever_order(
            mut all in prop::collection::vec(any_evidence(), 0..12), now in 0..30_000_i64, turn in 0..12_usize,
        ) {
            let now = Timestamp(now);
            let told = judge(&all, now);
            prop_assert_eq!(told.weights.len(), all.len());
            let decides: Vec<usize> =
                (0..all.len()).filter(|it| told.weights[*it] == Weight::Decides).collect();
            match decides.as_slice() {
                [] => {
                    prop_assert_eq!(told.status, Status::Unknown);
                    prop_assert!(!all.iter().any(|it| it.counts(now)), "something was said");
                }
                [at] => {
                    let it = &all[*at];
                    prop_assert!(it.counts(now));
                    prop_assert_eq!(Some(told.status), it.says);
                    // Nobody who is believed more says otherwise, but for a question that came later.
                    let above = all.iter().filter(|other| other.counts(now) && other.source < it.source);
                    for other in above {
                        prop_assert!(it.is_blocker() && other.may_miss_a_question());
                        prop_assert!(other.source == Source::Runtime || it.at.since(other.at) >= BLOCKER_AFTER);
                    }
                }
                more => prop_assert!(false, "{more:?} decide"),
            }
            // Of different sources, the order they came in says nothing.
            let mut sources: Vec<Source> = all.iter().map(|it| it.source).collect();
            sources.sort_unstable();
            sources.dedup();
            if sources.len() == all.len() && !all.is_empty() {
                let turn = turn % all.len();
                all.rotate_left(turn);
                prop_assert_eq!(judge(&all, now).status, told.status);
            }
        }

        #[test]
        fn an_end_is_an_end(mut all in prop::collection::vec(any_evidence(), 0..12), now in 0..30_000_i64) {
            all.insert(0, evidence(Source::Runtime, Some(Status::Exited), 0));
            prop_assert_eq!(status_of(&all, now), Status::Exited);
        }

        #[test]
        fn nothing_follows_from_silence(mut all in prop::collection::vec(any_evidence(), 0..12), now in 20_001..30_000_i64) {
            for it in &mut all {
                it.until = Some(Timestamp(20_000));
            }
            prop_assert_eq!(status_of(&all, now), Status::Unknown);
        }
    }
}
