//! Appends one session's output to its segments and keeps them within their bound. A disk that
//! can't be written pauses the journal, never the session; one that does not answer does hold it up.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;

use super::{
    lock::Lock,
    record::{self, MAGIC, Record},
    segment,
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        limits::{JOURNAL_RETRY_AFTER, JOURNAL_SEGMENT_BYTES},
        units::Size,
    },
    model::session::ExitStatus,
};

/// The one writer of a session's directory. Every record is handed to the kernel before the call
/// returns: a killed process loses nothing, and readers in other processes see it at once.
pub struct Writer {
    dir: PathBuf,
    /// Held as long as this lives: tells others that the recording is not finished.
    _lock: Lock,
    bytes_max: u64,
    open: Option<Open>,
    /// Finished segments, oldest first: first offset and size on disk.
    finished: VecDeque<(u64, u64)>,
    /// Offset one past the newest byte given to this writer, journalled or lost.
    end: u64,
    /// Bytes not journalled so far, and of those the ones no segment has told of yet.
    lost: u64,
    lost_untold: u64,
    /// When writing last failed, and why; `None` while all is well.
    failed: Option<(Duration, Fault)>,
    /// Reused for every record.
    buffer: Vec<u8>,
}

struct Open {
    file: File,
    start: u64,
    /// Good bytes in the file: a failed write is cut off behind them.
    length: u64,
    /// Of them, those of the opening keyframe, which do not count towards a full segment.
    opening: u64,
}

impl Writer {
    /// Takes the directory, made if need be; the first `keyframe` opens the first segment. A torn
    /// tail of an earlier writer is cut off.
    pub fn create(dir: &Path, bytes_max: u64) -> Outcome<Self> {
        let doing = |it| Fault::io(format!("making {}", dir.display()), &it);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(doing)?;
        let lock = Lock::take(dir)?;
        let mut writer = Self {
            dir: dir.to_owned(),
            _lock: lock,
            bytes_max,
            open: None,
            finished: VecDeque::new(),
            end: 0,
            lost: 0,
            lost_untold: 0,
            failed: None,
            buffer: Vec::new(),
        };
        for found in segment::list(dir)? {
            writer.finished.push_back((found.start, found.bytes));
        }
        if let Some((start, _)) = writer.finished.pop_back() {
            let (end, good) = segment::mend(dir, start)?;
            writer.end = end;
            writer.finished.push_back((start, good));
        }
        Ok(writer)
    }

    /// Offset one past the newest byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Why nothing is written right now.
    pub fn failure(&self) -> Option<&Fault> {
        self.failed.as_ref().map(|(_, fault)| fault)
    }

    /// Tells that the next thing written should be a keyframe: the segment is full, there is none
    /// yet, or the disk may be tried again.
    pub fn wants_keyframe(&self) -> bool {
        match (&self.open, &self.failed) {
            (Some(open), _) => open.length - open.opening >= JOURNAL_SEGMENT_BYTES,
            (None, Some((at, _))) => clock::monotonic().saturating_sub(*at) >= JOURNAL_RETRY_AFTER,
            (None, None) => true,
        }
    }

    /// Opens a new segment at the current end with the screen as it is there.
    pub fn keyframe(&mut self, at: Timestamp, size: Size, state: Bytes) {
        self.close();
        let path = segment::path(&self.dir, self.end);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend_from_slice(&MAGIC);
        record::encode(&mut buffer, at, &Record::Keyframe { size, state });
        if self.lost_untold > 0 {
            record::encode(&mut buffer, at, &Record::Lost(self.lost_untold));
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut replaced = false;
        let written = options.open(&path).and_then(|mut file| {
            replaced = true;
            file.write_all(&buffer).map(|()| file).inspect_err(|_| {
                drop(fs::remove_file(&path));
            })
        });
        if replaced {
            // One that was closed without a byte of output had the same name.
            self.finished.retain(|it| it.0 != self.end);
        }
        match written {
            Ok(file) => {
                let length = buffer.len() as u64;
                self.open = Some(Open { file, start: self.end, length, opening: length });
                self.lost_untold = 0;
                self.failed = None;
            }
            Err(error) => self.fail(&error),
        }
        // A keyframe may be large; what is kept for the next records need not be.
        buffer.clear();
        buffer.shrink_to(2 * crate::base::limits::PTY_CHUNK_BYTES_MAX);
        self.buffer = buffer;
        self.drop_oldest();
    }

    /// Appends output; what can't be written is counted as lost.
    pub fn output(&mut self, at: Timestamp, bytes: &[u8]) {
        self.buffer.clear();
        record::encode_output(&mut self.buffer, at, bytes);
        let written = self.append();
        self.end += bytes.len() as u64;
        if !written {
            self.lost += bytes.len() as u64;
            self.lost_untold += bytes.len() as u64;
        }
    }

    pub fn resize(&mut self, at: Timestamp, size: Size) {
        self.small(at, &Record::Resize(size));
    }

    pub fn exit(&mut self, at: Timestamp, status: ExitStatus) {
        self.small(at, &Record::Exit(status));
    }

    fn small(&mut self, at: Timestamp, record: &Record) {
        self.buffer.clear();
        record::encode(&mut self.buffer, at, record);
        self.append();
    }

    /// Writes the buffer; on failure cuts off what was written of it and pauses.
    fn append(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        match open.file.write_all(&self.buffer) {
            Ok(()) => {
                open.length += self.buffer.len() as u64;
                true
            }
            Err(error) => {
                // If even this fails, the checksum stops every reader at the same place.
                drop(open.file.set_len(open.length));
                self.close();
                self.fail(&error);
                false
            }
        }
    }

    fn fail(&mut self, error: &std::io::Error) {
        let fault = Fault::io(format!("journaling to {}", self.dir.display()), error);
        self.failed = Some((clock::monotonic(), fault));
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.finished.push_back((open.start, open.length));
        }
    }

    /// Removes the oldest segments until the rest fits the bound. The open one always stays.
    fn drop_oldest(&mut self) {
        let open = self.open.as_ref().map_or(0, |it| it.length);
        let mut total: u64 = open + self.finished.iter().map(|it| it.1).sum::<u64>();
        while total + JOURNAL_SEGMENT_BYTES > self.bytes_max {
            let Some((start, bytes)) = self.finished.pop_front() else { return };
            drop(fs::remove_file(segment::path(&self.dir, start)));
            total -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_without_output_that_could_not_be_written_is_not_dropped_for_the_one_in_its_place()
    {
        let temp = tempfile::tempdir().unwrap();
        let (now, size) = (clock::wall(), Size::DEFAULT);
        let opening = || Bytes::from(vec![b'x'; 400 * 1024]);
        let mut writer = Writer::create(temp.path(), 2 * JOURNAL_SEGMENT_BYTES).unwrap();
        writer.keyframe(now, size, opening());
        // A resize that can't be written, before anything was printed.
        let path = segment::path(temp.path(), 0);
        writer.open.as_mut().unwrap().file = File::open(&path).unwrap();
        writer.resize(now, size);
        assert!(writer.failure().is_some());
        for _ in 0..4 {
            writer.keyframe(now, size, opening());
            assert_eq!(writer.failure(), None);
            assert!(path.exists(), "the segment that is written to is there");
            writer.open.as_mut().unwrap().file = File::open(&path).unwrap();
            writer.resize(now, size);
        }
        assert_eq!(writer.finished.len(), 1);
    }
}
