//! What someone tries in their first hour at the console, step by step, with a hand-moved clock.

use std::sync::Arc;

use sandwatch::{
    app::{
        Act, Msg,
        action::Action,
        fleet::Mark,
        msg::{Button, Mouse, MouseKind, Reply},
        state::{Overlay, Place},
    },
    base::{clock::Timestamp, fault::Fault, id::SandboxId},
    model::{
        event::{Event, Level},
        history::{HistoryLine, HistoryMark, HistoryPage, SearchHit, SearchPage},
        sandbox::{self, Sandbox},
        session::{ExitStatus, Status},
    },
    vt::key::Mods,
};

use super::app_support::{Console, START, day, lease, preset, sandbox, session};

fn changed(sandbox: Sandbox) -> Msg {
    Msg::Event(Event::Changed { seq: 2, sandbox: Arc::new(sandbox) })
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

/// What the newest notice says.
fn said(console: &Console) -> String {
    console.state.notices.all().next().map_or_else(String::new, |it| it.text.clone())
}

fn refuse(console: &mut Console, wanted: impl Fn(&Act) -> bool, fault: Fault) {
    let id = console.effects.iter().rev().find(|it| wanted(&it.act)).expect("such an effect").id;
    console.send(Msg::Done { id, result: Err(fault) });
}

#[test]
fn one_key_looks_back_from_fleet_and_pane_and_returns_there() {
    for (to, place) in [("", Place::Fleet), ("tab", Place::Panes)] {
        let mut console = Console::with_fleet((120, 40), day());
        console.print("api-refactor", "hello");
        console.keys(to);
        for _ in 0..2 {
            console.keys("l");
            assert!(console.state.copy.is_some(), "{place:?}");
            assert!(console.picture().contains("LOOKING BACK"), "{}", console.picture());
            console.keys("G");
            assert!(console.state.copy.is_none());
            assert_eq!(console.state.place, place);
        }
    }
    // Zoomed meanwhile, the fleet is in sight again.
    let mut console = Console::with_fleet((120, 40), day());
    console.print("api-refactor", "hello");
    console.keys("l z q");
    assert_eq!(console.state.place, Place::Fleet);
    assert!(console.picture().contains("FLEET"), "{}", console.picture());
}

#[test]
fn looking_back_from_the_fleet_is_into_the_row_under_the_cursor() {
    let mut console = Console::with_fleet((200, 40), day());
    console.keys("2 tab tab tab j j");
    assert_eq!(console.state.place, Place::Fleet);
    let row = console.state.fleet.current().unwrap().sandbox.name.clone();
    console.keys("l");
    assert_eq!(console.state.copy.as_ref().unwrap().session.as_str(), row);
}

#[test]
fn a_key_that_means_nothing_says_so_and_where_it_would() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("tab *");
    assert_eq!(said(&console), "* does nothing here; in the fleet it is: mark all");
    console.keys("esc K");
    assert_eq!(said(&console), "K does nothing; ? shows all keys");
    console.keys("ctrl-n K");
    assert_eq!(said(&console), "K does nothing here; q closes the box");
    console.keys("q D j");
    assert_eq!(said(&console), "j does nothing here; esc closes the box");
    // The keys in it are those of the keymap in force.
    let mut console = Console::with_fleet((120, 40), day());
    console.send(Msg::Keymap(Ok(Box::new(preset("k9s")))));
    console.keys("K");
    assert_eq!(said(&console), "K does nothing; ? shows all keys");
    console.send(Msg::Keymap(Ok(Box::new(preset("emacs")))));
    console.keys("tab *");
    assert_eq!(said(&console), "* does nothing here; in the fleet it is: mark all");
}

#[test]
fn only_enter_and_the_button_step_in() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("l g / x enter n N q tab t z z j k ] [ l q s g");
    let shell =
        session("second", &SandboxId::parse("api-refactor").unwrap(), 2, "sh", Status::Idle);
    console.answer(|it| matches!(it, Act::Open { .. }), Reply::Session(Box::new(shell.clone())));
    let mut api = day().remove(0);
    api.sessions.push(shell);
    console.send(changed(api));
    console.keys("j k l q");
    let lease = console.effects.iter().find(|it| matches!(it.act, Act::Lease { .. }));
    assert_eq!(lease, None);
    assert!(console.effects.iter().all(|it| !matches!(it.act, Act::Input { .. })));
    console.keys("enter");
    assert_eq!(console.state.mode(), "TYPING");
}

#[test]
fn nothing_is_taken_over_where_nobody_types() {
    let mut console = Console::with_fleet((120, 40), day());
    assert_eq!(console.keys("tab t"), []);
    assert_eq!(said(&console), "nobody else holds this keyboard; enter steps in");
    let mut api = day().remove(0);
    api.sessions[0].lease = Some(lease("other", "bob"));
    console.send(changed(api));
    assert!(!console.keys("t").is_empty());
}

#[test]
fn a_program_that_has_ended_offers_no_way_in_and_moves_nothing() {
    let mut console =
        Console::with_fleet((120, 40), vec![ended("job", "make", ExitStatus::Code(1))]);
    assert_eq!(console.keys("enter"), []);
    assert_eq!(said(&console), "this program has ended; l shows what it printed");
    assert_eq!(console.state.place, Place::Fleet);
    console.keys("tab");
    assert!(!console.picture().contains("[step in]"), "{}", console.picture());
    let header = console.state.frame().panes[0].header;
    let column = header.x + header.width - 2;
    let kind = MouseKind::Down(Button::Left);
    let acts =
        console.send(Msg::Mouse(Mouse { kind, column, row: header.y, mods: Mods::default() }));
    assert_eq!(acts, []);
    console.keys("l");
    assert!(console.state.copy.is_some());
    console.send(Msg::Keymap(Ok(Box::new(preset("tmux")))));
    console.keys("q enter");
    assert!(said(&console).contains("l shows what it printed"));
}

#[test]
fn a_long_notice_is_read_whole_in_the_bar_and_in_its_box() {
    for size in [(80, 24), (60, 15), (120, 36)] {
        let mut console = Console::with_fleet(size, day());
        let text = "starting a sandbox: no hub runs on this machine: nothing listens on the socket \
                    in the directory of this instance (it is started by every verb, see the log)";
        console.send(Msg::Notice(Level::Error, text.to_owned()));
        for keys in ["", "ctrl-n"] {
            console.keys(keys);
            let picture = console.picture();
            for word in text.split(' ') {
                assert!(picture.contains(word), "{word} at {size:?}: {picture}");
            }
        }
    }
}

#[test]
fn the_palette_opens_with_what_fits_the_selection_then_what_was_run_lately() {
    let first = |console: &mut Console| {
        console.keys("ctrl-k");
        let Some(Overlay::Palette(palette)) = &console.state.overlay else { panic!("no palette") };
        let found = palette.matches();
        assert_eq!(found.last(), Some(&Action::Quit));
        (found[0], found[1])
    };
    let mut console = Console::with_fleet((120, 40), day());
    assert_eq!(first(&mut console).0, Action::StepIn);
    console.keys("esc G");
    assert_eq!(first(&mut console).0, Action::Pause, "nightly is paused");
    console.keys("esc ctrl-k");
    console.text("doctor");
    console.keys("enter esc g");
    assert_eq!(first(&mut console), (Action::StepIn, Action::Doctor));
    let job = ended("job", "make", ExitStatus::Code(1));
    assert_eq!(first(&mut Console::with_fleet((120, 40), vec![job])).0, Action::Scrollback);
    assert_eq!(first(&mut Console::with_fleet((120, 40), Vec::new())).0, Action::New);
}

/// The sessions on screen, pane by pane.
fn shown(console: &Console) -> Vec<Option<String>> {
    let panes = console.state.frame().panes.iter();
    panes.map(|it| console.state.session_in(it.slot).map(ToString::to_string)).collect()
}

#[test]
fn panes_hold_sessions_that_differ() {
    let two = || vec![sandbox("one", "a", Status::Working), sandbox("two", "b", Status::Working)];
    let mut console = Console::with_fleet((200, 40), two());
    console.keys("2");
    let both = [Some("one".to_owned()), Some("two".to_owned())];
    assert_eq!(shown(&console), both);
    // The selection is in a pane of its own: that one is pointed at, the other stays.
    console.keys("j");
    assert_eq!(shown(&console), both);
    assert!(console.picture().contains("> * b — two/1"), "{}", console.picture());
    console.keys("enter");
    assert_eq!(console.state.focused_session().unwrap().as_str(), "two");
    console.keys("ctrl-q 6");
    assert_eq!(shown(&console)[..2], both);
    // One that comes later takes an empty pane.
    console.send(changed(sandbox("three", "c", Status::Working)));
    let named: Vec<String> = shown(&console).into_iter().flatten().collect();
    assert_eq!(named, ["one", "two", "three"]);
}

#[test]
fn keys_never_bring_one_session_into_two_panes() {
    let mut all = day();
    let id = SandboxId::parse("crawler").unwrap();
    all[2].sessions.push(session("crawler2", &id, 2, "sh", Status::Idle));
    let mut console = Console::with_fleet((200, 60), all);
    let keys = "2 j j o j k ] ] [ 4 j tab ] tab ] tab o esc k o 6 j j j o x 2 tab x l q esc j o";
    for key in keys.split(' ') {
        console.key(key);
        let mut named: Vec<String> = shown(&console).into_iter().flatten().collect();
        let count = named.len();
        named.sort();
        named.dedup();
        assert_eq!(named.len(), count, "after {key}: {:?}", shown(&console));
    }
}

#[test]
fn the_dialog_stays_until_the_hub_has_said_yes() {
    let mut console = Console::with_fleet((80, 24), day());
    console.keys("n");
    console.text("nothere --flag");
    assert!(matches!(&console.keys("enter")[..], [Act::Create(_)]));
    assert_eq!(console.keys("enter"), [], "it is asked for once");
    console.text("lost?");
    let why = "run nothere: there is no such program on the search path of the sandbox, \
               nor in the workspace";
    let fault = Fault::failed(why).hint("give its whole path");
    refuse(&mut console, |it| matches!(it, Act::Create(_)), fault);
    let picture = console.picture();
    assert!(picture.contains("nothere --flag") && !picture.contains("lost?"), "{picture}");
    for word in why.split(' ').chain(["(give", "path)"]) {
        assert!(picture.contains(word), "{word}: {picture}");
    }
    let acts = console.keys("ctrl-u c a t enter");
    let Act::Create(order) = &acts[0] else { panic!("{acts:?}") };
    let spec = &order.spec;
    assert_eq!(spec.first.command, ["cat"]);
    let made = sandbox("project", "cat", Status::Working);
    console.answer(|it| matches!(it, Act::Create(_)), Reply::Sandbox(Box::new(made)));
    assert!(console.state.overlay.is_none());
    assert_eq!(console.state.mode(), "TYPING");
}

#[test]
fn the_dialog_goes_to_the_wrong_field_and_knows_home() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("n");
    assert!(console.picture().contains("a shell; type a program"), "{}", console.picture());
    console.keys("tab");
    console.text("My_box");
    console.keys("tab");
    console.keys("ctrl-u");
    console.text("~/src");
    console.keys("enter");
    let wrong = "name: a name is lower-case letters";
    assert!(console.picture().contains(wrong), "{}", console.picture());
    console.keys("ctrl-u");
    console.text("my-box");
    assert!(!console.picture().contains(wrong), "{}", console.picture());
    let acts = console.keys("enter");
    let Act::Create(order) = &acts[0] else { panic!("{acts:?}") };
    let spec = &order.spec;
    assert_eq!(spec.name.as_deref(), Some("my-box"));
    assert_eq!(spec.workspace.path.to_str(), Some("/home/me/src"));
}

#[test]
fn a_program_is_not_an_option() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys(":");
    console.text("run --name zz htop");
    assert_eq!(console.keys("enter"), []);
    assert!(said(&console).contains("a program comes first"), "{}", said(&console));
}

#[test]
fn the_bottom_line_ends_with_help_palette_and_quit_where_they_fit() {
    for (size, keys, wanted) in [
        ((120, 36), "", "? help  ctrl-k palette  q quit"),
        ((80, 24), "", "? help  ctrl-k palette  q quit"),
        ((80, 24), "tab", "? help  ctrl-k palette"),
        ((120, 36), "tab", "? help  ctrl-k palette  ctrl-c quit"),
        ((120, 36), "l", "? help  ctrl-k palette"),
        ((60, 15), "", "? help"),
    ] {
        let mut console = Console::with_fleet(size, day());
        console.print("api-refactor", "x");
        console.keys(keys);
        let picture = console.picture();
        let last = picture.lines().last().unwrap();
        assert!(last.contains(wanted), "{size:?} {keys}: {last}");
        let unseen = console.state.frame().panes.is_empty();
        assert!(last.ends_with("FOLLOWING") || keys == "l" || unseen, "{last}");
    }
}

#[test]
fn help_explains_the_marks() {
    let mut console = Console::with_fleet((80, 24), day());
    console.keys("?");
    console.text("marks");
    let picture = console.picture();
    for mark in Mark::ALL {
        assert!(picture.contains(&format!("{} {}", mark.sign(), mark.word())), "{picture}");
    }
}

fn line(number: u32, text: &str) -> HistoryLine {
    let mark = HistoryMark { segment: 0, line: number };
    HistoryLine { mark, formatted: text.as_bytes().to_vec(), wrapped: false }
}

/// Lines from..to of a history in which every tenth says `hit`.
fn page(from: u32, to: u32) -> Reply {
    let text =
        |it: u32| if it.is_multiple_of(10) { format!("hit {it}") } else { format!("line {it}") };
    let lines = (from..to).map(|it| line(it, &text(it))).collect();
    Reply::History(HistoryPage { lines, at_start: from == 0 })
}

#[test]
fn a_search_goes_both_ways_and_counts() {
    let mut console = Console::with_fleet((120, 30), day());
    console.print("api-refactor", "the newest");
    console.keys("l");
    console.answer(|it| matches!(it, Act::History { .. }), page(0, 60));
    console.keys("/");
    console.text("hit");
    console.keys("enter");
    let at = |console: &Console, words: &str| {
        let picture = console.picture();
        assert!(picture.lines().last().unwrap().contains(words), "{words}: {picture}");
    };
    at(&console, "match 1 of 6");
    console.keys("n n n n n");
    at(&console, "match 6 of 6");
    console.keys("n");
    assert_eq!(said(&console), "no older match");
    console.keys("N N");
    assert!(console.state.notices.showing().is_none(), "it is over once there is one");
    console.keys("esc l");
    console.answer(|it| matches!(it, Act::History { .. }), page(0, 60));
    console.keys("/");
    console.text("hit");
    console.keys("enter n n N");
    at(&console, "match 2 of 6");
}

#[test]
fn newer_matches_are_found_again_after_a_far_jump() {
    let mut console = Console::with_fleet((120, 30), day());
    console.print("api-refactor", "the newest");
    console.keys("l");
    console.answer(|it| matches!(it, Act::History { .. }), page(900, 1000));
    console.keys("/");
    console.text("hit 9[05]0");
    console.keys("enter n");
    assert!(console.picture().contains("match 2"), "{}", console.picture());
    assert!(!console.picture().contains("match 2 of"), "how many there are is not known yet");
    // The next one is far back: the hub finds it, and a page around it replaces what was loaded.
    console.keys("/");
    console.text("hit (9[05]|10)0");
    console.keys("enter");
    let mark = HistoryMark { segment: 0, line: 100 };
    let hits = vec![SearchHit { mark, text: "hit 100".to_owned() }];
    let found = Reply::Search(SearchPage { hits, next: None });
    console.answer(|it| matches!(it, Act::Search { .. }), found);
    console.answer(|it| matches!(it, Act::History { .. }), page(50, 113));
    assert!(console.picture().contains("hit 100"), "{}", console.picture());
    let acts = console.keys("N");
    assert!(matches!(&acts[..], [Act::History { .. }]), "{acts:?}");
    console.answer(|it| matches!(it, Act::History { .. }), page(600, 913));
    let copy = console.state.copy.as_ref().unwrap();
    assert_eq!(copy.line(copy.cursor.line).unwrap().text, "hit 900");
}

#[test]
fn what_is_done_to_many_is_said_once() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("* x");
    console.read();
    console.keys("y");
    let stops: Vec<_> =
        console.effects.iter().filter(|it| matches!(it.act, Act::Stop(_))).cloned().collect();
    assert_eq!(stops.len(), 5);
    for (at, stop) in stops.into_iter().enumerate() {
        let result = if at == 1 { Err(Fault::failed("it is stuck")) } else { Ok(Reply::Nothing) };
        console.send(Msg::Done { id: stop.id, result });
    }
    assert_eq!(said(&console), "stopped 4 of 5 sandboxes; 1 were not");
    let failed = console.state.notices.all().any(|it| it.text == "stopping docs-site: it is stuck");
    assert!(failed);
    console.keys(":");
    console.text("pause nosuch");
    console.keys("enter");
    assert_eq!(said(&console), "there is no sandbox `nosuch`");
}

#[test]
fn small_terminals_say_what_they_lack_and_show_boxes_alone() {
    let mut console = Console::with_fleet((20, 5), day());
    assert_eq!(console.picture().lines().nth(1), Some("needs 60x15, this is"));
    assert_eq!(console.picture().lines().nth(2), Some("20x5"));
    console.send(Msg::Resize(60, 15));
    console.keys("n");
    let picture = console.picture();
    assert!(!picture.contains("sandwatch") && !picture.contains("BOX"), "{picture}");
    assert!(picture.contains("enter start"), "{picture}");
    console.keys("esc 4");
    assert_eq!(said(&console), "4 panes; tab shows them, there is no room beside");
    let mut console = Console::with_fleet((60, 15), vec![sandbox("one", "a", Status::Idle)]);
    console.keys("T");
    let picture = console.picture();
    assert!(picture.lines().next().unwrap().contains("[2]   "), "{picture}");
}

#[test]
fn a_wide_terminal_shows_commands_whole() {
    let mut one = sandbox("one", "/usr/bin/claude", Status::Working);
    one.sessions[0].command.push("fix the failing test".to_owned());
    let console = Console::with_fleet((300, 100), vec![one.clone()]);
    assert!(console.state.frame().fleet.unwrap().1.width > 46);
    assert!(console.picture().contains("claude fix the failing"), "{}", console.picture());
    let console = Console::with_fleet((80, 24), vec![one]);
    assert!(!console.picture().contains("claude fix"), "{}", console.picture());
}

#[test]
fn a_marked_row_shows_the_cursor_too() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("space k");
    assert!(console.picture().contains(">!▌api-refactor"), "{}", console.picture());
    console.keys("j");
    assert!(console.picture().contains(" !▌api-refactor"), "{}", console.picture());
    assert!(console.picture().contains(">~ docs-site"), "{}", console.picture());
}
