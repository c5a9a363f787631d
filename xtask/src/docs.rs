//! `docs`: the reference pages, made from the tables that the program itself runs on.

use std::{fs, path::PathBuf};

use sandwatch::{
    app::action::{ACTIONS, ActionSpec, Risk, Scope},
    driver::{Driver, docker::Docker, fake::FakeDriver, local, openshell},
    hub::roles::{CALLS, Content},
    model::{capability::Capabilities, member::Role},
    ui::{
        colour,
        theme::{self, Depth, MODIFIERS, PRESETS, ROLES},
    },
};

use crate::{Done, root, write_or_check};

const MADE: &str =
    "<!-- Made by `cargo run -p xtask -- docs`; change the table, not this page. -->\n";

pub fn run(check: bool) -> Done {
    let pages = [
        ("keys.md", keys()),
        ("actions.md", actions()),
        ("verbs.md", verbs()),
        ("config.md", config()?),
        ("capabilities.md", capabilities()),
        ("roles.md", roles()),
        ("themes.md", themes()?),
    ];
    let folder = PathBuf::from("docs/reference");
    fs::create_dir_all(root().join(&folder))?;
    let files =
        pages.into_iter().map(|(name, text)| (folder.join(name), text.into_bytes())).collect();
    write_or_check(files, check, "docs")
}

/// A key as Markdown code; `|` would end the cell of a table, a backtick the code.
fn code(text: &str) -> String {
    let text = text.replace('|', "\\|");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

fn keys_in(spec: &ActionSpec, scope: Scope) -> Vec<String> {
    let keys = spec.keys.iter().filter(|(of, _)| *of == scope);
    keys.map(|(_, key)| code(key)).collect()
}

fn keys() -> String {
    let mut page = format!("{MADE}# Keys\n\n");
    page.push_str(
        "The default keymap. Others are in `keymaps/`; a file in the configuration's `keymaps/`\n\
         changes what it names and inherits the rest. `sandwatch keys explain KEY` says what a key\n\
         does and why. The prefix is ctrl-b.\n",
    );
    for &scope in Scope::ALL {
        page.push_str(&format!("\n## {}\n\n| key | does |\n|---|---|\n", capital(scope.title())));
        for spec in ACTIONS {
            let keys = keys_in(spec, scope);
            if !keys.is_empty() {
                page.push_str(&format!("| {} | {}: {} |\n", keys.join(" "), spec.title, spec.help));
            }
        }
    }
    page
}

fn actions() -> String {
    let mut page = format!("{MADE}# Actions\n\n");
    page.push_str(
        "Everything the console can be asked to do. The id is what keymaps and the palette use; the\n\
         command is typed after `:`.\n\n| id | command | does | asks first | keys |\n|---|---|---|---|---|\n",
    );
    for spec in ACTIONS {
        let command = spec.command.map_or(String::new(), |(name, takes)| {
            code(format!("{name} {}", takes.usage()).trim_end())
        });
        let asks = if spec.risk == Risk::Confirm { "yes" } else { "" };
        let keys: Vec<String> = spec
            .keys
            .iter()
            .map(|(scope, key)| format!("{} ({})", code(key), scope.word()))
            .collect();
        let (id, help) = (code(spec.id), spec.help);
        page.push_str(&format!("| {id} | {command} | {help} | {asks} | {} |\n", keys.join(", ")));
    }
    page
}

fn verbs() -> String {
    let mut page = format!("{MADE}# Verbs\n");
    let mut command = sandwatch::cli::command();
    command.build();
    if let Some(after) = command.get_after_help() {
        page.push_str(&format!("\n{after}\n"));
    }
    page.push_str("\nEvery verb and the console:\n\n| argument | meaning |\n|---|---|\n");
    for argument in command.get_arguments().filter(|it| it.is_global_set()) {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        page.push_str(&format!("| {} | {help} |\n", code(&argument.to_string())));
    }
    for verb in command.get_subcommands() {
        verb_section(&mut page, verb, "sandwatch", 2);
    }
    page
}

fn verb_section(page: &mut String, verb: &clap::Command, before: &str, depth: usize) {
    if verb.is_hide_set() || verb.get_name() == "help" {
        return;
    }
    let name = format!("{before} {}", verb.get_name());
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    page.push_str(&format!("\n{} {name}\n\n{about}.\n", "#".repeat(depth)));
    let mut inner = verb.get_subcommands().filter(|it| it.get_name() != "help").peekable();
    if inner.peek().is_some() {
        inner.for_each(|it| verb_section(page, it, &name, depth + 1));
        return;
    }
    let usage = verb.clone().render_usage().to_string();
    page.push_str(&format!(
        "\n    {}\n",
        usage.trim_start_matches("Usage: ").replace('\n', "\n    ")
    ));
    let shown = |it: &&clap::Arg| !it.is_hide_set() && !it.is_global_set() && it.get_id() != "help";
    if !verb.get_arguments().any(|it| shown(&it)) {
        return;
    }
    page.push_str("\n| argument | meaning |\n|---|---|\n");
    for argument in verb.get_arguments().filter(shown) {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.replace('|', "\\|");
        let short = argument.get_short().map(|it| format!("-{it}, ")).unwrap_or_default();
        let name = code(&format!("{short}{argument}"));
        let usual: Vec<_> = argument.get_default_values().iter().map(|it| it.display()).collect();
        let takes_value = argument.get_action().takes_values();
        let usual = usual.first().filter(|_| takes_value);
        let usual = usual.map(|it| format!(" [default: {it}]")).unwrap_or_default();
        page.push_str(&format!("| {name} | {help}{usual} |\n"));
    }
}

fn config() -> Result<String, std::io::Error> {
    let text = fs::read_to_string(root().join("assets/config.toml"))?;
    Ok(format!(
        "{MADE}# Configuration\n\n`config.toml` in the configuration directory, all of it optional. \
         This is the default, as it is built in:\n\n```toml\n{text}```\n"
    ))
}

fn capabilities() -> String {
    let mut page = format!("{MADE}# Capabilities\n\n");
    page.push_str(
        "What a driver may be able to do with a sandbox, as `ls --json` shows it. A verb that needs a\n\
         missing one exits with 5 and says so. The columns are drivers where all they need is there;\n\
         `sandwatch doctor` says what this machine or engine lacks. Which grades of `local` can what:\n\
         [drivers.md](../drivers.md#grades-of-local).\n\n",
    );
    let drivers = [
        ("local", local::at_best()),
        ("docker", Docker.capabilities()),
        ("openshell", openshell::capabilities()),
        ("fake", FakeDriver::default().capabilities()),
    ];
    page.push_str("| capability | meaning |");
    drivers.iter().for_each(|(name, _)| page.push_str(&format!(" {name} |")));
    page.push_str(&format!("\n|---|---|{}\n", "---|".repeat(drivers.len())));
    for (word, meaning) in Capabilities::MEANINGS {
        page.push_str(&format!("| `{word}` | {} |", meaning.trim()));
        for (_, can) in &drivers {
            let has = can.words().into_iter().any(|(it, has)| it == *word && has);
            page.push_str(if has { " yes |" } else { " |" });
        }
        page.push('\n');
    }
    page
}

fn roles() -> String {
    let mut page = format!("{MADE}# Roles\n\n");
    page.push_str(
        "What each call of the protocol takes. Whoever comes from elsewhere has one of three roles, each of which may do\n\
         what those before it may; who is on the hub's machine as its user is an admin. A call that is not here is made by\n\
         nobody. `sandwatch hub members role NAME ROLE` changes a role, at once. Why it is so: decision 38.\n",
    );
    for role in Role::ALL {
        page.push_str(&format!(
            "\n## {}\n\n| call | who makes it can |\n|---|---|\n",
            capital(role.word())
        ));
        for it in CALLS.iter().filter(|it| it.least == *role) {
            page.push_str(&format!("| `{}/{}` | {} |\n", it.service, it.method, it.does));
        }
    }
    page.push_str("\n## By what is in a call\n\n| call | takes an admin to |\n|---|---|\n");
    for it in Content::ALL {
        let (service, method) = it.call();
        page.push_str(&format!("| `{service}/{method}` | {} |\n", it.does()));
    }
    page
}

/// A whole theme of one's own, on the page only when it is one.
const THEME: &str = r##"inherits = "dark"

[palette]
background = "#101018"

[roles]
accent = { fg = "bright-cyan", mods = ["bold"] }
"status.asks" = { fg = "background", bg = "yellow" }
"##;

fn themes() -> Result<String, String> {
    let none = |_: &str| None;
    if let Err(flaws) = theme::parse("themes.md", "example", THEME, &none, Depth::True) {
        return Err(flaws.iter().map(|it| format!("the example of themes.md: {it}")).collect());
    }
    let listed = |names: &mut dyn Iterator<Item = &str>| {
        names.map(|it| format!("`{it}`")).collect::<Vec<_>>().join(" ")
    };
    let mut page = format!(
        "{MADE}# Themes\n\nA file in the configuration's `themes/` is a theme; `theme = \"NAME\"` in \
         `config.toml` chooses one.\nIt inherits another and changes what differs; `sandwatch themes \
         check FILE` says what is wrong with it.\n\n```toml\n{THEME}```\n\n"
    );
    page.push_str(
        "A role's look is a colour or `{ fg, bg, mods }`, and replaces the inherited one whole.\n",
    );
    page.push_str("A colour is a name of the palette, `#rrggbb`, a number up to 255, or one of\n");
    page.push_str(&format!("{}.\n", listed(&mut colour::names())));
    let mods = listed(&mut MODIFIERS.iter().map(|(name, _)| *name));
    page.push_str(&format!("`mods` is a list of {mods}.\n"));
    page.push_str("\n## Built in\n\n| theme | what it is |\n|---|---|\n");
    for (name, text) in PRESETS {
        let about = text.lines().next().and_then(|it| it.strip_prefix("# ")).unwrap_or_default();
        page.push_str(&format!("| `{name}` | {about} |\n"));
    }
    page.push_str(
        "\n## Roles\n\nContrast is what `themes check` asks for between a role's text and what is \
         behind it.\n\n| role | what it is for | contrast |\n|---|---|---|\n",
    );
    for (role, name, help) in ROLES {
        let least = theme::contrast_least(*role).map_or(String::new(), |it| it.to_string());
        page.push_str(&format!("| `{name}` | {help} | {least} |\n"));
    }
    Ok(page)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |it| it.to_uppercase().chain(chars).collect())
}
