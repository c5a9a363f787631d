//! Hosts as rules see them. Clients read what is oddly written each in their own way: such a thing is allowed by no
//! rule, and denied by a rule that any reading of it meets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::host::name_of;

/// Readings of what is oddly written, at most.
const NAMES_MAX: usize = 256;
/// Signs in signs are undone so often.
const DECODED_MAX: usize = 3;

/// Where a request leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host in small letters without a last dot, an address as it is usually written; all that it may be when it
    /// is not clear.
    pub names: Vec<String>,
    /// `None` = not said, or not understood.
    pub port: Option<u16>,
    /// Every client reads it so.
    pub clear: bool,
}

impl Target {
    /// Addresses among what it may be.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.names.iter().filter_map(|it| it.parse().ok())
    }

    /// Whether it is this host, as a rule names it, for a rule that allows.
    pub fn surely(&self, rule: &str, port: Option<u16>) -> bool {
        let mut names = self.names.iter();
        self.clear && names.all(|it| fits(rule, it)) && port.is_none_or(|it| Some(it) == self.port)
    }

    /// Whether it may be this host, for a rule that forbids.
    pub fn perhaps(&self, rule: &str, port: Option<u16>) -> bool {
        let port_fits = self.port.is_none() || port.is_none() || port == self.port;
        port_fits && self.names.iter().any(|it| fits(rule, it))
    }
}

fn fits(rule: &str, host: &str) -> bool {
    match rule.strip_prefix("*.") {
        Some(above) => host.strip_suffix(above).is_some_and(|it| it.ends_with('.') && it.len() > 1),
        None => rule == host,
    }
}

/// Reads `HOST`, `HOST:PORT`, `[ADDRESS]:PORT` or a URL.
pub fn read(subject: &str) -> Target {
    let text = subject.trim_matches(' ');
    if let Some((name, port)) = clearly(text) {
        return Target { names: vec![name], port, clear: true };
    }
    Target { names: readings(text), port: None, clear: false }
}

/// What every client reads there; `None` when that is not certain.
fn clearly(text: &str) -> Option<(String, Option<u16>)> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let (usual, authority) = match text.split_once("://") {
        Some((scheme, rest)) => {
            let plain = |it: u8| it.is_ascii_alphanumeric() || b"+-.".contains(&it);
            if !scheme.starts_with(|it: char| it.is_ascii_alphabetic())
                || !scheme.bytes().all(plain)
            {
                return None;
            }
            let usual = match scheme.to_ascii_lowercase().as_str() {
                "https" | "wss" => Some(443),
                "http" | "ws" => Some(80),
                _ => None,
            };
            (usual, rest.split(['/', '?', '#']).next().unwrap_or_default())
        }
        None => (None, text),
    };
    if let Ok(address) = authority.parse::<Ipv6Addr>() {
        return Some((address.to_canonical().to_string(), usual));
    }
    let (name, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            (address.to_canonical().to_string(), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (name, port) = authority.split_at_checked(end)?;
            (name_of(name)?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some("") => usual,
        Some(digits) if digits.bytes().all(|it| it.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|it| *it > 0)?)
        }
        None if port.is_empty() => usual,
        _ => return None,
    };
    Some((name, port))
}

/// All names and addresses that may be meant.
fn readings(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut text = usual_letters(text);
    for _ in 0..=DECODED_MAX {
        let is_name = |it: char| it.is_ascii_alphanumeric() || "-._".contains(it);
        let addresses = text.split(['[', ']', '/', '@', '\\', '%']);
        let addresses = addresses.filter_map(|it| it.parse::<Ipv6Addr>().ok());
        let mut found: Vec<String> = addresses.map(|it| it.to_canonical().to_string()).collect();
        for name in text.split(|it| !is_name(it)).map(|it| it.trim_matches('.')) {
            let name = name.to_ascii_lowercase();
            found.push(address(&name).map_or(name, |it| it.to_string()));
        }
        for name in found {
            if !name.is_empty() && !names.contains(&name) && names.len() < NAMES_MAX {
                names.push(name);
            }
        }
        let decoded = usual_letters(&decoded(&text));
        if decoded == text {
            break;
        }
        text = decoded;
    }
    names
}

/// Wide letters and dots as the usual ones, and without what clients leave out.
fn usual_letters(text: &str) -> String {
    let usual = |it: char| match it {
        '\t' | '\n' | '\r' | '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => None,
        '\u{3002}' | '\u{ff0e}' | '\u{ff61}' => Some('.'),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(it) - 0xfee0),
        it => Some(it),
    };
    text.chars().filter_map(usual).collect()
}

/// With `%41` as what it stands for.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let sign = behind.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let sign = sign.filter(|it| *first == b'%' && it.bytes().all(|it| it.is_ascii_hexdigit()));
        let byte = sign.and_then(|it| u8::from_str_radix(it, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An address in any of the ways in which old functions read one: of one to four numbers, each of base 8, 10 or 16.
pub fn address(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|it| *it > 255) {
        return None;
    }
    let low = 8 * (4 - u32::try_from(first.len()).ok()?);
    if *last >= 1 << low {
        return None;
    }
    let shifts = [24, 16, 8];
    let high: u64 = first.iter().zip(shifts).map(|(it, shift)| it << shift).sum();
    u32::try_from(high | last).ok().map(Ipv4Addr::from)
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some("") => return Some(0),
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let good = digits.chars().all(|it| it.is_digit(radix));
    u64::from_str_radix(digits, radix).ok().filter(|_| good)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_every_client_reads_alike_is_clear() {
        for (text, name, port) in [
            ("Files.PyPI.example", "files.pypi.example", None),
            ("pypi.example.:443", "pypi.example", Some(443)),
            ("HTTPS://pypi.example/@scope/x%20y", "pypi.example", Some(443)),
            ("https://pypi.example:/", "pypi.example", Some(443)),
            ("ws://pypi.example?x", "pypi.example", Some(80)),
            ("ftp://pypi.example", "pypi.example", None),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("http://[2001:DB8::0001]:8080/", "2001:db8::1", Some(8080)),
            ("[::ffff:127.0.0.1]", "127.0.0.1", None),
            ("2001:db8::1", "2001:db8::1", None),
        ] {
            let target = Target { names: vec![name.to_owned()], port, clear: true };
            assert_eq!(read(text), target, "{text}");
        }
    }

    #[test]
    fn what_is_oddly_written_is_all_that_it_may_be() {
        for (text, name) in [
            ("https://evil.example\\@files.pypi.example/", "evil.example"),
            ("https://evil.example\\@files.pypi.example/", "files.pypi.example"),
            ("https://files.pypi.example@evil.example/", "evil.example"),
            ("https:/\\evil.example/", "evil.example"),
            ("https:///evil.example/", "evil.example"),
            ("https:evil.example", "evil.example"),
            ("https://e\tvil.example/", "evil.example"),
            ("https://admi%6e.example.org", "admin.example.org"),
            ("https://admi%256e.example.org", "admin.example.org"),
            ("https://ｅvil。example/", "evil.example"),
            ("https://evil.example..:443/", "evil.example"),
            ("evil.example:+443", "evil.example"),
            ("evil.example:99999", "evil.example"),
            ("evil.example/x", "evil.example"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://2130706433/", "127.0.0.1"),
            ("0177.0.0.1:80", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
            ("x@[::ffff:10.0.0.1]", "10.0.0.1"),
        ] {
            let target = read(text);
            assert!(!target.clear && target.port.is_none(), "{text}: {target:?}");
            assert!(target.names.iter().any(|it| it == name), "{text}: {target:?}");
        }
        assert_eq!(
            (address("1.2.3.4.5"), address("256.1"), address("1.2.3.256")),
            (None, None, None)
        );
        assert_eq!(address("4294967295"), Some(Ipv4Addr::BROADCAST));
        assert_eq!((address("4294967296"), address("08.1"), address("+1")), (None, None, None));
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(text in "\\PC{0,60}", more in "[a%0-9.:/@\\[\\]x\\\\]{0,40}") {
            for text in [&text, &more, &format!("https://{more}")] {
                let target = read(text);
                prop_assert!(target.names.len() <= NAMES_MAX);
                prop_assert!(!target.clear || target.names.len() == 1);
            }
        }
    }
}
