//! Removing what a sandbox left on disk: moved out of sight at once, deleted in the background,
//! finished by a later sweep if that was cut short.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::base::{
    fault::{Fault, Outcome},
    id::SandboxId,
};

/// Beside the sandboxes' directories; can't be an id, which never starts with a dot.
const TRASH: &str = ".trash";

fn trash_of(directory: &Path) -> Option<PathBuf> {
    directory.parent().map(|it| it.join(TRASH))
}

/// Moves a directory into the trash beside it. Not being there is fine.
pub fn discard(directory: &Path) -> Outcome<()> {
    let fault = |error: io::Error| Fault::io(format!("removing {}", directory.display()), &error);
    let Some(trash) = trash_of(directory) else {
        return Err(Fault::bug(format!("removing {}: has no parent", directory.display())));
    };
    if !directory.exists() {
        return Ok(());
    }
    loop {
        match fs::create_dir(&trash) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(fault(error)),
            _ => {}
        }
        match fs::rename(directory, trash.join(SandboxId::random().as_str())) {
            // Another has just finished emptying the trash, and removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && directory.exists() => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
            _ => return Ok(()),
        }
    }
}

/// Deletes what is in the trash beside a directory, on a thread that blocks nobody.
pub fn empty_trash(beside: &Path) {
    let Some(trash) = trash_of(beside).filter(|it| it.exists()) else { return };
    // Runs on by itself; what it does not finish, the next call does.
    drop(tokio::task::spawn_blocking(move || {
        if let Err(error) = delete_all(&trash) {
            tracing::warn!(trash = %trash.display(), %error, "emptying the trash");
        }
    }));
}

/// Deletes everything in a directory, and it. Never deeper than two levels: a directory found inside
/// is moved up first, so that no hostile depth can exhaust anything.
fn delete_all(trash: &Path) -> io::Result<()> {
    loop {
        let mut found = false;
        for item in fs::read_dir(trash)? {
            found = true;
            let path = item?.path();
            match fs::symlink_metadata(&path) {
                Ok(facts) if facts.is_dir() => flatten(&path, trash)?,
                Ok(_) => tolerate(fs::remove_file(&path))?,
                Err(error) => tolerate(Err(error))?,
            }
        }
        if !found {
            return tolerate(fs::remove_dir(trash));
        }
    }
}

/// Another may be emptying the same trash, or adding to it.
fn tolerate(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error)
            if error.kind() != io::ErrorKind::NotFound
                && error.kind() != io::ErrorKind::DirectoryNotEmpty =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Empties one directory: files go, directories move up into the trash; then removes it.
fn flatten(directory: &Path, trash: &Path) -> io::Result<()> {
    // A layer's work directory is left without any permission, even for its owner.
    tolerate(fs::set_permissions(directory, fs::Permissions::from_mode(0o700)))?;
    let items = match fs::read_dir(directory) {
        Ok(items) => items,
        Err(error) => return tolerate(Err(error)),
    };
    for item in items {
        let item = item?;
        let path = item.path();
        if !item.file_type()?.is_dir() {
            tolerate(fs::remove_file(&path))?;
        } else if fs::remove_dir(&path).is_err() {
            let away: PathBuf = trash.join(OsStr::new(SandboxId::random().as_str()));
            // To move a directory elsewhere, its own owner must be allowed to write it.
            tolerate(fs::set_permissions(&path, fs::Permissions::from_mode(0o700)))?;
            tolerate(fs::rename(&path, away))?;
        }
    }
    tolerate(fs::remove_dir(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_trees_and_locked_directories_go() {
        let home = tempfile::tempdir().unwrap();
        let victim = home.path().join("victim");
        let mut deep = victim.clone();
        for _ in 0..300 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "x").unwrap();
        fs::create_dir_all(victim.join("work/work")).unwrap();
        fs::set_permissions(victim.join("work/work"), fs::Permissions::from_mode(0o000)).unwrap();
        let outside = home.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, victim.join("link")).unwrap();
        discard(&victim).unwrap();
        assert!(!victim.exists());
        let trash = home.path().join(TRASH);
        delete_all(&trash).unwrap();
        assert!(!trash.exists());
        assert!(outside.join("kept").exists());
    }
}
