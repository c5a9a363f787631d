//! What a container, or a moment of one, changed: in its copy of the workspace, and in all of its system. Nothing is read but
//! what its engine says may differ, and that of both sides: a snapshot, and the image that all began with, are looked at by a
//! container that is made of them and never started.

mod layer;
mod stand;
mod touched;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;

pub use self::{stand::forget, touched::Touched};
use self::{
    stand::{Found, Stand, Whose},
    touched::{Plan, above_of, relative, tops},
};
use super::{
    answer::Container,
    engine::Engine,
    pull::{self, aside, taking},
    snapshot,
    trace::{self, Trace},
};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        limits::FETCH_WITHIN,
    },
    driver::{
        Changes, Ground, Kept, Shelf,
        local::{
            agents,
            pulled::{self, Laid, Laying, Wanted, Which},
        },
        tar,
    },
    model::{
        change::{DiffRequest, covers},
        sandbox::{SandboxSpec, WorkspaceMode},
    },
};

/// Questions for archives: beyond that, and where so many lie in one directory, that is asked for, and the rest of it passed over.
const QUESTIONS_MAX: usize = 128;
const FULL: usize = 24;
/// Paths of which it is asked first what lies there, and how many at the same time.
const FINDS_MAX: usize = 4096;
const AT_ONCE: usize = 8;
/// How long one side of a look may take, of what it has in all; half of that, asking what lies where.
const SIDE_WITHIN: Duration = Duration::from_secs(FETCH_WITHIN.as_secs() / 3);
/// What an engine mounts over files of each container that runs.
const OF_THE_ENGINE: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// Why a path is not told of.
const ODD_NAME: &str = "its name is no UTF-8: the docker engine does not tell it";
const TOO_LONG: &str = "not looked at: the docker engine took too long";
const NOT_ASKED: &str = "the docker engine does not give it by itself";
const NO_DIRECTORY: &str = "is no directory any more, or was none";
const BLIND: &str = "too much was written: a file whose size and time were put back is not told";
const MODE_UNKNOWN: &str = "its permissions were not compared: too much changed";

/// Brings the workspace here, on both sides.
pub async fn fetch(of: &Kept, against: Option<&Shelf>, request: &DiffRequest) -> Outcome<()> {
    let (Kept::Ground(_, spec) | Kept::Shelf(_, spec)) = of;
    let whose = whose(of);
    let cow = spec.workspace.mode == WorkspaceMode::Cow;
    let Some(paths) = of_workspace(request, spec).filter(|_| cow) else { return Ok(()) };
    match of {
        Kept::Ground(ground, spec) => pull::fetch(ground, spec, &paths).await?,
        Kept::Shelf(shelf, spec) => of_shelf(shelf, spec, &paths, &whose).await?,
    }
    match against {
        Some(shelf) => of_shelf(shelf, spec, &paths, &whose).await,
        None => Ok(()),
    }
}

/// What changed in the workspace, which was fetched, or in all of the system.
pub async fn changes(of: &Kept, against: Option<&Shelf>, request: DiffRequest) -> Outcome<Changes> {
    let laid = match request.system {
        true => Some(lay(of, against, &request, &whose(of)).await?),
        false => None,
    };
    Ok(pulled::changes(of, against, request, laid))
}

/// Who looks: containers that are made for it are known by that.
fn whose(of: &Kept) -> Whose {
    match of {
        Kept::Ground(ground, _) => {
            Whose { id: ground.id.to_string(), home: trace::home(&ground.dir) }
        }
        Kept::Shelf(shelf, _) => self::of_snapshot(shelf),
    }
}

/// The same of a snapshot.
pub fn of_snapshot(shelf: &Shelf) -> Whose {
    Whose { id: shelf.id.to_string(), home: trace::home(&shelf.dir) }
}

/// What was asked for of the workspace, relative to it; `None` = nothing was.
fn of_workspace(request: &DiffRequest, spec: &SandboxSpec) -> Option<Vec<Vec<u8>>> {
    if !request.system || request.paths.is_empty() {
        return Some(if request.system { Vec::new() } else { request.paths.clone() });
    }
    let place = relative(spec.workspace.path.as_os_str().as_bytes());
    if request.paths.iter().any(|it| covers(it, &place)) {
        return Some(Vec::new());
    }
    let inside = request.paths.iter().filter(|it| covers(&place, it));
    let inside: Vec<_> = inside.filter_map(|it| it.get(place.len() + 1..)).collect();
    (!inside.is_empty()).then(|| inside.into_iter().map(<[u8]>::to_vec).collect())
}

/// Brings a snapshot's workspace here.
async fn of_shelf(
    shelf: &Shelf,
    spec: &SandboxSpec,
    paths: &[Vec<u8>],
    whose: &Whose,
) -> Outcome<()> {
    let stand = Stand::of_image(snapshot::engine(shelf)?, snapshot::image(shelf)?, whose).await?;
    let from = (&*stand.engine, stand.container.as_str());
    let fetched = pull::fetch_kept(shelf, from, spec, paths).await;
    stand.end().await;
    fetched
}

/// Where a system is looked at, and what may differ in it.
struct Side {
    stand: Stand,
    touched: Option<Touched>,
}

impl Side {
    async fn of_ground(ground: &Ground, spec: &SandboxSpec) -> Outcome<Self> {
        let Some(Trace { engine, container: Some(container), .. }) = Trace::read(&ground.dir)?
        else {
            return Err(Fault::absent(format!("{} has no container any more", ground.name)));
        };
        let engine = Engine::new(engine);
        let seen: Container = engine.inspect(&container).await?;
        let seen = Container { id: container.clone(), ..seen };
        let touched = Some(Touched::of(&engine, &seen, ground, spec).await?);
        Ok(Self { stand: Stand::there(engine, container), touched })
    }

    async fn of_shelf(shelf: &Shelf, whose: &Whose) -> Outcome<Self> {
        let touched = Some(Touched::read(shelf)?);
        let engine = snapshot::engine(shelf)?;
        let stand = Stand::of_image(engine, snapshot::image(shelf)?, whose).await?;
        Ok(Self { stand, touched })
    }

    /// What all began with.
    async fn of_start(engine: Engine, image: &str, whose: &Whose) -> Outcome<Self> {
        let stand = Stand::of_image(engine, image, whose).await?;
        Ok(Self { stand, touched: None })
    }
}

/// Lays both systems down beside each other, as far as they may differ.
async fn lay(
    of: &Kept,
    against: Option<&Shelf>,
    request: &DiffRequest,
    whose: &Whose,
) -> Outcome<Laid> {
    let new = match of {
        Kept::Ground(ground, spec) => Side::of_ground(ground, spec).await?,
        Kept::Shelf(shelf, _) => Side::of_shelf(shelf, whose).await?,
    };
    let start = new.touched.as_ref().map(|it| it.start.clone()).unwrap_or_default();
    let old = match against {
        Some(shelf) => Side::of_shelf(shelf, whose).await?,
        None => {
            let engine = Engine::new(new.stand.engine.address.clone());
            Side::of_start(engine, &start, whose).await?
        }
    };
    let laid = lay_both(of, &new, &old, request).await;
    new.stand.end().await;
    old.stand.end().await;
    laid
}

async fn lay_both(of: &Kept, new: &Side, old: &Side, request: &DiffRequest) -> Outcome<Laid> {
    let (Kept::Ground(_, spec) | Kept::Shelf(_, spec)) = of;
    let touched = new.touched.clone().unwrap_or_default();
    if old.touched.as_ref().is_some_and(|it| it.start != touched.start) {
        return Err(Fault::invalid("the two stand on different images"));
    }
    let apart = touched.apart(old.touched.as_ref(), spec);
    let plan = touched.plan(old.touched.as_ref(), &request.paths, &apart);
    let mut look = Look::plan(plan, new, old, apart).await?;
    if touched.blind || old.touched.as_ref().is_some_and(|it| it.blind) {
        look.lacks.insert(b".".to_vec(), BLIND);
    }
    let (Kept::Ground(Ground { dir: directory, .. }, _)
    | Kept::Shelf(Shelf { dir: directory, .. }, _)) = of;
    let place = directory.clone();
    let laid = Arc::new(aside(move || Laid::begin(&place)).await?);
    // What sandwatch put there itself was there at the start.
    let begun = match old.touched {
        None => begun(directory, &look.wanted).await?,
        Some(_) => Vec::new(),
    };
    look.side(&laid, Which::Old, &old.stand, begun).await?;
    look.pass_over(&laid).await?;
    look.side(&laid, Which::New, &new.stand, Vec::new()).await?;
    Arc::into_inner(laid).ok_or_else(|| Fault::bug("a look is under way after its end"))
}

/// What is asked for, of both sides.
struct Look {
    wanted: Arc<Wanted>,
    questions: BTreeSet<Vec<u8>>,
    /// Directories whose permissions differ: of the old side and the new one.
    modes: BTreeMap<Vec<u8>, (u32, u32)>,
    /// Directories whose permissions were not asked for.
    modes_unknown: Vec<Vec<u8>>,
    /// What can't be had, and why.
    lacks: BTreeMap<Vec<u8>, &'static str>,
}

impl Look {
    /// Asks what lies at each path first: of a directory only the mode may count.
    async fn plan(mut plan: Plan, new: &Side, old: &Side, apart: Vec<Vec<u8>>) -> Outcome<Self> {
        let is_way = |path: &[u8]| is_way_to(path, &apart);
        let odd = std::mem::take(&mut plan.odd).into_iter().map(|it| (it, ODD_NAME));
        let (mut lacks, mut modes) = (odd.collect::<BTreeMap<_, _>>(), BTreeMap::new());
        let itself = std::mem::take(&mut plan.itself);
        // An engine that makes an archive of such a name loses it.
        let is_odd = |it: &&Vec<u8>| std::str::from_utf8(it).is_err();
        let odd: Vec<_> = plan.whole.iter().chain(&itself).filter(is_odd).cloned().collect();
        let mut refused: Vec<(Vec<u8>, &str)> = odd.into_iter().map(|it| (it, ODD_NAME)).collect();
        // Of those that are certainly directories it matters least.
        let is_leaf = |it: &Vec<u8>| !is_above_others(it, &itself);
        let (leaves, ways): (Vec<_>, Vec<_>) = itself.iter().cloned().partition(is_leaf);
        let asked: Vec<Vec<u8>> = plan.whole.iter().cloned().chain(leaves).chain(ways).collect();
        let (found, left) = finds(asked, &new.stand, &old.stand).await?;
        let mut modes_unknown = Vec::new();
        for path in left {
            match is_above_others(&path, &itself) {
                true => modes_unknown.push(path),
                false => drop(plan.whole.insert(path)),
            }
        }
        for (path, new, old) in found {
            match (new, old) {
                (Found::Unasked, _) | (_, Found::Unasked) => refused.push((path, NOT_ASKED)),
                _ if plan.whole.contains(&path) => {}
                (Found::Directory(new), Found::Directory(old)) if new == old => {}
                (Found::Directory(new), Found::Directory(old)) => {
                    modes.insert(path, (old, new));
                }
                // What lies in it is asked for by itself.
                (Found::Directory(_), Found::Nothing) | (Found::Nothing, Found::Directory(_))
                    if is_above_others(&path, &plan.whole) => {}
                // Only made to be mounted on.
                (Found::Directory(_), Found::Nothing) if is_way(&path) => {}
                (Found::Directory(_), _) if is_way(&path) => drop(lacks.insert(path, NO_DIRECTORY)),
                _ => drop(plan.whole.insert(path)),
            }
        }
        let (mut by_parents, mut never) = (BTreeSet::new(), BTreeSet::new());
        for (path, why) in refused {
            match asked_by(&path).filter(|it| !is_way(it)) {
                Some(above) => drop(by_parents.insert(above.to_vec())),
                None => {
                    lacks.insert(path.clone(), why);
                    never.insert(path.clone());
                }
            }
            plan.whole.insert(path);
        }
        plan.tidy();
        let mut questions = plan.questions(QUESTIONS_MAX, FULL, &apart);
        questions.retain(|it| !never.contains(it));
        let questions = tops(questions.into_iter().chain(by_parents));
        let apart = apart.into_iter().chain(OF_THE_ENGINE.map(|it| it.as_bytes().to_vec()));
        let wanted = Wanted { whole: plan.whole, apart: apart.collect() };
        modes.retain(|path, _| !wanted.has(path));
        Ok(Self { wanted: Arc::new(wanted), questions, modes, modes_unknown, lacks })
    }

    /// What could not be had of the old side is not looked at in the new one: it would seem to have come.
    async fn pass_over(&mut self, laid: &Arc<Laid>) -> Outcome<()> {
        let laid = Arc::clone(laid);
        let unread = aside(move || Ok(laid.unread().map(|it| it.0).collect::<Vec<_>>())).await?;
        let mut wanted = Wanted::clone(&self.wanted);
        wanted.apart.extend(self.lacks.keys().cloned().chain(unread));
        self.wanted = Arc::new(wanted);
        Ok(())
    }

    /// Lays one side down.
    async fn side(
        &mut self,
        laid: &Arc<Laid>,
        which: Which,
        stand: &Stand,
        begun: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Outcome<()> {
        let (place, wanted) = (Arc::clone(laid), Arc::clone(&self.wanted));
        let mut laying = aside(move || place.lay(which, wanted)).await?;
        let until = clock::monotonic() + SIDE_WITHIN;
        // Those that fetch along what lies apart come last, so that they cost the others nothing.
        let is_way = |it: &Vec<u8>| is_way_to(it, &self.wanted.apart);
        let (ways, plain): (Vec<_>, Vec<_>) = self.questions.iter().cloned().partition(is_way);
        let mut questions: VecDeque<Vec<u8>> = plain.into_iter().chain(ways).collect();
        let mut again = 0;
        while let Some(question) = questions.pop_front() {
            let (rest, failed) = if clock::monotonic() > until {
                (laying, Some(TOO_LONG))
            } else {
                take(stand, laying, &question, until).await?
            };
            laying = rest;
            if let Some(why) = failed {
                self.questions.remove(&question);
                self.lacks.insert(question, why);
            }
            // Other names of what was passed over have its contents when they are asked for by themselves.
            for name in laying.again() {
                again += 1;
                match again > QUESTIONS_MAX {
                    true => drop(self.lacks.insert(name, NOT_ASKED)),
                    false => questions.push_back(name),
                }
            }
        }
        stand.is_there().await?;
        let own = |(path, (old, new)): (&Vec<u8>, &(u32, u32))| {
            (path.clone(), if which == Which::Old { *old } else { *new })
        };
        let modes: Vec<(Vec<u8>, u32)> = self.modes.iter().map(own).collect();
        // Told once, with all.
        let mut lacks = Vec::new();
        if which == Which::New {
            lacks.extend(std::mem::take(&mut self.lacks));
            // Last, for a note about what lies in a path that has one is left out.
            let modes = std::mem::take(&mut self.modes_unknown);
            lacks.extend(modes.into_iter().map(|it| (it, MODE_UNKNOWN)));
        }
        aside(move || {
            for (path, archive) in begun {
                laying.take_instead(&path, archive.as_slice())?;
            }
            lacks.iter().for_each(|(path, why)| laying.lacks(path, why));
            modes.iter().try_for_each(|(path, mode)| laying.directory(path, *mode))?;
            laying.finish()
        })
        .await
    }
}

/// What lies at paths, on the new side and the old one; and those for which there was no time.
async fn finds(
    mut paths: Vec<Vec<u8>>,
    new: &Stand,
    old: &Stand,
) -> Outcome<(Vec<(Vec<u8>, Found, Found)>, Vec<Vec<u8>>)> {
    let mut left = paths.split_off(paths.len().min(FINDS_MAX));
    let (mut paths, mut looks, mut all) = (paths.into_iter(), JoinSet::new(), Vec::new());
    let until = clock::monotonic() + SIDE_WITHIN / 2;
    loop {
        if clock::monotonic() > until {
            left.extend(paths.by_ref());
        }
        for path in paths.by_ref().take(AT_ONCE - looks.len()) {
            let (new, old) = (new.find(&path), old.find(&path));
            looks.spawn(async move { Ok::<_, Fault>((path, new.await?, old.await?)) });
        }
        let Some(found) = looks.join_next().await else { return Ok((all, left)) };
        all.push(found.map_err(|error| Fault::bug(format!("looking at a path: {error}")))??);
    }
}

/// What is asked for instead of a path that can't be asked for by itself; `None` = nothing is, or all of the system.
fn asked_by(path: &[u8]) -> Option<&[u8]> {
    let valid = std::str::from_utf8(path).map_or_else(|error| error.valid_up_to(), str::len);
    let name = path.get(..valid).unwrap_or(path);
    above_of(name).filter(|it| !it.is_empty())
}

/// Whether something that lies apart is in it.
fn is_way_to(path: &[u8], apart: &[Vec<u8>]) -> bool {
    path.is_empty() || apart.iter().any(|it| covers(path, it))
}

/// Whether others of these lie in it: then it is a directory.
fn is_above_others(path: &[u8], all: &BTreeSet<Vec<u8>>) -> bool {
    let inside = [path, b"/"].concat();
    all.range(inside.clone()..).next().is_some_and(|it| it.starts_with(&inside))
}

/// Takes one question's answer, which may be that nothing is there; why not, where that is of this question alone.
async fn take(
    stand: &Stand,
    mut laying: Laying,
    path: &[u8],
    until: Duration,
) -> Outcome<(Laying, Option<&'static str>)> {
    let archive = match stand.engine.listen(&stand.archive(path)).await {
        Err(fault) if fault.kind() == Kind::Absent => None,
        Err(fault) if fault.kind() == Kind::Failed => return Ok((laying, Some(NOT_ASKED))),
        archive => Some(archive?),
    };
    let path = path.to_vec();
    taking(archive, move |archive| {
        let archive = archive.map(|mut it| {
            it.only_until(until);
            it
        });
        match laying.take(&path, archive) {
            Err(_) if clock::monotonic() > until => Ok((laying, Some(TOO_LONG))),
            taken => taken.map(|()| (laying, None)),
        }
    })
    .await
}

/// Settings of agents that were laid down, as archives, by their paths.
async fn begun(directory: &Path, wanted: &Arc<Wanted>) -> Outcome<Vec<(Vec<u8>, Vec<u8>)>> {
    let (directory, wanted) = (directory.to_owned(), Arc::clone(wanted));
    aside(move || {
        let files = agents::files(&directory, true)
            .map_err(|error| Fault::io("reading settings of agents that were laid down", &error))?;
        let all = files.into_iter().map(|(path, text)| {
            let path = [b"etc/", path.as_os_str().as_bytes()].concat();
            let name = path.rsplit(|it| *it == b'/').next().unwrap_or(&path);
            let mut archive = Vec::new();
            tar::file(&mut archive, &String::from_utf8_lossy(name), 0o644, &text);
            archive.extend(tar::END);
            (path, archive)
        });
        Ok(all.filter(|it| wanted.has(&it.0)).collect())
    })
    .await
}
