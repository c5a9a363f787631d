//! Layer `policy`: what can be told of a request, and what rules say of it, without asking anybody. Pure.
pub mod risk;
pub mod rules;
pub mod shell;
