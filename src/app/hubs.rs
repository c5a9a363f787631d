//! The hubs that a console is over: which they are, how each is reached, and which one is meant.

use std::{sync::Arc, time::Duration};

use super::{
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
    model::session::Session,
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
    /// When it is looked for again, on the console's own clock.
    pub again_at: Option<Duration>,
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
    /// How it is reached, in a few words.
    pub fn words(&self, now: Duration) -> String {
        match &self.link {
            Link::Connecting => "connecting".to_owned(),
            Link::Up(trips) => match (trips, self.left_out) {
                (_, 1..) => "too many to list; some are left out".to_owned(),
                (Some(trips), 0) => way_words(trips, now),
                (None, 0) => "up".to_owned(),
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

    pub fn is_up(&self, hub: HubNumber) -> bool {
        matches!(self.link_of(hub), Link::Up { .. })
    }

    pub fn is_down(&self, hub: HubNumber) -> bool {
        matches!(self.link_of(hub), Link::Down { .. })
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
        if !self.hubs.are_many() {
            return HubNumber::FIRST;
        }
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

    /// What a hub is called, where there are several.
    pub fn hub_name(&self, hub: HubNumber) -> Option<&str> {
        let there = self.hubs.are_many().then(|| self.hubs.get(hub));
        there.map(|it| it.map_or("gone", |it| it.name.as_str()))
    }
}
