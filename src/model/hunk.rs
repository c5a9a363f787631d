//! Hunks of a unified diff: read from text, and put into a file that may have changed elsewhere meanwhile.

use bytes::Bytes;

use crate::base::fault::{Fault, Outcome};

/// Some hunks of one file, as they were shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Relative to the workspace.
    pub path: Vec<u8>,
    /// From a line that begins with `@@` on, one hunk after the other, in the order of the file.
    pub hunks: Bytes,
}

/// Lines that take the place of others. Each has its end of line, but perhaps the last of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hunk {
    /// Lines before it in the file it was made from.
    at: usize,
    old: Vec<Vec<u8>>,
    new: Vec<Vec<u8>>,
}

/// Why hunks do not fit a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Its lines are not there.
    Gone,
    /// They are there more than once, and not where they were.
    Unclear,
}

/// The next hunk, and what comes after it; `None` when the text does not begin with one.
pub fn next(text: &[u8]) -> Outcome<Option<(Hunk, &[u8])>> {
    let Some((head, mut rest)) = line(text).filter(|(it, _)| it.starts_with(b"@@ ")) else {
        return Ok(None);
    };
    let wrong = |what: &str| {
        Fault::invalid(format!(
            "a hunk that is none: {what}: {}",
            String::from_utf8_lossy(head.trim_ascii())
        ))
    };
    let (at, mut olds, mut news) = span(head).ok_or_else(|| wrong("its first line"))?;
    let mut hunk = Hunk { at, ..Hunk::default() };
    let mut last: Option<u8> = None;
    loop {
        let Some((it, after)) = line(rest) else {
            if olds + news > 0 {
                return Err(wrong("it ends too soon"));
            }
            return Ok(Some((hunk, rest)));
        };
        match it.split_first() {
            Some((b'\\', _)) => {
                let unended = |lines: &mut Vec<Vec<u8>>| {
                    lines.last_mut().is_some_and(|it| it.pop_if(|it| *it == b'\n').is_some())
                };
                let old = matches!(last, Some(b' ' | b'-')) && unended(&mut hunk.old);
                let new = matches!(last, Some(b' ' | b'+')) && unended(&mut hunk.new);
                if !old && !new {
                    return Err(wrong("an end of file in its middle"));
                }
            }
            _ if olds + news == 0 => return Ok(Some((hunk, rest))),
            Some((sign @ (b' ' | b'-' | b'+'), content)) => {
                let mut content = content.to_vec();
                if content.last() != Some(&b'\n') {
                    content.push(b'\n');
                }
                let short = || wrong("more lines than it says");
                if *sign != b'+' {
                    olds = olds.checked_sub(1).ok_or_else(short)?;
                    hunk.old.push(content.clone());
                }
                if *sign != b'-' {
                    news = news.checked_sub(1).ok_or_else(short)?;
                    hunk.new.push(content);
                }
                last = Some(*sign);
            }
            _ => return Err(wrong("a line that belongs to neither side")),
        }
        rest = after;
    }
}

/// All hunks of a text that holds nothing else.
pub fn all(mut text: &[u8]) -> Outcome<Vec<Hunk>> {
    let mut hunks = Vec::new();
    while let Some((hunk, rest)) = next(text)? {
        hunks.push(hunk);
        text = rest;
    }
    if hunks.is_empty() || !text.is_empty() {
        return Err(Fault::invalid("not a list of hunks: each begins with @@"));
    }
    Ok(hunks)
}

/// The text with the hunks put in: where they were, else where their lines are now, if that is one place. One that
/// is in already stays so.
pub fn merge(text: &[u8], hunks: &[Hunk]) -> Result<Vec<u8>, Misfit> {
    let lines: Vec<&[u8]> = text.split_inclusive(|it| *it == b'\n').collect();
    let mut merged = Vec::with_capacity(text.len());
    // Lines of the text that are dealt with, and how far from their old place those of the last hunk were.
    let (mut done, mut moved) = (0, 0_isize);
    for hunk in hunks {
        let expected = hunk.at.saturating_add_signed(moved);
        let is_at = |at: usize, wanted: &[Vec<u8>]| {
            let there = at.checked_add(wanted.len()).and_then(|end| lines.get(at..end));
            at >= done && there.is_some_and(|it| it.iter().eq(wanted))
        };
        let place = if hunk.old.is_empty() {
            // Nothing says where: only an empty file has no other place.
            lines.is_empty().then_some(0).ok_or(Misfit::Gone)
        } else if is_at(expected, &hunk.old) {
            Ok(expected)
        } else if !hunk.new.is_empty() && is_at(expected, &hunk.new) {
            let end = expected + hunk.new.len();
            merged.extend(lines.get(done..end).unwrap_or_default().iter().copied().flatten());
            done = end;
            moved += hunk.new.len().cast_signed() - hunk.old.len().cast_signed();
            continue;
        } else {
            let mut places = (done..lines.len()).filter(|it| is_at(*it, &hunk.old));
            match (places.next(), places.next()) {
                (Some(one), None) => Ok(one),
                (None, _) => Err(Misfit::Gone),
                (Some(_), Some(_)) => Err(Misfit::Unclear),
            }
        }?;
        merged.extend(lines.get(done..place).unwrap_or_default().iter().copied().flatten());
        merged.extend(hunk.new.iter().flatten());
        done = place + hunk.old.len();
        moved = place.cast_signed() - hunk.at.cast_signed();
    }
    merged.extend(lines.get(done..).unwrap_or_default().iter().copied().flatten());
    Ok(merged)
}

fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|it| *it == b'\n').map_or(text.len(), |it| it + 1);
    (!text.is_empty()).then(|| text.split_at(end))
}

/// Lines before it, and how many of each side, of `@@ -3,4 +3,5 @@`.
fn span(head: &[u8]) -> Option<(usize, usize, usize)> {
    // What stands behind may be any bytes.
    let head = String::from_utf8_lossy(head.strip_prefix(b"@@ -")?);
    let (spans, _) = head.split_once(" @@")?;
    let (old, new) = spans.split_once(" +")?;
    let range = |it: &str| {
        let (first, count) = it.split_once(',').unwrap_or((it, "1"));
        Some((first.parse::<usize>().ok()?, count.parse::<usize>().ok()?))
    };
    let ((first, olds), (_, news)) = (range(old)?, range(new)?);
    let at = if olds == 0 { first } else { first.checked_sub(1)? };
    (olds + news > 0).then_some((at, olds, news))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merged(text: &str, hunks: &str) -> Result<String, Misfit> {
        let merged = merge(text.as_bytes(), &all(hunks.as_bytes()).unwrap());
        merged.map(|it| String::from_utf8(it).unwrap())
    }

    const HUNK: &str = "@@ -2,3 +2,3 @@ fn\n b\n-c\n+C\n d\n";

    #[test]
    fn a_hunk_goes_where_its_lines_are() {
        for (text, after) in [
            ("a\nb\nc\nd\ne\n", Ok("a\nb\nC\nd\ne\n")),
            // Changed elsewhere meanwhile.
            ("new\na\nb\nc\nd\nE\n", Ok("new\na\nb\nC\nd\nE\n")),
            ("b\nc\nd", Err(Misfit::Gone)),
            ("b\nc\nd\n", Ok("b\nC\nd\n")),
            // It is in already.
            ("a\nb\nC\nd\n", Ok("a\nb\nC\nd\n")),
            ("a\nb\nX\nd\n", Err(Misfit::Gone)),
            ("", Err(Misfit::Gone)),
            // Where it was goes before where it is too.
            ("a\nb\nc\nd\nb\nc\nd\n", Ok("a\nb\nC\nd\nb\nc\nd\n")),
            ("b\nc\nd\nb\nc\nd\n", Err(Misfit::Unclear)),
        ] {
            assert_eq!(merged(text, HUNK), after.map(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn ends_of_files_and_empty_ones_are_met_exactly() {
        let unended = "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n";
        assert_eq!(merged("a", unended).unwrap(), "b\n");
        assert_eq!(merged("a\n", unended), Err(Misfit::Gone));
        let both = "@@ -1 +1 @@\n-a\n+b\n\\ No newline at end of file\n";
        assert_eq!(merged("a\n", both).unwrap(), "b");
        assert_eq!(merged("", "@@ -0,0 +1 @@\n+b\n").unwrap(), "b\n");
        assert_eq!(merged("x\n", "@@ -0,0 +1 @@\n+b\n"), Err(Misfit::Gone));
        assert_eq!(merged("a\n", "@@ -1 +0,0 @@\n-a\n").unwrap(), "");
    }

    #[test]
    fn what_is_no_hunk_is_refused() {
        for text in [
            "",
            "a\n",
            "@@ -1 +1 @@\n",
            "@@ -1 +1 @@\n-a\n",
            "@@ -1,2 +1 @@\n-a\n+b\n",
            "@@ -0,0 +0,0 @@\n",
            "@@ -0 +1 @@\n-a\n+b\n",
            "@@ -1 +1 @@\n-a\n+b\nx\n",
            "@@ -1 +1 @@\n\\ No newline\n-a\n+b\n",
            "@@ -1 +1\n-a\n+b\n",
            "@@ -99999999999999999999 +1 @@\n-a\n+b\n",
        ] {
            assert!(all(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(all(&text));
            drop(all(&[b"@@ -1,2 +1,2 @@\n", text.as_slice()].concat()));
        }
    }
}
