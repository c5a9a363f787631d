//! Who may come to a hub from elsewhere, as what, and by which certificate. Nothing here trusts what a certificate says:
//! it is known by the hash of all of it, and everything else is in the hub's own register.

use sha2::{Digest, Sha256};

use super::sandbox::words;
use crate::base::{
    clock::Timestamp,
    fault::{Fault, Outcome},
    id::MemberId,
    limits::MEMBER_NAME_BYTES_MAX,
    text::hex,
};

words! {
    /// What somebody may do; each may do what those before it may.
    Role {
        /// Watches.
        Viewer = "viewer",
        /// Answers, types, and steers what is there.
        Operator = "operator",
        /// Makes and removes, changes rules, writes to the hub's machine, and says who may come.
        Admin = "admin",
    }
}

impl Role {
    /// With its article, as people say it.
    pub fn said(self) -> &'static str {
        match self {
            Self::Viewer => "a viewer",
            Self::Operator => "an operator",
            Self::Admin => "an admin",
        }
    }
}

words! {
    /// By what somebody from elsewhere has shown who they are.
    Proof {
        /// One that the hub gave out.
        Certificate = "certificate",
        /// One of a team's authority, whose holder the hub's configuration names.
        TeamCertificate = "team_certificate",
        /// One of an issuer that the hub's configuration names, with who may come by it.
        Token = "token",
    }
}

/// The hash of something that is known by it: a certificate, a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; Self::BYTES]);

impl Fingerprint {
    pub const BYTES: usize = 32;

    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The first digits, enough to tell two of a hub apart.
    pub fn short(&self) -> String {
        hex(self.0.get(..8).unwrap_or_default())
    }

    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    pub fn is(&self, other: &Self) -> bool {
        let differ = self.0.iter().zip(other.0).fold(0_u8, |all, (one, other)| all | (one ^ other));
        std::hint::black_box(differ) == 0
    }
}

/// A name for somebody who comes from elsewhere; it can't look like another kind of name.
pub fn member_name(text: &str) -> Outcome<String> {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"._@-".contains(&it);
    let begins = text.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric());
    if begins && text.len() <= MEMBER_NAME_BYTES_MAX && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Fault::invalid(format!(
        "a name is 1 to {MEMBER_NAME_BYTES_MAX} letters, digits, `.`, `_`, `@` or `-`, and begins with one of the first \
         two: {}",
        crate::base::text::shown(text, MEMBER_NAME_BYTES_MAX)
    )))
}

/// Whether it may be in a name that others give: it is shown as it is, and no parenthesis, which are the hub's.
pub fn is_in_names(it: char) -> bool {
    !it.is_control() && !crate::base::text::is_deceptive(it) && !"()".contains(it)
}

/// One certificate that the hub gave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub fingerprint: Fingerprint,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Somebody with a certificate: one machine of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: MemberId,
    pub name: String,
    pub role: Role,
    /// Who invited them, as the hub knew them.
    pub invited_by: String,
    pub since: Timestamp,
    /// Nothing of theirs is taken from then on.
    pub revoked_at: Option<Timestamp>,
    /// Those that are still good, and a few of before; the newest last.
    pub certificates: Vec<Certificate>,
}

impl Member {
    /// Until when what they have is good.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.certificates.iter().map(|it| it.expires_at).max()
    }

    /// Whether they may come now.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at().is_some_and(|it| now < it)
    }
}

words! {
    /// What became of an invite.
    InviteState {
        Open = "open",
        Used = "used",
        Expired = "expired",
        /// Somebody took it back.
        Withdrawn = "withdrawn",
        /// It was tried with a wrong secret too often.
        Spoilt = "spoilt",
    }
}

/// An invite as it is listed: what it takes to use it is nowhere in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// The part of it that is no secret, in hex.
    pub id: String,
    pub name: String,
    pub role: Role,
    pub by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub state: InviteState,
}

/// All who may come, and all who are expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// By name, those that were revoked last.
    pub members: Vec<Member>,
    /// Newest first.
    pub invites: Vec<Invite>,
}

words! {
    /// Why somebody was not let in, or not let do something.
    Refused {
        /// Not TLS at all, or nothing of ours in it.
        Protocol = "protocol",
        /// TLS of before 1.3.
        Version = "version",
        NoCertificate = "no_certificate",
        /// Of another authority.
        Issuer = "issuer",
        Expired = "expired",
        Revoked = "revoked",
        /// Of ours, but not in the register, or not one for this.
        Certificate = "certificate",
        /// One that is none, is not meant for this hub, or is of nobody who may come.
        Token = "token",
        /// An invite that is none, is used, has expired or was withdrawn.
        Invite = "invite",
        /// Too many connections.
        Crowd = "crowd",
        /// Nothing came in time.
        Slow = "slow",
        /// A call that the role does not include.
        Role = "role",
        /// More at once, or in a second, than a client may.
        Rate = "rate",
        /// Somebody called themselves by the id of another.
        Identity = "identity",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_includes_those_before_it() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    }

    #[test]
    fn names_can_only_be_plain() {
        for good in ["alice", "alice@laptop", "a", "CI-7", "x.y_z"] {
            assert_eq!(member_name(good).unwrap(), good);
        }
        let long = "x".repeat(MEMBER_NAME_BYTES_MAX + 1);
        for bad in ["", "-a", ".a", "a b", "a(certificate)", "é", "a\n", "a/b", long.as_str()] {
            assert!(member_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fingerprints_are_compared_whole() {
        let one = Fingerprint::of(b"one");
        assert!(one.is(&Fingerprint::of(b"one")));
        for at in 0..Fingerprint::BYTES {
            let mut bytes = *one.bytes();
            bytes[at] ^= 1;
            assert!(!one.is(&Fingerprint::from_bytes(&bytes).unwrap()));
        }
    }
}
