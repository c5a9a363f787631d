//! Keys, pastes, mouse and focus as bytes, by the modes of the program.

use proptest::prelude::*;
use sandwatch::vt::{
    key::{
        Key, KeyPress, Mods, MouseButton, MouseEvent, MouseKind, Stroke, encode, encode_focus,
        encode_mouse, encode_paste, parse_keys,
    },
    screen::{Modes, MouseEncoding, MouseMode},
};

fn typed(keys: &str, modes: &Modes) -> String {
    let bytes: Vec<u8> = parse_keys(keys).into_iter().flat_map(|it| encode(it, modes)).collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn keys_are_written_as_xterm_writes_them() {
    let plain = Modes::default();
    for (keys, want) in [
        ("ls é<Enter>", "ls é\r"),
        ("<C-c><C-Space><C-[><C-_><C-?>", "\x03\0\x1b\x1f\x7f"),
        ("<A-x><M-C-x>", "\x1bx\x1b\x18"),
        ("<Up><Down><Right><Left><Home><End>", "\x1b[A\x1b[B\x1b[C\x1b[D\x1b[H\x1b[F"),
        ("<C-Up><S-A-Left>", "\x1b[1;5A\x1b[1;4D"),
        ("<F1><F4><F5><F12><S-F5><C-F1>", "\x1bOP\x1bOS\x1b[15~\x1b[24~\x1b[15;2~\x1b[1;5P"),
        ("<S-Tab><Tab><BS><C-BS><A-BS><Esc>", "\x1b[Z\t\x7f\x08\x1b\x7f\x1b"),
        ("<Del><Ins><PgUp><C-PgDn>", "\x1b[3~\x1b[2~\x1b[5~\x1b[6;5~"),
        ("<lt>b> <b> a<b <C-> <nokey>", "<b> <b> a<b <C-> <nokey>"),
        ("a\nb", "a\rb"),
    ] {
        assert_eq!(typed(keys, &plain), want, "{keys}");
    }
    let application = Modes { application_cursor: true, ..plain };
    assert_eq!(typed("<Up><C-Up><Home>", &application), "\x1bOA\x1b[1;5A\x1bOH");
    let release = KeyPress { stroke: Stroke::Release, ..KeyPress::plain(Key::Enter) };
    assert!(encode(release, &plain).is_empty());
}

#[test]
fn the_kitty_protocol_is_spoken_as_far_as_asked_for() {
    let with = |kitty_flags| Modes { kitty_flags, ..Modes::default() };
    for (flags, keys, want) in [
        (1, "a<Enter><Tab><BS>", "a\r\t\x7f"),
        (1, "<Esc><C-c><A-x><C-i>", "\x1b[27u\x1b[99;5u\x1b[120;3u\x1b[105;5u"),
        (1, "<C-Enter><S-Tab><C-BS>", "\x1b[13;5u\x1b[9;2u\x1b[127;5u"),
        (1, "<Up><F1><F3><F5><C-Up>", "\x1b[A\x1b[P\x1b[13~\x1b[15~\x1b[1;5A"),
        (1, "<C-S-a>", "\x1b[97;6u"),
        (5, "<C-S-a>", "\x1b[97:65;6u"),
        (8, "aA<Enter>", "\x1b[97u\x1b[97;2u\x1b[13u"),
        (24, "aA", "\x1b[97;;97u\x1b[97;2;65u"),
        (2, "a<Esc><C-c>", "a\x1b\x03"),
    ] {
        assert_eq!(typed(keys, &with(flags)), want, "{flags} {keys}");
    }
    let stroke = |key, stroke, flags| {
        let press = KeyPress { stroke, ..KeyPress::plain(key) };
        String::from_utf8(encode(press, &with(flags))).unwrap()
    };
    assert_eq!(stroke(Key::Up, Stroke::Release, 3), "\x1b[1;1:3A");
    assert_eq!(stroke(Key::Char('a'), Stroke::Release, 3), "\x1b[97;1:3u");
    assert_eq!(stroke(Key::Char('a'), Stroke::Repeat, 3), "a");
    assert_eq!(stroke(Key::Enter, Stroke::Release, 3), "");
    assert_eq!(stroke(Key::Enter, Stroke::Release, 11), "\x1b[13;1:3u");
    assert_eq!(stroke(Key::Up, Stroke::Release, 1), "");
}

#[test]
fn a_paste_cannot_get_out_of_its_brackets() {
    let bracketed = Modes { bracketed_paste: true, ..Modes::default() };
    let text = "a\x1b[201~b\r\nc\td\x03\u{9b}201~e";
    let paste = String::from_utf8(encode_paste(text, &bracketed)).unwrap();
    assert_eq!(paste, "\x1b[200~a[201~b\nc\td201~e\x1b[201~");
    let paste = String::from_utf8(encode_paste("a\nb\x1bc", &Modes::default())).unwrap();
    assert_eq!(paste, "a\rbc");
}

#[test]
fn the_mouse_is_heard_only_as_asked_for() {
    let modes = |mouse, mouse_encoding| Modes { mouse, mouse_encoding, ..Modes::default() };
    let at = |kind, row, col, mods| MouseEvent { kind, row, col, mods };
    let none = Mods::default();
    let press = at(MouseKind::Press(MouseButton::Left), 2, 5, none);
    let release = at(MouseKind::Release(MouseButton::Right), 0, 0, none);
    let drag = at(MouseKind::Motion(Some(MouseButton::Left)), 0, 0, Mods { ctrl: true, ..none });
    let sgr = |mouse| modes(mouse, MouseEncoding::Sgr);
    let text = |event, modes: Modes| {
        encode_mouse(event, &modes).map(|it| String::from_utf8_lossy(&it).into_owned())
    };
    assert_eq!(text(press, modes(MouseMode::Off, MouseEncoding::Sgr)), None);
    assert_eq!(text(press, sgr(MouseMode::PressRelease)).as_deref(), Some("\x1b[<0;6;3M"));
    assert_eq!(text(release, sgr(MouseMode::PressRelease)).as_deref(), Some("\x1b[<2;1;1m"));
    assert_eq!(text(drag, sgr(MouseMode::PressRelease)), None);
    assert_eq!(text(drag, sgr(MouseMode::ButtonMotion)).as_deref(), Some("\x1b[<48;1;1M"));
    let hover = at(MouseKind::Motion(None), 0, 0, none);
    assert_eq!(text(hover, sgr(MouseMode::ButtonMotion)), None);
    assert_eq!(text(hover, sgr(MouseMode::AnyMotion)).as_deref(), Some("\x1b[<35;1;1M"));
    let legacy = modes(MouseMode::PressRelease, MouseEncoding::Legacy);
    assert_eq!(text(press, legacy).as_deref(), Some("\x1b[M &#"));
    assert_eq!(text(release, legacy).as_deref(), Some("\x1b[M#!!"));
    let far = at(MouseKind::WheelDown, 0, 300, none);
    assert_eq!(text(far, legacy), None);
    assert_eq!(
        text(far, modes(MouseMode::PressRelease, MouseEncoding::Utf8)).as_deref(),
        Some("\x1b[Ma\u{14d}!")
    );
}

#[test]
fn focus_is_told_when_asked_for() {
    let asked = Modes { focus_events: true, ..Modes::default() };
    assert_eq!(encode_focus(true, &asked), Some(&b"\x1b[I"[..]));
    assert_eq!(encode_focus(false, &asked), Some(&b"\x1b[O"[..]));
    assert_eq!(encode_focus(true, &Modes::default()), None);
}

proptest! {
    #[test]
    fn any_text_can_be_typed(text in "\\PC{0,40}") {
        let modes = Modes::default();
        let escaped = text.replace('<', "<lt>");
        prop_assert_eq!(typed(&escaped, &modes), text);
    }

    #[test]
    fn no_paste_holds_an_escape(text in any::<String>()) {
        let bracketed = Modes { bracketed_paste: true, ..Modes::default() };
        let paste = encode_paste(&text, &bracketed);
        let inner = &paste[6..paste.len() - 6];
        prop_assert!(!inner.contains(&0x1b));
    }
}
