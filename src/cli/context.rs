//! `context`: hubs by name, and which of them verbs speak to.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    args::{ContextAddArgs, ContextArgs, ContextRmArgs, ContextVerb, JsonArgs},
    gateway, out, paint,
    table::{Cell, Table, Tone},
};
use crate::{
    app::{command::split, effect::ContextChange},
    base::{
        fault::{Fault, Outcome},
        limits::CALL_WORDS_MAX,
    },
    client,
    config::{
        contexts::{Context, ContextName, Contexts},
        oidc::{TokenFiles, TokenFrom},
        paths::Paths,
        team::TeamFiles,
    },
};

#[derive(Serialize)]
struct ContextView<'a> {
    name: &'a str,
    address: String,
    /// Verbs speak to it unless told otherwise.
    current: bool,
    kind: &'static str,
    /// The authority of a team, your certificate of it and its key, where it was added by those; the first for a token, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a Path>,
    /// Where the token comes from, where one is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_command: Option<&'a [String]>,
    /// Lists and output come compressed from there.
    compress: bool,
}

impl<'a> ContextView<'a> {
    fn new(it: &'a Context, current: &ContextName) -> Self {
        let kind = if it.name.is_local() { "local" } else { it.address.kind() };
        let current = it.name == *current;
        let (team, token) = (it.team.as_ref(), it.token.as_ref());
        let (token_file, token_command) = match token.map(|it| &it.from) {
            Some(TokenFrom::File(path)) => (Some(path.as_path()), None),
            Some(TokenFrom::Command(words)) => (None, Some(words.as_slice())),
            None => (None, None),
        };
        let ca = team.map(|it| &it.authority).or(token.map(|it| &it.authority));
        Self {
            name: it.name.as_str(),
            address: it.address.to_string(),
            current,
            kind,
            ca: ca.map(PathBuf::as_path),
            certificate: team.map(|it| it.certificate.as_path()),
            key: team.map(|it| it.key.as_path()),
            token_file,
            token_command,
            compress: it.compress,
        }
    }
}

pub async fn context(paths: &Paths, verb: ContextVerb) -> Outcome<out::Code> {
    match verb {
        ContextVerb::Ls(args) => ls(paths, &args),
        ContextVerb::Add(args) => add(paths, args).await,
        ContextVerb::Use(args) => choose(paths, &args),
        ContextVerb::Rm(args) => rm(paths, args).await,
    }
}

fn ls(paths: &Paths, args: &JsonArgs) -> Outcome<out::Code> {
    let contexts = Contexts::load(paths)?;
    let current = contexts.current()?;
    let views: Vec<_> = contexts.all().iter().map(|it| ContextView::new(it, &current)).collect();
    if args.json {
        out::json(&views)?;
        return Ok(out::DONE);
    }
    let mut table = Table::new(&["NAME", "KIND", "CURRENT", "ADDRESS"]);
    for it in views {
        let mark = if it.current { Cell::new("yes", Tone::Good) } else { "".into() };
        table.row(vec![it.name.into(), it.kind.into(), mark, it.address.into()]);
    }
    out::print(&table.render(paint::wanted()))?;
    if !contexts.all().iter().any(|it| it.name == current) {
        out::tell(&format!("SANDWATCH_CONTEXT names none of them: {current}"));
    }
    Ok(out::DONE)
}

/// The same as `context add` and `rm`, for a console, which has asked whom it asks.
pub async fn change(paths: &Paths, change: ContextChange) -> Outcome<()> {
    match change {
        ContextChange::Add { name, place } => {
            with_one_more(paths, &name, place.expose(), (None, None), false).await?.0.save()
        }
        ContextChange::Remove(name) => remove(paths, &name).await.map(drop),
    }
}

/// Takes one out, with the keys to it and what runs for it here.
async fn remove(paths: &Paths, name: &ContextName) -> Outcome<Context> {
    let mut contexts = Contexts::load(paths)?;
    let gone = contexts.remove(name)?;
    contexts.save()?;
    forget_keys(paths, name)?;
    gateway::end(paths, &gone).await?;
    Ok(gone)
}

/// What there is with one more, which is not written yet.
async fn with_one_more(
    paths: &Paths,
    name: &ContextName,
    place: &str,
    (team, token): (Option<TeamFiles>, Option<TokenFiles>),
    compress: bool,
) -> Outcome<(Contexts, Context)> {
    let mut contexts = Contexts::load(paths)?;
    // Before an invitation is taken up, which can be done once.
    contexts.has_room_for(name)?;
    let address = match (&team, &token) {
        (Some(files), _) => client::of_team(place, files)?,
        (None, Some(files)) => client::of_token(place, files).await?,
        (None, None) => client::enrol(paths, name, place).await?,
    };
    let context = Context { name: name.clone(), address, team, token, compress };
    contexts.add(context.clone())?;
    Ok((contexts, context))
}

/// There may be none.
fn forget_keys(paths: &Paths, name: &ContextName) -> Outcome<()> {
    let keys = paths.context(name);
    match std::fs::remove_dir_all(&keys) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Fault::io(format_args!("removing {}", keys.display()), &error))
        }
        _ => Ok(()),
    }
}

async fn add(paths: &Paths, args: ContextAddArgs) -> Outcome<out::Code> {
    let files = (team(&args)?, token(&args)?);
    let (mut contexts, context) =
        with_one_more(paths, &args.name, &args.address, files, args.compress).await?;
    if args.chosen {
        contexts.use_(&args.name)?;
    }
    contexts.save()?;
    let current = contexts.current()?;
    told(&context, &current, args.json)?;
    if !args.json && current != args.name {
        let name = &args.name;
        out::tell(&format!(
            "sandwatch --context {name} speaks to it, and so do all verbs after: sandwatch context use {name}"
        ));
    }
    Ok(out::DONE)
}

/// A file by its whole path, so that it is found from everywhere.
fn whole(path: &Path) -> Outcome<PathBuf> {
    let whole = std::path::absolute(path);
    let whole =
        whole.map_err(|error| Fault::io(format_args!("finding {}", path.display()), &error))?;
    if whole.to_str().is_none() {
        return Err(Fault::invalid(format!("a path that is no text: {}", path.display())));
    }
    Ok(whole)
}

fn team(args: &ContextAddArgs) -> Outcome<Option<TeamFiles>> {
    let (Some(authority), Some(certificate), Some(key)) = (&args.ca, &args.certificate, &args.key)
    else {
        return Ok(None);
    };
    let (authority, certificate, key) = (whole(authority)?, whole(certificate)?, whole(key)?);
    Ok(Some(TeamFiles { authority, certificate, key }))
}

fn token(args: &ContextAddArgs) -> Outcome<Option<TokenFiles>> {
    let Some(authority) = &args.ca else { return Ok(None) };
    let from = match (&args.token_file, &args.token_command) {
        (Some(path), _) => TokenFrom::File(whole(path)?),
        (None, Some(line)) => TokenFrom::Command(command(line)?),
        (None, None) => return Ok(None),
    };
    Ok(Some(TokenFiles { authority: whole(authority)?, from }))
}

/// The words of a command, its program first.
fn command(line: &str) -> Outcome<Vec<String>> {
    let mut words = split(line).map_err(Fault::invalid)?;
    if words.first().is_none_or(String::is_empty) || words.len() > CALL_WORDS_MAX {
        return Err(Fault::invalid(format!(
            "a command is a program and what it is told, {CALL_WORDS_MAX} words at most"
        )));
    }
    // Never what lies by that name wherever somebody happens to be.
    if let Some(program) = words.first_mut().filter(|it| it.contains('/')) {
        *program = whole(Path::new(program))?.to_string_lossy().into_owned();
    }
    Ok(words)
}

fn choose(paths: &Paths, args: &ContextArgs) -> Outcome<out::Code> {
    let mut contexts = Contexts::load(paths)?;
    contexts.use_(&args.name)?;
    contexts.save()?;
    let current = contexts.current()?;
    told(contexts.find(&args.name)?, &current, args.json)?;
    if current != args.name {
        out::tell(&format!("SANDWATCH_CONTEXT says {current}, and goes before that"));
    }
    Ok(out::DONE)
}

async fn rm(paths: &Paths, args: ContextRmArgs) -> Outcome<out::Code> {
    // Nobody is asked about what could not be taken out.
    Contexts::load(paths)?.remove(&args.name)?;
    if paths.context(&args.name).exists() && !args.yes {
        sure(&args.name)?;
    }
    let gone = remove(paths, &args.name).await?;
    told(&gone, &Contexts::load(paths)?.current()?, args.json)?;
    Ok(out::DONE)
}

/// Keys are not to be had again without an invitation.
fn sure(name: &ContextName) -> Outcome<()> {
    if !out::on_terminal() {
        return Err(Fault::denied("context rm asks before it removes keys")
            .hint("say --yes where nobody can be asked"));
    }
    match out::confirm(&format!("forget {name} and remove the keys to it?"))? {
        true => Ok(()),
        false => Err(Fault::denied("nothing was removed")),
    }
}

fn told(context: &Context, current: &ContextName, json: bool) -> Outcome<()> {
    let view = ContextView::new(context, current);
    if json {
        return out::json(&view);
    }
    out::print(&format!("{} {}\n", view.name, view.address))
}
