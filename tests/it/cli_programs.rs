//! Real programs at the way out, redirected and by a proxy: each is held before anything leaves, and then let out or refused.

use std::{fs, path::Path, process::Command};

use crate::{
    beyond::{Beyond, ended},
    program::Home,
    skip::{not_to_be_had, skipped},
};

/// Serves the files of a directory, and listens for questions for names; says what came.
const SERVER: &str = r#"
import http.server, socket, sys, threading, time
say = lambda *it: (sys.stdout.write(" ".join(map(str, it)) + "\n"), sys.stdout.flush())
class Web(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *it): super().__init__(*it, directory="FILES")
    def log_message(self, *it): say("web", self.command, self.path)
def names():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 53))
    while True:
        q, who = s.recvfrom(2000); say("asked", q[12:].hex())
        s.sendto(q[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + q[12:].split(b"\0\0\1\0\1")[0] + b"\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\5\0\4\xcb\0\x71\7", who)
while True:
    try: socket.create_server(("203.0.113.7", 9)).close(); break
    except OSError: time.sleep(0.02)
class Server(http.server.ThreadingHTTPServer): daemon_threads = True
threading.Thread(target=Server(("0.0.0.0", 80), Web).serve_forever, daemon=True).start()
threading.Thread(target=names, daemon=True).start()
say("up")
sys.stdin.read()
"#;

/// A package of Python, a repository, and a file.
fn files() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
chmod 755 .
mkdir -p simple/tiny work
cat > make.py <<'END'
import zipfile
with zipfile.ZipFile("tiny-1.0-py3-none-any.whl", "w") as it:
    it.writestr("tiny.py", "word = 'tiny'\n")
    it.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    it.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    it.writestr("tiny-1.0.dist-info/RECORD", "")
END
python3 make.py
echo '<a href="../../tiny-1.0-py3-none-any.whl">tiny-1.0-py3-none-any.whl</a>' > simple/tiny/index.html
echo contents > file
command -v git >/dev/null || exit 0
cd work
git init -q .
echo 'in a repository' > read
git add read
git -c user.name=x -c user.email=x@x.example commit -qm x
git clone -q --bare . ../repository.git
git -C ../repository.git update-server-info
"#;
    let made = Command::new("sh").args(["-ec", script]).current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    if !made.status.success() {
        skipped(&format!("files to serve could not be made: {said}"));
        return None;
    }
    Some(dir)
}

fn beyond(files: &tempfile::TempDir, way: &str) -> Option<Beyond> {
    let server = SERVER.replace("FILES", &files.path().display().to_string());
    let names = |home: &Home| {
        let file = home.workspace().join("resolv.conf");
        fs::write(&file, "nameserver 203.0.113.7\noptions timeout:1 attempts:1\n").unwrap();
        vec![(file, "/etc/resolv.conf")]
    };
    Beyond::with(&server, names, &[("SANDWATCH_WAY_OUT", way)])
}

const PLACE: &str = "files.example:80";

/// The program is held, refused, held again and let out; nothing leaves before that.
fn held_refused_and_let_out(it: &Beyond, program: &str, script: &str, good: &str) {
    let before = it.heard_of("web");
    let held = it.begin(script);
    let ask = it.waits(PLACE);
    assert!(ask["details"].to_string().contains(program), "{program}: {ask}");
    assert_eq!(it.heard_of("web"), before, "{program}");
    it.answer(PLACE, &["deny", "--message", "not today", "--scope", "session"]);
    let (code, said) = ended(held);
    assert_ne!(code, 0, "{program}: {said}");
    assert_eq!(it.heard_of("web"), before, "{program}: {said}");
    // Denied for the session it stays, until that is taken back.
    assert_ne!(it.inside(script).0, 0, "{program}");
    for standing in it.home.json(&["approvals", "standing", "--json"]).as_array().unwrap() {
        it.home.ok(&["approvals", "revoke", standing["id"].as_str().unwrap()]);
    }
    let held = it.begin(script);
    it.answer(PLACE, &["allow", "--scope", "session"]);
    let (code, said) = ended(held);
    assert!(code == 0 && said.contains(good), "{program}: {code}: {said}");
    assert!(it.heard_of("web") > before, "{program}");
}

fn has(it: &Beyond, program: &str) -> bool {
    let there = it.inside(&format!("command -v {program}")).0 == 0;
    if !there {
        not_to_be_had(program);
    }
    there
}

fn each_program(way: &str, node: &str) {
    let Some(files) = files() else { return };
    let Some(it) = beyond(&files, way) else { return };
    it.start(&[]);
    if has(&it, "pip") {
        let script = "rm -rf got && python3 -m pip --isolated --no-cache-dir --disable-pip-version-check \
            download -q --no-deps --retries 0 --timeout 60 -d got --trusted-host files.example \
            --index-url http://files.example/simple/ tiny==1.0 && ls got";
        held_refused_and_let_out(&it, "python3", script, "tiny-1.0-py3-none-any.whl");
    }
    if has(&it, "git") {
        let script =
            "rm -rf got && git clone -q http://files.example/repository.git got && cat got/read";
        held_refused_and_let_out(&it, "git", script, "in a repository");
    }
    if has(&it, "node") {
        held_refused_and_let_out(&it, "node", &format!("node -e '{node}'"), "contents");
    }
}

#[test]
fn pip_git_and_node_are_held_and_refused_or_let_out_where_the_kernel_redirects() {
    each_program(
        "redirect",
        "require(\"http\").get(\"http://files.example/file\", (it) => { \
         if (it.statusCode != 200) process.exit(1); it.pipe(process.stdout) })",
    );
}

#[test]
fn pip_git_and_node_are_held_and_refused_or_let_out_at_a_proxy() {
    each_program(
        "proxy",
        "const [host, port] = process.env.http_proxy.slice(7).split(\":\"); \
         require(\"http\").get({host, port, path: \"http://files.example/file\", headers: {Host: \"files.example\"}}, \
         (it) => { if (it.statusCode != 200) process.exit(1); it.pipe(process.stdout) })",
    );
}

/// Asks for the address of a name by itself, connects and gets a file: no library of the system's has a part in it.
const STATIC: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    static const unsigned char question[] = "\1\2\1\0\0\1\0\0\0\0\0\0\5files\7example\0\0\1\0\1";
    unsigned char answer[512];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
    int names = socket(AF_INET, SOCK_DGRAM, 0), stream = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    sendto(names, question, sizeof question - 1, 0, (void *)&to, sizeof to);
    ssize_t length = recv(names, answer, sizeof answer, 0);
    if (length < 4) return 2;
    memcpy(&to.sin_addr, answer + length - 4, 4);
    to.sin_port = htons(80);
    if (connect(stream, (void *)&to, sizeof to)) return 3;
    dprintf(stream, "GET /file HTTP/1.0\r\nHost: files.example\r\n\r\n");
    char page[4096] = "";
    size_t got = 0;
    for (ssize_t more; (more = read(stream, page + got, sizeof page - 1 - got)) > 0;) got += more;
    puts(page);
    return strstr(page, " 200 ") ? 0 : 4;
}
"#;

#[test]
fn a_static_program_is_held_and_refused_or_let_out_as_any_other() {
    let Some(files) = files() else { return };
    let Some(it) = beyond(&files, "redirect") else { return };
    let place = it.home.workspace();
    fs::write(place.join("static.c"), STATIC).unwrap();
    let mut compile = Command::new("cc");
    compile.args(["-static", "-o", "static", "static.c"]).current_dir(&place);
    if !compile.output().is_ok_and(|it| it.status.success()) {
        return skipped("a C compiler that links statically");
    }
    it.start(&[]);
    assert!(Path::new(&place).join("static").exists());
    held_refused_and_let_out(&it, "static", "./static", "contents");
}

#[test]
fn no_question_for_a_name_carries_anything_out() {
    let Some(files) = files() else { return };
    for way in ["redirect", "proxy"] {
        let Some(it) = beyond(&files, way) else { return };
        it.start(&["--egress", "deny", "--allow", "carried.example"]);
        let script = r#"
import socket
for number in range(300):
    name = ("%030x" % number) + ".data.example"
    try: socket.getaddrinfo(name, 80, socket.AF_INET)
    except OSError: pass
def asked(to, kind):
    q = b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\x1e" + b"d" * 30 + b"\7example\0\0" + bytes([kind]) + b"\0\1"
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.3)
    try: s.sendto(q, (to, 53)); s.recv(600)
    except OSError: pass
for to in "127.0.0.1", "203.0.113.7", "8.8.8.8":
    for kind in 1, 16, 28, 10, 255: asked(to, kind)
for to in "203.0.113.7", "127.0.0.1":
    try:
        s = socket.create_connection((to, 53), timeout=3); s.settimeout(3)
        s.sendall(b"\0\x1a\0\1\1\0\0\1\0\0\0\0\0\0\1x\7example\0\0\x10\0\1"); s.recv(600)
    except OSError: pass
print("asked all")
"#;
        let (_, said) = it.inside(&format!("python3 -c '{script}'"));
        assert!(said.contains("asked all"), "{said}");
        // Names over HTTPS are a connection as any other.
        for url in ["https://203.0.113.7/dns-query", "https://resolver.example/dns-query"] {
            let doh = format!("curl -sS -f -m 20 --doh-url {url} http://elsewhere.example/");
            assert_ne!(it.inside(&doh).0, 0, "{url}");
        }
        assert_eq!((it.heard_of("asked"), it.heard_of("web")), (0, 0), "{way}");
        // A name that is let out is asked for then, and no other.
        let (_, said) = it.inside("curl -sS -m 20 http://carried.example/file");
        assert_eq!(said, "contents\n", "{way}");
        let name: String = b"\x07carried\x07example".iter().map(|it| format!("{it:02x}")).collect();
        assert!(it.heard_of("asked") > 0 && it.heard_of("asked") == it.heard_of(&name), "{way}");
    }
}
