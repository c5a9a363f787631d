//! A disk that is full and a registry that is damaged.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    crash_support::{Home, eventually, kill, numbers},
    skip::skipped,
};

const COUNTS: &str = "i=0; until [ -e stop ]; do i=$((i+1)); echo n$i; sleep 0.02; done; \
                      echo end $i; exit 4";

/// A mount namespace of its own, in which the home is a small disk.
pub(crate) struct Disk {
    holder: Child,
    home: PathBuf,
}

impl Disk {
    /// Of that size, as mount says it.
    fn mount(home: &Path, size: &str) -> Option<Self> {
        fs::create_dir(home).unwrap();
        let script =
            "mount -t tmpfs -o size=$1,mode=700 tmpfs \"$0\" && echo ready && exec sleep 600";
        let mut holder = Command::new("unshare");
        holder.args(["-m", "--propagation", "private", "sh", "-c", script]).arg(home).arg(size);
        let mut holder = holder.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut line = String::new();
        let mut out = std::io::BufReader::new(holder.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let it = Self { holder, home: home.to_owned() };
        (line == "ready\n").then_some(it)
    }

    /// Enters it, and stands in a directory there.
    pub(crate) fn prefix(&self, directory: &Path) -> [String; 8] {
        let pid = self.holder.id().to_string();
        let directory = directory.display().to_string();
        ["nsenter", "-t", &pid, "-m", "--", "env", "-C", &directory].map(str::to_owned)
    }

    /// A path in the home as it is in there.
    fn inside(&self, path: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.home.strip_prefix("/").unwrap()).join(path)
    }

    /// Takes all the room but some pages.
    pub(crate) fn fill(&self, pages_left: u64) {
        let path = self.inside("fill");
        let mut file = fs::File::create(&path).unwrap();
        let page = [b'x'; 4096];
        while std::io::Write::write_all(&mut file, &page).is_ok() {}
        let bytes = file.metadata().unwrap().len() / 4096 * 4096;
        file.set_len(bytes - pages_left * 4096).unwrap();
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.inside("fill")).unwrap();
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.inside(dir)).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|it| it.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        kill(self.holder.id());
        drop(self.holder.wait());
    }
}

pub(crate) fn on_a_small_disk(size: &str) -> Option<(Home, Disk)> {
    let it = Home::new();
    let Some(disk) = Disk::mount(it.home(), size) else {
        skipped("no mount namespace of its own can be had: unshare -m");
        return None;
    };
    let prefix = disk.prefix(&it.project());
    let it = it.through(&prefix.each_ref().map(String::as_str));
    Some((it, disk))
}

#[test]
fn a_snapshot_that_finds_the_disk_full_is_none_and_costs_the_sandbox_nothing() {
    let Some((it, disk)) = on_a_small_disk("8m") else { return };
    let words = ["run", "-d", "--name", "box", "--egress", "deny", "--", "sh", "-c", "sleep 1000"];
    it.ok(&words);
    let make = "for i in $(seq 40); do head -c 40000 /dev/urandom > f$i; done; echo done";
    assert_eq!(it.ok(&["exec", "box", "--", "sh", "-c", make]), "done\n");
    it.ok(&["snapshot", "create", "box", "--name", "before"]);
    it.ok(&["exec", "box", "--", "sh", "-c", "for i in $(seq 40); do echo x >> f$i; done"]);
    disk.fill(100);
    let ran = it.verb(&["snapshot", "create", "box", "--name", "after"]).output().unwrap();
    let words = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(1) && words.contains("No space left"), "{ran:?}");
    assert_eq!(it.json(&["snapshot", "ls", "--json"]).as_array().unwrap().len(), 1);
    // It is not held any more, and has what it had.
    assert_eq!(it.ok(&["exec", "box", "--", "sh", "-c", "tail -c 2 f40"]), "x\n");
    eventually("nothing of it is left", || disk.names("state/snapshots").len() == 1);
    disk.free();
    it.ok(&["snapshot", "create", "box", "--name", "after"]);
    let stat = it.ok(&["snapshot", "diff", "before", "after", "--stat"]);
    assert!(stat.contains("40 paths changed"), "{stat}");
    it.ok(&["rm", "--yes", "box"]);
    it.ok(&["hub", "stop"]);
}

#[test]
fn a_session_outlives_a_full_disk_and_says_what_was_not_recorded() {
    let Some((it, disk)) = on_a_small_disk("8m") else { return };
    it.run("count", COUNTS);
    it.printed("count", "n10");
    disk.fill(0);
    let lost = |session: &Value| session["journal_lost_bytes"].as_u64().unwrap();
    eventually("it says what is lost", || lost(&it.session("count")) > 0);
    assert_eq!(it.session("count")["exit_code"], Value::Null);
    let before = numbers(&it.ok(&["screen", "count"])).last().copied();
    eventually("it prints on", || numbers(&it.ok(&["screen", "count"])).last().copied() > before);
    it.kill_hub();
    assert_eq!(it.session("count")["status"], "working", "a hub starts on a full disk");
    disk.free();
    let text = it.ok(&["screen", "count"]);
    let then = numbers(&text).last().copied().unwrap();
    eventually("it is recorded again", || {
        numbers(&it.recorded("count")).last().is_some_and(|it| *it > then)
    });
    fs::write(it.project().join("stop"), "").unwrap();
    it.ok(&["wait", "count", "--for", "exit", "--timeout", "20s"]);
    let session = it.session("count");
    assert_eq!(session["exit_code"], 4);
    let found = numbers(&it.recorded("count"));
    assert!(found.is_sorted() && found[..10] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "{found:?}");
    assert!(lost(&session) > 0);
    it.ok(&["rm", "--yes", "count"]);
    it.ok(&["hub", "stop"]);
}

#[test]
fn a_run_on_a_full_disk_fails_in_words_and_leaves_nothing() {
    let Some((it, disk)) = on_a_small_disk("8m") else { return };
    it.ok(&["ls"]);
    let mut failed = 0;
    for pages in [0, 1, 2, 4, 5, 7, 9, 11, 13, 16] {
        disk.fill(pages);
        let said = it.say(&["run", "-d", "--name", "new", "--egress", "deny", "--", "cat"]);
        if said.code == 0 {
            // With next to nothing left, to strike it off the registry may be refused, in words.
            disk.free();
            it.ok(&["rm", "--yes", "new"]);
        } else {
            failed += 1;
            let full = ["disk is full", "No space left"].iter().any(|it| said.err.contains(it));
            assert!(said.code == 1 && full, "{pages} pages left: {said:?}");
            assert!(
                disk.names("state/recordings").is_empty(),
                "{:?}",
                disk.names("state/recordings")
            );
            disk.free();
        }
        assert_eq!(it.json(&["ls", "--all", "--json"]), Value::Array(Vec::new()), "{pages} pages");
        assert!(disk.names("state/sandboxes").is_empty());
        let recordings = disk.inside("state/recordings");
        drop(fs::remove_dir_all(&recordings));
        fs::create_dir(&recordings).unwrap();
    }
    assert!(failed >= 5, "only {failed} of them had too little room");
    it.ok(&["hub", "stop"]);
    disk.fill(0);
    let said = it.say(&["ls"]);
    if said.code != 0 {
        assert!(said.err.contains("full") || said.err.contains("No space left"), "{said:?}");
    }
    it.say(&["hub", "stop"]);
}

#[test]
fn a_full_disk_is_made_room_on_by_removing() {
    let Some((it, disk)) = on_a_small_disk("8m") else { return };
    it.run("large", "head -c 3000000 /dev/zero > /tmp/big; echo made; cat");
    it.printed("large", "made");
    disk.fill(0);
    // Also by a hub that has to be started first.
    stop(&it);
    disk.fill(0);
    it.ok(&["rm", "--yes", "large"]);
    assert_eq!(it.json(&["ls", "--all", "--json"]), Value::Array(Vec::new()));
    it.ok(&["hub", "stop"]);
}

/// Ends the hub and waits until its process is gone.
fn stop(it: &Home) {
    let pid = it.hub_pid();
    it.ok(&["hub", "stop"]);
    eventually("the hub is gone", || !crate::crash_support::alive(pid));
}

#[test]
fn a_damaged_registry_is_put_aside_and_made_anew_from_what_lives() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("garbage", |path| fs::write(path, vec![0xA5; 30_000]).unwrap()),
        ("short", |path| fs::write(path, b"SQLite format 3\0").unwrap()),
        ("cut", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2 + 100]).unwrap();
        }),
        ("holed", |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = 4096..bytes.len() - 100;
            bytes[middle].fill(0x5A);
            fs::write(path, bytes).unwrap();
        }),
    ];
    let it = Home::new();
    it.run("lives", "echo up; cat");
    it.run("ended", "echo gone by; exit 6");
    it.printed("lives", "up");
    it.ok(&["wait", "ended", "--for", "exit", "--timeout", "20s"]);
    let pid = it.session("lives")["pid"].clone();
    for (name, damage) in damages {
        stop(&it);
        let path = it.state().join("registry.db");
        // Without its journal, which would heal it.
        let registry = rusqlite::Connection::open(&path).unwrap();
        registry.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        registry.close().unwrap();
        damage(&path);
        let lives = it.sandbox("lives");
        assert_eq!(lives["state"], "running", "{name}: {lives:#}");
        assert_eq!(lives["sessions"][0]["pid"], pid, "{name}");
        assert_eq!(it.session("ended")["exit_code"], 6, "{name}");
        let entries = fs::read_dir(it.state()).unwrap().flatten();
        let aside: Vec<String> = entries
            .map(|it| it.file_name().into_string().unwrap())
            .filter(|it| it.starts_with("registry.db.corrupt"))
            .collect();
        assert!(!aside.is_empty(), "{name}: the damaged one is kept");
        for file in aside {
            fs::remove_file(it.state().join(file)).unwrap();
        }
    }
    it.end();
}
