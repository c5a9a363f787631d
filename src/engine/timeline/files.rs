//! What programs changed in the files of their sandboxes: looked through in the background, one sandbox holding up no other,
//! and remembered within a bound, so that lists of the whole fleet and whoever follows can be told what is new.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, watch};

use crate::{
    base::{
        clock::{self, Timestamp},
        fault::Outcome,
        id::SandboxId,
        limits::{
            TIMELINE_FILE_BYTES_MAX, TIMELINE_FILES_EVERY, TIMELINE_FILES_IN_A_ROW,
            TIMELINE_FILES_MAX, TIMELINE_FILES_PART, TIMELINE_FILES_STRETCH, TIMELINE_FILES_WAIT,
            TIMELINE_WALKS_AT_ONCE, TOUCHED_TOLD_MAX,
        },
    },
    driver::Touched,
    engine::{Inner, turns::taking_turns},
    model::{
        sandbox::{Sandbox, WorkspaceMode},
        timeline::{Happening, Kind, Place, Source, TimelineRequest},
    },
};

/// Numbers for one millisecond.
const PER_MILLISECOND: i64 = 1 << 20;

/// One change.
#[derive(Clone, Debug)]
struct Change {
    at: Timestamp,
    gone: bool,
    path: Box<[u8]>,
    /// When it was seen first, as a number that grows: what whoever follows was told goes by it.
    seen: i64,
}

/// What is known of one sandbox.
#[derive(Debug, Default)]
struct Known {
    /// By a number that stands for the sandbox and the path.
    changes: HashMap<i64, Change>,
    /// What is older was forgotten.
    floor: Option<Timestamp>,
    /// A walk tells so many and no more: what is older may come when newer ones go, and is not new then.
    old: Option<Timestamp>,
    /// The walk that is under way began then.
    walks_since: Option<Duration>,
    /// The newest walk that came to its end began then; `None` = there was none.
    looked_at: Option<Duration>,
    /// Whoever follows has it looked through again from then on.
    next_at: Duration,
    cost: Duration,
    /// Somebody was told less than there is, as the first walk was not over: what is newer than this is told as new then.
    awaited: Option<i64>,
    /// Why the last walk came to nothing.
    wrong: Option<String>,
}

#[derive(Debug, Default)]
struct All {
    sandboxes: HashMap<SandboxId, Known>,
    /// The last number that was given.
    last: i64,
    changes: usize,
    cost: Duration,
}

/// All that is known.
pub(in crate::engine) struct Files {
    all: Mutex<All>,
    turns: Arc<Semaphore>,
    /// Rings when a walk is over.
    ended: watch::Sender<u64>,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            turns: Arc::new(Semaphore::new(TIMELINE_WALKS_AT_ONCE)),
            ended: watch::Sender::new(0),
        }
    }
}

/// How new the look has to be that a list stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fresh {
    /// From this moment on.
    Now(Duration),
    /// As new as the time that is spent on it allows.
    Lately,
    /// Any.
    Ever,
}

/// What a list has of it.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// With the numbers to go on from.
    pub changes: Vec<(i64, Happening)>,
    /// How far that goes.
    pub mark: i64,
    pub pending: u32,
    /// Why there is nothing of some.
    pub unknown: Option<String>,
}

/// Why nothing can be known of a sandbox, if so.
pub(super) fn unknowable(sandbox: &Sandbox) -> Option<String> {
    let mode = sandbox.workspace.mode;
    (mode != WorkspaceMode::Cow)
        .then(|| format!("no changes are kept apart: the workspace is {}", mode.word()))
}

impl Files {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings when a walk is over.
    pub fn ended(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Forgets all but these.
    fn keep(&self, sandboxes: &[Arc<Sandbox>]) {
        let mut all = self.all();
        if all.sandboxes.len() > sandboxes.len() {
            let there: std::collections::HashSet<_> = sandboxes.iter().map(|it| &it.id).collect();
            all.sandboxes.retain(|id, _| there.contains(id));
            all.changes = all.sandboxes.values().map(|it| it.changes.len()).sum();
            all.cost = all.sandboxes.values().map(|it| it.cost).sum();
        }
    }

    /// Those of which a newer look is wanted than there is; those that nobody looks through yet are marked as begun.
    fn begin(&self, sandboxes: &[Arc<Sandbox>], fresh: Fresh) -> (Vec<Arc<Sandbox>>, usize) {
        let now = clock::monotonic();
        let mut all = self.all();
        let (mut begun, mut waited) = (Vec::new(), 0);
        for it in sandboxes {
            let known = all.sandboxes.entry(it.id.clone()).or_default();
            if known.is(fresh, now) {
                continue;
            }
            waited += 1;
            if known.walks_since.is_none() {
                known.walks_since = Some(now);
                begun.push(Arc::clone(it));
            }
        }
        (begun, waited)
    }

    /// A walk is over.
    fn took(&self, id: &SandboxId, touched: Outcome<Vec<Touched>>) {
        let (now, wall) = (clock::monotonic(), clock::wall());
        let mut guard = self.all();
        let all = &mut *guard;
        // It was removed meanwhile.
        let Some(known) = all.sandboxes.get_mut(id) else { return };
        let began = known.walks_since.take().unwrap_or(now);
        let cost = now.saturating_sub(began);
        all.cost = all.cost.saturating_sub(known.cost) + cost;
        known.cost = cost;
        let every = all.cost.saturating_mul(TIMELINE_FILES_PART).max(TIMELINE_FILES_EVERY);
        known.next_at = now.saturating_add(every);
        let is_first = known.looked_at.replace(began).is_none();
        match touched {
            Ok(touched) => {
                known.wrong = None;
                all.changes -= known.changes.len();
                known.take(id, touched, is_first, wall, &mut all.last);
                all.changes += known.changes.len();
                all.shrink();
            }
            Err(fault) => known.wrong = Some(fault.message().to_owned()),
        }
        drop(guard);
        self.ended.send_modify(|it| *it = it.wrapping_add(1));
    }

    /// What a list of these sandboxes has of it, in the order it goes: the newest first, or by when they were seen.
    fn told(&self, request: &TimelineRequest, sandboxes: &[Arc<Sandbox>], fresh: Fresh) -> Told {
        let mut guard = self.all();
        let all = &mut *guard;
        let now = clock::wall().0.max(0).saturating_mul(PER_MILLISECOND);
        all.last = all.last.max(now);
        let mut out = Told { mark: all.last, ..Told::default() };
        let folds = request.kinds.as_slice() != [Kind::Files];
        for of in sandboxes {
            let Some(known) = all.sandboxes.get_mut(&of.id) else { continue };
            if known.looked_at.is_none() {
                let told = request.written_after.map_or(i64::MIN, |it| it.files);
                known.awaited = Some(known.awaited.map_or(told, |it| it.min(told)));
            }
            out.pending += u32::from(!known.is(fresh, clock::monotonic()));
            if out.unknown.is_none() {
                out.unknown.clone_from(&known.wrong);
            }
            let after = request.written_after.map(|it| it.files);
            let new = known.changes.iter().filter(|it| after.is_none_or(|after| it.1.seen > after));
            let mut new: Vec<_> = new.map(|(number, it)| (*number, it)).collect();
            new.sort_unstable_by_key(|(number, it)| Reverse((it.at, *number)));
            for (number, left_out, it) in folded(new, folds) {
                let place = Place { at: it.at, source: Source::Files, number };
                if is_meant(request, place) {
                    out.changes.push((it.seen, it.happening(of, place, left_out)));
                }
            }
        }
        match request.written_after {
            Some(_) => out.changes.sort_unstable_by_key(|it| it.0),
            None => out.changes.sort_unstable_by_key(|it| Reverse(it.1.place)),
        }
        out.changes.truncate(usize::try_from(request.most).unwrap_or(usize::MAX).saturating_add(1));
        out
    }
}

impl Known {
    fn is(&self, fresh: Fresh, now: Duration) -> bool {
        self.looked_at.is_some_and(|at| match fresh {
            Fresh::Now(since) => at >= since,
            Fresh::Lately => now < self.next_at,
            Fresh::Ever => true,
        })
    }

    fn take(
        &mut self,
        id: &SandboxId,
        mut touched: Vec<Touched>,
        is_first: bool,
        wall: Timestamp,
        last: &mut i64,
    ) {
        touched.sort_unstable_by_key(|it| it.at);
        if touched.len() >= TOUCHED_TOLD_MAX {
            self.old = self.old.max(touched.first().map(|it| it.at));
        }
        let before = std::mem::take(&mut self.changes);
        for (index, it) in (0..PER_MILLISECOND).zip(touched) {
            if self.floor.is_some_and(|floor| it.at < floor) {
                continue;
            }
            // What was there when it was looked through for the first time counts as seen when it was made.
            let is_old = self.old.is_some_and(|old| it.at < old);
            let made = it.at.0.clamp(0, wall.0.max(0)).saturating_mul(PER_MILLISECOND);
            let made = made.saturating_add(index);
            let is_told = self.awaited.is_none_or(|told| made <= told);
            let as_made = is_old || (is_first && is_told);
            let number = number(id, &it.path);
            let seen = match before.get(&number) {
                Some(old) if (old.at, old.gone) == (it.at, it.gone) => old.seen,
                _ if as_made => made,
                _ => {
                    let now = wall.0.max(0).saturating_mul(PER_MILLISECOND);
                    *last = last.saturating_add(1).max(now);
                    *last
                }
            };
            let path = it.path.get(..TIMELINE_FILE_BYTES_MAX).unwrap_or(&it.path).into();
            self.changes.insert(number, Change { at: it.at, gone: it.gone, path, seen });
        }
    }

    /// Forgets the older half.
    fn halve(&mut self) {
        let mut times: Vec<Timestamp> = self.changes.values().map(|it| it.at).collect();
        let middle = times.len() / 2;
        let (_, floor, _) = times.select_nth_unstable(middle);
        let floor = Timestamp(floor.0.saturating_add(1));
        self.floor = self.floor.max(Some(floor));
        self.changes.retain(|_, it| it.at >= floor);
    }
}

impl All {
    /// Keeps the bound: whoever has the most gives.
    fn shrink(&mut self) {
        while self.changes > TIMELINE_FILES_MAX {
            let most = self.sandboxes.values_mut().max_by_key(|it| it.changes.len());
            let Some(most) = most.filter(|it| !it.changes.is_empty()) else { return };
            let before = most.changes.len();
            most.halve();
            self.changes -= before - most.changes.len();
        }
    }
}

impl Change {
    fn happening(&self, of: &Sandbox, place: Place, left_out: u64) -> Happening {
        let did = if self.gone { "deleted" } else { "wrote" };
        let words = format!("{did} {}", String::from_utf8_lossy(&self.path));
        Happening {
            place,
            sandbox: Some(of.id.clone()),
            sandbox_name: Some(of.name.clone()),
            left_out,
            ..Happening::new(self.at, Kind::Files, "file.changed", &words)
        }
    }
}

/// Of each stretch of time the newest few, with how many there are behind the last of them. Newest first, as they come.
fn folded(all: Vec<(i64, &Change)>, folds: bool) -> Vec<(i64, u64, &Change)> {
    let stretch = i64::try_from(TIMELINE_FILES_STRETCH.as_millis()).unwrap_or(i64::MAX);
    let mut out: Vec<(i64, u64, &Change)> = Vec::new();
    let (mut of, mut many) = (None, 0);
    for (number, it) in all {
        let this = Some(it.at.0.div_euclid(stretch));
        many = if of == this { many + 1 } else { 1 };
        of = this;
        match out.last_mut().filter(|_| folds && many > TIMELINE_FILES_IN_A_ROW) {
            Some(last) => last.1 += 1,
            None => out.push((number, 0, it)),
        }
    }
    out
}

fn is_meant(request: &TimelineRequest, place: Place) -> bool {
    request.since.is_none_or(|it| place.at >= it)
        && request.until.is_none_or(|it| place.at <= it)
        && request.before.is_none_or(|it| place < it)
}

/// A number of a path in a sandbox that stays the same.
fn number(id: &SandboxId, path: &[u8]) -> i64 {
    // FNV-1a.
    let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let bytes = id.as_str().as_bytes().iter().chain(b"\0").chain(path);
    (bytes.fold(0xcbf2_9ce4_8422_2325, fold) >> 1).cast_signed()
}

impl Inner {
    /// What is known of changes of files, for one page of a list.
    pub(super) async fn touched(
        self: &Arc<Self>,
        request: &TimelineRequest,
        meant: Option<&Sandbox>,
    ) -> Told {
        let fleet: Vec<_> = self.fleet().entries().map(|it| Arc::clone(&it.sandbox)).collect();
        let many = fleet.len();
        let (of, others): (Vec<_>, Vec<_>) =
            fleet.into_iter().partition(|it| unknowable(it).is_none());
        self.files.keep(&of);
        let of: Vec<_> = match meant {
            Some(meant) => of.into_iter().filter(|it| it.id == meant.id).collect(),
            None => of,
        };
        let is_page = request.before.is_some();
        let fresh = match (request.written_after, meant) {
            _ if is_page => Fresh::Ever,
            (None, Some(_)) => Fresh::Now(clock::monotonic()),
            _ => Fresh::Lately,
        };
        self.look_through(&of, fresh, request.written_after.is_some()).await;
        // Whoever follows hears of later looks when they are over.
        let enough = if request.written_after.is_some() { Fresh::Ever } else { fresh };
        let mut told = self.files.told(request, &of, enough);
        if meant.is_none() && !others.is_empty() {
            let words = format!(
                "of {} of {many} sandboxes nothing can be known: no changes are kept apart there",
                others.len()
            );
            told.unknown.get_or_insert(words);
        }
        told
    }

    /// Has these looked through, and waits a little for it. Whoever follows waits for first looks only.
    async fn look_through(self: &Arc<Self>, of: &[Arc<Sandbox>], fresh: Fresh, follows: bool) {
        let end = tokio::time::Instant::now() + TIMELINE_FILES_WAIT;
        let mut ended = self.files.ended();
        loop {
            ended.mark_unchanged();
            let (begun, waited) = self.files.begin(of, fresh);
            begun.into_iter().for_each(|it| self.walk(it));
            let waited = if follows { self.files.begin(of, Fresh::Ever).1 } else { waited };
            if waited == 0 || tokio::time::timeout_at(end, ended.changed()).await.is_err() {
                return;
            }
        }
    }

    fn walk(self: &Arc<Self>, sandbox: Arc<Sandbox>) {
        let (engine, turns) = (Arc::downgrade(self), Arc::clone(&self.files.turns));
        let ground = self.ground(&sandbox.id, &sandbox.name);
        let driver = self.drivers.get(&sandbox.driver);
        tokio::spawn(async move {
            let began = sandbox.created_at;
            let touched = match driver {
                Ok(driver) => taking_turns(turns, move || driver.touched(&ground, began)).await,
                Err(fault) => Err(fault),
            };
            if let Some(engine) = engine.upgrade() {
                engine.files.took(&sandbox.id, touched);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Timestamp = Timestamp(1_000_000);

    fn touched(at: i64, path: &str) -> Touched {
        Touched { at: Timestamp(at), path: path.as_bytes().to_vec(), gone: false }
    }

    fn change(at: i64) -> Change {
        Change { at: Timestamp(at), gone: false, path: b"x".as_slice().into(), seen: 0 }
    }

    fn new_since(known: &Known, mark: i64) -> Vec<String> {
        let new = known.changes.values().filter(|it| it.seen > mark);
        let mut new: Vec<_> =
            new.map(|it| String::from_utf8_lossy(&it.path).into_owned()).collect();
        new.sort();
        new
    }

    #[test]
    fn what_was_there_is_not_new_what_comes_is_and_what_somebody_waited_for_too() {
        let id = SandboxId::parse("box").unwrap();
        let mut last = WALL.0 * PER_MILLISECOND;
        let mark = last;
        let mut known = Known::default();
        let first = || vec![touched(10, "a"), touched(20, "b")];
        known.take(&id, first(), true, WALL, &mut last);
        assert_eq!(new_since(&known, mark), [""; 0]);
        // One with a time of before, as a program may say.
        let then = vec![touched(10, "a"), touched(900, "b"), touched(15, "c")];
        known.take(&id, then.clone(), false, WALL, &mut last);
        assert_eq!(new_since(&known, mark), ["b", "c"]);
        let mark = last;
        known.take(&id, then, false, WALL, &mut last);
        assert_eq!(new_since(&known, mark), [""; 0]);
        let awaited = |told: i64| Known { awaited: Some(told), ..Known::default() };
        let mut late = awaited(15 * PER_MILLISECOND);
        late.take(&id, first(), true, WALL, &mut last);
        assert_eq!(new_since(&late, mark), ["b"]);
        let mut late = awaited(i64::MIN);
        late.take(&id, first(), true, WALL, &mut last);
        assert_eq!(new_since(&late, mark), ["a", "b"]);
        // Of more than a walk tells an older one comes when a newer one goes.
        let many = || (0..500).map(|at| touched(1000 + at, &at.to_string()));
        assert_eq!(many().count(), TOUCHED_TOLD_MAX);
        late.take(&id, many().collect(), false, WALL, &mut last);
        let mark = last;
        let older = std::iter::once(touched(900, "older")).chain(many().take(499));
        late.take(&id, older.collect(), false, WALL, &mut last);
        assert_eq!((new_since(&late, mark), late.changes.len()), (Vec::new(), 500));
        // A clock that was set back makes no number smaller.
        let mark = last;
        late.take(&id, vec![touched(5000, "d")], false, Timestamp(5), &mut last);
        assert_eq!(new_since(&late, mark), ["d"]);
    }

    #[test]
    fn whoever_has_the_most_gives_and_what_is_forgotten_is_not_new_again() {
        let mut all = All::default();
        let many = i64::try_from(TIMELINE_FILES_MAX).unwrap();
        for (name, many) in [("loud", many), ("calm", 10)] {
            let changes = (0..many).map(|at| (at, change(at))).collect();
            let id = SandboxId::parse(name).unwrap();
            all.sandboxes.insert(id, Known { changes, ..Known::default() });
        }
        all.changes = TIMELINE_FILES_MAX + 10;
        all.shrink();
        let of = |all: &All, name| all.sandboxes[&SandboxId::parse(name).unwrap()].changes.len();
        assert_eq!(of(&all, "calm"), 10);
        assert!((1..TIMELINE_FILES_MAX).contains(&of(&all, "loud")));
        assert_eq!(all.changes, of(&all, "loud") + 10);
        let loud = SandboxId::parse("loud").unwrap();
        let known = all.sandboxes.get_mut(&loud).unwrap();
        known.take(&loud, vec![touched(1, "old"), touched(many, "new")], false, WALL, &mut 0);
        assert_eq!(new_since(known, -1), ["new"]);
    }

    #[test]
    fn a_burst_is_a_few_rows_and_a_number() {
        let burst: Vec<_> = (0..20).map(change).chain([change(50_000)]).collect();
        let all = || burst.iter().rev().zip(0..).map(|(it, number)| (number, it)).collect();
        let rows = folded(all(), true);
        let left_out: Vec<_> = rows.iter().map(|it| it.1).collect();
        assert_eq!(left_out, [0, 0, 0, 0, 0, 15]);
        assert_eq!(folded(all(), false).len(), 21);
    }
}
