//! Rules: which there are, what one would do, and their making and taking out.

use async_trait::async_trait;
use tonic::{Request, Response};

use super::{Answer, Sending, Service, ready};
use crate::wire::{
    convert::{
        event::pieces,
        required,
        rule::{question_in, rules_in},
    },
    fault::to_status,
    v1::{
        self, AddRulesRequest, AddRulesResponse, ListRulesRequest, ListRulesResponse,
        ProposeRequest, ProposeResponse, RemoveRuleRequest, RemoveRuleResponse,
        policy_server::Policy,
    },
};

#[async_trait]
impl Policy for Service {
    type ListStream = Sending<ListRulesResponse>;

    async fn list(&self, request: Request<ListRulesRequest>) -> Answer<Self::ListStream> {
        let book = self.runtime(&request)?.rules().await.map_err(|fault| to_status(&fault))?;
        let mut wrong = Some(book.wrong);
        let pieces = pieces(book.rules.iter().map(v1::KnownRule::from)).into_iter();
        let list = pieces
            .map(|rules| ListRulesResponse { rules, wrong: wrong.take().unwrap_or_default() });
        Ok(Response::new(ready(list.collect())))
    }

    async fn propose(&self, request: Request<ProposeRequest>) -> Answer<ProposeResponse> {
        let runtime = self.runtime(&request)?;
        let proposed = async { runtime.propose(question_in(request.into_inner())?).await }.await;
        let proposal = proposed.map_err(|fault| to_status(&fault))?;
        Ok(Response::new((&proposal).into()))
    }

    async fn add(&self, request: Request<AddRulesRequest>) -> Answer<AddRulesResponse> {
        let runtime = self.runtime(&request)?;
        let request = request.into_inner();
        let made = self.change(async move {
            let (text, domain) = rules_in(required("add.rules", request.rules)?)?;
            runtime.add_rules(&text, domain).await
        });
        let rules = made.await?.iter().map(Into::into).collect();
        Ok(Response::new(AddRulesResponse { rules }))
    }

    async fn remove(&self, request: Request<RemoveRuleRequest>) -> Answer<RemoveRuleResponse> {
        let runtime = self.runtime(&request)?;
        let request = request.into_inner();
        let gone = self.change(async move {
            runtime.remove_rule(&required("remove.rule", request.rule)?.try_into()?).await
        });
        Ok(Response::new(RemoveRuleResponse { rule: Some((&gone.await?).into()) }))
    }
}
