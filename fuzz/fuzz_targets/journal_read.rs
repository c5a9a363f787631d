//! Any bytes as the segments of a journal: read to an end, without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandwatch::session::journal::Reader;

fuzz_target!(|segments: Vec<(u16, Vec<u8>)>| {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (start, bytes) in segments.iter().take(4) {
        let file = dir.path().join(format!("{start:020}.seg"));
        std::fs::write(file, bytes).expect("a file in it");
    }
    let Ok(mut reader) = Reader::open(dir.path(), 0) else { return };
    while let Ok(Some(_)) = reader.read() {}
});
