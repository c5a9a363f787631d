//! Turns pictures into bytes: the difference to the last one, as one synchronised update in one
//! write. What the terminal does not take at once is written by a thread of its own, so that a slow terminal
//! delays frames and never keys.

use std::{os::fd::OwnedFd, sync::Arc};

use ratatui::{
    backend::{Backend, CrosstermBackend},
    buffer::Buffer,
    layout::{Position, Rect},
    style::Modifier,
};
use tokio::sync::mpsc;

use super::terminal;
use crate::{
    app::files::Graphic,
    base::fault::{Fault, Outcome},
    vt::touched::Touched,
};

const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";
const HIDE_CURSOR: &[u8] = b"\x1b[?25l";
const SHOW_CURSOR: &[u8] = b"\x1b[?25h";
const CLEAR: &[u8] = b"\x1b[0m\x1b[2J";

/// What the terminal shows, and the way to change it.
pub struct Canvas {
    shown: Buffer,
    next: Buffer,
    cursor: Option<Position>,
    /// The terminal's contents are not known: clear it and draw everything.
    afresh: bool,
    /// Bytes to go out with the next frame, or alone: title, clipboard, mouse mode.
    aside: Vec<u8>,
    /// A picture that the terminal shows by itself.
    graphic: Option<(Rect, Arc<Graphic>)>,
    pen: Pen,
}

impl Canvas {
    pub fn new((cols, rows): (u16, u16)) -> Outcome<Self> {
        let empty = Buffer::empty(Rect::new(0, 0, cols, rows));
        let pen = Pen::start()?;
        Ok(Self {
            shown: empty.clone(),
            next: empty,
            cursor: None,
            afresh: true,
            aside: Vec::new(),
            graphic: None,
            pen,
        })
    }

    /// Follows the terminal's size.
    pub fn resize(&mut self, (cols, rows): (u16, u16)) {
        let empty = Buffer::empty(Rect::new(0, 0, cols, rows));
        (self.shown, self.next) = (empty.clone(), empty);
        self.afresh = true;
    }

    /// Forgets what the terminal shows.
    pub fn redraw(&mut self) {
        self.afresh = true;
    }

    /// Puts a control sequence of our own in front of the next frame.
    pub fn send(&mut self, sequence: &[u8]) {
        self.aside.extend_from_slice(sequence);
    }

    /// The last frame has not been written out yet; a new one has to wait.
    pub fn busy(&self) -> bool {
        self.pen.busy
    }

    /// Resolves when the last frame is out; the error is the terminal's.
    pub async fn written(&mut self) -> Outcome<()> {
        self.pen.written().await
    }

    /// Draws a picture, or only the rows of it that may have changed: `paint` is given the area of all and a
    /// buffer of what to draw. The terminal is given `graphic` to show where nothing is drawn. Writes nothing when nothing
    /// changed. Must not be called while `busy`.
    pub fn draw(
        &mut self,
        touched: Touched,
        graphic: Option<(Rect, &Arc<Graphic>)>,
        paint: impl FnOnce(Rect, &mut Buffer) -> Option<Position>,
    ) -> Outcome<()> {
        let mut bytes = std::mem::take(&mut self.aside);
        let before = bytes.len();
        let (other, shows) = self.make_way(graphic, &mut bytes);
        let touched = if other { Touched::All } else { touched };
        match touched {
            Touched::Rows(from, to) if !self.afresh => {
                self.draw_rows((from, to), paint, &mut bytes)?;
            }
            _ => self.draw_all(paint, &mut bytes)?,
        }
        if shows && let Some((area, graphic)) = &self.graphic {
            show(*area, graphic, self.cursor, &mut bytes);
        }
        if self.afresh || bytes.len() > before {
            let mut framed = Vec::with_capacity(bytes.len() + 64);
            framed.extend_from_slice(BEGIN);
            framed.append(&mut bytes);
            framed.extend_from_slice(END);
            bytes = framed;
        }
        self.afresh = false;
        if bytes.is_empty() { Ok(()) } else { self.pen.write(bytes) }
    }

    /// Takes away the picture that the terminal shows, if it is not the one that is wanted; whether it is another,
    /// and whether one is to be given to it.
    fn make_way(
        &mut self,
        wanted: Option<(Rect, &Arc<Graphic>)>,
        bytes: &mut Vec<u8>,
    ) -> (bool, bool) {
        let same = match (&self.graphic, wanted) {
            (Some((at, shown)), Some((area, graphic))) => {
                *at == area && Arc::ptr_eq(shown, graphic)
            }
            (None, None) => true,
            _ => false,
        };
        if same && !self.afresh {
            return (false, false);
        }
        if let Some((area, shown)) = self.graphic.take() {
            match shown.wiped_by {
                Some(wipe) => bytes.extend_from_slice(wipe),
                None => self.forget(area),
            }
        }
        self.graphic = wanted.map(|(area, graphic)| (area, Arc::clone(graphic)));
        (true, self.graphic.is_some())
    }

    /// What the terminal shows there is not what was drawn: all of it is drawn again.
    fn forget(&mut self, area: Rect) {
        for position in area.intersection(self.shown.area).positions() {
            if let Some(cell) = self.shown.cell_mut(position) {
                // No cell that is drawn has that.
                cell.modifier = Modifier::all();
            }
        }
    }

    fn draw_all(
        &mut self,
        paint: impl FnOnce(Rect, &mut Buffer) -> Option<Position>,
        bytes: &mut Vec<u8>,
    ) -> Outcome<()> {
        let (mut shown, mut next) =
            (std::mem::take(&mut self.shown), std::mem::take(&mut self.next));
        next.reset();
        if self.afresh {
            shown.reset();
            bytes.extend_from_slice(CLEAR);
        }
        let area = next.area;
        let cursor = paint(area, &mut next).filter(|it| area.contains(*it));
        let told = self.difference(&shown, &mut next, cursor, bytes);
        (self.shown, self.next) = (next, shown);
        told
    }

    fn draw_rows(
        &mut self,
        (from, to): (u16, u16),
        paint: impl FnOnce(Rect, &mut Buffer) -> Option<Position>,
        bytes: &mut Vec<u8>,
    ) -> Outcome<()> {
        let area = self.shown.area;
        let height = to.saturating_sub(from).saturating_add(1);
        let part = Rect { y: from, height, ..area }.intersection(area);
        let start = usize::from(part.y.saturating_sub(area.y)) * usize::from(area.width);
        let cells = start..start + usize::from(part.width) * usize::from(part.height);
        let content = self.shown.content.get(cells.clone()).unwrap_or_default().to_vec();
        let shown = Buffer { area: part, content };
        let mut next = Buffer::empty(part);
        let cursor = paint(area, &mut next).filter(|it| area.contains(*it));
        self.difference(&shown, &mut next, cursor, bytes)?;
        let cells = self.shown.content.get_mut(cells).unwrap_or_default();
        cells.iter_mut().zip(next.content).for_each(|(cell, next)| *cell = next);
        Ok(())
    }

    fn difference(
        &mut self,
        shown: &Buffer,
        next: &mut Buffer,
        cursor: Option<Position>,
        bytes: &mut Vec<u8>,
    ) -> Outcome<()> {
        tame(next);
        let changes = shown.diff(next);
        let before = std::mem::replace(&mut self.cursor, cursor);
        if changes.is_empty() && cursor == before && !self.afresh {
            return Ok(());
        }
        if before.is_some() {
            bytes.extend_from_slice(HIDE_CURSOR);
        }
        if !changes.is_empty() {
            let mut backend = CrosstermBackend::new(&mut *bytes);
            backend
                .draw(changes.into_iter())
                .map_err(|error| Fault::io("write a frame", &error))?;
        }
        if let Some(Position { x, y }) = cursor {
            bytes.extend_from_slice(format!("\x1b[{};{}H", y + 1, x + 1).as_bytes());
            bytes.extend_from_slice(SHOW_CURSOR);
        }
        Ok(())
    }
}

/// Gives the terminal a picture to show, and the cursor back.
fn show(area: Rect, graphic: &Graphic, cursor: Option<Position>, bytes: &mut Vec<u8>) {
    let to = |x: u16, y: u16| format!("\x1b[{};{}H", y + 1, x + 1);
    bytes.extend_from_slice(b"\x1b[0m");
    bytes.extend_from_slice(to(area.x, area.y).as_bytes());
    bytes.extend_from_slice(&graphic.bytes);
    if let Some(Position { x, y }) = cursor {
        bytes.extend_from_slice(to(x, y).as_bytes());
    }
}

/// No cell may act on the terminal, whoever filled it: the last of several such checks.
fn tame(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        if symbol.len() == 1
            && symbol.as_bytes().first().is_some_and(|it| (0x20..0x7f).contains(it))
        {
            continue;
        }
        if symbol.chars().any(char::is_control) {
            cell.set_symbol("\u{fffd}");
        }
    }
}

/// Writes one frame at a time: at once what the terminal takes, the rest by a thread.
struct Pen {
    /// `None` where the terminal can't be opened once more; then the thread writes all.
    prompt: Option<OwnedFd>,
    frames: mpsc::Sender<Vec<u8>>,
    done: mpsc::Receiver<std::io::Result<()>>,
    busy: bool,
}

impl Pen {
    fn start() -> Outcome<Self> {
        let (frames, mut waiting) = mpsc::channel::<Vec<u8>>(1);
        let (tell, done) = mpsc::channel(1);
        let body = move || {
            while let Some(frame) = waiting.blocking_recv() {
                if tell.blocking_send(terminal::write_frame(&frame)).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new()
            .name("pen".to_owned())
            .spawn(body)
            .map_err(|error| Fault::io("start the thread that writes", &error))?;
        Ok(Self { prompt: terminal::open_prompt(), frames, done, busy: false })
    }

    fn write(&mut self, mut bytes: Vec<u8>) -> Outcome<()> {
        if let Some(prompt) = &self.prompt {
            let taken = terminal::write_at_once(prompt, &bytes)
                .map_err(|error| Fault::io("write to the terminal", &error))?;
            if taken >= bytes.len() {
                return Ok(());
            }
            bytes.drain(..taken);
        }
        let sent = self.frames.try_send(bytes);
        sent.map_err(|_| Fault::bug("a frame was drawn before the last one was written"))?;
        self.busy = true;
        Ok(())
    }

    async fn written(&mut self) -> Outcome<()> {
        let result = self.done.recv().await;
        self.busy = false;
        match result {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(Fault::io("write to the terminal", &error)),
            None => Err(Fault::bug("the thread that writes has ended")),
        }
    }
}
