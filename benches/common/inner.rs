//! The programs that run inside of panes. Every bench binary can be started as one of them, with
//! `--inner NAME`; `run_if_asked` comes first in its `main`.

use std::io::{Read, Write, stdin, stdout};

use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};

/// Printed by the flood when it is through.
pub const DONE: &str = "@@DONE@@";

/// Becomes the inner program named on the command line, if one is.
pub fn run_if_asked() {
    let name: String = super::option("--inner", String::new());
    match name.as_str() {
        "" => return,
        "echo" => echo(),
        "flood" => flood(super::option("--mb", 200.0), super::option("--kind", "lines".into())),
        "idle" => idle(),
        "said" => said(&super::option("--word", String::new())),
        "hello" => println!("hello"),
        other => panic!("no inner program: {other}"),
    }
    std::process::exit(0);
}

/// No echo and no line discipline, so that only the program's own output comes back.
fn raw() {
    let Ok(mut mode) = tcgetattr(stdin()) else { return };
    mode.make_raw();
    mode.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
    tcsetattr(stdin(), OptionalActions::Now, &mode).unwrap();
}

/// Prints what is typed; Enter clears the line.
fn echo() {
    raw();
    let (mut input, mut output) = (stdin(), stdout());
    output.write_all(b"echo ready\n> ").unwrap();
    output.flush().unwrap();
    let mut bytes = [0_u8; 64];
    while let Ok(count @ 1..) = input.read(&mut bytes) {
        let mut out = Vec::new();
        for &byte in &bytes[..count] {
            match byte {
                b'\r' => out.extend_from_slice(b"\r\x1b[K> "),
                b' '..=b'~' => out.push(byte),
                _ => {}
            }
        }
        output.write_all(&out).unwrap();
        output.flush().unwrap();
    }
}

/// About a megabyte of one kind of output, without capital letters.
fn block(kind: &str) -> Vec<u8> {
    let mut state = 1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = String::new();
    let mut number = 0;
    while text.len() < 1 << 20 {
        number += 1;
        match kind {
            "lines" => {
                text.push_str(&format!("{number:08} "));
                for _ in 0..20 + random() % 90 {
                    let pick = random() % 30;
                    text.push(if pick < 26 { char::from(b'a' + pick as u8) } else { ' ' });
                }
            }
            "colours" => {
                for _ in 0..12 {
                    let pick = char::from(b'a' + (random() % 26) as u8);
                    text.push_str(&format!("\x1b[38;5;{}m", random() % 256));
                    text.extend(std::iter::repeat_n(pick, 6));
                    text.push_str("\x1b[0m ");
                }
            }
            other => panic!("no kind of flood: {other}"),
        }
        text.push('\n');
    }
    text.into_bytes()
}

/// Waits for `g`, prints so many megabytes, says so. Without an end (0 MB) it starts at once.
fn flood(megabytes: f64, kind: String) {
    raw();
    let block = block(&kind);
    let mut output = stdout().lock();
    if megabytes == 0.0 {
        while output.write_all(&block).is_ok() {}
        return;
    }
    output.write_all(b"flood ready\n").unwrap();
    output.flush().unwrap();
    wait_for(b'g');
    let mut left = (megabytes * 1e6) as usize;
    while left > 0 {
        let count = left.min(block.len());
        output.write_all(&block[..count]).unwrap();
        left -= count;
    }
    output.write_all(format!("\x1b[0m\r\n{DONE}\r\n").as_bytes()).unwrap();
    output.flush().unwrap();
    wait_for(b'q');
}

/// A transcript, then silence.
fn idle() {
    raw();
    for line in 0..30 {
        println!("\x1b[3{}mline {line} of an idle transcript\x1b[0m", line % 8);
    }
    println!("idle ready");
    wait_for(b'q');
}

/// A word twice, as no list shows it, then silence.
fn said(word: &str) {
    raw();
    println!("{word}-{word}");
    wait_for(b'q');
}

fn wait_for(wanted: u8) {
    let mut byte = [0_u8];
    while matches!(stdin().read(&mut byte), Ok(1)) && byte[0] != wanted {}
}
