//! The two outputs of a program without a terminal, which come mixed: each piece has a header of 8 bytes that
//! says of which output it is and how long. Pieces are passed on as they come; no length is believed so far as
//! to keep room for it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::base::limits::PTY_CHUNK_BYTES_MAX;

const HEADER_BYTES: usize = 8;

/// How the outputs ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// There is nothing more.
    Finished,
    /// Whoever was to take them is gone.
    Unread,
    /// What came was none of this, or broke off.
    Broken,
}

/// Takes both apart until the end.
pub async fn part(
    mut from: impl AsyncRead + Unpin,
    mut out: impl AsyncWrite + Unpin,
    mut errors: impl AsyncWrite + Unpin,
) -> End {
    let mut buffer = vec![0; PTY_CHUNK_BYTES_MAX];
    loop {
        let mut header = [0; HEADER_BYTES];
        match from.read_exact(&mut header).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return End::Finished,
            Err(_) => return End::Broken,
        }
        let [which, 0, 0, 0, length @ ..] = header else { return End::Broken };
        let mut left = u32::from_be_bytes(length) as usize;
        while left > 0 {
            let most = left.min(buffer.len());
            let Some(into) = buffer.get_mut(..most) else { return End::Broken };
            let count = match from.read(into).await {
                Ok(0) | Err(_) => return End::Broken,
                Ok(count) => count,
            };
            let piece = into.get(..count).unwrap_or_default();
            let written = match which {
                0 | 1 => out.write_all(piece).await,
                2 => errors.write_all(piece).await,
                _ => return End::Broken,
            };
            if written.is_err() {
                return End::Unread;
            }
            left -= count;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(which: u8, text: &str) -> Vec<u8> {
        let mut out = vec![which, 0, 0, 0];
        out.extend((text.len() as u32).to_be_bytes());
        out.extend(text.bytes());
        out
    }

    async fn parted(bytes: &[u8]) -> (End, String, String) {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let end = part(bytes, &mut out, &mut errors).await;
        let text = |it: Vec<u8>| String::from_utf8_lossy(&it).into_owned();
        (end, text(out), text(errors))
    }

    #[tokio::test]
    async fn outputs_are_told_apart() {
        let whole = [frame(1, "out"), frame(2, "oops"), frame(1, ""), frame(1, "put")].concat();
        let both = ("output".to_owned(), "oops".to_owned());
        assert_eq!(parted(&whole).await, (End::Finished, both.0.clone(), both.1));
        let mut endless = frame(1, "abc");
        endless[4] = 0xff;
        assert_eq!(parted(&endless).await, (End::Broken, "abc".to_owned(), String::new()));
        assert_eq!(parted(b"HTTP/1.1 200 OK").await.0, End::Broken);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail_or_keep_more_than_there_is(
            bytes in prop::collection::vec(any::<u8>(), 0..256),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (_, out, errors) = runtime.block_on(parted(&bytes));
            prop_assert!(out.len() + errors.len() <= 3 * bytes.len());
        }
    }
}
