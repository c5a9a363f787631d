//! `policy`: the rules that answer asks without a person.

use std::path::Path;

use serde::Serialize;

use super::{
    args::{JsonArgs, PolicyTestArgs, PolicyVerb},
    files, out, paint,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        text,
    },
    config::{paths::Paths, policy, source},
    model::ask::Request,
    policy::rules::{Rule, Ruling, Subject, judge},
};

pub fn policy(paths: &Paths, verb: PolicyVerb) -> Outcome<out::Code> {
    match verb {
        PolicyVerb::Show(args) => show(&rules(&paths.policy())?, &args),
        PolicyVerb::Check { file, args } => files::policy(paths, file, &args),
        PolicyVerb::Test(args) => test(&rules(&paths.policy())?, args),
    }
}

fn rules(path: &Path) -> Outcome<Vec<Rule>> {
    let Some(text) = source::read(path)? else { return Ok(Vec::new()) };
    policy::rules(&path.display().to_string(), &text).map_err(|flaws| {
        let flaws: Vec<String> = flaws.iter().map(ToString::to_string).collect();
        Fault::invalid(flaws.join("\n"))
    })
}

#[derive(Serialize)]
struct RuleView<'a> {
    id: &'a str,
    verdict: &'static str,
    subject: String,
    why: &'a str,
    until: Option<String>,
}

impl<'a> From<&'a Rule> for RuleView<'a> {
    fn from(it: &'a Rule) -> Self {
        let (subject, until) = (subject(&it.subject), it.until.map(clock::Timestamp::rfc3339));
        Self { id: &it.id, verdict: it.ruling.word(), subject, why: &it.why, until }
    }
}

/// What a rule is about, in a line.
fn subject(it: &Subject) -> String {
    match it {
        Subject::Command(words) => {
            let words: Vec<String> = words.iter().map(|it| it.join("|")).collect();
            format!("command {}", words.join(" "))
        }
        Subject::Path(glob) => format!("path {glob}"),
        Subject::Host(name, port) => {
            format!("host {name}{}", port.map(|it| format!(":{it}")).unwrap_or_default())
        }
        Subject::Request(name, port, requests) => {
            let host = subject(&Subject::Host(name.clone(), *port));
            format!("{host} {}", requests.words())
        }
        Subject::Tool(name) => format!("tool {name}"),
    }
}

fn show(rules: &[Rule], args: &JsonArgs) -> Outcome<out::Code> {
    if args.json {
        out::json(&rules.iter().map(RuleView::from).collect::<Vec<_>>())?;
        return Ok(out::DONE);
    }
    if rules.is_empty() {
        out::tell("no rules: a person is asked everything");
        return Ok(out::DONE);
    }
    let mut table = Table::new(&["RULE", "VERDICT", "ABOUT", "UNTIL", "WHY"]);
    for it in rules {
        let view = RuleView::from(it);
        let tone = match it.ruling {
            Ruling::Deny => Tone::Bad,
            Ruling::Ask => Tone::Warn,
            Ruling::Allow => Tone::Good,
        };
        table.row(vec![
            view.id.into(),
            Cell::new(view.verdict, tone),
            text::visible(&view.subject).into(),
            view.until.unwrap_or_else(|| "-".to_owned()).into(),
            text::visible(view.why).into(),
        ]);
    }
    out::print(&table.render(paint::wanted()))?;
    Ok(out::DONE)
}

#[derive(Serialize)]
struct OutcomeView<'a> {
    verdict: &'static str,
    rules: Vec<&'a str>,
    because: &'a str,
}

fn test(rules: &[Rule], args: PolicyTestArgs) -> Outcome<out::Code> {
    let workspace = match args.workspace {
        Some(it) => it,
        None => std::env::current_dir()
            .map_err(|error| Fault::io("looking for the current directory", &error))?,
    };
    let request = Request {
        kind: args.kind,
        subject: args.subject,
        details: args.detail.into_iter().map(|it| (it.key, it.value)).collect(),
        reason: None,
        agent: None,
    };
    let outcome = judge(rules, &request, &workspace, clock::wall());
    if args.json {
        let rules = outcome.by.iter().map(|it| it.id.as_str()).collect();
        let (verdict, because) = (outcome.ruling.word(), outcome.because.as_str());
        out::json(&OutcomeView { verdict, rules, because })?;
    } else {
        let because = text::visible(&outcome.because);
        out::print(&format!("{}: {because}\n", outcome.ruling.word()))?;
    }
    Ok(out::DONE)
}
