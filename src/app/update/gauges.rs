//! Gauges: asking for readings while they show, and the place for them.

use super::Turn;
use crate::{
    app::{
        action::Action,
        effect::{Act, EffectId},
        gauges::GaugesPlace,
        msg::{Mouse, Reply},
        state::{LineKind, Pending},
        view::View,
    },
    base::fault::{Fault, Outcome},
    model::{event::Level, gauge::Gauges},
};

impl Turn<'_> {
    pub(super) fn gauges_came(&mut self, round: Outcome<Box<Gauges>>) {
        let shown = self.state.gauge_lines();
        let now = self.state.now.since_start;
        match round {
            Ok(round) => self.state.board.take(*round, now),
            Err(fault) => {
                self.state.board.watched = false;
                self.state.board.wrong = Some(fault.message().to_owned());
            }
        }
        if let Some(View::Gauges(it)) = self.state.views.last_mut() {
            it.list(&self.state.fleet, &self.state.board, false);
            self.state.dirty = true;
        }
        self.state.dirty |= shown != self.state.gauge_lines();
    }

    /// Readings are asked for as long as they show.
    pub(super) fn watch_gauges(&mut self) {
        let frame = &self.state.frame;
        let shows =
            !frame.too_small && (frame.gauges.is_some() || self.state.gauges_place().is_some());
        let now = self.state.now.since_start;
        self.state.dirty |= shows && self.state.board.turned(now);
        if shows != self.state.board.watched {
            self.state.board.watched = shows;
            self.start(Act::WatchGauges(shows), None);
        }
    }

    pub(super) fn open_gauges(&mut self) {
        if self.gauges_mut().is_some() {
            return self.list_gauges(true);
        }
        let current = self.state.fleet.current().map(|it| it.sandbox.id.clone());
        let here = self.state.view().and_then(View::sandbox).cloned().or(current);
        let over = !self.state.views.is_empty();
        let mut place = GaugesPlace::new();
        place.list(&self.state.fleet, &self.state.board, true);
        here.into_iter().for_each(|it| place.go_to(&it));
        self.open_view(View::Gauges(Box::new(place)), over);
    }

    pub(super) fn gauges_mut(&mut self) -> Option<&mut GaugesPlace> {
        match self.state.views.last_mut() {
            Some(View::Gauges(it)) => Some(it),
            _ => None,
        }
    }

    pub(super) fn list_gauges(&mut self, in_order: bool) {
        if let Some(View::Gauges(it)) = self.state.views.last_mut() {
            it.list(&self.state.fleet, &self.state.board, in_order);
        }
    }

    /// Actions of the place; `false` when it is none.
    pub(super) fn gauges_action(&mut self, action: Action) -> bool {
        let Some(it) = self.gauges_mut() else { return false };
        if it.cursor.act(action) {
            return true;
        }
        match action {
            Action::Back => {
                if !std::mem::take(&mut it.whole) && !self.give_up() {
                    self.close_view();
                }
            }
            Action::GaugesWhole => it.whole = !it.whole,
            Action::GaugesSpan => it.next_span(),
            Action::GaugesSort => {
                it.next_sort();
                let words = format!("sorted by {}", it.sort.word());
                self.list_gauges(true);
                self.notice_here(Level::Info, &words);
            }
            Action::Again => self.list_gauges(true),
            Action::Find => self.open_line(LineKind::Find, ""),
            Action::FindNext | Action::FindPrevious | Action::NextPlace | Action::PreviousPlace => {
                let (title, key) = (action.spec().title, self.state.key_words(Action::Back));
                self.notice(Level::Info, &format!("{title} does nothing here; {key} goes back"));
            }
            _ => return false,
        }
        true
    }

    /// The window has its size, and the chart is asked for.
    pub(super) fn settle_gauges(&mut self) {
        let Some(area) = self.state.frame.view else { return };
        let now = self.state.now.since_start;
        let host = crate::app::layout::host_rows(area.list.1.height);
        let Some(it) = self.gauges_mut() else { return };
        // The headings, and what is said of the host.
        it.cursor.set_height(usize::from(area.list.1.height.saturating_sub(host + 1)));
        if let Some((whose, wanted)) = it.wanted(now) {
            let span = it.span;
            let asked = self.start(Act::GaugePast(wanted), Some(Pending::GaugePast));
            if let (Some(asked), Some(it)) = (asked, self.gauges_mut()) {
                it.asked = Some((asked, whose, span));
            }
        }
    }

    pub(super) fn gauge_past_came(&mut self, id: EffectId, result: Outcome<Reply>) {
        let now = self.state.now.since_start;
        let past = match result {
            Ok(Reply::GaugePast(past)) => Ok(*past),
            Ok(_) => Err(Fault::bug("the hub answered something else")),
            Err(fault) => Err(fault),
        };
        if let Some(it) = self.gauges_mut() {
            it.answered(id, past.map_err(|it| it.message().to_owned()), now);
        }
        self.state.dirty = true;
    }

    pub(super) fn mouse_in_gauges(&mut self, mouse: Mouse, row: Option<usize>, again: bool) {
        let Some(rows) = self.state.turned(mouse) else { return };
        let height = self.state.frame.view.map_or(0, |it| it.list.1.height);
        let above = usize::from(crate::app::layout::host_rows(height)) + 1;
        let Some(it) = self.gauges_mut() else { return };
        if rows != 0 {
            return it.cursor.move_by(rows);
        }
        let row = row.and_then(|it| it.checked_sub(above)).map(|row| it.cursor.top() + row);
        if let Some(row) = row.filter(|row| *row < it.cursor.count()) {
            it.cursor.move_to(row);
            it.whole |= again;
        }
    }
}
