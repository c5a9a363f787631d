//! The small total types: bounds hold, text is made safe, ids are file names.
use proptest::prelude::*;
use sandwatch::base::{
    clock::{Timestamp, Zone},
    id::SandboxId,
    ring::Ring,
    text,
    units::{
        Ratio, Size, exact_duration, human_bytes, human_duration, parse_bytes, parse_duration,
    },
};
use std::time::Duration;

#[test]
fn a_ring_keeps_offsets_and_only_the_newest_bytes() {
    let mut ring = Ring::starting_at(100, 4);
    ring.push(b"abc");
    assert_eq!((ring.start(), ring.end()), (100, 103));
    ring.push(b"defghij");
    assert_eq!((ring.start(), ring.end()), (106, 110));
    assert_eq!(ring.read(106, 9).as_deref(), Some(&b"ghij"[..]));
    assert_eq!(ring.read(108, 1).as_deref(), Some(&b"i"[..]));
    assert_eq!(ring.read(110, 9).as_deref(), Some(&b""[..]));
    assert_eq!(ring.read(105, 9), None, "fell off the front");
    assert_eq!(ring.read(111, 9), None, "not there yet");
}

proptest! {
    #[test]
    fn a_ring_is_the_tail_of_all_that_was_pushed(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..30),
        capacity in 1_usize..64, from in 0_u64..200, most in 0_usize..100)
    {
        let mut ring = Ring::starting_at(0, capacity);
        let mut all = Vec::new();
        for piece in &pieces {
            ring.push(piece);
            all.extend_from_slice(piece);
        }
        prop_assert_eq!(ring.end(), all.len() as u64);
        prop_assert_eq!(ring.start(), all.len().saturating_sub(capacity) as u64);
        let expected = (from >= ring.start() && from <= ring.end()).then(|| {
            let at = from as usize;
            all[at..all.len().min(at + most)].to_vec()
        });
        prop_assert_eq!(ring.read(from, most), expected);
    }

    #[test]
    fn visible_text_holds_nothing_that_acts_on_a_terminal(text in "\\PC{0,40}|[\\x00-\\x1f\\x7f\u{80}-\u{9f}\u{202e}\u{2066}\u{200b}a-z]{0,40}") {
        let safe = text::visible(&text);
        prop_assert!(safe.chars().all(|it| it == '\u{200d}' || !text::is_deceptive(it)), "{safe:?}");
    }

    #[test]
    fn text_that_was_made_safe_and_cut_passes_again_as_it_is(
        text in "[a\u{200d}\u{202e}\u{fe0f}\u{a0}❤👨👩\x1b]{0,24}", most in 0_usize..40, again in 0_usize..40,
    ) {
        let once = text::shown(&text, most);
        prop_assert!(once.len() <= most);
        prop_assert_eq!(&text::shown(&once, most.max(again)), &once);
    }

    #[test]
    fn clipped_text_fits(text in "\\PC{0,40}", cells in 0_usize..30) {
        prop_assert!(text::width(&text::clip(&text, cells)) <= cells);
    }

    #[test]
    fn any_text_parses_or_is_refused(text in "\\PC{0,20}") {
        drop((Size::parse(&text), parse_bytes(&text), parse_duration(&text), SandboxId::parse(&text)));
    }
}

#[test]
fn times_for_people_have_no_milliseconds_and_are_of_their_zone() {
    let at = Timestamp(1_795_493_750_941);
    assert_eq!(at.rfc3339(), "2026-11-24T04:15:50.941Z");
    assert_eq!(Zone::default().date_time(at), "2026-11-24 04:15:50");
    assert_eq!(Zone::default().time(at), "04:15:50");
    assert_eq!(Zone::here().date_time(at).len(), 19);
    assert_eq!(Zone::default().date_time(Timestamp(i64::MAX)), "unknown");
}

#[test]
fn one_of_a_kind_is_not_many() {
    let all = [text::count(1_u64, "line"), text::count(0_usize, "line"), text::count(2, "match")];
    assert_eq!(all, ["1 line", "0 lines", "2 matches"]);
    assert_eq!(text::count(5_u32, "sandbox"), "5 sandboxes");
}

#[test]
fn deceptive_characters_are_spelled_out() {
    assert_eq!(text::visible("rm \u{202e}fdp.exe"), "rm <U+202E>fdp.exe");
    assert_eq!(text::visible("a\x1b[31mb\x7f\r\n"), "a␛[31mb␡␍␊");
    assert_eq!(text::visible("\u{9b}31m"), "<U+009B>31m");
    assert_eq!(text::visible("👩\u{200d}💻 a\u{200d}b"), "👩\u{200d}💻 a<U+200D>b");
}

#[test]
fn what_leaves_no_trace_or_looks_like_a_blank_is_spelled_out_but_in_an_emoji() {
    for code in [
        0xa0, 0x34f, 0x115f, 0x1160, 0x1680, 0x17b4, 0x17b5, 0x180b, 0x180d, 0x180e, 0x2000,
        0x200a, 0x202f, 0x205f, 0x2800, 0x3000, 0x3164, 0xfe00, 0xfe0e, 0xfe0f, 0xffa0, 0x1d173,
        0xe0100, 0xe01ef, 0xe0041,
    ] {
        let it = char::from_u32(code).unwrap();
        let text = format!("rm x{it}y");
        assert_eq!(text::visible(&text), format!("rm x<U+{code:04X}>y"));
        assert_eq!(text::hidden(&text).collect::<Vec<_>>(), [it]);
    }
    for emoji in ["❤\u{fe0f}", "👩\u{200d}💻", "👩\u{200d}❤\u{fe0f}\u{200d}👩", "©\u{fe0f}"]
    {
        assert_eq!(text::visible(emoji), emoji);
        assert_eq!(text::hidden(emoji).count(), 0);
    }
    assert_eq!(text::visible("❤\u{fe0f}\u{fe0f}"), "❤\u{fe0f}<U+FE0F>");
    assert_eq!(text::visible("x\u{fe0f}\u{200d}👩"), "x<U+FE0F><U+200D>👩");
    assert!(!text::is_heaped("👩\u{200d}❤\u{fe0f}\u{200d}👩 क्षि"));
}

#[test]
fn a_list_says_how_much_of_a_text_it_leaves_out() {
    assert_eq!(text::shown_part("make", 10), "make");
    assert_eq!(text::shown_part("make all of it", 8), "make all… (+6 bytes)");
    assert_eq!(text::shown_part("ab\u{202e}cd", 8), "ab… (+5 bytes)");
    assert_eq!(text::shown_part("日本", 4), "日… (+3 bytes)");
}

#[test]
fn clipping_never_splits_a_wide_character() {
    assert_eq!(text::clip("日本語", 6), "日本語");
    assert_eq!(text::clip("日本語", 5), "日本…");
    assert_eq!(text::clip("日本語", 4), "日…");
    assert_eq!(text::clip("abc", 0), "");
}

#[test]
fn ids_from_outside_are_safe_as_file_names() {
    for bad in ["", ".", "..", "a/b", "A", "a b", ".hidden", "é", &"a".repeat(65)] {
        assert_eq!(SandboxId::parse(bad), None, "{bad:?}");
    }
    let id = SandboxId::random();
    assert_eq!(SandboxId::parse(id.as_str()), Some(id.clone()));
    assert_ne!(id, SandboxId::random());
}

#[test]
fn units_read_and_write_what_people_type() {
    assert_eq!(parse_bytes("1.5g"), Some(1_610_612_736));
    assert_eq!(parse_bytes("512"), Some(512));
    assert_eq!(parse_bytes("2MiB"), Some(2 * 1024 * 1024));
    assert_eq!(parse_bytes("two"), None);
    assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
    assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(parse_duration("-1s"), None);
    assert_eq!(Size::parse("80x24"), Some(Size::DEFAULT));
    assert_eq!(Size::parse("1x1"), None);
    assert_eq!(human_bytes(0), "0 B");
    assert_eq!(human_bytes(1_288_490_189), "1.2 G");
    assert_eq!(human_bytes(1000), "1.0 K");
    assert_eq!(human_duration(Duration::from_secs(7260)), "2h");
    for (text, millis) in [("0ms", 0), ("100ms", 100), ("1s", 1000), ("1500ms", 1500)] {
        assert_eq!(exact_duration(Duration::from_millis(millis)), text);
    }
    for text in ["90s", "10m", "61m", "2h", "1d"] {
        assert_eq!(exact_duration(parse_duration(text).unwrap()), text);
    }
    assert_eq!(Ratio::of(1.0, 0.0), None);
    assert_eq!(Ratio::of(3.0, 2.0).map(Ratio::get), Some(1.0));
    assert_eq!(Timestamp(0).rfc3339(), "1970-01-01T00:00:00.000Z");
}

#[test]
fn a_program_that_prints_every_three_seconds_is_not_idle_in_between() {
    assert!(sandwatch::base::limits::QUIET_AFTER > Duration::from_secs(4));
}
