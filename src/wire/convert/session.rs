//! Sessions: what to start, how it ended, who types, and what is known of one.

use super::{
    list, pairs_out, required, session_id, shown_command, stamp,
    status::{known_status_in, status_out},
    text,
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{
            ARGS_BYTES_MAX, ARGS_MAX, ASKING_BYTES_MAX, COMMAND_SHOWN_BYTES_MAX, ENV_BYTES_MAX,
            ENV_ENTRIES_MAX, ENV_ENTRY_BYTES_MAX, LABEL_BYTES_MAX, LINE_BYTES_MAX, PATH_BYTES_MAX,
            SESSIONS_PER_SANDBOX_MAX, TITLE_BYTES_MAX,
        },
        text::{cut, shown},
        units::Size,
    },
    model::session::{Asking, ExitStatus, Lease, Session, SessionSpec, Status},
    wire::v1,
};

impl From<Size> for v1::Size {
    fn from(size: Size) -> Self {
        Self { cols: size.cols().into(), rows: size.rows().into() }
    }
}

/// A size is pulled into its bounds rather than refused: a terminal of one row is no error.
impl From<v1::Size> for Size {
    fn from(wire: v1::Size) -> Self {
        let side = |it: u32| u16::try_from(it).unwrap_or(u16::MAX);
        Self::clamped(side(wire.cols), side(wire.rows))
    }
}

impl From<ExitStatus> for v1::ExitStatus {
    fn from(status: ExitStatus) -> Self {
        let how = match status {
            ExitStatus::Code(code) => v1::exit_status::How::Code(code),
            ExitStatus::Signal(signal) => v1::exit_status::How::Signal(signal),
        };
        Self { how: Some(how) }
    }
}

impl TryFrom<v1::ExitStatus> for ExitStatus {
    type Error = Fault;

    fn try_from(wire: v1::ExitStatus) -> Outcome<Self> {
        match required("exit.how", wire.how)? {
            v1::exit_status::How::Code(code) => Ok(Self::Code(code)),
            v1::exit_status::How::Signal(signal @ 1..=127) => Ok(Self::Signal(signal)),
            v1::exit_status::How::Signal(other) => {
                Err(Fault::invalid(format!("exit.signal is no signal: {other}")))
            }
        }
    }
}

/// Takes a program with its arguments as the kernel would take them.
fn command(field: &str, value: Vec<String>) -> Outcome<Vec<String>> {
    let value = list(field, value, ARGS_MAX)?;
    let bytes: usize = value.iter().map(String::len).sum();
    if bytes > ARGS_BYTES_MAX {
        return Err(Fault::invalid(format!(
            "{field} is longer than {ARGS_BYTES_MAX} bytes: {bytes}"
        )));
    }
    if value.iter().any(|it| it.contains('\0')) {
        return Err(Fault::invalid(format!("{field} has a zero byte")));
    }
    if value.first().is_some_and(String::is_empty) {
        return Err(Fault::invalid(format!("{field} names no program")));
    }
    Ok(value)
}

/// Takes environment entries as the kernel would take them.
pub(super) fn environment(field: &str, value: Vec<v1::Pair>) -> Outcome<Vec<(String, String)>> {
    let value = list(field, value, ENV_ENTRIES_MAX)?;
    let mut total = 0;
    for pair in &value {
        let bytes = pair.key.len() + pair.value.len() + 1;
        total += bytes;
        if bytes > ENV_ENTRY_BYTES_MAX {
            let name = shown(&pair.key, 64);
            return Err(Fault::invalid(format!(
                "an entry of {field} is longer than {ENV_ENTRY_BYTES_MAX} bytes: {name}"
            )));
        }
        let named = !pair.key.is_empty() && !pair.key.contains(['=', '\0']);
        if !named || pair.value.contains('\0') {
            let name = shown(&pair.key, 64);
            return Err(Fault::invalid(format!(
                "not an entry of an environment in {field}: {name}"
            )));
        }
    }
    if total > ENV_BYTES_MAX {
        return Err(Fault::invalid(format!(
            "{field} is longer than {ENV_BYTES_MAX} bytes: {total}"
        )));
    }
    Ok(value.into_iter().map(|it| (it.key, it.value)).collect())
}

impl From<&SessionSpec> for v1::SessionSpec {
    fn from(spec: &SessionSpec) -> Self {
        Self {
            command: spec.command.clone(),
            cwd: spec.cwd.clone(),
            env: pairs_out(spec.env.iter().map(|(key, value)| (key, value))),
            size: Some(spec.size.into()),
        }
    }
}

impl TryFrom<v1::SessionSpec> for SessionSpec {
    type Error = Fault;

    fn try_from(wire: v1::SessionSpec) -> Outcome<Self> {
        let cwd = wire.cwd.map(|it| text("session.cwd", it, PATH_BYTES_MAX)).transpose()?;
        if let Some(cwd) = cwd.as_deref().filter(|it| !it.starts_with('/') || it.contains('\0')) {
            let cwd = shown(cwd, LINE_BYTES_MAX);
            return Err(Fault::invalid(format!("session.cwd is not an absolute path: {cwd}")));
        }
        Ok(Self {
            command: command("session.command", wire.command)?,
            cwd,
            env: environment("session.env", wire.env)?,
            size: wire.size.map_or(Size::DEFAULT, Into::into),
        })
    }
}

impl From<&Lease> for v1::Lease {
    fn from(lease: &Lease) -> Self {
        Self {
            holder: lease.holder.to_string(),
            holder_name: cut(&lease.holder_name, LABEL_BYTES_MAX).to_owned(),
            since_ms: lease.since.0,
            used_at_ms: lease.used_at.0,
        }
    }
}

impl TryFrom<v1::Lease> for Lease {
    type Error = Fault;

    fn try_from(wire: v1::Lease) -> Outcome<Self> {
        Ok(Self {
            holder: super::client_id(&wire.holder)?,
            holder_name: shown(&wire.holder_name, LABEL_BYTES_MAX),
            since: Timestamp(wire.since_ms),
            used_at: Timestamp(wire.used_at_ms),
        })
    }
}

impl From<&Session> for v1::Session {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id.to_string(),
            sandbox: session.sandbox.to_string(),
            ordinal: session.ordinal,
            command: shown_command(&session.command),
            status: status_out(session.status).into(),
            status_why: cut(&session.status_why, LINE_BYTES_MAX).to_owned(),
            pid: session.pid,
            size: Some(session.size.into()),
            title: session.title.as_deref().map(|it| cut(it, TITLE_BYTES_MAX).to_owned()),
            started_at_ms: session.started_at.0,
            exit: session.exit.map(Into::into),
            exited_at_ms: session.exited_at.map(|it| it.0),
            lease: session.lease.as_ref().map(Into::into),
            output_bytes: session.output_bytes,
            last_output_at_ms: session.last_output_at.map(|it| it.0),
            journal_lost_bytes: session.journal_lost_bytes,
            bells: session.bells,
            recording: session.recording,
            asking: session.asking.as_ref().map(|it| v1::Asking {
                reaches: it.reaches,
                why: cut(&it.why, ASKING_BYTES_MAX).to_owned(),
            }),
            status_since_ms: session.status_since.map(|it| it.0),
        }
    }
}

/// The sessions that a message lists: the first, which stands for its sandbox, and of the others the
/// newest.
pub(in crate::wire) fn sessions_out(sessions: &[Session]) -> Vec<v1::Session> {
    let older = sessions.len().saturating_sub(SESSIONS_PER_SANDBOX_MAX);
    let left_out = 1..=older;
    let listed = sessions.iter().enumerate().filter(|(at, _)| !left_out.contains(at));
    listed.map(|(_, session)| session.into()).collect()
}

/// Takes sessions that are told; those that are too many or can't be read are left out, with a note.
pub(in crate::wire) fn sessions_in(
    wire: Vec<v1::Session>,
    notes: &mut Vec<String>,
) -> Vec<Session> {
    let count = wire.len();
    let mut out = Vec::new();
    for session in wire.into_iter().take(SESSIONS_PER_SANDBOX_MAX) {
        match Session::try_from(session) {
            Ok(session) => out.push(session),
            Err(fault) => notes.push(format!("a session can't be read: {}", fault.message())),
        }
    }
    if count > SESSIONS_PER_SANDBOX_MAX {
        notes.push(format!("it has {count} sessions; {SESSIONS_PER_SANDBOX_MAX} are shown"));
    }
    out
}

impl TryFrom<v1::Session> for Session {
    type Error = Fault;

    fn try_from(wire: v1::Session) -> Outcome<Self> {
        let status = known_status_in(wire.status);
        let status_why = match status {
            Some(_) => shown(&wire.status_why, LINE_BYTES_MAX),
            None => format!("a status that this version does not know: {}", wire.status),
        };
        // A way to end that this version does not know is an end without an exit code.
        let exit: Option<ExitStatus> = wire.exit.and_then(|it| it.try_into().ok());
        let unknown_end = wire.exit.is_some() && exit.is_none();
        Ok(Self {
            id: session_id(&wire.id)?,
            sandbox: super::sandbox_id(&wire.sandbox)?,
            ordinal: wire.ordinal.max(1),
            command: shown_arguments("session.command", wire.command)?,
            status: status.unwrap_or(Status::Unknown),
            status_why,
            status_since: stamp(wire.status_since_ms),
            pid: wire.pid,
            size: wire.size.map_or(Size::DEFAULT, Into::into),
            title: wire.title.map(|it| shown(&it, TITLE_BYTES_MAX)),
            started_at: Timestamp(wire.started_at_ms),
            exit,
            exited_at: stamp(wire.exited_at_ms.or(unknown_end.then_some(wire.started_at_ms))),
            lease: wire.lease.map(TryInto::try_into).transpose()?,
            output_bytes: wire.output_bytes,
            last_output_at: stamp(wire.last_output_at_ms),
            journal_lost_bytes: wire.journal_lost_bytes,
            bells: wire.bells,
            recording: wire.recording,
            asking: wire
                .asking
                .map(|it| Asking { reaches: it.reaches, why: shown(&it.why, ASKING_BYTES_MAX) }),
        })
    }
}

/// Takes a command that is only for show.
pub(super) fn shown_arguments(field: &str, value: Vec<String>) -> Outcome<Vec<String>> {
    let bytes: usize = value.iter().map(|it| it.len() + 1).sum();
    if bytes > COMMAND_SHOWN_BYTES_MAX + 1 {
        return Err(Fault::invalid(format!(
            "{field} is longer than {COMMAND_SHOWN_BYTES_MAX} bytes"
        )));
    }
    Ok(value)
}
