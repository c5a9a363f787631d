//! Making a container, step by step; whoever calls undoes what was done when one of them fails.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use hyper::{Method, StatusCode};
use tokio::sync::{Mutex, mpsc, watch};

use super::{
    answer::{Created, Image, Information},
    asking::{self, Shown},
    container::{self, HOME, Plan, User},
    copy::{self, Copied},
    danger,
    engine::{Answer, Engine, Payload, escaped},
    env::Environment,
    first, gate,
    life::Watched,
    place::DockerPlace,
    program::Programs,
    snapshot,
    trace::{self, Trace},
    trust,
};
use crate::{
    base::{
        fault::{Fault, Kind as FaultKind, Outcome},
        limits::{
            COPY_PIECES_AHEAD_MAX, COPY_WITHIN, ENGINE_ANSWER_WITHIN, ENGINE_START_WITHIN,
            ENGINE_WORDS_BYTES_MAX,
        },
        text,
        units::human_bytes,
    },
    driver::{
        Doors, Ground, PlaceFacts, Shelf,
        local::{
            agents,
            doing::Looker,
            pulled::{self, Sending},
        },
        tar::{self, Entry, Kind},
    },
    model::{
        capability::Capabilities,
        sandbox::{Egress, Isolation, SandboxSpec, WorkspaceMode},
        secret,
    },
};

/// What a sandbox begins with when nothing else is named: small, and with a shell.
pub const USUAL_IMAGE: &str = "debian:stable-slim";
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// Makes a container with no program in it yet.
pub async fn make(
    engine: Arc<Engine>,
    ground: &Ground,
    spec: &SandboxSpec,
) -> Outcome<DockerPlace> {
    let workspace = check_workspace(&engine, ground, spec)?;
    let information: Information = engine.get("/info").await?;
    check(spec, &information)?;
    let image = match &ground.from {
        Some(shelf) => kept(&engine, shelf).await?,
        None => image(&engine, spec.image.as_deref().unwrap_or(USUAL_IMAGE)).await?,
    };
    let program = first::program(&image.architecture);
    let mut plan = Plan {
        ground,
        spec,
        home: &trace::home(&ground.dir),
        image: &image,
        information: &information,
        workspace: workspace.as_deref(),
        user: user(spec, &information)?,
        own_first: program.is_none(),
        asking: None,
    };
    let ((id, mut notes), cant_ask) = create_to_ask(&engine, &mut plan).await?;
    let trace = Trace { container: Some(id.clone()), ..Trace::new(engine.address.clone()) };
    trace.write(&ground.dir)?;
    let lists = trust::files(&engine, &id, ground).await?;
    let settings = if plan.asking.is_some() { settings(ground)? } else { Vec::new() };
    furnish(&engine, &id, &plan, program.as_deref(), &lists, &settings).await?;
    if let Some(real) = workspace.as_ref().filter(|_| spec.workspace.mode == WorkspaceMode::Cow) {
        notes.extend(bring(&engine, &id, &plan, real).await?);
    }
    start(&engine, &id, spec).await?;
    place(engine, id, &plan, notes, cant_ask).await
}

/// What holds a container that runs, and has no program in it yet.
async fn place(
    engine: Arc<Engine>,
    id: String,
    plan: &Plan<'_>,
    mut notes: Vec<String>,
    mut cant_ask: Option<String>,
) -> Outcome<DockerPlace> {
    let Plan { ground, spec, information, .. } = *plan;
    let shell = shell(&engine, &id).await?;
    let Out { doors, mut env } = out(&engine, &id, plan, &mut notes).await?;
    if plan.asking.is_some() {
        // What the sandbox was made with says it better.
        env.splice(0..0, asking::variables(plan.image));
    }
    let (life, watching) = Watched::start(Arc::clone(&engine), id.clone());
    let directory = (spec.workspace.mode != WorkspaceMode::None)
        .then(|| spec.workspace.path.to_string_lossy().into_owned());
    let changes = Mutex::new(life.changes());
    let programs = Programs {
        // A sandbox of gVisor's has numbers of its own.
        sees_processes: engine.address.is_here() && spec.isolation != Some(Isolation::Gvisor),
        engine,
        container: id,
        life,
        env,
        directory,
        shell,
        live: watch::Sender::new(0),
        ours: std::sync::Mutex::default(),
    };
    let programs = Arc::new(programs);
    if plan.asking.is_some() {
        cant_ask = asking::works(&programs).await.err();
    }
    let asks = plan.asking.is_some() && cant_ask.is_none();
    notes.extend(cant_ask.map(|why| format!("its programs can't ask here: {why}")));
    Ok(DockerPlace {
        looker: Looker::default(),
        programs,
        facts: PlaceFacts {
            isolation: Some(spec.isolation.unwrap_or(Isolation::Oci)),
            capabilities: Capabilities {
                // What it started with, it has, whether the engine tells of it or not.
                gpu: spec.limits.gpus.is_some() || information.has_gpus(),
                egress_ask: doors.is_some() || !gate::is_wanted(spec),
                ..container::capabilities(information)
            },
            notes,
            ..PlaceFacts::default()
        },
        ground: ground.clone(),
        adopted: false,
        asks,
        doors: std::sync::Mutex::new(doors),
        changes,
        stopping: watch::Sender::new(false),
        _watching: watching,
    })
}

/// Refuses what this engine can't do.
fn check(spec: &SandboxSpec, information: &Information) -> Outcome<()> {
    if information.os_type != "linux" {
        return Err(Fault::unsupported("this docker engine runs no Linux containers"));
    }
    container::runtime(spec, information)?;
    container::check_limits(spec, information)?;
    Ok(())
}

/// A directory that is mounted must be one of the engine's own machine. Gives where it really is.
fn check_workspace(
    engine: &Engine,
    ground: &Ground,
    spec: &SandboxSpec,
) -> Outcome<Option<PathBuf>> {
    let real = crate::driver::local::check_workspace(&spec.workspace, &ground.dir)?;
    if let Some(real) = &real {
        danger::check(real, spec.workspace.mode, &engine.address, &Environment::read())?;
    }
    let mounted = matches!(spec.workspace.mode, WorkspaceMode::Rw | WorkspaceMode::Ro);
    if mounted && !engine.address.is_here() {
        let mode = spec.workspace.mode.word();
        return Err(Fault::unsupported(format!(
            "workspace {mode}: the docker engine is on another machine: {}",
            engine.address.shown()
        ))
        .hint("use cow, which copies the workspace, or none"));
    }
    let as_asked = real.as_ref().map(|_| &spec.workspace.path);
    if let Some(path) = as_asked.into_iter().chain(&real).find(|it| it.to_str().is_none()) {
        let shown = path.display();
        return Err(Fault::invalid(format!("workspace {shown}: docker takes only UTF-8")));
    }
    Ok(real)
}

/// As whom programs run: where a workspace is mounted, as its owner.
fn user(spec: &SandboxSpec, information: &Information) -> Outcome<User> {
    if !matches!(spec.workspace.mode, WorkspaceMode::Rw | WorkspaceMode::Ro) {
        return Ok(User::Image);
    }
    if information.is_rootless() {
        return Ok(User::Root);
    }
    let path = &spec.workspace.path;
    let seen = std::fs::metadata(path)
        .map_err(|error| Fault::io(format!("looking at {}", path.display()), &error))?;
    Ok(match seen.uid() {
        0 => User::Image,
        uid => User::Owner { uid, gid: seen.gid() },
    })
}

/// The image of a snapshot.
async fn kept(engine: &Engine, shelf: &Shelf) -> Outcome<Image> {
    let id = snapshot::image(shelf)?;
    engine.get(&format!("/images/{}/json", escaped(id))).await.map_err(|fault| match fault.kind() {
        FaultKind::Absent => Fault::absent(format!(
            "the docker engine at {} has no image of snapshot {} any more",
            engine.address.shown(),
            shelf.id
        )),
        _ => fault,
    })
}

/// The image, if the engine has it: it is not fetched, for what runs here is the operator's choice.
async fn image(engine: &Engine, name: &str) -> Outcome<Image> {
    let found: Outcome<Image> = engine.get(&format!("/images/{}/json", escaped(name))).await;
    match found {
        Ok(image) if image.id.is_empty() => {
            Err(Fault::failed(format!("the docker engine does not know its own image: {name}")))
        }
        Ok(image) if !matches!(image.os.as_str(), "linux" | "") => {
            Err(Fault::unsupported(format!("not an image of Linux: {name}")))
        }
        Err(fault) if fault.kind() == FaultKind::Absent => {
            Err(Fault::absent(format!("the docker engine has no image {name}"))
                .hint(format!("docker pull {name}, or name another by --image")))
        }
        found => found,
    }
}

/// The container, with what its programs ask by, if that can be had; why not, where it should have been.
async fn create_to_ask(
    engine: &Engine,
    plan: &mut Plan<'_>,
) -> Outcome<((String, Vec<String>), Option<String>)> {
    let mut cant_ask = None;
    match Shown::prepare(engine, plan.ground, plan.spec) {
        Ok(shown) => plan.asking = shown,
        Err(why) => cant_ask = Some(why),
    }
    let mut answer = create(engine, plan).await?;
    // An engine may see other files than this process does, and refuses then. Of one that is silent nobody knows what it makes.
    if let Err(fault) = answer.done()
        && plan.asking.take().is_some()
    {
        cant_ask = Some(fault.message().to_owned());
        answer = create(engine, plan).await?;
    }
    Ok((made(&answer)?, cant_ask))
}

/// Has the engine make the container itself, or refuse it.
async fn create(engine: &Engine, plan: &Plan<'_>) -> Outcome<Answer> {
    let path = format!("/containers/create?name={}", escaped(&container::name(plan.ground)));
    let body = Payload::Json(container::body(plan)?);
    Trace::asking(engine.address.clone()).write(&plan.ground.dir)?;
    let answer = engine.call(Method::POST, &path, body, ENGINE_START_WITHIN).await?;
    // Whatever it says, nothing comes by itself any more.
    Trace::new(engine.address.clone()).write(&plan.ground.dir)?;
    Ok(answer)
}

/// The id of the container that was made, and what the engine warns of.
fn made(answer: &Answer) -> Outcome<(String, Vec<String>)> {
    let made: Created = answer.json()?;
    if made.id.is_empty() {
        return Err(Fault::failed("the docker engine does not name the container it made"));
    }
    let warnings = made.warnings.unwrap_or_default();
    let warnings =
        warnings.iter().map(|it| format!("docker: {}", text::shown(it, ENGINE_WORDS_BYTES_MAX)));
    Ok((made.id, warnings.collect()))
}

/// Puts in what a container needs: its first process, a home for a user it does not know, and whom it trusts.
async fn furnish(
    engine: &Engine,
    id: &str,
    plan: &Plan<'_>,
    program: Option<&[u8]>,
    lists: &[(&str, String)],
    settings: &[(PathBuf, Vec<u8>)],
) -> Outcome<()> {
    const EXECUTABLE: u32 = 0o555;
    const READABLE: u32 = 0o644;
    let mut archive = Vec::new();
    for (path, list) in lists {
        tar::file(&mut archive, path.trim_start_matches('/'), READABLE, list.as_bytes());
    }
    for (path, text) in settings {
        let above = path.ancestors().skip(1).filter(|it| !it.as_os_str().is_empty());
        for directory in above.collect::<Vec<_>>().into_iter().rev() {
            archive.extend(tar::header(&Entry {
                path: &in_etc(directory),
                kind: Kind::Directory,
                mode: 0o755,
                owner: (0, 0),
                bytes: 0,
                modified: 0,
                target: b"",
            }));
        }
        tar::file(&mut archive, &String::from_utf8_lossy(&in_etc(path)), READABLE, text);
    }
    if let Some(program) = program {
        tar::file(&mut archive, first::PATH.trim_start_matches('/'), EXECUTABLE, program);
    }
    if let User::Owner { uid, gid } = plan.user {
        archive.extend(tar::header(&Entry {
            path: HOME.trim_start_matches('/').as_bytes(),
            kind: Kind::Directory,
            mode: 0o700,
            owner: (uid, gid),
            bytes: 0,
            modified: 0,
            target: b"",
        }));
    }
    archive.extend(tar::END);
    let (pieces, taken) = mpsc::channel(1);
    // There is room for one.
    drop(pieces.try_send(Ok(archive.into())));
    drop(pieces);
    unpack(engine, id, taken).await
}

/// Settings of agents that were laid down, by which they ask here.
fn settings(ground: &Ground) -> Outcome<Vec<(PathBuf, Vec<u8>)>> {
    agents::files(&ground.dir, true)
        .map_err(|error| Fault::io("reading settings of agents that were laid down", &error))
}

fn in_etc(path: &Path) -> Vec<u8> {
    Path::new("etc").join(path).into_os_string().into_encoded_bytes()
}

/// What lies in the way is replaced, a directory by a file too: of a snapshot, that may be what a program of the
/// sandbox put there.
async fn unpack(
    engine: &Engine,
    id: &str,
    pieces: mpsc::Receiver<std::io::Result<bytes::Bytes>>,
) -> Outcome<()> {
    let path = format!("/containers/{}/archive?path=/", escaped(id));
    engine.call(Method::PUT, &path, Payload::Archive(pieces), COPY_WITHIN).await?.done()
}

/// The ids that files must have to be the programs' own.
async fn owner(engine: &Engine, id: &str, image: &Image) -> Outcome<(u32, u32)> {
    let named = image.config.as_ref().map(|it| it.user.as_str()).unwrap_or_default();
    let (user, group) = named.split_once(':').map_or((named, None), |it| (it.0, Some(it.1)));
    let group = group.and_then(|it| it.parse().ok());
    if user.is_empty() {
        return Ok((0, group.unwrap_or(0)));
    }
    if let Ok(uid) = user.parse() {
        return Ok((uid, group.unwrap_or(0)));
    }
    let path = format!("/containers/{}/archive?path=/etc/passwd", escaped(id));
    let answer = engine.call(Method::GET, &path, Payload::Nothing, ENGINE_ANSWER_WITHIN).await?;
    answer.done()?;
    let passwd = tar::first_file(&answer.bytes).unwrap_or_default();
    let passwd = String::from_utf8_lossy(passwd);
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(user);
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        found.then_some((uid, gid))
    });
    let (uid, gid) = found.ok_or_else(|| {
        let user = text::shown(user, ENGINE_WORDS_BYTES_MAX);
        Fault::failed(format!("the image's user is not in its own list of users: {user}"))
    })?;
    Ok((uid, group.unwrap_or(gid)))
}

/// A copy of the workspace, and what its changes will be held against; what should be known of it.
async fn bring(engine: &Engine, id: &str, plan: &Plan<'_>, real: &Path) -> Outcome<Vec<String>> {
    let Plan { ground, spec, image, .. } = plan;
    pulled::begin(&ground.dir, real)?;
    if let Some(shelf) = &ground.from {
        // The copy of a snapshot is among its files.
        pulled::pass_on(&shelf.dir, &ground.dir)?;
        return Ok(Vec::new());
    }
    let owner = owner(engine, id, image).await?;
    let made = copy_in(engine, id, &spec.workspace.path, &ground.dir, owner).await?;
    Ok(copied(made))
}

async fn copy_in(
    engine: &Engine,
    id: &str,
    workspace: &Path,
    ground: &Path,
    owner: (u32, u32),
) -> Outcome<Copied> {
    let (pieces, taken) = mpsc::channel(COPY_PIECES_AHEAD_MAX);
    let workspace = workspace.to_owned();
    let noted = Sending::begin(ground)?;
    let sending =
        tokio::task::spawn_blocking(move || copy::send(&workspace, owner, &pieces, noted));
    let unpacked = unpack(engine, id, taken).await;
    let sent = sending
        .await
        .map_err(|error| Fault::bug(format!("copying a workspace ended unexpectedly: {error}")))?;
    match (unpacked, sent) {
        (Ok(()), sent) => sent,
        // That the engine takes no more is what follows from the other's fault.
        (Err(_), Err(sent)) if sent.kind() != FaultKind::Lost => Err(sent),
        (Err(fault), _) => Err(fault.context("copying the workspace into the container")),
    }
}

fn copied(copied: Copied) -> Vec<String> {
    let Copied { entries, bytes, left_out } = copied;
    let mut notes = vec![format!(
        "the workspace is a copy in the container: {}, {}; changes stay there until they are applied",
        text::count(entries, "file"),
        human_bytes(bytes)
    )];
    if left_out > 0 {
        let what = text::count(left_out, "file");
        notes.push(format!("{what} left out of the copy: not readable, or no file"));
    }
    notes
}

async fn start(engine: &Engine, id: &str, spec: &SandboxSpec) -> Outcome<()> {
    let path = format!("/containers/{}/start", escaped(id));
    let started = engine.call(Method::POST, &path, Payload::Nothing, ENGINE_START_WITHIN).await?;
    started.done().map_err(|fault| {
        // The engine has one code for all that goes wrong there: only its words tell.
        let no_driver = fault.message().contains("could not select device driver");
        if spec.limits.gpus.is_some() && no_driver {
            let words =
                format!("graphics processors (--gpus): this engine has none to give: {fault}");
            return Fault::unsupported(words).hint(
                "install nvidia-container-toolkit on the engine's machine, run `nvidia-ctk runtime \
                 configure --runtime=docker`, and restart the engine",
            );
        }
        fault.context("starting the container")
    })
}

/// The image's shell, for sessions that name no program.
pub async fn shell(engine: &Engine, id: &str) -> Outcome<String> {
    for shell in SHELLS {
        let path = format!("/containers/{}/archive?path={shell}", escaped(id));
        let seen = engine.call(Method::HEAD, &path, Payload::Nothing, ENGINE_ANSWER_WITHIN).await?;
        if seen.status == StatusCode::OK {
            return Ok(shell.to_owned());
        }
    }
    let [.., usual] = SHELLS;
    Ok(usual.to_owned())
}

/// How programs get out, and what they are told.
struct Out {
    doors: Option<Doors>,
    env: Vec<String>,
}

async fn out(
    engine: &Arc<Engine>,
    id: &str,
    plan: &Plan<'_>,
    notes: &mut Vec<String>,
) -> Outcome<Out> {
    let env = container::environment(plan);
    notes.extend(egress_note(plan.spec.egress));
    if !gate::is_wanted(plan.spec) {
        return Ok(Out { doors: None, env });
    }
    match gate::open(engine, id, plan.spec).await? {
        Ok(opened) => {
            notes.extend(opened.note);
            let mut own = trust::variables(plan.ground);
            own.extend(secret::variables(&plan.spec.secrets));
            own.extend(opened.env);
            let own = own.into_iter().map(|(key, it)| format!("{key}={it}"));
            // What the sandbox was made with says it better.
            Ok(Out { doors: Some(opened.doors), env: own.chain(env).collect() })
        }
        Err(why) => {
            notes.push(format!("{}: {why}", Egress::ASK_IS_DENY));
            Ok(Out { doors: None, env })
        }
    }
}

fn egress_note(egress: Egress) -> Option<String> {
    match egress {
        Egress::Allow => Some(
            "egress allow is docker's bridge network: what listens on this machine can be reached"
                .to_owned(),
        ),
        Egress::Ask | Egress::Deny => None,
    }
}
