//! `keys`, `themes`, `config` and `policy`: check, list and explain the operator's files, without a hub.

mod check;
mod config;
mod keys;
mod themes;

pub use config::config;
pub use keys::keys;
pub use themes::themes;

use std::path::{Path, PathBuf};

use check::{check, tell_checked};

use crate::{
    base::fault::Outcome,
    cli::{args::JsonArgs, out},
    config::{
        paths::Paths,
        policy,
        schema::{Config, Prefs},
    },
    policy::rules::NOT_ASKED,
    tui::files::Files,
};

/// Checks policies with the cases in them. There need not be one of the operator's own.
pub fn policy(paths: &Paths, named: Option<PathBuf>, args: &JsonArgs) -> Outcome<out::Code> {
    let own = paths.policy();
    if named.is_none() && !own.exists() {
        if !args.json {
            out::tell(&format!("no {} of your own: a person is asked everything", own.display()));
        }
        return tell_checked(&[], args);
    }
    let judged = check(&[named.unwrap_or(own)], |path, _, text, found| {
        let name = path.display().to_string();
        // Those for one directory say which.
        let rules = match path.parent() == Some(paths.projects().as_path()) {
            true => policy::project(&name, text).map(drop),
            false => policy::rules(&name, text).map(|rules| {
                let asking = rules.iter().filter(|it| it.asks_of_requests());
                asking.for_each(|it| out::tell(&format!("{}: {NOT_ASKED}", it.id)));
            }),
        };
        rules.map_err(|flaws| found.all_of(&flaws))
    });
    tell_checked(&judged, args)
}

fn config_in_force(files: &Files) -> Outcome<Config> {
    Ok(in_force(files)?.0)
}

/// The settings in force, and what of them was chosen in the console.
fn in_force(files: &Files) -> Outcome<(Config, Prefs)> {
    let (mut config, mut prefs) = (files.config()?, files.prefs());
    prefs.settle(&config);
    config.apply(&prefs);
    Ok((config, prefs))
}

fn none_of_your_own(files: &Files, kind: &str) -> String {
    format!("no {kind} of your own in {}", files.directory().join(kind).display())
}

/// The files named, else all of the operator's own of that kind.
fn or_own(named: Vec<PathBuf>, config: &Path, kind: &str) -> Vec<PathBuf> {
    if !named.is_empty() {
        return named;
    }
    let entries = std::fs::read_dir(config.join(kind)).into_iter().flatten();
    let mut own: Vec<PathBuf> = entries
        .filter_map(|it| Some(it.ok()?.path()))
        .filter(|it| it.extension().is_some_and(|it| it == "toml"))
        .collect();
    own.sort();
    own
}
