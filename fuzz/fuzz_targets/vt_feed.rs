//! Any output into a screen of any size, in pieces and with resizes between: no panic, and a
//! keyframe of what came out gives the same cells again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandwatch::{base::units::Size, vt::Screen};

fuzz_target!(|input: (u8, u8, Vec<(Vec<u8>, Option<(u8, u8)>)>)| {
    let (cols, rows, pieces) = input;
    // What goes wrong goes wrong at edges, and small screens have more of them.
    let size = |cols: u8, rows: u8| Size::clamped((cols % 24).into(), (rows % 12).into());
    let mut screen = Screen::new(size(cols, rows));
    for (bytes, resize) in &pieces {
        let found = screen.feed(bytes);
        assert!(found.facts.iter().all(|(at, _)| *at <= bytes.len()));
        if let Some((cols, rows)) = *resize {
            screen.resize(size(cols, rows));
        }
    }
    let again = Screen::from_keyframe(screen.size(), &screen.keyframe());
    assert_eq!(again.lines(), screen.lines());
    assert_eq!(again.cursor(), screen.cursor());
    assert_eq!(again.keyframe(), screen.keyframe());
    assert_eq!(screen.faults(), 0);
});
