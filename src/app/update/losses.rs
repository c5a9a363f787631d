//! The lines of the box that asks first: what will happen, and what will be lost.

use crate::{
    app::dialog::Verb,
    base::text::count,
    model::{
        sandbox::{Sandbox, WorkspaceMode},
        session::Status,
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
