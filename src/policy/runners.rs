//! Programs that do nothing but run the words behind them, with every option of theirs that changes nothing about
//! that. Anything else in front of those words is theirs, and no rule about what they run speaks for it.

use super::shell::named;

/// Runners of runners are followed so deep.
const DEPTH_MAX: usize = 8;

type Check = fn(&str) -> bool;

/// One runner, and what may stand between it and what it runs.
struct Runner {
    name: &'static str,
    /// Options without a value.
    flags: &'static [&'static str],
    /// Options with one, behind them or attached; a name that ends with `=` has it attached only.
    valued: &'static [(&'static str, Check)],
    /// A word of its own that comes first.
    operand: Option<Check>,
}

const fn plain(name: &'static str) -> Runner {
    Runner { name, flags: &[], valued: &[], operand: None }
}

/// `env` is none of them: it gives variables, another directory, and takes a line apart itself.
const RUNNERS: [Runner; 9] = [
    plain("nohup"),
    plain("command"),
    plain("exec"),
    Runner { flags: &["-p"], ..plain("time") },
    Runner { flags: &["-w", "--wait"], ..plain("setsid") },
    Runner { valued: &[("-n", is_number), ("--adjustment=", is_number)], ..plain("nice") },
    Runner { flags: &["-t"], valued: &[("-c", is_number), ("-n", is_number)], ..plain("ionice") },
    Runner {
        valued: &[
            ("-i", is_buffer),
            ("-o", is_buffer),
            ("-e", is_buffer),
            ("--input=", is_buffer),
            ("--output=", is_buffer),
            ("--error=", is_buffer),
        ],
        ..plain("stdbuf")
    },
    Runner {
        flags: &["--foreground", "--preserve-status", "-v", "--verbose"],
        valued: &[
            ("-k", is_duration),
            ("--kill-after=", is_duration),
            ("-s", is_signal),
            ("--signal=", is_signal),
        ],
        operand: Some(is_duration),
        ..plain("timeout")
    },
];

/// The words that are run in the end: behind the runners whose every word is understood.
pub fn in_the_end(words: &[String]) -> &[String] {
    let mut end = words;
    for _ in 0..DEPTH_MAX {
        let Some((first, behind)) = end.split_first() else { break };
        let name = named(first);
        let Some(runner) = RUNNERS.iter().find(|it| name == Some(it.name)) else { break };
        let Some(behind) = runner.skip(behind) else { break };
        end = behind;
    }
    end
}

impl Runner {
    /// What comes behind its own words; `None` when one of them is not understood.
    fn skip<'a>(&self, words: &'a [String]) -> Option<&'a [String]> {
        let mut rest = words;
        while let Some((word, behind)) = rest.split_first().filter(|(it, _)| it.starts_with('-')) {
            rest = if self.flags.contains(&word.as_str()) {
                behind
            } else {
                self.value(word, behind)?
            };
        }
        if let Some(check) = self.operand {
            let (word, behind) = rest.split_first()?;
            if !check(word) {
                return None;
            }
            rest = behind;
        }
        Some(rest)
    }

    /// What comes behind an option with a value.
    fn value<'a>(&self, word: &str, behind: &'a [String]) -> Option<&'a [String]> {
        self.valued.iter().find_map(|(name, check)| {
            let attached = word.strip_prefix(name)?;
            if !attached.is_empty() || name.ends_with('=') {
                return check(attached).then_some(behind);
            }
            let (value, behind) = behind.split_first()?;
            check(value).then_some(behind)
        })
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (1..=3).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit())
}

fn is_duration(text: &str) -> bool {
    let number = text.strip_suffix(['s', 'm', 'h', 'd']).unwrap_or(text);
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    [whole, part].iter().all(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
}

fn is_signal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric())
}

fn is_buffer(text: &str) -> bool {
    let size = text.strip_suffix(['K', 'M']).unwrap_or(text);
    text == "L" || (!size.is_empty() && size.bytes().all(|it| it.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_runs_other_words_is_looked_through_and_nothing_that_does_more() {
        for (text, end) in [
            ("make all", "make all"),
            ("nice -n 5 timeout 10 make", "make"),
            ("nice -n-5 make", "make"),
            ("nice --adjustment=3 make", "make"),
            ("timeout -k 5 --signal=TERM 1.5m make", "make"),
            ("/usr/bin/time -p make", "make"),
            ("stdbuf -oL -e 0 nohup make", "make"),
            ("ionice -c2 -n 7 setsid -w make", "make"),
            // Not theirs, or not known to be harmless.
            ("nice 1/x make", "1/x make"),
            ("nohup 1/x make", "1/x make"),
            ("nice -n x make", "nice -n x make"),
            ("nice 5 make", "5 make"),
            ("timeout make", "timeout make"),
            ("timeout 1/x make", "timeout 1/x make"),
            ("timeout 5e make", "timeout 5e make"),
            ("timeout . make", "timeout . make"),
            ("time -o f make", "time -o f make"),
            (
                "time --output=.git/hooks/x --format=evil make",
                "time --output=.git/hooks/x --format=evil make",
            ),
            ("exec -a x make", "exec -a x make"),
            ("command -v make", "command -v make"),
            ("env make", "env make"),
            ("sudo make", "sudo make"),
            ("A=1 make", "A=1 make"),
            ("./nice make", "./nice make"),
            ("nice", ""),
        ] {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            assert_eq!(in_the_end(&words).join(" "), end, "{text}");
        }
    }
}
