//! Any text as a key file: a keymap, or flaws that each point into the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandwatch::app::keymap;

fuzz_target!(|text: &str| {
    let base = |name: &str| keymap::preset(name).map(str::to_owned);
    if let Err(flaws) = keymap::parse("fuzz.toml", "fuzz", text, &base) {
        assert!(!flaws.is_empty());
    }
});
