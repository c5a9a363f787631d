//! Names of contents by SHA-256, and streams that know theirs.

use std::{
    cell::RefCell,
    io::{self, Read},
    rc::Rc,
};

use sha2::{Digest as _, Sha256};

const HEX_CHARS: usize = 64;

/// The sum of some contents, in 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Digest(String);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_sum(Sha256::digest(bytes).as_slice())
    }

    fn from_sum(sum: &[u8]) -> Self {
        Self(sum.iter().map(|it| format!("{it:02x}")).collect())
    }

    /// From the digits alone.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
        (digits && text.len() == HEX_CHARS).then(|| Self(text.to_owned()))
    }

    /// As OCI writes it; `None` also for sums of other kinds.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_hex(text.strip_prefix("sha256:")?)
    }

    pub fn hex(&self) -> &str {
        &self.0
    }
}

/// A sum that grows while somebody else reads.
#[derive(Clone, Default)]
pub struct Sum(Rc<RefCell<Sha256>>);

impl Sum {
    pub fn digest(&self) -> Digest {
        Digest::from_sum(self.0.borrow().clone().finalize().as_slice())
    }
}

/// Adds all that is read to a sum.
pub struct Summed<R> {
    inner: R,
    sum: Sum,
}

impl<R: Read> Summed<R> {
    pub fn new(inner: R, sum: &Sum) -> Self {
        Self { inner, sum: sum.clone() }
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sum.0.borrow_mut().update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_known_by_its_digits() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").hex(), empty);
        assert_eq!(Digest::parse(&format!("sha256:{empty}")), Some(Digest::of(b"")));
        assert_eq!(Digest::parse(empty), None);
        assert_eq!(Digest::parse("sha256:../../../etc"), None);
        assert_eq!(Digest::from_hex(&empty.to_uppercase()), None);
        let sum = Sum::default();
        let mut read = Vec::new();
        Summed::new(&b"hello"[..], &sum).read_to_end(&mut read).unwrap();
        assert_eq!(sum.digest(), Digest::of(b"hello"));
    }
}
