//! What happened: to sandboxes and sessions, on one clock. Its entries come from the audit record, from the hub's own record of
//! what nobody decided, and from the files a sandbox changed; who reads them sees one list.

use std::{collections::BTreeMap, time::Duration};

use super::{event::Level, sandbox::words, session::Status};
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
        self.with_left_out(&self.text)
    }

    /// Whom it is about, and the line without that in front, for a list that has both beside each other.
    pub fn parts(&self) -> (Option<&str>, String) {
        let (about, words) = self.cut();
        (about, self.with_left_out(words))
    }

    /// The sandbox, or a further session of it where the line begins with that; `None` = it is about the hub.
    pub fn about(&self) -> Option<&str> {
        self.cut().0
    }

    fn cut(&self) -> (Option<&str>, &str) {
        let Some(name) = self.sandbox_name.as_deref() else { return (None, &self.text) };
        let rest = self.text.strip_prefix(name).unwrap_or_default();
        let further = match rest.strip_prefix('/') {
            Some(digits) => 1 + digits.find(|it: char| !it.is_ascii_digit()).unwrap_or(0),
            None => 0,
        };
        let (about, words) = self.text.split_at(self.text.len() - rest.len() + further);
        match words.strip_prefix([' ', ':']).filter(|_| !rest.is_empty() && further != 1) {
            Some(words) => (Some(about), words.trim_start()),
            None => (Some(name), &self.text),
        }
    }

    fn with_left_out(&self, words: &str) -> String {
        match self.left_out {
            0 => words.to_owned(),
            many => format!("{words} (+{} before it)", text::count(many, "more change")),
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
    /// What the answer said when the same list was asked for first: a look at files that began since then is new enough;
    /// `None` = it is asked for now.
    pub files_asked: Option<Duration>,
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
            files_asked: None,
        }
    }
}

impl TimelineRequest {
    /// Whether this kind is meant.
    pub fn wants(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// How far the records were read: what is written later comes after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub audit: i64,
    pub hub: i64,
    /// Of changes of files: grows with the hub's clock.
    pub files: i64,
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
    /// So many sandboxes are still being looked through for it: that comes later, after the mark.
    pub files_pending: u32,
    /// What is lacking of changes of files that can be known else; `None` = nothing.
    pub files_missing: Option<String>,
    /// When it was asked for, by a clock of the hub; `None` = no files were.
    pub files_asked: Option<Duration>,
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
    fn a_line_is_told_without_the_name_that_stands_beside_it() {
        let parts = |text: &str| {
            let it = Happening {
                sandbox_name: Some("box".to_owned()),
                ..Happening::new(Timestamp(1), Kind::Status, "x.y", text)
            };
            let (of, words) = it.parts();
            (of.unwrap().to_owned(), words)
        };
        let told = |of: &str, words: &str| (of.to_owned(), words.to_owned());
        assert_eq!(parts("box working → idle"), told("box", "working → idle"));
        assert_eq!(parts("box/12 ended"), told("box/12", "ended"));
        assert_eq!(parts("box: memory is low"), told("box", "memory is low"));
        for whole in ["boxes ended", "box/x ended", "box", "box/", "wrote box", ""] {
            assert_eq!(parts(whole), told("box", whole));
        }
        let hub = Happening::new(Timestamp(1), Kind::Hub, "x.y", "the hub was started");
        assert_eq!(hub.parts(), (None, "the hub was started".to_owned()));
    }

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
}
