//! The outer terminal: a PTY whose other side is a screen nobody looks at. It answers what terminals
//! answer, counts what it is sent, and knows when a key has become visible.

use std::{
    io::{Read, Write},
    num::NonZeroU16,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// Answers to the queries that programs make; without them some wait for a second at start.
struct Answers {
    rows: u16,
    cols: u16,
    waiting: Vec<u8>,
}

impl vt100::Callbacks for Answers {
    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        mark: Option<u8>,
        second: Option<u8>,
        params: &[&[u16]],
        last: char,
    ) {
        let first = params.first().and_then(|it| it.first()).copied().unwrap_or(0);
        let (rows, cols) = (self.rows, self.cols);
        let (row, col) = screen.cursor_position();
        let answer = match (mark, second, last, first) {
            (None, None, 'c', _) => "\x1b[?62;4;22c".to_owned(),
            (Some(b'>'), None, 'c', _) => "\x1b[>1;1;0c".to_owned(),
            (Some(b'>'), None, 'q', _) => "\x1bP>|bench(1.0)\x1b\\".to_owned(),
            (Some(b'?'), None, 'u', _) => "\x1b[?0u".to_owned(),
            (Some(b'?'), Some(b'$'), 'p', mode) => format!("\x1b[?{mode};2$y"),
            (None, None, 'n', 5) => "\x1b[0n".to_owned(),
            (None, None, 'n', 6) => format!("\x1b[{};{}R", row + 1, col + 1),
            (None, None, 't', 18) => format!("\x1b[8;{rows};{cols}t"),
            (None, None, 't', 14) => format!("\x1b[4;{};{}t", rows * 20, cols * 10),
            _ => return,
        };
        self.waiting.extend_from_slice(answer.as_bytes());
    }

    fn unhandled_osc(&mut self, _: &mut vt100::Screen, params: &[&[u8]]) {
        let answer: &[u8] = match params {
            [b"10", b"?"] => b"\x1b]10;rgb:d0d0/d0d0/d0d0\x1b\\",
            [b"11", b"?"] => b"\x1b]11;rgb:0000/0000/0000\x1b\\",
            _ => return,
        };
        self.waiting.extend_from_slice(answer);
    }
}

/// A key that was typed and the cells that showed it before.
struct Watch {
    key: char,
    before: usize,
    seen_at: Option<Instant>,
}

struct State {
    parser: vt100::Parser<Answers>,
    watch: Option<Watch>,
    bytes: u64,
    first_at: Option<Instant>,
    ended: bool,
}

impl State {
    fn count(&self, key: char) -> usize {
        self.text().matches(key).count()
    }

    fn text(&self) -> String {
        let screen = self.parser.screen();
        let (_, cols) = screen.size();
        screen.rows(0, cols.get()).collect::<Vec<_>>().join("\n")
    }
}

type Writer = Arc<Mutex<Box<dyn Write + Send>>>;

pub struct Outer {
    shared: Arc<(Mutex<State>, Condvar)>,
    writer: Writer,
    child: Box<dyn Child + Send + Sync>,
    _master: Box<dyn MasterPty + Send>,
}

impl Outer {
    pub fn spawn(command: CommandBuilder, cols: u16, rows: u16) -> Self {
        let size = PtySize { rows, cols, pixel_width: cols * 10, pixel_height: rows * 20 };
        let pair = native_pty_system().openpty(size).unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let answers = Answers { rows, cols, waiting: Vec::new() };
        let sides = (NonZeroU16::new(rows).unwrap(), NonZeroU16::new(cols).unwrap());
        let state = State {
            parser: vt100::Parser::new_with_callbacks(sides.0, sides.1, 0, answers),
            watch: None,
            bytes: 0,
            first_at: None,
            ended: false,
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let writer: Writer = Arc::new(Mutex::new(pair.master.take_writer().unwrap()));
        let reader = pair.master.try_clone_reader().unwrap();
        let (theirs, answers) = (Arc::clone(&shared), Arc::clone(&writer));
        std::thread::spawn(move || read(reader, &theirs, &answers));
        Self { shared, writer, child, _master: pair.master }
    }

    pub fn send(&self, bytes: &[u8]) {
        let mut writer = self.writer.lock().unwrap();
        writer.write_all(bytes).unwrap();
        writer.flush().unwrap();
    }

    pub fn bytes(&self) -> u64 {
        self.shared.0.lock().unwrap().bytes
    }

    pub fn text(&self) -> String {
        self.shared.0.lock().unwrap().text()
    }

    /// Whether a cell shows this letter underlined.
    pub fn underlines(&self, letter: char) -> bool {
        let state = self.shared.0.lock().unwrap();
        let screen = state.parser.screen();
        let (rows, cols) = screen.size();
        (0..rows.get()).any(|row| {
            (0..cols.get()).any(|col| {
                let cell = screen.cell(row, col);
                cell.is_some_and(|it| it.underline() && it.contents().contains(letter))
            })
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    /// Waits until the screen shows `wanted`; stops the bench with the screen if it never does.
    pub fn wait_for(&self, wanted: &str, within: Duration) {
        let seen = self.wait(within, |state| state.text().contains(wanted).then_some(()));
        assert!(seen.is_some(), "`{wanted}` never appeared on:\n{}", self.text());
    }

    /// Types one key; the time until one more cell shows it. `None` = not within `within`.
    pub fn echo(&self, key: char, within: Duration) -> Option<Duration> {
        {
            let mut state = self.shared.0.lock().unwrap();
            let before = state.count(key);
            state.watch = Some(Watch { key, before, seen_at: None });
        }
        let typed_at = Instant::now();
        self.send(key.to_string().as_bytes());
        let seen = self.wait(within, |state| state.watch.as_ref().and_then(|it| it.seen_at));
        self.shared.0.lock().unwrap().watch = None;
        seen.map(|at| at.saturating_duration_since(typed_at))
    }

    /// Types bytes; the time until the screen is as wanted. `None` = not within `within`.
    pub fn press(
        &self,
        keys: &[u8],
        shows: impl Fn(&str) -> bool,
        within: Duration,
    ) -> Option<Duration> {
        let typed_at = Instant::now();
        self.send(keys);
        self.wait(within, |state| shows(&state.text()).then(|| typed_at.elapsed()))
    }

    /// Waits until nothing has been written for `quiet`.
    pub fn settle(&self, quiet: Duration, within: Duration) {
        let end = Instant::now() + within;
        let (mut last, mut since) = (self.bytes(), Instant::now());
        while since.elapsed() < quiet && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            if self.bytes() != last {
                (last, since) = (self.bytes(), Instant::now());
            }
        }
    }

    fn wait<T>(&self, within: Duration, mut done: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let end = Instant::now() + within;
        let mut state = self.shared.0.lock().unwrap();
        loop {
            if let Some(value) = done(&state) {
                return Some(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended {
                return None;
            }
            state = self.shared.1.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn read(mut reader: Box<dyn Read + Send>, shared: &(Mutex<State>, Condvar), writer: &Writer) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        let now = Instant::now();
        let mut state = shared.0.lock().unwrap();
        state.bytes += count as u64;
        state.first_at.get_or_insert(now);
        state.parser.process(&buffer[..count]);
        if let Some(mut watch) = state.watch.take() {
            let in_bytes = buffer[..count].contains(&(watch.key as u8));
            if watch.seen_at.is_none() && in_bytes && state.count(watch.key) > watch.before {
                watch.seen_at = Some(now);
            }
            state.watch = Some(watch);
        }
        let answers = std::mem::take(&mut state.parser.callbacks_mut().waiting);
        drop(state);
        shared.1.notify_all();
        if !answers.is_empty() {
            drop(writer.lock().unwrap().write_all(&answers));
        }
    }
    shared.0.lock().unwrap().ended = true;
    shared.1.notify_all();
}
