//! What happened in words: entries of the audit record as lines of one list, and what is written beside it.

use crate::{
    base::{
        clock::Timestamp,
        id::{AskId, SandboxId, SessionId, SnapshotId},
        limits::TIMELINE_TEXT_BYTES_MAX,
        text,
        units::human_duration,
    },
    model::{
        audit::{Act, Action, Entry, Value},
        event::Level,
        sandbox::Sandbox,
        session::{ExitStatus, Session, Status},
        timeline::{Happening, Kind, Place, Source},
    },
};

/// An entry of the audit record as a line.
pub(super) fn of_entry(entry: &Entry) -> Happening {
    let act = &entry.act;
    let action = Action::from_word(&act.action);
    let shown = |it: &str| text::shown(it, TIMELINE_TEXT_BYTES_MAX);
    let id = |key: &str| act.text(key).map(str::to_owned);
    let ask = id("ask").and_then(|it| AskId::parse(&it));
    let snapshot = match action.map(Kind::of_action) {
        Some(Kind::Snapshot) => SnapshotId::parse(&act.subject),
        Some(Kind::Ask) => act.text("snapshot").and_then(SnapshotId::parse),
        Some(Kind::Sandbox) => act.text("to").and_then(SnapshotId::parse),
        _ => None,
    };
    let from_inside = act.text("from") == Some("sandbox");
    let mut out = Happening::new(
        act.at,
        action.map_or(Kind::Notice, Kind::of_action),
        &shown(&act.action),
        &line(act, action),
    );
    out.place = Place { at: act.at, source: Source::Audit, number: entry.seq };
    out.level = level(action);
    out.sandbox = id("sandbox_id").and_then(|it| SandboxId::parse(&it));
    out.sandbox_name = id("sandbox").map(|it| shown(&it));
    out.session = id("session").and_then(|it| SessionId::parse(&it));
    (out.ask, out.snapshot) = (ask, snapshot);
    out.actor = Some(shown(&act.actor)).filter(|_| !from_inside);
    out.left_out = number(act, "left_out_before").unwrap_or(0);
    out
}

fn level(action: Option<Action>) -> Level {
    match action {
        Some(
            Action::AskDenied
            | Action::AskExpired
            | Action::EgressDenied
            | Action::PolicyRefused
            | Action::KeyboardTakenOver
            | Action::SandboxRemoved,
        ) => Level::Warning,
        _ => Level::Info,
    }
}

fn number(act: &Act, key: &str) -> Option<u64> {
    match act.details.get(key) {
        Some(Value::Number(number)) => Some(*number),
        _ => None,
    }
}

fn list(act: &Act, key: &str) -> Option<String> {
    match act.details.get(key) {
        Some(Value::List(texts)) => Some(texts.join(" ")),
        _ => None,
    }
}

/// What an entry says, in one line. What is not known by its word is shown by it.
fn line(act: &Act, action: Option<Action>) -> String {
    let Act { actor, subject, .. } = act;
    let kind = act.text("kind").unwrap_or("ask");
    let waited = number(act, "waited_ms")
        .map(|it| format!(" after {}", human_duration(std::time::Duration::from_millis(it))))
        .unwrap_or_default();
    let why = why(act);
    let Some(action) = action else { return format!("{} {subject} by {actor}", act.action) };
    match action {
        Action::HubStarted => "the hub was started".to_owned(),
        Action::AskAsked => format!("asks, {kind}: {subject}"),
        Action::AskAllowed | Action::AskDenied => {
            let verdict = if action == Action::AskAllowed { "allowed" } else { "denied" };
            let scope = act.text("scope").map(|it| format!(" ({it})")).unwrap_or_default();
            let message =
                act.text("message").map(|it| format!(", saying: {it}")).unwrap_or_default();
            let by = match act.text("from") {
                Some("policy") => format!("by a rule, {}", list(act, "rules").unwrap_or_default()),
                Some("standing") => "as before".to_owned(),
                _ => format!("by {actor}{scope}{waited}"),
            };
            format!("{verdict} {by}: {kind} {subject}{message}")
        }
        Action::AskExpired => format!("nobody answered{waited}: {kind} {subject}"),
        Action::AskWithdrawn => format!("waits no more{waited}: {kind} {subject}"),
        Action::AskRevoked => format!("{actor} took the answer back: {kind} {subject}"),
        Action::EgressAllowed | Action::EgressDenied => {
            let verdict = if action == Action::EgressAllowed { "let out to" } else { "kept from" };
            let times = match number(act, "count") {
                Some(many @ 2..) => format!(", {many} times"),
                _ => String::new(),
            };
            let program = act.text("program").map(|it| format!(" by {it}")).unwrap_or_default();
            format!("{verdict} {subject}{program}{times}{why}")
        }
        Action::PolicyChanged => format!("other rules are in force: {subject} by {actor}"),
        Action::PolicyRefused => format!("rules were refused: {subject}{why}"),
        Action::KeyboardTaken => format!("{actor} stepped into {subject}"),
        Action::KeyboardTakenOver => format!("{actor} took the keyboard of {subject} over"),
        Action::KeyboardGivenBack => format!("{actor} left {subject}{why}"),
        Action::SandboxCreated
        | Action::SandboxAdopted
        | Action::SandboxForked
        | Action::SandboxPaused
        | Action::SandboxResumed
        | Action::SandboxStopped
        | Action::SandboxRestored
        | Action::SandboxRemoved
        | Action::SecretsGiven => of_sandbox(act, action),
        Action::SnapshotTaken => {
            let name = act.text("name").map(|it| format!(" {it}")).unwrap_or_default();
            format!("{actor} took the snapshot{name} {subject}")
        }
        Action::SnapshotRemoved => format!("{actor} removed the snapshot {subject}"),
        Action::WorkspaceApplied | Action::WorkspaceTakenBack => {
            let verb = if action == Action::WorkspaceApplied { "applied" } else { "took back" };
            let many = text::count(number(act, "count").unwrap_or(0), "path");
            format!("{actor} {verb} {many}: {}", list(act, "paths").unwrap_or_default())
        }
        Action::SessionOpened => format!("{actor} opened {subject}: {}", command(act)),
        Action::SyscallsWatched => {
            let process = number(act, "process").unwrap_or_default();
            format!("{actor} looked at the system calls of process {process} of {subject}")
        }
        Action::ProgramRun => format!("{actor} ran {}", command(act)),
        Action::FileWritten => {
            format!("{actor} wrote {}", act.text("path").unwrap_or(subject))
        }
        Action::RecordingRemoved => format!("{actor} removed the recording {subject}"),
    }
}

/// What was done to a sandbox.
fn of_sandbox(act: &Act, action: Action) -> String {
    let actor = &act.actor;
    match action {
        Action::SandboxCreated => format!("{actor} made it to run {}", command(act)),
        Action::SandboxAdopted => format!("{actor} took it over"),
        Action::SandboxForked => {
            format!("{actor} forked it from {}", act.text("of").unwrap_or("another"))
        }
        Action::SandboxPaused => format!("paused by {actor}"),
        Action::SandboxResumed => format!("resumed by {actor}"),
        Action::SandboxStopped => format!("stopped by {actor}"),
        Action::SandboxRestored => {
            format!("{actor} gave it the files of {}", act.text("to").unwrap_or("its beginning"))
        }
        Action::SandboxRemoved => format!("removed by {actor}{}", why(act)),
        Action::SecretsGiven => {
            format!("{actor} gave it secrets: {}", list(act, "names").unwrap_or_default())
        }
        _ => act.action.clone(),
    }
}

/// The command of an entry.
fn command(act: &Act) -> String {
    let command = list(act, "command").filter(|it| !it.is_empty());
    command.unwrap_or_else(|| "its shell".to_owned())
}

fn why(act: &Act) -> String {
    act.text("why").map(|it| format!(": {it}")).unwrap_or_default()
}

fn of_session(
    at: Timestamp,
    kind: Kind,
    what: &str,
    words: &str,
    it: &Session,
    of: &Sandbox,
) -> Happening {
    let words = format!("{} {words}", it.name(&of.name));
    Happening {
        sandbox: Some(of.id.clone()),
        sandbox_name: Some(of.name.clone()),
        session: Some(it.id.clone()),
        status: Some(it.status),
        ..Happening::new(at, kind, what, &words)
    }
}

/// A session has another status.
pub(super) fn status(
    at: Timestamp,
    before: Option<Status>,
    it: &Session,
    of: &Sandbox,
) -> Happening {
    let from = before.map(|it| format!("{} → ", it.word())).unwrap_or_default();
    let words = format!("{from}{}: {}", it.status.word(), it.status_why);
    let level = match it.status {
        Status::Stuck | Status::Waiting => Level::Warning,
        _ => Level::Info,
    };
    Happening { level, ..of_session(at, Kind::Status, "status.changed", &words, it, of) }
}

/// The program of a session has ended.
pub(super) fn ended(at: Timestamp, it: &Session, of: &Sandbox) -> Happening {
    let (words, level) = match it.exit {
        Some(ExitStatus::Code(0)) => ("ended".to_owned(), Level::Info),
        Some(ExitStatus::Code(code)) => (format!("ended with exit code {code}"), Level::Warning),
        Some(ExitStatus::Signal(signal)) => {
            (format!("was ended by signal {signal}"), Level::Warning)
        }
        None => (format!("ended: {}", it.status_why), Level::Warning),
    };
    Happening { level, ..of_session(at, Kind::Session, "session.ended", &words, it, of) }
}

/// A notice, as everybody was told.
pub(super) fn notice(
    at: Timestamp,
    kind: Kind,
    level: Level,
    of: Option<&Sandbox>,
    words: &str,
) -> Happening {
    let what = if kind == Kind::Gauge { "gauge.limit" } else { "notice.told" };
    Happening {
        level,
        sandbox: of.map(|it| it.id.clone()),
        sandbox_name: of.map(|it| it.name.clone()),
        ..Happening::new(at, kind, what, words)
    }
}
