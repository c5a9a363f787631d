//! The format of a segment: a magic, then records of {kind, time, length, checksum, payload}. It
//! neither reads nor writes files.

use bytes::Bytes;

use crate::{
    base::{clock::Timestamp, limits::KEYFRAME_BYTES_MAX, units::Size},
    model::session::ExitStatus,
};

/// First bytes of every segment; the last one is the version of the format.
pub const MAGIC: [u8; 8] = *b"swseg\0\0\x01";
/// kind 1, time 8, length 4, checksum 4.
pub const HEADER_BYTES: usize = 17;

/// One entry of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Bytes as the program printed them.
    Output(Bytes),
    Resize(Size),
    /// The whole screen at this place; opens every segment.
    Keyframe {
        size: Size,
        state: Bytes,
    },
    /// This many bytes before this segment could not be written.
    Lost(u64),
    Exit(ExitStatus),
}

/// What is at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A good record and the bytes it took; `None` for a kind of a newer version.
    Whole(Timestamp, Option<Record>, usize),
    /// At least this many bytes are needed.
    Short(usize),
    /// A wrong checksum or length: nothing from here on can be trusted.
    Damaged,
}

/// Appends one record to `out`.
pub fn encode(out: &mut Vec<u8>, at: Timestamp, record: &Record) {
    let start = out.len();
    let kind = match record {
        Record::Output(_) => 1,
        Record::Resize(_) => 2,
        Record::Keyframe { .. } => 3,
        Record::Lost(_) => 4,
        Record::Exit(_) => 5,
    };
    encode_header(out, kind, at);
    match record {
        Record::Output(bytes) => out.extend_from_slice(bytes),
        Record::Resize(size) => encode_size(out, *size),
        Record::Keyframe { size, state } => {
            encode_size(out, *size);
            out.extend_from_slice(state);
        }
        Record::Lost(bytes) => out.extend_from_slice(&bytes.to_le_bytes()),
        Record::Exit(status) => {
            let (tag, value) = match status {
                ExitStatus::Code(code) => (0_u8, *code),
                ExitStatus::Signal(signal) => (1, *signal),
            };
            out.push(tag);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
    seal(out, start);
}

/// Appends an output record without first copying its bytes into a `Record`.
pub fn encode_output(out: &mut Vec<u8>, at: Timestamp, bytes: &[u8]) {
    let start = out.len();
    encode_header(out, 1, at);
    out.extend_from_slice(bytes);
    seal(out, start);
}

fn encode_header(out: &mut Vec<u8>, kind: u8, at: Timestamp) {
    out.push(kind);
    out.extend_from_slice(&at.0.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
}

fn encode_size(out: &mut Vec<u8>, size: Size) {
    out.extend_from_slice(&size.cols().to_le_bytes());
    out.extend_from_slice(&size.rows().to_le_bytes());
}

/// Fills in length and checksum of the record that starts at `start`.
fn seal(out: &mut [u8], start: usize) {
    let Some(record) = out.get_mut(start..) else { return };
    let Some((header, payload)) = record.split_first_chunk_mut::<HEADER_BYTES>() else { return };
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    header[9..13].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(checksum(0, &header[..13]), payload);
    header[13..].copy_from_slice(&sum.to_le_bytes());
}

/// Reads the record at the front of `bytes`.
pub fn decode(bytes: &[u8]) -> Decoded {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Decoded::Short(HEADER_BYTES);
    };
    let [kind, t0, t1, t2, t3, t4, t5, t6, t7, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > KEYFRAME_BYTES_MAX + 4 {
        return Decoded::Damaged;
    }
    let Some(payload) = rest.get(..length) else {
        return Decoded::Short(HEADER_BYTES + length);
    };
    let sum = checksum(checksum(0, &header[..13]), payload);
    if sum != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Decoded::Damaged;
    }
    let at = Timestamp(i64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]));
    Decoded::Whole(at, decode_payload(kind, payload), HEADER_BYTES + length)
}

fn decode_payload(kind: u8, payload: &[u8]) -> Option<Record> {
    match kind {
        1 => Some(Record::Output(Bytes::copy_from_slice(payload))),
        2 => Some(Record::Resize(decode_size(payload)?.0)),
        3 => {
            let (size, state) = decode_size(payload)?;
            Some(Record::Keyframe { size, state: Bytes::copy_from_slice(state) })
        }
        4 => Some(Record::Lost(u64::from_le_bytes(payload.try_into().ok()?))),
        5 => {
            let (tag, value) = payload.split_first()?;
            let value = i32::from_le_bytes(value.try_into().ok()?);
            Some(Record::Exit(match tag {
                0 => ExitStatus::Code(value),
                _ => ExitStatus::Signal(value),
            }))
        }
        _ => None,
    }
}

fn decode_size(payload: &[u8]) -> Option<(Size, &[u8])> {
    let ([c0, c1, r0, r1], rest) = payload.split_first_chunk::<4>()?;
    let (cols, rows) = (u16::from_le_bytes([*c0, *c1]), u16::from_le_bytes([*r0, *r1]));
    Some((Size::clamped(cols, rows), rest))
}

/// Tables for eight bytes at a time; one byte at a time would cost as much as the screen does.
static TABLES: [[u32; 256]; 8] = tables();

#[expect(clippy::indexing_slicing, reason = "constant indices, checked when compiled")]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0_u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let previous = tables[table - 1][byte];
            tables[table][byte] = tables[0][(previous & 255) as usize] ^ (previous >> 8);
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// CRC-32 (the one of zip and gzip), continued from `before`.
fn checksum(before: u32, bytes: &[u8]) -> u32 {
    let look = |table: usize, value: u32| {
        let row = TABLES.get(table).map_or(&[0; 256], |it| it);
        row.get((value & 255) as usize).copied().unwrap_or_default()
    };
    let mut sum = !before;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let Some((low, high)) = chunk.split_first_chunk::<4>() else { continue };
        let Some(high) = high.first_chunk::<4>() else { continue };
        let (low, high) = (sum ^ u32::from_le_bytes(*low), u32::from_le_bytes(*high));
        sum = look(7, low)
            ^ look(6, low >> 8)
            ^ look(5, low >> 16)
            ^ look(4, low >> 24)
            ^ look(3, high)
            ^ look(2, high >> 8)
            ^ look(1, high >> 16)
            ^ look(0, high >> 24);
    }
    for byte in chunks.remainder() {
        sum = look(0, sum ^ u32::from(*byte)) ^ (sum >> 8);
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32() {
        assert_eq!(checksum(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(checksum(checksum(0, b"1234"), b"56789"), 0xcbf4_3926);
    }

    #[test]
    fn every_record_comes_back_as_it_was() {
        let size = Size::clamped(120, 40);
        for record in [
            Record::Output(Bytes::from_static(b"hello\xff")),
            Record::Resize(size),
            Record::Keyframe { size, state: Bytes::from_static(b"\x1b[H") },
            Record::Lost(7),
            Record::Exit(ExitStatus::Code(-1)),
            Record::Exit(ExitStatus::Signal(9)),
        ] {
            let mut bytes = Vec::new();
            encode(&mut bytes, Timestamp(5), &record);
            let whole = bytes.len();
            for cut in 0..whole {
                assert!(matches!(decode(&bytes[..cut]), Decoded::Short(_)));
            }
            assert_eq!(decode(&bytes), Decoded::Whole(Timestamp(5), Some(record), whole));
            for flip in 0..whole {
                let mut bad = bytes.clone();
                bad[flip] ^= 4;
                assert!(!matches!(decode(&bad), Decoded::Whole(..)), "byte {flip}");
            }
        }
    }
}
