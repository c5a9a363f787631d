//! Text from outside made safe to show: control and direction-changing characters become visible,
//! and a string is cut to a number of cells.

use std::fmt;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Tells whether a character could act on a terminal or reorder what a person reads.
pub fn is_deceptive(it: char) -> bool {
    it.is_control()
        || matches!(it,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Makes every control, bidi and zero-width character visible (`\x1b` -> `␛`, others `<U+202E>`).
///
/// A zero-width joiner between two pictographs is kept: it is part of one emoji.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut previous = ' ';
    let mut rest = text.chars().peekable();
    while let Some(it) = rest.next() {
        let joins = it == '\u{200d}'
            && pictograph(previous)
            && rest.peek().copied().is_some_and(pictograph);
        match it {
            _ if joins => out.push(it),
            '\u{0}'..='\u{1f}' => {
                out.push(char::from_u32(0x2400 + u32::from(it)).unwrap_or('\u{fffd}'));
            }
            '\u{7f}' => out.push('\u{2421}'),
            it if is_deceptive(it) => out.push_str(&format!("<U+{:04X}>", u32::from(it))),
            it => out.push(it),
        }
        previous = it;
    }
    out
}

/// The same, cut to at most `most` bytes. What it gives it gives again unchanged: a text that passed here
/// may pass any number of times.
pub fn shown(text: &str, most: usize) -> String {
    let mut out = visible(cut(text, most));
    out.truncate(cut(&out, most).len());
    // A joiner that lost its second half joins nothing.
    if out.ends_with('\u{200d}') {
        out.pop();
    }
    out
}

/// Cuts text at a character so that it has at most `most` bytes.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn pictograph(it: char) -> bool {
    matches!(it, '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}' | '\u{fe0f}' | '\u{2190}'..='\u{21ff}')
}

/// How many of something, in words: `1 sandbox`, `2 sandboxes`. A noun of several words ends in the one that
/// changes.
pub fn count<N: fmt::Display + PartialEq + From<u8>>(many: N, one: &str) -> String {
    let ending = match one {
        _ if many == N::from(1) => "",
        _ if one.ends_with(['x', 's']) || one.ends_with("ch") || one.ends_with("sh") => "es",
        _ => "s",
    };
    format!("{many} {one}{ending}")
}

/// Cells a string takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Breaks a text into lines of at most `cells`, between words where it can; never splits a cluster.
/// There is at least one line.
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(2);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let bare = width(word.trim_end());
        if used > 0 && used + bare > cells && bare <= cells {
            lines.push(String::new());
            used = 0;
        }
        for cluster in word.graphemes(true) {
            let wide = width(cluster);
            if used + wide > cells {
                // A blank at the end of a line is not taken to the next one.
                if cluster == " " {
                    continue;
                }
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push_str(cluster);
            }
            used += wide;
        }
    }
    lines.iter().map(|it| it.trim_end().to_owned()).collect()
}

/// Cuts a string to at most `cells`, ending in `…` when something was cut; never splits a cluster.
pub fn clip(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for cluster in text.graphemes(true) {
        let wide = width(cluster);
        if used + wide + 1 > cells {
            break;
        }
        out.push_str(cluster);
        used += wide;
    }
    if cells > 0 {
        out.push('…');
    }
    out
}
