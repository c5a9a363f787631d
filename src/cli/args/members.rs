//! The verbs about who may come to a hub from elsewhere.

use clap::{Args, Subcommand};

use super::JsonArgs;
use crate::{cli::values, model::member::Role};

#[derive(Debug, Args)]
pub struct InviteArgs {
    /// What they are called on this hub: letters, digits, `.`, `_`, `@` or `-`
    #[arg(value_parser = values::member)]
    pub name: String,
    /// What they may do: viewer watches, operator answers, types and steers, admin makes, removes and changes rules
    #[arg(long, value_name = "WORD", value_parser = values::role)]
    pub role: Role,
    /// How long the invite is good, at most 7d; it is good once
    #[arg(long, value_name = "DUR", default_value = "1h", value_parser = values::invite_ttl)]
    pub ttl: std::time::Duration,
    /// Where they reach this hub; may be given several times [default: where it listens]
    #[arg(long, value_name = "HOST:PORT", value_parser = values::reached_at)]
    pub address: Vec<String>,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum MembersVerb {
    /// List who may come, who was revoked, and the invites
    Ls(JsonArgs),
    /// Change what somebody may do; their connections end at once and come back as that
    Role {
        /// As `members ls` has it
        name: String,
        #[arg(value_name = "viewer|operator|admin", value_parser = values::role)]
        role: Role,
    },
    /// Take back what a name has or was invited to; connections end at once
    Revoke {
        /// A name, or the id of an invite
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}
