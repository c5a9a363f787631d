//! Asks: those that have ended, and the answers.

use async_trait::async_trait;
use tonic::{Request, Response};

use super::{Answer, Sending, Service, ready};
use crate::wire::{
    convert::{
        ask::{decide_in, revoke_in, wanted_in},
        event::pieces,
    },
    fault::to_status,
    v1::{
        self, DecideRequest, DecideResponse, ListAsksRequest, ListAsksResponse, RevokeRequest,
        RevokeResponse, StandingRequest, StandingResponse, asks_server::Asks,
    },
};

#[async_trait]
impl Asks for Service {
    type ListStream = Sending<ListAsksResponse>;
    type StandingStream = Sending<StandingResponse>;

    async fn list(&self, request: Request<ListAsksRequest>) -> Answer<Self::ListStream> {
        let runtime = self.runtime(&request)?;
        let wanted = wanted_in(request.into_inner()).map_err(|fault| to_status(&fault))?;
        let list = runtime.asks(&wanted).await.map_err(|fault| to_status(&fault))?;
        let pieces = pieces(list.iter().map(v1::Ask::from)).into_iter();
        Ok(Response::new(ready(pieces.map(|asks| ListAsksResponse { asks }).collect())))
    }

    async fn standing(&self, request: Request<StandingRequest>) -> Answer<Self::StandingStream> {
        let list = self.runtime(&request)?.standing().await.map_err(|fault| to_status(&fault))?;
        let pieces = pieces(list.iter().map(v1::Ask::from)).into_iter();
        Ok(Response::new(ready(pieces.map(|asks| StandingResponse { asks }).collect())))
    }

    async fn revoke(&self, request: Request<RevokeRequest>) -> Answer<RevokeResponse> {
        let runtime = self.runtime(&request)?;
        let id = revoke_in(&request.into_inner());
        let ask = self.change(async move { runtime.revoke(&id?).await });
        Ok(Response::new(RevokeResponse { ask: Some((&ask.await?).into()) }))
    }

    async fn decide(&self, request: Request<DecideRequest>) -> Answer<DecideResponse> {
        let runtime = self.runtime(&request)?;
        let decided = decide_in(request.into_inner());
        let ask = self.change(async move {
            let (id, digest, choice) = decided?;
            runtime.decide(&id, &digest, choice).await
        });
        Ok(Response::new(DecideResponse { ask: Some((&ask.await?).into()) }))
    }
}
