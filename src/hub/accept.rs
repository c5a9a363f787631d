//! The hub's socket: made private before it is there, and every connection looked at before gRPC
//! sees it: whose it is, and whether it speaks HTTP/2 at all.

use std::{
    fs,
    future::Future,
    io::{self, IoSlice},
    net::IpAddr,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, recv},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tonic::transport::server::Connected;

use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::{HUB_CONNECTIONS_MAX, HUB_GREETING_WITHIN, VIA_BYTES_MAX},
    },
    config::paths::SocketPath,
    runtime,
    wire::{VIA, from_ssh},
};

/// What every HTTP/2 client says first.
pub(super) const GREETING: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause when the system has no descriptor left for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Connections that passed and wait for gRPC to take them.
const PASSED_MAX: usize = 16;

/// Connections that may speak gRPC.
pub(super) type Peers = mpsc::Receiver<io::Result<Peer>>;

/// Tells whether a process of this user may speak to a hub of `own`.
pub fn peer_allowed(own: u32, peer: u32) -> bool {
    peer == own || peer == 0
}

/// Makes the socket under another name, private, and moves it to its place: it is never there with
/// other rights, and a stale one is replaced in one step. The caller holds the hub's lock.
pub(super) fn bind(path: &Path) -> Outcome<(UnixListener, Bound)> {
    let doing =
        |error: &io::Error| Fault::io(format_args!("listening on {}", path.display()), error);
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(doing(&error)),
        _ => {}
    }
    let short = SocketPath::open(&fresh)?;
    let listener = UnixListener::bind(short.path()).map_err(|error| doing(&error))?;
    let inode = fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))
        .and_then(|()| inode(&fresh))
        .and_then(|inode| fs::rename(&fresh, path).map(|()| inode))
        .map_err(|error| doing(&error))?;
    Ok((listener, Bound { path: path.to_owned(), inode }))
}

/// Goes on with a socket that somebody else made and keeps.
pub(super) fn take_over(handed: std::os::unix::net::UnixListener) -> Outcome<UnixListener> {
    let taken = handed.set_nonblocking(true).and_then(|()| UnixListener::from_std(handed));
    taken.map_err(|error| Fault::io("taking a socket over", &error))
}

/// A socket that this hub put at its place.
pub(super) struct Bound {
    path: PathBuf,
    inode: (u64, u64),
}

impl Bound {
    /// Takes it away, unless another hub's is at its place by now.
    pub(super) fn unbind(&self) {
        let path = &self.path;
        let removed = match inode(path) {
            Ok(inode) if inode == self.inode => fs::remove_file(path),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, path = %path.display(), "the hub's socket could not be removed");
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|it| (it.dev(), it.ino()))
}

/// The way of those who may speak to gRPC.
pub(super) fn passing() -> (mpsc::Sender<io::Result<Peer>>, Peers) {
    mpsc::channel(PASSED_MAX)
}

/// Takes connections for as long as the task lives: those of this machine, and those that a proxy carries from another.
pub(super) fn accept(
    listener: UnixListener,
    near: mpsc::Sender<io::Result<Peer>>,
    far: mpsc::Sender<io::Result<Peer>>,
) -> JoinHandle<()> {
    tokio::spawn(accept_all(listener, near, far))
}

async fn accept_all(
    listener: UnixListener,
    near: mpsc::Sender<io::Result<Peer>>,
    far: mpsc::Sender<io::Result<Peer>>,
) {
    let room = Arc::new(Semaphore::new(HUB_CONNECTIONS_MAX));
    let own = rustix::process::geteuid().as_raw();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (uid, pid) = match stream.peer_cred() {
            Ok(peer) if peer_allowed(own, peer.uid()) => {
                let pid = peer.pid().and_then(|it| u32::try_from(it).ok());
                (peer.uid(), pid)
            }
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "a connection of another user was refused");
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of nobody known was refused");
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(most = HUB_CONNECTIONS_MAX, "a connection too many was refused");
            continue;
        };
        let (near, far) = (near.clone(), far.clone());
        tokio::spawn(async move {
            let introduced = async {
                let ssh = introduces(&stream).await?.map(|it| it.to_string());
                io::Result::Ok((greets(&stream).await?, ssh))
            };
            let introduced = tokio::time::timeout(HUB_GREETING_WITHIN, introduced).await;
            if let Ok(Ok((true, ssh))) = introduced {
                let passed = if ssh.is_some() { far } else { near };
                let who = runtime::Peer::Process { uid, pid, ssh };
                let peer = Peer::new(Box::new(stream), who, PollFlags::HUP, Box::new(permit));
                drop(passed.send(Ok(peer)).await);
            } else {
                tracing::debug!("a connection that does not speak HTTP/2 was closed");
            }
        });
    }
}

/// Takes the line by which a proxy says who is behind it, where there is one, and nothing else.
async fn introduces(stream: &UnixStream) -> io::Result<Option<IpAddr>> {
    let mut bytes = [0; VIA_BYTES_MAX];
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let seen = stream.try_io(Interest::READABLE, || {
            let count = recv(stream, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0;
            let seen = bytes.get(..count).unwrap_or_default();
            let begins = seen.starts_with(VIA) || (count > 0 && VIA.starts_with(seen));
            let end = seen.iter().position(|it| *it == b'\n');
            match end.filter(|_| begins) {
                Some(end) => Ok(Some(end)),
                None if begins && count < VIA_BYTES_MAX => Err(io::ErrorKind::WouldBlock.into()),
                None => Ok(None),
            }
        });
        let end = match seen {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if ready.is_read_closed() {
                    return Ok(None);
                }
                continue;
            }
            end => end?,
        };
        let Some(end) = end else { return Ok(None) };
        let line = bytes.get(..end).unwrap_or_default();
        let from = from_ssh(line).ok_or(io::ErrorKind::InvalidData)?;
        // It is there, so it is taken at once.
        let mut taken = [0; VIA_BYTES_MAX];
        let taken = stream.try_read(taken.get_mut(..=end).unwrap_or_default())?;
        return if taken == end + 1 {
            Ok(Some(from))
        } else {
            Err(io::ErrorKind::InvalidData.into())
        };
    }
}

/// Looks, without taking anything, whether the other side greets as an HTTP/2 client does.
async fn greets(stream: &UnixStream) -> io::Result<bool> {
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let seen = stream.try_io(Interest::READABLE, || {
            let mut bytes = [0; GREETING.len()];
            let count = recv(stream, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0;
            let seen = bytes.get(..count).unwrap_or_default();
            match GREETING.strip_prefix(seen) {
                Some([]) => Ok(true),
                Some(_) if count > 0 => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(false),
            }
        });
        match seen {
            // Half a greeting of one who has hung up stays half.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && ready.is_read_closed() => {
                return Ok(false);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

/// Bytes in both directions, with the socket below them.
pub(super) trait Line: AsyncRead + AsyncWrite + Unpin + Send {
    fn socket(&self) -> BorrowedFd<'_>;
}

impl Line for UnixStream {
    fn socket(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

/// One connection, counted until it ends.
pub(super) struct Peer {
    stream: Box<dyn Line>,
    /// What was read of it already.
    said: Bytes,
    who: runtime::Peer,
    /// How the system says that the other side is gone altogether.
    gone: PollFlags,
    /// Resolves when it has to end, whatever is under way.
    ends: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _room: Box<dyn Send>,
}

impl Connected for Peer {
    type ConnectInfo = runtime::Peer;

    fn connect_info(&self) -> runtime::Peer {
        self.who.clone()
    }
}

impl Peer {
    pub(super) fn new(
        stream: Box<dyn Line>,
        who: runtime::Peer,
        gone: PollFlags,
        room: Box<dyn Send>,
    ) -> Self {
        Self { stream, said: Bytes::new(), who, gone, ends: None, _room: room }
    }

    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only of who comes from elsewhere"))]
    pub(super) fn having_said(self, said: Bytes) -> Self {
        Self { said, ..self }
    }

    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only of who comes from elsewhere"))]
    pub(super) fn ending(self, ends: Pin<Box<dyn Future<Output = ()> + Send>>) -> Self {
        Self { ends: Some(ends), ..self }
    }

    /// Whether the other side is gone altogether.
    fn hung_up(&self) -> bool {
        let socket = self.stream.socket();
        let mut asked = [PollFd::new(&socket, PollFlags::RDHUP)];
        let found = poll(&mut asked, Some(&Timespec::default()));
        found.is_ok_and(|it| it > 0) && asked.iter().any(|it| it.revents().intersects(self.gone))
    }

    /// Fails once it has to end.
    fn goes_on(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let over = self.ends.as_mut().is_some_and(|it| it.as_mut().poll(context).is_ready());
        if over {
            // Whoever asks again hears the same.
            self.ends = Some(Box::pin(std::future::ready(())));
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl AsyncRead for Peer {
    /// What is left of one who has hung up is not read: a hub that stood still and goes on must not type
    /// what somebody typed long ago and was told is lost.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.goes_on(context)?;
        if self.hung_up() {
            return Poll::Ready(Ok(()));
        }
        if !self.said.is_empty() {
            let many = self.said.len().min(buffer.remaining());
            buffer.put_slice(&self.said.split_to(many));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.goes_on(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.goes_on(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::peer_allowed;

    #[test]
    fn only_the_owner_and_root_may_speak_to_a_hub() {
        assert!(peer_allowed(1000, 1000));
        assert!(peer_allowed(1000, 0));
        assert!(!peer_allowed(1000, 1001));
        assert!(!peer_allowed(0, 1000));
    }
}
