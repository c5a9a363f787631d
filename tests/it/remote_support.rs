//! A hub that listens on loopback, clients of it in homes of their own, and TLS and calls that no client of ours would make.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes};
use hyper_util::rt::TokioIo;
use sandwatch::{
    base::fault::Kind,
    wire::{
        enrol::{CALLS, Credentials, TOOLS},
        fault::from_status,
    },
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
        version::TLS13,
    },
};
use tonic::{
    Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use crate::program::{Home, eventually};

/// A hub on a port of loopback.
pub struct Far {
    pub hub: Home,
    pub address: String,
}

impl Far {
    pub fn new() -> Self {
        let hub = Home::new();
        std::fs::create_dir_all(hub.config()).unwrap();
        let configure = |at: &str| {
            let config = format!("[hub]\nlisten = [\"https://{at}\"]\n");
            std::fs::write(hub.config().join("config.toml"), config).unwrap();
        };
        // Whatever is free, which stays the same for the next hub of this home.
        configure("127.0.0.1:0");
        hub.ok(&["hub", "start"]);
        let status = hub.json(&["hub", "status", "--json"]);
        let mut listed = status["listen"].as_array().unwrap().iter().filter_map(|it| it.as_str());
        let address = listed.find_map(|it| it.strip_prefix("https://")).unwrap().to_owned();
        configure(&address);
        Self { hub, address }
    }

    pub fn invite(&self, name: &str, role: &str) -> String {
        self.hub.ok(&["hub", "invite", name, "--role", role]).trim().to_owned()
    }

    /// A home elsewhere, in which this hub is the context `far`.
    pub fn client(&self, name: &str, role: &str) -> Home {
        let home = Home::new();
        home.ok(&["context", "add", "far", "--use", &self.invite(name, role)]);
        home
    }

    pub fn status(&self) -> Value {
        self.hub.json(&["hub", "status", "--json"])
    }

    pub fn refused(&self, why: &str) -> u64 {
        self.status()["refused"][why].as_u64().unwrap_or(0)
    }

    /// Waits until somebody was refused for that, and the record says so.
    #[track_caller]
    pub fn has_refused(&self, action: &str, why: &str) {
        eventually(&format!("{why} is counted"), || self.refused(why) > 0);
        eventually(&format!("{why} is in the record"), || {
            let all = self.hub.json(&["audit", "ls", "--json"]);
            all.as_array()
                .unwrap()
                .iter()
                .any(|it| it["action"] == action && it["details"]["why"] == why)
        });
    }
}

pub fn credentials(client: &Home) -> Credentials {
    Credentials::read(&std::fs::read(credentials_file(client)).unwrap()).unwrap()
}

pub fn credentials_file(client: &Home) -> std::path::PathBuf {
    client.path().join("state/contexts/far/credentials")
}

/// How somebody greets.
#[derive(Clone)]
pub struct Manner {
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    pub protocols: Vec<Vec<u8>>,
    pub version: &'static SupportedProtocolVersion,
}

impl Manner {
    pub fn of(it: &Credentials) -> Self {
        Self {
            certificate: Some((it.certificate.clone(), it.key.clone())),
            protocols: vec![TOOLS.to_vec()],
            version: &TLS13,
        }
    }

    pub fn nobody() -> Self {
        Self { certificate: None, protocols: vec![CALLS.to_vec()], version: &TLS13 }
    }
}

/// Believes whatever answers: who is refused is what matters here.
#[derive(Debug)]
struct Believes;

impl ServerCertVerifier for Believes {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A handshake; who is refused may learn it only by reading.
pub async fn greet(address: &str, manner: &Manner) -> std::io::Result<TlsStream<TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[manner.version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believes));
    let mut config = match &manner.certificate {
        Some((certificate, key)) => config
            .with_client_auth_cert(
                vec![CertificateDer::from(certificate.clone())],
                PrivateKeyDer::Pkcs8(key.clone().into()),
            )
            .unwrap(),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = manner.protocols.clone();
    let name = ServerName::try_from("hub.sandwatch.internal").unwrap();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A channel of gRPC as a tool of others would open it.
pub async fn channel(address: &str, it: &Credentials) -> Result<Channel, tonic::transport::Error> {
    let (address, manner) = (address.to_owned(), Manner::of(it));
    let connector = tower::service_fn(move |_| {
        let (address, manner) = (address.clone(), manner.clone());
        async move { greet(&address, &manner).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://hub").connect_with_connector(connector).await
}

/// Messages as they are.
#[derive(Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Watches over a connection as `own` until that ends, which it is to do by what is done then. Nobody passes for `other` there.
pub fn ends(
    tasks: &tokio::runtime::Runtime,
    open: impl Future<Output = Result<Channel, tonic::transport::Error>>,
    (own, other): (&str, &str),
    when: impl FnOnce(),
) {
    let mut events = tasks.block_on(async {
        let open = open.await.unwrap();
        let theirs = call(&open, "/sandwatch.v1.Hub/Ping", other, Bytes::new()).await;
        assert_eq!(from_status(&theirs.unwrap_err()).kind(), Kind::Denied);
        let events = call(&open, "/sandwatch.v1.Sandboxes/Events", own, Bytes::new());
        let mut events = events.await.unwrap();
        assert!(events.message().await.unwrap().is_some());
        events
    });
    when();
    tasks.block_on(async {
        let ended = async { while let Ok(Some(_)) = events.message().await {} };
        tokio::time::timeout(crate::given::SOON, ended).await.expect("it goes on");
    });
}

/// Makes a call with this message as this client; its stream, or why not.
pub async fn call(
    channel: &Channel,
    path: &str,
    client: &str,
    message: Bytes,
) -> Result<tonic::Streaming<Bytes>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = tonic::Request::new(tokio_stream::once(message));
    let client: MetadataValue<_> = client.parse().unwrap();
    request.metadata_mut().insert(sandwatch::wire::CLIENT_ID_KEY, client);
    let path: PathAndQuery = path.parse().unwrap();
    let called = grpc.streaming(request, path, Raw);
    let within = tokio::time::timeout(Duration::from_secs(60), called).await;
    within
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
        .map(tonic::Response::into_inner)
}
