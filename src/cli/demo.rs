//! `demo`: the console over an engine in this process, with scripted sandboxes and nothing on disk
//! that lasts.

use super::{link, out};
use crate::{
    base::fault::{Fault, Outcome},
    config::paths::Paths,
    tui,
};

pub async fn demo(paths: &Paths) -> Outcome<out::Code> {
    let identity = link::identity();
    let directory =
        std::env::current_dir().map_err(|error| Fault::io("find the current directory", &error))?;
    let start = tui::console::Start {
        runtime: link::hub(paths).await?.runtime,
        identity,
        hub: "demo".to_owned(),
        directory,
        driver: "fake".to_owned(),
        files: tui::files::Files::new(paths),
    };
    tui::console::run(start).await
}
