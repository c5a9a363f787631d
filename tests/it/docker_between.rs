//! Somebody between a driver and a real engine: passes everything on, but what a test holds back, until it lets go
//! of it, or everything, when the engine is to be gone.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
};

#[derive(Default)]
struct Orders {
    /// Requests whose first line has all of these words wait.
    held: Option<&'static [&'static str]>,
    /// Of requests whose first line has all of these words nobody hears the answer.
    unheard: Option<&'static [&'static str]>,
    /// How many wait or waited.
    waiting: usize,
    gone: bool,
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
}

/// Ends with the test's process; its socket with this.
pub(crate) struct Between {
    temp: tempfile::TempDir,
    shared: Arc<Shared>,
}

impl Between {
    pub(crate) fn new(engine: PathBuf) -> Self {
        let this = Self { temp: tempfile::tempdir().unwrap(), shared: Arc::default() };
        let listener = UnixListener::bind(this.socket()).unwrap();
        let shared = this.shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (shared, engine) = (shared.clone(), engine.clone());
                // Whoever hangs up ends a connection, and nothing else.
                std::thread::spawn(move || drop(pass(client, &engine, &shared)));
            }
        });
        this
    }

    fn socket(&self) -> PathBuf {
        self.temp.path().join("docker.sock")
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn hold(&self, words: &'static [&'static str]) {
        let mut orders = self.shared.orders.lock().unwrap();
        (orders.held, orders.waiting) = (Some(words), 0);
    }

    /// Keeps from now on what the engine answers to such requests.
    pub(crate) fn keep_answers(&self, words: &'static [&'static str]) {
        self.shared.orders.lock().unwrap().unheard = Some(words);
    }

    /// Whether a request waits.
    pub(crate) fn holds(&self) -> bool {
        self.shared.orders.lock().unwrap().waiting > 0
    }

    /// Lets what waits go on to the engine, also where nobody waits for its answer any more.
    pub(crate) fn release(&self) {
        self.shared.orders.lock().unwrap().held = None;
        self.shared.changed.notify_all();
    }

    pub(crate) fn gone(&self) {
        self.shared.orders.lock().unwrap().gone = true;
    }
}

fn pass(mut client: UnixStream, engine: &Path, shared: &Shared) -> std::io::Result<()> {
    let asked = request(&mut client)?;
    let line = String::from_utf8_lossy(asked.split(|it| *it == b'\n').next().unwrap_or_default())
        .into_owned();
    let mut orders = shared.orders.lock().unwrap();
    if orders.gone {
        return Ok(());
    }
    let is_meant = |words: &'static [&'static str]| words.iter().all(|word| line.contains(word));
    let (held, unheard) = (orders.held.is_some_and(is_meant), orders.unheard.is_some_and(is_meant));
    if held {
        orders.waiting += 1;
        while orders.held.is_some() {
            orders = shared.changed.wait(orders).unwrap();
        }
    }
    drop(orders);
    let mut engine = UnixStream::connect(engine)?;
    engine.write_all(&asked)?;
    if unheard {
        // It has answered by then.
        return engine.read(&mut [0]).map(drop);
    }
    let (mut back, mut to_client) = (engine.try_clone()?, client.try_clone()?);
    let answering = std::thread::spawn(move || {
        let copied = std::io::copy(&mut back, &mut to_client);
        drop(to_client.shutdown(Shutdown::Both));
        copied
    });
    // An engine may give up what nobody waits for: it is to believe that somebody does.
    if !held {
        std::io::copy(&mut client, &mut engine)?;
        engine.shutdown(Shutdown::Write)?;
    }
    drop(answering.join());
    Ok(())
}

/// The head of a request, and its body if its length is told.
fn request(client: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let head = all.windows(END.len()).position(|it| it == END).map(|it| it + END.len());
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&all[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|it| it.strip_prefix("content-length:"));
            let length = length.and_then(|it| it.trim().parse().ok()).unwrap_or(0);
            if all.len() >= head + length {
                return Ok(all);
            }
        }
        match client.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}
