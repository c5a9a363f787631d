//! Who comes by a token of OpenID Connect: in by the table of the hub's configuration, or refused, counted and in the record;
//! and no token is anywhere but where its owner put it.

use sandwatch::{base::fault::Kind, wire::token::Token};
use serde_json::{Value, json};

use crate::{
    oidc_support::{
        ISSUER, OidcHub, Row, Signer, channel, comes, has, now, nowhere, part, secrets,
    },
    program::{Home, eventually},
    pty::Pty,
    remote_support,
    team_support::member,
};

/// By `TOKEN_LEEWAY`, and a moment more.
const OVER: i64 = 32;

fn tasks() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

const ROWS: &[Row<'_>] = &[
    ("email", "alice@example.org", "operator"),
    ("groups", "watchers", "viewer"),
    ("sub", "carol", "admin"),
    // Beneath the first that fits it counts for nothing.
    ("sub", "alice", "admin"),
];

#[test]
fn who_has_a_token_comes_as_the_first_row_says_that_fits() {
    let signers = [Signer::p256("one"), Signer::ed25519("two"), Signer::rsa("three")];
    let oidc = OidcHub::new(&[&signers[0], &signers[1], &signers[2]], ROWS);
    let mail = json!({"sub": "alice", "email": "alice@example.org", "email_verified": true});
    let tokens = [
        signers[0].token(mail),
        signers[1]
            .token(json!({"sub": "7", "preferred_username": "bob", "groups": ["x", "watchers"]})),
        signers[2].token(json!({"sub": "carol", "nbf": now() - 5})),
    ];
    let [alice, bob, carol] = tokens.each_ref().map(|it| oidc.client(it));
    let script = "echo ready; while read it; do echo got $it; done";
    carol.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", script]);
    alice.ok(&["wait", "box", "--for", "text=ready", "--timeout", "30s"]);
    alice.ok(&["send", "box", "hello<Enter>"]);
    bob.ok(&["wait", "box", "--for", "text=got hello", "--timeout", "30s"]);
    let why = ["bob (token) is a viewer", "takes an operator", "[[hub.oidc.who]]"];
    bob.run(&["send", "box", "x<Enter>"]).failed(4, &why);
    alice.run(&["rm", "--yes", "box"]).failed(4, &["alice@example.org (token) is an operator"]);

    // What the client keeps is where it comes from.
    let listed = alice.json(&["context", "ls", "--json"]);
    let whole = alice.workspace().join("token");
    assert_eq!(listed[1]["token_file"], whole.to_str().unwrap(), "{listed}");
    assert_eq!(listed[1]["ca"], alice.workspace().join("ca.pem").to_str().unwrap());
    assert!(!alice.path().join("state/contexts/team").exists());
    let all = oidc.hub.home.json(&["audit", "ls", "--json"]);
    let of = |actor: &str| all.as_array().unwrap().iter().find(|it| it["actor"] == actor).cloned();
    let refusal = of("bob (token)").unwrap();
    assert_eq!(
        (&refusal["action"], &refusal["details"]["from"]),
        (&json!("call.refused"), &json!("token"))
    );
    assert_eq!(refusal["details"]["member_role"], "viewer");
    let claims = Token::read(&tokens[1]).unwrap().claims;
    assert_eq!(refusal["details"]["member"], claims.member().unwrap().as_str());
    assert!(
        refusal["details"]["token_hash"].is_string() && refusal["details"]["certificate"].is_null()
    );
    assert!(of("carol (token)").is_some());

    // Who was invited comes as before, and nobody by a certificate of the team, whose authority is not named.
    let invite = oidc.hub.home.ok(&["hub", "invite", "vera", "--role", "viewer"]);
    let vera = Home::new();
    vera.ok(&["context", "add", "far", "--use", invite.trim()]);
    vera.ok(&["ls"]);
    member(&oidc.hub, &oidc.team, &oidc.team.give("alice", |_| {}))
        .run(&["ls"])
        .failed(4, &["of another hub"]);

    let texts: Vec<_> = tokens.iter().flat_map(|it| secrets(it)).collect();
    assert!(nowhere(&oidc.hub.home.path(), &texts) > 3);
    for home in [&alice, &bob, &carol] {
        assert!(nowhere(&home.path(), &texts) > 0);
    }
    let told = oidc.hub.home.ok(&["audit", "ls", "--json"])
        + &oidc.hub.home.ok(&["hub", "status", "--json"]);
    assert!(texts.iter().all(|it| !told.contains(it)));
}

/// What is wrong, the token, and by what that is counted.
fn bad_ones(
    own: &Signer,
    foreign: &Signer,
    rsa: &Signer,
) -> Vec<(&'static str, String, &'static str)> {
    let good = json!({"iss": ISSUER, "aud": "sandwatch.hub", "exp": now() + 600, "sub": "carol"});
    let with = |name: &str, value: Value| {
        let mut it = json!({"sub": "carol"});
        it[name] = value;
        own.token(it)
    };
    let header = |algorithm: &str, kid: &str| json!({"alg": algorithm, "kid": kid});
    let whole = own.token(json!({"sub": "carol"}));
    let (signed, signature) = whole.rsplit_once('.').unwrap();
    let none = own.signed(&header("none", "own"), &good);
    let unsigned = none.rsplit_once('.').unwrap().0.to_owned();
    let mut flipped = signature.to_owned().into_bytes();
    flipped[10] = if flipped[10] == b'A' { b'B' } else { b'A' };
    let other_claims = part(
        json!({"iss": ISSUER, "aud": "sandwatch.hub", "exp": now() + 600, "sub": "carol", "x": 1})
            .to_string(),
    );
    // The public key as the secret of both sides.
    let text = format!("{}.{}", part(header("HS256", "rsa").to_string()), part(good.to_string()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, rsa.public().to_string().as_bytes());
    let symmetric = format!("{text}.{}", part(ring::hmac::sign(&key, text.as_bytes())));
    let no = |name: &str| {
        let mut it = good.clone();
        it.as_object_mut().unwrap().remove(name);
        own.signed(&header("ES256", "own"), &it)
    };
    vec![
        ("it is none", String::new(), "token"),
        ("it is none", "garbage".to_owned(), "token"),
        ("it is none", format!("{whole}."), "token"),
        ("longer than one may be", "x".repeat(16 * 1024 + 1), "token"),
        ("a way that is taken", none, "token"),
        ("a way that is taken", format!("{unsigned}."), "token"),
        ("a way that is taken", symmetric, "token"),
        ("another issuer", with("iss", json!("https://login.example.org/team/")), "issuer"),
        ("another issuer", no("iss"), "issuer"),
        ("by its `aud`", with("aud", json!(["other"])), "token"),
        ("by its `aud`", no("aud"), "token"),
        ("it has expired", with("exp", json!(now() - OVER)), "expired"),
        ("until when", no("exp"), "token"),
        ("a time that is none", with("exp", json!((now() + 600).to_string())), "token"),
        ("not good yet", with("nbf", json!(now() + 600)), "expired"),
        ("a time that is none", with("nbf", json!("1")), "token"),
        ("none of the issuer's", foreign.token(json!({"sub": "carol"})), "token"),
        ("signature is wrong", foreign.signed(&header("ES256", "own"), &good), "token"),
        ("none of the issuer's", own.signed(&header("RS256", "own"), &good), "token"),
        ("none of the issuer's", own.signed(&header("ES256", "rsa"), &good), "token"),
        ("by which key", own.signed(&json!({"alg": "RS384"}), &good), "token"),
        (
            "signature is wrong",
            format!("{signed}.{}", String::from_utf8(flipped).unwrap()),
            "token",
        ),
        (
            "signature is wrong",
            format!("{}.{other_claims}.{signature}", signed.split_once('.').unwrap().0),
            "token",
        ),
        (
            "extensions",
            own.signed(&json!({"alg": "ES256", "kid": "own", "crit": ["x"]}), &good),
            "token",
        ),
        ("of nobody", no("sub"), "token"),
        ("nobody who may come", with("sub", json!("Carol")), "token"),
        (
            "nobody who may come",
            own.token(json!({"sub": "x", "email": "alice@example.org"})),
            "token",
        ),
        (
            "nobody who may come",
            own.token(json!({"sub": "x", "email": "alice@example.org", "email_verified": "true"})),
            "token",
        ),
        (
            "nobody who may come",
            own.token(json!({"sub": "x", "groups": {"watchers": true}})),
            "token",
        ),
    ]
}

#[test]
fn what_is_no_good_token_is_refused_counted_and_written_down() {
    let (own, foreign, rsa) = (Signer::p256("own"), Signer::p256("foreign"), Signer::rsa("rsa"));
    let oidc = OidcHub::new(&[&own, &rsa], ROWS);
    let tasks = tasks();
    let all = bad_ones(&own, &foreign, &rsa);
    for (words, token, why) in &all {
        let before = oidc.refused(why);
        let fault = tasks.block_on(oidc.tries(token.as_bytes())).expect(words);
        assert_eq!(fault.kind(), Kind::Denied, "{words}: {fault}");
        assert!(fault.message().contains(words), "{words}: {fault}");
        assert!(oidc.refused(why) > before, "{words} is counted as {why}");
    }
    let not_text = tasks.block_on(oidc.tries(&[0xff; 40])).unwrap();
    assert!(not_text.message().contains("no text"), "{not_text}");
    // A good one is taken still, and the record says what was seen.
    assert_eq!(tasks.block_on(oidc.tries(own.token(json!({"sub": "carol"})).as_bytes())), None);
    let told = oidc.hub.home.ok(&["audit", "ls", "--json"]);
    assert!(told.contains("of another issuer: https://login.example.org/team/"), "{told}");
    let texts: Vec<_> =
        all.iter().filter(|it| it.1.contains('.')).flat_map(|it| secrets(&it.1)).collect();
    assert!(texts.len() > 20 && texts.iter().all(|it| !told.contains(it)));
    assert!(nowhere(&oidc.hub.home.path(), &texts) > 3);

    // The client is told, in words without it.
    let client = oidc.client(&own.token(json!({"sub": "nobody"})));
    client
        .run(&["ls"])
        .failed(4, &["does not take your token", "nobody who may come", "[[hub.oidc]]"]);
    // A token is for the hub alone that is of the authority it names.
    let other = OidcHub::new(&[&own], ROWS);
    let stranger = oidc.stranger();
    has(&stranger, &own.token(json!({"sub": "carol"})));
    let args = ["--ca", "ca.pem", "--token-file", "token"];
    let url = other.hub.url();
    stranger.ok(&[&["context", "add", "team", "--use", &url], &args[..]].concat());
    stranger.run(&["ls"]).failed(4, &["another hub", "`ca` of the context"]);
    // And nobody comes by one where none is taken.
    oidc.hub.configures(&format!("[hub]\nlisten = [\"https://{}\"]\n", oidc.hub.address));
    eventually("tokens are not taken any more", || {
        let fault = tasks.block_on(oidc.tries(own.token(json!({"sub": "carol"})).as_bytes()));
        fault.is_some_and(|it| it.kind() == Kind::Lost)
    });
}

/// Watches by a token until that ends, which it is to do by what is done then.
fn ends(oidc: &OidcHub, tasks: &tokio::runtime::Runtime, token: &str, when: impl FnOnce()) {
    let own = format!("{}.x", Token::read(token).unwrap().claims.member().unwrap());
    let open = channel(&oidc.hub.address, token);
    remote_support::ends(tasks, open, (&own, "token-0123.x"), when);
}

#[test]
fn keys_and_rows_that_change_count_at_once_also_for_who_is_there() {
    let (old, new) = (Signer::p256("old"), Signer::ed25519("new"));
    let oidc = OidcHub::new(&[&old], ROWS);
    let tasks = tasks();
    let claims = json!({"sub": "carol"});
    let carol = oidc.client(&old.token(claims.clone()));
    carol.ok(&["ls"]);
    // Both at a time, as issuers do it: nobody is cut off.
    oidc.keys(&[&old, &new]);
    let fresh = oidc.client(&new.token(claims.clone()));
    comes(&fresh, "the new key counts");
    carol.ok(&["ls"]);
    ends(&oidc, &tasks, &old.token(claims.clone()), || oidc.keys(&[&new]));
    carol.run(&["ls"]).failed(4, &["none of the issuer's"]);
    has(&carol, &new.token(claims.clone()));
    carol.ok(&["ls"]);
    // Another role, and none.
    ends(&oidc, &tasks, &new.token(claims.clone()), || oidc.lets_in(&[("sub", "carol", "viewer")]));
    carol.run(&["run", "-d", "--", "/bin/true"]).failed(4, &["carol (token) is a viewer"]);
    ends(&oidc, &tasks, &new.token(claims.clone()), || oidc.lets_in(&[("sub", "dave", "admin")]));
    carol.run(&["ls"]).failed(4, &["nobody who may come"]);
    oidc.lets_in(ROWS);
    comes(&carol, "she may come again");
    // Keys that can't be read let in nobody by them, and everybody else.
    ends(&oidc, &tasks, &new.token(claims.clone()), || oidc.hub.write("keys.json", "<html>"));
    carol.run(&["ls"]).failed(4, &["none of the issuer's"]);
    oidc.hub.home.ok(&["ls"]);
    oidc.keys(&[&new]);
    comes(&carol, "it is mended");
}

#[test]
fn a_connection_ends_with_its_token_and_comes_back_by_the_next() {
    let signer = Signer::p256("one");
    let oidc = OidcHub::new(&[&signer], ROWS);
    let tasks = tasks();
    let short = |seconds: i64| signer.token(json!({"sub": "carol", "exp": now() - OVER + seconds}));
    ends(&oidc, &tasks, &short(16), || {});
    oidc.hub.home.ok(&["run", "-d", "--name", "box", "--", "/bin/cat"]);
    let strange = oidc.refused("identity");
    let carol = oidc.client(&short(24));
    let mut pty = Pty::start(&carol, &["--context", "team"], (100, 30));
    pty.wait_for("▸ box");
    pty.wait_for("NO HUB");
    pty.wait_until("why is said", |it| it.has("has ended") || it.has("has expired"));
    has(&carol, &signer.token(json!({"sub": "carol"})));
    pty.wait_until("it is there again", |it| !it.has("NO HUB") && it.has("▸ box"));
    assert_eq!(oidc.refused("identity"), strange);
    pty.signal(rustix::process::Signal::TERM);
    pty.ended();
}

#[test]
fn where_a_token_comes_from_is_tried_when_a_context_is_added_and_asked_each_time() {
    let signer = Signer::p256("one");
    let oidc = OidcHub::new(&[&signer], ROWS);
    let home = oidc.stranger();
    let url = oidc.hub.url();
    let add = |address: &str, more: &[&str]| {
        home.run(&[&["context", "add", "team", address], more].concat())
    };
    let file = ["--ca", "ca.pem", "--token-file", "token"];
    add(&url, &file).failed(4, &["there is no token"]);
    has(&home, "hunter2");
    let told = add(&url, &file);
    told.failed(2, &["no token of OpenID Connect"]);
    assert!(!told.stderr.contains("hunter2"));
    has(&home, &signer.token(json!({"sub": "carol"})));
    add("ssh://lab", &file).failed(2, &["for https://HOST:PORT"]);
    assert_eq!(add(&url, &file[..2]).code, 2);
    assert_eq!(add(&url, &file[2..]).code, 2);
    assert_eq!(add(&url, &[&file[..], &["--token-command", "x"]].concat()).code, 2);
    assert_eq!(add(&url, &[&file[..], &["--key", "x"]].concat()).code, 2);
    let command = |line: &'static str| ["--ca", "ca.pem", "--token-command", line];
    let told = add(&url, &command("/nonexistent/x"));
    assert!(told.code != 0 && told.stderr.contains("starting /nonexistent/x"), "{told:?}");
    add(&url, &command("/bin/sh -c 'exit 3'")).failed(4, &["ended with", "run it by hand"]);
    add(&url, &command("")).failed(2, &["a command is"]);
    assert_eq!(home.json(&["context", "ls", "--json"]).as_array().unwrap().len(), 1);
    let counted = "/bin/sh -c 'echo >> asked; cat token'";
    assert_eq!(add(&url, &command(counted)).code, 0);
    let listed = home.json(&["context", "ls", "--json"]);
    assert_eq!(listed[1]["token_command"], json!(["/bin/sh", "-c", "echo >> asked; cat token"]));
    // Once for all connections of a verb.
    let asked = || std::fs::read(home.workspace().join("asked")).unwrap().len();
    assert_eq!(asked(), 1);
    home.ok(&["--context", "team", "ls"]);
    assert_eq!(asked(), 2);
}
