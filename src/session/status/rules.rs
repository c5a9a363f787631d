//! Rules about screens, compiled. A program draws what it likes, so what they read is a claim; and whatever it draws, looking
//! costs time that grows with the screen alone.

use regex::{Regex, RegexBuilder};

use crate::{
    base::limits::SCREEN_ROWS_READ_MAX,
    config::status::{ANY, ScreenRules, built_in},
    model::session::Status,
};

/// An automaton may take this much, in bytes.
const MEMORY_MAX: usize = 1 << 20;

/// All rules.
pub struct Rules {
    files: Vec<File>,
}

struct File {
    name: String,
    programs: Vec<String>,
    rules: Vec<Rule>,
}

struct Rule {
    says: Status,
    pattern: Regex,
    unless: Option<Regex>,
    rows: usize,
    words: String,
}

/// What was read off a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read<'a> {
    pub says: Status,
    pub words: &'a str,
    /// The file that the rule is from.
    pub name: &'a str,
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(built_in()).0
    }
}

impl Rules {
    /// Of these files; a pattern that is none leaves its rule out, and is told.
    pub fn new(all: Vec<ScreenRules>) -> (Self, Vec<String>) {
        let mut flaws = Vec::new();
        let files = all.into_iter().map(|file| {
            let name = file.name;
            let rules = file.rules.into_iter().filter_map(|it| {
                let mut built = |pattern: &str| {
                    let built = RegexBuilder::new(pattern).size_limit(MEMORY_MAX).build();
                    built.map_err(|_| {
                        flaws.push(format!("screen rules {name}: not a pattern: {pattern}"));
                    })
                };
                let pattern = built(&it.pattern).ok()?;
                let unless = it.unless.as_deref().map(&mut built).transpose().ok()?;
                let rows = usize::from(it.rows);
                Some(Rule { says: it.says, pattern, unless, rows, words: it.words })
            });
            let rules = rules.collect();
            File { name, programs: file.programs, rules }
        });
        let files = files.collect();
        (Self { files }, flaws)
    }

    /// What the first rule that fits says of a screen on which one of these programs runs.
    pub fn read(&self, programs: &[String], lines: &[String]) -> Option<Read<'_>> {
        let with_text: Vec<&str> = lines.iter().map(|it| it.trim_end()).collect();
        let last = with_text.iter().rposition(|it| !it.is_empty())?;
        let shown = with_text.get(..=last)?;
        let is_for = |file: &&File| {
            file.programs.iter().any(|it| it == ANY || programs.iter().any(|program| program == it))
        };
        let all = self.files.iter().filter(is_for);
        let mut all = all.flat_map(|file| file.rules.iter().map(move |rule| (file, rule)));
        all.find_map(|(file, rule)| {
            let rows = rule.rows.min(SCREEN_ROWS_READ_MAX.into());
            let rows = shown.get(shown.len().saturating_sub(rows)..)?;
            let fits = rows.iter().any(|it| rule.pattern.is_match(it));
            let kept =
                rule.unless.as_ref().is_some_and(|it| rows.iter().any(|row| it.is_match(row)));
            (fits && !kept).then_some(Read {
                says: rule.says,
                words: &rule.words,
                name: &file.name,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(program: &str, screen: &str) -> Option<Status> {
        let lines: Vec<String> = screen.lines().map(str::to_owned).collect();
        Rules::default().read(&[program.to_owned()], &lines).map(|it| it.says)
    }

    #[test]
    fn every_built_in_pattern_is_one() {
        assert_eq!(Rules::new(built_in()).1, Vec::<String>::new());
    }

    #[test]
    fn agents_are_read_as_they_draw_themselves() {
        let asks =
            "● Bash(rm x)\n\n Do you want to proceed?\n ❯ 1. Yes\n   2. No\n\n Esc to cancel\n\n\n";
        assert_eq!(says("claude", asks), Some(Status::Waiting));
        let works = "✻ Thinking… (12s · ↑ 40 tokens · esc to interrupt)\n\n─────\n❯ \n─────\n  ? for shortcuts";
        assert_eq!(says("claude", works), Some(Status::Working));
        let idle = "● Done.\n\n─────\n❯ \n─────\n  ? for shortcuts";
        assert_eq!(says("claude", idle), Some(Status::Idle));
        assert_eq!(
            says("claude", "Claude usage limit reached. Your limit will reset at 3pm"),
            Some(Status::Stuck)
        );
        assert_eq!(
            says("aider", "Run shell command? (Y)es/(N)o/(D)on't ask again [Yes]: "),
            Some(Status::Waiting)
        );
        assert_eq!(says("aider", "> "), Some(Status::Idle));
        // A program of another name does not draw itself like that.
        assert_eq!(says("vim", "Do you want to proceed?"), None);
    }

    #[test]
    fn a_question_counts_whoever_asks_it_and_only_where_it_was_asked_last() {
        assert_eq!(says("apt", "Do you want to continue? [Y/n] "), Some(Status::Waiting));
        assert_eq!(says("ssh", "alice@host's password: "), Some(Status::Waiting));
        assert_eq!(says("sudo", "[sudo] password for alice: "), Some(Status::Waiting));
        assert_eq!(says("apt", "Do you want to continue? [Y/n] \nreading"), None);
        assert_eq!(says("x", ""), None);
    }

    #[test]
    fn a_pattern_that_is_none_is_told_and_left_out() {
        let mut all = built_in();
        all.truncate(1);
        all[0].rules[0].pattern = "(".to_owned();
        let many = all[0].rules.len();
        let (rules, flaws) = Rules::new(all);
        assert_eq!((rules.files[0].rules.len(), flaws.len()), (many - 1, 1));
    }
}
