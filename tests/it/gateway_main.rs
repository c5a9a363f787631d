//! The terminal of a main program in a gateway's sandbox, through the real ssh and a real sshd.

use std::{fs, sync::Arc};

use crate::{
    gateway_stage::{GatewayHome, Kind, Running, serve},
    gateway_terminals::{Main, Terminals},
    given::eventually,
    pty::Pty,
};

struct Stage {
    main: Option<Main>,
    home: GatewayHome,
    terminals: Arc<Terminals>,
    running: Running,
    sandbox: String,
}

/// `None` where there is no ssh.
fn stage() -> Option<Stage> {
    let terminals = Terminals::new()?;
    let main = terminals.begin();
    let running = serve(Kind { terminals: Some(Arc::clone(&terminals)), ..Kind::default() });
    let sandbox = running.gateway.make("one");
    let home = running.home();
    let search = terminals.search_path();
    let ran = home.run_with(&["ls"], &[("PATH", &search)]);
    assert_eq!(ran.code, 0, "{ran:?}");
    Some(Stage { main: Some(main), home, terminals, running, sandbox })
}

impl Stage {
    fn attached(&self) -> String {
        self.terminals.read("attached")
    }

    fn screen(&self) -> String {
        self.home.ok(&["screen", "one"])
    }
}

#[test]
fn it_is_watched_without_a_word_of_a_size_until_somebody_steps_in() {
    let Some(stage) = stage() else { return };
    stage.terminals.print("first words\r\n");
    eventually("it is watched", || stage.screen().contains("first words"));
    let watching = Pty::start(&stage.home, &["attach", "one", "--read-only"], (100, 30));
    watching.wait_until("what it printed", |view| view.has("first words"));
    stage.terminals.print("second words\r\n");
    watching.wait_until("what it prints", |view| view.has("second words"));
    assert!(stage.attached().lines().all(|it| it == "watches none"), "{}", stage.attached());
    // Nothing of the secret is on a command line.
    let told = stage.terminals.read("told");
    assert!(told.contains("ProxyUseFdpass") && !told.contains("secret"), "{told}");
    let typing = Pty::start(&stage.home, &["attach", "one"], (90, 25));
    typing.send("hello\r");
    eventually("it is typed", || stage.terminals.read("typed").contains("hello\r"));
    eventually("it has their size", || stage.attached().contains("25 90"));
    stage.terminals.print("third words\r\n");
    typing.wait_until("what it prints then", |view| view.has("third words"));
    watching.wait_until("and for who watches", |view| view.has("third words"));
    let all = stage.home.ok(&["screen", "one"]);
    for words in ["first words", "second words", "third words"] {
        assert_eq!(all.matches(words).count(), 1, "{all}");
    }
    typing.resize((101, 33));
    eventually("it is resized", || stage.attached().contains("33 101"));
    drop(typing);
    let before = stage.attached().matches("watches").count();
    eventually("it is only watched again", || stage.attached().matches("watches").count() > before);
    assert!(!stage.terminals.path("owner").exists());
}

#[test]
fn two_keys_that_would_let_go_are_not_sent_together_and_a_paste_arrives_whole() {
    let Some(stage) = stage() else { return };
    stage.terminals.print("ready\r\n");
    eventually("it is watched", || stage.screen().contains("ready"));
    stage.home.ok(&["send", "one", "a<C-p><C-q>b"]);
    eventually("they are typed", || stage.terminals.read("typed").contains('b'));
    // Who sends a line has no terminal, and resizes none.
    assert!(stage.attached().contains("types none"), "{}", stage.attached());
    assert_eq!(stage.terminals.read("typed"), "a\u{10}b");
    let paste: String = (0..6000).map(|it| format!("{it:05} ")).collect();
    stage.home.ok(&["send", "one", &paste]);
    eventually("all of it arrived", || stage.terminals.read("typed").ends_with("05999 "));
    assert_eq!(stage.terminals.read("typed"), format!("a\u{10}b{paste}"));
}

#[test]
fn who_finds_another_typing_is_told_so_and_watches() {
    let Some(stage) = stage() else { return };
    stage.terminals.print("ready\r\n");
    eventually("it is watched", || stage.screen().contains("ready"));
    fs::create_dir(stage.terminals.path("owner")).unwrap();
    let mut refused = stage.home.run(&["send", "one", "x"]);
    eventually("it is refused", || {
        refused = stage.home.run(&["send", "one", "x"]);
        refused.code != 0
    });
    assert!(refused.stderr.contains("another client"), "{refused:?}");
    stage.terminals.print("goes on\r\n");
    eventually("it is watched still", || stage.screen().contains("goes on"));
    assert_eq!(stage.terminals.read("typed"), "");
}

#[test]
fn its_end_is_the_end_of_the_session_with_its_code_and_a_next_start_is_a_next_session() {
    let Some(mut stage) = stage() else { return };
    stage.terminals.print("ready\r\n");
    eventually("it is watched", || stage.screen().contains("ready"));
    fs::write(stage.terminals.path("code"), "3").unwrap();
    stage.running.gateway.change(&stage.sandbox, |it| {
        let status = it.told.status.get_or_insert_default();
        (status.phase, status.exit_code) = (3, Some(3));
    });
    drop(stage.main.take());
    eventually("it has ended", || {
        let all = stage.home.json(&["ls", "--all", "--json"]);
        all[0]["sessions"][0]["exit_code"] == 3 && all[0]["state"] == "failed"
    });
    stage.main = Some(stage.terminals.begin());
    stage.running.gateway.change(&stage.sandbox, |it| {
        let status = it.told.status.get_or_insert_default();
        (status.phase, status.exit_code) = (2, None);
        status.main_process_instance_id = "two".to_owned();
    });
    stage.terminals.print("second life\r\n");
    eventually("there is another session of it", || {
        let all = stage.home.json(&["ls", "--all", "--json"]);
        let sessions = all[0]["sessions"].as_array().unwrap().clone();
        sessions.iter().filter(|it| it["command"][0] == "claude").count() == 2
    });
}
