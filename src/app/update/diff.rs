//! What a sandbox changed: reading it, choosing from it, applying it to the real directory and taking that back.

use super::{Turn, losses};
use crate::{
    app::{
        action::Action,
        dialog::Deed,
        diff::{Diff, Half, Sides, Stand, shown},
        effect::{Act, EffectId},
        hunks::Patch,
        msg::{DiffRead, Reply},
        snapshots::{Summary, Told},
        state::Pending,
        view::{Left, View},
    },
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        text::count,
    },
    model::{
        change::{Applied, ApplyRequest, Verdict},
        event::Level,
        sandbox::{Sandbox, State as Life},
    },
};

/// Paths named in one notice.
const NAMED_MAX: usize = 3;
/// Why nothing can be applied of a sandbox that was removed.
const GONE: &str = "the sandbox is no more, and its changes with it";

impl Turn<'_> {
    pub(super) fn open_diff(&mut self, argument: &str) {
        let Some(id) = self.target(argument) else {
            if argument.is_empty() {
                self.notice(Level::Info, "there is no sandbox here");
            }
            return;
        };
        let Some(row) = self.state.fleet.get(&id) else { return };
        let (name, directory) = (row.sandbox.name.clone(), row.sandbox.workspace.path.clone());
        let sides = Sides::of_apply(id.clone());
        self.open_view(View::Diff(Box::new(Diff::new(id, name, directory, sides))), false);
    }

    fn diff(&self) -> Option<&Diff> {
        match self.state.view() {
            Some(View::Diff(it)) => Some(it),
            _ => None,
        }
    }

    fn diff_mut(&mut self) -> Option<&mut Diff> {
        match self.state.views.last_mut() {
            Some(View::Diff(it)) => Some(it),
            _ => None,
        }
    }

    /// Asks for the list of changed files.
    pub(super) fn ask_changes(&mut self) {
        let Some(it) = self.diff() else { return };
        let act = Act::Diff { of: it.sides.of.clone(), request: it.request() };
        let what = format!("looking for changes in {}", it.name);
        let stand = self.stand_of(&it.sandbox);
        let asked = self.begin(act, Pending::Changes, what, Left::Ended);
        if let Some(it) = self.diff_mut() {
            (it.asked, it.stand) = (asked, stand);
            if asked.is_none() {
                it.wrong = Some("too much is under way".to_owned());
            }
        }
    }

    fn stand_of(&self, sandbox: &SandboxId) -> Option<Stand> {
        let it = &self.state.fleet.get(sandbox)?.sandbox;
        Some((it.moment.clone(), it.writes))
    }

    /// Another console may have written to the real directory or restored the sandbox meanwhile: what is
    /// shown is asked for anew.
    pub(super) fn look_again_if_old(&mut self) {
        match self.state.views.last_mut() {
            Some(View::Snapshots(it)) if it.telling.is_none() => it.forget_now(),
            Some(View::Diff(it)) if it.may_be_old() => self.ask_changes(),
            _ => {}
        }
    }

    /// The feed told of the sandbox: what it is now may be another thing.
    pub(super) fn diff_seen(&mut self, sandbox: &SandboxId) {
        let Some(it) = self.diff().filter(|it| it.sandbox == *sandbox) else { return };
        if it.stand != self.stand_of(sandbox) {
            self.look_again_if_old();
        }
    }

    /// Asks for the list, and for the lines of the file that the cursor rests on.
    pub(super) fn load_diff(&mut self) {
        let now = self.state.now.since_start;
        let Some(it) = self.diff_mut() else { return };
        if !it.known && it.asked.is_none() && it.wrong.is_none() {
            return self.ask_changes();
        }
        if it.asked.is_some() || !it.known || !it.rest.has_come(now) {
            return;
        }
        let Some(file) = it.current().filter(|_| it.patch().is_none()) else { return };
        let path = file.change.path.clone();
        match &it.reading {
            Some((_, of)) if *of == path => return,
            // The cursor went on.
            Some((id, _)) => {
                let id = *id;
                it.reading = None;
                self.cancel(id);
            }
            None => {}
        }
        let Some(it) = self.diff() else { return };
        let Some(file) = it.current() else { return };
        let act = Act::Diff { of: it.sides.of.clone(), request: it.request_of(file) };
        let what = format!("reading {}", file.path());
        let asked = self.begin(act, Pending::Lines(path.clone()), what, Left::Ended);
        if let Some(it) = self.diff_mut() {
            match asked {
                Some(id) => it.reading = Some((id, path)),
                None => it.read(path, Err("too much is under way".to_owned())),
            }
        }
    }

    pub(super) fn diff_action(&mut self, action: Action) {
        let Some(it) = self.diff_mut() else { return };
        match action {
            Action::DiffEnter => it.half = Half::Lines,
            Action::DiffRight => match it.half {
                Half::Files => it.half = Half::Lines,
                Half::Lines => drop(it.step_column(true)),
            },
            Action::DiffLeft if it.half == Half::Lines && it.step_column(false) => {}
            Action::DiffLeft => it.half = Half::Files,
            Action::HunkNext | Action::HunkPrevious => {
                let forward = action == Action::HunkNext;
                it.half = Half::Lines;
                if !it.hunk(forward) {
                    let text =
                        if forward { "this was the last hunk" } else { "this was the first" };
                    self.notice(Level::Info, text);
                }
            }
            Action::DiffSystem => self.toggle_system(),
            Action::Stage | Action::StageAll | Action::StageNone => self.stage(action),
            Action::Apply => self.ask_apply(false),
            Action::ApplyOver => self.ask_apply(true),
            Action::TakeBack => self.ask_take_back(false),
            Action::TakeBackOver => self.ask_take_back(true),
            _ => {}
        }
    }

    fn toggle_system(&mut self) {
        let Some(it) = self.diff_mut() else { return };
        it.turn();
        let reads = [it.asked.take(), it.reading.take().map(|(id, _)| id)];
        reads.into_iter().flatten().for_each(|it| self.cancel(it));
    }

    /// Only what is shown as it would be written is applied.
    fn is_appliable(&mut self) -> bool {
        let Some(it) = self.diff() else { return false };
        if it.is_appliable() {
            return true;
        }
        let text = if it.system {
            let key = self.state.key_words(Action::DiffSystem);
            format!("only the workspace can be applied; {key} goes back to it")
        } else if self.state.fleet.get(&it.sandbox).is_none() {
            GONE.to_owned()
        } else {
            let key = self.state.key_words(Action::Diff);
            format!("this is not what apply writes; {key} shows that")
        };
        self.notice(Level::Info, &text);
        false
    }

    fn stage(&mut self, action: Action) {
        if !self.is_appliable() {
            return;
        }
        let now = self.state.now.since_start;
        let Some(it) = self.diff_mut() else { return };
        match action {
            Action::Stage => {
                it.stage();
                if it.half == Half::Files {
                    it.cursor.move_by(1);
                    it.show_start();
                    it.rest.moved(now);
                }
            }
            Action::StageAll => it.stage_all(true),
            _ => it.stage_all(false),
        }
    }

    fn ask_apply(&mut self, overwrite: bool) {
        if !self.is_appliable() {
            return;
        }
        let Some(it) = self.diff() else { return };
        if it.files.is_empty() {
            return self.notice(Level::Info, "there is nothing to apply");
        }
        let request = match it.apply(overwrite) {
            Ok(request) => request,
            Err(why) => return self.notice(Level::Error, &why),
        };
        let Some(sandbox) = self.state.fleet.get(&it.sandbox).map(|it| &it.sandbox) else {
            return self.notice(Level::Info, GONE);
        };
        if let Some(why) = cannot(sandbox) {
            return self.notice(Level::Info, &why);
        }
        let runs = sandbox.state == Life::Running;
        let says = losses::of_apply(it, overwrite, runs);
        let directory = it.directory.to_string_lossy().into_owned();
        let many = count(it.chosen().len(), "path");
        let title = (format!("Write {many} to {directory}?"), "write");
        let deed = Deed::Apply { sandbox: it.sandbox.clone(), directory, request };
        self.ask_first(deed, title, says);
    }

    pub(super) fn apply(&mut self, sandbox: SandboxId, directory: String, request: ApplyRequest) {
        let what = format!("writing to {directory}");
        let pending = Pending::Apply { sandbox: sandbox.clone(), directory };
        self.begin(Act::Apply { sandbox, request }, pending, what, Left::Finished);
    }

    fn ask_take_back(&mut self, overwrite: bool) {
        let Some(it) = self.diff() else { return };
        let row = self.state.fleet.get(&it.sandbox);
        if let Some(why) = row.and_then(|it| cannot(&it.sandbox)) {
            return self.notice(Level::Info, &why);
        }
        let directory = it.directory.to_string_lossy().into_owned();
        let since = if overwrite {
            "What was changed there since is lost, too.".to_owned()
        } else {
            "If it was changed there since, nothing is undone.".to_owned()
        };
        // However long the name of the directory is, what is lost stays in sight.
        let lines = vec![
            since,
            "The sandbox keeps its changes; they can be applied again.".to_owned(),
            format!("What the last apply of {} wrote is undone in {directory}.", it.name),
        ];
        let title = (format!("Take back from {directory}?"), "take back");
        let sandbox = it.sandbox.clone();
        self.ask_first(Deed::TakeBack { sandbox, directory, overwrite }, title, lines.into());
    }

    pub(super) fn take_back(&mut self, sandbox: SandboxId, directory: String, overwrite: bool) {
        let what = format!("taking back from {directory}");
        let pending = Pending::TakeBack { sandbox: sandbox.clone(), directory };
        self.begin(Act::TakeBack { sandbox, overwrite }, pending, what, Left::Finished);
    }

    pub(super) fn diff_done(&mut self, id: EffectId, pending: Pending, result: Outcome<Reply>) {
        match (pending, result) {
            (Pending::Apply { sandbox, directory }, Ok(Reply::Applied(applied))) => {
                self.applied(&sandbox, &directory, &applied);
            }
            (Pending::TakeBack { sandbox, directory }, Ok(Reply::Applied(applied))) => {
                self.taken_back(&sandbox, &directory, &applied);
            }
            (Pending::Apply { directory, .. }, Err(fault)) => {
                self.fault(&format!("writing to {directory}"), &fault);
            }
            (Pending::TakeBack { directory, .. }, Err(fault)) => {
                self.fault(&format!("taking back from {directory}"), &fault);
            }
            (Pending::Told(_) | Pending::Changes | Pending::Lines(_), result) => {
                let read = match result {
                    Ok(Reply::Diff(read)) => Ok(*read),
                    Ok(_) => Err("the hub answered something else".to_owned()),
                    Err(fault) => Err(words(&fault)),
                };
                self.diff_read(id, read);
            }
            _ => self.notice(Level::Error, "the hub answered something else"),
        }
    }

    /// What was read goes to who asked for it, if they still want it.
    fn diff_read(&mut self, id: EffectId, read: Result<DiffRead, String>) {
        for view in &mut self.state.views {
            match view {
                View::Snapshots(it) => {
                    if let Some((_, key)) = it.telling.take_if(|it| it.0 == id) {
                        let told = match read {
                            Ok(it) => Told::Known(Summary::of(it.files, it.more)),
                            Err(why) => Told::Not(why),
                        };
                        return it.tell(key, told);
                    }
                }
                View::Diff(it) if it.asked == Some(id) => {
                    it.asked = None;
                    return match read {
                        Ok(read) => it.list(read.files, read.more, read.git_left_out),
                        Err(why) => it.wrong = Some(why),
                    };
                }
                View::Diff(it) => {
                    if let Some((_, path)) = it.reading.take_if(|it| it.0 == id) {
                        let read = read.map(|it| Patch::read(&it.text, it.cut));
                        return it.read(path, read);
                    }
                }
            }
        }
    }

    /// The place that shows changes of a sandbox is read anew; until then no line of it is shown.
    fn changed_outside(&mut self, sandbox: &SandboxId) {
        let Some(it) = self.diff_mut().filter(|it| it.sandbox == *sandbox) else { return };
        it.forget_lines();
        let old = [it.asked.take(), it.reading.take().map(|(id, _)| id)];
        old.into_iter().flatten().for_each(|it| self.cancel(it));
        self.ask_changes();
    }

    fn applied(&mut self, sandbox: &SandboxId, directory: &str, applied: &Applied) {
        let asked_here = |it: &&mut Diff| it.sandbox == *sandbox && it.is_appliable();
        if let Some(it) = self.diff_mut().filter(asked_here) {
            it.applied(applied);
        }
        // Whatever came of it, it says how the real directory is now.
        self.changed_outside(sandbox);
        let of = |verdict| applied.paths.iter().filter(|it| it.verdict == verdict).count();
        if applied.refused() {
            let many = count(of(Verdict::Conflict), "path");
            let over = self.state.key_words(Action::ApplyOver);
            // The file says the rest, where both sides are.
            let text =
                format!("nothing was written: {many} changed on both sides; {over} overwrites");
            return self.notice(Level::Error, &text);
        }
        let written = of(Verdict::Applied);
        let left_out = of(Verdict::LeftOut);
        let key = self.state.key_words(Action::TakeBack);
        let mut text = match written {
            0 => format!("nothing was left to write to {directory}"),
            it => format!("wrote {} to {directory}; {key} takes it back", count(it, "path")),
        };
        if left_out > 0 {
            let first = applied.paths.iter().find(|it| it.verdict == Verdict::LeftOut);
            let why = first.and_then(|it| it.note.as_deref()).unwrap_or("see the list");
            text.push_str(&format!(" · left out: {} ({why})", count(left_out, "path")));
        }
        let level = if left_out > 0 { Level::Warning } else { Level::Info };
        self.notice(level, &text);
    }

    fn taken_back(&mut self, sandbox: &SandboxId, directory: &str, applied: &Applied) {
        self.changed_outside(sandbox);
        let conflicts = applied.paths.iter().filter(|it| it.verdict == Verdict::Conflict);
        let names: Vec<String> =
            conflicts.clone().take(NAMED_MAX).map(|it| shown(&it.path)).collect();
        if applied.refused() {
            let more = conflicts.count().saturating_sub(names.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let over = self.state.key_words(Action::TakeBackOver);
            let text = format!(
                "nothing was taken back: changed in {directory} since: {}{more}; {over} takes back \
                 all the same",
                names.join(", ")
            );
            return self.notice(Level::Error, &text);
        }
        let done = applied.paths.iter().filter(|it| it.verdict == Verdict::Applied).count();
        let text = format!("took {} back from {directory}", count(done, "path"));
        self.notice(Level::Info, &text);
    }
}

/// Why nothing of a sandbox can be applied, where its driver knows beforehand.
fn cannot(it: &Sandbox) -> Option<String> {
    let driver = &it.driver;
    let can = it.capabilities.workspace_apply;
    (!can).then(|| format!("{}: the {driver} driver can't apply changes", it.name))
}

/// A failure in a place: the message and its way out.
fn words(fault: &Fault) -> String {
    let hint = fault.hint_text().map(|it| format!(" ({it})")).unwrap_or_default();
    format!("{}{hint}", fault.message())
}
