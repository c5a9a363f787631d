//! The files of a sandbox that can be reached by nothing but the programs in it: a shell, `stat`, `find`, `cat`, `head`
//! and `tail` of its own. What they say is the sandbox's word, and bounded; nothing of the host is in their reach.
//!
//! Times are whole seconds there, so a change within one may go unnoticed.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::files::{Files, Pieces, Runs, Said, told_by, watched_by_looking};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Kind, Outcome},
        id::SandboxId,
        limits::{
            FILE_PIECE_BYTES, FILES_LISTED_MAX, FILES_PIECE_MAX, FILES_STEP_WITHIN,
            FIND_ENTRIES_MAX, FIND_HITS_MAX, LINE_BYTES_MAX, PATH_BYTES_MAX, PTY_CHUNK_BYTES_MAX,
        },
        text::shown,
    },
    model::{
        file::{
            Expected, FileEntry, FileKind, FindPiece, FindRequest, Hit, ListPiece, Made, ReadFrom,
            ReadPiece, ReadRequest, Target, WriteRequest, name_shown, split,
        },
        session::ExitStatus,
    },
};

/// Puts the path into `$p`, whatever bytes it has: each is written as an escape. What follows sees nothing of it
/// but there.
const PATH: &str = r#"p=$(printf "$1."); p=${p%.}; f='%f %s %Y %Z %u %g %i'
there() { [ -e "$p" ] || [ -L "$p" ] || exit 3; }
"#;
/// How the scripts say what is wrong.
const ABSENT: i32 = 3;
const OF_ANOTHER_KIND: i32 = 4;
const DENIED: i32 = 5;
const LINK: i32 = 6;
const NO_PROGRAM: i32 = 127;

const STAT: &str = r#"there
if [ -L "$p" ]; then
    k=-; [ -d "$p" ] && k=d; [ -f "$p" ] && k=f
    printf '%s %s' "$k" "$(readlink -- "$p")"
fi
stat -c "$2 $f /" -- "$p""#;
/// What goes while it is listed is no reason to tell nothing.
const LIST: &str = r#"there; [ -d "$p" ] || exit 4; cd -- "$p" || exit 5
command -v find >&2 && command -v stat >&2 || exit 127
find . -mindepth 1 -maxdepth 1 -exec stat -c "$2 $f %n" {} +; exit 0"#;
const READ: &str = r#"there; [ -f "$p" ] || exit 4; [ -r "$p" ] || exit 5
stat -L -c "$2 $f /" -- "$p"
s=$(stat -L -c %s -- "$p"); o=$4
[ "$3" = end ] && { o=$((s - $4)); [ "$o" -lt 0 ] && o=0; }
if [ "$5" = all ]; then exec tail -c "+$((o + 1))" -- "$p"; fi
tail -c "+$((o + 1))" -- "$p" | head -c "$5""#;
const TAKE: &str = r#"umask 077; d=${p%/*}; [ -d "$d/" ] || exit 3; exec cat > "$d/.sandwatch-$2""#;
/// Its permissions are those of what it replaces, or the usual ones.
const PLACE: &str = r#"t=${p%/*}/.sandwatch-$2
[ -L "$p" ] && exit 6
if [ -e "$p" ]; then [ -f "$p" ] || exit 4; m=$(stat -c %a -- "$p"); else m=644; fi
[ "$3" = same ] || m=$3
chmod "$m" "$t" && exec mv -f -- "$t" "$p""#;
const DROP: &str = r#"exec rm -f -- "${p%/*}/.sandwatch-$2""#;
const MAKE: &str = r#"[ -d "$p" ] && exit 0; mkdir -- "$p""#;
const FIND: &str = r#"there; [ -d "$p" ] || exit 4; cd -- "$p" || exit 5
exec find . -mindepth 1 -xdev -print0"#;

#[derive(Clone)]
pub struct ByPrograms {
    programs: Arc<dyn Runs>,
}

impl ByPrograms {
    pub fn new(programs: Arc<dyn Runs>) -> Self {
        Self { programs }
    }

    async fn begin(
        &self,
        script: &str,
        path: &[u8],
        more: &[&str],
        input: Pieces<Bytes>,
    ) -> Outcome<Output> {
        let script = format!("{PATH}{script}");
        let escaped: String = path.iter().map(|it| format!("\\{it:03o}")).collect();
        let mut command = vec!["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned(), escaped];
        command.extend(more.iter().map(|it| (*it).to_owned()));
        let input = input.map_while(Result::ok);
        let said = self.programs.run(command, Box::pin(input)).await;
        let said = said.map_err(|fault| match fault.kind() {
            Kind::Absent => no_shell(),
            _ => fault,
        })?;
        Ok(Output { said, path: path.to_vec(), error: Vec::new() })
    }

    /// One that says little, or nothing.
    async fn run(&self, script: &str, path: &[u8], more: &[&str]) -> Outcome<Vec<u8>> {
        let mut output = self.begin(script, path, more, Box::pin(tokio_stream::empty())).await?;
        let mut all = Vec::new();
        while let Some(piece) = output.next().await? {
            if all.len() + piece.len() > 4 * PATH_BYTES_MAX {
                return Err(Fault::failed("programs of the sandbox say too much of a file"));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    async fn look(&self, path: &[u8]) -> Outcome<FileEntry> {
        let mark = mark();
        let told = self.run(STAT, path, &[&mark]).await?;
        let at = position(&told, mark.as_bytes()).ok_or_else(|| nonsense(path))?;
        let (before, record) = told.split_at(at);
        let name = split(path).map_or(&b"/"[..], |it| it.1);
        let mut entry = entry(record, &mark, Some(name)).ok_or_else(|| nonsense(path))?;
        if let (FileKind::Link, Some((kind, target))) =
            (entry.kind, before.split_first_chunk::<2>())
        {
            let kind = match kind {
                b"d " => Some(FileKind::Directory),
                b"f " => Some(FileKind::File),
                _ => None,
            };
            entry.target = Some(Target { path: target.to_vec(), kind });
        }
        Ok(entry)
    }

    /// Whether what is there is what was expected.
    async fn check(&self, request: &WriteRequest) -> Outcome<()> {
        let shown = || name_shown(&request.path);
        let there = match self.look(&request.path).await {
            Ok(entry) => Some(entry),
            Err(fault) if fault.kind() == Kind::Absent => None,
            Err(fault) => return Err(fault),
        };
        match (request.expected, &there) {
            (Expected::Nothing, Some(it)) => {
                Err(Fault::busy(format!("there is a {} already: {}", it.kind.word(), shown())))
            }
            (Expected::Version(seen), it)
                if it.as_ref().and_then(|it| it.version) != Some(seen) =>
            {
                Err(Fault::busy(format!("it was changed meanwhile: {}", shown()))
                    .hint("look at it again before you write"))
            }
            _ => Ok(()),
        }
    }
}

/// What no name in the sandbox has in it, for nobody there knew it.
fn mark() -> String {
    format!("{}{}", SandboxId::random(), SandboxId::random())
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|it| it == wanted)
}

fn no_shell() -> Fault {
    Fault::unsupported(
        "its files can only be looked at by a shell, stat and find in it, and it has none",
    )
}

fn nonsense(path: &[u8]) -> Fault {
    let shown = name_shown(path);
    Fault::failed(format!("programs of the sandbox say nothing that is understood of {shown}"))
}

/// What a program prints.
struct Output {
    said: Pieces<Said>,
    path: Vec<u8>,
    error: Vec<u8>,
}

impl Output {
    /// The next piece; `None` when it ended well.
    async fn next(&mut self) -> Outcome<Option<Bytes>> {
        loop {
            let next = tokio::time::timeout(FILES_STEP_WITHIN, self.said.next()).await;
            let late =
                |_| Fault::late("a program that looks at files of the sandbox does not answer");
            match next.map_err(late)?.transpose()? {
                Some(Said::Output(bytes)) => return Ok(Some(bytes)),
                Some(Said::Error(bytes)) => {
                    let room = LINE_BYTES_MAX.saturating_sub(self.error.len());
                    self.error.extend(bytes.iter().take(room));
                }
                Some(Said::End(ExitStatus::Code(0))) => return Ok(None),
                Some(Said::End(status)) => return Err(self.wrong(status)),
                None => return Err(Fault::lost("a program that looks at files was cut off")),
            }
        }
    }

    fn wrong(&self, status: ExitStatus) -> Fault {
        let path = name_shown(&self.path);
        match status {
            ExitStatus::Code(ABSENT) => Fault::absent(format!("no such file or directory: {path}")),
            ExitStatus::Code(OF_ANOTHER_KIND) => {
                Fault::invalid(format!("it is of another kind: {path}"))
            }
            ExitStatus::Code(DENIED) => {
                Fault::denied(format!("the sandbox's user may not: {path}"))
            }
            ExitStatus::Code(LINK) => Fault::invalid(format!("it is a link: {path}"))
                .hint("nothing is written through a link: name what it leads to"),
            ExitStatus::Code(NO_PROGRAM) => no_shell(),
            status => {
                let error = String::from_utf8_lossy(&self.error);
                let why = shown(error.trim(), LINE_BYTES_MAX);
                Fault::failed(format!("{path}: exit code {}: {why}", status.code()))
            }
        }
    }
}

/// Reads `MARK mode size modified changed user group inode NAME`.
fn entry(record: &[u8], mark: &str, name: Option<&[u8]>) -> Option<FileEntry> {
    let rest = record.strip_prefix(mark.as_bytes())?.strip_prefix(b" ")?;
    let mut fields = rest.splitn(8, |it| *it == b' ');
    let mut number = |radix| u64::from_str_radix(str::from_utf8(fields.next()?).ok()?, radix).ok();
    let mode = number(16)? as u32;
    let (size, modified, changed) = (number(10)?, number(10)?, number(10)?);
    let (owner, group, inode) = (number(10)? as u32, number(10)? as u32, number(10)?);
    let told = fields.next()?;
    let told = told.strip_suffix(b"\n").unwrap_or(told);
    let name = name.map_or_else(|| told.strip_prefix(b"./"), Some)?;
    if name.is_empty() || (name.contains(&b'/') && name != b"/") {
        return None;
    }
    let kind = match mode & 0o170_000 {
        0o100_000 => FileKind::File,
        0o040_000 => FileKind::Directory,
        0o120_000 => FileKind::Link,
        0o010_000 => FileKind::Fifo,
        0o140_000 => FileKind::Socket,
        0o020_000 | 0o060_000 => FileKind::Device,
        _ => FileKind::Other,
    };
    let mut version = DefaultHasher::new();
    (mode, size, modified, changed, inode).hash(&mut version);
    Some(FileEntry {
        size_bytes: (kind == FileKind::File).then_some(size),
        mode: Some(mode & 0o7777),
        modified_at: Some(Timestamp(i64::try_from(modified).ok()?.saturating_mul(1000))),
        owner: Some(owner),
        group: Some(group),
        version: Some(version.finish()),
        ..FileEntry::bare(name, kind)
    })
}

/// Records as they come, each from a mark to the next.
struct Records {
    mark: String,
    rest: BytesMut,
}

impl Records {
    fn feed(&mut self, bytes: &[u8]) -> Outcome<Vec<FileEntry>> {
        self.rest.extend_from_slice(bytes);
        let next = format!("\n{} ", self.mark);
        let mut entries = Vec::new();
        while let Some(at) = position(&self.rest, next.as_bytes()) {
            let record = self.rest.split_to(at + 1);
            entries.extend(entry(&record, &self.mark, None));
        }
        if self.rest.len() > 2 * PATH_BYTES_MAX {
            return Err(Fault::failed("programs of the sandbox say nothing that is understood"));
        }
        Ok(entries)
    }

    fn last(&mut self) -> Vec<FileEntry> {
        entry(&self.rest.split(), &self.mark, None).into_iter().collect()
    }
}

/// Tells a directory until nobody listens; `first` was asked for before, so that what is wrong is an answer.
async fn tell_entries(
    mut output: Output,
    mut records: Records,
    first: Option<Bytes>,
    told: mpsc::Sender<Outcome<ListPiece>>,
) -> Outcome<()> {
    let (mut piece, mut count) = (first, 0);
    loop {
        let entries = match &piece {
            Some(bytes) => records.feed(bytes)?,
            None => records.last(),
        };
        count += entries.len();
        for some in entries.chunks(FILES_PIECE_MAX) {
            if told.send(Ok(ListPiece::Entries(some.to_vec()))).await.is_err() {
                return Ok(());
            }
        }
        let more = count >= FILES_LISTED_MAX;
        if piece.is_none() || more {
            drop(told.send(Ok(ListPiece::End { more })).await);
            return Ok(());
        }
        piece = output.next().await?;
    }
}

/// Feeds a program until the end of the data; an error among them is one.
async fn feed(data: &mut Pieces<Bytes>, program: mpsc::Sender<Outcome<Bytes>>) -> Outcome<()> {
    while let Some(piece) = data.next().await {
        let mut piece = piece?;
        while !piece.is_empty() {
            let some = piece.split_to(piece.len().min(PTY_CHUNK_BYTES_MAX));
            if program.send(Ok(some)).await.is_err() {
                // It says why.
                return Ok(());
            }
        }
    }
    Ok(())
}

#[async_trait]
impl Files for ByPrograms {
    async fn stat(&self, path: &[u8]) -> Outcome<FileEntry> {
        self.look(path).await
    }

    async fn list(&self, path: &[u8]) -> Outcome<Pieces<ListPiece>> {
        let mark = mark();
        let empty = Box::pin(tokio_stream::empty());
        let mut output = self.begin(LIST, path, &[&mark], empty).await?;
        let first = output.next().await?;
        let records = Records { mark, rest: BytesMut::new() };
        Ok(told_by(|told| async move {
            if let Err(fault) = tell_entries(output, records, first, told.clone()).await {
                drop(told.send(Err(fault)).await);
            }
        }))
    }

    async fn read(&self, request: ReadRequest) -> Outcome<Pieces<ReadPiece>> {
        let ReadRequest { path, from, most } = request;
        let mark = mark();
        let (way, bytes) = match from {
            ReadFrom::Start(bytes) => ("start", bytes.to_string()),
            ReadFrom::End(bytes) => ("end", bytes.to_string()),
        };
        let most = most.map_or_else(|| "all".to_owned(), |it| it.to_string());
        let empty = Box::pin(tokio_stream::empty());
        let mut output = self.begin(READ, &path, &[&mark, way, &bytes, &most], empty).await?;
        let mut head = BytesMut::new();
        let end = loop {
            if let Some(end) = head.iter().position(|it| *it == b'\n') {
                break end;
            }
            match output.next().await? {
                Some(bytes) if head.len() < PATH_BYTES_MAX => head.extend_from_slice(&bytes),
                _ => return Err(nonsense(&path)),
            }
        };
        let record = head.split_to(end + 1);
        let name = split(&path).map_or(&b"/"[..], |it| it.1);
        let entry = entry(&record, &mark, Some(name)).ok_or_else(|| nonsense(&path))?;
        let size = entry.size_bytes.unwrap_or_default();
        let offset = match from {
            ReadFrom::Start(bytes) => bytes,
            ReadFrom::End(bytes) => size.saturating_sub(bytes),
        };
        let begin = ReadPiece::Begin { entry, offset };
        Ok(told_by(move |told| async move {
            if told.send(Ok(begin)).await.is_err() {
                return;
            }
            let mut piece = Some(head.freeze());
            while let Some(mut bytes) = piece.take() {
                while !bytes.is_empty() {
                    let some = bytes.split_to(bytes.len().min(FILE_PIECE_BYTES));
                    if told.send(Ok(ReadPiece::Data(some))).await.is_err() {
                        return;
                    }
                }
                match output.next().await {
                    Ok(next) => piece = next,
                    Err(fault) => return drop(told.send(Err(fault)).await),
                }
            }
            drop(told.send(Ok(ReadPiece::End)).await);
        }))
    }

    async fn write(&self, request: WriteRequest, mut data: Pieces<Bytes>) -> Outcome<FileEntry> {
        let path = request.path.clone();
        if split(&path).is_none_or(|it| matches!(it.1, b"." | b"..")) {
            return Err(Fault::invalid(format!("not a file: {}", name_shown(&path))));
        }
        self.check(&request).await?;
        if request.make == Made::Directory {
            self.run(MAKE, &path, &[]).await?;
            return self.look(&path).await;
        }
        let mark = mark();
        let (pieces, input) = mpsc::channel::<Outcome<Bytes>>(1);
        let input = Box::pin(ReceiverStream::new(input));
        let mut output = self.begin(TAKE, &path, &[&mark], input).await?;
        let mode = request.mode.map_or_else(|| "same".to_owned(), |it| format!("{it:o}"));
        let placed = async {
            feed(&mut data, pieces).await?;
            while output.next().await?.is_some() {}
            self.check(&request).await?;
            self.run(PLACE, &path, &[&mark, &mode]).await?;
            self.look(&path).await
        };
        let placed = placed.await;
        if placed.is_err() {
            // The first fault is the one to tell.
            drop(self.run(DROP, &path, &[&mark]).await);
        }
        placed
    }

    async fn find(&self, request: FindRequest) -> Outcome<Pieces<FindPiece>> {
        if request.text.is_some() {
            return Err(Fault::unsupported("contents can't be looked through from outside here")
                .hint("sandwatch exec SANDBOX -- grep -rn WORDS DIRECTORY"));
        }
        let name = request.name.unwrap_or_default();
        let exact = name.bytes().any(|it| it.is_ascii_uppercase());
        let empty = Box::pin(tokio_stream::empty());
        let mut output = self.begin(FIND, &request.path, &[], empty).await?;
        let mut piece = output.next().await?;
        Ok(told_by(move |told| async move {
            let (mut rest, mut looked_at, mut hits) = (BytesMut::new(), 0, 0);
            let mut more = false;
            while let (Some(bytes), false) = (piece.take(), more) {
                rest.extend_from_slice(&bytes);
                while let Some(at) = rest.iter().position(|it| *it == 0) {
                    let path = rest.split_to(at + 1);
                    looked_at += 1;
                    let path = path.strip_suffix(&[0]).unwrap_or_default();
                    let path = path.strip_prefix(b"./").unwrap_or(path);
                    let last = path.rsplit(|it| *it == b'/').next().unwrap_or_default();
                    let seen = if exact { last.to_vec() } else { last.to_ascii_lowercase() };
                    more |= looked_at >= FIND_ENTRIES_MAX || hits >= FIND_HITS_MAX;
                    if more || (!name.is_empty() && position(&seen, name.as_bytes()).is_none()) {
                        continue;
                    }
                    hits += 1;
                    let hit = Hit { path: path.to_vec(), kind: FileKind::Other, line: None };
                    if told.send(Ok(FindPiece::Hit(hit))).await.is_err() {
                        return;
                    }
                }
                if rest.len() > PATH_BYTES_MAX {
                    break;
                }
                match output.next().await {
                    Ok(next) => piece = next,
                    // What it could not read it says by its code.
                    Err(_) => break,
                }
            }
            let unread = u64::from(!output.error.is_empty());
            drop(told.send(Ok(FindPiece::End { more, looked_at, unread })).await);
        }))
    }

    async fn watch(&self, paths: Vec<Vec<u8>>) -> Outcome<Pieces<Vec<usize>>> {
        Ok(watched_by_looking(Arc::new(self.clone()), paths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_ends_where_the_next_mark_is_and_nowhere_else() {
        let mark = mark();
        let record = |name: &str| format!("{mark} 81a4 5 1700000000 1700000001 0 7 99 ./{name}\n");
        let forged = "a\n81a4 5 1 1 0 7 99 b";
        let told = format!("{}{}{}", record("one"), record(forged), record("last\n"));
        let mut records = Records { mark: mark.clone(), rest: BytesMut::new() };
        let mut names = Vec::new();
        for byte in told.as_bytes() {
            names.extend(records.feed(&[*byte]).unwrap());
        }
        names.extend(records.last());
        let names: Vec<_> = names.iter().map(|it| String::from_utf8_lossy(&it.name)).collect();
        assert_eq!(names, ["one", forged, "last\n"]);
    }

    #[test]
    fn what_is_no_record_is_left_out() {
        let mark = mark();
        for wrong in ["", "x", "81a4 5 1", "zz 5 1 1 0 7 9 ./a", "81a4 5 1 1 0 7 9 ./a/b"] {
            assert_eq!(entry(format!("{mark} {wrong}").as_bytes(), &mark, None), None, "{wrong}");
        }
    }
}
