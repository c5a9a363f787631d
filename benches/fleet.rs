//! Fleet: ten thousand sandboxes listed, filtered and drawn by the console's core, and the memory of a
//! hub with many idle local sandboxes. `cargo bench --bench fleet [-- --sandboxes N --sessions N]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{inner, load, median, millis, option, quantile, subject::Home, usage};
use ratatui::{buffer::Buffer, layout::Rect};
use sandwatch::{
    app::{Moment, Msg, Setup, State, keymap, state::RESTS_AFTER, update},
    base::{
        clock::{self, Timestamp},
        id::{ClientId, SandboxId, SessionId},
        units::Size,
    },
    config::schema::Config,
    model::{
        capability::Capabilities,
        event::{Event, SnapshotReason},
        output::Output,
        sandbox::{self, Egress, Isolation, ResourceLimits, Sandbox, Workspace, WorkspaceMode},
        session::{Session, Status},
    },
    ui::{draw, theme},
    vt::key::{Key, KeyPress, Mods, Stroke},
};

const COLS: u16 = 207;
const ROWS: u16 = 55;

fn main() {
    inner::run_if_asked();
    println!("load {}", load());
    console(option("--sandboxes", 10_000));
    hub(option("--sessions", 200));
}

/// Every step as the loop of the console does it: update, then draw.
struct Console {
    state: State,
    theme: theme::Theme,
    area: Rect,
    buffer: Buffer,
    started: Instant,
}

impl Console {
    fn take(&mut self, msg: Msg) -> f64 {
        let at = Instant::now();
        let now = Moment { since_start: self.started.elapsed(), wall: clock::wall() };
        drop(update(&mut self.state, now, msg));
        self.buffer.reset();
        let _ = draw(&self.state, &self.theme, self.area, &mut self.buffer);
        millis(at.elapsed())
    }
}

fn console(count: usize) {
    let setup = Setup {
        zone: sandwatch::base::clock::Zone::default(),
        me: ClientId::random(),
        name: "bench".into(),
        hub: "local".into(),
        directory: PathBuf::from("/work"),
        home: None,
        driver: "fake".into(),
        elsewhere: false,
        size: (COLS, ROWS),
        config: Config::default(),
        keymap: keymap::load_preset("default").unwrap(),
    };
    let theme = theme::preset("dark", theme::Depth::True).unwrap();
    let area = Rect::new(0, 0, COLS, ROWS);
    let buffer = Buffer::empty(area);
    let (state, started) = (State::new(setup), Instant::now());
    let mut console = Console { state, theme, area, buffer, started };
    let sandboxes: Vec<Sandbox> = (0..count).map(sandbox).collect();
    let one = sandboxes[count / 2].clone();
    let snapshot = Event::Snapshot {
        seq: 1,
        reason: SnapshotReason::First,
        sandboxes: sandboxes.into_iter().map(Arc::new).collect(),
    };
    println!("{count} sandboxes at {COLS}x{ROWS}, update and draw of one message, in ms:");
    println!("  {:34} {:8.3}", "the snapshot of all", console.take(Msg::Event(snapshot)));
    let down: Vec<f64> = (0..200).map(|_| console.take(key('j'))).collect();
    tell("one row down", &down);
    let ends: Vec<f64> = (0..100).map(|at| console.take(key(['G', 'g'][at % 2]))).collect();
    tell("last row, first row", &ends);
    let changes: Vec<f64> = (0..200)
        .map(|seq| {
            let changed = Event::Changed { seq: 2 + seq, sandbox: Arc::new(one.clone()) };
            console.take(Msg::Event(changed))
        })
        .collect();
    tell("a change of one sandbox", &changes);
    let mut typed = Vec::new();
    for _ in 0..20 {
        typed.extend("/agent-77".chars().map(|it| console.take(key(it))));
        typed.push(console.take(press(Key::Esc)));
    }
    tell("a key typed into the filter", &typed);
    panes(&mut console);
}

/// Four dense panes at 200x50: a line printed into one of them, drawn.
fn panes(console: &mut Console) {
    console.area = Rect::new(0, 0, 200, 50);
    console.buffer = Buffer::empty(console.area);
    console.take(Msg::Resize(200, 50));
    console.take(key('4'));
    // What the cursor passed is watched once it rests.
    std::thread::sleep(2 * RESTS_AFTER);
    console.take(Msg::Tick);
    let watched: Vec<(SessionId, u64)> =
        console.state.watches.iter().map(|(id, it)| (id.clone(), it.generation)).collect();
    assert_eq!(watched.len(), 4, "four panes were to be watched");
    let size = Size::clamped(100, 25);
    for (session, generation) in &watched {
        let state = dense(25).into();
        let output = Output::Keyframe { offset: 0, size, state, lost: 0 };
        let (session, generation) = (session.clone(), *generation);
        console.take(Msg::Output { session, generation, output });
    }
    let (session, generation) = watched.first().expect("four").clone();
    let lines: Vec<f64> = (0..400)
        .map(|_| {
            let output = Output::Chunk { offset: 0, bytes: dense(1).into() };
            console.take(Msg::Output { session: session.clone(), generation, output })
        })
        .collect();
    tell("a line in one of 4 dense panes", &lines);
}

/// Lines in which every cell has a colour of its own.
fn dense(rows: usize) -> Vec<u8> {
    let mut text = String::new();
    for row in 0..rows {
        for column in 0..100 {
            let (red, green) = (row * 9 % 256, column * 2);
            let letter = char::from(b'a' + (column % 26) as u8);
            text += &format!("\x1b[38;2;{red};{green};90m{letter}");
        }
        text += "\r\n";
    }
    text.into_bytes()
}

fn tell(what: &str, samples: &[f64]) {
    let (half, p99, most) = (median(samples), quantile(samples, 0.99), quantile(samples, 1.0));
    println!("  {what:34} p50 {half:8.3}   p99 {p99:8.3}   most {most:8.3}");
}

fn key(it: char) -> Msg {
    press(Key::Char(it))
}

fn press(key: Key) -> Msg {
    Msg::Key(KeyPress { key, mods: Mods::default(), stroke: Stroke::Press })
}

fn sandbox(number: usize) -> Sandbox {
    let id = SandboxId::random();
    let at = Timestamp(1_800_000_000_000);
    let session = Session {
        id: SessionId::random(),
        sandbox: id.clone(),
        ordinal: 1,
        command: vec!["agent".into(), "--task".into(), number.to_string()],
        status: [Status::Working, Status::Idle, Status::Waiting, Status::Stuck][number % 4],
        status_why: "printed within the last seconds".into(),
        status_since: None,
        pid: None,
        size: Size::clamped(80, 24),
        title: Some(format!("task {number}")),
        started_at: at,
        exit: None,
        exited_at: None,
        lease: None,
        output_bytes: 1000,
        last_output_at: Some(at),
        journal_lost_bytes: 0,
        bells: 0,
        asking: None,
        recording: true,
    };
    Sandbox {
        id,
        name: format!("agent-{number:05}"),
        driver: "fake".into(),
        state: sandbox::State::Running,
        raw_state: None,
        isolation: Some(Isolation::None),
        created_at: at,
        labels: BTreeMap::new(),
        workspace: Workspace { path: PathBuf::from("/work"), mode: WorkspaceMode::None },
        egress: Egress::Deny,
        limits: ResourceLimits::default(),
        capabilities: Capabilities::default(),
        sessions: vec![session],
        asks: Vec::new(),
        notes: Vec::new(),
        stop_asked: false,
        snapshots: 0,
        moment: None,
        writes: 0,
    }
}

fn hub(sessions: usize) {
    let mut home = Home::new();
    home.verb(&["hub", "start"]);
    let before = memory(&home);
    for number in 0..sessions {
        let name = format!("idle-{number:04}");
        home.sandbox(&name, &["idle"]);
    }
    std::thread::sleep(Duration::from_secs(2));
    let after = memory(&home);
    println!(
        "hub: {before:.1} MB private with no sandbox, {after:.1} MB with {sessions} idle ones"
    );
}

fn memory(home: &Home) -> f64 {
    let sums = usage::of(&home.mark());
    let hub = sums.iter().find(|(name, _)| name.ends_with("hub")).expect("no hub runs");
    hub.1.private_kb as f64 / 1024.0
}
