//! The way to a hub: how one stream of bytes to it is opened, and hung up.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
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
        fault::{Fault, Kind, Outcome},
        id::ClientId,
        limits::{ANSWER_WITHIN, REACH_ASKING_WITHIN, REACH_WITHIN},
    },
    config::{
        address::{Address, Host},
        contexts::Context,
        paths::{Paths, SocketPath},
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
    Unix(PathBuf),
    /// The operator's own `ssh`, and a proxy over there.
    Ssh(Ssh),
    /// Mutual TLS; certificates and keys lie in that directory.
    Https { host: Host, port: u16, credentials: PathBuf },
}

/// What may happen while a way is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// A hub is started where none runs.
    pub starts: bool,
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
            Address::Unix(path) => Ok(Self::Unix(path.clone())),
            Address::Ssh { user, host, port } => {
                Ok(Self::Ssh(Ssh::new(&context.name, user.as_deref(), host, *port)))
            }
            Address::Https { host, port } => Ok(Self::Https {
                host: host.clone(),
                port: *port,
                credentials: paths.context(&context.name),
            }),
            // A hub of its own, on this machine, speaks to it.
            Address::OpenShell { .. } => {
                Ok(Self::Unix(paths.of_gateway(&context.name).hub_socket()))
            }
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

    /// Opens one stream. The caller bounds the time.
    pub(super) async fn open(&self, opening: Opening) -> Outcome<Opened> {
        match self {
            Self::Unix(path) => unix(path).await,
            Self::Ssh(ssh) => ssh.open(opening).await,
            Self::Https { host, port, credentials } => https::open(host, *port, credentials).await,
        }
    }

    /// Who we are on this way: over TLS the ids of all our clients begin as the hub told us.
    pub fn introduce(&self, identity: Identity) -> Identity {
        let Self::Https { credentials, .. } = self else { return identity };
        let Ok(kept) = https::read(credentials, &self.shown()) else { return identity };
        let prefix = client_prefix(&kept.member);
        if identity.client.as_str().starts_with(&prefix) {
            return identity;
        }
        let client = ClientId::parse(&format!("{prefix}{}", ClientId::random()));
        Identity { client: client.unwrap_or(identity.client), ..identity }
    }

    /// Asks for the next certificate, where there is one and it is time.
    pub(super) async fn renew(&self, wires: &Wires) -> Outcome<()> {
        let Self::Https { credentials, .. } = self else { return Ok(()) };
        https::renew(credentials, &self.shown(), wires).await
    }

    /// Whether what lets us in has to be renewed now and then.
    pub(super) fn renews(&self) -> bool {
        matches!(self, Self::Https { .. })
    }

    /// Whether input, lists and output share one stream.
    pub(super) fn shares(&self) -> bool {
        matches!(self, Self::Ssh(ssh) if ssh.is_for_a_verb())
    }

    /// Whether a network is between: its silence is no sign of life.
    pub(super) fn is_far(&self) -> bool {
        !matches!(self, Self::Unix(_))
    }

    /// Whether opening it starts a hub by itself.
    pub(super) fn starts_hubs(&self) -> bool {
        matches!(self, Self::Ssh(_))
    }

    /// How long a hub may take to be reached.
    pub(super) fn within(&self, opening: Opening) -> Duration {
        match self {
            Self::Unix(_) => ANSWER_WITHIN,
            _ if opening.asks => REACH_ASKING_WITHIN,
            _ => REACH_WITHIN,
        }
    }

    /// Where it leads, for people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Ssh(ssh) => ssh.address().to_string(),
            Self::Https { host, port, .. } => format!("https://{host}:{port}"),
        }
    }

    /// A verb for that hub, as it is typed.
    pub(super) fn verb(&self, verb: &str) -> String {
        match self {
            Self::Ssh(ssh) => format!("sandwatch --context {} {verb}", ssh.context()),
            Self::Https { host, .. } => format!("on {host}: sandwatch {verb}"),
            Self::Unix(_) => format!("sandwatch {verb}"),
        }
    }
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
        Fault::new(Kind::Lost, format!("{why}: {}", path.display())).hint("sandwatch hub start")
    })
}
