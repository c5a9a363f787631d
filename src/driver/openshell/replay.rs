//! Going on where a terminal was left: whoever attaches once more is sent what was printed before, up to a bound and with no
//! mark where it ends, and must print none of it twice.

use std::collections::VecDeque;

use memchr::memmem;

use crate::base::limits::{GATEWAY_REPLAY_BYTES_MAX, GATEWAY_REPLAY_MARK_BYTES};

/// Ends an escape sequence that was cut in two, and clears the screen: what comes is drawn on nothing.
const AFRESH: &[u8] = b"\x18\x1b[!p\x1b[0m\x1b[2J\x1b[H";

/// What was printed last.
#[derive(Debug)]
pub struct Tail {
    last: VecDeque<u8>,
    /// How much was printed from what a replay begins with on; `None` = it begins later, or that is not known.
    printed: Option<usize>,
    /// What came of a replay so far, while it is looked through; `None` = all that comes is new.
    looking: Option<Vec<u8>>,
}

impl Default for Tail {
    fn default() -> Self {
        Self { last: VecDeque::new(), printed: Some(0), looking: None }
    }
}

impl Tail {
    /// Somebody attached, and a replay begins.
    pub fn attached(&mut self) {
        self.looking = (!self.last.is_empty()).then(Vec::new);
    }

    /// Whether it is not known yet what is new.
    pub fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// Takes what came; gives what is to be printed.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(looking) = &mut self.looking else {
            let bytes = bytes.to_vec();
            self.keep(&bytes);
            return bytes;
        };
        looking.extend_from_slice(bytes);
        // One that has everything goes on after as much as was printed, however alike its lines are.
        let mark: &[u8] = self.last.make_contiguous();
        let known = |it: &usize| looking.get(..*it).is_some_and(|it| it.ends_with(mark));
        if let Some(known) = self.printed.filter(known) {
            let rest = looking.split_off(known);
            self.looking = None;
            self.keep(&rest);
            return rest;
        }
        match looking.len() > GATEWAY_REPLAY_BYTES_MAX {
            true => self.all(),
            false => Vec::new(),
        }
    }

    /// Nothing more comes for now: what was printed last is looked for in it from its end, for it may be there more than once,
    /// and what comes behind that is new. All of it is where it is not found. Where nothing came at all, it may still come.
    pub fn all(&mut self) -> Vec<u8> {
        if self.looking.as_ref().is_none_or(Vec::is_empty) {
            return Vec::new();
        }
        let mut looked = self.looking.take().unwrap_or_default();
        let mark = self.last.make_contiguous();
        if let Some(at) = memmem::rfind(&looked, mark) {
            let rest = looked.split_off(at + mark.len());
            self.printed = None;
            self.keep(&rest);
            return rest;
        }
        self.last.clear();
        self.printed = Some(0);
        self.keep(&looked);
        [AFRESH, &looked].concat()
    }

    fn keep(&mut self, bytes: &[u8]) {
        // Of more, a replay has no longer all.
        let printed = self.printed.map(|it| it + bytes.len());
        self.printed = printed.filter(|it| *it <= GATEWAY_REPLAY_BYTES_MAX);
        let from = bytes.len().saturating_sub(GATEWAY_REPLAY_MARK_BYTES);
        self.last.extend(bytes.get(from..).unwrap_or_default());
        let old = self.last.len().saturating_sub(GATEWAY_REPLAY_MARK_BYTES);
        self.last.drain(..old);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_never_seen_is_drawn_on_nothing() {
        let mut tail = Tail::default();
        tail.attached();
        assert_eq!(tail.take(b"one"), b"one");
        tail.attached();
        assert!(tail.is_looking());
        assert_eq!(tail.take(b"31mother"), b"");
        let all = tail.all();
        assert!(all.starts_with(AFRESH) && all.ends_with(b"31mother"));
        // Silence is no news, however long it lasts.
        tail.attached();
        assert_eq!(tail.all(), b"");
        assert!(tail.is_looking());
        // More of it than was there before is found behind that.
        assert_eq!(tail.take(b"one31mother!"), b"");
        assert_eq!(tail.all(), b"!");
    }

    #[test]
    fn alike_lines_of_which_the_first_are_gone_are_not_printed_again() {
        let lines = |count: usize| b"the same line\r\n".repeat(count);
        let mut tail = Tail::default();
        let all = lines(GATEWAY_REPLAY_BYTES_MAX / 10);
        assert_eq!(tail.take(&all), all);
        for _ in 0..3 {
            tail.attached();
            let from = all.len() - GATEWAY_REPLAY_BYTES_MAX;
            for piece in all[from..].chunks(1000) {
                assert_eq!(tail.take(piece), b"");
            }
            assert_eq!(tail.all(), b"");
            assert!(!tail.is_looking());
        }
        tail.attached();
        let again = [&all[all.len() - 5000..], b"another"].concat();
        assert_eq!((tail.take(&again), tail.all()), (Vec::new(), b"another".to_vec()));
    }

    #[test]
    fn no_more_is_kept_back_than_a_replay_has() {
        let mut tail = Tail::default();
        tail.take(b"mark");
        tail.attached();
        let mut printed = 0;
        for _ in 0..=GATEWAY_REPLAY_BYTES_MAX / 1000 {
            printed += tail.take(&[b'x'; 1000]).len();
        }
        assert!(printed > GATEWAY_REPLAY_BYTES_MAX && !tail.is_looking());
    }

    proptest! {
        #[test]
        fn nothing_is_printed_twice_and_nothing_is_lost(
            all in prop::collection::vec(any::<u8>(), 1..20_000),
            cuts in prop::collection::vec((0.0_f64..1.0, 1_usize..5000), 0..4),
            again_and_again in prop::option::of(1_usize..6000),
        ) {
            // Bytes that are like none before, as output with a count in it is; or the same over and over, as alike lines are.
            let all: Vec<u8> = all.iter().enumerate()
                .flat_map(|(at, it)| [*it, (at >> 8) as u8, at as u8]).collect();
            let all: Vec<u8> = match again_and_again {
                Some(period) => all.iter().take(period).cycle().take(all.len()).copied().collect(),
                None => all,
            };
            let (mut tail, mut printed, mut at) = (Tail::default(), Vec::new(), 0);
            tail.attached();
            for (far, piece) in cuts {
                let until = at + ((all.len() - at) as f64 * far) as usize;
                printed.extend(tail.take(&all[at..until]));
                at = until;
                tail.attached();
                for it in all[..at].chunks(piece) {
                    printed.extend(tail.take(it));
                }
            }
            printed.extend(tail.take(&all[at..]));
            printed.extend(tail.all());
            prop_assert_eq!(printed, all);
        }
    }
}
