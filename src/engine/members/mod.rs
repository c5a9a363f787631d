//! The register of who may come from elsewhere: read from memory at each handshake, changed one thing at a time, and each
//! change on disk with its entry of the audit record before it holds.
mod refusals;
pub(super) mod table;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;

use self::{refusals::Refusals, table::Change};
use super::{
    audit::{
        notes::Notes,
        words::{by_client, by_stranger},
    },
    store::Store,
};
use crate::{
    base::{
        clock::{Timestamp, wall},
        fault::{Fault, Outcome},
        id::MemberId,
        limits::{CERTIFICATES_MAX, INVITE_TRIES_MAX, INVITES_MAX, MEMBERS_KEPT, MEMBERS_MAX},
    },
    model::{
        audit::{Act, Action},
        invite::InviteToken,
        member::{Admitted, Certificate, Fingerprint, Invite, InviteState, Member, Refused, Role},
    },
    runtime::{
        Bearer, Identity,
        access::{Refusal, RefusedWho, Register, Standing, TakenBack},
    },
};

/// An invite with what is kept of its secret.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Kept {
    pub invite: Invite,
    pub secret: Fingerprint,
    /// Wrong secrets that were tried.
    pub tries: u32,
}

impl Kept {
    fn is_open(&self, now: Timestamp) -> bool {
        self.state(now) == InviteState::Open
    }

    fn state(&self, now: Timestamp) -> InviteState {
        match self.invite.state {
            InviteState::Open if now >= self.invite.expires_at => InviteState::Expired,
            state => state,
        }
    }
}

pub(super) struct Members {
    store: Store,
    notes: Notes,
    known: Mutex<Known>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
    bell: watch::Sender<()>,
    refusals: Mutex<Refusals>,
}

#[derive(Clone, Default)]
struct Known {
    members: Vec<Member>,
    invites: Vec<Kept>,
}

impl Members {
    pub(super) async fn open(store: Store, notes: Notes) -> Outcome<Self> {
        let (members, invites) = store.members().await?;
        Ok(Self {
            store,
            notes,
            known: Mutex::new(Known { members, invites }),
            turn: tokio::sync::Mutex::default(),
            bell: watch::Sender::new(()),
            refusals: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often somebody was refused, by why.
    pub(super) fn refused_so_far(&self) -> Vec<(Refused, u64)> {
        self.refusals().counts()
    }

    /// Has it on disk, then holds it. The caller has the turn.
    async fn change(&self, change: Change, acts: Vec<Act>) -> Outcome<()> {
        self.store.change_members(change.clone(), acts).await?;
        {
            let mut known = self.known();
            known.members.retain(|it| !change.gone_members.contains(&it.id));
            known.invites.retain(|it| !change.gone_invites.contains(&it.invite.id));
            for it in change.members {
                known.members.retain(|old| old.id != it.id);
                known.members.push(it);
            }
            for it in change.invites {
                known.invites.retain(|old| old.invite.id != it.invite.id);
                known.invites.push(it);
            }
        }
        self.bell.send_replace(());
        Ok(())
    }

    /// What is over for long makes room; what is not, does not.
    fn tidied(&self, now: Timestamp) -> Change {
        let known = self.known();
        let over = |at: Timestamp| now.since(at) > MEMBERS_KEPT;
        let ended = |it: &Member| it.revoked_at.or_else(|| it.expires_at()).filter(|at| *at <= now);
        let mut members: Vec<_> =
            known.members.iter().filter_map(|it| Some((ended(it)?, it.id.clone()))).collect();
        members.sort();
        let spare = known.members.len().saturating_sub(MEMBERS_MAX - 1);
        let old = members.iter().enumerate().filter(|(at, it)| *at < spare || over(it.0));
        let gone_members = old.map(|(_, it)| it.1.clone()).collect();
        let mut invites: Vec<_> = known.invites.iter().filter(|it| !it.is_open(now)).collect();
        invites.sort_by_key(|it| it.invite.created_at);
        let spare = known.invites.len().saturating_sub(INVITES_MAX - 1);
        let old =
            invites.iter().enumerate().filter(|(at, it)| *at < spare || over(it.invite.expires_at));
        let gone_invites = old.map(|(_, it)| it.invite.id.clone()).collect();
        Change { gone_members, gone_invites, ..Change::default() }
    }

    /// How many are left in the list by what is taken out of it.
    fn may_come(&self, tidied: &Change) -> usize {
        self.known().members.len().saturating_sub(tidied.gone_members.len())
    }

    /// One that is good now, by its name.
    fn good(&self, name: &str, now: Timestamp) -> Option<Member> {
        self.known().members.iter().find(|it| it.name == name && it.is_good(now)).cloned()
    }

    /// An invite by its id, if it is good and this is its secret; tries are counted.
    async fn opened(&self, token: &InviteToken, now: Timestamp) -> Result<Kept, String> {
        let id = token.id();
        let found = self.known().invites.iter().find(|it| it.invite.id == id).cloned();
        let Some(mut kept) = found else { return Err(format!("there is no invite {id}")) };
        let Invite { name, .. } = &kept.invite;
        match kept.state(now) {
            InviteState::Open => {}
            state => return Err(format!("the invite of {name} is {}", state.word())),
        }
        if kept.secret.is(&token.kept()) {
            return Ok(kept);
        }
        let why = format!("a wrong secret for the invite of {name}");
        kept.tries = kept.tries.saturating_add(1);
        if kept.tries >= INVITE_TRIES_MAX {
            kept.invite.state = InviteState::Spoilt;
        }
        let change = Change { invites: vec![kept], ..Change::default() };
        if let Err(fault) = self.change(change, Vec::new()).await {
            tracing::warn!(%fault, "a try at an invite could not be counted");
        }
        Err(why)
    }
}

#[async_trait]
impl Register for Members {
    fn standing(&self, certificate: &Fingerprint) -> Standing {
        let has = |it: &Member| it.certificates.iter().any(|it| it.fingerprint == *certificate);
        worth(self.known().members.iter().find(|it| has(it)))
    }

    fn standing_of(&self, member: &MemberId) -> Standing {
        worth(self.known().members.iter().find(|it| it.id == *member))
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    fn refused(&self, refusal: Refusal) -> bool {
        let act = self.refusals().count(refusal);
        let told = act.is_some();
        act.into_iter().for_each(|it| self.notes.note(it));
        told
    }

    fn admitted(&self) -> Admitted {
        let now = wall();
        let known = self.known();
        let mut members = known.members.clone();
        members.sort_by(|a, b| {
            (a.revoked_at.is_some(), &a.name, a.since).cmp(&(
                b.revoked_at.is_some(),
                &b.name,
                b.since,
            ))
        });
        let listed = |it: &Kept| Invite { state: it.state(now), ..it.invite.clone() };
        let mut invites: Vec<_> = known.invites.iter().map(listed).collect();
        invites.sort_by_key(|it| std::cmp::Reverse(it.created_at));
        Admitted { members, invites }
    }

    async fn invite(
        &self,
        who: &Identity,
        token: &InviteToken,
        name: &str,
        role: Role,
        ttl: Duration,
    ) -> Outcome<Invite> {
        let turn = self.turn.lock().await;
        let now = wall();
        if self.good(name, now).is_some() {
            return Err(Fault::busy(format!("there is a {name} already")).hint(format!(
                "choose another name, or first: sandwatch hub members revoke {name}"
            )));
        }
        let mut change = self.tidied(now);
        let open = self.known().invites.iter().filter(|it| it.is_open(now)).count();
        if self.known().invites.len() >= INVITES_MAX + change.gone_invites.len()
            || self.may_come(&change) + open >= MEMBERS_MAX
        {
            return Err(crowded());
        }
        // One of a name is enough: the last one counts.
        let before = self.known().invites.clone();
        for mut old in before.into_iter().filter(|it| it.invite.name == name && it.is_open(now)) {
            old.invite.state = InviteState::Withdrawn;
            change.invites.push(old);
        }
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let invite = Invite {
            id: token.id(),
            name: name.to_owned(),
            role,
            by: who.name.clone(),
            created_at: now,
            expires_at: Timestamp(now.0.saturating_add(ttl_ms)),
            state: InviteState::Open,
        };
        change.invites.push(Kept { invite: invite.clone(), secret: token.kept(), tries: 0 });
        let act = by_client(who, Action::MemberInvited, name)
            .with("role", role.word())
            .with("invite", invite.id.as_str())
            .with("expires_at", invite.expires_at.rfc3339());
        self.change(change, vec![act]).await?;
        drop(turn);
        Ok(invite)
    }

    async fn enrol(
        &self,
        token: &InviteToken,
        certificate: Certificate,
        address: &str,
    ) -> Outcome<Member> {
        let turn = self.turn.lock().await;
        let now = wall();
        let mut kept = match self.opened(token, now).await {
            Ok(kept) => kept,
            Err(what) => {
                let by = RefusedWho::Stranger(address.to_owned());
                self.refused(Refusal { why: Refused::Invite, what, by });
                return Err(Fault::denied(
                    "this invite is not good, or not any more: it was used, was withdrawn or has expired",
                )
                .hint("ask for another: sandwatch hub invite NAME --role ROLE, on the hub's machine"));
            }
        };
        let mut change = self.tidied(now);
        if self.may_come(&change) >= MEMBERS_MAX {
            return Err(crowded());
        }
        // Those of the name that can't come any more: a name is one's alone.
        for mut old in self.known().members.clone() {
            if old.name == kept.invite.name && old.revoked_at.is_none() {
                old.revoked_at = Some(now);
                change.members.push(old);
            }
        }
        kept.invite.state = InviteState::Used;
        let member = Member {
            id: MemberId::random(),
            name: kept.invite.name.clone(),
            role: kept.invite.role,
            invited_by: kept.invite.by.clone(),
            since: now,
            revoked_at: None,
            certificates: vec![certificate],
        };
        let act = by_stranger(Action::MemberEnrolled, &member.name, address)
            .with("role", member.role.word())
            .with("member", member.id.as_str())
            .with("invite", kept.invite.id.as_str())
            .with("invited_by", kept.invite.by.as_str())
            .with("certificate", certificate_words(member.certificates.last()));
        change.invites.push(kept);
        change.members.push(member.clone());
        self.change(change, vec![act]).await?;
        drop(turn);
        Ok(member)
    }

    async fn renew(
        &self,
        who: &Identity,
        bearer: &Bearer,
        certificate: Certificate,
    ) -> Outcome<()> {
        let turn = self.turn.lock().await;
        let now = wall();
        let found = self.known().members.iter().find(|it| it.id == bearer.member).cloned();
        let Some(mut member) = found.filter(|it| it.is_good(now)) else {
            return Err(Fault::denied(format!("{} may not come any more", bearer.name)));
        };
        member.certificates.retain(|it| now < it.expires_at);
        if member.certificates.len() >= CERTIFICATES_MAX {
            return Err(Fault::busy(format!(
                "{} has {CERTIFICATES_MAX} certificates that are good",
                bearer.name
            )));
        }
        let act = by_client(who, Action::CertificateRenewed, &member.name)
            .with("next", certificate_words(Some(&certificate)));
        member.certificates.push(certificate);
        let change = Change { members: vec![member], ..Change::default() };
        self.change(change, vec![act]).await?;
        drop(turn);
        Ok(())
    }

    async fn revoke(&self, who: &Identity, name: &str) -> Outcome<TakenBack> {
        let turn = self.turn.lock().await;
        let now = wall();
        let (mut change, mut acts) = (Change::default(), Vec::new());
        let Known { members, invites } = self.known().clone();
        for mut it in members {
            if it.revoked_at.is_none() && (it.name == name || it.id.as_str() == name) {
                it.revoked_at = Some(now);
                let act = by_client(who, Action::MemberRevoked, &it.name);
                acts.push(act.with("role", it.role.word()).with("member", it.id.as_str()));
                change.members.push(it);
            }
        }
        for mut it in invites {
            let named = it.invite.name == name || it.invite.id == name;
            if named && it.is_open(now) {
                it.invite.state = InviteState::Withdrawn;
                let act = by_client(who, Action::InviteWithdrawn, &it.invite.name);
                acts.push(
                    act.with("role", it.invite.role.word()).with("invite", it.invite.id.as_str()),
                );
                change.invites.push(it);
            }
        }
        let count = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        let taken = TakenBack {
            members: count(change.members.len()),
            invites: count(change.invites.len()),
        };
        if taken == TakenBack::default() {
            return Err(absent(name));
        }
        self.change(change, acts).await?;
        drop(turn);
        Ok(taken)
    }

    async fn set_role(&self, who: &Identity, name: &str, role: Role) -> Outcome<Member> {
        let turn = self.turn.lock().await;
        let mut member = self.good(name, wall()).ok_or_else(|| absent(name))?;
        let before = std::mem::replace(&mut member.role, role);
        let act = by_client(who, Action::MemberRoleChanged, name)
            .with("role", role.word())
            .with("before", before.word())
            .with("member", member.id.as_str());
        let change = Change { members: vec![member.clone()], ..Change::default() };
        self.change(change, vec![act]).await?;
        drop(turn);
        Ok(member)
    }
}

fn worth(it: Option<&Member>) -> Standing {
    match it {
        None => Standing::Unknown,
        Some(it) if it.revoked_at.is_some() => Standing::Revoked,
        Some(it) => Standing::Good {
            member: it.id.clone(),
            name: it.name.clone(),
            role: it.role,
            until: it.expires_at().unwrap_or(it.since),
        },
    }
}

fn crowded() -> Fault {
    Fault::busy(format!("{MEMBERS_MAX} may come already, or are invited"))
        .hint("sandwatch hub members ls, sandwatch hub members revoke NAME")
}

fn absent(name: &str) -> Fault {
    Fault::absent(format!("nobody of that name may come, or is invited: {name}"))
        .hint("sandwatch hub members ls")
}

fn certificate_words(it: Option<&Certificate>) -> String {
    it.map(|it| format!("{} until {}", it.fingerprint.short(), it.expires_at.rfc3339()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::id::ClientId, engine::store::Store};

    fn who() -> Identity {
        Identity { client: ClientId::random(), name: "owner".to_owned(), peer: None }
    }

    fn certificate(of: &str, good_for_ms: i64) -> Certificate {
        let now = wall();
        Certificate {
            fingerprint: Fingerprint::of(of.as_bytes()),
            issued_at: now,
            expires_at: Timestamp(now.0 + good_for_ms),
        }
    }

    async fn members() -> (Store, Members) {
        let store = Store::open(None).await.unwrap().store;
        let (notes, _writer) = Notes::new();
        let members = Members::open(store.clone(), notes).await.unwrap();
        (store, members)
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn an_invite_is_good_once_and_what_it_gave_outlives_the_hub() {
        let (store, register) = members().await;
        let token = InviteToken::random();
        register.invite(&who(), &token, "alice", Role::Viewer, HOUR).await.unwrap();
        let member = register.enrol(&token, certificate("a", 60_000), "::1").await.unwrap();
        assert_eq!((member.name.as_str(), member.role), ("alice", Role::Viewer));
        let fault = register.enrol(&token, certificate("b", 60_000), "::1").await.unwrap_err();
        assert_eq!(fault.kind(), crate::base::fault::Kind::Denied);
        assert_eq!(register.standing(&Fingerprint::of(b"b")), Standing::Unknown);
        assert_eq!(register.refused_so_far(), [(Refused::Invite, 1)]);
        register.set_role(&who(), "alice", Role::Operator).await.unwrap();
        let (notes, _writer) = Notes::new();
        let next = Members::open(store, notes).await.unwrap();
        let Standing::Good { role, .. } = next.standing(&Fingerprint::of(b"a")) else { panic!() };
        assert_eq!(role, Role::Operator);
        assert_eq!(next.admitted().invites[0].state, InviteState::Used);
    }

    #[tokio::test]
    async fn a_guessed_secret_spoils_the_invite_after_a_few_tries() {
        let (_store, register) = members().await;
        let token = InviteToken::random();
        register.invite(&who(), &token, "alice", Role::Admin, HOUR).await.unwrap();
        for _ in 0..INVITE_TRIES_MAX {
            let wrong = InviteToken::random();
            let guess = InviteToken::from_parts(token.id_bytes(), wrong.secret()).unwrap();
            register.enrol(&guess, certificate("x", 60_000), "::1").await.unwrap_err();
        }
        register.enrol(&token, certificate("a", 60_000), "::1").await.unwrap_err();
        assert_eq!(register.admitted().invites[0].state, InviteState::Spoilt);
        assert!(register.admitted().members.is_empty());
    }

    #[tokio::test]
    async fn no_more_come_than_are_listed() {
        let (_store, register) = members().await;
        let token = InviteToken::random();
        register.invite(&who(), &token, "last", Role::Viewer, HOUR).await.unwrap();
        // All places but one are taken by now, and that one is the invite's.
        let taken = (1..MEMBERS_MAX).map(|it| Member {
            id: MemberId::random(),
            name: format!("m{it}"),
            role: Role::Viewer,
            invited_by: "owner".to_owned(),
            since: wall(),
            revoked_at: None,
            certificates: vec![certificate(&format!("c{it}"), 3_600_000)],
        });
        register.known().members.extend(taken);
        let more = InviteToken::random();
        let fault = register.invite(&who(), &more, "more", Role::Viewer, HOUR).await.unwrap_err();
        assert!(fault.message().contains("256 may come already, or are invited"), "{fault}");
        let one = Member { id: MemberId::random(), ..register.known().members[0].clone() };
        register.known().members.push(one);
        let refused = register.enrol(&token, certificate("x", 60_000), "::1").await.unwrap_err();
        assert_eq!(refused.kind(), crate::base::fault::Kind::Busy);
        register.known().members.pop();
        register.enrol(&token, certificate("x", 60_000), "::1").await.unwrap();
    }

    #[tokio::test]
    async fn what_is_taken_back_or_over_lets_nobody_in() {
        let (_store, register) = members().await;
        let (first, second) = (InviteToken::random(), InviteToken::random());
        register.invite(&who(), &first, "bob", Role::Viewer, HOUR).await.unwrap();
        // The next one of a name takes the place of the one before.
        register.invite(&who(), &second, "bob", Role::Viewer, HOUR).await.unwrap();
        register.enrol(&first, certificate("1", 60_000), "::1").await.unwrap_err();
        register.enrol(&second, certificate("2", 60_000), "::1").await.unwrap();
        let again = InviteToken::random();
        let fault = register.invite(&who(), &again, "bob", Role::Admin, HOUR).await.unwrap_err();
        assert_eq!(fault.kind(), crate::base::fault::Kind::Busy);
        let mut bell = register.changes();
        bell.mark_unchanged();
        let taken = register.revoke(&who(), "bob").await.unwrap();
        assert_eq!(taken, TakenBack { members: 1, invites: 0 });
        assert!(bell.has_changed().unwrap());
        assert_eq!(register.standing(&Fingerprint::of(b"2")), Standing::Revoked);
        register.revoke(&who(), "bob").await.unwrap_err();
        // An invite that has expired.
        register.invite(&who(), &again, "eve", Role::Admin, Duration::ZERO).await.unwrap();
        register.enrol(&again, certificate("3", 60_000), "::1").await.unwrap_err();
        assert_eq!(register.standing(&Fingerprint::of(b"3")), Standing::Unknown);
    }
}
