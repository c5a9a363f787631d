//! What was typed and has not been echoed yet, drawn at once where the way to the hub is long. It is shown only where the
//! program was seen to echo, in the row in which it did, and goes away when it is confirmed, wrong, or too old.

use std::{collections::VecDeque, time::Duration};

use crate::{base::limits::PREDICTED_MAX, vt::screen::Screen};

/// A guess that nothing confirmed for so long was wrong.
pub const WITHDRAWN_AFTER: Duration = Duration::from_secs(1);

/// Signs that prompts echo in place of what is typed. Typed themselves, they tell nothing of whether a prompt echoes.
const MASKS: &[char] = &[
    '*', '#', '·', '•', '‣', '∙', '⋅', '∗', '●', '○', '◌', '◎', '◉', '◦', '⚫', '⬤', '⦁', '■', '□',
    '▪', '▫', '◆', '◇', '★', '☆', '✱', '✲', '⁎', '█', '▒', '░',
];

/// What was typed, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// One character that takes one cell, and is no sign that masks others.
    Letter(char),
    /// Anything else: nobody knows what it does.
    Other,
}

impl Typed {
    /// Reads what goes to the program.
    pub fn of(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let mut letters = text.chars();
        match (letters.next(), letters.next()) {
            (Some(it), None)
                if !it.is_control()
                    && !MASKS.contains(&it)
                    && crate::base::text::width(text) == 1 =>
            {
                Self::Letter(it)
            }
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guess {
    col: u16,
    letter: char,
    at: Duration,
}

/// Guesses for the session that is typed into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predicted {
    /// Of one row, one behind the other.
    guesses: VecDeque<Guess>,
    row: u16,
    /// Where the cursor is to be when all that was typed is echoed; `None` = it is not known.
    expected: Option<(u16, u16)>,
    /// An echo was seen in this row since the cursor last went anywhere else.
    trusted: bool,
}

impl Predicted {
    /// All of it was wrong, or means nothing any more.
    pub fn withdraw(&mut self) {
        *self = Self::default();
    }

    /// Something was typed; whether what is drawn is another for it.
    pub fn typed(&mut self, typed: Typed, screen: &Screen, now: Duration) -> bool {
        let Typed::Letter(letter) = typed else {
            let shown = self.is_shown();
            self.withdraw();
            return shown;
        };
        let Some(place) = self.next_place(screen) else {
            let shown = self.is_shown();
            self.withdraw();
            return shown;
        };
        if self.expected.is_some_and(|it| it != place) || self.row != place.0 {
            self.withdraw();
        }
        (self.row, self.expected) = (place.0, Some((place.0, place.1 + 1)));
        self.guesses.push_back(Guess { col: place.1, letter, at: now });
        self.trusted
    }

    /// Where the next letter would be; `None` = nobody can tell.
    fn next_place(&self, screen: &Screen) -> Option<(u16, u16)> {
        let cursor = screen.cursor().filter(|_| !screen.modes().alternate_screen)?;
        let place = match self.guesses.back() {
            Some(last) => (self.row, last.col + 1),
            None => cursor,
        };
        // At the end of a row lines are broken by many rules; in the midst of one what follows moves.
        let fits = place.1 + 1 < screen.size().cols() && self.guesses.len() < PREDICTED_MAX;
        (fits && is_blank_from(screen, cursor.max(place))).then_some(place)
    }

    /// The program printed; whether what is drawn is another for it.
    pub fn heard(&mut self, screen: &Screen) -> bool {
        let before = (self.is_shown(), self.guesses.len());
        let cursor = screen.cursor().filter(|_| !screen.modes().alternate_screen);
        let Some((row, col)) = cursor.filter(|it| it.0 == self.row) else {
            self.withdraw();
            return before.0;
        };
        while let Some(first) = self.guesses.front().copied() {
            if col <= first.col {
                break;
            }
            let letter = screen.cell(row, first.col).map(|it| it.text.to_owned());
            if letter.as_deref() != Some(first.letter.encode_utf8(&mut [0; 4])) {
                self.withdraw();
                return before.0;
            }
            self.guesses.pop_front();
            self.trusted = true;
        }
        // Beyond all that was typed, or before it: it went there by itself.
        let from = self.guesses.front().map(|it| it.col);
        let strays = match (from, self.expected) {
            (Some(from), _) => col != from,
            (None, Some(expected)) => (row, col) != expected,
            (None, None) => false,
        };
        if strays {
            self.withdraw();
        }
        before != (self.is_shown(), self.guesses.len()) && (before.0 || self.is_shown())
    }

    /// Takes back what nothing confirmed in time; whether anything of it was drawn.
    pub fn settle(&mut self, now: Duration) -> bool {
        let late = self.until().is_some_and(|it| now >= it);
        let shown = self.is_shown();
        if late {
            self.withdraw();
        }
        late && shown
    }

    /// When that is.
    pub fn until(&self) -> Option<Duration> {
        self.guesses.front().map(|it| it.at + WITHDRAWN_AFTER)
    }

    fn is_shown(&self) -> bool {
        self.trusted && !self.guesses.is_empty()
    }

    /// What is drawn over the screen: letters with their places.
    pub fn shown(&self) -> impl Iterator<Item = (u16, u16, char)> {
        let guesses = self.guesses.iter().filter(|_| self.trusted);
        guesses.map(|it| (self.row, it.col, it.letter))
    }

    /// Where the cursor is drawn meanwhile.
    pub fn cursor(&self) -> Option<(u16, u16)> {
        self.expected.filter(|_| self.is_shown())
    }
}

/// Whether nothing stands in a row from a place on.
fn is_blank_from(screen: &Screen, (row, col): (u16, u16)) -> bool {
    let blank = |col| screen.cell(row, col).is_none_or(|it| it.text.trim().is_empty());
    (col..screen.size().cols()).all(blank)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::units::Size;

    struct Pane {
        screen: Screen,
        it: Predicted,
        now: Duration,
    }

    impl Pane {
        fn new() -> Self {
            let screen = Screen::new(Size::clamped(20, 4));
            Self { screen, it: Predicted::default(), now: Duration::ZERO }
        }

        fn types(&mut self, text: &str) {
            for letter in text.chars() {
                let typed = Typed::of(letter.encode_utf8(&mut [0; 4]).as_bytes());
                self.it.typed(typed, &self.screen, self.now);
            }
        }

        fn prints(&mut self, text: &str) {
            self.screen.feed(text.as_bytes());
            self.it.heard(&self.screen);
        }

        fn shown(&self) -> String {
            self.it.shown().map(|it| it.2).collect()
        }
    }

    #[test]
    fn nothing_is_shown_before_an_echo_was_seen_in_the_row() {
        let mut pane = Pane::new();
        pane.prints("$ ");
        pane.types("l");
        assert_eq!(pane.shown(), "");
        pane.prints("l");
        pane.types("s -");
        assert_eq!(pane.shown(), "s -");
        assert_eq!(pane.it.cursor(), Some((0, 6)));
        pane.prints("s");
        assert_eq!(pane.shown(), " -");
        pane.prints(" -");
        assert_eq!((pane.shown(), pane.it.cursor()), (String::new(), None));
    }

    #[test]
    fn a_password_is_never_shown() {
        let mut pane = Pane::new();
        pane.prints("$ ");
        pane.types("s");
        pane.prints("s");
        pane.types("udo\r");
        assert_eq!(pane.shown(), "");
        pane.prints("udo\r\nPassword: ");
        pane.types("secret");
        assert_eq!(pane.shown(), "");
        // Stars are no echo.
        pane.prints("*");
        pane.types("more");
        assert_eq!(pane.shown(), "");
    }

    #[test]
    fn a_password_with_the_sign_that_masks_it_is_never_shown() {
        for mask in MASKS {
            let mut pane = Pane::new();
            pane.prints("Password: ");
            for letter in ["h", "u", "n", &mask.to_string(), "t", "e", "r"] {
                pane.types(letter);
                assert_eq!(pane.shown(), "", "{mask}");
                pane.prints(&mask.to_string());
            }
            // Two that are on their way together.
            pane.types(&format!("{mask}x"));
            pane.prints(&mask.to_string());
            assert_eq!(pane.shown(), "", "{mask}");
            pane.prints(&mask.to_string());
            pane.types("y");
            assert_eq!(pane.shown(), "", "{mask}");
        }
    }

    #[test]
    fn a_prompt_behind_what_was_typed_ends_the_trust() {
        let mut pane = Pane::new();
        pane.prints("go on? ");
        pane.types("y");
        pane.prints("y");
        pane.prints(" key: ");
        pane.types("secret");
        assert_eq!(pane.shown(), "");
    }

    #[test]
    fn what_is_wrong_goes_at_once_and_what_is_not_confirmed_in_time() {
        let mut pane = Pane::new();
        pane.prints("$ ");
        pane.types("a");
        pane.prints("a");
        pane.types("bc");
        assert_eq!(pane.shown(), "bc");
        pane.prints("X");
        assert_eq!(pane.shown(), "");
        pane.types("d");
        assert_eq!(pane.shown(), "");
        let mut pane = Pane::new();
        pane.types("a");
        pane.prints("a");
        pane.types("b");
        assert_eq!(pane.shown(), "b");
        pane.now = WITHDRAWN_AFTER;
        assert!(pane.it.settle(pane.now));
        assert_eq!(pane.shown(), "");
        pane.types("c");
        assert_eq!(pane.shown(), "", "nothing was confirmed since");
    }

    #[test]
    fn keys_that_move_and_screens_that_are_painted_are_not_guessed() {
        for key in ["\r", "\x1b[A", "\x7f", "\t", "\x03", "\u{4e2d}", "ab", ""] {
            assert_eq!(Typed::of(key.as_bytes()), Typed::Other, "{key:?}");
        }
        assert_eq!(Typed::of("\u{e9}".as_bytes()), Typed::Letter('\u{e9}'));
        let mut pane = Pane::new();
        pane.prints("\x1b[?1049h");
        pane.types("a");
        pane.prints("a");
        pane.types("b");
        assert_eq!(pane.shown(), "");
        // In the midst of a line what follows would move.
        let mut pane = Pane::new();
        pane.prints("abcdef\x1b[3D");
        pane.types("x");
        pane.prints("x");
        pane.types("y");
        assert_eq!(pane.shown(), "");
        // Nor is it known where a line breaks.
        let mut pane = Pane::new();
        pane.prints("0123456789012345");
        pane.types("a");
        pane.prints("a");
        pane.types("bcdef");
        assert_eq!(pane.shown(), "");
        assert!(pane.it.cursor().is_none());
    }

    proptest! {
        #[test]
        fn what_is_shown_was_typed_and_stands_in_the_screen(
            steps in proptest::collection::vec((any::<bool>(), "[ -~\\r\\n\\x08\\x1b]{0,4}"), 0..40),
        ) {
            let mut pane = Pane::new();
            for (types, text) in steps {
                if types { pane.types(&text) } else { pane.prints(&text) }
                let cols = pane.screen.size().cols();
                for (row, col, letter) in pane.it.shown() {
                    prop_assert!(row < pane.screen.size().rows() && col < cols);
                    prop_assert!(!letter.is_control());
                }
                prop_assert!(pane.it.shown().count() <= PREDICTED_MAX);
            }
        }

        #[test]
        fn where_nothing_is_echoed_nothing_is_ever_shown(
            typed in "[a-z]{0,30}", prompt in "[A-Z: ]{0,8}",
        ) {
            let mut pane = Pane::new();
            pane.prints(&prompt);
            for letter in typed.chars() {
                pane.types(letter.encode_utf8(&mut [0; 4]));
                pane.prints("");
                prop_assert_eq!(pane.shown(), "");
            }
        }
    }
}
