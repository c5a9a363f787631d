//! A Docker engine of the tests' own: in a network namespace of its own, with its own directories and socket,
//! and an image made of one static program. Whatever happens to the tests, it ends with them.

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use sandwatch::{driver::Ground, model::sandbox::SandboxSpec};

use crate::program::{Home, Ran, alive, eventually};

pub(crate) const IMAGE: &str = "sandwatch-test:latest";
/// The same, whose programs run as a user with a name.
pub(crate) const AGENT_IMAGE: &str = "sandwatch-test-agent:latest";
pub(crate) const AGENT_UID: u32 = 1234;

const BUSYBOX: &str = "/usr/bin/busybox";
/// A slow disk and a busy machine; only a failure takes that long.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// Why no engine can be started here, to be said aloud.
pub(crate) fn reason() -> Option<fn()> {
    let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];
    let there = |it: &&str| places.iter().any(|dir| Path::new(dir).join(it).exists());
    if !rustix::process::geteuid().is_root() {
        return Some(|| crate::skip::not_on_this_host("root, to start a docker engine"));
    }
    let all = ["dockerd", "docker", "busybox"].iter().all(there);
    (!all).then_some(|| {
        crate::skip::skipped("no dockerd and busybox (apt-get install docker.io busybox-static)");
    })
}

/// Whether this test can have an engine.
pub(crate) fn can() -> bool {
    match reason() {
        Some(skip) => {
            skip();
            false
        }
        None => true,
    }
}

/// Makes a sandbox begin with the tests' image at the tests' engine, whatever its shim's environment says.
pub(crate) fn name_engine(ground: &Ground, spec: &mut SandboxSpec) {
    name_engine_at(ground, spec, &Engine::shared().url());
}

pub(crate) fn name_engine_at(ground: &Ground, spec: &mut SandboxSpec, url: &str) {
    spec.image = Some(IMAGE.to_owned());
    let trace = serde_json::json!({ "engine": { "url": url, "tls": null }, "container": null });
    fs::write(ground.dir.join("docker.json"), trace.to_string()).unwrap();
}

/// One engine. Its keeper, a shell, ends it when this process has gone or lets it go.
pub(crate) struct Engine {
    dir: PathBuf,
    keeper: Option<Child>,
}

impl Engine {
    /// Starts one with the images of the tests.
    pub(crate) fn new() -> Self {
        let temp = tempfile::Builder::new().prefix("sw-docker").tempdir().unwrap();
        let mut engine = Self { dir: temp.keep(), keeper: None };
        engine.start();
        engine.import(IMAGE, None);
        engine.import(AGENT_IMAGE, Some("agent"));
        engine
    }

    /// The one that tests share which leave it as it was.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Engine> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Starts the engine, for the first time or again.
    pub(crate) fn start(&mut self) {
        let script = r#"
            ip link set lo up
            dockerd --data-root "$1/data" --exec-root "$1/exec" -H "unix://$1/docker.sock" \
                --pidfile "$1/pid" --iptables=false --storage-driver "$2" >"$1/log" 2>&1 &
            engine=$!
            read -r word
            kill "$engine" 2>/dev/null
            wait "$engine"
            [ "$word" = again ] && exit 0
            kill "$(cat "$1/exec/containerd/containerd.pid" 2>/dev/null)" 2>/dev/null
            # One that was killed leaves its own directory mounted on itself.
            while umount "$1/data" 2>/dev/null; do :; done
            rm -rf "$1" || { sleep 1; rm -rf "$1"; }
        "#;
        let overlay =
            fs::read_to_string("/proc/filesystems").is_ok_and(|it| it.contains("overlay"));
        let keeper = Command::new("unshare")
            .args(["-n", "sh", "-c", script, "sh"])
            .arg(&self.dir)
            .arg(if overlay { "overlay2" } else { "vfs" })
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Whoever ends the tests must not end it before it has cleaned up.
            .process_group(0)
            .spawn()
            .unwrap();
        self.keeper = Some(keeper);
        let deadline = Instant::now() + UP_WITHIN;
        while !self.docker(&["version"]).status.success() {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the engine does not start: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills the engine as a crash would; what it held lives on.
    pub(crate) fn crash(&mut self) {
        let pid = fs::read_to_string(self.dir.join("pid")).unwrap();
        let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        self.stop();
        // It has taken its containerd along, whose corpse nobody may have buried: the next must not wait for it.
        let pid_file = self.dir.join("exec/containerd/containerd.pid");
        let containerd = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        eventually("containerd is dead", || !alive(containerd));
        fs::remove_file(pid_file).unwrap();
    }

    /// Ends the engine as a service manager would; it can be started again.
    pub(crate) fn stop(&mut self) {
        let mut keeper = self.keeper.take().unwrap();
        keeper.stdin.take().unwrap().write_all(b"again\n").unwrap();
        keeper.wait().unwrap();
    }

    /// The docker command line.
    pub(crate) fn docker(&self, args: &[&str]) -> std::process::Output {
        Command::new("docker").arg("-H").arg(self.url()).args(args).output().unwrap()
    }

    pub(crate) fn said(&self, args: &[&str]) -> String {
        let out = self.docker(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// Ids of the containers of one sandbox, running or not.
    pub(crate) fn containers(&self, sandbox: &str) -> Vec<String> {
        let filter = format!("label=sandwatch.name={sandbox}");
        let ids = self.said(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
        ids.lines().map(str::to_owned).collect()
    }

    fn import(&self, name: &str, user: Option<&str>) {
        let root = self.dir.join("root");
        for dir in ["bin", "etc", "tmp", "root"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        let listed = Command::new(BUSYBOX).arg("--list").output().unwrap().stdout;
        for applet in String::from_utf8(listed).unwrap().lines().filter(|it| *it != "busybox") {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let passwd =
            format!("root:x:0:0::/root:/bin/sh\nagent:x:{AGENT_UID}:{AGENT_UID}::/tmp:/bin/sh\n");
        fs::write(root.join("etc/passwd"), passwd).unwrap();
        let mut tar = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .args(["-c", "."])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut import = Command::new("docker");
        import.arg("-H").arg(self.url()).args(["import", "--change", "ENV PATH=/bin"]);
        if let Some(user) = user {
            import.args(["--change", &format!("USER {user}")]);
        }
        import.args(["-", name]).stdin(tar.stdout.take().unwrap()).stdout(Stdio::null());
        assert!(import.status().unwrap().success());
        assert!(tar.wait().unwrap().success());
        fs::remove_dir_all(root).unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            drop(keeper.wait());
        } else {
            // One that was killed leaves its own directory mounted on itself.
            let data = self.dir.join("data");
            while Command::new("umount").arg(&data).output().is_ok_and(|it| it.status.success()) {}
            drop(fs::remove_dir_all(&self.dir));
        }
    }
}

/// A hub whose operator has named an engine.
pub(crate) struct Docked {
    pub home: Home,
    pub url: String,
}

impl Docked {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self::at(engine.url())
    }

    pub(crate) fn at(url: String) -> Self {
        Self { home: Home::new(), url }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.home.command(args);
        command.env("DOCKER_HOST", &self.url).env("SANDWATCH_IMAGE", IMAGE);
        for name in ["DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"] {
            command.env_remove(name);
        }
        Ran::from(command.output().unwrap(), args)
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    }

    /// Starts a sandbox of this driver that runs a line of shell.
    #[track_caller]
    pub(crate) fn start(&self, name: &str, more: &[&str], line: &str) {
        let mut args = vec!["run", "-d", "--driver", "docker", "--name", name];
        args.extend(more);
        args.extend(["--", "sh", "-c", line]);
        assert_eq!(self.ok(&args), format!("{name}\n"));
    }

    pub(crate) fn sandbox(&self, name: &str) -> serde_json::Value {
        let all: Vec<serde_json::Value> =
            serde_json::from_str(&self.ok(&["ls", "--all", "--json"])).unwrap();
        all.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{all:?}")).clone()
    }

    pub(crate) fn notes(&self, name: &str) -> String {
        self.sandbox(name)["notes"].to_string()
    }

    /// Waits until a sandbox is in this state.
    #[track_caller]
    pub(crate) fn comes_to(&self, name: &str, state: &str) {
        let deadline = Instant::now() + UP_WITHIN;
        loop {
            let seen = self.sandbox(name);
            if seen["state"] == state {
                return;
            }
            assert!(Instant::now() < deadline, "never {state}: {seen:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
