//! What a token of OpenID Connect says: a JWT that is signed. Hub and client read the same. Nothing here checks who made it:
//! that is done by the hub, before any of this is believed.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::{
    base::{
        clock::Timestamp,
        id::MemberId,
        limits::{TOKEN_BYTES_MAX, WHO_NAME_BYTES_MAX},
        text::{cut, hex},
    },
    model::member::{Fingerprint, is_in_names},
};

/// The last second of the year 9999.
const LATEST: f64 = 253_402_300_799.0;

/// One token, without its text.
#[derive(Debug)]
pub struct Token {
    /// How it says it is signed.
    pub algorithm: String,
    /// Which of the issuer's keys that was by.
    pub key: Option<String>,
    /// It has to be understood in ways that nobody here knows.
    pub critical: bool,
    /// So many bytes of the text are signed.
    pub signed: usize,
    pub signature: Vec<u8>,
    pub claims: Claims,
}

/// What a token says of whom it is for.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Claims(..)")
    }
}

/// There is something else where a time is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTime;

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl Token {
    /// Reads one; `None` when it is none, or is longer than `TOKEN_BYTES_MAX`.
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header = object(header)?;
        let key = match header.get("kid") {
            None => None,
            Some(Value::String(it)) => Some(it.clone()),
            Some(_) => return None,
        };
        Some(Self {
            algorithm: header.get("alg")?.as_str()?.to_owned(),
            key,
            critical: header.contains_key("crit"),
            signed: signed.len(),
            signature: BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?,
            claims: Claims(object(claims)?),
        })
    }
}

impl Claims {
    /// One that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Whether one is that text, or a list with that in it.
    pub fn has(&self, name: &str, text: &str) -> bool {
        match self.0.get(name) {
            Some(Value::String(it)) => it == text,
            Some(Value::Array(all)) => all.iter().any(|it| it.as_str() == Some(text)),
            _ => false,
        }
    }

    /// Whether they are who a row means. An address of mail is somebody's only if the issuer has seen that it is.
    pub fn are(&self, name: &str, text: &str) -> bool {
        self.has(name, text) && (name != "email" || self.has_seen_email())
    }

    fn has_seen_email(&self) -> bool {
        self.0.get("email_verified") == Some(&Value::Bool(true))
    }

    /// A time; what is something else is never taken for nothing.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, NoTime> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|it| (0.0..=LATEST).contains(it)).ok_or(NoTime)?;
        Ok(Some(Timestamp((seconds * 1000.0) as i64)))
    }

    /// Made of what stays from one token to the next: who gave it out, and whom that knows. It can't be that of somebody with
    /// a certificate.
    pub fn member(&self) -> Option<MemberId> {
        let (issuer, subject) = (self.text("iss")?, self.text("sub").filter(|it| !it.is_empty())?);
        let length = (issuer.len() as u64).to_be_bytes();
        let sum = Fingerprint::of(&[&length, issuer.as_bytes(), subject.as_bytes()].concat());
        MemberId::parse(&format!("token-{}", hex(sum.bytes().get(..12)?)))
    }

    /// What they are called. Names that people choose for themselves are none that look like an address of mail, and nothing
    /// deceives.
    pub fn name(&self) -> String {
        let email = self.text("email").filter(|_| self.has_seen_email());
        let chosen = self.text("preferred_username").filter(|it| !it.contains('@'));
        let subject = self.text("sub").map(|it| it.replace('@', "_"));
        let all = [email, chosen, subject.as_deref()].into_iter().flatten().map(plain);
        all.into_iter().find(|it| !it.is_empty()).unwrap_or_else(|| "nobody".to_owned())
    }
}

fn plain(text: &str) -> String {
    let all: String = text.chars().map(|it| if is_in_names(it) { it } else { '_' }).collect();
    cut(all.trim(), WHO_NAME_BYTES_MAX).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn part(it: &Value) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(it.to_string())
    }

    fn claims(it: Value) -> Claims {
        let text = format!("{}.{}.AAAA", part(&json!({"alg": "ES256", "kid": "k"})), part(&it));
        let token = Token::read(&text).unwrap();
        assert_eq!((token.algorithm.as_str(), token.key.as_deref()), ("ES256", Some("k")));
        assert_eq!(
            (token.signed, token.signature.len(), token.critical),
            (text.len() - 5, 3, false)
        );
        token.claims
    }

    #[test]
    fn who_somebody_is_stays_and_what_they_are_called_does_not_deceive() {
        let one = claims(json!({"iss": "https://a", "sub": "7", "exp": 1}));
        let later = claims(json!({"iss": "https://a", "sub": "7", "exp": 2, "email": "x"}));
        assert_eq!(one.member(), later.member());
        assert!(one.member().unwrap().as_str().starts_with("token-"));
        // What ends where is no matter of taste.
        let other = claims(json!({"iss": "https://a7", "sub": ""}));
        assert_eq!(other.member(), None);
        assert_ne!(
            claims(json!({"iss": "https://a7", "sub": "1"})).member(),
            claims(json!({"iss": "https://a", "sub": "71"})).member()
        );
        let name = |it: Value| claims(it).name();
        assert_eq!(name(json!({"email": "a@b", "email_verified": true, "sub": "7"})), "a@b");
        for seen in [json!(false), json!("true"), json!(1), json!(null)] {
            let it = json!({"email": "a@b", "email_verified": seen, "sub": "7"});
            assert_eq!(name(it.clone()), "7");
            assert!(!claims(it).are("email", "a@b"));
        }
        assert_eq!(name(json!({"preferred_username": "al", "sub": "7"})), "al");
        assert_eq!(name(json!({"preferred_username": "a@b", "sub": "7"})), "7");
        assert_eq!(name(json!({"sub": "a (certificate)\u{202e}\n"})), "a _certificate___");
        assert_eq!(name(json!({"sub": " "})), "nobody");
        assert_eq!(name(json!({"sub": "ä".repeat(400)})).len(), WHO_NAME_BYTES_MAX);
    }

    #[test]
    fn claims_are_texts_lists_and_times_and_nothing_is_taken_for_another() {
        let it = claims(
            json!({"groups": ["a", 7, "b"], "aud": "x", "exp": 12.5, "nbf": "1", "iat": -1, "n": 7}),
        );
        assert!(it.has("groups", "b") && it.has("aud", "x") && it.are("groups", "a"));
        assert!(
            !it.has("groups", "7") && !it.has("n", "7") && !it.has("aud", "") && !it.has("y", "x")
        );
        assert_eq!(it.time("exp"), Ok(Some(Timestamp(12_500))));
        assert_eq!(it.time("none"), Ok(None));
        for bad in ["nbf", "iat", "groups"] {
            assert_eq!(it.time(bad), Err(NoTime));
        }
        assert!(!format!("{it:?}").contains("groups"));
    }

    #[test]
    fn what_is_no_token_is_none() {
        let header = part(&json!({"alg": "ES256"}));
        let body = part(&json!({"sub": "7"}));
        assert!(Token::read(&format!("{header}.{body}.")).is_some());
        let critical = part(&json!({"alg": "ES256", "crit": ["b64"], "b64": false}));
        assert!(Token::read(&format!("{critical}.{body}.AAAA")).unwrap().critical);
        for bad in [
            String::new(),
            "..".to_owned(),
            format!("{header}.{body}"),
            format!("{header}.{body}.AAAA.AAAA"),
            format!("{header}.{body}.AAAA="),
            format!("{header}.{body}.AA+A"),
            format!(" {header}.{body}.AAAA"),
            format!("{}.{body}.AAAA", part(&json!({"alg": 7}))),
            format!("{}.{body}.AAAA", part(&json!({"alg": "ES256", "kid": 7}))),
            format!("{header}.{}.AAAA", part(&json!(["sub"]))),
            format!("{header}.{body}.{}", "A".repeat(TOKEN_BYTES_MAX)),
        ] {
            assert!(Token::read(&bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in ".{0,300}", parts in prop::collection::vec(".{0,60}", 0..4)) {
            drop(Token::read(&text));
            let encoded: Vec<_> = parts.iter().map(|it| BASE64_URL_SAFE_NO_PAD.encode(it)).collect();
            drop(Token::read(&encoded.join(".")));
        }

        #[test]
        fn no_claims_break_what_is_made_of_them(sub in ".{0,300}", name in ".{0,300}", exp in any::<f64>()) {
            let it = claims(json!({"iss": "https://a", "sub": sub, "preferred_username": name, "exp": exp}));
            let shown = it.name();
            prop_assert!(!shown.is_empty() && shown.len() <= WHO_NAME_BYTES_MAX);
            prop_assert!(shown.chars().all(is_in_names) && shown.trim() == shown);
            drop((it.member(), it.time("exp")));
        }
    }
}
