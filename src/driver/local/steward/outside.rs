//! The shim's end: where first process and attendants dial, and what comes and goes on their lines.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, mpsc, oneshot, watch},
    task::AbortHandle,
    time::timeout,
};

use super::{At, Down, Inlet, PIECE_BYTES_MAX, SOCKET, Start, TYPED_BYTES_MAX, UP_BYTES_MAX, Up};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{ANSWER_WITHIN, SESSIONS_PER_SANDBOX_MAX},
        units::Size,
    },
    config::paths::SocketPath,
    driver::{
        ASK_DIR, PtyIo, Slept, TerminalUse,
        local::{link::no_program, message::Description},
    },
    model::session::ExitStatus,
};

/// What is held of output on its way to who drains it.
const HELD_BYTES: usize = 64 * 1024;
/// Who dials has to say who it is by then.
const NAMED_WITHIN: Duration = Duration::from_secs(5);
/// Lines that nobody waits for yet.
const STRANGERS_MAX: usize = 2 * SESSIONS_PER_SANDBOX_MAX;
/// A program that has not started by then is told to have failed: sooner than who waits gives up.
const STARTS_WITHIN: Duration = Duration::from_secs(ANSWER_WITHIN.as_secs() - 2);
/// What has a line hangs up by then, asked to.
const PARTED_WITHIN: Duration = Duration::from_secs(5);
const BACK_RETRIES_EVERY: Duration = Duration::from_millis(50);
const LOOKS_EVERY: Duration = Duration::from_millis(2);
/// Who is hung up on dials again by then.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// Lines at once: a session has one, and one more for a moment.
const LINES_MAX: usize = 2 * SESSIONS_PER_SANDBOX_MAX + 2;
const NOT_LISTENING: &str = "its first process does not listen";

/// Serves who dials from inside. Dropping it hangs up on all of them.
pub struct Steward {
    path: PathBuf,
    /// The host's ids of who may dial.
    owner: (u32, u32),
    state: Mutex<State>,
    /// Lines that are open.
    open: watch::Sender<usize>,
    /// So many were when all were parted with.
    were_open: AtomicUsize,
    /// All are to be parted with.
    parts: watch::Sender<bool>,
    /// The first process has dialled.
    there: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    listens: Option<AbortHandle>,
    first: Option<mpsc::Sender<Down>>,
    /// Who waits for an attendant.
    awaited: HashMap<String, mpsc::Sender<Line>>,
    strangers: HashMap<String, Line>,
    /// Who waited for these was told that they did not start.
    unwanted: HashSet<String>,
    /// Programs whose end was not told.
    running: usize,
    talks: HashMap<String, Weak<Shared>>,
}

/// A program on a terminal.
pub struct Begun {
    pub io: PtyIo,
    pub exit: oneshot::Receiver<ExitStatus>,
}

/// A connection, and what was read of it so far.
struct Line {
    stream: UnixStream,
    inlet: Inlet,
    waiting: u32,
    counted: Counted,
}

struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|it| *it += 1);
        Self(open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|it| *it -= 1);
    }
}

impl Drop for Steward {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(listens) = state.listens.take() {
            listens.abort();
        }
    }
}

impl State {
    /// Gives an attendant's line to who waits for it, or keeps it for who will; gives it back where nobody will.
    fn welcome(&mut self, key: String, line: Line) -> Option<Line> {
        if self.unwanted.contains(&key) {
            return Some(line);
        }
        match self.awaited.get(&key) {
            // Nobody may be waiting any more, or for one more: then it is hung up on, and dials again.
            Some(waits) => drop(waits.try_send(line)),
            None if self.strangers.len() < STRANGERS_MAX => {
                self.strangers.insert(key, line);
            }
            None => {}
        }
        None
    }
}

impl Steward {
    /// Listens in a ground; only who has these ids of the host may dial.
    pub fn open(ground: &Path, owner: (u32, u32)) -> Outcome<Arc<Self>> {
        let steward = Arc::new(Self {
            path: ground.join(ASK_DIR).join(SOCKET),
            owner,
            state: Mutex::default(),
            open: watch::Sender::new(0),
            were_open: AtomicUsize::new(0),
            parts: watch::Sender::new(false),
            there: watch::Sender::new(false),
        });
        steward.listen()?;
        Ok(steward)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: &Arc<Self>) -> Outcome<()> {
        let fault = |error: std::io::Error| {
            Fault::io(format!("listening on {}", self.path.display()), &error)
        };
        // Seen from inside only once it is for its user alone.
        let place = self.path.with_extension("new");
        drop(fs::remove_file(&place));
        let short = SocketPath::open(&place)?;
        let listener = UnixListener::bind(short.path()).map_err(fault)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).map_err(fault)?;
        std::os::unix::fs::chown(&place, Some(self.owner.0), Some(self.owner.1)).map_err(fault)?;
        fs::rename(&place, &self.path).map_err(fault)?;
        let weak = Arc::downgrade(self);
        let listens = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of descriptors, for one: others may be closed soon.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let Some(steward) = weak.upgrade() else { return };
                if *steward.open.borrow() >= LINES_MAX {
                    // Programs that dial for the sake of it.
                    tokio::time::sleep(LOOKS_EVERY).await;
                    continue;
                }
                let counted = Counted::new(&steward.open);
                tokio::spawn(async move {
                    let line = Line { stream, inlet: Inlet::of(UP_BYTES_MAX), waiting: 0, counted };
                    steward.greet(line).await;
                });
            }
        });
        self.state().listens = Some(listens.abort_handle());
        Ok(())
    }

    /// Hears who dials, and gives the line to whoever waits for it.
    async fn greet(self: Arc<Self>, mut line: Line) {
        let Ok(Some(who)) = timeout(NAMED_WITHIN, line.hear()).await else { return };
        match who {
            Up::Steward => self.attend_first(line).await,
            Up::Attendant { key, waiting } => {
                line.waiting = waiting;
                let unwanted = self.state().welcome(key, line);
                if let Some(unwanted) = unwanted {
                    unwanted.send_away().await;
                }
            }
            _ => tracing::warn!("a container's first word makes no sense"),
        }
    }

    /// Passes orders on to the first process.
    async fn attend_first(&self, line: Line) {
        let Line { stream, counted: _counted, .. } = line;
        let (mut from, mut to) = stream.into_split();
        let (orders, mut ordered) = mpsc::channel(SESSIONS_PER_SANDBOX_MAX);
        self.state().first = Some(orders);
        self.there.send_replace(true);
        let mut parts = self.parts.subscribe();
        let mut nothing = [0_u8; 64];
        loop {
            let order = tokio::select! {
                order = ordered.recv() => order,
                Ok(_) = parts.wait_for(|it| *it) => Some(Down::Part),
                read = from.read(&mut nothing) => match read {
                    Ok(count) if count > 0 => continue,
                    _ => None,
                },
            };
            let Some(order) = order else { break };
            if to.write_all(&order.bytes()).await.is_err() {
                break;
            }
            if order == Down::Part {
                // Until it has hung up.
                while from.read(&mut nothing).await.is_ok_and(|it| it > 0) {}
                break;
            }
        }
        self.there.send_replace(false);
        self.state().first = None;
    }

    /// Whether the end of every program was told.
    pub fn runs_nothing(&self) -> bool {
        self.state().running == 0
    }

    /// Starts a program on a terminal of the container's; `key` is its own for ever.
    pub async fn start(
        self: &Arc<Self>,
        key: &str,
        user: (u32, u32),
        size: Size,
        what: Description,
    ) -> Outcome<Begun> {
        let program = what.command.first().cloned().unwrap_or_default();
        let awaited = self.await_line(key);
        let start = Start { key: key.to_owned(), size, user, what };
        let begun = async {
            let mut there = self.there.subscribe();
            // The sender is this one's own.
            drop(there.wait_for(|it| *it).await);
            let first = self.state().first.clone();
            first
                .and_then(|it| it.try_send(Down::Start(Box::new(start))).ok())
                .ok_or_else(|| Fault::lost(format!("starting {program}: {NOT_LISTENING}")))?;
            self.take_up((awaited, key), size, &program).await
        };
        let begun = timeout(STARTS_WITHIN, begun).await;
        let late = || Fault::late(format!("starting {program}: {NOT_LISTENING}"));
        begun.map_err(|_| late()).flatten().inspect_err(|_| self.forget(key))
    }

    /// Takes up a program that was there before its container was: it is expected to dial.
    pub async fn rejoin(self: &Arc<Self>, key: &str, size: Size) -> Outcome<Begun> {
        let awaited = self.await_line(key);
        let begun = timeout(STARTS_WITHIN, self.take_up((awaited, key), size, key)).await;
        let late = || Fault::late(format!("{key} did not come back with its container"));
        begun.map_err(|_| late()).flatten().inspect_err(|_| self.forget(key))
    }

    fn await_line(&self, key: &str) -> mpsc::Receiver<Line> {
        let (sender, lines) = mpsc::channel(1);
        let mut state = self.state();
        if let Some(line) = state.strangers.remove(key) {
            drop(sender.try_send(line));
        }
        state.awaited.insert(key.to_owned(), sender);
        lines
    }

    fn forget(&self, key: &str) {
        let mut state = self.state();
        state.awaited.remove(key);
        state.strangers.remove(key);
        state.unwanted.insert(key.to_owned());
    }

    async fn take_up(
        self: &Arc<Self>,
        (mut lines, key): (mpsc::Receiver<Line>, &str),
        size: Size,
        program: &str,
    ) -> Outcome<Begun> {
        let gone = || Fault::lost(format!("starting {program}: its attendant is gone"));
        let mut line = lines.recv().await.ok_or_else(gone)?;
        match line.hear().await.ok_or_else(gone)? {
            Up::Begun => {}
            Up::Failed { at, errno } => return Err(failed(at, program, errno)),
            _ => return Err(Fault::bug("an attendant's first word makes no sense")),
        }
        let (theirs, ours) = tokio::io::duplex(HELD_BYTES);
        let (reader, writer) = tokio::io::split(theirs);
        let (typed, printed) = tokio::io::split(ours);
        let (size, mut sizes) = watch::channel(size);
        // One that comes back has the terminal that it had.
        sizes.mark_changed();
        let (exit_in, exit) = oneshot::channel();
        let (ended, has_ended) = oneshot::channel();
        let hung_up = watch::Sender::new(false);
        let shared = Arc::new(Shared::default());
        let talk = Talk {
            printed,
            typed: Some(typed),
            sizes,
            hung_up: hung_up.subscribe(),
            parts: self.parts.subscribe(),
            ended: Some(ended),
            over: false,
            shared: Arc::clone(&shared),
        };
        tokio::spawn(Arc::clone(self).pass_on(has_ended, exit_in, hung_up));
        let (steward, name) = (Arc::downgrade(self), key.to_owned());
        tokio::spawn(async move {
            talk.go_on(line, lines).await;
            if let Some(steward) = steward.upgrade() {
                let mut state = steward.state();
                state.awaited.remove(&name);
                state.talks.remove(&name);
            }
        });
        {
            let mut state = self.state();
            state.running += 1;
            state.talks.insert(key.to_owned(), Arc::downgrade(&shared));
        }
        let io = PtyIo {
            reader: Box::new(reader),
            writer: Box::new(writer),
            resize: Box::new(move |cells| {
                size.send_replace(cells);
                Ok(())
            }),
            terminal: Box::new(move || {
                shared.look.notify_one();
                TerminalUse { lines: shared.lines(), read: None }
            }),
        };
        Ok(Begun { io, exit })
    }

    /// Tells how a program ended, and has it killed when nobody waits for that.
    async fn pass_on(
        self: Arc<Self>,
        mut has_ended: oneshot::Receiver<ExitStatus>,
        mut exit: oneshot::Sender<ExitStatus>,
        hung_up: watch::Sender<bool>,
    ) {
        tokio::select! {
            biased;
            status = &mut has_ended => {
                // Nobody may be waiting any more.
                let _ = status.map(|it| exit.send(it));
            }
            () = exit.closed() => {
                hung_up.send_replace(true);
                drop(has_ended.await);
            }
        }
        self.state().running -= 1;
    }

    /// Has all lines come to their end, and nobody dial until `back`: what has a connection to the host can't be written down.
    pub async fn part(self: &Arc<Self>) -> Outcome<()> {
        self.were_open.store(*self.open.borrow(), Ordering::SeqCst);
        {
            let mut state = self.state();
            if let Some(listens) = state.listens.take() {
                listens.abort();
            }
            state.strangers.clear();
        }
        drop(fs::remove_file(&self.path));
        self.parts.send_replace(true);
        let mut open = self.open.subscribe();
        let all = open.wait_for(|it| *it == 0);
        let parted = timeout(PARTED_WITHIN, all).await.is_ok();
        if !parted {
            self.back().await;
            return Err(Fault::busy("programs of it did not let go of their connections in time"));
        }
        Ok(())
    }

    /// The screens of all, once each has what its program has printed.
    pub async fn screens(
        &self,
        programs: &(dyn Fn() -> Vec<Slept> + Send + Sync),
    ) -> Outcome<Vec<Slept>> {
        let all = async {
            loop {
                let slept = programs();
                if slept.iter().all(|it| self.has_all(it)) {
                    return slept;
                }
                tokio::time::sleep(LOOKS_EVERY).await;
            }
        };
        let late = |_| Fault::busy("what its programs printed is not all taken in yet");
        timeout(PARTED_WITHIN, all).await.map_err(late)
    }

    fn has_all(&self, slept: &Slept) -> bool {
        let talk = self.state().talks.get(&slept.key).and_then(Weak::upgrade);
        talk.is_none_or(|it| it.put.load(Ordering::SeqCst) == slept.printed)
    }

    /// Expects nobody any more: whoever could dial is gone.
    pub fn close(&self) {
        let mut state = self.state();
        if let Some(listens) = state.listens.take() {
            listens.abort();
        }
        state.awaited.clear();
        state.strangers.clear();
    }

    /// Listens again, and waits until who was parted with is there again.
    pub async fn back(self: &Arc<Self>) {
        let back = async {
            while let Err(fault) = self.listen() {
                tracing::warn!(%fault, "the programs of a container are not reached yet");
                tokio::time::sleep(BACK_RETRIES_EVERY).await;
            }
            self.parts.send_replace(false);
            let were_open = self.were_open.load(Ordering::SeqCst);
            drop(self.open.subscribe().wait_for(|it| *it >= were_open).await);
        };
        if timeout(BACK_WITHIN, back).await.is_err() {
            tracing::warn!("not all programs of a container are reached again");
        }
    }
}

/// What both directions of a session's lines share.
#[derive(Default)]
struct Shared {
    /// Bytes typed that its program has not taken.
    waiting: AtomicU32,
    took: Notify,
    /// 1 = no, 2 = yes.
    lines: AtomicU8,
    look: Notify,
    /// Bytes printed so far.
    put: AtomicU64,
}

impl Shared {
    fn lines(&self) -> Option<bool> {
        match self.lines.load(Ordering::Relaxed) {
            0 => None,
            it => Some(it == 2),
        }
    }

    fn room(&self) -> usize {
        TYPED_BYTES_MAX.saturating_sub(self.waiting.load(Ordering::Relaxed) as usize)
    }
}

/// A session, over one line after the other.
struct Talk {
    printed: WriteHalf<DuplexStream>,
    /// `None` = nobody types any more.
    typed: Option<ReadHalf<DuplexStream>>,
    sizes: watch::Receiver<Size>,
    hung_up: watch::Receiver<bool>,
    parts: watch::Receiver<bool>,
    ended: Option<oneshot::Sender<ExitStatus>>,
    over: bool,
    shared: Arc<Shared>,
}

impl Talk {
    async fn go_on(mut self, first: Line, mut lines: mpsc::Receiver<Line>) {
        let mut next = Some(first);
        while self.ended.is_some() || !self.over {
            let line = match next.take() {
                Some(line) => Some(line),
                None => self.next(&mut lines).await,
            };
            let Some(line) = line else { break };
            let Line { stream, inlet, waiting, counted: _counted } = line;
            self.shared.waiting.store(waiting, Ordering::Relaxed);
            let (from, to) = stream.into_split();
            let Self { printed, typed, sizes, hung_up, parts, ended, over, shared } = &mut self;
            tokio::select! {
                () = hear((from, inlet), printed, (ended, over), shared) => {}
                () = speak(to, typed, (sizes, hung_up, parts), shared) => {}
            }
        }
        if !self.over {
            drop(self.printed.shutdown().await);
        }
    }

    /// Who is not asked to hang up dials again soon, or is gone.
    async fn next(&mut self, lines: &mut mpsc::Receiver<Line>) -> Option<Line> {
        loop {
            let waits = *self.parts.borrow_and_update();
            let soon = tokio::time::sleep(BACK_WITHIN);
            tokio::select! {
                line = lines.recv() => return line,
                changed = self.parts.changed() => changed.ok()?,
                () = soon, if !waits => return None,
            }
        }
    }
}

/// Takes what comes, until the line or the session is at its end.
async fn hear(
    (mut from, mut inlet): (OwnedReadHalf, Inlet),
    printed: &mut WriteHalf<DuplexStream>,
    (ended, over): (&mut Option<oneshot::Sender<ExitStatus>>, &mut bool),
    shared: &Shared,
) {
    let mut bytes = vec![0_u8; PIECE_BYTES_MAX];
    loop {
        loop {
            let word = match inlet.next() {
                Ok(Some((tag, said))) => Up::parse(tag, &said),
                Ok(None) => break,
                Err(_) => return,
            };
            let mut tell = |status| {
                if let Some(ended) = ended.take() {
                    let _ = ended.send(status);
                }
            };
            match word {
                Some(Up::Printed(bytes)) => {
                    shared.put.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                    // Who does not want it any more is no reason to stop.
                    drop(printed.write_all(&bytes).await);
                }
                Some(Up::Took(count)) => {
                    let less = |it: u32| Some(it.saturating_sub(count));
                    let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
                    let _ = shared.waiting.fetch_update(set, get, less);
                    shared.took.notify_one();
                }
                Some(Up::Lines(so)) => shared.lines.store(1 + u8::from(so), Ordering::Relaxed),
                Some(Up::Exited(code)) => tell(ExitStatus::Code(code)),
                Some(Up::Killed(signal)) => tell(ExitStatus::Signal(signal)),
                Some(Up::Over) if !*over => {
                    *over = true;
                    drop(printed.shutdown().await);
                }
                _ => {}
            }
            if *over && ended.is_none() {
                return;
            }
        }
        match from.read(&mut bytes).await {
            Ok(count) if count > 0 => inlet.feed(bytes.get(..count).unwrap_or_default()),
            _ => return,
        }
    }
}

/// Says what there is to say. Only `hear` knows when that is over.
async fn speak(
    mut to: OwnedWriteHalf,
    typed: &mut Option<ReadHalf<DuplexStream>>,
    (sizes, hung_up, parts): (
        &mut watch::Receiver<Size>,
        &mut watch::Receiver<bool>,
        &mut watch::Receiver<bool>,
    ),
    shared: &Shared,
) {
    let mut bytes = vec![0_u8; TYPED_BYTES_MAX];
    let mut ends = false;
    loop {
        let room = shared.room();
        let read = async {
            match typed {
                Some(it) if room > 0 => it.read(bytes.get_mut(..room).unwrap_or_default()).await,
                _ => std::future::pending().await,
            }
        };
        let word = tokio::select! {
            biased;
            Ok(_) = parts.wait_for(|it| *it) => Down::Part,
            Ok(_) = hung_up.wait_for(|it| *it), if !ends => {
                ends = true;
                Down::End
            }
            Ok(()) = sizes.changed() => Down::Resize(*sizes.borrow_and_update()),
            () = shared.look.notified() => Down::Look,
            () = shared.took.notified() => continue,
            read = read => match read {
                Ok(count) if count > 0 => {
                    let more = u32::try_from(count).unwrap_or(u32::MAX);
                    shared.waiting.fetch_add(more, Ordering::Relaxed);
                    Down::Typed(bytes.get(..count).unwrap_or_default().to_vec())
                }
                _ => {
                    *typed = None;
                    continue;
                }
            },
        };
        if to.write_all(&word.bytes()).await.is_err() || word == Down::Part {
            return std::future::pending().await;
        }
    }
}

impl Line {
    /// Has its program ended, which comes too late.
    async fn send_away(mut self) {
        let told = async {
            drop(self.stream.write_all(&Down::End.bytes()).await);
            while let Some(word) = self.hear().await {
                if word == Up::Over {
                    return;
                }
            }
        };
        drop(timeout(PARTED_WITHIN, told).await);
    }

    /// The next word; `None` where there is none.
    async fn hear(&mut self) -> Option<Up> {
        loop {
            if let Some((tag, said)) = self.inlet.next().ok()? {
                return Up::parse(tag, &said);
            }
            let mut bytes = vec![0_u8; PIECE_BYTES_MAX];
            match self.stream.read(&mut bytes).await {
                Ok(count) if count > 0 => self.inlet.feed(bytes.get(..count)?),
                _ => return None,
            }
        }
    }
}

fn failed(at: At, program: &str, errno: i32) -> Fault {
    let error = std::io::Error::from_raw_os_error(errno);
    match at {
        At::Terminal => Fault::failed(format!("starting {program}: making a terminal: {error}")),
        At::Directory => Fault::absent(format!("entering its directory in the sandbox: {error}")),
        At::Program => no_program(program, errno),
    }
}
