//! Layer `hub`: gRPC over any `Directory`. One hub per user and instance; who it is, is decided by a
//! lock on a file, never by the socket.
//!
//! A process becomes the hub by `claim`, then opens its engine (the registry is its alone from then
//! on), then calls `Claim::serve`.
mod accept;
mod claim;
mod guard;
mod handed;
mod meter;
pub mod metrics;
#[cfg(feature = "otel")]
pub mod otel;
mod outgoing;
pub mod roles;
mod service;
mod sys;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "without_tls.rs"]
pub mod tls;
mod work;

use std::{future::Future, os::unix::net::UnixListener, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{codec::CompressionEncoding, service::Routes, transport::Server};

pub use accept::peer_allowed;
pub use claim::{Claim, Place, claim, claim_at, ended};
pub use handed::Handed;

use self::{
    accept::{Bound, Peers, accept, passing},
    guard::Guard,
    handed::{Word, tell},
    meter::Meters,
    service::Service,
    tls::Door,
    work::Work,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{
            CLIENT_ANSWERS_WITHIN, CLIENT_ASKED_EVERY, HEADERS_BYTES_MAX, HUB_DRAIN_WITHIN,
            HUB_STREAMS_MAX, WIRE_CONNECTION_WINDOW_BYTES, WIRE_MESSAGE_BYTES_MAX,
            WIRE_STREAM_WINDOW_BYTES,
        },
    },
    runtime::Directory,
    wire::{
        DESCRIPTORS,
        v1::{
            access_server::AccessServer, asks_server::AsksServer, audit_server::AuditServer,
            files_server::FilesServer, gauges_server::GaugesServer, hub_server::HubServer,
            policy_server::PolicyServer, recordings_server::RecordingsServer,
            sandboxes_server::SandboxesServer, sessions_server::SessionsServer,
            timeline_server::TimelineServer,
        },
    },
};

/// Leaves the terminal and the directory a hub was started from: for `hub serve --detached`, before
/// anything else.
pub fn detach() -> Outcome<()> {
    let left = rustix::process::setsid().and_then(|_| rustix::process::chdir("/"));
    left.map_err(|error| Fault::io("leaving the terminal", &error.into()))
}

/// Resolves at the first SIGTERM, SIGINT or SIGHUP: the usual `stop` of `Claim::serve`. From the call on, none of them ends
/// the process by itself: whoever is told that the hub serves may tell it to end at once.
pub fn told_to_end() -> impl Future<Output = ()> + Send {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let waited_for = kinds.map(signal);
    async move {
        let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = waited_for else {
            tracing::warn!("no signal can be waited for; the hub ends by `sandwatch hub stop`");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// What all services of one hub share.
struct Shared {
    directory: Arc<dyn Directory>,
    /// This machine's, as it is listed.
    socket: String,
    /// `None` = nobody comes from elsewhere.
    remote: Option<Remote>,
    meters: Meters,
    /// `clock::monotonic` when it began to serve.
    started: Duration,
    /// Why the hub ends; `None` while it does not.
    stop: watch::Sender<Option<String>>,
    work: Work,
    attendance: service::Attendance,
}

/// What lets others come.
struct Remote {
    taken: tls::Taken,
    #[cfg(feature = "tls")]
    authority: Arc<tls::authority::Authority>,
    #[cfg(not(feature = "tls"))]
    authority: Arc<tls::Authority>,
}

impl Claim {
    /// Serves until `stop` resolves or a client asks for the end; then lets the calls under way end
    /// within a deadline. The lock is given back at the very end.
    pub async fn serve(
        self,
        directory: Arc<dyn Directory>,
        stop: impl Future<Output = ()> + Send,
    ) -> Outcome<()> {
        self.serve_at(directory, stop, None, None).await
    }

    /// The same at a socket that was handed down, if one was, and for those as well who come from elsewhere by that door.
    pub async fn serve_at(
        self,
        directory: Arc<dyn Directory>,
        stop: impl Future<Output = ()> + Send,
        handed: Option<UnixListener>,
        door: Option<Door>,
    ) -> Outcome<()> {
        let (listener, bound) = match handed {
            Some(handed) => (accept::take_over(handed)?, None),
            None => accept::bind(self.socket()).map(|(listener, bound)| (listener, Some(bound)))?,
        };
        let remote =
            door.as_ref().map(|it| Remote { taken: it.taken(), authority: it.authority() });
        let ((near, near_peers), (far, far_peers)) = (passing(), passing());
        let mut accepting = match (door, directory.register()) {
            (Some(door), Some(register)) => door.accept(register, &far)?,
            (Some(_), None) => return Err(Fault::bug("a hub with a door and no register")),
            (None, _) => Vec::new(),
        };
        let shared = Arc::new(Shared {
            directory,
            socket: format!("unix:{}", self.socket().display()),
            remote,
            meters: Meters::default(),
            started: clock::monotonic(),
            stop: watch::Sender::new(None),
            work: Work::new(),
            attendance: service::Attendance::default(),
        });
        accepting.push(accept(listener, near, far));
        tracing::info!(listen = shared.listen().join(" "), "the hub serves");
        tell(Word::Serves);
        let stop = async {
            tokio::select! {
                () = stop => "the hub was told to end",
                () = self.orphaned() => "the hub's state directory was deleted",
            }
        };
        let serving = run(shared.clone(), (near_peers, far_peers), stop, &self, bound).await;
        accepting.iter().for_each(tokio::task::JoinHandle::abort);
        tracing::info!("the hub has ended");
        serving
    }
}

async fn run(
    shared: Arc<Shared>,
    (near, far): (Peers, Peers),
    stop: impl Future<Output = &'static str> + Send,
    claim: &Claim,
    bound: Option<Bound>,
) -> Outcome<()> {
    let mut asked = shared.stop.subscribe();
    let routes = routes(&shared).await?;
    let near = serve(&shared, routes.clone(), near, None);
    let far = serve(&shared, routes, far, Some(CLIENT_ASKED_EVERY));
    let serving = async { tokio::try_join!(near, far).map(drop) };
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        done = &mut serving => {
            return done.map_err(|error| Fault::failed(format!("serving {}: {error}", claim.socket().display())));
        }
        reason = stop => shared.stop(reason),
        _ = asked.wait_for(Option::is_some) => {}
    }
    tell(Word::Ends);
    // From here on a new verb starts a new hub, which waits for the lock. What was handed down is not ours to take away.
    if let Some(bound) = bound.filter(|_| !claim.is_orphaned()) {
        bound.unbind();
    }
    let drained = async {
        drop(serving.await);
        shared.work.finished().await;
    };
    if tokio::time::timeout(HUB_DRAIN_WITHIN, drained).await.is_err() {
        tracing::warn!("calls were cut off at the end of the hub");
    }
    Ok(())
}

/// Serves those who come, and asks each of them so often whether it is there. One of this machine that is gone is known to
/// be, and one that was stopped by its operator may stay.
fn serve(
    shared: &Arc<Shared>,
    routes: Routes,
    peers: Peers,
    asked_every: Option<Duration>,
) -> impl Future<Output = Result<(), tonic::transport::Error>> + Send + use<> {
    let (guarded, stop) = (shared.clone(), shared.stop.subscribe());
    Server::builder()
        .initial_stream_window_size(WIRE_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(WIRE_CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(HUB_STREAMS_MAX)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_keepalive_interval(asked_every)
        .http2_keepalive_timeout(Some(CLIENT_ANSWERS_WITHIN))
        .layer(tower::layer::layer_fn(move |inner| Guard::new(inner, guarded.clone())))
        .add_routes(routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(peers), stopped(stop))
}

/// Resolves when the hub is to end, or is gone.
async fn stopped(mut stop: watch::Receiver<Option<String>>) {
    drop(stop.wait_for(Option::is_some).await);
}

impl Shared {
    /// Where it listens now.
    fn listen(&self) -> Vec<String> {
        let away = self.remote.iter().flat_map(|it| it.taken.all());
        let away = away.map(|it| format!("https://{it}"));
        std::iter::once(self.socket.clone()).chain(away).collect()
    }

    fn stop(&self, reason: &str) {
        self.stop.send_if_modified(|now| {
            let first = now.is_none();
            if first {
                *now = Some(reason.to_owned());
            }
            first
        });
    }
}

/// Every service, without what stands before them.
async fn routes(shared: &Arc<Shared>) -> Outcome<Routes> {
    let service = Service::new(shared.clone());
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| Fault::bug(format!("the descriptors can't be served: {error}")))?;
    let reporter = tonic_health::server::HealthReporter::new();
    reporter.set_serving::<HubServer<Service>>().await;
    reporter.set_serving::<SandboxesServer<Service>>().await;
    reporter.set_serving::<SessionsServer<Service>>().await;
    reporter.set_serving::<RecordingsServer<Service>>().await;
    reporter.set_serving::<AsksServer<Service>>().await;
    reporter.set_serving::<AuditServer<Service>>().await;
    reporter.set_serving::<TimelineServer<Service>>().await;
    reporter.set_serving::<PolicyServer<Service>>().await;
    reporter.set_serving::<GaugesServer<Service>>().await;
    reporter.set_serving::<FilesServer<Service>>().await;
    reporter.set_serving::<AccessServer<Service>>().await;
    let health = tonic_health::server::HealthService::from_health_reporter(reporter);
    macro_rules! bounded {
        ($server:ident) => {
            $server::new(service.clone())
                .max_decoding_message_size(WIRE_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(WIRE_MESSAGE_BYTES_MAX)
        };
    }
    // Compressed only for who asks for it; nothing that is compressed is taken.
    macro_rules! large {
        ($server:ident) => {
            bounded!($server).send_compressed(CompressionEncoding::Gzip)
        };
    }
    let mut routes = Routes::builder();
    routes
        .add_service(bounded!(HubServer))
        .add_service(large!(SandboxesServer))
        .add_service(large!(SessionsServer))
        .add_service(large!(RecordingsServer))
        .add_service(large!(AsksServer))
        .add_service(large!(AuditServer))
        .add_service(large!(TimelineServer))
        .add_service(large!(PolicyServer))
        .add_service(large!(GaugesServer))
        .add_service(large!(FilesServer))
        .add_service(bounded!(AccessServer))
        .add_service(tonic_health::pb::health_server::HealthServer::new(health))
        .add_service(reflection);
    Ok(routes.routes())
}
