//! Recordings: the list, the export and their removal.

use async_trait::async_trait;
use bytes::Bytes;
use tonic::{Request, Response};

use super::{Answer, Sending, Service, ready};
use crate::{
    base::{clock::Timestamp, limits::KEYFRAME_PIECE_BYTES},
    model::replay::Span,
    wire::{
        convert::{
            event::pieces,
            output::cuts,
            session_id,
            timeline::{find_in, replay_out, replay_request_in},
        },
        fault::to_status,
        v1::{
            self, ExportRequest, ExportResponse, FindRequest, FindResponse, ListRecordingsRequest,
            ListRecordingsResponse, RemoveRecordingRequest, RemoveRecordingResponse, ReplayRequest,
            ReplayResponse, recordings_server::Recordings,
        },
    },
};

#[async_trait]
impl Recordings for Service {
    type ListStream = Sending<ListRecordingsResponse>;
    type ExportStream = Sending<ExportResponse>;
    type ReplayStream = Sending<ReplayResponse>;

    async fn list(&self, request: Request<ListRecordingsRequest>) -> Answer<Self::ListStream> {
        let list = self.runtime(&request)?.recordings().await.map_err(|fault| to_status(&fault))?;
        let pieces = pieces(list.iter().map(v1::Recording::from)).into_iter();
        let messages = pieces.map(|recordings| ListRecordingsResponse { recordings });
        Ok(Response::new(ready(messages.collect())))
    }

    async fn export(&self, request: Request<ExportRequest>) -> Answer<Self::ExportStream> {
        let runtime = self.runtime(&request)?;
        let data = async {
            let ExportRequest { session, from_ms, until_ms } = request.get_ref();
            let span = Span { from: from_ms.map(Timestamp), until: until_ms.map(Timestamp) };
            runtime.export(&session_id(session)?, span).await
        };
        let data = data.await;
        let data = data.map_err(|fault| to_status(&fault))?;
        Ok(self.sending(data, |data: Bytes| {
            let pieces = cuts(data, KEYFRAME_PIECE_BYTES).into_iter();
            pieces.map(|data| ExportResponse { data }).collect()
        }))
    }

    async fn remove(
        &self,
        request: Request<RemoveRecordingRequest>,
    ) -> Answer<RemoveRecordingResponse> {
        let runtime = self.runtime(&request)?;
        let session = session_id(&request.get_ref().session).map_err(|it| to_status(&it))?;
        runtime.remove_recording(&session).await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(RemoveRecordingResponse {}))
    }

    async fn replay(&self, request: Request<ReplayRequest>) -> Answer<Self::ReplayStream> {
        let runtime = self.runtime(&request)?;
        let replay = async {
            let (session, moment) = replay_request_in(request.get_ref())?;
            runtime.replay(&session, moment).await
        };
        let replay = replay.await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(ready(replay_out(replay))))
    }

    async fn find(&self, request: Request<FindRequest>) -> Answer<FindResponse> {
        let runtime = self.runtime(&request)?;
        let found = async {
            let (session, request) = find_in(request.into_inner())?;
            runtime.find(&session, request).await
        };
        let found = found.await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(found.into()))
    }
}
