//! Helpers for tests of the console's pure core: states, sandboxes, keys.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use ratatui::{buffer::Buffer, layout::Rect};
use sandwatch::{
    app::{
        Act, Effect, Link, Moment, Msg, Setup, State,
        chord::Chord,
        dialog::{Confirm, Deed},
        keymap::{self, Keymap},
        lost::DEAF_FOR,
        msg::Reply,
        state::{LineKind, Overlay, Place},
        update,
    },
    base::{
        clock::{Timestamp, Zone},
        id::{AskId, ClientId, SandboxId, SessionId},
        units::Size,
    },
    config::schema::Config,
    model::{
        ask::{Ask, AskKind, AskState, Asked, Request, Risk, RiskLevel},
        capability::Capabilities,
        event::{Event, SnapshotReason},
        output::Output,
        sandbox::{self, Egress, Isolation, ResourceLimits, Sandbox, Workspace, WorkspaceMode},
        session::{Lease, Session, Status},
    },
    runtime::Trips,
    ui::{
        self,
        theme::{self, Depth},
    },
    vt::key::{KeyPress, Stroke},
};

/// A console with a hand-moved clock.
pub struct Console {
    pub state: State,
    pub now: Duration,
    pub effects: Vec<Effect>,
    /// The last thing the operator did was to ask for a program to type into.
    asked_for_new: bool,
}

/// As the feed carries them.
pub fn shared(sandboxes: Vec<Sandbox>) -> Vec<Arc<Sandbox>> {
    sandboxes.into_iter().map(Arc::new).collect()
}

pub const START: i64 = 1_795_000_000_000;

pub fn setup(size: (u16, u16)) -> Setup {
    Setup {
        zone: Zone::default(),
        me: ClientId::parse("me").unwrap(),
        name: "me@here".to_owned(),
        hub: "local".to_owned(),
        directory: PathBuf::from("/home/me/project"),
        home: Some(PathBuf::from("/home/me")),
        driver: "fake".to_owned(),
        elsewhere: false,
        size,
        config: Config::default(),
        keymap: Keymap::default(),
    }
}

impl Console {
    pub fn new(size: (u16, u16)) -> Self {
        let mut console = Self::of(State::new(setup(size)));
        console.send(Msg::Link(Link::Up(Some(Trips::first(Duration::from_micros(100))))));
        console
    }

    pub fn of(state: State) -> Self {
        let (effects, asked_for_new) = (Vec::new(), false);
        Self { state, now: Duration::ZERO, effects, asked_for_new }
    }

    pub fn with_fleet(size: (u16, u16), sandboxes: Vec<Sandbox>) -> Self {
        let mut console = Self::new(size);
        console.send(Msg::Event(Event::Snapshot {
            seq: 1,
            reason: SnapshotReason::First,
            sandboxes: shared(sandboxes),
        }));
        console
    }

    /// Sends a message; the clock moves by a millisecond. The invariants hold afterwards.
    pub fn send(&mut self, msg: Msg) -> Vec<Act> {
        self.now += Duration::from_millis(1);
        let wall = Timestamp(START + i64::try_from(self.now.as_millis()).unwrap());
        let moment = Moment { since_start: self.now, wall };
        let before = Hands::of(&self.state, &msg, self.asked_for_new);
        let by_hand = before.by_hand;
        let effects = update(&mut self.state, moment, msg);
        self.state.check().unwrap();
        before.hold(&self.state, &effects);
        if by_hand {
            let asks = |it: &Effect| matches!(it.act, Act::Create(_) | Act::Open { .. });
            self.asked_for_new = effects.iter().any(asks);
        }
        self.effects.extend(effects.clone());
        // That somebody is here is told now and then, whatever the key.
        let acts = effects.into_iter().map(|it| it.act);
        acts.filter(|it| !matches!(it, Act::Sign(_))).collect()
    }

    /// Lets the operator read what was asked before they answer.
    pub fn read(&mut self) {
        self.now += DEAF_FOR;
        self.send(Msg::Tick);
    }

    /// Types keys as written in key files, with spaces between.
    pub fn keys(&mut self, keys: &str) -> Vec<Act> {
        keys.split_whitespace().flat_map(|it| self.key(it)).collect()
    }

    pub fn key(&mut self, key: &str) -> Vec<Act> {
        let chord = Chord::parse(key).unwrap();
        let press = KeyPress { key: chord.key, mods: chord.mods, stroke: Stroke::Press };
        self.send(Msg::Key(press))
    }

    /// Types text, letter by letter.
    pub fn text(&mut self, text: &str) -> Vec<Act> {
        let mut acts = Vec::new();
        for it in text.chars() {
            let key = if it == ' ' { "space".to_owned() } else { it.to_string() };
            acts.extend(self.key(&key));
        }
        acts
    }

    /// Answers the newest effect that `wanted` picks.
    pub fn answer(&mut self, wanted: impl Fn(&Act) -> bool, reply: Reply) -> Vec<Act> {
        let id = self.effects.iter().rev().find(|it| wanted(&it.act)).expect("such an effect").id;
        self.send(Msg::Done { id, result: Ok(reply) })
    }

    /// Feeds a session that is on screen.
    pub fn print(&mut self, session: &str, text: &str) {
        let id = match session.split_once('@') {
            Some((hub, id)) => {
                let hub = sandwatch::base::id::HubNumber(hub.parse().unwrap());
                SessionId::parse(id).unwrap().of_hub(hub)
            }
            None => SessionId::parse(session).unwrap(),
        };
        let Some(watch) = self.state.watches.get(&id) else { return };
        let (generation, fresh) = (watch.generation, watch.screen().is_none());
        if fresh {
            let size = self.state.fleet.session(&id).unwrap().1.size;
            let output = Output::Keyframe { offset: 0, size, state: "".into(), lost: 0 };
            self.send(Msg::Output { session: id.clone(), generation, output });
        }
        let offset = self.state.watches[&id].next;
        let output = Output::Chunk { offset, bytes: text.to_owned().into() };
        self.send(Msg::Output { session: id, generation, output });
    }

    pub fn draw(&self) -> Buffer {
        let theme = theme::preset("dark", Depth::True).unwrap();
        let (columns, rows) = self.state.size;
        let area = Rect::new(0, 0, columns, rows);
        let mut buffer = Buffer::empty(area);
        ui::draw(&self.state, &theme, area, &mut buffer);
        buffer
    }

    /// The picture as text, without trailing blanks.
    pub fn picture(&self) -> String {
        picture(&self.draw())
    }

    pub fn step_in(&mut self) {
        self.keys("enter");
        let lease = |it: &Act| matches!(it, Act::Lease { .. });
        self.answer(lease, Reply::Lease(None));
    }
}

/// Where the keys went before a message.
struct Hands {
    by_hand: bool,
    asked_for_new: bool,
    boxed: bool,
    typed_into: Option<SessionId>,
    /// What the line or the box that is open says that it is for.
    steered: Option<SessionId>,
    looked_into: Option<SessionId>,
    place: Place,
}

impl Hands {
    fn of(state: &State, msg: &Msg, asked_for_new: bool) -> Self {
        Self {
            by_hand: matches!(msg, Msg::Key(_) | Msg::Mouse(_) | Msg::Paste(_)),
            asked_for_new,
            boxed: state.overlay.is_some() || state.line.is_some(),
            typed_into: state.grip.as_ref().map(|it| it.session.clone()),
            steered: steered(state),
            looked_into: state.copy.as_ref().map(|it| it.session.clone()),
            place: state.place,
        }
    }

    /// What is typed goes where the screen says, or nowhere; only a key or a click of the operator's
    /// own changes where, at once or, if nothing is done after it, when the program is there that it started.
    fn hold(self, state: &State, effects: &[Effect]) {
        let typed_into = state.grip.as_ref().map(|it| it.session.clone());
        for Effect { act, .. } in effects {
            let Act::Input { session, .. } = act else { continue };
            let known = self.typed_into.as_ref() == Some(session)
                || self.by_hand && self.steered.as_ref() == Some(session)
                || !self.by_hand && typed_into.as_ref() == Some(session);
            assert!(known, "{session} is typed into, not {:?}", self.typed_into);
        }
        if self.by_hand {
            return;
        }
        let went = self.typed_into.is_some() && typed_into.is_none();
        let arrived = self.asked_for_new && self.typed_into.is_none() && typed_into.is_some();
        let same = typed_into.is_none() || typed_into == self.typed_into;
        assert!(same || arrived, "another was stepped into");
        let back = self.looked_into.is_some() && state.copy.is_none();
        if (went || back) && !self.boxed {
            assert!(state.lost.is_some(), "the keyboard went away and keys still count");
        }
        if self.place != state.place {
            let told = state.lost.is_some() || self.boxed || state.is_first_run();
            assert!(told || arrived, "the focus moved");
        }
    }
}

/// A buffer as text; the blank behind a wide character is left out.
pub fn picture(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let mut line = String::new();
        let mut x = buffer.area.left();
        while x < buffer.area.right() {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(sandwatch::base::text::width(symbol)).unwrap().max(1);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A running sandbox with one session whose ids are its name.
pub fn sandbox(name: &str, command: &str, status: Status) -> Sandbox {
    let id = SandboxId::parse(name).unwrap();
    Sandbox {
        id: id.clone(),
        name: name.to_owned(),
        driver: "fake".to_owned(),
        state: sandbox::State::Running,
        raw_state: None,
        isolation: Some(Isolation::Namespaces),
        created_at: Timestamp(START - 1000),
        labels: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        workspace: Workspace { path: PathBuf::from("/home/me/project"), mode: WorkspaceMode::Cow },
        egress: Egress::Deny,
        limits: ResourceLimits::default(),
        capabilities: Capabilities::default(),
        sessions: vec![session(name, &id, 1, command, status)],
        asks: Vec::new(),
        notes: Vec::new(),
        stop_asked: false,
        snapshots: 0,
        moment: None,
        writes: 0,
    }
}

pub fn session(
    id: &str,
    sandbox: &SandboxId,
    ordinal: u32,
    command: &str,
    status: Status,
) -> Session {
    Session {
        id: SessionId::parse(id).unwrap(),
        sandbox: sandbox.clone(),
        ordinal,
        command: vec![command.to_owned()],
        status,
        status_why: "printed 4 s ago".to_owned(),
        status_since: None,
        pid: Some(4121),
        size: Size::clamped(80, 24),
        title: None,
        started_at: Timestamp(START - 180_000),
        exit: None,
        exited_at: None,
        lease: None,
        output_bytes: 0,
        last_output_at: Some(Timestamp(START - 720_000)),
        journal_lost_bytes: 0,
        bells: 0,
        recording: true,
        asking: None,
    }
}

/// An ask of a sandbox whose id is its name; a later number, a later ask.
pub fn ask(id: &str, sandbox: &str, kind: AskKind, subject: &str, level: RiskLevel) -> Ask {
    let number: i64 = id.rsplit('-').next().and_then(|it| it.parse().ok()).unwrap_or(0);
    Ask {
        asked: Asked {
            id: AskId::parse(id).unwrap(),
            request: Request {
                kind,
                subject: subject.to_owned(),
                details: vec![("cwd".to_owned(), "/home/me/project".to_owned())],
                reason: Some("it is the next step".to_owned()),
                agent: Some("claude".to_owned()),
            },
            session: Some(SessionId::parse(sandbox).unwrap()),
            created_at: Timestamp(START - 60_000 + number * 1000),
            deadline_at: Timestamp(START + 240_000 + number * 1000),
            askers: 1,
            about: Vec::new(),
            editable: false,
        },
        sandbox: SandboxId::parse(sandbox).unwrap(),
        sandbox_name: sandbox.to_owned(),
        digest: format!("{id}-0123456789abcdef"),
        risk: Risk { level, findings: vec!["runs what it fetched".to_owned()] },
        state: AskState::Pending,
        decision: None,
    }
}

pub fn lease(holder: &str, name: &str) -> Lease {
    Lease {
        holder: ClientId::parse(holder).unwrap(),
        holder_name: name.to_owned(),
        since: Timestamp(START),
        used_at: Timestamp(START),
    }
}

/// Five sandboxes that look like a working day.
pub fn day() -> Vec<Sandbox> {
    let mut api = sandbox("api-refactor", "claude", Status::Working);
    api.asks = vec![
        ask("ask-1", "api-refactor", AskKind::Exec, "cargo publish", RiskLevel::Medium),
        ask("ask-2", "api-refactor", AskKind::Network, "pkg.example:443", RiskLevel::Low),
    ];
    let mut nightly = sandbox("nightly", "opencode", Status::Idle);
    nightly.state = sandbox::State::Paused;
    let mut all = vec![
        api,
        sandbox("docs-site", "codex", Status::Stuck),
        sandbox("crawler", "aider", Status::Working),
        sandbox("sandbox-7", "bash", Status::Idle),
        nightly,
    ];
    for (at, it) in all.iter_mut().enumerate() {
        it.created_at = Timestamp(START + i64::try_from(at).unwrap());
    }
    all
}

pub fn preset(name: &str) -> Keymap {
    keymap::load_preset(name).unwrap_or_else(|| panic!("{name} can't be read"))
}

fn steered(state: &State) -> Option<SessionId> {
    let lined = state.line.as_ref().and_then(|it| match &it.kind {
        LineKind::Nudge(session) => Some(session.clone()),
        _ => None,
    });
    let boxed = state.overlay.as_ref().and_then(|it| match it {
        Overlay::Confirm(Confirm { deed: Deed::Interrupt(session), .. }) => Some(session.clone()),
        _ => None,
    });
    lined.or(boxed)
}
