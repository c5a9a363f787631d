//! Listening for those who come from elsewhere: every connection shows a certificate of this hub, or a token, before a byte of
//! it is taken for a call, or enrols by an invite and does nothing else.
pub mod authority;
mod bearer;
mod config;
mod crowd;
mod enrol;
mod line;
mod oidc;
mod signed;
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
    bearer::farewell,
    config::{Configs, refused},
    crowd::{Crowd, Full, Place, place},
    enrol::Tries,
    line::{Ends, until_over},
    team::Team,
};
use super::accept::Peer;
use crate::{
    base::{
        clock::{Timestamp, wall},
        fault::{Fault, Outcome},
        id::MemberId,
        limits::{
            HANDSHAKE_WITHIN, HUB_CERTIFICATE_LIFE, LISTEN_AGAIN_EVERY, LISTEN_MAX,
            REMOTE_CONNECTIONS_EACH_MAX, REMOTE_CONNECTIONS_FEW, REMOTE_CONNECTIONS_FREELY,
            REMOTE_CONNECTIONS_MAX, STRANGERS_EACH_MAX, STRANGERS_MAX,
        },
    },
    model::member::{Fingerprint, Proof, Refused},
    runtime::{
        Bearer,
        access::{Refusal, RefusedWho, Register, Standing},
    },
    wire::enrol::{BEARS, CALLS, ENROLS, say, welcome_bytes},
};

/// Pause when the system has no descriptor left for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The places that a hub listens on.
pub struct Door {
    listeners: Vec<TcpListener>,
    /// Those that could not be had yet.
    lacking: Vec<SocketAddr>,
    taken: Taken,
    authority: Arc<Authority>,
    team: Arc<Team>,
}

/// Where it listens by now.
#[derive(Clone, Default)]
pub(super) struct Taken(Arc<Mutex<Vec<SocketAddr>>>);

impl Taken {
    pub(super) fn all(&self) -> Vec<SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, listener: &TcpListener, at: SocketAddr) {
        let at = listener.local_addr().unwrap_or(at);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(at);
    }
}

async fn bind(at: SocketAddr) -> Outcome<TcpListener> {
    TcpListener::bind(at).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there: choose another port",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address (yet)",
            _ => "0.0.0.0:PORT is every address of this machine",
        };
        Fault::io(format_args!("listening on {at}"), &error).hint(hint)
    })
}

impl Door {
    /// Takes the places, all or none, besides those that were handed down; nothing is let in yet. The authority lies in that
    /// directory, and is made at the first need; of a team, that file of the configuration may tell.
    pub async fn open(
        authority: &Path,
        config: &Path,
        at: &[SocketAddr],
        handed: Vec<std::net::TcpListener>,
    ) -> Outcome<Self> {
        let (door, faults) = Self::open_in_time(authority, config, at, handed).await?;
        faults.into_iter().next().map_or(Ok(door), Err)
    }

    /// The same, with what can't be had yet, and why: it is tried again for as long as the hub serves.
    pub async fn open_in_time(
        authority: &Path,
        config: &Path,
        at: &[SocketAddr],
        handed: Vec<std::net::TcpListener>,
    ) -> Outcome<(Self, Vec<Fault>)> {
        if at.len() + handed.len() > LISTEN_MAX {
            return Err(Fault::invalid(format!("a hub listens on {LISTEN_MAX} places at most")));
        }
        let authority = Arc::new(Authority::open(authority)?);
        let team = Arc::new(Team::open(config));
        let (listeners, lacking) = (Vec::new(), Vec::new());
        let mut it = Self { listeners, lacking, taken: Taken::default(), authority, team };
        for handed in handed {
            let doing = |error: &io::Error| Fault::io("taking a socket over", error);
            handed.set_nonblocking(true).map_err(|error| doing(&error))?;
            let at = handed.local_addr().map_err(|error| doing(&error))?;
            let listener = TcpListener::from_std(handed).map_err(|error| doing(&error))?;
            it.taken.add(&listener, at);
            it.listeners.push(listener);
        }
        let mut faults = Vec::new();
        for at in at {
            match bind(*at).await {
                Ok(listener) => {
                    it.taken.add(&listener, *at);
                    it.listeners.push(listener);
                }
                Err(fault) => {
                    it.lacking.push(*at);
                    faults.push(fault);
                }
            }
        }
        Ok((it, faults))
    }

    /// Looks again and again at what the configuration says of a team, for as long as it is polled, and tells what is wrong
    /// with it.
    pub fn follow<Tell: Fn(&str) + Send + 'static>(
        &self,
        tell: Tell,
    ) -> impl Future<Output = ()> + Send + use<Tell> {
        Arc::clone(&self.team).follow(tell)
    }

    pub(super) fn taken(&self) -> Taken {
        self.taken.clone()
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
            configs: Mutex::new((wall(), Arc::new(configs))),
            strangers: Crowd::new(STRANGERS_MAX, STRANGERS_EACH_MAX, None),
            members: Crowd::new(
                REMOTE_CONNECTIONS_MAX,
                REMOTE_CONNECTIONS_EACH_MAX,
                Some((REMOTE_CONNECTIONS_FREELY, REMOTE_CONNECTIONS_FEW)),
            ),
            tries: Tries::default(),
        });
        let accepting = self.listeners.into_iter().map(|listener| {
            tokio::spawn(accept_all(listener, Arc::clone(&inside), passed.clone()))
        });
        let waiting = self.lacking.into_iter().map(|at| {
            let (inside, passed) = (Arc::clone(&inside), passed.clone());
            let taken = self.taken.clone();
            tokio::spawn(async move {
                let listener = loop {
                    tokio::time::sleep(LISTEN_AGAIN_EVERY).await;
                    if let Ok(listener) = bind(at).await {
                        break listener;
                    }
                };
                tracing::info!(%at, "the hub listens there by now");
                taken.add(&listener, at);
                accept_all(listener, inside, passed).await;
            })
        });
        Ok(accepting.chain(waiting).collect())
    }
}

/// What all that come in share.
struct Inside {
    authority: Arc<Authority>,
    register: Arc<dyn Register>,
    team: Arc<Team>,
    /// With the time they were made at: by the clock that certificates are read by.
    configs: Mutex<(Timestamp, Arc<Configs>)>,
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
        let Ok(stranger) = inside.strangers.enter(place(from.ip())) else {
            inside.refused(Refused::Crowd, from, "too many that have not shown who they are");
            continue;
        };
        let (inside, passed) = (Arc::clone(&inside), passed.clone());
        tokio::spawn(async move {
            let seen = timeout(HANDSHAKE_WITHIN, inside.handshake(stream, from)).await;
            match seen {
                Err(_) => inside.refused(Refused::Slow, from, "no handshake in time"),
                Ok(None) => {}
                Ok(Some(Came::Enrols(stream))) => Arc::clone(&inside).enrol(stream, from).await,
                Ok(Some(Came::Bears(stream))) => {
                    inside.pass(Box::pin(inside.bear(stream, from)), from, &passed).await;
                }
                Ok(Some(Came::Calls(stream))) => {
                    inside.pass(Box::pin(inside.let_in(stream, from)), from, &passed).await;
                }
            }
            drop(stranger);
        });
    }
}

enum Came {
    Enrols(TlsStream<TcpStream>),
    Bears(TlsStream<TcpStream>),
    Calls(TlsStream<TcpStream>),
}

impl Inside {
    fn refused(&self, why: Refused, from: SocketAddr, what: &str) {
        let by = RefusedWho::Stranger(from.ip().to_canonical().to_string());
        if self.register.refused(Refusal { why, what: what.to_owned(), by }) {
            tracing::info!(%from, why = why.word(), what, "a connection from elsewhere was refused");
        }
    }

    /// Those with a certificate that is good for long enough.
    fn configs(&self) -> Arc<Configs> {
        let mut held = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        let now = wall();
        // A clock that was set back sees one of the future.
        if now.since(held.0) > HUB_CERTIFICATE_LIFE / 2 || now < held.0 {
            let (register, team) = (Arc::clone(&self.register), Arc::clone(&self.team));
            match Configs::new(&self.authority, register, team) {
                Ok(fresh) => *held = (now, Arc::new(fresh)),
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
        let configs = self.configs();
        let (config, came): (_, fn(_) -> Came) = if offered(ENROLS) {
            (&configs.enrols, Came::Enrols)
        } else if offered(BEARS) && self.team.takes_tokens() {
            (&configs.bears, Came::Bears)
        } else {
            (&configs.calls, Came::Calls)
        };
        match hello.into_stream(Arc::clone(config)).await {
            Ok(stream) => Some(came(stream)),
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

    /// Hands over who is let in, which takes no longer than a handshake.
    async fn pass(
        &self,
        coming: impl Future<Output = Option<Peer>>,
        from: SocketAddr,
        passed: &mpsc::Sender<io::Result<Peer>>,
    ) {
        match timeout(HANDSHAKE_WITHIN, coming).await {
            Err(_) => self.refused(Refused::Slow, from, "nothing was said in time"),
            Ok(None) => {}
            Ok(Some(peer)) => drop(passed.send(Ok(peer)).await),
        }
    }

    /// Lets in who has shown a certificate, while it is good.
    async fn let_in(&self, stream: TlsStream<TcpStream>, from: SocketAddr) -> Option<Peer> {
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
        let ends: Ends = match proof {
            Proof::Certificate => {
                let register = Arc::clone(&self.register);
                let standing = move |it: &Bearer| Some(register.standing_of(&it.member));
                Box::pin(until_over(bearer.clone(), self.register.changes(), standing))
            }
            // Whom a token lets in does not come here.
            Proof::TeamCertificate | Proof::Token => {
                let team = Arc::clone(&self.team);
                let standing = move |_: &Bearer| team.standing(&shown, UnixTime::now()).ok();
                Box::pin(until_over(bearer.clone(), self.team.changes(), standing))
            }
        };
        self.enter(stream, from, bearer, ends, protocol == CALLS).await
    }

    /// Lets in somebody who may come, if there is room; to who waits for a word that is said.
    async fn enter(
        &self,
        mut stream: TlsStream<TcpStream>,
        from: SocketAddr,
        bearer: Bearer,
        ends: Ends,
        waits: bool,
    ) -> Option<Peer> {
        let room = match self.members.enter(bearer.member.clone()) {
            Ok(room) => room,
            Err(full) => {
                self.refused(Refused::Crowd, from, &format!("too many of {}", bearer.name));
                if waits {
                    farewell(&mut stream, &crowded(full, &bearer.name)).await;
                }
                return None;
            }
        };
        if waits {
            say(&mut stream, &welcome_bytes(None)).await.ok()?;
        }
        line::peer(stream, bearer, ends, room).await.or_else(|| {
            self.refused(Refused::Protocol, from, "no HTTP/2 in it");
            None
        })
    }
}

fn crowded(full: Full, name: &str) -> Fault {
    match full {
        Full::Each => Fault::busy(format!("{name} has too many connections to this hub"))
            .hint("end some of them, or take another member for this"),
        Full::All => Fault::busy("this hub has as many connections from elsewhere as it takes")
            .hint("others have to end some; try again later"),
    }
}

/// The room of one who is in.
type Room = Place<MemberId>;
