//! Reads config.toml and the preferences file: whole, or refused with every flaw and its place.

use std::{net::SocketAddr, time::Duration};

use super::{
    environment, listen, oidc,
    schema::{Config, Images, Predict, Prefs},
    source::{Flaw, Item, Name, Node, Source, Table},
    team,
};
use crate::{
    base::{
        limits::{
            CALL_AFTER_MAX, CALL_AFTER_MIN, CALL_WORDS_MAX, ENV_ENTRIES_MAX, LISTEN_MAX,
            SECRETS_MAX,
        },
        units::parse_bytes,
    },
    model::{
        rule::is_id,
        sandbox::{Egress, WorkspaceMode},
        secret::SecretUse,
    },
};

/// The commented file that `sandwatch config` can write out; it says exactly the defaults.
pub const DEFAULT_TOML: &str = include_str!("../../assets/config.toml");

const KEYS: &[&str] = &[
    "keymap",
    "theme",
    "prefix",
    "layout",
    "mouse",
    "scroll_lines",
    "ui",
    "new",
    "notify",
    "hub",
    "links",
];
const UI_KEYS: &[&str] = &["images"];
const NEW_KEYS: &[&str] =
    &["egress", "workspace", "record", "env", "secrets", "cpus", "memory", "pids"];
const HUB_KEYS: &[&str] = &["metrics", "listen", "client_ca", "certificate", "key", "who", "oidc"];
const LINKS_KEYS: &[&str] = &["predict", "predict_from_ms"];
const NOTIFY_KEYS: &[&str] = &["bell", "desktop", "title", "command", "after"];

/// Reads a configuration; `file` is what flaws call it.
pub fn config(file: &str, text: &str) -> Result<Config, Vec<Flaw>> {
    let mut source = Source::new(file, text);
    let mut config = Config::default();
    for (name, item) in source.parse().unwrap_or_default().0 {
        let source = &mut source;
        source.reads(name.text.as_str());
        match name.text.as_str() {
            "keymap" => set(&mut config.keymap, plain_name(source, &item)),
            "theme" => set(&mut config.theme, plain_name(source, &item)),
            "prefix" => config.prefix = string(source, &item),
            "layout" => set(&mut config.layout, layout(source, &item)),
            "mouse" => set(&mut config.mouse, flag(source, &item)),
            "scroll_lines" => {
                let lines = integer(source, &item, 1, 100).and_then(|it| u16::try_from(it).ok());
                set(&mut config.scroll_lines, lines);
            }
            "ui" => each(source, &item, |source, name, item| ui(source, &mut config, name, item)),
            "new" => each(source, &item, |source, name, item| new(source, &mut config, name, item)),
            "notify" => {
                each(source, &item, |source, name, item| notify(source, &mut config, name, item));
            }
            "hub" => {
                each(source, &item, |source, name, item| hub(source, &mut config, name, item));
                team::whole(source, &item, &config.hub);
            }
            "links" => {
                each(source, &item, |source, name, item| links(source, &mut config, name, item));
            }
            _ => source.unknown("a setting", &name, KEYS.iter().copied()),
        }
    }
    source.finish(config)
}

/// Reads what the console wrote.
pub fn prefs(file: &str, text: &str) -> Result<Prefs, Vec<Flaw>> {
    let mut source = Source::new(file, text);
    let mut prefs = Prefs::default();
    for (name, item) in source.parse().unwrap_or_default().0 {
        source.reads(name.text.as_str());
        match name.text.as_str() {
            "keymap" => prefs.keymap = plain_name(&mut source, &item),
            "theme" => prefs.theme = plain_name(&mut source, &item),
            "layout" => prefs.layout = layout(&mut source, &item),
            "over" => each(&mut source, &item, |source, name, item| match name.text.as_str() {
                "keymap" => prefs.over.keymap = plain_name(source, item),
                "theme" => prefs.over.theme = plain_name(source, item),
                "layout" => prefs.over.layout = layout(source, item),
                _ => source.unknown("a preference", name, ["keymap", "theme", "layout"]),
            }),
            _ => source.unknown("a preference", &name, ["keymap", "theme", "layout", "over"]),
        }
    }
    source.finish(prefs)
}

fn ui(source: &mut Source<'_>, config: &mut Config, name: &Name, item: &Item) {
    match name.text.as_str() {
        "images" => {
            let words = Images::ALL.iter().map(|it| it.word());
            set(&mut config.ui.images, word(source, item, words, Images::from_word));
        }
        _ => source.unknown("a setting of `ui`", name, UI_KEYS.iter().copied()),
    }
}

fn links(source: &mut Source<'_>, config: &mut Config, name: &Name, item: &Item) {
    match name.text.as_str() {
        "predict" => {
            let words = Predict::ALL.iter().map(|it| it.word());
            set(&mut config.links.predict, word(source, item, words, Predict::from_word));
        }
        "predict_from_ms" => {
            let ms = integer(source, item, 1, 10_000).and_then(|it| u64::try_from(it).ok());
            set(&mut config.links.predict_from, ms.map(Duration::from_millis));
        }
        _ => source.unknown("a setting of `links`", name, LINKS_KEYS.iter().copied()),
    }
}

fn new(source: &mut Source<'_>, config: &mut Config, name: &Name, item: &Item) {
    let new = &mut config.new;
    match name.text.as_str() {
        "egress" => {
            let words = Egress::ALL.iter().map(|it| it.word());
            set(&mut new.egress, word(source, item, words, Egress::from_word));
        }
        "workspace" => {
            let words = WorkspaceMode::ALL.iter().map(|it| it.word());
            set(&mut new.workspace, word(source, item, words, WorkspaceMode::from_word));
        }
        "record" => set(&mut new.record, flag(source, item)),
        "env" => set(&mut new.env, variables(source, item)),
        "secrets" => set(&mut new.secrets, secrets(source, item)),
        "cpus" => new.cpus = number(source, item),
        "memory" => new.memory_bytes = bytes(source, item),
        "pids" => new.pids = integer(source, item, 1, 4_194_304).map(i64::unsigned_abs),
        _ => source.unknown("a setting of `new`", name, NEW_KEYS.iter().copied()),
    }
}

fn notify(source: &mut Source<'_>, config: &mut Config, name: &Name, item: &Item) {
    match name.text.as_str() {
        "bell" => set(&mut config.notify.bell, flag(source, item)),
        "desktop" => set(&mut config.notify.desktop, flag(source, item)),
        "title" => set(&mut config.notify.title, flag(source, item)),
        "command" => set(&mut config.notify.command, command(source, item)),
        "after" => {
            let (least, most) = (CALL_AFTER_MIN.as_secs(), CALL_AFTER_MAX.as_secs());
            let seconds = integer(source, item, least.cast_signed(), most.cast_signed());
            let after = seconds.map(|it| Duration::from_secs(it.unsigned_abs()));
            set(&mut config.notify.after, after);
        }
        _ => source.unknown("a setting of `notify`", name, NOTIFY_KEYS.iter().copied()),
    }
}

fn hub(source: &mut Source<'_>, config: &mut Config, name: &Name, item: &Item) {
    match name.text.as_str() {
        "metrics" => {
            let text = string(source, item);
            let at = text.as_deref().and_then(|it| it.parse().ok());
            let at = at.filter(|it: &SocketAddr| it.ip().is_loopback());
            if at.is_none() && text.is_some() {
                wanted(source, item, "an address of this machine alone, like \"127.0.0.1:9464\"");
            }
            config.hub.metrics = at;
        }
        "listen" => set(&mut config.hub.listen, places(source, item)),
        "client_ca" => config.hub.client_ca = team::whole_path(source, item),
        "certificate" => config.hub.certificate = team::whole_path(source, item),
        "key" => config.hub.key = team::whole_path(source, item),
        "who" => set(&mut config.hub.who, team::who(source, item)),
        "oidc" => set(&mut config.hub.oidc, oidc::issuers(source, item)),
        _ => source.unknown("a setting of `hub`", name, HUB_KEYS.iter().copied()),
    }
}

/// Places that a hub listens on.
fn places(source: &mut Source<'_>, item: &Item) -> Option<Vec<SocketAddr>> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "a list of places, like [\"https://192.0.2.7:7443\"]");
        return None;
    };
    if items.len() > LISTEN_MAX {
        source.flaw(item.span.clone(), format!("at most {LISTEN_MAX} places"));
        return None;
    }
    let mut all = Vec::new();
    for item in items {
        match listen::parse(&string(source, item)?) {
            Ok(at) => all.push(at),
            Err(why) => source.flaw(item.span.clone(), why),
        }
    }
    Some(all)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

pub(super) fn each(
    source: &mut Source<'_>,
    item: &Item,
    mut take: impl FnMut(&mut Source<'_>, &Name, &Item),
) {
    match &item.node {
        Node::Table(Table(entries)) => {
            let table = source.subject.clone();
            for (name, item) in entries {
                source.reads(format!("{table}.{}", name.text));
                take(source, name, item);
            }
        }
        _ => wanted(source, item, "a table"),
    }
}

pub(super) fn wanted(source: &mut Source<'_>, item: &Item, what: &str) {
    let message = format!("{} is {}, not {what}", source.subject(), item.node.kind());
    source.flaw(item.span.clone(), message);
}

pub(super) fn string(source: &mut Source<'_>, item: &Item) -> Option<String> {
    let Node::Text(text) = &item.node else {
        wanted(source, item, "a string");
        return None;
    };
    Some(text.clone())
}

/// The name of a keymap or theme: it becomes part of a path, so nothing that could leave the folder.
fn plain_name(source: &mut Source<'_>, item: &Item) -> Option<String> {
    let text = string(source, item)?;
    if !is_plain_name(&text) {
        source.flaw(item.span.clone(), "a name here is 1 to 40 letters, digits, `-` or `_`");
        return None;
    }
    Some(text)
}

/// Whether a text may name a keymap or theme file: what may be the id of a rule.
pub fn is_plain_name(text: &str) -> bool {
    is_id(text)
}

/// The words of a command, the program first.
pub(super) fn command(source: &mut Source<'_>, item: &Item) -> Option<Vec<String>> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "a list of words, like [\"notify-send\", \"sandwatch\"]");
        return None;
    };
    if items.len() > CALL_WORDS_MAX {
        source.flaw(item.span.clone(), format!("at most {CALL_WORDS_MAX} words"));
        return None;
    }
    items.iter().map(|it| string(source, it)).collect()
}

/// Names of variables; their values are no part of a configuration.
fn variables(source: &mut Source<'_>, item: &Item) -> Option<Vec<String>> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "a list of names of variables");
        return None;
    };
    if items.len() > ENV_ENTRIES_MAX {
        source.flaw(item.span.clone(), format!("at most {ENV_ENTRIES_MAX} variables"));
        return None;
    }
    let mut names = Vec::new();
    for item in items {
        match string(source, item) {
            Some(name) if environment::is_name(&name) => names.push(name),
            Some(_) => {
                source.flaw(item.span.clone(), "this is not the name of a variable, like API_KEY");
            }
            None => {}
        }
    }
    Some(names)
}

/// Where secrets go; their values are no part of a configuration.
fn secrets(source: &mut Source<'_>, item: &Item) -> Option<Vec<SecretUse>> {
    let Node::List(items) = &item.node else {
        wanted(source, item, "a list of secrets, like \"OPENAI_API_KEY\"");
        return None;
    };
    if items.len() > SECRETS_MAX {
        source.flaw(item.span.clone(), format!("at most {SECRETS_MAX} secrets"));
        return None;
    }
    let mut uses = Vec::new();
    for item in items {
        let Some(text) = string(source, item) else { continue };
        match SecretUse::parse(&text) {
            Ok(it) => uses.push(it),
            Err(why) => source.flaw(item.span.clone(), why),
        }
    }
    Some(uses)
}

pub(super) fn flag(source: &mut Source<'_>, item: &Item) -> Option<bool> {
    let Node::Flag(flag) = item.node else {
        wanted(source, item, "true or false");
        return None;
    };
    Some(flag)
}

fn integer(source: &mut Source<'_>, item: &Item, least: i64, most: i64) -> Option<i64> {
    match item.node {
        Node::Integer(it) if (least..=most).contains(&it) => Some(it),
        Node::Integer(_) => {
            let subject = source.subject();
            source.flaw(item.span.clone(), format!("{subject} must be from {least} to {most}"));
            None
        }
        _ => {
            wanted(source, item, "a whole number");
            None
        }
    }
}

fn layout(source: &mut Source<'_>, item: &Item) -> Option<u8> {
    let it = integer(source, item, 1, 6)?;
    if ![1, 2, 4, 6].contains(&it) {
        source.flaw(item.span.clone(), "a layout is 1, 2, 4 or 6");
        return None;
    }
    u8::try_from(it).ok()
}

fn number(source: &mut Source<'_>, item: &Item) -> Option<f64> {
    let value = match item.node {
        Node::Float(it) => it,
        Node::Integer(it) => it as f64,
        _ => {
            wanted(source, item, "a number");
            return None;
        }
    };
    if !(0.01..=4096.0).contains(&value) {
        let message = format!("{} must be from 0.01 to 4096", source.subject());
        source.flaw(item.span.clone(), message);
        return None;
    }
    Some(value)
}

fn bytes(source: &mut Source<'_>, item: &Item) -> Option<u64> {
    let text = string(source, item)?;
    let value = parse_bytes(&text).filter(|it| *it > 0);
    if value.is_none() {
        source.flaw(item.span.clone(), "a size is written like `512m` or `4g`");
    }
    value
}

pub(super) fn word<'w, T>(
    source: &mut Source<'_>,
    item: &Item,
    words: impl IntoIterator<Item = &'w str>,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let text = string(source, item)?;
    let value = read(&text);
    if value.is_none() {
        let words: Vec<&str> = words.into_iter().collect();
        let known = words.join(", ");
        let message = super::source::unknown(&format!("one of {known}"), &text, words);
        source.flaw(item.span.clone(), message);
    }
    value
}
