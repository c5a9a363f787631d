//! Programs that try to get out of a local sandbox, by roads that other tests do not take.

use std::{
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
};

use sandwatch::{
    base::id::SnapshotId,
    driver::{Driver, Ground, Shelf, Stillness, local::Local},
    model::sandbox::{Isolation, WorkspaceMode},
};

use super::local_stage::{on_stage, on_stages_changed_by_root, python, session, sh};

#[test]
fn the_first_process_tells_nothing_of_where_it_came_from() {
    let name = "hostile_local::the_first_process_tells_nothing_of_where_it_came_from";
    on_stage(name, |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        assert_eq!(sh(&place, "tr -d '\\0' </proc/1/cmdline").await, "sandwatch-init");
        // Everything else of it is closed to programs inside.
        let script = "for it in environ mem maps root/ cwd/ fd/ exe; do \
                      ls /proc/1/$it >/dev/null 2>&1 && head -c 1 /proc/1/$it; done 2>/dev/null";
        assert_eq!(sh(&place, script).await, "");
        let program = place.exec(&session(&["sleep", "100"])).await.unwrap();
        if stage.by_root {
            let status = format!("/proc/{}/status", program.pid.unwrap());
            let status = std::fs::read_to_string(status).unwrap();
            let parent = status.lines().find_map(|it| it.strip_prefix("PPid:\t")).unwrap();
            let environment = std::fs::read(format!("/proc/{parent}/environ")).unwrap();
            assert!(environment.iter().all(|it| *it == 0), "the operator's environment is there");
            for open in std::fs::read_dir(format!("/proc/{parent}/fd")).unwrap() {
                let leads = std::fs::read_link(open.unwrap().path()).unwrap();
                let leads = leads.to_str().unwrap();
                let harmless = leads.ends_with("/null")
                    || leads.starts_with("socket:")
                    || leads == "anon_inode:[signalfd]";
                assert!(harmless, "{leads}");
            }
        }
        place.remove().await.unwrap();
    });
}

/// Tries to leave a file that runs as its owner, by every call that takes a mode.
const SET_ID: &str = r#"
import ctypes, errno, os, platform
libc = ctypes.CDLL(None, use_errno=True)
def tried(name, what):
    try:
        what(); print(name, "DONE")
    except OSError as e:
        print(name, errno.errorcode[e.errno])
def raw(number, *args):
    if libc.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), "")
open("f", "w").close(); os.mkdir("d")
f = os.open("f", os.O_RDWR)
for bits in (0o4755, 0o2755, 0o6777):
    tried("chmod", lambda: os.chmod("f", bits))
    tried("fchmod", lambda: os.fchmod(f, bits))
    tried("fchmodat", lambda: raw(268 if platform.machine() == "x86_64" else 53, -100, b"f", bits))
    tried("fchmodat2", lambda: raw(452, -100, b"f", bits, 0))
    tried("open", lambda: os.open("o%o" % bits, os.O_CREAT | os.O_WRONLY, bits))
    tried("tmpfile", lambda: os.open(".", os.O_TMPFILE | os.O_WRONLY, bits))
    tried("mknod", lambda: os.mknod("m%o" % bits, 0o100000 | bits))
    if platform.machine() == "x86_64":
        tried("rawchmod", lambda: raw(90, b"f", bits))
        tried("rawopen", lambda: raw(2, b"r%o" % bits, os.O_CREAT, bits))
        tried("creat", lambda: raw(85, b"c%o" % bits, bits))
    how = (ctypes.c_uint64 * 3)(os.O_CREAT | os.O_WRONLY, bits, 0)
    tried("openat2", lambda: raw(437, -100, b"w", ctypes.byref(how), 24))
os.chmod("f", 0o755); os.chmod("d", 0o1777)
os.close(os.open("plain", os.O_CREAT | os.O_WRONLY, 0o755))
"#;

#[test]
fn no_file_that_runs_as_its_owner_is_left_in_a_real_workspace() {
    let name = "hostile_local::no_file_that_runs_as_its_owner_is_left_in_a_real_workspace";
    on_stage(name, |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Rw)).await;
        let text = python(&place, SET_ID).await;
        assert!(text.lines().count() > 20, "{text}");
        for line in text.lines() {
            let wanted = if line.starts_with("openat2") { "ENOSYS" } else { "EPERM" };
            assert!(line.ends_with(wanted), "{line}");
        }
        for item in std::fs::read_dir(&stage.workspace).unwrap() {
            let item = item.unwrap();
            let mode = item.metadata().unwrap().mode();
            assert_eq!(mode & 0o6000, 0, "{}", item.path().display());
        }
        let plain = std::fs::metadata(stage.workspace.join("plain")).unwrap();
        assert_eq!(plain.mode() & 0o7777, 0o755);
        place.remove().await.unwrap();
    });
}

fn write_program(path: &Path, text: &str, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_script_can_not_name_what_else_is_shown() {
    on_stage("hostile_local::a_script_can_not_name_what_else_is_shown", |stage| async move {
        let home = stage.home.display().to_string();
        write_program(&stage.home.join("vault/tool"), "#!/bin/sh\n", 0o755);
        write_program(&stage.home.join("keys/id"), "a key\n", 0o600);
        // A workspace's own script names another directory of the operator as its interpreter's.
        let script = stage.workspace.join("run");
        write_program(&script, &format!("#!/bin/sh {home}/vault/tool\n"), 0o755);
        let mut spec = stage.spec(WorkspaceMode::Cow);
        spec.first.command = vec![script.display().to_string()];
        let place = stage.place(&spec).await;
        assert_eq!(sh(&place, &format!("ls -A {home}")).await, "project");
        place.remove().await.unwrap();
        // An installed one names what is no program.
        let installed = stage.home.join("tool/bin/run");
        write_program(&installed, &format!("#!/bin/sh {home}/keys/id\n"), 0o755);
        spec.first.command = vec![installed.display().to_string()];
        let place = stage.place(&spec).await;
        assert_eq!(sh(&place, &format!("ls -A {home} | tr '\\n' ' '")).await, "project tool");
        place.remove().await.unwrap();
    });
}

#[test]
fn processes_are_bounded_without_being_asked() {
    on_stage("hostile_local::processes_are_bounded_without_being_asked", |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let most: u64 = sh(&place, "ulimit -u 2>/dev/null || ulimit -p").await.parse().unwrap();
        assert!(most <= sandwatch::base::limits::SANDBOX_TASKS_MAX, "{most}");
        place.remove().await.unwrap();
    });
}

#[test]
fn the_weaker_grade_reaches_no_terminal_and_no_memory_of_the_operator() {
    let name = "hostile_local::the_weaker_grade_reaches_no_terminal_and_no_memory_of_the_operator";
    on_stage(name, |stage| async move {
        let mut spec = stage.spec(WorkspaceMode::Rw);
        spec.isolation = Some(Isolation::Landlock);
        if stage.by_root {
            assert!(stage.try_place(&stage.ground(), &spec).await.is_err());
            return;
        }
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let outer = rustix::pty::openpt(flags).unwrap();
        rustix::pty::unlockpt(&outer).unwrap();
        let terminal = rustix::pty::ptsname(&outer, Vec::new()).unwrap();
        let terminal = terminal.to_str().unwrap();
        assert!(outer.as_raw_fd() >= 0 && Path::new(terminal).exists());
        let place = stage.place(&spec).await;
        let script = format!(
            r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
    try:
        os.open("{terminal}", flags | os.O_NOCTTY); print("REACHED")
    except PermissionError:
        print("no")
print("REACHED" if libc.shmget(0, 4096, 0o1600) >= 0 else "no")
print("REACHED" if libc.semget(0, 1, 0o1600) >= 0 else "no")
print("REACHED" if libc.msgget(0, 0o1600) >= 0 else "no")
"#
        );
        assert_eq!(python(&place, &script).await, "no\nno\nno\nno\nno\nno");
        place.remove().await.unwrap();
    });
}

#[test]
fn sockets_of_a_copied_workspace_lead_nowhere() {
    on_stage("hostile_local::sockets_of_a_copied_workspace_lead_nowhere", |stage| async move {
        let socket = stage.workspace.join("service");
        let _service = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let script = r#"
import socket
try:
    socket.socket(socket.AF_UNIX).connect("service"); print("REACHED")
except OSError:
    print("no")
"#;
        assert_eq!(python(&place, script).await, "no");
        place.remove().await.unwrap();
    });
}

#[test]
fn a_workspace_is_named_plainly_and_is_not_the_whole_home() {
    on_stage(
        "hostile_local::a_workspace_is_named_plainly_and_is_not_the_whole_home",
        |stage| async move {
            let mut spec = stage.spec(WorkspaceMode::Ro);
            for path in [stage.home.clone(), stage.workspace.join("../project")] {
                spec.workspace.path = path;
                assert!(stage.try_place(&stage.ground(), &spec).await.is_err());
            }
        },
    );
}

/// A system directory with mounts inside it, as drivers of graphics cards and package stores make them.
const MOUNTED_INSIDE: &str = "mount -t tmpfs none /opt
mkdir -p /opt/plain/inner /opt/way/x /opt/way/beside '/opt/odd, na:me'
mount -t tmpfs none /opt/way/x
mkdir /opt/way/x/deep
for it in /opt /opt/plain /opt/way /opt/way/beside /opt/way/x /opt/way/x/deep '/opt/odd, na:me'; do
    chmod 777 \"$it\"; echo there >\"$it/file\"; mkfifo \"$it/fifo\"; done
ln -s plain/file /opt/link
echo covered >/opt/way/bound; mount --bind /opt/file /opt/way/bound";

#[test]
fn services_of_the_host_behind_sockets_beside_a_mount_are_out_of_reach() {
    let name = "hostile_local::services_of_the_host_behind_sockets_beside_a_mount_are_out_of_reach";
    on_stages_changed_by_root(name, MOUNTED_INSIDE, |stage| async move {
        const DIRS: [&str; 7] = [
            "/opt",
            "/opt/plain",
            "/opt/way",
            "/opt/way/beside",
            "/opt/way/x",
            "/opt/way/x/deep",
            "/opt/odd, na:me",
        ];
        let listen = |dir: &&str| {
            let path = Path::new(dir).join("service");
            let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
            listener
        };
        let _listeners: Vec<_> = DIRS.iter().map(listen).collect();
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let script = format!(
            r#"
import os, socket, stat
for dir in {DIRS:?}:
    service = socket.socket(socket.AF_UNIX)
    try:
        service.connect(dir + "/service"); print(dir, "OUT")
    except OSError:
        print(dir, "closed")
    try:
        os.open(dir + "/fifo", os.O_WRONLY | os.O_NONBLOCK); print(dir, "OUT")
    except OSError:
        pass
"#
        );
        let text = python(&place, &script).await;
        assert_eq!(text.lines().count(), DIRS.len(), "{text}");
        assert!(!text.contains("OUT"), "{text}");
        // What is no door is there all the same, and writes are kept apart.
        for dir in DIRS {
            let read = sh(&place, &format!("cat '{dir}/file'")).await;
            assert_eq!(read, "there", "{dir}");
            let wrote =
                format!("(echo new >'{dir}/new') 2>/dev/null && cat '{dir}/new' || echo no");
            // Made anew, or another user's and not the top of a layer.
            let fixed = ["/opt", "/opt/way", "/opt/way/x/deep"].contains(&dir);
            assert_eq!(sh(&place, &wrote).await, if fixed { "no" } else { "new" }, "{dir}");
            assert!(!Path::new(dir).join("new").exists(), "{dir}");
        }
        assert_eq!(sh(&place, "cat /opt/link /opt/way/bound").await, "there\nthere");
        assert_eq!(sh(&place, "(echo x >/opt/file) 2>/dev/null || echo no").await, "no");
        let notes = place.facts().notes;
        let note =
            notes.iter().find(|it| it.contains("/opt")).unwrap_or_else(|| panic!("{notes:?}"));
        assert!(note.contains("mounted inside") && note.contains("/opt/way"), "{note}");
        assert_eq!(notes.iter().filter(|it| it.contains("unix sockets")).count(), 0, "{notes:?}");
        place.remove().await.unwrap();
    });
}

#[test]
fn a_moment_that_links_out_of_itself_shows_nothing_where_something_was_mounted_since() {
    let name = "hostile_local::a_moment_that_links_out_of_itself_shows_nothing_where_something_was_mounted_since";
    let before = "mount -t tmpfs none /opt; mkdir -p /opt/way/x /opt/plain /opt/odd
        for it in way plain odd; do echo there >/opt/$it/file; done
        mount -t tmpfs none /opt/way/x; chmod -R 755 /opt";
    on_stages_changed_by_root(name, before, |stage| async move {
        let (ground, spec) = (stage.ground(), stage.spec(WorkspaceMode::Cow));
        let place = stage.try_place(&ground, &spec).await.unwrap();
        let shelf = Shelf {
            id: SnapshotId::random(),
            dir: stage.home.join("state/shelf"),
            reference: None,
        };
        std::fs::create_dir(&shelf.dir).unwrap();
        Local.snapshot(&ground, &spec, &shelf, None, Stillness::Live).await.unwrap();
        place.remove().await.unwrap();
        // As programs can leave it where nothing is mounted: links to what is not theirs.
        let outside = stage.home.join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("file"), "the operator's").unwrap();
        let upper = shelf.dir.join("box/upper/opt");
        std::fs::create_dir_all(&upper).unwrap();
        for it in ["way", "plain", "new", "odd"] {
            drop(std::fs::remove_dir_all(upper.join(it)));
        }
        for it in ["way", "plain", "new"] {
            symlink(&outside, upper.join(it)).unwrap();
        }
        std::fs::create_dir(upper.join("odd")).unwrap();
        symlink(outside.join("file"), upper.join("odd/file")).unwrap();
        let again = Ground { from: Some(shelf), ..stage.ground() };
        let place = stage.try_place(&again, &spec).await.unwrap();
        for it in ["way", "plain", "new", "odd"] {
            let read = sh(&place, &format!("cat /opt/{it}/file || echo closed")).await;
            assert!(read.starts_with("closed"), "{it}: {read}");
            sh(&place, &format!("echo x > /opt/{it}/made")).await;
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
        // They are links, as the moment has them.
        assert_eq!(sh(&place, "readlink /opt/way").await, outside.to_str().unwrap());
        place.remove().await.unwrap();
    });
}

#[test]
fn a_link_of_the_host_is_not_followed_for_a_file_of_a_moment() {
    let name = "hostile_local::a_link_of_the_host_is_not_followed_for_a_file_of_a_moment";
    let before = "mount -t tmpfs none /opt; mkdir -p /opt/x; chmod -R 755 /opt
        ln -s \"$SANDWATCH_TEST_STAGE/state/made\" /opt/dangling
        ln -s \"$SANDWATCH_TEST_STAGE/secret\" /opt/leads; mount -t tmpfs none /opt/x";
    on_stages_changed_by_root(name, before, |stage| async move {
        let (ground, spec) = (stage.ground(), stage.spec(WorkspaceMode::Cow));
        let place = stage.try_place(&ground, &spec).await.unwrap();
        let dir = stage.home.join("state/shelf");
        let shelf = Shelf { id: SnapshotId::random(), dir, reference: None };
        std::fs::create_dir(&shelf.dir).unwrap();
        Local.snapshot(&ground, &spec, &shelf, None, Stillness::Live).await.unwrap();
        place.remove().await.unwrap();
        let upper = shelf.dir.join("box/upper/opt");
        std::fs::create_dir_all(&upper).unwrap();
        for it in ["dangling", "leads"] {
            std::fs::write(upper.join(it), "of the moment").unwrap();
        }
        let again = Ground { from: Some(shelf), ..stage.ground() };
        let place = stage.try_place(&again, &spec).await.unwrap();
        assert_eq!(sh(&place, "cat /opt/dangling /opt/leads").await, "of the momentof the moment");
        sh(&place, "echo x > /opt/dangling; echo x > /opt/leads").await;
        assert!(!stage.home.join("state/made").exists());
        let secret = std::fs::read_to_string(stage.home.join("secret")).unwrap();
        assert_eq!(secret, "the operator's");
        place.remove().await.unwrap();
    });
}

#[test]
fn an_etc_with_mounts_inside_has_the_sandboxs_own_files_all_the_same() {
    let name = "hostile_local::an_etc_with_mounts_inside_has_the_sandboxs_own_files_all_the_same";
    // As containers have it.
    let before = "mount --bind /etc/hostname /etc/hostname; mount --bind /etc/hosts /etc/hosts";
    on_stages_changed_by_root(name, before, |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        assert_eq!(sh(&place, "cat /etc/hostname").await, "box");
        assert_eq!(
            sh(&place, "grep -c \"^$(whoami):\" /etc/passwd /etc/group").await.lines().count(),
            2
        );
        assert_eq!(
            sh(&place, "echo 1.2.3.4 x >>/etc/hosts; tail -1 /etc/hosts").await,
            "1.2.3.4 x"
        );
        let own = |list: &str| list.lines().map(str::to_owned).collect::<Vec<_>>();
        let mut inside = own(&sh(&place, "ls -A /etc").await);
        let mut outside = own(&String::from_utf8_lossy(
            &std::process::Command::new("ls").args(["-A", "/etc"]).output().unwrap().stdout,
        ));
        for list in [&mut inside, &mut outside] {
            list.retain(|it| it != "resolv.conf" && it != ".pwd.lock");
        }
        assert_eq!(inside, outside);
        place.remove().await.unwrap();
    });
}
