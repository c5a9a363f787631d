//! Enrolling: somebody with an invite gets a certificate for a key of theirs, and the connection is over.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
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
        &self,
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
        let member = self.register.enrol(&asked.token, noted, &address).await.map_err(|it| {
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
