//! Bytes that are no text, as git puts them into a patch: named by their hash, written in base 85 of
//! a zlib stream. The stream only stores: a patch is on its way from one program to the next.

/// Bytes in a line, and in a stored block.
const LINE_BYTES: usize = 52;
const BLOCK_BYTES: usize = 0xffff;
const DIGITS: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

/// How git names a file's contents; `git apply` checks by it what it changes, and what it made.
pub(super) fn id(content: &[u8]) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(format!("blob {}\0", content.len()).as_bytes());
    hash.update(content);
    hash.digest().to_string()
}

/// How git names what is not there.
pub(super) fn no_id() -> String {
    "0".repeat(40)
}

/// The contents as a literal, ended by an empty line.
pub(super) fn literal(content: &[u8]) -> Vec<u8> {
    let mut out = format!("literal {}\n", content.len()).into_bytes();
    for line in stored(content).chunks(LINE_BYTES) {
        let length = line.len() as u8;
        out.push(if length <= 26 { b'A' + length - 1 } else { b'a' + length - 27 });
        line.chunks(4).for_each(|it| out.extend(digits(it)));
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}

/// Up to four bytes as five digits; those that are missing are zero.
fn digits(bytes: &[u8]) -> [u8; 5] {
    let padded = bytes.iter().copied().chain(std::iter::repeat(0)).take(4);
    let mut number = padded.fold(0_u32, |all, it| all << 8 | u32::from(it));
    let mut out = [b'0'; 5];
    for digit in out.iter_mut().rev() {
        *digit = DIGITS.get((number % 85) as usize).copied().unwrap_or(b'0');
        number /= 85;
    }
    out
}

/// A zlib stream of blocks that are not compressed.
fn stored(content: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let count = content.len().div_ceil(BLOCK_BYTES).max(1);
    for at in 0..count {
        let block = content.chunks(BLOCK_BYTES).nth(at).unwrap_or_default();
        let length = block.len() as u16;
        out.push(u8::from(at + 1 == count));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend(adler(content).to_be_bytes());
    out
}

/// The checksum at the end of a zlib stream.
fn adler(content: &[u8]) -> u32 {
    const PRIME: u32 = 65_521;
    /// So many bytes can't make a sum overflow.
    const RUN: usize = 5_000;
    let (mut low, mut high) = (1_u32, 0_u32);
    for run in content.chunks(RUN) {
        for byte in run {
            low += u32::from(*byte);
            high += low;
        }
        low %= PRIME;
        high %= PRIME;
    }
    high << 16 | low
}
