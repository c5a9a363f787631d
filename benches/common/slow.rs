//! A link that takes its time: stands in for a unix socket and passes all bytes on later.

use std::{
    fs,
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant},
};

/// Puts the socket back in its place when dropped.
pub struct Link {
    socket: PathBuf,
    real: PathBuf,
}

/// Every byte to and from `socket` arrives `delay` later.
pub fn link(socket: &Path, delay: Duration) -> Link {
    let real = socket.with_extension("real");
    fs::rename(socket, &real).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    let there = real.clone();
    std::thread::spawn(move || {
        while let Ok((here, _)) = listener.accept() {
            let Ok(there) = UnixStream::connect(&there) else { return };
            pass(here.try_clone().unwrap(), there.try_clone().unwrap(), delay);
            pass(there, here, delay);
        }
    });
    Link { socket: socket.to_owned(), real }
}

fn pass(mut from: UnixStream, mut to: UnixStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
    });
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(fs::rename(&self.real, &self.socket));
    }
}
