//! The hubs that a console is over: which they are, how each is reached, and which one is meant.

use std::{sync::Arc, time::Duration};

use super::{
    action::{Action, Scope},
    groups::Named,
    msg::Link,
    state::{Place, State},
    view::View,
};
use crate::{
    base::{
        id::{HubNumber, SessionId},
        limits::HUBS_MAX,
        units::human_duration,
    },
    model::{member::Role, session::Session},
    runtime::Trips,
};

/// One of them. Its texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    pub number: HubNumber,
    /// Of its context.
    pub name: String,
    pub address: String,
    pub link: Link,
    /// What we may do there.
    pub role: Role,
    /// When it is looked for again, on the console's own clock.
    pub again_at: Option<Duration>,
    /// Why it tells nothing though it is reached.
    pub silent: Option<String>,
    /// Sandboxes of it that are not in the list.
    pub left_out: u64,
}

/// All of them, in the order of their numbers; none where it is not known that there may be several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hubs(Vec<Hub>);

/// Of a hub that is not there.
const NO_LINK: Link = Link::Connecting;

impl Hubs {
    pub(super) fn new(mut hubs: Vec<Hub>) -> Self {
        hubs.sort_by_key(|it| it.number);
        hubs.dedup_by_key(|it| it.number);
        hubs.truncate(HUBS_MAX);
        Self(hubs)
    }

    /// Whether it must be told whose something is.
    pub fn are_many(&self) -> bool {
        self.0.len() > 1
    }

    pub fn iter(&self) -> impl Iterator<Item = &Hub> {
        self.0.iter()
    }

    pub fn get(&self, number: HubNumber) -> Option<&Hub> {
        self.0.iter().find(|it| it.number == number)
    }

    /// By the name of its context.
    pub fn named(&self, name: &str) -> Option<&Hub> {
        self.0.iter().find(|it| it.name == name)
    }

    /// For the headings of the list.
    pub(super) fn headings(&self) -> Named {
        let all = self.0.iter().map(|it| (it.number, Arc::from(it.name.as_str())));
        if self.are_many() { all.collect() } else { Vec::new() }
    }

    /// Those that can't be asked now, and were looked for at least once.
    pub fn down(&self) -> usize {
        self.0.iter().filter(|it| matches!(it.link, Link::Down { .. })).count()
    }
}

impl Hub {
    /// With what we are there, where that is not everything.
    fn as_role(&self, words: String) -> String {
        match self.role {
            Role::Admin => words,
            role => format!("{}, {words}", role.word()),
        }
    }

    /// How it is reached, in a few words.
    pub fn words(&self, now: Duration) -> String {
        match &self.link {
            Link::Connecting => "connecting".to_owned(),
            Link::Up(trips) => match (&self.silent, trips, self.left_out) {
                (Some(why), ..) => format!("no list: {why}"),
                (None, _, 1..) => "too many to list; some are left out".to_owned(),
                (None, Some(trips), 0) => self.as_role(way_words(trips, now)),
                (None, None, 0) => self.as_role("up".to_owned()),
            },
            Link::Down { since, why } => {
                let down = human_duration(now.saturating_sub(*since));
                let again =
                    self.again_at.map(|it| it.saturating_sub(now)).filter(|it| !it.is_zero());
                let again = again
                    .map(|it| format!(", again in {} s", it.as_secs_f64().ceil()))
                    .unwrap_or_default();
                format!("down {down}: {why}{again}")
            }
        }
    }
}

/// What may not be done, and who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacks {
    pub least: Role,
    /// What it takes and what one is there, in words.
    pub words: String,
}

/// The way there and back: how long, how often something on it was late, and for how long it says nothing.
pub fn way_words(trips: &Trips, now: Duration) -> String {
    let ms = trips.rtt.as_secs_f64() * 1000.0;
    let digits = usize::from(ms < 10.0);
    let mut words = format!("rtt {ms:.digits$} ms");
    if trips.late > 0 {
        words.push_str(&format!(", {} of {} late", trips.late, trips.of));
    }
    if let Some(since) = trips.silent_since {
        words.push_str(&format!(", silent {}", human_duration(now.saturating_sub(since))));
    }
    words
}

impl State {
    /// How a hub is reached.
    pub fn link_of(&self, hub: HubNumber) -> &Link {
        if hub == HubNumber::FIRST {
            return &self.link;
        }
        self.hubs.get(hub).map_or(&NO_LINK, |it| &it.link)
    }

    /// What we may do on a hub.
    pub fn role_of(&self, hub: HubNumber) -> Role {
        self.hubs.get(hub).map_or(self.role, |it| it.role)
    }

    /// What an action takes that we are not, on the hub of what it would be done to. The hub refuses it in any case; where it
    /// is not certain which one that is, it is left to it.
    pub fn lacks(&self, action: Action) -> Option<Lacks> {
        let action = match action {
            // There it starts a program.
            Action::StepIn if self.is_first_run() => Action::New,
            action => action,
        };
        if action.least() == Role::Viewer {
            return None;
        }
        let chosen = matches!(action, Action::New | Action::Run) && self.hubs.are_many();
        if chosen || !self.fleet.marked().is_empty() {
            return None;
        }
        let ask = match action.spec().scope {
            Scope::Ask => self.shown_ask().map(|it| it.ask.sandbox.hub()),
            Scope::Asks => self
                .inbox()
                .and_then(|it| self.asks.ended.get(it.ended.at()))
                .map(|it| it.sandbox.hub()),
            _ => None,
        };
        let hub = ask.unwrap_or_else(|| self.hub_here());
        let (role, least) = (self.role_of(hub), action.least());
        let name = self.hub_name(hub).unwrap_or(&self.hub);
        (role < least).then(|| Lacks {
            least,
            words: format!("takes {}; on {name} you are {}", least.said(), role.said()),
        })
    }

    pub fn is_up(&self, hub: HubNumber) -> bool {
        matches!(self.link_of(hub), Link::Up { .. })
    }

    pub fn is_down(&self, hub: HubNumber) -> bool {
        matches!(self.link_of(hub), Link::Down { .. })
    }

    /// Why the only hub tells nothing of its sandboxes though it is reached. Of several, their headings say it.
    pub fn silent(&self) -> Option<&str> {
        let of_first = self.hubs.get(HubNumber::FIRST).and_then(|it| it.silent.as_deref());
        let told = of_first.or(self.silent.as_deref());
        told.filter(|_| !self.hubs.are_many() && self.is_up(HubNumber::FIRST))
    }

    /// How long one of several hubs is away by now.
    pub fn away_for(&self, hub: HubNumber) -> Option<Duration> {
        match self.link_of(hub) {
            Link::Down { since, .. } if self.hubs.are_many() => {
                Some(self.now.since_start.saturating_sub(*since))
            }
            _ => None,
        }
    }

    /// Whether what is shown of a session is how it was.
    pub fn is_stale(&self, session: &Session) -> bool {
        !self.is_up(session.id.hub())
    }

    /// The hub that is meant by what names no thing: that of what the operator is at.
    pub fn hub_here(&self) -> HubNumber {
        // What is open is of the hub it was opened of, also when that one has left.
        match self.views.last() {
            Some(View::Records(it)) => return it.hub,
            Some(View::Timeline(it)) => return it.hub,
            Some(view) => {
                if let Some(sandbox) = view.sandbox() {
                    return sandbox.hub();
                }
            }
            None => {}
        }
        let focused = self.focused_session().filter(|_| self.place == Place::Panes);
        let current = self.fleet.current().map(|it| it.sandbox.id.hub());
        focused.map(SessionId::hub).or(current).unwrap_or(HubNumber::FIRST)
    }

    /// What is said of a hub, with its name in front where there are several.
    pub(super) fn said_of(&self, hub: HubNumber, text: &str) -> String {
        self.hub_name(hub).map_or_else(|| text.to_owned(), |it| format!("{it}: {text}"))
    }

    /// What a hub is called, where there are several. What is of another is never said to be of the first, also before that
    /// other one is known.
    pub fn hub_name(&self, hub: HubNumber) -> Option<&str> {
        let several = self.hubs.are_many() || hub != HubNumber::FIRST;
        let there = several.then(|| self.hubs.get(hub));
        there.map(|it| it.map_or("gone", |it| it.name.as_str()))
    }
}
