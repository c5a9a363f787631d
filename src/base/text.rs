//! Text from outside made safe to show: control and direction-changing characters become visible,
//! and a string is cut to a number of cells.

use std::fmt;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Bytes as small hexadecimal digits, two for each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// Tells whether a character could act on a terminal or reorder what a person reads.
pub fn is_deceptive(it: char) -> bool {
    it.is_control()
        || matches!(it,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Code points of one letter beyond which it is no letter any more: a family of four with colours has eleven.
pub const CLUSTER_MAX: usize = 12;

/// Tells whether a character leaves no trace of its own where it stands: nothing at all, or what looks like a blank
/// and is none.
pub fn is_unseen(it: char) -> bool {
    is_blank_alike(it)
        || matches!(it,
            '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
            | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Looks like a blank, and is none to any program.
pub fn is_blank_alike(it: char) -> bool {
    matches!(
        it,
        '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{2800}' | '\u{3000}'
    )
}

/// Each character, and whether it has to be named to be seen. What makes one emoji of several characters stays: a
/// joiner between two of them, and one sign behind one that it is to be shown in colour.
fn named(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut previous = ' ';
    let mut rest = text.chars().peekable();
    std::iter::from_fn(move || {
        let it = rest.next()?;
        let joins = match it {
            '\u{200d}' => {
                let next = rest.peek().copied();
                (pictograph(previous) || previous == COLOURED) && next.is_some_and(pictograph)
            }
            COLOURED => pictograph(previous),
            _ => false,
        };
        let named = !joins && (is_deceptive(it) || is_unseen(it));
        // What is named stands alone: nothing after it is one with it.
        previous = if named { ' ' } else { it };
        Some((it, named))
    })
}

/// The characters that would not be seen or seen where they are not, but for ends of lines and tabs.
pub fn hidden(text: &str) -> impl Iterator<Item = char> {
    named(text).filter(|(it, named)| *named && !"\n\t".contains(*it)).map(|(it, _)| it)
}

/// Whether so much is put upon one letter that nobody could tell what.
pub fn is_heaped(text: &str) -> bool {
    text.graphemes(true).any(|it| it.chars().count() > CLUSTER_MAX)
}

/// Makes every control, bidi, invisible and seemingly blank character visible (`\x1b` -> `␛`, others `<U+202E>`).
///
/// What belongs to one emoji is kept.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (it, named) in named(text) {
        match it {
            '\u{0}'..='\u{1f}' => {
                out.push(char::from_u32(0x2400 + u32::from(it)).unwrap_or('\u{fffd}'));
            }
            '\u{7f}' => out.push('\u{2421}'),
            it if named => out.push_str(&format!("<U+{:04X}>", u32::from(it))),
            it => out.push(it),
        }
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

/// The same for a list: what is left out is said, in bytes of the text.
pub fn shown_part(text: &str, most: usize) -> String {
    let mut part = cut(text, most);
    while visible(part).len() > most {
        part = cut(part, part.len() - 1);
    }
    match text.len() - part.len() {
        0 => visible(part),
        more => format!("{}… (+{more} bytes)", visible(part)),
    }
}

/// Cuts text at a character so that it has at most `most` bytes.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Says that the sign before it is to be shown in colour.
const COLOURED: char = '\u{fe0f}';

/// What a colour may be asked for.
fn pictograph(it: char) -> bool {
    matches!(it, '\u{1f000}'..='\u{1faff}' | '\u{2300}'..='\u{23ff}' | '\u{25a0}'..='\u{27bf}'
        | '\u{2b00}'..='\u{2bff}' | '\u{2190}'..='\u{21ff}' | '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}'
        | '\u{2122}' | '\u{2139}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}')
}

/// How many of something, in words: `1 sandbox`, `2 sandboxes`. A noun of several words ends in the one that
/// changes.
pub fn count<N: fmt::Display + PartialEq + From<u8>>(many: N, one: &str) -> String {
    let vowel = |it: &str| it.ends_with(['a', 'e', 'i', 'o', 'u']);
    let (one, ending) = match one.strip_suffix('y').filter(|it| !vowel(it)) {
        Some(stem) if many != N::from(1) => (stem, "ies"),
        _ => (one, ""),
    };
    let ending = match one {
        _ if many == N::from(1) || !ending.is_empty() => ending,
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
