//! Which trees a diff is about: the workspace, or everything that a sandbox keeps; each as it is and as it was.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    changes::{Sides, workspace_of},
    env,
    identity::Identity,
    image,
    mounts::START,
    namespaces::BOX,
    shelf::{KEPT, UPPER},
    upper::{Found, View, is_directory},
};
use crate::{
    base::fault::{Fault, Outcome},
    driver::{Kept, Shelf},
    model::sandbox::WorkspaceMode,
};

/// The workspace's layer among those over the system's directories.
const WORKSPACE: &str = "workspace";

/// One tree on both sides.
pub struct Tree {
    /// In front of every path, as people see it; empty = nothing.
    prefix: Vec<u8>,
    pub sides: Sides,
    /// Where the workspace is mounted, if it is in this tree: the directories on the way are no change.
    mounted: Option<Vec<u8>>,
}

impl Tree {
    /// Takes out what was only made to be mounted on.
    pub fn without_mounts(&self, found: &mut Found) {
        let Some(mounted) = &self.mounted else { return };
        found.pairs.retain(|path, pair| {
            let above = mounted == path || mounted.starts_with(&[path, b"/".as_slice()].concat());
            !(above && pair.old.is_none() && is_directory(pair.new))
        });
    }

    /// A path as people see it.
    pub fn shown(&self, path: &[u8]) -> Vec<u8> {
        if self.prefix.is_empty() {
            return path.to_vec();
        }
        [&self.prefix, b"/".as_slice(), path].concat()
    }

    /// Which paths of this tree were asked for; `None` = nothing here was.
    pub fn asked(&self, paths: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        if paths.is_empty() || self.prefix.is_empty() {
            return Some(paths.to_vec());
        }
        let inside = |it: &[u8], top: &[u8]| it == top || it.starts_with(&[top, b"/"].concat());
        if paths.iter().any(|it| inside(&self.prefix, it)) {
            return Some(Vec::new());
        }
        let own = paths.iter().filter(|it| inside(it, &self.prefix));
        let own: Vec<_> = own.filter_map(|it| it.get(self.prefix.len() + 1..)).collect();
        (!own.is_empty()).then(|| own.into_iter().map(<[u8]>::to_vec).collect())
    }
}

/// The layers of one side that are a sandbox's or a snapshot's, top first.
struct Stack {
    roots: Vec<PathBuf>,
    /// What every sandbox begins with, over the host.
    start: Option<PathBuf>,
}

impl Stack {
    fn of(kept: &Kept) -> Outcome<Self> {
        let (roots, start) = match kept {
            Kept::Ground(ground, _) => {
                let own = real(&ground.dir)?.join(BOX);
                let from = ground.from.as_ref().map(|it| real(&it.dir)).transpose()?;
                let start = own.join(START);
                ([Some(own), from.map(|it| it.join(BOX))], Some(start))
            }
            Kept::Shelf(shelf, _) => ([Some(real(&shelf.dir)?.join(BOX)), None], None),
        };
        let roots: Vec<_> = roots.into_iter().flatten().collect();
        // Of one that is being restored there may be no more than the moment it stands on.
        match roots.first().filter(|_| !roots.iter().any(|it| it.is_dir())) {
            Some(missing) => {
                Err(Fault::absent(format!("nothing is kept in {}", missing.display())))
            }
            None => Ok(Self { roots, start }),
        }
    }

    fn view(&self, volume: &str, below: Option<&Path>) -> Outcome<View> {
        let layers = self.roots.iter().map(|it| it.join(volume));
        let name = volume.strip_prefix("upper/").unwrap_or(volume);
        let start = self.start.as_ref().map(|start| start.join(name));
        View::open(layers.chain(start).chain(below.map(Path::to_owned)))
    }
}

/// What to look at, the first one last.
pub fn of(kept: &Kept, against: Option<&Shelf>, system: bool) -> Outcome<Vec<Tree>> {
    let new = Stack::of(kept)?;
    let image = image::of(kept)?.map(|it| it.root);
    if let Some(shelf) = against
        && image::at(&shelf.dir)?.map(|it| it.root) != image
    {
        return Err(Fault::invalid("the two stand on different images"));
    }
    let old = match against {
        Some(shelf) => Stack { roots: vec![real(&shelf.dir)?.join(BOX)], start: new.start.clone() },
        None => Stack { roots: Vec::new(), start: new.start.clone() },
    };
    let workspace = workspace(kept)?;
    let mounted = workspace.clone().filter(|_| system);
    let mut trees = Vec::new();
    let mut add = |volume: &str, below: Option<&Path>, prefix: &Path| -> Outcome<()> {
        let sides = Sides { new: new.view(volume, below)?, old: old.view(volume, below)? };
        let inside = mounted.as_ref().and_then(|it| it.strip_prefix(prefix).ok());
        let inside = inside.map(|it| it.as_os_str().as_bytes().to_vec());
        let prefix = prefix.strip_prefix("/").unwrap_or(prefix).as_os_str().as_bytes().to_vec();
        let mounted = inside.filter(|it| !it.is_empty());
        trees.push(Tree { prefix, sides, mounted });
        Ok(())
    };
    if !system {
        let below =
            workspace.ok_or_else(|| Fault::unsupported("it has no workspace of its own"))?;
        let here = super::upper::root(&below);
        here.map_err(|fault| fault.hint("the workspace has to be where it was"))?;
        add("upper/workspace", Some(&below), Path::new(""))?;
        return Ok(trees);
    }
    if let Some(image) = &image {
        let there = super::upper::root(image);
        there.map_err(|fault| fault.hint("the image has to be where it was"))?;
        add(&format!("{UPPER}/{}", image::LAYER), Some(image), Path::new("/"))?;
        if let Some(below) = workspace {
            add(&format!("{UPPER}/{WORKSPACE}"), Some(&below), &below)?;
        }
        trees.reverse();
        return Ok(trees);
    }
    let home = match kept {
        Kept::Ground(ground, _) => Identity::of(&ground.id)?.home,
        // Whose it was makes no difference to where it lies.
        Kept::Shelf(..) => Identity::of(&crate::base::id::SandboxId::random())?.home,
    };
    for name in KEPT {
        let place = if name == "home" { home.clone() } else { Path::new("/").join(name) };
        add(name, None, &place)?;
    }
    for name in env::SYSTEM {
        let below = Path::new("/").join(name);
        if fs::symlink_metadata(&below).is_ok_and(|it| it.is_dir()) {
            add(&format!("{UPPER}/{name}"), Some(&below), &below)?;
        }
    }
    if let Some(below) = workspace {
        add(&format!("{UPPER}/{WORKSPACE}"), Some(&below), &below)?;
    }
    // In the order of their names, from the end.
    trees.sort_by(|one, two| two.prefix.cmp(&one.prefix));
    Ok(trees)
}

/// The same of a whole system that was laid down, how it is over how it was, beside its workspace.
pub fn laid(
    of: &Kept,
    against: Option<&Shelf>,
    (new, old): &(PathBuf, PathBuf),
) -> Outcome<Vec<Tree>> {
    let sides =
        Sides { new: View::open([new.clone(), old.clone()])?, old: View::open([old.clone()])? };
    let system = Tree { prefix: Vec::new(), sides, mounted: None };
    let (Kept::Ground(_, spec) | Kept::Shelf(_, spec)) = of;
    let mut trees = Vec::new();
    if spec.workspace.mode == WorkspaceMode::Cow {
        let place = spec.workspace.path.as_os_str().as_bytes();
        let prefix = place.strip_prefix(b"/").unwrap_or(place).to_vec();
        let own = self::of(of, against, false)?;
        trees.extend(own.into_iter().map(|it| Tree { prefix: prefix.clone(), ..it }));
    }
    trees.push(system);
    Ok(trees)
}

/// The real directory under a copy-on-write workspace.
fn workspace(kept: &Kept) -> Outcome<Option<PathBuf>> {
    match kept {
        Kept::Ground(ground, _) if ground.dir.join(super::changes::WORKSPACE).exists() => {
            workspace_of(&ground.dir).map(Some)
        }
        Kept::Ground(..) => Ok(None),
        Kept::Shelf(_, spec) if spec.workspace.mode == WorkspaceMode::Cow => {
            real(&spec.workspace.path).map(Some)
        }
        Kept::Shelf(..) => Ok(None),
    }
}

fn real(directory: &Path) -> Outcome<PathBuf> {
    fs::canonicalize(directory)
        .map_err(|error| Fault::io(format!("opening {}", directory.display()), &error))
}
