//! `recordings`: list them, write one as asciicast, delete some.

use serde::Serialize;
use tokio_stream::StreamExt;

use super::{
    args::{RecordingsRmArgs, RecordingsSearchArgs, RecordingsVerb},
    export::Export,
    json::RecordingView,
    out, paint, resolve,
    steer::command_of,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        units,
    },
    model::{
        history::Recording,
        replay::{FindRequest, Span},
    },
    runtime::Runtime,
};

/// Recordings named in a question; the rest are counted.
const NAMED_MAX: usize = 5;

pub async fn recordings(runtime: &dyn Runtime, verb: RecordingsVerb) -> Outcome<out::Code> {
    let all = runtime.recordings().await?;
    match verb {
        RecordingsVerb::Ls(args) if args.json => {
            let views: Vec<RecordingView<'_>> = all.iter().map(RecordingView::from).collect();
            out::json(&views)?;
        }
        RecordingsVerb::Ls(_) => list(&all)?,
        RecordingsVerb::Export { session, output, force, from, until } => {
            let recording = resolve::recording(&all, &session)?;
            if from.zip(until).is_some_and(|(from, until)| until < from) {
                return Err(Fault::invalid("--until is before --from"));
            }
            let to = Export::to(output.as_deref(), force)?;
            export(runtime, recording, Span { from, until }, to).await?;
        }
        RecordingsVerb::Search(args) => return search(runtime, &all, &args).await,
        RecordingsVerb::Rm(args) => return rm(runtime, &all, &args).await,
    }
    Ok(out::DONE)
}

fn list(all: &[Recording]) -> Outcome<()> {
    if all.is_empty() {
        out::tell("nothing has been recorded yet");
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "SESSION", "STARTED", "LENGTH", "SIZE", "END", "COMMAND"]);
    let zone = clock::Zone::here();
    for it in all {
        let until = it.ended_at.unwrap_or_else(clock::wall);
        let end = it.exit.map_or_else(|| "-".to_owned(), |exit| exit.code().to_string());
        table.row(vec![
            it.session_name.clone().into(),
            Cell::new(it.session.as_str(), Tone::Dim),
            zone.date_time(it.started_at).into(),
            units::human_duration(until.since(it.started_at)).into(),
            units::human_bytes(it.size_bytes).into(),
            end.into(),
            command_of(&it.command).into(),
        ]);
    }
    out::print(&table.render(paint::wanted()))
}

/// Nothing is deleted unless every name is known; what is gone is gone, so a terminal is asked.
async fn rm(
    runtime: &dyn Runtime,
    all: &[Recording],
    args: &RecordingsRmArgs,
) -> Outcome<out::Code> {
    let mut found: Vec<&Recording> = Vec::new();
    for name in &args.sessions {
        let recording = resolve::recording(all, name)?;
        if !found.iter().any(|it| it.session == recording.session) {
            found.push(recording);
        }
    }
    if args.sessions.is_empty() {
        // One without an end is being written.
        found.extend(all.iter().filter(|it| it.ended_at.is_some()));
    }
    let old = |it: &&Recording| {
        let age = clock::wall().since(it.ended_at.unwrap_or(it.started_at));
        args.older_than.is_none_or(|least| age >= least)
    };
    found.retain(old);
    if found.is_empty() {
        out::tell("no recording is as old as that");
        return Ok(out::DONE);
    }
    if !args.yes {
        if !out::on_terminal() {
            let why = "recordings rm asks before it deletes, and nobody is there to ask";
            return Err(Fault::invalid(why).hint("add --yes"));
        }
        if !out::confirm(&format!("delete {}?", losses(&found)))? {
            return Err(Fault::denied("nothing was deleted"));
        }
    }
    let mut code = out::DONE;
    for it in found {
        match runtime.remove_recording(&it.session).await {
            Ok(()) => {}
            // Meant by its age alone: it stays, and nothing went wrong.
            Err(fault) if args.sessions.is_empty() && fault.kind() == Kind::Busy => {
                out::tell(&format!("{} is kept: {}", it.session_name, fault.message()));
            }
            Err(fault) => {
                let failed = out::report(&fault.context(&it.session_name));
                code = if code == out::DONE { failed } else { code };
            }
        }
    }
    Ok(code)
}

/// What deleting these loses, in words.
fn losses(found: &[&Recording]) -> String {
    let bytes = units::human_bytes(found.iter().map(|it| it.size_bytes).sum());
    let (named, rest) = found.split_at(found.len().min(NAMED_MAX));
    let names: Vec<&str> = named.iter().map(|it| it.session_name.as_str()).collect();
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    format!("{}{more}, {bytes} of recordings", names.join(", "))
}

/// A place in a recording.
#[derive(Serialize)]
struct HitView<'a> {
    at: String,
    offset: u64,
    line: &'a str,
}

/// Every place, the oldest first.
async fn search(
    runtime: &dyn Runtime,
    all: &[Recording],
    args: &RecordingsSearchArgs,
) -> Outcome<out::Code> {
    let recording = resolve::recording(all, &args.session)?;
    let (mut from, mut hits) = (0, Vec::new());
    while hits.len() < args.n as usize {
        let request = FindRequest { pattern: args.pattern.clone(), from, backwards: false };
        let page = runtime.find(&recording.session, request).await?;
        from = match (page.hit, page.next) {
            (Some(hit), _) => {
                let end = hit.end;
                hits.push(hit);
                end
            }
            (None, Some(next)) => next,
            (None, None) => break,
        };
    }
    if args.json {
        let views = hits.iter().map(|it| HitView {
            at: it.at.rfc3339(),
            offset: it.offset,
            line: &it.line,
        });
        out::json(&views.collect::<Vec<_>>())?;
    } else {
        let zone = clock::Zone::here();
        for it in &hits {
            out::print(&format!("{}  {}\n", zone.date_time(it.at), it.line))?;
        }
    }
    if hits.is_empty() {
        let words = format!("{} never printed that", recording.session_name);
        return Err(
            Fault::absent(words).hint("what a program drew in pieces can't be found as one")
        );
    }
    Ok(out::DONE)
}

async fn export(runtime: &dyn Runtime, it: &Recording, span: Span, mut to: Export) -> Outcome<()> {
    let pieces = runtime.export(&it.session, span).await;
    let mut pieces = pieces.map_err(|fault| fault.context(&it.session_name))?;
    while let Some(piece) = pieces.next().await {
        to.add(&piece?)?;
    }
    to.finish()
}
