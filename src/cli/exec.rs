//! `exec`: a program without a terminal; its output and its exit code pass through, its input if asked.

use std::io::Read;

use bytes::Bytes;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{args::ExecArgs, out, resolve, safe::Safe, values};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::PTY_CHUNK_BYTES_MAX,
        units::Size,
    },
    model::session::SessionSpec,
    runtime::{BoxStream, ExecOutput, Runtime},
};

/// Pieces of stdin read ahead of the program.
const STDIN_PIECES_MAX: usize = 4;

pub async fn exec(runtime: &dyn Runtime, args: ExecArgs) -> Outcome<out::Code> {
    use std::io::IsTerminal;
    let env = values::variables(args.env)?;
    let all = runtime.list().await?;
    let sandbox = resolve::sandbox(&all, &args.sandbox)?;
    let spec = SessionSpec { command: args.command, cwd: args.cwd, env, size: Size::DEFAULT };
    let stdin = if args.interactive { stdin() } else { Box::pin(tokio_stream::empty()) };
    let mut outputs = runtime.exec(&sandbox.id, spec, stdin).await?;
    let mut safe_out = std::io::stdout().is_terminal().then(Safe::default);
    let mut safe_error = std::io::stderr().is_terminal().then(Safe::default);
    while let Some(output) = outputs.next().await {
        match output? {
            ExecOutput::Stdout(bytes) => out::print_bytes(&filtered(&mut safe_out, bytes))?,
            ExecOutput::Stderr(bytes) => out::print_error_bytes(&filtered(&mut safe_error, bytes))?,
            ExecOutput::Exit(status) => return Ok(status.code() as out::Code),
        }
    }
    Err(Fault::lost("the program's output ended without an exit code")
        .hint("sandwatch ls shows whether the sandbox still runs"))
}

fn filtered(safe: &mut Option<Safe>, bytes: Bytes) -> Bytes {
    match safe {
        Some(safe) => Bytes::from(safe.feed(&bytes)),
        None => bytes,
    }
}

/// This process's stdin, read by a thread of its own: a read of a terminal can't be cancelled, and
/// must not keep the program from ending.
fn stdin() -> BoxStream<Bytes> {
    let (sender, receiver) = tokio::sync::mpsc::channel(STDIN_PIECES_MAX);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PTY_CHUNK_BYTES_MAX];
        let mut stdin = std::io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    let piece = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
                    if sender.blocking_send(piece).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "reading stdin ended");
                    break;
                }
            }
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}
