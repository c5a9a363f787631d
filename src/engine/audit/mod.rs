//! The audit record of a hub: what is written into it, and how it is read. Decision 0020.
pub(super) mod budget;
pub(super) mod notes;
pub(super) mod table;
pub(super) mod words;

use std::sync::Arc;

use super::Inner;
use crate::{
    base::{
        fault::Outcome,
        limits::{AUDIT_LISTED_MAX, AUDIT_PAGE},
    },
    model::{
        audit::{Act, AuditRequest, Entry, Head},
        event::Level,
    },
    runtime::BoxStream,
    session::unfold::unfold,
};

impl Inner {
    /// Writes down what was done. It is done: that it can't be written down is told, and undoes nothing.
    pub(super) async fn record(&self, act: Act) {
        let what = format!("{} {}", act.action, act.subject);
        if let Err(fault) = self.store.record(vec![act]).await {
            let words = format!("{what} is not in the audit record: {fault}");
            self.fleet().notice(Level::Error, None, &words);
        }
    }

    pub(super) async fn audit_head(&self) -> Outcome<Head> {
        self.store.audit_head().await
    }

    /// The entries that are meant, oldest first, a page at a time and read as they are taken.
    pub(super) async fn audit(
        self: &Arc<Self>,
        request: AuditRequest,
    ) -> Outcome<BoxStream<Outcome<Vec<Entry>>>> {
        if let Some(newest) = request.newest {
            let most = usize::try_from(newest.min(AUDIT_LISTED_MAX)).unwrap_or(usize::MAX);
            let list = self.newest_entries(&request, most).await?;
            let pages: Vec<_> = list.chunks(AUDIT_PAGE).map(|it| Ok(it.to_vec())).collect();
            return Ok(Box::pin(tokio_stream::iter(pages)));
        }
        let (store, request) = (self.store.clone(), Arc::new(request));
        Ok(unfold(Some(None), move |place: Option<Option<i64>>| {
            let (store, request) = (store.clone(), Arc::clone(&request));
            async move {
                let Some(after) = place else { return (None, None) };
                let mut page = match store.audit_after(after).await {
                    Ok(page) => page,
                    Err(fault) => return (None, Some(Err(fault))),
                };
                let next = page.last().filter(|_| page.len() == AUDIT_PAGE).map(|it| Some(it.seq));
                page.retain(|it| request.means(&it.act));
                (next, Some(Ok(page)))
            }
        }))
    }

    async fn newest_entries(&self, request: &AuditRequest, most: usize) -> Outcome<Vec<Entry>> {
        let (mut found, mut before) = (Vec::new(), None);
        while found.len() < most {
            let page = self.store.audit_before(before).await?;
            let last = page.len() < AUDIT_PAGE;
            before = page.last().map(|it| it.seq);
            found.extend(page.into_iter().filter(|it| request.means(&it.act)));
            if last {
                break;
            }
        }
        found.truncate(most);
        found.reverse();
        Ok(found)
    }
}
