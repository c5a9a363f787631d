//! `approvals`: what programs in sandboxes ask, and the answers.

use std::collections::HashSet;

use super::{
    args::{AllowArgs, ApprovalsLsArgs, ApprovalsVerb, DenyArgs, RevokeArgs},
    asks_watch::watch,
    json::AskView,
    out, paint, resolve,
    rules::{DraftView, described as described_rule},
    table::{Cell, Table, Tone},
};
use crate::{
    app::ask::{fold, holds_words},
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        id::AskId,
        limits::{ANSWER_MESSAGE_BYTES_MAX, ASKS_KEPT, NAME_BYTES_MAX},
        text, units,
    },
    model::{
        ask::{Answer, Ask, AskState, Choice, Decision, RiskLevel, Scope, Verdict},
        rule::Question,
    },
    runtime::{AsksWanted, Runtime},
};

/// Cells of the names of parts.
const LABEL_CELLS: usize = 11;
/// Bytes of a subject in a list.
pub(super) const SUBJECT_SHOWN: usize = 100;

pub async fn approvals(runtime: &dyn Runtime, verb: ApprovalsVerb) -> Outcome<out::Code> {
    match verb {
        ApprovalsVerb::Ls(args) => ls(runtime, &args).await,
        ApprovalsVerb::Show(args) => {
            let ask = one(runtime, &args.ask).await?;
            if args.json {
                out::json(&AskView::from(&ask))?;
            } else {
                out::print(&described(&ask, columns(out::stdout_is_terminal())))?;
            }
            Ok(out::DONE)
        }
        ApprovalsVerb::Allow(args) => allow(runtime, args).await,
        ApprovalsVerb::Deny(args) => deny(runtime, args).await,
        ApprovalsVerb::Watch(args) => watch(runtime, &args).await,
        ApprovalsVerb::Standing(args) => standing(runtime, args.json).await,
        ApprovalsVerb::Revoke(args) => revoke(runtime, &args).await,
    }
}

/// Those that wait, oldest first.
async fn waiting(runtime: &dyn Runtime) -> Outcome<Vec<Ask>> {
    let mut all: Vec<Ask> = runtime.list().await?.into_iter().flat_map(|it| it.asks).collect();
    all.sort_by(|a, b| order(a).cmp(&order(b)));
    Ok(all)
}

fn order(ask: &Ask) -> (clock::Timestamp, &AskId) {
    (ask.asked.created_at, &ask.asked.id)
}

/// The same after those that have ended.
async fn everything(runtime: &dyn Runtime) -> Outcome<Vec<Ask>> {
    // In this order, so that one that ends meanwhile is in one of them at least.
    let waiting = waiting(runtime).await?;
    with_ended(runtime, waiting).await
}

async fn with_ended(runtime: &dyn Runtime, waiting: Vec<Ask>) -> Outcome<Vec<Ask>> {
    let mut all = runtime.asks(&AsksWanted::newest(ASKS_KEPT)).await?;
    all.reverse();
    let ended: HashSet<AskId> = all.iter().map(|it| it.asked.id.clone()).collect();
    all.extend(waiting.into_iter().filter(|it| !ended.contains(&it.asked.id)));
    Ok(all)
}

/// The one that is meant: among those that wait first, so that what has ended, which may be much, is read only when it
/// is asked for.
async fn one(runtime: &dyn Runtime, typed: &str) -> Outcome<Ask> {
    let waiting = waiting(runtime).await?;
    match resolve::ask(&waiting, typed) {
        Ok(it) => return Ok(it.clone()),
        Err(fault) if fault.kind() != Kind::Absent => return Err(fault),
        Err(_) => {}
    }
    if let Some(id) = AskId::parse(typed)
        && let Some(it) = runtime.asks(&AsksWanted::only([id])).await?.pop()
    {
        return Ok(it);
    }
    let all = with_ended(runtime, waiting).await?;
    resolve::ask(&all, typed).cloned()
}

async fn ls(runtime: &dyn Runtime, args: &ApprovalsLsArgs) -> Outcome<out::Code> {
    let all = if args.all { everything(runtime).await? } else { waiting(runtime).await? };
    if args.json {
        out::json(&all.iter().map(AskView::from).collect::<Vec<_>>())?;
        return Ok(out::DONE);
    }
    if all.is_empty() {
        out::tell(if args.all { "nothing was asked yet" } else { "nothing waits for an answer" });
        return Ok(out::DONE);
    }
    let mut table = Table::new(&["ASK", "SANDBOX", "KIND", "RISK", "STATE", "LEFT", "SUBJECT"]);
    for it in &all {
        let tone = match it.risk.level {
            RiskLevel::High => Tone::Bad,
            RiskLevel::Medium => Tone::Warn,
            RiskLevel::Low => Tone::Plain,
        };
        table.row(vec![
            it.asked.id.as_str().into(),
            it.sandbox_name.clone().into(),
            it.asked.request.kind.word().into(),
            Cell::new(it.risk.level.word(), tone),
            it.state.word().into(),
            left(it).into(),
            text::shown_part(&it.asked.request.subject, SUBJECT_SHOWN).into(),
        ]);
    }
    out::print(&table.render(paint::wanted()))?;
    Ok(out::DONE)
}

fn left(ask: &Ask) -> String {
    match ask.state {
        AskState::Pending => units::human_duration(ask.asked.deadline_at.since(clock::wall())),
        _ => "-".to_owned(),
    }
}

/// All of one, a line for each part, in rows of so many cells. What is a program's comes last, is made visible, and stands
/// to the right of whatever names it.
fn described(ask: &Ask, cells: usize) -> String {
    let (asked, request) = (&ask.asked, &ask.asked.request);
    let zone = clock::Zone::here();
    let mut lines = vec![
        ("ask", asked.id.to_string()),
        ("sandbox", ask.sandbox_name.clone()),
        ("kind", request.kind.word().to_owned()),
        ("risk", ask.risk.level.word().to_owned()),
    ];
    lines.extend(ask.risk.findings.iter().map(|it| ("look at", it.clone())));
    lines.push(("state", ask.state.word().to_owned()));
    lines.push(("asked", zone.date_time(asked.created_at)));
    if asked.askers > 1 {
        lines.push(("askers", asked.askers.to_string()));
    }
    if ask.state == AskState::Pending {
        lines.push(("denied in", left(ask)));
    }
    if asked.editable && ask.state == AskState::Pending {
        lines.push(("editable", "it can be allowed in other words, with --edit".to_owned()));
    }
    if let Some(it) = &ask.decision {
        let waited = units::human_duration(std::time::Duration::from_millis(it.waited_ms));
        lines.push(("decided", format!("by {} after {waited}, {}", it.by, holds_words(it))));
        lines.extend(it.answer.message.clone().map(|it| ("message", it)));
        let besides = &it.besides;
        lines.extend(besides.rule.as_ref().map(|it| ("rule", it.name.id.clone())));
        lines.extend(besides.snapshot.as_ref().map(|it| ("snapshot", it.to_string())));
        lines.extend(besides.edit.clone().map(|it| ("allowed", it)));
    }
    lines.push(("digest", ask.digest.clone()));
    lines.push(("subject", request.subject.clone()));
    lines.extend(request.agent.as_ref().map(|it| ("agent", format!("{it} (it says)"))));
    lines.extend(request.reason.as_ref().map(|it| ("reason", format!("{it} (it says)"))));
    lines.extend(request.details.iter().chain(&asked.about).flat_map(|(key, value)| {
        let name = format!("{}:", text::visible(key));
        let short = !value.contains('\n') && value.len() < SUBJECT_SHOWN;
        match short {
            true => vec![("detail", format!("{name} {value}"))],
            false => vec![("detail", name), ("", value.clone())],
        }
    }));
    lines.iter().flat_map(|(name, value)| rows(name, value, cells)).collect()
}

/// One part, as the console shows it: with the ends of its lines, and a mark where a row goes on with the one before.
fn rows(name: &str, value: &str, cells: usize) -> Vec<String> {
    let mut name = name;
    let row = |(row, goes_on): &(String, bool)| {
        let name = if *goes_on { "         ↪" } else { std::mem::take(&mut name) };
        format!("{name:<10} {row}\n")
    };
    fold(value, cells.saturating_sub(LABEL_CELLS)).iter().map(row).collect()
}

/// Columns of what is printed there; where nobody looks, rows are as long as they are.
fn columns(terminal: bool) -> usize {
    let size = terminal.then(crate::tui::terminal::size).flatten();
    size.map_or(usize::MAX, |it| usize::from(it.cols()))
}

fn message(message: Option<String>) -> Outcome<Option<String>> {
    match message {
        Some(it) if it.len() > ANSWER_MESSAGE_BYTES_MAX => Err(Fault::invalid(format!(
            "--message is longer than {ANSWER_MESSAGE_BYTES_MAX} bytes: {}",
            it.len()
        ))),
        it => Ok(it),
    }
}

async fn allow(runtime: &dyn Runtime, args: AllowArgs) -> Outcome<out::Code> {
    let ask = one(runtime, &args.ask).await?;
    if let Some(digest) = args.digest.as_ref().filter(|it| !ask.digest.starts_with(*it)) {
        let digest = text::shown(digest, 64);
        return Err(Fault::failed(format!("it asks for something else than {digest}"))
            .hint(format!("look again: sandwatch approvals show {}", ask.asked.id)));
    }
    let message = message(args.message)?;
    let answer = Answer { verdict: Verdict::Allow, scope: args.scope, message };
    let sure = args.yes || args.digest.is_some();
    let choice =
        Choice { answer, edit: args.edit.clone(), rule: args.rule, snapshot: args.snapshot };
    if args.scope.is_rule() {
        let how = Making { dry_run: args.dry_run, yes: args.yes, json: args.json };
        return make_rule(runtime, &ask, choice, how).await;
    }
    no_rule(&choice, args.dry_run)?;
    let mut shown = ask.clone();
    if let (Some(edit), AskState::Pending) = (args.edit, ask.state) {
        let (ask, digest) = (ask.asked.id.clone(), ask.digest.clone());
        let question = Question::Answer { ask, digest, choice: choice.clone() };
        let proposal = runtime.propose(question).await?;
        shown.asked.request.subject = edit;
        if let Some(risk) = proposal.risk {
            shown.risk = risk;
        }
    }
    if ask.state == AskState::Pending && !sure {
        make_sure(&shown, args.scope)?;
    }
    decide(runtime, &ask, choice, args.json).await
}

fn no_rule(choice: &Choice, dry_run: bool) -> Outcome<()> {
    match choice.rule.is_some() || dry_run {
        true => Err(Fault::invalid("--rule and --dry-run are for --scope project and always")),
        false => Ok(()),
    }
}

/// How a rule is made of an answer.
struct Making {
    dry_run: bool,
    yes: bool,
    json: bool,
}

/// Shows the rule that an answer makes and what it would have answered, and makes it when that is meant.
async fn make_rule(
    runtime: &dyn Runtime,
    ask: &Ask,
    choice: Choice,
    how: Making,
) -> Outcome<out::Code> {
    let (id, digest) = (ask.asked.id.clone(), ask.digest.clone());
    let question = Question::Answer { ask: id, digest, choice: choice.clone() };
    let draft = runtime.propose(question).await?.drafts.pop();
    let draft = draft.ok_or_else(|| Fault::bug("the hub proposes no rule"))?;
    if how.dry_run && how.json {
        out::json(&DraftView::from(&draft))?;
        return Ok(out::DONE);
    }
    let shown = described_rule(&draft);
    if let Some(why) = &draft.refused {
        out::print_error_bytes(shown.as_bytes())?;
        return Err(Fault::invalid(format!("rule {} can't be made: {why}", draft.name.id)));
    }
    if how.dry_run {
        out::print(&shown)?;
        return Ok(out::DONE);
    }
    // Nobody says a word for what they did not see.
    if !how.json || !how.yes {
        out::print_error_bytes(shown.as_bytes())?;
    }
    if !how.yes {
        if !out::on_terminal() {
            return Err(Fault::invalid("a rule is made, and nobody is there to look at it")
                .hint("look at it with --dry-run, then add --yes"));
        }
        let word = choice.answer.verdict.word();
        if choice.answer.verdict == Verdict::Allow {
            make_sure(ask, choice.answer.scope)?;
        }
        if !out::confirm_by_word(&format!("{word} it, and make this rule?"), "rule")? {
            return Err(Fault::denied("no rule was made and nothing was answered"));
        }
    }
    // What was shown is what is made.
    let choice = Choice { rule: Some(draft.line), ..choice };
    decide(runtime, ask, choice, how.json).await
}

/// Where much is at stake, or a list shows only a part of it, all of it is shown first, and a word allows it.
fn make_sure(ask: &Ask, scope: Scope) -> Outcome<()> {
    let grave = ask.risk.level == RiskLevel::High;
    let long = ask.asked.request.subject.len() > SUBJECT_SHOWN;
    if !grave && !long {
        return Ok(());
    }
    let why = if grave { "much is at stake" } else { "lists show only a part of it" };
    if !out::on_terminal() {
        let text = format!("{why}, and nobody is there to look at it");
        let hint = format!(
            "look at it with `sandwatch approvals show {}`, then add --digest with what it says, or --yes",
            ask.asked.id
        );
        return Err(Fault::invalid(text).hint(hint));
    }
    out::print_error_bytes(described(ask, columns(true)).as_bytes())?;
    let what = format!("{why}: allow it, {}?", scope.word());
    match out::confirm_by_word(&what, Verdict::Allow.word())? {
        true => Ok(()),
        false => Err(Fault::denied("nothing was allowed")),
    }
}

async fn deny(runtime: &dyn Runtime, args: DenyArgs) -> Outcome<out::Code> {
    let ask = one(runtime, &args.ask).await?;
    let message = message(args.message)?;
    let answer = Answer { verdict: Verdict::Deny, scope: args.scope, message };
    let choice = Choice { rule: args.rule, ..answer.into() };
    if args.scope.is_rule() {
        let how = Making { dry_run: args.dry_run, yes: args.yes, json: args.json };
        return make_rule(runtime, &ask, choice, how).await;
    }
    no_rule(&choice, args.dry_run)?;
    decide(runtime, &ask, choice, args.json).await
}

/// Answers that hold on.
async fn standing(runtime: &dyn Runtime, json: bool) -> Outcome<out::Code> {
    let all = runtime.standing().await?;
    if json {
        out::json(&all.iter().map(AskView::from).collect::<Vec<_>>())?;
        return Ok(out::DONE);
    }
    if all.is_empty() {
        out::tell("no answer holds on");
        return Ok(out::DONE);
    }
    let now = clock::wall();
    let mut table =
        Table::new(&["ASK", "SANDBOX", "ANSWER", "LEFT", "USES", "BY", "KIND", "SUBJECT"]);
    for (ask, it) in all.iter().filter_map(|ask| Some((ask, ask.decision.as_ref()?))) {
        let left = it
            .answer
            .scope
            .until(it.at)
            .map_or_else(|| "-".to_owned(), |it| units::human_duration(it.since(now)));
        table.row(vec![
            ask.asked.id.as_str().into(),
            ask.sandbox_name.clone().into(),
            format!("{} {}", it.answer.verdict.word(), it.answer.scope.word()).into(),
            left.into(),
            it.uses.to_string().into(),
            text::shown(&it.by, NAME_BYTES_MAX).into(),
            ask.asked.request.kind.word().into(),
            text::shown_part(&ask.asked.request.subject, SUBJECT_SHOWN).into(),
        ]);
    }
    out::print(&table.render(paint::wanted()))?;
    Ok(out::DONE)
}

async fn revoke(runtime: &dyn Runtime, args: &RevokeArgs) -> Outcome<out::Code> {
    let all = runtime.standing().await?;
    let id = match resolve::ask(&all, &args.ask) {
        Ok(ask) => ask.asked.id.clone(),
        // The rule that was made of an answer is not among those.
        Err(fault) if fault.kind() == Kind::Absent => {
            let made = |it: &Ask| {
                let rule = |it: &Decision| it.besides.rule.is_some() && it.revoked.is_none();
                it.decision.as_ref().is_some_and(rule)
            };
            let ask = one(runtime, &args.ask).await.ok().filter(made);
            let hint = "see `sandwatch approvals standing`";
            ask.ok_or_else(|| fault.hint(hint))?.asked.id
        }
        Err(fault) => return Err(fault),
    };
    let ask = runtime.revoke(&id).await?;
    if args.json {
        out::json(&AskView::from(&ask))?;
        return Ok(out::DONE);
    }
    let request = &ask.asked.request;
    let subject = text::shown_part(&request.subject, SUBJECT_SHOWN);
    let uses = ask.decision.as_ref().map_or(0, |it| it.uses);
    let (kind, uses) = (request.kind.word(), text::count(uses, "time"));
    out::tell(&format!("taken back, used {uses}: {kind} {subject} of {}", ask.sandbox_name));
    Ok(out::DONE)
}

async fn decide(
    runtime: &dyn Runtime,
    ask: &Ask,
    choice: Choice,
    json: bool,
) -> Outcome<out::Code> {
    let scope = choice.answer.scope;
    let decided = runtime.decide(&ask.asked.id, &ask.digest, choice).await?;
    if json {
        out::json(&AskView::from(&decided))?;
        return Ok(out::DONE);
    }
    let request = &decided.asked.request;
    let subject = text::shown_part(&request.subject, SUBJECT_SHOWN);
    let mut on = if scope == Scope::Once { String::new() } else { format!(", {}", scope.word()) };
    if let Some(besides) = decided.decision.as_ref().map(|it| &it.besides) {
        on.push_str(
            &besides.rule.as_ref().map(|it| format!(", rule {}", it.name.id)).unwrap_or_default(),
        );
        let snapshot = besides.snapshot.as_ref().map(|it| format!(", snapshot {it}"));
        on.push_str(&snapshot.unwrap_or_default());
        on.push_str(if besides.edit.is_some() { ", in other words" } else { "" });
    }
    let (state, kind) = (decided.state.word(), request.kind.word());
    out::tell(&format!("{state}{on}: {kind} {subject} of {}", decided.sandbox_name));
    Ok(out::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_program_looks_like_a_row_of_ours() {
        let evil = format!("x{}risk       low", " ".repeat(28));
        let shown = rows("subject", &evil, 40).concat();
        assert!(shown.lines().skip(1).all(|it| it.starts_with("         ↪ ")), "{shown}");
        let lines = rows("subject", "x\r\nrisk       low", 40).concat();
        assert_eq!(lines, "subject    x␍␊\n           risk       low\n");
    }
}
