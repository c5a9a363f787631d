//! Layer `engine`: Runtime over drivers.
