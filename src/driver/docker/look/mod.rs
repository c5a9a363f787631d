//! What a container, or a moment of one, changed: in its copy of the workspace, and in all of its system. Nothing is read but
//! what its engine says may differ, and that of both sides: a snapshot, and the image that all began with, are looked at by a
//! container that is made of them and never started.

mod stand;
mod touched;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
};

use tokio::task::JoinSet;

pub use self::{stand::forget, touched::Touched};
use self::{
    stand::{Found, Stand, Whose},
    touched::{Plan, relative},
};
use super::{
    answer::Container,
    engine::Engine,
    pull::{self, aside, taking},
    snapshot,
    trace::{self, Trace},
};
use crate::{
    base::fault::{Fault, Kind, Outcome},
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
/// What an engine mounts over files of each container that runs.
const OF_THE_ENGINE: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];
/// Small questions that are under way at the same time.
const AT_ONCE: usize = 8;

pub async fn changes(of: &Kept, against: Option<&Shelf>, request: DiffRequest) -> Outcome<Changes> {
    let (Kept::Ground(_, spec) | Kept::Shelf(_, spec)) = of;
    let whose = whose(of);
    let cow = spec.workspace.mode == WorkspaceMode::Cow;
    if cow && let Some(paths) = of_workspace(&request, spec) {
        match of {
            Kept::Ground(ground, spec) => pull::fetch(ground, spec, &paths).await?,
            Kept::Shelf(shelf, spec) => of_shelf(shelf, spec, &paths, &whose).await?,
        }
        if let Some(shelf) = against {
            of_shelf(shelf, spec, &paths, &whose).await?;
        }
    }
    let laid = match request.system {
        true => Some(lay(of, against, &request, &whose).await?),
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
    let mut apart = touched.apart(old.touched.as_ref(), spec);
    let mut plan = touched.plan(old.touched.as_ref(), &request.paths, &apart);
    let modes = modes(&mut plan, new, old, &apart).await?;
    let questions = plan.questions(QUESTIONS_MAX, FULL);
    apart.extend(OF_THE_ENGINE.map(|it| it.as_bytes().to_vec()));
    let (wanted, odd) = (Arc::new(Wanted { whole: plan.whole, apart }), plan.odd);
    let (Kept::Ground(Ground { dir: directory, .. }, _)
    | Kept::Shelf(Shelf { dir: directory, .. }, _)) = of;
    let place = directory.clone();
    let laid = Arc::new(aside(move || Laid::begin(&place)).await?);
    // What sandwatch put there itself was there at the start.
    let begun = if old.touched.is_none() { begun(directory, &wanted)? } else { Vec::new() };
    for (which, side) in [(Which::Old, old), (Which::New, new)] {
        let (place, wanted) = (Arc::clone(&laid), Arc::clone(&wanted));
        let mut laying = aside(move || place.lay(which, wanted)).await?;
        for question in &questions {
            laying = take(&side.stand, laying, question).await?;
        }
        if which == Which::Old {
            for (path, archive) in &begun {
                laying.take(path, Some(archive.as_slice()))?;
            }
        }
        for it in odd.iter().filter(|_| which == Which::New) {
            laying.lacks(it, "its name is no UTF-8: the docker engine does not tell it");
        }
        let modes: Vec<(Vec<u8>, u32)> = modes
            .iter()
            .map(|(path, (old, new))| (path.clone(), if which == Which::Old { *old } else { *new }))
            .collect();
        aside(move || {
            modes.iter().try_for_each(|(path, mode)| laying.directory(path, *mode))?;
            laying.finish()
        })
        .await?;
        side.stand.is_there().await?;
    }
    Arc::into_inner(laid).ok_or_else(|| Fault::bug("a look is under way after its end"))
}

/// Takes one question's answer, which may be that nothing is there.
async fn take(stand: &Stand, mut laying: Laying, path: &[u8]) -> Outcome<Laying> {
    let archive = match stand.engine.listen(&stand.archive(path)).await {
        Err(fault) if fault.kind() == Kind::Absent => None,
        archive => Some(archive?),
    };
    let path = path.to_vec();
    taking(archive, move |archive| {
        laying.take(&path, archive)?;
        Ok(laying)
    })
    .await
}

/// Settings of agents that were laid down, as archives, by their paths.
fn begun(directory: &Path, wanted: &Wanted) -> Outcome<Vec<(Vec<u8>, Vec<u8>)>> {
    let files = agents::files(directory, true)
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
}

/// Tells directories, of which only the mode counts, from the rest, which is to be fetched; the modes of those that differ in
/// them, of the old side and the new one.
async fn modes(
    plan: &mut Plan,
    new: &Side,
    old: &Side,
    apart: &[Vec<u8>],
) -> Outcome<BTreeMap<Vec<u8>, (u32, u32)>> {
    let mut modes = BTreeMap::new();
    let asked: BTreeSet<Vec<u8>> = std::mem::take(&mut plan.itself);
    let (mut asked, mut looks) = (asked.into_iter(), JoinSet::new());
    loop {
        for path in asked.by_ref().take(AT_ONCE - looks.len()) {
            let (new, old) = (new.stand.find(&path), old.stand.find(&path));
            looks.spawn(async move { Ok::<_, Fault>((path, new.await?, old.await?)) });
        }
        let Some(found) = looks.join_next().await else { break };
        match found.map_err(|error| Fault::bug(format!("looking at a container: {error}")))?? {
            (_, Found::Directory(new), Found::Directory(old)) if new == old => {}
            (path, Found::Directory(new), Found::Directory(old)) => {
                modes.insert(path, (old, new));
            }
            // Only made to be mounted on.
            (path, ..) if apart.iter().any(|it| covers(&path, it)) => {}
            (path, ..) => drop(plan.whole.insert(path)),
        }
    }
    plan.tidy();
    let wanted = Wanted { whole: plan.whole.clone(), apart: Vec::new() };
    modes.retain(|path, _| !wanted.has(path));
    Ok(modes)
}
