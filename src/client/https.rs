//! The way to a hub elsewhere over TLS: the hub shows that it is of the authority that its invite named, this shows the
//! certificate that the hub gave it. Or both are of a team's authority, whose files the context names, or the hub is and this
//! shows a token. Whom this machine trusts otherwise is nobody's business here.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error,
        RootCertStore, SignatureScheme,
        client::{
            Resumption, WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
        version::TLS13,
    },
};

pub(super) use super::token::carried;
use super::{
    entering::Entering,
    way::{Opened, Shows, Tap},
};
use crate::{
    base::{
        clock::wall,
        fault::{Fault, Outcome},
        id::MemberId,
        limits::{
            CERTIFICATE_BYTES_MAX, CERTIFICATE_RENEWED_AFTER, CONNECT_WITHIN, ENROL_WITHIN,
            HANDSHAKE_WITHIN,
        },
    },
    config::{
        address::{Address, Host},
        oidc::TokenFiles,
        team::TeamFiles,
    },
    model::{invite::InviteText, member::Fingerprint},
    wire::{
        certificate::Said,
        enrol::{
            BEARS, CALLS, Credentials, ENROLS, Enrolling, HUB_NAME, answer_read, answered, say,
        },
        keys::{Keys, certificates},
    },
};

const FILE: &str = "credentials";
/// Certificates of the hub that are looked at: its own and its authority's.
const CHAIN_MAX: usize = 4;

/// Opens one stream, or says why the hub does not let this in.
pub(super) async fn open(host: &Host, port: u16, shows: &Shows) -> Outcome<Opened> {
    let at = Address::Https { host: host.clone(), port }.to_string();
    let mut shown = None;
    let (config, name, known) = match shows {
        Shows::Kept(dir) => (member_config(&read(dir, &at)?)?, named(HUB_NAME)?, Known::Invite),
        Shows::Token(files, it) => {
            shown = Some(match it {
                Some(it) => Arc::clone(it),
                None => carried(&files.from).await?,
            });
            let (authority, name) = (files.authority.clone(), named(host_name(host))?);
            let config = tokio::task::spawn_blocking(move || bearer_config(&authority)).await;
            let config = config.map_err(|error| Fault::bug(format!("reading keys: {error}")))??;
            (config, name, Known::Token)
        }
        Shows::Team(files) => {
            let (files, name) = (files.clone(), named(host_name(host))?);
            // The disk may be slow.
            let config = tokio::task::spawn_blocking(move || team_config(&files)).await;
            let config = config.map_err(|error| Fault::bug(format!("reading keys: {error}")))??;
            (config, name, Known::Team)
        }
    };
    let stream = connect(host, port, &at).await?;
    let tap = Tap::of(&stream).map_err(|error| Fault::io("sharing a socket", &error))?;
    let mut stream = shake_hands(config, name, stream, &at, known).await?;
    if let Some(shown) = shown {
        // To a hub alone: of that name there may be others.
        if stream.get_ref().1.alpn_protocol() != Some(BEARS) {
            return Err(known.speaks_another(&at));
        }
        let said = say(&mut stream, shown.token.expose().as_bytes()).await;
        said.map_err(|error| refused(&error, &at, known))?;
    }
    let (stream, entered) =
        Entering::new(stream, Box::new(move |error| refused(error, &at, known)));
    Ok(Opened { stream: Box::new(stream), tap, entered: Some(entered) })
}

/// Who we are to a hub to which this is shown.
pub(super) fn member(shows: &Shows, at: &str) -> Outcome<MemberId> {
    match shows {
        Shows::Kept(dir) => Ok(read(dir, at)?.member),
        Shows::Team(TeamFiles { certificate, .. }) => {
            let own = certificates(certificate)?.into_iter().next();
            let said = own.and_then(|it| Said::read(&it));
            let said = said.ok_or_else(|| {
                Fault::invalid(format!("no certificate of anybody: {}", certificate.display()))
            })?;
            Ok(said.member)
        }
        Shows::Token(_, Some(carried)) => Ok(carried.member.clone()),
        Shows::Token(_, None) => Err(Fault::bug(format!("no token was read for {at}"))),
    }
}

/// Whether files of a team can be shown to a hub there; else what is wrong with them.
pub(super) fn try_team(files: &TeamFiles, host: &Host) -> Outcome<()> {
    named(host_name(host))?;
    team_config(files).map(drop)
}

/// Whether a token is there for a hub there, and by what that is known; else what is wrong.
pub(super) async fn try_token(files: &TokenFiles, host: &Host) -> Outcome<()> {
    named(host_name(host))?;
    bearer_config(&files.authority)?;
    carried(&files.from).await.map(drop)
}

/// By what a hub is known, for words to who meets another one.
#[derive(Clone, Copy, Debug)]
enum Known {
    Invite,
    Team,
    Token,
}

impl Known {
    fn hint(self) -> &'static str {
        match self {
            Self::Invite => INVITE,
            Self::Team => {
                "an admin of that hub says who may come: [[hub.who]] in its config.toml; sandwatch context ls --json names the files here"
            }
            Self::Token => {
                "an admin of that hub says whose tokens are taken: [[hub.oidc]] in its config.toml"
            }
        }
    }

    fn stranger(self) -> &'static str {
        match self {
            Self::Invite => "it is not of the authority of your invite",
            Self::Team | Self::Token => {
                "it is not of the authority in `ca` of the context, or not of that name"
            }
        }
    }

    fn speaks_another(self, at: &str) -> Fault {
        match self {
            Self::Invite | Self::Team => {
                Fault::unsupported(format!("the hub there speaks another protocol: {at}"))
                    .hint("one of both is older: install the same version")
            }
            Self::Token => Fault::denied(format!("the hub there takes no tokens: {at}"))
                .hint("an admin of that hub names the issuer: [[hub.oidc]] in its config.toml; or it is an older one"),
        }
    }
}

/// What this has to show; without it there is no way in.
fn read(dir: &Path, at: &str) -> Outcome<Credentials> {
    let path = dir.join(FILE);
    let mut bytes = Vec::new();
    let read = File::open(&path)
        .and_then(|file| file.take(3 * CERTIFICATE_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => Credentials::read(&bytes).ok_or_else(|| {
            Fault::failed(format!("the key to {at} is damaged: {}", path.display())).hint(INVITE)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Fault::denied(format!("there is no key to {at}")).hint(INVITE))
        }
        Err(error) => Err(Fault::io(format_args!("reading {}", path.display()), &error)),
    }
}

const INVITE: &str = "ask for an invite, made on the hub's machine by: sandwatch hub invite NAME --role ROLE; then here: sandwatch \
                      context rm CONTEXT, sandwatch context add CONTEXT INVITE";

fn write(dir: &Path, kept: &Credentials) -> Outcome<()> {
    // Of this very process: another may renew the same.
    let (path, fresh) = (dir.join(FILE), dir.join(format!("{FILE}.{}", std::process::id())));
    drop(fs::remove_file(&fresh));
    let written = File::options().write(true).create_new(true).mode(0o600).open(&fresh).and_then(
        |mut file| {
            file.write_all(&kept.bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        },
    );
    written.map_err(|error| {
        drop(fs::remove_file(&fresh));
        Fault::io(format_args!("writing {}", path.display()), &error)
    })
}

async fn connect(host: &Host, port: u16, at: &str) -> Outcome<TcpStream> {
    let lost = |why: &str| Fault::lost(format!("{why}: {at}"));
    let found = lookup_host((host.as_str(), port)).await;
    let found =
        found.map_err(|_| lost("no such host").hint("sandwatch context ls has its address"))?;
    let mut last = None;
    for address in found {
        match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // No key waits for another.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection stays as the system made it");
                }
                return Ok(stream);
            }
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
        }
    }
    Err(match last.as_ref().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => lost("no hub listens there")
            .hint("on its machine: sandwatch hub status says where it listens"),
        _ => lost("it can't be reached").hint("a firewall may be between, or that machine is off"),
    })
}

fn unfit(error: impl std::fmt::Display) -> Fault {
    Fault::failed(format!("setting TLS up: {error}"))
}

fn roots(authority: &[u8]) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.to_vec()))?;
    Ok(Arc::new(roots))
}

fn member_config(kept: &Credentials) -> Outcome<ClientConfig> {
    let key = PrivateKeyDer::Pkcs8(kept.key.clone().into());
    let shown = vec![CertificateDer::from(kept.certificate.clone())];
    calls(roots(&kept.authority).map_err(unfit)?, shown, key).map_err(unfit)
}

fn team_roots(authority: &Path) -> Outcome<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for it in certificates(authority)? {
        roots
            .add(it)
            .map_err(|error| Fault::invalid(format!("{}: {error}", authority.display())))?;
    }
    Ok(Arc::new(roots))
}

fn team_config(TeamFiles { authority, certificate, key }: &TeamFiles) -> Outcome<ClientConfig> {
    let keys = Keys::read(certificate, key)?;
    calls(team_roots(authority)?, keys.chain, keys.key)
        .map_err(|error| Fault::invalid(format!("{}: {error}", certificate.display())))
}

fn bearer_config(authority: &Path) -> Outcome<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(unfit)?
        .with_root_certificates(team_roots(authority)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![BEARS.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn calls(
    roots: Arc<RootCertStore>,
    shown: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(shown, key)?;
    config.alpn_protocols = vec![CALLS.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// As a certificate has it: an address of a link without its zone.
fn host_name(host: &Host) -> &str {
    host.as_str().split('%').next().unwrap_or_default()
}

fn named(name: &str) -> Outcome<ServerName<'static>> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| Fault::invalid(format!("no certificate can be of this name: {name}")))
}

async fn shake_hands(
    config: ClientConfig,
    name: ServerName<'static>,
    stream: TcpStream,
    at: &str,
    known: Known,
) -> Outcome<TlsStream<TcpStream>> {
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| refused(&error, at, known))
}

/// Why a handshake failed, as far as either side says.
fn refused(error: &io::Error, at: &str, known: Known) -> Fault {
    let tls = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
    let denied = |why: &str| Fault::denied(format!("{why}: {at}"));
    let hint = known.hint();
    match tls {
        Some(Error::AlertReceived(alert)) => match alert {
            AlertDescription::CertificateExpired => {
                denied("your certificate for this hub has expired").hint(hint)
            }
            AlertDescription::CertificateRevoked => {
                denied("your certificate for this hub was revoked").hint(hint)
            }
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                denied("your certificate is of another hub than the one there").hint(hint)
            }
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnsupportedCertificate => {
                denied("the hub does not know your certificate").hint(hint)
            }
            AlertDescription::NoApplicationProtocol => known.speaks_another(at),
            other => Fault::lost(format!("the hub refused the connection, {other:?}: {at}")),
        },
        Some(Error::InvalidCertificate(why)) => match why {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                denied("the hub's certificate is of another time")
                    .hint("compare the clocks of both machines")
            }
            _ => {
                let why = known.stranger();
                denied(&format!("what answers is another hub, or somebody between: {why}"))
                    .hint(hint)
            }
        },
        Some(other) => Fault::lost(format!("no hub answers, {other}: {at}")),
        // A hub with too many strangers hangs up unheard.
        None => Fault::lost(format!("the hub hung up: {at}"))
            .hint("it may have too many at its door; try again, or see its log"),
    }
}

/// Uses an invite: makes a key, gets a certificate for it, and keeps both. Gives where the hub was reached.
pub(super) async fn enrol(
    dir: impl FnOnce() -> Outcome<std::path::PathBuf>,
    invite: &InviteText,
) -> Outcome<Address> {
    let mut reached = Err(Fault::invalid("an invite without an address"));
    for address in &invite.addresses {
        reached = greeted(address, invite).await;
        if reached.is_ok() {
            break;
        }
    }
    let (stream, address, at) = reached?;
    // Before the invite is used up.
    let dir = dir()?;
    let enrolled = timeout(ENROL_WITHIN, take_up(stream, invite, &at)).await;
    let kept =
        enrolled.unwrap_or_else(|_| Err(Fault::late(format!("the hub did not answer: {at}"))))?;
    write(&dir, &kept)?;
    Ok(address)
}

/// Reaches the hub of the invite at one of its addresses, and nobody else; the secret is not said yet.
async fn greeted(
    address: &str,
    invite: &InviteText,
) -> Outcome<(TlsStream<TcpStream>, Address, String)> {
    let address: Address =
        format!("https://{address}").parse().map_err(|why: String| Fault::invalid(why))?;
    let Address::Https { host, port } = &address else {
        return Err(Fault::bug("https:// and no address of https"));
    };
    let at = address.to_string();
    let stream = connect(host, *port, &at).await?;
    let pinned = Arc::new(Pinned { authority: invite.authority });
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(unfit)?
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_no_client_auth();
    config.alpn_protocols = vec![ENROLS.to_vec()];
    config.resumption = Resumption::disabled();
    let shaken = shake_hands(config, named(HUB_NAME)?, stream, &at, Known::Invite);
    match timeout(HANDSHAKE_WITHIN, shaken).await {
        Ok(stream) => Ok((stream?, address, at)),
        Err(_) => Err(Fault::lost(format!("what answers is no hub: it says nothing: {at}"))
            .hint("is that the port on which the hub listens?")),
    }
}

async fn take_up(
    mut stream: TlsStream<TcpStream>,
    invite: &InviteText,
    at: &str,
) -> Outcome<Credentials> {
    let known = Known::Invite;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let authority = shown.iter().find(|it| Fingerprint::of(it).is(&invite.authority));
    let authority = authority.ok_or_else(|| unfit("no authority"))?.to_vec();
    let key = new_key()?;
    let public_key = key.public_key_raw().to_vec();
    let asked = Enrolling { token: invite.token.clone(), public_key };
    let gone = |error: io::Error| refused(&error, at, known);
    say(&mut stream, &asked.bytes()).await.map_err(gone)?;
    let it = answer_read(&answered(&mut stream).await.map_err(gone)?)?;
    // It has said all it will.
    drop(stream.shutdown().await);
    Ok(Credentials {
        authority,
        certificate: it.certificate,
        key: key.serialize_der(),
        member: it.member,
        name: it.name,
        issued_at: it.issued_at,
        expires_at: it.expires_at,
    })
}

fn new_key() -> Outcome<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|error| Fault::failed(format!("making a key: {error}")))
}

/// Asks for the next certificate over connections that stand, if it is time for one.
pub(super) async fn renew(dir: &Path, at: &str, wires: &super::dial::Wires) -> Outcome<()> {
    let kept = read(dir, at)?;
    if wall().since(kept.issued_at) < CERTIFICATE_RENEWED_AFTER {
        return Ok(());
    }
    let key = new_key()?;
    let renewed = wires.renew(key.public_key_raw()).await?;
    let kept = Credentials {
        certificate: renewed.certificate,
        key: key.serialize_der(),
        issued_at: renewed.issued_at,
        expires_at: renewed.expires_at,
        ..kept
    };
    write(dir, &kept)
}

/// Trusts the one authority that an invite names, before its certificate is known.
#[derive(Debug)]
struct Pinned {
    authority: Fingerprint,
}

impl Pinned {
    fn by(&self, shown: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, Error> {
        let found = shown.iter().take(CHAIN_MAX).find(|it| Fingerprint::of(it).is(&self.authority));
        let found = found.ok_or(CertificateError::UnknownIssuer)?;
        let provider = Arc::new(ring::default_provider());
        let built = WebPkiServerVerifier::builder_with_provider(roots(found)?, provider).build();
        built.map_err(|error| Error::General(error.to_string()))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.by(intermediates)?.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = ring::default_provider().signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signed, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
