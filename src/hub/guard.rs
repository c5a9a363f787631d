//! What stands before every call, of every service: who asks, whether they may, and whether there is room. Nothing else in
//! the hub lets a call through.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::Frame;
use tonic::{
    Status,
    body::Body,
    codegen::{Body as HttpBody, Service, http},
    metadata::MetadataMap,
};

use super::{
    Shared,
    meter::Open,
    roles::{self, Call, Content},
    work::{Caller, on_behalf_of},
};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        id::ClientId,
        limits::LABEL_BYTES_MAX,
        text::shown,
    },
    model::member::{Refused, Role},
    runtime::{
        Identity, Peer,
        access::{Refusal, RefusedWho},
    },
    wire::{CLIENT_ID_KEY, CLIENT_NAME_KEY, convert::client_id, fault::to_status},
};

/// What our own services begin with.
const OURS: &str = "sandwatch.";

/// One of the services behind it.
#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Guard<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl<S> Service<http::Request<Body>> for Guard<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Answering {
        match self.shared.admit(&mut request) {
            Ok((open, caller)) => {
                let answer = on_behalf_of(caller, self.inner.call(request));
                Box::pin(
                    async move { Ok(answer.await?.map(|body| Body::new(Held { body, open }))) },
                )
            }
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
        }
    }
}

/// An answer, with its call, which is open as long as it is sent.
struct Held {
    body: Body,
    #[expect(dead_code, reason = "it is dropped with the answer")]
    open: Open,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl Shared {
    /// Learns who asks, and refuses what they may not. What passes carries who they are.
    fn admit(&self, request: &mut http::Request<Body>) -> Result<(Open, Caller), Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let claimed = claimed(&MetadataMap::from_headers(request.headers().clone()));
        // Some calls are made by tools that know nothing of ours, and say no name.
        let (unnamed, who) = match claimed {
            Ok(it) => (None, proven(it, peer)),
            Err(fault) => (Some(fault), proven(nobody(), peer)),
        };
        // What is refused is measured as well.
        let open = self.meters.begin(&who).map_err(|fault| {
            self.refused(Refused::Rate, &who, &shown(request.uri().path(), LABEL_BYTES_MAX));
            to_status(&fault)
        })?;
        let Some(call) = roles::find(request.uri().path()) else {
            if who.role() < Role::Admin {
                self.refused(Refused::Role, &who, &shown(request.uri().path(), LABEL_BYTES_MAX));
            }
            return Err(Status::unimplemented("the hub does not know this call"));
        };
        let admitted = self.may(&who, call).and_then(|()| match unnamed {
            None => self.is_theirs(&who),
            Some(fault) if call.service.starts_with(OURS) && call.method != "Ping" => Err(fault),
            Some(_) => Ok(()),
        });
        admitted.map_err(|fault| to_status(&fault))?;
        let member = match &who.peer {
            Some(Peer::Certificate(bearer)) => Some(bearer.member.clone()),
            _ => None,
        };
        request.extensions_mut().insert(who);
        Ok((open, Caller { member, urgent: call.is_urgent() }))
    }

    /// Nobody passes for a client of another.
    fn is_theirs(&self, who: &Identity) -> Outcome<()> {
        let Some(Peer::Certificate(bearer)) = &who.peer else { return Ok(()) };
        if who.client.as_str().starts_with(&bearer.client_prefix()) {
            return Ok(());
        }
        self.refused(Refused::Identity, who, who.client.as_str());
        Err(Fault::denied(format!(
            "{} calls itself by an id that is not its own: {}",
            who.name, who.client
        )))
    }

    fn may(&self, who: &Identity, call: &Call) -> Outcome<()> {
        if who.role() >= call.least {
            return Ok(());
        }
        self.refused(Refused::Role, who, &words(call));
        Err(roles::refusal(who, call.does, call.least))
    }

    /// Refuses what a call that they may make would do.
    pub(super) fn may_by_content(&self, who: &Identity, content: Content) -> Result<(), Status> {
        if who.role() >= Content::LEAST {
            return Ok(());
        }
        self.refused(Refused::Role, who, content.does());
        Err(to_status(&roles::refusal(who, content.does(), Content::LEAST)))
    }

    /// Refuses what somebody types too fast.
    pub(super) fn may_type(&self, who: &Identity, bytes: usize) -> Outcome<()> {
        let may = self.meters.types(who, bytes);
        if may.as_ref().is_err_and(|it| it.kind() == Kind::Busy) {
            self.refused(Refused::Rate, who, "type");
        }
        may
    }

    fn refused(&self, why: Refused, who: &Identity, what: &str) {
        let by = RefusedWho::Client(who.clone());
        let told = self
            .directory
            .register()
            .is_none_or(|it| it.refused(Refusal { why, what: what.to_owned(), by }));
        if told {
            tracing::info!(name = who.name, why = why.word(), what, "a call was refused");
        }
    }
}

/// A call as the record names it, e.g. `Sandboxes.Remove`.
fn words(call: &Call) -> String {
    let service = call.service.rsplit('.').next().unwrap_or(call.service);
    format!("{service}.{}", call.method)
}

fn nobody() -> Identity {
    Identity { client: ClientId::random(), name: "somebody".to_owned(), peer: None }
}

/// Who somebody says they are.
pub(super) fn claimed(metadata: &MetadataMap) -> Outcome<Identity> {
    let client: ClientId = metadata
        .get(CLIENT_ID_KEY)
        .and_then(|it| it.to_str().ok())
        .ok_or_else(|| Fault::invalid(format!("the call does not say who asks: {CLIENT_ID_KEY}")))
        .and_then(client_id)?;
    let name = metadata
        .get_bin(CLIENT_NAME_KEY)
        .and_then(|it| it.to_bytes().ok())
        // Parentheses are the hub's: with them it says what is proven.
        .map(|it| String::from_utf8_lossy(&it).replace(['(', ')'], "|"))
        .map(|it| shown(&it, LABEL_BYTES_MAX))
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| client.to_string());
    Ok(Identity { client, name, peer: None })
}

/// The same with what is proven of it: by that name they are known from here on.
fn proven(claimed: Identity, peer: Option<Peer>) -> Identity {
    match peer {
        Some(Peer::Certificate(bearer)) => {
            let name = bearer.shown();
            let bearer = crate::runtime::Bearer { called: Some(claimed.name), ..bearer };
            Identity { client: claimed.client, name, peer: Some(Peer::Certificate(bearer)) }
        }
        peer => Identity { peer, ..claimed },
    }
}
