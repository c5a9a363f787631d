//! Answers of a terminal that come after they were waited for, as on a slow line: they would be taken for keys, and do
//! something. Only who was asked and has not answered yet may be late.

use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

/// For so long after it was asked.
const WITHIN: Duration = Duration::from_secs(20);
/// An answer is written at once: what comes later than that after its beginning is no part of it.
const WHOLE_WITHIN: Duration = Duration::from_millis(250);

/// Tells keys from such answers.
#[derive(Debug, Default)]
pub struct Late {
    until: Duration,
    /// Within an answer, until then.
    inside: Option<Duration>,
}

impl Late {
    /// Something that was asked by now is not answered yet.
    pub fn after(now: Duration) -> Self {
        Self { until: now + WITHIN, inside: None }
    }

    /// Whether it is a part of an answer. Those that are CSI sequences are known as no keys by who reads them.
    pub fn has(&mut self, event: &Event, now: Duration) -> bool {
        let Event::Key(key) = event else { return false };
        match self.inside.filter(|until| now < *until) {
            Some(_) if is_end(key) => self.inside = None,
            Some(_) => {}
            None => {
                self.inside = (now < self.until && is_begin(key)).then_some(now + WHOLE_WITHIN);
                return self.inside.is_some();
            }
        }
        true
    }
}

/// ESC and the first letter of OSC or APC are read as that letter with Alt.
fn is_begin(key: &KeyEvent) -> bool {
    key.modifiers == KeyModifiers::ALT && matches!(key.code, KeyCode::Char(']' | '_'))
}

/// ST, or BEL.
fn is_end(key: &KeyEvent) -> bool {
    let all = [(KeyModifiers::ALT, '\\'), (KeyModifiers::CONTROL, 'g')];
    all.into_iter().any(|(held, letter)| key.modifiers == held && key.code == KeyCode::Char(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(of: &str) -> Vec<Event> {
        let plain = |it| KeyEvent::new(KeyCode::Char(it), KeyModifiers::NONE);
        of.chars().map(|it| Event::Key(plain(it))).collect()
    }

    fn held(modifiers: KeyModifiers, letter: char) -> Event {
        Event::Key(KeyEvent::new(KeyCode::Char(letter), modifiers))
    }

    /// What is left as keys, each a millisecond after the one before.
    fn left(late: &mut Late, events: Vec<Event>, from: Duration) -> Vec<Event> {
        let ms = |it: usize| from + Duration::from_millis(it as u64);
        let all = events.into_iter().enumerate();
        all.filter(|(at, it)| !late.has(it, ms(*at))).map(|it| it.1).collect()
    }

    fn colour(end: Event) -> Vec<Event> {
        let begin = vec![held(KeyModifiers::ALT, ']')];
        [begin, letters("11;rgb:1a1a/1b1b/2626"), vec![end], letters("jk")].concat()
    }

    #[test]
    fn answers_that_are_late_are_no_keys_and_what_is_typed_around_them_is() {
        for end in [held(KeyModifiers::ALT, '\\'), held(KeyModifiers::CONTROL, 'g')] {
            let mut late = Late::after(Duration::ZERO);
            let events = [letters("x"), colour(end.clone()), colour(end)].concat();
            assert_eq!(left(&mut late, events, Duration::from_secs(1)), letters("xjkjk"));
        }
    }

    #[test]
    fn who_owes_no_answer_types_what_it_likes() {
        let events = colour(held(KeyModifiers::ALT, '\\'));
        let now = Duration::from_secs(30);
        assert_eq!(left(&mut Late::default(), events.clone(), now), events);
        assert_eq!(left(&mut Late::after(Duration::ZERO), events.clone(), now), events);
    }

    #[test]
    fn a_key_that_looks_like_the_beginning_of_one_takes_nothing_along_that_is_typed() {
        let mut late = Late::after(Duration::ZERO);
        assert!(late.has(&held(KeyModifiers::ALT, ']'), Duration::from_secs(1)));
        assert_eq!(left(&mut late, letters("jk"), Duration::from_secs(2)), letters("jk"));
    }
}
