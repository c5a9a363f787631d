//! Asks: those that have ended, and the answers.

use async_trait::async_trait;
use tonic::{Request, Response};

use super::{Answer, Sending, Service, ready, who};
use crate::{
    base::id::AskId,
    hub::roles::Content,
    model::ask::Ask,
    runtime::AsksWanted,
    wire::{
        convert::{
            ask::{decide_in, revoke_in, wanted_in},
            event::pieces,
        },
        fault::to_status,
        v1::{
            self, DecideRequest, DecideResponse, ListAsksRequest, ListAsksResponse, RevokeRequest,
            RevokeResponse, StandingRequest, StandingResponse, asks_server::Asks,
        },
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
        let id = revoke_in(request.get_ref());
        self.may_revoke(&request, id.as_ref().ok()).await?;
        let ask = self.change(async move { runtime.revoke(&id?).await });
        Ok(Response::new(RevokeResponse { ask: Some((&ask.await?).into()) }))
    }

    async fn decide(&self, request: Request<DecideRequest>) -> Answer<DecideResponse> {
        let runtime = self.runtime(&request)?;
        let who = who(&request)?.clone();
        let decided = decide_in(request.into_inner());
        if decided.as_ref().is_ok_and(|it| it.2.answer.scope.is_rule()) {
            self.shared.may_by_content(&who, Content::AnswerMakesRule)?;
        }
        let ask = self.change(async move {
            let (id, digest, choice) = decided?;
            runtime.decide(&id, &digest, choice).await
        });
        Ok(Response::new(DecideResponse { ask: Some((&ask.await?).into()) }))
    }
}

impl Service {
    /// Where a rule was made of the answer, taking it back takes out the rule.
    async fn may_revoke(
        &self,
        request: &Request<RevokeRequest>,
        id: Option<&AskId>,
    ) -> Result<(), tonic::Status> {
        let who = who(request)?;
        let Some(id) = id.filter(|_| who.role() < Content::LEAST) else { return Ok(()) };
        let runtime = self.runtime(request)?;
        let found = runtime.asks(&AsksWanted::only([id.clone()])).await;
        let of_rule = |it: &Ask| it.decision.as_ref().is_some_and(|it| it.answer.scope.is_rule());
        match found {
            Ok(list) if !list.iter().any(of_rule) => Ok(()),
            // What is not known is taken for the worse.
            _ => self.shared.may_by_content(who, Content::RevokeTakesRule),
        }
    }
}
