//! Who a sandbox's programs are: a user inside, an unprivileged user on the host, never root.

use std::{fs, path::PathBuf};

use rustix::process::{getegid, geteuid};

use crate::base::{
    fault::{Fault, Outcome},
    id::SandboxId,
};

/// One user, as seen from both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub inside_uid: u32,
    pub inside_gid: u32,
    pub host_uid: u32,
    pub host_gid: u32,
    pub name: String,
    pub home: PathBuf,
    /// Another user of the host's who makes files in its name, and then gives them to it.
    pub helper: Option<u32>,
    /// Made by root: ids are dropped, and files are shown through mapped mounts.
    pub by_root: bool,
}

/// Host ids for sandboxes made by root: above every range that distributions hand out, below 2^31.
const HOST_IDS_FROM: u32 = 0x7000_0000;
const HOST_IDS_MASK: u32 = 0x0fff_ffff;
/// Whose files are that root keeps as snapshots: nobody's, and no sandbox's.
pub const SHELVES: (u32, u32) = (HOST_IDS_FROM, HOST_IDS_FROM);
/// The user inside a sandbox made by root.
const NAME: &str = "agent";
const INSIDE_ID: u32 = 1000;

impl Identity {
    pub fn of(id: &SandboxId) -> Outcome<Self> {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        if uid == 0 {
            let host = host_id(id.as_str());
            return Ok(Self {
                inside_uid: INSIDE_ID,
                inside_gid: INSIDE_ID,
                host_uid: host,
                host_gid: host,
                name: NAME.to_owned(),
                home: PathBuf::from("/home").join(NAME),
                helper: None,
                by_root: true,
            });
        }
        if gid == 0 {
            return Err(Fault::denied("making a sandbox with root's group")
                .hint("start sandwatch as root or as an ordinary user"));
        }
        let (name, home) = account(uid);
        Ok(Self {
            inside_uid: uid,
            inside_gid: gid,
            host_uid: uid,
            host_gid: gid,
            name,
            home,
            helper: None,
            by_root: false,
        })
    }
}

/// A host id of its own for what has this name.
pub fn host_id(name: &str) -> u32 {
    HOST_IDS_FROM | (hash(name) & HOST_IDS_MASK)
}

/// FNV-1a: spreads ids; two sandboxes of root with the same host id would still be kept apart by
/// their namespaces.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Name and home of a user as the host's list has them.
fn listed(uid: u32) -> Option<(String, PathBuf)> {
    let list = fs::read_to_string("/etc/passwd").unwrap_or_default();
    list.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, number, home) = (fields.first()?, fields.get(2)?, fields.get(5)?);
        (number.parse() == Ok(uid)).then(|| ((*name).to_owned(), PathBuf::from(home)))
    })
}

/// The home of a user as the host's list has it.
pub fn listed_home(uid: u32) -> Option<PathBuf> {
    listed(uid).map(|it| it.1)
}

/// Name and home of a user by the host's list, or ones that will do.
fn account(uid: u32) -> (String, PathBuf) {
    let (name, home) = listed(uid).unwrap_or_else(|| (NAME.to_owned(), PathBuf::new()));
    // A home of `/` or `/nonexistent` is none; a home right in a system directory would hide it.
    let deep = home.is_absolute() && home.components().count() > 2;
    let system = ["/usr", "/bin", "/lib", "/etc", "/proc", "/sys", "/dev", "/run", "/tmp", "/var"];
    let home = if home == std::path::Path::new("/root")
        || (deep && !system.iter().any(|it| home.starts_with(it)))
    {
        home
    } else {
        PathBuf::from("/home").join(&name)
    };
    (name, home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_made_by_root_gets_an_unprivileged_host_id_of_its_own() {
        if geteuid().as_raw() != 0 {
            let why = b"skipped: this host has none: root, for ids of sandboxes made by root\n";
            return std::io::Write::write_all(&mut std::io::stderr(), why).unwrap();
        }
        let one = Identity::of(&SandboxId::random()).unwrap();
        let two = Identity::of(&SandboxId::random()).unwrap();
        assert!(one.host_uid >= HOST_IDS_FROM && one.host_uid < 1 << 31);
        assert_ne!(one.host_uid, two.host_uid);
        assert_ne!(one.inside_uid, 0);
    }
}
