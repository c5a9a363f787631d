//! Rules that people make: by hand, of an answer, of an agent's file; what they would do is told before, and everything
//! of it is in the record. Through the real hub, shim and socket.

use std::fs;

use serde_json::{Value, json};

use crate::{
    cli_asks::{asking, ended, kill_hub, one_waits, show, with_box},
    program::Home,
};

/// An operator's own file: with remarks, an order, and a rule in several lines.
const OWN: &str = "# mine\n\n# tests are harmless\n[[rule]]\nid = \"tests\"  # so called\nverdict = \"allow\"\n\
    command = [\n  \"make\", # the one\n  [\"test\", \"check\"],\n]\n\n# a person pushes\n[[rule]]\nid = \"no-push\"\n\
    verdict = \"deny\"\ncommand = [\"git\", \"push\"]\nwhy = \"a person pushes\"\n";

fn policy(home: &Home) -> String {
    fs::read_to_string(home.config().join("policy.toml")).unwrap_or_default()
}

fn own(home: &Home) {
    fs::create_dir_all(home.config()).unwrap();
    fs::write(home.config().join("policy.toml"), OWN).unwrap();
}

fn ask(home: &Home, subject: &str) -> i32 {
    let words = ["exec", "box", "--", "sandwatch", "ask", "--kind", "exec", "--timeout", "1s"];
    home.run(&[&words[..], &["--subject", subject]].concat()).code
}

fn last(home: &Home, action: &str) -> Value {
    let all = home.json(&["audit", "ls", "-n", "500", "--json"]);
    let of = all.as_array().unwrap().iter().rfind(|it| it["action"] == action);
    of.unwrap_or_else(|| panic!("no {action}: {all}")).clone()
}

#[test]
fn a_rule_is_made_beside_what_the_operator_wrote_and_taken_out_again() {
    let home = with_box();
    own(&home);
    assert_eq!((ask(&home, "make test"), ask(&home, "git push"), ask(&home, "ls -l")), (0, 4, 7));
    let add = ["policy", "add", "--verdict", "allow", "--command", "ls", "--why", "it only looks"];
    // What it would have answered is told, and nothing is written.
    let shown = home.ok(&[&add[..], &["--dry-run"]].concat());
    assert!(
        shown.contains("command = [\"ls\"]") && shown.contains("would have matched 1"),
        "{shown}"
    );
    assert!(shown.contains("any words behind it") && shown.contains("expired"), "{shown}");
    assert_eq!(policy(&home), OWN);
    let cases = ["--match", "ls -l", "--not-match", "ls > x", "--for", "2h", "--json"];
    let made = home.json(&[&add[..], &cases].concat());
    assert_eq!((&made["added"], &made["rules"][0]["id"]), (&true.into(), &"ls".into()), "{made}");
    let after = policy(&home);
    assert!(after.starts_with(OWN) && after.contains("not_match = [\"ls > x\"]"), "{after}");
    assert_eq!(ask(&home, "ls -l"), 0);
    let noted = last(&home, "policy.changed");
    let details = &noted["details"];
    assert!(noted["actor"].as_str().unwrap().contains('@'), "{noted}");
    assert_eq!((&details["from"], &details["change"]), (&"unix".into(), &"added".into()));
    assert_eq!((&details["rules"], &details["rules_in_force"]), (&json!(["ls"]), &json!(3)));
    assert_eq!(details["rule_sha256"].as_str().unwrap().len(), 64);

    // How often it answered, and when last; the next hub knows it too.
    for restart in [false, true] {
        if restart {
            kill_hub(&home);
            home.ok(&["ls"]);
        }
        let all = home.json(&["policy", "show", "--json"]);
        let hits: Vec<_> =
            all.as_array().unwrap().iter().map(|it| (&it["id"], &it["hits"])).collect();
        assert_eq!(
            hits,
            [
                (&"tests".into(), &json!(1)),
                (&"no-push".into(), &json!(1)),
                (&"ls".into(), &json!(1))
            ]
        );
        assert!(all[2]["last_at"].is_string() && all[2]["until"].is_string(), "{all}");
    }
    let test = home.json(&["policy", "test", "--subject", "ls -l", "--json"]);
    assert_eq!(test["answered"][0]["hits"], 1, "{test}");
    assert!(home.ok(&["policy", "test", "--subject", "ls"]).contains("ls answered 1 time, last 2"));

    let gone = home.json(&["policy", "rm", "ls", "--json"]);
    assert_eq!((&gone["id"], &gone["hits"]), (&"ls".into(), &json!(1)));
    assert_eq!(policy(&home), OWN);
    assert_eq!(last(&home, "policy.changed")["details"]["change"], "removed");
    assert_eq!(ask(&home, "ls -l"), 7);
    home.ok(&["policy", "rm", "tests"]);
    let after = policy(&home);
    assert!(
        after.starts_with("# mine\n\n# tests are harmless\n") && !after.contains("\"tests\""),
        "{after}"
    );
    assert!(home.run(&["policy", "rm", "tests"]).code == 3);
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_rule_that_is_wrong_or_would_never_answer_is_refused_and_nothing_is_written() {
    let home = with_box();
    own(&home);
    let add = ["policy", "add", "--verdict", "allow"];
    for (words, why) in [
        (&["--command", "git push origin"][..], "denied by rule no-push"),
        (&["--command", "make all", "--id", "tests"], "another rule is called tests"),
        (&["--command", "ls", "--match", "rm x"], "does not match its own case: rm x"),
        (&["--command", "ls", "--not-match", "ls -l"], "matches its own case: ls -l"),
        (&["--path", "../x"], "without `..`"),
        (&["--host", "a:b"], "a host is"),
        (&["--command", "ls", "--until", "2020-01-01T00:00:00Z"], "over already"),
        (&["--command", "ls", "--id", "a b"], "an id is"),
    ] {
        let refused = home.run(&[&add[..], words].concat());
        assert!(refused.code == 2 && refused.stderr.contains(why), "{words:?}: {refused:?}");
    }
    assert_eq!(policy(&home), OWN);
    // A file with something wrong in it takes no more rules, and loses none.
    let broken = OWN.replace("\"deny\"", "\"dany\"");
    fs::write(home.config().join("policy.toml"), &broken).unwrap();
    for words in [&["add", "--verdict", "deny", "--command", "rm"][..], &["rm", "tests"]] {
        let refused = home.run(&[&["policy"], words].concat());
        assert!(refused.code == 2 && refused.stderr.contains("a verdict is"), "{refused:?}");
    }
    assert_eq!(policy(&home), broken);
    // What a link leads to is written, not the link.
    let real = home.config().join("dotfiles.toml");
    fs::write(&real, OWN).unwrap();
    fs::remove_file(home.config().join("policy.toml")).unwrap();
    std::os::unix::fs::symlink("dotfiles.toml", home.config().join("policy.toml")).unwrap();
    home.ok(&["policy", "add", "--verdict", "deny", "--tool", "WebFetch"]);
    assert!(fs::symlink_metadata(home.config().join("policy.toml")).unwrap().is_symlink());
    assert!(fs::read_to_string(real).unwrap().contains("WebFetch"));
}

#[test]
fn an_answer_for_always_makes_the_narrowest_rule_and_taking_it_back_takes_the_rule_out() {
    let home = with_box();
    let asker = asking(&home, &["--kind", "exec", "--subject", "cargo test --workspace"]);
    let id = one_waits(&home, "cargo test --workspace");
    let always = ["approvals", "allow", &id, "--scope", "always"];
    let draft = home.json(&[&always[..], &["--dry-run", "--json"]].concat());
    assert!(
        draft["text"].as_str().unwrap().contains("[\"cargo\", \"test\", \"--workspace\"]"),
        "{draft}"
    );
    // Nobody looked at it.
    let unseen = home.run(&always);
    assert!(unseen.code == 2 && unseen.stderr.contains("--dry-run"), "{unseen:?}");
    // Another rule than for what is asked is no answer to it.
    let other = "id = \"x\", verdict = \"allow\", command = [\"rm\"]";
    let other = home.run(&[&always[..], &["--yes", "--rule", other]].concat());
    assert!(
        other.code == 2 && other.stderr.contains("does not allow what is asked for"),
        "{other:?}"
    );
    assert_eq!((policy(&home).as_str(), &show(&home, &id)["state"]), ("", &"pending".into()));
    // What waits and is known to the rule is answered by it.
    let beside = asking(&home, &["--kind", "exec", "--subject", "cargo test -p beside"]);
    one_waits(&home, "cargo test -p beside");
    let rule =
        "id = \"tests\", verdict = \"allow\", command = [\"cargo\", \"test\"], why = \"fine\"";
    home.ok(&[&always[..], &["--yes", "--rule", rule]].concat());
    assert_eq!((ended(asker).0, ended(beside).0), (0, 0));
    assert!(policy(&home).contains("command = [\"cargo\", \"test\"]"), "{}", policy(&home));
    let decision = &show(&home, &id)["decision"];
    assert_eq!((&decision["scope"], &decision["rule"]), (&"always".into(), &"tests".into()));
    let all = home.json(&["audit", "ls", "-n", "500", "--json"]);
    let mine = all
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["action"] == "ask.allowed" && it["details"]["ask"] == id.as_str());
    assert_eq!(mine.unwrap()["details"]["rule"], "tests");
    assert_eq!((ask(&home, "cargo test -p x"), ask(&home, "cargo run")), (0, 7));
    let shown = home.json(&["policy", "show", "--json"]);
    assert_eq!(shown[0]["hits"], 2);

    // Another rule by its name is not the one that the answer made, and stays.
    let made = policy(&home);
    let file = home.config().join("policy.toml");
    let other = made.replace("allow", "deny");
    std::fs::write(&file, &other).unwrap();
    let kept = home.run(&["approvals", "revoke", &id]);
    assert!(kept.code != 0 && kept.stderr.contains("not the one that the answer made"), "{kept:?}");
    assert_eq!(policy(&home), other);
    // Remarks and order are not the rule.
    std::fs::write(&file, format!("# mine\n{made}")).unwrap();
    home.ok(&["approvals", "revoke", &id]);
    assert_eq!(policy(&home), "# mine\n");
    std::fs::write(&file, "").unwrap();
    assert_eq!(ask(&home, "cargo test -p x"), 7);
    assert_eq!(
        show(&home, &id)["decision"]["revoked"]["by"].as_str().map(|it| it.contains('@')),
        Some(true)
    );
    assert_eq!(home.run(&["approvals", "revoke", &id]).code, 3);
    last(&home, "ask.revoked");

    // Never for what no rule may allow: said in words, and the ask waits on.
    for (subject, why) in [
        ("ls > x", "writes to a file"),
        ("make && make it", "several commands"),
        ("git commit -m 'a b'", "blank"),
    ] {
        let asker = asking(&home, &["--kind", "exec", "--subject", subject]);
        let id = one_waits(&home, subject);
        let refused = home.run(&["approvals", "allow", &id, "--scope", "always", "--yes"]);
        assert!(refused.code == 5 && refused.stderr.contains(why), "{refused:?}");
        home.ok(&["approvals", "deny", &id]);
        assert_eq!(ended(asker).0, 4);
    }
    // A rule that forbids is made the same way, and the agent is told why.
    let asker = asking(&home, &["--kind", "exec", "--subject", "npm publish"]);
    let id = one_waits(&home, "npm publish");
    home.ok(&[
        "approvals",
        "deny",
        &id,
        "--scope",
        "always",
        "--yes",
        "--message",
        "a person does",
    ]);
    assert_eq!(ended(asker).0, 4);
    assert_eq!(ask(&home, "npm publish"), 4);
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_rule_for_a_project_is_kept_apart_and_holds_for_its_sandboxes_alone() {
    let home = with_box();
    // A second sandbox, somewhere else.
    let other = home.workspace().parent().unwrap().join("other");
    fs::create_dir(&other).unwrap();
    let at = format!("{}:cow", other.display());
    home.ok(&[
        "run",
        "-d",
        "--name",
        "else",
        "--workspace",
        &at,
        "--",
        "/bin/sh",
        "-c",
        "sleep 1000",
    ]);
    // What lies in the workspace makes no rules.
    let evil = "[[rule]]\nid = \"evil\"\nverdict = \"allow\"\ncommand = [\"make\"]\n";
    fs::write(home.workspace().join("policy.toml"), evil).unwrap();
    let asker = asking(&home, &["--kind", "exec", "--subject", "make all"]);
    let id = one_waits(&home, "make all");
    home.ok(&["approvals", "allow", &id, "--scope", "project", "--yes"]);
    assert_eq!(ended(asker).0, 0);
    assert_eq!(policy(&home), "");
    let shown = home.json(&["policy", "show", "--json"]);
    let workspace = home.workspace().canonicalize().unwrap();
    assert_eq!(shown[0]["workspace"], workspace.to_str().unwrap(), "{shown}");
    assert!(shown[0]["file"].as_str().unwrap().contains("/config/projects/"), "{shown}");
    assert_eq!(ask(&home, "make all"), 0);
    let words = ["exec", "else", "--", "sandwatch", "ask", "--kind", "exec", "--timeout", "1s"];
    assert_eq!(home.run(&[&words[..], &["--subject", "make all"]].concat()).code, 7);
    let by = home.json(&["approvals", "ls", "--all", "--json"]);
    assert!(by.to_string().contains("policy: project:make-all"), "{by}");
    let test = ["policy", "test", "--subject", "make all", "--json", "--workspace"];
    let said = home.json(&[&test[..], &[workspace.to_str().unwrap()]].concat());
    assert_eq!((&said["verdict"], &said["rules"]), (&"allow".into(), &json!(["project:make-all"])));
    assert_eq!(said["answered"][0]["hits"], 1, "{said}");
    // By whichever path it is named.
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&workspace, &link).unwrap();
    let by_link = home.json(&[&test[..], &[link.to_str().unwrap()]].concat());
    assert_eq!(by_link["verdict"], "allow", "{by_link}");
    assert_eq!(home.json(&[&test[..], &[other.to_str().unwrap()]].concat())["verdict"], "ask");
    // What the file of all denies stays denied.
    home.ok(&["policy", "add", "--verdict", "deny", "--command", "make"]);
    let said = home.json(&[&test[..], &[workspace.to_str().unwrap()]].concat());
    assert_eq!((&said["verdict"], &said["rules"]), (&"deny".into(), &json!(["make"])));
    assert_eq!(ask(&home, "make all"), 4);
    home.ok(&["policy", "rm", "make"]);
    // Its gate reads them too.
    let host = ["policy", "add", "--verdict", "deny", "--host", "a.example", "--project"];
    home.ok(&[&host[..], &[workspace.to_str().unwrap()]].concat());
    home.ok(&["approvals", "revoke", &id]);
    assert_eq!(ask(&home, "make all"), 7);
}

#[test]
fn what_is_allowed_in_other_words_is_judged_anew_and_only_those_are_told() {
    let home = with_box();
    own(&home);
    let asker = asking(&home, &["--kind", "exec", "--subject", "make install", "--editable"]);
    let id = one_waits(&home, "make install");
    assert_eq!(show(&home, &id)["editable"], true);
    let denied = home.run(&["approvals", "allow", &id, "--edit", "make; git push"]);
    assert!(denied.code == 4 && denied.stderr.contains("no-push"), "{denied:?}");
    // Much is at stake in what it would be.
    let grave = home.run(&["approvals", "allow", &id, "--edit", "sudo rm -rf /"]);
    assert!(grave.code == 2 && grave.stderr.contains("--yes"), "{grave:?}");
    assert_eq!(show(&home, &id)["state"], "pending");
    home.ok(&["approvals", "allow", &id, "--edit", "make -n install"]);
    assert_eq!(ended(asker), (0, "make -n install\n".to_owned()));
    let decision = &show(&home, &id)["decision"];
    assert_eq!(decision["edit"], "make -n install");
    let details = &last(&home, "ask.allowed")["details"];
    assert_eq!(details["edit"], "make -n install");
    assert_eq!(details["edit_digest"].as_str().unwrap().len(), 64);
    assert_ne!(details["edit_digest"], details["digest"]);
    // As it was asked, it is printed as well.
    let asker = asking(&home, &["--kind", "exec", "--subject", "make it", "--editable"]);
    home.ok(&["approvals", "allow", &one_waits(&home, "make it")]);
    assert_eq!(ended(asker), (0, "make it\n".to_owned()));
    // Who can't do it in other words is not told any.
    let asker = asking(&home, &["--kind", "exec", "--subject", "make that"]);
    let id = one_waits(&home, "make that");
    let refused = home.run(&["approvals", "allow", &id, "--edit", "make"]);
    assert!(refused.code == 5 && refused.stderr.contains("no other words"), "{refused:?}");
    home.ok(&["approvals", "deny", &id]);
    assert_eq!(ended(asker).0, 4);
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_snapshot_is_taken_before_it_is_allowed_or_nothing_is() {
    let home = with_box();
    home.ok(&["exec", "box", "--", "sh", "-c", "echo before > state"]);
    let asker = asking(&home, &["--kind", "exec", "--subject", "make"]);
    let id = one_waits(&home, "make");
    home.ok(&["approvals", "allow", &id, "--snapshot"]);
    assert_eq!(ended(asker).0, 0);
    let snapshot = show(&home, &id)["decision"]["snapshot"].as_str().unwrap().to_owned();
    let all = home.json(&["snapshot", "ls", "--json"]);
    assert_eq!(all[0]["id"], snapshot.as_str(), "{all}");
    assert_eq!(last(&home, "ask.allowed")["details"]["snapshot"], snapshot.as_str());
    assert_eq!(last(&home, "snapshot.taken")["details"]["before_ask"], id.as_str());
    home.ok(&["exec", "box", "--", "sh", "-c", "echo after > state"]);
    home.ok(&["restore", "box", &snapshot, "--yes"]);
    assert_eq!(home.ok(&["exec", "box", "--", "cat", "state"]), "before\n");
    // Where none can be taken, the ask waits on.
    let asker = asking(&home, &["--kind", "exec", "--subject", "make it"]);
    let id = one_waits(&home, "make it");
    let shelf = home.path().join("state/snapshots");
    let aside = home.path().join("state/aside");
    fs::rename(&shelf, &aside).unwrap();
    fs::write(&shelf, "").unwrap();
    let refused = home.run(&["approvals", "allow", &id, "--snapshot"]);
    assert!(refused.code != 0 && refused.stderr.contains("nothing is allowed"), "{refused:?}");
    assert_eq!(show(&home, &id)["state"], "pending");
    fs::remove_file(&shelf).unwrap();
    fs::rename(&aside, &shelf).unwrap();
    home.ok(&["approvals", "deny", &id]);
    assert_eq!(ended(asker).0, 4);
}

#[test]
fn rules_of_agents_are_taken_over_and_what_is_left_out_is_named() {
    let home = Home::new();
    let claude = home.workspace().join("settings.json");
    let text = json!({ "permissions": {
        "allow": ["Bash(npm run test:*)", "Bash(npm install)"], "deny": ["Bash(curl:*)"],
    } });
    fs::write(&claude, text.to_string()).unwrap();
    let claude = claude.to_str().unwrap();
    let shown = home.json(&["policy", "import", "claude", claude, "--dry-run", "--json"]);
    assert_eq!((&shown["added"], shown["rules"].as_array().unwrap().len()), (&false.into(), 2));
    assert_eq!(shown["left_out"][0]["line"], "allow: Bash(npm install)");
    assert_eq!(policy(&home), "");
    let told = home.run(&["policy", "import", "claude", claude]);
    assert!(told.code == 0 && told.stderr.contains("2 rules made, 1 left out"), "{told:?}");
    let codex = home.workspace().join("default.rules");
    let text = "prefix_rule(pattern=[\"curl\", \"x\"], decision=\"allow\")\n\
                prefix_rule(pattern=[\"git\", [\"status\", \"log\"]])\nprint(1)\n";
    fs::write(&codex, text).unwrap();
    let told = home.run(&["policy", "import", "codex", codex.to_str().unwrap()]);
    // One is in the shadow of what was taken over before.
    assert!(told.stderr.contains("1 rule made, 2 left out"), "{told:?}");
    assert!(told.stderr.contains("denied by rule curl"), "{told:?}");
    let test = home.json(&["policy", "test", "--subject", "git log -1", "--json"]);
    assert_eq!(test["verdict"], "allow");
    let bad = home.run(&["policy", "import", "claude", codex.to_str().unwrap()]);
    assert!(bad.code == 2 && bad.stderr.contains("settings.json"), "{bad:?}");
    home.ok(&["hub", "stop"]);
}
