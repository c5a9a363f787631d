//! The system calls of one process as rows of a list, the newest below: what ended is kept up to a bound, and what its
//! threads are in stands behind it.

use std::{collections::VecDeque, time::Duration};

use super::{
    ask::Tone,
    records::{Record, What},
};
use crate::{
    base::{
        clock::{Timestamp, Zone},
        fault::Outcome,
        limits::CONSOLE_SYSCALLS_MAX,
        text::{count, visible},
    },
    model::syscall::{Syscall, SyscallPart},
};

/// What is known of a process that is looked at.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Calls that ended, each with its number.
    done: VecDeque<(u64, Syscall)>,
    waits: Vec<Syscall>,
    made: u64,
    left_out: u64,
    unseen_threads: u32,
    /// Why nothing follows.
    pub(super) over: Option<String>,
}

impl Log {
    pub(super) fn take(&mut self, part: Outcome<Box<SyscallPart>>) {
        let part = match part {
            Ok(part) => *part,
            Err(fault) => {
                let hint = fault.hint_text().map(|it| format!(": {it}")).unwrap_or_default();
                self.over = Some(format!("{}{hint}", fault.message()));
                self.waits.clear();
                return;
            }
        };
        let first = self.made + part.left_out;
        self.made += part.made;
        self.left_out += part.left_out;
        self.done.extend(part.done.into_iter().zip(first..).map(|(it, number)| (number, it)));
        let more = self.done.len().saturating_sub(CONSOLE_SYSCALLS_MAX);
        self.done.drain(..more);
        (self.waits, self.unseen_threads, self.over) = (part.waits, part.unseen_threads, part.over);
    }

    /// `name` is what it is called, with its number.
    pub(super) fn records(&self, name: &str, zone: &Zone) -> (Vec<Record>, Vec<(String, Tone)>) {
        let done = self.done.iter().map(|(number, it)| record(it, What::Syscall(*number), zone));
        let waits = self.waits.iter().map(|it| record(it, What::InSyscall(it.thread), zone));
        (done.chain(waits).collect(), self.head(name))
    }

    fn head(&self, name: &str) -> Vec<(String, Tone)> {
        let mut head = vec![match &self.over {
            Some(why) => (format!("{name}: over: {}", visible(why)), Tone::Warning),
            None => (format!("{name}: it is slower while this is open"), Tone::Dim),
        }];
        if self.left_out > 0 {
            let (made, left_out) = (count(self.made, "call"), self.left_out);
            let words = format!("{made}, {left_out} of them too fast to be shown");
            head.push((words, Tone::Warning));
        }
        if self.unseen_threads > 0 {
            let words = format!("{} not looked at", count(self.unseen_threads, "more thread"));
            head.push((words, Tone::Warning));
        }
        head
    }
}

/// A time of day with its thousandths.
fn exact(at: Timestamp, zone: &Zone) -> String {
    format!("{}.{:03}", zone.time(at), at.0.rem_euclid(1000))
}

/// A time that is short as a rule, in the unit that fits.
fn short(time: Duration) -> String {
    match time.as_micros() {
        it @ 0..1000 => format!("{it} µs"),
        it @ 1000..1_000_000 => format!("{} ms", it / 1000),
        it => format!("{}.{} s", it / 1_000_000, it % 1_000_000 / 100_000),
    }
}

fn record(it: &Syscall, of: What, zone: &Zone) -> Record {
    let (result, took, tone) = match &it.end {
        Some(end) => {
            let tone = if end.error.is_some() { Tone::Warning } else { Tone::Plain };
            (visible(&end.words()), short(end.took), tone)
        }
        None => ("…".to_owned(), "…".to_owned(), Tone::Good),
    };
    let (at, words) = (exact(it.at, zone), visible(&it.words()));
    let details = vec![
        ("call", words.clone(), Tone::Subject),
        ("result", if it.end.is_some() { result.clone() } else { "it is in it".to_owned() }, tone),
        ("took", took.clone(), Tone::Plain),
        ("began", at.clone(), Tone::Plain),
        ("thread", format!("{} on the host", it.thread), Tone::Plain),
    ];
    Record {
        cells: vec![
            (at, Tone::Dim),
            (it.thread.to_string(), Tone::Dim),
            (took, Tone::Dim),
            (result, tone),
            (words, tone),
        ],
        details,
        of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::fault::Fault, model::syscall::SyscallEnd};

    fn call(name: &str, ended: bool) -> Syscall {
        let end = SyscallEnd { value: 0, error: None, took: Duration::from_millis(3) };
        Syscall {
            thread: 7,
            at: Timestamp(0),
            name: name.to_owned(),
            args: String::new(),
            end: ended.then_some(end),
        }
    }

    fn part(many: usize, left_out: u64) -> SyscallPart {
        SyscallPart {
            done: vec![call("read", true); many],
            waits: vec![call("poll", false)],
            made: many as u64 + left_out,
            left_out,
            ..SyscallPart::default()
        }
    }

    #[test]
    fn a_time_has_the_unit_that_fits() {
        for (micros, words) in [(7, "7 µs"), (2900, "2 ms"), (1_250_000, "1.2 s")] {
            assert_eq!(short(Duration::from_micros(micros)), words);
        }
    }

    #[test]
    fn what_came_is_kept_up_to_a_bound_each_by_a_number_of_its_own() {
        let mut log = Log::default();
        for _ in 0..10 {
            log.take(Ok(Box::new(part(250, 50))));
        }
        let (rows, head) = log.records("sh (pid 7)", &Zone::here());
        assert_eq!(rows.len(), CONSOLE_SYSCALLS_MAX + 1);
        assert_eq!(rows.last().unwrap().of, What::InSyscall(7));
        for (one, next) in rows.iter().zip(rows.iter().skip(1)) {
            assert_ne!(one.of, next.of);
        }
        assert!(head[1].0.starts_with("3000 calls, 500 of them"), "{head:?}");
        log.take(Err(Fault::denied("not here").hint("ask root")));
        let (rows, head) = log.records("sh (pid 7)", &Zone::here());
        assert_eq!(rows.len(), CONSOLE_SYSCALLS_MAX);
        assert_eq!(head[0].0, "sh (pid 7): over: not here: ask root");
    }
}
