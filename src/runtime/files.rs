//! What may be asked about the files of a sandbox: a part of `Runtime`.

use async_trait::async_trait;
use bytes::Bytes;

use super::BoxStream;
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SandboxId,
    },
    model::file::{
        FileEntry, FindPiece, FindRequest, ListPiece, ReadPiece, ReadRequest, WriteRequest,
    },
};

fn unknown<T>() -> Outcome<T> {
    Err(Fault::unsupported("files of sandboxes can't be looked at here"))
}

/// Paths are as programs in the sandbox see them; one that does not begin with `/` is below the workspace.
#[async_trait]
pub trait Files: Send + Sync {
    /// What lies at a path itself; a link is not followed.
    async fn stat_file(&self, _id: &SandboxId, _path: &[u8]) -> Outcome<FileEntry> {
        unknown()
    }

    /// What is in a directory, in no order; ends with `End`. It is read only as fast as it is taken.
    async fn list_files(
        &self,
        _id: &SandboxId,
        _path: &[u8],
    ) -> Outcome<BoxStream<Outcome<ListPiece>>> {
        unknown()
    }

    /// The contents of a plain file; begins with `Begin` and ends with `End`.
    async fn read_file(
        &self,
        _id: &SandboxId,
        _request: ReadRequest,
    ) -> Outcome<BoxStream<Outcome<ReadPiece>>> {
        unknown()
    }

    /// Writes a whole file or makes a directory. An error among the data changes nothing. `Busy` when what is
    /// there is not what was expected.
    async fn write_file(
        &self,
        _id: &SandboxId,
        _request: WriteRequest,
        _data: BoxStream<Outcome<Bytes>>,
    ) -> Outcome<FileEntry> {
        unknown()
    }

    /// Names and lines below a directory; ends with `End`.
    async fn find_files(
        &self,
        _id: &SandboxId,
        _request: FindRequest,
    ) -> Outcome<BoxStream<Outcome<FindPiece>>> {
        unknown()
    }

    /// Which of these directories changed, by their place in the list, from the moment this returns. It ends with the
    /// link and with the sandbox's host: what happened meanwhile is not known then.
    async fn watch_files(
        &self,
        _id: &SandboxId,
        _paths: Vec<Vec<u8>>,
    ) -> Outcome<BoxStream<Outcome<Vec<usize>>>> {
        unknown()
    }
}
