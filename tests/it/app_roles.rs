//! What somebody may not do is said before it is tried: by hints, in boxes, and by a line where a key asks for it.

use sandwatch::{
    app::{
        Act, Msg,
        action::{Action, TAKES},
        hubs::Hub,
        msg::Reply,
    },
    base::id::HubNumber,
    hub::roles,
    model::{
        ask::{AskKind, RiskLevel},
        member::Role,
        session::Status,
    },
};

use crate::{
    app_asks::{answered, is_asks, settle},
    app_support::{Console, ask, sandbox},
};

const SIZE: (u16, u16) = (120, 30);

#[test]
fn the_console_expects_of_each_action_what_the_hub_does() {
    for (action, call, least) in TAKES {
        let path = format!("/sandwatch.v1.{}", call.replace('.', "/"));
        let told = roles::find(&path).unwrap_or_else(|| panic!("{action:?}: no call {call}"));
        assert_eq!(told.least, *least, "{action:?}");
        assert_eq!(action.least(), *least, "{action:?}");
    }
    assert_eq!(Action::Diff.least(), Role::Viewer);
}

fn console(role: Role) -> Console {
    let mut one = sandbox("box", "claude", Status::Working);
    one.asks = vec![ask("ask-1", "box", AskKind::Exec, "make all", RiskLevel::Low)];
    let mut console = Console::with_fleet(SIZE, vec![one]);
    console.send(Msg::Role(role));
    later(&mut console);
    console
}

/// What came on screen has been seen.
fn later(console: &mut Console) {
    console.now += std::time::Duration::from_secs(5);
    console.send(Msg::Tick);
}

fn said(console: &Console) -> String {
    console.state.notices.showing().map_or_else(String::new, |it| it.text.clone())
}

fn hints(console: &Console) -> String {
    console.picture().lines().last().unwrap().to_owned()
}

#[test]
fn a_viewer_is_told_what_they_can_do_and_not_led_to_what_they_can_t() {
    let mut console = console(Role::Viewer);
    let top = console.picture().lines().next().unwrap().to_owned();
    assert!(top.contains("local (viewer)"), "{top}");
    let told = hints(&console);
    assert!(told.contains("enter watch") && told.contains("changes"), "{told}");
    for no in ["pause", "snapshot", "shell", "step in", "new sandbox"] {
        assert!(!told.contains(no), "{no}: {told}");
    }
    // A key that asks for it all the same is answered here, and nothing is sent.
    for (key, words) in [
        ("p", "pause or resume takes an operator; on local you are a viewer"),
        ("s", "shell takes an operator"),
        ("c", "snapshot takes an operator"),
        ("f", "files takes an operator"),
        ("x", "stop takes an operator"),
        ("D", "remove takes an admin"),
        ("n", "new sandbox takes an admin"),
    ] {
        later(&mut console);
        let acts = console.keys(key);
        assert!(acts.is_empty() && console.state.overlay.is_none(), "{key}: {acts:?}");
        assert!(said(&console).contains(words), "{key}: {}", said(&console));
    }
    // Watching is theirs: the pane is there, and the keyboard is not asked for.
    later(&mut console);
    let acts = console.keys("enter");
    let watched = console.effects.iter().any(|it| matches!(it.act, Act::Subscribe { .. }));
    assert!(watched, "{acts:?}");
    assert!(!acts.iter().any(|it| matches!(it, Act::Lease { .. })), "{acts:?}");
    assert!(said(&console).contains("you watch: typing takes an operator"), "{}", said(&console));
    assert!(console.state.grip.is_none() && !console.picture().contains("[step in]"));
    // Help and palette have it too.
    console.keys("?");
    console.text("freeze every");
    assert!(console.picture().contains("Takes an operator."), "{}", console.picture());
    console.keys("esc esc");
    console.keys("ctrl-k");
    console.text("pause");
    assert!(console.picture().contains("takes an operator"), "{}", console.picture());
}

#[test]
fn an_ask_says_who_may_answer_it() {
    let open = |console: &mut Console| {
        console.keys("I");
        console.answer(is_asks, Reply::Asks(Vec::new()));
        console.keys("I");
        settle(console);
    };
    let mut viewer = console(Role::Viewer);
    open(&mut viewer);
    let picture = viewer.picture();
    assert!(
        picture.contains("answering takes an operator; on local you are a viewer"),
        "{picture}"
    );
    assert!(!picture.contains("[a]") && !picture.contains("[d]"), "{picture}");
    for key in ["a", "d", "s", "A", "c"] {
        assert_eq!(answered(&viewer.keys(key)).len(), 0, "{key}");
        assert!(viewer.state.overlay.is_none() && viewer.state.line.is_none(), "{key}");
    }
    let mut operator = console(Role::Operator);
    open(&mut operator);
    let picture = operator.picture();
    assert!(picture.contains("[a] allow once") && !picture.contains("[A]"), "{picture}");
    operator.keys("A");
    assert!(said(&operator).contains("allow always takes an admin"), "{}", said(&operator));
    settle(&mut operator);
    assert_eq!(answered(&operator.keys("a")).len(), 1);
}

#[test]
fn a_role_is_one_hub_s_and_may_be_another_at_any_time() {
    let mut one = console(Role::Viewer);
    one.send(Msg::Role(Role::Operator));
    assert!(one.keys("p").iter().any(|it| matches!(it, Act::Pause(_))));
    assert!(one.picture().contains("local (operator)"), "{}", one.picture());
    one.send(Msg::Role(Role::Admin));
    assert!(!one.picture().contains("(operator)"));

    // Of several, the one that is meant.
    let mut console = console(Role::Admin);
    let hub = |number, name: &str, role| {
        let link = sandwatch::app::Link::Up(None);
        let (name, address) = (name.to_owned(), format!("ssh://{name}"));
        Hub { number, name, address, link, role, again_at: None, silent: None, left_out: 0 }
    };
    console.send(Msg::Hubs(vec![
        hub(HubNumber::FIRST, "local", Role::Admin),
        hub(HubNumber(1), "work", Role::Viewer),
    ]));
    let mut theirs = sandbox("far", "codex", Status::Idle);
    theirs.id = theirs.id.of_hub(HubNumber(1));
    theirs.name = "far@work".to_owned();
    theirs.sessions.clear();
    let id = theirs.id.clone();
    console.send(Msg::Event(sandwatch::model::event::Event::Part {
        hub: HubNumber(1),
        reason: sandwatch::model::event::SnapshotReason::First,
        sandboxes: crate::app_support::shared(vec![theirs]),
    }));
    assert!(console.picture().contains("viewer, up"), "{}", console.picture());
    later(&mut console);
    assert!(console.keys("p").iter().any(|it| matches!(it, Act::Pause(_))));
    assert!(console.state.fleet.select(&id));
    later(&mut console);
    assert!(console.keys("p").is_empty());
    assert!(said(&console).contains("on work you are a viewer"), "{}", said(&console));
    // Which hub makes a new one, its form asks.
    later(&mut console);
    console.keys("n");
    assert!(console.state.overlay.is_some());
}
