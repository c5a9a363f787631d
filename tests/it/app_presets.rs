//! The keymaps that come with the program, in the places of snapshots, of changes and of asks.

use sandwatch::app::{
    Msg,
    action::{ACTIONS, Action, Scope},
    chord::Chord,
    keymap::{Bound, Keymap, PRESETS, Sequence, Step, parse_sequence},
};

use super::{
    app_asks::{in_ask, in_asks},
    app_support::{Console, preset},
    app_views::{in_diff, in_snapshots},
};

const SNAPSHOTS: &[Scope] = &[Scope::Snapshots, Scope::View, Scope::Global];
const ASKS: &[Scope] = &[Scope::Asks, Scope::View, Scope::Global];
const ASK: &[Scope] = &[Scope::Ask, Scope::View, Scope::Global];
const RECORDS: &[Scope] = &[Scope::Records, Scope::View, Scope::Global];
const DIFF: &[Scope] = &[Scope::Diff, Scope::View, Scope::Global];

/// What keys typed one after the other do where these scopes are asked.
fn does(map: &Keymap, scopes: &[Scope], keys: &Sequence) -> Option<Action> {
    let first = &keys.0[..1];
    let scope = scopes.iter().find(|it| map.step(**it, first) != Step::Nothing)?;
    match map.step(*scope, &keys.0) {
        Step::Run(Bound::Action(action)) => Some(*action),
        _ => None,
    }
}

fn places(name: &str) -> [(Console, &'static [Scope]); 4] {
    let size = (120, 36);
    let all = [
        (in_snapshots(size), SNAPSHOTS),
        (in_diff(size), DIFF),
        (in_asks(size), ASKS),
        (in_ask(size), ASK),
    ];
    all.map(|(mut console, scopes)| {
        console.send(Msg::Keymap(Ok(Box::new(preset(name)))));
        assert_eq!(console.state.scopes(), scopes);
        (console, scopes)
    })
}

#[test]
fn every_action_of_a_place_has_a_key_there_in_every_preset() {
    for (name, _) in PRESETS {
        for (console, scopes) in places(name) {
            let wanted = ACTIONS.iter().filter(|it| scopes[..2].contains(&it.scope));
            let moves = [
                Action::ListDown,
                Action::ListUp,
                Action::ListTop,
                Action::ListBottom,
                Action::ListHalfDown,
                Action::ListHalfUp,
                Action::CopyName,
                Action::Snapshots,
                Action::Info,
                Action::Back,
                Action::Help,
            ];
            for action in wanted.map(|it| it.action).chain(moves) {
                let key = console.state.key_for(action);
                assert!(key.is_some(), "{name}, [{}]: {action:?}", scopes[0].word());
            }
        }
    }
}

#[test]
fn a_hint_names_a_key_that_does_it_in_every_preset() {
    for (name, _) in PRESETS {
        for (console, scopes) in places(name) {
            let map = &console.state.keymap;
            for action in ACTIONS.iter().map(|it| it.action) {
                let Some(key) = console.state.key_for(action) else { continue };
                let keys = parse_sequence(&key).unwrap();
                assert_eq!(does(map, scopes, &keys), Some(action), "{name}: {key}");
            }
            for hint in console.state.hints() {
                let keys = parse_sequence(&hint.key).unwrap();
                assert!(does(map, scopes, &keys).is_some(), "{name}: {hint:?}");
            }
        }
    }
}

#[test]
fn no_key_of_one_place_hides_one_of_both_in_any_preset() {
    for (name, _) in PRESETS {
        let map = preset(name);
        for scopes in [SNAPSHOTS, DIFF, ASKS, ASK, RECORDS] {
            for (_, keys, bound) in map.bindings().filter(|it| it.0 == Scope::View) {
                let Bound::Action(wanted) = bound else { continue };
                let found = does(&map, scopes, keys);
                assert_eq!(found, Some(*wanted), "{name}, [{}]: {keys}", scopes[0].word());
            }
        }
    }
}

/// What an action of the fleet is in the two places, if it is something there.
fn counterpart(action: Action) -> [Option<Action>; 2] {
    use Action as A;
    match action {
        A::ListDown | A::ListUp | A::ListTop | A::ListBottom | A::ListHalfDown | A::ListHalfUp => {
            [Some(action); 2]
        }
        A::CopyName | A::Info => [Some(action); 2],
        A::Filter => [Some(A::Find); 2],
        A::Mark => [None, Some(A::Stage)],
        A::MarkAll => [None, Some(A::StageAll)],
        A::MarkNone => [None, Some(A::StageNone)],
        A::Remove => [Some(A::SnapshotRemove), None],
        A::Diff => [Some(A::DiffNow), None],
        _ => [None; 2],
    }
}

#[test]
fn keys_of_the_fleet_mean_the_same_in_the_places_in_every_preset() {
    for (name, _) in PRESETS {
        let map = preset(name);
        let list = map.bindings().filter(|it| it.0 == Scope::List);
        for (keys, bound) in list.map(|it| (it.1, it.2)) {
            let Bound::Action(action) = bound else { continue };
            for (scopes, wanted) in [SNAPSHOTS, DIFF].iter().zip(counterpart(*action)) {
                let found = does(&map, scopes, keys);
                let place = scopes[0].word();
                assert!(wanted.is_none() || found == wanted, "{name}, [{place}] {keys}: {found:?}");
            }
        }
    }
}

#[test]
fn copying_in_k9s_never_takes_a_snapshot() {
    let map = preset("k9s");
    let c = Sequence(vec![Chord::parse("c").unwrap()]);
    for scopes in [&[Scope::List, Scope::Global], SNAPSHOTS, DIFF] {
        assert_eq!(does(&map, scopes, &c), Some(Action::CopyName));
    }
    assert_eq!(does(&map, &[Scope::Panes, Scope::Global], &c), None);
}
