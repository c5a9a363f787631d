//! The ways out of a sandbox whose network asks: sockets in its own network at which all that its programs send
//! arrives, and which of its programs it is that sends.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use rustix::{
    net::{
        AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt,
    },
    process::Pid,
};

use super::{netlink, processes};
use crate::{
    base::{clock, limits::ASK_PROCESSES_MAX, text::visible},
    driver::{Doors, Sender},
};

/// What a person is told where there are none.
pub const CLOSED: &str = "nothing gets out, and nothing asks: this kernel does not redirect";
/// Programs that have one connection and are named.
const SHARERS_MAX: usize = 4;
/// Connections that wait to be taken.
const BACKLOG: i32 = 128;

/// Opens them in the network this process is in, which is a new one: streams, names, what counts the rest, and
/// streams of IPv6 where there is that.
pub fn open() -> io::Result<Vec<OwnedFd>> {
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

/// What was opened inside, for whoever keeps the sandbox with this first process.
pub fn doors(opened: Vec<OwnedFd>, first: Pid) -> Option<Doors> {
    let mut opened = opened.into_iter();
    let (streams, names, counts) = (opened.next()?, opened.next()?, opened.next()?);
    Some(Doors {
        streams: [Some(streams), opened.next()].into_iter().flatten().map(Into::into).collect(),
        names: names.into(),
        held_back: Box::new(move || netlink::held_back(counts.as_fd())),
        sender: Box::new(move |from, to, until| sender(first, from, to, until)),
        held: Box::new(move |from, to| socket_number(first, from, to).is_some()),
    })
}

/// Who has this end of a connection open. Looks at every process of the sandbox, no longer than until then: what was
/// not looked through is not known.
fn sender(first: Pid, from: SocketAddr, to: SocketAddr, until: Duration) -> Option<Sender> {
    let link = format!("socket:[{}]", socket_number(first, from, to)?);
    let mut found: Vec<Pid> = Vec::new();
    let looked = processes::each_below(first, |pid| {
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
    while let Some(parent) = processes::parent(*line.last()?).filter(|it| *it != first)
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
    let (from, to) = (end(from), end(to));
    String::from_utf8_lossy(&list).lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        if fields.next()? != from || fields.next()? != to {
            return None;
        }
        fields.nth(6)?.parse().ok().filter(|it| *it != 0)
    })
}

/// An end of a connection as those lists have it: words of four bytes, as this machine reads them.
fn end(address: SocketAddr) -> String {
    let octets = match address.ip() {
        std::net::IpAddr::V4(it) => it.octets().to_vec(),
        std::net::IpAddr::V6(it) => it.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).filter_map(|it| it.first_chunk());
    let words: String = words.map(|it| format!("{:08X}", u32::from_ne_bytes(*it))).collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_written_as_the_kernel_lists_it() {
        if cfg!(target_endian = "little") {
            assert_eq!(end(([127, 0, 0, 1], 80).into()), "0100007F:0050");
            let six: SocketAddr = "[::1]:443".parse().unwrap();
            assert_eq!(end(six), "00000000000000000000000001000000:01BB");
        }
    }

    #[test]
    fn a_program_is_found_by_its_end_of_a_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (from, to) = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
        let own = Pid::from_raw(std::process::id().cast_signed()).unwrap();
        assert!(socket_number(own, from, to).is_some());
        assert_eq!(socket_number(own, to, ([127, 0, 0, 1], 1).into()), None);
    }
}
