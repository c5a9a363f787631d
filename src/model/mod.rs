//! Layer `model`: the plain facts everything else talks about. No I/O, no serde, no behaviour
//! beyond names and small derivations.
pub mod ask;
pub mod audit;
pub mod capability;
pub mod chain;
pub mod change;
pub mod check;
pub mod event;
pub mod hunk;
pub mod fact;
pub mod file;
pub mod foreign;
pub mod gauge;
pub mod history;
pub mod host;
pub mod output;
pub mod place;
pub mod process;
pub mod rule;
pub mod sandbox;
pub mod secret;
pub mod session;
pub mod snapshot;
pub mod replay;
pub mod status;
pub mod timeline;
pub mod traffic;
