//! The verbs about what programs in sandboxes ask: answering, asking, and agents' own hooks.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::JsonArgs;
use crate::{
    base::{
        clock::Timestamp,
        limits::{ASK_WITHIN, ASK_WITHIN_MAX},
    },
    cli::values::{self, Pair},
    config::import::Dialect,
    model::{
        ask::{AskKind, Scope},
        rule::Ruling,
    },
};

#[derive(Debug, Subcommand)]
pub enum ApprovalsVerb {
    /// List what waits for a person, oldest first
    Ls(ApprovalsLsArgs),
    /// Show all of one ask
    Show(ApprovalsShowArgs),
    /// Let the program do what it asks for
    Allow(AllowArgs),
    /// Refuse what it asks for
    Deny(DenyArgs),
    /// Print asks as they come and as they end, until interrupted
    Watch(WatchAsksArgs),
    /// List the answers that hold for the very same request, newest first
    Standing(JsonArgs),
    /// Take such an answer back, or the rule that was made of one, so that the very same is asked again
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub struct ApprovalsLsArgs {
    /// Also those that have ended, the newest last
    #[arg(long)]
    pub all: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ApprovalsShowArgs {
    /// Id or unique prefix of an id
    pub ask: String,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AllowArgs {
    /// Id or unique prefix of an id
    pub ask: String,
    /// For what else it holds: once, session (the very same of this sandbox), 1h, or all that a rule matches: project
    /// (the sandboxes on its directory) or always (all)
    #[arg(long, value_name = "SCOPE", default_value = "once", value_parser = scope)]
    pub scope: Scope,
    /// With project or always: the rule in one line, as it is shown, instead of the one that is proposed
    #[arg(long, value_name = "TEXT")]
    pub rule: Option<String>,
    /// With project or always: only show the rule and what it would have answered
    #[arg(long)]
    pub dry_run: bool,
    /// Allow this instead of what was asked for, where who asks can do it in other words
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["rule", "dry_run"])]
    pub edit: Option<String>,
    /// Take a snapshot of the sandbox first; without one nothing is allowed
    #[arg(long)]
    pub snapshot: bool,
    /// Words for the agent
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Only if this is still what it asks for: the digest as `show` gives it, or at least 12 digits of its beginning
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub digest: Option<String>,
    /// Do not ask, also where much is at stake or a list shows only a part of it
    #[arg(short, long)]
    pub yes: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DenyArgs {
    /// Id or unique prefix of an id
    pub ask: String,
    /// For what else it holds: once, session (the very same of this sandbox), 1h, or all that a rule matches: project
    /// (the sandboxes on its directory) or always (all)
    #[arg(long, value_name = "SCOPE", default_value = "once", value_parser = scope)]
    pub scope: Scope,
    /// With project or always: the rule in one line, as it is shown, instead of the one that is proposed
    #[arg(long, value_name = "TEXT")]
    pub rule: Option<String>,
    /// With project or always: only show the rule and what it would have answered
    #[arg(long)]
    pub dry_run: bool,
    /// With project or always: do not ask before the rule is made
    #[arg(short, long)]
    pub yes: bool,
    /// Words for the agent
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Id or unique prefix of the id of the ask that was answered
    pub ask: String,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct WatchAsksArgs {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AskArgs {
    /// What it is about
    #[arg(long, value_name = "KIND", default_value = "question", value_parser = kind)]
    pub kind: AskKind,
    /// What is asked for: a command, a path, HOST:PORT, a name, a question
    #[arg(long, value_name = "TEXT", required_unless_present = "reach")]
    pub subject: Option<String>,
    /// Ask nothing: whether anybody can be asked
    #[arg(long, hide = true, exclusive = true)]
    pub reach: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// What else belongs to it
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    pub detail: Vec<Pair>,
    /// How long to wait for an answer; then it is a no
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = values::duration)]
    pub timeout: std::time::Duration,
    /// What is allowed may be in other words: print what is allowed, and the message on stderr
    #[arg(long)]
    pub editable: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// List the rules in force
    Show(JsonArgs),
    /// Check a policy (by default your own) with the cases in it
    Check {
        file: Option<PathBuf>,
        #[command(flatten)]
        args: JsonArgs,
    },
    /// What the rules say of a request, and why
    Test(PolicyTestArgs),
    /// Make a rule; what it would have answered is shown before
    Add(Box<PolicyAddArgs>),
    /// Take a rule out
    Rm(PolicyRmArgs),
    /// Make rules of those of an agent; what can't be said exactly is left out, and named
    Import(PolicyImportArgs),
}

#[derive(Debug, Args)]
pub struct PolicyAddArgs {
    /// What it says: deny, ask or allow
    #[arg(long, value_name = "VERDICT", value_parser = ruling)]
    pub verdict: Ruling,
    #[command(flatten)]
    pub about: RulesOf,
    /// Why, for people, and for the agent when it is denied
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// A word to name it by [default: made of what it is about]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Until when it holds, e.g. 2026-12-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "lasts")]
    pub until: Option<Timestamp>,
    /// How long it holds, e.g. 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration)]
    pub lasts: Option<std::time::Duration>,
    /// A case that it must match
    #[arg(long = "match", value_name = "SUBJECT")]
    pub matches: Vec<String>,
    /// A case that it must not match
    #[arg(long, value_name = "SUBJECT")]
    pub not_match: Vec<String>,
    /// Only for the sandboxes on this directory
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// Only show what it would do
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// What a rule is about: one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct RulesOf {
    /// First words of a command, `|` between those that may stand in one place: "cargo test|check"
    #[arg(long, value_name = "WORDS")]
    pub command: Option<String>,
    /// A path of the workspace, or an absolute one: "src/**"
    #[arg(long, value_name = "GLOB")]
    pub path: Option<String>,
    /// A host, with a port or for all of them: "*.example.org:443"
    #[arg(long, value_name = "HOST[:PORT]")]
    pub host: Option<String>,
    /// The name of a tool, `*` at its end for all that begin so
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
}

#[derive(Debug, Args)]
pub struct PolicyRmArgs {
    /// Id of the rule
    pub rule: String,
    /// Of the rules for the sandboxes on this directory
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct PolicyImportArgs {
    /// Whose rules these are: claude (settings.json) or codex (a .rules file)
    #[arg(value_parser = dialect)]
    pub from: Dialect,
    /// The file, which is read and never run
    pub file: PathBuf,
    /// Only for the sandboxes on this directory
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// Only show which rules would be made
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct PolicyTestArgs {
    /// What it is about
    #[arg(long, value_name = "KIND", default_value = "exec", value_parser = kind)]
    pub kind: AskKind,
    /// What is asked for: a command, a path, HOST:PORT, the name of a tool
    #[arg(long, value_name = "TEXT")]
    pub subject: String,
    /// What else belongs to it, such as tool=NAME or cwd=DIR
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    pub detail: Vec<Pair>,
    /// The sandbox's workspace [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// Agents whose hooks are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HookAgent {
    Claude,
    Codex,
    Cursor,
    Gemini,
    Goose,
    Opencode,
}

impl HookAgent {
    /// As its profile is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Cursor => "cursor-agent",
            Self::Gemini => "gemini",
            Self::Goose => "goose",
            Self::Opencode => "opencode",
        }
    }
}

#[derive(Debug, Args)]
pub struct HookArgs {
    /// Whose hook this is
    #[arg(value_enum)]
    pub agent: HookAgent,
    /// How long to wait for an answer; the agent must wait longer
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = values::duration)]
    pub timeout: std::time::Duration,
}

#[derive(Debug, Args)]
pub struct McpArgs {
    /// Whose tool this is
    #[arg(long, value_enum, default_value = "claude")]
    pub agent: HookAgent,
    /// How long to wait for an answer; then it is a no
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = values::duration)]
    pub timeout: std::time::Duration,
}

const _: () = assert!(ASK_WITHIN.as_secs() == 300 && ASK_WITHIN_MAX.as_secs() >= 300);

fn kind(word: &str) -> Result<AskKind, String> {
    word_of(word, AskKind::ALL, AskKind::word)
}

fn ruling(word: &str) -> Result<Ruling, String> {
    word_of(word, Ruling::ALL, Ruling::word)
}

fn dialect(word: &str) -> Result<Dialect, String> {
    word_of(word, Dialect::ALL, Dialect::word)
}

fn time(text: &str) -> Result<Timestamp, String> {
    let time = Timestamp::from_rfc3339(text);
    time.ok_or_else(|| "expected a time such as 2026-12-31T00:00:00Z".to_owned())
}

fn scope(word: &str) -> Result<Scope, String> {
    word_of(word, Scope::ALL, Scope::word)
}

/// Long enough that nobody makes two requests with the same beginning.
const DIGEST_DIGITS_MIN: usize = 12;
const DIGEST_DIGITS_MAX: usize = 64;

fn digest(word: &str) -> Result<String, String> {
    let hex = word.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
    if hex && (DIGEST_DIGITS_MIN..=DIGEST_DIGITS_MAX).contains(&word.len()) {
        return Ok(word.to_owned());
    }
    Err(format!("expected {DIGEST_DIGITS_MIN} to {DIGEST_DIGITS_MAX} digits of 0-9 and a-f"))
}

fn word_of<T: Copy>(typed: &str, all: &[T], word: impl Fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().copied().find(|it| word(*it) == typed);
    found.ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|it| word(*it)).collect();
        format!("use one of {}", words.join(", "))
    })
}
