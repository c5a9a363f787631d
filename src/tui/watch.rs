//! Tells when a file of the configuration changed, once per burst.

use std::{path::Path, time::Duration};

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::base::{
    clock,
    fault::{Fault, Outcome},
};

/// Editors write in several steps; this long after the last one the file is whole.
const QUIET: Duration = Duration::from_millis(60);

/// A watch that lasts as long as it is held.
pub struct Watch {
    _watcher: notify::RecommendedWatcher,
    changes: mpsc::Receiver<()>,
    /// When the burst that was seen is over, if no more of it comes.
    due: Option<Duration>,
}

impl Watch {
    /// Watches a directory and everything in it; makes it if need be, so that a first file is seen.
    pub fn directory(path: &Path) -> Outcome<Self> {
        let failed = |error: notify::Error| {
            Fault::failed(format!("watch {}: {error}", path.display()))
                .hint("changed files are read at the next start")
        };
        std::fs::create_dir_all(path)
            .map_err(|error| Fault::io(format_args!("make {}", path.display()), &error))?;
        let (sender, changes) = mpsc::channel(1);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let changed =
                    event.is_ok_and(|it| !matches!(it.kind, notify::EventKind::Access(_)));
                if changed {
                    // Full means that a change is already known.
                    let _ = sender.try_send(());
                }
            })
            .map_err(failed)?;
        watcher.watch(path, RecursiveMode::Recursive).map_err(failed)?;
        Ok(Self { _watcher: watcher, changes, due: None })
    }

    /// Resolves after a burst of changes; never when nothing can be watched any more. What was seen
    /// is kept when this is dropped and asked again.
    pub async fn changed(&mut self) {
        loop {
            let seen = match self.due {
                None => self.changes.recv().await,
                Some(due) => {
                    let left = due.saturating_sub(clock::monotonic());
                    let Ok(seen) = tokio::time::timeout(left, self.changes.recv()).await else {
                        self.due = None;
                        return;
                    };
                    seen
                }
            };
            if seen.is_none() {
                return std::future::pending().await;
            }
            self.due = Some(clock::monotonic() + QUIET);
        }
    }
}
