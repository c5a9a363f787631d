//! The evidence for one session's status: what was said and seen, by whom, the newest of each kind. What follows from it is
//! decided by `model::status`.

mod assess;
mod hook;
pub(in crate::session) mod look;
mod moves;
pub mod rules;

use std::{collections::BTreeMap, time::Duration};

pub(in crate::session) use assess::Assessed;
pub use hook::HookWord;

use self::rules::Read;
use crate::{
    base::{
        clock::{self, Timestamp},
        limits::{CLAIM_HOLDS, LINE_BYTES_MAX, NAME_BYTES_MAX, QUIET_AFTER, STARTING_WITHIN},
        text::{count, shown},
    },
    model::{
        ask::Asked,
        fact::Fact,
        session::Status,
        status::{Cause, Evidence, Judgement, Source, judge},
    },
};

/// A title that turns is a sign of work for so long after its last turn.
const TITLE_TURNS_WITHIN: Duration = Duration::from_secs(3);

/// Kinds of evidence, the most believed first; of each the newest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Exit,
    /// What those provably do that have the terminal.
    Front,
    Repeats,
    Hook,
    Program,
    Progress,
    Prompt,
    Title,
    Screen,
    Loops,
    Output,
    Silence,
    Full,
    Seems,
    Start,
    Zombies,
    Memory,
}

impl Slot {
    fn source(self) -> Source {
        match self {
            Self::Exit | Self::Front | Self::Zombies | Self::Memory => Source::Runtime,
            Self::Repeats | Self::Hook => Source::Hook,
            Self::Program => Source::Program,
            Self::Progress | Self::Prompt | Self::Title => Source::Terminal,
            Self::Screen | Self::Loops => Source::Screen,
            Self::Output | Self::Silence => Source::Output,
            Self::Full | Self::Seems | Self::Start => Source::Process,
        }
    }

    /// Whether it is the program's own word for what goes on, which it may not live to take back.
    fn is_claim(self) -> bool {
        matches!(self, Self::Hook | Self::Program | Self::Progress | Self::Prompt)
    }
}

/// A clock for evidence: as the wall's was at the start, and never set.
#[derive(Clone, Copy, Debug)]
struct Steady {
    wall: Timestamp,
    monotonic: Duration,
}

impl Steady {
    fn start() -> Self {
        Self { wall: clock::wall(), monotonic: clock::monotonic() }
    }

    fn now(self) -> Timestamp {
        after(self.wall, clock::monotonic().saturating_sub(self.monotonic))
    }
}

fn after(at: Timestamp, time: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
}

/// What one piece says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Says {
    what: &'static str,
    status: Option<Status>,
    cause: Option<Cause>,
    words: String,
    /// It counts so long, unless it is said again.
    holds: Option<Duration>,
}

impl Says {
    fn new(what: &'static str, status: Status, words: impl Into<String>) -> Self {
        Self { what, status: Some(status), words: words.into(), ..Self::default() }
    }
}

/// The evidence of one session.
#[derive(Debug)]
pub struct Recorder {
    clock: Steady,
    slots: BTreeMap<Slot, Evidence>,
    printed: Option<Timestamp>,
    calls: moves::Calls,
    screens: moves::Screens,
}

impl Recorder {
    /// Of a session that starts now.
    pub fn start() -> Self {
        let mut new = Self {
            clock: Steady::start(),
            slots: BTreeMap::new(),
            printed: None,
            calls: moves::Calls::default(),
            screens: moves::Screens::default(),
        };
        let says = Says::new("start", Status::Starting, "it was started, and has not printed yet");
        new.set(Slot::Start, Says { holds: Some(STARTING_WITHIN), ..says });
        new
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn set(&mut self, slot: Slot, says: Says) {
        let at = self.clock.now();
        let before = self.slots.get(&slot);
        let same = before.filter(|it| it.says == says.status && it.cause == says.cause);
        let same = same.filter(|it| it.until.is_none_or(|until| at < until));
        let evidence = Evidence {
            source: slot.source(),
            what: says.what.to_owned(),
            says: says.status,
            cause: says.cause,
            since: same.map_or(at, |it| it.since),
            at,
            until: says.holds.map(|it| after(at, it)),
            words: shown(&says.words, LINE_BYTES_MAX),
        };
        self.slots.insert(slot, evidence);
    }

    fn put(&mut self, slot: Slot, says: Option<Says>) {
        match says {
            Some(says) => self.set(slot, says),
            None => drop(self.slots.remove(&slot)),
        }
    }

    /// It printed.
    pub fn printed(&mut self) {
        self.slots.remove(&Slot::Start);
        self.slots.remove(&Slot::Silence);
        let says = Says::new("output", Status::Working, "it is printing");
        self.set(Slot::Output, Says { holds: Some(QUIET_AFTER), ..says });
        self.printed = Some(self.clock.now());
    }

    /// It has printed nothing for a while, from which nothing follows.
    pub fn quiet(&mut self) {
        let words = match self.printed {
            Some(_) => "it prints nothing any more",
            None => "it has not printed anything",
        };
        let since = self.printed.unwrap_or(self.clock.wall);
        self.slots.remove(&Slot::Output);
        let says = Says { what: "silence", words: words.to_owned(), ..Says::default() };
        self.set(Slot::Silence, says);
        if let Some(it) = self.slots.get_mut(&Slot::Silence) {
            it.since = since;
        }
    }

    /// The program told its terminal something.
    pub fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Program { state, fields } => self.program(state, fields),
            Fact::Progress { state, percent } => self.put(
                Slot::Progress,
                match (state, percent) {
                    (1, Some(percent)) => {
                        let words = format!("it says by OSC 9;4 that {percent}% are done");
                        Some(Says::new("progress", Status::Working, words))
                    }
                    (1 | 3, _) => {
                        let words = "it says by OSC 9;4 that it works";
                        Some(Says::new("progress", Status::Working, words))
                    }
                    (2, _) => Some(Says {
                        what: "progress",
                        words: "it says by OSC 9;4 that something failed".to_owned(),
                        ..Says::default()
                    }),
                    _ => None,
                },
            ),
            Fact::Prompt { mark, exit_code } => {
                let says = |status, words: &str| Some(Says::new("prompt", status, words));
                let prompt = match mark {
                    'A' | 'B' => says(Status::Idle, "its shell says that it is at its prompt"),
                    'C' => says(Status::Working, "its shell says that a command runs"),
                    'D' => {
                        let ended = exit_code.map(|it| format!(", with code {it}"));
                        let ended = ended.unwrap_or_default();
                        says(Status::Idle, &format!("its shell says that the command ended{ended}"))
                    }
                    _ => None,
                };
                if prompt.is_some() {
                    self.put(Slot::Prompt, prompt);
                }
            }
            Fact::Title(title) => {
                let turns = title.chars().next().is_some_and(is_spinner);
                let says = turns.then(|| Says {
                    holds: Some(TITLE_TURNS_WITHIN),
                    ..Says::new("title", Status::Working, "a sign turns in its title")
                });
                self.put(Slot::Title, says);
            }
            Fact::Bell
            | Fact::Cwd(_)
            | Fact::Link { .. }
            | Fact::Clipboard(_)
            | Fact::Notify { .. } => {}
        }
    }

    /// OSC 7501.
    fn program(&mut self, state: &str, fields: &[(String, String)]) {
        let field = |name: &str| fields.iter().find(|it| it.0 == name).map(|it| it.1.as_str());
        let kind = field("kind").map(|it| format!(" on a {}", shown(it, NAME_BYTES_MAX)));
        let said = field("msg").map(|it| format!(": {}", shown(it, 200))).unwrap_or_default();
        let says = |status, words: String| {
            let words = format!("it says by OSC 7501 that it {words}{said}");
            Some(Says::new("status", status, words))
        };
        let says = match state {
            "idle" => says(Status::Idle, "is idle".to_owned()),
            "working" => says(Status::Working, "works".to_owned()),
            "done" => says(Status::Idle, "is done".to_owned()),
            "blocked" => says(Status::Waiting, format!("waits{}", kind.unwrap_or_default())),
            "error" => says(Status::Waiting, "came upon an error".to_owned()),
            "clear" => None,
            // A word of a later version says nothing here.
            _ => return,
        };
        self.put(Slot::Program, says);
    }

    /// An agent's hook was run.
    pub fn told(&mut self, word: &HookWord) {
        let at = self.clock.now();
        if word.begins_anew() {
            self.calls.clear();
        }
        if let Some(call) = &word.call {
            self.calls.push(at, call, word.tool.as_deref().unwrap_or_default());
        }
        let repeats = self.calls.repeated().map(|(tool, times)| Says {
            cause: Some(Cause::Repeats),
            ..Says::new(
                "repeats",
                Status::Stuck,
                format!(
                    "it called {tool} with the same arguments {} in a row",
                    count(times, "time")
                ),
            )
        });
        self.put(Slot::Repeats, repeats);
        if let Some(says) = word.says() {
            self.set(Slot::Hook, says);
        }
    }

    /// A person had a word, by what was typed or by an answer: what its hooks told of waiting for one, or of circles, is over.
    /// Tells whether that was told.
    pub(super) fn answered(&mut self) -> bool {
        self.calls.clear();
        let waits = self.slots.get(&Slot::Hook).is_some_and(|it| it.says == Some(Status::Waiting));
        let waits = waits && self.slots.remove(&Slot::Hook).is_some();
        self.slots.remove(&Slot::Repeats).is_some() || waits
    }

    /// It is held still, or goes on: what its processes were seen to do says nothing of now. Tells whether anything was.
    pub(super) fn turned(&mut self) -> bool {
        let seen = [Slot::Front, Slot::Full, Slot::Seems].map(|it| self.slots.remove(&it));
        seen.iter().any(Option::is_some)
    }

    /// Its processes were looked at, and its screen.
    pub(super) fn looked(&mut self, seen: Assessed, screen: Option<&Read<'_>>, lines: &[String]) {
        self.put(Slot::Front, seen.front);
        self.put(Slot::Seems, seen.seems);
        self.put(Slot::Zombies, seen.zombies);
        self.put(Slot::Full, seen.full);
        let rule = screen.map(|it| Says {
            what: "rule",
            status: Some(it.says),
            cause: (it.says == Status::Stuck).then_some(Cause::Banner),
            words: format!("{} (rule {})", it.words, it.name),
            holds: None,
        });
        self.put(Slot::Screen, rule);
        let at = self.clock.now();
        let moving =
            self.slots.get(&Slot::Output).is_some_and(|it| it.until.is_some_and(|it| at < it));
        let found = self.screens.seen(at, lines, moving);
        self.put(
            Slot::Loops,
            found.map(|(cause, words)| Says {
                cause: Some(cause),
                ..Says::new("screens", Status::Stuck, words)
            }),
        );
    }

    /// The kernel ended processes of the sandbox since it began, for want of memory.
    pub fn starved(&mut self, processes: u64) {
        let words =
            format!("the kernel ended {} here for want of memory", count(processes, "process"));
        let says = Says { what: "memory", cause: Some(Cause::Memory), words, ..Says::default() };
        self.set(Slot::Memory, says);
        if let Some(it) = self.slots.get_mut(&Slot::Exit)
            && it.cause.is_none()
        {
            it.cause = Some(Cause::Memory);
            it.words =
                shown(&format!("{}: its sandbox ran out of memory", it.words), LINE_BYTES_MAX);
        }
    }

    /// The program ended.
    pub fn ended(&mut self, why: &str) {
        // What it said of itself is over with it. That there was no room may be why.
        let full = self.slots.remove(&Slot::Full);
        self.slots.clear();
        self.slots.extend(full.map(|it| (Slot::Full, Evidence { says: None, ..it })));
        self.set(Slot::Exit, Says::new("exit", Status::Exited, why));
    }

    /// All of it, with what the sandbox knows, the most believed first; and the time by which it counts.
    pub fn evidence(&self, beside: &Beside) -> (Vec<Evidence>, Timestamp) {
        let now = self.clock.now();
        let mut all: Vec<Evidence> = Vec::new();
        let ended = self.slots.contains_key(&Slot::Exit);
        if !ended {
            all.extend(beside.paused.clone());
            all.extend(beside.asks.clone());
        }
        for (slot, it) in &self.slots {
            let mut it = it.clone();
            if slot.is_claim() && it.says == Some(Status::Working) {
                let last = self.printed.map_or(it.at, |printed| printed.max(it.at));
                it.until = Some(after(last, CLAIM_HOLDS));
            }
            all.push(it);
        }
        if ended {
            all.sort_by_key(|it| (it.says != Some(Status::Exited), it.source));
        } else {
            all.sort_by_key(|it| it.source);
        }
        (all, now)
    }

    pub fn judge(&self, beside: &Beside) -> Judgement {
        let (all, now) = self.evidence(beside);
        judge(&all, now)
    }

    /// How long until what counts now may count no more; `None` = nothing changes by itself.
    pub(super) fn changes_in(&self) -> Option<Duration> {
        let (all, now) = self.evidence(&Beside::default());
        let untils = all.iter().filter_map(|it| it.until).filter(|it| *it > now);
        untils.min().map(|it| it.since(now))
    }
}

/// What a sandbox knows beside its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    pub paused: Option<Evidence>,
    pub asks: Option<Evidence>,
}

impl Beside {
    /// `since` is when it was paused.
    pub fn paused(since: Timestamp) -> Evidence {
        Evidence {
            source: Source::Runtime,
            what: "paused".to_owned(),
            says: Some(Status::Idle),
            cause: Some(Cause::Paused),
            since,
            at: since,
            until: None,
            words: "its sandbox is paused: nothing in it runs".to_owned(),
        }
    }

    /// The oldest ask of a session, and how many there are.
    pub fn asks(oldest: &Asked, many: usize) -> Evidence {
        let request = &oldest.request;
        let more = match many {
            0 | 1 => String::new(),
            many => format!(", and {} more", many - 1),
        };
        let subject = shown(&request.subject, 200);
        Evidence {
            source: Source::Runtime,
            what: "ask".to_owned(),
            says: Some(Status::Waiting),
            cause: Some(Cause::Ask),
            since: oldest.created_at,
            at: oldest.created_at,
            until: None,
            words: format!("it is held until you answer: {} {subject}{more}", request.kind.word()),
        }
    }
}

/// What programs turn to show that they live.
fn is_spinner(it: char) -> bool {
    matches!(it, '\u{2800}'..='\u{28ff}' | '◐'..='◓' | '◴'..='◷')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(recorder: &mut Recorder, happens: &str, tool: Option<&str>) -> Status {
        recorder.told(&HookWord::new("claude", happens).about(tool, Some("same"), None));
        recorder.judge(&Beside::default()).status
    }

    #[test]
    fn what_a_hook_said_of_waiting_and_of_circles_ends_with_a_word_of_a_person() {
        let mut it = Recorder::start();
        it.printed();
        let status = |it: &Recorder| it.judge(&Beside::default()).status;
        assert_eq!(told(&mut it, "Notification", Some("permission_prompt")), Status::Waiting);
        assert!(it.answered());
        assert_eq!(status(&it), Status::Working);
        for _ in 0..crate::base::limits::CALLS_REPEATED {
            told(&mut it, "PostToolUse", Some("Bash"));
        }
        assert_eq!(status(&it), Status::Stuck);
        assert!(it.answered() && !it.answered());
        // That it works was said, and still is.
        assert_eq!(status(&it), Status::Working);
        for end in ["AfterAgent", "StopFailure", "SessionEnd", "Stop"] {
            for _ in 0..crate::base::limits::CALLS_REPEATED {
                told(&mut it, "PostToolUse", Some("Bash"));
            }
            assert_eq!(told(&mut it, end, None), Status::Idle, "{end}");
        }
    }
}
