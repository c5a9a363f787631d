//! The log of one sandbox as lines, kept for whoever looks and told to those who do; and a program that prints them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    sync::{Notify, oneshot},
};

use super::{
    generated::v1,
    remote::{Phase, Remote},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        limits::{
            GATEWAY_LABEL_BYTES_MAX, GATEWAY_LOG_BYTES_MAX, GATEWAY_LOG_FIELDS_MAX,
            GATEWAY_LOG_LINE_BYTES_MAX, GATEWAY_LOG_QUEUED_MAX, PTY_CHUNK_BYTES_MAX,
        },
        text::shown,
    },
    driver::{Program, PtyIo, TerminalUse},
    model::session::ExitStatus,
};

/// The newest lines.
#[derive(Default)]
pub struct Log {
    state: Mutex<Lines>,
    woken: Notify,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<Arc<str>>,
    /// Of all of them.
    bytes: usize,
    /// The number of the oldest of them.
    first: u64,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, line: String) {
        let mut lines = self.lock();
        lines.bytes += line.len();
        lines.kept.push_back(line.into());
        while lines.kept.len() > GATEWAY_LOG_QUEUED_MAX || lines.bytes > GATEWAY_LOG_BYTES_MAX {
            let Some(oldest) = lines.kept.pop_front() else { break };
            lines.bytes -= oldest.len();
            lines.first += 1;
        }
        drop(lines);
        self.woken.notify_waiters();
    }

    /// A word of ours.
    pub fn say(&self, words: &str) {
        self.add(format!("{} sandwatch: {words}", clock::wall().rfc3339()));
    }

    /// The next line for who has all before `number`, how many were left out before it, and what comes after.
    async fn next(&self, number: u64) -> (u64, Arc<str>, u64) {
        loop {
            let woken = self.woken.notified();
            let mut woken = std::pin::pin!(woken);
            woken.as_mut().enable();
            {
                let lines = self.lock();
                let at = number.max(lines.first);
                let index = usize::try_from(at - lines.first).unwrap_or(usize::MAX);
                if let Some(line) = lines.kept.get(index) {
                    return (at - number, Arc::clone(line), at + 1);
                }
            }
            woken.await;
        }
    }
}

/// A line as it is shown: all of it made visible, and bounded.
pub fn line(told: &v1::SandboxLogLine) -> String {
    let word = |it: &str| shown(it, GATEWAY_LABEL_BYTES_MAX);
    let mut out = format!(
        "{} {} {} {}: {}",
        moment(told.timestamp_ms),
        word(&told.level),
        word(&told.source),
        word(&told.target),
        shown(&told.message, GATEWAY_LOG_LINE_BYTES_MAX)
    );
    let mut fields: Vec<_> = told.fields.iter().collect();
    fields.sort();
    let more = fields.len().saturating_sub(GATEWAY_LOG_FIELDS_MAX);
    for (key, value) in fields.into_iter().take(GATEWAY_LOG_FIELDS_MAX) {
        out.push_str(&format!(" {}={}", word(key), shown(value, 4 * GATEWAY_LABEL_BYTES_MAX)));
    }
    if more > 0 {
        out.push_str(&format!(" (+{more} fields)"));
    }
    shown(&out, 2 * GATEWAY_LOG_LINE_BYTES_MAX)
}

pub fn event(told: &v1::PlatformEvent) -> String {
    let word = |it: &str| shown(it, GATEWAY_LABEL_BYTES_MAX);
    format!(
        "{} {} {} {}: {}",
        moment(told.timestamp_ms),
        word(&told.r#type),
        word(&told.source),
        word(&told.reason),
        shown(&told.message, GATEWAY_LOG_LINE_BYTES_MAX)
    )
}

pub fn warning(told: &v1::SandboxStreamWarning) -> String {
    let words = shown(&told.message, GATEWAY_LOG_LINE_BYTES_MAX);
    format!("{} warning of the gateway: {words}", clock::wall().rfc3339())
}

fn moment(ms: i64) -> String {
    Timestamp(ms).rfc3339()
}

/// What prints the log for as long as somebody listens and the sandbox is not stopped.
pub fn program(remote: &Arc<Remote>) -> Program<PtyIo> {
    let (reader, output) = duplex(PTY_CHUNK_BYTES_MAX);
    let (report, exit) = oneshot::channel();
    tokio::spawn(print(Arc::clone(remote), output, report));
    let io = PtyIo {
        reader: Box::new(reader),
        // Nobody types into a log; the seat says so before.
        writer: Box::new(tokio::io::sink()),
        resize: Box::new(|_| Ok(())),
        terminal: Box::new(|| TerminalUse { lines: None, read: Some(false) }),
    };
    Program { pid: None, io, exit }
}

async fn print(
    remote: Arc<Remote>,
    mut output: DuplexStream,
    mut report: oneshot::Sender<ExitStatus>,
) {
    let mut changes = remote.changes();
    let starts = remote.seen().starts;
    let mut number = 0;
    loop {
        let over = async {
            loop {
                changes.mark_unchanged();
                let seen = remote.seen();
                if seen.starts != starts || (seen.phase == Phase::Stopped && starts > 0) {
                    return;
                }
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let (left_out, line, next) = tokio::select! {
            biased;
            next = remote.log.next(number) => next,
            () = over => break,
            () = report.closed() => return,
        };
        number = next;
        let mut text = String::new();
        if left_out > 0 {
            text.push_str(&format!("sandwatch: {left_out} lines are left out\r\n"));
        }
        text.push_str(&line);
        text.push_str("\r\n");
        tokio::select! {
            written = output.write_all(text.as_bytes()) => if written.is_err() { return },
            () = report.closed() => return,
        }
    }
    drop(output);
    let _nobody_waits = report.send(ExitStatus::Code(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_can_be_shown_whatever_is_in_it() {
        let evil = "\u{1b}]52;c;x\u{7}\r\n".repeat(1000);
        let fields = (0..100).map(|it| (format!("{it}{evil}"), evil.clone())).collect();
        let told = v1::SandboxLogLine {
            timestamp_ms: i64::MAX,
            level: evil.clone(),
            message: evil,
            fields,
            ..v1::SandboxLogLine::default()
        };
        let line = line(&told);
        assert!(!line.contains(|it: char| it.is_control()), "{line:?}");
        assert!(line.len() <= 2 * GATEWAY_LOG_LINE_BYTES_MAX);
    }

    #[tokio::test]
    async fn who_is_slow_learns_what_was_left_out() {
        let log = Log::default();
        for number in 0..GATEWAY_LOG_QUEUED_MAX + 10 {
            log.add(number.to_string());
        }
        let (left_out, line, next) = log.next(0).await;
        assert_eq!((left_out, &*line, next), (10, "10", 11));
        let (left_out, line, _) = log.next(next).await;
        assert_eq!((left_out, &*line), (0, "11"));
    }
}
