//! Keys that come faster than they are taken, and keys for a hub that does not answer: what was typed
//! arrives whole and in order, or not at all from the first key that was lost on.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    program::{Home, eventually},
    pty::Pty,
};

const SIZE: (u16, u16) = (100, 30);

/// A sandbox whose program writes what is typed into a file of the real directory.
fn typist(home: &Home) -> PathBuf {
    let workspace = format!("{}:rw", home.workspace().display());
    let line = "stty -echo; echo ready; exec cat > typed";
    let words = ["run", "-d", "--name", "one", "--workspace", &workspace, "--", "sh", "-c", line];
    home.ok(&words);
    home.ok(&["wait", "one", "--for", "text=ready", "--timeout", "60s"]);
    home.workspace().join("typed")
}

/// Types into it by the console or by `attach`; what is typed at the end.
fn sit_down(home: &Home, way: &str) -> (Pty, &'static str) {
    if way == "attach" {
        let pty = Pty::start(home, &["attach", "one"], SIZE);
        pty.wait_until("it is drawn", |it| it.is_on("\x1b[?2026l", "\x1b[?2026h"));
        return (pty, "\x02d");
    }
    let pty = Pty::start(home, &[], SIZE);
    pty.wait_for("ready");
    pty.send("\r");
    pty.wait_for("TYPING");
    (pty, "\x02d:quit\r")
}

const WAYS: [&str; 2] = ["attach", "console"];

/// So many keys in lines, each of which says where it belongs.
fn keys(many: usize) -> String {
    let mut keys = String::new();
    for line in 0.. {
        keys.push_str(&format!("{line} the quick brown fox jumps over the lazy dog\r"));
        if keys.len() >= many {
            break;
        }
    }
    keys
}

#[test]
fn five_thousand_keys_in_one_write_arrive_whole_and_in_order() {
    let burst = keys(5_000);
    let expected = burst.replace('\r', "\n");
    for way in WAYS {
        let home = Home::new();
        let typed = typist(&home);
        let (mut pty, end) = sit_down(&home, way);
        pty.send(&burst);
        eventually("all of it has arrived", || {
            let arrived = std::fs::read_to_string(&typed).unwrap_or_default();
            assert!(expected.starts_with(&arrived), "{way}: {}", pty.text());
            arrived == expected
        });
        pty.send(end);
        assert_eq!(pty.ended(), 0, "{way}");
    }
}

/// A process that stands still until the end of the test at the latest.
struct Stopped(Pid);

impl Stopped {
    fn hub(home: &Home) -> Self {
        let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
        let pid = Pid::from_raw(pid as i32).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        let stopped = Self(pid);
        // Every thread of it: one that still runs would take what is typed next.
        let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
        eventually("it stands still", || {
            std::fs::read_dir(&tasks).unwrap().all(|it| {
                let stat = std::fs::read_to_string(it.unwrap().path().join("stat")).unwrap();
                stat.rsplit(") ").next().is_some_and(|it| it.starts_with('T'))
            })
        });
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Gone is fine.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

#[test]
fn what_is_typed_at_a_hub_that_stands_still_does_not_arrive_when_it_goes_on() {
    for way in WAYS {
        let home = Home::new();
        let typed = typist(&home);
        let (mut pty, end) = sit_down(&home, way);
        pty.send("before\r");
        let arrived = || std::fs::read_to_string(&typed).unwrap_or_default();
        eventually("the line before", || arrived() == "before\n");
        let stopped = Stopped::hub(&home);
        for key in "rm -rf x\r".chars() {
            pty.send(&key.to_string());
        }
        let down = "NO HUB";
        pty.wait_until("it is known to be down", |it| it.has(down));
        pty.wait_until("for more than a second", |it| {
            (2..30).any(|seconds| it.has(&format!("{down} {seconds}s")))
        });
        drop(stopped);
        // And the keyboard with it.
        pty.wait_until("it is there again", |it| !it.has(down) && !it.has("nothing is typed"));
        pty.send("after\r");
        eventually("the line after", || arrived().ends_with("after\n"));
        assert_eq!(arrived(), "before\nafter\n", "{way}");
        pty.send(end);
        assert_eq!(pty.ended(), 0, "{way}");
    }
}

#[test]
fn a_paste_that_is_too_long_goes_not_at_all_and_nothing_goes_behind_it() {
    for way in WAYS {
        let home = Home::new();
        let typed = typist(&home);
        let (mut pty, end) = sit_down(&home, way);
        let pasted = "a line of a paste\r".repeat(70_000);
        pty.send(&format!("\x1b[200~{pasted}\x1b[201~the end of it\r"));
        let refused = "the rest is not sent";
        pty.wait_for(refused);
        pty.wait_until("it has been said for long enough", |it| !it.has(refused));
        pty.send("after\r");
        let arrived = || std::fs::read_to_string(&typed).unwrap_or_default();
        eventually("the line after", || arrived().ends_with("after\n"));
        assert_eq!(arrived(), "after\n", "{way}");
        pty.send(end);
        assert_eq!(pty.ended(), 0, "{way}");
    }
}
