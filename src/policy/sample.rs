//! What a rule is sure to mean, as requests: by these it is told whether another rule is always in its way.

use std::path::Path;

use super::{
    path,
    rules::{Outcome, Rule, Subject, judge},
    shell::quoted,
};
use crate::{
    base::clock::Timestamp,
    model::{
        ask::{AskKind, Request},
        host,
    },
};

/// Requests that a rule means, one for each of the words that may stand in a place.
fn samples(subject: &Subject) -> Vec<Request> {
    if let Subject::Request(name, port, requests) = subject {
        let mut places = samples(&Subject::Host(name.clone(), *port));
        places.iter_mut().for_each(|it| it.details = requests.sample());
        return places;
    }
    let (kind, subjects) = match subject {
        Subject::Command(words) => (AskKind::Exec, lines(words)),
        Subject::Path(glob) => (AskKind::File, vec![path::sample(glob)]),
        Subject::Host(name, port) => {
            let name = name.strip_prefix("*.").map_or_else(|| name.clone(), |it| format!("x.{it}"));
            (AskKind::Network, vec![host::written(&name, *port)])
        }
        Subject::Tool(name) => (AskKind::Tool, vec![name.replace('*', "x")]),
        Subject::Request(..) => return Vec::new(),
    };
    let request =
        |subject| Request { kind, subject, details: Vec::new(), reason: None, agent: None };
    subjects.into_iter().map(request).collect()
}

/// The first words everywhere, and each of the others once.
fn lines(words: &[Vec<String>]) -> Vec<String> {
    let first = |at: usize| words.get(at).and_then(|it| it.first()).map_or("", String::as_str);
    let line = |place: usize, word: &str| {
        let all = (0..words.len()).map(|at| quoted(if at == place { word } else { first(at) }));
        all.collect::<Vec<_>>().join(" ")
    };
    let mut all = vec![line(usize::MAX, "")];
    for (place, may) in words.iter().enumerate() {
        all.extend(may.iter().skip(1).map(|word| line(place, word)));
    }
    all
}

/// Whether rules leave another one something to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shadow {
    /// They do.
    None,
    /// This, stricter than it, is always in its way.
    By(Outcome),
    /// There was no time to tell.
    Unknown,
}

/// Whether rules are always in the way of a new one; looked at until `late` says so.
pub fn shadow(
    rules: &[&Rule],
    new: &Rule,
    (workspace, now): (&Path, Timestamp),
    late: impl Fn() -> bool,
) -> Shadow {
    let mut first = None;
    for request in samples(&new.subject) {
        if late() {
            return Shadow::Unknown;
        }
        let all = std::iter::once(new).chain(rules.iter().copied());
        let outcome = judge(all, &request, workspace, now);
        let stricter = outcome.ruling < new.ruling && !outcome.by.is_empty();
        if !stricter {
            return Shadow::None;
        }
        first.get_or_insert(outcome);
    }
    first.map_or(Shadow::None, Shadow::By)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules::Ruling;

    fn rule(id: &str, ruling: Ruling, subject: Subject) -> Rule {
        Rule { id: id.to_owned(), ruling, subject, why: String::new(), until: None }
    }

    fn prefix(words: &[&[&str]]) -> Subject {
        let words = words.iter().map(|it| it.iter().map(|it| (*it).to_owned()).collect());
        Subject::Command(words.collect())
    }

    #[test]
    fn a_rule_is_in_the_shadow_of_one_that_denies_all_that_it_means() {
        use Ruling::{Allow, Ask, Deny};
        let rules = [
            rule("push", Ruling::Deny, prefix(&[&["git"], &["push"]])),
            rule("keys", Ruling::Deny, Subject::Path("**/keys/**".to_owned())),
            rule("evil", Ruling::Ask, Subject::Host("*.evil.example".to_owned(), None)),
        ];
        let found = |ruling, subject| {
            let new = rule("new", ruling, subject);
            let rules: Vec<&Rule> = rules.iter().collect();
            match shadow(&rules, &new, (Path::new("/w"), Timestamp(0)), || false) {
                Shadow::By(it) => it.by.first().map(|it| it.id.clone()),
                _ => None,
            }
        };
        for (ruling, subject, by) in [
            (Allow, prefix(&[&["git"], &["push"], &["origin", "x"]]), Some("push")),
            (Allow, prefix(&[&["git"], &["fetch", "push"]]), None),
            (Allow, prefix(&[&["git"]]), None),
            (Deny, prefix(&[&["git"], &["push"]]), None),
            (Ask, prefix(&[&["git"], &["push"]]), Some("push")),
            (Allow, Subject::Path("a/keys/*".to_owned()), Some("keys")),
            (Allow, Subject::Path("src/**".to_owned()), None),
            (Allow, Subject::Host("*.evil.example".to_owned(), Some(443)), Some("evil")),
            (Allow, Subject::Host("2001:db8::1".to_owned(), None), None),
        ] {
            assert_eq!(found(ruling, subject.clone()).as_deref(), by, "{subject:?}");
        }
        let new = rule("new", Allow, Subject::Path("src/**".to_owned()));
        let late = shadow(&[], &new, (Path::new("/w"), Timestamp(0)), || true);
        assert_eq!(late, Shadow::Unknown);
    }
}
