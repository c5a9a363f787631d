//! What programs changed in the files of their sandboxes: looked through in the background, one sandbox holding up no other,
//! and remembered within a bound, so that lists of the whole fleet and whoever follows can be told what is new.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, watch};

use super::missing::Missing;
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Kind as Fails, Outcome},
        id::SandboxId,
        limits::{
            TIMELINE_FILE_BYTES_MAX, TIMELINE_FILES_EVERY, TIMELINE_FILES_IN_A_ROW,
            TIMELINE_FILES_MAX, TIMELINE_FILES_OLD, TIMELINE_FILES_PART, TIMELINE_FILES_STRETCH,
            TIMELINE_FILES_WAIT, TIMELINE_WALKS_AT_ONCE,
        },
        text, units,
    },
    driver::{Touched, Touches},
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
    by_kernel: Timestamp,
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
    /// What is older by the kernel was forgotten.
    floor: Option<Timestamp>,
    /// A walk tells so many and no more: what is older by the kernel may come when newer ones go, and is not new then.
    old: Option<Timestamp>,
    /// A walk is under way, or waits for its turn.
    is_walked: bool,
    /// The newest walk that came to its end began then; `None` = there was none.
    looked_at: Option<Duration>,
    /// Whoever follows has it looked through again from then on.
    next_at: Duration,
    /// Somebody was told less than there is, as the first walk was not over: what is newer than this is told as new then.
    awaited: Option<i64>,
    /// So many changes the last walk did not tell, or they were forgotten, and all of them are of that time or before.
    older: (u64, Option<Timestamp>),
    /// Directories that the last walk did not read to their end.
    unread: u64,
    /// Why the last walk came to nothing.
    wrong: Option<String>,
    /// Why none will ever come to anything.
    unable: Option<String>,
}

/// A walk that is over.
struct Walked {
    began: Duration,
    cost: Duration,
    found: Outcome<Touches>,
}

#[derive(Debug, Default)]
struct All {
    sandboxes: HashMap<SandboxId, Known>,
    /// The last number that was given.
    last: i64,
    changes: usize,
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
    pub missing: Vec<Missing>,
    /// When it was asked for.
    pub asked: Option<Duration>,
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
            if !known.is_walked {
                known.is_walked = true;
                begun.push(Arc::clone(it));
            }
        }
        (begun, waited)
    }

    /// A walk is over.
    fn took(&self, id: &SandboxId, walked: Walked) {
        let (now, wall) = (clock::monotonic(), clock::wall());
        let mut guard = self.all();
        let all = &mut *guard;
        // It was removed meanwhile.
        let Some(known) = all.sandboxes.get_mut(id) else { return };
        known.is_walked = false;
        let every = walked.cost.saturating_mul(TIMELINE_FILES_PART).max(TIMELINE_FILES_EVERY);
        known.next_at = now.saturating_add(every);
        let is_first = known.looked_at.replace(walked.began).is_none();
        (known.wrong, known.unable) = (None, None);
        match walked.found {
            Ok(found) => {
                all.changes -= known.changes.len();
                known.take(id, found, is_first, wall, &mut all.last);
                all.changes += known.changes.len();
                all.shrink();
            }
            Err(fault) if fault.kind() == Fails::Unsupported => {
                known.unable = Some(fault.message().to_owned());
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
        let (now, wall) = (clock::monotonic(), clock::wall());
        all.last = all.last.max(wall.0.max(0).saturating_mul(PER_MILLISECOND));
        let mut out = Told { mark: all.last, ..Told::default() };
        let folds = request.kinds.as_slice() != [Kind::Files];
        for of in sandboxes {
            let Some(known) = all.sandboxes.get_mut(&of.id) else { continue };
            if known.looked_at.is_none() {
                let told = request.written_after.map_or(i64::MIN, |it| it.files);
                known.awaited = Some(known.awaited.map_or(told, |it| it.min(told)));
            }
            let is_fresh = known.is(fresh, now);
            out.pending += u32::from(!is_fresh);
            if out.unknown.is_none() {
                out.unknown.clone_from(&known.unable);
            }
            let looked_at = known.looked_at.filter(|_| is_fresh && fresh == Fresh::Lately);
            let age = looked_at.map_or(Duration::ZERO, |it| now.saturating_sub(it));
            out.missing.extend(known.missing(&of.name, request, age));
            // Before they are folded: what is not meant takes nothing with it.
            let new = known.changes.iter().filter(|it| is_meant(request, it.1));
            let mut new: Vec<_> = new.map(|(number, it)| (*number, it)).collect();
            new.sort_unstable_by_key(|(number, it)| Reverse((it.at, *number)));
            for (number, left_out, it) in folded(new, folds) {
                let place = Place { at: it.at, source: Source::Files, number };
                if request.before.is_none_or(|before| place < before) {
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

impl Walked {
    fn by(walk: impl FnOnce() -> Outcome<Touches>) -> Self {
        let began = clock::monotonic();
        let found = walk();
        Self { began, cost: clock::monotonic().saturating_sub(began), found }
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
        found: Touches,
        is_first: bool,
        wall: Timestamp,
        last: &mut i64,
    ) {
        let Touches { newest: mut touched, older, unread } = found;
        touched.sort_unstable_by_key(|it| it.at);
        let end = touched.iter().map(|it| it.by_kernel).min().filter(|_| older > 0);
        self.old = self.old.max(end);
        (self.older, self.unread) = ((older, end), unread);
        let before = std::mem::take(&mut self.changes);
        for (index, it) in (0..PER_MILLISECOND).zip(touched) {
            if self.floor.is_some_and(|floor| it.by_kernel < floor) {
                self.older = (self.older.0 + 1, self.older.1.max(self.floor));
                continue;
            }
            // What was there when it was looked through for the first time counts as seen when it was made.
            let is_old = self.old.is_some_and(|old| it.by_kernel < old);
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
            let Touched { at, by_kernel, gone, .. } = it;
            self.changes.insert(number, Change { at, by_kernel, gone, path, seen });
        }
        // All there is was told: what comes is new.
        if older == 0 && unread == 0 {
            self.old = None;
        }
    }

    /// What a list lacks of it that stands on a look of that age.
    fn missing(&self, name: &str, request: &TimelineRequest, age: Duration) -> Vec<Missing> {
        let (older, by) = self.older;
        // Whoever follows lacks what was left out since it was told something.
        let told = request.written_after.map(|it| Timestamp(it.files / PER_MILLISECOND));
        let from = request.since.max(told);
        let by = by.filter(|by| older > 0 && from.is_none_or(|from| from <= *by));
        let older =
            by.map(|by| (Some(by), format!("left out {}", text::count(older, "older change"))));
        let unread = (self.unread > 0).then(|| {
            let many = text::count(self.unread, "directory");
            (None, format!("{many} could not be read to the end"))
        });
        let wrong = self.wrong.clone().map(|it| (None, it));
        let old = (age >= TIMELINE_FILES_OLD)
            .then(|| (None, format!("looked through {} ago", units::human_duration(age))));
        let all = [older, unread, wrong, old].into_iter().flatten();
        all.map(|(by, words)| Missing { by, words: format!("{name}: {words}") }).collect()
    }

    /// Forgets the older half.
    fn halve(&mut self) {
        let before = self.changes.len();
        let mut times: Vec<Timestamp> = self.changes.values().map(|it| it.by_kernel).collect();
        let middle = times.len() / 2;
        let (_, floor, _) = times.select_nth_unstable(middle);
        let floor = Timestamp(floor.0.saturating_add(1));
        self.floor = self.floor.max(Some(floor));
        self.changes.retain(|_, it| it.by_kernel >= floor);
        let gone = (before - self.changes.len()) as u64;
        self.older = (self.older.0 + gone, self.older.1.max(self.floor));
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

fn is_meant(request: &TimelineRequest, change: &Change) -> bool {
    request.since.is_none_or(|it| change.at >= it)
        && request.until.is_none_or(|it| change.at <= it)
        && request.written_after.is_none_or(|it| change.seen > it.files)
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
        let now = clock::monotonic();
        // No hub that began anew has its clock from before.
        let asked = request.files_asked.map_or(now, |it| it.min(now));
        let is_page = request.before.is_some();
        let fresh = match (request.written_after, meant) {
            _ if is_page => Fresh::Ever,
            (None, Some(_)) => Fresh::Now(asked),
            _ => Fresh::Lately,
        };
        self.look_through(&of, fresh, request.written_after.is_some()).await;
        // Whoever follows hears of later looks when they are over.
        let enough = if request.written_after.is_some() { Fresh::Ever } else { fresh };
        let mut told = self.files.told(request, &of, enough);
        told.asked = Some(asked);
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
            let walked = match driver {
                Ok(driver) => {
                    // The clock runs when it is its turn: nobody pays for the wait.
                    let walk = move || Ok(Walked::by(|| driver.touched(&ground, began)));
                    taking_turns(turns, walk).await
                }
                Err(fault) => Err(fault),
            };
            let walked = walked.unwrap_or_else(|fault| Walked::by(|| Err(fault)));
            if let Some(engine) = engine.upgrade() {
                engine.files.took(&sandbox.id, walked);
            }
        });
    }
}

#[cfg(test)]
mod tests;
