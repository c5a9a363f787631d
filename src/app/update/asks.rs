//! Asks: what waits and what became of it, and the place that shows it.

use std::collections::BTreeSet;

use super::Turn;
use crate::{
    app::{
        action::Action,
        ask::{end_words, scope_words},
        asks::{Inbox, Listed, Shown, Waits, in_words, with_foot},
        effect::{Act, EffectId},
        gate::Gate,
        lost::Until,
        msg::Reply,
        state::Pending,
        view::View,
    },
    base::{
        fault::Outcome,
        id::{AskId, SessionId},
        limits::CONSOLE_ASKS_MAX,
        text::count,
    },
    model::{
        ask::{Ask, AskState, Asked, RiskLevel, Scope, Verdict},
        event::Level,
    },
    runtime::AsksWanted,
};

/// How often the hub is asked what became of an ask that is over.
const TOLD_AFTER_MAX: u8 = 3;
/// Ends told one by one; more are counted.
const ENDS_TOLD_MAX: usize = 3;

impl Turn<'_> {
    /// Opens the place; asked for once more, the ask under the cursor.
    pub(super) fn open_asks(&mut self) {
        match self.state.inbox() {
            Some(it) if it.shown.is_none() => self.read_ask(),
            Some(_) => {}
            None => {
                let typed_into = self.state.grip.as_ref().map(|it| it.session.clone());
                let mut inbox = Inbox { typed_into, ..Inbox::default() };
                inbox.list(&self.state.asks.waiting);
                if inbox.rows.is_empty() {
                    inbox.tab = Listed::Ended;
                }
                inbox.ended.set_count(self.state.asks.ended.len());
                let over = !self.state.views.is_empty();
                self.open_view(View::Asks(Box::new(inbox)), over);
                self.list_ended();
            }
        }
    }

    pub(super) fn inbox_mut(&mut self) -> Option<&mut Inbox> {
        match self.state.views.last_mut() {
            Some(View::Asks(it)) => Some(it),
            _ => None,
        }
    }

    pub(super) fn shown_mut(&mut self) -> Option<&mut Shown> {
        self.inbox_mut()?.shown.as_mut()
    }

    /// Shows all of the ask under the cursor.
    pub(super) fn read_ask(&mut self) {
        let Some(inbox) = self.state.inbox() else { return };
        let ask = match inbox.tab {
            Listed::Ended => self.state.asks.ended.get(inbox.ended.at()).cloned(),
            Listed::Waiting => match inbox.current() {
                Some(row) => {
                    let ended = || self.state.asks.ended.iter().find(|it| it.asked.id == row.id);
                    let found = self.state.ask(row).or_else(ended).cloned();
                    if found.is_none() {
                        return self.notice(Level::Info, "it waits no more");
                    }
                    found
                }
                None => None,
            },
        };
        match ask {
            Some(ask) => self.show_ask(ask),
            None => self.notice(Level::Info, "there is nothing to read here"),
        }
    }

    fn show_ask(&mut self, ask: Ask) {
        let mark = self.state.asks.mark();
        self.hint_was_followed();
        if let Some(inbox) = self.inbox_mut() {
            inbox.shown = Some(Shown::new(ask, mark));
        }
        self.state.dirty = true;
    }

    /// Actions of the place; `false` when it is none.
    pub(super) fn asks_action(&mut self, action: Action) -> bool {
        if self.move_in_asks(action) {
            return true;
        }
        match action {
            Action::Back => self.back_in_asks(),
            Action::NextPlace | Action::PreviousPlace => {
                self.beside_in_asks(action == Action::NextPlace);
            }
            Action::Again => self.list_ended(),
            Action::AskRevoke => self.revoke(),
            Action::AskOpen => self.read_ask(),
            Action::AskAllow => self.answer(Verdict::Allow, Scope::Once, false),
            Action::AskAllowSession => self.answer(Verdict::Allow, Scope::Session, false),
            Action::AskAllowHour => self.answer(Verdict::Allow, Scope::Hour, false),
            Action::AskAllowAlways => self.answer(Verdict::Allow, Scope::Always, false),
            Action::AskAllowProject => self.answer(Verdict::Allow, Scope::Project, false),
            Action::AskEdit => self.answer(Verdict::Allow, Scope::Once, true),
            Action::AskSnapshot => self.answer_after_snapshot(),
            Action::AskDeny => self.answer(Verdict::Deny, Scope::Once, false),
            Action::AskDenySay => self.answer(Verdict::Deny, Scope::Once, true),
            Action::AskFocused => self.take_focused(),
            Action::Find | Action::FindNext | Action::FindPrevious => {
                let title = action.spec().title;
                self.notice(Level::Info, &format!("{title} does nothing here"));
            }
            _ => return false,
        }
        true
    }

    fn move_in_asks(&mut self, action: Action) -> bool {
        let Some(inbox) = self.inbox_mut() else { return false };
        match (&mut inbox.shown, inbox.tab) {
            (Some(it), _) => it.page.act(action),
            (None, Listed::Ended) => inbox.ended.act(action),
            (None, Listed::Waiting) => {
                let moved = inbox.cursor.act(action);
                if let (true, Some(View::Asks(it))) = (moved, self.state.views.last_mut()) {
                    it.leave_over(&self.state.asks.waiting);
                }
                moved
            }
        }
    }

    fn back_in_asks(&mut self) {
        if self.give_up() {
            return;
        }
        let shown = self.inbox_mut().and_then(|it| it.shown.take());
        match shown {
            Some(_) => self.list_asks(),
            None => {
                let typed = self.state.inbox().and_then(|it| it.typed_into.clone());
                self.close_view();
                if let Some(typed) = typed {
                    let why = self.no_longer_typing(&typed);
                    self.deafen(why, Until::Seen);
                }
            }
        }
    }

    /// The other list, or the next ask to read.
    fn beside_in_asks(&mut self, forward: bool) {
        let Some(inbox) = self.inbox_mut() else { return };
        if inbox.shown.is_none() {
            inbox.tab = if inbox.tab == Listed::Waiting { Listed::Ended } else { Listed::Waiting };
            return;
        }
        let Some(id) = self.state.shown_ask().map(|it| it.ask.asked.id.clone()) else { return };
        let waiting = &self.state.asks.waiting;
        let count = waiting.len();
        let at = waiting.iter().position(|it| it.id == id);
        let next = match at {
            Some(at) => (at + if forward { 1 } else { count.saturating_sub(1) }) % count.max(1),
            None => 0,
        };
        match waiting.get(next).filter(|it| it.id != id) {
            Some(next) => {
                let next = next.id.clone();
                self.show_waiting(&next);
            }
            None => self.notice(Level::Info, "no other asks"),
        }
    }

    fn show_waiting(&mut self, id: &AskId) {
        let Some(row) = self.state.asks.waiting.iter().find(|it| it.id == *id) else { return };
        let Some(ask) = self.state.ask(row).cloned() else { return };
        let at = self.state.asks.waiting.iter().position(|it| it.id == *id);
        if let (Some(at), Some(View::Asks(inbox))) = (at, self.state.views.last_mut()) {
            inbox.tab = Listed::Waiting;
            inbox.rows.clone_from(&self.state.asks.waiting);
            inbox.cursor.set_count(inbox.rows.len());
            inbox.cursor.move_to(at);
        }
        self.show_ask(ask);
    }

    fn list_asks(&mut self) {
        if let Some(View::Asks(inbox)) = self.state.views.last_mut() {
            inbox.list(&self.state.asks.waiting);
        }
    }

    /// What is set off is taken: to deny, where much is at stake.
    fn take_focused(&mut self) {
        match self.state.shown_ask() {
            Some(it) if it.ask.risk.level == RiskLevel::High && it.over.is_none() => {
                self.act(Action::AskDeny);
            }
            Some(it) if it.over.is_some() => self.go_on(),
            _ => self.notice(Level::Info, "nothing is chosen; the keys below answer it"),
        }
    }

    /// After one that is over, by whoever's answer: the next, or back to where the operator was.
    pub(super) fn go_on(&mut self) {
        let Some(it) = self.state.shown_ask() else { return };
        let (at, id) = (it.ask.asked.created_at, it.ask.asked.id.clone());
        match self.state.asks.next_after(at, &id).map(|it| it.id.clone()) {
            Some(next) => self.show_waiting(&next),
            None => {
                let typed = self.state.inbox().and_then(|it| it.typed_into.clone());
                self.close_view();
                // The same key again, or one that is held down, was not meant for what lies below.
                let why = match typed {
                    Some(it) => self.no_longer_typing(&it),
                    None => "nothing more waits for an answer".to_owned(),
                };
                self.deafen(why, Until::Quiet);
            }
        }
    }

    /// Said to somebody who opened the place out of a pane: the keyboard did not come back with it.
    fn no_longer_typing(&self, session: &SessionId) -> String {
        let known = self.state.fleet.session(session);
        let name = known.map_or_else(|| "it".to_owned(), |(row, it)| it.name(&row.sandbox.name));
        format!("you no longer type into {name}; {} does", self.state.key_words(Action::StepIn))
    }

    /// What waits is what the fleet says.
    pub(super) fn count_asks(&mut self) {
        if self.state.asks.seen != self.state.fleet.asks_changed() {
            self.asks_changed();
        }
    }

    /// The place has its sizes and its rows, and what is read opens or closes its gate.
    pub(super) fn settle_ask(&mut self) {
        let Some(area) = self.state.frame.view else { return };
        let (now, quiet_at) = (self.state.now.since_start, self.state.keys_quiet_at());
        let covered = self.state.ask_is_covered();
        let ended = self.state.asks.ended.len();
        let Some(inbox) = self.inbox_mut() else { return };
        let rows = usize::from(area.list.1.height);
        inbox.cursor.set_height(rows);
        inbox.ended.set_count(ended);
        inbox.ended.set_height(rows);
        let Some(shown) = self.state.shown_ask() else { return };
        let body = with_foot(area.side.1).0;
        let lines = (shown.page.cells != body.width || shown.page.lines.is_empty())
            .then(|| self.state.ask_lines(&shown.ask, body.width));
        let mark = self.state.asks.mark();
        let Some(it) = self.shown_mut() else { return };
        if let Some(lines) = lines {
            it.gate = Gate::new(mark, lines.len());
            (it.page.lines, it.page.cells) = (lines, body.width);
        }
        it.page.height = usize::from(body.height);
        it.page.scroll_to(it.page.top);
        if covered && !it.covered {
            it.gate.close(mark);
        }
        it.covered = covered;
        let lit = !covered && it.over.is_none() && it.gate.is_open(now, quiet_at);
        let news = std::mem::replace(&mut it.lit, lit) != lit;
        self.state.dirty |= news;
    }

    /// The fleet asks for something else than before.
    fn asks_changed(&mut self) {
        let (over, new) = self.state.asks.renew(&self.state.fleet);
        self.state.voices.owed.extend(new);
        self.call_for_asks();
        let asks = &mut self.state.asks;
        for it in over {
            if !asks.decided.remove(&it.id) && !asks.deciding.contains(&it.id) {
                asks.over.push((it, 0));
            }
        }
        let untold = !asks.over.is_empty();
        if self.state.inbox().is_some_and(|it| it.shown.is_none()) {
            self.list_asks();
        }
        self.shown_changed();
        if untold {
            self.ask_ended();
        }
        self.state.dirty = true;
    }

    /// What became of the ask that is read.
    fn shown_changed(&mut self) {
        let Some(it) = self.state.shown_ask().filter(|it| it.over.is_none()) else { return };
        let id = it.ask.asked.id.clone();
        let row = self.state.asks.waiting.iter().find(|it| it.id == id);
        let fresh = row.and_then(|it| self.state.ask(it)).cloned();
        let same = |fresh: &Ask| {
            // How many ask for it changes nothing of what is asked.
            let asked = Asked { askers: it.ask.asked.askers, ..fresh.asked.clone() };
            Ask { asked, ..fresh.clone() } == it.ask
        };
        match fresh {
            Some(fresh) if same(&fresh) => {
                if let Some(it) = self.shown_mut() {
                    it.ask.asked.askers = fresh.asked.askers;
                }
            }
            Some(fresh) => {
                self.take_answer_away(&id);
                self.show_ask(fresh);
                self.notice(Level::Warning, "the request is another one now: read it again");
            }
            None => {
                self.take_answer_away(&id);
                if let Some(it) = self.shown_mut() {
                    it.over = Some("it waits no more".to_owned());
                }
            }
        }
    }

    /// Reads the list of those that have ended anew.
    pub(super) fn list_ended(&mut self) {
        self.state.asks.list_wanted = true;
        self.ask_ended();
    }

    /// Asks what became of those that wait no more: of these alone, for the list may be long.
    pub(super) fn ask_ended(&mut self) {
        let asks = &mut self.state.asks;
        if asks.asked.is_some() {
            asks.again = true;
            return;
        }
        asks.again = false;
        let whole = std::mem::take(&mut asks.list_wanted);
        let mut ids: BTreeSet<AskId> = asks.over.iter().map(|(it, _)| it.id.clone()).collect();
        let shown = self.state.shown_ask().filter(|it| it.is_unexplained());
        ids.extend(shown.map(|it| it.ask.asked.id.clone()));
        let wanted = match whole {
            true => AsksWanted::newest(CONSOLE_ASKS_MAX),
            false if ids.is_empty() => return,
            false => AsksWanted::only(ids),
        };
        self.state.asks.asked = self.start(Act::Asks(wanted), Some(Pending::Asks { whole }));
    }

    pub(super) fn asks_done(&mut self, id: EffectId, pending: Pending, result: Outcome<Reply>) {
        match (pending, result) {
            (Pending::Asks { whole }, result) => {
                self.state.asks.asked.take_if(|it| *it == id);
                match result {
                    Ok(Reply::Asks(ended)) => self.take_ended(ended, whole),
                    Ok(_) => {
                        self.state.asks.wrong = Some("the hub answered something else".to_owned());
                    }
                    Err(fault) => {
                        self.state.asks.wrong = Some(fault.message().to_owned());
                        self.state.asks.over.clear();
                    }
                }
                if std::mem::take(&mut self.state.asks.again) {
                    self.ask_ended();
                }
            }
            (Pending::Decide { ask, .. }, Ok(Reply::Ask(now))) => {
                self.state.asks.deciding.remove(&ask);
                // The feed has not told it yet.
                if self.state.asks.waiting.iter().any(|it| it.id == ask) {
                    self.state.asks.decided.insert(ask);
                }
                let scope = now.decision.as_ref().map_or(Scope::Once, |it| it.answer.scope);
                let mut word = match (now.state, scope) {
                    (AskState::Allowed, scope) => format!("allowed ({})", scope_words(scope)),
                    _ => "denied".to_owned(),
                };
                if let Some(it) = now.decision.as_ref().map(|it| &it.besides) {
                    let rule = it.rule.as_ref().map(|it| format!(", rule {}", it.name.id));
                    word.push_str(&rule.unwrap_or_default());
                    word.push_str(if it.snapshot.is_some() { ", a snapshot was kept" } else { "" });
                    word.push_str(if it.edit.is_some() { ", in other words" } else { "" });
                }
                self.notice(Level::Info, &format!("{word}: {}", in_words(&now)));
                self.learn_ended(vec![*now], false);
            }
            (Pending::Revoke(_), Ok(Reply::Ask(now))) => self.revoked(*now),
            (Pending::Revoke(says), Err(fault)) => self.fault(&says, &fault),
            (Pending::Decide { ask, says }, Err(fault)) => {
                self.state.asks.deciding.remove(&ask);
                self.fault(&says, &fault);
            }
            _ => self.notice(Level::Error, "the hub answered something else"),
        }
    }

    fn take_ended(&mut self, ended: Vec<Ask>, whole: bool) {
        let over = std::mem::take(&mut self.state.asks.over);
        let mut told: Vec<(Level, String)> = Vec::new();
        for (it, tries) in over {
            match ended.iter().find(|ask| ask.asked.id == it.id) {
                Some(ask) => told.push(end_told(ask, &it)),
                // The hub has not written it down yet.
                None if tries + 1 < TOLD_AFTER_MAX => {
                    self.state.asks.over.push((it, tries + 1));
                    self.state.asks.again = true;
                }
                None => told.push((Level::Info, format!("it waits no more: {}", it.says))),
            }
        }
        if let Some(it) = self.shown_mut().filter(|it| it.ask.state == AskState::Pending)
            && it.over.is_some()
            && let Some(ask) = ended.iter().find(|ask| ask.asked.id == it.ask.asked.id)
        {
            it.over = Some(end_words(ask));
            it.ask = ask.clone();
            it.page.lines.clear();
        }
        self.learn_ended(ended, whole);
        if told.len() > ENDS_TOLD_MAX {
            let key = self.state.key_words(Action::AsksShow);
            let text =
                format!("{} are over; {key} shows what became of them", count(told.len(), "ask"));
            return self.notice(Level::Info, &text);
        }
        for (level, text) in told {
            self.notice(level, &text);
        }
    }
}

/// How an ask ended that somebody else answered, or nobody.
fn end_told(ask: &Ask, it: &Waits) -> (Level, String) {
    let by = ask.decision.as_ref().map_or("somebody", |it| it.by.as_str());
    match ask.state {
        AskState::Allowed => (Level::Info, format!("{by} allowed {}", it.says)),
        AskState::Denied => (Level::Info, format!("{by} denied {}", it.says)),
        AskState::Expired => {
            (Level::Warning, format!("denied, for nobody answered in time: {}", it.says))
        }
        AskState::Withdrawn => {
            (Level::Info, format!("withdrawn, who asked waits no more: {}", it.says))
        }
        AskState::Pending => (Level::Info, format!("it waits no more: {}", it.says)),
    }
}
