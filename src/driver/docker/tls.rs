//! TLS to an engine behind `tcp`, with the certificates of the docker command line.

#[cfg(not(feature = "tls"))]
mod without {
    use tokio::net::TcpStream;

    use super::super::{address::Certificates, dial::Wire};
    use crate::base::fault::{Fault, Outcome};

    #[expect(clippy::unused_async, reason = "stands for what waits")]
    pub async fn wrap(_: TcpStream, _: &str, _: &Certificates) -> Outcome<Box<dyn Wire>> {
        Err(Fault::unsupported("this sandwatch was built without TLS to a docker engine")
            .hint("build it with the feature `tls`, or use an ssh:// address"))
    }
}
#[cfg(not(feature = "tls"))]
pub use without::wrap;

#[cfg(feature = "tls")]
mod with {
    use std::{
        path::{Path, PathBuf},
        sync::Arc,
    };

    use tokio::net::TcpStream;
    use tokio_rustls::{
        TlsConnector,
        rustls::{
            ClientConfig, RootCertStore,
            crypto::ring,
            pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        },
    };

    use super::super::{address::Certificates, dial::Wire};
    use crate::base::{
        fault::{Fault, Outcome},
        limits::ENGINE_CERTIFICATES_MAX,
    };

    const HINT: &str = "DOCKER_CERT_PATH or the docker context must have ca.pem, cert.pem, key.pem";

    /// Shakes hands; who the engine is is always checked against `ca.pem`.
    pub async fn wrap(
        stream: TcpStream,
        host: &str,
        certificates: &Certificates,
    ) -> Outcome<Box<dyn Wire>> {
        let directory = certificates.directory.clone();
        let config = tokio::task::spawn_blocking(move || configuration(&directory)).await;
        let config =
            config.map_err(|error| Fault::bug(format!("reading certificates: {error}")))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Fault::invalid(format!("not the name of a host: {host}: {error}")))?;
        let shaken = TlsConnector::from(Arc::new(config?)).connect(name, stream).await;
        Ok(Box::new(shaken.map_err(|error| {
            Fault::lost(format!("TLS with the docker engine at {host}: {error}")).hint(HINT)
        })?))
    }

    fn fault(path: &Path, error: impl std::fmt::Display) -> Fault {
        Fault::failed(format!("reading {}: {error}", path.display())).hint(HINT)
    }

    fn certificates(path: &PathBuf) -> Outcome<Vec<CertificateDer<'static>>> {
        let read = CertificateDer::pem_file_iter(path).map_err(|it| fault(path, it))?;
        read.take(ENGINE_CERTIFICATES_MAX).collect::<Result<_, _>>().map_err(|it| fault(path, it))
    }

    fn configuration(directory: &Path) -> Outcome<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let ca = directory.join("ca.pem");
        for certificate in certificates(&ca)? {
            roots.add(certificate).map_err(|it| fault(&ca, it))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::bug(format!("setting TLS up: {error}")))?
            .with_root_certificates(roots);
        let (own, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        if !own.exists() {
            return Ok(builder.with_no_client_auth());
        }
        let secret = PrivateKeyDer::from_pem_file(&key).map_err(|it| fault(&key, it))?;
        builder.with_client_auth_cert(certificates(&own)?, secret).map_err(|it| fault(&own, it))
    }
}
#[cfg(feature = "tls")]
pub use with::wrap;
