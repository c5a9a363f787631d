//! What happened to sandboxes and sessions, as one list: the audit record, what the hub notes beside it, and the files that
//! a sandbox changed. Decision 0030.
pub(super) mod files;
mod missing;
pub(super) mod noted;
mod rate;
pub(super) mod table;
mod words;

use std::sync::Arc;

use self::files::Told;
use super::Inner;
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Outcome},
        id::{SandboxId, SessionId},
        limits::{
            LINE_BYTES_MAX, TIMELINE_AGE_MAX, TIMELINE_FILES_EVERY, TIMELINE_FOLLOW_EVERY,
            TIMELINE_PAGE_MAX,
        },
        text,
    },
    model::{
        event::Level,
        sandbox::Sandbox,
        timeline::{Happening, Kind, Mark, Source, TimelinePage, TimelineRequest},
    },
    runtime::{BoxStream, Identity, Peer},
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
    pub(super) async fn timeline(
        self: &Arc<Self>,
        mut request: TimelineRequest,
    ) -> Outcome<TimelinePage> {
        request.most = request.most.clamp(1, TIMELINE_PAGE_MAX);
        let meant = self.meant(&request).await?;
        self.page(&request, meant.as_ref()).await
    }

    async fn page(
        self: &Arc<Self>,
        request: &TimelineRequest,
        meant: Option<&Meant>,
    ) -> Outcome<TimelinePage> {
        let most = usize::try_from(request.most).unwrap_or(usize::MAX);
        let id = meant.map(|it| it.id.clone());
        let files = self.files_of(request, meant).await;
        let (mut all, mut end) = self.store.happenings(request.clone(), id).await?;
        end.files = files.mark;
        let mut page = TimelinePage {
            mark: end,
            files_unknown: files.unknown,
            files_pending: files.pending,
            files_asked: files.asked,
            more: all.len() + files.changes.len() > most,
            ..TimelinePage::default()
        };
        let lacks = files.missing;
        let mut files = files.changes;
        if let Some(after) = request.written_after {
            // In the order of the clock, but no further than what is not yet read of the other records.
            all.truncate(most);
            files.truncate(most - all.len());
            if page.more {
                page.mark = passed(&all, after);
                page.mark.files = files.last().map_or(after.files, |it| it.0);
            }
        }
        all.extend(files.into_iter().map(|it| it.1));
        all.sort_by_key(|it| it.place);
        all.drain(..all.len().saturating_sub(most));
        let first = all.first().map(|it| it.place.at);
        let back_to = first.filter(|_| page.more && request.written_after.is_none());
        page.files_missing = missing::missing(&lacks, back_to);
        page.happenings = all;
        Ok(page)
    }

    /// What programs changed in files, where that is wanted and can be known.
    async fn files_of(self: &Arc<Self>, request: &TimelineRequest, meant: Option<&Meant>) -> Told {
        let mark = request.written_after.map_or(0, |it| it.files);
        let none = |unknown| Told { mark, unknown, ..Told::default() };
        if !request.wants(Kind::Files) {
            return none(None);
        }
        let there = match meant {
            None => return self.touched(request, None).await,
            Some(it) => it.there.as_ref(),
        };
        let Some(sandbox) = there else { return none(Some("its files are no more".to_owned())) };
        match files::unknowable(sandbox) {
            Some(why) => none(Some(why)),
            None => self.touched(request, Some(sandbox)).await,
        }
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
        let (written, ended) = (self.store.written(), self.files.ended());
        let looks = request.wants(Kind::Files);
        let (engine, meant) = (Arc::downgrade(self), Arc::new(meant));
        Ok(unfold((mark, written, ended), move |(mark, mut written, mut ended)| {
            let (engine, meant) = (engine.clone(), Arc::clone(&meant));
            let request = TimelineRequest { written_after: Some(mark), ..request.clone() };
            async move {
                loop {
                    written.mark_unchanged();
                    ended.mark_unchanged();
                    let Some(strong) = engine.upgrade() else {
                        return ((mark, written, ended), None);
                    };
                    match strong.page(&request, (*meant).as_ref()).await {
                        Ok(page) if page.happenings.is_empty() => {}
                        Ok(page) => return ((page.mark, written, ended), Some(Ok(page))),
                        Err(fault) => return ((mark, written, ended), Some(Err(fault))),
                    }
                    drop(strong);
                    tokio::select! {
                        changed = written.changed() => if changed.is_err() {
                            return ((mark, written, ended), None);
                        },
                        _ = ended.changed(), if looks => {}
                        () = tokio::time::sleep(TIMELINE_FILES_EVERY), if looks => {}
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

    /// When an operator last gave a sign, before the one that is noted now.
    pub(super) async fn sign(
        &self,
        who: &Identity,
        now: Option<Timestamp>,
    ) -> Outcome<Option<Timestamp>> {
        let uid = match &who.peer {
            None => "process".to_owned(),
            Some(Peer::Process { uid, .. }) => uid.to_string(),
            Some(Peer::Certificate(bearer)) => format!("member {}", bearer.member),
        };
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

/// How far records are read that are taken in the order they were written in, one after the other.
fn passed(all: &[Happening], after: Mark) -> Mark {
    let last = |source, before| {
        let of = all.iter().filter(|it| it.place.source == source);
        of.map(|it| it.place.number).max().unwrap_or(before)
    };
    let (audit, hub) = (last(Source::Audit, after.audit), last(Source::Hub, after.hub));
    Mark { audit, hub, ..after }
}
