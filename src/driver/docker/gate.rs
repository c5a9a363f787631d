//! The ways out of a container whose network asks. An engine gives it a network with nothing in it, and root, on the same
//! machine, opens them in there before its first program starts.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    sync::Arc,
};

use rustix::process::geteuid;

use super::{
    answer::Container,
    end::Seen,
    engine::{Engine, escaped},
};
use crate::{
    base::fault::{Fault, Outcome},
    driver::local::entered::{self, Entered},
    model::sandbox::{Egress, Isolation, SandboxSpec},
};

/// Whether what goes out is to be held.
pub fn is_wanted(spec: &SandboxSpec) -> bool {
    match spec.egress {
        Egress::Allow => false,
        Egress::Ask => true,
        Egress::Deny => !spec.allow.is_empty(),
    }
}

/// Opens them; why not, where that can't be done here. Where something hangs on it that was asked for, that is a fault.
pub async fn open(
    engine: &Arc<Engine>,
    id: &str,
    spec: &SandboxSpec,
) -> Outcome<Result<Entered, String>> {
    let opened = match why_not(engine, spec) {
        Some(why) => Err(why.to_owned()),
        None => entered(engine, id).await?,
    };
    match (opened, needed_for(spec)) {
        (Err(why), Some(what)) => {
            Err(Fault::unsupported(format!("{what}: {why}")).hint("--driver local can"))
        }
        (opened, _) => Ok(opened),
    }
}

/// What can't be had without them.
fn needed_for(spec: &SandboxSpec) -> Option<&'static str> {
    if !spec.allow.is_empty() {
        return Some("--allow");
    }
    (!spec.secrets.is_empty()).then_some("--secret")
}

fn why_not(engine: &Engine, spec: &SandboxSpec) -> Option<&'static str> {
    if spec.isolation == Some(Isolation::Gvisor) {
        return Some("gVisor has a network of its own, which nobody else can hold");
    }
    if !engine.address.is_here() {
        return Some("the docker engine is on another machine");
    }
    (!geteuid().is_root()).then_some("holding what a container sends takes root")
}

async fn entered(engine: &Arc<Engine>, id: &str) -> Outcome<Result<Entered, String>> {
    let container: Container = engine.get(&format!("/containers/{}/json", escaped(id))).await?;
    let (pid, id) = (container.state.pid, id.to_owned());
    let opening = tokio::task::spawn_blocking(move || {
        let elsewhere = || Ok(Err("the docker engine is in a machine of its own".to_owned()));
        let network = |pid: &str| format!("/proc/{pid}/ns/net");
        let Some(seen) = Seen::look(pid, &id) else { return elsewhere() };
        let Ok(opened) = File::open(network(&pid.to_string())) else { return elsewhere() };
        // Until here it was that very process, and so is its network.
        let still = Seen::look(pid, &id) == Some(seen);
        let inside = fs::read_link(network(&pid.to_string())).ok();
        if !still || inside.is_none() || inside == fs::read_link(network("self")).ok() {
            return elsewhere();
        }
        entered::open(opened.as_fd(), pid)
    });
    opening.await.map_err(|error| Fault::bug(format!("opening a way out: {error}")))?
}
