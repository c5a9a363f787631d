//! What happened: a page, what comes, and who is there.

use async_trait::async_trait;
use tonic::{Request, Response};

use super::{Answer, Sending, Service};
use crate::{
    base::clock::Timestamp,
    model::timeline::TimelinePage,
    wire::{
        convert::{required, timeline::timeline_in},
        fault::to_status,
        v1::{
            FollowTimelineRequest, FollowTimelineResponse, ReadTimelineRequest,
            ReadTimelineResponse, SignRequest, SignResponse, timeline_server::Timeline,
        },
    },
};

#[async_trait]
impl Timeline for Service {
    type FollowStream = Sending<FollowTimelineResponse>;

    async fn read(&self, request: Request<ReadTimelineRequest>) -> Answer<ReadTimelineResponse> {
        let runtime = self.runtime(&request)?;
        let page = async { runtime.timeline(timeline_in(request.into_inner())?).await }.await;
        let page = page.map_err(|fault| to_status(&fault))?;
        Ok(Response::new((&page).into()))
    }

    async fn follow(&self, request: Request<FollowTimelineRequest>) -> Answer<Self::FollowStream> {
        let runtime = self.runtime(&request)?;
        let pages = async {
            let wanted = required("timeline.request", request.into_inner().request)?;
            runtime.follow_timeline(timeline_in(wanted)?).await
        };
        let pages = pages.await.map_err(|fault| to_status(&fault))?;
        Ok(self.sending(pages, |page: TimelinePage| {
            vec![FollowTimelineResponse { page: Some((&page).into()) }]
        }))
    }

    async fn sign(&self, request: Request<SignRequest>) -> Answer<SignResponse> {
        let runtime = self.runtime(&request)?;
        let now = request.get_ref().at_ms.map(Timestamp);
        let before = runtime.sign(now).await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(SignResponse { before_ms: before.map(|it| it.0) }))
    }
}
