//! Layer `base`: small total types that every layer shares. No I/O but the clock and random ids.
pub mod clock;
pub mod descriptors;
pub mod dumps;
pub mod fault;
pub mod id;
pub mod limits;
mod limits_files;
pub mod ring;
pub mod secret;
pub mod text;
pub mod units;
