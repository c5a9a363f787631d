//! Programs that are installed in the operator's home, the ways installers do it: run inside with what
//! they need, or refused in words.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use sandwatch::{base::fault::Kind, model::sandbox::WorkspaceMode};

use crate::{
    local_stage::{exists, on_stage, run, sh},
    skip::not_on_this_host,
};

fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn link(from: &Path, to: &str) {
    fs::create_dir_all(from.parent().unwrap()).unwrap();
    symlink(to, from).unwrap();
}

/// Puts a home's `bin` directories on the search path, as a login shell does.
fn search_in(directories: &[PathBuf]) {
    let usual = "/usr/local/bin:/usr/bin:/bin";
    let own: Vec<String> = directories.iter().map(|it| it.display().to_string()).collect();
    // SAFETY: the process of one scenario; nothing else in it reads the environment meanwhile.
    #[expect(unsafe_code, reason = "the search path is a property of the process")]
    unsafe {
        std::env::set_var("PATH", format!("{}:{usual}", own.join(":")));
    }
}

#[test]
fn a_program_installed_in_the_operators_home_runs_with_what_it_needs() {
    let name = "local_tools::a_program_installed_in_the_operators_home_runs_with_what_it_needs";
    on_stage(name, |stage| async move {
        let home = stage.home.clone();
        let at = |path: &str| home.join(path);
        // As npm does it: a link beside its packages, a script for an interpreter of another place.
        let package = "lib/node_modules/@maker/agent";
        program(
            &at(&format!(".npm-global/{package}/cli.js")),
            "#!/usr/bin/env -S fakenode --quiet\necho npm $(cat $(dirname $(readlink -f $1))/data)\n",
        );
        fs::write(at(&format!(".npm-global/{package}/data")), "ok").unwrap();
        link(&at(".npm-global/bin/npm-agent"), "../lib/node_modules/@maker/agent/cli.js");
        program(&at(".nvm/versions/node/v1/bin/fakenode"), "#!/bin/sh\nshift; . $1\n");
        link(&at(".nvm/current"), "versions/node/v1");
        // As pipx and uv do it: a link to a link, a script for an interpreter that is a link.
        program(&at(".local/share/uv/python/p1/bin/python9"), "#!/bin/sh\n. $1\n");
        let script = at(".local/share/uv/tools/agent/bin/python").display().to_string();
        link(&at(".local/share/uv/tools/agent/bin/python"), "../../../python/p1/bin/python9");
        program(
            &at(".local/share/uv/tools/agent/bin/uv-agent"),
            &format!("#!{script}\necho uv ok\n"),
        );
        link(&at(".local/bin/uv-agent"), "../share/uv/tools/agent/bin/uv-agent");
        let shown = at(".local/bin/uv-agent").display().to_string();
        link(&at("bin/uv-again"), &shown);
        // As an installer of single files does it.
        program(&at(".local/share/agent/versions/1.2"), "#!/bin/sh\necho native ok\n");
        let shown = at(".local/share/agent/versions/1.2").display().to_string();
        link(&at(".local/bin/native-agent"), &shown);
        fs::write(at(".local/share/secret"), "kept").unwrap();
        search_in(&[at(".nvm/current/bin"), at(".npm-global/bin"), at("bin"), at(".local/bin")]);
        for (command, says) in [
            ("npm-agent", "npm ok"),
            ("uv-agent", "uv ok"),
            ("uv-again", "uv ok"),
            ("native-agent", "native ok"),
        ] {
            let mut spec = stage.spec(WorkspaceMode::Cow);
            spec.first.command = vec![command.to_owned()];
            let place = stage.place(&spec).await;
            assert_eq!(run(&place, &[command]).await.0.trim(), says, "{command}");
            // Seen where it is, not to be changed, and nothing beside it is seen.
            let tests = "f=$(command -v PROGRAM); case $f in HOME/*) ;; *) echo at $f;; esac; \
                         (echo x >> $f) 2>/dev/null && echo written; \
                         (echo x > $(dirname $f)/new) 2>/dev/null && echo added; \
                         cat HOME/secret HOME/.local/share/secret 2>/dev/null; echo end";
            let tests =
                tests.replace("PROGRAM", command).replace("HOME", &home.display().to_string());
            assert_eq!(sh(&place, &tests).await, "end", "{command}");
            place.remove().await.unwrap();
        }
    });
}

#[test]
fn a_program_that_would_not_be_seen_inside_is_refused_in_words() {
    let name = "local_tools::a_program_that_would_not_be_seen_inside_is_refused_in_words";
    on_stage(name, |stage| async move {
        let elsewhere = tempfile::tempdir().unwrap();
        fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let far = elsewhere.path().join("bin/far-agent");
        program(&far, "#!/bin/sh\necho far\n");
        program(&stage.home.join("loose-agent"), "#!/bin/sh\n");
        link(&stage.home.join("bin/led-away"), &far.display().to_string());
        let lost = format!("#!{}\n", far.display());
        program(&stage.home.join("bin/lost-agent"), &lost);
        search_in(&[stage.home.clone(), stage.home.join("bin"), elsewhere.path().join("bin")]);
        for command in ["far-agent", "loose-agent", "led-away", "lost-agent"] {
            let mut spec = stage.spec(WorkspaceMode::Cow);
            spec.first.command = vec![command.to_owned()];
            let ground = stage.ground();
            let fault = stage.try_place(&ground, &spec).await.err().unwrap();
            assert_eq!(fault.kind(), Kind::Unsupported, "{fault}");
            assert!(fault.message().contains(command) && fault.message().contains("does not see"));
            assert!(fault.hint_text().is_some_and(|it| it.contains("/usr/local")), "{fault}");
            assert!(!exists(&ground.dir.join("box")));
        }
        // One further along the search path is what runs inside; then that is no reason to refuse.
        program(&elsewhere.path().join("bin/sh"), "#!/bin/false\n");
        search_in(&[elsewhere.path().join("bin")]);
        let mut spec = stage.spec(WorkspaceMode::Cow);
        spec.first.command = vec!["sh".to_owned()];
        let place = stage.place(&spec).await;
        assert_eq!(run(&place, &["sh", "-c", "echo here"]).await.0.trim(), "here");
        place.remove().await.unwrap();
    });
}

#[test]
fn a_program_of_the_system_that_is_a_link_through_etc_runs() {
    let name = "local_tools::a_program_of_the_system_that_is_a_link_through_etc_runs";
    // As Debian's alternatives are made; other systems have none of it.
    let through_etc = |file: &Path| fs::read_link(file).is_ok_and(|it| it.starts_with("/etc"));
    let Some(program) = ["awk", "vim", "editor", "pager", "which"]
        .iter()
        .find(|it| through_etc(&Path::new("/usr/bin").join(it)))
    else {
        return not_on_this_host("a program that is a link through /etc");
    };
    on_stage(name, |stage| async move {
        let mut spec = stage.spec(WorkspaceMode::Cow);
        spec.first.command = vec![(*program).to_owned()];
        let place = stage.place(&spec).await;
        let seen = sh(&place, &format!("test -x $(command -v {program}) && echo there")).await;
        assert_eq!(seen, "there", "{program}");
        place.remove().await.unwrap();
    });
}

#[test]
fn programs_are_looked_for_where_who_asks_has_them() {
    let name = "local_tools::programs_are_looked_for_where_who_asks_has_them";
    on_stage(name, |stage| async move {
        let home = stage.home.clone();
        program(&home.join("hubs/bin/agent"), "#!/bin/sh\necho of the hub\n");
        program(&home.join("mine/bin/agent"), "#!/bin/sh\necho mine\n");
        search_in(&[home.join("hubs/bin")]);
        for (search_path, says) in [
            (Vec::new(), "of the hub"),
            (vec![home.join("none"), home.join("mine/bin"), home.join("hubs/bin")], "mine"),
        ] {
            let mut spec = stage.spec(WorkspaceMode::Cow);
            spec.first.command = vec!["agent".to_owned()];
            spec.search_path = search_path;
            let place = stage.place(&spec).await;
            assert_eq!(run(&place, &["agent"]).await.0.trim(), says);
        }
    });
}
