//! The protocol between a hub and its shims: framing, and conversion of what `v1` does not have.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::convert::{
    self,
    ask::entries_in,
    sandbox::{
        capabilities_in, capabilities_out, isolation_in, isolation_out, state_in, state_out,
    },
    session::{sessions_in, sessions_out},
};
pub use super::generated::shim::v1::*;
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{
            ASKS_PENDING_MAX, LABEL_BYTES_MAX, LINE_BYTES_MAX, NAME_BYTES_MAX, NOTES_MAX,
            PATH_BYTES_MAX, WIRE_MESSAGE_BYTES_MAX,
        },
        text::{cut, shown},
    },
    driver::{self, PlaceFacts},
    model::sandbox::{SandboxSpec, State},
    session::seat::{SeatEvent, SeatReport},
};

/// Raised when hubs can't work with shims of an older number any more.
pub const PROTOCOL: u32 = 1;

/// Bytes of the length in front of every message.
const LENGTH_BYTES: usize = 4;

/// Writes one message.
pub async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &impl Message,
) -> std::io::Result<()> {
    let frame = framed(message)?;
    writer.write_all(&frame).await
}

/// A message with its length in front.
pub fn framed(message: &impl Message) -> std::io::Result<Bytes> {
    let length = message.encoded_len();
    if length > WIRE_MESSAGE_BYTES_MAX {
        return Err(std::io::Error::other(format!("a message of {length} bytes")));
    }
    let mut frame = BytesMut::with_capacity(LENGTH_BYTES + length);
    frame.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode(&mut frame).map_err(std::io::Error::other)?;
    Ok(frame.freeze())
}

/// Reads messages; may be dropped between and within calls without losing its place.
pub struct Frames<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::new() }
    }

    /// Over a reader of which something was read already.
    pub fn after(read: &[u8], reader: R) -> Self {
        Self { reader, buffer: BytesMut::from(read) }
    }

    pub fn into_inner(self) -> R {
        self.reader
    }

    /// The next message; `None` when the other side closed between two messages.
    pub async fn next<M: Message + Default>(&mut self) -> Outcome<Option<M>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let read = self.reader.read_buf(&mut self.buffer).await;
            match read {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(Fault::lost("the connection ended within a message")),
                Ok(_) => {}
                Err(error) => return Err(Fault::lost(format!("the connection broke: {error}"))),
            }
        }
    }

    fn take<M: Message + Default>(&mut self) -> Outcome<Option<M>> {
        let Some((length, _)) = self.buffer.split_first_chunk::<LENGTH_BYTES>() else {
            self.buffer.reserve(LENGTH_BYTES);
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > WIRE_MESSAGE_BYTES_MAX {
            return Err(Fault::invalid(format!("a message of {length} bytes")));
        }
        let whole = LENGTH_BYTES + length;
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let frame = self.buffer.split_to(whole).freeze().slice(LENGTH_BYTES..);
        let message = M::decode(frame);
        message.map(Some).map_err(|it| Fault::invalid(format!("a damaged message: {it}")))
    }
}

/// What a shim starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    pub id: SandboxId,
    pub name: String,
    pub recordings: PathBuf,
    pub spec: SandboxSpec,
    /// How many files a program may have open unless it asks for more; `None` = no bound.
    pub open_files: Option<u64>,
    /// The snapshot whose files it begins with.
    pub from: Option<driver::Shelf>,
    /// The file of rules; `None` = there are none.
    pub policy: Option<PathBuf>,
    /// That of rules for its directory alone, which need not be there; `None` = there are none.
    pub project: Option<PathBuf>,
}

impl Start {
    pub fn encode(&self) -> Vec<u8> {
        Boot::from(self).encode_to_vec()
    }

    pub fn decode(bytes: &[u8]) -> Outcome<Self> {
        let boot = Boot::decode(bytes);
        boot.map_err(|it| Fault::invalid(format!("a damaged file: {it}")))?.try_into()
    }
}

impl From<&Start> for Boot {
    fn from(start: &Start) -> Self {
        Self {
            id: start.id.to_string(),
            name: start.name.clone(),
            recordings: start.recordings.as_os_str().to_owned().into_vec().into(),
            spec: Some((&start.spec).into()),
            open_files: start.open_files,
            from: start.from.as_ref().map(|it| Shelf {
                id: it.id.to_string(),
                dir: it.dir.as_os_str().to_owned().into_vec().into(),
                reference: it.reference.clone(),
            }),
            policy: bytes(start.policy.as_ref()),
            project: bytes(start.project.as_ref()),
        }
    }
}

impl TryFrom<Boot> for Start {
    type Error = Fault;

    fn try_from(wire: Boot) -> Outcome<Self> {
        let spec = wire.spec.ok_or_else(|| Fault::invalid("missing: boot.spec"))?;
        Ok(Self {
            id: convert::sandbox_id(&wire.id)?,
            name: shown(&wire.name, NAME_BYTES_MAX),
            recordings: absolute("boot.recordings", &wire.recordings)?,
            spec: spec.try_into()?,
            open_files: wire.open_files,
            from: wire.from.map(TryInto::try_into).transpose()?,
            policy: perhaps("boot.policy", &wire.policy)?,
            project: perhaps("boot.project", &wire.project)?,
        })
    }
}

impl TryFrom<Shelf> for driver::Shelf {
    type Error = Fault;

    fn try_from(wire: Shelf) -> Outcome<Self> {
        Ok(Self {
            id: convert::snapshot_id(&wire.id)?,
            dir: absolute("boot.from.dir", &wire.dir)?,
            reference: wire.reference.map(convert::snapshot::reference).transpose()?,
        })
    }
}

fn bytes(path: Option<&PathBuf>) -> Bytes {
    path.map_or_else(Bytes::new, |it| it.as_os_str().to_owned().into_vec().into())
}

/// Empty is none.
fn perhaps(field: &str, path: &Bytes) -> Outcome<Option<PathBuf>> {
    (!path.is_empty()).then(|| absolute(field, path)).transpose()
}

fn absolute(field: &str, path: &Bytes) -> Outcome<PathBuf> {
    let path = PathBuf::from(OsString::from_vec(path.to_vec()));
    if path.is_absolute() && path.as_os_str().len() <= PATH_BYTES_MAX {
        return Ok(path);
    }
    Err(Fault::invalid(format!("{field} is no absolute path")))
}

impl From<answer::What> for Answer {
    fn from(what: answer::What) -> Self {
        Self { what: Some(what) }
    }
}

impl From<call::What> for Call {
    fn from(what: call::What) -> Self {
        Self { what: Some(what) }
    }
}

impl From<&SeatReport> for Report {
    fn from(report: &SeatReport) -> Self {
        let facts = &report.facts;
        let notes = facts.notes.iter().take(NOTES_MAX);
        Self {
            sandbox: report.sandbox.to_string(),
            state: state_out(report.state).into(),
            isolation: facts.isolation.map(|it| isolation_out(it).into()),
            raw_state: facts.raw_state.as_deref().map(|it| cut(it, LABEL_BYTES_MAX).to_owned()),
            capabilities: capabilities_out(&facts.capabilities),
            notes: notes.map(|it| cut(it, LINE_BYTES_MAX).to_owned()).collect(),
            sessions: sessions_out(&report.sessions),
            asks: report.asks.iter().take(ASKS_PENDING_MAX).map(Into::into).collect(),
            tells: report.tells,
        }
    }
}

impl TryFrom<Report> for SeatReport {
    type Error = Fault;

    fn try_from(wire: Report) -> Outcome<Self> {
        let notes = wire.notes.iter().take(NOTES_MAX).map(|it| shown(it, LINE_BYTES_MAX));
        let mut notes = notes.collect();
        let sessions = sessions_in(wire.sessions, &mut notes);
        Ok(Self {
            sandbox: convert::sandbox_id(&wire.sandbox)?,
            state: state_in(wire.state).unwrap_or(State::Unknown),
            facts: PlaceFacts {
                isolation: wire.isolation.and_then(isolation_in),
                raw_state: wire.raw_state.map(|it| shown(&it, LABEL_BYTES_MAX)),
                // The report's own state has it.
                state: None,
                capabilities: capabilities_in(wire.capabilities)?,
                notes,
            },
            sessions,
            asks: entries_in(wire.asks),
            tells: wire.tells,
        })
    }
}

/// Writes what a seat tells.
pub fn event_out(event: &SeatEvent) -> Answer {
    match event {
        SeatEvent::Report(report) => answer::What::Report(report.as_ref().into()),
        SeatEvent::Said { session, fact } => {
            answer::What::Said(Said { session: session.to_string(), fact: Some(fact.into()) })
        }
        SeatEvent::Gone { reason } => {
            answer::What::Gone(Gone { reason: cut(reason, LINE_BYTES_MAX).to_owned() })
        }
        SeatEvent::Lost { fault } => answer::What::Fault(fault.into()),
    }
    .into()
}

/// Reads what a seat tells; `None` for what this version does not know.
pub fn event_in(what: answer::What) -> Outcome<Option<SeatEvent>> {
    Ok(match what {
        answer::What::Report(report) => Some(SeatEvent::Report(Box::new(report.try_into()?))),
        answer::What::Said(said) => {
            let session = convert::session_id(&said.session)?;
            convert::event::fact_in(said.fact).map(|fact| SeatEvent::Said { session, fact })
        }
        answer::What::Gone(gone) => {
            Some(SeatEvent::Gone { reason: shown(&gone.reason, LINE_BYTES_MAX) })
        }
        answer::What::Fault(fault) => Some(SeatEvent::Lost { fault: fault.into() }),
        _ => None,
    })
}
