//! Paths as rules see them: by their text. What lies there, and whether a link does, is not known here.

use std::path::{Component, Path, PathBuf};

/// A path without `.` and `..`, by its text.
pub fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

/// Whether a part of it is `..`: where that leads depends on what lies there.
pub fn goes_up(path: &Path) -> bool {
    path.components().any(|it| it == Component::ParentDir)
}

/// Whether a rule's path is this one, which is plain. Takes time by the product of both lengths at most.
pub fn fits(glob: &str, path: &Path, workspace: &Path) -> bool {
    let path = if glob.starts_with('/') {
        path
    } else {
        match path.strip_prefix(workspace) {
            Ok(inside) => inside,
            Err(_) => return false,
        }
    };
    let Some(path) = path.to_str() else { return false };
    text_fits(glob, path)
}

/// A path that a rule's path surely is.
pub(super) fn sample(glob: &str) -> String {
    let names: Vec<&str> = glob.split('/').map(|it| if it == "**" { "x" } else { it }).collect();
    names.join("/").replace(['*', '?'], "x")
}

/// Whether a rule's path is this text, both from their root.
pub(super) fn text_fits(glob: &str, path: &str) -> bool {
    sequence_fits(names(glob), names(path), |it| *it == "**", |one, name| name_fits(one, name))
}

fn names(path: &str) -> impl Iterator<Item = &str> + Clone {
    path.split('/').filter(|it| !it.is_empty())
}

fn name_fits(glob: &str, name: &str) -> bool {
    sequence_fits(glob.chars(), name.chars(), |it| *it == '*', |one, it| *one == '?' || one == it)
}

/// Whether a pattern fits all of a sequence, where `many` stands for any number of its items. Of several of those only
/// the last is ever tried again: what it takes too much, one before it need not take.
fn sequence_fits<P, S>(
    mut pattern: P,
    mut sequence: S,
    many: impl Fn(&P::Item) -> bool,
    one: impl Fn(&P::Item, &S::Item) -> bool,
) -> bool
where
    P: Iterator + Clone,
    S: Iterator + Clone,
{
    // What comes behind the last `many`, and from where on it was tried.
    let mut again: Option<(P, S)> = None;
    loop {
        let (mut behind, mut rest) = (pattern.clone(), sequence.clone());
        match (behind.next(), rest.next()) {
            (Some(it), _) if many(&it) => {
                again = Some((behind.clone(), sequence.clone()));
                pattern = behind;
                continue;
            }
            (None, None) => return true,
            (Some(_), None) => return false,
            (Some(it), Some(item)) if one(&it, &item) => {
                (pattern, sequence) = (behind, rest);
                continue;
            }
            _ => {}
        }
        let Some((behind, from)) = &mut again else { return false };
        if from.next().is_none() {
            return false;
        }
        (pattern, sequence) = (behind.clone(), from.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, as one would define it.
    fn defined(glob: &[char], name: &[char]) -> bool {
        match (glob.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => (0..=name.len()).any(|at| defined(rest, &name[at..])),
            (Some((one, rest)), Some((it, behind))) => {
                (*one == '?' || one == it) && defined(rest, behind)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn names_fit_as_is_defined(glob in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            let chars = |it: &str| it.chars().collect::<Vec<_>>();
            prop_assert_eq!(name_fits(&glob, &name), defined(&chars(&glob), &chars(&name)));
            // Directories are to `**` what letters are to `*`.
            let spread = |it: &str| -> String {
                it.chars().map(|it| if it == '*' { "**/".into() } else { format!("{it}/") }).collect()
            };
            let path = format!("/w/{}", spread(&name));
            let fits = fits(&spread(&glob), Path::new(&path), Path::new("/w"));
            prop_assert_eq!(fits, defined(&chars(&glob), &chars(&name)));
        }
    }

    #[test]
    fn many_stars_are_no_more_work_than_few() {
        let deep = format!("/w/{}", "a/".repeat(2000));
        assert!(!fits(&"**/a/".repeat(50), Path::new(&format!("{deep}b")), Path::new("/w")));
        assert!(fits(&"**/a/".repeat(50), Path::new(&deep), Path::new("/w")));
        let long = format!("/w/{}", "a".repeat(4000));
        assert!(!fits(&("*a".repeat(60) + "b"), Path::new(&long), Path::new("/w")));
    }

    #[test]
    fn a_path_fits_a_glob_as_it_reads() {
        for (glob, path, wanted) in [
            ("src/**", "/w/src/a/b.rs", true),
            ("src/**", "/w/src", true),
            ("src/**", "/x/src/a", false),
            ("**/*.pem", "/w/k.pem", true),
            ("**/*.pem", "/w/a/b/k.pem", true),
            ("/tmp/?.txt", "/tmp/a.txt", true),
            ("/tmp/?.txt", "/tmp/ab.txt", false),
            ("a/**/b/**/c", "/w/a/x/b/b/y/c", true),
            ("*", "/w/a/b", false),
        ] {
            assert_eq!(fits(glob, Path::new(path), Path::new("/w")), wanted, "{glob} {path}");
        }
    }
}
