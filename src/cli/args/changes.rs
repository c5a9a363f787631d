//! The verbs about what a sandbox changed: looking, applying, keeping moments and going back to them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::values;

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// Only these files and directories of the workspace
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Against this snapshot instead of the real directory: name, SANDBOX/NAME, id or unique prefix of an id
    #[arg(long, value_name = "SNAPSHOT")]
    pub from: Option<String>,
    #[command(flatten)]
    pub show: ShowArgs,
}

/// How changes are shown, whosever they are.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The whole system instead of the workspace; paths are then relative to /
    #[arg(long)]
    pub system: bool,
    /// A table: what became of each path, and how many lines
    #[arg(long, conflicts_with = "json")]
    pub stat: bool,
    /// Also what changed in .git
    #[arg(long)]
    pub git: bool,
    /// One JSON document on stdout: paths with status, modes, sizes and counts of lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum SnapshotVerb {
    /// Keep this moment of a sandbox, running or not; prints the snapshot's id
    Create(SnapshotCreateArgs),
    /// List the snapshots, oldest first
    Ls(SnapshotLsArgs),
    /// Drop snapshots for good; sandboxes that began with them go on
    Rm(SnapshotRmArgs),
    /// What changed up to a snapshot, or between two
    Diff(SnapshotDiffArgs),
}

#[derive(Debug, Args)]
pub struct SnapshotCreateArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// A word to find it by
    #[arg(long)]
    pub name: Option<String>,
    /// With its running programs, which restore and fork have go on, or not at all
    #[arg(long)]
    pub memory: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct SnapshotLsArgs {
    /// Only those of this sandbox, which may be no more
    pub sandbox: Option<String>,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct SnapshotRmArgs {
    /// Names, SANDBOX/NAME, ids or unique prefixes of ids
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct SnapshotDiffArgs {
    /// Name, SANDBOX/NAME, id or unique prefix of an id
    pub snapshot: String,
    /// Show what changed from the first to this one, instead of up to the first
    #[arg(value_name = "OTHER")]
    pub other: Option<String>,
    /// Only these files and directories
    #[arg(last = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub show: ShowArgs,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// Name, SANDBOX/NAME, id or unique prefix of an id of a snapshot; none = start it again on the files it has
    pub snapshot: Option<String>,
    /// One of its secrets, whose value in your environment is given once more, or another instead; may be given several
    /// times
    #[arg(long, value_name = "NAME", value_parser = values::Unechoed(values::secret_name))]
    pub secret: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// The sandbox as one JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ForkArgs {
    /// A sandbox, or a snapshot: name, SANDBOX/NAME, id or unique prefix of an id
    #[arg(value_name = "SANDBOX|SNAPSHOT")]
    pub from: String,
    /// Name of the new sandbox [default: the other's with -fork]
    #[arg(long)]
    pub name: Option<String>,
    /// One of its secrets, whose value in your environment is given once more, or another instead; may be given several
    /// times
    #[arg(long, value_name = "NAME", value_parser = values::Unechoed(values::secret_name))]
    pub secret: Vec<String>,
    /// Print the sandbox's name and return, instead of attaching
    #[arg(short, long)]
    pub detach: bool,
    /// The sandbox as one JSON document on stdout, instead of attaching
    #[arg(long)]
    pub json: bool,
    /// The command to run instead of the other's first
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// Only these files and directories of the workspace
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Also what changed in .git
    #[arg(long)]
    pub git: bool,
    /// Also links that lead out of the workspace
    #[arg(long)]
    pub links: bool,
    /// Also where the real directory changed meanwhile: what is there goes, until --undo
    #[arg(long)]
    pub overwrite: bool,
    /// Only the hunks in this file, or `-` for standard input: what `sandwatch diff` printed, without what is not
    /// wanted
    #[arg(long, value_name = "FILE")]
    pub patch: Option<PathBuf>,
    /// Take back what was applied last
    #[arg(long, conflicts_with_all = ["paths", "patch", "git", "links"])]
    pub undo: bool,
    /// One JSON document on stdout: paths with status and verdict
    #[arg(long)]
    pub json: bool,
}
