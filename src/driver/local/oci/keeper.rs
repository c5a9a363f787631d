//! The keeper of a container: process 1 of a namespace that everything of the container is in, and so the one to
//! end it. Starts programs through the runtime on request, reaps, tells how they ended. Unlike an init it is
//! root and outside of what it keeps; no program of the sandbox can see it.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
    time::Duration,
};

use rustix::{
    fs::Mode,
    mount::{MountFlags, mount},
    process::{Pid, PidfdFlags, Signal, pidfd_open},
};

use super::{
    Plan, Runtime, keep_groups,
    start::{self, INSIDE, OUTSIDE, Tool, become_starter},
};
use crate::{
    base::units::Size,
    driver::{
        docker::first,
        local::{
            blueprint::Network,
            desk::{Come, Desk, bury, how_it_ended},
            init::{self, PROGRAMS_MAX},
            lockdown,
            message::{On, Order, Report, Word, send},
            mounts::{self, Step},
            namespaces::{self, wait_for_go},
            processes, sys, turns,
        },
    },
};

/// What it is called, in /proc and in lists of processes.
const NAME: &std::ffi::CStr = c"sandwatch-keep";
/// The runtime's own state; like all in /run it is in memory, and seen by the keeper and the runtime only.
pub const STATE: &str = "/run/state";
const BUNDLE: &str = "/run/bundle";
const PROGRAMS: &str = "/run/programs";

/// Goes before the other where the process has ended: who has its number now is another, and so is that one's
/// session. As long as one of its own lives, nobody can have it.
const UNLESS_IT_LIVES: &str = r#"[ -e "/proc/$1" ] && exit"#;
/// Kills what shares the session of process `$1`; a shell and `kill` are all that is asked of the container.
const KILL_SESSION: &str = r#"
for d in /proc/[0-9]*; do
    l=$(cat "$d/stat" 2>/dev/null) || continue
    p=${d#/proc/}
    set -- "$1" ${l##*) }
    [ "$5" = "$1" ] && [ "$p" != $$ ] && kill -9 "$p"
done
kill -9 "$1"
"#;
/// How long after a program was killed who waits for it may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// Asks all to end, and then what did not listen, as shells at a prompt: those go when they are hung up on.
const ASK_TO_END: &str = "kill -TERM -1; sleep 1; kill -HUP -1";

/// Everything the clone does, from waking up to serving. Never returns into the shim's code.
pub fn become_keeper(plan: &Plan, control: OwnedFd) -> ! {
    let tool = Tool {
        runtime: plan.runtime,
        program: &plan.program,
        identity: &plan.blueprint.identity,
        bounds: plan.bounds,
        no_network: plan.blueprint.network == Network::None,
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        match set_up(plan, &tool, control.as_fd()) {
            Ok(first) => serve(tool, first, control),
            Err(text) => {
                drop(send(control.as_fd(), &Word::Failed(text).bytes(), &[]));
                sys::exit_now(1)
            }
        }
    }));
    // A panic has been told by its hook.
    drop(outcome);
    sys::exit_now(70)
}

/// Gives the container's first process.
fn set_up(plan: &Plan, tool: &Tool<'_>, control: BorrowedFd<'_>) -> Result<Pid, String> {
    sys::reset_signals();
    turns::sandbox();
    let mut keep = plan.open();
    keep.push(control);
    init::shed(&keep).map_err(|error| format!("closing files: {error}"))?;
    sys::forget_start(NAME).map_err(|error| format!("forgetting its start: {error}"))?;
    if !wait_for_go(control) {
        sys::exit_now(0);
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    sys::drop_groups().map_err(|error| format!("dropping groups: {error}"))?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("tying its life: {error}"))?;
    let mut notes = build(plan).map_err(|it| it.to_string())?;
    let doors = network(plan, &mut notes).map_err(|it| it.to_string())?;
    lockdown::keep_to_itself().map_err(|error| format!("applying landlock: {error}"))?;
    lockdown::filter_calls(&plan.filters)
        .map_err(|error| format!("filtering system calls: {error}"))?;
    let first = tool.run(Path::new(BUNDLE), plan.memory.as_ref())?;
    let root = mounts::held_root().map_err(|error| format!("opening its root: {error}"))?;
    // The trees it was built from are mounted.
    let opened: Vec<_> = std::iter::once(&root).chain(&doors).collect();
    let mut keep: Vec<_> = opened.iter().map(|it| it.as_raw_fd()).collect();
    keep.push(control.as_raw_fd());
    sys::close_all_but(&keep);
    rustix::thread::set_name(NAME).map_err(|error| format!("taking a name: {error}"))?;
    let opened: Vec<_> = opened.iter().map(|it| it.as_fd()).collect();
    send(control, &Word::Ready(notes.join("\n")).bytes(), &opened)
        .map_err(|error| format!("reporting: {error}"))?;
    Ok(first)
}

/// Goes into a network of its own, where one asks, for the container to share: what is in force there was said by who has
/// rights over it, which nobody in the container can have. The ways out of it.
fn network(plan: &Plan, notes: &mut Vec<String>) -> Result<Vec<OwnedFd>, mounts::Broken> {
    if plan.blueprint.network != Network::Gated {
        return Ok(Vec::new());
    }
    sys::unshare(libc::CLONE_NEWNET as u64).step("making a network")?;
    namespaces::network(&plan.blueprint, notes)
}

fn build(plan: &Plan) -> Result<Vec<String>, mounts::Broken> {
    let notes = mounts::build_for_container(&plan.blueprint)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let memory = c"size=64m,mode=700";
    mount("tmpfs", "/run", "tmpfs", flags, memory).step("mounting /run")?;
    mount("proc", "/proc", "proc", flags | MountFlags::NOEXEC, c"").step("mounting /proc")?;
    keep_groups().step("protecting control groups")?;
    for directory in [BUNDLE, STATE, PROGRAMS] {
        fs::create_dir(directory).step(format!("making {directory}"))?;
    }
    let source = Path::new(BUNDLE).join("first");
    fs::write(&source, &plan.first).step("making a first process")?;
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&source, everybody).step("making a first process")?;
    mounts::show_first(&source, first::PATH)?;
    let config = Path::new(BUNDLE).join("config.json");
    fs::write(config, &plan.container).step("describing the container")?;
    Ok(notes)
}

/// Serves the shim until it goes away or the container does; then ends, and with it all there is.
fn serve(tool: Tool<'_>, first: Pid, control: OwnedFd) -> ! {
    let mut keeper = Keeper { tool, first, desk: Desk::take(control), programs: Vec::new() };
    loop {
        if !keeper.turn() {
            sys::exit_now(0);
        }
        match how_it_ended(0, first) {
            Some(Word::Killed { signal, .. }) => sys::exit_now(128 + signal),
            Some(_) => sys::exit_now(1),
            None => {}
        }
    }
}

struct Keeper<'a> {
    tool: Tool<'a>,
    /// Of the container; of runsc, what holds it.
    first: Pid,
    desk: Desk,
    programs: Vec<Program>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// By this copy of the keeper.
    Starting(Pid),
    /// Leads a session or, of runsc, waits for the end of who does. Not reaped, so its number is its own.
    Runs(Pid),
    Over,
}

struct Program {
    number: u64,
    stage: Stage,
    /// As the container sees it, where nobody else does.
    inside: Option<Pid>,
    /// Not to be reaped: its session may still have to be ended.
    held: bool,
    /// To be ended as soon as it runs.
    doomed: bool,
    told: bool,
}

impl Keeper<'_> {
    /// Waits for one thing and does it; `false` when the shim is gone.
    fn turn(&mut self) -> bool {
        let Some(Come { order, child }) = self.desk.wait() else { return false };
        (!child || self.reap()) && (!order || self.obey())
    }

    fn reap(&mut self) -> bool {
        for at in 0..self.programs.len() {
            if !self.follow(at) {
                return false;
            }
        }
        let forgotten = |it: &Program| match it.stage {
            Stage::Runs(pid) => !it.held && it.told && bury(pid),
            Stage::Starting(_) => false,
            Stage::Over => true,
        };
        self.programs.retain(|it| !forgotten(it));
        self.reap_orphans();
        true
    }

    /// Sees how far a program is.
    fn follow(&mut self, at: usize) -> bool {
        let Some(it) = self.programs.get_mut(at) else { return true };
        if let Stage::Starting(starter) = it.stage {
            let Some(word) = how_it_ended(it.number, starter) else { return true };
            let place = start::place(it.number);
            let pid = start::noted(&place, OUTSIDE);
            it.inside = start::noted(&place, INSIDE);
            // It holds the program's variables.
            drop(fs::remove_dir_all(place));
            bury(starter);
            let started = matches!(word, Word::Exited { code: 0, .. });
            let Some(pid) = pid.filter(|_| started) else {
                it.stage = Stage::Over;
                let number = it.number;
                return self.desk.say(&Word::Refused { number });
            };
            it.stage = Stage::Runs(pid);
            if it.doomed {
                let inside = it.inside;
                self.end(pid, inside);
            }
        }
        let Some(it) = self.programs.get_mut(at) else { return true };
        let Stage::Runs(pid) = it.stage else { return true };
        if it.told {
            return true;
        }
        let Some(word) = how_it_ended(it.number, pid) else { return true };
        it.told = true;
        let word = self.translated(word);
        self.desk.say(&word)
    }

    /// Who waits for a program of runsc ends as a shell would say that the program did.
    fn translated(&self, word: Word) -> Word {
        const SIGNALS: std::ops::RangeInclusive<i32> = 129..=192;
        match word {
            Word::Exited { number, code }
                if self.tool.runtime == Runtime::Runsc && SIGNALS.contains(&code) =>
            {
                Word::Killed { number, signal: code - 128 }
            }
            word => word,
        }
    }

    /// What lost its parent is nobody's business, unless it is a program that was started just now.
    fn reap_orphans(&mut self) {
        let own = |pid: Pid| {
            pid == self.first
                || self.programs.iter().any(|it| match it.stage {
                    Stage::Starting(starter) => {
                        starter == pid
                            || start::noted(&start::place(it.number), OUTSIDE) == Some(pid)
                    }
                    Stage::Runs(leader) => leader == pid,
                    Stage::Over => false,
                })
        };
        self.desk.reap_orphans(own);
    }

    fn obey(&mut self) -> bool {
        let Some((order, descriptors)) = self.desk.order() else { return false };
        match order {
            Some(Order::Start { number, on }) => self.start(number, on, descriptors),
            Some(Order::End { number }) => self.let_go(number, true),
            Some(Order::Done { number }) => self.let_go(number, false),
            Some(Order::Leave) => {
                self.aside(|it| it.tool.silently(ASK_TO_END, ""));
                true
            }
            Some(Order::Keep) => {
                self.aside(|it| {
                    let kept = match descriptors.first() {
                        Some(directory) => it.tool.keep(Path::new(BUNDLE), directory.as_fd()),
                        None => Err("no directory was given for it".to_owned()),
                    };
                    it.desk.say(&Word::Kept(kept.err().unwrap_or_default()));
                });
                true
            }
            Some(Order::GoOn) => {
                self.aside(|it| {
                    let goes = it.tool.go_on(Path::new(BUNDLE));
                    it.desk.say(&Word::Kept(goes.err().unwrap_or_default()));
                });
                true
            }
            Some(Order::Go) | None => true,
        }
    }

    /// Forgets a program once it has ended; `kill` ends it, with what shares its session.
    fn let_go(&mut self, number: u64, kill: bool) -> bool {
        let Some(it) = self.programs.iter_mut().find(|it| it.number == number) else { return true };
        it.held = false;
        let (stage, inside) = (it.stage, it.inside);
        it.doomed |= kill;
        if let (true, Stage::Runs(pid)) = (kill, stage) {
            self.end(pid, inside);
        }
        self.reap()
    }

    /// Kills a program and what shares its session. Its leader is not reaped, so that number is its own; the one
    /// inside is only while the leader, which waits for the program, lives.
    fn end(&self, leader: Pid, inside: Option<Pid>) {
        let Some(inside) = inside else { return processes::signal_session(leader, Signal::KILL) };
        let inside = inside.as_raw_nonzero().to_string();
        // As where there is no room for a copy of this process.
        let Ok(waits) = pidfd_open(leader, PidfdFlags::empty()) else { return };
        self.aside(|it| {
            let tool = &it.tool;
            let has_ended = |within| start::ends_within(&waits, within).unwrap_or(true);
            if has_ended(Duration::ZERO) {
                return tool.silently(&format!("{UNLESS_IT_LIVES}\n{KILL_SESSION}"), &inside);
            }
            tool.silently(KILL_SESSION, &inside);
            // Where there is no shell.
            if !has_ended(ENDS_WITHIN) {
                tool.kill(&inside);
            }
        });
    }

    /// Does something that takes its time in a copy of this process, which is nobody's afterwards.
    fn aside(&self, work: impl FnOnce(&Self)) {
        // Where there is no room for one, what was to be asked goes on until all of it is ended.
        if let Ok(None) = sys::fork() {
            sys::reset_signals();
            work(self);
            sys::exit_now(0)
        }
    }

    /// Starts a program. What goes wrong is told on its report socket too.
    fn start(&mut self, number: u64, on: On, descriptors: Vec<OwnedFd>) -> bool {
        let mut descriptors = descriptors.into_iter();
        let (Some(description), Some(report)) = (descriptors.next(), descriptors.next()) else {
            return self.desk.say(&Word::Refused { number });
        };
        let refuse = |error: &io::Error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            // If the shim stopped listening there is nobody to tell.
            drop(send(report.as_fd(), &Report::NoProgram(errno).bytes(), &[]));
            self.desk.say(&Word::Refused { number })
        };
        if self.programs.len() >= PROGRAMS_MAX {
            return refuse(&io::Error::from_raw_os_error(libc::EAGAIN));
        }
        let size = match on {
            On::NewTerminal { cols, rows } => Some(Size::clamped(cols, rows)),
            On::Terminal | On::Pipes => None,
        };
        let streams: Vec<OwnedFd> = descriptors.collect();
        let streams: Option<[OwnedFd; 3]> = streams.try_into().ok();
        if size.is_none() && streams.is_none() {
            return refuse(&io::Error::from_raw_os_error(libc::EBADF));
        }
        match sys::fork() {
            Err(error) => refuse(&error),
            Ok(None) => {
                become_starter(&self.tool, number, size, description, &report, streams.as_ref())
            }
            Ok(Some(starter)) => {
                self.programs.push(Program {
                    number,
                    stage: Stage::Starting(starter),
                    inside: None,
                    held: on == On::Pipes,
                    doomed: false,
                    told: false,
                });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command};

    use super::*;

    #[test]
    fn what_has_the_number_of_a_program_that_ended_is_not_killed_for_it() {
        let mut other = Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
        let number = other.id().to_string();
        let say = |script: &str| {
            let status = Command::new("sh").args(["-c", script, "sh", &number]).status();
            status.unwrap()
        };
        assert!(say(&format!("{UNLESS_IT_LIVES}\n{KILL_SESSION}")).success());
        assert!(other.try_wait().unwrap().is_none());
        say(KILL_SESSION);
        assert_eq!(other.wait().unwrap().signal(), Some(9));
    }
}
