//! The shim's log: warnings and worse, in one small file, and the last words of a panic.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::{FAULT_FILE, LOG_FILE};
use crate::base::{clock, limits::SHIM_LOG_BYTES_MAX, text::visible};

/// Takes over `tracing` and panics for this process.
pub fn start(dir: &Path) {
    let log = Log { path: dir.join(LOG_FILE), writing: Mutex::new(()) };
    // Fails only if there is one already, as in a test.
    drop(tracing::subscriber::set_global_default(log));
    let path = dir.join(FAULT_FILE);
    std::panic::set_hook(Box::new(move |panic| {
        let text = visible(&panic.to_string());
        let line = format!("{} {text}\n", clock::wall().rfc3339());
        drop(open(&path, true).and_then(|mut it| it.write_all(line.as_bytes())));
        tracing::error!("panic: {text}");
    }));
}

/// Writes each event as one line. Without state of its own, unlike the usual subscribers.
struct Log {
    path: PathBuf,
    writing: Mutex<()>,
}

fn open(path: &Path, fresh: bool) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .write(true)
        .append(!fresh)
        .truncate(fresh)
        .mode(0o600)
        .open(path)
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.is_event()
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} {}", clock::wall().rfc3339(), event.metadata().level()));
        event.record(&mut line);
        let mut text = visible(&line.0);
        text.push('\n');
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // A full log starts over: the newest lines are the ones that matter.
        let full = std::fs::metadata(&self.path).is_ok_and(|it| it.len() > SHIM_LOG_BYTES_MAX);
        drop(open(&self.path, full).and_then(|mut it| it.write_all(text.as_bytes())));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
