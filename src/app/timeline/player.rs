//! Plays a recording: where its clock stands, the screen at that time, and what comes then. It asks for nothing and knows no
//! clock: what is wanted is taken from it, and the time is given.

use std::{collections::VecDeque, fmt, time::Duration};

use crate::{
    app::effect::EffectId,
    base::{clock::Timestamp, id::SessionId, limits::FRAME_EVERY_MIN, units::Size},
    model::{
        replay::{Moment, Replay, Step, Stepped},
        session::ExitStatus,
    },
    vt::Screen,
};

/// How fast it plays.
pub const SPEEDS: [(f64, &str); 6] =
    [(0.5, "½x"), (1.0, "1x"), (2.0, "2x"), (4.0, "4x"), (8.0, "8x"), (16.0, "16x")];
const USUAL_SPEED: usize = 1;
/// A pause that is longer is skipped while it plays, but for its last moment.
const GAP: Duration = Duration::from_secs(3);
const GAP_LEFT: Duration = Duration::from_millis(500);
/// Fewer pieces than this: more are asked for.
const PIECES_AHEAD: usize = 64;
/// How often what is new is asked for at the end of one that is being written.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// Steps of its clock that show.
const CLOCK_EVERY: Duration = Duration::from_millis(250);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Another moment.
    Seek(Moment),
    /// What comes after what is there.
    More(Moment),
}

/// What became of a turn of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    Nothing,
    Moved,
    /// It came to its end.
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Play {
    /// On the console's clock.
    since: Duration,
    /// The clock of the recording then.
    from: Timestamp,
}

/// A recording that is looked at.
pub struct Player {
    pub session: SessionId,
    pub name: String,
    pub begins_at: Timestamp,
    pub ends_at: Timestamp,
    /// It is being written.
    pub live: bool,
    /// Where its clock stands.
    pub at: Timestamp,
    screen: Option<Screen>,
    /// What was printed up to then is on the screen.
    upto: Timestamp,
    steps: VecDeque<Stepped>,
    /// Offset after the last of them.
    steps_end: u64,
    /// Nothing comes after those, as far as is written.
    at_end: bool,
    play: Option<Play>,
    speed: usize,
    /// It stays at the live end.
    pub follow: bool,
    pub(in crate::app) asked: Option<(EffectId, Wanted)>,
    wanted: Option<Moment>,
    /// When more is asked for next, while it follows.
    next_look: Duration,
    pub wrong: Option<String>,
    pub exit: Option<ExitStatus>,
    /// A pause of that length was skipped last.
    pub skipped: Option<Duration>,
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Player");
        out.field("session", &self.session).field("at", &self.at).field("follow", &self.follow);
        out.finish_non_exhaustive()
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

impl Player {
    /// One that shows a moment once that came; `None` = the end, and it follows there.
    pub(in crate::app) fn new(
        session: SessionId,
        name: String,
        at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let moment = at.unwrap_or(now);
        Self {
            session,
            name,
            begins_at: moment,
            ends_at: moment,
            live: false,
            at: moment,
            screen: None,
            upto: moment,
            steps: VecDeque::new(),
            steps_end: 0,
            at_end: false,
            play: None,
            speed: USUAL_SPEED,
            follow: at.is_none(),
            asked: None,
            wanted: Some(Moment::At(moment)),
            next_look: Duration::ZERO,
            wrong: None,
            exit: None,
            skipped: None,
        }
    }

    pub fn screen(&self) -> Option<&Screen> {
        self.screen.as_ref()
    }

    pub fn is_playing(&self) -> bool {
        self.play.is_some()
    }

    pub fn speed(&self) -> (f64, &'static str) {
        SPEEDS.get(self.speed).copied().unwrap_or((1.0, "1x"))
    }

    /// The screen is not that of its time yet.
    pub fn is_behind(&self) -> bool {
        self.wanted.is_some() || matches!(self.asked, Some((_, Wanted::Seek(_))))
    }

    /// Goes to a moment; what is there already is used.
    pub(in crate::app) fn seek(&mut self, at: Timestamp, now: Duration) {
        self.follow = false;
        self.skipped = None;
        self.wrong = None;
        // Before the first answer nobody knows where it begins.
        if self.screen.is_some() {
            self.at = at.clamp(self.begins_at, self.ends_at.max(self.begins_at));
        } else {
            self.at = at;
        }
        if let Some(play) = &mut self.play {
            *play = Play { since: now, from: self.at };
        }
        let reaches = self.at_end || self.steps.back().is_some_and(|it| it.at > self.at);
        if self.screen.is_some() && self.at >= self.upto && reaches && !self.is_behind() {
            self.advance(self.at);
        } else {
            self.wanted = Some(Moment::At(self.at));
        }
    }

    pub(in crate::app) fn seek_by(&mut self, by: Duration, forward: bool, now: Duration) {
        let at = if forward { later(self.at, by) } else { earlier(self.at, by) };
        self.seek(at, now);
    }

    /// Goes to where something was printed.
    pub(in crate::app) fn go_to(&mut self, at: Timestamp, end: u64, now: Duration) {
        self.seek(at, now);
        self.wanted = Some(Moment::Before(end));
    }

    /// Whether a time lies before its beginning or behind its end, as near to which its clock stands as it can.
    pub(in crate::app) fn is_beyond(&self, at: Timestamp) -> bool {
        (at < self.at && self.at <= self.begins_at) || (at > self.at && self.at >= self.ends_at)
    }

    /// Where the next search begins: what is on the screen was found or passed.
    pub fn offset(&self) -> u64 {
        self.steps.front().map_or(self.steps_end, |it| it.offset)
    }

    /// Goes to the end and stays there while it is written.
    pub(in crate::app) fn go_live(&mut self, now: Duration, wall: Timestamp) {
        (self.play, self.skipped, self.wrong) = (None, None, None);
        let at = if self.live { wall } else { self.ends_at };
        self.seek(at, now);
        self.follow = true;
        self.wanted = Some(Moment::At(at));
    }

    pub(in crate::app) fn turn_play(&mut self, now: Duration) {
        self.follow = false;
        self.play = match self.play {
            Some(_) => None,
            None => Some(Play { since: now, from: self.at }),
        };
    }

    /// Whether it plays at its end already, where there is nothing to play.
    pub fn is_at_end(&self) -> bool {
        self.at_end && self.steps.is_empty() && !self.is_behind()
    }

    pub(in crate::app) fn change_speed(&mut self, faster: bool, now: Duration) {
        let most = SPEEDS.len() - 1;
        self.speed = if faster { (self.speed + 1).min(most) } else { self.speed.saturating_sub(1) };
        if let Some(play) = &mut self.play {
            *play = Play { since: now, from: self.at };
        }
    }

    /// What to ask for by now.
    pub(in crate::app) fn wants(&mut self, now: Duration) -> Option<Wanted> {
        // Whoever goes elsewhere does not wait for what comes next here: its answer is for nobody then.
        let seeks = self.wanted.is_some();
        self.asked.take_if(|it| seeks && matches!(it.1, Wanted::More(_)));
        if self.asked.is_some() || self.wrong.is_some() {
            return None;
        }
        if let Some(moment) = self.wanted.take() {
            self.next_look = now + FOLLOW_EVERY;
            return Some(Wanted::Seek(moment));
        }
        self.screen.as_ref()?;
        let runs_out = self.play.is_some() && !self.at_end && self.steps.len() < PIECES_AHEAD;
        let is_due = self.follow && self.live && now >= self.next_look;
        if runs_out || is_due {
            self.next_look = now + FOLLOW_EVERY;
            return Some(Wanted::More(Moment::Before(self.steps_end)));
        }
        None
    }

    /// Takes an answer in.
    pub(in crate::app) fn take(&mut self, id: EffectId, came: Result<Replay, String>) {
        let Some((_, wanted)) = self.asked.take_if(|it| it.0 == id) else { return };
        let it = match came {
            Ok(it) => it,
            Err(why) => {
                (self.wrong, self.play) = (Some(why), None);
                return;
            }
        };
        (self.begins_at, self.ends_at, self.live) = (it.begins_at, it.ends_at, it.live);
        let end = |steps: &[Stepped], from: u64| {
            steps.iter().fold(from, |end, it| match &it.step {
                Step::Output(bytes) => it.offset + bytes.len() as u64,
                Step::Screen { .. } => it.offset,
                Step::Resize(_) | Step::Exit(_) => end,
            })
        };
        match wanted {
            Wanted::More(_) if it.offset == self.steps_end => {
                let (at, offset) = (it.at, it.offset);
                // What has no bytes of its own lies before the offset that is asked from: it is told by what it came to.
                if self.size_then() != Some(it.size) {
                    self.steps.push_back(Stepped { at, offset, step: Step::Resize(it.size) });
                }
                let is_known = |it: &Stepped| matches!(it.step, Step::Exit(_));
                if let Some(exit) = it.exit
                    && self.exit.is_none()
                    && !self.steps.iter().any(is_known)
                {
                    self.steps.push_back(Stepped { at, offset, step: Step::Exit(exit) });
                }
                self.steps_end = end(&it.steps, self.steps_end);
                self.at_end = it.at_end;
                self.steps.extend(it.steps);
            }
            Wanted::Seek(moment) | Wanted::More(moment) => {
                self.screen = Some(Screen::from_keyframe(it.size, &it.state));
                self.steps_end = end(&it.steps, it.offset);
                (self.steps, self.at_end, self.exit) = (it.steps.into(), it.at_end, it.exit);
                self.upto = match moment {
                    Moment::At(at) => at,
                    Moment::Before(_) => it.at,
                };
                if self.wanted.is_none() {
                    self.at = self.upto.clamp(self.begins_at, self.ends_at.max(self.begins_at));
                    self.advance(self.at);
                    if let Some(play) = &mut self.play {
                        play.from = self.at;
                    }
                }
            }
        }
    }

    /// The size of the screen once all that is there was fed to it.
    fn size_then(&self) -> Option<Size> {
        let size = |it: &Stepped| match it.step {
            Step::Resize(size) | Step::Screen { size, .. } => Some(size),
            Step::Output(_) | Step::Exit(_) => None,
        };
        self.steps.iter().rev().find_map(size).or_else(|| self.screen.as_ref().map(Screen::size))
    }

    /// Its clock goes on.
    pub(in crate::app) fn turn(&mut self, now: Duration, wall: Timestamp) -> Took {
        if self.is_behind() || self.screen.is_none() {
            // It does not run ahead of its picture.
            if let Some(play) = &mut self.play {
                play.since = now;
            }
            return Took::Nothing;
        }
        if self.follow {
            if self.live {
                self.ends_at = self.ends_at.max(wall);
            }
            let moved = self.advance(self.ends_at);
            let clock = self.at.0 / 1000 != self.ends_at.0 / 1000;
            self.at = self.ends_at;
            return if moved || clock { Took::Moved } else { Took::Nothing };
        }
        let Some(play) = self.play else { return Took::Nothing };
        let (factor, _) = self.speed();
        let passed = now.saturating_sub(play.since).mul_f64(factor);
        let mut target = later(play.from, passed);
        match self.steps.front() {
            Some(next) if next.at.since(target) > GAP => {
                self.skipped = Some(next.at.since(target));
                target = earlier(next.at, GAP_LEFT.mul_f64(factor.min(1.0)));
                self.play = Some(Play { since: now, from: target });
            }
            Some(_) => {}
            None if self.at_end => {
                self.play = None;
                (self.at, self.follow) = (self.ends_at, self.live);
                return Took::Ended;
            }
            // What comes is under way.
            None => {
                self.play = Some(Play { since: now, from: self.at });
                return Took::Nothing;
            }
        }
        let before = self.at;
        self.at = target.min(self.ends_at);
        let moved = self.advance(self.at);
        if moved || before.0 / 100 != self.at.0 / 100 { Took::Moved } else { Took::Nothing }
    }

    /// Feeds the screen with what was printed up to then; says whether there was something.
    fn advance(&mut self, to: Timestamp) -> bool {
        let mut moved = false;
        while self.steps.front().is_some_and(|it| it.at <= to) {
            let (Some(next), Some(screen)) = (self.steps.pop_front(), &mut self.screen) else {
                break;
            };
            moved = true;
            match next.step {
                Step::Output(bytes) => drop(screen.feed(&bytes)),
                Step::Resize(size) => screen.resize(size),
                Step::Screen { size, state } => *screen = Screen::from_keyframe(size, &state),
                Step::Exit(status) => self.exit = Some(status),
            }
        }
        self.upto = self.upto.max(to);
        moved
    }

    /// When its picture or its clock next changes.
    pub(in crate::app) fn wakes_at(&self, now: Duration) -> Option<Duration> {
        if self.is_behind() {
            return None;
        }
        if self.follow {
            return self.live.then(|| self.next_look.max(now + CLOCK_EVERY));
        }
        let play = self.play?;
        let (factor, _) = self.speed();
        let next = self.steps.front().map(|it| it.at.since(play.from));
        let due = next.map_or(now, |it| play.since + it.div_f64(factor));
        Some(due.clamp(now + FRAME_EVERY_MIN, now + CLOCK_EVERY))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn step(at: i64, offset: u64, text: &'static str) -> Stepped {
        let step = Step::Output(Bytes::from_static(text.as_bytes()));
        Stepped { at: Timestamp(at), offset, step }
    }

    fn replay(at: i64, offset: u64, text: &str, steps: Vec<Stepped>, at_end: bool) -> Replay {
        let size = Size::clamped(20, 3);
        let mut screen = Screen::new(size);
        screen.feed(text.as_bytes());
        Replay {
            begins_at: Timestamp(1000),
            ends_at: Timestamp(100_000),
            live: false,
            at: Timestamp(at),
            offset,
            size,
            state: screen.keyframe().into(),
            exit: None,
            steps,
            at_end,
        }
    }

    const NOW: Duration = Duration::from_secs(100);

    fn ask(it: &mut Player, number: u64, now: Duration) -> Option<Wanted> {
        let wanted = it.wants(now)?;
        it.asked = Some((EffectId(number), wanted));
        Some(wanted)
    }

    fn shows(it: &Player) -> String {
        it.screen().map(|it| it.lines().concat()).unwrap_or_default()
    }

    fn at(moment: i64) -> Player {
        let session = SessionId::random();
        let mut it = Player::new(session, "x".to_owned(), Some(Timestamp(moment)), Timestamp(0));
        assert_eq!(ask(&mut it, 1, NOW), Some(Wanted::Seek(Moment::At(Timestamp(moment)))));
        it
    }

    #[test]
    fn what_is_there_is_used_and_what_is_not_is_asked_for() {
        let mut it = at(10_000);
        let steps = vec![step(11_000, 1, "b"), step(12_000, 2, "c"), step(20_000, 3, "d")];
        it.take(EffectId(1), Ok(replay(9_000, 1, "a", steps, false)));
        assert_eq!((shows(&it).as_str(), it.at), ("a", Timestamp(10_000)));
        it.seek(Timestamp(12_500), NOW);
        assert_eq!((shows(&it).as_str(), ask(&mut it, 2, NOW)), ("abc", None));
        // Behind what is there, and before what shows.
        it.seek(Timestamp(30_000), NOW);
        assert_eq!(ask(&mut it, 2, NOW), Some(Wanted::Seek(Moment::At(Timestamp(30_000)))));
        it.seek(Timestamp(5_000), NOW);
        assert_eq!(ask(&mut it, 3, NOW), None, "one at a time");
        it.take(EffectId(2), Ok(replay(20_000, 4, "abcd", Vec::new(), true)));
        assert_eq!(it.at, Timestamp(5_000), "where it is to go is not lost");
        assert_eq!(ask(&mut it, 3, NOW), Some(Wanted::Seek(Moment::At(Timestamp(5_000)))));
        it.take(EffectId(3), Err("gone".to_owned()));
        assert_eq!(it.wrong.as_deref(), Some("gone"));
        assert_eq!(ask(&mut it, 4, NOW), None);
        it.seek(Timestamp(0), NOW);
        assert_eq!(it.at, Timestamp(1000), "not before it begins");
        assert!(ask(&mut it, 4, NOW).is_some());
    }

    #[test]
    fn it_plays_at_its_speed_and_skips_what_is_idle() {
        let mut it = at(10_000);
        let steps = vec![step(11_000, 1, "b"), step(60_000, 2, "c")];
        it.take(EffectId(1), Ok(replay(9_000, 1, "a", steps, true)));
        it.turn_play(NOW);
        it.change_speed(true, NOW);
        assert_eq!(it.speed().1, "2x");
        let later = |millis: u64| NOW + Duration::from_millis(millis);
        it.turn(later(400), Timestamp(0));
        assert_eq!((it.at, shows(&it).as_str()), (Timestamp(10_800), "a"));
        assert_eq!(it.wakes_at(later(400)), Some(later(500)));
        it.turn(later(500), Timestamp(0));
        assert_eq!((it.at, shows(&it).as_str()), (Timestamp(11_000), "ab"));
        // Nearly a minute of nothing.
        it.turn(later(600), Timestamp(0));
        assert_eq!(it.at, Timestamp(59_500));
        assert!(it.skipped.is_some());
        it.turn(later(850), Timestamp(0));
        assert_eq!((it.at, shows(&it).as_str()), (Timestamp(60_000), "abc"));
        assert_eq!(it.turn(later(900), Timestamp(0)), Took::Ended);
        assert!(!it.is_playing() && it.at == it.ends_at && it.wakes_at(later(900)).is_none());
    }

    #[test]
    fn more_comes_before_it_runs_out_and_its_clock_waits_for_it() {
        let mut it = at(10_000);
        it.take(EffectId(1), Ok(replay(9_000, 1, "a", vec![step(10_100, 1, "b")], false)));
        it.turn_play(NOW);
        assert_eq!(ask(&mut it, 2, NOW), Some(Wanted::More(Moment::Before(2))));
        it.turn(NOW + Duration::from_millis(100), Timestamp(0));
        it.turn(NOW + Duration::from_secs(9), Timestamp(0));
        assert_eq!((it.at, shows(&it).as_str()), (Timestamp(10_100), "ab"));
        it.take(EffectId(2), Ok(replay(10_100, 2, "ab", vec![step(10_200, 2, "c")], true)));
        it.turn(NOW + Duration::from_millis(9_100), Timestamp(0));
        assert_eq!((it.at, shows(&it).as_str()), (Timestamp(10_200), "abc"));
    }

    #[test]
    fn it_follows_one_that_is_being_written() {
        let session = SessionId::random();
        let mut it = Player::new(session, "x".to_owned(), None, Timestamp(50_000));
        assert!(ask(&mut it, 1, NOW).is_some());
        let live = |it: Replay| Replay { live: true, ends_at: Timestamp(50_000), ..it };
        it.take(EffectId(1), Ok(live(replay(9_000, 1, "a", Vec::new(), true))));
        assert_eq!(ask(&mut it, 2, NOW), None, "it came just now");
        let soon = NOW + FOLLOW_EVERY;
        assert_eq!(ask(&mut it, 2, soon), Some(Wanted::More(Moment::Before(1))));
        it.take(EffectId(2), Ok(live(replay(9_000, 1, "a", vec![step(50_500, 1, "b")], true))));
        assert_eq!(ask(&mut it, 3, soon), None, "not all the time");
        // Whoever goes elsewhere waits for none of that.
        assert!(ask(&mut it, 3, soon + FOLLOW_EVERY).is_some());
        assert_eq!(it.turn(NOW, Timestamp(51_000)), Took::Moved);
        assert_eq!((it.at, shows(&it).as_str()), (Timestamp(51_000), "ab"));
        assert!(it.wakes_at(NOW).is_some());
        it.seek_by(Duration::from_secs(5), false, NOW);
        assert!(!it.follow);
        assert_eq!(ask(&mut it, 4, NOW), Some(Wanted::Seek(Moment::At(Timestamp(46_000)))));
        it.take(EffectId(3), Ok(live(replay(9_000, 1, "a", vec![step(50_600, 1, "z")], true))));
        assert!(it.is_behind() && shows(&it) == "ab");
    }

    #[test]
    fn a_size_and_an_end_that_have_no_bytes_are_seen_by_whoever_follows() {
        let mut it = Player::new(SessionId::random(), "x".to_owned(), None, Timestamp(50_000));
        assert!(ask(&mut it, 1, NOW).is_some());
        let live = |it: Replay| Replay { live: true, ends_at: Timestamp(50_000), ..it };
        it.take(EffectId(1), Ok(live(replay(9_000, 1, "a", Vec::new(), true))));
        let wide = Size::clamped(60, 3);
        for round in 1..4 {
            let now = NOW + FOLLOW_EVERY * round;
            assert_eq!(ask(&mut it, 2, now), Some(Wanted::More(Moment::Before(1))));
            let more = Replay { size: wide, ..live(replay(9_500, 1, "a", Vec::new(), true)) };
            it.take(EffectId(2), Ok(more));
            it.turn(now, Timestamp(50_000));
            assert_eq!(it.screen().map(Screen::size), Some(wide));
            assert!(it.steps.is_empty(), "once");
        }
        let now = NOW + FOLLOW_EVERY * 9;
        assert!(ask(&mut it, 3, now).is_some());
        let exit = Some(ExitStatus::Code(3));
        let over = replay(9_900, 1, "a", Vec::new(), true);
        it.take(EffectId(3), Ok(Replay { exit, size: wide, ends_at: Timestamp(9_900), ..over }));
        it.turn(now, Timestamp(60_000));
        assert_eq!((it.exit, it.at), (exit, Timestamp(9_900)));
    }
}
