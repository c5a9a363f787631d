//! Who may come from elsewhere, and what they get.

use std::time::Duration;

use super::{list, milliseconds, required, text};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::MemberId,
        limits::{
            CERTIFICATE_BYTES_MAX, CERTIFICATES_MAX, INVITE_ADDRESSES_MAX, INVITE_TEXT_BYTES_MAX,
            INVITE_TTL_MAX, INVITE_TTL_MIN, INVITES_MAX, LABEL_BYTES_MAX, MEMBER_NAME_BYTES_MAX,
            MEMBERS_MAX, REACHED_AT_BYTES_MAX,
        },
        text::{cut, shown},
    },
    model::{
        invite::host_and_port,
        member::{
            Admitted, Certificate, Fingerprint, Invite, InviteState, Member, Role, member_name,
        },
    },
    runtime::access::{InviteWanted, Invited, Renewed},
    wire::v1,
};

/// A point of P-256 that is not compressed.
const PUBLIC_KEY_BYTES: usize = 65;

impl From<Role> for v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

/// A role that was asked for has to be one.
pub fn role_in(field: &str, wire: v1::Role) -> Outcome<Role> {
    match wire {
        v1::Role::Viewer => Ok(Role::Viewer),
        v1::Role::Operator => Ok(Role::Operator),
        v1::Role::Admin => Ok(Role::Admin),
        v1::Role::Unspecified => Err(Fault::invalid(format!("missing: {field}"))),
    }
}

/// A role that is told; of one that is not known here nothing is expected.
fn role_told(wire: v1::Role) -> Role {
    role_in("role", wire).unwrap_or(Role::Viewer)
}

impl From<&Member> for v1::Member {
    fn from(it: &Member) -> Self {
        let certificate = |it: &Certificate| v1::MemberCertificate {
            fingerprint: it.fingerprint.bytes().to_vec().into(),
            issued_at_ms: it.issued_at.0,
            expires_at_ms: it.expires_at.0,
        };
        Self {
            id: it.id.to_string(),
            name: it.name.clone(),
            role: v1::Role::from(it.role).into(),
            invited_by: cut(&it.invited_by, LABEL_BYTES_MAX).to_owned(),
            since_ms: it.since.0,
            revoked_at_ms: it.revoked_at.map(|it| it.0),
            certificates: it.certificates.iter().take(CERTIFICATES_MAX).map(certificate).collect(),
        }
    }
}

impl TryFrom<v1::Member> for Member {
    type Error = Fault;

    fn try_from(wire: v1::Member) -> Outcome<Self> {
        let role = role_told(wire.role());
        let certificate = |it: v1::MemberCertificate| {
            let fingerprint = Fingerprint::from_bytes(&it.fingerprint)
                .ok_or_else(|| Fault::invalid("a fingerprint of another length"))?;
            let (issued_at, expires_at) = (Timestamp(it.issued_at_ms), Timestamp(it.expires_at_ms));
            Ok(Certificate { fingerprint, issued_at, expires_at })
        };
        let certificates = list("member.certificates", wire.certificates, CERTIFICATES_MAX)?;
        Ok(Self {
            id: member_id(&wire.id)?,
            name: shown(&wire.name, MEMBER_NAME_BYTES_MAX),
            role,
            invited_by: shown(&wire.invited_by, LABEL_BYTES_MAX),
            since: Timestamp(wire.since_ms),
            revoked_at: wire.revoked_at_ms.map(Timestamp),
            certificates: certificates.into_iter().map(certificate).collect::<Outcome<_>>()?,
        })
    }
}

pub fn member_id(text: &str) -> Outcome<MemberId> {
    MemberId::parse(text)
        .ok_or_else(|| Fault::invalid(format!("not an id of a member: {}", shown(text, 64))))
}

impl From<&Invite> for v1::Invite {
    fn from(it: &Invite) -> Self {
        let state = match it.state {
            InviteState::Open => v1::InviteState::Open,
            InviteState::Used => v1::InviteState::Used,
            InviteState::Expired => v1::InviteState::Expired,
            InviteState::Withdrawn => v1::InviteState::Withdrawn,
            InviteState::Spoilt => v1::InviteState::Spoilt,
        };
        Self {
            id: it.id.clone(),
            name: it.name.clone(),
            role: v1::Role::from(it.role).into(),
            by: cut(&it.by, LABEL_BYTES_MAX).to_owned(),
            created_at_ms: it.created_at.0,
            expires_at_ms: it.expires_at.0,
            state: state.into(),
        }
    }
}

impl From<v1::Invite> for Invite {
    fn from(wire: v1::Invite) -> Self {
        let state = match wire.state() {
            v1::InviteState::Open => InviteState::Open,
            v1::InviteState::Used => InviteState::Used,
            v1::InviteState::Expired | v1::InviteState::Unspecified => InviteState::Expired,
            v1::InviteState::Withdrawn => InviteState::Withdrawn,
            v1::InviteState::Spoilt => InviteState::Spoilt,
        };
        Self {
            role: role_told(wire.role()),
            id: shown(&wire.id, 64),
            name: shown(&wire.name, MEMBER_NAME_BYTES_MAX),
            by: shown(&wire.by, LABEL_BYTES_MAX),
            created_at: Timestamp(wire.created_at_ms),
            expires_at: Timestamp(wire.expires_at_ms),
            state,
        }
    }
}

impl From<&Admitted> for v1::ListAccessResponse {
    fn from(it: &Admitted) -> Self {
        Self {
            members: it.members.iter().take(MEMBERS_MAX).map(Into::into).collect(),
            invites: it.invites.iter().take(INVITES_MAX).map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::ListAccessResponse> for Admitted {
    type Error = Fault;

    fn try_from(wire: v1::ListAccessResponse) -> Outcome<Self> {
        let members = list("members", wire.members, MEMBERS_MAX)?;
        let invites = list("invites", wire.invites, INVITES_MAX)?;
        Ok(Self {
            members: members.into_iter().map(TryInto::try_into).collect::<Outcome<_>>()?,
            invites: invites.into_iter().map(Into::into).collect(),
        })
    }
}

pub fn invite_out(wanted: InviteWanted) -> v1::InviteRequest {
    v1::InviteRequest {
        name: wanted.name,
        role: v1::Role::from(wanted.role).into(),
        ttl_ms: milliseconds(wanted.ttl),
        addresses: wanted.addresses,
    }
}

pub fn invite_in(wire: v1::InviteRequest) -> Outcome<InviteWanted> {
    let role = role_in("invite.role", wire.role())?;
    let ttl = Duration::from_millis(wire.ttl_ms);
    if !(INVITE_TTL_MIN..=INVITE_TTL_MAX).contains(&ttl) {
        let (least, most) = (INVITE_TTL_MIN.as_secs(), INVITE_TTL_MAX.as_secs() / 86400);
        return Err(Fault::invalid(format!("an invite is good for {least} s to {most} days")));
    }
    let addresses = list("invite.addresses", wire.addresses, INVITE_ADDRESSES_MAX)?;
    let addresses = addresses.iter().map(|it| host_and_port(it)).collect::<Outcome<_>>()?;
    Ok(InviteWanted { name: member_name(&wire.name)?, role, ttl, addresses })
}

impl From<&Invited> for v1::InviteResponse {
    fn from(it: &Invited) -> Self {
        Self { invite: Some((&it.invite).into()), text: it.text.clone() }
    }
}

impl TryFrom<v1::InviteResponse> for Invited {
    type Error = Fault;

    fn try_from(wire: v1::InviteResponse) -> Outcome<Self> {
        let invite = required("invite", wire.invite)?.into();
        let text = text("invite.text", wire.text, INVITE_TEXT_BYTES_MAX)?;
        // It is for a terminal, and has no character that means anything there.
        Ok(Self { invite, text: shown(&text, INVITE_TEXT_BYTES_MAX) })
    }
}

/// A key that a certificate can be made for.
pub fn public_key_in(wire: &[u8]) -> Outcome<&[u8]> {
    match wire {
        [4, rest @ ..] if rest.len() + 1 == PUBLIC_KEY_BYTES => Ok(wire),
        _ => Err(Fault::invalid("not a public key of P-256")),
    }
}

impl From<Renewed> for v1::RenewResponse {
    fn from(it: Renewed) -> Self {
        Self {
            certificate: it.certificate.into(),
            issued_at_ms: it.issued_at.0,
            expires_at_ms: it.expires_at.0,
        }
    }
}

impl TryFrom<v1::RenewResponse> for Renewed {
    type Error = Fault;

    fn try_from(wire: v1::RenewResponse) -> Outcome<Self> {
        if wire.certificate.len() as u64 > CERTIFICATE_BYTES_MAX {
            return Err(Fault::invalid("a certificate that is too long"));
        }
        Ok(Self {
            certificate: wire.certificate.to_vec(),
            issued_at: Timestamp(wire.issued_at_ms),
            expires_at: Timestamp(wire.expires_at_ms),
        })
    }
}

/// A name that something is taken back by: short enough to be one.
pub fn name_in(name: String) -> Outcome<String> {
    text("name", name, REACHED_AT_BYTES_MAX)
}
