//! The verbs about keys, themes and the configuration.

use std::path::PathBuf;

use clap::Subcommand;

use super::JsonArgs;

#[derive(Debug, Subcommand)]
pub enum KeysVerb {
    /// Check keymap files (by default those in the configuration) for errors and collisions
    Check {
        files: Vec<PathBuf>,
        #[command(flatten)]
        args: JsonArgs,
    },
    /// List the bindings in force
    Ls(JsonArgs),
    /// What a key does, and where
    Explain {
        /// As written in a keymap, e.g. `ctrl-b d` or `<C-b>d`
        #[arg(required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        args: JsonArgs,
    },
}

#[derive(Debug, Subcommand)]
pub enum ThemesVerb {
    /// Check theme files (by default all) for missing roles and poor contrast
    Check {
        files: Vec<PathBuf>,
        #[command(flatten)]
        args: JsonArgs,
    },
    /// List the themes
    Ls(JsonArgs),
    /// Where each colour of a theme comes from
    Explain {
        theme: String,
        #[command(flatten)]
        args: JsonArgs,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Check the configuration file, your own profiles of agents and screen rules
    Check {
        file: Option<PathBuf>,
        #[command(flatten)]
        args: JsonArgs,
    },
    /// List the settings in force
    Ls(JsonArgs),
    /// What a setting does
    Explain {
        setting: String,
        #[command(flatten)]
        args: JsonArgs,
    },
}
