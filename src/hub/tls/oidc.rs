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
    /// With their keys from their files, and what is wrong with one of those.
    pub(super) fn read(all: Vec<Issuer>) -> (Self, Option<Fault>) {
        let mut wrong = None;
        let known = all.into_iter().map(|said| {
            let keys = signed::keys(&said.keys).unwrap_or_else(|fault| {
                wrong.get_or_insert(fault);
                Vec::new()
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
        let name = claims.name();
        let Some(row) = row else {
            return Err(NotTaken::of("it is of nobody who may come").more(&name));
        };
        Ok(Standing::Good { member, name, role: row.role, until: held.until })
    }
}
