//! How often the programs of one sandbox may speak up: none of them flushes what the others said.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::base::id::{AskId, SandboxId, SessionId};

/// A sandbox is heard that often; what it says in between is counted.
pub const HEARD_EVERY: Duration = Duration::from_secs(10);

/// Shortest time between two calls for attention: a program that rings all the time rings once.
pub const RING_EVERY: Duration = Duration::from_secs(2);

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
    /// When the operator was last called by a program, and when for asks: a program that rings can't keep an ask from
    /// being heard.
    pub rang_at: Option<Duration>,
    pub rang_for_asks_at: Option<Duration>,
    /// Asks that the operator was not called for yet; those that wait no more are let go.
    pub owed: BTreeSet<AskId>,
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
