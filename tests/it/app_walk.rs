//! What someone tries in their first hour at the console, step by step, with a hand-moved clock.

use sandwatch::{
    app::{Msg, fleet::Mark},
    base::clock::Timestamp,
    model::{
        event::Event,
        sandbox::{self, Sandbox},
        session::{ExitStatus, Status},
    },
};

use super::app_support::{Console, START, day, sandbox};

fn changed(sandbox: Sandbox) -> Msg {
    Msg::Event(Event::Changed { seq: 2, sandbox: Box::new(sandbox) })
}

/// A sandbox whose program has ended, and which the hub has stopped for that.
fn ended(name: &str, command: &str, exit: ExitStatus) -> Sandbox {
    let mut it = sandbox(name, command, Status::Exited);
    it.state = sandbox::State::Stopped;
    it.sessions[0].exit = Some(exit);
    it.sessions[0].exited_at = Some(Timestamp(START));
    it
}

fn mark(console: &Console, name: &str) -> Mark {
    console.state.fleet.named(name).unwrap().mark()
}

#[test]
fn a_failure_stays_in_sight_until_somebody_stops_or_removes_it() {
    let mut all = day();
    all.push(ended("job", "make", ExitStatus::Code(2)));
    all.push(ended("killed", "make", ExitStatus::Signal(9)));
    all.push(ended("fine", "make", ExitStatus::Code(0)));
    let mut console = Console::with_fleet((120, 40), all);
    assert_eq!(mark(&console, "job"), Mark::Failed);
    assert_eq!(mark(&console, "killed"), Mark::Failed);
    assert_eq!(mark(&console, "fine"), Mark::Done);
    assert!(console.picture().contains("2 failed"), "{}", console.picture());
    console.keys("G !");
    assert_eq!(console.state.fleet.current().unwrap().sandbox.name, "job");
    console.keys("!");
    assert_eq!(console.state.fleet.current().unwrap().sandbox.name, "killed");
    console.keys("/");
    console.text("status:failed");
    assert_eq!(console.state.fleet.counts(), (2, 8));
    console.keys("esc");
    let mut seen = ended("job", "make", ExitStatus::Code(2));
    seen.stop_asked = true;
    console.send(changed(seen));
    assert_eq!(mark(&console, "job"), Mark::Done);
    assert!(console.picture().contains("1 failed"), "{}", console.picture());
}

#[test]
fn what_the_operator_stopped_did_not_fail_and_neither_did_the_shell_they_left() {
    let mut stopped = ended("mine", "claude", ExitStatus::Signal(15));
    stopped.stop_asked = true;
    let mut shell = ended("shell", "", ExitStatus::Code(127));
    shell.sessions[0].command.clear();
    let console = Console::with_fleet((120, 40), vec![stopped, shell]);
    assert_eq!(mark(&console, "mine"), Mark::Done);
    assert_eq!(mark(&console, "shell"), Mark::Done);
    assert!(!console.picture().contains("failed"), "{}", console.picture());
    assert!(!console.picture().contains(" x "), "{}", console.picture());
}
