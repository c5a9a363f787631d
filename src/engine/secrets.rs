//! Values of secrets: in the memory of this hub as long as it and their sandbox live, and in the sandbox's host. A hub
//! that comes later has none, and says so when it needs them.

use std::sync::Arc;

use super::{Inner, fleet::Entry};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::{SandboxId, random_bytes},
        limits::SECRETS_MAX,
    },
    model::{
        sandbox::{Egress, Sandbox, SandboxSpec, State},
        secret::{Given, SecretUse, good, lacking, misplaced, placeholder},
    },
};

const VARIABLES: &str = "--secret NAME takes its value from your environment";

/// Refuses secrets that could not do what they are for.
pub(super) fn check(spec: &SandboxSpec) -> Outcome<()> {
    let Some(first) = spec.secrets.first() else { return Ok(()) };
    let name = &first.name;
    if spec.secrets.len() > SECRETS_MAX {
        return Err(Fault::invalid(format!("more than {SECRETS_MAX} secrets")));
    }
    match spec.egress {
        Egress::Allow => {
            return Err(Fault::invalid(format!(
                "--secret {name}: --egress allow lets all out unseen, and nobody could put it in"
            ))
            .hint("--egress ask, or --egress deny with --allow HOST"));
        }
        Egress::Deny if spec.allow.is_empty() => {
            return Err(Fault::invalid(format!("--secret {name}: --egress deny lets nothing out"))
                .hint(format!("--allow {}, or --egress ask", first.place())));
        }
        Egress::Ask | Egress::Deny => {}
    }
    if let Some(it) = spec.secrets.iter().find(|it| cfg!(not(feature = "tls")) && it.opens_tls()) {
        let words = format!(
            "--secret {name}: this sandwatch was built without TLS, and {} speaks it",
            it.place()
        );
        return Err(Fault::unsupported(words).hint("build it with the feature `tls`"));
    }
    let twice = spec.secrets.iter().find(|it| spec.env.iter().any(|(key, _)| *key == it.name));
    if let Some(it) = twice {
        let words = format!("--env and --secret both give {}", it.name);
        return Err(Fault::invalid(words).hint("what --env gives, the sandbox sees"));
    }
    good(&spec.given)?;
    if let Some(name) = misplaced(&spec.secrets, &spec.given) {
        let words = format!("--secret {name}: a host is named as the value is");
        return Err(Fault::invalid(words).hint(VARIABLES));
    }
    match lacking(&spec.secrets, &spec.given).first() {
        Some(name) => {
            Err(Fault::invalid(format!("--secret {name}: no value was given")).hint(VARIABLES))
        }
        None => Ok(()),
    }
}

/// Makes the placeholders that are not there yet.
pub(super) fn prepare(uses: &mut [SecretUse]) {
    for at in 0..uses.len() {
        let (before, rest) = uses.split_at_mut(at);
        let Some(it) = rest.first_mut().filter(|it| it.placeholder.is_empty()) else { continue };
        let same = before.iter().find(|other| other.name == it.name);
        it.placeholder =
            same.map_or_else(|| placeholder(random_bytes()), |it| it.placeholder.clone());
    }
}

impl Entry {
    /// Takes values over those that are there.
    fn keep(&mut self, given: Vec<Given>) {
        self.given.retain(|it| !given.iter().any(|other| other.name == it.name));
        self.given.extend(given);
    }
}

impl Inner {
    /// Takes values of a sandbox's secrets, and gives them to its host if that lives.
    pub(super) async fn give(self: &Arc<Self>, id: &SandboxId, given: Vec<Given>) -> Outcome<()> {
        let verbs = self.verbs(id)?;
        let _held = verbs.lock().await;
        good(&given)?;
        let (sandbox, seat) = self.look(id)?;
        let all = {
            let mut fleet = self.fleet();
            let entry = fleet.get_mut(id)?;
            let has = |it: &Given| entry.spec.secrets.iter().any(|one| one.name == it.name);
            if let Some(it) = given.iter().find(|it| !has(it)) {
                let words = format!("sandbox {} has no secret {}", sandbox.name, it.name);
                return Err(Fault::invalid(words)
                    .hint("secrets are named when a sandbox is made: sandwatch run --secret"));
            }
            entry.keep(given);
            entry.given.clone()
        };
        match seat.filter(|_| matches!(sandbox.state, State::Running | State::Paused)) {
            Some(seat) => seat.give(all).await,
            None => Ok(()),
        }
    }

    /// The value of each secret of a sandbox; or which are not known here, and what to do.
    pub(super) fn values(&self, id: &SandboxId) -> Outcome<Vec<Given>> {
        let fleet = self.fleet();
        let Entry { sandbox, spec, given, .. } = fleet.get(id)?;
        known(spec, given).map(|()| given.clone()).map_err(|names| {
            let Sandbox { name, .. } = &**sandbox;
            let again = names.iter().map(|it| format!(" --secret {it}")).collect::<String>();
            unknown(name, &names).hint(format!("give them again: sandwatch restore {name}{again}"))
        })
    }

    /// The values that a fork begins with: those given for it, else those of its origin.
    pub(super) fn values_after(
        &self,
        origin: &SandboxId,
        spec: &SandboxSpec,
        mut given: Vec<Given>,
    ) -> Outcome<Vec<Given>> {
        let has = |it: &Given| spec.secrets.iter().any(|one| one.name == it.name);
        if let Some(it) = given.iter().find(|it| !has(it)) {
            return Err(Fault::invalid(format!("what is forked has no secret {}", it.name)));
        }
        if let Ok(entry) = self.fleet().get(origin) {
            let more = entry.given.iter().filter(|it| !given.iter().any(|one| one.name == it.name));
            let more: Vec<Given> = more.filter(|it| has(it)).cloned().collect();
            given.extend(more);
        }
        known(spec, &given).map_err(|names| {
            let again = names.iter().map(|it| format!(" --secret {it}")).collect::<String>();
            let name = spec.name.clone().unwrap_or_default();
            unknown(&name, &names).hint(format!("give them again: sandwatch fork ...{again}"))
        })?;
        Ok(given)
    }
}

fn known(spec: &SandboxSpec, given: &[Given]) -> Result<(), Vec<String>> {
    let names: Vec<String> = lacking(&spec.secrets, given).into_iter().map(Into::into).collect();
    if names.is_empty() { Ok(()) } else { Err(names) }
}

fn unknown(sandbox: &str, names: &[String]) -> Fault {
    Fault::failed(format!(
        "the values of {sandbox}'s secrets are kept nowhere, and this hub was not told them: {}",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_has_one_placeholder_and_one_that_is_there_stays() {
        let texts = ["K=a.example", "L=a.example", "K=b.example"];
        let mut uses = texts.map(|it| SecretUse::parse(it).unwrap());
        prepare(&mut uses);
        let made: Vec<String> = uses.iter().map(|it| it.placeholder.clone()).collect();
        assert!(made[0] == made[2] && made[0] != made[1] && !made[1].is_empty());
        prepare(&mut uses);
        assert_eq!(uses.iter().map(|it| it.placeholder.clone()).collect::<Vec<_>>(), made);
    }
}
