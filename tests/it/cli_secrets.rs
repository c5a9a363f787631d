//! Credentials that programs use and never see, against servers in a network beyond the hub's.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use memchr::memmem;
use rustix::process::{Pid, Signal, kill_process};
use sandwatch::model::sandbox::Isolation;

use crate::{
    beyond::{Beyond, Whose, user_for},
    program::{Home, Ran},
    skip::skipped,
};

/// Tells what it was sent, plain and in TLS; one path answers in two parts, the second when it is told to.
const SERVER: &str = r#"
import http.server, socket, ssl, sys, threading, time
say = lambda *it: (sys.stdout.write(" ".join(map(str, it)) + "\n"), sys.stdout.flush())
go = threading.Event()
class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        key = self.headers["X-Api-Key"]
        say(self.server.kind, self.command, self.path, "key=%s" % key, "auth=%s" % self.headers["Authorization"], "of=%s" % self.headers["X-Echo-Of"])
        if self.path == "/go": go.set()
        self.send_response(200)
        if self.path == "/stream":
            self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            for part in (b"data: 1\n\n", b"data: 2\n\n"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part)); self.wfile.flush()
                go.wait(60)
            return self.wfile.write(b"0\r\n\r\n")
        body = b"from %s\n" % self.headers["Host"].encode()
        self.send_header("X-Echo", "you said %s." % key)
        self.send_header("Content-Length", len(body)); self.end_headers(); self.wfile.write(body)
    do_TRACE = do_GET
    def log_message(self, *it): pass
class Server(http.server.ThreadingHTTPServer): daemon_threads = True
while True:
    try: socket.create_server(("203.0.113.7", 9)).close(); break
    except OSError: time.sleep(0.02)
for port, kind, name in ((80, "plain", None), (443, "tls", "leaf"), (8443, "wrong", "wrong")):
    server = Server(("0.0.0.0", port), Web); server.kind = kind
    if name:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("KEYS/%s.pem" % name, "KEYS/%s.key" % name)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
say("up")
sys.stdin.read()
"#;

const VALUE: &str = "canary-5d0c1f-sk+real/value=";

/// The value of the test that looks for it in every process there is: no other test may put it anywhere.
const SOUGHT: &str = "canary-77ab20-sk+sought/value=";

/// A directory with an authority, a certificate of its, and one that nobody made.
fn keys() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"
openssl req -x509 $key -keyout ca.key -out ca.pem -subj /CN=beyond-ca -addext basicConstraints=critical,CA:TRUE
openssl req $key -keyout leaf.key -out leaf.csr -subj /CN=files.example
printf 'subjectAltName=DNS:files.example,DNS:other.example\n' > names
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 30 -extfile names
openssl req -x509 $key -keyout wrong.key -out wrong.pem -subj /CN=files.example -addext subjectAltName=DNS:files.example
cat /etc/ssl/certs/ca-certificates.crt ca.pem > list.pem
"#;
    let made = Command::new("sh").arg("-ec").arg(script).current_dir(dir.path()).output().unwrap();
    if !made.status.success() || !Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
        skipped("it takes openssl, and a list of authorities where Debian has it");
        return None;
    }
    Some(dir)
}

fn beyond(keys: &tempfile::TempDir, env: &[(&str, &str)]) -> Option<Beyond> {
    beyond_of(None, keys, env)
}

fn beyond_of(user: Option<u32>, keys: &tempfile::TempDir, env: &[(&str, &str)]) -> Option<Beyond> {
    let list = keys.path().join("list.pem");
    let server = SERVER.replace("KEYS", &keys.path().display().to_string());
    let files = |_: &Home| vec![(list, "/etc/ssl/certs/ca-certificates.crt")];
    Beyond::of(user, &server, files, env)
}

/// A verb, by an operator who has the value in the environment.
fn with_value(home: &Home, words: &[&str]) -> Ran {
    with(VALUE, home, words)
}

fn with(value: &str, home: &Home, words: &[&str]) -> Ran {
    home.run_with(words, &[("KEY", value), ("PLAIN", "plain-value")])
}

const CURL: &str = "curl -sS -m 30";

#[test]
fn a_secret_is_put_in_on_the_way_to_its_host_and_nowhere_else() {
    let Some(keys) = keys() else { return };
    let Some(it) = beyond(&keys, &[]) else { return };
    let ran = with_value(
        &it.home,
        &[
            "run",
            "-d",
            "--name",
            "box",
            "--secret",
            "KEY=files.example",
            "--secret",
            "KEY=files.example:8443",
            "--secret",
            "PLAIN=http://files.example",
            "--allow",
            "files.example",
            "--allow",
            "other.example",
            "--",
            "sleep",
            "1000",
        ],
    );
    assert!(ran.code == 0 && ran.stderr.contains("TLS is opened on the way to files.example:443"));
    let (_, inside) = it.inside("echo $KEY; env");
    let placeholder = inside.lines().next().unwrap().to_owned();
    assert!(placeholder.starts_with("sw-secret-") && !inside.contains("canary"), "{inside}");
    let get = |words: &str| it.inside(&format!("{CURL} {words}"));

    // In TLS, in a header of its own and as a password; what the host repeats is taken out again.
    let (code, said) = get("-i -H \"X-Api-Key: $KEY\" -u \"user:$KEY\" https://files.example/one");
    assert!(code == 0 && said.contains("from files.example"), "{said}");
    let echo = format!("you said {placeholder}.");
    assert!(said.to_lowercase().contains(&format!("x-echo: {echo}")), "{said}");
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("user:{VALUE}"));
    it.heard(&format!("tls GET /one key={VALUE} auth=Basic {basic}"));
    for method in ["TRACE", "trace", "Track"] {
        let said =
            get(&format!("-X {method} -H \"X-Api-Key: $KEY\" https://files.example/trace")).1;
        assert!(said.contains(method) && it.heard_of("/trace") == 0, "{said}");
    }
    // A header that is none for credentials gets none.
    let (_, said) = get("-H \"X-Echo-Of: $KEY\" https://files.example/other");
    assert_eq!(said, "from files.example\n");
    it.heard("tls GET /other key=None auth=None of=sw-secret-");

    // Another host gets the placeholder, and its TLS is its own.
    let issuer = |host: &str| {
        it.inside(&format!("{CURL} -v -o /dev/null https://{host}/who 2>&1 | grep issuer")).1
    };
    assert!(issuer("files.example").contains("sandwatch for sandbox box"));
    assert!(issuer("other.example").contains("beyond-ca"));
    get("-H \"X-Api-Key: $KEY\" https://other.example/two");
    it.heard(&format!("tls GET /two key={placeholder}"));
    get("-H \"X-Api-Key: $KEY\" http://other.example/three");
    it.heard(&format!("plain GET /three key={placeholder}"));
    // Nor does one for TLS go without it; one for plain HTTP does.
    get("-H \"X-Api-Key: $KEY\" http://files.example/four");
    it.heard(&format!("plain GET /four key={placeholder}"));
    get("-H \"X-Api-Key: $PLAIN\" http://files.example/five?$KEY");
    it.heard(&format!("plain GET /five?{placeholder} key=plain-value"));
    let flows = it.flows()["flows"].to_string();
    for note in [
        "a secret's placeholder was sent to other.example:80: KEY",
        "a secret's placeholder was sent to files.example:80: KEY",
        "KEY stands in an address, where no secret is put in",
        "opened for a secret",
        "KEY stands in the header x-echo-of, where no secret is put in",
    ] {
        assert!(flows.contains(note), "{note}: {flows}");
    }

    // Answers come as they are sent.
    let stream = r#"
import os, urllib.request as u
ask = lambda path: u.urlopen(u.Request("https://files.example" + path, headers={"X-Api-Key": os.environ["KEY"]}))
answer = ask("/stream")
print(answer.readline()); ask("/go").read(); print(answer.read())
"#;
    let (code, said) = it.inside(&format!("timeout 50 python3 -c '{stream}'"));
    assert!(code == 0 && said.contains("data: 2"), "{said}");
    it.heard(&format!("tls GET /go key={VALUE}"));
    // Also for programs that nobody told of a list.
    let untold = "env -u SSL_CERT_FILE -u CURL_CA_BUNDLE";
    let (code, said) = it.inside(&format!("{untold} {CURL} https://files.example/six"));
    assert!(code == 0 && said.contains("from files.example"), "{said}");
    if Path::new("/usr/bin/node").exists() {
        let script = "fetch(`https://files.example/node`, {headers: {authorization: `Bearer ${process.env.KEY}`}}).then(it => it.text()).then(console.log)";
        let (code, said) = it.inside(&format!("node -e '{script}'"));
        assert!(code == 0 && said.contains("from files.example"), "{said}");
        it.heard(&format!("tls GET /node key=None auth=Bearer {VALUE}"));
    }

    // A host that is not who it says it is gets nothing, and clients that speak nothing else are told.
    let (_, said) = get("-H \"X-Api-Key: $KEY\" https://files.example:8443/wrong");
    assert!(said.contains("TLS with files.example") && it.heard_of("/wrong") == 0, "{said}");
    let script = "openssl s_client -alpn h2 -connect files.example:443 </dev/null 2>&1";
    assert!(it.inside(script).1.contains("alert number 120"));
    // Rules about requests hold in there too.
    let policy = it.home.config().join("policy.toml");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    let rule = "[[rule]]\nid = \"keep\"\nverdict = \"deny\"\nhost = \"files.example:443\"\nmethods = [\"DELETE\"]\n";
    fs::write(policy, rule).unwrap();
    let (_, said) = get("-X DELETE https://files.example/gone");
    assert!(said.contains("rule keep") && it.heard_of("/gone") == 0, "{said}");
    assert_eq!(get("https://files.example/kept").1, "from files.example\n");
    // Its own key signs for no other host.
    let (_, text) = it.inside("openssl x509 -noout -text -in /run/sandwatch/added.pem");
    let constraints = text.split("Name Constraints: critical").nth(1).unwrap_or_default();
    assert!(constraints.contains("DNS:files.example"), "{text}");
}

/// Whether these bytes are in what a process can read of its own memory.
fn remembers(pid: u32, value: &[u8]) -> bool {
    let Ok(maps) = fs::read_to_string(format!("/proc/{pid}/maps")) else { return false };
    let Ok(mut memory) = fs::File::open(format!("/proc/{pid}/mem")) else { return false };
    maps.lines().any(|line| {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16));
        let (Ok(from), Ok(to)) = (from, to) else { return false };
        if !rights.starts_with("rw") || memory.seek(SeekFrom::Start(from)).is_err() {
            return false;
        }
        // Piece by piece, each with the end of the one before.
        let (mut bytes, mut left) = (Vec::new(), to - from);
        while left > 0 {
            let length = left.min(1 << 20);
            let read = (&mut memory).take(length).read_to_end(&mut bytes);
            if memmem::find(&bytes, value).is_some() {
                return true;
            }
            if !matches!(read, Ok(it) if it > 0) {
                return false;
            }
            bytes.drain(..bytes.len().saturating_sub(value.len()));
            left -= length;
        }
        false
    })
}

/// All processes by number and command line.
fn processes() -> Vec<(u32, String)> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|it| it.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some((pid, String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .collect()
}

/// All that the value looks like in files: as it is, and in base64 wherever it begins there.
fn shapes(value: &str) -> Vec<Vec<u8>> {
    let mut shapes = vec![value.as_bytes().to_vec()];
    for before in 0..3 {
        let text = STANDARD_NO_PAD.encode([&vec![b'x'; before][..], value.as_bytes()].concat());
        let (from, to) = ([0, 2, 3][before], text.len() - 2);
        shapes.push(text.as_bytes()[from..to].to_vec());
    }
    shapes
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for it in fs::read_dir(dir).into_iter().flatten().flatten() {
        match it.file_type().unwrap() {
            kind if kind.is_dir() => files_below(&it.path(), found),
            kind if kind.is_file() => found.push(it.path()),
            _ => {}
        }
    }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok().filter(|it| *it > 0)
}

/// The value is in no file, no environment, no command line, and in the memory of nothing in the sandbox. Tells how many were looked into.
fn leaves_no_trace(it: &Beyond, when: &str) -> usize {
    let mut files = Vec::new();
    files_below(&it.home.path(), &mut files);
    files_below(&it.home.workspace(), &mut files);
    assert!(files.len() > 10, "{files:?}");
    let shapes = shapes(SOUGHT);
    let holds = |bytes: &[u8]| shapes.iter().any(|it| memmem::find(bytes, it).is_some());
    for file in files {
        let bytes = fs::read(&file).unwrap_or_default();
        assert!(!holds(&bytes), "{when}: {} has it", file.display());
    }
    let home = it.home.path().display().to_string();
    let is_shim = |line: &str| line.starts_with("sandwatch shim") && line.contains(&home);
    let (lines, mut inside) = (processes(), 0);
    for (pid, line) in lines.clone() {
        let env = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(!holds(&env) && !holds(line.as_bytes()), "{when}: {line} was given it");
        let parents = std::iter::successors(Some(pid), |it| parent(*it));
        let shim = |it: u32| lines.iter().any(|(pid, line)| *pid == it && is_shim(line));
        if parents.skip(1).any(shim) {
            assert!(!remembers(pid, SOUGHT.as_bytes()), "{when}: {pid} {line} remembers it");
            inside += 1;
        }
    }
    inside
}

/// Kills the hub and starts another in the same network.
fn another_hub(it: &Beyond) {
    let hub = it.home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    let home = it.home.path().display().to_string();
    let shim = processes()
        .into_iter()
        .find(|(_, line)| line.starts_with("sandwatch shim") && line.contains(&home));
    let shim = shim.unwrap().0.to_string();
    kill_process(Pid::from_raw(hub.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    let mut enter = Command::new("nsenter");
    enter.args(["--net", "--mount", "-t", &shim]);
    let start = it.home.command(&["hub", "start"]);
    enter.arg(start.get_program()).args(start.get_args());
    enter.env("SANDWATCH_HOME", it.home.path()).env("SANDWATCH_LOG", "trace");
    let started = enter.output().unwrap();
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
}

#[test]
fn the_value_is_nowhere_but_where_it_is_put_in_whatever_happens() {
    let Some(keys) = keys() else { return };
    let Some(it) = beyond(&keys, &[("SANDWATCH_LOG", "trace"), ("KEY", SOUGHT)]) else { return };
    let ran = with(
        SOUGHT,
        &it.home,
        &[
            "run",
            "-d",
            "--name",
            "box",
            "--secret",
            "KEY=files.example",
            "--secret",
            "PLAIN=http://files.example:80",
            "--allow",
            "files.example",
            "--",
            "sh",
            "-c",
            "echo key is $KEY; sleep 1000",
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let used = |path: &str| {
        let get = format!("{CURL} -H \"X-Api-Key: $KEY\" -u u:$KEY https://files.example{path}");
        assert_eq!(it.inside(&get), (0, "from files.example\n".to_owned()));
        it.heard(&format!("tls GET {path} key={SOUGHT}"));
        it.inside(&format!("{CURL} -H \"X-Api-Key: $PLAIN\" http://files.example{path}"));
        it.heard(&format!("plain GET {path} key=plain-value"));
    };
    used("/first");
    assert!(leaves_no_trace(&it, "in use") >= 2);
    another_hub(&it);
    // Its host has it, and needs no hub.
    used("/second");
    let kept = it.home.ok(&["snapshot", "create", "box"]).trim().to_owned();
    it.home.ok(&["stop", "box"]);
    leaves_no_trace(&it, "stopped");

    // A hub that was not told the value says so, and nothing of what there is ends.
    let words = ["kept nowhere", "KEY", "--secret KEY"];
    it.home.run(&["restore", "box", "--yes"]).failed(1, &words);
    it.home.run(&["fork", "box", "--detach"]).failed(1, &words);
    let ran = it.home.run(&["restore", "box", "--yes", "--secret", "KEY", "--secret", "PLAIN"]);
    ran.failed(2, &["number 1: no such variable in your environment"]);
    let ran = with(SOUGHT, &it.home, &["restore", "box", "--yes", "--secret", "NO_OTHER"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let again = ["restore", "box", &kept, "--yes", "--secret", "KEY", "--secret", "PLAIN"];
    let ran = with(SOUGHT, &it.home, &again);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    used("/third");
    // Now it knows them; a fork has the same placeholder, for files may have it in them.
    it.home.ok(&["fork", "box", "--name", "other", "--detach"]);
    let of = |name: &str| it.home.ok(&["exec", name, "--", "sh", "-c", "echo $KEY"]);
    assert_eq!(of("box"), of("other"));
    assert!(leaves_no_trace(&it, "restored and forked") >= 4);
    assert!(it.home.ok(&["audit", "ls", "--json"]).contains("secrets.given"));
    // No crash leaves it behind.
    for (pid, line) in processes() {
        if line.contains(&it.home.path().display().to_string()) && line.contains("sandwatch shim") {
            let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
            let core = limits.lines().find(|it| it.starts_with("Max core file size")).unwrap();
            let of: Vec<&str> = core.split_whitespace().collect();
            assert_eq!(of[4..6], ["1", "1"], "{core}");
        }
    }
}

#[test]
fn a_secret_is_put_in_at_a_proxy_and_in_every_grade() {
    let Some(keys) = keys() else { return };
    let everybody = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(keys.path(), everybody(0o755)).unwrap();
    for (grade, way) in [
        (Isolation::Namespaces, "proxy"),
        (Isolation::Landlock, "auto"),
        (Isolation::Oci, "auto"),
        (Isolation::Oci, "proxy"),
        (Isolation::Gvisor, "auto"),
        (Isolation::Gvisor, "proxy"),
    ] {
        let Some(Whose(user)) = user_for(grade) else { continue };
        let Some(it) = beyond_of(user, &keys, &[("SANDWATCH_WAY_OUT", way)]) else { return };
        let place = if user.is_some() { ".:rw" } else { ".:cow" };
        let words =
            ["run", "-d", "--name", "box", "--isolation", grade.word(), "--workspace", place];
        let hosts = ["--secret", "KEY=files.example", "--secret", "PLAIN=http://files.example"];
        let out = ["--allow", "files.example", "--allow", "other.example", "--", "sleep", "1000"];
        let ran = with_value(&it.home, &[&words[..], &hosts, &out].concat());
        assert_eq!(ran.code, 0, "{grade:?} {way}: {ran:?}");
        let get = |header: &str, url: &str| it.inside(&format!("{CURL} -H \"{header}\" {url}")).1;
        let said = get("X-Api-Key: $KEY", "https://files.example/one");
        assert!(said.contains("from files.example"), "{grade:?} {way}: {said}");
        it.heard(&format!("tls GET /one key={VALUE}"));
        get("X-Api-Key: $PLAIN", "http://files.example/two");
        it.heard("plain GET /two key=plain-value");
        // Another host gets what is in the sandbox.
        get("X-Api-Key: $PLAIN", "http://other.example/three");
        it.heard("plain GET /three key=");
        assert_eq!(it.heard_of("/three key=plain-value"), 0, "{grade:?} {way}");
        let inside = it.inside("env; cat /proc/1/environ").1;
        assert!(!inside.contains(VALUE) && !inside.contains("plain-value"), "{grade:?} {way}");
    }
}

#[test]
fn a_secret_that_could_not_be_put_in_is_refused_in_words() {
    let home = Home::new();
    for (words, code, told) in [
        (&["--secret", "KEY"][..], 2, "KEY: nobody knows here which host"),
        (&["--secret", "KEY=*.example"], 2, "one host by its name"),
        (&["--secret", "KEY=x.example", "--egress", "allow"], 2, "lets all out unseen"),
        (&["--secret", "KEY=x.example", "--egress", "deny"], 2, "lets nothing out"),
        (&["--secret", "KEY=x.example", "--env", "KEY=1"], 2, "both give KEY"),
        (&["--secret", "NO_SUCH_KEY=x.example"], 2, "number 1: no such variable"),
    ] {
        let ran = with_value(&home, &[&["run", "-d"], words, &["--", "true"]].concat());
        assert!(ran.code == code && ran.stderr.contains(told), "{words:?}: {}", ran.stderr);
    }
    let ran = home.run_with(
        &["run", "-d", "--secret", "KEY=x.example", "--", "true"],
        &[("KEY", "two\nlines-canary")],
    );
    assert!(ran.code == 2 && ran.stderr.contains("one line"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
    // A value that was written where the host belongs is not repeated.
    for words in [
        "KEY=ghp_AbCanary0123",
        "ghp_AbCanary0123",
        "KEY=https://ghp_AbCanary0123:443",
        "AKIACANARY0123",
        "AKIACANARY0123=x.example",
        "KEY=AKIACANARY0123",
        "=AKIACANARY0123",
    ] {
        let ran = with_value(&home, &["run", "-d", "--secret", words, "--", "true"]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(!ran.stderr.to_lowercase().contains("canary"), "{}", ran.stderr);
    }
    for words in [&[][..], &["--egress", "deny"], &["--secret", "KEY=canary.value-1"]] {
        let all = [&["run", "-d", "--secret", "KEY=canary.value-1"], words, &["--", "true"]];
        let ran = home.run_with(&all.concat(), &[("KEY", "Canary.Value-1")]);
        assert!(ran.code == 2 && ran.stderr.contains("a host is named as"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
    }
    let ran = home
        .run_with(&["run", "-d", "--secret", "KEY=x.example", "--", "true"], &[("KEY", "4242")]);
    assert!(ran.code == 2 && ran.stderr.contains("shorter than 8"), "{}", ran.stderr);
}

/// Tells who asks it what key it was sent, at one of this machine's own addresses and as one of its users.
const OWN_SERVER: &str = r#"
import http.server, socket, socketserver, sys
class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("key=%s\n" % self.headers["X-Api-Key"]).encode()
        self.send_response(200); self.send_header("Content-Length", len(body)); self.end_headers(); self.wfile.write(body)
    def log_message(self, *it): pass
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True; daemon_threads = True
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = Server((sys.argv[1], int(sys.argv[2])), Web)
print("up", flush=True)
server.serve_forever()
"#;

struct OwnServer(Child);

impl OwnServer {
    fn new(it: &Beyond, address: &str, user: u32) -> Self {
        Self::at(it, address, "8787", user)
    }

    fn at(it: &Beyond, address: &str, port: &str, user: u32) -> Self {
        Self::of(it, user, &["python3", "-c", OWN_SERVER, address, port], b"up\n")
    }

    /// What Docker has listen at a port of this machine that is a container's.
    fn of_a_container(it: &Beyond, user: u32) -> Self {
        let passes_on = "docker-proxy -proto tcp -host-ip 127.0.0.1 -host-port 8787 \
            -container-ip 127.0.0.1 -container-port 8788";
        // Its third descriptor is where it says that it listens.
        Self::of(it, user, &["sh", "-c", &format!("exec {passes_on} 3>&1")], b"0\n")
    }

    /// Somebody's program in the hub's network, once it has said so much.
    fn of(it: &Beyond, user: u32, program: &[&str], up: &[u8]) -> Self {
        let (hub, user) =
            (it.home.json(&["hub", "status", "--json"])["pid"].to_string(), user.to_string());
        let by = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"];
        let mut server = Command::new("nsenter");
        server.args([&["--net", "-t", &hub][..], &by, program].concat());
        // A program that every user may run.
        server.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdout(Stdio::piped());
        let mut server = server.spawn().unwrap();
        let mut told = vec![0; up.len()];
        server.stdout.as_mut().unwrap().read_exact(&mut told).unwrap();
        assert_eq!(told, up);
        Self(server)
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn another_user_who_listens_on_this_machine_gets_no_key() {
    let Some(keys) = keys() else { return };
    let Some(it) = beyond(&keys, &[]) else { return };
    let place = "host.internal:8787";
    let secret = format!("KEY={place}");
    let words = ["run", "-d", "--name", "box", "--secret", &secret, "--allow", place, "--"];
    let ran = with_value(&it.home, &[&words[..], &["sleep", "1000"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let get = format!("{CURL} -H \"X-Api-Key: $KEY\" http://{place}/");
    let _service = OwnServer::new(&it, "::1", 0);
    assert_eq!(it.inside(&get), (0, format!("key={VALUE}\n")));
    let other = OwnServer::new(&it, "127.0.0.1", 65_534);
    let (code, said) = it.inside(&get);
    assert!(code == 0 && said.starts_with("key=sw-secret-"), "{said}");
    let flows = it.flows().to_string();
    assert!(flows.contains("host.internal:8787 gets no secret"), "{flows}");
    drop(other);
    assert_eq!(it.inside(&get), (0, format!("key={VALUE}\n")));
}

#[test]
fn a_sandbox_that_listens_on_this_machine_gets_no_key_of_another_ones() {
    let Some(keys) = keys() else { return };
    let everybody = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(keys.path(), everybody(0o755)).unwrap();
    let Some(Whose(Some(user))) = user_for(Isolation::Landlock) else { return };
    let Some(it) = beyond_of(Some(user), &keys, &[]) else { return };
    let place = "host.internal:8787";
    let secret = format!("KEY={place}");
    let here = ["--isolation", "landlock", "--workspace", ".:rw"];
    let words = ["--name", "box", "--secret", &secret, "--allow", place, "--", "sleep", "1000"];
    let ran = with_value(&it.home, &[&["run", "-d"], &here[..], &words].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let get = format!("{CURL} -H \"X-Api-Key: $KEY\" http://{place}/");
    let kept = |why: &str| {
        let (code, said) = it.inside(&get);
        assert!(code == 0 && said.starts_with("key=sw-secret-"), "{why}: {said}");
        let flows = it.flows().to_string();
        assert!(flows.contains(&format!("{place} gets no secret, for {why}")), "{flows}");
    };
    {
        let _service = OwnServer::new(&it, "127.0.0.1", user);
        assert_eq!(it.inside(&get), (0, format!("key={VALUE}\n")));
    }
    {
        let _container = OwnServer::at(&it, "127.0.0.1", "8788", user);
        let _passes_on = OwnServer::of_a_container(&it, user);
        kept("what listens there passes it on to a container");
    }
    {
        // Of what is root's, another user can't see whether it is in a container.
        let _roots = OwnServer::new(&it, "127.0.0.1", 0);
        kept("whose program listens there can't be told");
    }
    for other in [&here[..], &["--isolation", "namespaces"]] {
        let serve = ["--egress", "allow", "--name", "other", "--", "python3", "-c", OWN_SERVER];
        let words = [&["run", "-d"], other, &serve, &["127.0.0.1", "8787"]].concat();
        it.home.ok(&words);
        it.home.ok(&["wait", "other", "--for", "text=up", "--timeout", "60s"]);
        kept("a program in a sandbox or container listens there");
        it.home.ok(&["rm", "--yes", "other"]);
    }
}
