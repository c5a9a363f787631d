//! The real console over real hubs: same names on two of them, one killed, one that stands still, contexts that come and go.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sandwatch::base::limits::CONTEXTS_MAX;

use crate::{
    gateway_stage::{Kind, serve},
    program::{Home, eventually},
    pty::{Pty, View},
    remote_support::Far,
};

const SIZE: (u16, u16) = (110, 32);
/// Between two tries of a person.
const PAUSE: Duration = Duration::from_secs(2);
const CAT: &[&str] = &["run", "-d", "--name", "box", "--", "/bin/cat"];

/// Names the hubs of other homes in contexts.toml of the first.
fn know(home: &Home, others: &[(&str, &Home)]) {
    let mut text = String::new();
    for (name, other) in others {
        let socket = socket(other);
        text.push_str(&format!("[contexts.{name}]\naddress = \"unix:{socket}\"\n"));
    }
    std::fs::create_dir_all(home.config()).unwrap();
    let fresh = home.config().join("contexts.fresh");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(&fresh, home.config().join("contexts.toml")).unwrap();
}

fn socket(home: &Home) -> String {
    let listed = &home.json(&["hub", "status", "--json"])["listen"][0];
    listed.as_str().unwrap().strip_prefix("unix:").unwrap().to_owned()
}

fn hub_pid(home: &Home) -> Pid {
    let pid = home.json(&["hub", "status", "--json"])["pid"].as_i64().unwrap();
    Pid::from_raw(pid as i32).unwrap()
}

/// A hub that stands still until the end of the test at the latest.
struct Still(Pid);

impl Still {
    fn hub(home: &Home) -> Self {
        let pid = hub_pid(home);
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

fn row(view: &View, words: &str) -> Option<usize> {
    view.screen.lines().iter().position(|it| it.contains(words))
}

/// Puts the cursor, which stays where the first hub that was reached put it, onto the own hub's one row.
fn to_own(pty: &Pty) {
    if !pty.text().lines().next().is_some_and(|it| it.contains("local ▸ box")) {
        pty.send("k");
    }
    pty.wait_until("the own one", |it| it.screen.lines()[0].contains("local ▸ box"));
}

/// The console with the rows of both hubs in it.
fn both(own: &Home, work: &Home) -> Pty {
    own.ok(CAT);
    work.ok(CAT);
    know(own, &[("work", work)]);
    let pty = Pty::start(own, &[], SIZE);
    pty.wait_until("both rows", |it| row(it, "box@work").is_some() && row(it, "! box ").is_some());
    to_own(&pty);
    pty
}

#[test]
fn what_is_typed_goes_to_the_twin_that_is_stepped_into() {
    let (own, work) = (Home::new(), Home::new());
    let mut pty = both(&own, &work);
    // Down to the second hub's row.
    pty.send("j");
    pty.wait_until("the header says whose", |it| it.screen.lines()[0].contains("work ▸ box@work"));
    pty.send("\r");
    pty.wait_for("TYPING");
    pty.send("over there\r");
    eventually("it arrives there", || work.ok(&["screen", "box"]).contains("over there"));
    assert!(!own.ok(&["screen", "box"]).contains("over there"));
    pty.send("\x02q");
    pty.signal(Signal::TERM);
    pty.ended();
}

#[test]
fn a_hub_that_stands_still_and_one_that_is_killed_hold_up_neither_keys_nor_others() {
    let (own, work) = (Home::new(), Home::new());
    let mut pty = both(&own, &work);
    let still = Still::hub(&work);
    pty.wait_for("1 hub down");
    // Keys answer, and the own hub's pane is live.
    pty.send("\r");
    pty.wait_for("TYPING");
    pty.send("still here\r");
    eventually("it arrives", || own.ok(&["screen", "box"]).contains("still here"));
    pty.wait_for("still here");
    drop(still);
    pty.wait_until("it is there again", |it| !it.has("hub down"));
    kill_process(hub_pid(&work), Signal::KILL).unwrap();
    pty.wait_for("1 hub down");
    pty.wait_until("its row stays", |it| row(it, "box@work").is_some());
    pty.send("more\r");
    eventually("it arrives", || own.ok(&["screen", "box"]).contains("more"));
    // Whoever starts it again brings it back.
    work.ok(&["ls"]);
    pty.wait_until("it is there again", |it| !it.has("hub down"));
    pty.signal(Signal::TERM);
    pty.ended();
}

#[test]
fn contexts_are_followed_as_their_file_changes_and_a_broken_one_changes_nothing() {
    let (own, work) = (Home::new(), Home::new());
    own.ok(CAT);
    work.ok(CAT);
    let mut pty = Pty::start(&own, &[], SIZE);
    pty.wait_for("FLEET 1");
    assert!(!pty.text().contains("unix:"));
    know(&own, &[("work", &work)]);
    pty.wait_for("box@work");
    std::fs::write(own.config().join("contexts.toml"), "contexts = 1\n").unwrap();
    pty.wait_for("contexts.toml:1");
    assert!(pty.text().contains("box@work"));
    know(&own, &[]);
    pty.wait_until("it is gone", |it| row(it, "box@work").is_none());
    pty.wait_until("no headings are left", |it| row(it, "unix:").is_none());
    pty.signal(Signal::TERM);
    pty.ended();
}

#[test]
fn contexts_are_added_and_taken_out_in_the_console_itself() {
    let (own, work) = (Home::new(), Home::new());
    own.ok(CAT);
    work.ok(CAT);
    let mut pty = Pty::start(&own, &[], SIZE);
    pty.wait_for("FLEET 1");
    pty.send(&format!(":context add work unix:{}\r", socket(&work)));
    pty.wait_for("box@work");
    let listed = || own.ok(&["context", "ls"]).contains("work");
    assert!(listed());
    pty.send(":context rm work\r");
    pty.wait_for("Take work out?");
    let mut pressed: Option<Instant> = None;
    eventually("it is answered", || {
        let asked = pty.text().contains("Take work out?");
        if asked && pressed.is_none_or(|it| it.elapsed() > PAUSE) {
            pty.send("y");
            pressed = Some(Instant::now());
        }
        !asked
    });
    pty.wait_until("it is gone", |it| row(it, "box@work").is_none());
    assert!(!listed());
    pty.signal(Signal::TERM);
    pty.ended();
}

#[test]
fn a_console_starts_with_as_many_contexts_as_there_may_be() {
    let own = Home::new();
    own.ok(CAT);
    let nobody = own.path().join("nobody.sock");
    let context = |it| format!("[contexts.c{it}]\naddress = \"unix:{}\"\n", nobody.display());
    let text: String = (0..CONTEXTS_MAX).map(context).collect();
    std::fs::create_dir_all(own.config()).unwrap();
    std::fs::write(own.config().join("contexts.toml"), text).unwrap();
    let mut pty = Pty::start(&own, &[], SIZE);
    pty.wait_for(&format!("{CONTEXTS_MAX} hubs down"));
    pty.signal(Signal::TERM);
    pty.ended();
}

#[test]
fn an_ask_is_answered_on_the_hub_that_asks() {
    let (own, work) = (Home::new(), Home::new());
    let asking = "/bin/sh";
    let script = "sandwatch ask --kind exec --subject 'make it so' && echo WAS ALLOWED; exec cat";
    for home in [&own, &work] {
        home.ok(&["run", "-d", "--name", "box", "--", asking, "-c", script]);
    }
    let waits = |home: &Home| {
        home.json(&["approvals", "ls", "--json"]).as_array().is_some_and(|it| !it.is_empty())
    };
    eventually("both ask", || waits(&own) && waits(&work));
    know(&own, &[("work", &work)]);
    let mut pty = Pty::start(&own, &[], SIZE);
    pty.wait_for("2 asks");
    pty.send("I");
    pty.wait_for("make it so");
    pty.send("I");
    pty.wait_for("from      box");
    let of_work = || pty.text().contains("from      box@work");
    let shown = of_work();
    let (asking, other) = if shown { (&work, &own) } else { (&own, &work) };
    // A key that comes too soon to have been meant for what is shown answers nothing, and neither does a rush of them.
    let mut pressed: Option<Instant> = None;
    eventually("it is answered", || {
        let waiting = waits(asking);
        if waiting && of_work() == shown && pressed.is_none_or(|it| it.elapsed() > PAUSE) {
            pty.send("a");
            pressed = Some(Instant::now());
        }
        !waiting
    });
    eventually("it is told", || asking.ok(&["screen", "box"]).contains("WAS ALLOWED"));
    assert!(waits(other));
    pty.signal(Signal::TERM);
    pty.ended();
}

#[test]
fn one_that_is_named_is_there_alone() {
    let (own, work) = (Home::new(), Home::new());
    own.ok(CAT);
    work.ok(&["run", "-d", "--name", "other", "--", "/bin/cat"]);
    know(&own, &[("work", &work)]);
    let mut pty = Pty::start(&own, &["--context", "work"], SIZE);
    pty.wait_for("other");
    let text = pty.text();
    assert!(
        text.contains("FLEET 1 ") && !text.contains("unix:") && !text.contains("other@"),
        "{text}"
    );
    pty.signal(Signal::TERM);
    pty.ended();
}

#[test]
fn a_hub_behind_tls_is_typed_into_like_the_own_one_and_knows_whose_keyboard_it_is() {
    let far = Far::new();
    let own = far.client("me", "operator");
    own.ok(&[&["--context", "local"], CAT].concat());
    far.hub.ok(CAT);
    let mut pty = Pty::start(&own, &[], SIZE);
    pty.wait_until("both rows", |it| row(it, "box@far").is_some() && row(it, "! box ").is_some());
    to_own(&pty);
    pty.send("j");
    pty.wait_until("the header says whose", |it| {
        it.screen.lines()[0].contains("far (operator) ▸ box@far")
    });
    pty.send("\r");
    pty.wait_for("TYPING");
    pty.send("over there\r");
    eventually("it arrives there", || far.hub.ok(&["screen", "box"]).contains("over there"));
    // To the hub we have another name than to ourselves; the keyboard is ours all the same.
    let me = own.json(&["--context", "far", "ls", "--json"])[0]["sessions"][0]["lease"].clone();
    assert!(me["holder_name"].is_string(), "{me}");
    let held = me["holder_name"].as_str().unwrap();
    // What that hub told before anybody held it says nothing: the console must have heard of it since.
    far.hub.ok(&["run", "-d", "--name", "later", "--", "/bin/cat"]);
    pty.wait_for("later@far");
    pty.look(|it| assert!(it.has("TYPING") && !it.has(held), "{}", it.text()));
    pty.send("\x02q");
    let lease = || {
        let all = far.hub.json(&["ls", "--json"]);
        let held = all.as_array().unwrap().iter().find(|it| it["name"] == "box").unwrap();
        held["sessions"][0]["lease"].clone()
    };
    eventually("it is given back", || lease().is_null());
    pty.signal(Signal::TERM);
    pty.ended();
}

#[test]
fn a_session_over_tls_is_attached_to_and_left() {
    let far = Far::new();
    let own = far.client("me", "operator");
    far.hub.ok(CAT);
    let mut pty = Pty::start(&own, &["attach", "box"], SIZE);
    pty.send("typed here\r");
    eventually("it arrives there", || far.hub.ok(&["screen", "box"]).contains("typed here"));
    pty.wait_for("typed here");
    pty.send("\x02d");
    assert_eq!(pty.ended(), 0);
    assert_eq!(far.hub.json(&["ls", "--json"])[0]["state"], "running");
}

#[test]
fn a_gateway_is_one_of_the_hubs() {
    let running = serve(Kind::default());
    running.gateway.make("one");
    let own = running.home();
    own.ok(&["--context", "local", "run", "-d", "--name", "box", "--", "/bin/cat"]);
    let mut pty = Pty::start(&own, &[], SIZE);
    pty.wait_until("both rows", |it| row(it, "one@lab").is_some() && row(it, "box").is_some());
    pty.signal(Signal::TERM);
    pty.ended();
}
