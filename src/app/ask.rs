//! One ask as lines to read, all of it: what a program says is made visible byte for byte, and what an agent says
//! of itself is marked as its words.

use unicode_segmentation::UnicodeSegmentation;

use super::{
    state::State,
    wake::{age, ages_at},
};
use crate::{
    base::{
        clock::Timestamp,
        text::{CLUSTER_MAX, clip, count, visible, width, wrap},
        units::human_duration,
    },
    model::ask::{Ask, AskState, Decision, Request, RiskLevel, Scope, Verdict},
};

/// Cells of the words before the lines.
pub const LABEL_CELLS: u16 = 10;
/// The detail that is read as a change to a file.
const DIFF: &str = "diff";
/// Before a row that goes on with the line of the one before, so that nobody takes it for a line of its own.
const GOES_ON: &str = "        ↪";
/// Before the name of what belongs to a request: the name is the program's, and may be a word of ours.
const ITS_OWN: &str = "›";
const CLAIMED: &str = "─── names and words from the sandbox ───";
/// Of the digest, that many characters are shown.
const DIGEST_SHOWN: usize = 12;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// What it is about.
    Subject,
    Dim,
    Good,
    Warning,
    Error,
    Hunk,
    Added,
    Removed,
}

/// One row, safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it tells of; empty where the row before it goes on.
    pub label: String,
    pub text: String,
    pub tone: Tone,
}

/// For what else an answer would hold, in words.
pub fn scope_words(scope: Scope) -> &'static str {
    match scope {
        Scope::Once => "this ask alone",
        Scope::Session => "the very same request of this sandbox, until it is removed",
        Scope::Hour => "the very same request of this sandbox, for an hour",
        Scope::Project => {
            "a rule that allows the like in sandboxes on its directory, until it is taken back"
        }
        Scope::Always => "a rule that allows the like in every sandbox, until it is taken back",
    }
}

/// A row of a text, and whether it goes on with the line of the row before.
pub type Row = (String, bool);

/// A program's text in rows of so many cells: nothing of it is dropped, and a row ends only where there is no more
/// room or where the text has a new line, which is shown as well.
pub fn fold(text: &str, cells: usize) -> Vec<Row> {
    let cells = cells.max(10);
    let mut rows = Vec::new();
    for line in text.split_inclusive('\n') {
        let (mut row, mut used, mut goes_on) = (String::new(), 0, false);
        for piece in whole(&visible(line)).graphemes(true).flat_map(seen) {
            let wide = width(&piece);
            if used + wide > cells {
                rows.push((std::mem::take(&mut row), goes_on));
                (used, goes_on) = (0, true);
            }
            row.push_str(&piece);
            used += wide;
        }
        rows.push((row, goes_on));
    }
    if rows.is_empty() {
        rows.push((String::new(), false));
    }
    rows
}

/// Blanks at the end of a line, which nobody would see otherwise.
fn whole(line: &str) -> String {
    let bare = line.trim_end_matches(' ');
    format!("{bare}{}", "\u{2420}".repeat(line.len() - bare.len()))
}

/// A cluster as it can be seen: one without any width is named, and so is what is heaped upon one.
fn seen(cluster: &str) -> Vec<String> {
    let name = |it: char| format!("<U+{:04X}>", u32::from(it));
    if width(cluster) == 0 {
        return cluster.chars().map(name).collect();
    }
    let mut all = vec![cluster.chars().take(CLUSTER_MAX).collect()];
    all.extend(cluster.chars().skip(CLUSTER_MAX).map(name));
    all
}

/// In one row of so many cells, with an ellipsis where there is more.
pub fn brief(text: &str, cells: usize) -> String {
    clip(&visible(text), cells)
}

/// For what an answer holds, how often it was used, and whether it was taken back.
pub fn holds_words(it: &Decision) -> String {
    let mut words = it.answer.scope.word().to_owned();
    if it.answer.scope != Scope::Once {
        words.push_str(&format!(", used {}", count(it.uses, "time")));
    }
    if let Some(by) = &it.revoked {
        words.push_str(&format!(", taken back by {}", visible(&by.by)));
    }
    words
}

/// How it ended, and by whose word.
pub fn end_words(ask: &Ask) -> String {
    let word = match ask.state {
        AskState::Pending => "it waits",
        AskState::Allowed => "allowed",
        AskState::Denied => "denied",
        AskState::Expired => "denied: nobody answered in time",
        AskState::Withdrawn => "withdrawn: who asked waits no more",
    };
    match &ask.decision {
        Some(it) => format!("{word} by {} ({})", visible(&it.by), holds_words(it)),
        None => word.to_owned(),
    }
}

impl State {
    /// All of an ask, in rows of so many cells.
    pub fn ask_lines(&self, ask: &Ask, cells: u16) -> Vec<Line> {
        let room = usize::from(cells.saturating_sub(LABEL_CELLS + 1));
        let mut page = Page { lines: Vec::new(), room };
        let (asked, request) = (&ask.asked, &ask.asked.request);
        if let Some(decision) = &ask.decision {
            self.decided(&mut page, ask, decision);
        } else if ask.state != AskState::Pending {
            page.words("end", &end_words(ask), Tone::Warning);
        }
        page.exact(request.kind.word(), &request.subject, Tone::Subject);
        let session = asked.session.as_ref().map(|id| match self.fleet.session(id) {
            Some((row, it)) => it.name(&row.sandbox.name),
            None => id.to_string(),
        });
        let session = session.map_or_else(
            || "from no session's program".to_owned(),
            |it| format!("session {}", visible(&it)),
        );
        page.words("from", &format!("{} · {session}", visible(&ask.sandbox_name)), Tone::Plain);
        let tone = match ask.risk.level {
            RiskLevel::Low => Tone::Plain,
            RiskLevel::Medium => Tone::Warning,
            RiskLevel::High => Tone::Error,
        };
        let level = ask.risk.level.word().to_uppercase();
        if ask.risk.findings.is_empty() {
            let text = format!("{level} · nothing stands out, which proves nothing");
            page.words("risk", &text, tone);
        }
        let mut before = ("risk", format!("{level} · "));
        for finding in &ask.risk.findings {
            let (label, level) = std::mem::take(&mut before);
            page.words(label, &format!("{level}{}", visible(finding)), tone);
        }
        let zone = &self.zone;
        let (at, until) = (zone.date_time(asked.created_at), zone.date_time(asked.deadline_at));
        page.words("asked", &at, Tone::Plain);
        if ask.state == AskState::Pending {
            page.words("until", &format!("{until}; then it is denied"), Tone::Plain);
        }
        let digest: String = ask.digest.chars().take(DIGEST_SHOWN).collect();
        page.words("digest", &visible(&digest), Tone::Dim);
        if ask.state == AskState::Pending {
            for scope in [Scope::Once, Scope::Session, Scope::Hour, Scope::Always, Scope::Project] {
                let word = if scope == Scope::Hour { "1 h" } else { scope.word() };
                page.words(word, scope_words(scope), Tone::Dim);
            }
            let text = "this moment is kept first, then this ask alone is allowed";
            page.words("snapshot", text, Tone::Dim);
        }
        claimed(&mut page, request, &asked.about);
        page.lines
    }

    fn decided(&self, page: &mut Page, ask: &Ask, decision: &Decision) {
        let tone = match decision.answer.verdict {
            Verdict::Allow => Tone::Good,
            Verdict::Deny => Tone::Warning,
        };
        page.words("end", &end_words(ask), tone);
        let at = self.zone.date_time(decision.at);
        let waited = human_duration(std::time::Duration::from_millis(decision.waited_ms));
        page.words("", &format!("{at}, after {waited}"), Tone::Dim);
        if let Some(message) = &decision.answer.message {
            page.exact("said", message, Tone::Plain);
        }
    }

    /// How long it waits and how long it will, in one piece of text that changes seldom.
    pub fn ask_times(&self, created: Timestamp, deadline: Timestamp) -> String {
        self.ask_times_at(created, deadline, self.now.wall, self.ages_are_live())
    }

    pub(super) fn ask_times_at(
        &self,
        created: Timestamp,
        deadline: Timestamp,
        now: Timestamp,
        live: bool,
    ) -> String {
        if !live {
            return format!("denied at {}", self.zone.time(deadline));
        }
        let asked = human_duration(age(created, now).0);
        format!("waits {asked}, denied in {}", left(deadline, now))
    }

    /// Only how long it will.
    pub fn ask_left(&self, deadline: Timestamp) -> String {
        match self.ages_are_live() {
            true => format!("{} left", left(deadline, self.now.wall)),
            false => format!("until {}", self.zone.time(deadline)),
        }
    }
}

/// What a program says besides, and what the host sees of it in names that are the sandbox's: below all that is known for
/// sure, with a line between, and each name marked.
fn claimed(page: &mut Page, request: &Request, about: &[(String, String)]) {
    let (agent, reason) = (request.agent.as_ref(), request.reason.as_ref());
    if agent.is_none() && reason.is_none() && request.details.is_empty() && about.is_empty() {
        return;
    }
    page.words("", CLAIMED, Tone::Dim);
    if let Some(agent) = agent {
        page.words("agent", &format!("says it is {}", visible(agent)), Tone::Dim);
    }
    if let Some(reason) = reason {
        let quoted = format!("\u{201c}{reason}\u{201d}");
        page.exact("its words", &quoted, Tone::Plain);
    }
    for (key, value) in request.details.iter().chain(about) {
        page.detail(key, value);
    }
}

/// The time that is left, in steps of five seconds and then in minutes.
fn left(deadline: Timestamp, now: Timestamp) -> String {
    let seconds = deadline.0.saturating_sub(ages_at(now).0).max(0) / 1000;
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let seconds = if seconds < 60 { seconds / 5 * 5 } else { seconds };
    human_duration(std::time::Duration::from_secs(seconds))
}

/// Who asks for the same, where that is more than one.
pub fn askers_words(ask: &Ask) -> Option<String> {
    let askers = ask.asked.askers;
    (askers > 1).then(|| format!("{} for the very same", count(askers, "asker")))
}

struct Page {
    lines: Vec<Line>,
    room: usize,
}

impl Page {
    fn push(&mut self, label: &str, rows: Vec<Row>, tone: Tone) {
        let mut label = label.to_owned();
        for (text, goes_on) in rows {
            let label = match goes_on {
                true => GOES_ON.to_owned(),
                false => std::mem::take(&mut label),
            };
            self.lines.push(Line { label, text, tone });
        }
    }

    /// Our own words, and what is safe already.
    fn words(&mut self, label: &str, text: &str, tone: Tone) {
        let rows = wrap(text, self.room).into_iter().map(|it| (it, false)).collect();
        self.push(label, rows, tone);
    }

    /// A program's.
    fn exact(&mut self, label: &str, text: &str, tone: Tone) {
        self.push(label, fold(text, self.room), tone);
    }

    fn detail(&mut self, key: &str, value: &str) {
        let mut label = format!("{ITS_OWN}{}", visible(key));
        if width(&label) >= usize::from(LABEL_CELLS) {
            self.exact(ITS_OWN, key, Tone::Dim);
            label = String::new();
        }
        if value.is_empty() {
            return self.words(&label, "(empty)", Tone::Dim);
        }
        if key != DIFF {
            return self.exact(&label, value, Tone::Plain);
        }
        for line in value.split('\n') {
            let tone = match line.as_bytes().first() {
                Some(b'+') => Tone::Added,
                Some(b'-') => Tone::Removed,
                Some(b'@') => Tone::Hunk,
                _ => Tone::Plain,
            };
            let rows = fold(line, self.room);
            self.push(&std::mem::take(&mut label), rows, tone);
        }
    }
}
