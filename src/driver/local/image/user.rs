//! As whom programs of an image run: by its own lists of users and groups. To the host they are who all programs of
//! a sandbox are; what an image says chooses only how they see themselves.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, Mode, OFlags, fstat, openat2};

use super::unpack::WITHIN;
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::IMAGE_USERS_BYTES_MAX,
        text::shown,
    },
    driver::local::identity::Identity,
};

/// Homes that are none, and places that are not the image's.
const NO_HOMES: [&str; 3] = ["/", "/nonexistent", "/dev/null"];
const NOT_OF_IT: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// A file of an image, with its links as programs inside see them; `None` where there is none to be read.
pub fn read(root: BorrowedFd<'_>, path: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = openat2(root, path.trim_start_matches('/'), flags, Mode::empty(), WITHIN).ok()?;
    let plain = FileType::from_raw_mode(fstat(&opened).ok()?.st_mode) == FileType::RegularFile;
    let mut text = Vec::new();
    let read = || File::from(opened).take(IMAGE_USERS_BYTES_MAX).read_to_end(&mut text);
    plain.then(read)?.ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// What is at a path of an image, once links are followed.
pub fn kind(root: BorrowedFd<'_>, path: &Path) -> Option<FileType> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = openat2(root, path, flags, Mode::empty(), WITHIN).ok()?;
    Some(FileType::from_raw_mode(fstat(&opened).ok()?.st_mode))
}

/// Where a directory that an image lacks is to be made, below its root: links on the way lead there as programs will
/// follow them, and what leads nowhere is hidden by a directory. `None` = it is there.
pub fn missing(root: BorrowedFd<'_>, path: &Path) -> io::Result<Option<PathBuf>> {
    let plain = path.strip_prefix("/").unwrap_or(path).to_owned();
    if kind(root, path) == Some(FileType::Directory) {
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let real = |it: BorrowedFd<'_>| fs::read_link(format!("/proc/self/fd/{}", it.as_raw_fd()));
    for above in plain.ancestors().skip(1).filter(|it| !it.as_os_str().is_empty()) {
        let Ok(found) = openat2(root, above, flags, Mode::empty(), WITHIN) else { continue };
        let Ok(rest) = plain.strip_prefix(above) else { continue };
        let place =
            Path::new("/").join(real(found.as_fd())?.strip_prefix(real(root)?).unwrap_or(above));
        if is_place(&place) {
            return Ok(place.join(rest).strip_prefix("/").ok().map(Path::to_owned));
        }
        break;
    }
    Ok(Some(plain))
}

/// A plain absolute path that may be made in an image.
pub fn is_place(path: &Path) -> bool {
    let plain = path.components().skip(1).all(|it| matches!(it, std::path::Component::Normal(_)));
    path.is_absolute() && plain && !NOT_OF_IT.iter().any(|it| path.starts_with(it))
}

/// Gives the ids of a sandbox the name and the numbers that an image has for its programs.
pub fn identity(base: &Identity, root: BorrowedFd<'_>, user: &str) -> Outcome<Identity> {
    let (user, group) = user.split_once(':').map_or((user, None), |it| (it.0, Some(it.1)));
    let users = read(root, "/etc/passwd").unwrap_or_default();
    let listed = find(&users, if user.is_empty() { "0" } else { user });
    let unknown = |what: &str, name: &str| {
        let words = format!("the image's {what} is not in its own list: {}", shown(name, 128));
        Fault::invalid(words)
    };
    let uid = match (&listed, user) {
        (Some(it), _) => it.number,
        (None, "") => 0,
        (None, name) => number(name).ok_or_else(|| unknown("user", name))?,
    };
    let groups = read(root, "/etc/group").unwrap_or_default();
    let gid = match group.filter(|it| !it.is_empty()) {
        Some(name) => match find(&groups, name) {
            Some(it) => it.number,
            None => number(name).ok_or_else(|| unknown("group", name))?,
        },
        None => listed.as_ref().and_then(|it| it.group).unwrap_or(0),
    };
    let name = listed.as_ref().map(|it| it.name.clone()).filter(|it| !it.is_empty());
    let name =
        name.unwrap_or_else(|| if uid == 0 { "root".to_owned() } else { format!("user{uid}") });
    let home = listed.and_then(|it| it.home).map(PathBuf::from);
    let usual = if uid == 0 { PathBuf::from("/root") } else { Path::new("/home").join(&name) };
    let home = home.filter(|it| is_place(it) && !NO_HOMES.iter().any(|no| it == Path::new(no)));
    Ok(Identity {
        inside_uid: uid,
        inside_gid: gid,
        name,
        home: home.unwrap_or(usual),
        ..base.clone()
    })
}

/// One line of a list of users or groups.
struct Line {
    name: String,
    number: u32,
    /// Of users.
    group: Option<u32>,
    home: Option<String>,
}

/// By name first, as programs look.
fn find(list: &str, wanted: &str) -> Option<Line> {
    let lines = || {
        list.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let name = fields.first()?.to_string();
            let plain = !name.contains(|it: char| it.is_control() || it == '/');
            let group = fields.get(3).and_then(|it| number(it));
            let home = fields.get(5).map(ToString::to_string);
            Some(Line { name, number: number(fields.get(2)?)?, group, home }).filter(|_| plain)
        })
    };
    let by_number = || number(wanted).and_then(|it| lines().find(|line| line.number == it));
    lines().find(|it| it.name == wanted).or_else(by_number)
}

/// An id that a process can have.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|it| *it != u32::MAX)
}

/// The image's root as what paths are resolved in.
pub fn open(root: &Path) -> io::Result<OwnedFd> {
    super::blobs::open_directory(root)
}

/// The shell of an image.
pub fn shell(root: BorrowedFd<'_>) -> String {
    let found = ["/bin/bash", "/bin/sh"]
        .into_iter()
        .find(|it| kind(root.as_fd(), Path::new(it)) == Some(FileType::RegularFile));
    found.unwrap_or("/bin/sh").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::SandboxId;

    #[test]
    fn a_user_is_found_as_the_image_lists_it() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        fs::create_dir(root.join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nagent:x:1234:77::/srv/agent:/bin/sh\n\
                      none:x:9:9::/nonexistent:\nodd:x:8:8::/proc/x:\n8:x:42:42::/eight:\n";
        fs::write(root.join("etc/passwd"), passwd).unwrap();
        fs::write(root.join("etc/group"), "staff:x:50:\n").unwrap();
        let opened = open(&root).unwrap();
        let base = Identity::of(&SandboxId::random()).unwrap();
        let who = |user: &str| {
            let it = identity(&base, opened.as_fd(), user).unwrap();
            assert_eq!((it.host_uid, it.by_root), (base.host_uid, base.by_root));
            (it.inside_uid, it.inside_gid, it.name, it.home.display().to_string())
        };
        let is = |uid, gid, name: &str, home: &str| (uid, gid, name.to_owned(), home.to_owned());
        assert_eq!(who(""), is(0, 0, "root", "/root"));
        assert_eq!(who("agent"), is(1234, 77, "agent", "/srv/agent"));
        assert_eq!(who("1234:staff"), is(1234, 50, "agent", "/srv/agent"));
        assert_eq!(who("5000:6000"), is(5000, 6000, "user5000", "/home/user5000"));
        assert_eq!(who("none"), is(9, 9, "none", "/home/none"));
        assert_eq!(who("odd"), is(8, 8, "odd", "/home/odd"));
        // A name that looks like a number is one.
        assert_eq!(who("8"), is(42, 42, "8", "/eight"));
        for user in ["nobody-here", "root:nobody", "4294967295"] {
            assert!(identity(&base, opened.as_fd(), user).is_err(), "{user}");
        }
    }

    #[test]
    fn a_home_is_made_where_links_of_the_image_lead() {
        use std::os::unix::fs::symlink;
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap().join("root");
        for it in ["var/homes", "srv/there", "dev", "proc"] {
            fs::create_dir_all(root.join(it)).unwrap();
        }
        let out = temp.path().join("out");
        fs::create_dir(&out).unwrap();
        for (to, at) in [("var/homes", "home"), ("/proc", "odd"), ("/nowhere", "lost")] {
            symlink(to, root.join(at)).unwrap();
        }
        symlink(&out, root.join("out")).unwrap();
        symlink("../..", root.join("up")).unwrap();
        let opened = open(&root).unwrap();
        for (path, place) in [
            ("/srv/there", None),
            ("/srv/new/x", Some("srv/new/x")),
            ("/home/agent", Some("var/homes/agent")),
            ("/up/var/agent", Some("var/agent")),
            ("/root", Some("root")),
            // What is not the image's, or leads nowhere in it, gives way to a directory.
            ("/odd/agent", Some("odd/agent")),
            ("/lost/agent", Some("lost/agent")),
            ("/out/agent", Some("out/agent")),
            ("/lost", Some("lost")),
        ] {
            let found = missing(opened.as_fd(), Path::new(path)).unwrap();
            assert_eq!(found.as_deref(), place.map(Path::new), "{path}");
        }
    }

    #[test]
    fn a_list_that_leads_out_of_the_image_is_not_read() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(temp.path().join("passwd"), "agent:x:1:1::/x:\n").unwrap();
        std::os::unix::fs::symlink("../../passwd", root.join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("/etc/hosts", root.join("etc/group")).unwrap();
        let opened = open(&root).unwrap();
        assert_eq!(read(opened.as_fd(), "/etc/passwd"), None);
        assert_eq!(read(opened.as_fd(), "/etc/group"), None);
    }
}
