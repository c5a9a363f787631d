//! `attach`: this terminal becomes the session, or, off a terminal, its output is streamed.

use std::sync::Arc;

use bytes::Bytes;
use tokio_stream::StreamExt;

use super::{args::AttachArgs, out, resolve, safe::Safe};
use crate::{
    app::{chord::Chord, keymap::Keymap},
    base::{
        fault::{Fault, Outcome},
        limits::END_KNOWN_WITHIN,
        units::Size,
    },
    config::paths::Paths,
    model::{
        output::{Fidelity, From, Output, OutputRequest},
        session::Session,
    },
    runtime::{Runtime, WaitFor},
    tui::{self, files::Files},
    vt::screen::Screen,
};

/// Whether this terminal types or only watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Type,
    Watch,
}

pub async fn attach(
    runtime: &Arc<dyn Runtime>,
    paths: &Paths,
    args: AttachArgs,
) -> Outcome<out::Code> {
    let all = runtime.list().await?;
    let (sandbox, session) = resolve::session(&all, &args.session)?;
    let part = if args.read_only { Part::Watch } else { Part::Type };
    Ok(to(runtime, paths, session, &sandbox.name, part).await?.code)
}

/// The key in front of those that are not for the program, as in the console. A mistake in the files that
/// say so is told; who wants to attach gets there all the same.
fn prefix(paths: &Paths) -> Chord {
    let files = Files::new(paths);
    let keymap = files.config().and_then(|mut config| {
        config.apply(&files.prefs());
        files.keymap(&config, &config.keymap)
    });
    match keymap {
        Ok(keymap) => keymap.prefix(),
        Err(fault) => {
            out::report(&fault);
            Keymap::default().prefix()
        }
    }
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
    paths: &Paths,
    session: &Session,
    sandbox_name: &str,
    part: Part,
) -> Outcome<Away> {
    if !out::on_terminal() {
        let code = stream(runtime, session).await?;
        end_is_known(runtime, session).await;
        return Ok(Away { code, ended: true });
    }
    let name = session.name(sandbox_name);
    let watch = part == Part::Watch;
    let ending = tui::attach::run(runtime, session, &name, prefix(paths), watch).await?;
    match ending {
        tui::attach::Ending::Detached => {
            out::tell(&format!("detached from {name}; sandwatch attach {name} returns"));
            Ok(Away { code: out::DONE, ended: false })
        }
        tui::attach::Ending::Exited(status) => {
            out::tell(&format!("{name} ended with code {}", status.code()));
            end_is_known(runtime, session).await;
            Ok(Away { code: status.code() as out::Code, ended: true })
        }
        tui::attach::Ending::Signalled(signal) => {
            Ok(Away { code: (128 + signal) as out::Code, ended: false })
        }
    }
}

/// Until the hub knows of the end as well: the verb after this one is to find it.
async fn end_is_known(runtime: &Arc<dyn Runtime>, session: &Session) {
    if let Err(fault) = runtime.wait(&session.id, WaitFor::Exit, Some(END_KNOWN_WITHIN)).await {
        tracing::debug!(%fault, "the end is not known yet");
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
