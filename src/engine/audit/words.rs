//! What entries of the audit record say: no value of a variable, nothing that was typed, nothing of a file.

use crate::{
    base::{
        clock,
        fault::Outcome,
        id::{SandboxId, SessionId, SnapshotId},
        text::count,
    },
    engine::{
        Inner,
        asks::{By, digest},
    },
    model::{
        ask::{Ask, AskState, Decision, Request, Verdict},
        audit::{Act, Action},
        change::{Applied, ApplyRequest},
        member::Proof,
        sandbox::{Isolation, Sandbox, SandboxSpec},
        session::{Lease, SessionSpec},
        snapshot::Snapshot,
        traffic::Ruled,
    },
    runtime::{Identity, Peer},
};

/// The name of what a hub does by itself.
const HUB: &str = "sandwatch";
/// Paths named in one entry.
const PATHS_NAMED: usize = 32;

/// What a client did, and from where, as the system says.
pub(in crate::engine) fn by_client(who: &Identity, action: Action, subject: &str) -> Act {
    from_client(Act::new(clock::wall(), &who.name, action, subject), who)
}

fn from_client(act: Act, who: &Identity) -> Act {
    match &who.peer {
        Some(Peer::Process { uid, pid, ssh }) => act
            .with("from", if ssh.is_some() { "ssh" } else { "unix" })
            .with("uid", u64::from(*uid))
            .with_any("pid", pid.map(u64::from))
            .with_any("ssh_from", ssh.as_deref()),
        Some(Peer::Certificate(it)) => act
            .with("from", it.proof.word())
            .with("member", it.member.as_str())
            .with("member_role", it.role.word())
            .with(shown_as(it.proof), it.certificate.short())
            .with("address", it.address.as_str())
            .with_any("calls_itself", it.called.as_deref()),
        // Part of this very process.
        None => act.with("from", "process"),
    }
}

/// What the hash of what somebody has shown is called.
fn shown_as(proof: Proof) -> &'static str {
    match proof {
        Proof::Certificate | Proof::TeamCertificate => "certificate",
        Proof::Token => "token_hash",
    }
}

/// What a hub did by itself, and why.
pub(in crate::engine) fn by_hub(action: Action, subject: &str, why: &str) -> Act {
    Act::new(clock::wall(), HUB, action, subject).with("from", "hub").with("why", why)
}

/// What somebody did who is known by nothing yet but their address and an invite.
pub(in crate::engine) fn by_stranger(action: Action, subject: &str, address: &str) -> Act {
    let actor = format!("{subject} (invited)");
    Act::new(clock::wall(), &actor, action, subject).with("from", "invite").with("address", address)
}

/// The same act, about this sandbox.
pub(in crate::engine) fn about(act: Act, id: &SandboxId, name: &str) -> Act {
    act.with("sandbox", name).with("sandbox_id", id.as_str())
}

impl Inner {
    /// What a client does to a sandbox; one that is not there gets no name.
    pub(in crate::engine) fn act(&self, who: &Identity, action: Action, id: &SandboxId) -> Act {
        let fleet = self.fleet();
        let found = fleet.get(id).ok();
        let name = found.map_or_else(|| id.to_string(), |it| it.sandbox.name.clone());
        let found = found.filter(|_| action == Action::SandboxRemoved);
        about(by_client(who, action, &name), id, &name)
            .with_any("asks_left_out", found.and_then(|it| it.asks_noted.left_out()))
            .with_any("egress_allowed_left_out", found.and_then(|it| it.allowed_noted.left_out()))
            .with_any("egress_denied_left_out", found.and_then(|it| it.denied_noted.left_out()))
    }
}

impl Inner {
    /// What a client does to a session; `Absent` where there is none.
    pub(in crate::engine) fn act_on_session(
        &self,
        who: &Identity,
        action: Action,
        id: &SessionId,
    ) -> Outcome<Act> {
        let fleet = self.fleet();
        let entry = fleet.of_session(id)?;
        let session = entry.session(id);
        let name = session.map_or_else(|| id.to_string(), |it| it.name(&entry.sandbox.name));
        let act = about(by_client(who, action, &name), &entry.sandbox.id, &entry.sandbox.name);
        Ok(act.with("session", id.as_str()))
    }
}

/// A sandbox that was made.
pub(in crate::engine) fn made(act: Act, sandbox: &Sandbox, spec: &SandboxSpec) -> Act {
    let act = about(act, &sandbox.id, &sandbox.name)
        .with("driver", sandbox.driver.as_str())
        .with_any("isolation", sandbox.isolation.map(Isolation::word))
        .with_any("image", spec.image.as_deref())
        .with("workspace", sandbox.workspace.path.display().to_string())
        .with("workspace_mode", sandbox.workspace.mode.word())
        .with("egress", sandbox.egress.word())
        .with_any("ttl_ms", spec.ttl.map(milliseconds))
        .with_any("snapshot_every_ms", spec.snapshot_every.map(milliseconds))
        .with("env_names", names(&spec.env));
    let secrets = spec.secrets.iter().map(|it| format!("{} for {}", it.name, it.place()));
    let act = match spec.secrets.is_empty() {
        true => act,
        false => act.with("secrets", secrets.collect::<Vec<_>>()),
    };
    program(act, &spec.first)
}

/// A program that was told to run.
pub(in crate::engine) fn program(act: Act, spec: &SessionSpec) -> Act {
    let act = act.with("command", spec.command.clone()).with_any("cwd", spec.cwd.as_deref());
    match spec.env.is_empty() {
        true => act,
        false => act.with("program_env_names", names(&spec.env)),
    }
}

fn names(env: &[(String, String)]) -> Vec<String> {
    env.iter().map(|(name, _)| name.clone()).collect()
}

fn milliseconds(it: std::time::Duration) -> u64 {
    u64::try_from(it.as_millis()).unwrap_or(u64::MAX)
}

/// How changes are to be written.
pub(in crate::engine) fn applying(act: Act, request: &ApplyRequest) -> Act {
    let flags = [(request.git, "git"), (request.links, "links"), (request.overwrite, "overwrite")];
    let flags: Vec<_> = flags.iter().filter(|it| it.0).map(|it| it.1.to_owned()).collect();
    match flags.is_empty() {
        true => act,
        false => act.with("with", flags),
    }
}

/// A moment that was kept.
pub(in crate::engine) fn of_snapshot(act: Act, it: &Snapshot) -> Act {
    about(act, &it.sandbox, &it.sandbox_name).with_any("name", it.name.as_deref())
}

/// The same, done at this moment.
pub(in crate::engine) fn now(act: Act) -> Act {
    Act { at: clock::wall(), ..act }
}

/// The paths that were written, those beyond a bound by their number.
pub(in crate::engine) fn written(act: Act, applied: &Applied) -> Act {
    let named = applied.paths.iter().take(PATHS_NAMED);
    let mut paths: Vec<_> =
        named.map(|it| String::from_utf8_lossy(&it.path).into_owned()).collect();
    let more = applied.paths.len() - paths.len();
    if more > 0 {
        paths.push(format!("and {}", count(u64::try_from(more).unwrap_or(u64::MAX), "more path")));
    }
    act.with("count", applied.paths.len() as u64).with("paths", paths)
}

/// A step into a pane, or out of it.
pub(in crate::engine) fn keyboard(act: Act, session: &SessionId, of: &Sandbox) -> Act {
    about(act, &of.id, &of.name).with("session", session.as_str())
}

/// A keyboard that nobody gave back.
pub(in crate::engine) fn left(lease: &Lease, subject: &str, why: &str) -> Act {
    let act = Act::new(clock::wall(), &lease.holder_name, Action::KeyboardGivenBack, subject);
    act.with("from", "hub").with("why", why)
}

/// What all entries about an ask say of it.
fn of_ask(act: Act, ask: &Ask) -> Act {
    let request = &ask.asked.request;
    let act = about(act, &ask.sandbox, &ask.sandbox_name)
        .with("ask", ask.asked.id.as_str())
        .with("kind", request.kind.word())
        .with("digest", ask.digest.as_str())
        .with("risk", ask.risk.level.word());
    act.with_any("agent", request.agent.as_deref())
        .with_any("session", ask.asked.session.as_ref().map(SessionId::as_str))
}

/// It waits for a person from now on.
pub(in crate::engine) fn asked(ask: &Ask) -> Act {
    let subject = &ask.asked.request.subject;
    let act = Act::new(clock::wall(), &ask.sandbox_name, Action::AskAsked, subject);
    of_ask(act, ask)
        .with("from", "sandbox")
        .with_any("reason", ask.asked.request.reason.as_deref())
        .with("deadline_at", ask.asked.deadline_at.rfc3339())
}

/// Nobody decided it.
pub(in crate::engine) fn ended(ask: &Ask) -> Act {
    let subject = &ask.asked.request.subject;
    let (actor, from, action) = match ask.state {
        AskState::Expired => (HUB, "hub", Action::AskExpired),
        _ => (ask.sandbox_name.as_str(), "sandbox", Action::AskWithdrawn),
    };
    let waited = clock::wall().since(ask.asked.created_at);
    let act = of_ask(Act::new(clock::wall(), actor, action, subject), ask).with("from", from);
    act.with("waited_ms", milliseconds(waited))
}

/// Nothing came of an answer: nobody waited for it any more.
pub(in crate::engine) fn fruitless(ask: &Ask) -> Act {
    ended(ask).with_any("after", ask.decision.as_ref().map(|it| it.answer.verdict.word()))
}

/// An answer that held on was taken back.
pub(in crate::engine) fn revoked(ask: &Ask, who: &Identity) -> Act {
    let act = Act::new(clock::wall(), &who.name, Action::AskRevoked, &ask.asked.request.subject);
    from_client(of_ask(act, ask), who)
}

/// What was decided at the way out of a sandbox without a person.
pub(in crate::engine) fn ruled(id: &SandboxId, name: &str, it: &Ruled) -> Act {
    let action = match it.verdict {
        Verdict::Allow => Action::EgressAllowed,
        Verdict::Deny => Action::EgressDenied,
    };
    let (actor, from) = match (it.standing, it.rules.is_empty()) {
        (true, _) => (HUB.to_owned(), "standing"),
        (false, true) => (HUB.to_owned(), "gate"),
        (false, false) => (format!("policy: {}", it.rules.join(", ")), "policy"),
    };
    let act = about(Act::new(it.last_at, &actor, action, &it.place), id, name);
    let act = match it.rules.is_empty() {
        true => act,
        false => act.with("rules", it.rules.clone()),
    };
    act.with("from", from)
        .with_any("program", it.program.as_deref())
        .with("why", it.why.as_str())
        .with("count", it.count)
        .with_any("first_at", (it.count > 1).then(|| it.first_at.rfc3339()))
}

/// It was decided. Whoever reads this sees what was decided, and `digest` says what was shown.
pub(in crate::engine) fn decided(ask: &Ask, by: &By<'_>) -> Act {
    let subject = &ask.asked.request.subject;
    let action = match ask.state {
        AskState::Allowed => Action::AskAllowed,
        _ => Action::AskDenied,
    };
    let Some(it) = &ask.decision else { return ended(ask) };
    let act = of_ask(Act::new(it.at, &it.by, action, subject), ask);
    let act = match by {
        By::Person(who) => from_client(act, who),
        By::Policy(rules) => act.with("from", "policy").with("rules", rules.clone()),
        By::Standing(scope) => act.with("from", "standing").with("stands", scope.word()),
    };
    act.with("scope", it.answer.scope.word())
        .with("waited_ms", it.waited_ms)
        .with_any("message", it.answer.message.as_deref())
        .with_any("edit", it.besides.edit.as_deref())
        .with_any("edit_digest", edit_digest(ask, it))
        .with_any("rule", it.besides.rule.as_ref().map(|it| it.name.id.as_str()))
        .with_any("snapshot", it.besides.snapshot.as_ref().map(SnapshotId::as_str))
}

/// Of what was allowed in place of what was asked for.
fn edit_digest(ask: &Ask, it: &Decision) -> Option<String> {
    let subject = it.besides.edit.clone()?;
    Some(digest(&ask.sandbox, &Request { subject, ..ask.asked.request.clone() }))
}
