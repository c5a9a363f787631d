//! `explain`: a session's status, what it stands on, what its processes wait on, and what fits to do about it.

use serde::Serialize;

use super::{
    args::ExplainArgs,
    out, paint, resolve, syscalls,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        clock::Timestamp,
        fault::Outcome,
        text::{count, visible},
        units::human_duration,
    },
    model::{
        process::Doing,
        session::Status,
        status::{Explained, Offer, Weight},
    },
    runtime::Runtime,
};

pub async fn explain(runtime: &dyn Runtime, args: ExplainArgs) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    let (sandbox, session) = resolve::session(&all, &args.session)?;
    let name = session.name(&sandbox.name);
    let told = runtime.explain(&session.id).await?;
    if let Some(pid) = args.syscalls {
        return syscalls::show(runtime, &told, &name, pid, &args).await;
    }
    if args.json {
        out::json(&ExplainedView::new(&told, &name, &sandbox.name))?;
        return Ok(out::DONE);
    }
    let colour = paint::wanted();
    let since = told.since.map_or_else(String::new, |it| format!(", for {}", age(&told, it)));
    out::print(&format!(
        "{}: {}{since}: {}\n\n",
        visible(&name),
        word(told.status),
        visible(&told.why)
    ))?;
    out::print(&evidence(&told).render(colour))?;
    for note in &told.processes.notes {
        out::tell(note);
    }
    if !told.processes.all.is_empty() {
        out::print("\n")?;
        out::print(&processes(&told).render(colour))?;
    }
    if told.processes.more > 0 {
        out::tell(&format!("{} not shown", count(told.processes.more, "more process")));
    }
    if let Some(apart) = told.processes.apart {
        out::tell(&format!("read twice, {} ms apart", apart.as_millis()));
    }
    let offers = told.offers();
    if !offers.is_empty() {
        out::print("\nwhat fits:\n")?;
        for it in offers {
            let line = format!("  {:<10} {}\n", it.word(), in_words(it, &name, &sandbox.name));
            out::print(&line)?;
        }
    }
    Ok(out::DONE)
}

/// A dash where nothing is known.
fn word(status: Status) -> &'static str {
    if status == Status::Unknown { "-" } else { status.word() }
}

fn age(told: &Explained, since: Timestamp) -> String {
    human_duration(told.at.since(since))
}

fn evidence(told: &Explained) -> Table {
    let mut table = Table::new(&["SOURCE", "SAYS", "SINCE", "COUNTS", "EVIDENCE"]);
    for (it, weight) in &told.evidence {
        let tone = match weight {
            Weight::Decides => Tone::Good,
            Weight::Agrees => Tone::Plain,
            Weight::Outranked => Tone::Warn,
            Weight::Stale | Weight::Silent => Tone::Dim,
        };
        table.row(vec![
            it.source.word().into(),
            it.says.map_or("-", word).into(),
            age(told, it.since).into(),
            Cell::new(weight.word(), tone),
            it.words.clone().into(),
        ]);
    }
    table
}

fn processes(told: &Explained) -> Table {
    let mut table = Table::new(&["PID", "STATE", "CPU", "CALL", "PROCESS"]);
    for (it, depth) in told.processes.tree() {
        let tone = match it.doing {
            Doing::Runs => Tone::Good,
            Doing::Disk | Doing::Stopped | Doing::Lock => Tone::Warn,
            Doing::Zombie => Tone::Bad,
            _ => Tone::Plain,
        };
        let front = if it.foreground { "" } else { " (not in front)" };
        let named = if it.command.is_empty() { &it.name } else { &it.command };
        let words = format!("{}{named}: {}{front}", "  ".repeat(depth), it.in_words());
        table.row(vec![
            it.pid.to_string().into(),
            Cell::new(it.doing.word(), tone),
            human_duration(it.cpu).into(),
            it.call.clone().unwrap_or_else(|| "-".to_owned()).into(),
            words.into(),
        ]);
    }
    table
}

/// How it is done here.
fn in_words(offer: Offer, session: &str, sandbox: &str) -> String {
    let (session, sandbox) = (visible(session), visible(sandbox));
    match offer {
        Offer::Peek => format!("sandwatch screen {session}"),
        Offer::Answer => "sandwatch approvals ls".to_owned(),
        Offer::Nudge => format!("sandwatch send {session} TEXT '<Enter>'"),
        Offer::Interrupt => format!("sandwatch send {session} '<C-c>'"),
        Offer::Pause => format!("sandwatch pause {sandbox}"),
        Offer::Resume => format!("sandwatch resume {sandbox}"),
        Offer::Snapshot => format!("sandwatch snapshot create {sandbox}"),
        Offer::Shell => format!("sandwatch shell {sandbox}"),
    }
}

#[derive(Serialize)]
struct ExplainedView<'a> {
    session: &'a str,
    name: &'a str,
    sandbox: &'a str,
    status: Option<&'static str>,
    status_why: &'a str,
    status_since: Option<String>,
    at: String,
    evidence: Vec<EvidenceView<'a>>,
    causes: Vec<CauseView<'a>>,
    processes: Vec<ProcessView<'a>>,
    processes_at: Option<String>,
    processes_more: u32,
    processes_notes: &'a [String],
    readings_apart_ms: Option<u64>,
    offers: Vec<&'static str>,
}

#[derive(Serialize)]
struct EvidenceView<'a> {
    source: &'static str,
    what: &'a str,
    says: Option<&'static str>,
    cause: Option<&'static str>,
    since: String,
    at: String,
    until: Option<String>,
    counts: &'static str,
    words: &'a str,
}

#[derive(Serialize)]
struct CauseView<'a> {
    cause: &'static str,
    words: &'a str,
}

#[derive(Serialize)]
struct ProcessView<'a> {
    pid: u32,
    parent: u32,
    name: &'a str,
    command: &'a str,
    foreground: bool,
    threads: u32,
    cpu_ms: u64,
    state: &'static str,
    waits_endless: bool,
    waits_on: Option<&'a str>,
    call: Option<&'a str>,
    words: String,
}

/// `null` where nothing is known.
pub fn status_word(status: Status) -> Option<&'static str> {
    (status != Status::Unknown).then(|| status.word())
}

impl<'a> ExplainedView<'a> {
    fn new(told: &'a Explained, name: &'a str, sandbox: &'a str) -> Self {
        let ms = |it: std::time::Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let evidence = told.evidence.iter().map(|(it, weight)| EvidenceView {
            source: it.source.word(),
            what: &it.what,
            says: it.says.and_then(status_word),
            cause: it.cause.map(crate::model::status::Cause::word),
            since: it.since.rfc3339(),
            at: it.at.rfc3339(),
            until: it.until.map(Timestamp::rfc3339),
            counts: weight.word(),
            words: &it.words,
        });
        let processes = told.processes.all.iter().map(|it| ProcessView {
            pid: it.pid,
            parent: it.parent,
            name: &it.name,
            command: &it.command,
            foreground: it.foreground,
            threads: it.threads,
            cpu_ms: ms(it.cpu),
            state: it.doing.word(),
            waits_endless: it.endless,
            waits_on: it.on.as_deref(),
            call: it.call.as_deref(),
            words: it.in_words(),
        });
        let causes = told.causes();
        Self {
            session: told.session.as_str(),
            name,
            sandbox,
            status: status_word(told.status),
            status_why: &told.why,
            status_since: told.since.map(Timestamp::rfc3339),
            at: told.at.rfc3339(),
            evidence: evidence.collect(),
            causes: causes
                .map(|(it, of)| CauseView { cause: it.word(), words: &of.words })
                .collect(),
            processes: processes.collect(),
            processes_at: told.processes.at.map(Timestamp::rfc3339),
            processes_more: told.processes.more,
            processes_notes: &told.processes.notes,
            readings_apart_ms: told.processes.apart.map(ms),
            offers: told.offers().into_iter().map(Offer::word).collect(),
        }
    }
}
