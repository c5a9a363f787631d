//! Layer `policy`: what can be told of a request, and what rules say of it, without asking anybody. Pure.
pub mod command;
pub mod details;
pub mod host;
pub mod http;
pub mod path;
pub mod propose;
pub mod risk;
pub mod rules;
pub mod sample;
pub mod runners;
pub mod shell;
