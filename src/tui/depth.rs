//! How many colours the terminal shows, by what the environment says of it.

use crate::{config::environment::Variable, ui::theme::Depth};

/// Reads NO_COLOR, COLORTERM and TERM.
pub fn found() -> Depth {
    let word = |it: Variable| it.text().unwrap_or_default();
    depth(&word(Variable::NoColour), &word(Variable::ColourTerm), &word(Variable::Term))
}

fn depth(no_color: &str, colorterm: &str, term: &str) -> Depth {
    let term_says = |parts: &[&str]| parts.iter().any(|it| term.contains(it));
    if !no_color.is_empty() || term == "dumb" || term.starts_with("vt1") || term.starts_with("vt2")
    {
        Depth::Mono
    } else if colorterm == "truecolor"
        || colorterm == "24bit"
        || term_says(&["direct", "kitty", "ghostty", "alacritty", "wezterm", "foot"])
    {
        Depth::True
    } else if term_says(&["256"]) || !colorterm.is_empty() {
        Depth::Indexed
    } else {
        Depth::Sixteen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_the_colours() {
        for (no_color, colorterm, term, wanted) in [
            ("1", "truecolor", "xterm-256color", Depth::Mono),
            ("", "truecolor", "xterm-256color", Depth::True),
            ("", "", "xterm-256color", Depth::Indexed),
            ("", "", "xterm-kitty", Depth::True),
            ("", "", "linux", Depth::Sixteen),
            ("", "", "dumb", Depth::Mono),
        ] {
            assert_eq!(depth(no_color, colorterm, term), wanted, "{no_color} {colorterm} {term}");
        }
    }
}
