//! The verbs about hubs elsewhere.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::JsonArgs;
use crate::{cli::values, config::contexts::ContextName};

#[derive(Debug, Subcommand)]
pub enum ContextVerb {
    /// List the hubs that have a name
    Ls(JsonArgs),
    /// Give a hub a name
    Add(ContextAddArgs),
    /// Choose the hub that verbs speak to from now on; `local` is your own
    Use(ContextArgs),
    /// Forget a hub, with the keys to it
    Rm(ContextRmArgs),
}

#[derive(Debug, Args)]
pub struct ContextAddArgs {
    /// What it is to be called: letters, digits, `-`, `_` or `.`
    #[arg(value_parser = values::context)]
    pub name: ContextName,
    /// unix:PATH, ssh://[USER@]HOST[:PORT], https://HOST:PORT, openshell+https://HOST:PORT
    pub address: String,
    /// The authority of your team in PEM, which the hub has a certificate of, and you have one or a token; without it
    /// you are invited
    #[arg(long, value_name = "FILE", requires = "shown")]
    pub ca: Option<PathBuf>,
    /// Your certificate of it, in PEM; it stays where it is and is read whenever it is shown
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"], group = "shown")]
    pub certificate: Option<PathBuf>,
    /// The key of that, in PEM
    #[arg(long, value_name = "FILE", requires_all = ["ca", "certificate"])]
    pub key: Option<PathBuf>,
    /// Where your token of OpenID Connect lies; it stays there and is read whenever it is shown
    #[arg(long, value_name = "FILE", requires = "ca", group = "shown", conflicts_with = "key")]
    pub token_file: Option<PathBuf>,
    /// What prints your token, in one word for your shell; it is run without one whenever a token is shown
    #[arg(long, value_name = "COMMAND", requires = "ca", group = "shown", conflicts_with = "key")]
    pub token_command: Option<String>,
    /// Have lists and output sent compressed, for a link that carries little
    #[arg(long)]
    pub compress: bool,
    /// Choose it as well
    #[arg(long = "use")]
    pub chosen: bool,
    /// Print the context as one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ContextArgs {
    /// As `context ls` has it
    #[arg(value_parser = values::context)]
    pub name: ContextName,
    /// Print the context as one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ContextRmArgs {
    /// As `context ls` has it
    #[arg(value_parser = values::context)]
    pub name: ContextName,
    /// Do not ask, where there are keys to be removed
    #[arg(short, long)]
    pub yes: bool,
    /// Print what was removed as one JSON document
    #[arg(long)]
    pub json: bool,
}
