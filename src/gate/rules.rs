//! What may go out without a person: `--allow` of the sandbox, and policy.toml as it is when something wants to go out.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tokio::sync::watch;

use super::reach::Place;
use crate::{
    base::{clock, fault::Outcome},
    config::{policy, source},
    model::{
        ask::{AskKind, Request},
        host as names,
    },
    policy::{
        host, http,
        rules::{self, InForce, Rule, Ruling, Subject},
    },
};

/// What `--allow` is called where a rule is named.
pub const ALLOW: &str = "--allow";
/// What lets an agent reach its model is called.
const MODEL: &str = "its agent's model";

/// What the rules say of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub ruling: Ruling,
    /// Whose word it is, in words; `None` = no rule knows it.
    pub by: Option<String>,
    /// A rule names this very host, and not only those that are called alike.
    pub named: bool,
    /// `false` = the file says something that can't be understood, and may deny anything.
    pub whole: bool,
}

/// What was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    NoFile,
    /// Device, number, length, and when it was written and changed.
    File(u64, u64, u64, i64, i64, i64),
}

/// The rules in force. A file that can't be read leaves what those before it deny and ask, and lets nothing out: not by
/// `--allow` either, for it may deny that.
pub struct Rules {
    /// `None` = there are none but those of the sandbox.
    file: Option<PathBuf>,
    workspace: PathBuf,
    own: Vec<Rule>,
    seen: Seen,
    /// Those that name a host before those that name all below one: of several, the first is named.
    all: InForce,
    /// Told when they have become others.
    changed: watch::Sender<()>,
}

impl Rules {
    /// `allow` has `HOST` and `HOST:PORT`, and so has `model`.
    pub fn new(
        file: Option<PathBuf>,
        workspace: PathBuf,
        allow: &[String],
        model: &[String],
    ) -> Self {
        let rule = |it: &String, why: String| {
            let (host, port) = names::pattern(it)?;
            let subject = Subject::Host(host, port);
            Some(Rule { id: ALLOW.to_owned(), ruling: Ruling::Allow, subject, why, until: None })
        };
        let named = allow.iter().filter_map(|it| rule(it, format!("{ALLOW} {it}")));
        let of_model = model.iter().filter_map(|it| rule(it, format!("{MODEL}: {it}")));
        let own = named.chain(of_model);
        let mut rules = Self {
            file,
            workspace,
            own: own.collect(),
            seen: Seen::Nothing,
            all: InForce::default(),
            changed: watch::Sender::default(),
        };
        rules.take(InForce::default());
        rules
    }

    fn take(&mut self, file: InForce) {
        let InForce { rules, whole } = file;
        let about = |it: &Rule| {
            matches!(it.subject, Subject::Host(..) | Subject::Request(..)) && it.id != ALLOW
        };
        let mut rules: Vec<Rule> =
            rules.into_iter().filter(about).chain(self.own.clone()).collect();
        rules.sort_by_key(|it| !names_one(it));
        self.all = InForce { rules, whole };
    }

    /// Told each time they have become others.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Reads the file again if it is another one.
    pub fn look(&mut self) {
        let Some(file) = self.file.clone() else { return };
        let seen = seen(&file);
        if self.seen == seen {
            return;
        }
        match read(&file) {
            Ok(rules) => self.take(InForce { rules, whole: true }),
            Err(fault) => {
                tracing::warn!(%fault, "nothing is let out by rules until they can be read");
                self.take(self.all.in_doubt());
            }
        }
        self.seen = seen;
        self.changed.send_replace(());
    }

    /// What they say of a place, whatever is asked there. `whole` = all that they deny is known.
    pub fn judge(&mut self, place: &Place) -> Said {
        self.said(request(place, None))
    }

    /// What they say of one request there.
    pub fn judge_request(&mut self, place: &Place, method: &str, path: &str) -> Said {
        let mut request = request(place, None);
        let details = [(http::METHOD, method), (http::PATH, path)];
        request.details.extend(details.map(|(key, it)| (key.to_owned(), it.to_owned())));
        self.said(request)
    }

    /// The rules about requests to a place, by what they say.
    pub fn about_requests(&mut self, place: &Place) -> Vec<(Ruling, String)> {
        self.look();
        let target = host::read(&place.to_string());
        let now = clock::wall();
        let about = self.all.iter().filter(|it| {
            let named = matches!(&it.subject, Subject::Request(name, port, _) if target.perhaps(name, *port));
            named && it.until.is_none_or(|it| now < it)
        });
        about.map(|it| (it.ruling, format!("rule {}: {}", it.id, it.why))).collect()
    }

    fn said(&mut self, request: Request) -> Said {
        self.look();
        let now = clock::wall();
        let judged = rules::judge(&self.all, &request, &self.workspace, now);
        let named = judged.by.first().is_some_and(names_one);
        let by = judged.by.first().map(|it| match it.id.as_str() {
            ALLOW => it.why.clone(),
            id => format!("rule {id}: {}", it.why),
        });
        let whole = self.all.whole;
        match judged.ruling {
            // It may be denied by what can't be read.
            Ruling::Allow if !whole => Said { ruling: Ruling::Ask, by: None, named, whole },
            ruling => Said { ruling, by, named, whole },
        }
    }
}

/// Whether it names a host, and not only those that are called alike.
fn names_one(rule: &Rule) -> bool {
    match &rule.subject {
        Subject::Host(name, _) | Subject::Request(name, ..) => !name.starts_with("*."),
        _ => false,
    }
}

fn seen(file: &Path) -> Seen {
    let Ok(it) = std::fs::metadata(file) else { return Seen::NoFile };
    Seen::File(it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec(), it.ctime_nsec())
}

fn read(file: &Path) -> Outcome<Vec<Rule>> {
    let name = file.display().to_string();
    let Some(text) = source::read(file)? else { return Ok(Vec::new()) };
    policy::rules(&name, &text).map_err(|it| source::fault(&it))
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
        let mut rules = Rules::new(Some(file.clone()), "/w".into(), &allow, &[]);
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
        assert_eq!(said("a.mirror.example", 80), (Ruling::Ask, false));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(said("files.example", 443), (Ruling::Allow, true));
    }

    #[test]
    fn rules_that_were_never_read_let_nothing_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.toml");
        std::fs::write(&file, "[[rule]]\nid = 1").unwrap();
        let mut rules = Rules::new(Some(file.clone()), "/w".into(), &["a.example".to_owned()], &[]);
        let place = Place { host: Host::Name("a.example".into()), port: 80 };
        let said = rules.judge(&place);
        assert!(said.ruling == Ruling::Ask && !said.whole);
        std::fs::write(&file, "").unwrap();
        assert_eq!(rules.judge(&place).ruling, Ruling::Allow);
    }
}
