//! The task that reads one PTY for as long as there is anything to read, and sees the program end.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::host::Shared;
use crate::{
    base::{
        clock,
        limits::{
            EXIT_DRAIN_MAX, EXIT_SILENCE, PARSE_SLICE_BYTES, PTY_CHUNK_BYTES_MAX, QUIET_AFTER,
        },
    },
    model::session::ExitStatus,
};

type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// How far the program has come.
#[derive(Clone, Copy)]
enum Phase {
    Running,
    /// Its output has ended, it has not.
    Mute,
    /// It has ended; what it left in the PTY is still read until then.
    Ended {
        how: Option<ExitStatus>,
        until: Instant,
    },
}

/// Runs until the program has ended and its output is read.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut reader: Reader,
    mut exit: oneshot::Receiver<ExitStatus>,
) {
    let fallen = Fallen(&shared);
    let mut buffer = vec![0; PTY_CHUNK_BYTES_MAX];
    let mut phase = Phase::Running;
    // Only set while there is something to wait for: an idle session has no timer.
    let mut quiet = Some(Instant::now() + QUIET_AFTER);
    let how = loop {
        let deadline = match &phase {
            Phase::Ended { until, .. } => Some((Instant::now() + EXIT_SILENCE).min(*until)),
            _ => quiet,
        };
        tokio::select! {
            biased;
            count = fill(&mut reader, &mut buffer), if !matches!(phase, Phase::Mute) => match count {
                0 => match phase {
                    Phase::Ended { how, .. } => break how,
                    _ => phase = Phase::Mute,
                },
                count => {
                    for slice in buffer.get(..count).unwrap_or_default().chunks(PARSE_SLICE_BYTES) {
                        shared.take(slice);
                        // Keys, frames and other sessions go first.
                        tokio::task::yield_now().await;
                    }
                    quiet = quiet.or_else(|| Some(Instant::now() + QUIET_AFTER));
                }
            },
            how = &mut exit, if !matches!(phase, Phase::Ended { .. }) => match phase {
                Phase::Mute => break how.ok(),
                _ => phase = Phase::Ended { how: how.ok(), until: Instant::now() + EXIT_DRAIN_MAX },
            },
            () = maybe_sleep(deadline) => match phase {
                Phase::Ended { how, .. } => break how,
                _ => quiet = rest_of_quiet(&shared),
            },
        }
        if let Phase::Ended { how, until } = phase
            && Instant::now() >= until
        {
            break how;
        }
    };
    std::mem::forget(fallen);
    match how {
        Some(ExitStatus::Code(code)) => {
            shared.ended(ExitStatus::Code(code), format!("it returned {code}"));
        }
        Some(ExitStatus::Signal(signal)) => {
            shared.ended(ExitStatus::Signal(signal), format!("signal {signal} ended it"));
        }
        None => shared.ended(ExitStatus::Signal(9), "its sandbox is gone".to_owned()),
    }
}

/// Ends the session when the drain itself falls: it must not look alive with nobody reading.
struct Fallen<'a>(&'a Shared);

impl Drop for Fallen<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "a fault of sandwatch itself ended it; please report";
            self.0.ended(ExitStatus::Signal(9), why.to_owned());
        }
    }
}

/// Calls the session quiet if it is, else gives the time to look again.
fn rest_of_quiet(shared: &Shared) -> Option<Instant> {
    let last = shared.live().last_output.unwrap_or_default();
    let silent = clock::monotonic().saturating_sub(last);
    if silent >= QUIET_AFTER {
        shared.quiet();
        return None;
    }
    // Never below a millisecond: two clocks must not make a busy loop.
    Some(Instant::now() + QUIET_AFTER.saturating_sub(silent).max(Duration::from_millis(1)))
}

async fn maybe_sleep(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Waits for output, then takes all that is there up to the buffer's size; 0 = there will be no
/// more (no process has the other side open, or it can't be read).
async fn fill(reader: &mut Reader, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    poll_fn(|context| {
        loop {
            let mut rest = ReadBuf::new(buffer.get_mut(filled..).unwrap_or_default());
            match Pin::new(&mut *reader).poll_read(context, &mut rest) {
                Poll::Ready(Ok(())) => {
                    let count = rest.filled().len();
                    filled += count;
                    if count == 0 || filled == buffer.len() {
                        return Poll::Ready(filled);
                    }
                }
                Poll::Pending if filled == 0 => return Poll::Pending,
                // EIO is how Linux says that the other side is closed.
                Poll::Pending | Poll::Ready(Err(_)) => return Poll::Ready(filled),
            }
        }
    })
    .await
}
