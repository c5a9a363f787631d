//! The box in which a rule, or what is allowed instead, is written: it is looked at, then done.

use super::Turn;
use crate::{
    app::{
        action::Action,
        effect::{Act, EffectId},
        gate::HELD_FOR,
        msg::Reply,
        state::{Overlay, Pending},
        write::{Room, WriteBox, Writing},
    },
    base::{
        fault::Outcome,
        limits::{ASK_BYTES_MAX, RULES_WRITTEN_BYTES_MAX},
        text::hidden,
    },
    model::{
        ask::{Answer, Ask, Choice, RiskLevel, Scope, Verdict},
        event::Level,
        rule::{Domain, Question},
    },
    vt::key::Stroke,
};

/// Why a key changes nothing while the hub looks at what was written.
const WAITS: &str = "the hub looks at it as it is; esc leaves it";

impl Turn<'_> {
    /// The rule of an answer, as the hub proposes it.
    pub(super) fn write_rule(&mut self, ask: Ask, choice: Choice) {
        let what = Writing::Rule { ask: Box::new(ask), choice };
        self.open_write(what, "", RULES_WRITTEN_BYTES_MAX);
        self.weigh();
    }

    /// What is allowed in place of what was asked for.
    pub(super) fn write_edit(&mut self, ask: Ask) {
        if !ask.asked.editable {
            let text =
                "who asks can do it in no other words; deny it with a line that says what to do";
            return self.notice(Level::Info, text);
        }
        let subject = ask.asked.request.subject.clone();
        // The line would lose these, and nobody would see it.
        if subject.contains(['\n', '\t']) || hidden(&subject).next().is_some() {
            let text = "it has lines or signs that a line here can't have: sandwatch approvals allow --edit";
            return self.notice(Level::Warning, text);
        }
        self.open_write(Writing::Edit { ask: Box::new(ask) }, &subject, ASK_BYTES_MAX);
    }

    /// A rule of no ask.
    pub(super) fn write_new_rule(&mut self) {
        let text = "id = \"\", verdict = \"allow\", command = [\"\"], why = \"\"";
        let hub = self.state.hub_here();
        self.open_write(Writing::New { hub }, text, RULES_WRITTEN_BYTES_MAX);
    }

    fn open_write(&mut self, what: Writing, text: &str, bytes_max: usize) {
        let mark = self.state.asks.mark();
        self.hint_was_followed();
        let mut open = WriteBox::new(what, text, bytes_max, mark);
        open.show_cursor(Room::of(self.state.size));
        self.state.overlay = Some(Overlay::Write(Box::new(open)));
        self.state.dirty = true;
    }

    pub(super) fn type_in_write(&mut self, text: &str) {
        let Some(Overlay::Write(it)) = &mut self.state.overlay else { return };
        if it.is_looking() {
            it.wrong = Some(WAITS.to_owned());
            return;
        }
        it.wrong = None;
        it.editor.insert(text);
        it.show_cursor(Room::of(self.state.size));
    }

    /// Actions in that box.
    pub(super) fn write_action(&mut self, action: Action) -> bool {
        let (now, quiet_at) = (self.state.now.since_start, self.state.keys_quiet_at());
        let is_key = self.press.is_some_and(|it| it.stroke == Stroke::Press);
        let last = self.state.pressed_last;
        let held = last.is_some() && last == self.press.map(|it| it.key);
        let held = held && now < self.state.key_at + HELD_FOR;
        let room = Room::of(self.state.size);
        let Some(Overlay::Write(it)) = &mut self.state.overlay else { return false };
        let unseen = it.gate.unseen();
        match action {
            Action::LineCancel | Action::DialogCancel => self.state.overlay = None,
            Action::LineAccept | Action::DialogAccept if !is_key || it.is_looking() => {}
            Action::LineAccept | Action::DialogAccept if it.proposal().is_none() => self.weigh(),
            Action::LineAccept | Action::DialogAccept if !it.is_ready() => {
                it.wrong = Some("it can't be done as it is; esc leaves it".to_owned());
            }
            Action::LineAccept | Action::DialogAccept if unseen.is_some() => {
                it.scroll_to(unseen.unwrap_or_default(), room);
                it.wrong = Some("these rows were not on screen yet".to_owned());
            }
            Action::LineAccept | Action::DialogAccept if !it.gate.is_open(now, quiet_at) => {
                it.wrong = Some("too soon to have been read: pause, then press it".to_owned());
            }
            Action::LineAccept | Action::DialogAccept if held => {
                let text = "the same key again: a moment's pause, so that it is no key held down";
                it.wrong = Some(text.to_owned());
            }
            Action::LineAccept | Action::DialogAccept => self.do_written(),
            Action::LineUp => {
                it.wrong = None;
                it.scroll_to(it.top.saturating_sub(room.rows.div_ceil(2)), room);
            }
            Action::LineDown => {
                it.wrong = None;
                it.scroll_to(it.top + room.rows.div_ceil(2), room);
            }
            // What is looked at stays as it is until it was looked at.
            _ if it.is_looking() => it.wrong = Some(WAITS.to_owned()),
            _ => {
                it.wrong = None;
                let was_one = it.editor.act(action);
                it.show_cursor(room);
                return was_one;
            }
        }
        true
    }

    /// Asks the hub what it would do.
    fn weigh(&mut self) {
        let Some(Overlay::Write(it)) = &self.state.overlay else { return };
        let hub = match &it.what {
            Writing::Rule { ask, .. } | Writing::Edit { ask } => ask.asked.id.hub(),
            Writing::New { hub } => *hub,
        };
        if !self.state.is_up(hub) {
            let text = self.state.said_of(hub, "there is no hub to ask");
            return self.notice(Level::Warning, &text);
        }
        let text = it.editor.text().to_owned();
        let sent = text.clone();
        let question = match &it.what {
            Writing::Rule { ask, choice } => {
                let rule = (!text.is_empty()).then_some(text);
                let choice = Choice { rule, ..choice.clone() };
                Question::Answer { ask: ask.asked.id.clone(), digest: ask.digest.clone(), choice }
            }
            Writing::Edit { ask } => {
                let choice = in_other_words(text);
                Question::Answer { ask: ask.asked.id.clone(), digest: ask.digest.clone(), choice }
            }
            Writing::New { .. } => Question::Rules { text, domain: Domain::All },
        };
        let act = Act::Propose(Box::new(question));
        let asked = self.start_of(hub, act, Some(Pending::Propose));
        if let Some(Overlay::Write(it)) = &mut self.state.overlay {
            it.asked = asked.map(|id| (id, sent));
            it.wrong = None;
        }
    }

    /// The hub has looked at it, or done it.
    pub(super) fn written(&mut self, id: EffectId, pending: &Pending, result: Outcome<Reply>) {
        let (mark, room) = (self.state.asks.mark(), Room::of(self.state.size));
        if *pending == Pending::AddRule {
            match result {
                Ok(Reply::Rule(rule)) => {
                    let id = rule.map(|it| it.name.id.clone()).unwrap_or_default();
                    self.notice(Level::Info, &format!("rule {id} is made"));
                    return self.read_records();
                }
                Ok(_) => return self.notice(Level::Error, "the hub answered something else"),
                Err(fault) => return self.fault("making a rule", &fault),
            }
        }
        let Some(Overlay::Write(it)) = &mut self.state.overlay else { return };
        let Some((_, mut sent)) = it.asked.take_if(|it| it.0 == id) else { return };
        match result {
            Ok(Reply::Proposal(proposal)) => {
                // The one that is proposed is what is edited from now on.
                if let (Writing::Rule { .. }, "", Some(draft)) =
                    (&it.what, sent.as_str(), proposal.drafts.first())
                {
                    it.editor.set(&draft.line);
                    if it.editor.text() != draft.line {
                        it.wrong = Some("the rule is longer than a line here takes".to_owned());
                        return;
                    }
                    sent.clone_from(&draft.line);
                }
                it.weighed = Some((sent, *proposal));
                it.top = 0;
                it.look_anew(mark, room);
            }
            Ok(_) => it.wrong = Some("the hub answered something else".to_owned()),
            Err(fault) => {
                let untouched = it.editor.text().is_empty();
                it.wrong = Some(fault.message().to_owned());
                if untouched {
                    // There is nothing to be edited.
                    self.state.overlay = None;
                    self.notice(Level::Warning, fault.message());
                }
            }
        }
    }

    /// It was looked at, and is done.
    fn do_written(&mut self) {
        let Some(Overlay::Write(it)) = self.state.overlay.take() else { return };
        let text = it.editor.text().to_owned();
        let grave = |level| level == Some(RiskLevel::High);
        let risk = it.proposal().and_then(|it| it.risk.clone());
        match it.what {
            Writing::New { hub } => {
                let act = Act::AddRule { text, domain: Domain::All };
                self.start_of(hub, act, Some(Pending::AddRule));
            }
            Writing::Rule { ask, choice } => {
                let choice = Choice { rule: Some(text), ..choice };
                match grave(Some(ask.risk.level)) {
                    true => self.want_word(*ask, choice),
                    false => self.decide(&ask, choice),
                }
            }
            Writing::Edit { ask } => {
                let choice = in_other_words(text.clone());
                if !grave(Some(ask.risk.level)) && !grave(risk.as_ref().map(|it| it.level)) {
                    return self.decide(&ask, choice);
                }
                // What the box names is what is allowed.
                let mut shown = *ask;
                shown.asked.request.subject = text;
                shown.risk = risk.unwrap_or(shown.risk);
                self.want_word(shown, choice);
            }
        }
    }
}

fn in_other_words(text: String) -> Choice {
    let answer = Answer { verdict: Verdict::Allow, scope: Scope::Once, message: None };
    Choice { edit: Some(text), ..answer.into() }
}
