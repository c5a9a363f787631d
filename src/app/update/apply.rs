//! Choosing from what a sandbox changed, writing it to the real directory, and taking that back.

use super::{Turn, losses};
use crate::{
    app::{
        action::Action,
        dialog::Deed,
        diff::{Diff, Half, shown},
        effect::Act,
        hunks::Patch,
        staged::{Dropped, amount, written},
        state::Pending,
        view::{Left, View},
    },
    base::{id::SandboxId, text::count},
    model::{
        change::{Applied, AppliedPath, ApplyRequest, Verdict},
        event::Level,
        sandbox::{Sandbox, State as Life},
    },
};

/// Paths named in one notice.
const NAMED_MAX: usize = 3;
/// Why nothing can be applied of a sandbox that was removed.
const GONE: &str = "the sandbox is no more, and its changes with it";

impl Turn<'_> {
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
        self.notice_here(Level::Info, &text);
        false
    }

    pub(super) fn stage(&mut self, action: Action) {
        if !self.is_appliable() {
            return;
        }
        let now = self.state.now.since_start;
        let Some(it) = self.diff_mut() else { return };
        match (action, it.half) {
            (Action::Stage, Half::Lines) => match it.stage_hunk() {
                Ok(()) => drop(it.hunk(true)),
                Err(why) => {
                    let whole = self.state.key_words(Action::StageFile);
                    self.notice_here(Level::Info, &format!("{why}; {whole} stages the file"));
                }
            },
            (Action::Stage | Action::StageFile, Half::Files) => {
                it.stage_file();
                it.cursor.move_by(1);
                it.show_start();
                it.rest.moved(now);
            }
            (Action::StageFile, Half::Lines) => it.stage_file(),
            (Action::StageAll, _) => it.stage_all(true),
            _ => it.stage_all(false),
        }
    }

    /// Staged hunks that are no longer there as they were shown are told, beside what went wrong.
    pub(super) fn tell_dropped(&mut self, dropped: &Dropped) {
        let many = dropped.iter().map(|it| it.1).sum::<usize>();
        if many == 0 {
            return;
        }
        let names: Vec<String> = dropped.iter().map(|it| shown(&it.0)).collect();
        let of = match &names[..] {
            [one] => one.clone(),
            more => count(more.len(), "file"),
        };
        let (hunks, are, they) = match many {
            1 => ("hunk", "is", "it was"),
            _ => ("hunks", "are", "they were"),
        };
        let text = format!(
            "{many} staged {hunks} of {of} {are} not there as {they} shown: staged no longer"
        );
        let showing = self.state.notices.showing();
        let wrong = showing.filter(|it| it.level == Level::Error).map(|it| it.text.clone());
        match wrong {
            Some(wrong) => self.notice_here(Level::Error, &format!("{wrong} · {text}")),
            None => self.notice_here(Level::Warning, &text),
        }
    }

    pub(super) fn ask_apply(&mut self, overwrite: bool) {
        if !self.is_appliable() {
            return;
        }
        let Some(it) = self.diff() else { return };
        if it.files.is_empty() {
            return self.notice(Level::Info, "there is nothing to apply");
        }
        let request = match it.apply(overwrite) {
            Ok(request) => request,
            Err(why) => return self.notice_here(Level::Error, &why),
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
        let title = (format!("Write {} to {directory}?", it.amount()), "write");
        let deed = Deed::Apply { sandbox: it.sandbox.clone(), directory, request };
        self.ask_first(deed, title, says);
    }

    pub(super) fn apply(&mut self, sandbox: SandboxId, directory: String, request: ApplyRequest) {
        let what = format!("writing to {directory}");
        let of = Box::new(request.clone());
        let pending = Pending::Apply { sandbox: sandbox.clone(), directory, request: of };
        self.begin(Act::Apply { sandbox, request }, pending, what, Left::Finished);
    }

    pub(super) fn ask_take_back(&mut self, overwrite: bool) {
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

    pub(super) fn applied(
        &mut self,
        sandbox: &SandboxId,
        directory: &str,
        request: &ApplyRequest,
        applied: &Applied,
    ) {
        if !applied.refused() {
            self.forget_written(sandbox, request, applied);
        }
        let asked_here = |it: &&mut Diff| it.sandbox == *sandbox && it.is_appliable();
        if let Some(it) = self.diff_mut().filter(asked_here) {
            it.applied(request, applied);
        }
        // Whatever came of it, it says how the real directory is now.
        self.changed_outside(sandbox);
        if applied.refused() {
            let text = self.refused(sandbox, request, applied);
            return self.notice_here(Level::Error, &text);
        }
        let of = |verdict| applied.paths.iter().filter(move |it| it.verdict == verdict);
        let left_out = of(Verdict::LeftOut).count();
        let key = self.state.key_words(Action::TakeBack);
        let mut text = if of(Verdict::Applied).next().is_none() {
            format!("nothing was left to write to {directory}")
        } else {
            let parts = of(Verdict::Applied).filter_map(|it| {
                let part = request.parts.iter().find(|part| part.path == it.path)?;
                let hunks = Patch::read(part.hunks.clone(), false).pieces.len();
                Some((shown(&it.path), hunks))
            });
            let (names, hunks): (Vec<String>, Vec<usize>) = parts.unzip();
            let others = applied.written().saturating_sub(names.len());
            let many = amount(hunks.iter().sum(), &names, (others, "path"));
            format!("wrote {many} to {directory}; {key} takes it back")
        };
        if let Some(first) = of(Verdict::LeftOut).next() {
            let why = first.note.as_deref().unwrap_or("see the list");
            text.push_str(&format!(" · left out: {} ({why})", count(left_out, "path")));
        }
        let level = if left_out > 0 { Level::Warning } else { Level::Info };
        self.notice(level, &text);
    }

    /// What was written is not staged any more, wherever that is remembered.
    fn forget_written(&mut self, sandbox: &SandboxId, request: &ApplyRequest, applied: &Applied) {
        for view in &mut self.state.views {
            if let View::Diff(it) = view
                && it.sandbox == *sandbox
                && it.stages()
            {
                written(&mut it.marks, request, applied);
            }
        }
        if let Some(marks) = self.state.staged.of(sandbox) {
            written(marks, request, applied);
        }
    }

    /// Why nothing was written. The file says the rest, where both sides are.
    fn refused(&self, sandbox: &SandboxId, request: &ApplyRequest, applied: &Applied) -> String {
        let is_part = |it: &AppliedPath| request.parts.iter().any(|part| part.path == it.path);
        let conflicts = applied.paths.iter().filter(|it| it.verdict == Verdict::Conflict);
        let (parts, wholes): (Vec<&AppliedPath>, Vec<&AppliedPath>) =
            conflicts.partition(|it| is_part(it));
        let here = self.diff().is_some_and(|it| it.sandbox == *sandbox && it.is_appliable());
        let mut why = Vec::new();
        if !wholes.is_empty() {
            why.push(format!("{} changed on both sides", count(wholes.len(), "path")));
        }
        match &parts[..] {
            [] => {}
            [one] => {
                let note = one.note.as_deref().unwrap_or("its lines are others by now");
                let path = shown(&one.path);
                why.push(format!("what is staged of {path} does not fit there: {note}"));
            }
            many => {
                let files = count(many.len(), "file");
                why.push(format!("what is staged of {files} does not fit there"));
            }
        }
        let mut text = format!("nothing was written: {}", why.join(", "));
        // Hunks that do not fit are not written over anything.
        if here && parts.is_empty() {
            let over = self.state.key_words(Action::ApplyOver);
            text.push_str(&format!("; {over} overwrites"));
        }
        text
    }

    pub(super) fn taken_back(&mut self, sandbox: &SandboxId, directory: &str, applied: &Applied) {
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
            return self.notice_here(Level::Error, &text);
        }
        let text = format!("took {} back from {directory}", count(applied.written(), "path"));
        self.notice(Level::Info, &text);
    }
}

/// Why nothing of a sandbox can be applied, where its driver knows beforehand.
fn cannot(it: &Sandbox) -> Option<String> {
    let driver = &it.driver;
    let can = it.capabilities.workspace_apply;
    (!can).then(|| format!("{}: the {driver} driver can't apply changes", it.name))
}
