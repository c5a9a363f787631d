//! Layer `app`: pure state and updates of the console. No clock, no I/O, no terminal: the time
//! comes in with each message, work goes out as effects, and their results come back as messages.
pub mod action;
pub mod chord;
pub mod command;
pub mod effect;
pub mod keymap;
pub mod msg;
pub mod state;
pub mod update;

pub use effect::{Act, Effect, EffectId};
pub use msg::{Link, Moment, Msg, Setup};
pub use state::State;
pub use update::update;
