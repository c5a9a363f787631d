//! A session's output on disk, as segments that each open with a keyframe: scrollback, search and
//! recording all come from here. `dir` is always one session's directory, `root` holds them all.
//!
//! Everything here blocks on files: call it from `spawn_blocking` in a hub.
mod asciicast;
mod find;
mod history;
mod keep;
mod lock;
mod meta;
mod reader;
mod record;
mod replay;
mod segment;
mod writer;

pub use asciicast::export;
pub use find::find;
pub use history::{history, search};
pub use keep::{Pruned, prune, recordings, remove, remove_finished};
pub use meta::Meta;
pub use reader::Reader;
pub use record::Record;
pub use replay::replay;
pub use segment::Entry;
pub use writer::Writer;
