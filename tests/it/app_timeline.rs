//! The timeline: the screen of the past beside what happened, on one clock; and who was away.

use std::time::Duration;

use bytes::Bytes;
use sandwatch::{
    app::{Act, Link, Msg, msg::Reply},
    base::{
        clock::Timestamp,
        fault::Fault,
        id::{AskId, SandboxId, SessionId},
        units::Size,
    },
    model::{
        event::{Event, Level},
        gauge::{Past, PastLine, Series},
        replay::{FindHit, FindPage, Moment, Replay, Step, Stepped},
        session::Status,
        timeline::{Happening, Kind, Mark, Place, Source, TimelinePage},
    },
    vt::Screen,
};

use super::{
    app_support::{Console, START, day, sandbox},
    app_views::{changed, said},
};

/// So long ago the recording of the tests begins.
const HOUR: i64 = 3_600_000;
const BEGIN: i64 = START - HOUR;

fn happening(minute: i64, kind: Kind, level: Level, text: &str) -> Happening {
    let at = Timestamp(BEGIN + minute * 60_000);
    Happening {
        place: Place { at, source: Source::Hub, number: minute },
        level,
        sandbox: SandboxId::parse("api-refactor"),
        sandbox_name: Some("api-refactor".to_owned()),
        ..Happening::new(at, kind, "x.y", text)
    }
}

pub fn page() -> TimelinePage {
    let session = day()[0].sessions[0].id.clone();
    let of = |it: Happening| Happening { session: Some(session.clone()), ..it };
    let info = Level::Info;
    let happenings = vec![
        happening(0, Kind::Sandbox, info, "alice@laptop made it to run claude"),
        of(happening(1, Kind::Status, info, "api-refactor starting → working: it prints")),
        of(Happening {
            ask: AskId::parse("ask-1"),
            ..happening(12, Kind::Ask, info, "asks, exec: cargo publish")
        }),
        of(happening(
            14,
            Kind::Ask,
            Level::Warning,
            "denied by bob@desk (once) after 2m: exec cargo publish",
        )),
        happening(20, Kind::Snapshot, info, "alice@laptop took the snapshot before-retry s1"),
        happening(
            33,
            Kind::Egress,
            Level::Warning,
            "kept from tracker.example:443 by /usr/bin/curl, 14 times: rule no-trackers",
        ),
        happening(41, Kind::Files, info, "wrote src/retry.rs"),
        of(happening(
            50,
            Kind::Status,
            Level::Warning,
            "api-refactor working → stuck: two processes wait for each other",
        )),
    ];
    let mark = Mark { audit: 4, hub: 9, files: 0 };
    TimelinePage { happenings, mark, ..TimelinePage::default() }
}

fn screen(text: &str) -> (Size, Bytes) {
    let size = Size::clamped(80, 24);
    let mut screen = Screen::new(size);
    screen.feed(text.as_bytes());
    (size, screen.keyframe().into())
}

fn step(second: i64, offset: u64, text: &'static str) -> Stepped {
    let step = Step::Output(Bytes::from_static(text.as_bytes()));
    Stepped { at: Timestamp(BEGIN + second * 1000), offset, step }
}

/// What a moment shows: text, and what came then.
pub fn replay(second: i64, text: &str, steps: Vec<Stepped>, live: bool) -> Reply {
    let (size, state) = screen(text);
    Reply::Replay(Box::new(Replay {
        begins_at: Timestamp(BEGIN),
        ends_at: Timestamp(START),
        live,
        at: Timestamp(BEGIN + second * 1000),
        offset: 100,
        size,
        state,
        exit: None,
        steps,
        at_end: true,
    }))
}

fn is_list(act: &Act) -> bool {
    matches!(act, Act::Timeline(_))
}

fn is_replay(act: &Act) -> bool {
    matches!(act, Act::Replay { .. })
}

fn gauge() -> Past {
    let wave = |most: f32| (0..240_u16).map(|it| most * f32::from(it % 60) / 60.0).collect();
    let line = PastLine { series: Series::Cpu, mean: wave(150.0), peak: wave(160.0) };
    Past { until: Timestamp(START), step: Duration::from_secs(15), lines: vec![line] }
}

const TEXT: &str =
    "\x1b[1m● Bash(cargo test --workspace)\x1b[0m\r\n  ⎿ running 214 tests\r\n\r\n> ";

/// The place on the first sandbox, with all that it asked for; its clock stands at the live end.
pub fn in_timeline(size: (u16, u16)) -> Console {
    let mut console = Console::with_fleet(size, day());
    console.keys("H");
    console.answer(is_list, Reply::Timeline(Box::new(page())));
    console.answer(is_replay, replay(3590, TEXT, Vec::new(), true));
    console.answer(|it| matches!(it, Act::GaugePast(_)), Reply::GaugePast(Box::new(gauge())));
    console
}

fn moments(acts: &[Act]) -> Vec<Moment> {
    let of = acts.iter().filter_map(|it| match it {
        Act::Replay { moment, .. } => Some(*moment),
        _ => None,
    });
    of.collect()
}

fn at(console: &Console) -> i64 {
    (console.state.timeline().unwrap().player.as_ref().unwrap().at.0 - BEGIN) / 1000
}

fn row(console: &Console) -> String {
    console.state.timeline().unwrap().current().map(|it| it.text.clone()).unwrap_or_default()
}

#[test]
fn it_opens_at_the_live_end_of_the_session_that_is_meant_and_follows_it() {
    let mut console = Console::with_fleet((120, 36), day());
    let acts = console.keys("H");
    let Some(Act::Timeline(request)) = acts.iter().find(|it| is_list(it)) else {
        panic!("{acts:?}")
    };
    assert_eq!(request.sandbox.as_deref(), Some("api-refactor"));
    let Moment::At(moment) = moments(&acts)[0] else { panic!("{acts:?}") };
    assert!(moment.0 >= START);
    let mut console = in_timeline((120, 36));
    assert!(console.picture().contains("LIVE"), "{}", console.picture());
    // Looked at for a while, it asks for what is new; nobody there, it does not.
    console.now += Duration::from_secs(2);
    let acts = console.send(Msg::Tick);
    assert_eq!(moments(&acts), [Moment::Before(100)]);
    console.answer(is_replay, replay(3602, TEXT, Vec::new(), true));
    assert!(console.state.wake_at().is_some());
    console.now += Duration::from_secs(3600);
    console.send(Msg::Tick);
    console.answer(is_replay, replay(3602, TEXT, Vec::new(), true));
    assert_eq!(console.state.wake_at(), None, "an idle console does nothing");
}

#[test]
fn it_opens_from_pane_and_inspector_on_the_session_that_shows_there() {
    for keys in ["tab H", "w H"] {
        let mut console = Console::with_fleet((120, 36), day());
        console.keys(keys);
        let session = console.state.timeline().and_then(|it| it.session().cloned());
        assert_eq!(session.as_ref(), Some(&day()[0].sessions[0].id), "{keys}");
        console.keys("esc");
        assert_eq!(console.state.view().is_some(), keys.starts_with('w'), "{keys}");
    }
    let mut console = Console::with_fleet((120, 36), Vec::new());
    console.keys("H");
    assert!(console.state.timeline().is_some_and(|it| it.sandbox.is_none()));
}

#[test]
fn the_clock_goes_by_keys_and_the_list_goes_with_it() {
    let mut console = in_timeline((120, 36));
    assert_eq!(row(&console), page().happenings[7].text);
    let acts = console.keys("left");
    assert!(matches!(moments(&acts)[..], [Moment::At(_)]), "{acts:?}");
    assert_eq!(at(&console), 3595);
    console.keys("< < < < < < < < < < < <");
    assert_eq!((at(&console), row(&console)), (2875, page().happenings[6].text.clone()));
    // One question at a time; the newest is the one that counts.
    assert_eq!(console.effects.iter().filter(|it| is_replay(&it.act)).count(), 2);
    let acts = console.answer(is_replay, replay(3595, "old", Vec::new(), true));
    let [Moment::At(moment)] = moments(&acts)[..] else { panic!("{acts:?}") };
    let clock = console.state.timeline().unwrap().player.as_ref().unwrap().at;
    assert_eq!(moment, clock);
    console.answer(is_replay, replay(2875, "then", Vec::new(), true));
    assert!(console.picture().contains("then"));
    assert_eq!(at(&console), 2875);
}

#[test]
fn the_clock_goes_from_one_event_to_the_next_and_only_of_a_kind() {
    let mut console = in_timeline((120, 36));
    console.keys("[");
    assert_eq!(at(&console), 50 * 60);
    console.keys("[ [");
    assert_eq!((at(&console), row(&console)), (33 * 60, page().happenings[5].text.clone()));
    console.keys("]");
    assert_eq!(at(&console), 41 * 60);
    console.keys("k k k");
    assert_eq!(at(&console), 14 * 60);
    console.keys("t");
    assert!(said(&console).contains("ask"), "{}", said(&console));
    assert_eq!(console.state.timeline().unwrap().listed().count(), 2);
    console.keys("[");
    assert_eq!(at(&console), 12 * 60);
    console.keys("[");
    assert!(said(&console).contains("before"), "{}", said(&console));
}

#[test]
fn it_plays_skips_what_is_idle_and_ends() {
    let mut console = in_timeline((120, 36));
    console.keys("g");
    let steps = vec![step(1, 100, "one "), step(1800, 104, "two")];
    console.answer(is_replay, replay(0, "", steps, false));
    console.keys("space + +");
    assert!(said(&console).contains("4x"), "{}", said(&console));
    console.now += Duration::from_millis(300);
    console.send(Msg::Tick);
    assert!(console.picture().contains("one"), "{}", console.picture());
    console.now += Duration::from_millis(100);
    console.send(Msg::Tick);
    assert_eq!(at(&console), 1799, "half an hour of nothing is not waited for");
    assert!(console.picture().contains("idle skipped"), "{}", console.picture());
    console.now += Duration::from_millis(300);
    console.send(Msg::Tick);
    assert!(console.picture().contains("one two"));
    console.send(Msg::Tick);
    assert_eq!(at(&console), 3600);
    assert!(!console.state.timeline().unwrap().player.as_ref().unwrap().is_playing());
}

#[test]
fn a_text_is_looked_for_in_time_and_the_clock_goes_there() {
    let mut console = in_timeline((120, 36));
    console.keys("/");
    console.text("panicked");
    let acts = console.keys("enter");
    let request = acts.iter().find_map(|it| match it {
        Act::FindInTime { request, .. } => Some(request.clone()),
        _ => None,
    });
    let request = request.unwrap();
    assert_eq!(
        (request.pattern.as_str(), request.from, request.backwards),
        ("panicked", 100, true),
        "from the live end there is only the way back"
    );
    let none = || Reply::Found(Box::new(FindPage { hit: None, next: None }));
    console.answer(|it| matches!(it, Act::FindInTime { .. }), none());
    assert!(said(&console).contains("not printed before"), "{}", said(&console));
    console.keys("n");
    console.answer(|it| matches!(it, Act::FindInTime { .. }), none());
    assert!(said(&console).contains("not printed after"), "{}", said(&console));
    let acts = console.keys("N");
    let back = |it: &Act| matches!(it, Act::FindInTime { request, .. } if request.backwards);
    assert!(acts.iter().any(back));
    // In parts: the rest is asked for.
    let part = Reply::Found(Box::new(FindPage { hit: None, next: Some(50) }));
    let acts = console.answer(back, part);
    assert!(
        acts.iter().any(|it| matches!(it, Act::FindInTime { request, .. } if request.from == 50))
    );
    let hit = FindHit {
        at: Timestamp(BEGIN + 600_000),
        offset: 40,
        end: 44,
        line: "thread panicked\u{202e}".to_owned(),
    };
    let acts =
        console.answer(back, Reply::Found(Box::new(FindPage { hit: Some(hit), next: None })));
    assert_eq!(moments(&acts), [Moment::Before(44)]);
    assert_eq!(at(&console), 600);
    assert!(!console.picture().contains('\u{202e}'));
}

#[test]
fn a_row_leads_to_the_ask_that_waits_or_to_the_recording_of_its_session() {
    let mut console = in_timeline((120, 36));
    console.keys("g j j enter");
    assert!(console.state.shown_ask().is_some(), "{}", console.picture());
    console.keys("esc esc");
    assert!(console.state.timeline().is_some());
    console.keys("a");
    let other = sandbox("docs-site", "codex", Status::Stuck);
    let it = Happening {
        sandbox: Some(other.id.clone()),
        sandbox_name: Some(other.name.clone()),
        ..happening(30, Kind::Session, Level::Warning, "docs-site ended with exit code 2")
    };
    let fleet = TimelinePage { happenings: vec![it], ..page() };
    let acts = console.answer(is_list, Reply::Timeline(Box::new(fleet)));
    let sessions: Vec<&SessionId> = acts
        .iter()
        .filter_map(|it| match it {
            Act::Replay { session, .. } => Some(session),
            _ => None,
        })
        .collect();
    assert_eq!(sessions, [&other.sessions[0].id]);
}

/// What happened in two sandboxes and to the hub.
pub fn fleet_page() -> TimelinePage {
    let other = sandbox("docs-site", "codex", Status::Stuck);
    let of = |it: Happening| Happening {
        sandbox: Some(other.id.clone()),
        sandbox_name: Some(other.name.clone()),
        session: Some(other.sessions[0].id.clone()),
        ..it
    };
    let hub = Happening {
        sandbox: None,
        sandbox_name: None,
        ..happening(2, Kind::Hub, Level::Info, "the hub was started")
    };
    let mut happenings = page().happenings;
    happenings.push(hub);
    happenings.push(of(happening(30, Kind::Files, Level::Info, "wrote docs/index.md")));
    let why = "docs-site working → stuck: waits for a lock that another thread of itself holds, since 52 s";
    happenings.push(of(happening(52, Kind::Status, Level::Warning, why)));
    happenings.sort_by_key(|it| it.place);
    TimelinePage { happenings, ..page() }
}

/// The list of the whole fleet, with the recording of its last row.
pub fn in_fleet(size: (u16, u16)) -> Console {
    let mut console = in_timeline(size);
    console.keys("a");
    console.answer(is_list, Reply::Timeline(Box::new(fleet_page())));
    console.keys("G");
    console.answer(is_replay, replay(3100, "codex>", Vec::new(), true));
    console
}

fn shown(console: &Console) -> Option<String> {
    let it = console.state.timeline().unwrap();
    it.session().and_then(|it| Some(console.state.fleet.session(it)?.0.sandbox.name.clone()))
}

#[test]
fn in_the_list_of_the_fleet_the_row_decides_which_recording_shows() {
    for size in [(80, 24), (120, 40), (300, 100)] {
        let mut console = in_fleet(size);
        let mut seen = std::collections::BTreeSet::new();
        let check = |console: &Console, seen: &mut std::collections::BTreeSet<Option<String>>| {
            let row = console.state.timeline().unwrap().current().cloned().unwrap();
            let shown = shown(console);
            assert_eq!(shown, row.sandbox_name, "{size:?} {}", row.text);
            seen.insert(shown);
        };
        for key in ["G", "k", "k", "k", "g", "j", "j", "j", "G", "[", "[", "]"] {
            console.keys(key);
            check(&console, &mut seen);
        }
        assert_eq!(seen.len(), 3, "both, and the hub's row that has none");
        // Whatever moves the clock stays with what shows.
        console.keys("G");
        console.answer(is_replay, replay(3100, "codex>", Vec::new(), true));
        for key in ["<", "left", "F", "<", "right"] {
            console.keys(key);
            assert_eq!(shown(&console).as_deref(), Some("docs-site"), "{size:?} {key}");
            check(&console, &mut seen);
        }
        // What comes meanwhile moves no cursor, and so no recording.
        let row = row(&console);
        console.now += Duration::from_secs(9);
        console.send(Msg::Tick);
        let it = happening(59, Kind::Ask, Level::Warning, "asks, exec: x");
        let newer = TimelinePage { happenings: vec![it], ..page() };
        console.answer(is_list, Reply::Timeline(Box::new(newer)));
        assert_eq!(self::row(&console), row);
        check(&console, &mut seen);
        // What is asked for there is meant for the row.
        let acts = console.keys("f");
        assert!(console.state.timeline().is_none(), "{}", said(&console));
        assert!(console.picture().contains("docs-site"), "{acts:?}");
    }
    // And back to the sandbox of the row alone.
    let mut console = in_fleet((120, 36));
    let acts = console.keys("a");
    let Some(Act::Timeline(request)) = acts.iter().find(|it| is_list(it)) else {
        panic!("{acts:?}")
    };
    assert_eq!(request.sandbox.as_deref(), Some("docs-site"));
    assert_eq!(shown(&console).as_deref(), Some("docs-site"));
}

#[test]
fn a_list_of_the_fleet_names_each_sandbox_once_and_cuts_nothing_that_has_room() {
    let why = "waits for a lock that another thread of itself holds, since 52 s";
    for size in [(80, 24), (120, 40), (300, 100)] {
        let picture = in_fleet(size).picture();
        let told: String = picture.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<_> =
            picture.lines().filter(|it| it.contains("working → stuck: waits")).collect();
        assert!(!lines.is_empty(), "{picture}");
        let listed = lines[0].split('~').nth(1).unwrap();
        assert_eq!(listed.matches("docs-site").count(), 1, "{picture}");
        match size.0 {
            300 => assert!(lines[0].contains(why), "{picture}"),
            _ => assert!(told.contains("since 52") || told.contains("52 s"), "{picture}"),
        }
    }
}

#[test]
fn steps_from_event_to_event_go_on_beyond_the_ends_of_the_recording() {
    let mut console = Console::with_fleet((120, 36), day());
    console.keys("H");
    let early =
        (-3..0).map(|it| happening(it, Kind::Sandbox, Level::Info, &format!("before {it}")));
    let late = (70..73).map(|it| happening(it, Kind::Sandbox, Level::Info, &format!("after {it}")));
    let happenings = early.chain(page().happenings).chain(late).collect();
    console.answer(is_list, Reply::Timeline(Box::new(TimelinePage { happenings, ..page() })));
    console.answer(is_replay, replay(3590, TEXT, Vec::new(), false));
    for (key, end) in [("[", "before -3"), ("]", "after 72")] {
        for _ in 0..20 {
            console.keys(key);
            let pending = console.effects.iter().any(|it| is_replay(&it.act));
            if pending {
                console.answer(is_replay, replay(60, TEXT, Vec::new(), false));
            }
        }
        assert_eq!(row(&console), end);
    }
}

#[test]
fn a_part_is_written_to_a_file_and_how_on_the_command_line() {
    let mut console = in_timeline((120, 36));
    console.keys("< e <");
    assert!(console.picture().contains("part from"), "{}", console.picture());
    let acts = console.keys("e");
    let Some(Act::Export { span, path, .. }) =
        acts.iter().find(|it| matches!(it, Act::Export { .. }))
    else {
        panic!("{acts:?}")
    };
    let (from, until) = (span.from.unwrap(), span.until.unwrap());
    assert_eq!(until.since(from), Duration::from_secs(60));
    assert!(path.starts_with("/home/me/project"), "{path:?}");
    console.answer(|it| matches!(it, Act::Export { .. }), Reply::Nothing);
    let words = said(&console);
    assert!(
        words.contains("sandwatch recordings export") && words.contains("--from 2026-"),
        "{words}"
    );
    // Given up, nothing is written.
    console.keys("e esc");
    assert!(console.state.timeline().is_some());
    assert!(console.keys("e").iter().all(|it| !matches!(it, Act::Export { .. })));
}

#[test]
fn what_can_not_be_read_is_said_and_asked_for_again_when_the_hub_is_back() {
    let mut console = Console::with_fleet((120, 36), day());
    console.keys("H");
    for wanted in [is_list as fn(&Act) -> bool, is_replay] {
        let id = console.effects.iter().rev().find(|it| wanted(&it.act)).unwrap().id;
        console.send(Msg::Done { id, result: Err(Fault::lost("no hub\u{1b}[2J")) });
    }
    let picture = console.picture();
    assert!(
        picture.contains("not known: no hub␛[2J") && picture.contains("no picture"),
        "{picture}"
    );
    let why = "gone".to_owned();
    console.send(Msg::Link(Link::Down { since: console.now, why }));
    let acts = console.send(Msg::Link(Link::Up(None)));
    assert!(acts.iter().any(is_list), "{acts:?}");
    assert_eq!(moments(&acts).len(), 1, "{acts:?}");
}

#[test]
fn news_is_asked_for_when_its_sandbox_changed_and_only_so_often() {
    let mut console = in_timeline((120, 36));
    console.now += Duration::from_secs(3);
    console.send(Msg::Tick);
    let lists = |acts: &[Act]| acts.iter().filter(|it| is_list(it)).count();
    let of = |name: &str| changed(sandbox(name, "claude", Status::Idle));
    assert_eq!(lists(&console.send(of("crawler"))), 0);
    assert_eq!(lists(&console.send(of("api-refactor"))), 1);
    let newer = || Reply::Timeline(Box::new(TimelinePage { happenings: Vec::new(), ..page() }));
    console.answer(is_list, newer());
    assert_eq!(lists(&console.send(of("api-refactor"))), 0, "not all the time");
    console.now += Duration::from_secs(1);
    assert_eq!(lists(&console.send(Msg::Tick)), 1);
    // Files are looked for now and then; more often while the hub has not looked through all of them.
    for (files_pending, soon) in [(1, 1), (0, 0)] {
        let it = TimelinePage { happenings: Vec::new(), files_pending, ..page() };
        console.answer(is_list, Reply::Timeline(Box::new(it)));
        console.now += Duration::from_secs(1);
        assert_eq!(lists(&console.send(Msg::Tick)), soon);
    }
    console.now += Duration::from_secs(4);
    assert_eq!(lists(&console.send(Msg::Tick)), 1);
    console
        .send(Msg::Event(Event::Removed { seq: 9, id: SandboxId::parse("api-refactor").unwrap() }));
    assert!(console.state.timeline().is_some(), "what happened stays to be read");
}

fn signs(console: &Console) -> usize {
    console.effects.iter().filter(|it| matches!(it.act, Act::Sign(_))).count()
}

#[test]
fn who_comes_back_reads_one_line_and_who_was_here_none() {
    let mut console = Console::with_fleet((120, 36), day());
    assert_eq!(signs(&console), 0, "an open console is nobody");
    console.keys("j");
    assert_eq!(signs(&console), 1);
    let is_sign = |it: &Act| matches!(it, Act::Sign(_));
    console.answer(is_sign, Reply::Sign(Some(Timestamp(START - 60_000))));
    assert!(!console.effects.iter().any(|it| is_list(&it.act)), "a minute is not away");
    console.keys("k j k");
    assert_eq!(signs(&console), 1, "not with every key");
    console.now += Duration::from_secs(2 * 3600);
    console.keys("j");
    assert_eq!(signs(&console), 2);
    let acts = console.answer(is_list, Reply::Timeline(Box::new(page())));
    assert!(acts.is_empty(), "{acts:?}");
    let line = said(&console);
    assert!(line.starts_with("while you were away (2h"), "{line}");
    assert!(line.contains("2 asks") && line.contains("A shows it"), "{line}");
    assert!(line.contains("api-refactor working → stuck"), "{line}");
    assert!(console.state.view().is_none(), "nothing is in the way");
    let acts = console.keys("A");
    let Some(Act::Timeline(request)) = acts.iter().find(|it| is_list(it)) else {
        panic!("{acts:?}")
    };
    assert!(request.sandbox.is_none() && request.since.is_some());
    console.answer(is_list, Reply::Timeline(Box::new(page())));
    let picture = console.picture();
    assert!(picture.contains("fleet, away since 11:06 (2h)"), "{picture}");
}
