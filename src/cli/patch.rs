//! Reads hunks from what `diff` printed, perhaps edited since.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::diff::name;
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::APPLY_HUNKS_BYTES_MAX,
    },
    model::hunk::{self, Part},
};

/// The hunks in a file, or on standard input.
pub fn read(path: &Path) -> Outcome<Vec<Part>> {
    let shown =
        if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
    let mut text = Vec::new();
    let most = APPLY_HUNKS_BYTES_MAX as u64 + 1;
    let count = if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|it| it.take(most).read_to_end(&mut text))
    };
    let count = count.map_err(|error| Fault::io(format!("reading {shown}"), &error))?;
    if count > APPLY_HUNKS_BYTES_MAX {
        let words = format!("{shown} has more than {APPLY_HUNKS_BYTES_MAX} bytes");
        return Err(Fault::invalid(words).hint("apply whole files by their path"));
    }
    let parts = parse(&text).map_err(|it| it.context(shown.clone()))?;
    if parts.is_empty() {
        return Err(Fault::invalid(format!("{shown}: no hunk in it")));
    }
    Ok(parts)
}

fn parse(mut text: &[u8]) -> Outcome<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    while !text.is_empty() {
        let (line, rest) = cut(text);
        if let Some(old) = line.strip_prefix(b"--- ") {
            let (line, rest) = cut(rest);
            let new = line.strip_prefix(b"+++ ").ok_or_else(|| unread(line))?;
            let (part, rest) = file(old, new, rest)?;
            if parts.iter().any(|it| it.path == part.path) {
                return Err(Fault::invalid(format!("{} is in it twice", name(&part.path))));
            }
            parts.push(part);
            text = rest;
            continue;
        }
        let whole = [&b"rename "[..], b"old mode ", b"new mode ", b"Binary files ", b"GIT binary "];
        if whole.iter().any(|it| line.starts_with(it)) {
            return Err(by_path(&String::from_utf8_lossy(line)));
        }
        let passed = [
            &b"diff --git "[..],
            b"index ",
            b"similarity ",
            b"new file mode ",
            b"deleted file mode ",
            b"# ",
        ];
        if !line.is_empty() && !passed.iter().any(|it| line.starts_with(it)) {
            return Err(unread(line));
        }
        text = rest;
    }
    Ok(parts)
}

fn file<'a>(old: &[u8], new: &[u8], text: &'a [u8]) -> Outcome<(Part, &'a [u8])> {
    let path = path(b"b/", new)?;
    if self::path(b"a/", old)? != path {
        return Err(by_path(&name(&path)));
    }
    let mut rest = text;
    while let Some((_, after)) = hunk::next(rest)? {
        rest = after;
    }
    let hunks = text.get(..text.len() - rest.len()).unwrap_or_default();
    if hunks.is_empty() {
        return Err(Fault::invalid(format!("{} has no hunk", name(&path))));
    }
    Ok((Part { path, hunks: hunks.to_vec().into() }, rest))
}

/// The name in a header, as it is or quoted as in C.
fn path(side: &[u8], text: &[u8]) -> Outcome<Vec<u8>> {
    if text == b"/dev/null" {
        return Err(by_path("a file that is added or deleted"));
    }
    let plain = match text.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")) {
        Some(quoted) => unquoted(quoted).ok_or_else(|| unread(text))?,
        None => text.strip_suffix(b"\t").unwrap_or(text).to_vec(),
    };
    plain.strip_prefix(side).map(<[u8]>::to_vec).ok_or_else(|| unread(text))
}

fn unquoted(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((byte, rest)) = text.split_first() {
        text = rest;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let (escape, rest) = text.split_first()?;
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'"' | b'\\' => out.push(*escape),
            _ => {
                let digits = std::str::from_utf8(text.get(..3)?).ok()?;
                out.push(u8::from_str_radix(digits, 8).ok()?);
                text = text.get(3..)?;
                continue;
            }
        }
        text = rest;
    }
    Some(out)
}

/// A line without its end, and what comes after it.
fn cut(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|it| *it == b'\n') {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
        None => (text, &[]),
    }
}

fn by_path(what: &str) -> Fault {
    Fault::invalid(format!("not a change of lines alone: {}", name(what.as_bytes())))
        .hint("apply it by its path: sandwatch apply SANDBOX PATH")
}

fn unread(line: &[u8]) -> Fault {
    Fault::invalid(format!("a line that is no part of a diff: {}", name(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/x b/x\nindex 1..2\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n\
                        @@ -9 +9 @@\n-c\n\\ No newline at end of file\n+d\n\
                        # y: a device\n\
                        diff --git \"a/\\303\\244 \\\"\" \"b/\\303\\244 \\\"\"\n\
                        --- \"a/\\303\\244 \\\"\"\n+++ \"b/\\303\\244 \\\"\"\n@@ -1 +1 @@\n--- a\n+b\n";

    #[test]
    fn files_and_their_hunks_are_found() {
        let parts = parse(DIFF.as_bytes()).unwrap();
        let [x, other] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!((x.path.as_slice(), hunk::all(&x.hunks).unwrap().len()), (&b"x"[..], 2));
        assert_eq!(other.path, "ä \"".as_bytes());
        assert_eq!(&other.hunks[..], b"@@ -1 +1 @@\n--- a\n+b\n");
        let blank = "--- a/one two\t\n+++ b/one two\t\n@@ -1 +1 @@\n-a\n+b\n";
        assert_eq!(parse(blank.as_bytes()).unwrap()[0].path, b"one two");
    }

    #[test]
    fn what_is_more_than_lines_and_what_would_be_lost_is_refused() {
        for (text, words) in [
            ("--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n", "added or deleted"),
            ("rename from a\n", "not a change of lines alone"),
            ("old mode 100644\n", "not a change of lines alone"),
            ("Binary files a/x and b/x differ\n", "not a change of lines alone"),
            ("--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n", "not a change of lines alone"),
            ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n+c\n", "no part of a diff: +c"),
            ("--- a/x\n+++ b/x\n", "has no hunk"),
            ("--- a/x\nnonsense\n", "no part of a diff"),
            ("--- x\n+++ x\n@@ -1 +1 @@\n-a\n+b\n", "no part of a diff"),
            ("@@ -1 +1 @@\n-a\n+b\n", "no part of a diff"),
            ("hello\n", "no part of a diff: hello"),
        ] {
            let fault = parse(text.as_bytes()).unwrap_err();
            assert!(fault.message().contains(words), "{text:?}: {fault}");
        }
        let twice = [DIFF, DIFF].concat();
        assert!(parse(twice.as_bytes()).unwrap_err().message().contains("twice"));
    }
}
