//! Settings that a sandbox has of its own, by which agents ask a person here what they would ask at their own
//! prompt. They are the system's, in its copy of /etc: an agent finds them however it is started, and its user's
//! and project's settings stay as they are. Whoever hosts the sandbox has laid them down, a directory for each agent.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    base::limits::{AGENT_FILES_MAX, AGENTS_MAX},
    driver::AGENTS_DIR,
};

/// The host's, of which a sandbox has a copy.
const ETC: &str = "/etc";
/// Directories within one agent's: the longest path of a profile.
const DEPTH_MAX: usize = 4;

/// What is laid down for one agent.
struct Laid {
    agent: String,
    /// Below /etc, each with where its text is.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Laid {
    /// What the administrator of this host has already, so that it holds, and nothing of ours with it: half of an
    /// agent's settings could let through what the other half asks for.
    fn held_by(&self) -> Option<PathBuf> {
        let mut own = self.files.iter().map(|(it, _)| Path::new(ETC).join(it));
        own.find(|it| fs::symlink_metadata(it).is_ok())
    }
}

/// Files below /etc, each with what is in it. Over an image what this host has does not count.
pub fn files(ground: &Path, over_image: bool) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for laid in all(ground)?.into_iter().filter(|it| over_image || it.held_by().is_none()) {
        for (name, at) in laid.files {
            files.push((name, fs::read(at)?));
        }
    }
    Ok(files)
}

/// Keeps them with a snapshot: its files have them too.
pub fn pass_on(ground: &Path, shelf: &Path) -> io::Result<()> {
    for laid in all(ground)? {
        for (name, at) in laid.files {
            let kept = shelf.join(AGENTS_DIR).join(&laid.agent).join(name);
            fs::create_dir_all(kept.parent().unwrap_or(shelf))?;
            fs::copy(at, kept)?;
        }
    }
    Ok(())
}

/// What a person should know of those that are left out.
pub fn notes(ground: &Path) -> Vec<String> {
    let laid = all(ground).unwrap_or_default();
    let note = |it: Laid| {
        let held = it.held_by()?;
        let (agent, held) = (it.agent, held.display());
        Some(format!("{agent} is not told to ask here: this host has its own {held}, which holds"))
    };
    laid.into_iter().filter_map(note).collect()
}

fn all(ground: &Path) -> io::Result<Vec<Laid>> {
    let mut all = Vec::new();
    for (agent, directory) in directories(&ground.join(AGENTS_DIR))? {
        let mut files = Vec::new();
        collect(&directory, &directory, DEPTH_MAX, &mut files)?;
        all.push(Laid { agent, files });
    }
    Ok(all)
}

fn directories(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries.take(2 * AGENTS_MAX) {
        let entry = entry?;
        if let (true, Ok(name)) = (entry.file_type()?.is_dir(), entry.file_name().into_string()) {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Real files only, of real directories.
fn collect(
    top: &Path,
    directory: &Path,
    depth: usize,
    files: &mut Vec<(PathBuf, PathBuf)>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() && depth > 1 {
            collect(top, &path, depth - 1, files)?;
        } else if let (true, Ok(below)) = (kind.is_file(), path.strip_prefix(top)) {
            files.push((below.to_owned(), path.clone()));
        }
        if files.len() >= AGENT_FILES_MAX {
            break;
        }
    }
    files.sort();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        base::units::parse_duration,
        config::agents::{Asks, Profiles},
        driver::{ASK_PROGRAM, local::mounts::ASKING},
    };

    /// What the hooks give a person, by their `--timeout`.
    const ASKED_FOR: Duration = Duration::from_secs(300);

    #[test]
    fn every_hook_is_a_program_that_the_sandbox_has() {
        for profile in Profiles::built_in().iter().filter(|it| it.asks != Asks::None) {
            let program = format!("{ASKING}/{ASK_PROGRAM}");
            let texts: Vec<&str> = profile.files.iter().map(|it| it.text.as_str()).collect();
            assert!(texts.iter().any(|it| it.contains(&program)), "{}", profile.name);
            for within in texts.iter().flat_map(|it| it.split("--timeout ").skip(1)) {
                let word = within.split(|it: char| !it.is_ascii_alphanumeric()).next().unwrap();
                assert_eq!(parse_duration(word), Some(ASKED_FOR), "{}", profile.name);
            }
        }
    }

    #[test]
    fn an_agent_waits_longer_for_its_hook_than_the_hook_for_a_person() {
        /// For the hook to start, and to be heard when its time is over.
        const ROOM: Duration = Duration::from_secs(20);
        let mut seen = 0;
        let built_in = Profiles::built_in();
        for profile in built_in.iter().filter(|it| it.name != "opencode") {
            let texts = profile.files.iter().map(|it| it.text.as_str());
            for behind in texts.flat_map(|it| it.split("--timeout 5m").skip(1)) {
                // Its own, which stands behind the command in all of them.
                let own = behind.split_once("timeout").map_or("", |(_, it)| it);
                let digits: String = own
                    .chars()
                    .skip_while(|it| "\" :=".contains(*it))
                    .take_while(char::is_ascii_digit)
                    .collect();
                let own: u64 = digits.parse().unwrap_or_else(|_| panic!("{}", profile.name));
                let own = match profile.name.as_str() {
                    "gemini" => Duration::from_millis(own),
                    _ => Duration::from_secs(own),
                };
                assert!(own > ASKED_FOR + ROOM, "{} gives its hook {own:?}", profile.name);
                // An agent that reads it in the other unit would not wait for a day.
                assert!(own < 2 * ASKED_FOR, "{} gives its hook {own:?}", profile.name);
                seen += 1;
            }
        }
        assert_eq!(seen, 6, "hooks that ask: claude, codex, gemini, goose, and two of cursor");
        // What runs its hook is ours, and waits as long as that takes.
        let opencode = built_in.by_name("opencode").unwrap();
        let plugin: String = opencode.files.iter().map(|it| it.text.as_str()).collect();
        assert!(plugin.contains("[\"--timeout\", \"5m\"]"), "{plugin}");
        assert_eq!(plugin.to_lowercase().matches("timeout").count(), 1, "{plugin}");
    }

    #[test]
    fn what_the_host_has_holds_and_keeps_the_rest_of_its_agent_away() {
        let ground = tempfile::tempdir().unwrap();
        let lay = |agent: &str, path: &str| {
            let path = ground.path().join(AGENTS_DIR).join(agent).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, agent).unwrap();
        };
        assert!(files(ground.path(), false).unwrap().is_empty());
        lay("one", "x-sandwatch-test/a.json");
        lay("two", "x-sandwatch-test/b.json");
        lay("two", "passwd");
        std::os::unix::fs::symlink("/etc/passwd", ground.path().join(AGENTS_DIR).join("one/link"))
            .unwrap();
        let names = |over_image| {
            let all = files(ground.path(), over_image).unwrap();
            all.iter().map(|it| it.0.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["x-sandwatch-test/a.json"]);
        assert_eq!(names(true).len(), 3);
        let notes = notes(ground.path());
        assert!(
            notes.len() == 1 && notes[0].starts_with("two ") && notes[0].contains("/etc/passwd")
        );
    }
}
