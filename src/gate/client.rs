//! A program's end of a connection: what it has said, and how it is told what becomes of it.

use std::{io, net::SocketAddr, time::Duration};

use rustix::net::sockopt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Inner,
    hello::{self, Words},
    looks::waits,
};
use crate::base::limits::{FAREWELL_WITHIN, GATE_LOOK_WITHIN, GATE_WORDS_BYTES_MAX};

/// What is carried at once, each way.
pub const PIECE_BYTES: usize = 8 * 1024;

/// Programs that read an answer to its end close at once; others are let wait for so long.
const CLOSES_WITHIN: Duration = Duration::from_millis(200);

/// First words come in few pieces; whoever sends them byte by byte wants something else.
const HEARD_MAX: usize = 64;

/// How a program asked a proxy for a tunnel, and so how it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    Connect,
    Socks,
}

/// Why a tunnel is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// It may not be.
    Denied,
    /// Nobody answers at its other end.
    Failed,
}

impl Tunnel {
    fn yes(self) -> &'static [u8] {
        match self {
            Self::Connect => b"HTTP/1.1 200 Connection established\r\n\r\n",
            Self::Socks => &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        }
    }

    fn no(self, no: No, why: &str) -> Vec<u8> {
        match (self, no) {
            (Self::Connect, No::Denied) => said("403 Forbidden", why),
            (Self::Connect, No::Failed) => said("502 Bad Gateway", why),
            // By its ruleset; the host can't be reached.
            (Self::Socks, No::Denied) => vec![5, 2, 0, 1, 0, 0, 0, 0, 0, 0],
            (Self::Socks, No::Failed) => vec![5, 4, 0, 1, 0, 0, 0, 0, 0, 0],
        }
    }

    fn words(self) -> Words {
        Words::Tunnel(match self {
            Self::Connect => "HTTP CONNECT, which is not answered yet",
            Self::Socks => "SOCKS, which is not answered yet",
        })
    }
}

/// An answer in HTTP that ends its connection.
pub fn said(status: &str, why: &str) -> Vec<u8> {
    let text = format!("sandwatch: {why}\n");
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

/// A program's end of a connection, and what it has said so far.
pub struct Client {
    pub stream: TcpStream,
    /// The end that it connected to.
    pub to: SocketAddr,
    pub said: Vec<u8>,
    /// It says no more.
    pub over: bool,
    /// How it asked for a tunnel, for as long as it waits for one.
    pub tunnel: Option<Tunnel>,
    /// What it says is one request, made to a proxy.
    pub proxied: bool,
    /// How often it was heard.
    heard: usize,
}

impl Client {
    pub fn new(stream: TcpStream, to: SocketAddr) -> Self {
        Self { stream, to, said: Vec::new(), over: false, tunnel: None, proxied: false, heard: 0 }
    }

    /// Reads on; what it said so far is kept.
    pub async fn hear(&mut self) -> io::Result<()> {
        let room = GATE_WORDS_BYTES_MAX.saturating_sub(self.said.len());
        let mut piece = vec![0; room.min(PIECE_BYTES)];
        let length = self.stream.read(&mut piece).await?;
        self.said.extend(piece.get(..length).unwrap_or_default());
        self.over |= length == 0;
        self.heard += 1;
        Ok(())
    }

    pub fn is_full(&self) -> bool {
        self.said.len() >= GATE_WORDS_BYTES_MAX || self.heard >= HEARD_MAX
    }

    fn words(&self) -> Words {
        match self.tunnel {
            Some(it) => it.words(),
            None => hello::read(&self.said, self.over || self.is_full()),
        }
    }

    /// Waits until it can be told what it speaks, or for so long.
    pub async fn listen(&mut self, within: Duration) -> Words {
        let until = Instant::now() + within;
        while self.words() == Words::Unknown {
            if self.over || !matches!(timeout_at(until, self.hear()).await, Ok(Ok(()))) {
                break;
            }
        }
        self.words()
    }

    /// What it said first was for a proxy, and so long; what comes behind it is another's.
    pub fn begins_after(&mut self, length: usize) {
        self.said.drain(..length.min(self.said.len()));
        self.heard = 0;
    }

    /// Begins the tunnel that it waits for, if it does.
    pub async fn admit(&mut self) -> io::Result<()> {
        match self.tunnel.take() {
            Some(tunnel) => self.stream.write_all(tunnel.yes()).await,
            None => Ok(()),
        }
    }

    /// Resolves when it has hung up. Whoever says no more may still listen.
    pub async fn hung_up(&mut self, gate: &Inner) {
        while !self.over && !self.is_full() {
            if self.hear().await.is_err() {
                return;
            }
        }
        // It has said all, or more than is kept, and is not heard any more. A close then looks from here like the end of one
        // half, which came before: no event of the kernel's tells them apart, so that it is looked now and then.
        while self.waits(gate).await {
            tokio::time::sleep(GATE_LOOK_WITHIN).await;
        }
    }

    /// Whether a program has its end still open; one that can't be called any more has not.
    async fn waits(&self, gate: &Inner) -> bool {
        match self.stream.peer_addr() {
            Ok(from) => waits(gate, from, self.to).await,
            Err(_) => false,
        }
    }

    /// Tells it that nobody answers where it was let out to.
    pub async fn failed(self, gate: &Inner, why: &str) {
        let words = match self.tunnel {
            Some(tunnel) => tunnel.no(No::Failed, why),
            None if self.proxied => said("502 Bad Gateway", why),
            None => return reset(self.stream),
        };
        self.farewell(gate, &words).await;
    }

    /// Says this, and no more.
    pub async fn farewell(mut self, gate: &Inner, words: &[u8]) {
        let farewell = async {
            let listens_on = self.has_said_all();
            self.stream.write_all(words).await?;
            // Whoever knows where the answer ends closes first, and then the kernel need not remember for a minute that there
            // was a connection, with its ports: the refused could take all of the host's. Others wait for the end, and so
            // does who has only said that it says no more.
            if !listens_on
                && timeout(CLOSES_WITHIN, unheard(&mut self.stream)).await.is_ok()
                && !self.waits(gate).await
            {
                return Ok(true);
            }
            self.stream.shutdown().await?;
            unheard(&mut self.stream).await?;
            io::Result::Ok(false)
        };
        if matches!(timeout(FAREWELL_WITHIN, farewell).await, Ok(Ok(true))) {
            reset(self.stream);
        }
    }

    /// Whether it has closed its half already, and may still listen. What it said besides is heard by nobody any more.
    fn has_said_all(&self) -> bool {
        let mut rest = [0; 512];
        for _ in 0..HEARD_MAX {
            match self.stream.try_read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        self.over
    }
}

/// Takes what somebody goes on saying, to its end: left where it is, it would make the kernel take back what they are told.
async fn unheard(stream: &mut TcpStream) -> io::Result<()> {
    let mut rest = vec![0; PIECE_BYTES];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Closes a connection so that the other side knows it was not its end.
pub fn reset(stream: TcpStream) {
    let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    drop(stream);
}

/// Tells a program that it may not, in the words of what it speaks.
pub async fn refuse(gate: &Inner, client: Client, why: &str) {
    let words = match (client.tunnel, client.words()) {
        (Some(tunnel), _) => tunnel.no(No::Denied, why),
        (None, Words::Http { .. }) => said("403 Forbidden", why),
        // A fatal alert: access denied.
        (None, Words::Tls(_)) => vec![0x15, 3, 3, 0, 2, 2, 49],
        (None, Words::Garbled(_)) if client.proxied => said("403 Forbidden", why),
        _ => return reset(client.stream),
    };
    client.farewell(gate, &words).await;
}
