//! The way to a hub: how one stream of bytes to it is opened, and hung up.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    sync::oneshot,
};

use super::{
    dial::Wires,
    https,
    ssh::{Ssh, Tell},
};
use crate::{
    base::{
        clock::{Timestamp, wall},
        fault::{Fault, Kind, Outcome},
        id::{ClientId, MemberId},
        limits::{ANSWER_WITHIN, REACH_ASKING_WITHIN, REACH_WITHIN, TOKEN_LEEWAY},
        secret::Secret,
    },
    config::{
        address::{Address, Host},
        contexts::{Context, ContextName},
        oidc::{TokenFiles, TokenFrom},
        paths::{Paths, SocketPath},
        team::TeamFiles,
    },
    runtime::{Identity, client_prefix},
};

/// Bytes in both directions.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Bytes for T {}

/// How a hub is reached.
#[derive(Clone, Debug)]
pub enum Way {
    /// A socket of this machine.
    Unix { path: PathBuf, whose: Whose },
    /// The operator's own `ssh`, and a proxy over there.
    Ssh(Ssh),
    /// TLS, in which both sides show what they are known by.
    Https { host: Host, port: u16, shows: Shows },
}

/// What is shown to a hub over TLS, and whom it has to be of.
#[derive(Clone, Debug)]
pub enum Shows {
    /// What the hub gave by an invite; it lies in that directory.
    Kept(PathBuf),
    /// What a team's own authority gave.
    Team(TeamFiles),
    /// A token, which is read when the hub is dialled.
    Token(TokenFiles, Option<Arc<Carried>>),
}

/// A token as it was read, and who we are by it.
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nobody shows one"))]
#[derive(Debug)]
pub struct Carried {
    pub(super) token: Secret,
    pub(super) member: MemberId,
    /// As it says itself; `None` = it does not.
    pub(super) until: Option<Timestamp>,
}

/// What a command printed, for all that try to reach one hub: kept until it ends or is refused, so that nobody who prints
/// tokens is asked for one with each try.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<Mutex<Option<Arc<Carried>>>>);

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Carried>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn good(&self) -> Option<Arc<Carried>> {
        let least = Timestamp(wall().0.saturating_add(TOKEN_LEEWAY.as_millis() as i64));
        self.lock().clone().filter(|it| it.until.is_some_and(|it| it > least))
    }

    /// What was shown is good for nothing.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }
}

/// Whose hub is behind a socket of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This user's own one.
    Own,
    /// The one of a gateway, which is this user's as well.
    Gateway(ContextName),
    /// Somebody's, of whom only the socket is known, by this context.
    Other(ContextName),
}

/// What may happen while a way is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// A hub is started where none runs.
    pub starts: bool,
    /// This was not let in just before, perhaps.
    pub careful: bool,
    /// A person sits at this terminal who may be asked, for a passphrase say. Never where something is drawn.
    pub asks: bool,
}

/// One stream, and its end in our hand.
pub(super) struct Opened {
    pub(super) stream: Box<dyn Bytes>,
    pub(super) tap: Tap,
    /// Resolves, while the stream is read, with whether the hub lets this in; `None` = it is in already.
    pub(super) entered: Option<oneshot::Receiver<Outcome<()>>>,
}

/// The socket under a stream.
pub(super) struct Tap(OwnedFd);

impl Tap {
    pub(super) fn of(stream: &impl AsFd) -> std::io::Result<Self> {
        Ok(Self(stream.as_fd().try_clone_to_owned()?))
    }

    /// Ends the stream in both directions, with all that the other side has not read.
    pub(super) fn hang_up(&self) {
        // Closed by the other side is fine.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

impl Way {
    /// The way to the hub of a context.
    pub fn to(context: &Context, paths: &Paths) -> Outcome<Self> {
        match &context.address {
            Address::Unix(path) => Ok(Self::Unix {
                path: path.clone(),
                whose: match context.name.is_local() {
                    true => Whose::Own,
                    false => Whose::Other(context.name.clone()),
                },
            }),
            Address::Ssh { user, host, port } => {
                Ok(Self::Ssh(Ssh::new(&context.name, user.as_deref(), host, *port)))
            }
            Address::Https { host, port } => Ok(Self::Https {
                host: host.clone(),
                port: *port,
                shows: match (&context.team, &context.token) {
                    (Some(files), _) => Shows::Team(files.clone()),
                    (None, Some(files)) => Shows::Token(files.clone(), None),
                    (None, None) => Shows::Kept(paths.context(&context.name)),
                },
            }),
            // A hub of its own, on this machine, speaks to it.
            Address::OpenShell { .. } => Ok(Self::Unix {
                path: paths.of_gateway(&context.name).hub_socket(),
                whose: Whose::Gateway(context.name.clone()),
            }),
        }
    }

    /// The same for one verb: with one connection, which may have to be asked for, and a person who is told what is said
    /// on the way.
    #[must_use]
    pub fn for_a_verb(self, tell: Tell) -> Self {
        match self {
            Self::Ssh(ssh) => Self::Ssh(ssh.for_a_verb(tell)),
            other => other,
        }
    }

    /// The same with what is shown on it as that is now, where that is read for each time a hub is dialled. It has a bound of
    /// its own.
    pub(super) async fn ready(&self, tokens: &Tokens) -> Outcome<Self> {
        let Self::Https { host, port, shows: Shows::Token(files, _) } = self else {
            return Ok(self.clone());
        };
        let carried = match tokens.good() {
            Some(kept) => kept,
            None => https::carried(&files.from).await?,
        };
        // A file is read each time, for it costs nothing.
        if matches!(files.from, TokenFrom::Command(_)) {
            *tokens.lock() = Some(Arc::clone(&carried));
        }
        let shows = Shows::Token(files.clone(), Some(carried));
        Ok(Self::Https { host: host.clone(), port: *port, shows })
    }

    /// Opens one stream. The caller bounds the time.
    pub(super) async fn open(&self, opening: Opening) -> Outcome<Opened> {
        match self {
            Self::Unix { path, .. } => {
                unix(path).await.map_err(|it| none_runs(it, &self.mends("start")))
            }
            Self::Ssh(ssh) => ssh.open(opening).await,
            Self::Https { host, port, shows } => https::open(host, *port, shows).await,
        }
    }

    /// Who we are on this way, by what is shown there as it is now: over TLS the ids of all our clients begin by that.
    pub fn introduce(&self, identity: Identity) -> Identity {
        let Self::Https { shows, .. } = self else { return identity };
        let Ok(member) = https::member(shows, &self.shown()) else { return identity };
        let prefix = client_prefix(&member);
        if identity.client.as_str().starts_with(&prefix) {
            return identity;
        }
        let client = ClientId::parse(&format!("{prefix}{}", ClientId::random()));
        Identity { client: client.unwrap_or(identity.client), ..identity }
    }

    /// When what is shown on it ends, as that says itself.
    pub(super) fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Https { shows: Shows::Token(_, Some(carried)), .. } => carried.until,
            _ => None,
        }
    }

    /// Asks for the next certificate, where there is one and it is time.
    pub(super) async fn renew(&self, wires: &Wires) -> Outcome<()> {
        let Self::Https { shows: Shows::Kept(dir), .. } = self else { return Ok(()) };
        https::renew(dir, &self.shown(), wires).await
    }

    /// Whether what lets us in has to be renewed now and then.
    pub(super) fn renews(&self) -> bool {
        matches!(self, Self::Https { shows: Shows::Kept(_), .. })
    }

    /// Whether one stream is opened before the others: what is refused is refused once, and a key that must be touched or
    /// unlocked is by then.
    pub(super) fn tries_one_first(&self, opening: Opening) -> bool {
        opening.careful || matches!(self, Self::Ssh(_))
    }

    /// Whether input, lists and output share one stream.
    pub(super) fn shares(&self) -> bool {
        matches!(self, Self::Ssh(ssh) if ssh.is_for_a_verb())
    }

    /// Whether a network is between: its silence is no sign of life.
    pub(super) fn is_far(&self) -> bool {
        !matches!(self, Self::Unix { .. })
    }

    /// Whether opening it starts a hub by itself.
    pub(super) fn starts_hubs(&self) -> bool {
        matches!(self, Self::Ssh(_))
    }

    /// How long a hub may take to be reached.
    pub(super) fn within(&self, opening: Opening) -> Duration {
        match self {
            Self::Unix { .. } => ANSWER_WITHIN,
            _ if opening.asks => REACH_ASKING_WITHIN,
            _ => REACH_WITHIN,
        }
    }

    /// Where it leads, for people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Unix { path, .. } => path.display().to_string(),
            Self::Ssh(ssh) => ssh.address().to_string(),
            Self::Https { host, port, .. } => format!("https://{host}:{port}"),
        }
    }

    /// What starts or stops that hub, as it is typed: `hub VERB`, and nobody else's.
    pub(super) fn mends(&self, verb: &str) -> String {
        let context = match self {
            Self::Unix { whose: Whose::Own, .. } => return format!("sandwatch hub {verb}"),
            Self::Https { host, .. } => return format!("on {host}: sandwatch hub {verb}"),
            // One of which only the socket is known can be ended from here, but not started.
            Self::Unix { whose: Whose::Other(_), .. } if verb == "start" => {
                return "whoever's hub that is starts it: sandwatch hub start".to_owned();
            }
            Self::Unix { whose: Whose::Gateway(name) | Whose::Other(name), .. } => name,
            Self::Ssh(ssh) => ssh.context(),
        };
        format!("sandwatch --context {context} hub {verb}")
    }
}

/// Where no hub is, what starts one.
pub(super) fn none_runs(fault: Fault, mends: &str) -> Fault {
    if fault.kind() == Kind::Lost { fault.hint(mends) } else { fault }
}

async fn unix(path: &Path) -> Outcome<Opened> {
    let stream = connect(path).await?;
    let tap = Tap::of(&stream).map_err(|error| Fault::io("sharing a socket", &error))?;
    Ok(Opened { stream: Box::new(stream), tap, entered: None })
}

/// Connects to the socket of a hub on this machine.
pub(super) async fn connect(path: &Path) -> Outcome<UnixStream> {
    let short = SocketPath::open(path)?;
    UnixStream::connect(short.path()).await.map_err(|error| {
        use std::io::ErrorKind as Io;
        let why = match error.kind() {
            Io::NotFound | Io::ConnectionRefused => "no hub runs".to_owned(),
            Io::PermissionDenied => "the hub is somebody else's".to_owned(),
            _ => format!("no connection to the hub: {error}"),
        };
        Fault::new(Kind::Lost, format!("{why}: {}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mends_one_hub_names_that_one_and_no_other() {
        let named = |name: &str, address: &str| {
            let name = name.parse().unwrap();
            let address = address.parse().unwrap();
            let context = Context { name, address, team: None, token: None, compress: false };
            Way::to(&context, &Paths::under(Path::new("/home/me/sandwatch"))).unwrap()
        };
        let old = named("old", "unix:/run/old.sock");
        let gateway = named("lab", "openshell+https://lab.example.org:8080");
        let far = named("far", "ssh://far.example.org");
        for (way, stop, start) in [
            (
                &old,
                "sandwatch --context old hub stop",
                "whoever's hub that is starts it: sandwatch hub start",
            ),
            (&gateway, "sandwatch --context lab hub stop", "sandwatch --context lab hub start"),
            (&far, "sandwatch --context far hub stop", "sandwatch --context far hub start"),
        ] {
            assert_eq!((way.mends("stop").as_str(), way.mends("start").as_str()), (stop, start));
        }
        let own = Way::Unix { path: "/run/own.sock".into(), whose: Whose::Own };
        assert_eq!(own.mends("stop"), "sandwatch hub stop");
    }
}
