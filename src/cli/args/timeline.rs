//! The verb about what happened.

use clap::Args;

use crate::{
    base::{
        clock::Timestamp,
        limits::{TIMELINE_LISTED_MAX, TIMELINE_PAGE},
    },
    cli::values,
    model::timeline::Kind,
};

#[derive(Debug, Args)]
pub struct TimelineArgs {
    /// Only what is about this: name or id, also of one that is no more [default: everything]
    #[arg(value_name = "SANDBOX|SESSION")]
    pub of: Option<String>,
    /// Only what is not older than this, e.g. 2h or 7d, or since a time such as 2026-11-20T13:00:00Z
    #[arg(long, value_name = "DUR|TIME", value_parser = values::moment)]
    pub since: Option<Timestamp>,
    /// Only up to then: so long ago, or a time
    #[arg(long, value_name = "DUR|TIME", value_parser = values::moment)]
    pub until: Option<Timestamp>,
    /// Only these, with commas between: ask, status, session, sandbox, snapshot, keyboard, egress, files, policy, notice,
    /// gauge, hub
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    pub kinds: Vec<Kind>,
    /// The newest so many, up to 20000 [default: 100, with --since all that fit]
    #[arg(short, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(TIMELINE_LISTED_MAX)))]
    pub n: Option<u32>,
    /// Go on with what happens, until it is interrupted
    #[arg(short, long, conflicts_with_all = ["until", "away"])]
    pub follow: bool,
    /// What happened since your last key in a console, grouped; what waits for you first
    #[arg(long, conflicts_with_all = ["of", "since", "until", "kinds", "n"])]
    pub away: bool,
    /// One JSON document on stdout, with --follow one JSON object a line
    #[arg(long)]
    pub json: bool,
}

impl TimelineArgs {
    /// How many are listed.
    pub fn most(&self) -> u32 {
        let otherwise = if self.since.is_some() { TIMELINE_LISTED_MAX } else { TIMELINE_PAGE };
        self.n.unwrap_or(otherwise)
    }
}

fn kind(word: &str) -> Result<Kind, String> {
    Kind::from_word(word).ok_or_else(|| {
        let all: Vec<_> = Kind::ALL.iter().map(|it| it.word()).collect();
        format!("expected one of {}", all.join(", "))
    })
}
