//! The one line that a proxy writes to a hub before a client's first byte: by which way that client came.

use std::net::IpAddr;

/// How the line begins. No HTTP/2 client does.
pub const VIA: &[u8] = b"SANDWATCH-VIA ";

/// Somebody came by ssh from this address.
pub fn via_ssh(from: IpAddr) -> String {
    format!("SANDWATCH-VIA ssh {from}\n")
}

/// Reads such a line, without its end; `None` when it is another.
pub fn from_ssh(line: &[u8]) -> Option<IpAddr> {
    let words = line.strip_prefix(VIA)?.strip_prefix(b"ssh ")?;
    std::str::from_utf8(words).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written_and_nothing_else_is() {
        for text in ["192.0.2.1", "2001:db8::1"] {
            let from: IpAddr = text.parse().unwrap();
            assert_eq!(from_ssh(via_ssh(from).trim_end().as_bytes()), Some(from));
        }
        for line in ["", "SANDWATCH-VIA ", "SANDWATCH-VIA ssh x", "SANDWATCH-VIA ssh 1.2.3.4 x"] {
            assert_eq!(from_ssh(line.as_bytes()), None, "{line}");
        }
    }
}
