//! Scrollback and search out of the journal: every line once, whatever lies between.

use std::{fs, path::Path};

use sandwatch::{
    base::{clock::Timestamp, fault::Kind, units::Size},
    model::history::{HistoryMark, HistoryRequest, SearchRequest},
    session::journal::{self, Writer},
    vt::{plain, screen::Screen},
};

/// Writes a journal as a host does: screen and segments in step.
struct Scribe {
    writer: Writer,
    screen: Screen,
}

impl Scribe {
    fn new(dir: &Path) -> Self {
        let writer = Writer::create(dir, u64::MAX).unwrap();
        let mut scribe = Self { writer, screen: Screen::new(Size::DEFAULT) };
        scribe.segment();
        scribe
    }

    fn segment(&mut self) {
        let state = self.screen.keyframe().into();
        self.writer.keyframe(Timestamp(1), self.screen.size(), state);
    }

    fn print(&mut self, text: &str) {
        self.writer.output(Timestamp(1), text.as_bytes());
        self.screen.feed(text.as_bytes());
        if self.writer.wants_keyframe() {
            self.segment();
        }
    }

    fn resize(&mut self, size: Size) {
        self.writer.resize(Timestamp(1), size);
        self.screen.resize(size);
    }
}

/// The whole scrollback, oldest first.
fn scrollback(dir: &Path, page: u32) -> Vec<(HistoryMark, String)> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page =
            journal::history(dir, &HistoryRequest { before, until: None, lines: page }).unwrap();
        let lines =
            page.lines.iter().map(|it| (it.mark, plain(&it.formatted).trim_end().to_owned()));
        let mut lines: Vec<_> = lines.collect();
        lines.append(&mut all);
        all = lines;
        if page.at_start || page.lines.is_empty() {
            return all;
        }
        before = all.first().map(|it| it.0);
    }
}

/// What has scrolled off, then what is on the screen.
fn everything(dir: &Path, screen: &Screen) -> Vec<String> {
    let mut lines: Vec<_> = scrollback(dir, 1000).into_iter().map(|it| it.1).collect();
    lines.extend(screen.lines());
    lines.retain(|it| !it.is_empty());
    lines
}

#[test]
fn a_hundred_thousand_numbered_lines_each_come_back_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    for chunk in (1..=100_000).collect::<Vec<_>>().chunks(100) {
        let lines: Vec<_> = chunk.iter().map(|it| format!("line {it} is here\r\n")).collect();
        scribe.print(&lines.concat());
    }
    assert!(fs::read_dir(dir.path()).unwrap().count() >= 3, "over several segments");
    let wanted: Vec<_> = (1..=100_000).map(|it| format!("line {it} is here")).collect();
    assert!(everything(dir.path(), &scribe.screen) == wanted);
}

#[test]
fn pages_join_without_a_line_twice_or_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    for number in 1..=500 {
        scribe.print(&format!("{number}\r\n"));
        if number % 120 == 0 {
            scribe.segment();
        }
    }
    let whole = scrollback(dir.path(), 1000);
    assert!(whole.iter().map(|it| it.0).is_sorted(), "marks grow with time");
    for page in [1, 7, 120, 333] {
        assert_eq!(scrollback(dir.path(), page), whole);
    }
}

#[test]
fn lines_survive_resizes_and_segment_borders_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    for number in 1..=3000 {
        scribe.print(&format!("{number:05}\r\n"));
        match number % 97 {
            0 => scribe.segment(),
            40 => scribe.resize(Size::clamped(100, 10 + (number % 5) as u16)),
            70 => scribe.resize(Size::clamped(60, 30 + (number % 7) as u16)),
            _ => {}
        }
    }
    let seen = everything(dir.path(), &scribe.screen);
    let wanted: Vec<_> = (1..=3000).map(|it| format!("{it:05}")).collect();
    let missing: Vec<_> = wanted.iter().filter(|it| !seen.contains(it)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "missing");
    assert_eq!(seen.len(), wanted.len(), "twice: {:?}", twice(&seen));
}

fn twice(lines: &[String]) -> Vec<&String> {
    let mut sorted: Vec<_> = lines.iter().collect();
    sorted.sort();
    sorted.windows(2).filter(|it| it[0] == it[1]).map(|it| it[0]).collect()
}

#[test]
fn history_up_to_an_offset_is_what_had_scrolled_off_when_so_much_was_printed() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    // What was printed so far, how many bytes that were, and what showed.
    let mut frozen = Vec::new();
    let mut offset = 0;
    for number in 0..600 {
        if number % 61 == 60 {
            frozen.push((number, offset, scribe.screen.lines()));
        }
        let line = format!("{number}\r\n");
        offset += line.len() as u64;
        scribe.print(&line);
        match number {
            200 | 400 => scribe.segment(),
            300 => scribe.resize(Size::clamped(80, 40)),
            _ => {}
        }
    }
    for (number, until, screen) in frozen {
        let until = Some(until);
        let request = HistoryRequest { before: None, until, lines: 1000 };
        let page = journal::history(dir.path(), &request).unwrap();
        let mut seen: Vec<_> = page.lines.iter().map(|it| plain(&it.formatted)).collect();
        let scrolled = seen.len();
        seen.extend(screen);
        seen.retain(|it| !it.is_empty());
        let wanted: Vec<_> = (0..number).map(|it: usize| it.to_string()).collect();
        assert_eq!(seen, wanted, "{number}");
        let pattern = format!("^{}$", scrolled - 1);
        let request = SearchRequest { pattern, before: None, until, hits: 10 };
        assert_eq!(journal::search(dir.path(), &request).unwrap().hits.len(), 1);
        let request = SearchRequest { pattern: format!("^{scrolled}$"), ..request };
        assert_eq!(journal::search(dir.path(), &request).unwrap().hits, []);
    }
}

#[test]
fn pages_up_to_an_offset_join_while_more_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    let lines: String = (0..100).map(|it| format!("{it}\r\n")).collect();
    scribe.print(&lines);
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        scribe.print(&"later\r\n".repeat(7));
        let request = HistoryRequest { before, until: Some(lines.len() as u64), lines: 9 };
        let page = journal::history(dir.path(), &request).unwrap();
        seen.splice(0..0, page.lines.iter().map(|it| plain(&it.formatted)));
        before = page.lines.first().map(|it| it.mark);
        if page.at_start {
            break;
        }
    }
    let wanted: Vec<_> = (0..77).map(|it| it.to_string()).collect();
    assert_eq!(seen, wanted);
}

#[test]
fn search_finds_every_hit_once_newest_first_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    for number in 0..5000 {
        scribe.print(&format!("number \x1b[31m{number}\x1b[0m\r\n"));
        if number % 700 == 0 {
            scribe.segment();
        }
    }
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let request = SearchRequest {
            pattern: "NUMBER? \\d*7$".to_lowercase(),
            before,
            until: None,
            hits: 7,
        };
        let page = journal::search(dir.path(), &request).unwrap();
        found.extend(page.hits.into_iter().map(|it| it.text));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let on_screen = scribe.screen.lines().len();
    let wanted: Vec<_> = (0..5000_usize)
        .rev()
        .filter(|it| it % 10 == 7 && *it + on_screen < 5001)
        .map(|it| format!("number {it}"))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn case_matters_only_with_an_upper_case_letter_and_a_bad_pattern_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    scribe.print(&format!("Error one\r\nerror two\r\n{}", "\r\n".repeat(50)));
    let hits = |pattern: &str| {
        let request =
            SearchRequest { pattern: pattern.to_owned(), before: None, until: None, hits: 10 };
        journal::search(dir.path(), &request).map(|it| it.hits.len())
    };
    assert_eq!(hits("error"), Ok(2));
    assert_eq!(hits("Error"), Ok(1));
    let fault = hits("(").unwrap_err();
    assert_eq!((fault.kind(), fault.hint_text().is_some()), (Kind::Invalid, true));
    assert_eq!(hits("").unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_line_wider_than_the_screen_is_found_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut scribe = Scribe::new(dir.path());
    scribe.print(&format!(
        "{}needle in a {}\r\n{}",
        "x".repeat(76),
        "y".repeat(200),
        "\r\n".repeat(50)
    ));
    let request = SearchRequest {
        pattern: "needle in a y+$".to_owned(),
        before: None,
        until: None,
        hits: 10,
    };
    assert_eq!(journal::search(dir.path(), &request).unwrap().hits.len(), 1);
}

#[test]
fn no_journal_is_absent() {
    let dir = tempfile::tempdir().unwrap();
    let request = HistoryRequest { before: None, until: None, lines: 10 };
    let fault = journal::history(&dir.path().join("none"), &request).unwrap_err();
    assert_eq!(fault.kind(), Kind::Absent);
}
