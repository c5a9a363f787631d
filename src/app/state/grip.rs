//! The keyboard of a session: whether it is ours, and who has it else.

use std::collections::VecDeque;

use crate::{
    app::{lost::Hole, predict::Predicted},
    base::{
        clock::Timestamp,
        id::SessionId,
        limits::{INPUT_BYTES_MAX, TYPED_BYTES_MAX},
    },
};

/// How the keyboard of a session is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Asked,
    Held,
    /// It went back by itself; the next key asks again.
    Lapsed,
    /// The hub can't be reached, or has not said yet that it is still ours: keys are refused.
    Cut,
}

/// The session that is typed into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grip {
    pub session: SessionId,
    pub hold: Hold,
    /// Since when it is ours by the hub's clock; what the feed tells of before that is old.
    pub since: Option<Timestamp>,
    /// Typed before the keyboard was ours or faster than it is taken; sent when it can be, dropped
    /// aloud when it can't.
    pub ahead: Ahead,
    /// Something typed was lost a moment ago.
    pub hole: Option<Hole>,
    /// What was typed and is drawn before it is echoed.
    pub predicted: Predicted,
}

/// What is typed and waits, in pieces that go whole: what was put in at once is never parted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    pieces: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Ahead {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Takes all of it behind the rest, or none; says which.
    pub fn push(&mut self, mut piece: Vec<u8>) -> bool {
        if self.bytes + piece.len() > TYPED_BYTES_MAX {
            return false;
        }
        self.bytes += piece.len();
        match self.pieces.back_mut() {
            Some(last) if last.len() + piece.len() <= INPUT_BYTES_MAX => last.append(&mut piece),
            _ => self.pieces.push_back(piece),
        }
        true
    }

    /// The piece that goes next.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Who holds a keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    Nobody,
    Me,
    Other(&'a str),
}
