//! The signals a terminal program must answer: end, suspend, continue.

use tokio::signal::unix::{Signal as Source, SignalKind, signal};

use crate::base::fault::{Fault, Outcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End, with the signal's number.
    End(i32),
    Suspend,
    /// Continued, perhaps after a stop that we did not see coming.
    Continue,
}

/// All of them, as one source.
pub struct Signals {
    terminate: Source,
    hang_up: Source,
    interrupt: Source,
    quit: Source,
    suspend: Source,
    proceed: Source,
}

impl Signals {
    pub fn new() -> Outcome<Self> {
        let listen = |number| {
            signal(SignalKind::from_raw(number))
                .map_err(|error| Fault::io(format_args!("listen to signal {number}"), &error))
        };
        Ok(Self {
            terminate: listen(libc::SIGTERM)?,
            hang_up: listen(libc::SIGHUP)?,
            interrupt: listen(libc::SIGINT)?,
            quit: listen(libc::SIGQUIT)?,
            suspend: listen(libc::SIGTSTP)?,
            proceed: listen(libc::SIGCONT)?,
        })
    }

    /// The next one; can be dropped and asked again.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End(libc::SIGTERM),
            _ = self.hang_up.recv() => Signal::End(libc::SIGHUP),
            _ = self.interrupt.recv() => Signal::End(libc::SIGINT),
            _ = self.quit.recv() => Signal::End(libc::SIGQUIT),
            _ = self.suspend.recv() => Signal::Suspend,
            _ = self.proceed.recv() => Signal::Continue,
        }
    }
}
