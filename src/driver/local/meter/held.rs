//! Files of the kernel's that are read again and again. Each is opened once and read from its beginning, which spares the
//! way to it: that takes longer than the reading.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::{
    buffer::spare_capacity,
    fs::{Mode, OFlags},
    io::{Errno, pread},
};

/// One of them, open.
pub struct Held(OwnedFd);

impl Held {
    pub fn open(path: &Path) -> io::Result<Self> {
        let how = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, how, Mode::empty())?))
    }

    /// What is in it by now, at most so many bytes of it. Of what is gone it is an error.
    pub fn read(&self, into: &mut Vec<u8>, most: usize) -> io::Result<()> {
        const AT_ONCE: usize = 2048;
        into.clear();
        while into.len() < most {
            into.reserve(AT_ONCE);
            let from = into.len() as u64;
            match pread(&self.0, spare_capacity(into), from) {
                Ok(0) => break,
                // Most are told in one call, and what leaves room was all of it.
                Ok(count) if count < AT_ONCE / 2 && into.len() == count => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        into.truncate(most);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_in_it_is_read_anew_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut read = Vec::new();
        for length in [0, 1, 1000, 1024, 2048, 5000] {
            fs::write(&path, vec![b'x'; length]).unwrap();
            let held = Held::open(&path).unwrap();
            for _ in 0..2 {
                held.read(&mut read, 4096).unwrap();
                assert_eq!(read.len(), length.min(4096));
            }
            fs::write(&path, "y").unwrap();
            held.read(&mut read, 4096).unwrap();
            assert_eq!(read, b"y");
        }
        assert!(Held::open(&dir.path().join("none")).is_err());
    }

    #[test]
    fn of_a_process_that_is_gone_nothing_is_read() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let held = Held::open(Path::new(&format!("/proc/{}/stat", child.id()))).unwrap();
        let mut read = Vec::new();
        held.read(&mut read, 4096).unwrap();
        assert!(read.starts_with(child.id().to_string().as_bytes()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(held.read(&mut read, 4096).is_err());
    }
}
