//! What happened to sandboxes and sessions, as one list: the audit record, what the hub notes beside it, and the files that
//! a sandbox changed. Decision 0030.
pub(super) mod noted;
mod rate;
pub(super) mod table;
mod words;

use std::sync::Arc;

use super::{Inner, turns::taking_turns};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{SandboxId, SessionId},
        limits::{LINE_BYTES_MAX, TIMELINE_AGE_MAX, TIMELINE_FOLLOW_EVERY, TIMELINE_PAGE_MAX},
        text,
    },
    driver::Touched,
    model::{
        event::Level,
        sandbox::{Sandbox, WorkspaceMode},
        timeline::{Happening, Kind, Mark, Place, Source, TimelinePage, TimelineRequest},
    },
    runtime::{BoxStream, Identity},
    session::{journal, unfold::unfold},
};

/// The sandbox that is meant.
struct Meant {
    id: String,
    /// `None` = it is no more.
    there: Option<Arc<Sandbox>>,
}

impl Inner {
    /// One page.
    pub(super) async fn timeline(&self, mut request: TimelineRequest) -> Outcome<TimelinePage> {
        request.most = request.most.clamp(1, TIMELINE_PAGE_MAX);
        let meant = self.meant(&request).await?;
        self.page(&request, meant.as_ref()).await
    }

    async fn page(
        &self,
        request: &TimelineRequest,
        meant: Option<&Meant>,
    ) -> Outcome<TimelinePage> {
        let most = usize::try_from(request.most).unwrap_or(usize::MAX);
        let id = meant.map(|it| it.id.clone());
        let (mut all, end) = self.store.happenings(request.clone(), id).await?;
        let mut page = TimelinePage { mark: end, ..TimelinePage::default() };
        match request.written_after {
            Some(after) => {
                page.more = all.len() > most;
                // In the order of the clock, but no further than what is not yet read of the other record.
                all.truncate(most);
                page.mark = passed(&all, after, end, page.more);
            }
            None => {
                if request.wants(Kind::Files)
                    && let Some(meant) = meant
                {
                    match self.touched(request, meant).await {
                        Ok(touched) => all.extend(touched),
                        Err(fault) => page.files_unknown = Some(fault.message().to_owned()),
                    }
                }
                all.sort_by_key(|it| std::cmp::Reverse(it.place));
                page.more = all.len() > most;
                all.truncate(most);
            }
        }
        all.sort_by_key(|it| it.place);
        page.happenings = all;
        Ok(page)
    }

    /// What is written from now on, or after the mark of the request, as it comes.
    pub(super) async fn follow_timeline(
        self: &Arc<Self>,
        mut request: TimelineRequest,
    ) -> Outcome<BoxStream<Outcome<TimelinePage>>> {
        request.most = TIMELINE_PAGE_MAX;
        request.before = None;
        let meant = self.meant(&request).await?;
        let mark = match request.written_after {
            Some(mark) => mark,
            None => {
                let none = TimelineRequest { most: 1, ..request.clone() };
                self.page(&none, meant.as_ref()).await?.mark
            }
        };
        let written = self.store.written();
        let (engine, meant) = (Arc::downgrade(self), Arc::new(meant));
        Ok(unfold((mark, written), move |(mark, mut written)| {
            let (engine, meant) = (engine.clone(), Arc::clone(&meant));
            let request = TimelineRequest { written_after: Some(mark), ..request.clone() };
            async move {
                loop {
                    written.mark_unchanged();
                    let Some(strong) = engine.upgrade() else { return ((mark, written), None) };
                    match strong.page(&request, (*meant).as_ref()).await {
                        Ok(page) if page.happenings.is_empty() => {}
                        Ok(page) => return ((page.mark, written), Some(Ok(page))),
                        Err(fault) => return ((mark, written), Some(Err(fault))),
                    }
                    drop(strong);
                    if written.changed().await.is_err() {
                        return ((mark, written), None);
                    }
                    // What comes together is told together.
                    tokio::time::sleep(TIMELINE_FOLLOW_EVERY).await;
                }
            }
        }))
    }

    /// The sandbox of a request: one that is there, or one that was.
    async fn meant(&self, request: &TimelineRequest) -> Outcome<Option<Meant>> {
        let mut typed = request.sandbox.clone();
        if let Some(session) = &request.session {
            let there = self.fleet().of_session(session).map(|it| it.sandbox.id.to_string());
            let of = match there {
                Ok(id) => id,
                Err(fault) => self.recorded_in(session).await.map_err(|_| fault)?.to_string(),
            };
            typed.get_or_insert(of);
        }
        let Some(typed) = typed else { return Ok(None) };
        let there = {
            let fleet = self.fleet();
            let found = fleet
                .entries()
                .find(|it| it.sandbox.id.as_str() == typed || it.sandbox.name == typed);
            found.map(|it| Arc::clone(&it.sandbox))
        };
        let id = match &there {
            Some(it) => it.id.to_string(),
            None => self.store.sandbox_that_was(typed.clone()).await?.ok_or_else(|| {
                Fault::absent(format!("nothing is known of a sandbox {}", text::shown(&typed, LINE_BYTES_MAX)))
                    .hint("sandwatch ls shows those that are there, sandwatch recordings ls those that were")
            })?,
        };
        Ok(Some(Meant { id, there }))
    }

    /// The sandbox that a recording is of.
    async fn recorded_in(&self, session: &SessionId) -> Outcome<SandboxId> {
        let dir = self.paths.recording(session);
        self.reading(move || Ok(journal::Meta::load(&dir)?.sandbox)).await
    }

    /// The files that a sandbox changed, as its layer has them.
    async fn touched(&self, request: &TimelineRequest, meant: &Meant) -> Outcome<Vec<Happening>> {
        let Some(sandbox) = &meant.there else {
            return Err(Fault::unsupported("its files are no more"));
        };
        if sandbox.workspace.mode != WorkspaceMode::Cow {
            let mode = sandbox.workspace.mode.word();
            let words = format!("no changes are kept apart: the workspace is {mode}");
            return Err(Fault::unsupported(words));
        }
        let driver = self.drivers.get(&sandbox.driver)?;
        let ground = self.ground(&sandbox.id, &sandbox.name);
        let began = sandbox.created_at;
        let since = request.since.unwrap_or(began).max(began);
        let until = request.until.into_iter().chain(request.before.map(|it| it.at)).min();
        let touched =
            taking_turns(Arc::clone(&self.lookers), move || driver.touched(&ground, began));
        let touched = touched.await?;
        let mut out = Vec::new();
        for it in touched {
            let place = Place { at: it.at, source: Source::Files, number: number(&it) };
            let meant = it.at >= since && until.is_none_or(|until| it.at <= until);
            if meant && request.before.is_none_or(|before| place < before) {
                let words = format!(
                    "{} {}",
                    if it.gone { "deleted" } else { "wrote" },
                    String::from_utf8_lossy(&it.path)
                );
                out.push(Happening {
                    place,
                    sandbox: Some(sandbox.id.clone()),
                    sandbox_name: Some(sandbox.name.clone()),
                    ..Happening::new(it.at, Kind::Files, "file.changed", &words)
                });
            }
        }
        Ok(out)
    }

    /// When an operator last gave a sign, before the one that is noted now.
    pub(super) async fn sign(
        &self,
        who: &Identity,
        now: Option<Timestamp>,
    ) -> Outcome<Option<Timestamp>> {
        let uid = who.peer.map_or_else(|| "process".to_owned(), |it| it.uid.to_string());
        let name = text::shown(&who.name, LINE_BYTES_MAX);
        // No sign is from the future.
        let now = now.map(|it| it.min(clock::wall()));
        self.store.sign_of(format!("{uid} {name}"), now).await
    }

    /// Drops what is beyond the bounds.
    pub(super) async fn forget_happenings(&self) {
        let age = i64::try_from(TIMELINE_AGE_MAX.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp(clock::wall().0.saturating_sub(age));
        match self.store.forget_happenings(before).await {
            Ok(0) => {}
            Ok(gone) => tracing::info!(gone, "old happenings removed"),
            Err(fault) => {
                self.fleet().notice(Level::Warning, None, &fault.to_string());
            }
        }
    }
}

/// How far both records are read, when those are taken in the order they were written in, one record after the other.
fn passed(all: &[Happening], after: Mark, end: Mark, more: bool) -> Mark {
    if !more {
        return end;
    }
    let last = |source, before| {
        let of = all.iter().filter(|it| it.place.source == source);
        of.map(|it| it.place.number).max().unwrap_or(before)
    };
    let audit = last(Source::Audit, after.audit);
    Mark { audit, hub: last(Source::Hub, after.hub) }
}

/// A number of a path that stays the same.
fn number(it: &Touched) -> i64 {
    // FNV-1a.
    let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    (it.path.iter().fold(0xcbf2_9ce4_8422_2325, fold) >> 1).cast_signed()
}
