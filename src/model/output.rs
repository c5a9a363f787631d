//! What a watcher of a session receives.

use bytes::Bytes;

use super::{fact::Fact, session::ExitStatus};
use crate::base::units::Size;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With a keyframe of the screen as it is now.
    Now,
    /// With the oldest byte still journalled.
    Start,
    /// With this byte; a keyframe when it is gone.
    Offset(u64),
}

/// What a subscriber needs when it can't keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fidelity {
    /// The newest screen: skipped bytes are replaced by a keyframe and counted.
    Screen,
    /// Every byte, from the journal if need be; the subscriber is slow, nobody else is.
    Full,
}

/// How to watch a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputRequest {
    pub from: From,
    pub fidelity: Fidelity,
    /// Shortest time between two messages that carry output; `None` = as it comes. For thumbnails.
    pub every_at_least: Option<std::time::Duration>,
}

/// One message of a subscription, in the order of `offset`. A keyframe at o followed by the chunks
/// from o gives the same cells, cursor and modes as all bytes from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes as the program printed them; the first has this offset. At most 32 KiB.
    Chunk { offset: u64, bytes: Bytes },
    /// A whole screen: `vt::Screen::from_keyframe(size, state)`. `lost` bytes before it were not
    /// and will not be sent, though asked for: 0 for the first message of one that begins now.
    Keyframe { offset: u64, size: Size, state: Bytes, lost: u64 },
    /// From this offset on the screen has another size.
    Resize { offset: u64, size: Size },
    /// Something the program said about itself just before this offset.
    Fact { offset: u64, fact: Fact },
    /// The program ended; nothing follows.
    Exit { offset: u64, status: ExitStatus },
}
