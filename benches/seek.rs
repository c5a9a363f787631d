//! Seeks in recordings of an hour: the screen at 200 random moments, of a program that prints all the time, of one that draws a
//! screen all the time, and of a quiet one; and a text that stands only once. In this process, files as the page cache has
//! them. `cargo bench --bench seek [-- --seeks N --mb N --only busy,drawn,quiet]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::{path::Path, time::Instant};

use common::{chosen, load, millis, option, quantile};
use sandwatch::{
    base::{clock::Timestamp, units::Size},
    model::replay::{FindRequest, Moment},
    session::journal::{self, Writer},
    vt::Screen,
};

const HOUR: i64 = 3600 * 1000;
const SUBJECTS: &[&str] = &["busy", "drawn", "quiet"];
/// Printed once, half way.
const NEEDLE: &str = "the one needle";

fn main() {
    let seeks: u64 = option("--seeks", 200);
    let megabytes: usize = option("--mb", 250);
    let home = tempfile::tempdir().unwrap();
    println!("an hour in {megabytes} MB at most; {seeks} random seeks, in ms; load {}", load());
    println!("{:>8} {:>9} {:>8} {:>8} {:>8} {:>8}", "", "on disk", "p50", "p99", "max", "find");
    for name in chosen(SUBJECTS) {
        let dir = home.path().join(&name);
        record(&dir, &name, megabytes * 1_000_000);
        let bytes: u64 =
            dir.read_dir().unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
        let mut random = 88_172_645_463_325_252_u64;
        let times: Vec<f64> = (0..seeks)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = Timestamp((random % HOUR.cast_unsigned()).cast_signed());
                let began = Instant::now();
                let found = journal::replay(&dir, Moment::At(at)).unwrap();
                assert!(found.at <= at);
                millis(began.elapsed())
            })
            .collect();
        let part = |it: f64| quantile(&times, it);
        let began = Instant::now();
        find(&dir);
        let found = millis(began.elapsed());
        println!(
            "{name:>8} {:>6} MB {:>8.2} {:>8.2} {:>8.2} {found:>8.1}",
            bytes / 1_000_000,
            part(0.5),
            part(0.99),
            part(1.0)
        );
    }
}

/// Looks through the whole recording, as a console does: page by page.
fn find(dir: &Path) {
    let mut from = 0;
    loop {
        let request = FindRequest { pattern: NEEDLE.to_owned(), from, backwards: false };
        let page = journal::find(dir, &request).unwrap();
        match (page.hit, page.next) {
            (Some(_), _) => return,
            (None, Some(next)) => from = next,
            (None, None) => panic!("it is there"),
        }
    }
}

/// Writes an hour as the host of a session does.
fn record(dir: &Path, kind: &str, megabytes: usize) {
    let size = Size::clamped(200, 50);
    let mut writer = Writer::create(dir, u64::MAX).unwrap();
    let mut screen = Screen::new(size);
    // Quiet: a prompt every ten seconds.
    let (piece, pieces) = match kind {
        "quiet" => (64, 360),
        _ => (8 * 1024, megabytes / (8 * 1024)),
    };
    for number in 0..pieces {
        let at = Timestamp(HOUR * number.cast_signed() as i64 / pieces.cast_signed() as i64);
        if writer.wants_keyframe() {
            writer.keyframe(at, size, screen.keyframe().into());
        }
        let mut bytes = block(kind, number, piece);
        if number == pieces / 2 {
            bytes.extend_from_slice(NEEDLE.as_bytes());
        }
        screen.feed(&bytes);
        writer.output(at, &bytes);
    }
}

fn block(kind: &str, number: usize, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 64);
    let mut line = 0;
    while out.len() < bytes {
        line += 1;
        let text = match kind {
            "drawn" => format!(
                "\x1b[{};{}H\x1b[38;5;{}mcell {number} {line}\x1b[0m\x1b[K",
                line % 50 + 1,
                line * 7 % 180 + 1,
                (number + line) % 256
            ),
            _ => format!(
                "\x1b[3{}m{number:08}\x1b[0m compiling crate number {line} of many\r\n",
                line % 8
            ),
        };
        out.extend_from_slice(text.as_bytes());
    }
    out
}
