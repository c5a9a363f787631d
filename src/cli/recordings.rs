//! `recordings`: list them, and write one as asciicast.

use std::{io::Write, path::Path};

use tokio_stream::StreamExt;

use super::{
    args::RecordingsVerb,
    json::RecordingView,
    out, paint, resolve,
    steer::command_of,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        units,
    },
    model::history::Recording,
    runtime::Runtime,
};

pub async fn recordings(runtime: &dyn Runtime, verb: RecordingsVerb) -> Outcome<out::Code> {
    let all = runtime.recordings().await?;
    match verb {
        RecordingsVerb::Ls(args) if args.json => {
            let views: Vec<RecordingView<'_>> = all.iter().map(RecordingView::from).collect();
            out::json(&views)?;
        }
        RecordingsVerb::Ls(_) => list(&all)?,
        RecordingsVerb::Export { session, output } => {
            let recording = resolve::recording(&all, &session)?;
            export(runtime, recording, output.as_deref()).await?;
        }
    }
    Ok(out::DONE)
}

fn list(all: &[Recording]) -> Outcome<()> {
    if all.is_empty() {
        out::tell("nothing has been recorded yet");
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "SESSION", "STARTED", "LENGTH", "SIZE", "END", "COMMAND"]);
    for it in all {
        let until = it.ended_at.unwrap_or_else(clock::wall);
        let end = it.exit.map_or_else(|| "-".to_owned(), |exit| exit.code().to_string());
        table.row(vec![
            it.session_name.clone().into(),
            Cell::new(it.session.as_str(), Tone::Dim),
            it.started_at.rfc3339().into(),
            units::human_duration(until.since(it.started_at)).into(),
            units::human_bytes(it.size_bytes).into(),
            end.into(),
            command_of(&it.command).into(),
        ]);
    }
    out::print(&table.render(paint::wanted()))
}

async fn export(runtime: &dyn Runtime, it: &Recording, output: Option<&Path>) -> Outcome<()> {
    let mut pieces = runtime.export(&it.session).await?;
    let failed = |path: &Path, error: &std::io::Error| {
        Fault::io(format_args!("write {}", path.display()), error)
    };
    let mut file = match output {
        Some(path) => {
            let file = std::fs::File::create(path).map_err(|error| failed(path, &error))?;
            Some((path, std::io::BufWriter::new(file)))
        }
        None => None,
    };
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        match &mut file {
            Some((path, file)) => file.write_all(&piece).map_err(|error| failed(path, &error))?,
            None => out::print_bytes(&piece)?,
        }
    }
    if let Some((path, mut file)) = file {
        file.flush().map_err(|error| failed(path, &error))?;
    }
    Ok(())
}
