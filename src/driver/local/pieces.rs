//! Shows a top-level directory of the host that can't be layered as one, because something is mounted
//! inside it: what has no mount inside is layered by itself, and only the directories on the way to a
//! mount are made anew, with their files one by one. Nothing is shown as a whole if it can be helped: a
//! unix socket in a bound directory can be connected to, whatever the sandbox may reach otherwise.

use std::{
    ffi::{CString, OsStr, OsString},
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::{PermissionsExt, symlink},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat,
        openat2, readlinkat, statat,
    },
    io::Errno,
    mount::{
        MountFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind, mount_bind_recursive,
        move_mount, open_tree,
    },
};

use super::{
    mounts::{BELOW, Broken, READ_ONLY, START, Step, restrict},
    sys,
};
use crate::base::limits::PIECES_MAX;

/// Paths named in one note; more are counted.
const NAMED_MAX: usize = 3;

/// Shows `/name` at `place`; gives what a person should know of it.
pub fn show(name: &str, place: &Path, still: bool) -> Result<Vec<String>, Broken> {
    let mounted = fs::read("/proc/self/mountinfo").step("listing what is mounted")?;
    let mut pieces = Pieces { mounts: mount_points(&mounted), still, ..Pieces::default() };
    let source = Path::new("/").join(name);
    if pieces.leads_to_a_mount(&source) {
        pieces.directory(&source, place)?;
    } else {
        pieces.whole(&source, place)?;
    }
    Ok(pieces.notes())
}

#[derive(Default)]
struct Pieces {
    mounts: Vec<PathBuf>,
    /// Nothing will be written to it, and nothing is made in the sandbox's directory.
    still: bool,
    /// Entries looked at so far.
    count: usize,
    layers: usize,
    /// Directories made anew.
    anew: Vec<PathBuf>,
    /// What could only be shown as it is.
    bound: Vec<PathBuf>,
    left_out: Vec<PathBuf>,
}

impl Pieces {
    /// Something is mounted below it.
    fn leads_to_a_mount(&self, path: &Path) -> bool {
        self.mounts.iter().any(|it| it != path && it.starts_with(path))
    }

    fn directory(&mut self, source: &Path, place: &Path) -> Result<(), Broken> {
        make_directory(place)?;
        self.anew.push(source.to_owned());
        // What it may not list is empty to it: nothing in it could be found by a program either.
        let hosts = fs::read_dir(source).into_iter().flatten().flatten();
        let hosts: Vec<OsString> = hosts.map(|it| it.file_name()).take(PIECES_MAX).collect();
        // What is there by the snapshot alone.
        let added = Layer::kept(source).map(|it| it.names()).unwrap_or_default();
        let added: Vec<_> = added.into_iter().filter(|it| !hosts.contains(it)).collect();
        for name in hosts.iter().chain(&added) {
            self.count += 1;
            if self.count > PIECES_MAX {
                self.left_out.push(source.to_owned());
                return Ok(());
            }
            self.entry(&source.join(name), &place.join(name))?;
        }
        own_files(source, place, self.still)
    }

    fn entry(&mut self, source: &Path, place: &Path) -> Result<(), Broken> {
        let kept = Kept::at(source);
        match &kept {
            Kept::Nothing | Kept::Directory => {}
            // A file of its own comes with the others; what is deleted stays away.
            Kept::File | Kept::Other => return Ok(()),
            Kept::Link(target) => {
                return symlink(OsStr::from_bytes(target), place)
                    .step(format!("linking {}", source.display()));
            }
        }
        // By descriptor, for what is mounted over it counts; and it stays what it was found to be.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = open(source, flags, Mode::empty());
        let opened = match opened.and_then(|it| fstat(&it).map(|facts| (it, facts))) {
            Err(Errno::NOENT) if kept == Kept::Directory => {
                return self.layer(source, place, false);
            }
            opened => opened,
        };
        let Ok((opened, facts)) = opened else {
            self.left_out.push(source.to_owned());
            return Ok(());
        };
        let directory = FileType::from_raw_mode(facts.st_mode) == FileType::Directory;
        if kept == Kept::Directory && !directory {
            return self.layer(source, place, false);
        }
        match FileType::from_raw_mode(facts.st_mode) {
            FileType::Directory if self.leads_to_a_mount(source) => self.directory(source, place),
            FileType::Directory => self.layer(source, place, true),
            FileType::Symlink => {
                let target = fs::read_link(source).step(format!("reading {}", source.display()))?;
                symlink(target, place).step(format!("linking {}", source.display()))
            }
            FileType::RegularFile => {
                fs::File::create(place).step(format!("making {}", place.display()))?;
                if show_file(opened.as_fd(), place).is_err() {
                    self.left_out.push(source.to_owned());
                }
                Ok(())
            }
            // Who opens a socket, a fifo or a device reaches what is behind it.
            _ => Ok(()),
        }
    }

    /// One directory with writes kept apart, over that of the host if there is one.
    fn layer(&mut self, source: &Path, place: &Path, host: bool) -> Result<(), Broken> {
        make_directory(place)?;
        let upper = own(source);
        let between = Layer::between(source).into_iter().map(|it| it.path);
        let mut lower: Vec<PathBuf> = between.chain(host.then(|| source.to_owned())).collect();
        if self.still {
            // Where nothing was written there is no layer of its own.
            lower.splice(..0, upper.is_dir().then_some(upper));
            return match &lower[..] {
                [] => Ok(()),
                [one] => mount_bind(one, place)
                    .step(format!("showing {}", source.display()))
                    .and_then(|()| restrict(place, READ_ONLY)),
                _ => match overlay(&lower, None, place) {
                    Err(_) if host => self.whole(source, place),
                    made => made.step(format!("layering {}", source.display())),
                },
            };
        }
        let work = Path::new("work").join(format!("piece-{}", self.layers));
        self.layers += 1;
        let made = fs::create_dir_all(&upper)
            .and_then(|()| fs::create_dir_all(&work))
            .and_then(|()| overlay(&lower, Some((&upper, &work)), place));
        match made {
            Err(_) if host => self.whole(source, place),
            made => made.step(format!("layering {}", source.display())),
        }
    }

    /// What the kernel does not layer at all is shown as it is, and said so.
    fn whole(&mut self, source: &Path, place: &Path) -> Result<(), Broken> {
        let shown = source.display();
        mount_bind_recursive(source, place).step(format!("showing {shown}"))?;
        open(place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|it| sys::restrict_mount(it.as_fd(), READ_ONLY, true))
            .step(format!("making {shown} read-only"))?;
        own_files(source, place, self.still)?;
        self.bound.push(source.to_owned());
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let notes = [
            (
                &self.anew,
                "something is mounted inside, so nothing can be added or changed directly in",
            ),
            (
                &self.bound,
                "can't be layered, so it is read-only and programs outside that listen on unix sockets in it \
                 can be reached",
            ),
            (&self.left_out, "could not be shown, or not all of it"),
        ];
        notes
            .into_iter()
            .filter(|(paths, _)| !paths.is_empty())
            .map(|(paths, words)| format!("{words}: {}", named(paths)))
            .collect()
    }
}

fn named(paths: &[PathBuf]) -> String {
    let some: Vec<String> =
        paths.iter().take(NAMED_MAX).map(|it| it.display().to_string()).collect();
    match paths.len().saturating_sub(NAMED_MAX) {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}

/// The place of a path's own version, among the sandbox's own layers.
fn own(source: &Path) -> PathBuf {
    Path::new("upper").join(source.strip_prefix("/").unwrap_or(source))
}

/// A directory of one of the layers under the sandbox's own. A program wrote what lies in a snapshot: no part of the
/// way to it may be a link. Nothing writes there any more, so what was found stays so.
struct Layer {
    path: PathBuf,
    opened: OwnedFd,
}

impl Layer {
    /// What the snapshot has that the sandbox was made from.
    fn kept(source: &Path) -> Option<Self> {
        Self::open(Path::new(BELOW).join(own(source)))
    }

    /// The layers between the host's directory and the sandbox's own, top first.
    fn between(source: &Path) -> Vec<Self> {
        let start = Path::new(START).join(source.strip_prefix("/").unwrap_or(source));
        [Self::kept(source), Self::open(start)].into_iter().flatten().collect()
    }

    fn open(path: PathBuf) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let way = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = openat2(CWD, &path, flags, Mode::empty(), way).ok()?;
        Some(Self { path, opened })
    }

    fn names(&self) -> Vec<OsString> {
        let listed = Dir::read_from(&self.opened).into_iter().flatten().flatten();
        let names = listed.map(|it| OsString::from_vec(it.file_name().to_bytes().to_vec()));
        names.filter(|it| *it != "." && *it != "..").take(PIECES_MAX).collect()
    }

    fn stat(&self, name: &OsStr) -> Option<Stat> {
        statat(&self.opened, name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }
}

/// What a snapshot has in the place of something of the host's.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Nothing,
    Directory,
    File,
    Link(Vec<u8>),
    /// That it was deleted, or what is not shown.
    Other,
}

impl Kept {
    fn at(source: &Path) -> Self {
        let Some((parent, name)) = source.parent().zip(source.file_name()) else {
            return Self::Nothing;
        };
        let Some(layer) = Layer::kept(parent) else { return Self::Nothing };
        let Some(stat) = layer.stat(name) else { return Self::Nothing };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Self::Directory,
            FileType::RegularFile => Self::File,
            FileType::Symlink => match readlinkat(&layer.opened, name, Vec::new()) {
                Ok(target) => Self::Link(target.into_bytes()),
                Err(_) => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// Puts the sandbox's own files over those of a directory that is not layered: what it wrote, what its snapshot
/// has and what every sandbox begins with. They are its own from then on, as a layer would have it.
fn own_files(source: &Path, place: &Path, still: bool) -> Result<(), Broken> {
    let upper = own(source);
    // They were made when it began.
    let between = if still { Vec::new() } else { Layer::between(source) };
    for layer in between {
        for name in layer.names() {
            let stat = layer.stat(&name);
            let plain = |it: Stat| FileType::from_raw_mode(it.st_mode) == FileType::RegularFile;
            let copy = upper.join(&name);
            if stat.is_some_and(plain) && fs::symlink_metadata(&copy).is_err() {
                let shown = layer.path.join(&name);
                fs::create_dir_all(&upper)
                    .and_then(|()| copy_file(&layer, &name, &copy))
                    .step(format!("copying {}", shown.display()))?;
            }
        }
    }
    for file in plain_files(&upper) {
        let over = place.join(file.file_name());
        // A link there is the host's, and what it leads to outside of the sandbox.
        let there = match fs::symlink_metadata(&over) {
            Ok(facts) => facts.is_file(),
            Err(_) => fs::File::create_new(&over).is_ok(),
        };
        if !there {
            // Also below a read-only mount.
            continue;
        }
        mount_bind(file.path(), &over).step(format!("mounting {}", over.display()))?;
    }
    Ok(())
}

fn copy_file(layer: &Layer, name: &OsStr, to: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut from = fs::File::from(openat(&layer.opened, name, flags, Mode::empty())?);
    let facts = from.metadata()?;
    let mut to = fs::File::create_new(to)?;
    io::copy(&mut from, &mut to)?;
    to.set_permissions(fs::Permissions::from_mode(facts.permissions().mode() & 0o777))
}

fn plain_files(directory: &Path) -> impl Iterator<Item = fs::DirEntry> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|it| it.file_type().is_ok_and(|it| it.is_file()))
}

fn show_file(file: impl AsFd, place: &Path) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(file, c"", flags)?;
    sys::restrict_mount(tree.as_fd(), READ_ONLY, false)?;
    move_mount(tree, c"", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

fn make_directory(path: &Path) -> Result<(), Broken> {
    fs::create_dir_all(path).step(format!("making {}", path.display()))
}

fn overlay(lower: &[PathBuf], writes: Option<(&Path, &Path)>, place: &Path) -> io::Result<()> {
    let lower: Vec<Vec<u8>> = lower.iter().map(|it| escaped(it.as_os_str())).collect();
    let mut options = b"userxattr,lowerdir=".to_vec();
    options.extend(lower.join(&b':'));
    let writes = writes.map(|(upper, work)| [("upperdir", upper), ("workdir", work)]);
    for (name, path) in writes.into_iter().flatten() {
        options.extend(format!(",{name}=").as_bytes());
        options.extend(escaped(path.as_os_str()));
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("overlay", place, "overlay", flags, CString::new(options)?.as_c_str())?;
    Ok(())
}

/// A path as the options of an overlay have it: commas part options, colons part layers.
fn escaped(path: &OsStr) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b',' | b':' | b'\\' => vec![b'\\', *byte],
        _ => vec![*byte],
    };
    path.as_bytes().iter().flat_map(escape).collect()
}

/// Where something is mounted, from the text of `mountinfo`.
fn mount_points(text: &[u8]) -> Vec<PathBuf> {
    const PLACE: usize = 4;
    let place = |line: &[u8]| {
        let field = line.split(|it| *it == b' ').nth(PLACE)?;
        Some(PathBuf::from(OsString::from_vec(unescaped(field))))
    };
    text.split(|it| *it == b'\n').filter_map(place).collect()
}

/// Spaces and the like stand there as a backslash and three octal digits.
fn unescaped(mut field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((first, rest)) = field.split_first() {
        let digits = rest.first_chunk::<3>().filter(|_| *first == b'\\');
        let byte = digits
            .and_then(|it| std::str::from_utf8(it).ok())
            .and_then(|it| u8::from_str_radix(it, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        field = if byte.is_some() { rest.get(3..).unwrap_or_default() } else { rest };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let text = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     30 22 0:5 / /opt/a\\040b\\134c rw,nosuid shared:3 - tmpfs none rw\n\n";
        let points = mount_points(text);
        assert_eq!(points, [PathBuf::from("/"), PathBuf::from("/opt/a b\\c")]);
        let pieces = Pieces { mounts: points, ..Pieces::default() };
        assert!(pieces.leads_to_a_mount(Path::new("/opt")));
        assert!(!pieces.leads_to_a_mount(Path::new("/opt/a b\\c")));
        assert!(!pieces.leads_to_a_mount(Path::new("/op")));
    }

    #[test]
    fn a_path_in_the_options_of_an_overlay_is_one_path() {
        assert_eq!(escaped(OsStr::new("/opt/a,b:c\\d")), b"/opt/a\\,b\\:c\\\\d");
    }

    #[test]
    fn many_paths_are_counted() {
        let paths: Vec<PathBuf> = (0..5).map(|it| PathBuf::from(format!("/{it}"))).collect();
        assert_eq!(named(&paths), "/0, /1, /2 and 2 more");
    }
}
