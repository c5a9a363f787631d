//! The one string that somebody gets who is invited: where the hub is, by what to know it, and a secret that is good once.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::member::Fingerprint;
use crate::base::{
    fault::{Fault, Outcome},
    id::random_bytes,
    limits::{INVITE_ADDRESSES_MAX, INVITE_TEXT_BYTES_MAX, REACHED_AT_BYTES_MAX},
    text::hex,
};

const SCHEME: &str = "sandwatch-invite:";
const FORM: u8 = 1;
/// The hash of the rest, cut: it is against slips of whoever copies it, not against intent.
const CHECK_BYTES: usize = 4;

/// Whether there is an invite in a text, whatever else.
pub fn is_in(text: &str) -> bool {
    text.contains(SCHEME)
}

/// What an invite is worth. It prints as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteToken {
    id: [u8; Self::ID_BYTES],
    secret: [u8; Self::SECRET_BYTES],
}

impl InviteToken {
    /// Says which it is; nobody is kept from knowing it.
    pub const ID_BYTES: usize = 8;
    /// 192 bits.
    pub const SECRET_BYTES: usize = 24;

    pub fn random() -> Self {
        Self { id: random_bytes(), secret: random_bytes() }
    }

    pub fn from_parts(id: &[u8], secret: &[u8]) -> Option<Self> {
        Some(Self { id: id.try_into().ok()?, secret: secret.try_into().ok()? })
    }

    pub fn id(&self) -> String {
        hex(&self.id)
    }

    pub fn id_bytes(&self) -> &[u8] {
        &self.id
    }

    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// What is kept of the secret: from so many bits of chance nobody finds a way back.
    pub fn kept(&self) -> Fingerprint {
        let mut all = Vec::from(*b"sandwatch-invite-1");
        all.extend_from_slice(&self.id);
        all.extend_from_slice(&self.secret);
        Fingerprint::of(&all)
    }
}

impl std::fmt::Debug for InviteToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InviteToken({}, ••••)", self.id())
    }
}

/// All that is in the string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteText {
    pub token: InviteToken,
    /// Of the certificate of the hub's authority.
    pub authority: Fingerprint,
    /// `HOST:PORT`, in the order in which they are tried; at least one.
    pub addresses: Vec<String>,
}

impl InviteText {
    /// As it is handed over.
    pub fn text(&self) -> String {
        let mut bytes = vec![FORM];
        bytes.extend_from_slice(&self.token.id);
        bytes.extend_from_slice(&self.token.secret);
        bytes.extend_from_slice(self.authority.bytes());
        for address in self.addresses.iter().take(INVITE_ADDRESSES_MAX) {
            let Ok(length) = u8::try_from(address.len()) else { continue };
            bytes.push(length);
            bytes.extend_from_slice(address.as_bytes());
        }
        let check = Fingerprint::of(&bytes);
        bytes.extend_from_slice(check.bytes().get(..CHECK_BYTES).unwrap_or_default());
        format!("{SCHEME}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads it; white space around it and line breaks of a mail in it are no part of it.
    pub fn parse(text: &str) -> Outcome<Self> {
        if text.len() > INVITE_TEXT_BYTES_MAX {
            return Err(Fault::invalid("an invite is not as long as this"));
        }
        let text: String = text.split_whitespace().collect();
        let Some(coded) = text.strip_prefix(SCHEME) else {
            return Err(Fault::invalid(format!("an invite begins with {SCHEME}"))
                .hint("sandwatch hub invite, on the hub's machine, prints one"));
        };
        let cut = || {
            Fault::invalid("this invite was cut off or mistyped").hint("copy the whole line again")
        };
        let bytes = URL_SAFE_NO_PAD.decode(coded).map_err(|_| cut())?;
        let (body, check) = bytes
            .len()
            .checked_sub(CHECK_BYTES)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or_else(cut)?;
        if Fingerprint::of(body).bytes().get(..CHECK_BYTES) != Some(check) {
            return Err(cut());
        }
        let mut rest = body;
        match taken(&mut rest, 1) {
            Some([FORM]) => {}
            Some(_) => {
                return Err(Fault::unsupported("this invite is of a newer sandwatch than this")
                    .hint("install the version that the hub has"));
            }
            None => return Err(cut()),
        }
        Self::body(rest).ok_or_else(|| Fault::invalid("there is no such invite"))
    }

    fn body(mut rest: &[u8]) -> Option<Self> {
        let id = taken(&mut rest, InviteToken::ID_BYTES)?;
        let secret = taken(&mut rest, InviteToken::SECRET_BYTES)?;
        let token = InviteToken::from_parts(id, secret)?;
        let authority = Fingerprint::from_bytes(taken(&mut rest, Fingerprint::BYTES)?)?;
        let mut addresses = Vec::new();
        while let Some([length]) = taken(&mut rest, 1) {
            let address = std::str::from_utf8(taken(&mut rest, usize::from(*length))?).ok()?;
            addresses.push(host_and_port(address).ok()?);
        }
        let many = (1..=INVITE_ADDRESSES_MAX).contains(&addresses.len());
        many.then_some(Self { token, authority, addresses })
    }
}

fn taken<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (first, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(first)
}

/// An address that others reach: a name or number and a port, with nothing else in it.
pub fn host_and_port(text: &str) -> Outcome<String> {
    let wrong = || {
        let shown = crate::base::text::shown(text, REACHED_AT_BYTES_MAX);
        Fault::invalid(format!("not HOST:PORT: {shown}"))
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    if !port.bytes().all(|it| it.is_ascii_digit()) {
        return Err(wrong());
    }
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let fits = match inner {
        Some(number) => number.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |it: u8| it.is_ascii_alphanumeric() || b".-_".contains(&it);
            !host.is_empty() && !host.starts_with(['-', '.']) && host.bytes().all(plain)
        }
    };
    if !fits || port == 0 || text.len() > REACHED_AT_BYTES_MAX {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some() -> InviteText {
        InviteText {
            token: InviteToken::random(),
            authority: Fingerprint::of(b"authority"),
            addresses: vec!["hub.example:7443".to_owned(), "[::1]:7443".to_owned()],
        }
    }

    #[test]
    fn what_is_written_is_read_also_out_of_a_mail() {
        let it = some();
        assert_eq!(InviteText::parse(&it.text()).unwrap(), it);
        let text = it.text();
        let (one, other) = text.split_at(40);
        assert_eq!(InviteText::parse(&format!("\n {one}\r\n  {other}\n")).unwrap(), it);
        assert!(!format!("{it:?}").contains(&hex(it.token.secret())));
    }

    #[test]
    fn an_invite_that_is_not_whole_is_none() {
        let text = some().text();
        for end in 0..text.len() {
            assert!(InviteText::parse(text.get(..end).unwrap()).is_err(), "{end}");
        }
        for at in SCHEME.len()..text.len() {
            let mut other: Vec<u8> = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert!(InviteText::parse(std::str::from_utf8(&other).unwrap()).is_err(), "{at}");
        }
        assert!(InviteText::parse(&"x".repeat(INVITE_TEXT_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for good in ["a:1", "10.0.0.1:7443", "[2001:db8::1]:443", "my-host.example:65535"] {
            assert_eq!(host_and_port(good).unwrap(), good);
        }
        let long = format!("{}:1", "x".repeat(REACHED_AT_BYTES_MAX));
        for bad in [
            "", "a", ":1", "a:", "a:0", "a:65536", "-o:1", "a b:1", "::1:1", "[x]:1", "a/b:1",
            &long,
        ] {
            assert!(host_and_port(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(InviteText::parse(&text));
            drop(InviteText::parse(&format!("{SCHEME}{text}")));
            let mut whole = bytes;
            let check = Fingerprint::of(&whole);
            whole.extend_from_slice(&check.bytes()[..CHECK_BYTES]);
            if let Ok(it) = InviteText::parse(&format!("{SCHEME}{}", URL_SAFE_NO_PAD.encode(&whole))) {
                prop_assert_eq!(InviteText::parse(&it.text()).unwrap(), it);
            }
        }
    }
}
