//! Lists of all hubs: asked for side by side, and put together of those that answered in time. That one is missing is told.

use std::{cmp::Reverse, future::Future, sync::PoisonError};

use tokio::task::JoinSet;

use super::{Many, mark::Mark, one::One};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Kind, Outcome},
        id::{AskId, HubNumber},
        limits::MERGE_WITHIN,
    },
    model::{
        ask::Ask,
        event::{Level, Notice},
        foreign::Foreign,
        history::Recording,
        sandbox::Sandbox,
        snapshot::Snapshot,
        timeline::{TimelinePage, TimelineRequest},
    },
    runtime::{AsksWanted, Runtime},
};

impl Many {
    /// What each of them says, in their order; the fault of the first when none says anything. Of which some `what` is
    /// missing then is told in the feed, once, until it comes again.
    pub(super) async fn each<T, Asked>(
        &self,
        what: &'static str,
        ask: impl Fn(One) -> Asked,
    ) -> Outcome<Vec<T>>
    where
        T: Send + 'static,
        Asked: Future<Output = Outcome<T>> + Send + 'static,
    {
        let all = self.all_up();
        if all.is_empty() {
            // Says why not.
            let only = self.first()?;
            return Ok(vec![ask(only).await?]);
        }
        let mut calls: JoinSet<(One, Outcome<T>)> = JoinSet::new();
        let alone = all.len() == 1;
        for one in all {
            let asked = ask(one.clone());
            calls.spawn(async move {
                if alone {
                    return (one, asked.await);
                }
                let answer = tokio::time::timeout(MERGE_WITHIN, asked).await;
                (one, answer.unwrap_or_else(|_| Err(late())))
            });
        }
        let mut said = Vec::new();
        while let Some(answer) = calls.join_next().await {
            said.extend(answer);
        }
        said.sort_by_key(|it| it.0.number());
        if said.iter().all(|it| it.1.is_err()) {
            let first = said.into_iter().find_map(|it| it.1.err());
            return Err(first.unwrap_or_else(|| Fault::bug("no hub was asked")));
        }
        let mut told = Vec::new();
        for (one, answer) in said {
            self.missing(what, one.mark(), answer.as_ref().err());
            told.extend(answer);
        }
        Ok(told)
    }

    /// Tells that a list lacks what one hub has, or notes that it does not; each is told once.
    fn missing(&self, what: &'static str, of: &Mark, why: Option<&Fault>) {
        let mut known = self.known_missing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(why) = why else {
            known.remove(&(of.hub, what));
            return;
        };
        if !known.insert((of.hub, what)) {
            return;
        }
        drop(known);
        let name = &of.name;
        let why = why.message();
        let why = why.strip_prefix(&format!("{name}: ")).unwrap_or(why);
        let text = format!("{what} of {name} are not in the list: {why}");
        tracing::warn!(%text, "a hub is missing");
        let notice = Notice { at: clock::wall(), level: Level::Warning, sandbox: None, text };
        // Nobody may listen.
        drop(self.missing.send(notice));
    }

    pub(super) async fn all_sandboxes(&self) -> Outcome<Vec<Sandbox>> {
        let all = self.each("sandboxes", |it| async move { it.list().await }).await?;
        Ok(all.into_iter().flatten().collect())
    }

    pub(super) async fn all_others(&self) -> Outcome<Vec<Foreign>> {
        let all = self.each("containers", |it| async move { it.others().await }).await?;
        Ok(all.into_iter().flatten().collect())
    }

    pub(super) async fn all_snapshots(&self) -> Outcome<Vec<Snapshot>> {
        let all = self.each("snapshots", |it| async move { it.snapshots().await }).await?;
        let mut all: Vec<Snapshot> = all.into_iter().flatten().collect();
        all.sort_by_key(|it| it.created_at);
        Ok(all)
    }

    pub(super) async fn all_recordings(&self) -> Outcome<Vec<Recording>> {
        let all = self.each("recordings", |it| async move { it.recordings().await }).await?;
        Ok(all.into_iter().flatten().collect())
    }

    pub(super) async fn all_standing(&self) -> Outcome<Vec<Ask>> {
        let all = self.each("answers that hold", |it| async move { it.standing().await }).await?;
        Ok(newest_first(all))
    }

    /// Those that have ended: the newest of all, or of each hub those of its own that are wanted.
    pub(super) async fn all_asks(&self, wanted: &AsksWanted) -> Outcome<Vec<Ask>> {
        let wanted = wanted.clone();
        let all = self
            .each("asks that have ended", |it| {
                let mut wanted = wanted.clone();
                let named = !wanted.ids.is_empty();
                wanted.ids.retain(|id: &AskId| id.hub() == it.number());
                async move {
                    if named && wanted.ids.is_empty() {
                        Ok(Vec::new())
                    } else {
                        it.asks(&wanted).await
                    }
                }
            })
            .await?;
        let mut all = newest_first(all);
        all.truncate(wanted.most);
        Ok(all)
    }

    /// The newest that happened anywhere; what comes after it is asked of one hub.
    pub(super) async fn all_happenings(&self, request: TimelineRequest) -> Outcome<TimelinePage> {
        let alone = self.members.borrow().len() == 1;
        if alone {
            return self.first()?.timeline(request).await;
        }
        let most = usize::try_from(request.most).unwrap_or(usize::MAX);
        let pages = self
            .each("happenings", |it| {
                let request = request.clone();
                async move { it.timeline(request).await }
            })
            .await?;
        let mut whole = TimelinePage::default();
        for page in pages {
            whole.happenings.extend(page.happenings);
            whole.more |= page.more;
            whole.files_unknown = whole.files_unknown.or(page.files_unknown);
            whole.files_missing = whole.files_missing.or(page.files_missing);
            whole.files_pending = whole.files_pending.saturating_add(page.files_pending);
        }
        whole.happenings.sort_by_key(|it| it.place);
        let over = whole.happenings.len().saturating_sub(most);
        whole.more |= over > 0;
        whole.happenings.drain(..over);
        Ok(whole)
    }

    /// Every hub that can hear it is told that somebody is there; what the first says is the answer.
    pub(super) async fn sign_all(&self, now: Option<Timestamp>) -> Outcome<Option<Timestamp>> {
        for one in self.all_up().into_iter().filter(|it| it.number() != HubNumber::FIRST) {
            tokio::spawn(async move {
                let told = tokio::time::timeout(MERGE_WITHIN, one.sign(now)).await;
                if let Ok(Err(fault)) = told
                    && fault.kind() != Kind::Lost
                {
                    tracing::debug!(%fault, "telling a hub that somebody is there");
                }
            });
        }
        self.first()?.sign(now).await
    }
}

/// One of several took too long.
pub(super) fn late() -> Fault {
    Fault::late("it did not answer in time")
}

fn newest_first(all: Vec<Vec<Ask>>) -> Vec<Ask> {
    let mut all: Vec<Ask> = all.into_iter().flatten().collect();
    all.sort_by_key(|it| Reverse(it.decision.as_ref().map_or(it.asked.created_at, |of| of.at)));
    all
}
