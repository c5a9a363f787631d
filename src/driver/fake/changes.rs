//! What the demo's sandboxes say that they changed: a script, told in the driver's words. Nothing was changed
//! anywhere.

use crate::{
    base::fault::Outcome,
    driver::{
        Changes, Kept,
        patch::{self, Binary, Side},
    },
    model::change::{ChangeStatus, DiffPiece, DiffRequest, FileChange, LineCount, Node, NodeKind},
};

/// A path, what was there and what is there now.
type Scene = (&'static str, Option<&'static str>, Option<&'static str>);

/// In the order they were changed in: a snapshot has the first ones.
const SCENES: [Scene; 4] = [
    (
        "src/http/client.rs",
        Some(include_str!("scripts/client.before")),
        Some(include_str!("scripts/client.after")),
    ),
    ("src/http/retry.rs", None, Some(include_str!("scripts/retry.after"))),
    ("docs/retries.md", Some("# Retries\n\nThere are none.\n"), None),
    (
        "tests/retry.rs",
        Some("#[test]\nfn gives_up() {\n    assert!(get(\"/\").is_err());\n}\n"),
        Some(
            "#[test]\nfn gives_up_after_three() {\n    let error = get(\"/\").unwrap_err();\n    \
             assert_eq!(error.attempts, 3);\n}\n",
        ),
    ),
];
/// How many of them a snapshot has.
const KEPT: usize = 2;

/// What is there now of what was changed.
pub(super) fn scenes() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCENES.iter().filter_map(|it| Some((it.0, it.2?)))
}

/// What changed in a sandbox, or in a moment of it, since another moment or its start.
pub(super) fn changes(of: &Kept, since_kept: bool, request: &DiffRequest) -> Changes {
    let scenes = match (of, since_kept) {
        (Kept::Shelf(..), true) => SCENES.get(1..KEPT),
        (Kept::Shelf(..), false) => SCENES.get(..KEPT),
        (Kept::Ground(..), true) => SCENES.get(KEPT..),
        (Kept::Ground(..), false) => SCENES.get(..),
    };
    let mut scenes = scenes.unwrap_or_default().to_vec();
    scenes.sort_by_key(|it| it.0);
    let (paths, text) = (request.paths.clone(), request.text);
    let wanted = move |it: &Scene| paths.is_empty() || paths.iter().any(|of| of == it.0.as_bytes());
    let told = scenes.into_iter().filter(wanted).flat_map(move |it| tell(it, text));
    Box::new(told.chain([Ok(DiffPiece::End { git_left_out: 0 })]))
}

fn tell((path, old, new): Scene, text: bool) -> Vec<Outcome<DiffPiece>> {
    let side = |it: Option<&'static str>| {
        it.map(|it| Side { path: path.as_bytes(), mode: 0o100_644, content: Some(it.as_bytes()) })
    };
    let node = |it: Option<&str>| {
        it.map(|it| Node { kind: NodeKind::File, mode: 0o644, bytes: it.len() as u64 })
    };
    let patch = patch::patch(side(old), side(new), Binary::Named);
    let status = match (old, new) {
        (None, _) => ChangeStatus::Added,
        (_, None) => ChangeStatus::Deleted,
        _ => ChangeStatus::Modified,
    };
    let change = FileChange {
        path: path.as_bytes().to_vec(),
        old_path: None,
        status,
        old: node(old),
        new: node(new),
        lines: Some(LineCount { added: patch.added_lines, removed: patch.removed_lines }),
        note: None,
    };
    let mut told = vec![Ok(DiffPiece::File(change))];
    if text {
        told.push(Ok(DiffPiece::Text(patch.text.into())));
    }
    told
}
