//! Asks: what is wanted, what people see of it, and what they say.

use super::{ask_id, entry_in, list, pairs_out, required, text};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::AskId,
        limits::{
            ANSWER_MESSAGE_BYTES_MAX, ASK_BYTES_MAX, ASK_DETAILS_MAX, ASKS_KEPT, ASKS_PENDING_MAX,
            ASKS_WANTED_MAX, LABEL_BYTES_MAX, LINE_BYTES_MAX, NAME_BYTES_MAX, NOTES_MAX,
            PATH_BYTES_MAX, RULES_WRITTEN_BYTES_MAX,
        },
        text::{cut, shown},
    },
    model::{
        ask::{
            Answer, Ask, AskKind, AskState, Asked, Besides, Choice, Decision, Made, Request,
            Revoked, Risk, RiskLevel, Scope, Verdict,
        },
        rule::RuleName,
    },
    runtime::AsksWanted,
    wire::v1,
};

/// Characters of a digest.
const DIGEST_BYTES: usize = 64;

enums! {
    kind_out, kind_in: AskKind = AskKind {
        Exec, File, Network, Credential, Tool, Grant, Question,
    }
    ask_state_out, ask_state_in: AskState = AskState {
        Pending, Allowed, Denied, Expired, Withdrawn,
    }
    verdict_out, verdict_in: Verdict = AskVerdict { Allow, Deny, }
    scope_out, scope_in: Scope = AskScope { Once, Session, Hour, Project, Always, }
    risk_out, risk_in: RiskLevel = RiskLevel { Low, Medium, High, }
}

impl From<&Request> for v1::AskRequest {
    fn from(request: &Request) -> Self {
        Self {
            kind: kind_out(request.kind).into(),
            subject: request.subject.clone(),
            details: pairs_out(request.details.iter().map(|(key, value)| (key, value))),
            reason: request.reason.clone(),
            agent: request.agent.clone(),
        }
    }
}

/// Whole or not at all: a person answers what is asked, and no part of it.
impl TryFrom<v1::AskRequest> for Request {
    type Error = Fault;

    fn try_from(wire: v1::AskRequest) -> Outcome<Self> {
        let kind = kind_in(wire.kind);
        let kind = kind.ok_or_else(|| {
            Fault::invalid(format!("not a kind of ask known here: {}", wire.kind))
        })?;
        let details = list("ask.details", wire.details, ASK_DETAILS_MAX)?;
        let details: Vec<_> = details.into_iter().map(|it| (it.key, it.value)).collect();
        if details.iter().any(|(key, _): &(String, String)| key.trim().is_empty()) {
            return Err(Fault::invalid("ask.details has one without a name"));
        }
        let agent = wire.agent.map(|it| text("ask.agent", it, NAME_BYTES_MAX)).transpose()?;
        let request = Self { kind, subject: wire.subject, details, reason: wire.reason, agent };
        if request.subject.trim().is_empty() {
            return Err(Fault::invalid("ask.subject is empty"));
        }
        let bytes = request.bytes();
        if bytes > ASK_BYTES_MAX {
            return Err(Fault::invalid(format!(
                "an ask of more than {ASK_BYTES_MAX} bytes, which nobody can look through: {bytes}"
            )));
        }
        Ok(request)
    }
}

impl From<&Asked> for v1::Asked {
    fn from(asked: &Asked) -> Self {
        Self {
            id: asked.id.to_string(),
            request: Some((&asked.request).into()),
            session: asked.session.as_ref().map(ToString::to_string),
            created_at_ms: asked.created_at.0,
            deadline_at_ms: asked.deadline_at.0,
            askers: asked.askers,
            about: pairs_out(asked.about.iter().map(|(key, value)| (key, value))),
            editable: asked.editable,
        }
    }
}

impl TryFrom<v1::Asked> for Asked {
    type Error = Fault;

    fn try_from(wire: v1::Asked) -> Outcome<Self> {
        Ok(Self {
            id: ask_id(&wire.id)?,
            request: required("asked.request", wire.request)?.try_into()?,
            session: wire.session.as_deref().map(super::session_id).transpose()?,
            created_at: Timestamp(wire.created_at_ms),
            deadline_at: Timestamp(wire.deadline_at_ms),
            askers: wire.askers.max(1),
            about: wire.about.into_iter().take(ASK_DETAILS_MAX).map(about_in).collect(),
            editable: wire.editable,
        })
    }
}

fn about_in(wire: v1::Pair) -> (String, String) {
    (shown(&wire.key, LABEL_BYTES_MAX), shown(&wire.value, PATH_BYTES_MAX))
}

/// Those that a message lists. One that can't be read costs itself: nobody can answer it.
pub(in crate::wire) fn entries_in<W, T: TryFrom<W, Error = Fault>>(wire: Vec<W>) -> Vec<T> {
    wire.into_iter().take(ASKS_PENDING_MAX).filter_map(entry_in).collect()
}

impl From<&Ask> for v1::Ask {
    fn from(ask: &Ask) -> Self {
        let findings = ask.risk.findings.iter().take(NOTES_MAX);
        Self {
            asked: Some((&ask.asked).into()),
            sandbox: ask.sandbox.to_string(),
            sandbox_name: ask.sandbox_name.clone(),
            digest: ask.digest.clone(),
            risk: risk_out(ask.risk.level).into(),
            findings: findings.map(|it| cut(it, LINE_BYTES_MAX).to_owned()).collect(),
            state: ask_state_out(ask.state).into(),
            decision: ask.decision.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Ask> for Ask {
    type Error = Fault;

    fn try_from(wire: v1::Ask) -> Outcome<Self> {
        let findings = wire.findings.iter().take(NOTES_MAX);
        Ok(Self {
            asked: required("ask.asked", wire.asked)?.try_into()?,
            sandbox: super::sandbox_id(&wire.sandbox)?,
            sandbox_name: super::sandbox::sandbox_name(&wire.sandbox_name)?,
            digest: digest(wire.digest)?,
            risk: Risk {
                level: risk_in(wire.risk).unwrap_or(RiskLevel::High),
                findings: findings.map(|it| shown(it, LINE_BYTES_MAX)).collect(),
            },
            state: ask_state_in(wire.state).unwrap_or(AskState::Withdrawn),
            decision: wire.decision.map(TryInto::try_into).transpose()?,
        })
    }
}

/// Takes a digest as it was shown.
pub fn digest(value: String) -> Outcome<String> {
    let hex = value.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
    if hex && value.len() == DIGEST_BYTES {
        return Ok(value);
    }
    Err(Fault::invalid(format!("not a digest of an ask: {}", shown(&value, DIGEST_BYTES))))
}

impl From<&Answer> for v1::AskAnswer {
    fn from(answer: &Answer) -> Self {
        let message = answer.message.as_deref();
        Self {
            verdict: verdict_out(answer.verdict).into(),
            scope: scope_out(answer.scope).into(),
            message: message.map(|it| cut(it, ANSWER_MESSAGE_BYTES_MAX).to_owned()),
            edit: None,
        }
    }
}

/// Reads in which other words something is allowed: whole or not at all.
pub fn edit_in(answer: &v1::AskAnswer) -> Outcome<Option<String>> {
    answer.edit.clone().map(|it| text("answer.edit", it, ASK_BYTES_MAX)).transpose()
}

/// What is not known denies.
impl TryFrom<v1::AskAnswer> for Answer {
    type Error = Fault;

    fn try_from(wire: v1::AskAnswer) -> Outcome<Self> {
        Ok(Self {
            verdict: verdict_in(wire.verdict).unwrap_or(Verdict::Deny),
            scope: scope_in(wire.scope).unwrap_or(Scope::Once),
            message: wire
                .message
                .map(|it| text("answer.message", it, ANSWER_MESSAGE_BYTES_MAX))
                .transpose()?,
        })
    }
}

impl From<&Decision> for v1::Decision {
    fn from(decision: &Decision) -> Self {
        let made = decision.besides.rule.as_ref();
        Self {
            answer: Some(v1::AskAnswer {
                edit: decision.besides.edit.clone(),
                ..(&decision.answer).into()
            }),
            by: cut(&decision.by, LABEL_BYTES_MAX).to_owned(),
            at_ms: decision.at.0,
            waited_ms: decision.waited_ms,
            uses: decision.uses,
            revoked_by: by(decision).map(|it| cut(&it.by, LABEL_BYTES_MAX).to_owned()),
            revoked_at_ms: by(decision).map(|it| it.at.0),
            rule: made.map(|it| (&it.name).into()),
            snapshot: decision.besides.snapshot.as_ref().map(ToString::to_string),
            rule_sha256: made.and_then(|it| it.sha256.clone()),
        }
    }
}

fn by(decision: &Decision) -> Option<&Revoked> {
    decision.revoked.as_ref()
}

impl TryFrom<v1::Decision> for Decision {
    type Error = Fault;

    fn try_from(wire: v1::Decision) -> Outcome<Self> {
        // Half of it is enough for it to hold no more.
        let revoked =
            (wire.revoked_by.is_some() || wire.revoked_at_ms.is_some()).then(|| Revoked {
                by: shown(&wire.revoked_by.unwrap_or_default(), LABEL_BYTES_MAX),
                at: Timestamp(wire.revoked_at_ms.unwrap_or(wire.at_ms)),
            });
        let answer = required("decision.answer", wire.answer)?;
        let sha256 = wire.rule_sha256.map(digest).transpose()?;
        let name: Option<RuleName> = wire.rule.map(TryInto::try_into).transpose()?;
        let besides = Besides {
            edit: edit_in(&answer)?,
            rule: name.map(|name| Made { name, sha256 }),
            snapshot: wire.snapshot.as_deref().map(super::snapshot_id).transpose()?,
        };
        Ok(Self {
            answer: answer.try_into()?,
            besides,
            by: shown(&wire.by, LABEL_BYTES_MAX),
            at: Timestamp(wire.at_ms),
            waited_ms: wire.waited_ms,
            uses: wire.uses,
            revoked,
        })
    }
}

/// Writes what a person decides.
pub fn decide_out(id: &AskId, digest: &str, choice: &Choice) -> v1::DecideRequest {
    let (ask, digest) = (id.to_string(), digest.to_owned());
    let answer = v1::AskAnswer { edit: choice.edit.clone(), ..(&choice.answer).into() };
    let (rule, snapshot) = (choice.rule.clone(), choice.snapshot);
    v1::DecideRequest { ask, digest, answer: Some(answer), rule, snapshot }
}

/// Reads it: here nothing is made of what is not known.
pub fn decide_in(wire: v1::DecideRequest) -> Outcome<(AskId, String, Choice)> {
    let answer = required("decide.answer", wire.answer)?;
    if verdict_in(answer.verdict).is_none() || scope_in(answer.scope).is_none() {
        return Err(Fault::invalid("decide.answer has a verdict or scope that is not known here"));
    }
    let edit = edit_in(&answer)?;
    let rule = wire.rule.map(|it| text("decide.rule", it, RULES_WRITTEN_BYTES_MAX)).transpose()?;
    let choice = Choice { answer: answer.try_into()?, edit, rule, snapshot: wire.snapshot };
    Ok((ask_id(&wire.ask)?, digest(wire.digest)?, choice))
}

/// Writes which asks are wanted.
pub fn wanted_out(wanted: &AsksWanted) -> v1::ListAsksRequest {
    v1::ListAsksRequest {
        ids: wanted.ids.iter().map(ToString::to_string).collect(),
        most: u32::try_from(wanted.most).unwrap_or(u32::MAX),
    }
}

/// Reads it.
pub fn wanted_in(wire: v1::ListAsksRequest) -> Outcome<AsksWanted> {
    let ids = list("list.ids", wire.ids, ASKS_WANTED_MAX)?;
    let ids = ids.iter().map(|it| ask_id(it)).collect::<Outcome<Vec<_>>>()?;
    let most = usize::try_from(wire.most).unwrap_or(ASKS_KEPT);
    Ok(AsksWanted { ids, most: if most == 0 { ASKS_KEPT } else { most.min(ASKS_KEPT) } })
}

/// Reads the id of an ask.
pub fn revoke_in(wire: &v1::RevokeRequest) -> Outcome<AskId> {
    ask_id(&wire.ask)
}
