//! Sandboxes of the local driver that begin with an image, as root and as an ordinary user.

use std::{fs, path::Path};

use sandwatch::{
    base::fault::{Fault, Kind},
    driver::{Driver, local::Local},
    model::sandbox::{Isolation, SandboxSpec, WorkspaceMode},
};

use super::{
    image_forms::{self, docker, gzipped, oci, packed, root, usual},
    local_stage::{Stage, on_stage, run, session, sh, until},
};

fn spec(stage: &Stage, image: &Path, mode: WorkspaceMode) -> SandboxSpec {
    SandboxSpec { image: Some(image.display().to_string()), ..stage.spec(mode) }
}

async fn refused(stage: &Stage, image: &Path) -> Fault {
    let spec = spec(stage, image, WorkspaceMode::None);
    let ground = stage.ground();
    let fault = stage.try_place(&ground, &spec).await.err().unwrap();
    // Nothing of it is left, and nothing is taken for an image.
    let images = stage.home.join("state/.images");
    let left = fs::read_dir(images).into_iter().flatten().flatten();
    let left: Vec<_> = left.map(|it| it.file_name()).filter(|it| it != ".known").collect();
    assert!(left.is_empty(), "{left:?}: {fault}");
    fault
}

const LOOK: &str = "cat /etc/release /srv/link; cat /etc/debian_version 2>&1 | cat; \
                    echo x > /opt/x && mkdir /new && echo y > /etc/y && ls /opt / | cat; \
                    cat /etc/hostname; echo $FROM_IMAGE$CANARY$EXTRA";

#[test]
fn a_root_file_system_in_every_form_is_what_a_sandbox_stands_on() {
    let name = "local_image::a_root_file_system_in_every_form_is_what_a_sandbox_stands_on";
    if !image_forms::can() {
        return;
    }
    on_stage(name, |stage| async move {
        let root = root(&stage.home);
        let plain = packed(&root);
        let layout = oci(&stage.home, &usual());
        let saved = docker(&stage.home, &usual());
        let forms = [
            (root.clone(), false),
            (gzipped(&plain), false),
            (plain, false),
            (packed(&layout), true),
            (gzipped(&layout.with_extension("tar")), true),
            (layout, true),
            (packed(&saved), true),
        ];
        for (image, described) in forms {
            let spec = spec(&stage, &image, WorkspaceMode::Cow);
            let place = stage.place(&spec).await;
            assert_eq!(place.facts().isolation, Some(Isolation::Namespaces));
            let text = sh(&place, LOOK).await;
            let shown = format!("{}: {text}", image.display());
            assert!(text.starts_with("the image's\nthe image's\ncat: can't open"), "{shown}");
            assert!(text.contains("\nbox\n") && !text.contains("of-the-image"), "{shown}");
            assert_eq!(text.contains("\nabove\n") || text.contains("\nnew\nx\n"), described);
            assert_eq!(text.contains("gone"), !described, "{shown}");
            assert!(text.ends_with(if described { "yesgiven" } else { "given" }), "{shown}");
            // The workspace is there, and the user is the image's.
            assert_eq!(sh(&place, "pwd; cat kept; echo n > new; ls").await, {
                format!("{}\nas it was\nkept\nnew", stage.workspace.display())
            });
            let who = sh(&place, "id; whoami; echo $HOME; touch ~/t && stat -c %U ~/t /etc").await;
            assert_eq!(
                who,
                match described {
                    true => "uid=1234(agent) gid=77(staff)\nagent\n/srv/agent\nagent\nagent",
                    false => "uid=0(root) gid=0(root)\nroot\n/root\nroot\nroot",
                }
            );
            // A program of this machine is not there, and one of the image that is none neither.
            for program in ["python3", "/usr/bin/python3", "/bin/bash"] {
                let fault = place.exec(&session(&[program])).await.err().unwrap();
                assert_eq!(fault.kind(), Kind::Absent, "{fault}");
            }
            // What nobody names is what the image says, once; after that it is its shell.
            let mut first = place.spawn(&session(&[])).await.unwrap();
            if described {
                until(&mut first.io, "begun by the image").await;
            }
            let mut second = place.spawn(&session(&[])).await.unwrap();
            super::local_stage::type_in(&mut second.io, "echo shell-$((40+2))\n").await;
            until(&mut second.io, "shell-42").await;
            place.remove().await.unwrap();
            assert_eq!(fs::read_to_string(root.join("opt/gone")).unwrap(), "below\n");
            assert!(!root.join("new").exists() && !root.join("etc/y").exists());
            assert!(!stage.workspace.join("new").exists());
        }
        // The two forms with the same layers share nothing; the same form twice was unpacked once.
        let keys = fs::read_dir(stage.home.join("state/.images")).unwrap();
        let keys: Vec<_> = keys.map(|it| it.unwrap().file_name()).collect();
        assert_eq!(keys.iter().filter(|it| !it.to_string_lossy().starts_with('.')).count(), 4);
    });
}

#[test]
fn the_hosts_own_files_are_out_of_reach_over_an_image() {
    let name = "local_image::the_hosts_own_files_are_out_of_reach_over_an_image";
    if !image_forms::can() {
        return;
    }
    on_stage(name, |stage| async move {
        let image = packed(&root(&stage.home));
        let place = stage.place(&spec(&stage, &image, WorkspaceMode::None)).await;
        let home = stage.home.display();
        assert_eq!(
            sh(&place, &format!("ls {home} 2>&1 | cat")).await.matches("No such").count(),
            1
        );
        let list = sh(&place, "ls /dev | cat; ls /run /tmp /sys; ls -d /proc/[0-9]*").await;
        assert!(list.starts_with("fd\nfull\nnull\nptmx\npts\nrandom\nshm\n"), "{list}");
        assert!(list.matches("/proc/").count() <= 5, "{list}");
        for refused in
            ["echo x > /sys/x", "echo x > /dev/x", "echo x > /proc/sysrq-trigger", "mkdir /dev/d"]
        {
            let said = sh(&place, &format!("({refused}) 2>/dev/null || echo refused")).await;
            assert_eq!(said, "refused", "{refused}");
        }
        assert_eq!(sh(&place, "pwd; echo x > /tmp/t; cat /tmp/t").await, "/root\nx");
        // To the host its programs are nobody's root.
        let program = place.spawn(&session(&["sleep", "60"])).await.unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", program.pid.unwrap())).unwrap();
        let line = |name: &str| status.lines().find(|it| it.starts_with(name)).unwrap().to_owned();
        assert!(!line("Uid:").split_whitespace().any(|it| it == "0"), "{status}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert!(line(set).ends_with("0000000000000000"), "{status}");
        }
        place.remove().await.unwrap();
    });
}

#[test]
fn links_of_an_image_where_something_is_mounted_lead_nowhere() {
    let name = "local_image::links_of_an_image_where_something_is_mounted_lead_nowhere";
    if !image_forms::can() {
        return;
    }
    on_stage(name, |stage| async move {
        use std::os::unix::fs::symlink;
        let root = root(&stage.home);
        let out = stage.home.join("out");
        fs::create_dir(&out).unwrap();
        for name in ["dev", "proc", "sys", "run", "tmp", "root"] {
            symlink(&out, root.join(name)).unwrap();
        }
        fs::remove_dir_all(root.join("etc")).unwrap();
        symlink(&out, root.join("etc")).unwrap();
        let place = stage.place(&spec(&stage, &root, WorkspaceMode::None)).await;
        assert_eq!(
            sh(&place, "ls /proc/self/fd >/dev/null && echo x > /tmp/x && echo ok").await,
            "ok"
        );
        place.remove().await.unwrap();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        // On the way to the workspace one is an error in words.
        let top = stage.workspace.components().nth(1).unwrap();
        drop(fs::remove_file(root.join(top)));
        symlink(&out, root.join(top)).unwrap();
        if top.as_os_str() != "tmp" {
            let image = spec(&stage, &root, WorkspaceMode::Cow);
            let fault = stage.try_place(&stage.ground(), &image).await.err().unwrap();
            assert!(fault.to_string().contains("a link is in the way"), "{fault}");
        }
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    });
}

#[test]
fn what_is_no_image_is_refused_in_words() {
    let name = "local_image::what_is_no_image_is_refused_in_words";
    if !image_forms::can() {
        return;
    }
    on_stage(name, |stage| async move {
        let said = async |path: &Path, kind: Kind, words: &str| {
            let fault = refused(&stage, path).await;
            assert_eq!(fault.kind(), kind, "{fault}");
            assert!(fault.to_string().contains(words), "{words}: {fault}");
            fault.hint_text().unwrap_or_default().to_owned()
        };
        let home = stage.home.clone();
        let hint = said(Path::new("debian:stable"), Kind::Absent, "no image at this path").await;
        assert!(hint.contains("docker save REF -o file.tar"), "{hint}");
        said(&home.join("missing.tar"), Kind::Absent, "no image at this path").await;
        said(Path::new("/"), Kind::Invalid, "must not see").await;
        said(&home, Kind::Invalid, "must not see").await;
        said(&stage.workspace, Kind::Invalid, "neither a root file system").await;
        said(Path::new("/dev/null"), Kind::Invalid, "not a file").await;
        let file = home.join("file");
        for (bytes, words) in [
            (&b"no archive at all, but long enough to be one"[..], "ends in the middle"),
            (&[7; 4096], "not an archive"),
            (b"", "has no end"),
            (b"\xfd7zXZ\0......", "xz -d"),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", ""),
        ] {
            fs::write(&file, bytes).unwrap();
            said(&file, Kind::Invalid, words).await;
        }
        // Cut short anywhere, and changed anywhere.
        let whole = packed(&root(&home));
        let bytes = fs::read(&whole).unwrap();
        for end in [bytes.len() / 2, bytes.len() / 3 * 2] {
            fs::write(&file, &bytes[..end]).unwrap();
            said(&file, Kind::Invalid, "").await;
        }
        for image in [oci(&home, &usual()), docker(&home, &usual())] {
            let files = std::process::Command::new("find")
                .arg(&image)
                .args(["-type", "f", "-size", "+1"])
                .output()
                .unwrap();
            let files = String::from_utf8(files.stdout).unwrap();
            for part in files.lines().filter(|it| !it.contains("index") && !it.contains("manifest"))
            {
                let was = fs::read(part).unwrap();
                let mut bytes = was.clone();
                // A byte that all readers take for what it is.
                let at = bytes.windows(5).position(|it| it == b"agent").unwrap_or(bytes.len() - 9);
                bytes[at] ^= 1;
                fs::write(part, bytes).unwrap();
                let fault = refused(&stage, &packed(&image)).await;
                assert_eq!(fault.kind(), Kind::Invalid, "{part}: {fault}");
                fs::write(part, was).unwrap();
            }
        }
        // Grades without a root of their own.
        let mut landlock = spec(&stage, &whole, WorkspaceMode::None);
        landlock.isolation = Some(Isolation::Landlock);
        for fault in [
            Local.ready(&stage.ground(), &landlock).await.err().unwrap(),
            stage.try_place(&stage.ground(), &landlock).await.err().unwrap(),
        ] {
            assert_eq!(fault.kind(), Kind::Unsupported, "{fault}");
            assert!(fault.to_string().contains("image") || stage.by_root, "{fault}");
        }
    });
}

#[test]
fn an_image_without_a_shell_runs_its_own_program_and_nothing_else() {
    let name = "local_image::an_image_without_a_shell_runs_its_own_program_and_nothing_else";
    if !image_forms::can() {
        return;
    }
    on_stage(name, |stage| async move {
        let root = stage.home.join("rootfs");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::copy("/usr/bin/busybox", root.join("bin/echo")).unwrap();
        let place = stage.place(&spec(&stage, &root, WorkspaceMode::None)).await;
        assert_eq!(run(&place, &["/bin/echo", "alone"]).await.0, "alone\n");
        let fault = place.spawn(&session(&[])).await.err().unwrap();
        assert_eq!(fault.kind(), Kind::Absent, "{fault}");
        assert!(fault.to_string().contains("/bin/sh"), "{fault}");
        place.remove().await.unwrap();
    });
}
