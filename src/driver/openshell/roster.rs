//! Which sandboxes a gateway has. It is asked again and again, page by page; one that is missing in a list is looked up by
//! its name before it counts as gone, for pages shift while they are read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::{sync::Semaphore, task::AbortHandle, time::sleep};

use super::{
    dial::Client,
    generated::v1,
    place::RemotePlace,
    remote::{Phase, Remote, image, labels, time},
    tunnel::Ways,
    watch,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Kind, Outcome},
        id::SandboxId,
        limits::{
            GATEWAY_ATTACHED_MAX, GATEWAY_LABEL_BYTES_MAX, GATEWAY_LISTED_EVERY, GATEWAY_PAGE,
            GATEWAY_PAGES_MAX, SANDBOXES_MAX,
        },
        text::{hex, shown},
    },
    driver::{Enlisted, Place, Roster},
};

/// All that a gateway has.
pub struct List {
    client: Arc<Client>,
    ways: Ways,
    attached: Arc<Semaphore>,
    known: BTreeMap<SandboxId, Known>,
    /// It was listed before.
    begun: bool,
    /// The fault that was told last.
    told: Option<(Kind, String)>,
    /// What was told last is to be told once more.
    again: bool,
}

struct Known {
    remote: Arc<Remote>,
    place: Arc<RemotePlace>,
    enlisted: Enlisted,
    tasks: [AbortHandle; 2],
}

impl Drop for Known {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl List {
    pub fn new(client: Arc<Client>, ways: Ways) -> Self {
        Self {
            client,
            ways,
            attached: Arc::new(Semaphore::new(GATEWAY_ATTACHED_MAX)),
            known: BTreeMap::new(),
            begun: false,
            told: None,
            again: false,
        }
    }

    fn enlisted(&self) -> Vec<Enlisted> {
        self.known.values().map(|it| it.enlisted.clone()).collect()
    }

    /// Takes a list over that was asked for then; tells whether there are others than before.
    async fn take(
        &mut self,
        listed: BTreeMap<SandboxId, v1::Sandbox>,
        asked_at: Duration,
    ) -> Outcome<bool> {
        let missing: Vec<_> = self
            .known
            .iter()
            .filter(|(id, _)| !listed.contains_key(id))
            .map(|(id, it)| (id.clone(), Arc::clone(&it.remote)))
            .collect();
        let mut news = false;
        for (id, remote) in missing {
            match remote.confirm().await {
                Ok(told) => remote.take(&told),
                Err(fault) if fault.kind() == Kind::Absent => {
                    self.known.remove(&id);
                    news = true;
                }
                Err(fault) => return Err(fault),
            }
        }
        for (id, told) in listed {
            if let Some(known) = self.known.get_mut(&id) {
                known.remote.take(&told);
                let leaving = is_leaving(&told) || known.remote.deleted_since(asked_at);
                news |= std::mem::replace(&mut known.enlisted.leaving, leaving) != leaving;
                continue;
            }
            if is_leaving(&told) || self.known.len() >= SANDBOXES_MAX {
                continue;
            }
            let known = self.begin(id.clone(), &told);
            self.known.insert(id, known);
            news = true;
        }
        for it in self.known.values() {
            it.remote.unheard(None);
        }
        Ok(news)
    }

    fn begin(&self, here: SandboxId, told: &v1::Sandbox) -> Known {
        let meta = told.metadata.clone().unwrap_or_default();
        let (client, attached) = (Arc::clone(&self.client), Arc::clone(&self.attached));
        let ways = self.ways.clone();
        let remote = Arc::new(Remote::new(client, ways, attached, told));
        let tasks = [
            tokio::spawn(watch::follow(Arc::clone(&remote))).abort_handle(),
            tokio::spawn(watch::keep_drafts(Arc::clone(&remote))).abort_handle(),
        ];
        let enlisted = Enlisted {
            id: here,
            name: shown(&meta.name, GATEWAY_LABEL_BYTES_MAX),
            beside: shown(&meta.workspace, GATEWAY_LABEL_BYTES_MAX),
            created_at: time(meta.created_at_ms),
            labels: labels(&meta),
            image: image(told),
            command: remote.command.clone(),
            leaving: false,
        };
        let place = Arc::new(RemotePlace::new(Arc::clone(&remote)));
        Known { remote, place, enlisted, tasks }
    }
}

#[async_trait]
impl Roster for List {
    async fn next(&mut self) -> Outcome<Vec<Enlisted>> {
        loop {
            if self.begun {
                sleep(GATEWAY_LISTED_EVERY).await;
            }
            self.begun = true;
            let asked_at = clock::monotonic();
            let listed = list(&self.client).await;
            let taken = match listed {
                Ok(listed) => self.take(listed, asked_at).await,
                Err(fault) => Err(fault),
            };
            match taken {
                Ok(news) => {
                    let again = self.told.take().is_some() | std::mem::take(&mut self.again);
                    if news || again || self.known.is_empty() {
                        return Ok(self.enlisted());
                    }
                }
                Err(fault) => {
                    self.known.values().for_each(|it| it.remote.unheard(Some(&fault)));
                    let told = Some((fault.kind(), fault.to_string()));
                    if self.told != told {
                        self.told = told;
                        return Err(fault);
                    }
                }
            }
        }
    }

    fn again(&mut self) {
        self.again = true;
    }

    fn place(&self, id: &SandboxId) -> Option<Arc<dyn Place>> {
        let place: Arc<dyn Place> = self.known.get(id)?.place.clone();
        Some(place)
    }
}

/// One that is being removed by somebody is not taken up.
fn is_leaving(told: &v1::Sandbox) -> bool {
    let phase = told.status.as_ref().map_or(0, |it| it.phase);
    let gone = told.metadata.as_ref().is_some_and(|it| it.deletion_timestamp_ms != 0);
    gone || Phase::of(phase) == Phase::Deleting
}

/// Ours for one of theirs: what they call theirs may be anything.
fn here(id: &str) -> Option<SandboxId> {
    const CHARS: usize = 24;
    if id.is_empty() {
        return None;
    }
    let digest = hex(&Sha256::digest(id.as_bytes()));
    SandboxId::parse(&format!("os-{}", digest.get(..CHARS).unwrap_or_default()))
}

async fn list(client: &Client) -> Outcome<BTreeMap<SandboxId, v1::Sandbox>> {
    match pages(client, true).await {
        // Only some may see more than their own.
        Err(fault) if fault.kind() == Kind::Denied => pages(client, false).await,
        listed => listed,
    }
}

async fn pages(client: &Client, all_workspaces: bool) -> Outcome<BTreeMap<SandboxId, v1::Sandbox>> {
    let mut all = BTreeMap::new();
    for page in 0..GATEWAY_PAGES_MAX {
        let request = client.request(v1::ListSandboxesRequest {
            limit: GATEWAY_PAGE,
            offset: page * GATEWAY_PAGE,
            all_workspaces,
            ..v1::ListSandboxesRequest::default()
        })?;
        let mut calls = client.calls();
        let listed = client.answer("listing sandboxes", calls.list_sandboxes(request)).await?;
        let count = listed.sandboxes.len();
        let before = all.len();
        for told in listed.sandboxes {
            let id = told.metadata.as_ref().and_then(|it| here(&it.id));
            if let Some(id) = id {
                all.insert(id, told);
            }
        }
        // One that gives the same page again and again gives no more.
        if count < GATEWAY_PAGE as usize || all.len() == before {
            return Ok(all);
        }
    }
    Ok(all)
}

/// Who it is and who we are to it, for `doctor`.
pub async fn greet(client: &Client) -> Outcome<String> {
    let mut calls = client.calls();
    let asked = client.request(v1::HealthRequest {})?;
    let health = client.answer("asking how it is", calls.health(asked)).await?;
    let asked = client.request(v1::GetCurrentUserRequest {})?;
    let who = client.answer("asking who we are", calls.get_current_user(asked)).await;
    let who = match who {
        Ok(who) => format!(
            "you are {} ({})",
            shown(&who.subject, GATEWAY_LABEL_BYTES_MAX),
            shown(&who.roles.join(", "), GATEWAY_LABEL_BYTES_MAX)
        ),
        Err(fault) if fault.kind() == Kind::Unsupported => "it does not say who you are".to_owned(),
        Err(fault) => return Err(fault),
    };
    let how = match health.status {
        1 => "healthy",
        2 => "degraded",
        3 => return Err(Fault::failed(format!("{} says that it is unhealthy", client.at.shown()))),
        _ => "in an unknown state",
    };
    let version = shown(&health.version, GATEWAY_LABEL_BYTES_MAX);
    Ok(format!("{} is {how}, version {version}; {who}", client.at.shown()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_calls_its_sandboxes_is_no_matter() {
        assert_eq!(here(""), None);
        let odd = here("../../\u{1b}[31m").unwrap();
        assert!(odd.as_str().starts_with("os-"));
        assert_ne!(here("a"), here("b"));
        assert_eq!(here("a"), here("a"));
    }
}
