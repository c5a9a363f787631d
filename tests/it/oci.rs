//! Sandboxes that an OCI runtime holds: what only these can do wrong. What all must do is in `driver_suite`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use sandwatch::{
    base::fault::Kind,
    model::sandbox::{Isolation, SandboxSpec, WorkspaceMode},
};

use crate::{
    crash_support::{Home, alive, eventually, kill, said, tree},
    image_forms,
    local_stage::on_own_stage,
    runtimes,
};

/// Plays with each grade that there is here.
fn each(scenario: impl Fn(&Home, &str)) {
    for grade in [Isolation::Oci, Isolation::Gvisor] {
        if let Some(skip) = runtimes::reason(grade) {
            skip();
            continue;
        }
        let it = Home::new();
        scenario(&it, grade.word());
        it.end();
    }
}

fn run(it: &Home, grade: &str, name: &str, more: &[&str], script: &str) {
    let project = format!("{}:rw", it.project().display());
    let words = ["run", "-d", "--name", name, "--isolation", grade, "--workspace", &project];
    it.ok(&[&words[..], &["--egress", "deny"], more, &["--", "sh", "-c", script]].concat());
}

#[test]
fn no_program_ends_the_first_process() {
    each(|it, grade| {
        run(it, grade, "kept", &[], "kill -9 1; kill 1; kill -9 -1; echo still; sleep 1000");
        it.printed("kept", "still");
        it.ok(&["exec", "kept", "--", "true"]);
        assert_eq!(it.sandbox("kept")["state"], "running");
    });
}

/// A sandbox over a root file system, whose programs are its root.
fn over_image(it: &Home, grade: &str, script: &str) {
    let image = image_forms::root(it.temp());
    let image = image.to_str().unwrap();
    let project = format!("{}:cow", it.project().display());
    let words = ["run", "-d", "--name", "over", "--isolation", grade, "--workspace", &project];
    it.ok(&[&words[..], &["--image", image, "--", "sh", "-c", script]].concat());
}

#[test]
fn roots_programs_over_an_image_have_no_rights_and_end_no_first_process() {
    if !image_forms::can() {
        return;
    }
    each(|it, grade| {
        over_image(it, grade, "kill -9 1; kill 1; kill -9 -1; tty; echo still; sleep 1000");
        it.printed("over", "still");
        let look = "id -u; echo $HOME; pwd; ls -a /; cat /proc/self/status; echo x > made; \
                    touch ~/t /etc/t /srv/t && stat -c %u ~/t /etc/t";
        let seen = it.ok(&["exec", "over", "--", "sh", "-c", look]);
        let project = it.project();
        assert!(seen.starts_with(&format!("0\n/root\n{}\n", project.display())), "{seen}");
        assert!(seen.contains("CapEff:\t0000000000000000"), "{seen}");
        assert!(seen.ends_with("0\n0\n") && !project.join("made").exists(), "{seen}");
        assert_eq!(it.sandbox("over")["state"], "running");
        // To this machine they are nobody's root.
        for pid in tree(it.shim_of("over")) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let uid = status.lines().find(|it| it.starts_with("Uid:")).unwrap_or("Uid:\t-");
            assert!(!words.starts_with(b"sleep") || !uid.starts_with("Uid:\t0\t"), "{status}");
        }
    });
}

#[test]
fn what_a_program_puts_where_the_runtime_mounts_leads_out_of_no_container() {
    if !image_forms::can() {
        return;
    }
    each(|it, grade| {
        over_image(it, grade, "echo up; sleep 1000");
        it.printed("over", "up");
        let diff = it.ok(&["diff", "over", "--system", "--stat"]);
        assert_eq!(diff.trim(), "", "what begins with an image has changed nothing");
        // What is mounted on can't be taken away; where there is nothing mounted, a link is left.
        let script = "rm -f /.sandwatch-init; for d in tmp dev proc sys; do rm -rf /$d 2>/dev/null; \
                      ln -s / /$d 2>/dev/null; done; readlink /tmp || true";
        let left = it.ok(&["exec", "over", "--", "sh", "-c", script]);
        it.ok(&["snapshot", "create", "over", "--name", "trap"]);
        let said = it.say(&["fork", "trap", "--name", "two", "--json"]);
        if left.trim() == "/" {
            assert_ne!(said.code, 0, "{said:?}");
            assert!(said.err.contains("a link is in the way"), "{said:?}");
        } else {
            assert_eq!(said.code, 0, "{said:?}");
            let root =
                it.ok(&["exec", "two", "--", "sh", "-c", "cat /tmp/etc/debian_version; ls /"]);
            assert!(root.contains("srv"), "{root}");
        }
    });
}

const FAMILY: &str = "sleep 1000 & setsid sleep 1000 & echo up; wait";

#[test]
fn a_killed_shim_takes_its_container_along_and_nothing_stays() {
    each(|it, grade| {
        run(it, grade, "doomed", &[], FAMILY);
        it.printed("doomed", "up");
        let id = it.sandbox("doomed")["id"].as_str().unwrap().to_owned();
        let shim = it.shim_of("doomed");
        let family = tree(shim);
        assert!(family.len() >= 4, "shim, keeper, first process and program: {family:?}");
        kill(shim);
        eventually("its processes are gone", || !family.iter().any(|pid| alive(*pid)));
        eventually("it has failed", || it.sandbox("doomed")["state"] == "failed");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&id), "{mounts}");
    });
}

#[test]
fn a_container_that_ends_by_itself_is_told() {
    each(|it, grade| {
        run(it, grade, "ended", &[], "echo up; sleep 1000");
        it.printed("ended", "up");
        let words =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let holds = |pid: &u32| {
            words(pid).starts_with("/.sandwatch-init") || words(pid).starts_with("runsc-sandbox")
        };
        let first: Vec<u32> = tree(it.shim_of("ended")).into_iter().filter(holds).collect();
        kill(*first.first().unwrap());
        eventually("it has ended", || it.sandbox("ended")["state"] != "running");
        assert_eq!(it.session("ended")["status"], "exited");
    });
}

#[test]
fn who_hangs_up_on_a_program_ends_it_with_its_session() {
    each(|it, grade| {
        run(it, grade, "held", &[], "echo up; sleep 1000");
        it.printed("held", "up");
        let script = "sleep 4321 & echo going; wait";
        let out = it.temp().join("out");
        let mut cut = it.begin(&["exec", "held", "--", "sh", "-c", script], &out);
        eventually("it goes", || fs::read_to_string(&out).is_ok_and(|it| it.contains("going")));
        // Not by the signal that nobody passes on: it is a child of a program with a deadline.
        let timed = rustix::process::Pid::from_child(&cut);
        rustix::process::kill_process(timed, rustix::process::Signal::TERM).unwrap();
        cut.wait().unwrap();
        // By what the sandbox itself sees: its processes need not be any of this kernel's.
        let count =
            "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep [4]321 ' || true";
        eventually("its job is gone", || {
            it.ok(&["exec", "held", "--", "sh", "-c", count]).trim() == "0"
        });
        assert_ne!(it.session("held")["status"], "exited");
    });
}

#[test]
fn limits_hold_or_are_refused_in_words() {
    each(|it, grade| {
        let eat = "python3 -c 'bytearray(600 << 20)'; echo rc $?; sleep 1000";
        run(it, grade, "small", &["--memory", "200M"], eat);
        // The kernel of gVisor is in the group too, and goes with it.
        eventually("it hit its limit", || {
            it.recorded("small").contains("rc 137") || it.session("small")["status"] == "exited"
        });
        if grade == "gvisor" {
            let said = it.say(&["run", "-d", "--isolation", grade, "--pids", "20", "--", "true"]);
            assert_eq!(said.code, 5, "{said:?}");
        } else {
            let fork = "for i in $(seq 200); do sleep 1000 & done; echo never";
            run(it, grade, "few", &["--pids", "20"], fork);
            it.printed("few", "[Cc]annot fork");
        }
    });
}

#[test]
fn no_file_that_runs_as_its_owner_comes_into_the_real_directory() {
    each(|it, grade| {
        let make = "cp /bin/true t; chmod 4755 t; chmod 2755 t; echo done";
        run(it, grade, "made", &[], make);
        it.printed("made", "done");
        let mode = fs::metadata(it.project().join("t")).unwrap().permissions().mode();
        assert_eq!(mode & 0o6000, 0, "{mode:o}");
    });
}

#[test]
fn an_ordinary_user_is_refused_in_words() {
    on_own_stage("oci::an_ordinary_user_is_refused_in_words", |stage| async move {
        for grade in [Isolation::Oci, Isolation::Gvisor] {
            let spec = SandboxSpec { isolation: Some(grade), ..stage.spec(WorkspaceMode::Cow) };
            let ground = stage.ground();
            let Err(fault) = stage.try_place(&ground, &spec).await else { panic!("it was made") };
            assert_eq!(fault.kind(), Kind::Unsupported);
            assert!(fault.message().contains("ordinary user"), "{fault}");
            assert!(!Path::new(&ground.dir).join("box").exists());
        }
    });
}

#[test]
fn a_trial_of_a_runtime_that_hangs_is_told_in_time_and_ends_with_its_hub() {
    if !rustix::process::geteuid().is_root() {
        return crate::skip::not_on_this_host("root");
    }
    let it = Home::new();
    // In no place that the keeper hides, wherever this is built.
    let tools = tempfile::tempdir_in("/var/tmp").unwrap();
    let runc = tools.path().join("runc");
    fs::write(&runc, "#!/bin/sh\nsleep 1000\n").unwrap();
    fs::set_permissions(&runc, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.path().display(), std::env::var("PATH").unwrap());
    let with_it = |mut verb: Command| {
        verb.env("PATH", &path).env("TMPDIR", it.temp());
        verb
    };
    assert_eq!(said(with_it(it.verb(&["ls"]))).code, 0);
    let hub = it.hub_pid();
    let quiet = Stdio::null;
    let ask = || with_it(it.verb(&["doctor"])).stdout(quiet()).stderr(quiet()).spawn().unwrap();
    let mut asks = ask();
    let words = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let hangs = |pid: &u32| words(pid).contains(runc.to_str().unwrap());
    eventually("it hangs", || {
        // On a busy machine the time of a trial may be over before its runtime has begun.
        if asks.try_wait().unwrap().is_some() {
            asks = ask();
        }
        tree(hub).iter().any(hangs)
    });
    let family: Vec<u32> = tree(hub).into_iter().filter(|pid| *pid != hub).collect();
    // Another check's program may have ended by now, and what was just forked lets go first.
    let holds = |pid: &u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        let mut open = open.filter_map(|it| fs::read_link(it.ok()?.path()).ok());
        open.any(|at| at.starts_with(it.home()))
    };
    eventually("none holds what is the hub's", || !family.iter().any(holds));
    kill(hub);
    eventually("all of it is gone", || !family.iter().any(|pid| alive(*pid)));
    asks.wait().unwrap();
    // Another hub tries it to the end.
    let checks = said(with_it(it.verb(&["doctor", "--json"])));
    let checks: serde_json::Value = serde_json::from_str(&checks.text()).unwrap();
    let checks = checks.as_array().unwrap();
    let told = checks.iter().find(|it| it["check"] == "isolation.oci").unwrap();
    assert_eq!(told["status"], "missing", "{told}");
    assert!(told["detail"].as_str().unwrap().contains("in time"), "{told}");
    it.end();
}
