//! The rules in policy.toml. The file is read for every ask, and taken apart when it says something else.

use std::sync::{Arc, Mutex, PoisonError};

use super::Inner;
use crate::{
    base::fault::{Fault, Outcome},
    config::{policy, source},
    model::event::Level,
    policy::rules::Rule,
};

/// The rules in force. A file that can't be read leaves those before it: what was denied stays so.
#[derive(Default)]
pub(super) struct Rules {
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    rules: Arc<Vec<Rule>>,
    /// What was read last, good or bad; `None` = there was no file, or it could not be read.
    text: Option<String>,
    /// What was told of it.
    told: Option<String>,
}

impl Inner {
    /// The rules as the file has them now.
    pub(super) async fn rules(&self) -> Arc<Vec<Rule>> {
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
                state.rules = Arc::new(rules);
                None
            }
            Err(fault) => Some(fault.to_string()),
        };
        let news = fault.as_ref().filter(|it| state.told.as_ref() != Some(it)).cloned();
        state.told = fault;
        let rules = Arc::clone(&state.rules);
        drop(state);
        if let Some(words) = news {
            let words = format!("the rules stay as they were: {words}");
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
