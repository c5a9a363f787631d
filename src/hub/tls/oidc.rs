//! Who comes by a token: of which issuers one is taken, whom it is of, and what that is worth now.

use super::signed::{self, Key};
use crate::{
    base::{
        clock::Timestamp,
        fault::Fault,
        limits::{LINE_BYTES_MAX, TOKEN_LEEWAY, TOKEN_LIFE_MAX},
        text::shown,
    },
    config::oidc::Issuer,
    model::member::Refused,
    runtime::access::Standing,
    wire::token::{Claims, Token},
};

/// An issuer with its keys; without any it lets nobody in.
struct Known {
    said: Issuer,
    keys: Vec<Key>,
}

/// All whose tokens are taken.
#[derive(Default)]
pub(super) struct Issuers(Vec<Known>);

/// What is kept of a token that was found good: not the token.
pub(super) struct Held {
    claims: Claims,
    key: Key,
    until: Timestamp,
}

/// Why one is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotTaken {
    pub(super) why: Refused,
    /// For whoever has shown it, and for the record.
    pub(super) said: &'static str,
    /// For the record alone, safe to show.
    more: String,
}

impl NotTaken {
    pub(super) fn of(said: &'static str) -> Self {
        Self { why: Refused::Token, said, more: String::new() }
    }

    fn because(self, why: Refused) -> Self {
        Self { why, ..self }
    }

    fn more(self, text: &str) -> Self {
        Self { more: format!(": {}", shown(text, LINE_BYTES_MAX)), ..self }
    }

    /// For the record. Nothing of the token's text is in it.
    pub(super) fn words(&self) -> String {
        format!("a token that is not taken: {}{}", self.said, self.more)
    }

    pub(super) fn fault(&self) -> Fault {
        Fault::denied(format!("the hub does not take your token: {}", self.said))
            .hint("sandwatch context ls --json says where it comes from; who may come is in [[hub.oidc]] of that hub's config.toml")
    }
}

const NO_TOKEN: &str = "it is none";

fn leeway() -> i64 {
    i64::try_from(TOKEN_LEEWAY.as_millis()).unwrap_or_default()
}

impl Issuers {
    /// With their keys from their files, and what is wrong with one of those: then it has the keys that it had `before`.
    pub(super) fn read(all: Vec<Issuer>, before: Option<&Self>) -> (Self, Option<Fault>) {
        let mut wrong = None;
        let known = all.into_iter().map(|said| {
            let keys = signed::keys(&said.keys).unwrap_or_else(|fault| {
                wrong.get_or_insert(fault);
                let mut had = before.into_iter().flat_map(|it| &it.0);
                let had = had.find(|it| it.said.issuer == said.issuer && it.said.keys == said.keys);
                had.map(|it| it.keys.clone()).unwrap_or_default()
            });
            Known { said, keys }
        });
        let known = known.collect();
        (Self(known), wrong)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a token is good now, and until when at most.
    pub(super) fn take(&self, text: &str, now: Timestamp) -> Result<Held, NotTaken> {
        let token = Token::read(text).ok_or_else(|| NotTaken::of(NO_TOKEN))?;
        let issuer = token.claims.text("iss").unwrap_or_default();
        let of_issuer: Vec<_> = self.0.iter().filter(|it| it.said.issuer == issuer).collect();
        if of_issuer.is_empty() {
            let other = NotTaken::of("it is of another issuer").because(Refused::Issuer);
            return Err(other.more(issuer));
        }
        let meant = of_issuer.into_iter().filter(|it| token.claims.has("aud", &it.said.audience));
        let meant: Vec<_> = meant.collect();
        if meant.is_empty() {
            return Err(NotTaken::of("it is not for this hub, by its `aud`"));
        }
        let (mut key, mut wrong) = (None, "");
        for it in meant {
            match signed::signer(&it.keys, &token, text) {
                Ok(it) => key = key.or(Some(it.clone())),
                Err(why) => wrong = why,
            }
        }
        let key = key.ok_or_else(|| NotTaken::of(wrong))?;
        let no_time = |_| NotTaken::of("it has a time that is none");
        let ends = token.claims.time("exp").map_err(no_time)?;
        let ends = ends.ok_or_else(|| NotTaken::of("it does not say until when it is good"))?;
        let begins = token.claims.time("nbf").map_err(no_time)?;
        let until = Timestamp(ends.0.saturating_add(leeway()));
        if until <= now {
            return Err(NotTaken::of("it has expired").because(Refused::Expired));
        }
        if begins.is_some_and(|it| it.0.saturating_sub(leeway()) > now.0) {
            return Err(NotTaken::of("it is not good yet").because(Refused::Expired));
        }
        let life = i64::try_from(TOKEN_LIFE_MAX.as_millis()).unwrap_or(i64::MAX);
        let until = until.min(Timestamp(now.0.saturating_add(life)));
        Ok(Held { claims: token.claims, key, until })
    }

    /// What one that was found good is worth by what holds now.
    pub(super) fn standing(&self, held: &Held) -> Result<Standing, NotTaken> {
        let claims = &held.claims;
        let member = claims.member().ok_or_else(|| NotTaken::of("it is of nobody: no `sub`"))?;
        let mut known = self.0.iter().filter(|it| {
            claims.text("iss") == Some(it.said.issuer.as_str())
                && claims.has("aud", &it.said.audience)
                && it.keys.contains(&held.key)
        });
        let row = known.find_map(|it| it.said.who.iter().find(|it| claims.are(&it.claim, &it.is)));
        let name = self.name(claims);
        let Some(row) = row else {
            return Err(NotTaken::of("it is of nobody who may come").more(&name));
        };
        Ok(Standing::Good { member, name, role: row.role, until: held.until })
    }

    /// What somebody is called; where there are several issuers, by whom: one may say of anybody what another does.
    fn name(&self, claims: &Claims) -> String {
        let (name, issuer) = (claims.name(), claims.text("iss").unwrap_or_default());
        if self.0.iter().all(|it| it.said.issuer == issuer) {
            return name;
        }
        format!("{name} of {}", issuer.trim_start_matches("https://"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn issuer(issuer: &str, keys: &Path) -> Issuer {
        let (issuer, audience) = (issuer.to_owned(), "hub".to_owned());
        Issuer { issuer, audience, keys: keys.to_owned(), who: Vec::new() }
    }

    fn claims(text: &str) -> Claims {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
        let part = |it: &str| BASE64_URL_SAFE_NO_PAD.encode(it);
        Token::read(&format!("{}.{}.AAAA", part("{\"alg\":\"EdDSA\"}"), part(text))).unwrap().claims
    }

    #[test]
    fn keys_that_can_not_be_read_are_those_of_before_where_they_are_to_count() {
        let temp = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|it| temp.path().join(it));
        std::fs::write(&one, KEYS).unwrap();
        std::fs::write(&two, KEYS).unwrap();
        let said = || vec![issuer("https://a", &one), issuer("https://b", &two)];
        let (all, wrong) = Issuers::read(said(), None);
        assert!(wrong.is_none());
        std::fs::write(&one, "{").unwrap();
        let count = |it: &Issuers| it.0.iter().map(|it| it.keys.len()).collect::<Vec<_>>();
        let (again, wrong) = Issuers::read(said(), Some(&all));
        assert!(wrong.is_some());
        assert_eq!(count(&again), [1, 1]);
        assert_eq!(count(&Issuers::read(said(), None).0), [0, 1]);
        // The keys of another are nobody's.
        let other = vec![issuer("https://c", &one)];
        assert_eq!(count(&Issuers::read(other, Some(&all)).0), [0]);
    }

    #[test]
    fn where_there_are_several_it_is_told_by_which_one_somebody_comes() {
        let none = Path::new("/none");
        let alice = claims(r#"{"iss": "https://a/x", "sub": "alice@a"}"#);
        let (one, _) = Issuers::read(vec![issuer("https://a/x", none)], None);
        assert_eq!(one.name(&alice), "alice_a");
        let both = vec![issuer("https://a/x", none), issuer("https://b", none)];
        assert_eq!(Issuers::read(both, None).0.name(&alice), "alice_a of a/x");
    }
}
