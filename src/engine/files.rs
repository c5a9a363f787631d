//! Files of a sandbox as they are now: asked of its driver, with what its host gives to reach them.

use std::{pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt};

use super::{Inner, audit::words, client::Client, verbs::unfit};
use crate::{
    base::{
        fault::{Fault, Kind, Outcome},
        id::SandboxId,
        units::Size,
    },
    driver::files::{Files, Pieces, Runs, Said, Turns, Way, told_by},
    model::{
        audit::Action,
        file::{
            FileEntry, FindPiece, FindRequest, ListPiece, ReadPiece, ReadRequest, WriteRequest,
            absolute, name_shown,
        },
        sandbox::{Sandbox, State, WorkspaceMode},
        session::SessionSpec,
    },
    runtime::{self, BoxStream, ExecOutput},
    session::seat::Seat,
};

/// One sandbox, looked at.
struct Looked {
    sandbox: Arc<Sandbox>,
    files: Arc<dyn Files>,
    /// Where paths begin that don't begin at the root.
    workspace: Option<Vec<u8>>,
    /// `None` = it has stopped, and what it kept is looked at.
    seat: Option<Arc<dyn Seat>>,
    /// Counts its changes.
    changed: watch::Receiver<u64>,
}

impl Looked {
    fn path(&self, path: &[u8]) -> Outcome<Vec<u8>> {
        absolute(self.workspace.as_deref(), path)
    }
}

impl Inner {
    async fn look_into(&self, id: &SandboxId) -> Outcome<Looked> {
        use std::os::unix::ffi::OsStrExt;
        let (sandbox, spec, seat, turns, changed) = {
            let fleet = self.fleet();
            let entry = fleet.get(id)?;
            let turns = Turns::new(&self.file_steps, &entry.file_steps);
            let changed = entry.changed.subscribe();
            (entry.sandbox.clone(), entry.spec.clone(), entry.seat.clone(), turns, changed)
        };
        let seat = match (sandbox.state, seat) {
            (State::Running | State::Paused, Some(seat)) => Some(seat),
            (State::Stopped | State::Failed | State::Gone, _) => None,
            _ => return Err(unfit(&sandbox, "looked into")),
        };
        let way = match &seat {
            Some(seat) => {
                let root = match seat.root().await {
                    Ok(root) => Some(root),
                    Err(fault) if fault.kind() == Kind::Unsupported => None,
                    Err(fault) => return Err(fault),
                };
                let programs: Arc<dyn Runs> = Arc::new(Programs { seat: seat.clone() });
                Way { root, programs: Some(programs), stopped: false, turns }
            }
            None => Way { root: None, programs: None, stopped: true, turns },
        };
        let ground = match seat {
            Some(_) => self.ground(id, &sandbox.name),
            None => self.whole_ground(id, &sandbox.name)?,
        };
        let files = self.drivers.get(&sandbox.driver)?.files(&ground, &spec, way)?;
        let path = &sandbox.workspace.path;
        let workspace = (sandbox.workspace.mode != WorkspaceMode::None)
            .then(|| path.as_os_str().as_bytes().to_vec());
        Ok(Looked { sandbox, files, workspace, seat, changed })
    }

    /// Whether another host has the sandbox by now, or none; or one, where it had stopped.
    fn is_elsewhere(&self, id: &SandboxId, seat: Option<&Arc<dyn Seat>>) -> bool {
        let fleet = self.fleet();
        let Ok(entry) = fleet.get(id) else { return true };
        let runs = matches!(entry.sandbox.state, State::Running | State::Paused);
        let now = entry.seat.as_ref().filter(|_| runs);
        match (seat, now) {
            (Some(seat), Some(now)) => !Arc::ptr_eq(now, seat),
            (None, None) => entry.sandbox.state == State::Creating,
            (Some(_), None) | (None, Some(_)) => true,
        }
    }
}

#[async_trait]
impl runtime::files::Files for Client {
    async fn stat_file(&self, id: &SandboxId, path: &[u8]) -> Outcome<FileEntry> {
        let looked = self.engine.look_into(id).await?;
        looked.files.stat(&looked.path(path)?).await
    }

    async fn list_files(
        &self,
        id: &SandboxId,
        path: &[u8],
    ) -> Outcome<BoxStream<Outcome<ListPiece>>> {
        let looked = self.engine.look_into(id).await?;
        looked.files.list(&looked.path(path)?).await
    }

    async fn read_file(
        &self,
        id: &SandboxId,
        request: ReadRequest,
    ) -> Outcome<BoxStream<Outcome<ReadPiece>>> {
        let looked = self.engine.look_into(id).await?;
        let path = looked.path(&request.path)?;
        looked.files.read(ReadRequest { path, ..request }).await
    }

    async fn write_file(
        &self,
        id: &SandboxId,
        request: WriteRequest,
        data: BoxStream<Outcome<Bytes>>,
    ) -> Outcome<FileEntry> {
        let looked = self.engine.look_into(id).await?;
        if looked.seat.is_none() {
            let name = &looked.sandbox.name;
            let again = format!(
                "go on from it: sandwatch fork {name}; or start it again: sandwatch restore {name}"
            );
            return Err(unfit(&looked.sandbox, "written to").hint(again));
        }
        let path = looked.path(&request.path)?;
        let act = self.engine.act(&self.who, Action::FileWritten, id);
        let act = act.with("path", name_shown(&path)).with("kind", request.make.word());
        let engine = Arc::clone(&self.engine);
        // Nothing is written that is not in the record: who hangs up ends the data, and only that.
        Inner::detached(async move {
            let made = looked.files.write(WriteRequest { path, ..request }, data).await;
            let act = match &made {
                Ok(entry) => Some(act.with_any("bytes", entry.size_bytes)),
                // A step that was not waited for may still come to its end.
                Err(fault) if fault.kind() == Kind::Late => Some(act.with("end", "not known")),
                Err(_) => None,
            };
            if let Some(act) = act {
                engine.record(words::now(act)).await;
            }
            made
        })
        .await
    }

    async fn find_files(
        &self,
        id: &SandboxId,
        request: FindRequest,
    ) -> Outcome<BoxStream<Outcome<FindPiece>>> {
        let looked = self.engine.look_into(id).await?;
        let path = looked.path(&request.path)?;
        looked.files.find(FindRequest { path, ..request }).await
    }

    async fn watch_files(
        &self,
        id: &SandboxId,
        paths: Vec<Vec<u8>>,
    ) -> Outcome<BoxStream<Outcome<Vec<usize>>>> {
        let looked = self.engine.look_into(id).await?;
        let paths = paths.iter().map(|it| looked.path(it)).collect::<Outcome<_>>()?;
        let mut news = match looked.seat {
            Some(_) => looked.files.watch(paths).await?,
            // Nobody writes there.
            None => Box::pin(tokio_stream::pending()),
        };
        let (engine, id) = (Arc::downgrade(&self.engine), id.clone());
        let Looked { seat, mut changed, .. } = looked;
        Ok(told_by(move |told| async move {
            loop {
                tokio::select! {
                    () = told.closed() => return,
                    some = news.next() => match some {
                        Some(some) => if told.send(some).await.is_err() {
                            return;
                        },
                        None => return,
                    },
                    // Its files are others then, and those are not watched.
                    still = changed.changed() => {
                        let elsewhere = engine.upgrade().is_none_or(|it| it.is_elsewhere(&id, seat.as_ref()));
                        if still.is_err() || elsewhere {
                            let gone = Fault::lost(match seat {
                                Some(_) => "the sandbox does not run any more",
                                None => "the sandbox is not any more as it stopped",
                            });
                            return drop(told.send(Err(gone)).await);
                        }
                    }
                }
            }
        }))
    }
}

/// Programs that look at files for a driver that has no other way.
struct Programs {
    seat: Arc<dyn Seat>,
}

#[async_trait]
impl Runs for Programs {
    async fn run(
        &self,
        command: Vec<String>,
        input: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    ) -> Outcome<Pieces<Said>> {
        let spec = SessionSpec {
            command,
            cwd: Some("/".to_owned()),
            env: Vec::new(),
            size: Size::DEFAULT,
        };
        let output = self.seat.exec(spec, input).await?;
        Ok(Box::pin(output.map(|it| {
            Ok(match it? {
                ExecOutput::Stdout(bytes) => Said::Output(bytes),
                ExecOutput::Stderr(bytes) => Said::Error(bytes),
                ExecOutput::Exit(status) => Said::End(status),
            })
        })))
    }
}
