//! What is known of agents: one table, of the files in `assets/agents` and of the operator's own in `agents/`. It says what
//! an agent needs and how its asks come here; it starts nothing and writes no file.

mod read;

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{load::is_plain_name as is_name, source};
use crate::base::{
    fault::{Fault, Outcome},
    limits::AGENTS_MAX,
    text,
};

/// The profiles that are built in, the more widely used agents first.
const BUILT_IN: &[(&str, &str)] = &[
    ("claude", include_str!("../../../assets/agents/claude.toml")),
    ("codex", include_str!("../../../assets/agents/codex.toml")),
    ("gemini", include_str!("../../../assets/agents/gemini.toml")),
    ("opencode", include_str!("../../../assets/agents/opencode.toml")),
    ("aider", include_str!("../../../assets/agents/aider.toml")),
    ("cursor-agent", include_str!("../../../assets/agents/cursor-agent.toml")),
    ("copilot", include_str!("../../../assets/agents/copilot.toml")),
    ("amp", include_str!("../../../assets/agents/amp.toml")),
    ("goose", include_str!("../../../assets/agents/goose.toml")),
    ("crush", include_str!("../../../assets/agents/crush.toml")),
    ("qwen", include_str!("../../../assets/agents/qwen.toml")),
    ("droid", include_str!("../../../assets/agents/droid.toml")),
    ("kiro-cli", include_str!("../../../assets/agents/kiro-cli.toml")),
    ("auggie", include_str!("../../../assets/agents/auggie.toml")),
    ("vibe", include_str!("../../../assets/agents/vibe.toml")),
    ("pi", include_str!("../../../assets/agents/pi.toml")),
];

/// What begins a file in a profile.
const FILE: &str = "[[file]]";
/// The directory of the operator's own, in that of the configuration.
pub const DIRECTORY: &str = "agents";

const NAMED: &str = "the name of a profile is 1 to 40 letters, digits, `-` or `_`";

/// How an agent asks a person here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// By a program that it runs.
    Hook,
    /// By a tool of a server that it starts.
    Mcp,
    /// By an interface of its own, which something in the sandbox speaks.
    Http,
    /// Not at all: only at its own prompt, if anywhere.
    None,
}

impl Asks {
    pub const ALL: [Self; 4] = [Self::Hook, Self::Mcp, Self::Http, Self::None];

    pub fn word(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::Mcp => "mcp",
            Self::Http => "http",
            Self::None => "none",
        }
    }
}

/// Where in a sandbox a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// Its copy of `/etc`, as it is made.
    Etc,
    /// The home in it, when the agent is started and there is no such file.
    Home,
}

/// A file that a sandbox gets for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub root: Root,
    /// Below that, in a directory there: `NAME/FILE`, without `.` and `..`.
    pub path: PathBuf,
    pub text: String,
}

/// What is known of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name of its file: letters, digits, `-` and `_`.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Names of its program; at least one.
    pub programs: Vec<String>,
    /// Variables that it takes a key from; one is enough for it.
    pub keys: Vec<String>,
    /// Where its model is: `HOST` or `HOST:PORT`.
    pub hosts: Vec<String>,
    /// Put first among its arguments, so that it asks.
    pub args: Vec<String>,
    /// Arguments of the operator's that say something about asking: with one of them, `args` are left out.
    pub unless: Vec<String>,
    /// Variables that it is given where nobody else gives them.
    pub env: Vec<(String, String)>,
    /// The same where what asks for it is in place, and before those.
    pub asking_env: Vec<(String, String)>,
    pub asks: Asks,
    /// How asking works, or why it does not; empty = there is nothing to say.
    pub why: String,
    /// The version this was tried with; `None` = it was not tried.
    pub tried: Option<String>,
    /// Modes, as it tells them itself, in which it does not ask, and what that means.
    pub modes: Vec<(String, String)>,
    /// Modes, as it tells them itself, in which it asks. Of one that is in neither list nothing is known.
    pub asking: Vec<String>,
    pub files: Vec<Placed>,
}

impl Profile {
    /// What the operator's arguments leave of its own.
    pub fn args_for(&self, given: &[String]) -> &[String] {
        let says = |it: &String| {
            self.unless.iter().any(|word| it.strip_prefix(word.as_str()).is_some_and(is_end))
        };
        if given.iter().take_while(|it| *it != "--").any(says) { &[] } else { &self.args }
    }

    /// Whether it asks in that mode, as far as that is known.
    pub fn asks_in(&self, mode: &str) -> bool {
        self.asking.iter().any(|it| it == mode)
    }

    /// What a mode means in which it does not ask for all; `None` = it is not known as one of these.
    pub fn silent_in(&self, mode: &str) -> Option<&str> {
        self.modes.iter().find(|(it, _)| it == mode).map(|(_, means)| means.as_str())
    }
}

/// Behind the name of an argument: nothing, or its value.
fn is_end(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('=')
}

/// All profiles: the operator's own instead of a built-in one of the same name. A built-in one is read when it is asked
/// for: most programs are no agents, and most agents are not there.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    own: Vec<Profile>,
    /// For each of the table what was read of it; empty = none of them count.
    built_in: Vec<OnceLock<Option<Profile>>>,
}

impl PartialEq for Profiles {
    /// What was read already makes no difference.
    fn eq(&self, other: &Self) -> bool {
        self.own == other.own && self.built_in.len() == other.built_in.len()
    }
}

impl Eq for Profiles {}

impl Profiles {
    /// Those that are built in. That all of them can be read is for a test to see.
    pub fn built_in() -> Self {
        let unread = BUILT_IN.iter().map(|_| OnceLock::new());
        Self { own: Vec::new(), built_in: unread.collect() }
    }

    /// With those of a configuration directory; a flaw in one of them is a fault that names file, line and column.
    pub fn of(config: &Path) -> Outcome<Self> {
        let mut all = Self::built_in();
        for (name, path) in own(config)? {
            let Some(text) = source::read(&path)? else { continue };
            let file = text::visible(&path.display().to_string());
            let profile = read::profile(&file, &name, &text).map_err(|it| source::fault(&it))?;
            all.own.push(profile);
        }
        Ok(all)
    }

    /// The built-in one of a name; read once.
    fn built_in_by(&self, name: &str) -> Option<&Profile> {
        let mut rows = BUILT_IN.iter().zip(&self.built_in);
        let ((name, text), cell) = rows.find(|((it, _), _)| *it == name)?;
        let read = || read::profile(&built_in_file(name), name, text).ok();
        cell.get_or_init(read).as_ref()
    }

    fn own_by(&self, name: &str) -> Option<&Profile> {
        self.own.iter().find(|it| it.name == name)
    }

    /// The more widely used first, and then what the operator has beside them.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.named(BUILT_IN.iter().map(|it| it.0))
    }

    /// Those that put files into a sandbox; no others are read for it.
    pub fn with_files(&self) -> impl Iterator<Item = &Profile> {
        let rows = BUILT_IN
            .iter()
            .filter(|(name, text)| text.contains(FILE) || self.own_by(name).is_some());
        self.named(rows.map(|it| it.0)).filter(|it| !it.files.is_empty())
    }

    /// Those of these names, and the operator's that have none of the built-in ones.
    fn named(&self, names: impl Iterator<Item = &'static str>) -> impl Iterator<Item = &Profile> {
        let is_new = |it: &&Profile| !BUILT_IN.iter().any(|(name, _)| *name == it.name);
        names.filter_map(|it| self.by_name(it)).chain(self.own.iter().filter(is_new))
    }

    /// The agent that a program is, by its name or the end of its path. Of several the operator's own counts. A built-in
    /// one is called as its program is.
    pub fn of_program(&self, program: &str) -> Option<&Profile> {
        let name = Path::new(program).file_name()?.to_str()?;
        let mut own = self.own.iter().rev();
        let own = own.find(|it| it.programs.iter().any(|it| it == name));
        own.or_else(|| self.built_in_by(name).filter(|_| self.own_by(name).is_none()))
    }

    pub fn by_name(&self, name: &str) -> Option<&Profile> {
        self.own_by(name).or_else(|| self.built_in_by(name))
    }

    /// Every variable that an agent takes a key from, once.
    pub fn key_variables(&self) -> Vec<String> {
        let mut all: Vec<String> = self.iter().flat_map(|it| it.keys.clone()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn built_in_file(name: &str) -> String {
    format!("{name}.toml (built in)")
}

/// What is wrong with a file of the operator's, as whoever starts an agent would find it.
pub fn check(path: &Path, text: &str) -> Result<(), Vec<source::Flaw>> {
    let file = text::visible(&path.display().to_string());
    let name = path.file_stem().and_then(|it| it.to_str()).filter(|it| is_name(it));
    let Some(name) = name else {
        return Err(vec![source::Flaw { file, line: 1, column: 1, message: NAMED.to_owned() }]);
    };
    read::profile(&file, name, text).map(drop)
}

/// The operator's own files, by name; bounded.
fn own(config: &Path) -> Outcome<Vec<(String, PathBuf)>> {
    let directory = config.join(DIRECTORY);
    let shown = || text::visible(&directory.display().to_string());
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Fault::io(format!("reading {}", shown()), &error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Fault::io(format!("reading {}", shown()), &error))?;
        let file = entry.file_name();
        let Some(name) = file.to_str().and_then(|it| it.strip_suffix(".toml")) else { continue };
        if !is_name(name) {
            let name = text::visible(&text::clip(name, 60));
            return Err(Fault::invalid(format!("{}/{name}.toml: {NAMED}", shown())));
        }
        found.push((name.to_owned(), entry.path()));
        if found.len() > AGENTS_MAX {
            return Err(Fault::invalid(format!("{}: more than {AGENTS_MAX} profiles", shown())));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_is_read_and_says_how_it_asks() {
        let all = Profiles::built_in();
        for (name, text) in BUILT_IN {
            let read = read::profile(name, name, text);
            let profile = read.unwrap_or_else(|flaws| panic!("{flaws:?}"));
            assert_eq!(all.of_program(&format!("/x/{name}")), Some(&profile));
            // It is found by that, without being read.
            assert_eq!(profile.programs, [*name]);
            assert!(!profile.why.is_empty(), "{name}");
            assert_eq!(profile.asks == Asks::None, profile.files.is_empty(), "{name}");
            // What takes arguments of ours takes them from the operator too.
            let words: Vec<&String> =
                profile.args.iter().filter(|it| it.starts_with('-')).collect();
            assert!(words.iter().all(|it| profile.unless.contains(it)), "{name}");
        }
        assert_eq!(all.iter().count(), BUILT_IN.len());
        let laid: Vec<&str> = all.with_files().map(|it| it.name.as_str()).collect();
        assert_eq!(laid, ["claude", "codex", "gemini", "opencode", "cursor-agent", "goose"]);
    }

    #[test]
    fn a_built_in_profile_is_read_when_it_is_asked_for() {
        let all = Profiles::built_in();
        let read = || all.built_in.iter().filter(|it| it.get().is_some()).count();
        assert!(all.of_program("/usr/bin/sleep").is_none() && all.by_name("x").is_none());
        assert_eq!(read(), 0);
        assert!(all.of_program("/usr/bin/claude").is_some());
        assert_eq!(read(), 1);
        assert_eq!((all.with_files().count(), read()), (6, 6));
    }

    #[test]
    fn the_guide_s_own_profile_is_one() {
        let guide = include_str!("../../../docs/guide.md");
        let behind = guide.split_once("**Your own profiles**").unwrap().1;
        let lines = behind.lines().skip_while(|it| !it.starts_with("    "));
        let text: Vec<&str> = lines.map_while(|it| it.strip_prefix("    ")).collect();
        let read = read::profile("my-agent", "guide.md", &text.join("\n"));
        let profile = read.unwrap_or_else(|flaws| panic!("{flaws:?}"));
        assert_eq!(profile.env, [("MY_AGENT_MODE".to_owned(), "ask".to_owned())]);
        assert!(profile.asks_in("default") && profile.silent_in("auto").is_some());
        assert_eq!(profile.files.len(), 1);
    }

    #[test]
    fn an_argument_of_the_operators_leaves_ours_out() {
        let all = Profiles::built_in();
        let claude = all.of_program("claude").unwrap();
        let left = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|it| (*it).to_owned()).collect();
            claude.args_for(&given).len()
        };
        assert_eq!(left(&["fix it"]), 2);
        assert_eq!(left(&["--permission-mode", "plan"]), 0);
        assert_eq!(left(&["--permission-mode=plan"]), 0);
        assert_eq!(left(&["--permission-modest"]), 2);
        assert_eq!(left(&["--", "--permission-mode"]), 2);
    }

    #[test]
    fn an_own_profile_counts_before_a_built_in_one_and_a_flaw_has_its_place() {
        let config = tempfile::tempdir().unwrap();
        let own = config.path().join(DIRECTORY);
        std::fs::create_dir(&own).unwrap();
        let mine = "title = \"Mine\"\nprograms = [\"mine\", \"claude\"]\nasks = \"none\"\nwhy = \"it can't\"\n";
        std::fs::write(own.join("mine.toml"), mine).unwrap();
        std::fs::write(own.join("notes.txt"), "no profile").unwrap();
        let all = Profiles::of(config.path()).unwrap();
        assert_eq!(all.of_program("claude").unwrap().name, "mine");
        assert_eq!(all.by_name("claude").unwrap().title, "Claude Code");
        std::fs::write(own.join("claude.toml"), mine.replace("mine", "claude")).unwrap();
        let all = Profiles::of(config.path()).unwrap();
        assert_eq!(
            (all.by_name("claude").unwrap().title.as_str(), all.iter().count()),
            ("Mine", BUILT_IN.len() + 1)
        );
        std::fs::write(own.join("bad.toml"), mine.replace("asks", "askes")).unwrap();
        let fault = Profiles::of(config.path()).unwrap_err();
        assert!(fault.message().contains("bad.toml:3:1: `askes` is not"), "{fault}");
        std::fs::rename(own.join("bad.toml"), own.join("b d.toml")).unwrap();
        let fault = Profiles::of(config.path()).unwrap_err();
        assert!(fault.message().contains("b d.toml: the name"), "{fault}");
    }
}
