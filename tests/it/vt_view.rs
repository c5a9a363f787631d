//! Pictures that a program holds back until they are whole.

use std::time::Duration;

use proptest::prelude::*;
use sandwatch::{
    base::{
        limits::{SYNCHRONISED_BYTES_MAX, SYNCHRONISED_WITHIN},
        units::Size,
    },
    vt::{Screen, View},
};

const SIZE: Size = Size::DEFAULT;
const AT: Duration = Duration::from_secs(7);
/// Erases all, and begins a picture.
const BEGIN: &str = "\x1b[?2026h\x1b[2J\x1b[H";
const END: &str = "\x1b[?2026l";

fn showing(text: &str) -> View {
    let mut view = View::new(Screen::new(SIZE));
    assert!(view.feed(text.as_bytes(), AT));
    view
}

#[track_caller]
fn shows(view: &View, line: &str) {
    assert_eq!(view.screen().lines()[0], line);
}

#[test]
fn a_picture_shows_when_it_is_whole_and_not_before() {
    let mut view = showing("one");
    assert!(view.feed(format!("\x1b[Htwo{BEGIN}th").as_bytes(), AT));
    shows(&view, "two");
    assert_eq!(view.held_until(), Some(AT + SYNCHRONISED_WITHIN));
    assert!(!view.feed(b"re", AT));
    shows(&view, "two");
    // The end of one, all of another, and the beginning of a third.
    assert!(view.feed(format!("e{END}{BEGIN}four{END}{BEGIN}fi").as_bytes(), AT));
    shows(&view, "four");
    assert!(view.feed(format!("ve{END}, at once").as_bytes(), AT));
    shows(&view, "five, at once");
    assert_eq!(view.held_until(), None);
}

#[test]
fn it_does_not_matter_how_it_begins_or_where_it_is_cut() {
    for begin in ["\x1b[?2026h", "\x1b[?25;2026h", "\x1b[?2026;25h"] {
        let mut view = showing("one");
        for byte in begin.bytes() {
            view.feed(&[byte], AT);
        }
        view.feed(b"\x1b[2J\x1b[Htwo", AT);
        shows(&view, "one");
        for byte in END.bytes() {
            shows(&view, "one");
            view.feed(&[byte], AT);
        }
        shows(&view, "two");
    }
}

#[test]
fn a_program_that_never_ends_its_update_is_shown_all_the_same() {
    let mut view = showing("one");
    view.feed(format!("{BEGIN}two").as_bytes(), AT);
    let late = AT + SYNCHRONISED_WITHIN;
    assert!(!view.settle(AT + SYNCHRONISED_WITHIN / 2));
    shows(&view, "one");
    assert!(view.settle(late));
    shows(&view, "two");
    // From then on as it comes, until another update begins.
    assert!(view.feed(b" and", late) && view.held_until().is_none());
    shows(&view, "two and");
    view.feed(format!("{END}{BEGIN}three").as_bytes(), late);
    shows(&view, "two and");
    // The next output does it as well, should nobody have looked at the clock.
    assert!(view.feed(b"", late + SYNCHRONISED_WITHIN));
    shows(&view, "three");
}

#[test]
fn what_waits_is_bounded() {
    let mut view = showing("one");
    view.feed(b"\x1b[H\x1b[?2026h", AT);
    let piece = vec![b'x'; SYNCHRONISED_BYTES_MAX / 4];
    for _ in 0..4 {
        assert!(!view.feed(&piece, AT));
    }
    assert!(view.feed(b"x", AT) && view.held_until().is_none());
    shows(&view, &"x".repeat(usize::from(SIZE.cols())));
}

#[test]
fn a_keyframe_from_the_middle_of_an_update_waits_for_its_end() {
    let mut other = Screen::new(SIZE);
    other.feed(format!("{BEGIN}two").as_bytes());
    let keyframe = || Screen::from_keyframe(SIZE, &other.keyframe());
    let mut view = showing("one");
    assert!(!view.replace(keyframe(), AT));
    assert!(!view.feed(b", whole", AT));
    shows(&view, "one");
    assert!(view.feed(END.as_bytes(), AT));
    shows(&view, "two, whole");
    // One after the other they don't hold it back for ever.
    assert!(!view.replace(keyframe(), AT));
    assert!(!view.replace(keyframe(), AT + SYNCHRONISED_WITHIN / 2));
    assert!(view.replace(keyframe(), AT + SYNCHRONISED_WITHIN));
    shows(&view, "two");
    // A whole one shows at once.
    view.replace(keyframe(), AT);
    assert!(view.replace(Screen::new(SIZE), AT) && view.held_until().is_none());
    shows(&view, "");
}

#[test]
fn the_end_and_another_size_show_all_there_is() {
    let mut view = showing("one");
    view.feed(format!("{BEGIN}two").as_bytes(), AT);
    assert!(view.release() && !view.release());
    shows(&view, "two");
    view.feed(format!("{END}{BEGIN}three").as_bytes(), AT);
    view.resize(Size::clamped(20, 5));
    shows(&view, "three");
}

proptest! {
    #[test]
    fn what_was_shown_late_is_what_a_screen_shows_at_once(
        pieces in prop::collection::vec(
            prop_oneof!["[a-z\n]{0,9}", Just(BEGIN.to_owned()), Just(END.to_owned())], 0..12
        ),
        cut in 1_usize..9,
    ) {
        let bytes = pieces.concat().into_bytes();
        let mut screen = Screen::new(SIZE);
        screen.feed(&bytes);
        let mut view = View::new(Screen::new(SIZE));
        for piece in bytes.chunks(cut) {
            view.feed(piece, AT);
        }
        view.release();
        prop_assert_eq!(view.screen().keyframe(), screen.keyframe());
    }
}
