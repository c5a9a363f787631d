//! The kernel's lists of TCP sockets, `/proc/net/tcp` and `tcp6`, line by line. It opens none of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One line of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its own end.
    pub at: SocketAddr,
    /// The other end.
    pub to: SocketAddr,
    pub listens: bool,
    /// The number of the user that made it.
    pub owner: u32,
    /// The number that links to it have; 0 = no program has it open.
    pub number: u64,
}

impl Socket {
    /// `None` for a line that is none: the first of a list.
    pub fn read(line: &str) -> Option<Self> {
        const LISTENS: &str = "0A";
        let mut words = line.split_whitespace().skip(1);
        let (at, to, state) = (address(words.next()?)?, address(words.next()?)?, words.next()?);
        let owner = words.nth(3)?.parse().ok()?;
        let number = words.nth(1)?.parse().ok()?;
        Some(Self { at, to, listens: state == LISTENS, owner, number })
    }
}

/// An address as the kernel writes it: in numbers of four bytes, each in the order of this machine. One of IPv4 within
/// IPv6 is the one that it means.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let number = |at: usize| {
        let digits = host.get(8 * at..8 * at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let host = match host.len() {
        8 => IpAddr::V4(Ipv4Addr::from(number(0)?)),
        32 => {
            let mut all = [0; 16];
            for (at, part) in all.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&number(at)?);
            }
            Ipv6Addr::from(all).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(host, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_the_kernel_writes_it() {
        let rest =
            "01 00000000:00000000 00:00000000 00000000  1000        0 4242 1 x 20 4 30 10 -1";
        for (at, to, meant) in [
            ("0100007F:0050", "0200007F:D431", ["127.0.0.1:80", "127.0.0.2:54321"]),
            (
                "00000000000000000000000001000000:01BB",
                "0000000000000000FFFF00000100007F:0001",
                ["[::1]:443", "127.0.0.1:1"],
            ),
        ] {
            let read = Socket::read(&format!("   7: {at} {to} {rest}"));
            if cfg!(target_endian = "little") {
                let [at, to] = meant.map(|it| it.parse().unwrap());
                let meant = Socket { at, to, listens: false, owner: 1000, number: 4242 };
                assert_eq!(read, Some(meant));
            }
        }
        let first =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid";
        for none in [first, "", "0: x y z", "0: 0100007F:0050 0100007F:0051 0A"] {
            assert_eq!(Socket::read(none), None, "{none}");
        }
    }
}
