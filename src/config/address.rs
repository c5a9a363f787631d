//! Where a hub is: addresses of contexts, read strictly because parts of them become arguments of programs, names of
//! files and lines on screen.

use std::{fmt, net::Ipv6Addr, path::PathBuf, str::FromStr};

use crate::base::{
    limits::{ADDRESS_BYTES_MAX, HOST_BYTES_MAX, HOST_USER_BYTES_MAX},
    text,
};

/// What an address may look like, for whoever wrote another.
pub const FORMS: &str = "unix:PATH, ssh://[USER@]HOST[:PORT], https://HOST:PORT, \
                         openshell+https://HOST:PORT or openshell+http://HOST:PORT";

/// What is shown of a text that is no address, in bytes.
const SHOWN_BYTES: usize = 120;

/// How and where a hub is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A socket of this machine, by an absolute path.
    Unix(PathBuf),
    /// Mutual TLS.
    Https { host: Host, port: u16 },
    /// By the operator's own `ssh`.
    Ssh { user: Option<String>, host: Host, port: Option<u16> },
    /// A gateway of OpenShell, which is no hub of ours.
    OpenShell { tls: bool, host: Host, port: u16 },
}

/// A name or an IP address: letters, digits, `-._` or an IPv6 address with its zone; never an option of a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host(String);

impl Address {
    /// What kind it is, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unix(_) => "unix",
            Self::Https { .. } => "https",
            Self::Ssh { .. } => "ssh",
            Self::OpenShell { .. } => "openshell",
        }
    }
}

impl Host {
    /// As programs and the resolver take it: without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_six(&self) -> bool {
        self.0.contains(':')
    }

    /// Of brackets: an IPv6 address, with or without a zone.
    fn six(text: &str) -> Option<Self> {
        let (address, zone) = match text.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (text, None),
        };
        let address: Ipv6Addr = address.parse().ok()?;
        let Some(zone) = zone else { return Some(Self(address.to_string())) };
        let plain = !zone.is_empty()
            && zone.len() <= 32
            && zone.chars().all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it))
            && !zone.starts_with('-');
        plain.then(|| Self(format!("{address}%{zone}")))
    }

    fn named(text: &str) -> Option<Self> {
        let fits = !text.is_empty()
            && text.len() <= HOST_BYTES_MAX
            && !text.starts_with(['-', '.'])
            && text.chars().all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it));
        fits.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_six() { write!(f, "[{}]", self.0) } else { f.write_str(&self.0) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Https { host, port } => write!(f, "https://{host}:{port}"),
            Self::Ssh { user, host, port } => {
                f.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                write!(f, "{host}")?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
            Self::OpenShell { tls, host, port } => {
                let scheme = if *tls { "https" } else { "http" };
                write!(f, "openshell+{scheme}://{host}:{port}")
            }
        }
    }
}

impl FromStr for Address {
    /// Why it is none, in words for a person.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = || text::shown(text, SHOWN_BYTES);
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(format!("an address has at most {ADDRESS_BYTES_MAX} bytes"));
        }
        if text.chars().any(|it| text::is_deceptive(it) || text::is_unseen(it)) {
            return Err(format!("an address has no such characters: {}", shown()));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").filter(|it| it.starts_with('/')).unwrap_or(path);
            if !path.starts_with('/') || path.len() < 2 {
                return Err(format!("the path of a socket begins with /: {}", shown()));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("not an address: {}; it is {FORMS}", shown()));
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        match scheme {
            "https" => with_port(rest).map(|(host, port)| Self::Https { host, port }),
            "ssh" => ssh(rest),
            "openshell+http" | "openshell+https" => {
                let tls = scheme.ends_with('s');
                with_port(rest).map(|(host, port)| Self::OpenShell { tls, host, port })
            }
            "http" => Err("a hub does not listen without TLS: https://HOST:PORT".to_owned()),
            _ => return Err(format!("not an address: {}; it is {FORMS}", shown())),
        }
        .map_err(|why| format!("{why}: {}", shown()))
    }
}

fn ssh(rest: &str) -> Result<Address, String> {
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    // It becomes an argument of a program, and what that is configured to start may have a shell read it.
    let plain = |it: &str| {
        !it.is_empty()
            && it.len() <= HOST_USER_BYTES_MAX
            && !it.starts_with('-')
            && it.chars().all(|it| it.is_ascii_alphanumeric() || "-_.+@".contains(it))
    };
    if user.is_some_and(|it| !plain(it)) {
        return Err("a user over there is letters, digits, `-_.+@`, and begins with no `-`".into());
    }
    let (host, port) = host_and_port(place)?;
    Ok(Address::Ssh { user: user.map(str::to_owned), host, port })
}

fn with_port(rest: &str) -> Result<(Host, u16), String> {
    match host_and_port(rest)? {
        (host, Some(port)) => Ok((host, port)),
        (_, None) => Err("the port is missing (HOST:PORT)".to_owned()),
    }
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`.
fn host_and_port(text: &str) -> Result<(Host, Option<u16>), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return Err("behind a bracket comes :PORT or nothing".to_owned()),
            Some(port) => Some(port),
        };
        (Host::six(host).ok_or("in brackets stands an IPv6 address")?, port)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        if port.is_some_and(|it| it.contains(':')) {
            return Err("an IPv6 address stands in brackets ([::1]:22)".to_owned());
        }
        let words = "a host is letters, digits, `-_.`, and begins with a letter, a digit or `_`";
        (Host::named(host).ok_or(words)?, port)
    };
    let Some(port) = port else { return Ok((host, None)) };
    let digits = !port.is_empty() && port.chars().all(|it| it.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port @ 1..) if digits => Ok((host, Some(port))),
        _ => Err("a port is a number from 1 to 65535".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in [
            "unix:/run/user/1000/sandwatch/hub.sock",
            "https://hub.example.org:8443",
            "https://[fe80::1%eth0]:8443",
            "ssh://lab",
            "ssh://me@lab.example.org:2222",
            "ssh://me@realm@[::1]",
            "openshell+http://127.0.0.1:8080",
            "openshell+https://gateway:443",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let same = |one: &str, other: &str| {
            assert_eq!(one.parse::<Address>().unwrap().to_string(), other);
        };
        same("ssh://lab/", "ssh://lab");
        same("unix:///run/hub.sock", "unix:/run/hub.sock");
    }

    #[test]
    fn what_could_be_an_option_a_command_or_a_trick_is_no_address() {
        for text in [
            "",
            "lab",
            "unix:",
            "unix:/",
            "unix:hub.sock",
            "ssh://",
            "ssh://-oProxyCommand=touch",
            "ssh://-l@lab",
            "ssh://me;id@lab",
            "ssh://`id`@lab",
            "ssh://lab/../x",
            "ssh://lab:0",
            "ssh://lab:+22",
            "ssh://lab:70000",
            "ssh://lab:",
            "ssh://::1",
            "ssh://[::1",
            "ssh://[lab]",
            "ssh://[::1]x",
            "ssh://[fe80::1%-x]",
            "ssh://la b",
            "ssh://lab\n",
            "ssh://l\u{202e}ab",
            "https://lab",
            "http://lab:80",
            "openshell+http://lab",
            "ftp://lab:21",
        ] {
            let why = text.parse::<Address>().unwrap_err();
            assert!(why.chars().all(|it| !text::is_deceptive(it)), "{why}");
        }
        assert!("x".repeat(ADDRESS_BYTES_MAX + 1).parse::<Address>().is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_read_again_the_same(text in "(ssh|https|openshell\\+http)://.{0,40}|.{0,40}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
        }
    }
}
