//! The subjects: a bare PTY, tmux, zellij where there is one, and sandwatch, all started the same
//! way and each with a home of its own that goes when the subject goes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use portable_pty::CommandBuilder;
use rustix::process::Pid;

use super::outer::Outer;

/// Size of the outer terminal in every bench.
pub const COLS: u16 = 207;
pub const ROWS: u16 = 55;

/// How long anything may take to come up; the machine may be busy.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// A directory of its own, and with it a tmux server or a hub of its own.
pub struct Home {
    dir: tempfile::TempDir,
    sandwatch: bool,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("bench").tempdir().unwrap();
        // The program inside of the panes: the workspace of every sandbox, at the same path.
        fs::create_dir(dir.path().join("work")).unwrap();
        fs::copy(std::env::current_exe().unwrap(), dir.path().join("work/bench")).unwrap();
        Self { dir, sandwatch: false }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What the processes of this home carry in their environment.
    pub fn mark(&self) -> String {
        self.dir.path().display().to_string()
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The command line of a program inside of a pane.
    pub fn inner(&self, args: &[&str]) -> Vec<String> {
        let program = self.work().join("bench").display().to_string();
        [&[program.as_str(), "--inner"], args].concat().iter().map(|it| (*it).to_owned()).collect()
    }

    pub fn verb(&mut self, args: &[&str]) -> String {
        self.sandwatch = true;
        let out = Command::new(env!("CARGO_BIN_EXE_sandwatch"))
            .args(args)
            .env("SANDWATCH_HOME", self.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "sandwatch {args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// The process of the hub.
    pub fn hub(&mut self) -> Pid {
        let status: serde_json::Value =
            serde_json::from_str(&self.verb(&["hub", "status", "--json"])).unwrap();
        Pid::from_raw(i32::try_from(status["pid"].as_i64().unwrap()).unwrap()).unwrap()
    }

    /// A detached local sandbox with one inner program in it.
    pub fn sandbox(&mut self, name: &str, inner: &[&str]) {
        let workspace = format!("{}:ro", self.work().display());
        let mut args = vec!["run", "--detach", "--name", name, "--workspace", &workspace];
        args.extend(["--egress", "deny", "--"]);
        let command = self.inner(inner);
        args.extend(command.iter().map(String::as_str));
        self.verb(&args);
    }

    /// A program in the outer terminal.
    pub fn outer(&self, command: &[&str]) -> Outer {
        self.outer_as(self.path(), command)
    }

    /// The same as somebody else, whose files are there.
    pub fn outer_as(&self, home: &Path, command: &[&str]) -> Outer {
        let mut builder = CommandBuilder::from_argv(command.iter().map(Into::into).collect());
        builder.env("SANDWATCH_HOME", home);
        builder.env("TERM", "xterm-256color");
        builder.env("COLORTERM", "truecolor");
        builder.env("LANG", "C.UTF-8");
        builder.env("BENCH_HOME", self.path());
        for name in ["TMUX", "TMUX_PANE", "ZELLIJ", "NO_COLOR"] {
            builder.env_remove(name);
        }
        builder.cwd(self.work());
        Outer::spawn(builder, COLS, ROWS)
    }

    fn tmux(&self, args: &[&str]) {
        let status = Command::new("tmux")
            .arg("-S")
            .arg(self.path().join("tmux"))
            .args(args)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "tmux {args:?}");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.path().join("tmux").exists() {
            let mut kill = Command::new("tmux");
            kill.arg("-S").arg(self.path().join("tmux")).arg("kill-server");
            drop(kill.stderr(Stdio::null()).status());
        }
        if self.sandwatch {
            let listed = self.verb(&["ls", "--json"]);
            let all: serde_json::Value = serde_json::from_str(&listed).unwrap();
            let names = all.as_array().unwrap().iter().filter_map(|it| it["id"].as_str());
            let names: Vec<&str> = names.collect();
            for some in names.chunks(50) {
                self.verb(&[&["rm", "--yes"], some].concat());
            }
            self.verb(&["hub", "stop"]);
        }
    }
}

pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// An echo program that has the keyboard, `floods` endless ones on screen beside it.
pub fn echo_beside(subject: &str, floods: usize) -> Option<(Home, Outer)> {
    let mut home = Home::new();
    let outer = match subject {
        "bare" if floods == 0 => {
            let command = home.inner(&["echo"]);
            home.outer(&command.iter().map(String::as_str).collect::<Vec<_>>())
        }
        "tmux" if is_installed("tmux") => tmux_echo_beside(&home, floods),
        "zellij" if is_installed("zellij") => zellij_echo_beside(&home, floods),
        "attach" => {
            sandwatch_echo_beside(&mut home, floods);
            home.outer(&[env!("CARGO_BIN_EXE_sandwatch"), "attach", "a-echo"])
        }
        "console" => {
            sandwatch_echo_beside(&mut home, floods);
            let outer = home.outer(&[env!("CARGO_BIN_EXE_sandwatch")]);
            outer.wait_for("a-echo", UP_WITHIN);
            outer.settle(Duration::from_millis(500), Duration::from_secs(3));
            step_in(&outer, floods);
            outer
        }
        _ => return None,
    };
    outer.wait_for("echo ready", UP_WITHIN);
    outer.settle(Duration::from_millis(300), Duration::from_secs(2));
    Some((home, outer))
}

/// One program in one pane that has the keyboard.
pub fn one_pane(home: &mut Home, subject: &str, inner: &[&str]) -> Outer {
    let sandwatch = env!("CARGO_BIN_EXE_sandwatch");
    let command = home.inner(inner);
    match subject {
        "bare" => home.outer(&command.iter().map(String::as_str).collect::<Vec<_>>()),
        "tmux" => {
            let socket = home.path().join("tmux").display().to_string();
            home.outer(&[
                "tmux",
                "-S",
                &socket,
                "-f",
                "/dev/null",
                "new-session",
                &command.join(" "),
            ])
        }
        "attach" => {
            home.sandbox("a-one", inner);
            home.outer(&[sandwatch, "attach", "a-one"])
        }
        "console" => {
            home.sandbox("a-one", inner);
            let outer = home.outer(&[sandwatch]);
            outer.wait_for("a-one", UP_WITHIN);
            outer.settle(Duration::from_millis(500), Duration::from_secs(3));
            step_in(&outer, 0);
            outer
        }
        other => panic!("no such subject: {other}"),
    }
}

/// Many silent programs, one of them on screen (tmux) or as many as fit (console).
pub fn many_idle(subject: &str, panes: usize) -> (Home, Outer) {
    let mut home = Home::new();
    let outer = match subject {
        "tmux" => {
            let idle = home.inner(&["idle"]).join(" ");
            home.tmux(&["-f", "/dev/null", "new-session", "-d", &idle]);
            for _ in 1..panes {
                home.tmux(&["new-window", "-d", &idle]);
            }
            let socket = home.path().join("tmux").display().to_string();
            home.outer(&["tmux", "-S", &socket, "attach"])
        }
        "console" => {
            for number in 0..panes {
                home.sandbox(&format!("idle-{number:02}"), &["idle"]);
            }
            home.outer(&[env!("CARGO_BIN_EXE_sandwatch")])
        }
        other => panic!("no such subject: {other}"),
    };
    outer.wait_for("idle", UP_WITHIN);
    (home, outer)
}

fn sandwatch_echo_beside(home: &mut Home, floods: usize) {
    home.sandbox("a-echo", &["echo"]);
    for number in 1..=floods {
        home.sandbox(&format!("b-flood-{number}"), &["flood", "--mb", "0"]);
    }
}

/// Opens the panes in the console and puts the keyboard into the first.
fn step_in(outer: &Outer, _floods: usize) {
    outer.send(b"\r");
}

fn tmux_echo_beside(home: &Home, floods: usize) -> Outer {
    let socket = home.path().join("tmux").display().to_string();
    let (cols, rows) = (COLS.to_string(), ROWS.to_string());
    let echo = home.inner(&["echo"]).join(" ");
    home.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &cols, "-y", &rows, &echo]);
    home.tmux(&["set", "-g", "escape-time", "0"]);
    for _ in 0..floods {
        let flood = home.inner(&["flood", "--mb", "0"]).join(" ");
        home.tmux(&["split-window", "-d", "-t", ":.0", &flood]);
        home.tmux(&["select-layout", "tiled"]);
    }
    home.tmux(&["select-pane", "-t", ":.0"]);
    home.outer(&["tmux", "-S", &socket, "attach"])
}

fn zellij_echo_beside(home: &Home, floods: usize) -> Outer {
    let pane = |focus: &str, inner: &[&str]| {
        let command = home.inner(inner);
        let args: Vec<String> = command[1..].iter().map(|it| format!("{it:?}")).collect();
        format!("pane {focus} command={:?} {{ args {} ; }}\n", command[0], args.join(" "))
    };
    let mut layout = format!("layout {{\n{}", pane("focus=true", &["echo"]));
    for _ in 0..floods {
        layout.push_str(&pane("", &["flood", "--mb", "0"]));
    }
    layout.push_str("}\n");
    let config = home.path().join("config.kdl");
    fs::write(
        &config,
        "show_startup_tips false\nshow_release_notes false\non_force_close \"quit\"\n",
    )
    .unwrap();
    let config = config.display().to_string();
    // A layout in a file is passed over by some versions.
    home.outer(&["zellij", "--config", &config, "--layout-string", &layout])
}
