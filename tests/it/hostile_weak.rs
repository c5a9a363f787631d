//! Programs in the grade without namespaces that try to outlive their sandbox, or to meddle with what
//! else the operator runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::process::{Pid, Signal, kill_process};
use sandwatch::{
    base::id::SandboxId,
    driver::{Driver, Ground, Place, local::Local},
    model::sandbox::{Isolation, SandboxSpec, WorkspaceMode},
};

use crate::{
    given::{alive, eventually},
    local_life::nothing_is_left,
    local_stage::{Stage, on_stage, python, session, sh, soon},
};

fn weak(stage: &Stage) -> SandboxSpec {
    SandboxSpec { isolation: Some(Isolation::Landlock), ..stage.spec(WorkspaceMode::Rw) }
}

/// The parent of a process.
fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Starts what nobody waits for, in a session of its own, with the first process as its parent, and
/// tells both their numbers.
async fn loose(place: &Arc<dyn Place>) -> (u32, u32) {
    let script = "setsid -f sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1'";
    let pid: u32 = sh(place, script).await.parse().unwrap();
    eventually("its parent to be gone", || {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", parent(pid)));
        name.is_ok_and(|it| !it.starts_with("sh") && !it.starts_with("setsid"))
    });
    (pid, parent(pid))
}

#[test]
fn killing_the_first_process_frees_nobody() {
    on_stage("hostile_weak::killing_the_first_process_frees_nobody", |stage| async move {
        if stage.by_root {
            return;
        }
        let ground = stage.ground();
        let place = stage.try_place(&ground, &weak(&stage)).await.unwrap();
        let (pid, first) = loose(&place).await;
        let script = format!("kill -9 {first}");
        let killer = place.exec(&session(&["sh", "-c", &script])).await.unwrap();
        place.gone().await;
        drop(killer);
        assert!(!alive(pid), "it outlived its sandbox");
        place.remove().await.unwrap();
        nothing_is_left(&stage, &ground).await;
    });
}

/// Holds a sandbox until killed; does nothing unless the next tests call it.
#[test]
fn a_holder_to_be_killed() {
    let Ok(directory) = std::env::var("SANDWATCH_TEST_HOLD_WEAK") else { return };
    on_stage("hostile_weak::a_holder_to_be_killed", |stage| {
        let directory = PathBuf::from(&directory);
        async move {
            let place = stage.try_place(&held(&directory), &weak(&stage)).await.unwrap();
            let (pid, first) = loose(&place).await;
            let _kept = place.exec(&session(&["sleep", "1000"])).await.unwrap();
            std::fs::write(stage.home.join("pids"), format!("{pid} {first}.")).unwrap();
            std::future::pending::<()>().await;
        }
    });
}

fn held(directory: &Path) -> Ground {
    let id = directory.file_name().unwrap().to_str().unwrap();
    let id = SandboxId::parse(id).unwrap();
    Ground { id, name: "held".to_owned(), dir: directory.to_owned(), from: None }
}

/// A process that holds a sandbox, and the numbers of a loose process and of the first.
async fn holder(stage: &Stage, directory: &Path) -> (std::process::Child, u32, u32) {
    let note = stage.home.join("pids");
    let holder = std::process::Command::new("/proc/self/exe")
        .args(["--exact", "hostile_weak::a_holder_to_be_killed", "--nocapture"])
        .env("SANDWATCH_TEST_HOLD_WEAK", directory)
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(&note).unwrap_or_default();
    soon("a sandbox", || read().ends_with('.')).await;
    let text = read();
    let (pid, first) = text.trim_end_matches('.').split_once(' ').unwrap();
    std::fs::remove_file(&note).unwrap();
    (holder, pid.parse().unwrap(), first.parse().unwrap())
}

#[test]
fn a_killed_shim_leaves_nobody_behind() {
    on_stage("hostile_weak::a_killed_shim_leaves_nobody_behind", |stage| async move {
        if stage.by_root {
            return;
        }
        let directory = stage.home.join("state/alone");
        let (mut holder, pid, first) = holder(&stage, &directory).await;
        assert!(alive(pid) && alive(first));
        // Not even when the one to do it was stopped.
        signal(first, Signal::STOP);
        holder.kill().unwrap();
        holder.wait().unwrap();
        soon("the end of all", || !alive(pid) && !alive(first)).await;
        Local.sweep(&held(&directory)).await.unwrap();
        nothing_is_left(&stage, &held(&directory)).await;
    });
}

#[test]
fn who_outlived_shim_and_first_process_is_found() {
    on_stage("hostile_weak::who_outlived_shim_and_first_process_is_found", |stage| async move {
        if stage.by_root {
            return;
        }
        let directory = stage.home.join("state/both");
        let (mut holder, pid, first) = holder(&stage, &directory).await;
        // So that it can't do what it has to when the first process dies.
        signal(holder.id(), Signal::STOP);
        signal(first, Signal::KILL);
        soon("the end of the first", || !alive(first)).await;
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert!(alive(pid), "nothing is left to find");
        Local.reap(&held(&directory)).await.unwrap();
        assert!(!alive(pid), "it outlived its sandbox");
        Local.sweep(&held(&directory)).await.unwrap();
        nothing_is_left(&stage, &held(&directory)).await;
    });
}

#[test]
fn what_else_the_operator_runs_is_left_alone() {
    on_stage("hostile_weak::what_else_the_operator_runs_is_left_alone", |stage| async move {
        if stage.by_root {
            return;
        }
        let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let place = stage.place(&weak(&stage)).await;
        let script = r#"
import ctypes, os, platform, resource
libc = ctypes.CDLL(None, use_errno=True)
other = OTHER
x86 = platform.machine() == "x86_64"
def tried(name, what):
    try:
        what(); print(name, "DONE")
    except PermissionError:
        print(name, "no")
def raw(number, *args):
    if libc.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), "")
two = (ctypes.c_uint64 * 2)(1, 1)
attr = (ctypes.c_uint32 * 12)(48)
for who in (other, os.getpid()):
    tried("prlimit", lambda: resource.prlimit(who, resource.RLIMIT_CPU, (1, 1)))
    tried("affinity", lambda: os.sched_setaffinity(who, {0}))
    tried("scheduler", lambda: os.sched_setscheduler(who, os.SCHED_IDLE, os.sched_param(0)))
    tried("param", lambda: os.sched_setparam(who, os.sched_param(0)))
    tried("attr", lambda: raw(314 if x86 else 274, who, attr, 0))
    tried("priority", lambda: os.setpriority(os.PRIO_PROCESS, who, 19))
    tried("io", lambda: raw(251 if x86 else 30, 1, who, 3 << 13))
tried("all", lambda: os.setpriority(os.PRIO_USER, 0, 19))
tried("io of all", lambda: raw(251 if x86 else 30, 3, 0, 3 << 13))
tried("mark", lambda: raw(302 if x86 else 261, 0, 15, two, None))
tried("mark of old", lambda: raw(160 if x86 else 164, 15, two))
# Its own is its own, and looking is free.
resource.prlimit(other, resource.RLIMIT_CPU)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
os.sched_setaffinity(0, os.sched_getaffinity(0))
os.setpriority(os.PRIO_PROCESS, 0, 19)
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
raw(251 if x86 else 30, 1, 0, 3 << 13)
print("end")
"#;
        let text = python(&place, &script.replace("OTHER", &other.id().to_string())).await;
        assert!(!text.contains("DONE") && text.ends_with("end"), "{text}");
        assert_eq!(text.matches(" no").count(), 18, "{text}");
        place.remove().await.unwrap();
        assert!(alive(other.id()));
        other.kill().unwrap();
        other.wait().unwrap();
    });
}
