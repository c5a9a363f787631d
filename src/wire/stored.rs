//! Model values at rest, in files and in the registry: the same messages as on the wire, so that
//! what one version wrote the next can read.

use prost::Message;

use super::v1;
use crate::{
    base::{
        fault::{Fault, Outcome},
        text::shown,
    },
    model::{
        ask::Ask,
        sandbox::{Sandbox, SandboxSpec},
        session::Session,
    },
};

macro_rules! stored {
    ($($(#[$doc:meta])* $to:ident, $from:ident: $ours:ident = $theirs:ident;)*) => {$(
        $(#[$doc])*
        pub fn $to(value: &$ours) -> Vec<u8> {
            v1::$theirs::from(value).encode_to_vec()
        }

        /// Reads it back; damaged bytes are a fault, never a guess.
        pub fn $from(bytes: &[u8]) -> Outcome<$ours> {
            let message = v1::$theirs::decode(bytes).map_err(|error| {
                Fault::failed(format!("damaged record: {}", shown(&error.to_string(), 200)))
            })?;
            $ours::try_from(message)
        }
    )*};
}
stored! {
    /// A sandbox with its sessions.
    sandbox_bytes, sandbox: Sandbox = Sandbox;
    /// What was asked for.
    spec_bytes, spec: SandboxSpec = SandboxSpec;
    /// One ask.
    ask_bytes, ask: Ask = Ask;
    /// One session.
    session_bytes, session: Session = Session;
}
