//! What is said of a changed file before its lines: conflicts, notes, what is missing. It takes rows from them.

use super::{
    action::Action,
    command::quote,
    diff::{Came, Diff},
    state::State,
};
use crate::{
    base::{
        id::{HubNumber, SandboxId},
        text::{count, visible, wrap},
    },
    model::change::{NodeKind, Subject, Verdict},
};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Warning,
    Error,
}

impl State {
    /// What a person should know before the lines, and where there are none; in rows of so many cells.
    pub fn said_of_file(&self, it: &Diff, cells: u16) -> Vec<(String, Tone)> {
        let room = usize::from(cells.saturating_sub(2));
        let said = self.said(it).into_iter();
        said.flat_map(|(text, tone)| wrap(&text, room).into_iter().map(move |it| (it, tone)))
            .collect()
    }

    fn said(&self, it: &Diff) -> Vec<(String, Tone)> {
        let mut said = Vec::new();
        let Some(file) = it.current() else { return said };
        if let Some(why) = &it.wrong {
            let again = self.key_words(Action::Again);
            said.push((format!("old list: {}; {again} asks again", visible(why)), Tone::Warning));
        }
        match it.verdict(file) {
            Some(Came { verdict: Verdict::Conflict, note, hunks }) => {
                let note = note.as_deref().map(|it| format!(" ({})", visible(it)));
                let note = note.unwrap_or_default();
                let over = self.key_words(Action::ApplyOver);
                let sides = "- is the real directory now, + the sandbox";
                let text = if *hunks {
                    let whole = self.key_words(Action::StageFile);
                    format!(
                        "conflict{note}: what was staged of it does not fit; {sides}; stage what is \
                         shown now, or {whole} and {over} for the sandbox's file"
                    )
                } else {
                    format!("conflict{note}: {sides}; {over} writes the sandbox's")
                };
                said.push((text, Tone::Error));
            }
            Some(Came { verdict: Verdict::LeftOut, note, .. }) => {
                let note = note.as_deref().map_or_else(String::new, visible);
                said.push((format!("left out when it was applied: {note}"), Tone::Warning));
            }
            _ => {}
        }
        let change = &file.change;
        if let (Some(old), Some(new)) = (change.old, change.new) {
            if old.kind != new.kind {
                let text = format!("{} -> {}", old.kind.word(), new.kind.word());
                said.push((text, Tone::Warning));
            } else if old.mode != new.mode {
                said.push((format!("mode {:03o} -> {:03o}", old.mode, new.mode), Tone::Plain));
            }
        }
        if let Some(note) = &change.note {
            said.push((visible(note), Tone::Warning));
        }
        let dim = |text: &str| (text.to_owned(), Tone::Plain);
        match it.patch() {
            None => said.push(dim("reading")),
            Some(Err(why)) => said.push((format!("not read: {}", visible(why)), Tone::Warning)),
            Some(Ok(patch)) if patch.cut => {
                let lines = count(patch.lines.len(), "line");
                let command = command(it, Some(&change.path));
                let text = format!("only the first {lines} are shown; {command} has all");
                said.push((text, Tone::Warning));
            }
            Some(Ok(patch)) if patch.lines.is_empty() => {
                let kind = change.new.or(change.old).map(|it| it.kind);
                said.push(dim(match kind {
                    Some(NodeKind::Directory) => "a directory",
                    Some(NodeKind::Special) => "a device, fifo or socket",
                    _ => "no line to show",
                }));
            }
            Some(Ok(_)) => {}
        }
        if it.more {
            let text = format!(
                "only the first {} are listed; {} has all",
                count(it.files.len(), "path"),
                command(it, None)
            );
            said.push((text, Tone::Warning));
        }
        said
    }
}

/// A name as its own hub knows it, and the context of that where there are several.
fn of_context<'a>(name: &'a str, id: &SandboxId) -> (&'a str, Option<&'a str>) {
    let parts = name.rsplit_once('@').filter(|_| id.hub() != HubNumber::FIRST);
    parts.map_or((name, None), |(name, context)| (name, Some(context)))
}

/// The verb that shows the same whole, for a shell: of one file, or of all how much.
fn command(it: &Diff, path: Option<&[u8]>) -> String {
    let mut words = vec!["sandwatch".to_owned()];
    let against = it.sides.against.as_ref().map(|it| quote(it.at_home().as_str().as_bytes()));
    let mut paths = path.map(quote).into_iter().collect::<Vec<_>>();
    match &it.sides.of {
        Subject::Sandbox(id) => {
            let (name, context) = of_context(&it.name, id);
            words.extend(
                context.into_iter().flat_map(|it| ["--context".to_owned(), quote(it.as_bytes())]),
            );
            words.extend(["diff".to_owned(), quote(name.as_bytes())]);
            words.extend(against.into_iter().flat_map(|it| ["--from".to_owned(), it]));
        }
        Subject::Snapshot(of) => {
            words.extend(["snapshot".to_owned(), "diff".to_owned()]);
            words.extend(against.into_iter().chain([quote(of.at_home().as_str().as_bytes())]));
            if path.is_some() {
                paths.insert(0, "--".to_owned());
            }
        }
    }
    let options = [("--system", it.system), ("--stat", path.is_none())];
    words.extend(options.into_iter().filter(|it| it.1).map(|it| it.0.to_owned()));
    words.extend(paths);
    words.join(" ")
}
