//! What goes round in circles: the same call of a tool again and again, the same screens in turn, a sign that turns while
//! nothing else moves. It is found over time, and never from two looks alone.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use super::is_spinner;
use crate::{
    base::{
        clock::Timestamp,
        limits::{CALLS_REPEATED, SCREENS_LOOP_FOR, SCREENS_SEEN_MAX, SPINS_FOR},
        text::count,
    },
    model::status::Cause,
};

/// Screens in one turn of a loop.
const PERIOD_MAX: usize = 6;
/// Turns that make a loop.
const TURNS: usize = 4;
/// Looks at which a sign had turned.
const TURNED_MIN: u32 = 8;

/// Calls of tools, as far as they are the same.
#[derive(Debug, Default)]
pub(super) struct Calls {
    last: Option<(String, String)>,
    times: u32,
    at: Option<Timestamp>,
}

impl Calls {
    pub(super) fn push(&mut self, at: Timestamp, call: &str, tool: &str) {
        let same = self.last.as_ref().is_some_and(|it| it.0 == call);
        self.times = if same { self.times.saturating_add(1) } else { 1 };
        self.last = Some((call.to_owned(), tool.to_owned()));
        self.at = Some(at);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The tool that was called in the same way so often that it leads nowhere, and how often.
    pub(super) fn repeated(&self) -> Option<(&str, u32)> {
        let (_, tool) = self.last.as_ref()?;
        let tool = if tool.is_empty() { "a tool" } else { tool };
        (self.times >= CALLS_REPEATED).then_some((tool, self.times))
    }
}

/// Screens as they were, one a look.
#[derive(Debug, Default)]
pub(super) struct Screens {
    /// Each without what turns on it, with when it was seen; the same one twice in a row is one.
    seen: VecDeque<(Timestamp, u64)>,
    /// The whole of the last one, and how often that was another while the rest stayed.
    whole: u64,
    turned: u32,
}

impl Screens {
    /// Takes a screen; `moving` = something was printed just before. Tells what is found.
    pub(super) fn seen(
        &mut self,
        at: Timestamp,
        lines: &[String],
        moving: bool,
    ) -> Option<(Cause, String)> {
        if !moving {
            // Nothing is printed, so nothing turns.
            *self = Self::default();
            return None;
        }
        let whole = hash(lines.iter().map(String::as_str));
        let turned = std::mem::replace(&mut self.whole, whole) != whole;
        let bare: Vec<String> = lines.iter().map(|it| without_turning(it)).collect();
        let rest = hash(bare.iter().map(String::as_str));
        match self.seen.back().filter(|it| it.1 == rest) {
            Some((since, _)) => {
                self.turned = self.turned.saturating_add(u32::from(turned));
                let still_for = at.since(*since);
                if still_for >= SPINS_FOR && self.turned >= TURNED_MIN {
                    let minutes = count(still_for.as_secs() / 60, "minute");
                    let words =
                        "a sign turns on its screen, and nothing else has changed there for";
                    return Some((Cause::Spins, format!("{words} {minutes}")));
                }
            }
            None => {
                self.turned = 0;
                self.seen.push_back((at, rest));
                if self.seen.len() > SCREENS_SEEN_MAX {
                    self.seen.pop_front();
                }
            }
        }
        let (period, lasted) = self.period()?;
        let seconds = lasted.as_secs();
        let words = format!("the same {period} screens come in turn, for {seconds} s by now");
        Some((Cause::Loops, words))
    }

    /// How many screens come in turn, and for how long they have.
    fn period(&self) -> Option<(usize, Duration)> {
        let seen: Vec<_> = self.seen.iter().rev().collect();
        for period in 2..=PERIOD_MAX {
            let same = |at: &usize| {
                seen.get(*at + period)
                    .is_some_and(|it| seen.get(*at).is_some_and(|now| it.1 == now.1))
            };
            let run = (0..seen.len()).take_while(same).count();
            if run < period * (TURNS - 1) {
                continue;
            }
            let (newest, oldest) = (seen.first()?, seen.get(run + period - 1)?);
            let lasted = newest.0.since(oldest.0);
            if lasted >= SCREENS_LOOP_FOR {
                return Some((period, lasted));
            }
        }
        None
    }
}

/// A line without a sign that turns and without how long it has: what is left moves only when something goes on.
fn without_turning(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut number = String::new();
    for it in line.chars() {
        if it.is_ascii_digit() || (it == '.' && !number.is_empty()) {
            number.push(it);
            continue;
        }
        // Seconds, minutes and hours go by themselves; counts of anything else do not.
        let is_time = !number.is_empty() && matches!(it, 's' | 'm' | 'h' | ':');
        if !is_time {
            out.push_str(&number);
        }
        number.clear();
        if !is_spinner(it)
            && !matches!(it, '|' | '/' | '-' | '\\' | '·' | '✢' | '✳' | '✶' | '✻' | '✽' | '*')
        {
            out.push(it);
        }
    }
    out.push_str(&number);
    out
}

fn hash<'a>(lines: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    lines.for_each(|it| it.hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(text: &str) -> Vec<String> {
        vec!["$ run".to_owned(), text.to_owned()]
    }

    #[test]
    fn screens_that_come_in_turn_for_long_are_a_loop_and_others_are_none() {
        let round = ["retry 1", "failed", "waits"];
        let mut screens = Screens::default();
        let mut found = None;
        for second in 0..200_i64 {
            let text = round[usize::try_from(second).unwrap() % 3];
            found = screens.seen(Timestamp(second * 1000), &screen(text), true);
            let long = Duration::from_secs(second.unsigned_abs()) >= SCREENS_LOOP_FOR;
            assert_eq!(found.is_some(), long, "{second}: {found:?}");
        }
        assert_eq!(found.unwrap().0, Cause::Loops);
        let mut screens = Screens::default();
        for second in 0..200_i64 {
            let text = format!("{second} of 9000 files");
            assert_eq!(screens.seen(Timestamp(second * 1000), &screen(&text), true), None);
        }
        assert_eq!(screens.seen(Timestamp(300_000), &screen("waits"), false), None);
    }

    #[test]
    fn a_sign_that_turns_while_all_else_stands_is_found_and_a_count_that_grows_is_not() {
        let at = |second: i64| Timestamp(second * 1000);
        let signs = ['⠋', '⠙', '⠹'];
        let long = i64::try_from(SPINS_FOR.as_secs()).unwrap();
        let of = |second: i64, tokens: i64| {
            let sign = signs[usize::try_from(second).unwrap() % 3];
            screen(&format!("{sign} Thinking… ({second}s · {tokens} tokens)"))
        };
        let mut screens = Screens::default();
        for second in 0..long {
            assert_eq!(screens.seen(at(second), &of(second, 12), true), None, "{second}");
        }
        let found = screens.seen(at(long), &of(long, 12), true);
        assert_eq!(found.unwrap().0, Cause::Spins);
        let mut screens = Screens::default();
        for second in 0..=2 * long {
            assert_eq!(screens.seen(at(second), &of(second, second), true), None, "{second}");
        }
    }

    #[test]
    fn the_same_call_again_and_again_is_told_and_another_one_ends_it() {
        let mut calls = Calls::default();
        for at in 1..CALLS_REPEATED {
            calls.push(Timestamp(0), "a", "Bash");
            assert_eq!(calls.repeated(), None, "{at}");
        }
        calls.push(Timestamp(0), "a", "Bash");
        assert_eq!(calls.repeated(), Some(("Bash", CALLS_REPEATED)));
        calls.push(Timestamp(0), "b", "Bash");
        assert_eq!(calls.repeated(), None);
    }
}
