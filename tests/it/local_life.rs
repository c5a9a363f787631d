//! How a local sandbox is paused, limited, ended and cleaned away.

use std::{path::Path, sync::Arc, time::Duration};

use sandwatch::{
    base::fault::Kind,
    driver::{Driver, Ground, Place, local::Local},
    model::{
        sandbox::{Isolation, WorkspaceMode},
        session::ExitStatus,
    },
};

use tokio::io::AsyncBufReadExt;

use crate::given::alive;
use crate::local_stage::{
    Before, Stage, exists, on_changed_stage, on_stage, run, session, sh, soon, type_in, until,
};

pub(crate) fn groups_of(ground: &Ground) -> usize {
    let name = format!("sandwatch-{}", ground.id);
    let mut found = 0;
    let mut next = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = next.pop() {
        for item in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if item.file_type().is_ok_and(|it| it.is_dir()) {
                found += usize::from(item.file_name().to_string_lossy().starts_with(&name));
                next.push(item.path());
            }
        }
    }
    found
}

pub(crate) async fn nothing_is_left(stage: &Stage, ground: &Ground) {
    assert!(!exists(&ground.dir));
    assert_eq!(groups_of(ground), 0);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&stage.home.display().to_string()), "{mounts}");
    soon("an empty trash", || !exists(&stage.home.join("state/.trash"))).await;
}

#[test]
fn a_pause_keeps_every_line_in_order() {
    on_stage("local_life::a_pause_keeps_every_line_in_order", |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let mut program = place.spawn(&session(&["/bin/bash", "--norc", "-i"])).await.unwrap();
        type_in(&mut program.io, "python3 -c 'import time\nfor i in range(400): print(f\"line-{i:03}-\", flush=True); time.sleep(0.002)\n'; stty size; echo all-$((1+1))\n").await;
        let mut text = until(&mut program.io, "line-020-").await;
        place.pause().await.unwrap();
        place.pause().await.unwrap();
        let pid = program.pid.unwrap();
        let ticks = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2).collect::<String>()
        };
        let before = ticks();
        assert_eq!(place.exec(&session(&["true"])).await.err().unwrap().kind(), Kind::Busy);
        (program.io.resize)(sandwatch::base::units::Size::clamped(120, 40)).unwrap();
        assert_eq!(ticks(), before);
        place.resume().await.unwrap();
        text += &until(&mut program.io, "all-2").await;
        assert!(text.contains("40 120") && !text.contains("Stopped"), "{text}");
        let mut rest = text.as_str();
        for number in 0..400 {
            let wanted = format!("line-{number:03}-\r\n");
            let at = rest.find(&wanted).unwrap_or_else(|| panic!("no {wanted:?} in order: {text}"));
            rest = &rest[at + wanted.len()..];
        }
        place.remove().await.unwrap();
    });
}

#[test]
fn a_job_that_was_put_aside_stays_so_after_a_pause() {
    on_stage("local_life::a_job_that_was_put_aside_stays_so_after_a_pause", |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        // Its parent lives on: jobs of a shell that has ended are woken by the kernel.
        let script = "sleep 1000 & job=$!
            until grep -q sleep /proc/$job/comm; do :; done; kill -STOP $job
            sleep 1000 & until grep -q sleep /proc/$!/comm; do :; done; echo $job $!; wait";
        let program = place.exec(&session(&["/bin/sh", "-c", script])).await.unwrap();
        let mut line = String::new();
        tokio::io::BufReader::new(program.io.stdout).read_line(&mut line).await.unwrap();
        let [aside, running] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        for _ in 0..2 {
            place.pause().await.unwrap();
            place.pause().await.unwrap();
            place.resume().await.unwrap();
            let states = format!("cut -d ' ' -f 3 /proc/{aside}/stat /proc/{running}/stat");
            // What was woken may be on its way to sleep.
            let mut seen = String::new();
            for _ in 0..100 {
                seen = sh(&place, &states).await;
                if seen != "T\nR" {
                    break;
                }
            }
            assert_eq!(seen, "T\nS");
        }
        place.remove().await.unwrap();
    });
}

#[test]
fn a_paused_sandbox_can_be_ended_and_leaves_nothing() {
    on_stage("local_life::a_paused_sandbox_can_be_ended_and_leaves_nothing", |stage| async move {
        let ground = stage.ground();
        let place = stage.try_place(&ground, &stage.spec(WorkspaceMode::Cow)).await.unwrap();
        let program = place.spawn(&session(&["sleep", "1000"])).await.unwrap();
        sh(
            &place,
            "mkdir -p deep/er; echo x > deep/er/file; (setsid sleep 1000 >/dev/null 2>&1 &)",
        )
        .await;
        let pid = program.pid.unwrap();
        assert!(alive(pid));
        place.pause().await.unwrap();
        place.stop(Duration::from_secs(5)).await.unwrap();
        assert!(!alive(pid));
        assert!(exists(&ground.dir));
        assert!(place.exec(&session(&["true"])).await.is_err());
        place.remove().await.unwrap();
        nothing_is_left(&stage, &ground).await;
    });
}

#[test]
fn a_stop_is_polite_first() {
    on_stage("local_life::a_stop_is_polite_first", |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Rw)).await;
        let mut one = place
            .spawn(&session(&[
                "sh",
                "-c",
                "trap 'echo bye > said; exit 5' TERM; echo up; while :; do sleep 0.05; done",
            ]))
            .await
            .unwrap();
        until(&mut one.io, "up").await;
        place.stop(Duration::from_secs(20)).await.unwrap();
        assert_eq!(std::fs::read_to_string(stage.workspace.join("said")).unwrap(), "bye\n");
        assert_eq!(one.exit.await.unwrap(), ExitStatus::Code(5));
        place.remove().await.unwrap();
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let mut deaf = place
            .spawn(&session(&[
                "sh",
                "-c",
                "trap '' TERM HUP; echo up; while :; do sleep 0.05; done",
            ]))
            .await
            .unwrap();
        until(&mut deaf.io, "up").await;
        place.stop(Duration::from_millis(200)).await.unwrap();
        assert!(!alive(deaf.pid.unwrap()));
        place.remove().await.unwrap();
    });
}

#[test]
fn a_sandbox_that_dies_by_itself_says_so() {
    on_stage("local_life::a_sandbox_that_dies_by_itself_says_so", |stage| async move {
        let place = stage.place(&stage.spec(WorkspaceMode::Cow)).await;
        let program = place.exec(&session(&["sleep", "1000"])).await.unwrap();
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", program.pid.unwrap())).unwrap();
        let init = status.lines().find_map(|it| it.strip_prefix("PPid:")).unwrap().trim();
        let init = rustix::process::Pid::from_raw(init.parse().unwrap()).unwrap();
        rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
        assert!(place.gone().await.contains("killed"));
        assert!(program.exit.await.is_err());
        place.remove().await.unwrap();
    });
}

#[test]
fn limits_hold() {
    on_stage("local_life::limits_hold", |stage| async move {
        let mut spec = stage.spec(WorkspaceMode::Cow);
        spec.limits.pids = Some(20);
        let place = stage.place(&spec).await;
        let fork = "import os\nn = 0\ntry:\n  while n < 200:\n    if os.fork() == 0:\n      import time; os.close(1); os.close(2); time.sleep(30); os._exit(0)\n    n += 1\nexcept OSError as e: print(e.errno, n < 25, flush=True)\nos._exit(0)";
        let text = run(&place, &["/usr/bin/python3", "-c", fork]).await.0;
        assert_eq!(text.trim(), "11 True", "pids");
        place.remove().await.unwrap();

        let mut spec = stage.spec(WorkspaceMode::Cow);
        spec.limits.memory_bytes = Some(64 << 20);
        let place = stage.place(&spec).await;
        let (text, status) =
            run(&place, &["/usr/bin/python3", "-c", "x = bytearray(200 << 20); print(len(x))"])
                .await;
        assert!(status != ExitStatus::Code(0) && !text.contains("209715200"), "{text} {status:?}");
        assert_eq!(sh(&place, "echo still here").await, "still here");
        place.remove().await.unwrap();

        let mut spec = stage.spec(WorkspaceMode::Cow);
        spec.limits.cpus = Some(0.2);
        match stage.try_place(&stage.ground(), &spec).await {
            Ok(place) => {
                let burn = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nprint(time.process_time() < 0.8)";
                assert_eq!(run(&place, &["/usr/bin/python3", "-c", burn]).await.0.trim(), "True");
                place.remove().await.unwrap();
            }
            Err(fault) => {
                assert!(!stage.by_root, "{fault}");
                assert!(
                    fault.kind() == Kind::Unsupported && fault.hint_text().is_some(),
                    "{fault}"
                );
            }
        }
    });
}

#[test]
fn a_failed_creation_undoes_everything() {
    on_stage("local_life::a_failed_creation_undoes_everything", |stage| async move {
        // Fails before anything is built.
        let mut spec = stage.spec(WorkspaceMode::Cow);
        spec.workspace.path = stage.home.join("gone");
        let ground = stage.ground();
        let fault = stage.try_place(&ground, &spec).await.err().unwrap();
        assert_eq!(fault.kind(), Kind::Absent, "{fault}");
        assert!(!exists(&ground.dir.join("box")) && groups_of(&ground) == 0);
        for bad in ["/", "/etc", "/proc", stage.home.join("state").to_str().unwrap()] {
            spec.workspace.path = Path::new(bad).to_owned();
            let ground = stage.ground();
            let fault = stage.try_place(&ground, &spec).await.err().unwrap();
            assert_eq!(fault.kind(), Kind::Invalid, "{fault}");
            assert!(!exists(&ground.dir.join("box")) && groups_of(&ground) == 0);
        }
        // Fails while its directory is prepared.
        let spec = stage.spec(WorkspaceMode::Cow);
        let ground = stage.ground();
        std::fs::create_dir_all(&ground.dir).unwrap();
        std::fs::write(ground.dir.join("box"), "in the way").unwrap();
        let fault = stage.try_place(&ground, &spec).await.err().unwrap();
        assert!(fault.message().contains("preparing"), "{fault}");
        assert_eq!(groups_of(&ground), 0);
    });
}

#[test]
fn twenty_sandboxes_live_at_once() {
    on_stage("local_life::twenty_sandboxes_live_at_once", |stage| async move {
        let mut places: Vec<(Ground, Arc<dyn Place>)> = Vec::new();
        for _ in 0..20 {
            let ground = stage.ground();
            let place = stage.try_place(&ground, &stage.spec(WorkspaceMode::Cow)).await.unwrap();
            places.push((ground, place));
        }
        for (number, (_, place)) in places.iter().enumerate() {
            assert_eq!(
                sh(place, &format!("echo {number} > mine; cat mine")).await,
                number.to_string()
            );
        }
        for (_, place) in &places {
            place.remove().await.unwrap();
        }
        for (ground, _) in &places {
            nothing_is_left(&stage, ground).await;
        }
    });
}

/// Holds a sandbox until killed; does nothing unless the next test calls it.
#[test]
fn a_holder_to_be_killed() {
    let Ok(directory) = std::env::var("SANDWATCH_TEST_HOLD") else { return };
    on_stage("local_life::a_holder_to_be_killed", |stage| {
        let directory = std::path::PathBuf::from(&directory);
        async move {
            let ground = ground_of(&directory);
            let place = stage.try_place(&ground, &stage.spec(WorkspaceMode::Cow)).await.unwrap();
            let program = place.spawn(&session(&["sleep", "1000"])).await.unwrap();
            if directory.ends_with("paused") {
                place.pause().await.unwrap();
            }
            std::fs::write(stage.home.join("pid"), program.pid.unwrap().to_string()).unwrap();
            std::future::pending::<()>().await;
        }
    });
}

fn ground_of(directory: &Path) -> Ground {
    let id = directory.file_name().unwrap().to_str().unwrap();
    let id = sandwatch::base::id::SandboxId::parse(id).unwrap();
    Ground { id, name: "held".to_owned(), dir: directory.to_owned(), from: None }
}

#[test]
fn what_a_killed_shim_left_is_swept() {
    on_stage("local_life::what_a_killed_shim_left_is_swept", |stage| async move {
        for name in ["running", "paused"] {
            let directory = stage.home.join("state").join(name);
            let note = stage.home.join("pid");
            let mut holder = std::process::Command::new("/proc/self/exe")
                .args(["--exact", "local_life::a_holder_to_be_killed", "--nocapture"])
                .env("SANDWATCH_TEST_HOLD", &directory)
                .spawn()
                .unwrap();
            soon("a sandbox", || std::fs::read_to_string(&note).is_ok_and(|it| !it.is_empty()))
                .await;
            let pid: u32 = std::fs::read_to_string(&note).unwrap().parse().unwrap();
            std::fs::remove_file(&note).unwrap();
            assert!(alive(pid));
            holder.kill().unwrap();
            holder.wait().unwrap();
            let ground = ground_of(&directory);
            Local.sweep(&ground).await.unwrap();
            soon("the end of its programs", || !alive(pid)).await;
            nothing_is_left(&stage, &ground).await;
            Local.sweep(&ground).await.unwrap();
        }
    });
}

#[test]
fn what_can_not_be_deleted_keeps_nothing_else() {
    let name = "local_life::what_can_not_be_deleted_keeps_nothing_else";
    // Twenty places in the way, so that whatever comes first, some of the rest comes after one of them.
    let before = "cd \"$HOME/state\"; for it in $(seq 20); do mkdir -p .trash/stuck$it .trash/more$it/deep; \
                  mount -t tmpfs none .trash/stuck$it; : >.trash/stuck$it/file; done";
    on_changed_stage(name, Before::Owner(before), |stage| async move {
        let state = stage.home.join("state");
        Local.tidy(&state);
        let left = || {
            let names = std::fs::read_dir(state.join(".trash")).unwrap();
            let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
            names.filter(|it| !it.starts_with("stuck")).count()
        };
        soon("the end of the rest", || left() == 0).await;
    });
}

#[test]
fn the_grade_without_namespaces_holds_what_it_promises() {
    let name = "local_life::the_grade_without_namespaces_holds_what_it_promises";
    on_stage(name, |stage| async move {
        let mut spec = stage.spec(WorkspaceMode::Rw);
        spec.isolation = Some(Isolation::Landlock);
        let ground = stage.ground();
        let place = match stage.try_place(&ground, &spec).await {
            Err(fault) if stage.by_root => {
                assert_eq!(fault.kind(), Kind::Unsupported, "{fault}");
                return;
            }
            other => other.unwrap(),
        };
        assert_eq!(place.facts().isolation, Some(Isolation::Landlock));
        let secret = format!("cat {}/secret 2>/dev/null || echo hidden", stage.home.display());
        assert_eq!(sh(&place, &secret).await, "hidden");
        assert_eq!(sh(&place, "ls /tmp /root /home 2>/dev/null | wc -l").await, "0");
        assert_eq!(sh(&place, "echo w > new && cat new").await, "w");
        assert_eq!(sh(&place, "echo t > $TMPDIR/t && cat $HOME/tmp/t").await, "t");
        let out = "import socket\nfor f in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):\n  try: socket.socket(f); print('OUT')\n  except OSError as e: print(e.errno)";
        assert_eq!(run(&place, &["/usr/bin/python3", "-c", out]).await.0, "1\n1\n1\n");
        let mut program = place.spawn(&session(&["/bin/bash", "--norc"])).await.unwrap();
        type_in(&mut program.io, "tty; sleep 1000 & echo here-$((1+1))\n").await;
        let text = until(&mut program.io, "here-2").await;
        assert!(text.contains("/dev/pts/"), "{text}");
        place.pause().await.unwrap();
        place.resume().await.unwrap();
        type_in(&mut program.io, "echo again-$((1+1))\n").await;
        until(&mut program.io, "again-2").await;
        place.remove().await.unwrap();
        assert!(!alive(program.pid.unwrap()));
        nothing_is_left(&stage, &ground).await;
        spec.workspace.mode = WorkspaceMode::Cow;
        let fault = stage.try_place(&stage.ground(), &spec).await.err().unwrap();
        assert!(fault.kind() == Kind::Unsupported && fault.hint_text().is_some());
    });
}

#[test]
fn doctor_tries_what_it_names() {
    on_stage("local_life::doctor_tries_what_it_names", |stage| async move {
        let checks = Local.probe().await;
        let names: Vec<&str> = checks.iter().map(|it| it.check.as_str()).collect();
        for name in [
            "isolation.namespaces",
            "isolation.landlock",
            "isolation.seccomp",
            "limits.cpu",
            "pause",
        ] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert_eq!(names.contains(&"workspace.mapped_mounts"), stage.by_root);
        for check in checks {
            assert!(!check.detail.is_empty(), "{check:?}");
        }
    });
}
