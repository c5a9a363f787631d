//! `keys`: the operator's keymaps.

use serde::Serialize;

use super::{check, config_in_force, none_of_your_own, or_own, tell_checked};
use crate::{
    app::{
        action::Scope,
        keymap::{self, Bound, Keymap, PREFIX},
    },
    base::fault::{Fault, Outcome},
    cli::{
        args::{JsonArgs, KeysVerb},
        out, paint,
        table::Table,
    },
    config::paths::Paths,
    tui::files::Files,
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
