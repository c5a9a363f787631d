//! `apply`: writes what a sandbox changed to the real directory, and takes it back.

use super::{
    args::ApplyArgs,
    diff::{self, name, paths},
    json::AppliedView,
    out, paint, patch, resolve,
    table::{Cell, Table, Tone},
};
use crate::{
    base::fault::{Fault, Outcome},
    model::change::{Applied, ApplyRequest, Verdict},
    runtime::Runtime,
};

pub async fn apply(runtime: &dyn Runtime, args: ApplyArgs) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    let sandbox = resolve::sandbox(&all, &args.sandbox)?;
    let ApplyArgs { git, links, overwrite, .. } = args;
    let applied = if args.undo {
        runtime.take_back(&sandbox.id, overwrite).await?
    } else {
        let parts = args.patch.as_deref().map(patch::read).transpose()?.unwrap_or_default();
        let paths = paths(&sandbox.workspace.path, &args.paths)?;
        diff::are_there(runtime, sandbox, &paths, git).await?;
        runtime.apply(&sandbox.id, ApplyRequest { paths, parts, git, links, overwrite }).await?
    };
    if args.json {
        out::json(&AppliedView::new(sandbox, &applied))?;
    } else if !applied.paths.is_empty() {
        out::print(&table(&applied, args.undo))?;
    }
    let of = |verdict| applied.paths.iter().filter(|it| it.verdict == verdict).count();
    if applied.refused() {
        let (many, name) = (of(Verdict::Conflict), &sandbox.name);
        let done = if args.undo { "taken back" } else { "applied" };
        let fault = Fault::failed(format!("nothing was {done}, for conflicts: {many}"));
        return Err(fault.hint(if args.undo {
            "--overwrite takes back even so".to_owned()
        } else {
            format!("sandwatch diff {name} shows both sides; --overwrite takes the sandbox's")
        }));
    }
    match (of(Verdict::Applied), args.undo) {
        (0, _) => out::tell("nothing to do"),
        (_, true) => {}
        _ => out::tell(&format!("sandwatch apply {} --undo takes this back", sandbox.name)),
    }
    if applied.git_left_out > 0 {
        out::tell("changes in .git are left out; --git applies them");
    }
    Ok(out::DONE)
}

fn table(applied: &Applied, undone: bool) -> String {
    let mut table = Table::new(&["VERDICT", "CHANGE", "PATH"]);
    for it in &applied.paths {
        let (word, tone) = match it.verdict {
            Verdict::Applied if undone => ("taken back", Tone::Good),
            Verdict::Applied => ("applied", Tone::Good),
            Verdict::Conflict => ("conflict", Tone::Bad),
            Verdict::LeftOut => ("left out", Tone::Warn),
        };
        let path = match &it.note {
            Some(note) => format!("{} ({note})", name(&it.path)),
            None => name(&it.path),
        };
        table.row(vec![Cell::new(word, tone), it.status.word().into(), path.into()]);
    }
    table.render(paint::wanted())
}
