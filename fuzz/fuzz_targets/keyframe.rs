//! A damaged keyframe gives some screen that goes on working, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandwatch::{base::units::Size, vt::Screen};

fuzz_target!(|input: (u8, u8, Vec<u8>, Vec<u8>)| {
    let (cols, rows, state, after) = input;
    let mut screen = Screen::from_keyframe(Size::clamped((cols % 64).into(), (rows % 32).into()), &state);
    drop(screen.feed(&after));
    let lines = screen.lines();
    assert_eq!(lines.len(), usize::from(screen.size().rows()));
});
