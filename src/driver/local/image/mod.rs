//! A root file system to stand on instead of the host's directories: found by the path that `--image` names, unpacked
//! if it has to be, and noted in the sandbox's directory. What goes over it is the same as over the host's files.

mod blobs;
mod cache;
mod digest;
mod manifest;
mod unpack;
mod user;

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{OpenOptionsExt, chown},
    },
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use serde::{Deserialize, Serialize};

use self::{
    blobs::{Blobs, Packing, Piece, Unpacked, bad},
    cache::{About, Cache},
    digest::{Sum, Summed},
    manifest::{Config, Image, Layer},
    unpack::{Means, Unpacker},
};
use super::{
    WaitedFor, env,
    identity::{self, Identity},
    room::Room,
    shelf::Owner,
    upper,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::IMAGE_UNPACKED_BYTES_MAX,
        text::shown,
    },
    driver::{Ground, Kept, Shelf, tar::read::Reader},
    model::sandbox::{Isolation, SandboxSpec},
};

/// In the directory of a sandbox or a snapshot: what it stands on.
const NOTE: &str = "image";
/// The layer over an image, and what every sandbox begins with over it, below the names of such layers.
pub const LAYER: &str = "image";
/// One of these is in every root file system that something runs in.
const SYSTEM: [&str; 5] = ["usr", "bin", "sbin", "lib", "etc"];

/// What a sandbox stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// As it was asked for.
    asked: String,
    /// Where its files are: an absolute path without links.
    pub root: PathBuf,
    /// Of an unpacked one.
    key: Option<String>,
    about: About,
}

/// Finds what a sandbox is to stand on, unpacks it where that was not done before, and notes it in its directory.
/// `None` = the host's directories. Blocks on files.
pub fn ready(
    ground: &Ground,
    spec: &SandboxSpec,
    given_up: &AtomicBool,
) -> Outcome<Option<Standing>> {
    if let Some(shelf) = &ground.from {
        // What its files lie over, whatever was asked for.
        let standing = at(&shelf.dir)?;
        if let Some(it) = &standing {
            let _held = held(ground)?;
            it.check()?;
            cache::write(&ground.dir.join(NOTE), it)?;
        }
        return Ok(standing);
    }
    let Some(asked) = &spec.image else { return Ok(None) };
    if let Some(it) = at(&ground.dir)?.filter(|it| it.asked == *asked) {
        it.check()?;
        return Ok(Some(it));
    }
    let (cache, path) = (held(ground)?, find(asked)?);
    let broken = |error: &io::Error| broken(&path, error);
    let found = if path.is_dir() {
        directory(&path, ground)?
    } else {
        File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(&path)
            .map(Found::Packed)
            .map_err(|error| broken(&error))?
    };
    let owner = owner(ground)?;
    let (root, key, about) = match found {
        Found::Root => (path.clone(), None, About::default()),
        Found::Layout(blobs) => {
            let image = manifest::image(&blobs).map_err(|error| broken(&error))?;
            let (root, about) = unpacked(&cache, &image, Means::Layer, owner, given_up, &path)?;
            (root, Some(image.key), about)
        }
        Found::Packed(file) => packed(&cache, file, owner, given_up, &path)?,
    };
    let standing = Standing { asked: asked.clone(), root, key, about };
    cache::write(&ground.dir.join(NOTE), &standing)?;
    Ok(Some(standing))
}

/// The same before there is a process for the sandbox, aside, for as long as somebody waits for it.
pub async fn before(ground: &Ground, spec: &SandboxSpec) -> Outcome<()> {
    if let Some(other) = spec.isolation.filter(|it| !can_be_under(*it)) {
        return refuse(ground, spec, other);
    }
    if spec.image.is_none() && ground.from.is_none() {
        return Ok(());
    }
    let (ground, spec) = (ground.clone(), spec.clone());
    let waited_for = WaitedFor::default();
    let given_up = Arc::clone(&waited_for.0);
    let ready = tokio::task::spawn_blocking(move || ready(&ground, &spec, &given_up).map(drop));
    ready.await.map_err(|error| Fault::bug(format!("unpacking an image: {error}")))?
}

/// Whether sandboxes of a grade have a root of their own, which may be an image.
pub fn can_be_under(grade: Isolation) -> bool {
    matches!(grade, Isolation::Namespaces | Isolation::Oci | Isolation::Gvisor)
}

/// Refuses an image to a grade that can't begin with one.
pub fn refuse(ground: &Ground, spec: &SandboxSpec, grade: Isolation) -> Outcome<()> {
    if spec.image.is_none() && under(ground)?.is_none() {
        return Ok(());
    }
    let words = format!("a sandbox of grade {} can't begin with an image", grade.word());
    Err(Fault::unsupported(words)
        .hint("grades namespaces, oci and gvisor can; `sandwatch doctor` says how to get them"))
}

/// What a sandbox or a snapshot stands on; `None` = the host's directories.
pub fn at(directory: &Path) -> Outcome<Option<Standing>> {
    cache::read(&directory.join(NOTE))
}

/// What a sandbox stands on, which may be what the snapshot stands on that it began with.
pub fn under(ground: &Ground) -> Outcome<Option<Standing>> {
    at(ground.from.as_ref().map_or(&ground.dir, |shelf| &shelf.dir))
}

/// The same of files that are looked at.
pub fn of(kept: &Kept) -> Outcome<Option<Standing>> {
    match kept {
        Kept::Ground(ground, _) => under(ground),
        Kept::Shelf(shelf, _) => at(&shelf.dir),
    }
}

/// Notes with a snapshot what it stands on.
pub fn pass_on(ground: &Ground, shelf: &Shelf) -> Outcome<()> {
    match under(ground)? {
        Some(it) => cache::write(&shelf.dir.join(NOTE), &it),
        None => Ok(()),
    }
}

/// Deletes unpacked images that no sandbox and no snapshot stands on. Blocks on files.
pub fn prune(sandboxes: &Path, snapshots: &Path) -> Outcome<()> {
    cache::prune(sandboxes, || {
        let mut keys = HashSet::new();
        for directory in [sandboxes, snapshots] {
            let listed = match fs::read_dir(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listed => listed,
            };
            let broken = |error: io::Error| {
                Fault::io(format!("looking through {}", directory.display()), &error)
            };
            for item in listed.map_err(broken)? {
                keys.extend(at(&item.map_err(broken)?.path())?.and_then(|it| it.key));
            }
        }
        Ok(keys)
    })
}

/// Where unpacked images of the hub are kept, held so that none goes meanwhile.
fn held(ground: &Ground) -> Outcome<Cache> {
    Cache::of(ground.dir.parent().unwrap_or(&ground.dir))
}

fn owner(ground: &Ground) -> Outcome<Owner> {
    Ok(Identity::of(&ground.id)?.by_root.then_some(identity::SHELVES))
}

fn broken(path: &Path, error: &io::Error) -> Fault {
    let what = format!("image {}", path.display());
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Fault::invalid(shown(&format!("{what}: {error}"), 1024))
        }
        _ => Fault::io(what, error),
    }
}

/// The real path of an image; what can't be one is told with a way to get one.
fn find(asked: &str) -> Outcome<PathBuf> {
    let path = Path::new(asked);
    let hint = "name a directory with a root file system, or an archive: \
                docker save REF -o file.tar, then --image ./file.tar";
    if !path.is_absolute() {
        let words = format!("no image at this path: {}", shown(asked, 256));
        return Err(Fault::absent(words).hint(hint));
    }
    fs::canonicalize(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Fault::absent(format!("no image at this path: {}", shown(asked, 256))).hint(hint)
        }
        _ => Fault::io(format!("image {}", path.display()), &error),
    })
}

/// What is at the path of an image.
enum Found {
    Root,
    Layout(Blobs),
    Packed(File),
}

/// A directory: a layout of OCI, or a root file system that does not hold what a sandbox must not see.
fn directory(path: &Path, ground: &Ground) -> Outcome<Found> {
    let opened = blobs::open_directory(path).map_err(|error| broken(path, &error))?;
    let layout = Blobs::Directory(opened);
    if layout.has("oci-layout") && layout.has("index.json") {
        return Ok(Found::Layout(layout));
    }
    let shown = path.display();
    let homes = env::operator_homes();
    let mut homes = homes.iter().map(|it| fs::canonicalize(it).unwrap_or_else(|_| it.clone()));
    let state = fs::canonicalize(&ground.dir).unwrap_or_else(|_| ground.dir.clone());
    if path == Path::new("/") || state.starts_with(path) || homes.any(|it| it.starts_with(path)) {
        let words = format!("image {shown}: holds what a sandbox must not see");
        return Err(Fault::invalid(words).hint("leave out --image for this machine's own programs"));
    }
    if !SYSTEM.iter().any(|it| path.join(it).is_dir()) {
        let words = format!("image {shown}: neither a root file system nor a layout of OCI");
        return Err(
            Fault::invalid(words).hint("a root file system has a directory usr, bin or etc")
        );
    }
    Ok(Found::Root)
}

type Unrolled = (PathBuf, Option<String>, About);

/// An archive: of an image, or of a root file system.
fn packed(
    cache: &Cache,
    file: File,
    owner: Owner,
    given_up: &AtomicBool,
    path: &Path,
) -> Outcome<Unrolled> {
    let broken = |error: io::Error| broken(path, &error);
    let was = file.metadata().map_err(broken)?;
    if !was.is_file() {
        return Err(Fault::invalid(format!("image {}: not a file", path.display())));
    }
    if let Some((key, (root, about))) =
        cache.known(&file).and_then(|key| cache.find(&key).map(|found| (key, found)))
    {
        return Ok((root, Some(key), about));
    }
    let whole = Piece::whole(file.try_clone().map_err(broken)?).map_err(broken)?;
    let packing = Packing::of(&whole).map_err(broken)?;
    // By a copy that nobody else can write to, where it has to be unpacked to be looked into.
    let sum = Sum::default();
    let piece = match packing {
        Packing::Plain => whole,
        packing => spill(cache, whole, packing, &sum, given_up).map_err(broken)?,
    };
    let (image, means) = match Blobs::list(&piece).map_err(broken)? {
        Some(blobs) => (manifest::image(&blobs).map_err(broken)?, Means::Layer),
        None => {
            let mut unpacked = None;
            if packing == Packing::Plain {
                let all = Unpacked::new(piece.clone(), packing, given_up);
                io::copy(&mut Summed::new(all, &sum), &mut io::sink()).map_err(broken)?;
                unpacked = Some(sum.digest());
            }
            let key = format!("tar-{}", sum.digest().hex());
            let layers = vec![Layer { piece, packed: None, unpacked }];
            (Image { key, config: Config::default(), layers }, Means::Tree)
        }
    };
    let (root, about) = unpacked(cache, &image, means, owner, given_up, path)?;
    cache.remember(&file, &was, &image.key);
    Ok((root, Some(image.key), about))
}

/// Unpacks an archive to a file of its own.
fn spill(
    cache: &Cache,
    from: Piece,
    packing: Packing,
    sum: &Sum,
    given_up: &AtomicBool,
) -> io::Result<Piece> {
    let file = cache.nameless()?;
    let mut raw = Summed::new(from, sum);
    let mut unpacked = Unpacked::new(&mut raw, packing, given_up);
    let mut room = Room::of(file.as_fd(), IMAGE_UNPACKED_BYTES_MAX)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = unpacked.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        room.take(count as u64)?;
        (&file).write_all(buffer.get(..count).unwrap_or_default())?;
    }
    drop(unpacked);
    io::copy(&mut raw, &mut io::sink())?;
    Piece::whole(file)
}

/// The files of an image, laid over one another.
fn unpacked(
    cache: &Cache,
    image: &Image,
    means: Means,
    owner: Owner,
    given_up: &AtomicBool,
    path: &Path,
) -> Outcome<(PathBuf, About)> {
    cache.make(&image.key, |root| {
        let unpacker = Unpacker::new(root.as_fd(), owner);
        let mut unpacker = unpacker.map_err(|error| broken(path, &error))?;
        let mut layers = image.layers.iter();
        layers
            .try_for_each(|it| layer(&mut unpacker, it, means, given_up))
            .and_then(|()| unpacker.finish())
            .map(|left_out| About { config: image.config.clone(), left_out })
            .map_err(|error| broken(path, &error))
    })
}

fn layer(
    unpacker: &mut Unpacker<'_>,
    layer: &Layer,
    means: Means,
    given_up: &AtomicBool,
) -> io::Result<()> {
    let packing = Packing::of(&layer.piece)?;
    let (packed, unpacked) = (Sum::default(), Sum::default());
    let mut piece = layer.piece.clone();
    let mut raw: Box<dyn Read + '_> = match &layer.packed {
        Some(_) => Box::new(Summed::new(&mut piece, &packed)),
        None => Box::new(&mut piece),
    };
    {
        let inner = Unpacked::new(&mut raw, packing, given_up);
        let inner: Box<dyn Read + '_> = match &layer.unpacked {
            Some(_) => Box::new(Summed::new(inner, &unpacked)),
            None => Box::new(inner),
        };
        let mut archive = Reader::new(inner);
        unpacker.add(&mut archive, means)?;
        if means == Means::Tree && !archive.has_ended() {
            return Err(bad("the archive has no end: it was cut short"));
        }
        // What comes behind the end counts for the sums.
        io::copy(&mut archive.into_inner(), &mut io::sink())?;
    }
    io::copy(&mut raw, &mut io::sink())?;
    for (wanted, sum) in [(&layer.packed, packed), (&layer.unpacked, unpacked)] {
        if let Some(wanted) = wanted.as_ref().filter(|it| **it != sum.digest()) {
            return Err(manifest::wrong(wanted));
        }
    }
    Ok(())
}

impl Standing {
    /// It is still there.
    fn check(&self) -> Outcome<()> {
        let found = upper::root(&self.root).map(drop);
        found.map_err(|fault| fault.hint("the image has to be where it was"))
    }

    fn open(&self) -> Outcome<OwnedFd> {
        user::open(&self.root).map_err(|error| broken(&self.root, &error))
    }

    /// Its files came as an archive, and belong to who owns all unpacked ones.
    pub fn is_unpacked(&self) -> bool {
        self.key.is_some()
    }

    pub fn notes(&self) -> Option<String> {
        let left_out = self.about.left_out;
        (left_out > 0).then(|| format!("devices and fifos of the image left out: {left_out}"))
    }

    /// Who programs are.
    pub fn identity(&self, base: &Identity) -> Outcome<Identity> {
        user::identity(base, self.open()?.as_fd(), &self.about.config.user)
    }

    /// What runs when nothing is named.
    pub fn command(&self) -> Vec<String> {
        self.about.config.command.clone()
    }

    /// Where programs start when there is no workspace.
    pub fn directory(&self, home: &Path) -> PathBuf {
        self.place().unwrap_or_else(|| home.to_owned())
    }

    fn place(&self) -> Option<PathBuf> {
        let named = self.about.config.directory.as_ref().map(PathBuf::from);
        named.filter(|it| user::is_place(it))
    }

    pub fn shell(&self) -> Outcome<String> {
        Ok(user::shell(self.open()?.as_fd()))
    }

    /// What every program gets before what its specs add.
    pub fn env(&self, name: &str, identity: &Identity) -> Outcome<Vec<(String, String)>> {
        let base = env::of_image(name, identity, self.shell()?);
        Ok(env::merged([&base, &self.about.config.env, &[]]))
    }

    /// What every sandbox begins with over an image, in an empty directory: places that something is mounted on, and
    /// the directories of who runs in it.
    pub fn furnish(&self, start: &Path, identity: &Identity) -> io::Result<()> {
        let root = user::open(&self.root)?;
        let mut places = ["dev", "etc", "proc", "run", "sys", "tmp"].map(PathBuf::from).to_vec();
        for own in [Some(identity.home.clone()), self.place()].into_iter().flatten() {
            places.extend(user::missing(root.as_fd(), &own)?);
        }
        for place in places {
            let mut way = start.to_owned();
            for part in place.components() {
                way.push(part);
                match fs::create_dir(&way) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error);
                    }
                    _ => {}
                }
                // Not by the umask's leave.
                let mode = if way == start.join("tmp") { 0o1777 } else { 0o755 };
                fs::set_permissions(&way, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
                if identity.by_root {
                    chown(&way, Some(identity.host_uid), Some(identity.host_gid))?;
                }
            }
        }
        Ok(())
    }

    /// A file of the image.
    pub fn read(&self, path: &str) -> Option<String> {
        user::read(user::open(&self.root).ok()?.as_fd(), path)
    }
}
