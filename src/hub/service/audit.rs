//! The audit record: its entries and its head.

use async_trait::async_trait;
use tonic::{Request, Response};

use super::{Answer, Sending, Service};
use crate::{
    model::audit::Entry,
    wire::{
        convert::event::pieces,
        fault::to_status,
        v1::{
            self, AuditHeadRequest, AuditHeadResponse, ReadAuditRequest, ReadAuditResponse,
            audit_server::Audit,
        },
    },
};

#[async_trait]
impl Audit for Service {
    type ReadStream = Sending<ReadAuditResponse>;

    async fn read(&self, request: Request<ReadAuditRequest>) -> Answer<Self::ReadStream> {
        let runtime = self.runtime(&request)?;
        let pages = async { runtime.audit(request.into_inner().try_into()?).await }.await;
        let pages = pages.map_err(|fault| to_status(&fault))?;
        Ok(self.sending(pages, |page: Vec<Entry>| {
            let pieces = pieces(page.iter().map(v1::AuditEntry::from)).into_iter();
            pieces.map(|entries| ReadAuditResponse { entries }).collect()
        }))
    }

    async fn head(&self, request: Request<AuditHeadRequest>) -> Answer<AuditHeadResponse> {
        let head = self.runtime(&request)?.audit_head().await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(head.into()))
    }
}
