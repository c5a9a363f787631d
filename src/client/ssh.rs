//! The way by ssh: the operator's own program, with its configuration, keys, agent and known hosts, and
//! `sandwatch hub proxy` on the other side.

use super::way::{Opened, Opening};
use crate::{
    base::fault::{Fault, Outcome},
    config::{
        address::{Address, Host},
        contexts::ContextName,
    },
};

/// Somebody's hub on another machine.
#[derive(Clone, Debug)]
pub struct Ssh {
    context: ContextName,
    user: Option<String>,
    host: Host,
    port: Option<u16>,
}

impl Ssh {
    pub(super) fn new(
        context: &ContextName,
        user: Option<&str>,
        host: &Host,
        port: Option<u16>,
    ) -> Self {
        Self { context: context.clone(), user: user.map(str::to_owned), host: host.clone(), port }
    }

    pub(super) fn context(&self) -> &ContextName {
        &self.context
    }

    pub(super) fn address(&self) -> Address {
        Address::Ssh { user: self.user.clone(), host: self.host.clone(), port: self.port }
    }

    #[allow(clippy::unused_async, reason = "the way itself comes next")]
    pub(super) async fn open(&self, _: Opening) -> Outcome<Opened> {
        Err(Fault::unsupported(format!(
            "this build can't reach such a hub yet: {}",
            self.address()
        )))
    }
}
