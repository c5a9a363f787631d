//! What of a request stands beside its subject. A rule that allows knows the subject alone: so whatever else may
//! change what is done is asked.

use std::path::Path;

use super::{
    http,
    path::{goes_up, plain},
};
use crate::{
    base::{limits::PATH_BYTES_MAX, text},
    model::ask::{AskKind, Request},
};

/// The directory that it is asked in.
const CWD: &str = "cwd";
/// The tool by which an agent asks.
const TOOL: &str = "tool";
/// Remarks, and who asks: they change nothing.
const REMARKS: [&str; 4] = [TOOL, "program", "description", "instruction"];
const OF_COMMANDS: [&str; 2] = ["timeout", "run_in_background"];
/// What is written to the file.
const OF_FILES: [&str; 8] = [
    "diff",
    "replace_all",
    "edits",
    "expected_replacements",
    "new_source",
    "cell_id",
    "cell_type",
    "edit_mode",
];
const OF_HOSTS: [&str; 2] = ["timeout", "prompt"];
/// What is repeated of a detail, in bytes.
const SHOWN_BYTES: usize = 100;

fn named<'a>(request: &'a Request, name: &'static str) -> impl Iterator<Item = &'a str> {
    let details = request.details.iter().filter(move |(key, _)| key == name);
    details.map(|(_, value)| value.as_str())
}

/// Where it is asked; several when it says so more than once.
pub fn directories(request: &Request) -> impl Iterator<Item = &Path> {
    named(request, CWD).map(Path::new)
}

/// Tools by which it is asked.
pub fn tools(request: &Request) -> impl Iterator<Item = &str> {
    let itself = (request.kind == AskKind::Tool).then_some(request.subject.as_str());
    itself.into_iter().chain(named(request, TOOL))
}

/// Why no rule can allow this by what it says, in words; `None` when one can.
/// `by_request` = the rule that allows it knows requests.
pub fn doubt(request: &Request, workspace: &Path, by_request: bool) -> Option<String> {
    let kind = request.kind;
    if kind == AskKind::Tool {
        let other = named(request, TOOL).any(|it| it != request.subject);
        return other.then(|| "it is not clear by which tool".to_owned());
    }
    let of: &[&str] = match kind {
        AskKind::Exec => &OF_COMMANDS,
        AskKind::File => &OF_FILES,
        _ => &OF_HOSTS,
    };
    for (key, value) in &request.details {
        let of_request = by_request && (key == http::METHOD || key == http::PATH);
        let known = of_request
            || key == CWD
            || REMARKS.contains(&key.as_str())
            || of.contains(&key.as_str());
        // Some tools take from a remark where they go.
        let leads = key == "prompt" && value.contains("://");
        if !known || leads {
            let key = text::shown(key, SHOWN_BYTES);
            return Some(format!("no rule says what becomes of it with its detail `{key}`"));
        }
    }
    if directories(request).any(goes_up) {
        return Some("where its directory leads is known only when it runs".to_owned());
    }
    match kind {
        AskKind::Exec => {
            let inside = |it: &Path| plain(&workspace.join(it)).starts_with(workspace);
            let outside = !directories(request).all(inside);
            outside.then(|| "it runs outside of the workspace".to_owned())
        }
        AskKind::File => {
            let path = &request.subject;
            // Tools read such a path in more than one way.
            let odd = path.trim() != path
                || path.starts_with('~')
                || path.contains("://")
                || path.contains(char::is_control)
                || path.len() > PATH_BYTES_MAX
                || goes_up(Path::new(path));
            odd.then(|| "where its path leads is known only when it is opened".to_owned())
        }
        _ => None,
    }
}
