//! Layer `app`: pure state and updates of the console. No clock, no I/O, no terminal: the time
//! comes in with each message, work goes out as effects, and their results come back as messages.
pub mod action;
pub mod aim;
pub mod chord;
pub mod command;
pub mod copy;
pub mod dialog;
pub mod diff;
pub mod effect;
pub mod filter;
pub mod fleet;
pub mod grid;
pub mod help;
pub mod hints;
pub mod hunks;
pub mod keymap;
pub mod layout;
pub mod line;
pub mod lost;
pub mod msg;
pub mod notice;
pub mod palette;
pub mod pane;
mod row;
pub mod said;
pub mod snapshots;
mod sound;
mod staged;
pub mod state;
pub mod update;
pub mod view;
mod voice;
mod wake;

pub use effect::{Act, Effect, EffectId};
pub use msg::{Link, Moment, Msg, Setup};
pub use state::State;
pub use update::update;
