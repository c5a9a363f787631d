//! The hub's side of a shim: `Seat` over its socket.

use std::path::Path;

use crate::{
    base::fault::{Fault, Outcome},
    driver::Ground,
    model::sandbox::SandboxSpec,
    session::seat::Seat,
};

/// A connection to one living shim.
pub struct ShimLink;

impl ShimLink {
    /// Starts a shim (`program shim DIR`) for a sandbox and waits until the sandbox is made; the
    /// driver's own fault is returned when it could not be. `program`: normally
    /// `std::env::current_exe()`. `ground.dir` must exist; recordings go under `recordings`.
    pub async fn launch(
        program: &Path,
        ground: &Ground,
        recordings: &Path,
        spec: &SandboxSpec,
    ) -> Outcome<Box<dyn Seat>> {
        let _ = (program, recordings, spec);
        Err(Fault::unsupported(format!("starting a shim for {}", ground.name)))
    }

    /// Connects to the shim a hub before this one started; `Lost` when it is not alive, with the
    /// reason it left (its last words) in the message.
    pub async fn adopt(ground: &Ground) -> Outcome<Box<dyn Seat>> {
        Err(Fault::unsupported(format!("adopting the shim of {}", ground.name)))
    }
}
