//! `policy`: the rules that answer asks without a person.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    args::{JsonArgs, PolicyTestArgs, PolicyVerb},
    files, link, out, paint,
    rules::{self, RuleView, tone, workspace},
    table::{Cell, Table},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Kind, Outcome},
        text,
    },
    config::{contexts::ContextName, paths::Paths, policy, source},
    engine::{named, rules_for},
    model::{
        ask::Request,
        rule::{Domain, Rulebook},
    },
    policy::rules::{NOT_ASKED, Rule, judge},
};

pub async fn policy(
    paths: &Paths,
    said: Option<&ContextName>,
    verb: PolicyVerb,
) -> Outcome<out::Code> {
    if let PolicyVerb::Check { file, args } = verb {
        return files::policy(paths, file, &args);
    }
    let target = &link::Target::chosen(paths, said)?;
    match verb {
        PolicyVerb::Show(args) => show(target, &args).await,
        PolicyVerb::Check { .. } => Err(Fault::bug("a verb was dispatched twice")),
        PolicyVerb::Test(args) => test(target, args).await,
        PolicyVerb::Add(args) => rules::add(target, *args).await,
        PolicyVerb::Rm(args) => rules::rm(target, args).await,
        PolicyVerb::Import(args) => rules::import(target, args).await,
    }
}

fn read(path: &Path) -> Outcome<Vec<Rule>> {
    let Some(text) = source::read(path)? else { return Ok(Vec::new()) };
    policy::rules(&path.display().to_string(), &text).map_err(|it| source::all(&it))
}

/// What a hub knows of the rules, if one runs: none is started for it.
async fn known(target: &link::Target) -> Outcome<Option<Rulebook>> {
    match link::running_hub(target).await {
        Ok(link) => link.runtime.rules().await.map(Some),
        Err(fault) if fault.kind() == Kind::Lost => Ok(None),
        Err(fault) => Err(fault),
    }
}

async fn show(target: &link::Target, args: &JsonArgs) -> Outcome<out::Code> {
    let file = target.paths.policy();
    // What is wrong with it is told with its place. A hub elsewhere has rules of its own.
    let own = if target.is_local() { read(&file)? } else { Vec::new() };
    let book = match target.is_local() {
        true => known(target).await?,
        false => Some(link::hub(target).await?.runtime.rules().await?),
    };
    let hub = book.is_some();
    let book = book.unwrap_or_else(|| {
        let file = file.display().to_string();
        let rules = own.iter().map(|it| it.known(Domain::All, &file));
        Rulebook { rules: rules.collect(), wrong: Vec::new() }
    });
    let view = |it| {
        let view = RuleView::from(it);
        let hits = view.hits.filter(|_| hub);
        RuleView { hits, ..view }
    };
    if args.json {
        out::json(&book.rules.iter().map(view).collect::<Vec<_>>())?;
        return Ok(out::DONE);
    }
    if book.rules.is_empty() {
        out::tell("no rules: a person is asked everything");
    } else {
        let zone = clock::Zone::here();
        let time =
            |it: Option<Timestamp>| it.map_or_else(|| "-".to_owned(), |it| zone.date_time(it));
        let mut table =
            Table::new(&["RULE", "VERDICT", "ABOUT", "HITS", "LAST", "UNTIL", "FOR", "WHY"]);
        for it in &book.rules {
            let hits = view(it).hits.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let of = workspace(&it.name).unwrap_or_else(|| "all".to_owned());
            table.row(vec![
                it.name.id.as_str().into(),
                Cell::new(it.ruling.word(), tone(it.ruling)),
                text::visible(&it.about).into(),
                hits.into(),
                time(it.last_at).into(),
                time(it.until).into(),
                text::visible(&of).into(),
                text::visible(&it.why).into(),
            ]);
        }
        out::print(&table.render(paint::wanted()))?;
    }
    book.wrong.iter().for_each(|it| out::tell(&format!("wrong: {it}")));
    if !hub {
        out::tell("no hub runs: what rules answered, and those for one directory, are not shown");
    }
    Ok(out::DONE)
}

#[derive(Serialize)]
struct OutcomeView<'a> {
    verdict: &'static str,
    rules: Vec<&'a str>,
    because: &'a str,
    /// Of those rules; empty when no hub runs.
    answered: Vec<AnsweredView<'a>>,
}

#[derive(Serialize)]
struct AnsweredView<'a> {
    id: &'a str,
    hits: u64,
    last_at: Option<String>,
}

async fn test(target: &link::Target, args: PolicyTestArgs) -> Outcome<out::Code> {
    if !target.is_local() {
        let words =
            format!("policy test reads the rules of this machine, not of {}", target.name());
        return Err(Fault::unsupported(words).hint("run it over there, or say --context local"));
    }
    let paths = &target.paths;
    let asked = args.workspace.unwrap_or_else(|| PathBuf::from("."));
    // A sandbox has it by its real path. There need not be one.
    let workspace = std::fs::canonicalize(&asked)
        .or_else(|_| std::path::absolute(&asked))
        .map_err(|error| Fault::io(format_args!("looking for {}", asked.display()), &error))?;
    let all = rules_for(paths, &workspace)?;
    let request = Request {
        kind: args.kind,
        subject: args.subject,
        details: args.detail.into_iter().map(|it| (it.key, it.value)).collect(),
        reason: None,
        agent: None,
    };
    let outcome = judge(&all, &request, &workspace, clock::wall());
    let book = match outcome.by.is_empty() {
        true => None,
        false => known(target).await?,
    };
    let of = |id: &str| {
        let name = named(id, &workspace);
        book.iter().flat_map(|it| &it.rules).find(|it| it.name == name)
    };
    let known = outcome.by.iter().map(|it| (it.id.as_str(), of(&it.id)));
    let answered: Vec<_> = known.filter_map(|(id, it)| Some((id, it?))).collect();
    if args.json {
        let rules = outcome.by.iter().map(|it| it.id.as_str()).collect();
        let (verdict, because) = (outcome.ruling.word(), outcome.because.as_str());
        let answered = answered.iter().map(|(id, it)| AnsweredView {
            id,
            hits: it.hits,
            last_at: it.last_at.map(Timestamp::rfc3339),
        });
        out::json(&OutcomeView { verdict, rules, because, answered: answered.collect() })?;
        return Ok(out::DONE);
    }
    let because = text::visible(&outcome.because);
    out::print(&format!("{}: {because}\n", outcome.ruling.word()))?;
    for it in outcome.by.iter().filter(|it| it.asks_of_requests()) {
        out::print(&format!("{}: {NOT_ASKED}\n", it.id))?;
    }
    let zone = clock::Zone::here();
    for (id, it) in answered {
        let last = it.last_at.map(|it| format!(", last {}", zone.date_time(it)));
        let hits = text::count(it.hits, "time");
        out::print(&format!("{id} answered {hits}{}\n", last.unwrap_or_default()))?;
    }
    Ok(out::DONE)
}
