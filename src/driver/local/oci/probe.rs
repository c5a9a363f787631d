//! Whether `runc` and `runsc` are here and work, found by making a small sandbox with each and running a
//! program in it, and whether one can be written down and go on as another; for `doctor`.

use std::{
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid},
};

use super::{MEMORY, Plan, Runtime, check, launch, plan, why_no_memory};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{HUB_ANSWER_WITHIN, RUNTIME_WORDS_BYTES_MAX},
        text,
    },
    driver::{
        Ground,
        local::{
            hierarchy::Layout,
            identity::Identity,
            init,
            link::memory_file,
            lockdown::ProcessBounds,
            message::{Description, On, Order, Report, Word, receive, send},
            namespaces::pair,
            sys,
        },
    },
    model::{
        check::{Check, CheckStatus},
        sandbox::{Isolation, SandboxSpec, Workspace, WorkspaceMode},
    },
};

/// Both trials, beside each other, with all they start: less than who asks the doctor waits.
const TRIALS_WITHIN: Duration = Duration::from_secs(12);
const _: () = assert!(TRIALS_WITHIN.as_secs() + 2 < HUB_ANSWER_WITHIN.as_secs());
/// What is left of that for a trial to say what it waits for.
const SAID_WITHIN: Duration = Duration::from_secs(1);
/// Some versions run programs, and answer them wrongly where they look at files, or fall over them.
const TRIED: &str = "ls -l / >/dev/null && test -d /proc/1 || exit 1
\
    for i in 1 2 3 4 5 6 7 8; do cat /etc/passwd | wc >/dev/null || exit 1; done";

/// What a container is made for.
enum Trial {
    /// To run a program.
    Program,
    /// To be written down in this directory.
    Keep(fs::File),
    /// To go on as it was, by what this directory has.
    Wake(fs::File),
}

/// What was found of a grade: where its runtime is, and whether its containers can be written down.
type Found = Outcome<(PathBuf, Outcome<()>)>;

/// One for each grade, and what more they can.
pub async fn checks() -> Vec<Check> {
    let until = clock::monotonic() + TRIALS_WITHIN;
    let trials = [Isolation::Oci, Isolation::Gvisor].map(|grade| {
        let trial = tokio::task::spawn_blocking(move || tried(grade, until));
        async move {
            let lost = |error| Fault::bug(format!("trying a runtime: {error}"));
            trial.await.unwrap_or_else(|error| Err(lost(error)))
        }
    });
    let [oci, gvisor] = trials;
    let (oci, gvisor) = tokio::join!(oci, gvisor);
    let memory = match &gvisor {
        Ok((_, Ok(()))) => {
            Ok("sandboxes of --isolation gvisor --egress deny are kept with their running programs")
        }
        Ok((_, Err(fault))) | Err(fault) => Err(fault),
    };
    let works = |found: &Found| match found {
        Ok((program, _)) => told(Ok(&format!("{} works", program.display()))),
        Err(fault) => told(Err(fault)),
    };
    let named = |check: &str, it: Check| Check { check: check.to_owned(), ..it };
    vec![
        named("isolation.oci", works(&oci)),
        named("isolation.gvisor", works(&gvisor)),
        named("snapshot.memory", told(memory)),
    ]
}

fn told(found: Result<&str, &Fault>) -> Check {
    let (status, detail, fix) = match found {
        Ok(words) => (CheckStatus::Ok, words, None),
        Err(fault) => (CheckStatus::Missing, fault.message(), fault.hint_text()),
    };
    let (detail, fix) = (detail.to_owned(), fix.map(str::to_owned));
    Check { check: String::new(), status, detail, fix }
}

fn tried(grade: Isolation, until: Duration) -> Found {
    let spec =
        SandboxSpec::bare("local", Workspace { path: PathBuf::new(), mode: WorkspaceMode::None });
    check(grade, &spec, &Layout::here())?;
    let runtime = Runtime::of(grade).ok_or_else(|| Fault::bug("no runtime for a grade"))?;
    let dir = std::env::temp_dir().join(format!("sandwatch-doctor-{}", SandboxId::random()));
    let fault = |error: io::Error| Fault::io(format!("trying {}", runtime.program()), &error);
    fs::DirBuilder::new().mode(0o700).create(&dir).map_err(fault)?;
    let made = |trial| made((grade, &spec), &dir, trial, until);
    let found = made(Trial::Program).map(|program| {
        let memory = match why_no_memory(runtime, spec.egress) {
            None => written_down(&dir, made),
            Some(why) => Err(Fault::unsupported(why)),
        };
        (program, memory)
    });
    // What can't be deleted now lies in a directory for such things.
    drop(fs::remove_dir_all(&dir));
    found.map_err(|fault| {
        if fault.hint_text().is_some() { fault } else { fault.hint(runtime.how_to_install()) }
    })
}

/// Makes one in a place of its own; where its runtime is.
fn made(
    (grade, spec): (Isolation, &SandboxSpec),
    dir: &Path,
    trial: Trial,
    until: Duration,
) -> Outcome<PathBuf> {
    let id = SandboxId::random();
    let dir = dir.join(id.as_str());
    let fault = |error: io::Error| Fault::io("making a place for a trial", &error);
    fs::DirBuilder::new().mode(0o700).create(&dir).map_err(fault)?;
    let identity = Identity::of(&id)?;
    let ground = Ground { name: "doctor".to_owned(), dir, id, from: None };
    let mut plan = plan(grade, &ground, spec, &identity, ProcessBounds::default(), None)?;
    if let Trial::Wake(kept) = &trial {
        plan.memory = Some(kept.try_clone().map_err(fault)?.into());
    }
    apart(&plan, &trial, until).map(|()| plan.program)
}

/// Writes one down, and has another go on as it was.
fn written_down(dir: &Path, made: impl Fn(Trial) -> Outcome<PathBuf>) -> Outcome<()> {
    let place = dir.join(MEMORY);
    let fault = |error: io::Error| Fault::io("trying to write a sandbox down", &error);
    fs::create_dir(&place).map_err(fault)?;
    made(Trial::Keep(fs::File::open(&place).map_err(fault)?))?;
    made(Trial::Wake(fs::File::open(&place).map_err(fault)?)).map(drop)
}

/// Tries it in a copy of this process: what is cloned there has one thread. It holds nothing that this
/// process has open, and ends with it.
fn apart(plan: &Plan, trial: &Trial, until: Duration) -> Outcome<()> {
    let program = plan.runtime.program();
    let fault = |error: io::Error| Fault::io(format!("trying {program}"), &error);
    let (mut reader, mut writer) = io::pipe().map_err(fault)?;
    let parent = rustix::process::getpid();
    let Some(child) = sys::fork().map_err(fault)? else {
        let attempt = || {
            by_itself(plan, trial, parent, writer.as_fd())
                .and_then(|()| attempt(plan, trial, until))
        };
        // Nothing of it goes on as the process that it is a copy of.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt));
        let outcome = outcome.unwrap_or_else(|_| Err(format!("trying {program} fell over")));
        let words = outcome.err().unwrap_or_default();
        drop(writer.write_all(words.as_bytes()));
        sys::exit_now(i32::from(!words.is_empty()))
    };
    drop(writer);
    let in_time = over(child, until).map_err(fault)?;
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

/// In the copy: ties its life to the one it was copied from, and lets go of all but what it needs.
fn by_itself(plan: &Plan, trial: &Trial, parent: Pid, words: BorrowedFd<'_>) -> Result<(), String> {
    let failed = |error: io::Error| format!("preparing a trial: {error}");
    sys::reset_signals();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failed(error.into()))?;
    // It may have ended before that.
    if rustix::process::getppid() != Some(parent) {
        sys::exit_now(1);
    }
    let mut keep = plan.open();
    keep.push(words);
    if let Trial::Keep(directory) = trial {
        keep.push(directory.as_fd());
    }
    init::shed(&keep).map_err(failed)
}

/// Waits for the end of a child, or ends it; what it made goes with it.
fn over(child: Pid, until: Duration) -> io::Result<bool> {
    let itself = pidfd_open(child, PidfdFlags::empty())?;
    let in_time = readable(&itself, until)?;
    if !in_time {
        pidfd_send_signal(&itself, Signal::KILL)?;
    }
    Ok(in_time)
}

fn readable(what: &OwnedFd, until: Duration) -> io::Result<bool> {
    let mut wanted = [PollFd::new(what, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| {
        let left = until.saturating_sub(clock::monotonic());
        let tv_sec = left.as_secs().try_into().unwrap_or(i64::MAX);
        let left = Timespec { tv_sec, tv_nsec: left.subsec_nanos().into() };
        poll(&mut wanted, Some(&left))
    });
    Ok(ready? > 0)
}

/// A container, and what it is for.
fn attempt(plan: &Plan, trial: &Trial, until: Duration) -> Result<(), String> {
    let held = launch(plan, None).map_err(|fault| fault.to_string())?;
    let outcome = with(&held.control, trial, until.saturating_sub(SAID_WITHIN));
    held.abandon();
    outcome
}

fn with(control: &OwnedFd, trial: &Trial, until: Duration) -> Result<(), String> {
    let failed = |error: io::Error| format!("talking to the keeper: {error}");
    let next = |from: &OwnedFd| match readable(from, until) {
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
    match trial {
        Trial::Program => {}
        Trial::Keep(directory) => {
            send(control.as_fd(), &Order::Keep.bytes(), &[directory.as_fd()]).map_err(failed)?;
            return match Word::parse(&next(control)?) {
                Some(Word::Kept(words)) if words.is_empty() => Ok(()),
                Some(Word::Kept(words)) => Err(words),
                _ => Err("its keeper does not say whether it wrote it down".to_owned()),
            };
        }
        Trial::Wake(_) => return Ok(()),
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
