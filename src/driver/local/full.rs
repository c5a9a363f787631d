//! Which of the file systems that a session's programs write to have no room left. They are asked on a thread of its own: one
//! that does not answer (a dead network drive) holds up nobody, and is asked no second time before it has answered.

use std::{
    collections::HashSet,
    fs,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::fs::{
    CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags, fstat, fstatvfs, openat, openat2,
};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    base::{
        limits::{DISK_ANSWERS_WITHIN, PATH_BYTES_MAX},
        text::shown,
    },
    model::process::{Full, Reading},
};

/// Where programs write whatever their directory is, as they see it.
const PLACES: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/home"];

/// Asks file systems.
#[derive(Clone, Default)]
pub struct Disks {
    asking: Arc<AtomicBool>,
}

impl Disks {
    /// Those that are full, of a session that was read just now; none where they don't answer in time.
    pub async fn full(&self, leader: u32, reading: &Reading) -> Vec<Full> {
        if self.asking.swap(true, Ordering::SeqCst) {
            return Vec::new();
        }
        let pids: Vec<u32> = reading.processes.iter().map(|it| it.pid).collect();
        let asking = Arc::clone(&self.asking);
        let (told, answer) = oneshot::channel();
        let ask = move || {
            let found = found(leader, &pids);
            asking.store(false, Ordering::SeqCst);
            // Who asked may have gone on without it.
            drop(told.send(found));
        };
        if std::thread::Builder::new().name("disks".to_owned()).spawn(ask).is_err() {
            self.asking.store(false, Ordering::SeqCst);
            return Vec::new();
        }
        timeout(DISK_ANSWERS_WITHIN, answer).await.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// Each file system once, by the first place that lies on it.
fn found(leader: u32, pids: &[u32]) -> Vec<Full> {
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    let mut look = |at: OwnedFd, name: String| {
        let is_new = fstat(&at).is_ok_and(|it| seen.insert(it.st_dev));
        out.extend(is_new.then(|| full(&at, name)).flatten());
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    for pid in pids {
        let path = format!("/proc/{pid}/cwd");
        let Ok(at) = openat(CWD, &path, flags, Mode::empty()) else { continue };
        let name = fs::read_link(&path).unwrap_or_default();
        look(at, shown(&name.to_string_lossy(), PATH_BYTES_MAX));
    }
    let root = openat(CWD, format!("/proc/{leader}/root"), flags, Mode::empty());
    // Links there are the sandbox's own, and lead nowhere outside.
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for place in PLACES {
        let at = root.as_ref().map(|root| openat2(root, place, flags, Mode::empty(), how));
        if let Ok(Ok(at)) = at {
            look(at, place.to_owned());
        }
    }
    out
}

/// What is full of the file system of a file; one that nobody writes to never is.
fn full(at: &OwnedFd, place: String) -> Option<Full> {
    let it = fstatvfs(at).ok()?;
    if it.f_flag.contains(StatVfsMountFlags::RDONLY) || it.f_blocks == 0 {
        return None;
    }
    let size_bytes = it.f_blocks.saturating_mul(it.f_frsize);
    // Some have no bound of files, and say 0 of both.
    let no_files = it.f_files > 0 && it.f_favail == 0;
    match it.f_bavail == 0 || no_files {
        true => Some(Full {
            place,
            size_bytes,
            free_bytes: it.f_bavail.saturating_mul(it.f_frsize),
            files: no_files.then_some(it.f_files),
        }),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_room_and_what_is_not_written_to_is_not_full() {
        let open =
            |path: &str| openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        // A file system without blocks.
        assert_eq!(full(&open("/proc"), "/proc".to_owned()), None);
        let own = std::process::id();
        assert!(found(own, &[own]).iter().all(|it| it.free_bytes == 0 || it.files.is_some()));
        assert_eq!(found(u32::MAX, &[u32::MAX]), []);
    }
}
