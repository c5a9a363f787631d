//! What a sandbox will look like, decided before anything is made. Pure facts: the child that
//! builds it (`mounts`) decides nothing.

use std::{
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use super::{env, identity::Identity, image::Standing, lockdown::ProcessBounds};
use crate::{
    base::fault::{Fault, Outcome},
    model::{
        place::{PLACE_HINT, refused_place},
        sandbox::{Egress, SandboxSpec, Workspace, WorkspaceMode},
    },
};

/// A directory shown inside.
#[derive(Debug)]
pub enum Source {
    /// Opened by root outside, with its ids mapped.
    Tree(OwnedFd),
    /// Reached by the child itself, with the operator's own rights.
    Path(PathBuf),
}

impl Source {
    fn open(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Tree(tree) => Some(tree.as_fd()),
            Self::Path(_) => None,
        }
    }
}

/// What programs ask a person with.
#[derive(Debug)]
pub struct Asking {
    /// With the socket, and an empty file where the program goes.
    pub directory: Source,
    pub program: Source,
    /// What the program runs by, with the names for it below the directory: for roots that may not have it.
    pub libraries: Vec<(Source, PathBuf)>,
}

/// How the workspace comes in.
#[derive(Debug)]
pub struct WorkspaceMount {
    pub path: PathBuf,
    pub mode: WorkspaceMode,
    pub source: Source,
}

/// Which network its programs see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The host's.
    Host,
    /// One of its own that leads nowhere.
    None,
    /// One of its own, all ways out of which lead to us.
    Gated,
}

/// How programs of a network that is `Gated` get out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// By what the kernel redirects, and where it does not, by a proxy.
    Any,
    Redirect,
    Proxy,
}

impl Network {
    pub fn of(spec: &SandboxSpec) -> Self {
        match spec.egress {
            Egress::Allow => Self::Host,
            Egress::Deny if spec.allow.is_empty() => Self::None,
            Egress::Ask | Egress::Deny => Self::Gated,
        }
    }
}

#[derive(Debug)]
pub struct Blueprint {
    pub hostname: String,
    pub identity: Identity,
    /// Private to the sandbox: upper layers, /tmp, /home and so on.
    pub ground: Source,
    /// The same of the snapshot that it begins with; nothing is written there.
    pub below: Option<Source>,
    /// A root file system to stand on instead of the host's directories: there are no links and layers then.
    pub image: Option<Source>,
    /// Names in / that are symbolic links on the host, with their targets.
    pub links: Vec<(String, PathBuf)>,
    /// Names in / shown with writes kept apart.
    pub layers: Vec<String>,
    /// What its programs ask a person with; `None` = they can't.
    pub asking: Option<Asking>,
    /// Programs in the operator's home that were asked for, read-only.
    pub tools: Vec<(PathBuf, Source)>,
    pub workspace: Option<WorkspaceMount>,
    pub network: Network,
    pub way: WayOut,
    pub bounds: ProcessBounds,
    /// Nothing will run in it: all is shown read-only, and nothing is made in its directories.
    pub still: bool,
}

impl Blueprint {
    /// What of it is open: trees of files that the sandbox is built from.
    pub fn open(&self) -> Vec<BorrowedFd<'_>> {
        let tools = self.tools.iter().map(|(_, it)| it);
        let sources = tools.chain([&self.ground]).chain(&self.below).chain(&self.image);
        let asking = self.asking.iter().flat_map(|it| {
            let libraries = it.libraries.iter().map(|(source, _)| source);
            [&it.directory, &it.program].into_iter().chain(libraries)
        });
        let sources = sources.chain(asking);
        let sources = sources.chain(self.workspace.as_ref().map(|it| &it.source));
        sources.filter_map(Source::open).collect()
    }
}

/// The links and the layers of this host.
pub fn system() -> (Vec<(String, PathBuf)>, Vec<String>) {
    let (mut links, mut layers) = (Vec::new(), Vec::new());
    for name in env::SYSTEM {
        let path = Path::new("/").join(name);
        let Ok(facts) = fs::symlink_metadata(&path) else { continue };
        if facts.is_symlink() {
            if let Ok(target) = fs::read_link(&path) {
                links.push((name.to_owned(), target));
            }
        } else if facts.is_dir() {
            layers.push(name.to_owned());
        }
    }
    (links, layers)
}

/// Checks a workspace: a real directory, absolute, and not one that would show what must be hidden.
pub fn check_workspace(workspace: &Workspace, ground: &Path) -> Outcome<Option<PathBuf>> {
    if workspace.mode == WorkspaceMode::None {
        return Ok(None);
    }
    let shown = workspace.path.display();
    let path = fs::canonicalize(&workspace.path)
        .map_err(|error| Fault::absent(format!("workspace {shown}: {error}")))?;
    if !path.is_dir() {
        return Err(Fault::invalid(format!("workspace {shown}: not a directory")));
    }
    if path != workspace.path {
        // It is to appear under the name it was asked for; a link in the way can't be made inside.
        let upward = workspace.path.components().any(|it| it == Component::ParentDir);
        if upward || !workspace.path.is_absolute() {
            return Err(Fault::invalid(format!("workspace {shown}: not a plain absolute path")));
        }
    }
    let ground = fs::canonicalize(ground).unwrap_or_else(|_| ground.to_owned());
    if ground.starts_with(&path) {
        return Err(Fault::invalid(format!(
            "workspace {shown}: holds the state of sandwatch itself"
        ))
        .hint("choose a directory further down, or set SANDWATCH_HOME to a place outside it"));
    }
    let state = ground.parent().unwrap_or(&ground);
    if path.starts_with(state) {
        return Err(Fault::invalid(format!("workspace {shown}: lies in the state of sandwatch")));
    }
    check_place(&path, &env::operator_homes())?;
    Ok(Some(path))
}

/// Refuses places of the system, and the operator's whole home with its keys.
fn check_place(path: &Path, homes: &[PathBuf]) -> Outcome<()> {
    let homes: Vec<PathBuf> =
        homes.iter().map(|it| fs::canonicalize(it).unwrap_or_else(|_| it.to_owned())).collect();
    match refused_place(path, &homes) {
        Some(why) => {
            let what = format!("workspace {}: {why}", path.display());
            Err(Fault::invalid(what).hint(PLACE_HINT))
        }
        None => Ok(()),
    }
}

/// Files of /etc that differ from those that the sandbox stands on: contents by name.
pub fn etc_files(
    identity: &Identity,
    hostname: &str,
    network: Network,
    image: Option<&Standing>,
) -> Vec<(&'static str, String)> {
    let host = |name: &str| fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
    let base = |name: &str| match image {
        Some(it) => it.read(&format!("/etc/{name}")).unwrap_or_default(),
        None => host(name),
    };
    let shell = image.and_then(|it| it.shell().ok()).unwrap_or_else(|| "/bin/bash".to_owned());
    let (uid, gid) = (identity.inside_uid, identity.inside_gid);
    let (name, home) = (&identity.name, identity.home.display());
    let own = |list: &str, id: u32, entry: String| {
        let others = list.lines().filter(|line| {
            let mut fields = line.split(':');
            let (first, number) = (fields.next(), fields.nth(1));
            first != Some(name) && number != Some(id.to_string().as_str())
        });
        let mut kept: Vec<&str> = others.collect();
        kept.push(&entry);
        kept.join("\n") + "\n"
    };
    // What an image has of it stays as it is.
    let has = |list: &str, fields: &[(usize, String)]| {
        let same = |line: &str| fields.iter().all(|(at, it)| line.split(':').nth(*at) == Some(it));
        image.is_some() && list.lines().any(same)
    };
    let mut passwd = base("passwd");
    if !has(&passwd, &[(0, name.clone()), (2, uid.to_string()), (5, home.to_string())]) {
        passwd = own(&passwd, uid, format!("{name}:x:{uid}:{gid}::{home}:{shell}"));
    }
    let mut group = base("group");
    if !has(&group, &[(2, gid.to_string())]) {
        group = own(&group, gid, format!("{name}:x:{gid}:"));
    }
    let hosts = format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"
    );
    let resolv = match network {
        // Read through links into /run, which is not shown inside.
        Network::Host => host("resolv.conf"),
        Network::None => String::new(),
        Network::Gated => "nameserver 127.0.0.1\noptions ndots:1\n".to_owned(),
    };
    vec![
        ("passwd", passwd),
        ("group", group),
        ("hosts", hosts),
        ("hostname", format!("{hostname}\n")),
        ("resolv.conf", resolv),
    ]
}

/// A host name from a sandbox's name: letters, digits and dashes, at most 63.
pub fn hostname(name: &str) -> String {
    const BYTES_MAX: usize = 63;
    let text: String = name
        .chars()
        .map(|it| if it.is_ascii_alphanumeric() { it } else { '-' })
        .take(BYTES_MAX)
        .collect();
    let text = text.trim_matches('-');
    if text.is_empty() { "sandbox".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_is_a_projects_directory_and_nobodys_whole_home() {
        let home = tempfile::tempdir().unwrap();
        let listed = PathBuf::from("/srv/home/operator");
        let homes = [home.path().to_owned(), listed.clone()];
        let check = |path: &Path| check_place(path, &homes).is_ok();
        assert!(check(&home.path().join("project")));
        assert!(!check(home.path()) && !check(&listed) && !check(listed.parent().unwrap()));
        assert!(check(&listed.join("project")));
        for path in [
            "/",
            "/home",
            "/tmp",
            "/var",
            "/proc/1",
            "/etc/ssl",
            "/run/user/1000",
            "/bin",
            "/lib64/x",
        ] {
            assert!(!check(Path::new(path)), "{path}");
        }
        assert!(check_place(Path::new("/srv/project"), &[]).is_ok());
    }
}
