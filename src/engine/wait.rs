//! Waiting for something to happen in a session.

use std::{sync::Arc, time::Duration};

use regex::{Regex, RegexBuilder};
use tokio_stream::StreamExt;

use super::Inner;
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{PATTERN_BYTES_MAX, WAIT_TEXT_BYTES_MAX},
        units::exact_duration,
    },
    model::{
        output::{Fidelity, From, Output, OutputRequest},
        session::{Session, Status},
    },
    runtime::WaitFor,
    vt::Plain,
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
                WaitFor::Idle => {
                    self.wait_state(id, |it| ended(it) || it.status == Status::Idle).await
                }
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
        let pattern = compile(pattern)?;
        let request =
            OutputRequest { from: From::Start, fidelity: Fidelity::Full, every_at_least: None };
        let mut output = self.output(id, request).await?;
        let mut plain = Plain::default();
        let mut window = Window::default();
        while let Some(message) = output.next().await {
            let found = match message? {
                Output::Chunk { bytes, .. } => window.push(&plain.feed(&bytes), &pattern),
                Output::Exit { .. } => {
                    if window.push(&plain.finish(), &pattern) {
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

fn ended(session: &Session) -> bool {
    session.exit.is_some() || session.exited_at.is_some()
}

fn compile(pattern: &str) -> Outcome<Regex> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(Fault::invalid(format!("pattern is longer than {PATTERN_BYTES_MAX} bytes")));
    }
    RegexBuilder::new(pattern)
        .multi_line(true)
        .size_limit(PATTERN_COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| {
            let why = error.to_string();
            let last = why.lines().last().unwrap_or("it can't be read").trim();
            let last = last.strip_prefix("error: ").unwrap_or(last);
            Fault::invalid(format!("not a regular expression: {pattern}: {last}"))
        })
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
    fn push(&mut self, text: &str, pattern: &Regex) -> bool {
        self.text.push_str(text);
        if pattern.is_match_at(&self.text, self.from) {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_may_span_pieces_and_the_window_stays_bounded() {
        let pattern = compile("^done: [0-9]+$").unwrap();
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
        let pattern = compile("^x").unwrap();
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
    fn a_bad_pattern_is_told_in_one_line() {
        let fault = compile("a(b").unwrap_err();
        assert!(fault.message().contains("unclosed group"), "{fault}");
        assert!(!fault.message().contains('\n'));
        assert!(compile("(a{1000}){1000}").is_err());
    }
}
