//! The list of asks that have ended: moving in it, and taking back an answer that holds on.

use super::Turn;
use crate::{
    app::{
        ask::scope_words,
        asks::{Listed, in_words},
        effect::Act,
        msg::Mouse,
        state::Pending,
        view::View,
    },
    model::{ask::Ask, event::Level},
    vt::key::Stroke,
};

impl Turn<'_> {
    /// What is under the cursor stays under it when the list is another one.
    pub(super) fn learn_ended(&mut self, ended: Vec<Ask>, whole: bool) {
        let here = self.state.inbox().and_then(|it| self.state.asks.ended.get(it.ended.at()));
        let here = here.map(|it| it.asked.id.clone());
        match whole {
            true => self.state.asks.keep_ended(ended),
            false => self.state.asks.learn(ended),
        }
        let count = self.state.asks.ended.len();
        let Some(View::Asks(inbox)) = self.state.views.last_mut() else { return };
        let row = here.and_then(|id| self.state.asks.ended.iter().position(|it| it.asked.id == id));
        let above = inbox.ended.at().saturating_sub(inbox.ended.top());
        inbox.ended.set_count(count);
        if let Some(row) = row.filter(|_| inbox.ended.at() > 0) {
            inbox.ended.show_from(row, above);
        }
    }

    /// Takes back the answer under the cursor, or the one that is read, where it holds on.
    pub(super) fn revoke(&mut self) {
        if self.press.is_some_and(|it| it.stroke == Stroke::Repeat) {
            return;
        }
        let Some(inbox) = self.state.inbox() else { return };
        let ask = match (&inbox.shown, inbox.tab) {
            (Some(it), _) => Some(&it.ask),
            (None, Listed::Ended) => self.state.asks.ended.get(inbox.ended.at()),
            (None, Listed::Waiting) => None,
        };
        let now = self.state.now.wall;
        let holds = |it: &&Ask| it.decision.as_ref().is_some_and(|it| it.holds(now));
        let Some(ask) = ask.filter(holds) else {
            let text =
                "no answer that holds on is under the cursor; they are among those that ended";
            return self.notice(Level::Info, text);
        };
        let says = format!("taking back the answer to {}", in_words(ask));
        let id = ask.asked.id.clone();
        self.start(Act::Revoke(id), Some(Pending::Revoke(says)));
    }

    /// It holds no more.
    pub(super) fn revoked(&mut self, ask: Ask) {
        let scope = ask.decision.as_ref().map(|it| scope_words(it.answer.scope));
        let what = scope.unwrap_or("what it answered");
        let rule = ask.decision.as_ref().and_then(|it| it.besides.rule.as_ref());
        let text = match rule {
            Some(rule) => format!("rule {} is taken out: {}", rule.name.id, in_words(&ask)),
            None => format!("{what} is asked again: {}", in_words(&ask)),
        };
        self.notice(Level::Info, &text);
        if let Some(it) = self.shown_mut().filter(|it| it.ask.asked.id == ask.asked.id) {
            it.ask = ask.clone();
            it.page.lines.clear();
        }
        self.learn_ended(vec![ask], false);
    }

    pub(super) fn mouse_in_asks(&mut self, mouse: Mouse, row: Option<usize>, again: bool) {
        let Some(rows) = self.state.turned(mouse) else { return };
        let Some(inbox) = self.inbox_mut() else { return };
        if let Some(it) = &mut inbox.shown {
            return it.page.scroll_by(rows);
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
