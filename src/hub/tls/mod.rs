//! Listening for those who come from elsewhere: every connection shows a certificate of this hub before a byte of it is taken
//! for a call, or enrols by an invite and does nothing else.
pub mod authority;
mod config;
mod crowd;
mod enrol;
mod line;
mod team;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{
    LazyConfigAcceptor,
    rustls::{
        pki_types::{CertificateDer, UnixTime},
        server::Acceptor,
    },
    server::TlsStream,
};

use self::{
    authority::Authority,
    config::{Configs, refused},
    crowd::{Crowd, Place, place},
    enrol::Tries,
    line::Ends,
    team::Team,
};
use super::accept::Peer;
use crate::{
    base::{
        clock::monotonic,
        fault::{Fault, Outcome},
        id::MemberId,
        limits::{
            HANDSHAKE_WITHIN, HUB_CERTIFICATE_LIFE, LISTEN_MAX, REMOTE_CONNECTIONS_EACH_MAX,
            REMOTE_CONNECTIONS_MAX, STRANGERS_EACH_MAX, STRANGERS_MAX,
        },
    },
    model::member::{Fingerprint, Proof, Refused},
    runtime::{
        Bearer,
        access::{Refusal, RefusedWho, Register, Standing},
    },
    wire::enrol::{CALLS, ENROLS, welcome_bytes},
};

/// Pause when the system has no descriptor left for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The places that a hub listens on, taken already.
pub struct Door {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    authority: Arc<Authority>,
    team: Arc<Team>,
}

impl Door {
    /// Takes the places, besides those that were handed down; nothing is let in yet. The authority lies in that directory,
    /// and is made at the first need; of a team, that file of the configuration may tell.
    pub async fn open(
        authority: &Path,
        config: &Path,
        at: &[SocketAddr],
        handed: Vec<std::net::TcpListener>,
    ) -> Outcome<Self> {
        if at.len() + handed.len() > LISTEN_MAX {
            return Err(Fault::invalid(format!("a hub listens on {LISTEN_MAX} places at most")));
        }
        let authority = Arc::new(Authority::open(authority)?);
        let team = Arc::new(Team::open(config));
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for it in handed {
            let doing = |error: &io::Error| Fault::io("taking a socket over", error);
            it.set_nonblocking(true).map_err(|error| doing(&error))?;
            addresses.push(it.local_addr().map_err(|error| doing(&error))?);
            listeners.push(TcpListener::from_std(it).map_err(|error| doing(&error))?);
        }
        for at in at {
            let doing = |error: &io::Error| Fault::io(format_args!("listening on {at}"), error);
            let listener = TcpListener::bind(at).await.map_err(|error| doing(&error))?;
            addresses.push(listener.local_addr().map_err(|error| doing(&error))?);
            listeners.push(listener);
        }
        Ok(Self { listeners, addresses, authority, team })
    }

    /// Looks again and again at what the configuration says of a team, for as long as it is polled, and tells what is wrong
    /// with it.
    pub fn follow<Tell: Fn(&str) + Send + 'static>(
        &self,
        tell: Tell,
    ) -> impl Future<Output = ()> + Send + use<Tell> {
        Arc::clone(&self.team).follow(tell)
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    pub(super) fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.authority)
    }

    /// Lets in who may, for as long as the tasks live.
    pub(super) fn accept(
        self,
        register: Arc<dyn Register>,
        passed: &mpsc::Sender<io::Result<Peer>>,
    ) -> Outcome<Vec<JoinHandle<()>>> {
        let team = self.team;
        let configs = Configs::new(&self.authority, Arc::clone(&register), Arc::clone(&team))?;
        let inside = Arc::new(Inside {
            authority: self.authority,
            register,
            team,
            configs: Mutex::new((monotonic(), Arc::new(configs))),
            strangers: Crowd::new(STRANGERS_MAX, STRANGERS_EACH_MAX),
            members: Crowd::new(REMOTE_CONNECTIONS_MAX, REMOTE_CONNECTIONS_EACH_MAX),
            tries: Tries::default(),
        });
        let accepting = self.listeners.into_iter().map(|listener| {
            tokio::spawn(accept_all(listener, Arc::clone(&inside), passed.clone()))
        });
        Ok(accepting.collect())
    }
}

/// What all that come in share.
struct Inside {
    authority: Arc<Authority>,
    register: Arc<dyn Register>,
    team: Arc<Team>,
    /// With the time they were made at.
    configs: Mutex<(Duration, Arc<Configs>)>,
    strangers: Arc<Crowd<IpAddr>>,
    members: Arc<Crowd<MemberId>>,
    tries: Tries,
}

async fn accept_all(
    listener: TcpListener,
    inside: Arc<Inside>,
    passed: mpsc::Sender<io::Result<Peer>>,
) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(it) => it,
            Err(error) => {
                tracing::warn!(%error, "a connection from elsewhere could not be taken");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let Some(stranger) = inside.strangers.enter(place(from.ip())) else {
            inside.refused(Refused::Crowd, from, "too many that have not shown who they are");
            continue;
        };
        let (inside, passed) = (Arc::clone(&inside), passed.clone());
        tokio::spawn(async move {
            let seen = timeout(HANDSHAKE_WITHIN, inside.handshake(stream, from)).await;
            match seen {
                Err(_) => inside.refused(Refused::Slow, from, "no handshake in time"),
                Ok(None) => {}
                Ok(Some(Came::Enrols(stream))) => inside.enrol(stream, from).await,
                Ok(Some(Came::Calls(stream))) => {
                    let peer = timeout(HANDSHAKE_WITHIN, inside.let_in(stream, from)).await;
                    match peer {
                        Err(_) => inside.refused(Refused::Slow, from, "nothing was said in time"),
                        Ok(None) => {}
                        Ok(Some(peer)) => drop(passed.send(Ok(peer)).await),
                    }
                }
            }
            drop(stranger);
        });
    }
}

enum Came {
    Enrols(TlsStream<TcpStream>),
    Calls(TlsStream<TcpStream>),
}

impl Inside {
    fn refused(&self, why: Refused, from: SocketAddr, what: &str) {
        tracing::info!(%from, why = why.word(), what, "a connection from elsewhere was refused");
        let by = RefusedWho::Stranger(from.ip().to_canonical().to_string());
        self.register.refused(Refusal { why, what: what.to_owned(), by });
    }

    /// Those with a certificate that is good for long enough.
    fn configs(&self) -> Arc<Configs> {
        let mut held = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if monotonic().saturating_sub(held.0) > HUB_CERTIFICATE_LIFE / 2 {
            let (register, team) = (Arc::clone(&self.register), Arc::clone(&self.team));
            match Configs::new(&self.authority, register, team) {
                Ok(fresh) => *held = (monotonic(), Arc::new(fresh)),
                Err(fault) => tracing::warn!(%fault, "the hub's certificate was not renewed"),
            }
        }
        Arc::clone(&held.1)
    }

    /// `None` = it was refused, and that was counted.
    async fn handshake(&self, stream: TcpStream, from: SocketAddr) -> Option<Came> {
        line::set(&stream);
        let refuse = |error: &io::Error| {
            let (why, what) = refused(error);
            self.refused(why, from, &what);
        };
        let hello = match LazyConfigAcceptor::new(Acceptor::default(), stream).await {
            Ok(hello) => hello,
            Err(error) => {
                refuse(&error);
                return None;
            }
        };
        let offered =
            |it: &[u8]| hello.client_hello().alpn().is_some_and(|mut all| all.any(|one| one == it));
        let (enrols, configs) = (offered(ENROLS), self.configs());
        let config = if enrols { &configs.enrols } else { &configs.calls };
        match hello.into_stream(Arc::clone(config)).await {
            Ok(stream) if enrols => Some(Came::Enrols(stream)),
            Ok(stream) => Some(Came::Calls(stream)),
            Err(error) => {
                refuse(&error);
                None
            }
        }
    }

    /// What a certificate is worth: one of the hub's own by what the register says and by nothing in it, one of the team's by
    /// what the table says of whom it names.
    fn standing(&self, own: &Fingerprint, all: &[CertificateDer<'_>]) -> (Standing, Proof) {
        match self.register.standing(own) {
            Standing::Unknown => {
                let standing = self.team.standing(all, UnixTime::now());
                (standing.unwrap_or(Standing::Unknown), Proof::TeamCertificate)
            }
            standing => (standing, Proof::Certificate),
        }
    }

    /// Lets in who has shown a certificate, while it is good.
    async fn let_in(&self, mut stream: TlsStream<TcpStream>, from: SocketAddr) -> Option<Peer> {
        let session = stream.get_ref().1;
        let shown = session.peer_certificates().unwrap_or_default().iter();
        let shown: Vec<_> = shown.map(|it| it.clone().into_owned()).collect();
        let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
        let certificate = shown.first().map(|it| Fingerprint::of(it));
        let (Some(certificate), Some(protocol)) = (certificate, protocol) else {
            self.refused(Refused::Protocol, from, "nothing that a hub speaks");
            return None;
        };
        let (standing, proof) = self.standing(&certificate, &shown);
        let Standing::Good { member, name, role, .. } = standing else {
            self.refused(Refused::Revoked, from, "revoked during the handshake");
            return None;
        };
        let address = from.ip().to_canonical().to_string();
        let bearer = Bearer { member, name, role, proof, certificate, address, called: None };
        let room = self.members.enter(bearer.member.clone());
        let crowded = room
            .is_none()
            .then(|| Fault::busy(format!("{} has too many connections to this hub", bearer.name)));
        if protocol == CALLS {
            let said = crate::wire::enrol::say(&mut stream, &welcome_bytes(crowded.as_ref())).await;
            said.ok()?;
        }
        let Some(room) = room else {
            self.refused(Refused::Crowd, from, &format!("too many of {}", bearer.name));
            return None;
        };
        let ends: Ends = match proof {
            Proof::Certificate => {
                Box::pin(line::until_over(bearer.clone(), Arc::clone(&self.register)))
            }
            Proof::TeamCertificate => {
                Box::pin(Arc::clone(&self.team).until_over(bearer.clone(), shown))
            }
        };
        line::peer(stream, bearer, ends, room).await.or_else(|| {
            self.refused(Refused::Protocol, from, "no HTTP/2 in it");
            None
        })
    }
}

/// The room of one who is in.
type Room = Place<MemberId>;
