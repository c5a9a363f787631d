//! `hub invite` and `hub members`: who may come to a hub from elsewhere.

use serde::Serialize;

use super::{
    args::{InviteArgs, MembersVerb},
    out, paint,
    table::{Cell, Table, Tone},
};
use crate::{
    base::{
        clock::{Timestamp, wall},
        fault::{Fault, Outcome},
        units::human_duration,
    },
    model::member::{Admitted, Invite, InviteState, Member, Role},
    runtime::{Runtime, access::InviteWanted},
};

#[derive(Serialize)]
struct InviteView<'a> {
    id: &'a str,
    name: &'a str,
    role: &'static str,
    by: &'a str,
    created_at: String,
    expires_at: String,
    state: &'static str,
    /// Only where it was made just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    invite: Option<&'a str>,
}

#[derive(Serialize)]
struct MemberView<'a> {
    id: &'a str,
    name: &'a str,
    role: &'static str,
    state: &'static str,
    invited_by: &'a str,
    since: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    certificates: Vec<CertificateView>,
}

#[derive(Serialize)]
struct CertificateView {
    fingerprint: String,
    issued_at: String,
    expires_at: String,
}

#[derive(Serialize)]
struct AdmittedView<'a> {
    members: Vec<MemberView<'a>>,
    invites: Vec<InviteView<'a>>,
}

fn invite_view<'a>(it: &'a Invite, text: Option<&'a str>) -> InviteView<'a> {
    InviteView {
        id: &it.id,
        name: &it.name,
        role: it.role.word(),
        by: &it.by,
        created_at: it.created_at.rfc3339(),
        expires_at: it.expires_at.rfc3339(),
        state: it.state.word(),
        invite: text,
    }
}

fn state(it: &Member, now: Timestamp) -> (&'static str, Tone) {
    match () {
        () if it.revoked_at.is_some() => ("revoked", Tone::Bad),
        () if it.is_good(now) => ("good", Tone::Good),
        () => ("expired", Tone::Warn),
    }
}

fn member_view(it: &Member, now: Timestamp) -> MemberView<'_> {
    let certificates = it.certificates.iter().map(|it| CertificateView {
        fingerprint: it.fingerprint.hex(),
        issued_at: it.issued_at.rfc3339(),
        expires_at: it.expires_at.rfc3339(),
    });
    MemberView {
        id: it.id.as_str(),
        name: &it.name,
        role: it.role.word(),
        state: state(it, now).0,
        invited_by: &it.invited_by,
        since: it.since.rfc3339(),
        expires_at: it.expires_at().map(Timestamp::rfc3339),
        revoked_at: it.revoked_at.map(Timestamp::rfc3339),
        certificates: certificates.collect(),
    }
}

/// Prints one line: whoever has it can use it, once.
pub async fn invite(runtime: &dyn Runtime, args: InviteArgs) -> Outcome<out::Code> {
    let InviteArgs { name, role, ttl, address, json } = args;
    let invited = runtime.invite(InviteWanted { name, role, ttl, addresses: address }).await?;
    if json {
        out::json(&invite_view(&invited.invite, Some(&invited.text)))?;
        return Ok(out::DONE);
    }
    out::print(&format!("{}\n", invited.text))?;
    let Invite { name, role, .. } = &invited.invite;
    out::tell(&format!(
        "whoever has this line is {name}, {}, on this hub: it is good once, for {}",
        role.said(),
        human_duration(ttl)
    ));
    out::tell("there: sandwatch context add NAME INVITE; here: sandwatch hub members ls");
    Ok(out::DONE)
}

pub async fn members(runtime: &dyn Runtime, verb: MembersVerb) -> Outcome<out::Code> {
    match verb {
        MembersVerb::Ls(args) => {
            let admitted = runtime.admitted().await?;
            if args.json {
                out::json(&view(&admitted))?;
            } else {
                out::print(&listed(&admitted).render(paint::wanted()))?;
            }
        }
        MembersVerb::Role { name, role } => role_of(runtime, &name, role).await?,
        MembersVerb::Revoke { name, yes } => revoke(runtime, &name, yes).await?,
    }
    Ok(out::DONE)
}

fn view(it: &Admitted) -> AdmittedView<'_> {
    let now = wall();
    AdmittedView {
        members: it.members.iter().map(|it| member_view(it, now)).collect(),
        invites: it.invites.iter().map(|it| invite_view(it, None)).collect(),
    }
}

fn listed(it: &Admitted) -> Table {
    let now = wall();
    let mut table = Table::new(&["NAME", "ROLE", "STATE", "UNTIL", "INVITED BY"]);
    for it in &it.members {
        let (word, tone) = state(it, now);
        let until = it.revoked_at.or_else(|| it.expires_at()).map(Timestamp::rfc3339);
        table.row(vec![
            it.name.as_str().into(),
            it.role.word().into(),
            Cell::new(word, tone),
            until.unwrap_or_default().as_str().into(),
            it.invited_by.as_str().into(),
        ]);
    }
    // Those that were used are members now.
    for it in it.invites.iter().filter(|it| it.state != InviteState::Used) {
        let (word, tone) = match it.state {
            InviteState::Open => ("invited".to_owned(), Tone::Warn),
            other => (format!("invite {}", other.word()), Tone::Dim),
        };
        table.row(vec![
            it.name.as_str().into(),
            it.role.word().into(),
            Cell::new(&word, tone),
            it.expires_at.rfc3339().as_str().into(),
            it.by.as_str().into(),
        ]);
    }
    table
}

async fn role_of(runtime: &dyn Runtime, name: &str, role: Role) -> Outcome<()> {
    let it = runtime.set_role(name, role).await?;
    out::print(&format!("{} is {} from now on\n", it.name, it.role.said()))
}

async fn revoke(runtime: &dyn Runtime, name: &str, yes: bool) -> Outcome<()> {
    if !yes {
        if !out::on_terminal() {
            return Err(Fault::denied("hub members revoke asks before it ends connections")
                .hint("say --yes where nobody can be asked"));
        }
        let shown = crate::base::text::shown(name, 64);
        if !out::confirm(&format!("take back all that {shown} has here?"))? {
            return Err(Fault::denied("nothing was taken back"));
        }
    }
    let taken = runtime.revoke_member(name).await?;
    let shown = crate::base::text::shown(name, 64);
    out::print(&format!("{shown}: {} revoked, {} withdrawn\n", taken.members, taken.invites))
}
