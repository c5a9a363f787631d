//! The real binary, run with a SANDWATCH_HOME of its own that leaves nothing behind.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) use crate::given::{PROGRAM, alive, eventually};

/// Far longer than anything here takes.
const STUCK: Duration = Duration::from_secs(180);

/// A directory that holds one instance: configuration, state, sockets, and a workspace.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(home.workspace()).unwrap();
        home
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("home")
    }

    /// The current directory of everything run here.
    pub fn workspace(&self) -> PathBuf {
        self.0.path().join("project")
    }

    /// Makes it another user's. Root may still use it.
    pub fn give_to(&self, user: u32) {
        let mut given = Command::new("chown");
        given.arg("-R").arg(format!("{user}:{user}")).arg(self.0.path());
        let mut given = given.spawn().unwrap();
        assert!(given.wait().unwrap().success());
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("config")
    }

    /// The program with nothing of the tester's own environment that could change what it does.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .current_dir(self.workspace())
            .env("SANDWATCH_HOME", self.path())
            .env_remove("SANDWATCH_LOG")
            .env_remove("SANDWATCH_CONTEXT")
            .env_remove("NO_COLOR")
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end with no terminal anywhere.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &[])
    }

    /// The same, with these variables.
    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = self.command(args);
        command.envs(env.iter().copied());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (ended, end) = mpsc::channel::<()>();
        // One that never ends fails its own test and not the whole run.
        let guard = std::thread::spawn(move || {
            if end.recv_timeout(STUCK) == Err(RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let output = child.wait_with_output().unwrap();
        drop(ended);
        guard.join().unwrap();
        Ran::from(output, args)
    }

    /// Runs, must succeed, gives stdout.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    }

    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }
}

impl Drop for Home {
    /// Ends what the test started: its sandboxes, then its hub.
    fn drop(&mut self) {
        if !self.path().join("state/hub.lock").exists() {
            return;
        }
        let listed = self.command(&["ls", "--all", "--json"]).output().ok();
        let listed = listed.and_then(|it| serde_json::from_slice(&it.stdout).ok());
        let all: Vec<serde_json::Value> = listed.unwrap_or_default();
        let mut args = vec!["rm", "--yes"];
        args.extend(all.iter().filter_map(|it| it["id"].as_str()));
        if !all.is_empty() {
            drop(self.command(&args).output());
        }
        drop(self.command(&["hub", "stop"]).output());
    }
}

/// How a run came out; all of it is shown when a test fails.
#[derive(Debug)]
pub struct Ran {
    #[expect(dead_code, reason = "printed when a run came out wrong")]
    pub args: Vec<String>,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn from(output: Output, args: &[&str]) -> Self {
        Self {
            args: args.iter().map(|it| (*it).to_owned()).collect(),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Failed with this code, and said each of these words on stderr, in at most two lines.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word} is not in {self:?}");
        }
        assert!(self.stderr.lines().count() <= 2, "{self:?}");
    }
}
