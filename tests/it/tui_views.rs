//! Snapshots and changes in the real program on a terminal, over the local driver.

use std::fs;

use crate::{program::Home, pty::Pty};

const SIZE: (u16, u16) = (120, 36);

#[test]
fn a_moment_is_kept_looked_at_restored_and_the_rest_applied_and_taken_back() {
    let home = Home::new();
    let file = home.workspace().join("file");
    fs::write(&file, "one\n").unwrap();
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "sleep 1000"]);
    let inside = |script: &str| home.ok(&["exec", "box", "--", "/bin/sh", "-ec", script]);
    inside("echo two >> file");
    let mut pty = Pty::start(&home, &[], SIZE);
    pty.wait_for("▸ box");
    pty.send("c");
    pty.wait_for("kept box as");
    inside("echo three >> file; echo x > later");

    pty.send("S");
    pty.wait_for("1 kept");
    pty.wait_for("2 paths changed, +2 -0");
    pty.send("k\r");
    pty.wait_until("what led to it", |it| it.has("+two") && !it.has("+three"));
    pty.send("q");
    pty.wait_for("1 kept");
    pty.send("d");
    pty.wait_until("what came after it", |it| it.has("+three") && it.has("+ later"));
    pty.send("q");
    pty.wait_for("1 kept");
    pty.send("r");
    pty.wait_for("y restore");
    assert!(pty.text().contains("What it is now is kept as a snapshot first"));
    pty.send("y");
    pty.wait_for("box has the files of");
    // What it was is there as another moment.
    pty.wait_for("2 kept");
    assert_eq!(inside("cat file; ls"), "one\ntwo\nfile\n");

    pty.send("q");
    pty.wait_for("FLEET 1");
    pty.send("d");
    pty.wait_until("what would be applied", |it| it.has("+two") && it.has("1 path"));
    pty.send("a");
    pty.wait_for("y write");
    assert_eq!(fs::read_to_string(&file).unwrap(), "one\n");
    pty.send("y");
    pty.wait_for("wrote 1 path to");
    assert_eq!(fs::read_to_string(&file).unwrap(), "one\ntwo\n");
    pty.wait_for("nothing changed");
    pty.send("u");
    pty.wait_for("y take back");
    pty.send("y");
    pty.wait_for("took 1 path back");
    assert_eq!(fs::read_to_string(&file).unwrap(), "one\n");
    pty.wait_until("it differs again", |it| it.has("+two"));

    // Changed on both sides, nothing is written, and both sides are in sight.
    fs::write(&file, "by hand\n").unwrap();
    pty.send("a");
    pty.wait_for("y write");
    pty.send("y");
    pty.wait_for("nothing was written: 1 path changed on both sides");
    pty.wait_until("both sides", |it| it.has("-by hand") && it.has("+two") && it.has("! file"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "by hand\n");
    pty.send("\x03");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
}

#[test]
fn a_single_hunk_is_staged_applied_and_taken_back() {
    let home = Home::new();
    let file = home.workspace().join("app.py");
    let text = |second: &str, last: &str| {
        let lines = (1..=30).map(|it| match it {
            2 => format!("{second}\n"),
            29 => format!("{last}\n"),
            it => format!("line {it}\n"),
        });
        lines.collect::<String>()
    };
    let before = text("two", "last");
    fs::write(&file, &before).unwrap();
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "sleep 1000"]);
    let inside = |script: &str| home.ok(&["exec", "box", "--", "/bin/sh", "-ec", script]);
    inside("sed -i -e 's/^two$/TWO\\tof\\rthem/' -e 's/^last$/LAST\\x1b[1m/' app.py; echo x > new");
    let mut pty = Pty::start(&home, &[], SIZE);
    pty.wait_for("▸ box");
    pty.send("d");
    pty.wait_until("both hunks", |it| it.has("-two") && it.has("-last"));
    // What is new has no hunks to choose from.
    pty.send("j");
    pty.wait_for("+x");
    pty.send("l ");
    pty.wait_for("it is new; w stages the file");
    pty.send("hk");
    pty.wait_for("-two");
    pty.send("l] ");
    pty.wait_for("1 of 2 hunks staged");
    pty.send("a");
    pty.wait_for("Write 1 hunk of app.py to");
    pty.wait_for("y write");
    pty.send("y");
    pty.wait_for("wrote 1 hunk of app.py to");
    // Byte for byte what the sandbox wrote, and not what was to be seen of it.
    assert_eq!(fs::read_to_string(&file).unwrap(), text("two", "LAST\x1b[1m"));
    pty.wait_until("the rest", |it| it.has("-two") && !it.has("-last") && it.has("2 paths"));
    pty.send("u");
    pty.wait_for("y take back");
    pty.send("y");
    pty.wait_for("took 1 path back");
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    pty.wait_until("both again", |it| it.has("-two") && it.has("-last"));
    pty.send("\x03");
    assert_eq!(pty.ended(), 0);
    pty.assert_restored();
}
