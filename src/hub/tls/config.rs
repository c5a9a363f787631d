//! How TLS is spoken: 1.3 alone, with the hub's own authority alone, and nothing that would let somebody back in without
//! being looked at again.

use std::{fmt, io, sync::Arc};

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};

use super::{authority::Authority, team::Team};
use crate::{
    base::fault::{Fault, Outcome},
    model::member::{Fingerprint, Refused},
    runtime::access::{Register, Standing},
    wire::enrol::{BEARS, CALLS, ENROLS, HUB_NAME, TOOLS},
};

/// One for who has a certificate, one for who has a token, one for who is about to get a certificate.
pub(super) struct Configs {
    pub calls: Arc<ServerConfig>,
    pub bears: Arc<ServerConfig>,
    pub enrols: Arc<ServerConfig>,
}

fn unfit(error: impl fmt::Display) -> Fault {
    Fault::failed(format!("setting TLS up: {error}"))
}

impl Configs {
    pub(super) fn new(
        authority: &Authority,
        register: Arc<dyn Register>,
        team: Arc<Team>,
    ) -> Outcome<Self> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone()).map_err(unfit)?;
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(unfit)?;
        let known = Arc::new(Known { chain, register, team: team.clone() });
        let (shown, key) = authority.server()?;
        let own =
            CertifiedKey::from_der(shown.clone(), key.clone_key(), &provider).map_err(unfit)?;
        let builder = || {
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13])
        };
        let calls = builder()
            .map_err(unfit)?
            .with_client_cert_verifier(known)
            .with_cert_resolver(Arc::new(Shown { own: Arc::new(own), team: team.clone() }));
        let bears = builder()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ShownByTeam(team)));
        let enrols = builder()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_single_cert(shown, key)
            .map_err(unfit)?;
        Ok(Self {
            calls: Arc::new(fresh_each_time(calls, &[CALLS, TOOLS])),
            bears: Arc::new(fresh_each_time(bears, &[BEARS])),
            enrols: Arc::new(fresh_each_time(enrols, &[ENROLS])),
        })
    }
}

/// A session that is taken up again would not be looked at again.
fn fresh_each_time(mut config: ServerConfig, protocols: &[&[u8]]) -> ServerConfig {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    config
}

/// Shows the hub's own certificate to who asks for it by its name, as all do who were invited; to others that of its team.
struct Shown {
    own: Arc<CertifiedKey>,
    team: Arc<Team>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let of_team = (hello.server_name() != Some(HUB_NAME)).then(|| self.team.shown()).flatten();
        Some(of_team.unwrap_or_else(|| Arc::clone(&self.own)))
    }
}

/// Shows the hub's certificate of its team, and no other.
struct ShownByTeam(Arc<Team>);

impl fmt::Debug for ShownByTeam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShownByTeam")
    }
}

impl ResolvesServerCert for ShownByTeam {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.shown()
    }
}

/// Takes certificates of the authority that the register knows and has not struck off, and of the team whom its table names.
struct Known {
    chain: Arc<dyn ClientCertVerifier>,
    register: Arc<dyn Register>,
    team: Arc<Team>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known")
    }
}

impl ClientCertVerifier for Known {
    /// None: those of a team change, and whoever comes knows what to show.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = match self.chain.verify_client_cert(end_entity, intermediates, now) {
            Ok(verified) => verified,
            Err(own) => {
                let all = [std::slice::from_ref(end_entity), intermediates].concat();
                return match self.team.standing(&all, now) {
                    Ok(_) => Ok(ClientCertVerified::assertion()),
                    // Of neither: then what is wrong with it as one of the hub's own.
                    Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Err(own),
                    Err(error) => Err(error),
                };
            }
        };
        match self.register.standing(&Fingerprint::of(end_entity)) {
            Standing::Good { .. } => Ok(verified),
            Standing::Revoked => Err(CertificateError::Revoked.into()),
            Standing::Unknown => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Why a handshake failed, and what was seen.
pub(super) fn refused(error: &io::Error) -> (Refused, String) {
    let tls = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
    let why = match tls {
        Some(Error::NoCertificatesPresented) => Refused::NoCertificate,
        Some(Error::InvalidCertificate(it)) => match it {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Refused::Expired,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Refused::Issuer,
            CertificateError::Revoked => Refused::Revoked,
            _ => Refused::Certificate,
        },
        Some(Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::ServerDoesNotSupportTls12Or13,
        )) => Refused::Version,
        Some(Error::PeerIncompatible(it)) if format!("{it:?}").contains("Tls12") => {
            Refused::Version
        }
        _ => Refused::Protocol,
    };
    let what = match tls {
        Some(Error::InvalidCertificate(CertificateError::Other(why))) => why.0.to_string(),
        Some(tls) => tls.to_string(),
        None => error.to_string(),
    };
    (why, crate::base::text::shown(&what, 200))
}
