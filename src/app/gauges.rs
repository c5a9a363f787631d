//! What sandboxes and their host use: the last readings, as every place may show them, and the place for them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{
    effect::EffectId,
    fleet::Fleet,
    state::State,
    view::{Cursor, Pattern, View},
};
use crate::{
    base::{id::SandboxId, units::human_bytes},
    model::gauge::{Gauge, Gauges, GpuShare, HostGauge, Past, PastWanted},
};

/// Readings of one sandbox that are kept here, for what is drawn small.
const RECENT_MAX: usize = 60;
/// A reading older than this is not what is.
const FRESH_FOR: Duration = Duration::from_secs(4);
/// Columns of a chart that are asked for: as many as a wide screen shows.
const CHART_POINTS: u32 = 240;

/// The last readings.
#[derive(Debug, Default)]
pub struct Board {
    round: Gauges,
    at: BTreeMap<SandboxId, usize>,
    recent: BTreeMap<SandboxId, VecDeque<f64>>,
    /// When the round came; `None` = none yet.
    came_at: Option<Duration>,
    /// They were not old when they were last drawn.
    fresh: bool,
    /// They are asked for, round after round.
    pub(super) watched: bool,
    /// Why there are none.
    pub wrong: Option<String>,
}

impl Board {
    pub(super) fn take(&mut self, round: Gauges, now: Duration) {
        self.at =
            round.sandboxes.iter().enumerate().map(|(at, it)| (it.sandbox.clone(), at)).collect();
        self.recent.retain(|id, _| self.at.contains_key(id));
        for it in &round.sandboxes {
            let Some(percent) = it.rates.cpu_percent else { continue };
            let recent = self.recent.entry(it.sandbox.clone()).or_default();
            if recent.len() == RECENT_MAX {
                recent.pop_front();
            }
            recent.push_back(percent);
        }
        (self.round, self.came_at, self.wrong) = (round, Some(now), None);
    }

    pub fn of(&self, sandbox: &SandboxId) -> Option<&Gauge> {
        self.round.sandboxes.get(*self.at.get(sandbox)?)
    }

    pub fn host(&self) -> &HostGauge {
        &self.round.host
    }

    /// Its use of processors lately, in percent of one, oldest first.
    pub fn recent(&self, sandbox: &SandboxId) -> Vec<f64> {
        self.recent.get(sandbox).map(|it| it.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether any came, and the last of them is not long ago.
    pub fn is_known(&self) -> bool {
        self.came_at.is_some()
    }

    pub fn is_fresh(&self, now: Duration) -> bool {
        self.came_at.is_some_and(|at| now.saturating_sub(at) < FRESH_FOR)
    }

    /// Whether this reading is of the last rounds.
    pub fn is_current(&self, gauge: &Gauge) -> bool {
        self.round.host.at.is_none_or(|at| at.since(gauge.at) < FRESH_FOR)
    }

    /// Whether what is drawn has come to be old, or new again; asked once.
    pub(super) fn turned(&mut self, now: Duration) -> bool {
        let fresh = self.is_fresh(now);
        std::mem::replace(&mut self.fresh, fresh) != fresh
    }
}

/// By what the list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Name,
    Cpu,
    Memory,
    Pids,
    Space,
    Disk,
    Net,
    Gpu,
}

impl Sort {
    const ALL: [Self; 8] = [
        Self::Name,
        Self::Cpu,
        Self::Memory,
        Self::Pids,
        Self::Space,
        Self::Disk,
        Self::Net,
        Self::Gpu,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Space => "files",
            Self::Disk => "disk",
            Self::Net => "network",
            Self::Gpu => "gpu memory",
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|it| *it == self).unwrap_or(0);
        Self::ALL.get(at + 1).copied().unwrap_or(Self::Name)
    }

    /// What counts; what is not known counts least.
    fn figure(self, gauge: Option<&Gauge>) -> f64 {
        let Some(it) = gauge else { return -1.0 };
        let whole = |it: Option<u64>| it.map_or(-1.0, |it| it as f64);
        let both = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (None, None) => -1.0,
            (one, other) => one.unwrap_or(0.0) + other.unwrap_or(0.0),
        };
        match self {
            Self::Name => 0.0,
            Self::Cpu => it.rates.cpu_percent.unwrap_or(-1.0),
            Self::Memory => whole(it.usage.memory_bytes),
            Self::Pids => whole(it.usage.pids),
            Self::Space => whole(it.usage.space_bytes),
            Self::Disk => both(it.rates.read, it.rates.write),
            Self::Net => both(it.rates.rx, it.rates.tx),
            Self::Gpu => GpuShare::memory_of(&it.gpus) as f64,
        }
    }
}

/// How far back charts go.
pub const SPANS: &[(Duration, &str)] = &[
    (Duration::from_secs(2 * 60), "2 minutes"),
    (Duration::from_secs(10 * 60), "10 minutes"),
    (Duration::from_secs(60 * 60), "1 hour"),
    (Duration::from_secs(6 * 60 * 60), "6 hours"),
    (Duration::from_secs(24 * 60 * 60), "1 day"),
];

/// Whose gauges they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    Host,
    Sandbox(SandboxId),
}

impl Whose {
    fn sandbox(&self) -> Option<&SandboxId> {
        match self {
            Self::Host => None,
            Self::Sandbox(id) => Some(id),
        }
    }
}

/// What was before, as it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    pub whose: Whose,
    pub span: usize,
    pub past: Result<Past, String>,
    /// On the console's clock.
    came_at: Duration,
}

/// The place.
#[derive(Debug)]
pub struct GaugesPlace {
    /// The host, then sandboxes.
    pub rows: Vec<Whose>,
    pub cursor: Cursor,
    pub sort: Sort,
    /// Index into `SPANS`.
    pub span: usize,
    pub chart: Option<Chart>,
    /// Charts have the whole place.
    pub whole: bool,
    pub pattern: Option<Pattern>,
    pub(super) asked: Option<(EffectId, Whose, usize)>,
}

impl GaugesPlace {
    pub(super) fn new() -> Self {
        Self {
            rows: vec![Whose::Host],
            cursor: Cursor::default(),
            sort: Sort::Name,
            span: 0,
            chart: None,
            whole: false,
            pattern: None,
            asked: None,
        }
    }

    pub fn current(&self) -> Option<&Whose> {
        self.rows.get(self.cursor.at())
    }

    pub fn sandbox(&self) -> Option<&SandboxId> {
        self.current()?.sandbox()
    }

    /// Puts the cursor on a sandbox, if it is listed.
    pub(super) fn go_to(&mut self, sandbox: &SandboxId) {
        if let Some(row) = self.rows.iter().position(|it| it.sandbox() == Some(sandbox)) {
            self.cursor.move_to(row);
        }
    }

    /// Lists what there is. Rows stay where they are, for they must not move under the cursor: those that are new come
    /// last, unless all are to be put in order.
    pub(super) fn list(&mut self, fleet: &Fleet, board: &Board, in_order: bool) {
        let here = self.current().cloned();
        let fits = |id: &SandboxId| {
            let name = fleet.get(id).map(|it| it.sandbox.name.as_str()).unwrap_or_default();
            self.pattern.as_ref().is_none_or(|it| it.is_in(name))
        };
        let mut ids: Vec<&SandboxId> = board.at.keys().filter(|it| fits(it)).collect();
        let name = |id: &SandboxId| fleet.get(id).map(|it| it.sandbox.name.clone());
        let place = |id: &SandboxId| self.rows.iter().position(|it| it.sandbox() == Some(id));
        if in_order {
            ids.sort_by_cached_key(|it| name(it));
            ids.sort_by(|one, other| {
                let figure = |id: &SandboxId| self.sort.figure(board.of(id));
                figure(other).total_cmp(&figure(one))
            });
        } else {
            ids.sort_by_cached_key(|it| (place(it).unwrap_or(usize::MAX), name(it)));
        }
        let sandboxes = ids.into_iter().cloned().map(Whose::Sandbox);
        self.rows = std::iter::once(Whose::Host).chain(sandboxes).collect();
        self.cursor.set_count(self.rows.len());
        if let Some(row) = here.and_then(|here| self.rows.iter().position(|it| *it == here)) {
            self.cursor.move_to(row);
        }
    }

    pub(super) fn next_sort(&mut self) {
        self.sort = self.sort.next();
    }

    pub(super) fn next_span(&mut self) {
        self.span = (self.span + 1) % SPANS.len();
    }

    pub fn span(&self) -> (Duration, &'static str) {
        SPANS.get(self.span).copied().unwrap_or((FRESH_FOR, ""))
    }

    /// What is to be asked for by now.
    pub(super) fn wanted(&self, now: Duration) -> Option<(Whose, PastWanted)> {
        if self.asked.is_some() {
            return None;
        }
        let whose = self.current()?;
        let (back, _) = self.span();
        let step = (back / CHART_POINTS).max(Duration::from_secs(1));
        let fits = |it: &&Chart| it.whose == *whose && it.span == self.span;
        let due = self.chart.as_ref().filter(fits).is_none_or(|it| now >= it.came_at + step);
        // No part is shorter than a second.
        let points = u32::try_from(back.as_secs()).unwrap_or(u32::MAX).min(CHART_POINTS);
        let wanted = PastWanted { sandbox: whose.sandbox().cloned(), back, points };
        due.then(|| (whose.clone(), wanted))
    }

    pub(super) fn answered(&mut self, id: EffectId, past: Result<Past, String>, now: Duration) {
        if let Some((_, whose, span)) = self.asked.take_if(|it| it.0 == id) {
            self.chart = Some(Chart { whose, span, past, came_at: now });
        }
    }

    /// The chart of what is under the cursor.
    pub fn chart(&self) -> Option<&Chart> {
        let here = self.current()?;
        self.chart.as_ref().filter(|it| it.whose == *here)
    }

    pub fn check(&self) -> Result<(), String> {
        let sound = self.cursor.is_sound(self.rows.len()) && self.span < SPANS.len();
        if sound { Ok(()) } else { Err("the place of gauges is unsound".to_owned()) }
    }
}

/// One gauge in a line.
#[derive(Clone, Debug, PartialEq)]
pub struct GaugeLine {
    pub label: &'static str,
    pub text: String,
    /// How much of its limit is used, 0 to 1; `None` = there is no limit.
    pub used: Option<f64>,
    /// What it was lately, 0 to 1.
    pub lately: Vec<f64>,
}

pub fn percent(figure: Option<f64>) -> String {
    figure.map_or_else(|| "—".to_owned(), |it| format!("{it:.0}%"))
}

pub fn bytes(figure: Option<u64>) -> String {
    figure.map_or_else(|| "—".to_owned(), human_bytes)
}

pub fn rate(figure: Option<f64>) -> String {
    figure.map_or_else(|| "—".to_owned(), |it| human_bytes(it as u64))
}

fn of_limit(text: String, limit: Option<String>) -> String {
    limit.map_or(text.clone(), |limit| format!("{text} of {limit}"))
}

fn share(used: Option<f64>, limit: Option<f64>) -> Option<f64> {
    let (used, limit) = used.zip(limit.filter(|it| *it > 0.0))?;
    Some((used / limit).clamp(0.0, 1.0))
}

fn lines(gauge: &Gauge, recent: &[f64]) -> Vec<GaugeLine> {
    let (usage, rates) = (&gauge.usage, &gauge.rates);
    let float = |it: Option<u64>| it.map(|it| it as f64);
    let limit = usage.cpu_limit.map(|it| it * 100.0);
    // Without a limit one processor is the measure, or what was used at most.
    let most = recent.iter().copied().fold(limit.unwrap_or(100.0), f64::max);
    let cpu = GaugeLine {
        label: "cpu",
        text: of_limit(percent(rates.cpu_percent), limit.map(|it| percent(Some(it)))),
        used: share(rates.cpu_percent, limit),
        lately: recent.iter().map(|it| it / most).collect(),
    };
    let memory = GaugeLine {
        label: "mem",
        text: of_limit(bytes(usage.memory_bytes), usage.memory_limit_bytes.map(human_bytes)),
        used: share(float(usage.memory_bytes), float(usage.memory_limit_bytes)),
        lately: Vec::new(),
    };
    let mut rest = match usage.pids {
        Some(pids) => of_limit(pids.to_string(), usage.pids_limit.map(|it| it.to_string())),
        None => "—".to_owned(),
    };
    if usage.space_bytes.is_some() {
        rest += &format!("  disk {}", bytes(usage.space_bytes));
    }
    rest += &format!("  r {} w {}", rate(rates.read), rate(rates.write));
    if rates.rx.or(rates.tx).is_some() {
        rest += &format!("  rx {} tx {}", rate(rates.rx), rate(rates.tx));
    }
    if !gauge.gpus.is_empty() {
        let memory = GpuShare::memory_of(&gauge.gpus);
        rest += &format!("  gpu {}", human_bytes(memory));
    }
    let used = share(float(usage.pids), float(usage.pids_limit));
    vec![cpu, memory, GaugeLine { label: "pids", text: rest, used, lately: Vec::new() }]
}

impl State {
    pub fn gauges_place(&self) -> Option<&GaugesPlace> {
        match self.view() {
            Some(View::Gauges(it)) => Some(it),
            _ => None,
        }
    }

    /// What stands below the fleet: the gauges of what is under the cursor.
    pub fn gauge_lines(&self) -> Vec<GaugeLine> {
        let gauge = self.fleet.current().and_then(|it| self.board.of(&it.sandbox.id));
        gauge.map(|it| lines(it, &self.board.recent(&it.sandbox))).unwrap_or_default()
    }

    /// When the readings that show will be old.
    pub(super) fn gauges_stale_at(&self) -> Option<Duration> {
        let at = self.board.came_at.filter(|_| self.board.watched)? + FRESH_FOR;
        (at > self.now.since_start).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::clock::Timestamp,
        model::gauge::{Rates, Usage},
    };

    fn gauge(id: &SandboxId, cpu: Option<f64>) -> Gauge {
        Gauge {
            sandbox: id.clone(),
            at: Timestamp(0),
            usage: Usage::default(),
            rates: Rates { cpu_percent: cpu, ..Rates::default() },
            gpus: Vec::new(),
        }
    }

    #[test]
    fn rows_stay_where_they_are_until_they_are_put_in_order() {
        let ids: Vec<SandboxId> = (0..3).map(|_| SandboxId::random()).collect();
        let mut board = Board::default();
        let round = |figures: &[Option<f64>]| Gauges {
            sandboxes: ids.iter().zip(figures).map(|(id, it)| gauge(id, *it)).collect(),
            ..Gauges::default()
        };
        board.take(round(&[Some(1.0), None, Some(3.0)]), Duration::ZERO);
        let fleet = Fleet::default();
        let mut place = GaugesPlace::new();
        place.sort = Sort::Cpu;
        place.list(&fleet, &board, true);
        let shown = |it: &GaugesPlace| {
            let rows = it.rows.iter().filter_map(Whose::sandbox);
            rows.map(|id| ids.iter().position(|it| it == id).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(shown(&place), [2, 0, 1]);
        place.go_to(&ids[0]);
        board.take(round(&[Some(9.0), Some(10.0), Some(3.0)]), Duration::from_secs(1));
        place.list(&fleet, &board, false);
        assert_eq!(shown(&place), [2, 0, 1]);
        place.list(&fleet, &board, true);
        assert_eq!((shown(&place), place.sandbox()), (vec![1, 0, 2], Some(&ids[0])));
        board.take(round(&[Some(9.0)]), Duration::from_secs(2));
        place.list(&fleet, &board, false);
        assert_eq!((shown(&place), place.check()), (vec![0], Ok(())));
        assert!(board.recent(&ids[2]).is_empty() && board.recent(&ids[0]) == [1.0, 9.0, 9.0]);
    }

    #[test]
    fn a_chart_is_asked_for_once_and_again_when_it_is_old() {
        let mut place = GaugesPlace::new();
        place.cursor.set_count(1);
        let (whose, wanted) = place.wanted(Duration::ZERO).unwrap();
        assert_eq!((&whose, wanted.sandbox), (&Whose::Host, None));
        place.asked = Some((EffectId(1), whose, 0));
        assert!(place.wanted(Duration::ZERO).is_none(), "it is on its way");
        place.answered(EffectId(1), Err("no".to_owned()), Duration::ZERO);
        assert!(place.wanted(Duration::from_millis(900)).is_none());
        assert!(place.wanted(Duration::from_secs(1)).is_some());
        place.next_span();
        assert!(place.wanted(Duration::ZERO).is_some(), "of another time");
    }
}
