//! Tells which directories changed, by the kernel: one instance of inotify for the whole hub, for there may be few,
//! read by one thread that sleeps when nothing happens. What is watched is the directory that was opened, not its
//! name: no link leads the hub elsewhere.

use std::{
    collections::{BTreeSet, HashMap},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use rustix::{
    fs::{
        OFlags,
        inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    },
    io::Errno,
};
use tokio::sync::Notify;

use super::reach::{Reach, by_number};
use crate::{
    base::{
        fault::Outcome,
        limits::{FILE_WATCHES_MAX, FILES_NEWS_EVERY_MIN},
    },
    driver::files::{Pieces, told_by},
};

const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Who is to hear, and what it calls the directory.
type Listener = (Arc<Bell>, usize);

/// What one watch has not told yet.
#[derive(Default)]
struct Bell {
    changed: Mutex<BTreeSet<usize>>,
    rung: Notify,
}

impl Bell {
    fn ring(&self, at: usize) {
        lock(&self.changed).insert(at);
        self.rung.notify_one();
    }
}

/// The hub's one instance.
struct Kernel {
    instance: OwnedFd,
    /// By the kernel's number of a directory, which two watches of the same one share.
    listeners: Mutex<HashMap<i32, Vec<Listener>>>,
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `None` where this kernel has none left.
fn kernel() -> Option<&'static Kernel> {
    static KERNEL: OnceLock<Option<Kernel>> = OnceLock::new();
    static HEARS: OnceLock<bool> = OnceLock::new();
    let kernel = KERNEL.get_or_init(|| {
        let instance = inotify::init(CreateFlags::CLOEXEC);
        let instance =
            instance.inspect_err(|error| tracing::warn!(%error, "nothing can be watched"));
        Some(Kernel { instance: instance.ok()?, listeners: Mutex::default() })
    });
    let kernel = kernel.as_ref()?;
    let hears = HEARS.get_or_init(|| {
        let thread = std::thread::Builder::new().name("watch".to_owned());
        thread.spawn(|| hear(kernel)).is_ok()
    });
    hears.then_some(kernel)
}

fn hear(kernel: &Kernel) {
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    let mut reader = inotify::Reader::new(&kernel.instance, &mut buffer);
    loop {
        let (number, flags) = match reader.next() {
            Ok(event) => (event.wd(), event.events()),
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(error) => return tracing::error!(%error, "nothing is watched any more"),
        };
        let mut listeners = lock(&kernel.listeners);
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            // Nobody knows what was missed.
            listeners.values().flatten().for_each(|(bell, at)| bell.ring(*at));
            continue;
        }
        for (bell, at) in listeners.get(&number).into_iter().flatten() {
            bell.ring(*at);
        }
        if flags.contains(ReadFlags::IGNORED) {
            // It is gone; who lists it again learns of it.
            listeners.remove(&number);
        }
    }
}

/// A watch over some directories, until it is dropped.
pub struct Watch {
    kernel: &'static Kernel,
    bell: Arc<Bell>,
    numbers: Vec<i32>,
}

/// Begins to watch those that are there; `None` where the kernel can't watch them all.
pub fn begin(reach: &Reach, paths: &[Vec<u8>]) -> Outcome<Option<Watch>> {
    let Some(kernel) = kernel() else { return Ok(None) };
    let mut watch = Watch { kernel, bell: Arc::default(), numbers: Vec::new() };
    for (at, path) in paths.iter().enumerate() {
        let opened = reach.try_open(path, OFlags::PATH | OFlags::DIRECTORY)?;
        // What is not there has no news; the directory it was in has.
        let Ok(directory) = opened else { continue };
        let mut listeners = lock(&kernel.listeners);
        if listeners.len() >= FILE_WATCHES_MAX {
            return Ok(None);
        }
        match inotify::add_watch(&kernel.instance, by_number(&directory), EVENTS) {
            Ok(number) => {
                listeners.entry(number).or_default().push((Arc::clone(&watch.bell), at));
                drop(listeners);
                watch.numbers.push(number);
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(watch))
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut listeners = lock(&self.kernel.listeners);
        for number in &self.numbers {
            let Some(some) = listeners.get_mut(number) else { continue };
            some.retain(|it| !Arc::ptr_eq(&it.0, &self.bell));
            if some.is_empty() {
                listeners.remove(number);
                // It may have ended by itself.
                let _ = inotify::remove_watch(&self.kernel.instance, *number);
            }
        }
    }
}

impl Watch {
    pub fn told(self) -> Pieces<Vec<usize>> {
        told_by(move |news| async move {
            loop {
                tokio::select! {
                    () = news.closed() => return,
                    () = self.bell.rung.notified() => {}
                }
                let changed = std::mem::take(&mut *lock(&self.bell.changed));
                if changed.is_empty() {
                    continue;
                }
                if news.send(Ok(changed.into_iter().collect())).await.is_err() {
                    return;
                }
                // The first is told at once, those that follow it together.
                tokio::time::sleep(FILES_NEWS_EVERY_MIN).await;
            }
        })
    }
}
