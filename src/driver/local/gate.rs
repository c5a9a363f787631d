//! The ways out of a sandbox whose network asks: sockets in its own network at which all that its programs send
//! arrives, and which of its programs it is that sends.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::PathBuf,
    time::Duration,
};

use rustix::{
    net::{
        AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt,
    },
    process::Pid,
};

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream};

use super::{blueprint::WayOut, connects::Connects, netlink, processes};
use crate::{
    base::{clock, limits::ASK_PROCESSES_MAX, text::visible},
    driver::{Arrivals, Doors, PROXY, Sender, Way, sockets::Socket},
};

/// What a person is told where there are none.
pub const CLOSED: &str = "nothing gets out, and nothing asks";
/// What a person is told where there is a proxy alone.
pub const BY_PROXY: &str = "programs get out by a proxy alone, which HTTP_PROXY and the like name: those that don't look there get nothing out";
/// Programs that have one connection and are named.
const SHARERS_MAX: usize = 4;
/// Connections that wait to be taken.
const BACKLOG: i32 = 128;

/// Opens them in the network this process is in, which is a new one: those of `redirect` or, alone, that of a proxy.
/// None where there is no way; and what a person should know of that.
pub fn open(way: WayOut) -> (Vec<OwnedFd>, Option<String>) {
    let why = match (way != WayOut::Proxy).then(redirect) {
        Some(Ok(doors)) => return (doors, None),
        Some(Err(error)) => format!(": this kernel does not redirect: {error}"),
        None => String::new(),
    };
    if way == WayOut::Redirect {
        // What can't be held there does not get out either.
        return (Vec::new(), Some(format!("{CLOSED}{why}")));
    }
    match proxy() {
        Ok(door) => (vec![door], Some(format!("{BY_PROXY}{why}"))),
        Err(error) => (Vec::new(), Some(format!("{CLOSED}{why}; opening a proxy: {error}"))),
    }
}

/// Where programs find the proxy. Nobody else is in this network.
fn proxy() -> io::Result<OwnedFd> {
    let streams = socket(AddressFamily::INET, SocketType::STREAM)?;
    sockopt::set_socket_reuseaddr(&streams, true)?;
    bind(&streams, &PROXY)?;
    listen(&streams, BACKLOG)?;
    Ok(streams)
}

/// Leads here what is sent to elsewhere: streams, names, what counts the rest, and streams of IPv6 where there is that.
pub fn redirect() -> io::Result<Vec<OwnedFd>> {
    netlink::routes()?;
    let streams = socket(AddressFamily::INET, SocketType::STREAM)?;
    bind(&streams, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    listen(&streams, BACKLOG)?;
    let names = socket(AddressFamily::INET, SocketType::DGRAM)?;
    // Answers come from where they were asked: an address and not any.
    bind(&names, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let port = port(&streams)?;
    let counts = netlink::gate(port, self::port(&names)?)?;
    let mut doors = vec![streams, names, counts];
    doors.extend(open_v6(port).ok());
    Ok(doors)
}

fn open_v6(port: u16) -> io::Result<OwnedFd> {
    let streams = socket(AddressFamily::INET6, SocketType::STREAM)?;
    sockopt::set_ipv6_v6only(&streams, true)?;
    bind(&streams, &SocketAddr::from((Ipv6Addr::LOCALHOST, port)))?;
    listen(&streams, BACKLOG)?;
    Ok(streams)
}

fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

fn port(socket: &OwnedFd) -> io::Result<u16> {
    let address = SocketAddr::try_from(getsockname(socket)?);
    address.map(|it| it.port()).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Which processes a sandbox's programs are.
#[derive(Clone, Copy, Debug)]
pub enum Family {
    /// Those below this one, which is none of them.
    Below(Pid),
    /// Those in a namespace that has this number.
    Namespace(u64),
    /// All of them are one process here, and which of them it is, nobody but their own kernel knows.
    Unknown,
}

impl Family {
    /// That of the namespace that a process is in.
    pub fn of_namespace(pid: Pid) -> io::Result<Self> {
        namespace(pid).map(Self::Namespace)
    }

    /// Shows each until one is taken.
    fn each<T>(self, mut show: impl FnMut(Pid) -> Option<T>) -> io::Result<Option<T>> {
        match self {
            Self::Below(first) => processes::each_below(first, show),
            Self::Namespace(_) => {
                let mut taken = None;
                processes::each(|pid| {
                    if taken.is_none() && self.has(pid) {
                        taken = show(pid);
                    }
                    Ok(())
                })?;
                Ok(taken)
            }
            Self::Unknown => Ok(None),
        }
    }

    /// Whether one is, of those that come from one of them.
    fn has(self, pid: Pid) -> bool {
        match self {
            Self::Below(first) => pid != first,
            Self::Namespace(number) => namespace(pid).is_ok_and(|it| it == number),
            Self::Unknown => false,
        }
    }
}

fn namespace(pid: Pid) -> io::Result<u64> {
    Ok(fs::metadata(format!("/proc/{}/ns/pid", pid.as_raw_nonzero()))?.ino())
}

/// What was opened inside, for whoever keeps the sandbox; `first` is in its network.
pub fn doors(opened: Vec<OwnedFd>, first: Pid, family: Family) -> Option<Doors> {
    let mut opened = opened.into_iter();
    let streams = opened.next()?;
    let way = match opened.next() {
        None => Way::Proxy(Box::new(Listening(TcpListener::from_std(streams.into()).ok()?))),
        Some(names) => {
            let counts = opened.next()?;
            let all = [Some(streams), opened.next()].into_iter().flatten();
            Way::Redirect {
                streams: all.map(Into::into).collect(),
                names: names.into(),
                held_back: Box::new(move || netlink::held_back(counts.as_fd())),
            }
        }
    };
    Some(by(way, first, family))
}

/// The same of a sandbox whose every call to connect is asked about there.
pub fn asked(asked: Option<OwnedFd>, first: Pid) -> Option<Doors> {
    let connects = Connects::new(asked?).ok()?;
    Some(by(Way::Proxy(Box::new(connects)), first, Family::Below(first)))
}

fn by(way: Way, first: Pid, family: Family) -> Doors {
    Doors {
        way,
        sender: Box::new(move |from, to, until| sender(family, first, from, to, until)),
        held: Box::new(move |from, to| socket_number(first, from, to).is_some()),
    }
}

/// A proxy in a network of the sandbox's own.
struct Listening(TcpListener);

#[async_trait]
impl Arrivals for Listening {
    async fn next(&mut self) -> io::Result<TcpStream> {
        Ok(self.0.accept().await?.0)
    }
}

/// Who has this end of a connection open. Looks at every process of the sandbox, no longer than until then: what was
/// not looked through is not known.
fn sender(
    family: Family,
    first: Pid,
    from: SocketAddr,
    to: SocketAddr,
    until: Duration,
) -> Option<Sender> {
    let link = format!("socket:[{}]", socket_number(first, from, to)?);
    let mut found: Vec<Pid> = Vec::new();
    let looked = family.each(|pid| {
        if let Ok(open) = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())) {
            for it in open.filter_map(Result::ok) {
                if clock::monotonic() > until {
                    return Some(());
                }
                if fs::read_link(it.path()).is_ok_and(|it| it.as_os_str() == link.as_str()) {
                    found.push(pid);
                    break;
                }
            }
        }
        None
    });
    // The one it was handed down to last comes first.
    let pid = *found.first().filter(|_| looked.is_ok_and(|it| it.is_none()))?;
    let programs: BTreeSet<Option<PathBuf>> = found.iter().map(|it| program(*it)).collect();
    // Whoever hands a connection on may do so to be taken for another.
    let program = if programs.len() == 1 { programs.into_iter().next().flatten() } else { None };
    let mut line = vec![pid];
    while let Some(parent) = processes::parent(*line.last()?).filter(|it| family.has(*it))
        && line.len() < ASK_PROCESSES_MAX
    {
        line.push(parent);
    }
    let named = |pid: &Pid| {
        let name = processes::read(*pid, "comm").ok().flatten().unwrap_or_default();
        visible(String::from_utf8_lossy(&name).trim_end())
    };
    let commands: Vec<String> = found.iter().take(SHARERS_MAX).map(|it| command(*it)).collect();
    Some(Sender {
        program: program.map(|it| it.display().to_string()),
        command: visible(&commands.join(" ; beside it: ")),
        processes: line.iter().map(named).collect(),
        pids: line.iter().map(|it| it.as_raw_nonzero().get().cast_unsigned()).collect(),
    })
}

fn program(pid: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).ok()
}

fn command(pid: Pid) -> String {
    let words = processes::read(pid, "cmdline").ok().flatten().unwrap_or_default();
    let words = words.strip_suffix(&[0]).unwrap_or(&words);
    let words = words.split(|it| *it == 0).map(String::from_utf8_lossy);
    words.collect::<Vec<_>>().join(" ")
}

/// The number of the socket with this end, as the sandbox's network tells it.
fn socket_number(first: Pid, from: SocketAddr, to: SocketAddr) -> Option<u64> {
    let file = if from.is_ipv4() { "net/tcp" } else { "net/tcp6" };
    let list = processes::read(first, file).ok().flatten()?;
    let list = String::from_utf8_lossy(&list);
    let mut sockets = list.lines().filter_map(Socket::read);
    let found = sockets.find(|it| it.at == end(from) && it.to == end(to) && it.number != 0);
    found.map(|it| it.number)
}

/// As the lists have it: nothing but an address and a port.
fn end(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_program_is_found_by_its_end_of_a_connection() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = std::net::TcpListener::bind((host, 0)) else { continue };
            let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (from, to) = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
            let own = Pid::from_raw(std::process::id().cast_signed()).unwrap();
            let link = std::fs::read_link(format!("/proc/self/fd/{}", ours.as_raw_fd())).unwrap();
            let number = socket_number(own, from, to).unwrap();
            assert_eq!(link.to_str().unwrap(), format!("socket:[{number}]"));
            assert_eq!(socket_number(own, to, ([127, 0, 0, 1], 1).into()), None);
        }
    }
}
