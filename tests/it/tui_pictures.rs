//! Pictures among files, on terminals that can show them by themselves and on those that can't: what they are sent.

use std::fs;

use sandwatch::tui::pictures::KITTY_WIPE;

use crate::{
    program::Home,
    pty::{Pty, Speaks, View},
};

const SIZE: (u16, u16) = (120, 36);
const SIDE: u32 = 64;
/// How pictures begin.
const KITTY: &str = "\x1b_Ga=T,f=100,i=21335,p=1,c=";
const SIXEL: &str = "\x1bP0;1;0q\"1;1;64;64#";
const ASKED: &str = "\x1b_Gi=31,";

const KITTY_TERMINAL: Speaks =
    Speaks { attributes: Some("\x1b[?62;c"), kitty: true, cell: Some((20, 10)), points: (0, 0) };
const SIXEL_TERMINAL: Speaks = Speaks {
    attributes: Some("\x1b[?62;4;22c"),
    kitty: false,
    cell: Some((20, 10)),
    points: (0, 0),
};
const PLAIN_TERMINAL: Speaks =
    Speaks { attributes: Some("\x1b[?62;22c"), kitty: false, cell: None, points: (0, 0) };
const SILENT_TERMINAL: Speaks =
    Speaks { attributes: None, kitty: false, cell: None, points: (0, 0) };

fn picture() -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, SIDE, SIDE);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    let points = (SIDE * SIDE) as usize;
    writer.write_image_data(&[255, 0, 0].repeat(points)).unwrap();
    writer.finish().unwrap();
    out
}

/// The place of files of a sandbox, with a picture under its cursor and a text below that.
fn in_files(speaks: Speaks, images: &str) -> (Home, Pty) {
    let home = Home::new();
    fs::write(home.workspace().join("a.png"), picture()).unwrap();
    fs::write(home.workspace().join("b.txt"), "a text\n".repeat(8)).unwrap();
    fs::create_dir_all(home.config()).unwrap();
    fs::write(home.config().join("config.toml"), format!("[ui]\nimages = \"{images}\"\n")).unwrap();
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "sleep 1000"]);
    let pty = Pty::speaking(&home, &[], SIZE, speaks);
    // It is watched by then, and the terminal has said what it is.
    pty.wait_for("watching");
    pty.send("f");
    pty.wait_for("b.txt");
    (home, pty)
}

fn count(view: &View, words: &str) -> usize {
    view.raw.windows(words.len()).filter(|it| *it == words.as_bytes()).count()
}

fn is_in_blocks(view: &View) -> bool {
    view.has("▀▀▀")
}

/// What was written since something was last.
fn since<'a>(view: &'a View, words: &str) -> &'a [u8] {
    let at = view.raw.windows(words.len()).rposition(|it| it == words.as_bytes());
    &view.raw[at.expect("it was written")..]
}

fn leave(mut pty: Pty) -> Pty {
    pty.send("\x03");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
    pty
}

#[test]
fn a_terminal_that_answers_as_kitty_shows_the_picture_until_anything_else_is_to_be_seen() {
    let wipe = std::str::from_utf8(KITTY_WIPE).unwrap();
    let shows = |it: &View, times: usize| count(it, KITTY) == times && !it.is_on(wipe, KITTY);
    let gone = |it: &View, times: usize| count(it, KITTY) == times && it.is_on(wipe, KITTY);
    let (home, pty) = in_files(KITTY_TERMINAL, "auto");
    pty.wait_until("a picture", |it| shows(it, 1) && it.has("64x64 points"));
    assert!(pty.look(|it| !is_in_blocks(it) && count(it, "p=1,c=7,r=4,C=1,q=2,") == 1));
    // Moved on.
    pty.send("j");
    pty.wait_until("none beside a text", |it| gone(it, 1) && it.has("a text"));
    pty.send("k");
    pty.wait_until("it again", |it| shows(it, 2) && it.has("64x64 points"));
    // Under a box, and under a line that is typed, there are cells.
    for (open, times) in [("?", 3), (":", 4)] {
        pty.send(open);
        // Of which help, being large, leaves few in sight.
        let cells = |it: &View| open == "?" || is_in_blocks(it);
        pty.wait_until("cells instead", |it| gone(it, times - 1) && cells(it));
        pty.send("\x1b");
        pty.wait_until("it once more", |it| shows(it, times) && !is_in_blocks(it));
    }
    // Nor over an ask, which opens a bar of its own and makes the room another.
    let ask = ["exec", "box", "--", "sandwatch", "ask", "--kind", "exec", "--subject", "make all"];
    let mut asking = home.command(&ask).spawn().unwrap();
    pty.wait_for("make all");
    pty.send("I");
    pty.wait_until("nothing over the asks", |it| it.is_on(wipe, KITTY) && it.has("ASKS"));
    let shown = pty.look(|it| count(it, KITTY));
    pty.send("\x1b");
    pty.wait_until("it below", |it| count(it, KITTY) > shown && it.is_on(KITTY, wipe));
    drop(asking.kill());
    drop(asking.wait());
    // Of another size all is drawn anew, as long as both halves fit.
    let shown = pty.look(|it| count(it, KITTY));
    pty.resize((110, 30));
    pty.wait_until("it in its new place", |it| count(it, KITTY) > shown && it.is_on(KITTY, wipe));
    let pty = leave(pty);
    assert!(pty.look(|it| it.is_on(wipe, KITTY) && count(it, "\x1bP") == 0));
}

#[test]
fn a_terminal_that_can_sixels_is_sent_them_and_cells_are_drawn_over_them() {
    let (_home, pty) = in_files(SIXEL_TERMINAL, "auto");
    pty.wait_until("a picture", |it| count(it, SIXEL) == 1 && it.has("64x64 points"));
    assert!(!pty.look(is_in_blocks));
    let place = pty.look(|it| {
        let at = it.raw.windows(SIXEL.len()).position(|it| it == SIXEL.as_bytes()).unwrap();
        let before = String::from_utf8_lossy(&it.raw[..at]);
        let (row, column) = before.rsplit_once("\x1b[").unwrap().1.split_once(';').unwrap();
        (row.parse::<u16>().unwrap(), column.trim_end_matches('H').parse::<u16>().unwrap())
    });
    pty.send("j");
    pty.wait_until("the text", |it| it.has("a text") && !it.has("64x64 points"));
    // Each of its four rows was written over, though there is nothing to be seen in some.
    pty.look(|it| {
        let after = String::from_utf8_lossy(since(it, SIXEL)).into_owned();
        for row in place.0..place.0 + 4 {
            assert!(after.contains(&format!("\x1b[{row};{}H", place.1)), "{row}: {after:?}");
        }
    });
    pty.send("k");
    pty.wait_until("it again", |it| count(it, SIXEL) == 2);
    pty.send(":");
    pty.wait_until("cells above a line that is typed", is_in_blocks);
    pty.send("\x1b");
    pty.wait_until("it once more", |it| count(it, SIXEL) == 3 && !is_in_blocks(it));
    let pty = leave(pty);
    pty.look(|it| assert_eq!(count(it, "\x1b_G"), count(it, ASKED), "kitty's is not sent"));
}

/// The picture is in cells, and still when it is read once more.
fn only_blocks(pty: &Pty) {
    pty.wait_until("cells instead", is_in_blocks);
    pty.send("j");
    pty.wait_until("the text", |it| it.has("a text") && !is_in_blocks(it));
    pty.send("k");
    pty.wait_until("cells again", |it| is_in_blocks(it) && it.has("64x64 points"));
}

#[test]
fn in_another_window_sixels_are_made_for_its_cells_or_not_at_all() {
    // As many points in four times as many cells: each is 5 by 10.
    let (size, points) = ((SIZE.0 * 2, SIZE.1 * 2), (SIZE.0 * 10, SIZE.1 * 20));
    let (_home, pty) = in_files(Speaks { points, ..SIXEL_TERMINAL }, "auto");
    pty.wait_until("a picture", |it| count(it, SIXEL) == 1 && it.has("64x64 points"));
    pty.resize_with_points(size, points);
    pty.wait_until("it in its new place", |it| count(it, SIXEL) > 1 && !is_in_blocks(it));
    // Nothing is known of the next one's cells. What was on its way was drawn for the last one.
    pty.resize(SIZE);
    only_blocks(&pty);
    let shown = pty.look(|it| count(it, SIXEL));
    only_blocks(&pty);
    let pty = leave(pty);
    assert_eq!(pty.look(|it| count(it, SIXEL)), shown);

    // Nor is the system believed that told nothing at the beginning.
    let (_home, pty) = in_files(SIXEL_TERMINAL, "auto");
    pty.wait_until("a picture", |it| count(it, SIXEL) == 1 && it.has("64x64 points"));
    pty.resize_with_points(size, points);
    only_blocks(&pty);
    let pty = leave(pty);
    assert_eq!(pty.look(|it| count(it, SIXEL)), 1);
}

#[test]
fn what_a_terminal_did_not_say_it_can_is_not_sent_to_it() {
    for (speaks, images, asks) in [
        (PLAIN_TERMINAL, "auto", 1),
        (PLAIN_TERMINAL, "kitty", 1),
        (PLAIN_TERMINAL, "sixel", 1),
        // One that answers nothing is not even asked.
        (SILENT_TERMINAL, "auto", 0),
        (SILENT_TERMINAL, "kitty", 0),
        // Nor one whose answer is not wanted.
        (KITTY_TERMINAL, "blocks", 0),
        (KITTY_TERMINAL, "sixel", 1),
    ] {
        let (_home, pty) = in_files(speaks, images);
        pty.wait_until("a picture in cells", |it| is_in_blocks(it) && it.has("64x64 points"));
        let pty = leave(pty);
        pty.look(|it| {
            let sent = (count(it, ASKED), count(it, "\x1b_Ga=T"), count(it, "\x1bP"));
            assert_eq!(sent, (asks, 0, 0), "{speaks:?} {images}");
        });
    }
}

#[test]
fn pictures_that_are_not_wanted_are_bytes() {
    let (_home, pty) = in_files(KITTY_TERMINAL, "off");
    pty.wait_for("89 50 4e 47");
    let pty = leave(pty);
    assert_eq!(pty.look(|it| count(it, "\x1b_G")), 0);
}
