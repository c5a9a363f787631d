//! The hub's side of a shim: `Seat` over its socket. Every call has a connection of its own; only
//! input keeps one, so that keys stay in order.

use std::{
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    sync::{Mutex, watch},
    task::AbortHandle,
    time::timeout,
};
use tokio_stream::StreamExt;

use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        id::SessionId,
        limits::{ANSWER_WITHIN, CREATE_WITHIN, LINE_BYTES_MAX, PTY_CHUNK_BYTES_MAX},
        text,
        units::Size,
    },
    config::paths::SocketPath,
    driver::Ground,
    model::{
        output::{Output, OutputRequest},
        sandbox::SandboxSpec,
        session::{Lease, Session, SessionSpec},
    },
    session::{
        seat::{BoxStream, ExecOutput, Seat, SeatEvent},
        unfold::unfold,
    },
    wire::{
        convert::{
            milliseconds,
            output::{OutputReader, request_out},
        },
        shim::{self as wire, Answer, Call, Frames, PROTOCOL, Start, answer, call, event_in, send},
    },
};

/// Names of a shim's files, as the shim itself has them.
const SPEC_FILE: &str = "spec";
const SOCKET_FILE: &str = "shim.sock";
const FAULT_FILE: &str = "shim.fault";
const LOG_FILE: &str = "shim.log";

/// A connection to one living shim.
pub struct ShimLink {
    dir: PathBuf,
    name: String,
    /// How the shim's process ended; known only to the hub that started it.
    ended: watch::Receiver<Option<ExitStatus>>,
    /// Keys, in order; `None` until the first.
    input: Mutex<Option<Connection>>,
}

struct Connection {
    answers: Frames<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl ShimLink {
    /// Starts a shim (`program shim DIR`) for a sandbox and waits until the sandbox is made; the
    /// driver's own fault is returned when it could not be. `program`: normally
    /// `std::env::current_exe()`. `ground.dir` must exist; recordings go under `recordings`.
    pub async fn launch(
        program: &Path,
        ground: &Ground,
        recordings: &Path,
        spec: &SandboxSpec,
    ) -> Outcome<Box<dyn Seat>> {
        write_spec(ground, recordings, spec)?;
        let mut child = spawn(program, &ground.dir)?;
        let mut answers = match child.stdout.take() {
            Some(stdout) => Frames::new(stdout),
            None => return Err(Fault::bug("a shim without its standard output")),
        };
        let answer = timeout(CREATE_WITHIN, answers.next::<Answer>()).await;
        let fault = match answer {
            Ok(Ok(Some(Answer { what: Some(answer::What::Welcome(_)) }))) => {
                let ended = reap(child);
                return Ok(Box::new(Self::new(ground, ended)));
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
            answer::What::Welcome(welcome) if welcome.protocol > PROTOCOL => {
                let version = text::visible(&welcome.version);
                Err(Fault::unsupported(format!(
                    "the shim of {} is of version {version}, newer than this hub",
                    ground.name
                ))
                .hint("start the newer hub again"))
            }
            answer::What::Welcome(_) => Ok(Box::new(link)),
            _ => Err(unexpected()),
        }
    }

    /// Whether nobody listens on the shim's socket: only then is the shim certainly no more.
    pub async fn is_dead(ground: &Ground) -> bool {
        let Ok(path) = SocketPath::open(&ground.dir.join(SOCKET_FILE)) else { return true };
        let connected = timeout(ANSWER_WITHIN, UnixStream::connect(path.path())).await;
        matches!(connected, Ok(Err(error)) if matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        ))
    }

    fn new(ground: &Ground, ended: watch::Receiver<Option<ExitStatus>>) -> Self {
        let (dir, name) = (ground.dir.clone(), ground.name.clone());
        Self { dir, name, ended, input: Mutex::new(None) }
    }

    async fn connect(&self) -> Outcome<Connection> {
        let path = SocketPath::open(&self.dir.join(SOCKET_FILE)).map_err(|it| self.lost(it))?;
        let stream = UnixStream::connect(path.path())
            .await
            .map_err(|error| self.lost(Fault::lost(format!("connecting to its shim: {error}"))))?;
        let (reader, writer) = stream.into_split();
        Ok(Connection { answers: Frames::new(reader), writer })
    }

    /// A shim that can't be reached: what it said last, if it is known, is the better reason.
    fn lost(&self, fault: Fault) -> Fault {
        let status = *self.ended.borrow();
        let words = match status {
            Some(_) => last_words(&self.dir, status),
            None => match fault_file(&self.dir) {
                Some(words) => format!("{}; its last words: {words}", fault.message()),
                None => fault.message().to_owned(),
            },
        };
        Fault::lost(format!("sandbox {} has lost its shim: {words}", self.name))
            .hint(format!("sandwatch rm {}", self.name))
    }

    /// Opens a connection with its first call.
    async fn begin(&self, what: call::What) -> Outcome<Connection> {
        let mut connection = self.connect().await?;
        let sent = send(&mut connection.writer, &Call::from(what)).await;
        sent.map_err(|it| self.lost(Fault::lost(format!("the connection broke: {it}"))))?;
        Ok(connection)
    }

    /// One call with one answer.
    async fn ask(&self, what: call::What, within: Duration) -> Outcome<answer::What> {
        let asked = async {
            let mut connection = self.begin(what).await?;
            connection.answer().await
        };
        match timeout(within, asked).await {
            Ok(Err(fault)) if fault.kind() == Kind::Lost => Err(self.lost(fault)),
            Ok(answer) => answer,
            Err(_) => Err(Fault::late(format!(
                "the shim of {} did not answer within {} s",
                self.name,
                within.as_secs()
            ))),
        }
    }

    async fn done(&self, what: call::What, within: Duration) -> Outcome<()> {
        match self.ask(what, within).await? {
            answer::What::Done(_) => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

impl Connection {
    /// The next answer; a fault is an error.
    async fn answer(&mut self) -> Outcome<answer::What> {
        match self.answers.next::<Answer>().await? {
            Some(Answer { what: Some(answer::What::Fault(fault)) }) => Err(fault.into()),
            Some(Answer { what: Some(what) }) => Ok(what),
            Some(Answer { what: None }) => Err(unexpected()),
            None => Err(Fault::lost("the connection ended")),
        }
    }
}

fn unexpected() -> Fault {
    Fault::unsupported("the shim gave an answer that this version does not know")
        .hint("make the sandbox anew with the current version")
}

fn write_spec(ground: &Ground, recordings: &Path, spec: &SandboxSpec) -> Outcome<()> {
    let start = Start {
        id: ground.id.clone(),
        name: ground.name.clone(),
        recordings: recordings.to_owned(),
        spec: spec.clone(),
    };
    let path = ground.dir.join(SPEC_FILE);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut it| io::Write::write_all(&mut it, &start.encode()));
    written.map_err(|it| Fault::io(format!("writing {}", path.display()), &it))
}

/// Starts the process with nothing of the hub's but a pipe for one message.
fn spawn(program: &Path, dir: &Path) -> Outcome<Child> {
    let path = dir.join(LOG_FILE);
    let log = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let log = log.map_err(|it| Fault::io(format!("opening {}", path.display()), &it))?;
    // What a panic before its own log says must not be readable by others.
    drop(log.set_permissions(std::fs::Permissions::from_mode(0o600)));
    Command::new(program)
        .arg("shim")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(false)
        .spawn()
        .map_err(|it| Fault::io(format!("starting a shim: {}", program.display()), &it))
}

/// Waits for the process in the background, so that it leaves no zombie and its end is known.
fn reap(mut child: Child) -> watch::Receiver<Option<ExitStatus>> {
    let (tell, ended) = watch::channel(None);
    tokio::spawn(async move {
        if let Ok(status) = child.wait().await {
            tell.send_replace(Some(status));
        }
    });
    ended
}

/// Why a shim is no more, for a person.
fn last_words(dir: &Path, status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;
    let how = match status {
        Some(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, Some(code)) => format!("it ended with code {code}"),
            (None, None) => "it ended".to_owned(),
        },
        None => "it died".to_owned(),
    };
    match fault_file(dir) {
        Some(words) => format!("{how}; its last words: {words}"),
        None => how,
    }
}

fn fault_file(dir: &Path) -> Option<String> {
    use io::Read;
    let mut words = Vec::new();
    let file = std::fs::File::open(dir.join(FAULT_FILE)).ok()?;
    file.take(LINE_BYTES_MAX as u64).read_to_end(&mut words).ok()?;
    Some(text::visible(String::from_utf8_lossy(&words).trim()))
}

#[async_trait]
impl Seat for ShimLink {
    async fn events(&self) -> Outcome<BoxStream<SeatEvent>> {
        let connection = self.begin(call::What::Events(wire::Events {})).await?;
        let feed =
            Events { connection, dir: self.dir.clone(), ended: self.ended.clone(), over: false };
        Ok(unfold(feed, |mut feed| async move {
            let next = feed.next().await;
            (feed, next)
        }))
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
        let stdin = tokio::spawn(send_stdin(stdin, connection.writer)).abort_handle();
        let running = Running { answers: connection.answers, stdin, over: false };
        Ok(unfold(running, |mut running| async move {
            let next = running.next().await;
            (running, next)
        }))
    }

    async fn output(
        &self,
        session: &SessionId,
        request: OutputRequest,
    ) -> Outcome<BoxStream<Outcome<Output>>> {
        let connection = self.begin(call::What::Output(request_out(session, &request))).await?;
        let watch = Watch { connection, reader: OutputReader::default(), over: false };
        Ok(unfold(watch, |mut watch| async move {
            let next = watch.next().await;
            (watch, next)
        }))
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
            match connection.answers.next::<Answer>().await?.and_then(|it| it.what) {
                Some(what) => Ok(what),
                None => Err(Fault::lost("the connection ended")),
            }
        };
        let answer = match timeout(ANSWER_WITHIN, asked).await {
            Ok(answer) => answer.map_err(|it| self.lost(it))?,
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

    async fn pause(&self) -> Outcome<()> {
        self.done(call::What::Pause(wire::Pause {}), 2 * ANSWER_WITHIN).await
    }

    async fn resume(&self) -> Outcome<()> {
        self.done(call::What::Resume(wire::Resume {}), 2 * ANSWER_WITHIN).await
    }

    async fn stop(&self, grace: Duration) -> Outcome<()> {
        let stop = wire::Stop { grace_ms: milliseconds(grace) };
        self.done(call::What::Stop(stop), grace + 2 * ANSWER_WITHIN).await
    }

    async fn remove(&self) -> Outcome<()> {
        self.done(call::What::Remove(wire::Remove {}), CREATE_WITHIN).await
    }
}

struct Events {
    connection: Connection,
    dir: PathBuf,
    ended: watch::Receiver<Option<ExitStatus>>,
    over: bool,
}

impl Events {
    async fn next(&mut self) -> Option<SeatEvent> {
        while !self.over {
            let answer = self.connection.answer().await;
            match answer.and_then(event_in) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    self.over = matches!(event, SeatEvent::Gone { .. });
                    return Some(event);
                }
                Err(fault) => {
                    self.over = true;
                    return Some(SeatEvent::Gone { reason: self.reason(&fault).await });
                }
            }
        }
        None
    }

    /// The connection ended without a word. The process ends a moment later, if it has not yet.
    async fn reason(&mut self, fault: &Fault) -> String {
        let waited = timeout(ANSWER_WITHIN, self.ended.wait_for(Option::is_some)).await;
        let status = waited.ok().and_then(Result::ok).and_then(|it| *it);
        match status {
            None if fault.kind() != Kind::Lost => format!("its shim: {}", fault.message()),
            status => format!("its shim died: {}", last_words(&self.dir, status)),
        }
    }
}

struct Watch {
    connection: Connection,
    reader: OutputReader,
    over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Outcome<Output>> {
        while !self.over {
            let message = match self.connection.answers.next::<Answer>().await {
                Ok(Some(Answer { what: Some(answer::What::Output(message)) })) => message,
                Ok(Some(Answer { what: Some(answer::What::Fault(fault)) })) => {
                    self.over = true;
                    return Some(Err(fault.into()));
                }
                Ok(Some(_)) => continue,
                Ok(None) => return None,
                Err(fault) => {
                    self.over = true;
                    return Some(Err(fault));
                }
            };
            match self.reader.take(message) {
                Ok(None) => {}
                Ok(Some(output)) => {
                    self.over = matches!(output, Output::Exit { .. });
                    return Some(Ok(output));
                }
                Err(fault) => {
                    self.over = true;
                    return Some(Err(fault));
                }
            }
        }
        None
    }
}

async fn send_stdin(mut stdin: BoxStream<Bytes>, mut writer: OwnedWriteHalf) {
    while let Some(mut bytes) = stdin.next().await {
        while !bytes.is_empty() {
            let data = bytes.split_to(bytes.len().min(PTY_CHUNK_BYTES_MAX));
            let piece = Call::from(call::What::Stdin(wire::Stdin { data }));
            if send(&mut writer, &piece).await.is_err() {
                return;
            }
        }
    }
    drop(send(&mut writer, &Call::from(call::What::StdinEnd(wire::StdinEnd {}))).await);
    // The connection stays open until the output is dropped: its end would kill the program.
    std::future::pending::<()>().await;
}

struct Running {
    answers: Frames<OwnedReadHalf>,
    stdin: AbortHandle,
    over: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stdin.abort();
    }
}

impl Running {
    async fn next(&mut self) -> Option<Outcome<ExecOutput>> {
        if self.over {
            return None;
        }
        let output = match self.answers.next::<Answer>().await {
            Ok(Some(Answer { what: Some(answer::What::Exec(output)) })) => output.try_into(),
            Ok(Some(Answer { what: Some(answer::What::Fault(fault)) })) => Err(fault.into()),
            Ok(Some(_)) => Err(unexpected()),
            Ok(None) => Err(Fault::lost("the sandbox went away while the program ran")),
            Err(fault) => Err(fault),
        };
        self.over = matches!(output, Err(_) | Ok(ExecOutput::Exit(_)));
        Some(output)
    }
}
