//! How fast a screen takes output, by kind of stream, beside vt100 alone: MB/s of `Screen::feed` at
//! 200x50, medians of interleaved rounds. `cargo bench --bench vt [-- --rounds N] [--only NAME]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

use std::{
    num::NonZeroU16,
    time::{Duration, Instant},
};

use sandwatch::{base::units::Size, vt::Screen};

const COLS: u16 = 200;
const ROWS: u16 = 50;
/// What a session host reads at most at once.
const CHUNK: usize = 32 * 1024;
const BYTES: usize = 8 << 20;

fn main() {
    let flag = |name| std::env::args().skip_while(move |it| it != name).nth(1);
    let rounds: usize = flag("--rounds").and_then(|it| it.parse().ok()).unwrap_or(5);
    let only = flag("--only");
    println!("{:14} {:>9} {:>9} {:>9}", "MB/s", "vt100", "ours", "ours 4K");
    let wanted = |name: &str| only.as_deref().is_none_or(|it| it == name);
    for (name, piece) in streams().into_iter().filter(|it| wanted(it.0)) {
        let stream: Vec<u8> = piece.bytes().cycle().take(BYTES).collect();
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..rounds {
            rates[0].push(rate(|| bare(&stream)));
            rates[1].push(rate(|| ours(&stream, CHUNK)));
            rates[2].push(rate(|| ours(&stream, 4096)));
        }
        let [bare, ours, small] = rates.map(|mut it| {
            it.sort_by(f64::total_cmp);
            it[it.len() / 2]
        });
        println!("{name:14} {bare:9.0} {ours:9.0} {small:9.0}");
    }
    let mut screen = Screen::new(Size::clamped(COLS, ROWS));
    screen.feed(streams()[3].1.as_bytes());
    let (state, took) = timed(|| screen.keyframe());
    let (_, back) = timed(|| Screen::from_keyframe(screen.size(), &state));
    println!(
        "keyframe of a dense screen: {} bytes, {took:?} to write, {back:?} to read",
        state.len()
    );
}

fn timed<T>(mut what: impl FnMut() -> T) -> (T, Duration) {
    let at = Instant::now();
    let it = what();
    (it, at.elapsed())
}

fn rate(what: impl FnMut()) -> f64 {
    BYTES as f64 / 1e6 / timed(what).1.as_secs_f64()
}

fn bare(stream: &[u8]) {
    let side = |it| NonZeroU16::new(it).unwrap();
    let mut parser = vt100::Parser::new(side(ROWS), side(COLS), 0);
    for chunk in stream.chunks(CHUNK) {
        parser.process(chunk);
    }
}

fn ours(stream: &[u8], chunk: usize) {
    let mut screen = Screen::new(Size::clamped(COLS, ROWS));
    for chunk in stream.chunks(chunk) {
        screen.feed(chunk);
    }
}

/// A screenful or so of each kind of output.
fn streams() -> Vec<(&'static str, String)> {
    let mut source = String::new();
    let mut tokens = String::new();
    let mut dense = String::from("\x1b[H");
    for line in 0..400 {
        source.push_str(&format!(
            "    let value_{line} = compute({line}, &mut state)?; // step {line}\r\n"
        ));
        tokens.push_str(&format!(
            "\x1b[34mlet\x1b[0m \x1b[1mv{line}\x1b[0m = \x1b[33m{line}\x1b[0m;\r\n"
        ));
    }
    for cell in 0..u32::from(COLS) * u32::from(ROWS) {
        let (red, green) = (cell % 256, cell / 256);
        dense.push_str(&format!("\x1b[38;2;{red};{green};9;48;2;{green};{red};99m#"));
    }
    let redraw = (1..50)
        .map(|row| format!("\x1b[{row};1H\x1b[2K\x1b[32m●\x1b[m working on step {row}"))
        .collect();
    vec![
        ("yes", "y\r\n".into()),
        ("source lines", source),
        ("SGR tokens", tokens),
        ("dense RGB", dense),
        ("TUI redraws", redraw),
        ("long lines", "0123456789abcdef".repeat(4000) + "\r\n"),
        ("CJK", "中文字符日本語テキスト한국어\r\n".repeat(40)),
        (
            "margins",
            "\x1b[?69h\x1b[1;99s\x1b[2;49r\x1b[S\x1b[49;1Hnew line of a split\x1b[?69l\x1b[r"
                .into(),
        ),
        ("line drawing", "\x1b(0lqqqqqqqqqqk\x1b(B text\r\n".repeat(40)),
    ]
}
