//! Calls for the timeline: what happened, screens of the past, and parts of recordings that become files.

use std::{path::Path, time::Duration};

use tokio::io::AsyncWriteExt;
use tokio_stream::StreamExt;

use super::effects::Runner;
use crate::{
    app::{Act, EffectId, msg::Reply},
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{HUB_ANSWER_WITHIN, TTL_MAX},
    },
    model::replay::Span,
    runtime::Runtime,
};

/// A search looks through up to 32 MiB of output.
const FIND_CALL_WITHIN: Duration = HUB_ANSWER_WITHIN.saturating_mul(2);

impl Runner {
    /// Starts one of them.
    pub(super) fn start_in_time(&mut self, id: EffectId, act: Act) {
        let runtime = self.runtime();
        match act {
            Act::Timeline(request) => self.read(id, HUB_ANSWER_WITHIN, async move {
                runtime.timeline(*request).await.map(|it| Reply::Timeline(Box::new(it)))
            }),
            Act::Replay { session, moment } => self.read(id, HUB_ANSWER_WITHIN, async move {
                runtime.replay(&session, moment).await.map(|it| Reply::Replay(Box::new(it)))
            }),
            Act::FindInTime { session, request } => self.read(id, FIND_CALL_WITHIN, async move {
                runtime.find(&session, request).await.map(|it| Reply::Found(Box::new(it)))
            }),
            Act::Export { session, span, path } => self.read(id, TTL_MAX, async move {
                export(&*runtime, &session, span, &path).await.map(|()| Reply::Nothing)
            }),
            Act::Sign(at) => self.read(id, HUB_ANSWER_WITHIN, async move {
                runtime.sign(Some(at)).await.map(Reply::Sign)
            }),
            _ => {}
        }
    }
}

/// Writes a part of a recording to a file that is not there yet; half of one is taken away again.
async fn export(
    runtime: &dyn Runtime,
    session: &SessionId,
    span: Span,
    path: &Path,
) -> Outcome<()> {
    let failed =
        |error: &std::io::Error| Fault::io(format_args!("write {}", path.display()), error);
    let mut pieces = runtime.export(session, span).await?;
    let mut options = tokio::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).open(path).await;
    let mut file = opened.map_err(|it| failed(&it))?;
    let mut write = async || {
        while let Some(piece) = pieces.next().await {
            file.write_all(&piece?).await.map_err(|it| failed(&it))?;
        }
        file.flush().await.map_err(|it| failed(&it))
    };
    let written = write().await;
    if written.is_err() {
        drop(tokio::fs::remove_file(path).await);
    }
    written
}
