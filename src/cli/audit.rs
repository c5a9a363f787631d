//! `audit`: the record of who did and decided what, listed, looked through and exported.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use serde::Serialize;
use tokio_stream::StreamExt;

use super::{
    args::{AuditLsArgs, AuditVerb, AuditVerifyArgs, JsonArgs},
    export::Export,
    jsonl::{self, EntryView},
    out, paint, resolve,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        limits::AUDIT_LINE_BYTES_MAX,
        text,
    },
    model::{
        audit::{Act, AuditRequest, Head, Value},
        chain::{Flaw, Verifier},
    },
    runtime::Runtime,
};

/// Bytes of a subject or a detail in a list.
const SHOWN: usize = 100;
/// Details that have a column of their own or tell a person nothing.
const NOT_SHOWN: [&str; 8] =
    ["sandbox", "sandbox_id", "from", "digest", "edit_digest", "sha256", "rule_sha256", "session"];

pub async fn audit(runtime: &dyn Runtime, verb: AuditVerb) -> Outcome<out::Code> {
    match verb {
        AuditVerb::Ls(args) => ls(runtime, args).await,
        AuditVerb::Verify(args) => verify(runtime, &args).await,
        AuditVerb::Head(args) => head(runtime, &args).await,
        AuditVerb::Export { file, force } => export(runtime, file.as_deref(), force).await,
    }
}

async fn ls(runtime: &dyn Runtime, args: AuditLsArgs) -> Outcome<out::Code> {
    let sandbox = match &args.sandbox {
        Some(typed) => Some(known(runtime, typed).await?),
        None => None,
    };
    let request = AuditRequest { newest: Some(args.n), since: args.since, sandbox };
    let mut pages = runtime.audit(request).await?;
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        all.extend(page?);
    }
    if args.json {
        out::json(&all.iter().map(EntryView::from).collect::<Vec<_>>())?;
        return Ok(out::DONE);
    }
    if all.is_empty() {
        out::tell("the audit record has nothing of that");
        if args.since.is_some() {
            super::timeline::tell_known(runtime).await?;
        }
        return Ok(out::DONE);
    }
    let headings = ["SEQ", "TIME", "ACTOR", "FROM", "ACTION", "SANDBOX", "SUBJECT"];
    let mut table = Table::new(&headings);
    let zone = clock::Zone::here();
    for it in &all {
        let tone = match it.act.action.as_str() {
            "ask.denied" | "ask.expired" | "policy.refused" | "keyboard.taken_over" => Tone::Warn,
            _ => Tone::Plain,
        };
        table.row(vec![
            it.seq.to_string().into(),
            zone.date_time(it.act.at).into(),
            it.act.actor.clone().into(),
            from(&it.act).into(),
            Cell::new(&it.act.action, tone),
            it.act.text("sandbox").unwrap_or("-").into(),
            told(&it.act).into(),
        ]);
    }
    out::print(&table.render(paint::wanted()))?;
    Ok(out::DONE)
}

/// The id of a sandbox that is there, by a prefix of its id; else what was typed, for one that was.
async fn known(runtime: &dyn Runtime, typed: &str) -> Outcome<String> {
    let all = runtime.list().await?;
    if all.iter().any(|it| it.name == typed) {
        return Ok(typed.to_owned());
    }
    match resolve::sandbox(&all, typed) {
        Ok(it) => Ok(it.id.to_string()),
        Err(fault) if fault.kind() == Kind::Absent => Ok(typed.to_owned()),
        Err(fault) => Err(fault),
    }
}

fn from(act: &Act) -> String {
    let number = |key| match act.details.get(key) {
        Some(Value::Number(it)) => it.to_string(),
        _ => "-".to_owned(),
    };
    match act.text("from") {
        Some("unix") => format!("uid {} pid {}", number("uid"), number("pid")),
        Some(other) => other.to_owned(),
        None => "-".to_owned(),
    }
}

/// The subject and what else there is to say, in one line.
fn told(act: &Act) -> String {
    let mut out = text::shown(&act.subject, SHOWN);
    for (key, value) in &act.details {
        let number = matches!(key.as_str(), "uid" | "pid") && act.text("from") == Some("unix");
        if number || NOT_SHOWN.contains(&key.as_str()) {
            continue;
        }
        let value = match value {
            Value::Text(it) => it.clone(),
            Value::Number(it) => it.to_string(),
            Value::List(it) => it.join(" "),
        };
        if !value.is_empty() {
            let (key, value) = (text::shown(key, SHOWN), text::shown(&value, SHOWN));
            out.push_str(&format!("  {key}={value}"));
        }
    }
    out
}

#[derive(Serialize)]
struct HeadView<'a> {
    seq: i64,
    hash: &'a str,
}

async fn head(runtime: &dyn Runtime, args: &JsonArgs) -> Outcome<out::Code> {
    let head = runtime.audit_head().await?;
    if args.json {
        out::json(&HeadView { seq: head.seq, hash: &head.hash })?;
    } else {
        out::print(&format!("{head}\n"))?;
    }
    Ok(out::DONE)
}

async fn export(runtime: &dyn Runtime, file: Option<&Path>, force: bool) -> Outcome<out::Code> {
    let mut to = Export::to(file, force)?;
    let mut pages = runtime.audit(AuditRequest::default()).await?;
    let (mut count, mut last) = (0_u64, Head::none());
    while let Some(page) = pages.next().await {
        for it in page? {
            to.add(jsonl::line(&it)?.as_bytes())?;
            count += 1;
            last = Head { seq: it.seq, hash: it.hash };
        }
    }
    to.finish()?;
    if file.is_some() {
        out::tell(&format!("{} written, the last is {last}", entries(count)));
    }
    Ok(out::DONE)
}

fn entries(count: u64) -> String {
    match count {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    }
}

async fn verify(runtime: &dyn Runtime, args: &AuditVerifyArgs) -> Outcome<out::Code> {
    let mut pages = runtime.audit(AuditRequest::default()).await?;
    let mut verifier = Verifier::new(args.head.clone());
    while let Some(page) = pages.next().await {
        for it in page? {
            if let Err(flaw) = verifier.take(&it) {
                return judged(args, Err(flaw));
            }
        }
    }
    judged(args, verifier.end())
}

/// Looks through an exported record, without any hub.
pub fn verify_file(args: &AuditVerifyArgs) -> Outcome<out::Code> {
    let Some(path) = &args.file else { return Err(Fault::bug("no file to look through")) };
    let failed =
        |error: &std::io::Error| Fault::io(format_args!("reading {}", path.display()), error);
    let file = File::open(path).map_err(|it| failed(&it))?;
    let mut lines = BufReader::new(file);
    let mut verifier = Verifier::new(args.head.clone());
    let mut number = 0_u64;
    loop {
        let mut line = Vec::new();
        let most = AUDIT_LINE_BYTES_MAX + 1;
        lines.by_ref().take(most).read_until(b'\n', &mut line).map_err(|it| failed(&it))?;
        if line.is_empty() {
            return judged(args, verifier.end());
        }
        number += 1;
        let flaw = match jsonl::entry(&line) {
            Ok(it) => verifier.take(&it),
            Err(why) => {
                let why = format!("line {number} is none: {why}");
                Err(Flaw { seq: verifier.next(), why })
            }
        };
        if let Err(flaw) = flaw {
            return judged(args, Err(flaw));
        }
    }
}

#[derive(Serialize)]
struct VerdictView<'a> {
    sound: bool,
    /// The last entry; `null` when the record is not sound.
    head: Option<HeadView<'a>>,
    /// The place of the first entry that is changed, missing or misplaced.
    bad_seq: Option<i64>,
    why: Option<&'a str>,
}

fn judged(args: &AuditVerifyArgs, found: Result<Head, Flaw>) -> Outcome<out::Code> {
    if args.json {
        let (head, flaw) = (found.as_ref().ok(), found.as_ref().err());
        out::json(&VerdictView {
            sound: head.is_some(),
            head: head.map(|it| HeadView { seq: it.seq, hash: &it.hash }),
            bad_seq: flaw.map(|it| it.seq),
            why: flaw.map(|it| it.why.as_str()),
        })?;
    }
    match found {
        Ok(head) => {
            if !args.json {
                let count = entries(head.seq.max(0).cast_unsigned());
                out::print(&format!("{count}, sound; the last is {head}\n"))?;
            }
            Ok(out::DONE)
        }
        Err(flaw) => Err(Fault::failed(format!("the audit record is not what it was: {flaw}"))),
    }
}
