//! `timeline`: what happened, listed, followed, and since somebody was last there.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use tokio_stream::StreamExt;

use super::{
    args::TimelineArgs,
    out, paint, resolve,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        clock::{self, Timestamp, Zone},
        fault::{Fault, Kind as Fails, Outcome},
        id::{AskId, SandboxId, SessionId, SnapshotId},
        limits::{AWAY_LOOKED_MAX, AWAY_NAMED_MAX, TIMELINE_FILES_TRIES, TIMELINE_PAGE_MAX},
        text, units,
    },
    model::{
        audit::AuditRequest,
        event::Level,
        sandbox::Sandbox,
        session::Status,
        timeline::{AwayOf, Happening, Kind, Mark, Place, Source, TimelineRequest, away},
    },
    runtime::Runtime,
};

/// Reached back to for those who were never seen, in milliseconds: a day.
const NEVER_SEEN: i64 = 24 * 3600 * 1000;
/// Bytes of a subject in a list.
const SHOWN: usize = 120;

pub async fn timeline(runtime: &dyn Runtime, args: TimelineArgs) -> Outcome<out::Code> {
    if args.away {
        return was_away(runtime, args.json).await;
    }
    if let (Some(since), Some(until)) = (args.since, args.until)
        && until < since
    {
        return Err(Fault::invalid("--until is before --since"));
    }
    let request = request(runtime, &args).await?;
    let Read { all, mark, files_unknown, files_pending, files_missing } =
        read(runtime, request.clone(), args.most()).await?;
    if !args.json {
        print(&all)?;
        if all.is_empty() && !args.follow {
            out::tell("nothing of that is known to have happened");
            if args.since.is_some() || args.until.is_some() {
                tell_known(runtime).await?;
            }
        }
    } else if !args.follow {
        out::json(&all.iter().map(View::from).collect::<Vec<_>>())?;
    } else {
        all.iter().try_for_each(|it| out::json_line(&View::from(it)))?;
    }
    let asked_for = args.of.is_some() || args.kinds.contains(&Kind::Files);
    if let Some(why) = files_unknown.filter(|_| asked_for) {
        out::tell(&format!("when its programs changed files is not known: {why}"));
    }
    tell_missing(files_missing.as_deref());
    tell_pending(files_pending);
    if !args.follow {
        return Ok(out::DONE);
    }
    let request = TimelineRequest { written_after: Some(mark), ..request };
    follow(runtime, request, &all, files_missing, args.json).await
}

/// Prints what comes. What changed in files while the list was read may be in both.
async fn follow(
    runtime: &dyn Runtime,
    request: TimelineRequest,
    listed: &[Happening],
    mut told: Option<String>,
    json: bool,
) -> Outcome<out::Code> {
    let files = listed.iter().filter(|it| it.place.source == Source::Files);
    let listed: HashSet<Place> = files.map(|it| it.place).collect();
    let mut pages = runtime.follow_timeline(request).await?;
    while let Some(page) = pages.next().await {
        let page = page?;
        if page.files_missing != told {
            tell_missing(page.files_missing.as_deref());
            told = page.files_missing;
        }
        for it in page.happenings.iter().filter(|it| !listed.contains(&it.place)) {
            match json {
                true => out::json_line(&View::from(it))?,
                false => out::print(&line(it))?,
            }
        }
    }
    Ok(out::DONE)
}

fn tell_missing(missing: Option<&str>) {
    if let Some(missing) = missing {
        out::tell(&format!("not all changes of files are known: {missing}"));
    }
}

fn tell_pending(many: u32) {
    if many > 0 {
        let many = text::count(u64::from(many), "sandbox");
        out::tell(&format!("files of {many} are still being looked through: ask again for those"));
    }
}

/// Says since when anything is known: a list of a time before that is empty, and no proof of anything.
pub async fn tell_known(runtime: &dyn Runtime) -> Outcome<()> {
    let mut pages = runtime.audit(AuditRequest::default()).await?;
    let first = pages.next().await.transpose()?;
    if let Some(first) = first.as_deref().and_then(<[_]>::first) {
        let (from, to) = (first.act.at.rfc3339(), clock::wall().rfc3339());
        out::tell(&format!("what is known goes from {from} to {to}"));
    }
    Ok(())
}

/// What was typed is a sandbox or a session that is there, a session that was recorded, or a sandbox that was.
async fn request(runtime: &dyn Runtime, args: &TimelineArgs) -> Outcome<TimelineRequest> {
    let mut request = TimelineRequest {
        since: args.since,
        until: args.until,
        kinds: args.kinds.clone(),
        ..TimelineRequest::default()
    };
    let Some(typed) = &args.of else { return Ok(request) };
    let all = runtime.list().await?;
    // The first session has the sandbox's name: all of the sandbox is meant by that.
    match resolve::sandbox(&all, typed) {
        Ok(it) => request.sandbox = Some(it.id.to_string()),
        Err(fault) if fault.kind() != Fails::Absent => return Err(fault),
        Err(_) => match resolve::session(&all, typed) {
            Ok((_, it)) => request.session = Some(it.id.clone()),
            Err(fault) if fault.kind() != Fails::Absent => return Err(fault),
            Err(fault) => {
                let recorded = runtime.recordings().await?;
                let recorded = resolve::recording(&recorded, typed);
                let by_name = |name: &str| name == typed && !typed.contains('/');
                match recorded {
                    // By its first session's name the sandbox is meant.
                    Ok(it) if !by_name(&it.session_name) => {
                        request.session = Some(it.session.clone());
                    }
                    _ if typed.contains('/') => return Err(fault),
                    _ => request.sandbox = Some(typed.clone()),
                }
            }
        },
    }
    Ok(request)
}

/// What was read.
struct Read {
    /// Oldest first.
    all: Vec<Happening>,
    mark: Mark,
    files_unknown: Option<String>,
    files_pending: u32,
    files_missing: Option<String>,
}

/// The newest so many, page by page.
async fn read(runtime: &dyn Runtime, mut request: TimelineRequest, most: u32) -> Outcome<Read> {
    request.most = most.clamp(1, TIMELINE_PAGE_MAX);
    let mut page = runtime.timeline(request.clone()).await?;
    for _ in 1..TIMELINE_FILES_TRIES {
        if page.files_pending == 0 {
            break;
        }
        // The look that was waited for is new enough, however long it takes.
        request.files_asked = page.files_asked;
        page = runtime.timeline(request.clone()).await?;
    }
    // What is written while the older pages are read comes when it is followed.
    let mut out = Read {
        all: Vec::new(),
        mark: page.mark,
        files_unknown: page.files_unknown.take(),
        files_pending: page.files_pending,
        files_missing: None,
    };
    let mut left = most;
    loop {
        left = left.saturating_sub(u32::try_from(page.happenings.len()).unwrap_or(u32::MAX));
        request.before = page.happenings.first().map(|it| it.place);
        let more = page.more && request.before.is_some() && left > 0;
        out.files_missing = page.files_missing.take().or(out.files_missing);
        page.happenings.append(&mut out.all);
        out.all = page.happenings;
        if !more {
            return Ok(out);
        }
        request.most = left.min(TIMELINE_PAGE_MAX);
        page = runtime.timeline(request.clone()).await?;
    }
}

fn tone(level: Level) -> Tone {
    match level {
        Level::Info => Tone::Plain,
        Level::Warning => Tone::Warn,
        Level::Error => Tone::Bad,
    }
}

fn print(all: &[Happening]) -> Outcome<()> {
    if all.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["TIME", "KIND", "SANDBOX", "WHAT"]);
    let zone = Zone::here();
    for it in all {
        let (of, words) = it.parts();
        table.row(vec![
            zone.date_time(it.place.at).into(),
            it.kind.word().into(),
            of.unwrap_or("-").into(),
            Cell::new(&words, tone(it.level)),
        ]);
    }
    out::print(&table.render(paint::wanted()))
}

fn line(it: &Happening) -> String {
    let at = Zone::here().date_time(it.place.at);
    let (of, words) = it.parts();
    let of = of.unwrap_or("-");
    text::visible(&format!("{at}  {:<8}  {of}  {words}", it.kind.word())) + "\n"
}

#[derive(Serialize)]
struct View<'a> {
    at: String,
    kind: &'static str,
    what: &'a str,
    level: &'static str,
    sandbox_id: Option<&'a str>,
    sandbox: Option<&'a str>,
    session_id: Option<&'a str>,
    status: Option<&'static str>,
    ask: Option<&'a str>,
    snapshot: Option<&'a str>,
    actor: Option<&'a str>,
    text: &'a str,
    left_out: u64,
    source: &'static str,
    number: i64,
}

impl<'a> From<&'a Happening> for View<'a> {
    fn from(it: &'a Happening) -> Self {
        Self {
            at: it.place.at.rfc3339(),
            kind: it.kind.word(),
            what: &it.what,
            level: it.level.word(),
            sandbox_id: it.sandbox.as_ref().map(SandboxId::as_str),
            sandbox: it.sandbox_name.as_deref(),
            session_id: it.session.as_ref().map(SessionId::as_str),
            status: it.status.map(Status::word),
            ask: it.ask.as_ref().map(AskId::as_str),
            snapshot: it.snapshot.as_ref().map(SnapshotId::as_str),
            actor: it.actor.as_deref(),
            text: &it.text,
            left_out: it.left_out,
            source: it.place.source.word(),
            number: it.place.number,
        }
    }
}

/// Somebody who waits for a person.
#[derive(Serialize)]
struct WaitsView<'a> {
    sandbox: &'a str,
    session: Option<String>,
    /// Of an ask; `null` for a session.
    ask: Option<&'a str>,
    /// The kind of an ask, or the status of a session.
    what: &'static str,
    text: &'a str,
    since: Option<String>,
}

fn waiting(all: &[Sandbox]) -> Vec<WaitsView<'_>> {
    let mut out = Vec::new();
    for of in all {
        out.extend(of.asks.iter().map(|it| WaitsView {
            sandbox: &of.name,
            session: None,
            ask: Some(it.asked.id.as_str()),
            what: it.asked.request.kind.word(),
            text: &it.asked.request.subject,
            since: Some(it.asked.created_at.rfc3339()),
        }));
    }
    for of in all {
        let waits =
            of.sessions.iter().filter(|it| matches!(it.status, Status::Waiting | Status::Stuck));
        out.extend(waits.map(|it| WaitsView {
            sandbox: &of.name,
            session: Some(it.name(&of.name)),
            ask: None,
            what: it.status.word(),
            text: &it.status_why,
            since: it.status_since.map(Timestamp::rfc3339),
        }));
    }
    out
}

#[derive(Serialize)]
struct GroupView<'a> {
    sandbox: Option<&'a str>,
    level: &'static str,
    counts: BTreeMap<&'static str, u64>,
    last: &'a str,
    last_at: String,
}

#[derive(Serialize)]
struct AwayView<'a> {
    /// `null` = no console of this operator was ever seen: a day is looked back.
    last_seen_at: Option<String>,
    since: String,
    waiting: Vec<WaitsView<'a>>,
    sandboxes: Vec<GroupView<'a>>,
    /// There was more than is looked through: the oldest are not counted.
    more: bool,
    /// What is lacking of changes of files; `null` = nothing.
    files_missing: Option<&'a str>,
    /// So many sandboxes are still being looked through for them.
    files_pending: u32,
}

async fn was_away(runtime: &dyn Runtime, json: bool) -> Outcome<out::Code> {
    let now = clock::wall();
    let seen = runtime.sign(None).await?;
    let since = seen.unwrap_or(Timestamp(now.0.saturating_sub(NEVER_SEEN)));
    let request = TimelineRequest { since: Some(since), ..TimelineRequest::default() };
    // However many files were written: they are in nothing else's way.
    let (files, others): (Vec<_>, Vec<_>) =
        Kind::ALL.iter().copied().partition(|it| *it == Kind::Files);
    let (mut happened, mut more) = (Vec::new(), false);
    let (mut files_missing, mut files_pending) = (None, 0);
    for kinds in [others, files] {
        let request = TimelineRequest { kinds, ..request.clone() };
        let mut read = read(runtime, request, AWAY_LOOKED_MAX).await?;
        more |= read.all.len() >= usize::try_from(AWAY_LOOKED_MAX).unwrap_or(usize::MAX);
        happened.append(&mut read.all);
        files_missing = read.files_missing.or(files_missing);
        files_pending += read.files_pending;
    }
    happened.sort_by_key(|it| it.place);
    let groups = away(&happened);
    let sandboxes = runtime.list().await?;
    let waiting = waiting(&sandboxes);
    if json {
        out::json(&AwayView {
            last_seen_at: seen.map(Timestamp::rfc3339),
            since: since.rfc3339(),
            waiting,
            sandboxes: groups.iter().map(group_view).collect(),
            more,
            files_missing: files_missing.as_deref(),
            files_pending,
        })?;
        return Ok(out::DONE);
    }
    tell_missing(files_missing.as_deref());
    tell_pending(files_pending);
    let ago = units::human_duration(now.since(since));
    match seen {
        Some(_) => out::print(&format!("since your last key in a console, {ago} ago\n"))?,
        None => out::print("no console of yours was seen yet; the last 24 hours\n")?,
    }
    print_waiting(&waiting)?;
    if groups.is_empty() {
        out::print("\nnothing happened\n")?;
        return Ok(out::DONE);
    }
    out::print("\nhappened\n")?;
    let mut table = Table::new(&["SANDBOX", "LAST", "WHAT"]);
    for it in groups.iter().take(AWAY_NAMED_MAX) {
        table.row(vec![
            it.name.as_deref().unwrap_or("(hub)").into(),
            Zone::here().time(it.last_at).into(),
            Cell::new(&format!("{}; {}", it.words(), text::shown(&it.last, SHOWN)), tone(it.level)),
        ]);
    }
    out::print(&table.render(paint::wanted()))?;
    let rest = groups.len().saturating_sub(AWAY_NAMED_MAX);
    if rest > 0 {
        out::print(&format!("and {}\n", text::count(rest, "more sandbox")))?;
    }
    out::tell(&format!("all of it: sandwatch timeline --since {}", since.rfc3339()));
    Ok(out::DONE)
}

fn print_waiting(waiting: &[WaitsView<'_>]) -> Outcome<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    out::print("\nwaits for you\n")?;
    let mut table = Table::new(&["SANDBOX", "WHAT", "", ""]);
    for it in waiting {
        let id = it.ask.map(str::to_owned).or_else(|| it.session.clone());
        table.row(vec![
            it.sandbox.into(),
            Cell::new(it.what, Tone::Warn),
            id.unwrap_or_default().into(),
            text::shown(it.text, SHOWN).into(),
        ]);
    }
    out::print(&table.render(paint::wanted()))
}

fn group_view(it: &AwayOf) -> GroupView<'_> {
    GroupView {
        sandbox: it.name.as_deref(),
        level: it.level.word(),
        counts: it.counts.iter().map(|(kind, many)| (kind.word(), *many)).collect(),
        last: &it.last,
        last_at: it.last_at.rfc3339(),
    }
}
