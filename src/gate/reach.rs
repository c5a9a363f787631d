//! Reaches a place for a program that was let out to it, and nothing behind it that it was not.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    sync::Arc,
};

use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use super::noted::Word;
use crate::{base::limits::GATE_DIAL_WITHIN, model::host::THIS_MACHINE};

const OWN: &str = "this machine itself";
const PRIVATE: &str = "a private network";
const METADATA: &str = "the metadata of a cloud";
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 6;

/// Where a program wants to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub host: Host,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(it) => write!(f, "{}", SocketAddr::new(*it, self.port)),
        }
    }
}

impl Place {
    /// Whether somebody else's word for a host, with or without a port, means this one.
    pub fn is_called(&self, name: &str) -> bool {
        let name = name.strip_suffix(&format!(":{}", self.port)).unwrap_or(name);
        match &self.host {
            Host::Name(it) => super::names::plain(name).is_some_and(|name| name == *it),
            // Who was let out to an address may call it what they like.
            Host::Address(_) => true,
        }
    }

    /// Whether it is this machine, by the name that a rule has for it.
    pub fn is_this_machine(&self) -> bool {
        matches!(&self.host, Host::Name(name) if name == THIS_MACHINE)
    }

    /// Why nobody is asked about it: only a rule that names it opens it.
    pub fn kept(&self) -> Option<&'static str> {
        match &self.host {
            Host::Name(name) if name == THIS_MACHINE => Some(OWN),
            Host::Name(_) => None,
            Host::Address(it) => internal(*it).or_else(|| is_own(*it).then_some(OWN)),
        }
    }
}

/// What an address is that no program of a sandbox is to reach by itself.
pub fn internal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(it) => internal_v4(it),
        IpAddr::V6(it) => internal_v6(it),
    }
}

fn internal_v4(it: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = it.octets();
    match (a, b, c) {
        (127, ..) => Some(OWN),
        (169, 254, _) => Some("the local link, where clouds keep their metadata"),
        // What two providers have there.
        (168, 63, 129) | (100, 100, 100) => Some(METADATA),
        (10, ..) | (192, 168, _) | (172, 16..=31, _) => Some(PRIVATE),
        (100, 64..=127, _) => Some("the network of a provider"),
        (0 | 224.., ..) | (192, 0, 0) | (198, 18..=19, _) => Some("no host's address"),
        _ => None,
    }
}

fn internal_v6(it: Ipv6Addr) -> Option<&'static str> {
    if let Some(four) = it.to_ipv4_mapped() {
        return internal_v4(four);
    }
    let bits = it.to_bits();
    let [first, second, ..] = it.segments();
    let four = |shift: u32| Ipv4Addr::from_bits((bits >> shift) as u32);
    match (first, second) {
        _ if bits <= 1 => Some(OWN),
        (0, _) => Some("no host's address"),
        // Ways to IPv4.
        (0x64, 0xff9b) if (bits >> 32) << 32 == 0x0064_ff9b << 96 => internal_v4(four(0)),
        (0x64, 0xff9b) => Some(PRIVATE),
        (0x2002, _) => internal_v4(four(80)),
        // What a provider has there.
        (0xfd00, 0x0ec2) => Some(METADATA),
        (0x2001, 0) => Some("no host's address"),
        (0xfe80..=0xfebf, _) => Some("the local link"),
        (0xfc00..=0xfdff | 0xfec0..=0xfeff, _) => Some(PRIVATE),
        (0xff00.., _) => Some("no host's address"),
        _ => None,
    }
}

/// Why it was not reached.
#[derive(Debug)]
pub enum Unreached {
    /// It leads where it may not.
    Kept(Word),
    /// Nobody answers.
    Failed(String),
}

/// Connects to it. `named` = a rule names it, which opens a private network too. `lookups` are had by those who look
/// up a name, for as long as that takes, and `denied` says why an address that a name means is forbidden.
pub async fn dial(
    place: &Place,
    named: bool,
    lookups: &Arc<Semaphore>,
    denied: impl Fn(IpAddr) -> Option<Word>,
) -> Result<TcpStream, Unreached> {
    let port = place.port;
    let found: Vec<SocketAddr> = match &place.host {
        Host::Address(it) => vec![SocketAddr::new(*it, port)],
        Host::Name(name) if name == THIS_MACHINE => {
            vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
        }
        Host::Name(name) => {
            let found = timeout(GATE_DIAL_WITHIN, look_up(name.clone(), port, lookups)).await;
            let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            found.map_err(|error| Unreached::Failed(format!("looking up {name}: {error}")))?
        }
    };
    let mut last = Unreached::Failed(format!("{place} has no address"));
    for address in found {
        if let Some(words) = shut(place, address.ip(), named) {
            // One that leads inside makes the name's others no better.
            return Err(Unreached::Kept(Word::own(words)));
        }
        if let Some(by) = denied(address.ip()) {
            let words = format!("{place} is {address}: {by}");
            return Err(Unreached::Kept(Word { words, ..by }));
        }
        match timeout(GATE_DIAL_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Unreached::Failed(format!("connecting to {address}: {error}")),
            Err(_) => {
                last = Unreached::Failed(format!("connecting to {address}: no answer in time"));
            }
        }
    }
    Err(last)
}

fn shut(place: &Place, address: IpAddr, named: bool) -> Option<String> {
    let what = internal(address).or_else(|| is_own(address).then_some(OWN))?;
    let private = matches!(what, PRIVATE | "the network of a provider");
    let open = match &place.host {
        Host::Name(name) if name == THIS_MACHINE => named,
        // A name that comes to mean this machine is nothing a rule meant.
        Host::Name(_) => named && private,
        Host::Address(_) => named,
    };
    let hint = if private { ", which a rule has to name" } else { "" };
    (!open).then(|| format!("{place} is {address}: {what}{hint}"))
}

/// An address that is this machine's own, whatever it looks like, leads to what listens here. Only such a one can be
/// listened at.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Asks the host's resolver; whoever has waited too long leaves the question where it is, with its place.
async fn look_up(name: String, port: u16, lookups: &Arc<Semaphore>) -> io::Result<Vec<SocketAddr>> {
    let place = Arc::clone(lookups).acquire_owned().await.map_err(io::Error::other)?;
    let found = tokio::task::spawn_blocking(move || {
        let found = (name.as_str(), port).to_socket_addrs();
        drop(place);
        found.map(|it| it.take(ADDRESSES_MAX).collect())
    });
    found.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_known_in_every_spelling() {
        for (address, inside) in [
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("169.254.169.254", true),
            ("100.100.0.1", true),
            ("127.9.9.9", true),
            ("0.0.0.0", true),
            ("198.18.0.5", true),
            ("255.255.255.255", true),
            ("224.0.0.1", true),
            ("93.184.216.34", false),
            ("203.0.113.7", false),
            ("::1", true),
            ("::", true),
            ("::ffff:10.0.0.1", true),
            ("::ffff:93.184.216.34", false),
            ("::10.0.0.1", true),
            ("64:ff9b::a00:1", true),
            ("64:ff9b::5db8:d822", false),
            ("2002:a00:1::", true),
            ("fe80::1", true),
            ("fd00::1", true),
            ("ff02::1", true),
            ("2001:0:1::1", true),
            ("2606:4700::1111", false),
            ("2001:db8::1", false),
            ("fd00:ec2::254", true),
            ("168.63.129.16", true),
            ("100.100.100.200", true),
        ] {
            assert_eq!(internal(address.parse().unwrap()).is_some(), inside, "{address}");
        }
    }

    #[test]
    fn a_rule_opens_what_it_names_and_no_more() {
        let place = |host: Host| Place { host, port: 80 };
        let name = place(Host::Name("a.example".into()));
        let (private, own): (IpAddr, IpAddr) =
            ("10.0.0.1".parse().unwrap(), "127.0.0.1".parse().unwrap());
        assert!(shut(&name, private, false).is_some() && shut(&name, private, true).is_none());
        assert!(shut(&name, own, true).is_some());
        assert!(shut(&place(Host::Name(THIS_MACHINE.into())), own, true).is_none());
        let raw = place(Host::Address(own));
        assert!(shut(&raw, own, false).is_some() && shut(&raw, own, true).is_none());
        assert!(
            name.is_called("A.example.:80")
                && name.is_called("a.example")
                && !name.is_called("a.example:81")
        );
        assert!(!name.is_called("b.example"));
    }
}
