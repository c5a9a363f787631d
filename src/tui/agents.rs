//! Looks for agent programs on PATH, for the first-run page. Blocking; called beside the loop.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use crate::{
    base::limits::{PATH_BYTES_MAX, SEARCH_PATH_MAX},
    config::{
        agents::Profiles,
        environment::{self, Variable},
    },
};

/// The known agents that are there, best first.
pub fn on_path(profiles: &Profiles) -> Vec<String> {
    let programs = profiles.iter().flat_map(|it| it.programs.iter());
    programs.filter(|it| is_on_path(it)).cloned().collect()
}

/// The variables with keys of known agents that are set in the environment. Their values stay there.
pub fn keys_set(profiles: &Profiles) -> Vec<String> {
    let mut found = profiles.key_variables();
    found.retain(|it| environment::named(it).is_some_and(|it| !it.is_empty()));
    found
}

/// The operator's search path as far as a hub takes it: entries that are relative or too many mean
/// nothing to it.
pub fn search_path() -> Vec<PathBuf> {
    let path = Variable::Path.raw().unwrap_or_default();
    let fits = |it: &PathBuf| it.is_absolute() && it.as_os_str().len() <= PATH_BYTES_MAX;
    std::env::split_paths(&path).filter(fits).take(SEARCH_PATH_MAX).collect()
}

/// Whether a program of this name can be run.
pub fn is_on_path(name: &str) -> bool {
    search_path().into_iter().any(|dir| {
        let seen = std::fs::metadata(dir.join(name));
        seen.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    })
}
