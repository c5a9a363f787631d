//! How often the programs of one sandbox may speak up: none of them flushes what the others said.

use std::{collections::BTreeMap, time::Duration};

use crate::base::id::{SandboxId, SessionId};

/// A sandbox is heard that often; what it says in between is counted.
pub const HEARD_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Voice {
    heard_at: Duration,
    unheard: u32,
}

/// Who was heard when. Entries of sandboxes that are gone are let go by `keep`.
#[derive(Debug, Default)]
pub struct Voices {
    /// What the operator had in sight when the last key came.
    pub looked_at: Option<SessionId>,
    /// When the operator was last called.
    pub rang_at: Option<Duration>,
    voices: BTreeMap<SandboxId, Voice>,
}

impl Voices {
    /// Whether a sandbox is heard now: how much it said meanwhile that was not.
    pub fn hear(&mut self, now: Duration, sandbox: &SandboxId) -> Option<u32> {
        let Some(voice) = self.voices.get_mut(sandbox) else {
            let voice = Voice { heard_at: now, unheard: 0 };
            self.voices.insert(sandbox.clone(), voice);
            return Some(0);
        };
        if now < voice.heard_at + HEARD_EVERY {
            voice.unheard = voice.unheard.saturating_add(1);
            return None;
        }
        voice.heard_at = now;
        Some(std::mem::take(&mut voice.unheard))
    }

    /// Forgets sandboxes that are gone.
    pub fn keep(&mut self, there: impl Fn(&SandboxId) -> bool) {
        self.voices.retain(|it, _| there(it));
    }
}
