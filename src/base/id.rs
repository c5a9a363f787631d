//! Identifiers as newtypes: an id of one thing can't be passed for another.

use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const RANDOM_CHARS: usize = 12; // 60 bits: no collision expected below a billion ids

/// Bytes that nobody can guess.
pub fn random_bytes<const COUNT: usize>() -> [u8; COUNT] {
    let mut bytes = [0_u8; COUNT];
    let mut filled = 0;
    while filled < bytes.len() {
        // Blocks only before the kernel's pool is first seeded; never fails for such sizes.
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    bytes
}

fn random_text() -> String {
    random_bytes::<RANDOM_CHARS>()
        .iter()
        .map(|byte| ALPHABET.get(usize::from(byte & 31)).map_or('0', |it| char::from(*it)))
        .collect()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Longest accepted id, in bytes.
            pub const BYTES_MAX: usize = 64;

            pub fn random() -> Self {
                Self(random_text())
            }

            /// Takes an id from outside: 1 to 64 of `[a-z0-9-_.]`, not starting with a dot, so
            /// that it is safe as a file name; `None` otherwise.
            pub fn parse(text: &str) -> Option<Self> {
                let fits = !text.is_empty() && text.len() <= Self::BYTES_MAX;
                let plain = text.bytes().all(|it| {
                    it.is_ascii_lowercase() || it.is_ascii_digit() || b"-_.".contains(&it)
                });
                (fits && plain && !text.starts_with('.')).then(|| Self(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// Names one sandbox for ever; never reused.
    SandboxId;
    /// Names one session (one program on one PTY) for ever; also names its recording.
    SessionId;
    /// Names one snapshot for ever; never reused.
    SnapshotId;
    /// Names one ask for ever; never reused.
    AskId;
    /// Names one console or command-line process that talks to a hub.
    ClientId;
    /// Names somebody who comes to a hub from elsewhere, for ever; never reused.
    MemberId;
}
