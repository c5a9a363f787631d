//! What sessions printed, read from their journals: scrollback, search, recordings, and sessions
//! whose host is gone. Everything blocks on files, so it runs on threads for that, few at a time.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;

use super::{
    Inner,
    turns::{on_demand, taking_turns},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{HISTORY_LINES_MAX, PATTERN_BYTES_MAX, SEARCH_HITS_MAX},
        units::Size,
    },
    model::{
        history::{HistoryPage, HistoryRequest, Recording, SearchPage, SearchRequest},
        output::{From, Output, OutputRequest},
        replay::{FindPage, FindRequest, Moment, Replay, Span},
    },
    runtime::{BoxStream, ScreenShot},
    session::journal::{self, Reader, Record},
    vt::Screen,
};

impl Inner {
    /// Runs something that reads journals, when it is its turn.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        taking_turns(Arc::clone(&self.readers), work).await
    }

    /// The directory of a session's journal, if there is one.
    fn journal(&self, id: &SessionId) -> Outcome<PathBuf> {
        let dir = self.paths.recording(id);
        if dir.is_dir() {
            return Ok(dir);
        }
        self.fleet().of_session(id)?;
        Err(Fault::absent(format!("nothing is kept of session {id}")))
    }

    pub(super) async fn history(
        &self,
        id: &SessionId,
        mut request: HistoryRequest,
    ) -> Outcome<HistoryPage> {
        request.lines = request.lines.clamp(1, HISTORY_LINES_MAX);
        let dir = self.journal(id)?;
        self.reading(move || journal::history(&dir, &request)).await
    }

    pub(super) async fn search(
        &self,
        id: &SessionId,
        mut request: SearchRequest,
    ) -> Outcome<SearchPage> {
        if request.pattern.len() > PATTERN_BYTES_MAX {
            return Err(Fault::invalid(format!(
                "pattern is longer than {PATTERN_BYTES_MAX} bytes"
            )));
        }
        request.hits = request.hits.clamp(1, SEARCH_HITS_MAX);
        let dir = self.journal(id)?;
        self.reading(move || journal::search(&dir, &request)).await
    }

    /// The screen of a session at a moment, of one that runs or one that is no more.
    pub(super) async fn replay(&self, id: &SessionId, moment: Moment) -> Outcome<Replay> {
        let dir = self.journal(id)?;
        self.reading(move || journal::replay(&dir, moment)).await
    }

    pub(super) async fn find(&self, id: &SessionId, request: FindRequest) -> Outcome<FindPage> {
        let dir = self.journal(id)?;
        self.reading(move || journal::find(&dir, &request)).await
    }

    pub(super) async fn recordings(&self) -> Outcome<Vec<Recording>> {
        let root = self.paths.recordings();
        self.reading(move || journal::recordings(&root)).await
    }

    /// A recording in pieces; a slow client holds up nobody but its own reader.
    pub(super) async fn export(
        &self,
        id: &SessionId,
        span: Span,
    ) -> Outcome<BoxStream<Outcome<Bytes>>> {
        let dir = self.journal(id)?;
        let pieces = self.reading(move || journal::export(&dir, span)).await?;
        Ok(on_demand(&self.readers, pieces))
    }

    pub(super) async fn remove_recording(&self, id: &SessionId) -> Outcome<()> {
        let dir = self.journal(id)?;
        self.reading(move || journal::remove_finished(&dir)).await
    }

    /// The last screen of a session whose host is gone.
    pub(super) async fn past_screen(&self, id: &SessionId) -> Outcome<ScreenShot> {
        let dir = self.journal(id)?;
        let subject = id.clone();
        self.reading(move || {
            let mut reader = Reader::open(&dir, u64::MAX)?;
            let mut screen: Option<Screen> = None;
            let mut end = 0;
            while let Some(entry) = reader.read()? {
                end = entry.offset;
                match (entry.record, &mut screen) {
                    (Record::Keyframe { size, state }, screen) => {
                        *screen = Some(Screen::from_keyframe(size, &state));
                    }
                    (Record::Output(bytes), Some(screen)) => {
                        end += bytes.len() as u64;
                        screen.feed(&bytes);
                    }
                    (Record::Resize(size), Some(screen)) => screen.resize(size),
                    _ => {}
                }
            }
            let screen = screen
                .ok_or_else(|| Fault::absent(format!("no screen is kept of session {subject}")))?;
            Ok(ScreenShot {
                offset: end,
                size: screen.size(),
                state: screen.keyframe().into(),
                title: screen.title().map(str::to_owned),
            })
        })
        .await
    }

    /// The output of a session whose host is gone, as far as it is kept, and its end.
    pub(super) async fn past_output(
        self: &Arc<Self>,
        id: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>> {
        let dir = self.journal(id)?;
        let exit = self.fleet().of_session(id).ok().and_then(|it| it.session(id)?.exit);
        let pieces = match request.from {
            From::Now => {
                let shot = self.past_screen(id).await?;
                let ScreenShot { offset, size, state, .. } = shot;
                let screen = Output::Keyframe { offset, size, state, lost: 0 };
                let exit = exit.map(|status| Output::Exit { offset, status });
                Pieces::Few(vec![Some(screen), exit].into_iter().flatten().collect::<Vec<_>>())
            }
            From::Start => Pieces::All(self.reading(move || Past::open(dir, 0, exit)).await?),
            From::Offset(at) => Pieces::All(self.reading(move || Past::open(dir, at, exit)).await?),
        };
        Ok(match pieces {
            Pieces::Few(list) => Box::pin(tokio_stream::iter(list.into_iter().map(Ok))),
            Pieces::All(past) => on_demand(&self.readers, past),
        })
    }
}

enum Pieces {
    Few(Vec<Output>),
    All(Past),
}

/// Output records of one journal from an offset on.
struct Past {
    reader: Reader,
    wanted: u64,
    /// Where the last record ended; `None` before the first.
    place: Option<u64>,
    /// What the registry knows of the end, for a journal that does not say.
    exit: Option<crate::model::session::ExitStatus>,
    over: bool,
}

impl Past {
    fn open(
        dir: PathBuf,
        wanted: u64,
        exit: Option<crate::model::session::ExitStatus>,
    ) -> Outcome<Self> {
        let reader = Reader::open(&dir, wanted)?;
        Ok(Self { reader, wanted, place: None, exit, over: false })
    }

    fn step(&mut self) -> Outcome<Option<Output>> {
        while let Some(entry) = self.reader.read()? {
            let offset = entry.offset;
            let gap = self.place.is_some_and(|at| at < offset);
            match entry.record {
                Record::Keyframe { size, state } => {
                    let first = self.place.is_none() && offset >= self.wanted;
                    let lost = offset.saturating_sub(self.place.unwrap_or(self.wanted));
                    self.place = Some(self.place.unwrap_or(offset).max(offset));
                    if first || gap {
                        return Ok(Some(keyframe(offset, size, state, lost)));
                    }
                }
                Record::Output(bytes) => {
                    let end = offset + bytes.len() as u64;
                    self.place = Some(end);
                    let skip = usize::try_from(self.wanted.saturating_sub(offset)).unwrap_or(0);
                    if skip < bytes.len() {
                        let bytes = bytes.slice(skip..);
                        return Ok(Some(Output::Chunk { offset: offset + skip as u64, bytes }));
                    }
                }
                Record::Resize(size) if offset >= self.wanted => {
                    return Ok(Some(Output::Resize { offset, size }));
                }
                Record::Exit(status) => self.exit = Some(status),
                Record::Resize(_) | Record::Lost(_) => {}
            }
        }
        let offset = self.place.unwrap_or(self.wanted);
        Ok(self.exit.take().map(|status| Output::Exit { offset, status }))
    }
}

fn keyframe(offset: u64, size: Size, state: Bytes, lost: u64) -> Output {
    Output::Keyframe { offset, size, state, lost }
}

impl Iterator for Past {
    type Item = Outcome<Output>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let step = self.step();
        self.over = !matches!(
            step,
            Ok(Some(Output::Chunk { .. } | Output::Keyframe { .. } | Output::Resize { .. }))
        );
        step.transpose()
    }
}
