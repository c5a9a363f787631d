//! What a session's status stands on: evidence, processes, and what became of each.

use std::time::Duration;

use super::{duration, entry_in, required, session_id, stamp};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{
            EVIDENCE_MAX, LINE_BYTES_MAX, NAME_BYTES_MAX, NOTES_MAX, PROCESS_COMMAND_BYTES_MAX,
            PROCESSES_SHOWN_MAX,
        },
        text::{cut, shown},
    },
    model::{
        process::{Doing, Process, Processes},
        session::Status,
        status::{Cause, Evidence, Explained, Source, Weight},
    },
    wire::{convert::milliseconds, v1},
};

/// Two readings further apart than this are two matters.
const APART_MAX: Duration = Duration::from_secs(3600);

enums! {
    status_out, known_status_in: Status = SessionStatus {
        Starting, Working, Waiting, Idle, Stuck, Exited, Unknown,
    }
    source_out, source_in: Source = StatusSource {
        Runtime, Hook, Program, Terminal, Screen, Output, Process,
    }
    cause_out, cause_in: Cause = StatusCause {
        Ask, Paused, Stopped, Deadlock, Disk, Network, Repeats, Loops, Spins, Banner, Memory,
        Zombies, Full,
    }
    weight_out, weight_in: Weight = EvidenceWeight { Decides, Agrees, Outranked, Stale, Silent, }
    doing_out, doing_in: Doing = ProcessDoing {
        Runs, Terminal, Child, Lock, Timer, Socket, Listens, Pipe, Events, Disk, Stopped, Zombie,
        Unknown,
    }
}

impl From<&(Evidence, Weight)> for v1::StatusEvidence {
    fn from((it, weight): &(Evidence, Weight)) -> Self {
        Self {
            source: source_out(it.source).into(),
            what: cut(&it.what, NAME_BYTES_MAX).to_owned(),
            says: it.says.map(|it| status_out(it).into()),
            cause: it.cause.map(|it| cause_out(it).into()),
            since_ms: it.since.0,
            at_ms: it.at.0,
            until_ms: it.until.map(|it| it.0),
            words: cut(&it.words, LINE_BYTES_MAX).to_owned(),
            weight: weight_out(*weight).into(),
        }
    }
}

/// One piece with what became of it, as both are told together.
struct Weighed((Evidence, Weight));

impl TryFrom<v1::StatusEvidence> for Weighed {
    type Error = Fault;

    fn try_from(wire: v1::StatusEvidence) -> Outcome<Self> {
        let source = source_in(wire.source);
        let evidence = Evidence {
            source: required("evidence.source", source)?,
            what: shown(&wire.what, NAME_BYTES_MAX),
            // A status of a newer version is one that nothing is known of here.
            says: wire.says.map(|it| known_status_in(it).unwrap_or(Status::Unknown)),
            cause: wire.cause.and_then(cause_in),
            since: Timestamp(wire.since_ms),
            at: Timestamp(wire.at_ms),
            until: stamp(wire.until_ms),
            words: shown(&wire.words, LINE_BYTES_MAX),
        };
        Ok(Self((evidence, weight_in(wire.weight).unwrap_or(Weight::Silent))))
    }
}

impl From<&Process> for v1::Process {
    fn from(it: &Process) -> Self {
        Self {
            pid: it.pid,
            parent: it.parent,
            name: cut(&it.name, NAME_BYTES_MAX).to_owned(),
            command: cut(&it.command, PROCESS_COMMAND_BYTES_MAX).to_owned(),
            foreground: it.foreground,
            threads: it.threads,
            cpu_ms: milliseconds(it.cpu),
            doing: doing_out(it.doing).into(),
            endless: it.endless,
            keys: it.keys,
            linked: it.linked,
            on: it.on.as_deref().map(|it| cut(it, PROCESS_COMMAND_BYTES_MAX).to_owned()),
            call: it.call.as_deref().map(|it| cut(it, NAME_BYTES_MAX).to_owned()),
        }
    }
}

impl From<v1::Process> for Process {
    fn from(wire: v1::Process) -> Self {
        Self {
            pid: wire.pid,
            parent: wire.parent,
            name: shown(&wire.name, NAME_BYTES_MAX),
            command: shown(&wire.command, PROCESS_COMMAND_BYTES_MAX),
            foreground: wire.foreground,
            threads: wire.threads,
            cpu: Duration::from_millis(wire.cpu_ms),
            doing: doing_in(wire.doing).unwrap_or(Doing::Unknown),
            endless: wire.endless,
            keys: wire.keys,
            linked: wire.linked,
            on: wire.on.map(|it| shown(&it, PROCESS_COMMAND_BYTES_MAX)),
            call: wire.call.map(|it| shown(&it, NAME_BYTES_MAX)),
        }
    }
}

impl From<&Processes> for v1::Processes {
    fn from(it: &Processes) -> Self {
        let notes = it.notes.iter().take(NOTES_MAX);
        Self {
            at_ms: it.at.map(|it| it.0),
            all: it.all.iter().take(PROCESSES_SHOWN_MAX).map(Into::into).collect(),
            more: it.more,
            notes: notes.map(|it| cut(it, LINE_BYTES_MAX).to_owned()).collect(),
            apart_ms: it.apart.map(|it| milliseconds(it.min(APART_MAX))),
        }
    }
}

impl TryFrom<v1::Processes> for Processes {
    type Error = Fault;

    fn try_from(wire: v1::Processes) -> Outcome<Self> {
        let notes = wire.notes.iter().take(NOTES_MAX);
        let apart = wire.apart_ms.map(|it| duration("processes.apart_ms", it, APART_MAX));
        Ok(Self {
            at: stamp(wire.at_ms),
            all: wire.all.into_iter().take(PROCESSES_SHOWN_MAX).map(Into::into).collect(),
            more: wire.more,
            notes: notes.map(|it| shown(it, LINE_BYTES_MAX)).collect(),
            apart: apart.transpose()?,
        })
    }
}

impl From<&Explained> for v1::Explained {
    fn from(it: &Explained) -> Self {
        Self {
            session: it.session.to_string(),
            status: status_out(it.status).into(),
            since_ms: it.since.map(|it| it.0),
            why: cut(&it.why, LINE_BYTES_MAX).to_owned(),
            evidence: it.evidence.iter().take(EVIDENCE_MAX).map(Into::into).collect(),
            processes: Some((&it.processes).into()),
            at_ms: it.at.0,
        }
    }
}

impl TryFrom<v1::Explained> for Explained {
    type Error = Fault;

    fn try_from(wire: v1::Explained) -> Outcome<Self> {
        let evidence = wire.evidence.into_iter().take(EVIDENCE_MAX);
        Ok(Self {
            session: session_id(&wire.session)?,
            status: known_status_in(wire.status).unwrap_or(Status::Unknown),
            since: stamp(wire.since_ms),
            why: shown(&wire.why, LINE_BYTES_MAX),
            evidence: evidence.filter_map(entry_in::<_, Weighed>).map(|it| it.0).collect(),
            processes: required("explained.processes", wire.processes)?.try_into()?,
            at: Timestamp(wire.at_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::SessionId;

    #[test]
    fn what_is_explained_arrives_as_it_was_told_and_odd_words_are_shown() {
        let evidence = |source: &Source| Evidence {
            source: *source,
            what: "which".to_owned(),
            says: Some(Status::Unknown),
            cause: Some(Cause::Deadlock),
            since: Timestamp(1),
            at: Timestamp(2),
            until: Some(Timestamp(3)),
            words: "it says so".to_owned(),
        };
        let weights = Weight::ALL.iter().cycle().copied();
        let process = |doing: &Doing| Process {
            pid: 2,
            parent: 1,
            name: "x".to_owned(),
            command: "x y".to_owned(),
            foreground: true,
            threads: 3,
            cpu: Duration::from_millis(10),
            doing: *doing,
            endless: true,
            keys: false,
            linked: true,
            on: Some("127.0.0.1:80".to_owned()),
            call: None,
        };
        let told = Explained {
            session: SessionId::random(),
            status: Status::Stuck,
            since: None,
            why: "it is".to_owned(),
            evidence: Source::ALL.iter().map(evidence).zip(weights).collect(),
            processes: Processes {
                at: Some(Timestamp(4)),
                all: Doing::ALL.iter().map(process).collect(),
                more: 5,
                notes: vec!["a note".to_owned()],
                apart: Some(Duration::from_millis(500)),
            },
            at: Timestamp(6),
        };
        let mut wire = v1::Explained::from(&told);
        assert_eq!(Explained::try_from(wire.clone()), Ok(told));
        // Of a newer version, or hostile: what is not known is left out or unknown, and nothing acts on a terminal.
        wire.status = 99;
        wire.why = "\u{1b}[31m".to_owned();
        wire.evidence[0].source = 99;
        wire.evidence[1].weight = 99;
        let read = Explained::try_from(wire.clone()).unwrap();
        assert_eq!((read.status, read.why.as_str()), (Status::Unknown, "\u{241b}[31m"));
        assert_eq!(read.evidence.len(), Source::ALL.len() - 1);
        assert_eq!(read.evidence[0].1, Weight::Silent);
        wire.evidence = vec![wire.evidence[2].clone(); 2 * EVIDENCE_MAX];
        assert_eq!(Explained::try_from(wire.clone()).unwrap().evidence.len(), EVIDENCE_MAX);
        wire.processes = None;
        assert!(Explained::try_from(wire).is_err());
    }
}
