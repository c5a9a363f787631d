//! The screen of a session as it was at a moment, and what it printed from then on. Each segment opens with a keyframe, so that
//! a moment is found by the segments' first records and costs the output of one segment at most.

use std::path::Path;

use super::{
    keep::last_change,
    lock,
    meta::Meta,
    reader::Reader,
    record::Record,
    segment::{self, Cursor, Entry, Segment},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        limits::{REPLAY_BYTES_MAX, REPLAY_PIECES_MAX},
    },
    model::{
        replay::{Moment, Replay, Step, Stepped},
        session::ExitStatus,
    },
    vt::Screen,
};

/// The screen at a moment: before the beginning it is the first there is, and after the end the last.
pub fn replay(dir: &Path, moment: Moment) -> Outcome<Replay> {
    let segments = segment::list(dir)?;
    let none = || Fault::absent(format!("nothing is left of the recording: {}", dir.display()));
    let first = segments.first().ok_or_else(none)?;
    let mut found = None;
    // One that is damaged at its beginning, or dropped meanwhile, costs itself.
    for segment in segments.iter().rev() {
        let opens = opening(dir, *segment);
        let fits = match moment {
            Moment::At(at) => opens.is_some_and(|it| it <= at),
            Moment::Before(offset) => opens.is_some() && segment.start <= offset,
        };
        if fits || (segment == first && found.is_none()) {
            found = Some(segment.start);
            break;
        }
    }
    let start = found.ok_or_else(none)?;
    let mut past = Past::open(dir, start, moment)?;
    past.wind()?;
    past.told(dir)
}

/// From when to when something is kept.
pub(super) struct Extent {
    pub begins_at: Timestamp,
    /// Now, of one that is being written.
    pub ends_at: Timestamp,
    pub live: bool,
}

/// How far a recording reaches. What is damaged or dropped at its beginning is not in it; a clock that was set back while it
/// was written makes both ends uncertain.
pub(super) fn extent(dir: &Path) -> Outcome<Extent> {
    let segments = segment::list(dir)?;
    let opens = segments.iter().find_map(|it| Some((it.start, opening(dir, *it)?)));
    let Some((start, opens)) = opens else {
        let words = format!("no screen can be read of the recording: {}", dir.display());
        return Err(Fault::failed(words));
    };
    // One that is damaged is shown all the same.
    let meta = Meta::load(dir).ok();
    let started_at = meta.as_ref().map(|it| it.started_at).filter(|_| start == 0);
    let live = lock::is_live(dir);
    let ended_at = meta.and_then(|it| it.ended_at).or_else(|| last_change(dir));
    let ends_at = if live { clock::wall() } else { ended_at.unwrap_or(opens) };
    Ok(Extent {
        begins_at: started_at.unwrap_or(opens).min(opens),
        ends_at: ends_at.max(opens),
        live,
    })
}

/// When the keyframe was written that opens a segment; `None` where there is none that can be read.
fn opening(dir: &Path, segment: Segment) -> Option<Timestamp> {
    let entry = Cursor::open(dir, segment.start)?.read()?;
    matches!(entry.record, Record::Keyframe { .. }).then_some(entry.at)
}

struct Past {
    reader: Reader,
    moment: Moment,
    screen: Option<Screen>,
    at: Option<Timestamp>,
    /// Offset of the next byte.
    offset: u64,
    exit: Option<ExitStatus>,
    /// The first that is not on the screen.
    next: Option<Entry>,
}

impl Past {
    fn open(dir: &Path, start: u64, moment: Moment) -> Outcome<Self> {
        let reader = Reader::open(dir, start)?;
        Ok(Self { reader, moment, screen: None, at: None, offset: start, exit: None, next: None })
    }

    /// Feeds the screen with all that was printed up to the moment.
    fn wind(&mut self) -> Outcome<()> {
        while let Some(mut entry) = self.reader.read()? {
            // There has to be a screen, whenever that was.
            if self.screen.is_some() && self.is_later(&mut entry) {
                self.next = Some(entry);
                return Ok(());
            }
            let gap = entry.offset > self.offset;
            match (entry.record, &mut self.screen) {
                (Record::Keyframe { size, state }, screen) if screen.is_none() || gap => {
                    *screen = Some(Screen::from_keyframe(size, &state));
                    self.offset = entry.offset;
                }
                (Record::Output(bytes), Some(screen)) => {
                    screen.feed(&bytes);
                    self.offset = entry.offset + bytes.len() as u64;
                }
                (Record::Resize(size), Some(screen)) => screen.resize(size),
                (Record::Exit(status), _) => self.exit = Some(status),
                // What comes before the first keyframe of a damaged recording can't be shown.
                _ => {}
            }
            self.at = Some(self.at.map_or(entry.at, |it| it.max(entry.at)));
        }
        Ok(())
    }

    /// Whether it came after the moment. What came partly before that is cut, and that part fed.
    fn is_later(&mut self, entry: &mut Entry) -> bool {
        match self.moment {
            Moment::At(at) => entry.at > at,
            Moment::Before(offset) => match &mut entry.record {
                Record::Output(bytes) => {
                    let before = offset.saturating_sub(entry.offset);
                    let before = usize::try_from(before).unwrap_or(usize::MAX);
                    if before >= bytes.len() {
                        return false;
                    }
                    let front = bytes.split_to(before);
                    if let Some(screen) = self.screen.as_mut().filter(|_| !front.is_empty()) {
                        screen.feed(&front);
                        entry.offset += front.len() as u64;
                        self.offset = entry.offset;
                        self.at = Some(entry.at);
                    }
                    true
                }
                _ => entry.offset > offset,
            },
        }
    }

    fn told(mut self, dir: &Path) -> Outcome<Replay> {
        let Some(screen) = self.screen.take() else {
            let words = format!("no screen can be read of the recording: {}", dir.display());
            return Err(Fault::failed(words));
        };
        let (offset, at) = (self.offset, self.at.unwrap_or(Timestamp(0)));
        let (steps, at_end) = self.steps()?;
        let extent = extent(dir)?;
        let last = steps.iter().map(|it| it.at).max().unwrap_or(at);
        Ok(Replay {
            begins_at: extent.begins_at.min(at),
            ends_at: extent.ends_at.max(last).max(at),
            live: extent.live,
            at,
            offset,
            size: screen.size(),
            state: screen.keyframe().into(),
            exit: self.exit,
            steps,
            at_end,
        })
    }

    /// What comes then, within the bounds, and whether that is all.
    fn steps(&mut self) -> Outcome<(Vec<Stepped>, bool)> {
        let (mut steps, mut bytes) = (Vec::new(), 0);
        loop {
            let next = match self.next.take() {
                Some(next) => next,
                None => match self.reader.read()? {
                    Some(next) => next,
                    None => return Ok((steps, true)),
                },
            };
            let (at, offset) = (next.at, next.offset);
            let gap = offset > self.offset;
            let (step, size) = match next.record {
                Record::Output(out) => {
                    self.offset = offset + out.len() as u64;
                    let size = out.len();
                    (Step::Output(out), size)
                }
                Record::Resize(size) => (Step::Resize(size), 0),
                Record::Exit(status) => (Step::Exit(status), 0),
                // Between two segments without a gap it says what is known.
                Record::Keyframe { size, state } if gap => {
                    self.offset = offset;
                    let bytes = state.len();
                    (Step::Screen { size, state }, bytes)
                }
                Record::Keyframe { .. } | Record::Lost(_) => continue,
            };
            if !steps.is_empty()
                && (bytes + size > REPLAY_BYTES_MAX || steps.len() >= REPLAY_PIECES_MAX)
            {
                return Ok((steps, false));
            }
            bytes += size;
            steps.push(Stepped { at, offset, step });
        }
    }
}
