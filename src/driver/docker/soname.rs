//! By which name a library is looked for: files may be called otherwise, as those of older C libraries are. A file that is no
//! library of this machine's kind has none.

/// More of a file is not looked at, in entries of its tables.
const ENTRIES_MAX: usize = 1024;
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const STRING_TABLE: u64 = 5;
const NAME: u64 = 14;

/// The name that is written in a library of 64 bits in the order of bytes of this machine; `None` = it has none.
pub fn soname(file: &[u8]) -> Option<&str> {
    if !file.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let parts = parts(file)?;
    let dynamic = parts.iter().find(|it| it.kind == DYNAMIC)?;
    let (mut strings, mut name) = (None, None);
    for entry in 0..ENTRIES_MAX {
        let at = dynamic.offset.checked_add(entry.checked_mul(16)?)?;
        let (tag, value) = (word(file, at)?, word(file, at.checked_add(8)?)?);
        match tag {
            0 => break,
            STRING_TABLE => strings = Some(value),
            NAME => name = Some(value),
            _ => {}
        }
    }
    let (strings, name) = (strings?, usize::try_from(name?).ok()?);
    // Told as an address in memory.
    let holds = |it: &&Part| it.kind == LOAD && (it.address..it.end()).contains(&strings);
    let part = parts.iter().find(holds)?;
    let within = usize::try_from(strings - part.address).ok()?;
    let text = file.get(part.offset.checked_add(within)?.checked_add(name)?..)?;
    let end = text.iter().take(ENTRIES_MAX).position(|it| *it == 0)?;
    std::str::from_utf8(text.get(..end)?).ok().filter(|it| !it.is_empty() && !it.contains('/'))
}

/// A part of the file as it is loaded.
struct Part {
    kind: u32,
    offset: usize,
    address: u64,
    bytes: u64,
}

impl Part {
    fn end(&self) -> u64 {
        self.address.saturating_add(self.bytes)
    }
}

fn parts(file: &[u8]) -> Option<Vec<Part>> {
    let table = usize::try_from(word(file, 32)?).ok()?;
    let half = |at: usize| Some(u16::from_ne_bytes(file.get(at..at + 2)?.try_into().ok()?));
    let (each, count) = (usize::from(half(54)?), usize::from(half(56)?));
    let part = |number: usize| {
        let at = table.checked_add(number.checked_mul(each)?)?;
        let kind = file.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(Part {
            kind: u32::from_ne_bytes(kind),
            offset: usize::try_from(word(file, at.checked_add(8)?)?).ok()?,
            address: word(file, at.checked_add(16)?)?,
            bytes: word(file, at.checked_add(32)?)?,
        })
    };
    (0..count.min(ENTRIES_MAX)).map(part).collect()
}

fn word(file: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(file.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The C library that this process runs by.
    fn library() -> Option<Vec<u8>> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|it| it.contains("/libc.so") || it.contains("/libc-"))?;
        let (_, path) = line.split_once('/')?;
        Some(std::fs::read(format!("/{path}")).unwrap())
    }

    #[test]
    fn a_library_tells_its_own_name_and_nothing_else_does() {
        if let Some(library) = library() {
            assert_eq!(soname(&library), Some("libc.so.6"));
            for cut in [0, 5, 16, 63, 64, 500, 5000] {
                assert_eq!(soname(&library[..cut]), None, "{cut}");
            }
        }
        assert_eq!(soname(b"#!/bin/sh\n"), None);
    }

    proptest! {
        #[test]
        fn no_file_is_too_odd(mut tail in prop::collection::vec(any::<u8>(), 0..400), at in 0_usize..200) {
            let mut file = b"\x7fELF\x02\x01\x01".to_vec();
            file.append(&mut tail);
            soname(&file);
            if let Some(mut library) = library() {
                library.truncate(0x4000);
                let to = (at + file.len()).min(library.len());
                library[at..to].copy_from_slice(&file[..to - at]);
                soname(&library);
            }
        }
    }
}
