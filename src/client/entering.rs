//! A stream of which the hub's first word, whether it lets this in, is taken off as it comes: calls go out right behind
//! the handshake and wait for no round trip of their own.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::way::Bytes;
use crate::{
    base::fault::{Fault, Outcome},
    wire::enrol::{WELCOME_BYTES_MAX, welcome_read},
};

/// Gives why a stream broke before that word came.
type Why = Box<dyn Fn(&io::Error) -> Fault + Send>;

pub(super) struct Entering<S> {
    stream: S,
    /// What came of the word; `None` once it was read.
    heard: Option<Vec<u8>>,
    told: Option<oneshot::Sender<Outcome<()>>>,
    why: Why,
}

impl<S: Bytes> Entering<S> {
    /// The stream, and what the hub says, as soon as it does.
    pub(super) fn new(stream: S, why: Why) -> (Self, oneshot::Receiver<Outcome<()>>) {
        let (told, entered) = oneshot::channel();
        (Self { stream, heard: Some(Vec::new()), told: Some(told), why }, entered)
    }

    /// Takes what comes until the word is whole.
    fn poll_word(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(heard) = &mut self.heard {
            let missing = match heard.first_chunk::<4>() {
                None => 4 - heard.len(),
                Some(length) => {
                    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                    if length > WELCOME_BYTES_MAX {
                        return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                    }
                    length + 4 - heard.len()
                }
            };
            if missing == 0 {
                let said = welcome_read(heard.get(4..).unwrap_or_default());
                if said.is_err() {
                    // It stays unheard: nothing behind it is read.
                    self.tell(said);
                    return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
                }
                self.heard = None;
                self.tell(said);
                return Poll::Ready(Ok(()));
            }
            let mut piece = [0; 256];
            let mut into = ReadBuf::new(piece.get_mut(..missing.min(256)).unwrap_or_default());
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut into))?;
            if into.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            heard.extend_from_slice(into.filled());
        }
        Poll::Ready(Ok(()))
    }

    /// A hub that does not let this in may be gone before all is written. Until its word was heard, a write that fails is none
    /// of anybody's business: the next read says why.
    fn unless_unheard<T>(&self, wrote: Poll<io::Result<T>>, as_if: T) -> Poll<io::Result<T>> {
        match wrote {
            Poll::Ready(Err(_)) if self.heard.is_some() => Poll::Ready(Ok(as_if)),
            wrote => wrote,
        }
    }

    fn tell(&mut self, said: Outcome<()>) {
        // Nobody waits who has given up.
        drop(self.told.take().map(|it| it.send(said)));
    }
}

impl<S: Bytes> AsyncRead for Entering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Err(error) = ready!(self.poll_word(context)) {
            let why = (self.why)(&error);
            self.tell(Err(why));
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Bytes> AsyncWrite for Entering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unless_unheard(wrote, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.unless_unheard(wrote, slices.iter().map(|it| it.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.unless_unheard(flushed, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::{
        base::fault::Kind,
        wire::enrol::{say, welcome_bytes},
    };

    fn why() -> Why {
        Box::new(|_| Fault::lost("it broke"))
    }

    #[tokio::test]
    async fn what_is_said_first_is_sent_before_the_hub_says_a_word() {
        let (ours, mut theirs) = duplex(64);
        let (mut it, entered) = Entering::new(ours, why());
        it.write_all(b"call").await.unwrap();
        let mut heard = [0; 4];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"call");
        say(&mut theirs, &welcome_bytes(None)).await.unwrap();
        theirs.write_all(b"answer").await.unwrap();
        let mut heard = [0; 6];
        it.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"answer");
        entered.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn why_it_does_not_let_this_in_is_told_and_nothing_behind_it_is_read() {
        let (ours, mut theirs) = duplex(256);
        let (mut it, entered) = Entering::new(ours, why());
        say(&mut theirs, &welcome_bytes(Some(&Fault::busy("too many")))).await.unwrap();
        theirs.write_all(b"answer").await.unwrap();
        for _ in 0..2 {
            assert!(it.read_u8().await.is_err());
        }
        assert_eq!(entered.await.unwrap().unwrap_err().kind(), Kind::Busy);
    }

    #[tokio::test]
    async fn why_is_heard_though_the_hub_was_gone_before_all_was_written() {
        let (ours, mut theirs) = duplex(256);
        let (mut it, entered) = Entering::new(ours, why());
        say(&mut theirs, &welcome_bytes(Some(&Fault::denied("revoked")))).await.unwrap();
        drop(theirs);
        it.write_all(&[0; 1024]).await.unwrap();
        it.flush().await.unwrap();
        assert!(it.read_u8().await.is_err());
        assert_eq!(entered.await.unwrap().unwrap_err().message(), "revoked");
    }

    #[tokio::test]
    async fn one_that_breaks_or_says_too_much_is_told_in_the_words_of_the_way() {
        for first in [&b""[..], &[0, 0], &[0xff; 8]] {
            let (ours, mut theirs) = duplex(64);
            let (mut it, entered) = Entering::new(ours, why());
            theirs.write_all(first).await.unwrap();
            drop(theirs);
            assert!(it.read_u8().await.is_err());
            assert_eq!(entered.await.unwrap().unwrap_err().message(), "it broke");
        }
    }
}
