//! A value that no log line can show, and that leaves no copy of itself behind.

use zeroize::Zeroizing;

/// What is to be a credential once all of it was read. Its memory is wiped when it is dropped.
pub type SecretBytes = Zeroizing<Vec<u8>>;

/// Holds a credential; `Debug` prints a fixed word and there is no `Display`. Its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns the credential, for the one line that hands it over.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
