//! Ending programs in a container. The engine has no call for it, so that another exec does it, from inside, with
//! a shell of the image.

use std::sync::Arc;

use hyper::Method;
use rustix::{
    fs::{AtFlags, FileType, StatxFlags, statx},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
    termios::{LocalModes, tcgetattr},
};
use serde_json::json;

use super::{
    engine::{Engine, Payload, escaped},
    life::Life,
    program::Programs,
};
use crate::base::{
    fault::{Kind, Outcome},
    limits::ENGINE_ANSWER_WITHIN,
};

/// The variable by which a program, and what it starts, is found again inside.
pub const MARK: &str = "SANDWATCH_PROGRAM";

/// Kills a session: that of process `$2` inside, if it began at `$3` or is no more, whose jobs keep its number
/// from others. Where it is not known it is that of the process that came from outside (its parent is none here)
/// with mark `$1`, or of what it left behind with that mark. Twice, for what was just being started was missed. A
/// shell and `kill` are all that is asked of an image.
const KILL: &str = r#"
pass() {
    s=$2
    if [ -n "$s" ] && l=$(cat "/proc/$s/stat" 2>/dev/null); then
        set -- "$1" "$3" ${l##*) }
        [ "${22}" = "$2" ] || s=
    fi
    if [ -z "$s" ]; then
        for d in /proc/[0-9]*; do
            { tr '\0' '\n' <"$d/environ" | grep -qxF "SANDWATCH_PROGRAM=$1"; } 2>/dev/null || continue
            l=$(cat "$d/stat" 2>/dev/null) || continue
            set -- "$1" ${l##*) }
            [ "$3" = 0 ] && s="$s ${d#/proc/}"
            [ "$5" = 0 ] || [ -d "/proc/$5" ] || s="$s $5"
        done
    fi
    [ -n "$s" ] || return 0
    for d in /proc/[0-9]*; do
        l=$(cat "$d/stat" 2>/dev/null) || continue
        set -- ${l##*) }
        case " $s " in
            *" $4 "*) kill -9 "${d#/proc/}" ;;
        esac
    done
}
pass "$@"
pass "$@"
"#;

/// Numbers of devices that are a program's side of a pseudoterminal (Documentation/admin-guide/devices.txt).
const TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;

/// A process of a container, as this machine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub pid: u32,
    /// Its number in the container.
    inside: u32,
    /// In ticks since this machine began: with its number, that is one process and no later one.
    began: u64,
}

impl Seen {
    /// `None` when there is no such process, or it is not of this container. Blocks on files.
    pub fn look(pid: u32, container: &str) -> Option<Self> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let began = began(pid)?;
        if !read("cgroup")?.contains(container) {
            return None;
        }
        let status = read("status")?;
        let numbers = status.lines().find_map(|it| it.strip_prefix("NSpid:"))?;
        let inside = numbers.split_whitespace().last()?.parse().ok()?;
        Some(Self { pid, inside, began })
    }

    /// Whether what is typed at it is given out by the line, as the terminal that it has as its input says; `None` = it has
    /// none, has ended, or may not be looked at.
    pub fn lines(self) -> Option<bool> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Its number may have been another's when that was opened.
        began(self.pid).filter(|it| *it == self.began)?;
        let input = pidfd_getfd(&process, 0, PidfdGetfdFlags::empty()).ok()?;
        // Nothing is asked of what may be anything but a terminal, and nobody who serves a file is.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let found = statx(&input, c"", flags, StatxFlags::TYPE).ok()?;
        let kind = FileType::from_raw_mode(found.stx_mode.into());
        if kind != FileType::CharacterDevice || !TERMINALS.contains(&found.stx_rdev_major) {
            return None;
        }
        let modes = tcgetattr(&input).ok()?.local_modes;
        Some(modes.contains(LocalModes::ICANON))
    }
}

/// When a process began, in ticks since this machine did.
fn began(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// A program that the engine was asked to start. Until somebody attends to it, it is ended when this goes, also
/// where whoever asked gave up in the middle.
pub struct Unattended {
    programs: Arc<Programs>,
    exec: String,
    mark: String,
    attended: bool,
}

impl Unattended {
    pub fn new(programs: Arc<Programs>, exec: String, mark: String) -> Self {
        Self { programs, exec, mark, attended: false }
    }

    /// Somebody else sees to it, or there is none.
    pub fn attended(mut self) {
        self.attended = true;
    }
}

impl Drop for Unattended {
    fn drop(&mut self) {
        // Without a runtime the process is at its end, and the container with it.
        let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| !self.attended)
        else {
            return;
        };
        let programs = Arc::clone(&self.programs);
        let (exec, mark) = (std::mem::take(&mut self.exec), std::mem::take(&mut self.mark));
        runtime.spawn(async move {
            // One that only starts now can't be found before; one that is not told of is looked for all the same.
            drop(programs.started(&exec).await);
            programs.kill(&mark, None).await;
        });
    }
}

impl Programs {
    /// Ends a program and what shares its session.
    pub async fn kill(&self, mark: &str, seen: Option<Seen>) {
        if matches!(self.life.now(), Life::Over(_)) {
            return;
        }
        let inside = seen.map(|it| it.inside.to_string()).unwrap_or_default();
        let began = seen.map(|it| it.began.to_string()).unwrap_or_default();
        if let Err(fault) = self.silently(&["sh", "-c", KILL, "sh", mark, &inside, &began]).await {
            tracing::warn!(%fault, "a program that nobody watches any more may run on");
        }
    }

    /// Asks every program to end.
    pub async fn ask_to_end(&self) -> Outcome<()> {
        self.silently(&["sh", "-c", "kill -TERM -1"]).await
    }

    /// Runs something whose output nobody takes.
    async fn silently(&self, command: &[&str]) -> Outcome<()> {
        let exec = self.make(json!({ "Cmd": command })).await?;
        let path = format!("/exec/{}/start", escaped(&exec));
        let start = Payload::Json(json!({ "Detach": true, "Tty": false }));
        self.engine.post(&path, start).await?.done()
    }

    /// Ends the container's processes at once; fine when there are none.
    pub async fn kill_all(engine: &Engine, container: &str) -> Outcome<()> {
        let path = format!("/containers/{}/kill?signal=SIGKILL", escaped(container));
        let killed =
            engine.call(Method::POST, &path, Payload::Nothing, ENGINE_ANSWER_WITHIN).await?;
        match killed.done() {
            // It does not run, or is no more.
            Err(fault) if matches!(fault.kind(), Kind::Busy | Kind::Absent) => Ok(()),
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt,
        process::{Child, Command},
        time::Duration,
    };

    use super::*;
    use crate::base::clock;

    fn kill(mark: &str, inside: u32, began: u64) {
        let (inside, began) = (inside.to_string(), began.to_string());
        let inside = if inside == "0" { "" } else { &inside };
        Command::new("sh").args(["-c", KILL, "sh", mark, inside, &began]).status().unwrap();
    }

    fn eventually(what: &str, so: impl Fn() -> bool) {
        let deadline = clock::monotonic() + Duration::from_secs(20);
        while !so() {
            assert!(clock::monotonic() < deadline, "never: {what}");
            std::thread::yield_now();
        }
    }

    /// A session of its own, and when it began.
    fn session() -> (Child, Seen) {
        let mut child = Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        eventually("it runs", || stat().contains("(sleep)"));
        assert_eq!(child.try_wait().unwrap(), None);
        let seen = Seen::look(child.id(), "").unwrap();
        (child, seen)
    }

    #[test]
    fn a_number_that_another_process_has_by_now_is_not_killed() {
        let (mut child, seen) = session();
        kill("no-such-mark", seen.inside, seen.began + 1);
        assert_eq!(child.try_wait().unwrap(), None, "another process was killed");
        kill("no-such-mark", seen.inside, seen.began);
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_eq!(Seen::look(child.id(), ""), None);
    }

    #[test]
    fn what_a_program_left_behind_is_found_by_its_mark() {
        let mark = crate::base::id::SessionId::random().to_string();
        let output = Command::new("setsid")
            .args(["--wait", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"])
            .env(MARK, &mark)
            .output()
            .unwrap();
        let job = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let stat = || std::fs::read_to_string(format!("/proc/{job}/stat")).unwrap_or_default();
        eventually("it runs", || stat().contains("(sleep)"));
        kill(&mark, 0, 0);
        // Who buries it is not known: it is gone, or a corpse.
        eventually("it is ended", || {
            let stat = stat();
            stat.is_empty() || stat.contains(") Z") || stat.contains(") X")
        });
    }
}
