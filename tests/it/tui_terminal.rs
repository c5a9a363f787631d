//! The operator's terminal in the moments between: before the first picture, away to a shell, and
//! when the program fails.

use std::{os::fd::AsRawFd, panic::catch_unwind};

use portable_pty::CommandBuilder;
use sandwatch::{
    tui::{
        probe,
        terminal::{self, Guard},
    },
    vt::guard::{guarded, is_guarded},
};

use crate::{
    given::PROGRAM,
    program::Home,
    pty::{Pty, Speaks, View},
};

const SIZE: (u16, u16) = (120, 36);

#[test]
fn what_is_typed_while_the_terminal_is_asked_is_not_lost() {
    let home = Home::new();
    for around in [("/night", ""), ("", "/night"), ("/ni", "ght")] {
        let mut pty = Pty::start_typing(&home, &["demo"], SIZE, around);
        pty.wait_until("only what was typed is listed", |it| {
            it.has("nightly") && !it.has("web-shop") && it.has("FLEET")
        });
        pty.send("\x1b");
        pty.wait_for("web-shop");
        pty.send("\x03");
        assert_eq!(pty.ended(), 0, "{around:?}");
        pty.assert_restored();
    }
    // One that ends it does so amid its first frames, none of which may come after that.
    for _ in 0..8 {
        let mut pty = Pty::start_typing(&home, &["demo"], SIZE, ("\x03", ""));
        assert_eq!(pty.ended(), 0);
        pty.assert_restored();
    }
}

#[test]
fn what_a_slow_terminal_answers_too_late_is_typed_nowhere() {
    let home = Home::new();
    // It says nothing in time.
    let mut pty = Pty::speaking(&home, &["demo"], SIZE, Speaks::default());
    pty.wait_for("web-shop");
    pty.send("\x1b[?0u\x1b]11;rgb:1a1a/1b1b/2626\x1b\\\x1b[?62;22c");
    // None of it is a key, and what is typed next is.
    pty.send("/night");
    pty.wait_until("only what was typed is listed", |it| {
        it.has("nightly") && !it.has("web-shop") && !it.has("1b1b")
    });
    pty.send("\x1b");
    pty.wait_for("web-shop");
    pty.send("\x03");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
}

#[test]
fn what_is_typed_while_the_terminal_is_asked_goes_to_the_program_in_order() {
    let home = Home::new();
    let line = "read one; read two; echo \"got:$one:$two\"; exit 3";
    let args = ["run", "--", "/bin/sh", "-c", line];
    let mut pty = Pty::start_typing(&home, &args, SIZE, ("fir", "st\rsec"));
    pty.wait_for("first");
    pty.send("ond\r");
    assert_eq!(pty.ended(), 3);
    pty.assert_restored();
    assert!(pty.look(|it| String::from_utf8_lossy(&it.raw).contains("got:first:second")));
}

/// The shell has the terminal back, and waits for a line.
fn prompts(view: &View) -> bool {
    let last = view.screen.lines().into_iter().rfind(|it| !it.is_empty());
    view.is_on("\x1b[?1049l", "\x1b[?1049h") && last.is_some_and(|it| it.trim() == "prompt>")
}

#[test]
fn a_shell_suspends_it_and_brings_it_back() {
    let home = Home::new();
    let mut command = CommandBuilder::new("bash");
    command.args(["--norc", "--noprofile", "-i"]);
    command.env("PS1", "prompt> ");
    command.cwd(home.workspace());
    let mut pty = Pty::run(command, &home, SIZE, ("", ""));
    pty.wait_for("prompt>");
    pty.send(&format!("{PROGRAM} demo\r"));
    pty.wait_for("api-refactor");
    for again in ["fg\r", "fg %1\r"] {
        pty.send("\x1a");
        pty.wait_until("the shell has the terminal", |it| prompts(it) && it.has("Stopped"));
        pty.send("echo at the $((1+1))nd shell; stty -a | grep -o ' -\\?icanon'\r");
        pty.wait_until("the shell works as ever", |it| {
            it.has("at the 2nd shell") && it.screen.lines().iter().any(|it| it == " icanon")
        });
        // What changed meanwhile is seen when it comes back.
        let size = if again == "fg\r" { (100, 30) } else { SIZE };
        pty.resize(size);
        pty.send(again);
        pty.wait_until("it is drawn again, whole and at the new size", |it| {
            let (first, last) = (it.screen.lines()[0].clone(), it.screen.lines().pop().unwrap());
            it.is_on("\x1b[?1049h", "\x1b[?1049l")
                && it.has("api-refactor")
                && it.has("FLEET")
                && !it.has("prompt>")
                && !first.is_empty()
                && !last.is_empty()
        });
        // Keys reach it as before.
        pty.send("?");
        pty.wait_for("Help");
        pty.send("\x1b");
        pty.wait_until("help closes", |it| !it.has("Help"));
    }
    pty.send("\x03");
    pty.wait_until("the shell is back", prompts);
    pty.send("echo ended $?; exit\r");
    pty.wait_for("ended 0");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
}

#[test]
fn an_editor_stops_with_it_and_what_was_edited_is_never_lost() {
    let home = Home::new();
    std::fs::create_dir(home.path()).unwrap();
    let editor = home.path().join("editor");
    // What it does each time: stops as ctrl-z has it and writes, ends badly, writes too much.
    let script = "n=$(cat \"$0.count\"); echo $((n + 1)) > \"$0.count\"; case $n in\n\
                  1) echo editing; kill -TSTP 0; echo 'after the stop' >> \"$1\";;\n\
                  2) echo 'before the fall' >> \"$1\"; exit 3;;\n\
                  3) head -c 34000000 /dev/zero > \"$1\";;\nesac";
    std::fs::write(&editor, script).unwrap();
    std::fs::write(home.path().join("editor.count"), "1\n").unwrap();
    let mut command = CommandBuilder::new("bash");
    command.args(["--norc", "--noprofile", "-i"]);
    command.env("PS1", "prompt> ");
    command.env("VISUAL", format!("sh {}", editor.display()));
    command.env("TMPDIR", home.path());
    command.cwd(home.workspace());
    let mut pty = Pty::run(command, &home, SIZE, ("", ""));
    pty.wait_for("prompt>");
    pty.send(&format!("{PROGRAM} demo\r"));
    pty.wait_for("api-refactor");
    pty.send("f");
    pty.wait_for("README.md");
    pty.send("G");
    pty.wait_for("A client that tries again");
    pty.send("e");
    pty.wait_until("the shell has the terminal", |it| it.has("Stopped") && prompts(it));
    pty.send("echo at the $((1+1))nd shell\r");
    pty.wait_for("at the 2nd shell");
    pty.send("fg\r");
    pty.wait_for("README.md is written");
    pty.wait_for("after the stop");
    let copy = || {
        let all = std::fs::read_dir(home.path()).unwrap().map(|it| it.unwrap().path());
        all.map(|it| it.join("README.md")).find(|it| it.is_file())
    };
    assert_eq!(copy(), None);
    pty.send("e");
    let says = |it: &View, why: &str| {
        let words = it.text().split_whitespace().collect::<Vec<_>>().join(" ");
        words.contains("your copy stays at") && words.contains(why)
    };
    pty.wait_until("it says why, and where the copy is", |it| says(it, "exit status: 3"));
    let kept = copy().unwrap();
    assert!(std::fs::read_to_string(&kept).unwrap().ends_with("before the fall\n"));
    std::fs::remove_dir_all(kept.parent().unwrap()).unwrap();
    pty.send("e");
    pty.wait_until("it is too large", |it| says(it, "to be written from here"));
    assert_eq!(copy().unwrap().metadata().unwrap().len(), 34_000_000);
    pty.send("\x03");
    pty.wait_until("the shell is back", prompts);
    pty.send("exit\r");
    pty.ended();
}

#[test]
fn without_a_shell_behind_it_nothing_stops() {
    let home = Home::new();
    // On a terminal of its own, and behind a script that knows no jobs.
    for line in ["exec \"$0\" demo", "\"$0\" demo; exit $?"] {
        let mut command = CommandBuilder::new("/bin/sh");
        command.args(["-c", line, PROGRAM]);
        command.cwd(home.workspace());
        let mut pty = Pty::run(command, &home, SIZE, ("", ""));
        pty.wait_for("api-refactor");
        pty.send("\x1a");
        pty.wait_for("nothing to suspend to");
        pty.send("?");
        pty.wait_for("Help");
        pty.send("\x1b");
        pty.wait_until("help closes", |it| !it.has("Help"));
        pty.send("\x03");
        assert_eq!(pty.ended(), 0, "{line}");
        pty.assert_restored();
    }
}

#[test]
fn an_attachment_that_nobody_would_continue_goes_on() {
    let home = Home::new();
    let mut pty = Pty::start(&home, &["run", "--", "/bin/cat"], SIZE);
    pty.wait_until("it is drawn", |it| it.is_on("\x1b[?2026l", "\x1b[?2026h"));
    pty.signal(rustix::process::Signal::TSTP);
    pty.wait_for("nothing to suspend to");
    pty.send("after\r");
    pty.wait_for("after");
    pty.send("\x02d");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
}

/// Says which failure the process of the next test is for.
const FAILS: &str = "SANDWATCH_TEST_FAILS";

/// A program that takes its terminal and fails; only by the next test.
#[test]
fn a_program_that_fails() {
    let Ok(which) = std::env::var(FAILS) else { return };
    let asked = probe::ask(true).unwrap();
    terminal::hook_panics(|words| eprintln!("\rnotice: {words}"));
    let guard = Guard::enter(asked.answers, asked.raw).unwrap();
    let raw = std::fs::File::open("/dev/tty").unwrap();
    assert!(raw.as_raw_fd() > 2);
    if which == "guarded" {
        assert_eq!(guarded(|| panic!("a screen's words")), None::<()>);
        assert!(!is_guarded());
        let modes = rustix::termios::tcgetattr(&raw).unwrap();
        assert!(!modes.local_modes.contains(rustix::termios::LocalModes::ICANON), "still raw");
        drop(guard);
        return;
    }
    if which == "worker" {
        drop(std::thread::spawn(|| panic!("a worker's words")).join());
        let modes = rustix::termios::tcgetattr(&raw).unwrap();
        assert!(!modes.local_modes.contains(rustix::termios::LocalModes::ICANON), "still raw");
        drop(guard);
        return;
    }
    // As the loop of the console does: unwound past the guard.
    drop(catch_unwind(move || {
        let _guard = guard;
        panic!("the loop's words");
    }));
}

#[test]
fn a_failure_of_the_loop_gives_the_terminal_back_before_it_is_told() {
    let home = Home::new();
    for which in ["loop", "worker", "guarded"] {
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tui_terminal::a_program_that_fails", "--nocapture"]);
        command.env(FAILS, which);
        command.env("RUST_BACKTRACE", "0");
        let mut pty = Pty::run(command, &home, SIZE, ("", ""));
        assert_eq!(pty.ended(), 0, "{which}");
        pty.assert_restored();
        pty.look(|view| {
            let raw = String::from_utf8_lossy(&view.raw);
            let at = |words: &str| raw.rfind(words);
            let left = at("\x1b[?1049l").unwrap();
            if which == "guarded" {
                // Only the log has it.
                assert_eq!(at("a screen's words"), None, "{raw}");
                assert_eq!(raw.matches("\x1b[?1049l").count(), 1, "{raw}");
                return;
            }
            if which == "loop" {
                assert!(at("the loop's words").unwrap() > left, "{raw}");
                assert!(view.has("the loop's words"), "{}", view.text());
            } else {
                assert!(at("notice: a worker of the console failed").unwrap() < left, "{raw}");
                assert_eq!(raw.matches("\x1b[?1049l").count(), 1, "{raw}");
            }
        });
    }
}
