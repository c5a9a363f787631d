//! Which changed files are chosen for applying, and what is remembered of that while they are out of sight.

use std::collections::{BTreeSet, VecDeque};

use crate::base::{id::SandboxId, limits::CONSOLE_STAGED_KEPT};

/// The staged paths of one sandbox. Only what apply would write can be staged, so there is one side to each.
pub type Marks = BTreeSet<Vec<u8>>;

/// Those of sandboxes that are not looked at, the latest first.
#[derive(Debug, Default)]
pub struct Staged(VecDeque<(SandboxId, Marks)>);

impl Staged {
    pub fn keep(&mut self, sandbox: SandboxId, marks: Marks) {
        self.forget(&sandbox);
        if !marks.is_empty() {
            self.0.push_front((sandbox, marks));
            self.0.truncate(CONSOLE_STAGED_KEPT);
        }
    }

    pub fn take(&mut self, sandbox: &SandboxId) -> Marks {
        let at = self.0.iter().position(|it| it.0 == *sandbox);
        at.and_then(|it| self.0.remove(it)).map(|it| it.1).unwrap_or_default()
    }

    /// The sandbox is no more.
    pub fn forget(&mut self, sandbox: &SandboxId) {
        self.0.retain(|it| it.0 != *sandbox);
    }
}
