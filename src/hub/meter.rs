//! How much one client from elsewhere takes: calls at once and a second, bytes typed a second. Who is on the hub's machine is
//! not measured: it has that machine anyway.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        id::MemberId,
        limits::{
            CALLS_A_SECOND, CALLS_BURST, CALLS_OPEN_MAX, COUNTED_MAX, PACED_EVERY,
            TYPED_BURST_BYTES, TYPED_BYTES_A_SECOND,
        },
    },
    runtime::{Identity, Peer},
};

/// So much at once, and so much more a second.
#[derive(Debug)]
pub(super) struct Bucket {
    most: u32,
    a_second: f64,
    left: f64,
    /// `clock::monotonic`.
    filled: Duration,
}

impl Bucket {
    pub(super) fn new(most: u32, a_second: f64) -> Self {
        Self { most, a_second, left: f64::from(most), filled: Duration::ZERO }
    }

    /// Takes so much, or nothing.
    pub(super) fn take(&mut self, much: u32, now: Duration) -> bool {
        let came = now.saturating_sub(self.filled).as_secs_f64() * self.a_second;
        self.left = (self.left + came).min(f64::from(self.most));
        self.filled = now;
        let fits = self.left >= f64::from(much);
        if fits {
            self.left -= f64::from(much);
        }
        fits
    }

    /// Whether it has all it can have, as if it had never been used.
    #[cfg_attr(
        not(feature = "tls"),
        allow(dead_code, reason = "only who comes from elsewhere is counted so")
    )]
    pub(super) fn is_full(&self, now: Duration) -> bool {
        let came = now.saturating_sub(self.filled).as_secs_f64() * self.a_second;
        self.left + came >= f64::from(self.most)
    }
}

#[derive(Debug)]
struct Meter {
    calls: Bucket,
    typed: Bucket,
    open: u32,
}

/// One of each client.
#[derive(Clone, Debug, Default)]
pub(super) struct Meters {
    all: Arc<Mutex<HashMap<MemberId, Meter>>>,
}

/// A call that is under way; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Open {
    of: Option<(Meters, MemberId)>,
}

fn member(who: &Identity) -> Option<&MemberId> {
    match &who.peer {
        Some(Peer::Certificate(bearer)) => Some(&bearer.member),
        _ => None,
    }
}

impl Meters {
    fn with<T>(&self, member: &MemberId, use_it: impl FnOnce(&mut Meter) -> T) -> T {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= COUNTED_MAX && !all.contains_key(member) {
            all.retain(|_, it| it.open > 0);
        }
        use_it(all.entry(member.clone()).or_insert_with(|| Meter {
            calls: Bucket::new(CALLS_BURST, f64::from(CALLS_A_SECOND)),
            typed: Bucket::new(TYPED_BURST_BYTES, f64::from(TYPED_BYTES_A_SECOND)),
            open: 0,
        }))
    }

    /// Begins a call, if there is room for one more.
    pub(super) fn begin(&self, who: &Identity) -> Outcome<Open> {
        let Some(member) = member(who) else { return Ok(Open { of: None }) };
        let now = clock::monotonic();
        self.with(member, |it| {
            if it.open >= CALLS_OPEN_MAX {
                return Err(Fault::busy(format!("{} has {CALLS_OPEN_MAX} calls open", who.name)));
            }
            if !it.calls.take(1, now) {
                return Err(Fault::busy(format!(
                    "{} makes more than {CALLS_A_SECOND} calls a second",
                    who.name
                )));
            }
            it.open += 1;
            Ok(())
        })?;
        Ok(Open { of: Some((self.clone(), member.clone())) })
    }

    /// Waits until so many bytes more may be sent: data that is piped, which whoever pipes it waits for.
    pub(super) async fn paced(&self, who: &Identity, bytes: usize) {
        let bytes = bytes.min(TYPED_BURST_BYTES as usize);
        while self.types(who, bytes).is_err() {
            tokio::time::sleep(PACED_EVERY).await;
        }
    }

    /// Whether so many bytes more may be typed now.
    pub(super) fn types(&self, who: &Identity, bytes: usize) -> Outcome<()> {
        let Some(member) = member(who) else { return Ok(()) };
        let much = u32::try_from(bytes).unwrap_or(u32::MAX);
        let now = clock::monotonic();
        if self.with(member, |it| it.typed.take(much, now)) {
            return Ok(());
        }
        Err(Fault::busy(format!(
            "{} types more than {TYPED_BYTES_A_SECOND} bytes a second",
            who.name
        )))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some((meters, member)) = &self.of {
            meters.with(member, |it| it.open = it.open.saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{fault::Kind, id::ClientId},
        model::member::{Fingerprint, Proof, Role},
        runtime::Bearer,
    };

    fn from_elsewhere() -> Identity {
        let bearer = Bearer {
            member: MemberId::random(),
            name: "alice".to_owned(),
            role: Role::Viewer,
            proof: Proof::Certificate,
            certificate: Fingerprint::of(b"x"),
            address: "::1".to_owned(),
            called: None,
        };
        let (name, peer) = (bearer.shown(), Some(Peer::Certificate(bearer)));
        Identity { client: ClientId::random(), name, peer }
    }

    #[test]
    fn one_client_can_only_do_so_much_at_once_and_takes_nothing_from_another() {
        let (meters, alice, bob) = (Meters::default(), from_elsewhere(), from_elsewhere());
        let mut open = Vec::new();
        let fault = loop {
            match meters.begin(&alice) {
                Ok(one) => open.push(one),
                Err(fault) => break fault,
            }
            assert!(open.len() <= CALLS_OPEN_MAX as usize);
        };
        assert_eq!(fault.kind(), Kind::Busy);
        drop(meters.begin(&bob).unwrap());
        assert!(meters.types(&alice, TYPED_BURST_BYTES as usize).is_ok());
        assert!(meters.types(&alice, TYPED_BURST_BYTES as usize).is_err());
        assert!(meters.types(&bob, 1).is_ok());
        let local = Identity { peer: None, ..alice };
        assert!(meters.types(&local, usize::MAX).is_ok());
        // What has ended makes room.
        drop(open);
        assert_eq!(meters.with(member(&bob).unwrap(), |it| it.open), 0);
    }

    #[test]
    fn a_bucket_fills_with_time_and_never_overflows() {
        let mut bucket = Bucket::new(10, 5.0);
        assert!(bucket.take(10, Duration::ZERO) && !bucket.take(1, Duration::ZERO));
        assert!(bucket.take(5, Duration::from_secs(1)));
        assert!(!bucket.take(11, Duration::from_secs(1000)));
        assert!(bucket.take(10, Duration::from_secs(1000)));
    }
}
