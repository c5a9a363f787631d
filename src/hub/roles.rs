//! What each call takes: one table, looked at before any call is made. A call that is not in it is made by nobody.

use crate::{
    base::fault::Fault,
    model::member::{
        Proof,
        Role::{self, Admin, Operator, Viewer},
    },
    runtime::{Bearer, Identity, Peer},
};

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// With its package, as it is on the wire.
    pub service: &'static str,
    pub method: &'static str,
    /// Who may make it, and everybody above.
    pub least: Role,
    /// What whoever makes it does, behind `can't`.
    pub does: &'static str,
}

impl Call {
    /// Whether it waits for no other change: a program waits for it, or it ends what somebody may do.
    pub fn is_urgent(&self) -> bool {
        self.service == ACCESS || (self.service == ASKS && self.method == "Decide")
    }
}

const fn call(
    service: &'static str,
    method: &'static str,
    least: Role,
    does: &'static str,
) -> Call {
    Call { service, method, least, does }
}

const HUB: &str = "sandwatch.v1.Hub";
const SANDBOXES: &str = "sandwatch.v1.Sandboxes";
const ASKS: &str = "sandwatch.v1.Asks";
const POLICY: &str = "sandwatch.v1.Policy";
const AUDIT: &str = "sandwatch.v1.Audit";
const GAUGES: &str = "sandwatch.v1.Gauges";
const SESSIONS: &str = "sandwatch.v1.Sessions";
const FILES: &str = "sandwatch.v1.Files";
const RECORDINGS: &str = "sandwatch.v1.Recordings";
const TIMELINE: &str = "sandwatch.v1.Timeline";
const ACCESS: &str = "sandwatch.v1.Access";
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";

/// Every call there is.
pub const CALLS: &[Call] = &[
    call(HUB, "Attend", Viewer, "attend"),
    call(HUB, "Ping", Viewer, "measure the link"),
    call(HUB, "Status", Viewer, "see the hub's status"),
    call(HUB, "Shutdown", Admin, "stop the hub"),
    call(HUB, "Doctor", Operator, "try what works on the hub's machine"),
    call(SANDBOXES, "List", Viewer, "list sandboxes"),
    call(SANDBOXES, "Events", Viewer, "follow what changes"),
    call(SANDBOXES, "Create", Admin, "make sandboxes"),
    call(SANDBOXES, "Pause", Operator, "pause sandboxes"),
    call(SANDBOXES, "Resume", Operator, "resume sandboxes"),
    call(SANDBOXES, "Stop", Operator, "stop sandboxes"),
    call(SANDBOXES, "Remove", Admin, "remove sandboxes"),
    call(SANDBOXES, "ListSnapshots", Viewer, "list snapshots"),
    call(SANDBOXES, "TakeSnapshot", Operator, "take snapshots"),
    call(SANDBOXES, "RemoveSnapshot", Admin, "remove snapshots"),
    call(SANDBOXES, "Restore", Operator, "restore sandboxes"),
    call(SANDBOXES, "Fork", Operator, "fork sandboxes"),
    call(SANDBOXES, "Diff", Viewer, "see what changed"),
    call(SANDBOXES, "Apply", Admin, "write changes to the hub's machine"),
    call(SANDBOXES, "TakeBack", Admin, "take back what was written to the hub's machine"),
    call(SANDBOXES, "ListForeign", Admin, "list the containers of the hub's machine"),
    call(SANDBOXES, "Adopt", Admin, "take over containers"),
    call(SANDBOXES, "Traffic", Viewer, "see what went out"),
    call(SANDBOXES, "GiveSecrets", Admin, "give secrets"),
    call(ASKS, "List", Viewer, "list asks"),
    call(ASKS, "Decide", Operator, "answer asks"),
    call(ASKS, "Standing", Viewer, "list answers that hold on"),
    call(ASKS, "Revoke", Operator, "take back answers"),
    call(POLICY, "List", Viewer, "list rules"),
    call(POLICY, "Propose", Operator, "see what a rule would do"),
    call(POLICY, "Add", Admin, "make rules"),
    call(POLICY, "Remove", Admin, "take out rules"),
    call(AUDIT, "Read", Viewer, "read the audit record"),
    call(AUDIT, "Head", Viewer, "read the end of the audit record"),
    call(GAUGES, "Read", Viewer, "see gauges"),
    call(GAUGES, "Past", Viewer, "see gauges of before"),
    call(SESSIONS, "Open", Operator, "open shells"),
    call(SESSIONS, "Exec", Operator, "run programs"),
    call(SESSIONS, "Output", Viewer, "watch sessions"),
    call(SESSIONS, "Screen", Viewer, "see screens"),
    call(SESSIONS, "Input", Operator, "type"),
    call(SESSIONS, "Nudge", Operator, "send lines"),
    call(SESSIONS, "Resize", Operator, "set the size of screens"),
    call(SESSIONS, "Lease", Operator, "take the keyboard"),
    call(SESSIONS, "Wait", Viewer, "wait for sessions"),
    call(SESSIONS, "History", Viewer, "scroll back"),
    call(SESSIONS, "Search", Viewer, "search what was printed"),
    call(SESSIONS, "Explain", Viewer, "see why a session is what it is"),
    call(SESSIONS, "Syscalls", Operator, "trace programs"),
    call(FILES, "Stat", Operator, "look at files"),
    call(FILES, "List", Operator, "list files"),
    call(FILES, "Read", Operator, "read files"),
    call(FILES, "Write", Operator, "write files"),
    call(FILES, "Find", Operator, "search files"),
    call(FILES, "Watch", Operator, "watch files"),
    call(RECORDINGS, "List", Viewer, "list recordings"),
    call(RECORDINGS, "Export", Viewer, "export recordings"),
    call(RECORDINGS, "Remove", Admin, "remove recordings"),
    call(RECORDINGS, "Replay", Viewer, "replay recordings"),
    call(RECORDINGS, "Find", Viewer, "search recordings"),
    call(TIMELINE, "Read", Viewer, "see what happened"),
    call(TIMELINE, "Follow", Viewer, "follow what happens"),
    call(TIMELINE, "Sign", Viewer, "give a sign of being there"),
    call(ACCESS, "List", Admin, "list who may come"),
    call(ACCESS, "Invite", Admin, "invite"),
    call(ACCESS, "Revoke", Admin, "revoke"),
    call(ACCESS, "SetRole", Admin, "change roles"),
    call(ACCESS, "Renew", Viewer, "renew a certificate"),
    call(HEALTH, "Check", Viewer, "ask whether the hub is well"),
    call(HEALTH, "Watch", Viewer, "ask whether the hub is well"),
    call(HEALTH, "List", Viewer, "ask whether the hub is well"),
    call(REFLECTION, "ServerReflectionInfo", Viewer, "read descriptors"),
];

/// What a call takes beside, by what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An answer that makes a rule.
    AnswerMakesRule,
    /// Taking back an answer of which a rule was made.
    RevokeTakesRule,
    /// A fork that is given secrets.
    ForkWithSecrets,
}

impl Content {
    pub const ALL: &[Self] = &[Self::AnswerMakesRule, Self::RevokeTakesRule, Self::ForkWithSecrets];

    /// Whoever may make the call itself needs this for it.
    pub const LEAST: Role = Admin;

    /// The call it is in.
    pub fn call(self) -> (&'static str, &'static str) {
        match self {
            Self::AnswerMakesRule => (ASKS, "Decide"),
            Self::RevokeTakesRule => (ASKS, "Revoke"),
            Self::ForkWithSecrets => (SANDBOXES, "Fork"),
        }
    }

    pub fn does(self) -> &'static str {
        match self {
            Self::AnswerMakesRule => "answer for always or for the project, which makes a rule",
            Self::RevokeTakesRule => "take back an answer of which a rule was made",
            Self::ForkWithSecrets => "give secrets to a fork",
        }
    }
}

/// The call of a path such as `/sandwatch.v1.Hub/Ping`; `None` when there is none in the table.
pub fn find(path: &str) -> Option<&'static Call> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    CALLS.iter().find(|it| it.service == service && it.method == method)
}

/// Why somebody may not, and who may.
pub fn refusal(who: &Identity, does: &str, least: Role) -> Fault {
    let (name, role) = (&who.name, who.role().said());
    Fault::denied(format!(
        "{name} is {role} on this hub and can't {does}: that takes {}",
        least.said()
    ))
    .hint(match &who.peer {
        Some(Peer::Certificate(Bearer { proof: Proof::TeamCertificate, .. })) => {
            "an admin of that hub can change it: [[hub.who]] in its config.toml"
        }
        Some(Peer::Certificate(Bearer { proof: Proof::Token, .. })) => {
            "an admin of that hub can change it: [[hub.oidc.who]] in its config.toml"
        }
        _ => "an admin of that hub can change it: sandwatch hub members role NAME ROLE",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::wire::methods::methods;

    #[test]
    fn every_call_of_the_descriptors_is_in_the_table_once_and_no_other_of_ours() {
        let told: BTreeSet<_> = methods().into_iter().collect();
        let known: Vec<_> =
            CALLS.iter().map(|it| format!("/{}/{}", it.service, it.method)).collect();
        let once: BTreeSet<_> = known.iter().cloned().collect();
        assert_eq!(once.len(), known.len());
        let ours: BTreeSet<_> =
            once.iter().filter(|it| it.starts_with("/sandwatch.")).cloned().collect();
        assert_eq!(told, ours);
        for it in &known {
            assert_eq!(find(it).map(|it| it.does.is_empty()), Some(false));
        }
        for none in
            ["", "/", "/x", "/sandwatch.v1.Hub/", "sandwatch.v1.Hub/Ping", "/sandwatch.v1.Hub/ping"]
        {
            assert!(find(none).is_none(), "{none}");
        }
    }

    #[test]
    fn what_is_looked_at_by_content_is_in_a_call_that_takes_less() {
        for it in Content::ALL {
            let (service, method) = it.call();
            let call = find(&format!("/{service}/{method}")).unwrap();
            assert!(call.least < Content::LEAST);
        }
    }
}
