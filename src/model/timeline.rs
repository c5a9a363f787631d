//! What happened: to sandboxes and sessions, on one clock. Its entries come from the audit record, from the hub's own record of
//! what nobody decided, and from the files a sandbox changed; who reads them sees one list.

use std::collections::BTreeMap;

use super::{audit::Action, event::Level, sandbox::words, session::Status};
use crate::base::{
    clock::Timestamp,
    id::{AskId, SandboxId, SessionId, SnapshotId},
    limits::{TIMELINE_PAGE, TIMELINE_TEXT_BYTES_MAX},
    text,
};

words! {
    /// What kind of thing happened.
    Kind {
        /// A program asked, and how that ended.
        Ask = "ask",
        /// The status of a session changed.
        Status = "status",
        /// A program began or ended.
        Session = "session",
        /// A sandbox was made, paused, stopped, forked, removed, ...
        Sandbox = "sandbox",
        Snapshot = "snapshot",
        /// Somebody stepped into a pane, or out of it.
        Keyboard = "keyboard",
        /// What went out without a person, or did not.
        Egress = "egress",
        /// Files were written, by its programs or from outside.
        Files = "files",
        /// Other rules are in force.
        Policy = "policy",
        /// Something that a person should know.
        Notice = "notice",
        /// A gauge near its limit.
        Gauge = "gauge",
        /// The hub itself.
        Hub = "hub",
    }
}

impl Kind {
    /// Of an entry of the audit record.
    pub fn of_action(action: Action) -> Self {
        match action {
            Action::HubStarted => Self::Hub,
            Action::AskAsked
            | Action::AskAllowed
            | Action::AskDenied
            | Action::AskExpired
            | Action::AskWithdrawn
            | Action::AskRevoked => Self::Ask,
            Action::EgressAllowed | Action::EgressDenied => Self::Egress,
            Action::PolicyChanged | Action::PolicyRefused => Self::Policy,
            Action::KeyboardTaken | Action::KeyboardTakenOver | Action::KeyboardGivenBack => {
                Self::Keyboard
            }
            Action::SandboxCreated
            | Action::SandboxAdopted
            | Action::SandboxForked
            | Action::SandboxPaused
            | Action::SandboxResumed
            | Action::SandboxStopped
            | Action::SandboxRestored
            | Action::SandboxRemoved
            | Action::SecretsGiven => Self::Sandbox,
            Action::SnapshotTaken | Action::SnapshotRemoved => Self::Snapshot,
            Action::WorkspaceApplied | Action::WorkspaceTakenBack | Action::FileWritten => {
                Self::Files
            }
            Action::SessionOpened
            | Action::ProgramRun
            | Action::SyscallsWatched
            | Action::RecordingRemoved => Self::Session,
        }
    }
}

words! {
    /// Which record an entry stands in.
    Source {
        /// The audit record.
        Audit = "audit",
        /// The hub's own record of what nobody decided.
        Hub = "hub",
        /// The files of a sandbox as they are now: only the last change of each is known.
        Files = "files",
    }
}

/// Where an entry stands in the list: no two have the same place. Ordered, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub at: Timestamp,
    pub source: Source,
    /// Its number in that record.
    pub number: i64,
}

/// One entry. Its texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    pub place: Place,
    pub kind: Kind,
    /// Two words with a dot between, such as `ask.denied`.
    pub what: String,
    pub level: Level,
    /// `None` = it is about the hub.
    pub sandbox: Option<SandboxId>,
    pub sandbox_name: Option<String>,
    /// `None` = it is about all of the sandbox.
    pub session: Option<SessionId>,
    /// The status a session has from then on.
    pub status: Option<Status>,
    pub ask: Option<AskId>,
    pub snapshot: Option<SnapshotId>,
    /// Who did it; `None` = a program, or nobody.
    pub actor: Option<String>,
    /// One line.
    pub text: String,
    /// So many of its kind before it are not in the record: there were too many.
    pub left_out: u64,
}

impl Happening {
    /// One that has no place yet.
    pub fn new(at: Timestamp, kind: Kind, what: &str, words: &str) -> Self {
        Self {
            place: Place { at, source: Source::Hub, number: 0 },
            kind,
            what: what.to_owned(),
            level: Level::Info,
            sandbox: None,
            sandbox_name: None,
            session: None,
            status: None,
            ask: None,
            snapshot: None,
            actor: None,
            text: text::shown(words, TIMELINE_TEXT_BYTES_MAX),
            left_out: 0,
        }
    }

    /// The line with what is left out before it.
    pub fn line(&self) -> String {
        match self.left_out {
            0 => self.text.clone(),
            many => format!("{} (+{} before it)", self.text, text::count(many, "more change")),
        }
    }
}

/// Which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineRequest {
    /// A name or an id of a sandbox, which need not be there any more; `None` = all.
    pub sandbox: Option<String>,
    /// What is about this session or about all of its sandbox.
    pub session: Option<SessionId>,
    pub since: Option<Timestamp>,
    /// Up to then, and not after.
    pub until: Option<Timestamp>,
    /// Empty = every kind.
    pub kinds: Vec<Kind>,
    /// The newest of those before this place; `None` = the newest.
    pub before: Option<Place>,
    /// Those that were written after this, in place of the newest.
    pub written_after: Option<Mark>,
    /// At most so many, 1 to `TIMELINE_PAGE_MAX`.
    pub most: u32,
}

impl Default for TimelineRequest {
    fn default() -> Self {
        Self {
            sandbox: None,
            session: None,
            since: None,
            until: None,
            kinds: Vec::new(),
            before: None,
            written_after: None,
            most: TIMELINE_PAGE,
        }
    }
}

impl TimelineRequest {
    /// Whether this kind is meant.
    pub fn wants(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// How far both records were read: what is written later comes after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub audit: i64,
    pub hub: i64,
}

/// Entries, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelinePage {
    pub happenings: Vec<Happening>,
    /// There are older ones, or with `written_after` newer ones.
    pub more: bool,
    /// To ask for what comes.
    pub mark: Mark,
    /// Why what its programs changed in its files is not among them; `None` = it is, or was not asked for.
    pub files_unknown: Option<String>,
}

/// What happened to one sandbox while somebody was away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwayOf {
    /// `None` = the hub.
    pub name: Option<String>,
    pub counts: BTreeMap<Kind, u64>,
    /// The worst that happened.
    pub level: Level,
    /// The newest that somebody should know: one of the worst.
    pub last: String,
    pub last_at: Timestamp,
}

impl AwayOf {
    /// Its counts in words.
    pub fn words(&self) -> String {
        let words = |(kind, many): (&Kind, &u64)| {
            let (one, more) = match kind {
                Kind::Ask => ("ask", "asks"),
                Kind::Status => ("change of status", "changes of status"),
                Kind::Session => ("start or end of a program", "starts and ends of programs"),
                Kind::Sandbox => ("verb", "verbs"),
                Kind::Snapshot => ("snapshot", "snapshots"),
                Kind::Keyboard => ("step in or out", "steps in and out"),
                Kind::Egress => ("decision at the way out", "decisions at the way out"),
                Kind::Files => ("file", "files"),
                Kind::Policy => ("change of rules", "changes of rules"),
                Kind::Notice => ("notice", "notices"),
                Kind::Gauge => ("gauge near its limit", "gauges near their limits"),
                Kind::Hub => ("start of the hub", "starts of the hub"),
            };
            format!("{many} {}", if *many == 1 { one } else { more })
        };
        self.counts.iter().map(words).collect::<Vec<_>>().join(", ")
    }
}

/// Groups what happened by sandbox: what is worst first, then the newest.
pub fn away<'a>(all: impl IntoIterator<Item = &'a Happening>) -> Vec<AwayOf> {
    let mut groups: BTreeMap<Option<&str>, AwayOf> = BTreeMap::new();
    for it in all {
        let name = it.sandbox_name.as_deref();
        let group = groups.entry(name).or_insert_with(|| AwayOf {
            name: name.map(str::to_owned),
            counts: BTreeMap::new(),
            level: it.level,
            last: it.text.clone(),
            last_at: it.place.at,
        });
        *group.counts.entry(it.kind).or_default() += 1 + it.left_out;
        if it.level >= group.level {
            group.level = it.level;
            (group.last, group.last_at) = (it.text.clone(), it.place.at);
        }
    }
    let mut groups: Vec<AwayOf> = groups.into_values().collect();
    groups.sort_by_key(|it| std::cmp::Reverse((it.level, it.last_at)));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_back_reads_the_worst_first_and_what_was_left_out_is_counted() {
        let of = |name: &str, at, kind, level, left_out| Happening {
            sandbox_name: Some(name.to_owned()),
            level,
            left_out,
            ..Happening::new(Timestamp(at), kind, "x.y", &format!("{name} at {at}"))
        };
        let all = [
            of("calm", 1, Kind::Status, Level::Info, 0),
            of("calm", 9, Kind::Status, Level::Info, 3),
            of("bad", 2, Kind::Session, Level::Error, 0),
            of("bad", 3, Kind::Ask, Level::Info, 0),
        ];
        let groups = away(&all);
        let names: Vec<_> = groups.iter().map(|it| it.name.as_deref()).collect();
        assert_eq!(names, [Some("bad"), Some("calm")]);
        assert_eq!(groups[0].last, "bad at 2");
        assert_eq!(groups[1].counts, BTreeMap::from([(Kind::Status, 5)]));
        assert_eq!(groups[1].last, "calm at 9");
        assert_eq!(groups[0].words(), "1 ask, 1 start or end of a program");
    }

    #[test]
    fn every_act_has_a_kind_and_its_word_begins_like_it() {
        for action in Action::ALL {
            let kind = Kind::of_action(*action);
            let first = action.word().split('.').next().unwrap();
            let other = matches!(first, "secrets" | "workspace" | "program" | "file" | "recording");
            assert!(other || first == kind.word(), "{}", action.word());
        }
    }
}
