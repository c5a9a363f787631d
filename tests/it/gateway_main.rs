//! The terminal of a main program in a gateway's sandbox, through the real ssh and a real sshd.

use std::{fs, sync::Arc};

use crate::{
    gateway_stage::{Faults, GatewayHome, Kind, Running, serve},
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

    fn is_watched(&self) {
        self.terminals.print("ready\r\n");
        eventually("it is watched", || self.screen().contains("ready"));
    }

    /// Hangs up on whoever watches, and lets nobody in.
    fn lose_sight(&self) {
        let denied = ["CreateSshSession"].into();
        self.running.gateway.set(Faults { denied, ..Faults::default() });
        self.terminals.cut();
        eventually("that it is not seen is said", || {
            self.home.ok(&["ls", "--all", "--json"]).contains("not seen just now")
        });
    }

    fn regain_sight(&self) {
        self.running.gateway.set(Faults::default());
        self.terminals.print("seen again\r\n");
        eventually("it is seen again", || self.screen().contains("seen again"));
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

#[test]
fn no_secret_of_a_terminal_outlives_its_connection() {
    let Some(stage) = stage() else { return };
    stage.is_watched();
    for number in 0..2 {
        stage.home.ok(&["send", "one", &format!("line {number};")]);
        let typed = || stage.terminals.read("typed").contains(&format!("line {number};"));
        eventually("it is typed", typed);
    }
    let gateway = &stage.running.gateway;
    eventually("only that of what is attached is left", || {
        let made = gateway.calls_of("CreateSshSession").len();
        made > 2 && gateway.calls_of("RevokeSshSession").len() + 1 == made
    });
}

#[test]
fn what_is_typed_while_it_is_not_seen_is_refused_and_never_typed_later() {
    let Some(stage) = stage() else { return };
    stage.is_watched();
    stage.lose_sight();
    let refused = stage.home.run(&["send", "one", "yes-delete-it"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.stderr.contains("not seen just now"), "{refused:?}");
    stage.regain_sight();
    stage.home.ok(&["send", "one", "fine"]);
    eventually("it is typed", || stage.terminals.read("typed").contains("fine"));
    assert_eq!(stage.terminals.read("typed"), "fine");
}

#[test]
fn a_sandbox_that_is_not_ready_for_a_while_has_not_ended() {
    let Some(stage) = stage() else { return };
    stage.is_watched();
    for phase in [1, 6, 4] {
        stage.running.gateway.phase(&stage.sandbox, phase);
        stage.lose_sight();
        stage.running.gateway.phase(&stage.sandbox, 2);
        stage.regain_sight();
        stage.terminals.print("\u{1b}[2J");
        eventually("it is drawn anew", || !stage.screen().contains("seen again"));
    }
    let all = stage.home.json(&["ls", "--all", "--json"]);
    let sessions = all[0]["sessions"].as_array().unwrap();
    let mains: Vec<_> = sessions.iter().filter(|it| it["command"][0] == "claude").collect();
    assert!(mains.len() == 1 && mains[0]["exit_code"].is_null(), "{all}");
}

#[test]
fn a_program_that_prints_without_a_pause_is_seen_by_who_attaches_anew() {
    let Some(stage) = stage() else { return };
    stage.is_watched();
    // What is sent again from now on has nothing of what was printed before.
    let (old, new) = (stage.terminals.path("printed"), stage.terminals.path("new"));
    fs::write(&new, "other words\r\n").unwrap();
    fs::rename(new, old).unwrap();
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(1);
    let terminals = Arc::clone(&stage.terminals);
    let printing = std::thread::spawn(move || {
        let often = std::time::Duration::from_millis(50);
        while stopped.recv_timeout(often) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            terminals.print(".");
        }
    });
    stage.home.ok(&["send", "one", "x"]);
    eventually("it is seen", || stage.screen().contains("other words"));
    drop(stop);
    printing.join().unwrap();
}

#[test]
fn that_somebody_else_types_is_said_no_longer_than_it_is_known() {
    let Some(stage) = stage() else { return };
    stage.is_watched();
    fs::create_dir(stage.terminals.path("owner")).unwrap();
    stage.home.run(&["send", "one", "x"]);
    let said = || stage.home.ok(&["ls", "--json"]).contains("somebody else types");
    eventually("that is said", said);
    fs::remove_dir(stage.terminals.path("owner")).unwrap();
    eventually("it is said no more", || !said());
    stage.home.ok(&["send", "one", "y"]);
    eventually("it is typed", || stage.terminals.read("typed") == "y");
}
