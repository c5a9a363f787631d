//! The verbs about the audit record.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::JsonArgs;
use crate::{
    base::{
        clock::Timestamp,
        limits::{AUDIT_LISTED, AUDIT_LISTED_MAX},
    },
    cli::values,
    model::audit::Head,
};

#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// List the newest entries, the newest last
    Ls(AuditLsArgs),
    /// Look through the whole record; exit code 1 names the first entry that is not what it was
    Verify(AuditVerifyArgs),
    /// Print the last entry as SEQ:HASH, to be kept elsewhere and given to verify later
    Head(JsonArgs),
    /// Write the whole record as JSONL: one JSON object a line, oldest first
    Export {
        /// File to write [default: stdout]
        file: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long, requires = "file")]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub struct AuditLsArgs {
    /// Only what is not older than this, e.g. 2h or 7d, or since a time such as 2026-11-20T13:00:00Z
    #[arg(long, value_name = "DUR|TIME", value_parser = values::moment)]
    pub since: Option<Timestamp>,
    /// Only what is about this sandbox, which need not be there any more: a name, or an id
    #[arg(long, value_name = "SANDBOX")]
    pub sandbox: Option<String>,
    /// At most so many, up to 10000
    #[arg(short, value_name = "N", default_value_t = AUDIT_LISTED,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(AUDIT_LISTED_MAX)))]
    pub n: u32,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AuditVerifyArgs {
    /// What `audit head` said earlier: also finds what was cut off at the end or written anew up to there
    #[arg(long, value_name = "SEQ:HASH", value_parser = head)]
    pub head: Option<Head>,
    /// An exported record instead of the hub's own; no hub is needed
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

fn head(text: &str) -> Result<Head, String> {
    Head::parse(text).ok_or_else(|| "expected SEQ:HASH as `sandwatch audit head` prints it".into())
}
