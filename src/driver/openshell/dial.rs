//! The connections to a gateway and one call over them: who asks is said with each, and each has its deadline.

use std::{future::Future, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint, Uri},
};

use super::{at::At, generated::v1::open_shell_client::OpenShellClient, tls};
use crate::base::{
    fault::{Fault, Outcome},
    limits::{
        GATEWAY_ANSWER_WITHIN, GATEWAY_CONNECT_WITHIN, GATEWAY_MESSAGE_BYTES_MAX,
        GATEWAY_NEWS_WAYS, GATEWAY_PROBE_WITHIN, GATEWAY_PROBED_EVERY, GATEWAY_WORDS_BYTES_MAX,
    },
    text,
};

/// Bytes in both directions.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

/// A gateway that is spoken to; connections are made when they are needed, and again.
pub struct Client {
    pub at: Arc<At>,
    /// Short calls never wait behind what a sandbox prints.
    control: Channel,
    /// What happens, one stream for each sandbox, over several connections: one carries no more than 200 at once.
    news: Vec<Channel>,
    /// What is carried and always taken: terminals, of main programs and of shells.
    terminals: Channel,
}

type Calls = OpenShellClient<Channel>;

impl Client {
    /// Inside a runtime. Nothing is connected yet.
    pub fn new(at: At) -> Outcome<Self> {
        at.check()?;
        let at = Arc::new(at);
        let channel = || channel(&at);
        let news = (0..GATEWAY_NEWS_WAYS).map(|_| channel()).collect::<Outcome<_>>()?;
        Ok(Self { control: channel()?, news, terminals: channel()?, at })
    }

    pub fn calls(&self) -> Calls {
        bounded(&self.control)
    }

    /// For one sandbox always the same.
    pub fn news(&self, id: &str) -> Calls {
        let sum: usize = id.bytes().map(usize::from).sum();
        bounded(self.news.get(sum % GATEWAY_NEWS_WAYS).unwrap_or(&self.control))
    }

    pub fn terminals(&self) -> Calls {
        bounded(&self.terminals)
    }

    /// Over a connection of its own, which ends with what is called: somebody may read what that prints never, and all that is
    /// on one connection waits then.
    pub fn alone(&self) -> Outcome<Calls> {
        Ok(bounded(&channel(&self.at)?))
    }

    /// Says who asks.
    pub fn request<T>(&self, message: T) -> Outcome<Request<T>> {
        let mut request = Request::new(message);
        if let Some(token) = self.at.token()? {
            let value = format!("Bearer {}", token.expose());
            let mut value: MetadataValue<Ascii> =
                value.parse().map_err(|_| Fault::invalid("the token can't be sent"))?;
            // It is compressed into no table and shown by nobody.
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }

    /// Waits for an answer, for so long.
    pub async fn answer<T>(
        &self,
        doing: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Outcome<T> {
        self.answer_within(GATEWAY_ANSWER_WITHIN, doing, call).await
    }

    pub async fn answer_within<T>(
        &self,
        within: Duration,
        doing: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Outcome<T> {
        match tokio::time::timeout(within, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.fault(&status).context(doing)),
            Err(_) => {
                let (name, seconds) = (&self.at.name, within.as_secs());
                let words = format!("the gateway {name} did not answer within {seconds} s");
                Err(Fault::late(words).context(doing))
            }
        }
    }

    /// A failed call, in our words and the gateway's.
    pub fn fault(&self, status: &Status) -> Fault {
        let name = &self.at.name;
        let said = text::shown(status.message(), GATEWAY_WORDS_BYTES_MAX);
        let told = format!("the gateway {name} says: {said}");
        match status.code() {
            Code::Unauthenticated => {
                Fault::denied(format!("the gateway {name} does not know you: {said}"))
                    .hint(self.at.hint())
            }
            Code::PermissionDenied => Fault::denied(told).hint(
                "your role there does not allow it; whoever runs the gateway can change that",
            ),
            Code::NotFound => Fault::absent(told),
            Code::InvalidArgument | Code::OutOfRange => Fault::invalid(told),
            Code::ResourceExhausted | Code::Aborted | Code::AlreadyExists => Fault::busy(told),
            Code::DeadlineExceeded => Fault::late(told),
            Code::Unimplemented => {
                Fault::unsupported(format!("the gateway {name} does not know this call"))
            }
            Code::Unavailable | Code::Unknown | Code::Cancelled => {
                let why = because(status).unwrap_or(said);
                Fault::lost(format!("the gateway {name} can't be reached: {why}"))
            }
            _ => Fault::failed(told),
        }
    }
}

/// What lies under it all, where the connection itself failed.
fn because(status: &Status) -> Option<String> {
    let mut under = std::error::Error::source(status)?;
    while let Some(next) = under.source() {
        under = next;
    }
    Some(text::shown(&under.to_string(), GATEWAY_WORDS_BYTES_MAX))
}

fn bounded(channel: &Channel) -> Calls {
    OpenShellClient::new(channel.clone())
        .max_decoding_message_size(GATEWAY_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(GATEWAY_MESSAGE_BYTES_MAX)
}

fn channel(at: &Arc<At>) -> Outcome<Channel> {
    let authority = at.authority();
    let odd = |error: &dyn std::fmt::Display| {
        Fault::invalid(format!("not the address of a gateway: {authority}: {error}"))
    };
    let scheme = if at.tls { "https" } else { "http" };
    // What is dialled is decided below; this names it.
    let origin: Uri = format!("{scheme}://{authority}").parse().map_err(|it| odd(&it))?;
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|it| odd(&it))?;
    let endpoint = endpoint
        .origin(origin)
        .connect_timeout(GATEWAY_CONNECT_WITHIN)
        .http2_keep_alive_interval(GATEWAY_PROBED_EVERY)
        .keep_alive_timeout(GATEWAY_PROBE_WITHIN)
        .keep_alive_while_idle(true);
    let at = Arc::clone(at);
    let dial = tower::service_fn(move |_: Uri| {
        let at = Arc::clone(&at);
        async move { dial(&at).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector_lazy(dial))
}

async fn dial(at: &At) -> Outcome<Box<dyn Wire>> {
    let unreached = |error| Fault::io(format_args!("connecting to {}", at.authority()), &error);
    let stream = TcpStream::connect((at.host.as_str(), at.port)).await.map_err(unreached)?;
    // Keys are small and must not wait for each other.
    stream.set_nodelay(true).map_err(unreached)?;
    match at.tls {
        true => tls::wrap(stream, at).await,
        false => Ok(Box::new(stream)),
    }
}
