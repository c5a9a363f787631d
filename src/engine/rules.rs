//! The rules in policy.toml. The file is read for every ask, and taken apart when it says something else.

use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::{Inner, audit::words};
use crate::{
    base::fault::{Fault, Outcome},
    config::{policy, source},
    model::{
        audit::{Act, Action},
        event::Level,
    },
    policy::rules::{InForce, Rule},
};

/// The rules in force. A file that can't be read leaves what those before it deny and ask, and allows nothing.
#[derive(Default)]
pub(super) struct Rules {
    /// Held by whoever reads the file: nothing is decided by rules that the audit record does not know yet.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    rules: Arc<InForce>,
    /// What was read last, good or bad; `None` = there was no file, or it could not be read.
    text: Option<String>,
    /// What was told of it.
    told: Option<String>,
    /// What the audit record says of it: the action, and the hash of the file if there was one.
    noted: Option<(String, Option<String>)>,
}

impl Rules {
    /// With what a hub before wrote into the audit record last.
    pub(super) fn since(act: Option<&Act>) -> Self {
        let noted = act.map(|it| (it.action.clone(), it.text("sha256").map(str::to_owned)));
        Self { state: Mutex::new(State { noted, ..State::default() }), ..Self::default() }
    }
}

impl Inner {
    /// The rules as the file has them now.
    pub(super) async fn rules(&self) -> Arc<InForce> {
        let (path, name) = (self.paths.policy(), self.paths.policy().display().to_string());
        let _turn = self.rules.turn.lock().await;
        let read = tokio::task::spawn_blocking(move || source::read(&path)).await;
        let read = read.unwrap_or_else(|error| Err(Fault::bug(format!("reading rules: {error}"))));
        let (rules, news, act) = {
            let mut state = self.rules.state.lock().unwrap_or_else(PoisonError::into_inner);
            let now = match read {
                Ok(text) if text == state.text && state.told.is_none() => {
                    return Arc::clone(&state.rules);
                }
                Ok(text) => {
                    let rules = understood(&name, text.as_deref());
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

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|it| format!("{it:02x}")).collect()
}

/// No file has no rules.
fn understood(name: &str, text: Option<&str>) -> Outcome<Vec<Rule>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    policy::rules(name, text).map_err(|flaws| {
        let first = flaws.first().map(ToString::to_string).unwrap_or_default();
        Fault::invalid(first).hint("sandwatch policy check tells all that is wrong with it")
    })
}
