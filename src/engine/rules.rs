//! The rules in policy.toml, and those for one directory alone. A file is read for every ask, and taken apart when it
//! says something else.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;

use super::{Inner, audit::words, turns::Turn};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{PROJECTS_MAX, RULES_WITHIN},
        text::hex,
    },
    config::{
        paths::Paths,
        policy::{
            self,
            domain::{OF_PROJECT, joined, understood},
        },
        source,
    },
    model::{
        audit::{Act, Action},
        event::Level,
        rule::{Domain, RuleName},
        sandbox::{Workspace, WorkspaceMode},
    },
    policy::rules::InForce,
};

/// Letters of a directory's name in that of its file.
const NAMED_LETTERS: usize = 24;

/// The rules in force. A file that can't be read leaves what those before it deny and ask, and allows nothing.
#[derive(Default)]
pub(super) struct Rules {
    /// Held by whoever reads or changes such a file, to the end of that: nothing is decided by rules that the audit record
    /// does not know yet.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Of whatever is done with one of the files.
    pub files: Turn,
    /// Of looking through all of them, which takes longer.
    pub listing: Turn,
    states: Mutex<BTreeMap<PathBuf, State>>,
    /// What a hub before wrote into the audit record last, of each file.
    noted: BTreeMap<String, Noted>,
}

/// What the audit record says of a file: the action, and the hash of the file if there was one.
type Noted = (String, Option<String>);

#[derive(Clone, Default)]
struct State {
    rules: Arc<InForce>,
    /// What was read last, good or bad; `None` = there was no file, or it could not be read.
    text: Option<String>,
    /// What was told of it.
    told: Option<String>,
    noted: Option<Noted>,
}

impl Rules {
    /// With what a hub before wrote into the audit record last.
    pub(super) fn since(acts: &[Act]) -> Self {
        let noted = |it: &Act| {
            let noted = (it.action.clone(), it.text("sha256").map(str::to_owned));
            (it.subject.clone(), noted)
        };
        Self { noted: acts.iter().map(noted).collect(), ..Self::default() }
    }

    /// The turn at all files. One that hangs while it is changed has it for as long as it hangs.
    pub(super) async fn turn(&self) -> Outcome<OwnedMutexGuard<()>> {
        let turn = tokio::time::timeout(RULES_WITHIN, Arc::clone(&self.turn).lock_owned()).await;
        turn.map_err(|_| Fault::late("a change of rules that was begun takes too long"))
    }

    /// The text of a file of rules; `None` when there is none.
    pub(super) async fn text(&self, path: &Path) -> Outcome<Option<String>> {
        let (doing, path) = (format!("reading {}", path.display()), path.to_owned());
        self.files.within(RULES_WITHIN, &doing, move || source::read(&path)).await
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<PathBuf, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The rules for a sandbox with this workspace, as the files have them now. While a change hangs they allow nothing.
    pub(super) async fn rules(&self, workspace: &Workspace) -> Arc<InForce> {
        let Ok(_turn) = self.rules.turn().await else {
            return Arc::new(self.rules_in_doubt(workspace));
        };
        let all = self.read_rules(&Domain::All).await;
        if workspace.mode == WorkspaceMode::None {
            return all;
        }
        let of_it = self.read_rules(&Domain::Project(workspace.path.clone())).await;
        if of_it.is_empty() && of_it.whole {
            return all;
        }
        Arc::new(joined(&all, &of_it))
    }

    /// What is left of those that were read last.
    fn rules_in_doubt(&self, workspace: &Workspace) -> InForce {
        let states = self.rules.states();
        let left = |domain: &Domain| {
            let last = states.get(&self.rule_file(domain)).map(|it| it.rules.in_doubt());
            last.unwrap_or_else(|| InForce::default().in_doubt())
        };
        let all = left(&Domain::All);
        match workspace.mode {
            WorkspaceMode::None => all,
            _ => joined(&all, &left(&Domain::Project(workspace.path.clone()))),
        }
    }

    /// The file of these.
    pub(super) fn rule_file(&self, domain: &Domain) -> PathBuf {
        file_of(&self.paths, domain)
    }

    /// Those of one file; for whoever has the turn.
    pub(super) async fn read_rules(&self, domain: &Domain) -> Arc<InForce> {
        let path = self.rule_file(domain);
        let (name, read) = (path.display().to_string(), self.rules.text(&path).await);
        let (rules, news, act) = {
            let mut states = self.rules.states();
            if states.len() > PROJECTS_MAX {
                let own = self.paths.policy();
                states.retain(|it, _| *it == own || *it == path);
            }
            let state = states.entry(path).or_insert_with(|| State {
                noted: self.rules.noted.get(&name).cloned(),
                ..State::default()
            });
            let now = match read {
                Ok(text) if text == state.text && state.told.is_none() => {
                    return Arc::clone(&state.rules);
                }
                Ok(text) => {
                    let rules = understood(domain, &name, text.as_deref());
                    state.text = text;
                    rules
                }
                Err(fault) => {
                    state.text = None;
                    Err(fault)
                }
            };
            let fault = match now {
                Ok(rules) => {
                    state.rules = Arc::new(InForce { rules, whole: true });
                    None
                }
                Err(fault) => {
                    state.rules = Arc::new(state.rules.in_doubt());
                    Some(fault.to_string())
                }
            };
            let news = fault.as_ref().filter(|it| state.told.as_ref() != Some(it)).cloned();
            let act = state.noteworthy(&name, fault.as_deref());
            state.told = fault;
            (Arc::clone(&state.rules), news, act)
        };
        if let Some(act) = act {
            self.record(act).await;
        }
        if let Some(words) = news {
            let words = format!("rules can't be read, and allow nothing until they can: {words}");
            self.fleet().notice(Level::Error, None, &words);
        }
        rules
    }

    /// Takes note that somebody wrote this into a file and that the audit record says so.
    pub(super) fn rules_written(&self, path: &Path, text: &str) {
        let mut states = self.rules.states();
        let state = states.entry(path.to_owned()).or_default();
        state.noted = Some((Action::PolicyChanged.word().to_owned(), Some(hash(text))));
    }

    /// The directories that have rules of their own, as their files say; and what is wrong with such a file.
    pub(super) fn projects(&self) -> (Vec<PathBuf>, Vec<String>) {
        let (mut found, mut wrong) = (Vec::new(), Vec::new());
        let entries = std::fs::read_dir(self.paths.projects()).into_iter().flatten();
        for entry in entries.take(PROJECTS_MAX).filter_map(Result::ok) {
            let path = entry.path();
            if path.extension().is_none_or(|it| it != "toml") {
                continue;
            }
            let name = path.display().to_string();
            let read = source::read(&path).map(Option::unwrap_or_default);
            let read = read
                .and_then(|text| policy::project(&name, &text).map_err(|it| source::fault(&it)));
            match read {
                Ok((workspace, _))
                    if path == self.rule_file(&Domain::Project(workspace.clone())) =>
                {
                    found.push(workspace);
                }
                Ok((workspace, _)) => {
                    let workspace = workspace.display();
                    wrong.push(format!(
                        "{name}: the rules for {workspace} are not kept in this file"
                    ));
                }
                Err(fault) => wrong.push(fault.to_string()),
            }
        }
        found.sort();
        (found, wrong)
    }
}

/// The rules for the sandboxes on a directory as their files have them now, named as a hub names them in what it decides;
/// for who asks no hub. What is wrong with one of the files is a fault.
pub fn rules_for(paths: &Paths, workspace: &Path) -> Outcome<InForce> {
    let read = |domain: Domain| -> Outcome<InForce> {
        let path = file_of(paths, &domain);
        let text = source::read(&path)?;
        let rules = understood(&domain, &path.display().to_string(), text.as_deref())?;
        Ok(InForce { rules, whole: true })
    };
    Ok(joined(&read(Domain::All)?, &read(Domain::Project(workspace.to_owned()))?))
}

fn file_of(paths: &Paths, domain: &Domain) -> PathBuf {
    match domain {
        Domain::All => paths.policy(),
        Domain::Project(workspace) => project_file(paths, workspace),
    }
}

/// The file with the rules for the sandboxes on one directory: named by how that is called, and by what tells it from all
/// others.
fn project_file(paths: &Paths, workspace: &Path) -> PathBuf {
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(workspace.as_os_str());
    let digest = Sha256::digest(bytes);
    let digest = hex(digest.get(..8).unwrap_or_default());
    let name = workspace.file_name().and_then(|it| it.to_str()).unwrap_or_default();
    let plain = name.chars().filter(|it| it.is_ascii_alphanumeric() || "-_".contains(*it));
    let plain: String = plain.take(NAMED_LETTERS).collect();
    paths.projects().join(format!("{plain}-{digest}.toml"))
}

/// What a rule is called in its own file, where it is named so beside those for all.
pub fn named(id: &str, workspace: &Path) -> RuleName {
    let (id, domain) = match id.strip_prefix(OF_PROJECT) {
        Some(id) => (id, Domain::Project(workspace.to_owned())),
        None => (id, Domain::All),
    };
    RuleName { id: id.to_owned(), domain }
}

impl State {
    /// What the audit record does not say yet of the file as it is now.
    fn noteworthy(&mut self, name: &str, fault: Option<&str>) -> Option<Act> {
        let sha256 = self.text.as_deref().map(hash);
        let action = match fault {
            Some(_) => Action::PolicyRefused,
            None => Action::PolicyChanged,
        };
        let now = (action.word().to_owned(), sha256.clone());
        // No file, and there never was one.
        let nothing = self.noted.is_none() && fault.is_none() && sha256.is_none();
        if nothing || self.noted.as_ref() == Some(&now) {
            return None;
        }
        self.noted = Some(now);
        let act = words::by_hub(action, name, fault.unwrap_or("the file is another"));
        let act = act.with_any("sha256", sha256);
        Some(act.with("rules_in_force", self.rules.len() as u64))
    }
}

pub(super) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}
