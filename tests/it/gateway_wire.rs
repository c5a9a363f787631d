//! Connections to the tests' gateway, in the clear or over TLS.

use std::pin::Pin;
#[cfg(feature = "tls")]
use std::sync::Arc;

use tokio::sync::mpsc;

#[cfg(feature = "tls")]
pub(crate) type Tls = Arc<tokio_rustls::rustls::ServerConfig>;
/// There is none.
#[cfg(not(feature = "tls"))]
pub(crate) type Tls = std::convert::Infallible;

pub(crate) type Peer = std::io::Result<Wire>;

/// One connection, in the clear or not.
pub(crate) struct Wire(Box<dyn Bytes>);

trait Bytes: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Bytes for T {}

impl tokio::io::AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl tokio::io::AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }
    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }
    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl tonic::transport::server::Connected for Wire {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

pub(crate) async fn accept(
    listener: tokio::net::TcpListener,
    tls: Option<Tls>,
    peers: mpsc::Sender<Peer>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, peers) = (tls.clone(), peers.clone());
        tokio::spawn(async move {
            let wire: Box<dyn Bytes> = match tls {
                None => Box::new(stream),
                #[cfg(feature = "tls")]
                // Who shows no certificate is hung up on.
                Some(config) => {
                    match tokio_rustls::TlsAcceptor::from(config).accept(stream).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => return,
                    }
                }
            };
            drop(peers.send(Ok(Wire(wire))).await);
        });
    }
}
