//! Connections that go on: the shim's reports, a session's output, a program without a PTY.

use std::{path::PathBuf, process::ExitStatus};

use bytes::Bytes;
use tokio::{
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::watch,
    task::AbortHandle,
    time::timeout,
};
use tokio_stream::StreamExt;

use super::{
    connection::{Connection, is_dead, unexpected},
    process::last_words,
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::{ANSWER_WITHIN, PTY_CHUNK_BYTES_MAX},
    },
    model::{output::Output, syscall::SyscallPart},
    session::{
        seat::{BoxStream, ExecOutput, SeatEvent},
        unfold::unfold,
    },
    wire::{
        convert::output::OutputReader,
        shim::{self as wire, Answer, Call, Frames, answer, call, event_in, send},
    },
};

/// What a shim reports, until it is gone or lost. `ended` tells how its process ended.
pub(super) fn events(
    connection: Connection,
    dir: PathBuf,
    ended: watch::Receiver<Option<ExitStatus>>,
) -> BoxStream<SeatEvent> {
    let feed = Events { connection, dir, ended, over: false };
    unfold(feed, |mut feed| async move {
        let next = feed.next().await;
        (feed, next)
    })
}

pub(super) fn output(connection: Connection) -> BoxStream<Outcome<Output>> {
    let watch = Watch { connection, reader: OutputReader::default(), over: false };
    unfold(watch, |mut watch| async move {
        let next = watch.next().await;
        (watch, next)
    })
}

/// Sends `stdin` for as long as the output is held.
pub(super) fn exec(
    connection: Connection,
    stdin: BoxStream<Bytes>,
) -> BoxStream<Outcome<ExecOutput>> {
    let stdin = tokio::spawn(send_stdin(stdin, connection.writer)).abort_handle();
    let running = Running { answers: connection.answers, stdin, over: false };
    unfold(running, |mut running| async move {
        let next = running.next().await;
        (running, next)
    })
}

struct Events {
    connection: Connection,
    dir: PathBuf,
    ended: watch::Receiver<Option<ExitStatus>>,
    over: bool,
}

impl Events {
    async fn next(&mut self) -> Option<SeatEvent> {
        while !self.over {
            let answer = self.connection.answers.next::<Answer>().await;
            let event = match answer {
                Ok(Some(Answer { what })) => what.map_or(Ok(None), event_in),
                Ok(None) => Err(Fault::lost("the connection ended")),
                Err(fault) => Err(fault),
            };
            match event {
                Ok(None) => {}
                Ok(Some(SeatEvent::Lost { fault })) | Err(fault) => {
                    self.over = true;
                    return Some(self.end(fault).await);
                }
                Ok(Some(event)) => {
                    self.over = matches!(event, SeatEvent::Gone { .. });
                    return Some(event);
                }
            }
        }
        None
    }

    /// The connection ended without a word: because the shim did, or for a reason of its own. Only a
    /// shim that is certainly dead is gone.
    async fn end(&mut self, fault: Fault) -> SeatEvent {
        let mut status = *self.ended.borrow();
        if status.is_none() && fault.kind() == Kind::Lost {
            // A process that dies is waited for a moment after its connections have ended.
            let waited = timeout(ANSWER_WITHIN, self.ended.wait_for(Option::is_some)).await;
            status = waited.ok().and_then(Result::ok).and_then(|it| *it);
        }
        if status.is_none() && !is_dead(&self.dir).await {
            return SeatEvent::Lost { fault };
        }
        SeatEvent::Gone { reason: format!("its shim died: {}", last_words(&self.dir, status)) }
    }
}

struct Watch {
    connection: Connection,
    reader: OutputReader,
    over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Outcome<Output>> {
        while !self.over {
            let message = match self.connection.answers.next::<Answer>().await {
                Ok(Some(Answer { what: Some(answer::What::Output(message)) })) => message,
                Ok(Some(Answer { what: Some(answer::What::Fault(fault)) })) => {
                    self.over = true;
                    return Some(Err(fault.into()));
                }
                Ok(Some(_)) => continue,
                Ok(None) => return None,
                Err(fault) => {
                    self.over = true;
                    return Some(Err(fault));
                }
            };
            match self.reader.take(message) {
                Ok(None) => {}
                Ok(Some(output)) => {
                    self.over = matches!(output, Output::Exit { .. });
                    return Some(Ok(output));
                }
                Err(fault) => {
                    self.over = true;
                    return Some(Err(fault));
                }
            }
        }
        None
    }
}

/// What a process calls: its first part, then those that follow.
pub(super) fn syscalls(first: SyscallPart, connection: Connection) -> BoxStream<SyscallPart> {
    unfold((Some(first), connection, false), |(first, mut connection, over)| async move {
        let next = match first {
            Some(first) => Some(first),
            None if over => None,
            None => match connection.answer().await {
                Ok(answer::What::Syscalls(part)) => Some(part.into()),
                Ok(_) => None,
                Err(_) => Some(SyscallPart {
                    over: Some("the shim of its sandbox is gone".to_owned()),
                    ..SyscallPart::default()
                }),
            },
        };
        let over = next.as_ref().is_none_or(|it: &SyscallPart| it.over.is_some());
        ((None, connection, over), next)
    })
}

async fn send_stdin(mut stdin: BoxStream<Bytes>, mut writer: OwnedWriteHalf) {
    while let Some(mut bytes) = stdin.next().await {
        while !bytes.is_empty() {
            let data = bytes.split_to(bytes.len().min(PTY_CHUNK_BYTES_MAX));
            let piece = Call::from(call::What::Stdin(wire::Stdin { data }));
            if send(&mut writer, &piece).await.is_err() {
                return;
            }
        }
    }
    drop(send(&mut writer, &Call::from(call::What::StdinEnd(wire::StdinEnd {}))).await);
    // The connection stays open until the output is dropped: its end would kill the program.
    std::future::pending::<()>().await;
}

struct Running {
    answers: Frames<OwnedReadHalf>,
    stdin: AbortHandle,
    over: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stdin.abort();
    }
}

impl Running {
    async fn next(&mut self) -> Option<Outcome<ExecOutput>> {
        if self.over {
            return None;
        }
        let output = match self.answers.next::<Answer>().await {
            Ok(Some(Answer { what: Some(answer::What::Exec(output)) })) => output.try_into(),
            Ok(Some(Answer { what: Some(answer::What::Fault(fault)) })) => Err(fault.into()),
            Ok(Some(_)) => Err(unexpected()),
            Ok(None) => Err(Fault::lost("the sandbox went away while the program ran")),
            Err(fault) => Err(fault),
        };
        self.over = matches!(output, Err(_) | Ok(ExecOutput::Exit(_)));
        Some(output)
    }
}
