//! Calls an operator who is away: their own command is run when something has waited for an answer for a while.

use std::{
    collections::HashSet,
    process::Stdio,
    sync::{Arc, Weak},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncWriteExt, process::Command, sync::Notify, task::JoinHandle};

use super::{Inner, turns::Turn};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::AskId,
        limits::{CALL_AFTER_MIN, CALL_EVERY, CALL_WITHIN, LINE_BYTES_MAX, RULES_WITHIN},
        text::{count, shown},
    },
    config::{environment, load, schema::NotifyConfig, source},
    model::event::Level,
};

/// Asks that are named; of the others it is said how many they are.
const NAMED_MAX: usize = 5;

/// Starts it; it ends with the engine, or when it is aborted, and its command with it.
pub(super) fn start(engine: &Arc<Inner>) -> JoinHandle<()> {
    tokio::spawn(watch(Arc::downgrade(engine), engine.asked.clone()))
}

/// Asleep, and while the command runs, it holds no engine.
async fn watch(engine: Weak<Inner>, asked: Arc<Notify>) {
    let (mut calls, mut broken) = (Calls::default(), None);
    loop {
        let next = match engine.upgrade() {
            Some(engine) => engine.next_call(&mut calls).await,
            None => return,
        };
        let (outcome, pause) = match next {
            Ok(Next::Rest) => {
                asked.notified().await;
                // Many may begin at once.
                (Ok(()), CALL_AFTER_MIN)
            }
            Ok(Next::Later(pause)) => (Ok(()), pause),
            Ok(Next::Call(call)) => {
                let outcome = run(&call).await;
                (calls.ended(call, outcome), CALL_EVERY)
            }
            Err(fault) => (Err(fault), CALL_EVERY),
        };
        match (outcome, engine.upgrade()) {
            (Ok(()), _) => broken = None,
            (Err(fault), Some(engine)) => engine.say_once(&mut broken, &fault),
            (Err(_), None) => return,
        }
        tokio::time::sleep(pause).await;
    }
}

/// One that waits.
#[derive(Clone, Debug)]
struct Waits {
    since: Timestamp,
    id: AskId,
    /// What it is, for a person.
    line: String,
}

/// What was called for once is not called for again.
#[derive(Default)]
struct Calls {
    told: HashSet<AskId>,
    /// Of reading the configuration.
    reading: Turn,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nothing waits that was not told of.
    Rest,
    /// To look again then.
    Later(Duration),
    Call(Call),
}

#[derive(Debug, PartialEq, Eq)]
struct Call {
    command: Vec<String>,
    /// All that wait.
    asks: usize,
    words: String,
    /// Those that it tells of for the first time.
    news: Vec<AskId>,
}

impl Calls {
    /// Whether there is none among these that was not told of. What waits no more is forgotten.
    fn all_told(&mut self, waiting: &[Waits]) -> bool {
        let there: HashSet<&AskId> = waiting.iter().map(|it| &it.id).collect();
        self.told.retain(|it| there.contains(it));
        self.told.len() == there.len()
    }

    /// What to do about all that wait, the oldest first.
    fn next(&self, waiting: Vec<Waits>, notify: NotifyConfig, now: Timestamp) -> Next {
        let told = |it: &Waits| self.told.contains(&it.id);
        let (before, mut listed): (Vec<_>, Vec<_>) = waiting.into_iter().partition(told);
        let Some(oldest) = listed.first() else { return Next::Rest };
        // The configuration may say something else by then.
        let left = match notify.command.is_empty() {
            true => CALL_EVERY,
            false => notify.after.saturating_sub(now.since(oldest.since)).min(CALL_EVERY),
        };
        if !left.is_zero() {
            return Next::Later(left);
        }
        let news = listed.iter().map(|it| it.id.clone()).collect();
        listed.extend(before);
        Next::Call(Call {
            command: notify.command,
            asks: listed.len(),
            words: words(&listed),
            news,
        })
    }

    /// What was not told is called for again.
    fn ended(&mut self, call: Call, outcome: Outcome<()>) -> Outcome<()> {
        outcome?;
        self.told.extend(call.news);
        Ok(())
    }
}

impl Inner {
    /// The configuration is read only where something waits that was not told of.
    async fn next_call(&self, calls: &mut Calls) -> Outcome<Next> {
        let waiting = self.waiting();
        if calls.all_told(&waiting) {
            return Ok(Next::Rest);
        }
        let notify = self.notify_config(&calls.reading).await?;
        Ok(calls.next(waiting, notify, clock::wall()))
    }

    /// What waits, the oldest first.
    fn waiting(&self) -> Vec<Waits> {
        let fleet = self.fleet();
        let asks = fleet.entries().flat_map(|it| &it.sandbox.asks).map(|it| {
            let (kind, subject) = (it.asked.request.kind.word(), &it.asked.request.subject);
            let name = shown(&it.sandbox_name, LINE_BYTES_MAX);
            let line = format!("{kind} {name}: {}", shown(subject, LINE_BYTES_MAX));
            Waits { since: it.asked.created_at, id: it.asked.id.clone(), line }
        });
        let mut asks: Vec<Waits> = asks.collect();
        asks.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
        asks
    }

    /// As `config.toml` says now.
    async fn notify_config(&self, turn: &Turn) -> Outcome<NotifyConfig> {
        let file = self.paths.config_file();
        let name = file.display().to_string();
        let read = move || source::read(&file);
        let text = turn.within(RULES_WITHIN, &format!("reading {name}"), read).await?;
        let Some(text) = text else { return Ok(NotifyConfig::default()) };
        let config = load::config(&name, &text);
        let config =
            config.map_err(|it| source::fault(&it).hint("sandwatch config check shows all"))?;
        Ok(config.notify)
    }

    /// A command that fails each time is told of once.
    fn say_once(&self, before: &mut Option<String>, fault: &Fault) {
        let words = format!("calling you by `notify.command`: {fault}");
        if before.as_ref() != Some(&words) {
            self.fleet().notice(Level::Warning, None, &words);
            *before = Some(words);
        }
    }
}

/// What waits, in lines. A program's words are made visible, and are never words of a command line.
fn words(asks: &[Waits]) -> String {
    let verb = if asks.len() == 1 { "waits" } else { "wait" };
    let mut text = format!("{} {verb} for your answer\n", count(asks.len(), "ask"));
    for it in asks.iter().take(NAMED_MAX) {
        text.push_str(&format!("{}\n", it.line));
    }
    if asks.len() > NAMED_MAX {
        text.push_str(&format!("and {} more\n", asks.len() - NAMED_MAX));
    }
    text
}

/// The programs of a call: they end when it is given up, in the middle of it too.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

/// Runs the command to its end. What it leaves behind when it ends by itself is let be.
async fn run(call: &Call) -> Outcome<()> {
    let (program, arguments) =
        call.command.split_first().ok_or_else(|| Fault::bug("no command"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment::for_servers())
        .env("SANDWATCH_ASKS", call.asks.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Fault::io(format!("starting {}", shown(program, LINE_BYTES_MAX)), &error)
        })?;
    // Dropped before the child, which is what its number is held by.
    let mut group = Group(child.id().and_then(|it| Pid::from_raw(it.try_into().ok()?)));
    let done = async {
        if let Some(mut input) = child.stdin.take() {
            // One that does not read is not told, and may do what it does all the same.
            drop(input.write_all(call.words.as_bytes()).await);
        }
        let status = child.wait().await;
        group.0 = None;
        status
    };
    match tokio::time::timeout(CALL_WITHIN, done).await {
        Err(_) => Err(Fault::late(format!("it took longer than {} s", CALL_WITHIN.as_secs()))),
        Ok(Err(error)) => Err(Fault::io("waiting for it", &error)),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Fault::failed(format!("it ended with {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(number: i64) -> Waits {
        let line = format!("exec box: make {number}");
        Waits { since: Timestamp(number * 1000), id: AskId::random(), line }
    }

    fn notify(command: &[&str]) -> NotifyConfig {
        let command = command.iter().map(|it| (*it).to_owned()).collect();
        NotifyConfig { command, after: Duration::from_secs(30), ..NotifyConfig::default() }
    }

    fn call(next: Next) -> Call {
        match next {
            Next::Call(it) => it,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_ask_is_called_for_once_and_all_that_wait_are_counted() {
        let mut calls = Calls::default();
        let at = |seconds: i64| Timestamp(seconds * 1000);
        let mut all = vec![waits(0), waits(20)];
        let next =
            |calls: &Calls, all: &[Waits], now| calls.next(all.to_vec(), notify(&["ring"]), now);
        assert_eq!(next(&calls, &all, at(10)), Next::Later(Duration::from_secs(20)));
        let first = call(next(&calls, &all, at(30)));
        assert_eq!((first.asks, first.news.len()), (2, 2));
        assert!(first.words.starts_with("2 asks wait for your answer\nexec"), "{first:?}");
        assert!(!calls.all_told(&all));
        calls.ended(first, Ok(())).unwrap();
        assert!(calls.all_told(&all));
        assert_eq!(next(&calls, &all, at(1000)), Next::Rest);
        // What is new is named first, and the others are counted.
        all.extend((60..66).map(waits));
        assert!(!calls.all_told(&all));
        assert_eq!(next(&calls, &all, at(70)), Next::Later(Duration::from_secs(20)));
        let second = call(next(&calls, &all, at(90)));
        assert_eq!((second.asks, second.news.len()), (8, 6));
        let lines: Vec<&str> = second.words.lines().collect();
        assert_eq!((lines[0], lines[6]), ("8 asks wait for your answer", "and 3 more"));
        assert!(lines[1..6].iter().zip(&all[2..7]).all(|(line, it)| *line == it.line));
        calls.ended(second, Ok(())).unwrap();
        // One that is over is forgotten, and makes no other one known.
        all.remove(0);
        all.push(waits(100));
        assert!(!calls.all_told(&all));
        assert_eq!(calls.told.len(), 7);
    }

    #[tokio::test]
    async fn all_that_a_command_started_ends_when_it_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! >> {}; wait", file.display());
        let command = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
        let call = Call { command, asks: 1, words: String::new(), news: Vec::new() };
        let mut running = Box::pin(run(&call));
        let pid = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.ends_with('\n') {
                break text.trim().to_owned();
            }
            let turn = tokio::time::timeout(Duration::from_millis(1), &mut running).await;
            assert!(turn.is_err(), "{turn:?}");
        };
        let there = || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state
                .rsplit(')')
                .next()
                .is_some_and(|it| !it.trim().is_empty() && !it.starts_with(" Z"))
        };
        assert!(there());
        drop(running);
        while there() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn what_could_not_be_told_is_called_for_again() {
        let mut calls = Calls::default();
        let (all, now) = (vec![waits(0)], Timestamp(40_000));
        let none = calls.next(all.clone(), notify(&[]), now);
        assert_eq!(none, Next::Later(CALL_EVERY));
        let first = call(calls.next(all.clone(), notify(&["ring"]), now));
        assert!(calls.ended(first, Err(Fault::late("it took longer"))).is_err());
        assert!(!calls.all_told(&all));
        let again = call(calls.next(all.clone(), notify(&["ring"]), now));
        calls.ended(again, Ok(())).unwrap();
        assert!(calls.all_told(&all));
    }
}
