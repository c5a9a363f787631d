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
        limits::{AGENT_HEARD_WITHIN, AGENT_WORD_BYTES_MAX, AGENTS_KNOWN_MAX, NAME_BYTES_MAX},
        text,
    },
    config::agents::{Asks, Placed, Profile, Profiles, Root},
    model::{
        sandbox::{NOT_REACHING, REACHING, SandboxSpec},
        session::{Session, SessionSpec},
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
    known: Mutex<Vec<Known>>,
}

struct Known {
    session: SessionId,
    /// The name of its profile.
    agent: String,
    since: Duration,
    heard: Option<Option<String>>,
}

impl Agents {
    /// For a sandbox that was asked for like this.
    pub fn new(profiles: Profiles, spec: &SandboxSpec) -> Self {
        let variables = spec.env.iter().map(|(name, _)| name.clone()).collect();
        Self { profiles, variables, known: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be started, with what makes it ask; what was given by hand counts.
    pub fn dressed(&self, mut spec: SessionSpec) -> SessionSpec {
        let Some((program, given)) = spec.command.split_first() else { return spec };
        let Some(profile) = self.profiles.of_program(program) else { return spec };
        let args = profile.args_for(given).to_vec();
        spec.command.splice(1..1, args);
        for (name, value) in &profile.env {
            let has = spec.env.iter().any(|(it, _)| it == name) || self.variables.contains(name);
            if !has {
                spec.env.push((name.clone(), value.clone()));
            }
        }
        spec
    }

    /// What its home lacks for it, when a command is about to be started.
    pub fn home_files(&self, command: &[String]) -> Vec<Placed> {
        let profile = command.first().and_then(|it| self.profiles.of_program(it));
        let files = profile.into_iter().flat_map(|it| &it.files);
        files.filter(|it| it.root == Root::Home).cloned().collect()
    }

    /// A session was started; says whether it is an agent's that is to be heard of.
    pub fn started(&self, session: &SessionId, command: &[String]) -> bool {
        let found = command.first().and_then(|it| self.profiles.of_program(it));
        let Some(profile) = found else { return false };
        self.know(session.clone(), &profile.name);
        profile.asks != Asks::None
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
            heard: None,
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
            let heard = Some(news.mode.clone());
            found = true;
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

    /// What a person should know of those that run.
    pub fn notes(&self, sandbox: &str, sessions: &[Session]) -> Vec<String> {
        let now = clock::monotonic();
        let mut known = self.lock();
        // One may be heard of before it is listed.
        let runs = |it: &Known| match sessions.iter().find(|of| of.id == it.session) {
            Some(session) => session.exit.is_none(),
            None => now.saturating_sub(it.since) < AGENT_HEARD_WITHIN,
        };
        known.retain(runs);
        let note = |it: &Known| {
            let session = sessions.iter().find(|of| of.id == it.session)?.name(sandbox);
            let profile = self.profiles.by_name(&it.agent)?;
            note(
                profile,
                &session,
                it.heard.as_ref().map(Option::as_deref),
                now.saturating_sub(it.since),
            )
        };
        known.iter().filter_map(note).collect()
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

/// What is known of one; `None` = it is too early to say.
fn note(
    profile: &Profile,
    session: &str,
    heard: Option<Option<&str>>,
    age: Duration,
) -> Option<String> {
    let Profile { name, title, why, .. } = profile;
    let silent = |mode: &str| profile.silent_in(mode);
    let no = |why: &str| {
        Some(text::shown(&format!("{NOT_REACHING}: {session}: {why}"), 2 * AGENT_WORD_BYTES_MAX))
    };
    match heard {
        Some(Some(mode)) => match silent(mode) {
            Some(means) => no(&format!("{title} runs in its mode {mode}: {means}")),
            None => Some(format!("{REACHING}: {session}: {title} told so, in its mode {mode}")),
        },
        Some(None) => Some(format!("{REACHING}: {session}: {title} told so")),
        None if profile.asks == Asks::None => no(&format!("{title}: {why}")),
        None if age >= AGENT_HEARD_WITHIN => {
            let within = AGENT_HEARD_WITHIN.as_secs();
            no(&format!(
                "{title} did not tell within {within}s that it runs; it may wait at a first question of its own, be \
                 of a version without hooks, or have settings that turn them off (profile {name})"
            ))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_asks_come_here_is_said_when_it_is_known_and_that_they_do_not_in_time() {
        let all = Profiles::built_in();
        let claude = all.by_name("claude").unwrap();
        let (soon, late) = (Duration::from_secs(1), AGENT_HEARD_WITHIN);
        let said =
            |heard: Option<Option<&str>>, age| note(claude, "box", heard, age).unwrap_or_default();
        assert_eq!(said(None, soon), "");
        assert!(
            said(None, late).starts_with("asks are NOT reaching us: box: Claude Code did not tell")
        );
        assert!(said(Some(Some("default")), late).starts_with("asks reach us: box"));
        for silent in ["bypassPermissions", "auto", "acceptEdits", "dontAsk"] {
            assert!(
                said(Some(Some(silent)), soon).starts_with("asks are NOT reaching us"),
                "{silent}"
            );
        }
        let aider = all.by_name("aider").unwrap();
        assert!(note(aider, "box", None, soon).unwrap().contains("only at its own prompt"));
    }
}
