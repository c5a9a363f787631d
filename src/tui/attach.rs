//! One session on the whole terminal. What the program prints is interpreted and redrawn, so that
//! no escape sequence from a sandbox reaches the operator's terminal as it is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use crossterm::event::Event;
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::{Modifier, Style},
};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;

use crate::{
    app::{EffectId, Msg, msg},
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        id::SessionId,
        limits::{
            CONSOLE_ANSWERS_MAX, FRAME_EVERY_MIN, FRAME_EVERY_MIN_TYPING, PARSE_SLICE_BYTES,
            TYPING_FOR,
        },
        text,
    },
    model::{
        output::{Fidelity, From, Output, OutputRequest},
        session::{ExitStatus, Session},
    },
    runtime::{LeaseVerb, Runtime},
    vt::{
        key::{self, Key, KeyPress, MouseButton, MouseEvent, MouseKind, Stroke},
        screen::{MouseMode, Screen},
    },
};

use super::{
    canvas::Canvas,
    convert, keyboard,
    lane::Lane,
    probe,
    signals::Signals,
    terminal::{self, Guard},
};

/// How long a message stays over the last line.
const MESSAGE_FOR: Duration = Duration::from_secs(4);
/// Messages of the output read ahead.
const OUTPUTS_MAX: usize = 8;
/// How long what was typed last may take to reach the hub when leaving.
const FINISH_WITHIN: Duration = Duration::from_millis(500);
const PREFIX_HELP: &str = "ctrl-b: d detach · t take the keyboard · ctrl-b send ctrl-b";

/// How an attachment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Detached,
    Exited(ExitStatus),
    /// A signal told this process to end.
    Signalled(i32),
}

/// Who types here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Keyboard {
    Ours,
    /// Only watching was asked for.
    Unwanted,
    /// Somebody else has it, or it was refused.
    Refused,
}

/// Runs until the program ends, the operator leaves, or a signal comes.
pub async fn run(
    runtime: &Arc<dyn Runtime>,
    session: &Session,
    name: &str,
    read_only: bool,
) -> Outcome<Ending> {
    let cells = terminal::cells().ok_or_else(|| Fault::failed("stdout is not a terminal"))?;
    let mut signals = Signals::new()?;
    let asked = probe::ask()?;
    terminal::hook_panics(|_| {});
    let guard = Guard::enter(asked.answers, asked.raw)?;
    let mut events = keyboard::listen(asked.ahead)?;
    let (outputs, mut waiting) = mpsc::channel(OUTPUTS_MAX);
    let follow = tokio::spawn(relay(runtime.clone(), session.id.clone(), outputs));
    let (sender, mut done) = mpsc::channel(CONSOLE_ANSWERS_MAX);
    let lane = Lane::open(runtime.clone(), session.id.clone(), sender);
    let mut attached = Attached {
        runtime: runtime.clone(),
        session: session.id.clone(),
        screen: Screen::new(session.size),
        canvas: Canvas::new(cells)?,
        guard,
        lane,
        keyboard: if read_only { Keyboard::Unwanted } else { Keyboard::Refused },
        prefix: false,
        message: None,
        dirty: true,
        drawn_at: Duration::ZERO,
        typed_at: None,
        ended: None,
    };
    attached.title(name);
    if !read_only {
        attached.ask_for_keyboard(LeaseVerb::Take)?;
    }
    let ending = loop {
        let timer = attached.until_timer();
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => attached.event(event)?,
                None => attached.ended = Some(Ending::Signalled(libc::SIGHUP)),
            },
            signal = signals.next() => attached.signal(signal)?,
            Some(message) = done.recv() => attached.answer(message),
            written = attached.canvas.written(), if attached.canvas.busy() => written?,
            output = waiting.recv(), if attached.ended.is_none() => match output {
                Some(Ok(output)) => attached.output(output),
                Some(Err(fault)) => return Err(fault),
                None => return Err(Fault::lost("the output stopped")),
            },
            () = tokio::time::sleep(timer.unwrap_or_default()), if timer.is_some() => {}
        }
        attached.frame()?;
        if let Some(ending) = attached.ended.filter(|_| attached.settled()) {
            break ending;
        }
    };
    follow.abort();
    let Attached { lane, keyboard, .. } = attached;
    if keyboard == Keyboard::Ours {
        // Full or late: the lease returns by itself.
        drop(lane.lease(EffectId(0), LeaseVerb::Release));
    }
    let _ = tokio::time::timeout(FINISH_WITHIN, lane.finish()).await;
    Ok(ending)
}

/// Passes the output on.
async fn relay(
    runtime: Arc<dyn Runtime>,
    session: SessionId,
    outputs: mpsc::Sender<Outcome<Output>>,
) {
    let request =
        OutputRequest { from: From::Now, fidelity: Fidelity::Screen, every_at_least: None };
    // A lost hub is the runtime's to find again; what ends here has ended.
    let mut stream = match runtime.output(&session, request).await {
        Ok(stream) => stream,
        Err(fault) => return drop(outputs.send(Err(fault)).await),
    };
    while let Some(message) = stream.next().await {
        if outputs.send(message).await.is_err() {
            return;
        }
    }
}

struct Attached {
    runtime: Arc<dyn Runtime>,
    session: SessionId,
    screen: Screen,
    canvas: Canvas,
    guard: Guard,
    lane: Lane,
    keyboard: Keyboard,
    /// ctrl-b was typed; the next key is for us.
    prefix: bool,
    /// Shown over the last line until then.
    message: Option<(String, Duration)>,
    dirty: bool,
    drawn_at: Duration,
    typed_at: Option<Duration>,
    ended: Option<Ending>,
}

impl Attached {
    fn title(&mut self, name: &str) {
        let sequence = format!("\x1b]2;sandwatch: {}\x07", text::visible(name));
        self.canvas.send(sequence.as_bytes());
    }

    fn say(&mut self, words: impl Into<String>) {
        self.message = Some((words.into(), clock::monotonic() + MESSAGE_FOR));
        self.dirty = true;
    }

    fn ask_for_keyboard(&mut self, verb: LeaseVerb) -> Outcome<()> {
        self.lane.lease(EffectId(0), verb)
    }

    fn answer(&mut self, message: Msg) {
        let Msg::Done { result, .. } = message else { return };
        match result {
            Ok(msg::Reply::Lease(Some(_))) => {
                self.keyboard = Keyboard::Ours;
                self.follow_size();
            }
            Ok(_) => {}
            Err(fault) if fault.kind() == Kind::Busy && self.keyboard != Keyboard::Unwanted => {
                self.keyboard = Keyboard::Refused;
                self.say(format!("{fault}; ctrl-b t takes it over, ctrl-b d detaches"));
            }
            Err(fault) => self.say(fault.to_string()),
        }
    }

    /// The session takes this terminal's size; observers never resize.
    fn follow_size(&mut self) {
        let (Some(size), Keyboard::Ours) = (terminal::size(), &self.keyboard) else { return };
        let (runtime, session) = (self.runtime.clone(), self.session.clone());
        tokio::spawn(async move {
            if let Err(fault) = runtime.resize(&session, size).await {
                tracing::warn!(%fault, "resize");
            }
        });
    }

    fn signal(&mut self, signal: super::signals::Signal) -> Outcome<()> {
        use super::signals::Signal;
        match signal {
            Signal::End(number) => self.ended = Some(Ending::Signalled(number)),
            Signal::Suspend => match self.guard.suspend() {
                Ok(()) => self.restart(),
                Err(fault) => self.say(fault.to_string()),
            },
            Signal::Continue => {
                self.guard.resume()?;
                self.restart();
            }
        }
        Ok(())
    }

    fn restart(&mut self) {
        if let Some(cells) = terminal::cells() {
            self.canvas.resize(cells);
        }
        self.canvas.redraw();
        self.dirty = true;
        self.follow_size();
    }

    fn event(&mut self, event: Event) -> Outcome<()> {
        let Some(message) = convert::message(event) else { return Ok(()) };
        match message {
            Msg::Key(press) => self.key(press)?,
            Msg::Paste(text) => self.send(key::encode_paste(&text, &self.screen.modes())),
            Msg::Focus(gained) => {
                let bytes = key::encode_focus(gained, &self.screen.modes());
                if self.keyboard == Keyboard::Ours {
                    self.send(bytes.unwrap_or_default().to_vec());
                }
            }
            Msg::Mouse(mouse) if self.keyboard == Keyboard::Ours => {
                let bytes = key::encode_mouse(mouse_event(mouse), &self.screen.modes());
                self.send(bytes.unwrap_or_default());
            }
            Msg::Resize(cols, rows) => {
                self.canvas.resize((cols, rows));
                self.dirty = true;
                self.follow_size();
            }
            _ => {}
        }
        Ok(())
    }

    fn key(&mut self, press: KeyPress) -> Outcome<()> {
        let prefix = press.mods.ctrl && press.key == Key::Char('b');
        if press.stroke == Stroke::Release && (prefix || self.prefix) {
            return Ok(());
        }
        if !std::mem::take(&mut self.prefix) {
            if prefix {
                self.prefix = true;
                self.say(PREFIX_HELP);
            } else {
                self.send(key::encode(press, &self.screen.modes()));
            }
            return Ok(());
        }
        self.message = None;
        self.dirty = true;
        match press.key {
            Key::Char('d' | 'q') => self.ended = Some(Ending::Detached),
            Key::Char('t') if self.keyboard == Keyboard::Unwanted => {
                self.say("attached to watch only");
            }
            Key::Char('t') => self.ask_for_keyboard(LeaseVerb::TakeOver)?,
            Key::Char('b') => self.send(key::encode(press, &self.screen.modes())),
            _ => self.say(PREFIX_HELP),
        }
        Ok(())
    }

    fn send(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self.keyboard {
            Keyboard::Unwanted => return self.say("watching only; ctrl-b d detaches"),
            // Refused is asked again: the other may have left meanwhile.
            Keyboard::Ours | Keyboard::Refused => {}
        }
        self.typed_at = Some(clock::monotonic());
        if let Err(fault) = self.lane.input(EffectId(0), Bytes::from(bytes)) {
            self.say(fault.to_string());
        }
    }

    fn output(&mut self, output: Output) {
        self.dirty = true;
        match output {
            Output::Chunk { bytes, .. } => {
                for slice in bytes.chunks(PARSE_SLICE_BYTES) {
                    self.screen.feed(slice);
                }
            }
            Output::Keyframe { size, state, .. } => {
                self.screen = Screen::from_keyframe(size, &state);
            }
            Output::Resize { size, .. } => self.screen.resize(size),
            Output::Fact { .. } => {}
            Output::Exit { status, .. } => self.ended = Some(Ending::Exited(status)),
        }
        let wanted = self.screen.modes().mouse != MouseMode::Off;
        let sequence = self.guard.mouse(wanted && self.keyboard == Keyboard::Ours);
        self.canvas.send(sequence.as_bytes());
    }

    /// Frames come at once after a rest, else at a bounded rate, higher while somebody types.
    fn until_frame(&self) -> Duration {
        let now = clock::monotonic();
        let typing = self.typed_at.is_some_and(|at| now < at + TYPING_FOR);
        let every = if typing { FRAME_EVERY_MIN_TYPING } else { FRAME_EVERY_MIN };
        (self.drawn_at + every).saturating_sub(now)
    }

    /// How long until something must be done though nothing happens; `None` = nothing.
    fn until_timer(&self) -> Option<Duration> {
        let frame = (self.dirty && !self.canvas.busy()).then(|| self.until_frame());
        let message = self.message.as_ref().map(|it| it.1.saturating_sub(clock::monotonic()));
        frame.into_iter().chain(message).min()
    }

    fn settled(&self) -> bool {
        // The last picture is not waited for when the operator leaves.
        !matches!(self.ended, Some(Ending::Exited(_))) || !(self.dirty || self.canvas.busy())
    }

    fn frame(&mut self) -> Outcome<()> {
        if self.message.as_ref().is_some_and(|(_, until)| clock::monotonic() >= *until) {
            self.message = None;
            self.dirty = true;
        }
        if !self.dirty || self.canvas.busy() || !self.until_frame().is_zero() {
            return Ok(());
        }
        let (screen, message) = (&self.screen, self.message.as_ref().map(|(words, _)| words));
        self.canvas
            .draw(|area, buffer| picture(screen, message.map(String::as_str), area, buffer))?;
        self.drawn_at = clock::monotonic();
        self.dirty = false;
        Ok(())
    }
}

fn picture(
    screen: &Screen,
    message: Option<&str>,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    let cursor = super::picture::draw(screen, area, buffer);
    let Some(message) = message.filter(|_| area.height > 0) else { return cursor };
    let row = area.bottom() - 1;
    let shown = text::clip(&format!(" {} ", text::visible(message)), usize::from(area.width));
    let style = Style::default().add_modifier(Modifier::REVERSED);
    buffer.set_style(Rect::new(area.x, row, area.width, 1), style);
    buffer.set_stringn(area.x, row, " ".repeat(area.width.into()), area.width.into(), style);
    buffer.set_string(area.x, row, shown, style);
    cursor.filter(|it| it.y != row)
}

fn mouse_event(mouse: msg::Mouse) -> MouseEvent {
    let button = |it| match it {
        msg::Button::Left => MouseButton::Left,
        msg::Button::Middle => MouseButton::Middle,
        msg::Button::Right => MouseButton::Right,
    };
    let kind = match mouse.kind {
        msg::MouseKind::Down(it) => MouseKind::Press(button(it)),
        msg::MouseKind::Up(it) => MouseKind::Release(button(it)),
        msg::MouseKind::Drag(it) => MouseKind::Motion(Some(button(it))),
        msg::MouseKind::Moved => MouseKind::Motion(None),
        msg::MouseKind::WheelUp => MouseKind::WheelUp,
        msg::MouseKind::WheelDown => MouseKind::WheelDown,
        msg::MouseKind::WheelLeft => MouseKind::WheelLeft,
        msg::MouseKind::WheelRight => MouseKind::WheelRight,
    };
    MouseEvent { kind, row: mouse.row, col: mouse.column, mods: mouse.mods }
}
