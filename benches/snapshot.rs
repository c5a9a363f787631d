//! Snapshots and forks of a sandbox on a large workspace, through the whole program, against copies of the workspace
//! by other means. `cargo bench --bench snapshot [-- --rounds N --files N --mb N --only snapshot,cp]`
#![allow(
    clippy::restriction,
    clippy::disallowed_methods,
    reason = "a tool for developers may stop, print, wait and read the clock"
)]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use common::{chosen, inner, load, median, millis, option, spread, subject::Home};

/// How much of the workspace a sandbox has changed: the name of its subjects, files and bytes of each.
const CHANGED: &[(&str, usize, usize)] = &[("little", 20, 2_000), ("some", 300, 33_000)];
const SUBJECTS: &[&str] = &[
    "little-snapshot",
    "little-fork",
    "some-snapshot",
    "some-fork",
    "all-snapshot",
    "cp",
    "reflink",
    "btrfs",
];

fn main() {
    inner::run_if_asked();
    let rounds: usize = option("--rounds", 10);
    let (files, megabytes): (usize, usize) = (option("--files", 10_000), option("--mb", 500));
    let subjects = chosen(SUBJECTS);
    let mut home = Home::new();
    let tree = home.path().join("tree");
    fill(&tree, files, megabytes * 1_000_000 / files);
    let disk =
        subjects.iter().any(|it| it == "btrfs").then(|| Btrfs::mount(&home, &tree)).flatten();
    println!(
        "a workspace of {files} files, {megabytes} MB; medians of {rounds} rounds in ms, load {}",
        load()
    );
    home.verb(&["hub", "start"]);
    for (name, count, bytes) in CHANGED {
        begin(&mut home, &tree, name);
        let script =
            format!("for i in $(seq {count}); do head -c {bytes} /dev/urandom > changed$i; done");
        home.verb(&["exec", name, "--", "sh", "-c", &script]);
    }
    if subjects.iter().any(|it| it == "all-snapshot") {
        begin(&mut home, &tree, "all");
        home.verb(&["exec", "all", "--", "sh", "-c", "find . -type f -exec touch {} +"]);
    }
    let mut results = vec![Vec::new(); subjects.len()];
    for round in 0..rounds {
        for (name, samples) in subjects.iter().zip(&mut results) {
            samples.extend(one(&mut home, &tree, disk.as_ref(), name, round));
        }
    }
    for (name, samples) in subjects.iter().zip(&results).filter(|it| !it.1.is_empty()) {
        println!("  {name:16} {:9.1} ±{:3.0} %", median(samples), spread(samples) * 100.0);
    }
    drop(disk);
}

fn begin(home: &mut Home, tree: &Path, name: &str) {
    let place = tree.display().to_string();
    home.verb(&[
        "run",
        "-d",
        "--name",
        name,
        "--workspace",
        &place,
        "--egress",
        "deny",
        "--",
        "sh",
        "-c",
        "sleep 100000",
    ]);
}

/// One sample; `None` where the machine can't.
fn one(
    home: &mut Home,
    tree: &Path,
    disk: Option<&Btrfs>,
    name: &str,
    round: usize,
) -> Option<f64> {
    let copy = home.path().join("copy");
    let timed = |command: &mut Command| {
        let at = Instant::now();
        let done = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        done.success().then(|| millis(at.elapsed()))
    };
    let took = match name {
        "cp" => timed(Command::new("cp").arg("-a").arg(tree).arg(&copy)),
        "reflink" => {
            timed(Command::new("cp").args(["-a", "--reflink=always"]).arg(tree).arg(&copy))
        }
        "btrfs" => disk?.snapshot(round),
        verb => {
            let (sandbox, what) = verb.split_once('-').unwrap();
            match what {
                "fork" => {
                    let fork = format!("{sandbox}-{round}");
                    let at = Instant::now();
                    home.verb(&["fork", sandbox, "-d", "--name", &fork]);
                    let took = millis(at.elapsed());
                    home.verb(&["rm", "--yes", &fork]);
                    Some(took)
                }
                _ => {
                    let at = Instant::now();
                    home.verb(&["snapshot", "create", sandbox]);
                    Some(millis(at.elapsed()))
                }
            }
        }
    };
    if copy.exists() {
        fs::remove_dir_all(&copy).unwrap();
    }
    took
}

fn fill(tree: &Path, files: usize, bytes: usize) {
    let mut seed = 88_172_645_463_325_252_u64;
    for number in 0..files {
        let place = tree.join(format!("d{}", number / 100));
        fs::create_dir_all(&place).unwrap();
        let contents: Vec<u8> = (0..bytes.div_ceil(8))
            .flat_map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed.to_le_bytes()
            })
            .collect();
        fs::write(place.join(format!("f{number}")), contents).unwrap();
    }
}

/// A disk in a file, with the tree as a subvolume.
struct Btrfs {
    at: PathBuf,
}

impl Btrfs {
    fn mount(home: &Home, tree: &Path) -> Option<Self> {
        let (image, at) = (home.path().join("image"), home.path().join("btrfs"));
        fs::create_dir(&at).unwrap();
        fs::File::create(&image).unwrap().set_len(2 << 30).unwrap();
        let run = |program: &str, args: &[&Path]| {
            let mut command = Command::new(program);
            command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|it| it.success())
        };
        let made = run("mkfs.btrfs", &[&image])
            && run("mount", &[Path::new("-o"), Path::new("loop"), &image, &at]);
        if !made {
            return None;
        }
        let disk = Self { at };
        let volume = disk.at.join("tree");
        let filled = run("btrfs", &[Path::new("subvolume"), Path::new("create"), &volume])
            && run("cp", &[Path::new("-a"), &tree.join("."), &volume]);
        filled.then_some(disk)
    }

    fn snapshot(&self, round: usize) -> Option<f64> {
        let at = Instant::now();
        let mut command = Command::new("btrfs");
        command.args(["subvolume", "snapshot"]).arg(self.at.join("tree"));
        let done = command.arg(self.at.join(format!("copy{round}"))).stdout(Stdio::null()).status();
        done.is_ok_and(|it| it.success()).then(|| millis(at.elapsed()))
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.at).status());
    }
}
