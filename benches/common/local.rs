//! The local driver by itself, without hub, shim or screen: what making a sandbox costs of its own.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use sandwatch::{
    base::{id::SandboxId, units::Size},
    driver::{Driver, Ground, local::Local},
    model::{
        sandbox::{Egress, ResourceLimits, SandboxSpec, Workspace, WorkspaceMode},
        session::SessionSpec,
    },
};
use tokio::io::AsyncReadExt;

/// Time from asking the driver to the first byte of `echo`; in a process with one thread.
pub fn start(dir: &Path) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let first = SessionSpec {
            command: vec!["/bin/echo".into(), "hello".into()],
            cwd: None,
            env: Vec::new(),
            size: Size::clamped(80, 24),
        };
        let spec = SandboxSpec {
            name: None,
            driver: "local".into(),
            isolation: None,
            image: None,
            workspace: Workspace { path: "/".into(), mode: WorkspaceMode::None },
            egress: Egress::Deny,
            allow: Vec::new(),
            limits: ResourceLimits::default(),
            env: Vec::new(),
            ttl: None,
            labels: BTreeMap::new(),
            record: false,
            remove_on_exit: false,
            first: first.clone(),
        };
        let ground = Ground { id: SandboxId::random(), name: "bench".into(), dir: dir.into() };
        let at = Instant::now();
        let place = Local.create(&ground, &spec).await.unwrap();
        let mut program = place.spawn(&first).await.unwrap();
        let mut byte = [0_u8];
        program.io.reader.read_exact(&mut byte).await.unwrap();
        let took = at.elapsed();
        drop(program);
        place.remove().await.unwrap();
        took
    })
}
