//! Snapshots and forks of a sandbox on a large workspace, through the whole program, against copies of the workspace
//! by other means. `cargo bench --bench snapshot [-- --rounds N --files N --mb N --only some-snapshot,cp]`
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
    "btrfs-cp",
    "btrfs-reflink",
    "btrfs-volume",
    "xfs-cp",
    "xfs-reflink",
];

/// File systems whose files can share contents, each on a disk of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Btrfs,
    Xfs,
}

/// Those of a run: each is there, or why not. `None` = nobody asked for it.
struct Disks {
    btrfs: Option<Result<Disk, String>>,
    xfs: Option<Result<Disk, String>>,
}

impl Disks {
    fn of(subjects: &[String], tree: &Path, bytes: u64) -> Self {
        let wanted = |kind, prefix: &str| {
            let asked = subjects.iter().any(|it| it.starts_with(prefix));
            asked.then(|| Disk::mount(kind, tree, bytes))
        };
        Self { btrfs: wanted(Kind::Btrfs, "btrfs-"), xfs: wanted(Kind::Xfs, "xfs-") }
    }

    fn copy(&self, kind: Kind, how: &str) -> Result<f64, String> {
        let disk = match kind {
            Kind::Btrfs => &self.btrfs,
            Kind::Xfs => &self.xfs,
        };
        disk.as_ref().ok_or("not asked for")?.as_ref().map_err(String::clone)?.copy(how)
    }
}

fn main() {
    inner::run_if_asked();
    let rounds: usize = option("--rounds", 10);
    let (files, megabytes): (usize, usize) = (option("--files", 10_000), option("--mb", 500));
    let subjects = chosen(SUBJECTS);
    let mut home = Home::new();
    let tree = home.path().join("tree");
    fill(&tree, files, megabytes * 1_000_000 / files);
    let disks = Disks::of(&subjects, &tree, megabytes as u64 * 1_000_000);
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
    let mut skipped = vec![None; subjects.len()];
    for round in 0..rounds {
        for ((name, samples), why) in subjects.iter().zip(&mut results).zip(&mut skipped) {
            if why.is_none() {
                match one(&mut home, &tree, &disks, name, round) {
                    Ok(took) => samples.push(took),
                    Err(words) => *why = Some(words),
                }
            }
        }
    }
    for ((name, samples), why) in subjects.iter().zip(&results).zip(&skipped) {
        match why {
            Some(why) => println!("  {name:16} skipped: {why}"),
            None => {
                println!("  {name:16} {:9.1} ±{:3.0} %", median(samples), spread(samples) * 100.0);
            }
        }
    }
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

/// One sample, in ms; else why the machine can't.
fn one(
    home: &mut Home,
    tree: &Path,
    disks: &Disks,
    name: &str,
    round: usize,
) -> Result<f64, String> {
    let copy = home.path().join("copy");
    let copied = |how: &str| {
        let took = run(Command::new("cp").args(["-a", how]).args([tree, &copy]));
        if copy.exists() {
            fs::remove_dir_all(&copy).unwrap();
        }
        took
    };
    let (sandbox, what) = name.split_once('-').unwrap_or((name, ""));
    match (sandbox, what) {
        ("cp", _) => copied("--reflink=never"),
        ("reflink", _) => copied("--reflink=always"),
        ("btrfs", how) => disks.copy(Kind::Btrfs, how),
        ("xfs", how) => disks.copy(Kind::Xfs, how),
        (sandbox, "fork") => {
            let fork = format!("{sandbox}-{round}");
            let at = Instant::now();
            home.verb(&["fork", sandbox, "-d", "--name", &fork]);
            let took = millis(at.elapsed());
            home.verb(&["rm", "--yes", &fork]);
            Ok(took)
        }
        (sandbox, _) => {
            let at = Instant::now();
            home.verb(&["snapshot", "create", sandbox]);
            Ok(millis(at.elapsed()))
        }
    }
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

/// A disk in a file, with the tree on it.
struct Disk {
    at: PathBuf,
    _file: tempfile::TempDir,
}

impl Disk {
    /// Where this machine can't, why.
    fn mount(kind: Kind, tree: &Path, bytes: u64) -> Result<Self, String> {
        let file = tempfile::tempdir().map_err(|it| it.to_string())?;
        let (image, at) = (file.path().join("image"), file.path().join("disk"));
        let made = fs::create_dir(&at)
            .and_then(|()| fs::File::create(&image)?.set_len((bytes * 3).max(1 << 30)));
        made.map_err(|it| it.to_string())?;
        let (mkfs, package) = match kind {
            Kind::Btrfs => ("mkfs.btrfs", "btrfs-progs"),
            Kind::Xfs => ("mkfs.xfs", "xfsprogs"),
        };
        run(Command::new(mkfs).arg(&image)).map_err(|it| format!("{it} (package {package})"))?;
        run(Command::new("mount").args(["-o", "loop"]).args([&image, &at]))?;
        let disk = Self { at, _file: file };
        if kind == Kind::Btrfs {
            run(Command::new("btrfs").args(["subvolume", "create"]).arg(disk.tree()))?;
        } else {
            fs::create_dir(disk.tree()).map_err(|it| it.to_string())?;
        }
        run(Command::new("cp").arg("-a").args([&tree.join("."), &disk.tree()]))?;
        Ok(disk)
    }

    fn tree(&self) -> PathBuf {
        self.at.join("tree")
    }

    /// A copy of the tree by one of the means there are.
    fn copy(&self, how: &str) -> Result<f64, String> {
        let copy = self.at.join("copy");
        let mut command = match how {
            "volume" => Command::new("btrfs"),
            _ => Command::new("cp"),
        };
        let words: &[&str] = match how {
            "volume" => &["subvolume", "snapshot"],
            "reflink" => &["-a", "--reflink=always"],
            _ => &["-a", "--reflink=never"],
        };
        let took = run(command.args(words).args([&self.tree(), &copy]))?;
        let gone = match how {
            "volume" => {
                run(Command::new("btrfs").args(["subvolume", "delete"]).arg(&copy)).map(drop)
            }
            _ => fs::remove_dir_all(&copy).map_err(|it| it.to_string()),
        };
        gone.map(|()| took)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.at).status());
    }
}

/// How long a program took, in ms; else what it said last.
fn run(command: &mut Command) -> Result<f64, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let at = Instant::now();
    let done = command.stdin(Stdio::null()).output().map_err(|it| format!("{name}: {it}"))?;
    let took = millis(at.elapsed());
    if done.status.success() {
        return Ok(took);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(said.lines().last().map_or(format!("{name} failed"), str::to_owned))
}
