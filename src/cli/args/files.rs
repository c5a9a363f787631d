//! The verbs about the files of a sandbox.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum FilesVerb {
    /// List a directory
    Ls(FilesLsArgs),
    /// What lies at a path itself; a link is not followed
    Stat(FilesStatArgs),
    /// Print a file; on a terminal, control characters are made visible
    Cat(FilesCatArgs),
    /// Write a file, or a directory with all that is in it, into the sandbox: whole or not at all, each file by one rename
    Put(FilesPutArgs),
    /// Copy a file, or a directory with all that is in it, out of the sandbox
    Get(FilesGetArgs),
    /// Look for names and for lines of files
    Find(FilesFindArgs),
    /// Tell which directories change, until ctrl-c
    Watch(FilesWatchArgs),
}

#[derive(Debug, Args)]
pub struct FilesLsArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// A directory as the sandbox sees it; relative to its workspace, which is the default
    #[arg(default_value = "")]
    pub path: OsString,
    /// Also what changed below each entry since the sandbox began: + added, ~ modified (copy-on-write workspaces)
    #[arg(long)]
    pub changes: bool,
    /// The same since this snapshot: name, SANDBOX/NAME, id or unique prefix of an id
    #[arg(long, value_name = "SNAPSHOT")]
    pub since: Option<String>,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FilesStatArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// As the sandbox sees it, or relative to its workspace
    pub path: OsString,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FilesCatArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// A file as the sandbox sees it, or relative to its workspace
    pub path: OsString,
    /// Begin so many bytes before the end
    #[arg(long, value_name = "BYTES")]
    pub tail: Option<u64>,
    /// Go on with what is added to it, until ctrl-c
    #[arg(short, long)]
    pub follow: bool,
    /// One JSON document on stdout: what lies there, and its contents in base64; at most 16 MiB
    #[arg(long, conflicts_with = "follow")]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FilesPutArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// What is written, as the sandbox sees it, or relative to its workspace
    pub path: OsString,
    /// A file or directory of yours; `-`, and the default, is standard input
    #[arg(value_name = "FROM")]
    pub from: Option<PathBuf>,
    /// Only where nothing is yet
    #[arg(long)]
    pub new: bool,
    /// Only if it still has this version, as `stat --json` and `ls --json` tell it
    #[arg(long, value_name = "VERSION", conflicts_with = "new")]
    pub version: Option<String>,
    /// One JSON document on stdout: what lies there now
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FilesGetArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// A file or directory as the sandbox sees it, or relative to its workspace
    pub path: OsString,
    /// Where to; the default is its name in the current directory, `-` is standard output
    #[arg(value_name = "TO")]
    pub to: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long, visible_alias = "overwrite")]
    pub force: bool,
    /// One JSON document on stdout: what was written
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FilesFindArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// The directory to look through; relative to the workspace, which is the default
    #[arg(default_value = "")]
    pub path: OsString,
    /// Part of a name; capital letters count where there are some in it. Without this and --text all names are told
    #[arg(long)]
    pub name: Option<String>,
    /// Part of a line, with the same rule; files with zero bytes at their beginning are not looked into
    #[arg(long)]
    pub text: Option<String>,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FilesWatchArgs {
    /// Name, id or unique prefix of an id
    pub sandbox: String,
    /// Directories as the sandbox sees them; relative to its workspace, which is the default
    #[arg(value_name = "PATH")]
    pub paths: Vec<OsString>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}
