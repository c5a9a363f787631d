//! The console's loop: wait for anything, take what waits (keys first), update, draw. Nothing is
//! awaited but the next thing to happen.

mod look;
mod own;
mod turn;

use std::{path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use crossterm::event::Event;
use tokio::sync::mpsc;

use self::{
    look::{Change, Look, changed},
    turn::{Turn, Woken},
};
use super::{
    canvas::Canvas,
    convert,
    effects::{Outbox, Runner},
    files::Files,
    keyboard,
    pictures::Showing,
    probe,
    signals::{Signal, Signals},
    terminal::{self, Guard},
};
use crate::{
    app::{self, Act, Moment, Msg, Setup, State, effect::ContextChange, gate::Glimpse},
    base::{
        clock,
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{
            CONSOLE_ANSWERS_MAX, CONSOLE_OUTPUTS_MAX, FRAME_EVERY_MIN, FRAME_EVERY_MIN_TYPING,
            TURN_MESSAGES_MAX, TYPING_FOR,
        },
    },
    config::{agents::Profiles, schema::Images},
    model::event::Level,
    runtime::{Identity, Runtime},
    ui::{
        self,
        theme::{Depth, Theme},
    },
    vt::touched::Touched,
};

/// How long the last keys may take to reach the hub when the console ends.
const FINISH_WITHIN: Duration = Duration::from_millis(500);

/// Files read beside the loop and not taken over yet.
const CHANGES_MAX: usize = 4;

/// What a console needs to start.
pub struct Start {
    pub runtime: Arc<dyn Runtime>,
    pub identity: Identity,
    /// Which hub, for the header.
    pub hub: String,
    /// Where new sandboxes work.
    pub directory: PathBuf,
    pub driver: String,
    /// The first hub is not this user's own one.
    pub elsewhere: bool,
    /// What is said once it is there.
    pub said: Option<Fault>,
    pub files: Files,
    /// Reads anew which hubs there are, whenever a file changed. It may block.
    pub reread: Option<Reread>,
    /// Changes which there are; `None` = that is not done from here.
    pub contexts: Option<Rewrite>,
}

/// Changes contexts.toml.
pub type Rewrite =
    Arc<dyn Fn(ContextChange) -> Pin<Box<dyn Future<Output = Outcome<()>> + Send>> + Send + Sync>;

/// What is to be done beside the loop.
pub type Reread = Arc<dyn Fn() -> Outcome<()> + Send + Sync>;

/// How a console ended.
pub struct End {
    pub code: u8,
    /// Sandboxes that run on, as far as the console knew; `None` when a signal ended it.
    pub running: Option<usize>,
}

/// Runs the console until the operator quits or a signal ends it.
pub async fn run(start: Start) -> Outcome<End> {
    let window = terminal::window().ok_or_else(|| Fault::failed("stdout is not a terminal"))?;
    // A broken configuration refuses before the terminal is touched; later it keeps the last good.
    let config = start.files.config()?;
    let mut signals = Signals::new()?;
    let asked = probe::ask(!matches!(config.ui.images, Images::Blocks | Images::Off))?;
    let files = start.files.on_background(asked.answers.light_background);
    let look = Look::choose(&files, config)?;
    let start = Start { files, ..start };
    let (answers_in, mut answers) = mpsc::channel(CONSOLE_ANSWERS_MAX);
    let (outputs_in, mut outputs) = mpsc::channel(CONSOLE_OUTPUTS_MAX);
    let (changes_in, mut changes) = mpsc::channel(CHANGES_MAX);
    let notices = answers_in.clone();
    terminal::hook_panics(move |words| {
        // A full queue loses a notice; the log has it.
        drop(notices.try_send(Msg::Notice(Level::Error, words)));
    });
    let showing = Showing::new(asked.answers.graphics, window);
    let guard = Guard::enter(asked.answers, asked.raw)?;
    let hold = keyboard::Hold::default();
    let mut events = keyboard::listen(asked.ahead, asked.late, hold.clone())?;
    let outbox = Outbox { answers: answers_in, outputs: outputs_in };
    let runner = Runner::new(start.runtime.clone(), outbox, showing);
    let mut console = Console::new(start, look, window.cells, (guard, hold), runner, changes_in)?;
    let mut watch = console.watch_files();
    while console.ending.is_none() {
        let timer = console.until_timer();
        let woken = tokio::select! {
            biased;
            event = events.recv() => event.map_or(Woken::Gone, Woken::Event),
            signal = signals.next() => Woken::Signal(signal),
            Some(message) = answers.recv() => Woken::Message(message),
            Some(change) = changes.recv() => Woken::Change(change),
            written = console.canvas.written(), if console.canvas.busy() => Woken::Written(written),
            Some(message) = outputs.recv() => Woken::Message(message),
            () = changed(&mut watch) => Woken::Files,
            () = tokio::time::sleep(timer.unwrap_or_default()), if timer.is_some() => Woken::Timer,
        };
        let turn = Turn::begin(&woken);
        console.take(woken)?;
        // However much is typed: what waits behind it goes on with an answer.
        if let Ok(message) = answers.try_recv() {
            console.take(Woken::Message(message))?;
        }
        for _ in 0..TURN_MESSAGES_MAX {
            if turn.over() || console.ending.is_some() {
                break;
            }
            // Keys go first, then answers, then output.
            let next = events.try_recv().map(Woken::Event).or_else(|_| {
                answers.try_recv().or_else(|_| outputs.try_recv()).map(Woken::Message)
            });
            let Ok(next) = next else { break };
            console.take(next)?;
        }
        console.frame()?;
        turn.end();
    }
    let Console { runner, guard, ending, state, .. } = console;
    runner.finish(FINISH_WITHIN).await;
    drop(guard);
    let code = ending.unwrap_or_default();
    Ok(End { code, running: (code == 0).then(|| state.fleet.running()) })
}

struct Console {
    state: State,
    theme: Theme,
    depth: Depth,
    files: Files,
    reread: Option<Reread>,
    contexts: Option<Rewrite>,
    runner: Runner,
    canvas: Canvas,
    guard: Guard,
    /// Of the thread that reads keys.
    hold: keyboard::Hold,
    /// When the operator's editor ended: a ctrl-c or ctrl-z was for that one.
    edited_at: Option<Duration>,
    changes: mpsc::Sender<Change>,
    drawn_at: Duration,
    typed_at: Option<Duration>,
    /// Where a key went that has not been echoed yet.
    echo_due: Option<SessionId>,
    /// An echo is to be shown: its frame waits for no interval. Keys bound how often.
    echo_here: bool,
    /// The session that was typed into last.
    typed_into: Option<SessionId>,
    /// What is to be drawn is what the operator did or what answers it, not only what prints by itself.
    near: bool,
    touched: Touched,
    /// What the frame under way shows, for who waits for it to have been seen.
    glimpse: Option<Glimpse>,
    ending: Option<u8>,
}

impl Console {
    fn new(
        start: Start,
        look: Look,
        cells: (u16, u16),
        (guard, hold): (Guard, keyboard::Hold),
        runner: Runner,
        changes: mpsc::Sender<Change>,
    ) -> Outcome<Self> {
        let mouse = look.config.mouse;
        let mut state = State::new(Setup {
            zone: clock::Zone::here(),
            me: start.identity.client,
            name: start.identity.name,
            hub: start.hub,
            directory: start.directory,
            home: crate::config::paths::home_directory(),
            driver: start.driver,
            elsewhere: start.elsewhere,
            size: cells,
            config: look.config,
            keymap: look.keymap,
        });
        state.prefs = look.prefs;
        let profiles = Profiles::of(start.files.directory());
        if let Ok(profiles) = &profiles {
            state.profiles = Arc::new(profiles.clone());
        }
        state.keys_set = crate::tui::agents::keys_set(&state.profiles);
        let mut console = Self {
            state,
            theme: look.theme,
            depth: look.depth,
            files: start.files,
            reread: start.reread,
            contexts: start.contexts,
            runner,
            canvas: Canvas::new(cells)?,
            guard,
            hold,
            edited_at: None,
            changes,
            drawn_at: Duration::ZERO,
            typed_at: None,
            echo_due: None,
            echo_here: false,
            typed_into: None,
            near: true,
            touched: Touched::All,
            glimpse: None,
            ending: None,
        };
        console.capture_mouse(mouse);
        console.look_around();
        for fault in profiles.err().into_iter().chain(start.said) {
            console.update(Msg::Notice(Level::Error, fault.to_string()));
        }
        Ok(console)
    }

    fn take(&mut self, woken: Woken) -> Outcome<()> {
        match woken {
            Woken::Event(event) => {
                if let Event::Resize(cols, rows) = event {
                    self.runner.resized();
                    self.canvas.resize((cols, rows));
                    self.touched = Touched::All;
                }
                if let Some(message) = convert::message(event) {
                    self.typed_at = Some(clock::monotonic());
                    self.update(message);
                }
            }
            Woken::Gone => self.ending = Some(128 + libc::SIGHUP as u8),
            Woken::Signal(Signal::End(libc::SIGINT) | Signal::Suspend) if self.was_for_editor() => {
            }
            Woken::Signal(Signal::End(number)) => self.ending = Some(128 + number as u8),
            Woken::Signal(Signal::Suspend) => self.suspend(),
            Woken::Signal(Signal::Continue) => {
                self.guard.resume()?;
                self.restart();
            }
            Woken::Message(message) => self.update(message),
            Woken::Change(Change { theme, messages }) => {
                if let Some(theme) = theme {
                    self.theme = theme;
                    self.touched = Touched::All;
                }
                for message in messages {
                    self.update(message);
                }
            }
            Woken::Written(written) => {
                written?;
                self.drawn();
            }
            Woken::Files => self.reload(),
            Woken::Timer => {
                let now = clock::monotonic();
                if self.state.wake_at().is_some_and(|at| at <= now) {
                    self.update(Msg::Tick);
                }
            }
        }
        Ok(())
    }

    fn update(&mut self, message: Msg) {
        let now = Moment { since_start: clock::monotonic(), wall: clock::wall() };
        if let Msg::Output { session, .. } = &message {
            self.echo_here |= self.echo_due.take_if(|due| due == session).is_some();
            self.near |= self.typed_into.as_ref() == Some(session);
        }
        let by_hand = matches!(message, Msg::Key(_) | Msg::Paste(_) | Msg::Mouse(_));
        let mut passed_on = false;
        for effect in app::update(&mut self.state, now, message) {
            if let Act::Input { session, .. } = &effect.act {
                passed_on = true;
                self.echo_due = Some(session.clone());
                if self.typed_into.as_ref() != Some(session) {
                    self.typed_into = Some(session.clone());
                }
            }
            if let Some(effect) = self.runner.start(effect) {
                self.here(effect);
            }
        }
        // What went to a program draws nothing itself, unless it is drawn ahead of its echo.
        self.near |= by_hand && (!passed_on || self.state.draws_ahead());
    }

    fn is_dirty(&self) -> bool {
        self.touched != Touched::Nothing
    }

    /// Zero when a frame may be drawn now.
    fn until_frame(&self, now: Duration) -> Duration {
        if self.echo_here {
            return Duration::ZERO;
        }
        let typing = self.near && self.typed_at.is_some_and(|at| now < at + TYPING_FOR);
        let every = if typing { FRAME_EVERY_MIN_TYPING } else { FRAME_EVERY_MIN };
        (self.drawn_at + every).saturating_sub(now)
    }

    /// How long until the loop must go on by itself; `None` = not before something happens.
    fn until_timer(&mut self) -> Option<Duration> {
        let now = clock::monotonic();
        let frame = (self.is_dirty() && !self.canvas.busy()).then(|| self.until_frame(now));
        let tick = self.state.wake_at().map(|at| at.saturating_sub(now));
        frame.into_iter().chain(tick).min()
    }

    fn frame(&mut self) -> Outcome<()> {
        self.touched = self.touched.and(self.state.take_touched());
        let now = clock::monotonic();
        if !self.is_dirty() || self.canvas.busy() || !self.until_frame(now).is_zero() {
            return Ok(());
        }
        let (state, theme) = (&self.state, &self.theme);
        let glimpse = state.glimpse();
        let graphic = ui::graphic(state);
        let paint = |area, buffer: &mut _| ui::draw(state, theme, area, buffer);
        self.canvas.draw(self.touched, graphic, paint)?;
        self.drawn_at = now;
        (self.echo_here, self.near) = (false, false);
        self.touched = Touched::Nothing;
        self.glimpse = glimpse;
        if !self.canvas.busy() {
            self.drawn();
        }
        Ok(())
    }

    /// The last frame is on the terminal.
    fn drawn(&mut self) {
        if let Some(glimpse) = self.glimpse.take() {
            self.update(Msg::Drawn(glimpse));
            self.touched = self.touched.and(self.state.take_touched());
        }
    }
}
