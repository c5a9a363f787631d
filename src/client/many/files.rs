//! Files of sandboxes, of the hub that each is of.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Many, one::One};
use crate::{
    base::{fault::Outcome, id::SandboxId},
    model::file::{
        FileEntry, FindPiece, FindRequest, ListPiece, ReadPiece, ReadRequest, WriteRequest,
    },
    runtime::{BoxStream, access::Access, files::Files},
};

/// Who may come to a hub is asked of that hub alone, by verbs.
#[async_trait]
impl Access for Many {}

#[async_trait]
impl Access for One {}

#[async_trait]
impl Files for One {
    async fn stat_file(&self, id: &SandboxId, path: &[u8]) -> Outcome<FileEntry> {
        let (hub, id) = (self.up()?, self.mark().sandbox(id)?);
        hub.stat_file(&id, path).await.map_err(|it| self.fault(it))
    }

    async fn list_files(
        &self,
        id: &SandboxId,
        path: &[u8],
    ) -> Outcome<BoxStream<Outcome<ListPiece>>> {
        let (hub, id) = (self.up()?, self.mark().sandbox(id)?);
        hub.list_files(&id, path).await.map_err(|it| self.fault(it))
    }

    async fn read_file(
        &self,
        id: &SandboxId,
        request: ReadRequest,
    ) -> Outcome<BoxStream<Outcome<ReadPiece>>> {
        let (hub, id) = (self.up()?, self.mark().sandbox(id)?);
        hub.read_file(&id, request).await.map_err(|it| self.fault(it))
    }

    async fn write_file(
        &self,
        id: &SandboxId,
        request: WriteRequest,
        data: BoxStream<Outcome<Bytes>>,
    ) -> Outcome<FileEntry> {
        let (hub, id) = (self.up()?, self.mark().sandbox(id)?);
        hub.write_file(&id, request, data).await.map_err(|it| self.fault(it))
    }

    async fn find_files(
        &self,
        id: &SandboxId,
        request: FindRequest,
    ) -> Outcome<BoxStream<Outcome<FindPiece>>> {
        let (hub, id) = (self.up()?, self.mark().sandbox(id)?);
        hub.find_files(&id, request).await.map_err(|it| self.fault(it))
    }

    async fn watch_files(
        &self,
        id: &SandboxId,
        paths: Vec<Vec<u8>>,
    ) -> Outcome<BoxStream<Outcome<Vec<usize>>>> {
        let (hub, id) = (self.up()?, self.mark().sandbox(id)?);
        hub.watch_files(&id, paths).await.map_err(|it| self.fault(it))
    }
}

#[async_trait]
impl Files for Many {
    async fn stat_file(&self, id: &SandboxId, path: &[u8]) -> Outcome<FileEntry> {
        self.hub_of(id.hub())?.stat_file(id, path).await
    }

    async fn list_files(
        &self,
        id: &SandboxId,
        path: &[u8],
    ) -> Outcome<BoxStream<Outcome<ListPiece>>> {
        self.hub_of(id.hub())?.list_files(id, path).await
    }

    async fn read_file(
        &self,
        id: &SandboxId,
        request: ReadRequest,
    ) -> Outcome<BoxStream<Outcome<ReadPiece>>> {
        self.hub_of(id.hub())?.read_file(id, request).await
    }

    async fn write_file(
        &self,
        id: &SandboxId,
        request: WriteRequest,
        data: BoxStream<Outcome<Bytes>>,
    ) -> Outcome<FileEntry> {
        self.hub_of(id.hub())?.write_file(id, request, data).await
    }

    async fn find_files(
        &self,
        id: &SandboxId,
        request: FindRequest,
    ) -> Outcome<BoxStream<Outcome<FindPiece>>> {
        self.hub_of(id.hub())?.find_files(id, request).await
    }

    async fn watch_files(
        &self,
        id: &SandboxId,
        paths: Vec<Vec<u8>>,
    ) -> Outcome<BoxStream<Outcome<Vec<usize>>>> {
        self.hub_of(id.hub())?.watch_files(id, paths).await
    }
}
