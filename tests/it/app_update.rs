//! The console's core: any message, in any order, with a hand-moved clock.

use std::sync::Arc;
use std::time::Duration;

use sandwatch::{
    app::{
        Act, Link, Msg,
        msg::{Button, Mouse, MouseKind, Reply},
        state::{Hold, Overlay, Place},
    },
    base::{
        clock::Timestamp,
        fault::Fault,
        id::{SandboxId, SessionId},
    },
    model::{
        event::{Event, SnapshotReason},
        history::{HistoryLine, HistoryMark, HistoryPage},
        output::Output,
        sandbox::{Egress, Sandbox},
        session::{ExitStatus, Status},
    },
    runtime::LeaseVerb,
    vt::key::Mods,
};

use super::app_support::{Console, day, lease, sandbox, shared};

pub fn changed(sandbox: Sandbox) -> Msg {
    Msg::Event(Event::Changed { seq: 2, sandbox: Arc::new(sandbox) })
}

fn current(console: &Console) -> String {
    console.state.fleet.current().map_or_else(String::new, |it| it.sandbox.name.clone())
}

#[test]
fn the_session_under_the_cursor_is_watched_and_no_other() {
    let mut console = Console::with_fleet((120, 40), day());
    let watched: Vec<&SessionId> = console.state.watches.keys().collect();
    assert_eq!(watched, [&SessionId::parse("api-refactor").unwrap()]);
    let acts = console.keys("j");
    assert!(
        matches!(&acts[0], Act::Unsubscribe { session, .. } if session.as_str() == "api-refactor")
    );
    assert!(matches!(&acts[1], Act::Subscribe { session, .. } if session.as_str() == "docs-site"));
}

#[test]
fn looking_takes_no_keyboard_and_resizes_nothing() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("j j tab 4 z z k tab tab ] l k k q tab 1");
    let took = console
        .effects
        .iter()
        .find(|it| matches!(it.act, Act::Lease { .. } | Act::Resize { .. } | Act::Input { .. }));
    assert_eq!(took, None);
}

#[test]
fn stepping_in_takes_the_lease_then_types_and_fits_the_session_to_the_pane() {
    let mut console = Console::with_fleet((120, 40), day());
    let acts = console.keys("enter");
    assert!(matches!(&acts[..], [Act::Lease { verb: LeaseVerb::Take, .. }]), "{acts:?}");
    // Typed before the answer: kept, in order.
    assert_eq!(console.text("ls"), []);
    let acts = console.answer(|it| matches!(it, Act::Lease { .. }), Reply::Lease(None));
    assert!(matches!(&acts[0], Act::Resize { .. }), "{acts:?}");
    assert!(matches!(&acts[1], Act::Input { bytes, .. } if bytes == "ls"), "{acts:?}");
    let acts = console.keys("ctrl-c");
    assert!(matches!(&acts[..], [Act::Input { bytes, .. }] if bytes == "\x03"), "{acts:?}");
}

#[test]
fn no_key_typed_to_a_pane_does_anything_but_reach_the_program() {
    let mut console = Console::with_fleet((120, 40), day());
    console.step_in();
    let keys =
        "q ? : / space n p x D y s j k g G esc tab enter ctrl-c ctrl-k ctrl-d ctrl-n 1 F delete";
    for key in keys.split(' ') {
        let acts = console.key(key);
        let only = matches!(&acts[..], [Act::Input { .. }]);
        assert!(only, "{key}: {acts:?}");
        assert!(console.state.overlay.is_none() && console.state.line.is_none(), "{key}");
        assert!(console.state.is_typing(), "{key} stepped out");
    }
}

#[test]
fn the_prefix_twice_types_the_prefix() {
    let mut console = Console::with_fleet((120, 40), day());
    console.step_in();
    assert_eq!(console.keys("ctrl-b"), []);
    let acts = console.keys("ctrl-b");
    assert!(matches!(&acts[..], [Act::Input { bytes, .. }] if bytes == "\x02"), "{acts:?}");
}

#[test]
fn every_way_out_of_a_pane_gives_the_keyboard_back() {
    for keys in ["ctrl-q", "ctrl-b d", "ctrl-b q"] {
        let mut console = Console::with_fleet((120, 40), day());
        console.step_in();
        let acts = console.keys(keys);
        let released =
            acts.iter().any(|it| matches!(it, Act::Lease { verb: LeaseVerb::Release, .. }));
        assert!(released && !console.state.is_typing(), "{keys}: {acts:?}");
        assert_eq!(console.state.place, Place::Fleet, "{keys}");
    }
    let mut console = Console::with_fleet((120, 40), day());
    console.step_in();
    let pane = console.state.frame().panes[0];
    let at = pane.button("[leave]");
    let kind = MouseKind::Down(Button::Left);
    console.send(Msg::Mouse(Mouse { kind, column: at.x + 1, row: at.y, mods: Mods::default() }));
    assert!(!console.state.is_typing());
}

#[test]
fn a_keyboard_held_by_someone_else_is_asked_for_not_taken() {
    let mut all = day();
    all[0].sessions[0].lease = Some(lease("alice", "alice@laptop"));
    let mut console = Console::with_fleet((120, 40), all);
    assert_eq!(console.keys("enter"), []);
    assert!(
        matches!(&console.state.overlay, Some(Overlay::TakeOver { holder, .. }) if holder == "alice@laptop")
    );
    assert!(console.picture().contains("alice@laptop holds the keyboard"));
    // What is typed at once was meant for the program, and the key that opened it never answers.
    assert_eq!(console.keys("t enter"), []);
    console.now += Duration::from_secs(1);
    assert_eq!(console.keys("enter"), []);
    console.read();
    let acts = console.keys("t");
    assert!(matches!(&acts[..], [Act::Lease { verb: LeaseVerb::TakeOver, .. }]), "{acts:?}");
}

#[test]
fn a_refused_keyboard_offers_a_takeover_and_drops_what_was_typed_aloud() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("enter x");
    let id =
        console.effects.iter().rev().find(|it| matches!(it.act, Act::Lease { .. })).unwrap().id;
    let acts = console.send(Msg::Done { id, result: Err(Fault::busy("held by bob")) });
    assert_eq!(acts, []);
    assert!(matches!(console.state.overlay, Some(Overlay::TakeOver { .. })));
    assert!(console.state.notices.all().any(|it| it.text.contains("not sent")));
}

#[test]
fn when_another_takes_the_keyboard_typing_ends_and_says_who() {
    let mut console = Console::with_fleet((120, 40), day());
    console.step_in();
    let mut mine = day().remove(0);
    mine.sessions[0].lease = Some(lease("bob", "bob@desk"));
    console.send(changed(mine));
    assert!(!console.state.is_typing());
    assert!(console.state.notices.all().any(|it| it.text.contains("bob@desk took the keyboard")));
}

#[test]
fn a_lapsed_keyboard_is_asked_for_again_by_the_next_key() {
    let mut console = Console::with_fleet((120, 40), day());
    console.step_in();
    let mut mine = day().remove(0);
    mine.sessions[0].lease = Some(lease("me", "me@here"));
    console.send(changed(mine.clone()));
    mine.sessions[0].lease = None;
    console.send(changed(mine));
    assert_eq!(console.state.grip.as_ref().unwrap().hold, Hold::Lapsed);
    let acts = console.keys("x");
    assert!(matches!(&acts[..], [Act::Lease { verb: LeaseVerb::Take, .. }]), "{acts:?}");
}

#[test]
fn rows_do_not_move_under_the_cursor() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("j j");
    assert_eq!(current(&console), "crawler");
    let on_screen = |it: &Console| it.state.fleet.cursor() - it.state.fleet.top();
    let before = on_screen(&console);
    // An older one appears, one above changes its status, one above goes away.
    let mut older = sandbox("aaa", "bash", Status::Waiting);
    older.created_at = Timestamp(0);
    console.send(changed(older));
    let mut other = day().remove(1);
    other.sessions[0].status = Status::Waiting;
    console.send(changed(other));
    assert_eq!(current(&console), "crawler");
    assert_eq!(on_screen(&console), before);
    console.send(Msg::Event(Event::Removed { seq: 3, id: SandboxId::parse("docs-site").unwrap() }));
    assert_eq!(current(&console), "crawler");
}

#[test]
fn a_gap_is_said_and_keeps_cursor_and_marks() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("j space");
    let sandboxes = day();
    console.send(Msg::Event(Event::Snapshot {
        seq: 9,
        reason: SnapshotReason::Gap,
        sandboxes: shared(sandboxes),
    }));
    assert_eq!(current(&console), "crawler");
    assert_eq!(console.state.fleet.marked().len(), 1);
    assert!(console.state.notices.all().any(|it| it.text.contains("read anew")));
}

#[test]
fn the_filter_is_live_turns_around_and_esc_brings_back_what_was() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("/");
    console.text("status:st");
    assert_eq!(console.state.fleet.counts(), (1, 5));
    console.keys("enter");
    assert_eq!(current(&console), "docs-site");
    for (filter, count) in [
        ("!status:stuck", 4),
        ("claude", 1),
        ("CRAWL", 1),
        ("label:team=web", 5),
        ("!label:team", 0),
        ("state:paused", 1),
        ("status:asks", 1),
        ("driver:fake !name:a", 2),
        ("status:", 5),
    ] {
        console.state.fleet.filter(filter);
        assert_eq!(console.state.fleet.counts().0, count, "{filter}");
    }
    console.state.fleet.filter("");
    console.keys("/");
    console.text("zzz");
    console.keys("esc");
    assert_eq!(console.state.fleet.counts(), (5, 5));
}

#[test]
fn removing_needs_another_key_and_names_what_is_lost() {
    let mut console = Console::with_fleet((120, 40), day());
    assert_eq!(console.keys("D D enter"), []);
    let picture = console.picture();
    assert!(picture.contains("Remove api-refactor?"), "{picture}");
    assert!(picture.contains("copy of /home/me/project is deleted"), "{picture}");
    console.read();
    let acts = console.keys("y");
    assert!(matches!(&acts[..], [Act::Remove(id)] if id.as_str() == "api-refactor"), "{acts:?}");
    console.keys("* x");
    assert!(console.picture().contains("Stop 5 sandboxes?"));
    console.read();
    assert_eq!(console.keys("y").len(), 5);
}

#[test]
fn pause_goes_by_the_state_and_acts_on_all_marked() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("space space");
    let acts = console.keys("p");
    assert!(matches!(&acts[..], [Act::Pause(_), Act::Pause(_)]), "{acts:?}");
    console.keys("\\ G");
    let acts = console.keys("p");
    assert!(acts.iter().any(|it| matches!(it, Act::Resume(_))), "{acts:?}");
}

#[test]
fn the_first_run_page_starts_what_was_chosen() {
    let mut console = Console::with_fleet((100, 30), Vec::new());
    console.state.config.new.egress = Egress::Deny;
    console.send(Msg::Agents(vec!["claude".to_owned(), "codex".to_owned()]));
    let picture = console.picture();
    assert!(picture.contains("> claude") && picture.contains("a shell"), "{picture}");
    assert_eq!(console.keys("j enter"), [], "the network is asked for");
    let picture = console.picture();
    assert!(
        picture.contains("< ask: each new host waits for your answer (for an agent) >"),
        "{picture}"
    );
    console.key("right");
    assert!(console.picture().contains("can't reach its model"), "{}", console.picture());
    let acts = console.keys("left enter");
    let Act::Create(order) = &acts[0] else { panic!("{acts:?}") };
    let spec = &order.spec;
    assert_eq!(
        (spec.first.command.as_slice(), spec.egress),
        (&["codex".to_owned()][..], Egress::Ask)
    );
    assert_eq!(spec.workspace.path.to_str(), Some("/home/me/project"));
    // The new one shows as soon as it is there, and has the keyboard.
    let made = sandbox("codex", "codex", Status::Working);
    let acts = console.answer(|it| matches!(it, Act::Create(_)), Reply::Sandbox(Box::new(made)));
    assert!(acts.iter().any(|it| matches!(it, Act::Subscribe { .. })), "{acts:?}");
    let takes = |it: &Act| matches!(it, Act::Lease { verb: LeaseVerb::Take, .. });
    assert!(acts.iter().any(takes), "{acts:?}");
    assert_eq!(console.state.mode(), "TYPING");
}

#[test]
fn variables_are_given_or_passed_on_by_their_names() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("n tab tab tab tab tab");
    console.text("API_KEY bad-name MODE='a b'");
    assert_eq!(console.keys("enter"), []);
    let picture = console.picture();
    assert!(picture.contains("`bad-name` is not the name of a variable"), "{picture}");
    console.keys("ctrl-u");
    console.text("API_KEY MODE='a b'");
    let acts = console.keys("enter");
    let Act::Create(order) = &acts[0] else { panic!("{acts:?}") };
    assert_eq!(order.pass, ["API_KEY"]);
    assert_eq!(order.spec.env, [("MODE".to_owned(), "a b".to_owned())]);
}

#[test]
fn the_new_sandbox_dialog_says_which_field_is_wrong() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("n");
    console.text("bash -c 'sleep");
    assert_eq!(console.keys("enter"), []);
    assert!(console.picture().contains("a ' is not closed"), "{}", console.picture());
    console.text("'");
    console.keys("tab");
    console.text("my-box");
    console.keys("tab tab right");
    let acts = console.keys("enter");
    let Act::Create(order) = &acts[0] else { panic!("{acts:?}") };
    let spec = &order.spec;
    assert_eq!(spec.name.as_deref(), Some("my-box"));
    assert_eq!(spec.first.command, ["bash", "-c", "sleep"]);
    assert_eq!(spec.workspace.mode, sandwatch::model::sandbox::WorkspaceMode::Rw);
}

#[test]
fn the_new_sandbox_dialog_offers_a_container_and_what_it_is_made_of() {
    let mut console = Console::with_fleet((100, 30), day());
    console.state.driver = "local".to_owned();
    console.keys("n tab tab tab tab tab tab");
    assert!(
        console.picture().contains("< local: programs of this machine"),
        "{}",
        console.picture()
    );
    // An image of this machine is a path.
    console.keys("tab");
    console.text("node:22");
    assert_eq!(console.keys("enter"), []);
    let picture = console.picture();
    assert!(picture.contains("image: with driver local an image is a path"), "{picture}");
    console.keys("ctrl-u");
    console.text("~/images/x.tar");
    let acts = console.keys("enter");
    let Act::Create(order) = &acts[0] else { panic!("{acts:?}") };
    assert_eq!(
        (order.spec.driver.as_str(), order.spec.image.as_deref()),
        ("local", Some("/home/me/images/x.tar"))
    );

    let mut console = Console::with_fleet((100, 30), day());
    console.state.driver = "local".to_owned();
    console.keys("n tab tab tab tab tab tab right tab");
    let picture = console.picture();
    assert!(picture.contains("docker: a container of the docker engine"), "{picture}");
    assert!(picture.contains("the usual one; a name"), "{picture}");
    console.text("node:22");
    let acts = console.keys("enter");
    let Act::Create(order) = &acts[0] else { panic!("{acts:?}") };
    assert_eq!(
        (order.spec.driver.as_str(), order.spec.image.as_deref()),
        ("docker", Some("node:22"))
    );
}

#[test]
fn what_is_shown_of_a_sandbox_that_can_not_be_heard_is_an_old_picture() {
    let mut console = Console::with_fleet((100, 30), day());
    console.print("api-refactor", "hello from before");
    assert!(!console.picture().contains("OLD PICTURE"));
    let mut silent = day().into_iter().find(|it| it.name == "api-refactor").unwrap();
    silent.state = sandwatch::model::sandbox::State::Unknown;
    console.send(changed(silent.clone()));
    let picture = console.picture();
    assert!(picture.contains("hello from before") && picture.contains("OLD PICTURE"), "{picture}");
    silent.state = sandwatch::model::sandbox::State::Running;
    console.send(changed(silent));
    assert!(!console.picture().contains("OLD PICTURE"), "{}", console.picture());
}

#[test]
fn a_dead_link_keeps_the_picture_and_comes_back_with_new_subscriptions() {
    let mut console = Console::with_fleet((100, 30), day());
    console.print("api-refactor", "hello from before");
    let since = console.now;
    console.send(Msg::Link(Link::Down { since, why: "connection refused".to_owned() }));
    let picture = console.picture();
    assert!(picture.contains("hello from before"), "{picture}");
    assert!(picture.contains("OLD PICTURE") && picture.contains("NO HUB 0s"), "{picture}");
    assert!(!picture.contains("FOLLOWING"), "{picture}");
    // How long is counted, and the console wakes for it.
    for expected in ["NO HUB 1s", "NO HUB 2s"] {
        console.state.take_dirty();
        console.now = console.state.wake_at().unwrap();
        console.send(Msg::Tick);
        assert!(console.state.take_dirty());
        assert!(console.picture().contains(expected), "{}", console.picture());
    }
    // Whoever does not wait for the next look has it at once.
    assert_eq!(console.keys("R"), [Act::LookNow]);
    assert!(console.picture().contains("looking for 1 hub"), "{}", console.picture());
    let acts = console.send(Msg::Link(Link::Up(None)));
    assert!(acts.iter().any(|it| matches!(it, Act::Subscribe { .. })), "{acts:?}");
    assert!(console.picture().contains("hello from before"));
    assert_eq!(console.keys("R"), []);
    assert!(console.picture().contains("no hub is down"), "{}", console.picture());
}

#[test]
fn lost_bytes_are_counted_and_shown() {
    let mut console = Console::with_fleet((100, 30), day());
    console.print("api-refactor", "abc");
    let id = SessionId::parse("api-refactor").unwrap();
    let generation = console.state.watches[&id].generation;
    let output = Output::Chunk { offset: 2051, bytes: "def".into() };
    console.send(Msg::Output { session: id, generation, output });
    assert!(console.picture().contains("2.0 K skipped"), "{}", console.picture());
}

#[test]
fn scrollback_freezes_loads_older_lines_searches_and_copies() {
    let mut console = Console::with_fleet((100, 30), day());
    console.print("api-refactor", "alpha\r\nbeta\r\n");
    let acts = console.keys("l");
    assert!(acts.iter().any(|it| matches!(it, Act::History { .. })), "{acts:?}");
    let lines = (0..50)
        .map(|at| HistoryLine {
            mark: HistoryMark { segment: 0, line: at },
            formatted: format!("\x1b[31mold line {at}\x1b[m").into_bytes(),
            wrapped: false,
        })
        .collect();
    let page = HistoryPage { lines, at_start: true };
    console.answer(|it| matches!(it, Act::History { .. }), Reply::History(page));
    // What was live is still there, in the same rows, whatever came above it.
    let picture = console.picture();
    assert!(picture.contains("alpha") && picture.contains("LOOKING BACK 0 lines up"), "{picture}");
    assert!(!picture.contains("old line"), "{picture}");
    console.keys("ctrl-u ctrl-u");
    assert!(console.picture().contains("old line 49"));
    console.keys("/");
    console.text("line 7");
    console.keys("enter");
    assert!(console.picture().contains("old line 7"));
    let acts = console.keys("y");
    assert!(matches!(&acts[..], [Act::Clipboard(text)] if text == "old line 7"), "{acts:?}");
    console.keys("V j j");
    let acts = console.keys("y");
    let wanted = "old line 7\nold line 8\nold line 9";
    assert!(matches!(&acts[..], [Act::Clipboard(text)] if text == wanted), "{acts:?}");
    console.keys("G");
    assert!(console.picture().contains("FOLLOWING"));
}

#[test]
fn a_drag_selects_and_letting_go_copies() {
    let mut console = Console::with_fleet((100, 30), day());
    console.print("api-refactor", "alpha beta");
    let body = console.state.frame().panes[0].body;
    let mouse = |kind, column: u16| {
        Msg::Mouse(Mouse { kind, column: body.x + column, row: body.y, mods: Mods::default() })
    };
    console.send(mouse(MouseKind::Down(Button::Left), 6));
    console.send(mouse(MouseKind::Drag(Button::Left), 9));
    let acts = console.send(mouse(MouseKind::Up(Button::Left), 9));
    assert!(acts.iter().any(|it| matches!(it, Act::Clipboard(text) if text == "beta")), "{acts:?}");
    assert!(console.state.copy.is_none());
}

#[test]
fn an_idle_console_wants_no_tick() {
    let mut console = Console::with_fleet((100, 30), day());
    console.now += Duration::from_secs(61);
    console.send(Msg::Tick);
    assert_eq!(console.state.wake_at(), None);
    assert!(console.picture().contains("m+"), "{}", console.picture());
}

#[test]
fn the_program_that_ends_gives_the_keys_back() {
    let mut console = Console::with_fleet((100, 30), day());
    console.step_in();
    let mut mine = day().remove(0);
    mine.sessions[0].status = Status::Exited;
    mine.sessions[0].exit = Some(ExitStatus::Code(3));
    console.send(changed(mine));
    assert!(!console.state.is_typing());
    assert!(console.picture().contains("ended with exit code 3"), "{}", console.picture());
}

#[test]
fn a_fleet_of_ten_thousand_is_filtered_and_changed_whole() {
    let many = (0..10_000)
        .map(|at| {
            let status = if at % 100 == 0 { Status::Stuck } else { Status::Working };
            sandbox(&format!("box-{at:05}"), "claude", status)
        })
        .collect();
    let mut console = Console::with_fleet((120, 40), many);
    console.keys("/");
    console.text("status:stuck box-09");
    assert_eq!(console.state.fleet.counts(), (10, 10_000));
    console.keys("enter G");
    assert_eq!(current(&console), "box-09900");
    assert!(console.picture().contains("FLEET 10 of 10000"));
}

#[test]
fn a_pane_shows_the_last_whole_picture_while_a_program_draws_the_next() {
    let mut console = Console::with_fleet((100, 30), day());
    let session = console.state.focused_session().unwrap().clone();
    let generation = console.state.watches[&session].generation;
    let chunk = |console: &mut Console, offset: u64, text: &str| {
        let output = Output::Chunk { offset, bytes: text.to_owned().into() };
        let msg = Msg::Output { session: session.clone(), generation, output };
        console.send(msg);
        console.state.take_dirty()
    };
    console.print(session.as_str(), "the whole picture");
    let next = 17;
    chunk(&mut console, next, "\x1b[?2026h");
    assert!(!chunk(&mut console, next + 8, "\x1b[2J\x1b[Hhalf a"), "nothing is drawn");
    assert!(console.picture().contains("the whole picture"), "{}", console.picture());
    // What it never ends shows when its time is up.
    console.now = console.state.wake_at().unwrap();
    console.send(Msg::Tick);
    assert!(console.state.take_dirty());
    assert!(console.picture().contains("half a"), "{}", console.picture());
    assert!(chunk(&mut console, next + 21, " picture\x1b[?2026l"));
    assert!(console.picture().contains("half a picture"), "{}", console.picture());
}
