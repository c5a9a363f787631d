//! Finds what a program installed in the operator's home needs, so that a sandbox that is to run it
//! can be shown just that, read-only. Home stays hidden otherwise, and what holds credentials always.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::env;

/// Directories of a home that hold more than programs; only their `bin` may be shown.
const MIXED: [&str; 8] =
    [".local", ".local/share", ".cargo", ".config", ".deno", ".bun", ".rustup", ".cache"];
/// Interpreters of interpreters: `env`, then `node`, then a wrapper of it.
const DEPTH_MAX: u32 = 4;

/// Directories to show for this program; empty when it is not from the operator's home. What lies in
/// the workspace is shown anyway, and whoever wrote it has no say in what else is.
pub fn needed(program: Option<&str>, workspace: Option<&Path>) -> Vec<PathBuf> {
    let Some(program) = program else { return Vec::new() };
    let home = env::operator_home();
    let Some(home) = home.as_deref().filter(|it| it.components().count() > 1) else {
        return Vec::new();
    };
    let mut found = BTreeSet::new();
    let place = Place { home, workspace, path: &env::operator_path() };
    collect(program, &place, DEPTH_MAX, &mut found);
    // What lies in another that is shown needs no mount of its own.
    let all: Vec<PathBuf> = found.iter().cloned().collect();
    all.iter().filter(|it| !all.iter().any(|up| up != *it && it.starts_with(up))).cloned().collect()
}

struct Place<'a> {
    home: &'a Path,
    workspace: Option<&'a Path>,
    path: &'a [PathBuf],
}

/// As the kernel would have it: a first line can name any file, and a key is none to run.
fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

fn collect(program: &str, place: &Place<'_>, depth: u32, found: &mut BTreeSet<PathBuf>) {
    if depth == 0 || program.contains('/') && !Path::new(program).is_absolute() {
        return;
    }
    let named = if program.contains('/') {
        Some(PathBuf::from(program))
    } else {
        place.path.iter().map(|it| it.join(program)).find(|it| is_program(it))
    };
    let Some(named) = named.filter(|it| is_program(it)) else { return };
    let real = fs::canonicalize(&named).unwrap_or_else(|_| named.clone());
    if place.workspace.is_some_and(|it| named.starts_with(it) || real.starts_with(it)) {
        return;
    }
    for file in [&named, &real] {
        if file.starts_with(place.home) {
            found.extend(root_of(file, place.home));
        }
    }
    for interpreter in interpreters(&real) {
        collect(&interpreter, place, depth - 1, found);
    }
}

/// The installation a file belongs to: the prefix above its `bin`, `shims` or `lib/node_modules`.
fn root_of(file: &Path, home: &Path) -> Option<PathBuf> {
    let directory = file.parent()?;
    let packages = directory.ancestors().find(|it| it.ends_with("lib/node_modules"));
    let prefix = match packages.and_then(|it| it.ancestors().nth(2)) {
        Some(prefix) => prefix,
        None if ["bin", "sbin", "shims"].iter().any(|it| directory.ends_with(it)) => {
            directory.parent()?
        }
        None => directory,
    };
    let mixed = prefix == home || MIXED.iter().any(|it| home.join(it) == prefix);
    let chosen = if mixed { directory } else { prefix };
    let too_much = chosen == home || MIXED.iter().any(|it| home.join(it) == chosen);
    (chosen.starts_with(home) && !too_much).then(|| chosen.to_owned())
}

/// What the first line of a script names.
fn interpreters(file: &Path) -> Vec<String> {
    const LINE_BYTES_MAX: u64 = 256;
    let mut start = Vec::new();
    let read = File::open(file).and_then(|it| it.take(LINE_BYTES_MAX).read_to_end(&mut start));
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&start);
    let Some(line) = text.lines().next().and_then(|it| it.strip_prefix("#!")) else {
        return Vec::new();
    };
    line.split_whitespace().filter(|it| !it.starts_with('-')).take(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_shown_and_a_home_never_is() {
        let home = Path::new("/home/u");
        let root = |it: &str| root_of(Path::new(it), home).map(|it| it.display().to_string());
        assert_eq!(root("/home/u/.pyenv/shims/aider").as_deref(), Some("/home/u/.pyenv"));
        assert_eq!(
            root("/home/u/.nvm/versions/node/v22/lib/node_modules/x/cli.js").as_deref(),
            Some("/home/u/.nvm/versions/node/v22")
        );
        assert_eq!(root("/home/u/.local/bin/claude").as_deref(), Some("/home/u/.local/bin"));
        assert_eq!(root("/home/u/.cargo/bin/cargo").as_deref(), Some("/home/u/.cargo/bin"));
        assert_eq!(root("/home/u/bin/tool").as_deref(), Some("/home/u/bin"));
        assert_eq!(root("/home/u/tool"), None);
    }
}
