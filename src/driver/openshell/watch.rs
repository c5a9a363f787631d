//! What happens in one sandbox: a stream that is taken up again whenever it ends, at the place where it ended; and its
//! drafts, fetched whenever something is told, and now and then.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    generated::v1::{self, sandbox_stream_event::Payload},
    log,
    remote::{Phase, Remote},
};
use crate::base::{
    clock,
    fault::{Fault, Kind, Outcome},
    id::random_bytes,
    limits::{
        GATEWAY_ANSWER_WITHIN, GATEWAY_DRAFTS_EVERY, GATEWAY_DRAFTS_PAUSE, GATEWAY_LOG_KNOWN_MAX,
        GATEWAY_LOG_LINES, GATEWAY_LOG_LINES_AFTER_GAP, RETRY_AFTER_MAX, RETRY_AFTER_MIN,
    },
};

/// How far the clock of a gateway may be ahead of ours.
const AHEAD_MS: i64 = 60_000;

/// Which lines of the log were taken: all before a moment, and some of it.
#[derive(Debug, Default)]
pub struct Taken {
    newest_ms: i64,
    known: HashSet<u64>,
}

impl Taken {
    /// Whether a line is news; it counts as taken from now on.
    fn is_news(&mut self, line: &v1::SandboxLogLine) -> bool {
        use std::hash::{DefaultHasher, Hash, Hasher};
        // A line from the far future must not make all that come after it old.
        let at = line.timestamp_ms.min(clock::wall().0.saturating_add(AHEAD_MS));
        if at < self.newest_ms {
            return false;
        }
        if at > self.newest_ms {
            self.newest_ms = at;
            self.known.clear();
        }
        let mut hash = DefaultHasher::new();
        (&line.source, &line.level, &line.target, &line.message).hash(&mut hash);
        let fields: std::collections::BTreeMap<_, _> = line.fields.iter().collect();
        fields.hash(&mut hash);
        let hash = hash.finish();
        if self.known.contains(&hash) {
            return false;
        }
        if self.known.len() < GATEWAY_LOG_KNOWN_MAX {
            self.known.insert(hash);
        }
        true
    }
}

/// Follows it for as long as the task runs.
pub async fn follow(remote: Arc<Remote>) {
    let mut taken = Taken::default();
    let mut begun = false;
    let mut pause = RETRY_AFTER_MIN;
    loop {
        // Of one that is stopped the list tells when it no longer is.
        remote.until(|seen| seen.phase != Phase::Stopped).await;
        let fault = match listen(&remote, &mut taken, &mut begun, &mut pause).await {
            Ok(()) => Fault::lost("its stream ended"),
            Err(fault) => fault,
        };
        // Who reads too slowly for a moment is told so, and goes on where it was.
        let slow = fault.kind() == Kind::Busy;
        if begun && slow {
            remote.log.say("the gateway hung up on a reader too slow; taken up again");
        }
        remote.differs(|seen| {
            let why = (!slow).then(|| format!("what happens in it is not told just now: {fault}"));
            std::mem::replace(&mut seen.untold, why.clone()) != why
        });
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(RETRY_AFTER_MAX);
    }
}

/// Many that were cut off at once do not come back at once.
pub fn jittered(pause: Duration) -> Duration {
    let [byte] = random_bytes::<1>();
    pause.mul_f64(0.5 + f64::from(byte) / 256.0)
}

async fn listen(
    remote: &Remote,
    taken: &mut Taken,
    begun: &mut bool,
    pause: &mut Duration,
) -> Outcome<()> {
    let client = &remote.client;
    let request = client.request(v1::WatchSandboxRequest {
        id: remote.id.clone(),
        follow_status: true,
        follow_logs: true,
        follow_events: true,
        // Never 0, which is 200 there.
        log_tail_lines: if *begun { GATEWAY_LOG_LINES_AFTER_GAP } else { GATEWAY_LOG_LINES },
        log_since_ms: if *begun { taken.newest_ms } else { 0 },
        ..v1::WatchSandboxRequest::default()
    })?;
    let mut calls = client.news(&remote.id);
    let mut stream = client.answer("watching it", calls.watch_sandbox(request)).await?;
    let mut first = true;
    loop {
        let next = stream.message();
        let next = match first {
            // How it is, always.
            true => timeout(GATEWAY_ANSWER_WITHIN, next).await.map_err(|_| {
                Fault::late(format!("the gateway {} does not say how it is", client.at.name))
            })?,
            false => next.await,
        };
        let Some(event) = next.map_err(|status| client.fault(&status))? else { return Ok(()) };
        if std::mem::take(&mut first) {
            (*begun, *pause) = (true, RETRY_AFTER_MIN);
            remote.differs(|seen| seen.untold.take().is_some());
        }
        take(remote, taken, event);
    }
}

fn take(remote: &Remote, taken: &mut Taken, event: v1::SandboxStreamEvent) {
    match event.payload {
        Some(Payload::Sandbox(told)) => {
            // A name that was given again is another sandbox; its stream is by the id, and this one's.
            if told.metadata.as_ref().is_some_and(|it| it.id == remote.id) {
                remote.take(&told);
            }
            remote.drafts_wanted.notify_one();
        }
        Some(Payload::Log(line)) if taken.is_news(&line) => remote.log.add(log::line(&line)),
        Some(Payload::Event(event)) => remote.log.add(log::event(&event)),
        Some(Payload::Warning(warning)) => remote.log.add(log::warning(&warning)),
        Some(Payload::DraftPolicyUpdate(_)) => remote.drafts_wanted.notify_one(),
        // What was there before, and what is of a newer gateway.
        Some(Payload::Log(_)) | None => {}
    }
}

/// Keeps its drafts as its gateway has them.
pub async fn keep_drafts(remote: Arc<Remote>) {
    loop {
        let fetched = remote.drafts.fetch(&remote).await;
        let missing = fetched.as_ref().err().map(ToString::to_string);
        if remote.drafts.untold(missing) {
            remote.changed();
        }
        let again = match fetched {
            Ok(()) if remote.seen().phase == Phase::Stopped => 10 * GATEWAY_DRAFTS_EVERY,
            Ok(()) => GATEWAY_DRAFTS_EVERY,
            Err(_) => RETRY_AFTER_MAX,
        };
        // What rang meanwhile is not lost.
        drop(timeout(jittered(again), remote.drafts_wanted.notified()).await);
        sleep(GATEWAY_DRAFTS_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ms: i64, message: &str) -> v1::SandboxLogLine {
        let message = message.to_owned();
        v1::SandboxLogLine { timestamp_ms: ms, message, ..v1::SandboxLogLine::default() }
    }

    #[test]
    fn what_is_told_once_more_after_a_gap_is_known() {
        let mut taken = Taken::default();
        let first = [line(1, "a"), line(2, "b"), line(2, "c")];
        assert!(first.iter().all(|it| taken.is_news(it)));
        // All of it again, and one more of the same moment.
        let again = [line(1, "a"), line(2, "b"), line(2, "c"), line(2, "d"), line(3, "b")];
        let news: Vec<bool> = again.iter().map(|it| taken.is_news(it)).collect();
        assert_eq!(news, [false, false, false, true, true]);
        for number in 0..2 * GATEWAY_LOG_KNOWN_MAX {
            assert!(taken.is_news(&line(4, &number.to_string())));
        }
        assert!(taken.known.len() <= GATEWAY_LOG_KNOWN_MAX);
    }

    #[test]
    fn pauses_differ_and_are_never_long() {
        for _ in 0..100 {
            let it = jittered(RETRY_AFTER_MAX);
            assert!(it >= RETRY_AFTER_MAX / 2 && it <= RETRY_AFTER_MAX * 3 / 2, "{it:?}");
        }
    }
}
