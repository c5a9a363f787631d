//! The places of snapshots and of changes: what is asked for, what is shown, what is done.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sandwatch::{
    app::{
        Act, Link, Msg,
        diff::{File, Half},
        msg::{Button, DiffRead, Mouse, MouseKind, Reply},
        snapshots::Row,
        state::Overlay,
        view::View,
    },
    base::{
        clock::Timestamp,
        fault::Fault,
        id::{SandboxId, SnapshotId},
    },
    model::{
        change::{
            Applied, AppliedPath, ChangeStatus, FileChange, LineCount, Node, NodeKind, Subject,
            Verdict,
        },
        event::Event,
        sandbox::{Sandbox, Workspace, WorkspaceMode},
        session::Status,
        snapshot::{Snapshot, SnapshotCause, SnapshotKind},
    },
    vt::key::Mods,
};

use super::app_support::{Console, START, day, sandbox};

const SIZE: (u16, u16) = (120, 36);

pub fn kept(id: &str, name: Option<&str>, after: Option<&str>, minutes: i64) -> Snapshot {
    Snapshot {
        id: SnapshotId::parse(id).unwrap(),
        sandbox: SandboxId::parse("api-refactor").unwrap(),
        sandbox_name: "api-refactor".to_owned(),
        driver: "local".to_owned(),
        name: name.map(str::to_owned),
        created_at: Timestamp(START + minutes * 60_000),
        size_bytes: Some(12_345),
        parent: after.map(|it| SnapshotId::parse(it).unwrap()),
        kind: SnapshotKind::Filesystem,
        cause: if name.is_some() { SnapshotCause::Asked } else { SnapshotCause::Restore },
        workspace: Workspace { path: PathBuf::from("/home/me/project"), mode: WorkspaceMode::Cow },
        notes: Vec::new(),
    }
}

/// A line of three with a branch: `first`, then what it was before it was restored, then `second`.
pub fn line() -> Vec<Snapshot> {
    vec![
        kept("aaaa1111", Some("first"), None, 1),
        kept("bbbb2222", None, Some("aaaa1111"), 2),
        kept("cccc3333", None, Some("bbbb2222"), 3),
        kept("dddd4444", Some("second"), Some("aaaa1111"), 4),
    ]
}

pub fn change(path: &str, status: ChangeStatus, added: u64, removed: u64) -> FileChange {
    let node = Some(Node { kind: NodeKind::File, mode: 0o644, bytes: 40 });
    FileChange {
        path: path.as_bytes().to_vec(),
        old_path: None,
        status,
        old: node.filter(|_| status != ChangeStatus::Added),
        new: node.filter(|_| status != ChangeStatus::Deleted),
        lines: Some(LineCount { added, removed }),
        note: None,
    }
}

pub fn changes() -> Vec<FileChange> {
    vec![
        change("src/main.rs", ChangeStatus::Modified, 12, 4),
        change("src/retry.rs", ChangeStatus::Added, 80, 0),
        change("docs/old.md", ChangeStatus::Deleted, 0, 7),
    ]
}

pub const PATCH: &str = "diff --git a/src/main.rs b/src/main.rs\n--- a/src/main.rs\n+++ b/src/main.rs\n\
    @@ -1,4 +1,5 @@ fn main() {\n fn main() {\n-    old();\n+    new();\n+\ttabbed(\u{202e});\n }\n \n\
    @@ -40,2 +41,2 @@\n-gone\n+came\n tail\n";

pub fn is_list(act: &Act) -> bool {
    matches!(act, Act::Diff { request, .. } if !request.text)
}

pub fn is_lines(act: &Act) -> bool {
    matches!(act, Act::Diff { request, .. } if request.text)
}

pub fn read(files: Vec<FileChange>, text: &str) -> Reply {
    let text = text.as_bytes().to_vec();
    Reply::Diff(Box::new(DiffRead { files, text, ..DiffRead::default() }))
}

/// A working day whose sandboxes can all that is asked of them here.
pub fn able() -> Vec<Sandbox> {
    let mut all = day();
    for it in &mut all {
        (it.capabilities.snapshot, it.capabilities.workspace_diff) = (true, true);
        it.capabilities.workspace_apply = true;
    }
    all
}

/// The place of snapshots, with its list and what changed up to now.
pub fn in_snapshots(size: (u16, u16)) -> Console {
    let mut all = able();
    all[0].snapshots = 4;
    all[0].moment = Some(SnapshotId::parse("dddd4444").unwrap());
    let mut console = Console::with_fleet(SIZE, all);
    let acts = console.keys("S");
    assert!(acts.contains(&Act::Snapshots), "{acts:?}");
    console.answer(|it| *it == Act::Snapshots, Reply::Snapshots(line()));
    console.answer(is_list, read(changes(), ""));
    console.send(Msg::Resize(size.0, size.1));
    console
}

/// The place of changes, with the lines of its first file.
pub fn in_diff(size: (u16, u16)) -> Console {
    let mut console = Console::with_fleet(SIZE, able());
    console.keys("d");
    console.answer(is_list, read(changes(), ""));
    console.answer(is_lines, read(Vec::new(), PATCH));
    console.send(Msg::Resize(size.0, size.1));
    console
}

pub fn said(console: &Console) -> String {
    console.state.notices.all().next().map_or_else(String::new, |it| it.text.clone())
}

fn refuse(console: &mut Console, wanted: impl Fn(&Act) -> bool, fault: Fault) {
    let id = console.effects.iter().rev().find(|it| wanted(&it.act)).expect("such an effect").id;
    console.send(Msg::Done { id, result: Err(fault) });
}

pub fn changed(sandbox: Sandbox) -> Msg {
    Msg::Event(Event::Changed { seq: 2, sandbox: Arc::new(sandbox) })
}

pub fn at(console: &Console) -> String {
    match console.state.view() {
        Some(View::Snapshots(it)) => it.current().map(Row::text).unwrap_or_default(),
        Some(View::Diff(it)) => it.current().map(File::path).unwrap_or_default(),
        Some(View::Asks(_) | View::Gauges(_)) | None => String::new(),
        Some(View::Records(it)) => it.of.title().to_owned(),
        Some(View::Files(it)) => it.name.clone(),
        Some(View::Timeline(it)) => it.name.clone(),
    }
}

#[test]
fn one_key_keeps_a_moment_from_fleet_and_pane_and_says_how_to_go_back() {
    for to in ["", "tab"] {
        let mut console = Console::with_fleet(SIZE, day());
        console.keys(to);
        let acts = console.keys("c");
        let id = SandboxId::parse("api-refactor").unwrap();
        assert_eq!(
            acts,
            [Act::Snapshot { sandbox: id, name: None, kind: SnapshotKind::Filesystem }]
        );
        let made = kept("eeee5555", None, None, 9);
        let wanted = |it: &Act| matches!(it, Act::Snapshot { .. });
        console.answer(wanted, Reply::Snapshot(Box::new(made)));
        assert_eq!(said(&console), "kept api-refactor as eeee5555, 12 K; S r goes back to it");
    }
    let mut console = Console::with_fleet(SIZE, day());
    console.keys("c");
    let fault = Fault::unsupported("the fake driver can't take snapshots");
    refuse(&mut console, |it| matches!(it, Act::Snapshot { .. }), fault);
    assert!(said(&console).contains("taking a snapshot of api-refactor: the fake driver"));
    // With what runs, by another key and word.
    for keys in ["M", ": s n a p s h o t - m e m o r y enter"] {
        let mut console = Console::with_fleet(SIZE, day());
        let acts = console.keys(keys);
        let kinds: Vec<_> = acts
            .iter()
            .filter_map(|it| if let Act::Snapshot { kind, .. } = it { Some(*kind) } else { None })
            .collect();
        assert_eq!(kinds, [SnapshotKind::Memory], "{acts:?}");
    }
    // All marked ones, and how that went is said once.
    console.keys("space space c");
    let made = console.effects.iter().filter(|it| matches!(it.act, Act::Snapshot { .. }));
    assert_eq!(made.count(), 3);
}

#[test]
fn a_moment_can_be_given_a_name_that_is_one() {
    let mut console = Console::with_fleet(SIZE, day());
    console.keys("C");
    console.text("a b");
    assert_eq!(console.keys("enter"), []);
    assert!(said(&console).contains("a snapshot's name is"), "{}", said(&console));
    let picture = console.picture();
    assert!(
        picture.contains("a snapshot's name is") && picture.contains("snapshot: a b"),
        "{picture}"
    );
    console.keys("ctrl-u");
    console.text("before-merge");
    let acts = console.keys("enter");
    assert!(
        matches!(&acts[..], [Act::Snapshot { name: Some(name), .. }] if name == "before-merge"),
        "{acts:?}"
    );
    console.keys(":");
    console.text("snapshot crawler v1.2");
    let acts = console.keys("enter");
    assert!(
        matches!(&acts[..], [Act::Snapshot { sandbox, name: Some(name), .. }]
            if sandbox.as_str() == "crawler" && name == "v1.2"),
        "{acts:?}"
    );
}

#[test]
fn snapshots_stand_below_what_they_went_on_from_and_branches_to_the_right() {
    let console = in_snapshots(SIZE);
    let Some(View::Snapshots(it)) = console.state.view() else { panic!("not open") };
    let rows: Vec<String> = it.rows.iter().map(|it| format!("{}{}", it.tree, it.text())).collect();
    assert_eq!(
        rows,
        [
            "first aaaa1111 asked",
            "├─bbbb2222 bbbb2222 restore",
            "│ cccc3333 cccc3333 restore",
            "second dddd4444 asked",
            "now"
        ]
    );
    assert_eq!(at(&console), "now");
    let picture = console.picture();
    assert!(picture.contains("since second: 3 paths changed, +92 -11"), "{picture}");
    assert!(!picture.contains("FLEET"), "{picture}");
}

#[test]
fn a_list_with_rings_orphans_and_thousands_in_a_line_is_shown_whole() {
    let mut all: Vec<Snapshot> = (0..1500)
        .map(|it| {
            let after = (it > 0).then(|| format!("line{}", it - 1));
            kept(&format!("line{it}"), None, after.as_deref(), it)
        })
        .collect();
    all.push(kept("ring1", None, Some("ring2"), 1));
    all.push(kept("ring2", None, Some("ring1"), 2));
    all.push(kept("self", None, Some("self"), 3));
    all.push(kept("orphan", None, Some("nowhere"), 4));
    let mut console = Console::with_fleet(SIZE, day());
    console.keys("S");
    console.answer(|it| *it == Act::Snapshots, Reply::Snapshots(all));
    let Some(View::Snapshots(it)) = console.state.view() else { panic!("not open") };
    assert_eq!(it.rows.len(), 1505);
}

#[test]
fn the_list_is_read_again_when_the_feed_says_that_it_changed() {
    let mut console = in_snapshots(SIZE);
    let mut again = day().remove(0);
    again.snapshots = 4;
    again.moment = Some(SnapshotId::parse("dddd4444").unwrap());
    assert_eq!(console.send(changed(again.clone())), [], "nothing that matters here changed");
    again.snapshots = 5;
    let acts = console.send(changed(again.clone()));
    assert!(acts.contains(&Act::Snapshots), "{acts:?}");
    // While that is under way, one more change is asked for after it.
    again.snapshots = 6;
    assert_eq!(console.send(changed(again)), []);
    console.keys("g");
    let acts = console.answer(|it| *it == Act::Snapshots, Reply::Snapshots(line()));
    assert!(acts.contains(&Act::Snapshots), "{acts:?}");
    assert_eq!(at(&console), "first aaaa1111 asked", "the cursor stays on its row");
}

#[test]
fn a_late_answer_changes_nothing() {
    let mut console = Console::with_fleet(SIZE, day());
    console.keys("S");
    let old = console.effects.iter().rev().find(|it| it.act == Act::Snapshots).unwrap().id;
    let acts = console.keys("esc");
    assert!(acts.contains(&Act::Cancel(old)), "{acts:?}");
    console.keys("j S");
    console.send(Msg::Done { id: old, result: Ok(Reply::Snapshots(line())) });
    let Some(View::Snapshots(it)) = console.state.view() else { panic!("not open") };
    assert!(!it.known && it.sandbox.as_str() == "docs-site");
    // The lines of a file that the cursor has left.
    let mut console = in_diff(SIZE);
    console.keys("j");
    let old = console.effects.iter().rev().find(|it| is_lines(&it.act)).unwrap().id;
    let acts = console.keys("j");
    assert!(!acts.iter().any(is_lines), "passing by asks for nothing: {acts:?}");
    console.now += Duration::from_millis(200);
    let acts = console.send(Msg::Tick);
    assert!(acts.contains(&Act::Cancel(old)) && acts.iter().any(is_lines), "{acts:?}");
    console.send(Msg::Done { id: old, result: Ok(read(Vec::new(), PATCH)) });
    let Some(View::Diff(it)) = console.state.view() else { panic!("not open") };
    assert!(it.patch().is_none());
}

#[test]
fn enter_shows_what_led_to_a_moment_and_d_what_came_after_it() {
    let mut console = in_snapshots(SIZE);
    console.keys("k");
    let acts = console.keys("enter");
    let asked = acts.iter().find(|it| is_list(it)).unwrap();
    let Act::Diff { of, request } = asked else { panic!("{acts:?}") };
    let id = |it: &str| SnapshotId::parse(it).unwrap();
    assert_eq!(*of, Subject::Snapshot(id("dddd4444")));
    assert_eq!(request.against, Some(id("aaaa1111")));
    console.answer(is_list, read(changes(), ""));
    assert!(console.picture().contains("from first to second"), "{}", console.picture());
    console.keys("a");
    assert!(console.state.overlay.is_none());
    assert!(said(&console).starts_with("this is not what apply writes"), "{}", said(&console));
    // Back where one was, on the same row.
    console.keys("q");
    assert_eq!(at(&console), "second dddd4444 asked");
    let acts = console.keys("d");
    let Some(Act::Diff { of, request }) = acts.iter().find(|it| is_list(it)) else {
        panic!("{acts:?}")
    };
    assert_eq!(*of, Subject::Sandbox(SandboxId::parse("api-refactor").unwrap()));
    assert_eq!(request.against, Some(id("dddd4444")));
    console.keys("esc esc");
    assert!(console.state.view().is_none() && console.picture().contains("FLEET"));
}

#[test]
fn restoring_says_what_ends_and_what_is_kept_and_takes_another_key() {
    let mut console = in_snapshots(SIZE);
    console.keys("r");
    assert!(said(&console).contains("choose a snapshot"), "{}", said(&console));
    console.keys("g r");
    console.read();
    let picture = console.picture();
    for words in [
        "Restore api-refactor to first?",
        "1 running program ends. What runs: claude.",
        "What it is now is kept as a snapshot first",
        "y restore",
    ] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    assert_eq!(console.keys("r"), []);
    console.read();
    let acts = console.keys("y");
    let to = SnapshotId::parse("aaaa1111").unwrap();
    assert_eq!(
        acts,
        [Act::Restore { sandbox: SandboxId::parse("api-refactor").unwrap(), to: Some(to) }]
    );
    let now = sandbox("api-refactor", "claude", Status::Working);
    let wanted = |it: &Act| matches!(it, Act::Restore { .. });
    console.answer(wanted, Reply::Sandbox(Box::new(now)));
    assert!(
        console
            .state
            .notices
            .all()
            .any(|it| it.text == "api-refactor has the files of first; what it was is kept too")
    );
}

#[test]
fn removing_a_snapshot_names_it_and_takes_another_key() {
    let mut console = in_snapshots(SIZE);
    console.keys("g D");
    console.read();
    let picture = console.picture();
    for words in ["Remove snapshot first?", "12 K", "The 2 after it stay.", "y remove"] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    let acts = console.keys("y");
    assert_eq!(acts, [Act::RemoveSnapshot(SnapshotId::parse("aaaa1111").unwrap())]);
    console.answer(|it| matches!(it, Act::RemoveSnapshot(_)), Reply::Nothing);
    assert_eq!(said(&console), "removed snapshot first of api-refactor");
}

#[test]
fn a_fork_is_selected_and_the_keys_stay_where_they_are() {
    let mut console = in_snapshots(SIZE);
    let acts = console.keys("F");
    assert!(matches!(&acts[..], [Act::Fork { from: Subject::Sandbox(_), .. }]), "{acts:?}");
    console.keys("g");
    let acts = console.keys("F");
    assert!(matches!(&acts[..], [Act::Fork { from: Subject::Snapshot(_), .. }]), "{acts:?}");
    let made = sandbox("api-refactor-fork", "claude", Status::Working);
    console.answer(|it| matches!(it, Act::Fork { .. }), Reply::Sandbox(Box::new(made)));
    assert!(matches!(console.state.view(), Some(View::Snapshots(_))));
    assert_eq!(said(&console), "api-refactor-fork is there, selected in the fleet");
    assert_eq!(console.state.fleet.current().unwrap().sandbox.name, "api-refactor-fork");
}

#[test]
fn what_takes_long_is_told_and_esc_stops_waiting() {
    let mut console = in_snapshots(SIZE);
    console.keys("g r");
    console.read();
    console.keys("y");
    assert!(!console.picture().contains("restoring"));
    console.now = console.state.wake_at().unwrap().max(console.now + Duration::from_secs(3));
    console.send(Msg::Tick);
    let picture = console.picture();
    assert!(picture.contains("restoring api-refactor 3s · esc stops waiting"), "{picture}");
    console.keys("esc");
    assert!(said(&console).contains("the hub finishes it"), "{}", said(&console));
    assert!(console.state.view().is_some(), "one esc does one thing");
    assert!(!console.picture().contains("stops waiting"), "{}", console.picture());
    // Its end is said all the same.
    refuse(&mut console, |it| matches!(it, Act::Restore { .. }), Fault::failed("disk full"));
    assert!(said(&console).contains("restoring api-refactor to first: disk full"));
    // What only reads is told too, and ends with its place.
    let mut console = Console::with_fleet(SIZE, day());
    console.keys("d");
    let asked = console.effects.iter().rev().find(|it| is_list(&it.act)).unwrap().id;
    console.now += Duration::from_secs(2);
    console.send(Msg::Tick);
    let picture = console.picture();
    assert!(picture.contains("looking for changes in api-refactor 2s"), "{picture}");
    assert!(console.keys("esc").contains(&Act::Cancel(asked)));
    assert!(console.state.view().is_none());
}

#[test]
fn a_dead_hub_leaves_the_keys_alive_and_is_asked_again_when_it_is_back() {
    let mut console = in_snapshots(SIZE);
    console.send(Msg::Link(Link::Down { since: console.now, why: "gone".to_owned() }));
    console.keys("R");
    refuse(&mut console, |it| *it == Act::Snapshots, Fault::lost("no hub"));
    console.keys("g j k");
    let picture = console.picture();
    assert!(picture.contains("old list: no hub") && picture.contains("second"), "{picture}");
    assert!(picture.contains("OLD PICTURE"), "{picture}");
    let acts = console.send(Msg::Link(Link::Up(None)));
    assert!(acts.contains(&Act::Snapshots), "{acts:?}");
    console.keys("esc");
    assert!(console.state.view().is_none());
}

#[test]
fn a_sandbox_that_goes_leaves_its_snapshots_to_look_at_and_to_branch_from() {
    let mut console = in_snapshots(SIZE);
    let id = SandboxId::parse("api-refactor").unwrap();
    let acts = console.send(Msg::Event(Event::Removed { seq: 3, id }));
    assert!(acts.contains(&Act::Snapshots), "{acts:?}");
    console.answer(|it| *it == Act::Snapshots, Reply::Snapshots(line()));
    assert!(!at(&console).contains("now"));
    console.keys("g r");
    assert!(said(&console).contains("F makes a new one"), "{}", said(&console));
    assert!(matches!(&console.keys("F")[..], [Act::Fork { from: Subject::Snapshot(_), .. }]));
    console.keys("p s i c");
    let acts = console.keys("esc");
    assert!(!acts.iter().any(|it| matches!(it, Act::Snapshot { .. })), "{acts:?}");
}

#[test]
fn files_are_staged_and_only_they_are_applied_after_a_question_that_names_the_place() {
    let mut console = in_diff(SIZE);
    assert_eq!(at(&console), "docs/old.md");
    console.keys("space j space");
    assert!(console.picture().contains("2 of 3 staged"), "{}", console.picture());
    console.keys("a");
    console.read();
    let picture = console.picture();
    for words in [
        "Write 2 paths to /home/me/project?",
        "deleted docs/old.md",
        "added   src/retry.rs",
        "The sandbox runs on",
        "y write",
    ] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    let acts = console.keys("y");
    let [Act::Apply { request, .. }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(request.paths, [b"docs/old.md".to_vec(), b"src/retry.rs".to_vec()]);
    assert!(!request.overwrite && !request.git && !request.links);
    let of = |path: &str, status| AppliedPath {
        path: path.as_bytes().to_vec(),
        status,
        verdict: Verdict::Applied,
        note: None,
    };
    let paths =
        vec![of("docs/old.md", ChangeStatus::Deleted), of("src/retry.rs", ChangeStatus::Added)];
    let applied = Reply::Applied(Box::new(Applied { paths, git_left_out: 0 }));
    let acts = console.answer(|it| matches!(it, Act::Apply { .. }), applied);
    assert_eq!(said(&console), "wrote 2 paths to /home/me/project; u takes it back");
    assert!(acts.iter().any(is_list), "{acts:?}");
    console.answer(is_list, read(changes().drain(..1).collect(), ""));
    assert_eq!(at(&console), "src/main.rs");
    // Nothing staged: the file under the cursor.
    console.keys("a");
    console.read();
    let acts = console.keys("y");
    let [Act::Apply { request, .. }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(request.paths, [b"src/main.rs".to_vec()]);
}

#[test]
fn a_moved_file_is_asked_for_and_applied_by_both_its_names() {
    let mut moved = change("src/new.rs", ChangeStatus::Renamed, 0, 0);
    moved.old_path = Some(b"src/old.rs".to_vec());
    let mut console = Console::with_fleet(SIZE, able());
    console.keys("d");
    let acts = console.answer(is_list, read(vec![moved], ""));
    let [Act::Diff { request, .. }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(request.paths, [b"src/new.rs".to_vec(), b"src/old.rs".to_vec()]);
    assert!(console.picture().contains("src/old.rs -> src/new.rs"), "{}", console.picture());
    console.keys("a");
    console.read();
    let acts = console.keys("y");
    let [Act::Apply { request, .. }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(request.paths, [b"src/new.rs".to_vec(), b"src/old.rs".to_vec()]);
}

#[test]
fn conflicts_are_marked_and_written_over_only_by_a_key_of_its_own() {
    let mut console = in_diff(SIZE);
    console.keys("* a");
    console.read();
    console.keys("y");
    let paths = vec![AppliedPath {
        path: b"src/main.rs".to_vec(),
        status: ChangeStatus::Modified,
        verdict: Verdict::Conflict,
        note: Some("changed there since".to_owned()),
    }];
    let refused = Reply::Applied(Box::new(Applied { paths, git_left_out: 0 }));
    console.answer(|it| matches!(it, Act::Apply { .. }), refused);
    assert!(said(&console).starts_with("nothing was written: 1 path changed on both sides"));
    assert_eq!(at(&console), "src/main.rs", "the cursor goes to the first");
    let picture = console.picture();
    assert!(picture.contains("conflict (changed there since)"), "{picture}");
    assert!(picture.contains("! src/main.rs"), "{picture}");
    // What is said takes rows from the lines: the last of them is in sight all the same.
    console.answer(is_list, read(changes(), ""));
    console.answer(is_lines, read(Vec::new(), PATCH));
    console.send(Msg::Resize(80, 18));
    console.keys("enter G");
    assert!(console.picture().contains("42  tail"), "{}", console.picture());
    console.keys("h");
    console.send(Msg::Resize(SIZE.0, SIZE.1));
    console.keys("A");
    console.read();
    let picture = console.picture();
    assert!(picture.contains("Changed on both sides: 1 path."), "{picture}");
    let acts = console.keys("y");
    assert!(matches!(&acts[..], [Act::Apply { request, .. }] if request.overwrite), "{acts:?}");
}

#[test]
fn the_last_apply_is_taken_back_after_a_question() {
    let mut console = in_diff(SIZE);
    console.keys("u");
    console.read();
    assert!(console.picture().contains("Take back from /home/me/project?"));
    let acts = console.keys("y");
    assert!(matches!(&acts[..], [Act::TakeBack { overwrite: false, .. }]), "{acts:?}");
    let paths = vec![AppliedPath {
        path: b"src/main.rs".to_vec(),
        status: ChangeStatus::Modified,
        verdict: Verdict::Conflict,
        note: None,
    }];
    let refused = Reply::Applied(Box::new(Applied { paths, git_left_out: 0 }));
    console.answer(|it| matches!(it, Act::TakeBack { .. }), refused);
    assert!(said(&console).contains("since: src/main.rs; U takes back all the same"));
    console.keys("U");
    console.read();
    let acts = console.keys("y");
    assert!(matches!(&acts[..], [Act::TakeBack { overwrite: true, .. }]), "{acts:?}");
}

#[test]
fn lines_have_the_numbers_of_both_sides_and_are_searched_and_stepped_through() {
    let mut console = in_diff((160, 50));
    console.keys("j");
    console.answer(is_lines, read(Vec::new(), PATCH));
    let picture = console.picture();
    for words in ["2    -    old();", "   2 +    new();", "   3 +    tabbed(<U+202E>);", "@@ -40,2"]
    {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    let line = |console: &Console| match console.state.view() {
        Some(View::Diff(it)) => (it.half, it.lines.at()),
        _ => panic!("not open"),
    };
    console.keys("enter");
    assert_eq!(line(&console), (Half::Lines, 0));
    console.keys("]");
    assert_eq!(line(&console), (Half::Lines, 7));
    console.keys("]");
    assert_eq!(said(&console), "this was the last hunk");
    console.keys("/");
    console.text("TAIL");
    console.keys("enter");
    assert_eq!(said(&console), "it is nowhere here", "capitals are meant");
    console.keys("/");
    console.text("tail|new");
    console.keys("enter");
    assert_eq!(line(&console).1, 10);
    console.keys("n");
    assert_eq!(line(&console).1, 3);
    console.keys("N");
    assert_eq!(line(&console).1, 10);
    // Left of the lines are the files; esc goes there too, then out.
    console.keys("l h h");
    assert_eq!(line(&console).0, Half::Files);
    console.keys("/");
    console.text("retry");
    console.keys("enter");
    assert_eq!(at(&console), "src/retry.rs");
    console.keys("tab esc esc");
    assert!(console.state.view().is_none());
}

#[test]
fn the_mouse_chooses_and_scrolls() {
    let mut console = in_diff(SIZE);
    let area = console.state.frame().view.unwrap();
    let mouse = |kind, column, row| Msg::Mouse(Mouse { kind, column, row, mods: Mods::default() });
    let (list, side) = (area.list.1, area.side.1);
    console.send(mouse(MouseKind::Down(Button::Left), list.x + 5, list.y + 2));
    assert_eq!(at(&console), "src/retry.rs");
    console.send(mouse(MouseKind::WheelUp, list.x, list.y));
    assert_eq!(at(&console), "docs/old.md");
    console.send(mouse(MouseKind::Down(Button::Left), side.x, side.y + 30));
    let Some(View::Diff(it)) = console.state.view() else { panic!("not open") };
    assert_eq!(it.half, Half::Lines);
    let mut console = in_snapshots(SIZE);
    let list = console.state.frame().view.unwrap().list.1;
    for _ in 0..2 {
        console.send(mouse(MouseKind::Down(Button::Left), list.x + 3, list.y));
    }
    assert!(matches!(console.state.view(), Some(View::Diff(_))), "twice is enter");
}

#[test]
fn what_the_driver_cannot_is_said_in_the_place() {
    let mut console = Console::with_fleet(SIZE, day());
    console.keys("d");
    let fault = Fault::unsupported("the fake driver can't tell what changed");
    refuse(&mut console, is_list, fault);
    assert!(console.picture().contains("the fake driver can't"), "{}", console.picture());
    assert!(matches!(console.keys("a space u")[..], []));
    assert_eq!(said(&console), "api-refactor: the fake driver can't apply changes");
    assert!(console.state.overlay.is_none());
}

#[test]
fn opening_a_place_gives_the_keyboard_back_and_a_pane_is_returned_to() {
    let mut console = Console::with_fleet(SIZE, day());
    console.step_in();
    let acts = console.keys("ctrl-b D");
    assert!(acts.iter().any(|it| matches!(it, Act::Lease { .. })), "{acts:?}");
    assert!(!console.state.is_typing() && console.state.view().is_some());
    console.keys("esc");
    assert_eq!(console.state.place, sandwatch::app::state::Place::Panes);
    // Looking back ends, and the place it was opened from is there again.
    let mut console = Console::with_fleet(SIZE, day());
    console.print("api-refactor", "x");
    console.keys("l S esc");
    assert!(console.state.copy.is_none());
    assert_eq!(console.state.place, sandwatch::app::state::Place::Fleet);
    // What is about panes leads back to them.
    console.keys("d");
    console.keys("z");
    assert!(console.state.view().is_none() && console.state.grid.tab().zoomed);
}

#[test]
fn keys_of_a_place_say_where_they_work_and_never_act_on_the_fleet() {
    let mut console = Console::with_fleet(SIZE, day());
    console.keys(":");
    console.text("snapshot.restore");
    console.keys("enter");
    assert_eq!(said(&console), "Restore: S opens where it works");
    let mut console = in_diff(SIZE);
    console.keys("D");
    assert!(console.state.overlay.is_none(), "D removes sandboxes elsewhere");
    let mut console = in_snapshots(SIZE);
    console.keys("x");
    assert!(!matches!(console.state.overlay, Some(Overlay::Confirm(_))));
    console.keys("y");
    assert!(matches!(console.effects.last().map(|it| &it.act), Some(Act::Clipboard(_))));
}
