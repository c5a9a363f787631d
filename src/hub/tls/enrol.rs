//! Enrolling: somebody with an invite gets a certificate for a key of theirs, and the connection is over.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{Inside, crowd::place};
use crate::{
    base::{
        clock::monotonic,
        fault::{Fault, Kind, Outcome},
        limits::{COUNTED_MAX, ENROL_BURST, ENROL_EVERY, ENROL_WITHIN},
    },
    hub::meter::Bucket,
    model::member::Refused,
    wire::enrol::{Enrolled, Enrolling, answer_bytes, heard, say},
};

/// How often each place tried.
#[derive(Default)]
pub(super) struct Tries {
    of: Mutex<HashMap<IpAddr, Bucket>>,
}

impl Tries {
    fn take(&self, from: IpAddr) -> bool {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let now = monotonic();
        if of.len() >= COUNTED_MAX && !of.contains_key(&from) {
            of.retain(|_, it| !it.is_full(now));
        }
        if of.len() >= COUNTED_MAX && !of.contains_key(&from) {
            return false;
        }
        let a_second = 1.0 / ENROL_EVERY.as_secs_f64();
        of.entry(from).or_insert_with(|| Bucket::new(ENROL_BURST, a_second)).take(1, now)
    }
}

impl Inside {
    pub(super) async fn enrol(
        self: Arc<Self>,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        from: SocketAddr,
    ) {
        let done = timeout(ENROL_WITHIN, async {
            let asked = match heard(&mut stream).await {
                Ok(bytes) => Enrolling::read(&bytes),
                Err(_) => Err(Fault::invalid("what came is no request to be let in")),
            };
            let answer = match asked {
                Ok(asked) => self.admit(&asked, from).await,
                Err(fault) => {
                    self.refused(Refused::Protocol, from, fault.message());
                    Err(fault)
                }
            };
            say(&mut stream, &answer_bytes(&answer)).await?;
            stream.shutdown().await
        });
        match done.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "who enrolled went away"),
            Err(_) => self.refused(Refused::Slow, from, "nobody enrolled in time"),
        }
    }

    async fn admit(&self, asked: &Enrolling, from: SocketAddr) -> Outcome<Enrolled> {
        if !self.tries.take(place(from.ip())) {
            self.refused(Refused::Rate, from, "too many tries to enrol");
            return Err(Fault::busy("too many tries from there").hint(format!(
                "wait {} seconds, then try again: the invite is still good",
                ENROL_EVERY.as_secs()
            )));
        }
        let issued = self.authority.client(&asked.public_key)?;
        let address = from.ip().to_canonical().to_string();
        let noted = issued.noted.clone();
        // To its end, whoever has gone meanwhile: an invite that is used on disk and good in memory would be used twice.
        let (register, token) = (Arc::clone(&self.register), asked.token.clone());
        let enrolled =
            tokio::spawn(async move { register.enrol(&token, noted, &address).await }).await;
        let enrolled = enrolled.unwrap_or_else(|_| Err(Fault::bug("enrolling broke off")));
        let member = enrolled.map_err(|it| {
            // What fails here is told here, and only that it failed there.
            if it.kind() == Kind::Denied {
                return it;
            }
            tracing::warn!(fault = %it, "somebody could not be let in");
            Fault::failed("the hub could not let you in; its log says why")
        })?;
        Ok(Enrolled {
            member: member.id,
            name: member.name,
            role: member.role,
            certificate: issued.der.to_vec(),
            issued_at: issued.noted.issued_at,
            expires_at: issued.noted.expires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;
    use tokio::sync::{Notify, watch};

    use super::{
        super::{authority::Authority, config::Configs, crowd::Crowd, team::Team},
        *,
    };
    use crate::{
        base::{clock::wall, id::MemberId},
        model::{
            invite::InviteToken,
            member::{Admitted, Certificate, Fingerprint, Invite, Member, Role},
        },
        runtime::{
            Bearer, Identity,
            access::{Refusal, Register, Standing, TakenBack},
        },
    };

    fn never<T>() -> Outcome<T> {
        Err(Fault::bug("not asked for here"))
    }

    /// One whose disk is slow.
    #[derive(Default)]
    struct Slow {
        begun: Notify,
        go: Notify,
        done: Notify,
    }

    #[async_trait]
    impl Register for Slow {
        fn standing(&self, _: &Fingerprint) -> Standing {
            Standing::Unknown
        }
        fn standing_of(&self, _: &MemberId) -> Standing {
            Standing::Unknown
        }
        fn changes(&self) -> watch::Receiver<()> {
            watch::channel(()).1
        }
        fn refused(&self, _: Refusal) -> bool {
            true
        }
        fn admitted(&self) -> Admitted {
            Admitted { members: Vec::new(), invites: Vec::new() }
        }
        async fn invite(
            &self,
            _: &Identity,
            _: &InviteToken,
            _: &str,
            _: Role,
            _: Duration,
        ) -> Outcome<Invite> {
            never()
        }
        async fn enrol(&self, _: &InviteToken, _: Certificate, _: &str) -> Outcome<Member> {
            self.begun.notify_one();
            self.go.notified().await;
            self.done.notify_one();
            never()
        }
        async fn renew(&self, _: &Identity, _: &Bearer, _: Certificate) -> Outcome<()> {
            never()
        }
        async fn revoke(&self, _: &Identity, _: &str) -> Outcome<TakenBack> {
            never()
        }
        async fn set_role(&self, _: &Identity, _: &str, _: Role) -> Outcome<Member> {
            never()
        }
    }

    fn inside(register: Arc<Slow>) -> (tempfile::TempDir, Arc<Inside>) {
        let temp = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::open(&temp.path().join("authority")).unwrap());
        let team = Arc::new(Team::open(&temp.path().join("config.toml")));
        let configs = Configs::new(&authority, register.clone(), Arc::clone(&team)).unwrap();
        let inside = Inside {
            authority,
            register,
            team,
            configs: Mutex::new((wall(), Arc::new(configs))),
            strangers: Crowd::new(1, 1, None),
            members: Crowd::new(1, 1, None),
            tries: Tries::default(),
        };
        (temp, Arc::new(inside))
    }

    #[tokio::test]
    async fn what_the_register_began_it_ends_though_whoever_asked_has_gone() {
        let register = Arc::new(Slow::default());
        let (_temp, inside) = inside(Arc::clone(&register));
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let public_key = key.public_key_raw().to_vec();
        let asked = Enrolling { token: InviteToken::random(), public_key };
        let from = "127.0.0.1:1".parse().unwrap();
        tokio::select! {
            _ = inside.admit(&asked, from) => panic!("nothing was let go"),
            () = register.begun.notified() => {}
        }
        register.go.notify_one();
        register.done.notified().await;
    }

    #[tokio::test]
    async fn the_hubs_certificate_goes_by_the_clock_that_others_read_it_by() {
        let (_temp, inside) = inside(Arc::default());
        let first = inside.configs();
        assert!(Arc::ptr_eq(&first, &inside.configs()));
        let day = 24 * 3600 * 1000;
        for off in [day, -4 * day] {
            let before = inside.configs();
            inside.configs.lock().unwrap().0.0 += off;
            assert!(!Arc::ptr_eq(&before, &inside.configs()), "{off}");
        }
    }
}
