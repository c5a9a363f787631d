//! What a watcher of a session receives. A screen may take several messages.

use bytes::{Bytes, BytesMut};

use super::{blob, duration, event::fact_in, milliseconds, required};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{
            KEYFRAME_BYTES_MAX, KEYFRAME_PIECE_BYTES, PTY_CHUNK_BYTES_MAX, TITLE_BYTES_MAX, TTL_MAX,
        },
        text::{cut, shown},
        units::Size,
    },
    model::{
        output::{Fidelity, From as Start, Output, OutputRequest},
        session::ExitStatus,
    },
    runtime::ScreenShot,
    wire::v1::{self, output, output_request},
};

/// Writes how to watch a session.
pub fn request_out(session: &SessionId, request: &OutputRequest) -> v1::OutputRequest {
    let from = match request.from {
        Start::Now => output_request::From::Now(v1::FromNow {}),
        Start::Start => output_request::From::Start(v1::FromStart {}),
        Start::Offset(offset) => output_request::From::Offset(offset),
    };
    let fidelity = match request.fidelity {
        Fidelity::Screen => v1::Fidelity::Screen,
        Fidelity::Full => v1::Fidelity::Full,
    };
    v1::OutputRequest {
        session: session.to_string(),
        from: Some(from),
        fidelity: fidelity.into(),
        every_at_least_ms: request.every_at_least.map(milliseconds),
    }
}

/// Takes how to watch a session.
pub fn request_in(wire: &v1::OutputRequest) -> Outcome<(SessionId, OutputRequest)> {
    let from = match wire.from {
        Some(output_request::From::Now(v1::FromNow {})) | None => Start::Now,
        Some(output_request::From::Start(v1::FromStart {})) => Start::Start,
        Some(output_request::From::Offset(offset)) => Start::Offset(offset),
    };
    let fidelity = match wire.fidelity() {
        v1::Fidelity::Screen | v1::Fidelity::Unspecified => Fidelity::Screen,
        v1::Fidelity::Full => Fidelity::Full,
    };
    let every = wire.every_at_least_ms.map(|it| duration("every_at_least_ms", it, TTL_MAX));
    let request = OutputRequest { from, fidelity, every_at_least: every.transpose()? };
    Ok((super::session_id(&wire.session)?, request))
}

/// Cuts bytes into what one message takes; none are one empty piece.
pub fn cuts(mut bytes: Bytes, most: usize) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(1);
    while bytes.len() > most {
        out.push(bytes.split_to(most));
    }
    out.push(bytes);
    out
}

/// Writes one message of a subscription as the wire messages it takes: one, but for a large screen.
pub fn output_out(value: Output) -> Vec<v1::Output> {
    let one = |offset: u64, kind| vec![v1::Output { offset, kind: Some(kind) }];
    match value {
        Output::Chunk { mut offset, bytes } => {
            let message = |bytes: Bytes| {
                let at = offset;
                offset += bytes.len() as u64;
                v1::Output { offset: at, kind: Some(output::Kind::Chunk(bytes)) }
            };
            cuts(bytes, PTY_CHUNK_BYTES_MAX).into_iter().map(message).collect()
        }
        Output::Keyframe { offset, size, state, lost } => {
            let pieces = cuts(state, KEYFRAME_PIECE_BYTES);
            let last = pieces.len().saturating_sub(1);
            let message = |(at, state)| {
                let size = Some(size.into());
                let keyframe = v1::Keyframe { size, state, lost, more: at < last };
                v1::Output { offset, kind: Some(output::Kind::Keyframe(keyframe)) }
            };
            pieces.into_iter().enumerate().map(message).collect()
        }
        Output::Resize { offset, size } => one(offset, output::Kind::Resize(size.into())),
        Output::Fact { offset, fact } => one(offset, output::Kind::Fact((&fact).into())),
        Output::Exit { offset, status } => one(offset, output::Kind::Exit(status.into())),
    }
}

/// Joins the pieces of one screen.
#[derive(Clone, Debug, Default)]
struct Joiner {
    pieces: Option<BytesMut>,
}

impl Joiner {
    /// Takes the next piece; the whole when it was the last.
    fn take(&mut self, piece: Bytes, more: bool) -> Outcome<Option<Bytes>> {
        let piece = blob("screen.state", piece, KEYFRAME_PIECE_BYTES)?;
        if self.pieces.is_none() && !more {
            return Ok(Some(piece)); // the usual case copies nothing
        }
        let pieces = self.pieces.get_or_insert_default();
        if pieces.len() + piece.len() > KEYFRAME_BYTES_MAX {
            return Err(Fault::invalid(format!(
                "a screen of more than {KEYFRAME_BYTES_MAX} bytes"
            )));
        }
        pieces.extend_from_slice(&piece);
        if more {
            return Ok(None);
        }
        Ok(self.pieces.take().map(BytesMut::freeze))
    }
}

/// Takes how a program ended. One that can't be read ends the subscription as a fault: all output has been
/// handed on by then, and an exit code is nothing to guess, for scripts decide on it.
fn exit(wire: v1::ExitStatus) -> Outcome<ExitStatus> {
    wire.try_into().map_err(|fault: Fault| {
        let why = fault.message();
        Fault::invalid(format!("the program has ended, but how can't be read: {why}"))
            .hint("its output is complete; sandwatch ls --all shows what the hub knows of it")
    })
}

/// Puts the messages of one subscription together.
#[derive(Clone, Debug, Default)]
pub struct OutputReader {
    joiner: Joiner,
}

impl OutputReader {
    /// Takes the next wire message; `None` when it completes nothing, or nothing that this version
    /// knows.
    pub fn take(&mut self, wire: v1::Output) -> Outcome<Option<Output>> {
        let offset = wire.offset;
        let Some(kind) = wire.kind else { return Ok(None) };
        if self.joiner.pieces.is_some() && !matches!(kind, output::Kind::Keyframe(_)) {
            return Err(Fault::invalid("a screen ended early"));
        }
        Ok(match kind {
            output::Kind::Chunk(bytes) => {
                let bytes = blob("output.chunk", bytes, PTY_CHUNK_BYTES_MAX)?;
                if offset.checked_add(bytes.len() as u64).is_none() {
                    return Err(Fault::invalid(format!("output.offset is out of range: {offset}")));
                }
                Some(Output::Chunk { offset, bytes })
            }
            output::Kind::Keyframe(keyframe) => {
                let size = required("keyframe.size", keyframe.size)?.into();
                let lost = keyframe.lost;
                let state = self.joiner.take(keyframe.state, keyframe.more)?;
                state.map(|state| Output::Keyframe { offset, size, state, lost })
            }
            output::Kind::Resize(size) => Some(Output::Resize { offset, size: size.into() }),
            output::Kind::Fact(fact) => {
                fact_in(Some(fact)).map(|fact| Output::Fact { offset, fact })
            }
            output::Kind::Exit(status) => Some(Output::Exit { offset, status: exit(status)? }),
        })
    }
}

/// Writes what a screen shows as the messages it takes.
pub fn screen_out(shot: ScreenShot) -> Vec<v1::ScreenResponse> {
    let pieces = cuts(shot.state, KEYFRAME_PIECE_BYTES);
    let last = pieces.len().saturating_sub(1);
    let title = shot.title.as_deref().map(|it| cut(it, TITLE_BYTES_MAX).to_owned());
    let message = |(at, state)| v1::ScreenResponse {
        offset: shot.offset,
        size: Some(shot.size.into()),
        state,
        title: title.clone(),
        more: at < last,
    };
    pieces.into_iter().enumerate().map(message).collect()
}

/// Puts a screen together from its messages.
#[derive(Debug, Default)]
pub struct ScreenReader {
    joiner: Joiner,
}

impl ScreenReader {
    /// Takes the next message; the screen when it was the last.
    pub fn take(&mut self, wire: v1::ScreenResponse) -> Outcome<Option<ScreenShot>> {
        let size: Size = required("screen.size", wire.size)?.into();
        let state = self.joiner.take(wire.state, wire.more)?;
        let title = wire.title.map(|it| shown(&it, TITLE_BYTES_MAX));
        Ok(state.map(|state| ScreenShot { offset: wire.offset, size, state, title }))
    }
}
