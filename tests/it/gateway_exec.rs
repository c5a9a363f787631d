//! Programs in the sandboxes of the tests' gateway: of this machine, on a terminal or with pipes.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use sandwatch::driver::openshell::generated::v1::{
    ExecSandboxEvent, ExecSandboxExit, ExecSandboxInput, ExecSandboxRequest, ExecSandboxStderr,
    ExecSandboxStdout, exec_sandbox_event, exec_sandbox_input,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::gateway_stage::Gateway;

type Events = mpsc::Sender<Result<ExecSandboxEvent, Status>>;

#[allow(clippy::unnecessary_wraps, reason = "a stream takes them so")]
fn event(payload: exec_sandbox_event::Payload) -> Result<ExecSandboxEvent, Status> {
    Ok(ExecSandboxEvent { payload: Some(payload) })
}

fn printed(error: bool, bytes: &[u8]) -> Result<ExecSandboxEvent, Status> {
    let data = bytes::Bytes::copy_from_slice(bytes);
    event(match error {
        true => exec_sandbox_event::Payload::Stderr(ExecSandboxStderr { data }),
        false => exec_sandbox_event::Payload::Stdout(ExecSandboxStdout { data }),
    })
}

fn ended(code: i32) -> Result<ExecSandboxEvent, Status> {
    event(exec_sandbox_event::Payload::Exit(ExecSandboxExit { exit_code: code }))
}

pub(crate) fn run(
    gateway: Gateway,
    start: ExecSandboxRequest,
    inputs: Streaming<ExecSandboxInput>,
    events: Events,
) -> Result<(), Status> {
    if !gateway.lock().sandboxes.contains_key(&start.sandbox_id) {
        return Err(Status::not_found("no such sandbox"));
    }
    match start.tty {
        true => on_terminal(&start, inputs, events),
        false => on_pipes(&start, inputs, events),
    }
    Ok(())
}

/// Reads until there is no more.
fn pass(
    mut from: impl Read + Send + 'static,
    error: bool,
    events: Events,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 8192];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if events.blocking_send(printed(error, &buffer[..count])).is_err() {
                return;
            }
        }
    })
}

fn on_terminal(
    start: &ExecSandboxRequest,
    mut inputs: Streaming<ExecSandboxInput>,
    events: Events,
) {
    let size = |cols: u32, rows: u32| PtySize {
        cols: cols as u16,
        rows: rows as u16,
        ..PtySize::default()
    };
    let pair = native_pty_system().openpty(size(start.cols, start.rows)).unwrap();
    let mut command = CommandBuilder::new(&start.command[0]);
    command.args(&start.command[1..]);
    start.environment.iter().for_each(|(key, it)| command.env(key, it));
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut writer = pair.master.take_writer().unwrap();
    let reading = pass(pair.master.try_clone_reader().unwrap(), false, events.clone());
    let mut killer = child.clone_killer();
    let master = pair.master;
    tokio::spawn(async move {
        while let Ok(Some(input)) = inputs.message().await {
            match input.payload {
                Some(exec_sandbox_input::Payload::Stdin(bytes)) => {
                    drop(writer.write_all(&bytes));
                    drop(writer.flush());
                }
                Some(exec_sandbox_input::Payload::Resize(to)) => {
                    drop(master.resize(size(to.cols, to.rows)));
                }
                _ => {}
            }
        }
        // Not as a gateway does, which leaves it alone; but the tests leave nothing behind.
        drop(killer.kill());
    });
    std::thread::spawn(move || {
        let status = child.wait().unwrap();
        drop(reading.join());
        drop(events.blocking_send(ended(status.exit_code() as i32)));
    });
}

fn on_pipes(start: &ExecSandboxRequest, mut inputs: Streaming<ExecSandboxInput>, events: Events) {
    let mut child = Command::new(&start.command[0])
        .args(&start.command[1..])
        .envs(&start.environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take();
    let out = pass(child.stdout.take().unwrap(), false, events.clone());
    let errors = pass(child.stderr.take().unwrap(), true, events.clone());
    tokio::spawn(async move {
        while let Ok(Some(input)) = inputs.message().await {
            if let Some(exec_sandbox_input::Payload::Stdin(bytes)) = input.payload
                && let Some(stdin) = &mut stdin
            {
                drop(stdin.write_all(&bytes));
            }
        }
        drop(stdin.take());
    });
    std::thread::spawn(move || {
        let status = child.wait().unwrap();
        drop((out.join(), errors.join()));
        drop(events.blocking_send(ended(status.code().unwrap_or(255))));
    });
}
