//! Waiting for something to happen in a session.

use std::{sync::Arc, time::Duration};

use regex::{Regex, RegexBuilder};
use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind},
};
use tokio_stream::StreamExt;

use super::Inner;
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{PATTERN_BYTES_MAX, QUIET_AFTER, WAIT_TEXT_BYTES_MAX},
        units::{Size, exact_duration},
    },
    model::{
        output::{Fidelity, From, Output, OutputRequest},
        session::{Session, Status},
    },
    runtime::WaitFor,
    vt::{Plain, Screen},
};

/// Compiled size of a pattern, in bytes: what a person types is far smaller.
const PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;

impl Inner {
    /// Resolves when it happened; `Late` when it did not in time.
    pub(super) async fn wait(
        self: &Arc<Self>,
        id: &SessionId,
        what: WaitFor,
        within: Option<Duration>,
    ) -> Outcome<()> {
        let words = match &what {
            WaitFor::Exit => "it did not end",
            WaitFor::Idle => "it did not become idle",
            WaitFor::Text(_) => "the text did not come",
        };
        let happening = async {
            match what {
                WaitFor::Exit => self.wait_state(id, ended).await,
                WaitFor::Idle => self.wait_state(id, |it| ended(it) || is_at_rest(it)).await,
                WaitFor::Text(pattern) => self.wait_text(id, &pattern).await,
            }
        };
        match within {
            None => happening.await,
            Some(time) => tokio::time::timeout(time, happening).await.unwrap_or_else(|_| {
                Err(Fault::late(format!("{words} within {}", exact_duration(time))))
            }),
        }
    }

    /// Waits until a session is so; one that was removed has ended.
    async fn wait_state(&self, id: &SessionId, so: impl Fn(&Session) -> bool) -> Outcome<()> {
        let mut changed = self.fleet().of_session(id)?.changed.subscribe();
        loop {
            changed.mark_unchanged();
            {
                let fleet = self.fleet();
                let Ok(entry) = fleet.of_session(id) else { return Ok(()) };
                if entry.session(id).is_none_or(&so) {
                    return Ok(());
                }
            }
            if changed.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Looks through all output from the start, then at what comes.
    async fn wait_text(self: &Arc<Self>, id: &SessionId, pattern: &str) -> Outcome<()> {
        let text = Pattern::new(pattern)?;
        let request =
            OutputRequest { from: From::Start, fidelity: Fidelity::Full, every_at_least: None };
        let mut output = self.output(id, request).await?;
        let mut plain = Plain::default();
        let mut window = Window::default();
        while let Some(message) = output.next().await {
            let found = match message? {
                Output::Chunk { bytes, .. } => window.push(&plain.feed(&bytes), &text),
                // What it stands for is not kept; what it shows was printed.
                Output::Keyframe { size, state, .. } => window.push(&shown(size, &state), &text),
                Output::Exit { .. } => {
                    if window.push(&plain.finish(), &text) {
                        return Ok(());
                    }
                    let words = format!("the program ended without printing {pattern}");
                    return Err(Fault::failed(words));
                }
                _ => false,
            };
            if found {
                return Ok(());
            }
        }
        Err(Fault::lost(format!("the sandbox was lost before its program printed {pattern}")))
    }
}

/// Whether it does nothing as far as anybody can tell, and has printed nothing for a while: what was just typed has been taken.
/// Where nobody can tell, a script is not made to wait for a word that will not come.
fn is_at_rest(session: &Session) -> bool {
    // Two clocks are not exactly alike.
    const SLACK: Duration = Duration::from_millis(500);
    let silent = clock::wall().since(session.last_sign());
    let rests = [Status::Idle, Status::Waiting, Status::Stuck, Status::Unknown];
    rests.contains(&session.status) && silent + SLACK >= QUIET_AFTER
}

/// The lines of a screen down to the last that has text, as if they had just been printed.
fn shown(size: Size, state: &[u8]) -> String {
    let lines = Screen::from_keyframe(size, state).lines();
    let text = lines.iter().map(|it| it.trim_end()).collect::<Vec<_>>().join("\n");
    match text.trim_end_matches('\n') {
        "" => String::new(),
        text => format!("\n{text}\n"),
    }
}

fn ended(session: &Session) -> bool {
    session.exit.is_some() || session.exited_at.is_some()
}

/// What is waited for, and how far back of new text a match of it may begin.
struct Pattern {
    regex: Regex,
    reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// No match is longer.
    Bytes(usize),
    /// No match has the end of a line in it.
    Line,
    Everything,
}

impl Pattern {
    fn new(pattern: &str) -> Outcome<Self> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(Fault::invalid(format!(
                "pattern is longer than {PATTERN_BYTES_MAX} bytes"
            )));
        }
        let unread = |why: &str| {
            let last = why.lines().last().unwrap_or("it can't be read").trim();
            let last = last.strip_prefix("error: ").unwrap_or(last);
            Fault::invalid(format!("not a regular expression: {pattern}: {last}"))
        };
        let regex = RegexBuilder::new(pattern)
            .multi_line(true)
            .size_limit(PATTERN_COMPILED_BYTES_MAX)
            .build()
            .map_err(|error| unread(&error.to_string()))?;
        let parsed = ParserBuilder::new().multi_line(true).build().parse(pattern);
        let parsed = parsed.map_err(|error| unread(&error.to_string()))?;
        let reach = match parsed.properties().maximum_len() {
            Some(bytes) => Reach::Bytes(bytes),
            None if has_line_end(&parsed) => Reach::Everything,
            None => Reach::Line,
        };
        Ok(Self { regex, reach })
    }
}

/// Whether a match may have the end of a line in it.
fn has_line_end(it: &Hir) -> bool {
    match it.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(it) => it.0.contains(&b'\n'),
        HirKind::Class(Class::Unicode(it)) => {
            it.ranges().iter().any(|it| (it.start()..=it.end()).contains(&'\n'))
        }
        HirKind::Class(Class::Bytes(it)) => {
            it.ranges().iter().any(|it| (it.start()..=it.end()).contains(&b'\n'))
        }
        HirKind::Repetition(it) => has_line_end(&it.sub),
        HirKind::Capture(it) => has_line_end(&it.sub),
        HirKind::Concat(all) | HirKind::Alternation(all) => all.iter().any(has_line_end),
    }
}

/// The newest text, so that a match may span pieces; bounded.
#[derive(Default)]
struct Window {
    text: String,
    /// Where a match may begin: the character before only tells whether a line begins there.
    from: usize,
}

impl Window {
    /// Adds text and tells whether the pattern is in what is kept.
    fn push(&mut self, text: &str, pattern: &Pattern) -> bool {
        let begin = self.begin(pattern.reach);
        self.text.push_str(text);
        if pattern.regex.is_match_at(&self.text, begin) {
            return true;
        }
        // Whole lines that did not match will not, but a pattern may span some of them.
        let excess = self.text.len().saturating_sub(WAIT_TEXT_BYTES_MAX);
        if excess > 0 {
            let cut = (excess..=self.text.len()).find(|at| self.text.is_char_boundary(*at));
            self.text.drain(..cut.unwrap_or(excess));
            self.from = self.text.chars().next().map_or(0, char::len_utf8);
        }
        false
    }

    /// Where a match may begin that was none before more text came: what went before was searched.
    fn begin(&self, reach: Reach) -> usize {
        let end = self.text.len();
        let near = match reach {
            // One more, for a match that only lacked what comes after it.
            Reach::Bytes(bytes) => end.saturating_sub(bytes.saturating_add(1)),
            Reach::Line => self.text.rfind('\n').unwrap_or(0),
            Reach::Everything => 0,
        };
        let near = (0..=near).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
        near.max(self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_may_span_pieces_and_the_window_stays_bounded() {
        let pattern = Pattern::new("^done: [0-9]+$").unwrap();
        let mut window = Window::default();
        for _ in 0..10_000 {
            assert!(!window.push("wörds and wörds\n", &pattern));
        }
        assert!(window.text.len() <= WAIT_TEXT_BYTES_MAX);
        assert!(!window.push("do", &pattern));
        assert!(window.push("ne: 7\n", &pattern));
    }

    #[test]
    fn what_is_cut_off_makes_no_line_begin() {
        let pattern = Pattern::new("^x").unwrap();
        let mut window = Window::default();
        assert!(!window.push("a", &pattern));
        // More than is kept, in pieces that are no part of it.
        let piece = "x".repeat(WAIT_TEXT_BYTES_MAX / 10);
        for _ in 0..30 {
            assert!(!window.push(&piece, &pattern));
        }
        assert!(window.push("\nx", &pattern));
    }

    #[test]
    fn what_was_searched_is_not_searched_again() {
        let mut window = Window::default();
        for piece in ["one\n", "two\n", "thr\u{e9}", "ee"] {
            assert!(!window.push(piece, &Pattern::new("no").unwrap()));
        }
        let begin = |pattern: &str| {
            let begin = window.begin(Pattern::new(pattern).unwrap().reach);
            window.text.get(begin..).unwrap()
        };
        assert_eq!(begin("a"), "ee");
        assert_eq!(begin("ab?"), "\u{e9}ee");
        assert_eq!(begin("a+ .*x$"), "\nthr\u{e9}ee");
        assert_eq!(begin("[^x]+y"), window.text);
        assert_eq!(begin(r"a\s+b"), window.text);
        assert_eq!(begin("(?s)a.*b"), window.text);
        assert_eq!(begin("(a|\n)+"), window.text);
    }

    #[test]
    fn pieces_match_as_the_whole_does() {
        let text = "a word\n\nwords and\u{e9} more\nend: 7, 8\n";
        for pattern in [
            r"\bwords\b",
            r"words\B",
            "d$",
            r"^\n",
            "(?s)word.*more",
            "[0-9]+$",
            r"\d, \d",
            "\u{e9}",
            r"\s\s",
            "^end",
            r"e\z",
            "nowhere",
            r"8\n\z",
            "$",
            "a w",
            r"d\b \w",
        ] {
            let it = Pattern::new(pattern).unwrap();
            for size in 1..6 {
                let mut window = Window::default();
                let chars: Vec<char> = text.chars().collect();
                let found =
                    chars.chunks(size).any(|it2| window.push(&it2.iter().collect::<String>(), &it));
                // In pieces, what ends a piece ends the text for that moment.
                let whole = it.regex.is_match(text);
                assert!(found || !whole, "{pattern} in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_a_screen_shows_was_printed() {
        let mut screen = Screen::new(Size::DEFAULT);
        assert_eq!(shown(screen.size(), &screen.keyframe()), "");
        screen.feed(b"one\r\n\r\ndone: 7");
        let text = shown(screen.size(), &screen.keyframe());
        assert_eq!(text, "\none\n\ndone: 7\n");
        // And what came before it ended somewhere else.
        let mut window = Window::default();
        let pattern = Pattern::new("^done: [0-9]+$").unwrap();
        assert!(!window.push("do", &pattern));
        assert!(window.push(&text, &pattern));
    }

    #[test]
    fn a_bad_pattern_is_told_in_one_line() {
        let fault = Pattern::new("a(b").err().unwrap();
        assert!(fault.message().contains("unclosed group"), "{fault}");
        assert!(!fault.message().contains('\n'));
        assert!(Pattern::new("(a{1000}){1000}").is_err());
    }
}
