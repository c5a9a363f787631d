//! Layer `driver`: one trait for whatever provides sandboxes. Drivers translate; retries,
//! deadlines, the capability check and tracing wrap around them once, in `guard`.

mod by_programs;
pub mod docker;
pub mod fake;
pub mod files;
pub mod guard;
pub mod openshell;
pub mod registry;
pub mod local;
mod literal;
pub mod net;
mod nvidia_smi;
pub mod patch;
pub mod sockets;
mod tar;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};

use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::{AskId, SandboxId, SnapshotId},
        units::Size,
    },
    model::{
        ask::{Answer, Asked, Request},
        capability::Capabilities,
        change::{Applied, ApplyRequest, DiffPiece, DiffRequest},
        check::Check,
        foreign::{Adoption, Foreign},
        gauge::{Gpu, Usage},
        process::Reading,
        sandbox::{Egress, Isolation, SandboxSpec, State},
        session::{ExitStatus, SessionSpec},
        syscall::SyscallPart,
    },
};

/// Where a driver's sandboxes are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosting {
    /// In the hub: sessions end with it unless the driver can reattach.
    Hub,
    /// In one shim process per sandbox, which outlives the hub.
    Shim,
    /// By somebody else, for ever: the hub joins what runs there, and a sandbox is here as long as it is there.
    Elsewhere,
}

/// What one look at the files of a workspace tells of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touches {
    /// The newest by the kernel, in no order.
    pub newest: Vec<Touched>,
    /// So many more were seen, none of them newer.
    pub older: u64,
    /// Directories that were not read to their end; what lies below them is in no count.
    pub unread: u64,
}

/// A path of a workspace that was changed; only the last change of each is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// No later than `by_kernel`; within that a program may choose it.
    pub at: Timestamp,
    /// When anything about it changed last, which no program chooses; as `at` where it was deleted.
    pub by_kernel: Timestamp,
    /// Relative to the workspace.
    pub path: Vec<u8>,
    /// It was deleted.
    pub gone: bool,
}

/// In a ground: what a sandbox is shown so that its programs can ask a person.
pub const ASK_DIR: &str = "ask";
pub const ASK_SOCKET: &str = "ask.sock";
pub const ASK_PROGRAM: &str = "sandwatch";
/// In a ground: settings of agents, a directory for each, and in it what is to be below /etc of the sandbox. Only where its
/// programs can ask.
pub const AGENTS_DIR: &str = "agents";
/// The variable that names the socket to programs.
pub const ASK_VARIABLE: &str = "SANDWATCH_ASK";

/// There too: the certificate of who opens TLS on the way out, where somebody does. Programs are to trust it.
pub const TRUST_FILE: &str = "added.pem";

/// Where systems keep the list of certificate authorities that they trust. The first that is there is the system's.
pub const AUTHORITY_LISTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What a place needs from its host to be made.
#[derive(Clone, Debug)]
pub struct Ground {
    pub id: SandboxId,
    pub name: String,
    /// A directory of its own, private to the operator, for everything it keeps on disk.
    pub dir: PathBuf,
    /// The snapshot whose files it begins with.
    pub from: Option<Shelf>,
}

/// Where a snapshot is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelf {
    pub id: SnapshotId,
    /// A directory of its own, private to the operator. It may be moved between two calls.
    pub dir: PathBuf,
    /// What the driver called it where it keeps it elsewhere; given by `snapshot`.
    pub reference: Option<String>,
}

/// Files that can be looked at.
#[derive(Clone, Debug)]
pub enum Kept {
    /// A sandbox, and what it was made from.
    Ground(Ground, Box<SandboxSpec>),
    /// A snapshot, and what its sandbox was made from.
    Shelf(Shelf, Box<SandboxSpec>),
}

/// What a driver made of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// On disk, beside other snapshots; `None` = can't be told.
    pub size_bytes: Option<u64>,
    /// For `Shelf::reference`, at most 512 bytes.
    pub reference: Option<String>,
    /// What it does not hold, in words for a person.
    pub notes: Vec<String>,
}

/// How a sandbox is while a snapshot of it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stillness {
    /// Its programs stand still too, and were written down beside its files: `Memory::keep`.
    Written,
    /// It has programs. With `Hosting::Shim` they are held still until the call returns.
    Live,
    /// It has none and will have none: its files may be taken rather than copied.
    Stopped,
}

/// An adapter to one provider of sandboxes.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// The word in `--driver`.
    fn name(&self) -> &'static str;

    fn hosting(&self) -> Hosting;

    /// What sandboxes of this driver can do here, found by trying where trying is cheap.
    fn capabilities(&self) -> Capabilities;

    /// Checks for `doctor`; each tries the thing it names.
    async fn probe(&self) -> Vec<Check>;

    /// Gets what a sandbox is to begin with, where that may take longer than making one. `create` does it too where it
    /// was not done before.
    async fn ready(&self, _ground: &Ground, _spec: &SandboxSpec) -> Outcome<()> {
        Ok(())
    }

    /// What runs where it is and sandwatch did not make, the newest first; bounded.
    async fn others(&self) -> Outcome<Vec<Foreign>> {
        Ok(Vec::new())
    }

    /// Notes on an empty ground that `create` is to take over what is there already, and to make nothing.
    async fn take_over(&self, _ground: &Ground, _adoption: &Adoption) -> Outcome<()> {
        let words = format!("the {} driver can't take over what it did not make", self.name());
        Err(Fault::unsupported(words))
    }

    /// What a ground took over, by the driver's own id; `None` = it was made. Blocks on a file.
    fn taken_over(&self, _ground: &Ground) -> Outcome<Option<String>> {
        Ok(None)
    }

    /// Makes a sandbox with no program in it yet. On an error everything done so far is undone.
    async fn create(&self, ground: &Ground, spec: &SandboxSpec) -> Outcome<Arc<dyn Place>>;

    /// Ends what a sandbox left running when its host died: processes, mounts, control groups. Its
    /// files stay, for a person to look at, until it is removed. Fine when nothing is left.
    async fn reap(&self, _ground: &Ground) -> Outcome<()> {
        Ok(())
    }

    /// Removes what a sandbox left behind when its host died: processes, mounts, cgroups; and its
    /// directory. Being called for one that left nothing is fine.
    async fn sweep(&self, ground: &Ground) -> Outcome<()>;

    /// Keeps the files of a sandbox on an empty shelf, and leaves the sandbox as it is. `like` is an earlier
    /// snapshot of it, with which it may share what did not change.
    async fn snapshot(
        &self,
        _ground: &Ground,
        _spec: &SandboxSpec,
        _shelf: &Shelf,
        _like: Option<&Shelf>,
        _stillness: Stillness,
    ) -> Outcome<Taken> {
        Err(Fault::unsupported(format!("the {} driver can't take snapshots", self.name())))
    }

    /// Why the running programs of a sandbox of this isolation can't be kept with its files, for a person.
    fn why_no_memory(&self, _isolation: Option<Isolation>, _egress: Egress) -> &'static str {
        "the driver can't"
    }

    /// Lets go of what a snapshot has outside of its shelf. Being called twice is fine.
    async fn forget(&self, _shelf: &Shelf) -> Outcome<()> {
        Ok(())
    }

    /// What is gone from the disk with a snapshot, in bytes: no other shares it. `None` = can't be told. Blocks on
    /// files.
    fn alone(&self, _shelf: &Shelf) -> Option<u64> {
        None
    }

    /// Clears a ground whose programs have ended, so that `create` can make the sandbox anew in it. What the
    /// ground knows about the real workspace stays.
    async fn vacate(&self, _ground: &Ground) -> Outcome<()> {
        Err(Fault::unsupported(format!("the {} driver can't restore", self.name())))
    }

    /// What was changed in a copy-on-write workspace or the whole system, whether its sandbox runs or not. The
    /// workspace was fetched; of a system that lies elsewhere, what has to be looked at is brought here first.
    async fn changes(
        &self,
        _of: &Kept,
        _against: Option<&Shelf>,
        _request: DiffRequest,
    ) -> Outcome<Changes> {
        Err(Fault::unsupported(format!("the {} driver can't tell what changed", self.name())))
    }

    /// When files of a copy-on-write workspace changed; none before `began`. Blocks on files.
    fn touched(&self, _ground: &Ground, _began: Timestamp) -> Outcome<Touches> {
        Err(Fault::unsupported(format!("the {} driver can't tell when files changed", self.name())))
    }

    /// Writes changes of a copy-on-write workspace, of a sandbox made at that time, to the real directory:
    /// all of them or, with a conflict, none. Blocks on files.
    fn apply(
        &self,
        _ground: &Ground,
        _since: Timestamp,
        _request: &ApplyRequest,
    ) -> Outcome<Applied> {
        Err(Fault::unsupported(format!("the {} driver can't apply changes", self.name())))
    }

    /// Takes back what was applied last; what changed since only if that may be overwritten. Blocks on files.
    fn take_back(&self, _ground: &Ground, _overwrite: bool) -> Outcome<Applied> {
        Err(Fault::unsupported(format!("the {} driver can't apply changes", self.name())))
    }

    /// Brings the workspace here that `changes` and `apply` look at, on both sides, of a sandbox or a snapshot whose files lie
    /// elsewhere: at least the paths of the request. One call at a time for each sandbox.
    async fn fetch(
        &self,
        _of: &Kept,
        _against: Option<&Shelf>,
        _request: &DiffRequest,
    ) -> Outcome<()> {
        Ok(())
    }

    /// What reads how much its sandboxes use; `None` where that can't be told. It is kept and asked again and again.
    fn meter(&self) -> Option<Box<dyn Meter>> {
        None
    }

    /// The files of a sandbox as they are now, by what its host gave of it. Blocks on a file of the ground.
    fn files(
        &self,
        _ground: &Ground,
        _spec: &SandboxSpec,
        _way: files::Way,
    ) -> Outcome<Arc<dyn files::Files>> {
        Err(Fault::unsupported(format!("the {} driver can't look at files", self.name())))
    }

    /// What tells which sandboxes there are, for `Hosting::Elsewhere`; given away once.
    fn roster(&self) -> Option<Box<dyn Roster>> {
        None
    }

    /// Lets go of what it kept for later and nothing stands on, by the directories that hold those of all sandboxes
    /// and snapshots. Blocks on files.
    fn prune(&self, _sandboxes: &Path, _snapshots: &Path) -> Outcome<()> {
        Ok(())
    }

    /// Takes up removals that the hub before did not finish, in the directory that holds those of all
    /// sandboxes. Returns at once; the work goes on in the background.
    fn tidy(&self, _sandboxes: &Path) {}
}

/// Tells which sandboxes there are where others make and keep them.
#[async_trait]
pub trait Roster: Send + Sync {
    /// All of them, at once the first time and then as soon as there are others; a fault as often as that is another.
    async fn next(&mut self) -> Outcome<Vec<Enlisted>>;

    /// The last answer could not be taken up whole: it is given once more soon, whether there are others or not.
    fn again(&mut self);

    /// One of those that were told last.
    fn place(&self, id: &SandboxId) -> Option<Arc<dyn Place>>;
}

/// A sandbox that somebody else made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enlisted {
    /// The same for as long as it is there, whichever hub asks.
    pub id: SandboxId,
    /// As it is called there.
    pub name: String,
    /// Sets it apart from another of that name.
    pub beside: String,
    pub created_at: Timestamp,
    pub labels: BTreeMap<String, String>,
    pub image: Option<String>,
    pub command: Vec<String>,
    /// It is being removed there: one that is not known here is not taken up any more.
    pub leaving: bool,
}

/// What a place has beside the rest when its sandbox is kept elsewhere, where others have a say too.
#[async_trait]
pub trait Elsewhere: Send + Sync {
    /// What runs in it without having been started from here: each is to be a session, the first as the sandbox's own.
    fn residents(&self) -> Vec<Resident>;

    /// Takes part in one of those.
    async fn join(&self, resident: &Resident) -> Outcome<Program<PtyIo>>;

    /// Whether what is typed into one of those arrives.
    fn may_type(&self, resident: &Resident) -> Outcome<()>;

    /// Somebody here steps into one of those, or nobody does any more.
    fn keyboard(&self, resident: &Resident, held: bool);

    /// What waits there for an answer.
    fn asks(&self) -> Vec<Asked>;

    /// Whether an answer to that came before, and it waits still.
    fn was_answered(&self, ask: &AskId) -> bool;

    /// Gives one; whoever waits has it when this returns.
    async fn answer(&self, ask: &AskId, answer: &Answer) -> Outcome<()>;

    /// Takes back what was allowed by answers to that; fine where it is not in force any more.
    async fn take_back(&self, request: &Request) -> Outcome<()>;
}

/// What a place has whose programs can be kept in the middle of what they do, and go on later.
#[async_trait]
pub trait Memory: Send + Sync {
    /// Writes them down in the ground, for `Driver::snapshot` with `Stillness::Written`. They stand still until `resume`; on an
    /// error they go on. `programs` is asked until it has all that they printed.
    async fn keep(&self, programs: &(dyn Fn() -> Vec<Slept> + Send + Sync)) -> Outcome<()>;

    /// Those that its snapshot was taken with, in their order; given away once.
    fn came_back(&self) -> Vec<Slept>;

    /// Takes up one of those.
    async fn rejoin(&self, slept: &Slept) -> Outcome<Program<PtyIo>>;
}

/// A program on a terminal, as it was when it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slept {
    /// The session's id when it was started, through all that is made from it.
    pub key: String,
    pub command: Vec<String>,
    pub size: Size,
    /// A keyframe of its screen.
    pub screen: Vec<u8>,
    /// Bytes that it has printed here, as far as its screen has them.
    pub printed: u64,
}

/// A program that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Another one for each time that it was started.
    pub key: String,
    pub spec: SessionSpec,
}

/// Reads what sandboxes use. It remembers what it needs to be quick, and only that.
#[async_trait]
pub trait Meter: Send {
    /// One reading of each, in this order; those of a sandbox that is not there any more are `Absent`. With
    /// `processes` the numbers of its processes as well. It wakes nothing in them.
    async fn read(&mut self, grounds: &[Ground], processes: bool) -> Vec<Outcome<Metered>>;
}

/// One reading of a sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metered {
    pub usage: Usage,
    /// Its processes, as the host numbers them; only if they were wanted, and bounded.
    pub processes: Vec<u32>,
    /// What it tells of its GPUs, where those are on another machine than the hub; bounded.
    pub gpus: Vec<Gpu>,
}

/// What is said where system calls can't be looked at.
pub const NO_SYSCALLS: &str = "system calls can't be looked at here";

/// What a process calls, part after part.
pub type Syscalls = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = SyscallPart> + Send>>;

/// Changes one after the other, found as they are asked for. Blocks on files.
pub type Changes = Box<dyn Iterator<Item = Outcome<DiffPiece>> + Send>;

/// What is really in force for a place, as opposed to what was asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlaceFacts {
    pub isolation: Option<Isolation>,
    pub raw_state: Option<String>,
    /// Whether it runs, is frozen or can't be asked, where the place knows that better than whoever uses it.
    pub state: Option<State>,
    pub capabilities: Capabilities,
    /// What was asked for but is not in force, in words for a person.
    pub notes: Vec<String>,
}

/// One live sandbox.
#[async_trait]
pub trait Place: Send + Sync {
    fn facts(&self) -> PlaceFacts;

    /// Resolves each time `facts` may say something else; never, where that does not happen by itself.
    async fn changed(&self) {
        std::future::pending::<()>().await;
    }

    /// Whether its programs can ask a person, and it has the files that were laid down for its agents.
    fn can_ask(&self) -> bool {
        false
    }

    /// What it has beside the rest where its sandbox is kept elsewhere: then what `facts` says of its state counts, whatever
    /// was done from here.
    fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        None
    }

    /// What it has beside the rest where its programs can be kept with what they have in memory.
    fn memory(&self) -> Option<&dyn Memory> {
        None
    }

    /// Its root directory as its programs see it, for who resolves all below it. `None` where it has none of its own.
    fn root(&self) -> Option<OwnedFd> {
        None
    }

    /// The ways out of its network, where all of it asks; given away once.
    fn doors(&self) -> Option<Doors> {
        None
    }

    /// Starts a program on a PTY of its own.
    async fn spawn(&self, spec: &SessionSpec) -> Outcome<Program<PtyIo>>;

    /// Starts a program with three pipes.
    async fn exec(&self, spec: &SessionSpec) -> Outcome<Program<PipeIo>>;

    /// What the process that leads a session does, and those below it. Looks at no more of them than can be shown.
    async fn processes(&self, _leader: u32) -> Outcome<Reading> {
        Err(Fault::unsupported("its processes can't be looked at from here"))
    }

    /// What a process calls from now on: one that leads a session, or that comes from `leader`. It is slower for as long as
    /// this is held, and goes on as before when it is dropped.
    async fn syscalls(&self, _leader: u32, _pid: u32) -> Outcome<Syscalls> {
        Err(Fault::unsupported(NO_SYSCALLS))
    }

    /// How many processes of it the kernel ended for want of memory, so far; `None` = that can't be told.
    fn starved(&self) -> Option<u64> {
        None
    }

    /// Freezes every process. Paused twice is paused.
    async fn pause(&self) -> Outcome<()>;

    async fn resume(&self) -> Outcome<()>;

    /// Ends every process, politely first, then not; works while paused; keeps the files.
    async fn stop(&self, grace: std::time::Duration) -> Outcome<()>;

    /// Stops at once and leaves nothing: no process, mount, cgroup or directory.
    async fn remove(&self) -> Outcome<()>;

    /// Resolves when the place is gone by itself, with the reason in words.
    async fn gone(&self) -> String;
}

/// In a sandbox whose programs get out by a proxy, the address of that, on its own loopback.
pub const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3128);

/// The ways out of a sandbox's network: what its programs send to elsewhere arrives here, and nowhere else.
pub struct Doors {
    pub way: Way,
    /// Which program has the end `from` of a connection to `to`. Blocks on every process of the sandbox.
    pub sender: Box<Look>,
    /// Whether any has it. Blocks on a file as long as there are connections.
    pub held: Box<dyn Fn(SocketAddr, SocketAddr) -> bool + Send + Sync>,
}

/// How connections come here.
pub enum Way {
    /// All that programs send to elsewhere is led here by the kernel.
    Redirect {
        /// Connections, each with the place it was meant for as its original destination.
        streams: Vec<std::net::TcpListener>,
        /// Questions for names.
        names: std::net::UdpSocket,
        held_back: Box<HeldBack>,
    },
    /// Programs connect to `PROXY` and say where they want to go; nothing else that they send gets anywhere.
    Proxy(Box<dyn Arrivals>),
}

/// Packets that were held back so far: of UDP, and of all else.
pub type HeldBack = dyn Fn() -> std::io::Result<(u64, u64)> + Send + Sync;

/// Connections that programs of one sandbox, and nobody else, make to a proxy.
#[async_trait]
pub trait Arrivals: Send {
    /// The next one; an error is that one's, and others may come after it.
    async fn next(&mut self) -> std::io::Result<tokio::net::TcpStream>;

    /// Counts those that waited, for too many began at once; `None` = none ever does.
    fn waited(&self) -> Option<Arc<AtomicU64>> {
        None
    }
}

/// Looks for a program by its end of a connection and the other one, no longer than until then, a `clock::monotonic`.
pub type Look = dyn Fn(SocketAddr, SocketAddr, std::time::Duration) -> Option<Sender> + Send + Sync;

/// A program of a sandbox, as the host knows it. All its words are the sandbox's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The path of its file, as seen in the sandbox; `None` where several have the connection.
    pub program: Option<String>,
    pub command: String,
    /// What it is called, and those it comes from, nearest first.
    pub processes: Vec<String>,
    /// Their numbers on the host.
    pub pids: Vec<u32>,
}

/// A started program.
pub struct Program<Io> {
    /// As the host sees it.
    pub pid: Option<u32>,
    pub io: Io,
    /// Sent once, when the program has ended; dropped without a value = the place is gone. When the
    /// receiver is dropped first, the driver kills the program with what shares its session.
    pub exit: oneshot::Receiver<ExitStatus>,
}

/// The controlling side of a PTY.
pub struct PtyIo {
    /// Ends (0 bytes) when no process has the other side open.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub resize: Box<dyn Fn(Size) -> Outcome<()> + Send + Sync>,
    /// How the program's side is used; must not block.
    pub terminal: Box<dyn Fn() -> TerminalUse + Send + Sync>,
}

/// How a program uses its terminal, as far as whoever keeps that can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TerminalUse {
    /// What is typed is given out by the line: nobody edits it but the kernel. `None` = not known.
    pub lines: Option<bool>,
    /// The program waits for what is typed; only where that is known for certain.
    pub read: Option<bool>,
}

/// The three streams of a program without a PTY. Dropping what it prints before the end is hanging up too: what the
/// program left in its session is killed where the driver can find it.
pub struct PipeIo {
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
}
