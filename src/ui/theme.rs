//! Themes: a palette, roles on top of it, and what becomes of them on a lesser terminal.

use std::collections::BTreeMap;

use ratatui::style::{Color, Modifier, Style};

use super::colour;
use crate::config::source::{Flaw, Item, Node, Source, Table, unknown};

/// How many colours the terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// No colour at all: bold, dim, underline and reverse only (also `NO_COLOR`).
    Mono,
    Sixteen,
    Indexed,
    True,
}

/// How well a role must be readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Legible {
    Text,
    /// Secondary text.
    Dim,
    /// Lines and fills.
    Decoration,
}

macro_rules! roles {
    ($($variant:ident, $id:literal, $legible:ident, $help:literal;)*) => {
        /// What a piece of the picture means; themes give it a look.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Role { $(#[doc = $help] $variant,)* }

        /// Every role: its name in theme files and what it is for.
        pub const ROLES: &[(Role, &str, &str)] = &[$((Role::$variant, $id, $help),)*];

        fn legible(role: Role) -> Legible {
            match role { $(Role::$variant => Legible::$legible,)* }
        }
    };
}

roles! {
    Base, "base", Text, "Ordinary text, and the background of everything.";
    Dim, "dim", Dim, "Secondary text.";
    Accent, "accent", Text, "What should catch the eye first.";
    Title, "title", Text, "Titles of places and boxes.";
    Border, "border", Decoration, "Lines between places.";
    BorderTitle, "border.title", Text, "The header of a pane or list without focus.";
    BorderFocus, "border.focus", Text, "The header of the pane or list in focus.";
    BorderTyping, "border.typing", Text, "The header of the pane that is typed into.";
    Header, "header", Text, "The top line.";
    Hint, "hint", Dim, "What keys do, in the bottom line.";
    HintKey, "hint.key", Text, "Keys in the bottom line.";
    Mode, "mode", Text, "The word for where the keys go.";
    Selection, "selection", Text, "The row under the cursor.";
    SelectionAside, "selection.aside", Text, "The row under the cursor of a place without focus.";
    Marked, "marked", Text, "Marked rows.";
    Asks, "status.asks", Text, "A sandbox that asks.";
    Working, "status.working", Text, "A sandbox that works.";
    Idle, "status.idle", Dim, "A sandbox that is idle.";
    Stuck, "status.stuck", Text, "A sandbox that is stuck.";
    Paused, "status.paused", Text, "A sandbox that is paused.";
    Failed, "status.failed", Text, "A sandbox that failed.";
    Done, "status.done", Text, "A sandbox that is done.";
    Unknown, "status.unknown", Dim, "A sandbox of which nothing is known.";
    Ok, "ok", Text, "Something works.";
    Warning, "warning", Text, "Something a person should know.";
    Error, "error", Text, "Something failed.";
    Box, "box", Text, "Text in a box, and its background.";
    BoxBorder, "box.border", Decoration, "The border of a box.";
    Input, "input", Text, "A line being edited.";
    Placeholder, "input.placeholder", Dim, "What stands in an empty line.";
    Match, "match", Text, "Text that a search found.";
    Copy, "copy", Text, "Text being selected.";
    Stale, "stale", Dim, "A picture or figure that is old.";
    Added, "diff.added", Text, "Lines that are new.";
    Removed, "diff.removed", Text, "Lines that are gone.";
    Hunk, "diff.hunk", Text, "Where a changed place begins.";
    Button, "button", Text, "Something to click on.";
}

/// The least contrast a role's text must have with what is behind it; `None` for lines and fills.
pub fn contrast_least(role: Role) -> Option<f64> {
    match legible(role) {
        Legible::Text => Some(4.5),
        Legible::Dim => Some(3.0),
        Legible::Decoration => None,
    }
}

/// A theme brought down to what the terminal can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Theme {
    pub name: String,
    pub depth: Depth,
    // Invariant: one style per role, in the order of `ROLES`.
    styles: Vec<Style>,
}

/// The themes built in, by name.
pub const PRESETS: &[(&str, &str)] = &[
    ("dark", include_str!("../../themes/dark.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("contrast", include_str!("../../themes/contrast.toml")),
    ("ansi16", include_str!("../../themes/ansi16.toml")),
    ("mono", include_str!("../../themes/mono.toml")),
];

const INHERITS_MAX: usize = 4;
pub const MODIFIERS: &[(&str, Modifier)] = &[
    ("bold", Modifier::BOLD),
    ("dim", Modifier::DIM),
    ("italic", Modifier::ITALIC),
    ("underline", Modifier::UNDERLINED),
    ("reverse", Modifier::REVERSED),
];

impl Theme {
    pub fn style(&self, role: Role) -> Style {
        self.styles.get(role as usize).copied().unwrap_or_default()
    }

    /// A colour of a program, as this terminal can show it.
    pub fn lower(&self, colour: Color) -> Color {
        colour::lower(colour, self.depth)
    }

    /// Text that can't be read well enough, one line each; only for colours given by their values.
    pub fn contrast_flaws(&self) -> Vec<String> {
        let base = self.style(Role::Base);
        let boxed = self.style(Role::Box);
        let mut flaws = Vec::new();
        for (role, name, _) in ROLES {
            let Some(least) = contrast_least(*role) else { continue };
            let style = self.style(*role);
            let back = style.bg.or(base.bg).unwrap_or(Color::Reset);
            let fore = style.fg.or(base.fg).unwrap_or(Color::Reset);
            let over_box = style.bg.is_none().then_some(boxed.bg).flatten();
            for back in [Some(back), over_box].into_iter().flatten() {
                if let Some(ratio) = colour::contrast(fore, back).filter(|it| *it < least) {
                    let where_at = if Some(back) == over_box { " in a box" } else { "" };
                    flaws.push(format!("{name}{where_at}: contrast {ratio:.1}, not {least}"));
                    break;
                }
            }
        }
        flaws
    }

    fn has_shades(&self) -> bool {
        let shade = |it: Option<Color>| matches!(it, Some(Color::Rgb(..) | Color::Indexed(16..)));
        self.styles.iter().any(|it| shade(it.fg) || shade(it.bg))
    }

    fn lowered(mut self, depth: Depth) -> Self {
        let instead = match depth {
            // Colours are all these roles differ in elsewhere; here they need shapes.
            Depth::Mono => Some("mono"),
            // Fine shades fall together, and which of the 16 is readable only the terminal knows.
            Depth::Sixteen if self.has_shades() => Some("ansi16"),
            _ => None,
        };
        let instead = instead.filter(|it| *it != self.name);
        if let Some(theme) = instead.and_then(|it| preset(it, Depth::True)) {
            self.styles = theme.styles;
        }
        self.depth = depth;
        for style in &mut self.styles {
            style.fg = style.fg.map(|it| colour::lower(it, depth));
            style.bg = style.bg.map(|it| colour::lower(it, depth));
        }
        self
    }
}

/// A theme file as read, parents first. Colours stay names until the end, so that a theme can
/// inherit every role and bring only a palette of its own.
#[derive(Default)]
struct Sheet {
    palette: BTreeMap<String, Color>,
    roles: BTreeMap<usize, Look>,
}

#[derive(Clone, Debug, Default)]
struct Look {
    fore: Option<String>,
    back: Option<String>,
    mods: Modifier,
}

impl Sheet {
    fn colour(&self, name: &str) -> Option<Color> {
        self.palette.get(name).copied().or_else(|| colour::parse(name))
    }

    fn style(&self, look: &Look) -> Style {
        let colour = |it: &Option<String>| it.as_ref().and_then(|it| self.colour(it));
        let style = Style { fg: colour(&look.fore), bg: colour(&look.back), ..Style::new() };
        style.add_modifier(look.mods)
    }
}

/// Reads a theme file; `base` finds the text of another theme by name (the user's, then a preset).
pub fn parse(
    file: &str,
    name: &str,
    text: &str,
    base: &dyn Fn(&str) -> Option<String>,
    depth: Depth,
) -> Result<Theme, Vec<Flaw>> {
    let mut source = Source::new(file, text);
    let mut sheet = Sheet::default();
    read(&mut source, &mut sheet, name, base, 0);
    let missing: Vec<&str> = ROLES
        .iter()
        .enumerate()
        .filter(|(index, _)| !sheet.roles.contains_key(index))
        .map(|(_, (_, id, _))| *id)
        .collect();
    if !missing.is_empty() {
        let roles = missing.join(", ");
        source.flaw(0..0, format!("roles without a look (inherit from another theme?): {roles}"));
    }
    let styles = sheet.roles.values().map(|it| sheet.style(it)).collect();
    let theme = Theme { name: name.to_owned(), depth: Depth::True, styles };
    source.finish(theme).map(|it| it.lowered(depth))
}

fn read(
    source: &mut Source<'_>,
    sheet: &mut Sheet,
    name: &str,
    base: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) {
    let Some(table) = source.parse() else { return };
    if let Some(item) = table.get("inherits") {
        inherit(source, sheet, item, (name, depth), base);
    }
    for (key, item) in &table.0 {
        match (key.text.as_str(), &item.node) {
            ("inherits", _) | ("roles", Node::Table(_)) => {}
            ("palette", Node::Table(palette)) => read_palette(source, sheet, palette),
            ("palette" | "roles", _) => source.flaw(item.span.clone(), "this must be a table"),
            _ => source.unknown("part of a theme", key, ["inherits", "palette", "roles"]),
        }
    }
    if let Some(Item { node: Node::Table(roles), .. }) = table.get("roles") {
        read_roles(source, sheet, roles, "");
    }
}

fn inherit(
    source: &mut Source<'_>,
    sheet: &mut Sheet,
    item: &Item,
    (name, depth): (&str, usize),
    base: &dyn Fn(&str) -> Option<String>,
) {
    let Node::Text(parent) = &item.node else {
        source.flaw(item.span.clone(), "`inherits` is the name of a theme");
        return;
    };
    let built_in = PRESETS.iter().find(|(it, _)| it == parent).map(|(_, text)| *text);
    let text = base(parent).filter(|_| parent != name).or(built_in.map(str::to_owned));
    match text {
        _ if depth >= INHERITS_MAX => {
            source.flaw(item.span.clone(), format!("more than {INHERITS_MAX} themes in a row"));
        }
        Some(text) => {
            let file = format!("themes/{parent}.toml");
            let mut theirs = Source::new(&file, &text);
            read(&mut theirs, sheet, parent, base, depth + 1);
            if let Err(flaws) = theirs.finish(()) {
                let first = flaws.first().map(ToString::to_string).unwrap_or_default();
                source.flaw(item.span.clone(), format!("`{parent}` can't be used: {first}"));
            }
        }
        None => {
            let names = PRESETS.iter().map(|(name, _)| *name);
            source.flaw(item.span.clone(), unknown("a theme", parent, names));
        }
    }
}

fn read_palette(source: &mut Source<'_>, sheet: &mut Sheet, palette: &Table) {
    for (name, item) in &palette.0 {
        let Node::Text(text) = &item.node else {
            source.flaw(item.span.clone(), "a colour is a string such as \"#82aaff\"");
            continue;
        };
        match colour::parse(text) {
            Some(it) => {
                sheet.palette.insert(name.text.clone(), it);
            }
            None => source.flaw(item.span.clone(), unknown("a colour", text, colour::names())),
        }
    }
}

/// Roles may be written `"status.asks" = ...` or in a table `[roles.status]`.
fn read_roles(source: &mut Source<'_>, sheet: &mut Sheet, roles: &Table, before: &str) {
    for (name, item) in &roles.0 {
        let id = format!("{before}{}", name.text);
        let is_style = match &item.node {
            Node::Table(it) => {
                let parts = ["fg", "bg", "mods"];
                it.0.is_empty() || it.0.iter().any(|(key, _)| parts.contains(&key.text.as_str()))
            }
            _ => true,
        };
        let group = ROLES.iter().any(|(_, role, _)| role.starts_with(&format!("{id}.")));
        match (&item.node, ROLES.iter().position(|(_, role, _)| *role == id)) {
            (Node::Table(inner), _) if group && !is_style => {
                read_roles(source, sheet, inner, &format!("{id}."));
            }
            (_, Some(index)) => {
                let look = read_look(source, sheet, item);
                sheet.roles.insert(index, look);
            }
            (_, None) => {
                let known = ROLES.iter().map(|(_, role, _)| *role);
                source.flaw(name.span.clone(), unknown("a role", &id, known));
            }
        }
    }
}

fn read_look(source: &mut Source<'_>, sheet: &Sheet, item: &Item) -> Look {
    let mut look = Look::default();
    match &item.node {
        Node::Text(_) => look.fore = read_colour(source, sheet, item),
        Node::Table(table) => {
            for (key, item) in &table.0 {
                match key.text.as_str() {
                    "fg" => look.fore = read_colour(source, sheet, item),
                    "bg" => look.back = read_colour(source, sheet, item),
                    "mods" => look.mods = read_modifiers(source, item),
                    _ => source.unknown("part of a look", key, ["fg", "bg", "mods"]),
                }
            }
        }
        _ => source.flaw(item.span.clone(), "a look is a colour or { fg, bg, mods }"),
    }
    look
}

fn read_colour(source: &mut Source<'_>, sheet: &Sheet, item: &Item) -> Option<String> {
    let Node::Text(text) = &item.node else {
        source.flaw(item.span.clone(), "a colour is a string");
        return None;
    };
    if sheet.colour(text).is_none() {
        let mut known: Vec<&str> = sheet.palette.keys().map(String::as_str).collect();
        known.extend(colour::names().map(|it| -> &str { it }));
        source.flaw(item.span.clone(), unknown("a colour of the palette", text, known));
        return None;
    }
    Some(text.clone())
}

fn read_modifiers(source: &mut Source<'_>, item: &Item) -> Modifier {
    let Node::List(items) = &item.node else {
        source.flaw(item.span.clone(), "mods is a list such as [\"bold\"]");
        return Modifier::empty();
    };
    let mut all = Modifier::empty();
    for item in items {
        let text = if let Node::Text(text) = &item.node { text.as_str() } else { "" };
        if let Some((_, it)) = MODIFIERS.iter().find(|(name, _)| *name == text) {
            all |= *it;
        } else {
            let names = MODIFIERS.iter().map(|(name, _)| *name);
            source.flaw(item.span.clone(), unknown("a modifier", text, names));
        }
    }
    all
}

/// A preset, always there.
pub fn preset(name: &str, depth: Depth) -> Option<Theme> {
    let (_, text) = PRESETS.iter().find(|(it, _)| *it == name)?;
    let base =
        |it: &str| PRESETS.iter().find(|(name, _)| *name == it).map(|(_, text)| (*text).to_owned());
    parse(&format!("themes/{name}.toml"), name, text, &base, depth).ok()
}
