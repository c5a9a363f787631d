//! Secrets: where they go, and apart from that their values.

use std::fmt;

use super::list;
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::SECRETS_MAX,
        secret::Secret,
        text::shown,
    },
    model::secret::{Given, SecretUse, Speech, good, is_name, is_one_name, is_placeholder},
    wire::v1,
};

enums! {
    speech_out, speech_in: Speech = SecretSpeech { Tls, Plain, Either, }
}

impl fmt::Debug for v1::GivenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenSecret").field("name", &self.name).finish_non_exhaustive()
    }
}

impl From<&SecretUse> for v1::SecretUse {
    fn from(it: &SecretUse) -> Self {
        Self {
            name: it.name.clone(),
            host: it.host.clone(),
            port: it.port.into(),
            speech: speech_out(it.speech).into(),
            placeholder: it.placeholder.clone(),
        }
    }
}

impl TryFrom<v1::SecretUse> for SecretUse {
    type Error = Fault;

    fn try_from(wire: v1::SecretUse) -> Outcome<Self> {
        let wrong = |what: &str| Fault::invalid(format!("secrets: {what}"));
        let v1::SecretUse { name, host, port, speech, placeholder } = wire;
        if !is_name(&name) {
            return Err(wrong("one is not named as a variable is"));
        }
        if !is_one_name(&host) {
            // It may be a value that was written in its place.
            return Err(wrong(&format!("{name} is for no host by its name")));
        }
        let port = u16::try_from(port).ok().filter(|it| *it > 0);
        let port = port.ok_or_else(|| wrong("not a port"))?;
        let speech = speech_in(speech).ok_or_else(|| wrong("no speech that is known here"))?;
        if !placeholder.is_empty() && !is_placeholder(&placeholder) {
            return Err(wrong("not a placeholder"));
        }
        Ok(Self { name, host, port, speech, placeholder })
    }
}

/// Takes where secrets go; the same name has the same placeholder.
pub(super) fn uses_in(wire: Vec<v1::SecretUse>) -> Outcome<Vec<SecretUse>> {
    let uses: Vec<SecretUse> = list("secrets", wire, SECRETS_MAX)?
        .into_iter()
        .map(TryInto::try_into)
        .collect::<Outcome<_>>()?;
    let clash = |one: &SecretUse, other: &SecretUse| {
        let same = (one.name == other.name, one.placeholder == other.placeholder);
        let twice = same.0 && (&one.host, one.port) == (&other.host, other.port);
        twice || (same.0 != same.1 && !(one.placeholder.is_empty() && other.placeholder.is_empty()))
    };
    for (at, one) in uses.iter().enumerate() {
        if uses.iter().skip(at + 1).any(|it| clash(one, it)) {
            let words = format!("secrets: {} is given twice for the same host", one.name);
            return Err(Fault::invalid(words));
        }
    }
    Ok(uses)
}

impl From<&Given> for v1::GivenSecret {
    fn from(it: &Given) -> Self {
        Self { name: it.name.clone(), value: it.value.expose().to_owned() }
    }
}

/// Takes values; what is wrong with one is told without it.
pub fn given_in(wire: Vec<v1::GivenSecret>) -> Outcome<Vec<Given>> {
    // Wiped, also when another of them is refused.
    let all: Vec<Given> =
        wire.into_iter().map(|it| Given { name: it.name, value: Secret::new(it.value) }).collect();
    for it in &all {
        if !is_name(&it.name) {
            let name = shown(&it.name, 64);
            return Err(Fault::invalid(format!("not the name of a variable: {name}")));
        }
    }
    good(&all)?;
    list("given", all, SECRETS_MAX)
}

pub fn given_out(given: &[Given]) -> Vec<v1::GivenSecret> {
    given.iter().map(Into::into).collect()
}
