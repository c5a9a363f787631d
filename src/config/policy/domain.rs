//! The rules of one file, as they are named beside those of others.

use super::{Entry, entries as all_entries, project};
use crate::{
    base::{
        fault::{Fault, Outcome},
        text::visible,
    },
    config::source::{self, Source},
    model::rule::Domain,
    policy::rules::{InForce, Rule},
};

/// Before the id of a rule for one directory, wherever it is named beside those for all: no id has it.
pub const OF_PROJECT: &str = "project:";

/// What a file says, with such names. No file has no rules.
pub fn understood(domain: &Domain, name: &str, text: Option<&str>) -> Outcome<Vec<Rule>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let entries = entries(domain, name, text)?;
    let named = |it: Entry| match domain {
        Domain::All => it.rule,
        Domain::Project(_) => Rule { id: format!("{OF_PROJECT}{}", it.rule.id), ..it.rule },
    };
    Ok(entries.into_iter().map(named).collect())
}

/// What such a file says.
pub fn entries(domain: &Domain, name: &str, text: &str) -> Outcome<Vec<Entry>> {
    let wrong = |flaws: Vec<source::Flaw>| {
        source::fault(&flaws).hint("sandwatch policy check tells all that is wrong with it")
    };
    match domain {
        Domain::All => all_entries(name, text).map_err(wrong),
        Domain::Project(workspace) => {
            let (of, entries) = project(name, text).map_err(wrong)?;
            match of == *workspace {
                true => Ok(entries),
                false => {
                    let of = of.to_string_lossy();
                    let place = Source::new(name, text).place_of("workspace", &of);
                    let place = place.unwrap_or_else(|| name.to_owned());
                    let words =
                        format!("{place}: it has the rules of another directory: {}", visible(&of));
                    Err(Fault::invalid(words).hint(format!(
                        "name {} there, or move the file out of projects/: sandwatch policy add \
                         --project makes one that is called right",
                        visible(&workspace.to_string_lossy())
                    )))
                }
            }
        }
    }
}

/// Those for all with those for one directory.
pub fn joined(all: &InForce, of_it: &InForce) -> InForce {
    let both = InForce { rules: all.iter().chain(of_it.iter()).cloned().collect(), whole: true };
    // What the one that can't be read denies is not known.
    if all.whole && of_it.whole { both } else { both.in_doubt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_the_rules_of_another_directory_is_refused_with_the_line_that_says_so() {
        let text = "# mine\nworkspace = \"/b\"\n";
        let fault = entries(&Domain::Project("/a".into()), "a.toml", text).unwrap_err();
        assert!(fault.message().starts_with("a.toml:2:13: "), "{fault}");
        assert!(fault.hint_text().is_some_and(|it| it.contains("projects/")), "{fault:?}");
        assert!(entries(&Domain::Project("/b".into()), "a.toml", text).is_ok());
    }
}
