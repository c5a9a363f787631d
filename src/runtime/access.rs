//! Who may come to a hub from elsewhere: what may be asked about it (a part of `Runtime`), and the register that a hub keeps.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Bearer, Identity};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::{ClientId, MemberId},
    },
    model::{
        invite::InviteToken,
        member::{Admitted, Certificate, Fingerprint, Invite, Member, Refused, Role},
    },
};

fn unknown<T>() -> Outcome<T> {
    Err(Fault::unsupported("nobody from elsewhere can come here"))
}

/// Who is to be invited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteWanted {
    pub name: String,
    pub role: Role,
    /// How long the invite is good.
    pub ttl: Duration,
    /// Where the hub is reached, as `HOST:PORT`; empty = where it listens.
    pub addresses: Vec<String>,
}

/// An invite, and the string that is it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    pub invite: Invite,
    /// Whoever has it can use it. It is told once, and kept nowhere.
    pub text: String,
}

/// What was taken back by one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenBack {
    pub members: u32,
    pub invites: u32,
}

/// A certificate that takes the place of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    pub certificate: Vec<u8>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

#[async_trait]
pub trait Access: Send + Sync {
    /// Who whoever asks is there, where the other side has a say in that.
    fn client(&self) -> Option<ClientId> {
        None
    }

    /// What whoever asks may do there.
    fn role(&self) -> Role {
        Role::Admin
    }

    async fn admitted(&self) -> Outcome<Admitted> {
        unknown()
    }

    async fn invite(&self, _wanted: InviteWanted) -> Outcome<Invited> {
        unknown()
    }

    /// Takes back all that somebody of this name has or was invited to: connections end at once.
    async fn revoke_member(&self, _name: &str) -> Outcome<TakenBack> {
        unknown()
    }

    /// Gives somebody another role: connections end at once, and come back as that.
    async fn set_role(&self, _name: &str, _role: Role) -> Outcome<Member> {
        unknown()
    }

    /// Asks for the next certificate, for this public key.
    async fn renew(&self, _public_key: &[u8]) -> Outcome<Renewed> {
        unknown()
    }
}

/// What a certificate is worth now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not in the register.
    Unknown,
    Revoked,
    Good {
        member: MemberId,
        name: String,
        role: Role,
        /// Until when anything of theirs is good: a renewed one makes it later.
        until: Timestamp,
    },
}

/// Somebody was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub why: Refused,
    /// What was wanted, or what is known of what came.
    pub what: String,
    pub by: RefusedWho,
}

/// Who was refused, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedWho {
    /// A client of this hub.
    Client(Identity),
    /// Whoever is at this address.
    Stranger(String),
}

/// What a hub keeps of those who come from elsewhere. What changes something is in the audit record when it returns.
#[async_trait]
pub trait Register: Send + Sync {
    /// What a certificate is worth: asked at each handshake, so it waits for nothing.
    fn standing(&self, certificate: &Fingerprint) -> Standing;

    /// The same of one who has been let in, whatever certificate that was by.
    fn standing_of(&self, member: &MemberId) -> Standing;

    /// Changes whenever a standing may have changed.
    fn changes(&self) -> watch::Receiver<()>;

    /// Counts it, and has the record say so within a rate; whether it does.
    fn refused(&self, refusal: Refusal) -> bool;

    fn admitted(&self) -> Admitted;

    async fn invite(
        &self,
        who: &Identity,
        token: &InviteToken,
        name: &str,
        role: Role,
        ttl: Duration,
    ) -> Outcome<Invite>;

    /// Lets somebody in by an invite, which is used up. `Denied` when it is none any more, and then it is not told why.
    async fn enrol(
        &self,
        token: &InviteToken,
        certificate: Certificate,
        address: &str,
    ) -> Outcome<Member>;

    /// Notes the next certificate of somebody.
    async fn renew(&self, who: &Identity, bearer: &Bearer, certificate: Certificate)
    -> Outcome<()>;

    async fn revoke(&self, who: &Identity, name: &str) -> Outcome<TakenBack>;

    async fn set_role(&self, who: &Identity, name: &str, role: Role) -> Outcome<Member>;
}
