//! Verbs and mistakes that need no hub.

use std::{os::unix::fs::PermissionsExt, process::Stdio};

use crate::program::{Home, Ran};

#[test]
fn a_mistyped_flag_is_a_usage_error() {
    let home = Home::new();
    for args in [
        &["--nonsense"][..],
        &["run", "--nonsense"],
        &["frobnicate"],
        &["ls", "--label", "noequals"],
        &["run", "--memory", "much", "--", "true"],
        &["run", "--size", "0x0", "--", "true"],
        &["run", "--egress", "perhaps", "--", "true"],
        &["wait", "x", "--for", "godot"],
        &["wait", "x", "--for", "text=("],
        &["exec", "x"],
        &["rm"],
    ] {
        let ran = home.run(args);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran:?}");
    }
}

#[test]
fn help_and_version_need_nothing() {
    let home = Home::new();
    for verb in ["run", "ls", "attach", "exec", "send", "screen", "wait", "recordings", "hub"] {
        assert!(home.ok(&[verb, "--help"]).contains("Usage:"));
    }
    let help = home.ok(&["--help"]);
    assert!(help.contains("Exit codes") && help.contains("demo"), "{help}");
    assert!(home.ok(&["--version"]).starts_with("sandwatch "));
    assert!(!home.path().exists(), "help wrote something");
}

#[test]
fn without_a_terminal_the_console_says_what_to_do() {
    let home = Home::new();
    home.run(&[]).failed(2, &["needs a terminal", "--help"]);
    home.run(&["demo"]).failed(2, &["needs a terminal"]);
}

#[test]
fn flags_of_later_drivers_are_refused_with_words() {
    let home = Home::new();
    home.run(&["run", "--image", "x", "--", "true"]).failed(3, &["--image", "--driver docker"]);
    home.run(&["run", "--gpus", "all", "--", "true"]).failed(5, &["--gpus", "driver docker"]);
    for none in ["0", "65", "some", "-1", "1.5", ""] {
        let ran = home.run(&["run", &format!("--gpus={none}"), "--", "true"]);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains("expected all or a number from 1 to 64"), "{ran:?}");
    }
}

#[test]
fn a_time_to_live_that_leaves_none_is_a_usage_error_in_words() {
    let home = Home::new();
    for ttl in ["0s", "4000d"] {
        let ran = home.run(&["run", "-d", "--ttl", ttl, "--", "true"]);
        assert!(ran.code == 2 && ran.stderr.contains("--ttl"), "{ran:?}");
        assert!(ran.stderr.contains("more than 0 and at most ten years"), "{ran:?}");
    }
}

#[test]
fn an_agent_or_workspace_that_is_not_there_is_not_found() {
    let home = Home::new();
    home.run(&["run", "no-such-agent-here"]).failed(3, &["no-such-agent-here", "PATH"]);
    home.run(&["run", "--workspace", "/no/such/dir:rw", "--", "true"]).failed(3, &["/no/such/dir"]);
    std::fs::write(home.workspace().join("file"), "").unwrap();
    home.run(&["run", "--workspace", "file", "--", "true"]).failed(2, &["not a directory"]);
    home.run(&["run", "bin/x"]).failed(2, &["bin/x", "--"]);
}

#[test]
fn a_place_that_cannot_be_written_is_said() {
    let home = Home::new();
    let file = home.workspace().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = home.command(&["ls"]);
    command.env("SANDWATCH_HOME", &file);
    let ran = Ran::from(command.output().unwrap(), &["ls"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("file") && ran.stderr.contains("SANDWATCH_HOME"), "{ran:?}");
}

#[test]
fn a_home_that_others_may_write_is_refused() {
    let home = Home::new();
    std::fs::create_dir(home.path()).unwrap();
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o777)).unwrap();
    home.run(&["ls"]).failed(4, &["another user"]);
}

#[test]
fn a_log_level_that_is_none_is_said() {
    let home = Home::new();
    let mut command = home.command(&["hub", "status"]);
    command.env("SANDWATCH_LOG", "loudly=maybe=x");
    Ran::from(command.output().unwrap(), &[]).failed(2, &["SANDWATCH_LOG", "debug"]);
}

#[test]
fn a_hub_that_does_not_run_is_told_apart() {
    let home = Home::new();
    home.run(&["hub", "status"]).failed(6, &["no hub"]);
    home.run(&["hub", "status", "--json"]).failed(6, &["no hub"]);
    assert_eq!(home.run(&["hub", "stop"]).code, 0);
}

#[test]
fn completions_are_accepted_by_their_shells() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.ok(&["completions", shell]);
        assert!(script.contains("recordings"), "{shell}");
        let file = home.workspace().join(shell);
        std::fs::write(&file, script).unwrap();
        let mut check = std::process::Command::new(shell);
        check.arg("-n").arg(&file).stdin(Stdio::null());
        match check.output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {output:?}"),
            // Only bash is expected everywhere.
            Err(error) => assert_ne!(shell, "bash", "{error}"),
        }
    }
}

#[test]
fn the_manual_page_has_every_verb() {
    let page = Home::new().ok(&["man"]);
    assert!(page.contains(".TH sandwatch"), "{page}");
    for verb in ["RUN", "ATTACH", "RECORDINGS EXPORT", "HUB SERVE", "KEYS EXPLAIN"] {
        assert!(page.contains(&format!(".SH \"{verb}\"")), "{verb}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_verb_without_a_word() {
    let home = Home::new();
    let mut child =
        home.command(&["man"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn keymap_files_are_checked_with_the_place_of_the_flaw() {
    let home = Home::new();
    let keymaps = home.config().join("keymaps");
    std::fs::create_dir_all(&keymaps).unwrap();
    std::fs::write(
        keymaps.join("good.toml"),
        "inherits = \"default\"\n[list]\nJ = \"list.down\"\n",
    )
    .unwrap();
    let ran = home.run(&["keys", "check"]);
    assert!(ran.code == 0 && ran.stdout.contains("good.toml: ok"), "{ran:?}");
    // The built-in keymap's own remarks are not this file's.
    assert_eq!(ran.stderr, "");
    let bad = keymaps.join("bad.toml");
    std::fs::write(&bad, "[list]\nJ = \"list.dwon\"\n").unwrap();
    let ran = home.run(&["keys", "check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("bad.toml:2:5") && ran.stderr.contains("list.down"), "{ran:?}");
    let ran = home.run(&["keys", "check", "--json"]);
    let checked: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, ran.stderr.as_str(), &checked[0]["ok"]), (1, "", &false.into()));
    assert!(checked[0]["flaws"][0].as_str().unwrap().contains("bad.toml:2:5"), "{checked}");
    assert_eq!((&checked[1]["ok"], &checked[1]["flaws"]), (&true.into(), &serde_json::json!([])));
    home.run(&["keys", "check", "/no/such.toml"]).failed(3, &["/no/such.toml"]);
}

#[test]
fn the_configuration_is_checked_listed_and_explained() {
    let home = Home::new();
    std::fs::create_dir_all(home.config()).unwrap();
    let file = home.config().join("config.toml");
    std::fs::write(&file, "layout = 2\n").unwrap();
    assert!(home.ok(&["config", "check"]).contains("ok"));
    let settings = home.json(&["config", "ls", "--json"]);
    assert_eq!(settings["layout"], 2, "{settings}");
    assert!(home.ok(&["config", "explain", "layout"]).contains("layout"));
    // What was chosen in the console holds until the file is edited, and is told apart.
    let chosen = "layout = 4\n[over]\nlayout = 2\n";
    std::fs::create_dir_all(home.path().join("state")).unwrap();
    std::fs::write(home.path().join("state/console.toml"), chosen).unwrap();
    let settings = home.json(&["config", "ls", "--json"]);
    assert_eq!(
        (&settings["layout"], &settings["from"]["layout"]),
        (&4.into(), &"chosen in the console".into())
    );
    assert!(home.ok(&["config", "explain", "layout"]).contains("4: chosen in the console"));
    assert!(home.ok(&["config", "explain", "new.egress"]).contains("\"ask\": default"));
    std::fs::write(&file, "layout = 1\n").unwrap();
    assert!(home.ok(&["config", "explain", "layout"]).contains("1: config.toml"));
    let layout = home.json(&["config", "explain", "layout", "--json"]);
    assert_eq!((&layout["value"], &layout["from"]), (&1.into(), &"config.toml".into()));
    assert!(!layout["meaning"].as_str().unwrap().is_empty(), "{layout}");
    let memory = home.json(&["config", "explain", "new.memory", "--json"]);
    assert!(memory["value"].is_null(), "{memory}");
    assert_eq!(home.json(&["config", "check", "--json"])[0]["ok"], true);
    home.run(&["config", "explain", "layuot"]).failed(3, &["layout"]);
    for (names, word) in [("theme = \"nothere\"", "nothere"), ("keymap = \"nokm\"", "nokm")] {
        std::fs::write(&file, names).unwrap();
        home.run(&["config", "check"]).failed(1, &["config.toml:1:", word, "your own"]);
    }
    std::fs::write(&file, "theme = \"ligth\"").unwrap();
    home.run(&["config", "check"]).failed(1, &["config.toml:1:9: `ligth`", "did you mean `light`"]);
    std::fs::write(&file, "layout = 3\nmouse = 1\n").unwrap();
    let ran = home.run(&["config", "check"]);
    let flaws: Vec<&str> = ran.stderr.lines().collect();
    assert!(
        ran.code == 1 && flaws.len() == 2,
        "each flaw has a line, and no hint is none: {ran:?}"
    );
    assert!(flaws[1].contains("2:9: `mouse` is"), "{ran:?}");
    std::fs::remove_file(&file).unwrap();
    let settings = home.ok(&["config", "ls"]);
    assert!(settings.contains("the keymap's") && !settings.contains("null"), "{settings}");
    std::fs::write(&file, "layuot = 2\n").unwrap();
    let ran = home.run(&["config", "check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("config.toml:1:1") && ran.stderr.contains("layout"), "{ran:?}");
}

#[test]
fn your_own_profiles_of_agents_are_checked_with_the_configuration() {
    let home = Home::new();
    let agents = home.config().join("agents");
    std::fs::create_dir_all(&agents).unwrap();
    let write = |name: &str, text: &str| std::fs::write(agents.join(name), text).unwrap();
    let good = "title = \"Mine\"\nprograms = [\"mine\"]\nasks = \"none\"\nwhy = \"it can't\"\n";
    write("mine.toml", good);
    write("notes.txt", "no profile");
    let said = home.json(&["config", "check", "--json"]);
    let file = said[0]["file"].as_str().unwrap();
    assert!(file.ends_with("agents/mine.toml") && said[0]["ok"] == true, "{said}");
    assert_eq!(said.as_array().unwrap().len(), 1, "{said}");
    // Each flaw of each file, beside what is right.
    write("bad.toml", &good.replace("asks", "askes"));
    write("b d.toml", good);
    let ran = home.run(&["config", "check"]);
    for wanted in ["bad.toml:3:1: `askes`", "b d.toml:1:1: the name"] {
        assert!(ran.code == 1 && ran.stderr.contains(wanted), "{ran:?}");
    }
    assert!(ran.stdout.contains("mine.toml: ok"), "{ran:?}");
    let bad = agents.join("bad.toml");
    assert!(home.run(&["config", "check", bad.to_str().unwrap()]).stderr.contains("bad.toml:3:1"));
    std::fs::remove_file(&bad).unwrap();
    std::fs::remove_file(agents.join("b d.toml")).unwrap();
    for number in 0..100 {
        write(&format!("mine{number}.toml"), good);
    }
    home.run(&["config", "check"]).failed(1, &["agents: more than"]);
    std::fs::remove_dir_all(&agents).unwrap();
    // Screen rules are read, too, patterns and all.
    let rules = home.config().join("status");
    std::fs::create_dir_all(&rules).unwrap();
    let rule = "version = 1\n[[rule]]\nsays = \"idle\"\nmatch = '(x'\nwords = \"it is done\"\n";
    std::fs::write(rules.join("mine.toml"), rule).unwrap();
    let flaw = "mine.toml:4:9: `match` is no pattern: unclosed group";
    home.run(&["config", "check"]).failed(1, &[flaw]);
    std::fs::write(rules.join("mine.toml"), rule.replace("(x", "x")).unwrap();
    assert!(home.ok(&["config", "check"]).contains("mine.toml"));
    std::fs::write(rules.join("not plain.toml"), rule.replace("(x", "x")).unwrap();
    home.run(&["config", "check"]).failed(1, &["the name of a file of screen rules"]);
}

#[test]
fn keys_are_listed_and_explained() {
    let home = Home::new();
    let keys = home.json(&["keys", "ls", "--json"]);
    let keys = keys.as_array().unwrap();
    assert!(keys.iter().any(|it| it["keys"] == "enter" && it["action"] == "session.step_in"));
    assert!(home.ok(&["keys", "explain", "ctrl-b", "d"]).contains("session.leave"));
    assert!(home.ok(&["keys", "explain", "ctrl-b", "ctrl-b"]).contains("types the prefix"));
    let meanings = home.json(&["keys", "explain", "ctrl-b", "d", "--json"]);
    assert!(meanings[0]["title"].as_str().unwrap().contains("session.leave"), "{meanings}");
    assert_eq!(home.json(&["keys", "check", "--json"]), serde_json::json!([]));
    // Nothing to check is said, not left open.
    for verb in ["keys", "themes"] {
        let ran = home.run(&[verb, "check"]);
        assert!(
            ran.code == 0 && ran.stderr.contains(&format!("no {verb}").replace("keys", "keymaps"))
        );
    }
    home.run(&["keys", "explain", "ctrl-nonsense"]).failed(2, &["nonsense"]);
}

#[test]
fn themes_are_listed_and_checked() {
    let home = Home::new();
    let themes = home.json(&["themes", "ls", "--json"]);
    assert!(themes.as_array().unwrap().iter().any(|it| it == "dark"), "{themes}");
    home.ok(&["themes", "check"]);
    assert_eq!(home.json(&["themes", "check", "--json"]), serde_json::json!([]));
    let roles = home.json(&["themes", "explain", "dark", "--json"]);
    let base = roles.as_array().unwrap().iter().find(|it| it["role"] == "base").unwrap();
    assert!(base["text"].is_string() && base["mods"].is_array(), "{base}");
    home.run(&["themes", "explain", "no-such"]).failed(3, &["no-such", "dark"]);
}
