//! Which paths of a container may differ from those of the image that all began with: told by its engine, and kept with each
//! snapshot, whose own image tells nothing of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use serde::Deserialize;

use super::super::{
    answer::Container,
    engine::{Engine, escaped},
    first, trust,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{CHANGES_MAX, ENGINE_CHANGES_BYTES_MAX, PATH_BYTES_MAX},
    },
    driver::{Ground, Shelf, local::pulled::Wanted},
    model::{
        change::covers,
        sandbox::{SandboxSpec, WorkspaceMode},
    },
};

/// On the shelf of a snapshot.
const FILE: &str = "system";

/// Before a path in it that is not told as it is, and before one that something was mounted on.
const ODD: u8 = b'?';
const MOUNTED: u8 = b'/';
/// What stands for bytes that are no UTF-8.
const BROKEN: &[u8] = "\u{fffd}".as_bytes();

/// One line of what an engine tells.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Changed {
    path: String,
    /// 0 = it is another, 1 = it came, 2 = it went.
    kind: u8,
}

/// How much of a path may differ. The more comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Itself,
    /// With all that lies in it.
    Whole,
}

impl Extent {
    /// Before a path, where they are kept.
    fn mark(self) -> u8 {
        match self {
            Self::Itself => b'.',
            Self::Whole => b'+',
        }
    }

    fn of_mark(mark: u8) -> Option<Self> {
        [Self::Itself, Self::Whole].into_iter().find(|it| it.mark() == mark)
    }
}

/// What may differ, of a container or a moment of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The image that all began with, however often something went on from a snapshot since; the engine's id of it.
    pub start: String,
    /// Relative to the root.
    paths: BTreeMap<Vec<u8>, Extent>,
    /// Paths with names that are no UTF-8, as they are told: not as they are.
    odd: BTreeSet<Vec<u8>>,
    /// Where something was mounted, which is none of it.
    mounted: BTreeSet<Vec<u8>>,
}

/// What came of going through them: what has to be fetched, and what may be directories of which only the mode counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub whole: BTreeSet<Vec<u8>>,
    pub itself: BTreeSet<Vec<u8>>,
    /// What can't be fetched, as nobody tells its name.
    pub odd: BTreeSet<Vec<u8>>,
}

impl Touched {
    /// Of a container that was made for a sandbox, or adopted.
    /// What lies in its workspace is not noted: that is looked at otherwise.
    pub async fn of(
        engine: &Engine,
        container: &Container,
        ground: &Ground,
        spec: &SandboxSpec,
    ) -> Outcome<Self> {
        let path = format!("/containers/{}/changes", escaped(&container.id));
        let mut pieces = engine.listen(&path).await?;
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece);
            if all.len() > ENGINE_CHANGES_BYTES_MAX {
                return Err(too_many());
            }
        }
        let told: Option<Vec<Changed>> = serde_json::from_slice(&all).map_err(|error| {
            Fault::failed(format!("what the docker engine tells of changes can't be read: {error}"))
        })?;
        let before = ground.from.as_ref().map(Self::read).transpose()?;
        let start = before.as_ref().map_or(&container.image, |it| &it.start).clone();
        let mut touched = Self { start, ..before.unwrap_or_default() };
        let mounts = container.mounts.iter().flatten();
        touched.mounted.extend(mounts.map(|it| relative(it.destination.as_bytes())));
        let apart = touched.apart(None, spec);
        for changed in told.into_iter().flatten() {
            touched.add(&changed, &apart);
            if touched.paths.len() > CHANGES_MAX {
                return Err(too_many());
            }
        }
        Ok(touched)
    }

    fn add(&mut self, changed: &Changed, apart: &[Vec<u8>]) {
        let path = changed.path.trim_matches('/');
        let ours = [first::PATH, trust::WHOLE, trust::ADDED].map(|it| it.trim_start_matches('/'));
        let odd = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0');
        if path.len() > PATH_BYTES_MAX || path.split('/').any(odd) || ours.contains(&path) {
            return;
        }
        // What lies in something that is looked at whole is; what is apart, and the way there, is not looked at whole.
        let is_apart = |it: &[u8]| apart.iter().any(|of| covers(of, it));
        let is_way = |it: &[u8]| apart.iter().any(|of| covers(it, of));
        let mut above = std::iter::successors(above_of(path.as_bytes()), |it| above_of(it));
        if is_apart(path.as_bytes())
            || above.any(|it| self.paths.get(it) == Some(&Extent::Whole) && !is_way(it))
        {
            return;
        }
        if path.contains(char::REPLACEMENT_CHARACTER) {
            self.odd.insert(path.as_bytes().to_vec());
            return;
        }
        let extent = if changed.kind == 0 { Extent::Itself } else { Extent::Whole };
        self.put(path.as_bytes(), extent);
    }

    fn put(&mut self, path: &[u8], extent: Extent) {
        let most = self.paths.entry(path.to_vec()).or_insert(extent);
        *most = extent.max(*most);
    }

    /// Keeps it with a snapshot.
    pub fn write(&self, shelf: &Path) -> Outcome<()> {
        let mut text = self.start.clone().into_bytes();
        let paths = self.paths.iter().map(|(path, extent)| (path, extent.mark()));
        let odd = self.odd.iter().map(|it| (it, ODD));
        let mounted = self.mounted.iter().map(|it| (it, MOUNTED));
        for (path, mark) in paths.chain(odd).chain(mounted) {
            text.extend([0, mark]);
            text.extend_from_slice(path);
        }
        let path = shelf.join(FILE);
        fs::write(&path, text)
            .map_err(|error| Fault::io(format!("writing {}", path.display()), &error))
    }

    pub fn read(shelf: &Shelf) -> Outcome<Self> {
        let path = shelf.dir.join(FILE);
        let text = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Fault::unsupported(format!(
                "snapshot {} was taken before it was kept what a system has changed",
                shelf.id
            ))
            .hint("take another; what its workspace changed can be told"),
            _ => Fault::io(format!("reading {}", path.display()), &error),
        })?;
        let mut fields = text.split(|it| *it == 0);
        let start = fields.next().and_then(|it| std::str::from_utf8(it).ok());
        let start = start.filter(|it| !it.is_empty()).map(str::to_owned);
        let damaged = || Fault::failed(format!("{} is damaged", path.display()));
        let mut touched = Self { start: start.ok_or_else(damaged)?, ..Self::default() };
        for field in fields {
            let (mark, path) = field.split_first().ok_or_else(damaged)?;
            match Extent::of_mark(*mark) {
                Some(extent) => touched.put(path, extent),
                None if *mark == ODD => drop(touched.odd.insert(path.to_vec())),
                None if *mark == MOUNTED => drop(touched.mounted.insert(path.to_vec())),
                None => return Err(damaged()),
            }
        }
        Ok(touched)
    }

    /// What is mounted on either, and their workspace, which is looked at otherwise.
    pub fn apart(&self, other: Option<&Self>, spec: &SandboxSpec) -> Vec<Vec<u8>> {
        let both = [Some(self), other].into_iter().flatten();
        let mut apart: Vec<_> = both.flat_map(|it| it.mounted.iter().cloned()).collect();
        if spec.workspace.mode != WorkspaceMode::None {
            apart.push(relative(spec.workspace.path.as_os_str().as_bytes()));
        }
        apart
    }

    /// What has to be looked at to hold this against another, as far as that was asked for; nothing of what lies apart.
    pub fn plan(&self, other: Option<&Self>, paths: &[Vec<u8>], apart: &[Vec<u8>]) -> Plan {
        let mut all = self.clone();
        if let Some(other) = other {
            other.paths.iter().for_each(|(path, extent)| all.put(path, *extent));
            all.odd.extend(other.odd.iter().cloned());
        }
        let mut plan = Plan::default();
        let asked = |path: &[u8]| paths.is_empty() || paths.iter().any(|it| covers(it, path));
        for odd in all.odd.iter().filter(|it| asked(it)) {
            // What it lies in has it, by its name; unless that is too much.
            let above = memchr::memmem::find(odd, BROKEN).and_then(|at| odd.get(..at));
            let above = above.and_then(above_of);
            match above.filter(|it| !apart.iter().any(|of| covers(it, of))) {
                Some(above) => drop(plan.whole.insert(above.to_vec())),
                None => drop(plan.odd.insert(odd.clone())),
            }
        }
        for (path, extent) in &all.paths {
            let whole = *extent == Extent::Whole;
            let within = |top: &Vec<u8>| covers(top, path);
            if apart.iter().any(within) {
                continue;
            }
            let way = apart.iter().any(|it| covers(path, it));
            if asked(path) {
                let into = if whole && !way { &mut plan.whole } else { &mut plan.itself };
                into.insert(path.clone());
            } else if whole && !way {
                // No more of it than was asked for.
                plan.whole.extend(paths.iter().filter(|it| covers(path, it)).cloned());
            }
        }
        plan.tidy();
        plan
    }
}

impl Plan {
    /// What lies in something that is looked at whole needs no look of its own.
    pub fn tidy(&mut self) {
        let Self { whole, itself, .. } = self;
        let mut top: Option<Vec<u8>> = None;
        let mut tops = BTreeSet::new();
        // By components: `a` comes before all in it, and those before `a-b`.
        let mut sorted: Vec<Vec<u8>> = std::mem::take(whole).into_iter().collect();
        sorted.sort_by(|one, two| parts(one).cmp(parts(two)));
        for path in sorted {
            if !top.as_ref().is_some_and(|it| covers(it, &path)) {
                top = Some(path.clone());
                tops.insert(path);
            }
        }
        *whole = tops;
        let wanted = Wanted { whole: whole.clone(), apart: Vec::new() };
        itself.retain(|it| !wanted.has(it));
    }

    /// What to ask for so that all is had by so many questions: where there are more, what several lie in, with all else in it;
    /// so too where so many are `full` in one place, unless that lies at the top and may have everything in it. To begin an
    /// archive costs as much as some ten megabytes of one.
    pub fn questions(&self, most: usize, full: usize) -> BTreeSet<Vec<u8>> {
        let mut asked = self.whole.clone();
        loop {
            let too_many = asked.len() > most;
            let mut parents: BTreeMap<&[u8], usize> = BTreeMap::new();
            for path in &asked {
                if let Some(above) = above_of(path) {
                    *parents.entry(above).or_default() += 1;
                }
            }
            let depth = |it: &[u8]| parts(it).count();
            parents.retain(|path, count| too_many || (*count >= full && depth(path) > 1));
            // The fullest, and of those the deepest, which has the least else in it.
            let fullest = parents.iter().max_by_key(|(path, count)| (**count, depth(path)));
            let Some(parent) = fullest.map(|it| it.0.to_vec()) else { return asked };
            asked.retain(|it| !covers(&parent, it));
            asked.insert(parent);
        }
    }
}

/// A path as it is below the root.
pub fn relative(path: &[u8]) -> Vec<u8> {
    parts(path).filter(|it| !it.is_empty()).collect::<Vec<_>>().join(&b'/')
}

/// What a path lies in; `None` = the root.
fn above_of(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|it| *it == b'/').and_then(|at| path.get(..at))
}

/// The parts of a path.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|it| *it == b'/')
}

fn too_many() -> Fault {
    Fault::failed(format!("more changes in the system than can be looked at: {CHANGES_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::SnapshotId;

    fn touched(of: &[(&str, u8)]) -> Touched {
        let mut touched = Touched { start: "sha256:1".to_owned(), ..Touched::default() };
        for (path, kind) in of {
            touched.add(&Changed { path: (*path).to_owned(), kind: *kind }, &[]);
        }
        touched
    }

    fn set(of: &[&str]) -> BTreeSet<Vec<u8>> {
        of.iter().map(|it| it.as_bytes().to_vec()).collect()
    }

    fn list(of: &[&str]) -> Vec<Vec<u8>> {
        set(of).into_iter().collect()
    }

    #[test]
    fn what_is_in_a_directory_that_came_or_went_is_looked_at_with_it() {
        let one = touched(&[
            ("/etc", 0),
            ("/etc/hosts", 0),
            ("/opt", 1),
            ("/opt/x", 1),
            ("/opt-x", 1),
            ("/var", 0),
            ("/var/gone", 2),
        ]);
        let plan = one.plan(None, &[], &[]);
        assert_eq!(plan.whole, set(&["opt", "opt-x", "var/gone"]));
        assert_eq!(plan.itself, set(&["etc", "etc/hosts", "var"]));
    }

    #[test]
    fn both_sides_say_what_may_differ() {
        let (one, two) = (touched(&[("/a", 0), ("/b", 1)]), touched(&[("/a", 2), ("/b/c", 0)]));
        let plan = one.plan(Some(&two), &[], &[]);
        assert_eq!((plan.whole, plan.itself), (set(&["a", "b"]), set(&[])));
    }

    #[test]
    fn only_what_was_asked_for_is_looked_at_and_nothing_apart() {
        let one = touched(&[("/opt", 1), ("/opt/x", 1), ("/srv", 0), ("/srv/w", 1), ("/tmp/a", 1)]);
        let plan = one.plan(None, &list(&["opt/x/file", "srv"]), &[]);
        assert_eq!((plan.whole, plan.itself), (set(&["opt/x/file", "srv/w"]), set(&["srv"])));
        // What is above it is looked at by itself, or all of it would come along.
        let plan = one.plan(None, &[], &list(&["opt/x", "srv/w"]));
        assert_eq!((plan.whole, plan.itself), (set(&["tmp/a"]), set(&["opt", "srv"])));
    }

    #[test]
    fn a_name_that_is_not_told_as_it_is_is_found_in_what_it_lies_in() {
        let all = touched(&[("/tmp", 0), ("/tmp/a\u{fffd}b/c", 1), ("/\u{fffd}", 1), ("/../x", 1)]);
        let plan = all.plan(None, &[], &[]);
        assert_eq!((plan.whole, plan.odd), (set(&["tmp"]), set(&["\u{fffd}"])));
        // Not where that has also what lies apart.
        let plan = all.plan(None, &[], &list(&["tmp/work"]));
        assert_eq!((plan.whole, plan.odd.len()), (set(&[]), 2));
        assert_eq!(touched(&[(first::PATH, 1), ("", 0), ("/", 0)]).paths.len(), 0);
    }

    #[test]
    fn many_are_asked_for_by_what_they_lie_in() {
        let many: Vec<String> = (0..300).map(|it| format!("/usr/share/doc/{it}")).collect();
        let mut all: Vec<(&str, u8)> = many.iter().map(|it| (it.as_str(), 1)).collect();
        all.extend([("/etc/a", 1), ("/etc/b", 1)]);
        let plan = touched(&all).plan(None, &[], &[]);
        assert_eq!(plan.questions(400, usize::MAX).len(), 302);
        assert_eq!(plan.questions(400, 2), set(&["usr/share/doc", "etc/a", "etc/b"]));
        assert_eq!(plan.questions(3, usize::MAX), set(&["usr/share/doc", "etc/a", "etc/b"]));
        assert_eq!(plan.questions(2, usize::MAX), set(&["usr/share/doc", "etc"]));
        assert_eq!(plan.questions(1, usize::MAX), set(&["usr", "etc"]));
    }

    #[test]
    fn it_is_kept_as_it_is_and_damage_is_said() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().to_owned();
        let shelf = Shelf { id: SnapshotId::random(), dir, reference: None };
        assert!(Touched::read(&shelf).unwrap_err().to_string().contains("was taken before"));
        let one = touched(&[("/a b\n", 0), ("/c", 1), ("/d/e", 2), ("/f/\u{fffd}", 1)]);
        let one = Touched { mounted: set(&["run/x"]), ..one };
        one.write(&shelf.dir).unwrap();
        assert_eq!(Touched::read(&shelf).unwrap(), one);
        for broken in [&b""[..], b"\0+a", b"sha256:1\0\0", b"\xff\0+a", b"sha256:1\0a"] {
            fs::write(temp.path().join(FILE), broken).unwrap();
            assert!(Touched::read(&shelf).unwrap_err().to_string().contains("damaged"));
        }
    }
}
