//! What a program in a local sandbox sees and what it can't reach.

use sandwatch::model::{sandbox::WorkspaceMode, session::ExitStatus};

use super::local_stage::{on_stage, run, session, sh, soon, type_in, until};

#[test]
fn a_shell_runs_on_a_terminal_of_its_own() {
    on_stage("local_view::a_shell_runs_on_a_terminal_of_its_own", |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let mut program = place.spawn(&session(&["/bin/bash", "--norc"])).await.unwrap();
        type_in(&mut program.io, "tty; whoami; pwd; stty size; echo done-$((40+2))\n").await;
        let text = until(&mut program.io, "done-42").await;
        assert!(text.contains("/dev/pts/0"), "{text}");
        assert!(text.contains("24 80"), "{text}");
        assert!(text.contains(&stage.workspace.display().to_string()), "{text}");
        assert!(!text.contains("cannot find name"), "{text}");
        type_in(&mut program.io, "exit 7\n").await;
        assert_eq!(program.exit.await.unwrap(), ExitStatus::Code(7));
        assert!(program.pid.is_some());
        place.remove().await.unwrap();
    });
}

#[test]
fn a_program_without_a_terminal_has_its_streams_and_its_code() {
    let name = "local_view::a_program_without_a_terminal_has_its_streams_and_its_code";
    on_stage(name, |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let (text, status) = run(&place, &["sh", "-c", "echo out; echo err >&2; exit 3"]).await;
        assert_eq!((text.as_str(), status), ("out\nerr\n", ExitStatus::Code(3)));
        let fault = place.exec(&session(&["no-such-program"])).await.err().unwrap();
        assert_eq!(fault.kind(), sandwatch::base::fault::Kind::Absent, "{fault}");
        assert_eq!(sh(&place, "echo $CANARY$EXTRA").await, "given");
        place.remove().await.unwrap();
    });
}

#[test]
fn a_program_goes_behind_whoever_started_it() {
    on_stage("local_view::a_program_goes_behind_whoever_started_it", |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::None)).await;
        let nice = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().to_owned()
        };
        let ours: i32 = nice("self").parse().unwrap();
        let theirs = (ours + 5).min(19).to_string();
        assert_eq!(sh(&place, "nice").await, theirs);
        let program = place.spawn(&session(&["sleep", "60"])).await.unwrap();
        let pid = program.pid.unwrap().to_string();
        assert_eq!(nice(&pid), theirs);
        // Where sessions are weighed against each other, its own is moved; ordinary users wait their turn.
        let group = || std::fs::read_to_string(format!("/proc/{pid}/autogroup"));
        if group().is_ok_and(|it| !it.is_empty()) {
            soon("a session that is moved", || group().unwrap().trim_end().ends_with("nice 10"))
                .await;
        }
        place.remove().await.unwrap();
    });
}

#[test]
fn the_operators_things_are_out_of_reach() {
    on_stage("local_view::the_operators_things_are_out_of_reach", |stage| async move {
        let socket = stage.home.join("state/hub.sock");
        let _hub = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let other = stage.place(&stage.spec(WorkspaceMode::None)).await;
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let home = stage.home.display();
        // Home: only the way to the workspace is there.
        assert_eq!(sh(&place, &format!("ls -A {home}")).await, "project");
        assert_eq!(sh(&place, &format!("cat {home}/secret 2>&1 | grep -c operator")).await, "0");
        assert_eq!(sh(&place, &format!("ls {home}/state 2>&1 | grep -c 'No such'")).await, "1");
        // Processes: none but the sandbox's own.
        let pids = sh(&place, "ls /proc | grep -c '^[0-9]'").await;
        assert!(pids.parse::<u32>().unwrap() <= 5, "{pids}");
        assert_eq!(sh(&place, "cat /proc/1/comm").await, "sandwatch-init");
        assert_ne!(sh(&place, "cat /proc/1/environ /proc/1/mem 2>&1 | head -c 1").await, "");
        assert_eq!(sh(&place, "kill -9 1; echo alive").await, "alive");
        // Sockets and other left-overs of the host.
        assert_eq!(sh(&place, "ls -A /run /tmp | grep -v -e : -e '^$' -e .tmp | wc -l").await, "0");
        assert_eq!(
            sh(&place, "find / -xdev -name docker.sock -o -name hub.sock | wc -l").await,
            "0"
        );
        // Devices: the harmless ones.
        assert_eq!(
            sh(&place, "ls /dev | tr '\\n' ' '").await.trim(),
            "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
        );
        assert_ne!(sh(&place, "mknod /tmp/disk b 8 0 2>&1").await, "");
        assert_eq!(sh(&place, "head -c 4 /dev/urandom | wc -c; echo x >/dev/null").await, "4");
        // The machine.
        for path in ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/power/state", "/new"]
        {
            let refused =
                sh(&place, &format!("(echo x > {path}) 2>/dev/null || echo refused")).await;
            assert_eq!(refused, "refused", "{path}");
        }
        other.remove().await.unwrap();
        place.remove().await.unwrap();
    });
}

#[test]
fn nothing_of_the_operators_rights_is_left() {
    on_stage("local_view::nothing_of_the_operators_rights_is_left", |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let status = sh(&place, "cat /proc/self/status").await;
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
        }
        assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
        let program = place.exec(&session(&["sleep", "100"])).await.unwrap();
        let host =
            std::fs::read_to_string(format!("/proc/{}/status", program.pid.unwrap())).unwrap();
        let uids = host.lines().find(|it| it.starts_with("Uid:")).unwrap();
        let uids: Vec<u32> =
            uids.split_whitespace().skip(1).map(|it| it.parse().unwrap()).collect();
        assert!(uids.iter().all(|it| *it != 0 && *it == uids[0]), "{uids:?}");
        if !stage.by_root {
            assert_eq!(uids[0], rustix::process::geteuid().as_raw());
        }
        let name =
            sh(&place, "whoami; id -un; cd && pwd; grep -c \"^$(whoami):\" /etc/passwd").await;
        assert!(!name.contains("cannot find") && name.ends_with("\n1"), "{name}");
        assert_eq!(sh(&place, "hostname").await, "box");
        // A set-user-id program gains nothing, as a test of what NoNewPrivs says.
        assert_ne!(sh(&place, "su -c 'echo in' 2>/dev/null </dev/null").await, "in");
        place.remove().await.unwrap();
    });
}

#[test]
fn the_environment_is_built_and_not_inherited() {
    on_stage("local_view::the_environment_is_built_and_not_inherited", |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let env = sh(&place, "env").await;
        let allowed = [
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "SHELL",
            "LANG",
            "TERM",
            "COLORTERM",
            "TERM_PROGRAM",
            "SANDWATCH_SANDBOX",
            "EXTRA",
            "PWD",
            "TZ",
            "LANGUAGE",
        ];
        for line in env.lines() {
            let key = line.split('=').next().unwrap();
            assert!(allowed.contains(&key) || key.starts_with("LC_"), "{line}");
        }
        assert!(
            env.contains("TERM=xterm-256color") && env.contains("SANDWATCH_SANDBOX=box"),
            "{env}"
        );
        assert!(!env.contains("from-the-shell") && env.contains("EXTRA=given"), "{env}");
        place.remove().await.unwrap();
    });
}

#[test]
fn a_copied_workspace_changes_nothing_outside() {
    on_stage("local_view::a_copied_workspace_changes_nothing_outside", |stage| async move {
        let kept = stage.workspace.join("kept");
        std::fs::set_permissions(&kept, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        assert_eq!(
            sh(&place, "cat kept; echo changed > kept; cat kept").await,
            "as it was\nchanged"
        );
        assert_eq!(
            sh(&place, "echo n > new; mkdir d; mv kept d/; ls -A | tr '\\n' ' '").await,
            "d new"
        );
        assert_eq!(
            sh(&place, "echo 1.2.3.4 x >> /etc/hosts; tail -1 /etc/hosts").await,
            "1.2.3.4 x"
        );
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "as it was\n");
        assert_eq!(std::fs::read_dir(&stage.workspace).unwrap().count(), 1);
        assert!(!std::fs::read_to_string("/etc/hosts").unwrap().contains("1.2.3.4 x"));
        place.remove().await.unwrap();
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "as it was\n");
    });
}

#[test]
fn a_writable_workspace_keeps_its_owner_and_a_read_only_one_its_content() {
    let name = "local_view::a_writable_workspace_keeps_its_owner_and_a_read_only_one_its_content";
    on_stage(name, |stage| async move {
        use std::os::unix::fs::MetadataExt;
        let place = stage.place(&stage.spec(WorkspaceMode::Rw)).await;
        assert_eq!(sh(&place, "echo n > new && mkdir d && echo ok").await, "ok");
        assert_eq!(sh(&place, "stat -c %U new kept | sort -u").await, sh(&place, "whoami").await);
        let (owner, new) = (
            std::fs::metadata(&stage.workspace).unwrap(),
            std::fs::metadata(stage.workspace.join("new")).unwrap(),
        );
        assert_eq!((owner.uid(), owner.gid()), (new.uid(), new.gid()));
        place.remove().await.unwrap();
        assert_eq!(std::fs::read_to_string(stage.workspace.join("new")).unwrap(), "n\n");

        let place = stage.place(&stage.spec(WorkspaceMode::Ro)).await;
        assert_eq!(
            sh(&place, "cat kept; (echo x > kept) 2>/dev/null || echo no").await,
            "as it was\nno"
        );
        assert_eq!(sh(&place, "touch t 2>/dev/null || echo no").await, "no");
        place.remove().await.unwrap();

        let place = stage.place(&stage.spec(WorkspaceMode::None)).await;
        let there = format!("test -e {} || echo hidden", stage.workspace.display());
        assert_eq!(sh(&place, &there).await, "hidden");
        assert_eq!(sh(&place, "test \"$PWD\" = \"$HOME\" && touch t && echo home").await, "home");
        place.remove().await.unwrap();
    });
}

#[test]
fn forbidden_calls_are_refused_with_an_error() {
    on_stage("local_view::forbidden_calls_are_refused_with_an_error", |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let script = r#"
import ctypes, errno, fcntl, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *args):
    ctypes.set_errno(0)
    result = libc.syscall(number, *args)
    print(name, errno.errorcode.get(ctypes.get_errno(), "none") if result < 0 else "ALLOWED")
if os.uname().machine == "x86_64":
    for name, number in dict(mount=165, umount2=166, pivot_root=155, open_tree=428, fsopen=430,
            mount_setattr=442, bpf=321, kexec_load=246, add_key=248, request_key=249, keyctl=250,
            ptrace=101, process_vm_readv=310, process_vm_writev=311, io_uring_setup=425,
            userfaultfd=323, setns=308, perf_event_open=298, init_module=175, finit_module=313,
            reboot=169, swapon=167, quotactl=179, open_by_handle_at=304, pidfd_getfd=438,
            chroot=161, fanotify_init=300).items():
        call(name, number, 0, 0, 0, 0, 0)
    for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x04000000, 0x08000000, 0x02000000, 0x80):
        call("unshare-%x" % flag, 272, flag)
    call("clone-newuser", 56, 0x10000000 | 17, 0, 0, 0, 0)
    call("personality", 135, 0x0400000)
    call("clone3", 435, 0, 0)
    call("x32", 0x40000000 + 39)
    call("future", 999)
r, w = os.openpty()
for name, request in (("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541C)):
    try:
        fcntl.ioctl(w, request, b"x"); print(name, "ALLOWED")
    except OSError as e:
        print(name, errno.errorcode[e.errno])
def sock(name, *args):
    try:
        socket.socket(*args); print(name, "ALLOWED")
    except OSError as e:
        print(name, errno.errorcode[e.errno])
sock("netlink", 16, socket.SOCK_RAW, 0)
sock("packet", 17, socket.SOCK_RAW, 0)
sock("vsock", 40, socket.SOCK_STREAM, 0)
sock("raw", socket.AF_INET, socket.SOCK_RAW, 1)
sock("raw6", socket.AF_INET6, socket.SOCK_RAW, 58)
"#;
        let text = super::local_stage::python(&place, script).await;
        assert!(text.lines().count() > 6, "{text}");
        for line in text.lines() {
            let (name, answer) = line.split_once(' ').unwrap();
            let wanted =
                if ["clone3", "x32", "future"].contains(&name) { "ENOSYS" } else { "EPERM" };
            assert_eq!(answer, wanted, "{line}");
        }
        place.remove().await.unwrap();
    });
}

#[test]
fn egress_deny_lets_nothing_out() {
    on_stage("local_view::egress_deny_lets_nothing_out", |stage| async move {
        use std::os::linux::net::SocketAddrExt;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = format!("sandwatch-test-{port}-{}", stage.by_root);
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let _abstract = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
        let script = format!(
            r#"
import socket
def reach(name, family, kind, address):
    try:
        s = socket.socket(family, kind); s.settimeout(3)
        s.connect(address); s.send(b"x"); print(name, "OUT")
    except OSError as e:
        print(name, "no")
v4, v6, tcp, udp = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
reach("host-loopback", v4, tcp, ("127.0.0.1", {port}))
reach("tcp", v4, tcp, ("1.1.1.1", 443))
reach("udp", v4, udp, ("1.1.1.1", 53))
reach("tcp6", v6, tcp, ("2606:4700:4700::1111", 443))
reach("udp6", v6, udp, ("2606:4700:4700::1111", 53))
reach("abstract", socket.AF_UNIX, tcp, "\0{name}")
try:
    socket.getaddrinfo("example.com", 80); print("dns OUT")
except OSError:
    print("dns no")
"#
        );
        let mut spec = stage.spec(WorkspaceMode::Cow);
        let place = stage.place(&spec).await;
        let text = super::local_stage::python(&place, &script).await;
        assert_eq!(text.lines().count(), 7, "{text}");
        assert!(!text.contains("OUT"), "{text}");
        let inside = r#"
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
c = socket.create_connection(("localhost", s.getsockname()[1])); print("loopback works")
"#;
        assert_eq!(super::local_stage::python(&place, inside).await, "loopback works");
        assert_eq!(sh(&place, "cat /proc/net/dev | grep -c :").await, "1");
        place.remove().await.unwrap();

        // Who asks has ways out that lead to who keeps it. Allowing shares the host's network.
        spec.egress = sandwatch::model::sandbox::Egress::Ask;
        let place = stage.place(&spec).await;
        assert!(place.facts().capabilities.egress_ask && place.doors().is_some());
        place.remove().await.unwrap();
        spec.egress = sandwatch::model::sandbox::Egress::Allow;
        let place = stage.place(&spec).await;
        let text = super::local_stage::python(&place, &script).await;
        assert!(text.contains("host-loopback OUT") && text.contains("abstract no"), "{text}");
        assert!(place.facts().notes.iter().any(|it| it.contains("loopback")));
        place.remove().await.unwrap();
    });
}
