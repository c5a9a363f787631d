//! A credential that a sandbox may use and never sees: its programs have a placeholder, and on the way out to one host
//! the value takes its place.

use std::net::Ipv4Addr;

use super::{host, sandbox::words};
use crate::base::{
    fault::{Fault, Outcome},
    limits::{SECRET_VALUE_BYTES_MAX, SECRET_VALUE_BYTES_MIN},
    secret::Secret,
    text::hex,
};

/// How every placeholder begins.
pub const PLACEHOLDER: &str = "sw-secret-";
/// The one name without a dot that is a host's.
const LOCAL: &str = "localhost";

/// Where well-known credentials are for.
const USUAL: [(&str, &str); 11] = [
    ("ANTHROPIC_API_KEY", "api.anthropic.com"),
    ("ANTHROPIC_AUTH_TOKEN", "api.anthropic.com"),
    ("CLAUDE_CODE_OAUTH_TOKEN", "api.anthropic.com"),
    ("OPENAI_API_KEY", "api.openai.com"),
    ("GEMINI_API_KEY", "generativelanguage.googleapis.com"),
    ("GOOGLE_API_KEY", "generativelanguage.googleapis.com"),
    ("GITHUB_TOKEN", "api.github.com"),
    ("GH_TOKEN", "api.github.com"),
    ("MISTRAL_API_KEY", "api.mistral.ai"),
    ("GROQ_API_KEY", "api.groq.com"),
    ("OPENROUTER_API_KEY", "openrouter.ai"),
];

words! {
    /// In what a secret travels.
    Speech {
        /// Only in TLS.
        Tls = "tls",
        /// Only in plain HTTP.
        Plain = "http",
        /// In whichever the program speaks: no network lies between.
        Either = "any",
    }
}

/// One host to which one secret goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    /// The variable that programs have it in.
    pub name: String,
    /// The name of a host, as names are compared.
    pub host: String,
    pub port: u16,
    pub speech: Speech,
    /// What stands for it in the sandbox; empty until the sandbox is made.
    pub placeholder: String,
}

/// A value, on its way to whoever puts it in. It is kept in no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub name: String,
    pub value: Secret,
}

impl SecretUse {
    /// `NAME`, `NAME=HOST` or `NAME=HOST:PORT`, with `http://` before the host for one that is spoken to without TLS.
    /// An error says what is wrong with it, and repeats nothing of it that may be a value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, place) = match text.split_once('=') {
            Some((name, place)) => (name, Some(place)),
            None => (text, None),
        };
        if !is_name(name) {
            return Err("expected NAME[=HOST[:PORT]] with the name of a variable".to_owned());
        }
        let usual = USUAL.iter().find(|it| it.0 == name).map(|it| it.1);
        let place = place
            .or(usual)
            .ok_or_else(|| "nobody knows here which host it is for: write NAME=HOST".to_owned())?;
        let (plain, place) = match place.split_once("://") {
            Some(("http", rest)) => (true, rest),
            Some(("https", rest)) => (false, rest),
            Some(_) => return Err("expected http:// or https:// or nothing".to_owned()),
            None => (false, place),
        };
        let found = host::pattern(place).filter(|(host, _)| is_one_name(host));
        let (host, port) = found.ok_or_else(|| {
            "expected one host by its name, with a dot in it: no address, no *, no path behind it, \
             and no value, which is taken from the environment"
                .to_owned()
        })?;
        let port = port.unwrap_or(if plain { 80 } else { 443 });
        let speech = match (plain, port, host.as_str()) {
            (true, ..) | (_, 80, _) => Speech::Plain,
            (_, _, host::THIS_MACHINE) => Speech::Either,
            _ => Speech::Tls,
        };
        Ok(Self { name: name.to_owned(), host, port, speech, placeholder: String::new() })
    }

    /// As `parse` reads it.
    pub fn text(&self) -> String {
        let before = if self.speech == Speech::Plain { "http://" } else { "" };
        format!("{}={before}{}", self.name, self.place())
    }

    /// For people: where it goes.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether TLS to that host is opened on the way.
    pub fn opens_tls(&self) -> bool {
        self.speech != Speech::Plain
    }

    /// Whether it may travel so.
    pub fn goes_by(&self, tls: bool) -> bool {
        match self.speech {
            Speech::Tls => tls,
            Speech::Plain => !tls,
            Speech::Either => true,
        }
    }
}

/// Whether it is one of the names that are known here. Any other may be a value that was written in a name's place.
pub fn is_usual(name: &str) -> bool {
    USUAL.iter().any(|it| it.0 == name)
}

/// Whether a text can be the name of a variable that a shell knows.
pub fn is_name(text: &str) -> bool {
    let start = text.bytes().next().is_some_and(|it| it.is_ascii_alphabetic() || it == b'_');
    start && text.len() <= 256 && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
}

/// Whether it names one host, and not by its address. What has no dot may be a value that was written in its place.
pub fn is_one_name(host: &str) -> bool {
    let whole = host.contains('.') || host == LOCAL;
    whole && host::name_of(host).is_some_and(|it| it == host && it.parse::<Ipv4Addr>().is_err())
}

/// Whether it is a placeholder, as `placeholder` makes them.
pub fn is_placeholder(text: &str) -> bool {
    let digits = text.strip_prefix(PLACEHOLDER);
    digits.is_some_and(|it| it.len() == 32 && it.bytes().all(|it| it.is_ascii_hexdigit()))
}

/// One from 16 random bytes.
pub fn placeholder(random: [u8; 16]) -> String {
    format!("{PLACEHOLDER}{}", hex(&random))
}

/// Refuses values that can't be put into a request; the words have none of them.
pub fn good(given: &[Given]) -> Outcome<()> {
    match given.iter().find_map(|it| Some((it, flaw(&it.value)?))) {
        Some((it, why)) => {
            Err(Fault::invalid(format!("the value of {} can't be used: {why}", it.name)))
        }
        None => Ok(()),
    }
}

/// Why a value can't be put into a request; `None` when it can. The value itself is never in the words.
pub fn flaw(value: &Secret) -> Option<String> {
    let value = value.expose();
    if value.is_empty() {
        return Some("it is empty".to_owned());
    }
    if value.len() < SECRET_VALUE_BYTES_MIN {
        // So short a one stands in answers by chance, and can be guessed.
        return Some(format!("it is shorter than {SECRET_VALUE_BYTES_MIN} bytes"));
    }
    if value.len() > SECRET_VALUE_BYTES_MAX {
        return Some(format!("it is longer than {SECRET_VALUE_BYTES_MAX} bytes"));
    }
    let good = value.bytes().all(|it| it.is_ascii_graphic() || it == b' ');
    (!good || value.trim() != value).then(|| {
        "it has more than plain characters in one line, and is to stand in a header".into()
    })
}

/// Where a value was written for a host that is meant to get it.
pub fn misplaced<'a>(uses: &'a [SecretUse], given: &[Given]) -> Option<&'a str> {
    let is_value =
        |it: &&SecretUse| given.iter().any(|one| one.value.expose().eq_ignore_ascii_case(&it.host));
    uses.iter().find(is_value).map(|it| it.name.as_str())
}

/// What a program finds in its environment in place of each.
pub fn variables(uses: &[SecretUse]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for it in uses {
        if !found.iter().any(|(name, _)| *name == it.name) {
            found.push((it.name.clone(), it.placeholder.clone()));
        }
    }
    found
}

/// Those that a value is missing for.
pub fn lacking<'a>(uses: &'a [SecretUse], given: &[Given]) -> Vec<&'a str> {
    let mut names: Vec<&str> = uses.iter().map(|it| it.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !given.iter().any(|it| it.name == *name));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_one_host_that_is_named_or_well_known() {
        for (text, place, speech) in [
            ("OPENAI_API_KEY", "api.openai.com:443", Speech::Tls),
            ("OPENAI_API_KEY=Proxy.Example.", "proxy.example:443", Speech::Tls),
            ("KEY=a.example:8443", "a.example:8443", Speech::Tls),
            ("KEY=https://a.example", "a.example:443", Speech::Tls),
            ("KEY=a.example:80", "a.example:80", Speech::Plain),
            ("KEY=http://a.example:8080", "a.example:8080", Speech::Plain),
            ("KEY=host.internal:8787", "host.internal:8787", Speech::Either),
        ] {
            let it = SecretUse::parse(text).unwrap();
            assert_eq!((it.place().as_str(), it.speech), (place, speech), "{text}");
            assert_eq!(SecretUse::parse(&it.text()), Ok(it));
        }
        for bad in [
            "KEY",
            "",
            "=a.example",
            "A-B=a.example",
            "KEY=",
            "KEY=*.example",
            "KEY=192.0.2.1",
            "KEY=[::1]:80",
            "KEY=ftp://a.example",
            "KEY=https://a.example/x",
            "KEY=a.example:0",
            "KEY=ghp_AbCd0123",
            "KEY=https://ghp_AbCd0123:443",
            "ghp_AbCd0123",
            "AKIAABCD0123",
            "AKIAABCD0123=AKIAABCD0123",
        ] {
            let why = SecretUse::parse(bad).unwrap_err();
            assert!(!why.to_uppercase().contains("ABCD"), "{why}");
        }
        assert!(SecretUse::parse("KEY=localhost:8080").is_ok());
    }

    #[test]
    fn a_value_stands_in_one_line_and_is_in_no_words() {
        let of = |it: &str| flaw(&Secret::new(it.to_owned()));
        assert_eq!(of("sk-ant-x_1.2/3+4="), None);
        for bad in [
            "",
            "7-bytes",
            "a\nb-c-d-e",
            "a-b-c-d-e\r",
            "\u{e4}-b-c-d-e",
            " a-b-c-d-e",
            &"x".repeat(SECRET_VALUE_BYTES_MAX + 1),
        ] {
            let words = of(bad).unwrap();
            assert!(bad.len() < 3 || !words.contains(bad), "{words}");
        }
        assert_eq!(format!("{:?}", Secret::new("x1".into())), "Secret(..)");
        assert!(is_placeholder(&placeholder([7; 16])) && !is_placeholder(PLACEHOLDER));
    }

    #[test]
    fn one_name_may_go_to_several_hosts_and_has_one_value() {
        let mut uses: Vec<_> = ["K=a.example", "K=b.example", "L=b.example"]
            .map(|it| SecretUse::parse(it).unwrap())
            .into();
        uses.iter_mut().for_each(|it| it.placeholder = format!("p{}", it.name));
        let wanted = [("K".to_owned(), "pK".to_owned()), ("L".to_owned(), "pL".to_owned())];
        assert_eq!(variables(&uses), wanted);
        let given = [Given { name: "K".into(), value: Secret::new("v".into()) }];
        assert_eq!(lacking(&uses, &given), ["L"]);
        assert_eq!(misplaced(&uses, &given), None);
        let given = [Given { name: "K".into(), value: Secret::new("B.Example".into()) }];
        assert_eq!(misplaced(&uses, &given), Some("K"));
    }
}
