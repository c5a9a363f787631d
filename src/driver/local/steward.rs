//! Programs on terminals that are the container's own, so that a runtime can write a container down with its running
//! programs and begin another with them (decision 0046).
//!
//! The container's first process is a copy of this program, the steward. It starts, for each session, an attendant, which has
//! the controlling side of a terminal, the program on the other, and a connection to the shim. Nothing that they have is the
//! host's but the connections; those are parted with before a container is written down, and dialled again afterwards, by
//! whoever goes on: the same container or another.

mod attendant;
mod inside;
mod outside;

use super::message::Description;
use crate::base::units::Size;

pub use self::{
    inside::serve,
    outside::{Begun, Steward},
};

/// What this program is called with, inside.
pub const VERB: &str = "steward";
/// In the directory for asks. Only the first process' user may use it.
pub const SOCKET: &str = "steward.sock";
/// Bytes of one frame to inside, at most: a program's variables are the most that is said at once.
const DOWN_BYTES_MAX: usize = 4 << 20;
/// ... from inside: a piece of output.
const UP_BYTES_MAX: usize = 2 * PIECE_BYTES_MAX;
/// Bytes typed that a program has not taken yet.
const TYPED_BYTES_MAX: usize = 16 * 1024;
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// What the first process is told of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Start {
    /// What its attendant says who it is by.
    key: String,
    size: Size,
    /// Whose program it is, inside.
    user: (u32, u32),
    what: Description,
}

/// From the shim.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Down {
    Start(Box<Start>),
    Typed(Vec<u8>),
    Resize(Size),
    /// Tell how the terminal is used.
    Look,
    /// Kill the program and what shares its session.
    End,
    /// Say all there is to say, hang up and dial again.
    Part,
}

/// Where the start of a program failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Terminal,
    Directory,
    Program,
}

/// From inside.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Up {
    Steward,
    /// With so many bytes typed that its program has not taken yet.
    Attendant {
        key: String,
        waiting: u32,
    },
    /// The program runs.
    Begun,
    Failed {
        at: At,
        errno: i32,
    },
    Printed(Vec<u8>),
    /// Its program took so many bytes more.
    Took(u32),
    /// Whether lines are edited by the terminal.
    Lines(bool),
    Exited(i32),
    Killed(i32),
    /// Nobody has the terminal open any more.
    Over,
}

fn frame(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|it| it.len()).sum();
    let mut frame = Vec::with_capacity(length + 5);
    frame.push(tag);
    frame.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    parts.iter().for_each(|it| frame.extend(*it));
    frame
}

fn sized(size: Size) -> [u8; 4] {
    let ([a, b], [c, d]) = (size.cols().to_le_bytes(), size.rows().to_le_bytes());
    [a, b, c, d]
}

fn size(bytes: [u8; 4]) -> Size {
    let [a, b, c, d] = bytes;
    Size::clamped(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_le_bytes)
}

fn signed(bytes: &[u8]) -> Option<i32> {
    bytes.try_into().ok().map(i32::from_le_bytes)
}

impl Down {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Start(it) => {
                let (uid, gid) = it.user;
                let key = it.key.as_bytes();
                let length = u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes();
                let ids = [uid.to_le_bytes(), gid.to_le_bytes()].concat();
                frame(0, &[&sized(it.size), &ids, &length, key, &it.what.bytes()])
            }
            Self::Typed(bytes) => frame(1, &[bytes]),
            Self::Resize(it) => frame(2, &[&sized(*it)]),
            Self::Look => frame(3, &[]),
            Self::End => frame(4, &[]),
            Self::Part => frame(5, &[]),
        }
    }

    fn parse(tag: u8, bytes: &[u8]) -> Option<Self> {
        Some(match (tag, bytes) {
            (0, _) => {
                let (cells, rest) = bytes.split_first_chunk::<4>()?;
                let (uid, rest) = rest.split_first_chunk::<4>()?;
                let (gid, rest) = rest.split_first_chunk::<4>()?;
                let (length, rest) = rest.split_first_chunk::<4>()?;
                let (key, what) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                Self::Start(Box::new(Start {
                    key: String::from_utf8(key.to_vec()).ok()?,
                    size: size(*cells),
                    user: (u32::from_le_bytes(*uid), u32::from_le_bytes(*gid)),
                    what: Description::parse(what)?,
                }))
            }
            (1, _) => Self::Typed(bytes.to_vec()),
            (2, _) => Self::Resize(size(bytes.try_into().ok()?)),
            (3, []) => Self::Look,
            (4, []) => Self::End,
            (5, []) => Self::Part,
            _ => return None,
        })
    }
}

impl Up {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Steward => frame(0, &[]),
            Self::Attendant { key, waiting } => frame(1, &[&waiting.to_le_bytes(), key.as_bytes()]),
            Self::Begun => frame(2, &[]),
            Self::Failed { at, errno } => {
                let at = match at {
                    At::Terminal => 0,
                    At::Directory => 1,
                    At::Program => 2,
                };
                frame(3, &[&[at], &errno.to_le_bytes()])
            }
            Self::Printed(bytes) => frame(4, &[bytes]),
            Self::Took(count) => frame(5, &[&count.to_le_bytes()]),
            Self::Lines(so) => frame(6, &[&[u8::from(*so)]]),
            Self::Exited(code) => frame(7, &[&code.to_le_bytes()]),
            Self::Killed(signal) => frame(8, &[&signal.to_le_bytes()]),
            Self::Over => frame(9, &[]),
        }
    }

    fn parse(tag: u8, bytes: &[u8]) -> Option<Self> {
        Some(match (tag, bytes) {
            (0, []) => Self::Steward,
            (1, [a, b, c, d, key @ ..]) => Self::Attendant {
                key: String::from_utf8(key.to_vec()).ok()?,
                waiting: u32::from_le_bytes([*a, *b, *c, *d]),
            },
            (2, []) => Self::Begun,
            (3, [at, errno @ ..]) => {
                let at = match at {
                    0 => At::Terminal,
                    1 => At::Directory,
                    2 => At::Program,
                    _ => return None,
                };
                Self::Failed { at, errno: signed(errno)? }
            }
            (4, _) => Self::Printed(bytes.to_vec()),
            (5, _) => Self::Took(number(bytes)?),
            (6, [so @ (0 | 1)]) => Self::Lines(*so == 1),
            (7, _) => Self::Exited(signed(bytes)?),
            (8, _) => Self::Killed(signed(bytes)?),
            (9, []) => Self::Over,
            _ => return None,
        })
    }
}

/// Frames out of a stream, however it was cut.
#[derive(Debug)]
struct Inlet {
    came: Vec<u8>,
    /// Bytes of one frame, at most.
    max: usize,
}

/// What came is no frame.
#[derive(Debug, PartialEq, Eq)]
struct Garbled;

impl Inlet {
    fn of(max: usize) -> Self {
        Self { came: Vec::new(), max }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.came.extend_from_slice(bytes);
    }

    /// The next whole one: its kind and what it says.
    fn next(&mut self) -> Result<Option<(u8, Vec<u8>)>, Garbled> {
        let Some(([tag, length @ ..], rest)) = self.came.split_first_chunk::<5>() else {
            return Ok(None);
        };
        let (tag, length) = (*tag, u32::from_le_bytes(*length) as usize);
        if length > self.max {
            return Err(Garbled);
        }
        let Some(said) = rest.get(..length) else { return Ok(None) };
        let said = said.to_vec();
        self.came.drain(..length + 5);
        Ok(Some((tag, said)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(frames: &[u8], piece: usize) -> Vec<(u8, Vec<u8>)> {
        let (mut inlet, mut seen) = (Inlet::of(DOWN_BYTES_MAX), Vec::new());
        for bytes in frames.chunks(piece) {
            inlet.feed(bytes);
            while let Some(it) = inlet.next().unwrap() {
                seen.push(it);
            }
        }
        seen
    }

    #[test]
    fn every_word_survives_the_way_there_however_it_is_cut() {
        let start = Start {
            key: "ses_1".into(),
            size: Size::clamped(300, 100),
            user: (1000, 0),
            what: Description {
                cwd: "/w".into(),
                command: vec!["sh".into(), String::new()],
                env: vec![("A".into(), "b=c".into())],
            },
        };
        let down = [
            Down::Start(Box::new(start)),
            Down::Typed(vec![0; 70_000]),
            Down::Typed(Vec::new()),
            Down::Resize(Size::DEFAULT),
            Down::Look,
            Down::End,
            Down::Part,
        ];
        let up = [
            Up::Steward,
            Up::Attendant { key: "ses_1".into(), waiting: 7 },
            Up::Begun,
            Up::Failed { at: At::Directory, errno: 2 },
            Up::Printed(b"\x1b[1m".to_vec()),
            Up::Took(1 << 20),
            Up::Lines(true),
            Up::Exited(-1),
            Up::Killed(9),
            Up::Over,
        ];
        for piece in [1, 3, 4096, 1 << 20] {
            let bytes: Vec<u8> = down.iter().flat_map(Down::bytes).collect();
            let seen = all_of(&bytes, piece);
            let seen: Vec<_> =
                seen.iter().map(|(tag, it)| Down::parse(*tag, it).unwrap()).collect();
            assert_eq!(seen, down);
            let bytes: Vec<u8> = up.iter().flat_map(Up::bytes).collect();
            let seen = all_of(&bytes, piece);
            let seen: Vec<_> = seen.iter().map(|(tag, it)| Up::parse(*tag, it).unwrap()).collect();
            assert_eq!(seen, up);
        }
    }

    #[test]
    fn what_is_no_word_is_none_and_an_endless_one_is_not_waited_for() {
        for (tag, bytes) in [(0, &b"abc"[..]), (2, b"1"), (9, b""), (3, b"1"), (0, &[0xff; 20])] {
            assert_eq!(Down::parse(tag, bytes), None, "{tag} {bytes:?}");
        }
        for (tag, bytes) in
            [(1, &b"abc"[..]), (3, b"\x09\0\0\0\0"), (6, b"\x02"), (7, b"1"), (10, b"")]
        {
            assert_eq!(Up::parse(tag, bytes), None, "{tag} {bytes:?}");
        }
        let mut inlet = Inlet::of(UP_BYTES_MAX);
        inlet.feed(&[1, 0, 0, 0, 0xff]);
        assert_eq!(inlet.next(), Err(Garbled));
    }
}
