//! `update`: one message in, state changed, effects out. Never waits for anything.

mod actions;
mod answers;
mod apply;
mod asks;
mod away;
mod boxes;
mod contexts;
mod diff;
mod ended;
mod feed;
mod gauges;
mod files;
mod keys;
mod losses;
mod lost;
pub mod mouse;
mod panes;
mod records;
mod results;
mod scroll;
mod snapshots;
mod steer;
mod syscalls;
mod timeline;
mod typing;
mod verbs;
mod views;
mod write;

use super::{
    copy::{Copy, Opened},
    effect::{Act, Effect, EffectId},
    fleet::Row,
    grid::Slot,
    layout,
    msg::{Link, Moment, MouseKind, Msg},
    pane::{Feed, Watch},
    state::{PENDING_MAX, Pending, Place, State},
};
use crate::{
    base::id::{HubNumber, SessionId},
    model::{
        event::{Event, Level},
        session::Session,
    },
    vt::key::{KeyPress, Stroke},
};

/// Takes one message in. `State::take_dirty` then says whether to draw, `State::wake_at` when to
/// send `Msg::Tick`.
pub fn update(state: &mut State, now: Moment, msg: Msg) -> Vec<Effect> {
    state.now = now;
    let quiet = match &msg {
        Msg::Output { .. }
        | Msg::Tick
        | Msg::Done { .. }
        | Msg::Drawn(_)
        | Msg::Gauges(_)
        | Msg::Syscalls { .. } => true,
        // Where no box shows all there is to know of one.
        Msg::Event(Event::Changed { sandbox, .. }) if state.overlay.is_none() => {
            state.fleet.get(&sandbox.id).is_some_and(|it| it.looks_like(sandbox))
        }
        _ => false,
    };
    let typed = matches!(msg, Msg::Key(_) | Msg::Paste(_));
    let was_dirty = state.dirty;
    let by_hand = matches!(msg, Msg::Key(_) | Msg::Mouse(_) | Msg::Paste(_));
    let looks = match &msg {
        Msg::Key(press) => press.stroke != Stroke::Release,
        Msg::Mouse(mouse) => matches!(mouse.kind, MouseKind::Down(_)),
        _ => false,
    };
    let press = match &msg {
        Msg::Key(press) => Some(*press),
        _ => None,
    };
    let mut turn = Turn { state, by_hand, press, looks, spoke: false, effects: Vec::new() };
    turn.state.dirty |= !quiet;
    turn.message(msg);
    turn.settle();
    let Turn { state, effects, .. } = turn;
    let passed_on = effects.iter().all(|it| matches!(it.act, Act::Input { .. } | Act::Sign(_)));
    if typed && passed_on && !effects.is_empty() {
        // What went to the program changes nothing here; its echo will, and that frame goes first.
        state.dirty = was_dirty;
    }
    state.dirty |= std::mem::take(&mut state.drawn_ahead);
    state.dirty |= state.ages_read_anew();
    effects
}

/// Rows of the fleet that are looked through for a session to fill a pane with.
const ROWS_TRIED_MAX: usize = 64;

/// Rows above the choices of the first-run page.
pub const FIRST_RUN_TOP: u16 = 4;

/// One run of `update`: the state and the effects so far.
struct Turn<'a> {
    state: &'a mut State,
    /// The message is the operator's own doing.
    by_hand: bool,
    /// The message is this key.
    press: Option<KeyPress>,
    /// The operator has looked at what there is, and acts.
    looks: bool,
    /// Something was said of what is done where the operator is.
    spoke: bool,
    effects: Vec<Effect>,
}

impl Turn<'_> {
    fn message(&mut self, msg: Msg) {
        let asked = matches!(msg, Msg::Key(_) | Msg::Mouse(_));
        let before = self.state.fleet.current().map(|it| it.sandbox.id.clone());
        // What was only run past was not looked at.
        let seen = self.in_sight().filter(|_| self.looks && self.state.rest.at().is_none());
        if let Some(seen) = seen.filter(|it| self.state.voices.looked_at.as_ref() == Some(it)) {
            self.call_seen(&seen);
        }
        self.take(msg);
        let here = self.state.fleet.current().map(|it| &it.sandbox.id);
        if before.is_some() && before.as_ref() != here {
            self.state.swapped_at = (!asked).then_some(self.state.now.since_start);
        }
    }

    fn take(&mut self, msg: Msg) {
        match msg {
            Msg::Key(press) => {
                self.state.last_input = self.state.now.since_start;
                if press.stroke != Stroke::Release {
                    self.state.awaited = None;
                    self.give_sign();
                }
                if self.state.frame.too_small {
                    self.key_unseen(press);
                } else {
                    self.key(press);
                }
                if press.stroke != Stroke::Release {
                    self.state.key_at = self.state.now.since_start;
                    self.state.pressed_last = Some(press.key);
                }
            }
            Msg::Mouse(mouse) => {
                self.state.last_input = self.state.now.since_start;
                let pressed = matches!(mouse.kind, MouseKind::Down(_));
                if pressed {
                    self.state.awaited = None;
                }
                // Where nothing is drawn, nothing is clicked.
                if !self.state.frame.too_small {
                    self.mouse(mouse);
                }
                if pressed {
                    self.state.key_at = self.state.now.since_start;
                }
            }
            Msg::Paste(text) => {
                self.state.last_input = self.state.now.since_start;
                self.give_sign();
                self.paste(&text);
                self.state.key_at = self.state.now.since_start;
            }
            Msg::Focus(on) => {
                self.focus_changed(on);
                self.look_at_ask_anew(false);
            }
            Msg::Resize(columns, rows) => self.resized((columns, rows)),
            Msg::Drawn(glimpse) => self.drawn(glimpse),
            Msg::Tick => self.tick(),
            Msg::Event(event) => self.event(event),
            Msg::Output { session, generation, output } => {
                self.output(&session, generation, output);
            }
            Msg::OutputEnded { session, generation, why } => {
                self.output_ended(&session, generation, why);
            }
            Msg::Gauges(round) => self.gauges_came(round),
            Msg::Syscalls { generation, part } => self.syscalls_came(generation, part),
            Msg::Files(news) => self.files_news(news),
            Msg::Link(link) => self.only_link(link),
            Msg::Role(role) => self.state.role = role,
            Msg::Silent(why) => self.silent(why),
            Msg::Hubs(hubs) => self.hubs(hubs),
            Msg::Done { id, result } => self.done(id, result),
            Msg::Config(result) => self.config(result),
            Msg::Keymap(result) => self.keymap(result),
            Msg::Theme(result) => self.theme(result),
            Msg::Choices { keymaps, themes } => {
                (self.state.keymaps, self.state.themes) = (keymaps, themes);
            }
            Msg::Agents(mut agents) => {
                agents.truncate(20);
                self.state.agents = agents;
            }
            Msg::Notice(level, text) => self.notice(level, &text),
        }
    }

    /// How the only hub is reached has changed.
    fn only_link(&mut self, link: Link) {
        let before = self.state.link.clone();
        self.link(HubNumber::FIRST, &before, link);
    }

    fn resized(&mut self, size: (u16, u16)) {
        self.state.size = size;
        self.make_pictures_anew();
        self.look_at_ask_anew(true);
    }

    /// Starts something; `None` when too much is under way already, which is said.
    fn start(&mut self, act: Act, pending: Option<Pending>) -> Option<EffectId> {
        if pending.is_some() && self.state.pending.len() >= PENDING_MAX {
            self.notice(Level::Error, "the hub does not keep up: nothing more is sent to it");
            return None;
        }
        if let Act::Input { session, .. } | Act::Lease { session, .. } = &act {
            self.state.lanes.insert(session.clone());
        }
        let id = EffectId(self.state.next_id);
        self.state.next_id += 1;
        if let Some(pending) = pending {
            self.state.pending.insert(id, pending);
        }
        self.effects.push(Effect { id, act });
        Some(id)
    }

    /// Starts what names no thing of a hub, of that one.
    fn start_of(&mut self, hub: HubNumber, act: Act, pending: Option<Pending>) -> Option<EffectId> {
        let act = self.act_of(hub, act);
        self.start(act, pending)
    }

    /// Bound to that hub. Only the first is meant without a word, for it alone never goes: what was decided for another that has
    /// left meanwhile is refused, and never done to the one that is left.
    fn act_of(&self, hub: HubNumber, act: Act) -> Act {
        let bare = hub == HubNumber::FIRST && !self.state.hubs.are_many();
        if bare { act } else { Act::Of(hub, Box::new(act)) }
    }

    fn notice(&mut self, level: Level, text: &str) {
        let now = self.state.now;
        self.state.notices.push(now, level, text);
        self.spoke = self.by_hand;
        self.state.dirty = true;
    }

    /// Said of the place that is open; it goes with it.
    fn notice_here(&mut self, level: Level, text: &str) {
        self.notice(level, text);
        self.spoke |= self.state.view().is_some();
    }

    /// Brings everything that follows from the state up to date with it.
    fn settle(&mut self) {
        self.follow_cursor();
        self.keep_focus_true();
        self.close_lanes();
        self.count_asks();
        let frame = layout::frame(self.state);
        if frame != self.state.frame {
            self.state.frame = frame;
            self.state.dirty = true;
            self.resize_typed_into();
        }
        self.settle_views();
        self.settle_ask();
        self.read_records_anew();
        self.settle_records();
        self.settle_gauges();
        self.settle_timeline();
        self.watch_gauges();
        self.watch_syscalls();
        let rows = self.state.frame.fleet.map_or(0, |(_, list)| list.height);
        self.state.fleet.set_height(usize::from(rows));
        if let Some(copy) = &self.state.copy {
            let body = self
                .state
                .frame
                .panes
                .iter()
                .find(|it| self.state.session_in(it.slot) == Some(&copy.session));
            let height = body.map_or(1, |it| usize::from(it.body.height));
            if let Some(copy) = &mut self.state.copy {
                copy.set_height(height);
            }
        }
        self.load_scrollback();
        self.end_search_of_closed();
        self.watch_what_shows();
        self.title();
        if self.looks {
            self.state.voices.looked_at = self.in_sight();
            if let Some(typed) = self.state.grip.as_ref().map(|it| it.session.clone()) {
                self.call_seen(&typed);
            }
        }
        let place = self.state.whereabouts();
        if std::mem::take(&mut self.spoke) {
            self.state.notices.belongs(place);
        }
        self.state.dirty |= self.state.notices.left_for(place);
    }

    /// Following panes show the session that leads under the cursor, until told otherwise.
    fn follow_cursor(&mut self) {
        let follow = self.state.follow.as_ref();
        let there = follow.is_some_and(|it| self.state.fleet.session(it).is_some());
        if there && (self.state.grip.is_some() || self.state.copy.is_some()) {
            return;
        }
        if let Some(wanted) = self.state.awaited.take() {
            if self.state.fleet.session(&wanted.session).is_some() {
                self.welcome(&wanted);
                return;
            }
            self.state.awaited = Some(wanted);
        }
        let follow = self.to_follow();
        let before = std::mem::replace(&mut self.state.follow, follow);
        if before.is_some() && before != self.state.follow {
            self.moved();
        }
    }

    /// What a following pane shows: the selection, unless another pane has it; then what it showed
    /// before, else any running session that no pane has.
    fn to_follow(&self) -> Option<SessionId> {
        let fleet = &self.state.fleet;
        let slots = self.state.grid.tab().slots();
        let free = |it: &&Session| {
            !slots.iter().any(|slot| matches!(slot, Slot::Kept(kept) if *kept == it.id))
        };
        let current = fleet.current();
        let before = self.state.follow.as_ref().and_then(|it| fleet.session(it));
        let before = before.filter(|(_, it)| free(it));
        let here = before
            .filter(|(row, _)| current.is_some_and(|current| current.sandbox.id == row.sandbox.id));
        let leading = current.and_then(Row::leading);
        let running = || {
            let rows = fleet.from_cursor().take(ROWS_TRIED_MAX);
            let sessions = rows.flat_map(|row| &row.sandbox.sessions);
            sessions.filter(|it| it.exit.is_none()).find(free)
        };
        let session = match (here, leading) {
            (Some((_, session)), _) => Some(session),
            (None, Some(leading)) if free(&leading) => Some(leading),
            (None, Some(_)) => before.map(|(_, it)| it).or_else(running),
            (None, None) => None,
        };
        session.map(|it| it.id.clone())
    }

    /// A first step shows at once; further ones show when the cursor has come to rest, so that
    /// running through a long list asks the hub for nothing on the way.
    fn moved(&mut self) {
        let now = self.state.now.since_start;
        self.state.rest.moved(now);
    }

    /// Panes of sessions that are no more are empty.
    fn drop_gone(&mut self) {
        let fleet = &self.state.fleet;
        for tab in self.state.grid.tabs_mut().filter(|_| fleet.known) {
            tab.retain(|id| fleet.session(id).is_some());
        }
    }

    /// What is gone is typed into no more.
    fn close_lanes(&mut self) {
        let fleet = &self.state.fleet;
        let gone = |it: &&SessionId| fleet.known && fleet.session(it).is_none();
        let gone: Vec<SessionId> = self.state.lanes.iter().filter(gone).cloned().collect();
        for session in gone {
            self.state.lanes.remove(&session);
            self.start(Act::CloseLane(session), None);
        }
    }

    /// Lets go of what is no longer there.
    fn keep_focus_true(&mut self) {
        self.drop_gone();
        let focused = match self.state.place {
            Place::Panes => self.state.focused_session().cloned(),
            Place::Fleet => None,
        };
        if let Some(grip) = self.state.grip.take_if(|it| focused.as_ref() != Some(&it.session)) {
            self.strayed(&grip.session, "the session that you typed into");
            self.let_go(grip);
        }
        let astray = |it: &mut Copy| focused.as_ref() != Some(&it.session);
        if let Some(copy) = self.state.copy.take_if(astray) {
            self.strayed(&copy.session, "the session that you looked back into");
            if self.state.fleet.session(&copy.session).is_none() && copy.opened == Opened::Fleet {
                self.state.return_to_fleet();
            }
        }
        if self.state.is_first_run() {
            self.state.return_to_fleet();
        }
        let choices = self.state.first_choices().len();
        self.state.first_choice = self.state.first_choice.min(choices.saturating_sub(1));
    }

    /// Keys had a session that is no longer in focus: the operator's own doing, or a loss.
    fn strayed(&mut self, session: &SessionId, what: &str) {
        let gone = self.state.fleet.session(session).is_none();
        if gone || !self.by_hand {
            let why = format!("{what} {}", if gone { "is gone" } else { "went out of the focus" });
            self.notice(Level::Warning, &why);
            self.lose_keyboard(why);
        }
    }

    /// Subscribes to exactly the sessions that are on screen.
    fn watch_what_shows(&mut self) {
        let panes = self.state.frame.panes.iter();
        let wanted: Vec<SessionId> =
            panes.filter_map(|it| self.state.session_in(it.slot).cloned()).collect();
        let gone: Vec<SessionId> =
            self.state.watches.keys().filter(|it| !wanted.contains(it)).cloned().collect();
        for session in gone {
            if let Some(watch) = self.state.watches.remove(&session) {
                let generation = watch.generation;
                self.start(Act::Unsubscribe { session, generation }, None);
            }
        }
        let at_rest = self.state.rest.at().is_none() || self.state.grip.is_some();
        for session in wanted {
            let passing = !at_rest && self.state.follow.as_ref() == Some(&session);
            if !passing && !self.state.watches.contains_key(&session) {
                let generation = self.subscribe(&session);
                self.state.watches.insert(session, Watch::new(generation));
                self.state.dirty = true;
            }
        }
    }

    fn subscribe(&mut self, session: &SessionId) -> u64 {
        let generation = self.state.next_id;
        let session = session.clone();
        self.start(Act::Subscribe { session, generation }, None);
        generation
    }

    fn tick(&mut self) {
        let now = self.state.now.since_start;
        let mut changed = self.state.notices.expire(now);
        changed |= self.state.shows_which_key();
        changed |= self.keys_count_again() || self.state.asked_at().is_some();
        changed |= self.state.work().is_some();
        self.state.rest.has_come(now);
        self.call_for_asks();
        changed |= self.state.grip.as_mut().is_some_and(|it| it.predicted.settle(now));
        let mut again = Vec::new();
        for (session, watch) in &mut self.state.watches {
            changed |= watch.settle(now);
            if let Feed::Broken { retry_at, .. } = &mut watch.feed
                && retry_at.take_if(|it| now >= *it).is_some()
            {
                again.push(session.clone());
            }
        }
        for session in again {
            self.resubscribe(&session);
        }
        // The rest is the age of a link that is down.
        self.state.dirty |= changed || self.state.link_ages();
    }

    fn resubscribe(&mut self, session: &SessionId) {
        let Some(old) = self.state.watches.get(session).map(|it| it.generation) else { return };
        self.start(Act::Unsubscribe { session: session.clone(), generation: old }, None);
        let generation = self.subscribe(session);
        if let Some(watch) = self.state.watches.get_mut(session) {
            watch.restart(generation);
        }
        self.state.dirty = true;
    }

    fn title(&mut self) {
        if !self.state.config.notify.title {
            return;
        }
        let asks = self.state.fleet.tally().asks;
        let title = match asks {
            0 => "sandwatch".to_owned(),
            1 => "(1 ask) sandwatch".to_owned(),
            it => format!("({it} asks) sandwatch"),
        };
        if title != self.state.title {
            self.state.title.clone_from(&title);
            self.start(Act::SetTitle(title), None);
        }
    }
}
