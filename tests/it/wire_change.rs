//! The wire of diffs: what goes out comes back the same, and no path leads out of the workspace.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use prost::Message;
use sandwatch::{
    base::{
        fault::Kind,
        id::{SandboxId, SnapshotId},
        limits::{APPLY_HUNKS_BYTES_MAX, CHANGE_PATHS_MAX, CHANGE_PIECE_BYTES, PATH_BYTES_MAX},
    },
    model::{
        change::{
            AppliedPath, ApplyRequest, ChangeStatus, DiffPiece, DiffRequest, FileChange, LineCount,
            Node, NodeKind, Subject, Verdict, is_inside,
        },
        hunk::Part,
    },
    wire::{
        convert::change::{apply_in, apply_out, diff_in, diff_out, piece_in, piece_out},
        v1,
    },
};

/// Through bytes, as on the wire.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let name = vec(1_u8..=255, 1..8)
        .prop_filter("a name", |it| !it.contains(&b'/') && !matches!(it.as_slice(), b"." | b".."));
    vec(name, 1..4).prop_map(|it| it.join(&b'/'))
}

fn node() -> impl Strategy<Value = Node> {
    let kind = prop::sample::select(NodeKind::ALL);
    (kind, 0_u32..=0o777, any::<u64>()).prop_map(|(kind, mode, bytes)| Node { kind, mode, bytes })
}

prop_compose! {
    fn change()(
        path in path(), old_path in option::of(path()),
        status in prop::sample::select(ChangeStatus::ALL), sides in any::<(bool, bool)>(),
        (old, new) in (node(), node()), lines in any::<Option<(u64, u64)>>(),
        note in option::of("[a-z ]{0,40}"),
    ) -> FileChange {
        let lines = lines.map(|(added, removed)| LineCount { added, removed });
        let (old, new) = (sides.0.then_some(old), sides.1.then_some(new));
        FileChange { path, old_path, status, old, new, lines, note }
    }
}

proptest! {
    #[test]
    fn a_diff_arrives_as_it_was_sent(change in change(), git_left_out in any::<u64>()) {
        for piece in [DiffPiece::File(change), DiffPiece::End { git_left_out }] {
            let read: Vec<_> =
                piece_out(piece.clone()).iter().map(|it| piece_in(sent(it)).unwrap()).collect();
            prop_assert_eq!(read, vec![piece]);
        }
    }

    #[test]
    fn what_was_applied_arrives_as_it_was_sent(
        path in path(), status in prop::sample::select(ChangeStatus::ALL),
        verdict in prop::sample::select(Verdict::ALL), note in option::of("[a-z ]{0,40}"),
        flags in any::<(bool, bool, bool)>(),
    ) {
        let applied = AppliedPath { path: path.clone(), status, verdict, note };
        let read = sent(&v1::AppliedPath::from(applied.clone()));
        prop_assert_eq!(AppliedPath::try_from(read).unwrap(), applied);
        let (git, links, overwrite) = flags;
        let part = Part { path: path.clone(), hunks: "@@ -1 +1 @@\n-a\n+b\n".into() };
        let beside = [&path[..], b"-beside"].concat();
        let request =
            ApplyRequest { paths: vec![beside], parts: vec![part.clone()], git, links, overwrite };
        let id = SandboxId::parse("box").unwrap();
        let read = apply_in(sent(&apply_out(&id, request.clone()))).unwrap();
        prop_assert_eq!(&read, &(id.clone(), request.clone()));
        // Hunks of what is asked for as a whole would be put into what they are in.
        let top = path.split(|it| *it == b'/').next().unwrap().to_vec();
        for paths in [vec![path], vec![top]] {
            let both = ApplyRequest { paths, ..request.clone() };
            let fault = apply_in(sent(&apply_out(&id, both))).unwrap_err();
            prop_assert_eq!(fault.kind(), Kind::Invalid);
        }
        let broken = Part { hunks: "@@ -1 +1 @@\n-a\n".into(), ..part.clone() };
        let large = Part { hunks: vec![b'x'; APPLY_HUNKS_BYTES_MAX + 1].into(), ..part.clone() };
        for parts in [vec![part.clone(), part], vec![broken], vec![large]] {
            let request = ApplyRequest { parts, ..ApplyRequest::default() };
            prop_assert!(apply_in(sent(&apply_out(&id, request))).is_err());
        }
    }

    #[test]
    fn a_question_arrives_as_it_was_sent(
        paths in vec(path(), 0..4), git in any::<bool>(), text in any::<bool>(),
        system in any::<bool>(), kept in any::<bool>(),
    ) {
        let id = SnapshotId::parse("moment").unwrap();
        let of = match kept {
            true => Subject::Snapshot(id.clone()),
            false => Subject::Sandbox(SandboxId::parse("box").unwrap()),
        };
        let against = (git == system).then_some(id);
        let request = DiffRequest { against, system, paths, git, text, binary: git != text };
        let read = diff_in(sent(&diff_out(&of, request.clone()))).unwrap();
        prop_assert_eq!(read, (of, request));
    }
}

#[test]
fn text_of_any_length_is_cut_into_pieces() {
    let text = Bytes::from(vec![b'x'; CHANGE_PIECE_BYTES * 2 + 1]);
    let pieces = piece_out(DiffPiece::Text(text.clone()));
    assert_eq!(pieces.len(), 3);
    let read = pieces.iter().map(|it| match piece_in(sent(it)).unwrap() {
        DiffPiece::Text(bytes) => bytes,
        other => panic!("{other:?}"),
    });
    assert_eq!(read.collect::<Vec<_>>().concat(), text);
    let long = vec![b'x'; CHANGE_PIECE_BYTES + 1].into();
    let long = v1::DiffResponse { kind: Some(v1::diff_response::Kind::Text(long)) };
    assert_eq!(piece_in(long).unwrap_err().kind(), Kind::Invalid);
    assert!(piece_in(v1::DiffResponse::default()).is_err());
}

#[test]
fn a_path_out_of_the_workspace_is_refused() {
    let long = vec![b'x'; PATH_BYTES_MAX + 1];
    for bad in [&b""[..], b"/etc", b"..", b"a/../b", b"./a", b"a//b", b"a/", b"a\0b", &long] {
        assert!(bad.len() > PATH_BYTES_MAX || !is_inside(bad));
        let path = Bytes::copy_from_slice(bad);
        let request = v1::DiffRequest {
            sandbox: "box".to_owned(),
            paths: vec![path.clone()],
            ..v1::DiffRequest::default()
        };
        assert_eq!(diff_in(request).unwrap_err().kind(), Kind::Invalid, "{bad:?}");
        let change = v1::FileChange { path, ..v1::FileChange::default() };
        let piece = v1::DiffResponse { kind: Some(v1::diff_response::Kind::File(change)) };
        assert!(piece_in(piece).is_err(), "{bad:?}");
    }
    let paths = vec![Bytes::from_static(b"a"); CHANGE_PATHS_MAX + 1];
    let request =
        v1::DiffRequest { sandbox: "box".to_owned(), paths, ..v1::DiffRequest::default() };
    assert!(diff_in(request).is_err());
}
