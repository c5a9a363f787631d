//! HTTP, request by request: a connection that was let out to one host carries requests to no other, and what is put in
//! on the way is put in here.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Frame, Incoming},
    client::conn::http1 as client_http,
    ext::ReasonPhrase,
    header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, UPGRADE},
    server::conn::http1 as server_http,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    net::TcpStream,
    sync::Mutex,
};

use super::{
    Inner,
    client::Client,
    locked,
    log::Refusal,
    noted::Word,
    reach::{Host, Place},
    requests::Grant,
    rules::Snapshot,
};
use crate::base::{
    limits::{FIRST_WORDS_WITHIN, GATE_WORDS_BYTES_MAX},
    text::shown,
};

/// Methods that are answered with what was sent.
const ECHOES: [&str; 2] = ["TRACE", "TRACK"];

/// Headers by which some servers take another method or address than the request's own.
const OVERRIDES: [&str; 6] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
];

/// Headers that are for a proxy alone.
const OF_PROXIES: [&str; 2] = ["proxy-connection", "proxy-authorization"];

type Body = BoxBody<Bytes, hyper::Error>;
type Requests = Mutex<client_http::SendRequest<Incoming>>;
/// What a connection has become when it is none for requests any more. Whoever carries its requests carries this too:
/// dropped, it is cut.
type Other = Arc<std::sync::Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>>;

/// Where the requests of one connection go.
pub struct Way {
    gate: Arc<Inner>,
    place: Place,
    /// As the log has the connection.
    number: u64,
    /// In TLS, which was opened.
    tls: bool,
    grant: Grant,
    /// Its one request is one that was made to a proxy: the next may be for another place, and comes by another connection.
    proxied: bool,
    /// Method and path of the request that was let out last.
    last: std::sync::Mutex<Option<(String, String)>>,
    becomes: Other,
}

impl Way {
    pub(in crate::gate) fn new(
        gate: &Arc<Inner>,
        place: &Place,
        number: u64,
        tls: bool,
        grant: Grant,
    ) -> Self {
        let (gate, place) = (Arc::clone(gate), place.clone());
        let (last, becomes) = (std::sync::Mutex::default(), Other::default());
        Self { gate, place, number, tls, grant, proxied: false, last, becomes }
    }

    /// The same for a request that was made to a proxy.
    pub fn of_a_proxy(self) -> Self {
        Self { proxied: true, ..self }
    }

    /// Why the request that was let out last would not be now. In doubt it would, for nothing was taken back.
    fn over(&self, rules: &Snapshot) -> Option<Word> {
        let last = locked(&self.last).clone().filter(|_| rules.is_whole());
        let (method, path) = last?;
        rules.may(&self.place, &self.grant, &method, &path).err()
    }
}

/// Carries requests until either side has enough.
pub async fn carry<C, S>(client: C, server: S, way: Way)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
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
    let other = Arc::clone(&way.becomes);
    let way = Arc::new(way);
    let open = Arc::clone(&way);
    let Way { gate, place, number, proxied, .. } = &*open;
    let over = gate.once(|rules| open.over(rules));
    let service = service_fn(move |request| {
        let (requests, way) = (Arc::clone(&requests), Arc::clone(&way));
        async move { Ok::<_, Infallible>(pass_on(&requests, request, &way).await) }
    });
    let serving = server_http::Builder::new()
        .preserve_header_case(true)
        .max_buf_size(GATE_WORDS_BYTES_MAX)
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_WORDS_WITHIN)
        .keep_alive(!*proxied)
        .half_close(true)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades();
    let connection = connection.with_upgrades();
    tokio::pin!(connection);
    tokio::pin!(serving, over);
    let mut answers = true;
    loop {
        tokio::select! {
            served = &mut serving => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a program's requests broke off");
                }
                break;
            }
            // What is still on its way back is told to the program all the same; then it learns that this is over.
            ended = &mut connection, if answers => {
                answers = false;
                if let Err(error) = ended {
                    tracing::debug!(%error, "answers to a program broke off");
                }
                serving.as_mut().graceful_shutdown();
            }
            why = &mut over => return gate.cut(*number, &why),
        }
    }
    let other = locked(&other).take();
    let Some(other) = other else { return };
    let carried = async {
        if answers {
            drop(tokio::join!(connection, other));
        } else {
            other.await;
        }
    };
    tokio::select! {
        () = carried => {}
        why = over => gate.cut(*number, &why),
        why = gate.once(|rules| rules.forbids_unseen(place)) => gate.cut(*number, &why),
    }
}

/// Answers the one request that is waited for, and no other.
#[cfg(feature = "tls")]
pub async fn tell<C>(client: C, status: StatusCode, words: &str)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service =
        service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(said(status, words)) });
    let serving = server_http::Builder::new()
        .keep_alive(false)
        .max_buf_size(GATE_WORDS_BYTES_MAX)
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_WORDS_WITHIN)
        .serve_connection(TokioIo::new(client), service);
    drop(tokio::time::timeout(FIRST_WORDS_WITHIN, serving).await);
}

fn said(status: StatusCode, words: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("sandwatch: {words}\n")));
    let mut response = Response::new(body.map_err(|it| match it {}).boxed());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// A request that is not for the place that its connection goes to.
struct Astray {
    /// Whom it names.
    whom: String,
    /// Why it goes nowhere.
    why: &'static str,
}

fn astray(request: &Request<Incoming>, place: &Place) -> Option<Astray> {
    let target = request.uri().authority().map(ToString::to_string);
    if request.method() == Method::CONNECT {
        let whom = shown(&target.unwrap_or_default(), 256);
        return Some(Astray { whom, why: "nothing leads through here to somewhere else" });
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Some(Astray { whom: place.to_string(), why: "a request names its host once" });
    }
    let host = host.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    let other = [host, target].into_iter().flatten().find(|it| !place.is_called(it))?;
    Some(Astray { whom: shown(&other, 256), why: "it is for another host" })
}

/// What a request may carry and where it may go; else what its program is told.
fn prepared(
    request: &mut Request<Incoming>,
    way: &Way,
    rules: &Snapshot,
) -> Result<(), (StatusCode, String)> {
    let Way { gate, place, .. } = way;
    let refused = |place: String, what, why: &Word| {
        gate.noted(way.number, Some(place.clone()), false, why.clone());
        gate.log().refused(Refusal { within: way.number, place, what, why: why.to_string() });
    };
    if let Some(Astray { whom, why }) = astray(request, place) {
        // It is no part of what this connection was let out for, and is listed beside it.
        let what = format!("within a connection to {place}");
        let told = format!("this connection is to {place}, and the request to {whom}: {why}");
        refused(whom, what, &Word::own(why));
        return Err((StatusCode::FORBIDDEN, told));
    }
    let (method, path) = (request.method().as_str(), request.uri().path());
    match rules.may(place, &way.grant, method, path) {
        Ok(None) => {}
        Ok(Some(by)) => gate.noted(way.number, None, true, by),
        Err(why) => {
            let what = shown(&format!("{method} {path}"), 256);
            refused(place.to_string(), what.clone(), &why);
            let why = format!("{what} of {place} is out of reach: {why}");
            return Err((StatusCode::FORBIDDEN, why));
        }
    }
    *locked(&way.last) = Some((method.to_owned(), path.to_owned()));
    if rules.has_about_requests(place) {
        // A server that heeds these would do another request than the one that was held against the rules.
        OVERRIDES.iter().for_each(|it| drop(request.headers_mut().remove(*it)));
    }
    let address = gate.secrets.in_address(&request.uri().to_string());
    let found = gate.secrets.put(place, way.tls, way.grant.foreign, request.headers_mut());
    let found = found.map_err(|why| {
        gate.log().note(way.number, &why);
        (StatusCode::BAD_GATEWAY, why)
    })?;
    for note in found.notes.iter().chain(&address) {
        gate.log().note(way.number, note);
    }
    let method = request.method().as_str();
    if found.put && ECHOES.iter().any(|it| method.eq_ignore_ascii_case(it)) {
        let why = "it would be answered with a secret that is put in on the way";
        return Err((StatusCode::FORBIDDEN, format!("{method}: {why}")));
    }
    if (way.proxied || matches!(place.host, Host::Name(_))) && request.uri().authority().is_some() {
        as_of_a_server(request);
    }
    if becomes_websocket(request.headers()) {
        // What comes after it is no request.
        if let Some(why) = rules.forbids_unseen(place) {
            refused(place.to_string(), "a WebSocket".to_owned(), &why);
            return Err((StatusCode::FORBIDDEN, why.to_string()));
        }
    } else {
        // Another protocol would say in its own way whom it is for.
        request.headers_mut().remove(UPGRADE);
        request.headers_mut().remove("http2-settings");
    }
    Ok(())
}

/// Makes a request as one asks a server, and not a proxy. It names its host, whoever it was said to.
fn as_of_a_server(request: &mut Request<Incoming>) {
    let host = request.uri().authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok());
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let headers = request.headers_mut();
    if let (false, Some(host)) = (headers.contains_key(HOST), host) {
        headers.insert(HOST, host);
    }
    OF_PROXIES.iter().for_each(|it| drop(headers.remove(*it)));
}

/// Whether it asks, or agrees, to become a WebSocket and nothing else.
fn becomes_websocket(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(UPGRADE).iter();
    let first = all.next().is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"));
    first && all.next().is_none()
}

async fn pass_on(requests: &Requests, mut request: Request<Incoming>, way: &Way) -> Response<Body> {
    let rules = way.gate.rules.now().await;
    if let Err((status, why)) = prepared(&mut request, way, &rules) {
        return said(status, &why);
    }
    let Way { gate, place, becomes, .. } = way;
    let asked = becomes_websocket(request.headers());
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
        if !asked || !becomes_websocket(response.headers()) {
            let why = "it changes to a protocol that was not asked for";
            gate.log().note(way.number, why);
            return said(StatusCode::BAD_GATEWAY, &format!("{place}: {why}"));
        }
        let other = hyper::upgrade::on(&mut response);
        let carrying = Box::pin(async move {
            if let (Ok(ours), Ok(theirs)) = tokio::join!(upgrade, other) {
                let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
                drop(copy_bidirectional(&mut ours, &mut theirs).await);
            }
        });
        *locked(becomes) = Some(carrying);
    }
    if !gate.secrets.has_one_for(place) {
        return response.map(BodyExt::boxed);
    }
    gate.secrets.hide(place, response.headers_mut());
    // Nobody needs these, and what they say is not looked at.
    response.extensions_mut().remove::<ReasonPhrase>();
    let untrailed = |frame: Frame<Bytes>| Frame::data(frame.into_data().unwrap_or_default());
    response.map(|it| it.map_frame(untrailed).boxed())
}

/// A connection of which something was heard already.
pub struct Heard {
    said: Bytes,
    stream: TcpStream,
}

impl From<Client> for Heard {
    fn from(client: Client) -> Self {
        Self { said: client.said.into(), stream: client.stream }
    }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const WEBSOCKET: &str =
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";

    fn alone<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(work)
    }

    /// A program's end, the server's end, and what carries between them.
    fn between() -> (DuplexStream, DuplexStream, Pin<Box<impl Future<Output = ()>>>) {
        let ((program, ours), (theirs, server)) = (duplex(1 << 16), duplex(1 << 16));
        let gate = Arc::new(Inner::for_tests(&[]));
        let place = Place { host: Host::Name("a.example".into()), port: 80 };
        let grant = Grant { whole: true, foreign: None };
        (program, server, Box::pin(carry(ours, theirs, Way::new(&gate, &place, 1, false, grant))))
    }

    /// All that comes up to a text.
    async fn up_to(stream: &mut DuplexStream, end: &str) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(end.as_bytes()) {
            let Ok(byte) = stream.read_u8().await else { break };
            heard.push(byte);
        }
        String::from_utf8(heard).unwrap()
    }

    /// What the server hears of a request, and the program of its answer.
    async fn told(
        program: &mut DuplexStream,
        server: &mut DuplexStream,
        request: &str,
        answer: &str,
    ) -> (String, String) {
        program.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
        let heard = up_to(server, "\r\n\r\n").await;
        server.write_all(answer.as_bytes()).await.unwrap();
        (heard, up_to(program, "\r\n\r\n").await)
    }

    #[test]
    fn a_websocket_ends_with_what_carries_it() {
        const SWITCHED: &str =
            "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        alone(async {
            let (mut program, mut server, mut carrying) = between();
            let through = async {
                let (_, answer) = told(&mut program, &mut server, WEBSOCKET, SWITCHED).await;
                assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
                program.write_all(b"there;").await.unwrap();
                assert_eq!(up_to(&mut server, ";").await, "there;");
                server.write_all(b"back;").await.unwrap();
                assert_eq!(up_to(&mut program, ";").await, "back;");
            };
            tokio::select! {
                () = &mut carrying => panic!("it ended by itself"),
                () = through => {}
            }
            drop(carrying);
            assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(program.read(&mut [0]).await.unwrap(), 0);
        });
    }

    #[test]
    fn nothing_but_a_websocket_is_changed_to() {
        const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        const OTHER: &str = "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
        let more = format!("{WEBSOCKET}Upgrade: h2c\r\nHTTP2-Settings: AA\r\n");
        for (request, answer, asked, status) in [
            (WEBSOCKET, DONE, true, "200"),
            (&more, DONE, false, "200"),
            (WEBSOCKET, OTHER, true, "502"),
            (&more, OTHER, false, "502"),
        ] {
            alone(async {
                let (mut program, mut server, carrying) = between();
                let through = async move {
                    let told = told(&mut program, &mut server, request, answer).await;
                    // Both ends hang up, and that is the end of it.
                    told
                };
                let (heard, answer) = tokio::join!(carrying, through).1;
                let heard = heard.to_lowercase();
                assert_eq!(heard.contains("upgrade: websocket"), asked, "{heard}");
                assert!(!heard.contains("h2c") && !heard.contains("settings"), "{heard}");
                assert!(answer.contains(status), "{answer}");
            });
        }
    }
}
