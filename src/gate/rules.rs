//! What may go out without a person: `--allow` of the sandbox, and policy.toml as it is when something wants to go out.

use std::{path::PathBuf, sync::Arc};

use super::reach::Place;
use crate::{
    base::{clock, fault::Fault},
    config::{policy, source},
    model::ask::{AskKind, Request},
    policy::rules::{self, Rule, Ruling, Subject},
};

/// What `--allow` is called where a rule is named.
pub const ALLOW: &str = "--allow";

/// What the rules say of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub ruling: Ruling,
    /// Whose word it is, in words; `None` = no rule knows it.
    pub by: Option<String>,
    /// A rule names this very host, and not only those that are called alike.
    pub named: bool,
}

/// The rules in force. A file that can't be read leaves those before it.
pub struct Rules {
    file: PathBuf,
    workspace: PathBuf,
    own: Vec<Rule>,
    /// What was read last, good or bad.
    text: Option<String>,
    all: Arc<Vec<Rule>>,
}

impl Rules {
    /// `allow` has `HOST` and `HOST:PORT`.
    pub fn new(file: PathBuf, workspace: PathBuf, allow: &[String]) -> Self {
        let own = allow.iter().map(|it| {
            let (host, port) = rules::host_and_port(it);
            let subject = Subject::Host(host, port);
            let why = format!("{ALLOW} {it}");
            Rule { id: ALLOW.to_owned(), ruling: Ruling::Allow, subject, why, until: None }
        });
        let own: Vec<Rule> = own.collect();
        Self { file, workspace, all: Arc::new(own.clone()), own, text: None }
    }

    /// Those of the file as it is now, and those of the sandbox.
    fn now(&mut self) -> Arc<Vec<Rule>> {
        let name = self.file.display().to_string();
        let read = source::read(&self.file);
        let text = match read {
            Ok(text) if text == self.text => return Arc::clone(&self.all),
            Ok(text) => text,
            Err(fault) => {
                tracing::warn!(%fault, "the rules stay as they were");
                return Arc::clone(&self.all);
            }
        };
        let rules = text.as_deref().map_or(Ok(Vec::new()), |it| {
            policy::rules(&name, it).map_err(|flaws| {
                Fault::invalid(flaws.first().map(ToString::to_string).unwrap_or_default())
            })
        });
        match rules {
            Ok(rules) => self.all = Arc::new(rules.into_iter().chain(self.own.clone()).collect()),
            Err(fault) => tracing::warn!(%fault, "the rules stay as they were"),
        }
        self.text = text;
        Arc::clone(&self.all)
    }

    pub fn judge(&mut self, place: &Place) -> Said {
        let request = request(place, None);
        let all = self.now();
        let now = clock::wall();
        let judged = rules::judge(&all, &request, &self.workspace, now);
        let exact =
            |it: &&Rule| matches!(&it.subject, Subject::Host(name, _) if !name.starts_with("*."));
        let exact: Vec<Rule> = all.iter().filter(exact).cloned().collect();
        let named = rules::judge(&exact, &request, &self.workspace, now);
        let by = judged.by.first().map(|it| match it.id.as_str() {
            ALLOW => it.why.clone(),
            id => format!("rule {id}: {}", it.why),
        });
        let named = !named.by.is_empty() && named.ruling == judged.ruling;
        Said { ruling: judged.ruling, by, named }
    }
}

/// What a person is asked. Whom the program is, is part of it: what one may, another may not.
pub fn request(place: &Place, program: Option<&str>) -> Request {
    let details = program.map(|it| ("program".to_owned(), it.to_owned()));
    Request {
        kind: AskKind::Network,
        subject: place.to_string(),
        details: details.into_iter().collect(),
        reason: None,
        agent: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::reach::Host;

    #[test]
    fn the_file_counts_as_it_is_now_and_a_broken_one_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.toml");
        let allow = ["files.example:443".to_owned(), "*.mirror.example".to_owned()];
        let mut rules = Rules::new(file.clone(), "/w".into(), &allow);
        let place = |name: &str, port| Place { host: Host::Name(name.into()), port };
        let mut said = |name: &str, port| {
            let said = rules.judge(&place(name, port));
            (said.ruling, said.named)
        };
        assert_eq!(said("files.example", 443), (Ruling::Allow, true));
        assert_eq!(said("files.example", 80), (Ruling::Ask, false));
        assert_eq!(said("a.mirror.example", 80), (Ruling::Allow, false));
        let rule =
            "[[rule]]\nid = \"no\"\nverdict = \"deny\"\nhost = \"files.example\"\nwhy = \"so\"\n";
        std::fs::write(&file, rule).unwrap();
        assert_eq!(said("files.example", 443), (Ruling::Deny, true));
        std::fs::write(&file, "[[rule]]\nid = 1").unwrap();
        assert_eq!(said("files.example", 443), (Ruling::Deny, true));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(said("files.example", 443), (Ruling::Allow, true));
    }
}
