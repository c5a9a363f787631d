//! `keys`, `themes` and `config`: check, list and explain the operator's files, without a hub.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    args::{ConfigVerb, JsonArgs, KeysVerb, ThemesVerb},
    out, paint,
    table::Table,
};
use crate::{
    app::{
        action::Scope,
        keymap::{self, Bound, Keymap, PREFIX},
    },
    base::{
        fault::{Fault, Kind, Outcome},
        text,
    },
    config::{
        load,
        paths::Paths,
        schema::{Config, Prefs},
        source::Flaw,
    },
    tui::files::{self, Files},
    ui::theme::{Depth, PRESETS, ROLES, Role, Theme},
};

pub fn keys(paths: &Paths, verb: KeysVerb) -> Outcome<out::Code> {
    let files = Files::new(paths);
    match verb {
        KeysVerb::Check { files: named, args } => {
            let named = or_own(named, files.directory(), "keymaps");
            if named.is_empty() && !args.json {
                out::tell(&none_of_your_own(&files, "keymaps"));
            }
            // What a built-in keymap does on purpose is no remark on a file that inherits it.
            let presets = keymap::PRESETS.iter().filter_map(|it| keymap::load_preset(it.0));
            let known: Vec<String> = presets.flat_map(|it| it.conflicts()).collect();
            let judged = check(&named, |path, name, text, found| {
                let map = files.parse_keymap(path, name, text).map_err(|it| found.all_of(&it))?;
                let conflicts = map.conflicts().into_iter();
                found.remarks.extend(conflicts.filter(|it| !known.contains(it)));
                Ok(())
            });
            tell_checked(&judged, &args)
        }
        KeysVerb::Ls(args) => {
            let map = keymap_in_force(&files)?;
            let rows: Vec<KeyView> = map.bindings().map(KeyView::from).collect();
            if args.json {
                out::json(&rows)?;
                return Ok(out::DONE);
            }
            let mut table = Table::new(&["WHERE", "KEY", "ACTION", "WHAT IT DOES"]);
            for row in rows {
                let cells =
                    [row.scope.into(), row.keys.into(), row.action.into(), row.title.into()];
                table.row(cells.into());
            }
            out::print(&table.render(paint::wanted()))?;
            Ok(out::DONE)
        }
        KeysVerb::Explain { keys, args } => {
            explain_keys(&keymap_in_force(&files)?, &keys.join(" "), &args)
        }
    }
}

fn keymap_in_force(files: &Files) -> Outcome<Keymap> {
    let config = config_in_force(files)?;
    files.keymap(&config, &config.keymap)
}

fn config_in_force(files: &Files) -> Outcome<Config> {
    Ok(in_force(files)?.0)
}

/// The settings in force, and what of them was chosen in the console.
fn in_force(files: &Files) -> Outcome<(Config, Prefs)> {
    let (mut config, mut prefs) = (files.config()?, files.prefs());
    prefs.settle(&config);
    config.apply(&prefs);
    Ok((config, prefs))
}

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

/// One binding, as in `keys ls`.
#[derive(Serialize)]
struct KeyView {
    scope: &'static str,
    keys: String,
    action: String,
    title: String,
}

impl From<(Scope, &keymap::Sequence, &Bound)> for KeyView {
    fn from((scope, keys, bound): (Scope, &keymap::Sequence, &Bound)) -> Self {
        Self {
            scope: scope.word(),
            keys: keys.to_string(),
            action: bound.word(),
            title: bound.title(),
        }
    }
}

/// What a key does in one place, as in `keys explain`.
#[derive(Serialize)]
struct MeaningView {
    scope: &'static str,
    title: String,
}

fn explain_keys(map: &Keymap, typed: &str, args: &JsonArgs) -> Outcome<out::Code> {
    let mut chords = keymap::parse_sequence(typed)
        .map_err(|why| Fault::invalid(why).hint("keys are written as in `sandwatch keys ls`"))?
        .0;
    for chord in &mut chords {
        if *chord == PREFIX {
            *chord = map.prefix();
        }
    }
    let mut found = map.explain(&chords);
    found.retain(|(scope, words)| words != "nothing" && *scope != Scope::Prefix);
    if found.iter().all(|(scope, words)| *scope == Scope::Pane && words.starts_with("goes")) {
        return Err(Fault::absent(format!("no key of keymap {}: {typed}", map.name))
            .hint("while you type into a pane it goes to the program"));
    }
    if args.json {
        let view = |(scope, title): (Scope, String)| MeaningView { scope: scope.word(), title };
        out::json(&found.into_iter().map(view).collect::<Vec<_>>())?;
        return Ok(out::DONE);
    }
    let mut table = Table::new(&["WHERE", "WHAT IT DOES"]);
    for (scope, words) in found {
        table.row(vec![scope.title().into(), words.into()]);
    }
    out::print(&table.render(paint::wanted()))?;
    Ok(out::DONE)
}

pub fn themes(paths: &Paths, verb: ThemesVerb) -> Outcome<out::Code> {
    let files = Files::new(paths);
    match verb {
        ThemesVerb::Check { files: named, args } => {
            let own = named.is_empty();
            let named = or_own(named, files.directory(), "themes");
            let judged = check(&named, |path, name, text, found| {
                let theme = files.parse_theme(path, name, text, Depth::True);
                readable(&theme.map_err(|it| found.all_of(&it))?)
            });
            let code = tell_checked(&judged, &args)?;
            if own {
                if named.is_empty() && !args.json {
                    out::tell(&none_of_your_own(&files, "themes"));
                }
                for (name, _) in PRESETS {
                    readable(&files.theme(name, Depth::True)?)?;
                }
            }
            Ok(code)
        }
        ThemesVerb::Ls(args) => {
            let used = config_in_force(&files)?.theme;
            if args.json {
                out::json(&files.themes())?;
                return Ok(out::DONE);
            }
            for name in files.themes() {
                let mark = if name == used { "*" } else { " " };
                out::print(&format!("{mark} {name}\n"))?;
            }
            Ok(out::DONE)
        }
        ThemesVerb::Explain { theme, args } => {
            let theme = files.theme(&theme, Depth::True)?;
            if args.json {
                let roles = ROLES.iter().map(|it| RoleView::of(&theme, it)).collect::<Vec<_>>();
                out::json(&roles)?;
                return Ok(out::DONE);
            }
            let mut table = Table::new(&["ROLE", "TEXT", "BACKGROUND", "MODS", "WHAT FOR"]);
            for (role, name, help) in ROLES {
                let style = theme.style(*role);
                let none = || "-".to_owned();
                let text = style.fg.map_or_else(none, |it| it.to_string());
                let back = style.bg.map_or_else(none, |it| it.to_string());
                let mods = match style.add_modifier {
                    mods if mods.is_empty() => "-".to_owned(),
                    mods => format!("{mods:?}").to_lowercase(),
                };
                let cells = [*name, &text, &back, &mods, help];
                table.row(cells.into_iter().map(Into::into).collect());
            }
            out::print(&table.render(paint::wanted()))?;
            Ok(out::DONE)
        }
    }
}

/// One role of a theme, as in `themes explain`; null is what the terminal itself has.
#[derive(Serialize)]
struct RoleView {
    role: &'static str,
    text: Option<String>,
    background: Option<String>,
    mods: Vec<String>,
    meaning: &'static str,
}

impl RoleView {
    fn of(theme: &Theme, (role, name, meaning): &(Role, &'static str, &'static str)) -> Self {
        let style = theme.style(*role);
        let mods = style.add_modifier.iter_names().map(|it| it.0.to_lowercase());
        Self {
            role: name,
            text: style.fg.map(|it| it.to_string()),
            background: style.bg.map(|it| it.to_string()),
            mods: mods.collect(),
            meaning,
        }
    }
}

/// A theme whose text can't be read well enough is a flawed theme.
fn readable(theme: &Theme) -> Outcome<()> {
    let flaws = theme.contrast_flaws();
    match flaws.first() {
        None => Ok(()),
        Some(first) => {
            let more = flaws.len() - 1;
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            Err(Fault::invalid(format!("theme {}: {first}{more}", theme.name)))
        }
    }
}

pub fn config(paths: &Paths, verb: ConfigVerb) -> Outcome<out::Code> {
    let files = Files::new(paths);
    match verb {
        ConfigVerb::Check { file, args } => {
            let file = file.unwrap_or_else(|| files.config_file());
            let judged = check(&[file], |path, _, text, found| {
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
            tell_checked(&judged, &args)
        }
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
        "new": {
            "egress": it.new.egress.word(),
            "workspace": it.new.workspace.word(),
            "record": it.new.record,
            "env": it.new.env,
            "cpus": it.new.cpus,
            "memory": it.new.memory_bytes,
            "pids": it.new.pids,
        },
        "notify": {
            "bell": it.notify.bell,
            "desktop": it.notify.desktop,
            "title": it.notify.title,
        },
    })
}

/// What it means that a setting has no value.
fn unset(setting: &str) -> &'static str {
    if setting == "prefix" { "the keymap's" } else { "no limit" }
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

/// What was found in one file.
#[derive(Default)]
struct Found {
    /// What is allowed and perhaps not meant.
    remarks: Vec<String>,
    /// All but the last, which is the fault.
    flaws: Vec<String>,
}

impl Found {
    /// Keeps every flaw; the last one is the fault.
    fn all_of(&mut self, flaws: &[Flaw]) -> Fault {
        let (last, before) = match flaws.split_last() {
            Some((last, before)) => (last.to_string(), before),
            None => ("unknown flaw".to_owned(), flaws),
        };
        self.flaws.extend(before.iter().map(ToString::to_string));
        Fault::invalid(last)
    }
}

struct Judged {
    path: PathBuf,
    found: Found,
    outcome: Outcome<()>,
}

/// One file, as in `keys check`.
#[derive(Serialize)]
struct CheckedView<'a> {
    file: String,
    ok: bool,
    flaws: Vec<&'a str>,
    /// How the last flaw can be mended.
    fix: Option<&'a str>,
    remarks: &'a [String],
}

impl<'a> From<&'a Judged> for CheckedView<'a> {
    fn from(it: &'a Judged) -> Self {
        let fault = it.outcome.as_ref().err();
        let flaws = it.found.flaws.iter().map(String::as_str);
        Self {
            file: it.path.display().to_string(),
            ok: fault.is_none(),
            flaws: flaws.chain(fault.map(Fault::message)).collect(),
            fix: fault.and_then(Fault::hint_text),
            remarks: &it.found.remarks,
        }
    }
}

/// Reads each file and lets it be judged.
fn check(
    named: &[PathBuf],
    judge: impl Fn(&Path, &str, &str, &mut Found) -> Outcome<()>,
) -> Vec<Judged> {
    let judged = named.iter().map(|path| {
        let name = path.file_stem().and_then(|it| it.to_str()).unwrap_or("file");
        let mut found = Found::default();
        let outcome = files::read(path).and_then(|text| match text {
            Some(text) => judge(path, name, &text, &mut found),
            None => Err(Fault::absent(format!("no such file: {}", path.display()))),
        });
        Judged { path: path.clone(), found, outcome }
    });
    judged.collect()
}

/// Tells how each file was found; any failure makes the exit code 1, or 3 where a file is not there.
fn tell_checked(judged: &[Judged], args: &JsonArgs) -> Outcome<out::Code> {
    let mut code = out::DONE;
    for it in judged {
        let failed = match &it.outcome {
            Ok(()) => out::DONE,
            Err(fault) if fault.kind() == Kind::Absent => 3,
            Err(_) => 1,
        };
        code = code.max(failed);
        if args.json {
            continue;
        }
        let path = it.path.display();
        it.found.remarks.iter().for_each(|it| out::tell(&format!("{path}: {it}")));
        it.found.flaws.iter().for_each(|it| out::tell(&format!("sandwatch: {it}")));
        match &it.outcome {
            Ok(()) => out::print(&format!("{path}: ok\n"))?,
            Err(fault) => drop(out::report(fault)),
        }
    }
    if args.json {
        out::json(&judged.iter().map(CheckedView::from).collect::<Vec<_>>())?;
    }
    Ok(code)
}

fn none_of_your_own(files: &Files, kind: &str) -> String {
    format!("no {kind} of your own in {}", files.directory().join(kind).display())
}

/// The files named, else all of the operator's own of that kind.
fn or_own(named: Vec<PathBuf>, config: &Path, kind: &str) -> Vec<PathBuf> {
    if !named.is_empty() {
        return named;
    }
    let entries = std::fs::read_dir(config.join(kind)).into_iter().flatten();
    let mut own: Vec<PathBuf> = entries
        .filter_map(|it| Some(it.ok()?.path()))
        .filter(|it| it.extension().is_some_and(|it| it == "toml"))
        .collect();
    own.sort();
    own
}
