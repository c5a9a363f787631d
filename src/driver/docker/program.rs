//! Programs in a container: each is an exec of the engine's, with a connection that carries what it says and is
//! told.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{
        AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf, duplex,
        split,
    },
    sync::{oneshot, watch},
    time::{sleep, timeout},
};

use super::{
    answer::{Created, Exec},
    end::{MARK, Seen, Unattended},
    engine::{Engine, Payload, escaped},
    frames::{self, End},
    life::{Life, Watched},
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        id::SessionId,
        limits::{
            ENGINE_ANSWER_WITHIN, ENGINE_END_WITHIN, ENGINE_LOOK_AGAIN_MAX, ENGINE_LOOK_AGAIN_MIN,
            ENGINE_LOOK_EVERY_MIN, ENGINE_SIZE_WITHIN, ENGINE_WORDS_BYTES_MAX, PTY_CHUNK_BYTES_MAX,
        },
        text,
        units::Size,
    },
    driver::{PipeIo, Program, PtyIo, TerminalUse},
    model::session::{ExitStatus, SessionSpec},
};

/// What all programs of one container share.
pub struct Programs {
    pub engine: Arc<Engine>,
    pub container: String,
    pub life: Arc<Watched>,
    /// Whether the engine's processes are seen on this machine.
    pub sees_processes: bool,
    /// What each program gets, below what its own spec adds.
    pub env: Vec<String>,
    /// Where programs start that name no directory; `None` = where the image has it.
    pub directory: Option<String>,
    /// For a command that names no program.
    pub shell: String,
    /// How many run that were started here.
    pub live: watch::Sender<usize>,
    /// Their marks, and where they are seen.
    pub ours: Mutex<BTreeMap<String, Option<Seen>>>,
}

/// One that was just started.
struct Begun {
    exec: String,
    mark: String,
    /// As this machine sees it, where it does.
    seen: Option<Seen>,
    stream: TokioIo<Upgraded>,
    unattended: Unattended,
}

impl Programs {
    pub async fn on_terminal(self: &Arc<Self>, spec: &SessionSpec) -> Outcome<Program<PtyIo>> {
        let begun = self.begin(spec, Some(spec.size)).await?;
        let (reader, writer) = split(begun.stream);
        let (end, ended) = oneshot::channel();
        let reader = Ending { inner: reader, end: Some(end) };
        let size = watch::Sender::new(spec.size);
        let (told, seen) = watch::channel(spec.size);
        tokio::spawn(Arc::clone(self).resize(begun.exec.clone(), size.subscribe(), told));
        // What is typed after a change of size is read after it.
        let (typed, keys) = duplex(PTY_CHUNK_BYTES_MAX);
        tokio::spawn(type_in(keys, writer, size.subscribe(), seen));
        let (report, exit) = oneshot::channel();
        let seen_as = begun.seen;
        let attended = Attended { exec: begun.exec, mark: begun.mark, seen: seen_as };
        tokio::spawn(Arc::clone(self).attend(attended, async { drop(ended.await) }, report));
        begun.unattended.attended();
        let resize = move |wanted: Size| {
            size.send_if_modified(|it| std::mem::replace(it, wanted) != wanted);
            Ok(())
        };
        let io = PtyIo {
            reader: Box::new(reader),
            writer: Box::new(typed),
            resize: Box::new(resize),
            terminal: Box::new(move || TerminalUse {
                lines: seen_as.and_then(Seen::lines),
                read: None,
            }),
        };
        Ok(Program { pid: seen_as.map(|it| it.pid), io, exit })
    }

    pub async fn on_pipes(self: &Arc<Self>, spec: &SessionSpec) -> Outcome<Program<PipeIo>> {
        let begun = self.begin(spec, None).await?;
        let (reader, stdin) = split(begun.stream);
        let (stdout, out) = duplex(PTY_CHUNK_BYTES_MAX);
        let (stderr, errors) = duplex(PTY_CHUNK_BYTES_MAX);
        let (report, exit) = oneshot::channel();
        let seen = begun.seen;
        let attended = Attended { exec: begun.exec, mark: begun.mark, seen };
        let (this, mark) = (Arc::clone(self), attended.mark.clone());
        let parting = async move {
            if frames::part(reader, out, errors).await == End::Unread {
                // Nobody reads on: that is hanging up too.
                this.kill(&mark, seen).await;
            }
        };
        tokio::spawn(Arc::clone(self).attend(attended, parting, report));
        begun.unattended.attended();
        let io =
            PipeIo { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr) };
        Ok(Program { pid: seen.map(|it| it.pid), io, exit })
    }

    /// Starts a program; one that can't be started is told in the engine's words.
    async fn begin(self: &Arc<Self>, spec: &SessionSpec, terminal: Option<Size>) -> Outcome<Begun> {
        let mark = SessionId::random().to_string();
        let command = match spec.command.as_slice() {
            [] => vec![self.shell.clone()],
            command => command.to_vec(),
        };
        let mut env = self.env.clone();
        env.extend(spec.env.iter().map(|(key, value)| format!("{key}={value}")));
        env.push(format!("{MARK}={mark}"));
        let at_start = self.engine.takes_size_at_start().await;
        let size = terminal.filter(|_| at_start);
        let size = size.map(|it| json!([it.rows(), it.cols()]));
        let mut asked = json!({
            "AttachStdin": true,
            "AttachStdout": true,
            "AttachStderr": true,
            "Tty": terminal.is_some(),
            "Cmd": command,
            "Env": env,
        });
        if let Some(fields) = asked.as_object_mut() {
            if let Some(cwd) = spec.cwd.as_ref().or(self.directory.as_ref()) {
                fields.insert("WorkingDir".to_owned(), cwd.as_str().into());
            }
            if let Some(size) = &size {
                fields.insert("ConsoleSize".to_owned(), size.clone());
            }
        }
        let exec = self.make(asked).await?;
        let start = json!({ "Detach": false, "Tty": terminal.is_some(), "ConsoleSize": size });
        let path = format!("/exec/{}/start", escaped(&exec));
        let unattended = Unattended::new(Arc::clone(self), exec.clone(), mark.clone());
        let mut stream = match self.engine.hijack(&path, Payload::Json(start)).await {
            Err(fault) if !matches!(fault.kind(), Kind::Late | Kind::Lost) => {
                unattended.attended();
                return Err(fault);
            }
            stream => stream?,
        };
        let seen = self.started(&exec).await?;
        if seen.pid == 0 && !seen.running {
            unattended.attended();
            let program = command.first().map(String::as_str).unwrap_or_default();
            return Err(refused(program, &mut stream).await);
        }
        if let Some(size) = terminal.filter(|_| !at_start) {
            self.first_size(&exec, size).await;
        }
        let seen = self.seen_here(seen.pid).await;
        Ok(Begun { exec, mark, seen, stream, unattended })
    }

    pub async fn make(&self, asked: Value) -> Outcome<String> {
        let path = format!("/containers/{}/exec", escaped(&self.container));
        let made: Created = self.engine.post(&path, Payload::Json(asked)).await?.json()?;
        if made.id.is_empty() {
            return Err(Fault::failed("the docker engine does not name the program it made"));
        }
        Ok(made.id)
    }

    async fn exec(&self, exec: &str) -> Outcome<Exec> {
        self.engine.get(&format!("/exec/{}/json", escaped(exec))).await
    }

    /// Waits until it runs or has ended.
    pub async fn started(&self, exec: &str) -> Outcome<Exec> {
        let looking = async {
            loop {
                let seen = self.exec(exec).await?;
                if seen.running && seen.pid > 0 || seen.exit_code.is_some() {
                    return Ok(seen);
                }
                sleep(ENGINE_LOOK_AGAIN_MIN).await;
            }
        };
        timeout(ENGINE_ANSWER_WITHIN, looking).await.unwrap_or_else(|_| {
            Err(Fault::late("the docker engine did not start the program in time"))
        })
    }

    /// An older engine can't be told before, and forgets what it is told too early.
    async fn first_size(&self, exec: &str, size: Size) {
        let trying = async {
            while self.tell_size(exec, size).await.is_err_and(|it| it.kind() != Kind::Absent) {
                sleep(ENGINE_LOOK_AGAIN_MIN).await;
            }
        };
        if timeout(ENGINE_ANSWER_WITHIN / 10, trying).await.is_err() {
            tracing::warn!(exec, "a terminal has not got its first size");
        }
    }

    async fn tell_size(&self, exec: &str, size: Size) -> Outcome<()> {
        let (exec, rows, cols) = (escaped(exec), size.rows(), size.cols());
        let path = format!("/exec/{exec}/resize?h={rows}&w={cols}");
        self.engine.post(&path, Payload::Nothing).await?.done()
    }

    /// Passes sizes on, the newest only, until nobody has any more.
    async fn resize(
        self: Arc<Self>,
        exec: String,
        mut wanted: watch::Receiver<Size>,
        told: watch::Sender<Size>,
    ) {
        while wanted.changed().await.is_ok() {
            let size = *wanted.borrow_and_update();
            if let Err(fault) = self.tell_size(&exec, size).await {
                tracing::debug!(%fault, exec, "a terminal was not resized");
            }
            told.send_replace(size);
        }
    }

    /// The process, if it is one of this machine: an engine may be in a machine of its own.
    async fn seen_here(&self, pid: u32) -> Option<Seen> {
        if !self.sees_processes || pid == 0 {
            return None;
        }
        let container = self.container.clone();
        tokio::task::spawn_blocking(move || Seen::look(pid, &container)).await.ok()?
    }

    /// Sees a program to its end: `ended` is the end of its output.
    async fn attend(
        self: Arc<Self>,
        program: Attended,
        ended: impl Future<Output = ()> + Send,
        mut report: oneshot::Sender<ExitStatus>,
    ) {
        self.live.send_modify(|it| *it += 1);
        self.ours().insert(program.mark.clone(), program.seen);
        let hung_up = {
            let over = async {
                ended.await;
                self.status(&program.exec).await
            };
            tokio::select! {
                status = over => Some(status),
                () = report.closed() => None,
            }
        };
        match hung_up {
            None => self.kill(&program.mark, program.seen).await,
            Some(status) => {
                // That the container is over is told before the end of what ran in it.
                self.look_after(status).await;
                if let Some(status) = status {
                    let _nobody_waits = report.send(status);
                }
            }
        }
        self.ours().remove(&program.mark);
        self.live.send_modify(|it| *it = it.saturating_sub(1));
    }

    fn ours(&self) -> MutexGuard<'_, BTreeMap<String, Option<Seen>>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what was started here, and nothing else in the container.
    pub async fn end_ours(&self) {
        let ours: Vec<_> = self.ours().iter().map(|(mark, seen)| (mark.clone(), *seen)).collect();
        for (mark, seen) in ours {
            self.kill(&mark, seen).await;
        }
        ended(self, ENGINE_END_WITHIN).await;
    }

    /// Looks whether the container lives on. Of one that is killed the programs are reported first.
    async fn look_after(&self, status: Option<ExitStatus>) {
        const KILLED: Option<ExitStatus> = Some(ExitStatus::Signal(9));
        let over = async {
            while self.life.look().await == Life::Running && status == KILLED {
                sleep(ENGINE_LOOK_EVERY_MIN).await;
            }
        };
        let _lives_on = timeout(ENGINE_END_WITHIN, over).await;
    }

    /// How it ended; `None` when nobody knows.
    async fn status(&self, exec: &str) -> Option<ExitStatus> {
        let mut pause = ENGINE_LOOK_AGAIN_MIN;
        loop {
            match self.exec(exec).await {
                Ok(Exec { running: false, exit_code: Some(code), .. }) => return Some(read(code)),
                Ok(_) if matches!(self.life.now(), Life::Over(_)) => return None,
                // It has let go of its output, and goes on.
                Ok(_) => {}
                Err(fault) if fault.kind() == Kind::Absent => return None,
                Err(_) if matches!(self.life.look().await, Life::Unheard(_) | Life::Over(_)) => {
                    return None;
                }
                Err(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(ENGINE_LOOK_AGAIN_MAX);
        }
    }
}

/// Passes on what is typed, each piece when the terminal has the size it had for who typed it.
async fn type_in(
    mut keys: DuplexStream,
    mut terminal: WriteHalf<TokioIo<Upgraded>>,
    wanted: watch::Receiver<Size>,
    mut told: watch::Receiver<Size>,
) {
    let mut buffer = vec![0; PTY_CHUNK_BYTES_MAX];
    loop {
        let count = match keys.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let ready = told.wait_for(|it| *it == *wanted.borrow());
        // Not for ever: an engine that does not resize must not keep keys back.
        drop(timeout(ENGINE_SIZE_WITHIN, ready).await);
        let piece = buffer.get(..count).unwrap_or_default();
        if terminal.write_all(piece).await.is_err() || terminal.flush().await.is_err() {
            return;
        }
    }
}

struct Attended {
    exec: String,
    mark: String,
    seen: Option<Seen>,
}

/// An exit code as a shell has it: 128+N for a signal.
fn read(code: i64) -> ExitStatus {
    const SIGNALS: std::ops::RangeInclusive<i64> = 129..=192;
    let code32 = i32::try_from(code).unwrap_or(i32::MAX);
    if SIGNALS.contains(&code) {
        ExitStatus::Signal(code32 - 128)
    } else {
        ExitStatus::Code(code32)
    }
}

/// Why a program was not started, which comes in place of its output.
async fn refused(program: &str, stream: &mut TokioIo<Upgraded>) -> Fault {
    let mut words = Vec::new();
    let mut stream = stream.take(ENGINE_WORDS_BYTES_MAX as u64);
    let reading = stream.read_to_end(&mut words);
    let _as_far_as_it_came = timeout(ENGINE_ANSWER_WITHIN / 10, reading).await;
    let words = String::from_utf8_lossy(&words);
    // Without a terminal a header is in front.
    let words = words.trim_start_matches(|it: char| it.is_control() || !it.is_ascii());
    let words = text::shown(words.trim(), ENGINE_WORDS_BYTES_MAX);
    let program = text::shown(program, ENGINE_WORDS_BYTES_MAX);
    let words =
        if words.is_empty() { "the docker engine does not say why".to_owned() } else { words };
    Fault::failed(format!("starting {program} in the container: {words}"))
}

/// The output of a program on a terminal; its end, or that nobody reads on, is told once.
struct Ending {
    inner: ReadHalf<TokioIo<Upgraded>>,
    end: Option<oneshot::Sender<()>>,
}

impl AsyncRead for Ending {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = into.remaining();
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, into));
        if read.is_err() || (before > 0 && into.remaining() == before) {
            self.end = None;
        }
        Poll::Ready(read)
    }
}

/// How long programs get before a look at them is repeated, for those who wait for them.
pub async fn ended(programs: &Programs, grace: Duration) {
    let mut live = programs.live.subscribe();
    drop(timeout(grace, live.wait_for(|it| *it == 0)).await);
}
