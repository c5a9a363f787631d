//! Opening the connections to a hub, and the messages' way onto them.

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tonic::{
    Request, Response, Status, Streaming,
    codec::CompressionEncoding,
    metadata::{Ascii, Binary, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::{
    lane::Lanes,
    way::{Opened, Opening, Tap, Way},
};
use crate::{
    base::{
        clock::{self, Timestamp},
        fault::{Fault, Kind, Outcome},
        limits::{
            CERTIFICATE_WITHIN, KEEPALIVE_EVERY, KEEPALIVE_WITHIN, NAME_BYTES_MAX, PING_EVERY,
            PING_WITHIN_MAX, WIRE_CONNECTION_WINDOW_BYTES, WIRE_MESSAGE_BYTES_MAX,
            WIRE_STREAM_WINDOW_BYTES,
        },
        text::shown,
    },
    model::member::Role,
    runtime::{Identity, access::Renewed},
    wire::{
        CLIENT_ID_KEY, CLIENT_NAME_KEY, CLIENT_VERSION_KEY, PROTOCOL,
        convert::access::role_in,
        fault::{from_status, link_broke},
        v1::{
            AttendRequest, AttendResponse, PingRequest, RenewRequest, Welcome,
            access_client::AccessClient, asks_client::AsksClient, attend_response::Kind as Attend,
            audit_client::AuditClient, files_client::FilesClient, gauges_client::GaugesClient,
            hub_client::HubClient, policy_client::PolicyClient,
            recordings_client::RecordingsClient, sandboxes_client::SandboxesClient,
            sessions_client::SessionsClient, timeline_client::TimelineClient,
        },
    },
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One set of connections to one hub process. Never reconnects: a new hub is a new set.
pub(super) struct Wires {
    /// Keys, sizes, the keyboard, pings.
    input: Channel,
    /// Lists, the feed, changes.
    control: Channel,
    /// Output and everything else that is large.
    bulk: Channel,
    /// Whether that is a connection of its own over a network, which breaks by itself.
    bulk_apart: bool,
    marks: Marks,
    /// Lists and output are asked for compressed.
    compress: bool,
    pub(super) lanes: Lanes,
    /// Of the hub, safe to show.
    version: String,
    /// What we may do there, as the hub says.
    pub(super) role: Role,
    /// Why nothing but `Hub` calls may be made.
    mismatch: Option<Fault>,
    /// Ends a hub of another version, as it is typed.
    newer: String,
    /// The end of `input`, for hanging up.
    tap: Tap,
}

/// Who asks, ready to be put on every call.
struct Marks {
    client: MetadataValue<Ascii>,
    name: MetadataValue<Binary>,
}

/// Fresh connections, and the stream that ends when the hub does.
pub(super) struct Dialled {
    pub(super) wires: Arc<Wires>,
    pub(super) attendance: Streaming<AttendResponse>,
    pub(super) rtt: Duration,
    /// When what let us in ends; `None` = that is not known here.
    pub(super) until: Option<Timestamp>,
}

/// Connects, says who we are and learns who is there. The caller sets the deadline.
pub(super) async fn dial(
    way: &Way,
    opening: Opening,
    identity: &Identity,
    compress: bool,
) -> Outcome<Dialled> {
    let (input, control, bulk, tap, entered) = channels(way, opening).await?;
    let mut wires = Wires {
        input,
        control,
        bulk,
        bulk_apart: way.is_far() && !way.shares(),
        marks: Marks::new(identity)?,
        compress,
        lanes: Lanes::default(),
        version: String::new(),
        role: Role::Admin,
        newer: way.mends("stop"),
        mismatch: None,
        tap,
    };
    let request = wires.request(AttendRequest { protocol: PROTOCOL });
    let attend = async {
        let attendance = wires.hub().attend(request).await;
        let mut attendance = attendance.map_err(|it| wires.fault(&it))?.into_inner();
        let first = attendance.message().await.map_err(|it| wires.fault(&it))?;
        Outcome::Ok((attendance, first))
    };
    // At the same time: over a long way each round trip shows.
    let asked = async { tokio::try_join!(attend, wires.ping(PING_WITHIN_MAX)) };
    let (entered, asked) = tokio::join!(all_entered(entered), asked);
    // Of both, the first says why.
    entered?;
    let ((attendance, first), rtt) = asked?;
    let Some(Attend::Welcome(welcome)) = first.and_then(|it| it.kind) else {
        return Err(Fault::failed(format!("what answers is no hub: {}", way.shown())));
    };
    wires.version = shown(&welcome.version, NAME_BYTES_MAX);
    wires.mismatch = mismatch(&welcome, &wires);
    wires.role = role_in("welcome.role", welcome.role()).unwrap_or(Role::Admin);
    Ok(Dialled { wires: Arc::new(wires), attendance, rtt, until: way.until() })
}

fn mismatch(welcome: &Welcome, wires: &Wires) -> Option<Fault> {
    (welcome.protocol != PROTOCOL).then(|| {
        Fault::unsupported(format!(
            "the hub is sandwatch {} (protocol {}), this is {VERSION} (protocol {PROTOCOL})",
            wires.version, welcome.protocol
        ))
        .hint(wires.newer_hint())
    })
}

/// Whether the hub lets a connection in, where that is still to be said.
type Entered = Option<oneshot::Receiver<Outcome<()>>>;

/// The connections for input, lists and output, the end of the first, and what is still to be said of them.
async fn channels(
    way: &Way,
    opening: Opening,
) -> Outcome<(Channel, Channel, Channel, Tap, Vec<Entered>)> {
    if way.shares() {
        let (all, tap, entered) = channel(way, opening).await?;
        return Ok((all.clone(), all.clone(), all, tap, vec![entered]));
    }
    let open = || channel(way, opening);
    if way.tries_one_first(opening) {
        let (input, tap, one) = open().await?;
        all_entered(vec![one]).await?;
        let ((control, _, two), (bulk, _, three)) = tokio::try_join!(open(), open())?;
        return Ok((input, control, bulk, tap, vec![two, three]));
    }
    let ((input, tap, one), (control, _, two), (bulk, _, three)) =
        tokio::try_join!(open(), open(), open())?;
    Ok((input, control, bulk, tap, vec![one, two, three]))
}

/// Waits until all of them are in, or one is not let in.
async fn all_entered(connections: Vec<Entered>) -> Outcome<()> {
    for entered in connections.into_iter().flatten() {
        // One that nobody reads any more is said to be broken by who asks over it.
        entered.await.unwrap_or(Ok(()))?;
    }
    Ok(())
}

async fn channel(way: &Way, opening: Opening) -> Outcome<(Channel, Tap, Entered)> {
    let Opened { stream, tap, entered } = way.open(opening).await?;
    // A channel of gRPC reconnects by itself; this one must not, or it would speak to a new hub
    // without having been introduced.
    let once = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_| {
        let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::future::ready(
            stream.map(TokioIo::new).ok_or(io::Error::from(io::ErrorKind::ConnectionReset)),
        )
    });
    let mut endpoint = Endpoint::from_static("http://hub");
    if way.is_far() {
        endpoint = endpoint
            .http2_keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_WITHIN)
            .keep_alive_while_idle(true);
    }
    let channel = endpoint
        .initial_stream_window_size(WIRE_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(WIRE_CONNECTION_WINDOW_BYTES)
        .connect_with_connector(connector)
        .await
        .map_err(|error| unreachable_hub(way, &error))?;
    Ok((channel, tap, entered))
}

/// Says why nothing could be said to a hub, in the words of the system.
fn unreachable_hub(way: &Way, error: &tonic::transport::Error) -> Fault {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Fault::lost(format!("no connection to the hub: {cause}: {}", way.shown()))
        .hint(way.mends("start"))
}

impl Marks {
    fn new(identity: &Identity) -> Outcome<Self> {
        let client = identity.client.as_str().parse::<MetadataValue<Ascii>>();
        let client = client.map_err(|_| Fault::bug("a client id that no header can hold"))?;
        Ok(Self { client, name: MetadataValue::from_bytes(identity.name.as_bytes()) })
    }
}

impl Wires {
    /// Ends the connection for input, with all that the hub has not read: it was told to be lost.
    pub(super) fn hang_up(&self) {
        self.tap.hang_up();
    }

    fn newer_hint(&self) -> String {
        format!("{}, then try again; sandboxes keep running", self.newer)
    }
}

/// Whether what a hub answers may be compressed, where that was asked for. What a client says never is, and no receipt of
/// what was typed: neither is long, and its length is to tell nobody what it is.
const LARGE: bool = true;
const SMALL: bool = false;

macro_rules! clients {
    ($($name:ident: $client:ident over $channel:ident, $large:ident;)*) => {$(
        pub(super) fn $name(&self) -> $client<Channel> {
            // The bound on a message is on what becomes of it, too.
            let client = $client::new(self.$channel.clone())
                .max_decoding_message_size(WIRE_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(WIRE_MESSAGE_BYTES_MAX);
            match $large && self.compress {
                true => client.accept_compressed(CompressionEncoding::Gzip),
                false => client,
            }
        }
    )*};
}

impl Wires {
    clients! {
        access: AccessClient over control, SMALL;
        hub: HubClient over control, SMALL;
        pulse: HubClient over input, SMALL;
        bulk_pulse: HubClient over bulk, SMALL;
        sandboxes: SandboxesClient over control, LARGE;
        typing: SessionsClient over input, SMALL;
        sessions: SessionsClient over control, SMALL;
        streams: SessionsClient over bulk, LARGE;
        recordings: RecordingsClient over bulk, LARGE;
        asks: AsksClient over control, LARGE;
        audit: AuditClient over bulk, LARGE;
        timeline: TimelineClient over bulk, LARGE;
        policy: PolicyClient over control, LARGE;
        gauges: GaugesClient over bulk, LARGE;
        files: FilesClient over bulk, LARGE;
    }

    /// Marks a message with who sends it.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let marks = request.metadata_mut();
        marks.insert(CLIENT_ID_KEY, self.marks.client.clone());
        marks.insert_bin(CLIENT_NAME_KEY, self.marks.name.clone());
        marks.insert(CLIENT_VERSION_KEY, MetadataValue::from_static(VERSION));
        request
    }

    /// Reads a failed call; one that the hub does not know is told by the versions.
    pub(super) fn fault(&self, status: &Status) -> Fault {
        let fault = from_status(status);
        if status.code() == tonic::Code::Unimplemented && fault.kind() == Kind::Unsupported {
            let version = &self.version;
            return Fault::unsupported(format!(
                "this hub ({version}) is older than this console ({VERSION}) and can't do that"
            ))
            .hint(self.newer_hint());
        }
        fault
    }

    /// Waits for an answer, at most `within`.
    pub(super) async fn answer<T>(
        &self,
        within: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Outcome<T> {
        match tokio::time::timeout(within, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.fault(&status)),
            Err(_) => {
                Err(Fault::late(format!("the hub did not answer within {} s", within.as_secs())))
            }
        }
    }

    /// Asks for the next certificate, for this key.
    pub(super) async fn renew(&self, public_key: &[u8]) -> Outcome<Renewed> {
        let call = self.request(RenewRequest { public_key: public_key.to_vec().into() });
        self.answer(CERTIFICATE_WITHIN, self.access().renew(call)).await?.try_into()
    }

    /// Refuses what may only be asked of a hub of our own protocol.
    pub(super) fn same_protocol(&self) -> Outcome<()> {
        self.mismatch.clone().map_or(Ok(()), Err)
    }

    /// Waits until nothing can come over the connection for output any more, and says why. Slow it may be.
    pub(super) async fn bulk_breaks(&self) -> Fault {
        if !self.bulk_apart {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(PING_EVERY).await;
            if let Err(status) = self.bulk_pulse().ping(self.request(PingRequest {})).await
                && link_broke(&status)
            {
                return Fault::lost("the connection for output broke");
            }
        }
    }

    /// Measures the way there and back.
    pub(super) async fn ping(&self, within: Duration) -> Outcome<Duration> {
        let asked = clock::monotonic();
        let mut pulse = self.pulse();
        self.answer(within, pulse.ping(self.request(PingRequest {}))).await?;
        Ok(clock::monotonic().saturating_sub(asked))
    }
}
