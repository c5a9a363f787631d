//! Which paths of a container may differ from those of the image that all began with: told by its engine, and kept with each
//! snapshot, whose own image tells nothing of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use serde::Deserialize;

use super::{
    super::{
        answer::Container,
        engine::{Engine, escaped},
        first,
        pull::aside,
        trust,
    },
    layer,
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
/// More was written than was read.
const BLIND: u8 = b'~';
/// Before the reason why nothing is known.
const WHY_NOT: u8 = b'!';
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
pub enum Extent {
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
    /// There is more in its layer than was read.
    pub blind: bool,
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
    /// Of a container that was made for a sandbox, or adopted. What lies in its workspace is not noted: that is looked at
    /// otherwise.
    pub async fn of(
        engine: &Engine,
        container: &Container,
        ground: &Ground,
        spec: &SandboxSpec,
    ) -> Outcome<Self> {
        let path = format!("/containers/{}/changes", escaped(&container.id));
        let mut pieces = engine.listen(&path).await?;
        let mut told = Vec::new();
        while let Some(piece) = pieces.next().await {
            told.extend_from_slice(&piece);
            if told.len() > ENGINE_CHANGES_BYTES_MAX {
                return Err(too_many());
            }
        }
        let upper = container.graph_driver.as_ref().filter(|_| engine.address.is_here());
        let upper = upper.and_then(|it| it.upper().map(Path::to_owned));
        let mounts = container.mounts.iter().flatten();
        let mounted = mounts.map(|it| relative(it.destination.as_bytes())).collect();
        let (from, image, spec) = (ground.from.clone(), container.image.clone(), spec.clone());
        aside(move || {
            let before = from.as_ref().map(Self::read).transpose()?;
            let before = before.unwrap_or_else(|| Self { start: image, ..Self::default() });
            before.with(&told, mounted, upper.as_deref(), &spec)
        })
        .await
    }

    /// With what an engine tells, and what can be seen of it here.
    fn with(
        self,
        told: &[u8],
        mounted: BTreeSet<Vec<u8>>,
        upper: Option<&Path>,
        spec: &SandboxSpec,
    ) -> Outcome<Self> {
        let told: Option<Vec<Changed>> = serde_json::from_slice(told).map_err(|error| {
            Fault::failed(format!("what the docker engine tells of changes can't be read: {error}"))
        })?;
        let mut all = self;
        all.mounted.extend(mounted);
        let apart = all.apart(None, spec);
        let mut odd = Vec::new();
        for Changed { path, kind } in told.into_iter().flatten() {
            let extent = if kind == 0 { Extent::Itself } else { Extent::Whole };
            let path = path.trim_matches('/');
            if path.contains(char::REPLACEMENT_CHARACTER) {
                odd.push(path.as_bytes().to_vec());
            } else {
                all.add(path.as_bytes(), extent, &apart);
            }
            if all.paths.len() + odd.len() > CHANGES_MAX {
                return Err(too_many());
            }
        }
        // There every name is as it is.
        match upper.map(|it| layer::add(it, &mut all, &apart)) {
            Some(layer::Read::All) => {}
            read => {
                odd.retain(|it| all.counts(it, &apart));
                all.odd.extend(odd);
                all.blind |= read == Some(layer::Read::Part);
            }
        }
        Ok(all)
    }

    /// Whether a path is to be looked at by itself.
    fn counts(&self, path: &[u8], apart: &[Vec<u8>]) -> bool {
        let ours = [first::PATH, trust::WHOLE, trust::ADDED].map(|it| it.trim_start_matches('/'));
        let odd = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
        if path.len() > PATH_BYTES_MAX
            || parts(path).any(odd)
            || ours.iter().any(|it| it.as_bytes() == path)
            || apart.iter().any(|of| covers(of, path))
        {
            return false;
        }
        // What lies in something that is looked at whole is looked at with it; the way to what is apart is not.
        let mut above = std::iter::successors(above_of(path), |it| above_of(it));
        !above.any(|it| self.is_whole(it, apart))
    }

    /// Whether all that lies in it is looked at with it.
    pub fn is_whole(&self, path: &[u8], apart: &[Vec<u8>]) -> bool {
        self.paths.get(path) == Some(&Extent::Whole) && !apart.iter().any(|it| covers(path, it))
    }

    /// Tells whether it is to be looked at by itself.
    pub fn add(&mut self, path: &[u8], extent: Extent, apart: &[Vec<u8>]) -> bool {
        let counts = self.counts(path, apart);
        if counts {
            self.put(path, extent);
        }
        counts
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
        let nothing = Vec::new();
        let blind = self.blind.then_some((&nothing, BLIND));
        for (path, mark) in paths.chain(odd).chain(mounted).chain(blind) {
            text.extend([0, mark]);
            text.extend_from_slice(path);
        }
        let path = shelf.join(FILE);
        fs::write(&path, text)
            .map_err(|error| Fault::io(format!("writing {}", path.display()), &error))
    }

    /// Keeps with a snapshot why that is not known.
    pub fn write_why_not(shelf: &Path, why: &str) -> Outcome<()> {
        let path = shelf.join(FILE);
        fs::write(&path, [&[WHY_NOT], why.as_bytes()].concat())
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
        if let Some(why) = text.strip_prefix(&[WHY_NOT]) {
            let why = String::from_utf8_lossy(why);
            let words =
                format!("what the system of snapshot {} had changed is not known: {why}", shelf.id);
            return Err(Fault::unsupported(words));
        }
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
                None if *mark == BLIND => touched.blind = true,
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
            let is_way = |it: &[u8]| it.is_empty() || apart.iter().any(|of| covers(it, of));
            match above.filter(|it| !is_way(it)) {
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
                // No more of it than was asked for; if all on the way there is a directory, for an engine follows links.
                for asked in paths.iter().filter(|it| covers(path, it)) {
                    let above = std::iter::successors(above_of(asked), |it| above_of(it));
                    plan.itself.extend(above.take_while(|it| covers(path, it)).map(<[u8]>::to_vec));
                    plan.whole.insert(asked.clone());
                }
            } else if paths.iter().any(|it| covers(path, it)) {
                // It may be no directory any more, or have become one.
                plan.itself.insert(path.clone());
            }
        }
        plan.tidy();
        plan
    }
}

impl Plan {
    /// What lies in something that is looked at whole needs no look of its own.
    pub fn tidy(&mut self) {
        self.whole = tops(std::mem::take(&mut self.whole));
        let wanted = Wanted { whole: self.whole.clone(), apart: Vec::new() };
        self.itself.retain(|it| !wanted.has(it));
    }

    /// What to ask for so that all is had by so many questions: where so many are `full` in one place, what they lie in, with all
    /// else in it, unless that lies at the top and may have everything in it, or has what lies apart; where there are more, what lies above. To begin an
    /// archive costs as much as some ten megabytes of one.
    pub fn questions(&self, most: usize, full: usize, apart: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
        let mut asked = self.whole.clone();
        loop {
            let mut counts: BTreeMap<&[u8], usize> = BTreeMap::new();
            for path in &asked {
                let is_plain =
                    |it: &&[u8]| parts(it).count() > 1 && !apart.iter().any(|of| covers(it, of));
                if let Some(above) = above_of(path).filter(is_plain) {
                    *counts.entry(above).or_default() += 1;
                }
            }
            let filled = counts.into_iter().filter(|it| it.1 >= full).map(|it| it.0.to_vec());
            let filled: Vec<_> = filled.collect();
            if filled.is_empty() {
                break;
            }
            asked = tops(asked.into_iter().chain(filled));
        }
        let mut depth = asked.iter().map(|it| parts(it).count()).max().unwrap_or_default();
        while asked.len() > most && depth > 0 {
            depth -= 1;
            let cut = |it: Vec<u8>| parts(&it).take(depth).collect::<Vec<_>>().join(&b'/');
            asked = tops(asked.into_iter().map(cut));
        }
        asked
    }
}

/// Paths without those that lie in others.
pub fn tops(paths: impl IntoIterator<Item = Vec<u8>>) -> BTreeSet<Vec<u8>> {
    let mut sorted: Vec<Vec<u8>> = paths.into_iter().collect();
    // By components: `a` comes before all in it, and those before `a-b`. The root comes first.
    sorted.sort_by(|one, two| parts(one).cmp(parts(two)));
    let mut tops: Vec<Vec<u8>> = Vec::new();
    for path in sorted {
        if !tops.last().is_some_and(|it| it.is_empty() || covers(it, &path)) {
            tops.push(path);
        }
    }
    tops.into_iter().collect()
}

/// A path as it is below the root.
pub fn relative(path: &[u8]) -> Vec<u8> {
    parts(path).filter(|it| !it.is_empty()).collect::<Vec<_>>().join(&b'/')
}

/// What a path lies in, which may be the root; `None` = of that itself.
pub fn above_of(path: &[u8]) -> Option<&[u8]> {
    let at = path.iter().rposition(|it| *it == b'/');
    (!path.is_empty()).then(|| path.get(..at.unwrap_or_default()).unwrap_or_default())
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
    use std::path::PathBuf;

    use crate::{base::id::SnapshotId, model::sandbox::Workspace};

    fn touched(of: &[(&str, u8)]) -> Touched {
        let told: Vec<String> = of
            .iter()
            .map(|(path, kind)| format!(r#"{{"Path":{},"Kind":{kind}}}"#, serde_json::json!(path)))
            .collect();
        let told = format!("[{}]", told.join(","));
        let start = Touched { start: "sha256:1".to_owned(), ..Touched::default() };
        let workspace = Workspace { path: PathBuf::new(), mode: WorkspaceMode::None };
        let spec = SandboxSpec::bare("docker", workspace);
        start.with(told.as_bytes(), BTreeSet::new(), None, &spec).unwrap()
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
        let way = set(&["opt", "opt/x", "srv"]);
        assert_eq!((plan.whole, plan.itself), (set(&["opt/x/file", "srv/w"]), way));
        // What was above it may have become a link.
        let plan = one.plan(None, &list(&["srv/x/y"]), &[]);
        assert_eq!((plan.whole, plan.itself), (set(&[]), set(&["srv"])));
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
        assert_eq!(plan.questions(400, usize::MAX, &[]).len(), 302);
        assert_eq!(plan.questions(400, 2, &[]), set(&["usr/share/doc", "etc/a", "etc/b"]));
        // Not where the workspace would come along.
        assert_eq!(plan.questions(400, 2, &list(&["usr/share/doc/w"])).len(), 302);
        assert_eq!(plan.questions(3, usize::MAX, &[]), set(&["usr/share/doc", "etc/a", "etc/b"]));
        assert_eq!(plan.questions(2, usize::MAX, &[]), set(&["usr", "etc"]));
        // All of it, where not even those at the top are few.
        assert_eq!(plan.questions(1, usize::MAX, &[]), set(&[""]));
    }

    #[test]
    fn it_is_kept_as_it_is_and_damage_is_said() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().to_owned();
        let shelf = Shelf { id: SnapshotId::random(), dir, reference: None };
        assert!(Touched::read(&shelf).unwrap_err().to_string().contains("was taken before"));
        let one = touched(&[("/a b\n", 0), ("/c", 1), ("/d/e", 2), ("/f/\u{fffd}", 1)]);
        let one = Touched { mounted: set(&["run/x"]), blind: true, ..one };
        one.write(&shelf.dir).unwrap();
        assert_eq!(Touched::read(&shelf).unwrap(), one);
        Touched::write_why_not(&shelf.dir, "too slow").unwrap();
        assert!(Touched::read(&shelf).unwrap_err().to_string().contains("is not known: too slow"));
        for broken in [&b""[..], b"\0+a", b"sha256:1\0\0", b"\xff\0+a", b"sha256:1\0a"] {
            fs::write(temp.path().join(FILE), broken).unwrap();
            assert!(Touched::read(&shelf).unwrap_err().to_string().contains("damaged"));
        }
    }
}
