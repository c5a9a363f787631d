//! What a program asks a proxy for: the beginning of a request of HTTP, or a request of SOCKS 5. Pure, and strict: what
//! could be read in two ways is not read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    names,
    reach::{Host, Place},
};
use crate::base::{limits::GATE_WORDS_BYTES_MAX, text::shown};

/// The port of plain HTTP where none is named.
const HTTP: u16 = 80;

/// What a program wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A tunnel to a place. So many bytes were for the proxy.
    Tunnel(Place, usize),
    /// One request to be passed on to a place, which is all of what was said.
    Request(Place),
}

/// Why it gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The first line of the answer.
    pub status: &'static str,
    pub why: String,
    /// What was named, as far as it was, in a form that can be shown.
    pub place: Option<String>,
}

impl Unread {
    fn bad(why: &str) -> Self {
        Self { status: "400 Bad Request", why: why.to_owned(), place: None }
    }

    fn of(self, named: &str) -> Self {
        Self { place: Some(shown(named, 256)), ..self }
    }
}

/// Reads the head of a request; `None` = it is not whole yet.
pub fn http(said: &[u8]) -> Result<Option<Asked>, Unread> {
    const END: &[u8] = b"\r\n\r\n";
    let end = said.windows(END.len()).position(|it| it == END);
    let head = said.get(..end.unwrap_or(said.len())).unwrap_or_default();
    if !lines_are_plain(head) {
        return Err(Unread::bad("its head has lines or bytes that a head has not"));
    }
    let Some(end) = end else {
        if said.len() >= GATE_WORDS_BYTES_MAX {
            let status = "431 Request Header Fields Too Large";
            return Err(Unread { status, ..Unread::bad("its head is too long") });
        }
        return Ok(None);
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.0" | "HTTP/1.1"), None) =
        (first.next(), first.next(), first.next(), first.next())
    else {
        return Err(Unread::bad("this is a proxy, and that is no request of HTTP/1.1 to one"));
    };
    let is_method = |it: u8| it.is_ascii_uppercase() || matches!(it, b'-' | b'_');
    if !method.starts_with(|it: char| it.is_ascii_uppercase()) || !method.bytes().all(is_method) {
        return Err(Unread::bad("its method is none that is let out"));
    }
    let hosts = hosts(lines)?;
    if method != "CONNECT" {
        return request(target).map(Some);
    }
    let place = place(target, None).map_err(|it| it.of(target))?;
    // Whoever reads the one and whoever reads the other must come to the same place.
    if let Some(other) = hosts.iter().find(|it| !place.is_called(it)) {
        let why = format!("it asks for {place} and names another host: {}", shown(other, 256));
        return Err(Unread { status: "403 Forbidden", ..Unread::bad(&why) }.of(target));
    }
    Ok(Some(Asked::Tunnel(place, end + END.len())))
}

/// Whether each line ends as it should, and holds nothing that ends it before that for somebody.
fn lines_are_plain(head: &[u8]) -> bool {
    let text = |it: &u8| matches!(*it, b'\t' | b' '..=b'~' | 0x80..);
    let mut lines = head.split(|it| *it == b'\n').peekable();
    while let Some(line) = lines.next() {
        // The last one may be on its way.
        let (line, ended) = match line.strip_suffix(b"\r") {
            Some(line) => (line, true),
            None => (line, lines.peek().is_none()),
        };
        if !ended || !line.iter().all(text) {
            return false;
        }
    }
    true
}

/// The hosts that a head names in its lines, and that it names nothing in two lines at once.
fn hosts<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<&'a str>, Unread> {
    let mut hosts = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err(Unread::bad("its head has a line that is no header"));
        }
        if name.eq_ignore_ascii_case("host") {
            hosts.push(value.trim());
        }
    }
    if hosts.len() > 1 {
        return Err(Unread::bad("a request names its host once"));
    }
    Ok(hosts)
}

/// A request to be passed on, which names its place by a whole address.
fn request(target: &str) -> Result<Asked, Unread> {
    let scheme = target.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let rest = match &scheme {
        Some((scheme, rest)) if scheme == "http" => *rest,
        Some((scheme, _)) => {
            let why = format!("{}: ask for that by CONNECT", shown(scheme, 16));
            return Err(Unread::bad(&why).of(target));
        }
        None => {
            let why = "this is a proxy: it takes CONNECT, or requests for whole addresses";
            return Err(Unread::bad(why));
        }
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    place(authority, Some(HTTP)).map(Asked::Request).map_err(|it| it.of(target))
}

/// Where `HOST:PORT` is; `usual` = the port may be left out.
fn place(authority: &str, usual: Option<u16>) -> Result<Place, Unread> {
    if authority.contains('@') {
        return Err(Unread::bad("an address with a user in it is not taken"));
    }
    let (host, rest) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').unwrap_or_default();
            let six: Option<Ipv6Addr> = host.parse().ok();
            (six.map(|it| Host::Address(IpAddr::V6(it).to_canonical())), rest)
        }
        None => {
            let at = authority.find(':').unwrap_or(authority.len());
            let (host, rest) = authority.split_at_checked(at).unwrap_or_default();
            (host_of(host), rest)
        }
    };
    let host = host.ok_or_else(|| Unread::bad("that is no host"))?;
    let digits = |it: &&str| it.len() <= 5 && it.bytes().all(|it| it.is_ascii_digit());
    let port = match (rest.strip_prefix(':'), usual) {
        (None, Some(usual)) if rest.is_empty() => Some(usual),
        (Some(""), Some(usual)) => Some(usual),
        (port, _) => port.filter(digits).and_then(|it| it.parse().ok()).filter(|it| *it > 0),
    };
    let port = port.ok_or_else(|| Unread::bad("that is no port"))?;
    checked(Place { host, port })
}

/// A name, or four numbers.
fn host_of(text: &str) -> Option<Host> {
    match text.parse::<Ipv4Addr>() {
        Ok(it) => Some(Host::Address(it.into())),
        Err(_) => names::plain(text).map(Host::Name),
    }
}

fn checked(place: Place) -> Result<Place, Unread> {
    if let Host::Name(name) = &place.host
        && (name == "localhost" || name.ends_with(".localhost"))
    {
        let why = "localhost is the sandbox itself, to which no proxy leads";
        return Err(Unread { status: "403 Forbidden", ..Unread::bad(why) }.of(&place.to_string()));
    }
    Ok(place)
}

/// The codes of refusals that only SOCKS has.
const SOCKS_FAILED: u8 = 1;
const SOCKS_DENIED: u8 = 2;
const SOCKS_NO_SUCH_COMMAND: u8 = 7;
const SOCKS_NO_SUCH_ADDRESS: u8 = 8;

/// The greeting of SOCKS 5: its length, and whether who comes may be nobody; `None` = it is not whole yet.
pub fn socks_greeting(said: &[u8]) -> Option<(usize, bool)> {
    const NOBODY: u8 = 0;
    let length = usize::from(*said.get(1)?);
    let methods = said.get(2..2 + length)?;
    Some((2 + length, methods.contains(&NOBODY)))
}

/// The request of SOCKS 5; `None` = it is not whole yet. A refusal has its code.
pub fn socks_request(said: &[u8]) -> Result<Option<Asked>, (u8, Unread)> {
    let Some(head) = said.first_chunk::<4>() else { return Ok(None) };
    let [version, command, _, kind] = *head;
    let bad = |code, why: &str| Err((code, Unread::bad(why)));
    if version != 5 {
        return bad(SOCKS_FAILED, "it speaks another version of SOCKS than 5");
    }
    if command != 1 {
        return bad(SOCKS_NO_SUCH_COMMAND, "it asks SOCKS for something else than a connection");
    }
    let rest = said.get(4..).unwrap_or_default();
    let (host, length) = match kind {
        1 => {
            let Some(it) = rest.first_chunk::<4>() else { return Ok(None) };
            (Some(Host::Address(Ipv4Addr::from(*it).into())), 4)
        }
        4 => {
            let Some(it) = rest.first_chunk::<16>() else { return Ok(None) };
            (Some(Host::Address(IpAddr::V6(Ipv6Addr::from(*it)).to_canonical())), 16)
        }
        3 => {
            let Some((length, name)) = rest.split_first() else { return Ok(None) };
            let length = usize::from(*length);
            let Some(name) = name.get(..length) else { return Ok(None) };
            (std::str::from_utf8(name).ok().and_then(host_of), 1 + length)
        }
        _ => return bad(SOCKS_NO_SUCH_ADDRESS, "it names its host in a form that SOCKS has not"),
    };
    let Some(port) = rest.get(length..).and_then(|it| it.first_chunk()) else { return Ok(None) };
    let port = u16::from_be_bytes(*port);
    let Some(host) = host.filter(|_| port > 0) else {
        return bad(SOCKS_FAILED, "that is no host, or no port");
    };
    let place = checked(Place { host, port }).map_err(|it| (SOCKS_DENIED, it))?;
    Ok(Some(Asked::Tunnel(place, 4 + length + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(text: &str) -> Result<String, String> {
        match http(text.as_bytes()) {
            Ok(Some(Asked::Tunnel(place, _))) => Ok(place.to_string()),
            Ok(other) => Err(format!("{other:?}")),
            Err(it) => Err(it.why),
        }
    }

    #[test]
    fn a_tunnel_is_asked_for_in_one_way() {
        let connect =
            |target: &str, more: &str| tunnel(&format!("CONNECT {target} HTTP/1.1\r\n{more}\r\n"));
        for (target, place) in [
            ("Files.Example.:443", "files.example:443"),
            ("192.0.2.1:22", "192.0.2.1:22"),
            ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
        ] {
            assert_eq!(connect(target, ""), Ok(place.to_owned()), "{target}");
        }
        for target in [
            "files.example",
            "files.example:",
            "files.example:0",
            "files.example:65536",
            "files.example:+80",
            "files.example:80:80",
            ":443",
            "a b:443",
            "me@files.example:443",
            "files.example@other.example:443",
            "http://files.example:443",
            "files.example:443/",
            "2130706433:80",
            "0x7f000001:80",
            "0177.0.0.1:80",
            "127.1:80",
            "[::1:443",
            "[fe80::1%lo]:443",
            "2001:db8::1:443",
            "localhost:80",
            "a.localhost:80",
            "*.example:443",
            "ä.example:443",
            "files.example\u{0}:443",
            "",
        ] {
            assert!(connect(target, "").is_err(), "{target}: {:?}", connect(target, ""));
        }
        assert!(connect("files.example:443", "Host: files.example:443\r\nX: y\r\n").is_ok());
        assert!(connect("files.example:443", "Host: files.example\r\n").is_ok());
        for more in [
            "Host: other.example:443\r\n",
            "Host: files.example:80\r\n",
            "Host: files.example\r\nhost: files.example\r\n",
            "Host : files.example\r\n",
            "X: y\r\n folded\r\n",
            "X: y\nHost: other.example\r\n",
            "X: y\rHost: other.example\r\n",
            "X: \u{0}\r\n",
            "nothing\r\n",
        ] {
            assert!(connect("files.example:443", more).is_err(), "{more:?}");
        }
        for line in [
            "CONNECT files.example:443 HTTP/2.0",
            "CONNECT  files.example:443 HTTP/1.1",
            "CONNECT files.example:443",
            "connect files.example:443 HTTP/1.1",
            "GET / HTTP/1.1",
            "GET https://files.example/ HTTP/1.1",
            "OPTIONS * HTTP/1.1",
        ] {
            assert!(tunnel(&format!("{line}\r\n\r\n")).is_err(), "{line}");
        }
    }

    #[test]
    fn a_request_names_its_place_by_its_address_and_is_read_when_it_is_whole() {
        let text =
            "GET http://Files.Example/a?b=http://c@d/ HTTP/1.1\r\nHost: files.example\r\n\r\n";
        let place = |port| Place { host: Host::Name("files.example".into()), port };
        assert_eq!(http(text.as_bytes()), Ok(Some(Asked::Request(place(80)))));
        for end in 0..text.len() {
            assert_eq!(http(&text.as_bytes()[..end]), Ok(None), "{end}");
        }
        let other = "GET http://files.example:8080?x HTTP/1.0\r\n\r\n";
        assert_eq!(http(other.as_bytes()), Ok(Some(Asked::Request(place(8080)))));
        let user = "GET http://u:p@files.example/ HTTP/1.1\r\n\r\n";
        assert!(http(user.as_bytes()).is_err());
        let long =
            format!("GET http://a.example/ HTTP/1.1\r\nX: {}", "y".repeat(GATE_WORDS_BYTES_MAX));
        assert!(http(long.as_bytes()).is_err_and(|it| it.status.starts_with("431")));
        let behind = b"CONNECT a.example:1 HTTP/1.1\r\n\r\n\x16\x03\x01";
        let Ok(Some(Asked::Tunnel(_, length))) = http(behind) else { panic!() };
        assert_eq!(&behind[length..], b"\x16\x03\x01");
    }

    #[test]
    fn a_request_that_is_none_to_all_is_none() {
        let ask = |method: &str| {
            let head =
                format!("{method} http://files.example/ HTTP/1.1\r\nHost: files.example\r\n\r\n");
            http(head.as_bytes())
        };
        assert!(matches!(ask("GET"), Ok(Some(Asked::Request(..)))), "{:?}", ask("GET"));
        for method in ["-GET", "", "get", "G(T", "_"] {
            assert!(ask(method).is_err(), "{method}");
        }
    }

    #[test]
    fn socks_is_read_byte_by_byte_and_to_its_end() {
        assert_eq!(socks_greeting(&[5, 2, 2]), None);
        assert_eq!(socks_greeting(&[5, 2, 2, 0, 9]), Some((4, true)));
        assert_eq!(socks_greeting(&[5, 1, 2]), Some((3, false)));
        let named = [&[5, 1, 0, 3, 13][..], b"Files.Example", &[1, 187, 9]].concat();
        let asks = |bytes: &[u8]| match socks_request(bytes) {
            Ok(Some(Asked::Tunnel(place, length))) => Ok((place.to_string(), length)),
            Ok(other) => panic!("{other:?}"),
            Err((code, _)) => Err(code),
        };
        assert_eq!(asks(&named), Ok(("files.example:443".into(), named.len() - 1)));
        for end in 0..named.len() - 1 {
            assert_eq!(socks_request(&named[..end]), Ok(None), "{end}");
        }
        assert_eq!(asks(&[5, 1, 0, 1, 192, 0, 2, 1, 0, 80]), Ok(("192.0.2.1:80".into(), 10)));
        let six = [&[5, 1, 0, 4][..], &Ipv6Addr::LOCALHOST.octets(), &[0, 80]].concat();
        assert_eq!(asks(&six), Ok(("[::1]:80".into(), 22)));
        for (bytes, code) in [
            (&[4, 1, 0, 1][..], SOCKS_FAILED),
            (&[5, 3, 0, 1][..], SOCKS_NO_SUCH_COMMAND),
            (&[5, 1, 0, 9][..], SOCKS_NO_SUCH_ADDRESS),
            (&[5, 1, 0, 1, 192, 0, 2, 1, 0, 0][..], SOCKS_FAILED),
            (&[5, 1, 0, 3, 2, b'a', b'@', 0, 80][..], SOCKS_FAILED),
        ] {
            assert_eq!(asks(bytes), Err(code), "{bytes:?}");
        }
        let local = [&[5, 1, 0, 3, 9][..], b"localhost", &[0, 80]].concat();
        assert_eq!(asks(&local), Err(SOCKS_DENIED));
    }
}
