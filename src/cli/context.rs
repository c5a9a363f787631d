//! `context`: hubs by name, and which of them verbs speak to.

use serde::Serialize;

use super::{
    args::{ContextAddArgs, ContextArgs, ContextRmArgs, ContextVerb, JsonArgs},
    gateway, out, paint,
    table::{Cell, Table, Tone},
};
use crate::{
    base::fault::{Fault, Outcome},
    client,
    config::{
        contexts::{Context, ContextName, Contexts},
        paths::Paths,
    },
};

#[derive(Serialize)]
struct ContextView<'a> {
    name: &'a str,
    address: String,
    /// Verbs speak to it unless told otherwise.
    current: bool,
    kind: &'static str,
    /// Lists and output come compressed from there.
    compress: bool,
}

impl<'a> ContextView<'a> {
    fn new(it: &'a Context, current: &ContextName) -> Self {
        let kind = if it.name.is_local() { "local" } else { it.address.kind() };
        let current = it.name == *current;
        let (name, address) = (it.name.as_str(), it.address.to_string());
        Self { name, address, current, kind, compress: it.compress }
    }
}

pub async fn context(paths: &Paths, verb: ContextVerb) -> Outcome<out::Code> {
    match verb {
        ContextVerb::Ls(args) => ls(paths, &args),
        ContextVerb::Add(args) => add(paths, args).await,
        ContextVerb::Use(args) => choose(paths, &args),
        ContextVerb::Rm(args) => {
            let gone = Contexts::load(paths)?.find(&args.name)?.clone();
            let code = rm(paths, &args)?;
            gateway::end(paths, &gone).await?;
            Ok(code)
        }
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

async fn add(paths: &Paths, args: ContextAddArgs) -> Outcome<out::Code> {
    let mut contexts = Contexts::load(paths)?;
    // Before an invitation is taken up, which can be done once.
    contexts.has_room_for(&args.name)?;
    let address = client::enrol(paths, &args.name, &args.address).await?;
    let context = Context { name: args.name.clone(), address, compress: args.compress };
    contexts.add(context.clone())?;
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

fn rm(paths: &Paths, args: &ContextRmArgs) -> Outcome<out::Code> {
    let mut contexts = Contexts::load(paths)?;
    let gone = contexts.remove(&args.name)?;
    let keys = paths.context(&args.name);
    let has_keys = keys.exists();
    if has_keys && !args.yes {
        sure(&args.name)?;
    }
    contexts.save()?;
    if has_keys {
        std::fs::remove_dir_all(&keys)
            .map_err(|error| Fault::io(format_args!("removing {}", keys.display()), &error))?;
    }
    told(&gone, &contexts.current()?, args.json)?;
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
