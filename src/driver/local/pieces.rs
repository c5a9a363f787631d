//! Shows a top-level directory of the host that can't be layered as one, because something is mounted
//! inside it: what has no mount inside is layered by itself, and only the directories on the way to a
//! mount are made anew, with their files one by one. Nothing is shown as a whole if it can be helped: a
//! unix socket in a bound directory can be connected to, whatever the sandbox may reach otherwise.

use std::{
    ffi::{CString, OsStr},
    fs, io,
    os::{
        fd::AsFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::symlink,
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, open},
    mount::{
        MountFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind, mount_bind_recursive,
        move_mount, open_tree,
    },
};

use super::{
    mounts::{BELOW, Broken, START, Step},
    sys::{self, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY},
};
use crate::base::limits::PIECES_MAX;

const READ_ONLY: u64 = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
/// Paths named in one note; more are counted.
const NAMED_MAX: usize = 3;

/// Shows `/name` at `place`; gives what a person should know of it.
pub fn show(name: &str, place: &Path) -> Result<Vec<String>, Broken> {
    let mounted = fs::read("/proc/self/mountinfo").step("listing what is mounted")?;
    let mut pieces = Pieces { mounts: mount_points(&mounted), ..Pieces::default() };
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
        let Ok(entries) = fs::read_dir(source) else { return Ok(()) };
        for entry in entries.flatten() {
            self.count += 1;
            if self.count > PIECES_MAX {
                self.left_out.push(source.to_owned());
                return Ok(());
            }
            self.entry(&entry.path(), &place.join(entry.file_name()))?;
        }
        own_files(source, place)
    }

    fn entry(&mut self, source: &Path, place: &Path) -> Result<(), Broken> {
        if is_struck_out(&kept(source)) {
            return Ok(());
        }
        // By descriptor, for what is mounted over it counts; and it stays what it was found to be.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = open(source, flags, Mode::empty());
        let Ok((opened, facts)) = opened.and_then(|it| fstat(&it).map(|facts| (it, facts))) else {
            self.left_out.push(source.to_owned());
            return Ok(());
        };
        match FileType::from_raw_mode(facts.st_mode) {
            FileType::Directory if self.leads_to_a_mount(source) => self.directory(source, place),
            FileType::Directory => self.layer(source, place),
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

    fn layer(&mut self, source: &Path, place: &Path) -> Result<(), Broken> {
        make_directory(place)?;
        let upper = own(source);
        let lower: Vec<PathBuf> = between(source).into_iter().chain([source.to_owned()]).collect();
        let work = Path::new("work").join(format!("piece-{}", self.layers));
        self.layers += 1;
        let made = fs::create_dir_all(&upper)
            .and_then(|()| fs::create_dir_all(&work))
            .and_then(|()| overlay(&lower, &upper, &work, place));
        if made.is_err() { self.whole(source, place) } else { Ok(()) }
    }

    /// What the kernel does not layer at all is shown as it is, and said so.
    fn whole(&mut self, source: &Path, place: &Path) -> Result<(), Broken> {
        let shown = source.display();
        mount_bind_recursive(source, place).step(format!("showing {shown}"))?;
        open(place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|it| sys::restrict_mount(it.as_fd(), READ_ONLY, true))
            .step(format!("making {shown} read-only"))?;
        own_files(source, place)?;
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

/// The same in the snapshot that the sandbox was made from.
fn kept(source: &Path) -> PathBuf {
    Path::new(BELOW).join(own(source))
}

/// The layers between the host's directory and the sandbox's own, top first.
fn between(source: &Path) -> Vec<PathBuf> {
    let start = Path::new(START).join(source.strip_prefix("/").unwrap_or(source));
    [kept(source), start].into_iter().filter(|it| it.is_dir()).collect()
}

/// A layer that has this in the place of a file hides what lies under it.
fn is_struck_out(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_char_device())
}

/// Puts the sandbox's own files over those of a directory that is not layered: what it wrote, what its snapshot
/// has and what every sandbox begins with. They are its own from then on, as a layer would have it.
fn own_files(source: &Path, place: &Path) -> Result<(), Broken> {
    let upper = own(source);
    for layer in between(source) {
        for file in plain_files(&layer) {
            let copy = upper.join(file.file_name());
            if fs::symlink_metadata(&copy).is_err() {
                fs::create_dir_all(&upper)
                    .and_then(|()| fs::copy(file.path(), &copy))
                    .step(format!("copying {}", file.path().display()))?;
            }
        }
    }
    for file in plain_files(&upper) {
        let over = place.join(file.file_name());
        if !over.exists() && fs::File::create(&over).is_err() {
            // Below a read-only mount, or where a link leads nowhere.
            continue;
        }
        mount_bind(file.path(), &over).step(format!("mounting {}", over.display()))?;
    }
    Ok(())
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

fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, place: &Path) -> io::Result<()> {
    let lower: Vec<Vec<u8>> = lower.iter().map(|it| escaped(it.as_os_str())).collect();
    let mut options = b"userxattr,lowerdir=".to_vec();
    options.extend(lower.join(&b':'));
    for (name, path) in [("upperdir", upper), ("workdir", work)] {
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
        Some(PathBuf::from(std::ffi::OsString::from_vec(unescaped(field))))
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
