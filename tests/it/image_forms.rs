//! A small root file system with one static program, in every form that `--image` takes.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const BUSYBOX: &str = "/usr/bin/busybox";
const PROGRAMS: [&str; 22] = [
    "sh", "cat", "echo", "ls", "id", "env", "mkdir", "rm", "touch", "sleep", "stat", "pwd", "true",
    "chmod", "ln", "mv", "hostname", "readlink", "test", "whoami", "dd", "mkfifo",
];

/// Whether this machine has the program; says so where it has not.
pub(crate) fn can() -> bool {
    let there = Path::new(BUSYBOX).exists();
    if !there {
        crate::skip::skipped("no busybox (apt-get install busybox-static)");
    }
    there
}

/// The root file system itself.
pub(crate) fn root(at: &Path) -> PathBuf {
    let root = at.join("rootfs");
    for dir in ["bin", "etc", "usr/bin", "srv/app", "var/lib", "opt"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    fs::set_permissions(root.join("bin/busybox"), fs::Permissions::from_mode(0o755)).unwrap();
    for name in PROGRAMS {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    let passwd = "root:x:0:0::/root:/bin/sh\nagent:x:1234:77::/srv/agent:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nstaff:x:77:\n").unwrap();
    fs::write(root.join("etc/release"), "the image's\n").unwrap();
    fs::write(root.join("etc/hostname"), "of-the-image\n").unwrap();
    fs::write(root.join("opt/gone"), "below\n").unwrap();
    symlink("/etc/release", root.join("srv/link")).unwrap();
    root
}

/// An archive of a directory.
pub(crate) fn tar(of: &Path, to: &Path) {
    let made = Command::new("tar")
        .arg("-C")
        .arg(of)
        .args(["--owner=0", "--group=0", "--sort=name", "-cf"])
        .arg(to)
        .arg(".")
        .status()
        .unwrap();
    assert!(made.success());
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

pub(crate) fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|it| format!("{it:02x}")).collect()
}

/// The layers of an image: the root file system, and one over it that deletes and adds.
fn layers(at: &Path) -> [Vec<u8>; 2] {
    let base = at.join("base.tar");
    if !base.exists() {
        tar(&at.join("rootfs"), &base);
    }
    let over = at.join("over");
    fs::create_dir_all(over.join("opt")).unwrap();
    fs::create_dir_all(over.join("etc")).unwrap();
    fs::write(over.join("opt/.wh.gone"), "").unwrap();
    fs::write(over.join("opt/new"), "above\n").unwrap();
    fs::write(over.join("etc/release"), "the image's\n").unwrap();
    tar(&over, &at.join("over.tar"));
    [fs::read(base).unwrap(), fs::read(at.join("over.tar")).unwrap()]
}

fn config(layers: &[Vec<u8>], run: &Value) -> Vec<u8> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let sums: Vec<_> = layers.iter().map(|it| format!("sha256:{}", sum(it))).collect();
    let described = json!({
        "architecture": architecture,
        "os": "linux",
        "config": run,
        "rootfs": { "type": "layers", "diff_ids": sums },
    });
    serde_json::to_vec(&described).unwrap()
}

/// What programs of the images here get and are.
pub(crate) fn usual() -> Value {
    json!({
        "Env": ["PATH=/bin", "FROM_IMAGE=yes"],
        "WorkingDir": "/srv/app",
        "User": "agent",
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo begun by the image; exec sleep 1000"],
    })
}

/// A layout of OCI as a directory, its layers packed.
pub(crate) fn oci(at: &Path, run: &Value) -> PathBuf {
    let layout = at.join("layout");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], kind: &str| {
        let name = sum(bytes);
        fs::write(blobs.join(&name), bytes).unwrap();
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": format!("sha256:{name}"),
            "size": bytes.len(),
        })
    };
    let layers = layers(at);
    let packed: Vec<_> = layers.iter().map(|it| put(&gzip(it), "layer.v1.tar+gzip")).collect();
    let config = put(&config(&layers, run), "config.v1+json");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": packed });
    let manifest = put(&serde_json::to_vec(&manifest).unwrap(), "manifest.v1+json");
    let mut other = manifest.clone();
    other["platform"] = json!({ "os": "plan9", "architecture": "mips" });
    other["digest"] = json!(format!("sha256:{}", sum(b"not here")));
    let index = json!({ "schemaVersion": 2, "manifests": [other, manifest] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    layout
}

/// What `docker save` of older versions writes.
pub(crate) fn docker(at: &Path, run: &Value) -> PathBuf {
    let saved = at.join("saved");
    let layers = layers(at);
    let mut names = Vec::new();
    for layer in &layers {
        let name = sum(layer);
        fs::create_dir_all(saved.join(&name)).unwrap();
        fs::write(saved.join(&name).join("layer.tar"), layer).unwrap();
        names.push(format!("{name}/layer.tar"));
    }
    let config = config(&layers, run);
    let name = format!("{}.json", sum(&config));
    fs::write(saved.join(&name), config).unwrap();
    let manifest = json!([{ "Config": name, "RepoTags": ["x:latest"], "Layers": names }]);
    fs::write(saved.join("manifest.json"), manifest.to_string()).unwrap();
    saved
}

/// An archive of one of these.
pub(crate) fn packed(of: &Path) -> PathBuf {
    let to = of.with_extension("tar");
    tar(of, &to);
    to
}

/// A file packed by gzip.
pub(crate) fn gzipped(file: &Path) -> PathBuf {
    let to = file.with_extension("tar.gz");
    File::create(&to).unwrap().write_all(&gzip(&fs::read(file).unwrap())).unwrap();
    to
}
