//! Two keys after each other that the other side takes for the wish to let go of the terminal: they are kept apart.

use crate::driver::openshell::remote::Remote;

/// ctrl-p ctrl-q: the other side takes it for the wish to be let go.
const LET_GO: [u8; 2] = [0x10, 0x11];

/// Keeps two keys apart that would let go of the terminal.
#[derive(Default)]
pub struct Guard {
    first: bool,
}

impl Guard {
    pub fn pass(&mut self, bytes: &[u8], remote: &Remote) -> Vec<u8> {
        let passed = self.filter(bytes);
        if passed.len() < bytes.len() {
            remote
                .log
                .say("ctrl-q right after ctrl-p lets go of the terminal there, and was not sent");
        }
        passed
    }

    fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for it in bytes {
            if self.first && *it == LET_GO[1] {
                continue;
            }
            self.first = *it == LET_GO[0];
            out.push(*it);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_keys_that_let_go_never_follow_each_other() {
        let mut guard = Guard::default();
        assert_eq!(guard.filter(b"a\x10\x11\x11b\x11"), b"a\x10b\x11");
        assert_eq!(guard.filter(b"\x10"), b"\x10");
        assert_eq!(guard.filter(b"\x11"), b"");
        assert_eq!(guard.filter(b"\x10x\x11"), b"\x10x\x11");
    }
}
