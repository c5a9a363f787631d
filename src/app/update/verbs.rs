//! Verbs on sandboxes: new, shell, pause, stop, remove, describe.

use super::Turn;
use crate::{
    app::{
        action::Action,
        command::split,
        dialog::{Confirm, Loss, NewDialog},
        effect::{Act, EffectId},
        layout::PaneArea,
        state::{Deeds, FirstChoice, Overlay, Pending, Place},
    },
    base::{fault::Fault, id::SandboxId, units::Size},
    model::{
        event::Level,
        sandbox::{Sandbox, SandboxSpec, State as Life, WorkspaceMode},
        session::{SessionSpec, Status},
    },
};

/// Names copied to the clipboard at once.
const NAMES_COPIED_MAX: usize = 1000;

impl Turn<'_> {
    /// What a verb acts on: the one named, else all marked, else the pane's or the cursor's.
    fn targets(&mut self, name: &str) -> Vec<SandboxId> {
        let fleet = &self.state.fleet;
        if !name.is_empty() {
            let found = fleet.named(name).map(|it| it.sandbox.id.clone());
            if found.is_none() {
                self.notice(Level::Error, &format!("there is no sandbox `{name}`"));
            }
            return found.into_iter().collect();
        }
        let marked = fleet.marked();
        if marked.is_empty() && self.state.place == Place::Panes {
            let focused = self.state.focused_session().and_then(|it| fleet.session(it));
            return focused.map(|(row, _)| row.sandbox.id.clone()).into_iter().collect();
        }
        fleet.targets()
    }

    pub(super) fn pause(&mut self, name: &str) {
        let targets = self.targets(name);
        if targets.is_empty() && !name.is_empty() {
            return;
        }
        // Marked ones all go the way of the first that can.
        let fleet = &self.state.fleet;
        let lives: Vec<(SandboxId, String, Life)> = targets
            .iter()
            .filter_map(|it| fleet.get(it))
            .map(|it| (it.sandbox.id.clone(), it.sandbox.name.clone(), it.sandbox.state))
            .collect();
        let resume = lives.iter().all(|(_, _, life)| *life == Life::Paused);
        let wanted = if resume { Life::Paused } else { Life::Running };
        let able = lives.into_iter().filter(|(_, _, life)| *life == wanted);
        let acts: Vec<(Act, String)> = able
            .map(|(id, name, _)| (if resume { Act::Resume(id) } else { Act::Pause(id) }, name))
            .collect();
        if acts.is_empty() {
            return self.notice(Level::Info, "nothing here runs or is paused");
        }
        let (doing, done) = if resume { ("resuming", "resumed") } else { ("pausing", "paused") };
        self.all_of(acts, doing, done);
    }

    /// Does one thing to many, and says once how it went.
    fn all_of(&mut self, acts: Vec<(Act, String)>, doing: &'static str, done: &'static str) {
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
        let loss = if action == Action::Remove { Loss::Remove } else { Loss::Stop };
        let fleet = &self.state.fleet;
        let sandboxes: Vec<&Sandbox> =
            targets.iter().filter_map(|it| fleet.get(it)).map(|it| &it.sandbox).collect();
        let lines = match sandboxes.as_slice() {
            [] => return self.notice(Level::Info, "there is nothing to act on"),
            [one] => losses(one, loss),
            many => many_losses(many, loss),
        };
        let trigger = self.state.last_key;
        let opened = self.state.now.since_start;
        let confirm = Confirm::new(loss, targets, lines, trigger, opened);
        self.state.overlay = Some(Overlay::Confirm(confirm));
    }

    pub(super) fn confirmed(&mut self) {
        let Some(Overlay::Confirm(confirm)) = self.state.overlay.take() else { return };
        let name = |id: &SandboxId| {
            let row = self.state.fleet.get(id);
            row.map_or_else(|| id.to_string(), |it| it.sandbox.name.clone())
        };
        let acts = confirm.targets.into_iter().map(|id| {
            let name = name(&id);
            (if confirm.loss == Loss::Stop { Act::Stop(id) } else { Act::Remove(id) }, name)
        });
        let acts = acts.collect();
        match confirm.loss {
            Loss::Stop => self.all_of(acts, "stopping", "stopped"),
            Loss::Remove => self.all_of(acts, "removing", "removed"),
        }
        self.state.fleet.unmark_all();
    }

    pub(super) fn open_info(&mut self, name: &str) {
        if let Some(sandbox) = self.targets(name).into_iter().next() {
            self.state.overlay = Some(Overlay::Info { sandbox, top: 0 });
        }
    }

    pub(super) fn copy_name(&mut self) {
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
        let pending = Pending::Clipboard { lines: text.lines().count() };
        self.start(Act::Clipboard(text), Some(pending));
    }

    fn dialog(&self, program: &str) -> NewDialog {
        let directory = self.state.directory.to_string_lossy();
        let state = &self.state;
        let home = state.home.as_deref();
        NewDialog::new(program, &directory, &state.driver, &state.config, &state.agents, home)
    }

    pub(super) fn open_new(&mut self, program: &str) {
        let dialog = self.dialog(program);
        self.state.overlay = Some(Overlay::New(Box::new(dialog)));
    }

    /// The size of the pane a new session will appear in.
    fn pane_size(&self) -> Size {
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
        match dialog.spec(size) {
            Ok(spec) => {
                let asked = self.create(spec);
                if let Some(Overlay::New(dialog)) = &mut self.state.overlay {
                    (dialog.wrong, dialog.asked) = (None, asked);
                }
            }
            Err((field, why)) => dialog.refuse(Some(field), why),
        }
    }

    fn create(&mut self, spec: SandboxSpec) -> Option<EffectId> {
        let asked = self.start(Act::Create(Box::new(spec)), Some(Pending::Create))?;
        self.notice(Level::Info, "starting a sandbox");
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
                self.state.fleet.change(sandbox);
                self.expect(first);
            }
            Err(fault) => match &mut self.state.overlay {
                Some(Overlay::New(dialog)) if dialog.asked == Some(asked) => {
                    let hint = fault.hint_text().map(|it| format!(" ({it})")).unwrap_or_default();
                    dialog.refuse(None, format!("{}{hint}", fault.message()));
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
        match self.dialog(command).spec(size) {
            Ok(spec) => {
                self.create(spec);
            }
            Err((_, why)) => self.notice(Level::Error, &why),
        }
    }

    pub(super) fn first_run_choice(&mut self) {
        let choice = self.state.first_choices().into_iter().nth(self.state.first_choice);
        let size = self.pane_size();
        match choice {
            Some(FirstChoice::Agent(agent)) => self.run_program(&agent),
            Some(FirstChoice::Shell) => match self.dialog("").spec(size) {
                Ok(spec) => {
                    self.create(spec);
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
        let Some(sandbox) = self.targets(name).into_iter().next() else { return };
        let size = self.pane_size();
        let command = words.into_iter().skip(1).collect();
        let spec = SessionSpec { command, cwd: None, env: Vec::new(), size };
        self.start(Act::Open { sandbox, spec }, Some(Pending::Open));
    }
}

fn running(sandbox: &Sandbox) -> usize {
    sandbox.sessions.iter().filter(|it| it.status != Status::Exited).count()
}

fn losses(sandbox: &Sandbox, loss: Loss) -> Vec<String> {
    let mut lines = Vec::new();
    match running(sandbox) {
        0 if loss == Loss::Stop => {
            lines.push("No program of it runs; how it ended counts as seen.".to_owned());
        }
        0 => lines.push("No program of it runs.".to_owned()),
        1 => lines.push("1 running program ends.".to_owned()),
        it => lines.push(format!("{it} running programs end.")),
    }
    let path = sandbox.workspace.path.to_string_lossy();
    match (loss, sandbox.workspace.mode) {
        (Loss::Stop, _) => lines.push("Its files stay until it is removed.".to_owned()),
        (Loss::Remove, WorkspaceMode::Cow) => {
            lines.push(format!("What it changed in its copy of {path} is deleted."));
            lines.push(format!("{path} itself stays as it is."));
        }
        (Loss::Remove, WorkspaceMode::Rw) => {
            lines.push(format!("{path} stays with every change; its other files are deleted."));
        }
        (Loss::Remove, WorkspaceMode::Ro | WorkspaceMode::None) => {
            lines.push("Its files are deleted.".to_owned());
        }
    }
    if loss == Loss::Remove {
        let recorded = sandbox.sessions.iter().any(|it| it.recording);
        let text = if recorded { "Its recordings stay." } else { "It has no recording." };
        lines.push(text.to_owned());
    }
    lines
}

fn many_losses(sandboxes: &[&Sandbox], loss: Loss) -> Vec<String> {
    let programs: usize = sandboxes.iter().map(|it| running(it)).sum();
    let mut lines = vec![format!("{programs} running programs end.")];
    let names: Vec<&str> = sandboxes.iter().take(6).map(|it| it.name.as_str()).collect();
    let more = sandboxes.len().saturating_sub(names.len());
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    lines.push(format!("{}{tail}", names.join(", ")));
    let cow = sandboxes.iter().filter(|it| it.workspace.mode == WorkspaceMode::Cow).count();
    match loss {
        Loss::Stop => lines.push("Their files stay until they are removed.".to_owned()),
        Loss::Remove => {
            lines.push(format!("What {cow} of them changed in copies of your files is deleted."));
            lines.push("Recordings stay.".to_owned());
        }
    }
    lines
}
