//! Who comes by a certificate of a team's own authority: in by the table of the hub's configuration, or refused, counted and
//! in the record.

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType, date_time_ymd};
use sandwatch::{
    base::clock::wall,
    wire::{certificate::Said, enrol::Credentials},
};

use crate::{
    program::{Home, eventually},
    remote_support::{self, channel},
    team_support::{Given, Team, TeamHub, client, member},
};

fn mail(address: &str) -> SanType {
    SanType::Rfc822Name(address.try_into().unwrap())
}

fn refused(hub: &TeamHub, why: &str) -> u64 {
    hub.home.json(&["hub", "status", "--json"])["refused"][why].as_u64().unwrap_or(0)
}

#[test]
fn who_the_table_names_comes_by_a_certificate_of_the_team_as_what_it_says() {
    let team = Team::new();
    let hub = TeamHub::new(&team, &[("Alice", "operator"), ("bob@example.org", "viewer")]);
    let alice = member(&hub, &team, &team.give("Alice", |_| {}));
    let bob = team.give("somebody", |it| it.subject_alt_names = vec![mail("bob@example.org")]);
    let bob = member(&hub, &team, &bob);
    let script = "echo ready; while read it; do echo got $it; done";
    hub.home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", script]);
    hub.home.ok(&["wait", "box", "--for", "text=ready", "--timeout", "30s"]);
    // As any hub elsewhere; the keyboard is hers by an id that nobody else can have.
    alice.ok(&["send", "box", "hello<Enter>"]);
    alice.ok(&["wait", "box", "--for", "text=got hello", "--timeout", "30s"]);
    assert!(bob.ok(&["screen", "box"]).contains("got hello"));
    let why =
        ["bob@example.org (team certificate) is a viewer", "takes an operator", "[[hub.who]]"];
    bob.run(&["send", "box", "x<Enter>"]).failed(4, &why);
    // The next certificate of hers is hers too, and nothing is kept of it here.
    assert!(!alice.path().join("state/contexts/team").exists());
    let listed = alice.json(&["context", "ls", "--json"]);
    let own = alice.workspace().join("own.pem");
    assert_eq!(listed[1]["certificate"], own.to_str().unwrap(), "{listed}");
    // Who was invited comes as before, and knows the hub by its own authority.
    let invite = hub.home.ok(&["hub", "invite", "vera", "--role", "viewer"]);
    let vera = Home::new();
    vera.ok(&["context", "add", "far", "--use", invite.trim()]);
    vera.ok(&["ls"]);

    let all = hub.home.json(&["audit", "ls", "--json"]);
    let of = |actor: &str| all.as_array().unwrap().iter().find(|it| it["actor"] == actor).cloned();
    let refusal = of("bob@example.org (team certificate)").unwrap();
    assert_eq!(refusal["action"], "call.refused");
    assert_eq!(refusal["details"]["from"], "team_certificate");
    assert_eq!(refusal["details"]["member_role"], "viewer");
    assert!(refusal["details"]["member"].as_str().unwrap().starts_with("team-"));
    // A certificate of the team's is nothing that the hub renews.
    let renewed = alice.json(&["ls", "--json"]);
    assert_eq!(renewed[0]["name"], "box");
}

#[test]
fn what_is_not_good_of_a_team_is_refused_counted_and_written_down() {
    let (team, other) = (Team::new(), Team::new());
    let hub = TeamHub::new(&team, &[("Alice", "admin")]);
    let try_it = |authority: &Team, given: &Given, words: &[&str], why: &str| {
        let before = refused(&hub, why);
        member(&hub, authority, given).run(&["ls"]).failed(4, words);
        eventually(&format!("{why} is counted"), || refused(&hub, why) > before);
    };
    let unknown = ["does not know your certificate", "[[hub.who]]"];
    let over = team.give("Alice", |it| it.not_after = date_time_ymd(2020, 1, 1));
    try_it(&team, &over, &["has expired", "[[hub.who]]"], "expired");
    let early = team.give("Alice", |it| it.not_before = date_time_ymd(2090, 1, 1));
    try_it(&team, &early, &["has expired"], "expired");
    try_it(&team, &team.give("alice", |_| {}), &unknown, "certificate");
    try_it(&team, &team.give("Alicé (certificate)", |_| {}), &unknown, "certificate");
    let for_servers =
        team.give("Alice", |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    try_it(&team, &for_servers, &unknown, "certificate");
    let no_signing =
        team.give("Alice", |it| it.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    try_it(&team, &no_signing, &unknown, "certificate");
    // Of another authority, whose name is the same.
    let foreign = member(&hub, &team, &other.give("Alice", |_| {}));
    foreign.run(&["ls"]).failed(4, &["of another hub"]);
    eventually("issuer is counted", || refused(&hub, "issuer") > 0);
    let all = hub.home.ok(&["audit", "ls", "--json"]);
    assert!(all.contains("nobody who may come: alice"), "{all}");

    // The hub in its turn: of another authority, and by another name than its certificate has.
    let good = team.give("Alice", |_| {});
    member(&hub, &other, &good).run(&["ls"]).failed(4, &["another hub", "`ca` of the context"]);
    let (home, files) = client(&team, &good);
    let url = format!("https://{}", hub.address);
    let mut args = vec!["context", "add", "team", "--use", &url];
    args.extend(files.iter().map(String::as_str));
    home.ok(&args);
    home.run(&["ls"]).failed(4, &["another hub", "not of that name"]);
    member(&hub, &team, &good).ok(&["ls"]);
}

#[test]
fn files_that_are_no_good_are_said_when_a_context_is_added() {
    use std::{fs, os::unix::fs::PermissionsExt};
    let team = Team::new();
    let (home, files) = client(&team, &team.give("Alice", |_| {}));
    let add = |address: &str, more: &[String]| {
        let mut args = vec!["context", "add", "team", address];
        args.extend(more.iter().map(String::as_str));
        home.run(&args)
    };
    add("ssh://lab", &files).failed(2, &["for https://HOST:PORT"]);
    assert_eq!(add("https://lab:1", &files[..2]).code, 2);
    let own = home.workspace().join("own.key");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).unwrap();
    add("https://lab:1", &files).failed(4, &["others can read the key", "own.key"]);
    fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).unwrap();
    let key = fs::read(&own).unwrap();
    fs::write(&own, "nothing").unwrap();
    add("https://lab:1", &files).failed(2, &["no key in PEM"]);
    let (stranger, _) = client(&team, &team.give("Alice", |_| {}));
    fs::copy(stranger.workspace().join("own.key"), &own).unwrap();
    add("https://lab:1", &files).failed(2, &["own.pem"]);
    fs::write(&own, key).unwrap();
    let swapped: Vec<_> = files.iter().map(|it| it.replace("ca.pem", "own.key")).collect();
    add("https://lab:1", &swapped).failed(2, &["no certificate in PEM", "own.key"]);
    assert_eq!(home.json(&["context", "ls", "--json"]).as_array().unwrap().len(), 1);
    assert_eq!(add("https://lab:1", &files).code, 0);
}

#[test]
fn a_table_that_changes_counts_at_once_also_for_who_is_there() {
    let team = Team::new();
    let hub = TeamHub::new(&team, &[("Alice", "viewer")]);
    let given = team.give("Alice", |_| {});
    let alice = member(&hub, &team, &given);
    alice.ok(&["ls"]);
    let said = Said::read(&given.der).unwrap();
    let shown = Credentials {
        authority: vec![1],
        certificate: given.der.clone(),
        key: given.key.clone(),
        member: said.member.clone(),
        name: "Alice".to_owned(),
        issued_at: wall(),
        expires_at: said.until,
    };
    let tasks = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let ends = |when: &dyn Fn()| {
        let own = format!("{}.x", said.member);
        let open = channel(&hub.address, &shown);
        remote_support::ends(&tasks, open, (&own, "team-0123.x"), when);
    };
    ends(&|| hub.lets_in(&[("Alice", "operator")]));
    alice.ok(&["ls"]);
    ends(&|| hub.lets_in(&[("Bob", "operator")]));
    alice.run(&["ls"]).failed(4, &["does not know your certificate"]);
    hub.lets_in(&[("Alice", "admin")]);
    eventually("she may come again", || alice.run(&["ls"]).code == 0);
    // What can't be read lets in nobody of the team, and everybody else.
    ends(&|| hub.configures("[hub]\nwho = 7\n"));
    alice.run(&["ls"]).failed(4, &["of another hub", "[[hub.who]]"]);
    hub.home.ok(&["ls"]);
    hub.lets_in(&[("Alice", "admin")]);
    eventually("it is mended", || alice.run(&["ls"]).code == 0);
    // Another authority, and what the hub itself shows.
    let other = Team::new();
    hub.trusts(&other);
    hub.shows(&other.server("localhost"));
    let of_other = member(&hub, &other, &other.give("Alice", |_| {}));
    eventually("the other authority counts", || of_other.run(&["ls"]).code == 0);
    alice.run(&["ls"]).failed(4, &["another hub"]);
}
