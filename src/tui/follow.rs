//! A session's output from one place on, across hubs that die and come back: after a lost link it
//! goes on at the byte where it stopped.

use std::{sync::Arc, time::Duration};

use tokio_stream::StreamExt;

use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        id::SessionId,
        limits::FOLLOW_RETRIES_MAX,
    },
    model::output::{From, Output, OutputRequest},
    runtime::{BoxStream, Runtime},
};

const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A subscription that mends itself.
pub struct Follow {
    runtime: Arc<dyn Runtime>,
    session: SessionId,
    request: OutputRequest,
    stream: Option<BoxStream<Outcome<Output>>>,
    failures: u32,
    exited: bool,
}

impl Follow {
    pub fn new(runtime: Arc<dyn Runtime>, session: SessionId, request: OutputRequest) -> Self {
        Self { runtime, session, request, stream: None, failures: 0, exited: false }
    }

    /// The next message; `None` after the program's exit was told.
    pub async fn next(&mut self) -> Outcome<Option<Output>> {
        while !self.exited {
            let failed = match self.step().await {
                Ok(output) => {
                    self.failures = 0;
                    self.request.from = From::Offset(end_of(&output));
                    self.exited = matches!(output, Output::Exit { .. });
                    return Ok(Some(output));
                }
                Err(fault) => fault,
            };
            self.stream = None;
            self.failures += 1;
            if failed.kind() != Kind::Lost || self.failures > FOLLOW_RETRIES_MAX {
                return Err(failed);
            }
            tracing::info!(fault = %failed, failures = self.failures, "output lost, asking again");
            tokio::time::sleep(RETRY_AFTER).await;
        }
        Ok(None)
    }

    async fn step(&mut self) -> Outcome<Output> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(self.runtime.output(&self.session, self.request).await?),
        };
        // A stream that ends before the program does is a link that broke politely.
        let cut = || Err(Fault::lost(format!("the output of {} stopped", self.session)));
        stream.next().await.unwrap_or_else(cut)
    }
}

/// The offset of the byte that follows.
fn end_of(output: &Output) -> u64 {
    match output {
        Output::Chunk { offset, bytes } => offset + bytes.len() as u64,
        Output::Keyframe { offset, .. }
        | Output::Resize { offset, .. }
        | Output::Fact { offset, .. }
        | Output::Exit { offset, .. } => *offset,
    }
}
