//! The one place where the value of a secret takes its placeholder's place: headers of a request to its own host.

use std::sync::{Mutex, PoisonError};

use base64::{
    Engine, alphabet,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
    },
};
use bytes::Bytes;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use memchr::memmem;

use super::reach::{Host, Place};
use crate::{
    base::{limits::GATE_WORDS_BYTES_MAX, text::shown},
    driver::local::service::Foreign,
    model::secret::{Given, PLACEHOLDER, SecretUse},
};

/// The headers in which services take a credential. No other gets a value: a server says in its errors what it did not
/// understand in those.
const CREDENTIALS: [&str; 6] =
    ["authorization", "x-api-key", "api-key", "x-goog-api-key", "private-token", "x-auth-token"];
/// What says how an answer is framed, and is as it has to be.
const FRAMING: [HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];
/// Signs in signs are undone so often, in what is looked through.
const DECODED_MAX: usize = 3;
/// As programs write base64: padded or not, and in either alphabet.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const READERS: [GeneralPurpose; 2] = [
    GeneralPurpose::new(&alphabet::STANDARD, LENIENT),
    GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT),
];
/// Stands for a header that told a value.
const LEFT_OUT: &str = "(left out)";
/// What whoever has the sandbox does about a value that is missing.
const AGAIN: &str = "sandwatch restore SANDBOX --secret NAME gives it";
/// What is repeated of a header's name.
const NAME_SHOWN_BYTES: usize = 64;

/// The secrets of one sandbox.
pub struct Secrets {
    uses: Vec<SecretUse>,
    values: Mutex<Vec<Given>>,
}

/// What was found in one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Some value was put in.
    pub put: bool,
    /// What a person should know of placeholders that went as they are.
    pub notes: Vec<String>,
}

fn find(bytes: &[u8], what: &str) -> Option<usize> {
    memmem::find(bytes, what.as_bytes()).filter(|_| !what.is_empty())
}

/// With `%41` as what it stands for; `None` = there is nothing of the kind.
fn decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest, mut some) = (Vec::with_capacity(bytes.len()), bytes, false);
    while let Some((first, behind)) = rest.split_first() {
        let digits =
            behind.get(..2).filter(|it| *first == b'%' && it.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|it| std::str::from_utf8(it).ok());
        let byte = digits.and_then(|it| u8::from_str_radix(it, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
        some |= byte.is_some();
    }
    some.then_some(out)
}

/// What base64 makes of a value wherever it begins in what is encoded: the digits that it alone decides.
fn encoded(value: &str) -> [Option<String>; 3] {
    [(0, 0), (1, 2), (2, 3)].map(|(before, from)| {
        let text = STANDARD.encode(["x".repeat(before).as_bytes(), value.as_bytes()].concat());
        text.get(from..(before + value.len()) * 8 / 6).filter(|it| !it.is_empty()).map(Into::into)
    })
}

/// Whether what was encoded stands there, in either alphabet.
fn in_base64(text: &[u8], encoded: &[Option<String>]) -> bool {
    let usual = |it: &u8| match it {
        b'-' => b'+',
        b'_' => b'/',
        it => *it,
    };
    let digits: Vec<u8> = text.iter().map(usual).collect();
    encoded.iter().flatten().any(|it| find(&digits, it).is_some())
}

/// Whether a value stands there in another form: with signs, or in base64.
fn hides_in(header: &[u8], value: &str, encoded: &[Option<String>]) -> bool {
    let mut text = header.to_owned();
    for _ in 0..=DECODED_MAX {
        if in_base64(&text, encoded) || find(&text, value).is_some() {
            return true;
        }
        let Some(next) = decoded(&text) else { return false };
        text = next;
    }
    // What is wrapped once more was meant to be.
    true
}

/// With every `from` in it as `to`; `None` = there is none, or too many to be meant.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Option<Vec<u8>> {
    let (mut out, mut rest, mut some) = (Vec::new(), bytes, false);
    while let Some(at) = find(rest, from) {
        let (before, behind) = rest.split_at_checked(at)?;
        out.extend_from_slice(before);
        out.extend_from_slice(to.as_bytes());
        rest = behind.get(from.len()..)?;
        some = true;
        if out.len() > GATE_WORDS_BYTES_MAX {
            return None;
        }
    }
    out.extend_from_slice(rest);
    some.then_some(out)
}

impl SecretUse {
    fn is_for(&self, place: &Place) -> bool {
        let named = matches!(&place.host, Host::Name(name) if *name == self.host);
        named && self.port == place.port
    }
}

impl Secrets {
    pub fn new(uses: Vec<SecretUse>) -> Self {
        Self { uses, values: Mutex::default() }
    }

    /// Takes values over those that are there; of names that it does not know, none.
    pub fn give(&self, given: Vec<Given>) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        for it in given.into_iter().filter(|it| self.uses.iter().any(|one| one.name == it.name)) {
            values.retain(|old| old.name != it.name);
            values.push(it);
        }
    }

    /// Whether TLS to a place is opened, so that a secret can be put in.
    pub fn opens(&self, place: &Place) -> bool {
        self.uses.iter().any(|it| it.is_for(place) && it.opens_tls())
    }

    /// Puts values into the headers of a request to that place; an error says why it must not be sent. `foreign` = why
    /// who answers there may be somebody else on this machine, who gets none.
    pub fn put(
        &self,
        place: &Place,
        tls: bool,
        foreign: Option<Foreign>,
        headers: &mut HeaderMap,
    ) -> Result<Found, String> {
        let mut found = Found::default();
        if self.uses.is_empty() {
            return Ok(found);
        }
        for (name, value) in headers.iter_mut() {
            if !CREDENTIALS.contains(&name.as_str()) {
                found.notes.extend(self.in_other(name, value));
                continue;
            }
            let Some(fresh) = self.header(value.as_bytes(), (place, tls, foreign), &mut found)?
            else {
                continue;
            };
            let fresh = HeaderValue::from_maybe_shared(Bytes::from(fresh));
            *value = fresh.map_err(|_| {
                "what a secret was put into is no header: its value has to be plain characters in one line".to_owned()
            })?;
            value.set_sensitive(true);
        }
        Ok(found)
    }

    /// What to know of a placeholder in a header that gets no value.
    fn in_other(&self, name: &HeaderName, value: &HeaderValue) -> Option<String> {
        let of = self.uses.iter().filter(|it| !it.placeholder.is_empty());
        let it = of.into_iter().find(|it| find(value.as_bytes(), &it.placeholder).is_some())?;
        let name = shown(name.as_str(), NAME_SHOWN_BYTES);
        Some(format!("{} stands in the header {name}, where no secret is put in", it.name))
    }

    /// A header's value with all in it; `None` = as it is.
    fn header(
        &self,
        bytes: &[u8],
        to: (&Place, bool, Option<Foreign>),
        found: &mut Found,
    ) -> Result<Option<Vec<u8>>, String> {
        const BASIC: &[u8] = b"basic ";
        // One that stands there as it is needs no reading.
        let plain = find(bytes, PLACEHOLDER).is_some();
        if let Some((scheme, rest)) = bytes.split_at_checked(BASIC.len())
            && scheme.eq_ignore_ascii_case(BASIC)
            && !plain
            && let Some(pair) = READERS.iter().find_map(|it| it.decode(rest.trim_ascii()).ok())
        {
            let fresh = self.filled(&pair, to, found)?;
            return Ok(fresh.map(|it| [scheme, STANDARD.encode(it).as_bytes()].concat()));
        }
        if !plain {
            found.notes.extend(self.hidden_in(bytes));
        }
        self.filled(bytes, to, found)
    }

    /// What to know of a placeholder that stands in a credential so that it can't be filled.
    fn hidden_in(&self, bytes: &[u8]) -> Option<String> {
        let of = self.uses.iter().filter(|it| !it.placeholder.is_empty());
        let hidden = |it: &&SecretUse| in_base64(bytes, &encoded(&it.placeholder));
        let it = of.into_iter().find(hidden)?;
        let how = "in a form in which no secret is put in";
        Some(format!("{} stands in a credential {how}; write it as it is, or in Basic", it.name))
    }

    fn filled(
        &self,
        bytes: &[u8],
        (place, tls, foreign): (&Place, bool, Option<Foreign>),
        found: &mut Found,
    ) -> Result<Option<Vec<u8>>, String> {
        if find(bytes, PLACEHOLDER).is_none() {
            return Ok(None);
        }
        let mut out: Option<Vec<u8>> = None;
        for (at, it) in self.uses.iter().enumerate() {
            let before = self.uses.iter().take(at).any(|one| one.name == it.name);
            let now = out.as_deref().unwrap_or(bytes);
            if before || it.placeholder.is_empty() || find(now, &it.placeholder).is_none() {
                continue;
            }
            let mut same = self.uses.iter().filter(|one| one.name == it.name);
            if !same.clone().any(|one| one.is_for(place)) {
                let note = format!("a secret's placeholder was sent to {place}: {}", it.name);
                found.notes.push(note);
                continue;
            }
            if !same.any(|one| one.is_for(place) && one.goes_by(tls)) {
                let how = if tls { "in TLS" } else { "without TLS" };
                let note = format!("a secret's placeholder was sent to {place} {how}: {}", it.name);
                found.notes.push(note);
                continue;
            }
            if let Some(why) = foreign {
                let why = why.words();
                found.notes.push(format!("{place} gets no secret, for {why}: {}", it.name));
                continue;
            }
            let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
            let given = values.iter().find(|one| one.name == it.name);
            let given = given
                .ok_or_else(|| format!("nobody has given the value of {}: {AGAIN}", it.name))?;
            let fresh = replaced(now, &it.placeholder, given.value.expose());
            out = Some(fresh.ok_or_else(|| {
                format!("a header is longer than {GATE_WORDS_BYTES_MAX} bytes with its secret: send {} once", it.name)
            })?);
            found.put = true;
        }
        Ok(out)
    }

    /// What to know of placeholders that stand where no value is put: in an address of a request.
    pub fn in_address(&self, address: &str) -> Option<String> {
        let of = self.uses.iter().filter(|it| !it.placeholder.is_empty());
        let it = of.into_iter().find(|it| address.contains(&it.placeholder))?;
        Some(format!("{} stands in an address, where no secret is put in", it.name))
    }

    /// Whether one of them is for that place.
    pub fn has_one_for(&self, place: &Place) -> bool {
        self.uses.iter().any(|it| it.is_for(place))
    }

    /// Takes out of an answer's headers what its host was told, in every form in which it is known there.
    pub fn hide(&self, place: &Place, headers: &mut HeaderMap) {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        for it in self.uses.iter().filter(|it| it.is_for(place)) {
            let Some(given) = values.iter().find(|one| one.name == it.name) else { continue };
            let value = given.value.expose();
            let encoded = encoded(value);
            let small = value.to_ascii_lowercase();
            let told = |name: &&HeaderName| find(name.as_str().as_bytes(), &small).is_some();
            let names: Vec<HeaderName> = headers.keys().filter(told).cloned().collect();
            names.iter().for_each(|name| drop(headers.remove(name)));
            for (name, header) in headers.iter_mut() {
                if FRAMING.contains(name) {
                    continue;
                }
                if let Some(fresh) = replaced(header.as_bytes(), value, &it.placeholder) {
                    let fresh = HeaderValue::from_bytes(&fresh).ok();
                    *header = fresh.unwrap_or_else(|| HeaderValue::from_static(LEFT_OUT));
                }
                if find(header.as_bytes(), value).is_some()
                    || hides_in(header.as_bytes(), value, &encoded)
                {
                    *header = HeaderValue::from_static(LEFT_OUT);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

    use super::*;
    use crate::base::secret::Secret;

    fn secrets() -> Secrets {
        let mut one = SecretUse::parse("ONE=a.example").unwrap();
        one.placeholder = "sw-secret-1111".into();
        let mut two = SecretUse::parse("TWO=http://b.example:80").unwrap();
        two.placeholder = "sw-secret-2222".into();
        let secrets = Secrets::new(vec![one, two]);
        let given =
            |name: &str, value: &str| Given { name: name.into(), value: Secret::new(value.into()) };
        secrets.give(vec![given("ONE", "first-value"), given("TWO", "v"), given("NONE", "x")]);
        secrets
    }

    fn place(name: &str, port: u16) -> Place {
        Place { host: Host::Name(name.into()), port }
    }

    /// What becomes of one header.
    fn put(place: &Place, tls: bool, value: &str) -> (String, Found) {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_str(value).unwrap());
        let found = secrets().put(place, tls, None, &mut headers).unwrap();
        (headers["x-api-key"].to_str().unwrap().to_owned(), found)
    }

    #[test]
    fn a_value_takes_its_placeholder_s_place_only_on_the_way_to_its_host() {
        let a = place("a.example", 443);
        let (value, found) = put(&a, true, "Bearer sw-secret-1111");
        assert_eq!((value.as_str(), found.put), ("Bearer first-value", true));
        let basic = format!("BASIC {}", STANDARD.encode("user:sw-secret-1111"));
        let wanted = format!("BASIC {}", STANDARD.encode("user:first-value"));
        assert_eq!(put(&a, true, &basic).0, wanted);
        assert_eq!(put(&a, true, "sw-secret-1111,sw-secret-1111").0, "first-value,first-value");
        for user in ["u", "us", "use", "\u{fb}\u{ff}\u{fe}~?>"] {
            let (given, wanted) = (format!("{user}:sw-secret-1111"), format!("{user}:first-value"));
            for digits in [
                STANDARD_NO_PAD.encode(&given),
                URL_SAFE.encode(&given),
                URL_SAFE_NO_PAD.encode(&given),
            ] {
                let (value, found) = put(&a, true, &format!("Basic {digits}"));
                assert_eq!(
                    (value, found.put),
                    (format!("Basic {}", STANDARD.encode(&wanted)), true),
                    "{digits}"
                );
            }
        }
        // What was encoded already, or can't be read.
        assert_eq!(put(&a, true, "Basic sw-secret-1111").0, "Basic first-value");
        for odd in [
            format!("Basic {}!", STANDARD.encode("u:sw-secret-1111")),
            format!("Token {}", STANDARD.encode("sw-secret-1111")),
        ] {
            let (value, found) = put(&a, true, &odd);
            assert_eq!((value, found.put), (odd, false));
            assert!(found.notes[0].starts_with("ONE stands in a credential"), "{:?}", found.notes);
        }
        assert_eq!(put(&a, true, "Basic dXNlcjpwYXNzd29yZA==").1, Found::default());
        for (place, tls, value, note) in [
            (place("b.example", 80), false, "sw-secret-1111", "sent to b.example:80: ONE"),
            (place("a.example", 8443), true, "sw-secret-1111", "sent to a.example:8443: ONE"),
            (a.clone(), false, "sw-secret-1111", "a.example:443 without TLS: ONE"),
            (place("b.example", 80), true, "sw-secret-2222", "b.example:80 in TLS: TWO"),
            (place("x.a.example", 443), true, "sw-secret-1111", "x.a.example:443: ONE"),
        ] {
            let (out, found) = put(&place, tls, value);
            assert_eq!((out.as_str(), found.put), (value, false), "{place}");
            assert!(found.notes[0].contains(note), "{:?}", found.notes);
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_static("sw-secret-1111"));
        let found = secrets().put(&a, true, Some(Foreign::Sandbox), &mut headers).unwrap();
        assert!(!found.put && found.notes[0].contains("gets no secret"), "{:?}", found.notes);
        let elsewhere = Place { host: Host::Address([192, 0, 2, 1].into()), port: 443 };
        assert!(!put(&elsewhere, true, "sw-secret-1111").1.put);
        assert_eq!(put(&a, true, "sw-secret-9999").1, Found::default());
    }

    #[test]
    fn what_has_no_value_or_grows_without_end_is_not_sent_and_answers_tell_nothing() {
        let a = place("a.example", 443);
        let mut headers = HeaderMap::new();
        let many = "sw-secret-1111".repeat(4000);
        headers.insert("x-api-key", HeaderValue::from_str(&many).unwrap());
        assert!(secrets().put(&a, true, None, &mut headers).unwrap_err().contains("longer than"));
        let mut uses = vec![SecretUse::parse("ONE=a.example").unwrap()];
        uses[0].placeholder = "sw-secret-1111".into();
        headers.insert("x-api-key", HeaderValue::from_static("sw-secret-1111"));
        let why = Secrets::new(uses).put(&a, true, None, &mut headers).unwrap_err();
        assert!(why.contains("ONE"), "{why}");
        headers.insert("x", HeaderValue::from_static("you said first-value."));
        secrets().hide(&a, &mut headers);
        assert_eq!(headers["x"], "you said sw-secret-1111.");
        let note = secrets().in_address("/v1?key=sw-secret-1111").unwrap();
        assert!(note.starts_with("ONE stands"), "{note}");
    }

    #[test]
    fn only_headers_for_credentials_get_a_value() {
        let a = place("a.example", 443);
        for (name, put) in [
            ("authorization", true),
            ("X-Goog-Api-Key", true),
            ("anthropic-beta", false),
            ("proxy-authorization", false),
            ("cookie", false),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert(&name, HeaderValue::from_static("sw-secret-1111"));
            let found = secrets().put(&a, true, None, &mut headers).unwrap();
            let value = if put { "first-value" } else { "sw-secret-1111" };
            assert_eq!((headers[&name].to_str().unwrap(), found.put), (value, put), "{name}");
            assert_eq!(found.notes.len(), usize::from(!put), "{:?}", found.notes);
        }
    }

    #[test]
    fn an_answer_tells_a_value_in_no_other_form_and_keeps_its_frame() {
        let a = place("a.example", 443);
        let mut one = SecretUse::parse("ONE=a.example").unwrap();
        one.placeholder = "sw-secret-1111".into();
        let secrets = |value: &str| {
            let secrets = Secrets::new(vec![one.clone()]);
            secrets.give(vec![Given { name: "ONE".into(), value: Secret::new(value.to_owned()) }]);
            secrets
        };
        let value = "real/val+ue=42?";
        for (said, left_out) in [
            ("https://x/?k=real%2Fval%2Bue%3D42%3f".to_owned(), true),
            ("real%252Fval%252Bue%253D42%253F".to_owned(), true),
            (format!("Basic {}", STANDARD.encode(format!("user:{value}"))), true),
            (format!("Basic {}", STANDARD.encode(format!("u:{value}\n"))), true),
            (STANDARD.encode(format!("us:{value}")).replace('+', "-").replace('/', "_"), true),
            ("%2525252525".to_owned(), true),
            ("real%2Fval and 100%25".to_owned(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("location", HeaderValue::from_str(&said).unwrap());
            secrets(value).hide(&a, &mut headers);
            assert_eq!(headers["location"] == LEFT_OUT, left_out, "{said}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-echo-12345678", HeaderValue::from_static("x"));
        headers.insert("content-length", HeaderValue::from_static("12345678"));
        secrets("12345678").hide(&a, &mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["content-length"], "12345678");
    }
}
