//! Chores of the project that its users need not run; `cargo run -p xtask` lists them.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

#[cfg(feature = "docs")]
mod docs;
mod picture;
mod proto;

use std::{fs, path::PathBuf, process::ExitCode};

const USAGE: &str = "usage: cargo run -p xtask -- COMMAND
    proto [--check]    src/wire/generated from proto/
    docs [--check]     docs/reference from the tables of the library
    picture            pictures in assets/ from the running console";

/// What a chore comes to.
type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let check = args.iter().any(|it| it == "--check");
    let done = match args.first().map(String::as_str) {
        Some("proto") => proto::run(check),
        #[cfg(feature = "docs")]
        Some("docs") => docs::run(check),
        Some("picture") => picture::run(),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Writes the files that differ; with `check` names them instead and fails.
fn write_or_check(files: Vec<(PathBuf, Vec<u8>)>, check: bool, command: &str) -> Done {
    let mut stale = Vec::new();
    for (path, fresh) in files {
        if fs::read(root().join(&path)).ok().as_deref() == Some(&fresh) {
            continue;
        }
        if check {
            stale.push(path.display().to_string());
        } else {
            fs::write(root().join(&path), fresh)?;
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("out of date: {}; run `cargo run -p xtask -- {command}`", stale.join(", ")).into())
}
