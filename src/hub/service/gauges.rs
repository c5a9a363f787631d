//! What sandboxes and the machine use.

use async_trait::async_trait;
use tonic::{Request, Response};

use super::{Answer, Sending, Service};
use crate::wire::{
    convert::gauge::{past_wanted_in, round_out, wanted_in},
    fault::to_status,
    v1::{
        GaugePastRequest, GaugePastResponse, ReadGaugesRequest, ReadGaugesResponse,
        gauges_server::Gauges,
    },
};

#[async_trait]
impl Gauges for Service {
    type ReadStream = Sending<ReadGaugesResponse>;

    async fn read(&self, request: Request<ReadGaugesRequest>) -> Answer<Self::ReadStream> {
        let runtime = self.runtime(&request)?;
        let read = async { runtime.gauges(wanted_in(request.into_inner())?).await }.await;
        Ok(self.sending(read.map_err(|fault| to_status(&fault))?, round_out))
    }

    async fn past(&self, request: Request<GaugePastRequest>) -> Answer<GaugePastResponse> {
        let runtime = self.runtime(&request)?;
        let told = async { runtime.past(past_wanted_in(request.into_inner())?).await }.await;
        Ok(Response::new(told.map_err(|fault| to_status(&fault))?.into()))
    }
}
