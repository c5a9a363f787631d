//! What a rule would do: held against the asks that have ended, and against the rules beside it. In a bounded time.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        limits::{REACH_NAMED_MAX, RULES_MAX, RULES_WITHIN},
        text::{shown, visible},
    },
    config::policy::{
        Entry,
        domain::OF_PROJECT,
        edit::{block, line},
    },
    model::{
        ask::{Ask, AskState},
        rule::{Domain, Draft, Match, Reach, RuleName, Ruling},
    },
    policy::{
        rules::{InForce, Rule, Subject, judge},
        sample::{Shadow, shadow},
        shell::base,
    },
};

/// What is told of a subject, in bytes.
const SUBJECT_SHOWN: usize = 160;
/// Programs that run what lies in a file or in their words: what a rule allows of them may be anything.
const INTERPRETERS: [&str; 12] = [
    "sh", "bash", "dash", "zsh", "python", "python3", "node", "perl", "ruby", "make", "just", "npx",
];
/// Said of a rule for which no time was left.
const NOT_LOOKED_AT: &str =
    "not looked at, there was no time: whether it would ever answer, and what, is not known";
/// Where relative rules are held against what is asked nowhere.
pub(super) const NOWHERE: &str = "/";

/// What rules are held against.
#[derive(Clone)]
pub(super) struct Setting {
    pub domain: Domain,
    pub file: String,
    /// All that are in force in that domain.
    pub in_force: Arc<InForce>,
    /// Those of its file.
    pub own: Vec<String>,
    pub asks: Arc<Vec<(Ask, PathBuf)>>,
    pub now: Timestamp,
}

/// The id of a rule as its file has it.
pub(super) fn bare(id: &str) -> &str {
    id.strip_prefix(OF_PROJECT).unwrap_or(id)
}

/// Holds rules against all there is, on a thread of its own and for a bounded time.
pub(super) async fn drafts(setting: Setting, entries: Vec<Entry>) -> Outcome<Vec<Draft>> {
    let work = tokio::task::spawn_blocking(move || {
        let until = clock::monotonic() + RULES_WITHIN;
        let mut setting = setting;
        // All of them go in one answer.
        let named = (4 * REACH_NAMED_MAX / entries.len().max(1)).clamp(3, REACH_NAMED_MAX);
        let mut drafts: Vec<Draft> = Vec::new();
        for entry in entries {
            let mut draft = draft(&setting, &entry, until);
            draft.reach.matched.truncate(named);
            drafts.push(draft);
            setting.own.push(entry.rule.id);
        }
        drafts
    });
    work.await.map_err(|error| Fault::bug(format!("looking at rules: {error}")))
}

fn draft(setting: &Setting, entry: &Entry, until: Duration) -> Draft {
    let rule = &entry.rule;
    let (mut notes, refused) = (Vec::new(), refused(setting, rule));
    let lasting = Rule { until: None, ..rule.clone() };
    let others = setting.in_force.iter().filter(|it| bare(&it.id) != rule.id);
    let others: Vec<&Rule> = others.collect();
    let late = || clock::monotonic() >= until;
    let mut in_time = true;
    let workspace = match &setting.domain {
        Domain::All => Path::new(NOWHERE),
        Domain::Project(path) => path,
    };
    let refused = refused.or_else(|| {
        let outcome = match shadow(&others, &lasting, (workspace, setting.now), late) {
            Shadow::By(outcome) => outcome,
            Shadow::None => return None,
            Shadow::Unknown => {
                in_time = false;
                return None;
            }
        };
        let because = visible(&outcome.because);
        match outcome.ruling {
            Ruling::Deny => {
                Some(format!("it would never answer: all that it means is denied by {because}"))
            }
            _ => {
                notes.push(format!(
                    "it would never answer: all that it means is asked by {because}"
                ));
                None
            }
        }
    });
    if rule.ruling == Ruling::Allow {
        notes.extend(wide(&setting.domain, &rule.subject));
    }
    if let (Ruling::Allow, Subject::Command(words)) = (rule.ruling, &rule.subject) {
        let programs = words.first().into_iter().flatten();
        let programs: Vec<&str> = programs.map(|it| base(it)).collect();
        if words.len() == 1 {
            notes.push("it allows the program with any words behind it".to_owned());
        } else {
            notes.push("more words may follow those that it names".to_owned());
        }
        if let Some(it) = programs.iter().find(|it| INTERPRETERS.contains(it)) {
            notes.push(format!("what {it} runs is in a file, which the sandbox may change"));
        }
    }
    let reach = reach(setting, &lasting, &others, late);
    if !in_time || reach.looked_at == 0 && !setting.asks.is_empty() {
        notes.push(NOT_LOOKED_AT.to_owned());
    }
    Draft {
        name: RuleName { id: rule.id.clone(), domain: setting.domain.clone() },
        file: setting.file.clone(),
        line: line(entry),
        text: block(entry),
        notes,
        refused,
        reach,
    }
}

/// What a rule that allows leaves open, beside commands.
fn wide(domain: &Domain, subject: &Subject) -> Vec<String> {
    let notes: &[&str] = match subject {
        Subject::Tool(_) => &["it allows the tool with any arguments"],
        Subject::Path(glob) if *domain == Domain::All && !glob.starts_with('/') => &[
            "it allows whatever is written there",
            "it means the path below the workspace of every sandbox",
        ],
        Subject::Path(_) => &["it allows whatever is written there"],
        Subject::Host(..) => &["it allows whatever is sent there"],
        Subject::Request(..) | Subject::Command(_) => &[],
    };
    notes.iter().map(|it| (*it).to_owned()).collect()
}

/// Why a rule can't be made, but for what others say.
fn refused(setting: &Setting, rule: &Rule) -> Option<String> {
    if setting.own.contains(&rule.id) {
        return Some(format!("another rule is called {}", rule.id));
    }
    if setting.own.len() >= RULES_MAX {
        return Some(format!(
            "there are {RULES_MAX} rules already, as many as there may be: sandwatch policy rm \
             makes room"
        ));
    }
    if rule.until.is_some_and(|it| it <= setting.now) {
        return Some("it is over already".to_owned());
    }
    None
}

/// What of the record a rule answers, beside others.
fn reach(setting: &Setting, rule: &Rule, others: &[&Rule], late: impl Fn() -> bool) -> Reach {
    let mut reach = Reach::default();
    for (ask, workspace) in setting.asks.iter() {
        if late() {
            break;
        }
        reach.looked_at += 1;
        let request = &ask.asked.request;
        // Most are no matter of it.
        let alone = judge([rule], request, workspace, setting.now);
        let is_command = matches!(rule.subject, Subject::Command(_));
        if alone.by.is_empty() && !is_command {
            continue;
        }
        let all = std::iter::once(rule).chain(others.iter().copied());
        let outcome = judge(all, request, workspace, setting.now);
        if !outcome.by.iter().any(|it| it.id == rule.id) {
            continue;
        }
        match ask.state {
            AskState::Allowed => reach.allowed += 1,
            AskState::Denied | AskState::Expired => reach.denied += 1,
            AskState::Withdrawn | AskState::Pending => reach.other += 1,
        }
        if reach.matched.len() < REACH_NAMED_MAX {
            reach.matched.push(Match {
                ask: ask.asked.id.clone(),
                sandbox: ask.sandbox.clone(),
                sandbox_name: ask.sandbox_name.clone(),
                kind: request.kind,
                subject: shown(&request.subject, SUBJECT_SHOWN),
                state: ask.state,
                by: ask.decision.as_ref().map(|it| it.by.clone()).unwrap_or_default(),
                at: ask.asked.created_at,
            });
        }
    }
    reach
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_for_which_no_time_is_left_is_said_not_to_be_looked_at() {
        let rule = |id: &str, ruling| {
            let subject = Subject::Tool("x".to_owned());
            Rule { id: id.to_owned(), ruling, subject, why: String::new(), until: None }
        };
        let setting = Setting {
            domain: Domain::All,
            file: "policy.toml".to_owned(),
            in_force: Arc::new(InForce { rules: vec![rule("no", Ruling::Deny)], whole: true }),
            own: vec!["no".to_owned()],
            asks: Arc::default(),
            now: Timestamp(0),
        };
        let entry = crate::config::policy::edit::entry_of(rule("new", Ruling::Allow));
        let in_time = draft(&setting, &entry, Duration::MAX);
        assert!(in_time.refused.is_some_and(|it| it.contains("denied by rule no")));
        let late = draft(&setting, &entry, Duration::ZERO);
        assert!(late.refused.is_none() && late.notes.iter().any(|it| it == NOT_LOOKED_AT));
    }

    #[test]
    fn what_a_rule_leaves_open_is_said() {
        let project = Domain::Project("/w".into());
        let said = |domain: &Domain, subject| wide(domain, &subject).join("; ");
        let path = |text: &str| Subject::Path(text.to_owned());
        let tool = said(&Domain::All, Subject::Tool("mcp__db__query".to_owned()));
        assert!(tool.contains("any arguments"), "{tool}");
        assert!(said(&Domain::All, path("Makefile")).contains("every sandbox"));
        for (domain, text) in [(&Domain::All, "/w/Makefile"), (&project, "Makefile")] {
            let said = said(domain, path(text));
            assert!(said.contains("whatever is written") && !said.contains("every"), "{said}");
        }
    }
}
