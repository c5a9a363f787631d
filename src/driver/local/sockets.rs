//! What sockets are connected to, as the networks that they are in list them. Each list is read once a look, however many
//! wait for what is on it.

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use super::doing::read;

/// A list of sockets is read so far, in bytes.
const SOCKETS_BYTES_MAX: usize = 512 * 1024;
/// Networks whose lists are kept at the same time: a sandbox has one, and programs in it may make more.
const NETWORKS_MAX: usize = 8;
/// A connection that listens, in the lists of TCP and of unix sockets.
const LISTENS_TCP: &str = "0A";
const LISTENS_UNIX: &str = "00010000";

/// What is at the other end of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Linked(String),
    /// It is where others connect to, or of who serves those.
    Listens(String),
}

/// The networks of the processes that are looked at.
#[derive(Default)]
pub struct Networks(HashMap<PathBuf, HashMap<u64, End>>);

impl Networks {
    /// A socket of a process, by its number.
    pub fn end(&mut self, pid: i32, number: u64) -> End {
        // Where it can't be told which network that is, none is taken for another's.
        let unknown = || PathBuf::from(pid.to_string());
        let network = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap_or_else(|_| unknown());
        if self.0.len() >= NETWORKS_MAX && !self.0.contains_key(&network) {
            self.0.clear();
        }
        let listed = self.0.entry(network).or_insert_with(|| all(pid));
        listed.get(&number).cloned().unwrap_or_else(|| End::Linked("a socket".to_owned()))
    }
}

/// All sockets of the network that a process is in.
fn all(pid: i32) -> HashMap<u64, End> {
    let list = |file: &str| {
        let list = read(&format!("/proc/{pid}/net/{file}"), SOCKETS_BYTES_MAX);
        String::from_utf8_lossy(&list.unwrap_or_default()).into_owned()
    };
    let mut out: HashMap<u64, End> = list("unix").lines().filter_map(local).collect();
    out.extend(connections(&list("tcp6")));
    out.extend(connections(&list("tcp")));
    out
}

/// A line of the list of unix sockets.
fn local(line: &str) -> Option<(u64, End)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = fields.get(6)?.parse().ok()?;
    let path = fields.get(7).map_or("a local socket", |it| it).to_owned();
    let listens = fields.get(3) == Some(&LISTENS_UNIX);
    Some((number, if listens { End::Listens(path) } else { End::Linked(path) }))
}

/// A list of TCP.
fn connections(list: &str) -> Vec<(u64, End)> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (own, other) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
        Some((fields.get(9)?.parse::<u64>().ok()?, own, other, *fields.get(3)? == LISTENS_TCP))
    };
    let listed: Vec<_> = list.lines().filter_map(line).collect();
    let serves: HashSet<u16> = listed.iter().filter(|it| it.3).map(|it| it.1.port()).collect();
    // Who has clients waits for what they want next, and for others.
    let end = |own: SocketAddr, other: SocketAddr| match serves.contains(&own.port()) {
        true => End::Listens(own.to_string()),
        false => End::Linked(other.to_string()),
    };
    listed.into_iter().map(|(number, own, other, _)| (number, end(own, other))).collect()
}

/// An end of a connection from how the kernel lists it: words of four bytes, as this machine has them.
fn address(listed: &str) -> Option<SocketAddr> {
    let (ip, port) = listed.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = Vec::new();
    for at in (0..ip.len()).step_by(8) {
        octets.extend(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip: IpAddr = match octets.as_slice() {
        it if it.len() == 4 => Ipv4Addr::from(*it.first_chunk()?).into(),
        it => Ipv6Addr::from(*it.first_chunk()?).into(),
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_kernel_lists_it() {
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F:0050").unwrap().to_string(), "127.0.0.1:80");
            let six = "00000000000000000000000001000000:01BB";
            assert_eq!(address(six).unwrap().to_string(), "[::1]:443");
            let mapped = "0000000000000000FFFF00000100007F:0050";
            assert_eq!(address(mapped).unwrap().to_string(), "127.0.0.1:80");
        }
        for bad in ["", "0100007F", "0100007:0050", "é:0050", "0100007F:xx"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }

    #[test]
    fn who_serves_at_a_port_listens_there_with_all_its_connections() {
        let line = |own: &str, state: &str, number: u32| {
            format!(
                "0: 0100007F:{own} 0100007F:1F90 {state} 00000000:00000000 00:00000000 00000000 0 0 {number} 1\n"
            )
        };
        let list = format!(
            "  sl  local_address rem_address st\n{}{}{}broken\n",
            line("2253", "0A", 7),
            line("2253", "01", 8),
            line("0050", "01", 9)
        );
        let ends: HashMap<u64, End> = connections(&list).into_iter().collect();
        let serves = |number| matches!(ends[&number], End::Listens(_));
        assert_eq!((ends.len(), serves(7), serves(8), serves(9)), (3, true, true, false));
        let listens = "0000000000000000: 00000002 00000000 00010000 0001 01 4711 /run/x.sock";
        assert_eq!(local(listens), Some((4711, End::Listens("/run/x.sock".to_owned()))));
        let linked = "0000000000000000: 00000003 00000000 00000000 0001 03 4712";
        assert_eq!(local(linked), Some((4712, End::Linked("a local socket".to_owned()))));
        assert_eq!(local("Num       RefCount Protocol Flags    Type St Inode Path"), None);
    }
}
