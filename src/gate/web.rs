//! Plain HTTP, request by request: a connection that was let out to one host carries requests to no other.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1 as client_http,
    header::{CONTENT_TYPE, HOST, UPGRADE},
    server::conn::http1 as server_http,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    net::TcpStream,
    sync::Mutex,
    task::JoinHandle,
};

use super::{
    flow::{Client, Counted},
    reach::{Host, Place},
};
use crate::base::{
    limits::{FIRST_WORDS_WITHIN, GATE_WORDS_BYTES_MAX},
    text::shown,
};

type Body = BoxBody<Bytes, hyper::Error>;
type Requests = Mutex<client_http::SendRequest<Incoming>>;
/// What a connection has become when it is none for requests any more.
type Other = Arc<std::sync::Mutex<Option<JoinHandle<()>>>>;

/// Carries requests until either side has enough.
pub async fn carry(client: Client, server: Counted<TcpStream>, place: &Place) {
    let shaken = client_http::Builder::new()
        .preserve_header_case(true)
        .max_buf_size(GATE_WORDS_BYTES_MAX)
        .handshake::<_, Incoming>(TokioIo::new(server))
        .await;
    let (requests, connection) = match shaken {
        Ok(it) => it,
        Err(error) => return tracing::debug!(%error, "a connection out broke"),
    };
    let requests: Arc<Requests> = Arc::new(Mutex::new(requests));
    let place = Arc::new(place.clone());
    let other = Other::default();
    let becomes = Arc::clone(&other);
    let service = service_fn(move |request| {
        let (requests, place) = (Arc::clone(&requests), Arc::clone(&place));
        let becomes = Arc::clone(&becomes);
        async move { Ok::<_, Infallible>(pass_on(&requests, request, &place, &becomes).await) }
    });
    let heard = Heard { said: client.said.into(), stream: client.stream };
    let serving = server_http::Builder::new()
        .preserve_header_case(true)
        .max_buf_size(GATE_WORDS_BYTES_MAX)
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_WORDS_WITHIN)
        .half_close(true)
        .serve_connection(TokioIo::new(heard), service)
        .with_upgrades();
    let connection = connection.with_upgrades();
    tokio::pin!(connection);
    tokio::pin!(serving);
    let mut answers = true;
    loop {
        tokio::select! {
            served = &mut serving => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a program's requests broke off");
                }
                break;
            }
            // What is still on its way back is told to the program all the same.
            ended = &mut connection, if answers => {
                answers = false;
                if let Err(error) = ended {
                    tracing::debug!(%error, "answers to a program broke off");
                }
            }
        }
    }
    let other = other.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(other) = other else { return };
    if answers {
        drop(tokio::join!(connection, other));
    } else {
        drop(other.await);
    }
}

fn said(status: StatusCode, words: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("sandwatch: {words}\n")));
    let mut response = Response::new(body.map_err(|it| match it {}).boxed());
    *response.status_mut() = status;
    let plain = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// Why a request is not for the place that it goes to.
fn astray(request: &Request<Incoming>, place: &Place) -> Option<String> {
    if request.method() == Method::CONNECT {
        return Some("nothing leads through here to somewhere else".to_owned());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Some("a request names its host once".to_owned());
    }
    let host = host.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    let target = request.uri().authority().map(ToString::to_string);
    let other = [host, target].into_iter().flatten().find(|it| !place.is_called(it));
    other.map(|it| format!("this connection is to {place}, and not to {}", shown(&it, 256)))
}

async fn pass_on(
    requests: &Requests,
    mut request: Request<Incoming>,
    place: &Place,
    becomes: &Other,
) -> Response<Body> {
    if let Some(why) = astray(&request, place) {
        return said(StatusCode::FORBIDDEN, &why);
    }
    if matches!(place.host, Host::Name(_)) && request.uri().authority().is_some() {
        // As one asks a server, and not a proxy.
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    let becomes_one = request.headers().get(UPGRADE);
    if becomes_one.is_some_and(|it| !it.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        // Another protocol would say in its own way whom it is for.
        request.headers_mut().remove(UPGRADE);
        request.headers_mut().remove("http2-settings");
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let mut requests = requests.lock().await;
    let answered = async {
        requests.ready().await?;
        requests.send_request(request).await
    };
    let mut response = match answered.await {
        Ok(response) => response,
        Err(error) => return said(StatusCode::BAD_GATEWAY, &format!("{place}: {error}")),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let other = hyper::upgrade::on(&mut response);
        let carrying = tokio::spawn(async move {
            if let (Ok(ours), Ok(theirs)) = tokio::join!(upgrade, other) {
                let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
                drop(copy_bidirectional(&mut ours, &mut theirs).await);
            }
        });
        *becomes.lock().unwrap_or_else(PoisonError::into_inner) = Some(carrying);
    }
    response.map(BodyExt::boxed)
}

/// A connection of which something was heard already.
struct Heard {
    said: Bytes,
    stream: TcpStream,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.said.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.said.len().min(buffer.remaining());
        let piece = self.said.split_to(length);
        buffer.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
