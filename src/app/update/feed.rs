//! What comes without being asked: the hub's feed, output, the state of the link.

use std::collections::BTreeSet;

use super::Turn;
use crate::{
    app::{
        effect::Act,
        fleet::Fleet,
        hubs::{Hub, Hubs},
        lost::Returns,
        msg::Link,
        pane::{Feed, RETRIES_MAX, RETRY_AFTER},
        state::{Hold, Pending},
        voice::RING_EVERY,
    },
    base::{
        fault::Fault,
        id::{AskId, HubNumber, SessionId},
        text::count,
    },
    model::{
        event::{Event, Level, SnapshotReason},
        fact::Fact,
        output::Output,
        sandbox::Sandbox,
        session::Session,
    },
    runtime::LeaseVerb,
};

impl Turn<'_> {
    pub(super) fn event(&mut self, event: Event) {
        self.state.silent = None;
        match event {
            Event::Snapshot { reason, sandboxes, .. } => {
                self.list_came(HubNumber::FIRST, reason, |fleet| fleet.snapshot(sandboxes));
            }
            Event::Part { hub, reason, sandboxes } => {
                self.list_came(hub, reason, |fleet| fleet.part(hub, sandboxes));
            }
            Event::Changed { sandbox, .. } => {
                let id = sandbox.id.clone();
                let appears = self.appears(&sandbox);
                let silent = self.falls_silent(&sandbox);
                self.state.fleet.change(sandbox);
                for note in silent {
                    self.notice(Level::Warning, &note);
                }
                if appears {
                    self.drop_gone();
                    self.fill_panes();
                }
                self.diff_seen(&id);
                self.files_seen(&id);
                self.stir_timeline(&id);
                self.holder_seen(&id);
                self.lease_seen();
                self.program_ended();
            }
            Event::Removed { id, .. } => {
                self.state.fleet.remove(&id);
                self.state.staged.forget(&id);
                let fleet = &self.state.fleet;
                self.state.voices.keep(|it| fleet.get(it).is_some());
            }
            Event::Notice { notice, .. } => {
                // What is about no sandbox that is listed is still said by one of several hubs.
                let text = match &notice.sandbox {
                    Some(id) => match self.state.fleet.get(id) {
                        Some(row) => format!("{}: {}", row.sandbox.name, notice.text),
                        None => self.state.said_of(id.hub(), &notice.text),
                    },
                    None => notice.text,
                };
                self.notice(notice.level, &text);
            }
            Event::Said { session, fact, .. } => self.said(&session, fact),
        }
    }

    /// The only hub is reached, and tells nothing of its sandboxes. Said once for each reason.
    pub(super) fn silent(&mut self, why: String) {
        let before = self.state.silent().map(str::to_owned);
        self.state.silent = Some(why);
        self.tell_silence(before.as_deref());
    }

    fn tell_silence(&mut self, before: Option<&str>) {
        let now = self.state.silent().filter(|it| before != Some(it));
        if let Some(text) = now.map(|why| format!("no list of sandboxes: {why}")) {
            self.notice(Level::Error, &text);
        }
    }

    /// A hub told all it has.
    fn list_came(&mut self, hub: HubNumber, reason: SnapshotReason, take: impl FnOnce(&mut Fleet)) {
        // After a lost link a new list is no news: that the link is back was said.
        let returns = self.state.returns.get_mut(&hub);
        let behind = !returns.is_some_and(|it| std::mem::take(&mut it.list));
        if reason == SnapshotReason::Gap && self.state.fleet.known && behind {
            let text = "the console fell behind; the list was read anew";
            self.notice(Level::Info, &self.state.said_of(hub, text));
        }
        let first = !self.state.fleet.known;
        take(&mut self.state.fleet);
        self.begin_at_top();
        let fleet = &self.state.fleet;
        self.state.voices.keep(|it| fleet.get(it).is_some());
        // What was missed meanwhile is not known.
        if !first {
            self.look_again_if_old();
        }
        // Of several, each comes when it comes.
        if first || self.state.hubs.are_many() && reason == SnapshotReason::First {
            self.follow_cursor();
            self.fill_panes();
        }
        self.lease_seen();
        self.give_back_unused();
    }

    /// Whichever of several hubs came first, as long as nobody has chosen a row.
    fn begin_at_top(&mut self) {
        if self.state.hubs.are_many() && self.state.last_input.is_zero() {
            self.state.fleet.move_to(0);
        }
    }

    /// Whether the programs of a sandbox are news: a sandbox itself is there before they are.
    fn appears(&self, sandbox: &Sandbox) -> bool {
        let known = |it: &Session| self.state.fleet.session(&it.id).is_some();
        let sessions = &sandbox.sessions;
        sessions.iter().any(|it| it.exit.is_none()) && !sessions.iter().any(known)
    }

    /// What is newly known of its agents: that they ask elsewhere, or nobody.
    fn falls_silent(&self, sandbox: &Sandbox) -> Vec<String> {
        let known = |it: &Session| Some(self.state.fleet.session(&it.id)?.1.asking.clone());
        let news = |it: &&Session| it.asks_elsewhere() && known(it).as_ref() != Some(&it.asking);
        let news = sandbox.sessions.iter().filter(news);
        news.filter_map(|it| it.asking_note(&sandbox.name)).collect()
    }

    /// Nothing is left to type into once the program has ended.
    fn program_ended(&mut self) {
        let Some(grip) = &self.state.grip else { return };
        let session = self.state.fleet.session(&grip.session);
        let ended =
            session.and_then(|(row, it)| it.exit.map(|exit| (it.name(&row.sandbox.name), exit)));
        if let Some((name, exit)) = ended {
            let why = format!("{name} ended with exit code {}", exit.code());
            self.notice(Level::Info, &why);
            self.leave();
            self.lose_keyboard(why);
        }
    }

    fn said(&mut self, session: &SessionId, fact: Fact) {
        let Some((row, known)) = self.state.fleet.session(session) else { return };
        let name = known.name(&row.sandbox.name);
        let shown = self.state.watches.contains_key(session);
        if matches!(fact, Fact::Bell | Fact::Notify { .. }) {
            self.calls(session);
        }
        match fact {
            Fact::Bell if !shown || self.state.focused == Some(false) => self.ring(None),
            Fact::Notify { title, body } => {
                let body = match title {
                    Some(title) => format!("{title}: {body}"),
                    None => body,
                };
                if self.speak_up(session, &format!("says: {body}")) {
                    self.ring(Some((name, body)));
                }
            }
            // Only the program that is being typed into may reach the clipboard.
            Fact::Clipboard(bytes) => {
                let typed = self.state.grip.as_ref().is_some_and(|it| it.session == *session);
                match String::from_utf8(bytes) {
                    Ok(text) if typed && !text.is_empty() => {
                        let text: String = text.chars().filter(|it| is_text(*it)).collect();
                        let (lines, by) = (text.lines().count(), Some(session.clone()));
                        self.start(Act::Clipboard(text), Some(Pending::Clipboard { lines, by }));
                    }
                    _ => {
                        self.speak_up(session, "wanted to write to your clipboard; it was not let");
                    }
                }
            }
            _ => {}
        }
    }

    /// A program calls: its row says so until the operator has looked at it. Who types into it has.
    fn calls(&mut self, session: &SessionId) {
        let typed = self.state.grip.as_ref().is_some_and(|it| it.session == *session);
        if typed && self.state.focused != Some(false) {
            return;
        }
        self.state.voices.looked_at.take_if(|it| it == session);
        let Some((row, _)) = self.state.fleet.session(session) else { return };
        let sandbox = row.sandbox.id.clone();
        self.state.fleet.set_called(&sandbox, Some(session.clone()));
        self.state.dirty = true;
    }

    /// A call was seen once a key came with the session in sight, and then another.
    pub(super) fn call_seen(&mut self, session: &SessionId) {
        let Some((row, _)) = self.state.fleet.session(session) else { return };
        if row.called() == Some(session) {
            let sandbox = row.sandbox.id.clone();
            self.state.fleet.set_called(&sandbox, None);
        }
    }

    /// The session that is meant, if its pane is on screen.
    pub(super) fn in_sight(&self) -> Option<SessionId> {
        let state = &*self.state;
        let session = state.aim().filter(|_| state.overlay.is_none())?;
        let shown = state.frame.panes.iter().any(|it| state.session_in(it.slot) == Some(session));
        shown.then(|| session.clone())
    }

    /// Says what a program did, unless its sandbox was heard just now; whether it was said.
    pub(super) fn speak_up(&mut self, session: &SessionId, what: &str) -> bool {
        let Some((row, known)) = self.state.fleet.session(session) else { return false };
        let (sandbox, name) = (row.sandbox.id.clone(), known.name(&row.sandbox.name));
        let now = self.state.now.since_start;
        let heard = self.state.voices.hear(now, &sandbox);
        match heard {
            None => {}
            Some(0) => self.notice(Level::Info, &format!("{name} {what}")),
            Some(more) => {
                self.notice(Level::Info, &format!("{name} {what} ({more} more were not shown)"));
            }
        }
        heard.is_some()
    }

    /// Rings for a program, or sends a notification, but not all the time.
    fn ring(&mut self, note: Option<(String, String)>) {
        let now = self.state.now.since_start;
        if self.state.voices.rang_at.is_some_and(|it| now < it + RING_EVERY) {
            return;
        }
        if self.ring_out(note) {
            self.state.voices.rang_at = Some(now);
        }
    }

    /// Calls the operator for asks that are new; when that was done just now, a little later.
    pub(super) fn call_for_asks(&mut self) {
        let waiting = self.state.asks.waiting();
        let there: BTreeSet<&AskId> = waiting.iter().map(|it| &it.id).collect();
        self.state.voices.owed.retain(|it| there.contains(it));
        let now = self.state.now.since_start;
        if self.state.asks_ring_at().is_none_or(|it| now < it) {
            return;
        }
        let owed = std::mem::take(&mut self.state.voices.owed);
        let mut of = waiting.iter().filter(|it| owed.contains(&it.id)).map(|it| &it.sandbox);
        let first = of.next().cloned();
        let Some(first) = first.map(|it| self.name_of(&it)) else { return };
        let note = match owed.len() {
            1 => (first.clone(), format!("{first} asks")),
            many => ("sandwatch".to_owned(), format!("{} wait", count(many, "ask"))),
        };
        self.ring_out(Some(note));
        self.state.voices.rang_for_asks_at = Some(now);
    }

    fn ring_out(&mut self, note: Option<(String, String)>) -> bool {
        let notify = &self.state.config.notify;
        let (bell, desktop) = (notify.bell, notify.desktop && self.state.focused == Some(false));
        if bell {
            self.start(Act::Bell, None);
        }
        if let (true, Some((title, body))) = (desktop, note) {
            self.start(Act::Notify { title, body }, None);
        }
        bell || desktop
    }

    pub(super) fn output(&mut self, session: &SessionId, generation: u64, output: Output) {
        let now = self.state.now.since_start;
        let watch = self.state.watches.get_mut(session).filter(|it| it.generation == generation);
        let Some(watch) = watch else { return };
        let before = (watch.feed == Feed::Live, watch.lost);
        let changed = watch.take(output, now);
        let grip = self.state.grip.as_mut().filter(|it| it.session == *session);
        if let (Some(grip), Some(screen)) = (grip, watch.screen())
            && grip.predicted.heard(screen)
        {
            self.state.dirty = true;
        }
        // What the header says has changed as well.
        let said = before != (watch.feed == Feed::Live, watch.lost);
        // A frozen pane shows what it showed.
        let changed = changed && self.state.copy_of(session).is_none();
        self.state.printed |= changed;
        self.state.dirty |= changed && said;
    }

    pub(super) fn output_ended(
        &mut self,
        session: &SessionId,
        generation: u64,
        why: Option<Fault>,
    ) {
        let now = self.state.now.since_start;
        let up = self.state.is_up(session.hub());
        let watch = self.state.watches.get_mut(session).filter(|it| it.generation == generation);
        let Some(watch) = watch else { return };
        if watch.feed == Feed::Over {
            return;
        }
        watch.retries += 1;
        let again = up && watch.retries <= RETRIES_MAX;
        let why = why.map_or_else(|| "the stream ended".to_owned(), |it| it.message().to_owned());
        watch.broken(why, again.then(|| now + RETRY_AFTER));
        self.state.dirty = true;
    }

    /// The hubs there are, and how each is reached by now.
    pub(super) fn hubs(&mut self, hubs: Vec<Hub>) {
        let hubs = Hubs::new(hubs);
        let links: Vec<(HubNumber, Link)> =
            hubs.iter().map(|it| (it.number, it.link.clone())).collect();
        let gone: Vec<HubNumber> = self.state.hubs.iter().map(|it| it.number).collect();
        let gone = gone.into_iter().filter(|it| hubs.get(*it).is_none());
        let gone: Vec<HubNumber> = gone.collect();
        let silent = self.state.silent().map(str::to_owned);
        let before = std::mem::replace(&mut self.state.hubs, hubs);
        for hub in gone {
            self.state.returns.remove(&hub);
            if self.state.grip.as_ref().is_some_and(|it| it.session.hub() == hub) {
                let why = "its hub was taken out of this console".to_owned();
                self.leave();
                self.lose_keyboard(why);
            }
        }
        let headings = self.state.hubs.headings();
        self.state.fleet.set_hubs(headings);
        // Their lists may have come before they were known to be several.
        self.begin_at_top();
        for (hub, link) in links {
            let old = match hub {
                HubNumber::FIRST => self.state.link.clone(),
                hub => before.get(hub).map_or(Link::Connecting, |it| it.link.clone()),
            };
            if old != link {
                self.link(hub, &old, link);
            }
        }
        self.tell_silence(silent.as_deref());
        self.state.dirty = true;
    }

    /// How a hub is reached has changed.
    pub(super) fn link(&mut self, hub: HubNumber, before: &Link, link: Link) {
        let was_up = matches!(before, Link::Up { .. });
        let is_up = matches!(link, Link::Up { .. });
        let returned = is_up
            && self.state.returns.get_mut(&hub).is_some_and(|it| std::mem::take(&mut it.link));
        let whose = self.state.hub_name(hub).unwrap_or("the hub").to_owned();
        let still = match self.state.hubs.are_many() {
            true => format!("{whose} is still away"),
            false => "still no hub".to_owned(),
        };
        let text = match &link {
            Link::Down { why, .. } if was_up => {
                Some((Level::Error, format!("{whose} can't be reached: {why}")))
            }
            // What is being done about it, or why that failed. Of several, its heading says it.
            Link::Down { why, .. } if matches!(before, Link::Down { why: before, .. } if before != why) =>
            {
                let one = !self.state.hubs.are_many();
                one.then(|| (Level::Error, format!("{still}: {why}")))
            }
            Link::Up { .. } if returned => {
                let grip = self.state.grip.as_ref().filter(|it| it.session.hub() == hub);
                let hole = grip.is_some_and(|it| it.hole.is_some());
                Some(match hole {
                    // Or nobody would read of it: a hub is often there again at once.
                    true => {
                        let text = "reconnected; your last keys may not have arrived";
                        (Level::Warning, self.state.said_of(hub, text))
                    }
                    false => (Level::Info, self.state.said_of(hub, "reconnected")),
                })
            }
            _ => None,
        };
        if hub == HubNumber::FIRST {
            self.state.link = link;
        }
        if let Some((level, text)) = text {
            self.notice(level, &text);
        }
        if was_up && !is_up {
            self.state.returns.insert(hub, Returns { link: true, list: true });
            self.cut(hub);
        }
        if is_up && !was_up {
            if hub == HubNumber::FIRST {
                // Of the hub that was there before.
                self.state.silent = None;
            }
            self.look_again_after_link();
            self.take_again(hub);
            // Before the list comes, nobody knows what is held.
            if !self.state.returns.get(&hub).is_some_and(|it| it.list) {
                self.give_back_unused();
            }
            let sessions = self.state.watches.keys().filter(|it| it.hub() == hub);
            let sessions: Vec<SessionId> = sessions.cloned().collect();
            for session in sessions {
                let over = self.state.watches.get(&session).is_some_and(|it| it.feed == Feed::Over);
                if !over {
                    self.resubscribe(&session);
                }
            }
        }
    }

    /// The link is gone: the pane stays stepped into, but nothing typed goes anywhere.
    fn cut(&mut self, hub: HubNumber) {
        let before = self.state.pending.len();
        let lost =
            |it: &Pending| matches!(it, Pending::Input { session, .. } if session.hub() == hub);
        self.state.pending.retain(|_, it| !lost(it));
        let mut unsure = before - self.state.pending.len() > 0;
        let now = self.state.now.since_start;
        if let Some(grip) = self.state.grip.as_mut().filter(|it| it.session.hub() == hub) {
            grip.hold = Hold::Cut;
            grip.hole.take_if(|it| it.is_over(now));
            unsure |= !grip.ahead.is_empty();
        }
        if unsure {
            self.broke_off();
            self.notice(Level::Warning, "the link broke: your last keys may not have arrived");
        }
    }

    /// The link is back: the keyboard is asked for again, and taken from nobody.
    fn take_again(&mut self, hub: HubNumber) {
        let grip = self.state.grip.as_ref().filter(|it| it.session.hub() == hub);
        let Some(grip) = grip else { return };
        let (session, verb) = (grip.session.clone(), LeaseVerb::Take);
        let pending = Pending::Lease { session: session.clone(), verb };
        let asked = self.start(Act::Lease { session, verb }, Some(pending)).is_some();
        if let Some(grip) = self.state.grip.as_mut().filter(|_| !asked) {
            // The next key asks.
            grip.hold = Hold::Lapsed;
        }
    }

    /// Gives back what the hub says is ours and nobody types into: it was left while the link was
    /// down.
    fn give_back_unused(&mut self) {
        let typed = self.state.grip.as_ref().map(|it| it.session.clone());
        let mut held = self.state.fleet.held_by(&self.state.me);
        held.retain(|it| self.state.is_up(it.hub()) && typed.as_ref() != Some(it));
        for session in held {
            let verb = LeaseVerb::Release;
            let pending = Pending::Quiet("giving the keyboard back".to_owned());
            self.start(Act::Lease { session, verb }, Some(pending));
        }
    }
}

/// Whether a character may be pasted into a shell without doing something by itself.
fn is_text(it: char) -> bool {
    !it.is_control() || matches!(it, '\n' | '\t')
}
