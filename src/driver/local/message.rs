//! What the shim and a sandbox's init say to each other: small packets on a socket pair, with
//! descriptors attached. Both ends are the same build, so the layout needs no versions.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, UCred, recvmsg, sendmsg,
    },
    process::{Pid, getegid, geteuid},
};

/// Most descriptors in one packet: a program's description, its report socket, three streams.
const DESCRIPTORS_MAX: usize = 5;
/// Largest packet, in bytes; only the texts of a set-up come near.
const PACKET_BYTES_MAX: usize = 8 * 1024;

/// From the shim to init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ids and groups are in place: set up.
    Go,
    /// Start a program that has this number from now on. Descriptors: description, report, streams.
    Start { number: u64, on: On },
    /// Nobody waits any more for the program with this number: kill it and what is in its session.
    End { number: u64 },
    /// Everything of the program with this number was read to its end: its session is its own business.
    Done { number: u64 },
    /// Ask every program to end. Only of who keeps a container.
    Leave,
    /// Write the container down with its programs, which stand still from then on. Descriptor: the directory for it. Answered
    /// with `Kept`. Only of who keeps one.
    Keep,
    /// Have them go on; answered likewise.
    GoOn,
}

/// What a program is to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A new terminal. No descriptor.
    NewTerminal { cols: u16, rows: u16 },
    /// The given terminal. Its descriptor.
    Terminal,
    /// Three pipes. Descriptors: stdin, stdout, stderr. Its session is not forgotten before `End` or `Done`.
    Pipes,
}

/// From init to the shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Set up and locked in; what a person should know of it, a line each.
    Ready(String),
    /// Which step failed, on what, and why.
    Failed(String),
    /// No process was made for the program with this number.
    Refused {
        number: u64,
    },
    Exited {
        number: u64,
        code: i32,
    },
    Killed {
        number: u64,
        signal: i32,
    },
    /// What was to be done with the whole container was done; why not, if there are words.
    Kept(String),
}

/// From a program about to start, on its own report socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is about to be replaced by the program; a new terminal's other side is attached.
    Here,
    /// It could not enter the directory / be replaced: the error number.
    NoDirectory(i32),
    NoProgram(i32),
    /// An OCI runtime did not start it, and said why.
    Refused(String),
}

impl Order {
    pub fn bytes(self) -> Vec<u8> {
        let numbered =
            |tag: u8, number: u64| [tag].into_iter().chain(number.to_le_bytes()).collect();
        match self {
            Self::Go => vec![0],
            Self::Leave => vec![4],
            Self::Keep => vec![5],
            Self::GoOn => vec![6],
            Self::Start { number, on } => {
                let mut bytes: Vec<u8> = numbered(1, number);
                match on {
                    On::Pipes => bytes.push(0),
                    On::Terminal => bytes.push(1),
                    On::NewTerminal { cols, rows } => {
                        bytes.push(2);
                        bytes.extend(cols.to_le_bytes());
                        bytes.extend(rows.to_le_bytes());
                    }
                }
                bytes
            }
            Self::End { number } => numbered(2, number),
            Self::Done { number } => numbered(3, number),
        }
    }

    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            0 => return rest.is_empty().then_some(Self::Go),
            4 => return rest.is_empty().then_some(Self::Leave),
            5 => return rest.is_empty().then_some(Self::Keep),
            6 => return rest.is_empty().then_some(Self::GoOn),
            _ => {}
        }
        let (number, rest) = rest.split_first_chunk()?;
        let number = u64::from_le_bytes(*number);
        match (tag, rest) {
            (1, [0]) => Some(Self::Start { number, on: On::Pipes }),
            (1, [1]) => Some(Self::Start { number, on: On::Terminal }),
            (1, [2, a, b, c, d]) => {
                let (cols, rows) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
                Some(Self::Start { number, on: On::NewTerminal { cols, rows } })
            }
            (2, []) => Some(Self::End { number }),
            (3, []) => Some(Self::Done { number }),
            _ => None,
        }
    }
}

/// A text, as far as it fits.
fn said(tag: u8, text: &str) -> Vec<u8> {
    [tag].into_iter().chain(text.bytes().take(PACKET_BYTES_MAX - 1)).collect()
}

impl Word {
    pub fn bytes(&self) -> Vec<u8> {
        let ended = |tag: u8, number: u64, value: i32| {
            let mut bytes = vec![tag];
            bytes.extend(number.to_le_bytes());
            bytes.extend(value.to_le_bytes());
            bytes
        };
        match self {
            Self::Ready(notes) => said(0, notes),
            Self::Failed(text) => said(1, text),
            Self::Refused { number } => ended(2, *number, 0),
            Self::Exited { number, code } => ended(3, *number, *code),
            Self::Killed { number, signal } => ended(4, *number, *signal),
            Self::Kept(words) => said(5, words),
        }
    }

    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let ended = || {
            let number = u64::from_le_bytes(*rest.first_chunk()?);
            Some((number, i32::from_le_bytes(*rest.get(8..)?.first_chunk()?)))
        };
        match tag {
            0 => Some(Self::Ready(String::from_utf8_lossy(rest).into_owned())),
            1 => Some(Self::Failed(String::from_utf8_lossy(rest).into_owned())),
            5 => Some(Self::Kept(String::from_utf8_lossy(rest).into_owned())),
            2 => ended().map(|(number, _)| Self::Refused { number }),
            3 => ended().map(|(number, code)| Self::Exited { number, code }),
            4 => ended().map(|(number, signal)| Self::Killed { number, signal }),
            _ => None,
        }
    }
}

impl Report {
    pub fn bytes(&self) -> Vec<u8> {
        let number = |tag: u8, errno: i32| [tag].into_iter().chain(errno.to_le_bytes()).collect();
        match self {
            Self::Here => vec![0],
            Self::NoDirectory(errno) => number(1, *errno),
            Self::NoProgram(errno) => number(2, *errno),
            Self::Refused(words) => said(3, words),
        }
    }

    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match *bytes {
            [0] => Some(Self::Here),
            [3, ref words @ ..] => Some(Self::Refused(String::from_utf8_lossy(words).into_owned())),
            [1, a, b, c, d] => Some(Self::NoDirectory(i32::from_le_bytes([a, b, c, d]))),
            [2, a, b, c, d] => Some(Self::NoProgram(i32::from_le_bytes([a, b, c, d]))),
            _ => None,
        }
    }
}

/// What to run; travels in a memory file, for it may be larger than any packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    pub cwd: String,
    pub command: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl Description {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |text: &str| {
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        put(&self.cwd);
        put(&self.command.len().to_string());
        self.command.iter().for_each(|it| put(it));
        for (key, value) in &self.env {
            put(key);
            put(value);
        }
        bytes
    }

    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let cwd = take(&mut bytes)?;
        let count: usize = take(&mut bytes)?.parse().ok()?;
        let mut command = Vec::new();
        for _ in 0..count {
            command.push(take(&mut bytes)?);
        }
        let mut env = Vec::new();
        while !bytes.is_empty() {
            env.push((take(&mut bytes)?, take(&mut bytes)?));
        }
        Some(Self { cwd, command, env })
    }
}

fn take(bytes: &mut &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

/// A packet as it came.
#[derive(Debug)]
pub struct Packet {
    /// Empty when the other side has closed.
    pub bytes: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
    /// Who sent it, where the socket was told to ask; in this process's view.
    pub sender: Option<u32>,
}

/// Sends one packet.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    send_as(socket, bytes, descriptors, None)
}

/// The same in another's name, which only root may do: the receiver's view of that process is told.
pub fn send_as(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    sender: Option<Pid>,
) -> io::Result<()> {
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX), ScmCredentials(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(pid) = sender {
        let who = UCred { pid, uid: geteuid(), gid: getegid() };
        if !control.push(SendAncillaryMessage::ScmCredentials(who)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
    }
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one packet.
pub fn receive(socket: impl AsFd) -> io::Result<Packet> {
    let mut bytes = [0_u8; PACKET_BYTES_MAX];
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let mut into = [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket.as_fd(), &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => break received.bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let mut packet = Packet {
        bytes: bytes.get(..length).unwrap_or_default().to_vec(),
        descriptors: Vec::new(),
        sender: None,
    };
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(descriptors) => packet.descriptors.extend(descriptors),
            RecvAncillaryMessage::ScmCredentials(who) => {
                packet.sender = u32::try_from(who.pid.as_raw_nonzero().get()).ok();
            }
            _ => {}
        }
    }
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_way_there() {
        let orders = [
            Order::Go,
            Order::Start { number: 1, on: On::NewTerminal { cols: 300, rows: 100 } },
            Order::Start { number: 2, on: On::Terminal },
            Order::Start { number: 3, on: On::Pipes },
            Order::End { number: 1 << 40 },
            Order::Done { number: 1 << 40 },
            Order::Leave,
            Order::Keep,
            Order::GoOn,
        ];
        for order in orders {
            assert_eq!(Order::parse(&order.bytes()), Some(order));
        }
        let words = [
            Word::Ready(String::new()),
            Word::Ready("one thing\nanother".into()),
            Word::Failed("mounting /proc: no".into()),
            Word::Refused { number: 7 },
            Word::Exited { number: 1 << 40, code: 3 },
            Word::Killed { number: 12, signal: 9 },
            Word::Kept("no".into()),
        ];
        for word in words {
            assert_eq!(Word::parse(&word.bytes()), Some(word));
        }
        let refused = Report::Refused("no".into());
        for report in [Report::Here, Report::NoDirectory(2), Report::NoProgram(13), refused] {
            assert_eq!(Report::parse(&report.bytes()), Some(report));
        }
        let description = Description {
            cwd: "/work".into(),
            command: vec!["sh".into(), String::new(), "ä".into()],
            env: vec![("A".into(), "b=c".into())],
        };
        assert_eq!(Description::parse(&description.bytes()), Some(description));
    }
}
