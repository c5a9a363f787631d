//! What a key hits: the row under the cursor, never its neighbour, never what is out of sight.

use std::sync::Arc;
use std::time::Duration;

use sandwatch::{
    app::{
        Act, Msg,
        lost::DEAF_FOR,
        msg::Reply,
        state::{Overlay, Place},
    },
    base::{clock::Timestamp, id::SandboxId, id::SessionId},
    model::{
        event::Event,
        fact::Fact,
        sandbox::{Sandbox, State as Life},
        session::Status,
    },
    runtime::LeaseVerb,
};

use super::app_support::{Console, START, day, lease, sandbox, session};

fn changed(sandbox: Sandbox) -> Msg {
    Msg::Event(Event::Changed { seq: 2, sandbox: Arc::new(sandbox) })
}

fn removed(name: &str) -> Msg {
    Msg::Event(Event::Removed { seq: 3, id: SandboxId::parse(name).unwrap() })
}

fn current(console: &Console) -> &str {
    console.state.fleet.current().map_or("", |it| &it.sandbox.name)
}

#[test]
fn a_row_that_no_longer_passes_the_filter_stays_until_the_cursor_leaves_it() {
    let mut console = Console::with_fleet((100, 30), day());
    console.state.fleet.filter("status:stuck");
    console.state.fleet.filter("driver:fake !status:idle");
    console.keys("g j");
    assert_eq!(current(&console), "docs-site");
    let shown = console.state.fleet.counts().0;
    let mut idle = day().remove(1);
    idle.sessions[0].status = Status::Idle;
    console.send(changed(idle));
    assert_eq!(current(&console), "docs-site");
    assert!(matches!(&console.keys("p")[..], [Act::Pause(it)] if it.as_str() == "docs-site"));
    assert_eq!(console.state.fleet.counts().0, shown);
    console.keys("j");
    assert_eq!(current(&console), "crawler");
    assert_eq!(console.state.fleet.counts().0, shown - 1);
    console.keys("k");
    assert_eq!(current(&console), "api-refactor");
}

#[test]
fn a_neighbour_that_slid_under_the_cursor_is_not_hit_by_the_next_key() {
    for key in ["p", "enter", "s", "x", "D"] {
        let mut console = Console::with_fleet((100, 30), day());
        console.keys("j");
        console.send(removed("docs-site"));
        assert_eq!(current(&console), "crawler");
        let hit = |it: &Act| !matches!(it, Act::Subscribe { .. } | Act::Unsubscribe { .. });
        assert!(!console.keys(key).iter().any(hit), "{key}");
        assert!(console.state.overlay.is_none() && !console.state.is_typing(), "{key}");
        console.now += DEAF_FOR;
        console.keys(key);
        let opened = console.state.overlay.is_some() || console.state.is_typing();
        assert!(opened || console.effects.iter().any(|it| hit(&it.act)), "{key}");
    }
    // Whoever moves has looked.
    let mut console = Console::with_fleet((100, 30), day());
    console.send(removed("api-refactor"));
    console.keys("j");
    assert!(matches!(console.keys("p")[..], [Act::Pause(_)]));
}

#[test]
fn old_news_of_another_holder_takes_no_keyboard_away() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("enter");
    let mut mine = lease("me", "me@here");
    mine.since = Timestamp(START + 50);
    console.answer(|it| matches!(it, Act::Lease { .. }), Reply::Lease(Some(mine)));
    let mut news = day().remove(0);
    news.sessions[0].lease = Some(lease("bob", "bob@there"));
    console.send(changed(news.clone()));
    assert!(console.state.is_typing());
    news.sessions[0].lease.as_mut().unwrap().since = Timestamp(START + 90);
    console.send(changed(news));
    assert!(!console.state.is_typing());
}

#[test]
fn what_is_done_to_one_is_done_to_the_row_under_the_cursor_whatever_is_marked() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("space j i");
    let shown = match &console.state.overlay {
        Some(Overlay::Info { sandbox, .. }) => sandbox.as_str(),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown, "crawler");
    let acts = console.keys("esc s");
    assert!(matches!(&acts[..], [Act::Open { sandbox, .. }] if sandbox.as_str() == "crawler"));
    // In a pane marks are out of mind.
    console.keys("tab");
    let acts = console.keys("p");
    assert!(matches!(&acts[..], [Act::Pause(it)] if it.as_str() == "crawler"), "{acts:?}");
}

#[test]
fn marked_rows_that_the_filter_hides_are_counted_and_paused_only_when_confirmed() {
    let mut console = Console::with_fleet((120, 30), day());
    console.keys("space space");
    assert!(console.picture().contains("2 marked"), "{}", console.picture());
    console.state.fleet.filter("crawler");
    console.read();
    assert!(console.picture().contains("2 marked (2 hidden)"), "{}", console.picture());
    assert_eq!(console.keys("p"), []);
    let picture = console.picture();
    assert!(
        picture.contains("Pause 2 sandboxes?") && picture.contains("not in sight"),
        "{picture}"
    );
    console.read();
    assert!(matches!(console.keys("y")[..], [Act::Pause(_), Act::Pause(_)]));
    console.state.fleet.filter("");
    assert!(matches!(console.keys("p")[..], [Act::Pause(_), Act::Pause(_)]));
}

#[test]
fn keys_of_the_fleet_mean_the_session_under_the_cursor_not_the_focused_pane() {
    let mut all = day();
    let id = SandboxId::parse("crawler").unwrap();
    all[2].sessions.push(session("crawler-2", &id, 2, "bash", Status::Idle));
    let kept = || {
        // The pane in focus keeps another session than the one under the cursor.
        let mut console = Console::with_fleet((160, 40), all.clone());
        console.keys("2 o tab tab q j j");
        assert_eq!((console.state.place, current(&console)), (Place::Fleet, "crawler"));
        console
    };
    let mut console = kept();
    console.keys("z");
    assert_eq!(console.state.focused_session().unwrap().as_str(), "crawler");
    assert!(console.state.grid.tab().zoomed);
    let mut console = kept();
    console.keys("]");
    assert_eq!(console.state.focused_session().unwrap().as_str(), "crawler-2");
    assert_eq!(console.state.place, Place::Fleet);
    let mut news = all[2].clone();
    news.sessions[0].lease = Some(lease("bob", "bob@there"));
    let mut console = kept();
    console.send(changed(news));
    console.keys(":");
    console.text("takeover");
    let acts = console.keys("enter");
    let taken = |it: &Act| {
        matches!(it, Act::Lease { session, verb: LeaseVerb::TakeOver }
        if session.as_str() == "crawler")
    };
    assert!(acts.iter().any(taken), "{acts:?}");
}

#[test]
fn a_hidden_fleet_takes_no_keys_and_comes_back_when_it_is_moved_in() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("F");
    assert_eq!(console.state.place, Place::Panes);
    console.keys("D x");
    assert!(console.state.overlay.is_none());
    console.keys("q");
    assert!(console.state.fleet_shown && console.state.place == Place::Fleet);
    console.keys("F :");
    console.text("list.down");
    console.keys("enter");
    assert!(console.state.fleet_shown);
    console.keys("F :");
    console.text("filter status:stuck");
    console.keys("enter");
    assert!(console.state.fleet_shown);
}

#[test]
fn who_has_gone_on_is_not_drawn_to_what_was_asked_for_before() {
    let made = || Reply::Sandbox(Box::new(sandbox("made", "claude", Status::Working)));
    let asked = |console: &mut Console| {
        console.keys(":");
        console.text("run claude");
        console.keys("enter");
    };
    let create = |it: &Act| matches!(it, Act::Create(_));
    let mut console = Console::with_fleet((100, 30), day());
    asked(&mut console);
    console.answer(create, made());
    assert_eq!(current(&console), "made");
    for keys in ["j", "l"] {
        let mut console = Console::with_fleet((100, 30), day());
        asked(&mut console);
        console.keys(keys);
        let before = current(&console).to_owned();
        console.answer(create, made());
        console.keys("q");
        assert_eq!(current(&console), before, "{keys}");
    }
}

#[test]
fn who_pressed_a_key_since_a_sandbox_was_asked_for_is_not_put_into_it() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("n enter");
    console.now += Duration::from_millis(20);
    console.keys("k");
    let made = sandbox("project", "", Status::Working);
    let id = made.sessions[0].id.clone();
    console.answer(|it| matches!(it, Act::Create(_)), Reply::Sandbox(Box::new(made)));
    assert_eq!(console.state.mode(), "NORMAL");
    assert!(
        console
            .effects
            .iter()
            .all(|it| !matches!(&it.act, Act::Lease { session, .. } if *session == id))
    );
}

#[test]
fn what_has_ended_has_no_part_in_pausing_and_resuming() {
    let state = |name: &str, state| {
        let mut it = sandbox(name, "bash", Status::Idle);
        it.state = state;
        it
    };
    let fleet = |life| vec![state("one", life), state("over", Life::Stopped), state("two", life)];
    let mut console = Console::with_fleet((100, 30), fleet(Life::Running));
    console.keys("*");
    assert!(matches!(&console.keys("p")[..], [Act::Pause(_), Act::Pause(_)]));
    let mut console = Console::with_fleet((100, 30), fleet(Life::Paused));
    console.keys("*");
    assert!(matches!(&console.keys("p")[..], [Act::Resume(_), Act::Resume(_)]));
}

fn says(console: &mut Console, name: &str, fact: Fact) -> Vec<Act> {
    let session = SessionId::parse(name).unwrap();
    console.send(Msg::Event(Event::Said { seq: 4, session, fact }))
}

fn notices(console: &Console) -> Vec<String> {
    console.state.notices.all().map(|it| it.text.clone()).collect()
}

#[test]
fn a_sandbox_that_talks_all_the_time_is_heard_now_and_then_and_counted() {
    let mut console = Console::with_fleet((100, 30), day());
    let note = |at: u32| Fact::Notify { title: None, body: format!("number {at}") };
    for at in 0..500 {
        says(&mut console, "crawler", note(at));
    }
    says(&mut console, "docs-site", note(7));
    assert_eq!(notices(&console), ["docs-site says: number 7", "crawler says: number 0"]);
    console.now += Duration::from_secs(10);
    says(&mut console, "crawler", note(500));
    let newest = "crawler says: number 500 (499 more were not shown)";
    assert_eq!(notices(&console).first().map(String::as_str), Some(newest));
}

#[test]
fn what_a_program_puts_on_the_clipboard_is_told_from_what_the_operator_copied() {
    let mut console = Console::with_fleet((100, 30), day());
    console.step_in();
    let acts = says(&mut console, "api-refactor", Fact::Clipboard(b"a\x1b[2J\rb\nc".to_vec()));
    assert!(matches!(&acts[..], [Act::Clipboard(it)] if it == "a[2Jb\nc"), "{acts:?}");
    console.answer(|it| matches!(it, Act::Clipboard(_)), Reply::Nothing);
    assert_eq!(notices(&console)[0], "api-refactor wrote 2 lines to your clipboard");
    console.keys("ctrl-q y");
    console.answer(|it| matches!(it, Act::Clipboard(_)), Reply::Nothing);
    assert_eq!(notices(&console)[0], "1 line sent to your terminal's clipboard");
}
