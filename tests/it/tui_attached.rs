//! An attachment while things go wrong or fast: the keyboard is another's, the hub does not answer,
//! output comes faster than it is drawn.

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    program::{Home, eventually},
    pty::{Pty, View},
};

const SIZE: (u16, u16) = (100, 30);

fn drawn(view: &View) -> bool {
    view.is_on("\x1b[?2026l", "\x1b[?2026h")
}

#[test]
fn who_was_refused_types_once_the_other_has_left_and_holds_the_keyboard_then() {
    let home = Home::new();
    let mut first = Pty::start(&home, &["run", "--name", "one", "--", "/bin/cat"], SIZE);
    first.wait_until("it is drawn", drawn);
    first.send("mine\r");
    first.wait_for("mine");
    let mut second = Pty::start(&home, &["attach", "one"], (90, 20));
    second.wait_for("ctrl-b t takes it over");
    first.send("\x02d");
    assert_eq!(first.ended(), 0);
    eventually("the keyboard is free", || {
        home.json(&["ls", "--json"])[0]["sessions"][0]["lease"].is_null()
    });
    second.send("yours\r");
    second.wait_for("yours");
    // A holder's terminal is the size of the session.
    eventually("the session follows its size", || {
        home.json(&["screen", "one", "--json"])["cols"] == 90
    });
    assert!(home.json(&["ls", "--json"])[0]["sessions"][0]["lease"].is_object());
    second.send("\x02d");
    assert_eq!(second.ended(), 0);
}

#[test]
fn who_is_taken_over_types_nothing_more_and_is_told() {
    let home = Home::new();
    let mut first = Pty::start(&home, &["run", "--name", "one", "--", "/bin/cat"], SIZE);
    first.wait_until("it is drawn", drawn);
    first.send("mine\r");
    first.wait_for("mine");
    let mut second = Pty::start(&home, &["attach", "one"], (90, 20));
    second.wait_for("ctrl-b t takes it over");
    second.send("\x02tyours\r");
    second.wait_for("yours");
    // Told without a key, and what is typed then goes nowhere.
    first.wait_for("took the keyboard");
    first.send("LATE\r");
    first.wait_for("ctrl-b t takes it over");
    assert!(!home.ok(&["screen", "one"]).contains("LATE"));
    for pty in [&mut first, &mut second] {
        pty.send("\x02d");
        assert_eq!(pty.ended(), 0);
    }
}

#[test]
fn a_pause_is_told_for_as_long_as_it_lasts() {
    let home = Home::new();
    let mut pty = Pty::start(&home, &["run", "--name", "one", "--", "/bin/cat"], SIZE);
    pty.wait_until("it is drawn", drawn);
    home.ok(&["pause", "one"]);
    pty.wait_for("PAUSED: what is typed waits");
    home.ok(&["resume", "one"]);
    pty.wait_until("it runs on", |it| !it.has("PAUSED"));
    pty.send("\x02d");
    assert_eq!(pty.ended(), 0);
}

/// A process that stands still until the end of the test at the latest.
struct Stopped(Pid);

impl Stopped {
    fn hub(home: &Home) -> Self {
        let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
        let pid = Pid::from_raw(pid as i32).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Gone is fine.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

#[test]
fn a_hub_that_does_not_answer_is_told_and_the_attachment_goes_on_when_it_does() {
    let home = Home::new();
    let mut pty = Pty::start(&home, &["run", "--name", "one", "--", "/bin/cat"], SIZE);
    pty.wait_until("it is drawn", drawn);
    pty.send("before\r");
    pty.wait_for("before");
    let stopped = Stopped::hub(&home);
    pty.wait_for("NO HUB");
    pty.wait_until("its seconds are counted", |it| {
        it.screen.lines().iter().any(|it| it.contains("NO HUB") && !it.contains("NO HUB 0s"))
    });
    drop(stopped);
    pty.wait_until("it is there again", |it| !it.has("NO HUB"));
    pty.send("after\r");
    pty.wait_for("after");
    pty.send("\x02d");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
}

#[test]
fn what_was_left_out_is_counted() {
    let home = Home::new();
    let line = "echo ready; read go; seq 1 1000000; echo all of it; cat";
    home.ok(&["run", "-d", "--name", "one", "--", "/bin/sh", "-c", line]);
    let mut pty = Pty::start(&home, &["attach", "--read-only", "one"], SIZE);
    pty.wait_for("ready");
    pty.signal(Signal::STOP);
    home.ok(&["send", "one", "go<Enter>"]);
    home.ok(&["wait", "one", "--for", "text=all of it", "--timeout", "60s"]);
    pty.signal(Signal::CONT);
    pty.wait_for("of output were skipped");
    pty.wait_for("all of it");
    pty.send("\x02d");
    assert_eq!(pty.ended(), 0);
}

/// Draws pictures in two halves, then one that it never ends.
const HALVES: &str = r"
for it in 'α а' 'β б' 'γ в' 'δ г' 'ε д' 'ζ е' 'η ж' 'θ з' 'ι и' 'κ й' 'λ к' 'μ л' 'ν м'; do
    printf '\033[?2026h\033[2J\033[H%s' ${it% *}
    sleep 0.05
    printf '\033[5H%s\033[?2026l' ${it#* }
    sleep 0.03
done
printf '\033[?2026h\033[2J\033[Hit never ends'
exec cat
";

#[test]
fn pictures_are_drawn_whole_and_one_that_never_ends_all_the_same() {
    let home = Home::new();
    let mut pty = Pty::start(&home, &["run", "--", "/bin/sh", "-c", HALVES], SIZE);
    pty.wait_for("it never ends");
    let (torn, whole) = pty.look(|view| {
        let raw = String::from_utf8_lossy(&view.raw);
        let greek = |it: char| ('α'..='ω').contains(&it);
        let frames = raw.split("\x1b[?2026h").filter(|it| it.contains(greek));
        let whole = |it: &&str| it.contains(|it| ('а'..='я').contains(&it));
        let (whole, torn): (Vec<&str>, Vec<&str>) = frames.partition(whole);
        (torn.len(), whole.len())
    });
    // A machine that stands still for long tears some of them.
    assert!(torn < whole, "{torn} torn, {whole} whole");
    pty.send("\x02d");
    assert_eq!(pty.ended(), 0);
}
