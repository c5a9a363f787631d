//! Any text as a theme file: a theme, or flaws that each point into the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandwatch::ui::theme::{self, Depth};

fuzz_target!(|text: &str| {
    if let Err(flaws) = theme::parse("fuzz.toml", "fuzz", text, &|_| None, Depth::True) {
        assert!(!flaws.is_empty());
    }
});
