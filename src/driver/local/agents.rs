//! Settings that a sandbox has of its own, by which agents ask a person here what they would ask at their own
//! prompt. They are the system's, in its copy of /etc: an agent finds them however it is started, and its user's
//! and project's settings stay as they are.

use std::path::Path;

/// Files below /etc, each with what is in it.
const FILES: [(&str, &str); 1] =
    [("claude-code/managed-settings.json", include_str!("../../../assets/agents/claude.json"))];

/// Those that take nothing away: where the administrator of this host has one, that one holds.
pub fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.into_iter().filter(|(name, _)| !Path::new("/etc").join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{ASK_PROGRAM, local::mounts::ASKING};

    #[test]
    fn every_hook_is_a_program_that_the_sandbox_has_and_waits_shorter_than_the_agent() {
        for (name, text) in FILES {
            let settings: serde_json::Value = serde_json::from_str(text).unwrap();
            let hook = &settings["hooks"]["PermissionRequest"][0]["hooks"][0];
            let command = hook["command"].as_str().unwrap();
            assert!(command.starts_with(&format!("{ASKING}/{ASK_PROGRAM} hook ")), "{name}");
            let within = command.split("--timeout ").nth(1).unwrap();
            let within = crate::base::units::parse_duration(within).unwrap();
            assert!(hook["timeout"].as_u64().unwrap() > within.as_secs() + 20, "{name}");
        }
    }
}
