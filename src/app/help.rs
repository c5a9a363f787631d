//! Help: the table of actions with the keys of the keymap in force, narrowed by a word.

use super::{
    action::{ACTIONS, Action, Scope},
    fleet::Mark,
    keymap::Keymap,
    line::Editor,
    state::State,
};
use crate::model::member::Role;

/// An open help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    pub line: Editor,
    pub top: usize,
    /// The scopes of the place it was opened from: their keys come first.
    first: Vec<Scope>,
}

/// One line of help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelpLine {
    Scope(&'static str),
    /// What the marks of the fleet mean.
    Marks(String),
    Action {
        keys: String,
        title: String,
        help: String,
    },
}

impl Help {
    /// `scopes` are those whose keys count where it is opened.
    pub fn new(scopes: &[Scope]) -> Self {
        let mut first = scopes.to_vec();
        if first.contains(&Scope::Pane) {
            first.push(Scope::Prefix);
        }
        Self { line: Editor::new("", 128), top: 0, first }
    }

    /// The lines that match, by scope.
    pub fn lines(&self, keymap: &Keymap) -> Vec<HelpLine> {
        self.lines_of(keymap, |_| None)
    }

    /// The same lines, with who may do what is not ours to do.
    pub fn lines_here(&self, state: &State) -> Vec<HelpLine> {
        self.lines_of(&state.keymap, |action| state.lacks(action).map(|it| it.least))
    }

    fn lines_of(&self, keymap: &Keymap, lacks: impl Fn(Action) -> Option<Role>) -> Vec<HelpLine> {
        let wanted = self.line.text().trim().to_lowercase();
        let mut out = Vec::new();
        let rest = Scope::ALL.iter().filter(|it| !self.first.contains(it));
        for (index, scope) in self.first.iter().chain(rest).enumerate() {
            if index == self.first.len() {
                marks(&wanted, &mut out);
            }
            let mut lines: Vec<HelpLine> = Vec::new();
            for spec in ACTIONS {
                let keys: Vec<String> = keymap
                    .keys_of(spec.action)
                    .into_iter()
                    .filter(|(of, _)| of == scope)
                    .map(|(_, keys)| keys)
                    .collect();
                // What has keys of another place too is told there with those.
                if keys.is_empty() && spec.scope != *scope {
                    continue;
                }
                let mut keys = keys.join("  ");
                if let Some((name, takes)) = spec.command.filter(|_| spec.scope == *scope) {
                    let line = format!(":{name} {}", takes.usage());
                    keys = if keys.is_empty() { line } else { format!("{keys}  {line}") };
                }
                let all = format!("{keys} {} {} {}", spec.id, spec.title, spec.help);
                if all.to_lowercase().contains(&wanted) {
                    let keys = keys.trim().to_owned();
                    let takes = lacks(spec.action).map(|it| format!("Takes {}. ", it.said()));
                    let help = takes.unwrap_or_default() + spec.help;
                    let title = spec.title.to_owned();
                    lines.push(HelpLine::Action { keys, title, help });
                }
            }
            if !lines.is_empty() {
                out.push(HelpLine::Scope(scope.title()));
                out.append(&mut lines);
            }
        }
        out
    }
}

/// What the marks of the fleet mean.
fn marks(wanted: &str, out: &mut Vec<HelpLine>) {
    let marks = Mark::ALL.iter().map(|it| format!("{} {}", it.sign(), it.means()));
    let marks: Vec<String> = marks.collect();
    if format!("marks {}", marks.join(" ")).contains(wanted) {
        out.push(HelpLine::Scope("marks in the fleet"));
        // Two in a line, for narrow terminals.
        out.extend(marks.chunks(2).map(|it| HelpLine::Marks(it.join("   "))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::keymap::load_preset;

    #[test]
    fn a_key_stands_under_the_place_where_it_counts() {
        let keymap = load_preset("default").unwrap_or_default();
        let lines = Help::new(&[Scope::List, Scope::Global]).lines(&keymap);
        let mut told = Vec::new();
        let mut under = "";
        for line in &lines {
            match line {
                HelpLine::Scope(scope) => under = scope,
                HelpLine::Action { keys, title, .. } => {
                    told.push((under, keys.as_str(), title.as_str()));
                }
                HelpLine::Marks(_) => {}
            }
        }
        let of = |title: &str| -> Vec<(&str, &str)> {
            let found = told.iter().filter(|it| it.2 == title);
            found.map(|(under, keys, _)| (*under, *keys)).collect()
        };
        let fork = of("Fork");
        assert!(fork.contains(&("in snapshots", "F")), "{fork:?}");
        assert!(!fork.iter().any(|it| it.0 == "in the fleet" && it.1.starts_with('F')), "{fork:?}");
        let mark = of("Mark");
        assert!(mark.iter().any(|it| it.0 == "in the fleet" && it.1.contains("space")), "{mark:?}");
        let page = of("Half a page down");
        assert!(
            !page.iter().any(|it| it.0 == "in the fleet" && it.1.contains("space")),
            "{page:?}"
        );
    }
}
