//! Files of a container that has stopped: no program can look at them, so the engine's archives are read. It resolves links on
//! the way within the container, and shows a directory only with all that is in it: what is deeper is passed over.

use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    engine::{Engine, escaped, escaped_bytes},
    pull::{Taken, aside},
    trace::Trace,
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        limits::{
            COPY_PIECES_AHEAD_MAX, ENGINE_ANSWER_WITHIN, FILE_PIECE_BYTES, FILES_LISTED_MAX,
            FILES_PIECE_MAX, FIND_ENTRIES_MAX, FIND_HITS_MAX, FIND_WITHIN, LINKS_FOLLOWED_MAX,
            PATH_BYTES_MAX,
        },
    },
    driver::{
        Ground,
        files::{Files, Pieces, Turn, Turns, has_stopped, told_by},
        tar::read::{Member, MemberKind, Reader},
    },
    model::file::{
        FileEntry, FileKind, FindPiece, FindRequest, Hit, ListPiece, ReadFrom, ReadPiece,
        ReadRequest, Target, WriteRequest, joined, led, name_shown, split,
    },
};

/// What a stopped container kept.
#[derive(Clone)]
pub struct KeptFiles {
    engine: Arc<Engine>,
    container: String,
    turns: Turns,
}

/// An archive of one path, with the first of its members; its contents come next.
struct Archive {
    reader: Reader<Taken>,
    first: Member,
    _turn: Turn,
}

impl Archive {
    /// It is read for as long as somebody listens, and until then: what is passed over may be endless.
    fn only_for<T: Send + 'static>(&mut self, told: &mpsc::Sender<Outcome<T>>, until: Duration) {
        let told = told.clone();
        let taken = self.reader.inner_mut();
        taken.only_while(move || !told.is_closed());
        taken.only_until(until);
    }
}

impl KeptFiles {
    pub fn open(ground: &Ground, turns: Turns) -> Outcome<Self> {
        match Trace::read(&ground.dir)? {
            Some(Trace { engine, container: Some(container), .. }) => {
                Ok(Self { engine: Arc::new(Engine::new(engine)), container, turns })
            }
            _ => Err(Fault::absent(format!("{} has no container any more", ground.name))),
        }
    }

    async fn archive(&self, path: &[u8]) -> Outcome<Archive> {
        let turn = self.turns.take().await?;
        let container = escaped(&self.container);
        let asked = format!("/containers/{container}/archive?path={}", escaped_bytes(path));
        let mut archive = self.engine.listen(&asked).await?;
        let (pieces, taken) = mpsc::channel(COPY_PIECES_AHEAD_MAX);
        // Ends with who reads.
        tokio::spawn(async move {
            while let Some(piece) = in_time(archive.next(), ENGINE_ANSWER_WITHIN).await {
                let late = piece.is_err();
                if pieces.send(piece).await.is_err() || late {
                    return;
                }
            }
        });
        let shown = name_shown(path);
        aside(move || {
            let mut taken = Taken::new(taken);
            taken.only_until(clock::monotonic() + ENGINE_ANSWER_WITHIN);
            let mut reader = Reader::new(taken);
            let first = reader.next().map_err(|error| broken(&shown, &error))?;
            let first = first.ok_or_else(|| Fault::failed(format!("nothing came of {shown}")))?;
            Ok(Archive { reader, first, _turn: turn })
        })
        .await
    }

    /// With all that is in it. A link that leads to a directory is followed.
    async fn directory(&self, path: &[u8]) -> Outcome<Archive> {
        let archive = self.archive(&joined(path, b".")).await?;
        match archive.first.kind {
            MemberKind::Directory => Ok(archive),
            _ => Err(Fault::absent(format!("not a directory: {}", name_shown(path)))),
        }
    }

    /// A plain file, or the one that a link leads to.
    async fn file(&self, path: &[u8]) -> Outcome<Archive> {
        let mut at = path.to_vec();
        for _ in 0..LINKS_FOLLOWED_MAX {
            let archive = self.archive(&at).await?;
            let target = match archive.first.kind {
                MemberKind::File => return Ok(archive),
                MemberKind::Link => archive.first.target,
                kind => {
                    let words = format!("it is a {}: {}", file_kind(kind).word(), name_shown(path));
                    return Err(Fault::invalid(words).hint("only plain files are opened"));
                }
            };
            at = led(&at, &target);
            if at.len() > PATH_BYTES_MAX {
                break;
            }
        }
        Err(Fault::denied(format!("too many links on the way to {}", name_shown(path))))
    }
}

/// What the engine sends next; an error where it is silent for so long.
async fn in_time(
    next: impl Future<Output = Option<Bytes>>,
    within: Duration,
) -> Option<io::Result<Bytes>> {
    match tokio::time::timeout(within, next).await {
        Ok(piece) => piece.map(Ok),
        Err(_) => Some(Err(io::ErrorKind::TimedOut.into())),
    }
}

fn broken(shown: &str, error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::TimedOut {
        return Fault::late(format!("the engine's archive of {shown} did not come in time"))
            .hint("see whether it works: docker version");
    }
    Fault::io(format!("reading the engine's archive of {shown}"), error)
}

fn file_kind(of: MemberKind) -> FileKind {
    match of {
        MemberKind::File | MemberKind::HardLink => FileKind::File,
        MemberKind::Link => FileKind::Link,
        MemberKind::Directory => FileKind::Directory,
        MemberKind::Other => FileKind::Other,
    }
}

/// An archive tells no names of owners that mean anything here, and no version.
fn entry(member: &Member, name: &[u8]) -> FileEntry {
    let kind = file_kind(member.kind);
    let target = (kind == FileKind::Link).then(|| Target {
        path: member.target.iter().copied().take(PATH_BYTES_MAX).collect(),
        kind: None,
    });
    FileEntry {
        size_bytes: (member.kind == MemberKind::File).then_some(member.bytes),
        mode: Some(member.mode & 0o7777),
        modified_at: Some(Timestamp(member.modified.saturating_mul(1000))),
        target,
        ..FileEntry::bare(name, kind)
    }
}

/// A path as it is below the first member of its archive; `None` for what is no such path.
fn below<'a>(root: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let plain = |it: &'a [u8]| it.strip_suffix(b"/").unwrap_or(it);
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let rest = plain(path).strip_prefix(root)?;
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    let odd = |part: &[u8]| matches!(part, b"" | b"." | b"..");
    let fine = rest.len() <= PATH_BYTES_MAX && !rest.split(|it| *it == b'/').any(odd);
    fine.then_some(rest)
}

/// Reads on beside everything else, until nobody listens: also what is only passed over, which may be very long.
fn telling<T: Send + 'static>(
    mut archive: Archive,
    work: impl FnOnce(Archive, &mpsc::Sender<Outcome<T>>) -> Outcome<()> + Send + 'static,
) -> Pieces<T> {
    told_by(move |told| async move {
        let listener = told.clone();
        archive.only_for(&listener, clock::monotonic() + FIND_WITHIN);
        let done = tokio::task::spawn_blocking(move || work(archive, &listener)).await;
        let fault = match done {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => fault,
            Err(error) => Fault::bug(format!("reading an archive: {error}")),
        };
        drop(told.send(Err(fault)).await);
    })
}

/// Goes through the members after the first, with their paths below it, for as long as they may be read; whether that was all.
fn each(
    archive: &mut Archive,
    shown: &str,
    mut take: impl FnMut(&Member, &[u8]) -> bool,
) -> Outcome<bool> {
    let mut seen = 0;
    loop {
        let member = match archive.reader.next() {
            Ok(Some(member)) => member,
            Ok(None) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(false),
            Err(error) => return Err(broken(shown, &error)),
        };
        seen += 1;
        if seen > FIND_ENTRIES_MAX {
            return Ok(false);
        }
        if let Some(path) = below(&archive.first.path, &member.path)
            && !take(&member, path)
        {
            return Ok(false);
        }
    }
}

fn list(mut archive: Archive, shown: &str, told: &mpsc::Sender<Outcome<ListPiece>>) -> Outcome<()> {
    let (mut entries, mut count) = (Vec::new(), 0);
    let tell = |entries: &mut Vec<FileEntry>, least: usize| {
        entries.len() < least
            || told.blocking_send(Ok(ListPiece::Entries(std::mem::take(entries)))).is_ok()
    };
    let all = each(&mut archive, shown, |member, path| {
        if path.contains(&b'/') {
            return true;
        }
        entries.push(entry(member, path));
        count += 1;
        count < FILES_LISTED_MAX && tell(&mut entries, FILES_PIECE_MAX)
    })?;
    if tell(&mut entries, 1) {
        drop(told.blocking_send(Ok(ListPiece::End { more: !all })));
    }
    Ok(())
}

fn find(
    mut archive: Archive,
    shown: &str,
    name: &str,
    told: &mpsc::Sender<Outcome<FindPiece>>,
) -> Outcome<()> {
    let exact = name.bytes().any(|it| it.is_ascii_uppercase());
    let words = memchr::memmem::Finder::new(name);
    let (mut hits, mut looked_at) = (0, 0);
    let all = each(&mut archive, shown, |member, path| {
        looked_at += 1;
        let last = path.rsplit(|it| *it == b'/').next().unwrap_or_default();
        let seen = if exact { last.to_vec() } else { last.to_ascii_lowercase() };
        if words.find(&seen).is_none() {
            return true;
        }
        hits += 1;
        let hit = Hit { path: path.to_vec(), kind: file_kind(member.kind), line: None };
        hits <= FIND_HITS_MAX && told.blocking_send(Ok(FindPiece::Hit(hit))).is_ok()
    })?;
    drop(told.blocking_send(Ok(FindPiece::End { more: !all, looked_at, unread: 0 })));
    Ok(())
}

fn read(
    mut archive: Archive,
    shown: &str,
    (from, most): (u64, u64),
    told: &mpsc::Sender<Outcome<ReadPiece>>,
) -> Outcome<()> {
    let fault = |error: io::Error| broken(shown, &error);
    io::copy(&mut archive.reader.by_ref().take(from), &mut io::sink()).map_err(
        |error| match error.kind() {
            io::ErrorKind::TimedOut => Fault::late(format!(
                "archives begin at the first byte: {from} bytes of {shown} did not come in time"
            ))
            .hint("sandwatch files get copies all of it"),
            _ => fault(error),
        },
    )?;
    // What somebody takes may be as long as it is.
    archive.reader.inner_mut().only_until(Duration::MAX);
    let mut left = most;
    while left > 0 {
        let mut piece = Vec::new();
        let many = left.min(FILE_PIECE_BYTES as u64);
        archive.reader.by_ref().take(many).read_to_end(&mut piece).map_err(fault)?;
        if piece.is_empty() {
            break;
        }
        left -= piece.len() as u64;
        if told.blocking_send(Ok(ReadPiece::Data(Bytes::from(piece)))).is_err() {
            return Ok(());
        }
    }
    drop(told.blocking_send(Ok(ReadPiece::End)));
    Ok(())
}

#[async_trait]
impl Files for KeptFiles {
    async fn stat(&self, path: &[u8]) -> Outcome<FileEntry> {
        let name = split(path).map_or(&b"/"[..], |it| it.1);
        Ok(entry(&self.archive(path).await?.first, name))
    }

    async fn list(&self, path: &[u8]) -> Outcome<Pieces<ListPiece>> {
        let (archive, shown) = (self.directory(path).await?, name_shown(path));
        Ok(telling(archive, move |archive, told| list(archive, &shown, told)))
    }

    async fn read(&self, request: ReadRequest) -> Outcome<Pieces<ReadPiece>> {
        let ReadRequest { path, from, most } = request;
        let archive = self.file(&path).await?;
        let name = split(&path).map_or(&b"/"[..], |it| it.1);
        let entry = entry(&archive.first, name);
        let from = match from {
            ReadFrom::Start(bytes) => bytes,
            ReadFrom::End(bytes) => archive.first.bytes.saturating_sub(bytes),
        };
        let (most, shown) = (most.unwrap_or(u64::MAX), name_shown(&path));
        Ok(telling(archive, move |archive, told| {
            if told.blocking_send(Ok(ReadPiece::Begin { entry, offset: from })).is_err() {
                return Ok(());
            }
            read(archive, &shown, (from, most), told)
        }))
    }

    async fn write(&self, _: WriteRequest, _: Pieces<Bytes>) -> Outcome<FileEntry> {
        Err(has_stopped())
    }

    async fn find(&self, request: FindRequest) -> Outcome<Pieces<FindPiece>> {
        if request.text.is_some() {
            let words = "contents of a stopped container can't be looked through";
            return Err(Fault::unsupported(words).hint("copy them: sandwatch files get"));
        }
        let archive = self.directory(&request.path).await?;
        let (name, shown) = (request.name.unwrap_or_default(), name_shown(&request.path));
        Ok(telling(archive, move |archive, told| find(archive, &shown, &name, told)))
    }

    /// Nothing happens there.
    async fn watch(&self, _: Vec<Vec<u8>>) -> Outcome<Pieces<Vec<usize>>> {
        Ok(Box::pin(tokio_stream::pending()))
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, JoinHandle};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        base::fault::Kind as FaultKind,
        driver::tar::{self, Entry, Kind},
    };

    /// Bytes of a file that nobody is to read to its end.
    const LONG: u64 = 8 << 30;

    /// An archive of these, the last with so many zeros; and how many of them were sent when nobody reads any more.
    fn long(members: &[(&'static [u8], Kind)]) -> (Archive, JoinHandle<u64>) {
        let header = |(path, kind): &(&'static [u8], Kind)| {
            let bytes = if *kind == Kind::File { LONG } else { 0 };
            tar::header(&Entry {
                path,
                kind: *kind,
                mode: 0o644,
                owner: (0, 0),
                bytes,
                modified: 0,
                target: b"",
            })
        };
        let begun: Vec<u8> = members.iter().flat_map(header).collect();
        let (pieces, taken) = mpsc::channel(1);
        let feeder = thread::spawn(move || {
            let (mut piece, zeros) = (Bytes::from(begun), Bytes::from(vec![0; 1 << 16]));
            let mut sent = 0;
            while pieces.blocking_send(Ok(piece)).is_ok() {
                sent += zeros.len() as u64;
                piece = zeros.clone();
            }
            sent
        });
        let place = Arc::new(Semaphore::new(2));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let turn = runtime.block_on(Turns::new(&place, &place).take()).unwrap();
        let mut reader = Reader::new(Taken::new(taken));
        let first = reader.next().unwrap().unwrap();
        (Archive { reader, first, _turn: turn }, feeder)
    }

    #[test]
    fn what_is_passed_over_is_not_read_where_nobody_listens() {
        let (mut archive, feeder) = long(&[(b"d/", Kind::Directory), (b"d/long", Kind::File)]);
        let (told, listener) = mpsc::channel(1);
        archive.only_for(&told, Duration::MAX);
        drop(listener);
        list(archive, "d", &told).unwrap();
        assert!(feeder.join().unwrap() < LONG);
    }

    #[test]
    fn what_takes_too_long_to_pass_over_is_told_as_not_all() {
        let (mut archive, feeder) = long(&[(b"d/", Kind::Directory), (b"d/long", Kind::File)]);
        let (told, mut listener) = mpsc::channel(2);
        archive.only_for(&told, Duration::ZERO);
        list(archive, "d", &told).unwrap();
        let Some(Ok(ListPiece::Entries(entries))) = listener.blocking_recv() else {
            panic!("no entries")
        };
        assert_eq!(entries.len(), 1);
        let end = listener.blocking_recv();
        assert!(matches!(end, Some(Ok(ListPiece::End { more: true }))), "{end:?}");
        assert!(feeder.join().unwrap() < LONG);

        let (mut archive, feeder) = long(&[(b"d/", Kind::Directory), (b"d/long", Kind::File)]);
        let (told, mut listener) = mpsc::channel(2);
        archive.only_for(&told, Duration::ZERO);
        find(archive, "d", "short", &told).unwrap();
        let end = listener.blocking_recv();
        assert!(matches!(end, Some(Ok(FindPiece::End { more: true, .. }))), "{end:?}");
        assert!(feeder.join().unwrap() < LONG);
    }

    #[test]
    fn the_end_of_a_file_that_is_too_far_away_is_not_waited_for() {
        let (mut archive, feeder) = long(&[(b"long", Kind::File)]);
        let (told, _listener) = mpsc::channel(2);
        archive.only_for(&told, Duration::ZERO);
        let fault = read(archive, "long", (LONG - 3, 3), &told).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Late, "{fault}");
        assert!(feeder.join().unwrap() < LONG);
    }

    #[tokio::test]
    async fn an_engine_that_says_nothing_is_late() {
        let said = in_time(async { Some(Bytes::from_static(b"x")) }, FIND_WITHIN).await;
        assert_eq!(said.unwrap().unwrap(), "x");
        let silent = in_time(std::future::pending(), Duration::ZERO).await;
        let error = silent.unwrap().unwrap_err();
        assert_eq!(broken("d", &error).kind(), FaultKind::Late);
    }

    #[test]
    fn what_is_not_below_the_first_member_is_nothing() {
        for (root, path, wanted) in [
            (&b"d/"[..], &b"d/f"[..], Some(&b"f"[..])),
            (b"d/", b"d/sub/", Some(b"sub")),
            (b"./", b"./f", Some(b"f")),
            (b"/", b"etc/passwd", Some(b"etc/passwd")),
            (b"d/", b"d/../x", None),
            (b"d/", b"d/./x", None),
            (b"d/", b"d//x", None),
            (b"d/", b"../x", None),
            (b"d/", b"d/", None),
        ] {
            assert_eq!(below(root, path), wanted, "{root:?} {path:?}");
        }
    }
}
