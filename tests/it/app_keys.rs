//! The action table and the keymaps made of it.

use std::collections::BTreeSet;

use sandwatch::app::{
    action::{ACTIONS, Action, Scope},
    chord::Chord,
    command,
    keymap::{self, Bound, Keymap, PRESETS, Step},
};

use super::app_support::preset;

fn flaws(text: &str) -> Vec<String> {
    let base = |it: &str| keymap::preset(it).map(str::to_owned);
    let found = keymap::parse("keymaps/mine.toml", "mine", text, &base).unwrap_err();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn action_ids_and_commands_are_unique_and_in_enum_order() {
    let (mut ids, mut commands) = (BTreeSet::new(), BTreeSet::new());
    for spec in ACTIONS {
        assert!(ids.insert(spec.id), "`{}` is listed twice", spec.id);
        assert_eq!(spec.action.spec().id, spec.id);
        assert!(spec.help.ends_with('.'), "`{}`: help is a sentence", spec.id);
        assert!(spec.title.chars().count() <= 20, "`{}`: title fits a palette row", spec.id);
        if let Some((name, _)) = spec.command {
            assert!(commands.insert(name), "`:{name}` is listed twice");
        }
        for (_, keys) in spec.keys {
            keymap::parse_sequence(keys).unwrap();
        }
    }
}

#[test]
fn no_default_key_is_given_twice_in_one_scope() {
    let mut seen = BTreeSet::new();
    for spec in ACTIONS {
        for (scope, keys) in spec.keys {
            assert!(seen.insert((scope, keys)), "[{}] {keys} is given twice", scope.word());
        }
    }
}

#[test]
fn the_default_key_file_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/keymaps/default.toml");
    let wanted = keymap::default_file();
    if std::env::var_os("SANDWATCH_BLESS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    let hint = "run the test with SANDWATCH_BLESS=1 to write it";
    assert_eq!(std::fs::read_to_string(path).unwrap(), wanted, "{hint}");
    let read = keymap::parse("default.toml", "default", &wanted, &|_| None).unwrap();
    assert_eq!(read, Keymap::default());
}

#[test]
fn every_preset_reads_and_leaves_a_way_out_of_a_pane() {
    for (name, text) in PRESETS {
        let base = |it: &str| keymap::preset(it).map(str::to_owned);
        let read = keymap::parse(name, name, text, &base);
        let read = read.unwrap_or_else(|flaws| panic!("{name}: {flaws:?}"));
        assert_eq!(read.name, *name);
        for action in [Action::Leave, Action::SendPrefix, Action::Quit, Action::Help] {
            assert!(!read.keys_of(action).is_empty(), "{name}: no key for {action:?}");
        }
        let lost: Vec<String> =
            read.conflicts().into_iter().filter(|it| it.contains("leaves a pane")).collect();
        assert_eq!(lost, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_wrong_action_is_refused_with_its_place_and_a_guess() {
    assert_eq!(
        flaws("[list]\nq = \"app.quit\"\np = \"sandbox.puase\"\n"),
        ["keymaps/mine.toml:3:5: `sandbox.puase` is not an action; did you mean `sandbox.pause`?"]
    );
    assert_eq!(
        flaws("[list]\n\"ctlr-p\" = \"app.quit\"\n"),
        ["keymaps/mine.toml:2:1: `ctlr` is not a modifier (ctrl, alt, shift, cmd)"]
    );
    assert_eq!(
        flaws("[lsit]\nx = \"app.quit\"\n"),
        ["keymaps/mine.toml:1:2: `lsit` is not a scope; did you mean `list`?"]
    );
    assert_eq!(
        flaws("[list]\nx = \":layuot 4\"\n"),
        ["keymaps/mine.toml:2:5: `layuot` is not a command; did you mean `layout`?"]
    );
    assert_eq!(flaws("inherits = \"vmi\"\n").len(), 1);
    assert_eq!(flaws("[list]\nx = \"app.quit\"\nx = \"app.quit\"\n").len(), 1);
    assert_eq!(
        flaws("[list]\ng = \"app.quit\"\n\"g g\" = \"app.quit\"\n"),
        ["keymaps/mine.toml:3:1: `g g` and `g` can't both be bound"]
    );
}

#[test]
fn a_sequence_replaces_the_key_it_begins_with() {
    let vim = preset("vim");
    let g = Chord::parse("g").unwrap();
    assert_eq!(vim.step(Scope::List, &[g]), Step::More);
    assert_eq!(vim.step(Scope::List, &[g, g]), Step::Run(&Bound::Action(Action::ListTop)));
}

#[test]
fn two_spellings_of_a_chord_are_one() {
    for (a, b) in [
        ("shift-tab", "backtab"),
        ("shift-g", "G"),
        ("C-b", "ctrl-b"),
        ("M-x", "alt-x"),
        ("ENTER", "enter"),
    ] {
        assert_eq!(Chord::parse(a), Chord::parse(b), "{a} {b}");
    }
    for text in ["ctrl--", "-", "f12", "space", "ctrl-alt-delete", "é"] {
        let chord = Chord::parse(text).unwrap();
        assert_eq!(Chord::parse(&chord.to_string()), Ok(chord), "{text}");
    }
    for text in ["", "f25", "ctrl-", "hyper-x", "ctrl-ctrl-x", "entr"] {
        assert!(Chord::parse(text).is_err(), "{text}");
    }
}

#[test]
fn explain_says_what_a_key_does_everywhere() {
    let keymap = Keymap::default();
    let said = keymap.explain(&[Chord::parse("ctrl-b").unwrap()]);
    let pane = said.iter().find(|(scope, _)| *scope == Scope::Pane).unwrap();
    assert_eq!(pane.1, "the prefix: waits for one more key");
    let said = keymap.explain(&[Chord::parse("j").unwrap()]);
    let pane = said.iter().find(|(scope, _)| *scope == Scope::Pane).unwrap();
    assert_eq!(pane.1, "goes to the program as it is");
    let list = said.iter().find(|(scope, _)| *scope == Scope::List).unwrap();
    assert!(list.1.starts_with("list.down"), "{}", list.1);
}

#[test]
fn a_command_line_is_read_with_its_argument_or_refused_with_a_guess() {
    let read = command::parse("layout 4").unwrap();
    assert_eq!((read.action, read.argument.as_str()), (Action::Layout, "4"));
    assert_eq!(command::parse("q").unwrap().action, Action::Quit);
    assert_eq!(command::parse("layout 5").unwrap_err(), "a layout is 1, 2, 4 or 6");
    assert_eq!(
        command::parse("filtr x").unwrap_err(),
        "`filtr` is not a command; did you mean `filter`?"
    );
    assert_eq!(command::parse("help me").unwrap_err(), "`help` takes nothing after it");
    let words = command::split(r#"sh -c 'a b' "c \" d" e\ f"#).unwrap();
    assert_eq!(words, ["sh", "-c", "a b", "c \" d", "e f"]);
    assert!(command::split("'open").is_err());
}

#[test]
fn a_key_file_starts_from_the_default_keys_and_may_not_lock_anyone_in() {
    let base = |it: &str| keymap::preset(it).map(str::to_owned);
    let map = keymap::parse("mine.toml", "mine", "[list]\nJ = \"list.down\"\n", &base).unwrap();
    assert_eq!(map.key_of(Scope::Global, Action::Help).as_deref(), Some("?"));
    let leave = "[pane]\n\"ctrl-q\" = \"session.leave\"\n";
    for (text, ways) in [
        ("inherits = \"none\"\n[global]\nq = \"app.quit\"\n".to_owned(), "leaves a pane"),
        (format!("inherits = \"none\"\n{leave}"), "out of the console"),
        (
            format!("inherits = \"none\"\n{leave}[global]\nesc = \"app.back\"\n"),
            "out of the console",
        ),
    ] {
        assert!(flaws(&text).iter().any(|it| it.contains(ways)), "{text}");
    }
    let enough = format!("inherits = \"none\"\n{leave}[global]\nf9 = \":quit\"\n");
    assert!(keymap::parse("mine.toml", "mine", &enough, &base).is_ok());
}
