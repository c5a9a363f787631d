//! Pictures: any state at any size, and a few to look at.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect};
use sandwatch::{
    app::{
        Act, Msg,
        msg::{DiffRead, Reply},
    },
    model::{change::ChangeStatus, session::Status},
    ui::{
        self,
        theme::{self, Depth},
    },
    vt::touched::Touched,
};

use super::{
    app_asks::{in_allow, in_ask, in_asks, in_risk},
    app_files::with_a_file,
    app_gauges::in_gauges,
    app_hunks::in_second_file,
    app_support::{Console, day, picture, sandbox},
    app_timeline::{in_fleet, in_timeline},
    app_views::{change, in_diff, in_snapshots},
};

/// Keys that lead to every box and place.
const STATES: &[&str] = &[
    "",
    "?",
    "ctrl-k",
    "n",
    "D",
    "H",
    "A",
    "i",
    ":",
    "/",
    "l",
    "enter",
    "4",
    "6 tab",
    "2 z",
    "T T",
    "ctrl-n",
    "tab l v k",
    "* x",
    "F",
    "enter ctrl-b",
    "I",
    "I I",
    "I tab",
    "f",
];

fn console(size: (u16, u16), keys: &str) -> Console {
    let mut console = Console::with_fleet(size, day());
    console.print(
        "api-refactor",
        "\x1b[1;32m$\x1b[m cargo test\r\n日本語 wide 🦀 ok\r\n\x1b[7mreverse\x1b[m\r\n",
    );
    console.keys(keys);
    console.now += Duration::from_millis(300);
    console.send(Msg::Tick);
    console
}

fn draw(console: &Console, area: Rect, buffer: &mut Buffer) {
    let theme = theme::preset("dark", Depth::True).unwrap();
    ui::draw(&console.state, &theme, area, buffer);
}

/// What the rows that were touched give when they are drawn over the picture before, and what all give.
fn redrawn(console: &mut Console, before: &Buffer) -> (Buffer, Buffer) {
    let area = before.area;
    let mut all = Buffer::empty(area);
    let touched = console.state.take_touched();
    draw(console, area, &mut all);
    let mut pieced = before.clone();
    match touched {
        Touched::Nothing => {}
        Touched::All => pieced = all.clone(),
        Touched::Rows(from, to) => {
            let mut rows = Buffer::empty(Rect { y: from, height: to - from + 1, ..area });
            draw(console, area, &mut rows);
            pieced.merge(&rows);
        }
    }
    (pieced, all)
}

#[test]
fn the_rows_that_were_touched_are_all_that_changed() {
    const PRINTED: &[&str] = &[
        "a",
        "bc",
        "\r",
        "\x1b[K",
        "\x08 \x08",
        "\r\n",
        "\x1b[31mred\x1b[m",
        "\x1b[3;5Hthere",
        "\x1b[2P",
        "\x1b[4@",
        "long enough to wrap at some edge of the pane, or of the screen that it shows",
        "\t",
        "日",
        "\x1b[2J",
        "\x1b[?25l",
        "\x1b[?25h",
        "\x1b[5A",
        "\x1b[1;10r",
        "\x1b[?69h\x1b[3;9s",
        "\x1b[?69l",
        "x",
        "\x1b[?2026h",
        "held",
        "\x1b[?2026l",
        "\x1b]2;title\x07",
        "\x1b[?1049h",
        "y",
        "\x1b[?1049l",
        "\x1b",
        "[1mz",
    ];
    for keys in STATES {
        for size in [(120, 40), (60, 16), (20, 5)] {
            let mut console = console(size, keys);
            let area = Rect::new(0, 0, size.0, size.1);
            console.state.take_touched();
            let mut before = Buffer::empty(area);
            draw(&console, area, &mut before);
            let mut seed = 1_usize;
            for _ in 0..120 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
                console.print("api-refactor", PRINTED[(seed >> 33) % PRINTED.len()]);
                let (pieced, all) = redrawn(&mut console, &before);
                assert_eq!(pieced, all, "{keys:?} at {size:?}");
                before = all;
            }
        }
    }
}

#[test]
fn every_state_draws_at_every_size_and_twice_the_same() {
    for keys in STATES {
        let mut console = console((120, 40), keys);
        for columns in [0, 1, 2, 20, 59, 60, 61, 79, 80, 109, 121, 160, 300] {
            for rows in [0, 1, 5, 14, 15, 16, 24, 100] {
                console.send(Msg::Resize(columns, rows));
                let area = Rect::new(0, 0, columns, rows);
                let (mut first, mut second) = (Buffer::empty(area), Buffer::empty(area));
                draw(&console, area, &mut first);
                draw(&console, area, &mut second);
                assert!(first == second, "{keys} at {columns}x{rows}");
            }
        }
    }
}

#[test]
fn nothing_is_written_outside_of_the_area() {
    for keys in STATES {
        for area in [Rect::new(7, 3, 80, 24), Rect::new(0, 0, 20, 5), Rect::new(100, 30, 60, 40)] {
            let console = console((120, 40), keys);
            let mut buffer =
                Buffer::filled(Rect::new(0, 0, 130, 50), ratatui::buffer::Cell::new("#"));
            draw(&console, area, &mut buffer);
            for y in 0..50 {
                for x in 0..130 {
                    let outside = !area.contains((x, y).into());
                    assert!(!outside || buffer[(x, y)].symbol() == "#", "{keys} {area:?} {x},{y}");
                }
            }
        }
    }
}

#[test]
fn pictures_of_a_working_day() {
    for (name, size) in [("80x24", (80, 24)), ("20x5", (20, 5)), ("200x60", (200, 60))] {
        insta::assert_snapshot!(format!("fleet_{name}"), console(size, "").picture());
    }
    for (name, keys) in [
        ("help", "?"),
        ("palette", "ctrl-k"),
        ("new", "n"),
        ("remove", "D"),
        ("info", "i"),
        ("grid", "4"),
        ("which_key", "enter ctrl-b"),
        ("command", ": l a"),
    ] {
        let mut console = console((100, 30), keys);
        console.read();
        insta::assert_snapshot!(format!("{name}_100x30"), console.picture());
    }
    let mut first = Console::with_fleet((80, 24), Vec::new());
    first.send(Msg::Agents(vec!["claude".to_owned(), "codex".to_owned()]));
    insta::assert_snapshot!("first_run_80x24", first.picture());
}

#[test]
fn pictures_of_snapshots_and_changes() {
    for (name, size) in
        [("80x24", (80, 24)), ("20x5", (20, 5)), ("60x15", (60, 15)), ("200x60", (200, 60))]
    {
        insta::assert_snapshot!(format!("snapshots_{name}"), in_snapshots(size).picture());
        insta::assert_snapshot!(format!("diff_{name}"), in_diff(size).picture());
    }
    for (name, keys) in [("restore", "g r"), ("apply", "g k space enter")] {
        let mut console = in_snapshots((80, 24));
        console.keys(keys);
        if name == "apply" {
            console = in_diff((80, 24));
            console.keys("space space a");
        }
        console.read();
        insta::assert_snapshot!(format!("{name}_80x24"), console.picture());
    }
}

#[test]
fn pictures_of_gauges() {
    for (name, size) in
        [("60x15", (60, 15)), ("80x24", (80, 24)), ("120x36", (120, 36)), ("200x60", (200, 60))]
    {
        let mut console = in_gauges(size);
        insta::assert_snapshot!(format!("gauges_{name}"), console.picture());
        console.keys("enter");
        insta::assert_snapshot!(format!("gauges_whole_{name}"), console.picture());
        console.keys("esc esc");
        insta::assert_snapshot!(format!("gauges_strip_{name}"), console.picture());
    }
}

#[test]
fn pictures_of_the_timeline() {
    for (name, size) in
        [("60x15", (60, 15)), ("80x24", (80, 24)), ("120x36", (120, 36)), ("200x60", (200, 60))]
    {
        let mut console = in_timeline(size);
        insta::assert_snapshot!(format!("timeline_{name}"), console.picture());
        insta::assert_snapshot!(format!("timeline_fleet_{name}"), in_fleet(size).picture());
        console.keys("[ e [ [ z");
        insta::assert_snapshot!(format!("timeline_whole_{name}"), console.picture());
    }
}

#[test]
fn pictures_of_asks() {
    for (name, size) in [("60x15", (60, 15)), ("80x24", (80, 24)), ("120x36", (120, 36))] {
        insta::assert_snapshot!(format!("asks_{name}"), in_asks(size).picture());
        let mut ended = in_asks(size);
        ended.keys("tab");
        insta::assert_snapshot!(format!("asks_ended_{name}"), ended.picture());
        insta::assert_snapshot!(format!("ask_{name}"), in_ask(size).picture());
        insta::assert_snapshot!(format!("ask_risk_{name}"), in_risk(size).picture());
        insta::assert_snapshot!(format!("ask_allow_{name}"), in_allow(size).picture());
        let mut typing = Console::with_fleet(size, day());
        typing.keys("tab");
        typing.step_in();
        insta::assert_snapshot!(format!("ask_bar_typing_{name}"), typing.picture());
    }
}

#[test]
fn asks_draw_at_every_size_and_only_inside_of_their_area() {
    let size = (120, 40);
    let whole = {
        let mut console = in_gauges(size);
        console.keys("enter");
        console
    };
    let consoles = [in_asks(size), in_ask(size), in_risk(size), in_allow(size)];
    let timeline = in_timeline(size);
    for mut console in consoles.into_iter().chain([in_gauges(size), whole, timeline]) {
        for columns in [0, 1, 2, 20, 59, 60, 61, 80, 109, 110, 121, 300] {
            for rows in [0, 1, 5, 14, 15, 16, 18, 24, 100] {
                console.send(Msg::Resize(columns, rows));
                let part = Rect::new(3, 2, columns.min(30), rows.min(9));
                let whole = Rect::new(0, 0, 340, 110);
                let mut buffer = Buffer::filled(whole, ratatui::buffer::Cell::new("#"));
                draw(&console, part, &mut buffer);
                let outside = (0..110).flat_map(|y| (0..340).map(move |x| (x, y)));
                let mut outside = outside.filter(|it| !part.contains((*it).into()));
                assert!(outside.all(|it| buffer[it].symbol() == "#"), "{part:?}");
                console.draw();
            }
        }
    }
}

const PARTLY: &str = "enter ] space [";

#[test]
fn pictures_of_single_hunks() {
    for size in [(80, 24), (120, 36), (60, 15)] {
        let mut console = in_second_file(size);
        console.keys("enter ] space k k k");
        let name = format!("{}x{}", size.0, size.1);
        insta::assert_snapshot!(format!("hunks_{name}"), console.picture());
        console.keys("h j space a");
        console.read();
        insta::assert_snapshot!(format!("apply_hunks_{name}"), console.picture());
    }
}

#[test]
fn pictures_of_files() {
    for size in [(80, 24), (120, 36), (60, 15), (200, 60)] {
        let mut console = with_a_file(size);
        let name = format!("{}x{}", size.0, size.1);
        insta::assert_snapshot!(format!("files_{name}"), console.picture());
        console.keys("enter");
        insta::assert_snapshot!(format!("files_text_{name}"), console.picture());
    }
}

#[test]
fn places_draw_at_every_size_and_only_inside_of_their_area() {
    for keys in
        ["", "j", "enter", "space", "/ x", "? esc", "r", "D", "a", "d", "enter ] l l", PARTLY]
    {
        let size = (120, 40);
        let consoles = match keys {
            PARTLY => vec![in_second_file(size)],
            _ => vec![in_snapshots(size), in_diff(size), with_a_file(size)],
        };
        for mut console in consoles {
            console.keys(keys);
            for columns in [0, 1, 2, 20, 59, 60, 61, 80, 109, 110, 121, 300] {
                for rows in [0, 1, 5, 14, 15, 16, 18, 24, 100] {
                    console.send(Msg::Resize(columns, rows));
                    let area = Rect::new(0, 0, columns, rows);
                    let mut buffer = Buffer::empty(area);
                    draw(&console, area, &mut buffer);
                    let part = Rect::new(3, 2, columns.min(30), rows.min(9));
                    let whole = Rect::new(0, 0, 340, 110);
                    let mut buffer = Buffer::filled(whole, ratatui::buffer::Cell::new("#"));
                    draw(&console, part, &mut buffer);
                    let outside = (0..110).flat_map(|y| (0..340).map(move |x| (x, y)));
                    let mut outside = outside.filter(|it| !part.contains((*it).into()));
                    assert!(outside.all(|it| buffer[it].symbol() == "#"), "{keys} {part:?}");
                }
            }
        }
    }
}

#[test]
fn hostile_paths_and_lines_are_made_visible() {
    let mut console = in_diff((100, 30));
    let bad = change("a\u{1b}[31m\u{202e}b\u{9b}", ChangeStatus::Added, 1, 0);
    let text = "@@ -0,0 +1,2 @@\n+\u{1b}]0;x\u{7}\u{202e}\u{feff}\n+\u{9b}31m\n";
    console.keys("R");
    let list = |it: &Act| matches!(it, Act::Diff { request, .. } if !request.text);
    let read = |files, text: &str| {
        let text = text.as_bytes().to_vec();
        Reply::Diff(Box::new(DiffRead { files, text, ..DiffRead::default() }))
    };
    console.answer(list, read(vec![bad], ""));
    let lines = |it: &Act| matches!(it, Act::Diff { request, .. } if request.text);
    console.answer(lines, read(Vec::new(), text));
    for keys in ["", "enter", "esc space a"] {
        console.keys(keys);
        let shown = console.picture();
        assert!(shown.chars().all(|it| !it.is_control() || it == '\n'), "{shown:?}");
        assert!(!shown.contains('\u{202e}') && shown.contains("<U+202E>"), "{shown}");
    }
}

#[test]
fn hostile_names_are_made_visible() {
    let mut evil = sandbox("evil", "cmd", Status::Working);
    evil.name = "a\u{1b}[31m\u{202e}gnp.exe".to_owned();
    evil.sessions[0].title = Some("t\u{7}\u{9b}31m".to_owned());
    evil.sessions[0].command = vec!["/bin/\u{1b}]0;x".to_owned()];
    let mut console = Console::with_fleet((100, 30), vec![evil]);
    for keys in ["", "i", "esc D", "esc tab"] {
        console.keys(keys);
        let shown = console.picture();
        assert!(shown.chars().all(|it| !it.is_control() || it == '\n'), "{shown:?}");
        assert!(!shown.contains('\u{202e}'), "{shown:?}");
    }
}

#[test]
fn a_wide_character_at_the_edge_of_a_pane_does_not_leak() {
    let mut console = Console::with_fleet((100, 30), day());
    console.print("api-refactor", &"界".repeat(60));
    let pane = console.state.frame().panes[0].body;
    let buffer = console.draw();
    let edge = &buffer[(pane.x + pane.width - 1, pane.y)];
    assert_ne!(edge.symbol(), "界");
    assert!(picture(&buffer).contains("界界"));
}

#[test]
fn marks_differ_in_shape() {
    let signs: std::collections::BTreeSet<char> =
        sandwatch::app::fleet::Mark::ALL.iter().map(|it| it.sign()).collect();
    assert_eq!(signs.len(), sandwatch::app::fleet::Mark::ALL.len());
}
