//! What is on disk: bounded, mended, honest about what is missing.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use sandwatch::{
    base::{
        clock::{self, Timestamp},
        id::{SandboxId, SessionId},
        limits::{JOURNAL_SEGMENT_BYTES, RECORDING_AGE_MAX, RECORDINGS_BYTES_MAX},
        units::Size,
    },
    model::{
        output::{From, Output},
        replay::Span,
        session::ExitStatus,
    },
    session::{
        journal::{self, Meta, Reader, Record, Writer},
        seat::Seat,
    },
};

use crate::session_place::{Bench, found, full};

fn keyframe(writer: &mut Writer) {
    writer.keyframe(Timestamp(1), Size::DEFAULT, "state".into());
}

/// Every output byte, and the number of jumps.
fn read(dir: &Path) -> (Vec<u8>, usize) {
    let mut reader = Reader::open(dir, 0).unwrap();
    let (mut bytes, mut next, mut jumps) = (Vec::new(), 0, 0);
    while let Some(entry) = reader.read().unwrap() {
        if entry.offset != next {
            assert!(matches!(entry.record, Record::Keyframe { .. }), "a jump lands on a keyframe");
            jumps += 1;
            next = entry.offset;
        }
        if let Record::Output(more) = entry.record {
            next += more.len() as u64;
            bytes.extend_from_slice(&more);
        }
    }
    (bytes, jumps)
}

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    let mut found: Vec<_> =
        files.filter(|it| it.extension().is_some_and(|it| it == "seg")).collect();
    found.sort();
    found
}

pub fn meta(ended_at: Option<Timestamp>) -> Meta {
    Meta {
        session: SessionId::random(),
        sandbox: SandboxId::random(),
        sandbox_name: "box".to_owned(),
        session_name: "box".to_owned(),
        command: vec!["sh".to_owned()],
        started_at: Timestamp(0),
        size: Size::DEFAULT,
        record: true,
        ended_at,
        exit: None,
        lost_bytes: 0,
    }
}

#[test]
fn a_torn_tail_costs_its_record_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), u64::MAX).unwrap();
    keyframe(&mut writer);
    writer.output(Timestamp(2), b"first ");
    writer.output(Timestamp(3), b"second");
    drop(writer);
    let file = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&file).unwrap();
    for cut in 1..12 {
        fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        assert_eq!(read(dir.path()), (b"first ".to_vec(), 0));
    }
    // The next writer cuts it off and goes on behind it.
    let mut writer = Writer::create(dir.path(), u64::MAX).unwrap();
    assert_eq!(writer.end(), 6);
    keyframe(&mut writer);
    writer.output(Timestamp(4), b"third");
    assert_eq!(read(dir.path()), (b"first third".to_vec(), 0));
}

#[test]
fn garbage_in_a_segment_is_a_gap_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), u64::MAX).unwrap();
    for _ in 0..3 {
        keyframe(&mut writer);
        for _ in 0..3 {
            writer.output(Timestamp(2), &[b'x'; 1000]);
        }
    }
    let file = segments(dir.path()).remove(1);
    let length = fs::metadata(&file).unwrap().len();
    let (whole, _) = read(dir.path());
    for at in 0..length {
        let bytes = fs::read(&file).unwrap();
        let handle = fs::File::options().write(true).open(&file).unwrap();
        handle.write_all_at(&[bytes[at as usize] ^ 0x55], at).unwrap();
        let (seen, jumps) = read(dir.path());
        assert!(seen.len() < whole.len() && jumps == 1 || at < 8, "byte {at}");
        handle.write_all_at(&[bytes[at as usize]], at).unwrap();
    }
}

#[test]
fn a_journal_keeps_within_its_bound_by_dropping_its_oldest_segments() {
    let dir = tempfile::tempdir().unwrap();
    let bound = 4 * JOURNAL_SEGMENT_BYTES;
    let mut writer = Writer::create(dir.path(), bound).unwrap();
    for _ in 0..2000 {
        if writer.wants_keyframe() {
            keyframe(&mut writer);
        }
        writer.output(Timestamp(2), &[b'x'; 8000]);
    }
    let size: u64 = segments(dir.path()).iter().map(|it| fs::metadata(it).unwrap().len()).sum();
    assert!(size <= bound && size > bound / 2, "{size}");
    let (bytes, jumps) = read(dir.path());
    assert_eq!(jumps, 1, "one jump to the oldest byte kept");
    assert!(bytes.len() as u64 > bound / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_start_begins_with_a_keyframe_when_bytes_were_dropped() {
    let bench = Bench::new(false);
    let id = bench.open("yes 012345678901234567890123456789 | head -c 24000000").await;
    let mut live = bench.watch(&id, full(From::Offset(u64::MAX))).await;
    while live.next().await.is_some() {}
    let outputs = bench.watch(&id, full(From::Start)).await.rest().await;
    let Some(Output::Keyframe { offset, lost, .. }) = outputs.first() else { panic!() };
    assert!(*offset > 0 && lost == offset);
    let mut next = *offset;
    for output in &outputs[1..] {
        if let Output::Chunk { offset, bytes } = output {
            assert_eq!(*offset, next);
            next += bytes.len() as u64;
        }
    }
    assert!(matches!(outputs.last(), Some(Output::Exit { status: ExitStatus::Code(0), .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_pauses_the_journal_and_the_session_goes_on() {
    let bench = Bench::new(true);
    let id = SessionId::random();
    // The first segment is a device that is always full.
    fs::create_dir_all(bench.journal(&id)).unwrap();
    let first = bench.journal(&id).join(format!("{:020}.seg", 0));
    std::os::unix::fs::symlink("/dev/full", &first).unwrap();
    let script = "echo lost; read line; echo kept; read line";
    bench.house.open(id.clone(), crate::session_place::shell(script)).await.unwrap();
    let mut live = bench.watch(&id, full(From::Offset(0))).await;
    assert_eq!(live.next().await, Some(Output::Chunk { offset: 0, bytes: "lost\r\n".into() }));
    // It is tried again after a while, with the next output.
    found("the journal goes on", async || {
        bench.house.input(&id, "x".into()).await.unwrap();
        segments(&bench.journal(&id)).pop()
    })
    .await;
    bench.house.input(&id, "\r".into()).await.unwrap();
    bench.house.input(&id, "\r".into()).await.unwrap();
    while live.next().await.is_some() {}
    let (bytes, jumps) = read(&bench.journal(&id));
    assert_eq!(jumps, 1);
    assert!(String::from_utf8(bytes).unwrap().contains("kept"));
    let meta = Meta::load(&bench.journal(&id)).unwrap();
    assert!(meta.lost_bytes >= 6, "{meta:?}");
    let outputs = bench.watch(&id, full(From::Start)).await.rest().await;
    assert!(matches!(outputs.first(), Some(Output::Resize { .. } | Output::Keyframe { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_asciicast_3_with_whole_characters() {
    let bench = Bench::new(true);
    let id =
        bench.open("printf 'a\"\\\\\\303'; sleep 0.1; printf '\\251\\377\\033[0mb'; exit 3").await;
    bench.all(&id).await;
    let cast: Vec<u8> = journal::export(&bench.journal(&id), Span::default())
        .unwrap()
        .flat_map(Result::unwrap)
        .collect();
    let text = String::from_utf8(cast).unwrap();
    let mut lines = text.lines().map(|it| serde_json::from_str::<serde_json::Value>(it).unwrap());
    let header = lines.next().unwrap();
    assert_eq!(header["version"], 3);
    assert_eq!(header["term"]["cols"], 80);
    let events: Vec<_> = lines.collect();
    let printed: String =
        events.iter().filter(|it| it[1] == "o").map(|it| it[2].as_str().unwrap()).collect();
    assert_eq!(printed, "a\"\\é\u{fffd}\u{1b}[0mb");
    assert_eq!(events.last().unwrap()[1], "x");
    assert_eq!(events.last().unwrap()[2], "3");
    assert!(events.iter().all(|it| it[0].as_f64().unwrap() >= 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_listed_with_how_they_ended() {
    let bench = Bench::new(true);
    let id = bench.open("exit 4").await;
    bench.all(&id).await;
    let root = bench.dir.path().join("recordings");
    let found = found("the end is written", async || {
        let found = journal::recordings(&root).unwrap();
        found[0].ended_at.is_some().then_some(found)
    })
    .await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].session.clone(), found[0].exit), (id, Some(ExitStatus::Code(4))));
    assert_eq!(found[0].sandbox_name, "bench");
}

#[test]
fn old_recordings_go_and_live_ones_never_do() {
    let root = tempfile::tempdir().unwrap();
    let now = clock::wall();
    let old = Timestamp(now.0 - RECORDING_AGE_MAX.as_millis() as i64 - 1);
    let (finished, live, recent) = (meta(Some(old)), meta(Some(old)), meta(Some(now)));
    let mut writers = Vec::new();
    for it in [&finished, &live, &recent] {
        let dir = root.path().join(it.session.as_str());
        writers.push(Some(Writer::create(&dir, u64::MAX).unwrap()));
        it.save(&dir).unwrap();
    }
    writers[0] = None;
    writers[2] = None;
    assert_eq!(journal::prune(root.path(), now).unwrap().removed, 1);
    let left: Vec<_> =
        journal::recordings(root.path()).unwrap().into_iter().map(|it| it.session).collect();
    assert_eq!(left.len(), 2);
    assert!(!left.contains(&finished.session));
}

/// Sets when everything in a directory was last written, and it.
fn written(dir: &Path, at: Timestamp) {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(at.0 as u64);
    let inside = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    for path in inside.chain([dir.to_owned()]) {
        std::fs::File::open(path).unwrap().set_modified(at).unwrap();
    }
}

#[test]
fn damaged_recordings_and_those_of_killed_shims_go_by_their_last_output() {
    let root = tempfile::tempdir().unwrap();
    let now = clock::wall();
    let age = RECORDING_AGE_MAX.as_millis() as i64;
    let (old, recent) = (Timestamp(now.0 - age - 2000), Timestamp(now.0 - age + 60_000));
    let mut kept = Vec::new();
    for (last, whole) in [(old, true), (recent, true), (old, false), (recent, false)] {
        let mut it = meta(None);
        it.started_at = Timestamp(0);
        let dir = root.path().join(it.session.as_str());
        drop(Writer::create(&dir, u64::MAX).unwrap());
        it.save(&dir).unwrap();
        if !whole {
            std::fs::write(dir.join("meta"), "torn").unwrap();
        }
        written(&dir, last);
        if last == recent {
            kept.push(dir);
        }
    }
    assert_eq!(journal::prune(root.path(), now).unwrap().removed, 2);
    assert!(kept.iter().all(|it| it.exists()));
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 2);
}

/// A journal that says it has so many bytes, which takes no room on disk.
fn of_bytes(root: &Path, bytes: u64, ended: Timestamp) -> (Writer, PathBuf) {
    let it = meta(Some(ended));
    let dir = root.join(it.session.as_str());
    let writer = Writer::create(&dir, u64::MAX).unwrap();
    it.save(&dir).unwrap();
    let segment = std::fs::File::create(dir.join(format!("{:020}.seg", 0))).unwrap();
    segment.set_len(bytes).unwrap();
    (writer, dir)
}

#[test]
fn live_recordings_leave_room_for_finished_ones() {
    let root = tempfile::tempdir().unwrap();
    let now = clock::wall();
    let old = Timestamp(now.0 - RECORDING_AGE_MAX.as_millis() as i64 - 1);
    let (_live, _) = of_bytes(root.path(), 2 * RECORDINGS_BYTES_MAX, now);
    let finished = of_bytes(root.path(), 1000, now).1;
    let goes = of_bytes(root.path(), 1000, old).1;
    let pruned = journal::prune(root.path(), now).unwrap();
    assert_eq!((pruned.removed, pruned.crowded), (1, Some(2 * RECORDINGS_BYTES_MAX)));
    assert!(pruned.fault.is_none());
    assert!(finished.exists() && !goes.exists());
}
