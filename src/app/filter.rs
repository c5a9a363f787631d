//! The fleet's filter: words and `key:value` tokens, each turned around by a leading `!`.

use super::fleet::{Mark, Row};
use crate::model::sandbox::{Isolation, State};

/// Longest filter line, in bytes, and most tokens in it.
pub const FILTER_BYTES_MAX: usize = 512;
const TOKENS_MAX: usize = 16;

/// Keys that a token may have.
pub const KEYS: &[&str] = &["status", "state", "driver", "label", "name", "isolation", "context"];

/// What can stand behind the tokens of a line whose words are none of those there are.
pub fn words_for(text: &str) -> Vec<String> {
    let marks = Mark::ALL.iter().map(|it| it.word());
    let states = State::ALL.iter().map(|it| it.word());
    let grades = Isolation::ALL.iter().map(|it| it.word());
    let known: [(&str, Vec<&str>); 3] =
        [("status", marks.collect()), ("state", states.collect()), ("isolation", grades.collect())];
    let words = text.split_whitespace().map(|it| it.trim_start_matches('!').to_lowercase());
    let tokens: Vec<(String, String)> = words
        .filter_map(|it| it.split_once(':').map(|(key, of)| (key.to_owned(), of.to_owned())))
        .collect();
    let none_of = |(key, value): &(String, String)| {
        let (key, words) = known.iter().find(|(of, _)| of == key)?;
        let none = !words.iter().any(|it| it.starts_with(value.as_str()));
        none.then(|| format!("{key}: is one of {}", words.join(", ")))
    };
    let mut said: Vec<String> = tokens.iter().filter_map(none_of).collect();
    if tokens.iter().any(|(key, _)| !KEYS.contains(&key.as_str())) {
        said.push(format!("tokens are {}:", KEYS.join(":, ")));
    }
    said
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// Anywhere in name, command, labels.
    Text(String),
    Status(String),
    State(String),
    Driver(String),
    /// `key`, or `key=value`.
    Label(String),
    Name(String),
    Isolation(String),
    /// Of a hub, where there is more than one.
    Context(String),
}

/// A parsed filter line; empty passes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Wanted answer and test; all must come out as wanted.
    tests: Vec<(bool, Test)>,
}

impl Query {
    pub fn parse(text: &str) -> Self {
        let tests = text
            .split_whitespace()
            .take(TOKENS_MAX)
            .filter_map(|token| {
                let (wanted, token) = match token.strip_prefix('!') {
                    Some(rest) => (false, rest),
                    None => (true, token),
                };
                let token = token.to_lowercase();
                (!token.is_empty()).then(|| (wanted, test(&token)))
            })
            // A token that is still being typed (`status:`) narrows nothing yet.
            .filter(|(_, test)| !test.value().is_empty())
            .collect();
        Self { tests }
    }

    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    pub fn passes(&self, row: &Row) -> bool {
        self.tests.iter().all(|(wanted, test)| test.holds(row) == *wanted)
    }
}

fn test(token: &str) -> Test {
    let Some((key, value)) = token.split_once(':') else { return Test::Text(token.to_owned()) };
    let value = value.to_owned();
    match key {
        "status" => Test::Status(value),
        "state" => Test::State(value),
        "driver" => Test::Driver(value),
        "label" => Test::Label(value),
        "name" => Test::Name(value),
        "isolation" => Test::Isolation(value),
        "context" => Test::Context(value),
        _ => Test::Text(token.to_owned()),
    }
}

impl Test {
    fn value(&self) -> &str {
        match self {
            Self::Text(it)
            | Self::Status(it)
            | Self::State(it)
            | Self::Driver(it)
            | Self::Label(it)
            | Self::Name(it)
            | Self::Isolation(it)
            | Self::Context(it) => it,
        }
    }

    fn holds(&self, row: &Row) -> bool {
        let sandbox = &row.sandbox;
        match self {
            Self::Text(it) => row.haystack().contains(it),
            Self::Status(it) => {
                row.mark().word().starts_with(it)
                    || sandbox.sessions.iter().any(|of| of.status.word().starts_with(it))
            }
            Self::State(it) => sandbox.state.word().starts_with(it),
            Self::Driver(it) => sandbox.driver.starts_with(it),
            Self::Label(it) => match it.split_once('=') {
                Some((key, value)) => sandbox.labels.iter().any(|(name, of)| {
                    name.eq_ignore_ascii_case(key) && of.to_lowercase().starts_with(value)
                }),
                None => sandbox.labels.keys().any(|name| name.to_lowercase().starts_with(it)),
            },
            Self::Name(it) => sandbox.name.to_lowercase().contains(it),
            Self::Isolation(it) => sandbox.isolation.is_some_and(|of| of.word().starts_with(it)),
            Self::Context(it) => {
                row.context().is_some_and(|of| of.to_lowercase().starts_with(it.as_str()))
            }
        }
    }
}
