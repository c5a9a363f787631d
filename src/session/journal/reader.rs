//! Walks a journal from segment to segment, while it grows and while old segments are dropped.

use std::path::{Path, PathBuf};

use super::segment::{self, Cursor, Entry};
use crate::base::fault::Outcome;

/// Reads records in order. Output that is not there any more shows as a jump of `Entry::offset`;
/// the first record after a jump is a keyframe.
pub struct Reader {
    dir: PathBuf,
    /// The segment being read: its first offset.
    segment: u64,
    cursor: Option<Cursor>,
}

impl Reader {
    /// Begins with the segment that has the byte `offset`, or with the oldest one there is.
    pub fn open(dir: &Path, offset: u64) -> Outcome<Self> {
        let segments = segment::list(dir)?;
        let holds = segments.iter().rev().find(|it| it.start <= offset).or(segments.first());
        let segment = holds.map_or(0, |it| it.start);
        let cursor = Cursor::open(dir, segment);
        Ok(Self { dir: dir.to_owned(), segment, cursor })
    }

    /// The next record; `None` at the end as it is now: call again once more was written.
    pub fn read(&mut self) -> Outcome<Option<Entry>> {
        loop {
            if let Some(entry) = self.cursor.as_mut().and_then(Cursor::read) {
                return Ok(Some(entry));
            }
            let newer = segment::list(&self.dir)?.into_iter().find(|it| match self.cursor {
                Some(_) => it.start > self.segment,
                None => it.start >= self.segment,
            });
            let Some(newer) = newer else { return Ok(None) };
            // Between the last look and the list the segment may have grown to its end.
            if let Some(entry) = self.cursor.as_mut().and_then(Cursor::read) {
                return Ok(Some(entry));
            }
            self.segment = newer.start;
            self.cursor = Cursor::open(&self.dir, newer.start);
            if self.cursor.is_none() {
                return Ok(None);
            }
        }
    }
}
