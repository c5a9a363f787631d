//! Sandboxes: the list, the feed, and the changes.

use async_trait::async_trait;
use tonic::{Request, Response};

use super::{Answer, Sending, Service, ready, who};
use crate::{
    hub::roles::Content,
    model::{change::Applied, foreign::Adoption, sandbox::SandboxSpec},
    wire::{
        convert::{
            change::{apply_in, diff_in, piece_out},
            event::{event_out, pieces},
            required, sandbox, sandbox_id,
            secret::given_in,
            snapshot::{fork_in, snapshot_name, wanted_kind_in},
            snapshot_id,
        },
        fault::to_status,
        v1::{
            self, AdoptRequest, AdoptResponse, ApplyRequest, ApplyResponse, CreateRequest,
            CreateResponse, DiffRequest, DiffResponse, EventsRequest, EventsResponse, ForkRequest,
            ForkResponse, GiveSecretsRequest, GiveSecretsResponse, ListForeignRequest,
            ListForeignResponse, ListRequest, ListResponse, ListSnapshotsRequest,
            ListSnapshotsResponse, PauseRequest, PauseResponse, RemoveRequest, RemoveResponse,
            RemoveSnapshotRequest, RemoveSnapshotResponse, RestoreRequest, RestoreResponse,
            ResumeRequest, ResumeResponse, StopRequest, StopResponse, TakeBackRequest,
            TakeBackResponse, TakeSnapshotRequest, TakeSnapshotResponse, TrafficRequest,
            TrafficResponse, sandboxes_server::Sandboxes,
        },
    },
};

#[async_trait]
impl Sandboxes for Service {
    type ListStream = Sending<ListResponse>;
    type ListSnapshotsStream = Sending<ListSnapshotsResponse>;
    type ListForeignStream = Sending<ListForeignResponse>;
    type EventsStream = Sending<EventsResponse>;
    type DiffStream = Sending<DiffResponse>;
    type ApplyStream = Sending<ApplyResponse>;
    type TakeBackStream = Sending<TakeBackResponse>;

    async fn list(&self, request: Request<ListRequest>) -> Answer<Self::ListStream> {
        let list = self.runtime(&request)?.list().await.map_err(|fault| to_status(&fault))?;
        let pieces = pieces(list.iter().map(v1::Sandbox::from)).into_iter();
        Ok(Response::new(ready(pieces.map(|sandboxes| ListResponse { sandboxes }).collect())))
    }

    async fn events(&self, request: Request<EventsRequest>) -> Answer<Self::EventsStream> {
        let events = self.runtime(&request)?.events().await.map_err(|fault| to_status(&fault))?;
        Ok(self.sending(events, |event| event_out(&event)))
    }

    async fn create(&self, request: Request<CreateRequest>) -> Answer<CreateResponse> {
        let runtime = self.runtime(&request)?;
        let CreateRequest { spec, given } = request.into_inner();
        let given = given_in(given);
        let made = self.change(async move {
            let spec: SandboxSpec = required("spec", spec)?.try_into()?;
            runtime.create(SandboxSpec { given: given?, ..spec }).await
        });
        let made = made.await?;
        Ok(Response::new(CreateResponse { sandbox: Some((&made).into()) }))
    }

    async fn list_foreign(
        &self,
        request: Request<ListForeignRequest>,
    ) -> Answer<Self::ListForeignStream> {
        let list = self.runtime(&request)?.others().await.map_err(|fault| to_status(&fault))?;
        let pieces = pieces(list.iter().map(v1::ForeignContainer::from)).into_iter();
        let messages = pieces.map(|containers| ListForeignResponse { containers });
        Ok(Response::new(ready(messages.collect())))
    }

    async fn adopt(&self, request: Request<AdoptRequest>) -> Answer<AdoptResponse> {
        let runtime = self.runtime(&request)?;
        let adoption = Adoption::try_from(request.into_inner());
        let made = self.change(async move { runtime.adopt(adoption?).await }).await?;
        Ok(Response::new(AdoptResponse { sandbox: Some((&made).into()) }))
    }

    async fn traffic(&self, request: Request<TrafficRequest>) -> Answer<TrafficResponse> {
        let runtime = self.runtime(&request)?;
        let told = async {
            let id = sandbox_id(&request.get_ref().sandbox)?;
            runtime.traffic(&id).await
        };
        let traffic = told.await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(TrafficResponse { traffic: Some((&traffic).into()) }))
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Answer<PauseResponse> {
        let runtime = self.runtime(&request)?;
        let id = sandbox_id(&request.get_ref().sandbox);
        self.change(async move { runtime.pause(&id?).await }).await?;
        Ok(Response::new(PauseResponse {}))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Answer<ResumeResponse> {
        let runtime = self.runtime(&request)?;
        let id = sandbox_id(&request.get_ref().sandbox);
        self.change(async move { runtime.resume(&id?).await }).await?;
        Ok(Response::new(ResumeResponse {}))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Answer<StopResponse> {
        let runtime = self.runtime(&request)?;
        let id = sandbox_id(&request.get_ref().sandbox);
        let grace = sandbox::grace(request.get_ref().grace_ms);
        self.change(async move { runtime.stop(&id?, grace?).await }).await?;
        Ok(Response::new(StopResponse {}))
    }

    async fn remove(&self, request: Request<RemoveRequest>) -> Answer<RemoveResponse> {
        let runtime = self.runtime(&request)?;
        let id = sandbox_id(&request.get_ref().sandbox);
        self.change(async move { runtime.remove(&id?).await }).await?;
        Ok(Response::new(RemoveResponse {}))
    }

    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Answer<Self::ListSnapshotsStream> {
        let list = self.runtime(&request)?.snapshots().await.map_err(|fault| to_status(&fault))?;
        let pieces = pieces(list.iter().map(v1::KeptSnapshot::from)).into_iter();
        let messages = pieces.map(|snapshots| ListSnapshotsResponse { snapshots });
        Ok(Response::new(ready(messages.collect())))
    }

    async fn take_snapshot(
        &self,
        request: Request<TakeSnapshotRequest>,
    ) -> Answer<TakeSnapshotResponse> {
        let runtime = self.runtime(&request)?;
        let TakeSnapshotRequest { sandbox, name, kind } = request.into_inner();
        let taken = self.change(async move {
            let name = name.as_deref().map(snapshot_name).transpose()?;
            let kind = wanted_kind_in(kind)?;
            runtime.snapshot(&sandbox_id(&sandbox)?, name, kind).await
        });
        Ok(Response::new(TakeSnapshotResponse { snapshot: Some((&taken.await?).into()) }))
    }

    async fn remove_snapshot(
        &self,
        request: Request<RemoveSnapshotRequest>,
    ) -> Answer<RemoveSnapshotResponse> {
        let runtime = self.runtime(&request)?;
        let id = snapshot_id(&request.get_ref().snapshot);
        self.change(async move { runtime.remove_snapshot(&id?).await }).await?;
        Ok(Response::new(RemoveSnapshotResponse {}))
    }

    async fn give_secrets(
        &self,
        request: Request<GiveSecretsRequest>,
    ) -> Answer<GiveSecretsResponse> {
        let runtime = self.runtime(&request)?;
        let GiveSecretsRequest { sandbox, given } = request.into_inner();
        let given = given_in(given);
        self.change(async move { runtime.give(&sandbox_id(&sandbox)?, given?).await }).await?;
        Ok(Response::new(GiveSecretsResponse {}))
    }

    async fn restore(&self, request: Request<RestoreRequest>) -> Answer<RestoreResponse> {
        let runtime = self.runtime(&request)?;
        let RestoreRequest { sandbox, snapshot } = request.into_inner();
        let restored = self.change(async move {
            let to = snapshot.as_deref().map(snapshot_id).transpose()?;
            runtime.restore(&sandbox_id(&sandbox)?, to.as_ref()).await
        });
        Ok(Response::new(RestoreResponse { sandbox: Some((&restored.await?).into()) }))
    }

    async fn fork(&self, request: Request<ForkRequest>) -> Answer<ForkResponse> {
        let runtime = self.runtime(&request)?;
        if !request.get_ref().given.is_empty() {
            self.shared.may_by_content(who(&request)?, Content::ForkWithSecrets)?;
        }
        let asked = fork_in(request.into_inner());
        let made = self.change(async move {
            let (from, how) = asked?;
            runtime.fork(from, how).await
        });
        Ok(Response::new(ForkResponse { sandbox: Some((&made.await?).into()) }))
    }

    async fn diff(&self, request: Request<DiffRequest>) -> Answer<Self::DiffStream> {
        let runtime = self.runtime(&request)?;
        let pieces = async {
            let (id, request) = diff_in(request.into_inner())?;
            runtime.diff(id, request).await
        };
        let pieces = pieces.await.map_err(|fault| to_status(&fault))?;
        Ok(self.sending(pieces, piece_out))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Answer<Self::ApplyStream> {
        let runtime = self.runtime(&request)?;
        let asked = apply_in(request.into_inner());
        let applied = self.change(async move {
            let (id, request) = asked?;
            runtime.apply(&id, request).await
        });
        let Applied { paths, git_left_out } = applied.await?;
        let pieces = pieces(paths.into_iter().map(v1::AppliedPath::from)).into_iter();
        let messages = pieces.map(|paths| ApplyResponse { paths, git_left_out });
        Ok(Response::new(ready(messages.collect())))
    }

    async fn take_back(&self, request: Request<TakeBackRequest>) -> Answer<Self::TakeBackStream> {
        let runtime = self.runtime(&request)?;
        let TakeBackRequest { sandbox, overwrite } = request.into_inner();
        let id = sandbox_id(&sandbox);
        let taken = self.change(async move { runtime.take_back(&id?, overwrite).await }).await?;
        let pieces = pieces(taken.paths.into_iter().map(v1::AppliedPath::from)).into_iter();
        Ok(Response::new(ready(pieces.map(|paths| TakeBackResponse { paths }).collect())))
    }
}
