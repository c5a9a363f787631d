//! `proto`: the Rust of the wire, made without protoc and committed, so that users need neither.

use std::{fs, path::PathBuf};

use prost::Message;

use crate::{Done, root, write_or_check};

const PROTOS: &[&str] = &["sandwatch/v1/sandwatch.proto", "sandwatch/shim/v1/shim.proto"];
const MADE: &[&str] = &["sandwatch.v1.rs", "sandwatch.shim.v1.rs", "descriptor.bin"];
/// Another's: what a gateway is told and asked.
const GATEWAY: &str = "openshell/v1/openshell.proto";
const MADE_OF_IT: &str = "openshell.v1.rs";

pub fn run(check: bool) -> Done {
    let out = root().join("target/xtask-proto");
    fs::create_dir_all(&out)?;
    let descriptors = protox::compile(PROTOS, [root().join("proto")])?;
    fs::write(out.join("descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .out_dir(&out)
        .bytes(".")
        .build_client(true)
        .build_server(true)
        // It says nothing of what is in it; see wire/convert/secret.rs.
        .skip_debug([".sandwatch.v1.GivenSecret"])
        .compile_fds(descriptors)?;
    let mut files = Vec::new();
    for name in MADE {
        files.push((PathBuf::from("src/wire/generated").join(name), fs::read(out.join(name))?));
    }
    tonic_prost_build::configure()
        .out_dir(&out)
        .bytes(".")
        .build_client(true)
        // For the gateway in tests.
        .build_server(true)
        .compile_fds(protox::compile([GATEWAY], [root().join("proto")])?)?;
    let made = PathBuf::from("src/driver/openshell/generated").join(MADE_OF_IT);
    files.push((made, fs::read(out.join(MADE_OF_IT))?));
    write_or_check(files, check, "proto")
}
