//! What `[[hub.oidc]]` in config.toml says: issuers whose tokens let in who is in a table, where their keys lie, and where a
//! client has its own token from.

use std::path::PathBuf;

use super::{
    load::{each, string, wanted, word},
    source::{Item, Name, Node, Source},
    team::whole_path,
};
use crate::{
    base::limits::{CLAIM_BYTES_MAX, ISSUER_BYTES_MAX, OIDC_MAX, OIDC_WHO_MAX, WHO_NAME_BYTES_MAX},
    model::member::{Role, is_in_names},
};

const ISSUER_KEYS: &[&str] = &["issuer", "audience", "keys", "who"];
const WHO_KEYS: &[&str] = &["claim", "is", "role"];

/// An issuer whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// As its tokens have it in `iss`, letter for letter.
    pub issuer: String,
    /// What has to be among `aud` of a token: whom it was given out for.
    pub audience: String,
    /// Its public keys, as JSON.
    pub keys: PathBuf,
    /// Who may come; the first row that fits one counts.
    pub who: Vec<Holder>,
}

/// Who may come by a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name of what is looked at in a token: a text, or a list of texts.
    pub claim: String,
    /// What that has to be, or to have in it, letter for letter.
    pub is: String,
    pub role: Role,
}

/// By what a hub is known that takes tokens, and where one's own comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFiles {
    /// Whose certificate the hub has.
    pub authority: PathBuf,
    pub from: TokenFrom,
}

/// Where a token comes from, each time one is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFrom {
    /// By its whole path.
    File(PathBuf),
    /// A program and what it is told, which prints one.
    Command(Vec<String>),
}

/// Reads all issuers.
pub(super) fn issuers(source: &mut Source<'_>, item: &Item) -> Option<Vec<Issuer>> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "tables, each about an issuer: [[hub.oidc]]");
        return None;
    };
    if items.len() > OIDC_MAX {
        source.flaw(item.span.clone(), format!("at most {OIDC_MAX} issuers"));
        return None;
    }
    let mut all: Vec<Issuer> = Vec::new();
    for item in items {
        source.reads("hub.oidc");
        let (mut issuer, mut audience, mut keys, mut who) = (None, None, None, Vec::new());
        each(source, item, |source, key: &Name, item| match key.text.as_str() {
            "issuer" => issuer = address(source, item),
            "audience" => audience = text(source, item, ISSUER_BYTES_MAX),
            "keys" => keys = whole_path(source, item),
            "who" => who = holders(source, item).unwrap_or_default(),
            _ => source.unknown("a setting of `hub.oidc`", key, ISSUER_KEYS.iter().copied()),
        });
        let (Some(issuer), Some(audience), Some(keys)) = (issuer, audience, keys) else {
            let words = "an issuer has `issuer`, `audience` and `keys`, a file";
            source.flaw(item.span.clone(), words);
            continue;
        };
        if all.iter().any(|it| it.issuer == issuer && it.audience == audience) {
            let words = format!("`{issuer}` is there twice for `{audience}`");
            source.flaw(item.span.clone(), words);
        }
        all.push(Issuer { issuer, audience, keys, who });
    }
    Some(all)
}

/// Reads who may come by tokens of one issuer.
fn holders(source: &mut Source<'_>, item: &Item) -> Option<Vec<Holder>> {
    let Node::List(items) = &item.node else {
        let words = "tables, each with a `claim`, what it `is`, and a `role`: [[hub.oidc.who]]";
        wanted(source, item, words);
        return None;
    };
    if items.len() > OIDC_WHO_MAX {
        source.flaw(item.span.clone(), format!("at most {OIDC_WHO_MAX} may come"));
        return None;
    }
    let mut all: Vec<Holder> = Vec::new();
    for item in items {
        source.reads("hub.oidc.who");
        let (mut claim, mut is, mut role) = (None, None, None);
        each(source, item, |source, key: &Name, item| match key.text.as_str() {
            "claim" => claim = text(source, item, CLAIM_BYTES_MAX),
            "is" => is = text(source, item, WHO_NAME_BYTES_MAX),
            "role" => {
                let words = Role::ALL.iter().map(|it| it.word());
                role = word(source, item, words, Role::from_word);
            }
            _ => source.unknown("a setting of `hub.oidc.who`", key, WHO_KEYS.iter().copied()),
        });
        let (Some(claim), Some(is), Some(role)) = (claim, is, role) else {
            let words = "who may come has a `claim`, what it `is`, and a `role`";
            source.flaw(item.span.clone(), words);
            continue;
        };
        if all.iter().any(|it| it.claim == claim && it.is == is) {
            source.flaw(item.span.clone(), format!("`{claim}` `{is}` is there twice"));
        }
        all.push(Holder { claim, is, role });
    }
    Some(all)
}

/// A text that can be seen, of at most so many bytes.
fn text(source: &mut Source<'_>, item: &Item, most: usize) -> Option<String> {
    let text = string(source, item)?;
    let fits = !text.is_empty() && text.len() <= most && text.trim() == text;
    // Parentheses are no name of the hub's here.
    if !fits || !text.chars().all(|it| is_in_names(it) || "()".contains(it)) {
        let words = format!("a text here is 1 to {most} bytes, and nothing that can't be seen");
        source.flaw(item.span.clone(), words);
        return None;
    }
    Some(text)
}

/// Of an issuer: its documents lie below it.
fn address(source: &mut Source<'_>, item: &Item) -> Option<String> {
    let text = text(source, item, ISSUER_BYTES_MAX)?;
    let rest = text.strip_prefix("https://").unwrap_or_default();
    if rest.is_empty() || rest.starts_with('/') || rest.contains(['?', '#', ' ']) {
        let words = "an issuer is an address such as \"https://login.example.org\", exactly as its tokens have it in `iss`";
        source.flaw(item.span.clone(), words);
        return None;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    const FILES: &str = "[hub]\ncertificate = \"/etc/hub.pem\"\nkey = \"/etc/hub.key\"\n";
    const ISSUER: &str = "[[hub.oidc]]\nissuer = \"https://login.example.org/team\"\naudience = \"sandwatch\"\nkeys = \"/etc/keys.json\"\n";

    fn flaws(text: &str) -> String {
        let flaws = load::config("c.toml", text).unwrap_err();
        flaws.iter().map(|it| format!("{it}\n")).collect()
    }

    fn row(claim: &str, is: &str, role: &str) -> String {
        format!("[[hub.oidc.who]]\nclaim = \"{claim}\"\nis = \"{is}\"\nrole = \"{role}\"\n")
    }

    #[test]
    fn issuers_have_a_table_each_of_who_may_come() {
        let other = ISSUER.replace("team", "other");
        let text = format!(
            "{FILES}{ISSUER}{}{}{other}{}",
            row("email", "alice@example.org", "admin"),
            row("groups", "ops (all)", "operator"),
            row("sub", "7", "viewer")
        );
        let hub = load::config("c.toml", &text).unwrap().hub;
        assert!(hub.team().is_none() && hub.shown().is_some());
        let [one, two] = &hub.oidc[..] else { panic!("{hub:?}") };
        assert_eq!(
            (one.issuer.as_str(), one.audience.as_str()),
            ("https://login.example.org/team", "sandwatch")
        );
        assert_eq!(
            one.who[1],
            Holder { claim: "groups".into(), is: "ops (all)".into(), role: Role::Operator }
        );
        assert_eq!((one.who.len(), two.who.len()), (2, 1));
        // Nobody yet.
        assert!(
            load::config("c.toml", &format!("{FILES}{ISSUER}")).unwrap().hub.oidc[0].who.is_empty()
        );
    }

    #[test]
    fn half_an_issuer_and_what_could_deceive_are_flaws() {
        assert!(flaws(ISSUER).contains("named together: who comes by a token"));
        assert!(flaws(&format!("[hub]\nkey = \"/k\"\n{ISSUER}")).contains("named together"));
        let one = |from: &str, to: &str| flaws(&format!("{FILES}{}", ISSUER.replace(from, to)));
        for bad in ["http://x", "https://", "https:///x", "https://x?y", "https://x y", "x"] {
            assert!(one("https://login.example.org/team", bad).contains("an issuer is"), "{bad}");
        }
        assert!(one("/etc/keys", "keys").contains("whole path"));
        assert!(one("audience", "audienze").contains("did you mean `audience`?"));
        assert!(one("sandwatch", "").contains("a text here"));
        assert!(one("keys = ", "# ").contains("`issuer`, `audience` and `keys`"));
        assert!(flaws(&format!("{FILES}{ISSUER}{ISSUER}")).contains("there twice"));
        assert!(flaws(&format!("{FILES}{}", ISSUER.repeat(OIDC_MAX + 1))).contains("at most 8"));
        assert!(flaws("[hub]\noidc = 1\n").contains("[[hub.oidc]]"));
        let rows = |rows: &str| flaws(&format!("{FILES}{ISSUER}{rows}"));
        let twice = row("sub", "a", "viewer").repeat(2);
        assert!(rows(&twice).contains("there twice"));
        assert!(rows(&row("sub", "a", "boss")).contains("viewer, operator, admin"));
        assert!(rows(&row("", "a", "viewer")).contains("a text here"));
        assert!(rows(&row("sub", "a\\u202eb", "viewer")).contains("a text here"));
        assert!(
            rows(&row("sub", &"x".repeat(WHO_NAME_BYTES_MAX + 1), "viewer"))
                .contains("a text here")
        );
        assert!(rows("[[hub.oidc.who]]\nclaim = \"sub\"\n").contains("what it `is`"));
        assert!(rows("who = 1\n").contains("[[hub.oidc.who]]"));
    }
}
