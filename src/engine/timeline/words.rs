//! What happened in words: entries of the audit record as lines of one list, and what is written beside it.

use std::time::Duration;

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

/// What an act is, how much it matters, and what it says.
pub(super) struct Told {
    pub action: Action,
    pub kind: Kind,
    level: Level,
    /// One line.
    say: fn(&Act) -> String,
}

const fn info(action: Action, kind: Kind, say: fn(&Act) -> String) -> Told {
    Told { action, kind, level: Level::Info, say }
}

const fn warning(action: Action, kind: Kind, say: fn(&Act) -> String) -> Told {
    Told { action, kind, level: Level::Warning, say }
}

/// Every act.
pub(super) static ACTS: &[Told] = &[
    info(Action::HubStarted, Kind::Hub, |_| "the hub was started".to_owned()),
    info(Action::AskAsked, Kind::Ask, |it| {
        format!("asks, {}: {}", it.text("kind").unwrap_or("ask"), it.subject)
    }),
    info(Action::AskAllowed, Kind::Ask, |it| answered(it, "allowed")),
    warning(Action::AskDenied, Kind::Ask, |it| answered(it, "denied")),
    warning(Action::AskExpired, Kind::Ask, |it| {
        format!("nobody answered{}: {}", waited(it), asked(it))
    }),
    info(Action::AskWithdrawn, Kind::Ask, |it| {
        format!("waits no more{}: {}", waited(it), asked(it))
    }),
    info(Action::AskRevoked, Kind::Ask, |it| {
        format!("{} took the answer back: {}", it.actor, asked(it))
    }),
    info(Action::EgressAllowed, Kind::Egress, |it| went_out(it, "let out to")),
    warning(Action::EgressDenied, Kind::Egress, |it| went_out(it, "kept from")),
    info(Action::PolicyChanged, Kind::Policy, |it| {
        format!("other rules are in force: {} by {}", it.subject, it.actor)
    }),
    warning(Action::PolicyRefused, Kind::Policy, |it| {
        format!("rules were refused: {}{}", it.subject, why(it))
    }),
    info(Action::KeyboardTaken, Kind::Keyboard, |it| of_by(it, "stepped in")),
    warning(Action::KeyboardTakenOver, Kind::Keyboard, |it| of_by(it, "took the keyboard over")),
    info(Action::KeyboardGivenBack, Kind::Keyboard, |it| of_by(it, "left") + &why(it)),
    info(Action::KeyboardLineSent, Kind::Keyboard, |it| {
        let bytes = text::count(number(it, "bytes").unwrap_or(0), "byte");
        of_by(it, &format!("sent a line of {bytes}"))
    }),
    info(Action::KeyboardInterrupted, Kind::Keyboard, |it| of_by(it, "interrupted it (ctrl-c)")),
    info(Action::SandboxCreated, Kind::Sandbox, |it| {
        format!("{} made it to run {}", it.actor, command(it))
    }),
    info(Action::SandboxAdopted, Kind::Sandbox, |it| format!("{} took it over", it.actor)),
    info(Action::SandboxForked, Kind::Sandbox, |it| {
        format!("{} forked it from {}", it.actor, it.text("of").unwrap_or("another"))
    }),
    info(Action::SandboxPaused, Kind::Sandbox, |it| format!("paused by {}", it.actor)),
    info(Action::SandboxResumed, Kind::Sandbox, |it| format!("resumed by {}", it.actor)),
    info(Action::SandboxStopped, Kind::Sandbox, |it| format!("stopped by {}", it.actor)),
    info(Action::SandboxRestored, Kind::Sandbox, |it| {
        format!("{} gave it the files of {}", it.actor, it.text("to").unwrap_or("its beginning"))
    }),
    warning(Action::SandboxRemoved, Kind::Sandbox, |it| {
        format!("removed by {}{}", it.actor, why(it))
    }),
    info(Action::SecretsGiven, Kind::Sandbox, |it| {
        format!("{} gave it secrets: {}", it.actor, list(it, "names").unwrap_or_default())
    }),
    info(Action::SnapshotTaken, Kind::Snapshot, |it| {
        let name = it.text("name").map(|it| format!(" {it}")).unwrap_or_default();
        format!("{} took the snapshot{name} {}", it.actor, it.subject)
    }),
    info(Action::SnapshotRemoved, Kind::Snapshot, |it| by_to(it, "removed the snapshot")),
    info(Action::WorkspaceApplied, Kind::Files, |it| landed(it, "applied")),
    info(Action::WorkspaceTakenBack, Kind::Files, |it| landed(it, "took back")),
    info(Action::SessionOpened, Kind::Session, |it| of_by(it, "opened it: ") + &command(it)),
    info(Action::SyscallsWatched, Kind::Session, |it| {
        let process = number(it, "process").unwrap_or_default();
        of_by(it, &format!("looked at the system calls of process {process}"))
    }),
    info(Action::ProgramRun, Kind::Session, |it| format!("{} ran {}", it.actor, command(it))),
    info(Action::FileWritten, Kind::Files, |it| {
        format!("{} wrote {}", it.actor, it.text("path").unwrap_or(&it.subject))
    }),
    info(Action::RecordingRemoved, Kind::Session, |it| by_to(it, "removed the recording")),
    info(Action::MemberInvited, Kind::Hub, |it| {
        format!("{} invited {} as {}", it.actor, it.subject, it.text("role").unwrap_or("?"))
    }),
    info(Action::InviteWithdrawn, Kind::Hub, |it| by_to(it, "withdrew the invite of")),
    warning(Action::MemberEnrolled, Kind::Hub, |it| {
        let role = it.text("role").unwrap_or("?");
        format!("{} may come from now on as {role}, from {}", it.subject, address(it))
    }),
    info(Action::CertificateRenewed, Kind::Hub, |it| by_to(it, "renewed the certificate of")),
    warning(Action::MemberRoleChanged, Kind::Hub, |it| {
        by_to(it, "changed the role of") + &format!(" to {}", it.text("role").unwrap_or("?"))
    }),
    warning(Action::MemberRevoked, Kind::Hub, |it| by_to(it, "revoked all that lets in")),
    warning(Action::CallRefused, Kind::Hub, |it| {
        format!("{} was refused, {}: {}", it.actor, it.text("why").unwrap_or("?"), it.subject)
    }),
    warning(Action::ConnectionRefused, Kind::Hub, |it| {
        let what = it.text("what").unwrap_or("?");
        format!("a connection from {} was refused{}: {what}", it.subject, why(it))
    }),
];

/// An entry of the audit record as a line; one that is not known by its word is shown by it.
pub(super) fn of_entry(entry: &Entry) -> Happening {
    let act = &entry.act;
    let told = ACTS.iter().find(|it| it.action.word() == act.action);
    let kind = told.map_or(Kind::Notice, |it| it.kind);
    let line = told.map_or_else(|| by_to(act, &act.action), |it| (it.say)(act));
    let shown = |it: &str| text::shown(it, TIMELINE_TEXT_BYTES_MAX);
    let id = |key: &str| act.text(key).map(str::to_owned);
    let snapshot = match kind {
        Kind::Snapshot => SnapshotId::parse(&act.subject),
        Kind::Ask => act.text("snapshot").and_then(SnapshotId::parse),
        Kind::Sandbox => act.text("to").and_then(SnapshotId::parse),
        _ => None,
    };
    let mut out = Happening::new(act.at, kind, &shown(&act.action), &line);
    out.place = Place { at: act.at, source: Source::Audit, number: entry.seq };
    out.level = told.map_or(Level::Info, |it| it.level);
    out.sandbox = id("sandbox_id").and_then(|it| SandboxId::parse(&it));
    out.sandbox_name = id("sandbox").map(|it| shown(&it));
    out.session = id("session").and_then(|it| SessionId::parse(&it));
    (out.ask, out.snapshot) = (id("ask").and_then(|it| AskId::parse(&it)), snapshot);
    out.actor = Some(shown(&act.actor)).filter(|_| act.text("from") != Some("sandbox"));
    out.left_out = number(act, "left_out_before").unwrap_or(0);
    out
}

fn address(act: &Act) -> &str {
    act.text("address").unwrap_or("?")
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

/// Of which session, who did it, and what: a list names the session beside it.
fn of_by(act: &Act, did: &str) -> String {
    format!("{}: {} {did}", act.subject, act.actor)
}

/// Who did it, what, and to what.
fn by_to(act: &Act, did: &str) -> String {
    format!("{} {did} {}", act.actor, act.subject)
}

/// What was asked for.
fn asked(act: &Act) -> String {
    format!("{} {}", act.text("kind").unwrap_or("ask"), act.subject)
}

/// For how long it had waited.
fn waited(act: &Act) -> String {
    let waited = number(act, "waited_ms").map(Duration::from_millis);
    waited.map(|it| format!(" after {}", human_duration(it))).unwrap_or_default()
}

fn answered(act: &Act, verdict: &str) -> String {
    let scope = act.text("scope").map(|it| format!(" ({it})")).unwrap_or_default();
    let message = act.text("message").map(|it| format!(", saying: {it}")).unwrap_or_default();
    let by = match act.text("from") {
        Some("policy") => format!("by a rule, {}", list(act, "rules").unwrap_or_default()),
        Some("standing") => "as before".to_owned(),
        _ => format!("by {}{scope}{}", act.actor, waited(act)),
    };
    format!("{verdict} {by}: {}{message}", asked(act))
}

fn went_out(act: &Act, verdict: &str) -> String {
    let times = match number(act, "count") {
        Some(many @ 2..) => format!(", {many} times"),
        _ => String::new(),
    };
    let program = act.text("program").map(|it| format!(" by {it}")).unwrap_or_default();
    format!("{verdict} {}{program}{times}{}", act.subject, why(act))
}

fn landed(act: &Act, verb: &str) -> String {
    let many = text::count(number(act, "count").unwrap_or(0), "path");
    format!("{} {verb} {many}: {}", act.actor, list(act, "paths").unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_is_told_once_and_its_word_begins_like_its_kind() {
        for action in Action::ALL {
            let told: Vec<_> = ACTS.iter().filter(|it| it.action == *action).collect();
            let [told] = told[..] else { panic!("{}", action.word()) };
            let first = action.word().split('.').next().unwrap();
            let other = matches!(
                first,
                "secrets"
                    | "workspace"
                    | "program"
                    | "file"
                    | "recording"
                    | "syscalls"
                    | "member"
                    | "invite"
                    | "certificate"
                    | "call"
                    | "connection"
            );
            assert!(other || first == told.kind.word(), "{}", action.word());
            let act = Act::new(Timestamp(1), "alice", *action, "box");
            assert!(!(told.say)(&act).is_empty());
        }
        assert_eq!(ACTS.len(), Action::ALL.len());
    }
}
