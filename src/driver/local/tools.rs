//! Finds what a program installed in the operator's home needs, so that a sandbox that is to run it
//! can be shown just that, read-only. Home stays hidden otherwise, and what holds credentials always.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use super::env;
use crate::{
    base::fault::{Fault, Outcome},
    model::sandbox::SandboxSpec,
};

/// Directories of a home that hold more than programs, keys for example; only their `bin` may be shown.
const MIXED: [&str; 17] = [
    ".aws",
    ".azure",
    ".bun",
    ".cache",
    ".cargo",
    ".claude",
    ".codex",
    ".config",
    ".cursor",
    ".deno",
    ".docker",
    ".gemini",
    ".kube",
    ".local",
    ".local/share",
    ".rustup",
    "go",
];
/// Interpreters of interpreters: `env`, then `node`, then a wrapper of it.
const DEPTH_MAX: u32 = 4;
/// Links to links, as the kernel bounds them.
const LINKS_MAX: usize = 40;

/// Directories to show for its first program; empty when it is not from the operator's home. What lies in
/// the workspace is shown anyway, and whoever wrote it has no say in what else is. A program that
/// is there but would not be seen is refused, in words.
pub fn needed(spec: &SandboxSpec, workspace: Option<&Path>) -> Outcome<Vec<PathBuf>> {
    let Some(program) = spec.first.command.first() else { return Ok(Vec::new()) };
    let home = env::operator_home().filter(|it| it.components().count() > 1);
    let path = env::operator_path(spec);
    let mut search = Search {
        home: home.as_deref(),
        workspace,
        path: &path,
        found: BTreeSet::new(),
        hidden: None,
    };
    search.collect(program, DEPTH_MAX);
    if let Some(file) = search.hidden {
        let what = format!("starting {program}: a sandbox does not see {}", file.display());
        return Err(Fault::unsupported(what).hint(
            "install it in a `bin` directory of its own below your home, below /usr/local or /opt, \
             or in the workspace",
        ));
    }
    // What lies in another that is shown needs no mount of its own.
    let all: Vec<&PathBuf> = search.found.iter().collect();
    let inner = |it: &PathBuf| all.iter().any(|up| *up != it && it.starts_with(up));
    Ok(search.found.iter().filter(|it| !inner(it)).cloned().collect())
}

/// As the kernel would have it: a first line can name any file, and a key is none to run.
fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

struct Search<'a> {
    home: Option<&'a Path>,
    workspace: Option<&'a Path>,
    path: &'a [PathBuf],
    found: BTreeSet<PathBuf>,
    /// A file that is needed and can't be shown.
    hidden: Option<PathBuf>,
}

impl Search<'_> {
    fn collect(&mut self, program: &str, depth: u32) {
        if depth == 0 || program.contains('/') && !Path::new(program).is_absolute() {
            return;
        }
        let candidates: Vec<PathBuf> = if program.contains('/') {
            vec![PathBuf::from(program)]
        } else {
            self.path.iter().map(|it| it.join(program)).collect()
        };
        let mut hidden = None;
        for named in candidates.into_iter().filter(|it| is_program(it)) {
            if self.in_workspace(&named) {
                return;
            }
            match self.roots(&named) {
                Ok((roots, real)) => {
                    self.found.extend(roots);
                    if !self.in_workspace(&real) {
                        for interpreter in interpreters(&real) {
                            self.collect(&interpreter, depth - 1);
                        }
                    }
                    return;
                }
                // The search path inside has only what is shown: there the next one is found.
                Err(file) => hidden = hidden.or(Some(file)),
            }
        }
        self.hidden = self.hidden.take().or(hidden);
    }

    fn in_workspace(&self, file: &Path) -> bool {
        self.workspace.is_some_and(|it| file.starts_with(it))
    }

    /// What must be shown for a program, and the file it really is; or what can't be shown.
    fn roots(&self, named: &Path) -> Result<(Vec<PathBuf>, PathBuf), PathBuf> {
        let in_home = |file: &Path| {
            let home = self.home.filter(|it| file.starts_with(it) && !self.in_workspace(file))?;
            root_of(file, home)
        };
        let mut roots: Vec<PathBuf> = Vec::new();
        // A directory on the way may be a link too: what the program really is must be seen as well.
        let real = fs::canonicalize(named).unwrap_or_else(|_| named.to_owned());
        for file in links(named).into_iter().chain([real.clone()]) {
            // One that is a link itself is shown with what it leads to.
            let within =
                |root: &PathBuf| fs::canonicalize(root).is_ok_and(|it| file.starts_with(it));
            match in_home(&file) {
                Some(root) => roots.push(root),
                None if env::is_shown(&file) || self.in_workspace(&file) => {}
                None if self.found.iter().chain(&roots).any(within) => {}
                None => return Err(file),
            }
        }
        Ok((roots, real))
    }
}

/// A file, and every link on the way to what it really is.
fn links(named: &Path) -> Vec<PathBuf> {
    let (mut way, mut file) = (Vec::new(), named.to_owned());
    while way.len() < LINKS_MAX {
        let target = fs::read_link(&file).ok();
        let next = target.and_then(|it| Some(plain(&file.parent()?.join(it))));
        way.push(file);
        match next {
            Some(next) => file = next,
            None => break,
        }
    }
    way
}

/// A path without `.` and `..`, of which the directory is resolved when it must be.
fn plain(path: &Path) -> PathBuf {
    let upward = path.components().any(|it| it == Component::ParentDir);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_owned();
    };
    match fs::canonicalize(directory) {
        Ok(real) if upward => real.join(name),
        _ => path.to_owned(),
    }
}

/// The installation a file belongs to: its `node_modules`, or the prefix above its `bin`, `shims` or
/// `lib/node_modules`.
fn root_of(file: &Path, home: &Path) -> Option<PathBuf> {
    let directory = file.parent()?;
    let packages = directory.ancestors().filter(|it| it.ends_with("node_modules")).last();
    let prefix = match packages {
        Some(packages) if packages.ends_with("lib/node_modules") => {
            packages.ancestors().nth(2).filter(|it| !is_mixed(it, home)).unwrap_or(packages)
        }
        Some(packages) => packages,
        None if ["bin", "sbin", "shims"].iter().any(|it| directory.ends_with(it)) => {
            directory.parent()?
        }
        None => directory,
    };
    let chosen = if is_mixed(prefix, home) { directory } else { prefix };
    (chosen.starts_with(home) && !is_mixed(chosen, home)).then(|| chosen.to_owned())
}

fn is_mixed(directory: &Path, home: &Path) -> bool {
    directory == home || MIXED.iter().any(|it| home.join(it) == directory)
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
        // npm's global prefixes, a directory of packages of its own, and one that shares with others.
        let packages = |it: &str| root(&format!("{it}/node_modules/@x/y/cli.js"));
        assert_eq!(packages("/home/u/.npm/lib").as_deref(), Some("/home/u/.npm"));
        assert_eq!(packages("/home/u/.x").as_deref(), Some("/home/u/.x/node_modules"));
        assert_eq!(packages("/home/u").as_deref(), Some("/home/u/node_modules"));
        let inner = packages("/home/u/.local/lib").unwrap();
        assert_eq!(inner, "/home/u/.local/lib/node_modules");
    }
}
