//! Removing what a sandbox left on disk: moved out of sight at once, deleted in the background,
//! finished by a later sweep if that was cut short.

use std::{
    ffi::CStr,
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags},
    io::Errno,
};

use crate::base::{
    fault::{Fault, Outcome},
    id::SandboxId,
};

/// Beside the sandboxes' directories; can't be an id, which never starts with a dot.
pub const TRASH: &str = ".trash";

/// A directory and never a link to one: to list it, and to name it where it can't be read.
const LISTED: OFlags = OFlags::RDONLY.union(ITSELF);
const NAMED: OFlags = OFlags::PATH.union(ITSELF);
const ITSELF: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

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

/// Takes a directory away at once; what was in it is deleted in the background. Not being there is fine.
pub fn away(directory: &Path) -> Outcome<()> {
    discard(directory)?;
    drop(empty_trash(directory));
    Ok(())
}

/// Deletes a directory where it lies, whatever is in it, before anything else goes on. Not being there is fine.
pub fn whole(directory: &Path) -> Outcome<()> {
    match delete_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Fault::io(format!("deleting {}", directory.display()), &error))
        }
        _ => Ok(()),
    }
}

/// Deletes a directory that no program has filled yet, before anything else goes on: in a process
/// that may have no second thread.
pub fn at_once(directory: &Path) -> Outcome<()> {
    discard(directory)?;
    match trash_of(directory).filter(|it| it.exists()) {
        Some(trash) => delete_all(&trash)
            .map_err(|error| Fault::io(format!("removing {}", directory.display()), &error)),
        None => Ok(()),
    }
}

/// Deletes the trash beside a directory in the background.
pub fn empty_trash(beside: &Path) -> Option<JoinHandle<()>> {
    trash_of(beside).and_then(empty)
}

/// Deletes a trash, if there is one, on a thread that blocks nobody and that need not be waited for: what
/// it does not finish, the next call does.
pub fn empty(trash: PathBuf) -> Option<JoinHandle<()>> {
    if !trash.exists() {
        return None;
    }
    let shown = trash.display().to_string();
    let delete = move || {
        if let Err(error) = delete_all(&trash) {
            tracing::warn!(trash = %trash.display(), %error, "emptying the trash");
        }
    };
    let thread = std::thread::Builder::new().spawn(delete);
    // The operator's processes may be at their bound.
    thread.inspect_err(|error| tracing::warn!(trash = shown, %error, "emptying the trash")).ok()
}

/// Deletes a directory of any kind in the background, as `empty` does.
pub fn in_background(directory: PathBuf) {
    drop(empty(directory));
}

/// Deletes everything in a directory, and it. Never deeper than two levels: a directory found inside
/// is moved up first, so that no hostile depth can exhaust anything, and never a list of what is there.
/// By descriptors and names without a way in them, so that a link put in the way of a directory leads
/// nowhere. What can't be deleted stays, and is told when all else is gone.
fn delete_all(trash: &Path) -> io::Result<()> {
    let here = rustix::fs::open(trash, LISTED, Mode::empty())?;
    loop {
        let mut pass = Pass::default();
        for item in Dir::read_from(&here)? {
            let item = item?;
            if is_within(item.file_name()) {
                pass.found = true;
                let outcome = delete(&here, item.file_name(), &mut pass);
                pass.note(outcome);
            }
        }
        match pass {
            Pass { found: false, .. } => return tolerate(fs::remove_dir(trash)),
            // Others may be at it too: what they did is found by looking again.
            Pass { changed: true, .. } | Pass { fault: None, .. } => {}
            Pass { fault: Some(fault), .. } => return Err(fault),
        }
    }
}

/// What one look at everything came to.
#[derive(Default)]
struct Pass {
    found: bool,
    changed: bool,
    /// The first one.
    fault: Option<io::Error>,
}

impl Pass {
    fn note(&mut self, outcome: io::Result<()>) {
        if let Err(error) = tolerate(outcome) {
            self.fault.get_or_insert(error);
        }
    }
}

fn is_within(name: &CStr) -> bool {
    !matches!(name.to_bytes(), b"." | b"..")
}

fn delete(here: &OwnedFd, name: &CStr, pass: &mut Pass) -> io::Result<()> {
    if !deleted(here, name)? {
        flatten(here, name, pass)?;
    }
    pass.changed = true;
    Ok(())
}

/// Deletes what is not a directory, or an empty one; `false` when it is a full one.
fn deleted(from: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match rustix::fs::unlinkat(from, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(rustix::fs::unlinkat(from, name, AtFlags::REMOVEDIR).is_ok()),
        Err(error) => Err(error.into()),
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
fn flatten(trash: &OwnedFd, name: &CStr, pass: &mut Pass) -> io::Result<()> {
    let directory = rustix::fs::openat(trash, name, NAMED, Mode::empty())?;
    allow(&directory)?;
    let directory = rustix::fs::openat(trash, name, LISTED, Mode::empty())?;
    for item in Dir::read_from(&directory)? {
        let item = item?;
        if is_within(item.file_name()) {
            match delete_or_raise(trash, &directory, item.file_name()) {
                Ok(()) => pass.changed = true,
                outcome => pass.note(outcome),
            }
        }
    }
    Ok(rustix::fs::unlinkat(trash, name, AtFlags::REMOVEDIR)?)
}

fn delete_or_raise(trash: &OwnedFd, directory: &OwnedFd, name: &CStr) -> io::Result<()> {
    if deleted(directory, name)? {
        return Ok(());
    }
    // To move a directory elsewhere, its own owner must be allowed to write it.
    let inner = rustix::fs::openat(directory, name, NAMED, Mode::empty());
    tolerate(inner.map_err(io::Error::from).and_then(|it| allow(&it)))?;
    let away = SandboxId::random();
    Ok(rustix::fs::renameat(directory, name, trash, away.as_str())?)
}

/// A layer's work directory is left without any permission, even for its owner. It can't be opened
/// then, only named; /proc takes that name for the directory itself.
fn allow(directory: &OwnedFd) -> io::Result<()> {
    let itself = format!("/proc/self/fd/{}", directory.as_raw_fd());
    fs::set_permissions(itself, fs::Permissions::from_mode(0o700))
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

    #[test]
    fn a_directory_goes_where_it_lies_or_out_of_sight() {
        let home = tempfile::tempdir().unwrap();
        for remove in [whole, away] {
            let victim = home.path().join("victim");
            fs::create_dir_all(victim.join("closed/inner")).unwrap();
            fs::set_permissions(victim.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
            fs::write(home.path().join("kept"), "x").unwrap();
            remove(&victim).unwrap();
            remove(&victim).unwrap();
            assert!(!victim.exists() && home.path().join("kept").exists());
        }
    }

    #[test]
    fn a_link_where_a_directory_was_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let outside = home.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
        let trash = home.path().join(TRASH);
        fs::create_dir(&trash).unwrap();
        // As when a program that still lives swaps the two after they were listed.
        std::os::unix::fs::symlink(&outside, trash.join("swapped")).unwrap();
        let here = rustix::fs::open(&trash, LISTED, Mode::empty()).unwrap();
        flatten(&here, c"swapped", &mut Pass::default()).unwrap_err();
        assert_eq!(fs::metadata(&outside).unwrap().permissions().mode() & 0o777, 0o755);
        delete_all(&trash).unwrap();
        assert!(outside.join("kept").exists() && !trash.exists());
    }
}
