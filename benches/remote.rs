//! Remote: a hub and its console in two network namespaces, over TLS on a link that holds packets back and loses some
//! (`common/tun`), with 100 sandboxes and four panes. `cargo bench --bench remote [-- --sandboxes N --keys N --seconds N]`;
//! needs root, for the link.
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::{
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use common::{
    inner, load, median, millis, option, outer::Outer, quantile, subject::Home, tun, tun::Weather,
};
use rustix::process::{Signal, kill_process};
use sandwatch::{
    base::id::{ClientId, SessionId},
    client::{Client, Opening, Options, Way},
    config::{contexts::Contexts, paths::Paths},
    model::output::{Fidelity, From, Output, OutputRequest},
    runtime::{Identity, Runtime},
};
use tokio_stream::StreamExt;

const PORT: u16 = 7443;
const UP_WITHIN: Duration = Duration::from_secs(60);
const SEEN_WITHIN: Duration = Duration::from_secs(5);
/// Keys in one row: fewer than a pane is wide, and than rows are on screen.
const ROW: usize = 24;
/// Sandboxes that are attached to, one behind the other in the list.
const SAID: usize = 20;
const OBSERVERS: usize = 8;
/// Milliseconds there and back, and packets lost of 100.
const WEATHERS: [(u64, u64); 6] = [(0, 0), (0, 2), (50, 0), (50, 2), (200, 0), (200, 2)];

fn main() {
    inner::run_if_asked();
    let link = match tun::link() {
        Ok(link) => link,
        Err(error) => return println!("skipped: no link can be made here: {error}"),
    };
    let all: usize = option("--sandboxes", 100);
    let keys: usize = option("--keys", 96);
    let seconds = Duration::from_secs(option("--seconds", 8));
    println!("{all} sandboxes, {keys} keys, load {}", load());
    let mut stage = Stage::new(&link);
    stage.home.sandbox("a-echo", &["echo"]);
    for number in 0..SAID.min(all) {
        let word = format!("w{number:02}");
        stage.home.sandbox(&format!("b-{number:02}"), &["said", "--word", &word]);
    }
    for number in SAID + 1..all {
        stage.home.sandbox(&format!("c-{number:03}"), &["idle"]);
    }
    println!("way there and back and what is lost; ms, p50 / p99");
    for (trip, lost_percent) in WEATHERS {
        let round_trip = Duration::from_millis(trip);
        link.set(Weather { round_trip, lost_percent, black_hole: false });
        println!("{trip} ms, {lost_percent} %   load {}", load());
        stage.keys(keys);
        stage.echo("off", keys);
        stage.echo("on", keys);
        stage.attach(round_trip);
    }
    link.set(Weather { round_trip: Duration::from_millis(50), ..Weather::default() });
    stage.silence();
    stage.flood(seconds);
    stage.observers(seconds);
}

/// Both sides.
struct Stage<'a> {
    link: &'a tun::Link,
    /// Where the hub is.
    home: Home,
    /// Where the console is.
    near: tempfile::TempDir,
}

impl<'a> Stage<'a> {
    fn new(link: &'a tun::Link) -> Self {
        let (mut home, near) = (Home::new(), tempfile::tempdir().unwrap());
        let config = home.path().join("config");
        fs::create_dir_all(&config).unwrap();
        let listen = format!("[hub]\nlisten = [\"https://{}:{PORT}\"]\n", tun::FAR);
        fs::write(config.join("config.toml"), listen).unwrap();
        link.far(|| home.verb(&["hub", "start"]));
        let invite = home.verb(&["hub", "invite", "bench", "--role", "admin"]);
        let it = Self { link, home, near };
        it.verb(&["context", "add", "far", "--use", invite.trim()]);
        it
    }

    /// A verb where the console is.
    fn verb(&self, args: &[&str]) -> String {
        let mut verb = Command::new(env!("CARGO_BIN_EXE_sandwatch"));
        verb.args(args).env("SANDWATCH_HOME", self.near.path()).stdin(Stdio::null());
        let out = self.link.near(|| verb.output().unwrap());
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn outer(&self, args: &[&str]) -> Outer {
        let command = [&[env!("CARGO_BIN_EXE_sandwatch"), "--context", "far"], args].concat();
        self.link.near(|| self.home.outer_as(self.near.path(), &command))
    }

    /// A console over that hub alone, with so many panes.
    fn console(&self, panes: &[u8], predict: &str) -> Outer {
        let config = self.near.path().join("config");
        fs::write(config.join("config.toml"), format!("[links]\npredict = \"{predict}\"\n"))
            .unwrap();
        let outer = self.outer(&[]);
        outer.wait_for("rtt", UP_WITHIN);
        outer.wait_for("a-echo", UP_WITHIN);
        outer.send(panes);
        outer.settle(Duration::from_millis(700), Duration::from_secs(6));
        outer
    }

    /// Keys of the console's own, to the picture that shows them.
    fn keys(&self, keys: usize) {
        let outer = self.console(b"4", "off");
        tell("key to frame", &rows(&outer, keys));
    }

    /// Letters typed into a pane, to the cell that shows them.
    fn echo(&self, predict: &str, keys: usize) {
        let outer = self.console(b"4", predict);
        outer.send(b"\r");
        outer.wait_for("echo ready", UP_WITHIN);
        outer.settle(Duration::from_millis(500), SEEN_WITHIN);
        let (mut samples, mut lost, mut ahead) = (Vec::new(), 0, 0);
        for number in 0..keys {
            if number % ROW == 0 {
                // What is guessed is shown once the row was seen to echo.
                outer.press(b"\r", |it| !it.contains('X'), SEEN_WITHIN);
                outer.echo('X', SEEN_WITHIN);
                outer.settle(Duration::from_millis(300), SEEN_WITHIN);
            }
            match outer.echo('X', SEEN_WITHIN) {
                Some(after) => samples.push(millis(after)),
                None => lost += 1,
            }
            ahead += usize::from(outer.underlines('X'));
            std::thread::sleep(Duration::from_millis(30));
        }
        tell(&format!("echo, predict {predict}"), &samples);
        println!("    underlined when seen {ahead} of {keys}, never seen {lost}");
    }

    /// From the choice of another pane to its first frame; and a terminal that is attached from nothing.
    fn attach(&self, round_trip: Duration) {
        let outer = self.console(b"1", "off");
        let (mut samples, mut lost) = (Vec::new(), 0);
        for number in 0..SAID {
            let word = format!("w{number:02}-w{number:02}");
            match outer.press(b"j\r", |it| it.contains(&word), SEEN_WITHIN) {
                Some(after) => samples.push(millis(after)),
                None => lost += 1,
            }
            outer.settle(Duration::from_millis(300), SEEN_WITHIN);
            // Back in the list.
            outer.send(b"\x02d");
            outer.settle(Duration::from_millis(300), SEEN_WITHIN);
        }
        tell("pane to first frame", &samples);
        println!("    wanted {:.0}, never seen {lost}", millis(2 * round_trip) + 50.0);
        drop(outer);
        let cold = (0..5).map(|_| {
            let began = Instant::now();
            self.outer(&["attach", "--read-only", "b-00"]).wait_for("w00-w00", UP_WITHIN);
            millis(began.elapsed())
        });
        tell("attach from nothing", &cold.collect::<Vec<_>>());
    }

    /// A hub that stands still and a link that carries nothing: until it is said, keys meanwhile, and until it goes on.
    fn silence(&mut self) {
        let hub = self.home.hub();
        let outer = self.console(b"4", "off");
        for what in ["hub stopped", "black hole"] {
            let (mut marked, mut back, mut meanwhile) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..3 {
                let silent = |holds| match what {
                    "black hole" => self.link.black_hole(holds),
                    _ => {
                        kill_process(hub, if holds { Signal::STOP } else { Signal::CONT }).unwrap();
                    }
                };
                silent(true);
                marked.extend(outer.press(b"", |it| it.contains("NO HUB"), UP_WITHIN).map(millis));
                meanwhile.extend(rows(&outer, 30));
                silent(false);
                let there = |it: &str| it.contains("rtt") && !it.contains("NO HUB");
                back.extend(outer.press(b"", there, UP_WITHIN).map(millis));
                outer.settle(Duration::from_millis(700), SEEN_WITHIN);
            }
            tell(&format!("{what}: said"), &marked);
            tell("    keys meanwhile", &meanwhile);
            tell("    there again", &back);
        }
    }

    /// What a pane takes in that shows a flood, and a list.
    fn flood(&mut self, seconds: Duration) {
        self.home.sandbox("a-flood", &["flood", "--mb", "0"]);
        for compress in COMPRESSES {
            self.compress(compress);
            let before = self.link.came_near();
            self.verb(&["ls", "--json"]);
            println!("list{compress}: {:.1} kB", (self.link.came_near() - before) as f64 / 1e3);
            let outer = self.console(b"1", "off");
            outer.send(b"j\r");
            outer.settle(Duration::from_millis(500), Duration::from_secs(2));
            let (before, printed) = (self.link.came_near(), self.printed("a-flood"));
            std::thread::sleep(seconds);
            let (came, printed) =
                (self.link.came_near() - before, self.printed("a-flood") - printed);
            let each = |bytes: u64| bytes as f64 / 1e3 / seconds.as_secs_f64();
            println!(
                "flooding pane{compress}: {:.0} kB/s over the link of {:.0} kB/s printed",
                each(came),
                each(printed)
            );
        }
        self.home.verb(&["rm", "--yes", "a-flood"]);
    }

    /// Gives the hub its name anew.
    fn compress(&self, how: &str) {
        let file = self.near.path().join("config/contexts.toml");
        let text = fs::read_to_string(&file).unwrap().replace("compress = true\n", "");
        let wanted = if how.is_empty() { "" } else { "compress = true\n" };
        fs::write(file, text + wanted).unwrap();
    }

    /// What a session of that name has printed so far, in bytes.
    fn printed(&mut self, name: &str) -> u64 {
        self.session(name)["output_bytes"].as_u64().unwrap()
    }

    fn session(&mut self, name: &str) -> serde_json::Value {
        let all: serde_json::Value =
            serde_json::from_str(&self.home.verb(&["ls", "--json"])).unwrap();
        let found = all.as_array().unwrap().iter().find(|it| it["name"] == name);
        found.unwrap()["sessions"][0].clone()
    }

    /// What a flooding program prints with nobody and with eight who watch it, in turns.
    fn observers(&mut self, seconds: Duration) {
        self.home.sandbox("a-flood", &["flood", "--mb", "0"]);
        let id = self.session("a-flood")["id"].as_str().unwrap().to_owned();
        let (mut alone, mut watched) = (Vec::new(), Vec::new());
        let took = AtomicU64::new(0);
        for _ in 0..3 {
            alone.push(self.rate(seconds));
            let over = AtomicBool::new(false);
            let (paths, link) = (Paths::under(self.near.path()), self.link);
            std::thread::scope(|scope| {
                let observers = scope.spawn(|| link.near(|| observe(&paths, &id, &over, &took)));
                while took.swap(0, Ordering::Relaxed) == 0 {
                    std::thread::sleep(Duration::from_millis(20));
                }
                watched.push(self.rate(seconds));
                over.store(true, Ordering::Relaxed);
                observers.join().unwrap();
            });
        }
        self.home.verb(&["rm", "--yes", "a-flood"]);
        let (alone, watched) = (median(&alone), median(&watched));
        println!(
            "a flooding program prints {alone:.1} MB/s alone, {watched:.1} with {OBSERVERS} observers: {:+.0} %; they took \
             {:.2} MB/s in all",
            (watched / alone - 1.0) * 100.0,
            took.load(Ordering::Relaxed) as f64 / 1e6 / seconds.as_secs_f64()
        );
    }

    fn rate(&mut self, seconds: Duration) -> f64 {
        let (began, before) = (Instant::now(), self.printed("a-flood"));
        std::thread::sleep(seconds);
        (self.printed("a-flood") - before) as f64 / 1e6 / began.elapsed().as_secs_f64()
    }
}

/// Without and with.
const COMPRESSES: [&str; 2] = ["", " compressed"];

/// Several clients that read a session's screen, and nothing else.
fn observe(paths: &Paths, id: &str, over: &AtomicBool, took: &AtomicU64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let session = SessionId::parse(id).unwrap();
    let context = Contexts::chosen(paths, Some(&"far".parse().unwrap())).unwrap();
    let one = |number: usize| {
        let (context, session) = (context.clone(), session.clone());
        async move {
            let identity = Identity {
                client: ClientId::random(),
                name: format!("observer {number}"),
                peer: None,
            };
            let way = Way::to(&context, paths).unwrap();
            let opening = Opening { starts: false, careful: false, asks: false };
            let options = Options::new(identity, None);
            let client = Client::reach(way, options, opening).await.unwrap();
            let request =
                OutputRequest { from: From::Now, fidelity: Fidelity::Screen, every_at_least: None };
            let mut outputs = client.output(&session, request).await.unwrap();
            while !over.load(Ordering::Relaxed) {
                let Some(Ok(output)) = outputs.next().await else { panic!("the output ended") };
                let bytes = match output {
                    Output::Chunk { bytes, .. } => bytes.len(),
                    Output::Keyframe { state, .. } => state.len(),
                    _ => 0,
                };
                took.fetch_add(bytes as u64, Ordering::Relaxed);
            }
        }
    };
    let mut all: Vec<_> = (0..OBSERVERS).map(|number| Box::pin(one(number))).collect();
    runtime.block_on(std::future::poll_fn(|context| {
        all.retain_mut(|it| it.as_mut().poll(context).is_pending());
        if all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }));
}

/// One row down or up in the list, so many times: the time to the picture of each.
fn rows(outer: &Outer, keys: usize) -> Vec<f64> {
    let mut samples = Vec::new();
    // From the top, or the list would scroll under the cursor.
    outer.send(b"g");
    outer.settle(Duration::from_millis(200), SEEN_WITHIN);
    for number in 0..keys {
        let key: &[u8] = if (number / ROW).is_multiple_of(2) { b"j" } else { b"k" };
        let before = cursor(&outer.text());
        let after = outer.press(key, |text| cursor(text) != before, SEEN_WITHIN);
        samples.push(after.map_or(f64::INFINITY, millis));
        std::thread::sleep(Duration::from_millis(30));
    }
    samples
}

/// The row of the list that the cursor is on.
fn cursor(text: &str) -> Option<usize> {
    text.lines().position(|it| it.starts_with('>'))
}

fn tell(what: &str, samples: &[f64]) {
    let at = |share| quantile(samples, share);
    println!("  {what:24} {:8.1} / {:8.1}", at(0.5), at(0.99));
}
