//! What programs that look at files print: read as it comes, bounded in size and time, and believed of nothing but the
//! sandbox's own files.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::{Bytes, BytesMut};
use tokio_stream::StreamExt;

use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{FILES_STEP_WITHIN, LINE_BYTES_MAX, PATH_BYTES_MAX},
        text::shown,
    },
    driver::files::{Pieces, Said},
    model::{
        file::{FileEntry, FileKind, is_below, name_shown},
        session::ExitStatus,
    },
};

/// How the scripts say what is wrong.
const ABSENT: i32 = 3;
const OF_ANOTHER_KIND: i32 = 4;
const DENIED: i32 = 5;
const LINK: i32 = 6;
const NO_PROGRAM: i32 = 127;

/// What no name in the sandbox has in it, for nobody there knew it.
pub fn mark() -> String {
    format!("{}{}", SandboxId::random(), SandboxId::random())
}

pub fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|it| it == wanted)
}

pub fn no_shell() -> Fault {
    Fault::unsupported(
        "its files can only be looked at by a shell, stat and find in it, and it has none",
    )
}

pub fn nonsense(path: &[u8]) -> Fault {
    let shown = name_shown(path);
    Fault::failed(format!("programs of the sandbox say nothing that is understood of {shown}"))
}

/// What a program prints.
pub struct Output {
    said: Pieces<Said>,
    path: Vec<u8>,
    error: Vec<u8>,
    /// How it ended, once it has.
    pub ended: Option<ExitStatus>,
}

impl Output {
    pub fn new(said: Pieces<Said>, path: &[u8]) -> Self {
        Self { said, path: path.to_vec(), error: Vec::new(), ended: None }
    }

    /// The next piece; `None` when it ended well. Whatever else it says meanwhile, it has so long for it.
    pub async fn next(&mut self) -> Outcome<Option<Bytes>> {
        within(self.told()).await
    }

    async fn told(&mut self) -> Outcome<Option<Bytes>> {
        loop {
            match self.said.next().await.transpose()? {
                Some(Said::Output(bytes)) => return Ok(Some(bytes)),
                Some(Said::Error(bytes)) => {
                    let room = LINE_BYTES_MAX.saturating_sub(self.error.len());
                    self.error.extend(bytes.iter().take(room));
                }
                Some(Said::End(status)) => {
                    self.ended = Some(status);
                    return match status {
                        ExitStatus::Code(0) => Ok(None),
                        status => Err(self.wrong(status)),
                    };
                }
                None => return Err(Fault::lost("a program that looks at files was cut off")),
            }
        }
    }

    /// All that one says which says little.
    pub async fn all(mut self) -> Outcome<Vec<u8>> {
        let all = async {
            let mut all = Vec::new();
            while let Some(piece) = self.told().await? {
                if all.len() + piece.len() > 4 * PATH_BYTES_MAX {
                    return Err(Fault::failed("programs of the sandbox say too much of a file"));
                }
                all.extend_from_slice(&piece);
            }
            Ok(all)
        };
        within(all).await
    }

    /// Its first line, and what came of the rest by then.
    pub async fn line(&mut self) -> Outcome<(Bytes, Bytes)> {
        let line = async {
            let mut head = BytesMut::new();
            loop {
                if let Some(end) = head.iter().position(|it| *it == b'\n') {
                    let line = head.split_to(end + 1);
                    return Ok((line.freeze(), head.freeze()));
                }
                match self.told().await? {
                    Some(bytes) if head.len() < PATH_BYTES_MAX => head.extend_from_slice(&bytes),
                    _ => return Err(nonsense(&self.path)),
                }
            }
        };
        within(line).await
    }

    /// What it said is wrong, if it said anything.
    pub fn complains(&self) -> bool {
        !self.error.is_empty()
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

/// A program that takes longer for a step is not waited for.
pub async fn within<T>(step: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::time::timeout(FILES_STEP_WITHIN, step).await.unwrap_or_else(|_| {
        Err(Fault::late("a program that looks at files of the sandbox does not answer"))
    })
}

/// Reads `MARK mode size modified changed user group inode NAME`.
pub fn entry(record: &[u8], mark: &str, name: Option<&[u8]>) -> Option<FileEntry> {
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
pub struct Records {
    mark: String,
    rest: BytesMut,
    /// How many came, those that are not understood too.
    pub count: usize,
}

impl Records {
    pub fn new(mark: String) -> Self {
        Self { mark, rest: BytesMut::new(), count: 0 }
    }

    pub fn feed(&mut self, bytes: &[u8]) -> Outcome<Vec<FileEntry>> {
        self.rest.extend_from_slice(bytes);
        let next = format!("\n{} ", self.mark);
        let mut entries = Vec::new();
        while let Some(at) = position(&self.rest, next.as_bytes()) {
            let record = self.rest.split_to(at + 1);
            self.count += 1;
            entries.extend(entry(&record, &self.mark, None));
        }
        if self.rest.len() > 2 * PATH_BYTES_MAX {
            return Err(Fault::failed("programs of the sandbox say nothing that is understood"));
        }
        Ok(entries)
    }

    pub fn last(&mut self) -> Vec<FileEntry> {
        entry(&self.rest.split(), &self.mark, None).into_iter().collect()
    }
}

/// Paths as they come, each up to a zero byte.
#[derive(Default)]
pub struct Paths {
    rest: Vec<u8>,
    /// The one that comes is too long already.
    is_long: bool,
}

impl Paths {
    /// Those that are whole by now, below the directory; `None` for one that is too long, or none.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut paths = Vec::new();
        for piece in bytes.split_inclusive(|it| *it == 0) {
            let (piece, whole) = match piece.strip_suffix(&[0]) {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            self.is_long |= self.rest.len() + piece.len() > b"./".len() + PATH_BYTES_MAX;
            match self.is_long {
                true => self.rest.clear(),
                false => self.rest.extend_from_slice(piece),
            }
            if whole {
                let path = std::mem::take(&mut self.rest);
                let path = path.strip_prefix(b"./").unwrap_or(&path);
                let is_one = !std::mem::take(&mut self.is_long) && is_below(path);
                paths.push(is_one.then(|| path.to_vec()));
            }
        }
        paths
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
        let mut records = Records::new(mark.clone());
        let mut names = Vec::new();
        for byte in told.as_bytes() {
            names.extend(records.feed(&[*byte]).unwrap());
        }
        names.extend(records.last());
        let names: Vec<_> = names.iter().map(|it| String::from_utf8_lossy(&it.name)).collect();
        assert_eq!(names, ["one", forged, "last\n"]);
        // Those that are not understood count, too: a listing of nothing else has an end.
        let told = format!("{}{}", format!("{mark} x\n").repeat(9), record("one"));
        let mut records = Records::new(mark);
        assert!(records.feed(told.as_bytes()).unwrap().is_empty());
        assert_eq!(records.count, 9);
    }

    #[test]
    fn what_is_no_record_is_left_out() {
        let mark = mark();
        for wrong in ["", "x", "81a4 5 1", "zz 5 1 1 0 7 9 ./a", "81a4 5 1 1 0 7 9 ./a/b"] {
            assert_eq!(entry(format!("{mark} {wrong}").as_bytes(), &mark, None), None, "{wrong}");
        }
    }

    #[test]
    fn a_path_that_is_too_long_or_leads_elsewhere_is_one_that_is_not_read() {
        let long = "x/".repeat(PATH_BYTES_MAX);
        let told = format!("./a\0./a/b\nc\0{long}\0./../x\0.\0\0./a//b\0last\0half");
        let some = |it: &str| Some(it.as_bytes().to_vec());
        let wanted = vec![some("a"), some("a/b\nc"), None, None, None, None, None, some("last")];
        let mut paths = Paths::default();
        assert_eq!(paths.feed(told.as_bytes()), wanted);
        let mut paths = Paths::default();
        let by_byte: Vec<_> = told.as_bytes().iter().flat_map(|it| paths.feed(&[*it])).collect();
        assert_eq!(by_byte, wanted);
    }
}
