//! Workspaces that would hand the engine itself, or what speaks for its operator, to what runs in a sandbox.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    address::{Address, Way},
    env::Environment,
};
use crate::{
    base::fault::{Fault, Outcome},
    model::sandbox::WorkspaceMode,
};

/// Refuses a workspace, by where it really is: with the engine's socket a program would be root on its machine,
/// and the docker command line's own directory names programs that run outside, and holds passwords. A copy has no
/// sockets.
pub fn check(
    workspace: &Path,
    mode: WorkspaceMode,
    engine: &Address,
    environment: &Environment,
) -> Outcome<()> {
    let socket = match engine.way()? {
        Way::Unix(path) if mode != WorkspaceMode::Cow => Some(path),
        _ => None,
    };
    let certificates = engine.tls.as_ref().map(|it| it.directory.clone());
    let own = [environment.own(), certificates];
    let sockets = socket.into_iter().flat_map(names);
    for path in sockets {
        if path.starts_with(workspace) {
            return Err(refused(workspace, "holds the socket of the docker engine", &path));
        }
    }
    for path in own.into_iter().flatten().flat_map(names) {
        if path.starts_with(workspace) || workspace.starts_with(&path) {
            return Err(refused(workspace, "shows what docker logs in with", &path));
        }
    }
    Ok(())
}

/// A path as it is named and where it really is: who can write at either decides what is found there.
fn names(path: PathBuf) -> Vec<PathBuf> {
    let real = fs::canonicalize(&path).ok().or_else(|| {
        // It may come yet.
        let (above, name) = (path.parent()?, path.file_name()?);
        Some(fs::canonicalize(above).ok()?.join(name))
    });
    let above = path.parent().zip(path.file_name());
    // The link itself, wherever it leads.
    let link = above.and_then(|(above, name)| Some(fs::canonicalize(above).ok()?.join(name)));
    let mut all: Vec<PathBuf> = real.into_iter().chain(link).collect();
    all.push(path);
    all.dedup();
    all
}

fn refused(workspace: &Path, what: &str, path: &Path) -> Fault {
    Fault::invalid(format!("workspace {}: {what}: {}", workspace.display(), path.display()))
        .hint("choose a project's directory without it")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_workspace_with_the_engine_or_its_keys_in_it_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(temp.path()).unwrap();
        for dir in ["run", "project/.docker", "project/below", "linked", "certs", "other"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("run/docker.sock"), "").unwrap();
        symlink(root.join("run/docker.sock"), root.join("linked/docker.sock")).unwrap();
        symlink(root.join("project/.docker"), root.join("own")).unwrap();
        let unix = |path: &str| Address::unix(&root.join(path));
        let tcp = Address {
            url: "tcp://far".to_owned(),
            tls: Some(super::super::address::Certificates { directory: root.join("certs") }),
        };
        let own = Environment { config: Some(root.join("own")), ..Environment::default() };
        let none = Environment::default();
        let cases = [
            ("run", unix("run/docker.sock"), &none, Some("socket")),
            ("", unix("run/docker.sock"), &none, Some("socket")),
            ("run", unix("linked/docker.sock"), &none, Some("socket")),
            // Who can change the link has the next connection.
            ("linked", unix("linked/docker.sock"), &none, Some("socket")),
            ("other", unix("other/not-yet.sock"), &none, Some("socket")),
            ("other", unix("linked/docker.sock"), &none, None),
            ("project", unix("run/docker.sock"), &own, Some("logs in")),
            ("project/.docker", unix("run/docker.sock"), &own, Some("logs in")),
            ("project/below", unix("run/docker.sock"), &own, None),
            ("certs", tcp.clone(), &none, Some("logs in")),
            ("other", tcp, &none, None),
        ];
        for (workspace, engine, environment, refused) in cases {
            let path = root.join(workspace);
            let path = fs::canonicalize(path).unwrap();
            let checked = check(&path, WorkspaceMode::Ro, &engine, environment);
            match refused {
                Some(word) => {
                    let fault = checked.expect_err(workspace);
                    assert!(fault.message().contains(word), "{workspace}: {fault}");
                }
                None => checked.unwrap_or_else(|fault| panic!("{workspace}: {fault}")),
            }
        }
        check(&root.join("run"), WorkspaceMode::Cow, &unix("run/docker.sock"), &none).unwrap();
    }
}
