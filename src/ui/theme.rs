//! Themes: a palette, roles on top of it, and what becomes of them on a lesser terminal.

use crate::config::source::Flaw;

/// How many colours the terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// No colour at all: bold, dim, underline and reverse only (also `NO_COLOR`).
    Mono,
    Sixteen,
    Indexed,
    True,
}

/// A theme brought down to what the terminal can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Theme {
    pub name: String,
    pub depth: Depth,
}

/// Reads a theme file; `base` finds the text of another theme by name (the user's, then a preset).
pub fn parse(
    file: &str,
    name: &str,
    text: &str,
    base: &dyn Fn(&str) -> Option<String>,
    depth: Depth,
) -> Result<Theme, Vec<Flaw>> {
    let _ = (file, text, base);
    Ok(Theme { name: name.to_owned(), depth })
}

/// A preset, always there.
pub fn preset(name: &str, depth: Depth) -> Option<Theme> {
    Some(Theme { name: name.to_owned(), depth })
}
