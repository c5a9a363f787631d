//! What is open when the rule that let it out is taken back, against servers in a network beyond the hub's.

use std::fs;

use crate::{
    beyond::{Beyond, ended},
    program::eventually,
};

/// Is greeted, says that it is in, and goes on when it is told to.
const STAYS: &str = "python3 -c 'import os, socket, time\n\
    s = socket.create_connection((\"files.example\", 2222)); s.recv(100); open(\"in\", \"w\").close()\n\
    s.settimeout(0.05)\n\
    while not os.path.exists(\"go\"):\n\
    \x20   try: print(\"end\", s.recv(100)); raise SystemExit\n\
    \x20   except TimeoutError: pass\n\
    s.settimeout(None); s.sendall(b\"back\"); print(s.recv(100))'";

/// Begins a request, and waits for what comes of it.
const UPLOADS: &str = "python3 -c 'import socket\n\
    s = socket.create_connection((\"other.example\", 80))\n\
    s.sendall(b\"POST /v1/x HTTP/1.1\\r\\nHost: other.example\\r\\nContent-Length: 10\\r\\n\\r\\nx\")\n\
    open(\"in\", \"w\").close()\n\
    print(\"end\", s.recv(100))'";

fn rule(id: &str, host: &str, more: &str) -> String {
    format!("[[rule]]\nid = \"{id}\"\nverdict = \"allow\"\nhost = \"{host}\"\n{more}\n")
}

#[test]
fn what_a_rule_let_out_ends_with_the_rule_and_with_nothing_else() {
    let Some(it) = Beyond::new() else { return };
    it.start(&[]);
    let file = it.home.config().join("policy.toml");
    let newest = || it.flows()["flows"][0].clone();
    let is_in = || eventually("it is through", || it.inside("test -e in").0 == 0);

    // An answer for always is a rule, and the connection is the rule's.
    let held = it.begin(STAYS);
    it.answer("files.example:2222", &["allow", "--scope", "always", "--yes"]);
    is_in();
    let made = it.home.json(&["policy", "show", "--json"])[0]["id"].as_str().unwrap().to_owned();
    let flow = newest();
    assert!(flow["why"].as_str().unwrap().starts_with(&format!("rule {made}: ")), "{flow}");
    it.home.ok(&["policy", "rm", &made]);
    let (_, said) = ended(held);
    assert!(said.contains("end b''") || said.contains("reset"), "{said}");
    let flow = newest();
    assert_eq!(flow["why"], "cut: no rule lets it out any more", "{flow}");

    // Another rule that lets it out keeps it, and a file that can't be read takes nothing back and lets nothing out.
    let both = rule("one", "files.example:2222", "") + &rule("two", "*.example", "");
    fs::write(&file, both).unwrap();
    it.inside("rm in");
    let held = it.begin(STAYS);
    is_in();
    fs::write(&file, rule("two", "*.example", "")).unwrap();
    // Whoever comes now has the rules looked at.
    let get = "curl -sS -m 30 http://other.example/";
    assert_eq!(it.inside(get).1, "from other.example\n");
    fs::write(&file, "[[rule]]\nid = 1").unwrap();
    let other = it.begin(get);
    it.answer("other.example:80", &["deny"]);
    assert!(ended(other).1.contains("denied"));
    it.inside("touch go");
    let (_, said) = ended(held);
    assert!(said.contains("back"), "{said}");

    // A request that is under way ends with the rule about it, whatever other requests rules know.
    let others = rule("get", "other.example", "methods = [\"GET\"]");
    let posts = rule("post", "other.example", "methods = [\"POST\"]\npath = \"/v1/**\"");
    fs::write(&file, others.clone() + &posts).unwrap();
    it.inside("rm in");
    let held = it.begin(UPLOADS);
    is_in();
    eventually("it is let out", || newest()["state"] == "open");
    fs::write(&file, others).unwrap();
    let (_, said) = ended(held);
    assert!(said.contains("end b''") || said.contains("reset"), "{said}");
    let flow = newest();
    assert_eq!(flow["why"], "cut: only requests that a rule names get out", "{flow}");
}
