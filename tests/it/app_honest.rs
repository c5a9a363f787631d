//! What the console says is so, is said where it belongs, and names a way on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sandwatch::{
    app::{
        Act, Msg,
        dialog::Field,
        fleet::Mark,
        msg::Reply,
        state::{Overlay, State},
        wake::age,
    },
    base::{clock::Timestamp, fault::Fault, id::SessionId},
    model::{
        event::Event,
        fact::Fact,
        history::{HistoryLine, HistoryMark, HistoryPage, SearchPage},
        sandbox::{self, Egress, Sandbox, WorkspaceMode},
        session::{Asking, ExitStatus, Status},
    },
};

use super::app_support::{Console, START, day, lease, sandbox};

fn changed(it: &Sandbox) -> Msg {
    Msg::Event(Event::Changed { seq: 2, sandbox: Arc::new(it.clone()) })
}

fn says(session: &str, fact: Fact) -> Msg {
    Msg::Event(Event::Said { seq: 3, session: SessionId::parse(session).unwrap(), fact })
}

fn mark(state: &State, name: &str) -> Mark {
    state.fleet.named(name).unwrap().mark()
}

/// The bottom line.
fn bottom(console: &Console) -> String {
    console.picture().trim_end().lines().last().unwrap_or_default().to_owned()
}

/// What the newest notice says, as long as it is shown.
fn showing(console: &Console) -> String {
    console.state.notices.showing().map_or_else(String::new, |it| it.text.clone())
}

fn stopped(name: &str) -> Sandbox {
    let mut it = sandbox(name, "claude", Status::Exited);
    it.state = sandbox::State::Stopped;
    it.stop_asked = true;
    it.sessions[0].exit = Some(ExitStatus::Code(0));
    it.sessions[0].exited_at = Some(Timestamp(START));
    it.capabilities.snapshot = true;
    it
}

#[test]
fn an_agent_that_asks_elsewhere_is_told_of_once_and_stays_in_the_box_about_it() {
    let mut console = Console::with_fleet((120, 40), vec![sandbox("a", "claude", Status::Idle)]);
    let mut told = |reaches, why: &str| {
        let mut it = sandbox("a", "claude", Status::Idle);
        it.sessions[0].asking = Some(Asking { reaches, why: why.to_owned() });
        let before = console.state.notices.all().count();
        console.send(changed(&it));
        (console.state.notices.all().count() - before, showing(&console))
    };
    assert_eq!(told(true, "it told so").0, 0);
    // Words alone make nothing of it.
    assert_eq!(told(true, "asks are NOT reaching us").0, 0);
    let (news, words) = told(false, "it asks reach us nobody");
    assert_eq!((news, words.as_str()), (1, "asks are NOT reaching us: a: it asks reach us nobody"));
    assert_eq!(told(false, "it asks reach us nobody").0, 0);
    let (news, words) = told(false, "its hooks are off");
    assert!(news == 1 && words.ends_with("hooks are off"), "{words}");
    console.keys("i");
    let picture = console.picture();
    assert!(picture.contains("asks are NOT reaching us: a: its hooks are off"), "{picture}");
}

#[test]
fn a_program_that_rings_or_notifies_is_found_until_it_was_looked_at() {
    let note = Fact::Notify { title: None, body: "may I".to_owned() };
    for fact in [Fact::Bell, note] {
        let mut console = Console::with_fleet((120, 40), day());
        console.send(says("sandbox-7", fact.clone()));
        assert_eq!(mark(&console.state, "sandbox-7"), Mark::Calls);
        assert!(console.picture().contains("1 call"), "{}", console.picture());
        console.keys("j j !");
        assert_eq!(console.state.fleet.current().unwrap().sandbox.name, "sandbox-7");
        assert!(console.picture().contains(">^"), "{}", console.picture());
        // What the hub tells of it meanwhile changes nothing.
        console.send(changed(&sandbox("sandbox-7", "bash", Status::Working)));
        assert_eq!(mark(&console.state, "sandbox-7"), Mark::Calls);
        console.read();
        console.keys("k");
        assert_eq!(mark(&console.state, "sandbox-7"), Mark::Working);
        // It rings while somebody types into it, and again when they are elsewhere.
        console.keys("j");
        console.step_in();
        console.send(says("sandbox-7", fact.clone()));
        assert_eq!(mark(&console.state, "sandbox-7"), Mark::Working);
        console.send(Msg::Focus(false));
        console.send(says("sandbox-7", fact));
        assert_eq!(mark(&console.state, "sandbox-7"), Mark::Calls);
        console.keys("a");
        assert_eq!(mark(&console.state, "sandbox-7"), Mark::Working);
    }
    // Running past it is not looking.
    let mut console = Console::with_fleet((120, 40), day());
    console.send(says("crawler", Fact::Bell));
    console.keys("j j j j");
    assert_eq!(mark(&console.state, "crawler"), Mark::Calls);
}

#[test]
fn help_explains_the_marks_by_what_they_mean() {
    let mut console = Console::with_fleet((120, 60), day());
    console.keys("?");
    console.text("marks");
    let picture = console.picture();
    assert!(
        picture.contains("^ calls")
            && picture.contains("! asks")
            && picture.contains("~ stuck: does not"),
        "{picture}"
    );
}

#[test]
fn help_begins_with_the_keys_of_the_place_and_is_whole_at_80_columns() {
    for (keys, first) in [
        ("?", "in the fleet"),
        ("tab ?", "in a pane you watch"),
        ("l ?", "in scrollback"),
        ("S ?", "in snapshots"),
        ("enter ctrl-b ?", "in a pane you type into"),
    ] {
        let mut console = Console::with_fleet((80, 24), day());
        console.print("api-refactor", "$ ");
        console.keys(keys);
        let picture = console.picture();
        let at = |it: &str| picture.find(it).unwrap_or(usize::MAX);
        assert!(at(first) < usize::MAX, "{keys}: {picture}");
        assert!(at(first) < at("marks in the fleet"), "{keys}: {picture}");
    }
    let mut console = Console::with_fleet((80, 24), day());
    console.keys("?");
    console.text("list.filter");
    let words = console.picture();
    for part in ["Narrow the fleet", "status:failed", "turns", "around."] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn now_is_what_prints_now_and_all_else_has_its_age() {
    let mut quiet = sandbox("quiet", "bash", Status::Idle);
    quiet.sessions[0].last_output_at = Some(Timestamp(START - 41_000));
    let console =
        Console::with_fleet((120, 40), vec![quiet, sandbox("busy", "x", Status::Working)]);
    let picture = console.picture();
    let row = |name: &str| picture.lines().skip(2).find(|it| it.contains(name)).unwrap().to_owned();
    assert!(row("quiet").contains("40s") && !row("quiet").contains("now"), "{picture}");
    assert!(row("busy").contains("now"), "{picture}");
    assert!(console.state.wake_at().is_some());
    let seconds = Duration::from_secs;
    for (millis, shown, next) in [
        (0, 0, 5_000),
        // All at common moments, of which the start is one.
        (4_999, 0, 5_000),
        (59_000, 55, 5_000),
        (61_000, 60, 60_000),
        (3_600_000, 3600, 3_600_000),
        (-9, 0, 10_000),
    ] {
        let (age, until) = age(Timestamp(START - millis), Timestamp(START));
        assert_eq!((age, until), (seconds(shown), Duration::from_millis(next)), "{millis}");
    }
}

#[test]
fn ages_change_together_and_what_changes_nothing_draws_nothing() {
    let quiet = |name: &str, millis: i64| {
        let mut it = sandbox(name, "bash", Status::Idle);
        it.sessions[0].last_output_at = Some(Timestamp(START - millis));
        it
    };
    let rows = [("a", 1_100), ("b", 12_345), ("c", 33_999), ("d", 600_000)];
    let rows = rows.map(|(name, millis)| quiet(name, millis));
    let mut console = Console::with_fleet((120, 40), rows.to_vec());
    console.send(Msg::Focus(true));
    console.keys("j");
    console.read();
    for seconds in [5, 10, 15] {
        console.state.take_dirty();
        let before = console.picture();
        let wake = console.state.wake_at().unwrap();
        assert_eq!(wake, Duration::from_secs(seconds), "one moment for all");
        // Woken for something else.
        console.send(Msg::Tick);
        assert!(!console.state.take_dirty());
        console.now = wake;
        console.send(Msg::Tick);
        assert!(console.state.take_dirty());
        assert_ne!(console.picture(), before);
    }
    // Ages in minutes are looked at once a minute.
    let mut console = Console::with_fleet((120, 40), vec![quiet("d", 600_000), quiet("e", 90_000)]);
    console.send(Msg::Focus(true));
    assert_eq!(console.state.wake_at(), Some(Duration::from_secs(30)));
}

#[test]
fn what_a_flood_counts_draws_nothing() {
    let mut busy = sandbox("busy", "yes", Status::Working);
    busy.sessions[0].lease = Some(lease("me", "me@here"));
    let mut console = Console::with_fleet((120, 40), vec![busy.clone()]);
    let tell = |console: &mut Console, it: &Sandbox| {
        console.state.take_dirty();
        console.send(changed(it));
        console.state.take_dirty()
    };
    for _ in 0..3 {
        let it = &mut busy.sessions[0];
        it.output_bytes += 1_000_000;
        it.last_output_at = Some(Timestamp(START));
        it.status_why = "printed just now".to_owned();
        it.lease.as_mut().unwrap().used_at = Timestamp(START + 1);
        assert!(!tell(&mut console, &busy));
    }
    // The box about it shows that.
    console.keys("i");
    assert!(tell(&mut console, &busy));
    console.keys("esc");
    busy.sessions[0].status = Status::Idle;
    assert!(tell(&mut console, &busy));
    busy.sessions[0].last_output_at = Some(Timestamp(START - 60_000));
    assert!(tell(&mut console, &busy), "an age is shown");
}

#[test]
fn a_stopped_sandbox_offers_what_works_and_a_way_back() {
    let mut console =
        Console::with_fleet((160, 40), vec![stopped("job"), sandbox("other", "x", Status::Idle)]);
    let line = bottom(&console);
    assert!(line.contains("r start again") && line.contains("S snapshots"), "{line}");
    assert!(!line.contains("step in") && !line.contains("pause"), "{line}");
    console.keys("s");
    assert_eq!(showing(&console), "job is stopped, and has no shell then; r starts it again");
    console.keys("enter");
    assert!(showing(&console).ends_with("r starts it again"), "{}", showing(&console));
    assert_eq!(console.keys("r"), []);
    console.read();
    assert!(console.picture().contains("Start job again?"), "{}", console.picture());
    let acts = console.keys("y");
    assert!(matches!(acts.as_slice(), [Act::Restore { to: None, .. }]), "{acts:?}");
    let again = sandbox("job", "claude", Status::Working);
    console.answer(|it| matches!(it, Act::Restore { .. }), Reply::Sandbox(Box::new(again)));
    assert!(console.state.notices.all().any(|it| it.text == "job is started again"));
    // One that runs is not started.
    console.keys("g r");
    assert_eq!(showing(&console), "job is not stopped");
    // And the box that stops says how to get back.
    let mut other = sandbox("other", "x", Status::Idle);
    other.capabilities.snapshot = true;
    console.send(changed(&other));
    console.keys("G x");
    assert!(console.picture().contains("r starts a stopped one again"), "{}", console.picture());
}

#[test]
fn the_first_page_does_not_offer_what_will_be_refused() {
    for (directory, why) in [
        ("/home/me", "holds your home"),
        ("/", "holds your home"),
        ("/tmp", "shared"),
        ("/usr", "system"),
    ] {
        let mut console = Console::with_fleet((80, 24), Vec::new());
        (console.state.driver, console.state.directory) = ("local".into(), directory.into());
        let picture = console.picture();
        assert!(picture.contains(why) && picture.contains("~/project"), "{picture}");
        assert_eq!(console.keys("enter"), [], "{directory}");
        let Some(Overlay::New(dialog)) = &console.state.overlay else { panic!("no form") };
        assert_eq!(dialog.focus(), Field::Directory);
        assert!(console.picture().contains(why), "{}", console.picture());
        // Without a directory it can be started.
        console.keys("tab right right right enter");
        let Some(Act::Create(order)) = console.effects.last().map(|it| &it.act) else {
            panic!("nothing is started: {}", console.picture())
        };
        assert_eq!(order.spec.workspace.mode, WorkspaceMode::None);
    }
    let mut console = Console::with_fleet((80, 24), Vec::new());
    console.state.driver = "local".to_owned();
    assert!(console.keys("enter").iter().any(|it| matches!(it, Act::Create(_))));
    assert_eq!(console.state.refused_here(), None);
    assert_eq!(console.state.directory, PathBuf::from("/home/me/project"));
}

#[test]
fn an_agent_is_proposed_the_same_network_from_the_first_page_and_in_the_form() {
    let agents = || Msg::Agents(vec!["claude".to_owned(), "aider".to_owned()]);
    let egress = |console: &Console| match &console.state.overlay {
        Some(Overlay::New(dialog)) => dialog.egress,
        _ => panic!("no form"),
    };
    let mut console = Console::with_fleet((100, 30), Vec::new());
    console.state.config.new.egress = Egress::Deny;
    console.send(agents());
    console.keys("enter");
    assert_eq!(egress(&console), Egress::Ask);
    assert!(console.picture().contains("your answer (for an agent)"), "{}", console.picture());
    console.keys("esc n");
    assert_eq!(egress(&console), Egress::Deny);
    console.keys("right");
    assert_eq!(egress(&console), Egress::Ask);
    // For another program it is as configured again.
    console.text(" x");
    console.keys("ctrl-u m a k e");
    assert_eq!(egress(&console), Egress::Deny);
    // What was chosen by hand stays.
    console.keys("tab tab tab tab right backtab backtab backtab backtab ctrl-u");
    let chosen = egress(&console);
    console.text("claude");
    assert_eq!(egress(&console), chosen);
}

#[test]
fn a_key_that_the_agent_does_not_get_is_named_and_its_value_never_is() {
    let mut console = Console::with_fleet((100, 30), day());
    console.state.keys_set = vec!["ANTHROPIC_API_KEY".to_owned()];
    console.send(Msg::Agents(vec!["claude".to_owned(), "codex".to_owned()]));
    console.keys("n");
    let says = "your ANTHROPIC_API_KEY is not passed on";
    assert!(!console.picture().contains(says));
    console.text("claude -p hi");
    assert!(console.picture().contains(says), "{}", console.picture());
    console.keys("tab tab tab tab tab");
    console.text("ANTHROPIC_API_KEY");
    assert!(!console.picture().contains(says), "{}", console.picture());
    console.keys("ctrl-u backtab backtab backtab backtab backtab ctrl-u");
    console.text("codex");
    assert!(!console.picture().contains(says));
}

#[test]
fn what_is_said_of_a_place_goes_when_it_is_left() {
    let mut console = Console::with_fleet((120, 40), day());
    console.keys("K");
    assert!(showing(&console).starts_with("K does nothing"));
    console.keys("j");
    assert!(showing(&console).starts_with("K does nothing"), "still there");
    console.keys("tab");
    assert_eq!(showing(&console), "");
    assert!(bottom(&console).contains("enter step in"), "{}", bottom(&console));
    // What does not get through is about this pane.
    console.keys("q");
    console.print("api-refactor", "$ ");
    console.step_in();
    for _ in 0..100 {
        console.send(Msg::Paste("a".repeat(60_000)));
    }
    assert!(showing(&console).contains("get through"), "{}", showing(&console));
    console.keys("ctrl-b d");
    assert_eq!(showing(&console), "");
    // News that nobody asked for stays for its time.
    console.send(Msg::Notice(sandwatch::model::event::Level::Info, "news".to_owned()));
    console.keys("tab");
    assert_eq!(showing(&console), "news");
}

#[test]
fn selecting_is_said_and_a_search_that_goes_on_takes_its_words_back() {
    let mut console = Console::with_fleet((120, 40), day());
    console.print("api-refactor", "one\r\ntwo one\r\n\r\n$ ");
    console.keys("l");
    assert_eq!(console.state.mode(), "SCROLL");
    console.keys("v");
    assert_eq!(console.state.mode(), "SELECT");
    assert!(bottom(&console).contains("v end selecting"), "{}", bottom(&console));
    console.keys("v");
    assert_eq!(console.state.mode(), "SCROLL");
    console.answer(|it| matches!(it, Act::History { .. }), Reply::History(start(Vec::new())));
    console.keys("/ o n e enter N");
    assert_eq!(showing(&console), "no newer match");
    console.keys("n");
    assert_eq!(showing(&console), "", "{}", bottom(&console));
}

fn start(lines: Vec<HistoryLine>) -> HistoryPage {
    HistoryPage { lines, at_start: true }
}

fn line(segment: u64, line: u32, text: &str) -> HistoryLine {
    HistoryLine {
        mark: HistoryMark { segment, line },
        formatted: text.as_bytes().to_vec(),
        wrapped: false,
    }
}

#[test]
fn a_search_without_a_match_names_the_pattern_and_a_long_one_can_be_stopped() {
    let mut console = Console::with_fleet((120, 40), day());
    console.print("api-refactor", "one\r\n$ ");
    console.keys("l");
    let older = HistoryPage { lines: vec![line(9, 900, "old")], at_start: false };
    console.answer(|it| matches!(it, Act::History { .. }), Reply::History(older));
    console.keys("/ z z enter");
    let none = |next| Reply::Search(SearchPage { hits: Vec::new(), next });
    let search = |it: &Act| matches!(it, Act::Search { .. });
    let on = Some(HistoryMark { segment: 5, line: 0 });
    console.answer(search, none(on));
    console.now += Duration::from_secs(2);
    console.send(Msg::Tick);
    let line = bottom(&console);
    assert!(line.contains("searching for zz 2s") && line.contains("esc stops it"), "{line}");
    let acts = console.keys("esc");
    assert!(matches!(acts.as_slice(), [Act::Cancel(_)]), "{acts:?}");
    assert!(console.state.copy.is_some(), "scrollback stays");
    console.keys("n");
    console.answer(search, none(None));
    assert_eq!(showing(&console), "zz: not found");
    // Leaving ends it too.
    console.keys("n");
    let acts = console.keys("q");
    assert!(acts.iter().any(|it| matches!(it, Act::Cancel(_))), "{acts:?}");
}

#[test]
fn g_goes_to_the_oldest_line_there_is() {
    let mut console = Console::with_fleet((120, 40), day());
    console.print("api-refactor", "one\r\n$ ");
    console.keys("l");
    let history = |it: &Act| matches!(it, Act::History { .. });
    let older = HistoryPage { lines: vec![line(9, 900, "old")], at_start: false };
    console.answer(history, Reply::History(older));
    console.keys("g");
    // The page that is on its way first.
    let older = HistoryPage { lines: vec![line(9, 899, "older")], at_start: false };
    console.answer(history, Reply::History(older));
    console.keys("g");
    let first = (0..300).map(|it| line(0, it, &format!("first {it}"))).collect();
    console.answer(history, Reply::History(start(first)));
    console.keys("g");
    assert!(console.picture().contains("first 0"), "{}", console.picture());
    assert!(console.state.copy.as_ref().unwrap().at_start);
    console.keys("G");
    assert!(console.state.copy.is_none());
}

#[test]
fn the_wheel_goes_as_far_as_it_was_turned_though_lines_come_late() {
    let mut console = Console::with_fleet((120, 40), day());
    console.print("api-refactor", "one\r\n$ ");
    console.keys("l");
    let body = console.state.frame().panes[0].body;
    let kind = sandwatch::app::msg::MouseKind::WheelUp;
    for _ in 0..5 {
        let (column, row, mods) = (body.x + 2, body.y + 2, <_>::default());
        console.send(Msg::Mouse(sandwatch::app::msg::Mouse { kind, column, row, mods }));
    }
    let lines = (0..200).map(|it| line(3, it, &format!("line {it}"))).collect();
    console.answer(|it| matches!(it, Act::History { .. }), Reply::History(start(lines)));
    assert_eq!(console.state.copy.as_ref().unwrap().top(), 200 - 15);
}

#[test]
fn the_box_over_a_taken_keyboard_says_when_it_is_free() {
    let mut held = day().remove(0);
    held.sessions[0].lease = Some(lease("other", "bob"));
    let mut console = Console::with_fleet((120, 40), vec![held.clone()]);
    console.keys("enter");
    assert!(console.picture().contains("the keyboard is taken"), "{}", console.picture());
    held.sessions[0].lease = None;
    console.send(changed(&held));
    console.read();
    let picture = console.picture();
    assert!(picture.contains("the keyboard is free") && picture.contains("t take it"), "{picture}");
    let acts = console.keys("t");
    assert!(acts.iter().any(|it| matches!(it, Act::Lease { .. })), "{acts:?}");
    assert_eq!(console.state.mode(), "TYPING");
}

#[test]
fn a_filter_that_nothing_passes_names_the_words_and_gives_the_cursor_back() {
    let mut console = Console::with_fleet((80, 24), day());
    console.keys("j j /");
    console.text("status:foo");
    let words = console.picture().replace('│', " ");
    for word in ["status: is one", "calls", "failed", "unknown"] {
        assert!(words.contains(word), "{word}: {words}");
    }
    console.keys("esc");
    assert_eq!(console.state.fleet.current().unwrap().sandbox.name, "crawler");
    console.keys("/");
    console.text("colour:red");
    assert!(console.picture().contains("tokens are"), "{}", console.picture());
}

#[test]
fn the_form_says_what_failed_without_a_number_of_the_system() {
    let mut console = Console::with_fleet((100, 30), day());
    console.keys("n enter");
    let id = console.effects.iter().rev().find(|it| matches!(it.act, Act::Create(_))).unwrap().id;
    let why = "workspace /x: No such file or directory (os error 2)";
    console.send(Msg::Done { id, result: Err(Fault::invalid(why).hint("choose another")) });
    let picture = console.picture();
    assert!(picture.contains("No such file or directory (choose another)"), "{picture}");
}
