//! A real ssh server of a test's own, on a loopback port: each connection is one `sshd -i`, so that a test knows all of
//! them, can end them, and can let nothing through.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    given::PROGRAM,
    program::{Home, Ran},
    skip::skipped,
};

const SSHD: &str = "/usr/sbin/sshd";

/// What passes between the clients and the server, or does not.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            shut = self.changed.wait(shut).unwrap();
        }
    }

    fn shut(&self, to: bool) {
        *self.shut.lock().unwrap() = to;
        self.changed.notify_all();
    }
}

/// Two machines: the one of the operator, and the one where the hub is.
pub struct Sshd {
    /// The operator's.
    pub near: Home,
    /// The one over there.
    pub far: Home,
    dir: tempfile::TempDir,
    port: u16,
    gate: Arc<Gate>,
    over: Arc<AtomicBool>,
    servers: Arc<Mutex<Vec<Child>>>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

fn keygen(at: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(at)
        .stdin(Stdio::null())
        .status();
    assert!(made.unwrap().success());
}

fn script(at: &Path, text: &str) {
    std::fs::write(at, text).unwrap();
    std::fs::set_permissions(at, PermissionsExt::from_mode(0o755)).unwrap();
}

impl Sshd {
    /// `None` where there is no ssh server, which is said.
    pub fn start() -> Option<Self> {
        if !Path::new(SSHD).exists() {
            skipped("there is no sshd (openssh-server)");
            return None;
        }
        if rustix::process::geteuid().is_root() {
            // It wants an empty directory for itself.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        keygen(&at("host"));
        keygen(&at("key"));
        std::fs::copy(at("key.pub"), at("authorized")).unwrap();
        std::fs::create_dir(at("bin")).unwrap();
        std::os::unix::fs::symlink(PROGRAM, at("bin/sandwatch")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let it = Self {
            near: Home::new(),
            far: Home::new(),
            dir,
            port,
            gate: Arc::default(),
            over: Arc::default(),
            servers: Arc::default(),
            streams: Arc::default(),
        };
        it.know_host("host.pub");
        script(
            &it.at("ssh"),
            &format!(
                "#!/bin/sh\necho $$ >>{0}/pids\nexec ssh -F {0}/config \"$@\"\n",
                it.dir.path().display()
            ),
        );
        std::fs::write(
            it.at("config"),
            format!(
                "Host *\n IdentityFile {0}/key\n IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {0}/known\n \
                 GlobalKnownHostsFile /dev/null\n",
                it.dir.path().display()
            ),
        )
        .unwrap();
        it.configure("");
        it.listen(listener);
        let address = format!("ssh://127.0.0.1:{port}");
        it.near.ok(&["context", "add", "lab", &address]);
        Some(it)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The server as it is, and with these lines.
    pub fn configure(&self, more: &str) {
        let (dir, far) = (self.dir.path().display(), self.far.path());
        let text = format!(
            "HostKey {dir}/host\nAuthorizedKeysFile {dir}/authorized\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n\
             SetEnv PATH={dir}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SANDWATCH_HOME={}\n{more}",
            far.display()
        );
        std::fs::write(self.at("sshd_config"), text).unwrap();
    }

    /// Has the operator know the server by this key of the directory.
    pub fn know_host(&self, public: &str) {
        let key = std::fs::read_to_string(self.at(public)).unwrap();
        let line = format!("[127.0.0.1]:{} {key}", self.port);
        std::fs::write(self.at("known"), line).unwrap();
    }

    /// The operator knows another key of the server.
    pub fn know_another(&self) {
        keygen(&self.at("other"));
        self.know_host("other.pub");
    }

    /// The operator's key is one that opens nothing.
    pub fn forget_key(&self) {
        std::fs::write(self.at("authorized"), "").unwrap();
    }

    /// The operator's key is locked by a passphrase, and no agent has it.
    pub fn lock_key(&self, passphrase: &str) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-p", "-P", "", "-N", passphrase, "-f"])
            .arg(self.at("key"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
    }

    /// What is found as `sandwatch` over there: this script, or nothing.
    pub fn program(&self, text: Option<&str>) {
        let at = self.at("bin/sandwatch");
        // There may be none.
        drop(std::fs::remove_file(&at));
        if let Some(text) = text {
            script(&at, text);
        }
    }

    fn listen(&self, listener: TcpListener) {
        let (gate, over) = (self.gate.clone(), self.over.clone());
        let (servers, streams) = (self.servers.clone(), self.streams.clone());
        let config = self.at("sshd_config");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let inner = TcpListener::bind("127.0.0.1:0").unwrap();
                let toward = TcpStream::connect(inner.local_addr().unwrap()).unwrap();
                let (behind, _) = inner.accept().unwrap();
                let copy = std::os::fd::OwnedFd::from(behind.try_clone().unwrap());
                let server = Command::new(SSHD)
                    .args(["-i", "-e", "-f"])
                    .arg(&config)
                    .stdin(Stdio::from(std::os::fd::OwnedFd::from(behind)))
                    .stdout(Stdio::from(copy))
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                servers.lock().unwrap().push(server);
                for it in [&stream, &toward] {
                    it.set_nodelay(true).unwrap();
                    streams.lock().unwrap().push(it.try_clone().unwrap());
                }
                let (here, there) = (stream.try_clone().unwrap(), toward.try_clone().unwrap());
                let there_gate = gate.clone();
                std::thread::spawn(move || carry(here, there, &there_gate));
                let gate = gate.clone();
                std::thread::spawn(move || carry(toward, stream, &gate));
            }
        });
    }

    /// From now on nothing passes, and nothing is said of it: a cable that was pulled.
    pub fn black_hole(&self, holds: bool) {
        self.gate.shut(holds);
    }

    /// The program of the operator's machine, on that context unless it names another.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.near.run_with(args, &[("SANDWATCH_SSH", self.ssh().to_str().unwrap())])
    }

    /// The same on the context `lab`.
    pub fn lab(&self, args: &[&str]) -> Ran {
        self.run(&[&["--context", "lab"], args].concat())
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.lab(args);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    }

    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// The program that is called as `ssh`.
    pub fn ssh(&self) -> PathBuf {
        self.at("ssh")
    }

    /// The processes that were started as `ssh`, the oldest first.
    pub fn pids(&self) -> Vec<i32> {
        let text = std::fs::read_to_string(self.at("pids")).unwrap_or_default();
        text.lines().map(|it| it.parse().unwrap()).collect()
    }

    /// Ends every connection there is, as a router does that was restarted.
    pub fn cut(&self) {
        for it in self.streams.lock().unwrap().drain(..) {
            drop(it.shutdown(Shutdown::Both));
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, gate: &Gate) {
    let mut buffer = [0; 16 * 1024];
    loop {
        gate.pass();
        let Ok(count @ 1..) = from.read(&mut buffer) else { break };
        gate.pass();
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    for it in [from, to] {
        drop(it.shutdown(Shutdown::Both));
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.gate.shut(false);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.cut();
        for mut it in self.servers.lock().unwrap().drain(..) {
            // Ended already is fine.
            drop(it.kill());
            drop(it.wait());
        }
    }
}
