//! The last bytes of an endless stream, addressed by their absolute offset.

use std::collections::VecDeque;

/// Keeps at most `capacity` bytes; a byte's offset never changes, old ones fall off the front.
#[derive(Debug)]
pub struct Ring {
    bytes: VecDeque<u8>,
    capacity: usize,
    end: u64,
}

impl Ring {
    /// An empty ring whose first byte will have offset `start`.
    pub fn starting_at(start: u64, capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), capacity: capacity.max(1), end: start }
    }

    /// Appends; keeps only the newest `capacity` bytes.
    pub fn push(&mut self, data: &[u8]) {
        self.end += data.len() as u64;
        let keep = data.get(data.len().saturating_sub(self.capacity)..).unwrap_or_default();
        let excess = (self.bytes.len() + keep.len()).saturating_sub(self.capacity);
        self.bytes.drain(..excess);
        self.bytes.extend(keep);
    }

    /// Offset of the oldest byte kept.
    pub fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// Offset one past the newest byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Copies up to `most` bytes from `offset`; `None` when that byte is gone or not there yet.
    pub fn read(&self, offset: u64, most: usize) -> Option<Vec<u8>> {
        if offset < self.start() || offset > self.end {
            return None;
        }
        let from = usize::try_from(offset - self.start()).ok()?;
        let to = from.saturating_add(most).min(self.bytes.len());
        let (front, back) = self.bytes.as_slices();
        let mut out = Vec::with_capacity(to - from);
        if from < front.len() {
            out.extend_from_slice(front.get(from..to.min(front.len()))?);
        }
        if to > front.len() {
            out.extend_from_slice(back.get(from.max(front.len()) - front.len()..to - front.len())?);
        }
        Some(out)
    }
}
