//! `approvals`: what programs in sandboxes ask, and the answers.

use std::collections::HashSet;

use tokio_stream::StreamExt;

use super::{
    args::{AllowArgs, ApprovalsLsArgs, ApprovalsVerb, DenyArgs, WatchAsksArgs},
    json::AskView,
    out, paint, resolve,
    steer::sure,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::AskId,
        limits::ANSWER_MESSAGE_BYTES_MAX,
        text, units,
    },
    model::{
        ask::{Answer, Ask, AskState, RiskLevel, Scope, Verdict},
        event::Event,
    },
    runtime::Runtime,
};

/// Bytes of a subject in a list.
const SUBJECT_SHOWN: usize = 100;

pub async fn approvals(runtime: &dyn Runtime, verb: ApprovalsVerb) -> Outcome<out::Code> {
    match verb {
        ApprovalsVerb::Ls(args) => ls(runtime, &args).await,
        ApprovalsVerb::Show(args) => {
            let all = everything(runtime).await?;
            let ask = resolve::ask(&all, &args.ask)?;
            if args.json {
                out::json(&AskView::from(ask))?;
            } else {
                out::print(&described(ask))?;
            }
            Ok(out::DONE)
        }
        ApprovalsVerb::Allow(args) => allow(runtime, args).await,
        ApprovalsVerb::Deny(args) => deny(runtime, args).await,
        ApprovalsVerb::Watch(args) => watch(runtime, &args).await,
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
    let mut all = runtime.asks().await?;
    all.reverse();
    let ended: HashSet<AskId> = all.iter().map(|it| it.asked.id.clone()).collect();
    all.extend(waiting.into_iter().filter(|it| !ended.contains(&it.asked.id)));
    Ok(all)
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
            text::shown(&it.asked.request.subject, SUBJECT_SHOWN).into(),
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

/// All of one, a line for each part; what is a program's is made visible.
fn described(ask: &Ask) -> String {
    let asked = &ask.asked;
    let zone = clock::Zone::here();
    let mut lines = vec![
        ("ask", asked.id.to_string()),
        ("sandbox", ask.sandbox_name.clone()),
        ("kind", asked.request.kind.word().to_owned()),
        ("subject", text::visible(&asked.request.subject)),
    ];
    for (key, value) in &asked.request.details {
        lines.push(("detail", format!("{}: {}", text::visible(key), block(value))));
    }
    for (key, value) in &asked.about {
        lines.push(("seen", format!("{}: {}", text::visible(key), block(value))));
    }
    let claims = [("agent", &asked.request.agent), ("reason", &asked.request.reason)];
    for (name, said) in claims {
        lines.extend(said.as_ref().map(|it| (name, format!("{} (it says)", text::visible(it)))));
    }
    lines.push(("risk", ask.risk.level.word().to_owned()));
    lines.extend(ask.risk.findings.iter().map(|it| ("look at", text::visible(it))));
    lines.push(("state", ask.state.word().to_owned()));
    lines.push(("asked", zone.date_time(asked.created_at)));
    if asked.askers > 1 {
        lines.push(("askers", asked.askers.to_string()));
    }
    if ask.state == AskState::Pending {
        lines.push(("denied in", left(ask)));
    }
    if let Some(it) = &ask.decision {
        let waited = units::human_duration(std::time::Duration::from_millis(it.waited_ms));
        let scope = it.answer.scope.word();
        lines.push(("decided", format!("by {} after {waited}, {scope}", text::visible(&it.by))));
        lines.extend(it.answer.message.as_ref().map(|it| ("message", text::visible(it))));
    }
    lines.push(("digest", ask.digest.clone()));
    lines.into_iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect()
}

/// Text of several lines below its name.
fn block(value: &str) -> String {
    if !value.contains('\n') {
        return text::visible(value);
    }
    value.lines().map(|it| format!("\n    {}", text::visible(it))).collect()
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
    let all = everything(runtime).await?;
    let ask = resolve::ask(&all, &args.ask)?;
    if let Some(digest) = args.digest.as_ref().filter(|it| !ask.digest.starts_with(*it)) {
        let digest = text::shown(digest, 64);
        return Err(Fault::failed(format!("it asks for something else than {digest}"))
            .hint(format!("look again: sandwatch approvals show {}", ask.asked.id)));
    }
    let grave = ask.risk.level == RiskLevel::High && ask.state == AskState::Pending;
    if grave && !args.yes && args.digest.is_none() {
        out::print(&described(ask))?;
        let what = format!("much is at stake: allow it, {}?", args.scope.word());
        sure("approvals allow asks where much is at stake", &what, "nothing was allowed")?;
    }
    let message = message(args.message)?;
    let answer = Answer { verdict: Verdict::Allow, scope: args.scope, message };
    decide(runtime, ask, answer, args.json).await
}

async fn deny(runtime: &dyn Runtime, args: DenyArgs) -> Outcome<out::Code> {
    let all = everything(runtime).await?;
    let ask = resolve::ask(&all, &args.ask)?;
    let message = message(args.message)?;
    let answer = Answer { verdict: Verdict::Deny, scope: args.scope, message };
    decide(runtime, ask, answer, args.json).await
}

async fn decide(
    runtime: &dyn Runtime,
    ask: &Ask,
    answer: Answer,
    json: bool,
) -> Outcome<out::Code> {
    let scope = answer.scope;
    let decided = runtime.decide(&ask.asked.id, &ask.digest, answer).await?;
    if json {
        out::json(&AskView::from(&decided))?;
        return Ok(out::DONE);
    }
    let request = &decided.asked.request;
    let subject = text::shown(&request.subject, SUBJECT_SHOWN);
    let on = if scope == Scope::Once { String::new() } else { format!(", {}", scope.word()) };
    let (state, kind) = (decided.state.word(), request.kind.word());
    out::tell(&format!("{state}{on}: {kind} {subject} of {}", decided.sandbox_name));
    Ok(out::DONE)
}

/// Prints each ask when it begins to wait and when it waits no more.
async fn watch(runtime: &dyn Runtime, args: &WatchAsksArgs) -> Outcome<out::Code> {
    let mut events = runtime.events().await?;
    let mut known: HashSet<AskId> = HashSet::new();
    while let Some(event) = events.next().await {
        let changed = match event? {
            Event::Snapshot { sandboxes, .. } => sandboxes,
            Event::Changed { sandbox, .. } => vec![*sandbox],
            _ => continue,
        };
        // Whether one that is not among these has ended, the list of those that have says.
        let here: HashSet<&AskId> =
            changed.iter().flat_map(|it| &it.asks).map(|it| &it.asked.id).collect();
        let ended: Vec<AskId> = known.iter().filter(|it| !here.contains(it)).cloned().collect();
        for ask in changed.iter().flat_map(|it| &it.asks) {
            if known.insert(ask.asked.id.clone()) {
                told(ask, args.json)?;
            }
        }
        if ended.is_empty() {
            continue;
        }
        for ask in runtime.asks().await?.iter().rev() {
            if ended.contains(&ask.asked.id) && known.remove(&ask.asked.id) {
                told(ask, args.json)?;
            }
        }
    }
    Ok(out::DONE)
}

fn told(ask: &Ask, json: bool) -> Outcome<()> {
    if json {
        return out::json_line(&AskView::from(ask));
    }
    let request = &ask.asked.request;
    let subject = text::shown(&request.subject, SUBJECT_SHOWN);
    let by = ask.decision.as_ref().map(|it| format!(" by {}", it.by)).unwrap_or_default();
    let by = text::visible(&by);
    out::print(&format!(
        "{}  {:<9} {}  {} {subject}{by}\n",
        ask.asked.id,
        ask.state.word(),
        ask.sandbox_name,
        request.kind.word(),
    ))
}
