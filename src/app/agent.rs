//! What known agents usually need: where they look for the key to their model.

/// Agents, and the variables they take a key from.
const KEYS: &[(&str, &[&str])] = &[
    ("claude", &["ANTHROPIC_API_KEY"]),
    ("codex", &["OPENAI_API_KEY"]),
    ("gemini", &["GEMINI_API_KEY"]),
    ("opencode", &["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]),
    ("aider", &["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]),
    ("cursor-agent", &["CURSOR_API_KEY"]),
    ("amp", &["AMP_API_KEY"]),
    ("goose", &["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]),
    ("crush", &["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]),
    ("droid", &["FACTORY_API_KEY"]),
    ("vibe", &["MISTRAL_API_KEY"]),
    ("pi", &["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]),
];

/// Every such variable, once.
pub fn key_variables() -> Vec<&'static str> {
    let mut all: Vec<&'static str> =
        KEYS.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// A variable that an agent takes its key from, which the operator has and does not hand in. `handed_in` are
/// words like `NAME` and `NAME=value`.
pub fn key_left_out(
    agent: &str,
    operator_has: &[&'static str],
    handed_in: &[String],
) -> Option<&'static str> {
    let (_, keys) = KEYS.iter().find(|(of, _)| *of == agent)?;
    let given = |key: &str| {
        handed_in.iter().any(|it| it.split_once('=').map_or(it.as_str(), |(name, _)| name) == key)
    };
    // One key is enough for those that take several.
    if keys.iter().any(|it| given(it)) {
        return None;
    }
    keys.iter().copied().find(|it| operator_has.contains(it))
}
