//! Layer `policy`: what can be told of a request without asking anybody. Pure.
pub mod risk;
