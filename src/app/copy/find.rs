//! Searching what is loaded, and going to what the hub found further back.

use regex::RegexBuilder;

use super::{Copy, CopyLine, Spot, line::history_line};
use crate::{
    base::{limits::PATTERN_BYTES_MAX, text::width},
    model::history::{HistoryMark, HistoryPage},
};

/// Matches remembered on the way back; beyond it the way towards the present ends there.
const TRAIL_MAX: usize = 1000;
/// A pattern's automaton may take this much, in bytes.
const PATTERN_MEMORY_MAX: usize = 1 << 20;

impl Copy {
    /// Sets what to look for; `Err` says what is wrong with it.
    pub fn look_for(&mut self, pattern: &str) -> Result<(), String> {
        (self.matched, self.newer) = (None, 0);
        self.trail.clear();
        if pattern.is_empty() {
            self.pattern = None;
            return Ok(());
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
        }
        let built = RegexBuilder::new(pattern)
            .case_insensitive(!pattern.chars().any(char::is_uppercase))
            .size_limit(PATTERN_MEMORY_MAX)
            .build();
        match built {
            Ok(it) => {
                self.pattern = Some((pattern.to_owned(), it));
                Ok(())
            }
            Err(error) => {
                let text = error.to_string();
                Err(text.lines().last().unwrap_or("not a pattern").trim().to_owned())
            }
        }
    }

    /// Goes to the next match among the loaded lines; `false` when there is none.
    pub fn find(&mut self, older: bool) -> bool {
        let matches = |number: &usize| self.lines.get(*number).is_some_and(|it| self.is_match(it));
        let from = self.cursor.line;
        let found = if older {
            (0..from).rev().find(matches)
        } else {
            (from + 1..self.lines.len()).find(matches)
        };
        let Some(number) = found else { return false };
        self.go_to_match(number);
        true
    }

    /// Cells of a line that match, as from..to.
    pub fn hits(&self, text: &str) -> Vec<(usize, usize)> {
        let Some((_, pattern)) = &self.pattern else { return Vec::new() };
        pattern
            .find_iter(text)
            .take(64)
            .filter(|it| !it.is_empty())
            .map(|it| {
                let from = text.get(..it.start()).map_or(0, width);
                (from, from + width(it.as_str()))
            })
            .collect()
    }

    pub(super) fn is_match(&self, line: &CopyLine) -> bool {
        self.pattern.as_ref().is_some_and(|(_, pattern)| pattern.is_match(&line.text))
    }

    fn matches_from(&self, line: usize) -> usize {
        self.lines.iter().skip(line).filter(|it| self.is_match(it)).count()
    }

    /// Whether anything matches, as far as is known.
    pub fn has_match(&self) -> bool {
        self.newer > 0 || !self.trail.is_empty() || self.matches_from(0) > 0
    }

    /// Shows the first lines there are; an empty page says that they are to be loaded step by step.
    pub fn show_start(&mut self, page: HistoryPage) {
        self.loading = false;
        let Some(oldest) = self.oldest() else {
            if !page.lines.is_empty() {
                self.older(page);
            }
            return self.to_top();
        };
        let overlaps = page.lines.last().is_none_or(|it| it.mark >= oldest);
        if page.lines.is_empty() {
            return;
        }
        if overlaps {
            self.older(page);
        } else {
            (self.at_start, self.detached, self.screen_lines) = (true, true, 0);
            (self.selection, self.matched) = (None, None);
            self.newer += self.matches_from(0);
            self.lines = page.lines.into_iter().map(history_line).collect();
        }
        self.to_top();
    }

    /// The number of the match under the cursor, counted from the newest, and how many there are
    /// if that is known.
    pub fn match_position(&self) -> Option<(usize, Option<usize>)> {
        let (_, number) = self.matched.filter(|(line, _)| *line == self.cursor.line)?;
        let total = self.at_start.then(|| self.newer + self.matches_from(0));
        Some((number, total))
    }

    /// Leaves a match for an older one that is not loaded: its number there.
    pub fn leave_match(&mut self) -> usize {
        let number = self.newer + self.matches_from(self.cursor.line);
        if self.trail.len() < TRAIL_MAX && number > 0 {
            self.trail.push((self.mark_at_cursor(), number));
        }
        number + 1
    }

    /// The match that was left last.
    pub fn last_left(&mut self) -> Option<(Option<HistoryMark>, usize)> {
        self.trail.pop()
    }

    /// Shows a page around a hit instead of what was loaded; `number` counts it from the newest.
    pub fn jump(&mut self, page: HistoryPage, hit: HistoryMark, number: usize) {
        self.loading = false;
        if page.lines.is_empty() {
            return;
        }
        self.at_start = page.at_start;
        self.detached = true;
        self.screen_lines = 0;
        self.selection = None;
        self.lines = page.lines.into_iter().map(history_line).collect();
        let at = self.lines.iter().position(|it| it.mark.is_some_and(|it| it >= hit));
        self.newer = 0;
        self.cursor.line = at.unwrap_or(0);
        self.newer = number.saturating_sub(self.matches_from(self.cursor.line));
        self.top = self.cursor.line.saturating_sub(self.height / 2);
        self.go_to_match(self.cursor.line);
    }

    /// Puts the cursor on the match of a line.
    fn go_to_match(&mut self, line: usize) {
        self.cursor = self.match_at(line).unwrap_or(Spot { line, column: 0 });
        self.matched = Some((self.cursor.line, self.newer + self.matches_from(line)));
        self.settle();
    }

    /// Where the match of a line begins: in that row, else in one of those it goes on in.
    fn match_at(&self, line: usize) -> Option<Spot> {
        let (_, pattern) = self.pattern.as_ref()?;
        let own = self.lines.get(line)?.text.as_str();
        if let Some(found) = pattern.find(own) {
            return Some(Spot { line, column: width(own.get(..found.start())?) });
        }
        let (mut whole, mut starts) = (String::new(), Vec::new());
        for (number, row) in self.lines.iter().enumerate().skip(line) {
            starts.push((number, whole.len()));
            whole.push_str(&row.text);
            if !row.wrapped {
                break;
            }
        }
        let at = pattern.find(&whole)?.start();
        let (line, from) = starts.into_iter().rfind(|(_, from)| *from <= at)?;
        Some(Spot { line, column: width(whole.get(from..at)?) })
    }
}
