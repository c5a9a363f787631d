//! The hub as a service manager starts it: with sockets that are there already, and told by it that it serves. No systemd is
//! needed for that: a shell puts descriptors where systemd would.

use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    given::SOON,
    program::{Home, PROGRAM, Ran},
};

/// `hub serve` of this home with these sockets at descriptors 3 and 4, as the process that they are for.
fn serve(home: &Home, sockets: Vec<OwnedFd>, args: &[&str]) -> Command {
    serve_as(home, sockets, "$$", args)
}

fn serve_as(home: &Home, sockets: Vec<OwnedFd>, pid: &str, args: &[&str]) -> Command {
    let many = sockets.len();
    let script = format!(
        "exec 3<&0 4<&1 </dev/null >/dev/null; [ {many} -gt 1 ] || exec 4>&-; [ {many} -gt 0 ] || exec 3>&-
         LISTEN_FDS={many} LISTEN_PID={pid} exec \"$@\""
    );
    // What it is to have in its environment comes from there.
    let of_home = home.command(&[]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, "sh", PROGRAM, "hub", "serve"]).args(args);
    for (name, value) in of_home.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut sockets = sockets.into_iter().map(Stdio::from);
    command.current_dir(home.workspace());
    command.stdin(sockets.next().unwrap_or_else(Stdio::null));
    command.stdout(sockets.next().unwrap_or_else(Stdio::null));
    command.stderr(Stdio::piped());
    command
}

fn own_socket(home: &Home) -> UnixListener {
    let path = home.path().join("run/hub.sock");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for dir in [home.path(), home.path().join("run")] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let socket = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    socket
}

/// Waits for a word to the service manager.
fn told(manager: &UnixDatagram) -> String {
    let mut word = [0; 200];
    let count = manager.recv(&mut word).expect("the hub says nothing");
    String::from_utf8(word[..count].to_vec()).unwrap()
}

fn manager(at: &Path) -> UnixDatagram {
    let manager = UnixDatagram::bind(at).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    manager
}

fn end(mut hub: Child) {
    kill_process(Pid::from_child(&hub), Signal::TERM).unwrap();
    let mut said = String::new();
    hub.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(hub.wait().unwrap().success(), "{said}");
}

#[test]
fn a_hub_serves_at_sockets_that_were_handed_down_and_leaves_them_there() {
    let home = Home::new();
    let (unix, tcp) = (own_socket(&home), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = tcp.local_addr().unwrap().to_string();
    // Whoever comes before there is a hub waits for it.
    let early = UnixStream::connect(home.path().join("run/hub.sock")).unwrap();
    let at = home.path().join("notify");
    let manager = manager(&at);
    let sockets = || vec![unix.try_clone().unwrap().into(), tcp.try_clone().unwrap().into()];
    let first = serve(&home, sockets(), &[]).env("NOTIFY_SOCKET", &at).spawn().unwrap();
    assert_eq!(told(&manager), "READY=1");
    let status = home.json(&["hub", "status", "--json"]);
    assert_eq!(status["pid"], first.id());
    let listens = status["listen"].to_string();
    assert!(listens.contains(&format!("https://{address}")), "{listens}");
    drop(early);

    let invite = home.ok(&["hub", "invite", "vera", "--role", "viewer"]);
    let elsewhere = Home::new();
    elsewhere.ok(&["context", "add", "far", "--use", invite.trim()]);
    elsewhere.ok(&["ls"]);
    home.ok(&["run", "-d", "--name", "box", "--", "/bin/sh", "-c", "sleep 1000"]);

    end(first);
    assert_eq!(told(&manager), "STOPPING=1");
    assert!(home.path().join("run/hub.sock").exists());
    let second = serve(&home, sockets(), &[]).env("NOTIFY_SOCKET", &at).spawn().unwrap();
    assert_eq!(told(&manager), "READY=1");
    assert_eq!(home.json(&["ls", "--json"])[0]["name"], "box");
    elsewhere.ok(&["ls"]);
    home.ok(&["rm", "--yes", "box"]);
    home.ok(&["run", "-d", "--name", "other", "--", "/bin/sh", "-c", "sleep 1000"]);
    end(second);
    // What outlives it has none of them: with the last one here there is nobody to connect to.
    drop((unix, tcp));
    assert!(TcpStream::connect(&address).is_err());
    assert!(UnixStream::connect(home.path().join("run/hub.sock")).is_err());
}

#[test]
fn a_service_manager_is_told_at_a_name_of_no_file_too_and_one_that_is_gone_stops_no_hub() {
    let home = Home::new();
    let name = format!("sandwatch-test-{}", std::process::id());
    let at = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&at).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let serves = |at: &str| {
        let mut hub = home.command(&["hub", "serve"]);
        hub.env("NOTIFY_SOCKET", at).stderr(Stdio::piped()).spawn().unwrap()
    };
    let hub = serves(&format!("@{name}"));
    assert_eq!(told(&manager), "READY=1");
    end(hub);
    assert_eq!(told(&manager), "STOPPING=1");
    let hub = serves("/nowhere/at/all");
    crate::program::eventually("it serves all the same", || {
        home.run(&["hub", "status"]).stdout.contains(&hub.id().to_string())
    });
    end(hub);
}

#[test]
fn sockets_that_are_no_good_are_refused_in_a_line_and_no_hub_starts() {
    let home = Home::new();
    let fails = |sockets: Vec<OwnedFd>, pid: &str, words: &[&str]| {
        let output = serve_as(&home, sockets, pid, &[]).output().unwrap();
        Ran::from(output, &["hub", "serve"]).failed(2, words);
        home.run(&["hub", "status"]).failed(6, &["no hub runs"]);
    };
    let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (one, _other) = UnixStream::pair().unwrap();
    fails(vec![one.into()], "$$", &["does not listen", "descriptor 3", "ListenStream="]);
    fails(
        vec![tcp().into(), UdpSocket::bind("127.0.0.1:0").unwrap().into()],
        "$$",
        &["a socket of datagrams", "descriptor 4"],
    );
    let file = fs::File::open("/dev/null").unwrap();
    fails(vec![file.into()], "$$", &["is no socket", "descriptor 3"]);
    fails(vec![tcp().into()], "1", &["for another process", "LISTEN_PID=1"]);
    fails(vec![tcp().into()], "", &["for another process"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let astray = UnixListener::bind(elsewhere.path().join("hub.sock")).unwrap();
    fails(vec![astray.into()], "$$", &["not where verbs look", "run/hub.sock"]);
    let own = own_socket(&home);
    let second = own.try_clone().unwrap();
    fails_busy(&home, &own);
    fails(vec![own.into(), second.into()], "$$", &["second unix socket", "descriptor 4"]);
    // More than there are, and no number.
    for (count, words) in [("5", "is not open"), ("1000", "17 sockets"), ("x", "no number")] {
        let mut hub = Command::new("/bin/sh");
        let script = "LISTEN_PID=$$ exec \"$@\"";
        hub.args(["-c", script, "sh", PROGRAM, "hub", "serve"]).env("LISTEN_FDS", count);
        let output = hub.env("SANDWATCH_HOME", home.path()).stdin(Stdio::null()).output().unwrap();
        Ran::from(output, &["hub", "serve"]).failed(2, &[words]);
    }
}

/// One that others may connect to.
fn fails_busy(home: &Home, own: &UnixListener) {
    let path = home.path().join("run/hub.sock");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let output = serve(home, vec![own.try_clone().unwrap().into()], &[]).output().unwrap();
    Ran::from(output, &["hub", "serve"]).failed(4, &["others may connect", "SocketMode=0600"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_second_hub_at_sockets_that_were_handed_down_says_which_one_runs() {
    let home = Home::new();
    let pid = home.ok(&["hub", "start"]);
    let pid = pid.lines().find_map(|it| it.strip_prefix("pid")).unwrap().trim().to_owned();
    fs::remove_file(home.path().join("run/hub.sock")).unwrap();
    let own = own_socket(&home);
    let output = serve(&home, vec![own.try_clone().unwrap().into()], &[]).output().unwrap();
    let busy = [format!("a hub runs already: process {pid}")];
    Ran::from(output, &["hub", "serve"]).failed(1, &[&busy[0]]);
    // Where verbs look nobody answers any more: it is ended by hand.
    drop(own);
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    fs::remove_file(home.path().join("run/hub.sock")).unwrap();
}

#[test]
fn where_a_hub_listens_can_be_said_when_it_is_started() {
    let home = Home::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    let taken = format!("https://{address}");
    let output = home.command(&["hub", "serve", "--listen", &taken]).output().unwrap();
    Ran::from(output, &["hub", "serve"]).failed(1, &["listening on", &address.to_string()]);
    for bad in ["http://127.0.0.1:1", "https://localhost:1", "127.0.0.1:1"] {
        let ran = home.run(&["hub", "serve", "--listen", bad]);
        assert_eq!(ran.code, 2, "{ran:?}");
    }
    // It goes before what the configuration says.
    fs::create_dir_all(home.config()).unwrap();
    let config = format!("[hub]\nlisten = [\"{taken}\"]\n");
    fs::write(home.config().join("config.toml"), config).unwrap();
    let at = home.path().join("notify");
    let manager = manager(&at);
    let args = ["hub", "serve", "--listen", "https://127.0.0.1:0", "--listen", "https://[::1]:0"];
    let mut hub = home.command(&args);
    let hub = hub.env("NOTIFY_SOCKET", &at).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(told(&manager), "READY=1");
    let listens = home.json(&["hub", "status", "--json"])["listen"].clone();
    let listens: Vec<String> = serde_json::from_value(listens).unwrap();
    assert_eq!(listens.len(), 3, "{listens:?}");
    assert!(!listens.contains(&taken) && listens[2].starts_with("https://[::1]:"), "{listens:?}");
    let invite = home.ok(&["hub", "invite", "vera", "--role", "viewer"]);
    let elsewhere = Home::new();
    elsewhere.ok(&["context", "add", "far", "--use", invite.trim()]);
    elsewhere.ok(&["ls"]);
    end(hub);
}

#[test]
fn the_units_are_as_systemd_reads_them() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return crate::skip::skipped("no systemd-analyze (apt-get install systemd)");
    }
    let temp = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for name in ["sandwatch-hub.service", "sandwatch-hub.socket"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/systemd").join(name);
        let text = fs::read_to_string(from).unwrap();
        // It looks whether the program is there.
        let text = text.replace("%h/.cargo/bin/sandwatch", PROGRAM);
        let unit = temp.path().join(name);
        fs::write(&unit, text).unwrap();
        units.push(unit);
    }
    let mut looked = Command::new("systemd-analyze");
    looked.args(["verify", "--user", "--man=no"]).args(&units);
    looked.env("XDG_RUNTIME_DIR", temp.path());
    let looked = looked.output().unwrap();
    let said = String::from_utf8_lossy(&looked.stderr);
    assert!(looked.status.success() && !said.contains("sandwatch"), "{said}");
}
