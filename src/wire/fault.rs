//! Faults as gRPC statuses and back: kind, message and hint survive, nothing else travels.

use prost::Message;
use tonic::{Code, Status};

use super::v1;
use crate::base::{
    fault::{Fault, Kind},
    limits::{FAULT_HINT_BYTES_MAX, FAULT_MESSAGE_BYTES_MAX},
    text::{cut, shown},
};

const FAULT_TYPE: &str = "type.googleapis.com/sandwatch.v1.Fault";

/// What gRPC tools expect in a status's details (google.rpc.Status).
#[derive(Clone, PartialEq, prost::Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    facts: Vec<Any>,
}

/// google.protobuf.Any.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl From<&Fault> for v1::Fault {
    fn from(fault: &Fault) -> Self {
        let kind = match fault.kind() {
            Kind::Denied => v1::FaultKind::Denied,
            Kind::Absent => v1::FaultKind::Absent,
            Kind::Unsupported => v1::FaultKind::Unsupported,
            Kind::Busy => v1::FaultKind::Busy,
            Kind::Lost => v1::FaultKind::Lost,
            Kind::Late => v1::FaultKind::Late,
            Kind::Invalid => v1::FaultKind::Invalid,
            Kind::Failed => v1::FaultKind::Failed,
            Kind::Bug => v1::FaultKind::Bug,
        };
        Self {
            kind: kind.into(),
            message: cut(fault.message(), FAULT_MESSAGE_BYTES_MAX).to_owned(),
            hint: fault.hint_text().map(|it| cut(it, FAULT_HINT_BYTES_MAX).to_owned()),
        }
    }
}

/// A fault from outside is itself never at fault: what is too long is cut, what is unknown is `Failed`.
impl From<v1::Fault> for Fault {
    fn from(wire: v1::Fault) -> Self {
        let kind = match wire.kind() {
            v1::FaultKind::Denied => Kind::Denied,
            v1::FaultKind::Absent => Kind::Absent,
            v1::FaultKind::Unsupported => Kind::Unsupported,
            v1::FaultKind::Busy => Kind::Busy,
            v1::FaultKind::Lost => Kind::Lost,
            v1::FaultKind::Late => Kind::Late,
            v1::FaultKind::Invalid => Kind::Invalid,
            v1::FaultKind::Failed | v1::FaultKind::Unspecified => Kind::Failed,
            v1::FaultKind::Bug => Kind::Bug,
        };
        let fault = Self::new(kind, shown(&wire.message, FAULT_MESSAGE_BYTES_MAX));
        match wire.hint {
            Some(hint) => fault.hint(shown(&hint, FAULT_HINT_BYTES_MAX)),
            None => fault,
        }
    }
}

fn code(kind: Kind) -> Code {
    match kind {
        Kind::Denied => Code::PermissionDenied,
        Kind::Absent => Code::NotFound,
        Kind::Unsupported => Code::FailedPrecondition,
        Kind::Busy => Code::ResourceExhausted,
        Kind::Lost => Code::Unavailable,
        Kind::Late => Code::DeadlineExceeded,
        Kind::Invalid => Code::InvalidArgument,
        Kind::Failed => Code::Aborted,
        Kind::Bug => Code::Internal,
    }
}

/// Packs a fault for the other side.
pub fn to_status(fault: &Fault) -> Status {
    let code = code(fault.kind());
    let wire = v1::Fault::from(fault);
    let message = wire.message.clone();
    let any = Any { type_url: FAULT_TYPE.to_owned(), value: wire.encode_to_vec() };
    let details = Details { code: code.into(), message: String::new(), facts: vec![any] };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// Tells whether a call ended because the connection did, or the hub; not because of a fault that the
/// hub told.
pub fn link_broke(status: &Status) -> bool {
    let told = packed(status.details()).is_some();
    match status.code() {
        Code::Unavailable | Code::Cancelled => !told,
        Code::Unknown | Code::Internal => !told && std::error::Error::source(status).is_some(),
        _ => false,
    }
}

/// Reads what the other side sent; a status that holds no fault (made by gRPC itself) is told by its
/// code.
pub fn from_status(status: &Status) -> Fault {
    if let Some(wire) = packed(status.details()) {
        return wire.into();
    }
    if link_broke(status) {
        return Fault::lost("the hub hung up").hint("sandwatch hub start");
    }
    let text = shown(status.message(), FAULT_MESSAGE_BYTES_MAX);
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => Fault::denied(text),
        Code::NotFound => Fault::absent(text),
        Code::Unimplemented => Fault::unsupported("the hub does not know this call")
            .hint("sandwatch hub stop, then try again; sandboxes keep running"),
        Code::ResourceExhausted => Fault::busy(text),
        Code::OutOfRange => Fault::invalid(format!("larger than a message may be: {text}")),
        Code::InvalidArgument => Fault::invalid(text),
        Code::DeadlineExceeded => Fault::late("the hub did not answer in time"),
        _ => Fault::failed(format!("the hub failed: {text}")),
    }
}

fn packed(details: &[u8]) -> Option<v1::Fault> {
    let details = Details::decode(details).ok()?;
    let any = details.facts.into_iter().find(|it| it.type_url == FAULT_TYPE)?;
    v1::Fault::decode(any.value.as_slice()).ok()
}
