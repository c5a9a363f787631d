//! What `context add` is given: the address of a hub, or an invitation to one, which is taken up here.

use super::https;
use crate::{
    base::fault::{Fault, Outcome},
    config::{
        address::{Address, FORMS},
        contexts::ContextName,
        oidc::TokenFiles,
        paths::Paths,
        team::TeamFiles,
    },
    model::invite::InviteText,
};

/// What an invitation begins with, in any spelling: whoever has one is told what is wrong with it as with an invitation.
const INVITATION: &str = "sandwatch-invite";

/// Finds the address of a hub that a team's own authority speaks for, and tries the files.
pub fn of_team(given: &str, files: &TeamFiles) -> Outcome<Address> {
    let address: Address = given.parse().map_err(Fault::invalid)?;
    let Address::Https { host, .. } = &address else {
        return Err(Fault::invalid(format!(
            "files of a team are for https://HOST:PORT: {address}"
        ))
        .hint("leave --ca, --certificate and --key out"));
    };
    https::try_team(files, host)?;
    Ok(address)
}

/// Finds the address of a hub that takes tokens, and tries what is known of both.
pub async fn of_token(given: &str, files: &TokenFiles) -> Outcome<Address> {
    let address: Address = given.parse().map_err(Fault::invalid)?;
    let Address::Https { host, .. } = &address else {
        return Err(Fault::invalid(format!("tokens are for https://HOST:PORT: {address}"))
            .hint("leave --ca and --token-file or --token-command out"));
    };
    https::try_token(files, host).await?;
    Ok(address)
}

/// Finds the address in what was given. An invitation is taken up first: what it gives in keys and certificates goes into
/// the directory of the context, `Paths::prepare_context`.
pub async fn enrol(paths: &Paths, name: &ContextName, given: &str) -> Outcome<Address> {
    if given.trim_start().starts_with(INVITATION) {
        let invite = InviteText::parse(given)?;
        return https::enrol(|| paths.prepare_context(name), &invite).await;
    }
    given.parse().map_err(|why: String| {
        Fault::invalid(why)
            .hint(format!("an address is {FORMS}, or what sandwatch hub invite printed"))
    })
}
