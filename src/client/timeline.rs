//! The calls about what happened, and about looking into recordings.

use std::sync::Arc;

use super::{
    Client,
    calls::within,
    dial::Wires,
    resume::{Asking, Source},
};
use crate::{
    base::{
        clock::Timestamp,
        fault::Outcome,
        id::SessionId,
        limits::{HUB_ANSWER_WITHIN, TIMELINE_PAGE_MAX},
    },
    model::{
        replay::{FindPage, FindRequest, Moment, Replay},
        timeline::{TimelinePage, TimelineRequest},
    },
    wire::{
        convert::{
            required,
            timeline::{ReplayReader, find_out, replay_request_out, timeline_out},
        },
        v1,
    },
};

impl Client {
    pub(super) async fn replay_of(&self, id: &SessionId, moment: Moment) -> Outcome<Replay> {
        let reading = self.shared.again(|wires| async move {
            let mut recordings = wires.recordings();
            let call = recordings.replay(wires.request(replay_request_out(id, moment)));
            let mut pieces = wires.answer(HUB_ANSWER_WITHIN, call).await?;
            let all = async {
                let mut reader = ReplayReader::default();
                while let Some(piece) = pieces.message().await.map_err(|it| wires.fault(&it))? {
                    reader.take(piece)?;
                }
                reader.end()
            };
            within(HUB_ANSWER_WITHIN, all).await
        });
        reading.await
    }

    pub(super) async fn find_in(&self, id: &SessionId, request: &FindRequest) -> Outcome<FindPage> {
        let finding = self.shared.again(|wires| async move {
            let mut recordings = wires.recordings();
            let call = recordings.find(wires.request(find_out(id, request)));
            Ok(wires.answer(HUB_ANSWER_WITHIN, call).await?.into())
        });
        finding.await
    }

    pub(super) async fn read_timeline(&self, request: &TimelineRequest) -> Outcome<TimelinePage> {
        let reading = self.shared.again(|wires| async move {
            let mut timeline = wires.timeline();
            let call = timeline.read(wires.request(timeline_out(request)));
            wires.answer(HUB_ANSWER_WITHIN, call).await?.try_into()
        });
        reading.await
    }

    pub(super) async fn give_sign(&self, now: Option<Timestamp>) -> Outcome<Option<Timestamp>> {
        let wires = self.wires()?;
        let mut timeline = wires.timeline();
        let call = timeline.sign(wires.request(v1::SignRequest { at_ms: now.map(|it| it.0) }));
        Ok(wires.answer(HUB_ANSWER_WITHIN, call).await?.before_ms.map(Timestamp))
    }
}

/// What happens, and how far it was told.
#[derive(Clone)]
pub(super) struct Happenings {
    request: TimelineRequest,
}

impl Happenings {
    pub(super) fn new(request: TimelineRequest) -> Self {
        Self { request: TimelineRequest { most: TIMELINE_PAGE_MAX, before: None, ..request } }
    }
}

impl Source for Happenings {
    type Wire = v1::FollowTimelineResponse;
    type Item = TimelinePage;

    fn ask(self, wires: Arc<Wires>) -> Asking<Self::Wire> {
        Box::pin(async move {
            let mut timeline = wires.timeline();
            let request = Some(timeline_out(&self.request));
            timeline.follow(wires.request(v1::FollowTimelineRequest { request })).await
        })
    }

    fn take(&mut self, wire: Self::Wire) -> Outcome<Option<TimelinePage>> {
        let page: TimelinePage = required("timeline.page", wire.page)?.try_into()?;
        self.request.written_after = Some(page.mark);
        Ok(Some(page))
    }

    fn broken(&mut self) {}
}
