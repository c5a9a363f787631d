//! sandwatch: a terminal workstation for supervising AI-agent sandboxes.
//!
//! Layers, lowest first; each names only those above it in this list (`tests/it/layers.rs`).
//! ARCHITECTURE.md says what each does and which invariants hold.
pub mod base;
pub mod model;
pub mod policy;
pub mod vt;
pub mod config;
pub mod driver;
pub mod gate;
pub mod session;
pub mod runtime;
pub mod wire;
pub mod engine;
pub mod client;
pub mod hub;
pub mod shim;
pub mod app;
pub mod ui;
pub mod tui;
pub mod cli;
