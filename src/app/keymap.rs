//! Keymaps: which keys do what, per scope. Key files are read whole or refused whole, with the place
//! of every flaw.

use std::{collections::BTreeMap, fmt};

use super::{
    action::{ACTIONS, Action, Scope},
    chord::Chord,
    command,
};
use crate::{
    config::source::{Flaw, Item, Name, Node, Source, Table, unknown},
    vt::key::{Key, Mods},
};

/// The keymaps built in, by name.
pub const PRESETS: &[(&str, &str)] = &[
    ("default", include_str!("../../keymaps/default.toml")),
    ("vim", include_str!("../../keymaps/vim.toml")),
    ("tmux", include_str!("../../keymaps/tmux.toml")),
    ("zellij", include_str!("../../keymaps/zellij.toml")),
    ("k9s", include_str!("../../keymaps/k9s.toml")),
    ("emacs", include_str!("../../keymaps/emacs.toml")),
];

/// Longest sequence of chords, and deepest chain of `inherits`.
const SEQUENCE_MAX: usize = 4;
const INHERITS_MAX: usize = 4;

/// What a key does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    Action(Action),
    /// A line as typed after `:`.
    Command(String),
}

impl Bound {
    /// As written in a key file.
    pub fn word(&self) -> String {
        match self {
            Self::Action(action) => action.spec().id.to_owned(),
            Self::Command(line) => format!(":{line}"),
        }
    }

    /// For people.
    pub fn title(&self) -> String {
        match self {
            Self::Action(action) => action.spec().title.to_owned(),
            Self::Command(line) => format!(":{line}"),
        }
    }
}

/// Chords typed one after the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub Vec<Chord>);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, chord) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            if *chord == PREFIX { f.write_str("prefix")? } else { write!(f, "{chord}")? }
        }
        Ok(())
    }
}

/// Stands for whatever the prefix is; no keyboard has this key.
pub const PREFIX: Chord =
    Chord { key: Key::F(0), mods: Mods { ctrl: false, alt: false, shift: false, cmd: false } };

/// What the keys typed so far lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    Run(&'a Bound),
    /// The start of at least one sequence.
    More,
    Nothing,
}

/// All keys of a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keymap {
    pub name: String,
    prefix: Chord,
    // Invariant: no sequence of a scope begins another of the same scope.
    keys: BTreeMap<Scope, BTreeMap<Sequence, Bound>>,
}

impl Default for Keymap {
    /// The keys of the action table.
    fn default() -> Self {
        let prefix = Chord { key: Key::Char('b'), mods: Mods { ctrl: true, ..Mods::default() } };
        let mut map = Self { name: "default".to_owned(), prefix, keys: BTreeMap::new() };
        for spec in ACTIONS {
            for (scope, keys) in spec.keys {
                if let Ok(sequence) = parse_sequence(keys) {
                    map.bind(*scope, sequence, Some(Bound::Action(spec.action)));
                }
            }
        }
        map
    }
}

impl Keymap {
    pub fn prefix(&self) -> Chord {
        self.prefix
    }

    /// The same keys behind another prefix.
    #[must_use]
    pub fn with_prefix(mut self, prefix: Chord) -> Self {
        self.prefix = prefix;
        self
    }

    /// Follows the chords typed so far in one scope.
    pub fn step(&self, scope: Scope, typed: &[Chord]) -> Step<'_> {
        let Some(keys) = self.keys.get(&scope) else { return Step::Nothing };
        let typed = Sequence(typed.to_vec());
        if let Some(bound) = keys.get(&typed) {
            return Step::Run(bound);
        }
        let begins = |(it, _): (&Sequence, _)| it.0.starts_with(&typed.0);
        if keys.range(&typed..).next().is_some_and(begins) { Step::More } else { Step::Nothing }
    }

    /// What can follow the chords typed so far, for the which-key box.
    pub fn following(&self, scope: Scope, typed: &[Chord]) -> Vec<(String, &Bound)> {
        let Some(keys) = self.keys.get(&scope) else { return Vec::new() };
        keys.iter()
            .filter(|(it, _)| it.0.starts_with(typed))
            .map(|(it, bound)| {
                let rest = it.0.get(typed.len()..).unwrap_or_default().to_vec();
                (self.show(&Sequence(rest)), bound)
            })
            .collect()
    }

    /// The shortest keys of an action in a scope, as shown to people.
    pub fn key_of(&self, scope: Scope, action: Action) -> Option<String> {
        self.keys_of(action)
            .into_iter()
            .filter(|(it, _)| *it == scope)
            .min_by_key(|(_, keys)| keys.chars().count())
            .map(|(_, keys)| keys)
    }

    /// Every key of an action, the prefix written out.
    pub fn keys_of(&self, action: Action) -> Vec<(Scope, String)> {
        let wanted = Bound::Action(action);
        self.bindings()
            .filter(|(_, _, bound)| **bound == wanted)
            .map(|(scope, keys, _)| match scope {
                Scope::Prefix => (scope, format!("{} {}", self.prefix, self.show(keys))),
                _ => (scope, self.show(keys)),
            })
            .collect()
    }

    /// Keys of an action where it belongs, or after the prefix: elsewhere they may do something else.
    pub fn own_keys_of(&self, action: Action) -> Vec<String> {
        let own = |it: &(Scope, String)| it.0 == action.spec().scope || it.0 == Scope::Prefix;
        self.keys_of(action).into_iter().filter(own).map(|(_, keys)| keys).collect()
    }

    /// Everything bound, in a fixed order.
    pub fn bindings(&self) -> impl Iterator<Item = (Scope, &Sequence, &Bound)> {
        self.keys
            .iter()
            .flat_map(|(scope, keys)| keys.iter().map(|(keys, bound)| (*scope, keys, bound)))
    }

    /// Keys as shown to people, the prefix written out.
    pub fn show(&self, keys: &Sequence) -> String {
        let real = |it: &Chord| if *it == PREFIX { self.prefix } else { *it };
        Sequence(keys.0.iter().map(real).collect()).to_string()
    }

    /// Binds, and whatever the new sequence begins or continues goes; `None` only unbinds.
    fn bind(&mut self, scope: Scope, sequence: Sequence, bound: Option<Bound>) {
        let keys = self.keys.entry(scope).or_default();
        if bound.is_none() {
            keys.remove(&sequence);
        } else {
            keys.retain(|it, _| !it.0.starts_with(&sequence.0) && !sequence.0.starts_with(&it.0));
        }
        if let Some(bound) = bound {
            keys.insert(sequence, bound);
        }
    }

    /// What a chord does in every scope, for `keys explain`.
    pub fn explain(&self, typed: &[Chord]) -> Vec<(Scope, String)> {
        Scope::ALL
            .iter()
            .map(|scope| {
                let is_prefix = *scope == Scope::Pane && typed.first() == Some(&self.prefix);
                let behind = typed.get(1..).unwrap_or_default();
                let text = match self.step(*scope, typed) {
                    _ if is_prefix && behind.is_empty() => {
                        "the prefix: waits for one more key".to_owned()
                    }
                    _ if is_prefix && behind == [self.prefix] => {
                        "types the prefix itself into the program".to_owned()
                    }
                    _ if is_prefix => self.say(Scope::Prefix, behind),
                    Step::Nothing if *scope == Scope::Pane => {
                        "goes to the program as it is".to_owned()
                    }
                    _ => self.say(*scope, typed),
                };
                (*scope, text)
            })
            .collect()
    }

    fn say(&self, scope: Scope, typed: &[Chord]) -> String {
        match self.step(scope, typed) {
            Step::Run(Bound::Action(action)) => {
                let spec = action.spec();
                format!("{}: {}", spec.id, spec.help)
            }
            Step::Run(bound) => bound.word(),
            Step::More => "waits for more keys".to_owned(),
            Step::Nothing => "nothing".to_owned(),
        }
    }

    /// Keys that work here but are known to be taken before they reach us, or that hide others.
    pub fn conflicts(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (scope, keys, bound) in self.bindings() {
            let Some(first) = keys.0.first() else { continue };
            if let Some(taken) = taken_elsewhere(*first) {
                found.push(format!("[{}] {keys} ({}): {taken}", scope.word(), bound.title()));
            }
            if matches!(scope, Scope::List | Scope::Panes | Scope::Scroll)
                && let Step::Run(hidden) = self.step(Scope::Global, &keys.0)
                && hidden != bound
            {
                let (word, ours, theirs) = (scope.word(), bound.title(), hidden.title());
                found.push(format!("[{word}] {keys} ({ours}) hides {theirs} there"));
            }
        }
        found
    }

    /// The one thing a keymap must not do: lock someone in.
    fn no_way_out(&self) -> Option<&'static str> {
        let leaves = self.keys_of(Action::Leave);
        if !leaves.iter().any(|(scope, _)| matches!(scope, Scope::Pane | Scope::Prefix)) {
            return Some("no key leaves a pane: bind session.leave in [pane] or [prefix]");
        }
        // esc only closes what is open.
        let esc = Chord { key: Key::Esc, mods: Mods::default() };
        let quits = self.bindings().any(|(scope, keys, bound)| {
            scope == Scope::Global
                && match bound {
                    Bound::Action(Action::Back) => keys.0 != [esc],
                    Bound::Action(action) => {
                        matches!(action, Action::Quit | Action::Command | Action::Palette)
                    }
                    Bound::Command(line) => {
                        command::parse(line).is_ok_and(|it| it.action == Action::Quit)
                    }
                }
        });
        (!quits).then_some("no key leads out of the console: bind app.quit in [global]")
    }
}

/// Keys that terminals and desktops are known to keep for themselves.
fn taken_elsewhere(chord: Chord) -> Option<&'static str> {
    if !chord.mods.ctrl || chord.mods.alt {
        return None;
    }
    match chord.key {
        Key::Char('s') => Some("some terminals stop output with it (stty -ixon frees it)"),
        Key::Char('i') => Some("most terminals send tab for it"),
        Key::Char('m') => Some("most terminals send enter for it"),
        Key::Char('[') => Some("most terminals send esc for it"),
        _ => None,
    }
}

/// Reads the keys of one binding: chords with spaces between.
pub fn parse_sequence(text: &str) -> Result<Sequence, String> {
    let mut chords = Vec::new();
    for word in text.split_ascii_whitespace() {
        chords.push(if word == "prefix" { PREFIX } else { Chord::parse(word)? });
    }
    match chords.len() {
        0 => Err("no key is named here".to_owned()),
        1..=SEQUENCE_MAX => Ok(Sequence(chords)),
        _ => Err(format!("at most {SEQUENCE_MAX} keys in a row")),
    }
}

/// Reads a key file. `base` finds the text of another keymap by name (the user's, then a preset).
pub fn parse(
    file: &str,
    name: &str,
    text: &str,
    base: &dyn Fn(&str) -> Option<String>,
) -> Result<Keymap, Vec<Flaw>> {
    parse_at(file, name, text, base, 0)
}

fn parse_at(
    file: &str,
    name: &str,
    text: &str,
    base: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) -> Result<Keymap, Vec<Flaw>> {
    let mut source = Source::new(file, text);
    let table = source.parse().unwrap_or_default();
    let mut map = inherited(&mut source, &table, name, base, depth)?;
    name.clone_into(&mut map.name);
    for (key, item) in &table.0 {
        match (key.text.as_str(), Scope::from_word(&key.text), &item.node) {
            ("inherits", ..) => {}
            ("prefix_key", ..) => {
                let Node::Text(text) = &item.node else {
                    source.flaw(item.span.clone(), "the prefix is one key, such as \"ctrl-b\"");
                    continue;
                };
                match Chord::parse(text) {
                    Ok(prefix) => map.prefix = prefix,
                    Err(why) => source.flaw(item.span.clone(), why),
                }
            }
            (_, Some(scope), Node::Table(keys)) => bind_all(&mut source, &mut map, scope, keys),
            (_, Some(_), _) => source.flaw(item.span.clone(), "a scope is a table of keys"),
            _ => {
                let scopes = Scope::ALL.iter().map(|it| it.word());
                let known = scopes.chain(["inherits", "prefix_key"]);
                source.unknown("a scope", key, known);
            }
        }
    }
    if depth == 0
        && let Some(why) = map.no_way_out()
    {
        source.flaw(0..0, why);
    }
    source.finish(map)
}

fn inherited(
    source: &mut Source<'_>,
    table: &Table,
    name: &str,
    base: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) -> Result<Keymap, Vec<Flaw>> {
    let nothing = || Keymap { keys: BTreeMap::new(), ..Keymap::default() };
    let Some(item) = table.get("inherits") else { return Ok(Keymap::default()) };
    let Node::Text(parent) = &item.node else {
        source.flaw(item.span.clone(), "`inherits` is the name of a keymap");
        return Ok(Keymap::default());
    };
    if parent == "none" {
        return Ok(nothing());
    }
    // A user's own `default` may build on ours.
    let text = base(parent).filter(|_| parent != name).or(preset(parent).map(str::to_owned));
    match text {
        _ if depth >= INHERITS_MAX => {
            source.flaw(item.span.clone(), format!("more than {INHERITS_MAX} keymaps in a row"));
            Ok(Keymap::default())
        }
        Some(text) => {
            let file = format!("keymaps/{parent}.toml");
            parse_at(&file, parent, &text, base, depth + 1)
        }
        None => {
            let names = PRESETS.iter().map(|(name, _)| *name);
            source.flaw(item.span.clone(), unknown("a keymap", parent, names));
            Ok(Keymap::default())
        }
    }
}

fn bind_all(source: &mut Source<'_>, map: &mut Keymap, scope: Scope, keys: &Table) {
    let mut seen: Vec<(Sequence, &Name)> = Vec::new();
    for (name, item) in &keys.0 {
        let sequence = match parse_sequence(&name.text) {
            Ok(sequence) => sequence,
            Err(why) => {
                source.flaw(name.span.clone(), why);
                continue;
            }
        };
        let unbinds = matches!(&item.node, Node::Text(it) if it == "none");
        let clash = seen
            .iter()
            .filter(|_| !unbinds)
            .find(|(it, _)| it.0.starts_with(&sequence.0) || sequence.0.starts_with(&it.0));
        if let Some((_, other)) = clash {
            let message = format!("`{}` and `{}` can't both be bound", name.text, other.text);
            source.flaw(name.span.clone(), message);
            continue;
        }
        match read_bound(source, item) {
            Wanted::Unbind => {
                map.bind(scope, sequence, None);
                continue;
            }
            Wanted::Bind(bound) => map.bind(scope, sequence.clone(), Some(bound)),
            Wanted::Flawed => {}
        }
        seen.push((sequence, name));
    }
}

/// What a key is to do.
enum Wanted {
    Bind(Bound),
    Unbind,
    /// A flaw, already noted.
    Flawed,
}

fn read_bound(source: &mut Source<'_>, item: &Item) -> Wanted {
    let Node::Text(text) = &item.node else {
        source.flaw(item.span.clone(), "a key is bound to an action, a `:` line or \"none\"");
        return Wanted::Flawed;
    };
    if text == "none" {
        return Wanted::Unbind;
    }
    if let Some(line) = text.strip_prefix(':') {
        return match command::parse(line) {
            Ok(_) => Wanted::Bind(Bound::Command(line.trim().to_owned())),
            Err(why) => {
                source.flaw(item.span.clone(), why);
                Wanted::Flawed
            }
        };
    }
    if let Some(action) = Action::from_id(text) {
        return Wanted::Bind(Bound::Action(action));
    }
    let ids = ACTIONS.iter().map(|it| it.id);
    source.flaw(item.span.clone(), unknown("an action", text, ids));
    Wanted::Flawed
}

/// The text of a preset.
pub fn preset(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(it, _)| *it == name).map(|(_, text)| *text)
}

/// Reads a preset, without any file.
pub fn load_preset(name: &str) -> Option<Keymap> {
    let text = preset(name)?;
    parse(&format!("keymaps/{name}.toml"), name, text, &|it| preset(it).map(str::to_owned)).ok()
}

/// Writes keymaps/default.toml out of the action table; a test holds the two together.
pub fn default_file() -> String {
    let mut out = String::from(
        "# The keys of sandwatch, made from the table of actions. To change some, write a file of\n\
         # your own beside config.toml, in keymaps/: the keys that differ, and `inherits = \"NAME\"`\n\
         # to start from another keymap than this one, or `inherits = \"none\"` from no key at all.\n\
         # A key is bound to an action, to a line as typed after `:` (\":layout 4\"), or to \"none\".\n\
         \nprefix_key = \"ctrl-b\"\n",
    );
    for scope in Scope::ALL {
        out.push_str(&format!("\n# {}\n[{}]\n", scope.title(), scope.word()));
        for spec in ACTIONS {
            for (_, keys) in spec.keys.iter().filter(|(it, _)| it == scope) {
                let keys = toml::Value::String((*keys).to_owned());
                out.push_str(&format!("{keys} = \"{}\"\n", spec.id));
            }
        }
    }
    out
}
