//! Attributes that vt100 does not keep: struck out, blinking, hidden.

use sandwatch::{
    base::units::Size,
    vt::{history::Scrollback, row, screen::Screen},
};

fn screen(cols: u16, rows: u16, bytes: &str) -> Screen {
    let mut screen = Screen::new(Size::clamped(cols, rows));
    screen.feed(bytes.as_bytes());
    screen
}

/// A row, a letter for each column: `s` struck, `b` blinking, `x` both, `.` neither.
fn marks(screen: &Screen, row: u16) -> String {
    let mark = |col| {
        let cell = screen.cell(row, col).unwrap();
        match (cell.struck, cell.blink) {
            (true, true) => 'x',
            (true, false) => 's',
            (false, true) => 'b',
            (false, false) => '.',
        }
    };
    (0..screen.size().cols()).map(mark).collect()
}

/// What a row looks like, and the same after a keyframe, with the feed cut anywhere.
#[track_caller]
fn looks(bytes: &str, text: &str, want: &str) {
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.as_bytes().split_at(cut);
        let mut screen = Screen::new(Size::clamped(8, 3));
        screen.feed(head);
        let mut again = Screen::from_keyframe(screen.size(), &screen.keyframe());
        screen.feed(tail);
        again.feed(tail);
        for screen in [screen, again] {
            assert_eq!(screen.lines()[0], text, "{bytes:?} cut at {cut}");
            assert_eq!(marks(&screen, 0), want, "{bytes:?} cut at {cut}");
        }
    }
}

#[test]
fn struck_and_blinking_text_is_known() {
    looks("a\x1b[9mbc\x1b[29md", "abcd", ".ss.....");
    looks("a\x1b[5mb\x1b[25m\x1b[6mc\x1b[md", "abcd", ".bb.....");
    looks("\x1b[5;9ma\x1b[25mb\x1b[0;9mc\x1b[0md", "abcd", "xss.....");
    looks("\x1b[38;5;9;48;2;9;9;9ma", "a", "........");
    looks("\x1b[4:3;9ma\x1b[58;2;9;9;9mb\x1b[21;29mc", "abc", "ss......");
    looks("\x1b[9ma\x1b7\x1b[mb\x1b8c", "ac", "ss......");
    looks("\x1b[9ma\x1b[!pb\x1b[9m\x1bcc", "c", "........");
}

#[test]
fn they_go_where_their_cells_go() {
    looks("\x1b[9mab\x1b[mcd\x1b[H\x1b[2@", "  abcd", "..ss....");
    looks("ab\x1b[9mcd\x1b[m\x1b[H\x1b[P", "bcd", ".ss.....");
    looks("a\x1b[9mb\x1b[m\x1b[H\x1b[L\x1b[M", "ab", ".s......");
    looks("x\r\na\x1b[9mb\x1b[m\x1b[S", "ab", ".s......");
    looks("\x1b[9mabc\x1b[m\x1b[2Gx\x1b[3G\x1b[X", "ax", "s.......");
    looks("\x1b[9mabc\x1b[m\x1b[?69h\x1b[1;4s\x1b[H\x1b[@", " abc", ".sss....");
    looks("\x1b[9ma\x1b[3b", "aaaa", "ssss....");
    looks("\x1b[9m中e\u{301}", "中e\u{301}", "s.s.....");
    let mut screen = screen(8, 3, "abcdef\x1b[9mghij\x1b[m");
    screen.resize(Size::clamped(5, 3));
    assert_eq!((marks(&screen, 0), marks(&screen, 1)), (".....".to_owned(), ".ssss".to_owned()));
}

#[test]
fn marks_come_after_as_if_there_were_none() {
    looks("\x1b[9m❤\x1b[m\u{fe0f}x", "❤\u{fe0f}x", "s.......");
    looks("\x1b[9me\x1b[m\u{301}\u{302}x", "e\u{301}\u{302}x", "s.......");
    looks("\x1b[9mabcdefgh\x1b[m\x1b[Hx\t\u{301}", "xbcdefg\u{301}h", ".sssssss");
    looks("\x1b[9mabcdefgh\x1b[m\u{301}", "abcdefgh\u{301}", "ssssssss");
    let plain = screen(8, 2, "❤\u{fe0f}x");
    let struck = screen(8, 2, "\x1b[9m❤\u{fe0f}x");
    assert!(plain.cell(0, 0).unwrap().wide && struck.cell(0, 0).unwrap().wide);
    assert_eq!(plain.cursor(), struck.cursor());
    let many = screen(8, 2, &format!("\x1b[8ma{}b", "\u{301}".repeat(40)));
    assert_eq!(many.lines()[0], "");
}

#[test]
fn hidden_text_is_blank_wherever_it_is_shown() {
    let screen = screen(8, 2, "a\x1b[8;4;9;44mbc\x1b[28md\x1b[8m中\x1b[m");
    assert_eq!(screen.lines()[0], "a  d");
    let cell = screen.cell(0, 1).unwrap();
    assert!(cell.text == " " && !cell.underline && !cell.struck);
    assert_eq!(format!("{:?}", cell.background), "Indexed(4)");
    let wide = screen.cell(0, 4).unwrap();
    assert!(wide.text == "  " && wide.wide && screen.cell(0, 5).unwrap().wide_rest);
    for formatted in [screen.row_formatted(0), screen.contents_formatted()] {
        let formatted = String::from_utf8(formatted).unwrap();
        assert!(!formatted.contains(['b', 'c', '中']), "{formatted:?}");
    }
    let mut again = Screen::from_keyframe(screen.size(), &screen.keyframe());
    again.feed(b"\x1b[H\x1b[C\x1b[@");
    assert_eq!(again.lines()[0], "a   d");
}

#[test]
fn a_real_terminal_is_told_of_them() {
    let screen = screen(8, 2, "a\x1b[9mb\x1b[5mc\x1b[m");
    let formatted = String::from_utf8(screen.row_formatted(0)).unwrap();
    assert_eq!(formatted, "a\x1b[0;9mb\x1b[0;9;5mc\x1b[0m");
}

#[test]
fn history_has_them_too() {
    let size = Size::clamped(12, 2);
    let mut history = Scrollback::from_keyframe(size, &Screen::new(size).keyframe());
    history.feed("a\x1b[9mbc\x1b[31mde\u{301}\x1b[5mf\x1b[m\x1b[8mgh中\x1b[mi\r\n\r\n".as_bytes());
    let line = &history.lines()[0];
    assert_eq!(line.text(), "abcde\u{301}f    i");
    let cells = row::parse(&line.formatted);
    let struck: String = cells.iter().map(|it| if it.struck { 's' } else { '.' }).collect();
    let blink: String = cells.iter().map(|it| if it.blink { 'b' } else { '.' }).collect();
    assert_eq!((struck.as_str(), blink.as_str()), (".sssss.....", ".....b....."));
    assert_eq!(String::from_utf8_lossy(&line.formatted).matches("\x1b[9m").count(), 3);
}

#[test]
fn no_mark_comes_in_and_none_goes_out() {
    looks("a\u{e0201}b\u{e0204}c", "abc", "........");
    let screen = screen(8, 2, "\x1b[5;9ma\x1b[8mb");
    let formatted = String::from_utf8(screen.contents_formatted()).unwrap();
    let ours = |it: char| ('\u{e0200}'..='\u{e02ff}').contains(&it);
    assert!(!formatted.contains(ours) && !screen.lines().concat().contains(ours));
}
