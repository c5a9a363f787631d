//! What may go out without a person: `--allow` of the sandbox, and policy.toml as it is when something wants to go out.

use std::{
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::sync::{Semaphore, watch};

use super::{
    locked,
    looks::aside,
    noted::Word,
    reach::{Host, Place},
};
use crate::{
    base::clock::{self, Timestamp},
    config::{
        policy::domain::{joined, understood},
        source,
    },
    model::{
        ask::{AskKind, Request},
        host as names,
        rule::Domain,
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
    /// Whose word it is; `None` = no rule knows it.
    pub by: Option<Word>,
    /// A rule names this very host, and not only those that are called alike.
    pub named: bool,
    /// It is the word of a rule about requests.
    pub of_request: bool,
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
    /// Those for all, and those for its directory; none = there are none but those of the sandbox.
    files: Vec<(Domain, PathBuf)>,
    workspace: PathBuf,
    own: Vec<Rule>,
    last: Mutex<Last>,
    /// Had by the one who looks at the file, on a thread of its own: a disk may be slow.
    places: Arc<Semaphore>,
    /// Told when they have become others.
    changed: watch::Sender<()>,
}

/// What the last look found.
#[derive(Clone)]
struct Last {
    /// Of each file.
    seen: Vec<Seen>,
    read: Vec<Arc<InForce>>,
    /// Of all.
    rules: Arc<Snapshot>,
    /// When the next of them ends by itself.
    ends: Option<Timestamp>,
}

/// The rules as one look at the file found them: what is decided at once is decided by one of these.
pub struct Snapshot {
    /// Those that name a host before those that name all below one: of several, the first is named.
    all: InForce,
    workspace: PathBuf,
}

impl Rules {
    /// `allow` has `HOST` and `HOST:PORT`, and so has `model`.
    pub fn new(
        files: Vec<(Domain, PathBuf)>,
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
        let own: Vec<Rule> = named.chain(of_model).collect();
        let rules = Snapshot::new(InForce::default(), &own, &workspace);
        let (seen, read) = files.iter().map(|_| (Seen::Nothing, Arc::default())).unzip();
        let last = Last { seen, read, rules: Arc::new(rules), ends: None };
        Self {
            files,
            workspace,
            own,
            last: Mutex::new(last),
            places: Arc::new(Semaphore::new(1)),
            changed: watch::Sender::default(),
        }
    }

    /// Told each time they have become others.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// As somebody looked at them last.
    pub fn last(&self) -> Arc<Snapshot> {
        Arc::clone(&locked(&self.last).rules)
    }

    /// As they are now. Where the file can't be looked at in time, nothing is let out by them.
    pub async fn now(self: &Arc<Self>) -> Arc<Snapshot> {
        if self.files.is_empty() {
            return self.last();
        }
        let rules = Arc::clone(self);
        let looked = aside(&self.places, move || rules.look()).await;
        looked.unwrap_or_else(|| Arc::new(self.snapshot(self.last().all.in_doubt())))
    }

    fn snapshot(&self, file: InForce) -> Snapshot {
        Snapshot::new(file, &self.own, &self.workspace)
    }

    /// Reads those files again that are others.
    fn look(&self) -> Arc<Snapshot> {
        let before = locked(&self.last).clone();
        let now = clock::wall();
        let seen: Vec<Seen> = self.files.iter().map(|it| seen(&it.1)).collect();
        let same = before.seen == seen;
        if same && before.ends.is_none_or(|it| now < it) {
            return before.rules;
        }
        let files = self.files.iter().zip(&seen).zip(before.seen.iter().zip(&before.read));
        let read: Vec<Arc<InForce>> = files
            .map(
                |((file, now), (then, read))| {
                    if now == then { Arc::clone(read) } else { again(file, read) }
                },
            )
            .collect();
        let rules = if same {
            before.rules
        } else {
            let all = read.iter().fold(InForce::default(), |all, it| joined(&all, it));
            Arc::new(self.snapshot(all))
        };
        let ends = rules.all.iter().filter_map(|it| it.until).filter(|it| now < *it).min();
        *locked(&self.last) = Last { seen, read, rules: Arc::clone(&rules), ends };
        self.changed.send_replace(());
        rules
    }
}

impl Snapshot {
    /// Those of a file that are about what goes out, and `own`.
    fn new(file: InForce, own: &[Rule], workspace: &Path) -> Self {
        let InForce { rules, whole } = file;
        let about = |it: &Rule| {
            matches!(it.subject, Subject::Host(..) | Subject::Request(..)) && it.id != ALLOW
        };
        let of_file = rules.into_iter().filter(about);
        let mut rules: Vec<Rule> = of_file.chain(own.iter().cloned()).collect();
        rules.sort_by_key(|it| !names_one(it));
        Self { all: InForce { rules, whole }, workspace: workspace.to_owned() }
    }

    /// Whether all that the file says is known.
    pub fn is_whole(&self) -> bool {
        self.all.whole
    }

    /// What they say of a place, whatever is asked there. `whole` = all that they deny is known.
    pub fn judge(&self, place: &Place) -> Said {
        self.said(&request(place, None))
    }

    /// Whose word denies a place, by its name or by the address that the name means.
    pub fn denied(&self, place: &Place, address: Option<IpAddr>) -> Option<Word> {
        let by_address = address.map(|it| Place { host: Host::Address(it), port: place.port });
        [Some(place), by_address.as_ref()].into_iter().flatten().find_map(|it| {
            let said = self.judge(it);
            said.by.filter(|_| said.ruling == Ruling::Deny)
        })
    }

    /// Whether what they let out to a place may go on: all of it, or, where not `whole`, some requests. In doubt it may,
    /// for nothing was taken back.
    pub fn let_out(&self, place: &Place, whole: bool) -> bool {
        let said = self.judge(place);
        let all = said.ruling == Ruling::Allow && (place.kept().is_none() || said.named);
        let some = || self.about_requests(place).iter().any(|it| it.0 == Ruling::Allow);
        all || !self.all.whole || (!whole && some())
    }

    /// What they say of one request there.
    pub fn judge_request(&self, place: &Place, method: &str, path: &str) -> Said {
        let mut request = request(place, None);
        let details = [(http::METHOD, method), (http::PATH, path)];
        request.details.extend(details.map(|(key, it)| (key.to_owned(), it.to_owned())));
        self.said(&request)
    }

    /// The rules about requests to a place, by what they say.
    pub fn about_requests(&self, place: &Place) -> Vec<(Ruling, Word)> {
        let target = host::read(&place.to_string());
        let now = clock::wall();
        let about = self.all.iter().filter(|it| {
            let named = matches!(&it.subject, Subject::Request(name, port, _) if target.perhaps(name, *port));
            named && it.until.is_none_or(|it| now < it)
        });
        about.map(|it| (it.ruling, word(&[it]))).collect()
    }

    fn said(&self, request: &Request) -> Said {
        let now = clock::wall();
        let judged = rules::judge(&self.all, request, &self.workspace, now);
        let named = judged.by.first().is_some_and(names_one);
        let about = judged.by.first().map(|it| &it.subject);
        let of_request = matches!(about, Some(Subject::Request(..)));
        let by: Vec<&Rule> = judged.by.iter().collect();
        let by = (!by.is_empty()).then(|| word(&by));
        let whole = self.all.whole;
        match judged.ruling {
            // It may be denied by what can't be read.
            Ruling::Allow if !whole => {
                Said { ruling: Ruling::Ask, by: None, named, of_request, whole }
            }
            ruling => Said { ruling, by, named, of_request, whole },
        }
    }
}

/// Their word: the first one's, for a person.
fn word(rules: &[&Rule]) -> Word {
    let words = rules.first().map(|it| match it.id.as_str() {
        ALLOW => it.why.clone(),
        id => format!("rule {id}: {}", it.why),
    });
    let of_files = rules.iter().filter(|it| it.id != ALLOW);
    Word { words: words.unwrap_or_default(), rules: of_files.map(|it| it.id.clone()).collect() }
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

/// What a file says now; or, where that can't be understood, what is left of what it said.
fn again((domain, path): &(Domain, PathBuf), before: &InForce) -> Arc<InForce> {
    let name = path.display().to_string();
    let read = source::read(path).and_then(|it| understood(domain, &name, it.as_deref()));
    Arc::new(match read {
        Ok(rules) => InForce { rules, whole: true },
        Err(fault) => {
            tracing::warn!(%fault, "nothing is let out by rules until they can be read");
            before.in_doubt()
        }
    })
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

    #[test]
    fn the_file_counts_as_it_is_now_and_a_broken_one_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.toml");
        let allow = ["files.example:443".to_owned(), "*.mirror.example".to_owned()];
        let rules = Rules::new(vec![(Domain::All, file.clone())], "/w".into(), &allow, &[]);
        let place = |name: &str, port| Place { host: Host::Name(name.into()), port };
        let said = |name: &str, port| {
            let said = rules.look().judge(&place(name, port));
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
        let rules = Rules::new(
            vec![(Domain::All, file.clone())],
            "/w".into(),
            &["a.example".to_owned()],
            &[],
        );
        let place = Place { host: Host::Name("a.example".into()), port: 80 };
        let said = rules.look().judge(&place);
        assert!(said.ruling == Ruling::Ask && !said.whole);
        std::fs::write(&file, "").unwrap();
        assert_eq!(rules.look().judge(&place).ruling, Ruling::Allow);
    }

    #[test]
    fn a_look_that_comes_to_no_end_lets_nothing_out_and_forbids_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.toml");
        let rule = |id: &str, verdict: &str, host: &str| {
            format!(
                "[[rule]]\nid = \"{id}\"\nverdict = \"{verdict}\"\nhost = \"{host}\"\nwhy = \"so\"\n"
            )
        };
        let text = rule("no", "deny", "shut.example") + &rule("yes", "allow", "open.example");
        std::fs::write(&file, text).unwrap();
        let rules = Arc::new(Rules::new(
            vec![(Domain::All, file)],
            "/w".into(),
            &["a.example".to_owned()],
            &[],
        ));
        let said = |rules: &Snapshot| {
            ["shut.example", "open.example", "a.example"].map(|name| {
                let place = Place { host: Host::Name(name.into()), port: 80 };
                rules.judge(&place).ruling
            })
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            use Ruling::{Allow, Ask, Deny};
            assert_eq!(said(&*rules.now().await), [Deny, Allow, Allow]);
            rules.places.close();
            let now = rules.now().await;
            assert_eq!((said(&now), now.is_whole()), ([Deny, Ask, Ask], false));
        });
    }

    #[test]
    fn rules_for_its_directory_count_beside_those_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let (all, own) = (dir.path().join("policy.toml"), dir.path().join("own.toml"));
        let files = vec![(Domain::All, all.clone()), (Domain::Project("/w".into()), own.clone())];
        let rules = Rules::new(files, "/w".into(), &[], &[]);
        let said = |name: &str| {
            let said = rules.look().judge(&Place { host: Host::Name(name.into()), port: 80 });
            (said.ruling, said.by)
        };
        let rule = |id: &str, verdict: &str, host: &str| {
            format!(
                "[[rule]]\nid = \"{id}\"\nverdict = \"{verdict}\"\nhost = \"{host}\"\nwhy = \"so\"\n"
            )
        };
        let of = |workspace: &str, rules: &str| format!("workspace = \"{workspace}\"\n{rules}");
        let both = rule("a", "allow", "a.example") + &rule("b", "deny", "b.example");
        std::fs::write(&own, of("/w", &both)).unwrap();
        assert_eq!(said("a.example").0, Ruling::Allow);
        assert!(said("a.example").1.is_some_and(|it| it.to_string().contains("project:a")));
        assert_eq!(said("b.example").0, Ruling::Deny);
        // What is denied for all is denied here, too.
        std::fs::write(&all, rule("no", "deny", "a.example")).unwrap();
        assert_eq!(said("a.example").0, Ruling::Deny);
        std::fs::remove_file(&all).unwrap();
        // That one says nothing that counts here; what it denied before holds on.
        std::fs::write(&own, of("/other", &both)).unwrap();
        assert_eq!((said("a.example").0, said("b.example").0), (Ruling::Ask, Ruling::Deny));
        std::fs::remove_file(&own).unwrap();
        assert_eq!((said("a.example").0, said("b.example").0), (Ruling::Ask, Ruling::Ask));
    }

    #[test]
    fn it_is_told_when_a_rule_ends_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.toml");
        std::fs::write(&file, "").unwrap();
        let rules = Rules::new(vec![(Domain::All, file.clone())], "/w".into(), &[], &[]);
        rules.look();
        let mut changes = rules.changes();
        rules.look();
        assert!(!changes.has_changed().unwrap());
        locked(&rules.last).ends = Some(Timestamp(1));
        rules.look();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        rules.look();
        assert!(!changes.has_changed().unwrap());
    }
}
