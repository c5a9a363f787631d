//! Files of sandboxes: looking, writing, searching, watching.

use async_trait::async_trait;
use bytes::Bytes;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Sending, Service};
use crate::{
    base::fault::{Fault, Outcome},
    wire::{
        convert::file::{
            find_in, find_piece_out, list_in, list_piece_out, news_out, read_in, read_piece_out,
            stat_in, watch_in, write_in, write_piece_in,
        },
        fault::{from_status, to_status},
        v1::{
            FindFilesRequest, FindFilesResponse, ListFilesRequest, ListFilesResponse,
            ReadFileRequest, ReadFileResponse, StatFileRequest, StatFileResponse,
            WatchFilesRequest, WatchFilesResponse, WriteFileRequest, WriteFileResponse,
            files_server::Files, write_file_request::Kind,
        },
    },
};

#[async_trait]
impl Files for Service {
    type ListStream = Sending<ListFilesResponse>;
    type ReadStream = Sending<ReadFileResponse>;
    type FindStream = Sending<FindFilesResponse>;
    type WatchStream = Sending<WatchFilesResponse>;

    async fn stat(&self, request: Request<StatFileRequest>) -> Answer<StatFileResponse> {
        let runtime = self.runtime(&request)?;
        let entry = async {
            let (id, path) = stat_in(request.into_inner())?;
            runtime.stat_file(&id, &path).await
        };
        let entry = entry.await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(StatFileResponse { entry: Some(entry.into()) }))
    }

    async fn list(&self, request: Request<ListFilesRequest>) -> Answer<Self::ListStream> {
        let runtime = self.runtime(&request)?;
        let pieces = async {
            let (id, path) = list_in(request.into_inner())?;
            runtime.list_files(&id, &path).await
        };
        Ok(self.sending(pieces.await.map_err(|fault| to_status(&fault))?, list_piece_out))
    }

    async fn read(&self, request: Request<ReadFileRequest>) -> Answer<Self::ReadStream> {
        let runtime = self.runtime(&request)?;
        let pieces = async {
            let (id, request) = read_in(request.into_inner())?;
            runtime.read_file(&id, request).await
        };
        Ok(self.sending(pieces.await.map_err(|fault| to_status(&fault))?, read_piece_out))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteFileRequest>>,
    ) -> Answer<WriteFileResponse> {
        let runtime = self.runtime(&request)?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|it| it.kind);
        let Some(Kind::Start(start)) = first else {
            return Err(Status::invalid_argument("the first message of a file is its start"));
        };
        let written = async {
            let (id, request) = write_in(start)?;
            runtime.write_file(&id, request, Box::pin(whole(messages))).await
        };
        let entry = written.await.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(WriteFileResponse { entry: Some(entry.into()) }))
    }

    async fn find(&self, request: Request<FindFilesRequest>) -> Answer<Self::FindStream> {
        let runtime = self.runtime(&request)?;
        let pieces = async {
            let (id, request) = find_in(request.into_inner())?;
            runtime.find_files(&id, request).await
        };
        let pieces = pieces.await.map_err(|fault| to_status(&fault))?;
        Ok(self.sending(pieces, |piece| vec![find_piece_out(piece)]))
    }

    async fn watch(&self, request: Request<WatchFilesRequest>) -> Answer<Self::WatchStream> {
        let runtime = self.runtime(&request)?;
        let news = async {
            let (id, paths) = watch_in(request.into_inner())?;
            runtime.watch_files(&id, paths).await
        };
        let news = news.await.map_err(|fault| to_status(&fault))?;
        Ok(self.sending(news, |changed| vec![news_out(changed)]))
    }
}

/// The data of a file up to its end; a stream that ends without one was cut off, and says so.
fn whole(messages: Streaming<WriteFileRequest>) -> impl Stream<Item = Outcome<Bytes>> {
    let pieces = messages.map(|message| match message {
        Ok(message) => write_piece_in(message),
        Err(status) => Err(from_status(&status)),
    });
    let cut_off = Err(Fault::lost("who wrote the file hung up before its end"));
    // What is an end ends it before that.
    pieces.chain(tokio_stream::once(cut_off)).map_while(Outcome::transpose)
}
