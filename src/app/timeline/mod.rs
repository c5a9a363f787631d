//! The place that shows what happened: the screen of a session as it was, and the list of what happened beside it, on one
//! clock.

mod player;

use std::time::Duration;

pub(super) use player::Wanted;
pub use player::{Player, SPEEDS, Took};

use super::{
    effect::EffectId,
    state::State,
    view::{Cursor, Pattern, View},
};
use crate::{
    base::{
        clock::Timestamp,
        id::{HubNumber, SandboxId, SessionId},
        limits::CONSOLE_TIMELINE_MAX,
        text::visible,
    },
    model::{
        gauge::Past,
        timeline::{Happening, Kind, Mark, Place, TimelinePage, TimelineRequest},
    },
};

/// What one step of the clock is, and a long one.
pub const STEP: Duration = Duration::from_secs(5);
pub const LONG_STEP: Duration = Duration::from_secs(60);
/// Points of the gauge that are asked for: as many as a wide bar has columns.
pub const GAUGE_POINTS: u32 = 240;
/// Shortest time between two looks for what is new.
const ANEW_EVERY: Duration = Duration::from_secs(1);
/// And between two looks for files that changed, while somebody is there.
const FILES_EVERY: Duration = Duration::from_secs(5);

/// Kinds that the list is narrowed to, one after the other.
const KINDS: [Kind; 8] = [
    Kind::Ask,
    Kind::Status,
    Kind::Session,
    Kind::Snapshot,
    Kind::Files,
    Kind::Egress,
    Kind::Keyboard,
    Kind::Notice,
];

/// What an answer to a question for happenings is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The newest.
    First,
    /// What is older than the first row.
    Older,
    /// What was written since.
    Newer,
}

/// A gauge over time, and when it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct GaugeLine {
    /// `None` = nothing is known of it.
    pub past: Option<Past>,
    pub until: Timestamp,
    pub back: Duration,
}

/// The place.
#[derive(Debug)]
pub struct TimelinePlace {
    /// `None` = the whole fleet.
    pub sandbox: Option<SandboxId>,
    /// Whose record it is.
    pub hub: HubNumber,
    pub name: String,
    /// Oldest first.
    rows: Vec<Happening>,
    /// Those that the kind lets through, as indices.
    shown: Vec<usize>,
    pub kind: Option<Kind>,
    pub cursor: Cursor,
    mark: Option<Mark>,
    /// There are older ones.
    pub more: bool,
    pub files_unknown: Option<String>,
    /// What is lacking of changes of files.
    files_missing: Option<String>,
    pub(super) asked: Option<(EffectId, Reading)>,
    /// When to look for what is new.
    pub(super) anew_at: Option<Duration>,
    looked_at: Duration,
    pub wrong: Option<String>,
    /// The recording beside the list; `None` = there is no session.
    pub player: Option<Player>,
    /// It has the whole place.
    pub whole: bool,
    /// A text that is looked for in the recording, and where from.
    pub pattern: Option<Pattern>,
    pub(super) finding: Option<(EffectId, bool)>,
    /// The line of the last hit.
    pub hit: Option<String>,
    pub gauge: Option<GaugeLine>,
    pub(super) gauge_asked: Option<(EffectId, Timestamp, Duration)>,
    /// A part that is to be exported begins here.
    pub range_from: Option<Timestamp>,
    /// The row to be under the cursor once there are rows: the first from this time on.
    pub(super) first_since: Option<Timestamp>,
    /// The row to be under the cursor once there are rows, if it is among them.
    pub(super) keeps: Option<Place>,
    /// It is about what happened since then, in which somebody was away.
    pub since: Option<Timestamp>,
    /// Of the widest recording that it showed: so wide the screen is, if there is room.
    pub columns: u16,
}

impl TimelinePlace {
    pub(super) fn new(sandbox: Option<SandboxId>, name: String, player: Option<Player>) -> Self {
        Self {
            sandbox,
            hub: HubNumber::FIRST,
            name,
            rows: Vec::new(),
            shown: Vec::new(),
            kind: None,
            cursor: Cursor::default(),
            mark: None,
            more: false,
            files_unknown: None,
            files_missing: None,
            asked: None,
            anew_at: None,
            looked_at: Duration::ZERO,
            wrong: None,
            player,
            whole: false,
            pattern: None,
            finding: None,
            hit: None,
            gauge: None,
            gauge_asked: None,
            range_from: None,
            first_since: None,
            keeps: None,
            since: None,
            columns: 0,
        }
    }

    /// Those in the list, oldest first.
    pub fn listed(&self) -> impl DoubleEndedIterator<Item = &Happening> {
        self.shown.iter().filter_map(|it| self.rows.get(*it))
    }

    pub fn row(&self, at: usize) -> Option<&Happening> {
        self.rows.get(*self.shown.get(at)?)
    }

    pub fn current(&self) -> Option<&Happening> {
        self.row(self.cursor.at())
    }

    /// Whether an answer came.
    pub fn is_known(&self) -> bool {
        self.mark.is_some()
    }

    /// The session whose recording shows.
    pub fn session(&self) -> Option<&SessionId> {
        self.player.as_ref().map(|it| &it.session)
    }

    /// What to ask for by now.
    pub(super) fn wanted(&mut self, now: Duration) -> Option<(Reading, TimelineRequest)> {
        if self.asked.is_some() || self.wrong.is_some() {
            return None;
        }
        let request = TimelineRequest {
            sandbox: self.sandbox.as_ref().map(ToString::to_string),
            most: 200,
            ..TimelineRequest::default()
        };
        let Some(mark) = self.mark else {
            self.looked_at = now;
            let since = self.first_since.map(|it| Timestamp(it.0.saturating_sub(1)));
            return Some((Reading::First, TimelineRequest { since, most: 500, ..request }));
        };
        if self.anew_at.take_if(|it| *it <= now).is_some() {
            self.looked_at = now;
            return Some((
                Reading::Newer,
                TimelineRequest { written_after: Some(mark), ..request },
            ));
        }
        let at_top = self.more && self.cursor.at() == 0 && self.rows.len() < CONSOLE_TIMELINE_MAX;
        let before: Option<Place> = self.rows.first().map(|it| it.place);
        (at_top && before.is_some())
            .then_some((Reading::Older, TimelineRequest { before, ..request }))
    }

    /// Something changed: it is looked for what is new soon.
    pub(super) fn stir(&mut self, now: Duration) {
        self.anew_by(now.max(self.looked_at + ANEW_EVERY));
    }

    fn anew_by(&mut self, at: Duration) {
        self.anew_at = Some(self.anew_at.map_or(at, |it| it.min(at)));
    }

    /// Takes an answer in.
    pub(super) fn take(&mut self, reading: Reading, page: TimelinePage) {
        let here = self.current().map(|it| it.place);
        let at_last = self.cursor.at() + 1 >= self.cursor.count();
        let TimelinePage {
            mut happenings,
            more,
            mark,
            files_unknown,
            files_pending,
            files_missing,
            ..
        } = page;
        // What a page lacks the list lacks from then on.
        let before = self.files_missing.take().filter(|_| reading != Reading::First);
        self.files_missing = files_missing.or(before);
        match reading {
            Reading::First => {
                (self.rows, self.more, self.files_unknown) = (happenings, more, files_unknown);
            }
            Reading::Older => {
                happenings.append(&mut self.rows);
                (self.rows, self.more) = (happenings, more);
            }
            Reading::Newer => {
                self.rows.append(&mut happenings);
            }
        }
        if reading != Reading::Older {
            self.mark = Some(mark);
            // Files are looked through when somebody asks, and nobody tells when they change.
            let soon = files_pending > 0 || (reading == Reading::Newer && more);
            self.anew_by(self.looked_at + if soon { ANEW_EVERY } else { FILES_EVERY });
        }
        self.rows.sort_by_key(|it| it.place);
        self.rows.dedup_by_key(|it| it.place);
        let over = self.rows.len().saturating_sub(CONSOLE_TIMELINE_MAX);
        self.rows.drain(..over);
        self.more |= over > 0;
        self.list();
        let kept = self.keeps.take().and_then(|it| self.listed().position(|at| at.place == it));
        let row = match (reading, kept.is_none().then(|| self.first_since.take()).flatten()) {
            (Reading::First, _) if kept.is_some() => kept.unwrap_or(usize::MAX),
            (Reading::First, Some(since)) => {
                self.listed().position(|it| it.place.at >= since).unwrap_or(usize::MAX)
            }
            (Reading::First, None) => usize::MAX,
            // Whoever is at the end stays there, unless another recording would show then.
            (Reading::Newer, _) if at_last && self.sandbox.is_some() => usize::MAX,
            _ => here
                .and_then(|here| self.listed().position(|it| it.place == here))
                .unwrap_or(self.cursor.at()),
        };
        self.cursor.move_to(row);
    }

    fn list(&mut self) {
        let fits = |it: &Happening| self.kind.is_none_or(|kind| it.kind == kind);
        let shown = self.rows.iter().enumerate().filter(|(_, it)| fits(it)).map(|(at, _)| at);
        self.shown = shown.collect();
        self.cursor.set_count(self.shown.len());
    }

    /// Narrows the list to the next kind, or to none; the cursor stays at its time.
    pub(super) fn next_kind(&mut self) {
        let there = |kind: &Kind| self.rows.iter().any(|it| it.kind == *kind);
        let from = self.kind.and_then(|kind| KINDS.iter().position(|it| *it == kind));
        let rest = KINDS.iter().skip(from.map_or(0, |it| it + 1));
        self.kind = rest.copied().find(there);
        let at = self.current().map(|it| it.place.at);
        self.list();
        if let Some(at) = at {
            self.cursor.move_to(self.row_at(at));
        }
    }

    /// The last row that had happened by then.
    pub(super) fn row_at(&self, at: Timestamp) -> usize {
        let row =
            self.shown.partition_point(|it| self.rows.get(*it).is_some_and(|it| it.place.at <= at));
        row.saturating_sub(1)
    }

    /// All of the row under the cursor.
    pub fn detail(&self) -> Option<String> {
        let row = self.current()?;
        // Most lines name who it was.
        let by = row.actor.as_ref().filter(|it| !row.text.contains(it.as_str()));
        let by = by.map(|it| format!(" · by {it}")).unwrap_or_default();
        let mut text = format!("{}{by}: {}", row.what, row.line());
        if let Some(why) = self.files_unknown.as_ref().filter(|_| self.sandbox.is_some()) {
            text += &format!(" · when files changed is not known: {why}");
        }
        if let Some(missing) = &self.files_missing {
            text += &format!(" · not all changes of files are known: {missing}");
        }
        Some(visible(&text))
    }

    /// The next in the list after a time, or the last before it.
    pub(super) fn step_from(&self, at: Timestamp, forward: bool) -> Option<usize> {
        match forward {
            true => self.listed().position(|it| it.place.at > at),
            false => self
                .listed()
                .rev()
                .position(|it| it.place.at < at)
                .map(|it| self.shown.len() - 1 - it),
        }
    }

    /// All is asked for anew.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
        (self.mark, self.asked, self.wrong, self.more) = (None, None, None, false);
        self.list();
    }

    pub fn check(&self) -> Result<(), String> {
        let sorted = self.rows.is_sorted_by_key(|it| it.place);
        let sound = self.cursor.is_sound(self.shown.len()) && sorted;
        if sound { Ok(()) } else { Err("the place of what happened is unsound".to_owned()) }
    }
}

impl State {
    pub fn timeline(&self) -> Option<&TimelinePlace> {
        match self.view() {
            Some(View::Timeline(it)) => Some(it),
            _ => None,
        }
    }

    /// When the picture of the past next changes, or what is new is asked for.
    pub(super) fn timeline_wakes_at(&self) -> Option<Duration> {
        let it = self.timeline()?;
        let player = it.player.as_ref().and_then(|it| it.wakes_at(self.now.since_start));
        // Nobody looks: nothing is asked anew.
        let anew = it.anew_at.filter(|_| it.asked.is_none() && self.ages_are_live());
        let following = it.player.as_ref().is_some_and(|it| it.follow);
        let player = player.filter(|_| !following || self.ages_are_live());
        player.into_iter().chain(anew).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::timeline::Source;

    fn row(at: i64, kind: Kind) -> Happening {
        let place = Place { at: Timestamp(at), source: Source::Hub, number: at };
        Happening { place, ..Happening::new(Timestamp(at), kind, "x.y", &format!("at {at}")) }
    }

    fn page(rows: &[(i64, Kind)], more: bool) -> TimelinePage {
        let happenings = rows.iter().map(|(at, kind)| row(*at, *kind)).collect();
        let mark = Mark { hub: 9, ..Mark::default() };
        TimelinePage { happenings, more, mark, ..TimelinePage::default() }
    }

    #[test]
    fn what_comes_goes_where_its_time_is_and_moves_no_cursor() {
        let mut it = TimelinePlace::new(SandboxId::parse("box"), String::new(), None);
        assert!(matches!(it.wanted(Duration::ZERO), Some((Reading::First, _))));
        let rows = [(10, Kind::Ask), (20, Kind::Status), (30, Kind::Ask)];
        it.take(Reading::First, page(&rows, true));
        let at = |it: &TimelinePlace| it.current().map(|it| it.place.at.0);
        assert_eq!(at(&it), Some(30));
        // Whoever is at the end stays there; whoever is not stays where they are.
        it.take(Reading::Newer, page(&[(40, Kind::Status), (15, Kind::Egress)], false));
        assert_eq!(at(&it), Some(40));
        it.cursor.move_to(0);
        it.take(Reading::Newer, page(&[(50, Kind::Ask), (40, Kind::Status)], false));
        assert_eq!(at(&it), Some(10));
        let wanted = it.wanted(Duration::ZERO).unwrap();
        assert_eq!(
            (wanted.0, wanted.1.before.map(|it| it.at)),
            (Reading::Older, Some(Timestamp(10)))
        );
        it.take(Reading::Older, page(&[(5, Kind::Hub)], false));
        assert_eq!((at(&it), it.check()), (Some(10), Ok(())));
        let all: Vec<i64> = it.listed().map(|it| it.place.at.0).collect();
        assert_eq!(all, [5, 10, 15, 20, 30, 40, 50]);
        assert!(it.wanted(Duration::ZERO).is_none());
    }

    #[test]
    fn a_kind_narrows_the_list_and_steps_go_by_time() {
        let mut it = TimelinePlace::new(None, String::new(), None);
        let rows = [(10, Kind::Ask), (20, Kind::Status), (30, Kind::Ask), (40, Kind::Status)];
        it.take(Reading::First, page(&rows, false));
        it.cursor.move_to(it.row_at(Timestamp(25)));
        it.next_kind();
        assert_eq!(it.kind, Some(Kind::Ask));
        assert_eq!(it.current().map(|it| it.place.at.0), Some(10));
        assert_eq!(it.step_from(Timestamp(10), true), Some(1));
        assert_eq!(it.step_from(Timestamp(30), false), Some(0));
        assert_eq!(it.step_from(Timestamp(30), true), None);
        it.next_kind();
        assert_eq!(it.kind, Some(Kind::Status));
        it.next_kind();
        assert_eq!((it.kind, it.listed().count(), it.check()), (None, 4, Ok(())));
    }
}
