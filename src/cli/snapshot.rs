//! `snapshot`, `restore` and `fork`: keep a moment, go back to it, branch from it.

use super::{
    args::{ForkArgs, RestoreArgs, SnapshotRmArgs, SnapshotVerb},
    attach, diff,
    json::{SandboxView, SnapshotView},
    link::Target,
    out, paint, resolve, run,
    steer::sure,
    table::{Cell, Table, Tone},
    values,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        units,
    },
    config::contexts::ContextName,
    model::{
        change::Subject,
        sandbox::{Sandbox, State},
        session::SessionSpec,
        snapshot::{Snapshot, SnapshotCause, SnapshotKind},
    },
    runtime::{Fork, Runtime},
};
use std::sync::Arc;

/// Snapshots named in a question; the rest are counted.
const NAMED_MAX: usize = 5;

pub async fn snapshot(runtime: &dyn Runtime, verb: SnapshotVerb) -> Outcome<out::Code> {
    match verb {
        SnapshotVerb::Create(args) => {
            let all = runtime.list().await?;
            let sandbox = resolve::sandbox(&all, &args.sandbox)?;
            let kind = if args.memory { SnapshotKind::Memory } else { SnapshotKind::Filesystem };
            let made = runtime.snapshot(&sandbox.id, args.name, kind).await?;
            if made.kind != kind {
                out::tell("this hub is an older one, and kept files alone");
            }
            if args.json {
                out::json(&SnapshotView::from(&made))?;
            } else {
                out::print(&format!("{}\n", made.id))?;
            }
            made.notes.iter().for_each(|it| out::tell(it));
        }
        SnapshotVerb::Ls(args) => {
            let mut all = runtime.snapshots().await?;
            if let Some(of) = &args.sandbox {
                let id = owner(runtime, &all, of).await?;
                all.retain(|it| it.sandbox.as_str() == id);
            }
            if args.json {
                let views: Vec<SnapshotView<'_>> = all.iter().map(SnapshotView::from).collect();
                out::json(&views)?;
            } else {
                list(&all)?;
            }
        }
        SnapshotVerb::Rm(args) => return rm(runtime, args).await,
        SnapshotVerb::Diff(args) => {
            let all = runtime.snapshots().await?;
            let one = resolve::snapshot(&all, &args.snapshot)?;
            let other = args.other.as_ref().map(|it| resolve::snapshot(&all, it)).transpose()?;
            let asked = diff::Asked {
                // As it reads: from the first to the second.
                of: Subject::Snapshot(other.unwrap_or(one).id.clone()),
                against: other.map(|_| one.id.clone()),
                workspace: &one.workspace,
                name: &one.sandbox_name,
                paths: &args.paths,
                show: &args.show,
            };
            return diff::show(runtime, asked).await;
        }
    }
    Ok(out::DONE)
}

/// The sandbox whose snapshots are meant; it may be no more.
async fn owner(runtime: &dyn Runtime, all: &[Snapshot], typed: &str) -> Outcome<String> {
    let sandboxes = runtime.list().await?;
    match resolve::sandbox(&sandboxes, typed) {
        Ok(sandbox) => Ok(sandbox.id.to_string()),
        Err(fault) if fault.kind() == Kind::Absent => {
            let of = all
                .iter()
                .rev()
                .find(|it| it.sandbox_name == typed || it.sandbox.as_str() == typed);
            of.map(|it| it.sandbox.to_string()).ok_or(fault)
        }
        Err(fault) => Err(fault),
    }
}

fn list(all: &[Snapshot]) -> Outcome<()> {
    if all.is_empty() {
        out::tell("no snapshots; sandwatch snapshot create SANDBOX takes one");
        return Ok(());
    }
    let mut table =
        Table::new(&["SNAPSHOT", "SANDBOX", "NAME", "TAKEN", "SIZE", "KIND", "CAUSE", "AFTER"]);
    let zone = clock::Zone::here();
    for it in all {
        let tone = if it.cause == SnapshotCause::Asked { Tone::Plain } else { Tone::Dim };
        table.row(vec![
            Cell::new(it.id.as_str(), tone),
            it.sandbox_name.clone().into(),
            it.name.clone().unwrap_or_else(|| "-".to_owned()).into(),
            zone.date_time(it.created_at).into(),
            it.size_bytes.map_or_else(|| "-".to_owned(), units::human_bytes).into(),
            it.kind.word().into(),
            it.cause.word().into(),
            before(it, all).map_or("-", |it| it.id.as_str()).into(),
        ]);
    }
    out::print(&table.render(paint::wanted()))
}

/// The moment before one, if it is still kept.
fn before<'a>(it: &Snapshot, all: &'a [Snapshot]) -> Option<&'a Snapshot> {
    let parent = it.parent.as_ref()?;
    all.iter().find(|it| it.id == *parent)
}

async fn rm(runtime: &dyn Runtime, args: SnapshotRmArgs) -> Outcome<out::Code> {
    let all = runtime.snapshots().await?;
    let mut found: Vec<&Snapshot> = Vec::new();
    for typed in &args.snapshots {
        let snapshot = resolve::snapshot(&all, typed)?;
        if !found.iter().any(|it| it.id == snapshot.id) {
            found.push(snapshot);
        }
    }
    if !args.yes {
        let (named, rest) = found.split_at(found.len().min(NAMED_MAX));
        let named: Vec<String> = named.iter().map(|it| told(it)).collect();
        let more =
            if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        let what = format!("remove {}{more}?", named.join(", "));
        sure("snapshot rm asks before it removes", &what, "nothing was removed")?;
    }
    let mut code = out::DONE;
    for it in found {
        if let Err(fault) = runtime.remove_snapshot(&it.id).await {
            let failed = out::report(&fault);
            code = if code == out::DONE { failed } else { code };
        }
    }
    Ok(code)
}

/// A snapshot in a sentence.
fn told(it: &Snapshot) -> String {
    let name = it.name.as_deref().unwrap_or(it.id.as_str());
    format!("{name} of {}", it.sandbox_name)
}

/// Ends what runs, so a terminal is asked; what it was is kept all the same.
pub async fn restore(
    runtime: &dyn Runtime,
    context: &ContextName,
    args: RestoreArgs,
) -> Outcome<out::Code> {
    let (all, kept) = (runtime.list().await?, runtime.snapshots().await?);
    let sandbox = resolve::sandbox(&all, &args.sandbox)?;
    let to = args
        .snapshot
        .as_deref()
        .map(|it| resolve::snapshot_for(&kept, &sandbox.id, it))
        .transpose()?;
    let running = sandbox.sessions.iter().filter(|it| it.exit.is_none()).count();
    if !args.yes && running > 0 && sandbox.state != State::Stopped {
        let to = to.map_or("what it is now".to_owned(), told);
        let what = format!("restore {} to {to}, ending {running} running?", sandbox.name);
        sure("restore asks before it ends programs", &what, "nothing was restored")?;
    }
    let given = values::given(args.secret.iter().map(String::as_str))?;
    if !given.is_empty() {
        runtime.give(&sandbox.id, given).await?;
    }
    let restored = runtime.restore(&sandbox.id, to.map(|it| &it.id)).await?;
    if args.json {
        out::json(&SandboxView::of(context, &restored))?;
        return Ok(out::DONE);
    }
    let kept = runtime.snapshots().await?;
    let before =
        kept.iter().rev().find(|it| it.sandbox == sandbox.id && it.cause == SnapshotCause::Restore);
    if let Some(before) = before {
        let name = &sandbox.name;
        out::tell(&format!("what it was: sandwatch restore {name} {}", before.id));
    }
    Ok(out::DONE)
}

/// Makes a sandbox from a moment; attaches, or prints its name.
pub async fn fork(
    runtime: &Arc<dyn Runtime>,
    target: &Target,
    args: ForkArgs,
) -> Outcome<out::Code> {
    let paths = &target.paths;
    let from = subject(&**runtime, &args.from).await?;
    let first = (!args.command.is_empty()).then(|| SessionSpec {
        command: args.command,
        cwd: None,
        env: Vec::new(),
        size: run::terminal_size(),
    });
    let given = values::given(args.secret.iter().map(String::as_str))?;
    let made = runtime.fork(from, Fork { name: args.name, first, given }).await?;
    if args.json {
        out::json(&SandboxView::of(target.name(), &made))?;
        return Ok(out::DONE);
    }
    if args.detach {
        out::print(&format!("{}\n", made.name))?;
        return Ok(out::DONE);
    }
    let session = made.sessions.first().ok_or_else(|| Fault::bug("a fork without a session"))?;
    Ok(attach::to(runtime, paths, session, &made.name, attach::Part::Type).await?.code)
}

/// A sandbox, else a snapshot.
async fn subject(runtime: &dyn Runtime, typed: &str) -> Outcome<Subject> {
    let all: Vec<Sandbox> = runtime.list().await?;
    match resolve::sandbox(&all, typed) {
        Ok(sandbox) => Ok(Subject::Sandbox(sandbox.id.clone())),
        Err(fault) if fault.kind() == Kind::Absent => {
            let kept = runtime.snapshots().await?;
            match resolve::snapshot(&kept, typed) {
                Ok(snapshot) => Ok(Subject::Snapshot(snapshot.id.clone())),
                Err(second) if second.kind() == Kind::Absent => {
                    let typed = crate::base::text::shown(typed, 128);
                    Err(Fault::absent(format!("neither a sandbox nor a snapshot: {typed}"))
                        .hint("sandwatch ls --all and sandwatch snapshot ls show what there is"))
                }
                Err(second) => Err(second),
            }
        }
        Err(fault) => Err(fault),
    }
}
