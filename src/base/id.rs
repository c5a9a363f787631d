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

/// Which of several hubs something is of. Numbers count up and none is given twice, so that what was drawn of a hub
/// that went away is never taken for another's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubNumber(pub u32);

impl HubNumber {
    /// The only hub there is, or the first of several: its ids bear no mark.
    pub const FIRST: Self = Self(0);
}

/// Parts the mark of a hub from what that hub calls a thing. No id from outside has one in it.
const MARK: char = '@';

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

            /// The same as one of that hub's, which no id from outside can be taken for.
            #[must_use]
            pub fn of_hub(self, hub: HubNumber) -> Self {
                if hub == HubNumber::FIRST { self } else { Self(format!("{}{MARK}{}", hub.0, self.0)) }
            }

            /// Whose it is.
            pub fn hub(&self) -> HubNumber {
                let mark = self.0.split_once(MARK).and_then(|it| it.0.parse().ok());
                mark.map_or(HubNumber::FIRST, HubNumber)
            }

            /// As its hub calls it.
            #[must_use]
            pub fn at_home(&self) -> Self {
                Self(self.0.split_once(MARK).map_or(self.0.as_str(), |it| it.1).to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_hub_is_taken_off_again_and_can_t_come_from_outside() {
        let id = SandboxId::parse("box-1").unwrap();
        let (first, third) = (id.clone().of_hub(HubNumber::FIRST), id.clone().of_hub(HubNumber(3)));
        assert_eq!((first.hub(), &first), (HubNumber::FIRST, &id));
        assert_eq!((third.hub(), third.at_home()), (HubNumber(3), id.clone()));
        assert_ne!(third, id);
        for forged in ["3@box-1", "@box-1", "0@box-1", "3@", "@"] {
            assert_eq!(SandboxId::parse(forged), None, "{forged}");
        }
        assert_eq!(SandboxId::parse(third.as_str()), None);
    }
}
