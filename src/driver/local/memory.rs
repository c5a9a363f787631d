//! Programs of a container that are kept with what they have in memory: where that is written, and what is noted beside it
//! (decision 0046).

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{fd::AsFd, unix::fs::DirBuilderExt},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::{
    link::Link,
    message::Description,
    oci::MEMORY,
    remove,
    steward::{Begun, Steward},
};
use crate::{
    base::{
        fault::{Fault, Outcome},
        id::SessionId,
        limits::{KEYFRAME_BYTES_MAX, META_BYTES_MAX, SESSIONS_PER_SANDBOX_MAX},
        units::Size,
    },
    config::environment::SESSION_VARIABLE,
    driver::{Ground, Program, PtyIo, Slept},
    model::{sandbox::SandboxSpec, session::SessionSpec},
};

/// Beside what the runtime wrote: what ran, and a file with the screen of each.
const PROGRAMS: &str = "programs.json";

/// What most often is in the way.
const CONNECTED: &str = "all runs on as before; a program with a connection to outside, as one that asks, can't be kept";

#[derive(Deserialize, Serialize)]
struct Noted {
    key: String,
    command: Vec<String>,
    cols: u16,
    rows: u16,
}

/// What starts a container's programs so that they can be written down, and does that.
pub struct Sleeper {
    steward: Arc<Steward>,
    /// Whose programs they are, inside.
    user: (u32, u32),
    /// Those that came with it and were not asked for yet.
    came_back: Mutex<Vec<Slept>>,
    /// It is begun from what was written down.
    wakes: bool,
    /// They stand still since they were written down.
    is_written: AtomicBool,
}

impl Sleeper {
    /// For a container that is to be made, whose steward is this user and group of the host.
    pub fn open(
        ground: &Ground,
        spec: &SandboxSpec,
        steward: (u32, u32),
        user: (u32, u32),
    ) -> Outcome<Self> {
        let came_back = match &ground.from {
            Some(shelf) if spec.awake => programs(&shelf.dir)?,
            _ => Vec::new(),
        };
        Ok(Self {
            steward: Steward::open(&ground.dir, steward)?,
            user,
            came_back: Mutex::new(came_back),
            wakes: spec.awake,
            is_written: AtomicBool::new(false),
        })
    }

    /// Whether the container is begun from what was written down.
    pub fn wakes(&self) -> bool {
        self.wakes
    }

    /// Expects nobody any more once the container is gone.
    pub fn ends_with(&self, link: &Arc<Link>) {
        let (link, steward) = (Arc::clone(link), Arc::clone(&self.steward));
        tokio::spawn(async move {
            link.over().await;
            steward.close();
        });
    }

    /// Whether the end of every program was told.
    pub fn runs_nothing(&self) -> bool {
        self.steward.runs_nothing()
    }

    pub async fn spawn(
        &self,
        link: &Link,
        spec: &SessionSpec,
        what: Description,
    ) -> Outcome<Program<PtyIo>> {
        let named = spec.env.iter().find(|it| it.0 == SESSION_VARIABLE);
        let key = named.map_or_else(|| SessionId::random().to_string(), |it| it.1.clone());
        tokio::select! {
            begun = self.steward.start(&key, self.user, spec.size, what) => begun.map(program),
            reason = link.over() => Err(Fault::lost(format!("starting a program: {reason}"))),
        }
    }

    pub fn came_back(&self) -> Vec<Slept> {
        std::mem::take(&mut *self.came_back.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub async fn rejoin(&self, slept: &Slept) -> Outcome<Program<PtyIo>> {
        self.steward.rejoin(&slept.key, slept.size).await.map(program)
    }

    pub async fn keep(
        &self,
        link: &Link,
        ground: &Path,
        programs: &(dyn Fn() -> Vec<Slept> + Send + Sync),
    ) -> Outcome<()> {
        let place = ground.join(MEMORY);
        let fault = |error: io::Error| Fault::io(format!("making {}", place.display()), &error);
        // Of an attempt that came to nothing.
        remove::away(&place)?;
        DirBuilder::new().mode(0o700).create(&place).map_err(fault)?;
        let directory = File::open(&place).map_err(fault)?;
        self.steward.part().await?;
        let written = match self.steward.screens(programs).await.and_then(|it| note(&place, &it)) {
            Ok(()) => link.keep(directory.as_fd()).await.map_err(|it| it.hint(CONNECTED)),
            Err(fault) => Err(fault),
        };
        if written.is_err() {
            // The first fault is the one to tell; and there is to be room for what comes next.
            drop(remove::away(&place));
            self.steward.back().await;
        } else {
            self.is_written.store(true, Ordering::SeqCst);
        }
        written
    }

    /// Has those go on that stand still since they were written down. What nobody has taken of that goes.
    pub async fn go_on(&self, link: &Link, ground: &Path) -> Outcome<()> {
        if self.is_written.load(Ordering::SeqCst) {
            let went_on = link.go_on().await;
            // What goes on in any case is listened to; and what nobody has taken is not needed.
            self.steward.back().await;
            went_on?;
            self.is_written.store(false, Ordering::SeqCst);
            remove::away(&ground.join(MEMORY))?;
        }
        Ok(())
    }
}

fn program(begun: Begun) -> Program<PtyIo> {
    Program { pid: None, io: begun.io, exit: begun.exit }
}

fn note(place: &Path, programs: &[Slept]) -> Outcome<()> {
    let fault = |error: io::Error| Fault::io("noting what runs", &error);
    let mut noted = Vec::new();
    for (number, it) in programs.iter().enumerate() {
        fs::write(place.join(format!("screen.{number}")), &it.screen).map_err(fault)?;
        let (cols, rows) = (it.size.cols(), it.size.rows());
        noted.push(Noted { key: it.key.clone(), command: it.command.clone(), cols, rows });
    }
    let text = serde_json::to_vec(&noted).map_err(|error| fault(error.into()))?;
    if text.len() as u64 > META_BYTES_MAX {
        return Err(Fault::failed("the commands of what runs are too long to be noted"));
    }
    fs::write(place.join(PROGRAMS), text).map_err(fault)
}

/// What ran when a snapshot was taken.
fn programs(shelf: &Path) -> Outcome<Vec<Slept>> {
    let place = shelf.join(MEMORY);
    let text = read(&place.join(PROGRAMS), META_BYTES_MAX)?;
    let noted: Vec<Noted> = serde_json::from_slice(&text)
        .map_err(|error| Fault::invalid(format!("reading {}: {error}", place.display())))?;
    let with_screen = |(number, it): (usize, Noted)| {
        Ok(Slept {
            printed: 0,
            screen: read(&place.join(format!("screen.{number}")), 4 * KEYFRAME_BYTES_MAX as u64)?,
            key: it.key,
            command: it.command,
            size: Size::clamped(it.cols, it.rows),
        })
    };
    noted.into_iter().take(SESSIONS_PER_SANDBOX_MAX).enumerate().map(with_screen).collect()
}

fn read(file: &Path, bytes_max: u64) -> Outcome<Vec<u8>> {
    let fault = |error: io::Error| Fault::io(format!("reading {}", file.display()), &error);
    if fs::metadata(file).map_err(fault)?.len() > bytes_max {
        return Err(Fault::invalid(format!("too large: {}", file.display())));
    }
    fs::read(file).map_err(fault)
}

/// Moves what was written down to the shelf it is for; how much that is on disk, in bytes.
pub fn pass_on(ground: &Path, shelf: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt;
    let fault = |error: io::Error| Fault::io("keeping what its programs have in memory", &error);
    let to = shelf.join(MEMORY);
    fs::rename(ground.join(MEMORY), &to).map_err(fault)?;
    let mut bytes = 0;
    for item in fs::read_dir(&to).map_err(fault)? {
        let item = item.map_err(fault)?;
        File::open(item.path()).and_then(|it| it.sync_all()).map_err(fault)?;
        bytes += item.metadata().map_err(fault)?.blocks() * 512;
    }
    Ok(bytes)
}
