//! A place without walls: real programs on real PTYs of this machine, for tests of what holds them.

use std::{
    os::fd::OwnedFd,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::{
    process::{Pid, Signal, kill_process_group},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use sandwatch::{
    base::{
        fault::{Fault, Outcome},
        id::{SandboxId, SessionId},
        units::Size,
    },
    driver::{
        Ground, PipeIo, Place, PlaceFacts, Program, PtyIo, TerminalUse, local::doing::Looker,
    },
    model::{
        output::{Fidelity, From, Output, OutputRequest},
        process::Reading,
        session::{ExitStatus, SessionSpec},
    },
    session::{
        house::House,
        seat::{BoxStream, Seat},
    },
    vt::screen::Screen,
};
use tokio::{
    net::unix::pipe::{Receiver, Sender},
    process::{Child, Command},
    sync::oneshot,
};
use tokio_stream::StreamExt;

pub(crate) use crate::given::{SOON, found};
use crate::given::{session, watch};

/// Starts programs here, as the user who runs the tests.
#[derive(Default)]
pub struct BarePlace {
    pub lost: Arc<tokio::sync::Notify>,
    /// Each leads a group of its own.
    leaders: Mutex<Vec<u32>>,
}

impl BarePlace {
    fn signals(&self, signal: Signal) {
        let leaders = self.leaders.lock().unwrap();
        for group in leaders.iter().filter_map(|it| Pid::from_raw(it.cast_signed())) {
            // It may have ended.
            let _ = kill_process_group(group, signal);
        }
    }
}

fn io(error: impl Into<std::io::Error>) -> Fault {
    Fault::io("starting a program", &error.into())
}

fn wait_for(mut child: Child) -> oneshot::Receiver<ExitStatus> {
    use std::os::unix::process::ExitStatusExt;
    let (mut tell, exit) = oneshot::channel();
    tokio::spawn(async move {
        let status = tokio::select! {
            status = child.wait() => status.unwrap(),
            () = tell.closed() => return child.kill().await.unwrap(),
        };
        let code = status.code().map(ExitStatus::Code);
        let _ = tell.send(code.unwrap_or_else(|| ExitStatus::Signal(status.signal().unwrap())));
    });
    exit
}

fn winsize(size: Size) -> Winsize {
    Winsize { ws_row: size.rows(), ws_col: size.cols(), ws_xpixel: 0, ws_ypixel: 0 }
}

#[async_trait]
impl Place for BarePlace {
    fn facts(&self) -> PlaceFacts {
        PlaceFacts::default()
    }

    async fn spawn(&self, spec: &SessionSpec) -> Outcome<Program<PtyIo>> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let main: OwnedFd = openpt(flags).map_err(io)?;
        grantpt(&main).map_err(io)?;
        unlockpt(&main).map_err(io)?;
        tcsetwinsize(&main, winsize(spec.size)).map_err(io)?;
        let name = ptsname(&main, Vec::new()).map_err(io)?.into_string().unwrap();
        let side = || std::fs::File::options().read(true).write(true).open(&name).map_err(io);
        let child = Command::new("setsid")
            .arg("--ctty")
            .args(&spec.command)
            .stdin(side()?)
            .stdout(side()?)
            .stderr(side()?)
            .spawn()
            .map_err(io)?;
        let pid = child.id();
        self.leaders.lock().unwrap().extend(pid);
        rustix::io::ioctl_fionbio(&main, true).map_err(io)?;
        let copy = || main.try_clone().map_err(io);
        let (sized, set, writer) = (copy()?, copy()?, copy()?);
        let io = PtyIo {
            reader: Box::new(Receiver::from_owned_fd_unchecked(main).unwrap()),
            writer: Box::new(Sender::from_owned_fd_unchecked(writer).unwrap()),
            resize: Box::new(move |size| {
                tcsetwinsize(&sized, winsize(size)).map_err(|it| Fault::io("resizing", &it.into()))
            }),
            terminal: Box::new(move || TerminalUse {
                lines: tcgetattr(&set).ok().map(|it| it.local_modes.contains(LocalModes::ICANON)),
                read: None,
            }),
        };
        Ok(Program { pid, io, exit: wait_for(child) })
    }

    async fn processes(&self, leader: u32) -> Outcome<Reading> {
        Looker::default().look(leader).await
    }

    async fn exec(&self, spec: &SessionSpec) -> Outcome<Program<PipeIo>> {
        let (program, arguments) = spec.command.split_first().unwrap();
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io)?;
        let io = PipeIo {
            stdin: Box::new(child.stdin.take().unwrap()),
            stdout: Box::new(child.stdout.take().unwrap()),
            stderr: Box::new(child.stderr.take().unwrap()),
        };
        Ok(Program { pid: child.id(), io, exit: wait_for(child) })
    }

    async fn pause(&self) -> Outcome<()> {
        self.signals(Signal::STOP);
        Ok(())
    }

    async fn resume(&self) -> Outcome<()> {
        self.signals(Signal::CONT);
        Ok(())
    }

    async fn stop(&self, _: Duration) -> Outcome<()> {
        Ok(())
    }

    async fn remove(&self) -> Outcome<()> {
        Ok(())
    }

    async fn gone(&self) -> String {
        self.lost.notified().await;
        "the test lost it".to_owned()
    }
}

/// A house over such a place, with its recordings in a directory of its own.
pub struct Bench {
    pub house: Arc<House>,
    pub place: Arc<BarePlace>,
    pub dir: tempfile::TempDir,
}

impl Bench {
    pub fn new(record: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Arc::new(BarePlace::default());
        let ground = Ground {
            id: SandboxId::random(),
            name: "bench".to_owned(),
            dir: dir.path().join("sandbox"),
            from: None,
        };
        std::fs::create_dir(&ground.dir).unwrap();
        let recordings = dir.path().join("recordings");
        let house = House::new(ground, place.clone(), recordings, record);
        Self { house: Arc::new(house), place, dir }
    }

    pub fn journal(&self, id: &SessionId) -> std::path::PathBuf {
        self.dir.path().join("recordings").join(id.as_str())
    }

    /// Starts a shell script on a PTY.
    pub async fn open(&self, script: &str) -> SessionId {
        let id = SessionId::random();
        self.house.open(id.clone(), shell(script)).await.unwrap();
        id
    }

    pub async fn watch(&self, id: &SessionId, request: OutputRequest) -> Outputs {
        Outputs(self.house.output(id, request).await.unwrap())
    }

    /// Every byte of a program that has ended or will soon.
    pub async fn all(&self, id: &SessionId) -> Vec<u8> {
        let mut outputs = self.watch(id, full(From::Start)).await;
        let mut bytes = Vec::new();
        while let Some(output) = outputs.next().await {
            if let Output::Chunk { offset, bytes: more } = output {
                assert_eq!(offset, bytes.len() as u64, "no byte left out, none twice");
                bytes.extend_from_slice(&more);
            }
        }
        bytes
    }
}

/// `sh -c SCRIPT`.
pub fn shell(script: &str) -> SessionSpec {
    session(&["sh", "-c", script])
}

pub fn full(from: From) -> OutputRequest {
    watch(from, Fidelity::Full)
}

pub fn screen(from: From) -> OutputRequest {
    watch(from, Fidelity::Screen)
}

/// A subscription that fails the test when nothing comes.
pub struct Outputs(pub BoxStream<Outcome<Output>>);

impl Outputs {
    pub async fn next(&mut self) -> Option<Output> {
        let next = tokio::time::timeout(SOON, self.0.next()).await;
        next.expect("output within the time").map(|it| it.unwrap())
    }

    pub async fn rest(&mut self) -> Vec<Output> {
        let mut all = Vec::new();
        while let Some(output) = self.next().await {
            all.push(output);
        }
        all
    }
}

/// What a console does with output: its own screen, in step with the offsets.
pub struct Replica {
    pub screen: Screen,
    pub offset: u64,
    pub lost: u64,
    pub exit: Option<ExitStatus>,
}

impl Replica {
    pub fn new() -> Self {
        Self { screen: Screen::new(Size::DEFAULT), offset: 0, lost: 0, exit: None }
    }

    pub fn take(&mut self, output: Output) {
        match output {
            Output::Chunk { offset, bytes } => {
                assert_eq!(offset, self.offset, "offsets never skip silently");
                self.offset += bytes.len() as u64;
                self.screen.feed(&bytes);
            }
            Output::Keyframe { offset, size, state, lost } => {
                self.screen = Screen::from_keyframe(size, &state);
                self.offset = offset;
                self.lost += lost;
            }
            Output::Resize { offset, size } => {
                assert_eq!(offset, self.offset);
                self.screen.resize(size);
            }
            Output::Fact { .. } => {}
            Output::Exit { offset, status } => {
                assert_eq!(offset, self.offset);
                self.exit = Some(status);
            }
        }
    }
}

/// Numbers from 1, one a line, as a terminal gets them.
pub fn numbers(last: u32) -> String {
    (1..=last).fold(String::new(), |mut all, it| {
        all.push_str(&format!("{it}\r\n"));
        all
    })
}

pub fn text(bytes: &'static str) -> Bytes {
    Bytes::from_static(bytes.as_bytes())
}
