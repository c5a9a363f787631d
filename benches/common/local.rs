//! The local driver by itself, without hub, shim or screen: what making a sandbox costs of its own.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sandwatch::{
    base::id::SandboxId,
    driver::{Driver, Ground, local::Local},
};
use tokio::io::AsyncReadExt;

/// Time from asking the driver to the first byte of `echo`; in a process with one thread.
pub fn start(dir: &Path) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let spec = super::spec("local", Path::new("/"), &["/bin/echo", "hello"]);
        let ground =
            Ground { id: SandboxId::random(), name: "bench".into(), dir: dir.into(), from: None };
        let at = Instant::now();
        let place = Local.create(&ground, &spec).await.unwrap();
        let mut program = place.spawn(&spec.first).await.unwrap();
        let mut byte = [0_u8];
        program.io.reader.read_exact(&mut byte).await.unwrap();
        let took = at.elapsed();
        drop(program);
        place.remove().await.unwrap();
        took
    })
}
