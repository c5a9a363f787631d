//! Starting a hub where none runs: detached, once however many want it, and with the reason when it
//! does not come up.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    net::UnixStream,
    process::{Child, Command},
};

use super::{Client, Opening, Options, Way, way::Whose};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        limits::{HUB_START_WITHIN, LINE_BYTES_MAX, LOG_TAIL_BYTES},
        text::shown,
    },
    config::{
        contexts::ContextName,
        environment,
        paths::{Paths, SocketPath},
    },
};

/// Pause between two looks for the socket of a hub that is coming up.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// More than what may be left of a page that is in use.
const PROBE_BYTES: usize = 64 * 1024;

/// How hubs of this instance are started.
#[derive(Clone, Debug)]
pub(super) struct Starter {
    paths: Paths,
    program: PathBuf,
    /// It is the hub of this gateway; `None` = this user's own.
    gateway: Option<ContextName>,
}

/// One stream of bytes to this instance's hub, which is started when none runs and that is wanted: for who carries them
/// and speaks no gRPC.
pub async fn stream(paths: &Paths, starts: bool) -> Outcome<std::os::unix::net::UnixStream> {
    let socket = paths.hub_socket();
    let hinted = |it| super::way::none_runs(it, "sandwatch hub start");
    let stream = match super::way::connect(&socket).await {
        Err(fault) if fault.kind() == Kind::Lost && starts => {
            Starter::new(paths)?.start().await?;
            super::way::connect(&socket).await.map_err(hinted)?
        }
        done => done.map_err(hinted)?,
    };
    let stream = stream.into_std().and_then(|it| it.set_nonblocking(false).map(|()| it));
    stream.map_err(|error| Fault::io("taking a socket over", &error))
}

/// Connects to this instance's hub, which is started when none runs, and again should it die.
pub async fn connect_or_start(paths: &Paths, options: Options) -> Outcome<Client> {
    connect_or_start_one(paths, None, options).await
}

/// The same for the hub of an OpenShell gateway.
pub async fn connect_or_start_gateway(
    paths: &Paths,
    gateway: &ContextName,
    options: Options,
) -> Outcome<Client> {
    connect_or_start_one(&paths.of_gateway(gateway), Some(gateway.clone()), options).await
}

async fn connect_or_start_one(
    paths: &Paths,
    gateway: Option<ContextName>,
    options: Options,
) -> Outcome<Client> {
    let whose = gateway.clone().map_or(Whose::Own, Whose::Gateway);
    let starter = Starter { gateway, ..Starter::new(paths)? };
    let way = Way::Unix { path: paths.hub_socket(), whose };
    let opening = Opening { starts: false, careful: false, asks: false };
    match Client::over(way.clone(), options.clone(), opening, Some(starter.clone())).await {
        Err(fault) if fault.kind() == Kind::Lost => {
            starter.start().await?;
            Client::over(way, options, opening, Some(starter)).await
        }
        done => done,
    }
}

impl Starter {
    fn new(paths: &Paths) -> Outcome<Self> {
        let program = std::env::current_exe()
            .map_err(|error| Fault::io("looking for the program of this process", &error))?;
        Ok(Self { paths: paths.clone(), program, gateway: None })
    }

    /// Starts a hub and waits until it takes connections. When several do this at once, the lock
    /// decides which hub stays, and all of them find it.
    pub(super) async fn start(&self) -> Outcome<()> {
        self.paths.prepare()?;
        let log = self.paths.hub_last_words();
        let opened = File::options().create(true).append(true).open(&log);
        let opened = match opened {
            // A hub is needed to make room.
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                File::options().append(true).open("/dev/null")
            }
            other => other,
        };
        let opened =
            opened.map_err(|error| Fault::io(format_args!("opening {}", log.display()), &error))?;
        let mut before = opened.metadata().map_or(0, |it| it.len());
        if before > LOG_TAIL_BYTES && opened.set_len(0).is_ok() {
            before = 0;
        }
        let mut child = self.spawn(opened)?;
        let deadline = clock::monotonic() + HUB_START_WITHIN;
        let mut ended = false;
        loop {
            if self.answers().await {
                return Ok(());
            }
            if let (false, Ok(Some(status))) = (ended, child.try_wait()) {
                ended = true;
                // A hub that lost the race ends well; the one that won is still coming up.
                if !status.success() {
                    return Err(self.reason(before, "ended at once"));
                }
            }
            if clock::monotonic() > deadline {
                return Err(self.reason(before, "does not answer"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn spawn(&self, log: File) -> Outcome<Child> {
        let copy = log.try_clone();
        let copy = copy.map_err(|error| Fault::io("sharing the log of the hub", &error))?;
        super::sys::keep_descriptors_from_children();
        // `--detached` makes it leave this terminal and this directory before anything else.
        let mut command = Command::new(&self.program);
        command.args(["hub", "serve", "--detached"]);
        if let Some(gateway) = &self.gateway {
            command.args(["--gateway", gateway.as_str()]);
        }
        command
            .env_clear()
            .envs(environment::for_hub())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy)
            .spawn()
            .map_err(|error| {
                Fault::io(format_args!("starting the hub: {}", self.program.display()), &error)
            })
    }

    async fn answers(&self) -> bool {
        match SocketPath::open(&self.paths.hub_socket()) {
            Ok(short) => UnixStream::connect(short.path()).await.is_ok(),
            Err(_) => false,
        }
    }

    /// What the hub wrote last before it gave up.
    fn reason(&self, before: u64, what: &str) -> Fault {
        let log = self.paths.hub_last_words();
        let hint = format!("more in {}", self.paths.logs().display());
        let mut text = Vec::new();
        let read = File::open(&log).and_then(|mut file| {
            let end = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(before.max(end.saturating_sub(LOG_TAIL_BYTES))))?;
            file.take(LOG_TAIL_BYTES).read_to_end(&mut text)
        });
        let text = String::from_utf8_lossy(&text);
        let last: Vec<&str> =
            text.lines().map(str::trim).filter(|it| !it.is_empty()).rev().take(2).collect();
        let fault = match (read, last.as_slice()) {
            (Ok(_), [hint, line]) if hint.starts_with("hint: ") => {
                Fault::failed(format!("the hub {what}: {line} ({hint})"))
            }
            (Ok(_), [line, ..]) => Fault::failed(format!("the hub {what}: {line}")),
            _ => match can_write(&log) {
                Err(error) => {
                    Fault::io(format_args!("the hub {what}: writing {}", log.display()), &error)
                }
                Ok(()) => Fault::failed(format!("the hub {what} and left no word")),
            },
        };
        Fault::failed(shown(fault.message(), LINE_BYTES_MAX)).hint(hint)
    }
}

/// Whether there was room for a word at all.
fn can_write(log: &Path) -> std::io::Result<()> {
    let mut file = File::options().append(true).open(log)?;
    let before = file.metadata()?.len();
    let written = file.write_all(&vec![b'\n'; PROBE_BYTES]);
    file.set_len(before)?;
    written
}
