//! Layer `session`: the host of one sandbox's sessions, in a shim or in the hub.
pub mod house;
pub mod journal;
pub mod seat;

pub mod agents;
pub mod asks;
mod drain;
mod exec;
mod feed;
mod handed;
mod host;
mod input;
mod marks;
pub mod status;
pub mod unfold;
mod watch;
