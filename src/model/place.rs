//! Which directories may be a sandbox's workspace, by their path alone: one rule for those who make sandboxes
//! and those who offer to. Whether a directory is there is not asked here.

use std::path::{Path, PathBuf};

/// Places no workspace may be or contain.
const RESERVED: [&str; 13] = [
    "/proc", "/sys", "/dev", "/run", "/etc", "/usr", "/boot", "/bin", "/sbin", "/lib", "/lib32",
    "/lib64", "/libx32",
];

/// Shared directories that hold other programs' files and sockets: too much for a workspace, though
/// what lies in them may be one.
const SHARED: [&str; 4] = ["/home", "/tmp", "/var", "/var/tmp"];

/// What to do about a directory that is refused.
pub const PLACE_HINT: &str = "choose a project's directory, for example ~/project";

/// Why a directory can't be a workspace: a place of the system, or one of the operator's whole homes with
/// its keys. `None` = it can.
pub fn refused_place(path: &Path, homes: &[PathBuf]) -> Option<&'static str> {
    // Some accounts have the root as their home: that is refused below.
    if homes.iter().any(|it| it.starts_with(path)) {
        return Some("holds your home, and the keys in it");
    }
    if SHARED.iter().any(|it| path == Path::new(it)) {
        return Some("shared by everybody");
    }
    let reserved = RESERVED.iter().map(Path::new).any(|it| {
        let exempt = it == Path::new("/usr") && path.starts_with("/usr/src/");
        it.starts_with(path) || (path.starts_with(it) && !exempt)
    });
    reserved.then_some("a place of the system")
}
