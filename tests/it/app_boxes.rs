//! Keys in boxes: what is a line takes text, what is only read takes the keys of a pager.

use sandwatch::{
    app::{Act, Msg, dialog::Field, keymap, msg::Reply, state::Overlay},
    model::{
        check::{Check, CheckStatus},
        event::Level,
    },
};

use super::app_support::{Console, day};

fn top(console: &Console) -> Option<usize> {
    match &console.state.overlay {
        Some(
            Overlay::Notices { top } | Overlay::Info { top, .. } | Overlay::Doctor { top, .. },
        ) => Some(*top),
        _ => None,
    }
}

/// A console with one of the boxes that are only read, with enough in it to move.
fn reading(what: &str) -> Console {
    let mut console = Console::with_fleet((100, 30), day());
    for number in 0..40 {
        console.send(Msg::Notice(Level::Info, format!("notice {number}")));
    }
    console.keys(":");
    console.text(what);
    console.keys("enter");
    if what == "doctor" {
        let check = |number| Check {
            check: format!("check {number}"),
            status: CheckStatus::Ok,
            detail: "works".to_owned(),
            fix: None,
        };
        let checks = Reply::Checks((0..40).map(check).collect());
        console.answer(|it| matches!(it, Act::Doctor), checks);
    }
    console
}

#[test]
fn boxes_that_are_only_read_are_moved_in_and_closed_by_letters() {
    for what in ["info", "notices", "doctor"] {
        let mut console = reading(what);
        assert_eq!(top(&console), Some(0), "{what}");
        console.keys("j j k j");
        assert_eq!(top(&console), Some(2), "{what}");
        console.keys("down up ctrl-d");
        assert_eq!(top(&console), Some(12), "{what}");
        console.keys("pageup");
        assert_eq!(top(&console), Some(2), "{what}");
        let fleet = console.state.fleet.cursor();
        console.keys("q");
        assert!(console.state.overlay.is_none(), "{what}");
        assert_eq!(console.state.fleet.cursor(), fleet, "{what}: moved the list below");
    }
}

#[test]
fn letters_close_no_box_that_asks() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("D");
    console.read();
    console.keys("q j k");
    assert!(matches!(console.state.overlay, Some(Overlay::Confirm(_))));
}

#[test]
fn palette_and_help_move_by_pages() {
    let selected = |console: &Console| match &console.state.overlay {
        Some(Overlay::Palette(palette)) => palette.selected,
        Some(Overlay::Help(help)) => help.top,
        other => panic!("{other:?}"),
    };
    for open in ["ctrl-k", "?"] {
        let mut console = Console::with_fleet((100, 30), day());
        console.keys(open);
        console.keys("pagedown");
        assert_eq!(selected(&console), 10, "{open}");
        console.keys("pagedown down tab");
        assert_eq!(selected(&console), 22, "{open}");
        console.keys("pageup backtab");
        assert_eq!(selected(&console), 11, "{open}");
        // What is no key of the line narrows nothing and leaves the place.
        console.keys("f5");
        assert_eq!(selected(&console), 11, "{open}");
        console.keys("ctrl-u");
        assert_eq!(selected(&console), 0, "{open}");
    }
}

#[test]
fn keys_that_edit_a_field_leave_it_to_no_other() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("n");
    console.text("bash -c ls");
    let dialog = |console: &Console| match &console.state.overlay {
        Some(Overlay::New(dialog)) => (dialog.focus(), dialog.text(Field::Program).to_owned()),
        other => panic!("{other:?}"),
    };
    console.keys("left left ctrl-d");
    assert_eq!(dialog(&console), (Field::Program, "bash -c s".to_owned()));
    console.keys("ctrl-u ctrl-d ctrl-d ctrl-u");
    assert_eq!(dialog(&console), (Field::Program, String::new()));
    // Where there is nothing to edit, they do nothing.
    console.keys("tab tab tab ctrl-u ctrl-d");
    assert_eq!(dialog(&console).0, Field::Workspace);
}

#[test]
fn a_letter_that_a_key_file_gives_to_boxes_is_text_where_a_line_takes_it() {
    let mut console = Console::with_fleet((100, 30), day());
    let file = "[dialog]\n\"j\" = \"dialog.next\"\n\"q\" = \"dialog.cancel\"\n";
    let base = |it: &str| keymap::preset(it).map(str::to_owned);
    console.state.keymap = keymap::parse("mine.toml", "mine", file, &base).unwrap();
    console.keys("n");
    console.text("jq");
    let Some(Overlay::New(dialog)) = &console.state.overlay else { panic!("closed") };
    assert_eq!((dialog.focus(), dialog.text(Field::Program)), (Field::Program, "jq"));
    console.keys("esc ctrl-k");
    console.text("jq");
    let Some(Overlay::Palette(palette)) = &console.state.overlay else { panic!("closed") };
    assert_eq!(palette.line.text(), "jq");
}
