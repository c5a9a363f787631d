//! The hub about itself: who attends, status, end, checks.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::{Answer, Sending, Service, attendance::Attending, who};
use crate::{
    base::clock,
    runtime::{BoxStream, Peer},
    wire::{
        PROTOCOL,
        fault::to_status,
        v1::{
            self, AttendRequest, AttendResponse, DoctorRequest, DoctorResponse, Goodbye,
            PingRequest, PingResponse, ShutdownRequest, ShutdownResponse, StatusRequest,
            StatusResponse, Welcome, attend_response::Kind, hub_server::Hub,
        },
    },
};

#[async_trait]
impl Hub for Service {
    type AttendStream = Sending<AttendResponse>;

    async fn attend(&self, request: Request<AttendRequest>) -> Answer<Self::AttendStream> {
        let who = who(&request)?.clone();
        let protocol = request.get_ref().protocol;
        let known_as = matches!(who.peer, Some(Peer::Certificate(_))).then(|| who.name.clone());
        let role = v1::Role::from(who.role()).into();
        tracing::info!(client = %who.client, name = who.name, protocol, "a client attends");
        let directory = self.shared.directory.clone();
        let attending = self.shared.attendance.enter(who.client, directory);
        let welcome = Kind::Welcome(Welcome {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            role,
            known_as,
        });
        let mut stop = self.shared.stop.subscribe();
        let goodbye = async move {
            let reason = stop.wait_for(Option::is_some).await.map(|it| (*it).clone());
            Kind::Goodbye(Goodbye { reason: reason.ok().flatten().unwrap_or_default() })
        };
        let messages =
            tokio_stream::once(welcome).chain(Later { goodbye: Some(Box::pin(goodbye)) });
        let messages = messages.map(|kind| Ok(AttendResponse { kind: Some(kind) }));
        let messages = Box::pin(messages);
        Ok(Response::new(Box::pin(Attended { messages, _attending: attending })))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Answer<PingResponse> {
        Ok(Response::new(PingResponse {}))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let status = self.runtime(&request)?.hub().await.map_err(|fault| to_status(&fault))?;
        let mut status = StatusResponse::from(status);
        status.pid = std::process::id();
        env!("CARGO_PKG_VERSION").clone_into(&mut status.version);
        let uptime = clock::monotonic().saturating_sub(self.shared.started);
        status.uptime_ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
        status.listen = self.shared.listen();
        Ok(Response::new(status))
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Answer<ShutdownResponse> {
        let who = who(&request)?;
        tracing::info!(client = %who.client, name = who.name, "the hub is asked to end");
        self.shared.stop(&format!("the hub was stopped by {}", who.name));
        Ok(Response::new(ShutdownResponse {}))
    }

    async fn doctor(&self, request: Request<DoctorRequest>) -> Answer<DoctorResponse> {
        let checks = self.runtime(&request)?.doctor().await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(checks.into()))
    }
}

/// A stream of one value that is not there yet.
struct Later {
    goodbye: Option<Pin<Box<dyn Future<Output = Kind> + Send>>>,
}

impl Stream for Later {
    type Item = Kind;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Kind>> {
        let Some(goodbye) = self.goodbye.as_mut() else { return Poll::Ready(None) };
        let poll = goodbye.as_mut().poll(context).map(Some);
        if poll.is_ready() {
            self.goodbye = None;
        }
        poll
    }
}

/// The stream of one attendance, with what ends when it is dropped.
struct Attended {
    messages: BoxStream<Result<AttendResponse, Status>>,
    _attending: Attending,
}

impl Stream for Attended {
    type Item = Result<AttendResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.messages.as_mut().poll_next(context)
    }
}
