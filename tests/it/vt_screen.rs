//! Screens: what vt100 alone gets wrong, floods, cuts anywhere, keyframes, hostile bytes.

use proptest::prelude::*;
use sandwatch::{
    base::units::Size,
    vt::screen::{MouseEncoding, MouseMode, Screen},
};

fn screen(cols: u16, rows: u16, bytes: &[u8]) -> Screen {
    let mut screen = Screen::new(Size::clamped(cols, rows));
    screen.feed(bytes);
    screen
}

/// All that can be seen of a screen, and all that will be seen of what comes next.
pub(crate) fn picture(screen: &Screen) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for row in 0..screen.size().rows() {
        for col in 0..screen.size().cols() {
            let cell = screen.cell(row, col).unwrap();
            let marks = [
                cell.bold,
                cell.dim,
                cell.italic,
                cell.underline,
                cell.inverse,
                cell.struck,
                cell.blink,
            ];
            write!(out, "{:?}", cell.text).unwrap();
            if cell.wide || cell.wide_rest {
                write!(out, "w{}", u8::from(cell.wide_rest)).unwrap();
            }
            if marks.contains(&true) {
                write!(out, "{:?}", marks.map(u8::from)).unwrap();
            }
            if (cell.foreground, cell.background) != Default::default() {
                write!(out, "{:?}/{:?}", cell.foreground, cell.background).unwrap();
            }
        }
        writeln!(out, " wrapped={}", screen.row_wrapped(row)).unwrap();
    }
    writeln!(out, "cursor={:?} modes={:?}", screen.cursor(), screen.modes()).unwrap();
    writeln!(out, "title={:?} style={}", screen.title(), screen.cursor_style()).unwrap();
    out
}

#[track_caller]
fn shows(cols: u16, rows: u16, bytes: &str, lines: &[&str], cursor: (u16, u16)) {
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.as_bytes().split_at(cut);
        let mut screen = screen(cols, rows, head);
        screen.feed(tail);
        let shown = screen.lines();
        let used = shown.iter().rposition(|it| !it.is_empty()).map_or(0, |it| it + 1);
        assert_eq!(shown[..used], *lines, "{bytes:?} cut at {cut}");
        assert_eq!(screen.cursor(), Some(cursor), "{bytes:?} cut at {cut}");
    }
}

#[test]
fn line_drawing_is_drawn() {
    shows(20, 4, "\x1b(0lqk\x1b(B|\x1b)0\x0exa\x0fx", &["┌─┐|│▒x"], (0, 7));
    shows(20, 4, "\x1b(A#\x1b(B#", &["£#"], (0, 2));
}

#[test]
fn without_autowrap_the_last_column_is_overwritten() {
    shows(5, 3, "\x1b[?7labcdefgh", &["abcdh"], (0, 4));
    shows(5, 3, "\x1b[?7labc中文", &["abc文"], (0, 4));
    shows(5, 3, "\x1b[?7labcdefgh\x1b[?7h\r\nx", &["abcdh", "x"], (1, 1));
}

#[test]
fn index_and_next_line_move_down() {
    shows(10, 3, "ab\x1bDc\x1bEd", &["ab", "  c", "d"], (2, 1));
    shows(10, 3, "1\r\n2\r\n3\x1bEd", &["2", "3", "d"], (2, 1));
}

#[test]
fn reverse_index_scrolls_only_at_the_top_of_the_region() {
    shows(10, 4, "a\r\nb\r\nc\x1b[2;3r\x1b[2H\x1bMx", &["a", "x", "b"], (1, 1));
    shows(10, 4, "a\r\nb\r\nc\x1b[2;3r\x1b[1H\x1bMx", &["x", "b", "c"], (0, 1));
}

#[test]
fn the_cursor_is_saved_in_both_ways() {
    shows(10, 3, "ab\x1b[scd\x1b[uX", &["abXd"], (0, 3));
    shows(10, 3, "ab\x1b7\x1b[2;2H\x1b8X", &["abX"], (0, 3));
    shows(10, 3, "ab\x1b[?1048h\x1b[2;2H\x1b[?1048lX", &["abX"], (0, 3));
    shows(4, 3, "abcd\x1b7\x1b[H\x1b8X", &["abcd", "X"], (1, 1));
}

#[test]
fn tab_stops_can_be_set_and_cleared() {
    shows(20, 3, "\x1b[3g\x1b[4G\x1bH\x1b[9G\x1bH\ra\tb\tc\td", &["a  b    c          d"], (0, 19));
    shows(20, 3, "\x1b[2Ia\x1b[Zb\x1b[2Zc", &["        c       b"], (0, 9));
    shows(20, 3, "\x1b[9G\x1b[gx\r\ty", &["        x       y"], (0, 17));
}

#[test]
fn insert_mode_moves_the_rest_of_the_line() {
    shows(6, 3, "abcd\r\x1b[4hXY\x1b[4l", &["XYabcd"], (0, 2));
    shows(4, 3, "abcd\x1b[2Hxy\x1b[1;4Hd\x1b[4hN", &["abcd", "Nxy"], (1, 1));
}

#[test]
fn alignment_fills_the_screen() {
    shows(3, 2, "x\x1b#8", &["EEE", "EEE"], (0, 0));
}

#[test]
fn relative_moves_work_by_both_names() {
    shows(10, 4, "a\x1b[2ab\x1b[2ec", &["a  b", "", "    c"], (2, 5));
}

#[test]
fn the_alternate_screens_have_all_their_names() {
    shows(10, 3, "main\x1b[?1047halt\x1b[?1047l!", &["main   !"], (0, 8));
    shows(10, 3, "main\x1b[?47halt\x1b[?47l!", &["main   !"], (0, 8));
    shows(10, 3, "main\x1b[?1049h\x1b[Halt\x1b[?1049l!", &["main!"], (0, 5));
    shows(10, 3, "main\x1b[?1049h\x1b[Halt", &["alt"], (0, 3));
}

#[test]
fn a_soft_reset_ends_modes_but_not_the_picture() {
    shows(
        4,
        3,
        "ab\x1b[4h\x1b[?6h\x1b[?7l\x1b[2;3r\x1b[1;3H\x1b[!pcdef",
        &["ab", "  cd", "ef"],
        (2, 2),
    );
}

#[test]
fn each_invalid_sequence_is_one_replacement_character() {
    let all = |bytes: &[u8], want: &str| {
        for cut in 0..=bytes.len() {
            let mut screen = screen(20, 2, &bytes[..cut]);
            screen.feed(&bytes[cut..]);
            assert_eq!(screen.lines()[0], want, "{bytes:?} cut at {cut}");
        }
    };
    all(b"a\xffb", "a\u{fffd}b");
    all(b"a\xe4\xb8b", "a\u{fffd}b");
    all(b"a\xf0\x9f\x98", "a");
    all(b"\xc0\xaf", "\u{fffd}\u{fffd}");
    all(b"\xe4\xb8\xad", "中");
    all(b"a\xe4\xb8\x1b[mb", "a\u{fffd}b");
    all("\u{fffd}x".as_bytes(), "\u{fffd}x");
}

#[test]
fn a_pending_wrap_is_no_column() {
    shows(4, 3, "abcd\x08X", &["abXd"], (0, 3));
    shows(4, 3, "abcd\x1b[DX", &["abXd"], (0, 3));
    shows(4, 3, "abcd\x1b[BX", &["abcd", "   X"], (1, 3));
    shows(4, 3, "abcd\rX", &["Xbcd"], (0, 1));
    shows(4, 3, "abcd\x1b[KX", &["abcd", "X"], (1, 1));
}

#[test]
fn setting_a_region_goes_home() {
    shows(5, 4, "\x1b[2;3rx", &["x"], (0, 1));
    shows(5, 4, "\x1b[2;3r\x1b[?6hx\x1b[9;9Hy", &["", "x", "    y"], (2, 4));
    shows(5, 4, "ab\x1b[3;2rc", &["abc"], (0, 3));
}

#[test]
fn repeat_repeats_across_feeds() {
    shows(10, 2, "a\x1b[3b", &["aaaa"], (0, 4));
    shows(10, 2, "\x1b(0q\x1b(B\x1b[2b", &["───"], (0, 3));
}

#[test]
fn colours_come_in_every_form() {
    let at = |text: &str| {
        let screen = screen(10, 2, text.as_bytes());
        let cell = screen.cell(0, 0).unwrap();
        (format!("{:?}", cell.foreground), cell.underline, cell.dim)
    };
    let red = "Rgb(255, 0, 0)".to_owned();
    assert_eq!(at("\x1b[38;2;255;0;0mx"), (red.clone(), false, false));
    assert_eq!(at("\x1b[38:2:255:0:0mx"), (red.clone(), false, false));
    assert_eq!(at("\x1b[38:2::255:0:0mx"), (red.clone(), false, false));
    assert_eq!(at("\x1b[38:5:3mx"), ("Indexed(3)".to_owned(), false, false));
    assert_eq!(at("\x1b[4:3;58;2;1;2;3;38;2;255;0;0mx"), (red, true, false));
    assert_eq!(at("\x1b[4:3m\x1b[4:0mx"), ("Default".to_owned(), false, false));
    assert_eq!(at("\x1b[58:2::1:2:3mx"), ("Default".to_owned(), false, false));
}

#[test]
fn blanks_take_the_background_and_nothing_else() {
    let blank = |text: &str, row, col| {
        let screen = screen(6, 3, text.as_bytes());
        let cell = screen.cell(row, col).unwrap();
        (format!("{:?}", cell.background), cell.inverse, cell.underline)
    };
    let blue = ("Indexed(4)".to_owned(), false, false);
    assert_eq!(blank("\x1b[44;7;4m\x1b[K", 0, 3), blue);
    assert_eq!(blank("\x1b[44;7;4m\x1b[2J", 2, 3), blue);
    assert_eq!(blank("\x1b[3H\x1b[44mx\r\n", 2, 3), blue);
    assert_eq!(blank("\x1b[3H\x1b[44mabcdefg", 2, 3), blue);
    assert_eq!(blank("\x1b[44m\x1b[L", 0, 3), blue);
    assert_eq!(blank("\x1b[44m\x1b[M", 2, 3), blue);
    assert_eq!(blank("\x1b[44m\x1b[S", 2, 3), blue);
    assert_eq!(blank("\x1b[44m\x1b[T", 0, 3), blue);
    assert_eq!(blank("\x1b[44m\x1bM", 0, 3), blue);
    assert_eq!(blank("abcdef\x1b[H\x1b[44m\x1b[2P", 0, 5), blue);
    assert_eq!(blank("abcdef\x1b[H\x1b[44m\x1b[2@", 0, 1), blue);
}

#[test]
fn modes_are_known() {
    let modes = |text: &str| screen(10, 3, text.as_bytes()).modes();
    let on = modes("\x1b[?1;1002;1006;2004;1004;2026h\x1b=\x1b[?1007l");
    assert!(on.application_cursor && on.bracketed_paste && on.focus_events && on.synchronised);
    assert!(on.application_keypad && !on.alternate_scroll);
    assert_eq!((on.mouse, on.mouse_encoding), (MouseMode::ButtonMotion, MouseEncoding::Sgr));
    assert!(modes("\x1b[?1049h").alternate_screen);
    assert!(modes("").alternate_scroll);
    assert_eq!(modes("\x1b[?1h\x1bc"), modes(""));
    assert_eq!(modes("\x1b[>1u\x1b[>3u").kitty_flags, 3);
    assert_eq!(modes("\x1b[>1u\x1b[>3u\x1b[<u").kitty_flags, 1);
    assert_eq!(modes("\x1b[>1u\x1b[<9u").kitty_flags, 0);
    assert_eq!(modes("\x1b[=5u\x1b[=2;2u\x1b[=1;3u").kitty_flags, 6);
    assert_eq!(modes("\x1b[>1u\x1b[?1049h").kitty_flags, 0);
    assert_eq!(modes("\x1b[>1u\x1b[?1049h\x1b[>8u\x1b[?1049l").kitty_flags, 1);
}

#[test]
fn wide_characters_stay_whole() {
    shows(5, 2, "中文字", &["中文", "字"], (1, 2));
    shows(8, 2, "❤\u{fe0f}x", &["❤\u{fe0f}x"], (0, 3));
    shows(4, 2, "a\u{301}b", &["a\u{301}b"], (0, 2));
    // At the edge there is no room to grow.
    shows(4, 2, "abc❤\u{fe0f}x", &["abc❤", "x"], (1, 1));
    shows(4, 2, "\r\nabc❤\u{fe0f}x", &["abc❤", "x"], (1, 1));
}

#[test]
fn nothing_that_reorders_text_leaves_a_cell() {
    let screen = screen(20, 2, "ab\u{202e}cd\u{2066}\u{200b}e".as_bytes());
    assert_eq!(screen.lines()[0], "abcde");
    let formatted = String::from_utf8(screen.contents_formatted()).unwrap();
    assert!(!formatted.contains(['\u{202e}', '\u{2066}', '\u{200b}']));
}

#[test]
fn what_goes_to_a_real_terminal_draws_the_same_and_does_nothing_else() {
    let text = "\x1b[?2004h\x1b[31mred\x1b[m 中 \x1b[44m\x1b[K\r\n\x1b]0;t\x07é\x1b[4mx\u{fffd}";
    let from = screen(12, 3, text.as_bytes());
    let formatted = from.contents_formatted();
    let again = screen(12, 3, &formatted);
    for row in 0..3 {
        for col in 0..12 {
            let (a, b) = (from.cell(row, col).unwrap(), again.cell(row, col).unwrap());
            let text = |it: &str| if it.is_empty() { " ".to_owned() } else { it.to_owned() };
            assert_eq!((text(a.text), a.background), (text(b.text), b.background));
        }
    }
    assert_eq!(from.cursor(), again.cursor());
    assert!(!again.modes().bracketed_paste);
}

#[test]
fn a_hostile_stream_costs_neither_memory_nor_the_screen() {
    let mut screen = screen(2, 2, b"");
    let block = vec![b'x'; 1 << 20];
    for start in [&b"\x1b]0;"[..], b"\x1b]52;c;", b"\x1bP+q", b"\x1b_", b"\x1b[1"] {
        screen.feed(start);
        for _ in 0..if start == b"\x1b[1" { 0 } else { 100 } {
            screen.feed(&block);
        }
        assert!(screen.keyframe().len() < 128 * 1024, "{start:?}");
        screen.feed(b"\x18\x1b[H\x1b[2Jok");
        assert_eq!(screen.lines()[0], "ok", "{start:?}");
    }
    screen.feed(b"\x1b[");
    for _ in 0..1_000_000 {
        screen.feed(b"1;");
    }
    assert!(screen.keyframe().len() < 4096);
    screen.feed(b"m\x1b[H\x1b[2Jok");
    assert_eq!(screen.lines()[0], "ok");
}

/// Pieces of output, sensible and not.
pub(crate) fn piece() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![Just(String::new()), (0_u16..30).prop_map(|it| it.to_string())];
    let csi = (
        prop_oneof![4 => Just(""), 1 => Just("?"), 1 => Just(">")],
        proptest::collection::vec(number, 0..3),
        prop::sample::select(b"@ABCDEFGHIJKLMPSTXZ`abdefghlmrstu".to_vec()),
    );
    let mode = prop::sample::select(vec![
        "?6h",
        "?6l",
        "?7l",
        "?7h",
        "4h",
        "4l",
        "?1049h",
        "?1049l",
        "?47h",
        "?47l",
        "?45h",
        "?69h",
        "?69h",
        "?69l",
        "2;9s",
        "3;5s",
        "1;6s",
        "4;30s",
        "?1047l",
        "?1048h",
        "?25l",
        "20h",
        "20l",
        "!p",
        "3g",
        "?1006h",
        ">5u",
        "<u",
        "4:3m",
        "9m",
        "8m",
        "5;4:2m",
        "25;28;29m",
        "7m",
        "44m",
        "48;2;1;2;3m",
        "m",
        "4m",
    ]);
    let escape = prop::sample::select(vec![
        "\x1b7",
        "\x1b8",
        "\x1bD",
        "\x1bE",
        "\x1bH",
        "\x1bM",
        "\x1b(0",
        "\x1b(B",
        "\x1b)0",
        "\x0e",
        "\x0f",
        "\x1b#8",
        "\x1bc",
        "\x1b=",
        "\x1b]0;title\x07",
        "\x1b]8;;http://x\x1b\\",
        "\x1b[5 q",
    ]);
    prop_oneof![
        6 => "[ -~]{0,12}".prop_map(String::into_bytes),
        3 => prop::sample::select(vec!["\r\n", "\n", "\r", "\t", "\x08", "\x07", "\x0b", "\x00"])
            .prop_map(|it| it.as_bytes().to_vec()),
        2 => prop::sample::select(vec![
            "中", "文字", "é", "e\u{301}", "❤\u{fe0f}", "👩\u{200d}👩", "🇩🇪", "\u{202e}", "\u{fffd}", "\u{fe0f}", "\u{301}", "\u{e0201}", "ｶ", "─",
        ])
        .prop_map(|it| it.as_bytes().to_vec()),
        4 => csi.prop_map(|(private, params, last)| {
            format!("\x1b[{private}{}{}", params.join(";"), char::from(last)).into_bytes()
        }),
        2 => mode.prop_map(|it| format!("\x1b[{it}").into_bytes()),
        2 => escape.prop_map(|it| it.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..60).prop_map(|it| it.concat())
}

fn size() -> impl Strategy<Value = Size> {
    (2_u16..14, 2_u16..8).prop_map(|(cols, rows)| Size::clamped(cols, rows))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_keyframe_and_the_rest_are_the_whole(
        size in size(), stream in stream(), cut in any::<prop::sample::Index>(),
        resized in proptest::option::of(size()),
    ) {
        let cut = cut.index(stream.len() + 1);
        let mut whole = Screen::new(size);
        whole.feed(&stream[..cut]);
        let keyframe = whole.keyframe();
        let mut again = Screen::from_keyframe(size, &keyframe);
        prop_assert_eq!(picture(&whole), picture(&again));
        prop_assert_eq!(&keyframe, &again.keyframe());
        if let Some(size) = resized {
            whole.resize(size);
            again.resize(size);
        }
        whole.feed(&stream[cut..]);
        again.feed(&stream[cut..]);
        prop_assert_eq!(picture(&whole), picture(&again));
        prop_assert_eq!(whole.keyframe(), again.keyframe());
    }

    #[test]
    fn cuts_between_feeds_change_nothing(
        size in size(), stream in stream(), cuts in proptest::collection::vec(1_usize..9, 1..40),
    ) {
        let whole = screen(size.cols(), size.rows(), &stream);
        let mut cut = Screen::new(size);
        let mut rest = &stream[..];
        for length in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (head, tail) = rest.split_at((*length).min(rest.len()));
            cut.feed(head);
            rest = tail;
        }
        prop_assert_eq!(picture(&whole), picture(&cut));
        prop_assert_eq!(whole.keyframe(), cut.keyframe());
    }

    #[test]
    fn a_flood_looks_as_if_every_line_had_been_drawn(
        size in size(), before in stream(), after in stream(),
        lines in proptest::collection::vec(
            prop_oneof![5 => "[ -~]{0,6}", 1 => "[ -~]{20,60}", 1 => "[中文é❤\u{fe0f}\u{301}]{0,9}", 1 => Just("\t\x0b".to_owned())], 10..80),
        ends in proptest::collection::vec(prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r"]), 80),
    ) {
        let mut flood = String::new();
        for (line, end) in lines.iter().zip(&ends) {
            flood.push_str(line);
            flood.push_str(end);
        }
        let mut fast = screen(size.cols(), size.rows(), &before);
        let mut slow = screen(size.cols(), size.rows(), &before);
        fast.feed(flood.as_bytes());
        for it in flood.as_bytes().chunks(2) {
            slow.feed(it);
        }
        prop_assert_eq!(picture(&fast), picture(&slow));
        fast.feed(&after);
        slow.feed(&after);
        prop_assert_eq!(picture(&fast), picture(&slow));
        prop_assert_eq!(fast.keyframe(), slow.keyframe());
    }

    #[test]
    fn random_bytes_never_panic(
        size in size(), bytes in proptest::collection::vec(any::<u8>(), 0..400), to in size(),
    ) {
        let mut screen = screen(size.cols(), size.rows(), &bytes);
        screen.resize(to);
        screen.feed(&bytes);
        prop_assert_eq!(screen.faults(), 0);
        let mut damaged = screen.keyframe();
        for (at, byte) in bytes.iter().enumerate().take(8) {
            let length = damaged.len();
            damaged[usize::from(*byte) * 7 % length] ^= at as u8 + 1;
        }
        let mut other = Screen::from_keyframe(to, &damaged);
        other.feed(&bytes);
        prop_assert_eq!(other.size(), to);
    }
}
