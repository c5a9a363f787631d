//! The rules in policy.toml. The file is read for every ask, and taken apart when it says something else.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use super::Inner;
use crate::{
    base::fault::{Fault, Outcome},
    config::{policy, source},
    model::event::Level,
    policy::rules::{Rule, Ruling},
};

/// The rules in force. A file that can't be read leaves what those before it deny and ask, and allows nothing.
#[derive(Default)]
pub(super) struct Rules {
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    rules: Arc<InForce>,
    /// What was read last, good or bad; `None` = there was no file, or it could not be read.
    text: Option<String>,
    /// What was told of it.
    told: Option<String>,
}

/// Rules, and whether those are all that there are.
#[derive(Debug)]
pub(super) struct InForce {
    pub rules: Vec<Rule>,
    /// `false` = the file says something that can't be understood.
    pub whole: bool,
}

impl Default for InForce {
    fn default() -> Self {
        Self { rules: Vec::new(), whole: true }
    }
}

impl Deref for InForce {
    type Target = [Rule];

    fn deref(&self) -> &[Rule] {
        &self.rules
    }
}

impl InForce {
    /// What is left of them while the file can't be understood.
    fn in_doubt(&self) -> Self {
        let rules = self.rules.iter().filter(|it| it.ruling != Ruling::Allow).cloned().collect();
        Self { rules, whole: false }
    }
}

impl Inner {
    /// The rules as the file has them now.
    pub(super) async fn rules(&self) -> Arc<InForce> {
        let (path, name) = (self.paths.policy(), self.paths.policy().display().to_string());
        let read = tokio::task::spawn_blocking(move || source::read(&path)).await;
        let read = read.unwrap_or_else(|error| Err(Fault::bug(format!("reading rules: {error}"))));
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
            Err(fault) => Err(fault),
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
        state.told = fault;
        let rules = Arc::clone(&state.rules);
        drop(state);
        if let Some(words) = news {
            let words = format!("rules can't be read, and allow nothing until they can: {words}");
            self.fleet().notice(Level::Error, None, &words);
        }
        rules
    }
}

/// No file has no rules.
fn understood(name: &str, text: Option<&str>) -> Outcome<Vec<Rule>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    policy::rules(name, text).map_err(|flaws| {
        let first = flaws.first().map(ToString::to_string).unwrap_or_default();
        Fault::invalid(first).hint("sandwatch policy check tells all that is wrong with it")
    })
}
