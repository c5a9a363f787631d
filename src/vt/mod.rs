//! Layer `vt`: the only user of vt100. Screens, keyframes, key encoding by terminal mode, and the
//! side-parser that takes facts out of the output.
pub mod guard;
pub mod history;
pub mod key;
pub mod plain;
pub mod row;
pub mod screen;
pub mod touched;
pub mod view;

mod control;
mod csi;
mod extra;
mod flood;
mod front;
mod grid;
mod keyframe;
mod margins;
mod paint;
mod reflow;
mod reset;
mod scan;
mod sink;
mod state;
mod strings;

pub use plain::{Plain, plain};
pub use screen::Screen;
pub use view::View;
