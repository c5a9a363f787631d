//! The program's side of a fake terminal: it prints, reads, sleeps and can be frozen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
};

use crate::{
    base::{clock, units::Size},
    model::session::ExitStatus,
};

/// Printed at once at most; between two pieces a freeze takes hold.
const PIECE_BYTES: usize = 4096;
const READ_BYTES: usize = 4096;
const SIGHUP: i32 = 1;

/// The program ends here, with this status; what `?` carries out of a script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended(pub ExitStatus);

impl Ended {
    fn hung_up() -> Self {
        Self(ExitStatus::Signal(SIGHUP))
    }
}

pub(super) type Flow<T = ()> = Result<T, Ended>;

/// What a program sees of the world.
pub(super) struct Terminal {
    pub output: Box<dyn AsyncWrite + Send + Unpin>,
    /// `None` on a PTY, where errors go to the output.
    pub errors: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub input: Box<dyn AsyncRead + Send + Unpin>,
    pub size: watch::Receiver<Size>,
    pub frozen: watch::Receiver<bool>,
    /// Read but not yet asked for.
    pub typed: Vec<u8>,
    /// The program waits for input.
    pub reads: Arc<AtomicBool>,
}

impl Terminal {
    pub(super) fn is_tty(&self) -> bool {
        self.errors.is_none()
    }

    pub(super) fn size(&self) -> Size {
        *self.size.borrow()
    }

    /// Waits while the sandbox is paused.
    async fn thawed(&mut self) {
        // The sender lives as long as the place; without it there is nothing left to wait for.
        drop(self.frozen.wait_for(|it| !it).await);
    }

    pub(super) async fn write(&mut self, text: impl AsRef<[u8]>) -> Flow {
        for piece in text.as_ref().chunks(PIECE_BYTES) {
            self.thawed().await;
            self.output.write_all(piece).await.map_err(|_| Ended::hung_up())?;
        }
        self.output.flush().await.map_err(|_| Ended::hung_up())
    }

    /// Prints a line the way a terminal or a pipe wants it.
    pub(super) async fn line(&mut self, text: &str) -> Flow {
        let end = if self.is_tty() { "\r\n" } else { "\n" };
        self.write(format!("{text}{end}")).await
    }

    pub(super) async fn error_line(&mut self, text: &str) -> Flow {
        self.thawed().await;
        match &mut self.errors {
            Some(errors) => {
                errors.write_all(format!("{text}\n").as_bytes()).await.map_err(|_| Ended::hung_up())
            }
            None => self.line(text).await,
        }
    }

    /// Sleeps by a clock that stands still while the sandbox is paused.
    pub(super) async fn sleep(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            self.thawed().await;
            let began = clock::monotonic();
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                _ = self.frozen.changed() => {}
            }
            left = left.saturating_sub(clock::monotonic().saturating_sub(began));
        }
    }

    /// Waits for input and takes what has come; `None` at its end.
    pub(super) async fn read(&mut self) -> Option<Vec<u8>> {
        if self.typed.is_empty() {
            let mut buffer = vec![0; READ_BYTES];
            self.reads.store(true, Ordering::Relaxed);
            let count = self.input.read(&mut buffer).await.unwrap_or(0);
            self.reads.store(false, Ordering::Relaxed);
            buffer.truncate(count);
            self.typed = buffer;
        }
        self.thawed().await;
        (!self.typed.is_empty()).then(|| std::mem::take(&mut self.typed))
    }

    /// Reads a line with echo and a little editing; `None` at the end of input (or control-d).
    pub(super) async fn read_line(&mut self) -> Flow<Option<String>> {
        let mut line = Vec::new();
        loop {
            let Some(bytes) = self.read().await else { return Ok(None) };
            let mut rest = bytes.into_iter();
            while let Some(byte) = rest.next() {
                match byte {
                    b'\r' | b'\n' => {
                        self.typed = rest.collect();
                        if self.is_tty() {
                            self.write("\r\n").await?;
                        }
                        return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
                    }
                    4 if line.is_empty() => return Ok(None),
                    3 => {
                        line.clear();
                        self.write("^C\r\n").await?;
                        return Ok(Some(String::new()));
                    }
                    8 | 127 => {
                        if line.pop().is_some() {
                            self.write("\x08 \x08").await?;
                        }
                    }
                    byte => {
                        line.push(byte);
                        if self.is_tty() {
                            self.write([byte]).await?;
                        }
                    }
                }
            }
        }
    }
}
