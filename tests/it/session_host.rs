//! One session: nothing lost, nothing held up, everything in order.

use std::time::Duration;

use sandwatch::{
    base::{
        fault::Kind,
        id::SessionId,
        limits::{
            INPUT_BYTES_MAX, INPUT_QUEUE_BYTES_MAX, LAG_BYTES_MAX, RING_BYTES,
            SESSIONS_PER_SANDBOX_MAX,
        },
        units::Size,
    },
    model::{
        fact::Fact,
        output::{Fidelity, From, Output, OutputRequest},
        session::{ExitStatus, Status},
        status::Cause,
    },
    session::seat::{ExecOutput, Seat, SeatEvent},
    vt::screen::Screen,
};
use tokio_stream::StreamExt;

use crate::given::{session, watch};
use crate::session_place::{Bench, Replica, found, full, numbers, screen, shell, text};

/// More than the ring holds, so that a reader from the start needs the journal.
const MANY_LINES: &str = "seq 1 250000";

fn picture(screen: &Screen) -> (Vec<String>, Option<(u16, u16)>) {
    (screen.lines(), screen.cursor())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_heard_to_its_last_byte_and_its_exit_code_is_kept() {
    let bench = Bench::new(true);
    let id = bench.open("printf 'hello\\n'; exit 7").await;
    let outputs = bench.watch(&id, full(From::Start)).await.rest().await;
    assert_eq!(outputs.first(), Some(&Output::Resize { offset: 0, size: Size::DEFAULT }));
    assert_eq!(outputs.last(), Some(&Output::Exit { offset: 7, status: ExitStatus::Code(7) }));
    assert_eq!(bench.all(&id).await, b"hello\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_told_apart_from_a_code() {
    let bench = Bench::new(true);
    let id = bench.open("kill -KILL $$").await;
    let outputs = bench.watch(&id, screen(From::Now)).await.rest().await;
    assert!(matches!(outputs.last(), Some(Output::Exit { status: ExitStatus::Signal(9), .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_comes_from_the_journal_when_the_ring_has_moved_on() {
    let bench = Bench::new(true);
    let id = bench.open(MANY_LINES).await;
    let wanted = numbers(250_000);
    assert!(wanted.len() > RING_BYTES);
    assert!(bench.all(&id).await == wanted.as_bytes(), "as printed");
    // And once more when nothing is live any more.
    assert!(bench.all(&id).await == wanted.as_bytes(), "as printed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyframe_and_the_chunks_after_it_give_the_same_screen_as_all_bytes() {
    let bench = Bench::new(true);
    let script = "i=0; while [ $i -lt 3000 ]; do \
                  printf '\\033[%d;%dH\\033[3%dm%d\\033[0m \\033[K' $((i % 24 + 1)) $((i % 70 + 1)) \
                  $((i % 8)) $i; i=$((i + 1)); done; sleep 0.2; printf 'end'";
    let id = bench.open(script).await;
    let mut whole = Replica::new();
    let mut outputs = bench.watch(&id, full(From::Start)).await;
    let mut late = Vec::new();
    while let Some(output) = outputs.next().await {
        whole.take(output);
        if late.len() < 20 {
            late.push(bench.watch(&id, screen(From::Now)).await);
        }
    }
    assert_eq!(whole.exit, Some(ExitStatus::Code(0)));
    for mut outputs in late {
        let mut replica = Replica::new();
        for output in outputs.rest().await {
            replica.take(output);
        }
        assert_eq!(replica.offset, whole.offset);
        assert_eq!(picture(&replica.screen), picture(&whole.screen));
        assert_eq!(replica.screen.modes(), whole.screen.modes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_who_does_not_read_delays_nobody_and_is_told_what_it_lost() {
    let bench = Bench::new(true);
    let id = bench.open(MANY_LINES).await;
    let mut stalled = bench.watch(&id, screen(From::Now)).await;
    let mut replica = Replica::new();
    replica.take(stalled.next().await.unwrap());
    let began_at = replica.offset;
    assert_eq!(replica.lost, 0);
    // Others read to the end meanwhile.
    let end = bench.all(&id).await.len() as u64;
    for output in stalled.rest().await {
        replica.take(output);
    }
    assert_eq!(replica.offset, end);
    if end - began_at > LAG_BYTES_MAX {
        assert!(replica.lost > 0);
    }
    assert_eq!(replica.exit, Some(ExitStatus::Code(0)));
    assert!(replica.screen.lines().iter().any(|it| it == "250000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_costs_a_watcher_one_screen_per_frame() {
    let bench = Bench::new(false);
    let id = bench.open("yes 0123456789012345678901234567890123456789 | head -c 8000000").await;
    let mut outputs = bench.watch(&id, screen(From::Now)).await;
    let (mut replica, mut sent) = (Replica::new(), 0);
    while let Some(output) = outputs.next().await {
        if let Output::Chunk { bytes, .. } = &output {
            sent += bytes.len();
        }
        replica.take(output);
    }
    assert!(sent as u64 + replica.lost <= replica.offset);
    assert_eq!(replica.exit, Some(ExitStatus::Code(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_that_asks_for_little_gets_the_newest_screen() {
    let bench = Bench::new(false);
    let id = bench.open("seq 1 20000; sleep 0.3; printf done").await;
    let every_at_least = Some(Duration::from_millis(100));
    let request = OutputRequest { every_at_least, ..screen(From::Now) };
    let mut replica = Replica::new();
    for output in bench.watch(&id, request).await.rest().await {
        replica.take(output);
    }
    assert!(replica.screen.lines().iter().any(|it| it.ends_with("done")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_comes_back_where_it_left() {
    let bench = Bench::new(true);
    let id = bench.open(MANY_LINES).await;
    let whole = bench.all(&id).await;
    for offset in [0, 1, 77_777, whole.len() as u64 - 1, whole.len() as u64] {
        let mut outputs = bench.watch(&id, full(From::Offset(offset))).await;
        let mut seen = Vec::new();
        for output in outputs.rest().await {
            match output {
                Output::Chunk { offset: at, bytes } => {
                    assert_eq!(at, offset + seen.len() as u64);
                    seen.extend_from_slice(&bytes);
                }
                Output::Exit { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(seen == whole[offset as usize..], "from {offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_ahead_is_bounded_and_never_taken_in_part() {
    let bench = Bench::new(false);
    let id = bench.open("stty raw -echo; printf ready; exec sleep 1000").await;
    let mut outputs = bench.watch(&id, full(From::Start)).await;
    while !matches!(outputs.next().await, Some(Output::Chunk { .. })) {}
    let piece = vec![b'x'; INPUT_BYTES_MAX];
    let mut taken = 0;
    let refused = loop {
        match bench.house.input(&id, piece.clone().into()).await {
            Ok(()) => taken += piece.len(),
            Err(fault) => break fault,
        }
        assert!(taken <= 2 * INPUT_QUEUE_BYTES_MAX);
    };
    assert_eq!(refused.kind(), Kind::Busy);
    // A program that does not read is still heard and can be resized.
    bench.house.resize(&id, Size::clamped(100, 30)).await.unwrap();
    assert!(matches!(outputs.next().await, Some(Output::Resize { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_arrive_in_order_while_it_floods() {
    let bench = Bench::new(false);
    let keys = bench.dir.path().join("keys");
    let keys = keys.display();
    let script = format!("stty raw -echo; yes & head -c 600 > {keys}; kill $!; cat {keys}");
    let id = bench.open(&script).await;
    let mut wanted = String::new();
    for number in 0..200 {
        let key = format!("{number:03}");
        wanted.push_str(&key);
        bench.house.input(&id, key.into()).await.unwrap();
    }
    let all = bench.all(&id).await;
    assert!(all.ends_with(wanted.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resize_has_its_place_in_the_output() {
    let bench = Bench::new(true);
    let id =
        bench.open("trap 'stty size; exit' WINCH; printf one; while :; do sleep 0.05; done").await;
    let mut outputs = bench.watch(&id, full(From::Start)).await;
    while !matches!(outputs.next().await, Some(Output::Chunk { .. })) {}
    bench.house.resize(&id, Size::clamped(123, 45)).await.unwrap();
    let rest = outputs.rest().await;
    assert_eq!(rest[0], Output::Resize { offset: 3, size: Size::clamped(123, 45) });
    assert!(bench.all(&id).await.ends_with(b"45 123\r\n"));
    let size = found("the new size is reported", async || {
        let mut events = bench.house.events().await.unwrap();
        match events.next().await {
            Some(SeatEvent::Report(report)) => Some(report.sessions[0].size),
            _ => None,
        }
    });
    assert_eq!(size.await, Size::clamped(123, 45));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_starting_then_working_then_waits_then_exited() {
    let bench = Bench::new(false);
    let mut events = bench.house.events().await.unwrap();
    let id = SessionId::random();
    let opened =
        bench.house.open(id.clone(), shell("sleep 0.3; echo hi; read line")).await.unwrap();
    // Where much else runs it has been looked at by now.
    assert!(matches!(opened.status, Status::Starting | Status::Working), "{opened:?}");
    let mut seen = vec![Status::Starting];
    while seen.last() != Some(&Status::Exited) {
        let event = tokio::time::timeout(crate::session_place::SOON, events.next()).await.unwrap();
        let Some(SeatEvent::Report(report)) = event else { continue };
        let Some(session) = report.sessions.first() else { continue };
        if seen.last() != Some(&session.status) {
            seen.push(session.status);
            assert!(!session.status_why.is_empty());
            if session.status == Status::Waiting {
                assert!(session.status_why.contains("waits for a line"), "{}", session.status_why);
                bench.house.input(&id, text("\r")).await.unwrap();
            }
        }
    }
    seen.dedup();
    assert_eq!(seen.first(), Some(&Status::Starting));
    assert!(
        seen.ends_with(&[Status::Waiting, Status::Exited])
            || seen.ends_with(&[Status::Waiting, Status::Working, Status::Exited]),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn background_processes_do_not_keep_a_session_open() {
    let bench = Bench::new(false);
    let id = bench.open("(trap '' HUP; sleep 1000) & printf left; exit 3").await;
    let outputs = bench.watch(&id, screen(From::Now)).await.rest().await;
    assert!(matches!(outputs.last(), Some(Output::Exit { status: ExitStatus::Code(3), .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_the_same_session_twice_starts_one_program() {
    let bench = Bench::new(false);
    let id = SessionId::random();
    let first = bench.house.open(id.clone(), shell("sleep 1000")).await.unwrap();
    let again = bench.house.open(id.clone(), shell("sleep 1000")).await.unwrap();
    assert_eq!((first.pid, first.ordinal), (again.pid, again.ordinal));
    let other = bench.house.open(SessionId::random(), shell("sleep 1000")).await.unwrap();
    assert_eq!(other.ordinal, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_sandbox_starts_nothing_and_says_how_to_go_on() {
    let bench = Bench::new(false);
    bench.house.pause().await.unwrap();
    let refused = bench.house.open(SessionId::random(), shell("true")).await.unwrap_err();
    assert!(refused.hint_text().unwrap().contains("sandwatch resume"));
    bench.house.resume().await.unwrap();
    bench.house.open(SessionId::random(), shell("true")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_still_by_signals_is_never_said_to_be_stuck_for_that() {
    let bench = Bench::new(false);
    let id = bench.open("exec sleep 1000").await;
    bench.house.pause().await.unwrap();
    let told = bench.house.explain(&id).await.unwrap();
    let causes: Vec<Cause> = told.causes().map(|it| it.0).collect();
    assert_eq!(causes, [Cause::Paused], "{told:?}");
    assert!(!told.processes.all.is_empty(), "what is held is shown: {told:?}");
    bench.house.resume().await.unwrap();
    let mut events = bench.house.events().await.unwrap();
    let event = tokio::time::timeout(crate::session_place::SOON, events.next()).await.unwrap();
    let Some(SeatEvent::Report(report)) = event else { panic!("{event:?}") };
    assert_ne!(report.sessions[0].status, Status::Stuck, "{report:?}");
    let told = bench.house.explain(&id).await.unwrap();
    assert_eq!(told.causes().count(), 0, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_place_is_told_with_its_reason() {
    let bench = Bench::new(false);
    let events = bench.house.events().await.unwrap();
    bench.place.lost.notify_one();
    let all: Vec<_> = events.collect().await;
    assert_eq!(all.last(), Some(&SeatEvent::Gone { reason: "the test lost it".to_owned() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_sandbox_keeps_its_recording_only_if_it_was_asked_to() {
    for record in [true, false] {
        let bench = Bench::new(record);
        let id = bench.open("echo hi").await;
        bench.all(&id).await;
        bench.house.remove().await.unwrap();
        assert_eq!(bench.journal(&id).exists(), record);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_passes_the_three_streams_and_the_code_through() {
    let bench = Bench::new(false);
    let stdin = Box::pin(tokio_stream::iter([text("one "), text("two")]));
    let script = shell("cat; echo bad >&2; exit 5");
    let mut output = bench.house.exec(script, stdin).await.unwrap();
    let (mut stdout, mut stderr, mut exit) = (Vec::new(), Vec::new(), None);
    while let Some(next) = output.next().await {
        match next.unwrap() {
            ExecOutput::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            ExecOutput::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            ExecOutput::Exit(status) => exit = Some(status),
        }
    }
    assert_eq!((&*stdout, &*stderr), (&b"one two"[..], &b"bad\n"[..]));
    assert_eq!(exit, Some(ExitStatus::Code(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_output_of_exec_kills_the_program() {
    let bench = Bench::new(false);
    let stdin = Box::pin(tokio_stream::pending());
    let mut output = bench.house.exec(shell("echo $$; exec sleep 1000"), stdin).await.unwrap();
    let Some(Ok(ExecOutput::Stdout(pid))) = output.next().await else { panic!() };
    let process = format!("/proc/{}", String::from_utf8_lossy(&pid).trim());
    assert!(std::path::Path::new(&process).exists());
    drop(output);
    found("the program is killed", async || {
        (!std::path::Path::new(&process).exists()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_says_reaches_the_feed_and_is_bounded() {
    let bench = Bench::new(false);
    let mut events = bench.house.events().await.unwrap();
    let id = bench
        .open("i=0; while [ $i -lt 5000 ]; do printf '\\033]0;%d\\007' $i; i=$((i+1)); done")
        .await;
    let end = bench.all(&id).await.len();
    assert!(end > 0);
    let (mut said, mut exited) = (0, false);
    while !exited {
        match events.next().await {
            Some(SeatEvent::Said { fact: Fact::Title(_), .. }) => said += 1,
            Some(SeatEvent::Report(report)) => {
                exited = report.sessions.iter().any(|it| it.exit.is_some());
            }
            _ => {}
        }
    }
    assert!(said < 5000, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_failed_is_finished_by_the_next() {
    let bench = Bench::new(false);
    let id = bench.open("echo hi").await;
    bench.all(&id).await;
    let (journal, away) = (bench.journal(&id), bench.dir.path().join("away"));
    std::fs::rename(&journal, &away).unwrap();
    std::fs::write(&journal, "in the way").unwrap();
    bench.house.remove().await.unwrap_err();
    std::fs::remove_file(&journal).unwrap();
    std::fs::rename(&away, &journal).unwrap();
    bench.house.remove().await.unwrap();
    assert!(!journal.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_session_that_starts_takes_the_place_of_an_ended_one() {
    let bench = Bench::new(false);
    bench.open("read line").await;
    let ended = bench.open("true").await;
    bench.all(&ended).await;
    for _ in 2..SESSIONS_PER_SANDBOX_MAX {
        bench.open("read line").await;
    }
    let spec = session(&["\0"]);
    bench.house.open(SessionId::random(), spec).await.unwrap_err();
    // What is no session takes no place of one.
    let stdin = Box::pin(tokio_stream::empty());
    drop(bench.house.exec(shell("true"), stdin).await.unwrap());
    let request = || watch(From::Start, Fidelity::Full);
    assert!(bench.house.output(&ended, request()).await.is_ok());
    bench.open("read line").await;
    assert!(bench.house.output(&ended, request()).await.is_err());
    let fault = bench.house.open(SessionId::random(), shell("true")).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Busy);
    let stdin = Box::pin(tokio_stream::empty());
    drop(bench.house.exec(shell("true"), stdin).await.unwrap());
}

/// Recordings can't be made here: the place is taken by a file.
async fn without_a_journal(script: &str) -> (Bench, SessionId) {
    let bench = Bench::new(true);
    std::fs::write(bench.dir.path().join("recordings"), "").unwrap();
    let id = bench.open(script).await;
    (bench, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_a_watcher_has_all_that_is_in_memory_and_a_count_of_the_rest() {
    let (bench, id) = without_a_journal(MANY_LINES).await;
    bench.watch(&id, screen(From::Now)).await.rest().await;
    let wanted = numbers(250_000).into_bytes();
    let outputs = bench.watch(&id, full(From::Start)).await.rest().await;
    let Some(Output::Keyframe { offset, lost, .. }) = outputs.first() else {
        panic!("{:?}", outputs.first())
    };
    assert_eq!((*offset, *lost), ((wanted.len() - RING_BYTES) as u64, *offset));
    let mut bytes = Vec::new();
    for output in &outputs {
        if let Output::Chunk { offset: at, bytes: more } = output {
            assert_eq!(*at, offset + bytes.len() as u64);
            bytes.extend_from_slice(more);
        }
    }
    assert!(bytes == wanted[wanted.len() - RING_BYTES..], "as printed");
    assert!(matches!(outputs.last(), Some(Output::Exit { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_a_watcher_that_lags_goes_on_with_a_keyframe() {
    let (bench, id) = without_a_journal("echo first; read go; seq 1 250000; echo last").await;
    let mut outputs = bench.watch(&id, full(From::Start)).await;
    let mut replica = Replica::new();
    while replica.offset < 7 {
        replica.take(outputs.next().await.unwrap());
    }
    bench.house.input(&id, text("\r")).await.unwrap();
    // It does not read until all is over.
    bench.watch(&id, screen(From::Now)).await.rest().await;
    for output in outputs.rest().await {
        replica.take(output);
    }
    assert!(replica.lost > 0 && replica.exit.is_some(), "{}", replica.lost);
    assert!(replica.screen.lines().iter().any(|it| it == "last"));
}
