//! `explain --syscalls`: what one process of a session calls, line by line, for a while.

use serde::Serialize;
use tokio_stream::StreamExt;

use super::{args::ExplainArgs, out};
use crate::{
    base::{
        clock::Zone,
        fault::{Fault, Outcome},
        limits::SYSCALLS_WATCHED_MAX,
        text::{count, visible},
        units::{exact_duration, human_duration},
    },
    model::{
        status::Explained,
        syscall::{Syscall, SyscallPart},
    },
    runtime::Runtime,
};

/// Looks at this process, else at the one that leads.
pub async fn show(
    runtime: &dyn Runtime,
    told: &Explained,
    name: &str,
    pid: Option<u32>,
    args: &ExplainArgs,
) -> Outcome<out::Code> {
    let unseen = || {
        let why = told.processes.notes.first().cloned();
        Fault::unsupported(why.unwrap_or_else(|| format!("none of its processes is seen: {name}")))
    };
    let pid = match pid {
        Some(pid) => pid,
        None => told.processes.leading().ok_or_else(unseen)?.pid,
    };
    if args.look_for > SYSCALLS_WATCHED_MAX {
        let most = exact_duration(SYSCALLS_WATCHED_MAX);
        return Err(Fault::invalid(format!("a process is looked at for {most} at most"))
            .hint(format!("--for {most}, and again")));
    }
    let mut parts = runtime.syscalls(&told.session, pid).await?;
    if !args.json {
        let time = human_duration(args.look_for);
        let name = visible(name);
        out::tell(&format!("process {pid} of {name}, for {time}: it is slower meanwhile"));
    }
    let mut shown = Shown { zone: Zone::here(), json: args.json, last: SyscallPart::default() };
    let mut end = std::pin::pin!(tokio::time::sleep(args.look_for));
    loop {
        let part = tokio::select! {
            part = parts.next() => part,
            () = &mut end => None,
        };
        let Some(part) = part.transpose()? else { break };
        shown.take(part)?;
        if shown.last.over.is_some() {
            break;
        }
    }
    // It is let go before anybody reads the rest.
    drop(parts);
    shown.end()?;
    Ok(out::DONE)
}

struct Shown {
    zone: Zone,
    json: bool,
    /// What came last, with the counts of all.
    last: SyscallPart,
}

impl Shown {
    fn take(&mut self, part: SyscallPart) -> Outcome<()> {
        for it in &part.done {
            self.call(it)?;
        }
        let (made, left_out) = (self.last.made + part.made, self.last.left_out + part.left_out);
        self.last = SyscallPart { done: Vec::new(), made, left_out, ..part };
        Ok(())
    }

    fn call(&self, it: &Syscall) -> Outcome<()> {
        if self.json {
            return out::json_line(&CallView::from(it));
        }
        let (time, words) = (self.zone.time(it.at), visible(&it.words()));
        let (ms, thread) = (it.at.0.rem_euclid(1000), it.thread);
        let end = match &it.end {
            Some(end) => format!("{}  <{:.6}>", visible(&end.words()), end.took.as_secs_f64()),
            None => "it is in it".to_owned(),
        };
        out::print(&format!("{time}.{ms:03} {thread:>7} {words} = {end}\n"))
    }

    /// What its threads are in, and how much of all was shown.
    fn end(&self) -> Outcome<()> {
        for it in &self.last.waits {
            self.call(it)?;
        }
        let SyscallPart { made, left_out, unseen_threads, over, .. } = &self.last;
        if self.json {
            let (over, made, left_out) = (over.as_deref(), *made, *left_out);
            return out::json_line(&EndView {
                over,
                made,
                left_out,
                unseen_threads: *unseen_threads,
            });
        }
        let more = match left_out {
            0 => String::new(),
            many => format!(", {many} of them too fast to be shown"),
        };
        out::tell(&format!("{}{more}", count(*made, "call")));
        if *unseen_threads > 0 {
            out::tell(&format!("{} not looked at", count(*unseen_threads, "more thread")));
        }
        if let Some(why) = over {
            out::tell(&visible(why));
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct CallView<'a> {
    at: String,
    thread: u32,
    call: &'a str,
    args: &'a str,
    /// `null` = the thread is in it.
    result: Option<i64>,
    error: Option<&'a str>,
    took_us: Option<u64>,
}

/// The last line.
#[derive(Serialize)]
struct EndView<'a> {
    made: u64,
    left_out: u64,
    unseen_threads: u32,
    over: Option<&'a str>,
}

impl<'a> From<&'a Syscall> for CallView<'a> {
    fn from(it: &'a Syscall) -> Self {
        let end = it.end.as_ref();
        let micros = |it: std::time::Duration| u64::try_from(it.as_micros()).unwrap_or(u64::MAX);
        Self {
            at: it.at.rfc3339(),
            thread: it.thread,
            call: &it.name,
            args: &it.args,
            result: end.map(|it| it.value),
            error: end.and_then(|it| it.error.as_deref()),
            took_us: end.map(|it| micros(it.took)),
        }
    }
}
