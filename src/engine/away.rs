//! Calls an operator who is away: their own command is run when something has waited for an answer for a while.

use std::{
    collections::HashSet,
    process::Stdio,
    sync::{Arc, Weak},
};

use tokio::{io::AsyncWriteExt, process::Command, sync::Notify};

use super::Inner;
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::AskId,
        limits::{CALL_AFTER_MIN, CALL_EVERY, CALL_WITHIN, LINE_BYTES_MAX},
        text::{count, shown},
    },
    config::{environment, load, schema::NotifyConfig, source},
    model::event::Level,
};

/// Asks that are named; of the others it is said how many they are.
const NAMED_MAX: usize = 5;

/// Starts it; it ends with the engine.
pub(super) fn start(engine: &Arc<Inner>) {
    tokio::spawn(watch(Arc::downgrade(engine), engine.asked.clone()));
}

async fn watch(engine: Weak<Inner>, asked: Arc<Notify>) {
    // What was called for once is not called for again.
    let mut told: HashSet<AskId> = HashSet::new();
    let mut broken = None;
    loop {
        asked.notified().await;
        // Many may begin at once.
        tokio::time::sleep(CALL_AFTER_MIN).await;
        loop {
            let Some(strong) = engine.upgrade() else { return };
            let news = strong.not_told(&mut told);
            let Some(oldest) = news.first().map(|it| it.since) else { break };
            let notify = match strong.notify_config().await {
                Ok(notify) if !notify.command.is_empty() => notify,
                Ok(_) => break,
                Err(fault) => {
                    strong.say_once(&mut broken, &fault);
                    break;
                }
            };
            let left = notify.after.saturating_sub(clock::wall().since(oldest));
            if !left.is_zero() {
                // Asleep it holds no engine.
                drop(strong);
                tokio::time::sleep(left).await;
                continue;
            }
            told.extend(news.iter().map(|it| it.id.clone()));
            match call(&notify.command, news.len(), &words(&news)).await {
                Ok(()) => broken = None,
                Err(fault) => strong.say_once(&mut broken, &fault),
            }
            drop(strong);
            tokio::time::sleep(CALL_EVERY).await;
        }
    }
}

/// One that waits.
struct Waits {
    since: Timestamp,
    id: AskId,
    /// What it is, for a person.
    line: String,
}

impl Inner {
    /// What waits and was not told of, the oldest first.
    fn not_told(&self, told: &mut HashSet<AskId>) -> Vec<Waits> {
        let fleet = self.fleet();
        let asks = || fleet.entries().flat_map(|it| &it.sandbox.asks);
        let all: HashSet<&AskId> = asks().map(|it| &it.asked.id).collect();
        told.retain(|it| all.contains(it));
        let news = asks().filter(|it| !told.contains(&it.asked.id)).map(|it| {
            let (kind, subject) = (it.asked.request.kind.word(), &it.asked.request.subject);
            let name = shown(&it.sandbox_name, LINE_BYTES_MAX);
            let line = format!("{kind} {name}: {}", shown(subject, LINE_BYTES_MAX));
            Waits { since: it.asked.created_at, id: it.asked.id.clone(), line }
        });
        let mut news: Vec<Waits> = news.collect();
        news.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
        news
    }

    /// As `config.toml` says now.
    async fn notify_config(&self) -> Outcome<NotifyConfig> {
        let file = self.paths.config_file();
        self.reading(move || {
            let Some(text) = source::read(&file)? else { return Ok(NotifyConfig::default()) };
            let config = load::config(&file.display().to_string(), &text);
            let config =
                config.map_err(|it| source::fault(&it).hint("sandwatch config check shows all"))?;
            Ok(config.notify)
        })
        .await
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

/// Runs it with these words on its input, to its end.
async fn call(command: &[String], asks: usize, words: &str) -> Outcome<()> {
    let (program, arguments) = command.split_first().ok_or_else(|| Fault::bug("no command"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment::for_servers())
        .env("SANDWATCH_ASKS", asks.to_string())
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
    let done = async {
        if let Some(mut input) = child.stdin.take() {
            // One that does not read is not told, and may do what it does all the same.
            drop(input.write_all(words.as_bytes()).await);
        }
        child.wait().await
    };
    match tokio::time::timeout(CALL_WITHIN, done).await {
        Err(_) => Err(Fault::late(format!("it took longer than {} s", CALL_WITHIN.as_secs()))),
        Ok(Err(error)) => Err(Fault::io("waiting for it", &error)),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Fault::failed(format!("it ended with {status}"))),
    }
}
