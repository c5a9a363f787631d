//! `run --image` with the driver local as a script uses it, through a hub and a shim.

use std::fs;

use sandwatch::model::sandbox::Isolation;
use serde_json::json;

use crate::{
    docker_stage,
    image_forms::{self, docker, oci, packed, root, usual},
    program::{Home, eventually},
    runtimes,
};

fn inside(home: &Home, name: &str, script: &str) -> String {
    home.ok(&["exec", name, "--", "/bin/sh", "-ec", script])
}

/// A sandbox that begins with an image.
fn started(home: &Home, name: &str, image: &str, grade: &str) {
    let sleep = ["--", "/bin/sh", "-c", "echo begun; exec sleep 1000"];
    let run = ["run", "-d", "--name", name, "--image", image, "--isolation", grade];
    home.ok(&[&run, &sleep[..]].concat());
}

#[test]
fn what_changed_over_an_image_is_diffed_kept_forked_and_restored() {
    of_grade("auto");
}

#[test]
fn so_it_is_where_runc_or_gvisor_has_the_image() {
    for grade in [Isolation::Oci, Isolation::Gvisor] {
        match runtimes::reason(grade) {
            Some(skip) => skip(),
            None => of_grade(grade.word()),
        }
    }
}

fn of_grade(grade: &str) {
    if !image_forms::can() {
        return;
    }
    let home = Home::new();
    fs::write(home.workspace().join("file"), "one\n").unwrap();
    let image = packed(&oci(root(&home.workspace()).parent().unwrap(), &usual()));
    for left in ["rootfs", "base.tar", "over", "over.tar", "layout"] {
        let left = home.workspace().join(left);
        drop(fs::remove_file(&left).or_else(|_| fs::remove_dir_all(left)));
    }
    // By a path that only the one who asks can follow.
    let image = image.file_name().unwrap().to_str().unwrap();
    started(&home, "box", &format!("./{image}"), grade);
    assert_eq!(home.ok(&["diff", "box", "--system", "--stat"]), "");
    inside(
        &home,
        "box",
        "echo two >> file; echo mine >> /etc/release; rm /opt/new; echo t > /tmp/t; echo h > ~/h; \
         mkdir /added; echo a > /added/a; mv /srv/link /srv/moved; chmod 700 /var/lib",
    );
    let stat = home.ok(&["diff", "box", "--system", "--stat"]);
    for path in [
        "etc/release",
        "opt/new",
        "tmp/t",
        "srv/agent/h",
        "added/a",
        "srv/moved",
        "var/lib",
        "/file",
    ] {
        assert!(stat.contains(path), "{path}: {stat}");
    }
    // Held against the image, and not against this machine.
    let came = |it: &&str| it.starts_with("added") || it.starts_with("modified");
    assert_eq!(stat.lines().filter(came).count(), 7, "{stat}");
    let diff = home.ok(&["diff", "box", "--system", "/etc"]);
    assert!(diff.contains("-the image's\n") || diff.contains(" the image's\n+mine\n"), "{diff}");
    assert!(home.ok(&["diff", "box"]).contains("+two"), "the workspace by itself");

    home.ok(&["snapshot", "create", "box", "--name", "first"]);
    inside(&home, "box", "echo later >> /etc/release; rm -r /added; rm /tmp/t");
    let stat = home.ok(&["diff", "box", "--system", "--from", "first", "--stat"]);
    assert!(stat.contains("etc/release") && !stat.contains("opt/new"), "{stat}");
    // Nothing of the image's own form is needed any more.
    fs::remove_file(home.workspace().join(image)).unwrap();
    home.ok(&["fork", "first", "--name", "two", "--json"]);
    let look = "cat /etc/release /added/a /tmp/t ~/h file; ls /opt; id -un; echo $FROM_IMAGE";
    let seen = "the image's\nmine\na\nt\nh\none\ntwo\nagent\nyes\n";
    assert_eq!(inside(&home, "two", look), seen);
    inside(&home, "two", "echo z > /etc/z");
    home.ok(&["restore", "box", "first", "--yes"]);
    home.ok(&["wait", "box", "--for", "text=begun", "--timeout", "20s"]);
    assert_eq!(inside(&home, "box", look), seen);
    // A line of forks is one layer over the image.
    home.ok(&["fork", "two", "--name", "three", "--json"]);
    home.ok(&["rm", "--yes", "box", "two"]);
    assert_eq!(inside(&home, "three", &format!("{look}; cat /etc/z")), format!("{seen}z\n"));
    let stat = home.ok(&["diff", "three", "--system", "--stat"]);
    assert!(stat.contains("etc/z") && stat.contains("opt/new"), "{stat}");
    home.ok(&["apply", "three"]);
    assert_eq!(fs::read_to_string(home.workspace().join("file")).unwrap(), "one\ntwo\n");

    // One over this machine's own files can't be held against one over an image.
    home.ok(&["run", "-d", "--name", "plain", "--", "/bin/sh", "-c", "sleep 1000"]);
    let ran = home.run(&["diff", "plain", "--system", "--from", "first"]);
    ran.failed(2, &["different images"]);
    // The image stays as long as something stands on it; so does what is used by nobody, for a while.
    home.ok(&["rm", "--yes", "three", "plain"]);
    let images = home.path().join("state/sandboxes/.images");
    assert!(
        fs::read_dir(images)
            .unwrap()
            .any(|it| { it.unwrap().file_name().to_string_lossy().starts_with("oci-") })
    );
    home.ok(&["fork", "first", "--name", "four", "--json"]);
    assert_eq!(inside(&home, "four", look), seen);
}

#[test]
fn what_is_no_image_here_is_said_with_a_way_to_get_one() {
    let home = Home::new();
    let run = |image: &str| home.run(&["run", "-d", "--image", image, "--", "sh"]);
    let ran = run("debian:stable-slim");
    ran.failed(3, &["no image at this path: debian:stable-slim", "docker save REF -o file.tar"]);
    fs::write(home.workspace().join("a file"), "no archive").unwrap();
    run("a file").failed(2, &["a file: "]);
    run("/").failed(2, &["must not see", "--image"]);
    assert_eq!(home.json(&["ls", "--all", "--json"]).as_array().unwrap().len(), 0);
    let ran = home.run(&[
        "run",
        "-d",
        "--isolation",
        "landlock",
        "--workspace",
        ".:none",
        "--image",
        "/x",
        "true",
    ]);
    ran.failed(5, &["landlock", "image"]);
}

#[test]
fn a_program_that_an_image_has_not_is_the_usual_error() {
    if !image_forms::can() {
        return;
    }
    let home = Home::new();
    let image = home.path().with_file_name("images");
    fs::create_dir(&image).unwrap();
    let run = json!({ "Entrypoint": ["/no/such/program"] });
    let image = packed(&docker(root(&image).parent().unwrap(), &run));
    let image = image.to_str().unwrap();
    home.run(&["run", "-d", "--image", image]).failed(3, &["/no/such/program"]);
    home.run(&["run", "-d", "--image", image, "--", "python3"]).failed(3, &["python3"]);
    // An agent is looked for in the image, not on this machine's PATH.
    home.run(&["run", "-d", "--image", image, "python3"]).failed(3, &["python3"]);
    eventually("nothing is left of them", || {
        home.json(&["ls", "--all", "--json"]).as_array().unwrap().is_empty()
    });
    started(&home, "box", image, "auto");
    assert_eq!(inside(&home, "box", "id -u; cat /opt/new"), "0\nabove\n");
}

#[test]
fn a_hub_that_is_killed_while_it_unpacks_leaves_nothing_that_is_taken_for_whole() {
    if !image_forms::can() {
        return;
    }
    let home = Home::new();
    let at = home.path().with_file_name("images");
    fs::create_dir(&at).unwrap();
    let root = root(&at);
    // Enough to be caught in the middle.
    for number in 0..3000 {
        fs::write(root.join("srv/app").join(format!("file-{number}")), vec![b'x'; 20_000]).unwrap();
    }
    let image = packed(&root);
    home.ok(&["ls"]);
    let hub = home.json(&["hub", "status", "--json"])["pid"].as_u64().unwrap();
    let args = ["run", "-d", "--name", "box", "--image", image.to_str().unwrap(), "--", "true"];
    let mut asked = home.command(&args).spawn().unwrap();
    let images = home.path().join("state/sandboxes/.images");
    let making = || {
        let listed = fs::read_dir(&images).into_iter().flatten().flatten();
        let names = listed.map(|it| it.file_name().to_string_lossy().into_owned());
        names.filter(|it| !it.starts_with(".known")).collect::<Vec<_>>()
    };
    eventually("it unpacks", || making().iter().any(|it| it.starts_with(".making-")));
    let hub = rustix::process::Pid::from_raw(i32::try_from(hub).unwrap()).unwrap();
    rustix::process::kill_process(hub, rustix::process::Signal::KILL).unwrap();
    asked.wait().unwrap();
    drop(home.run(&["rm", "--yes", "box"]));
    started(&home, "again", image.to_str().unwrap(), "auto");
    let last = inside(&home, "again", "cat /srv/app/file-* > /tmp/all; stat -c %s /tmp/all");
    assert_eq!(last.trim(), "60000000");
    assert_eq!(making().len(), 1, "{:?}", making());
}

#[test]
fn what_docker_saves_is_an_image_of_the_local_driver() {
    if !docker_stage::can() || !image_forms::can() {
        return;
    }
    let engine = docker_stage::Engine::shared();
    let home = Home::new();
    let at = home.path().with_file_name("images");
    fs::create_dir(&at).unwrap();
    for (image, user, id) in [
        (docker_stage::IMAGE, "root", 0),
        (docker_stage::AGENT_IMAGE, "agent", docker_stage::AGENT_UID),
    ] {
        let file = at.join(format!("{user}.tar"));
        let file = file.to_str().unwrap();
        engine.said(&["save", image, "-o", file]);
        started(&home, user, file, "auto");
        let seen = inside(&home, user, "id -un; id -u; echo $PATH; cat /etc/hostname");
        assert_eq!(seen, format!("{user}\n{id}\n/bin:/run/sandwatch\n{user}\n"));
    }
    let both = at.join("both.tar");
    let both = both.to_str().unwrap();
    engine.said(&["save", docker_stage::IMAGE, docker_stage::AGENT_IMAGE, "-o", both]);
    let ran = home.run(&["run", "-d", "--image", both, "--", "sh"]);
    ran.failed(2, &["save one by itself"]);
}
