//! What is known of changes of files: who waits for which look, what a list lacks, what is new to whom follows.

use std::collections::BTreeMap;

use super::*;
use crate::{
    base::limits::TOUCHED_TOLD_MAX,
    model::{
        capability::Capabilities,
        sandbox::{Egress, ResourceLimits, State, Workspace},
        timeline::Mark,
    },
};

const WALL: Timestamp = Timestamp(1_000_000);

fn touched(at: i64, path: &str) -> Touched {
    let (at, path) = (Timestamp(at), path.as_bytes().to_vec());
    Touched { at, by_kernel: at, path, gone: false }
}

fn look(newest: Vec<Touched>, older: u64) -> Touches {
    Touches { newest, older, unread: 0 }
}

fn change(at: i64) -> Change {
    let at = Timestamp(at);
    Change { at, by_kernel: at, gone: false, path: b"x".as_slice().into(), seen: 0 }
}

fn sandbox(name: &str) -> Arc<Sandbox> {
    Arc::new(Sandbox {
        id: SandboxId::parse(name).unwrap(),
        name: name.to_owned(),
        driver: "local".to_owned(),
        state: State::Running,
        raw_state: None,
        isolation: None,
        created_at: Timestamp(0),
        labels: BTreeMap::new(),
        workspace: Workspace { path: "/p".into(), mode: WorkspaceMode::Cow },
        egress: Egress::Deny,
        limits: ResourceLimits::default(),
        capabilities: Capabilities::default(),
        sessions: Vec::new(),
        asks: Vec::new(),
        notes: Vec::new(),
        stop_asked: false,
        snapshots: 0,
        moment: None,
        writes: 0,
    })
}

fn new_since(known: &Known, mark: i64) -> Vec<String> {
    let new = known.changes.values().filter(|it| it.seen > mark);
    let mut new: Vec<_> = new.map(|it| String::from_utf8_lossy(&it.path).into_owned()).collect();
    new.sort();
    new
}

#[test]
fn what_was_there_is_not_new_what_comes_is_and_what_somebody_waited_for_too() {
    let id = SandboxId::parse("box").unwrap();
    let mut last = WALL.0 * PER_MILLISECOND;
    let mark = last;
    let mut known = Known::default();
    let first = || look(vec![touched(10, "a"), touched(20, "b")], 0);
    known.take(&id, first(), true, WALL, &mut last);
    assert_eq!(new_since(&known, mark), [""; 0]);
    // One with a time of before, as a program may say.
    let then = look(vec![touched(10, "a"), touched(900, "b"), touched(15, "c")], 0);
    known.take(&id, then.clone(), false, WALL, &mut last);
    assert_eq!(new_since(&known, mark), ["b", "c"]);
    let mark = last;
    known.take(&id, then, false, WALL, &mut last);
    assert_eq!(new_since(&known, mark), [""; 0]);
    let awaited = |told: i64| Known { awaited: Some(told), ..Known::default() };
    let mut late = awaited(15 * PER_MILLISECOND);
    late.take(&id, first(), true, WALL, &mut last);
    assert_eq!(new_since(&late, mark), ["b"]);
    let mut late = awaited(i64::MIN);
    late.take(&id, first(), true, WALL, &mut last);
    assert_eq!(new_since(&late, mark), ["a", "b"]);
    // Of more than a walk tells an older one comes when a newer one goes.
    let many = || (0..500).map(|at| touched(1000 + at, &at.to_string()));
    assert_eq!(many().count(), TOUCHED_TOLD_MAX);
    late.take(&id, look(many().collect(), 1), false, WALL, &mut last);
    let mark = last;
    let older = std::iter::once(touched(900, "older")).chain(many().take(499));
    late.take(&id, look(older.collect(), 0), false, WALL, &mut last);
    assert_eq!((new_since(&late, mark), late.changes.len()), (Vec::new(), 500));
    // A clock that was set back makes no number smaller.
    let mark = last;
    late.take(&id, look(vec![touched(5000, "d")], 0), false, Timestamp(5), &mut last);
    assert_eq!(new_since(&late, mark), ["d"]);
}

#[test]
fn whoever_has_the_most_gives_and_what_is_forgotten_is_not_new_again() {
    let mut all = All::default();
    let many = i64::try_from(TIMELINE_FILES_MAX).unwrap();
    for (name, many) in [("loud", many), ("calm", 10)] {
        let changes = (0..many).map(|at| (at, change(at))).collect();
        let id = SandboxId::parse(name).unwrap();
        all.sandboxes.insert(id, Known { changes, ..Known::default() });
    }
    all.changes = TIMELINE_FILES_MAX + 10;
    all.shrink();
    let of = |all: &All, name| all.sandboxes[&SandboxId::parse(name).unwrap()].changes.len();
    assert_eq!(of(&all, "calm"), 10);
    assert!((1..TIMELINE_FILES_MAX).contains(&of(&all, "loud")));
    assert_eq!(all.changes, of(&all, "loud") + 10);
    let loud = SandboxId::parse("loud").unwrap();
    let known = all.sandboxes.get_mut(&loud).unwrap();
    let then = look(vec![touched(1, "old"), touched(many, "new")], 0);
    known.take(&loud, then, false, WALL, &mut 0);
    assert_eq!(new_since(known, -1), ["new"]);
    // And that it was forgotten is said.
    let words = known.missing("loud", &TimelineRequest::default(), Duration::ZERO);
    assert_eq!(words[0].words, "loud: left out 1 older change");
}

#[test]
fn what_says_that_it_is_old_is_new_after_a_flood_too() {
    let id = SandboxId::parse("box").unwrap();
    let (mut known, mut last) = (Known::default(), WALL.0 * PER_MILLISECOND);
    let flood = || vec![touched(1000, "x"), touched(1001, "y")];
    known.take(&id, look(flood(), 9), true, WALL, &mut last);
    let mark = last;
    let backdated = Touched { by_kernel: Timestamp(2000), ..touched(15, "late") };
    let then = vec![backdated.clone(), touched(1001, "y"), touched(900, "surfaced")];
    known.take(&id, look(then.clone(), 7), false, WALL, &mut last);
    assert_eq!(new_since(&known, mark), ["late"]);
    // Once all is told there is nothing more that could surface.
    known.take(&id, look(then, 0), false, WALL, &mut last);
    let mark = last;
    known.take(&id, look(vec![touched(16, "more")], 0), false, WALL, &mut last);
    assert_eq!(new_since(&known, mark), ["more"]);
}

#[test]
fn what_came_after_a_list_takes_nothing_of_it_along() {
    let (files, of) = (Files::default(), sandbox("box"));
    let changes = (0..20).map(|at| (at, change(at))).collect();
    let known = Known { changes, looked_at: Some(Duration::ZERO), ..Known::default() };
    files.all().sandboxes.insert(of.id.clone(), known);
    let counted = |since, until| {
        let request = TimelineRequest { since, until, ..TimelineRequest::default() };
        let told = files.told(&request, &[Arc::clone(&of)], Fresh::Ever);
        let rows = told.changes.iter().map(|it| 1 + it.1.left_out);
        (told.changes.len(), rows.sum::<u64>())
    };
    assert_eq!(counted(None, None), (5, 20));
    assert_eq!(counted(None, Some(Timestamp(10))), (5, 11));
    assert_eq!(counted(Some(Timestamp(12)), None), (5, 8));
}

#[test]
fn what_a_list_lacks_is_said_where_it_goes_that_far() {
    let id = SandboxId::parse("box").unwrap();
    let (mut known, mut last) = (Known::default(), 0);
    let found = Touches { unread: 1, ..look(vec![touched(50, "a"), touched(60, "b")], 7) };
    known.take(&id, found, true, WALL, &mut last);
    let words = |known: &Known, request: &TimelineRequest, age| -> Vec<String> {
        known.missing("box", request, age).into_iter().map(|it| it.words).collect()
    };
    let older = "box: left out 7 older changes";
    let unread = "box: 1 directory could not be read to the end";
    let all = TimelineRequest::default();
    assert_eq!(words(&known, &all, Duration::ZERO), [older, unread]);
    let old = words(&known, &all, TIMELINE_FILES_OLD);
    assert_eq!(old[2], "box: looked through 10s ago");
    let since = TimelineRequest { since: Some(Timestamp(51)), ..all.clone() };
    assert_eq!(words(&known, &since, Duration::ZERO), [unread]);
    let after = |files| TimelineRequest {
        written_after: Some(Mark { files, ..Mark::default() }),
        ..all.clone()
    };
    let (before, past) = (after(40 * PER_MILLISECOND), after(55 * PER_MILLISECOND));
    assert_eq!(words(&known, &before, Duration::ZERO), [older, unread]);
    assert_eq!(words(&known, &past, Duration::ZERO), [unread]);
    known.wrong = Some("reading x: no".to_owned());
    assert_eq!(words(&known, &past, Duration::ZERO), [unread, "box: reading x: no"]);
}

#[test]
fn one_that_takes_long_makes_no_other_wait_and_a_look_that_was_waited_for_is_new_enough() {
    let (files, asked) = (Files::default(), clock::monotonic());
    let both = [sandbox("slow"), sandbox("quick")];
    assert_eq!(files.begin(&both, Fresh::Now(asked)).0.len(), 2);
    assert_eq!(files.begin(&both, Fresh::Now(asked)).0.len(), 0, "they are under way");
    let mut walked = Walked::by(|| Ok(Touches::default()));
    let began = walked.began;
    walked.cost = Duration::from_secs(3600);
    files.took(&both[0].id, walked);
    let cost = Duration::from_millis(1);
    files.took(&both[1].id, Walked { began, cost, found: Ok(Touches::default()) });
    let next = files.all().sandboxes[&both[1].id].next_at;
    assert!(next <= clock::monotonic() + TIMELINE_FILES_EVERY, "{next:?}");
    assert_eq!(files.begin(&both, Fresh::Now(asked)).1, 0);
    let later = began + Duration::from_nanos(1);
    assert_eq!(files.begin(&both, Fresh::Now(later)).1, 2);
}

#[test]
fn a_burst_is_a_few_rows_and_a_number() {
    let burst: Vec<_> = (0..20).map(change).chain([change(50_000)]).collect();
    let all = || burst.iter().rev().zip(0..).map(|(it, number)| (number, it)).collect();
    let rows = folded(all(), true);
    let left_out: Vec<_> = rows.iter().map(|it| it.1).collect();
    assert_eq!(left_out, [0, 0, 0, 0, 0, 15]);
    assert_eq!(folded(all(), false).len(), 21);
}
