//! One connection to a shim, and calls with one answer.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};

use tokio::{
    io::Interest,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use super::{
    ShimLink,
    process::{fault_file, last_words},
};
use crate::{
    base::{
        descriptors,
        fault::{Fault, Kind, Outcome},
        limits::ANSWER_WITHIN,
    },
    config::paths::SocketPath,
    wire::shim::{Answer, Call, Frames, GiveRoot, answer, call, send},
};

pub(super) const SOCKET_FILE: &str = "shim.sock";
/// What is read at first of an answer that has an open file with it.
const FIRST_BYTES: usize = 256;

pub(super) struct Connection {
    pub(super) answers: Frames<OwnedReadHalf>,
    pub(super) writer: OwnedWriteHalf,
}

impl Connection {
    /// The next answer, be it a fault of the shim's; an error is one of the connection.
    pub(super) async fn answer(&mut self) -> Outcome<answer::What> {
        match self.answers.next::<Answer>().await? {
            Some(Answer { what: Some(what) }) => Ok(what),
            Some(Answer { what: None }) => Err(unexpected()),
            None => Err(Fault::lost("the connection ended")),
        }
    }
}

/// Whether nobody listens on the socket in a shim's directory: only then is it certainly no more.
pub(super) async fn is_dead(dir: &Path) -> bool {
    let Ok(path) = SocketPath::open(&dir.join(SOCKET_FILE)) else {
        // Only a directory that is not there says so: the lack of a descriptor here says nothing.
        let found = tokio::fs::symlink_metadata(dir).await;
        return found.is_err_and(|it| it.kind() == io::ErrorKind::NotFound);
    };
    let connected = timeout(ANSWER_WITHIN, UnixStream::connect(path.path())).await;
    matches!(connected, Ok(Err(error)) if matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    ))
}

pub(super) fn unexpected() -> Fault {
    Fault::unsupported("the shim gave an answer that this version does not know")
        .hint("make the sandbox anew with the current version")
}

impl ShimLink {
    pub(super) async fn connect(&self) -> Outcome<Connection> {
        let path = match SocketPath::open(&self.dir.join(SOCKET_FILE)) {
            Ok(path) => path,
            Err(fault) if is_dead(&self.dir).await => return Err(self.lost(&fault)),
            Err(fault) => return Err(fault),
        };
        let stream =
            UnixStream::connect(path.path()).await.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    self.lost(&Fault::lost(format!("connecting to its shim: {error}")))
                }
                io::ErrorKind::WouldBlock => {
                    Fault::busy(format!("the shim of {} has no room for another call", self.name))
                }
                _ => Fault::io(format!("connecting to the shim of {}", self.name), &error),
            })?;
        let (reader, writer) = stream.into_split();
        Ok(Connection { answers: Frames::new(reader), writer })
    }

    /// A fault of a connection, with the name of its shim. One that hangs up may have its reasons, and live.
    pub(super) async fn broken(&self, fault: Fault) -> Fault {
        if fault.kind() == Kind::Lost && is_dead(&self.dir).await {
            return self.lost(&fault);
        }
        fault.context(format!("the shim of {}", self.name))
    }

    /// A shim that is no more: what it said last, if it is known, is the better reason.
    fn lost(&self, fault: &Fault) -> Fault {
        let status = *self.ended.borrow();
        let words = match status {
            Some(_) => last_words(&self.dir, status),
            None => match fault_file(&self.dir) {
                Some(words) => format!("{}; its last words: {words}", fault.message()),
                None => fault.message().to_owned(),
            },
        };
        Fault::lost(format!("sandbox {} has lost its shim: {words}", self.name))
            .hint(format!("sandwatch rm {}", self.name))
    }

    /// Opens a connection with its first call.
    pub(super) async fn begin(&self, what: call::What) -> Outcome<Connection> {
        let mut connection = self.connect().await?;
        match send(&mut connection.writer, &Call::from(what)).await {
            Ok(()) => Ok(connection),
            Err(error) => {
                Err(self.broken(Fault::lost(format!("the connection broke: {error}"))).await)
            }
        }
    }

    /// One call with one answer.
    pub(super) async fn ask(&self, what: call::What, within: Duration) -> Outcome<answer::What> {
        let asked = async {
            let mut connection = self.begin(what).await?;
            match connection.answer().await {
                Ok(answer) => Ok(answer),
                Err(fault) => Err(self.broken(fault).await),
            }
        };
        match timeout(within, asked).await {
            // What it failed at is not its own end, whatever the kind.
            Ok(Ok(answer::What::Fault(fault))) => Err(fault.into()),
            Ok(answer) => answer,
            Err(_) => Err(Fault::late(format!(
                "the shim of {} did not answer within {} s",
                self.name,
                within.as_secs()
            ))
            .hint(format!(
                "it may come back; to end it with all it holds: sandwatch rm {}",
                self.name
            ))),
        }
    }

    /// The one call whose answer has an open file with it.
    pub(super) async fn ask_for_root(&self) -> Outcome<OwnedFd> {
        let Connection { answers, writer } = self.begin(call::What::GiveRoot(GiveRoot {})).await?;
        let stream = answers.into_inner().reunite(writer);
        let stream = stream.map_err(|_| Fault::bug("two halves of two connections"))?;
        let mut first = [0; FIRST_BYTES];
        let received = stream
            .async_io(Interest::READABLE, || descriptors::receive_with(stream.as_fd(), &mut first));
        let lost = |error| Fault::lost(format!("the connection broke: {error}"));
        let (count, root) = received.await.map_err(lost)?;
        let (reader, writer) = stream.into_split();
        let answers = Frames::after(first.get(..count).unwrap_or_default(), reader);
        let mut connection = Connection { answers, writer };
        match connection.answer().await {
            Ok(answer::What::Done(_)) => root.ok_or_else(unexpected),
            Ok(answer::What::Fault(fault)) => Err(fault.into()),
            Ok(_) => Err(unexpected()),
            Err(fault) => Err(self.broken(fault).await),
        }
    }

    pub(super) async fn done(&self, what: call::What, within: Duration) -> Outcome<()> {
        match self.ask(what, within).await? {
            answer::What::Done(_) => Ok(()),
            _ => Err(unexpected()),
        }
    }
}
