//! Programs of a local sandbox that nobody waits for any more, or that could not be started.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
        SocketType, sendmsg, socketpair,
    },
    process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit},
};
use sandwatch::{
    base::fault::Kind,
    driver::{PipeIo, Place, Program},
    model::{
        sandbox::{Isolation, SandboxSpec, WorkspaceMode},
        session::ExitStatus,
    },
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::{
    given::{SOON, alive, found},
    local_stage::{Stage, on_stage, run, session, sh, soon, until},
};

/// One of each grade that works here.
async fn places(stage: &Stage) -> Vec<Arc<dyn Place>> {
    let mut places = vec![stage.place(&stage.spec(WorkspaceMode::Cow)).await];
    if !stage.by_root {
        let isolation = Some(Isolation::Landlock);
        let spec = SandboxSpec { isolation, ..stage.spec(WorkspaceMode::Rw) };
        places.push(stage.place(&spec).await);
    }
    places
}

/// Three sleepers in one session, each in a process group of its own.
const JOBS: &str = "set -m; sleep 1000 & sleep 1000 & echo up; exec sleep 1000";

/// How many sleepers there are, as the sandbox sees it; in the weaker grade they are its children's.
async fn sleepers(place: &Arc<dyn Place>, session_of: u32) -> String {
    let script = format!(
        "for it in /proc/[0-9]*; do read -r line <$it/stat && set -- $line && \
         [ \"$2\" = '(sleep)' ] && [ \"$6\" = {session_of} ] && echo x; done 2>/dev/null | wc -l"
    );
    sh(place, &script).await
}

#[test]
fn a_program_that_nobody_waits_for_ends() {
    on_stage("local_programs::a_program_that_nobody_waits_for_ends", |stage| async move {
        for place in places(&stage).await {
            for paused in [false, true] {
                let command = format!("echo $$; {JOBS}");
                let program = place.exec(&session(&["bash", "-c", &command])).await.unwrap();
                let PipeIo { stdin, stdout, stderr } = program.io;
                let mut lines = BufReader::new(stdout).lines();
                let leader = lines.next_line().await.unwrap().unwrap().parse().unwrap();
                assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("up"));
                let pid = program.pid.unwrap();
                assert!(alive(pid));
                let all = async || (sleepers(&place, leader).await == "3").then_some(());
                found("all of its jobs", all).await;
                if paused {
                    place.pause().await.unwrap();
                }
                drop((stdin, lines, stderr, program.exit));
                if paused {
                    place.resume().await.unwrap();
                }
                soon("its end", || !alive(pid)).await;
                let gone = async || (sleepers(&place, leader).await == "0").then_some(());
                found("the end of its jobs", gone).await;
            }
            place.remove().await.unwrap();
        }
    });
}

/// State of a process as the host shows it; `None` once it is reaped.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Starts a shell with this script and gives the first line it prints.
async fn told(place: &Arc<dyn Place>, script: &str) -> (Program<PipeIo>, String) {
    let mut program = place.exec(&session(&["/bin/bash", "-c", script])).await.unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(tokio::time::timeout(SOON, program.io.stdout.read_u8()).await.unwrap().unwrap());
    }
    (program, String::from_utf8(line).unwrap().trim().to_owned())
}

async fn first_process(place: &Arc<dyn Place>) -> String {
    sh(place, "echo $PPID").await
}

/// Children of the first process that are not reaped, as the sandbox sees them.
async fn corpses(place: &Arc<dyn Place>) -> String {
    let script = "for it in /proc/[0-9]*; do read -r line <$it/stat && set -- $line && \
                  [ \"$3\" = Z ] && [ \"$4\" = $PPID ] && echo $1; done 2>/dev/null";
    sh(place, script).await
}

#[test]
fn who_hangs_up_on_the_jobs_of_a_program_that_ended_ends_them() {
    let name = "local_programs::who_hangs_up_on_the_jobs_of_a_program_that_ended_ends_them";
    on_stage(name, |stage| async move {
        for place in places(&stage).await {
            let (mut program, leader) = told(&place, "sleep 1000 & echo $$; exit 3").await;
            let leader: u32 = leader.parse().unwrap();
            let status = tokio::time::timeout(SOON, &mut program.exit).await.unwrap().unwrap();
            assert_eq!(status, ExitStatus::Code(3));
            // Its number stays its own for as long as its session may have to be ended; others are reaped.
            // An orphan that ended behind it, and a program on its own terminal, leave nothing.
            assert_eq!(sh(&place, "(true &); echo $PPID").await, first_process(&place).await);
            let mut shell = place.spawn(&session(&["sh", "-c", "echo up"])).await.unwrap();
            until(&mut shell.io, "up").await;
            tokio::time::timeout(SOON, shell.exit).await.unwrap().unwrap();
            let alone = async || (corpses(&place).await == leader.to_string()).then_some(());
            found("no corpse but the leader's", alone).await;
            assert_eq!(state(program.pid.unwrap()), Some('Z'));
            let job = async || (sleepers(&place, leader).await == "1").then_some(());
            found("its job", job).await;
            let pid = program.pid.unwrap();
            drop(program);
            let gone = async || (sleepers(&place, leader).await == "0").then_some(());
            found("the end of its job", gone).await;
            soon("the end of its number", || state(pid).is_none()).await;
            place.remove().await.unwrap();
        }
    });
}

#[test]
fn what_a_program_left_running_goes_on_when_all_was_read() {
    let name = "local_programs::what_a_program_left_running_goes_on_when_all_was_read";
    on_stage(name, |stage| async move {
        for place in places(&stage).await {
            let script = "sleep 1000 >/dev/null 2>&1 & echo $$";
            let program = place.exec(&session(&["/bin/bash", "-c", script])).await.unwrap();
            let pid = program.pid.unwrap();
            let PipeIo { stdin, mut stdout, mut stderr } = program.io;
            let (mut out, mut err) = (String::new(), String::new());
            stdout.read_to_string(&mut out).await.unwrap();
            stderr.read_to_string(&mut err).await.unwrap();
            assert_eq!(program.exit.await.unwrap(), ExitStatus::Code(0));
            drop((stdin, stdout, stderr));
            soon("the end of its number", || state(pid).is_none()).await;
            let leader = out.trim().parse().unwrap();
            let job = async || (sleepers(&place, leader).await == "1").then_some(());
            found("its job", job).await;
            place.remove().await.unwrap();
        }
    });
}

/// As many descriptors on their way as one message takes; back when dropped.
struct UnderWay(#[expect(dead_code, reason = "held")] (OwnedFd, OwnedFd));
const ONE_MESSAGE: usize = 253;

impl UnderWay {
    fn send() -> Self {
        let flags = SocketFlags::CLOEXEC;
        let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let nothing = std::fs::File::open("/dev/null").unwrap();
        let many = vec![nothing.as_fd(); ONE_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ONE_MESSAGE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
        let bytes = [std::io::IoSlice::new(b"x")];
        sendmsg(&pair.0, &bytes, &mut control, SendFlags::empty()).unwrap();
        Self(pair)
    }
}

/// Stops a sandbox, which is polite for as long as anything runs in it, or is thought to.
async fn stop_politely(place: &Arc<dyn Place>) {
    let stopped = place.stop(Duration::from_secs(3600));
    tokio::time::timeout(SOON, stopped).await.expect("something is still waited for").unwrap();
}

#[test]
fn an_order_that_could_not_be_sent_leaves_the_others_alone() {
    let name = "local_programs::an_order_that_could_not_be_sent_leaves_the_others_alone";
    on_stage(name, |stage| async move {
        if stage.by_root {
            // Nothing keeps root from sending.
            return;
        }
        for place in places(&stage).await {
            let under_way = UnderWay::send();
            let before = getrlimit(Resource::Nofile);
            let few = Some(ONE_MESSAGE as u64 - 1);
            setrlimit(Resource::Nofile, Rlimit { current: few, ..before }).unwrap();
            for _ in 0..3 {
                let fault = place.exec(&session(&["true"])).await.err().unwrap();
                assert_eq!(fault.kind(), Kind::Busy, "{fault}");
                let fault = place.spawn(&session(&["true"])).await.err().unwrap();
                assert_eq!(fault.kind(), Kind::Busy, "{fault}");
            }
            setrlimit(Resource::Nofile, before).unwrap();
            drop(under_way);
            // Programs end, and the one that nobody waits for is the one that is ended.
            assert_eq!(run(&place, &["echo", "on"]).await, ("on\n".into(), ExitStatus::Code(0)));
            let (one, _) = told(&place, "echo up; exec sleep 1000").await;
            let (two, _) = told(&place, "echo up; exec sleep 1000").await;
            let (first, second) = (one.pid.unwrap(), two.pid.unwrap());
            drop(one);
            soon("its end", || !alive(first)).await;
            assert_eq!(sh(&place, "echo on").await, "on");
            assert!(alive(second));
            drop(two);
            soon("its end", || !alive(second)).await;
            stop_politely(&place).await;
            place.remove().await.unwrap();
        }
    });
}

#[test]
fn an_order_that_was_given_up_starts_nothing_that_stays() {
    let name = "local_programs::an_order_that_was_given_up_starts_nothing_that_stays";
    on_stage(name, |stage| async move {
        for place in places(&stage).await {
            let program = place.exec(&session(&["sleep", "1000"])).await.unwrap();
            let status = format!("/proc/{}/status", program.pid.unwrap());
            let status = std::fs::read_to_string(status).unwrap();
            let first = status.lines().find_map(|it| it.strip_prefix("PPid:")).unwrap().trim();
            let first = Pid::from_raw(first.parse().unwrap()).unwrap();
            kill_process(first, Signal::STOP).unwrap();
            let deaf = session(&["sh", "-c", "trap '' TERM HUP; while :; do sleep 1; done"]);
            for _ in 0..3 {
                tokio::select! {
                    biased;
                    begun = place.exec(&deaf) => panic!("by one that is stopped: {}", begun.is_ok()),
                    () = tokio::task::yield_now() => {}
                }
            }
            kill_process(first, Signal::CONT).unwrap();
            assert_eq!(sh(&place, "echo on").await, "on");
            stop_politely(&place).await;
            assert!(program.exit.await.is_ok());
            place.remove().await.unwrap();
        }
    });
}

#[test]
fn an_order_that_was_refused_is_forgotten() {
    let name = "local_programs::an_order_that_was_refused_is_forgotten";
    on_stage(name, |stage| async move {
        let mut spec = stage.spec(WorkspaceMode::Cow);
        spec.limits.pids = Some(12);
        let place = stage.place(&spec).await;
        let fill = "exec /usr/bin/python3 -c 'import os, time\ntry:\n  while os.fork(): pass\n\
                    except OSError: print(1, flush=True)\ntime.sleep(1000)'";
        let (mut full, _) = told(&place, fill).await;
        let fault = place.exec(&session(&["true"])).await.err().unwrap();
        assert_eq!(fault.kind(), Kind::Busy, "{fault}");
        stop_politely(&place).await;
        assert!(full.exit.try_recv().is_ok());
        place.remove().await.unwrap();
    });
}

/// Sends itself descriptors until it is not allowed more, and keeps them on their way.
const FLOOD: &str = r#"
import array, resource, socket, time
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
pairs, said = [], "no sockets"
def add():
    pairs.append(socket.socketpair())
    pairs[-1][0].setblocking(False)
try:
    add()
    many = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 253))]
    while True:
        try:
            pairs[-1][0].sendmsg([b"x"], many)
        except BlockingIOError:
            add()
except OSError as e:
    said = e.strerror
print(said, flush=True)
time.sleep(1000)
"#;

#[test]
fn descriptors_under_way_in_one_sandbox_stop_no_other() {
    let name = "local_programs::descriptors_under_way_in_one_sandbox_stop_no_other";
    on_stage(name, |stage| async move {
        let mut floods = Vec::new();
        for place in places(&stage).await {
            let mut program =
                place.exec(&session(&["/usr/bin/python3", "-c", FLOOD])).await.unwrap();
            let mut lines = BufReader::new(&mut program.io.stdout).lines();
            let line = tokio::time::timeout(SOON, lines.next_line()).await.unwrap();
            let said = line.unwrap().unwrap();
            assert!(said == "Too many references: cannot splice", "{said}");
            floods.push((place, program));
        }
        for place in places(&stage).await {
            assert_eq!(sh(&place, "echo on").await, "on");
            let mut shell = place.spawn(&session(&["sh", "-c", "echo on; exit 4"])).await.unwrap();
            until(&mut shell.io, "on").await;
            assert_eq!(shell.exit.await.unwrap(), ExitStatus::Code(4));
            place.remove().await.unwrap();
        }
        for (place, program) in floods {
            drop(program);
            place.remove().await.unwrap();
        }
    });
}
