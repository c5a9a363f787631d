//! Answers to asks. A key answers only what was on screen, whole and for long enough, and only if it was pressed for
//! that.

use super::Turn;
use crate::{
    app::{
        action::Action,
        asks::{ALLOW_WORD, AllowBox, Shown, in_words},
        effect::Act,
        gate::{Gate, Glimpse, HELD_FOR},
        line::Editor,
        lost::Until,
        state::{LineKind, Overlay, Pending},
        view::Left,
        write::Room,
    },
    base::{id::AskId, text::count},
    model::{
        ask::{Answer, Ask, Choice, RiskLevel, Scope, Verdict},
        event::Level,
    },
    vt::key::Stroke,
};

impl Turn<'_> {
    /// A key wants to answer. Why it does not is said, but to keys that repeat.
    pub(super) fn answer(&mut self, verdict: Verdict, scope: Scope, say: bool) {
        let answer = Answer { verdict, scope, message: None };
        self.answer_with(answer.into(), say);
    }

    /// Allows it once the moment is kept.
    pub(super) fn answer_after_snapshot(&mut self) {
        let answer = Answer { verdict: Verdict::Allow, scope: Scope::Once, message: None };
        self.answer_with(Choice { snapshot: true, ..answer.into() }, false);
    }

    /// The same with what goes along; `say` = some words come first, for the agent or in place of what it asked for.
    fn answer_with(&mut self, choice: Choice, say: bool) {
        let now = self.state.now.since_start;
        let (quiet_at, last) = (self.state.keys_quiet_at(), self.state.pressed_last);
        let key_at = self.state.key_at;
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
        if !self.state.is_up(it.ask.asked.id.hub()) {
            let text = self.state.said_of(it.ask.asked.id.hub(), "there is no hub to answer to");
            return self.notice(Level::Warning, &text);
        }
        if let Some(row) = it.gate.unseen() {
            let left = it.page.lines.len().saturating_sub(row);
            if let Some(it) = self.shown_mut() {
                it.page.scroll_to(row);
            }
            let text = format!("{} of it were not on screen yet", count(left, "row"));
            return self.notice(Level::Warning, &text);
        }
        if !it.gate.is_open(now, quiet_at) || self.state.ask_is_covered() {
            return self.notice(Level::Warning, "too soon to have been read: pause, then answer");
        }
        if last == Some(press.key) && now < key_at + HELD_FOR {
            let text = "the same key again: a moment's pause, so that it is no key held down";
            return self.notice(Level::Warning, text);
        }
        let ask = it.ask.clone();
        match choice.answer.verdict {
            Verdict::Allow if say => self.write_edit(ask),
            Verdict::Allow if choice.answer.scope.is_rule() => self.write_rule(ask, choice),
            Verdict::Deny if say => {
                let (id, digest) = (ask.asked.id.clone(), ask.digest.clone());
                self.open_line(LineKind::DenySay { ask: id, digest }, "");
            }
            Verdict::Allow if ask.risk.level == RiskLevel::High => self.want_word(ask, choice),
            Verdict::Deny | Verdict::Allow => self.decide(&ask, choice),
        }
    }

    /// Opens the box that wants a word before something risky is allowed.
    pub(super) fn want_word(&mut self, ask: Ask, choice: Choice) {
        let gate = Gate::new(self.state.asks.mark(), 0);
        let editor = Editor::new("", ALLOW_WORD.len() * 2);
        let open = AllowBox { ask, choice, editor, wrong: None, gate };
        self.hint_was_followed();
        self.state.overlay = Some(Overlay::Allow(Box::new(open)));
    }

    /// Sends an answer to what was on screen, and goes on to what waits next.
    pub(super) fn decide(&mut self, ask: &Ask, choice: Choice) {
        let id = ask.asked.id.clone();
        if !self.state.asks.waiting.iter().any(|it| it.id == id) {
            return self.notice(Level::Warning, "it waits no more; nothing is answered");
        }
        let does = match choice.answer.verdict {
            Verdict::Allow if choice.snapshot => {
                format!("keeping this moment, then allowing {}", in_words(ask))
            }
            Verdict::Allow => format!("allowing {}", in_words(ask)),
            Verdict::Deny => format!("denying {}", in_words(ask)),
        };
        let keeps = choice.snapshot;
        let choice = Box::new(choice);
        let act = Act::Decide { ask: id.clone(), digest: ask.digest.clone(), choice };
        let pending = Pending::Decide { ask: id.clone(), says: does.clone() };
        let started = match keeps {
            // It may take a while, and is told then.
            true => self.begin(act, pending, does, Left::Finished),
            false => self.start(act, Some(pending)),
        };
        if started.is_none() {
            return;
        }
        self.state.asks.deciding.insert(id);
        self.go_on();
    }

    /// The line with what is said to the agent was accepted.
    pub(super) fn deny_said(&mut self, id: &AskId, digest: &str, message: &str) {
        let is_key = self.press.is_some_and(|it| it.stroke == Stroke::Press);
        let same =
            |it: &&Shown| it.over.is_none() && it.ask.asked.id == *id && it.ask.digest == digest;
        let Some(ask) = self.state.shown_ask().filter(same).map(|it| it.ask.clone()) else {
            let text = "what was asked waits no more as it was; nothing is answered";
            return self.notice(Level::Warning, text);
        };
        if !is_key {
            return;
        }
        let message = (!message.is_empty()).then(|| message.to_owned());
        let answer = Answer { verdict: Verdict::Deny, scope: Scope::Once, message };
        self.decide(&ask, answer.into());
    }

    /// A letter for the box that wants a word: typed, one by one, after it was on screen for a while.
    pub(super) fn type_in_allow(&mut self, text: &str) {
        let (now, quiet_at) = (self.state.now.since_start, self.state.keys_quiet_at());
        let is_key = self.press.is_some_and(|it| it.stroke == Stroke::Press);
        let Some(Overlay::Allow(it)) = &mut self.state.overlay else { return };
        if !is_key {
            it.wrong = Some("the word is typed, not pasted and not held".to_owned());
        } else if it.editor.text().is_empty() && !it.gate.is_open(now, quiet_at) {
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
                let (ask, choice) = (it.ask.clone(), it.choice.clone());
                self.state.overlay = None;
                self.decide(&ask, choice);
            }
            _ => return it.editor.act(action),
        }
        true
    }

    /// A frame with what was to be seen is out.
    pub(super) fn drawn(&mut self, it: Glimpse) {
        let now = self.state.now.since_start;
        let boxed = match &mut self.state.overlay {
            Some(Overlay::Allow(open)) => Some(open.gate.drawn(it, now)),
            Some(Overlay::Write(open)) => Some(open.gate.drawn(it, now)),
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
                it.gate = Gate::new(mark, it.page.lines.len());
            } else {
                it.gate.close(mark);
            }
        }
        if let Some(Overlay::Allow(it)) = &mut self.state.overlay {
            it.gate.close(mark);
            it.editor.set("");
        }
        let room = Room::of(self.state.size);
        match &mut self.state.overlay {
            Some(Overlay::Write(it)) if afresh => it.look_anew(mark, room),
            Some(Overlay::Write(it)) => it.gate.close(mark),
            _ => {}
        }
        self.state.dirty = true;
    }

    /// A box or a line that would have answered it is of no use any more; what is typed for it goes nowhere.
    pub(super) fn take_answer_away(&mut self, id: &AskId) {
        let boxed = match &self.state.overlay {
            Some(Overlay::Allow(it)) => it.ask.asked.id == *id,
            Some(Overlay::Write(it)) => it.ask().is_some_and(|it| it.asked.id == *id),
            _ => false,
        };
        let line = self.state.line.as_ref().map(|it| &it.kind);
        let lined = matches!(line, Some(LineKind::DenySay { ask, .. }) if ask == id);
        if !(boxed || lined) {
            return;
        }
        (self.state.overlay, self.state.line) = (None, None);
        let why = "what you were answering waits no more as it was".to_owned();
        self.notice(Level::Warning, &why);
        self.deafen(why, Until::Seen);
    }
}
