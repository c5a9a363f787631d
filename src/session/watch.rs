//! One watcher of a session: a cursor of its own into the ring, the journal when it needs every
//! byte and the ring has moved on, a keyframe when it only needs the screen.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    host::{Live, Shared},
    journal::{Reader, Record},
    marks::Mark,
    seat::BoxStream,
    unfold::unfold,
};
use crate::{
    base::{
        clock,
        fault::Outcome,
        limits::{
            AFTER_KEYFRAME_BYTES_MAX, KEYFRAME_EVERY_MIN, LAG_BYTES_MAX, PTY_CHUNK_BYTES_MAX,
        },
    },
    model::output::{Fidelity, From, Output, OutputRequest},
    vt::Screen,
};

/// What to do next, decided under the lock, done without it.
enum Next {
    Send(Output),
    /// Nothing to send before this much time has passed.
    Pause(Duration),
    /// Nothing to send until something happens.
    Wait,
    /// The bytes wanted are only in the journal.
    Journal,
    End,
}

struct Watch {
    shared: Arc<Shared>,
    request: OutputRequest,
    /// Offset of the next byte and number of the next mark.
    cursor: u64,
    mark: u64,
    begun: bool,
    ended: bool,
    /// Set while reading from the journal.
    journal: Option<Reader>,
    /// Read from the journal, not sent yet.
    ready: VecDeque<Output>,
    pace: Pace,
}

/// How much was sent in the frame that began at `since`.
#[derive(Default)]
struct Pace {
    since: Option<Duration>,
    bytes: u64,
    bytes_max: u64,
}

/// Starts watching. The stream does nothing unless polled; dropping it is the end of it.
pub(super) fn start(shared: Arc<Shared>, request: OutputRequest) -> BoxStream<Outcome<Output>> {
    let watch = Watch {
        shared,
        request,
        cursor: 0,
        mark: 0,
        begun: false,
        ended: false,
        journal: None,
        ready: VecDeque::new(),
        pace: Pace::default(),
    };
    unfold(watch, |mut watch| async move {
        let next = watch.next().await;
        (watch, next)
    })
}

impl Watch {
    async fn next(&mut self) -> Option<Outcome<Output>> {
        let shared = Arc::clone(&self.shared);
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(Ok(ready));
            }
            // Registered before looking, so that nothing is missed in between.
            let mut woken = std::pin::pin!(shared.woken.notified());
            woken.as_mut().enable();
            let next = self.decide(&shared.live());
            match next {
                Next::Send(output) => return Some(Ok(output)),
                Next::Pause(time) => tokio::time::sleep(time).await,
                Next::Wait => woken.await,
                Next::End => return None,
                Next::Journal => match self.read_journal() {
                    Ok(true) => {}
                    Ok(false) => self.leave_journal(&shared.live()),
                    Err(fault) => {
                        self.ended = true;
                        return Some(Err(fault));
                    }
                },
            }
        }
    }

    fn decide(&mut self, live: &Live) -> Next {
        if self.ended {
            return Next::End;
        }
        if !self.begun {
            self.begun = true;
            if let Some(first) = self.begin(live) {
                return Next::Send(first);
            }
        }
        let end = live.ring.end();
        if self.journal.is_some() {
            if self.cursor < live.ring.start() || !live.marks.complete_from(self.cursor) {
                return Next::Journal;
            }
            self.journal = None;
            self.mark = live.marks.from(self.cursor);
        }
        let known = self.cursor >= live.ring.start() && self.mark >= live.marks.range().0;
        match self.request.fidelity {
            Fidelity::Full if !known => return Next::Journal,
            Fidelity::Screen if !known || end - self.cursor > self.lag_max() => {
                return self.catch_up(live);
            }
            _ => {}
        }
        let mark = live.marks.get(self.mark).filter(|it| it.0 <= self.cursor);
        if let Some((offset, mark)) = mark {
            self.mark += 1;
            return Next::Send(self.mark_output(*offset, mark));
        }
        if self.cursor >= end {
            return if live.closed { Next::End } else { Next::Wait };
        }
        let until = live.marks.get(self.mark).map_or(end, |it| it.0.min(end));
        self.chunk(live, until)
    }

    /// The first message, and where to go on from.
    fn begin(&mut self, live: &Live) -> Option<Output> {
        let end = live.ring.end();
        match (self.request.from, self.request.fidelity) {
            (From::Offset(offset), _) if offset <= end => {
                self.cursor = offset;
                self.mark = live.marks.from(offset);
                None
            }
            (From::Start, _) if live.ring.start() == 0 && live.marks.range().0 == 0 => {
                Some(Output::Resize { offset: 0, size: live.first_size })
            }
            (From::Start, Fidelity::Full) => {
                self.journal = Reader::open(&self.shared.journal_dir, 0).ok();
                self.journal.is_none().then(|| self.begin_in_ring(live))
            }
            _ => Some(self.keyframe(live, 0)),
        }
    }

    /// From the oldest byte still in memory, where no journal has what came before. Bytes are what is asked
    /// for here, so they begin on a blank screen rather than be left out for a right one.
    fn begin_in_ring(&mut self, live: &Live) -> Output {
        let offset = live.ring.start();
        self.cursor = offset;
        self.mark = live.marks.from(offset);
        if offset == 0 {
            return Output::Resize { offset, size: live.first_size };
        }
        let size = live.screen.size();
        let state = Bytes::from(Screen::new(size).keyframe());
        Output::Keyframe { offset, size, state, lost: offset }
    }

    fn mark_output(&mut self, offset: u64, mark: &Mark) -> Output {
        match mark {
            Mark::Resize(size) => Output::Resize { offset, size: *size },
            Mark::Fact(fact) => Output::Fact { offset, fact: fact.clone() },
            Mark::Exit(status) => {
                self.ended = true;
                Output::Exit { offset, status: *status }
            }
        }
    }

    /// A thumbnail is not worth more than one chunk between two pictures.
    fn lag_max(&self) -> u64 {
        match self.request.every_at_least {
            Some(_) => PTY_CHUNK_BYTES_MAX as u64,
            None => LAG_BYTES_MAX,
        }
    }

    fn frame_time(&self) -> Duration {
        self.request.every_at_least.unwrap_or_default().max(KEYFRAME_EVERY_MIN)
    }

    /// The rest of the current frame; `None` when a new one may begin.
    fn rest_of_frame(&self, now: Duration) -> Option<Duration> {
        let until = self.pace.since? + self.frame_time();
        until.checked_sub(now).filter(|it| !it.is_zero())
    }

    fn catch_up(&mut self, live: &Live) -> Next {
        if let Some(rest) = self.rest_of_frame(clock::monotonic()) {
            return Next::Pause(rest);
        }
        let lost = live.ring.end().saturating_sub(self.cursor);
        Next::Send(self.keyframe(live, lost))
    }

    fn keyframe(&mut self, live: &Live, lost: u64) -> Output {
        let (size, state) = live.keyframe();
        self.cursor = live.ring.end();
        // The exit is the one mark that a picture does not show.
        let next = live.marks.range().1;
        let exit = next.checked_sub(1).and_then(|it| live.marks.get(it));
        self.mark = if matches!(exit, Some((_, Mark::Exit(_)))) { next - 1 } else { next };
        self.pace =
            Pace { since: Some(clock::monotonic()), bytes: 0, bytes_max: AFTER_KEYFRAME_BYTES_MAX };
        Output::Keyframe { offset: self.cursor, size, state, lost }
    }

    fn chunk(&mut self, live: &Live, until: u64) -> Next {
        let mut most = (until - self.cursor).min(PTY_CHUNK_BYTES_MAX as u64);
        if self.request.fidelity == Fidelity::Screen {
            let now = clock::monotonic();
            match self.rest_of_frame(now) {
                Some(rest) => {
                    let left = self.pace.bytes_max.saturating_sub(self.pace.bytes);
                    if left == 0 || self.request.every_at_least.is_some() {
                        return Next::Pause(rest);
                    }
                    most = most.min(left);
                }
                None => {
                    self.pace = Pace { since: Some(now), bytes: 0, bytes_max: LAG_BYTES_MAX };
                }
            }
            self.pace.bytes += most;
        }
        let Some(bytes) = live.ring.read(self.cursor, most as usize).map(Bytes::from) else {
            return Next::Journal;
        };
        let offset = self.cursor;
        self.cursor += bytes.len() as u64;
        Next::Send(Output::Chunk { offset, bytes })
    }

    /// Reads on in the journal; `false` when it has nothing more.
    fn read_journal(&mut self) -> Outcome<bool> {
        let mut reader = match self.journal.take() {
            Some(reader) => reader,
            // None was made, or it can't be read: the same as one that has nothing more.
            None => match Reader::open(&self.shared.journal_dir, self.cursor) {
                Ok(reader) => reader,
                Err(fault) => {
                    tracing::debug!(%fault, "a watcher goes on without a journal");
                    return Ok(false);
                }
            },
        };
        let first = self.request.from == From::Start && self.cursor == 0;
        let entry = reader.read()?;
        self.journal = Some(reader);
        let Some(entry) = entry else { return Ok(false) };
        let offset = entry.offset;
        match entry.record {
            Record::Keyframe { size, .. } if offset == 0 && first => {
                self.ready.push_back(Output::Resize { offset, size });
            }
            Record::Keyframe { size, state } if offset > self.cursor => {
                // Bytes are missing here: dropped to stay within bounds, or a full disk.
                let lost = offset - self.cursor;
                self.cursor = offset;
                self.ready.push_back(Output::Keyframe { offset, size, state, lost });
            }
            Record::Output(bytes) => {
                let skip =
                    usize::try_from(self.cursor.saturating_sub(offset)).unwrap_or(usize::MAX);
                if skip < bytes.len() {
                    let bytes = bytes.slice(skip..);
                    let offset = self.cursor;
                    self.cursor += bytes.len() as u64;
                    self.ready.push_back(Output::Chunk { offset, bytes });
                }
            }
            Record::Resize(size) if offset >= self.cursor => {
                self.ready.push_back(Output::Resize { offset, size });
            }
            // The exit comes from the session itself.
            _ => {}
        }
        Ok(true)
    }

    /// The journal ends before the ring begins: journaling is paused. What is not there is lost
    /// and said to be.
    fn leave_journal(&mut self, live: &Live) {
        if self.cursor >= live.ring.start() && live.marks.complete_from(self.cursor) {
            self.mark = self.mark.max(live.marks.from(self.cursor));
            return;
        }
        self.journal = None;
        if self.cursor == 0 && self.request.from == From::Start {
            let first = self.begin_in_ring(live);
            self.ready.push_back(first);
            return;
        }
        let lost = live.ring.end().saturating_sub(self.cursor);
        let keyframe = self.keyframe(live, lost);
        self.ready.push_back(keyframe);
    }
}
