//! Verbs on sandboxes: new, shell, pause, stop, remove, describe.

use super::{Turn, losses};
use crate::{
    app::{
        action::Action,
        command::split,
        dialog::{Confirm, Deed, Field, NewDialog, Says, Verb},
        effect::{Act, EffectId, Order},
        layout::PaneArea,
        state::{Deeds, FirstChoice, Overlay, Pending, Place},
    },
    base::{
        fault::Fault,
        id::{HubNumber, SandboxId},
        units::Size,
    },
    model::{
        event::Level,
        sandbox::{Sandbox, State as Life},
        session::SessionSpec,
    },
};

/// Names copied to the clipboard at once.
const NAMES_COPIED_MAX: usize = 1000;

impl Turn<'_> {
    /// What a verb acts on: the one named, else the pane's, else all marked, else the cursor's.
    pub(super) fn targets(&mut self, name: &str) -> Vec<SandboxId> {
        let fleet = &self.state.fleet;
        if !name.is_empty() {
            let found = fleet.named(name).map(|it| it.sandbox.id.clone());
            if found.is_none() {
                self.notice(Level::Error, &format!("there is no sandbox `{name}`"));
            }
            return found.into_iter().collect();
        }
        if !self.state.views.is_empty() {
            return self.looked_at().into_iter().collect();
        }
        // Marks are the fleet's: in a pane they are neither in mind nor, often, in sight.
        match self.state.place {
            Place::Panes => self.looked_at().into_iter().collect(),
            Place::Fleet => fleet.targets(),
        }
    }

    /// What can only be done to one: the one named, else the pane's or the cursor's.
    pub(super) fn target(&mut self, name: &str) -> Option<SandboxId> {
        if name.is_empty() { self.looked_at() } else { self.targets(name).pop() }
    }

    fn looked_at(&self) -> Option<SandboxId> {
        let fleet = &self.state.fleet;
        if let Some(view) = self.state.view() {
            return view.sandbox().and_then(|it| fleet.get(it)).map(|it| it.sandbox.id.clone());
        }
        let row = match self.state.place {
            Place::Panes => self.state.focused_session().and_then(|it| fleet.session(it)),
            Place::Fleet => return fleet.current().map(|it| it.sandbox.id.clone()),
        };
        row.map(|(row, _)| row.sandbox.id.clone())
    }

    pub(super) fn pause(&mut self, name: &str) {
        let targets = self.targets(name);
        if targets.is_empty() && !name.is_empty() {
            return;
        }
        // As long as one of them runs, they are paused; what is neither has no part in it.
        let fleet = &self.state.fleet;
        let lives: Vec<(SandboxId, String, Life)> = targets
            .iter()
            .filter_map(|it| fleet.get(it))
            .map(|it| (it.sandbox.id.clone(), it.sandbox.name.clone(), it.sandbox.state))
            .collect();
        let resume = !lives.iter().any(|(_, _, life)| *life == Life::Running);
        let wanted = if resume { Life::Paused } else { Life::Running };
        let able = lives.into_iter().filter(|(_, _, life)| *life == wanted);
        let able: Vec<SandboxId> = able.map(|(id, ..)| id).collect();
        let verb = if resume { Verb::Resume } else { Verb::Pause };
        if able.is_empty() {
            self.notice(Level::Info, "nothing here runs or is paused");
        } else if fleet.hidden_of(&able) > 0 && name.is_empty() && self.state.place == Place::Fleet
        {
            self.ask(verb, able);
        } else {
            self.do_to(verb, able);
        }
    }

    fn do_to(&mut self, verb: Verb, targets: Vec<SandboxId>) {
        let fleet = &self.state.fleet;
        let act = |id: SandboxId| {
            let row = fleet.get(&id);
            let name = row.map_or_else(|| id.to_string(), |it| it.sandbox.name.clone());
            let act = match verb {
                Verb::Pause => Act::Pause(id),
                Verb::Resume => Act::Resume(id),
                Verb::Stop => Act::Stop(id),
                Verb::Remove => Act::Remove(id),
            };
            (act, name)
        };
        let acts = targets.into_iter().map(act).collect();
        let (doing, done) = match verb {
            Verb::Pause => ("pausing", "paused"),
            Verb::Resume => ("resuming", "resumed"),
            Verb::Stop => ("stopping", "stopped"),
            Verb::Remove => ("removing", "removed"),
        };
        self.all_of(acts, doing, done);
    }

    /// Does one thing to many, and says once how it went.
    pub(super) fn all_of(
        &mut self,
        acts: Vec<(Act, String)>,
        doing: &'static str,
        done: &'static str,
    ) {
        let total = acts.len();
        if total > 1 {
            self.notice(Level::Info, &format!("{doing} {total} sandboxes"));
        }
        let batch = self.state.next_id;
        let deeds = Deeds { done, total, left: total, failed: 0 };
        self.state.batches.insert(batch, deeds);
        for (act, name) in acts {
            let doing = format!("{doing} {name}");
            if self.start(act, Some(Pending::Deed { batch, name, doing })).is_none() {
                // It was said why; those not sent are not done.
                self.deed_done(batch, "", false);
            }
        }
    }

    /// One of many is done, or is not.
    pub(super) fn deed_done(&mut self, batch: u64, name: &str, well: bool) {
        let Some(deeds) = self.state.batches.get_mut(&batch) else { return };
        deeds.left = deeds.left.saturating_sub(1);
        deeds.failed += usize::from(!well);
        if deeds.left > 0 {
            return;
        }
        let Some(Deeds { done, total, failed, .. }) = self.state.batches.remove(&batch) else {
            return;
        };
        match (total, failed) {
            (1, 0) => self.notice(Level::Info, &format!("{done} {name}")),
            (1, _) => {}
            (_, 0) => self.notice(Level::Info, &format!("{done} {total} sandboxes")),
            _ => {
                let well = total - failed;
                let text = format!("{done} {well} of {total} sandboxes; {failed} were not");
                self.notice(Level::Warning, &text);
            }
        }
    }

    /// Opens the box that names what will be lost.
    pub(super) fn ask_loss(&mut self, action: Action, name: &str) {
        let targets = self.targets(name);
        if targets.is_empty() && !name.is_empty() {
            return;
        }
        let verb = if action == Action::Remove { Verb::Remove } else { Verb::Stop };
        self.ask(verb, targets);
    }

    fn ask(&mut self, verb: Verb, targets: Vec<SandboxId>) {
        let fleet = &self.state.fleet;
        let sandboxes: Vec<&Sandbox> =
            targets.iter().filter_map(|it| fleet.get(it)).map(|it| it.sandbox.as_ref()).collect();
        let mut lines = match sandboxes.as_slice() {
            [] => return self.notice(Level::Info, "there is nothing to act on"),
            [one] => losses::of_one(one, verb),
            many => losses::of_many(many, verb),
        };
        let startable = |it: &&Sandbox| it.capabilities.snapshot || it.capabilities.start;
        if verb == Verb::Stop && sandboxes.iter().any(startable) {
            let key = self.state.key_words(Action::Start);
            lines.push(format!("{key} starts a stopped one again, on its files."));
        }
        match fleet.hidden_of(&targets) {
            0 => {}
            1 => lines.push("1 of them is not in sight: the filter hides it.".to_owned()),
            it => lines.push(format!("{it} of them are not in sight: the filter hides them.")),
        }
        let what = match sandboxes.as_slice() {
            [one] => one.name.clone(),
            many => format!("{} sandboxes", many.len()),
        };
        let title = match verb {
            Verb::Pause => (format!("Pause {what}?"), "pause"),
            Verb::Resume => (format!("Resume {what}?"), "resume"),
            Verb::Stop => (format!("Stop {what}?"), "stop"),
            Verb::Remove => (format!("Remove {what}?"), "remove"),
        };
        self.ask_first(Deed::Verb { verb, targets }, title, lines.into());
    }

    /// Opens the box that asks before it does something.
    pub(super) fn ask_first(&mut self, deed: Deed, title: (String, &'static str), says: Says) {
        // A hint that was followed is not the box's.
        self.hint_was_followed();
        let trigger = self.state.last_key;
        let opened = self.state.now.since_start;
        let confirm = Confirm::new(deed, title, says, trigger, opened);
        self.state.overlay = Some(Overlay::Confirm(confirm));
    }

    pub(super) fn confirmed(&mut self) {
        let Some(Overlay::Confirm(confirm)) = self.state.overlay.take() else { return };
        match confirm.deed {
            Deed::Verb { verb, targets } => {
                self.do_to(verb, targets);
                if matches!(verb, Verb::Stop | Verb::Remove) {
                    self.state.fleet.unmark_all();
                }
            }
            Deed::Start(sandbox) => self.start_again(sandbox),
            Deed::Restore { sandbox, to, label } => self.restore(sandbox, to, label),
            Deed::RemoveSnapshot { id, what } => self.remove_snapshot(id, what),
            Deed::Apply { sandbox, directory, request } => self.apply(sandbox, directory, request),
            Deed::Interrupt(session) => self.interrupted(session),
            Deed::RemoveRule(hub, name) => self.remove_rule(hub, name),
            Deed::RemoveContext(name) => self.remove_context(name),
            Deed::WriteOver { sandbox, path, copy } => self.send_over(sandbox, path, copy),
            Deed::CopyOver { sandbox, path, to } => self.copy_to(sandbox, path, to, true),
            Deed::TakeBack { sandbox, directory, overwrite } => {
                self.take_back(sandbox, directory, overwrite);
            }
        }
    }

    pub(super) fn open_info(&mut self, name: &str) {
        if let Some(sandbox) = self.target(name) {
            self.state.overlay = Some(Overlay::Info { sandbox, top: 0 });
        }
    }

    pub(super) fn copy_name(&mut self) {
        if let Some(text) = self.copied_from_view() {
            return self.clipboard(text);
        }
        let targets = self.targets("");
        let fleet = &self.state.fleet;
        let names: Vec<String> = targets
            .iter()
            .take(NAMES_COPIED_MAX)
            .filter_map(|it| fleet.get(it))
            .map(|it| it.sandbox.name.clone())
            .collect();
        if !names.is_empty() {
            self.clipboard(names.join(" "));
        }
    }

    pub(super) fn clipboard(&mut self, text: String) {
        let pending = Pending::Clipboard { lines: text.lines().count(), by: None };
        self.start(Act::Clipboard(text), Some(pending));
    }

    fn dialog(&self, program: &str) -> NewDialog {
        self.state.dialog(program)
    }

    pub(super) fn open_new(&mut self, program: &str) {
        let dialog = self.dialog(program);
        self.state.overlay = Some(Overlay::New(Box::new(dialog)));
    }

    /// The size of the pane a new session will appear in.
    pub(super) fn pane_size(&self) -> Size {
        let frame = &self.state.frame;
        let pane = frame.pane(self.state.grid.tab().focus()).or(frame.panes.first());
        pane.filter(|it| !it.body.is_empty()).map_or(Size::DEFAULT, PaneArea::session_size)
    }

    pub(super) fn start_new(&mut self) {
        let size = self.pane_size();
        let Some(Overlay::New(dialog)) = &mut self.state.overlay else { return };
        if dialog.asked.is_some() {
            return;
        }
        match dialog.order(size) {
            Ok(order) => {
                let hub = dialog.hub;
                let asked = self.create(hub, order);
                if let Some(Overlay::New(dialog)) = &mut self.state.overlay {
                    (dialog.wrong, dialog.asked) = (None, asked);
                }
            }
            Err((field, why)) => dialog.refuse(Some(field), why),
        }
    }

    fn create(&mut self, hub: HubNumber, order: Order) -> Option<EffectId> {
        let asked = self.start_of(hub, Act::Create(Box::new(order)), Some(Pending::Create))?;
        self.state.awaited_at = self.state.now.since_start;
        self.notice(Level::Info, &self.state.said_of(hub, "starting a sandbox"));
        Some(asked)
    }

    /// The hub has answered a creation: the dialog that asked for it closes, or says why not.
    pub(super) fn created(&mut self, asked: EffectId, result: Result<Sandbox, Fault>) {
        let from_dialog =
            |it: &mut Overlay| matches!(it, Overlay::New(of) if of.asked == Some(asked));
        match result {
            Ok(sandbox) => {
                self.state.overlay.take_if(from_dialog);
                let first = sandbox.sessions.first().map(|it| it.id.clone());
                self.state.fleet.change(sandbox.into());
                self.expect(first, true);
            }
            Err(fault) => match &mut self.state.overlay {
                Some(Overlay::New(dialog)) if dialog.asked == Some(asked) => {
                    let hint = fault.hint_text().map(|it| format!(" ({it})")).unwrap_or_default();
                    dialog.refuse(None, format!("{}{hint}", without_number(fault.message())));
                    self.state.notices.dismiss();
                }
                _ => self.fault("starting a sandbox", &fault),
            },
        }
    }

    /// Starts a program with the defaults, at once.
    pub(super) fn run_program(&mut self, command: &str) {
        if command.is_empty() {
            return self.open_new("");
        }
        let size = self.pane_size();
        let dialog = self.dialog(command);
        match dialog.order(size) {
            Ok(order) => {
                let asked = self.create(dialog.hub, order);
                if let Some(kept) = dialog.kept_back().filter(|_| asked.is_some()) {
                    let text = format!("starting a sandbox; {kept}");
                    self.notice(Level::Info, &self.state.said_of(dialog.hub, &text));
                }
            }
            Err((_, why)) => self.notice(Level::Error, &why),
        }
    }

    pub(super) fn first_run_choice(&mut self) {
        let choice = self.state.first_choices().into_iter().nth(self.state.first_choice);
        let size = self.pane_size();
        // What can't be started here is not tried: the form asks for another directory.
        if let Some(why) = self.state.refused_here() {
            let program = match &choice {
                Some(FirstChoice::Agent(agent)) => agent.as_str(),
                _ => "",
            };
            let mut dialog = self.dialog(program);
            dialog.refuse(Some(Field::Directory), why);
            self.state.overlay = Some(Overlay::New(Box::new(dialog)));
            return;
        }
        match choice {
            Some(FirstChoice::Agent(agent)) if self.state.first_asks_for_network() => {
                let mut dialog = self.dialog(&agent);
                dialog.ask_for_network();
                self.state.overlay = Some(Overlay::New(Box::new(dialog)));
            }
            Some(FirstChoice::Agent(agent)) => self.run_program(&agent),
            Some(FirstChoice::Shell) => match self.dialog("").order(size) {
                Ok(order) => {
                    self.create(HubNumber::FIRST, order);
                }
                Err((_, why)) => self.notice(Level::Error, &why),
            },
            Some(FirstChoice::Other) | None => self.open_new(""),
        }
    }

    /// A shell beside the agent, or the command after the name.
    pub(super) fn open_shell(&mut self, argument: &str) {
        let words = match split(argument) {
            Ok(words) => words,
            Err(why) => return self.notice(Level::Error, &why),
        };
        let name = words.first().map_or("", String::as_str);
        let Some(sandbox) = self.target(name) else { return };
        if let Some(row) = self.state.fleet.get(&sandbox).filter(|it| it.is_startable()) {
            let (name, key) = (&row.sandbox.name, self.state.key_words(Action::Start));
            let text = format!("{name} is stopped, and has no shell then; {key} starts it again");
            return self.notice(Level::Info, &text);
        }
        let size = self.pane_size();
        let command = words.into_iter().skip(1).collect();
        let spec = SessionSpec { command, cwd: None, env: Vec::new(), size };
        self.state.awaited_at = self.state.now.since_start;
        self.start(Act::Open { sandbox, spec }, Some(Pending::Open));
    }
}

/// What the system said, without its number: that tells an operator nothing.
fn without_number(text: &str) -> String {
    match text.split_once(" (os error ") {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|it: char| it.is_ascii_digit());
            format!("{before}{}", rest.strip_prefix(')').unwrap_or(rest))
        }
        None => text.to_owned(),
    }
}
