//! Single hunks in the place of changes: chosen, applied as they were read, and lost when they are others by then.

use proptest::prelude::*;
use sandwatch::{
    app::{
        Act, Msg,
        diff::Half,
        hunks::Patch,
        msg::{DiffRead, Reply},
        view::View,
    },
    base::limits::APPLY_HUNKS_BYTES_MAX,
    driver::patch::{Binary, Side, patch},
    model::{
        change::{
            Applied, AppliedPath, ApplyRequest, ChangeStatus, FileChange, LineCount, Verdict,
        },
        hunk,
    },
};

use super::{
    app_support::Console,
    app_views::{PATCH, able, at, change, changes, in_diff, is_lines, is_list, read, said},
};

const SIZE: (u16, u16) = (120, 36);
const FILE: &str = "src/main.rs";

/// The hunks of `PATCH`, as they came.
fn hunks() -> [&'static str; 2] {
    let first = PATCH.find("@@ -1").unwrap();
    let second = PATCH.find("@@ -40").unwrap();
    [&PATCH[first..second], &PATCH[second..]]
}

/// `PATCH` is all that changed in the second file, and it is read.
pub fn in_second_file(size: (u16, u16)) -> Console {
    let mut console = Console::with_fleet(SIZE, able());
    console.keys("d");
    console.answer(is_list, read(listed(), ""));
    console.keys("j");
    console.answer(is_lines, read(Vec::new(), PATCH));
    console.send(Msg::Resize(size.0, size.1));
    console
}

fn listed() -> Vec<FileChange> {
    let mut all = changes();
    all[0].lines = Some(LineCount { added: 3, removed: 2 });
    all
}

fn is_apply(act: &Act) -> bool {
    matches!(act, Act::Apply { .. })
}

/// Answers the box with yes: what is asked of the hub.
fn written(console: &mut Console, key: &str) -> ApplyRequest {
    console.keys(key);
    console.read();
    let acts = console.keys("y");
    let [Act::Apply { request, .. }] = &acts[..] else { panic!("{acts:?}") };
    request.clone()
}

fn parts(request: &ApplyRequest) -> Vec<(String, String)> {
    let text = |it: &[u8]| String::from_utf8(it.to_vec()).unwrap();
    request.parts.iter().map(|it| (text(&it.path), text(&it.hunks))).collect()
}

fn came(path: &str, verdict: Verdict, note: Option<&str>) -> Reply {
    let paths = vec![AppliedPath {
        path: path.as_bytes().to_vec(),
        status: ChangeStatus::Modified,
        verdict,
        note: note.map(str::to_owned),
    }];
    Reply::Applied(Box::new(Applied { paths, git_left_out: 0 }))
}

fn showing(console: &Console) -> String {
    console.state.notices.showing().map_or_else(String::new, |it| it.text.clone())
}

fn row(console: &Console) -> String {
    let picture = console.picture();
    let row = picture.lines().find(|it| it.contains(FILE) && it.contains("+3 -2")).unwrap();
    row.chars().take(4).collect()
}

#[test]
fn one_hunk_is_staged_and_written_byte_for_byte_as_it_was_read() {
    let mut console = in_second_file(SIZE);
    console.keys("enter space");
    assert_eq!(row(&console), ">▖~ ");
    let picture = console.picture();
    assert!(picture.contains("1 of 2 hunks staged"), "{picture}");
    assert!(picture.contains("1 of 3 staged"), "{picture}");
    console.keys("a");
    let picture = console.picture();
    for words in [
        "Write 1 hunk of src/main.rs to /home/me/project?",
        "Hunks go to where their lines are now, or nothing is written.",
        "Hunks are written as they were shown.",
        "1 of 3 changed paths:",
        "1 hunk src/main.rs",
    ] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    console.keys("esc");
    let request = written(&mut console, "a");
    assert_eq!(parts(&request), [(FILE.to_owned(), hunks()[0].to_owned())]);
    assert!(request.paths.is_empty() && !request.overwrite);
    // What is shown of it is another thing.
    assert!(hunks()[0].contains('\t') && hunks()[0].contains('\u{202e}'));
    let acts = console.answer(is_apply, came(FILE, Verdict::Applied, None));
    assert!(acts.iter().any(is_list), "{acts:?}");
    let wrote = "wrote 1 hunk of src/main.rs to /home/me/project; u takes it back";
    assert_eq!(said(&console), wrote);
    console.answer(is_list, read(listed(), ""));
    assert_eq!(row(&console), "> ~ ");
    let rest = "@@ -40,2 +42,2 @@\n-gone\n+came\n tail\n";
    console.answer(is_lines, read(Vec::new(), rest));
    assert_eq!(said(&console), wrote, "nothing else is told");
    // With nothing staged it is the whole file, from its lines, too; the box says so.
    console.keys("a");
    assert!(
        console.picture().contains("all of the file under the cursor"),
        "{}",
        console.picture()
    );
    console.keys("esc");
    assert_eq!(written(&mut console, "a").paths, [FILE.as_bytes()]);
}

#[test]
fn space_goes_from_hunk_to_hunk_and_takes_back_what_it_chose() {
    let mut console = in_second_file(SIZE);
    let line = |console: &Console| match console.state.view() {
        Some(View::Diff(it)) => (it.half, it.lines.at()),
        _ => panic!("not open"),
    };
    console.keys("enter");
    assert_eq!(line(&console), (Half::Lines, 0));
    console.keys("space");
    assert_eq!(line(&console), (Half::Lines, 7), "on to the next");
    console.keys("j space");
    assert_eq!(line(&console), (Half::Lines, 8), "there is no other");
    assert_eq!(row(&console), ">▌~ ", "all of it");
    assert!(console.picture().contains("2 of 2 hunks staged"));
    // All hunks are hunks still: what was read is written.
    let request = written(&mut console, "a");
    assert_eq!(parts(&request), [(FILE.to_owned(), hunks().concat())]);
    assert!(request.paths.is_empty());
    console.keys("space");
    assert_eq!(parts(&written(&mut console, "a"))[0].1, hunks()[0]);
    console.keys("[ [ space");
    assert_eq!(row(&console), "> ~ ");
    assert_eq!(parts(&written(&mut console, "a")), []);
    // In the order of the file, whatever was staged first.
    console.keys("] space [ space");
    assert_eq!(parts(&written(&mut console, "a"))[0].1, hunks().concat());
    // Nothing, and everything.
    console.keys("\\");
    assert_eq!(row(&console), "> ~ ");
    console.keys("space *");
    let request = written(&mut console, "a");
    assert_eq!((request.parts.len(), request.paths.len()), (0, 3));
}

#[test]
fn the_whole_file_has_a_key_of_its_own_and_hunks_can_be_taken_from_it() {
    let mut console = in_second_file(SIZE);
    console.keys("enter space w");
    assert_eq!(row(&console), ">▌~ ");
    let request = written(&mut console, "a");
    assert_eq!((parts(&request), request.paths), (vec![], vec![FILE.into()]));
    console.keys("[ space");
    assert_eq!(row(&console), ">▖~ ");
    assert_eq!(parts(&written(&mut console, "a"))[0].1, hunks()[1], "all but that one");
    console.keys("w w");
    assert_eq!(row(&console), "> ~ ");
    // Among the files, space is the file, too.
    console.keys("[ space h space");
    assert_eq!(at(&console), "src/retry.rs");
    let request = written(&mut console, "k a");
    assert_eq!((parts(&request), request.paths), (vec![], vec![FILE.into()]));
}

#[test]
fn files_and_hunks_are_written_together() {
    let mut console = in_second_file(SIZE);
    console.keys("enter space space h j space A");
    let picture = console.picture();
    for words in [
        "Write 2 hunks of src/main.rs, 1 file to /home",
        "What was changed there meanwhile is replaced by whole files.",
        "2 hunks src/main.rs",
        "added   src/retry.rs",
        "2 of 3 changed paths:",
    ] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    console.keys("esc");
    let request = written(&mut console, "a");
    assert_eq!(parts(&request), [(FILE.to_owned(), hunks().concat())]);
    assert_eq!(request.paths, [b"src/retry.rs"]);
    console.keys("k \\ space a");
    assert!(console.picture().contains("Write 1 path to"), "{}", console.picture());
}

#[test]
fn what_has_no_hunks_to_choose_from_says_why() {
    let modified = |edit: fn(&mut FileChange)| {
        let mut it = change("it", ChangeStatus::Modified, 3, 2);
        edit(&mut it);
        it
    };
    let moved = |it: &mut FileChange| {
        it.status = ChangeStatus::Renamed;
        it.old_path = Some(b"old".to_vec());
    };
    let made_runnable = |it: &mut FileChange| {
        it.new = it.new.map(|it| sandwatch::model::change::Node { mode: 0o755, ..it });
    };
    let now_link = |it: &mut FileChange| {
        let kind = sandwatch::model::change::NodeKind::Link;
        it.new = it.new.map(|it| sandwatch::model::change::Node { kind, ..it });
    };
    for (file, why) in [
        (change("it", ChangeStatus::Added, 3, 2), "it is new"),
        (change("it", ChangeStatus::Deleted, 3, 2), "it was deleted"),
        (modified(moved), "it was moved"),
        (modified(made_runnable), "its mode changed, too"),
        (modified(now_link), "it is no file on both sides"),
        (modified(|it| it.lines = None), "its lines were not compared"),
    ] {
        let mut console = Console::with_fleet(SIZE, able());
        console.keys("d");
        console.answer(is_list, read(vec![file], ""));
        console.keys("enter space");
        let wanted = format!("hunks of it can't be staged singly: {why}; w stages the file");
        assert_eq!(said(&console), wanted);
        console.answer(is_lines, read(Vec::new(), PATCH));
        console.keys("space space");
        assert_eq!(said(&console), wanted);
        assert!(!console.picture().contains("of 1 staged"), "{}", console.picture());
        console.keys("w");
        assert!(console.picture().contains("1 of 1 staged"), "{}", console.picture());
    }
    let mut console = Console::with_fleet(SIZE, able());
    console.keys("d");
    console.answer(is_list, read(listed(), ""));
    console.keys("j enter space");
    assert!(said(&console).contains("its lines are not read yet"), "{}", said(&console));
    // Of a diff that is cut nobody knows where it ends.
    let text = PATCH.as_bytes().to_vec();
    let cut = Reply::Diff(Box::new(DiffRead { text, cut: true, ..DiffRead::default() }));
    console.answer(is_lines, cut);
    console.keys("space");
    assert!(said(&console).contains("only a part of its lines was read"), "{}", said(&console));
    console.keys("w space");
    assert!(said(&console).contains("only a part of its lines was read"), "{}", said(&console));
    // Of two snapshots nothing is staged, nor of the system.
    console.keys("t space");
    assert!(said(&console).contains("only the workspace"), "{}", said(&console));
}

#[test]
fn hunks_stay_staged_as_long_as_they_are_there_byte_for_byte() {
    let mut console = in_second_file(SIZE);
    console.keys("enter space space R");
    console.answer(is_list, read(listed(), ""));
    assert_eq!(row(&console), ">▌~ ", "until its lines are read");
    console.answer(is_lines, read(Vec::new(), PATCH));
    assert_eq!(row(&console), ">▌~ ");
    assert_eq!(said(&console), "");
    // A line more in the first one: the second stands somewhere else, and is another.
    let other = PATCH.replace("+41,2 @@\n-gone", "+41,2 @@\n-GONE");
    console.keys("R");
    console.answer(is_list, read(listed(), ""));
    console.answer(is_lines, read(Vec::new(), &other));
    let text = "1 staged hunk of src/main.rs is not there as it was shown: staged no longer";
    assert_eq!(said(&console), text);
    assert_eq!(row(&console), ">▖~ ");
    assert_eq!(parts(&written(&mut console, "a"))[0].1, hunks()[0]);
    // Remembered while one looks elsewhere, and gone with its change.
    console.keys("esc esc d");
    console.answer(is_list, read(listed(), ""));
    assert_eq!(parts(&written(&mut console, "a"))[0].1, hunks()[0]);
    console.keys("t");
    console.answer(is_list, read(listed(), ""));
    console.answer(is_lines, read(Vec::new(), "@@ -1 +1 @@\n-a\n+b\n"));
    assert_eq!(said(&console), text, "the same path of the system is another file");
    console.keys("t");
    console.answer(is_list, read(listed(), ""));
    assert_eq!(parts(&written(&mut console, "a"))[0].1, hunks()[0]);
    let mut deleted = listed();
    deleted[0] = change(FILE, ChangeStatus::Deleted, 0, 40);
    console.keys("R");
    console.answer(is_list, read(deleted, ""));
    assert_eq!(said(&console), text);
    assert_eq!(console.state.notices.all().next().unwrap().times, 2);
    assert!(!console.picture().contains("of 3 staged"), "{}", console.picture());
}

#[test]
fn hunks_that_do_not_fit_are_told_with_the_reason_and_nothing_offers_to_overwrite() {
    let mut console = in_second_file(SIZE);
    console.keys("enter space");
    written(&mut console, "a");
    let note = "its lines are others by now";
    console.answer(is_apply, came(FILE, Verdict::Conflict, Some(note)));
    let wanted =
        format!("nothing was written: what is staged of {FILE} does not fit there: {note}");
    assert_eq!(said(&console), wanted);
    assert_eq!(row(&console), ">▖! ", "it stays staged");
    let picture = console.picture();
    assert!(
        picture.contains("conflict (its lines are others by now): what was staged"),
        "{picture}"
    );
    console.answer(is_list, read(listed(), ""));
    // What is read then is told beside what went wrong.
    console.answer(is_lines, read(Vec::new(), "@@ -1 +1 @@\n-by hand\n+new\n"));
    assert!(said(&console).starts_with(&format!("{wanted} · 1 staged hunk")), "{}", said(&console));
    assert!(console.picture().contains("by hand"));
    assert_eq!(row(&console), "> ! ");
    // Beside a whole file that was changed on both sides, both are said.
    let mut console = in_second_file(SIZE);
    console.keys("enter space h k space");
    written(&mut console, "A");
    let of = |path: &str| AppliedPath {
        path: path.as_bytes().to_vec(),
        status: ChangeStatus::Modified,
        verdict: Verdict::Conflict,
        note: None,
    };
    let paths = vec![of("docs/old.md"), of(FILE)];
    console.answer(is_apply, Reply::Applied(Box::new(Applied { paths, git_left_out: 0 })));
    let wanted = "nothing was written: 1 path changed on both sides, what is staged of src/main.rs \
                  does not fit there: its lines are others by now";
    assert_eq!(said(&console), wanted);
}

#[test]
fn what_was_written_is_not_staged_any_more_wherever_one_is_by_then() {
    let again = |console: &mut Console| {
        console.keys("d");
        console.answer(is_list, read(listed(), ""));
        console.picture()
    };
    let mut console = in_second_file(SIZE);
    console.keys("enter space");
    written(&mut console, "a");
    console.keys("esc esc j");
    console.answer(is_apply, came(FILE, Verdict::Applied, None));
    console.keys("k");
    assert!(!again(&mut console).contains("staged"), "{}", console.picture());
    // What was staged since is.
    let mut console = in_second_file(SIZE);
    console.keys("enter space");
    written(&mut console, "a");
    console.keys("space");
    console.answer(is_apply, came(FILE, Verdict::Applied, None));
    assert_eq!(parts(&written(&mut console, "a"))[0].1, hunks()[1]);
    // Nothing was left to do with them: so it is, too.
    let nothing = Reply::Applied(Box::default());
    console.answer(is_apply, nothing);
    assert_eq!(row(&console), "> ~ ");
    // What was left out is staged still.
    console.keys("w");
    written(&mut console, "a");
    console.answer(is_apply, came(FILE, Verdict::LeftOut, Some("a link that leads out")));
    assert_eq!(row(&console), ">▌x ");
}

#[test]
fn what_is_said_of_a_place_goes_when_it_is_left() {
    let refused = |console: &mut Console| {
        written(console, "a");
        console.answer(is_apply, came(FILE, Verdict::Conflict, None));
        assert!(showing(console).ends_with("A overwrites"), "{}", showing(console));
    };
    for keys in ["q", "S", "t", ": q u i t x esc q"] {
        let mut console = in_second_file(SIZE);
        refused(&mut console);
        console.keys("j k");
        assert!(!showing(&console).is_empty());
        console.keys(keys);
        assert_eq!(showing(&console), "", "{keys}");
        assert!(said(&console).ends_with("A overwrites"), "it can be looked up");
    }
    // A key that means something only there is not named elsewhere.
    let mut console = in_second_file(SIZE);
    written(&mut console, "a");
    console.keys("q");
    console.answer(is_apply, came(FILE, Verdict::Conflict, None));
    assert_eq!(showing(&console), "nothing was written: 1 path changed on both sides");
    // What was done stays said.
    let mut console = in_second_file(SIZE);
    written(&mut console, "a");
    console.answer(is_apply, came(FILE, Verdict::Applied, None));
    console.keys("q");
    assert!(showing(&console).starts_with("wrote 1 path"), "{}", showing(&console));
}

#[test]
fn more_hunks_than_a_request_takes_are_not_staged() {
    let files = ["a", "b"].map(|it| change(it, ChangeStatus::Modified, 1, 1)).to_vec();
    let text = format!("@@ -1 +1 @@\n-a\n+{}\n", "x".repeat(APPLY_HUNKS_BYTES_MAX / 2));
    let mut console = Console::with_fleet(SIZE, able());
    console.keys("d");
    console.answer(is_list, read(files, ""));
    console.answer(is_lines, read(Vec::new(), &text));
    console.keys("enter space h j");
    console.answer(is_lines, read(Vec::new(), &text));
    console.keys("enter space");
    assert!(
        said(&console).contains("more than 2.0 M of hunks would be staged"),
        "{}",
        said(&console)
    );
    console.keys("w");
    let request = written(&mut console, "a");
    assert_eq!((request.parts.len(), request.paths), (1, vec![b"b".to_vec()]));
}

#[test]
fn a_picture_without_hunks_to_stage_has_no_room_for_their_mark() {
    let mut console = in_diff(SIZE);
    let before = console.picture();
    assert!(before.contains(" 40    -gone") || before.contains("40    -gone"), "{before}");
    console.keys("t");
    console.answer(is_list, read(changes(), ""));
    console.answer(is_lines, read(Vec::new(), PATCH));
    assert!(!console.picture().contains('▌'));
}

proptest! {
    /// Every hunk of a diff as the hub writes it can be read back by the hub, and all of them make the new file.
    #[test]
    fn hunks_are_what_the_hub_takes(
        old in proptest::collection::vec(0_u8..4, 0..80),
        new in proptest::collection::vec(0_u8..4, 0..80),
        ended in any::<(bool, bool)>(),
    ) {
        let lines = [&b"a\n"[..], b"@@ -1 +1 @@\n", b"\x1b[1m\xff\t\r\n", b"\\ No\n"];
        let file = |of: &[u8], ended: bool| {
            let text: Vec<u8> = of.iter().flat_map(|it| lines[usize::from(*it)]).copied().collect();
            let cut = usize::from(!ended && !text.is_empty());
            text[..text.len() - cut].to_vec()
        };
        let (old, new) = (file(&old, ended.0), file(&new, ended.1));
        let side = |content| Side { path: &b"it"[..], mode: 0o100_644, content: Some(content) };
        let written = patch(Some(side(&old[..])), Some(side(&new[..])), Binary::Named);
        let patch = Patch::read(written.text.clone(), false);
        let mut all = Vec::new();
        for piece in &patch.pieces {
            prop_assert_eq!(hunk::all(&piece.text).unwrap().len(), 1);
            all.extend_from_slice(&piece.text);
        }
        if old != new {
            let merged = hunk::merge(&old, &hunk::all(&all).unwrap()).unwrap();
            prop_assert_eq!(merged, new);
        }
        let sum = |of: fn(&LineCount) -> u64| patch.pieces.iter().map(|it| of(&it.lines)).sum::<u64>();
        prop_assert_eq!(sum(|it| it.added), written.added_lines);
        prop_assert_eq!(sum(|it| it.removed), written.removed_lines);
    }
}
