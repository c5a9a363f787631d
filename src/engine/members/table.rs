//! Who comes from elsewhere, in the registry. It keeps rows, and what changes is written with its entry of the audit record:
//! both or neither.

use rusqlite::{Connection, Row, Transaction, params};

use super::Kept;
use crate::{
    base::{clock::Timestamp, fault::Outcome, id::MemberId},
    engine::{audit::table as audit, store::Store},
    model::{
        audit::Act,
        member::{Certificate, Fingerprint, Invite, InviteState, Member, Role},
    },
};

pub(in crate::engine) const TABLE: &str = "
    CREATE TABLE member (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        role TEXT NOT NULL,
        invited_by TEXT NOT NULL,
        since INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT;
    CREATE TABLE certificate (
        fingerprint BLOB PRIMARY KEY,
        member TEXT NOT NULL REFERENCES member (id) ON DELETE CASCADE,
        issued_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX certificate_member ON certificate (member);
    CREATE TABLE invite (
        id TEXT PRIMARY KEY,
        -- A hash: the secret itself is nowhere here.
        kept BLOB NOT NULL,
        name TEXT NOT NULL,
        role TEXT NOT NULL,
        invited_by TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        state TEXT NOT NULL,
        tries INTEGER NOT NULL
    ) STRICT;
";

/// Rows as they are to be from now on.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub members: Vec<Member>,
    pub invites: Vec<Kept>,
    pub gone_members: Vec<MemberId>,
    pub gone_invites: Vec<String>,
}

/// All there are.
pub(super) type Loaded = (Vec<Member>, Vec<Kept>);

impl Store {
    pub(super) async fn members(&self) -> Outcome<Loaded> {
        self.run("reading who may come", |connection| {
            let read = "SELECT id, name, role, invited_by, since, revoked_at FROM member";
            let mut read = connection.prepare(read)?;
            let found = read.query_map([], member)?.collect::<rusqlite::Result<Vec<_>>>()?;
            let mut members = Vec::new();
            for it in found.into_iter().flatten() {
                let certificates = certificates(connection, &it.id)?;
                members.push(Member { certificates, ..it });
            }
            let read = "SELECT id, kept, name, role, invited_by, created_at, expires_at, state, tries \
                        FROM invite";
            let mut read = connection.prepare(read)?;
            let invites = read.query_map([], invite)?.collect::<rusqlite::Result<Vec<_>>>()?;
            Ok((members, invites.into_iter().flatten().collect()))
        })
        .await
    }

    pub(super) async fn change_members(&self, change: Change, acts: Vec<Act>) -> Outcome<()> {
        self.run("keeping who may come", move |connection| {
            let all = connection.transaction()?;
            for id in &change.gone_members {
                all.execute("DELETE FROM member WHERE id = ?1", [id.as_str()])?;
            }
            for id in &change.gone_invites {
                all.execute("DELETE FROM invite WHERE id = ?1", [id])?;
            }
            change.members.iter().try_for_each(|it| put_member(&all, it))?;
            change.invites.iter().try_for_each(|it| put_invite(&all, it))?;
            acts.into_iter().try_for_each(|it| audit::append(&all, it))?;
            all.commit()
        })
        .await
    }
}

fn put_member(all: &Transaction<'_>, it: &Member) -> rusqlite::Result<()> {
    let put = "INSERT INTO member (id, name, role, invited_by, since, revoked_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET \
               role = excluded.role, revoked_at = excluded.revoked_at";
    let revoked = it.revoked_at.map(|it| it.0);
    let id = it.id.as_str();
    all.execute(put, params![id, it.name, it.role.word(), it.invited_by, it.since.0, revoked])?;
    all.execute("DELETE FROM certificate WHERE member = ?1", [id])?;
    let put = "INSERT INTO certificate (fingerprint, member, issued_at, expires_at) \
               VALUES (?1, ?2, ?3, ?4)";
    let mut put = all.prepare_cached(put)?;
    for of in &it.certificates {
        put.execute(params![of.fingerprint.bytes(), id, of.issued_at.0, of.expires_at.0])?;
    }
    Ok(())
}

fn put_invite(all: &Transaction<'_>, it: &Kept) -> rusqlite::Result<()> {
    let put = "INSERT INTO invite (id, kept, name, role, invited_by, created_at, expires_at, state, tries) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO UPDATE SET \
               state = excluded.state, tries = excluded.tries";
    let of = &it.invite;
    let row = params![
        of.id,
        it.secret.bytes(),
        of.name,
        of.role.word(),
        of.by,
        of.created_at.0,
        of.expires_at.0,
        of.state.word(),
        it.tries
    ];
    all.execute(put, row).map(drop)
}

/// A role that is not known here lets nobody in.
fn member(row: &Row<'_>) -> rusqlite::Result<Option<Member>> {
    let (id, role): (String, String) = (row.get(0)?, row.get(2)?);
    let (Some(id), Some(role)) = (MemberId::parse(&id), Role::from_word(&role)) else {
        return Ok(None);
    };
    Ok(Some(Member {
        id,
        name: row.get(1)?,
        role,
        invited_by: row.get(3)?,
        since: Timestamp(row.get(4)?),
        revoked_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        certificates: Vec::new(),
    }))
}

fn certificates(connection: &Connection, of: &MemberId) -> rusqlite::Result<Vec<Certificate>> {
    let read = "SELECT fingerprint, issued_at, expires_at FROM certificate WHERE member = ?1 \
                ORDER BY issued_at";
    let mut read = connection.prepare_cached(read)?;
    let found = read.query_map([of.as_str()], |row| {
        let fingerprint: Vec<u8> = row.get(0)?;
        let fingerprint = Fingerprint::from_bytes(&fingerprint);
        let (issued_at, expires_at) = (Timestamp(row.get(1)?), Timestamp(row.get(2)?));
        Ok(fingerprint.map(|it| Certificate { fingerprint: it, issued_at, expires_at }))
    })?;
    Ok(found.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn invite(row: &Row<'_>) -> rusqlite::Result<Option<Kept>> {
    let (kept, role, state): (Vec<u8>, String, String) = (row.get(1)?, row.get(3)?, row.get(7)?);
    let known =
        (Fingerprint::from_bytes(&kept), Role::from_word(&role), InviteState::from_word(&state));
    let (Some(secret), Some(role), Some(state)) = known else { return Ok(None) };
    let invite = Invite {
        id: row.get(0)?,
        name: row.get(2)?,
        role,
        by: row.get(4)?,
        created_at: Timestamp(row.get(5)?),
        expires_at: Timestamp(row.get(6)?),
        state,
    };
    Ok(Some(Kept { invite, secret, tries: row.get(8)? }))
}
