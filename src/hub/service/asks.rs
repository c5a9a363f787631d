//! Asks: those that have ended, and the answers.

use async_trait::async_trait;
use tonic::{Request, Response};

use super::{Answer, Sending, Service, ready};
use crate::wire::{
    convert::{ask::decide_in, event::pieces},
    fault::to_status,
    v1::{
        self, DecideRequest, DecideResponse, ListAsksRequest, ListAsksResponse, asks_server::Asks,
    },
};

#[async_trait]
impl Asks for Service {
    type ListStream = Sending<ListAsksResponse>;

    async fn list(&self, request: Request<ListAsksRequest>) -> Answer<Self::ListStream> {
        let list = self.runtime(&request)?.asks().await.map_err(|fault| to_status(&fault))?;
        let pieces = pieces(list.iter().map(v1::Ask::from)).into_iter();
        Ok(Response::new(ready(pieces.map(|asks| ListAsksResponse { asks }).collect())))
    }

    async fn decide(&self, request: Request<DecideRequest>) -> Answer<DecideResponse> {
        let runtime = self.runtime(&request)?;
        let decided = decide_in(request.into_inner());
        let ask = self.change(async move {
            let (id, digest, answer) = decided?;
            runtime.decide(&id, &digest, answer).await
        });
        Ok(Response::new(DecideResponse { ask: Some((&ask.await?).into()) }))
    }
}
