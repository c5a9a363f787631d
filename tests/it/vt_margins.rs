//! Left and right margins, reverse wrap, and the alternate screen's oldest name.

use proptest::prelude::*;
use sandwatch::{base::units::Size, vt::screen::Screen};

fn screen(cols: u16, rows: u16, bytes: &[u8]) -> Screen {
    let mut screen = Screen::new(Size::clamped(cols, rows));
    screen.feed(bytes);
    screen
}

/// The same at whatever byte the feed is cut, and whether or not a keyframe stands in between.
#[track_caller]
fn shows(cols: u16, rows: u16, bytes: &str, lines: &[&str], cursor: (u16, u16)) {
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.as_bytes().split_at(cut);
        let first = screen(cols, rows, head);
        let again = Screen::from_keyframe(first.size(), &first.keyframe());
        for mut screen in [first, again] {
            screen.feed(tail);
            let shown = screen.lines();
            let used = shown.iter().rposition(|it| !it.is_empty()).map_or(0, |it| it + 1);
            assert_eq!(shown[..used], *lines, "{bytes:?} cut at {cut}");
            assert_eq!(screen.cursor(), Some(cursor), "{bytes:?} cut at {cut}");
        }
    }
}

/// Four lines of letters, margins around `cd`, and then something.
#[track_caller]
fn between(then: &str, lines: &[&str], cursor: (u16, u16)) {
    let lettered = "abcdef\r\nghijkl\r\nmnopqr\r\nstuvwx";
    shows(6, 4, &format!("{lettered}\x1b[?69h\x1b[3;4s{then}"), lines, cursor);
}

#[test]
fn lines_move_between_the_margins_only() {
    between("\x1b[S", &["abijef", "ghopkl", "mnuvqr", "st  wx"], (0, 0));
    between("\x1b[T", &["ab  ef", "ghcdkl", "mnijqr", "stopwx"], (0, 0));
    between("\x1b[2;3r\x1b[S", &["abcdef", "ghopkl", "mn  qr", "stuvwx"], (0, 0));
    between("\x1b[2;3H\x1b[L", &["abcdef", "gh  kl", "mnijqr", "stopwx"], (1, 2));
    between("\x1b[2;3H\x1b[M", &["abcdef", "ghopkl", "mnuvqr", "st  wx"], (1, 2));
    between("\x1b[4;3H\nZ", &["abijef", "ghopkl", "mnuvqr", "stZ wx"], (3, 3));
    between("\x1b[1;4H\x1bM", &["ab  ef", "ghcdkl", "mnijqr", "stopwx"], (0, 3));
    between("\x1b[9S", &["ab  ef", "gh  kl", "mn  qr", "st  wx"], (0, 0));
}

#[test]
fn beside_the_margins_no_line_moves() {
    let all = ["abcdef", "ghijkl", "mnopqr", "stuvwx"];
    between("\x1b[4;1H\n", &all, (3, 0));
    between("\x1b[4;6H\n\x1bD", &all, (3, 5));
    between("\x1b[1;6H\x1bM", &all, (0, 5));
    between("\x1b[2;1H\x1b[L\x1b[M\x1b[@\x1b[P", &all, (1, 0));
    between("\x1b[2;5H\x1b[L\x1b[M\x1b[@\x1b[P", &all, (1, 4));
}

#[test]
fn characters_move_up_to_the_right_margin() {
    between("\x1b[1;3H\x1b[@", &["ab cef", "ghijkl", "mnopqr", "stuvwx"], (0, 2));
    between("\x1b[1;3H\x1b[P", &["abd ef", "ghijkl", "mnopqr", "stuvwx"], (0, 2));
    between("\x1b[1;3H\x1b[9P", &["ab  ef", "ghijkl", "mnopqr", "stuvwx"], (0, 2));
    between("\x1b[1;3H\x1b[4hZ", &["abZcef", "ghijkl", "mnopqr", "stuvwx"], (0, 3));
    // Erasing knows no margins.
    between("\x1b[1;3H\x1b[3X", &["ab   f", "ghijkl", "mnopqr", "stuvwx"], (0, 2));
    between("\x1b[1;3H\x1b[K", &["ab", "ghijkl", "mnopqr", "stuvwx"], (0, 2));
}

#[test]
fn text_wraps_at_the_right_margin_to_the_left_one() {
    between("\x1b[1;3HXYZ", &["abXYef", "ghZjkl", "mnopqr", "stuvwx"], (1, 3));
    between("\x1b[1;1HUVXYZ", &["UVXYef", "ghZjkl", "mnopqr", "stuvwx"], (1, 3));
    between("\x1b[1;5HXYZ", &["abcdXY", "ghZjkl", "mnopqr", "stuvwx"], (1, 3));
    between("\x1b[4;3HXYZ", &["abijef", "ghopkl", "mnXYqr", "stZ wx"], (3, 3));
    between("\x1b[1;3H\x1b[?7lXYZ", &["abXZef", "ghijkl", "mnopqr", "stuvwx"], (0, 3));
    between("\x1b[1;3HX中", &["abXdef", "gh中kl", "mnopqr", "stuvwx"], (1, 3));
    between("\x1b[1;4HXe\u{301}", &["abcXef", "ghe\u{301}jkl", "mnopqr", "stuvwx"], (1, 3));
    between("\x1b[1;4He\u{301}", &["abce\u{301}ef", "ghijkl", "mnopqr", "stuvwx"], (0, 3));
    // No room to grow at the margin.
    between("\x1b[1;4H❤\u{fe0f}", &["abc❤ef", "ghijkl", "mnopqr", "stuvwx"], (0, 3));
}

#[test]
fn a_wrap_pending_at_the_margin_is_no_column() {
    between("\x1b[1;3HXY\x08Z", &["abZYef", "ghijkl", "mnopqr", "stuvwx"], (0, 3));
    between("\x1b[1;3HXY\rZ", &["abZYef", "ghijkl", "mnopqr", "stuvwx"], (0, 3));
    between("\x1b[1;3HXY\x1b7\x1b[H\x1b8Z", &["abXYef", "ghZjkl", "mnopqr", "stuvwx"], (1, 3));
    between("\x1b[1;3HXY\x1b7\x1b[?69l\x1b8Z", &["abXZef", "ghijkl", "mnopqr", "stuvwx"], (0, 4));
    between("\x1b[1;3HXY\x1b[?69lZ", &["abXZef", "ghijkl", "mnopqr", "stuvwx"], (0, 4));
    between("\x1b[1;3HXY\x1b[CZ", &["abXZef", "ghijkl", "mnopqr", "stuvwx"], (0, 3));
    let all = ["abXYef", "ghijkl", "mnopqr", "stuvwx"];
    between("\x1b[1;3HXY\x1b[?1049h\x1b[?1049l", &all, (0, 3));
}

#[test]
fn the_cursor_stops_at_the_margins_it_is_within() {
    let at = |then: &str| {
        screen(20, 6, format!("\x1b[?69h\x1b[5;10s\x1b[2;5r{then}").as_bytes()).cursor().unwrap()
    };
    assert_eq!(at(""), (0, 0));
    assert_eq!(at("\x1b[3;7H\x1b[99C"), (2, 9));
    assert_eq!(at("\x1b[3;12H\x1b[99C"), (2, 19));
    assert_eq!(at("\x1b[3;7H\x1b[99D"), (2, 4));
    assert_eq!(at("\x1b[3;3H\x1b[99D"), (2, 0));
    assert_eq!(at("\x1b[3;7H\x1b[99A"), (1, 6));
    assert_eq!(at("\x1b[3;7H\x1b[99B"), (4, 6));
    assert_eq!(at("\x1b[3;7H\x1b[99G"), (2, 19));
    assert_eq!(at("\x1b[3;7H\x1b[99a"), (2, 19));
    assert_eq!(at("\x1b[3;7H\r"), (2, 4));
    assert_eq!(at("\x1b[3;5H\r"), (2, 4));
    assert_eq!(at("\x1b[3;3H\r"), (2, 0));
    assert_eq!(at("\x1b[3;7H\x1b[E"), (3, 4));
    assert_eq!(at("\x1b[3;7H\x1b[F"), (1, 4));
    assert_eq!(at("\x1b[3;3H\x1b[F"), (1, 0));
    assert_eq!(at("\x1b[3;7H\x1bE"), (3, 4));
    assert_eq!(at("\x1b[3;7H\t"), (2, 8));
    assert_eq!(at("\x1b[3;7H\t\t"), (2, 9));
    assert_eq!(at("\x1b[3;12H\t"), (2, 16));
    assert_eq!(at("\x1b[3;7H\x1b[2Z"), (2, 0));
}

#[test]
fn in_origin_mode_columns_count_from_the_left_margin() {
    let at = |then: &str| {
        let bytes = format!("\x1b[?69h\x1b[5;10s\x1b[2;5r\x1b[?6h{then}");
        screen(20, 6, bytes.as_bytes()).cursor().unwrap()
    };
    assert_eq!(at(""), (1, 4));
    assert_eq!(at("\x1b[2;2H"), (2, 5));
    assert_eq!(at("\x1b[99;99H"), (4, 9));
    assert_eq!(at("\x1b[3;3H\x1b[2G"), (3, 5));
    assert_eq!(at("\x1b[3;3H\x1b[99`"), (3, 9));
    assert_eq!(at("\x1b[3;3H\x1b[2d"), (2, 6));
    assert_eq!(at("\x1b[3;3H\x1b[99a"), (3, 9));
    assert_eq!(at("\x1b[3;3H\x1b[99e"), (4, 6));
    assert_eq!(at("\x1b[3;3H\x1b[9Z"), (3, 4));
    assert_eq!(at("\x1b[3;3H\x1b[6;9s"), (1, 5));
    let mut screen = screen(20, 6, b"\x1b[?69h\x1b[5;10s\x1b[2;5r\x1b[?6h\x1b[2;3H");
    assert_eq!(screen.feed(b"\x1b[6n").replies, b"\x1b[2;3R");
}

#[test]
fn blanks_between_the_margins_take_the_background() {
    let blue = |then: &str, row, col| {
        let bytes = format!("\x1b[?69h\x1b[3;4s\x1b[44m{then}");
        let screen = screen(6, 3, bytes.as_bytes());
        let at = |col| format!("{:?}", screen.cell(row, col).unwrap().background);
        assert_eq!(at(col), "Indexed(4)", "{then:?}");
        assert_eq!((at(1), at(4)), ("Default".to_owned(), "Default".to_owned()), "{then:?}");
    };
    blue("\x1b[S", 2, 2);
    blue("\x1b[T", 0, 3);
    blue("\x1b[3;3H\n", 2, 3);
    blue("\x1b[1;3H\x1bM", 0, 2);
    blue("\x1b[1;3H\x1b[L", 0, 2);
    blue("\x1b[1;3H\x1b[@", 0, 2);
    blue("\x1b[1;3H\x1b[P", 0, 3);
    blue("\x1b[3;3Habc", 2, 3);
}

#[test]
fn without_the_mode_there_are_no_margins_but_a_saved_cursor() {
    shows(6, 2, "ab\x1b[sc\x1b[ud", &["abd"], (0, 3));
    shows(6, 2, "ab\x1b[3;4scdef", &["abcdef"], (0, 5));
    shows(6, 2, "\x1b[?69h\x1b[3;4s\x1b[?69labcdef", &["abcdef"], (0, 5));
    // Margins that make no sense, and none.
    shows(6, 2, "\x1b[?69h\x1b[4;3sabcd", &["abcd"], (0, 4));
    shows(6, 2, "\x1b[?69h\x1b[3;4s\x1b[sabcd", &["abcd"], (0, 4));
    shows(6, 2, "\x1b[?69h\x1b[3;4s\x1b[!pabcd\x1b[sx\x1b[uy", &["abcdy"], (0, 5));
    shows(6, 2, "\x1b[?69h\x1b[3;4s\x1bcabcd\x1b[sx\x1b[uy", &["abcdy"], (0, 5));
    shows(3, 2, "\x1b[?69h\x1b[2;3s\x1b#8\x1b[2HXYZ", &["EEE", "XYZ"], (1, 2));
}

#[test]
fn the_modes_are_told() {
    let mut screen = screen(6, 2, b"");
    let mut told = |bytes: &[u8]| String::from_utf8(screen.feed(bytes).replies).unwrap();
    assert_eq!(told(b"\x1b[?69$p\x1b[?69h\x1b[?69$p"), "\x1b[?69;2$y\x1b[?69;1$y");
    assert_eq!(told(b"\x1b[?45$p\x1b[?45h\x1b[?45$p"), "\x1b[?45;2$y\x1b[?45;1$y");
    assert_eq!(told(b"\x1b[?47$p\x1b[?47h\x1b[?47$p"), "\x1b[?47;2$y\x1b[?47;1$y");
}

#[test]
fn a_resize_ends_margins() {
    let mut screen = screen(8, 3, b"\x1b[?69h\x1b[3;4s\x1b[1;3HXY");
    screen.resize(Size::clamped(6, 3));
    assert_eq!(screen.cursor(), Some((0, 3)));
    screen.feed(b"\x1b[Habcdefg");
    assert_eq!(screen.lines()[..2], ["abcdef", "g"]);
}

#[test]
fn with_reverse_wrap_a_backspace_goes_back_over_a_wrapped_line() {
    shows(4, 3, "\x1b[?45habcdef\x1b[4DX", &["abXd", "ef"], (0, 3));
    shows(4, 3, "\x1b[?45habcde\x08\x08X", &["abcX", "e"], (0, 3));
    shows(4, 3, "\x1b[?45habcd\x08X", &["abcX"], (0, 3));
    shows(4, 3, "\x1b[?45habcd\r\nef\x1b[9DX", &["abcd", "Xf"], (1, 1));
    shows(4, 3, "abcdef\x1b[9DX", &["abcd", "Xf"], (1, 1));
    shows(4, 3, "\x1b[?45h\x1b[?7l\x1b[9DX", &["X"], (0, 1));
    shows(4, 3, "\x1b[?45habcdefgh\x1b[2;3r\x1b[2H\x08X", &["abcd", "Xfgh"], (1, 1));
}

#[test]
fn what_was_left_by_47_is_there_again() {
    shows(8, 2, "main\x1b[?47halt\x1b[?47l!\x1b[?47h", &["    alt"], (0, 7));
    shows(8, 2, "main\x1b[?47halt\x1b[?47l\x1b[?1047h", &["    alt"], (0, 7));
    shows(8, 2, "main\x1b[?47halt\x1b[?47l\x1b[?1049h", &[], (0, 7));
    shows(8, 2, "main\x1b[?47halt\x1b[?1047l\x1b[?47h", &[], (0, 7));
    shows(8, 2, "main\x1b[?47halt\x1b[?47l!", &["main   !"], (0, 7));
}

fn piece() -> impl Strategy<Value = String> {
    let home = (1_u16..8, 1_u16..10).prop_map(|(row, col)| format!("\x1b[{row};{col}H"));
    let moves = (1_u16..6, prop::sample::select(b"@ABCDEFGLMPST`d".to_vec()))
        .prop_map(|(count, last)| format!("\x1b[{count}{}", char::from(last)));
    let fixed = prop::sample::select(vec![
        "\r", "\n", "\r\n", "\x08", "\x1bM", "\x1bD", "\x1bE", "\x1b7", "\x1b8", "\x1b[?7l",
        "\x1b[?7h", "\x1b[4h", "\x1b[4l", "\x1b[20h", "\x1b[20l", "\x1b(0", "\x1b(B", "x\x1b[3b",
    ])
    .prop_map(str::to_owned);
    let text = prop_oneof![
        5 => "[a-z]{1,9}".prop_map(String::from),
        1 => prop::sample::select(vec!["中", "文字", "e\u{301}", "x❤\u{fe0f}"]).prop_map(str::to_owned),
    ];
    prop_oneof![4 => text, 2 => home, 3 => moves, 4 => fixed]
}

/// Either wide characters or what may cut one in half: of the halves vt100 keeps more than is drawn here.
fn pieces() -> impl Strategy<Value = Vec<String>> {
    let all = proptest::collection::vec(piece(), 0..30);
    (all, any::<bool>()).prop_map(|(mut all, wide)| {
        let cuts = |it: &String| it.ends_with(['@', 'P']) || it == "\x1b[4h";
        all.retain(|it| if wide { !cuts(it) } else { !it.contains(['中', '文', '❤']) });
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// With margins on all four sides and in origin mode a part of a screen is a screen of its own.
    #[test]
    fn within_its_margins_a_screen_is_like_a_smaller_one(
        (left, cols, right) in (0_u16..4, 2_u16..8, 0_u16..4),
        (top, rows, bottom) in (0_u16..3, 2_u16..6, 0_u16..3),
        pieces in pieces(),
    ) {
        prop_assume!(left + right > 0);
        let mut small = Screen::new(Size::clamped(cols, rows));
        let size = Size::clamped(left + cols + right, top + rows + bottom);
        let mut large = Screen::new(size);
        // A frame of dots around blanks, to see that nothing reaches it.
        large.feed("\x1b[?7l".as_bytes());
        for row in 1..=size.rows() {
            large.feed(format!("\x1b[{row}H{}", ".".repeat(size.cols().into())).as_bytes());
        }
        for row in top + 1..=top + rows {
            large.feed(format!("\x1b[{row};{}H\x1b[{cols}X", left + 1).as_bytes());
        }
        large.feed(format!("\x1b[?7h\x1b[?69h\x1b[{};{}s", left + 1, left + cols).as_bytes());
        large.feed(format!("\x1b[{};{}r\x1b[?6h\x1b[H\x1b7", top + 1, top + rows).as_bytes());
        for (at, it) in pieces.iter().enumerate() {
            small.feed(it.as_bytes());
            large.feed(it.as_bytes());
            let sent = &pieces[..=at];
            for row in 0..size.rows() {
                for col in 0..size.cols() {
                    let inside = (top..top + rows).contains(&row) && (left..left + cols).contains(&col);
                    let text = large.cell(row, col).unwrap().text;
                    let want = if inside { small.cell(row - top, col - left).unwrap().text } else { "." };
                    let blank = |it: &str| it.is_empty() || it == " ";
                    prop_assert!(text == want || blank(text) && blank(want),
                        "row {} col {}: {:?} but {:?} after {:?}", row, col, text, want, sent);
                }
            }
            let cursor = small.cursor().map(|(row, col)| (row + top, col + left));
            prop_assert_eq!(large.cursor(), cursor, "after {:?}", sent);
        }
        prop_assert_eq!(large.faults(), 0);
    }
}
