//! The shim's process: what it is given at its start, its end, and the words it leaves behind.

use std::{
    io::{Read, Write},
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt},
        process::ExitStatusExt,
    },
    path::Path,
    process::{ExitStatus, Stdio},
};

use tokio::{
    process::{Child, Command},
    sync::watch,
};

use crate::{
    base::{
        descriptors,
        fault::{Fault, Outcome},
        limits::LINE_BYTES_MAX,
        text,
    },
    config::environment,
    driver::Ground,
    model::sandbox::SandboxSpec,
    wire::shim::Start,
};

/// The file of rules for all sandboxes, and that for its workspace directory.
pub type RuleFiles<'a> = (Option<&'a Path>, Option<&'a Path>);

/// Names of a shim's files, as the shim itself has them.
/// What a shim is called in lists of processes, wherever its program lies.
const NAME: &str = "sandwatch";
const SPEC_FILE: &str = "spec";
const FAULT_FILE: &str = "shim.fault";
const LOG_FILE: &str = "shim.log";

pub(super) fn write_spec(
    ground: &Ground,
    recordings: &Path,
    (policy, project): RuleFiles<'_>,
    spec: &SandboxSpec,
) -> Outcome<()> {
    let start = Start {
        id: ground.id.clone(),
        name: ground.name.clone(),
        recordings: recordings.to_owned(),
        spec: spec.clone(),
        open_files: descriptors::usual(),
        from: ground.from.clone(),
        policy: policy.map(Path::to_owned),
        project: project.map(Path::to_owned),
    };
    let path = ground.dir.join(SPEC_FILE);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut it| it.write_all(&start.encode()));
    written.map_err(|it| Fault::io(format!("writing {}", path.display()), &it))
}

/// Starts the process with nothing of the hub's but a pipe for one message.
pub(super) fn spawn(program: &Path, dir: &Path) -> Outcome<Child> {
    let path = dir.join(LOG_FILE);
    let log = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let log = log.map_err(|it| Fault::io(format!("opening {}", path.display()), &it))?;
    // What a panic before its own log says must not be readable by others.
    drop(log.set_permissions(std::fs::Permissions::from_mode(0o600)));
    Command::new(program)
        .arg0(NAME)
        .arg("shim")
        .arg(dir)
        .env_clear()
        .envs(environment::for_servers())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(false)
        .spawn()
        .map_err(|it| Fault::io(format!("starting a shim: {}", program.display()), &it))
}

/// Waits for the process in the background, so that it leaves no zombie and its end is known.
pub(super) fn reap(mut child: Child) -> watch::Receiver<Option<ExitStatus>> {
    let (tell, ended) = watch::channel(None);
    tokio::spawn(async move {
        if let Ok(status) = child.wait().await {
            tell.send_replace(Some(status));
        }
    });
    ended
}

/// Why a shim is no more, for a person.
pub(super) fn last_words(dir: &Path, status: Option<ExitStatus>) -> String {
    let how = match status {
        Some(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, Some(code)) => format!("it ended with code {code}"),
            (None, None) => "it ended".to_owned(),
        },
        None => "it died".to_owned(),
    };
    match fault_file(dir) {
        Some(words) => format!("{how}; its last words: {words}"),
        None => how,
    }
}

/// What it said before it ended, if it could.
pub(super) fn fault_file(dir: &Path) -> Option<String> {
    let mut words = Vec::new();
    let file = std::fs::File::open(dir.join(FAULT_FILE)).ok()?;
    file.take(LINE_BYTES_MAX as u64).read_to_end(&mut words).ok()?;
    Some(text::visible(String::from_utf8_lossy(&words).trim()))
}
