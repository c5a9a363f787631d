//! config.toml and theme files: whole, or refused with the place of every flaw.

use sandwatch::{
    config::{
        load,
        schema::{Beneath, Config, Prefs},
    },
    ui::theme::{self, Depth, PRESETS, ROLES},
};

fn flaws(text: &str) -> Vec<String> {
    load::config("config.toml", text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn the_commented_file_says_exactly_the_defaults() {
    assert_eq!(load::config("config.toml", load::DEFAULT_TOML), Ok(Config::default()));
    assert_eq!(load::config("config.toml", ""), Ok(Config::default()));
}

#[test]
fn an_unknown_or_wrong_setting_is_refused_with_its_place() {
    assert_eq!(
        flaws("mouse = true\nthme = \"dark\"\n"),
        ["config.toml:2:1: `thme` is not a setting; did you mean `theme`?"]
    );
    assert_eq!(
        flaws("[new]\negress = \"dney\"\n"),
        ["config.toml:2:10: `dney` is not one of ask, deny, allow; did you mean `deny`?"]
    );
    assert_eq!(flaws("layout = 3\n"), ["config.toml:1:10: a layout is 1, 2, 4 or 6"]);
    assert_eq!(
        flaws("mouse = 1\n"),
        ["config.toml:1:9: `mouse` is a whole number, not true or false"]
    );
    let names = flaws("[new]\nenv = [\"API_KEY\", \"A=1\", 2]\n");
    assert!(names.len() == 2 && names[0].contains("like API_KEY"), "{names:?}");
    assert_eq!(
        flaws("[new]\ncpus = \"x\"\nmemory = 3\n"),
        [
            "config.toml:2:8: `new.cpus` is a string, not a number",
            "config.toml:3:10: `new.memory` is a whole number, not a string"
        ]
    );
    assert_eq!(flaws("theme = \"../../etc\"\n").len(), 1);
    assert_eq!(flaws("mouse = \n").len(), 1);
    assert_eq!(flaws("layout = 9\nmouse = 3\nscroll_lines = 0\n").len(), 3);
}

#[test]
fn preferences_read_back_as_they_were_written() {
    let prefs = Prefs {
        keymap: Some("vim".to_owned()),
        theme: Some("light".to_owned()),
        layout: Some(4),
        over: Beneath { keymap: Some("default".to_owned()), theme: None, layout: Some(1) },
    };
    assert_eq!(load::prefs("prefs.toml", &prefs.to_toml()), Ok(prefs));
    assert_eq!(load::prefs("prefs.toml", &Prefs::default().to_toml()), Ok(Prefs::default()));
}

#[test]
fn a_choice_holds_until_the_file_beneath_it_is_edited() {
    let mut file = Config { layout: 2, ..Config::default() };
    let mut prefs = Prefs { layout: Some(4), theme: Some("light".to_owned()), ..Prefs::default() };
    assert!(!prefs.settle(&file));
    let in_force = |prefs: &Prefs, file: &Config| {
        let mut config = file.clone();
        config.apply(prefs);
        (config.layout, config.theme)
    };
    assert_eq!(in_force(&prefs, &file), (4, "light".to_owned()));
    // Something else is edited: the choices stay.
    file.scroll_lines = 9;
    assert!(!prefs.settle(&file));
    assert_eq!(in_force(&prefs, &file), (4, "light".to_owned()));
    file.layout = 6;
    assert!(prefs.settle(&file));
    assert_eq!(in_force(&prefs, &file), (6, "light".to_owned()));
    // Edited back, the old choice does not come back.
    file.layout = 2;
    assert!(!prefs.settle(&file));
    assert_eq!(in_force(&prefs, &file).0, 2);
}

#[test]
fn every_preset_theme_has_every_role_and_can_be_read() {
    for (name, text) in PRESETS {
        let base =
            |it: &str| PRESETS.iter().find(|(of, _)| *of == it).map(|(_, text)| (*text).to_owned());
        for depth in [Depth::True, Depth::Indexed, Depth::Sixteen, Depth::Mono] {
            let read = theme::parse(name, name, text, &base, depth);
            let read = read.unwrap_or_else(|flaws| panic!("{name}: {flaws:?}"));
            if depth == Depth::True {
                assert_eq!(read.contrast_flaws(), Vec::<String>::new(), "{name}");
            }
            if depth == Depth::Mono {
                for (role, id, _) in ROLES {
                    let style = read.style(*role);
                    let plain = |it: Option<ratatui::style::Color>| {
                        it.is_none_or(|it| it == ratatui::style::Color::Reset)
                    };
                    assert!(plain(style.fg) && plain(style.bg), "{name}: {id} has a colour");
                }
            }
        }
    }
}

#[test]
fn a_theme_with_an_unknown_role_or_colour_is_refused_with_its_place() {
    let read = |text: &str| {
        let found = theme::parse("themes/mine.toml", "mine", text, &|_| None, Depth::True);
        found.unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        read("inherits = \"dark\"\n[roles]\naccnt = \"blue\"\n"),
        ["themes/mine.toml:3:1: `accnt` is not a role; did you mean `accent`?"]
    );
    assert_eq!(
        read("inherits = \"dark\"\n[roles]\naccent = \"bleu\"\n"),
        ["themes/mine.toml:3:10: `bleu` is not a colour of the palette; did you mean `blue`?"]
    );
    let missing = read("[roles]\nbase = \"white\"\n");
    assert!(missing[0].contains("roles without a look"), "{missing:?}");
}

#[test]
fn a_theme_may_bring_only_a_palette() {
    let text = "inherits = \"dark\"\n[palette]\nblue = \"#ffffff\"\n";
    let mine = theme::parse("mine", "mine", text, &|_| None, Depth::True).unwrap();
    let accent = mine.style(theme::Role::Accent).fg;
    assert_eq!(accent, Some(ratatui::style::Color::Rgb(255, 255, 255)));
}
