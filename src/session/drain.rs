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
            EXIT_DRAIN_MAX, EXIT_SILENCE, FLOOD_FILL_BYTES, FLOOD_GATHERED_WITHIN,
            PTY_CHUNK_BYTES_MAX, QUIET_AFTER,
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
    let mut flood = Flood::default();
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
                    let count = match flood.goes_on(count) {
                        true => gather(&mut reader, &mut buffer, count).await,
                        false => count,
                    };
                    shared.take(buffer.get(..count).unwrap_or_default());
                    // Keys, frames and other sessions go first.
                    tokio::task::yield_now().await;
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

/// Whether a program prints more than anybody reads. One large picture is none.
#[derive(Default)]
struct Flood {
    /// When much came last.
    last: Option<Instant>,
}

impl Flood {
    fn goes_on(&mut self, count: usize) -> bool {
        if count < FLOOD_FILL_BYTES {
            self.last = None;
            return false;
        }
        let now = Instant::now();
        let last = self.last.replace(now);
        last.is_some_and(|it| now.saturating_duration_since(it) <= 2 * FLOOD_GATHERED_WITHIN)
    }
}

/// Reads on for a moment, up to the buffer's size: a terminal gives a few kilobytes at a time, and of many lines
/// at once only those are drawn that can be seen in the end.
async fn gather(reader: &mut Reader, buffer: &mut [u8], mut filled: usize) -> usize {
    let until = Instant::now() + FLOOD_GATHERED_WITHIN;
    while let Some(rest) = buffer.get_mut(filled..).filter(|it| !it.is_empty()) {
        match tokio::time::timeout_at(until, fill(reader, rest)).await {
            // The end is told once more.
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    filled
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_picture_is_no_flood() {
        let mut flood = Flood::default();
        assert!(!flood.goes_on(FLOOD_FILL_BYTES));
        assert!(!flood.goes_on(10));
        assert!(!flood.goes_on(PTY_CHUNK_BYTES_MAX));
    }

    #[test]
    fn what_is_gathered_is_all_there_is_up_to_one_chunk() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut buffer = vec![0; 10];
            let mut endless: Reader = Box::new(tokio::io::repeat(7));
            assert_eq!(gather(&mut endless, &mut buffer, 4).await, 10);
            assert_eq!(buffer, [0, 0, 0, 0, 7, 7, 7, 7, 7, 7]);
            let mut short: Reader = Box::new(&b"abc"[..]);
            assert_eq!(gather(&mut short, &mut buffer, 4).await, 7);
            assert_eq!(&buffer[4..7], b"abc");
        });
    }
}
