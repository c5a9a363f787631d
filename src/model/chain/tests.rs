//! Every way of tampering that the chain finds, and the one that it finds only with a noted head.

use proptest::prelude::*;

use super::*;
use crate::{base::clock::Timestamp, model::audit::Action};

fn act(number: i64) -> Act {
    Act::new(Timestamp(1_000 + number), "alice", Action::SandboxPaused, &format!("box {number}"))
        .with("sandbox", "box")
        .with("uid", 1000_u64)
        .with("command", vec!["make".to_owned(), "all".to_owned()])
}

fn chain(acts: impl IntoIterator<Item = Act>) -> Vec<Entry> {
    let mut head = Head::none();
    let seal = |act| {
        let entry = seal(&head, act);
        head = Head { seq: entry.seq, hash: entry.hash.clone() };
        entry
    };
    acts.into_iter().map(seal).collect()
}

fn verify(entries: &[Entry], pin: Option<&Head>) -> Result<Head, Flaw> {
    let mut verifier = Verifier::new(pin.cloned());
    entries.iter().try_for_each(|it| verifier.take(it))?;
    verifier.end()
}

fn head_of(entries: &[Entry]) -> Head {
    entries.last().map_or_else(Head::none, |it| Head { seq: it.seq, hash: it.hash.clone() })
}

fn place(at: usize) -> i64 {
    i64::try_from(at).unwrap()
}

/// Makes every hash from `at` on fit what the entries say.
fn rehash(entries: &mut [Entry], at: usize) {
    for index in at..entries.len() {
        let before = head_of(&entries[..index]);
        entries[index] = seal(&before, entries[index].act.clone());
    }
}

#[test]
fn a_record_is_sound_as_it_was_written() {
    assert_eq!(verify(&[], None), Ok(Head::none()));
    let entries = chain((0..20).map(act));
    assert_eq!((entries[0].seq, entries[0].prev.as_str()), (1, NO_HASH));
    let head = head_of(&entries);
    assert_eq!(verify(&entries, None), Ok(head.clone()));
    for at in 0..=20 {
        let pin = head_of(&entries[..at]);
        assert_eq!(Head::parse(&pin.to_string()), Some(pin.clone()));
        assert_eq!(verify(&entries, Some(&pin)), Ok(head.clone()), "{at}");
    }
    for text in ["", "1", "x:00", "-1:00", &format!("1:{}", "g".repeat(64)), "1:abc"] {
        assert_eq!(Head::parse(text), None, "{text}");
    }
}

#[test]
fn the_form_of_the_hash_never_changes() {
    // Records of years would be void.
    assert_eq!(
        chain([act(0)])[0].hash,
        "4847112a1e0bc18534c64af914404713f7a33885d418b90b96695b74a6dc7ff6"
    );
}

#[test]
fn every_edit_of_one_entry_is_found_at_that_entry() {
    let sound = chain((0..9).map(act));
    let edits: [(&str, fn(&mut Entry)); 14] = [
        ("at", |it| it.act.at.0 += 1),
        ("actor", |it| it.act.actor.push('x')),
        ("action", |it| it.act.action = "sandbox.resumed".to_owned()),
        ("subject", |it| it.act.subject.clear()),
        ("a detail", |it| drop(it.act.details.insert("sandbox".into(), "other".into()))),
        ("its kind", |it| drop(it.act.details.insert("uid".into(), "1000".into()))),
        ("a detail more", |it| drop(it.act.details.insert("z".into(), "1".into()))),
        ("a detail less", |it| drop(it.act.details.remove("uid"))),
        ("a word moved", |it| {
            let list = vec!["makeall".to_owned()];
            it.act.details.insert("command".into(), list.into());
        }),
        ("a text for a list", |it| drop(it.act.details.insert("command".into(), "make".into()))),
        ("a byte from one part to the next", |it| {
            it.act.actor = "alic".to_owned();
            it.act.action.insert(0, 'e');
        }),
        ("prev", |it| it.prev.replace_range(..1, "g")),
        ("hash", |it| it.hash.replace_range(..1, "g")),
        ("hash and prev", |it| std::mem::swap(&mut it.hash, &mut it.prev)),
    ];
    for (what, edit) in edits {
        for at in 0..sound.len() {
            let mut entries = sound.clone();
            edit(&mut entries[at]);
            assert_eq!(verify(&entries, None).unwrap_err().seq, place(at) + 1, "{what} at {at}");
        }
    }
}

#[test]
fn an_edit_with_a_hash_that_fits_is_found_at_the_next_one() {
    for at in 0..8 {
        let mut entries = chain((0..9).map(act));
        entries[at].act.actor = "mallory".to_owned();
        let before = head_of(&entries[..at]);
        entries[at] = seal(&before, entries[at].act.clone());
        assert_eq!(verify(&entries, None).unwrap_err().seq, place(at) + 2);
    }
}

#[test]
fn a_cut_an_insertion_a_repetition_and_another_order_are_found() {
    let sound = chain((0..9).map(act));
    for at in 0..8 {
        let mut cut = sound.clone();
        cut.remove(at);
        assert_eq!(verify(&cut, None).unwrap_err().seq, place(at) + 1);
        // With numbers that fit too.
        for later in &mut cut[at..] {
            later.seq -= 1;
        }
        assert_eq!(verify(&cut, None).unwrap_err().seq, place(at) + 1);

        let mut twice = sound.clone();
        twice.insert(at, sound[at].clone());
        assert_eq!(verify(&twice, None).unwrap_err().seq, place(at) + 1);

        let mut other = sound.clone();
        other.swap(at, at + 1);
        assert!(verify(&other, None).is_err());
        let (one, next) = (other[at].seq, other[at + 1].seq);
        (other[at].seq, other[at + 1].seq) = (next, one);
        assert_eq!(verify(&other, None).unwrap_err().seq, place(at) + 1);

        let mut more = sound.clone();
        more.insert(at, seal(&head_of(&sound[..at]), act(100)));
        assert!(verify(&more, None).is_err());
        for later in &mut more[at + 1..] {
            later.seq += 1;
        }
        assert!(verify(&more, None).is_err());
    }
    for seq in [0, -1, i64::MIN, i64::MAX] {
        let mut first = sound.clone();
        first[0].seq = seq;
        assert!(verify(&first, None).is_err(), "{seq}");
    }
    let mut behind = sound.clone();
    behind.push(Entry { seq: i64::MAX, ..sound[8].clone() });
    assert_eq!(verify(&behind, None).unwrap_err().seq, 10);
}

#[test]
fn what_was_written_anew_to_the_end_or_cut_off_is_found_by_a_noted_head_alone() {
    let sound = chain((0..9).map(act));
    for at in 0..9 {
        let mut anew = sound.clone();
        anew[at].act.actor = "mallory".to_owned();
        rehash(&mut anew, at);
        assert!(verify(&anew, None).is_ok());
        for noted in 0..=9 {
            let found = verify(&anew, Some(&head_of(&sound[..noted])));
            assert_eq!(found.is_err(), noted > at, "{at} {noted}");
        }
        let short = &sound[..at];
        assert!(verify(short, None).is_ok());
        let flaw = verify(short, Some(&head_of(&sound))).unwrap_err();
        assert!(flaw.seq == 9 && flaw.why.contains(&format!("ends at {at}")), "{flaw}");
    }
    let nothing = Head { seq: 0, hash: "1".repeat(64) };
    assert!(verify(&sound, Some(&nothing)).is_err());
}

proptest! {
    #[test]
    fn no_two_acts_have_the_same_hash(
        one in any::<(i64, String, String, Vec<(String, Option<String>)>)>(),
        two in any::<(i64, String, String, Vec<(String, Option<String>)>)>(),
    ) {
        let acts = [one, two].map(|(at, actor, subject, details)| {
            let mut act = Act::new(Timestamp(at >> 20), &actor, Action::ProgramRun, &subject);
            for (key, value) in details {
                let value = value.map_or(Value::Number(7), Value::Text);
                act.details.insert(key, value);
            }
            act
        });
        let [a, b] = acts.clone().map(|it| seal(&Head::none(), it).hash);
        prop_assert_eq!(a == b, acts[0] == acts[1]);
    }

    #[test]
    fn any_mixture_of_sound_entries_but_their_beginning_is_found(
        order in proptest::collection::vec(0_usize..12, 0..14),
    ) {
        let sound = chain((0..12).map(act));
        let mixed: Vec<Entry> = order.iter().map(|it| sound[*it].clone()).collect();
        let is_beginning = order.iter().enumerate().all(|(at, it)| at == *it);
        prop_assert_eq!(verify(&mixed, None).is_ok(), is_beginning);
        let whole = verify(&mixed, Some(&head_of(&sound))).is_ok();
        prop_assert_eq!(whole, is_beginning && order.len() == 12);
    }
}
