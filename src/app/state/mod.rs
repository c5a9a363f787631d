//! Everything the console knows. Only `update` changes it; `ui::draw` only reads it.

mod grip;
mod over;
mod pending;

pub use grip::{Ahead, Grip, Hold, Holder};
pub use over::{LineKind, LineMode, Overlay};
pub(super) use pending::Deeds;
pub use pending::Pending;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::{
    action::{Action, Scope},
    asks::Asks,
    chord::Chord,
    copy::Copy,
    dialog::NewDialog,
    effect::EffectId,
    fleet::Fleet,
    gauges::Board,
    grid::{Grid, Slot},
    hubs::Hubs,
    keymap::Keymap,
    layout::{self, Frame},
    lost::{Lost, Returns},
    msg::{Link, Moment, Setup},
    notice::Notices,
    pane::{Watch, first_row},
    staged::Staged,
    view::{Rest, View, Work},
    voice::Voices,
};
use crate::{
    base::{
        clock::{Timestamp, Zone},
        id::{ClientId, HubNumber, SessionId},
    },
    config::{
        agents::Profiles,
        schema::{Config, Prefs},
    },
    model::{
        member::Role,
        place::PLACE_HINT,
        sandbox::{Egress, State as Life},
        session::Session,
    },
    vt::touched::Touched,
};

/// Effects under way at once; beyond it new ones are refused, aloud.
pub const PENDING_MAX: usize = 512;
/// Command lines remembered.
pub const HISTORY_MAX: usize = 100;
/// How long after the operator's last key or click the ages on screen go on.
pub const AGES_LIVE_FOR: Duration = Duration::from_secs(60);
/// The cursor rests when it did not move for that long; only then what it passed is watched.
pub const RESTS_AFTER: Duration = Duration::from_millis(80);
/// Two clicks on one cell within this are one double click.
pub const DOUBLE_CLICK_WITHIN: Duration = Duration::from_millis(400);
/// How long after a prefix the box with what can follow appears.
pub const WHICH_KEY_AFTER: Duration = Duration::from_millis(250);

/// Where the keys go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Fleet,
    Panes,
}

/// A session just made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    pub session: SessionId,
    /// It was asked for to be typed into.
    pub to_type: bool,
}

pub struct State {
    pub me: ClientId,
    pub my_name: String,
    pub hub: String,
    pub directory: PathBuf,
    /// The operator's home, which `~` stands for in the dialog.
    pub home: Option<PathBuf>,
    pub driver: String,
    /// The first hub is somebody else's, or on another machine.
    pub elsewhere: bool,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    pub config: Config,
    pub prefs: Prefs,
    pub keymap: Keymap,
    /// Where times are shown.
    pub zone: Zone,
    pub now: Moment,
    /// Of the first hub, which mostly is the only one.
    pub link: Link,
    /// What we may do there.
    pub role: Role,
    pub hubs: Hubs,
    /// Why the feed of the only hub tells nothing.
    pub(super) silent: Option<String>,
    pub fleet: Fleet,
    pub asks: Asks,
    pub board: Board,
    /// The process whose calls are asked for, and which time that is.
    pub(super) calls: (Option<(SessionId, u32)>, u64),
    pub grid: Grid,
    pub place: Place,
    /// Where the keyboard of the session was taken from, to return there.
    pub came_from: Place,
    pub fleet_shown: bool,
    /// Places over fleet and panes, the last on top.
    pub(super) views: Vec<View>,
    pub(super) staged: Staged,
    /// A search of the hub's for scrollback, and when it was asked for.
    pub(super) searching: Option<(EffectId, Duration)>,
    /// What is waited for, as long as it is.
    pub(super) works: BTreeMap<EffectId, Work>,
    /// The session that following panes show.
    pub follow: Option<SessionId>,
    pub watches: BTreeMap<SessionId, Watch>,
    pub grip: Option<Grip>,
    /// Sessions that were typed into or whose keyboard was asked for: each has a queue of its own.
    pub(super) lanes: BTreeSet<SessionId>,
    /// The keyboard went away by itself, and the operator may not have noticed.
    pub lost: Option<Lost>,
    pub copy: Option<Copy>,
    pub overlay: Option<Overlay>,
    pub line: Option<LineMode>,
    pub history: VecDeque<String>,
    /// Run from the palette lately, newest first.
    pub recent: VecDeque<Action>,
    pub notices: Notices,
    /// Chords of an unfinished sequence, its scope, and when it began.
    pub typed: Vec<Chord>,
    pub typed_scope: Scope,
    pub typed_at: Duration,
    /// Which row of the first-run page is chosen.
    pub first_choice: usize,
    pub agents: Vec<String>,
    /// Variables with keys of agents that are set in the operator's environment; never their values.
    pub keys_set: Vec<String>,
    /// What is known of agents.
    pub profiles: Arc<Profiles>,
    pub keymaps: Vec<String>,
    pub themes: Vec<String>,
    pub mouse: bool,
    /// `None` until the terminal has said so once.
    pub focused: Option<bool>,
    pub(super) pending: BTreeMap<EffectId, Pending>,
    // At most one for each effect under way.
    pub(super) batches: BTreeMap<u64, Deeds>,
    pub(super) next_id: u64,
    /// Counts what was typed in one go, without anything lost in between.
    pub(super) run: u64,
    /// Chosen by the operator and not read yet; remembered once they are.
    pub(super) asked_keymap: Option<String>,
    pub(super) asked_theme: Option<String>,
    pub(super) title: String,
    pub(super) frame: Frame,
    pub(super) voices: Voices,
    pub(super) last_input: Duration,
    /// When the last key or paste came.
    pub(super) key_at: Duration,
    /// When another row came under the cursor without the operator's doing.
    pub(super) swapped_at: Option<Duration>,
    pub(super) last_key: Option<crate::vt::key::Key>,
    /// The key that was pressed or repeated last.
    pub(super) pressed_last: Option<crate::vt::key::Key>,
    /// A session just made here, to be shown when it appears.
    pub(super) awaited: Option<Awaited>,
    /// When it was asked for; who has done something since is not drawn away from it.
    pub(super) awaited_at: Duration,
    /// Where the left button went down, if in a pane's body that the console owns.
    pub(super) pressed: Option<(usize, u16, u16)>,
    /// When the cursor last went to another session, and when it will have come to rest.
    pub(super) rest: Rest,
    /// Of links that were lost.
    pub(super) returns: BTreeMap<HubNumber, Returns>,
    /// The last press of the left button, for the second one.
    pub(super) clicked: Option<(Duration, u16, u16)>,
    /// The column that the line between fleet and panes is being dragged from.
    pub(super) dragging: Option<u16>,
    /// Columns of the fleet as dragged; `None` = by the width of the terminal.
    pub(super) fleet_columns: Option<u16>,
    pub(super) dirty: bool,
    /// When the ages on screen were looked at, and whether they were kept up to date then.
    pub(super) aged: (Timestamp, bool),
    /// Something that was typed is to be drawn before its echo.
    pub(super) drawn_ahead: bool,
    /// Programs have printed, and nothing else has happened.
    pub(super) printed: bool,
    /// When the hub was last told that somebody is here.
    pub(super) signed_at: Option<Duration>,
    /// Nobody was here from then on, and what happened was told in a line.
    pub away_since: Option<Timestamp>,
}

impl State {
    #[expect(clippy::too_many_lines, reason = "one line for each of its fields")]
    pub fn new(setup: Setup) -> Self {
        let Setup { me, name, hub, directory, home, driver, elsewhere, size, config, keymap, zone } =
            setup;
        let state = Self {
            me,
            my_name: name,
            hub,
            directory,
            home,
            driver,
            elsewhere,
            size,
            mouse: config.mouse,
            grid: Grid::with_panes(usize::from(config.layout)),
            config,
            prefs: Prefs::default(),
            keymap,
            zone,
            now: Moment { since_start: Duration::ZERO, wall: Timestamp(0) },
            link: Link::Connecting,
            role: Role::Admin,
            hubs: Hubs::default(),
            silent: None,
            fleet: Fleet::default(),
            asks: Asks::default(),
            board: Board::default(),
            calls: (None, 0),
            place: Place::Fleet,
            came_from: Place::Fleet,
            fleet_shown: true,
            views: Vec::new(),
            staged: Staged::default(),
            searching: None,
            works: BTreeMap::new(),
            follow: None,
            watches: BTreeMap::new(),
            grip: None,
            lanes: BTreeSet::new(),
            lost: None,
            copy: None,
            overlay: None,
            line: None,
            history: VecDeque::new(),
            recent: VecDeque::new(),
            notices: Notices::default(),
            typed: Vec::new(),
            typed_scope: Scope::Global,
            typed_at: Duration::ZERO,
            first_choice: 0,
            agents: Vec::new(),
            keys_set: Vec::new(),
            profiles: Arc::new(Profiles::built_in()),
            keymaps: Vec::new(),
            themes: Vec::new(),
            focused: None,
            pending: BTreeMap::new(),
            batches: BTreeMap::new(),
            next_id: 1,
            run: 1,
            asked_keymap: None,
            asked_theme: None,
            title: String::new(),
            frame: Frame::default(),
            voices: Voices::default(),
            last_input: Duration::ZERO,
            key_at: Duration::ZERO,
            swapped_at: None,
            last_key: None,
            pressed_last: None,
            awaited: None,
            awaited_at: Duration::ZERO,
            pressed: None,
            rest: Rest::default(),
            returns: BTreeMap::new(),
            clicked: None,
            dragging: None,
            fleet_columns: None,
            dirty: true,
            aged: (Timestamp(0), false),
            drawn_ahead: false,
            printed: false,
            signed_at: None,
            away_since: None,
        };
        Self { frame: layout::frame(&state), ..state }
    }

    /// Whether the picture may have changed since the last time this was asked.
    pub fn take_dirty(&mut self) -> bool {
        self.take_touched() != Touched::Nothing
    }

    /// The rows of the picture that may have changed since the last time this was asked.
    pub fn take_touched(&mut self) -> Touched {
        let (dirty, printed) = (std::mem::take(&mut self.dirty), std::mem::take(&mut self.printed));
        if !(dirty || printed) {
            return Touched::Nothing;
        }
        let mut touched = Touched::Nothing;
        for pane in &self.frame.panes {
            let Some(id) = self.session_in(pane.slot).cloned() else { continue };
            let Some(watch) = self.watches.get_mut(&id) else { continue };
            let rows = watch.take_touched();
            let first = watch.screen().map_or(0, |it| first_row(it, pane.body.height));
            touched = touched.and(match rows {
                // What lies above the pane's first row has moved it there: all may have moved.
                Touched::Rows(from, to) if from >= first => {
                    Touched::Rows(pane.body.y + from - first, pane.body.y + to - first)
                }
                Touched::Rows(..) => Touched::All,
                other => other,
            });
        }
        // What lies over panes, or stands still in one, knows no rows.
        let covered = self.overlay.is_some() || self.copy.is_some() || self.shows_which_key();
        if dirty || covered || self.is_first_run() || self.frame.too_small {
            return Touched::All;
        }
        touched
    }

    /// Where everything lies, as of the last message.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The session in a pane.
    pub fn session_in(&self, slot: usize) -> Option<&SessionId> {
        match self.grid.tab().slots().get(slot)? {
            Slot::Follow => self.follow.as_ref(),
            Slot::Kept(id) => Some(id),
            Slot::Empty => None,
        }
    }

    /// The session in the focused pane.
    pub fn focused_session(&self) -> Option<&SessionId> {
        self.session_in(self.grid.tab().focus())
    }

    /// Whether something is drawn before its echo.
    pub fn draws_ahead(&self) -> bool {
        self.grip.as_ref().is_some_and(|it| it.predicted.cursor().is_some())
    }

    /// Whether keys go to a program.
    pub fn is_typing(&self) -> bool {
        self.grip.is_some()
    }

    /// Whether esc ends a search and nothing else.
    pub fn searches(&self) -> bool {
        self.searching.is_some() && self.overlay.is_none() && self.line.is_none()
    }

    /// Whether scrollback is open on a session.
    pub fn copy_of(&self, session: &SessionId) -> Option<&Copy> {
        self.copy.as_ref().filter(|it| it.session == *session)
    }

    /// Whether every process beside a session is frozen.
    pub fn is_paused(&self, session: &Session) -> bool {
        self.fleet.get(&session.sandbox).is_some_and(|it| it.sandbox.state == Life::Paused)
    }

    /// Whether nobody knows how a session stands: what is shown of it is how it stood.
    pub fn is_unheard(&self, session: &Session) -> bool {
        self.fleet.get(&session.sandbox).is_some_and(|it| it.sandbox.state == Life::Unknown)
    }

    /// Who holds the keyboard of a session, from this console's point of view.
    pub fn holder<'s>(&self, session: &'s Session) -> Holder<'s> {
        match &session.lease {
            None => Holder::Nobody,
            Some(lease) if lease.holder == self.me => Holder::Me,
            Some(lease) => Holder::Other(&lease.holder_name),
        }
    }

    /// Whether there is nothing to show but the first-run page.
    pub fn is_first_run(&self) -> bool {
        self.fleet.known && self.fleet.counts().1 == 0 && !self.hubs.are_many()
    }

    /// The form of a new sandbox with the defaults.
    pub(super) fn dialog(&self, program: &str) -> NewDialog {
        let (directory, home) = (self.directory.to_string_lossy(), self.home.as_deref());
        let mut dialog =
            NewDialog::new(program, &directory, &self.driver, &self.config, &self.agents, home);
        dialog.know_agents(&self.profiles, &self.keys_set);
        if self.hubs.are_many() {
            let all = self.hubs.iter().map(|it| (it.number, it.name.clone())).collect();
            dialog.know_hubs(all, self.hub_here());
        } else if self.elsewhere {
            dialog.is_elsewhere();
        }
        dialog
    }

    /// Why nothing can be started on the directory that the console was opened in, and what to do.
    pub fn refused_here(&self) -> Option<String> {
        let why = self.dialog("").refused()?;
        let directory = self.directory.display();
        Some(format!("{directory} can't be a workspace: {why}; {PLACE_HINT}, or workspace none"))
    }

    /// An agent of the first page needs what its sandbox would not have.
    pub fn first_asks_for_network(&self) -> bool {
        self.config.new.egress == Egress::Deny
    }

    /// Rows of the first-run page: agents found, a shell, and something else.
    pub fn first_choices(&self) -> Vec<FirstChoice> {
        let agents = self.agents.iter().cloned().map(FirstChoice::Agent);
        agents.chain([FirstChoice::Shell, FirstChoice::Other]).collect()
    }

    /// Scopes whose keys are asked, first to last.
    pub fn scopes(&self) -> &'static [Scope] {
        match &self.overlay {
            _ if self.line.is_some() => &[Scope::Line],
            // First as in any line, so that what erases there erases here.
            Some(
                Overlay::Palette(_)
                | Overlay::Help(_)
                | Overlay::New(_)
                | Overlay::Allow(_)
                | Overlay::Write(_),
            ) => &[Scope::Line, Scope::Dialog],
            Some(Overlay::Notices { .. } | Overlay::Info { .. } | Overlay::Doctor { .. }) => {
                &[Scope::Read, Scope::Dialog]
            }
            Some(Overlay::Confirm(_) | Overlay::TakeOver { .. }) => &[Scope::Dialog],
            None if self.grip.is_some() => &[Scope::Pane],
            None if matches!(self.view(), Some(View::Snapshots(_))) => {
                &[Scope::Snapshots, Scope::View, Scope::Global]
            }
            None if self.shown_ask().is_some() => &[Scope::Ask, Scope::View, Scope::Global],
            None if self.inbox().is_some() => &[Scope::Asks, Scope::View, Scope::Global],
            None if self.gauges_place().is_some() => &[Scope::Gauges, Scope::View, Scope::Global],
            None if matches!(self.view(), Some(View::Records(_))) => {
                &[Scope::Records, Scope::View, Scope::Global]
            }
            None if self.timeline().is_some() => &[Scope::Timeline, Scope::View, Scope::Global],
            None if matches!(self.view(), Some(View::Files(_))) => {
                &[Scope::Files, Scope::View, Scope::Global]
            }
            None if self.view().is_some() => &[Scope::Diff, Scope::View, Scope::Global],
            None if self.copy.is_some() => &[Scope::Scroll, Scope::Global],
            None if self.place == Place::Panes => &[Scope::Panes, Scope::Global],
            None => &[Scope::List, Scope::Global],
        }
    }
}

/// A row of the first-run page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstChoice {
    Agent(String),
    Shell,
    /// Opens the dialog.
    Other,
}
