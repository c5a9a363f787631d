//! Layer `engine`: Runtime over drivers.
pub mod shim_link;
