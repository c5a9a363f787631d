//! Sockets of TCP in the network of this process, asked for by their ports: the kernel's answer is as long as what is alike,
//! and not as all that there is.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use rustix::net::{SendFlags, netlink::SOCK_DIAG, send};

use super::netlink::{self, Batch};
use crate::{base::limits::SOCKETS_AT_A_PORT_MAX, driver::sockets::Socket};

const IPV4: u8 = libc::AF_INET as u8;
const IPV6: u8 = libc::AF_INET6 as u8;
/// States, as the kernel numbers them, one bit each.
const LISTENS: u8 = 10;
const LISTENING: u32 = 1 << LISTENS;
/// That in which a connection is only remembered, and no process has an end of it.
const TIME_WAIT: u32 = 1 << 6;
const ALL: u32 = (1 << 13) - 1;

/// All that listen at a port, whatever the address.
pub fn listening(port: u16) -> io::Result<Vec<Socket>> {
    both(LISTENING, port, 0)
}

/// All ends of connections from one port to another one.
pub fn connected(from: u16, to: u16) -> io::Result<Vec<Socket>> {
    both(ALL & !LISTENING & !TIME_WAIT, from, to)
}

fn both(states: u32, from: u16, to: u16) -> io::Result<Vec<Socket>> {
    let mut found = list(IPV4, states, from, to)?;
    match list(IPV6, states, from, to) {
        Ok(more) => found.extend(more),
        // A kernel without it has none.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// The other port is any where it is 0.
fn list(family: u8, states: u32, from: u16, to: u16) -> io::Result<Vec<Socket>> {
    /// By family, in a list of many.
    const BY_FAMILY: u16 = 20;
    const DUMP: u16 = 0x300;
    let mut head = vec![family, libc::IPPROTO_TCP as u8, 0, 0];
    head.extend(states.to_ne_bytes());
    head.extend(from.to_be_bytes());
    head.extend(to.to_be_bytes());
    // Any addresses, any interface, no number of the kernel's own.
    head.resize(56, 0);
    let mut batch = Batch::default();
    batch.message(BY_FAMILY, DUMP, &head, |_| {});
    let socket = netlink::open(Some(SOCK_DIAG))?;
    send(&socket, &batch.bytes, SendFlags::empty())?;
    let (mut found, mut over) = (Vec::new(), false);
    while !over {
        over = netlink::answer(std::os::fd::AsFd::as_fd(&socket), |_, body| {
            if found.len() >= SOCKETS_AT_A_PORT_MAX {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            found.push(read(body).ok_or(io::ErrorKind::InvalidData)?);
            Ok(())
        })?;
    }
    Ok(found)
}

/// One of a list, as the kernel writes it.
fn read(body: &[u8]) -> Option<Socket> {
    let [family, state, _, _, rest @ ..] = body else { return None };
    let (ports, rest) = rest.split_first_chunk::<4>()?;
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let (target, rest) = rest.split_first_chunk::<16>()?;
    // Interface and number; how long it waits and how often it tried; what waits to be read and to be sent.
    let (owner, rest) = rest.get(24..)?.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    let [a, b, c, d] = *ports;
    Some(Socket {
        at: SocketAddr::new(address(*family, source)?, u16::from_be_bytes([a, b])),
        to: SocketAddr::new(address(*family, target)?, u16::from_be_bytes([c, d])),
        listens: *state == LISTENS,
        owner: u32::from_ne_bytes(*owner),
        number: u32::from_ne_bytes(*number).into(),
    })
}

/// One of IPv4 within IPv6 is the one that it means.
fn address(family: u8, bytes: &[u8; 16]) -> Option<IpAddr> {
    match family {
        IPV4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        IPV6 => Some(Ipv6Addr::from(*bytes).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd,
    };

    use super::*;

    fn number(of: &impl AsRawFd) -> u64 {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", of.as_raw_fd())).unwrap();
        let text = link.to_str().unwrap().strip_prefix("socket:[").unwrap();
        text.strip_suffix(']').unwrap().parse().unwrap()
    }

    #[test]
    fn what_has_a_port_is_found_by_it_and_nothing_else_is() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((host, 0)) else { continue };
            let at = listener.local_addr().unwrap();
            let client = TcpStream::connect(at).unwrap();
            let from = client.local_addr().unwrap();
            let found = listening(at.port()).unwrap();
            let owner = rustix::process::geteuid().as_raw();
            let here = |it: &&Socket| it.at == at && it.listens && it.owner == owner;
            assert_eq!(found.iter().find(here).unwrap().number, number(&listener));
            // Nobody has taken it yet, so that it is no process's.
            let end = || connected(at.port(), from.port()).unwrap();
            let [other] = end()[..] else { panic!("{:?}", end()) };
            assert_eq!((other.at, other.to, other.number), (at, from, 0));
            let (server, _) = listener.accept().unwrap();
            assert_eq!(end()[0].number, number(&server));
            drop((listener, server, client));
            assert!(listening(at.port()).unwrap().iter().all(|it| it.at != at));
        }
    }
}
