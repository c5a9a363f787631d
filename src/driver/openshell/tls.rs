//! TLS to a gateway, with its own authority and our certificate where there are such files.

#[cfg(not(feature = "tls"))]
mod without {
    use tokio::net::TcpStream;

    use super::super::{at::At, dial::Wire};
    use crate::base::fault::{Fault, Outcome};

    #[expect(clippy::unused_async, reason = "stands for what waits")]
    pub async fn wrap(_: TcpStream, _: &At) -> Outcome<Box<dyn Wire>> {
        Err(Fault::unsupported("this sandwatch was built without TLS to a gateway")
            .hint("build it with the feature `tls`"))
    }
}
#[cfg(not(feature = "tls"))]
pub use without::wrap;

#[cfg(feature = "tls")]
mod with {
    use std::{path::Path, sync::Arc};

    use tokio::net::TcpStream;
    use tokio_rustls::{
        TlsConnector,
        rustls::{
            ClientConfig, RootCertStore,
            crypto::ring,
            pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        },
    };

    use super::super::{
        at::{At, Certificates},
        dial::Wire,
    };
    use crate::{
        base::{
            fault::{Fault, Outcome},
            limits::ENGINE_CERTIFICATES_MAX,
        },
        driver::AUTHORITY_LISTS,
    };

    /// Shakes hands. Who the gateway is is always checked. The files are read each time: they may be others by now.
    pub async fn wrap(stream: TcpStream, at: &At) -> Outcome<Box<dyn Wire>> {
        let files = at.certificates()?;
        let config = tokio::task::spawn_blocking(move || configuration(&files)).await;
        let config =
            config.map_err(|error| Fault::bug(format!("reading certificates: {error}")))??;
        let name = ServerName::try_from(at.host.clone()).map_err(|error| {
            Fault::invalid(format!("not the name of a host: {}: {error}", at.host))
        })?;
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        Ok(Box::new(shaken.map_err(|error| {
            Fault::lost(format!("TLS with the gateway {}: {error}", at.shown())).hint(at.hint())
        })?))
    }

    fn fault(path: &Path, error: impl std::fmt::Display) -> Fault {
        Fault::failed(format!("reading {}: {error}", path.display()))
    }

    fn certificates(path: &Path) -> Outcome<Vec<CertificateDer<'static>>> {
        let read = CertificateDer::pem_file_iter(path).map_err(|it| fault(path, it))?;
        read.take(ENGINE_CERTIFICATES_MAX).collect::<Result<_, _>>().map_err(|it| fault(path, it))
    }

    fn configuration(files: &Certificates) -> Outcome<ClientConfig> {
        let mut roots = RootCertStore::empty();
        match &files.authority {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|it| fault(path, it))?;
                }
            }
            None => {
                let list = AUTHORITY_LISTS.iter().map(Path::new).find(|it| it.exists());
                let list = list.ok_or_else(|| Fault::failed("nobody is trusted by this system"))?;
                // One that is odd is not worth more than the others.
                roots.add_parsable_certificates(certificates(list)?);
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::bug(format!("setting TLS up: {error}")))?
            .with_root_certificates(roots);
        let mut config = match &files.own {
            None => builder.with_no_client_auth(),
            Some((own, key)) => {
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|it| fault(key, it))?;
                let chain = certificates(own)?;
                builder.with_client_auth_cert(chain, secret).map_err(|it| fault(own, it))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}
#[cfg(feature = "tls")]
pub use with::wrap;
