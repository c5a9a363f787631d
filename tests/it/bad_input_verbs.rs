//! What a person or a script gets wrong, and what the machine does: always a clear word, never a hang.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Stdio},
};

use crate::{
    crash_support::{Home, PROGRAM, said},
    skip::skipped,
};

/// Longest thing that is said about a mistake.
const WORDS_MAX: usize = 1024;

/// One or two lines that name the matter, and the code.
fn refused(it: &Home, words: &[&str], code: i32, about: &str) {
    let said = it.say(words);
    assert_eq!(said.code, code, "{words:.99?}: {said:.999?}");
    assert!(said.err.contains(about), "{about:?} is said: {:?}", said.err);
    assert!(said.err.len() < WORDS_MAX, "{} bytes said", said.err.len());
    assert!(said.out.is_empty(), "nothing on stdout: {:?}", said.text());
}

#[test]
fn mistakes_are_told_with_their_codes() {
    let it = Home::new();
    let long = "x".repeat(5000);
    refused(&it, &["--nope"], 2, "--nope");
    refused(&it, &["run", "--nope"], 2, "--nope");
    refused(&it, &["fly"], 2, "fly");
    refused(&it, &["run", "--cpus", "-3", "--", "true"], 2, "");
    refused(&it, &["run", "-d", "--memory", "lots", "--", "true"], 2, "lots");
    refused(&it, &["run", "-d", "--size", "0x0", "--", "true"], 2, "0x0");
    refused(
        &it,
        &["run", "-d", "--workspace", "/no/such/place", "--", "true"],
        3,
        "/no/such/place",
    );
    fs::write(it.project().join("file"), "").unwrap();
    refused(&it, &["run", "-d", "--workspace", "file", "--", "true"], 2, "file");
    refused(&it, &["run", "-d", "--driver", "none", "--", "true"], 2, "none");
    refused(&it, &["run", "-d", "--name", &long, "--", "true"], 2, "not a name");
    refused(&it, &["run", "-d", "--name", "a\u{1b}]0;x", "--", "true"], 2, "not a name");
    refused(&it, &["run", "-d", "--", "/no/such/program"], 3, "/no/such/program");
    for verb in ["attach", "screen", "shell"] {
        refused(&it, &[verb, &long], 3, "no such");
    }
    refused(&it, &["rm", "--yes", "nobody"], 3, "nobody");
    refused(&it, &["wait", "nobody", "--for", "exit"], 3, "nobody");
    it.run("taken", "cat");
    refused(&it, &["run", "-d", "--name", "taken", "--", "true"], 1, "name in use: taken");
    refused(&it, &["rm", "taken"], 2, "--yes");
    refused(&it, &["wait", "taken", "--for", "text=a(b"], 2, "regular expression");
    refused(&it, &["wait", "taken", "--for", "idle", "--timeout", "1ms"], 7, "within");
    let listed = it.json(&["ls", "--all", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 1, "what failed left nothing: {listed:#}");
    it.end();
}

#[test]
fn a_listing_says_what_it_hides() {
    let it = Home::new();
    for name in ["one", "two"] {
        it.run(name, "true");
        it.ok(&["wait", name, "--for", "exit", "--timeout", "20s"]);
        it.ok(&["stop", name]);
    }
    it.run("three", "cat");
    let said = it.say(&["ls"]);
    assert!(said.text().contains("three") && !said.text().contains("two"), "{said:?}");
    assert_eq!(said.err, "2 stopped; --all shows them\n");
    assert_eq!(it.say(&["ls", "--all"]).err, "");
    it.end();
}

#[test]
fn a_state_directory_that_cannot_be_written_is_told_with_a_way_out() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can become another user");
    }
    let it = Home::new();
    fs::create_dir(it.home()).unwrap();
    let program = it.temp().join("sandwatch");
    fs::copy(PROGRAM, &program).unwrap();
    for open in [it.temp(), it.home()] {
        fs::set_permissions(open, PermissionsExt::from_mode(0o755)).unwrap();
    }
    for words in [&["ls"][..], &["run", "-d", "--", "true"], &["hub", "start"], &["doctor"]] {
        let mut verb = Command::new("timeout");
        verb.args(["--kill-after=1", "25"]).arg(&program).args(words).uid(4711).gid(4711);
        verb.current_dir("/").env("SANDWATCH_HOME", it.home()).stdin(Stdio::null());
        let said = said(verb);
        let doctor = words == ["doctor"];
        assert_eq!(said.code, i32::from(!doctor), "{words:?}: {said:?}");
        let text = format!("{}{}", said.text(), said.err);
        assert!(text.contains("ermission denied"), "{words:?}: {text}");
        assert!(text.contains("SANDWATCH_HOME"), "{words:?}: {text}");
    }
    assert_eq!(fs::read_dir(it.home()).unwrap().count(), 0);
}

#[test]
fn a_home_deeper_than_a_socket_address_works() {
    let it = Home::at(&format!("{}/{}", "deep".repeat(40), "down".repeat(40)));
    fs::create_dir_all(it.home().parent().unwrap()).unwrap();
    it.run("deep", "echo up; cat");
    it.printed("deep", "up");
    it.kill_hub();
    it.ok(&["send", "deep", "again", "<Enter>"]);
    it.printed("deep", "again");
    it.end();
}

#[test]
fn a_second_hub_is_refused_and_names_the_first() {
    let it = Home::new();
    it.ok(&["ls"]);
    let pid = it.hub_pid();
    refused(&it, &["hub", "serve"], 1, &format!("process {pid}"));
    assert_eq!(it.hub_pid(), pid);
    it.end();
    refused(&it, &["hub", "status"], 6, "no hub runs");
    assert_eq!(it.say(&["hub", "stop"]).code, 0);
}
