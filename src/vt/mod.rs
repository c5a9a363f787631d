//! Layer `vt`: the only user of vt100. Screens, keyframes, key encoding by terminal mode, and the
//! side-parser that takes facts out of the output.
pub mod history;
pub mod key;
pub mod plain;
pub mod row;
pub mod screen;

pub use plain::{Plain, plain};
pub use screen::Screen;
