//! Writes one changed file as git does: headers, hunks, quoted names. Pure: bytes in, bytes out. What it
//! writes is taken by `git apply`, and by `patch -p1` but for contents that are no text.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput, sources::byte_lines};

use super::literal;
use crate::base::text::is_deceptive;

/// Unchanged lines shown around a change.
const CONTEXT: u32 = 3;
/// A zero byte within so many means binary, as git has it.
const LOOKED_AT_FOR_ZERO: usize = 8000;
/// What kind of file a mode speaks of.
const KIND: u32 = 0o170_000;

/// What is written of contents that are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// That they differ: for people.
    Named,
    /// All of it: for `git apply`.
    Whole,
}

/// One side of a change: its mode (100644, 100755 or 120000), and its content, or a link's target.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub path: &'a [u8],
    pub mode: u32,
    /// `None` = too large to be looked at.
    pub content: Option<&'a [u8]>,
}

/// A change as text, and what it counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Patch {
    pub text: Vec<u8>,
    pub added_lines: u64,
    pub removed_lines: u64,
    /// Its lines were not compared.
    pub binary: bool,
}

/// Writes the change from one side to the other; a path that differs is a rename. Of contents that are too
/// large nothing is written: half a change would be a wrong one.
pub fn patch(old: Option<Side<'_>>, new: Option<Side<'_>>, binary: Binary) -> Patch {
    let mut out = Patch::default();
    if [old, new].into_iter().flatten().any(|it| it.content.is_none()) {
        out.binary = true;
        return out;
    }
    match (old, new) {
        (Some(old), Some(new)) if old.mode & KIND != new.mode & KIND => {
            // No patch turns a file into a link: it goes, and the other comes.
            out.part(Some(old), None, binary);
            out.part(None, Some(new), binary);
        }
        (old, new) => out.part(old, new, binary),
    }
    out
}

impl Patch {
    fn part(&mut self, old: Option<Side<'_>>, new: Option<Side<'_>>, binary: Binary) {
        let (Some(before), Some(after)) = (old.or(new), new.or(old)) else { return };
        let (from, to) = (name(b"a/", before.path), name(b"b/", after.path));
        // Two names on one line: `patch` has to be told where the first one ends.
        let blank = |it: &[u8]| it.contains(&b' ');
        let (one, two) = if blank(before.path) || blank(after.path) {
            (quoted(b"a/", before.path), quoted(b"b/", after.path))
        } else {
            (from.clone(), to.clone())
        };
        self.line(&[b"diff --git ", &one, b" ", &two]);
        match (old, new) {
            (None, Some(it)) => self.line(&[format!("new file mode {:06o}", it.mode).as_bytes()]),
            (Some(it), None) => {
                self.line(&[format!("deleted file mode {:06o}", it.mode).as_bytes()]);
            }
            _ if before.mode != after.mode => {
                self.line(&[format!("old mode {:06o}", before.mode).as_bytes()]);
                self.line(&[format!("new mode {:06o}", after.mode).as_bytes()]);
            }
            _ => {}
        }
        let same = before.content == after.content;
        if before.path != after.path {
            self.line(&[b"similarity index 100%"]);
            self.line(&[b"rename from ", &name(b"", before.path)]);
            self.line(&[b"rename to ", &name(b"", after.path)]);
        }
        if old.is_some() && new.is_some() && same {
            return;
        }
        let text = |it: &[u8]| !it.iter().take(LOOKED_AT_FOR_ZERO).any(|it| *it == 0);
        let from = if old.is_some() { from } else { b"/dev/null".to_vec() };
        let to = if new.is_some() { to } else { b"/dev/null".to_vec() };
        match (content(old), content(new)) {
            (one, two) if text(one) && text(two) => {
                if one.is_empty() && two.is_empty() {
                    // Without this line `patch` takes the end of an empty file for a mistake.
                    self.line(&[b"index ", id(old), b"..", id(new)]);
                    return;
                }
                self.line(&[b"--- ", &from, ended(&from)]);
                self.line(&[b"+++ ", &to, ended(&to)]);
                self.hunks(one, two);
            }
            (one, two) if binary == Binary::Whole => {
                self.binary = true;
                let id = |side: Option<Side<'_>>, of: &[u8]| {
                    if side.is_some() { literal::id(of) } else { literal::no_id() }
                };
                self.line(&[b"index ", id(old, one).as_bytes(), b"..", id(new, two).as_bytes()]);
                self.line(&[b"GIT binary patch"]);
                // The way back comes second.
                self.text.extend(literal::literal(two));
                self.text.extend(literal::literal(one));
            }
            _ => {
                self.binary = true;
                self.line(&[b"Binary files ", &from, b" and ", &to, b" differ"]);
            }
        }
    }

    fn line(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|it| self.text.extend_from_slice(it));
        self.text.push(b'\n');
    }

    fn hunks(&mut self, old: &[u8], new: &[u8]) {
        let input = InternedInput::new(byte_lines(old), byte_lines(new));
        let mut diff = Diff::compute(Algorithm::Histogram, &input);
        diff.postprocess_lines(&input);
        let line = |token: imara_diff::Token| input.interner[token];
        let old: Vec<&[u8]> = input.before.iter().map(|it| line(*it)).collect();
        let new: Vec<&[u8]> = input.after.iter().map(|it| line(*it)).collect();
        let mut group: Vec<(Range<u32>, Range<u32>)> = Vec::new();
        for hunk in diff.hunks() {
            self.removed_lines += u64::from(hunk.before.end - hunk.before.start);
            self.added_lines += u64::from(hunk.after.end - hunk.after.start);
            let far = group.last().is_some_and(|it| hunk.before.start - it.0.end > 2 * CONTEXT);
            if far {
                self.hunk(&group, &old, &new);
                group.clear();
            }
            group.push((hunk.before, hunk.after));
        }
        self.hunk(&group, &old, &new);
    }

    fn hunk(&mut self, group: &[(Range<u32>, Range<u32>)], old: &[&[u8]], new: &[&[u8]]) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
        let lead = CONTEXT.min(first.0.start);
        let tail = CONTEXT.min(old.len() as u32 - last.0.end);
        let before = first.0.start - lead..last.0.end + tail;
        let after = first.1.start - lead..last.1.end + tail;
        let head = format!("@@ -{} +{} @@", span(&before), span(&after));
        self.line(&[head.as_bytes()]);
        let mut at = before.start;
        for (gone, come) in group {
            self.lines(b' ', old, at..gone.start);
            self.lines(b'-', old, gone.clone());
            self.lines(b'+', new, come.clone());
            at = gone.end;
        }
        self.lines(b' ', old, at..before.end);
    }

    fn lines(&mut self, sign: u8, lines: &[&[u8]], range: Range<u32>) {
        for line in lines.get(range.start as usize..range.end as usize).unwrap_or_default() {
            self.text.push(sign);
            self.text.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                self.text.extend_from_slice(b"\n\\ No newline at end of file\n");
            }
        }
    }
}

/// How git names what is in an empty file, or in none.
fn id(side: Option<Side<'_>>) -> &'static [u8] {
    if side.is_some() { b"e69de29" } else { b"0000000" }
}

/// A side that is not there has nothing in it.
fn content(side: Option<Side<'_>>) -> &[u8] {
    side.and_then(|it| it.content).unwrap_or_default()
}

/// A line for people that tools pass over: what a patch has no form for.
pub fn remark(path: &[u8], words: &str) -> Vec<u8> {
    [b"# ", name(b"", path).as_slice(), b": ", words.as_bytes(), b"\n"].concat()
}

/// Where a hunk lies: counted from one, and from the line before when it has none.
fn span(range: &Range<u32>) -> String {
    match range.end - range.start {
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        lines => format!("{},{lines}", range.start + 1),
    }
}

/// `patch` ends a name at its first blank, unless a tab says where it ends.
fn ended(name: &[u8]) -> &'static [u8] {
    if name.contains(&b' ') && !name.starts_with(b"\"") { b"\t" } else { b"" }
}

/// A path in a header: as it is, or quoted as in C where it could be misread.
pub fn name(side: &[u8], path: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(path);
    let plain = text.is_ok_and(|it| !it.chars().any(|it| is_deceptive(it) || "\"\\".contains(it)));
    if plain { [side, path].concat() } else { quoted(side, path) }
}

fn quoted(side: &[u8], path: &[u8]) -> Vec<u8> {
    let mut out = b"\"".to_vec();
    out.extend_from_slice(side);
    for byte in path {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b' '..=b'~' => out.push(*byte),
            _ => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs, io::Write, os::unix::ffi::OsStrExt, path::Path, process::Command};

    use proptest::prelude::*;

    use super::*;
    use crate::model::hunk;

    fn side<'a>(path: &'a [u8], content: &'a [u8]) -> Side<'a> {
        Side { path, mode: 0o100_644, content: Some(content) }
    }

    fn applied(tool: &str, home: &Path, text: &[u8]) {
        let args: &[&str] = match tool {
            "git" => &["apply", "--whitespace=nowarn", "-"],
            _ => &["-p1", "--batch", "--silent"],
        };
        let mut command = Command::new(tool);
        command.args(args).current_dir(home).stdin(std::process::Stdio::piped());
        command.env("GIT_CEILING_DIRECTORIES", home.parent().unwrap());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text).unwrap();
        assert!(child.wait().unwrap().success(), "{tool}\n{}", String::from_utf8_lossy(text));
    }

    fn check(tool: &str, path: &[u8], old: &[u8], new: &[u8]) {
        if old == new {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(OsStr::from_bytes(path));
        fs::write(&file, old).unwrap();
        let made = patch(Some(side(path, old)), Some(side(path, new)), Binary::Whole);
        applied(tool, home.path(), &made.text);
        assert_eq!(fs::read(&file).unwrap(), new);
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![Just("a"), Just("b"), Just("\r"), Just(""), Just("+c"), Just("é")];
        (prop::collection::vec(line, 0..40), any::<bool>()).prop_map(|(lines, ended)| {
            let mut text = lines.join("\n");
            if ended && !text.is_empty() {
                text.push('\n');
            }
            text.into_bytes()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn git_makes_the_new_text_of_the_old_one(old in text(), new in text()) {
            check("git", b"file", &old, &new);
        }

        #[test]
        fn some_of_the_hunks_and_then_the_others_make_the_new_text(
            old in text(), new in text(), wanted in prop::collection::vec(any::<bool>(), 8),
        ) {
            let hunks = |old: &[u8], new: &[u8]| {
                let patch = patch(Some(side(b"file", old)), Some(side(b"file", new)), Binary::Named);
                let text = String::from_utf8(patch.text).unwrap();
                text.find("\n@@ ").map_or(Vec::new(), |at| hunk::all(&text.as_bytes()[at + 1..]).unwrap())
            };
            let all = hunks(&old, &new);
            prop_assert_eq!(&hunk::merge(&old, &all).unwrap(), &new);
            prop_assert_eq!(&hunk::merge(&new, &[]).unwrap(), &new);
            let some: Vec<_> =
                all.into_iter().zip(wanted.iter().cycle()).filter_map(|(it, yes)| yes.then_some(it)).collect();
            let between = hunk::merge(&old, &some).unwrap();
            prop_assert_eq!(&hunk::merge(&between, &hunks(&between, &new)).unwrap(), &new);
        }

        #[test]
        fn git_makes_the_new_bytes_of_the_old_ones(
            old in prop::collection::vec(any::<u8>(), 0..200),
            new in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            check("git", b"file", &[old, vec![0]].concat(), &new);
        }
    }

    #[test]
    fn strange_names_are_quoted_so_that_git_finds_them() {
        for path in
            [&b"two words"[..], b"line\nfeed", b"quote\"back\\slash", b"\xff\xfe", b"\x1b[2J"]
        {
            check("git", path, b"one\n", b"two");
        }
        check("patch", b"two words", b"one\n", b"two\n");
    }

    #[test]
    fn a_file_that_comes_goes_or_becomes_a_link_is_applied() {
        let home = tempfile::tempdir().unwrap();
        let link = Side { path: b"x", mode: 0o120_000, content: Some(b"target") };
        applied("git", home.path(), &patch(None, Some(side(b"x", b"one\n")), Binary::Whole).text);
        applied(
            "git",
            home.path(),
            &patch(Some(side(b"x", b"one\n")), Some(link), Binary::Whole).text,
        );
        assert_eq!(fs::read_link(home.path().join("x")).unwrap(), Path::new("target"));
        applied("git", home.path(), &patch(Some(link), None, Binary::Whole).text);
        assert!(fs::symlink_metadata(home.path().join("x")).is_err());
        let (from, to) = (side(b"old", b"same\n"), side(b"new", b"same\n"));
        fs::write(home.path().join("old"), "same\n").unwrap();
        applied("git", home.path(), &patch(Some(from), Some(to), Binary::Whole).text);
        assert!(home.path().join("new").exists() && !home.path().join("old").exists());
    }

    #[test]
    fn bytes_that_are_no_text_are_named_or_applied_whole() {
        let (old, new) = (side(b"x", b"a\0b"), side(b"x", b"c"));
        let made = patch(Some(old), Some(new), Binary::Named);
        assert!(made.binary);
        assert!(made.text.ends_with(b"Binary files a/x and b/x differ\n"));
        assert!(patch(Some(old), Some(new), Binary::Whole).binary);
        let large: Vec<u8> = (0..200_000_u32).map(|it| (it.wrapping_mul(it) % 251) as u8).collect();
        check("git", b"two words", b"text\n", &large);
        check("git", b"x", &large, b"\0");
        let home = tempfile::tempdir().unwrap();
        let file = side(b"x", &large);
        applied("git", home.path(), &patch(None, Some(file), Binary::Whole).text);
        assert_eq!(fs::read(home.path().join("x")).unwrap(), large);
        applied("git", home.path(), &patch(Some(file), None, Binary::Whole).text);
        assert!(!home.path().join("x").exists());
    }

    #[test]
    fn nothing_is_written_of_what_is_too_large() {
        let large = Side { content: None, ..side(b"x", b"") };
        let made = patch(Some(side(b"x", b"one")), Some(large), Binary::Whole);
        assert!(made.text.is_empty() && made.binary);
    }
}
