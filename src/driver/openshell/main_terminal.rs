//! The terminal of a sandbox's main program. Everybody may watch it; one at a time types, and only who types resizes it. So it
//! is watched as a reader until somebody here steps in, and then attached to once more, as a typist: what is printed goes on
//! where it was.

use std::{
    os::fd::OwnedFd,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::OpenptFlags,
    termios::Winsize,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex},
    process::{Child, ChildStderr, ChildStdin, Command},
    sync::{oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    remote::{Phase, Remote},
    replay::Tail,
    tunnel,
    watch::jittered,
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        limits::{
            GATEWAY_REPLAY_FIRST_WITHIN, GATEWAY_REPLAY_QUIET, GATEWAY_TYPED_BYTES_MAX,
            GATEWAY_TYPED_PAUSE, GATEWAY_WORDS_BYTES_MAX, PTY_CHUNK_BYTES_MAX, RETRY_AFTER_MAX,
            RETRY_AFTER_MIN,
        },
        text::shown,
        units::Size,
    },
    driver::{Program, PtyIo, TerminalUse},
    model::{
        check::{Check, CheckStatus},
        session::ExitStatus,
    },
};

/// How long a typist who holds no keyboard stays one: for a line that somebody sent.
const STAYS: Duration = Duration::from_secs(2);
/// What `ssh` ends with when it is at fault itself, or can't know better.
const LOST: i32 = 255;
/// How long it counts that somebody else types.
const OWNED_FOR: Duration = Duration::from_secs(10);
/// How soon a keyboard that was ours is free there again.
const LETS_GO_WITHIN: Duration = Duration::from_secs(15);
/// Of the words with which a supervisor says that somebody else types.
const OWNED: &str = "already has an input owner";
/// ctrl-p ctrl-q: the other side takes it for the wish to be let go.
const LET_GO: [u8; 2] = [0x10, 0x11];

/// What is wanted of it from here.
pub struct Wanted {
    held: watch::Sender<bool>,
    /// When it was last seen that somebody else types.
    owned: Mutex<Option<Instant>>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { held: watch::Sender::new(false), owned: Mutex::default() }
    }
}

impl Wanted {
    pub fn keyboard(&self, held: bool) {
        self.held.send_if_modified(|it| std::mem::replace(it, held) != held);
    }

    fn owned(&self) -> MutexGuard<'_, Option<Instant>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody else types, as far as is known: after a while it is worth another try.
    fn is_owned(&self) -> bool {
        self.owned().is_some_and(|it| it.elapsed() < OWNED_FOR)
    }

    pub fn may_type(&self) -> Outcome<()> {
        match self.is_owned() {
            false => Ok(()),
            true => Err(Fault::busy("another client of the gateway holds the keyboard")
                .hint("it is shown as it is; try again when the other has let go of it")),
        }
    }
}

/// How one attachment ended.
enum End {
    /// It is wanted otherwise.
    Otherwise,
    /// With this code, after so many words on its standard error.
    Ended(i32, String),
}

/// What flows through all attachments to one program.
struct Flow {
    remote: Arc<Remote>,
    wanted: Arc<Wanted>,
    held: watch::Receiver<bool>,
    output: DuplexStream,
    keys: DuplexStream,
    /// As who typed last had it; `None` = nobody here has said, and it stays as it is.
    size: watch::Receiver<Option<Size>>,
    tail: Tail,
    /// Typed, and not passed on yet.
    pending: Vec<u8>,
    guard: Guard,
    /// When it was last attached to by us as who types.
    typed_until: Option<Instant>,
    /// Somebody else typed when it was last attached to.
    refused: bool,
}

pub fn program(remote: &Arc<Remote>, wanted: &Arc<Wanted>) -> Program<PtyIo> {
    let (reader, output) = duplex(PTY_CHUNK_BYTES_MAX);
    let (writer, keys) = duplex(PTY_CHUNK_BYTES_MAX);
    let (report, exit) = oneshot::channel();
    let (size, sizes) = watch::channel(None);
    let flow = Flow {
        remote: Arc::clone(remote),
        wanted: Arc::clone(wanted),
        held: wanted.held.subscribe(),
        output,
        keys,
        size: sizes,
        tail: Tail::default(),
        pending: Vec::new(),
        guard: Guard::default(),
        typed_until: None,
        refused: false,
    };
    tokio::spawn(run(flow, report));
    // Only who holds the keyboard gets here.
    let resize = move |to: Size| {
        size.send_if_modified(|it| it.replace(to) != Some(to));
        Ok(())
    };
    let io = PtyIo {
        reader: Box::new(reader),
        writer: Box::new(writer),
        resize: Box::new(resize),
        terminal: Box::new(TerminalUse::default),
    };
    Program { pid: None, io, exit }
}

async fn run(mut flow: Flow, mut report: oneshot::Sender<ExitStatus>) {
    let status = tokio::select! {
        status = attend(&mut flow) => status,
        () = report.closed() => return,
    };
    flow.remote.differs(|seen| seen.terminal.take().is_some());
    drop(flow);
    let _nobody_waits = report.send(status);
}

/// Attaches again and again, until the program has ended.
async fn attend(flow: &mut Flow) -> ExitStatus {
    let remote = Arc::clone(&flow.remote);
    let starts = remote.seen().starts;
    let mut pause = RETRY_AFTER_MIN;
    loop {
        let end = match remote.attached.clone().try_acquire_owned() {
            Ok(_turn) => attach(flow, &mut pause).await,
            Err(_) => Err(Fault::busy("too many terminals of this gateway are watched already")),
        };
        let (code, why) = match end {
            Ok(End::Otherwise) => continue,
            Ok(End::Ended(code, why)) => (code, why),
            Err(fault) => (LOST, fault.to_string()),
        };
        if let Some(status) = over(&remote, starts, code).await {
            return status;
        }
        let why = if why.is_empty() { "it was closed there".to_owned() } else { why };
        remote.differs(|seen| {
            let why = Some(format!("its terminal is not seen just now: {why}"));
            std::mem::replace(&mut seen.terminal, why.clone()) != why
        });
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(RETRY_AFTER_MAX);
    }
}

/// How the program ended, if it did: a terminal that was closed says nothing of that.
async fn over(remote: &Remote, starts: u32, code: i32) -> Option<ExitStatus> {
    match remote.confirm().await {
        Ok(told) => remote.take(&told),
        Err(fault) if fault.kind() == Kind::Absent => return Some(ExitStatus::Signal(9)),
        // Nobody knows.
        Err(_) => return None,
    }
    let seen = remote.seen();
    let runs = matches!(seen.phase, Phase::Ready | Phase::Unknown(_)) && seen.starts == starts;
    if runs {
        return None;
    }
    let told = seen.exit_code.filter(|_| seen.starts == starts);
    Some(match told.or((code != LOST).then_some(code)) {
        Some(code @ 129..=192) => ExitStatus::Signal(code - 128),
        Some(code) => ExitStatus::Code(code),
        // It was stopped, or nobody says.
        None => ExitStatus::Signal(15),
    })
}

/// One attachment, from its beginning to its end.
async fn attach(flow: &mut Flow, pause: &mut Duration) -> Outcome<End> {
    let remote = Arc::clone(&flow.remote);
    let owned = flow.wanted.is_owned();
    flow.refused = false;
    let types = (*flow.held.borrow_and_update() || !flow.pending.is_empty()) && !owned;
    let way = tunnel::open(&remote).await?;
    let mut terminal = match *flow.size.borrow_and_update() {
        Some(size) if types => Some(Terminal::open(size)?),
        _ => None,
    };
    let reads = if types { Part::Types } else { Part::Watches };
    let mut ssh = start(&way.command(&remote.ways), reads, terminal.as_mut())?;
    let (output, errors) = (ssh.stdout.take(), ssh.stderr.take());
    let (Some(output), Some(errors)) = (output, errors) else {
        return Err(Fault::bug("ssh has no pipes"));
    };
    // Kept by who only watches, too: its end would be a word to the other side.
    let keyboard = Keyboard { terminal, pipe: ssh.stdin.take(), types };
    let (words, said) = watch::channel(String::new());
    tokio::spawn(listen(errors, words));
    let carried = tokio::spawn(way.carry(Arc::clone(&remote)));
    let _ends = Ends(carried.abort_handle());
    flow.tail.attached();
    let end = pump(flow, output, keyboard, &mut ssh, said.clone(), pause).await;
    if types && !flow.refused {
        flow.typed_until = Some(Instant::now());
    }
    if !matches!(end, Ok(End::Ended(..))) {
        return end;
    }
    // What broke the way is said by the way, and `ssh` only knows that it is broken.
    let broke = timeout(Duration::from_millis(200), carried).await;
    if let Ok(Ok(Err(fault))) = broke {
        return Err(fault);
    }
    end
}

/// Ends a task with this.
struct Ends(tokio::task::AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How one is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Watches,
    Types,
}

/// Where to what is typed goes.
struct Keyboard {
    /// Where it is known how large it is to be.
    terminal: Option<Terminal>,
    pipe: Option<ChildStdin>,
    types: bool,
}

impl Keyboard {
    /// Piece by piece: the other side keeps few of them, and hangs up on more.
    async fn type_in(&mut self, bytes: &[u8]) -> Outcome<()> {
        for piece in bytes.chunks(GATEWAY_TYPED_BYTES_MAX) {
            let fault = |error| Fault::io("typing into it", &error);
            match (&mut self.terminal, &mut self.pipe) {
                (Some(terminal), _) => terminal.write(piece).await?,
                (None, Some(pipe)) => pipe.write_all(piece).await.map_err(fault)?,
                (None, None) => return Err(Fault::bug("nothing to type into")),
            }
            if piece.len() == GATEWAY_TYPED_BYTES_MAX {
                sleep(GATEWAY_TYPED_PAUSE).await;
            }
        }
        Ok(())
    }
}

/// Passes on what is printed and what is typed.
async fn pump(
    flow: &mut Flow,
    mut output: tokio::process::ChildStdout,
    mut keyboard: Keyboard,
    ssh: &mut Child,
    mut said: watch::Receiver<String>,
    pause: &mut Duration,
) -> Outcome<End> {
    let mut buffer = vec![0; PTY_CHUNK_BYTES_MAX];
    let mut keys = vec![0; GATEWAY_TYPED_BYTES_MAX];
    let pid = ssh.id();
    let began = Instant::now();
    // A typist waits until it is known whether there is one.
    let (mut ready, mut quiet) = (false, began + GATEWAY_REPLAY_FIRST_WITHIN);
    let (mut typed_at, mut listens) = (began, true);
    loop {
        let types = keyboard.types;
        if ready && types && !flow.pending.is_empty() {
            let pending = std::mem::take(&mut flow.pending);
            typed_at = Instant::now();
            keyboard.type_in(&flow.guard.pass(&pending, &flow.remote)).await?;
        }
        let stays = typed_at + STAYS;
        tokio::select! {
            changed = said.changed(), if listens => {
                listens = changed.is_ok();
                if said.borrow_and_update().contains(OWNED) && types {
                    return flow.is_owned();
                }
            }
            count = output.read(&mut buffer) => match count {
                Ok(count @ 1..) => {
                    if !std::mem::replace(&mut ready, true) {
                        *pause = RETRY_AFTER_MIN;
                        flow.is_seen();
                    }
                    quiet = Instant::now() + GATEWAY_REPLAY_QUIET;
                    let news = flow.tail.take(buffer.get(..count).unwrap_or_default());
                    flow.print(&news).await?;
                }
                _ => return Ok(ended(ssh, &said).await),
            },
            () = sleep_until(quiet), if flow.tail.is_looking() || !ready => {
                (ready, quiet) = (true, Instant::now() + GATEWAY_REPLAY_FIRST_WITHIN);
                let news = flow.tail.all();
                flow.print(&news).await?;
            }
            changed = flow.size.changed(), if types => {
                let size = *flow.size.borrow_and_update();
                match (changed, size, &keyboard.terminal) {
                    (Ok(()), Some(size), Some(terminal)) => terminal.resize(size, pid),
                    // It is known from now on how large it is to be.
                    (Ok(()), ..) => return Ok(End::Otherwise),
                    (Err(_), ..) => return Ok(ended(ssh, &said).await),
                }
            }
            count = flow.keys.read(&mut keys), if flow.pending.is_empty() => match count {
                Ok(count @ 1..) => {
                    flow.pending.extend_from_slice(keys.get(..count).unwrap_or_default());
                    if !types && flow.may_type() {
                        return Ok(End::Otherwise);
                    }
                }
                _ => return Ok(ended(ssh, &said).await),
            },
            changed = flow.held.changed() => {
                let held = *flow.held.borrow_and_update();
                if changed.is_ok() && held && !types && flow.wanted.may_type().is_ok() {
                    return Ok(End::Otherwise);
                }
            }
            () = sleep_until(stays), if types && ready && !*flow.held.borrow() => {
                if Instant::now() >= stays {
                    return Ok(End::Otherwise);
                }
            }
        }
    }
}

impl Flow {
    async fn print(&mut self, bytes: &[u8]) -> Outcome<()> {
        let printed = self.output.write_all(bytes).await;
        printed.map_err(|error| Fault::io("passing on what it prints", &error))
    }

    /// Its terminal is seen again.
    fn is_seen(&self) {
        let owned = self.wanted.is_owned();
        self.remote.differs(|seen| !owned && seen.terminal.take().is_some());
    }

    /// Somebody else types there: it is only watched from here, unless that is ourselves, a moment ago.
    fn is_owned(&mut self) -> Outcome<End> {
        self.refused = true;
        if self.typed_until.is_some_and(|it| it.elapsed() < LETS_GO_WITHIN) {
            return Err(Fault::busy("its keyboard is not free yet"));
        }
        *self.wanted.owned() = Some(Instant::now());
        self.drop_typed();
        let words = "somebody else types into it by the gateway; it is only watched here";
        self.remote.differs(|seen| seen.terminal.replace(words.to_owned()).is_none());
        Ok(End::Otherwise)
    }

    /// Whether what was typed can be passed on, if it is attached for that.
    fn may_type(&mut self) -> bool {
        let may = self.wanted.may_type().is_ok();
        if !may {
            self.drop_typed();
        }
        may
    }

    /// What was typed goes nowhere; whoever types next is told so at once.
    fn drop_typed(&mut self) {
        if !self.pending.is_empty() {
            self.pending.clear();
            self.remote.log.say("what was typed did not arrive: somebody else types");
        }
    }
}

/// Keeps two keys apart that would let go of the terminal.
#[derive(Default)]
struct Guard {
    first: bool,
}

impl Guard {
    fn pass(&mut self, bytes: &[u8], remote: &Remote) -> Vec<u8> {
        let passed = self.filter(bytes);
        if passed.len() < bytes.len() {
            remote
                .log
                .say("ctrl-q right after ctrl-p lets go of the terminal there, and was not sent");
        }
        passed
    }

    fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for it in bytes {
            if self.first && *it == LET_GO[1] {
                continue;
            }
            self.first = *it == LET_GO[0];
            out.push(*it);
        }
        out
    }
}

async fn ended(ssh: &mut Child, said: &watch::Receiver<String>) -> End {
    let status = timeout(Duration::from_secs(2), ssh.wait()).await;
    let code = match status {
        Ok(Ok(status)) => status.code().unwrap_or(LOST),
        _ => LOST,
    };
    let words = said.borrow().trim().to_owned();
    End::Ended(code, words)
}

/// Keeps the last that is said on standard error.
async fn listen(errors: ChildStderr, words: watch::Sender<String>) {
    let mut lines = BufReader::new(errors.take(u64::MAX));
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without an end is taken in pieces.
        let mut piece = (&mut lines).take(GATEWAY_WORDS_BYTES_MAX as u64);
        match piece.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let said = shown(String::from_utf8_lossy(&line).trim(), GATEWAY_WORDS_BYTES_MAX);
        if !said.is_empty() {
            words.send_replace(said);
        }
    }
}

/// What `ssh` is told. Nothing of the operator's own is offered to a sandbox: no key, no agent, no configuration.
fn start(proxy: &str, part: Part, terminal: Option<&mut Terminal>) -> Outcome<Child> {
    let mut command = Command::new("ssh");
    command.args(["-F", "/dev/null", "-a", "-x", "-e", "none", "-l", "sandbox"]);
    for option in [
        "BatchMode=yes",
        "PreferredAuthentications=none",
        "IdentityFile=none",
        "IdentityAgent=none",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "ControlPath=none",
        "ClearAllForwardings=yes",
        "LogLevel=ERROR",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        "ProxyUseFdpass=yes",
    ] {
        command.args(["-o", option]);
    }
    command.args(["-o", &format!("ProxyCommand={proxy}")]);
    if part == Part::Watches {
        command.args(["-o", "SetEnv=OPENSHELL_MAIN_READ_ONLY=1"]);
    }
    // Without a word of a terminal where none is known: that would resize it for everybody.
    command.arg(if terminal.is_some() { "-tt" } else { "-T" });
    let input = match terminal.and_then(|it| it.theirs.take()) {
        Some(theirs) => Stdio::from(theirs),
        None => Stdio::piped(),
    };
    command
        .args(["-s", "--", "sandbox", "openshell-main"])
        .env("TERM", "xterm-256color")
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Fault::io("starting ssh", &error).hint("install an OpenSSH client"))
}

/// What `ssh` takes for the terminal of whoever types: how large it is, is what it tells the other side.
struct Terminal {
    ours: OwnedFd,
    /// The same, to be written to where nobody waits for it.
    writer: tokio::fs::File,
    theirs: Option<OwnedFd>,
}

impl Terminal {
    fn open(size: Size) -> Outcome<Self> {
        let made = || -> std::io::Result<Self> {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let ours = rustix::pty::openpt(flags)?;
            rustix::pty::grantpt(&ours)?;
            rustix::pty::unlockpt(&ours)?;
            let name = rustix::pty::ptsname(&ours, Vec::new())?;
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let theirs = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
            // Bytes as they are, and nothing back.
            let mut modes = rustix::termios::tcgetattr(&theirs)?;
            modes.make_raw();
            rustix::termios::tcsetattr(&theirs, rustix::termios::OptionalActions::Now, &modes)?;
            rustix::termios::tcsetwinsize(&theirs, winsize(size))?;
            let writer = tokio::fs::File::from_std(ours.try_clone()?.into());
            Ok(Self { ours, writer, theirs: Some(theirs) })
        };
        made().map_err(|error| Fault::io("making a terminal", &error))
    }

    fn resize(&self, size: Size, ssh: Option<u32>) {
        let resized = rustix::termios::tcsetwinsize(&self.ours, winsize(size));
        let ssh = ssh.and_then(|it| rustix::process::Pid::from_raw(it.cast_signed()));
        if let (Ok(()), Some(ssh)) = (resized, ssh) {
            // It looks again then. One that has ended will not.
            let _ = rustix::process::kill_process(ssh, rustix::process::Signal::WINCH);
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        let fault = |error| Fault::io("typing into it", &error);
        self.writer.write_all(bytes).await.map_err(fault)?;
        self.writer.flush().await.map_err(fault)
    }
}

fn winsize(size: Size) -> Winsize {
    Winsize { ws_row: size.rows(), ws_col: size.cols(), ws_xpixel: 0, ws_ypixel: 0 }
}

/// Whether there is an `ssh` at all, for `doctor`.
pub async fn check() -> Check {
    let asked = Command::new("ssh").arg("-V").stdin(Stdio::null()).output();
    let asked = timeout(Duration::from_secs(5), asked).await;
    let (status, detail, fix) = match asked {
        Ok(Ok(output)) => {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            (CheckStatus::Ok, shown(&words, GATEWAY_WORDS_BYTES_MAX), None)
        }
        _ => (
            CheckStatus::Degraded,
            "there is no ssh: main terminals are not seen, shells and logs are".to_owned(),
            Some("install an OpenSSH client".to_owned()),
        ),
    };
    Check { check: "openshell.ssh".to_owned(), status, detail, fix }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_keys_that_let_go_never_follow_each_other() {
        let mut guard = Guard::default();
        assert_eq!(guard.filter(b"a\x10\x11\x11b\x11"), b"a\x10b\x11");
        assert_eq!(guard.filter(b"\x10"), b"\x10");
        assert_eq!(guard.filter(b"\x11"), b"");
        assert_eq!(guard.filter(b"\x10x\x11"), b"\x10x\x11");
    }
}
