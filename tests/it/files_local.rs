//! Files of local sandboxes, looked at from outside: what a hostile program makes of them leads nowhere.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use bytes::Bytes;
use sandwatch::{
    base::{
        fault::{Kind, Outcome},
        limits::{FILES_STEPS_MAX, FILES_STEPS_PER_SANDBOX_MAX},
    },
    driver::{
        Driver, Ground, Place,
        files::{Files, Pieces, Turns, Way},
        local::Local,
    },
    model::{
        file::{
            Expected, FileEntry, FileKind, FindPiece, FindRequest, Hit, ListPiece, Made, ReadFrom,
            ReadPiece, ReadRequest, WriteRequest, joined,
        },
        sandbox::{SandboxSpec, WorkspaceMode},
    },
};
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;

use super::local_stage::{Stage, on_stage, python, sh};

fn turns() -> Turns {
    let places = |many| Arc::new(Semaphore::new(many));
    Turns::new(&places(FILES_STEPS_MAX), &places(FILES_STEPS_PER_SANDBOX_MAX))
}

async fn made(stage: &Stage, spec: &SandboxSpec) -> (Ground, Arc<dyn Place>, Arc<dyn Files>) {
    let ground = stage.ground();
    let place = stage.try_place(&ground, spec).await.unwrap_or_else(|it| panic!("{it}"));
    let way = Way { root: place.root(), programs: None, stopped: false, turns: turns() };
    let files = Local.files(&ground, spec, way).unwrap();
    (ground, place, files)
}

/// The same once it has stopped.
async fn stopped(ground: &Ground, place: Arc<dyn Place>, spec: &SandboxSpec) -> Arc<dyn Files> {
    place.stop(std::time::Duration::from_secs(1)).await.unwrap();
    drop(place);
    let way = Way { root: None, programs: None, stopped: true, turns: turns() };
    Local.files(ground, spec, way).unwrap()
}

pub async fn all<T>(mut pieces: Pieces<T>) -> Outcome<Vec<T>> {
    let mut out = Vec::new();
    while let Some(piece) = pieces.next().await {
        out.push(piece?);
    }
    Ok(out)
}

pub async fn list(files: &dyn Files, path: &[u8]) -> Outcome<Vec<FileEntry>> {
    let pieces = all(files.list(path).await?).await?;
    assert_eq!(pieces.last(), Some(&ListPiece::End { more: false }));
    let mut entries: Vec<FileEntry> = pieces
        .into_iter()
        .flat_map(|it| match it {
            ListPiece::Entries(some) => some,
            ListPiece::End { .. } => Vec::new(),
        })
        .collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

pub async fn read(files: &dyn Files, path: &[u8], from: ReadFrom) -> Outcome<Vec<u8>> {
    let request = ReadRequest { path: path.to_vec(), from, most: None };
    let pieces = all(files.read(request).await?).await?;
    assert!(matches!(pieces.first(), Some(ReadPiece::Begin { .. })));
    assert_eq!(pieces.last(), Some(&ReadPiece::End));
    Ok(pieces
        .into_iter()
        .flat_map(|it| match it {
            ReadPiece::Data(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        })
        .collect())
}

pub async fn write(files: &dyn Files, path: &[u8], text: &str) -> Outcome<FileEntry> {
    write_if(files, path, text, Expected::Anything).await
}

async fn write_if(
    files: &dyn Files,
    path: &[u8],
    text: &str,
    expected: Expected,
) -> Outcome<FileEntry> {
    let request = WriteRequest { path: path.to_vec(), make: Made::File, mode: None, expected };
    let pieces = text.as_bytes().chunks(7).map(|it| Ok(Bytes::copy_from_slice(it)));
    let pieces: Vec<_> = pieces.collect();
    files.write(request, Box::pin(tokio_stream::iter(pieces))).await
}

pub async fn find(files: &dyn Files, path: &[u8], name: &str, text: &str) -> Vec<Hit> {
    let some = |it: &str| (!it.is_empty()).then(|| it.to_owned());
    let request = FindRequest { path: path.to_vec(), name: some(name), text: some(text) };
    let pieces = all(files.find(request).await.unwrap()).await.unwrap();
    assert!(matches!(pieces.last(), Some(FindPiece::End { more: false, .. })), "{pieces:?}");
    let hits = pieces.into_iter().filter_map(|it| match it {
        FindPiece::Hit(hit) => Some(hit),
        FindPiece::End { .. } => None,
    });
    let mut hits: Vec<Hit> = hits.collect();
    hits.sort_by(|a, b| a.path.cmp(&b.path));
    hits
}

fn below(stage: &Stage, name: &str) -> Vec<u8> {
    stage.workspace.join(name).into_os_string().into_encoded_bytes()
}

fn kind<T>(outcome: Outcome<T>) -> Option<Kind> {
    outcome.err().map(|it| it.kind())
}

#[test]
fn what_a_program_does_is_seen_and_what_is_written_is_seen_by_programs() {
    let name = "files_local::what_a_program_does_is_seen_and_what_is_written_is_seen_by_programs";
    on_stage(name, |stage| async move {
        let (_ground, place, files) = made(&stage, &stage.spec(WorkspaceMode::Cow)).await;
        let (files, top) = (&*files, below(&stage, ""));
        sh(
            &place,
            "mkdir -p d/deep; printf 'one\ntwo\n' > d/f; chmod 700 d/f; ln -s d l; ln -s no n",
        )
        .await;
        let entries = list(files, &top).await.unwrap();
        let names: Vec<_> = entries.iter().map(|it| String::from_utf8_lossy(&it.name)).collect();
        assert_eq!(names, ["d", "kept", "l", "n"]);
        let [d, kept, l, n] = &entries[..] else { panic!() };
        assert_eq!(
            (d.kind, kept.kind, l.kind),
            (FileKind::Directory, FileKind::File, FileKind::Link)
        );
        assert!(d.is_directory() && l.is_directory() && !n.is_directory());
        assert_eq!(
            n.target.as_ref().map(|it| (it.path.as_slice(), it.kind)),
            Some((&b"no"[..], None))
        );
        let f = files.stat(&below(&stage, "d/f")).await.unwrap();
        assert_eq!((f.size_bytes, f.mode), (Some(8), Some(0o700)));
        // As programs see it.
        let ids = sh(&place, "id -u; id -g").await.replace('\n', ":");
        assert_eq!(format!("{}:{}", f.owner.unwrap(), f.group.unwrap()), ids);
        assert_eq!(read(files, &below(&stage, "l/f"), ReadFrom::Start(4)).await.unwrap(), b"two\n");
        assert_eq!(read(files, &below(&stage, "d/f"), ReadFrom::End(2)).await.unwrap(), b"o\n");
        assert_eq!(read(files, &below(&stage, "d/f"), ReadFrom::Start(99)).await.unwrap(), b"");

        let made = write(files, &below(&stage, "d/f"), "written from outside\n").await.unwrap();
        assert_eq!((made.mode, made.size_bytes), (Some(0o700), Some(21)));
        write(files, &below(&stage, "new"), "new\n").await.unwrap();
        assert_eq!(
            sh(&place, "cat d/f new; stat -c '%U %a' d/f new; echo more >> new; ls -A").await,
            format!(
                "written from outside\nnew\n{0} 700\n{0} 644\nd\nkept\nl\nn\nnew",
                sh(&place, "id -un").await
            )
        );
        // The real directory is as it was.
        assert_eq!(fs::read_dir(&stage.workspace).unwrap().count(), 1);
        let make = WriteRequest {
            path: below(&stage, "made"),
            make: Made::Directory,
            mode: None,
            expected: Expected::Nothing,
        };
        let nothing = || Box::pin(tokio_stream::empty());
        files.write(make.clone(), nothing()).await.unwrap();
        assert_eq!(kind(files.write(make, nothing()).await), Some(Kind::Busy));
        assert_eq!(sh(&place, "rmdir made && echo gone").await, "gone");
        place.remove().await.unwrap();
    });
}

#[test]
fn no_link_leads_out_and_nothing_but_plain_files_is_opened() {
    let name = "files_local::no_link_leads_out_and_nothing_but_plain_files_is_opened";
    on_stage(name, |stage| async move {
        let (_ground, place, files) = made(&stage, &stage.spec(WorkspaceMode::Cow)).await;
        let files = &*files;
        let secret = stage.home.join("secret").display().to_string();
        let climb = "../".repeat(40);
        sh(&place, &format!(
            "ln -s {secret} a; ln -s {climb}{secret} b; ln -s /proc/1/root c; ln -s /proc/1/cwd e; \
             ln -s / top; mkfifo fifo; ln -s fifo tofifo; ln -s loop loop; ln -s /dev/zero zero; \
             python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'"
        )).await;
        for path in ["a", "b", "c/etc/passwd", "c", "e/x", "loop"] {
            let read = read(files, &below(&stage, path), ReadFrom::Start(0)).await;
            assert!(
                read.is_err(),
                "{path}: {:?}",
                read.map(|it| String::from_utf8_lossy(&it).into_owned())
            );
        }
        for path in ["fifo", "tofifo", "zero", "sock", "top"] {
            let fault = read(files, &below(&stage, path), ReadFrom::Start(0)).await.unwrap_err();
            assert_eq!(fault.kind(), Kind::Invalid, "{path}: {fault}");
        }
        for path in
            [secret.as_bytes(), format!("/{climb}{secret}").as_bytes(), b"/../../proc/self/environ"]
        {
            assert!(read(files, path, ReadFrom::Start(0)).await.is_err());
        }
        // Links within lead where they do for programs.
        let inside = read(files, &below(&stage, "top/etc/hostname"), ReadFrom::Start(0)).await;
        assert_eq!(
            String::from_utf8(inside.unwrap()).unwrap().trim(),
            sh(&place, "cat /etc/hostname").await
        );
        // Nothing is written through one, over one, or over what is no file.
        for path in ["a", "top", "fifo", "zero"] {
            assert_eq!(
                kind(write(files, &below(&stage, path), "x").await),
                Some(Kind::Invalid),
                "{path}"
            );
        }
        for path in ["c/tmp/x", "nowhere/x", "..", "."] {
            assert!(write(files, &below(&stage, path), "x").await.is_err(), "{path}");
        }
        for path in [&b"/usr/bin/x"[..], b"/x", b"/proc/x", b"/sys/x"] {
            assert!(write(files, path, "x").await.is_err(), "{path:?}");
        }
        assert_eq!(fs::read_to_string(stage.home.join("secret")).unwrap(), "the operator's");
        assert_eq!(sh(&place, "find . -name '.sandwatch*'; ls /tmp").await, "");
        place.remove().await.unwrap();
    });
}

#[test]
fn what_a_stopped_sandbox_kept_is_as_it_was_and_is_only_read() {
    let name = "files_local::what_a_stopped_sandbox_kept_is_as_it_was_and_is_only_read";
    on_stage(name, |stage| async move {
        let spec = stage.spec(WorkspaceMode::Cow);
        let (ground, place, files) = made(&stage, &spec).await;
        let top = below(&stage, "");
        sh(
            &place,
            "mkdir -p d/deep; printf 'one\ntwo needle\n' > d/f; rm kept; ln -s d l; echo mine > ~/own; \
             echo t > /tmp/t; echo v > /var/lib/v; echo changed > /etc/made; chmod 600 d/f; mkfifo fifo",
        )
        .await;
        let home = sh(&place, "cd; pwd").await;
        let before = list(&*files, &top).await.unwrap();
        let etc: Vec<_> = list(&*files, b"/etc").await.unwrap();
        drop(files);
        let files = stopped(&ground, place, &spec).await;
        let files = &*files;
        let strip = |it: Vec<FileEntry>| -> Vec<_> {
            // Which file system it is on is another.
            it.into_iter().map(|it| FileEntry { version: None, ..it }).collect()
        };
        assert_eq!(strip(list(files, &top).await.unwrap()), strip(before));
        assert_eq!(strip(list(files, b"/etc").await.unwrap()), strip(etc));
        let read_at = |path: String| async move {
            let read = read(files, path.as_bytes(), ReadFrom::Start(0)).await;
            read.map(|it| String::from_utf8(it).unwrap())
        };
        let workspace = stage.workspace.display();
        for (path, text) in [
            (format!("{workspace}/l/f"), "one\ntwo needle\n"),
            (format!("{home}/own"), "mine\n"),
            ("/tmp/t".to_owned(), "t\n"),
            ("/var/lib/v".to_owned(), "v\n"),
            ("/etc/made".to_owned(), "changed\n"),
        ] {
            assert_eq!(read_at(path.clone()).await.unwrap(), text, "{path}");
        }
        assert_eq!(kind(read_at(format!("{workspace}/kept")).await), Some(Kind::Absent));
        let hits = find(files, &top, "", "needle").await;
        assert_eq!(hits.iter().map(|it| it.path.as_slice()).collect::<Vec<_>>(), [b"d/f"]);
        assert!(!find(files, b"/usr", "bash", "").await.is_empty());
        assert!(write(files, &below(&stage, "new"), "x").await.is_err());
        // It is the sandbox's rights that count, also now.
        assert_eq!(kind(read_at("/etc/shadow".to_owned()).await), Some(Kind::Denied));
        // Nothing was made anywhere, and its directory can go.
        assert_eq!(fs::read_dir(&stage.workspace).unwrap().count(), 1);
        Local.sweep(&ground).await.unwrap();
        assert!(!ground.dir.exists());
    });
}

#[test]
fn a_workspace_whose_place_is_gone_hides_nothing_else_and_nothing_is_made_anew() {
    let name =
        "files_local::a_workspace_whose_place_is_gone_hides_nothing_else_and_nothing_is_made_anew";
    on_stage(name, |stage| async move {
        // Itself it can't be moved from within; what it lies in is the sandbox's own.
        let above = stage.home.display();
        let gone = format!("mv {above} {above}-gone");
        for mode in [WorkspaceMode::Rw, WorkspaceMode::Cow] {
            for script in [gone.clone(), format!("{gone} && ln -s /etc {above}")] {
                let spec = stage.spec(mode);
                let (ground, place, _) = made(&stage, &spec).await;
                let home = sh(&place, "cd; echo mine > own; pwd").await;
                sh(&place, &script).await;
                let own = ground.dir.join("box").join(stage.home.strip_prefix("/").unwrap());
                let kind_of = || fs::symlink_metadata(&own).map(|it| it.file_type()).ok();
                let left = kind_of();
                assert!(!left.is_some_and(|it| it.is_dir()), "{script}");
                let files = stopped(&ground, place, &spec).await;
                let files = &*files;
                let read_at = |path: String| async move {
                    read(files, path.as_bytes(), ReadFrom::Start(0)).await
                };
                assert_eq!(read_at(format!("{home}/own")).await.unwrap(), b"mine\n", "{script}");
                assert!(!list(files, b"/usr").await.unwrap().is_empty(), "{script}");
                let kept = kind(read_at(format!("{}/kept", stage.workspace.display())).await);
                assert_eq!(kept, Some(Kind::Absent), "{script}");
                assert_eq!(kind_of(), left, "{script}");
                Local.sweep(&ground).await.unwrap();
            }
        }
    });
}

#[test]
fn a_stopped_sandbox_shows_the_rest_where_its_workspace_is_gone_from_the_host() {
    let name =
        "files_local::a_stopped_sandbox_shows_the_rest_where_its_workspace_is_gone_from_the_host";
    on_stage(name, |stage| async move {
        for mode in [WorkspaceMode::Rw, WorkspaceMode::Ro, WorkspaceMode::Cow] {
            let spec = stage.spec(mode);
            let (ground, place, _) = made(&stage, &spec).await;
            let home = sh(&place, "cd; echo mine > own; pwd").await;
            let files = stopped(&ground, place, &spec).await;
            let moved = stage.home.join("moved");
            fs::rename(&stage.workspace, &moved).unwrap();
            let own = read(&*files, format!("{home}/own").as_bytes(), ReadFrom::Start(0)).await;
            let kept = read(&*files, &below(&stage, "kept"), ReadFrom::Start(0)).await;
            fs::rename(&moved, &stage.workspace).unwrap();
            assert_eq!(own.unwrap(), b"mine\n", "{mode:?}");
            assert_eq!(kind(kept), Some(Kind::Absent), "{mode:?}");
            Local.sweep(&ground).await.unwrap();
        }
    });
}

#[test]
fn no_link_of_a_stopped_sandbox_leads_out() {
    let name = "files_local::no_link_of_a_stopped_sandbox_leads_out";
    on_stage(name, |stage| async move {
        let spec = stage.spec(WorkspaceMode::Cow);
        let (ground, place, _) = made(&stage, &spec).await;
        let home = sh(&place, "cd; pwd").await;
        let secret = stage.home.join("secret").display().to_string();
        let climb = "../".repeat(40);
        sh(&place, &format!(
            "ln -s {secret} a; ln -s {climb}{secret} b; ln -s /proc/1/root c; ln -s / top; mkfifo fifo; \
             ln -s loop loop; rm -rf /var/lib /tmp/x; ln -s {climb}{home} /var/lib; ln -s {home} ~/out; \
             ln -s /proc/self/cwd e; mkdir real; ln -s ../real/../../{climb}{secret} real/up",
            home = stage.home.display()
        )).await;
        let files = stopped(&ground, place, &spec).await;
        let files = &*files;
        for path in ["a", "b", "c/etc/passwd", "c", "loop", "e/x", "real/up", "top/var/lib/secret"]
        {
            let read = read(files, &below(&stage, path), ReadFrom::Start(0)).await;
            assert!(read.is_err(), "{path}: {:?}", read.map(String::from_utf8));
        }
        for path in [
            secret.clone(),
            format!("/{climb}{secret}"),
            "/var/lib/secret".to_owned(),
            format!("{home}/out/secret"),
            "/proc/self/environ".to_owned(),
        ] {
            assert!(read(files, path.as_bytes(), ReadFrom::Start(0)).await.is_err(), "{path}");
        }
        let fifo = read(files, &below(&stage, "fifo"), ReadFrom::Start(0)).await;
        assert_eq!(kind(fifo), Some(Kind::Invalid));
        // Links within lead where they did.
        let inside = read(files, &below(&stage, "top/etc/hostname"), ReadFrom::Start(0)).await;
        assert_eq!(String::from_utf8(inside.unwrap()).unwrap().trim(), "box");
        Local.sweep(&ground).await.unwrap();
    });
}

#[test]
fn what_is_swapped_while_it_is_looked_at_leads_nowhere_either() {
    let name = "files_local::what_is_swapped_while_it_is_looked_at_leads_nowhere_either";
    on_stage(name, |stage| async move {
        let (_ground, place, files) = made(&stage, &stage.spec(WorkspaceMode::Cow)).await;
        let files = &*files;
        let home = stage.home.display().to_string();
        sh(&place, "mkdir real; echo mine > real/secret").await;
        // A directory that is a link to where the operator's file is, half of the time.
        let script = format!(
            "import os\nos.symlink('{home}', 'x')\nos.rename('real', 'y')\nprint('up', flush=True)\n\
             import ctypes\nc = ctypes.CDLL(None)\nwhile True:\n    c.renameat2(-100, b'x', -100, b'y', 2)"
        );
        let spec = super::given::session(&["/usr/bin/python3", "-c", &script]);
        let program = place.exec(&spec).await.unwrap();
        let mut up = [0; 3];
        let mut stdout = program.io.stdout;
        tokio::io::AsyncReadExt::read_exact(&mut stdout, &mut up).await.unwrap();
        let mut seen = 0;
        for turn in 0..400 {
            if let Ok(bytes) = read(files, &below(&stage, "x/secret"), ReadFrom::Start(0)).await {
                assert_eq!(bytes, b"mine\n");
                seen += 1;
            }
            if turn % 8 == 0 {
                drop(write(files, &below(&stage, "x/secret"), "mine\n").await);
            }
        }
        assert!(seen > 0, "it was never the directory");
        assert_eq!(fs::read_to_string(stage.home.join("secret")).unwrap(), "the operator's");
        place.remove().await.unwrap();
    });
}

#[test]
fn names_of_any_bytes_are_listed_read_written_and_found() {
    let name = "files_local::names_of_any_bytes_are_listed_read_written_and_found";
    on_stage(name, |stage| async move {
        let (_ground, place, files) = made(&stage, &stage.spec(WorkspaceMode::Cow)).await;
        let (files, top) = (&*files, below(&stage, "odd"));
        let script = "import os\nos.mkdir('odd')\nfor name in [b'\\xff\\xfe', b'a\\nb', b'\\x1b[2J', b' ', b'-rf', \
                      b'x' * 255, '\\u202e'.encode()]:\n    open(b'odd/' + name, 'w').write('in it: needle\\n')";
        assert_eq!(python(&place, script).await, "");
        let entries = list(files, &top).await.unwrap();
        assert_eq!(entries.len(), 7);
        for entry in &entries {
            let path = joined(&top, &entry.name);
            assert_eq!(read(files, &path, ReadFrom::Start(7)).await.unwrap(), b"needle\n");
            assert_eq!(files.stat(&path).await.unwrap(), *entry);
            let written = write(files, &path, "other: needle\n").await.unwrap();
            assert_eq!(written.name, entry.name);
        }
        let hits = find(files, &top, "", "needle").await;
        assert_eq!(hits.len(), 7);
        let names: Vec<_> = hits.iter().map(|it| &it.path).collect();
        assert_eq!(names, entries.iter().map(|it| &it.name).collect::<Vec<_>>());
        place.remove().await.unwrap();
    });
}

#[test]
fn names_and_lines_are_found_and_what_is_no_text_is_not_looked_into() {
    let name = "files_local::names_and_lines_are_found_and_what_is_no_text_is_not_looked_into";
    on_stage(name, |stage| async move {
        let (_ground, place, files) = made(&stage, &stage.spec(WorkspaceMode::Cow)).await;
        let (files, top) = (&*files, below(&stage, "t"));
        sh(&place, "mkdir -p t/sub/Deep t/shut; cd t; printf 'a\nb Needle c\n' > one.rs; echo needle > sub/two.rs; \
                    printf 'needle\\0' > binary; mkfifo needle; ln -s . round; echo needle > shut/in; chmod 0 shut; \
                    head -c 9000 /dev/zero | tr '\\0' x > long; printf needle >> long").await;
        let paths = |hits: Vec<Hit>| -> Vec<String> {
            hits.iter().map(|it| String::from_utf8_lossy(&it.path).into_owned()).collect()
        };
        assert_eq!(paths(find(files, &top, "two", "").await), ["sub/two.rs"]);
        assert_eq!(paths(find(files, &top, "deep", "").await), ["sub/Deep"]);
        assert_eq!(paths(find(files, &top, "deeP", "").await), [""; 0]);
        assert_eq!(paths(find(files, &top, "needle", "").await), ["needle"]);
        let hits = find(files, &top, "", "needle").await;
        assert_eq!(paths(hits.clone()), ["long", "one.rs", "sub/two.rs"]);
        let line = hits[1].line.as_ref().unwrap();
        assert_eq!((line.number, line.text.as_slice()), (2, &b"b Needle c"[..]));
        assert!(hits[0].line.as_ref().unwrap().text.ends_with(b"needle"));
        assert_eq!(paths(find(files, &top, "", "Needle").await), ["one.rs"]);
        assert_eq!(paths(find(files, &top, "two", "needle").await), ["sub/two.rs"]);
        sh(&place, "chmod 700 t/shut").await;
        place.remove().await.unwrap();
    });
}

/// The most that this process held at once, in bytes.
fn most_held() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|it| it.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_search_through_a_directory_that_is_large_and_deep_holds_little_of_it() {
    let name =
        "files_local::a_search_through_a_directory_that_is_large_and_deep_holds_little_of_it";
    on_stage(name, |stage| async move {
        let (_ground, place, files) = made(&stage, &stage.spec(WorkspaceMode::Cow)).await;
        // Names of one file, each of which is nearly as long as a path may be from the top; and one beyond that.
        let script = "import os\nos.mkdir('deep')\nos.chdir('deep')\nfor _ in range(15):\n    os.mkdir('d' * 250)\n    \
                      os.chdir('d' * 250)\nopen('first', 'w').write('a line\\n')\nfor it in range(40000):\n    \
                      os.link('first', f'f{it}')\nos.mkdir('e' * 250)\nos.chdir('e' * 250)\n\
                      open('needle' + 'n' * 100, 'w').write('needle\\n')\n\
                      open('short', 'w').write('needle\\n')";
        assert_eq!(python(&place, script).await, "");
        let (files, top) = (&*files, below(&stage, "deep"));
        let before = most_held();
        let hits = find(files, &top, "", "needle").await;
        assert!(hits.iter().all(|it| it.path.ends_with(b"/short")), "{hits:?}");
        let held = most_held() - before;
        assert!(held < 64 * 1024 * 1024, "{held} bytes");
        // What can't be named does not end it, and is told.
        let request = FindRequest { path: top, name: Some("needle".to_owned()), text: None };
        let told = all(files.find(request).await.unwrap()).await.unwrap();
        assert!(matches!(told[..], [FindPiece::End { more: false, unread: 1, .. }]), "{told:?}");
        place.remove().await.unwrap();
    });
}

#[test]
fn directories_are_put_into_what_is_mounted_there() {
    let name = "files_local::directories_are_put_into_what_is_mounted_there";
    on_stage(name, |stage| async move {
        let (_ground, place, files) = made(&stage, &stage.spec(WorkspaceMode::Cow)).await;
        for path in [below(&stage, "").strip_suffix(b"/").unwrap(), b"/tmp"] {
            let make = WriteRequest {
                path: path.to_vec(),
                make: Made::Directory,
                mode: None,
                expected: Expected::Anything,
            };
            let entry = files.write(make, Box::pin(tokio_stream::empty())).await.unwrap();
            assert_eq!(entry.kind, FileKind::Directory);
        }
        place.remove().await.unwrap();
    });
}

#[test]
fn a_file_that_changed_meanwhile_is_not_written_over_and_half_of_one_is_none() {
    let name =
        "files_local::a_file_that_changed_meanwhile_is_not_written_over_and_half_of_one_is_none";
    on_stage(name, |stage| async move {
        let (_ground, place, files) = made(&stage, &stage.spec(WorkspaceMode::Cow)).await;
        let (files, path) = (&*files, below(&stage, "f"));
        sh(&place, "echo one > f").await;
        let version = Expected::Version(files.stat(&path).await.unwrap().version.unwrap());
        sh(&place, "echo two > f").await;
        assert_eq!(kind(write_if(files, &path, "mine", version).await), Some(Kind::Busy));
        assert_eq!(kind(write_if(files, &path, "mine", Expected::Nothing).await), Some(Kind::Busy));
        let version = Expected::Version(files.stat(&path).await.unwrap().version.unwrap());
        write_if(files, &path, "mine\n", version).await.unwrap();
        let cut: Vec<Outcome<Bytes>> = vec![
            Ok(Bytes::from_static(b"half")),
            Err(sandwatch::base::fault::Fault::lost("the other half")),
        ];
        let request = WriteRequest {
            path: path.clone(),
            make: Made::File,
            mode: None,
            expected: Expected::Anything,
        };
        let cut = files.write(request, Box::pin(tokio_stream::iter(cut))).await;
        assert_eq!(kind(cut), Some(Kind::Lost));
        // Taken away by a thread that nobody waits for.
        let deadline = std::time::Instant::now() + super::given::SOON;
        while sh(&place, "ls -A").await != "f\nkept" {
            assert!(std::time::Instant::now() < deadline, "half a file is left");
        }
        assert_eq!(sh(&place, "cat f").await, "mine");
        place.remove().await.unwrap();
    });
}

#[test]
fn a_directory_is_watched_while_files_in_it_come_go_and_are_written() {
    let name = "files_local::a_directory_is_watched_while_files_in_it_come_go_and_are_written";
    on_stage(name, |stage| async move {
        let (_ground, place, files) = made(&stage, &stage.spec(WorkspaceMode::Cow)).await;
        sh(&place, "mkdir d quiet; echo x > d/old").await;
        let paths = ["", "d", "quiet", "none"].map(|it| below(&stage, it));
        let mut news = files.watch(paths.to_vec()).await.unwrap();
        for (script, wanted) in [
            ("echo y >> d/old", 1),
            ("echo y > d/new", 1),
            ("rm d/new", 1),
            ("mv d/old top", 0),
            ("rm kept", 0),
        ] {
            sh(&place, script).await;
            let mut heard = Vec::new();
            while !heard.contains(&wanted) {
                let some = tokio::time::timeout(super::given::SOON, news.next()).await;
                heard.extend(some.expect(script).unwrap().unwrap());
            }
            assert!(!heard.contains(&2) && !heard.contains(&3), "{script}: {heard:?}");
        }
        place.remove().await.unwrap();
    });
}

#[test]
fn a_directory_of_many_entries_comes_in_pages_and_is_read_only_as_far_as_it_is_taken() {
    let name = "files_local::a_directory_of_many_entries_comes_in_pages_and_is_read_only_as_far_as_it_is_taken";
    on_stage(name, |stage| async move {
        let (_ground, place, files) = made(&stage, &stage.spec(WorkspaceMode::Cow)).await;
        let script = "import os\nos.mkdir('many')\nfor it in range(30000):\n    \
                      os.close(os.open(f'many/{it:05}', os.O_CREAT | os.O_WRONLY))";
        assert_eq!(python(&place, script).await, "");
        let many = below(&stage, "many");
        let entries = list(&*files, &many).await.unwrap();
        assert_eq!(entries.len(), 30000);
        assert!(
            entries.iter().enumerate().all(|(at, it)| it.name == format!("{at:05}").as_bytes())
        );
        // Who takes a few and goes has read a few: what comes later is not waited for, and no turn is kept.
        for _ in 0..20 {
            let mut pieces = files.list(&many).await.unwrap();
            let Some(Ok(ListPiece::Entries(some))) = pieces.next().await else { panic!() };
            assert!(some.len() < 2000, "{}", some.len());
        }
        place.remove().await.unwrap();
    });
}

#[test]
fn without_a_root_of_its_own_only_what_is_the_sandboxes_is_looked_at() {
    let name = "files_local::without_a_root_of_its_own_only_what_is_the_sandboxes_is_looked_at";
    on_stage(name, |stage| async move {
        if stage.by_root {
            // Root has no such sandbox.
            return;
        }
        for mode in [WorkspaceMode::Rw, WorkspaceMode::Ro] {
            let spec = SandboxSpec {
                isolation: Some(sandwatch::model::sandbox::Isolation::Landlock),
                ..stage.spec(mode)
            };
            let (ground, place, files) = made(&stage, &spec).await;
            assert!(place.root().is_none());
            let files = &*files;
            let own = ground.dir.join("box").into_os_string().into_encoded_bytes();
            let secret = stage.home.join("secret").into_os_string().into_encoded_bytes();
            // What is the operator's is opened by steps aside, for it may hang: not where the hub answers others.
            let mut elsewhere = spec.clone();
            elsewhere.workspace.path = stage.home.join("none");
            let way = Way { root: None, programs: None, stopped: false, turns: turns() };
            let none = Local.files(&ground, &elsewhere, way).unwrap();
            assert!(none.list(b"/").await.is_err());
            let names = list(files, &below(&stage, "")).await.unwrap();
            assert!(names.iter().any(|it| it.name == b"kept"), "{names:?}");
            drop(list(files, &own).await.unwrap());
            for path in
                [&b"/"[..], b"/etc/passwd", &secret, &joined(&below(&stage, ""), b"../secret")]
            {
                assert!(read(files, path, ReadFrom::Start(0)).await.is_err(), "{path:?}");
                assert!(write(files, path, "x").await.is_err(), "{path:?}");
            }
            let link = stage.workspace.join("link");
            std::os::unix::fs::symlink(&stage.home, &link).unwrap();
            assert!(read(files, &below(&stage, "link/secret"), ReadFrom::Start(0)).await.is_err());
            assert!(write(files, &below(&stage, "link/secret"), "x").await.is_err());
            fs::remove_file(&link).unwrap();
            let written = write(files, &below(&stage, "new"), "x").await;
            assert_eq!(kind(written), (mode == WorkspaceMode::Ro).then_some(Kind::Denied));
            assert_eq!(fs::read_to_string(stage.home.join("secret")).unwrap(), "the operator's");
            fs::set_permissions(&stage.workspace, fs::Permissions::from_mode(0o755)).unwrap();
            // Stopped, it has the same, but for what is written.
            let files = stopped(&ground, place, &spec).await;
            let names = list(&*files, &below(&stage, "")).await.unwrap();
            assert!(names.iter().any(|it| it.name == b"kept"), "{names:?}");
            assert!(read(&*files, &secret, ReadFrom::Start(0)).await.is_err());
            assert!(write(&*files, &below(&stage, "later"), "x").await.is_err());
            Local.sweep(&ground).await.unwrap();
        }
    });
}
