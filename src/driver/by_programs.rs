//! The files of a sandbox that can be reached by nothing but the programs in it: a shell, `stat`, `find`, `cat`, `head`
//! and `tail` of its own. What they say is the sandbox's word, and bounded; nothing of the host is in their reach.
//!
//! Times are whole seconds there, so a change within one may go unnoticed.

mod output;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use self::output::{Output, Paths, Records, entry, mark, no_shell, nonsense, position, within};
use super::files::{Files, Pieces, Runs, told_by, watched_by_looking};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        limits::{
            FILE_PIECE_BYTES, FILE_WRITTEN_BYTES_MAX, FILES_LISTED_MAX, FILES_PIECE_MAX,
            FIND_ENTRIES_MAX, FIND_HITS_MAX, FIND_WITHIN, PATH_BYTES_MAX, PTY_CHUNK_BYTES_MAX,
        },
        units::human_bytes,
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
        Ok(Output::new(said, path))
    }

    /// One that says little, or nothing.
    async fn run(&self, script: &str, path: &[u8], more: &[&str]) -> Outcome<Vec<u8>> {
        let output = self.begin(script, path, more, Box::pin(tokio_stream::empty())).await?;
        output.all().await
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
            let is_path = target.len() <= PATH_BYTES_MAX && !target.contains(&0);
            entry.target = is_path.then(|| Target { path: target.to_vec(), kind });
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

/// Tells a directory until nobody listens; `first` was asked for before, so that what is wrong is an answer.
async fn tell_entries(
    mut output: Output,
    mut records: Records,
    first: Option<Bytes>,
    told: mpsc::Sender<Outcome<ListPiece>>,
) -> Outcome<()> {
    let mut piece = first;
    loop {
        let entries = match &piece {
            Some(bytes) => records.feed(bytes)?,
            None => records.last(),
        };
        for some in entries.chunks(FILES_PIECE_MAX) {
            if told.send(Ok(ListPiece::Entries(some.to_vec()))).await.is_err() {
                return Ok(());
            }
        }
        let more = records.count >= FILES_LISTED_MAX;
        if piece.is_none() || more {
            drop(told.send(Ok(ListPiece::End { more })).await);
            return Ok(());
        }
        piece = output.next().await?;
    }
}

/// Tells a file after its beginning, of which `first` came already, and no more than was asked for.
async fn tell_data(
    mut output: Output,
    first: Bytes,
    most: Option<u64>,
    told: mpsc::Sender<Outcome<ReadPiece>>,
) -> Outcome<()> {
    let (mut piece, mut left) = (Some(first), most.unwrap_or(u64::MAX));
    while let Some(mut bytes) = piece.take().filter(|_| left > 0) {
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= bytes.len() as u64;
        while !bytes.is_empty() {
            let some = bytes.split_to(bytes.len().min(FILE_PIECE_BYTES));
            if told.send(Ok(ReadPiece::Data(some))).await.is_err() {
                return Ok(());
            }
        }
        piece = output.next().await?;
    }
    drop(told.send(Ok(ReadPiece::End)).await);
    Ok(())
}

/// Tells names below a directory, as `first` and the rest say, until `until`.
async fn tell_found(
    mut output: Output,
    first: Option<Bytes>,
    name: String,
    until: Duration,
    told: mpsc::Sender<Outcome<FindPiece>>,
) -> Outcome<()> {
    let exact = name.bytes().any(|it| it.is_ascii_uppercase());
    let (mut paths, mut looked_at, mut hits, mut unread) = (Paths::default(), 0, 0, 0);
    let (mut piece, mut more) = (first, false);
    while let (Some(bytes), false) = (piece.take(), more) {
        more = clock::monotonic() >= until;
        for path in paths.feed(&bytes) {
            looked_at += 1;
            more |= looked_at >= FIND_ENTRIES_MAX || hits >= FIND_HITS_MAX;
            if more {
                break;
            }
            let Some(path) = path else {
                unread += 1;
                continue;
            };
            let last = path.rsplit(|it| *it == b'/').next().unwrap_or_default();
            let seen = if exact { last.to_vec() } else { last.to_ascii_lowercase() };
            if !name.is_empty() && position(&seen, name.as_bytes()).is_none() {
                continue;
            }
            hits += 1;
            let hit = Hit { path, kind: FileKind::Other, line: None };
            if told.send(Ok(FindPiece::Hit(hit))).await.is_err() {
                return Ok(());
            }
        }
        if more {
            break;
        }
        piece = match output.next().await {
            Ok(next) => next,
            // What it could not read it says by its code, at its end.
            Err(_) if matches!(output.ended, Some(ExitStatus::Code(_))) => None,
            Err(fault) => return Err(fault),
        };
    }
    unread += u64::from(output.complains());
    drop(told.send(Ok(FindPiece::End { more, looked_at, unread })).await);
    Ok(())
}

/// A stream of what such a task tells; what is wrong is the last it tells.
fn telling<T, F>(tell: impl FnOnce(mpsc::Sender<Outcome<T>>) -> F + Send + 'static) -> Pieces<T>
where
    T: Send + 'static,
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    told_by(|told| async move {
        if let Err(fault) = tell(told.clone()).await {
            drop(told.send(Err(fault)).await);
        }
    })
}

/// Feeds a program until the end of the data; an error among them is one. Who writes may take as long as they like, the
/// program may not.
async fn feed(
    data: &mut Pieces<Bytes>,
    program: mpsc::Sender<Outcome<Bytes>>,
    path: &[u8],
) -> Outcome<()> {
    let mut written = 0;
    while let Some(piece) = data.next().await {
        let mut piece = piece?;
        written += piece.len() as u64;
        if written > FILE_WRITTEN_BYTES_MAX {
            let (most, shown) = (human_bytes(FILE_WRITTEN_BYTES_MAX), name_shown(path));
            return Err(Fault::invalid(format!("more than {most} for one file: {shown}")));
        }
        while !piece.is_empty() {
            let some = piece.split_to(piece.len().min(PTY_CHUNK_BYTES_MAX));
            let taken = within(async { Ok(program.send(Ok(some)).await) }).await?;
            if taken.is_err() {
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
        let records = Records::new(mark);
        Ok(telling(|told| tell_entries(output, records, first, told)))
    }

    async fn read(&self, request: ReadRequest) -> Outcome<Pieces<ReadPiece>> {
        let ReadRequest { path, from, most } = request;
        let mark = mark();
        let (way, bytes) = match from {
            ReadFrom::Start(bytes) => ("start", bytes.to_string()),
            ReadFrom::End(bytes) => ("end", bytes.to_string()),
        };
        let many = most.map_or_else(|| "all".to_owned(), |it| it.to_string());
        let empty = Box::pin(tokio_stream::empty());
        let mut output = self.begin(READ, &path, &[&mark, way, &bytes, &many], empty).await?;
        let (record, first) = output.line().await?;
        let name = split(&path).map_or(&b"/"[..], |it| it.1);
        let entry = entry(&record, &mark, Some(name)).ok_or_else(|| nonsense(&path))?;
        let size = entry.size_bytes.unwrap_or_default();
        let offset = match from {
            ReadFrom::Start(bytes) => bytes,
            ReadFrom::End(bytes) => size.saturating_sub(bytes),
        };
        let begin = ReadPiece::Begin { entry, offset };
        Ok(telling(move |told| async move {
            if told.send(Ok(begin)).await.is_err() {
                return Ok(());
            }
            tell_data(output, first, most, told).await
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
        let output = self.begin(TAKE, &path, &[&mark], input).await?;
        let mode = request.mode.map_or_else(|| "same".to_owned(), |it| format!("{it:o}"));
        let placed = async {
            feed(&mut data, pieces, &path).await?;
            output.all().await?;
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
        let until = clock::monotonic() + FIND_WITHIN;
        let empty = Box::pin(tokio_stream::empty());
        let mut output = self.begin(FIND, &request.path, &[], empty).await?;
        let first = output.next().await?;
        Ok(telling(move |told| tell_found(output, first, name, until, told)))
    }

    async fn watch(&self, paths: Vec<Vec<u8>>) -> Outcome<Pieces<Vec<usize>>> {
        Ok(watched_by_looking(Arc::new(self.clone()), paths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::files::Said;

    /// A container whose programs say all the same.
    struct Says(Vec<Said>);

    #[async_trait]
    impl Runs for Says {
        async fn run(
            &self,
            command: Vec<String>,
            _: std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Bytes> + Send>>,
        ) -> Outcome<Pieces<Said>> {
            // What is told of a file begins with the mark that was asked for.
            let mark = command.get(5).cloned().unwrap_or_default();
            let said: Vec<Outcome<Said>> = self
                .0
                .iter()
                .cloned()
                .map(|it| {
                    Ok(match it {
                        Said::Output(text) => {
                            let text = String::from_utf8_lossy(&text).replace("MARK", &mark);
                            Said::Output(Bytes::from(text))
                        }
                        other => other,
                    })
                })
                .collect();
            Ok(Box::pin(tokio_stream::iter(said)))
        }
    }

    fn says(said: &[Said]) -> ByPrograms {
        ByPrograms::new(Arc::new(Says(said.to_vec())))
    }

    fn output(text: &str) -> Said {
        Said::Output(Bytes::copy_from_slice(text.as_bytes()))
    }

    async fn all<T>(mut pieces: Pieces<T>) -> Vec<Outcome<T>> {
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.push(piece);
        }
        all
    }

    #[tokio::test]
    async fn a_search_that_was_cut_off_has_no_end_and_one_that_could_not_read_all_has() {
        let find = FindRequest { path: b"/".to_vec(), name: Some("a".to_owned()), text: None };
        let cut = says(&[output("./a\0./b\0")]);
        let told = all(cut.find(find.clone()).await.unwrap()).await;
        assert!(matches!(told[0], Ok(FindPiece::Hit(_))));
        assert!(matches!(&told[1], Err(fault) if fault.kind() == Kind::Lost), "{told:?}");
        let killed = says(&[output("./a\0"), Said::End(ExitStatus::Signal(9))]);
        assert!(all(killed.find(find.clone()).await.unwrap()).await[1].is_err());
        let denied = Said::Error(Bytes::from_static(b"find: permission denied"));
        let some = says(&[output("./a\0"), denied, Said::End(ExitStatus::Code(1))]);
        let told = all(some.find(find).await.unwrap()).await;
        let end = FindPiece::End { more: false, looked_at: 1, unread: 1 };
        assert_eq!(told.last(), Some(&Ok(end)), "{told:?}");
    }

    #[tokio::test]
    async fn no_more_is_told_of_a_file_than_was_asked_for() {
        let begin = output("MARK 81a4 5 1 1 0 0 9 /\nabc");
        let endless = says(&[&[begin][..], &vec![output("defgh"); 1000][..]].concat());
        let request = ReadRequest { path: b"/f".to_vec(), from: ReadFrom::Start(0), most: Some(7) };
        let told = all(endless.read(request).await.unwrap()).await;
        let data: Vec<u8> = told
            .iter()
            .filter_map(|it| match it {
                Ok(ReadPiece::Data(bytes)) => Some(bytes.to_vec()),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!((data.as_slice(), told.last()), (&b"abcdefg"[..], Some(&Ok(ReadPiece::End))));
    }

    /// A container whose programs complain for ever and say nothing else.
    struct Complains;

    #[async_trait]
    impl Runs for Complains {
        async fn run(
            &self,
            _: Vec<String>,
            _: std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Bytes> + Send>>,
        ) -> Outcome<Pieces<Said>> {
            Ok(told_by(|told| async move {
                let error = || Ok(Said::Error(Bytes::from_static(b"no")));
                while told.send(error()).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }))
        }
    }

    #[tokio::test]
    async fn a_program_that_only_complains_is_not_waited_for() {
        let looked = ByPrograms::new(Arc::new(Complains)).stat(b"/f").await;
        assert!(matches!(&looked, Err(fault) if fault.kind() == Kind::Late), "{looked:?}");
    }
}
