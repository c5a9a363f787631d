//! Rules about screens, as they are held against one. A program draws what it likes, so what they read is a claim; and whatever it draws, looking
//! costs time that grows with the screen alone.

use crate::{
    base::limits::SCREEN_ROWS_READ_MAX,
    config::status::{ANY, ScreenRules, built_in},
    model::session::Status,
};

/// All rules.
pub struct Rules {
    files: Vec<ScreenRules>,
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
        Self::new(built_in())
    }
}

impl Rules {
    /// Of these files, the first of which count first.
    pub fn new(files: Vec<ScreenRules>) -> Self {
        Self { files }
    }

    /// What the first rule that fits says of a screen on which one of these programs runs.
    pub fn read(&self, programs: &[String], lines: &[String]) -> Option<Read<'_>> {
        let with_text: Vec<&str> = lines.iter().map(|it| it.trim_end()).collect();
        let last = with_text.iter().rposition(|it| !it.is_empty())?;
        let shown = with_text.get(..=last)?;
        let is_for = |file: &&ScreenRules| {
            file.programs.iter().any(|it| it == ANY || programs.iter().any(|program| program == it))
        };
        let all = self.files.iter().filter(is_for);
        let mut all = all.flat_map(|file| file.rules.iter().map(move |rule| (file, rule)));
        all.find_map(|(file, rule)| {
            let rows = usize::from(rule.rows.min(SCREEN_ROWS_READ_MAX));
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
}
