//! Layer `shim`: the per-sandbox process. It makes one sandbox, holds its sessions and serves them
//! on a socket in its directory until the sandbox is gone or the directory is.
//!
//! It is lean on purpose: one thread, one slow timer while nothing happens, nothing allocated before it
//! is needed.
mod agents;
mod ask;
mod gate;
mod home;
mod log;
pub mod serve;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use tokio::net::UnixListener;

use crate::{
    base::{
        descriptors, dumps,
        fault::{Fault, Outcome},
        limits::{FAREWELL_WITHIN, META_BYTES_MAX},
    },
    config::{agents::Profiles, paths::SocketPath},
    driver::{Ground, Place, fake::FakeDriver, local, registry::Registry},
    gate::Authority,
    session::{house::House, seat::Seat},
    wire::shim::{PROTOCOL, Start, Welcome, answer, framed},
};

/// The file a shim starts from, its socket and its last words, all in its directory.
pub const SPEC_FILE: &str = "spec";
pub const SOCKET_FILE: &str = "shim.sock";
pub const FAULT_FILE: &str = "shim.fault";
pub const LOG_FILE: &str = "shim.log";

/// Runs a shim in `dir` until its sandbox is gone. Standard output takes one message, a welcome or
/// the fault that kept the sandbox from being made, and is not used again.
pub fn run(dir: &Path) -> ExitCode {
    dumps::keep_none();
    let drivers = Registry::standard().with(FakeDriver::default());
    // A session of its own: no terminal's hang-up or interrupt reaches it.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    log::start(dir);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(live(dir, drivers)),
        Err(error) => Err(Fault::io("starting the shim's runtime", &error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            tracing::error!(%fault, "the shim ends");
            ExitCode::FAILURE
        }
    }
}

async fn live(dir: &Path, drivers: Registry) -> Outcome<()> {
    local::step_back();
    let made = make(dir, &drivers).await;
    let Made { start, known, place, listener, asking, home, authority } = match made {
        Ok(made) => made,
        Err(fault) => {
            tell(&answer::What::Fault((&fault).into()));
            return Err(fault);
        }
    };
    let ground = ground(&start, dir);
    let doors = place.doors();
    let wired = place.can_ask();
    let house = House::new(ground, place, start.recordings, start.spec.record);
    let house = Arc::new(house);
    if let Err(fault) = house.wake().await {
        tell(&answer::What::Fault((&fault).into()));
        return Err(fault);
    }
    let (rules, flaws) = agents::screen_rules(start.policy.as_deref());
    house.reads(rules, flaws);
    let model = agents::introduce(&house, &start.spec, known, (wired, doors.is_some()));
    let asked = ask::serve(asking, Arc::clone(&house));
    let out = match doors {
        Some(doors) => {
            let rules = (start.policy, start.project);
            Some(gate::open(dir, doors, &start.spec, model, rules, authority, &house)?)
        }
        None => {
            gate::none(dir, &start.spec);
            None
        }
    };
    let gate = async {
        match out {
            Some(gate) => gate.serve().await,
            None => std::future::pending().await,
        }
    };
    let house: Arc<dyn Seat> = house;
    let welcome = Welcome {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        sandbox: start.id.to_string(),
    };
    tell(&answer::What::Welcome(welcome.clone()));
    let lifetime = async {
        match start.spec.ttl {
            Some(ttl) => tokio::time::sleep(ttl).await,
            None => std::future::pending().await,
        }
    };
    let mut serving =
        std::pin::pin!(serve::serve(listener, Arc::clone(&house), welcome, home.connections()));
    let why = tokio::select! {
        () = &mut serving => return Ok(()),
        () = asked => "nobody can ask any more",
        () = gate => "nothing can be let out any more",
        () = home.left() => "its directory is gone",
        () = lifetime => "its time is over",
    };
    tracing::warn!("the sandbox ends: {why}");
    // Others may just be removing it; then this waits for them.
    let removed = house.remove().await;
    drop(tokio::time::timeout(2 * FAREWELL_WITHIN, serving).await);
    removed
}

fn ground(start: &Start, dir: &Path) -> Ground {
    let Start { id, name, from, .. } = start.clone();
    Ground { id, name, dir: dir.to_owned(), from }
}

/// All that a shim is made of.
struct Made {
    start: Start,
    /// Profiles of agents, and what is wrong with the operator's.
    known: (Profiles, Option<String>),
    place: Arc<dyn Place>,
    listener: UnixListener,
    asking: UnixListener,
    home: home::Home,
    authority: Option<Authority>,
}

async fn make(dir: &Path, drivers: &Registry) -> Outcome<Made> {
    let home = home::Home::watch(dir)?;
    let start = read_spec(dir)?;
    if let Err(error) = descriptors::raise(start.open_files) {
        tracing::warn!(%error, "the bound on open files stays as it is");
    }
    let listener = listen(dir)?;
    let driver = drivers.get(&start.spec.driver)?;
    let ground = ground(&start, dir);
    let asking = ask::open(dir)?;
    let known = agents::profiles(start.policy.as_deref());
    agents::lay(dir, &known.0, &start.spec)?;
    let authority = gate::prepare(dir, &start.name, &start.spec)?;
    let place = driver.create(&ground, &start.spec).await?;
    Ok(Made { start, known, place, listener, asking, home, authority })
}

fn read_spec(dir: &Path) -> Outcome<Start> {
    let path = dir.join(SPEC_FILE);
    let fault = |it: &io::Error| Fault::io(format!("reading {}", path.display()), it);
    let bytes = std::fs::metadata(&path).map_err(|it| fault(&it))?.len();
    if bytes > 4 * META_BYTES_MAX {
        return Err(Fault::invalid(format!("too large: {}", path.display())));
    }
    let bytes = std::fs::read(&path).map_err(|it| fault(&it))?;
    Start::decode(&bytes).map_err(|it| it.context(path.display()))
}

/// Listens in a directory that is the operator's alone, at a name that a shim before may have left.
pub fn listen(dir: &Path) -> Outcome<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(SOCKET_FILE);
    drop(std::fs::remove_file(&path));
    let short = SocketPath::open(&path)?;
    UnixListener::bind(short.path())
        .and_then(|it| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map(|()| it)
        })
        .map_err(|it| Fault::io(format!("listening on {}", path.display()), &it))
}

/// Writes the one message on standard output, then closes it for good.
fn tell(what: &answer::What) {
    let answer = crate::wire::shim::Answer { what: Some(what.clone()) };
    if let Ok(frame) = framed(&answer) {
        let mut out = io::stdout().lock();
        drop(out.write_all(&frame).and_then(|()| out.flush()));
    }
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
}
