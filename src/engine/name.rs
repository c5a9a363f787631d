//! Names of sandboxes that nobody named: how one is made up.

use std::path::Path;

use crate::base::limits::NAME_BYTES_MAX;

const FALLBACK: &str = "sandbox";
const FORK: &str = "-fork";
/// Room for `-20000`.
const SUFFIX_BYTES: usize = 6;

/// Makes up a free name from the workspace's, else from the program's; `-2`, `-3` ... when taken.
pub(super) fn derive(
    workspace: Option<&Path>,
    command: &[String],
    taken: impl Fn(&str) -> bool,
) -> String {
    let from_workspace = workspace.and_then(Path::file_name).and_then(|it| it.to_str());
    let from_command =
        command.first().and_then(|it| Path::new(it).file_name()).and_then(|it| it.to_str());
    let base = [from_workspace, from_command]
        .into_iter()
        .flatten()
        .map(plain)
        .find(|it| !it.is_empty())
        .unwrap_or_else(|| FALLBACK.to_owned());
    let numbered = (2_u32..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.clone()).chain(numbered).find(|it| !taken(it)).unwrap_or(base)
}

/// Makes up a free name for what comes from another sandbox: `-fork` and, when taken, a number behind its.
pub(super) fn after(other: &str, taken: impl Fn(&str) -> bool) -> String {
    let stem = other.get(..other.len().min(NAME_BYTES_MAX - SUFFIX_BYTES - FORK.len()));
    let base = format!("{}{FORK}", stem.unwrap_or(other).trim_end_matches(FORK));
    let numbered = (2_u32..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.clone()).chain(numbered).find(|it| !taken(it)).unwrap_or(base)
}

/// Turns any text into name syntax; empty when nothing is left.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for it in text.chars() {
        match it.to_ascii_lowercase() {
            it @ ('a'..='z' | '0'..='9') => out.push(it),
            _ if !out.is_empty() && !out.ends_with('-') => out.push('-'),
            _ => {}
        }
        if out.len() >= NAME_BYTES_MAX - SUFFIX_BYTES {
            break;
        }
    }
    out.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sandbox::is_name;

    #[test]
    fn a_name_is_made_of_what_is_there() {
        let command = |it: &str| vec![it.to_owned()];
        let free = |_: &str| false;
        assert_eq!(derive(Some(Path::new("/w/My Api__v2")), &[], free), "my-api-v2");
        assert_eq!(derive(None, &command("/usr/bin/python3.12"), free), "python3-12");
        assert_eq!(derive(Some(Path::new("/")), &command("--"), free), "sandbox");
        assert_eq!(after("api", free), "api-fork");
        assert_eq!(after("api-fork", |it| it == "api-fork"), "api-fork-2");
        assert!(is_name(&after(&"x".repeat(63), |it| !it.ends_with("-19999"))));
        let taken = |it: &str| it == "api" || it == "api-2";
        assert_eq!(derive(Some(Path::new("/w/api")), &[], taken), "api-3");
        let long = "x".repeat(200);
        assert!(is_name(&derive(Some(Path::new(&long)), &[], |it| !it.ends_with("-999"))));
    }
}
