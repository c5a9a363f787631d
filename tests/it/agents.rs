//! What profiles of agents do: how an agent is started, what it may reach, and whether it is known that it asks here.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::program::{Home, eventually};

/// A program of the workspace by an agent's name; gives its path.
fn fake(home: &Home, name: &str, script: &str) -> String {
    let path = home.workspace().join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn profile(home: &Home, name: &str, text: &str) {
    let directory = home.config().join("agents");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(format!("{name}.toml")), text).unwrap();
}

pub fn notes(home: &Home) -> String {
    home.json(&["ls", "--json"])[0]["notes"].to_string()
}

/// Tells as an agent's hook does, from the first session.
fn telling(event: &str, mode: &str) -> String {
    let input = json!({ "hook_event_name": event, "permission_mode": mode });
    format!("printf %s '{input}' | sandwatch hook claude")
}

#[test]
fn that_an_agents_asks_come_here_is_known_by_its_own_word_and_nothing_else() {
    let home = Home::new();
    let next = "read line || exit";
    let [start, prompt] =
        [telling("SessionStart", "bypassPermissions"), telling("UserPromptSubmit", "default")];
    let claude = fake(
        &home,
        "claude",
        &format!("echo started \"$@\"; {next}; {start}; {next}; {prompt}; {next}"),
    );
    home.ok(&["run", "-d", "--name", "box", "--", &claude, "fix it"]);
    // What makes it ask comes before what the operator gave.
    let text = "text=started --permission-mode default fix it";
    home.ok(&["wait", "box", "--for", text, "--timeout", "60s"]);
    let command: Value = home.json(&["ls", "--json"])[0]["sessions"][0]["command"].clone();
    assert_eq!(command, json!([claude, "--permission-mode", "default", "fix it"]));
    assert!(!notes(&home).contains("asks"), "{}", notes(&home));
    eventually("nothing is heard of it", || {
        notes(&home).contains("asks are NOT reaching us: box: Claude Code did not tell")
    });
    let listed = home.run(&["ls"]);
    assert!(listed.stderr.contains("asks are NOT reaching us: box: "), "{listed:?}");
    home.ok(&["send", "box", "<Enter>"]);
    eventually("it asks for nothing", || {
        notes(&home)
            .contains("NOT reaching us: box: Claude Code runs in its mode bypassPermissions")
    });
    home.ok(&["send", "box", "<Enter>"]);
    eventually("it asks", || {
        notes(&home).contains("asks reach us: box: Claude Code told so, in its mode default")
    });
    assert!(!notes(&home).contains("NOT reaching"), "{}", notes(&home));
    assert_eq!(home.json(&["ls", "--json"])[0]["sessions"][0]["asks_reach_us"], true);
    // What the operator says about asking counts, in a shell's session too; and that nothing asks is known.
    let plan = ["shell", "-d", "box", "--", &claude, "--permission-mode=plan"];
    home.ok(&plan);
    home.ok(&["wait", "box/2", "--for", "text=started --permission-mode=plan", "--timeout", "60s"]);
    let aider = fake(&home, "aider", "sleep 1000");
    home.ok(&["shell", "-d", "box", "--", &aider]);
    eventually("aider asks nobody here", || {
        notes(&home).contains("asks are NOT reaching us: box/3: aider: it has no hooks")
    });
    // What has ended asks no more.
    home.ok(&["send", "box", "<Enter>"]);
    eventually("it has ended", || !notes(&home).contains("box: Claude"));
}

#[test]
fn an_agent_started_by_hand_tells_of_itself_and_a_stranger_tells_nothing() {
    let home = Home::new();
    let telling = telling("SessionStart", "auto\u{202e}\nx");
    let other = telling.replace("hook claude", "hook nobody");
    let script = format!("{other}; {telling}; echo told; sleep 1000");
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", &script]);
    home.ok(&["wait", "box", "--for", "text=told", "--timeout", "60s"]);
    eventually("a word that is not known is told of and not repeated", || {
        notes(&home).contains("Claude Code runs in a mode that is not known here")
    });
    assert!(!notes(&home).contains("auto"), "{}", notes(&home));
}

#[test]
fn goose_is_told_to_ask_nobody_only_where_its_hook_is_as_it_was_put_in() {
    let home = Home::new();
    let goose = fake(&home, "goose", "echo mode $GOOSE_MODE.; sleep 1000");
    let mode = |session: &str, mode: &str| {
        home.ok(&["wait", session, "--for", &format!("text=mode {mode}\\."), "--timeout", "60s"]);
    };
    home.ok(&["run", "-d", "--name", "box", "--", &goose]);
    mode("box", "auto");
    // What ran here before has the same home.
    for (at, change) in [
        (2, "echo {} > ~/.agents/plugins/sandwatch/hooks/hooks.json"),
        (3, "rm -r ~/.agents; echo > ~/.agents"),
    ] {
        home.ok(&["exec", "box", "--", "sh", "-c", change]);
        home.ok(&["shell", "-d", "box", "--", &goose]);
        mode(&format!("box/{at}"), "approve");
    }
    home.ok(&["exec", "box", "--", "sh", "-c", "rm ~/.agents"]);
    home.ok(&["shell", "-d", "box", "--", &goose]);
    mode("box/4", "auto");
    // What the operator says counts.
    home.ok(&["run", "-d", "--name", "by-hand", "--env", "GOOSE_MODE=chat", "--", &goose]);
    mode("by-hand", "chat");
}

#[test]
fn an_own_profile_starts_its_agent_and_says_what_it_may_reach() {
    let home = Home::new();
    let mine = "title = \"Sleeper\"\nprograms = [\"sleep\"]\nhosts = [\"model.example:443\"]\nasks = \"none\"\nwhy = \"it sleeps\"\n\
                [env]\nDREAM = \"deep\"\n[[file]]\npath = \"/etc/sleeper/sub/x.conf\"\ntext = \"asleep\"\n";
    profile(&home, "mine", mine);
    let ran = home.run(&["run", "-d", "--name", "box", "mine", "--", "1000"]);
    assert!(ran.code == 0 && ran.stderr.contains("Sleeper"), "{ran:?}");
    let seen = home.json(&["ls", "--json"])[0].clone();
    assert_eq!(seen["sessions"][0]["command"], json!(["sleep", "1000"]));
    eventually("it is said that it can't ask", || {
        notes(&home).contains("NOT reaching us: box: Sleeper: it sleeps")
    });
    if seen["capabilities"]["egress_ask"] == true {
        assert!(
            notes(&home).contains("Sleeper reaches its model unasked: model.example:443"),
            "{seen}"
        );
    }
    assert_eq!(home.ok(&["exec", "box", "--", "cat", "/etc/sleeper/sub/x.conf"]), "asleep");
    let session =
        ["exec", "box", "--", "sh", "-c", "tr '\\0' '\\n' < /proc/$(pidof sleep)/environ"];
    assert!(home.ok(&session).contains("DREAM=deep\n"));
    home.ok(&["rm", "--yes", "box"]);
    // With the network off nothing is let out, and that is said.
    home.ok(&["run", "-d", "--name", "box", "--egress", "deny", "sleep", "--", "1000"]);
    assert!(notes(&home).contains("Sleeper can't reach its model"), "{}", notes(&home));
    // A program of the workspace is called what it likes.
    home.ok(&["rm", "--yes", "box"]);
    let sleep = fake(&home, "sleep", "read line");
    home.ok(&["run", "-d", "--name", "box", "--", &sleep]);
    assert!(!notes(&home).contains("unasked"), "{}", notes(&home));

    // A flaw is said where it is, before anything is made; what runs keeps to what is built in.
    profile(&home, "mine", &mine.replace("/etc/sleeper/sub", "/etc/../usr"));
    let refused = home.run(&["run", "-d", "sleep", "--", "1000"]);
    refused.failed(2, &["agents/mine.toml:9:8: ", "below /etc"]);
    let made = home.json(&["ls", "--json"]);
    assert_eq!(made.as_array().unwrap().len(), 1);
}

#[test]
fn an_agent_that_is_not_there_is_said_in_its_own_words() {
    let home = Home::new();
    profile(
        &home,
        "ghost",
        "title = \"Ghost\"\nprograms = [\"ghost-of-nobody\"]\nasks = \"none\"\nwhy = \"it is none\"\n",
    );
    home.run(&["run", "-d", "ghost"]).failed(3, &["no program on PATH: ghost"]);
}
