//! Answers questions for names, of which none leaves the machine: with an address that stands for the name, or with
//! none. Only the question is read, and of that only what is needed.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{Inner, names};
use crate::base::limits::{FIRST_WORDS_WITHIN, GATE_WORDS_BYTES_MAX};

const HEAD: usize = 12;
const A: u16 = 1;
const INTERNET: u16 = 1;
/// What programs ask for beside an address, and do without: names of addresses, IPv6, ways to services.
const USUAL: [u16; 4] = [12, 28, 64, 65];
/// For how long a program may keep an answer, in seconds: no longer than names are remembered.
const KEPT: u32 = 60;
/// What is wrong with a question: it can't be read, or is not for a name that can be.
const UNREADABLE: u8 = 1;
const NO_SUCH: u8 = 3;

/// Answers for as long as it is polled.
pub async fn serve(gate: Arc<Inner>, socket: UdpSocket) {
    let mut question = [0; 1024];
    loop {
        match socket.recv_from(&mut question).await {
            Ok((length, from)) => {
                let answer = answer(&gate, question.get(..length).unwrap_or_default());
                if let Some(answer) = answer {
                    // Who asked may be gone.
                    drop(socket.try_send_to(&answer, from));
                }
            }
            // An error that belongs to somebody who asked before.
            Err(error) => {
                tracing::debug!(%error, "a question for a name was not received");
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The same over a stream, each with its length in front.
pub async fn serve_stream(gate: &Inner, mut stream: TcpStream) {
    let exchange = async {
        loop {
            let length = usize::from(stream.read_u16().await?);
            if length > GATE_WORDS_BYTES_MAX {
                return Ok(());
            }
            let mut question = vec![0; length];
            stream.read_exact(&mut question).await?;
            let Some(answer) = answer(gate, &question) else { return Ok(()) };
            let framed = [&(answer.len() as u16).to_be_bytes(), &answer[..]].concat();
            stream.write_all(&framed).await?;
        }
    };
    let exchanged: Result<std::io::Result<()>, _> = timeout(FIRST_WORDS_WITHIN, exchange).await;
    drop(exchanged);
}

struct Question {
    name: String,
    kind: u16,
    class: u16,
    /// Its bytes are so many, from the head on.
    length: usize,
}

/// `None` for what is no question at all.
fn answer(gate: &Inner, bytes: &[u8]) -> Option<Vec<u8>> {
    let flags = *bytes.get(2)?;
    let is_answer = flags & 0x80 != 0;
    if bytes.len() < HEAD || is_answer {
        return None;
    }
    let one = bytes.get(4..6) == Some(&[0, 1]) && flags & 0x78 == 0;
    let question = read(bytes).filter(|_| one);
    let Some(question) = question else {
        gate.refused_name();
        return Some(reply(bytes, HEAD, UNREADABLE, None));
    };
    let length = HEAD + question.length;
    let Some(name) = names::plain(&question.name) else {
        gate.refused_name();
        return Some(reply(bytes, length, NO_SUCH, None));
    };
    if (question.kind, question.class) != (A, INTERNET) {
        // The name may be there, and has nothing of that kind.
        if !USUAL.contains(&question.kind) {
            gate.refused_name();
        }
        return Some(reply(bytes, length, 0, None));
    }
    let address = match name.as_str() {
        "localhost" => [127, 0, 0, 1],
        it if it.ends_with(".localhost") => [127, 0, 0, 1],
        it => gate.names().address(it).octets(),
    };
    Some(reply(bytes, length, 0, Some(address)))
}

fn reply(question: &[u8], length: usize, code: u8, address: Option<[u8; 4]>) -> Vec<u8> {
    let mut reply = question.get(..length).unwrap_or_default().to_vec();
    let recursion = question.get(2).map_or(0, |it| it & 1);
    let asked = u8::from(length > HEAD);
    let head =
        [0x80 | recursion, 0x80 | code, 0, asked, 0, u8::from(address.is_some()), 0, 0, 0, 0];
    if let Some(it) = reply.get_mut(2..HEAD) {
        it.copy_from_slice(&head);
    }
    if let Some(address) = address {
        // The name is where the question has it.
        reply.extend([0xc0, HEAD as u8, 0, A as u8, 0, INTERNET as u8]);
        reply.extend(KEPT.to_be_bytes());
        reply.extend([0, 4]);
        reply.extend(address);
    }
    reply
}

fn read(bytes: &[u8]) -> Option<Question> {
    let mut name = String::new();
    let mut at = HEAD;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..=63 => {
                let label = bytes.get(at..at + length)?;
                if !name.is_empty() {
                    name.push('.');
                }
                // A dot or anything else within one makes it no host's name.
                name.extend(label.iter().map(|it| match it {
                    b'.' => ' ',
                    it if it.is_ascii() => char::from(*it),
                    _ => '?',
                }));
                at += length;
            }
            // A reference, which a question has no use for.
            _ => return None,
        }
    }
    let number = |at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let (kind, class) = (number(at)?, number(at + 2)?);
    Some(Question { name, kind, class, length: at + 4 - HEAD })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|it| !it.is_empty()) {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(INTERNET.to_be_bytes());
        bytes
    }

    #[test]
    fn a_question_is_answered_with_an_address_and_nothing_else_is() {
        let gate = Inner::for_tests(&[]);
        let asked = question("Files.Example", A);
        let told = answer(&gate, &asked).unwrap();
        let address: [u8; 4] = *told.last_chunk().unwrap();
        assert_eq!(gate.names().address("files.example").octets(), address);
        assert_eq!(told[..2], [0xab, 0xcd]);
        assert_eq!((told[3] & 0xf, told[5], told[7]), (0, 1, 1));
        for (name, kind, code) in
            [("x.example", 28, 0), ("x.example", 16, 0), ("", A, NO_SUCH), ("a b", A, NO_SUCH)]
        {
            let told = answer(&gate, &question(name, kind)).unwrap();
            assert_eq!((told[3] & 0xf, told[7]), (code, 0), "{name} {kind}");
        }
        assert_eq!(gate.traffic().names_refused, 3);
        let local = answer(&gate, &question("a.localhost", A)).unwrap();
        assert_eq!(local.last_chunk(), Some(&[127, 0, 0, 1]));
        // What is cut off is told to be unreadable or left alone, and never read beyond its end.
        for end in 0..asked.len() {
            let told = answer(&gate, &asked[..end]);
            assert!(told.is_none_or(|it| it[3] & 0xf == UNREADABLE), "{end}");
        }
        let mut loops = question("", A);
        loops.splice(12..12, [0xc0, 12]);
        assert_eq!(answer(&gate, &loops).unwrap()[3] & 0xf, UNREADABLE);
    }
}
