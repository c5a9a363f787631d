//! The contract between a hub and whoever holds one sandbox's sessions: `House` in the same process
//! (fake, docker) or a shim behind a socket (local). The hub sees no difference.

use std::os::fd::OwnedFd;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_stream::Stream;

use crate::{
    base::{
        fault::{Fault, Outcome},
        id::{AskId, SandboxId, SessionId},
        units::Size,
    },
    driver::{NO_SYSCALLS, PlaceFacts},
    model::{
        ask::{Answer, Asked, Request},
        fact::Fact,
        output::{Output, OutputRequest},
        sandbox::State,
        secret::Given,
        session::{ExitStatus, Lease, Session, SessionSpec},
        status::Explained,
        syscall::SyscallPart,
        traffic::{RuledPart, Traffic},
    },
};

/// What is said of a sandbox that has no gate, where one is needed, and what to do.
pub(super) const NO_GATE: &str = "nothing is known of its network: it does not ask";
pub(super) const NO_GATE_FOR_SECRETS: &str =
    "nothing goes out of it into which a secret could be put";
pub(super) const NO_GATE_HINT: &str =
    "make one whose network asks: sandwatch run --egress ask, with the driver local";

/// A boxed stream, as trait methods return them.
pub type BoxStream<T> = std::pin::Pin<Box<dyn Stream<Item = T> + Send>>;

/// All that a seat knows of its sandbox; sent whole whenever something in it changed.
#[derive(Clone, Debug, PartialEq)]
pub struct SeatReport {
    pub sandbox: SandboxId,
    pub state: State,
    pub facts: PlaceFacts,
    pub sessions: Vec<Session>,
    /// What its programs wait for an answer to.
    pub asks: Vec<Asked>,
    /// It has something to tell of what was decided at its way out: `Seat::ruled`.
    pub tells: bool,
}

/// What a seat tells without being asked.
#[derive(Clone, Debug, PartialEq)]
pub enum SeatEvent {
    /// First message, and after every change; bursts are merged (at most 10 a second).
    Report(Box<SeatReport>),
    Said {
        session: SessionId,
        fact: Fact,
    },
    /// The sandbox is gone; nothing follows. The reason is for a person.
    Gone {
        reason: String,
    },
    /// The connection to the seat ended, and nothing follows on it. Whether the sandbox lives is not known.
    Lost {
        fault: Fault,
    },
}

/// Programs are held still as long as this lives.
pub type Hold = Box<dyn Send + Sync>;

/// One message of a program without a PTY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecOutput {
    Stdout(Bytes),
    Stderr(Bytes),
    /// Last message.
    Exit(ExitStatus),
}

/// One sandbox's sessions, wherever they are held.
#[async_trait]
pub trait Seat: Send + Sync {
    /// Whether it answers: `Late` when it does not within a short time. What is in this process does.
    async fn pulse(&self) -> Outcome<()> {
        Ok(())
    }

    /// The feed of reports and facts; starts with a report.
    async fn events(&self) -> Outcome<BoxStream<SeatEvent>>;

    /// Starts a program under an id chosen by the hub.
    async fn open(&self, id: SessionId, spec: SessionSpec) -> Outcome<Session>;

    /// Runs a program without a PTY; dropping the output stream kills it.
    async fn exec(
        &self,
        spec: SessionSpec,
        stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>>;

    async fn output(
        &self,
        session: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>>;

    /// Queues input; `Busy` when the program does not read and the queue is full (nothing taken).
    async fn input(&self, session: &SessionId, bytes: Bytes) -> Outcome<()>;

    async fn resize(&self, session: &SessionId, size: Size) -> Outcome<()>;

    /// Remembers who holds the keyboard, so that the next hub knows. The hub decides, not the seat.
    async fn set_lease(&self, session: &SessionId, lease: Option<Lease>) -> Outcome<()>;

    /// Its root directory, for who resolves all below it; `Unsupported` where it has none of its own.
    async fn root(&self) -> Outcome<OwnedFd> {
        Err(Fault::unsupported("it has no root directory of its own"))
    }

    /// What went out of the sandbox, or was kept from it.
    async fn traffic(&self) -> Outcome<Traffic> {
        Err(Fault::unsupported(NO_GATE).hint(NO_GATE_HINT))
    }

    /// What a session does, and what that stands on; looks at its processes, twice where it may be stuck.
    async fn explain(&self, session: &SessionId) -> Outcome<Explained>;

    /// What a process of a session calls from now on; `pid` as the host has it.
    async fn syscalls(&self, _session: &SessionId, _pid: u32) -> Outcome<BoxStream<SyscallPart>> {
        Err(Fault::unsupported(NO_SYSCALLS))
    }

    /// What was decided at its way out without a person, to who has all up to this number of this gate; with `all`, also
    /// what would be told later.
    async fn ruled(&self, _have: (u64, u64), _all: bool) -> Outcome<RuledPart> {
        Ok(RuledPart::default())
    }

    /// What was answered for longer than once holds no more. Fine where nothing is remembered.
    async fn forget(&self, _request: &Request) -> Outcome<()> {
        Ok(())
    }

    /// Takes values of the sandbox's secrets, to be put in from now on. It keeps them in no file.
    async fn give(&self, _given: Vec<Given>) -> Outcome<()> {
        Err(Fault::unsupported(NO_GATE_FOR_SECRETS).hint(NO_GATE_HINT))
    }

    /// Whether an answer to this came before, and it waits still: nothing but a person answers it then.
    fn was_answered(&self, _ask: &AskId) -> bool {
        false
    }

    /// Answers what a program asked; `Absent` when it waits no more.
    /// `edit` is what is allowed in place of what was asked for.
    async fn answer(&self, ask: &AskId, answer: Answer, edit: Option<String>) -> Outcome<()>;

    async fn pause(&self) -> Outcome<()>;
    async fn resume(&self) -> Outcome<()>;
    /// Holds every program still until what it returns is dropped, by whatever end of the caller; what was
    /// paused stays so. The state that is reported does not change.
    /// With `memory` they are written down first, with what they have in memory, beside the sandbox's files.
    async fn hold(&self, memory: bool) -> Outcome<Hold>;
    async fn stop(&self, grace: std::time::Duration) -> Outcome<()>;
    /// Ends every program and the seat itself; the sandbox's files stay. Nothing can be asked of it then.
    async fn vacate(&self) -> Outcome<()>;
    /// Removes the sandbox and everything it has but its recordings.
    async fn remove(&self) -> Outcome<()>;
}
