//! What a sandbox whose network asks needs of the kernel, said over netlink: a way out that leads back in, and rules
//! that put whatever takes it before us. No program of the host's is needed for it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use crate::base::limits::{GATE_TRACKED_BURST, GATE_TRACKED_PER_SECOND};

/// The loopback interface is the first of every network namespace.
const LOOPBACK: u32 = 1;
const TABLE: &str = "sandwatch";
const RAW: &str = "raw";
const NAT: &str = "nat";
const FILTER: &str = "filter";

/// Kinds of address families, as netfilter numbers them.
const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// What the kernel calls "back to where the chain was called from".
const RETURN: i32 = -5;
const ACCEPT: i32 = 1;
const DROP: i32 = 0;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const EXCLUSIVE: u16 = 0x200;
/// An answer is never larger than what is read at once.
const ANSWER_BYTES: usize = 32 * 1024;

/// One message after the other, each with attributes that may hold others.
#[derive(Default)]
pub struct Batch {
    pub bytes: Vec<u8>,
    count: u32,
}

impl Batch {
    pub fn message(&mut self, kind: u16, flags: u16, head: &[u8], body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.count += 1;
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST | flags).to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(head);
        body(&mut self.bytes);
        let length = (self.bytes.len() - start) as u32;
        if let Some(it) = self.bytes.get_mut(start..start + 4) {
            it.copy_from_slice(&length.to_ne_bytes());
        }
        pad(&mut self.bytes);
    }

    /// A message about tables of rules; `family` is all that its head says.
    fn rules(&mut self, what: u16, flags: u16, body: impl FnOnce(&mut Vec<u8>)) {
        const SUBSYSTEM: u16 = 10;
        self.message((SUBSYSTEM << 8) | what, flags, &[INET, 0, 0, 0], body);
    }

    /// The first and the last message of a change that is made whole or not at all.
    fn bound(&mut self, what: u16) {
        const FOR_RULES: [u8; 4] = [0, 0, 0, 10];
        self.message(what, 0, &FOR_RULES, |_| {});
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    pad(bytes);
}

fn number(bytes: &mut Vec<u8>, kind: u16, value: u32) {
    attribute(bytes, kind, &value.to_be_bytes());
}

fn text(bytes: &mut Vec<u8>, kind: u16, value: &str) {
    attribute(bytes, kind, &[value.as_bytes(), &[0]].concat());
}

fn nest(bytes: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    const NESTED: u16 = 0x8000;
    let mut inner = Vec::new();
    body(&mut inner);
    attribute(bytes, kind | NESTED, &inner);
}

/// One step of a rule.
enum Step {
    /// The packet's family is this one.
    Family(u8),
    /// What it carries is this protocol.
    Carries(u8),
    /// It goes to, or comes from, an address that begins with these bytes, `at` bytes into its head.
    Address {
        at: u32,
        begins: Vec<u8>,
    },
    /// It goes to this port.
    ToPort(u16),
    /// It comes to this port of the sandbox's own instead.
    Redirect(u16),
    /// It comes from this port.
    FromPort(u16),
    /// The kernel keeps no account of it.
    Untracked,
    /// It begins a connection.
    Begins,
    /// It is one of more than there may be in a second.
    TooMany,
    Count,
    Verdict(i32),
}

fn to_v4(begins: &[u8]) -> Step {
    Step::Address { at: 16, begins: begins.to_owned() }
}

fn to_v6(begins: &[u8]) -> Step {
    Step::Address { at: 24, begins: begins.to_owned() }
}

fn from_v4(begins: &[u8]) -> Step {
    Step::Address { at: 12, begins: begins.to_owned() }
}

fn from_v6(begins: &[u8]) -> Step {
    Step::Address { at: 8, begins: begins.to_owned() }
}

/// Where a step leaves a value for the next one.
const REGISTER: u32 = 1;

fn expression(list: &mut Vec<u8>, name: &str, body: &dyn Fn(&mut Vec<u8>)) {
    nest(list, 1, |it| {
        text(it, 1, name);
        nest(it, 2, |data| body(data));
    });
}

/// Leaves of a packet's flags those two that its beginning and the answer to that have.
fn flags_of_beginning(list: &mut Vec<u8>) {
    expression(list, "bitwise", &|it| {
        number(it, 1, REGISTER);
        number(it, 2, REGISTER);
        number(it, 3, 1);
        nest(it, 4, |data| attribute(data, 1, &[0x12]));
        nest(it, 5, |data| attribute(data, 1, &[0]));
    });
}

fn too_many(list: &mut Vec<u8>) {
    expression(list, "limit", &|it| {
        attribute(it, 1, &GATE_TRACKED_PER_SECOND.to_be_bytes());
        attribute(it, 2, &1_u64.to_be_bytes());
        number(it, 3, GATE_TRACKED_BURST);
        number(it, 4, 0);
        // Turned round: beyond it, and not within.
        number(it, 5, 1);
    });
}

impl Step {
    fn put(&self, list: &mut Vec<u8>) {
        let is = |list: &mut Vec<u8>, value: &[u8]| {
            expression(list, "cmp", &|it| {
                number(it, 1, REGISTER);
                number(it, 2, 0);
                nest(it, 3, |data| attribute(data, 1, value));
            });
        };
        let meta = |list: &mut Vec<u8>, key: u32| {
            expression(list, "meta", &|it| {
                number(it, 1, REGISTER);
                number(it, 2, key);
            });
        };
        let payload = |list: &mut Vec<u8>, base: u32, at: u32, length: usize| {
            expression(list, "payload", &|it| {
                number(it, 1, REGISTER);
                number(it, 2, base);
                number(it, 3, at);
                number(it, 4, length as u32);
            });
        };
        match self {
            Self::Family(family) => {
                meta(list, 15);
                is(list, &[*family]);
            }
            Self::Carries(protocol) => {
                meta(list, 16);
                is(list, &[*protocol]);
            }
            Self::Address { at, begins } => {
                payload(list, 1, *at, begins.len());
                is(list, begins);
            }
            Self::ToPort(port) => {
                payload(list, 2, 2, 2);
                is(list, &port.to_be_bytes());
            }
            Self::FromPort(port) => {
                payload(list, 2, 0, 2);
                is(list, &port.to_be_bytes());
            }
            Self::Untracked => expression(list, "notrack", &|_| {}),
            Self::Begins => {
                payload(list, 2, 13, 1);
                flags_of_beginning(list);
                is(list, &[0x02]);
            }
            Self::TooMany => too_many(list),
            Self::Redirect(port) => {
                expression(list, "immediate", &|it| {
                    number(it, 1, REGISTER);
                    nest(it, 2, |data| attribute(data, 1, &port.to_be_bytes()));
                });
                expression(list, "redir", &|it| number(it, 1, REGISTER));
            }
            Self::Count => expression(list, "counter", &|_| {}),
            Self::Verdict(verdict) => expression(list, "immediate", &|it| {
                number(it, 1, 0);
                nest(it, 2, |data| {
                    nest(data, 2, |code| attribute(code, 1, &verdict.to_be_bytes()));
                });
            }),
        }
    }
}

fn chain(batch: &mut Batch, name: &str, kind: &str, priority: i32, policy: i32) {
    /// Packets of the sandbox's own, on their way out.
    const OUTPUT: u32 = 3;
    batch.rules(3, CREATE | ACKNOWLEDGE, |it| {
        text(it, 1, TABLE);
        text(it, 3, name);
        nest(it, 4, |hook| {
            number(hook, 1, OUTPUT);
            attribute(hook, 2, &priority.to_be_bytes());
        });
        attribute(it, 5, &policy.to_be_bytes());
        text(it, 7, kind);
    });
}

fn rule(batch: &mut Batch, chain: &str, steps: &[Step]) {
    batch.rules(6, CREATE | APPEND | ACKNOWLEDGE, |it| {
        text(it, 1, TABLE);
        text(it, 2, chain);
        nest(it, 4, |list| steps.iter().for_each(|step| step.put(list)));
    });
}

/// Sends all streams to `streams` and all questions for names to `names`, ports of the sandbox's own loopback, and
/// lets nothing else out. Gives what the counts of it are read from.
pub fn gate(streams: u16, names: u16) -> io::Result<OwnedFd> {
    // Some kernels can't count in seconds: there the table of all connections has the kernel's own bound alone.
    gate_with(streams, names, true).or_else(|_| gate_with(streams, names, false))
}

fn gate_with(streams: u16, names: u16, bounded: bool) -> io::Result<OwnedFd> {
    use Step::{
        Begins, Carries, Count, Family, FromPort, Redirect, ToPort, TooMany, Untracked, Verdict,
    };
    let mut loopback = [0_u8; 16];
    if let Some(last) = loopback.last_mut() {
        *last = 1;
    }
    let mut batch = Batch::default();
    batch.bound(0x10);
    batch.rules(0, CREATE | ACKNOWLEDGE, |it| text(it, 1, TABLE));
    chain(&mut batch, RAW, "filter", -300, ACCEPT);
    chain(&mut batch, NAT, "nat", -100, ACCEPT);
    chain(&mut batch, FILTER, "filter", 0, DROP);
    let v4 = |step: Step| vec![Family(IPV4), step];
    let with =
        |first: Vec<Step>, more: Vec<Step>| first.into_iter().chain(more).collect::<Vec<_>>();
    // What a sandbox says to itself needs no account, which it could fill without end: all but what is redirected, and
    // the answers to that.
    let dns = || with(v4(to_v4(&[127, 0, 0, 1])), vec![ToPort(53)]);
    // What is redirected has one, for a while also after its end: only so much of it begins in a second.
    let too_many = || vec![TooMany, Count, Verdict(DROP)];
    // The gate's own ends are at these addresses alone; its ports are anybody's at others.
    let own = || v4(from_v4(&[127, 0, 0, 1]));
    let own_v6 = || vec![Family(IPV6), from_v6(&loopback)];
    let answers = || vec![Carries(TCP), FromPort(streams), Verdict(ACCEPT)];
    for (is_bound, steps) in [
        (true, with(vec![Carries(TCP), FromPort(streams), Begins], too_many())),
        (false, with(own(), answers())),
        (false, with(own_v6(), answers())),
        (false, with(own(), vec![Carries(UDP), FromPort(names), Verdict(ACCEPT)])),
        (true, with(dns(), with(vec![Carries(TCP), Begins], too_many()))),
        (true, with(dns(), with(vec![Carries(UDP)], too_many()))),
        (false, with(dns(), vec![Verdict(ACCEPT)])),
        (false, with(v4(to_v4(&[127])), vec![Untracked, Verdict(ACCEPT)])),
        (false, vec![Family(IPV6), to_v6(&loopback), Untracked, Verdict(ACCEPT)]),
        // Nothing else of UDP gets any further.
        (false, vec![Carries(UDP), Untracked]),
        (true, with(vec![Carries(TCP), Begins], too_many())),
    ] {
        if bounded || !is_bound {
            rule(&mut batch, RAW, &steps);
        }
    }
    for steps in [
        with(v4(to_v4(&[127, 0, 0, 1])), vec![Carries(UDP), ToPort(53), Redirect(names)]),
        with(v4(to_v4(&[127, 0, 0, 1])), vec![Carries(TCP), ToPort(53), Redirect(streams)]),
        with(v4(to_v4(&[127])), vec![Verdict(RETURN)]),
        vec![Family(IPV6), to_v6(&loopback), Verdict(RETURN)],
        vec![Carries(TCP), Redirect(streams)],
    ] {
        rule(&mut batch, NAT, &steps);
    }
    for steps in [
        with(v4(to_v4(&[127])), vec![Verdict(ACCEPT)]),
        vec![Family(IPV6), to_v6(&loopback), Verdict(ACCEPT)],
        vec![Carries(UDP), Count, Verdict(DROP)],
        vec![Count],
    ] {
        rule(&mut batch, FILTER, &steps);
    }
    batch.bound(0x11);
    let socket = open(Some(netlink::NETFILTER))?;
    // The two around it are not answered.
    let answers = batch.count - 2;
    send(&socket, &batch.bytes, SendFlags::empty())?;
    acknowledged(socket.as_fd(), answers)?;
    Ok(socket)
}

/// Routes of last resort, back to the sandbox's own loopback: without one, nothing is sent that could be redirected.
pub fn routes() -> io::Result<()> {
    let socket = open(None)?;
    route(socket.as_fd(), 2, 253, &[127, 0, 0, 1])?;
    // Where there is no such family, there is nothing to be let out by it either.
    drop(route(socket.as_fd(), 10, 0, &std::net::Ipv6Addr::LOCALHOST.octets()));
    Ok(())
}

fn route(socket: BorrowedFd<'_>, family: u8, scope: u8, source: &[u8]) -> io::Result<()> {
    const NEW_ROUTE: u16 = 24;
    let mut batch = Batch::default();
    // Family, no prefix at all, the main table, made by hand, to one place.
    let head = [family, 0, 0, 0, 254, 3, scope, 1, 0, 0, 0, 0];
    batch.message(NEW_ROUTE, CREATE | EXCLUSIVE | ACKNOWLEDGE, &head, |it| {
        attribute(it, 4, &LOOPBACK.to_ne_bytes());
        attribute(it, 7, source);
    });
    send(socket, &batch.bytes, SendFlags::empty())?;
    acknowledged(socket, 1)
}

/// Packets that were held back so far: of UDP, and of all else.
pub fn held_back(socket: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let mut batch = Batch::default();
    batch.rules(7, DUMP, |it| text(it, 1, TABLE));
    send(socket, &batch.bytes, SendFlags::empty())?;
    let mut counts = Vec::new();
    let mut over = false;
    while !over {
        over = answer(socket, |kind, body| {
            /// A rule, in an answer.
            const RULE: u16 = (10 << 8) | 6;
            if kind == RULE {
                counts.extend(counted(body.get(4..).unwrap_or_default()));
            }
            Ok(())
        })?;
    }
    // What was too much comes first, if that is bounded.
    match counts.as_slice() {
        [too_many @ .., udp, rest] => Ok((*udp, rest + too_many.iter().sum::<u64>())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Packets counted by a rule that counts.
fn counted(rule: &[u8]) -> Option<u64> {
    let list = attributes(rule).find(|(kind, _)| *kind == 4)?.1;
    attributes(list).find_map(|(_, step)| {
        let name = attributes(step).find(|(kind, _)| *kind == 1)?.1;
        let data = attributes(step).find(|(kind, _)| *kind == 2)?.1;
        let packets = attributes(data).find(|(kind, _)| *kind == 2)?.1;
        let packets = packets.first_chunk().filter(|_| name == b"counter\0")?;
        Some(u64::from_be_bytes(*packets))
    })
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let (kind, _) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes(*kind) & 0x3fff, value))
    })
}

/// `None` = for routes.
pub fn open(protocol: Option<rustix::net::Protocol>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?)
}

/// Takes so many good answers, or gives the first bad one. The kernel has answered when sending returns.
fn acknowledged(socket: BorrowedFd<'_>, count: u32) -> io::Result<()> {
    let mut left = count;
    while left > 0 {
        answer(socket, |_, _| {
            left = left.saturating_sub(1);
            Ok(())
        })?;
    }
    Ok(())
}

/// Takes one packet of answers apart; `true` when it was the last of a list.
pub fn answer(
    socket: BorrowedFd<'_>,
    mut take: impl FnMut(u16, &[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    let mut bytes = vec![0; ANSWER_BYTES];
    let (length, _) = recv(socket, &mut bytes[..], RecvFlags::empty())?;
    let mut rest = bytes.get(..length).unwrap_or_default();
    while let Some((length, _)) = rest.split_first_chunk() {
        let length = u32::from_ne_bytes(*length) as usize;
        let message = rest.get(..length).filter(|it| it.len() >= 16);
        let message = message.ok_or(io::ErrorKind::InvalidData)?;
        let (head, body) = message.split_at(16);
        let kind = head.get(4..6).and_then(|it| it.first_chunk()).map(|it| u16::from_ne_bytes(*it));
        match kind {
            Some(DONE) => return Ok(true),
            Some(ERROR) => {
                let errno = body.first_chunk().map_or(-libc::EIO, |it| i32::from_ne_bytes(*it));
                if errno != 0 {
                    return Err(io::Error::from_raw_os_error(-errno));
                }
                take(ERROR, body)?;
            }
            Some(kind) => take(kind, body)?,
            None => return Err(io::ErrorKind::InvalidData.into()),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}
