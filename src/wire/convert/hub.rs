//! The hub's own state, checks, and the small requests about sessions.

use super::{duration, history::pattern, list, milliseconds, output::cuts, required, session_id};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{
            CHECKS_MAX, FAULT_MESSAGE_BYTES_MAX, INPUT_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX,
            PTY_CHUNK_BYTES_MAX, TTL_MAX,
        },
        text::{cut, shown},
    },
    model::{
        check::{Check, CheckStatus},
        member::Refused,
    },
    runtime::{ExecOutput, HubStatus, LeaseVerb, Nudge, WaitFor},
    wire::{
        PROTOCOL,
        v1::{self, exec_response, nudge_request, wait_request},
    },
};
use std::time::Duration;

/// Places that one hub listens on.
const LISTEN_MAX: usize = 64;
/// Reasons for which somebody is refused.
const REFUSED_MAX: usize = 64;

impl From<HubStatus> for v1::StatusResponse {
    fn from(status: HubStatus) -> Self {
        Self {
            pid: status.pid,
            version: status.version,
            uptime_ms: milliseconds(status.uptime),
            listen: status.listen,
            sandboxes: status.sandboxes,
            sessions: status.sessions,
            pending_approvals: status.pending_approvals,
            rss_bytes: status.rss_bytes,
            protocol: PROTOCOL,
            refused: status
                .refused
                .into_iter()
                .map(|(why, count)| v1::Refusals { why: why.word().to_owned(), count })
                .collect(),
        }
    }
}

impl TryFrom<v1::StatusResponse> for HubStatus {
    type Error = Fault;

    fn try_from(wire: v1::StatusResponse) -> Outcome<Self> {
        let listen = list("status.listen", wire.listen, LISTEN_MAX)?;
        Ok(Self {
            pid: wire.pid,
            version: shown(&wire.version, NAME_BYTES_MAX),
            uptime: Duration::from_millis(wire.uptime_ms),
            listen: listen.iter().map(|it| shown(it, PATH_BYTES_MAX)).collect(),
            sandboxes: wire.sandboxes,
            sessions: wire.sessions,
            pending_approvals: wire.pending_approvals,
            rss_bytes: wire.rss_bytes,
            // Words that only a newer version knows are left out.
            refused: list("status.refused", wire.refused, REFUSED_MAX)?
                .into_iter()
                .filter_map(|it| Some((Refused::from_word(&it.why)?, it.count)))
                .collect(),
        })
    }
}

impl From<&Check> for v1::Check {
    fn from(check: &Check) -> Self {
        let status = match check.status {
            CheckStatus::Ok => v1::CheckStatus::Ok,
            CheckStatus::Degraded => v1::CheckStatus::Degraded,
            CheckStatus::Missing => v1::CheckStatus::Missing,
        };
        Self {
            check: cut(&check.check, NAME_BYTES_MAX).to_owned(),
            status: status.into(),
            detail: cut(&check.detail, FAULT_MESSAGE_BYTES_MAX).to_owned(),
            fix: check.fix.as_deref().map(|it| cut(it, FAULT_MESSAGE_BYTES_MAX).to_owned()),
        }
    }
}

impl From<v1::Check> for Check {
    fn from(wire: v1::Check) -> Self {
        let status = match wire.status() {
            v1::CheckStatus::Ok => CheckStatus::Ok,
            v1::CheckStatus::Degraded => CheckStatus::Degraded,
            v1::CheckStatus::Missing | v1::CheckStatus::Unspecified => CheckStatus::Missing,
        };
        Self {
            check: shown(&wire.check, NAME_BYTES_MAX),
            status,
            detail: shown(&wire.detail, FAULT_MESSAGE_BYTES_MAX),
            fix: wire.fix.map(|it| shown(&it, FAULT_MESSAGE_BYTES_MAX)),
        }
    }
}

impl From<Vec<Check>> for v1::DoctorResponse {
    fn from(checks: Vec<Check>) -> Self {
        Self { checks: checks.iter().take(CHECKS_MAX).map(Into::into).collect() }
    }
}

impl TryFrom<v1::DoctorResponse> for Vec<Check> {
    type Error = Fault;

    fn try_from(wire: v1::DoctorResponse) -> Outcome<Self> {
        Ok(list("checks", wire.checks, CHECKS_MAX)?.into_iter().map(Into::into).collect())
    }
}

pub fn lease_out(session: &SessionId, verb: LeaseVerb) -> v1::LeaseRequest {
    let verb = match verb {
        LeaseVerb::Take => v1::LeaseVerb::Take,
        LeaseVerb::TakeOver => v1::LeaseVerb::TakeOver,
        LeaseVerb::Release => v1::LeaseVerb::Release,
    };
    v1::LeaseRequest { session: session.to_string(), verb: verb.into() }
}

pub fn lease_in(wire: &v1::LeaseRequest) -> Outcome<(SessionId, LeaseVerb)> {
    let verb = match wire.verb() {
        v1::LeaseVerb::Take => LeaseVerb::Take,
        v1::LeaseVerb::TakeOver => LeaseVerb::TakeOver,
        v1::LeaseVerb::Release => LeaseVerb::Release,
        v1::LeaseVerb::Unspecified => {
            return Err(Fault::invalid(format!(
                "lease.verb has no value known here: {}",
                wire.verb
            )));
        }
    };
    Ok((session_id(&wire.session)?, verb))
}

pub fn nudge_out(session: &SessionId, what: Nudge) -> v1::NudgeRequest {
    let what = match what {
        Nudge::Line(line) => nudge_request::What::Line(line),
        Nudge::Interrupt => nudge_request::What::Interrupt(v1::NudgeInterrupt {}),
    };
    v1::NudgeRequest { session: session.to_string(), what: Some(what) }
}

pub fn nudge_in(wire: v1::NudgeRequest) -> Outcome<(SessionId, Nudge)> {
    let what = match required("nudge.what", wire.what)? {
        nudge_request::What::Line(line) => {
            Nudge::Line(super::text("nudge.line", line, INPUT_BYTES_MAX)?)
        }
        nudge_request::What::Interrupt(v1::NudgeInterrupt {}) => Nudge::Interrupt,
    };
    Ok((session_id(&wire.session)?, what))
}

pub fn wait_out(session: &SessionId, what: WaitFor, within: Option<Duration>) -> v1::WaitRequest {
    let what = match what {
        WaitFor::Exit => wait_request::What::Exit(v1::WaitExit {}),
        WaitFor::Idle => wait_request::What::Idle(v1::WaitIdle {}),
        WaitFor::Text(pattern) => wait_request::What::Text(pattern),
    };
    let within_ms = within.map(milliseconds);
    v1::WaitRequest { session: session.to_string(), what: Some(what), within_ms }
}

pub fn wait_in(wire: v1::WaitRequest) -> Outcome<(SessionId, WaitFor, Option<Duration>)> {
    let what = match required("wait.what", wire.what)? {
        wait_request::What::Exit(v1::WaitExit {}) => WaitFor::Exit,
        wait_request::What::Idle(v1::WaitIdle {}) => WaitFor::Idle,
        wait_request::What::Text(text) => WaitFor::Text(pattern(text)?),
    };
    let within = wire.within_ms.map(|it| duration("wait.within_ms", it, TTL_MAX)).transpose()?;
    Ok((session_id(&wire.session)?, what, within))
}

/// Takes one piece of input.
pub fn input_in(wire: v1::InputRequest) -> Outcome<(SessionId, bytes::Bytes)> {
    Ok((session_id(&wire.session)?, super::blob("input.data", wire.data, INPUT_BYTES_MAX)?))
}

impl From<ExecOutput> for v1::ExecResponse {
    fn from(output: ExecOutput) -> Self {
        let kind = match output {
            ExecOutput::Stdout(bytes) => exec_response::Kind::Stdout(bytes),
            ExecOutput::Stderr(bytes) => exec_response::Kind::Stderr(bytes),
            ExecOutput::Exit(status) => exec_response::Kind::Exit(status.into()),
        };
        Self { kind: Some(kind) }
    }
}

/// Writes what a program without a PTY said as the messages it takes.
pub fn exec_out(output: ExecOutput) -> Vec<v1::ExecResponse> {
    let chunks = |bytes| cuts(bytes, PTY_CHUNK_BYTES_MAX).into_iter();
    match output {
        ExecOutput::Stdout(bytes) => {
            chunks(bytes).map(ExecOutput::Stdout).map(Into::into).collect()
        }
        ExecOutput::Stderr(bytes) => {
            chunks(bytes).map(ExecOutput::Stderr).map(Into::into).collect()
        }
        ExecOutput::Exit(_) => vec![output.into()],
    }
}

impl TryFrom<v1::ExecResponse> for ExecOutput {
    type Error = Fault;

    fn try_from(wire: v1::ExecResponse) -> Outcome<Self> {
        let chunk = |bytes| super::blob("exec.chunk", bytes, PTY_CHUNK_BYTES_MAX);
        Ok(match required("exec.kind", wire.kind)? {
            exec_response::Kind::Stdout(bytes) => Self::Stdout(chunk(bytes)?),
            exec_response::Kind::Stderr(bytes) => Self::Stderr(chunk(bytes)?),
            exec_response::Kind::Exit(status) => Self::Exit(status.try_into()?),
        })
    }
}
