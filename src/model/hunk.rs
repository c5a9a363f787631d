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

/// What one place of a text says of a hunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// Neither side is there.
    No,
    /// The old side is there.
    Old,
    /// The new side is there.
    In,
    /// The new side is there, which is a part of the old one: it may be in, or its lines are elsewhere.
    Shorter,
}

/// A text that hunks are put into, one after the other.
struct Merging<'a> {
    lines: Vec<&'a [u8]>,
    merged: Vec<u8>,
    /// Lines of the text that are dealt with.
    done: usize,
}

/// The text with the hunks put in: where they were, else where their lines are now, if that is one place. One that
/// is in already stays so.
pub fn merge(text: &[u8], hunks: &[Hunk]) -> Result<Vec<u8>, Misfit> {
    let lines = text.split_inclusive(|it| *it == b'\n').collect();
    let mut text = Merging { lines, merged: Vec::with_capacity(text.len()), done: 0 };
    // How far from their old place those of the last hunk were.
    let mut moved = 0_isize;
    for hunk in hunks {
        let (place, is_in) = text.find(hunk, hunk.at.saturating_add_signed(moved))?;
        text.keep(place)?;
        moved = place.cast_signed() - hunk.at.cast_signed();
        if is_in {
            text.keep(place + hunk.new.len())?;
            moved += hunk.new.len().cast_signed() - hunk.old.len().cast_signed();
        } else {
            hunk.new.iter().try_for_each(|it| text.add(it))?;
            text.done = place + hunk.old.len();
        }
    }
    text.keep(text.lines.len())?;
    Ok(text.merged)
}

impl Merging<'_> {
    /// Where a hunk belongs, and whether it is in there.
    fn find(&self, hunk: &Hunk, expected: usize) -> Result<(usize, bool), Misfit> {
        let fit = self.fit(hunk, expected);
        match fit {
            Fit::Old => return Ok((expected, false)),
            Fit::In => return Ok((expected, true)),
            Fit::No | Fit::Shorter => {}
        }
        if !hunk.old.is_empty() {
            let found = |at| match self.fit(hunk, at) {
                Fit::Old => Some((at, false)),
                Fit::In if self.has(at, &hunk.old) => Some((at, true)),
                _ => None,
            };
            let mut places = (self.done..self.lines.len()).filter_map(found);
            match (places.next(), places.next()) {
                (Some(one), None) => return Ok(one),
                (Some(_), Some(_)) if fit == Fit::No => return Err(Misfit::Unclear),
                _ => {}
            }
        }
        if fit == Fit::Shorter {
            return Ok((expected, true));
        }
        let mut places = (self.done..self.lines.len()).filter(|it| self.fit(hunk, *it) == Fit::In);
        match (places.next(), places.next()) {
            (Some(one), None) => Ok((one, true)),
            (Some(_), Some(_)) => Err(Misfit::Unclear),
            (None, _) => Err(Misfit::Gone),
        }
    }

    fn fit(&self, hunk: &Hunk, at: usize) -> Fit {
        let Hunk { old, new, .. } = hunk;
        if old.is_empty() || new.is_empty() {
            // Nothing says where: only a whole file has no other place.
            let is_whole = |it: &[Vec<u8>]| {
                self.merged.is_empty() && self.lines.len() == it.len() && self.has(0, it)
            };
            return match (at, is_whole(old), is_whole(new)) {
                (0, true, _) => Fit::Old,
                (0, false, true) => Fit::In,
                _ if !old.is_empty() && self.has(at, old) => Fit::Old,
                _ => Fit::No,
            };
        }
        // Without a line behind what it adds or takes, it belongs where the text ends; without one before what it
        // adds, where that begins.
        let ends = |it: &[Vec<u8>]| at.checked_add(it.len()) == Some(self.lines.len());
        match (self.has(at, old), self.has(at, new)) {
            (_, true) if new.len() > old.len() => Fit::In,
            (true, _) if new.len() > old.len() && new.starts_with(old) && !ends(old) => Fit::No,
            (true, _) if new.len() > old.len() && new.ends_with(old) && hunk.at == 0 && at > 0 => {
                Fit::No
            }
            (true, _) => Fit::Old,
            (false, true) if new.len() >= old.len() => Fit::In,
            (false, true) if old.starts_with(new) && !ends(new) => Fit::No,
            (false, true) => Fit::Shorter,
            (false, false) => Fit::No,
        }
    }

    fn has(&self, at: usize, wanted: &[Vec<u8>]) -> bool {
        let there = at.checked_add(wanted.len()).and_then(|end| self.lines.get(at..end));
        at >= self.done && there.is_some_and(|it| it.iter().eq(wanted))
    }

    /// Takes lines of the text over, up to one.
    fn keep(&mut self, end: usize) -> Result<(), Misfit> {
        while self.done < end {
            let Some(line) = self.lines.get(self.done).copied() else { break };
            self.add(line)?;
            self.done += 1;
        }
        Ok(())
    }

    /// One more line; none comes behind a last one that has no end.
    fn add(&mut self, line: &[u8]) -> Result<(), Misfit> {
        if self.merged.last().is_some_and(|it| *it != b'\n') {
            return Err(Misfit::Gone);
        }
        self.merged.extend_from_slice(line);
        Ok(())
    }
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
    fn what_is_in_is_not_put_in_again() {
        const APPEND: &str = "@@ -1,2 +1,4 @@\n a\n b\n+x\n+y\n";
        const PREPEND: &str = "@@ -1,2 +1,3 @@\n+x\n a\n b\n";
        const CUT: &str = "@@ -1,3 +1,2 @@\n a\n b\n-x\n";
        for (hunk, text, after) in [
            (APPEND, "a\nb\n", Ok("a\nb\nx\ny\n")),
            (APPEND, "a\nb\nx\ny\n", Ok("a\nb\nx\ny\n")),
            (APPEND, "0\na\nb\n", Ok("0\na\nb\nx\ny\n")),
            (APPEND, "0\na\nb\nx\ny\n", Ok("0\na\nb\nx\ny\n")),
            (APPEND, "a\nb\nx\ny\nz\n", Ok("a\nb\nx\ny\nz\n")),
            // It belongs where the text ends.
            (APPEND, "a\nb\nz\n", Err(Misfit::Gone)),
            (APPEND, "a\nb\nz\na\nb\n", Ok("a\nb\nz\na\nb\nx\ny\n")),
            (PREPEND, "x\na\nb\n", Ok("x\na\nb\n")),
            (PREPEND, "0\nx\na\nb\n", Ok("0\nx\na\nb\n")),
            (PREPEND, "0\na\nb\n", Err(Misfit::Gone)),
            (CUT, "a\nb\n", Ok("a\nb\n")),
            // What is there is a part of what is meant, which is elsewhere by now.
            (CUT, "a\nb\nz\na\nb\nx\n", Ok("a\nb\nz\na\nb\n")),
            (CUT, "a\nb\nz\n", Err(Misfit::Gone)),
            (HUNK, "0\na\nb\nC\nd\n", Ok("0\na\nb\nC\nd\n")),
            ("@@ -0,0 +1 @@\n+b\n", "b\n", Ok("b\n")),
            ("@@ -1 +0,0 @@\n-b\n", "", Ok("")),
        ] {
            assert_eq!(merged(text, hunk), after.map(str::to_owned), "{hunk:?} {text:?}");
        }
        // Of two parts with the same line around them, the first is out already.
        let middle = "@@ -1,4 +1,3 @@\n a\n-x\n b\n c\n";
        let text = "a\nb\nc\na\nx\nb\nc\n";
        assert_eq!(merged(text, middle).unwrap(), "a\nb\nc\na\nb\nc\n");
    }

    #[test]
    fn no_line_is_glued_to_a_last_one_without_an_end() {
        let last = "@@ -1,2 +1,2 @@\n a\n-b\n+B\n\\ No newline at end of file\n";
        assert_eq!(merged("a\nb\n", last).unwrap(), "a\nB");
        assert_eq!(merged("a\nb\nc\n", last), Err(Misfit::Gone));
        let two = [last, "@@ -3 +3 @@\n-c\n+C\n"].concat();
        assert_eq!(merged("a\nb\nc\n", &two), Err(Misfit::Gone));
        let twice = "@@ -0,0 +1 @@\n+b\n\\ No newline at end of file\n".repeat(2);
        assert!(merged("", &twice).is_err());
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

    /// Lines by their numbers: no two are alike, so that what is there can be counted.
    fn lines(it: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
        it.into_iter().map(|it| format!("{it}\n").into_bytes()).collect()
    }

    const BLOCK: usize = 8;

    /// Hunks as a diff has them of a file of blocks: with three lines around, at the ends with less.
    fn hunks(edits: &[u8]) -> Vec<Hunk> {
        let count = edits.len() * BLOCK;
        let hunk = |(block, edit): (usize, &u8)| {
            let at = block * BLOCK
                + match block {
                    0 => 0,
                    it if it + 1 == edits.len() => BLOCK - 1,
                    _ => BLOCK / 2,
                };
            let fresh = [1000 + 2 * block, 1001 + 2 * block];
            // What is taken from there, what comes instead, and whether at the very end.
            let (gone, come, at) = match edit {
                0 => return None,
                1 => (1, &fresh[..1], at),
                2 => (1, &fresh[..0], at),
                _ if at + 1 == count => (0, &fresh[..], count),
                _ => (0, &fresh[..], at),
            };
            let (start, end) = (at.saturating_sub(3), (at + gone + 3).min(count));
            let old = lines(start..end);
            let new = (start..at).chain(come.iter().copied()).chain(at + gone..end);
            Some(Hunk { at: start, old, new: lines(new) })
        };
        edits.iter().enumerate().filter_map(hunk).collect()
    }

    proptest! {
        #[test]
        fn whatever_is_put_in_in_whatever_order_is_there_once_and_nothing_else_changes(
            edits in proptest::collection::vec(0_u8..4, 2..6),
            rounds in proptest::collection::vec(
                (any::<u8>(), proptest::option::of((any::<prop::sample::Index>(), 0_u8..3))), 1..8,
            ),
        ) {
            let all = hunks(&edits);
            let mut text = lines(0..edits.len() * BLOCK);
            for (round, (some, meanwhile)) in rounds.into_iter().enumerate() {
                if let Some((at, what)) = meanwhile {
                    let at = at.index(text.len() + 1);
                    let line = format!("by hand {round}\n").into_bytes();
                    match what {
                        0 => text.insert(at, line),
                        1 if at < text.len() => text[at] = line,
                        _ if at < text.len() => drop(text.remove(at)),
                        _ => {}
                    }
                }
                let some = |it: &usize| some & (1 << it) != 0;
                let staged: Vec<Hunk> =
                    (0..all.len()).filter(some).map(|it| all[it].clone()).collect();
                let Ok(merged) = merge(&text.concat(), &staged) else { continue };
                let merged: Vec<Vec<u8>> =
                    merged.split_inclusive(|it| *it == b'\n').map(<[u8]>::to_vec).collect();
                let come = |it: &Vec<u8>| {
                    staged.iter().any(|hunk| hunk.new.contains(it) && !hunk.old.contains(it))
                };
                let gone = |it: &Vec<u8>| {
                    staged.iter().any(|hunk| hunk.old.contains(it) && !hunk.new.contains(it))
                };
                for hunk in &staged {
                    for line in hunk.new.iter().filter(|it| come(it)) {
                        prop_assert_eq!(merged.iter().filter(|it| *it == line).count(), 1);
                    }
                }
                let rest = |of: &[Vec<u8>]| -> Vec<Vec<u8>> {
                    of.iter().filter(|it| !come(it) && !gone(it)).cloned().collect()
                };
                prop_assert_eq!(rest(&text), rest(&merged));
                prop_assert!(!merged.iter().any(gone));
                text = merged;
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(all(&text));
            drop(all(&[b"@@ -1,2 +1,2 @@\n", text.as_slice()].concat()));
        }
    }
}
