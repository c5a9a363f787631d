//! `demo`: the console over an engine in this process, with scripted sandboxes and nothing on disk
//! that lasts.

use std::{os::unix::fs::DirBuilderExt, path::PathBuf};

use super::{args::DemoArgs, link, out};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::ClientId,
    },
    config::paths::Paths,
    engine, tui,
};

pub async fn demo(paths: &Paths, args: DemoArgs) -> Outcome<out::Code> {
    let identity = link::identity();
    let stage = Stage::new()?;
    let engine = engine::demo(stage.0.clone(), args.fleet).await?;
    let start = tui::console::Start {
        runtime: engine.client(identity.clone()),
        identity,
        hub: "demo".to_owned(),
        directory: link::current_directory()?,
        driver: "fake".to_owned(),
        elsewhere: false,
        said: None,
        files: tui::files::Files::forgetful(paths),
        reread: None,
        contexts: None,
    };
    Ok(tui::console::run(start).await?.code)
}

/// A directory that goes with the demo.
struct Stage(PathBuf);

impl Stage {
    fn new() -> Outcome<Self> {
        let dir = std::env::temp_dir().join(format!("sandwatch-demo-{}", ClientId::random()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .map_err(|error| Fault::io(format_args!("make {}", dir.display()), &error))?;
        Ok(Self(dir))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, dir = %self.0.display(), "the demo left its directory");
        }
    }
}
