//! Whether `runc` and `runsc` are here and work, found by making a small sandbox with each and running a
//! program in it; for `doctor`.

use std::{
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::PathBuf,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid},
};

use super::{Plan, Runtime, check, launch, plan};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{RUNTIME_WITHIN, RUNTIME_WORDS_BYTES_MAX},
        text,
        units::Size,
    },
    driver::{
        Ground,
        local::{
            hierarchy::Layout,
            identity::Identity,
            link::memory_file,
            lockdown::ProcessBounds,
            message::{Description, On, Order, Report, Word, receive, send},
            namespaces::pair,
            sys,
        },
    },
    model::{
        check::{Check, CheckStatus},
        sandbox::{Egress, Isolation, ResourceLimits, SandboxSpec, Workspace, WorkspaceMode},
        session::SessionSpec,
    },
};

/// A trial is a container and a program, each with the runtime's own deadline.
const TRIAL_WITHIN: Duration = Duration::from_secs(3 * RUNTIME_WITHIN.as_secs());
/// Some versions run programs, and answer them wrongly where they look at files, or fall over them.
const TRIED: &str = "ls -l / >/dev/null && test -d /proc/1 || exit 1
\
    for i in 1 2 3 4 5 6 7 8; do cat /etc/passwd | wc >/dev/null || exit 1; done";

/// One for each grade.
pub async fn checks() -> Vec<Check> {
    let trials = [Isolation::Oci, Isolation::Gvisor].map(|grade| {
        let trial = tokio::task::spawn_blocking(move || of(grade));
        async move {
            let lost = |error| Fault::bug(format!("trying a runtime: {error}"));
            trial.await.unwrap_or_else(|error| told(grade, &Err(lost(error))))
        }
    });
    let [oci, gvisor] = trials;
    let (oci, gvisor) = tokio::join!(oci, gvisor);
    vec![oci, gvisor]
}

fn told(grade: Isolation, outcome: &Outcome<PathBuf>) -> Check {
    let (status, detail, fix) = match outcome {
        Ok(program) => (CheckStatus::Ok, format!("{} works", program.display()), None),
        Err(fault) => {
            (CheckStatus::Missing, fault.message().to_owned(), fault.hint_text().map(str::to_owned))
        }
    };
    Check { check: format!("isolation.{}", grade.word()), status, detail, fix }
}

fn of(grade: Isolation) -> Check {
    told(grade, &tried(grade))
}

fn tried(grade: Isolation) -> Outcome<PathBuf> {
    let spec = spec();
    check(grade, &spec, &Layout::here())?;
    let runtime = Runtime::of(grade).ok_or_else(|| Fault::bug("no runtime for a grade"))?;
    let id = SandboxId::random();
    let dir = std::env::temp_dir().join(format!("sandwatch-doctor-{id}"));
    let fault = |error: io::Error| Fault::io(format!("trying {}", runtime.program()), &error);
    fs::DirBuilder::new().mode(0o700).create(&dir).map_err(fault)?;
    let ground = Ground { name: "doctor".to_owned(), dir: dir.clone(), id, from: None };
    let identity = Identity::of(&ground.id)?;
    let outcome = plan(grade, &ground, &spec, &identity, ProcessBounds::default())
        .and_then(|plan| apart(&plan).map(|()| plan.program.clone()));
    // What can't be deleted now lies in a directory for such things.
    drop(fs::remove_dir_all(&dir));
    outcome.map_err(|fault| {
        if fault.hint_text().is_some() { fault } else { fault.hint(runtime.how_to_install()) }
    })
}

fn spec() -> SandboxSpec {
    SandboxSpec {
        name: None,
        driver: "local".to_owned(),
        isolation: None,
        image: None,
        workspace: Workspace { path: PathBuf::new(), mode: WorkspaceMode::None },
        egress: Egress::Deny,
        allow: Vec::new(),
        limits: ResourceLimits::default(),
        env: Vec::new(),
        ttl: None,
        labels: std::collections::BTreeMap::new(),
        record: false,
        remove_on_exit: false,
        first: SessionSpec { command: Vec::new(), cwd: None, env: Vec::new(), size: Size::DEFAULT },
        search_path: Vec::new(),
        from: None,
        snapshot_every: None,
    }
}

/// Tries it in a copy of this process: what is cloned there has one thread.
fn apart(plan: &Plan) -> Outcome<()> {
    let program = plan.runtime.program();
    let fault = |error: io::Error| Fault::io(format!("trying {program}"), &error);
    let (mut reader, mut writer) = io::pipe().map_err(fault)?;
    let Some(child) = sys::fork().map_err(fault)? else {
        let words = attempt(plan).err().unwrap_or_default();
        drop(writer.write_all(words.as_bytes()));
        sys::exit_now(i32::from(!words.is_empty()))
    };
    drop(writer);
    let in_time = over(child, TRIAL_WITHIN).map_err(fault)?;
    let status = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
    let status = status.map_err(|error| fault(error.into()))?;
    let mut words = Vec::new();
    if in_time {
        let mut reader = (&mut reader).take(RUNTIME_WORDS_BYTES_MAX as u64);
        reader.read_to_end(&mut words).map_err(fault)?;
    }
    let words = text::shown(&String::from_utf8_lossy(&words), RUNTIME_WORDS_BYTES_MAX);
    match status.and_then(|(_, it)| it.exit_status()) {
        _ if !in_time => Err(Fault::late(format!("{program} did not do it in time"))),
        Some(0) => Ok(()),
        _ if words.is_empty() => Err(Fault::failed(format!("trying {program}: it was cut short"))),
        _ => Err(Fault::failed(words)),
    }
}

/// Waits for the end of a child, or ends it; what it made goes with it.
fn over(child: Pid, within: Duration) -> io::Result<bool> {
    let itself = pidfd_open(child, PidfdFlags::empty())?;
    let in_time = readable(&itself, within)?;
    if !in_time {
        pidfd_send_signal(&itself, Signal::KILL)?;
    }
    Ok(in_time)
}

fn readable(what: &OwnedFd, within: Duration) -> io::Result<bool> {
    let within = Timespec { tv_sec: within.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
    let mut wanted = [PollFd::new(what, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut wanted, Some(&within)))? > 0)
}

/// A container, and a program in it.
fn attempt(plan: &Plan) -> Result<(), String> {
    let held = launch(plan, None).map_err(|fault| fault.to_string())?;
    let outcome = with(&held.control);
    held.abandon();
    outcome
}

fn with(control: &OwnedFd) -> Result<(), String> {
    let failed = |error: io::Error| format!("talking to the keeper: {error}");
    let next = |from: &OwnedFd| match readable(from, RUNTIME_WITHIN + Duration::from_secs(1)) {
        Ok(true) => receive(from).map(|it| it.bytes).map_err(failed),
        Ok(false) => Err("it did not get ready in time".to_owned()),
        Err(error) => Err(failed(error)),
    };
    send(control.as_fd(), &Order::Go.bytes(), &[]).map_err(failed)?;
    match Word::parse(&next(control)?) {
        Some(Word::Ready(_)) => {}
        Some(Word::Failed(text)) => return Err(text),
        _ => return Err("its keeper ended without a word".to_owned()),
    }
    let (ours, theirs) = pair().map_err(|fault| fault.to_string())?;
    let what = Description {
        cwd: "/".to_owned(),
        command: ["/bin/sh", "-c", TRIED].map(str::to_owned).into(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
    };
    let description = memory_file(&what.bytes()).map_err(failed)?;
    let nothing = fs::File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    let nothing = nothing.as_fd();
    let order = Order::Start { number: 1, on: On::Pipes };
    let given = [description.as_fd(), theirs.as_fd(), nothing, nothing, nothing];
    send(control.as_fd(), &order.bytes(), &given).map_err(failed)?;
    match Report::parse(&next(&ours)?) {
        Some(Report::Here) => {}
        Some(Report::Refused(words)) => return Err(words),
        _ => return Err("a program did not start".to_owned()),
    }
    match Word::parse(&next(control)?) {
        Some(Word::Exited { code: 0, .. }) => Ok(()),
        _ => Err("a program that looks at files fails: this version does not work here".to_owned()),
    }
}
