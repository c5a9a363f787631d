//! The dependency rules of ARCHITECTURE.md, as tests: its tables are read, then the source is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::source::{Source, Word};

/// Longest file, in lines. A file has one subject; one that needs more has two.
const FILE_LINES_MAX: usize = 700;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the table in ARCHITECTURE.md whose first header is `header`: two columns of words.
fn table(header: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let words = |cell: &str| -> Vec<String> {
        cell.split(',').map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
    };
    let rows: Vec<_> = text
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {header} |")))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            (words(cells[0]), words(cells[1]))
        })
        .collect();
    assert!(!rows.is_empty(), "ARCHITECTURE.md has no table that opens with `{header}`");
    rows
}

fn layers() -> Vec<(String, Vec<String>)> {
    table("layer").into_iter().map(|(name, below)| (name[0].clone(), below)).collect()
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// Every hand-written source file, by its path below src/.
fn sources() -> Vec<(String, Source)> {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|file| (file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned(), file))
        .filter(|(name, _)| !name.contains("/generated/"))
        .map(|(name, file)| {
            let source = Source::read(&name, &fs::read_to_string(file).unwrap());
            (name, source)
        })
        .collect()
}

/// The layer of a file; `lib.rs` has none, `main.rs` counts as `cli`.
fn layer_of(file: &str) -> Option<&str> {
    match file {
        "lib.rs" => None,
        "main.rs" => Some("cli"),
        _ => file.split('/').next(),
    }
}

fn inside(file: &str, place: &str) -> bool {
    layer_of(file) == Some(place)
        || file == place
        || file.starts_with(&format!("{place}/"))
        || file == format!("{place}.rs")
}

fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_layer_names_only_the_layers_its_row_allows() {
    let rules: BTreeMap<String, Vec<String>> = layers().into_iter().collect();
    let mut wrong = Vec::new();
    for (file, source) in sources() {
        let Some(layer) = layer_of(&file) else { continue };
        let Some(allowed) = rules.get(layer) else {
            wrong.push(format!("src/{file}: `{layer}` has no row in ARCHITECTURE.md"));
            continue;
        };
        for path in source.paths() {
            let Some(named) = path.layer() else { continue };
            if named != layer && rules.contains_key(named) && !allowed.iter().any(|it| it == named)
            {
                wrong.push(format!("src/{file}:{}: `{layer}` may not name `{named}`", path.line));
            }
        }
    }
    none(wrong);
}

#[test]
fn each_outside_crate_is_named_only_where_its_row_allows() {
    let rules = table("outside crate");
    let mut wrong = Vec::new();
    for (file, source) in sources().iter().filter(|(file, _)| file != "lib.rs") {
        for path in source.paths() {
            let first = path.segments[0].as_str();
            let Some((_, places)) =
                rules.iter().find(|(names, _)| names.iter().any(|it| it == first))
            else {
                continue;
            };
            if !source.has_own(first) && !places.iter().any(|place| inside(file, place)) {
                let line = path.line;
                wrong.push(format!(
                    "src/{file}:{line}: only {} may name `{first}`",
                    places.join(", ")
                ));
            }
        }
    }
    none(wrong);
}

#[test]
fn every_dependency_has_a_row() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let wanted: BTreeSet<String> = manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| Some(line.split_once('=')?.0.trim().replace('-', "_")))
        .collect();
    let rows: BTreeSet<String> =
        table("outside crate").into_iter().flat_map(|(names, _)| names).collect();
    assert_eq!(rows, wanted, "left: rows of ARCHITECTURE.md, right: Cargo.toml");
}

#[test]
fn the_table_lists_the_modules_of_the_library_in_their_order() {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let rows: Vec<String> = layers().iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(rows, modules);
    for (at, (layer, below)) in layers().iter().enumerate() {
        let upward = below.iter().find(|it| !rows[..at].contains(it));
        assert_eq!(upward, None, "`{layer}` may only name layers above its row");
    }
}

#[test]
fn unsafe_is_said_only_in_the_modules_of_the_table() {
    let places: Vec<String> =
        table("may say `unsafe`").into_iter().flat_map(|(names, _)| names).collect();
    let mut wrong = Vec::new();
    for (file, source) in sources() {
        if places.iter().any(|place| inside(&file, place)) {
            continue;
        }
        let lines = source.words().filter(|it| it.text == "unsafe").map(|it| it.line);
        wrong.extend(lines.map(|line| format!("src/{file}:{line}: unsafe outside of its modules")));
    }
    none(wrong);
}

#[test]
fn only_the_command_line_prints() {
    let macros = ["print", "println", "eprint", "eprintln", "dbg"];
    let mut wrong = Vec::new();
    for (file, source) in sources().iter().filter(|(file, _)| layer_of(file) != Some("cli")) {
        let words: Vec<&Word> = source.words().collect();
        for pair in words.windows(2) {
            if macros.contains(&pair[0].text.as_str()) && pair[1].text == "!" {
                wrong.push(format!("src/{file}:{}: {}!", pair[0].line, pair[0].text));
            }
        }
    }
    none(wrong);
}

#[test]
fn the_environment_is_read_only_in_the_places_of_the_table() {
    let places: Vec<String> =
        table("may read the environment").into_iter().flat_map(|(names, _)| names).collect();
    let reads = ["var", "var_os", "vars", "vars_os", "set_var", "remove_var"];
    let mut wrong = Vec::new();
    for (file, source) in sources() {
        if places.iter().any(|place| inside(&file, place)) {
            continue;
        }
        for path in source.paths() {
            let mut ends = path.segments.iter().rev();
            let last = ends.next().map(String::as_str).unwrap_or_default();
            if reads.contains(&last) && ends.next().is_some_and(|it| it == "env") {
                wrong.push(format!("src/{file}:{}: env::{last}", path.line));
            }
        }
    }
    none(wrong);
}

#[test]
fn every_file_opens_with_its_one_job_and_keeps_to_it() {
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches", "xtask/src", "fuzz/fuzz_targets"] {
        let dir = root().join(dir);
        if dir.is_dir() {
            rust_files(&dir, &mut files);
        }
    }
    let mut wrong = Vec::new();
    for file in files.iter().filter(|it| !it.to_string_lossy().contains("/generated/")) {
        let text = fs::read_to_string(file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        if !text.starts_with("//! ") {
            wrong.push(format!("{name}: does not open with `//!`"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{name}: {lines} lines, at most {FILE_LINES_MAX}"));
        }
    }
    none(wrong);
}

#[test]
fn the_reader_sees_through_groups_comments_and_strings() {
    let text = r##"
        //! use crate::cli;
        use crate::{base::{fault::Outcome, id}, model::sandbox as box_, vt};
        use super::{super::wire, near};
        use tokio::{sync::mpsc, time};
        mod inner { use super::super::super::hub; }
        /* crate::shim /* nested */ */
        fn it<'a>(text: &'a str) -> char { let _ = "crate::ui"; let _ = r#"crate::tui"#; '"' }
        fn two() { crate::engine::start(); notify::go() }
        mod notify {}
    "##;
    let source = Source::read("session/deep.rs", text);
    let named: BTreeSet<&str> = source.paths().iter().filter_map(|it| it.layer()).collect();
    assert_eq!(named, BTreeSet::from(["base", "engine", "hub", "model", "session", "vt", "wire"]));
    assert!(source.paths().iter().any(|it| it.segments == ["tokio", "sync", "mpsc"]));
    assert!(source.has_own("notify") && !source.has_own("tokio"));
}
