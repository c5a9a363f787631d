//! The console on its scripted fleet, on a terminal: the whole program from keys to cells.

use rustix::process::Signal;

use crate::{program::Home, pty::Pty};

const SIZE: (u16, u16) = (120, 36);

/// A console with its first picture drawn.
fn open(home: &Home) -> Pty {
    let pty = Pty::start(home, &["demo"], SIZE);
    pty.wait_for("api-refactor");
    pty
}

/// Quits as an operator does and sees the terminal as it was.
#[track_caller]
fn quit(mut pty: Pty) {
    pty.send("\x03");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
}

#[test]
fn the_demo_opens_with_its_fleet_and_quits_clean() {
    let home = Home::new();
    let pty = open(&home);
    pty.wait_for("FLEET");
    pty.wait_for("docs-site");
    quit(pty);
}

#[test]
fn typing_goes_to_the_program_once_stepped_in_and_not_before() {
    let home = Home::new();
    let pty = open(&home);
    pty.send("/scratch\r");
    pty.wait_until("only scratch is listed", |it| !it.has("docs-site") && it.has("scratch"));
    pty.send("\r");
    pty.wait_for("~/project");
    pty.send("echo one$((1))two\r");
    pty.wait_until("the shell answers", |it| it.text().matches("one").count() >= 2);
    pty.send("\x02d");
    pty.send("?");
    pty.wait_for("Help");
    pty.send("\x1b");
    pty.wait_until("help closes", |it| !it.has("Help"));
    quit(pty);
}

#[test]
fn the_filter_narrows_the_fleet_as_it_is_typed() {
    let home = Home::new();
    let pty = open(&home);
    pty.send("/night");
    pty.wait_until("only nightly", |it| it.has("nightly") && !it.has("web-shop"));
    pty.send("\x1b");
    pty.wait_for("web-shop");
    quit(pty);
}

#[test]
fn a_program_that_rings_for_its_operator_is_found() {
    let home = Home::new();
    let pty = open(&home);
    pty.wait_until("a program calls", |it| it.text().contains(" call"));
    pty.send("/status:calls\r");
    pty.wait_until("its row is there", |it| it.text().contains(">^"));
    quit(pty);
}

#[test]
fn a_terminal_that_is_too_small_hears_only_how_to_leave() {
    let home = Home::new();
    let pty = open(&home);
    pty.resize((40, 10));
    pty.wait_for("ctrl-c quits");
    pty.send("Gxyn");
    pty.resize(SIZE);
    pty.wait_for("web-shop");
    pty.wait_until("nothing was done", |it| !it.has("New sandbox") && !it.has("Stop "));
    quit(pty);
}

#[test]
fn the_demo_has_snapshots_and_changes_to_look_at() {
    let home = Home::new();
    let pty = open(&home);
    pty.send("S");
    pty.wait_for("2 kept");
    pty.wait_for("since retries: 2 paths changed");
    pty.send("c");
    pty.wait_for("3 kept");
    pty.send("qd");
    pty.wait_for("4 paths");
    pty.send("/client\r");
    pty.wait_for("retry: Retry,");
    pty.send("a");
    pty.wait_for("the fake driver can't apply changes");
    quit(pty);
}

#[test]
fn the_picture_follows_the_size() {
    let home = Home::new();
    let pty = open(&home);
    pty.resize((80, 24));
    pty.wait_until("24 rows are drawn", |it| {
        it.screen.size().rows() == 24 && it.has("api-refactor") && it.has("FLEET")
    });
    pty.resize((200, 60));
    pty.wait_until("60 rows are drawn", |it| {
        let lines = it.screen.lines();
        !lines[59].is_empty() && it.has("api-refactor")
    });
    pty.resize((20, 5));
    pty.resize(SIZE);
    pty.wait_for("FLEET");
    quit(pty);
}

#[test]
fn a_signal_gives_the_terminal_back() {
    for (signal, number) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::INT, 2)] {
        let home = Home::new();
        let mut pty = open(&home);
        pty.signal(signal);
        assert_eq!(pty.ended(), 128 + number);
        pty.assert_restored();
    }
}

#[test]
fn stopped_by_force_and_continued_it_takes_the_terminal_again() {
    let home = Home::new();
    let pty = open(&home);
    pty.signal(Signal::STOP);
    crate::program::eventually("it is stopped", || state_of(pty.pid()) == 'T');
    let before = pty.look(|it| it.raw.len());
    pty.signal(Signal::CONT);
    pty.wait_until("it is drawn again", |it| {
        let since = String::from_utf8_lossy(&it.raw[before..]);
        since.contains("\x1b[?1049h") && since.contains("FLEET") && it.has("api-refactor")
    });
    quit(pty);
}

fn state_of(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().trim_start().chars().next().unwrap()
}

#[test]
fn a_frame_is_one_synchronised_update() {
    let home = Home::new();
    let pty = open(&home);
    pty.look(|it| {
        let count =
            |word: &str| it.raw.windows(word.len()).filter(|at| *at == word.as_bytes()).count();
        assert!(count("\x1b[?2026h") > 0);
        assert!(count("\x1b[?2026h") - count("\x1b[?2026l") <= 1);
    });
    quit(pty);
}

#[test]
fn a_broken_configuration_refuses_to_start_with_its_place() {
    let home = Home::new();
    std::fs::create_dir_all(home.config()).unwrap();
    std::fs::write(home.config().join("config.toml"), "layuot = 2\n").unwrap();
    let mut pty = Pty::start(&home, &["demo"], SIZE);
    assert_eq!(pty.ended(), 2);
    let text = pty.text();
    assert!(text.contains("config.toml:1:1") && text.contains("layout"), "{text}");
    assert!(pty.look(|it| !it.is_on("\x1b[?1049h", "\x1b[?1049l")));
}

/// The background of a cell inside of the fleet.
fn ground(view: &crate::pty::View) -> sandwatch::vt::screen::Colour {
    view.screen.cell(5, 5).unwrap().background
}

/// The same, once something was drawn there.
fn drawn(pty: &Pty) -> sandwatch::vt::screen::Colour {
    pty.wait_until("a picture", |it| ground(it) != sandwatch::vt::screen::Colour::Default);
    pty.look(ground)
}

#[test]
fn without_a_theme_named_the_colours_follow_the_terminal_and_keep_doing_so() {
    let home = Home::new();
    std::fs::create_dir_all(home.config()).unwrap();
    let light = ("\x1b]11;rgb:ffff/ffff/ffff\x07", "");
    let pty = Pty::start_typing(&home, &["demo"], SIZE, light);
    let before = drawn(&pty);
    std::fs::write(home.config().join("config.toml"), "scroll_lines = 5\n").unwrap();
    pty.wait_for("config.toml was read again");
    assert_eq!(pty.look(ground), before);
    std::fs::write(home.config().join("config.toml"), "theme = \"dark\"\n").unwrap();
    pty.wait_until("the theme changes", |it| ground(it) != before);
    quit(pty);
}

#[test]
fn a_changed_file_is_read_again_and_a_broken_one_keeps_the_last() {
    let home = Home::new();
    std::fs::create_dir_all(home.config()).unwrap();
    let pty = open(&home);
    std::fs::write(home.config().join("config.toml"), "layuot = 2\n").unwrap();
    pty.wait_for("config.toml:1:1");
    let before = drawn(&pty);
    std::fs::write(home.config().join("config.toml"), "theme = \"light\"\n").unwrap();
    pty.wait_until("the theme changes", |it| ground(it) != before);
    // A file that is named before it is there is read as soon as it is.
    std::fs::write(home.config().join("config.toml"), "keymap = \"mine\"\n").unwrap();
    pty.wait_for("`mine` is not a keymap");
    std::fs::create_dir_all(home.config().join("keymaps")).unwrap();
    let mine = "inherits = \"default\"\n[global]\nf9 = \"app.help\"\n";
    std::fs::write(home.config().join("keymaps/mine.toml"), mine).unwrap();
    pty.wait_for("keymap mine");
    quit(pty);
}

#[test]
fn an_ask_is_read_and_answered_once_it_was_on_screen() {
    let home = Home::new();
    let pty = open(&home);
    pty.wait_for("! 4 ask");
    pty.send("I");
    pty.wait_for("4 waiting");
    // In one go, as if it were typed ahead: it opens, and is not answered.
    pty.send("Iad");
    pty.wait_for("ASK 1 of 4");
    pty.wait_for("keys answer this ask");
    pty.send("d");
    pty.wait_for("denied: ");
    pty.wait_for("of 3");
    quit(pty);
}
