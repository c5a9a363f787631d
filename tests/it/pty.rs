//! The real binary on a terminal of ours: keys go in, the screen is looked at until it shows what
//! is expected.

use std::{
    io::{Read, Write},
    sync::{Arc, Condvar, Mutex},
    time::Instant,
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use sandwatch::{base::units::Size, vt::screen::Screen};

use crate::{
    given::{PROGRAM, SOON},
    program::Home,
};

/// What the terminal shows, and every byte that was written to it.
pub struct View {
    pub screen: Screen,
    pub raw: Vec<u8>,
    ended: bool,
}

impl View {
    pub fn text(&self) -> String {
        self.screen.lines().join("\n")
    }

    pub fn has(&self, words: &str) -> bool {
        self.screen.lines().iter().any(|it| it.contains(words))
    }

    /// The last time each was written, `on` came after `off`.
    pub fn is_on(&self, on: &str, off: &str) -> bool {
        let last = |word: &str| self.raw.windows(word.len()).rposition(|it| it == word.as_bytes());
        match (last(on), last(off)) {
            (Some(on), Some(off)) => on > off,
            (on, _) => on.is_some(),
        }
    }
}

/// How a terminal answers what it is asked, where it is not as our own screen does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speaks {
    /// What it is and can.
    pub attributes: Option<&'static str>,
    /// Whether it shows pictures by kitty's protocol.
    pub kitty: bool,
    /// Height and width of a cell, in points.
    pub cell: Option<(u16, u16)>,
    /// Width and height of its window at the beginning, as the system tells it; 0 = it does not.
    pub points: (u16, u16),
}

impl Speaks {
    /// What it answers to questions that begin there, and how much of them was read.
    fn answers(self, asked: &[u8]) -> (Vec<u8>, usize) {
        let kitty = if self.kitty { "\x1b_Gi=31;OK\x1b\\" } else { "" };
        let cell = self.cell.map(|(height, width)| format!("\x1b[6;{height};{width}t"));
        let questions = [
            ("\x1b[c", self.attributes.unwrap_or_default()),
            ("\x1b_Gi=31,", kitty),
            ("\x1b[16t", cell.as_deref().unwrap_or_default()),
        ];
        let (mut out, mut at) = (Vec::new(), 0);
        while let Some(rest) = asked.get(at..).filter(|it| !it.is_empty()) {
            let found = questions.iter().find(|it| rest.starts_with(it.0.as_bytes()));
            if found.is_none() && questions.iter().any(|it| it.0.as_bytes().starts_with(rest)) {
                // The rest of it comes with the next bytes.
                break;
            }
            out.extend_from_slice(found.map_or(&b""[..], |it| it.1.as_bytes()));
            at += found.map_or(1, |it| it.0.len());
        }
        (out, at)
    }
}

/// A terminal with a program on it; killed, by its own id, when the test ends.
pub struct Pty {
    shared: Arc<(Mutex<View>, Condvar)>,
    master: Box<dyn MasterPty + Send>,
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    child: Box<dyn Child + Send + Sync>,
}

impl Pty {
    /// Starts the program of `home` at a size.
    pub fn start(home: &Home, args: &[&str], size: (u16, u16)) -> Self {
        Self::start_typing(home, args, size, ("", ""))
    }

    /// The same; what is typed just before and after the terminal first answers a question.
    pub fn start_typing(
        home: &Home,
        args: &[&str],
        size: (u16, u16),
        around: (&'static str, &'static str),
    ) -> Self {
        let mut command = CommandBuilder::new(PROGRAM);
        command.args(args);
        command.cwd(home.workspace());
        Self::run(command, home, size, around)
    }

    /// The same on a terminal that answers otherwise.
    pub fn speaking(home: &Home, args: &[&str], size: (u16, u16), speaks: Speaks) -> Self {
        let mut command = CommandBuilder::new(PROGRAM);
        command.args(args);
        command.cwd(home.workspace());
        Self::begin(command, home, size, ("", ""), Some(speaks))
    }

    /// Any program, in the environment of `home`.
    pub fn run(
        command: CommandBuilder,
        home: &Home,
        size: (u16, u16),
        around: (&'static str, &'static str),
    ) -> Self {
        Self::begin(command, home, size, around, None)
    }

    fn begin(
        mut command: CommandBuilder,
        home: &Home,
        (cols, rows): (u16, u16),
        (before, after): (&'static str, &'static str),
        speaks: Option<Speaks>,
    ) -> Self {
        let (pixel_width, pixel_height) = speaks.unwrap_or_default().points;
        let size = PtySize { rows, cols, pixel_width, pixel_height };
        let pair = native_pty_system().openpty(size).unwrap();
        command.env("SANDWATCH_HOME", home.path());
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        command.env_remove("NO_COLOR");
        command.env_remove("SANDWATCH_LOG");
        command.env_remove("SANDWATCH_CONTEXT");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = Screen::new(Size::clamped(cols, rows));
        let view = View { screen, raw: Vec::new(), ended: false };
        let shared = Arc::new((Mutex::new(view), Condvar::new()));
        let writer = Arc::new(Mutex::new(pair.master.take_writer().unwrap()));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (theirs, replies) = (shared.clone(), writer.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            let mut typed = Some((before, after));
            let mut heard = 0;
            loop {
                let count = reader.read(&mut buffer).unwrap_or(0);
                let mut view = theirs.0.lock().unwrap();
                if count == 0 {
                    view.ended = true;
                    theirs.1.notify_all();
                    return;
                }
                view.raw.extend_from_slice(&buffer[..count]);
                let mut answers = view.screen.feed(&buffer[..count]).replies;
                if let Some(speaks) = speaks {
                    let read;
                    (answers, read) = speaks.answers(&view.raw[heard..]);
                    heard += read;
                }
                drop(view);
                theirs.1.notify_all();
                if !answers.is_empty() {
                    let (before, after) = typed.take().unwrap_or_default();
                    let all = [before.as_bytes(), &answers, after.as_bytes()].concat();
                    drop(replies.lock().unwrap().write_all(&all));
                }
            }
        });
        Self { shared, master: pair.master, writer, child }
    }

    /// Types bytes as a terminal would send them.
    pub fn send(&self, bytes: &str) {
        self.writer.lock().unwrap().write_all(bytes.as_bytes()).unwrap();
    }

    pub fn resize(&self, cells: (u16, u16)) {
        self.resize_with_points(cells, (0, 0));
    }

    /// The same, of a window whose width and height in points are told.
    pub fn resize_with_points(&self, (cols, rows): (u16, u16), points: (u16, u16)) {
        let (view, _) = &*self.shared;
        view.lock().unwrap().screen.resize(Size::clamped(cols, rows));
        let (pixel_width, pixel_height) = points;
        self.master.resize(PtySize { rows, cols, pixel_width, pixel_height }).unwrap();
    }

    /// Waits until the terminal shows it; shows the screen when it never does.
    #[track_caller]
    pub fn wait_until(&self, what: &str, holds: impl Fn(&View) -> bool) {
        let until = Instant::now() + SOON;
        let (view, changed) = &*self.shared;
        let mut view = view.lock().unwrap();
        while !holds(&view) {
            let left = until.saturating_duration_since(Instant::now());
            let over = left.is_zero() || view.ended;
            if over {
                let text = view.text();
                drop(view);
                panic!("did not come: {what}; the screen shows:\n{text}");
            }
            view = changed.wait_timeout(view, left).unwrap().0;
        }
    }

    #[track_caller]
    pub fn wait_for(&self, words: &str) {
        assert!(
            !"n new sandbox".contains(words),
            "every console shows `{words}`, even an empty one"
        );
        self.wait_until(words, |view| view.has(words));
    }

    pub fn text(&self) -> String {
        self.shared.0.lock().unwrap().text()
    }

    pub fn look<T>(&self, at: impl FnOnce(&View) -> T) -> T {
        at(&self.shared.0.lock().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the program to end and for all it wrote; its exit code.
    #[track_caller]
    pub fn ended(&mut self) -> u32 {
        let until = Instant::now() + SOON;
        let (view, changed) = &*self.shared;
        let mut view = view.lock().unwrap();
        while !view.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = view.text();
                drop(view);
                panic!("it did not end; the screen shows:\n{text}");
            }
            view = changed.wait_timeout(view, left).unwrap().0;
        }
        drop(view);
        self.child.wait().unwrap().exit_code()
    }

    /// Every mode a console switches on is off again.
    #[track_caller]
    pub fn assert_restored(&self) {
        self.look(|view| {
            for (on, off) in [
                ("\x1b[?1049h", "\x1b[?1049l"),
                ("\x1b[?25l", "\x1b[?25h"),
                ("\x1b[?2004h", "\x1b[?2004l"),
                ("\x1b[?1004h", "\x1b[?1004l"),
                ("\x1b[?1002h", "\x1b[?1002l"),
                ("\x1b[?1006h", "\x1b[?1006l"),
                ("\x1b[?2026h", "\x1b[?2026l"),
                ("\x1b[>5u", "\x1b[<1u"),
            ] {
                assert!(!view.is_on(on, off), "left on: {on:?}");
            }
            assert!(view.is_on("\x1b[?1049l", "\x1b[?1049h"), "it never took the terminal");
        });
        // Cooked again: what is typed is echoed by the kernel.
        let modes = rustix::termios::tcgetattr(borrowed(&*self.master)).unwrap();
        assert!(modes.local_modes.contains(rustix::termios::LocalModes::ECHO), "no echo");
        assert!(modes.local_modes.contains(rustix::termios::LocalModes::ICANON), "still raw");
    }
}

fn borrowed(master: &dyn MasterPty) -> std::os::fd::BorrowedFd<'_> {
    let fd = master.as_raw_fd().unwrap();
    // SAFETY: the descriptor is the master's own and lives as long as the borrow of it.
    #[expect(unsafe_code, reason = "portable-pty only gives the raw descriptor")]
    unsafe {
        std::os::fd::BorrowedFd::borrow_raw(fd)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // Ended already is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
