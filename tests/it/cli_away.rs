//! An operator who is away is called: what the hub runs when something has waited for an answer for a while.

use std::fs;

use super::{
    cli_asks::{asking, ended, with_box},
    program::{Home, eventually},
};

fn calling(home: &Home, script: &str) {
    let command = format!("[\"/bin/sh\", \"-c\", {script:?}]");
    let text = format!("[notify]\nafter = 1\ncommand = {command}\n");
    fs::create_dir_all(home.config()).unwrap();
    fs::write(home.config().join("config.toml"), text).unwrap();
}

#[test]
fn who_is_away_is_called_for_what_waits_and_told_it_in_words_that_do_nothing() {
    let home = with_box();
    let heard = home.path().join("heard");
    let text = || fs::read_to_string(&heard).unwrap_or_default();
    calling(
        &home,
        &format!("env > {0}.env; echo \"$SANDWATCH_ASKS:\" >> {0}; cat >> {0}", heard.display()),
    );
    let one = asking(&home, &["--kind", "exec", "--subject", "make \u{202e}x; $(touch /tmp/no)"]);
    eventually("the operator is called", || text().ends_with(")\n"));
    assert_eq!(
        text(),
        "1:\n1 ask waits for your answer\nexec box: make <U+202E>x; $(touch /tmp/no)\n"
    );
    assert!(!fs::read_to_string(heard.with_extension("env")).unwrap().contains("touch"));
    let id = home.json(&["approvals", "ls", "--json"])[0]["id"].as_str().unwrap().to_owned();
    home.ok(&["approvals", "deny", &id]);
    assert_eq!(ended(one).0, 4);
}

#[test]
fn all_programs_of_a_call_end_with_the_hub() {
    let home = Home::new();
    let file = home.path().join("pid");
    calling(&home, &format!("sleep 1000 & echo $! >> {}; wait", file.display()));
    let asks = ["sandwatch", "ask", "--kind", "exec", "--subject", "make"];
    home.ok(&[&["run", "-d", "--name", "box", "--"][..], &asks].concat());
    let pids = || fs::read_to_string(&file).unwrap_or_default();
    eventually("the operator is called", || pids().ends_with('\n'));
    let stat = format!("/proc/{}/stat", pids().trim());
    let there = || fs::read_to_string(&stat).is_ok_and(|it| !it.contains(") Z "));
    assert!(there());
    home.ok(&["hub", "stop"]);
    eventually("nothing of the call is left", || !there());
    // The next hub calls for what this one could not tell.
    home.ok(&["ls"]);
    eventually("the operator is called again", || pids().lines().count() == 2);
}

#[test]
fn what_is_wrong_with_the_command_is_told_with_its_place() {
    let home = with_box();
    let file = home.config().join("config.toml");
    fs::create_dir_all(home.config()).unwrap();
    for (text, wanted) in [
        ("[notify]\ncommand = \"ring\"\n", "a list of words"),
        ("[notify]\nafter = 0\n", "from 1 to 3600"),
        ("[notify]\ncommand = [1]\n", "2:12"),
    ] {
        fs::write(&file, text).unwrap();
        let ran = home.run(&["config", "check"]);
        assert!(
            ran.code != 0 && format!("{}{}", ran.stdout, ran.stderr).contains(wanted),
            "{ran:?}"
        );
    }
}
