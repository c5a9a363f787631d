//! What goes out of a sandbox whose programs get out by a proxy: where the kernel redirects nothing, and in grade
//! `landlock`, whose programs share the host's network.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use sandwatch::model::sandbox::Isolation;

use crate::{
    beyond::{Beyond, SERVER, Whose, ended, user_for},
    local_stage::USER,
    program::eventually,
};

const CURL: &str = "curl -sS -m 30";

/// A sandbox of each grade that there is here, by a hub that redirects nothing; `false` for one whose programs nobody can
/// tell apart.
fn each(more: &[&str], scenario: impl Fn(&Beyond, bool)) {
    for grade in [Isolation::Namespaces, Isolation::Landlock, Isolation::Oci, Isolation::Gvisor] {
        let Some(it) = beyond(grade) else { continue };
        start(&it, grade, more);
        scenario(&it, grade != Isolation::Gvisor);
    }
}

fn beyond(grade: Isolation) -> Option<Beyond> {
    Beyond::of(user_for(grade)?.0, SERVER, |_| Vec::new(), &[("SANDWATCH_WAY_OUT", "proxy")])
}

fn start(it: &Beyond, grade: Isolation, more: &[&str]) {
    it.start(&[&["--isolation", grade.word(), "--workspace", place(grade)][..], more].concat());
}

/// A workspace that there is in that grade.
fn place(grade: Isolation) -> &'static str {
    if grade == Isolation::Landlock { ".:rw" } else { ".:cow" }
}

/// Says each of these to the proxy, all at once or in two parts, over a connection of its own; gives all that each is
/// answered.
fn each_said_to_proxy(it: &Beyond, all: &[(&str, &str)]) -> Vec<String> {
    let script = "import socket, sys\n\
        part = lambda it: bytes(it, \"latin-1\").decode(\"unicode_escape\").encode(\"latin-1\")\n\
        for first, then in zip(sys.argv[1::2], sys.argv[2::2]):\n    \
            s = socket.create_connection((\"127.0.0.1\", 3128)); s.settimeout(20)\n    \
            s.sendall(part(first)); told = b\"\"\n    \
            if then:\n        told = s.recv(1000); s.sendall(part(then))\n    \
            while True:\n        try: more = s.recv(65536)\n        except ConnectionResetError: more = b\"\"\n        told += more\n        if not more: break\n    \
            print(told.decode(\"latin-1\"), end=\"\\x1e\")";
    let words: String = all.iter().map(|(first, then)| format!(" '{first}' '{then}'")).collect();
    let (code, said) = it.inside(&format!("python3 -c '{script}'{words}"));
    let mut answers: Vec<String> = said.split('\u{1e}').map(str::to_owned).collect();
    assert_eq!((code, answers.pop().as_deref(), answers.len()), (0, Some(""), all.len()), "{said}");
    answers
}

fn said_to_proxy(it: &Beyond, first: &str, then: &str) -> String {
    each_said_to_proxy(it, &[(first, then)]).remove(0)
}

#[test]
fn at_a_proxy_a_connection_is_held_until_somebody_answers_and_then_made_or_refused() {
    each(&[], |it, known| {
        let seen = it.home.json(&["ls", "--json"]).to_string();
        assert!(seen.contains("get out by a proxy alone"), "{seen}");
        let env = it.inside("env").1;
        for name in ["HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
            assert!(env.contains(&format!("{name}=http://127.0.0.1:3128\n")), "{env}");
        }

        let held = it.begin(&format!("{CURL} http://files.example/one"));
        let ask = it.waits("files.example:80");
        assert!(ask["about"].to_string().contains("HTTP GET http://files.example/one"), "{ask}");
        assert_eq!(ask["details"].to_string().contains("/curl"), known, "{ask}");
        assert_eq!(it.heard_of("web"), 0);
        it.answer("files.example:80", &["allow"]);
        assert_eq!(ended(held), (0, "from files.example\n".to_owned()));
        it.heard("web GET /one files.example");

        // Denied, the program is told in words, also where it asked for a tunnel.
        let held = it.begin(&format!("{CURL} http://files.example/two"));
        it.answer("files.example:80", &["deny", "--message", "use the mirror"]);
        let (_, said) = ended(held);
        assert!(said.contains("out of reach") && said.contains("use the mirror"), "{said}");
        let held = it.begin(&format!("{CURL} https://files.example/"));
        let ask = it.waits("files.example:443");
        assert!(ask["about"].to_string().contains("HTTP CONNECT"), "{ask}");
        it.answer("files.example:443", &["deny"]);
        let (code, said) = ended(held);
        assert!(code == 56 && said.contains("response 403"), "{code}: {said}");
        assert!(it.heard_of("/two") == 0 && it.heard_of("swallowed") == 0);
        let held =
            it.begin("curl -sS -m 30 -x socks5h://127.0.0.1:3128 http://files.example/three");
        it.answer("files.example:80", &["deny"]);
        assert_eq!(ended(held).0, 97);

        // Let out, a tunnel carries whatever is spoken, to whoever speaks first.
        let held = it.begin("curl -sS -m 30 -x socks5h://127.0.0.1:3128 http://files.example/four");
        it.answer("files.example:80", &["allow"]);
        assert_eq!(ended(held), (0, "from files.example\n".to_owned()));
        let held = it.begin("echo back | timeout 20 curl -sS -p telnet://files.example:2222 -m 20");
        it.answer("files.example:2222", &["allow"]);
        assert!(ended(held).1.contains("hello from beyond"));
        let held = it.begin(&format!("{CURL} -p http://files.example/large | wc -c"));
        it.answer("files.example:80", &["allow", "--scope", "session"]);
        assert_eq!(ended(held), (0, "760000\n".to_owned()));
        if known {
            assert_eq!(it.inside(&format!("{CURL} http://files.example/five")).0, 0);
            let held = it.begin("https_proxy= busybox wget -q -O - http://files.example/six");
            let ask = it.waits("files.example:80");
            assert!(ask["details"].to_string().contains("busybox"), "{ask}");
            it.answer("files.example:80", &["allow"]);
            assert_eq!(ended(held), (0, "from files.example\n".to_owned()));
        }

        // Who hangs up is not asked about any more.
        let held = it.begin("curl -sS -m 1 https://other.example/");
        it.waits("other.example:443");
        assert_eq!(ended(held).0, 28);
        eventually("its ask is withdrawn", || {
            it.home.json(&["approvals", "ls", "--json"]).as_array().unwrap().is_empty()
        });
        let flows = it.flows();
        assert!(flows["allowed"].as_u64() >= Some(4) && flows["denied"].as_u64() >= Some(4));
        assert!(flows["dropped_udp"].is_null(), "{flows}");
    });
}

#[test]
fn nothing_but_what_is_asked_of_the_proxy_leaves_a_sandbox_that_has_one() {
    each(&["--egress", "deny", "--allow", "files.example"], |it, _| {
        let script = r#"
import socket
def tried(what, f):
    try: print(what, "WENT", f())
    except OSError as e: print(what, "kept")
tcp = lambda *to: socket.create_connection(to, timeout=5)
def udp(to, family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_DGRAM); s.sendto(b"x" * 30, to); s.settimeout(1); return s.recv(99)
def fast(to):
    return socket.socket().sendto(b"GET / HTTP/1.0\r\n\r\n", 0x20000000, to)
tried("direct", lambda: tcp("203.0.113.7", 80))
tried("own", lambda: tcp("203.0.113.1", 3128))
tried("six", lambda: socket.create_connection(("2001:db8::7", 80), timeout=5))
tried("name", lambda: socket.getaddrinfo("files.example", 80, socket.AF_INET6))
tried("question", lambda: udp(("203.0.113.7", 53)))
tried("local question", lambda: udp(("127.0.0.1", 53)))
tried("udp", lambda: udp(("203.0.113.7", 4433)))
tried("udp6", lambda: udp(("2001:db8::7", 53), socket.AF_INET6))
tried("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
tried("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))
tried("sctp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).connect(("203.0.113.7", 80)))
tried("mptcp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(("203.0.113.7", 80)))
tried("fast", lambda: fast(("203.0.113.7", 80)))
tried("hub", lambda: socket.socket(socket.AF_UNIX).connect("HUB"))
print("all tried")
"#;
        let hub = it.home.path().join("run/hub.sock");
        let script = script.replace("HUB", hub.to_str().unwrap());
        let (_, said) = it.inside(&format!("python3 -c '{script}'"));
        assert!(!said.contains("WENT") && said.contains("all tried"), "{said}");
        assert_eq!(it.heard_of("web"), 0);
        assert_eq!(it.inside(&format!("{CURL} http://files.example/")).1, "from files.example\n");
    });
}

#[test]
fn the_proxy_is_tricked_into_nothing() {
    let allowed = ["--egress", "deny", "--allow", "files.example", "--allow", "*.example"];
    each(&allowed, |it, _| {
        let connect =
            |target: &str, more: &str| format!("CONNECT {target} HTTP/1.1\\r\\n{more}\\r\\n");
        let targets = [
            ("127.0.0.1:80", "403"),
            ("[::1]:80", "403"),
            ("[::ffff:127.0.0.1]:80", "403"),
            ("0.0.0.0:80", "403"),
            ("169.254.169.254:80", "metadata"),
            ("10.77.0.7:80", "a private network"),
            ("198.18.0.1:80", "403"),
            ("203.0.113.1:22", "this machine itself"),
            ("rebound.example:80", "a private network"),
            ("tricky.example:80", "this machine itself"),
            ("meta.example:80", "metadata"),
            ("ours.example:22", "this machine itself"),
            ("localhost:80", "the sandbox itself"),
            ("host.internal:22", "403"),
            ("files.example", "no port"),
            ("files.example:0", "no port"),
            ("files.example:+80", "no port"),
            ("me@files.example:80", "a user in it"),
            ("files.example:80@127.0.0.1:80", "a user in it"),
            ("2130706433:80", "no host"),
            ("0x7f.1:80", "no host"),
            ("http://files.example:80", "400"),
        ];
        let heads = [
            "Host: other.example:80\\r\\n",
            "Host: files.example:80\\r\\nHost: other.example\\r\\n",
            "Host : files.example\\r\\n",
            "X: y\\nHost: other.example\\r\\n",
            "X: \\x00\\r\\n",
        ];
        let requests = [
            "GET / HTTP/1.1\\r\\nHost: files.example\\r\\n\\r\\n",
            "GET http://me@files.example/ HTTP/1.1\\r\\n\\r\\n",
            "GET https://files.example/ HTTP/1.1\\r\\nHost: files.example\\r\\n\\r\\n",
            "GET http://files.example/ HTTP/1.1\\r\\nHost: other.example\\r\\n\\r\\n",
            "GET http://files.example/ HTTP/1.1\\r\\nHost: files.example\\r\\nHost: other.example\\r\\n\\r\\n",
            "GET http://files.example/ HTTP/9.9\\r\\n\\r\\n",
            "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n",
            "\\x16\\x03\\x01\\x00\\x05hello\\r\\n\\r\\n",
        ];
        let all: Vec<String> = targets
            .iter()
            .map(|(target, _)| connect(target, ""))
            .chain(heads.iter().map(|more| connect("files.example:80", more)))
            .chain(requests.map(str::to_owned))
            .collect();
        let pairs: Vec<_> = all.iter().map(|it| (it.as_str(), "")).collect();
        let mut answers = each_said_to_proxy(it, &pairs).into_iter();
        for ((target, words), said) in targets.iter().zip(answers.by_ref()) {
            assert!(said.contains(words) && !said.contains(" 200 "), "{target}: {said}");
        }
        for (more, said) in heads.iter().zip(answers.by_ref()) {
            assert!(said.contains("403") || said.contains("400"), "{more}: {said}");
        }
        for (request, said) in requests.iter().zip(answers) {
            assert!(said.starts_with("HTTP/1.1 40"), "{request}: {said}");
        }
        let long = it.inside(
            "curl -sS -m 20 -H \"X: $(head -c 60000 /dev/zero | tr '\\0' y)\" http://files.example/",
        );
        assert!(long.1.contains("its head is too long"), "{long:?}");
        assert_eq!(it.heard_of("web"), 0);

        // What is said in a tunnel must be for whom it was asked.
        let get = |host: &str| {
            format!("GET /in HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n")
        };
        let begin = "CONNECT files.example:80 HTTP/1.1\\r\\n\\r\\n";
        let said = said_to_proxy(it, begin, &get("other.example"));
        assert!(said.contains(" 200 ") && said.contains(" 403 "), "{said}");
        let said = said_to_proxy(it, begin, &get("files.example"));
        assert!(said.contains("from files.example"), "{said}");
        // Also where it did not wait for leave.
        let said = said_to_proxy(it, &format!("{begin}{}", get("other.example")), "");
        assert!(said.contains(" 403 "), "{said}");
        let tls = "curl -sS -m 20 --connect-to other.example:443:files.example:443 https://other.example/";
        let (_, said) = it.inside(tls);
        assert!(said.contains("access denied"), "{said}");
        assert_eq!(it.heard_of("swallowed"), it.heard_of("swallowed 0"));
        assert_eq!(it.heard_of("other.example"), 0);

        // A connection to the proxy carries one request, and the next one is held against the rules by itself.
        let one = "GET http://files.example/a HTTP/1.1\\r\\nHost: files.example\\r\\nProxy-Authorization: me\\r\\n\\r\\n";
        let two = "GET http://169.254.169.254/b HTTP/1.1\\r\\nHost: 169.254.169.254\\r\\n\\r\\n";
        let said = said_to_proxy(it, &format!("{one}{two}"), "");
        assert!(said.contains("from files.example") && !said.contains(" 403 "), "{said}");
        assert!(said.to_lowercase().contains("connection: close"), "{said}");
        assert_eq!(it.heard_of("/b"), 0);
        let urls =
            format!("{CURL} http://files.example/c http://meta.example/d http://other.example/e");
        let (_, said) = it.inside(&urls);
        assert!(said.starts_with("from files.example") && said.contains("metadata"), "{said}");
        assert!(said.contains("from other.example"), "{said}");
        // SOCKS, too.
        for (host, code) in [("meta.example", 97), ("10.77.0.7", 97), ("files.example", 0)] {
            let url = format!("curl -sS -m 20 -x socks5h://127.0.0.1:3128 http://{host}/");
            assert_eq!(it.inside(&url).0, code, "{host}");
        }
        let flows = it.flows()["flows"].to_string();
        assert!(flows.contains("a user in it") && flows.contains("no host"), "{flows}");
    });
}

#[test]
fn who_says_that_it_says_no_more_hears_a_refusal_to_its_end() {
    let script = "import socket\n\
        s = socket.create_connection((\"127.0.0.1\", 3128)); s.settimeout(20)\n\
        s.sendall(b\"CONNECT 10.0.0.1:80 HTTP/1.1\\r\\n\\r\\n\"); told = s.recv(65536)\n\
        s.shutdown(socket.SHUT_WR)\n\
        print(told.split()[1].decode(), s.recv(65536))";
    each(&[], |it, _| {
        for _ in 0..5 {
            let (code, said) = it.inside(&format!("python3 -c '{script}'"));
            assert_eq!((code, said.as_str()), (0, "403 b''\n"));
        }
    });
}

#[test]
fn no_datagram_leaves_a_pair_of_sockets_for_a_socket_of_the_host() {
    let Some(it) = beyond(Isolation::Landlock) else { return };
    let place = it.home.path().join("services");
    std::fs::create_dir_all(&place).unwrap();
    let path = place.join("log");
    let service = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    for open in [&place, &path] {
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(open, all).unwrap();
    }
    service.set_nonblocking(true).unwrap();
    start(&it, Isolation::Landlock, &[]);
    let script = format!(
        "import socket\n\
         for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):\n\
         \x20   try: socket.socketpair(socket.AF_UNIX, kind)[0].sendto(b\"x\", \"{}\"); print(\"sent\")\n\
         \x20   except OSError as error: print(error.errno)\n\
         one, other = socket.socketpair(); one.send(b\"x\"); print(\"own\")",
        path.display()
    );
    assert_eq!(it.inside(&format!("python3 -c '{script}'")).1, "1\n1\nown\n");
    let mut heard = [0; 16];
    assert!(service.recv(&mut heard).is_err(), "{heard:?}");
}

#[test]
fn nobody_else_on_the_machine_comes_by_the_proxy() {
    each(&["--allow", "files.example"], |it, _| {
        assert_eq!(it.inside(&format!("{CURL} http://files.example/")).1, "from files.example\n");
        let held = it.begin(&format!("{CURL} http://other.example/"));
        it.waits("other.example:80");
        // Where the hub is, all that listens is what the hub itself does, which is nothing.
        let hub = it.home.json(&["hub", "status", "--json"])["pid"].to_string();
        let there = |words: &[&str]| {
            let mut run = Command::new("nsenter");
            run.args(["-t", &hub, "--net"]).args(words);
            let said = run.output().unwrap();
            String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned()
        };
        let listed = there(&["cat", "/proc/self/net/tcp", "/proc/self/net/tcp6"]);
        let listens: Vec<&str> = listed.lines().filter(|it| it.contains(" 0A ")).collect();
        assert_eq!(listens, Vec::<&str>::new());
        let user = (USER + 7).to_string();
        let mut curl = vec!["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"];
        curl.extend([
            "curl",
            "-sS",
            "-m",
            "5",
            "-x",
            "http://127.0.0.1:3128",
            "http://files.example/",
        ]);
        let said = there(&curl);
        assert!(!said.contains("from files.example"), "{said}");
        it.answer("other.example:80", &["allow"]);
        assert_eq!(ended(held).1, "from other.example\n");
    });
}

#[test]
fn a_program_that_connects_without_end_waits_and_takes_no_ports_of_the_host() {
    let Some(it) = beyond(Isolation::Landlock) else { return };
    start(&it, Isolation::Landlock, &["--egress", "deny", "--allow", "files.example"]);
    let connects = |to: &str, count: usize, then: &str| {
        let script = format!(
            "import socket\nfor number in range({count}):\n    s = socket.socket()\n    s.connect_ex({to}); {then} s.close()\nprint(\"all\")"
        );
        assert_eq!(it.inside(&format!("python3 -c '{script}'")).1, "all\n");
    };
    let (proxy, other) = ("(\"127.0.0.1\", 3128)", "(\"203.0.113.7\", 80)");
    let waited = || it.flows()["waited"].as_u64().unwrap();
    eventually("some wait", || {
        connects(proxy, 300, "");
        waited() > 0
    });
    // What is not for the proxy takes a turn as well.
    let before = waited();
    eventually("they wait, too", || {
        connects(other, 20, "");
        waited() > before
    });
    // What is refused leaves nothing behind either.
    let refused = "s.sendall(b\"CONNECT x.example:443 HTTP/1.1\\r\\n\\r\\n\"); assert b\" 403 \" in s.recv(1000);";
    connects(proxy, 40, refused);
    let told = it.home.run(&["egress", "box"]).stderr;
    assert!(told.contains("waited for a turn"), "{told}");
    let seen = it.home.json(&["ls", "--json"]).to_string();
    assert_eq!(seen.matches("begin connections too fast").count(), 1, "{seen}");
    let hub = it.home.json(&["hub", "status", "--json"])["pid"].to_string();
    let mut list = Command::new("nsenter");
    let listed = list.args(["-t", &hub, "--net", "ss", "-tanH", "state", "time-wait"]).output();
    let left = String::from_utf8_lossy(&listed.unwrap().stdout).lines().count();
    assert!(left < 20, "{left}");
    // And it goes on.
    let get = format!("{CURL} http://files.example/");
    assert_eq!(it.inside(&get), (0, "from files.example\n".to_owned()));
}

#[test]
fn a_hub_that_dies_while_a_connection_waits_allows_nothing_and_loses_nothing() {
    use Isolation::{Gvisor, Landlock, Namespaces, Oci};
    for (grade, way) in [
        (Namespaces, "auto"),
        (Namespaces, "proxy"),
        (Landlock, "auto"),
        (Oci, "auto"),
        (Oci, "proxy"),
        (Gvisor, "auto"),
        (Gvisor, "proxy"),
    ] {
        let Some(Whose(user)) = user_for(grade) else { continue };
        let env = [("SANDWATCH_WAY_OUT", way)];
        let Some(it) = Beyond::of(user, SERVER, |_| Vec::new(), &env) else { return };
        let script = "curl -sS -m 60 -p http://files.example/held; echo over; sleep 1000";
        let words = ["run", "-d", "--name", "box", "--isolation", grade.word(), "--workspace"];
        it.home.ok(&[&words[..], &[place(grade), "--", "sh", "-c", script]].concat());
        it.waits("files.example:80");
        let pid = it.home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
        kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        it.start_hub(user);
        it.waits("files.example:80");
        assert_eq!(it.heard_of("web"), 0, "{grade:?} {way}");
        it.answer("files.example:80", &["allow"]);
        it.home.ok(&["wait", "box", "--for", "text=over", "--timeout", "20s"]);
        it.heard("web GET /held");
        assert!(it.home.ok(&["screen", "box"]).contains("from files.example"), "{grade:?} {way}");
    }
}

#[test]
fn containers_of_a_runtime_are_redirected_as_other_sandboxes_are() {
    for grade in [Isolation::Oci, Isolation::Gvisor] {
        let Some(Whose(user)) = user_for(grade) else { continue };
        let Some(it) = Beyond::of(user, SERVER, |_| Vec::new(), &[]) else { return };
        it.start(&["--isolation", grade.word()]);
        let known = grade == Isolation::Oci;
        assert!(!it.inside("env").1.to_lowercase().contains("http_proxy"));
        let held = it.begin(&format!("{CURL} http://files.example/one"));
        let ask = it.waits("files.example:80");
        assert_eq!(ask["details"].to_string().contains("/curl"), known, "{ask}");
        assert!(ask["about"].to_string().contains("GET /one of files.example"), "{ask}");
        assert_eq!(it.heard_of("web"), 0);
        it.answer("files.example:80", &["allow"]);
        assert_eq!(ended(held), (0, "from files.example\n".to_owned()));
        let held = it.begin(&format!("{CURL} https://files.example/"));
        it.answer("files.example:443", &["deny"]);
        assert!(ended(held).1.contains("access denied"));
        let held = it.begin(&format!("{CURL} http://203.0.113.7/two"));
        it.answer("203.0.113.7:80", &["deny", "--message", "use the mirror"]);
        assert!(ended(held).1.contains("use the mirror"));
        let script = r#"
import os, socket
def tried(what, f):
    try: print(what, "WENT", f())
    except OSError as e: print(what, "kept")
def udp(to, family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_DGRAM); s.sendto(b"x" * 30, to); s.settimeout(1); return s.recv(99)
tried("question", lambda: udp(("203.0.113.7", 53)))
tried("udp", lambda: udp(("203.0.113.7", 4433)))
tried("udp6", lambda: udp(("2001:db8::7", 53), socket.AF_INET6))
tried("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
tried("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))
tried("meta", lambda: socket.create_connection(("169.254.169.254", 80), timeout=5).recv(1)[0])
s = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(s.getsockname()); print("own loopback works")
print("all tried")
"#;
        let (_, said) = it.inside(&format!("python3 -c '{script}'"));
        assert!(!said.contains("WENT") && said.contains("own loopback works"), "{said}");
        // Nobody in there has rights over its network.
        let change = "unshare -U -r sh -c 'ip route flush table main; nft flush ruleset' 2>&1; ip link set lo down 2>&1";
        it.inside(change);
        assert!(it.flows()["dropped_udp"].as_u64() >= Some(2), "{}", it.flows());
        assert_eq!(it.heard_of("/two"), 0);
        let held = it.begin(&format!("{CURL} http://other.example/three"));
        it.answer("other.example:80", &["allow"]);
        assert_eq!(ended(held).1, "from other.example\n");
        // With the network shut, gVisor has one of its own.
        it.home.ok(&[
            "run",
            "-d",
            "--name",
            "shut",
            "--isolation",
            grade.word(),
            "--egress",
            "deny",
            "--",
            "sleep",
            "1000",
        ]);
        let ran =
            it.home.run(&["exec", "shut", "--", "sh", "-c", "curl -sS -m 5 http://203.0.113.7/"]);
        assert!(ran.code != 0 && it.heard_of("web GET / ") == 0, "{ran:?}");
    }
}

#[test]
fn a_way_out_that_is_none_is_refused_in_words() {
    let Some(it) = Beyond::with(SERVER, |_| Vec::new(), &[("SANDWATCH_WAY_OUT", "tunnel")]) else {
        return;
    };
    let words = "no sandbox whose network asks can be made: SANDWATCH_WAY_OUT";
    eventually("it is said at the hub's start", || it.home.ok(&["timeline"]).contains(words));
    let doctor = it.home.run(&["doctor"]).stdout;
    assert!(doctor.contains(words) && doctor.contains("auto, redirect or proxy"), "{doctor}");
    let ran = it.home.run(&["run", "-d", "--", "true"]);
    ran.failed(2, &["SANDWATCH_WAY_OUT", "auto, redirect or proxy"]);
}
