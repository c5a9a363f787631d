//! `config`: the operator's settings, and where each comes from.

use std::path::PathBuf;

use super::{check, in_force, or_own, tell_checked};
use crate::{
    base::{
        fault::{Fault, Outcome},
        text,
    },
    cli::{
        args::{ConfigVerb, JsonArgs},
        out, paint,
        table::Table,
    },
    config::{
        agents::{self, Profiles},
        load,
        paths::Paths,
        schema::{Config, Prefs},
        status,
    },
    model::secret::SecretUse,
    tui::files::{self, Files},
    ui::theme::Depth,
};

/// Where a setting comes from.
fn origin(files: &Files, prefs: &Prefs, setting: &str) -> Outcome<&'static str> {
    let chosen = match setting {
        "keymap" => prefs.keymap.is_some(),
        "theme" => prefs.theme.is_some(),
        "layout" => prefs.layout.is_some(),
        _ => false,
    };
    Ok(match chosen {
        true => "chosen in the console",
        false if files.says(setting)? => "config.toml",
        false => "default",
    })
}

/// The files to check: the one that is named, or `config.toml`, all profiles of agents and all screen rules. There need not be any of the
/// operator's own.
fn own_unless_named(files: &Files, named: Option<PathBuf>, args: &JsonArgs) -> Vec<PathBuf> {
    if let Some(named) = named {
        return vec![named];
    }
    let own = files.config_file();
    let there = own.exists();
    if !there && !args.json {
        let directory = files.directory().display();
        out::tell(&format!("no config.toml of your own in {directory}"));
    }
    let profiles = or_own(Vec::new(), files.directory(), agents::DIRECTORY);
    let rules = or_own(Vec::new(), files.directory(), status::DIRECTORY);
    there.then_some(own).into_iter().chain(profiles).chain(rules).collect()
}

fn checked(files: &Files, file: Option<PathBuf>, args: &JsonArgs) -> Outcome<out::Code> {
    let all = file.is_none();
    let (profiles, rules) =
        (files.directory().join(agents::DIRECTORY), files.directory().join(status::DIRECTORY));
    let judged = check(&own_unless_named(files, file, args), |path, _, text, found| {
        if path.parent() == Some(profiles.as_path()) {
            return agents::check(path, text).map_err(|flaws| found.all_of(&flaws));
        }
        if path.parent() == Some(rules.as_path()) {
            return status::check(path, text).map_err(|flaws| found.all_of(&flaws));
        }
        let config = load::config(&path.display().to_string(), text)
            .map_err(|flaws| found.all_of(&flaws))?;
        // What the file names and is not there is a flaw of the file.
        let flaw = |fault: Fault, setting: &str, name: &str| {
            let file = path.display().to_string();
            let fault = files::placed(fault, &file, text, setting, name);
            let why = Fault::invalid(fault.message().to_owned());
            fault.hint_text().map(str::to_owned).into_iter().fold(why, Fault::hint)
        };
        let theme = files.theme(&config.theme, Depth::True);
        theme.map_err(|it| flaw(it, "theme", &config.theme))?;
        let keymap = files.keymap(&config, &config.keymap);
        keymap.map_err(|it| flaw(it, "keymap", &config.keymap)).map(drop)
    });
    let code = tell_checked(&judged, args)?;
    // What is wrong with none of them alone.
    if all
        && code == out::DONE
        && let Err(fault) =
            Profiles::of(files.directory()).and_then(|_| status::of(files.directory()))
    {
        out::report(&fault);
        return Ok(1);
    }
    Ok(code)
}

pub fn config(paths: &Paths, verb: ConfigVerb) -> Outcome<out::Code> {
    let files = Files::new(paths);
    match verb {
        ConfigVerb::Check { file, args } => checked(&files, file, &args),
        ConfigVerb::Ls(args) => {
            let (config, prefs) = in_force(&files)?;
            let mut settings = settings(&config);
            let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
            let mut origins = serde_json::Map::new();
            for (name, value) in flat(&settings) {
                let from = origin(&files, &prefs, &name)?;
                let shown = if value == "null" { unset(&name).to_owned() } else { value };
                table.row(vec![name.as_str().into(), shown.into(), from.into()]);
                origins.insert(name, from.into());
            }
            if args.json {
                if let Some(all) = settings.as_object_mut() {
                    all.insert("from".to_owned(), origins.into());
                }
                out::json(&settings)?;
                return Ok(out::DONE);
            }
            out::print(&table.render(paint::wanted()))?;
            Ok(out::DONE)
        }
        ConfigVerb::Explain { setting, args } => {
            let (config, prefs) = in_force(&files)?;
            let settings = settings(&config);
            let Some((_, value)) = flat(&settings).into_iter().find(|it| it.0 == setting) else {
                let names: Vec<String> = flat(&settings).into_iter().map(|it| it.0).collect();
                let shown = text::visible(&setting);
                return Err(Fault::absent(format!("no such setting: {shown}"))
                    .hint(format!("there are {}", names.join(", "))));
            };
            let from = origin(&files, &prefs, &setting)?;
            if args.json {
                let pointer = format!("/{}", setting.replace('.', "/"));
                let value = settings.pointer(&pointer);
                let meaning = meaning(&setting);
                let meaning = meaning.trim_end();
                out::json(&serde_json::json!({
                    "setting": setting, "value": value, "from": from, "meaning": meaning,
                }))?;
                return Ok(out::DONE);
            }
            let value = if value == "null" { unset(&setting).to_owned() } else { value };
            out::print(&format!("{}{setting} is {value}: {from}\n", meaning(&setting)))?;
            Ok(out::DONE)
        }
    }
}

/// The configuration in force, by the names of config.toml; null is no bound or no choice.
fn settings(it: &Config) -> serde_json::Value {
    serde_json::json!({
        "keymap": it.keymap,
        "theme": it.theme,
        "prefix": it.prefix,
        "layout": it.layout,
        "mouse": it.mouse,
        "scroll_lines": it.scroll_lines,
        "ui": {
            "images": it.ui.images.word(),
        },
        "new": {
            "egress": it.new.egress.word(),
            "workspace": it.new.workspace.word(),
            "record": it.new.record,
            "env": it.new.env,
            "secrets": it.new.secrets.iter().map(SecretUse::text).collect::<Vec<_>>(),
            "cpus": it.new.cpus,
            "memory": it.new.memory_bytes,
            "pids": it.new.pids,
        },
        "notify": {
            "bell": it.notify.bell,
            "desktop": it.notify.desktop,
            "title": it.notify.title,
            "command": it.notify.command,
            "after": it.notify.after.as_secs(),
        },
        "hub": {
            "metrics": it.hub.metrics.map(|it| it.to_string()),
        },
    })
}

/// What it means that a setting has no value.
fn unset(setting: &str) -> &'static str {
    match setting {
        "prefix" => "the keymap's",
        "hub.metrics" => "nowhere",
        _ => "no limit",
    }
}

/// `name` or `table.name`, with its value as text.
fn flat(settings: &serde_json::Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, value) in settings.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(inner) => {
                out.extend(inner.iter().map(|(key, it)| (format!("{name}.{key}"), it.to_string())));
            }
            None => out.push((name.clone(), value.to_string())),
        }
    }
    out
}

/// What the commented default file says of a setting: the comment above it, or beside it.
fn meaning(setting: &str) -> String {
    let (table, name) = setting.split_once('.').unwrap_or(("", setting));
    let mut at = "";
    let mut above: Vec<&str> = Vec::new();
    for line in load::DEFAULT_TOML.lines() {
        if let Some(inner) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            at = inner;
        }
        let plain = line.trim_start_matches("# ");
        if at == table && plain.split_once(" = ").is_some_and(|(key, _)| key == name) {
            let beside = plain.split_once('#').map(|(_, words)| words.trim());
            let words = beside.map_or_else(|| above.join("\n"), str::to_owned);
            return if words.is_empty() { words } else { format!("{words}\n") };
        }
        match line.strip_prefix("# ") {
            Some(words) => above.push(words),
            None => above.clear(),
        }
    }
    String::new()
}
