//! Rules: which there are, what one would do, and what is wanted of them.

use std::path::{Path, PathBuf};

use super::{ask, ask_id, list, required, text};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{
            ANSWER_MESSAGE_BYTES_MAX, LABEL_BYTES_MAX, LINE_BYTES_MAX, NOTES_MAX, PATH_BYTES_MAX,
            REACH_NAMED_MAX, RULES_MAX, RULES_WRITTEN_BYTES_MAX,
        },
        text::{cut, shown},
    },
    model::{
        ask::Risk,
        rule::{
            Domain, Draft, ID_BYTES_MAX, KnownRule, Match, Proposal, Question, Reach, RuleName,
            Ruling, is_id,
        },
    },
    wire::v1::{self, propose_request::Of},
};

/// Bytes of the name of a file, and of what a rule is about.
const NAMED_BYTES_MAX: usize = 2 * PATH_BYTES_MAX;

enums! {
    ruling_out, ruling_in: Ruling = RuleVerdict { Deny, Ask, Allow, }
}

fn workspace_out(domain: &Domain) -> Option<String> {
    match domain {
        Domain::All => None,
        Domain::Project(path) => Some(path.to_string_lossy().into_owned()),
    }
}

fn domain_in(workspace: Option<String>) -> Outcome<Domain> {
    let Some(path) = workspace else { return Ok(Domain::All) };
    let path = text("rule.workspace", path, PATH_BYTES_MAX)?;
    match Path::new(&path).is_absolute() {
        true => Ok(Domain::Project(PathBuf::from(path))),
        false => Err(Fault::invalid(format!(
            "rule.workspace is no absolute path: {}",
            shown(&path, 200)
        ))),
    }
}

impl From<&RuleName> for v1::RuleName {
    fn from(it: &RuleName) -> Self {
        Self { id: it.id.clone(), workspace: workspace_out(&it.domain) }
    }
}

impl TryFrom<v1::RuleName> for RuleName {
    type Error = Fault;

    fn try_from(wire: v1::RuleName) -> Outcome<Self> {
        let id = text("rule.id", wire.id, ID_BYTES_MAX)?;
        if !is_id(&id) {
            return Err(Fault::invalid(format!(
                "not the id of a rule: {}",
                shown(&id, ID_BYTES_MAX)
            )));
        }
        Ok(Self { id, domain: domain_in(wire.workspace)? })
    }
}

impl From<&KnownRule> for v1::KnownRule {
    fn from(it: &KnownRule) -> Self {
        Self {
            name: Some((&it.name).into()),
            file: cut(&it.file, NAMED_BYTES_MAX).to_owned(),
            verdict: ruling_out(it.ruling).into(),
            about: cut(&it.about, NAMED_BYTES_MAX).to_owned(),
            why: cut(&it.why, ANSWER_MESSAGE_BYTES_MAX).to_owned(),
            until_ms: it.until.map(|it| it.0),
            hits: it.hits,
            last_at_ms: it.last_at.map(|it| it.0),
        }
    }
}

impl TryFrom<v1::KnownRule> for KnownRule {
    type Error = Fault;

    fn try_from(wire: v1::KnownRule) -> Outcome<Self> {
        Ok(Self {
            name: required("rule.name", wire.name)?.try_into()?,
            file: shown(&wire.file, NAMED_BYTES_MAX),
            ruling: ruling_in(wire.verdict).unwrap_or(Ruling::Ask),
            about: shown(&wire.about, NAMED_BYTES_MAX),
            why: shown(&wire.why, ANSWER_MESSAGE_BYTES_MAX),
            until: wire.until_ms.map(Timestamp),
            hits: wire.hits,
            last_at: wire.last_at_ms.map(Timestamp),
        })
    }
}

/// Writes rules as text.
pub fn rules_out(text: &str, domain: &Domain) -> v1::RuleText {
    v1::RuleText { text: text.to_owned(), workspace: workspace_out(domain) }
}

/// Reads it.
pub fn rules_in(wire: v1::RuleText) -> Outcome<(String, Domain)> {
    let text = text("rules.text", wire.text, RULES_WRITTEN_BYTES_MAX)?;
    Ok((text, domain_in(wire.workspace)?))
}

/// Writes what somebody wants to know.
pub fn question_out(question: &Question) -> v1::ProposeRequest {
    let of = match question {
        Question::Answer { ask, digest, choice } => {
            Of::Answer(ask::decide_out(ask, digest, choice))
        }
        Question::Rules { text, domain } => Of::Rules(rules_out(text, domain)),
        Question::Rule(name) => Of::Rule(name.into()),
    };
    v1::ProposeRequest { of: Some(of) }
}

/// Reads it.
pub fn question_in(wire: v1::ProposeRequest) -> Outcome<Question> {
    Ok(match required("propose.of", wire.of)? {
        Of::Answer(it) => {
            let (ask, digest, choice) = ask::decide_in(it)?;
            Question::Answer { ask, digest, choice }
        }
        Of::Rules(it) => {
            let (text, domain) = rules_in(it)?;
            Question::Rules { text, domain }
        }
        Of::Rule(it) => Question::Rule(it.try_into()?),
    })
}

fn notes_out(notes: &[String]) -> Vec<String> {
    notes.iter().take(NOTES_MAX).map(|it| cut(it, LINE_BYTES_MAX).to_owned()).collect()
}

fn notes_in(notes: &[String]) -> Vec<String> {
    notes.iter().take(NOTES_MAX).map(|it| shown(it, LINE_BYTES_MAX)).collect()
}

impl From<&Proposal> for v1::ProposeResponse {
    fn from(it: &Proposal) -> Self {
        let findings = it.risk.as_ref().map(|it| notes_out(&it.findings)).unwrap_or_default();
        Self {
            risk: it.risk.as_ref().map(|it| ask::risk_out(it.level).into()),
            findings,
            notes: notes_out(&it.notes),
            drafts: it.drafts.iter().take(RULES_MAX).map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::ProposeResponse> for Proposal {
    type Error = Fault;

    fn try_from(wire: v1::ProposeResponse) -> Outcome<Self> {
        let findings = notes_in(&wire.findings);
        let risk = wire.risk.map(|it| Risk {
            level: ask::risk_in(it).unwrap_or(crate::model::ask::RiskLevel::High),
            findings,
        });
        let drafts = list("proposal.drafts", wire.drafts, RULES_MAX)?.into_iter();
        let drafts = drafts.map(TryInto::try_into).collect::<Outcome<_>>()?;
        Ok(Self { risk, notes: notes_in(&wire.notes), drafts })
    }
}

impl From<&Draft> for v1::RuleDraft {
    fn from(it: &Draft) -> Self {
        Self {
            name: Some((&it.name).into()),
            file: cut(&it.file, NAMED_BYTES_MAX).to_owned(),
            line: it.line.clone(),
            text: it.text.clone(),
            notes: notes_out(&it.notes),
            refused: it.refused.as_ref().map(|it| cut(it, ANSWER_MESSAGE_BYTES_MAX).to_owned()),
            reach: Some(v1::RuleReach {
                looked_at: it.reach.looked_at,
                allowed: it.reach.allowed,
                denied: it.reach.denied,
                other: it.reach.other,
                matched: it.reach.matched.iter().take(REACH_NAMED_MAX).map(Into::into).collect(),
            }),
        }
    }
}

impl TryFrom<v1::RuleDraft> for Draft {
    type Error = Fault;

    fn try_from(wire: v1::RuleDraft) -> Outcome<Self> {
        let reach = required("draft.reach", wire.reach)?;
        let matched = reach.matched.into_iter().take(REACH_NAMED_MAX);
        Ok(Self {
            name: required("draft.name", wire.name)?.try_into()?,
            file: shown(&wire.file, NAMED_BYTES_MAX),
            line: text("draft.line", wire.line, RULES_WRITTEN_BYTES_MAX)?,
            text: text("draft.text", wire.text, RULES_WRITTEN_BYTES_MAX)?,
            notes: notes_in(&wire.notes),
            refused: wire.refused.map(|it| shown(&it, ANSWER_MESSAGE_BYTES_MAX)),
            reach: Reach {
                looked_at: reach.looked_at,
                allowed: reach.allowed,
                denied: reach.denied,
                other: reach.other,
                matched: matched.filter_map(super::entry_in).collect(),
            },
        })
    }
}

impl From<&Match> for v1::RuleMatch {
    fn from(it: &Match) -> Self {
        Self {
            ask: it.ask.to_string(),
            sandbox: it.sandbox.to_string(),
            sandbox_name: it.sandbox_name.clone(),
            kind: ask::kind_out(it.kind).into(),
            subject: cut(&it.subject, LINE_BYTES_MAX).to_owned(),
            state: ask::ask_state_out(it.state).into(),
            by: cut(&it.by, LABEL_BYTES_MAX).to_owned(),
            at_ms: it.at.0,
        }
    }
}

impl TryFrom<v1::RuleMatch> for Match {
    type Error = Fault;

    fn try_from(wire: v1::RuleMatch) -> Outcome<Self> {
        let kind = ask::kind_in(wire.kind);
        Ok(Self {
            ask: ask_id(&wire.ask)?,
            sandbox: super::sandbox_id(&wire.sandbox)?,
            sandbox_name: super::sandbox::sandbox_name(&wire.sandbox_name)?,
            kind: kind.ok_or_else(|| Fault::invalid("a match of a kind that is not known here"))?,
            subject: shown(&wire.subject, LINE_BYTES_MAX),
            state: ask::ask_state_in(wire.state).unwrap_or(crate::model::ask::AskState::Withdrawn),
            by: shown(&wire.by, LABEL_BYTES_MAX),
            at: Timestamp(wire.at_ms),
        })
    }
}
