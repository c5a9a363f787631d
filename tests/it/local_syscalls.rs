//! What a process of this machine calls, as who holds its sandbox sees it: what is told, what is left out, and that whoever
//! is looked at goes on as before, however the look ends.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sandwatch::{
    base::{fault::Kind, limits::SYSCALLS_PART_MAX},
    driver::local::doing::Looker,
    model::{
        process::Doing,
        syscall::{Syscall, SyscallPart},
    },
};
use tokio_stream::{Stream, StreamExt};

use crate::given::{SOON, eventually};

/// Itself, and no script that looks for one.
const PYTHON: &str = "/usr/bin/python3";
/// Says to the copy of these tests which one it is to be.
const LOOKER: &str = "SANDWATCH_TEST_LOOKS";

/// Ended when this is dropped.
struct Program(Child);

impl Program {
    fn sh(code: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", code]).stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn python(code: &str) -> Self {
        let mut command = Command::new(PYTHON);
        command.args(["-c", code]).stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A line of a process's own status.
fn told(pid: u32, key: &str) -> Option<String> {
    let all = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = all.lines().find_map(|it| it.strip_prefix(key))?;
    line.split_whitespace().next().map(str::to_owned)
}

fn is_traced(pid: u32) -> bool {
    told(pid, "TracerPid:").is_some_and(|it| it != "0")
}

/// Whether it does what it did before anybody looked: it is traced by nobody, and stands nowhere.
fn goes_on(pid: u32) -> bool {
    told(pid, "TracerPid:").as_deref() == Some("0")
        && told(pid, "State:").is_some_and(|it| it != "t" && it != "T" && it != "Z")
}

/// Takes parts until all that came so far is enough.
async fn until(
    parts: &mut (impl Stream<Item = SyscallPart> + Unpin),
    enough: impl Fn(&[Syscall], &SyscallPart) -> bool,
) -> (Vec<Syscall>, SyscallPart) {
    let mut all = Vec::new();
    let taken = async {
        loop {
            let part = parts.next().await.expect("it goes on");
            assert!(part.done.len() <= SYSCALLS_PART_MAX && part.waits.len() <= SYSCALLS_PART_MAX);
            assert_eq!(part.made, part.done.len() as u64 + part.left_out);
            all.extend(part.done.iter().cloned());
            if enough(&all, &part) {
                return (std::mem::take(&mut all), part);
            }
        }
    };
    tokio::time::timeout(SOON, taken).await.expect("it comes to that")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_told_with_what_they_are_about_and_what_came_of_them() {
    let code = "
import os, socket, time
while True:
    try: open('/no/such/file')
    except OSError: pass
    with open('/etc/passwd') as it: it.read(7)
    one = socket.socket()
    try: one.connect(('127.0.0.1', 9))
    except OSError: pass
    one.close()
    os.spawnv(os.P_WAIT, '/bin/true', ['true'])
    time.sleep(0.05)
";
    let program = Program::python(code);
    let pid = program.pid();
    let mut parts = Looker::default().syscalls(pid, pid).await.unwrap();
    let wanted = |all: &[Syscall]| {
        let has = |name: &[&str], words: &str, error: Option<&str>| {
            let fits = |it: &&Syscall| {
                let end = it.end.as_ref().unwrap();
                name.contains(&it.name.as_str())
                    && it.args.contains(words)
                    && end.error.as_deref() == error
            };
            all.iter().any(|it| fits(&it))
        };
        has(&["open", "openat"], "\"/no/such/file\"", Some("ENOENT"))
            && has(&["open", "openat"], "\"/etc/passwd\", read", None)
            && has(&["read"], "</etc/passwd>", None)
            && has(&["connect"], "127.0.0.1:9", Some("ECONNREFUSED"))
            && has(&["wait4", "waitid"], "", None)
            && has(&["clock_nanosleep", "pselect6", "select"], "", None)
    };
    let (all, _) = until(&mut parts, |all, _| wanted(all)).await;
    assert!(all.iter().all(|it| it.thread == pid), "what it starts is not looked at");
    let sleep = all.iter().find(|it| it.name == "clock_nanosleep");
    assert!(sleep.is_none_or(|it| it.end.as_ref().unwrap().took >= Duration::from_millis(40)));
    assert!(is_traced(pid));
    drop(parts);
    eventually("it goes on", || goes_on(pid));
}

/// Reads a line; then another thread waits for a lock, and the first reads again.
const READS_AND_LOCKS: &str = "
import os, sys, threading
sys.stdin.readline()
held = threading.Lock(); held.acquire()
threading.Thread(target=held.acquire, daemon=True).start()
for it in range(CALLS): os.stat('/')
sys.stdin.readline()
";

async fn both_threads_are_told_in_what_they_are(calls: &str) {
    let mut program = Program::python(&READS_AND_LOCKS.replace("CALLS", calls));
    let pid = program.pid();
    let mut parts = Looker::default().syscalls(pid, pid).await.unwrap();
    let reads =
        |it: &Syscall| it.name == "read" && it.thread == pid && it.args.starts_with("0<pipe:");
    until(&mut parts, |_, part| part.waits.iter().any(reads)).await;
    program.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let locks = |it: &Syscall| it.name == "futex" && it.thread != pid && it.args.contains("wait");
    let both = |_: &[Syscall], part: &SyscallPart| {
        part.waits.iter().any(locks) && part.waits.iter().any(reads)
    };
    until(&mut parts, both).await;
    drop(program.0.stdin.take());
    let (_, last) = until(&mut parts, |_, part| part.over.is_some()).await;
    assert_eq!(last.over.as_deref(), Some("the process has ended"));
    assert_eq!(parts.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_thread_is_in_is_told_and_threads_that_come_later_are_looked_at() {
    both_threads_are_told_in_what_they_are("0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_thread_stays_in_is_told_also_after_more_calls_than_are_shown() {
    both_threads_are_told_in_what_they_are("1000").await;
}

/// The call that a thread is in, by the kernel's number.
fn is_in(pid: u32, thread: u32, calls: &[i64]) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall")).unwrap_or_default();
    let number = call.split_whitespace().next().and_then(|it| it.parse().ok());
    number.is_some_and(|it| calls.contains(&it))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_already_is_told_by_the_call_that_it_waits_in() {
    let program = Program::sh("exec sleep 1000");
    let pid = program.pid();
    let sleeps = [libc::SYS_nanosleep, libc::SYS_clock_nanosleep];
    eventually("it sleeps", || is_in(pid, pid, &sleeps));
    let mut parts = Looker::default().syscalls(pid, pid).await.unwrap();
    let waits = |_: &[Syscall], part: &SyscallPart| {
        part.waits.iter().any(|it| it.name.contains("nanosleep") && it.args == "1000.000 s")
    };
    until(&mut parts, waits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_descriptor_is_told_of_the_thread_that_has_it() {
    // From there on the thread has descriptors of its own (CLONE_FILES).
    let code = "
import ctypes, os, threading
def reads():
    assert ctypes.CDLL(None).unshare(0x400) == 0
    os.dup2(0, 77); os.close(0); os.read(77, 1)
it = threading.Thread(target=reads); it.start(); it.join()
";
    let program = Program::python(code);
    let (pid, looker) = (program.pid(), Looker::default());
    let mut parts = looker.syscalls(pid, pid).await.unwrap();
    let reads = |it: &Syscall| it.thread != pid && it.args.starts_with("77<pipe:");
    until(&mut parts, |_, part| part.waits.iter().any(reads)).await;
    drop(parts);
    eventually("it goes on", || goes_on(pid));
    let seen = tokio::time::timeout(SOON, async {
        while looker.look(pid).await.unwrap().processes[0].doing != Doing::Pipe {
            tokio::task::yield_now().await;
        }
    });
    seen.await.expect("it is seen to wait for a pipe");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_first_thread_has_ended_is_looked_at() {
    let code = "
import ctypes, os, threading
threading.Thread(target=lambda: os.read(0, 1)).start()
ctypes.CDLL(None).syscall(EXIT, 0)
";
    let program = Program::python(&code.replace("EXIT", &libc::SYS_exit.to_string()));
    let pid = program.pid();
    eventually("its first thread has ended", || told(pid, "State:").as_deref() == Some("Z"));
    let mut parts = Looker::default().syscalls(pid, pid).await.unwrap();
    let reads = |it: &Syscall| it.name == "read" && it.args.starts_with("0<pipe:");
    until(&mut parts, |_, part| part.waits.iter().any(reads)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_leaves_before_it_begins_leaves_nothing_traced() {
    let program = Program::sh("read go");
    let (pid, looker) = (program.pid(), Looker::default());
    let turns = sandwatch::base::limits::SYSCALLS_WATCHES_MAX;
    for _ in 0..turns * 4 {
        let mut asked = Box::pin(looker.syscalls(pid, pid));
        let has_answer = tokio::select! {
            biased;
            it = &mut asked => it.is_ok(),
            () = std::future::ready(()) => false,
        };
        if !has_answer {
            eventually("it has begun", || is_traced(pid));
        }
        drop(asked);
        eventually("it is let go", || goes_on(pid));
    }
    let again = tokio::time::timeout(SOON, async {
        while looker.syscalls(pid, pid).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    again.await.expect("it is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_in_its_place_and_a_stop_by_a_signal_are_gone_through() {
    let program = Program::sh("read go; exec sleep 1000");
    let pid = program.pid();
    let looker = Looker::default();
    let mut parts = looker.syscalls(pid, pid).await.unwrap();
    let waits = |name: &'static str| {
        move |_: &[Syscall], part: &SyscallPart| part.waits.iter().any(|it| it.name.contains(name))
    };
    until(&mut parts, waits("read")).await;
    program.signal(Signal::STOP);
    eventually("it stands", || told(pid, "State:").as_deref() == Some("t"));
    // That a signal holds it is seen, though it is looked at.
    let seen = tokio::time::timeout(SOON, async {
        loop {
            let seen = looker.look(pid).await.unwrap().processes.remove(0);
            if seen.doing == Doing::Stopped {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    seen.await.expect("it is seen to be held");
    program.signal(Signal::CONT);
    until(&mut parts, waits("read")).await;
    program.0.stdin.as_ref().unwrap().write_all(b"go\n").unwrap();
    let became = |all: &[Syscall], part: &SyscallPart| {
        all.iter().any(|it| it.name == "execve" && it.args.contains("\"1000\""))
            && part.waits.iter().any(|it| it.name.contains("nanosleep"))
    };
    until(&mut parts, became).await;
    // One that stands when the look ends stands on.
    program.signal(Signal::STOP);
    eventually("it stands", || told(pid, "State:").as_deref() == Some("t"));
    drop(parts);
    eventually("it stands by itself", || told(pid, "State:").as_deref() == Some("T"));
    assert!(!is_traced(pid));
    program.signal(Signal::CONT);
    eventually("it goes on", || goes_on(pid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_more_calls_than_anybody_reads_the_rest_is_counted_and_the_process_works_on() {
    let program = Program::sh("exec dd if=/dev/zero of=/dev/null bs=1");
    let pid = program.pid();
    let looker = Looker::default();
    let mut parts = looker.syscalls(pid, pid).await.unwrap();
    let flood = |_: &[Syscall], part: &SyscallPart| part.left_out > 1000;
    until(&mut parts, flood).await;
    // It runs, however often it stands for a step.
    let seen = async {
        while looker.look(pid).await.unwrap().processes[0].doing == Doing::Stopped {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, seen).await.expect("it is not held still");
    drop(parts);
    eventually("it goes on", || goes_on(pid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_of_the_session_or_is_traced_already_is_refused() {
    let (program, other) = (Program::sh("read go"), Program::sh("read go"));
    let (pid, looker) = (program.pid(), Looker::default());
    for stranger in [other.pid(), 1, 0, u32::MAX] {
        let fault = looker.syscalls(pid, stranger).await.err().unwrap();
        assert!(matches!(fault.kind(), Kind::Absent | Kind::Invalid), "{stranger}: {fault}");
        assert!(stranger < 2 || stranger == u32::MAX || goes_on(stranger));
    }
    let parts = looker.syscalls(pid, pid).await.unwrap();
    let fault = looker.syscalls(pid, pid).await.err().unwrap();
    assert_eq!(fault.kind(), Kind::Busy, "{fault}");
    assert!(fault.message().contains("traced already"), "{fault}");
    drop(parts);
    eventually("it goes on", || goes_on(pid));
    let again = looker.syscalls(pid, pid).await;
    assert!(again.is_ok(), "it is free again");
}

/// A program that is nobody's any more; ended when this is dropped.
struct Ends(u32);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_raw(self.0.cast_signed()).unwrap(), Signal::KILL);
    }
}

/// Looks at a program of its own until it is killed; only what the test below starts does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_is_to_be_killed() {
    if std::env::var_os(LOOKER).is_none() {
        return;
    }
    let program = Program::sh("while :; do read line < /proc/uptime; done");
    let mut parts = Looker::default().syscalls(program.pid(), program.pid()).await.unwrap();
    writeln!(std::io::stdout(), "looks at {}", program.pid()).unwrap();
    while parts.next().await.is_some() {}
}

#[test]
fn who_looks_may_be_killed_at_any_moment_and_the_process_goes_on() {
    let own = std::env::current_exe().unwrap();
    let mut looks = Command::new(own);
    let name = "local_syscalls::a_look_that_is_to_be_killed";
    looks.args(["--exact", name, "--nocapture"]).env(LOOKER, "1");
    let mut looks = looks.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(looks.stdout.take().unwrap());
    let mut lines = output.lines().map_while(Result::ok);
    let pid = lines.find_map(|it| it.split_once("looks at ")?.1.trim().parse::<u32>().ok());
    let pid = pid.expect("it looks");
    let _ended = Ends(pid);
    assert!(is_traced(pid));
    looks.kill().unwrap();
    looks.wait().unwrap();
    eventually("it goes on", || goes_on(pid));
    let ticks = || fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    let before = ticks();
    eventually("it works", || ticks() != before);
}
