//! Room for what somebody else made and is written to disk here: it stays within a bound, and leaves the disk some.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::fs::fstatvfs;

use crate::base::{
    limits::{UNPACKED_DISK_FREE_BYTES_MIN, UNPACKED_DISK_LOOKED_AT_EVERY_BYTES},
    units::human_bytes,
};

pub struct Room {
    on: OwnedFd,
    most: u64,
    bytes: u64,
    looked_at: u64,
}

impl Room {
    /// Room for so many bytes on the disk of a directory or file.
    pub fn of(on: BorrowedFd<'_>, most: u64) -> io::Result<Self> {
        Ok(Self { on: on.try_clone_to_owned()?, most, bytes: 0, looked_at: 0 })
    }

    /// So much more is about to be written.
    pub fn take(&mut self, bytes: u64) -> io::Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.most {
            let words = format!("more than {} when unpacked", human_bytes(self.most));
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        if self.bytes >= self.looked_at {
            self.looked_at = self.bytes + UNPACKED_DISK_LOOKED_AT_EVERY_BYTES;
            let disk = fstatvfs(&self.on)?;
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free < UNPACKED_DISK_FREE_BYTES_MIN {
                let words = format!(
                    "unpacking it would fill the disk: {} are written, {} are free",
                    human_bytes(self.bytes),
                    human_bytes(free)
                );
                return Err(io::Error::new(io::ErrorKind::StorageFull, words));
            }
        }
        Ok(())
    }
}
