//! The keyboard of a session: whether it is ours, and who has it else.

use crate::{
    app::lost::Hole,
    base::{clock::Timestamp, id::SessionId},
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
    pub ahead: Vec<u8>,
    /// Something typed was lost a moment ago.
    pub hole: Option<Hole>,
}

/// Who holds a keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    Nobody,
    Me,
    Other(&'a str),
}
