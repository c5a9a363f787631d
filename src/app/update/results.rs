//! Results of effects, and files that were read again.

use super::Turn;
use crate::{
    app::{
        effect::{Act, EffectId},
        keymap::Keymap,
        msg::Reply,
        state::{Awaited, Hold, Overlay, Pending},
    },
    base::{
        fault::{Fault, Kind, Outcome},
        id::{SandboxId, SessionId},
    },
    config::schema::Config,
    model::{event::Level, history::HistoryPage},
    runtime::LeaseVerb,
};

impl Turn<'_> {
    pub(super) fn done(&mut self, id: EffectId, result: Outcome<Reply>) {
        self.state.works.remove(&id);
        let Some(pending) = self.state.pending.remove(&id) else { return };
        match pending {
            it if it.is_of_timeline() => self.timeline_done(id, it, result),
            it if it.is_of_records() => self.records_done(id, it, result),
            it => self.answered(id, it, result),
        }
    }

    fn answered(&mut self, id: EffectId, pending: Pending, result: Outcome<Reply>) {
        match (pending, result) {
            (Pending::Quiet(_), Ok(_)) => return,
            (Pending::Input { .. }, Ok(_)) => return self.forward(),
            (Pending::Quiet(what), Err(fault)) => self.fault(&what, &fault),
            (Pending::Deed { batch, name, .. }, Ok(_)) => self.deed_done(batch, &name, true),
            (Pending::Deed { batch, name, doing }, Err(fault)) => {
                self.fault(&doing, &fault);
                self.deed_done(batch, &name, false);
            }
            (Pending::Input { session, run }, Err(fault)) => {
                self.input_failed(&session, run, &fault);
            }
            (Pending::Create, Ok(Reply::Sandbox(sandbox))) => self.created(id, Ok(*sandbox)),
            (Pending::Create, Err(fault)) => self.created(id, Err(fault)),
            (Pending::Open, Ok(Reply::Session(session))) => self.expect(Some(session.id), true),
            (Pending::Open, Err(fault)) => self.fault("opening a shell", &fault),
            (Pending::Lease { session, verb }, result) => self.lease(session, verb, result),
            (it @ (Pending::Older(_) | Pending::Oldest(_) | Pending::Jump { .. }), result) => {
                self.history_done(it, result);
            }
            (Pending::Search(session), Ok(Reply::Search(page))) => self.searched(session, &page),
            (Pending::Search(_), Err(fault)) => {
                self.state.searching = None;
                self.fault("searching", &fault);
            }
            (
                it @ (Pending::Snapshots
                | Pending::Snapshot { .. }
                | Pending::RemoveSnapshot { .. }
                | Pending::Restore { .. }
                | Pending::Start { .. }
                | Pending::Fork { .. }),
                result,
            ) => self.snapshots_done(id, it, result),
            (
                it @ (Pending::Told(_)
                | Pending::Changes
                | Pending::Lines(_)
                | Pending::Apply { .. }
                | Pending::TakeBack { .. }),
                result,
            ) => self.diff_done(id, it, result),
            (it @ (Pending::Asks { .. } | Pending::Decide { .. } | Pending::Revoke(_)), result) => {
                self.asks_done(id, it, result);
            }
            (Pending::Doctor, result) => self.checked(result),
            (Pending::Contexts { done, .. }, Ok(_)) => self.notice(Level::Info, &done),
            (Pending::Contexts { doing, .. }, Err(fault)) => self.fault(&doing, &fault),
            (Pending::Files(it), result) => self.files_done(id, it, result),
            (Pending::Clipboard { lines, by }, Ok(_)) => {
                let word = if lines == 1 { "line" } else { "lines" };
                match by {
                    // Whether the terminal took it, nobody says.
                    None => {
                        let text = format!("{lines} {word} sent to your terminal's clipboard");
                        self.notice(Level::Info, &text);
                    }
                    Some(by) => {
                        let says = format!("wrote {lines} {word} to your clipboard");
                        self.speak_up(&by, &says);
                    }
                }
            }
            (Pending::Clipboard { .. }, Err(fault)) => self.fault("copying", &fault),
            (_, Ok(_)) => self.notice(Level::Error, "the hub answered something else"),
            (_, Err(fault)) => self.fault("asking the hub", &fault),
        }
        self.state.dirty = true;
    }

    fn checked(&mut self, result: Outcome<Reply>) {
        match (result, &mut self.state.overlay) {
            (Ok(Reply::Checks(found)), Some(Overlay::Doctor { checks, .. })) => {
                *checks = Some(found);
            }
            (Ok(Reply::Checks(_)), _) => {}
            (Ok(_), _) => self.notice(Level::Error, "the hub answered something else"),
            (Err(fault), _) => {
                self.state.overlay.take_if(|it| matches!(it, Overlay::Doctor { .. }));
                self.fault("asking the doctor", &fault);
            }
        }
    }

    pub(super) fn fault(&mut self, what: &str, fault: &Fault) {
        let now = self.state.now;
        self.state.notices.fault(now, what, fault);
        self.state.dirty = true;
    }

    /// Waits for a new session to appear in the feed, to show it, and to type into it where it was asked for to be
    /// typed into; not once someone is busy elsewhere.
    pub(super) fn expect(&mut self, session: Option<SessionId>, to_type: bool) {
        let state = &mut *self.state;
        let busy = state.grip.is_some() || state.copy.is_some() || state.overlay.is_some();
        if !busy && state.line.is_none() && state.key_at <= state.awaited_at {
            state.awaited = session.map(|session| Awaited { session, to_type });
        }
    }

    fn lease(&mut self, session: SessionId, verb: LeaseVerb, result: Outcome<Reply>) {
        let wanted = self.state.grip.as_ref().is_some_and(|it| it.session == session);
        match result {
            Ok(reply) if wanted => {
                let since = match reply {
                    Reply::Lease(lease) => lease.map(|it| it.since),
                    _ => None,
                };
                self.gripped(&session, since);
            }
            // Left before the answer came.
            Ok(_) if verb != LeaseVerb::Release => {
                let verb = LeaseVerb::Release;
                let pending = Pending::Quiet("giving the keyboard back".to_owned());
                self.start(Act::Lease { session, verb }, Some(pending));
            }
            Ok(_) => {}
            Err(fault) if wanted && self.is_cut() => self.not_taken_again(&session, &fault),
            Err(fault) if !wanted => self.fault("taking the keyboard", &fault),
            Err(fault) => {
                let ahead = self.state.grip.as_ref().is_some_and(|it| !it.ahead.is_empty());
                if fault.kind() == Kind::Busy && verb == LeaseVerb::Take {
                    let (holder, opened) = (self.holder_name(&session), self.state.now.since_start);
                    self.lose_keyboard(format!("{holder} holds the keyboard"));
                    self.state.overlay =
                        Some(Overlay::TakeOver { session, holder, free: false, opened });
                } else {
                    self.fault("taking the keyboard", &fault);
                    self.lose_keyboard(format!("the keyboard was refused: {}", fault.message()));
                }
                if ahead {
                    self.notice(Level::Warning, "what you typed meanwhile was not sent");
                }
            }
        }
    }

    fn holder_name(&self, session: &SessionId) -> String {
        let session = self.state.fleet.session(session);
        let lease = session.and_then(|(_, it)| it.lease.as_ref());
        lease.map_or_else(|| "somebody else".to_owned(), |it| it.holder_name.clone())
    }

    fn is_cut(&self) -> bool {
        self.state.grip.as_ref().is_some_and(|it| it.hold == Hold::Cut)
    }

    /// After a lost link the keyboard could not be had again.
    fn not_taken_again(&mut self, session: &SessionId, fault: &Fault) {
        // The link broke once more; it is asked for again when that is over.
        if !self.state.is_up(session.hub()) {
            return;
        }
        if fault.kind() == Kind::Busy {
            let why = format!("{} took the keyboard meanwhile", self.holder_name(session));
            self.notice(Level::Warning, &why);
            self.lose_keyboard(why);
        } else {
            self.fault("taking the keyboard again", fault);
            self.lose_keyboard(format!("the keyboard was refused: {}", fault.message()));
        }
    }

    fn history_done(&mut self, pending: Pending, result: Outcome<Reply>) {
        match (pending, result) {
            (Pending::Older(session), result) => self.older(&session, result),
            (Pending::Oldest(session), Ok(Reply::History(page))) => {
                self.started_at(&session, page);
            }
            // Step by step it is then.
            (Pending::Oldest(session), Err(_)) => {
                let page = HistoryPage { lines: Vec::new(), at_start: false };
                self.started_at(&session, page);
            }
            (Pending::Jump { session, hit, number }, Ok(Reply::History(page))) => {
                if let Some(copy) = self.state.copy.as_mut().filter(|it| it.session == session) {
                    copy.jump(page, hit, number);
                }
            }
            (_, Err(fault)) => self.fault("searching", &fault),
            (_, Ok(_)) => self.notice(Level::Error, "the hub answered something else"),
        }
    }

    fn older(&mut self, session: &SessionId, result: Outcome<Reply>) {
        let Some(copy) = self.state.copy.as_mut().filter(|it| it.session == *session) else {
            return;
        };
        match result {
            Ok(Reply::History(page)) => copy.older(page),
            Ok(_) => copy.at_start = true,
            Err(fault) => {
                (copy.loading, copy.at_start) = (false, true);
                self.fault("loading what is older", &fault);
            }
        }
    }

    /// Files are read again whenever one of them changes; only what differs is news.
    pub(super) fn config(&mut self, result: Outcome<Box<Config>>) {
        let mut config = match result {
            Ok(config) => config,
            Err(fault) => return self.kept("config.toml", &fault),
        };
        if self.state.prefs.settle(&config) {
            self.save_prefs();
        }
        config.apply(&self.state.prefs);
        if *config == self.state.config {
            return;
        }
        let old = std::mem::replace(&mut self.state.config, *config);
        let new = self.state.config.clone();
        if old.keymap != new.keymap || old.prefix != new.prefix {
            self.load_keymap(&new.keymap);
        }
        if old.theme != new.theme {
            self.load_theme(&new.theme);
        }
        if old.layout != new.layout {
            self.lay_out(usize::from(new.layout));
        }
        if old.mouse != new.mouse {
            self.state.mouse = new.mouse;
            self.start(Act::CaptureMouse(new.mouse), None);
        }
        self.notice(Level::Info, "config.toml was read again");
    }

    pub(super) fn keymap(&mut self, result: Outcome<Box<Keymap>>) {
        let keymap = match result {
            Ok(keymap) => keymap,
            Err(fault) => {
                self.state.asked_keymap = None;
                return self.kept("the keymap", &fault);
            }
        };
        let name = keymap.name.clone();
        if self.state.asked_keymap.take_if(|it| *it == name).is_some() {
            self.state.prefs.keymap = Some(name.clone());
            self.state.config.keymap.clone_from(&name);
            self.save_prefs();
        }
        let before = self.state.keymap.clone();
        self.use_keymap(*keymap);
        if self.state.keymap != before {
            // The keys that are written below an ask are others now.
            self.look_at_ask_anew(false);
            self.notice(Level::Info, &format!("keymap {name}"));
        }
    }

    pub(super) fn theme(&mut self, result: Outcome<String>) {
        match result {
            Ok(name) => {
                if self.state.asked_theme.take_if(|it| *it == name).is_some() {
                    self.state.prefs.theme = Some(name.clone());
                    self.state.config.theme.clone_from(&name);
                    self.save_prefs();
                    self.notice(Level::Info, &format!("theme {name}"));
                }
            }
            Err(fault) => {
                self.state.asked_theme = None;
                self.kept("the theme", &fault);
            }
        }
    }

    /// A file that can't be used changes nothing.
    fn kept(&mut self, what: &str, fault: &Fault) {
        self.fault(&format!("{what} stays as it was"), fault);
    }

    /// The box over a keyboard that is taken says who has it now.
    pub(super) fn holder_seen(&mut self, sandbox: &SandboxId) {
        let Some(Overlay::TakeOver { session, holder, free, .. }) = &mut self.state.overlay else {
            return;
        };
        let known = self.state.fleet.session(session);
        let Some((_, known)) = known.filter(|(row, _)| row.sandbox.id == *sandbox) else { return };
        *free = known.lease.is_none();
        if let Some(lease) = &known.lease {
            holder.clone_from(&lease.holder_name);
        }
    }

    /// The lease as the feed tells it, for the session typed into.
    pub(super) fn lease_seen(&mut self) {
        let Some(grip) = &mut self.state.grip else { return };
        let Some((_, session)) = self.state.fleet.session(&grip.session) else { return };
        match (&session.lease, grip.hold) {
            // Told before the keyboard became ours, heard after.
            (Some(lease), _) if grip.since.is_some_and(|it| lease.since < it) => {}
            (Some(lease), Hold::Held | Hold::Lapsed) if lease.holder != self.state.me => {
                let text = format!("{} took the keyboard", lease.holder_name);
                self.notice(Level::Warning, &text);
                self.lose_keyboard(text);
            }
            (None, Hold::Held) => grip.hold = Hold::Lapsed,
            (Some(_), Hold::Lapsed) => grip.hold = Hold::Held,
            _ => {}
        }
    }
}
