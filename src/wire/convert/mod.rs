//! The only place where bytes from outside become model values, and back.
//!
//! `TryFrom` a message checks every string, list and number against `base::limits` and names the field
//! it refuses; `From` a model value keeps to the same bounds, cutting what is only for show. In a
//! request an unknown enum value is refused; in an answer it becomes the value that promises least.
/// Pairs each of our variants with the wire's; the unspecified one has no partner.
macro_rules! enums {
    ($($into:ident, $outof:ident: $ours:ident = $theirs:ident { $($variant:ident,)* })*) => {$(
        pub(in crate::wire) fn $into(value: $ours) -> crate::wire::v1::$theirs {
            match value { $($ours::$variant => crate::wire::v1::$theirs::$variant,)* }
        }

        /// `None` for an unset value or one of a newer version.
        pub(in crate::wire) fn $outof(wire: i32) -> Option<$ours> {
            match crate::wire::v1::$theirs::try_from(wire) {
                $(Ok(crate::wire::v1::$theirs::$variant) => Some($ours::$variant),)*
                Ok(crate::wire::v1::$theirs::Unspecified) | Err(_) => None,
            }
        }
    )*};
}

pub mod access;
pub mod ask;
pub mod audit;
pub mod change;
pub mod event;
pub mod file;
pub mod foreign;
pub mod gauge;
pub mod history;
pub mod hub;
pub mod output;
pub mod sandbox;
pub mod rule;
mod ruled;
pub mod secret;
pub mod session;
pub mod snapshot;
pub mod status;
mod syscall;
pub mod timeline;
mod traffic;

use std::time::Duration;

use super::v1;
use crate::base::{
    clock::Timestamp,
    fault::{Fault, Outcome},
    limits::WIRE_MESSAGE_BYTES_MAX,
    text::{cut, shown},
};

/// Refuses a message that is too large to be sent, before half of it is.
pub fn fits<M: prost::Message>(what: &str, message: M) -> Outcome<M> {
    let bytes = message.encoded_len();
    if bytes <= WIRE_MESSAGE_BYTES_MAX {
        return Ok(message);
    }
    Err(Fault::invalid(format!("{what} is longer than {WIRE_MESSAGE_BYTES_MAX} bytes: {bytes}")))
}

/// Takes a message that must be there.
pub fn required<T>(field: &str, value: Option<T>) -> Outcome<T> {
    value.ok_or_else(|| Fault::invalid(format!("missing: {field}")))
}

/// Reads one entry of many. One that can't be read costs itself and not the others; the log says so.
pub fn entry_in<W, T: TryFrom<W, Error = Fault>>(wire: W) -> Option<T> {
    T::try_from(wire).inspect_err(|fault| tracing::warn!(%fault, "an entry is left out")).ok()
}

/// Takes a string of at most `most` bytes.
fn text(field: &str, value: String, most: usize) -> Outcome<String> {
    if value.len() <= most {
        return Ok(value);
    }
    Err(Fault::invalid(format!("{field} is longer than {most} bytes: {}", value.len())))
}

/// Takes a list of at most `most` entries.
fn list<T>(field: &str, value: Vec<T>, most: usize) -> Outcome<Vec<T>> {
    if value.len() <= most {
        return Ok(value);
    }
    Err(Fault::invalid(format!("{field} has more than {most} entries: {}", value.len())))
}

/// Takes bytes of at most `most`.
fn blob(field: &str, value: bytes::Bytes, most: usize) -> Outcome<bytes::Bytes> {
    if value.len() <= most {
        return Ok(value);
    }
    Err(Fault::invalid(format!("{field} is longer than {most} bytes: {}", value.len())))
}

/// Takes an id by its type's own rule.
macro_rules! ids {
    ($($name:ident: $type:ident;)*) => {$(
        pub fn $name(text: &str) -> Outcome<crate::base::id::$type> {
            crate::base::id::$type::parse(text).ok_or_else(|| {
                Fault::invalid(format!(concat!("not an id of a ", stringify!($name), ": {}"), shown(text, 64)))
            })
        }
    )*};
}
ids! {
    sandbox_id: SandboxId;
    session_id: SessionId;
    snapshot_id: SnapshotId;
    ask_id: AskId;
    client_id: ClientId;
}

/// Writes a duration in whole milliseconds, at least 1 unless it is zero.
pub fn milliseconds(duration: Duration) -> u64 {
    let whole = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    whole.max(u64::from(!duration.is_zero()))
}

/// Takes a duration of at most `most`.
pub fn duration(field: &str, milliseconds: u64, most: Duration) -> Outcome<Duration> {
    let value = Duration::from_millis(milliseconds);
    if value <= most {
        return Ok(value);
    }
    Err(Fault::invalid(format!("{field} is longer than {} s", most.as_secs())))
}

fn stamp(at: Option<i64>) -> Option<Timestamp> {
    at.map(Timestamp)
}

/// A command as it is listed: whole arguments as long as they fit, the last one cut.
fn shown_command(command: &[String]) -> Vec<String> {
    let mut left = crate::base::limits::COMMAND_SHOWN_BYTES_MAX;
    let mut out = Vec::new();
    for argument in command.iter().take(left) {
        if left == 0 {
            break;
        }
        let kept = cut(argument, left);
        left = left.saturating_sub(kept.len() + 1);
        out.push(kept.to_owned());
        if kept.len() < argument.len() {
            break;
        }
    }
    out
}

fn pairs_out<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Vec<v1::Pair> {
    pairs
        .into_iter()
        .map(|(key, value)| v1::Pair { key: key.clone(), value: value.clone() })
        .collect()
}
