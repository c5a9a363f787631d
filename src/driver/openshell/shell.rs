//! Programs that are started in a sandbox, by calls alone: with a terminal of their own, or with pipes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{mpsc, oneshot, watch},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    generated::v1::{
        ExecSandboxEvent, ExecSandboxInput, ExecSandboxRequest, ExecSandboxWindowResize,
        exec_sandbox_event, exec_sandbox_input::Payload,
    },
    remote::Remote,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::PTY_CHUNK_BYTES_MAX,
        units::Size,
    },
    driver::{PipeIo, Program, PtyIo, TerminalUse},
    model::session::{ExitStatus, SessionSpec},
};

/// Messages to a program that wait for the gateway.
const QUEUED: usize = 4;
/// The best shell there is.
const SHELL: [&str; 3] =
    ["sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -l; exec sh -l"];

type Events = tonic::Streaming<ExecSandboxEvent>;
type Inputs = mpsc::Sender<ExecSandboxInput>;

/// How a program that could not be followed to its end is said to have ended.
const LOST: ExitStatus = ExitStatus::Code(255);

async fn begin(
    remote: &Remote,
    spec: &SessionSpec,
    terminal: Option<Size>,
) -> Outcome<(Inputs, Events)> {
    let command = match spec.command.is_empty() {
        true => SHELL.map(str::to_owned).to_vec(),
        false => spec.command.clone(),
    };
    let start = ExecSandboxRequest {
        sandbox_id: remote.id.clone(),
        command,
        workdir: spec.cwd.clone().unwrap_or_default(),
        environment: spec.env.iter().cloned().collect(),
        timeout_seconds: 0,
        stdin: Bytes::new(),
        tty: terminal.is_some(),
        cols: terminal.map_or(0, |it| it.cols().into()),
        rows: terminal.map_or(0, |it| it.rows().into()),
    };
    let (inputs, messages) = mpsc::channel(QUEUED);
    let full = |_| Fault::bug("a new queue is full");
    inputs.try_send(input(Payload::Start(start))).map_err(full)?;
    let request = remote.client.request(ReceiverStream::new(messages))?;
    let mut calls = match terminal {
        Some(_) => remote.client.terminals(),
        None => remote.client.alone()?,
    };
    let begun = calls.exec_sandbox_interactive(request);
    let events = remote.client.answer("starting a program", begun).await?;
    Ok((inputs, events))
}

fn input(payload: Payload) -> ExecSandboxInput {
    ExecSandboxInput { payload: Some(payload) }
}

pub async fn on_terminal(remote: &Arc<Remote>, spec: &SessionSpec) -> Outcome<Program<PtyIo>> {
    let (inputs, events) = begin(remote, spec, Some(spec.size)).await?;
    let (reader, output) = duplex(PTY_CHUNK_BYTES_MAX);
    let (writer, keys) = duplex(PTY_CHUNK_BYTES_MAX);
    let (report, exit) = oneshot::channel();
    let (size, wanted) = watch::channel(spec.size);
    tokio::spawn(type_in(keys, wanted, inputs));
    tokio::spawn(print(Arc::clone(remote), events, Out::Terminal(output), report));
    let resize = move |wanted: Size| {
        size.send_if_modified(|it| std::mem::replace(it, wanted) != wanted);
        Ok(())
    };
    let io = PtyIo {
        reader: Box::new(reader),
        writer: Box::new(writer),
        resize: Box::new(resize),
        terminal: Box::new(TerminalUse::default),
    };
    Ok(Program { pid: None, io, exit })
}

pub async fn on_pipes(remote: &Arc<Remote>, spec: &SessionSpec) -> Outcome<Program<PipeIo>> {
    let (inputs, events) = begin(remote, spec, None).await?;
    let (stdin, keys) = duplex(PTY_CHUNK_BYTES_MAX);
    let (stdout, out) = duplex(PTY_CHUNK_BYTES_MAX);
    let (stderr, errors) = duplex(PTY_CHUNK_BYTES_MAX);
    let (report, exit) = oneshot::channel();
    tokio::spawn(feed(keys, inputs));
    tokio::spawn(print(Arc::clone(remote), events, Out::Pipes(out, errors), report));
    let io = PipeIo { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr) };
    Ok(Program { pid: None, io, exit })
}

/// Passes on what is typed, each piece when the terminal has the size it had for who typed it.
async fn type_in(mut keys: DuplexStream, mut wanted: watch::Receiver<Size>, inputs: Inputs) {
    let mut buffer = vec![0; PTY_CHUNK_BYTES_MAX];
    let mut resizes = true;
    loop {
        let message = tokio::select! {
            biased;
            changed = wanted.changed(), if resizes => {
                if changed.is_err() {
                    resizes = false;
                    continue;
                }
                let size = *wanted.borrow_and_update();
                let (cols, rows) = (size.cols().into(), size.rows().into());
                Payload::Resize(ExecSandboxWindowResize { cols, rows })
            }
            count = keys.read(&mut buffer) => match count {
                Ok(count @ 1..) => piece(&buffer, count),
                _ => return,
            },
        };
        if inputs.send(input(message)).await.is_err() {
            return;
        }
    }
}

/// Passes on what comes in by a pipe; its end ends the messages.
async fn feed(mut keys: DuplexStream, inputs: Inputs) {
    let mut buffer = vec![0; PTY_CHUNK_BYTES_MAX];
    while let Ok(count @ 1..) = keys.read(&mut buffer).await {
        if inputs.send(input(piece(&buffer, count))).await.is_err() {
            return;
        }
    }
}

fn piece(buffer: &[u8], count: usize) -> Payload {
    Payload::Stdin(Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default()))
}

enum Out {
    Terminal(DuplexStream),
    Pipes(DuplexStream, DuplexStream),
}

impl Out {
    async fn write(&mut self, error: bool, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Terminal(output) => output.write_all(bytes).await,
            Self::Pipes(_, errors) if error => errors.write_all(bytes).await,
            Self::Pipes(output, _) => output.write_all(bytes).await,
        }
    }
}

/// Passes on what it prints until it ends, or nobody listens: then the call is given up.
async fn print(
    remote: Arc<Remote>,
    mut events: Events,
    mut out: Out,
    mut report: oneshot::Sender<ExitStatus>,
) {
    let status = loop {
        let event = tokio::select! {
            event = events.message() => event,
            () = report.closed() => return,
        };
        let payload = match event {
            Ok(Some(event)) => event.payload,
            Ok(None) => break end(&mut out, "the gateway hung up").await,
            Err(status) => break end(&mut out, remote.client.fault(&status).message()).await,
        };
        let (error, bytes) = match payload {
            Some(exec_sandbox_event::Payload::Stdout(it)) => (false, it.data),
            Some(exec_sandbox_event::Payload::Stderr(it)) => (true, it.data),
            Some(exec_sandbox_event::Payload::Exit(it)) => break ended(it.exit_code),
            // Of a newer gateway.
            None => continue,
        };
        let written = tokio::select! {
            written = out.write(error, &bytes) => written,
            () = report.closed() => return,
        };
        if written.is_err() {
            return;
        }
    };
    drop(out);
    let _nobody_waits = report.send(status);
}

/// That it could not be followed to its end is said where it printed.
async fn end(out: &mut Out, why: &str) -> ExitStatus {
    let words = format!("\r\nsandwatch: lost sight of the program: {why}\r\n");
    // Nobody may be there to read it.
    drop(out.write(true, words.as_bytes()).await);
    LOST
}

fn ended(code: i32) -> ExitStatus {
    match code {
        129..=192 => ExitStatus::Signal(code - 128),
        code => ExitStatus::Code(code),
    }
}
