//! The agents that run in one sandbox: what their profiles add to how they are started, and whether what they ask comes
//! here. That it does is said only when one of them told so; what tells is inside, so it is a claim.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    base::{
        clock,
        id::SessionId,
        limits::{AGENT_HEARD_WITHIN, AGENTS_KNOWN_MAX, ASKING_BYTES_MAX, NAME_BYTES_MAX},
        text,
    },
    config::agents::{Asks, Placed, Profile, Profiles, Root},
    model::{
        sandbox::SandboxSpec,
        session::{Asking, Session, SessionSpec},
    },
};

/// What an agent tells of itself, from inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// As `hook` names it.
    pub agent: String,
    /// Its own word for how it asks; `None` = it has none.
    pub mode: Option<String>,
}

impl News {
    /// Bounded, and fit to be shown.
    pub fn new(agent: &str, mode: Option<&str>) -> Self {
        let mode = mode.map(|it| text::shown(it, NAME_BYTES_MAX));
        Self { agent: text::shown(agent, NAME_BYTES_MAX), mode }
    }
}

/// What is known of agents, and of those that were started.
pub struct Agents {
    profiles: Profiles,
    /// Names of the variables that every session has.
    variables: Vec<String>,
    /// Its programs can ask, and were told how.
    wired: bool,
    known: Mutex<Vec<Known>>,
}

struct Known {
    session: SessionId,
    /// The name of its profile.
    agent: String,
    since: Duration,
    heard: Heard,
}

/// What an agent told of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// That it runs, in words of its own for how it asks or without.
    Runs(Option<String>),
}

impl Agents {
    /// For a sandbox that was asked for like this; `wired` says whether what is laid down for agents is in it.
    pub fn new(profiles: Profiles, spec: &SandboxSpec, wired: bool) -> Self {
        let variables = spec.env.iter().map(|(name, _)| name.clone()).collect();
        Self { profiles, variables, wired, known: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be started, with what makes it ask; what was given by hand counts. `in_place` = its files are there.
    pub fn dressed(&self, mut spec: SessionSpec, in_place: bool) -> SessionSpec {
        let Some((program, given)) = spec.command.split_first() else { return spec };
        let Some(profile) = self.profiles.of_program(program) else { return spec };
        let args = profile.args_for(given).to_vec();
        spec.command.splice(1..1, args);
        let asking = profile.asking_env.iter().filter(|_| self.wired && in_place);
        for (name, value) in asking.chain(&profile.env) {
            let has = spec.env.iter().any(|(it, _)| it == name) || self.variables.contains(name);
            if !has {
                spec.env.push((name.clone(), value.clone()));
            }
        }
        spec
    }

    /// What its home lacks for it, when a command is about to be started.
    pub fn home_files(&self, command: &[String]) -> Vec<Placed> {
        let program = command.first().filter(|_| self.wired);
        let profile = program.and_then(|it| self.profiles.of_program(it));
        let files = profile.into_iter().flat_map(|it| &it.files);
        files.filter(|it| it.root == Root::Home).cloned().collect()
    }

    /// A session was started; says whether it is an agent's that is to be heard of.
    pub fn started(&self, session: &SessionId, command: &[String]) -> bool {
        let found = command.first().and_then(|it| self.profiles.of_program(it));
        let Some(profile) = found else { return false };
        self.know(session.clone(), &profile.name);
        self.wired && profile.asks != Asks::None
    }

    fn know(&self, session: SessionId, agent: &str) {
        let mut known = self.lock();
        if known.len() >= AGENTS_KNOWN_MAX {
            known.remove(0);
        }
        known.push(Known {
            session,
            agent: agent.to_owned(),
            since: clock::monotonic(),
            heard: Heard::Nothing,
        });
    }

    /// An agent told of itself; says whether that is new. Which session it is of may be unknown: some agents leave what
    /// runs their hooks to a process that is nobody's child.
    pub fn heard(&self, session: Option<&SessionId>, news: &News) -> bool {
        let is_meant = |it: &&mut Known| match session {
            Some(session) => it.session == *session,
            None => it.agent == news.agent,
        };
        let mut known = self.lock();
        let (mut found, mut changed) = (false, false);
        for it in known.iter_mut().filter(is_meant) {
            found = true;
            // Not everything that an agent tells has the mode in it.
            let before = match &it.heard {
                Heard::Runs(mode) => mode.clone(),
                Heard::Nothing => None,
            };
            let heard = Heard::Runs(news.mode.clone().or(before));
            changed |= it.heard != heard;
            it.heard = heard;
        }
        drop(known);
        // Somebody started it from a shell.
        if let (false, Some(session), Some(_)) =
            (found, session, self.profiles.by_name(&news.agent))
        {
            self.know(session.clone(), &news.agent);
            return self.heard(Some(session), news);
        }
        changed
    }

    /// Says of each session that runs an agent how that asks.
    pub fn look(&self, sessions: &mut [Session]) {
        let now = clock::monotonic();
        let mut known = self.lock();
        // One may be heard of before it is listed.
        let runs = |it: &Known| match sessions.iter().find(|of| of.id == it.session) {
            Some(session) => session.exit.is_none(),
            None => now.saturating_sub(it.since) < AGENT_HEARD_WITHIN,
        };
        known.retain(runs);
        for it in known.iter() {
            let session = sessions.iter_mut().find(|of| of.id == it.session);
            let (Some(session), Some(profile)) = (session, self.profiles.by_name(&it.agent)) else {
                continue;
            };
            if !self.wired && it.heard == Heard::Nothing && profile.asks != Asks::None {
                let why = "agents can't be told to ask here in a sandbox of this kind";
                session.asking = Some(elsewhere(&format!("{}: {why}", profile.title)));
                continue;
            }
            session.asking = asking(profile, &it.heard, now.saturating_sub(it.since));
        }
    }

    /// The agent that a sandbox is made for, if it has a model to reach. A program of its workspace is called what it
    /// likes, so that it is none.
    pub fn model_of(&self, spec: &SandboxSpec) -> Option<&Profile> {
        let program = Path::new(spec.first.command.first()?);
        let bare = program.components().count() == 1;
        let outside = program.is_absolute() && !program.starts_with(&spec.workspace.path);
        let profile = self.profiles.of_program(program.to_str()?)?;
        ((bare || outside) && !profile.hosts.is_empty()).then_some(profile)
    }
}

fn elsewhere(why: &str) -> Asking {
    Asking { reaches: false, why: text::shown(why, ASKING_BYTES_MAX) }
}

fn here(why: &str) -> Asking {
    Asking { reaches: true, why: text::shown(why, ASKING_BYTES_MAX) }
}

/// What is known of one; `None` = it is too early to say.
fn asking(profile: &Profile, heard: &Heard, age: Duration) -> Option<Asking> {
    let Profile { name, title, why, .. } = profile;
    Some(match heard {
        Heard::Runs(Some(mode)) => match profile.silent_in(mode) {
            Some(means) => elsewhere(&format!("{title} runs in its mode {mode}: {means}")),
            None if profile.asks_in(mode) => here(&format!("{title} told so, in its mode {mode}")),
            // The word is not ours, and may say anything.
            None => elsewhere(&format!(
                "{title} runs in a mode that is not known here, and may not ask in it (`asking` of profile {name})"
            )),
        },
        Heard::Runs(None) => here(&format!("{title} told so")),
        Heard::Nothing if profile.asks == Asks::None => elsewhere(&format!("{title}: {why}")),
        Heard::Nothing if age >= AGENT_HEARD_WITHIN => {
            let within = AGENT_HEARD_WITHIN.as_secs();
            elsewhere(&format!(
                "{title} did not tell within {within}s that it runs; it may wait at a first question of its own, be \
                 of a version without hooks, or have settings that turn them off (profile {name})"
            ))
        }
        Heard::Nothing => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_asks_come_here_is_said_when_it_is_known_and_that_they_do_not_in_time() {
        let all = Profiles::built_in();
        let of = |name: &str, heard: &Heard, age| {
            let asking = asking(all.by_name(name).unwrap(), heard, age);
            asking.map_or((None, String::new()), |it| (Some(it.reaches), it.why))
        };
        let (soon, late) = (Duration::from_secs(1), AGENT_HEARD_WITHIN);
        let runs = |mode: &str| Heard::Runs(Some(mode.to_owned()));
        assert_eq!(of("claude", &Heard::Nothing, soon), (None, String::new()));
        let (reaches, why) = of("claude", &Heard::Nothing, late);
        assert!(reaches == Some(false) && why.starts_with("Claude Code did not tell"), "{why}");
        assert_eq!(of("claude", &runs("default"), late).0, Some(true));
        assert_eq!(of("claude", &Heard::Runs(None), late).0, Some(true));
        // One that is not known is neither taken for asking nor repeated.
        let (reaches, why) = of("claude", &runs("default, and all of it is fine - trust me"), soon);
        assert!(reaches == Some(false) && why.contains("a mode that is not known here"), "{why}");
        assert!(!why.contains("trust"), "{why}");
        for silent in ["bypassPermissions", "auto", "acceptEdits", "dontAsk"] {
            assert_eq!(of("claude", &runs(silent), soon).0, Some(false));
        }
        let (reaches, why) = of("aider", &Heard::Nothing, soon);
        assert!(reaches == Some(false) && why.contains("only at its own prompt"), "{why}");
    }
}
