//! What was sent of a real directory to a sandbox that has its files elsewhere, in a file of the sandbox's directory.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use rustix::fs::{FileType, Stat};

use crate::{
    base::fault::{Fault, Outcome},
    driver::tar::read::{Member, MemberKind},
};

/// In a sandbox's directory, and on the shelf of its snapshots: what was sent.
pub const SENT: &str = "sent";

/// Writes down what is sent, as it is sent.
pub struct Sending {
    file: BufWriter<File>,
}

impl Sending {
    /// In the directory of a sandbox that has just begun.
    pub fn begin(ground: &Path) -> Outcome<Self> {
        let file = File::create(ground.join(SENT)).map_err(noting)?;
        Ok(Self { file: BufWriter::new(file) })
    }

    /// One path below the workspace, as it was found.
    pub fn add(&mut self, path: &[u8], stat: &Stat) -> Outcome<()> {
        Sent::of(stat).write(path, &mut self.file).map_err(noting)
    }

    pub fn finish(&mut self) -> Outcome<()> {
        self.file.flush().map_err(noting)
    }
}

pub fn noting(error: io::Error) -> Fault {
    Fault::io("noting what is sent", &error)
}

/// What was found of a path when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// With the kind.
    pub mode: u32,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    number: u64,
    /// Size and time of what the sandbox has, where that is not a copy of this.
    theirs: Option<(u64, i64)>,
}

impl Sent {
    pub fn of(stat: &Stat) -> Self {
        Self {
            mode: stat.st_mode,
            bytes: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: (stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            changed: (stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
            number: stat.st_ino,
            theirs: None,
        }
    }

    /// What the sandbox has of it is this, in a layer.
    pub fn with_theirs(self, layer: Option<&Stat>) -> Self {
        let theirs = layer.map(Self::of).map(|it| (it.bytes, it.modified.0));
        Self { theirs, ..self }
    }

    /// The real one is as it was when it was sent.
    pub fn is_still(&self, real: &Stat) -> bool {
        Self { theirs: self.theirs, ..Self::of(real) } == *self
    }

    fn write(&self, path: &[u8], into: &mut impl Write) -> io::Result<()> {
        let Self { mode, bytes, modified, changed, number, theirs } = self;
        let ((one, two), (three, four)) = (modified, changed);
        write!(into, "{mode:o} {bytes} {one} {two} {three} {four} {number}")?;
        if let Some((bytes, seconds)) = theirs {
            write!(into, ":{bytes}:{seconds}")?;
        }
        [b" ", path, &[0]].into_iter().try_for_each(|it| into.write_all(it))
    }

    fn parse(line: &[u8]) -> Option<(Vec<u8>, Self)> {
        let mut words = line.splitn(8, |it| *it == b' ');
        let mut word = || std::str::from_utf8(words.next()?).ok();
        let mode = u32::from_str_radix(word()?, 8).ok()?;
        let bytes = word()?.parse().ok()?;
        let modified = (word()?.parse().ok()?, word()?.parse().ok()?);
        let changed = (word()?.parse().ok()?, word()?.parse().ok()?);
        let mut last = word()?.splitn(3, ':');
        let number = last.next()?.parse().ok()?;
        let theirs = match (last.next(), last.next()) {
            (Some(bytes), Some(seconds)) => Some((bytes.parse().ok()?, seconds.parse().ok()?)),
            _ => None,
        };
        let sent = Self { mode, bytes, modified, changed, number, theirs };
        Some((words.next()?.to_vec(), sent))
    }

    pub fn permissions(&self) -> u32 {
        self.mode & 0o777
    }

    /// The sandbox has it as it was sent, as far as that shows: times are sent in whole seconds.
    pub fn is(&self, member: &Member) -> bool {
        let kind = FileType::from_raw_mode(self.mode);
        let bytes = match member.kind {
            MemberKind::File => (kind == FileType::RegularFile).then_some(member.bytes),
            MemberKind::Link => (kind == FileType::Symlink).then_some(member.target.len() as u64),
            _ => None,
        };
        let (size, seconds) = self.theirs.unwrap_or((self.bytes, self.modified.0.max(0)));
        bytes == Some(size)
            && member.modified == seconds
            && (member.kind == MemberKind::Link || member.mode & 0o777 == self.permissions())
    }
}

/// All that was sent, by path.
pub fn read(ground: &Path) -> Outcome<HashMap<Vec<u8>, Sent>> {
    let path = ground.join(SENT);
    let text = fs::read(&path)
        .map_err(|error| Fault::io(format!("reading {}", path.display()), &error))?;
    let lines = text.split(|it| *it == 0).filter(|it| !it.is_empty());
    let all: Option<HashMap<_, _>> = lines.map(Sent::parse).collect();
    all.ok_or_else(|| Fault::failed(format!("{} is damaged", path.display())))
}

/// Notes what paths are by now, and those that are no more: with that the sandbox goes on.
pub fn rewrite(ground: &Path, now: Vec<(Vec<u8>, Option<Sent>)>) -> Outcome<()> {
    let mut all = read(ground)?;
    for (path, sent) in now {
        match sent {
            Some(sent) => drop(all.insert(path, sent)),
            None => drop(all.remove(&path)),
        }
    }
    let (path, next) = (ground.join(SENT), ground.join("sent.new"));
    let written = || {
        let mut file = BufWriter::new(File::create(&next)?);
        all.iter().try_for_each(|(path, sent)| sent.write(path, &mut file))?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&next, &path)
    };
    written().map_err(noting)
}
