//! The operator's terminal: taken over with a guard and given back in every ending. Nothing else
//! switches a mode of it.

use std::{
    io::{StdoutLock, Write},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::{Child, ExitStatus},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::ThreadId,
};

use rustix::{
    fs::{Mode, OFlags},
    io::{Errno, retry_on_intr},
    process::{Pid, Signal, WaitOptions, getpgrp, kill_process_group, waitpid},
};

use crate::{
    base::{
        fault::{Fault, Outcome},
        units::Size,
    },
    vt::guard,
};

use super::{
    jobs,
    pictures::{KITTY_WIPE, Window},
    probe::{Answers, Raw},
};

/// Alternate screen, title kept on the terminal's stack, cursor hidden, bracketed paste, focus events.
const ENTER: &str = "\x1b[22;2t\x1b[?1049h\x1b[2J\x1b[?25l\x1b[?2004h\x1b[?1004h";
/// All of that undone, and what else may have been on: mouse, a half-sent frame, colours, cursor shape.
const LEAVE: &str = "\x1b[?2026l\x1b[?1006l\x1b[?1002l\x1b[?1000l\x1b[?1004l\x1b[?2004l\x1b[0m\x1b[0 q\x1b[?25h\x1b[?1049l\x1b[23;2t";
/// Kitty keyboard: tell escape codes apart, and say which character shift would give.
const KITTY_ON: &str = "\x1b[>5u";
const KITTY_OFF: &str = "\x1b[<1u";
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1002h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1002l\x1b[?1000l";

/// Whether the terminal is ours right now, and with kitty keys; for the panic hook, which has nothing else.
static TAKEN: AtomicBool = AtomicBool::new(false);
static KITTY: AtomicBool = AtomicBool::new(false);
/// It shows pictures by kitty's protocol: one may be on it.
static PICTURES: AtomicBool = AtomicBool::new(false);
static OWNER: Mutex<Option<ThreadId>> = Mutex::new(None);

/// The size of the terminal on stdout; `None` when there is none.
pub fn size() -> Option<Size> {
    let (cols, rows) = cells()?;
    (cols > 0 && rows > 0).then(|| Size::clamped(cols, rows))
}

/// Columns and rows as the terminal says, unclamped.
pub fn cells() -> Option<(u16, u16)> {
    Some(window()?.cells)
}

/// The window of the terminal, as the system tells it now.
pub fn window() -> Option<Window> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    let (cells, points) = ((size.ws_col, size.ws_row), (size.ws_xpixel, size.ws_ypixel));
    Some(Window { cells, points })
}

/// Holds the terminal; dropping it gives the terminal back.
#[derive(Debug)]
pub struct Guard {
    kitty: bool,
    pictures: bool,
    mouse: bool,
}

impl Guard {
    /// Takes the terminal over.
    pub fn enter(answers: Answers, raw: Raw) -> Outcome<Self> {
        let Answers { kitty_keyboard: kitty, graphics, .. } = answers;
        let guard = Self { kitty, pictures: graphics.kitty, mouse: false };
        raw.hand_over();
        if let Ok(mut owner) = OWNER.lock() {
            *owner = Some(std::thread::current().id());
        }
        guard.take()?;
        Ok(guard)
    }

    fn take(&self) -> Outcome<()> {
        crossterm::terminal::enable_raw_mode()
            .map_err(|error| Fault::io("switch the terminal to raw mode", &error))?;
        let mut text = ENTER.to_owned();
        if self.kitty {
            text.push_str(KITTY_ON);
        }
        if self.mouse {
            text.push_str(MOUSE_ON);
        }
        let mut stdout = std::io::stdout().lock();
        KITTY.store(self.kitty, Ordering::SeqCst);
        PICTURES.store(self.pictures, Ordering::SeqCst);
        TAKEN.store(true, Ordering::SeqCst);
        write(&mut stdout, text.as_bytes())
            .map_err(|error| Fault::io("write to the terminal", &error))
    }

    /// The sequence that captures the mouse or lets it go; empty when nothing changes.
    pub fn mouse(&mut self, on: bool) -> &'static str {
        match (std::mem::replace(&mut self.mouse, on), on) {
            (false, true) => MOUSE_ON,
            (true, false) => MOUSE_OFF,
            _ => "",
        }
    }

    /// Gives the terminal back, stops this process group as ctrl-z would, and takes the terminal
    /// again once continued. `Unsupported`, with nothing done, where nobody would continue it.
    pub fn suspend(&self) -> Outcome<()> {
        if !jobs::are_watched() {
            return Err(Fault::unsupported(
                "nothing to suspend to: no shell with job control started this",
            ));
        }
        give_back();
        signal_group(Signal::STOP)?;
        self.take()
    }

    /// Waits for a program that was given the terminal, one of this process group. Where it stops, as on ctrl-z, the
    /// whole group does, so that the shell sees it; where nobody would continue that, it goes on at once.
    pub fn wait_for(&self, program: &Child) -> Outcome<ExitStatus> {
        let waiting = |error: Errno| Fault::io("wait for a program", &error.into());
        loop {
            let (pid, how) = (Pid::from_child(program), WaitOptions::UNTRACED);
            let told = retry_on_intr(|| waitpid(Some(pid), how)).map_err(waiting)?;
            let Some((_, status)) = told else { continue };
            if !status.stopped() {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            if jobs::are_watched() {
                signal_group(Signal::STOP)?;
            }
            // Who continued this process alone meant both.
            signal_group(Signal::CONT)?;
        }
    }

    /// Gives the terminal to another program, until `resume`.
    pub fn give(&self) {
        give_back();
    }

    /// Takes the terminal again after somebody else stopped and continued this process.
    pub fn resume(&self) -> Outcome<()> {
        // What is stacked (title, kitty keys) is given back first, so that nothing piles up.
        give_back();
        self.take()
    }
}

fn signal_group(signal: Signal) -> Outcome<()> {
    kill_process_group(getpgrp(), signal).map_err(|error| Fault::io("suspend", &error.into()))
}

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, if it is ours; safe to call at any time, from a panic hook too.
fn give_back() {
    // Before the question: a frame on its way out is let out whole, and none comes after.
    let mut stdout = std::io::stdout().lock();
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // A terminal that is gone can't be restored, and there is nobody to tell.
    if PICTURES.load(Ordering::SeqCst) {
        drop(write(&mut stdout, KITTY_WIPE));
    }
    if KITTY.load(Ordering::SeqCst) {
        drop(write(&mut stdout, KITTY_OFF.as_bytes()));
    }
    drop(write(&mut stdout, LEAVE.as_bytes()));
    drop(crossterm::terminal::disable_raw_mode());
}

fn write(stdout: &mut StdoutLock<'_>, bytes: &[u8]) -> std::io::Result<()> {
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Writes a frame, unless the terminal is somebody else's by now: then it is drawn afresh later, or
/// never.
pub fn write_frame(frame: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    if TAKEN.load(Ordering::SeqCst) { write(&mut stdout, frame) } else { Ok(()) }
}

/// The terminal of stdout, opened once more so that writing to it never waits: the mode is the descriptor's,
/// and that of stdout is shared with whoever started us. `None` where that can't be done.
pub fn open_prompt() -> Option<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()).ok()
}

/// Writes as much of a frame as the terminal takes without waiting, and tells how much that was; of one that is
/// somebody else's by now all counts as written. Must not be called while `write_frame` is under way.
pub fn write_at_once(to: &OwnedFd, frame: &[u8]) -> std::io::Result<usize> {
    let _stdout = std::io::stdout().lock();
    if !TAKEN.load(Ordering::SeqCst) {
        return Ok(frame.len());
    }
    match retry_on_intr(|| rustix::io::write(to, frame)) {
        Err(Errno::AGAIN) => Ok(0),
        written => Ok(written?),
    }
}

/// Makes a panic of the thread that draws give the terminal back before it is reported. A panic of
/// any other thread goes to the log and to `notice`, and leaves the terminal alone. One that is caught
/// where it happens costs a picture, and is only logged.
pub fn hook_panics(notice: impl Fn(String) + Send + Sync + 'static) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let place = || info.location().map(ToString::to_string).unwrap_or_default();
        if guard::is_guarded() {
            tracing::error!(place = place(), words = payload(info), "a screen was lost");
            return;
        }
        let owner = OWNER.lock().ok().and_then(|it| *it);
        if owner == Some(std::thread::current().id()) || !TAKEN.load(Ordering::SeqCst) {
            give_back();
            before(info);
        } else {
            let (place, words) = (place(), payload(info));
            tracing::error!(%place, words, "a worker panicked");
            notice(format!("a worker of the console failed at {place}: {words}"));
        }
    }));
}

fn payload<'a>(info: &'a std::panic::PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
