//! Rules about requests: each request is held against them, and a connection in which none can be seen is not let out
//! where there are any that forbid.

use super::{Inner, hello::Words, noted::Word, reach::Place, rules::Snapshot};
use crate::{
    base::limits::REQUEST_PATH_BYTES_MAX,
    driver::local::service::Foreign,
    policy::{http, rules::Ruling},
};

/// Why a request is refused that no rule knows.
const UNNAMED: &str = "only requests that a rule names get out";

/// By what a connection was let out, as far as its requests are concerned.
#[derive(Debug, Default)]
pub struct Grant {
    /// By a rule or an answer about the whole host; else each request needs a rule that allows it.
    pub whole: bool,
    /// Why who answers on this machine may be somebody else, and gets no secret; `None` = it is the operator's own.
    pub foreign: Option<Foreign>,
}

impl Inner {
    /// Whose word lets the first request out, where no rule knows the whole host, and whether it names this very host.
    pub(in crate::gate) fn lets_first(
        &self,
        rules: &Snapshot,
        place: &Place,
        words: &Words,
    ) -> Option<(Word, bool)> {
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
}

impl Snapshot {
    /// Whether any rule is about requests to a place.
    pub(in crate::gate) fn has_about_requests(&self, place: &Place) -> bool {
        !self.about_requests(place).is_empty()
    }

    /// Why nothing may go to a place in which no request can be seen: some of them are forbidden.
    pub(in crate::gate) fn forbids_unseen(&self, place: &Place) -> Option<Word> {
        let mut about = self.about_requests(place).into_iter();
        let (_, by) = about.find(|(ruling, _)| *ruling != Ruling::Allow)?;
        Some(by.and(": it is about requests, and none can be seen here"))
    }

    /// Why a connection in which no request can be seen is not let out.
    pub(in crate::gate) fn unseen(&self, place: &Place, grant: &Grant) -> Option<Word> {
        self.forbids_unseen(place).or_else(|| (!grant.whole).then(|| Word::own(UNNAMED)))
    }

    /// By whose word a request may go to a place, if it is a rule's and not that by which the whole connection was let out;
    /// or why it may not. Nobody is asked about one: what rules ask about is forbidden here.
    pub(in crate::gate) fn may(
        &self,
        place: &Place,
        grant: &Grant,
        method: &str,
        path: &str,
    ) -> Result<Option<Word>, Word> {
        if grant.whole && !self.has_about_requests(place) {
            return Ok(None);
        }
        let said = self.judge_request(place, method, path);
        let unclear = match http::is_clear(path) {
            true => "",
            false if path.len() > REQUEST_PATH_BYTES_MAX => {
                &format!(" (a path of more than {REQUEST_PATH_BYTES_MAX} bytes may be meant)")
            }
            false => " (servers read this path in several ways, so it may be meant)",
        };
        match (said.ruling, said.by) {
            // One about the whole host has counted for the connection.
            (Ruling::Allow, by) => Ok(by.filter(|_| !grant.whole || said.of_request)),
            (Ruling::Deny, by) => Err(by.unwrap_or_default().and(unclear)),
            (Ruling::Ask, None) if grant.whole => Ok(None),
            (Ruling::Ask, None) => Err(Word::own(UNNAMED)),
            (Ruling::Ask, Some(by)) => {
                let why = ": nobody is asked about a single request, so it is refused";
                Err(by.and(why).and(unclear))
            }
        }
    }
}

/// The path of a request's target, which may be a whole address.
pub fn path_of(target: &str) -> &str {
    match target.split_once("://").filter(|_| !target.starts_with('/')) {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        gate::{reach::Host, rules::Rules},
        model::rule::Domain,
    };

    #[tokio::test]
    async fn a_request_is_let_out_by_the_rule_about_requests_and_not_again_by_that_about_the_host()
    {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.toml");
        let rule = |id: &str, verdict: &str, host: &str, more: &str| {
            format!(
                "[[rule]]\nid = \"{id}\"\nverdict = \"{verdict}\"\nhost = \"{host}\"\n{more}\nwhy = \"so\"\n"
            )
        };
        let text = rule("post", "deny", "a.example", "methods = [\"POST\"]")
            + &rule("get", "allow", "*.example", "methods = [\"GET\"]")
            + &rule("host", "allow", "a.example", "")
            + &rule("head", "allow", "b.example", "methods = [\"HEAD\"]")
            + &rule("all", "allow", "b.example", "");
        std::fs::write(&file, text).unwrap();
        let rules = Arc::new(Rules::new(vec![(Domain::All, file)], "/w".into(), &[], &[]));
        let rules = rules.now().await;
        let may = |name: &str, whole, method: &str| {
            let place = Place { host: Host::Name(name.to_owned()), port: 80 };
            let by = rules.may(&place, &Grant { whole, foreign: None }, method, "/");
            by.map(|it| it.map(|it| it.rules.concat())).map_err(|it| it.rules.concat())
        };
        let by = |id: &str| id.to_owned();
        assert_eq!(may("a.example", true, "GET"), Ok(None));
        assert_eq!(may("a.example", true, "POST"), Err(by("post")));
        assert_eq!(may("b.example", true, "HEAD"), Ok(Some(by("head"))));
        assert_eq!(may("b.example", true, "PUT"), Ok(None));
        assert_eq!(may("c.example", false, "GET"), Ok(Some(by("get"))));
        // Let out for single requests, it is for no other ones, also where a rule about the whole host came to be later.
        assert_eq!(may("b.example", false, "PUT"), Err(String::new()));
    }

    #[test]
    fn only_a_target_that_is_an_address_is_taken_apart() {
        for (target, path) in [
            ("/a?to=https://b.example/c", "/a?to=https://b.example/c"),
            ("http://a.example/b", "/b"),
            ("http://a.example", "/"),
            ("*", "*"),
        ] {
            assert_eq!(path_of(target), path);
        }
    }
}
