//! What a sandbox has outside its own directory, written down before it is made, so that a later
//! process can clean up after a shim that was killed.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{mark::Mark, processes, sys};

const FILE: &str = "traces";

/// The first process, with its start time so that a reused number is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    pub pid: i32,
    pub started: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    pub groups: Vec<PathBuf>,
    /// On its processes, where nothing else keeps them together.
    pub mark: Option<Mark>,
    pub first: Option<First>,
}

impl Traces {
    /// In one step: whoever kills this process finds the old ones or the new.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let mut text = String::new();
        for group in &self.groups {
            text += &format!("group {}\n", group.display());
        }
        if let Some(mark) = self.mark {
            text += &format!("mark {}\n", mark.number());
        }
        if let Some(First { pid, started }) = self.first {
            text += &format!("first {pid} {started}\n");
        }
        let fresh = directory.join("traces.new");
        fs::write(&fresh, text)?;
        fs::rename(&fresh, directory.join(FILE))
    }

    /// Nothing is found where nothing was made.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut traces = Self::default();
        let text = match fs::read_to_string(directory.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(traces),
            other => other?,
        };
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("group", path)) => traces.groups.push(PathBuf::from(path)),
                Some(("mark", number)) => traces.mark = Mark::parse(number),
                Some(("first", rest)) => {
                    traces.first = rest.split_once(' ').and_then(|(pid, started)| {
                        Some(First { pid: pid.parse().ok()?, started: started.parse().ok()? })
                    });
                }
                _ => {}
            }
        }
        Ok(traces)
    }
}

impl First {
    pub fn of(pid: Pid) -> io::Result<Self> {
        let started = processes::started(pid)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pid: pid.as_raw_nonzero().get(), started })
    }

    /// Kills the process, if it is still that one; what comes is readable when it is gone.
    pub fn end(self) -> io::Result<Option<AsyncFd<OwnedFd>>> {
        let Some(pid) = self.alive()? else { return Ok(None) };
        let itself = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            other => other?,
        };
        // Its number may be another's since it was looked up.
        if self.alive()?.is_none() {
            return Ok(None);
        }
        match pidfd_send_signal(&itself, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        sys::watched(itself, Interest::READABLE).map(Some)
    }

    /// The process, if it is still that one.
    pub fn alive(self) -> io::Result<Option<Pid>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        Ok((processes::started(pid)? == Some(self.started)).then_some(pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_read_back_as_written() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Traces::read(home.path()).unwrap(), Traces::default());
        let first = First::of(rustix::process::getpid()).unwrap();
        let traces = Traces {
            groups: vec!["/sys/fs/cgroup/a b".into()],
            mark: Some(Mark::fresh()),
            first: Some(first),
        };
        traces.write(home.path()).unwrap();
        assert_eq!(Traces::read(home.path()).unwrap(), traces);
        assert!(first.alive().unwrap().is_some());
        assert!(First { started: first.started + 1, ..first }.alive().unwrap().is_none());
    }
}
