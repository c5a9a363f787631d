//! Asks: what waits and what became of it, the place that shows it, and answers. A key answers only what was on
//! screen, whole and for long enough, and only if it was pressed for that.

use super::Turn;
use crate::{
    app::{
        action::Action,
        ask::{end_words, scope_words},
        asks::{ALLOW_WORD, AllowBox, Inbox, Shown, Listed, Waits, in_words, with_foot},
        effect::{Act, EffectId},
        gate::{Gate, HELD_FOR},
        line::Editor,
        lost::Lost,
        msg::{Link, Mouse, MouseKind, Reply},
        state::{LineKind, Overlay, Pending},
        view::View,
    },
    base::{fault::Outcome, id::AskId, text::count},
    model::{
        ask::{Answer, Ask, AskState, RiskLevel, Scope, Verdict},
        event::Level,
    },
    vt::key::Stroke,
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
                let mut inbox = Inbox::default();
                inbox.list(&self.state.asks.waiting);
                if inbox.rows.is_empty() {
                    inbox.tab = Listed::Ended;
                }
                inbox.ended.set_count(self.state.asks.ended.len());
                let over = !self.state.views.is_empty();
                self.open_view(View::Asks(Box::new(inbox)), over);
                self.ask_ended();
            }
        }
    }

    fn inbox_mut(&mut self) -> Option<&mut Inbox> {
        match self.state.views.last_mut() {
            Some(View::Asks(it)) => Some(it),
            _ => None,
        }
    }

    fn shown_mut(&mut self) -> Option<&mut Shown> {
        self.inbox_mut()?.shown.as_mut()
    }

    /// Shows all of the ask under the cursor.
    fn read_ask(&mut self) {
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
            Action::Again => self.ask_ended(),
            Action::AskOpen => self.read_ask(),
            Action::AskAllow => self.answer(Verdict::Allow, Scope::Once, false),
            Action::AskAllowSession => self.answer(Verdict::Allow, Scope::Session, false),
            Action::AskAllowHour => self.answer(Verdict::Allow, Scope::Hour, false),
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
            (Some(it), _) => it.act(action),
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
            None => self.close_view(),
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
                self.answer(Verdict::Deny, Scope::Once, false);
            }
            Some(it) if it.over.is_some() => self.go_on(),
            _ => self.notice(Level::Info, "nothing is chosen; the keys below answer it"),
        }
    }

    /// After one that is over, by whoever's answer: the next, or back to where the operator was.
    fn go_on(&mut self) {
        let Some(it) = self.state.shown_ask() else { return };
        let (at, id) = (it.ask.asked.created_at, it.ask.asked.id.clone());
        match self.state.asks.next_after(at, &id).map(|it| it.id.clone()) {
            Some(next) => self.show_waiting(&next),
            None => self.close_view(),
        }
    }

    /// A key wants to answer. Why it does not is said, but to keys that repeat.
    fn answer(&mut self, verdict: Verdict, scope: Scope, say: bool) {
        let now = self.state.now.since_start;
        let (key_at, last) = (self.state.key_at, self.state.pressed_last);
        let Some(it) = self.state.shown_ask() else {
            let (key, what) = (self.state.key_words(Action::AskOpen), "an ask is answered where");
            return self.notice(Level::Info, &format!("{what} all of it is read; {key} opens it"));
        };
        if let Some(over) = &it.over {
            let text = format!("nothing is answered: {over}");
            return self.notice(Level::Info, &text);
        }
        // What is not a key that was pressed answers nothing.
        let Some(press) = self.press else {
            return self.notice(Level::Info, "only a key answers an ask");
        };
        if press.stroke != Stroke::Press {
            return;
        }
        if !matches!(self.state.link, Link::Up { .. }) {
            return self.notice(Level::Warning, "there is no hub to answer to");
        }
        if let Some(row) = it.gate.unseen() {
            let left = it.lines.len().saturating_sub(row);
            if let Some(it) = self.shown_mut() {
                it.scroll_to(row);
            }
            let text = format!("{} of it were not on screen yet", count(left, "row"));
            return self.notice(Level::Warning, &text);
        }
        if !it.gate.is_open(now, key_at) || self.state.ask_is_covered() {
            return self.notice(Level::Warning, "too soon to have been read: pause, then answer");
        }
        if last == Some(press.key) && now < key_at + HELD_FOR {
            let text = "the same key again: a moment's pause, so that it is no key held down";
            return self.notice(Level::Warning, text);
        }
        let ask = it.ask.clone();
        match verdict {
            Verdict::Deny if say => {
                let (id, digest) = (ask.asked.id.clone(), ask.digest.clone());
                self.open_line(LineKind::DenySay { ask: id, digest }, "");
            }
            Verdict::Deny => self.decide(&ask, Answer { verdict, scope, message: None }),
            Verdict::Allow if ask.risk.level == RiskLevel::High => {
                let gate = Gate::new(self.state.asks.mark(), 0);
                let editor = Editor::new("", ALLOW_WORD.len() * 2);
                let open = AllowBox { ask, scope, editor, wrong: None, gate };
                self.hint_was_followed();
                self.state.overlay = Some(Overlay::Allow(Box::new(open)));
            }
            Verdict::Allow => self.decide(&ask, Answer { verdict, scope, message: None }),
        }
    }

    /// Sends an answer to what was on screen, and goes on to what waits next.
    fn decide(&mut self, ask: &Ask, answer: Answer) {
        let id = ask.asked.id.clone();
        if !self.state.asks.waiting.iter().any(|it| it.id == id) {
            return self.notice(Level::Warning, "it waits no more; nothing is answered");
        }
        let does = match answer.verdict {
            Verdict::Allow => format!("allowing {}", in_words(ask)),
            Verdict::Deny => format!("denying {}", in_words(ask)),
        };
        let act = Act::Decide { ask: id.clone(), digest: ask.digest.clone(), answer };
        let pending = Pending::Decide { ask: id.clone(), says: does };
        if self.start(act, Some(pending)).is_none() {
            return;
        }
        self.state.asks.deciding.insert(id);
        self.go_on();
    }

    /// The line with what is said to the agent was accepted.
    pub(super) fn deny_said(&mut self, id: &AskId, digest: &str, message: &str) {
        let is_key = self.press.is_some_and(|it| it.stroke == Stroke::Press);
        let same = |it: &&Shown| {
            it.over.is_none() && it.ask.asked.id == *id && it.ask.digest == digest
        };
        let Some(ask) = self.state.shown_ask().filter(same).map(|it| it.ask.clone()) else {
            let text = "what was asked waits no more as it was; nothing is answered";
            return self.notice(Level::Warning, text);
        };
        if !is_key {
            return;
        }
        let message = (!message.is_empty()).then(|| message.to_owned());
        self.decide(&ask, Answer { verdict: Verdict::Deny, scope: Scope::Once, message });
    }

    /// A letter for the box that wants a word: typed, one by one, after it was on screen for a while.
    pub(super) fn type_in_allow(&mut self, text: &str) {
        let (now, key_at) = (self.state.now.since_start, self.state.key_at);
        let is_key = self.press.is_some_and(|it| it.stroke == Stroke::Press);
        let Some(Overlay::Allow(it)) = &mut self.state.overlay else { return };
        if !is_key {
            it.wrong = Some("the word is typed, not pasted and not held".to_owned());
        } else if it.editor.text().is_empty() && !it.gate.is_open(now, key_at) {
            it.wrong = Some("too soon to have been read: pause, then type".to_owned());
        } else {
            it.wrong = None;
            it.editor.insert(text);
        }
    }

    /// Actions in that box.
    pub(super) fn allow_action(&mut self, action: Action) -> bool {
        let is_key = self.press.is_some_and(|it| it.stroke == Stroke::Press);
        let Some(Overlay::Allow(it)) = &mut self.state.overlay else { return false };
        match action {
            Action::LineCancel | Action::DialogCancel => self.state.overlay = None,
            Action::LineAccept | Action::DialogAccept if !is_key => {}
            Action::LineAccept | Action::DialogAccept if it.editor.text() != ALLOW_WORD => {
                it.wrong = Some(format!("nothing is allowed: the word is `{ALLOW_WORD}`"));
            }
            Action::LineAccept | Action::DialogAccept => {
                let (ask, scope) = (it.ask.clone(), it.scope);
                self.state.overlay = None;
                let answer = Answer { verdict: Verdict::Allow, scope, message: None };
                self.decide(&ask, answer);
            }
            _ => return it.editor.act(action),
        }
        true
    }

    /// A frame with what was to be seen is out.
    pub(super) fn drawn(&mut self, it: crate::app::gate::Glimpse) {
        let now = self.state.now.since_start;
        let boxed = match &mut self.state.overlay {
            Some(Overlay::Allow(open)) => Some(open.gate.drawn(it, now)),
            _ => None,
        };
        let news = match boxed {
            Some(news) => news,
            None => self.shown_mut().is_some_and(|shown| shown.gate.drawn(it, now)),
        };
        self.state.dirty |= news;
    }

    /// What is on screen may not be what was read: it is to be seen anew before it is answered.
    pub(super) fn look_at_ask_anew(&mut self, afresh: bool) {
        let mark = self.state.asks.mark();
        if let Some(it) = self.shown_mut() {
            if afresh {
                it.gate = Gate::new(mark, it.lines.len());
            } else {
                it.gate.close(mark);
            }
        }
        if let Some(Overlay::Allow(it)) = &mut self.state.overlay {
            it.gate.close(mark);
            it.editor.set("");
        }
        self.state.dirty = true;
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
        let (now, key_at) = (self.state.now.since_start, self.state.key_at);
        let covered = self.state.ask_is_covered();
        let ended = self.state.asks.ended.len();
        let Some(inbox) = self.inbox_mut() else { return };
        let rows = usize::from(area.list.1.height);
        inbox.cursor.set_height(rows);
        inbox.ended.set_count(ended);
        inbox.ended.set_height(rows);
        let Some(shown) = self.state.shown_ask() else { return };
        let body = with_foot(area.side.1).0;
        let lines = (shown.cells != body.width || shown.lines.is_empty())
            .then(|| self.state.ask_lines(&shown.ask, body.width));
        let mark = self.state.asks.mark();
        let Some(it) = self.shown_mut() else { return };
        if let Some(lines) = lines {
            (it.gate, it.cells) = (Gate::new(mark, lines.len()), body.width);
            it.lines = lines;
        }
        it.height = usize::from(body.height);
        it.scroll_to(it.top);
        if covered && !it.covered {
            it.gate.close(mark);
        }
        it.covered = covered;
        let lit = !covered && it.over.is_none() && it.gate.is_open(now, key_at);
        let news = std::mem::replace(&mut it.lit, lit) != lit;
        self.state.dirty |= news;
    }

    /// The fleet asks for something else than before.
    fn asks_changed(&mut self) {
        let over = self.state.asks.renew(&self.state.fleet);
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
            let asked = crate::model::ask::Asked { askers: it.ask.asked.askers, ..fresh.asked.clone() };
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

    /// A box or a line that would have answered it is of no use any more; what is typed for it goes nowhere.
    fn take_answer_away(&mut self, id: &AskId) {
        let boxed = matches!(&self.state.overlay, Some(Overlay::Allow(it)) if it.ask.asked.id == *id);
        let line = self.state.line.as_ref().map(|it| &it.kind);
        let lined = matches!(line, Some(LineKind::DenySay { ask, .. }) if ask == id);
        if !(boxed || lined) {
            return;
        }
        (self.state.overlay, self.state.line) = (None, None);
        let why = "what you were answering waits no more as it was".to_owned();
        self.notice(Level::Warning, &why);
        self.state.lost = Some(Lost { why, at: self.state.now.since_start });
    }

    /// Asks what became of those that wait no more.
    pub(super) fn ask_ended(&mut self) {
        if self.state.asks.asked.is_some() {
            self.state.asks.again = true;
            return;
        }
        self.state.asks.again = false;
        self.state.asks.asked = self.start(Act::Asks, Some(Pending::Asks));
    }

    pub(super) fn asks_done(&mut self, id: EffectId, pending: Pending, result: Outcome<Reply>) {
        match (pending, result) {
            (Pending::Asks, result) => {
                self.state.asks.asked.take_if(|it| *it == id);
                match result {
                    Ok(Reply::Asks(ended)) => self.take_ended(ended),
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
                let word = match (now.state, scope) {
                    (AskState::Allowed, scope) => format!("allowed ({})", scope_words(scope)),
                    _ => "denied".to_owned(),
                };
                self.notice(Level::Info, &format!("{word}: {}", in_words(&now)));
                self.ask_ended();
            }
            (Pending::Decide { ask, says }, Err(fault)) => {
                self.state.asks.deciding.remove(&ask);
                self.fault(&says, &fault);
            }
            _ => self.notice(Level::Error, "the hub answered something else"),
        }
    }

    fn take_ended(&mut self, ended: Vec<Ask>) {
        let here = self.state.inbox().and_then(|it| self.state.asks.ended.get(it.ended.at()));
        let here = here.map(|it| it.asked.id.clone());
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
            it.lines.clear();
        }
        self.state.asks.keep_ended(ended);
        let row = here.and_then(|id| self.state.asks.ended.iter().position(|it| it.asked.id == id));
        let count_of = self.state.asks.ended.len();
        if let Some(inbox) = self.inbox_mut() {
            let above = inbox.ended.at().saturating_sub(inbox.ended.top());
            inbox.ended.set_count(count_of);
            if let Some(row) = row.filter(|_| inbox.ended.at() > 0) {
                inbox.ended.show_from(row, above);
            }
        }
        if told.len() > ENDS_TOLD_MAX {
            let key = self.state.key_words(Action::AsksShow);
            let text = format!("{} are over; {key} shows what became of them", count(told.len(), "ask"));
            return self.notice(Level::Info, &text);
        }
        for (level, text) in told {
            self.notice(level, &text);
        }
    }

    pub(super) fn mouse_in_asks(&mut self, mouse: Mouse, row: Option<usize>, again: bool) {
        let lines = isize::try_from(self.state.config.scroll_lines).unwrap_or(3);
        let rows = match mouse.kind {
            MouseKind::WheelUp => -lines,
            MouseKind::WheelDown => lines,
            MouseKind::Down(crate::app::msg::Button::Left) => 0,
            _ => return,
        };
        let Some(inbox) = self.inbox_mut() else { return };
        if let Some(it) = &mut inbox.shown {
            return it.scroll_to(it.top.saturating_add_signed(rows));
        }
        let cursor =
            if inbox.tab == Listed::Waiting { &mut inbox.cursor } else { &mut inbox.ended };
        match row.map(|it| cursor.top() + it).filter(|it| *it < cursor.count()) {
            _ if rows != 0 => cursor.move_by(rows),
            Some(row) => cursor.move_to(row),
            None => return,
        }
        if let Some(View::Asks(it)) = self.state.views.last_mut() {
            it.leave_over(&self.state.asks.waiting);
        }
        if again && rows == 0 {
            self.read_ask();
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
