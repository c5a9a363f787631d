//! Programs that hide from those who look for processes: they end with their sandbox all the same, are
//! paused with it, and fill up the operator's processes in vain.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{
        Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process, setrlimit,
        waitid,
    },
};
use sandwatch::{
    base::{fault::Kind, id::SandboxId},
    driver::{Driver, Ground, PipeIo, Place, Program, local::Local},
    model::sandbox::{Isolation, SandboxSpec, WorkspaceMode},
};
use tokio::io::AsyncReadExt;

use crate::{
    local_life::{groups_of, nothing_is_left},
    local_stage::{Before, Stage, on_changed_stage, on_own_stage, on_stage, session, soon},
    skip::{not_on_this_host, skipped},
};

/// Of programs that get loose.
const KINDS: [&str; 3] = ["thread", "name", "comet"];
/// Looks that must find nobody; one may miss who is never there for long.
const LOOKS: usize = 20;

fn of_grade(stage: &Stage, grade: Isolation) -> SandboxSpec {
    SandboxSpec { isolation: Some(grade), ..stage.spec(WorkspaceMode::Rw) }
}

/// Builds the programs in the workspace.
fn built(stage: &Stage) -> Option<String> {
    let (source, program) = (stage.workspace.join("hostile.c"), stage.workspace.join("hostile"));
    std::fs::write(&source, include_str!("hostile_processes.c")).unwrap();
    let compiler = Command::new("cc").arg("-pthread").arg(&source).arg("-o").arg(&program).status();
    match compiler {
        Ok(status) => assert!(status.success(), "{status}"),
        Err(error) => {
            skipped(&format!("no C compiler: {error}"));
            return None;
        }
    }
    Some(program.display().to_string())
}

/// States of all threads of such programs that have not ended, by the path they were started with.
fn threads(program: &str) -> Vec<char> {
    let mut found = Vec::new();
    let list = |at: &Path| std::fs::read_dir(at).into_iter().flatten().flatten();
    for process in list(Path::new("/proc")) {
        if process.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        for thread in list(&process.path().join("task")) {
            let read = |file: &str| std::fs::read(thread.path().join(file)).unwrap_or_default();
            let stat = read("stat");
            let after = stat.iter().rposition(|it| *it == b')').and_then(|at| stat.get(at + 2));
            let state = char::from(*after.unwrap_or(&b'X'));
            let started = read("cmdline").starts_with(program.as_bytes());
            if started && !matches!(state, 'Z' | 'X') {
                found.push(state);
            }
        }
    }
    found
}

/// Nobody is left whose parents have ended: this process takes them in.
fn no_child_is_left() {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    assert_eq!(waitid(WaitId::All, options).err(), Some(Errno::CHILD), "outlived its sandbox");
}

fn nobody_runs(program: &str) {
    for _ in 0..LOOKS {
        assert!(threads(program).is_empty(), "outlived its sandbox: {:?}", threads(program));
    }
}

/// Starts one and waits until it has said this.
async fn started(place: &Arc<dyn Place>, command: &[&str], word: &str) -> Program<PipeIo> {
    let mut program = place.exec(&session(command)).await.unwrap();
    let mut said = String::new();
    while !said.contains(word) {
        let byte = program.io.stdout.read_u8().await;
        said.push(char::from(byte.unwrap_or_else(|_| panic!("no {word:?}: {said:?}"))));
    }
    program
}

/// Starts one that gets loose, and waits until the one that was started is gone.
async fn loose(place: &Arc<dyn Place>, program: &str, kind: &str) {
    let started = started(place, &[program, kind, "loose"], "up").await;
    started.exit.await.unwrap();
}

/// Plays one that gets loose in a sandbox that is then removed.
fn ends_with_its_sandbox(test: &str, kind: &str) {
    on_stage(&format!("hostile_processes::{test}"), |stage| async move {
        let Some(program) = built(&stage).filter(|_| !stage.by_root) else { return };
        let ground = stage.ground();
        let spec = of_grade(&stage, Isolation::Landlock);
        let place = stage.try_place(&ground, &spec).await.unwrap();
        loose(&place, &program, kind).await;
        soon("somebody who hides", || !threads(&program).is_empty()).await;
        place.remove().await.unwrap();
        nobody_runs(&program);
        no_child_is_left();
        nothing_is_left(&stage, &ground).await;
    });
}

#[test]
fn a_thread_without_its_first_ends_with_its_sandbox() {
    ends_with_its_sandbox("a_thread_without_its_first_ends_with_its_sandbox", "thread");
}

#[test]
fn a_process_whose_name_is_no_text_ends_with_its_sandbox() {
    ends_with_its_sandbox("a_process_whose_name_is_no_text_ends_with_its_sandbox", "name");
}

#[test]
fn a_process_that_is_always_another_ends_with_its_sandbox() {
    ends_with_its_sandbox("a_process_that_is_always_another_ends_with_its_sandbox", "comet");
}

#[test]
fn who_hides_and_killed_the_first_process_ends_too() {
    let name = "hostile_processes::who_hides_and_killed_the_first_process_ends_too";
    on_stage(name, |stage| async move {
        let Some(program) = built(&stage).filter(|_| !stage.by_root) else { return };
        for kind in KINDS {
            let place = stage.place(&of_grade(&stage, Isolation::Landlock)).await;
            loose(&place, &program, kind).await;
            let killer = session(&["sh", "-c", "kill -9 $PPID"]);
            let killer = place.exec(&killer).await.unwrap();
            place.gone().await;
            drop(killer);
            nobody_runs(&program);
            no_child_is_left();
            place.remove().await.unwrap();
        }
    });
}

#[test]
fn who_is_hidden_from_its_own_user_ends_too() {
    let name = "hostile_processes::who_is_hidden_from_its_own_user_ends_too";
    let scenario = |stage: Stage| async move {
        let Some(program) = built(&stage) else { return };
        let place = stage.place(&of_grade(&stage, Isolation::Landlock)).await;
        loose(&place, &program, "private").await;
        let hidden = async || threads(&program).is_empty().then_some(());
        crate::given::found("it is hidden", hidden).await;
        place.remove().await.unwrap();
        no_child_is_left();
    };
    if !rustix::process::geteuid().is_root() && std::env::var_os("SANDWATCH_TEST_STAGE").is_none() {
        return not_on_this_host("the right to hide processes");
    }
    let hide = "mount -t proc -o hidepid=2 proc /proc";
    on_changed_stage(name, Before::Root(hide), scenario);
}

#[test]
fn who_can_not_look_does_not_say_that_nobody_is_there() {
    let name = "hostile_processes::who_can_not_look_does_not_say_that_nobody_is_there";
    on_stage(name, |stage| async move {
        let Some(program) = built(&stage).filter(|_| !stage.by_root) else { return };
        let ground = stage.ground();
        let spec = of_grade(&stage, Isolation::Landlock);
        let place = stage.try_place(&ground, &spec).await.unwrap();
        loose(&place, &program, "thread").await;
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..before }).unwrap();
        let used_up = || {
            let files = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok());
            files.collect::<Vec<_>>()
        };
        // What was made can't be read without any.
        let all = used_up();
        assert!(Local.reap(&ground).await.is_err(), "{} descriptors are used", all.len());
        drop(all);
        assert!(!threads(&program).is_empty(), "nothing is left to find");
        // With one the first process can be ended, and nobody else be looked for; who watches it may do so meanwhile.
        let mut all = used_up();
        all.pop();
        assert!(Local.reap(&ground).await.is_err(), "{} descriptors are used", all.len());
        drop(all);
        Local.reap(&ground).await.unwrap();
        nobody_runs(&program);
        place.remove().await.unwrap();
    });
}

/// Holds a sandbox with one who hides in it until killed; does nothing unless the next test calls it.
#[test]
fn a_holder_to_be_killed() {
    let Ok(held) = std::env::var("SANDWATCH_TEST_HOLD_HIDDEN") else { return };
    on_stage("hostile_processes::a_holder_to_be_killed", |stage| {
        let directory = PathBuf::from(&held);
        async move {
            let program = stage.workspace.join("hostile").display().to_string();
            let spec = of_grade(&stage, Isolation::Landlock);
            let place = stage.try_place(&held_in(&directory), &spec).await.unwrap();
            let first = crate::local_stage::sh(&place, "echo $PPID").await;
            let kind = std::env::var("SANDWATCH_TEST_KIND").unwrap();
            loose(&place, &program, &kind).await;
            std::fs::write(stage.home.join("first"), format!("{first}.")).unwrap();
            std::future::pending::<()>().await;
        }
    });
}

fn held_in(directory: &Path) -> Ground {
    let id = directory.file_name().unwrap().to_str().unwrap();
    let id = SandboxId::parse(id).unwrap();
    Ground { id, name: "held".to_owned(), dir: directory.to_owned(), from: None }
}

fn number(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

#[test]
fn who_hides_from_a_killed_shim_ends_too() {
    on_stage("hostile_processes::who_hides_from_a_killed_shim_ends_too", |stage| async move {
        let Some(program) = built(&stage).filter(|_| !stage.by_root) else { return };
        for (at, kind) in KINDS.into_iter().enumerate() {
            for first_too in [false, true] {
                let directory = stage.home.join(format!("state/h{at}{first_too}"));
                let note = stage.home.join("first");
                let mut holder = Command::new("/proc/self/exe")
                    .args(["--exact", "hostile_processes::a_holder_to_be_killed", "--nocapture"])
                    .env("SANDWATCH_TEST_HOLD_HIDDEN", &directory)
                    .env("SANDWATCH_TEST_KIND", kind)
                    .spawn()
                    .unwrap();
                let read = || std::fs::read_to_string(&note).unwrap_or_default();
                soon("a sandbox", || read().ends_with('.')).await;
                let first: u32 = read().trim_end_matches('.').parse().unwrap();
                std::fs::remove_file(&note).unwrap();
                if first_too {
                    // So that it can't do what it has to when the first process dies.
                    kill_process(number(holder.id()), Signal::STOP).unwrap();
                    kill_process(number(first), Signal::KILL).unwrap();
                }
                holder.kill().unwrap();
                holder.wait().unwrap();
                Local.reap(&held_in(&directory)).await.unwrap();
                nobody_runs(&program);
                Local.sweep(&held_in(&directory)).await.unwrap();
            }
        }
    });
}

#[test]
fn who_hides_is_paused_too() {
    on_stage("hostile_processes::who_hides_is_paused_too", |stage| async move {
        let Some(program) = built(&stage).filter(|_| !stage.by_root) else { return };
        for grade in [Isolation::Namespaces, Isolation::Landlock] {
            for kind in ["thread", "name"] {
                let ground = stage.ground();
                let place = stage.try_place(&ground, &of_grade(&stage, grade)).await.unwrap();
                if groups_of(&ground) > 0 {
                    not_on_this_host("a sandbox that no control group freezes");
                    return place.remove().await.unwrap();
                }
                let held = started(&place, &[&program, kind], "up").await;
                let wanted = if kind == "thread" { 2 } else { 1 };
                soon("all that run", || threads(&program).len() == wanted).await;
                place.pause().await.unwrap();
                let states = threads(&program);
                assert!(states.len() == wanted && states.iter().all(|it| *it == 'T'), "{states:?}");
                place.resume().await.unwrap();
                soon("all to go on", || !threads(&program).contains(&'T')).await;
                place.remove().await.unwrap();
                nobody_runs(&program);
                drop(held);
            }
            let place = stage.place(&of_grade(&stage, grade)).await;
            loose(&place, &program, "comet").await;
            match place.pause().await {
                // One that was about to end when it was stopped is there beside its child.
                Ok(()) => (0..LOOKS).for_each(|_| {
                    let states = threads(&program);
                    assert!(!states.is_empty() && states.iter().all(|it| *it == 'T'), "{states:?}");
                }),
                Err(fault) => assert_eq!(fault.kind(), Kind::Busy, "{fault}"),
            }
            place.remove().await.unwrap();
            nobody_runs(&program);
        }
    });
}

#[test]
fn who_hides_ends_when_nobody_waits_for_it_any_more() {
    let name = "hostile_processes::who_hides_ends_when_nobody_waits_for_it_any_more";
    on_stage(name, |stage| async move {
        let Some(program) = built(&stage) else { return };
        for grade in [Isolation::Namespaces, Isolation::Landlock] {
            if stage.by_root && grade == Isolation::Landlock {
                continue;
            }
            let place = stage.place(&of_grade(&stage, grade)).await;
            for kind in ["thread", "name"] {
                let held = started(&place, &[&program, kind], "up").await;
                drop(held);
                soon("its end", || threads(&program).is_empty()).await;
            }
            place.remove().await.unwrap();
        }
    });
}

#[test]
fn a_crowd_that_leaves_no_room_is_ended() {
    const MOST: u64 = 60;
    on_own_stage("hostile_processes::a_crowd_that_leaves_no_room_is_ended", |stage| async move {
        let Some(program) = built(&stage) else { return };
        if crate::local_stage::OWN_USER != rustix::process::geteuid().as_raw() {
            not_on_this_host("a user without other processes");
            return;
        }
        setrlimit(Resource::Nproc, Rlimit { current: Some(MOST), maximum: Some(MOST) }).unwrap();
        for grade in [Isolation::Namespaces, Isolation::Landlock] {
            let place = stage.place(&of_grade(&stage, grade)).await;
            let crowd = started(&place, &[&program, "crowd"], "full").await;
            std::thread::Builder::new().spawn(|| ()).unwrap_err();
            match place.pause().await {
                Ok(()) => place.resume().await.unwrap(),
                Err(fault) => assert_eq!(fault.kind(), Kind::Busy, "{fault}"),
            }
            place.stop(Duration::from_millis(100)).await.unwrap();
            nobody_runs(&program);
            place.remove().await.unwrap();
            drop(crowd);
            let ground = stage.ground();
            let place = stage.try_place(&ground, &of_grade(&stage, grade)).await.unwrap();
            let crowd = started(&place, &[&program, "crowd"], "full").await;
            place.remove().await.unwrap();
            nobody_runs(&program);
            nothing_is_left(&stage, &ground).await;
            drop(crowd);
        }
    });
}
