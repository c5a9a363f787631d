//! Calls to one engine. Each has a connection and a deadline of its own, and what it answers is bounded: an
//! engine that is slow, gone or none at all costs a fault.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    client::conn::http1,
    header,
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    sync::{OnceCell, mpsc},
    task::AbortHandle,
    time::timeout,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{
    address::Address,
    answer::{Container, Message},
    dial::dial,
};
use crate::base::{
    fault::{Fault, Kind, Outcome},
    limits::{
        ENGINE_ANSWER_BYTES_MAX, ENGINE_ANSWER_WITHIN, ENGINE_HEAD_BYTES_MAX, ENGINE_HEADERS_MAX,
        ENGINE_WORDS_BYTES_MAX,
    },
    text,
};

/// Engine 20.10, and the newest version whose words are known here.
pub const OLDEST: u32 = 41;
const NEWEST: u32 = 51;
/// From this one on a program on a terminal can be given its size before it starts.
const SIZE_AT_START: u32 = 42;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What goes with a call.
pub enum Payload {
    Nothing,
    Json(serde_json::Value),
    /// An archive, as it is made.
    Archive(mpsc::Receiver<io::Result<Bytes>>),
}

impl Payload {
    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Json(_) => Some("application/json"),
            Self::Archive(_) => Some("application/x-tar"),
        }
    }

    fn body(self) -> Body {
        match self {
            Self::Nothing => Full::default().map_err(|it| match it {}).boxed_unsync(),
            Self::Json(value) => {
                Full::from(value.to_string()).map_err(|it| match it {}).boxed_unsync()
            }
            Self::Archive(pieces) => BodyExt::boxed_unsync(StreamBody::new(
                ReceiverStream::new(pieces).map(|it| it.map(Frame::data)),
            )),
        }
    }
}

/// The connection of one answer; it ends with this, unless it is let go.
struct Held(Option<AbortHandle>);

impl Held {
    fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A whole answer.
pub struct Answer {
    pub status: StatusCode,
    pub bytes: Bytes,
    headers: HeaderMap,
    whom: String,
}

/// An answer that is read piece by piece.
pub struct Pieces {
    body: Incoming,
    _held: Held,
}

impl Pieces {
    /// The next piece; `None` at the end, and when the engine hung up.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(bytes);
                    }
                }
                Some(Err(_)) | None => return None,
            }
        }
    }
}

/// One engine.
pub struct Engine {
    pub address: Address,
    /// Minor number of the version that is spoken.
    version: OnceCell<u32>,
}

impl Engine {
    pub fn new(address: Address) -> Self {
        Self { address, version: OnceCell::new() }
    }

    /// For the start of a message.
    fn whom(&self) -> String {
        format!("the docker engine at {}", self.address.shown())
    }

    /// Agrees on a version, once.
    pub async fn version(&self) -> Outcome<u32> {
        let asked = self.version.get_or_try_init(|| async {
            let whom = self.whom();
            let asking = async {
                let (response, held) =
                    self.send(Method::GET, "/_ping", Payload::Nothing, false).await?;
                let word = response.headers().get("api-version").and_then(|it| it.to_str().ok());
                let minor = word.and_then(|it| it.strip_prefix("1.")?.parse::<u32>().ok());
                let ok = response.status().is_success();
                drop(held);
                minor.filter(|_| ok).ok_or_else(|| nonsense(&whom, "it does not say its version"))
            };
            let theirs = within(ENGINE_ANSWER_WITHIN, &whom, "say its version", asking).await?;
            if theirs < OLDEST {
                return Err(Fault::unsupported(format!("{whom} is too old: API 1.{theirs}"))
                    .hint("Docker 20.10 (API 1.41) is the oldest that works"));
            }
            Ok(theirs.min(NEWEST))
        });
        asked.await.copied()
    }

    pub async fn takes_size_at_start(&self) -> bool {
        self.version().await.is_ok_and(|it| it >= SIZE_AT_START)
    }

    /// Asks and takes the whole answer, whatever its status.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        payload: Payload,
        time: Duration,
    ) -> Outcome<Answer> {
        let path = format!("/v1.{}{path}", self.version().await?);
        let whom = self.whom();
        let verb = format!("answer {method} {}", path.split('?').next().unwrap_or_default());
        let asking = async {
            let (response, held) = self.send(method, &path, payload, false).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let bytes = self.collect(response.into_body()).await?;
            drop(held);
            Ok(Answer { status, bytes, headers, whom: self.whom() })
        };
        within(time, &whom, &verb, asking).await
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        self.call(Method::GET, path, Payload::Nothing, ENGINE_ANSWER_WITHIN).await?.json()
    }

    pub async fn post(&self, path: &str, payload: Payload) -> Outcome<Answer> {
        self.call(Method::POST, path, payload, ENGINE_ANSWER_WITHIN).await
    }

    pub async fn inspect(&self, container: &str) -> Outcome<Container> {
        self.get(&format!("/containers/{}/json", escaped(container))).await
    }

    /// Asks for an answer that goes on and on.
    pub async fn listen(&self, path: &str) -> Outcome<Pieces> {
        let path = format!("/v1.{}{path}", self.version().await?);
        let whom = self.whom();
        let asking = async {
            let (response, held) = self.send(Method::GET, &path, Payload::Nothing, false).await?;
            if response.status().is_success() {
                return Ok(Pieces { body: response.into_body(), _held: held });
            }
            let status = response.status();
            let bytes = self.collect(response.into_body()).await?;
            Err(Answer { status, bytes, headers: HeaderMap::new(), whom: self.whom() }.fault())
        };
        within(ENGINE_ANSWER_WITHIN, &whom, "begin to answer", asking).await
    }

    /// Asks for the connection itself: from then on it carries what a program says and is told.
    pub async fn hijack(&self, path: &str, payload: Payload) -> Outcome<TokioIo<Upgraded>> {
        let path = format!("/v1.{}{path}", self.version().await?);
        let whom = self.whom();
        let asking = async {
            let (response, held) = self.send(Method::POST, &path, payload, true).await?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                let status = response.status();
                let bytes = self.collect(response.into_body()).await?;
                return Err(
                    Answer { status, bytes, headers: HeaderMap::new(), whom: self.whom() }.fault()
                );
            }
            let upgraded = hyper::upgrade::on(response).await;
            // Its connection is the program's now.
            held.let_go();
            upgraded.map(TokioIo::new).map_err(|error| hung_up(&self.whom(), &error))
        };
        within(ENGINE_ANSWER_WITHIN, &whom, "start the program", asking).await
    }

    /// Sends one request on a connection of its own.
    async fn send(
        &self,
        method: Method,
        path: &str,
        payload: Payload,
        upgrade: bool,
    ) -> Outcome<(Response<Incoming>, Held)> {
        let line = dial(&self.address).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(ENGINE_HEAD_BYTES_MAX).max_headers(ENGINE_HEADERS_MAX);
        let shaken = builder.handshake(TokioIo::new(line)).await;
        let (mut sender, connection) = shaken.map_err(|error| hung_up(&self.whom(), &error))?;
        let held = Held(Some(tokio::spawn(connection.with_upgrades()).abort_handle()));
        let mut request =
            Request::builder().method(method).uri(path).header(header::HOST, "docker");
        if let Some(kind) = payload.kind() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if upgrade {
            request = request.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "tcp");
        }
        let request = request.body(payload.body()).map_err(|error| {
            Fault::invalid(format!("asking the docker engine: {path}: {error}"))
        })?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| {
            if error.is_parse() || error.is_parse_too_large() {
                return nonsense(&self.whom(), "it does not speak HTTP");
            }
            hung_up(&self.whom(), &error)
        })?;
        Ok((response, held))
    }

    async fn collect(&self, mut body: Incoming) -> Outcome<Bytes> {
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| hung_up(&self.whom(), &error))?;
            let Ok(piece) = frame.into_data() else { continue };
            if all.len() + piece.len() > ENGINE_ANSWER_BYTES_MAX {
                let what = format!("its answer has more than {ENGINE_ANSWER_BYTES_MAX} bytes");
                return Err(nonsense(&self.whom(), &what));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}

impl Answer {
    /// Reads it; a status that is no success is a fault.
    pub fn json<T: DeserializeOwned>(&self) -> Outcome<T> {
        if !self.status.is_success() {
            return Err(self.fault());
        }
        serde_json::from_slice(&self.bytes)
            .map_err(|error| nonsense(&self.whom, &format!("its answer can't be read: {error}")))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|it| it.to_str().ok())
    }

    /// Done, or already so.
    pub fn done(&self) -> Outcome<()> {
        if self.status.is_success() || self.status == StatusCode::NOT_MODIFIED {
            return Ok(());
        }
        Err(self.fault())
    }

    /// What the engine says went wrong, made safe to show.
    pub fn fault(&self) -> Fault {
        let kind = match self.status.as_u16() {
            400 => Kind::Invalid,
            401 | 403 => Kind::Denied,
            404 => Kind::Absent,
            409 => Kind::Busy,
            501 => Kind::Unsupported,
            _ => Kind::Failed,
        };
        let told = serde_json::from_slice::<Message>(&self.bytes).unwrap_or_default().message;
        let told = text::shown(told.trim(), ENGINE_WORDS_BYTES_MAX);
        if told.is_empty() {
            return nonsense(&self.whom, &format!("its answer is {} without a word", self.status));
        }
        Fault::new(kind, format!("docker: {told}"))
    }
}

/// Bounds a call in time.
async fn within<T>(
    time: Duration,
    whom: &str,
    verb: &str,
    call: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    timeout(time, call).await.unwrap_or_else(|_| {
        let seconds = time.as_secs();
        Err(Fault::late(format!("{whom} did not {verb} within {seconds} s"))
            .hint("see whether it works: docker version"))
    })
}

fn hung_up(whom: &str, error: &hyper::Error) -> Fault {
    // The way to it may have said why.
    let why = std::error::Error::source(error).map(|it| format!(": {it}")).unwrap_or_default();
    Fault::lost(format!("{whom} hung up: {error}{why}"))
        .hint("see whether it works: docker version")
}

fn nonsense(whom: &str, what: &str) -> Fault {
    Fault::failed(format!("{whom} is none that is understood: {what}"))
        .hint("check DOCKER_HOST or the docker context")
}

/// A part of a path or query: what could end it is escaped, a slash and a colon are kept.
pub fn escaped(part: &str) -> String {
    escaped_bytes(part.as_bytes())
}

pub fn escaped_bytes(part: &[u8]) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part {
        if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_path_can_not_end_it() {
        assert_eq!(escaped("debian:stable-slim"), "debian:stable-slim");
        assert_eq!(escaped("a?b&c#d e%"), "a%3Fb%26c%23d%20e%25");
    }

    #[test]
    fn an_answer_says_by_its_status_what_kind_of_fault_it_is() {
        let answer = |status: u16, text: &'static str| Answer {
            status: StatusCode::from_u16(status).unwrap(),
            bytes: Bytes::from_static(text.as_bytes()),
            headers: HeaderMap::new(),
            whom: "the engine".to_owned(),
        };
        let fault = |status, text| answer(status, text).fault();
        assert_eq!(fault(404, r#"{"message":"no such x"}"#), Fault::absent("docker: no such x"));
        assert_eq!(fault(409, r#"{"message":"paused"}"#).kind(), Kind::Busy);
        assert_eq!(fault(500, "<html>").kind(), Kind::Failed);
        assert!(fault(500, r#"{"message":"\u001b[31m"}"#).message().contains('␛'));
        assert!(answer(304, "").done().is_ok());
        assert!(answer(200, "{").json::<Message>().is_err());
    }
}
