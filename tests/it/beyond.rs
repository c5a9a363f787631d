//! A hub in a network of its own, and servers in one beyond it, to which nothing leads but what goes out of sandboxes.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use sandwatch::model::sandbox::Isolation;
use serde_json::Value;

use crate::{
    local_stage::USER,
    program::{Home, PROGRAM, eventually},
    runtimes,
    skip::not_on_this_host,
};

/// The address of the servers, and names that mean it or worse.
const HOSTS: &str = "127.0.0.1 localhost\n203.0.113.7 files.example other.example\n\
                     10.77.0.7 rebound.example\n127.0.0.1 tricky.example\n169.254.169.254 meta.example\n\
                     203.0.113.1 ours.example\n";

/// Answers requests with the host that was asked for, greets on another port, and swallows on a third; says what came.
pub(crate) const SERVER: &str = r#"
import http.server, socket, socketserver, sys, threading, time
say = lambda *it: (sys.stdout.write(" ".join(map(str, it)) + "\n"), sys.stdout.flush())
class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        say("web", self.command, self.path, self.headers["Host"])
        body = ("from " + str(self.headers["Host"]) + "\n").encode() * (40000 if self.path == "/large" else 1)
        self.send_response(200); self.send_header("Content-Length", len(body)); self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        say("web", self.command, self.path, len(body))
        self.send_response(200); self.send_header("Content-Length", 2); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *it): pass
class Greet(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"hello from beyond\n")
        self.request.sendall(self.request.recv(100))
class Swallow(socketserver.BaseRequestHandler):
    def handle(self):
        say("swallowed", len(self.request.recv(70000)))
class Many(socketserver.ThreadingTCPServer):
    allow_reuse_address = True; daemon_threads = True
while True:
    try: socket.create_server(("203.0.113.7", 9)).close(); break
    except OSError: time.sleep(0.02)
class WebServer(http.server.ThreadingHTTPServer): daemon_threads = True
for server in (WebServer(("0.0.0.0", 80), Web), Many(("0.0.0.0", 2222), Greet), Many(("0.0.0.0", 443), Swallow)):
    threading.Thread(target=server.serve_forever, daemon=True).start()
say("up")
sys.stdin.read()
"#;

/// A hub in a network of its own, and servers in another one beside it.
pub(crate) struct Beyond {
    pub home: Home,
    servers: Child,
    said: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Runs a program of that user's by another one, which takes its words.
fn run_as(user: Option<u32>, mut by: Command, program: &Command) {
    if let Some(user) = user.map(|it| it.to_string()) {
        by.args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]);
    }
    by.arg(program.get_program()).args(program.get_args());
    for (key, value) in program.get_envs() {
        match value {
            Some(value) => by.env(key, value),
            None => by.env_remove(key),
        };
    }
    let ran = by.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

impl Beyond {
    pub fn new() -> Option<Self> {
        Self::with(SERVER, |_| Vec::new(), &[])
    }

    /// With these servers, files that the hub sees in place of others, and variables that it is started with.
    pub fn with(
        server: &str,
        files: impl FnOnce(&Home) -> Vec<(PathBuf, &'static str)>,
        env: &[(&str, &str)],
    ) -> Option<Self> {
        Self::of(None, server, files, env)
    }

    /// The same, with a hub of that user's.
    pub fn of(
        user: Option<u32>,
        server: &str,
        files: impl FnOnce(&Home) -> Vec<(PathBuf, &'static str)>,
        env: &[(&str, &str)],
    ) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            not_on_this_host("root");
            return None;
        }
        let home = Home::new();
        let hosts = home.workspace().join("hosts");
        fs::write(&hosts, HOSTS).unwrap();
        let mut files = files(&home);
        files.push((hosts, "/etc/hosts"));
        let mut program = home.command(&["hub", "start"]);
        program.envs(env.iter().copied());
        let mut hub = Command::new("unshare");
        let script = "ip link set lo up && while test \"$1\" != --; do mount --bind \"$1\" \"$2\" \
                      && shift 2 || exit 1; done && shift && exec \"$@\"";
        hub.args(["--net", "--mount", "sh", "-c", script, "sh"]);
        for (ours, theirs) in files {
            hub.arg(ours).arg(theirs);
        }
        hub.arg("--");
        if let Some(user) = user {
            home.give_to(user);
        }
        run_as(user, hub, &program);
        let pid = home.json(&["hub", "status", "--json"])["pid"].to_string();
        let mut servers = Command::new("unshare")
            .args(["--net", "python3", "-c", server])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = servers.stdout.take().unwrap();
        let said = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
        let heard = std::sync::Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        // The program that unshares becomes the server, so its number stays.
        let theirs = servers.id().to_string();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        eventually("the servers have a network of their own", || {
            fs::read_link(format!("/proc/{theirs}/ns/net")).is_ok_and(|it| it != own)
        });
        let (ours, beyond) = (format!("a{pid}"), format!("b{pid}"));
        let link = [
            "link", "add", &ours, "netns", &pid, "type", "veth", "peer", "name", &beyond, "netns",
            &theirs,
        ];
        run("ip", &link);
        let inside = |of: &str, words: &[&str]| {
            run("nsenter", &[&["--net", "-t", of, "ip"][..], words].concat());
        };
        for (of, link, address) in
            [(&pid, &ours, "203.0.113.1/24"), (&theirs, &beyond, "203.0.113.7/24")]
        {
            inside(of, &["addr", "add", address, "dev", link]);
            inside(of, &["link", "set", link, "up"]);
            inside(of, &["link", "set", "lo", "up"]);
        }
        inside(&theirs, &["addr", "add", "10.77.0.7/32", "dev", "lo"]);
        inside(&pid, &["route", "add", "10.77.0.0/24", "via", "203.0.113.7"]);
        let it = Self { home, servers, said };
        it.heard("up");
        Some(it)
    }

    /// Starts a hub after the one before, as the user whose that was.
    pub fn start_hub(&self, user: Option<u32>) {
        run_as(user, Command::new("env"), &self.home.command(&["hub", "start"]));
    }

    /// Waits until a server has said this.
    pub fn heard(&self, words: &str) {
        eventually(&format!("a server says {words}"), || {
            self.said.lock().unwrap().iter().any(|it| it.starts_with(words))
        });
    }

    pub fn heard_of(&self, words: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|it| it.contains(words)).count()
    }

    pub fn start(&self, more: &[&str]) {
        let words = [&["run", "-d", "--name", "box"][..], more, &["--", "sleep", "1000"]].concat();
        self.home.ok(&words);
    }

    /// Runs in the sandbox; gives the exit code and all it printed.
    pub fn inside(&self, script: &str) -> (i32, String) {
        let ran = self.home.run(&["exec", "box", "--", "sh", "-c", script]);
        (ran.code, ran.stdout + &ran.stderr)
    }

    pub fn begin(&self, script: &str) -> Child {
        let mut command = self.home.command(&["exec", "box", "--", "sh", "-c", script]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn waits(&self, subject: &str) -> Value {
        let mut found = Value::Null;
        eventually(&format!("{subject} is asked"), || {
            let all: Vec<Value> =
                serde_json::from_value(self.home.json(&["approvals", "ls", "--json"])).unwrap();
            let it = all.into_iter().find(|it| it["subject"] == subject);
            found = it.unwrap_or_default();
            !found.is_null()
        });
        found
    }

    pub fn answer(&self, subject: &str, words: &[&str]) {
        let id = self.waits(subject)["id"].as_str().unwrap().to_owned();
        self.home.ok(&[&["approvals", words[0], &id][..], &words[1..]].concat());
    }

    pub fn flows(&self) -> Value {
        self.home.json(&["egress", "box", "--json"])
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        drop(self.servers.kill());
        drop(self.servers.wait());
    }
}

pub(crate) fn ended(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), said.into_owned())
}

/// Whose a hub is; `None` = root's.
pub(crate) struct Whose(pub Option<u32>);

/// Whose it is to be for sandboxes of this grade; or says why there can be none.
pub(crate) fn user_for(grade: Isolation) -> Option<Whose> {
    let by_runtime = matches!(grade, Isolation::Oci | Isolation::Gvisor);
    if let Some(skip) = runtimes::reason(grade).filter(|_| by_runtime) {
        skip();
        return None;
    }
    if grade != Isolation::Landlock {
        return Some(Whose(None));
    }
    let user = USER.to_string();
    let mut run = Command::new("setpriv");
    run.args(["--reuid", &user, "--regid", &user, "--clear-groups", PROGRAM, "--version"]);
    if run.output().is_ok_and(|it| it.status.success()) {
        return Some(Whose(Some(USER)));
    }
    not_on_this_host("root, and a build directory that other users may read");
    None
}
