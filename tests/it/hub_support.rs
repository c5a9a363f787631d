//! A hub in this process over any directory, on a socket in a directory of its own.

use std::{path::Path, sync::Arc};

use sandwatch::{
    client::{Client, Options},
    config::paths::Paths,
    driver::fake::FakeDriver,
    engine::Engine,
    hub,
    model::sandbox::SandboxSpec,
    runtime::Directory,
};
use tokio::{sync::oneshot, task::JoinHandle};

pub(crate) use crate::given::{SOON, next, printed, session, watch};
use crate::{
    engine_support::open,
    given::{self, soon, who},
};

pub(crate) fn options(name: &str) -> Options {
    Options::new(who(name), Some(SOON))
}

/// A hub that serves until it is told to end.
pub(crate) struct Hub {
    pub(crate) paths: Paths,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Hub {
    pub(crate) async fn start(home: &Path, directory: Arc<dyn Directory>) -> Self {
        let paths = Paths::under(home);
        let claim = hub::claim(&paths).await.unwrap();
        let (stop, told) = oneshot::channel();
        let stopped = async move { drop(told.await) };
        let serving = tokio::spawn(async move { claim.serve(directory, stopped).await.unwrap() });
        let hub = Self { paths, stop: Some(stop), serving };
        soon("the hub's socket", || hub.paths.hub_socket().exists()).await;
        hub
    }

    pub(crate) async fn client(&self, name: &str) -> Client {
        Client::connect(&self.paths.hub_socket(), options(name)).await.unwrap()
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(SOON, &mut self.serving).await.unwrap().unwrap();
    }
}

pub(crate) async fn engine(home: &Path) -> Engine {
    open(home, &FakeDriver::default()).await.unwrap()
}

pub(crate) fn spec(workspace: &Path, command: &[&str]) -> SandboxSpec {
    given::spec("fake", workspace, command)
}
