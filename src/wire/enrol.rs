//! What is said on a connection that enrols: one message each way, each with its length in front; and what a client keeps of it.

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    convert::access::{member_id, public_key_in, role_in},
    v1,
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        id::MemberId,
        limits::{CERTIFICATE_BYTES_MAX, ENROL_BYTES_MAX, MEMBER_NAME_BYTES_MAX, TOKEN_BYTES_MAX},
        secret::Secret,
    },
    model::{
        invite::InviteToken,
        member::{Role, member_name},
    },
};

/// What is spoken in TLS by who has no certificate yet; it is good for nothing else.
pub const ENROLS: &[u8] = b"sandwatch-enrol/1";
/// What is spoken by all others: one word of the hub, whether it lets them in, then HTTP/2.
pub const CALLS: &[u8] = b"sandwatch/1";
/// The same by who has a token and no certificate: it is said first, as one message.
pub const BEARS: &[u8] = b"sandwatch-bearer/1";
/// What tools of others speak: HTTP/2 at once.
pub const TOOLS: &[u8] = b"h2";
/// The name that every hub's certificate is for: which hub it is, says its authority.
pub const HUB_NAME: &str = "hub.sandwatch.internal";

const ANSWER_BYTES_MAX: usize = CERTIFICATE_BYTES_MAX as usize + ENROL_BYTES_MAX;

/// Who wants to be let in.
#[derive(Debug)]
pub struct Enrolling {
    pub token: InviteToken,
    pub public_key: Vec<u8>,
}

/// Who was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    pub member: MemberId,
    pub name: String,
    pub role: Role,
    pub certificate: Vec<u8>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What a client keeps: its key, and whom it trusts. It prints as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub authority: Vec<u8>,
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
    pub member: MemberId,
    pub name: String,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({} {}, ••••)", self.name, self.member)
    }
}

impl Enrolling {
    pub fn bytes(&self) -> Vec<u8> {
        let message = v1::EnrolRequest {
            invite: self.token.id_bytes().to_vec().into(),
            secret: self.token.secret().to_vec().into(),
            public_key: self.public_key.clone().into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        message.encode_to_vec()
    }

    pub fn read(bytes: &[u8]) -> Outcome<Self> {
        let wire = v1::EnrolRequest::decode(bytes)
            .map_err(|_| Fault::invalid("what came is no request to be let in"))?;
        let token = InviteToken::from_parts(&wire.invite, &wire.secret)
            .ok_or_else(|| Fault::invalid("what came has no invite"))?;
        Ok(Self { token, public_key: public_key_in(&wire.public_key)?.to_vec() })
    }
}

/// What a hub answers.
pub fn answer_bytes(answer: &Outcome<Enrolled>) -> Vec<u8> {
    use v1::enrol_response::Kind;
    let kind = match answer {
        Ok(it) => Kind::Enrolled(v1::Enrolled {
            member: it.member.to_string(),
            name: it.name.clone(),
            role: v1::Role::from(it.role).into(),
            certificate: it.certificate.clone().into(),
            issued_at_ms: it.issued_at.0,
            expires_at_ms: it.expires_at.0,
        }),
        Err(fault) => Kind::Fault(fault.into()),
    };
    v1::EnrolResponse { kind: Some(kind) }.encode_to_vec()
}

pub fn answer_read(bytes: &[u8]) -> Outcome<Enrolled> {
    use v1::enrol_response::Kind;
    let other = || Fault::failed("the hub answered with something else than a certificate");
    match v1::EnrolResponse::decode(bytes).map_err(|_| other())?.kind {
        Some(Kind::Enrolled(it)) if it.certificate.len() as u64 <= CERTIFICATE_BYTES_MAX => {
            Ok(Enrolled {
                role: role_in("enrolled.role", it.role())?,
                member: member_id(&it.member)?,
                name: member_name(&it.name)?,
                certificate: it.certificate.to_vec(),
                issued_at: Timestamp(it.issued_at_ms),
                expires_at: Timestamp(it.expires_at_ms),
            })
        }
        Some(Kind::Fault(fault)) => Err(fault.into()),
        _ => Err(other()),
    }
}

impl Credentials {
    pub fn bytes(&self) -> Vec<u8> {
        let message = v1::Credentials {
            authority: self.authority.clone().into(),
            certificate: self.certificate.clone().into(),
            key: self.key.clone().into(),
            member: self.member.to_string(),
            name: self.name.clone(),
            issued_at_ms: self.issued_at.0,
            expires_at_ms: self.expires_at.0,
        };
        message.encode_to_vec()
    }

    /// Damaged ones are none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let wire = v1::Credentials::decode(bytes).ok()?;
        let whole = ![&wire.authority, &wire.certificate, &wire.key].iter().any(|it| it.is_empty());
        let name = Some(wire.name).filter(|it| it.len() <= MEMBER_NAME_BYTES_MAX)?;
        whole.then_some(())?;
        Some(Self {
            authority: wire.authority.to_vec(),
            certificate: wire.certificate.to_vec(),
            key: wire.key.to_vec(),
            member: MemberId::parse(&wire.member)?,
            name,
            issued_at: Timestamp(wire.issued_at_ms),
            expires_at: Timestamp(wire.expires_at_ms),
        })
    }
}

/// The hub's first word on a connection for calls: why it lets nobody in, or nothing.
pub fn welcome_bytes(refused: Option<&Fault>) -> Vec<u8> {
    refused.map(|it| v1::Fault::from(it).encode_to_vec()).unwrap_or_default()
}

/// How long that word may be, in bytes.
pub const WELCOME_BYTES_MAX: usize = ENROL_BYTES_MAX;

/// Reads it: that the hub lets somebody in, or why not.
pub fn welcome_read(word: &[u8]) -> Outcome<()> {
    if word.is_empty() {
        return Ok(());
    }
    let fault = v1::Fault::decode(word).map_err(|_| Fault::lost("what answers is no hub"))?;
    Err(fault.into())
}

/// Writes one message.
pub async fn say(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Reads a request: of a stranger, so little of it.
pub async fn heard(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    one(stream, ENROL_BYTES_MAX).await
}

/// Reads a token, whatever it is.
pub async fn token_heard(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Secret> {
    let text = String::from_utf8(one(stream, TOKEN_BYTES_MAX).await?);
    text.map(Secret::new).map_err(|_| std::io::ErrorKind::InvalidData.into())
}

/// Reads an answer.
pub async fn answered(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    one(stream, ANSWER_BYTES_MAX).await
}

async fn one(stream: &mut (impl AsyncRead + Unpin), most: usize) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > most {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn enrolled() -> Enrolled {
        Enrolled {
            member: MemberId::random(),
            name: "alice".to_owned(),
            role: Role::Operator,
            certificate: vec![1, 2, 3],
            issued_at: Timestamp(1),
            expires_at: Timestamp(2),
        }
    }

    #[test]
    fn answers_are_read_as_they_were_written() {
        let it = enrolled();
        assert_eq!(answer_read(&answer_bytes(&Ok(it.clone()))).unwrap(), it);
        let fault = Fault::denied("no").hint("ask");
        assert_eq!(answer_read(&answer_bytes(&Err(fault.clone()))).unwrap_err(), fault);
        let kept = Credentials {
            authority: vec![1],
            certificate: it.certificate,
            key: vec![7, 7, 7],
            member: it.member,
            name: it.name,
            issued_at: it.issued_at,
            expires_at: it.expires_at,
        };
        assert_eq!(Credentials::read(&kept.bytes()).unwrap(), kept);
        assert!(!format!("{kept:?}").contains("7, 7"));
        assert_eq!(Credentials::read(&[]), None);
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_not_waited_for() {
        let (mut here, mut there) = tokio::io::duplex(64);
        here.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        let error = heard(&mut there).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(it) = Enrolling::read(&bytes) {
                prop_assert_eq!(it.public_key.len(), 65);
            }
            drop(answer_read(&bytes));
            drop(Credentials::read(&bytes));
        }
    }
}
