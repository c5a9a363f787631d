//! Help: the table of actions with the keys of the keymap in force, narrowed by a word.

use super::{
    action::{ACTIONS, Scope},
    fleet::Mark,
    keymap::Keymap,
    line::Editor,
};

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
        let wanted = self.line.text().trim().to_lowercase();
        let mut out = Vec::new();
        let rest = Scope::ALL.iter().filter(|it| !self.first.contains(it));
        for (index, scope) in self.first.iter().chain(rest).enumerate() {
            if index == self.first.len() {
                marks(&wanted, &mut out);
            }
            let mut lines: Vec<HelpLine> = Vec::new();
            for spec in ACTIONS.iter().filter(|it| it.scope == *scope) {
                let keys: Vec<String> =
                    keymap.keys_of(spec.action).into_iter().map(|(_, keys)| keys).collect();
                let mut shown: Vec<String> = Vec::new();
                for key in keys {
                    if !shown.contains(&key) {
                        shown.push(key);
                    }
                }
                let mut keys = shown.join("  ");
                if let Some((name, takes)) = spec.command {
                    let line = format!(":{name} {}", takes.usage());
                    keys = if keys.is_empty() { line } else { format!("{keys}  {line}") };
                }
                let all = format!("{keys} {} {} {}", spec.id, spec.title, spec.help);
                if all.to_lowercase().contains(&wanted) {
                    let keys = keys.trim().to_owned();
                    let (title, help) = (spec.title.to_owned(), spec.help.to_owned());
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
    let marks = Mark::shown().map(|it| format!("{} {}", it.sign(), it.means()));
    let marks: Vec<String> = marks.collect();
    if format!("marks {}", marks.join(" ")).contains(wanted) {
        out.push(HelpLine::Scope("marks in the fleet"));
        // Two in a line, for narrow terminals.
        out.extend(marks.chunks(2).map(|it| HelpLine::Marks(it.join("   "))));
    }
}
