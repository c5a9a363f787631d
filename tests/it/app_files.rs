//! The place of files: a tree that is watched, what is under its cursor, search, copying, and editing on a copy.

use std::{path::PathBuf, sync::Arc};

use sandwatch::{
    app::{
        Act, Msg,
        files::{
            Body, Class, Files, FilesAct, FilesNews, FilesReply, Graphic, Half, How, Preview,
            ShownLine, Span,
        },
        msg::{DiffRead, Reply},
        state::Overlay,
        view::View,
    },
    base::fault::Fault,
    model::{
        change::{ChangeStatus, FileChange, LineCount},
        event::{Event, SnapshotReason},
        file::{Expected, FileEntry, FileKind, Hit, HitLine, Target},
        sandbox::{State, WorkspaceMode},
        snapshot::Snapshot,
    },
    ui,
};

use super::{
    app_support::{Console, day, shared},
    app_views::{kept, said},
};

const SIZE: (u16, u16) = (120, 36);
const TOP: &str = "/home/me/project";

fn entry(name: &str) -> FileEntry {
    let (name, kind) = match name.strip_suffix('/') {
        Some(name) => (name, FileKind::Directory),
        None => (name, FileKind::File),
    };
    let bare = FileEntry::bare(name.as_bytes(), kind);
    let size_bytes = (kind == FileKind::File).then_some(1234);
    FileEntry { size_bytes, mode: Some(0o644), owner: Some(1000), version: Some(1), ..bare }
}

pub fn entries(names: &[&str]) -> Vec<FileEntry> {
    names.iter().map(|it| entry(it)).collect()
}

fn acts(acts: &[Act]) -> Vec<FilesAct> {
    let of = acts.iter().filter_map(|it| match it {
        Act::Files(it) => Some((**it).clone()),
        _ => None,
    });
    of.collect()
}

fn files(console: &Console) -> &Files {
    match console.state.view() {
        Some(View::Files(it)) => it,
        other => panic!("{other:?}"),
    }
}

/// What is watched newest has begun.
fn begin(console: &mut Console) -> Vec<FilesAct> {
    tell(console, &[])
}

/// Tells that these of the directories that are watched changed.
fn tell(console: &mut Console, changed: &[&str]) -> Vec<FilesAct> {
    let watch = console.effects.iter().rev().find_map(|it| match &it.act {
        Act::Files(act) => match &**act {
            FilesAct::Watch { paths, generation, .. } => Some((paths.clone(), *generation)),
            _ => None,
        },
        _ => None,
    });
    let (paths, generation) = watch.expect("something is watched");
    let place = |path: &&str| paths.iter().position(|it| it == path.as_bytes()).unwrap();
    let changed = Ok(changed.iter().map(place).collect());
    acts(&console.send(Msg::Files(FilesNews { generation, changed })))
}

/// Answers the newest act that `wanted` picks.
fn reply(
    console: &mut Console,
    wanted: impl Fn(&FilesAct) -> bool,
    reply: Result<FilesReply, Fault>,
) -> Vec<FilesAct> {
    let is = |it: &Act| matches!(it, Act::Files(it) if wanted(it));
    let id = console.effects.iter().rev().find(|it| is(&it.act)).expect("such an act").id;
    let result = reply.map(|it| Reply::Files(Box::new(it)));
    acts(&console.send(Msg::Done { id, result }))
}

fn list(console: &mut Console, of: &str, names: &[&str]) -> Vec<FilesAct> {
    let is = |it: &FilesAct| matches!(it, FilesAct::List { path, .. } if path == of.as_bytes());
    let listed = FilesReply::Listed { entries: entries(names), more: false };
    reply(console, is, Ok(listed))
}

pub fn preview(path: &str, text: &str) -> Preview {
    let line = |it: &str| ShownLine { text: it.to_owned(), spans: Vec::new() };
    Preview {
        path: path.as_bytes().to_vec(),
        entry: entry(path.rsplit('/').next().unwrap()),
        body: Body::Text(text.lines().map(line).collect()),
        offset: 0,
        more: false,
        note: None,
        room: (0, 0),
        graphic: None,
    }
}

fn look(console: &mut Console, path: &str, text: &str) -> Vec<FilesAct> {
    let is = |it: &FilesAct| matches!(it, FilesAct::Look { .. });
    reply(console, is, Ok(FilesReply::Looked(preview(path, text))))
}

/// The files of `crawler`, with its top listed.
pub fn in_files(size: (u16, u16)) -> Console {
    let mut all = day();
    all[2].capabilities.workspace_diff = true;
    let mut console = Console::with_fleet(size, all);
    console.text(":files crawler");
    console.keys("enter");
    begin(&mut console);
    list(&mut console, TOP, &["docs/", "src/", "Cargo.toml", "README.md"]);
    console.read();
    console
}

/// With a file in sight, its colours and what changed.
pub fn with_a_file(size: (u16, u16)) -> Console {
    let mut console = in_files(size);
    let change = |path: &str, status| FileChange {
        path: path.into(),
        old_path: None,
        status,
        old: None,
        new: None,
        lines: Some(LineCount { added: 3, removed: 1 }),
        note: None,
    };
    let read = DiffRead {
        files: vec![
            change("src/main.rs", ChangeStatus::Modified),
            change("src/new.rs", ChangeStatus::Added),
            change("docs/gone.md", ChangeStatus::Deleted),
        ],
        ..DiffRead::default()
    };
    console.answer(|it| matches!(it, Act::Diff { .. }), Reply::Diff(Box::new(read)));
    console.keys("j enter");
    begin(&mut console);
    list(&mut console, "/home/me/project/src", &["http/", "main.rs", "new.rs", "\x1b[2J\u{202e}x"]);
    console.keys("j j");
    console.read();
    let mut shown = preview(
        "/home/me/project/src/main.rs",
        "// One request, three tries.\nfn main() {\n    println!(\"{:?}\", api::get(\"/\"));\n}\n",
    );
    let Body::Text(lines) = &mut shown.body else { panic!() };
    lines[0].spans.push(Span { start: 0, end: 28, class: Class::Comment });
    lines[1].spans.push(Span { start: 0, end: 2, class: Class::Word });
    let is = |it: &FilesAct| matches!(it, FilesAct::Look { .. });
    reply(&mut console, is, Ok(FilesReply::Looked(shown)));
    console
}

/// The rows of the tree as they are drawn, without what is beside and below them.
fn tree(console: &Console) -> Vec<String> {
    let picture = console.picture();
    let rows = picture.lines().skip(2).filter(|it| it.contains('│'));
    let left = rows.map(|it| it.split('│').next().unwrap_or_default());
    let words = |it: &str| it.split_whitespace().collect::<Vec<_>>().join(" ");
    left.map(words).filter(|it| !it.is_empty()).collect()
}

#[test]
fn directories_are_watched_before_they_are_read_and_read_only_when_they_are_opened() {
    let mut console = Console::with_fleet(SIZE, day());
    let first = acts(&console.keys("f"));
    let watch =
        |it: &FilesAct| matches!(it, FilesAct::Watch { paths, .. } if paths == &[TOP.as_bytes()]);
    assert!(matches!(&first[..], [one] if watch(one)), "{first:?}");
    let then = begin(&mut console);
    assert!(
        matches!(&then[..], [FilesAct::List { path, .. }] if path == TOP.as_bytes()),
        "{then:?}"
    );
    list(&mut console, TOP, &["src/", "a"]);
    assert_eq!(tree(&console), ["> ▸ src/", "a 1.2 K"]);
    let opened = acts(&console.keys("enter"));
    assert!(
        matches!(&opened[..], [FilesAct::Watch { paths, .. }] if paths.len() == 2),
        "{opened:?}"
    );
    let then = begin(&mut console);
    assert!(
        matches!(&then[..], [FilesAct::List { path, .. }] if path.ends_with(b"/src")),
        "{then:?}"
    );
    list(&mut console, "/home/me/project/src", &["main.rs"]);
    assert_eq!(tree(&console).len(), 3);
    // Closed, it is forgotten and watched no more.
    let closed = acts(&console.keys("h"));
    assert!(
        matches!(&closed[..], [FilesAct::Watch { paths, .. }] if paths.len() == 1),
        "{closed:?}"
    );
    assert_eq!(tree(&console).len(), 2);
    let left = acts(&console.keys("q"));
    assert!(left.contains(&FilesAct::Unwatch), "{left:?}");
    assert!(console.state.view().is_none());
}

#[test]
fn the_cursor_stays_with_its_entry_while_others_come_and_go() {
    let mut console = with_a_file(SIZE);
    let path = |console: &Console| String::from_utf8(files(console).path().unwrap()).unwrap();
    assert_eq!(path(&console), "/home/me/project/src/main.rs");
    let row =
        |console: &Console| console.picture().lines().position(|it| it.starts_with('>')).unwrap();
    console.now += std::time::Duration::from_secs(10);
    assert!(matches!(&tell(&mut console, &[TOP])[..], [FilesAct::List { .. }]));
    list(&mut console, TOP, &["a/", "b/", "docs/", "src/", "zz"]);
    assert_eq!(path(&console), "/home/me/project/src/main.rs");
    assert_eq!(row(&console), 7);
    // It went: its neighbour is under the cursor, and nothing is left of it.
    tell(&mut console, &["/home/me/project/src"]);
    console.now += std::time::Duration::from_secs(10);
    console.send(Msg::Tick);
    list(&mut console, "/home/me/project/src", &["http/", "new.rs"]);
    assert_eq!(path(&console), "/home/me/project/src/new.rs");
    // With its directory, too.
    console.now += std::time::Duration::from_secs(10);
    tell(&mut console, &[TOP]);
    list(&mut console, TOP, &["docs/"]);
    assert_eq!(path(&console), "/home/me/project/docs");
}

#[test]
fn what_changed_is_marked_and_directories_count_what_is_in_them() {
    let console = with_a_file(SIZE);
    let rows = tree(&console);
    for wanted in ["▸ docs/ -1", "▾ src/ +1 ~1", ">~ main.rs +3 -1", "+ new.rs +3 -1"] {
        assert!(rows.iter().any(|it| it == wanted), "{wanted}: {rows:?}");
    }
    assert!(console.picture().contains("␛[2J<U+202E>x"));
}

#[test]
fn a_file_is_read_once_the_cursor_rests_and_again_when_it_was_written() {
    let mut console = in_files(SIZE);
    console.keys("j");
    // Passing by asks for nothing.
    let passed = acts(&console.keys("j j"));
    assert!(passed.is_empty(), "{passed:?}");
    console.now += std::time::Duration::from_secs(1);
    let asked = acts(&console.send(Msg::Tick));
    let wanted = "/home/me/project/README.md";
    assert!(
        matches!(&asked[..], [FilesAct::Look { path, end: false, how: How::Text, .. }] if path == wanted.as_bytes())
    );
    look(&mut console, wanted, "one\ntwo");
    assert!(console.picture().contains("1 one"));
    // Another file of its directory, or itself: nobody knows which.
    let again = tell(&mut console, &[TOP]);
    assert!(again.iter().any(|it| matches!(it, FilesAct::Look { .. })), "{again:?}");
    // Its bytes, once what was asked for before has come.
    console.keys("x");
    let bytes = look(&mut console, wanted, "one\ntwo\nthree");
    assert!(matches!(&bytes[..], [FilesAct::Look { how: How::Hex, .. }]), "{bytes:?}");
    look(&mut console, wanted, "one\ntwo\nthree");
    // Its end, while it is followed.
    let followed = acts(&console.keys("F"));
    assert!(matches!(&followed[..], [.., FilesAct::Look { end: true, .. }]), "{followed:?}");
    look(&mut console, wanted, &"line\n".repeat(500));
    assert_eq!(files(&console).lines.at(), 499);
    console.keys("tab k");
    assert!(!files(&console).follows);
}

#[test]
fn names_are_narrowed_and_lines_are_looked_for_in_all_files() {
    let mut console = with_a_file(SIZE);
    console.keys("/");
    console.text("new");
    console.keys("enter");
    assert_eq!(tree(&console).len(), 2, "{:?}", tree(&console));
    console.keys("esc");
    assert_eq!(tree(&console).len(), 8);
    console.keys("ctrl-f");
    console.text("tries");
    let acts = acts(&console.keys("enter"));
    assert!(
        matches!(&acts[..], [FilesAct::Find { words, path, .. }] if words == "tries" && path == TOP.as_bytes())
    );
    let line = HitLine { number: 120, text: b"three \x1b[31mtries".to_vec() };
    let hit = Hit { path: b"src/http/retry.rs".to_vec(), kind: FileKind::File, line: Some(line) };
    let found = FilesReply::Found { hits: vec![hit], more: false };
    reply(&mut console, |it| matches!(it, FilesAct::Find { .. }), Ok(found));
    assert!(
        console.picture().contains("src/http/retry.rs:120 three ␛[31mtries"),
        "{}",
        console.picture()
    );
    console.read();
    look(&mut console, "/home/me/project/src/http/retry.rs", &"text\n".repeat(300));
    // At that line.
    assert_eq!(files(&console).lines.at(), 119);
    console.keys("enter");
    assert_eq!(files(&console).half, Half::Text);
    console.keys("esc esc");
    assert!(files(&console).found.is_none());
    assert_eq!(tree(&console).len(), 8);
}

#[test]
fn a_file_is_edited_on_a_copy_and_written_back_only_as_it_was_read() {
    let copy = || PathBuf::from("/tmp/sandwatch-x/main.rs");
    let path = b"/home/me/project/src/main.rs".to_vec();
    let fetched = || FilesReply::Fetched { copy: copy(), version: Some(7) };
    let left = |changed| FilesReply::Edited { changed, wrong: None };
    let is_fetch = |it: &FilesAct| matches!(it, FilesAct::Fetch { .. });
    let is_edit = |it: &FilesAct| matches!(it, FilesAct::Edit(_));
    let is_send = |it: &FilesAct| matches!(it, FilesAct::Send { .. });
    let edited = |console: &mut Console| {
        assert!(matches!(&acts(&console.keys("e"))[..], [FilesAct::Fetch { .. }]));
        assert_eq!(reply(console, is_fetch, Ok(fetched())), [FilesAct::Edit(copy())]);
    };
    let mut console = with_a_file(SIZE);
    edited(&mut console);
    let same = reply(&mut console, is_edit, Ok(left(false)));
    assert_eq!(same, [FilesAct::Drop(copy())]);
    edited(&mut console);
    let sent = reply(&mut console, is_edit, Ok(left(true)));
    let [FilesAct::Send { path: to, expected, .. }] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((to, expected), (&path, &Expected::Version(7)));
    assert_eq!(reply(&mut console, is_send, Ok(FilesReply::Written)), [FilesAct::Drop(copy())]);
    assert!(said(&console).contains("is written"), "{}", said(&console));
    // The sandbox was faster: a person says what becomes of it, with a key that is not the one before.
    edited(&mut console);
    reply(&mut console, is_edit, Ok(left(true)));
    let kept = reply(&mut console, is_send, Ok(FilesReply::Changed));
    assert!(kept.is_empty(), "{kept:?}");
    assert!(matches!(console.state.overlay, Some(Overlay::Confirm(_))));
    assert!(console.picture().contains("/tmp/sandwatch-x/main.rs"), "{}", console.picture());
    console.read();
    let over = acts(&console.keys("y"));
    assert!(matches!(&over[..], [FilesAct::Send { expected: Expected::Anything, .. }]), "{over:?}");
    // What can't be written is not thrown away.
    for fault in [Fault::denied("read-only"), Fault::busy("no turn is left")] {
        let kept = reply(&mut console, is_send, Err(fault));
        assert!(kept.is_empty() && console.state.overlay.is_none(), "{kept:?}");
        assert!(said(&console).contains("/tmp/sandwatch-x/main.rs"), "{}", said(&console));
        edited(&mut console);
        reply(&mut console, is_edit, Ok(left(true)));
    }
    // Nor what an editor left that did not end well, if it is another than before.
    for changed in [true, false] {
        edited(&mut console);
        let wrong = Some(Fault::failed("the editor vi: exit status: 1"));
        let dropped = reply(&mut console, is_edit, Ok(FilesReply::Edited { changed, wrong }));
        assert_eq!(dropped.is_empty(), changed, "{dropped:?}");
        assert_eq!(said(&console).contains("/tmp/sandwatch-x/main.rs"), changed);
    }
    // Who went on meanwhile is not taken to an editor.
    for keys in ["j", ":", "I"] {
        let mut console = with_a_file(SIZE);
        assert!(matches!(&acts(&console.keys("e"))[..], [FilesAct::Fetch { .. }]));
        console.keys(keys);
        assert_eq!(
            reply(&mut console, is_fetch, Ok(fetched())),
            [FilesAct::Drop(copy())],
            "{keys}"
        );
    }
}

#[test]
fn what_was_asked_for_comes_also_while_something_lies_over_it() {
    let mut console = with_a_file(SIZE);
    console.keys("ctrl-f");
    console.text("tries");
    console.keys("enter");
    console.keys("I");
    assert!(matches!(console.state.view(), Some(View::Asks(_))));
    let hit = |number| {
        let line = HitLine { number, text: b"tries".to_vec() };
        Hit { path: b"src/http/retry.rs".to_vec(), kind: FileKind::File, line: Some(line) }
    };
    let found = FilesReply::Found { hits: vec![hit(120), hit(7)], more: false };
    reply(&mut console, |it| matches!(it, FilesAct::Find { .. }), Ok(found));
    console.read();
    console.keys("esc");
    assert!(!files(&console).found.as_ref().unwrap().asked(), "it looks no more");
    console.read();
    look(&mut console, "/home/me/project/src/http/retry.rs", &"text\n".repeat(300));
    assert_eq!(files(&console).lines.at(), 119);
    // Another line of the same file is shown though the file is here already.
    console.keys("j");
    assert_eq!(files(&console).lines.at(), 6);
    console.keys("k");
    assert_eq!(files(&console).lines.at(), 119);
}

#[test]
fn marks_are_since_the_moment_that_is_chosen_and_the_place_says_which() {
    let mut console = with_a_file(SIZE);
    assert!(console.picture().contains("since start"), "{}", console.picture());
    let change = |path: &str| FileChange {
        path: path.into(),
        old_path: None,
        status: ChangeStatus::Modified,
        old: None,
        new: None,
        lines: None,
        note: None,
    };
    let sandbox = files(&console).sandbox.clone();
    let kept = Snapshot { sandbox, ..kept("eeee5555", Some("green"), None, 0) };
    let list = |console: &mut Console| {
        let all = Reply::Snapshots(vec![kept.clone()]);
        console.answer(|it| matches!(it, Act::Snapshots), all);
    };
    console.keys("b");
    list(&mut console);
    assert!(matches!(console.state.view(), Some(View::Snapshots(_))));
    // The row of now is no moment to look back to.
    console.keys("g");
    let row = |console: &Console| match console.state.view() {
        Some(View::Snapshots(it)) => it.current().unwrap().kept.is_some(),
        _ => panic!(),
    };
    while !row(&console) {
        console.keys("j");
    }
    let asked = console.keys("b");
    let against = |acts: &[Act]| {
        acts.iter().find_map(|it| match it {
            Act::Diff { request, .. } => Some(request.against.clone()),
            _ => None,
        })
    };
    assert_eq!(against(&asked), Some(Some(kept.id.clone())));
    // Until they are there none are shown: those of another moment would be wrong.
    assert!(files(&console).marks.of(b"/home/me/project/src/main.rs").is_none());
    let read = DiffRead { files: vec![change("src/new.rs")], ..DiffRead::default() };
    console.answer(|it| matches!(it, Act::Diff { .. }), Reply::Diff(Box::new(read)));
    assert!(console.picture().contains("since green"), "{}", console.picture());
    assert!(files(&console).marks.of(b"/home/me/project/src/new.rs").is_some());
    // What changes later is held against the same moment.
    tell(&mut console, &["/home/me/project/src"]);
    let later = console.state.now.since_start + std::time::Duration::from_secs(60);
    console.now = later;
    assert_eq!(against(&console.send(Msg::Tick)), Some(Some(kept.id.clone())));
    assert_eq!(against(&console.keys("B")), Some(None));
    assert!(console.picture().contains("since start"), "{}", console.picture());
    // One that is removed meanwhile is no moment any more, and that is said.
    console.keys("b");
    list(&mut console);
    console.keys("g");
    while !row(&console) {
        console.keys("j");
    }
    console.keys("b");
    let id = console.effects.iter().rev().find(|it| matches!(it.act, Act::Diff { .. })).unwrap().id;
    console.send(Msg::Done { id, result: Err(Fault::absent("no such snapshot")) });
    assert!(said(&console).contains("green is no more"), "{}", said(&console));
    assert!(files(&console).since.is_none());
}

#[test]
fn a_watch_that_ends_is_begun_again_for_a_sandbox_may_have_stopped_and_then_nothing_is_edited() {
    let mut console = with_a_file(SIZE);
    let newest = |console: &Console| {
        console.effects.iter().rev().find_map(|it| match &it.act {
            Act::Files(act) => match &**act {
                FilesAct::Watch { generation, .. } => Some(*generation),
                _ => None,
            },
            _ => None,
        })
    };
    let before = newest(&console).unwrap();
    let news = FilesNews { generation: before, changed: Err("it runs no more".to_owned()) };
    console.send(Msg::Files(news));
    assert!(files(&console).unwatched.is_none());
    let again = newest(&console).unwrap();
    assert_ne!(again, before);
    // One that can't be begun is not begun again and again.
    let news = FilesNews { generation: again, changed: Err("it can't here".to_owned()) };
    console.send(Msg::Files(news));
    assert!(files(&console).unwatched.is_some());
    assert_eq!(newest(&console), Some(again));
    let mut all = day();
    all[2].capabilities.workspace_diff = true;
    all[2].state = State::Stopped;
    console.send(Msg::Event(Event::Snapshot {
        seq: 5,
        reason: SnapshotReason::Gap,
        sandboxes: shared(all),
    }));
    begin(&mut console);
    console.keys("R");
    begin(&mut console);
    assert!(acts(&console.keys("e")).is_empty());
    assert!(said(&console).contains("it is stopped"), "{}", said(&console));
}

#[test]
fn a_file_is_copied_to_a_place_that_is_asked_for_and_over_a_file_only_after_a_question() {
    let mut console = with_a_file(SIZE);
    let here = console.state.directory.join("main.rs");
    let get = |acts: Vec<FilesAct>| match &acts[..] {
        [FilesAct::Get { path, to, over, .. }] => {
            assert_eq!(path, b"/home/me/project/src/main.rs");
            (to.clone(), *over)
        }
        other => panic!("{other:?}"),
    };
    assert!(acts(&console.keys("D")).is_empty(), "it asks first");
    assert!(console.picture().contains("copy to: "), "{}", console.picture());
    assert_eq!(get(acts(&console.keys("enter"))), (here.clone(), false));
    // There is one: nothing is lost without a word, nor by the key that was pressed last.
    let is_get = |it: &FilesAct| matches!(it, FilesAct::Get { .. });
    assert!(reply(&mut console, is_get, Ok(FilesReply::Exists(here.clone()))).is_empty());
    assert!(matches!(console.state.overlay, Some(Overlay::Confirm(_))));
    assert!(console.picture().contains("What is in it now is lost."), "{}", console.picture());
    console.read();
    assert!(acts(&console.keys("enter")).is_empty());
    console.read();
    assert_eq!(get(acts(&console.keys("y"))), (here.clone(), true));
    reply(&mut console, is_get, Ok(FilesReply::Copied("main.rs".to_owned())));
    assert!(said(&console).contains("copied to main.rs"), "{}", said(&console));
    // Another place, of the operator's own; or none.
    console.keys("D ctrl-u");
    console.text("sub/other.rs");
    assert_eq!(get(acts(&console.keys("enter"))).0, console.state.directory.join("sub/other.rs"));
    console.keys("D ctrl-u");
    assert!(acts(&console.keys("enter")).is_empty());
    // What is copied is what was asked about, also when its entry has gone meanwhile.
    console.keys("D");
    tell(&mut console, &["/home/me/project/src"]);
    console.keys("esc D");
    let is_list = |it: &FilesAct| matches!(it, FilesAct::List { .. });
    let listed = FilesReply::Listed { entries: entries(&["new.rs"]), more: false };
    reply(&mut console, is_list, Ok(listed));
    assert_eq!(get(acts(&console.keys("enter"))).0, here);
}

#[test]
fn a_key_among_a_hundred_thousand_entries_moves_a_cursor_and_nothing_else() {
    let mut console = in_files(SIZE);
    let names: Vec<String> = (0..100_000).map(|it| format!("{it:06}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    console.keys("R");
    list(&mut console, TOP, &names);
    let rows = files(&console).tree.rows().as_ptr();
    console.keys("G k k ctrl-u g j j ctrl-d");
    console.picture();
    assert_eq!(files(&console).tree.rows().len(), 100_000);
    // Nothing was laid out anew for a key or a picture.
    assert_eq!(files(&console).tree.rows().as_ptr(), rows);
    // Narrowed to some names, and back: the cursor stays with its entry.
    let under = files(&console).path();
    console.keys("/");
    console.text("^0999");
    console.keys("enter");
    assert_eq!(files(&console).tree.rows().len(), 100);
    console.keys("G");
    assert!(files(&console).path().unwrap().ends_with(b"/099999"));
    console.keys("esc");
    assert_eq!(files(&console).tree.rows().len(), 100_000);
    assert!(files(&console).path().unwrap().ends_with(b"/099999") && under.is_some());
    // One that changes all the time is not read all the time.
    tell(&mut console, &[TOP]);
    assert!(tell(&mut console, &[TOP]).iter().all(|it| !matches!(it, FilesAct::List { .. })));
    assert!(console.state.wake_at().is_some());
}

#[test]
fn what_can_not_be_had_is_said_and_asked_for_again() {
    let mut console = Console::with_fleet(SIZE, day());
    console.keys("f");
    let watch = |it: &Act| matches!(it, Act::Files(it) if matches!(**it, FilesAct::Watch { .. }));
    let generation = console.effects.iter().rev().find_map(|it| match &it.act {
        Act::Files(it) => match &**it {
            FilesAct::Watch { generation, .. } => Some(*generation),
            _ => None,
        },
        _ => None,
    });
    assert!(console.effects.iter().any(|it| watch(&it.act)));
    let news =
        FilesNews { generation: generation.unwrap(), changed: Err("it can't here".to_owned()) };
    // Without a watch it is read all the same.
    let acts_then = acts(&console.send(Msg::Files(news)));
    assert!(matches!(&acts_then[..], [FilesAct::List { .. }]), "{acts_then:?}");
    let is = |it: &FilesAct| matches!(it, FilesAct::List { .. });
    reply(&mut console, is, Err(Fault::failed("sandbox api-refactor is stopped")));
    let picture = console.picture();
    assert!(picture.contains("not known: sandbox api-refactor is stopped; R"), "{picture}");
    assert!(picture.contains("not watched"), "{picture}");
    let again = acts(&console.keys("R"));
    assert!(again.iter().any(|it| matches!(it, FilesAct::Watch { .. })), "{again:?}");
}

#[test]
fn links_and_sandboxes_without_a_workspace_have_a_tree_too() {
    let mut all = day();
    all[0].workspace.mode = WorkspaceMode::None;
    let mut console = Console::with_fleet(SIZE, all);
    console.keys("f");
    let listed = begin(&mut console);
    assert!(matches!(&listed[..], [FilesAct::List { path, .. }] if path == b"/"), "{listed:?}");
    let target = Target { path: b"usr/bin".to_vec(), kind: Some(FileKind::Directory) };
    let link = FileEntry { target: Some(target), ..FileEntry::bare(b"bin", FileKind::Link) };
    let is = |it: &FilesAct| matches!(it, FilesAct::List { .. });
    reply(&mut console, is, Ok(FilesReply::Listed { entries: vec![link], more: false }));
    assert!(console.picture().contains("▸ bin → usr/bin"), "{}", console.picture());
    console.keys("enter");
    let listed = begin(&mut console);
    assert!(matches!(&listed[..], [FilesAct::List { path, .. }] if path == b"/bin"), "{listed:?}");
    let copied = console.keys("y");
    assert!(copied.iter().any(|it| *it == Act::Clipboard("/bin".to_owned())), "{copied:?}");
}

#[test]
fn a_picture_that_was_made_for_other_cells_is_not_shown() {
    let mut console = in_files(SIZE);
    console.keys("j j j");
    console.now += std::time::Duration::from_secs(1);
    console.send(Msg::Tick);
    let newest = |console: &Console| {
        let look = console.effects.iter().rev().find_map(|it| match &it.act {
            Act::Files(act) => match &**act {
                FilesAct::Look { room, .. } => Some((it.id, *room)),
                _ => None,
            },
            _ => None,
        });
        look.expect("a look")
    };
    let answer = |console: &mut Console, (id, room)| {
        let cells = vec![vec![([255; 3], [0; 3]); 7]; 4];
        let made = Graphic { cells: (7, 4), bytes: b"made".to_vec(), wiped_by: None };
        let shown = Preview {
            body: Body::Picture(cells),
            room,
            graphic: Some(Arc::new(made)),
            ..preview("/home/me/project/README.md", "")
        };
        let result = Ok(Reply::Files(Box::new(FilesReply::Looked(shown))));
        console.send(Msg::Done { id, result });
    };
    let first = newest(&console);
    answer(&mut console, first);
    assert!(ui::graphic(&console.state).is_some());
    // As many cells, but of another size: it is made anew, in cells of ours meanwhile.
    console.send(Msg::Resize(SIZE.0, SIZE.1));
    assert!(ui::graphic(&console.state).is_none());
    assert!(console.picture().contains("▀▀▀"));
    let second = newest(&console);
    assert_ne!(second.0, first.0);
    // And once more, before that came: it comes too late, and is asked for again.
    console.send(Msg::Resize(SIZE.0, SIZE.1));
    assert_eq!(newest(&console).0, second.0);
    answer(&mut console, second);
    assert!(ui::graphic(&console.state).is_none());
    let third = newest(&console);
    assert_ne!(third.0, second.0);
    answer(&mut console, third);
    assert!(ui::graphic(&console.state).is_some());
}
