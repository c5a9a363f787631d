//! Places that are one list each, with a line above it and all of one row to be read: rules, what went out of a sandbox,
//! the audit record.

use std::time::Duration;

use super::{
    ask::{Line, Tone},
    effect::EffectId,
    state::State,
    syscalls::Log,
    view::{Cursor, Page, Pattern, View},
};
use crate::{
    base::{
        clock::{Timestamp, Zone},
        id::{HubNumber, SandboxId, SessionId},
        text::{count, visible, wrap},
        units::human_bytes,
    },
    model::{
        ask::AskState,
        audit::{Entry, Value},
        rule::{Domain, Draft, KnownRule, Rulebook, Ruling},
        traffic::{Flow, FlowState, Traffic},
    },
};

use super::msg::AuditRead;

/// Which list it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    Rules,
    Egress(SandboxId),
    Audit,
    /// What one session of a sandbox does, and what that stands on.
    Status(SandboxId, SessionId),
    /// What a process of a session calls.
    Syscalls(SandboxId, SessionId, u32),
}

impl Of {
    pub fn title(&self) -> &'static str {
        match self {
            Self::Rules => "RULES",
            Self::Egress(_) => "WHAT WENT OUT",
            Self::Audit => "AUDIT RECORD",
            Self::Status(..) => "INSPECTOR",
            Self::Syscalls(..) => "SYSTEM CALLS",
        }
    }

    /// Columns: their headings, and the cells of each; the last takes what is left.
    pub fn columns(&self) -> &'static [(&'static str, u16)] {
        match self {
            Self::Rules => &[("VERDICT", 8), ("RULE", 20), ("HITS", 6), ("LAST", 10), ("ABOUT", 0)],
            Self::Egress(_) => {
                &[("TIME", 9), ("STATE", 8), ("SENT", 9), ("RECEIVED", 9), ("PLACE", 0)]
            }
            Self::Audit => {
                &[("SEQ", 6), ("TIME", 9), ("ACTION", 22), ("ACTOR", 14), ("SUBJECT", 0)]
            }
            Self::Status(..) => {
                &[("WHO", 8), ("SAYS", 8), ("TIME", 6), ("COUNTS", 12), ("EVIDENCE", 0)]
            }
            Self::Syscalls(..) => {
                &[("TIME", 12), ("THREAD", 7), ("TOOK", 7), ("RESULT", 14), ("CALL", 0)]
            }
        }
    }

    pub fn when_empty(&self) -> &'static str {
        match self {
            Self::Rules => "no rules: a person is asked everything",
            Self::Egress(_) => "nothing wanted to go out yet",
            Self::Audit => "the audit record has nothing in it",
            Self::Status(..) => "nothing is known of it",
            Self::Syscalls(..) => "it has called nothing yet",
        }
    }
}

/// One row. Everything in it is safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub cells: Vec<(String, Tone)>,
    /// All that is known of it: names, texts, and what they are.
    pub details: Vec<(&'static str, String, Tone)>,
    pub of: What,
}

/// What a row is, which tells it from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Rule(Box<KnownRule>),
    /// A connection, by its number.
    Flow(u64),
    /// An entry of the audit record, by its number.
    Entry(i64),
    /// Evidence for a status, by who says it.
    Evidence(String),
    /// What the columns of processes are.
    Headings,
    /// A process, by its number.
    Process(u32),
    /// A system call that ended, by its number here.
    Syscall(u64),
    /// The one that a thread is in.
    InSyscall(u32),
}

impl What {
    /// Whether it is the same, whatever is known of it by now.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rule(one), Self::Rule(other)) => one.name == other.name,
            (one, other) => one == other,
        }
    }
}

impl Record {
    /// All of it, to be looked through.
    fn text(&self) -> String {
        let cells = self.cells.iter().map(|it| it.0.as_str());
        let details = self.details.iter().map(|it| it.1.as_str());
        cells.chain(details).collect::<Vec<_>>().join(" ")
    }

    pub fn rule(&self) -> Option<&KnownRule> {
        match &self.of {
            What::Rule(it) => Some(it),
            _ => None,
        }
    }
}

/// A row that is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    pub record: Option<Record>,
    /// What a rule does, once the hub has said so; or why it did not.
    pub draft: Option<Result<Box<Draft>, String>>,
    pub page: Page,
}

/// The place.
#[derive(Clone, Debug)]
pub struct Records {
    pub of: Of,
    /// Whose it is.
    pub hub: HubNumber,
    rows: Vec<Record>,
    /// Of those, the ones that are listed.
    listed: Vec<usize>,
    pub cursor: Cursor,
    pub pattern: Option<Pattern>,
    /// What is said of all of it, above the list.
    pub head: Vec<(String, Tone)>,
    pub open: Option<Open>,
    /// Whether the hub has answered once, and why it did not last.
    pub known: bool,
    pub wrong: Option<String>,
    pub(super) asked: Option<EffectId>,
    /// What the rule that is read does, is asked for.
    pub(super) reading: Option<EffectId>,
    /// When its rows are asked for anew by themselves, as long as they are looked at.
    pub(super) anew_at: Option<Duration>,
    /// Of those whose calls can be looked at, the one that says most of what all do.
    pub(super) leading: Option<u32>,
    /// The calls of the process that it is about.
    pub(super) log: Log,
}

impl Records {
    pub(super) fn new(of: Of) -> Self {
        Self {
            of,
            hub: HubNumber::FIRST,
            rows: Vec::new(),
            listed: Vec::new(),
            cursor: Cursor::default(),
            pattern: None,
            head: Vec::new(),
            open: None,
            known: false,
            wrong: None,
            asked: None,
            reading: None,
            anew_at: None,
            leading: None,
            log: Log::default(),
        }
    }

    pub fn sandbox(&self) -> Option<&SandboxId> {
        match &self.of {
            Of::Egress(id) | Of::Status(id, _) | Of::Syscalls(id, _, _) => Some(id),
            Of::Rules | Of::Audit => None,
        }
    }

    /// Rows that what is said of all has, in a place of so many: a third, or more where that costs no row of the list.
    pub fn head_rows(&self, height: u16) -> usize {
        let height = usize::from(height);
        let spare = height.saturating_sub(self.listed.len() + 1);
        self.head.len().min(spare.max(height / 3))
    }

    /// The rows that are listed, from one on.
    pub fn listed(&self, from: usize) -> impl Iterator<Item = (usize, &Record)> {
        let rows = self.listed.iter().enumerate().skip(from);
        rows.filter_map(|(at, row)| Some((at, self.rows.get(*row)?)))
    }

    /// How many are listed, and how many there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.listed.len(), self.rows.len())
    }

    pub fn current(&self) -> Option<&Record> {
        self.listed.get(self.cursor.at()).and_then(|it| self.rows.get(*it))
    }

    /// Takes new rows; what is under the cursor stays under it.
    pub(super) fn take(&mut self, rows: Vec<Record>, head: Vec<(String, Tone)>) {
        let here = self.current().map(|it| it.of.clone());
        (self.rows, self.head, self.known, self.wrong) = (rows, head, true, None);
        self.list(here.as_ref());
    }

    /// Takes what its process called; who looks at the newest goes on doing so.
    pub(super) fn take_calls(&mut self, name: &str, zone: &Zone) {
        let at_end = self.cursor.at() + 1 >= self.listed.len();
        let (rows, head) = self.log.records(name, zone);
        self.take(rows, head);
        if at_end {
            self.cursor.move_to(usize::MAX);
        }
    }

    pub(super) fn filter(&mut self, pattern: Option<Pattern>) {
        let here = self.current().map(|it| it.of.clone());
        self.pattern = pattern;
        self.list(here.as_ref());
    }

    /// Lists what fits, with the cursor on this row; where it is not listed, on its neighbour.
    fn list(&mut self, here: Option<&What>) {
        let fits = |it: &Record| self.pattern.as_ref().is_none_or(|of| of.is_in(&it.text()));
        let rows = self.rows.iter().enumerate().filter(|(_, it)| fits(it));
        self.listed = rows.map(|(at, _)| at).collect();
        let is_here = |it: &Record| here.is_some_and(|here| it.of.is(here));
        let row = self.listed.iter().position(|it| self.rows.get(*it).is_some_and(is_here));
        self.cursor.set_count(self.listed.len());
        if let Some(row) = row {
            self.cursor.move_to(row);
        }
    }

    pub(super) fn copied(&self) -> Option<String> {
        let row = self.open.as_ref().and_then(|it| it.record.as_ref()).or_else(|| self.current());
        row.and_then(|it| it.cells.last()).map(|it| it.0.clone())
    }

    /// A window opened on the row under the cursor; `false` = there is none.
    pub(super) fn open(&mut self) -> bool {
        let record = self.current().cloned();
        let found = record.is_some();
        self.open = record.map(|it| Open { record: Some(it), ..Open::default() });
        found
    }

    pub fn check(&self) -> Result<(), String> {
        let open = self.open.as_ref().is_none_or(|it| it.page.is_sound());
        let listed = self.listed.iter().all(|it| *it < self.rows.len());
        match self.cursor.is_sound(self.listed.len()) && listed && open {
            true => Ok(()),
            false => Err("the cursor of a list of records is unsound".to_owned()),
        }
    }
}

impl Open {
    /// Gives it its size.
    pub(super) fn lay_out(&mut self, cells: u16, height: usize) {
        if self.page.cells != cells || self.page.lines.is_empty() {
            let mut all = self.record.as_ref().map(|it| lines(it, cells)).unwrap_or_default();
            all.extend(self.told(cells));
            (self.page.lines, self.page.cells) = (all, cells);
        }
        self.page.height = height;
        self.page.scroll_to(self.page.top);
    }

    fn told(&self, cells: u16) -> Vec<Line> {
        let details = match (&self.draft, self.record.as_ref().map(|it| it.rule().is_some())) {
            (Some(Ok(draft)), _) => draft_details(draft),
            (Some(Err(why)), _) => vec![("record", format!("not known: {why}"), Tone::Warning)],
            (None, Some(true)) => vec![("record", "asking the hub".to_owned(), Tone::Dim)],
            (None, _) => Vec::new(),
        };
        folded(&details, cells)
    }
}

/// All of a row, in rows of so many cells.
pub fn lines(record: &Record, cells: u16) -> Vec<Line> {
    folded(&record.details, cells)
}

fn folded(details: &[(&'static str, String, Tone)], cells: u16) -> Vec<Line> {
    let room = usize::from(cells.saturating_sub(super::ask::LABEL_CELLS + 1));
    let mut lines = Vec::new();
    for (label, text, tone) in details {
        let mut label = *label;
        for (at, text) in wrap(text, room).into_iter().enumerate() {
            let label = if at > 0 { "        ↪" } else { std::mem::take(&mut label) };
            lines.push(Line { label: label.to_owned(), text, tone: *tone });
        }
    }
    lines
}

/// What a rule does, or would do.
pub(super) fn draft_details(draft: &Draft) -> Vec<(&'static str, String, Tone)> {
    let mut out: Vec<(&'static str, String, Tone)> = Vec::new();
    let notes = draft.notes.iter().map(|it| ("note", visible(it), Tone::Warning));
    out.extend(notes);
    out.push(("record", draft.reach.words(), Tone::Plain));
    for it in &draft.reach.matched {
        let tone = match it.state {
            AskState::Allowed => Tone::Good,
            AskState::Denied | AskState::Expired => Tone::Warning,
            _ => Tone::Dim,
        };
        let by = if it.by.is_empty() { String::new() } else { format!(" by {}", visible(&it.by)) };
        let (state, kind) = (it.state.word(), it.kind.word());
        let name = visible(&it.sandbox_name);
        out.push(("", format!("{state}{by}: {kind} of {name}: {}", it.subject), tone));
    }
    out
}

fn ruling_tone(ruling: Ruling) -> Tone {
    match ruling {
        Ruling::Deny => Tone::Error,
        Ruling::Ask => Tone::Warning,
        Ruling::Allow => Tone::Good,
    }
}

pub(super) fn of_rules(book: &Rulebook, zone: &Zone) -> (Vec<Record>, Vec<(String, Tone)>) {
    let rows = book.rules.iter().map(|it| rule(it, zone)).collect();
    let head = book.wrong.iter().map(|it| (format!("wrong: {}", visible(it)), Tone::Error));
    (rows, head.collect())
}

fn rule(it: &KnownRule, zone: &Zone) -> Record {
    let last = it.last_at.map_or_else(|| "-".to_owned(), |it| zone.time(it));
    let about = visible(&it.about);
    let shown = match &it.name.domain {
        Domain::All => about.clone(),
        Domain::Project(path) => format!("{about} · in {}", visible(&path.to_string_lossy())),
    };
    let tone = ruling_tone(it.ruling);
    let time = |it: Option<Timestamp>, none: &str| {
        it.map_or_else(|| none.to_owned(), |it| zone.date_time(it))
    };
    let of = match &it.name.domain {
        Domain::All => "every sandbox".to_owned(),
        Domain::Project(path) => format!("sandboxes on {}", visible(&path.to_string_lossy())),
    };
    let details = vec![
        ("rule", it.name.id.clone(), Tone::Subject),
        ("verdict", it.ruling.word().to_owned(), tone),
        ("about", about, Tone::Plain),
        ("why", visible(&it.why), Tone::Plain),
        ("for", of, Tone::Plain),
        ("until", time(it.until, "for good"), Tone::Plain),
        ("answered", count(it.hits, "time"), Tone::Plain),
        ("last", time(it.last_at, "never, as far as is known"), Tone::Plain),
        ("file", visible(&it.file), Tone::Dim),
    ];
    Record {
        cells: vec![
            (it.ruling.word().to_owned(), tone),
            (it.name.id.clone(), Tone::Plain),
            (it.hits.to_string(), Tone::Dim),
            (last, Tone::Dim),
            (shown, Tone::Plain),
        ],
        details,
        of: What::Rule(Box::new(it.clone())),
    }
}

pub(super) fn of_traffic(traffic: &Traffic, zone: &Zone) -> (Vec<Record>, Vec<(String, Tone)>) {
    let rows = traffic.flows.iter().map(|it| flow(it, zone)).collect();
    (rows, vec![(traffic.in_words(), Tone::Dim)])
}

fn flow(it: &Flow, zone: &Zone) -> Record {
    let tone = match it.state {
        FlowState::Denied => Tone::Error,
        FlowState::Asked => Tone::Warning,
        FlowState::Open => Tone::Good,
        FlowState::Over | FlowState::Failed => Tone::Dim,
    };
    let place = visible(&it.place);
    let program = it.program.as_ref().map_or_else(|| "not known".to_owned(), |it| visible(it));
    let ended = it.ended_at.map_or_else(|| "it goes on".to_owned(), |it| zone.date_time(it));
    let (sent, received) = (human_bytes(it.sent_bytes), human_bytes(it.received_bytes));
    Record {
        cells: vec![
            (zone.time(it.started_at), Tone::Dim),
            (it.state.word().to_owned(), tone),
            (sent.clone(), Tone::Plain),
            (received.clone(), Tone::Plain),
            (format!("{place}  {program}"), Tone::Plain),
        ],
        details: vec![
            ("place", place, Tone::Subject),
            ("state", it.state.word().to_owned(), tone),
            ("why", visible(&it.why), Tone::Plain),
            ("program", program, Tone::Plain),
            ("began", zone.date_time(it.started_at), Tone::Plain),
            ("ended", ended, Tone::Plain),
            ("sent", sent, Tone::Plain),
            ("received", received, Tone::Plain),
        ],
        of: What::Flow(it.number),
    }
}

pub(super) fn of_audit(read: &AuditRead, zone: &Zone) -> (Vec<Record>, Vec<(String, Tone)>) {
    let rows = read.entries.iter().map(|it| entry(it, zone)).collect();
    let all = count(read.count, "entry");
    let head = match &read.sound {
        Ok(head) => {
            let hash: String = head.hash.chars().take(12).collect();
            (format!("{all}, sound; the last is {}:{hash}", head.seq), Tone::Good)
        }
        Err(flaw) => (format!("NOT what it was: {}", visible(flaw)), Tone::Error),
    };
    (rows, vec![head])
}

fn entry(it: &Entry, zone: &Zone) -> Record {
    let act = &it.act;
    let (actor, subject) = (visible(&act.actor), visible(&act.subject));
    let tone = match act.action.as_str() {
        "ask.denied" | "ask.expired" | "policy.refused" | "keyboard.taken_over" => Tone::Warning,
        _ => Tone::Plain,
    };
    let mut details = vec![
        ("entry", it.seq.to_string(), Tone::Subject),
        ("time", zone.date_time(act.at), Tone::Plain),
        ("action", visible(&act.action), tone),
        ("actor", actor.clone(), Tone::Plain),
        ("subject", subject.clone(), Tone::Plain),
    ];
    for (key, value) in &act.details {
        let value = match value {
            Value::Text(it) => visible(it),
            Value::Number(it) => it.to_string(),
            Value::List(it) => it.iter().map(|it| visible(it)).collect::<Vec<_>>().join(" "),
        };
        details.push(("›", format!("{}: {value}", visible(key)), Tone::Plain));
    }
    details.push(("hash", it.hash.clone(), Tone::Dim));
    Record {
        cells: vec![
            (it.seq.to_string(), Tone::Dim),
            (zone.time(act.at), Tone::Dim),
            (visible(&act.action), tone),
            (actor, Tone::Plain),
            (subject, Tone::Plain),
        ],
        details,
        of: What::Entry(it.seq),
    }
}

impl State {
    /// The list of records that is open.
    pub fn records(&self) -> Option<&Records> {
        match self.view() {
            Some(View::Records(it)) => Some(it),
            _ => None,
        }
    }
}
