//! Any output into a screen of any size, in pieces and with resizes between: no panic, and a
//! keyframe of what came out gives the same cells again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandwatch::{base::units::Size, vt::Screen};

fuzz_target!(|input: (u8, u8, Vec<(Vec<u8>, Option<(u8, u8)>)>)| {
    let (cols, rows, pieces) = input;
    let mut screen = Screen::new(Size::clamped(cols.into(), rows.into()));
    for (bytes, resize) in &pieces {
        let found = screen.feed(bytes);
        assert!(found.facts.iter().all(|(at, _)| *at <= bytes.len()));
        if let Some((cols, rows)) = *resize {
            screen.resize(Size::clamped(cols.into(), rows.into()));
        }
    }
    let again = Screen::from_keyframe(screen.size(), &screen.keyframe());
    assert_eq!(again.lines(), screen.lines());
    assert_eq!(again.cursor(), screen.cursor());
});
