//! What a sandbox's host knows of agents: the profiles, read once, and what they let out.

use std::{fs, io, os::unix::fs::DirBuilderExt, path::Path};

use crate::{
    base::fault::{Fault, Outcome},
    config::{
        agents::{Profiles, Root},
        status,
    },
    driver::{AGENTS_DIR, docker, local},
    model::sandbox::{Egress, Isolation, SandboxSpec},
    session::{agents::Agents, house::House, status::rules::Rules},
};

/// The operator's profiles, in the directory in which the file of rules is; and what is wrong with them, in words. Then those
/// that are built in count alone.
pub fn profiles(policy: Option<&Path>) -> (Profiles, Option<String>) {
    let Some(config) = policy.and_then(Path::parent) else { return (Profiles::built_in(), None) };
    Profiles::of(config).map_or_else(
        |fault| {
            let note = format!("your profiles of agents can't be used: {}", fault.message());
            (Profiles::built_in(), Some(note))
        },
        |it| (it, None),
    )
}

/// Rules about screens, of the same directory; and what is wrong with the operator's, in words.
pub fn screen_rules(policy: Option<&Path>) -> (Rules, Vec<String>) {
    let read = match policy.and_then(Path::parent) {
        Some(config) => status::of(config),
        None => Ok(status::built_in()),
    };
    match read {
        Ok(all) => (Rules::new(all), Vec::new()),
        Err(fault) => {
            let note = format!("your screen rules can't be used: {}", fault.message());
            (Rules::default(), vec![note])
        }
    }
}

/// Tells a sandbox's host of them. Gives the hosts of the model of the agent that it is made for, where they are to be
/// let out without asking: where all else is asked for. `wired` says whether what
/// is laid down is in the sandbox, `gated` whether what goes out is let out here at all.
pub fn introduce(
    house: &House,
    spec: &SandboxSpec,
    (profiles, flaw): (Profiles, Option<String>),
    (wired, gated): (bool, bool),
) -> Vec<String> {
    let agents = Agents::new(profiles, spec, wired);
    let mut notes: Vec<String> = flaw.into_iter().collect();
    let mut hosts = Vec::new();
    if let Some(profile) = agents.model_of(spec) {
        let title = &profile.title;
        match spec.egress {
            Egress::Ask if gated => {
                hosts.clone_from(&profile.hosts);
                notes.push(format!("{title} reaches its model unasked: {}", hosts.join(", ")));
            }
            Egress::Deny if spec.allow.is_empty() => {
                notes.push(format!("{title} can't reach its model: the network is off (deny)"));
            }
            _ => {}
        }
    }
    house.knows(agents, notes);
    hosts
}

/// Lays the files of all profiles down in a ground, for the driver to put into the sandbox: a shell in it may start any
/// of them. Nothing is laid down where no file would be put in.
pub fn lay(ground: &Path, profiles: &Profiles, spec: &SandboxSpec) -> Outcome<()> {
    // Which grade it will be is not known yet, unless one is asked for.
    let takes_files = [local::NAME, docker::NAME].contains(&spec.driver.as_str());
    if !takes_files || spec.isolation == Some(Isolation::Landlock) {
        return Ok(());
    }
    let top = ground.join(AGENTS_DIR);
    // What is read here is needed once, and the rest of its life the sandbox has one agent or none.
    let profiles = profiles.clone();
    let laid = || {
        match fs::remove_dir_all(&top) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for profile in profiles.with_files() {
            for file in profile.files.iter().filter(|it| it.root == Root::Etc) {
                let path = top.join(&profile.name).join(&file.path);
                let above = path.parent().unwrap_or(&top);
                fs::DirBuilder::new().recursive(true).mode(0o700).create(above)?;
                fs::write(&path, &file.text)?;
            }
        }
        Ok(())
    };
    laid().map_err(|error| Fault::io(format!("writing into {}", top.display()), &error))
}
