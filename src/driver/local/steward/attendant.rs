//! Has one terminal of the container's, and the program on it; passes on what is printed and typed. While nobody listens it
//! reads nothing, and its program waits when the terminal is full. It is of another user than the program, which can neither
//! signal it nor look into it.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Gid, Uid},
    process::{Pid, Signal},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use super::{
    At, DOWN_BYTES_MAX, Down, Inlet, PIECE_BYTES_MAX, Start, Up,
    inside::{DIALS_EVERY, dial, rest},
};
use crate::driver::local::{
    desk::how_it_ended,
    init::{self, prepare_terminal},
    lockdown,
    message::{Report, Word},
    processes, sys,
};

/// What it holds of output that the shim has not taken.
const UNSAID_BYTES_MAX: usize = 64 * 1024;

/// Starts the program and serves it to its end.
pub fn serve(start: Start) -> ! {
    let outcome = std::panic::catch_unwind(|| {
        sys::reset_signals();
        sys::ignore_signals();
        // A terminal of its own is not to be hung up on by it.
        let _ = rustix::process::setsid();
        let Ok(children) = sys::child_signals() else { sys::exit_now(1) };
        let key = start.key.clone();
        match begin(&start) {
            Ok((terminal, program)) => {
                drop(start);
                Attendant::new(key, terminal, program, children).run();
            }
            Err((at, error)) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                drop(tell_of_failure(&key, at, errno));
            }
        }
    });
    drop(outcome);
    sys::exit_now(0)
}

fn tell_of_failure(key: &str, at: At, errno: i32) -> io::Result<()> {
    let mut line = dial()?;
    let who = Up::Attendant { key: key.to_owned(), waiting: 0 };
    line.write_all(&[who.bytes(), Up::Failed { at, errno }.bytes()].concat())?;
    // Until it was heard.
    line.read(&mut [0]).map(drop)
}

/// The controlling side of a terminal with the program on the other.
fn begin(start: &Start) -> Result<(OwnedFd, Pid), (At, io::Error)> {
    let of_terminal = |error: io::Error| (At::Terminal, error);
    let (outer, inner) = terminal(start).map_err(of_terminal)?;
    let (mut heard, report) = io::pipe().map_err(of_terminal)?;
    let program = sys::fork().map_err(|error| (At::Program, error))?;
    let Some(program) = program else {
        drop(outer);
        let (at, error) = become_program(start, &inner);
        let errno = error.raw_os_error().unwrap_or(libc::EIO).to_le_bytes();
        let mut report = report;
        drop(report.write_all(&[&[u8::from(at == At::Directory)], &errno[..]].concat()));
        sys::exit_now(127)
    };
    drop((report, inner));
    let mut words = Vec::new();
    heard.read_to_end(&mut words).map_err(of_terminal)?;
    match *words {
        [] => {}
        [directory, a, b, c, d] => {
            let at = if directory == 1 { At::Directory } else { At::Program };
            return Err((at, io::Error::from_raw_os_error(i32::from_le_bytes([a, b, c, d]))));
        }
        _ => return Err((At::Program, io::ErrorKind::InvalidData.into())),
    }
    rustix::io::ioctl_fionbio(&outer, true).map_err(|error| (At::Terminal, error.into()))?;
    Ok((outer, program))
}

/// A new one, which is the program's user's.
fn terminal(start: &Start) -> io::Result<(OwnedFd, OwnedFd)> {
    let (outer, inner) = init::own_terminal()?;
    prepare_terminal(inner.as_fd(), start.size.cols(), start.size.rows())?;
    rustix::fs::fchown(&inner, Some(Uid::from_raw(start.user.0)), None)?;
    Ok((outer, inner))
}

/// Only returns when that can't be.
fn become_program(start: &Start, inner: &OwnedFd) -> (At, io::Error) {
    let entered = || -> io::Result<()> {
        sys::reset_signals();
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(inner)?;
        rustix::stdio::dup2_stdin(inner)?;
        rustix::stdio::dup2_stdout(inner)?;
        rustix::stdio::dup2_stderr(inner)?;
        lockdown::become_user(Uid::from_raw(start.user.0), Gid::from_raw(start.user.1))
    };
    if let Err(error) = entered() {
        return (At::Program, error);
    }
    match init::run(&start.what) {
        Report::NoDirectory(errno) => (At::Directory, io::Error::from_raw_os_error(errno)),
        Report::NoProgram(errno) => (At::Program, io::Error::from_raw_os_error(errno)),
        _ => (At::Program, io::ErrorKind::Other.into()),
    }
}

struct Attendant {
    key: String,
    terminal: OwnedFd,
    program: Pid,
    children: OwnedFd,
    line: Option<UnixStream>,
    inlet: Inlet,
    /// To be said to the shim.
    unsaid: VecDeque<u8>,
    /// Typed, and not taken by the program.
    typed: VecDeque<u8>,
    /// How the program ended.
    ended: Option<Up>,
    /// Nobody has the other side any more.
    over: bool,
    lines: Option<bool>,
    parting: bool,
}

/// It is done, or its line is.
enum Turn {
    Goes,
    HungUp,
}

impl Attendant {
    fn new(key: String, terminal: OwnedFd, program: Pid, children: OwnedFd) -> Self {
        Self {
            key,
            terminal,
            program,
            children,
            line: None,
            inlet: Inlet::of(DOWN_BYTES_MAX),
            unsaid: VecDeque::new(),
            typed: VecDeque::new(),
            ended: None,
            over: false,
            lines: None,
            parting: false,
        }
    }

    fn run(mut self) {
        let mut told_all = false;
        loop {
            if self.line.is_none() {
                // It was told all there is, and wants no more.
                if told_all {
                    return;
                }
                self.dial();
            }
            match self.turn() {
                Ok(Turn::Goes) => {
                    told_all = self.over && self.ended.is_some() && self.unsaid.is_empty();
                }
                Ok(Turn::HungUp) | Err(_) => self.hang_up(),
            }
            if self.parting && self.unsaid.is_empty() {
                told_all = false;
                self.hang_up();
            }
        }
    }

    fn dial(&mut self) {
        let Ok(line) = dial() else { return };
        if line.set_nonblocking(true).is_err() {
            return;
        }
        self.line = Some(line);
        let waiting = u32::try_from(self.typed.len()).unwrap_or(u32::MAX);
        self.say(&Up::Attendant { key: self.key.clone(), waiting });
        self.say(&Up::Begun);
        self.lines = None;
        if let Some(ended) = self.ended.clone() {
            self.say(&ended);
        }
        if self.over {
            self.say(&Up::Over);
        }
    }

    fn hang_up(&mut self) {
        if self.line.take().is_some() {
            rest();
        }
        self.inlet = Inlet::of(DOWN_BYTES_MAX);
        self.unsaid.clear();
        self.parting = false;
    }

    fn say(&mut self, what: &Up) {
        self.unsaid.extend(what.bytes());
    }

    /// Waits for one thing and does it.
    fn turn(&mut self) -> io::Result<Turn> {
        let listens = self.line.is_some() && !self.parting;
        let mut of_terminal = PollFlags::empty();
        of_terminal
            .set(PollFlags::IN, listens && !self.over && self.unsaid.len() < UNSAID_BYTES_MAX);
        of_terminal.set(PollFlags::OUT, !self.typed.is_empty() && !self.over);
        let of_line =
            if self.unsaid.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut wanted = vec![PollFd::new(&self.children, PollFlags::IN)];
        if !of_terminal.is_empty() {
            wanted.push(PollFd::new(&self.terminal, of_terminal));
        }
        if let Some(line) = &self.line {
            wanted.push(PollFd::new(line, of_line));
        }
        let soon = Timespec { tv_sec: 0, tv_nsec: DIALS_EVERY.subsec_nanos().into() };
        match poll(&mut wanted, self.line.is_none().then_some(&soon)) {
            Err(rustix::io::Errno::INTR) => return Ok(Turn::Goes),
            other => drop(other?),
        }
        self.look_after();
        self.write_typed();
        if listens {
            self.read_printed();
        }
        self.look();
        self.speak()?;
        if self.line.is_some() && !self.listen()? {
            return Ok(Turn::HungUp);
        }
        Ok(Turn::Goes)
    }

    /// Sees whether the program has ended. It is left as it is, so that its number stays its own.
    fn look_after(&mut self) {
        let mut seen = [0_u8; 512];
        while rustix::io::read(&self.children, &mut seen).is_ok() {}
        if self.ended.is_some() {
            return;
        }
        let word = match how_it_ended(0, self.program) {
            Some(Word::Killed { signal, .. }) => Up::Killed(signal),
            Some(Word::Exited { code, .. }) => Up::Exited(code),
            _ => return,
        };
        if self.line.is_some() && !self.parting {
            // After what it printed.
            self.read_printed();
        }
        if self.line.is_some() {
            self.say(&word);
        }
        self.ended = Some(word);
    }

    fn write_typed(&mut self) {
        let mut taken = 0;
        while !self.typed.is_empty() {
            let (piece, _) = self.typed.as_slices();
            match rustix::io::write(&self.terminal, piece) {
                Ok(count) if count > 0 => {
                    self.typed.drain(..count);
                    taken += count;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                // Nobody is left to take it.
                _ => {
                    taken += self.typed.len();
                    self.typed.clear();
                }
            }
        }
        if taken > 0 && self.line.is_some() {
            self.say(&Up::Took(u32::try_from(taken).unwrap_or(u32::MAX)));
        }
    }

    fn read_printed(&mut self) {
        let mut bytes = [0_u8; PIECE_BYTES_MAX];
        while !self.over && self.unsaid.len() < UNSAID_BYTES_MAX {
            match rustix::io::read(&self.terminal, &mut bytes) {
                Ok(count) if count > 0 => {
                    self.say(&Up::Printed(bytes.get(..count).unwrap_or_default().to_vec()));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                _ => {
                    self.over = true;
                    self.say(&Up::Over);
                }
            }
        }
    }

    /// Tells how the terminal is used, where that is another way.
    fn look(&mut self) {
        let modes = tcgetattr(&self.terminal).ok();
        let lines = modes.map(|it| it.local_modes.contains(LocalModes::ICANON));
        if let Some(lines) = lines.filter(|_| lines != self.lines && self.line.is_some()) {
            self.lines = Some(lines);
            self.say(&Up::Lines(lines));
        }
    }

    fn speak(&mut self) -> io::Result<()> {
        let Some(line) = &mut self.line else { return Ok(()) };
        while !self.unsaid.is_empty() {
            let (piece, _) = self.unsaid.as_slices();
            match line.write(piece) {
                Ok(count) => drop(self.unsaid.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// `false` when the other side has hung up.
    fn listen(&mut self) -> io::Result<bool> {
        let mut bytes = [0_u8; PIECE_BYTES_MAX];
        loop {
            let Some(line) = &mut self.line else { return Ok(false) };
            match line.read(&mut bytes) {
                Ok(0) => return Ok(false),
                Ok(count) => self.inlet.feed(bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            while let Some((tag, said)) =
                self.inlet.next().map_err(|_| io::ErrorKind::InvalidData)?
            {
                match Down::parse(tag, &said) {
                    Some(Down::Typed(bytes)) => {
                        self.typed.extend(bytes);
                        self.write_typed();
                    }
                    Some(Down::Resize(size)) => {
                        let cells = Winsize {
                            ws_row: size.rows(),
                            ws_col: size.cols(),
                            ws_xpixel: 0,
                            ws_ypixel: 0,
                        };
                        // A terminal that is over has no size.
                        let _ = tcsetwinsize(&self.terminal, cells);
                    }
                    Some(Down::Look) => self.lines = None,
                    Some(Down::End) => self.end(),
                    Some(Down::Part) => self.parting = true,
                    Some(Down::Start(_)) | None => {}
                }
            }
        }
    }

    fn end(&self) {
        processes::signal_session(self.program, Signal::KILL);
    }
}
