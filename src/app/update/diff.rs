//! What a sandbox changed: reading it, and moving in it. `apply` chooses from it and writes it.

use super::Turn;
use crate::{
    app::{
        action::Action,
        diff::{Diff, Half, Sides, Stand},
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
    },
    model::event::Level,
};

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

    pub(super) fn diff(&self) -> Option<&Diff> {
        match self.state.view() {
            Some(View::Diff(it)) => Some(it),
            _ => None,
        }
    }

    pub(super) fn diff_mut(&mut self) -> Option<&mut Diff> {
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
        Some((it.sessions.first().map(|it| it.id.clone()), it.writes))
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
                None => drop(it.read(path, Err("too much is under way".to_owned()))),
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
            Action::Stage | Action::StageFile | Action::StageAll | Action::StageNone => {
                self.stage(action);
            }
            Action::Apply => self.ask_apply(false),
            Action::ApplyOver => self.ask_apply(true),
            Action::TakeBack => self.ask_take_back(false),
            Action::TakeBackOver => self.ask_take_back(true),
            _ => {}
        }
    }

    fn toggle_system(&mut self) {
        // What is said of one side is not said of the other.
        self.state.notices.leave();
        let Some(it) = self.diff_mut() else { return };
        it.turn();
        let reads = [it.asked.take(), it.reading.take().map(|(id, _)| id)];
        reads.into_iter().flatten().for_each(|it| self.cancel(it));
    }

    pub(super) fn diff_done(&mut self, id: EffectId, pending: Pending, result: Outcome<Reply>) {
        match (pending, result) {
            (Pending::Apply { sandbox, directory, request }, Ok(Reply::Applied(applied))) => {
                self.applied(&sandbox, &directory, &request, &applied);
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
                    let dropped = match read {
                        Ok(read) => it.list(read.files, read.more, read.git_left_out),
                        Err(why) => {
                            it.wrong = Some(why);
                            return;
                        }
                    };
                    return self.tell_dropped(&dropped);
                }
                View::Diff(it) => {
                    if let Some((_, path)) = it.reading.take_if(|it| it.0 == id) {
                        let read = read.map(|it| Patch::read(it.text, it.cut));
                        let dropped = it.read(path, read);
                        return self.tell_dropped(&dropped);
                    }
                }
                _ => {}
            }
        }
    }

    /// The place that shows changes of a sandbox is read anew; until then no line of it is shown.
    pub(super) fn changed_outside(&mut self, sandbox: &SandboxId) {
        let Some(it) = self.diff_mut().filter(|it| it.sandbox == *sandbox) else { return };
        it.forget_lines();
        let old = [it.asked.take(), it.reading.take().map(|(id, _)| id)];
        old.into_iter().flatten().for_each(|it| self.cancel(it));
        self.ask_changes();
    }
}

/// A failure in a place: the message and its way out.
fn words(fault: &Fault) -> String {
    let hint = fault.hint_text().map(|it| format!(" ({it})")).unwrap_or_default();
    format!("{}{hint}", fault.message())
}
