//! Snapshots: taking, restoring, forking, removing, and the place that lists them.

use super::{Turn, losses};
use crate::{
    app::{
        action::{Action, Scope},
        dialog::Deed,
        diff::{Diff, Sides},
        effect::{Act, EffectId},
        msg::Reply,
        snapshots::{Row, Seen, Snapshots, Told, label},
        state::{LineKind, Pending},
        view::{Left, View},
    },
    base::{
        fault::Outcome,
        id::{SandboxId, SnapshotId},
        units::human_bytes,
    },
    model::{
        change::{DiffRequest, Subject},
        event::Level,
        sandbox::State as Life,
        snapshot::{Snapshot, SnapshotKind, is_name},
    },
    runtime::Fork,
};

/// What a name of a snapshot is, for who typed another.
const NAMES: &str =
    "a snapshot's name is 1 to 63 letters, digits, `-`, `_` or `.`, the first a letter or digit";

impl Turn<'_> {
    /// Keeps a moment at once; of all marked ones, or of the one meant.
    pub(super) fn take_snapshot(&mut self, argument: &str, kind: SnapshotKind) {
        let mut words = argument.split_whitespace();
        let (sandbox, name) = (words.next().unwrap_or_default(), words.next());
        if let Some(name) = name.filter(|it| !is_name(it)) {
            return self.notice(Level::Error, &format!("`{name}`: {NAMES}"));
        }
        let targets = self.targets(sandbox);
        match targets.as_slice() {
            [] if sandbox.is_empty() => self.notice(Level::Info, "there is nothing to keep"),
            [] => {}
            [one] => self.keep(one.clone(), name.map(str::to_owned), kind),
            many => {
                let act = |it: &SandboxId| {
                    let act = Act::Snapshot { sandbox: it.clone(), name: None, kind };
                    (act, self.name_of(it))
                };
                let acts = many.iter().map(act).collect();
                self.all_of(acts, "taking snapshots of", "took snapshots of");
            }
        }
    }

    fn keep(&mut self, id: SandboxId, name: Option<String>, kind: SnapshotKind) {
        let sandbox = self.name_of(&id);
        let what = format!("taking a snapshot of {sandbox}");
        let act = Act::Snapshot { sandbox: id, name, kind };
        self.begin(act, Pending::Snapshot { sandbox }, what, Left::Finished);
    }

    /// Opens the line for a name.
    pub(super) fn name_snapshot(&mut self) {
        match self.target("") {
            Some(id) => self.open_line(LineKind::SnapshotName(id), ""),
            None => self.notice(Level::Info, "there is nothing to keep"),
        }
    }

    pub(super) fn snapshot_named(&mut self, id: SandboxId, name: &str) {
        if name.is_empty() || is_name(name) {
            let name = (!name.is_empty()).then(|| name.to_owned());
            return self.keep(id, name, SnapshotKind::Filesystem);
        }
        self.open_line(LineKind::SnapshotName(id), name);
        self.notice(Level::Error, NAMES);
    }

    pub(super) fn open_snapshots(&mut self, argument: &str) {
        let Some(id) = self.target(argument) else {
            if argument.is_empty() {
                self.notice(Level::Info, "there is no sandbox here");
            }
            return;
        };
        let name = self.name_of(&id);
        self.open_view(View::Snapshots(Box::new(Snapshots::new(id, name))), false);
    }

    /// Asks for the list when the feed says that it has changed, and for what changed up to the row under
    /// the cursor.
    pub(super) fn load_snapshots(&mut self) {
        let now = self.state.now.since_start;
        let Some(View::Snapshots(it)) = self.state.views.last_mut() else { return };
        let row = self.state.fleet.get(&it.sandbox).map(|it| it.sandbox.as_ref());
        let seen: Seen = row.map_or((u32::MAX, None), |it| (it.snapshots, it.moment.clone()));
        if it.asked.is_none() && it.seen.as_ref() != Some(&seen) {
            it.seen = Some(seen);
            let (what, hub) = (format!("reading the snapshots of {}", it.name), it.sandbox.hub());
            let act = self.act_of(hub, Act::Snapshots);
            let asked = self.begin(act, Pending::Snapshots, what, Left::Ended);
            let Some(View::Snapshots(it)) = self.state.views.last_mut() else { return };
            it.asked = asked;
            if asked.is_none() {
                it.wrong = Some("too much is under way".to_owned());
            }
            return;
        }
        if it.asked.is_some() || !it.known || !it.rest.has_come(now) {
            return;
        }
        let Some(key) = it.untold().map(Row::key) else { return };
        // The cursor went on.
        if let Some((id, of)) = it.telling.take() {
            it.untell(&of);
            self.cancel(id);
        }
        let Some(View::Snapshots(it)) = self.state.views.last_mut() else { return };
        let Some(row) = it.untold() else { return };
        let of = row.subject(&it.sandbox);
        let request = DiffRequest { against: row.before.clone(), ..DiffRequest::default() };
        let what = format!("looking for changes in {}", it.name);
        let pending = Pending::Told(key.clone());
        let asked = self.begin(Act::Diff { of, request }, pending, what, Left::Ended);
        let Some(View::Snapshots(it)) = self.state.views.last_mut() else { return };
        match asked {
            Some(id) => {
                it.tell(key.clone(), Told::Asked);
                it.telling = Some((id, key));
            }
            None => it.tell(key, Told::Not("too much is under way".to_owned())),
        }
    }

    pub(super) fn snapshots_action(&mut self, action: Action) {
        match action {
            Action::DiffBefore => self.diff_of_row(true),
            Action::DiffNow => self.diff_of_row(false),
            Action::FilesMarks => self.mark_files_since_row(),
            Action::Restore => self.ask_restore(),
            Action::SnapshotRemove => self.ask_remove_snapshot(),
            _ => {}
        }
    }

    /// The place with what is under its cursor.
    fn in_snapshots(&self) -> Option<(&Snapshots, &Row)> {
        match self.state.view() {
            Some(View::Snapshots(it)) => it.current().map(|row| (&**it, row)),
            _ => None,
        }
    }

    fn diff_of_row(&mut self, before: bool) {
        let Some((it, row)) = self.in_snapshots() else { return };
        let name_before = row.before.as_ref().map(|before| {
            let found =
                it.rows.iter().filter_map(|it| it.kept.as_ref()).find(|it| it.id == *before);
            found.map_or_else(|| before.to_string(), label)
        });
        let sides = match &row.kept {
            Some(kept) if !before => Sides {
                of: Subject::Sandbox(it.sandbox.clone()),
                against: Some(kept.id.clone()),
                from: Some(label(kept)),
                to: None,
            },
            kept => Sides {
                of: row.subject(&it.sandbox),
                against: row.before.clone(),
                from: name_before,
                to: kept.as_ref().map(label),
            },
        };
        let directory = match (&row.kept, self.state.fleet.get(&it.sandbox)) {
            (Some(kept), _) => kept.workspace.path.clone(),
            (None, Some(row)) => row.sandbox.workspace.path.clone(),
            (None, None) => return,
        };
        let diff = Diff::new(it.sandbox.clone(), it.name.clone(), directory, sides);
        self.open_view(View::Diff(Box::new(diff)), true);
    }

    fn mark_files_since_row(&mut self) {
        let Some((it, row)) = self.in_snapshots() else { return };
        let Some(kept) = &row.kept else {
            return self.notice(Level::Info, "this is what it is now; choose a snapshot");
        };
        let (sandbox, since) = (it.sandbox.clone(), (kept.id.clone(), label(kept)));
        self.files_since(&sandbox, since);
    }

    fn ask_restore(&mut self) {
        let Some((it, row)) = self.in_snapshots() else { return };
        let Some(kept) = row.kept.clone() else {
            return self.notice(Level::Info, "this is what it is now; choose a snapshot");
        };
        let Some(sandbox) = self.state.fleet.get(&it.sandbox).map(|it| &it.sandbox) else {
            let key = self.state.key_words(Action::Fork);
            let text = format!("the sandbox is no more; {key} makes a new one from this snapshot");
            return self.notice(Level::Info, &text);
        };
        let label = label(&kept);
        let lines = losses::of_restore(sandbox, &kept, &self.state.zone);
        let title = (format!("Restore {} to {label}?", sandbox.name), "restore");
        let deed = Deed::Restore { sandbox: sandbox.id.clone(), to: kept.id, label };
        self.ask_first(deed, title, lines.into());
    }

    pub(super) fn restore(&mut self, id: SandboxId, to: SnapshotId, label: String) {
        let sandbox = self.name_of(&id);
        let what = format!("restoring {sandbox}");
        let act = Act::Restore { sandbox: id, to: Some(to) };
        self.begin(act, Pending::Restore { sandbox, to: label }, what, Left::Finished);
    }

    /// A stopped sandbox again, on its files.
    pub(super) fn ask_start(&mut self, name: &str) {
        let Some(id) = self.target(name) else { return };
        let Some(row) = self.state.fleet.get(&id) else { return };
        let name = row.sandbox.name.clone();
        if row.sandbox.state != Life::Stopped {
            let text = format!("{name} is not stopped");
            return self.notice(Level::Info, &text);
        }
        if !row.is_startable() {
            let key = self.state.key_words(Action::New);
            let text = format!(
                "{name} keeps no snapshots, and can't be started again; {key} makes a new one"
            );
            return self.notice(Level::Info, &text);
        }
        let lines = losses::of_start(&row.sandbox);
        self.ask_first(Deed::Start(id), (format!("Start {name} again?"), "start"), lines.into());
    }

    pub(super) fn start_again(&mut self, id: SandboxId) {
        let sandbox = self.name_of(&id);
        self.state.awaited_at = self.state.now.since_start;
        let what = format!("starting {sandbox} again");
        let act = Act::Restore { sandbox: id, to: None };
        self.begin(act, Pending::Start { sandbox }, what, Left::Finished);
    }

    fn starts(&mut self, sandbox: &str, result: Outcome<Reply>) {
        match result {
            Ok(Reply::Sandbox(now)) => {
                let first = now.sessions.first().map(|it| it.id.clone());
                self.notice(Level::Info, &format!("{sandbox} is started again"));
                self.state.fleet.change(now.into());
                self.expect(first, false);
            }
            Ok(_) => self.notice(Level::Error, "the hub answered something else"),
            Err(fault) => self.fault(&format!("starting {sandbox} again"), &fault),
        }
    }

    fn ask_remove_snapshot(&mut self) {
        let Some((it, row)) = self.in_snapshots() else { return };
        let Some(kept) = &row.kept else {
            return self.notice(Level::Info, "this is what it is now; choose a snapshot");
        };
        let after = it.after(&kept.id);
        let lines = losses::of_snapshot(kept, after, &self.state.zone);
        let label = label(kept);
        let title = (format!("Remove snapshot {label}?"), "remove");
        let what = format!("{label} of {}", kept.sandbox_name);
        self.ask_first(Deed::RemoveSnapshot { id: kept.id.clone(), what }, title, lines.into());
    }

    pub(super) fn remove_snapshot(&mut self, id: SnapshotId, what: String) {
        let doing = format!("removing {what}");
        let pending = Pending::RemoveSnapshot { what };
        self.begin(Act::RemoveSnapshot(id), pending, doing, Left::Finished);
    }

    /// A new sandbox from the one meant, as it is.
    pub(super) fn fork(&mut self, argument: &str) {
        let mut words = argument.split_whitespace();
        let (sandbox, name) = (words.next().unwrap_or_default(), words.next());
        if let Some(id) = self.target(sandbox) {
            let of = self.name_of(&id);
            self.branch(Subject::Sandbox(id), of, name.map(str::to_owned));
        }
    }

    pub(super) fn fork_from_row(&mut self) {
        let Some((it, row)) = self.in_snapshots() else { return };
        let of = match &row.kept {
            Some(kept) => format!("{} of {}", label(kept), it.name),
            None => it.name.clone(),
        };
        self.branch(row.subject(&it.sandbox), of, None);
    }

    fn branch(&mut self, from: Subject, of: String, name: Option<String>) {
        self.state.awaited_at = self.state.now.since_start;
        let what = format!("forking {of}");
        let act = Act::Fork { from, how: Fork { name, first: None, given: Vec::new() } };
        self.begin(act, Pending::Fork { of }, what, Left::Finished);
    }

    pub(super) fn snapshots_done(
        &mut self,
        id: EffectId,
        pending: Pending,
        result: Outcome<Reply>,
    ) {
        match (pending, result) {
            (Pending::Snapshots, result) => self.listed(id, result),
            (Pending::Snapshot { sandbox }, Ok(Reply::Snapshot(kept))) => {
                self.say_kept(&sandbox, &kept);
            }
            (Pending::Snapshot { sandbox }, Err(fault)) => {
                self.fault(&format!("taking a snapshot of {sandbox}"), &fault);
            }
            (Pending::RemoveSnapshot { what }, Ok(_)) => {
                self.notice(Level::Info, &format!("removed snapshot {what}"));
            }
            (Pending::RemoveSnapshot { what }, Err(fault)) => {
                self.fault(&format!("removing snapshot {what}"), &fault);
            }
            (Pending::Start { sandbox }, result) => self.starts(&sandbox, result),
            (Pending::Restore { sandbox, to }, Ok(Reply::Sandbox(now))) => {
                self.state.fleet.change(now.into());
                let text = format!("{sandbox} has the files of {to}; what it was is kept too");
                self.notice(Level::Info, &text);
            }
            (Pending::Restore { sandbox, to }, Err(fault)) => {
                self.fault(&format!("restoring {sandbox} to {to}"), &fault);
            }
            (Pending::Fork { of }, Ok(Reply::Sandbox(made))) => {
                let first = made.sessions.first().map(|it| it.id.clone());
                self.notice(Level::Info, &format!("forked {of}: {}", made.name));
                self.state.fleet.change(made.into());
                self.expect(first, false);
            }
            (Pending::Fork { of }, Err(fault)) => self.fault(&format!("forking {of}"), &fault),
            _ => self.notice(Level::Error, "the hub answered something else"),
        }
    }

    fn listed(&mut self, id: EffectId, result: Outcome<Reply>) {
        let fleet = &self.state.fleet;
        let asked = self.state.views.iter_mut().find_map(|it| match it {
            View::Snapshots(it) if it.asked == Some(id) => Some(it),
            _ => None,
        });
        // Closed meanwhile.
        let Some(it) = asked else { return };
        it.asked = None;
        match result {
            Ok(Reply::Snapshots(all)) => {
                let row = fleet.get(&it.sandbox).map(|it| it.sandbox.as_ref());
                // What was asked of a row that is not what it was.
                let stale = it.telling.as_ref().map(|(id, _)| *id);
                it.list(all, row);
                if let Some(stale) = stale {
                    self.cancel(stale);
                }
            }
            Ok(_) => it.wrong = Some("the hub answered something else".to_owned()),
            Err(fault) => it.wrong = Some(fault.message().to_owned()),
        }
    }

    /// Says what was kept, how large it is, and how to go back to it.
    fn say_kept(&mut self, sandbox: &str, kept: &Snapshot) {
        let size = kept.size_bytes.map(|it| format!(", {}", human_bytes(it))).unwrap_or_default();
        let restore = self.state.keymap.key_of(Scope::Snapshots, Action::Restore);
        let restore = restore.unwrap_or_else(|| self.state.key_words(Action::Restore));
        let listed = match self.state.view() {
            Some(View::Snapshots(_)) => String::new(),
            _ => format!("{} ", self.state.key_words(Action::Snapshots)),
        };
        let mut text =
            format!("kept {sandbox} as {}{size}; {listed}{restore} goes back to it", label(kept));
        for note in &kept.notes {
            text.push_str(&format!(" · {note}"));
        }
        let level = if kept.notes.is_empty() { Level::Info } else { Level::Warning };
        self.notice(level, &text);
    }
}
