//! Asks a runtime to do something, with a deadline, and says why it did not. Runs in the keeper and in
//! short-lived copies of it, one for each program that starts.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::FdFlags,
    process::{Pid, PidfdFlags, Signal, pidfd_open},
};

use super::{Runtime, bundle, keeper::STATE};
use crate::{
    base::{
        limits::{
            RUNTIME_LOG_BYTES_MAX, RUNTIME_WITHIN, RUNTIME_WORDS_BYTES_MAX, WAKES_WITHIN,
            WRITES_DOWN_WITHIN,
        },
        text,
        units::Size,
    },
    driver::local::{
        identity::Identity,
        init,
        lockdown::ProcessBounds,
        message::{self, Description, Report, send, send_as},
        processes, sys,
    },
};

/// What the container is called by its runtime; there is one in each of its state directories.
pub const CONTAINER: &str = "sandbox";
/// Threads of Go's that run at once: each is one process of the sandbox's limit.
const THREADS: &str = "2";

/// A runtime and how it is called.
pub struct Tool<'a> {
    pub runtime: Runtime,
    pub program: &'a Path,
    pub identity: &'a Identity,
    pub bounds: ProcessBounds,
    /// Programs reach no network; else that of whoever calls this.
    pub no_network: bool,
}

impl Tool<'_> {
    fn command(&self, log: &Path, verb: &str) -> Command {
        let mut command = Command::new(self.program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("GOMAXPROCS", THREADS);
        command.args(["--root", STATE, "--log-format", "json", "--log"]).arg(log);
        match self.runtime {
            // That it may not touch control groups is then fine by it.
            Runtime::Runc => command.arg("--rootless=true"),
            Runtime::Runsc => {
                let network = if self.no_network { "--network=none" } else { "--network=host" };
                // Layers are the sandbox's own affair, and others read and write the files too. Programs speak on the
                // socket for asks; those that lie in the workspace are open to them in other grades as well.
                command.args([
                    "--ignore-cgroups",
                    "--overlay2=none",
                    "--file-access=shared",
                    "--host-uds=open",
                    network,
                ])
            }
        };
        command.arg(verb);
        command
    }

    /// Makes the container and starts its first process, or what holds that; or has it go on as it was written down.
    pub fn run(&self, bundle: &Path, memory: Option<&OwnedFd>) -> Result<Pid, String> {
        let log = bundle.join("log");
        let mut command = self.command(&log, memory.map_or("run", |_| "restore"));
        if let Some(directory) = memory {
            command.arg("--image-path").arg(handed_on(directory.as_fd())?);
        }
        command.args(["--detach", "--bundle"]).arg(bundle);
        command.arg("--pid-file").arg(bundle.join(OUTSIDE)).arg(CONTAINER);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        call_within(&mut command, &log, memory.map_or(RUNTIME_WITHIN, |_| WAKES_WITHIN))?;
        noted(bundle, OUTSIDE).ok_or_else(|| "the runtime does not say what it started".to_owned())
    }

    /// Writes the container down with its programs, which stand still from then on.
    pub fn keep(&self, bundle: &Path, directory: BorrowedFd<'_>) -> Result<(), String> {
        let log = bundle.join("keeping");
        // Also when one did it and did not say so in time.
        let go_on = |_: &String| drop(self.hold("resume", &log));
        self.hold("pause", &log).inspect_err(go_on)?;
        let mut command = self.command(&log, "checkpoint");
        command.args(["--leave-running", "--image-path"]).arg(handed_on(directory)?).arg(CONTAINER);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        call_within(&mut command, &log, WRITES_DOWN_WITHIN).inspect_err(go_on)
    }

    /// Has the container's programs go on that stand still.
    pub fn go_on(&self, bundle: &Path) -> Result<(), String> {
        self.hold("resume", &bundle.join("keeping"))
    }

    fn hold(&self, verb: &str, log: &Path) -> Result<(), String> {
        let mut command = self.command(log, verb);
        command.arg(CONTAINER);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        call(&mut command, log)
    }

    /// Runs something in the container whose output nobody takes, for the keeper's own ends.
    pub fn silently(&self, script: &str, argument: &str) {
        let log = PathBuf::from("/dev/null");
        let mut command = self.command(&log, "exec");
        let user = format!("{}:{}", self.identity.inside_uid, self.identity.inside_gid);
        command.args(["--user", &user, CONTAINER, "/bin/sh", "-c", script, "sh", argument]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(call(&mut command, &log));
    }

    /// Kills one process in the container, by its number there.
    pub fn kill(&self, inside: &str) {
        let log = PathBuf::from("/dev/null");
        let mut command = self.command(&log, "kill");
        command.args(["--pid", inside, CONTAINER, "KILL"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(call(&mut command, &log));
    }
}

/// An open directory by a name that a runtime started from here has for it.
fn handed_on(directory: BorrowedFd<'_>) -> Result<PathBuf, String> {
    rustix::io::fcntl_setfd(directory, FdFlags::empty())
        .map_err(|error| format!("handing on a directory: {error}"))?;
    Ok(Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()))
}

/// Waits until a call is over; its last words if it did not work.
fn call(command: &mut Command, log: &Path) -> Result<(), String> {
    call_within(command, log, RUNTIME_WITHIN)
}

fn call_within(command: &mut Command, log: &Path, within: Duration) -> Result<(), String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let failed = |error: io::Error| format!("running {name}: {error}");
    let mut child = command.spawn().map_err(failed)?;
    let itself = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
    let itself = itself.map_err(|error| failed(error.into()))?;
    if !ends_within(&itself, within).map_err(failed)? {
        // It may just have ended.
        drop(child.kill());
        drop(child.wait());
        let words = last_words(log);
        let words = if words.is_empty() { words } else { format!(": {words}") };
        return Err(format!("{name} did not answer in time{words}"));
    }
    let status = child.wait().map_err(failed)?;
    match (status.success(), last_words(log)) {
        (true, _) => Ok(()),
        (false, words) if words.is_empty() => Err(format!("{name} ended with {status}")),
        (false, words) => Err(format!("{name}: {words}")),
    }
}

/// Whether a process ends in that time, or has.
pub fn ends_within(itself: &OwnedFd, within: Duration) -> io::Result<bool> {
    let within = Timespec { tv_sec: within.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
    let mut wanted = [PollFd::new(itself, PollFlags::IN)];
    loop {
        match poll(&mut wanted, Some(&within)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other? > 0),
        }
    }
}

/// The last sentence of a log, as a person may read it.
fn last_words(log: &Path) -> String {
    let mut bytes = Vec::new();
    // Without a log there are no words.
    let read =
        File::open(log).and_then(|it| it.take(RUNTIME_LOG_BYTES_MAX).read_to_end(&mut bytes));
    if read.is_err() {
        return String::new();
    }
    let log = String::from_utf8_lossy(&bytes);
    let Some(last) = log.lines().rfind(|it| !it.trim().is_empty()) else { return String::new() };
    let sentence = serde_json::from_str::<serde_json::Value>(last).ok();
    let sentence = sentence.as_ref().and_then(|it| it.get("msg")?.as_str());
    // A stack may come after it.
    let sentence = sentence.unwrap_or(last).trim().lines().next().unwrap_or_default();
    let sentence = sentence.trim_end_matches(':');
    text::shown(sentence, RUNTIME_WORDS_BYTES_MAX)
}

/// Where a program's description, terminal and number are while it is started.
pub fn place(number: u64) -> PathBuf {
    Path::new(STATE).with_file_name("programs").join(number.to_string())
}

/// The number a runtime has noted of a program: as this process sees it, and as the container does.
pub fn noted(place: &Path, file: &str) -> Option<Pid> {
    fs::read_to_string(place.join(file)).ok()?.trim().parse().ok().and_then(Pid::from_raw)
}

pub const OUTSIDE: &str = "pid";
pub const INSIDE: &str = "inside";

/// Starts a program of the container, reports, and ends: with 0 if it was started.
pub fn become_starter(
    tool: &Tool<'_>,
    number: u64,
    size: Option<Size>,
    description: OwnedFd,
    report: &OwnedFd,
    streams: Option<&[OwnedFd; 3]>,
) -> ! {
    sys::reset_signals();
    let place = place(number);
    let started = File::from(description);
    let started = init::read_all(&started)
        .ok()
        .and_then(|it| Description::parse(&it))
        .ok_or_else(|| "its description can't be read".to_owned())
        .and_then(|what| start(tool, &what, size, &place, streams));
    let word = match started {
        Ok((pid, terminal)) => {
            let terminal: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
            send_as(report.as_fd(), &Report::Here.bytes(), &terminal, Some(pid))
        }
        Err(words) => {
            if let Some(late) = noted(&place, OUTSIDE) {
                processes::signal_session(late, Signal::KILL);
            }
            drop(send(report.as_fd(), &Report::Refused(words).bytes(), &[]));
            sys::exit_now(1)
        }
    };
    // If the shim stopped listening, it says so in time.
    drop(word);
    sys::exit_now(0)
}

fn start(
    tool: &Tool<'_>,
    what: &Description,
    size: Option<Size>,
    place: &Path,
    streams: Option<&[OwnedFd; 3]>,
) -> Result<(Pid, Option<OwnedFd>), String> {
    let failed = |error: io::Error| format!("preparing it: {error}");
    fs::create_dir_all(place).map_err(failed)?;
    let process = bundle::process(what, tool.identity, tool.bounds, size);
    fs::write(place.join("process.json"), process.to_string()).map_err(failed)?;
    let log = place.join("log");
    let mut command = tool.command(&log, "exec");
    command.arg("--detach").arg("--process").arg(place.join("process.json"));
    command.arg("--pid-file").arg(place.join(OUTSIDE));
    if tool.runtime == Runtime::Runsc {
        command.arg("--internal-pid-file").arg(place.join(INSIDE));
    }
    let socket = place.join("terminal");
    let listener = match streams {
        Some([input, output, errors]) => {
            command.stdin(input.try_clone().map_err(failed)?);
            command.stdout(output.try_clone().map_err(failed)?);
            command.stderr(errors.try_clone().map_err(failed)?);
            None
        }
        None => {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if tool.runtime == Runtime::Runc {
                command.arg("--tty");
            }
            command.arg("--console-socket").arg(&socket);
            Some(UnixListener::bind(&socket).map_err(failed)?)
        }
    };
    command.arg(CONTAINER);
    call(&mut command, &log)?;
    let pid = noted(place, OUTSIDE).ok_or("the runtime does not say which process it is")?;
    let terminal = listener
        .map(|it| terminal(&it, size.unwrap_or(Size::DEFAULT)))
        .transpose()
        .map_err(|error| format!("taking its terminal: {error}"))?;
    Ok((pid, terminal))
}

/// Takes the other side of the terminal that the runtime has made, and sent by now.
fn terminal(listener: &UnixListener, size: Size) -> io::Result<OwnedFd> {
    listener.set_nonblocking(true)?;
    let (connection, _) = listener.accept()?;
    connection.set_nonblocking(true)?;
    let packet = message::receive(&connection)?;
    let terminal = packet.descriptors.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
    init::prepare_terminal(terminal.as_fd(), size.cols(), size.rows())?;
    Ok(terminal)
}
