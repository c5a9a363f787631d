//! `attach`: this terminal becomes the session, or, off a terminal, its output is streamed.

use std::sync::Arc;

use bytes::Bytes;
use tokio_stream::StreamExt;

use super::{args::AttachArgs, out, resolve, safe::Safe};
use crate::{
    base::{
        fault::{Fault, Outcome},
        units::Size,
    },
    model::{
        output::{Fidelity, From, Output, OutputRequest},
        session::Session,
    },
    runtime::Runtime,
    tui,
    vt::screen::Screen,
};

/// Whether this terminal types or only watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Type,
    Watch,
}

pub async fn attach(runtime: &Arc<dyn Runtime>, args: AttachArgs) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    let (sandbox, session) = resolve::session(&all, &args.session)?;
    let part = if args.read_only { Part::Watch } else { Part::Type };
    Ok(to(runtime, session, &sandbox.name, part).await?.code)
}

/// How this process came away from a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away {
    pub code: out::Code,
    /// The program has ended; else it goes on without us.
    pub ended: bool,
}

/// Attaches to a session by whatever this process has: a terminal or a pipe.
pub async fn to(
    runtime: &Arc<dyn Runtime>,
    session: &Session,
    sandbox_name: &str,
    part: Part,
) -> Outcome<Away> {
    if !out::on_terminal() {
        return Ok(Away { code: stream(runtime, session).await?, ended: true });
    }
    let name = session.name(sandbox_name);
    let ending = tui::attach::run(runtime, session, &name, part == Part::Watch).await?;
    match ending {
        tui::attach::Ending::Detached => {
            out::tell(&format!("detached from {name}; sandwatch attach {name} returns"));
            Ok(Away { code: out::DONE, ended: false })
        }
        tui::attach::Ending::Exited(status) => {
            out::tell(&format!("{name} ended with code {}", status.code()));
            Ok(Away { code: status.code() as out::Code, ended: true })
        }
        tui::attach::Ending::Signalled(signal) => {
            Ok(Away { code: (128 + signal) as out::Code, ended: false })
        }
    }
}

/// Everything the program printed and prints, then its exit code. A pipe gets the bytes as they
/// are; a terminal gets text and colours only.
async fn stream(runtime: &Arc<dyn Runtime>, session: &Session) -> Outcome<out::Code> {
    let request =
        OutputRequest { from: From::Start, fidelity: Fidelity::Full, every_at_least: None };
    let mut outputs = runtime.output(&session.id, request).await?;
    let mut safe = out::stdout_is_terminal().then(Safe::default);
    loop {
        let bytes = match outputs.next().await.transpose()? {
            Some(Output::Chunk { bytes, .. }) => bytes,
            Some(Output::Keyframe { size, state, lost, offset }) => {
                if lost > 0 {
                    out::tell(&format!("sandwatch: {lost} bytes of output are no longer kept"));
                }
                // At the very start the screen is blank; later it stands for what is gone.
                if offset == 0 {
                    continue;
                }
                picture(size, &state)
            }
            Some(Output::Resize { .. } | Output::Fact { .. }) => continue,
            Some(Output::Exit { status, .. }) => return Ok(status.code() as out::Code),
            None => {
                return Err(Fault::lost(format!(
                    "the output ended without an exit: {}",
                    session.id
                ))
                .hint("sandwatch ls shows whether it still runs"));
            }
        };
        match &mut safe {
            Some(safe) => out::print(&safe.feed(&bytes))?,
            None => out::print_bytes(&bytes)?,
        }
    }
}

/// The lines of a screen, without the blank ones below the last that has text.
fn picture(size: Size, state: &[u8]) -> Bytes {
    let screen = Screen::from_keyframe(size, state);
    let mut lines = screen.lines();
    while lines.last().is_some_and(|it| it.trim_end().is_empty()) {
        lines.pop();
    }
    let text: String = lines.iter().map(|it| format!("{}\r\n", it.trim_end())).collect();
    text.into()
}
