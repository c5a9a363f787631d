//! Rules about requests: each request is held against them, and a connection in which none can be seen is not let out
//! where there are any that forbid.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Inner, hello::Words, locked, reach::Place};
use crate::policy::rules::Ruling;

/// By what a connection was let out, as far as its requests are concerned.
#[derive(Debug, Default)]
pub struct Grant {
    /// By a rule or an answer about the whole host; else each request needs a rule that allows it.
    pub whole: bool,
    /// Somebody was asked, and the answer holds on.
    pub lasting: bool,
    /// Somebody was asked about what was the first request.
    pub first: AtomicBool,
}

impl Inner {
    /// Whose word lets the first request out, where no rule knows the whole host, and whether it names this very host.
    pub(in crate::gate) fn lets_first(
        &self,
        place: &Place,
        words: &Words,
    ) -> Option<(String, bool)> {
        let mut rules = locked(&self.rules);
        let about = rules.about_requests(place);
        let (_, by) = about.iter().find(|(ruling, _)| *ruling == Ruling::Allow)?;
        match words {
            Words::Http { method, target, .. } => {
                let said = rules.judge_request(place, method, path_of(target));
                let allowed =
                    said.ruling == Ruling::Allow && (place.kept().is_none() || said.named);
                said.by.filter(|_| allowed).map(|by| (by, said.named))
            }
            // What is in it is seen later, each request by itself.
            Words::Tls(_) if self.opens(place) && place.kept().is_none() => {
                Some((by.clone(), false))
            }
            _ => None,
        }
    }

    /// Whether TLS to a place is opened.
    pub(in crate::gate) fn opens(&self, place: &Place) -> bool {
        self.authority.is_some() && self.secrets.opens(place)
    }

    /// Why a connection in which no request can be seen is not let out.
    pub(in crate::gate) fn unseen(&self, place: &Place, grant: &Grant) -> Option<String> {
        let about = locked(&self.rules).about_requests(place);
        let forbids = about.into_iter().find(|(ruling, _)| *ruling != Ruling::Allow);
        match forbids {
            Some((_, by)) => Some(format!("{by}: it is about requests, and none can be seen here")),
            None if !grant.whole => Some("only requests that a rule names get out".to_owned()),
            None => None,
        }
    }

    /// Why a request may not go to a place.
    pub(in crate::gate) fn may(
        &self,
        place: &Place,
        grant: &Grant,
        method: &str,
        path: &str,
    ) -> Result<(), String> {
        let first = grant.first.swap(false, Ordering::Relaxed);
        let mut rules = locked(&self.rules);
        if rules.about_requests(place).is_empty() && grant.whole {
            return Ok(());
        }
        let said = rules.judge_request(place, method, path);
        match (said.ruling, said.by) {
            (Ruling::Allow, _) => Ok(()),
            (Ruling::Deny, by) => Err(by.unwrap_or_default()),
            (Ruling::Ask, _) if first || grant.lasting => Ok(()),
            (Ruling::Ask, None) if grant.whole => Ok(()),
            (Ruling::Ask, None) => Err("only requests that a rule names get out".to_owned()),
            (Ruling::Ask, Some(by)) => {
                Err(format!("{by}: it is asked about as the first request of a connection"))
            }
        }
    }
}

/// The path of a request's target, which may be a whole address.
pub fn path_of(target: &str) -> &str {
    match target.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    }
}
