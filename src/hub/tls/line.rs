//! A connection of somebody who was let in: it ends when what let them in is good no more.

use std::{
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use rustix::{
    event::PollFlags,
    net::sockopt::{
        set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
        set_tcp_user_timeout,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
};
use tokio_rustls::server::TlsStream;

use super::Room;
use crate::{
    base::{
        clock::wall,
        limits::{
            CERTIFICATE_LOOKED_AT_EVERY, SILENT_AFTER, SILENT_ASKED_EVERY, SILENT_ASKED_MAX,
            UNCONFIRMED_WITHIN,
        },
    },
    hub::accept::{GREETING, Line, Peer},
    runtime::{self, Bearer, access::Standing},
};

/// TLS over TCP, with the socket below it.
struct Tls(TlsStream<TcpStream>);

impl Line for Tls {
    fn socket(&self) -> BorrowedFd<'_> {
        self.0.get_ref().0.as_fd()
    }
}

/// No key waits for another, and a link that is dead is known to be.
pub(super) fn set(stream: &TcpStream) {
    let milliseconds = u32::try_from(UNCONFIRMED_WITHIN.as_millis()).unwrap_or(u32::MAX);
    let set = stream
        .set_nodelay(true)
        .and_then(|()| Ok(set_socket_keepalive(stream, true)?))
        .and_then(|()| Ok(set_tcp_keepidle(stream, SILENT_AFTER)?))
        .and_then(|()| Ok(set_tcp_keepintvl(stream, SILENT_ASKED_EVERY)?))
        .and_then(|()| Ok(set_tcp_keepcnt(stream, SILENT_ASKED_MAX)?))
        .and_then(|()| Ok(set_tcp_user_timeout(stream, milliseconds)?));
    if let Err(error) = set {
        tracing::debug!(%error, "a connection stays as the system made it");
    }
}

/// Resolves when what let somebody in is good no more.
pub(super) type Ends = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits for the greeting of HTTP/2; `None` = something else came.
pub(super) async fn peer(
    mut stream: TlsStream<TcpStream>,
    bearer: Bearer,
    ends: Ends,
    room: Room,
) -> Option<Peer> {
    let mut said = [0; GREETING.len()];
    stream.read_exact(&mut said).await.ok()?;
    if said != *GREETING {
        return None;
    }
    let who = runtime::Peer::Certificate(bearer);
    let said = Bytes::copy_from_slice(&said);
    // One who closes sends nothing more that counts: what was not answered by then is told to be lost.
    let gone = PollFlags::HUP.union(PollFlags::RDHUP);
    Some(Peer::new(Box::new(Tls(stream)), who, gone, Box::new(room)).having_said(said).ending(ends))
}

/// Resolves when they may not be here any more, or not as what they are: what lets them in is looked at whenever it may have
/// changed.
pub(super) async fn until_over<News>(
    bearer: Bearer,
    mut changes: watch::Receiver<News>,
    standing: impl Fn(&Bearer) -> Option<Standing>,
) {
    loop {
        changes.borrow_and_update();
        let left = match standing(&bearer) {
            Some(Standing::Good { name, role, until, .. })
                if (&name, role) == (&bearer.name, bearer.role) =>
            {
                until.since(wall())
            }
            _ => Duration::ZERO,
        };
        if left.is_zero() {
            tracing::info!(name = bearer.name, "a connection ends with what let it in");
            return;
        }
        // The clock of the wall may be set, and a machine may sleep.
        let look = tokio::time::sleep(left.min(CERTIFICATE_LOOKED_AT_EVERY));
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = look => {}
        }
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
