//! The driver `openshell`: sandboxes that a gateway of OpenShell made and keeps. They are joined and not made: the hub of
//! such a context has what the gateway has, for as long as it has it. Everything is a call over gRPC, with a deadline of its
//! own, but for the terminal of a main program, which the operator's own `ssh` carries through such a call.

mod at;
mod dial;
mod draft;
mod drafts;
mod log;
mod main_terminal;
mod place;
mod remote;
mod replay;
mod roster;
mod shell;
mod tls;
mod tunnel;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

pub use self::{at::At, tunnel::hand_over};
use self::{dial::Client, roster::List};
use super::{Driver, Ground, Hosting, Place, Roster};
use crate::{
    base::fault::{Fault, Outcome},
    model::{
        capability::Capabilities,
        check::{Check, CheckStatus},
        sandbox::SandboxSpec,
    },
};

/// What `cargo run -p xtask -- proto` makes of proto/openshell; a test keeps it in step.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    rustdoc::all,
    reason = "generated code answers to its generator"
)]
pub mod generated {
    pub mod v1 {
        include!("generated/openshell.v1.rs");
    }
}

pub const NAME: &str = "openshell";

/// The adapter to one gateway.
pub struct OpenShell {
    client: Arc<Client>,
    roster: Mutex<Option<Box<dyn Roster>>>,
}

impl OpenShell {
    /// Inside a runtime; nothing is connected yet. `program` is what `ssh` is given to reach the gateway, ourselves.
    pub fn new(at: At, program: std::path::PathBuf, run: std::path::PathBuf) -> Outcome<Self> {
        let client = Arc::new(Client::new(at)?);
        let ways = tunnel::Ways { program, run };
        let roster: Box<dyn Roster> = Box::new(List::new(Arc::clone(&client), ways));
        Ok(Self { client, roster: Mutex::new(Some(roster)) })
    }
}

/// What can be done with a sandbox there. There are no calls for anything else.
pub const fn capabilities() -> Capabilities {
    Capabilities {
        pty: true,
        exec: true,
        pause: false,
        stop: true,
        start: true,
        reattach: true,
        image: false,
        workspace_cow: false,
        workspace_diff: false,
        workspace_apply: false,
        workspace_rw: false,
        snapshot: false,
        snapshot_memory: false,
        egress_deny: false,
        egress_ask: false,
        limits_cpu: false,
        limits_memory: false,
        limits_pids: false,
        gpu: false,
    }
}

#[async_trait]
impl Driver for OpenShell {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hosting(&self) -> Hosting {
        Hosting::Elsewhere
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    async fn probe(&self) -> Vec<Check> {
        let at = &self.client.at;
        let (status, detail, fix) = match roster::greet(&self.client).await {
            Ok(words) => (CheckStatus::Ok, words, None),
            Err(fault) => {
                (CheckStatus::Missing, fault.to_string(), fault.hint_text().map(str::to_owned))
            }
        };
        let mut checks =
            vec![Check { check: format!("openshell.{}", at.name), status, detail, fix }];
        checks.push(main_terminal::check().await);
        checks
    }

    async fn create(&self, _: &Ground, _: &SandboxSpec) -> Outcome<Arc<dyn Place>> {
        Err(Fault::unsupported("sandboxes of an OpenShell gateway are not made from here")
            .hint("openshell sandbox create; it is here as soon as it is there"))
    }

    /// What is there is the gateway's.
    async fn sweep(&self, _: &Ground) -> Outcome<()> {
        Ok(())
    }

    fn roster(&self) -> Option<Box<dyn Roster>> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
