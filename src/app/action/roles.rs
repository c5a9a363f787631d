//! What an action takes on the hub that it is done on. The hub decides, call by call; this tells before it is tried. A test
//! holds it against the hub's own table.

use super::Action;
use crate::model::member::Role::{self, Admin, Operator};

/// Actions for which watching is not enough: the call of the hub that they end in, as docs/reference/roles.md has it, and who
/// may. Others than these are anybody's.
pub const TAKES: &[(Action, &str, Role)] = &[
    (Action::Doctor, "Hub.Doctor", Operator),
    (Action::New, "Sandboxes.Create", Admin),
    (Action::Run, "Sandboxes.Create", Admin),
    (Action::Shell, "Sessions.Open", Operator),
    (Action::Pause, "Sandboxes.Pause", Operator),
    (Action::Stop, "Sandboxes.Stop", Operator),
    (Action::Start, "Sandboxes.Restore", Operator),
    (Action::Remove, "Sandboxes.Remove", Admin),
    (Action::Snapshot, "Sandboxes.TakeSnapshot", Operator),
    (Action::SnapshotNamed, "Sandboxes.TakeSnapshot", Operator),
    (Action::SnapshotMemory, "Sandboxes.TakeSnapshot", Operator),
    (Action::Restore, "Sandboxes.Restore", Operator),
    (Action::Fork, "Sandboxes.Fork", Operator),
    (Action::SnapshotRemove, "Sandboxes.RemoveSnapshot", Admin),
    (Action::Apply, "Sandboxes.Apply", Admin),
    (Action::ApplyOver, "Sandboxes.Apply", Admin),
    (Action::TakeBack, "Sandboxes.TakeBack", Admin),
    (Action::TakeBackOver, "Sandboxes.TakeBack", Admin),
    (Action::FilesShow, "Files.List", Operator),
    (Action::FilesMarks, "Files.List", Operator),
    (Action::SyscallsShow, "Sessions.Syscalls", Operator),
    (Action::Nudge, "Sessions.Nudge", Operator),
    (Action::Interrupt, "Sessions.Nudge", Operator),
    (Action::RuleAdd, "Policy.Add", Admin),
    (Action::RuleRemove, "Policy.Remove", Admin),
    (Action::StepIn, "Sessions.Lease", Operator),
    (Action::TakeOver, "Sessions.Lease", Operator),
    (Action::AskRevoke, "Asks.Revoke", Operator),
    (Action::AskAllow, "Asks.Decide", Operator),
    (Action::AskAllowSession, "Asks.Decide", Operator),
    (Action::AskAllowHour, "Asks.Decide", Operator),
    // What makes a rule takes more than the call.
    (Action::AskAllowAlways, "Policy.Add", Admin),
    (Action::AskAllowProject, "Policy.Add", Admin),
    (Action::AskEdit, "Asks.Decide", Operator),
    (Action::AskSnapshot, "Asks.Decide", Operator),
    (Action::AskDeny, "Asks.Decide", Operator),
    (Action::AskDenySay, "Asks.Decide", Operator),
];

impl Action {
    /// Who may do it.
    pub fn least(self) -> Role {
        TAKES.iter().find(|it| it.0 == self).map_or(Role::Viewer, |it| it.2)
    }
}
