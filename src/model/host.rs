//! A host that rules and people name: what is written must mean one thing.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Stands for the machine that sandwatch runs on, where a rule or a secret names it.
pub const THIS_MACHINE: &str = "host.internal";

/// `HOST` or `HOST:PORT`: a name with `*.` in front for all below it, four numbers, or an address of IPv6, in brackets
/// where a port follows. Gives it in small letters without a last dot, and the port. `None` for anything else, a port
/// that is none included.
pub fn pattern(text: &str) -> Option<(String, Option<u16>)> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some((address.to_canonical().to_string(), None));
    }
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok()?.to_canonical().to_string(), rest)
        }
        None => {
            let (name, rest) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
            let host = match name.strip_prefix("*.") {
                Some(above) => {
                    let above = name_of(above).filter(|it| it.parse::<Ipv4Addr>().is_err())?;
                    format!("*.{above}")
                }
                None => name_of(name)?,
            };
            (host, rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        Some(it) if it.bytes().all(|it| it.is_ascii_digit()) => {
            Some(it.parse().ok().filter(|it: &u16| *it > 0)?)
        }
        _ => return None,
    };
    Some((host, port))
}

/// The same as text again: an address of IPv6 is in brackets.
pub fn written(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

/// A name, or an address of four numbers, in small letters and without a last dot; `None` when it is neither: also
/// what others read as an address in other numbers.
pub fn name_of(text: &str) -> Option<String> {
    const NAME_BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |it: &str| {
        !it.is_empty()
            && it.len() <= LABEL_BYTES_MAX
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|it| it.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
    let good = name.len() <= NAME_BYTES_MAX
        && name.split('.').all(label)
        && (!number || name.parse::<Ipv4Addr>().is_ok());
    good.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_in_one_way_or_not_at_all() {
        for (text, host, port) in [
            ("Files.Example.", "files.example", None),
            ("files.example:443", "files.example", Some(443)),
            ("*.files.example", "*.files.example", None),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:DB8::1]:80", "2001:db8::1", Some(80)),
            ("localhost", "localhost", None),
            ("a_b.example", "a_b.example", None),
            ("::ffff:192.0.2.1", "192.0.2.1", None),
        ] {
            let named = Some((host.to_owned(), port));
            assert_eq!(pattern(text), named, "{text}");
            assert_eq!(pattern(&written(host, port)), named, "{text}");
        }
        for bad in [
            "",
            "*",
            "*.",
            "a b",
            "a:",
            "a:0",
            "a:https",
            "a:99999",
            "a:+80",
            "a:1:2",
            "a/b",
            "a@b",
            "ä.example",
            "a..b",
            "2130706433",
            "0x7f.1",
            "127.1",
            "1.2.3.4.5",
            "[a]",
            "[::1]x",
            "https://a",
            "a%2e",
        ] {
            assert_eq!(pattern(bad), None, "{bad}");
        }
    }
}
