//! Lists of rules, of what went out, and of the audit record: opening, moving, reading, and what is done to a rule.

use super::Turn;
use crate::{
    app::{
        action::Action,
        dialog::{Deed, Says},
        effect::{Act, EffectId},
        inspect::of_explained,
        msg::{Mouse, Reply},
        records::{Of, Records, of_audit, of_rules, of_traffic},
        state::{LineKind, Pending, Place},
        view::View,
    },
    base::{
        fault::Outcome,
        id::{HubNumber, SandboxId, SessionId},
        limits::INSPECT_EVERY,
        text::{count, visible},
    },
    model::{
        event::Level,
        rule::{Question, RuleName},
    },
    vt::key::Stroke,
};

impl Turn<'_> {
    /// Opens one of them; asked for once more, it is read anew.
    pub(super) fn open_records(&mut self, of: Of) {
        let hub = match &of {
            Of::Rules | Of::Audit => self.state.hub_here(),
            Of::Egress(id) | Of::Status(id, _) | Of::Syscalls(id, ..) => id.hub(),
        };
        self.open_records_of(hub, of);
    }

    /// The hub that is named, or that of what the operator is at; `None` = there is none of that name, which is said.
    pub(super) fn hub_meant(&mut self, name: &str) -> Option<HubNumber> {
        if name.is_empty() {
            return Some(self.state.hub_here());
        }
        let found = self.state.hubs.named(name).map(|it| it.number);
        if found.is_none() {
            let known: Vec<&str> = self.state.hubs.iter().map(|it| it.name.as_str()).collect();
            let text = match known.as_slice() {
                [] | [_] => "there is one hub here, and it needs no name".to_owned(),
                known => format!("no context `{name}` here; there are {}", known.join(", ")),
            };
            self.notice(Level::Error, &visible(&text));
        }
        found
    }

    fn open_records_of(&mut self, hub: HubNumber, of: Of) {
        if self.state.records().is_some_and(|it| it.of == of && it.hub == hub) {
            return self.read_records();
        }
        let over = !self.state.views.is_empty();
        let mut place = Records::new(of);
        place.hub = hub;
        self.open_view(View::Records(Box::new(place)), over);
        self.read_records();
    }

    pub(super) fn open_list(&mut self, action: Action, name: &str) {
        match action {
            Action::RulesShow | Action::AuditShow => {
                let of = if action == Action::RulesShow { Of::Rules } else { Of::Audit };
                if let Some(hub) = self.hub_meant(name) {
                    self.open_records_of(hub, of);
                }
            }
            Action::GaugesShow => self.open_gauges(),
            Action::TimelineShow => self.open_timeline(name),
            Action::TimelineAway => self.open_away(),
            Action::StatusShow => {
                if let Some((sandbox, session)) = self.inspected(name) {
                    self.open_records(Of::Status(sandbox, session));
                }
            }
            Action::EgressShow => {
                if let Some(sandbox) = self.target(name) {
                    self.open_records(Of::Egress(sandbox));
                }
            }
            _ => {}
        }
    }

    /// The session to be explained: the pane's, else the one that needs somebody most.
    pub(super) fn inspected(&mut self, name: &str) -> Option<(SandboxId, SessionId)> {
        let sandbox = self.target(name)?;
        let row = self.state.fleet.get(&sandbox)?;
        let focused = self.state.focused_session().filter(|_| name.is_empty());
        let of_it = focused.filter(|it| row.sandbox.sessions.iter().any(|of| of.id == **it));
        let in_pane = self.state.views.is_empty() && self.state.place == Place::Panes;
        let session = of_it.filter(|_| in_pane).cloned();
        let session = session.or_else(|| row.leading().map(|it| it.id.clone()));
        if session.is_none() {
            self.notice(Level::Info, "nothing has run in it yet");
        }
        Some((sandbox, session?))
    }

    /// Asks anew for what changes by itself, when it is time to and somebody looks.
    pub(super) fn read_records_anew(&mut self) {
        let (now, live) = (self.state.now.since_start, self.state.ages_are_live());
        let Some(it) = self.records_mut() else { return };
        if live && it.anew_at.take_if(|it| *it <= now).is_some() {
            self.read_records();
        }
    }

    pub(super) fn records_mut(&mut self) -> Option<&mut Records> {
        match self.state.views.last_mut() {
            Some(View::Records(it)) => Some(it),
            _ => None,
        }
    }

    /// Asks the hub for its rows.
    pub(super) fn read_records(&mut self) {
        let Some(it) = self.state.records() else { return };
        if it.asked.is_some() {
            return;
        }
        let (of, hub) = (it.of.clone(), it.hub);
        let act = match &of {
            Of::Rules => Act::Rules,
            Of::Egress(sandbox) => Act::Traffic(sandbox.clone()),
            Of::Audit => Act::Audit,
            Of::Status(_, session) => Act::Explain(session.clone()),
            Of::Syscalls(..) => return self.look_at_calls_again(),
        };
        let asked = match &of {
            Of::Rules | Of::Audit => self.start_of(hub, act, Some(Pending::Records(of))),
            _ => self.start(act, Some(Pending::Records(of))),
        };
        if let Some(it) = self.records_mut() {
            it.asked = asked;
        }
    }

    /// Actions of the place; `false` when it is none.
    pub(super) fn records_action(&mut self, action: Action) -> bool {
        let Some(it) = self.records_mut() else { return false };
        let moved = match &mut it.open {
            Some(open) => open.page.act(action),
            None => it.cursor.act(action),
        };
        if moved {
            return true;
        }
        match action {
            Action::Back => {
                let shut = it.open.take().is_some();
                let reading = it.reading.take();
                reading.into_iter().for_each(|it| self.cancel(it));
                if !shut && !self.give_up() {
                    self.close_view();
                }
            }
            Action::Find => self.open_line(LineKind::Find, ""),
            Action::RecordOpen => self.read_record(),
            Action::RuleAdd if it.of == Of::Rules => self.write_new_rule(),
            Action::RuleRemove if it.of == Of::Rules => self.ask_to_remove_rule(),
            Action::Nudge | Action::Interrupt => return self.steer(action),
            Action::SyscallsShow => return self.open_syscalls(),
            Action::FindNext | Action::FindPrevious | Action::NextPlace | Action::PreviousPlace => {
                let (title, key) = (action.spec().title, self.state.key_words(Action::Back));
                self.notice(Level::Info, &format!("{title} does nothing here; {key} goes back"));
            }
            _ => return false,
        }
        true
    }

    fn read_record(&mut self) {
        let Some(it) = self.records_mut().filter(|it| it.open.is_none()) else { return };
        if !it.open() {
            return self.notice(Level::Info, "there is nothing to read here");
        }
        let rule = it.current().and_then(|it| it.rule()).map(|it| it.name.clone());
        let hub = it.hub;
        if let Some(name) = rule {
            let act = Act::Propose(Box::new(Question::Rule(name.clone())));
            let reading = self.start_of(hub, act, Some(Pending::RuleRead(name)));
            if let Some(it) = self.records_mut() {
                it.reading = reading;
            }
        }
        self.hint_was_followed();
    }

    fn ask_to_remove_rule(&mut self) {
        if self.press.is_some_and(|it| it.stroke == Stroke::Repeat) {
            return;
        }
        let Some(it) = self.state.records() else { return };
        let row = it.open.as_ref().and_then(|it| it.record.as_ref()).or_else(|| it.current());
        let Some(rule) = row.and_then(|it| it.rule()) else {
            return self.notice(Level::Info, "no rule is under the cursor");
        };
        let (name, hub) = (rule.name.clone(), it.hub);
        let mut lines = vec![
            format!("{} {}", rule.ruling.word(), visible(&rule.about)),
            format!("It answered {}.", count(rule.hits, "time")),
            format!("It is taken out of {}.", visible(&rule.file)),
        ];
        lines.extend(self.state.hub_name(hub).map(|it| format!("It is a rule of {it}.")));
        let title = (format!("Take out rule {}?", name.id), "take it out");
        self.ask_first(Deed::RemoveRule(hub, name), title, Says::from(lines));
    }

    pub(super) fn remove_rule(&mut self, hub: HubNumber, name: RuleName) {
        let pending = Pending::RemoveRule { id: name.id.clone() };
        self.start_of(hub, Act::RemoveRule(name), Some(pending));
    }

    fn rule_removed(&mut self, id: &str, result: Outcome<Reply>) {
        match result {
            Ok(_) => {
                self.notice(Level::Info, &format!("rule {id} is taken out"));
                if let Some(it) = self.records_mut() {
                    it.open = None;
                }
                self.read_records();
            }
            Err(fault) => self.fault("taking out a rule", &fault),
        }
    }

    pub(super) fn records_done(&mut self, id: EffectId, pending: Pending, result: Outcome<Reply>) {
        let zone = self.state.zone.clone();
        self.state.dirty = true;
        match pending {
            Pending::GaugePast => self.gauge_past_came(id, result),
            Pending::Sent { what, to } => self.delivered(what, &to, result),
            Pending::RemoveRule { id } => self.rule_removed(&id, result),
            Pending::RuleRead(name) => {
                let Some(it) = self.records_mut() else { return };
                if it.reading.take_if(|it| *it == id).is_none() {
                    return;
                }
                let Some(open) = &mut it.open else { return };
                let same = open
                    .record
                    .as_ref()
                    .is_some_and(|it| it.rule().is_some_and(|it| it.name == name));
                if same {
                    open.draft = Some(match result {
                        Ok(Reply::Proposal(mut it)) => it
                            .drafts
                            .pop()
                            .map(Box::new)
                            .ok_or_else(|| "the hub says nothing".into()),
                        Ok(_) => Err("the hub answered something else".to_owned()),
                        Err(fault) => Err(fault.message().to_owned()),
                    });
                    open.page.lines.clear();
                }
            }
            Pending::Records(of) => {
                let explained = match &result {
                    Ok(Reply::Explained(told)) => {
                        let leading = told.processes.leading().map(|it| it.pid);
                        Some((of_explained(told, &zone, self.state), leading))
                    }
                    _ => None,
                };
                let now = self.state.now.since_start;
                let Some(it) = self.records_mut().filter(|it| it.of == of) else { return };
                if it.asked.take_if(|it| *it == id).is_none() {
                    return;
                }
                if matches!(of, Of::Status(..)) {
                    it.anew_at = Some(now + INSPECT_EVERY);
                }
                if let Some(((rows, head), leading)) = explained {
                    it.leading = leading;
                    return it.take(rows, head);
                }
                let (rows, head) = match result {
                    Ok(Reply::Rules(book)) => of_rules(&book, &zone),
                    Ok(Reply::Traffic(traffic)) => of_traffic(&traffic, &zone),
                    Ok(Reply::Audit(read)) => of_audit(&read, &zone),
                    Ok(_) => {
                        it.wrong = Some("the hub answered something else".to_owned());
                        return;
                    }
                    Err(fault) => {
                        it.wrong = Some(fault.message().to_owned());
                        return;
                    }
                };
                it.take(rows, head);
            }
            other => self.written(id, &other, result),
        }
    }

    /// The windows have their sizes.
    pub(super) fn settle_records(&mut self) {
        let Some(area) = self.state.frame.view else { return };
        let Some(it) = self.records_mut() else { return };
        // The headings, and what is said of all.
        let above = 1 + it.head_rows(area.list.1.height);
        it.cursor.set_height(usize::from(area.list.1.height).saturating_sub(above));
        if let Some(open) = &mut it.open {
            open.lay_out(area.side.1.width, usize::from(area.side.1.height));
        }
    }

    pub(super) fn mouse_in_records(&mut self, mouse: Mouse, row: Option<usize>, again: bool) {
        let Some(rows) = self.state.turned(mouse) else { return };
        let height = self.state.frame.view.map_or(0, |it| it.list.1.height);
        let Some(it) = self.records_mut() else { return };
        if let Some(open) = &mut it.open {
            return open.page.scroll_by(rows);
        }
        if rows != 0 {
            return it.cursor.move_by(rows);
        }
        let above = 1 + it.head_rows(height);
        let row = row.and_then(|it| it.checked_sub(above)).map(|row| it.cursor.top() + row);
        match row.filter(|row| *row < it.cursor.count()) {
            Some(row) => it.cursor.move_to(row),
            None => return,
        }
        if again {
            self.read_record();
        }
    }
}
