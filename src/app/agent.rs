//! What agents need that a form can say: where they look for the key to their model.

use crate::config::agents::Profiles;

/// A variable that an agent takes its key from, which the operator has and does not hand in. `handed_in` are
/// words like `NAME` and `NAME=value`.
pub fn key_left_out<'a>(
    profiles: &'a Profiles,
    agent: &str,
    operator_has: &[String],
    handed_in: &[String],
) -> Option<&'a str> {
    let keys = &profiles.of_program(agent)?.keys;
    let given = |key: &String| {
        handed_in.iter().any(|it| it.split_once('=').map_or(it.as_str(), |(name, _)| name) == key)
    };
    // One key is enough for those that take several.
    if keys.iter().any(given) {
        return None;
    }
    keys.iter().find(|it| operator_has.contains(it)).map(String::as_str)
}
