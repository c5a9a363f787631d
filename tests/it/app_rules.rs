//! Answers that go along with more: a rule, other words, a snapshot; and the lists of rules, of what went out, and of the
//! audit record.

use sandwatch::{
    app::{
        Act, Msg,
        gate::HELD_FOR,
        msg::{AuditRead, Reply},
        records::Of,
        state::Overlay,
        view::View,
    },
    base::{
        clock::Timestamp,
        fault::Fault,
        id::{AskId, SandboxId},
    },
    model::{
        ask::{AskKind, AskState, Choice, Risk, RiskLevel, Scope},
        audit::{Act as Deed, Action as Done, Entry, Head, NO_HASH},
        rule::{
            Domain, Draft, KnownRule, Match, Proposal, Question, Reach, RuleName, Rulebook, Ruling,
        },
        traffic::{Flow, FlowState, Traffic},
    },
};

use super::{
    app_asks::{asking, in_ask, settle, shown, tell},
    app_support::{Console, day},
    app_views::said,
};

const SIZE: (u16, u16) = (120, 36);
const LINE: &str = "id = \"cargo-test\", verdict = \"allow\", command = [\"cargo\", \"test\"]";

fn draft(line: &str) -> Draft {
    Draft {
        name: RuleName { id: "cargo-test".to_owned(), domain: Domain::All },
        file: "/home/me/.config/sandwatch/policy.toml".to_owned(),
        line: line.to_owned(),
        text:
            "[[rule]]\nid = \"cargo-test\"\nverdict = \"allow\"\ncommand = [\"cargo\", \"test\"]\n"
                .to_owned(),
        notes: vec!["more words may follow those that it names".to_owned()],
        refused: None,
        reach: Reach {
            looked_at: 40,
            allowed: 2,
            denied: 1,
            other: 0,
            matched: vec![Match {
                ask: AskId::parse("old-1").unwrap(),
                sandbox: SandboxId::parse("docs-site").unwrap(),
                sandbox_name: "docs-site".to_owned(),
                kind: AskKind::Exec,
                subject: "cargo test -p x".to_owned(),
                state: AskState::Allowed,
                by: "bob".to_owned(),
                at: Timestamp(1),
            }],
        },
    }
}

fn proposal(line: &str) -> Reply {
    Reply::Proposal(Box::new(Proposal { drafts: vec![draft(line)], ..Proposal::default() }))
}

fn is_propose(act: &Act) -> bool {
    matches!(act, Act::Propose(_))
}

fn chosen(acts: &[Act]) -> Vec<Choice> {
    let of = acts.iter().filter_map(|it| match it {
        Act::Decide { choice, .. } => Some((**choice).clone()),
        _ => None,
    });
    of.collect()
}

/// What lies over the rest was on screen for a while.
fn seen(console: &mut Console) {
    settle(console);
}

#[test]
fn a_rule_is_shown_with_what_it_would_have_answered_before_a_key_makes_it() {
    for (key, scope) in [("A", Scope::Always), ("P", Scope::Project)] {
        let mut console = in_ask(SIZE);
        let acts = console.keys(key);
        let asked = acts.iter().find_map(|it| match it {
            Act::Propose(it) => match &**it {
                Question::Answer { ask, choice, .. } => Some((ask.to_string(), choice.clone())),
                _ => None,
            },
            _ => None,
        });
        let (ask, choice) = asked.expect("the hub is asked for a rule");
        assert_eq!((ask.as_str(), choice.answer.scope, choice.rule), ("ask-1", scope, None));
        // Nothing is answered before it was looked at.
        assert!(chosen(&console.keys("enter")).is_empty());
        console.answer(is_propose, proposal(LINE));
        let picture = console.picture();
        for words in [
            "command = [\"cargo\", \"test\"]",
            "of the last 40 asks it would have matched 3: 2 allowed, 1 denied",
            "allowed by bob: exec of docs-site: cargo test -p x",
            "more words may follow",
            "policy.toml",
        ] {
            assert!(picture.contains(words), "{words}:\n{picture}");
        }
        // A key that comes with the picture was not meant for it.
        assert!(chosen(&console.keys("enter")).is_empty());
        seen(&mut console);
        let acts = console.keys("enter");
        let choice = chosen(&acts).pop().expect("it is answered");
        assert_eq!((choice.answer.scope, choice.rule.as_deref()), (scope, Some(LINE)));
        assert!(console.state.overlay.is_none());
        assert_eq!(shown(&console).as_deref(), Some("ask-2"));
    }
}

#[test]
fn a_rule_that_was_edited_is_looked_at_anew_and_one_that_is_refused_is_not_made() {
    let mut console = in_ask(SIZE);
    console.keys("A");
    console.answer(is_propose, proposal(LINE));
    seen(&mut console);
    console.keys("backspace");
    let before = console.effects.len();
    let acts = console.keys("enter");
    assert!(chosen(&acts).is_empty() && acts.iter().any(is_propose), "{acts:?}");
    let Act::Propose(asked) = &console.effects[before].act else { panic!("{acts:?}") };
    let Question::Answer { choice, .. } = &**asked else { panic!("{asked:?}") };
    assert_eq!(choice.rule.as_deref(), Some(&LINE[..LINE.len() - 1]));
    let mut refused = draft(&LINE[..LINE.len() - 1]);
    refused.refused = Some("all that it means is denied by rule x".to_owned());
    let reply = Proposal { drafts: vec![refused], ..Proposal::default() };
    console.answer(is_propose, Reply::Proposal(Box::new(reply)));
    assert!(console.picture().contains("it can't be made: all that it means"));
    seen(&mut console);
    assert!(chosen(&console.keys("enter")).is_empty());
    // What no rule may allow is said in words, and the box is not left open on nothing.
    let mut console = in_ask(SIZE);
    console.keys("A");
    let id = console.effects.iter().rev().find(|it| is_propose(&it.act)).unwrap().id;
    let fault = Fault::unsupported("no rule can be made of it: it writes to a file");
    console.send(Msg::Done { id, result: Err(fault) });
    assert!(console.state.overlay.is_none() && said(&console).contains("writes to a file"));
    // The request is another one meanwhile.
    console.keys("A");
    console.answer(is_propose, proposal(LINE));
    tell(&mut console, 0, Vec::new());
    assert!(console.state.overlay.is_none());
}

#[test]
fn what_is_grave_wants_its_word_for_a_rule_too() {
    let mut console = in_ask(SIZE);
    console.keys("tab");
    seen(&mut console);
    assert_eq!(shown(&console).as_deref(), Some("ask-2"));
    console.keys("A");
    console.answer(is_propose, proposal(LINE));
    seen(&mut console);
    assert!(chosen(&console.keys("enter")).is_empty());
    assert!(matches!(console.state.overlay, Some(Overlay::Allow(_))));
    seen(&mut console);
    console.now += HELD_FOR;
    console.text("allow");
    let choice = chosen(&console.keys("enter")).pop().expect("the word allows it");
    assert_eq!((choice.answer.scope, choice.rule.as_deref()), (Scope::Always, Some(LINE)));
}

fn editable(size: (u16, u16), subject: &str) -> Console {
    let mut console = in_ask(size);
    let mut ask = asking()[0].asks[0].clone();
    ask.asked.editable = true;
    ask.asked.request.subject = subject.to_owned();
    tell(&mut console, 0, vec![ask]);
    settle(&mut console);
    console.now += HELD_FOR;
    console.send(Msg::Tick);
    console
}

#[test]
fn what_is_allowed_in_other_words_is_looked_at_first() {
    let mut console = in_ask(SIZE);
    console.keys("e");
    assert!(said(&console).contains("no other words"), "{}", said(&console));
    assert!(!console.picture().contains("[e] edit"));

    let risky = |level| {
        let risk = Some(Risk { level, findings: vec!["it deletes".to_owned()] });
        Reply::Proposal(Box::new(Proposal { risk, ..Proposal::default() }))
    };
    for (level, grave) in [(RiskLevel::Low, false), (RiskLevel::High, true)] {
        let mut console = editable(SIZE, "cargo test");
        assert!(console.picture().contains("[e] edit"), "{}", console.picture());
        console.keys("e");
        console.text(" -n");
        let acts = console.keys("enter");
        assert!(chosen(&acts).is_empty() && acts.iter().any(is_propose));
        console.answer(is_propose, risky(level));
        assert!(console.picture().contains("it deletes"));
        seen(&mut console);
        let mut acts = console.keys("enter");
        if grave {
            assert!(chosen(&acts).is_empty());
            // What the box names is what is allowed.
            assert!(console.picture().contains("cargo test -n"), "{}", console.picture());
            seen(&mut console);
            console.now += HELD_FOR;
            console.text("allow");
            acts = console.keys("enter");
        }
        let choice = chosen(&acts).pop().expect("it is allowed");
        assert_eq!(choice.edit.as_deref(), Some("cargo test -n"));
        assert_eq!(choice.answer.scope, Scope::Once);
    }
    // What a line can't hold is not silently another.
    for subject in ["a\nb", "a\u{202e}b"] {
        let mut console = editable(SIZE, subject);
        console.keys("e");
        assert!(
            console.state.overlay.is_none() && said(&console).contains("--edit"),
            "{subject:?}"
        );
    }
}

#[test]
fn what_the_hub_looks_at_is_what_is_done_and_no_key_changes_it_meanwhile() {
    let risk = || Some(Risk { level: RiskLevel::Low, findings: Vec::new() });
    let low = || Reply::Proposal(Box::new(Proposal { risk: risk(), ..Proposal::default() }));
    let mut console = editable(SIZE, "ls");
    console.keys("e");
    console.text(" abc");
    assert!(console.keys("enter").iter().any(is_propose));
    console.keys("ctrl-u backspace");
    console.text("rm -rf /");
    console.send(Msg::Paste("rm -rf /".to_owned()));
    assert!(console.picture().contains("looks at it as it is"), "{}", console.picture());
    console.answer(is_propose, low());
    seen(&mut console);
    let choice = chosen(&console.keys("enter")).pop().expect("it is allowed");
    assert_eq!(choice.edit.as_deref(), Some("ls abc"));
    // The same where a rule is proposed.
    let mut console = in_ask(SIZE);
    console.keys("A");
    console.text("id = \"x\"");
    console.answer(is_propose, proposal(LINE));
    seen(&mut console);
    let choice = chosen(&console.keys("enter")).pop().expect("it is answered");
    assert_eq!(choice.rule.as_deref(), Some(LINE));
}

#[test]
fn a_rule_is_made_only_when_all_of_it_was_on_screen() {
    for down in [false, true] {
        let mut console = in_ask((80, 24));
        let mut long = draft(LINE);
        long.notes = (0..40).map(|it| format!("note {it}")).collect();
        console.keys("A");
        let reply = Proposal { drafts: vec![long], ..Proposal::default() };
        console.answer(is_propose, Reply::Proposal(Box::new(reply)));
        seen(&mut console);
        let picture = console.picture();
        assert!(picture.contains("not read yet") && !picture.contains("note 39"), "{picture}");
        let mut read = picture;
        let mut acts = Vec::new();
        for turn in 0..20 {
            console.now += HELD_FOR;
            acts = console.keys(if down && turn < 10 { "down" } else { "enter" });
            if !chosen(&acts).is_empty() {
                break;
            }
            seen(&mut console);
            read += &console.picture();
        }
        assert_eq!(chosen(&acts).len(), 1);
        for it in 0..40 {
            assert!(
                read.contains(&format!("note {it} ")) || read.contains(&format!("note {it}\n"))
            );
        }
        assert!(read.contains("verdict = \"allow\"") && read.contains("policy.toml"));
    }
    // A text of many rows is read from its beginning, and the cursor comes back by a key that edits.
    let mut console = editable((80, 24), &format!("{}end", "word ".repeat(400)));
    for _ in 0..6 {
        console.keys("space");
        seen(&mut console);
    }
    console.keys("e");
    let at_the_end = console.picture();
    console.keys("enter");
    let risk = Some(Risk { level: RiskLevel::Low, findings: Vec::new() });
    let reply = Proposal { risk, ..Proposal::default() };
    console.answer(is_propose, Reply::Proposal(Box::new(reply)));
    let now = console.picture();
    assert!(now.contains("exec of api-refactor"), "{now}");
    assert!(!at_the_end.contains("exec of"), "{at_the_end}");
    seen(&mut console);
    assert!(chosen(&console.keys("enter")).is_empty());
    console.keys("left right backspace");
    assert!(!console.picture().contains("exec of api-refactor"), "{}", console.picture());
}

#[test]
fn a_key_that_is_held_down_looks_and_does_not_do() {
    let mut console = editable(SIZE, "ls");
    console.keys("e");
    console.keys("enter");
    let risk = Some(Risk { level: RiskLevel::Low, findings: Vec::new() });
    let reply = Proposal { risk, ..Proposal::default() };
    console.answer(is_propose, Reply::Proposal(Box::new(reply)));
    let glimpse = console.state.glimpse().expect("something is to be seen");
    console.send(Msg::Drawn(glimpse));
    console.read();
    assert!(chosen(&console.keys("enter")).is_empty());
    assert!(console.picture().contains("the same key again"), "{}", console.picture());
    console.now += HELD_FOR;
    assert_eq!(chosen(&console.keys("enter")).len(), 1);
}

#[test]
fn the_moment_is_kept_first_where_that_is_wanted() {
    let mut console = in_ask(SIZE);
    let choice = chosen(&console.keys("c")).pop().expect("it is answered");
    assert!(choice.snapshot && choice.answer.scope == Scope::Once && choice.edit.is_none());
    // Too soon is too soon for these as well.
    for key in ["A", "P", "e", "c"] {
        let mut console = in_ask(SIZE);
        console.send(Msg::Focus(true));
        let acts = console.keys(key);
        assert!(chosen(&acts).is_empty() && !acts.iter().any(is_propose), "{key}");
        assert!(console.state.overlay.is_none());
    }
}

pub fn known(id: &str, ruling: Ruling, about: &str, domain: Domain) -> KnownRule {
    KnownRule {
        name: RuleName { id: id.to_owned(), domain },
        file: "/home/me/.config/sandwatch/policy.toml".to_owned(),
        ruling,
        about: about.to_owned(),
        why: "harmless \u{202e}".to_owned(),
        until: None,
        hits: 12,
        last_at: Some(Timestamp(1_795_000_000_000)),
    }
}

fn book() -> Reply {
    let project = Domain::Project("/home/me/project".into());
    Reply::Rules(Box::new(Rulebook {
        rules: vec![
            known("tests", Ruling::Allow, "command cargo test|check", Domain::All),
            known("no-push", Ruling::Deny, "command git push", Domain::All),
            known("make", Ruling::Allow, "command make", project),
        ],
        wrong: vec!["/x/y.toml: it can't be understood".to_owned()],
    }))
}

fn in_rules(size: (u16, u16)) -> Console {
    let mut console = Console::with_fleet(size, day());
    let acts = console.keys("P");
    assert!(acts.contains(&Act::Rules), "{acts:?}");
    assert!(console.picture().contains("asking the hub"));
    console.answer(|it| *it == Act::Rules, book());
    console
}

fn at(console: &Console) -> String {
    let Some(View::Records(it)) = console.state.view() else { return String::new() };
    it.current().map(|it| it.cells[1].0.clone()).unwrap_or_default()
}

#[test]
fn the_cursor_stays_on_its_rule_when_the_list_is_read_anew_and_goes_to_a_neighbour_when_that_is_gone()
 {
    let mut console = in_rules((120, 36));
    console.keys("j");
    assert_eq!(at(&console), "no-push");
    let Reply::Rules(all) = book() else { panic!("rules") };
    let mut more = all.clone();
    more.rules.insert(0, known("new", Ruling::Allow, "command ls", Domain::All));
    more.rules[2].hits += 1;
    console.keys("R");
    console.answer(|it| *it == Act::Rules, Reply::Rules(more.clone()));
    assert_eq!(at(&console), "no-push");
    more.rules.remove(2);
    console.keys("R");
    console.answer(|it| *it == Act::Rules, Reply::Rules(more));
    assert_eq!(at(&console), "make");
}

#[test]
fn rules_are_listed_with_their_hits_read_whole_and_taken_out() {
    for size in [(80, 24), (120, 36), (300, 100), (60, 15)] {
        let mut console = in_rules(size);
        let picture = console.picture();
        let about = if size.0 < 80 { "command git" } else { "git push" };
        for words in ["RULES", "no-push", "12", about, "wrong: /x/y.toml"] {
            assert!(picture.contains(words), "{size:?} {words}:\n{picture}");
        }
        assert!(!picture.contains('\u{202e}'));
        console.keys("j");
        assert_eq!(at(&console), "no-push");
        let acts = console.keys("enter");
        let name = RuleName { id: "no-push".to_owned(), domain: Domain::All };
        assert!(acts.contains(&Act::Propose(Box::new(Question::Rule(name.clone())))), "{acts:?}");
        console.answer(is_propose, proposal(LINE));
        console.keys("G");
        let picture = console.picture();
        let open = match console.state.view() {
            Some(View::Records(it)) => it.open.clone().unwrap(),
            _ => panic!("{picture}"),
        };
        let all: String =
            open.page.lines.iter().map(|it| format!("{} {}\n", it.label, it.text)).collect();
        assert!(all.contains("12 times") && all.contains("docs-site: cargo test"), "{all}");
        console.keys("esc x");
        assert!(console.picture().contains("Take out rule no-push?"), "{}", console.picture());
        console.read();
        let acts = console.keys("y");
        assert!(acts.contains(&Act::RemoveRule(name)), "{acts:?}");
        let acts = console.answer(|it| matches!(it, Act::RemoveRule(_)), Reply::Rule(None));
        assert!(acts.contains(&Act::Rules) && said(&console).contains("taken out"));
        console.keys("esc");
        assert!(console.state.view().is_none());
    }
}

#[test]
fn rules_are_filtered_and_a_new_one_is_looked_at_before_it_is_made() {
    let mut console = in_rules(SIZE);
    console.keys("/");
    console.text("project");
    console.keys("enter");
    assert_eq!(at(&console), "make");
    assert!(console.picture().contains("1 of 3"), "{}", console.picture());
    console.keys("/ enter a");
    let typed = "id = \"x\", verdict = \"allow\", command = [\"make\"]";
    console.keys("ctrl-e ctrl-u");
    console.text(typed);
    let acts = console.keys("enter");
    let question = Question::Rules { text: typed.to_owned(), domain: Domain::All };
    assert!(acts.contains(&Act::Propose(Box::new(question))), "{acts:?}");
    let id = console.effects.iter().rev().find(|it| is_propose(&it.act)).unwrap().id;
    console.send(Msg::Done { id, result: Err(Fault::invalid("1:3: an id is 1 to 40 letters")) });
    assert!(console.picture().contains("an id is 1 to 40"), "{}", console.picture());
    console.keys("enter");
    console.answer(is_propose, proposal(typed));
    seen(&mut console);
    let acts = console.keys("enter");
    let add = Act::AddRule { text: typed.to_owned(), domain: Domain::All };
    assert!(acts.contains(&add), "{acts:?}");
    let made = known("x", Ruling::Allow, "command make", Domain::All);
    let acts = console.answer(|it| *it == add, Reply::Rule(Some(Box::new(made))));
    assert!(acts.contains(&Act::Rules) && said(&console).contains("rule x is made"));
    // By its name after `:`, and from the palette.
    let mut console = Console::with_fleet(SIZE, day());
    console.keys(":");
    console.text("rules");
    assert!(console.keys("enter").contains(&Act::Rules));
}

#[test]
fn what_went_out_and_the_audit_record_are_lists_with_a_verdict_on_top() {
    let flow = |number: u64, place: &str, state| Flow {
        number,
        started_at: Timestamp(1_795_000_000_000),
        ended_at: None,
        place: place.to_owned(),
        program: Some("/usr/bin/curl\u{202e}".to_owned()),
        state,
        why: "rule x".to_owned(),
        sent_bytes: 1024,
        received_bytes: 4096,
    };
    for size in [(80, 24), (300, 100)] {
        let mut console = Console::with_fleet(size, day());
        let acts = console.keys("L");
        let sandbox = acts.iter().find_map(|it| match it {
            Act::Traffic(id) => Some(id.clone()),
            _ => None,
        });
        assert!(sandbox.is_some(), "{acts:?}");
        let traffic = Traffic {
            flows: vec![
                flow(2, "evil.example:443", FlowState::Denied),
                flow(1, "pkg.example:443", FlowState::Over),
            ],
            allowed: 1,
            denied: 1,
            ..Traffic::default()
        };
        console.answer(|it| matches!(it, Act::Traffic(_)), Reply::Traffic(Box::new(traffic)));
        let picture = console.picture();
        assert!(picture.contains("1 connection let out, 1 kept in"), "{picture}");
        assert!(picture.contains("evil.example:443") && !picture.contains('\u{202e}'), "{picture}");
        console.keys("enter");
        assert!(console.picture().contains("rule x"), "{}", console.picture());
        console.keys("esc esc");

        let acts = console.keys("U");
        assert!(acts.contains(&Act::Audit));
        let entry = |seq| Entry {
            seq,
            act: Deed::new(Timestamp(seq), "alice", Done::AskDenied, "rm -rf \u{202e}")
                .with("sandbox", "docs-site"),
            prev: NO_HASH.to_owned(),
            hash: NO_HASH.to_owned(),
        };
        let entries: Vec<Entry> = (1..200).rev().map(entry).collect();
        let sound = |sound| AuditRead { entries: entries.clone(), count: 199, sound };
        let head = Head { seq: 199, hash: NO_HASH.to_owned() };
        console.answer(|it| *it == Act::Audit, Reply::Audit(Box::new(sound(Ok(head)))));
        let picture = console.picture();
        assert!(picture.contains("199 entries, sound; the last is 199:"), "{picture}");
        // The record is looked through when it is asked for, and never for a frame.
        let read = |it: &Console| it.effects.iter().filter(|it| it.act == Act::Audit).count();
        let before = read(&console);
        console.keys("j G g");
        console.picture();
        assert_eq!(read(&console), before);
        let acts = console.keys("R");
        assert!(acts.contains(&Act::Audit));
        let flaw = "entry 7: its hash is not that of what it says".to_owned();
        console.answer(|it| *it == Act::Audit, Reply::Audit(Box::new(sound(Err(flaw)))));
        assert!(console.picture().contains("NOT what it was: entry 7"), "{}", console.picture());
        console.keys("enter");
        assert!(console.picture().contains("docs-site"), "{}", console.picture());
        let Some(View::Records(it)) = console.state.view() else { panic!() };
        assert!(it.of == Of::Audit && it.open.is_some());
    }
}
