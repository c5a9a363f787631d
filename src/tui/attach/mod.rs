//! One session on the whole terminal. What the program prints is interpreted and redrawn, so that
//! no escape sequence from a sandbox reaches the operator's terminal as it is.

mod feed;
mod status;
mod typing;

use std::{sync::Arc, time::Duration};

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::{Modifier, Style},
};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;

use self::{
    feed::Seen,
    status::Status,
    typing::{Keyboard, LEASE, Typing},
};
use super::{
    canvas::Canvas,
    keyboard,
    lane::Lane,
    probe,
    signals::{Signal, Signals},
    terminal::{self, Guard},
};
use crate::{
    app::chord::Chord,
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{ClientId, SessionId},
        limits::{CONSOLE_ANSWERS_MAX, FRAME_EVERY_MIN, FRAME_EVERY_MIN_TYPING, TYPING_FOR},
        text,
    },
    model::{
        output::{Fidelity, From, Output, OutputRequest},
        session::{ExitStatus, Session},
    },
    runtime::{LeaseVerb, Link, Runtime},
    vt::{
        View,
        screen::{MouseMode, Screen},
        touched::Touched,
    },
};

/// Messages of the output read ahead.
const OUTPUTS_MAX: usize = 8;
/// How long what was typed last may take to reach the hub when leaving.
const FINISH_WITHIN: Duration = Duration::from_millis(500);

/// How an attachment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Detached,
    Exited(ExitStatus),
    /// A signal told this process to end.
    Signalled(i32),
}

/// Runs until the program ends, the operator leaves, or a signal comes.
pub async fn run(
    runtime: &Arc<dyn Runtime>,
    session: &Session,
    name: &str,
    leader: Chord,
    read_only: bool,
) -> Outcome<Ending> {
    let cells = terminal::cells().ok_or_else(|| Fault::failed("stdout is not a terminal"))?;
    let mut signals = Signals::new()?;
    let asked = probe::ask(false)?;
    terminal::hook_panics(|_| {});
    let guard = Guard::enter(asked.answers, asked.raw)?;
    let mut events = keyboard::listen(asked.ahead, asked.late, keyboard::Hold::default())?;
    let (outputs, mut waiting) = mpsc::channel(OUTPUTS_MAX);
    let follow = tokio::spawn(relay(runtime.clone(), session.id.clone(), outputs));
    let (seer, mut seen) = watch::channel(Seen::default());
    let of = (session.sandbox.clone(), session.id.clone());
    let feed = tokio::spawn(feed::follow(runtime.clone(), of, seer));
    let (sender, mut done) = mpsc::channel(CONSOLE_ANSWERS_MAX);
    let lane = Lane::open(runtime.clone(), session.id.clone(), sender);
    let mut attached = Attached {
        runtime: runtime.clone(),
        session: session.id.clone(),
        view: View::new(Screen::new(session.size)),
        canvas: Canvas::new(cells)?,
        guard,
        lane,
        held: None,
        keyboard: if read_only { Keyboard::Unwanted } else { Keyboard::Refused },
        typing: Typing::behind(leader),
        status: Status::default(),
        words: None,
        covered: true,
        dirty: true,
        drawn_at: Duration::ZERO,
        ended: None,
    };
    let mut link = runtime.link();
    if let Some(link) = &mut link {
        link.mark_changed();
    }
    attached.title(name);
    if !read_only {
        attached.ask_for_keyboard(LeaseVerb::Take)?;
    }
    attached.say(format!("{name}: {leader} d leaves it, and it keeps running"));
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
            link = changed(link.as_mut()) => attached.link(&link),
            it = changed(Some(&mut seen)) => attached.seen(it),
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
    feed.abort();
    attached.leave().await;
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

/// The newest value, each time there is one.
async fn changed<T: Clone>(of: Option<&mut watch::Receiver<T>>) -> T {
    if let Some(of) = of
        && of.changed().await.is_ok()
    {
        return of.borrow_and_update().clone();
    }
    // An engine in this process can't be lost, and who tells no more has told so.
    std::future::pending().await
}

struct Attached {
    runtime: Arc<dyn Runtime>,
    session: SessionId,
    view: View,
    canvas: Canvas,
    guard: Guard,
    lane: Lane,
    keyboard: Keyboard,
    /// Who we are and since when it is ours, by the hub; what the feed tells of before that is old.
    held: Option<(ClientId, Timestamp)>,
    typing: Typing,
    status: Status,
    /// What was drawn of it.
    words: Option<String>,
    /// Words were drawn last.
    covered: bool,
    dirty: bool,
    drawn_at: Duration,
    ended: Option<Ending>,
}

impl Attached {
    /// What was typed last goes out, and the keyboard back.
    async fn leave(self) {
        let Self { lane, keyboard, .. } = self;
        if matches!(keyboard, Keyboard::Ours | Keyboard::Asked) {
            // Full or late: the lease returns by itself.
            drop(lane.lease(LEASE, LeaseVerb::Release));
        }
        let _ = tokio::time::timeout(FINISH_WITHIN, lane.finish()).await;
    }

    fn title(&mut self, name: &str) {
        let sequence = format!("\x1b]2;sandwatch: {}\x07", text::visible(name));
        self.canvas.send(sequence.as_bytes());
    }

    fn say(&mut self, words: impl Into<String>) {
        self.status.say(words, clock::monotonic());
    }

    fn link(&mut self, link: &Link) {
        if self.status.link(link) {
            self.take_again();
        }
    }

    fn seen(&mut self, seen: Seen) {
        self.status.paused(seen.paused);
        if let Some(holder) = seen.holder {
            self.lost_to(&holder);
        }
    }

    fn signal(&mut self, signal: Signal) -> Outcome<()> {
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

    fn output(&mut self, output: Output) {
        let now = clock::monotonic();
        self.dirty |= match output {
            Output::Chunk { bytes, .. } => self.view.feed(&bytes, now),
            Output::Keyframe { size, state, lost, .. } => {
                self.status.skipped(lost, now);
                self.view.replace(Screen::from_keyframe(size, &state), now)
            }
            Output::Resize { size, .. } => {
                self.view.resize(size);
                true
            }
            Output::Fact { .. } => false,
            Output::Exit { status, .. } => {
                self.view.release();
                self.ended = Some(Ending::Exited(status));
                true
            }
        };
        let wanted = self.view.screen().modes().mouse != MouseMode::Off;
        let sequence = self.guard.mouse(wanted && self.keyboard == Keyboard::Ours);
        self.canvas.send(sequence.as_bytes());
    }

    /// Frames come at once after a rest, else at a bounded rate, higher while somebody types.
    fn until_frame(&self) -> Duration {
        let now = clock::monotonic();
        let typing = self.typing.at.is_some_and(|at| now < at + TYPING_FOR);
        let every = if typing { FRAME_EVERY_MIN_TYPING } else { FRAME_EVERY_MIN };
        (self.drawn_at + every).saturating_sub(now)
    }

    /// How long until something must be done though nothing happens; `None` = nothing.
    fn until_timer(&self) -> Option<Duration> {
        let now = clock::monotonic();
        let frame = (self.dirty && !self.canvas.busy()).then(|| self.until_frame());
        let held = self.view.held_until().map(|it| it.saturating_sub(now));
        frame.into_iter().chain(held).chain(self.status.until_change(now)).min()
    }

    fn settled(&self) -> bool {
        // The last picture is not waited for when the operator leaves.
        !matches!(self.ended, Some(Ending::Exited(_))) || !(self.dirty || self.canvas.busy())
    }

    fn frame(&mut self) -> Outcome<()> {
        let now = clock::monotonic();
        self.dirty |= self.view.settle(now);
        let words = self.status.words(now);
        if words != self.words {
            self.words = words;
            self.dirty = true;
        }
        if !self.dirty || self.canvas.busy() || !self.until_frame().is_zero() {
            return Ok(());
        }
        let touched = self.view.take_touched();
        // Words lie over a row of the picture, now or before.
        let touched = match self.words.is_none() && !self.covered {
            true => touched,
            false => Touched::All,
        };
        self.covered = self.words.is_some();
        let (screen, words) = (self.view.screen(), self.words.as_deref());
        self.canvas.draw(touched, None, |area, buffer| picture(screen, words, area, buffer))?;
        self.drawn_at = clock::monotonic();
        self.dirty = false;
        Ok(())
    }
}

/// The screen, and over it a line of words: the last one, or the first where the last has the cursor.
fn picture(
    screen: &Screen,
    words: Option<&str>,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    let cursor = super::picture::draw(screen, area, buffer);
    let Some(words) = words.filter(|_| area.height > 0) else { return cursor };
    let last = area.bottom() - 1;
    let row = if cursor.is_some_and(|it| it.y == last) { area.y } else { last };
    let shown = text::clip(&format!(" {words} "), usize::from(area.width));
    let style = Style::default().add_modifier(Modifier::REVERSED);
    buffer.set_style(Rect::new(area.x, row, area.width, 1), style);
    buffer.set_stringn(area.x, row, " ".repeat(area.width.into()), area.width.into(), style);
    buffer.set_string(area.x, row, shown, style);
    cursor.filter(|it| it.y != row)
}
