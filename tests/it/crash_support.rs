//! The real program in a home of its own: its verbs, its hub, its shims; whatever is left of them at
//! the end of a test is ended by pid.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

pub(crate) use crate::given::{PROGRAM, alive, eventually};

/// What a verb said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

/// One instance of sandwatch, with a directory to work in.
pub(crate) struct Home {
    temp: tempfile::TempDir,
    home: PathBuf,
    /// What every verb is started by, before `timeout`.
    prefix: Vec<String>,
}

impl Home {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("project")).unwrap();
        let home = temp.path().join("home");
        Self { temp, home, prefix: Vec::new() }
    }

    /// With its home at another place, which must be inside of `temp`.
    pub(crate) fn at(inside: &str) -> Self {
        let mut it = Self::new();
        it.home = it.temp.path().join(inside);
        it
    }

    /// Every verb is started by this command.
    pub(crate) fn through(mut self, prefix: &[&str]) -> Self {
        self.prefix = prefix.iter().map(|it| (*it).to_owned()).collect();
        self
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }
    pub(crate) fn temp(&self) -> &Path {
        self.temp.path()
    }
    pub(crate) fn state(&self) -> PathBuf {
        self.home.join("state")
    }
    pub(crate) fn socket(&self) -> PathBuf {
        self.home.join("run/hub.sock")
    }
    pub(crate) fn project(&self) -> PathBuf {
        self.temp.path().join("project")
    }

    /// A verb, not started yet; it stands in the project and is ended if it hangs.
    pub(crate) fn verb(&self, words: &[&str]) -> Command {
        self.verb_for("25", words)
    }

    /// The same, ended only after so many seconds.
    fn verb_for(&self, seconds: &str, words: &[&str]) -> Command {
        let timeout = ["timeout", "--kill-after=1", seconds, PROGRAM].map(str::to_owned);
        let mut line = self.prefix.iter().chain(&timeout);
        let mut command = Command::new(line.next().unwrap());
        command.args(line).args(words);
        command.current_dir(self.project()).env("SANDWATCH_HOME", &self.home);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn say(&self, words: &[&str]) -> Said {
        said(self.verb(words))
    }

    /// A verb that must do what it is told.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let said = self.say(words);
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        said.text()
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.ok(words)).unwrap()
    }

    /// Starts a shell text in a sandbox with this name, on the project as it is.
    pub(crate) fn run(&self, name: &str, text: &str) {
        let project = format!("{}:rw", self.project().display());
        let words = ["run", "-d", "--name", name, "--workspace", &project, "--egress", "deny"];
        self.ok(&[&words[..], &["--", "bash", "-c", text]].concat());
    }

    /// Starts a verb in the background, its output going to a file.
    pub(crate) fn begin(&self, words: &[&str], out: &Path) -> Child {
        let file = fs::File::create(out).unwrap();
        self.verb(words).stdout(file).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The same for a verb that lives as long as its test.
    pub(crate) fn begin_long(&self, words: &[&str], out: &Path) -> Child {
        let file = fs::File::create(out).unwrap();
        self.verb_for("300", words).stdout(file).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn hub_pid(&self) -> u32 {
        let status = self.json(&["hub", "status", "--json"]);
        u32::try_from(status["pid"].as_u64().unwrap()).unwrap()
    }

    /// Ends the hub as a crash does; gives its pid.
    pub(crate) fn kill_hub(&self) -> u32 {
        let pid = self.hub_pid();
        kill(pid);
        eventually("the hub is dead", || !alive(pid));
        pid
    }

    /// One sandbox of `ls --all --json`.
    pub(crate) fn sandbox(&self, name: &str) -> Value {
        let all = self.json(&["ls", "--all", "--json"]);
        let found = all.as_array().unwrap().iter().find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {all:#}")).clone()
    }

    /// The first session of a sandbox.
    pub(crate) fn session(&self, name: &str) -> Value {
        self.sandbox(name)["sessions"][0].clone()
    }

    pub(crate) fn shim_of(&self, name: &str) -> u32 {
        let id = self.sandbox(name)["id"].as_str().unwrap().to_owned();
        let dir = self.state().join("sandboxes").join(id);
        // The first process inside is a copy of its shim.
        let both = started_with(dir.as_os_str());
        let mut shims = both.iter().filter(|it| tree(**it).is_superset(&both));
        *shims.next().unwrap_or_else(|| panic!("one shim holds {name}: {both:?}"))
    }

    /// Waits until what a session printed so far matches.
    pub(crate) fn printed(&self, name: &str, pattern: &str) {
        self.ok(&["wait", name, "--for", &format!("text={pattern}"), "--timeout", "20s"]);
    }

    /// What a recording holds, as the text of its outputs.
    pub(crate) fn recorded(&self, session: &str) -> String {
        let cast = self.ok(&["recordings", "export", session]);
        let mut lines = cast.lines().filter(|it| !it.starts_with('#'));
        let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(header["version"], 3);
        let events = lines.map(|it| serde_json::from_str::<Value>(it).unwrap());
        events.filter(|it| it[1] == "o").map(|it| it[2].as_str().unwrap().to_owned()).collect()
    }

    /// Removes everything by the verbs, and checks that nothing is left.
    pub(crate) fn end(&self) {
        for sandbox in self.json(&["ls", "--all", "--json"]).as_array().unwrap() {
            self.ok(&["rm", "--yes", sandbox["name"].as_str().unwrap()]);
        }
        self.ok(&["hub", "stop"]);
        eventually("no process is left", || self.processes().is_empty());
        let left = fs::read_dir(self.state().join("sandboxes")).unwrap().flatten();
        // What was removed may still be on its way out; the next hub sees to it. Unpacked images stay for a while.
        let stays = |it: &PathBuf| it.ends_with(".trash") || it.ends_with(".images");
        let left = left.map(|it| it.path()).filter(|it| !stays(it));
        assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new());
    }

    /// Hubs, shims, verbs and what they started for this home. What runs in a sandbox has another
    /// environment, and ends with its shim.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        let mark = [b"SANDWATCH_HOME=", self.home.as_os_str().as_bytes()].concat();
        let has_mark = |pid: &u32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|it| *it == 0).any(|it| it == mark) && alive(*pid)
        };
        pids().filter(has_mark).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for pid in self.processes() {
            kill(pid);
        }
        if std::thread::panicking() {
            let logs = self.state().join("logs");
            for name in ["hub.log", "hub.stderr"] {
                let text = fs::read_to_string(logs.join(name)).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(15).collect();
                eprintln!("{name}, newest first: {last:#?}");
            }
        }
    }
}

/// Runs a command to its end.
pub(crate) fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let said = Said {
        code: output.status.code().unwrap_or(-1),
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert!(said.code != 124 && said.code != 137, "{command:?} hung: {said:?}");
    assert!(!said.err.contains("panicked"), "{command:?}: {said:?}");
    said
}

pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|it| it.file_name().to_str().and_then(|it| it.parse().ok()))
}

/// The processes that were started with this argument.
pub(crate) fn started_with(argument: &OsStr) -> BTreeSet<u32> {
    let has = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|it| *it == 0).any(|it| it == argument.as_bytes()) && alive(*pid)
    };
    pids().filter(has).collect()
}

/// A process and all its descendants.
pub(crate) fn tree(root: u32) -> BTreeSet<u32> {
    let mut all = BTreeSet::from([root]);
    let parents: Vec<(u32, u32)> = pids()
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    loop {
        let known = all.clone();
        all.extend(parents.iter().filter(|it| known.contains(&it.1)).map(|it| it.0));
        if all.len() == known.len() {
            return all;
        }
    }
}

/// The numbers of lines `n1`, `n2` ... in a text, in order.
pub(crate) fn numbers(text: &str) -> Vec<u64> {
    text.lines().filter_map(|it| it.trim().strip_prefix('n')?.parse().ok()).collect()
}
