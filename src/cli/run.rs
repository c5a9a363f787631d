//! `run` and `shell`: from flags to a sandbox or a session, then attached.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_stream::StreamExt;

use super::{
    args::{RunArgs, ShellArgs},
    attach,
    link::{self, Target},
    out, resolve,
    values::{self, Pair, WorkspaceArg},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::END_KNOWN_WITHIN,
        text,
        units::Size,
    },
    config::{agents::Profiles, environment::Variable, paths::Paths},
    model::{
        event::Event,
        sandbox::{Egress, ResourceLimits, SandboxSpec, Workspace, WorkspaceMode},
        secret::Speech,
        session::SessionSpec,
    },
    runtime::Runtime,
    tui,
};

/// The driver whose programs are this machine's own, and the one whose programs an image has.
const LOCAL: &str = "local";
const DOCKER: &str = "docker";

/// What `run` was asked to do, checked as far as this process can.
pub struct Request {
    detach: bool,
    /// `--egress ask` was said, not merely left as it is.
    asks: bool,
    spec: SandboxSpec,
}

impl Request {
    pub fn new(args: RunArgs, target: &Target) -> Outcome<Self> {
        let (detach, asks) = (args.detach, args.egress == Some(Egress::Ask));
        Ok(Self { detach, asks, spec: spec(args, target)? })
    }
}

/// Makes the sandbox; attaches, or prints its name.
pub async fn run(
    runtime: &Arc<dyn Runtime>,
    paths: &Paths,
    request: Request,
) -> Outcome<out::Code> {
    let stays = !request.spec.remove_on_exit;
    let opened = opened(&request.spec);
    let sandbox = runtime.create(request.spec).await?;
    // That the default can't ask here is no news on every run; `ls --json` has it.
    let news = |it: &String| request.asks || !it.starts_with(Egress::ASK_IS_DENY);
    for note in sandbox.told().into_iter().filter(news) {
        out::tell(&format!("{}: {note}", sandbox.name));
    }
    if let Some(what) = opened {
        out::tell(&format!("{}: {what}", sandbox.name));
    }
    if request.detach {
        out::print(&format!("{}\n", sandbox.name))?;
        return Ok(out::DONE);
    }
    let first = sandbox
        .sessions
        .first()
        .ok_or_else(|| Fault::bug(format!("a new sandbox has no session: {}", sandbox.name)))?;
    let away = attach::to(runtime, paths, first, &sandbox.name, attach::Part::Type).await?;
    if away.ended && stays {
        let name = &sandbox.name;
        out::tell(&format!("{name} is kept with its files; sandwatch rm {name} removes it"));
    }
    if away.ended && !stays {
        let gone = is_gone(&**runtime, &sandbox.id);
        if tokio::time::timeout(END_KNOWN_WITHIN, gone).await.is_err() {
            out::tell(&format!("{} is still being removed", sandbox.name));
        }
    }
    Ok(away.code)
}

/// What is done to connections that nobody asked for in so many words.
fn opened(spec: &SandboxSpec) -> Option<String> {
    let of = spec.secrets.iter().filter(|it| it.speech == Speech::Tls);
    let of: Vec<String> = of.map(|it| format!("{} ({})", it.place(), it.name)).collect();
    (!of.is_empty()).then(|| {
        format!(
            "TLS is opened on the way to {}, to put the secret in; programs inside trust that",
            of.join(", ")
        )
    })
}

/// Resolves when there is no such sandbox any more, or nobody can tell.
async fn is_gone(runtime: &dyn Runtime, id: &SandboxId) {
    let Ok(mut events) = runtime.events().await else { return };
    while let Some(Ok(event)) = events.next().await {
        match event {
            Event::Removed { id: gone, .. } if gone == *id => return,
            Event::Snapshot { sandboxes, .. } if sandboxes.iter().all(|it| it.id != *id) => return,
            _ => {}
        }
    }
}

/// Opens one more session; attaches, or prints its name.
pub async fn shell(
    runtime: &Arc<dyn Runtime>,
    paths: &Paths,
    args: ShellArgs,
) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    let sandbox = resolve::sandbox(&all, &args.sandbox)?;
    let spec =
        SessionSpec { command: args.command, cwd: None, env: Vec::new(), size: terminal_size() };
    let session = runtime.open(&sandbox.id, spec).await?;
    if args.detach {
        out::print(&format!("{}\n", session.name(&sandbox.name)))?;
        return Ok(out::DONE);
    }
    Ok(attach::to(runtime, paths, &session, &sandbox.name, attach::Part::Type).await?.code)
}

/// This terminal's size where there is one, else the usual 80x24.
pub fn terminal_size() -> Size {
    if !out::stdout_is_terminal() {
        return Size::DEFAULT;
    }
    tui::terminal::size().unwrap_or(Size::DEFAULT)
}

/// Checks what only this process can check, and refuses what no driver offers yet.
fn spec(args: RunArgs, target: &Target) -> Outcome<SandboxSpec> {
    check_allow(&args)?;
    let elsewhere = target.is_elsewhere();
    // What is wrong with one is said here, where somebody reads it.
    let profiles = Profiles::of(target.paths.config())?;
    let command = match &args.agent {
        Some(agent) if args.driver == LOCAL && args.image.is_none() && !elsewhere => {
            std::iter::once(on_path(agent, &profiles)?).chain(args.command).collect()
        }
        // It is the image that has it, or the machine over there, or not.
        Some(agent) => std::iter::once(agent.clone()).chain(args.command).collect(),
        None => args.command,
    };
    let size = args.size.unwrap_or_else(terminal_size);
    // The variable is a default for what has images at all.
    let image = args.image.or_else(|| Variable::Image.text().filter(|_| args.driver == DOCKER));
    let image = match image {
        Some(image) if args.driver == LOCAL && elsewhere => Some(image_over_there(image)?),
        Some(image) if args.driver == LOCAL => Some(at_path(image)?),
        other => other,
    };
    Ok(SandboxSpec {
        name: args.name,
        driver: args.driver,
        isolation: args.isolation.0,
        image,
        workspace: match elsewhere {
            true => workspace_over_there(args.workspace)?,
            false => workspace(args.workspace)?,
        },
        egress: args.egress.unwrap_or(Egress::Ask),
        allow: args.allow,
        limits: ResourceLimits {
            cpus: args.cpus,
            memory_bytes: args.memory,
            pids: args.pids,
            gpus: args.gpus,
        },
        env: values::variables(args.env)?,
        ttl: args.ttl,
        labels: labels(args.label),
        record: !args.no_record,
        remove_on_exit: args.rm,
        first: SessionSpec { command, cwd: None, env: Vec::new(), size },
        // The hub over there has one of its own.
        search_path: if elsewhere { Vec::new() } else { tui::agents::search_path() },
        from: None,
        awake: false,
        snapshot_every: args.snapshot_every,
        given: values::given_for(&args.secret)?,
        secrets: args.secret,
    })
}

/// An image that is here, by a path that holds for the hub too.
fn at_path(image: String) -> Outcome<String> {
    let real = std::fs::canonicalize(&image);
    let named = !Path::new(&image).is_absolute();
    if named && real.as_ref().is_err_and(|it| it.kind() == std::io::ErrorKind::NotFound) {
        let image = text::shown(&image, 256);
        return Err(Fault::absent(format!("no image at this path: {image}")).hint(
            "name a directory with a root file system, or an archive: docker save REF -o file.tar, \
             then --image ./file.tar; images go by their names with --driver docker",
        ));
    }
    // What else is wrong with it is for the hub to say.
    Ok(real.ok().and_then(|it| it.into_os_string().into_string().ok()).unwrap_or(image))
}

pub fn labels(pairs: Vec<Pair>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|Pair { key, value }| (key, value)).collect()
}

/// A list of what may go out is nothing where all may.
fn check_allow(args: &RunArgs) -> Outcome<()> {
    if args.allow.is_empty() || args.egress != Some(Egress::Allow) {
        return Ok(());
    }
    Err(Fault::invalid(
        "--allow HOST is for --egress ask and --egress deny: --egress allow lets all out",
    ))
}

fn workspace(wanted: Option<WorkspaceArg>) -> Outcome<Workspace> {
    let WorkspaceArg { dir, mode } =
        wanted.unwrap_or(WorkspaceArg { dir: PathBuf::new(), mode: WorkspaceMode::Cow });
    let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
    let path = std::fs::canonicalize(&dir).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Fault::absent(format!("no such workspace: {}", dir.display()))
                .hint("name a directory that exists, or --workspace .:none for none")
        }
        _ => Fault::io(format_args!("workspace {}", dir.display()), &error),
    })?;
    if !path.is_dir() {
        return Err(Fault::invalid(format!("the workspace is not a directory: {}", dir.display())));
    }
    Ok(Workspace { path, mode })
}

/// A directory of the machine where the hub is; without one there is none, for this one's are not there.
fn workspace_over_there(wanted: Option<WorkspaceArg>) -> Outcome<Workspace> {
    match wanted {
        Some(WorkspaceArg { dir, mode }) if !dir.as_os_str().is_empty() => {
            Ok(Workspace { path: link::over_there(dir)?, mode })
        }
        Some(WorkspaceArg { mode, .. }) if mode != WorkspaceMode::None => {
            Err(Fault::invalid("the directory here is none over there")
                .hint("--workspace DIR names one on the hub's machine, by its whole path"))
        }
        _ => Ok(Workspace { path: PathBuf::from("/"), mode: WorkspaceMode::None }),
    }
}

fn image_over_there(image: String) -> Outcome<String> {
    link::over_there(PathBuf::from(&image)).map(|_| image)
}

/// An agent is any program on PATH, or one that is known by another name; the bare name of its program is kept, for the
/// sandbox has a PATH of its own.
fn on_path(agent: &str, profiles: &Profiles) -> Outcome<String> {
    if agent.contains('/') {
        return Err(Fault::invalid(format!("not the name of a program: {}", text::visible(agent)))
            .hint(format!("for a path, say: sandwatch run -- {}", text::visible(agent))));
    }
    if tui::agents::is_on_path(agent) {
        return Ok(agent.to_owned());
    }
    let programs = profiles.by_name(agent).map(|it| it.programs.as_slice()).unwrap_or_default();
    if let Some(program) = programs.iter().find(|it| tui::agents::is_on_path(it)) {
        return Ok(program.clone());
    }
    Err(Fault::absent(format!("no program on PATH: {}", text::visible(agent)))
        .hint("install it, or give a command after --"))
}
