//! What happened, and looking into recordings.

use std::time::Duration;

use super::{
    ask_id, blob,
    event::{level_in, level_out},
    list,
    output::{OutputReader, output_out},
    required, sandbox_id, session_id, snapshot_id, stamp,
    status::{known_status_in, status_out},
    text,
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::{SandboxId, SessionId},
        limits::{
            KEYFRAME_BYTES_MAX, LINE_BYTES_MAX, NAME_BYTES_MAX, PATTERN_BYTES_MAX,
            REPLAY_BYTES_MAX, REPLAY_PIECES_MAX, SEARCH_LINE_BYTES_MAX, TIMELINE_PAGE_MAX,
            TIMELINE_TEXT_BYTES_MAX,
        },
        text::{cut, shown},
    },
    model::{
        output::Output,
        replay::{FindHit, FindPage, FindRequest, Moment, Replay, Step, Stepped},
        timeline::{Happening, Kind, Mark, Place, Source, TimelinePage, TimelineRequest},
    },
    wire::v1::{self, replay_request, replay_response},
};

/// Kinds in one request: as many as there will ever be.
const KINDS_MAX: usize = 64;
/// Messages of one replay: its pieces, and those of its screens.
const MESSAGES_MAX: u32 = 12_288;

enums! {
    kind_out, kind_in: Kind = HappeningKind {
        Ask, Status, Session, Sandbox, Snapshot, Keyboard, Egress, Files, Policy, Notice, Gauge, Hub,
    }
    source_out, source_in: Source = HappeningSource { Audit, Hub, Files, }
}

impl From<Place> for v1::HappeningPlace {
    fn from(it: Place) -> Self {
        Self { at_ms: it.at.0, source: source_out(it.source).into(), number: it.number }
    }
}

impl From<Mark> for v1::TimelineMark {
    fn from(it: Mark) -> Self {
        Self { audit: it.audit, hub: it.hub, files: it.files }
    }
}

impl From<v1::TimelineMark> for Mark {
    fn from(wire: v1::TimelineMark) -> Self {
        Self { audit: wire.audit, hub: wire.hub, files: wire.files }
    }
}

fn nanos(it: Duration) -> u64 {
    u64::try_from(it.as_nanos()).unwrap_or(u64::MAX)
}

pub fn timeline_out(it: &TimelineRequest) -> v1::ReadTimelineRequest {
    v1::ReadTimelineRequest {
        sandbox: it.sandbox.clone(),
        session: it.session.as_ref().map(ToString::to_string),
        since_ms: it.since.map(|it| it.0),
        until_ms: it.until.map(|it| it.0),
        kinds: it.kinds.iter().map(|it| kind_out(*it).into()).collect(),
        before: it.before.map(Into::into),
        written_after: it.written_after.map(Into::into),
        most: it.most,
        files_asked: it.files_asked.map(nanos),
    }
}

pub fn timeline_in(wire: v1::ReadTimelineRequest) -> Outcome<TimelineRequest> {
    if !(1..=TIMELINE_PAGE_MAX).contains(&wire.most) {
        let words = format!("timeline.most is not 1 to {TIMELINE_PAGE_MAX}: {}", wire.most);
        return Err(Fault::invalid(words));
    }
    let unknown = |what: &str| Fault::invalid(format!("timeline.{what} is not known here"));
    let kinds = list("timeline.kinds", wire.kinds, KINDS_MAX)?.into_iter();
    let kinds = kinds.map(|it| kind_in(it).ok_or_else(|| unknown("kinds")));
    let before = wire.before.map(|it| {
        let source = source_in(it.source).ok_or_else(|| unknown("before.source"))?;
        Ok::<_, Fault>(Place { at: Timestamp(it.at_ms), source, number: it.number })
    });
    let sandbox = wire.sandbox.map(|it| text("timeline.sandbox", it, SandboxId::BYTES_MAX));
    Ok(TimelineRequest {
        sandbox: sandbox.transpose()?,
        session: wire.session.map(|it| session_id(&it)).transpose()?,
        since: stamp(wire.since_ms),
        until: stamp(wire.until_ms),
        kinds: kinds.collect::<Outcome<_>>()?,
        before: before.transpose()?,
        written_after: wire.written_after.map(Into::into),
        most: wire.most,
        files_asked: wire.files_asked.map(Duration::from_nanos),
    })
}

impl From<&Happening> for v1::Happening {
    fn from(it: &Happening) -> Self {
        let short = |it: &str| cut(it, LINE_BYTES_MAX).to_owned();
        Self {
            place: Some(it.place.into()),
            kind: kind_out(it.kind).into(),
            what: short(&it.what),
            level: level_out(it.level).into(),
            sandbox: it.sandbox.as_ref().map(ToString::to_string),
            sandbox_name: it.sandbox_name.as_ref().map(|it| cut(it, NAME_BYTES_MAX).to_owned()),
            session: it.session.as_ref().map(ToString::to_string),
            status: it.status.map(|it| status_out(it).into()),
            ask: it.ask.as_ref().map(ToString::to_string),
            snapshot: it.snapshot.as_ref().map(ToString::to_string),
            actor: it.actor.as_deref().map(short),
            text: cut(&it.text, TIMELINE_TEXT_BYTES_MAX).to_owned(),
            left_out: it.left_out,
        }
    }
}

impl TryFrom<v1::Happening> for Happening {
    type Error = Fault;

    fn try_from(wire: v1::Happening) -> Outcome<Self> {
        let place = required("happening.place", wire.place)?;
        let short = |it: String| shown(&it, LINE_BYTES_MAX);
        let place = Place {
            at: Timestamp(place.at_ms),
            source: source_in(place.source).unwrap_or(Source::Hub),
            number: place.number,
        };
        Ok(Self {
            place,
            kind: kind_in(wire.kind).unwrap_or(Kind::Notice),
            what: short(wire.what),
            level: level_in(wire.level),
            sandbox: wire.sandbox.map(|it| sandbox_id(&it)).transpose()?,
            sandbox_name: wire.sandbox_name.map(|it| shown(&it, NAME_BYTES_MAX)),
            session: wire.session.map(|it| session_id(&it)).transpose()?,
            status: wire.status.and_then(known_status_in),
            ask: wire.ask.map(|it| ask_id(&it)).transpose()?,
            snapshot: wire.snapshot.map(|it| snapshot_id(&it)).transpose()?,
            actor: wire.actor.map(short),
            text: shown(&wire.text, TIMELINE_TEXT_BYTES_MAX),
            left_out: wire.left_out,
        })
    }
}

impl From<&TimelinePage> for v1::ReadTimelineResponse {
    fn from(it: &TimelinePage) -> Self {
        Self {
            happenings: it.happenings.iter().map(Into::into).collect(),
            more: it.more,
            mark: Some(it.mark.into()),
            files_unknown: it.files_unknown.as_deref().map(|it| cut(it, LINE_BYTES_MAX).to_owned()),
            files_pending: it.files_pending,
            files_missing: it.files_missing.as_deref().map(|it| cut(it, LINE_BYTES_MAX).to_owned()),
            files_asked: it.files_asked.map(nanos),
        }
    }
}

impl TryFrom<v1::ReadTimelineResponse> for TimelinePage {
    type Error = Fault;

    fn try_from(wire: v1::ReadTimelineResponse) -> Outcome<Self> {
        let most = usize::try_from(TIMELINE_PAGE_MAX).unwrap_or(usize::MAX);
        let all = list("timeline.happenings", wire.happenings, most)?;
        Ok(Self {
            happenings: all.into_iter().filter_map(super::entry_in).collect(),
            more: wire.more,
            mark: required("timeline.mark", wire.mark)?.into(),
            files_unknown: wire.files_unknown.map(|it| shown(&it, LINE_BYTES_MAX)),
            files_pending: wire.files_pending,
            files_missing: wire.files_missing.map(|it| shown(&it, LINE_BYTES_MAX)),
            files_asked: wire.files_asked.map(Duration::from_nanos),
        })
    }
}

pub fn replay_request_out(session: &SessionId, moment: Moment) -> v1::ReplayRequest {
    let moment = match moment {
        Moment::At(at) => replay_request::Moment::AtMs(at.0),
        Moment::Before(offset) => replay_request::Moment::Before(offset),
    };
    v1::ReplayRequest { session: session.to_string(), moment: Some(moment) }
}

pub fn replay_request_in(wire: &v1::ReplayRequest) -> Outcome<(SessionId, Moment)> {
    let moment = match required("replay.moment", wire.moment)? {
        replay_request::Moment::AtMs(at) => Moment::At(Timestamp(at)),
        replay_request::Moment::Before(offset) => Moment::Before(offset),
    };
    Ok((session_id(&wire.session)?, moment))
}

/// Writes a replay as the messages it takes.
pub fn replay_out(it: Replay) -> Vec<v1::ReplayResponse> {
    let Replay { begins_at, ends_at, live, at, offset, size, state, exit, steps, at_end } = it;
    let screen = (at, Output::Keyframe { offset, size, state, lost: 0 });
    let steps = steps.into_iter().map(|it| {
        let offset = it.offset;
        let output = match it.step {
            Step::Output(bytes) => Output::Chunk { offset, bytes },
            Step::Resize(size) => Output::Resize { offset, size },
            Step::Screen { size, state } => Output::Keyframe { offset, size, state, lost: 0 },
            Step::Exit(status) => Output::Exit { offset, status },
        };
        (it.at, output)
    });
    let messages = std::iter::once(screen).chain(steps).flat_map(|(at, output)| {
        output_out(output).into_iter().map(move |it| {
            let step = v1::ReplayStep { at_ms: at.0, output: Some(it) };
            v1::ReplayResponse { kind: Some(replay_response::Kind::Step(step)) }
        })
    });
    let messages: Vec<_> = messages.collect();
    let head = v1::ReplayHead {
        begins_at_ms: begins_at.0,
        ends_at_ms: ends_at.0,
        live,
        at_ms: at.0,
        at_end,
        messages: u32::try_from(messages.len()).unwrap_or(u32::MAX),
        exit: exit.map(Into::into),
    };
    let head = v1::ReplayResponse { kind: Some(replay_response::Kind::Head(head)) };
    std::iter::once(head).chain(messages).collect()
}

/// Puts a replay together from its messages.
#[derive(Debug, Default)]
pub struct ReplayReader {
    head: Option<v1::ReplayHead>,
    taken: u32,
    output: OutputReader,
    replay: Option<Replay>,
    bytes: usize,
}

impl ReplayReader {
    /// Takes the next message.
    pub fn take(&mut self, wire: v1::ReplayResponse) -> Outcome<()> {
        let step = match wire.kind {
            Some(replay_response::Kind::Head(head)) if self.head.is_none() => {
                if head.messages > MESSAGES_MAX {
                    return Err(Fault::invalid(format!("replay.messages: {}", head.messages)));
                }
                self.head = Some(head);
                return Ok(());
            }
            Some(replay_response::Kind::Step(step)) => step,
            _ => return Err(Fault::invalid("a replay that begins twice, or with nothing")),
        };
        self.taken += 1;
        let head = self.head.as_ref().filter(|it| self.taken <= it.messages);
        let head = head.ok_or_else(|| Fault::invalid("a replay with too many pieces"))?;
        let at = Timestamp(step.at_ms);
        let Some(output) = self.output.take(required("replay.output", step.output)?)? else {
            return Ok(());
        };
        let Some(replay) = &mut self.replay else {
            let Output::Keyframe { offset, size, state, .. } = output else {
                return Err(Fault::invalid("a replay without a screen"));
            };
            self.replay = Some(Replay {
                begins_at: Timestamp(head.begins_at_ms),
                ends_at: Timestamp(head.ends_at_ms),
                live: head.live,
                at: Timestamp(head.at_ms),
                offset,
                size,
                state,
                exit: head.exit.and_then(|it| it.try_into().ok()),
                steps: Vec::new(),
                at_end: head.at_end,
            });
            return Ok(());
        };
        let (offset, step, bytes) = match output {
            Output::Chunk { offset, bytes } => {
                let many = bytes.len();
                (offset, Step::Output(bytes), many)
            }
            Output::Resize { offset, size } => (offset, Step::Resize(size), 0),
            Output::Keyframe { offset, size, state, .. } => {
                let many = state.len();
                (
                    offset,
                    Step::Screen { size, state: blob("replay.screen", state, KEYFRAME_BYTES_MAX)? },
                    many,
                )
            }
            Output::Exit { offset, status } => (offset, Step::Exit(status), 0),
            Output::Fact { .. } => return Ok(()),
        };
        self.bytes += bytes;
        // One that is larger may stand alone.
        let many = replay.steps.len();
        if many >= 2 * REPLAY_PIECES_MAX
            || (many > 0 && self.bytes > REPLAY_BYTES_MAX + KEYFRAME_BYTES_MAX)
        {
            return Err(Fault::invalid("a replay that is too long"));
        }
        replay.steps.push(Stepped { at, offset, step });
        Ok(())
    }

    /// All of it.
    pub fn end(self) -> Outcome<Replay> {
        let whole = self.head.as_ref().is_some_and(|it| it.messages == self.taken);
        self.replay.filter(|_| whole).ok_or_else(|| Fault::lost("the replay was cut off"))
    }
}

pub fn find_out(session: &SessionId, it: &FindRequest) -> v1::FindRequest {
    v1::FindRequest {
        session: session.to_string(),
        pattern: it.pattern.clone(),
        from: it.from,
        backwards: it.backwards,
    }
}

pub fn find_in(wire: v1::FindRequest) -> Outcome<(SessionId, FindRequest)> {
    let pattern = text("find.pattern", wire.pattern, PATTERN_BYTES_MAX)?;
    let request = FindRequest { pattern, from: wire.from, backwards: wire.backwards };
    Ok((session_id(&wire.session)?, request))
}

impl From<FindPage> for v1::FindResponse {
    fn from(it: FindPage) -> Self {
        let hit = it.hit.map(|it| v1::FindHit {
            at_ms: it.at.0,
            offset: it.offset,
            end: it.end,
            line: cut(&it.line, SEARCH_LINE_BYTES_MAX).to_owned(),
        });
        Self { hit, next: it.next }
    }
}

impl From<v1::FindResponse> for FindPage {
    fn from(wire: v1::FindResponse) -> Self {
        let hit = wire.hit.map(|it| FindHit {
            at: Timestamp(it.at_ms),
            offset: it.offset,
            end: it.end,
            line: shown(&it.line, SEARCH_LINE_BYTES_MAX),
        });
        Self { hit, next: wire.next }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        base::{
            id::{AskId, SnapshotId},
            units::Size,
        },
        model::{
            event::Level,
            session::{ExitStatus, Status},
        },
    };

    fn replay() -> Replay {
        let of = |at: i64, offset, step| Stepped { at: Timestamp(at), offset, step };
        Replay {
            begins_at: Timestamp(1),
            ends_at: Timestamp(99),
            live: true,
            at: Timestamp(5),
            offset: 10,
            size: Size::DEFAULT,
            // Several pieces.
            state: Bytes::from(vec![b'x'; 600 * 1024]),
            exit: Some(ExitStatus::Signal(9)),
            steps: vec![
                of(6, 10, Step::Output(Bytes::from_static(b"hello"))),
                of(7, 15, Step::Resize(Size::DEFAULT)),
                of(8, 20, Step::Screen { size: Size::DEFAULT, state: Bytes::from_static(b"y") }),
                of(9, 20, Step::Exit(ExitStatus::Code(3))),
            ],
            at_end: true,
        }
    }

    #[test]
    fn a_replay_comes_over_whole_or_not_at_all() {
        let messages = replay_out(replay());
        let mut reader = ReplayReader::default();
        messages.iter().try_for_each(|it| reader.take(it.clone())).unwrap();
        assert_eq!(reader.end().unwrap(), replay());
        for cut in 0..messages.len() {
            let mut reader = ReplayReader::default();
            messages[..cut].iter().try_for_each(|it| reader.take(it.clone())).unwrap();
            assert!(reader.end().is_err(), "{cut}");
        }
        let mut reader = ReplayReader::default();
        messages.iter().try_for_each(|it| reader.take(it.clone())).unwrap();
        assert!(reader.take(messages[1].clone()).is_err());
    }

    #[test]
    fn what_happened_comes_over_as_it_was() {
        let it = Happening {
            place: Place { at: Timestamp(7), source: Source::Audit, number: 3 },
            level: Level::Error,
            sandbox: SandboxId::parse("s1"),
            sandbox_name: Some("one".to_owned()),
            session: SessionId::parse("p1"),
            status: Some(Status::Stuck),
            ask: AskId::parse("a1"),
            snapshot: SnapshotId::parse("n1"),
            actor: Some("alice".to_owned()),
            left_out: 4,
            ..Happening::new(Timestamp(7), Kind::Egress, "egress.denied", "kept from x")
        };
        let page = TimelinePage {
            happenings: vec![it],
            more: true,
            mark: Mark { audit: 3, hub: 9, files: 11 },
            files_unknown: Some("no".to_owned()),
            files_pending: 2,
            files_missing: Some("more".to_owned()),
            files_asked: Some(Duration::from_nanos(5)),
        };
        let back: TimelinePage = v1::ReadTimelineResponse::from(&page).try_into().unwrap();
        assert_eq!(back, page);
        let request = TimelineRequest {
            sandbox: Some("one".to_owned()),
            session: SessionId::parse("p1"),
            since: Some(Timestamp(1)),
            until: Some(Timestamp(2)),
            kinds: Kind::ALL.to_vec(),
            before: Some(Place { at: Timestamp(7), source: Source::Files, number: 3 }),
            written_after: Some(Mark { audit: 1, hub: 2, files: 3 }),
            most: 7,
            files_asked: Some(Duration::from_nanos(6)),
        };
        assert_eq!(timeline_in(timeline_out(&request)).unwrap(), request);
        for most in [0, TIMELINE_PAGE_MAX + 1] {
            assert!(
                timeline_in(timeline_out(&TimelineRequest { most, ..request.clone() })).is_err()
            );
        }
    }
}
