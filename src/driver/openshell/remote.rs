//! One sandbox of a gateway as it was told last, and whoever wants to know when that changes.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{dial::Client, drafts::Drafts, generated::v1, log::Log, tunnel::Ways};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        limits::{
            GATEWAY_COMMAND_BYTES_MAX, GATEWAY_COMMAND_MAX, GATEWAY_LABEL_BYTES_MAX,
            GATEWAY_LABELS_MAX, GATEWAY_WORDS_BYTES_MAX,
        },
        text::shown,
    },
    model::sandbox::State,
};

/// How far a sandbox is, as its gateway says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Provisioning,
    Ready,
    Error,
    Deleting,
    Stopping,
    Stopped,
    Starting,
    /// Unknown there, or one that is not known here.
    Unknown(i32),
}

impl Phase {
    pub fn of(number: i32) -> Self {
        match number {
            1 => Self::Provisioning,
            2 => Self::Ready,
            3 => Self::Error,
            4 => Self::Deleting,
            6 => Self::Stopping,
            7 => Self::Stopped,
            8 => Self::Starting,
            other => Self::Unknown(other),
        }
    }

    pub fn word(self) -> String {
        match self {
            Self::Provisioning => "provisioning".to_owned(),
            Self::Ready => "ready".to_owned(),
            Self::Error => "error".to_owned(),
            Self::Deleting => "deleting".to_owned(),
            Self::Stopping => "stopping".to_owned(),
            Self::Stopped => "stopped".to_owned(),
            Self::Starting => "starting".to_owned(),
            Self::Unknown(0 | 5) => "unknown".to_owned(),
            Self::Unknown(other) => format!("phase {other}"),
        }
    }

    pub fn state(self) -> State {
        match self {
            Self::Provisioning | Self::Starting => State::Creating,
            Self::Ready | Self::Stopping | Self::Deleting => State::Running,
            Self::Error => State::Failed,
            Self::Stopped => State::Stopped,
            Self::Unknown(_) => State::Unknown,
        }
    }
}

/// What is known of it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub phase: Phase,
    /// Which start of its main program; empty where that is not told.
    pub instance: String,
    pub exit_code: Option<i32>,
    pub policy_version: u32,
    /// What the gateway says of how it is, in its words.
    pub conditions: Vec<String>,
    /// Why the gateway can't be asked.
    pub unheard: Option<String>,
    /// Why what happens in it is not told.
    pub untold: Option<String>,
    /// How often it began to run: each time has programs of its own.
    pub starts: u32,
    /// What is the matter with its main terminal.
    pub terminal: Option<String>,
    /// When its gateway agreed to delete it for us, by `clock::monotonic`.
    pub deleted_at: Option<Duration>,
}

/// One sandbox.
pub struct Remote {
    pub client: Arc<Client>,
    pub ways: Ways,
    /// As its gateway knows it.
    pub id: String,
    pub name: String,
    pub workspace: String,
    pub command: Vec<String>,
    seen: Mutex<Seen>,
    /// Bumped with each change.
    changes: watch::Sender<u64>,
    pub drafts: Drafts,
    /// Rung when they may be others.
    pub drafts_wanted: Notify,
    pub log: Log,
    /// One main terminal is carried at a time.
    pub attached: Arc<tokio::sync::Semaphore>,
}

impl Remote {
    pub fn new(
        client: Arc<Client>,
        ways: Ways,
        attached: Arc<tokio::sync::Semaphore>,
        told: &v1::Sandbox,
    ) -> Self {
        let meta = told.metadata.clone().unwrap_or_default();
        let seen = Seen {
            phase: Phase::Unknown(0),
            instance: String::new(),
            exit_code: None,
            policy_version: 0,
            conditions: Vec::new(),
            unheard: None,
            untold: None,
            starts: 0,
            terminal: None,
            deleted_at: None,
        };
        let remote = Self {
            client,
            ways,
            id: meta.id,
            name: meta.name,
            workspace: meta.workspace,
            command: command(told),
            seen: Mutex::new(seen),
            changes: watch::Sender::new(0),
            drafts: Drafts::default(),
            drafts_wanted: Notify::new(),
            log: Log::default(),
            attached,
        };
        remote.take(told);
        remote
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Somebody who shows it should look again.
    pub fn changed(&self) {
        self.changes.send_modify(|it| *it = it.wrapping_add(1));
    }

    /// Waits until it is so far.
    pub async fn until(&self, there: impl Fn(&Seen) -> bool) {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            if there(&self.seen()) {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Changes what is known, and tells it if that is so.
    pub fn differs(&self, by: impl FnOnce(&mut Seen) -> bool) {
        if by(&mut self.lock()) {
            self.changed();
        }
    }

    /// Its gateway agreed to delete it.
    pub fn deleted(&self) {
        self.lock().deleted_at = Some(clock::monotonic());
    }

    /// Whether a list that was asked for then may not know yet that it is deleted.
    pub fn deleted_since(&self, then: Duration) -> bool {
        self.lock().deleted_at.is_some_and(|it| it >= then)
    }

    /// Takes what the gateway says of it.
    pub fn take(&self, told: &v1::Sandbox) {
        let status = told.status.clone().unwrap_or_default();
        let phase = Phase::of(status.phase);
        let instance = shown(&status.main_process_instance_id, GATEWAY_LABEL_BYTES_MAX);
        let conditions = conditions(&status.conditions);
        self.differs(|seen| {
            let before = (seen.phase, seen.instance.clone(), seen.exit_code, seen.policy_version);
            let words = std::mem::replace(&mut seen.conditions, conditions);
            let begins = phase == Phase::Ready
                && (seen.starts == 0
                    || matches!(seen.phase, Phase::Stopped | Phase::Starting | Phase::Error)
                    || (!seen.instance.is_empty() && seen.instance != instance));
            if begins {
                seen.starts = seen.starts.wrapping_add(1);
            }
            seen.phase = phase;
            if !instance.is_empty() {
                seen.instance = instance;
            }
            seen.exit_code = status.exit_code;
            seen.policy_version = status.current_policy_version;
            let now = (seen.phase, seen.instance.clone(), seen.exit_code, seen.policy_version);
            before != now || words != seen.conditions
        });
    }

    /// The gateway can't be asked, or can again.
    pub fn unheard(&self, why: Option<&Fault>) {
        let why = why.map(ToString::to_string);
        self.differs(|seen| std::mem::replace(&mut seen.unheard, why.clone()) != why);
    }

    /// As calls by name have it.
    pub fn named(&self) -> v1::SandboxNamed {
        v1::SandboxNamed { name: self.name.clone(), workspace: self.workspace.clone() }
    }

    /// Whether the sandbox of this name is still this one: names are given again.
    pub async fn confirm(&self) -> Outcome<v1::Sandbox> {
        let request = self.client.request(self.named())?;
        let mut calls = self.client.calls();
        let found = self.client.answer("looking it up", calls.get_sandbox(request)).await?.sandbox;
        let found = found.unwrap_or_default();
        match &found.metadata {
            Some(meta) if meta.id == self.id => Ok(found),
            _ => Err(Fault::absent(format!(
                "the sandbox {} is gone, and another one has its name",
                shown(&self.name, GATEWAY_LABEL_BYTES_MAX)
            ))),
        }
    }

    /// A call by its name that is about the sandbox that is meant, and not about another that has its name by now.
    pub async fn verb<T>(
        &self,
        doing: &str,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Outcome<T> {
        self.confirm().await?;
        self.client.answer(doing, call).await
    }
}

/// The ones that say something, in the gateway's words.
fn conditions(all: &[v1::SandboxCondition]) -> Vec<String> {
    const SHOWN: usize = 4;
    let said = all.iter().filter(|it| it.status != "True" && !it.message.is_empty());
    said.take(SHOWN)
        .map(|it| {
            let words = match it.reason.is_empty() {
                true => format!("{}: {}", it.r#type, it.message),
                false => format!("{}: {}: {}", it.r#type, it.reason, it.message),
            };
            shown(&words, GATEWAY_WORDS_BYTES_MAX)
        })
        .collect()
}

fn command(told: &v1::Sandbox) -> Vec<String> {
    let command = told.spec.iter().flat_map(|it| &it.command);
    command.take(GATEWAY_COMMAND_MAX).map(|it| shown(it, GATEWAY_COMMAND_BYTES_MAX)).collect()
}

pub fn image(told: &v1::Sandbox) -> Option<String> {
    let image = &told.spec.as_ref()?.template.as_ref()?.image;
    (!image.is_empty()).then(|| shown(image, GATEWAY_WORDS_BYTES_MAX))
}

pub fn labels(meta: &v1::ObjectMeta) -> BTreeMap<String, String> {
    let mut all: Vec<_> = meta.labels.iter().collect();
    all.sort();
    let part = |it: &str| shown(it, GATEWAY_LABEL_BYTES_MAX);
    all.into_iter().take(GATEWAY_LABELS_MAX).map(|(key, it)| (part(key), part(it))).collect()
}

/// No time of day is before 1970, and none of a clock that is ahead is after now.
pub fn time(ms: i64) -> Timestamp {
    Timestamp(ms.clamp(0, crate::base::clock::wall().0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_that_nobody_knows_are_unknown_and_said() {
        for number in [-1, 0, 5, 9, i32::MAX] {
            assert_eq!(Phase::of(number).state(), State::Unknown, "{number}");
        }
        assert_eq!(Phase::of(9).word(), "phase 9");
        assert_eq!(Phase::of(7).state(), State::Stopped);
    }

    #[test]
    fn what_it_says_of_itself_is_bounded_and_can_be_shown() {
        let label = "\u{1b}[31m".repeat(1000);
        let pairs = (0..1000).map(|it| (format!("{it}{label}"), label.clone())).collect();
        let meta = v1::ObjectMeta { labels: pairs, ..v1::ObjectMeta::default() };
        let all = labels(&meta);
        assert_eq!(all.len(), GATEWAY_LABELS_MAX);
        let fits = |it: &String| it.len() <= GATEWAY_LABEL_BYTES_MAX && !it.contains('\u{1b}');
        assert!(all.iter().all(|(key, it)| fits(key) && fits(it)));
        assert_eq!(time(i64::MIN), Timestamp(0));
        assert!(time(i64::MAX) <= crate::base::clock::wall());
    }
}
