//! Whether somebody is there to continue this process once it has stopped: a shell with job control,
//! or whoever stands in for one. Nothing is stopped here.

use std::fs;

use rustix::process::{Pid, getpgrp, getpid, getsid};

/// Processes looked at on the way up to whoever started this process group; a command has few.
const ANCESTORS_MAX: usize = 64;

/// What the kernel knows of a process, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    parent: i32,
    group: i32,
    session: i32,
}

/// Tells whether the process that started this process group is of the same terminal session. Where it
/// is not, the group is what POSIX calls orphaned: nobody sees it stop, and nobody continues it.
pub fn are_watched() -> bool {
    let Ok(session) = getsid(None) else { return false };
    let (group, session) = (getpgrp().as_raw_nonzero().get(), session.as_raw_nonzero().get());
    above(getpid(), group, standing).is_some_and(|it| it.session == session)
}

/// The nearest ancestor outside of the group.
fn above(process: Pid, group: i32, standing: impl Fn(i32) -> Option<Standing>) -> Option<Standing> {
    let mut at = standing(process.as_raw_nonzero().get())?;
    for _ in 0..ANCESTORS_MAX {
        if at.group != group {
            return Some(at);
        }
        at = standing(at.parent)?;
    }
    None
}

fn standing(pid: i32) -> Option<Standing> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads a line of /proc/PID/stat; the name in it may hold anything, so it is cut at the last `)`.
fn parse(line: &str) -> Option<Standing> {
    let (_, rest) = line.rsplit_once(')')?;
    let mut numbers = rest.split_whitespace().skip(1).map(str::parse);
    let mut number = || numbers.next()?.ok();
    Some(Standing { parent: number()?, group: number()?, session: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(processes: &[(i32, i32, i32, i32)]) -> Option<Standing> {
        let of = |pid| {
            let it = processes.iter().find(|it| it.0 == pid)?;
            Some(Standing { parent: it.1, group: it.2, session: it.3 })
        };
        above(Pid::from_raw(9).unwrap(), 7, of)
    }

    #[test]
    fn the_nearest_ancestor_outside_of_the_group_is_found() {
        let shell = Standing { parent: 1, group: 3, session: 3 };
        // Directly, and behind a script of the same group.
        assert_eq!(found(&[(9, 3, 7, 3), (3, 1, 3, 3)]), Some(shell));
        assert_eq!(found(&[(9, 7, 7, 3), (7, 3, 7, 3), (3, 1, 3, 3)]), Some(shell));
        // The first process of all has no parent, and one may be gone.
        assert_eq!(found(&[(9, 0, 7, 7)]), None);
        assert_eq!(found(&[]), None);
        // A ring, as reused numbers could show one, is left.
        assert_eq!(found(&[(9, 7, 7, 7), (7, 9, 7, 7)]), None);
    }

    #[test]
    fn the_name_of_a_process_may_look_like_anything() {
        let line = "12 (a) b) S 3 7 5 34816 7 4194304";
        assert_eq!(parse(line), Some(Standing { parent: 3, group: 7, session: 5 }));
        assert_eq!(parse("12 (a"), None);
        assert_eq!(parse("12 (a) S 3"), None);
    }
}
