//! A host that rules and people name: what is written must mean one thing.

use std::net::IpAddr;

/// `HOST` or `HOST:PORT`: a name with `*.` in front for all below it, an address, or `[ADDRESS]` where a port or colons
/// follow; small letters, no last dot. `None` for anything else, a port that is none included.
pub fn pattern(text: &str) -> Option<(String, Option<u16>)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address.to_string(), None));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let address: IpAddr = address.parse().ok()?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (address.to_string(), port)
        }
        None => {
            let (name, port) = text.split_once(':').map_or((text, None), |it| (it.0, Some(it.1)));
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            if name.parse::<IpAddr>().is_err() && !is_name(name.strip_prefix("*.").unwrap_or(&name))
            {
                return None;
            }
            (name, port)
        }
    };
    let port = match port {
        None => None,
        Some(it) if it.bytes().all(|it| it.is_ascii_digit()) => {
            Some(it.parse().ok().filter(|it: &u16| *it > 0)?)
        }
        Some(_) => return None,
    };
    Some((host, port))
}

/// Whether this may be a host's name, in small letters and without a last dot. What others read as an address in
/// numbers is none.
pub fn is_name(name: &str) -> bool {
    const NAME_BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    let label = |it: &str| {
        !it.is_empty()
            && it.len() <= LABEL_BYTES_MAX
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|it| it.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
    name.len() <= NAME_BYTES_MAX && !number && name.split('.').all(label)
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
        ] {
            assert_eq!(pattern(text), Some((host.to_owned(), port)), "{text}");
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
