//! The audit record. Entries pass as they are: what somebody made of them is to be found out by who looks at them.

use std::collections::BTreeMap;

use super::{list, required, text};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{AUDIT_DETAILS_MAX, AUDIT_LIST_BYTES_MAX, AUDIT_LISTED_MAX, AUDIT_TEXT_BYTES_MAX},
        text::cut,
    },
    model::audit::{Act, AuditRequest, Entry, Head, NO_HASH, Value},
    wire::v1::{self, audit_detail},
};

/// Texts of one list: each takes two bytes at least.
const TEXTS_MAX: usize = AUDIT_LIST_BYTES_MAX;
/// Bytes of a list, the mark of what was cut among them.
const LIST_BYTES_MAX: usize = 2 * AUDIT_LIST_BYTES_MAX;

fn short(text: &str) -> String {
    cut(text, AUDIT_TEXT_BYTES_MAX).to_owned()
}

fn list_out(texts: &[String]) -> v1::AuditTexts {
    let mut left = LIST_BYTES_MAX;
    let texts = texts.iter().take(TEXTS_MAX).map(|it| {
        let kept = cut(it, left);
        left -= kept.len();
        kept.to_owned()
    });
    v1::AuditTexts { texts: texts.collect() }
}

/// What is longer than anything of ours was forged: cut, it has another hash as well.
impl From<&Entry> for v1::AuditEntry {
    fn from(it: &Entry) -> Self {
        let details = it.act.details.iter().take(AUDIT_DETAILS_MAX).map(|(key, value)| {
            let value = match value {
                Value::Text(text) => audit_detail::Value::Text(short(text)),
                Value::Number(number) => audit_detail::Value::Number(*number),
                Value::List(texts) => audit_detail::Value::List(list_out(texts)),
            };
            v1::AuditDetail { key: short(key), value: Some(value) }
        });
        Self {
            seq: it.seq,
            at_ms: it.act.at.0,
            actor: short(&it.act.actor),
            action: short(&it.act.action),
            subject: short(&it.act.subject),
            details: details.collect(),
            prev: short(&it.prev),
            hash: short(&it.hash),
        }
    }
}

impl TryFrom<v1::AuditEntry> for Entry {
    type Error = Fault;

    fn try_from(wire: v1::AuditEntry) -> Outcome<Self> {
        let short = |field: &str, it| text(field, it, AUDIT_TEXT_BYTES_MAX);
        let details = list("audit.details", wire.details, AUDIT_DETAILS_MAX)?;
        let details = details.into_iter().map(|it| {
            Ok((short("audit.key", it.key)?, value_in(required("audit.value", it.value)?)?))
        });
        Ok(Self {
            seq: wire.seq,
            act: Act {
                at: Timestamp(wire.at_ms),
                actor: short("audit.actor", wire.actor)?,
                action: short("audit.action", wire.action)?,
                subject: short("audit.subject", wire.subject)?,
                details: details.collect::<Outcome<BTreeMap<_, _>>>()?,
            },
            prev: short("audit.prev", wire.prev)?,
            hash: short("audit.hash", wire.hash)?,
        })
    }
}

fn value_in(wire: audit_detail::Value) -> Outcome<Value> {
    Ok(match wire {
        audit_detail::Value::Text(it) => Value::Text(text("audit.text", it, AUDIT_TEXT_BYTES_MAX)?),
        audit_detail::Value::Number(it) => Value::Number(it),
        audit_detail::Value::List(it) => {
            let texts = list("audit.list", it.texts, TEXTS_MAX)?;
            let bytes: usize = texts.iter().map(String::len).sum();
            if bytes > LIST_BYTES_MAX {
                return Err(Fault::invalid(format!(
                    "audit.list is longer than {LIST_BYTES_MAX} bytes: {bytes}"
                )));
            }
            Value::List(texts)
        }
    })
}

/// Reads what a message of entries holds: all of it, or nothing. One that is left out would be taken for one that
/// somebody removed.
pub fn entries_in(wire: v1::ReadAuditResponse) -> Outcome<Vec<Entry>> {
    wire.entries.into_iter().map(TryInto::try_into).collect()
}

impl From<&AuditRequest> for v1::ReadAuditRequest {
    fn from(it: &AuditRequest) -> Self {
        let since_ms = it.since.map(|it| it.0);
        Self { newest: it.newest, since_ms, sandbox: it.sandbox.clone() }
    }
}

impl TryFrom<v1::ReadAuditRequest> for AuditRequest {
    type Error = Fault;

    fn try_from(wire: v1::ReadAuditRequest) -> Outcome<Self> {
        let sandbox = wire.sandbox.map(|it| text("audit.sandbox", it, SandboxId::BYTES_MAX));
        if wire.newest.is_some_and(|it| it > AUDIT_LISTED_MAX) {
            return Err(Fault::invalid(format!("audit.newest is more than {AUDIT_LISTED_MAX}")));
        }
        let since = wire.since_ms.map(Timestamp);
        Ok(Self { newest: wire.newest, since, sandbox: sandbox.transpose()? })
    }
}

impl From<Head> for v1::AuditHeadResponse {
    fn from(it: Head) -> Self {
        Self { seq: it.seq, hash: short(&it.hash) }
    }
}

impl TryFrom<v1::AuditHeadResponse> for Head {
    type Error = Fault;

    fn try_from(wire: v1::AuditHeadResponse) -> Outcome<Self> {
        let head = Self { seq: wire.seq, hash: text("audit.hash", wire.hash, NO_HASH.len())? };
        let sound = Self::parse(&head.to_string()).is_some();
        sound.then_some(head).ok_or_else(|| {
            Fault::failed("the last entry of the audit record has no hash")
                .hint("sandwatch audit verify says what is wrong with it")
        })
    }
}
