//! The way for the operator's own `ssh` into a sandbox: a socket that only we can reach, given to it by a run of this very
//! program, and behind it bytes that are carried through a call. No secret is seen by `ssh` or by anybody who lists programs.

use std::{
    io::IoSlice,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    dial::Client,
    generated::v1::{
        CreateSshSessionRequest, RevokeSshSessionRequest, SshRelayTarget, TcpForwardFrame,
        TcpForwardInit, tcp_forward_frame::Payload, tcp_forward_init::Target,
    },
    remote::Remote,
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{GATEWAY_ANSWER_WITHIN, PTY_CHUNK_BYTES_MAX},
        secret::Secret,
    },
    config::paths::SocketPath,
};

/// Messages on their way that wait for the gateway.
const QUEUED: usize = 4;
/// The hidden verb by which `ssh` is given its connection.
pub const VERB: &str = "openshell-tunnel";

/// What is needed to hand a connection over.
#[derive(Clone, Debug)]
pub struct Ways {
    /// This program, as others can start it.
    pub program: PathBuf,
    /// A directory that only the operator can reach.
    pub run: PathBuf,
}

/// A way that waits for `ssh` to come.
pub struct Way {
    listener: UnixListener,
    path: PathBuf,
    token: Token,
}

/// The secret of one connection; it is taken back when this is dropped, by whatever end of the connection.
struct Token {
    client: Arc<Client>,
    secret: Secret,
}

impl Drop for Token {
    fn drop(&mut self) {
        // Where nothing runs any more it ends by itself, a day later.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (client, token) = (Arc::clone(&self.client), self.secret.expose().to_owned());
        runtime.spawn(async move {
            let Ok(request) = client.request(RevokeSshSessionRequest { token }) else { return };
            let mut calls = client.calls();
            drop(client.answer("closing a terminal", calls.revoke_ssh_session(request)).await);
        });
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        // It is gone already where ssh came for it.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Opens one: a secret for this connection, and a socket.
pub async fn open(remote: &Remote) -> Outcome<Way> {
    let client = &remote.client;
    let request = client.request(CreateSshSessionRequest { sandbox_id: remote.id.clone() })?;
    let mut calls = client.calls();
    let made = client.answer("opening its terminal", calls.create_ssh_session(request)).await?;
    let token = Token { client: Arc::clone(client), secret: Secret::new(made.token) };
    let path = remote.ways.run.join(format!("ssh-{}.sock", SessionId::random()));
    let fault = |error| Fault::io(format_args!("opening {}", path.display()), &error);
    let short = SocketPath::open(&path)?;
    let listener = UnixListener::bind(short.path()).map_err(fault)?;
    Ok(Way { listener, path, token })
}

impl Way {
    /// What `ssh` is to run. A shell reads it, and `ssh` before that.
    pub fn command(&self, ways: &Ways) -> String {
        let word = |path: &Path| {
            let text = path.display().to_string().replace('\'', r"'\''").replace('%', "%%");
            format!("'{text}'")
        };
        format!("{} {VERB} {}", word(&ways.program), word(&self.path))
    }

    /// Waits for `ssh`, and carries its bytes until either side ends it; `reaches` is told once the gateway takes them. The
    /// secret is taken back then, and also when this is dropped before.
    pub async fn carry(self, remote: Arc<Remote>, reaches: oneshot::Sender<()>) -> Outcome<()> {
        let accepted = timeout(GATEWAY_ANSWER_WITHIN, self.listener.accept()).await;
        let late = |_| Fault::late("ssh did not come for its connection");
        let (stream, _) = accepted
            .map_err(late)?
            .map_err(|error| Fault::io("waiting for ssh to come for its connection", &error))?;
        // Nobody else comes by it.
        drop(std::fs::remove_file(&self.path));
        self.through(&remote, stream, reaches).await
    }

    async fn through(
        &self,
        remote: &Remote,
        stream: UnixStream,
        reaches: oneshot::Sender<()>,
    ) -> Outcome<()> {
        let client = &remote.client;
        let init = TcpForwardInit {
            sandbox_id: remote.id.clone(),
            target: Some(Target::Ssh(SshRelayTarget {})),
            authorization_token: self.token.secret.expose().to_owned(),
        };
        let (frames, messages) = mpsc::channel(QUEUED);
        let first = TcpForwardFrame { payload: Some(Payload::Init(init)) };
        frames.try_send(first).map_err(|_| Fault::bug("a new queue is full"))?;
        let request = client.request(ReceiverStream::new(messages))?;
        let mut calls = client.terminals();
        let begun = client.answer("reaching its terminal", calls.forward_tcp(request));
        let mut back = begun.await?;
        let _nobody_waits = reaches.send(());
        let (mut from, mut to) = stream.into_split();
        let there = async {
            let mut buffer = vec![0; PTY_CHUNK_BYTES_MAX];
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                let bytes = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
                let frame = TcpForwardFrame { payload: Some(Payload::Data(bytes)) };
                if frames.send(frame).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let here = async {
            loop {
                match back.message().await {
                    Ok(Some(TcpForwardFrame { payload: Some(Payload::Data(bytes)) })) => {
                        if to.write_all(&bytes).await.is_err() {
                            return Ok(());
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(()),
                    Err(status) => return Err(client.fault(&status)),
                }
            }
        };
        tokio::select! {
            ended = there => ended,
            ended = here => ended,
        }
    }
}

/// Gives the connection at this path to who started this program, through its standard output.
pub fn hand_over(path: &Path) -> Outcome<()> {
    let fault =
        |error: std::io::Error| Fault::io(format_args!("handing over {}", path.display()), &error);
    let short = SocketPath::open(path)?;
    let stream = std::os::unix::net::UnixStream::connect(short.path()).map_err(fault)?;
    give(std::io::stdout().as_fd(), stream.as_fd()).map_err(fault)
}

fn give(to: BorrowedFd<'_>, what: BorrowedFd<'_>) -> std::io::Result<()> {
    let what = [what];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    if !message.push(SendAncillaryMessage::ScmRights(&what)) {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    rustix::net::sendmsg(to, &[IoSlice::new(&[0])], &mut message, SendFlags::empty())?;
    Ok(())
}
