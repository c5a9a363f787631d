//! Opens TLS on the way to a host that gets a secret: with a certificate of an authority that only this sandbox trusts,
//! and with the host itself as anybody would, by the authorities that this machine trusts.

#[cfg(not(feature = "tls"))]
mod without {
    use std::sync::Arc;

    use crate::{
        base::fault::{Fault, Outcome},
        gate::{
            Inner,
            client::Client,
            counted::Counted,
            flow::{Entry, Let},
            reach::Place,
        },
    };

    /// There is none.
    pub enum Authority {}

    impl Authority {
        pub fn new(_: &str, _: &[String]) -> Outcome<Self> {
            Err(Fault::unsupported("this sandwatch was built without TLS, which a secret is for")
                .hint("build it with the feature `tls`"))
        }

        pub fn certificate(&self) -> String {
            match *self {}
        }

        #[expect(clippy::unused_async, reason = "stands for what waits")]
        pub(in crate::gate) async fn carry(
            &self,
            _: &Arc<Inner>,
            _: &mut Entry<'_>,
            _: Client,
            _: Counted<tokio::net::TcpStream>,
            _: &Place,
            _: Let,
        ) {
            match *self {}
        }
    }
}
#[cfg(not(feature = "tls"))]
pub use without::Authority;

#[cfg(feature = "tls")]
mod with {
    use std::{
        collections::HashMap,
        io,
        sync::{Arc, Mutex},
    };

    use base64::{Engine, engine::general_purpose::STANDARD};
    use hyper::StatusCode;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
        GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
    };
    use tokio::{
        io::{AsyncRead, AsyncWrite, AsyncWriteExt},
        time::timeout,
    };
    use tokio_rustls::{
        LazyConfigAcceptor, TlsConnector, client, rustls,
        rustls::{
            ClientConfig, RootCertStore, ServerConfig,
            crypto::ring,
            pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
            server::Acceptor,
        },
        server,
    };

    use crate::{
        base::{
            clock,
            fault::{Fault, Outcome},
            limits::{FIRST_WORDS_WITHIN, GATE_DIAL_WITHIN, ROOTS_MAX},
        },
        driver::AUTHORITY_LISTS,
        gate::{
            Inner,
            client::Client,
            counted::Counted,
            flow::{Entry, Let},
            locked,
            reach::{Host, Place},
            web::{self, Heard, Way},
        },
        model::traffic::FlowState,
    };

    /// What is spoken in it; a client that speaks nothing but another version is told so by TLS itself.
    const HTTP: &[u8] = b"http/1.1";
    /// For how long certificates are good, in years: longer than a sandbox lives.
    const YEARS: i32 = 10;

    /// Whom one sandbox trusts for the hosts of its secrets. Its key is in this memory and nowhere else.
    pub struct Authority {
        own: CertifiedIssuer<'static, KeyPair>,
        servers: Mutex<HashMap<String, Arc<ServerConfig>>>,
        client: Mutex<Option<Arc<ClientConfig>>>,
    }

    fn made(error: rcgen::Error) -> Fault {
        Fault::failed(format!("making a certificate: {error}"))
    }

    /// Good from a while ago, for clocks that are late.
    fn dated(mut params: CertificateParams) -> CertificateParams {
        let today = clock::wall().rfc3339();
        let part = |from, to| today.get(from..to).and_then(|it: &str| it.parse::<i32>().ok());
        let (year, month) = (part(0, 4).unwrap_or(2026), part(5, 7).unwrap_or(1));
        let month = u8::try_from(month.clamp(1, 12)).unwrap_or(1);
        params.not_before = date_time_ymd(year - 1, month, 1);
        params.not_after = date_time_ymd(year + YEARS, month, 1);
        params
    }

    impl Authority {
        /// For certificates of these hosts and no others.
        pub fn new(sandbox: &str, hosts: &[String]) -> Outcome<Self> {
            let mut params = dated(CertificateParams::new(Vec::new()).map_err(made)?);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let name = format!("sandwatch for sandbox {sandbox}");
            params.distinguished_name.push(DnType::CommonName, name);
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: hosts.iter().cloned().map(GeneralSubtree::DnsName).collect(),
                excluded_subtrees: Vec::new(),
            });
            let own = CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(made)?);
            Ok(Self {
                own: own.map_err(made)?,
                servers: Mutex::default(),
                client: Mutex::default(),
            })
        }

        /// Its certificate, as files of them are written.
        pub fn certificate(&self) -> String {
            let text = STANDARD.encode(self.own.der());
            let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
            let lines = lines.collect::<Vec<_>>().join("\n");
            format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
        }

        /// What a program is shown as that host.
        fn server(&self, host: &str) -> Outcome<Arc<ServerConfig>> {
            let mut servers = locked(&self.servers);
            if let Some(it) = servers.get(host) {
                return Ok(Arc::clone(it));
            }
            let names = vec![host.to_owned()];
            let mut params = dated(CertificateParams::new(names).map_err(made)?);
            // Names this long don't fit there, and clients look at the other place.
            params.distinguished_name.push(DnType::CommonName, host.get(..64).unwrap_or(host));
            params.use_authority_key_identifier_extension = true;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let key = KeyPair::generate().map_err(made)?;
            let leaf = params.signed_by(&key, &self.own).map_err(made)?;
            let chain = vec![leaf.der().clone(), self.own.der().clone()];
            let secret = PrivateKeyDer::Pkcs8(key.serialize_der().into());
            let mut config =
                ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .and_then(|it| it.with_no_client_auth().with_single_cert(chain, secret))
                    .map_err(|error| Fault::failed(format!("setting TLS up: {error}")))?;
            config.alpn_protocols = vec![HTTP.to_vec()];
            let config = Arc::new(config);
            servers.insert(host.to_owned(), Arc::clone(&config));
            Ok(config)
        }

        /// How a host is checked.
        fn client(&self) -> Result<Arc<ClientConfig>, String> {
            let mut client = locked(&self.client);
            if let Some(it) = &*client {
                return Ok(Arc::clone(it));
            }
            let mut config =
                ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .map_err(|error| format!("setting TLS up: {error}"))?
                    .with_root_certificates(roots()?)
                    .with_no_client_auth();
            config.alpn_protocols = vec![HTTP.to_vec()];
            Ok(Arc::clone(client.insert(Arc::new(config))))
        }

        async fn accept(&self, host: &str, client: Heard) -> io::Result<server::TlsStream<Heard>> {
            let config = self.server(host).map_err(|it| io::Error::other(it.to_string()))?;
            let accepted = timeout(FIRST_WORDS_WITHIN, greeted(config, client));
            accepted.await.map_err(io::Error::from)?
        }

        async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
            &self,
            host: &str,
            stream: S,
        ) -> Result<client::TlsStream<S>, String> {
            let name = ServerName::try_from(host.to_owned());
            let name = name.map_err(|_| format!("TLS has no name for it: {host}"))?;
            let connector = TlsConnector::from(self.client()?);
            let shaken = timeout(GATE_DIAL_WITHIN, connector.connect(name, stream)).await;
            let shaken = shaken.map_err(io::Error::from).and_then(|it| it);
            shaken.map_err(|error| format!("TLS with {host}: {error}"))
        }

        /// There and back, opened on the way.
        pub(in crate::gate) async fn carry(
            &self,
            gate: &Arc<Inner>,
            entry: &mut Entry<'_>,
            client: Client,
            server: Counted<tokio::net::TcpStream>,
            place: &Place,
            granted: Let,
        ) {
            let Host::Name(host) = &place.host else { return };
            let both =
                tokio::join!(self.accept(host, Heard::from(client)), self.connect(host, server));
            match both {
                (Err(error), _) => {
                    let why = format!("opening TLS for a secret, the program's side: {error}");
                    entry.becomes(FlowState::Failed, crate::base::text::visible(&why));
                }
                (Ok(client), Err(why)) => {
                    entry.becomes(FlowState::Failed, why.clone());
                    web::tell(client, StatusCode::BAD_GATEWAY, &format!("{place}: {why}")).await;
                }
                (Ok(client), Ok(server)) => {
                    let by = format!("{}; opened for a secret", granted.by);
                    entry.becomes(FlowState::Open, by);
                    let way = Way::new(gate, place, entry.number, true, granted.grant);
                    web::carry(client, server, way).await;
                }
            }
        }
    }

    /// Shakes hands with a program. One that speaks another version alone is told so before anything is hidden in TLS:
    /// not all clients read on after that.
    async fn greeted<C: AsyncRead + AsyncWrite + Unpin>(
        config: Arc<ServerConfig>,
        client: C,
    ) -> io::Result<server::TlsStream<C>> {
        /// Fatal: no application protocol.
        const ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 120];
        let start = LazyConfigAcceptor::new(Acceptor::default(), client).await?;
        let speaks = start.client_hello().alpn().is_none_or(|mut all| all.any(|it| it == HTTP));
        if speaks {
            return start.into_stream(config).await;
        }
        let mut client = start.io;
        client.write_all(&ALERT).await?;
        client.shutdown().await?;
        Err(io::Error::other("it does not speak HTTP/1.1, and nothing else is spoken here"))
    }

    /// Whom this machine trusts.
    fn roots() -> Result<RootCertStore, String> {
        for path in AUTHORITY_LISTS {
            let Ok(all) = CertificateDer::pem_file_iter(path) else { continue };
            let mut roots = RootCertStore::empty();
            for it in all.take(ROOTS_MAX).filter_map(Result::ok) {
                // One that rustls does not take costs itself.
                drop::<Result<(), rustls::Error>>(roots.add(it));
            }
            if !roots.is_empty() {
                return Ok(roots);
            }
        }
        Err("this machine has no list of certificate authorities: install ca-certificates".into())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn its_certificates_are_for_the_hosts_of_secrets_alone() {
            let authority = Authority::new("box", &["a.example".to_owned()]).unwrap();
            let text = authority.certificate();
            let read = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            assert_eq!(&read, authority.own.der());
            let mut roots = RootCertStore::empty();
            roots.add(read).unwrap();
            let first = authority.server("a.example").unwrap();
            assert!(Arc::ptr_eq(&first, &authority.server("a.example").unwrap()));
            for (host, good) in [("a.example", true), ("b.example", false)] {
                let config =
                    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                        .with_safe_default_protocol_versions()
                        .unwrap()
                        .with_root_certificates(roots.clone())
                        .with_no_client_auth();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let shaken = runtime.unwrap().block_on(async {
                    let (ours, theirs) = tokio::io::duplex(64 * 1024);
                    let acceptor = tokio_rustls::TlsAcceptor::from(authority.server(host).unwrap());
                    let name = ServerName::try_from(host).unwrap();
                    let connector = TlsConnector::from(Arc::new(config));
                    tokio::join!(connector.connect(name, ours), acceptor.accept(theirs)).0.is_ok()
                });
                assert_eq!(shaken, good, "{host}");
            }
        }
    }
}
#[cfg(feature = "tls")]
pub use with::Authority;
