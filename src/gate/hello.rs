//! What a program says first on a connection: enough to tell what it speaks and whom it thinks it speaks to.

/// First words, as far as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// It may become anything yet.
    Unknown,
    /// A TLS client, and the name it wants; `None` = it names nobody.
    Tls(Option<String>),
    /// A request, and the host that it names.
    Http { method: String, target: String, host: Option<String> },
    /// Begins as one of these and can't be read, so that nobody can tell whom it is for.
    Garbled(&'static str),
    /// It asked for a tunnel, in these words, and says nothing before it has that.
    Tunnel(&'static str),
    /// Something else.
    Other,
}

impl Words {
    /// For a person, in one line.
    pub fn described(&self) -> Option<String> {
        match self {
            Self::Unknown | Self::Other | Self::Garbled(_) => None,
            Self::Tunnel(words) => Some((*words).to_owned()),
            Self::Tls(None) => Some("TLS, which names no host".to_owned()),
            Self::Tls(Some(name)) => Some(format!("TLS for {name}")),
            Self::Http { method, target, host } => {
                let host = host.as_deref().unwrap_or("no host");
                Some(format!("HTTP {method} {target} of {host}"))
            }
        }
    }
}

/// Reads first words; `all` = there will be no more.
pub fn read(bytes: &[u8], all: bool) -> Words {
    // Servers pass over empty lines before a request.
    let blank = bytes.iter().take_while(|it| matches!(**it, b'\r' | b'\n')).count();
    let request = bytes.get(blank..).unwrap_or_default();
    match (bytes.first(), request.first()) {
        (None, _) => Words::Unknown,
        (Some(0x16), _) => {
            tls(bytes, all).unwrap_or(Words::Garbled("its TLS greeting can't be read"))
        }
        // The older form of the greeting, which names nobody.
        (Some(0x80), _) => Words::Garbled("its TLS greeting is of a form that is too old"),
        (_, None) if !all => Words::Unknown,
        (_, Some(it)) if it.is_ascii_alphabetic() => http(request, all),
        _ => Words::Other,
    }
}

/// Takes a first part off, if there is so much.
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (part, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(part)
}

/// A part with its length in front, of `size` bytes.
fn counted<'a>(rest: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let length = take(rest, size)?.iter().fold(0, |sum, it| (sum << 8) | usize::from(*it));
    take(rest, length)
}

/// `None` = it is no TLS.
fn tls(bytes: &[u8], all: bool) -> Option<Words> {
    let more = if all { None } else { Some(Words::Unknown) };
    // A greeting may come in several records.
    let (mut rest, mut greeting) = (bytes, Vec::new());
    loop {
        if bytes.get(1).is_some_and(|it| *it != 3) {
            return None;
        }
        let mut record = rest;
        let Some([0x16, 3, _]) = take(&mut record, 3) else {
            return if rest.len() < 3 { more } else { None };
        };
        let Some(part) = counted(&mut record, 2) else { return more };
        greeting.extend(part);
        rest = record;
        let mut words = &greeting[..];
        if take(&mut words, 1).is_some_and(|it| it != [1]) {
            return None;
        }
        if let Some(body) = counted(&mut words, 3) {
            return server_name(body);
        }
    }
}

/// `None` = it can't be read; the name that a client wants is of the one kind there is.
fn server_name(mut body: &[u8]) -> Option<Words> {
    // Version and a random number.
    take(&mut body, 34)?;
    for size in [1, 2, 1] {
        counted(&mut body, size)?;
    }
    if body.is_empty() {
        return Some(Words::Tls(None));
    }
    let mut extensions = counted(&mut body, 2)?;
    let mut found = None;
    while !extensions.is_empty() {
        let kind = take(&mut extensions, 2)?;
        let mut value = counted(&mut extensions, 2)?;
        if kind != [0, 0] {
            continue;
        }
        let mut list = counted(&mut value, 2)?;
        let kind = take(&mut list, 1)?;
        let name = counted(&mut list, 2)?;
        // One name, once: two may be read in two ways.
        if kind != [0] || !list.is_empty() || !value.is_empty() || found.is_some() {
            return None;
        }
        found = Some(String::from_utf8(name.to_vec()).ok()?);
    }
    Some(Words::Tls(found))
}

/// A request, if it is one.
fn http(bytes: &[u8], all: bool) -> Words {
    const LINE_BYTES_MAX: usize = 16 * 1024;
    let end = bytes.iter().position(|it| *it == b'\n');
    let first = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    let is_text =
        first.iter().all(|it| it.is_ascii_graphic() || matches!(*it, b' ' | b'\t' | b'\r'));
    let more = if all { Words::Garbled("its request is not whole") } else { Words::Unknown };
    if end.is_none() {
        // Whatever is no line of text in so many bytes is no request.
        let may_be = is_text && first.len() < LINE_BYTES_MAX && first.contains(&b' ');
        return match is_text && !all && first.len() < 32 || may_be {
            true => more,
            false => Words::Other,
        };
    }
    let line = String::from_utf8_lossy(first);
    if !line.contains("HTTP/") {
        return Words::Other;
    }
    let mut words = line.trim_end_matches('\r').split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Words::Garbled("its request can't be read");
    };
    // The second version begins with something alike, and says all else in another way.
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return Words::Garbled("it speaks a version of HTTP that is not let out without TLS");
    }
    if !method.bytes().all(|it| it.is_ascii_uppercase() || it == b'-' || it == b'_') {
        return Words::Garbled("its request can't be read");
    }
    let text = String::from_utf8_lossy(bytes);
    let Some(head) = text.find("\r\n\r\n").or_else(|| text.find("\n\n")) else { return more };
    let host = text.get(..head).unwrap_or_default().lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("host").then(|| value.trim().to_owned())
    });
    Words::Http { method: method.to_owned(), target: target.to_owned(), host }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A greeting as clients send it, with these names in it.
    fn greeting(names: &[&str]) -> Vec<u8> {
        let framed = |size: usize, body: &[u8]| -> Vec<u8> {
            let length = body.len().to_be_bytes();
            [&length[length.len() - size..], body].concat()
        };
        let mut extensions = vec![0, 43, 0, 3, 2, 3, 4];
        for name in names {
            let entry = [&[0][..], &framed(2, name.as_bytes())].concat();
            extensions.extend([0, 0]);
            extensions.extend(framed(2, &framed(2, &entry)));
        }
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend(framed(1, &[9; 32]));
        body.extend(framed(2, &[0x13, 1]));
        body.extend(framed(1, &[0]));
        body.extend(framed(2, &extensions));
        let words = [&[1][..], &framed(3, &body)].concat();
        [&[0x16, 3, 1][..], &framed(2, &words)].concat()
    }

    #[test]
    fn a_tls_client_is_heard_out_before_its_name_is_believed() {
        let whole = greeting(&["files.example"]);
        assert_eq!(read(&whole, false), Words::Tls(Some("files.example".into())));
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end], false), Words::Unknown, "{end}");
            let cut = read(&whole[..end], true);
            assert!(end == 0 || matches!(cut, Words::Garbled(_)), "{end}: {cut:?}");
        }
        // In two records.
        let (first, second) = whole[5..].split_at(20);
        let mut split = vec![0x16, 3, 1, 0, 20];
        split.extend(first);
        split.extend([0x16, 3, 1]);
        split.extend((second.len() as u16).to_be_bytes());
        split.extend(second);
        assert_eq!(read(&split, false), Words::Tls(Some("files.example".into())));
        assert_eq!(read(&greeting(&[]), false), Words::Tls(None));
        assert!(matches!(read(&greeting(&["a.example", "b.example"]), false), Words::Garbled(_)));
        assert!(matches!(read(&[0x16, 9, 9, 9], false), Words::Garbled(_)));
    }

    #[test]
    fn a_request_names_its_host() {
        let words = read(b"GET /x HTTP/1.1\r\nhOst: a.example:80\r\nX: y\r\n\r\n", false);
        let wanted = ("GET".into(), "/x".into(), Some("a.example:80".into()));
        let Words::Http { method, target, host } = words else { panic!("{words:?}") };
        assert_eq!((method, target, host), wanted);
        assert_eq!(read(b"GET /x HTTP/1.1\r\nHost:", false), Words::Unknown);
        assert_eq!(read(b"SSH-2.0-x\r\n", false), Words::Other);
        for bad in [
            &b"PRI * HTTP/2.0\r\n\r\n"[..],
            b"GET  / HTTP/1.1\r\n\r\n",
            b"get / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1 x\r\n",
            b"GET\t/ HTTP/1.1\r\n",
        ] {
            assert!(
                matches!(read(bad, false), Words::Garbled(_)),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
        assert!(matches!(read(b"GET /x HTTP/1.1\r\nHo", true), Words::Garbled(_)));
        let blank = read(b"\r\n\r\nGET /x HTTP/1.1\r\nHost: b\r\n\r\n", false);
        assert!(matches!(&blank, Words::Http { host: Some(host), .. } if host == "b"), "{blank:?}");
        assert_eq!(read(b"\x00\x01", false), Words::Other);
    }
}
