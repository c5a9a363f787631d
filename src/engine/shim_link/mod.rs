//! The hub's side of a shim: `Seat` over its socket. Every call has a connection of its own; only
//! input keeps one, so that keys stay in order.

mod connection;
mod hung;
mod process;
mod streams;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

use self::{
    connection::{Connection, unexpected},
    process::{RuleFiles, last_words, reap, spawn, write_spec},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::{AskId, SessionId},
        limits::{ANSWER_WITHIN, CREATE_WITHIN, SHIM_SILENT_AFTER, SNAPSHOT_WITHIN},
        text,
        units::Size,
    },
    driver::Ground,
    model::{
        ask,
        output::{Output, OutputRequest},
        sandbox::SandboxSpec,
        secret::Given,
        session::{Lease, Session, SessionSpec},
        status::Explained,
        syscall::SyscallPart,
        traffic::{RuledPart, Traffic},
    },
    session::seat::{BoxStream, ExecOutput, Hold, Seat, SeatEvent},
    wire::{
        convert::{milliseconds, output::request_out, secret::given_out},
        shim::{self as wire, Answer, Call, Frames, PROTOCOL, answer, call, send},
    },
};

/// A connection to one living shim.
pub struct ShimLink {
    dir: PathBuf,
    name: String,
    /// How the shim's process ended; known only to the hub that started it.
    ended: watch::Receiver<Option<ExitStatus>>,
    /// Keys, in order; `None` until the first.
    input: Mutex<Option<Connection>>,
}

impl ShimLink {
    /// Starts a shim (`program shim DIR`) for a sandbox and waits until the sandbox is made; the
    /// driver's own fault is returned when it could not be. `program`: normally
    /// `engine::OWN_PROGRAM`. `ground.dir` must exist; recordings go under `recordings`.
    pub async fn launch(
        program: &Path,
        ground: &Ground,
        recordings: &Path,
        rules: RuleFiles<'_>,
        spec: &SandboxSpec,
    ) -> Outcome<Box<dyn Seat>> {
        write_spec(ground, recordings, rules, spec)?;
        let mut child = spawn(program, &ground.dir)?;
        let mut answers = match child.stdout.take() {
            Some(stdout) => Frames::new(stdout),
            None => return Err(Fault::bug("a shim without its standard output")),
        };
        let answer = timeout(CREATE_WITHIN, answers.next::<Answer>()).await;
        let fault = match answer {
            Ok(Ok(Some(Answer { what: Some(answer::What::Welcome(welcome)) }))) => {
                match compatible(&welcome, &ground.name) {
                    Ok(()) => return Ok(Box::new(Self::new(ground, reap(child)))),
                    Err(fault) => fault,
                }
            }
            Ok(Ok(Some(Answer { what: Some(answer::What::Fault(fault)) }))) => fault.into(),
            Err(_) => Fault::late(format!(
                "the sandbox was not made within {} s: {}",
                CREATE_WITHIN.as_secs(),
                ground.name
            )),
            Ok(_) => {
                let status = timeout(ANSWER_WITHIN, child.wait()).await.ok().and_then(Result::ok);
                Fault::failed(last_words(&ground.dir, status)).context("the shim did not start")
            }
        };
        // It ends by itself after a fault; a stuck one must not.
        drop(timeout(ANSWER_WITHIN, child.wait()).await);
        drop(child.kill().await);
        Err(fault)
    }

    /// Connects to the shim a hub before this one started; `Lost` when it is not alive, with the
    /// reason it left (its last words) in the message.
    pub async fn adopt(ground: &Ground) -> Outcome<Box<dyn Seat>> {
        let (_, unknown) = watch::channel(None);
        let link = Self::new(ground, unknown);
        match link.ask(call::What::Ping(wire::Ping {}), ANSWER_WITHIN).await? {
            answer::What::Welcome(welcome) if welcome.sandbox != ground.id.as_str() => {
                Err(Fault::invalid(format!(
                    "the shim in {} holds another sandbox",
                    ground.dir.display()
                )))
            }
            answer::What::Welcome(welcome) => {
                compatible(&welcome, &ground.name)?;
                Ok(Box::new(link))
            }
            _ => Err(unexpected()),
        }
    }

    /// Whether nobody listens on the shim's socket: only then is the shim certainly no more.
    pub async fn is_dead(ground: &Ground) -> bool {
        connection::is_dead(&ground.dir).await
    }

    fn new(ground: &Ground, ended: watch::Receiver<Option<ExitStatus>>) -> Self {
        let (dir, name) = (ground.dir.clone(), ground.name.clone());
        Self { dir, name, ended, input: Mutex::new(None) }
    }
}

/// Whether this hub can work with a shim that introduces itself so.
fn compatible(welcome: &wire::Welcome, name: &str) -> Outcome<()> {
    if welcome.protocol <= PROTOCOL {
        return Ok(());
    }
    let version = text::visible(&welcome.version);
    Err(Fault::unsupported(format!(
        "the shim of {name} is of version {version}, newer than this hub"
    ))
    .hint("start the newer hub again"))
}

#[async_trait]
impl Seat for ShimLink {
    async fn pulse(&self) -> Outcome<()> {
        match self.ask(call::What::Ping(wire::Ping {}), SHIM_SILENT_AFTER).await? {
            answer::What::Welcome(_) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    async fn events(&self) -> Outcome<BoxStream<SeatEvent>> {
        let connection = self.begin(call::What::Events(wire::Events {})).await?;
        Ok(streams::events(connection, self.dir.clone(), self.ended.clone()))
    }

    async fn open(&self, id: SessionId, spec: SessionSpec) -> Outcome<Session> {
        let open = wire::OpenSession { session: id.to_string(), spec: Some((&spec).into()) };
        match self.ask(call::What::Open(open), 2 * ANSWER_WITHIN).await? {
            answer::What::Session(session) => session.try_into(),
            _ => Err(unexpected()),
        }
    }

    async fn exec(
        &self,
        spec: SessionSpec,
        stdin: BoxStream<Bytes>,
    ) -> Outcome<BoxStream<Outcome<ExecOutput>>> {
        let connection = self.begin(call::What::Exec((&spec).into())).await?;
        Ok(streams::exec(connection, stdin))
    }

    async fn output(
        &self,
        session: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>> {
        let connection = self.begin(call::What::Output(request_out(session, &request))).await?;
        Ok(streams::output(connection))
    }

    async fn input(&self, session: &SessionId, bytes: Bytes) -> Outcome<()> {
        let input = wire::Input { session: session.to_string(), data: bytes };
        let call = Call::from(call::What::Input(input));
        let mut kept = self.input.lock().await;
        // Taken out while in use: a caller that gives up half-way must not leave half an answer.
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let asked = async {
            let sent = send(&mut connection.writer, &call).await;
            sent.map_err(|it| Fault::lost(format!("the connection broke: {it}")))?;
            connection.answer().await
        };
        let answer = match timeout(ANSWER_WITHIN, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => return Err(self.broken(fault).await),
            Err(_) => {
                return Err(Fault::late(format!("the shim of {} does not take input", self.name)));
            }
        };
        *kept = Some(connection);
        match answer {
            answer::What::Done(_) => Ok(()),
            answer::What::Fault(fault) => Err(fault.into()),
            _ => Err(unexpected()),
        }
    }

    async fn resize(&self, session: &SessionId, size: Size) -> Outcome<()> {
        let resize = wire::Resize { session: session.to_string(), size: Some(size.into()) };
        self.done(call::What::Resize(resize), ANSWER_WITHIN).await
    }

    async fn set_lease(&self, session: &SessionId, lease: Option<Lease>) -> Outcome<()> {
        let lease = lease.as_ref().map(Into::into);
        let lease = wire::SetLease { session: session.to_string(), lease };
        self.done(call::What::SetLease(lease), ANSWER_WITHIN).await
    }

    async fn forget(&self, request: &ask::Request) -> Outcome<()> {
        let forget = wire::Forget { request: Some(request.into()) };
        self.done(call::What::Forget(forget), ANSWER_WITHIN).await
    }

    async fn give(&self, given: Vec<Given>) -> Outcome<()> {
        let give = wire::Give { given: given_out(&given) };
        self.done(call::What::Give(give), ANSWER_WITHIN).await
    }

    async fn root(&self) -> Outcome<OwnedFd> {
        timeout(ANSWER_WITHIN, self.ask_for_root()).await.unwrap_or_else(|_| {
            Err(Fault::late(format!("the shim of {} did not answer in time", self.name)))
        })
    }

    async fn traffic(&self) -> Outcome<Traffic> {
        match self.ask(call::What::TellTraffic(wire::TellTraffic {}), ANSWER_WITHIN).await? {
            answer::What::Traffic(it) => Ok(it.into()),
            _ => Err(unexpected()),
        }
    }

    async fn explain(&self, session: &SessionId) -> Outcome<Explained> {
        let call =
            call::What::ExplainSession(wire::ExplainSession { session: session.to_string() });
        match self.ask(call, ANSWER_WITHIN).await? {
            answer::What::Explained(it) => it.try_into(),
            _ => Err(unexpected()),
        }
    }

    async fn syscalls(&self, session: &SessionId, pid: u32) -> Outcome<BoxStream<SyscallPart>> {
        let session = session.to_string();
        let call = call::What::Syscalls(crate::wire::v1::SyscallsRequest { session, pid });
        // The first part says that it is looked at, or why it is not.
        let begun = async {
            let mut connection = self.begin(call).await?;
            match connection.answer().await {
                Ok(answer::What::Syscalls(first)) => Ok((first.into(), connection)),
                Ok(answer::What::Fault(fault)) => Err(fault.into()),
                Ok(_) => Err(unexpected()),
                Err(fault) => Err(self.broken(fault).await),
            }
        };
        let late =
            |_| Err(Fault::late(format!("the shim of {} did not answer in time", self.name)));
        let (first, connection) = timeout(ANSWER_WITHIN, begun).await.unwrap_or_else(late)?;
        Ok(streams::syscalls(first, connection))
    }

    async fn ruled(&self, (gate, number): (u64, u64), all: bool) -> Outcome<RuledPart> {
        let tell = wire::TellRuled { gate, number, all };
        match self.ask(call::What::TellRuled(tell), ANSWER_WITHIN).await? {
            answer::What::Ruled(it) => Ok(it.into()),
            _ => Err(unexpected()),
        }
    }

    async fn answer(&self, ask: &AskId, answer: ask::Answer, edit: Option<String>) -> Outcome<()> {
        let answer = crate::wire::v1::AskAnswer { edit, ..(&answer).into() };
        let answer = wire::AnswerAsk { ask: ask.to_string(), answer: Some(answer) };
        self.done(call::What::AnswerAsk(answer), ANSWER_WITHIN).await
    }

    async fn pause(&self) -> Outcome<()> {
        self.done(call::What::Pause(wire::Pause {}), 2 * ANSWER_WITHIN).await
    }

    async fn resume(&self) -> Outcome<()> {
        self.done(call::What::Resume(wire::Resume {}), 2 * ANSWER_WITHIN).await
    }

    async fn hold(&self, memory: bool) -> Outcome<Hold> {
        let held = async {
            let mut connection = self.begin(call::What::Hold(wire::Hold { memory })).await?;
            match connection.answer().await {
                Ok(answer::What::Done(_)) => Ok(Box::new(connection) as Hold),
                Ok(answer::What::Fault(fault)) => Err(fault.into()),
                Ok(_) => Err(unexpected()),
                Err(fault) => Err(self.broken(fault).await),
            }
        };
        let within = if memory { SNAPSHOT_WITHIN } else { 2 * ANSWER_WITHIN };
        timeout(within, held).await.unwrap_or_else(|_| {
            Err(Fault::late(format!("the programs of {} can't be held still", self.name)))
        })
    }

    async fn vacate(&self) -> Outcome<()> {
        self.done(call::What::Vacate(wire::Vacate {}), CREATE_WITHIN).await
    }

    async fn stop(&self, grace: Duration) -> Outcome<()> {
        let stop = wire::Stop { grace_ms: milliseconds(grace) };
        self.done(call::What::Stop(stop), grace + 2 * ANSWER_WITHIN).await
    }

    async fn remove(&self) -> Outcome<()> {
        self.done(call::What::Remove(wire::Remove {}), CREATE_WITHIN).await
    }
}
