//! Colours of source text. What is read is hostile: lines are cut, the whole has a time, and one that takes longer is
//! shown without colours while it ends by itself; no more than one does.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxReference, SyntaxSet};
use tokio::sync::Semaphore;

use crate::{
    app::files::{Class, ShownLine, Span},
    base::clock,
};

/// Of a longer line nothing is coloured: it was written by no person.
const LINE_BYTES_MAX: usize = 1000;
/// How long the lines of one file may take, and how long that is waited for.
const WITHIN: Duration = Duration::from_millis(300);
const WAITED_FOR: Duration = Duration::from_millis(900);

/// Lines with their colours; `None` where there are none, or it takes too long.
pub async fn coloured(name: &str, texts: Vec<String>) -> Option<Vec<ShownLine>> {
    static TURN: OnceLock<Arc<Semaphore>> = OnceLock::new();
    let turns = TURN.get_or_init(|| Arc::new(Semaphore::new(1)));
    let turn = Arc::clone(turns).try_acquire_owned().ok()?;
    let name = name.to_owned();
    let work = tokio::task::spawn_blocking(move || {
        let lines = colour(&name, texts, WITHIN);
        drop(turn);
        lines
    });
    // One that broke off, or takes too long, is as good as one without colours.
    tokio::time::timeout(WAITED_FOR, work).await.ok()?.ok()?
}

fn syntaxes() -> &'static SyntaxSet {
    static SYNTAXES: OnceLock<SyntaxSet> = OnceLock::new();
    SYNTAXES.get_or_init(SyntaxSet::load_defaults_newlines)
}

/// Reads what there is to know of languages, before the first file is looked at.
pub fn warm() {
    drop(tokio::task::spawn_blocking(syntaxes));
}

/// By its name, by what it ends in, or by how it begins.
fn syntax_of(name: &str, first: &str) -> Option<&'static SyntaxReference> {
    let set = syntaxes();
    let extension = name.rsplit_once('.').map_or("", |it| it.1);
    set.find_syntax_by_extension(name)
        .or_else(|| set.find_syntax_by_extension(extension))
        .or_else(|| set.find_syntax_by_first_line(first))
}

/// What is not done within that time has no colours.
fn colour(name: &str, texts: Vec<String>, within: Duration) -> Option<Vec<ShownLine>> {
    let first: &str = texts.first().map_or("", String::as_str);
    let first = first.get(..first.len().min(LINE_BYTES_MAX)).unwrap_or_default();
    let syntax = syntax_of(name, first)?;
    let (mut state, mut stack) = (ParseState::new(syntax), ScopeStack::new());
    let until = clock::monotonic() + within;
    let mut over = false;
    let lines = texts.into_iter().map(|text| {
        over |= clock::monotonic() > until;
        if over || text.len() > LINE_BYTES_MAX {
            return ShownLine { text, spans: Vec::new() };
        }
        let ended = format!("{text}\n");
        let Ok(steps) = state.parse_line(&ended, syntaxes()) else {
            return ShownLine { text, spans: Vec::new() };
        };
        let mut spans: Vec<Span> = Vec::new();
        let mut from = 0;
        for (at, step) in steps {
            push(&mut spans, &text, from, at, class(&stack));
            from = at;
            // A stack that can't be brought forward has no colours; the next line begins with what there is.
            let _ = stack.apply(&step);
        }
        push(&mut spans, &text, from, text.len(), class(&stack));
        ShownLine { text, spans }
    });
    Some(lines.collect())
}

fn push(spans: &mut Vec<Span>, text: &str, start: usize, end: usize, class: Option<Class>) {
    let end = end.min(text.len());
    let whole = text.is_char_boundary(start) && text.is_char_boundary(end);
    let Some(class) = class.filter(|_| start < end && whole) else { return };
    match spans.last_mut() {
        Some(last) if last.end == start && last.class == class => last.end = end,
        _ => spans.push(Span { start, end, class }),
    }
}

/// What the innermost scope that means something says.
fn class(stack: &ScopeStack) -> Option<Class> {
    static KNOWN: OnceLock<Vec<(Scope, Class)>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let words = [
            ("comment", Class::Comment),
            ("string", Class::Quoted),
            ("constant", Class::Number),
            ("keyword.operator", Class::Name),
            ("keyword", Class::Word),
            ("storage", Class::Word),
            ("entity", Class::Name),
            ("support", Class::Name),
            ("markup.heading", Class::Name),
            ("markup.raw", Class::Quoted),
            ("markup.bold", Class::Word),
        ];
        let scope = |(word, class)| Scope::new(word).ok().map(|it| (it, class));
        words.into_iter().filter_map(scope).collect()
    });
    let of = |scope: &Scope| known.iter().find(|it| it.0.is_prefix_of(*scope)).map(|it| it.1);
    let found = stack.as_slice().iter().rev().find_map(of);
    // Signs are no words, and too many of them are.
    found.filter(|_| !stack.as_slice().iter().rev().take(1).any(is_sign))
}

fn is_sign(scope: &Scope) -> bool {
    static SIGN: OnceLock<Option<Scope>> = OnceLock::new();
    let sign = SIGN.get_or_init(|| Scope::new("keyword.operator").ok());
    sign.is_some_and(|it| it.is_prefix_of(*scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing here is to depend on how fast a machine is.
    const FAR: Duration = Duration::from_secs(600);

    fn pieces(name: &str, text: &str) -> Vec<(String, Class)> {
        let texts = text.lines().map(str::to_owned).collect();
        let lines = colour(name, texts, FAR).unwrap();
        let of = |line: &ShownLine| -> Vec<(String, Class)> {
            let text = |it: &Span| (line.text.get(it.start..it.end).unwrap().to_owned(), it.class);
            line.spans.iter().map(text).collect()
        };
        lines.iter().flat_map(of).collect()
    }

    #[test]
    fn comments_quotes_words_and_numbers_are_told_apart() {
        let found = pieces("main.rs", "// ünder\nfn main() { let x = \"ä\"; 42 }");
        for wanted in [
            ("// ünder", Class::Comment),
            ("\"ä\"", Class::Quoted),
            ("42", Class::Number),
            ("main", Class::Name),
        ] {
            assert!(
                found.iter().any(|it| it.0 == wanted.0 && it.1 == wanted.1),
                "{wanted:?}: {found:?}"
            );
        }
        assert!(found.iter().any(|it| it.0.trim() == "fn" && it.1 == Class::Word), "{found:?}");
        assert!(colour("no.such-thing", vec!["x".to_owned()], FAR).is_none());
    }

    #[test]
    fn what_nobody_wrote_is_not_coloured_and_takes_no_time() {
        let line = format!("\"{}", "\\\"(".repeat(20_000));
        let lines = colour("a.js", vec![line; 50], FAR).unwrap();
        assert!(lines.iter().all(|it| it.spans.is_empty()));
        // Quotes in quotes, and nothing that closes.
        let nested = "${\"#{`".repeat(150);
        let lines = colour("a.rb", vec![nested; 200], Duration::ZERO).unwrap();
        assert_eq!(lines.len(), 200);
        assert!(lines.iter().skip(1).all(|it| it.spans.is_empty()));
    }
}
