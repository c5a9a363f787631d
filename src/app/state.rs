//! Everything the console knows.

use std::time::Duration;

use super::msg::Setup;

/// The whole state; only `update` changes it, `ui::draw` only reads it.
pub struct State {
    pub setup: Setup,
    dirty: bool,
}

impl State {
    pub fn new(setup: Setup) -> Self {
        Self { setup, dirty: true }
    }

    /// Whether the picture may have changed since the last time this was asked.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// When `Msg::Tick` is next wanted, on the clock of `Moment::since_start`; `None` = not until
    /// something else happens.
    pub fn wake_at(&self) -> Option<Duration> {
        None
    }
}
