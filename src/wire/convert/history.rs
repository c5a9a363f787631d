//! History, search and recordings.

use bytes::Bytes;

use super::{list, required, session::shown_arguments, session_id, shown_command, stamp, text};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{
            HISTORY_LINE_BYTES_MAX, HISTORY_LINES_MAX, HISTORY_PAGE_BYTES_MAX, LABEL_BYTES_MAX,
            PATTERN_BYTES_MAX, SEARCH_HITS_MAX, SEARCH_LINE_BYTES_MAX,
        },
        text::{cut, shown},
        units::Size,
    },
    model::history::{
        HistoryLine, HistoryMark, HistoryPage, HistoryRequest, Recording, SearchHit, SearchPage,
        SearchRequest,
    },
    wire::v1,
};

impl From<HistoryMark> for v1::HistoryMark {
    fn from(mark: HistoryMark) -> Self {
        Self { segment: mark.segment, line: mark.line }
    }
}

impl From<v1::HistoryMark> for HistoryMark {
    fn from(wire: v1::HistoryMark) -> Self {
        Self { segment: wire.segment, line: wire.line }
    }
}

/// Takes how many are wanted: at least one, and no more than `most`.
fn wanted(field: &str, value: u32, most: u32) -> Outcome<u32> {
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    Err(Fault::invalid(format!("{field} is not 1 to {most}: {value}")))
}

pub fn history_out(session: &SessionId, request: HistoryRequest) -> v1::HistoryRequest {
    v1::HistoryRequest {
        session: session.to_string(),
        before: request.before.map(Into::into),
        lines: request.lines,
        until: request.until,
    }
}

pub fn history_in(wire: v1::HistoryRequest) -> Outcome<(SessionId, HistoryRequest)> {
    let lines = wanted("history.lines", wire.lines, HISTORY_LINES_MAX)?;
    let before = wire.before.map(Into::into);
    Ok((session_id(&wire.session)?, HistoryRequest { before, until: wire.until, lines }))
}

/// Writes a page; when it is larger than a page may be, its oldest lines are left for the next one.
impl From<HistoryPage> for v1::HistoryPage {
    fn from(page: HistoryPage) -> Self {
        let mut bytes = 0;
        let mut lines = Vec::new();
        let all = page.lines.len();
        for line in page.lines.into_iter().rev() {
            let mut formatted = Bytes::from(line.formatted);
            formatted.truncate(HISTORY_LINE_BYTES_MAX);
            bytes += formatted.len() + 32;
            if bytes > HISTORY_PAGE_BYTES_MAX || lines.len() >= HISTORY_LINES_MAX as usize {
                break;
            }
            let mark = Some(line.mark.into());
            lines.push(v1::HistoryLine { mark, formatted, wrapped: line.wrapped });
        }
        lines.reverse();
        let at_start = page.at_start && lines.len() == all;
        Self { lines, at_start }
    }
}

impl TryFrom<v1::HistoryPage> for HistoryPage {
    type Error = Fault;

    fn try_from(wire: v1::HistoryPage) -> Outcome<Self> {
        let lines = list("history.lines", wire.lines, HISTORY_LINES_MAX as usize)?;
        let line = |it: v1::HistoryLine| {
            let formatted =
                super::blob("history.formatted", it.formatted, HISTORY_LINE_BYTES_MAX)?.to_vec();
            let mark = required("history.mark", it.mark)?.into();
            Ok(HistoryLine { mark, formatted, wrapped: it.wrapped })
        };
        let lines = lines.into_iter().map(line).collect::<Outcome<_>>()?;
        Ok(Self { lines, at_start: wire.at_start })
    }
}

pub fn search_out(session: &SessionId, request: SearchRequest) -> v1::SearchRequest {
    v1::SearchRequest {
        session: session.to_string(),
        pattern: request.pattern,
        before: request.before.map(Into::into),
        hits: request.hits,
        until: request.until,
    }
}

pub fn search_in(wire: v1::SearchRequest) -> Outcome<(SessionId, SearchRequest)> {
    let request = SearchRequest {
        pattern: pattern(wire.pattern)?,
        before: wire.before.map(Into::into),
        until: wire.until,
        hits: wanted("search.hits", wire.hits, SEARCH_HITS_MAX)?,
    };
    Ok((session_id(&wire.session)?, request))
}

/// Takes a regular expression; whether it is one is for its reader to say.
pub(super) fn pattern(value: String) -> Outcome<String> {
    let value = text("pattern", value, PATTERN_BYTES_MAX)?;
    if value.is_empty() {
        return Err(Fault::invalid("pattern is empty"));
    }
    Ok(value)
}

impl From<SearchPage> for v1::SearchPage {
    fn from(page: SearchPage) -> Self {
        let hits = page.hits.into_iter().take(SEARCH_HITS_MAX as usize);
        let hits = hits.map(|it| v1::SearchHit {
            mark: Some(it.mark.into()),
            text: cut(&it.text, SEARCH_LINE_BYTES_MAX).to_owned(),
        });
        Self { hits: hits.collect(), next: page.next.map(Into::into) }
    }
}

impl TryFrom<v1::SearchPage> for SearchPage {
    type Error = Fault;

    fn try_from(wire: v1::SearchPage) -> Outcome<Self> {
        let hits = list("search.hits", wire.hits, SEARCH_HITS_MAX as usize)?;
        let hit = |it: v1::SearchHit| {
            let mark = required("search.mark", it.mark)?.into();
            Ok(SearchHit { mark, text: shown(&it.text, SEARCH_LINE_BYTES_MAX) })
        };
        let hits = hits.into_iter().map(hit).collect::<Outcome<_>>()?;
        Ok(Self { hits, next: wire.next.map(Into::into) })
    }
}

impl From<&Recording> for v1::Recording {
    fn from(recording: &Recording) -> Self {
        Self {
            session: recording.session.to_string(),
            sandbox_name: cut(&recording.sandbox_name, LABEL_BYTES_MAX).to_owned(),
            session_name: cut(&recording.session_name, LABEL_BYTES_MAX).to_owned(),
            command: shown_command(&recording.command),
            started_at_ms: recording.started_at.0,
            ended_at_ms: recording.ended_at.map(|it| it.0),
            exit: recording.exit.map(Into::into),
            size: Some(recording.size.into()),
            size_bytes: recording.size_bytes,
            dropped_bytes: recording.dropped_bytes,
            lost_bytes: recording.lost_bytes,
        }
    }
}

impl TryFrom<v1::Recording> for Recording {
    type Error = Fault;

    fn try_from(wire: v1::Recording) -> Outcome<Self> {
        Ok(Self {
            session: session_id(&wire.session)?,
            sandbox_name: shown(&wire.sandbox_name, LABEL_BYTES_MAX),
            session_name: shown(&wire.session_name, LABEL_BYTES_MAX),
            command: shown_arguments("recording.command", wire.command)?,
            started_at: Timestamp(wire.started_at_ms),
            ended_at: stamp(wire.ended_at_ms),
            exit: wire.exit.map(TryInto::try_into).transpose()?,
            size: wire.size.map_or(Size::DEFAULT, Into::into),
            size_bytes: wire.size_bytes,
            dropped_bytes: wire.dropped_bytes,
            lost_bytes: wire.lost_bytes,
        })
    }
}
