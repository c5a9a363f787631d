//! The calls about files of sandboxes.

use async_trait::async_trait;
use bytes::Bytes;
use tokio_stream::StreamExt;

use super::Client;
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
        limits::{CREATE_WITHIN, FILE_PIECE_BYTES, HUB_ANSWER_WITHIN, TTL_MAX},
    },
    model::file::{
        FileEntry, FindPiece, FindRequest, ListPiece, ReadPiece, ReadRequest, WriteRequest,
    },
    runtime::{BoxStream, files::Files},
    wire::{
        convert::{
            file::{
                find_out, find_piece_in, list_piece_in, news_in, read_out, read_piece_in,
                stat_answer_in, watch_out, write_out,
            },
            output::cuts,
            required,
        },
        v1::{self, write_file_request::Kind},
    },
};

#[async_trait]
impl Files for Client {
    async fn stat_file(&self, id: &SandboxId, path: &[u8]) -> Outcome<FileEntry> {
        let wires = self.wires()?;
        let request =
            v1::StatFileRequest { sandbox: id.to_string(), path: Bytes::copy_from_slice(path) };
        let call = wires.request(request);
        let answer = wires.answer(HUB_ANSWER_WITHIN, wires.files().stat(call)).await?;
        stat_answer_in(required("entry", answer.entry)?)
    }

    async fn list_files(
        &self,
        id: &SandboxId,
        path: &[u8],
    ) -> Outcome<BoxStream<Outcome<ListPiece>>> {
        let wires = self.wires()?;
        let request =
            v1::ListFilesRequest { sandbox: id.to_string(), path: Bytes::copy_from_slice(path) };
        let call = wires.request(request);
        let pieces = wires.answer(HUB_ANSWER_WITHIN, wires.files().list(call)).await?;
        // One message may be two pieces.
        let pieces = pieces.map(move |piece| match piece {
            Ok(piece) => list_piece_in(piece),
            Err(status) => Err(wires.fault(&status)),
        });
        let mut pieces = Box::pin(pieces);
        let (sender, taken) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(some) = pieces.next().await {
                let some = match some {
                    Ok(some) => some.into_iter().map(Ok).collect(),
                    Err(fault) => vec![Err(fault)],
                };
                for piece in some {
                    if sender.send(piece).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(taken)))
    }

    async fn read_file(
        &self,
        id: &SandboxId,
        request: ReadRequest,
    ) -> Outcome<BoxStream<Outcome<ReadPiece>>> {
        let wires = self.wires()?;
        let call = wires.request(read_out(id, request));
        let pieces = wires.answer(HUB_ANSWER_WITHIN, wires.files().read(call)).await?;
        Ok(Box::pin(pieces.map(move |piece| match piece {
            Ok(piece) => read_piece_in(piece),
            Err(status) => Err(wires.fault(&status)),
        })))
    }

    async fn write_file(
        &self,
        id: &SandboxId,
        request: WriteRequest,
        data: BoxStream<Outcome<Bytes>>,
    ) -> Outcome<FileEntry> {
        let wires = self.wires()?;
        let (sender, messages) = tokio::sync::mpsc::channel(1);
        let start = Kind::Start(write_out(id, request));
        let failed = tokio::spawn(feed(sender, start, data));
        let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
        let call = wires.request(messages);
        let mut files = wires.files();
        let answer = tokio::time::timeout(TTL_MAX, files.write(call)).await;
        let late = |_| Err(Fault::late("the hub did not take the file in time"));
        let answer = answer.map_or_else(late, |it| it.map_err(|status| wires.fault(&status)));
        // What was wrong here is the better reason.
        failed.abort();
        if let Ok(Err(fault)) = failed.await {
            return Err(fault);
        }
        required("entry", answer?.into_inner().entry)?.try_into()
    }

    async fn find_files(
        &self,
        id: &SandboxId,
        request: FindRequest,
    ) -> Outcome<BoxStream<Outcome<FindPiece>>> {
        let wires = self.wires()?;
        let call = wires.request(find_out(id, request));
        let pieces = wires.answer(HUB_ANSWER_WITHIN, wires.files().find(call)).await?;
        Ok(Box::pin(pieces.map(move |piece| match piece {
            Ok(piece) => find_piece_in(piece),
            Err(status) => Err(wires.fault(&status)),
        })))
    }

    async fn watch_files(
        &self,
        id: &SandboxId,
        paths: Vec<Vec<u8>>,
    ) -> Outcome<BoxStream<Outcome<Vec<usize>>>> {
        let wires = self.wires()?;
        let of = paths.len();
        let call = wires.request(watch_out(id, paths));
        let news = wires.answer(CREATE_WITHIN, wires.files().watch(call)).await?;
        Ok(Box::pin(news.map(move |news| match news {
            Ok(news) => news_in(news, of),
            Err(status) => Err(wires.fault(&status)),
        })))
    }
}

/// Sends a file to the hub, with an end only when all of it was there.
async fn feed(
    sender: tokio::sync::mpsc::Sender<v1::WriteFileRequest>,
    start: Kind,
    mut data: BoxStream<Outcome<Bytes>>,
) -> Outcome<()> {
    let message = |kind| v1::WriteFileRequest { kind: Some(kind) };
    if sender.send(message(start)).await.is_err() {
        return Ok(());
    }
    while let Some(bytes) = data.next().await {
        for piece in cuts(bytes?, FILE_PIECE_BYTES) {
            if sender.send(message(Kind::Data(piece))).await.is_err() {
                // The hub says why it takes no more.
                return Ok(());
            }
        }
    }
    drop(sender.send(message(Kind::End(v1::WriteFileEnd {}))).await);
    Ok(())
}
