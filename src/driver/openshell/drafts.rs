//! The drafts of one sandbox: what waits at its gateway for an answer, and the answers. One is given to a draft as it was
//! shown, by its review token, and to one at a time; a draft that changed is another ask.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::{
    draft::{Sheet, sheet},
    generated::v1,
    remote::{Remote, time},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Kind, Outcome},
        id::{AskId, random_bytes},
        limits::{
            ANSWER_MESSAGE_BYTES_MAX, GATEWAY_DRAFTS_SHOWN_MAX, GATEWAY_LABEL_BYTES_MAX,
            GATEWAY_LOADED_EVERY, GATEWAY_LOADED_WITHIN, GATEWAY_TRIES_MAX,
            GATEWAY_WORDS_BYTES_MAX,
        },
        text::{count, cut, hex, shown},
    },
    model::ask::{Answer, Asked, Request, Scope, Verdict},
};

/// Of versions that a sandbox could not take, the newest are enough.
const TROUBLES_KEPT: usize = 4;
/// A draft waits as long as its sandbox is there.
const WAITS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

pub struct Drafts {
    state: Mutex<State>,
    /// One answer at a time.
    answering: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Draft>,
    /// More than are shown.
    more: usize,
    /// Bumped with each answer: a list that was asked for before it is old.
    answers: u64,
    /// Of this hub: another one asks anew.
    nonce: [u8; 16],
    /// How often a draft was answered, by its id: what waits then, also much later, is asked anew, for nothing of before is
    /// to answer it.
    tries: HashMap<String, u32>,
    untold: Option<String>,
    /// Rules on their way into the sandbox, and those that it could not take.
    under_way: Vec<(u32, String)>,
}

#[derive(Clone, Debug)]
struct Draft {
    chunk: String,
    token: String,
    asked: Asked,
    whole: bool,
    /// An answer to it came before.
    again: bool,
}

impl Default for Drafts {
    fn default() -> Self {
        let state = State { nonce: random_bytes(), ..State::default() };
        Self { state: Mutex::new(state), answering: tokio::sync::Mutex::default() }
    }
}

impl Drafts {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn asks(&self) -> Vec<Asked> {
        self.lock().waiting.iter().map(|it| it.asked.clone()).collect()
    }

    /// Whether an answer to this draft came before.
    pub fn was_answered(&self, ask: &AskId) -> bool {
        self.lock().waiting.iter().any(|it| it.asked.id == *ask && it.again)
    }

    /// What a person should know of them.
    pub fn notes(&self) -> Vec<String> {
        let state = self.lock();
        let more = (state.more > 0).then(|| {
            format!(
                "{} more at the gateway: answer those that are shown first",
                count(state.more, "draft")
            )
        });
        let untold = state.untold.as_ref().map(|it| format!("its drafts can't be fetched: {it}"));
        more.into_iter()
            .chain(untold)
            .chain(state.under_way.iter().map(|it| it.1.clone()))
            .collect()
    }

    /// Why they can't be fetched; tells whether that is news.
    pub fn untold(&self, why: Option<String>) -> bool {
        let mut state = self.lock();
        std::mem::replace(&mut state.untold, why.clone()) != why
    }

    /// Takes those that wait now.
    pub async fn fetch(&self, remote: &Remote) -> Outcome<()> {
        loop {
            let answers = self.lock().answers;
            let request = remote.client.request(v1::GetDraftPolicyRequest {
                name: remote.name.clone(),
                status_filter: "pending".to_owned(),
                workspace: remote.workspace.clone(),
            })?;
            let mut calls = remote.client.calls();
            let fetched = remote.verb("fetching drafts", calls.get_draft_policy(request));
            let fetched = match fetched.await {
                // A gateway that knows none has none.
                Err(fault) if fault.kind() == Kind::Unsupported => {
                    v1::GetDraftPolicyResponse::default()
                }
                fetched => fetched?,
            };
            if self.take(remote, answers, fetched.chunks) {
                return Ok(());
            }
        }
    }

    /// Takes a list; `false` = somebody answered while it was on its way.
    fn take(&self, remote: &Remote, answers: u64, chunks: Vec<v1::PolicyChunk>) -> bool {
        let mut state = self.lock();
        if state.answers != answers {
            return false;
        }
        let mut chunks: Vec<_> =
            chunks.into_iter().filter(|it| matches!(it.status.as_str(), "pending" | "")).collect();
        // In whatever order they come.
        chunks.sort_by(|a, b| (a.created_at_ms, &a.id).cmp(&(b.created_at_ms, &b.id)));
        chunks.dedup_by(|a, b| a.id == b.id);
        let more = chunks.len().saturating_sub(GATEWAY_DRAFTS_SHOWN_MAX);
        chunks.truncate(GATEWAY_DRAFTS_SHOWN_MAX);
        let waiting: Vec<Draft> = chunks.iter().map(|it| Self::draft(remote, &state, it)).collect();
        let as_shown = |all: &[Draft]| all.iter().map(|it| it.asked.clone()).collect::<Vec<_>>();
        let news = as_shown(&waiting) != as_shown(&state.waiting) || more != state.more;
        (state.waiting, state.more) = (waiting, more);
        drop(state);
        if news {
            remote.changed();
        }
        true
    }

    fn draft(remote: &Remote, state: &State, chunk: &v1::PolicyChunk) -> Draft {
        let Sheet { request, mut about, whole } = sheet(chunk);
        let tries = state.tries.get(&chunk.id).copied().unwrap_or_default();
        if tries > 0 {
            let words =
                format!("an answer came before, and it waits still ({})", count(tries, "try"));
            about.push(("again".to_owned(), words));
        }
        let created_at = time(chunk.created_at_ms);
        let waits = i64::try_from(WAITS.as_millis()).unwrap_or(i64::MAX);
        let id = Self::id(
            state.nonce,
            &[&remote.id, &chunk.id, &chunk.review_token, &tries.to_string()],
            &request,
        );
        let asked = Asked {
            id,
            request,
            session: None,
            created_at,
            deadline_at: Timestamp(created_at.0.saturating_add(waits)),
            askers: 1,
            about,
            editable: false,
        };
        Draft {
            chunk: chunk.id.clone(),
            token: chunk.review_token.clone(),
            asked,
            whole,
            again: tries > 0,
        }
    }

    /// Of all that is shown and all that is said back with an answer.
    fn id(nonce: [u8; 16], parts: &[&str], request: &Request) -> AskId {
        const CHARS: usize = 24;
        let mut hash = Sha256::new();
        hash.update(nonce);
        let details = request.details.iter().flat_map(|(key, it)| [key.as_str(), it.as_str()]);
        let all = parts.iter().copied().chain([request.subject.as_str()]).chain(details);
        for it in all {
            hash.update((it.len() as u64).to_be_bytes());
            hash.update(it.as_bytes());
        }
        let digest = hex(&hash.finalize());
        let text = format!("os-{}", digest.get(..CHARS).unwrap_or_default());
        AskId::parse(&text).unwrap_or_else(AskId::random)
    }

    /// Answers one, as it was shown. When this returns the gateway has the answer, or has refused it.
    pub async fn answer(&self, remote: &Arc<Remote>, ask: &AskId, answer: &Answer) -> Outcome<()> {
        let _one = self.answering.lock().await;
        let found = self.lock().waiting.iter().find(|it| it.asked.id == *ask).cloned();
        let draft = found.ok_or_else(|| {
            Fault::absent("the draft does not wait any more, or is another by now: nothing came of the answer")
        })?;
        let answered = self.give(remote, &draft, answer).await;
        {
            let mut state = self.lock();
            state.answers += 1;
            if state.tries.len() >= GATEWAY_TRIES_MAX {
                // All ids are others from now on.
                state.tries.clear();
                state.nonce = random_bytes();
            }
            *state.tries.entry(draft.chunk.clone()).or_default() += 1;
            state.waiting.retain(|it| it.asked.id != *ask);
        }
        // What became of it, and whether it still waits, the gateway says.
        remote.drafts_wanted.notify_one();
        remote.changed();
        answered
    }

    async fn give(&self, remote: &Arc<Remote>, draft: &Draft, answer: &Answer) -> Outcome<()> {
        if answer.verdict == Verdict::Deny {
            let words = answer.message.clone().unwrap_or_default();
            let request = remote.client.request(v1::RejectDraftChunkRequest {
                name: remote.name.clone(),
                chunk_id: draft.chunk.clone(),
                reason: cut(&words, ANSWER_MESSAGE_BYTES_MAX).to_owned(),
                workspace: remote.workspace.clone(),
            })?;
            let mut calls = remote.client.calls();
            let rejected = calls.reject_draft_chunk(request);
            return remote.verb("rejecting the draft", rejected).await.map(drop);
        }
        if !draft.whole {
            return Err(Fault::unsupported(
                "there is more in the draft than can be shown, so it can't be allowed here",
            )
            .hint("openshell rule get shows it, and openshell rule approve allows it"));
        }
        if answer.scope == Scope::Hour {
            return Err(Fault::unsupported(
                "a gateway keeps what is allowed: it can't be for an hour",
            )
            .hint("allow it with --scope session; sandwatch approvals revoke takes it back"));
        }
        let request = remote.client.request(v1::ApproveDraftChunkRequest {
            name: remote.name.clone(),
            chunk_id: draft.chunk.clone(),
            workspace: remote.workspace.clone(),
            review_token: draft.token.clone(),
        })?;
        let mut calls = remote.client.calls();
        let approved = calls.approve_draft_chunk(request);
        let approved = remote.verb("approving the draft", approved).await?;
        self.is_under_way(remote, draft, approved.policy_version);
        Ok(())
    }

    /// Tells that a rule is approved and on its way, until it is in force.
    fn is_under_way(&self, remote: &Arc<Remote>, draft: &Draft, version: u32) {
        if version == 0 {
            return;
        }
        let subject = shown(&draft.asked.request.subject, GATEWAY_LABEL_BYTES_MAX);
        let words = format!("approved, and not in force yet: {subject} (policy version {version})");
        self.lock().under_way.push((version, words));
        tokio::spawn(see_loaded(Arc::clone(remote), version, subject));
    }

    /// Takes back what was allowed by answers to this, also to drafts alike; `Absent` where the gateway has no such draft. Fine
    /// where none is approved any more.
    pub async fn take_back(&self, remote: &Remote, request: &Request) -> Outcome<()> {
        let _one = self.answering.lock().await;
        let client = &remote.client;
        let asked = client.request(v1::GetDraftPolicyRequest {
            name: remote.name.clone(),
            status_filter: String::new(),
            workspace: remote.workspace.clone(),
        })?;
        let mut calls = client.calls();
        let all = remote.verb("looking for the rule", calls.get_draft_policy(asked)).await?;
        let found: Vec<_> = all.chunks.iter().filter(|it| asks_the_same(it, request)).collect();
        if found.is_empty() {
            return Err(Fault::absent("the gateway has no such rule")
                .hint("openshell rule history shows what it has"));
        }
        for one in found.iter().filter(|it| it.status == "approved") {
            let asked = client.request(v1::UndoDraftChunkRequest {
                name: remote.name.clone(),
                chunk_id: one.id.clone(),
                workspace: remote.workspace.clone(),
            })?;
            let undone = calls.undo_draft_chunk(asked);
            remote.verb("taking the rule back", undone).await?;
            self.lock().answers += 1;
            remote.drafts_wanted.notify_one();
        }
        Ok(())
    }

    fn loaded(&self, version: u32, instead: Option<String>) {
        let mut state = self.lock();
        state.under_way.retain(|it| it.0 != version);
        state.under_way.extend(instead.map(|it| (version, it)));
        let old = state.under_way.len().saturating_sub(TROUBLES_KEPT);
        state.under_way.drain(..old);
    }
}

/// Whether a draft is one of those that were asked for. How the policy differed then is no part of it.
fn asks_the_same(chunk: &v1::PolicyChunk, request: &Request) -> bool {
    const OF_THE_MOMENT: [&str; 3] = ["changes", "could not be applied", "validation"];
    let now = sheet(chunk).request;
    let lasting = |of: &Request| -> Vec<(String, String)> {
        of.details.iter().filter(|it| !OF_THE_MOMENT.contains(&it.0.as_str())).cloned().collect()
    };
    now.subject == request.subject && lasting(&now) == lasting(request)
}

/// Looks whether a version of the policy is in force, until it is or that is hopeless.
async fn see_loaded(remote: Arc<Remote>, version: u32, subject: String) {
    let deadline = clock::monotonic() + GATEWAY_LOADED_WITHIN;
    let instead = loop {
        if remote.seen().policy_version >= version {
            break None;
        }
        match status(&remote, version).await {
            Ok(Load::Over) => break None,
            Ok(Load::Failed(why)) => break Some(why),
            Ok(Load::UnderWay) | Err(_) => {}
        }
        if clock::monotonic() > deadline {
            break Some(format!(
                "approved, and the sandbox has not taken it yet: {subject} (policy version {version})"
            ));
        }
        sleep(GATEWAY_LOADED_EVERY).await;
    };
    remote.drafts.loaded(version, instead);
    remote.changed();
}

/// How far a version of a policy is.
enum Load {
    UnderWay,
    /// It is in force, or another one is in its place.
    Over,
    Failed(String),
}

async fn status(remote: &Remote, version: u32) -> Outcome<Load> {
    const LOADED: i32 = 2;
    const FAILED: i32 = 3;
    const SUPERSEDED: i32 = 4;
    let request = remote.client.request(v1::GetSandboxPolicyStatusRequest {
        name: remote.name.clone(),
        version,
        global: false,
        workspace: remote.workspace.clone(),
    })?;
    let mut calls = remote.client.calls();
    let told = remote
        .client
        .answer("asking for its policy", calls.get_sandbox_policy_status(request))
        .await?;
    let revision = told.revision.unwrap_or_default();
    Ok(match revision.status {
        _ if told.active_version >= version => Load::Over,
        LOADED | SUPERSEDED => Load::Over,
        FAILED => {
            let why = shown(&revision.load_error, GATEWAY_WORDS_BYTES_MAX);
            Load::Failed(format!("the sandbox could not take policy version {version}: {why}"))
        }
        _ => Load::UnderWay,
    })
}
