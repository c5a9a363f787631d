//! Layer `tui`: the event loop, the terminal guard and the effect runner. Sees a hub only as `dyn Runtime`.
pub mod agents;
mod ahead;
pub mod arriving;
pub mod attach;
mod canvas;
pub mod console;
mod convert;
mod depth;
mod effects;
pub mod files;
mod jobs;
mod keyboard;
pub mod lane;
mod picture;
pub mod probe;
mod signals;
pub mod terminal;
mod watch;
