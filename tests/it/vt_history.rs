//! Reflow, scrollback, formatted lines and plain text.

use proptest::prelude::*;
use sandwatch::{
    base::units::Size,
    vt::{
        Plain,
        history::{Line, Scrollback},
        plain, row,
        screen::{Colour, Screen},
    },
};

use crate::vt_screen::{picture, piece};

fn lines(screen: &Screen) -> Vec<String> {
    let mut lines = screen.lines();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[test]
fn the_main_screen_is_wrapped_anew() {
    let mut screen = Screen::new(Size::clamped(10, 6));
    screen.feed("one\r\nabcdefghijklmno\r\n$ ".as_bytes());
    screen.resize(Size::clamped(6, 6));
    assert_eq!(lines(&screen), ["one", "abcdef", "ghijkl", "mno", "$"]);
    assert_eq!(screen.cursor(), Some((4, 2)));
    screen.resize(Size::clamped(20, 6));
    assert_eq!(lines(&screen), ["one", "abcdefghijklmno", "$"]);
    assert_eq!(screen.cursor(), Some((2, 2)));
    screen.resize(Size::clamped(5, 3));
    assert_eq!(lines(&screen), ["fghij", "klmno", "$"]);
    screen.feed(b"x");
    assert_eq!(lines(&screen)[2], "$ x");
}

#[test]
fn rows_filled_up_with_spaces_stay_one_row_each() {
    let mut screen = Screen::new(Size::clamped(10, 6));
    screen.feed(b"\x1b[H\x1b[1mone       \r\n\x1b[mtwo       \r\n\x1b[7mhead      \x1b[m\x1b[5;1H");
    screen.resize(Size::clamped(6, 6));
    assert_eq!(lines(&screen), ["one", "two", "head"]);
    // What stands before the cursor was typed.
    let mut screen = Screen::new(Size::clamped(10, 6));
    screen.feed(b"$ echo a  ");
    screen.resize(Size::clamped(8, 6));
    assert_eq!(screen.cursor(), Some((1, 2)));
}

#[test]
fn the_alternate_screen_is_cut_not_wrapped() {
    let mut screen = Screen::new(Size::clamped(10, 4));
    screen.feed(b"main line that is long\x1b[?1049h\x1b[Habcdefghij\r\n2\r\n3\r\n4");
    screen.resize(Size::clamped(5, 3));
    assert_eq!(lines(&screen), ["2", "3", "4"]);
    screen.resize(Size::clamped(12, 5));
    assert_eq!(lines(&screen), ["2", "3", "4"]);
    screen.feed(b"\x1b[?1049l");
    assert_eq!(lines(&screen), ["that is long"]);
}

#[test]
fn wide_characters_and_colours_survive_a_reflow() {
    let mut screen = Screen::new(Size::clamped(8, 4));
    screen.feed("\x1b[31m中文字符\x1b[44m中文\x1b[m".as_bytes());
    screen.resize(Size::clamped(5, 6));
    assert_eq!(lines(&screen), ["中文", "字符", "中文"]);
    assert_eq!(screen.cell(2, 0).unwrap().background, Colour::Indexed(4));
    assert_eq!(screen.cell(1, 2).unwrap().foreground, Colour::Indexed(1));
}

#[test]
fn what_scrolls_off_is_history() {
    let size = Size::clamped(10, 3);
    let keyframe = Screen::new(size).keyframe();
    let mut history = Scrollback::from_keyframe(size, &keyframe);
    history.feed(b"\x1b[31mred\x1b[m\r\nabcdefghijklm\r\n\xff\r\n");
    history.feed(b"\x1b[?1049h1\r\n2\r\n3\r\n4\r\n5\x1b[?1049l");
    for number in 0..1000 {
        history.feed(format!("line {number}\r\n").as_bytes());
    }
    let texts: Vec<String> = history.lines().iter().map(Line::text).collect();
    assert_eq!(texts[..5], ["red", "abcdefghij", "klm", "\u{fffd}", "line 0"]);
    assert_eq!(texts.len(), 4 + 998);
    assert!(
        history.lines()[1].wrapped && !history.lines()[2].wrapped && !history.lines()[0].wrapped
    );
    let cells = row::parse(&history.lines()[0].formatted);
    assert_eq!(cells.iter().map(|it| it.text.as_str()).collect::<String>(), "red");
    assert_eq!(cells[0].foreground, Colour::Indexed(1));
    history.resize(Size::clamped(4, 3));
    assert!(history.lines().len() > texts.len());
    assert_eq!(history.lines()[texts.len()].text(), "line");
}

#[test]
fn a_formatted_line_is_only_text_and_colour() {
    let cells = row::parse("a\x1b[2J\x1b[1;1Hb\x1b]0;x\x07\x1b[32m中\r\n\x1b[7mz".as_bytes());
    let text: String = cells.iter().map(|it| it.text.as_str()).collect();
    assert!(text.starts_with("ab") && text.contains('中') && text.ends_with('z'), "{text}");
    assert!(cells.last().unwrap().inverse);
    assert!(cells.iter().any(|it| it.wide) && cells.iter().any(|it| it.wide_rest));
    assert!(row::parse(&b"x".repeat(100_000)).len() <= 1000);
}

#[test]
fn plain_text_has_no_sequences() {
    for (bytes, want) in [
        (&b"\x1b[31mred\x1b[m \x1b]0;t\x07x\x1b]8;;u\x1b\\y"[..], "red xy"),
        (b"a\r\nb\r\r\nc\n", "a\nb\nc\n"),
        (b"10%\r50%\r100%\r\n", "10%\n50%\n100%\n"),
        (b"\x1b(0q\x1b(B\x1bP1;2|xx\x1b\\z", "qz"),
        (b"a\x08b\x07\tc", "ab\tc"),
        ("中\u{e9}".as_bytes(), "中é"),
        (b"\xff\xe4", "\u{fffd}\u{fffd}"),
    ] {
        assert_eq!(plain(bytes), want, "{bytes:?}");
        for cut in 0..bytes.len() {
            let mut stripper = Plain::default();
            let mut out = stripper.feed(&bytes[..cut]);
            out.push_str(&stripper.feed(&bytes[cut..]));
            out.push_str(&stripper.finish());
            assert_eq!(out, want, "{bytes:?} cut at {cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn history_and_screen_agree_however_the_output_is_fed(
        pieces in proptest::collection::vec(piece(), 0..40), cols in 2_u16..12, rows in 2_u16..6,
    ) {
        let size = Size::clamped(cols, rows);
        let keyframe = Screen::new(size).keyframe();
        let mut whole = Scrollback::from_keyframe(size, &keyframe);
        let mut parts = Scrollback::from_keyframe(size, &keyframe);
        let mut screen = Screen::new(size);
        whole.feed(&pieces.concat());
        screen.feed(&pieces.concat());
        for it in &pieces {
            parts.feed(it);
        }
        prop_assert_eq!(whole.lines(), parts.lines());
        prop_assert_eq!(picture(whole.screen()), picture(&screen));
    }

    #[test]
    fn text_survives_any_resize(
        words in proptest::collection::vec("[a-z]{1,12}", 1..6),
        widths in proptest::collection::vec(3_u16..30, 1..5),
    ) {
        let mut screen = Screen::new(Size::clamped(20, 40));
        screen.feed(words.join("\r\n").as_bytes());
        for width in widths {
            screen.resize(Size::clamped(width, 40));
        }
        screen.resize(Size::clamped(20, 40));
        prop_assert_eq!(lines(&screen), words);
    }
}
