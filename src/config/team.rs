//! What `[hub]` in config.toml says of a team: its authority, what the hub shows to who comes by it, and who may.

use std::path::PathBuf;

use super::{
    load::{each, string, wanted, word},
    schema::HubConfig,
    source::{Item, Name, Node, Source},
};
use crate::{
    base::limits::{WHO_MAX, WHO_NAME_BYTES_MAX},
    model::member::{Role, is_in_names},
};

const WHO_KEYS: &[&str] = &["name", "role"];

/// Files about certificates, all in PEM, each by its whole path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamFiles {
    /// Whose certificates are trusted; one or more.
    pub authority: PathBuf,
    /// What is shown, with all that stands between it and an authority.
    pub certificate: PathBuf,
    /// The key of that.
    pub key: PathBuf,
}

/// Somebody who may come by a certificate of the team's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The common name of its subject or one of its other names, letter for letter.
    pub name: String,
    pub role: Role,
}

/// What a hub shows to who comes by its team, in PEM, each by its whole path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl HubConfig {
    /// What it shows to its team.
    pub fn shown(&self) -> Option<ShownFiles> {
        Some(ShownFiles { certificate: self.certificate.clone()?, key: self.key.clone()? })
    }

    /// The files of the team; `None` where there is none.
    pub fn team(&self) -> Option<TeamFiles> {
        Some(TeamFiles {
            authority: self.client_ca.clone()?,
            certificate: self.certificate.clone()?,
            key: self.key.clone()?,
        })
    }
}

/// Whether a name can stand for somebody: 1 to `WHO_NAME_BYTES_MAX` bytes that are shown as they are, and no parentheses,
/// which are the hub's.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= WHO_NAME_BYTES_MAX
        && text.trim() == text
        && text.chars().all(is_in_names)
}

/// A file by its whole path.
pub(super) fn whole_path(source: &mut Source<'_>, item: &Item) -> Option<PathBuf> {
    let path = PathBuf::from(string(source, item)?);
    if !path.is_absolute() {
        source.flaw(item.span.clone(), "a file is named by its whole path here");
        return None;
    }
    Some(path)
}

/// Reads the table of who may come.
pub(super) fn who(source: &mut Source<'_>, item: &Item) -> Option<Vec<Who>> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "tables, each with a `name` and a `role`: [[hub.who]]");
        return None;
    };
    if items.len() > WHO_MAX {
        source.flaw(item.span.clone(), format!("at most {WHO_MAX} may come"));
        return None;
    }
    let mut all: Vec<Who> = Vec::new();
    for item in items {
        source.reads("hub.who");
        let (mut name, mut role) = (None, None);
        each(source, item, |source, key: &Name, item| match key.text.as_str() {
            "name" => name = named(source, item),
            "role" => {
                let words = Role::ALL.iter().map(|it| it.word());
                role = word(source, item, words, Role::from_word);
            }
            _ => source.unknown("a setting of `hub.who`", key, WHO_KEYS.iter().copied()),
        });
        let (Some(name), Some(role)) = (name, role) else {
            source.flaw(item.span.clone(), "who may come has a `name` and a `role`");
            continue;
        };
        if all.iter().any(|it| it.name == name) {
            source.flaw(item.span.clone(), format!("`{name}` is there twice"));
        }
        all.push(Who { name, role });
    }
    Some(all)
}

fn named(source: &mut Source<'_>, item: &Item) -> Option<String> {
    let text = string(source, item)?;
    if !is_name(&text) {
        let words = format!(
            "a name here is 1 to {WHO_NAME_BYTES_MAX} bytes, without parentheses and what can't be seen"
        );
        source.flaw(item.span.clone(), words);
        return None;
    }
    Some(text)
}

/// What is there of it has to be all of it.
pub(super) fn whole(source: &mut Source<'_>, item: &Item, hub: &HubConfig) {
    let half = hub.certificate.is_some() != hub.key.is_some();
    let by_certificate = hub.client_ca.is_some() || !hub.who.is_empty();
    let words = if (by_certificate && hub.team().is_none()) || (half && hub.oidc.is_empty()) {
        "for a team `client_ca`, `certificate` and `key` are named together: who comes by its authority knows the hub by it"
    } else if !hub.oidc.is_empty() && hub.shown().is_none() {
        "with `oidc`, `certificate` and `key` are named together: who comes by a token knows the hub by them"
    } else {
        return;
    };
    source.flaw(item.span.clone(), words);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    const FILES: &str = "[hub]\nclient_ca = \"/etc/ca.pem\"\ncertificate = \"/etc/hub.pem\"\nkey = \"/etc/hub.key\"\n";

    fn flaws(text: &str) -> String {
        let flaws = load::config("c.toml", text).unwrap_err();
        flaws.iter().map(|it| format!("{it}\n")).collect()
    }

    #[test]
    fn a_team_has_an_authority_and_a_table_of_who_may_come() {
        let text = format!(
            "{FILES}[[hub.who]]\nname = \"Alice Ångström\"\nrole = \"operator\"\n\
             [[hub.who]]\nname = \"spiffe://team/bob\"\nrole = \"viewer\"\n"
        );
        let hub = load::config("c.toml", &text).unwrap().hub;
        assert_eq!(hub.team().unwrap().authority.to_str(), Some("/etc/ca.pem"));
        let who: Vec<_> = hub.who.iter().map(|it| (it.name.as_str(), it.role)).collect();
        assert_eq!(who, [("Alice Ångström", Role::Operator), ("spiffe://team/bob", Role::Viewer)]);
        assert!(load::config("c.toml", FILES).unwrap().hub.who.is_empty());
    }

    #[test]
    fn half_a_team_and_names_that_could_deceive_are_flaws() {
        assert!(flaws("[hub]\nclient_ca = \"/etc/ca.pem\"\n").contains("named together"));
        assert!(flaws("[hub]\ncertificate = \"/etc/hub.pem\"\n").contains("named together"));
        assert!(flaws(&FILES.replace("/etc/hub.key", "hub.key")).contains("whole path"));
        let row = |name: &str, role: &str| {
            format!("{FILES}[[hub.who]]\nname = \"{name}\"\nrole = \"{role}\"\n")
        };
        assert!(flaws(&row("alice", "boss")).contains("viewer, operator, admin"));
        let long = "x".repeat(WHO_NAME_BYTES_MAX + 1);
        for bad in ["", " a", "a (certificate)", "a\\n", "a\\u202eb", long.as_str()] {
            assert!(flaws(&row(bad, "viewer")).contains("a name here"), "{bad:?}");
        }
        assert!(flaws(&format!("{FILES}[[hub.who]]\nname = \"a\"\n")).contains("a `role`"));
        let twice = row("a", "viewer") + "[[hub.who]]\nname = \"a\"\nrole = \"admin\"\n";
        assert!(flaws(&twice).contains("`a` is there twice"));
        assert!(flaws("[[hub.who]]\nname = \"a\"\nrole = \"admin\"\n").contains("named together"));
        assert!(flaws("[hub]\nwho = 1\n").contains("[[hub.who]]"));
    }
}
