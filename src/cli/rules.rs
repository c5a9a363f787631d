//! `policy add`, `rm` and `import`: rules are made and taken out, and what they would do is shown before.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    args::{PolicyAddArgs, PolicyImportArgs, PolicyRmArgs, RulesOf},
    link, out, paint,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        limits::NAME_BYTES_MAX,
        text,
    },
    config::{
        import::{self, Import},
        policy::{self, edit},
        source::FILE_BYTES_MAX,
    },
    model::{
        ask::AskState,
        rule::{Domain, Draft, KnownRule, Question, Reach, RuleName, Ruling},
    },
    runtime::Runtime,
};

/// Asks that are named of those a rule matches.
const NAMED: usize = 10;

/// What a rule would do.
#[derive(Serialize)]
pub struct DraftView<'a> {
    id: &'a str,
    workspace: Option<String>,
    file: &'a str,
    text: &'a str,
    notes: &'a [String],
    /// Why it can't be made.
    refused: Option<&'a str>,
    reach: ReachView<'a>,
}

#[derive(Serialize)]
struct ReachView<'a> {
    looked_at: u32,
    allowed: u32,
    denied: u32,
    other: u32,
    matched: Vec<MatchView<'a>>,
}

#[derive(Serialize)]
struct MatchView<'a> {
    ask: &'a str,
    sandbox: &'a str,
    sandbox_name: &'a str,
    kind: &'static str,
    subject: &'a str,
    state: &'static str,
    by: Option<&'a str>,
    at: String,
}

impl<'a> From<&'a Draft> for DraftView<'a> {
    fn from(it: &'a Draft) -> Self {
        let reach = &it.reach;
        let matched = reach.matched.iter().map(|it| MatchView {
            ask: it.ask.as_str(),
            sandbox: it.sandbox.as_str(),
            sandbox_name: &it.sandbox_name,
            kind: it.kind.word(),
            subject: &it.subject,
            state: it.state.word(),
            by: Some(it.by.as_str()).filter(|it| !it.is_empty()),
            at: it.at.rfc3339(),
        });
        Self {
            id: &it.name.id,
            workspace: workspace(&it.name),
            file: &it.file,
            text: &it.text,
            notes: &it.notes,
            refused: it.refused.as_deref(),
            reach: ReachView {
                looked_at: reach.looked_at,
                allowed: reach.allowed,
                denied: reach.denied,
                other: reach.other,
                matched: matched.collect(),
            },
        }
    }
}

/// The directory whose sandboxes a rule is for; `None` = for all.
pub fn workspace(name: &RuleName) -> Option<String> {
    match &name.domain {
        Domain::All => None,
        Domain::Project(path) => Some(path.display().to_string()),
    }
}

/// A rule that is to be made, with all that is to be known before.
pub fn described(draft: &Draft) -> String {
    let mut out = String::new();
    for line in draft.text.lines() {
        out.push_str(&format!("    {}\n", text::visible(line)));
    }
    out.push_str(&format!("in {}\n", text::visible(&draft.file)));
    for it in &draft.notes {
        out.push_str(&format!("note: {}\n", text::visible(it)));
    }
    out.push_str(&reached(&draft.reach));
    out
}

fn reached(reach: &Reach) -> String {
    let mut out = format!("{}\n", reach.words());
    if reach.matched.is_empty() {
        return out;
    }
    let mut table = Table::new(&["WAS", "BY", "SANDBOX", "KIND", "SUBJECT"]);
    for it in reach.matched.iter().take(NAMED) {
        let tone = match it.state {
            AskState::Allowed => Tone::Good,
            AskState::Denied => Tone::Bad,
            _ => Tone::Dim,
        };
        let by =
            if it.by.is_empty() { "-".to_owned() } else { text::shown(&it.by, NAME_BYTES_MAX) };
        table.row(vec![
            Cell::new(it.state.word(), tone),
            by.into(),
            it.sandbox_name.clone().into(),
            it.kind.word().into(),
            it.subject.clone().into(),
        ]);
    }
    out.push_str(&table.render(paint::wanted()));
    let more = reach.count() as usize - reach.matched.len().min(NAMED).min(reach.count() as usize);
    if more > 0 {
        out.push_str(&format!("and {more} more\n"));
    }
    out
}

fn domain(target: &link::Target, project: Option<PathBuf>) -> Outcome<Domain> {
    let Some(path) = project else { return Ok(Domain::All) };
    if target.is_elsewhere() {
        return link::over_there(path).map(Domain::Project);
    }
    let path = path
        .canonicalize()
        .map_err(|error| Fault::io(format_args!("looking for {}", path.display()), &error))?;
    Ok(Domain::Project(path))
}

pub async fn add(target: &link::Target, args: PolicyAddArgs) -> Outcome<out::Code> {
    let domain = domain(target, args.project.clone())?;
    let runtime = link::hub(target).await?.runtime;
    let id = match &args.id {
        Some(id) => id.clone(),
        None => free_id(&*runtime, &args, &domain).await?,
    };
    let text = block(&args, &id)?;
    let question = Question::Rules { text: text.clone(), domain: domain.clone() };
    let proposal = runtime.propose(question).await?;
    let refused: Vec<String> = proposal.drafts.iter().filter_map(|it| it.refused.clone()).collect();
    if let (true, Some(why)) = (!args.json, refused.first()) {
        return Err(Fault::invalid(format!("rule {id} can't be made: {why}")));
    }
    if !args.json {
        // Before it is written.
        out::print(&proposal.drafts.iter().map(described).collect::<String>())?;
    }
    let writes = !args.dry_run && refused.is_empty();
    if writes {
        runtime.add_rules(&text, domain).await?;
    }
    if args.json {
        out::json(&AddedView {
            added: writes,
            rules: proposal.drafts.iter().map(Into::into).collect(),
            left_out: Vec::new(),
        })?;
        return Ok(if refused.is_empty() { out::DONE } else { 2 });
    }
    out::tell(&match writes {
        true => format!("rule {id} is made; `sandwatch policy rm {id}` takes it out"),
        false => "nothing was changed".to_owned(),
    });
    Ok(out::DONE)
}

#[derive(Serialize)]
struct AddedView<'a> {
    added: bool,
    rules: Vec<DraftView<'a>>,
    left_out: Vec<LeftOutView<'a>>,
}

#[derive(Serialize)]
struct LeftOutView<'a> {
    line: &'a str,
    why: &'a str,
}

async fn free_id(runtime: &dyn Runtime, args: &PolicyAddArgs, domain: &Domain) -> Outcome<String> {
    let entries = policy::entries("rule", &block(args, "rule")?);
    let entry = entries.map_err(|flaws| flaw(&flaws))?.pop();
    let subject = entry.map(|it| it.rule.subject).ok_or_else(|| Fault::bug("a rule got lost"))?;
    let all = runtime.rules().await?.rules;
    let taken = |id: &str| all.iter().any(|it| it.name.domain == *domain && it.name.id == id);
    Ok(edit::id_for(&subject, taken))
}

/// What was typed as a rule of the file, which is what is checked then.
fn block(args: &PolicyAddArgs, id: &str) -> Outcome<String> {
    let RulesOf { command, path, host, tool } = &args.about;
    let about = if let Some(command) = command {
        let words = command.split_whitespace().map(|it| match it.contains('|') {
            true => edit::list(&it.split('|').map(str::to_owned).collect::<Vec<_>>()),
            false => edit::quoted(it),
        });
        format!("command = [{}]", words.collect::<Vec<_>>().join(", "))
    } else if let Some(path) = path {
        format!("path = {}", edit::quoted(path))
    } else if let Some(host) = host {
        format!("host = {}", edit::quoted(host))
    } else {
        format!("tool = {}", edit::quoted(tool.as_deref().unwrap_or_default()))
    };
    let mut text = format!(
        "[[rule]]\nid = {}\nverdict = {}\n{about}\n",
        edit::quoted(id),
        edit::quoted(args.verdict.word())
    );
    if let Some(why) = &args.why {
        text.push_str(&format!("why = {}\n", edit::quoted(why)));
    }
    let until = args.until.or_else(|| {
        let ms = args.lasts.map(|it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX));
        ms.map(|it| Timestamp(clock::wall().0.saturating_add(it)))
    });
    if let Some(until) = until {
        text.push_str(&format!("until = {}\n", edit::quoted(&until.rfc3339())));
    }
    for (key, cases) in [("match", &args.matches), ("not_match", &args.not_match)] {
        if !cases.is_empty() {
            text.push_str(&format!("{key} = {}\n", edit::list(cases)));
        }
    }
    // What is wrong is said before a hub is asked.
    let entries = policy::entries("rule", &text).map_err(|flaws| flaw(&flaws))?;
    Ok(entries.iter().map(edit::block).collect())
}

fn flaw(flaws: &[crate::config::source::Flaw]) -> Fault {
    let messages: Vec<&str> = flaws.iter().map(|it| it.message.as_str()).collect();
    Fault::invalid(messages.join("; ")).hint("nothing was changed")
}

pub async fn rm(target: &link::Target, args: PolicyRmArgs) -> Outcome<out::Code> {
    let runtime = link::hub(target).await?.runtime;
    let name = match args.project {
        Some(path) => RuleName { id: args.rule, domain: domain(target, Some(path))? },
        None => named(&*runtime, args.rule).await?,
    };
    let gone = runtime.remove_rule(&name).await?;
    if args.json {
        out::json(&RuleView::from(&gone))?;
        return Ok(out::DONE);
    }
    let (word, hits) = (gone.ruling.word(), text::count(gone.hits, "time"));
    let about = text::visible(&gone.about);
    out::tell(&format!("taken out of {}: {word} {about}, answered {hits}", gone.file));
    Ok(out::DONE)
}

/// The one rule of that name: for all, else of the one directory that has one.
async fn named(runtime: &dyn Runtime, id: String) -> Outcome<RuleName> {
    let book = runtime.rules().await?;
    let mut all: Vec<RuleName> =
        book.rules.into_iter().map(|it| it.name).filter(|it| it.id == id).collect();
    if let Some(at) = all.iter().position(|it| it.domain == Domain::All) {
        return Ok(all.swap_remove(at));
    }
    match (all.pop(), all.is_empty()) {
        (Some(it), true) => Ok(it),
        (Some(_), false) => Err(Fault::invalid(format!("several directories have a rule {id}"))
            .hint("say which with --project DIR")),
        // The hub says so.
        (None, _) => Ok(RuleName { id, domain: Domain::All }),
    }
}

pub async fn import(target: &link::Target, args: PolicyImportArgs) -> Outcome<out::Code> {
    let text = read(&args.file)?;
    let domain = domain(target, args.project)?;
    let runtime = link::hub(target).await?.runtime;
    let mut ids: Vec<String> = runtime
        .rules()
        .await?
        .rules
        .into_iter()
        .filter(|it| it.name.domain == domain)
        .map(|it| it.name.id)
        .collect();
    let Import { found, mut left_out } = import::read(args.from, &text, &mut |subject| {
        let id = edit::id_for(subject, |id| ids.iter().any(|it| it == id));
        ids.push(id.clone());
        id
    })?;
    let mut drafts = Vec::new();
    if !found.is_empty() {
        let text = found.iter().map(|it| edit::block(&it.entry)).collect::<Vec<_>>().join("\n");
        let question = Question::Rules { text, domain: domain.clone() };
        drafts = runtime.propose(question).await?.drafts;
    }
    let mut notes = Vec::new();
    let mut made = Vec::new();
    for (draft, it) in drafts.iter().zip(&found) {
        match &draft.refused {
            Some(why) => left_out.push((it.line.clone(), why.clone())),
            None => {
                notes.extend(it.note.as_ref().map(|note| format!("{}: {note}", draft.name.id)));
                made.push(draft);
            }
        }
    }
    let writes = !args.dry_run && !made.is_empty();
    if writes {
        let text = made.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join("\n");
        runtime.add_rules(&text, domain).await?;
    }
    if args.json {
        let left_out = left_out.iter().map(|(line, why)| LeftOutView { line, why }).collect();
        let rules = made.into_iter().map(Into::into).collect();
        out::json(&AddedView { added: writes, rules, left_out })?;
        return Ok(out::DONE);
    }
    let mut table = Table::new(&["RULE", "VERDICT", "ABOUT", "MATCHED"]);
    for (draft, it) in drafts.iter().zip(&found).filter(|(it, _)| it.refused.is_none()) {
        let rule = &it.entry.rule;
        table.row(vec![
            draft.name.id.as_str().into(),
            Cell::new(rule.ruling.word(), tone(rule.ruling)),
            text::visible(&rule.subject.about()).into(),
            draft.reach.count().to_string().into(),
        ]);
    }
    if !made.is_empty() {
        out::print(&table.render(paint::wanted()))?;
    }
    notes.iter().for_each(|it| out::tell(&format!("note: {it}")));
    for (line, why) in &left_out {
        out::tell(&format!("left out: {}: {why}", text::shown_part(line, 200)));
    }
    let (rules, left) = (text::count(made.len() as u64, "rule"), left_out.len());
    let word = if writes { "made" } else { "would be made" };
    out::tell(&format!("{rules} {word}, {left} left out"));
    Ok(out::DONE)
}

fn read(path: &Path) -> Outcome<String> {
    let failed =
        |error: &std::io::Error| Fault::io(format_args!("reading {}", path.display()), error);
    let mut text = String::new();
    let file = File::open(path).map_err(|it| failed(&it))?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(|it| failed(&it))?;
    match text.len() > FILE_BYTES_MAX {
        true => {
            Err(Fault::invalid(format!("larger than {FILE_BYTES_MAX} bytes: {}", path.display())))
        }
        false => Ok(text),
    }
}

/// A rule that is there.
#[derive(Serialize)]
pub struct RuleView<'a> {
    pub id: &'a str,
    pub verdict: &'static str,
    pub subject: &'a str,
    pub why: &'a str,
    pub until: Option<String>,
    /// The directory whose sandboxes it is for; `null` = for all.
    pub workspace: Option<String>,
    pub file: &'a str,
    /// `null` = not known: no hub runs.
    pub hits: Option<u64>,
    pub last_at: Option<String>,
}

impl<'a> From<&'a KnownRule> for RuleView<'a> {
    fn from(it: &'a KnownRule) -> Self {
        Self {
            id: &it.name.id,
            verdict: it.ruling.word(),
            subject: &it.about,
            why: &it.why,
            until: it.until.map(Timestamp::rfc3339),
            workspace: workspace(&it.name),
            file: &it.file,
            hits: Some(it.hits),
            last_at: it.last_at.map(Timestamp::rfc3339),
        }
    }
}

pub fn tone(ruling: Ruling) -> Tone {
    match ruling {
        Ruling::Deny => Tone::Bad,
        Ruling::Ask => Tone::Warn,
        Ruling::Allow => Tone::Good,
    }
}
