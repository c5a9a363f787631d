//! What lies on a shelf and nowhere else. Nothing on a shelf is written to, so it can be walked by paths; no link
//! is followed.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use crate::base::limits::SNAPSHOT_DEPTH_MAX;

/// Bytes on disk of files that are gone with this shelf: no other shelf and no sandbox shares them.
pub fn alone(shelf: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    walk(shelf, 0, &mut bytes)?;
    Ok(bytes)
}

fn walk(directory: &Path, depth: usize, bytes: &mut u64) -> io::Result<()> {
    // Two more than what is kept: where the volumes lie.
    if depth > SNAPSHOT_DEPTH_MAX + 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() {
            walk(&entry.path(), depth + 1, bytes)?;
        } else if found.is_file() && found.nlink() == 1 {
            *bytes = bytes.saturating_add(found.blocks().saturating_mul(512));
        }
    }
    Ok(())
}
