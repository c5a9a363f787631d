//! The first process of a sandbox: starts programs on request, reaps, tells how they ended. A copy
//! of the shim, locked in like everything it starts; holds nothing but its socket.

use std::{
    ffi::CStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{fs::FileExt, process::CommandExt},
    },
    process::Command,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, Signal},
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize},
};

use super::{
    desk::{Come, Desk, bury, how_it_ended},
    mark::{Hunt, Mark, Orphans},
    message::{Description, On, Order, Report, Word, send},
    processes, sys,
};
use crate::base::descriptors;

/// What it is called, in /proc and in lists of processes.
pub const NAME: &CStr = c"sandwatch-init";
/// Programs at once; what they start themselves is not counted here.
pub const PROGRAMS_MAX: usize = 1024;
/// Exit code of a program that could not be started, as shells have it.
const NOT_STARTED: i32 = 127;

/// Serves the shim until it goes away; then ends, and with it everything in the sandbox: by the
/// namespace it is the first process of, or by the mark that all bear.
pub fn serve(control: OwnedFd, mark: Option<Mark>) -> ! {
    let mut init = Init { desk: Desk::take(control), programs: Vec::new() };
    loop {
        if !init.turn() {
            if let Some(mark) = mark {
                Hunt::new(mark, Orphans::Ours).end_all_but_this();
            }
            sys::exit_now(0);
        }
    }
}

struct Init {
    desk: Desk,
    /// Not reaped yet.
    programs: Vec<Program>,
}

struct Program {
    /// As the shim calls it.
    number: u64,
    /// Leads a session. For as long as it is not reaped, the number of both is nobody else's.
    leader: Pid,
    /// Not to be reaped: its session may still have to be ended.
    held: bool,
    /// How it ended has been told.
    told: bool,
}

impl Init {
    /// Waits for one thing and does it; `false` when the shim is gone.
    fn turn(&mut self) -> bool {
        let Some(Come { order, child }) = self.desk.wait() else { return false };
        (!child || self.reap()) && (!order || self.obey())
    }

    fn reap(&mut self) -> bool {
        for it in &mut self.programs {
            if !it.told
                && let Some(word) = how_it_ended(it.number, it.leader)
            {
                it.told = true;
                if !self.desk.say(&word) {
                    return false;
                }
            }
        }
        self.programs.retain(|it| it.held || !it.told || !bury(it.leader));
        self.desk.reap_orphans(|pid| self.programs.iter().any(|it| it.leader == pid));
        true
    }

    fn obey(&mut self) -> bool {
        let Some((order, descriptors)) = self.desk.order() else { return false };
        match order {
            Some(Order::Start { number, on }) => self.start(number, on, descriptors),
            Some(Order::End { number }) => self.let_go(number, true),
            Some(Order::Done { number }) => self.let_go(number, false),
            Some(Order::Go | Order::Leave | Order::Keep | Order::GoOn) | None => true,
        }
    }

    /// Forgets a program once it has ended; `kill` ends it, with what shares its session: a shell's jobs and
    /// pipelines. Gone already, and never started, are fine.
    fn let_go(&mut self, number: u64, kill: bool) -> bool {
        let Some(it) = self.programs.iter_mut().find(|it| it.number == number) else { return true };
        it.held = false;
        if kill {
            processes::signal_session(it.leader, Signal::KILL);
        }
        self.reap()
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
        let streams = match streams(on, descriptors) {
            Ok(streams) => streams,
            Err(error) => return refuse(&error),
        };
        match sys::fork() {
            Err(error) => refuse(&error),
            Ok(None) => become_program(description, &report, &streams),
            Ok(Some(leader)) => {
                self.programs.push(Program { number, leader, held: on == On::Pipes, told: false });
                true
            }
        }
    }
}

enum Streams {
    /// The program's side, and the other for the shim where it was made here.
    Terminal {
        inner: OwnedFd,
        outer: Option<OwnedFd>,
    },
    Pipes([OwnedFd; 3]),
}

fn streams(on: On, mut given: impl Iterator<Item = OwnedFd>) -> io::Result<Streams> {
    let mut next = || given.next().ok_or(io::Error::from_raw_os_error(libc::EBADF));
    match on {
        On::NewTerminal { cols, rows } => {
            let (outer, inner) = new_terminal(cols, rows)?;
            Ok(Streams::Terminal { inner, outer: Some(outer) })
        }
        On::Terminal => Ok(Streams::Terminal { inner: next()?, outer: None }),
        On::Pipes => Ok(Streams::Pipes([next()?, next()?, next()?])),
    }
}

/// Opens a terminal of the sandbox's own, so that its programs can find it by name.
fn new_terminal(cols: u16, rows: u16) -> io::Result<(OwnedFd, OwnedFd)> {
    let (outer, inner) = own_terminal()?;
    prepare_terminal(inner.as_fd(), cols, rows)?;
    Ok((outer, inner))
}

/// A new terminal as it is, the controlling side first.
pub fn own_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let outer = rustix::pty::openpt(flags)?;
    unlockpt(&outer)?;
    let inner = match ioctl_tiocgptpeer(&outer, flags) {
        // gVisor's kernel has it by name alone.
        Err(Errno::NOTTY | Errno::INVAL) => {
            let name = rustix::pty::ptsname(&outer, Vec::new())?;
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(name.as_c_str(), flags, Mode::empty())?
        }
        opened => opened?,
    };
    Ok((outer, inner))
}

/// Sets the size, and that erasing takes whole UTF-8 characters.
pub fn prepare_terminal(terminal: BorrowedFd<'_>, cols: u16, rows: u16) -> io::Result<()> {
    tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 })?;
    let mut modes = tcgetattr(terminal)?;
    modes.input_modes |= InputModes::IUTF8;
    tcsetattr(terminal, OptionalActions::Now, &modes)?;
    Ok(())
}

/// Turns this fresh copy of init into the program.
fn become_program(description: OwnedFd, report: &OwnedFd, streams: &Streams) -> ! {
    sys::reset_signals();
    let outcome = enter(streams).and_then(|()| {
        let text = read_all(&File::from(description))?;
        Description::parse(&text).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
    });
    let outer = match streams {
        Streams::Terminal { outer: Some(outer), .. } => vec![outer.as_fd()],
        _ => Vec::new(),
    };
    let last_word = match outcome {
        Err(error) => Report::NoProgram(error.raw_os_error().unwrap_or(libc::EIO)),
        Ok(description) => {
            if send(report.as_fd(), &Report::Here.bytes(), &outer).is_err() {
                sys::exit_now(NOT_STARTED);
            }
            run(&description)
        }
    };
    drop(send(report.as_fd(), &last_word.bytes(), &[]));
    sys::exit_now(NOT_STARTED);
}

fn enter(streams: &Streams) -> io::Result<()> {
    // Where no process namespace takes it along when init dies.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::setsid()?;
    let [input, output, errors] = match streams {
        Streams::Terminal { inner, .. } => {
            rustix::process::ioctl_tiocsctty(inner)?;
            [inner.as_fd(), inner.as_fd(), inner.as_fd()]
        }
        Streams::Pipes([input, output, errors]) => [input.as_fd(), output.as_fd(), errors.as_fd()],
    };
    rustix::stdio::dup2_stdin(input)?;
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(errors)?;
    Ok(())
}

pub fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Only returns when the program could not be started.
pub fn run(description: &Description) -> Report {
    let errno = |error: io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    if let Err(error) = std::env::set_current_dir(&description.cwd) {
        return Report::NoDirectory(errno(error));
    }
    let Some((program, arguments)) = description.command.split_first() else {
        return Report::NoProgram(libc::ENOENT);
    };
    // Not before: a terminal is sent to the shim as long as this process may have as many files as that.
    if let Err(error) = descriptors::bound_program() {
        return Report::NoProgram(errno(error));
    }
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(description.env.iter().map(|(key, value)| (key, value)))
        .exec();
    Report::NoProgram(errno(error))
}

/// Leaves only the given descriptors, points the three standard ones at nothing.
pub fn shed(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let nothing = rustix::fs::open(
        c"/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    drop(nothing);
    let keep: Vec<_> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    sys::close_all_but(&keep);
    Ok(())
}
