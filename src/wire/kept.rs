//! What a shim did not tell of what was decided at its way out, in a file of its directory: there a hub finds it when the shim
//! was killed. It is written as a whole or not at all, and may be from a second before the end.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use prost::Message;

use super::shim;
use crate::{base::limits::RULED_KEPT_BYTES_MAX, model::traffic::RuledKept};

const FILE: &str = "ruled";
const FRESH: &str = "ruled.new";

/// Puts it in place of what was there. Where the directory is on its way to be removed, it gets nothing new.
pub fn write(dir: &Path, kept: &RuledKept) -> io::Result<()> {
    let (file, fresh) = (dir.join(FILE), dir.join(FRESH));
    // Of one that was killed while it wrote.
    drop(fs::remove_file(&fresh));
    let mut how = OpenOptions::new();
    how.write(true).create_new(true).mode(0o600);
    how.open(&fresh)?.write_all(&shim::RuledKept::from(kept).encode_to_vec())?;
    fs::rename(fresh, file)
}

/// What is there; `None` where nothing is, or nothing that can be read.
pub fn read(dir: &Path) -> Option<RuledKept> {
    let file = dir.join(FILE);
    let plain = fs::symlink_metadata(&file).is_ok_and(|it| it.is_file());
    let file = fs::File::open(file).ok().filter(|_| plain)?;
    let mut bytes = Vec::new();
    file.take(RULED_KEPT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    shim::RuledKept::decode(bytes.as_slice()).ok().map(Into::into)
}

/// Takes it away, with the way out that it was of.
pub fn clear(dir: &Path) {
    drop(fs::remove_file(dir.join(FILE)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::traffic::RuledPart;

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), None);
        for number in [1, 2] {
            let told = RuledPart { gate: 7, number, left_out: (3, 4), ..RuledPart::default() };
            let kept = RuledKept { told, later: vec![RuledPart::default(); 3] };
            fs::write(dir.path().join(FRESH), "half").unwrap();
            write(dir.path(), &kept).unwrap();
            assert_eq!(read(dir.path()), Some(kept));
        }
        fs::write(dir.path().join(FILE), [0xff; 40]).unwrap();
        assert_eq!(read(dir.path()), None);
        clear(dir.path());
        assert!(write(&dir.path().join("gone"), &RuledKept::default()).is_err());
    }
}
