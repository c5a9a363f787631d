//! `themes`: the operator's colours.

use serde::Serialize;

use super::{check, config_in_force, none_of_your_own, or_own, tell_checked};
use crate::{
    base::fault::{Fault, Outcome},
    cli::{args::ThemesVerb, out, paint, table::Table},
    config::paths::Paths,
    tui::files::Files,
    ui::theme::{Depth, PRESETS, ROLES, Role, Theme},
};

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
