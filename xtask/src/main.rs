//! Chores of the project that its users need not run: `cargo run -p xtask -- proto [--check]`.
use std::{fs, path::Path, process::ExitCode};

const FILES: &[&str] = &["sandwatch/v1/sandwatch.proto", "sandwatch/shim/v1/shim.proto"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let check = args.iter().any(|it| it == "--check");
    let done = match args.first().map(String::as_str) {
        Some("proto") => proto(check),
        _ => Err("usage: cargo run -p xtask -- proto [--check]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes src/wire/generated from proto/; with `check` only compares.
fn proto(check: bool) -> Result<(), Box<dyn std::error::Error>> {
    use prost::Message;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = root.join("target/xtask-proto");
    fs::create_dir_all(&out)?;
    let present = FILES.iter().filter(|it| root.join("proto").join(it).exists());
    let descriptors = protox::compile(present, [root.join("proto")])?;
    fs::write(out.join("descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .out_dir(&out)
        .bytes(".")
        .build_client(true)
        .build_server(true)
        .compile_fds(descriptors)?;
    let committed = root.join("src/wire/generated");
    let mut stale = Vec::new();
    for name in ["sandwatch.v1.rs", "sandwatch.shim.v1.rs", "descriptor.bin"] {
        if !out.join(name).exists() {
            continue;
        }
        let fresh = fs::read(out.join(name))?;
        if fs::read(committed.join(name)).ok().as_deref() != Some(&fresh) {
            if check {
                stale.push(name);
            } else {
                fs::write(committed.join(name), fresh)?;
            }
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("not what proto/ gives: {}; run `cargo run -p xtask -- proto`", stale.join(", "))
        .into())
}
