//! Every verb and flag, once: the parser, `--help`, the manual page and the completions come from
//! this table.

mod asks;
mod audit;
mod changes;
mod context;
mod explain;
mod files;
mod members;
mod settings;
mod timeline;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::{
    asks::{
        AllowArgs, ApprovalsLsArgs, ApprovalsVerb, AskArgs, DenyArgs, HookAgent, HookArgs, McpArgs,
        PolicyAddArgs, PolicyImportArgs, PolicyRmArgs, PolicyTestArgs, PolicyVerb, RevokeArgs,
        RulesOf, WatchAsksArgs,
    },
    audit::{AuditLsArgs, AuditVerb, AuditVerifyArgs},
    changes::{ApplyArgs, DiffArgs, ForkArgs, RestoreArgs, ShowArgs, SnapshotRmArgs, SnapshotVerb},
    context::{ContextAddArgs, ContextArgs, ContextRmArgs, ContextVerb},
    explain::ExplainArgs,
    files::{
        FilesCatArgs, FilesFindArgs, FilesGetArgs, FilesLsArgs, FilesPutArgs, FilesStatArgs,
        FilesVerb, FilesWatchArgs,
    },
    members::{InviteArgs, MembersVerb},
    settings::{ConfigVerb, KeysVerb, ThemesVerb},
    timeline::TimelineArgs,
};
use super::values::{self, Pair, Variable, WorkspaceArg};
use crate::{
    base::{clock::Timestamp, units::Size},
    config::contexts::ContextName,
    model::{
        sandbox::{Egress, Gpus},
        secret::SecretUse,
    },
    runtime::WaitFor,
};

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 denied, 5 the driver cannot do that, 6 no hub
reachable, 7 timed out. `run`, `attach` and `exec` exit with the program's own code (128+N for a signal).

Environment: SANDWATCH_HOME=DIR keeps config, state and sockets under DIR; SANDWATCH_LOG=LEVEL
(error, warn, info, debug, trace) sets how much goes to the log files; SANDWATCH_CONTEXT=NAME chooses the hub;
NO_COLOR turns colour off.";

/// Watch and steer sandboxed agents, live, from one terminal.
///
/// Without a verb it opens the console. The hub, which owns the sandboxes, starts by itself and
/// lives on until `sandwatch hub stop`; sandboxes live on even then.
#[derive(Debug, Parser)]
#[command(name = "sandwatch", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// The hub to speak to, by its name in `context ls` [default: SANDWATCH_CONTEXT, else the current one]
    #[arg(long, global = true, value_name = "NAME", value_parser = values::context)]
    pub context: Option<ContextName>,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create a sandbox, start a program in it and attach to it
    Run(Box<RunArgs>),
    /// List sandboxes with their sessions
    Ls(LsArgs),
    /// Take over a running container that sandwatch did not make; nothing in it is changed, and it stays
    Adopt(AdoptArgs),
    /// Make this terminal the session's; ctrl-b d detaches
    Attach(AttachArgs),
    /// Open a new shell session beside the agent and attach to it
    Shell(ShellArgs),
    /// Run a command without a terminal; its output and exit code pass through, with -i its input too
    Exec(ExecArgs),
    /// Type into a session
    Send(SendArgs),
    /// Print what a session shows now
    Screen(ScreenArgs),
    /// Wait until something happens in a session
    Wait(WaitArgs),
    /// Freeze every process of sandboxes
    Pause(SandboxesArgs),
    /// Let paused sandboxes run on
    Resume(SandboxesArgs),
    /// What a session does and what that stands on; what it waits on, if it is stuck
    Explain(ExplainArgs),
    /// What went out of a sandbox whose network asks, and what was kept in
    Egress(EgressArgs),
    /// What sandboxes and this machine use: processors, memory, disks, network, GPUs
    Stats(StatsArgs),
    /// Print all metrics once, as Prometheus reads them
    Metrics,
    /// End every process of sandboxes; their files stay
    Stop(StopArgs),
    /// Remove sandboxes and everything in them but recordings
    Rm(RmArgs),
    /// What a sandbox changed in its copy-on-write workspace, as a unified diff
    Diff(DiffArgs),
    /// Write what a sandbox changed to the real directory; conflicts refuse, --undo takes it back
    Apply(ApplyArgs),
    /// Moments of a sandbox's files, to go back to or to branch from
    #[command(subcommand)]
    Snapshot(SnapshotVerb),
    /// Give a sandbox the files of another moment and start its first command again, or have its programs go on that were kept with it; what it was is kept
    Restore(RestoreArgs),
    /// Make a sandbox from a moment of another, running or not, and start its first command, or have its programs go on that were kept with it
    Fork(ForkArgs),
    /// The files of a sandbox as they are now: list, read, write, search, watch
    #[command(subcommand)]
    Files(FilesVerb),
    /// What programs in sandboxes ask, and the answers
    #[command(subcommand)]
    Approvals(ApprovalsVerb),
    /// The rules that answer asks without a person: policy.toml
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// What happened: asks and answers, changes of status, ends of programs, snapshots, files, notices
    Timeline(TimelineArgs),
    /// The record of who did and decided what: each entry holds the hash of the one before
    #[command(subcommand)]
    Audit(AuditVerb),
    /// From inside a sandbox: ask a person, and wait for the answer (0 yes, 4 no, 7 nobody answered)
    Ask(AskArgs),
    /// From inside a sandbox: an agent's hook, which asks a person in the agent's place
    Hook(HookArgs),
    /// From inside a sandbox: serve one tool over MCP on stdin and stdout, by which an agent asks a person
    Mcp(McpArgs),
    /// Terminal recordings (asciicast v3)
    #[command(subcommand)]
    Recordings(RecordingsVerb),
    /// The runtime daemon that owns the sandboxes
    #[command(subcommand)]
    Hub(HubVerb),
    /// Hubs elsewhere, by name: every verb and the console speak to the current one, or to --context NAME
    #[command(subcommand)]
    Context(ContextVerb),
    /// Give `ssh` the connection at this socket
    #[command(name = "openshell-tunnel", hide = true)]
    OpenshellTunnel { path: std::path::PathBuf },
    /// What works here, what does not, and how to get it
    Doctor(JsonArgs),
    /// Print the completions of a shell
    Completions { shell: clap_complete::Shell },
    /// Print the manual page (roff)
    Man,
    /// The keymap: check files, list bindings, explain a key
    #[command(subcommand)]
    Keys(KeysVerb),
    /// The themes: check and list them
    #[command(subcommand)]
    Themes(ThemesVerb),
    /// The configuration: check it, list the settings, explain one
    #[command(subcommand)]
    Config(ConfigVerb),
    /// The console on a scripted fleet: no agent and no hub needed
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Sandboxes in the fleet; those beyond the scripted ones are at rest
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = values::fleet)]
    pub fleet: usize,
}

#[derive(Debug, Args)]
pub struct JsonArgs {
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// A program on PATH, an agent mostly; without it and without a command: a shell
    #[arg(value_name = "AGENT")]
    pub agent: Option<String>,
    /// The command to run inside; behind AGENT, its arguments
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
    /// Print the sandbox's name and return, instead of attaching
    #[arg(short, long)]
    pub detach: bool,
    /// Name of the sandbox; chosen from the directory if not given
    #[arg(long)]
    pub name: Option<String>,
    /// What provides the sandbox: local, or docker for a container
    #[arg(long, default_value = "local")]
    pub driver: String,
    /// Image that it begins with. Local: a root file system, as a directory or a tar archive, or an image as
    /// `docker save` or an OCI tool writes it. Docker: one that the engine has [default: SANDWATCH_IMAGE, else
    /// debian:stable-slim]
    #[arg(long, value_name = "REF")]
    pub image: Option<String>,
    /// Directory to work in, at the same path inside: cow keeps the changes apart, rw writes
    /// through, ro forbids writing, none leaves it out [default: the current directory, cow]
    #[arg(long, value_name = "DIR[:MODE]", value_parser = values::workspace)]
    pub workspace: Option<WorkspaceArg>,
    /// Network out of the sandbox: deny, allow, or ask, which holds each connection to a host that no rule knows
    /// until somebody answers; where a driver can't ask, it acts as deny and says so [default: ask]
    #[arg(long, value_name = "WORD", value_parser = values::egress)]
    pub egress: Option<Egress>,
    /// A host that may be reached without asking, `*.` in front for all below it; may be given several times
    #[arg(long, value_name = "HOST[:PORT]", value_parser = values::host)]
    pub allow: Vec<String>,
    /// At most so many cores, e.g. 1.5
    #[arg(long, value_name = "N", value_parser = values::cpus)]
    pub cpus: Option<f64>,
    /// At most so much memory, e.g. 512M or 2G
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    pub memory: Option<u64>,
    /// At most so many processes and threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub pids: Option<u64>,
    /// Graphics processors that it may use: all, or how many; only docker has them
    #[arg(long, value_name = "all|N", value_parser = values::gpus)]
    pub gpus: Option<Gpus>,
    /// An environment variable for every session, or the name of one of yours to pass on; none is
    /// passed on by itself
    #[arg(long, value_name = "K[=V]", value_parser = values::variable)]
    pub env: Vec<Variable>,
    /// A variable of yours with a credential, which programs use and never see: they have a placeholder, and requests
    /// to HOST get the value in its place; well-known ones know their host. TLS to HOST is opened for it. May be given
    /// several times
    #[arg(long, value_name = "NAME[=HOST[:PORT]]", value_parser = values::Unechoed(values::secret))]
    pub secret: Vec<SecretUse>,
    /// Size of the session's terminal [default: this terminal's, else 80x24]
    #[arg(long, value_name = "COLSxROWS", value_parser = values::size)]
    pub size: Option<Size>,
    /// Remove the sandbox so long after its creation, e.g. 90s, 30m, 2h, 1d
    #[arg(long, value_name = "DUR", value_parser = values::ttl)]
    pub ttl: Option<std::time::Duration>,
    /// A label to find it by; may be given several times
    #[arg(long, value_name = "K=V", value_parser = values::pair)]
    pub label: Vec<Pair>,
    /// Remove the sandbox when its first session ends
    #[arg(long)]
    pub rm: bool,
    /// How it is kept apart: auto, landlock, namespaces, oci or gvisor; docker has the last two
    #[arg(long, default_value = "auto", value_name = "WORD", value_parser = values::isolation)]
    pub isolation: values::IsolationArg,
    /// Take a snapshot by itself so often while programs run, e.g. 10m; the newest ones are kept
    #[arg(long, value_name = "DUR", value_parser = values::duration)]
    pub snapshot_every: Option<std::time::Duration>,
    /// Keep no recording of its sessions
    #[arg(long)]
    pub no_record: bool,
}

#[derive(Debug, Args)]
pub struct EgressArgs {
    /// Name, id or unique prefix of an id
    #[arg(value_name = "SANDBOX")]
    pub sandbox: String,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Only these: names, ids or unique prefixes of ids
    #[arg(value_name = "SANDBOX")]
    pub sandboxes: Vec<String>,
    /// Once a second, until it is interrupted
    #[arg(short, long)]
    pub watch: bool,
    /// This machine alone
    #[arg(long, conflicts_with = "sandboxes")]
    pub host: bool,
    /// One JSON document; with --watch one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Only these, also when they are stopped: names, ids or unique prefixes of ids
    #[arg(value_name = "SANDBOX")]
    pub sandboxes: Vec<String>,
    /// Also those that are stopped or gone
    #[arg(short, long)]
    pub all: bool,
    /// Only those with this label
    #[arg(long, value_name = "K=V", value_parser = values::pair)]
    pub label: Vec<Pair>,
    /// Containers that sandwatch did not make instead: of the docker engine
    #[arg(long, conflicts_with_all = ["sandboxes", "all", "label"])]
    pub foreign: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// Name, id or unique prefix of an id, as `ls --foreign` lists them
    pub container: String,
    /// Name of the sandbox; the container's if not given
    #[arg(long)]
    pub name: Option<String>,
    /// Print the sandbox as one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Name, id or unique prefix of an id
    pub session: String,
    /// Only watch; no key reaches the program
    #[arg(long)]
    pub read_only: bool,
}

#[derive(Debug, Args)]
pub struct ShellArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// Print the session's name and return, instead of attaching
    #[arg(short, long)]
    pub detach: bool,
    /// The program to run instead of the shell
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// Pass this command's stdin on; without it the program's stdin is empty
    #[arg(short, long)]
    pub interactive: bool,
    /// An environment variable for this command, or the name of one of yours to pass on
    #[arg(long, value_name = "K[=V]", value_parser = values::variable)]
    pub env: Vec<Variable>,
    /// Directory to run it in [default: the workspace]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// The command
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct SendArgs {
    /// Name, id or unique prefix of an id
    pub session: String,
    /// Type every word as it is: nothing in angle brackets is a key
    #[arg(short, long)]
    pub literal: bool,
    /// Words are typed as they are, with a space between two of them; <Enter>, <C-c>, <Up> are
    /// keys, <lt> is a <
    #[arg(
        required = true,
        value_name = "TEXT|KEY",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub keys: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ScreenArgs {
    /// Name, id or unique prefix of an id
    pub session: String,
    /// Text with its colours
    #[arg(long, conflicts_with_all = ["text", "json"])]
    pub ansi: bool,
    /// Plain text (the default)
    #[arg(long, conflicts_with = "json")]
    pub text: bool,
    /// One JSON document: rows, cols, cursor, title, lines
    #[arg(long)]
    pub json: bool,
    /// As it was so long ago, e.g. 10m, or at a time such as 2026-11-20T13:00:00Z; also of a session that is no more
    #[arg(long, value_name = "DUR|TIME", value_parser = values::moment)]
    pub at: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Name, id or unique prefix of an id
    pub session: String,
    /// exit, idle (it does nothing and has printed nothing for 5 s), or text=RE: RE in the output so far or to come, within 64 KiB of text
    #[arg(long = "for", value_name = "EVENT", value_parser = values::wait_for)]
    pub what: WaitFor,
    /// Give up after so long (exit code 7), e.g. 30s
    #[arg(long, value_name = "DUR", value_parser = values::duration)]
    pub timeout: Option<std::time::Duration>,
}

#[derive(Debug, Args)]
pub struct SandboxesArgs {
    /// Names, ids or unique prefixes of ids
    #[arg(required = true, value_name = "SANDBOX")]
    pub sandboxes: Vec<String>,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// Names, ids or unique prefixes of ids
    #[arg(required_unless_present = "all", value_name = "SANDBOX")]
    pub sandboxes: Vec<String>,
    /// All that run; asks first
    #[arg(long, conflicts_with = "sandboxes")]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Time between asking the programs to end and ending them
    #[arg(long, value_name = "DUR", default_value = "5s", value_parser = values::duration)]
    pub grace: std::time::Duration,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Names, ids or unique prefixes of ids
    #[arg(required_unless_present_any = ["all", "stopped"], value_name = "SANDBOX")]
    pub sandboxes: Vec<String>,
    /// All there are, also those that run
    #[arg(long, conflicts_with_all = ["sandboxes", "stopped"])]
    pub all: bool,
    /// All whose programs have ended or were stopped
    #[arg(long, conflicts_with = "sandboxes")]
    pub stopped: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum RecordingsVerb {
    /// List the recordings
    Ls(JsonArgs),
    /// Write one as asciicast v3
    Export {
        /// Name or id of the session; recordings outlive their sandboxes
        session: String,
        /// File to write [default: stdout]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long, requires = "output")]
        force: bool,
        /// From the screen of this time on: so long ago, e.g. 10m, or a time such as 2026-11-20T13:00:00Z
        #[arg(long, value_name = "DUR|TIME", value_parser = values::moment)]
        from: Option<Timestamp>,
        /// Up to this time
        #[arg(long, value_name = "DUR|TIME", value_parser = values::moment)]
        until: Option<Timestamp>,
    },
    /// Find where a text was printed, the oldest first, once for each piece of output; exit code 3 when it was not
    Search(RecordingsSearchArgs),
    /// Delete recordings for good; those of sandboxes that run are refused
    Rm(RecordingsRmArgs),
}

#[derive(Debug, Args)]
pub struct RecordingsSearchArgs {
    /// Name or id of the session; recordings outlive their sandboxes
    pub session: String,
    /// A regular expression; case matters only with an upper-case letter in it
    pub pattern: String,
    /// At most so many, up to 1000
    #[arg(short, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub n: u32,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct RecordingsRmArgs {
    /// Names or ids of sessions; a name means its newest recording
    #[arg(required_unless_present = "older_than", value_name = "SESSION")]
    pub sessions: Vec<String>,
    /// Only those that ended so long ago, e.g. 7d; without names: all of them
    #[arg(long, value_name = "DUR", value_parser = values::duration)]
    pub older_than: Option<std::time::Duration>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum HubVerb {
    /// Start it, if it does not run
    Start,
    /// End it; sandboxes and their sessions live on
    Stop,
    /// What it says of itself; exit code 6 when none runs
    Status(JsonArgs),
    /// Run it in the foreground, for service managers
    Serve(ServeArgs),
    /// Print what lets somebody elsewhere in, once: they give it to `sandwatch context add`
    Invite(InviteArgs),
    /// Who may come from elsewhere, as what, and until when
    #[command(subcommand)]
    Members(MembersVerb),
    /// Carry bytes between it and stdin and stdout: what a console elsewhere has ssh run
    Proxy(ProxyArgs),
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Let in who has a certificate of this hub, over TLS, here: https://ADDRESS:PORT with a number for ADDRESS; may be
    /// given several times [default: what config.toml says]
    #[arg(long, value_name = "URL", value_parser = values::listen)]
    pub listen: Vec<std::net::SocketAddr>,
    /// Leave the terminal and the directory it was started from
    #[arg(long, hide = true)]
    pub detached: bool,
    /// Be the hub of an OpenShell gateway, by the name of its context: all that it has and nothing else
    #[arg(long, value_name = "NAME", value_parser = values::context)]
    pub gateway: Option<ContextName>,
}

#[derive(Debug, Args)]
pub struct ProxyArgs {
    /// Start no hub where none runs
    #[arg(long)]
    pub running: bool,
}

/// How `screen` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenForm {
    Text,
    Ansi,
    Json,
}

impl ScreenArgs {
    pub fn form(&self) -> ScreenForm {
        match (self.json, self.ansi) {
            (true, _) => ScreenForm::Json,
            (false, true) => ScreenForm::Ansi,
            (false, false) => ScreenForm::Text,
        }
    }
}
