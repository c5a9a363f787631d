//! The console's loop: wait for anything, take what waits (keys first), update, draw. Nothing is
//! awaited but the next thing to happen.

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::Engine;
use crossterm::event::Event;
use tokio::sync::mpsc;

use crate::{
    app::{self, Act, Effect, EffectId, Moment, Msg, Setup, State, keymap::Keymap, msg::Reply},
    base::{
        clock,
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{
            CLIPBOARD_BYTES_MAX, CONSOLE_ANSWERS_MAX, CONSOLE_OUTPUTS_MAX, FRAME_EVERY_MIN,
            FRAME_EVERY_MIN_TYPING, TURN_MESSAGES_MAX, TURN_SLOW, TURN_WITHIN, TYPING_FOR,
        },
        text,
    },
    config::schema::{Config, Prefs},
    model::event::Level,
    runtime::{Identity, Runtime},
    ui::{
        self,
        theme::{Depth, Theme},
    },
};

use super::{
    agents,
    canvas::Canvas,
    convert,
    effects::{Outbox, Runner},
    files::Files,
    keyboard, probe,
    signals::{Signal, Signals},
    terminal::{self, Guard},
    watch::Watch,
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
    pub files: Files,
}

/// How a console ended.
pub struct End {
    pub code: u8,
    /// Sandboxes that run on, as far as the console knew; `None` when a signal ended it.
    pub running: Option<usize>,
}

/// Runs the console until the operator quits or a signal ends it.
pub async fn run(start: Start) -> Outcome<End> {
    let cells = terminal::cells().ok_or_else(|| Fault::failed("stdout is not a terminal"))?;
    // A broken configuration refuses before the terminal is touched; later it keeps the last good.
    let config = start.files.config()?;
    let mut signals = Signals::new()?;
    let terminal = probe::ask();
    let look = Look::choose(&start.files, config, terminal.light_background)?;
    let (answers_in, mut answers) = mpsc::channel(CONSOLE_ANSWERS_MAX);
    let (outputs_in, mut outputs) = mpsc::channel(CONSOLE_OUTPUTS_MAX);
    let (changes_in, mut changes) = mpsc::channel(CHANGES_MAX);
    let notices = answers_in.clone();
    terminal::hook_panics(move |words| {
        // A full queue loses a notice; the log has it.
        drop(notices.try_send(Msg::Notice(Level::Error, words)));
    });
    let guard = Guard::enter(&terminal)?;
    let mut events = keyboard::listen()?;
    let outbox = Outbox { answers: answers_in, outputs: outputs_in };
    let mut console = Console::new(start, look, cells, guard, outbox, changes_in)?;
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

async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// What the files and the terminal together make of keys and colours.
struct Look {
    config: Config,
    prefs: Prefs,
    keymap: Keymap,
    theme: Theme,
    depth: Depth,
}

impl Look {
    fn choose(files: &Files, mut config: Config, light: Option<bool>) -> Outcome<Self> {
        let prefs = files.prefs();
        // Where nobody chose a theme, it follows the terminal.
        if light == Some(true) && !files.names_theme()? {
            "light".clone_into(&mut config.theme);
        }
        config.apply(&prefs);
        let depth = super::depth::found();
        let theme = files.theme(&config.theme, depth)?;
        let keymap = files.keymap(&config, &config.keymap)?;
        Ok(Self { config, prefs, keymap, theme, depth })
    }
}

/// What ended the wait.
enum Woken {
    Event(Event),
    /// The terminal is gone.
    Gone,
    Signal(Signal),
    Message(Msg),
    Change(Change),
    Written(Outcome<()>),
    Files,
    Timer,
}

/// Read beside the loop, for the drawing side as well as for the state.
struct Change {
    theme: Option<Theme>,
    messages: Vec<Msg>,
}

/// One turn, timed.
struct Turn {
    began: Duration,
    cause: &'static str,
}

impl Turn {
    fn begin(woken: &Woken) -> Self {
        let cause = match woken {
            Woken::Event(_) => "terminal input",
            Woken::Gone => "the terminal went away",
            Woken::Signal(_) => "signal",
            Woken::Message(Msg::Output { .. } | Msg::OutputEnded { .. }) => "output",
            Woken::Message(Msg::Event(_)) => "feed",
            Woken::Message(_) => "answer",
            Woken::Change(_) | Woken::Files => "files",
            Woken::Written(_) => "frame written",
            Woken::Timer => "timer",
        };
        Self { began: clock::monotonic(), cause }
    }

    fn over(&self) -> bool {
        clock::monotonic().saturating_sub(self.began) > TURN_WITHIN
    }

    fn end(self) {
        let took = clock::monotonic().saturating_sub(self.began);
        if took > TURN_SLOW {
            tracing::warn!(cause = self.cause, ?took, "a turn took longer than a frame");
        }
    }
}

struct Console {
    state: State,
    theme: Theme,
    depth: Depth,
    files: Files,
    runner: Runner,
    canvas: Canvas,
    guard: Guard,
    changes: mpsc::Sender<Change>,
    drawn_at: Duration,
    typed_at: Option<Duration>,
    /// Where a key went that has not been echoed yet.
    echo_due: Option<SessionId>,
    /// An echo is to be shown: its frame waits for no interval. Keys bound how often.
    echo_here: bool,
    dirty: bool,
    ending: Option<u8>,
}

impl Console {
    fn new(
        start: Start,
        look: Look,
        cells: (u16, u16),
        guard: Guard,
        outbox: Outbox,
        changes: mpsc::Sender<Change>,
    ) -> Outcome<Self> {
        let mouse = look.config.mouse;
        let mut state = State::new(Setup {
            me: start.identity.client,
            name: start.identity.name,
            hub: start.hub,
            directory: start.directory,
            driver: start.driver,
            size: cells,
            config: look.config,
            keymap: look.keymap,
        });
        state.prefs = look.prefs;
        let mut console = Self {
            state,
            theme: look.theme,
            depth: look.depth,
            files: start.files,
            runner: Runner::new(start.runtime, outbox),
            canvas: Canvas::new(cells)?,
            guard,
            changes,
            drawn_at: Duration::ZERO,
            typed_at: None,
            echo_due: None,
            echo_here: false,
            dirty: true,
            ending: None,
        };
        console.capture_mouse(mouse);
        console.look_around();
        Ok(console)
    }

    fn take(&mut self, woken: Woken) -> Outcome<()> {
        match woken {
            Woken::Event(event) => {
                if let Event::Resize(cols, rows) = event {
                    self.canvas.resize((cols, rows));
                    self.dirty = true;
                }
                if let Some(message) = convert::message(event) {
                    self.typed_at = Some(clock::monotonic());
                    self.update(message);
                }
            }
            Woken::Gone => self.ending = Some(128 + libc::SIGHUP as u8),
            Woken::Signal(Signal::End(number)) => self.ending = Some(128 + number as u8),
            Woken::Signal(Signal::Suspend) => self.suspend()?,
            Woken::Signal(Signal::Continue) => {
                self.guard.resume()?;
                self.restart();
            }
            Woken::Message(message) => self.update(message),
            Woken::Change(Change { theme, messages }) => {
                if let Some(theme) = theme {
                    self.theme = theme;
                    self.dirty = true;
                }
                for message in messages {
                    self.update(message);
                }
            }
            Woken::Written(written) => written?,
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
        }
        for effect in app::update(&mut self.state, now, message) {
            if let Act::Input { session, .. } = &effect.act {
                self.echo_due = Some(session.clone());
            }
            if let Some(effect) = self.runner.start(effect) {
                self.here(effect);
            }
        }
    }

    /// Effects that concern this process alone.
    fn here(&mut self, Effect { id, act }: Effect) {
        match act {
            Act::Clipboard(words) => {
                let result = self.copy(&words);
                self.update(Msg::Done { id, result });
            }
            Act::LoadKeymap(name) => self.load_keymap(Some(id), name),
            Act::LoadTheme(name) => self.load_theme(Some(id), name),
            Act::SavePrefs(prefs) => {
                let files = self.files.clone();
                self.runner.aside(move || {
                    let result = files.save_prefs(&prefs).map(|()| Reply::Nothing);
                    vec![Msg::Done { id, result }]
                });
            }
            Act::SetTitle(title) => {
                let sequence = format!("\x1b]2;{}\x07", text::visible(&title));
                self.canvas.send(sequence.as_bytes());
                self.dirty = true;
            }
            Act::Bell => self.aside(b"\x07"),
            Act::Notify { title, body } => {
                let words = text::visible(&format!("{title}: {body}"));
                self.aside(format!("\x1b]9;{words}\x07").as_bytes());
            }
            Act::CaptureMouse(on) => self.capture_mouse(on),
            Act::Redraw => {
                self.canvas.redraw();
                self.dirty = true;
            }
            Act::Suspend => {
                if let Err(fault) = self.suspend() {
                    self.update(Msg::Notice(Level::Error, fault.to_string()));
                }
            }
            Act::Quit => self.ending = Some(0),
            // All others were the runner's.
            _ => {}
        }
    }

    fn aside(&mut self, sequence: &[u8]) {
        self.canvas.send(sequence);
        self.dirty = true;
    }

    /// OSC 52; whether the terminal takes it can't be known, whether it may is checked.
    fn copy(&mut self, words: &str) -> Outcome<Reply> {
        if words.len() > CLIPBOARD_BYTES_MAX {
            return Err(Fault::invalid(format!(
                "too much to copy: terminals take {CLIPBOARD_BYTES_MAX} bytes, this is {}",
                words.len()
            )));
        }
        let coded = base64::engine::general_purpose::STANDARD.encode(words);
        self.aside(format!("\x1b]52;c;{coded}\x07").as_bytes());
        Ok(Reply::Nothing)
    }

    fn capture_mouse(&mut self, on: bool) {
        let sequence = self.guard.mouse(on);
        self.aside(sequence.as_bytes());
    }

    fn suspend(&mut self) -> Outcome<()> {
        self.guard.suspend()?;
        self.restart();
        Ok(())
    }

    /// The terminal was somebody else's meanwhile: nothing on it is known.
    fn restart(&mut self) {
        if let Some((cols, rows)) = terminal::cells() {
            self.canvas.resize((cols, rows));
            self.update(Msg::Resize(cols, rows));
        }
        self.dirty = true;
    }

    /// Finds agents and the names of keymaps and themes, beside the loop.
    fn look_around(&mut self) {
        let files = self.files.clone();
        self.runner.aside(move || {
            let choices = Msg::Choices { keymaps: files.keymaps(), themes: files.themes() };
            vec![choices, Msg::Agents(agents::on_path())]
        });
    }

    fn watch_files(&mut self) -> Option<Watch> {
        match Watch::directory(self.files.directory()) {
            Ok(watch) => Some(watch),
            Err(fault) => {
                tracing::warn!(%fault, "no hot reload");
                self.update(Msg::Notice(Level::Warning, fault.to_string()));
                None
            }
        }
    }

    /// A file changed: all are read again, for one may name another. Only what came out different
    /// is told; that another keymap or theme is named now, the state finds out.
    fn reload(&mut self) {
        let (files, changes, depth) = (self.files.clone(), self.changes.clone(), self.depth);
        let (config, keymap) = (self.state.config.clone(), self.state.keymap.clone());
        let theme = self.theme.clone();
        self.runner.aside(move || {
            let mut messages = vec![Msg::Config(files.config().map(Box::new))];
            let keys = files.keymap(&config, &keymap.name);
            if keys.as_ref().ok() != Some(&keymap) {
                messages.push(Msg::Keymap(keys.map(Box::new)));
            }
            let mut changed = None;
            match files.theme(&theme.name, depth) {
                Ok(same) if same == theme => {}
                Ok(other) => {
                    messages.push(Msg::Theme(Ok(other.name.clone())));
                    changed = Some(other);
                }
                Err(fault) => messages.push(Msg::Theme(Err(fault))),
            }
            // The loop is closing when nobody takes it.
            drop(changes.blocking_send(Change { theme: changed, messages }));
            vec![Msg::Choices { keymaps: files.keymaps(), themes: files.themes() }]
        });
    }

    fn load_keymap(&mut self, id: Option<EffectId>, name: String) {
        let (files, config) = (self.files.clone(), self.state.config.clone());
        self.runner.aside(move || {
            let keys = files.keymap(&config, &name).map(Box::new);
            let done = keys.as_ref().map(|_| Reply::Nothing).map_err(Clone::clone);
            let mut messages = vec![Msg::Keymap(keys)];
            messages.extend(id.map(|id| Msg::Done { id, result: done }));
            messages
        });
    }

    fn load_theme(&mut self, id: Option<EffectId>, name: String) {
        let (files, depth, changes) = (self.files.clone(), self.depth, self.changes.clone());
        self.runner.aside(move || {
            let theme = files.theme(&name, depth);
            let told = theme.as_ref().map(|it| it.name.clone()).map_err(Clone::clone);
            let done = told.clone().map(|_| Reply::Nothing);
            let mut messages = vec![Msg::Theme(told)];
            messages.extend(id.map(|id| Msg::Done { id, result: done }));
            drop(changes.blocking_send(Change { theme: theme.ok(), messages }));
            Vec::new()
        });
    }

    /// Zero when a frame may be drawn now.
    fn until_frame(&self, now: Duration) -> Duration {
        if self.echo_here {
            return Duration::ZERO;
        }
        let typing = self.typed_at.is_some_and(|at| now < at + TYPING_FOR);
        let every = if typing { FRAME_EVERY_MIN_TYPING } else { FRAME_EVERY_MIN };
        (self.drawn_at + every).saturating_sub(now)
    }

    /// How long until the loop must go on by itself; `None` = not before something happens.
    fn until_timer(&mut self) -> Option<Duration> {
        let now = clock::monotonic();
        let frame = (self.dirty && !self.canvas.busy()).then(|| self.until_frame(now));
        let tick = self.state.wake_at().map(|at| at.saturating_sub(now));
        frame.into_iter().chain(tick).min()
    }

    fn frame(&mut self) -> Outcome<()> {
        self.dirty |= self.state.take_dirty();
        let now = clock::monotonic();
        if !self.dirty || self.canvas.busy() || !self.until_frame(now).is_zero() {
            return Ok(());
        }
        let (state, theme) = (&self.state, &self.theme);
        self.canvas.draw(|area, buffer| ui::draw(state, theme, area, buffer))?;
        self.drawn_at = now;
        self.echo_here = false;
        self.dirty = false;
        Ok(())
    }
}
