//! Log files: one per kind of process, bounded, never the terminal. SANDWATCH_LOG sets the level.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::LOG_BYTES_MAX,
        text,
    },
    config::{environment::Variable, paths::Paths},
};

const LEVEL_NAME: &str = "SANDWATCH_LOG";
const LEVEL: &str = "info";

/// Starts logging to `logs/NAME.log`. A place that can't be written is no reason not to run: the
/// verb itself will say so if it needs the place.
pub fn start(paths: &Paths, name: &str) -> Outcome<()> {
    let wanted = Variable::Log.text().unwrap_or_else(|| LEVEL.to_owned());
    let filter = EnvFilter::builder().parse(&wanted).map_err(|_| {
        Fault::invalid(format!("not a log level in {LEVEL_NAME}: {}", text::visible(&wanted)))
            .hint("it takes error, warn, info, debug or trace")
    })?;
    if paths.prepare().is_err() {
        return Ok(());
    }
    let Ok(file) = LogFile::open(paths.logs().join(format!("{name}.log"))) else { return Ok(()) };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        // A line that can't be written (a full disk) is not worth one on stderr, which may be as full.
        .log_internal_errors(false)
        .with_writer(Log(Mutex::new(file)))
        .finish();
    // Set once per process; a second call could only come from a test.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

struct Log(Mutex<LogFile>);

struct Line<'a>(std::sync::MutexGuard<'a, LogFile>);

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is renamed to `.old` when it is full. Several processes may append to it; each looks
/// at the real size.
struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self { path, file })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.metadata()?.len() + bytes.len() as u64 > LOG_BYTES_MAX {
            std::fs::rename(&self.path, self.path.with_extension("log.old"))?;
            self.file = open(&self.path)?;
        }
        self.file.write_all(bytes)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_put_aside_and_the_two_stay_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut log = LogFile::open(path.clone()).unwrap();
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..11 {
            log.append(&piece).unwrap();
        }
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert!(size(&path) <= LOG_BYTES_MAX);
        assert!(size(&path.with_extension("log.old")) <= LOG_BYTES_MAX);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
