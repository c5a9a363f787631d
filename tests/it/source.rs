//! A small reader of Rust source: words without comments and strings, and the paths they spell.
//! It knows `use` groups and `super`; it does not know macros or re-exports.

use std::{iter::Peekable, str::Chars};

/// One word or sign of the source.
#[derive(Clone, Debug)]
pub struct Word {
    pub text: String,
    pub line: usize,
}

/// A path as it is spelled out in full: `crate::a::b`, `tokio::sync`.
#[derive(Clone, Debug)]
pub struct Named {
    pub segments: Vec<String>,
    pub line: usize,
}

impl Named {
    /// The module right below the crate's root that this path names.
    pub fn layer(&self) -> Option<&str> {
        match self.segments.as_slice() {
            [first, second, ..] if first == "crate" => Some(second),
            _ => None,
        }
    }
}

pub struct Source {
    words: Vec<Word>,
    paths: Vec<Named>,
    own: Vec<String>,
}

impl Source {
    /// Reads the text of the file at `name` below src/.
    pub fn read(name: &str, text: &str) -> Self {
        let words = words_of(text);
        let mut reader = Reader { words: &words, at: 0, module: module_of(name), own: Vec::new() };
        let paths = reader.file();
        Self { paths, own: reader.own, words }
    }

    pub fn words(&self) -> impl Iterator<Item = &Word> {
        self.words.iter()
    }

    pub fn paths(&self) -> &[Named] {
        &self.paths
    }

    /// Whether `name` means a module or an import of this file, rather than an outside crate.
    pub fn has_own(&self, name: &str) -> bool {
        self.own.iter().any(|it| it == name)
    }
}

/// `session/deep.rs` is `crate::session::deep`, `session/mod.rs` is `crate::session`.
fn module_of(name: &str) -> Vec<String> {
    let stem = name.trim_end_matches(".rs");
    let parts = stem.split('/').filter(|it| !["mod", "lib", "main"].contains(it));
    std::iter::once("crate").chain(parts).map(str::to_owned).collect()
}

struct Reader<'a> {
    words: &'a [Word],
    at: usize,
    module: Vec<String>,
    own: Vec<String>,
}

impl Reader<'_> {
    fn text(&self, ahead: usize) -> &str {
        self.words.get(self.at + ahead).map_or("", |it| it.text.as_str())
    }

    fn line(&self) -> usize {
        self.words.get(self.at).map_or(0, |it| it.line)
    }

    fn file(&mut self) -> Vec<Named> {
        let mut found = Vec::new();
        let mut depth = 0_usize;
        let mut inline: Vec<usize> = Vec::new();
        while self.at < self.words.len() {
            match self.text(0) {
                // `impl Trait + use<'a>` is no import.
                "use" if self.text(1) != "<" => {
                    self.at += 1;
                    self.tree(&[], &mut found);
                    continue;
                }
                "mod" if is_name(self.text(1)) => {
                    let name = self.text(1).to_owned();
                    self.own.push(name.clone());
                    if self.text(2) == "{" {
                        depth += 1;
                        inline.push(depth);
                        self.module.push(name);
                    }
                    self.at += 3;
                    continue;
                }
                "{" => depth += 1,
                "}" => {
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        self.module.pop();
                    }
                    depth = depth.saturating_sub(1);
                }
                word if is_name(word) && self.text(1) == "::" => {
                    let line = self.line();
                    let segments = self.path();
                    found.push(Named { segments: self.resolved(segments), line });
                    continue;
                }
                "::" | "." if is_name(self.text(1)) => self.at += 1,
                _ => {}
            }
            self.at += 1;
        }
        found
    }

    /// `a::b::c` outside of a `use`.
    fn path(&mut self) -> Vec<String> {
        let mut segments = vec![self.text(0).to_owned()];
        self.at += 1;
        while self.text(0) == "::" && is_name(self.text(1)) {
            segments.push(self.text(1).to_owned());
            self.at += 2;
        }
        segments
    }

    /// One tree of a `use`, up to its end: `;`, or `,` and `}` inside of a group.
    fn tree(&mut self, before: &[String], found: &mut Vec<Named>) {
        let line = self.line();
        let mut segments = before.to_vec();
        loop {
            match self.text(0) {
                "{" => {
                    self.at += 1;
                    while !["}", ";", ""].contains(&self.text(0)) {
                        self.tree(&segments, found);
                        if self.text(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "::" => self.at += 1,
                "as" => {
                    self.own.push(self.text(1).to_owned());
                    self.at += 2;
                }
                "," | "}" | ";" | "" => break,
                word => {
                    segments.push(word.to_owned());
                    self.at += 1;
                }
            }
        }
        if let [_, .., last] = segments.as_slice() {
            self.own.push(last.clone());
        }
        found.push(Named { segments: self.resolved(segments), line });
    }

    /// Spells out leading `super` and `self` from the module we are in.
    fn resolved(&self, segments: Vec<String>) -> Vec<String> {
        let mut module = self.module.clone();
        let mut rest = segments.iter().peekable();
        let mut relative = false;
        while let Some(word) = rest.next_if(|it| *it == "super" || *it == "self") {
            relative = true;
            if word == "super" {
                module.pop();
            }
        }
        if !relative {
            return segments;
        }
        module.extend(rest.cloned());
        module
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|it: char| it.is_alphabetic() || it == '_')
}

/// Cuts the text into names, numbers and signs; comments, strings and characters are left out.
fn words_of(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut line = 1;
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            '\n' => line += 1,
            '/' if rest.peek() == Some(&'/') => while rest.next_if(|it| *it != '\n').is_some() {},
            '/' if rest.peek() == Some(&'*') => line += skip_comment(&mut rest),
            '"' => line += skip_string(&mut rest),
            '\'' => skip_quote(&mut rest),
            ':' if rest.next_if_eq(&':').is_some() => words.push(Word { text: "::".into(), line }),
            it if it.is_alphanumeric() || it == '_' => {
                let mut text = String::from(it);
                while let Some(next) = rest.next_if(|it| it.is_alphanumeric() || *it == '_') {
                    text.push(next);
                }
                let raw = ["r", "br", "cr"].contains(&text.as_str());
                if raw && matches!(rest.peek(), Some('#' | '"')) {
                    line += skip_raw_string(&mut rest);
                } else {
                    words.push(Word { text, line });
                }
            }
            it if it.is_whitespace() => {}
            it => words.push(Word { text: it.into(), line }),
        }
    }
    words
}

fn skip_comment(rest: &mut Peekable<Chars<'_>>) -> usize {
    let (mut depth, mut lines, mut last) = (0, 0, '/');
    for it in rest.by_ref() {
        lines += usize::from(it == '\n');
        match (last, it) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                last = it;
                continue;
            }
        }
        if depth == 0 {
            break;
        }
        last = ' ';
    }
    lines
}

fn skip_string(rest: &mut Peekable<Chars<'_>>) -> usize {
    let mut lines = 0;
    while let Some(it) = rest.next() {
        lines += usize::from(it == '\n');
        match it {
            '\\' => lines += usize::from(rest.next() == Some('\n')),
            '"' => break,
            _ => {}
        }
    }
    lines
}

/// After `r`, `br` or `cr`; `r#name` is a name and simply loses its mark.
fn skip_raw_string(rest: &mut Peekable<Chars<'_>>) -> usize {
    let mut marks = 0;
    while rest.next_if_eq(&'#').is_some() {
        marks += 1;
    }
    if rest.next_if_eq(&'"').is_none() {
        return 0;
    }
    let (mut lines, mut seen) = (0, None);
    for it in rest.by_ref() {
        lines += usize::from(it == '\n');
        seen = match (it, seen) {
            ('"', _) => Some(0),
            ('#', Some(count)) => Some(count + 1),
            _ => None,
        };
        if seen == Some(marks) {
            break;
        }
    }
    lines
}

/// After `'`: a character is skipped, a lifetime's name is read on as a word.
fn skip_quote(rest: &mut Peekable<Chars<'_>>) {
    let mut ahead = rest.clone();
    match (ahead.next(), ahead.next()) {
        (Some('\\'), _) => {
            rest.next();
            rest.next();
            while rest.next().is_some_and(|it| it != '\'') {}
        }
        (Some(_), Some('\'')) => {
            rest.next();
            rest.next();
        }
        _ => {}
    }
}
