//! Looking into recordings: the screen at a moment, what came then, and where a text was printed.

use std::{fs, path::Path};

use bytes::Bytes;
use proptest::prelude::*;
use sandwatch::{
    base::{clock::Timestamp, fault::Kind, limits::REPLAY_BYTES_MAX, units::Size},
    model::{
        replay::{FindRequest, Moment, Replay, Span, Step},
        session::ExitStatus,
    },
    session::journal::{self, Writer},
    vt::Screen,
};

const SIZE: (u16, u16) = (40, 6);

/// Writes a recording as the host of a session does, and keeps what was printed when.
struct Scribe {
    writer: Writer,
    screen: Screen,
    all: Vec<(i64, Vec<u8>)>,
}

impl Scribe {
    fn new(dir: &Path) -> Self {
        let size = Size::clamped(SIZE.0, SIZE.1);
        let mut it = Self {
            writer: Writer::create(dir, u64::MAX).unwrap(),
            screen: Screen::new(size),
            all: Vec::new(),
        };
        it.segment(0);
        it
    }

    fn segment(&mut self, at: i64) {
        self.writer.keyframe(Timestamp(at), self.screen.size(), self.screen.keyframe().into());
    }

    fn print(&mut self, at: i64, text: &str) {
        self.screen.feed(text.as_bytes());
        self.writer.output(Timestamp(at), text.as_bytes());
        self.all.push((at, text.as_bytes().to_vec()));
    }

    /// What the screen was after all that was printed up to then.
    fn screen_at(&self, at: i64) -> Vec<String> {
        let mut screen = Screen::new(Size::clamped(SIZE.0, SIZE.1));
        for (_, bytes) in self.all.iter().filter(|it| it.0 <= at) {
            screen.feed(bytes);
        }
        screen.lines()
    }
}

fn shown(it: &Replay) -> Vec<String> {
    Screen::from_keyframe(it.size, &it.state).lines()
}

fn seek(dir: &Path, at: i64) -> Replay {
    journal::replay(dir, Moment::At(Timestamp(at))).unwrap()
}

#[test]
fn each_moment_shows_what_was_printed_up_to_then_and_goes_on_with_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    for number in 1..400 {
        scribe.print(number * 10, &format!("\x1b[3{}mline {number}\x1b[0m\r\n", number % 8));
        if number % 50 == 0 {
            scribe.segment(number * 10);
        }
    }
    scribe.writer.exit(Timestamp(4000), ExitStatus::Code(3));
    for at in [0, 5, 10, 11, 495, 500, 501, 505, 1995, 3990, 3999, 5000] {
        let it = seek(dir.path(), at);
        assert_eq!(shown(&it), scribe.screen_at(at), "at {at}");
        assert!(it.at <= Timestamp(at.max(0)), "{:?}", it.at);
        // Fed with what comes, it is what the last one is.
        let mut screen = Screen::from_keyframe(it.size, &it.state);
        let mut end = it.offset;
        for step in &it.steps {
            assert!(step.at > Timestamp(at));
            match &step.step {
                Step::Output(bytes) => {
                    assert_eq!(step.offset, end, "nothing is left out");
                    end += bytes.len() as u64;
                    screen.feed(bytes);
                }
                Step::Exit(status) => assert_eq!(*status, ExitStatus::Code(3)),
                other => panic!("{other:?}"),
            }
        }
        assert!(it.at_end);
        assert_eq!(screen.lines(), scribe.screen.lines());
    }
    let over = seek(dir.path(), 5000);
    assert!(over.steps.is_empty());
    assert_eq!(over.exit, Some(ExitStatus::Code(3)), "it had ended by then");
    assert_eq!(seek(dir.path(), 3999).exit, None);
}

#[test]
fn a_moment_by_its_offset_cuts_a_piece_in_two() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    scribe.print(1, "one two");
    scribe.print(2, " three");
    let it = journal::replay(dir.path(), Moment::Before(3)).unwrap();
    assert_eq!((shown(&it)[0].trim_end(), it.offset), ("one", 3));
    let texts: Vec<&[u8]> = it
        .steps
        .iter()
        .map(|it| match &it.step {
            Step::Output(bytes) => &bytes[..],
            _ => b"",
        })
        .collect();
    assert_eq!(texts, [b" two" as &[u8], b" three"]);
    let all = journal::replay(dir.path(), Moment::Before(u64::MAX)).unwrap();
    assert_eq!((shown(&all)[0].trim_end(), all.offset), ("one two three", 13));
}

#[test]
fn what_comes_along_is_bounded_and_the_rest_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    let piece = "x".repeat(30_000);
    for number in 0..40 {
        scribe.print(number, &piece);
    }
    let (mut moment, mut seen, mut asked) = (Moment::At(Timestamp(-1)), 0, 0);
    loop {
        let it = journal::replay(dir.path(), moment).unwrap();
        let bytes: usize = it
            .steps
            .iter()
            .map(|it| match &it.step {
                Step::Output(bytes) => bytes.len(),
                _ => 0,
            })
            .sum();
        assert!(bytes <= REPLAY_BYTES_MAX);
        seen += bytes;
        asked += 1;
        if it.at_end {
            break;
        }
        moment = Moment::Before(it.offset + bytes as u64);
    }
    assert_eq!((seen, asked), (40 * 30_000, 5));
}

#[test]
fn a_broken_recording_shows_what_can_be_read_and_says_when_nothing_can() {
    let dir = tempfile::tempdir().unwrap();
    let none = journal::replay(dir.path(), Moment::At(Timestamp(0))).unwrap_err();
    assert_eq!(none.kind(), Kind::Absent);
    let gone = journal::replay(&dir.path().join("gone"), Moment::At(Timestamp(0))).unwrap_err();
    assert_eq!(gone.kind(), Kind::Absent);
    let mut scribe = Scribe::new(dir.path());
    scribe.print(10, "first\r\n");
    scribe.segment(20);
    scribe.print(30, "second\r\n");
    scribe.segment(40);
    scribe.print(50, "third\r\n");
    drop(scribe);
    let mut files: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "seg"))
        .collect();
    files.sort();
    // The middle one is torn behind its opening, then it is no segment at all.
    let whole = fs::read(&files[1]).unwrap();
    fs::write(&files[1], &whole[..whole.len() - 3]).unwrap();
    let lines = |at| shown(&seek(dir.path(), at)).concat().replace(' ', "");
    assert_eq!(lines(35), "first");
    assert_eq!(lines(60), "firstsecondthird");
    fs::write(&files[1], b"swseg\0\0\x01 and no record").unwrap();
    assert_eq!(lines(35), "first");
    // What is missing is a screen, not a silent jump.
    let it = seek(dir.path(), 15);
    assert!(it.steps.iter().any(|it| matches!(it.step, Step::Screen { .. })), "{:?}", it.steps);
    for file in &files {
        fs::write(file, b"nothing").unwrap();
    }
    super::session_journal::meta(None).save(dir.path()).unwrap();
    for bytes in [&b"nothing"[..], b""] {
        files.iter().for_each(|it| fs::write(it, bytes).unwrap());
        let none = journal::replay(dir.path(), Moment::At(Timestamp(0))).unwrap_err();
        assert_eq!(none.kind(), Kind::Failed, "{none}");
        let none = journal::export(dir.path(), Span::default()).err().unwrap();
        assert_eq!(none.kind(), Kind::Failed, "nothing is not written as a recording: {none}");
    }
}

#[test]
fn what_is_dropped_at_its_beginning_is_not_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    super::session_journal::meta(None).save(dir.path()).unwrap();
    scribe.print(10, "first\r\n");
    scribe.segment(2000);
    scribe.print(3000, "second\r\n");
    drop(scribe);
    assert!(seek(dir.path(), 3000).begins_at < Timestamp(2000));
    let first = fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().path());
    let first = first.filter(|it| it.extension().is_some_and(|it| it == "seg")).min().unwrap();
    fs::remove_file(first).unwrap();
    let it = seek(dir.path(), 1000);
    assert_eq!(it.begins_at, Timestamp(2000));
    assert!(it.holds(Timestamp(1000)).is_err() && it.holds(Timestamp(2000)).is_ok());
    let part = |from, until| {
        let (from, until) = (Some(Timestamp(from)), Some(Timestamp(until)));
        journal::export(dir.path(), Span { from, until })
    };
    let none = part(0, 1999).err().unwrap();
    assert!(
        none.kind() == Kind::Absent && none.message().contains("1970-01-01T00:00:02"),
        "{none}"
    );
    assert!(part(0, 2000).is_ok());
}

#[test]
fn a_clock_that_was_set_back_loses_no_screen() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    scribe.print(1000, "a");
    scribe.segment(2000);
    scribe.print(2000, "b");
    scribe.segment(500);
    scribe.print(510, "c");
    assert_eq!(shown(&seek(dir.path(), 5000))[0].trim_end(), "abc");
    // Whichever it is, there is one.
    for at in [0, 505, 1500, 2500] {
        assert!(!shown(&seek(dir.path(), at)).is_empty());
    }
}

fn find(dir: &Path, pattern: &str, from: u64, backwards: bool) -> Option<(i64, u64, String)> {
    let request = FindRequest { pattern: pattern.to_owned(), from, backwards };
    let page = journal::find(dir, &request).unwrap();
    assert_eq!(page.next, None);
    page.hit.map(|it| (it.at.0, it.end, it.line))
}

#[test]
fn a_text_is_found_when_it_was_printed_and_on_the_screen_then() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    scribe.print(10, "the first need");
    scribe.print(20, "\x1b[31mle\x1b[0m here\r\n");
    scribe.segment(25);
    scribe.print(30, "a needle and a needle\r\n");
    scribe.print(40, "Needle\r\n");
    let all: Vec<_> = {
        let (mut all, mut from) = (Vec::new(), 0);
        while let Some(hit) = find(dir.path(), "needle", from, false) {
            from = hit.1;
            all.push(hit);
        }
        all
    };
    let times: Vec<_> = all.iter().map(|it| (it.0, it.2.as_str())).collect();
    let wanted = [(20, "the first needle here"), (30, "a needle and a needle"), (40, "Needle")];
    assert_eq!(times, wanted);
    for (_, end, line) in &all {
        let it = journal::replay(dir.path(), Moment::Before(*end)).unwrap();
        assert!(shown(&it).iter().any(|it| it.contains(line.as_str())), "{line}");
    }
    let back: Vec<_> = {
        let (mut all, mut from) = (Vec::new(), u64::MAX);
        while let Some(hit) = find(dir.path(), "needle", from, true) {
            from = hit.1;
            all.push(hit.0);
        }
        all
    };
    assert_eq!(back, [40, 30, 20]);
    assert_eq!(find(dir.path(), "Needle", 0, false).map(|it| it.0), Some(40));
    assert_eq!(find(dir.path(), "haystack", 0, false), None);
    let request = FindRequest { pattern: "(".to_owned(), from: 0, backwards: false };
    assert_eq!(journal::find(dir.path(), &request).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_part_of_a_recording_begins_with_its_screen_and_ends_in_time() {
    let bench = tempfile::tempdir().unwrap();
    let dir = bench.path();
    let mut scribe = Scribe::new(dir);
    for number in 1..10 {
        scribe.print(number * 1000, &format!("line {number}\r\n"));
    }
    super::session_journal::meta(None).save(dir).unwrap();
    let text = |span: Span| {
        let pieces = journal::export(dir, span).unwrap().map(|it| it.unwrap());
        let bytes: Vec<u8> = pieces.flat_map(|it: Bytes| it.to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    };
    let part = text(Span { from: Some(Timestamp(4500)), until: Some(Timestamp(6000)) });
    let lines: Vec<&str> = part.lines().collect();
    assert!(lines[0].contains("\"timestamp\":4,"), "{part}");
    assert!(lines[1].starts_with("[0.000,\"o\",") && lines[1].contains("line 4"), "{part}");
    assert_eq!(&lines[2..], ["[0.500,\"o\",\"line 5\\r\\n\"]", "[1.000,\"o\",\"line 6\\r\\n\"]"]);
    let whole = text(Span::default());
    assert_eq!(whole.lines().count(), 10);
    let end = text(Span { from: Some(Timestamp(99_000)), until: None });
    assert_eq!(end.lines().count(), 2, "{end}");
}

#[test]
fn a_thousand_sizes_are_all_there_and_the_last_one_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    scribe.print(1, "before");
    let size = |number: u16| Size::clamped(10 + number % 90, 3 + number % 20);
    for number in 1..=1000 {
        scribe.writer.resize(Timestamp(i64::from(number) * 10), size(number));
    }
    scribe.writer.exit(Timestamp(20_000), ExitStatus::Code(0));
    for number in [1, 500, 1000] {
        let it = seek(dir.path(), i64::from(number) * 10 + 5);
        assert_eq!(it.size, size(number));
        assert_eq!(it.steps.len(), usize::from(1001 - number));
    }
    // Whoever follows asks from the offset, before which all of them lie.
    let it = journal::replay(dir.path(), Moment::Before(6)).unwrap();
    assert_eq!((it.size, it.exit, it.steps.len()), (size(1000), Some(ExitStatus::Code(0)), 0));
    let part = Span { from: Some(Timestamp(5)), until: Some(Timestamp(505)) };
    let pieces: Vec<_> = {
        super::session_journal::meta(None).save(dir.path()).unwrap();
        journal::export(dir.path(), part).unwrap().map(|it| it.unwrap()).collect()
    };
    let text = String::from_utf8(pieces.concat()).unwrap();
    assert_eq!(text.lines().filter(|it| it.contains("\"r\"")).count(), 50);
}

#[test]
fn a_long_line_that_comes_letter_by_letter_is_looked_through_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    let line = format!("{}needle é needle{}", "é".repeat(5000), "x".repeat(5000));
    for (at, letter) in (0..).zip(line.chars()) {
        scribe.print(at, &letter.to_string());
    }
    let (mut all, mut from) = (Vec::new(), 0);
    while let Some(hit) = find(dir.path(), "needle", from, false) {
        from = hit.1;
        all.push(hit.0);
    }
    assert_eq!(all, [5005, 5014]);
    assert_eq!(find(dir.path(), "needle", u64::MAX, true).map(|it| it.0), Some(5014));
    // One that is empty ends somewhere in each piece.
    assert!(find(dir.path(), "x*", 0, false).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_bytes_in_place_of_a_segment_cost_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0..300_usize, at in -10..100_i64) {
        let dir = tempfile::tempdir().unwrap();
        let mut scribe = Scribe::new(dir.path());
        scribe.print(10, "first\r\n");
        scribe.segment(20);
        scribe.print(30, "second\r\n");
        drop(scribe);
        for file in fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().path()) {
            if file.extension().is_some_and(|it| it == "seg") {
                let mut whole = fs::read(&file).unwrap();
                whole.truncate(cut.max(8));
                whole.extend_from_slice(&bytes);
                fs::write(&file, whole).unwrap();
            }
        }
        for moment in [Moment::At(Timestamp(at)), Moment::Before(7)] {
            if let Ok(it) = journal::replay(dir.path(), moment) {
                prop_assert!(it.steps.len() <= 4096);
            }
        }
        let request = FindRequest { pattern: "s".to_owned(), from: 0, backwards: cut % 2 == 0 };
        drop(journal::find(dir.path(), &request));
    }
}
