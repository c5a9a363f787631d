//! Snapshots of a live local sandbox and sandboxes that begin with one, as root and as an ordinary user.

use std::{fs, sync::Arc};

use sandwatch::{
    base::id::SnapshotId,
    driver::{Driver, Ground, Place, Shelf, Stillness, local::Local},
    model::sandbox::{SandboxSpec, WorkspaceMode},
};

use crate::local_stage::{Stage, on_stage, python, sh};

async fn keep(stage: &Stage, ground: &Ground, spec: &SandboxSpec, like: Option<&Shelf>) -> Shelf {
    let id = SnapshotId::random();
    let dir = stage.home.join("state").join(id.as_str());
    fs::create_dir(&dir).unwrap();
    let shelf = Shelf { id, dir, reference: None };
    Local.snapshot(ground, spec, &shelf, like, Stillness::Live).await.unwrap();
    shelf
}

async fn begin(stage: &Stage, from: &Shelf, spec: &SandboxSpec) -> (Ground, Arc<dyn Place>) {
    let ground = Ground { from: Some(from.clone()), ..stage.ground() };
    let place = stage.try_place(&ground, spec).await.unwrap_or_else(|it| panic!("{it}"));
    (ground, place)
}

const LOOK: &str = "cat kept a d/b ~/h /tmp/t /var/lib/v /opt/o; stat -c '%n %a %U' kept a d ~ /tmp /var; \
                    ls; test ! -e gone; echo $?; id -u";

#[test]
fn a_sandbox_begins_with_what_another_was_and_may_change_all_of_it() {
    on_stage(
        "local_shelf::a_sandbox_begins_with_what_another_was_and_may_change_all_of_it",
        |stage| async move {
            fs::write(stage.workspace.join("gone"), "x").unwrap();
            let spec = stage.spec(WorkspaceMode::Cow);
            let ground = stage.ground();
            let one = stage.try_place(&ground, &spec).await.unwrap();
            let script = "set -e; echo 2 >> kept; echo a > a; chmod 640 a; mkdir d; echo b > d/b; rm gone
                          echo h > ~/h; echo t > /tmp/t; echo v > /var/lib/v; echo o > /opt/o; rm -f /etc/motd";
            assert_eq!(sh(&one, script).await, "");
            let before = sh(&one, LOOK).await;
            let shelf = keep(&stage, &ground, &spec, None).await;
            let (two_ground, two) = begin(&stage, &shelf, &spec).await;
            assert_eq!(sh(&two, LOOK).await, before);
            // Its own name, and what was deleted in the system is deleted.
            assert_eq!(
                sh(&two, "grep -c 127.0.1.1 /etc/hosts; test ! -e /etc/motd; echo $?").await,
                "1\n0"
            );
            let more =
                "set -e; echo 3 >> kept; rm a; rm -r d; mkdir d; echo new > d/c; echo back > gone
                        echo 2 > ~/h; rm /tmp/t /var/lib/v /opt/o; echo w > /tmp/w";
            assert_eq!(sh(&two, more).await, "");
            assert_eq!(sh(&one, LOOK).await, before);
            // A third stands on the second, which stood on the first.
            let next = keep(&stage, &two_ground, &spec, Some(&shelf)).await;
            two.remove().await.unwrap();
            let (_, three) = begin(&stage, &next, &spec).await;
            let seen =
                sh(&three, "cat kept gone d/c ~/h /tmp/w; ls . d /tmp /opt | grep -c .").await;
            assert!(seen.starts_with("as it was\n2\n3\nback\nnew\n2\nw\n"), "{seen}");
            assert_eq!(sh(&three, "ls a d/b /tmp/t /var/lib/v /opt/o 2>/dev/null").await, "");
            // The shelf is nobody's to write to, and stays as it was.
            let (_, again) = begin(&stage, &shelf, &spec).await;
            assert_eq!(sh(&again, LOOK).await, before);
            assert_eq!(fs::read_to_string(stage.workspace.join("kept")).unwrap(), "as it was\n");
            for place in [one, three, again] {
                place.remove().await.unwrap();
            }
        },
    );
}

#[test]
fn ten_thousand_files_arrive_as_they_were() {
    on_stage("local_shelf::ten_thousand_files_arrive_as_they_were", |stage| async move {
        let spec = stage.spec(WorkspaceMode::Cow);
        let ground = stage.ground();
        let one = stage.try_place(&ground, &spec).await.unwrap();
        let make = "import os
for n in range(10000):
    at = f'd{n % 100}'
    os.makedirs(at, exist_ok=True)
    with open(f'{at}/f{n}', 'w') as f: f.write('x' * (n % 50))
    if n % 7 == 0: os.chmod(f'{at}/f{n}', 0o600 + n % 8)
    if n % 11 == 0: os.link(f'{at}/f{n}', f'{at}/hard{n}')
    if n % 13 == 0: os.symlink(f'f{n}', f'{at}/soft{n}')
os.mkdir(b'a\\nb\\xff')
";
        let look = "import os, hashlib
sum = hashlib.sha256()
for at, dirs, files in sorted(os.walk(b'.')):
    dirs.sort()
    for name in sorted(files) + dirs:
        p = os.path.join(at, name); s = os.lstat(p)
        links = 0 if os.path.isdir(p) else s.st_nlink
        held = os.readlink(p) if os.path.islink(p) else open(p, 'rb').read() if os.path.isfile(p) else b''
        sum.update(repr((p, s.st_mode, links, s.st_mtime_ns if links else 0, held)).encode())
print(sum.hexdigest())
";
        assert_eq!(python(&one, make).await, "");
        let before = python(&one, look).await;
        let shelf = keep(&stage, &ground, &spec, None).await;
        let (_, two) = begin(&stage, &shelf, &spec).await;
        assert_eq!(python(&two, look).await, before);
        one.remove().await.unwrap();
        two.remove().await.unwrap();
    });
}
