//! Started by a service manager, as systemd does it: sockets that it made and handed down (`LISTEN_PID`, `LISTEN_FDS`), and
//! the word to it that the hub serves (`NOTIFY_SOCKET`).

use std::{
    fs::metadata,
    net::TcpListener,
    os::{
        fd::RawFd,
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, PermissionsExt},
            net::{SocketAddr, UnixDatagram, UnixListener},
        },
    },
    path::Path,
};

use rustix::net::AddressFamily;

use super::sys;
use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::HANDED_MAX,
        text::shown,
    },
    config::{environment::Variable, paths::Paths},
};

/// The first descriptor that is handed down; the others follow.
const FIRST: RawFd = 3;
/// What others than the owner may do with a socket.
const OPEN_TO_OTHERS: u32 = 0o077;

/// Sockets that were handed down.
#[derive(Debug, Default)]
pub struct Handed {
    /// At the hub's own place; `None` = the hub makes it.
    pub unix: Option<UnixListener>,
    /// For who comes from elsewhere, over TLS.
    pub tcp: Vec<TcpListener>,
}

impl Handed {
    /// Takes over what this process was started with; nothing where nothing is said of any. One that is no good fails, and
    /// so does what was meant for another process: who wrote the unit is to know. Call it before anything is opened.
    pub fn take(paths: &Paths) -> Outcome<Self> {
        let mut handed = Self::default();
        let Some(count) = Variable::ListenFds.raw() else { return Ok(handed) };
        let count = count.to_string_lossy();
        let wrong = |why: &str| Fault::invalid(format!("LISTEN_FDS={}: {why}", shown(&count, 40)));
        let many = count.parse::<usize>().map_err(|_| wrong("it is no number"))?;
        if many > HANDED_MAX {
            return Err(wrong(&format!("a hub takes {HANDED_MAX} sockets at most")));
        }
        let of = Variable::ListenPid.raw().unwrap_or_default();
        let (of, own) = (shown(&of.to_string_lossy(), 40), std::process::id().to_string());
        if of != own {
            return Err(Fault::invalid(format!(
                "LISTEN_FDS is for another process than this one, {own}: LISTEN_PID={of}"
            ))
            .hint("have the unit start the hub itself and no shell, or take both variables away"));
        }
        for number in (FIRST..).take(many) {
            handed.add(number, &paths.hub_socket())?;
        }
        Ok(handed)
    }

    fn add(&mut self, number: RawFd, own: &Path) -> Outcome<()> {
        let wrong = |why: &str| {
            Fault::invalid(format!("what was handed down {why}: descriptor {number}"))
                .hint("in a unit for sockets: ListenStream=, and no Accept=")
        };
        let (socket, family) = sys::listening(number).map_err(&wrong)?;
        match family {
            AddressFamily::UNIX if self.unix.is_some() => {
                return Err(wrong("is a second unix socket"));
            }
            AddressFamily::UNIX => {
                let socket = UnixListener::from(socket);
                at_its_place(&socket, own)?;
                self.unix = Some(socket);
            }
            AddressFamily::INET | AddressFamily::INET6 => self.tcp.push(TcpListener::from(socket)),
            _ => return Err(wrong("is a socket of neither unix nor TCP")),
        }
        Ok(())
    }
}

/// Verbs look for their hub at one place, and nobody else is to get there.
fn at_its_place(socket: &UnixListener, own: &Path) -> Outcome<()> {
    let bound = socket.local_addr().ok();
    let bound = bound.as_ref().and_then(SocketAddr::as_pathname);
    let (there, wanted) = (bound.and_then(|it| metadata(it).ok()), metadata(own).ok());
    let place = bound.map_or_else(|| "no path".to_owned(), |it| it.display().to_string());
    let same = there.as_ref().zip(wanted).filter(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()));
    let Some((there, _)) = same else {
        return Err(Fault::invalid(format!(
            "the unix socket that was handed down is not where verbs look for this hub: {place}"
        ))
        .hint(format!("ListenStream={}", own.display())));
    };
    if there.permissions().mode() & OPEN_TO_OTHERS != 0 {
        return Err(Fault::denied(format!(
            "others may connect to the socket of this hub: {place}"
        ))
        .hint("SocketMode=0600"));
    }
    Ok(())
}

/// What a service manager is told of the hub.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    Serves,
    Ends,
}

/// Tells it, where there is one. It does not wait, and nobody answers.
pub(super) fn tell(word: Word) {
    let Some(at) = Variable::NotifySocket.raw() else { return };
    let said: &[u8] = match word {
        Word::Serves => b"READY=1",
        Word::Ends => b"STOPPING=1",
    };
    let told = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        match at.as_bytes().strip_prefix(b"@") {
            Some(name) => socket.send_to_addr(said, &SocketAddr::from_abstract_name(name)?),
            None => socket.send_to(said, Path::new(&at)),
        }
    });
    if let Err(error) = told {
        let at = shown(&at.to_string_lossy(), 200);
        tracing::warn!(%error, at, "the service manager could not be told");
    }
}
