//! The lines of the box that asks first: what will happen, and what will be lost.

use crate::{
    app::{
        dialog::{Says, Verb},
        diff::{Diff, Half},
    },
    base::{clock::Zone, limits::CONSOLE_NAMED_MAX, text::count, units::human_bytes},
    model::{
        sandbox::{Sandbox, WorkspaceMode},
        session::Status,
        snapshot::{Snapshot, SnapshotKind},
    },
};

fn running(sandbox: &Sandbox) -> usize {
    sandbox.sessions.iter().filter(|it| it.status != Status::Exited).count()
}

/// What happens to one sandbox.
pub(super) fn of_one(sandbox: &Sandbox, verb: Verb) -> Vec<String> {
    let mut lines = Vec::new();
    if verb == Verb::Pause || verb == Verb::Resume {
        return of_none_lost(verb);
    }
    match running(sandbox) {
        0 if verb == Verb::Stop => {
            lines.push("No program of it runs; how it ended counts as seen.".to_owned());
        }
        0 => lines.push("No program of it runs.".to_owned()),
        it => lines.push(programs_end(it)),
    }
    let path = sandbox.workspace.path.to_string_lossy();
    match (verb, sandbox.workspace.mode) {
        (Verb::Pause | Verb::Resume, _) => {}
        (Verb::Stop, _) => lines.push("Its files stay until it is removed.".to_owned()),
        (Verb::Remove, WorkspaceMode::Cow) => {
            lines.push(format!("What it changed in its copy of {path} is deleted."));
            lines.push(format!("{path} itself stays as it is."));
        }
        (Verb::Remove, WorkspaceMode::Rw) => {
            lines.push(format!("{path} stays with every change; its other files are deleted."));
        }
        (Verb::Remove, WorkspaceMode::Ro | WorkspaceMode::None) => {
            lines.push("Its files are deleted.".to_owned());
        }
    }
    if verb == Verb::Remove {
        let recorded = sandbox.sessions.iter().any(|it| it.recording);
        let text = if recorded { "Its recordings stay." } else { "It has no recording." };
        lines.push(text.to_owned());
    }
    lines
}

fn programs_end(many: usize) -> String {
    let verb = if many == 1 { "ends" } else { "end" };
    format!("{} {verb}.", count(many, "running program"))
}

fn of_none_lost(verb: Verb) -> Vec<String> {
    let says =
        if verb == Verb::Pause { "Every process is frozen." } else { "Every process goes on." };
    vec![says.to_owned()]
}

/// What happens to many.
pub(super) fn of_many(sandboxes: &[&Sandbox], verb: Verb) -> Vec<String> {
    let programs: usize = sandboxes.iter().map(|it| running(it)).sum();
    let mut lines = match verb {
        Verb::Pause | Verb::Resume => of_none_lost(verb),
        Verb::Stop | Verb::Remove => vec![programs_end(programs)],
    };
    let names: Vec<&str> = sandboxes.iter().take(6).map(|it| it.name.as_str()).collect();
    let more = sandboxes.len().saturating_sub(names.len());
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    lines.push(format!("{}{tail}", names.join(", ")));
    let cow = sandboxes.iter().filter(|it| it.workspace.mode == WorkspaceMode::Cow).count();
    match verb {
        Verb::Pause | Verb::Resume => {}
        Verb::Stop => lines.push("Their files stay until they are removed.".to_owned()),
        Verb::Remove => {
            lines.push(format!("What {cow} of them changed in copies of your files is deleted."));
            lines.push("Recordings stay.".to_owned());
        }
    }
    lines
}

/// Programs named in a box; the rest are counted.
const NAMED_MAX: usize = 5;

fn and_more(mut names: Vec<String>, all: usize) -> Vec<String> {
    names.truncate(NAMED_MAX);
    if all > names.len() {
        names.push(format!("and {} more", all - names.len()));
    }
    names
}

/// What happens when a sandbox goes back to a snapshot.
pub(super) fn of_restore(sandbox: &Sandbox, to: &Snapshot, zone: &Zone) -> Vec<String> {
    let alive: Vec<_> = sandbox.sessions.iter().filter(|it| it.status != Status::Exited).collect();
    let mut lines = vec![format!("Its files become those of {}.", zone.date_time(to.created_at))];
    if alive.is_empty() {
        lines.push("No program of it runs.".to_owned());
    } else {
        let program = |command: &[String]| {
            let first = command.first().map_or("shell", String::as_str);
            first.rsplit('/').next().unwrap_or(first).to_owned()
        };
        let names = alive.iter().map(|it| program(&it.command)).collect();
        let names = and_more(names, alive.len()).join(", ");
        lines.push(format!("{} What runs: {names}.", programs_end(alive.len())));
    }
    let goes_on = match to.kind {
        SnapshotKind::Filesystem => "its first command starts again",
        SnapshotKind::Memory => "the programs of that moment go on from there",
    };
    lines.push(format!("What it is now is kept as a snapshot first; {goes_on}."));
    let path = sandbox.workspace.path.to_string_lossy();
    match sandbox.workspace.mode {
        WorkspaceMode::Rw => lines.push(format!("{path} stays as it is: it is not in a snapshot.")),
        WorkspaceMode::Cow => lines.push(format!("{path} itself stays as it is.")),
        WorkspaceMode::Ro | WorkspaceMode::None => {}
    }
    lines
}

/// What happens when a stopped sandbox is started again.
pub(super) fn of_start(sandbox: &Sandbox) -> Vec<String> {
    let command = sandbox.sessions.first().map(|it| it.command.join(" ")).unwrap_or_default();
    let command = if command.is_empty() { "a shell".to_owned() } else { command };
    vec![
        format!("Starts anew: {command}"),
        "Its files stay as they are; what it was is kept as a snapshot first.".to_owned(),
    ]
}

/// What is lost with a snapshot.
pub(super) fn of_snapshot(it: &Snapshot, after: usize, zone: &Zone) -> Vec<String> {
    let size = it.size_bytes.map_or_else(String::new, |it| format!(", {}", human_bytes(it)));
    let mut lines =
        vec![format!("What {} was at {}{size}.", it.sandbox_name, zone.date_time(it.created_at))];
    lines.push("Nothing brings it back.".to_owned());
    match after {
        0 => {}
        1 => lines.push("The one after it stays.".to_owned()),
        many => lines.push(format!("The {many} after it stay.")),
    }
    lines.push("Sandboxes that began with it go on.".to_owned());
    lines
}

/// What is written to the real directory.
pub(super) fn of_apply(it: &Diff, overwrite: bool, runs: bool) -> Says {
    let chosen = it.chosen();
    let wholes = chosen.iter().any(|it| it.hunks.is_none());
    let hunks = chosen.iter().any(|it| it.hunks.is_some());
    let mut lines = Vec::new();
    if overwrite && wholes {
        let conflicts = it.conflicts();
        if conflicts > 0 {
            lines.push(format!("Changed on both sides: {}.", count(conflicts, "path")));
        }
        let what = if hunks { " by whole files" } else { "" };
        lines.push(format!("What was changed there meanwhile is replaced{what}."));
    } else if wholes {
        let one = if hunks { "a whole file" } else { "one" };
        lines.push(format!("If {one} was changed there meanwhile, nothing is written."));
    }
    if hunks {
        lines.push("Hunks go to where their lines are now, or nothing is written.".into());
    }
    if runs && wholes {
        lines.push("The sandbox runs on: what it has then is what is written.".to_owned());
    }
    if hunks {
        lines.push("Hunks are written as they were shown.".to_owned());
    }
    let of = match it.half {
        _ if it.staged() > 0 => "",
        Half::Files => ", the one under the cursor",
        Half::Lines => ", all of the file under the cursor",
    };
    lines.push(format!("{} of {}{of}:", chosen.len(), count(it.files.len(), "changed path")));
    let named = chosen.iter().take(CONSOLE_NAMED_MAX).map(|it| {
        let word = it.file.change.status.word();
        let word = it.hunks.map_or_else(|| word.to_owned(), |it| count(it.len(), "hunk"));
        (word, it.file.paths())
    });
    let to = ("to".to_owned(), it.directory.to_string_lossy().into_owned());
    let names: Vec<_> = std::iter::once(to).chain(named).collect();
    let more = (chosen.len() + 1).saturating_sub(names.len());
    Says { lines, names, more }
}
