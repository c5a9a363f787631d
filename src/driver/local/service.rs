//! Whose program it is that answers on this machine. Any user may listen where a service of the operator's is expected:
//! before it, in place of it, or at the other of its two addresses. And so may a sandbox that shares this network, whose
//! programs have the operator's own user.

use std::{collections::BTreeSet, fs, io, net::SocketAddr, time::Duration};

use rustix::process::{Pid, geteuid};

use super::{diag, mark, processes};
use crate::{base::clock, driver::sockets::Socket};

/// What passes a port of this machine on to a container, by its name: Docker, and what stands in for it without root.
const PASSES_ON: [&[u8]; 5] =
    [b"docker-proxy", b"rootlesskit", b"rootlessport", b"slirp4netns", b"pasta"];

/// Why what listens somewhere is not the operator's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    User,
    Sandbox,
    Container,
    Unknown,
}

impl Foreign {
    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::User => "another user of this machine listens there",
            Self::Sandbox => "a program in a sandbox or container listens there",
            Self::Container => "what listens there passes it on to a container",
            Self::Unknown => "whose program listens there can't be told",
        }
    }
}

/// Why somebody other than the operator and root, outside of all sandboxes and containers, may be at the other end of a
/// connection to this machine, or come to be; `None` = nobody. In doubt there is somebody. Looks until then, a
/// `clock::monotonic`, and no longer.
pub fn foreign(ours: SocketAddr, theirs: SocketAddr, until: Duration) -> Option<Foreign> {
    let judged = sockets(ours, theirs).map(|sockets| {
        let own = [geteuid().as_raw(), 0];
        match wanted(sockets.into_iter(), ours, theirs, own) {
            Ok(numbers) => holders(&numbers, until),
            Err(why) => Ok(Some(why)),
        }
    });
    let judged = judged.and_then(|it| it);
    judged.unwrap_or_else(|error| {
        tracing::debug!(%error, "whose service it is can't be told");
        Some(Foreign::Unknown)
    })
}

fn sockets(ours: SocketAddr, theirs: SocketAddr) -> io::Result<Vec<Socket>> {
    // What was taken before that is seen here, and what is taken later is taken by whoever listens now.
    let mut all = diag::listening(theirs.port())?;
    all.extend(diag::connected(theirs.port(), ours.port())?);
    Ok(all)
}

/// The numbers of the sockets whose holders decide: all that listen there, and the other end, if somebody has taken it.
fn wanted(
    sockets: impl Iterator<Item = Socket>,
    ours: SocketAddr,
    theirs: SocketAddr,
    own: [u32; 2],
) -> Result<BTreeSet<u64>, Foreign> {
    let (mut numbers, mut listens, mut ends) = (BTreeSet::new(), false, false);
    for it in sockets {
        let here = it.at.port() == theirs.port();
        let listener =
            it.listens && here && (it.at.ip() == theirs.ip() || it.at.ip().is_unspecified());
        let other_end = !it.listens && it.at == theirs && it.to == ours;
        if !listener && !other_end {
            continue;
        }
        if !own.contains(&it.owner) {
            return Err(Foreign::User);
        }
        listens |= listener;
        ends |= other_end;
        // An end that is nobody's is still to be taken, by who listens.
        if listener || it.number != 0 {
            numbers.insert(it.number);
        }
    }
    // Where the kernel passes a port on, whoever listens has nothing of it, and its other end is in another network.
    if listens && ends { Ok(numbers) } else { Err(Foreign::Unknown) }
}

/// Looks at all processes that have one of these sockets: each is to be somebody's whom this process sees, and nobody's who
/// is in a sandbox.
fn holders(wanted: &BTreeSet<u64>, until: Duration) -> io::Result<Option<Foreign>> {
    let links: BTreeSet<String> = wanted.iter().map(|it| format!("socket:[{it}]")).collect();
    let (mut held, mut why) = (BTreeSet::new(), None);
    let looked = processes::each(|pid| {
        if why.is_some() {
            return Ok(());
        }
        if clock::monotonic() > until {
            why = Some(Foreign::Unknown);
            return Ok(());
        }
        let has = of_those(pid, &links, until);
        if !has.is_empty() {
            why = foreign_process(pid);
            held.extend(has);
        }
        Ok(())
    });
    looked?;
    Ok(why.or_else(|| (held.len() < links.len()).then_some(Foreign::Unknown)))
}

/// Which of these a process has open; of one that hides it, or has ended, it has none.
fn of_those(pid: Pid, links: &BTreeSet<String>, until: Duration) -> BTreeSet<String> {
    let Ok(open) = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())) else {
        return BTreeSet::new();
    };
    let open = open.filter_map(Result::ok).take_while(|_| clock::monotonic() <= until);
    let link =
        |it: fs::DirEntry| fs::read_link(it.path()).ok()?.into_os_string().into_string().ok();
    open.filter_map(link).filter(|it| links.contains(it)).collect()
}

/// Why a process is not one of the operator's own programs.
fn foreign_process(pid: Pid) -> Option<Foreign> {
    // What this process is in too is no wall between the two.
    let apart = ["pid", "user"].iter().any(|space| {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{space}"));
        match (of(&pid.as_raw_nonzero().to_string()), of("self")) {
            (Ok(theirs), Ok(ours)) => theirs != ours,
            _ => true,
        }
    });
    if apart || mark::is_any_on(pid).unwrap_or(true) {
        return Some(Foreign::Sandbox);
    }
    let name = processes::read(pid, "comm").ok().flatten().unwrap_or_default();
    let name = name.trim_ascii_end();
    // The kernel keeps 15 bytes of it.
    PASSES_ON.iter().any(|it| name.starts_with(it)).then_some(Foreign::Container)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, net::TcpStream};

    use super::*;

    #[test]
    fn what_another_user_listens_at_is_not_ours() {
        let socket = |at: &str, to: &str, listens, owner, number| {
            let (at, to) = (at.parse().unwrap(), to.parse().unwrap());
            Socket { at, to, listens, owner, number }
        };
        let listens = |at: &str, owner| socket(at, "0.0.0.0:0", true, owner, 7);
        let (here, six) = ("127.0.0.1:8080", "[::]:8080");
        let ours: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let other_end = |owner, number| socket(here, "127.0.0.1:4000", false, owner, number);
        for (sockets, meant) in [
            (vec![listens(here, 1000)], Err(Foreign::Unknown)),
            (vec![listens("0.0.0.0:8080", 0), other_end(0, 0)], Ok(vec![7])),
            (vec![listens(six, 1000), other_end(1000, 0)], Ok(vec![7])),
            (vec![listens(here, 1001)], Err(Foreign::User)),
            (vec![listens(here, 1000), listens(six, 1001)], Err(Foreign::User)),
            (vec![listens(here, 1000), other_end(1001, 8)], Err(Foreign::User)),
            (vec![listens(here, 1000), other_end(1000, 8)], Ok(vec![7, 8])),
            (vec![listens(here, 1000), other_end(1000, 0)], Ok(vec![7])),
            (
                vec![
                    listens(here, 1000),
                    other_end(1000, 8),
                    socket("127.0.0.1:4000", here, false, 1001, 9),
                ],
                Ok(vec![7, 8]),
            ),
            (vec![listens("127.0.0.2:8080", 1000), other_end(1000, 8)], Err(Foreign::Unknown)),
            (vec![], Err(Foreign::Unknown)),
        ] {
            let found = wanted(sockets.clone().into_iter(), ours, here.parse().unwrap(), [1000, 0]);
            assert_eq!(found.map(|it| it.into_iter().collect()), meant, "{sockets:?}");
        }
    }

    #[test]
    fn a_service_is_ours_as_long_as_it_listens() {
        const LONG: Duration = Duration::from_secs(60);
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((host, 0)) else { continue };
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (ours, theirs) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            let look = |within| foreign(ours, theirs, clock::monotonic() + within);
            assert_eq!(look(LONG), None, "{host}");
            let (taken, _) = listener.accept().unwrap();
            assert_eq!(look(LONG), None, "{host}");
            assert_eq!(foreign(ours, theirs, Duration::ZERO), Some(Foreign::Unknown));
            drop((listener, taken));
            assert_eq!(look(LONG), Some(Foreign::Unknown), "nobody listens at {host}");
        }
    }
}
