//! A link between two network namespaces of the bench's own: a TUN device in each, and between them a forwarder that
//! holds every packet back and loses some, by a seeded generator. Needs root.
#![allow(unsafe_code, reason = "namespaces and devices have no safe interface")]

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::AsRawFd,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

/// The hub's end of it.
pub const FAR: &str = "10.77.0.1";
const NEAR: &str = "10.77.0.2";
/// Packets under way in one direction; what comes beyond is lost, as in a router.
const QUEUED_MAX: usize = 1000;
/// Larger than any packet of a device with its usual MTU.
const PACKET_BYTES_MAX: usize = 4096;

/// What happens to packets.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    /// There and back.
    pub round_trip: Duration,
    /// Of 100 packets in either direction.
    pub lost_percent: u64,
    /// Nothing passes, and nothing is said of it.
    pub black_hole: bool,
}

/// One end.
struct End {
    namespace: File,
    /// Bytes of packets that came here.
    came: Arc<AtomicU64>,
}

pub struct Link {
    near: End,
    far: End,
    weather: Arc<Mutex<Weather>>,
}

/// Makes both namespaces and carries packets until the process ends.
pub fn link() -> io::Result<Link> {
    let (near, near_device) = end(NEAR, FAR)?;
    let (far, far_device) = end(FAR, NEAR)?;
    let weather = Arc::new(Mutex::new(Weather::default()));
    forward(near_device.try_clone()?, far_device.try_clone()?, 1, &weather, &far.came);
    forward(far_device, near_device, 2, &weather, &near.came);
    Ok(Link { near, far, weather })
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A namespace with a device that leads to the other.
fn end(own: &str, other: &str) -> io::Result<(End, File)> {
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    const TUN_WITHOUT_HEADER: i16 = 0x1001;
    let made = || {
        // SAFETY: takes no pointer; it moves this thread alone.
        done(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
        let namespace = File::open("/proc/thread-self/ns/net")?;
        let device = File::options().read(true).write(true).open("/dev/net/tun")?;
        let mut request = [0_u8; 40];
        request[..4].copy_from_slice(b"tun0");
        request[16..18].copy_from_slice(&TUN_WITHOUT_HEADER.to_ne_bytes());
        // SAFETY: the request is as large as the kernel's `ifreq`, and outlives the call.
        done(unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) })?;
        for words in [
            format!("address add {own} peer {other} dev tun0"),
            "link set tun0 up".to_owned(),
            "link set lo up".to_owned(),
        ] {
            let done = Command::new("ip").args(words.split(' ')).status()?;
            if !done.success() {
                return Err(io::Error::other(format!("ip {words}")));
            }
        }
        Ok((End { namespace, came: Arc::default() }, device))
    };
    std::thread::scope(|scope| scope.spawn(made).join().unwrap())
}

fn forward(
    mut from: File,
    mut to: File,
    seed: u64,
    weather: &Arc<Mutex<Weather>>,
    came: &Arc<AtomicU64>,
) {
    let (weather, came) = (weather.clone(), came.clone());
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(QUEUED_MAX);
    std::thread::spawn(move || {
        let mut packet = [0; PACKET_BYTES_MAX];
        let mut state = seed;
        while let Ok(count @ 1..) = from.read(&mut packet) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let now = *weather.lock().unwrap();
            if !now.black_hole && state % 100 >= now.lost_percent {
                let due = Instant::now() + now.round_trip / 2;
                drop(sender.try_send((due, packet[..count].to_vec())));
            }
        }
    });
    std::thread::spawn(move || {
        for (due, packet) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            came.fetch_add(packet.len() as u64, Ordering::Relaxed);
            // A device that is going down takes none.
            drop(to.write_all(&packet));
        }
    });
}

impl Link {
    pub fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    /// Nothing passes from now on, or all as before.
    pub fn black_hole(&self, holds: bool) {
        self.weather.lock().unwrap().black_hole = holds;
    }

    /// Bytes that came to the near end so far, with the headers of their packets.
    pub fn came_near(&self) -> u64 {
        self.near.came.load(Ordering::Relaxed)
    }

    /// Does something where the hub is; what it starts stays there.
    pub fn far<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.far.inside(work)
    }

    /// Does something where the clients are.
    pub fn near<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.near.inside(work)
    }
}

impl End {
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let moved = || {
            // SAFETY: takes no pointer; it moves this thread alone.
            done(unsafe { libc::setns(self.namespace.as_raw_fd(), libc::CLONE_NEWNET) }).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(moved).join().unwrap())
    }
}
