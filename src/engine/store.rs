//! The registry on disk: SQLite on one thread of its own, behind a bounded queue, so that no
//! runtime thread ever waits for a disk. It keeps rows; what is in them is `record`'s business.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    audit::table as audit,
    hits::{self, Answered},
    members::table as members,
    ruled,
    timeline::table as timeline,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        limits::{STORE_BUSY_WITHIN, STORE_QUEUED_MAX},
    },
    model::audit::Act,
};

/// Each step takes the database from its index to the next; never edited, only added to.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE sandbox (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        driver TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        -- Grows with every change, so that an older one written later changes nothing.
        version INTEGER NOT NULL,
        -- A removal has begun and is to be finished, whatever happens.
        removing INTEGER NOT NULL DEFAULT 0,
        spec BLOB NOT NULL,
        record BLOB NOT NULL
    ) STRICT;
    CREATE TABLE session (
        id TEXT PRIMARY KEY,
        sandbox TEXT NOT NULL REFERENCES sandbox (id) ON DELETE CASCADE,
        ordinal INTEGER NOT NULL,
        lease_holder TEXT,
        exit_code INTEGER,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX session_sandbox ON session (sandbox);
",
    "
    -- Outlives its sandbox: it is the record of who allowed what.
    CREATE TABLE ask (
        id TEXT PRIMARY KEY,
        sandbox TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        state TEXT NOT NULL,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX ask_created ON ask (created_at);
    CREATE INDEX ask_state ON ask (state);
",
    audit::TABLE,
    hits::TABLE,
    ruled::TABLE,
    timeline::TABLE,
    members::TABLE,
    timeline::BY_NAME,
];

/// One sandbox as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub id: String,
    pub name: String,
    pub driver: String,
    pub state: &'static str,
    pub created_at: i64,
    pub version: i64,
    pub removing: bool,
    pub spec: Vec<u8>,
    pub record: Vec<u8>,
    pub sessions: Vec<SessionRow>,
}

/// One session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionRow {
    pub id: String,
    pub ordinal: u32,
    pub lease_holder: Option<String>,
    pub exit_code: Option<i32>,
    pub record: Vec<u8>,
}

/// One ask as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AskRow {
    pub id: String,
    pub sandbox: String,
    pub created_at: i64,
    pub state: &'static str,
    pub record: Vec<u8>,
}

/// How many asks are kept, and how many bytes of them.
pub(super) type Share = (usize, usize);

/// What a row gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub id: String,
    pub version: i64,
    pub removing: bool,
    pub spec: Vec<u8>,
    pub record: Vec<u8>,
    pub sessions: Vec<Vec<u8>>,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the registry's thread, which ends with the last handle.
#[derive(Clone)]
pub(super) struct Store {
    changes: mpsc::Sender<Job>,
    looks: mpsc::Sender<Job>,
    /// Bumped whenever something was written.
    written: watch::Receiver<()>,
}

/// The next job; `None` = the last handle is gone.
async fn next(changes: &mut mpsc::Receiver<Job>, looks: &mut mpsc::Receiver<Job>) -> Option<Job> {
    tokio::select! {
        biased;
        job = changes.recv() => job,
        Some(job) = looks.recv() => Some(job),
    }
}

/// What opening found.
pub(super) struct Opened {
    pub store: Store,
    /// The database was damaged and set aside here; this one is new and empty.
    pub set_aside: Option<PathBuf>,
}

impl Store {
    /// Opens or makes the database; a damaged one is renamed, never overwritten or emptied.
    pub(super) async fn open(path: Option<PathBuf>) -> Outcome<Opened> {
        let (changes, mut to_change) = mpsc::channel::<Job>(STORE_QUEUED_MAX);
        let (looks, mut to_look) = mpsc::channel::<Job>(STORE_QUEUED_MAX);
        let runtime = tokio::runtime::Handle::current();
        let (ready, opened) = oneshot::channel();
        let (bell, written) = watch::channel(());
        std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || {
                let (mut connection, set_aside) = match open_or_set_aside(path.as_deref()) {
                    Ok(it) => it,
                    Err(fault) => {
                        drop(ready.send(Err(fault)));
                        return;
                    }
                };
                drop(ready.send(Ok(set_aside)));
                while let Some(job) = runtime.block_on(next(&mut to_change, &mut to_look)) {
                    let before = connection.total_changes();
                    job(&mut connection);
                    if connection.total_changes() != before {
                        bell.send_replace(());
                    }
                }
            })
            .map_err(|error| Fault::io("starting the registry's thread", &error))?;
        let set_aside = opened.await.map_err(|_| Fault::bug("the registry's thread ended"))??;
        Ok(Opened { store: Self { changes, looks, written }, set_aside })
    }

    /// Changes whenever something was written.
    pub(super) fn written(&self) -> watch::Receiver<()> {
        self.written.clone()
    }

    /// Changes something in the database, at its turn.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Outcome<T> {
        Self::have(&self.changes, doing, job).await
    }

    /// Looks something up, when no change waits: whoever looks much holds up no decision.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Outcome<T> {
        Self::have(&self.looks, doing, job).await
    }

    async fn have<T: Send + 'static>(
        queue: &mpsc::Sender<Job>,
        doing: &'static str,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Outcome<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            drop(answer.send(job(connection).map_err(|error| fault(doing, &error))));
        });
        let ended = || Fault::bug(format!("{doing}: the registry's thread ended"));
        queue.send(job).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// Adds a sandbox; `Busy` when its name is taken.
    pub(super) async fn insert(&self, row: Row) -> Outcome<()> {
        self.run("registering a sandbox", move |connection| {
            let change = connection.transaction()?;
            change.execute(
                "INSERT INTO sandbox (id, name, driver, state, created_at, version, removing, spec, \
                 record) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    row.id, row.name, row.driver, row.state, row.created_at, row.version,
                    row.removing, row.spec, row.record
                ],
            )?;
            put_sessions(&change, &row)?;
            change.commit()
        })
        .await
    }

    /// Writes a sandbox's newest state; an older one, or one already deleted, changes nothing.
    pub(super) async fn update(&self, row: Row) -> Outcome<()> {
        self.run("updating the registry", move |connection| {
            let change = connection.transaction()?;
            let fresh = change.execute(
                "UPDATE sandbox SET state = ?2, version = ?3, removing = ?4, record = ?5, spec = ?6 \
                 WHERE id = ?1 AND version < ?3",
                params![row.id, row.state, row.version, row.removing, row.record, row.spec],
            )?;
            if fresh == 1 {
                put_sessions(&change, &row)?;
            }
            change.commit()
        })
        .await
    }

    pub(super) async fn delete(&self, id: String) -> Outcome<()> {
        self.run("taking a sandbox off the registry", move |connection| {
            connection.execute("DELETE FROM sandbox WHERE id = ?1", params![id]).map(drop)
        })
        .await
    }

    /// Every sandbox, oldest first, each with its sessions.
    pub(super) async fn load(&self) -> Outcome<Vec<Kept>> {
        self.run("reading the registry", |connection| {
            let mut sandboxes = connection.prepare(
                "SELECT id, version, removing, spec, record FROM sandbox ORDER BY created_at, id",
            )?;
            let mut sessions = connection
                .prepare("SELECT record FROM session WHERE sandbox = ?1 ORDER BY ordinal")?;
            let rows = sandboxes.query_map([], |row| {
                Ok(Kept {
                    id: row.get(0)?,
                    version: row.get(1)?,
                    removing: row.get(2)?,
                    spec: row.get(3)?,
                    record: row.get(4)?,
                    sessions: Vec::new(),
                })
            })?;
            let mut all = Vec::new();
            for row in rows {
                let mut kept = row?;
                let found = sessions.query_map([&kept.id], |row| row.get(0))?;
                kept.sessions = found.collect::<rusqlite::Result<_>>()?;
                all.push(kept);
            }
            Ok(all)
        })
        .await
    }

    /// Writes an ask's newest state, and in the same breath what the audit record is to say of it and that rules have
    /// answered: all of it or nothing. What was decided stays so.
    pub(super) async fn put_ask(
        &self,
        row: AskRow,
        act: Option<Act>,
        answered: Option<Answered>,
    ) -> Outcome<()> {
        let put = "INSERT INTO ask (id, sandbox, created_at, state, record) \
                   VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET \
                   state = excluded.state, record = excluded.record \
                   WHERE state NOT IN ('allowed', 'denied')";
        self.change_ask(put, row, (act, answered)).await
    }

    /// Writes it over what was decided: nothing came of that, or it holds no more, or was used.
    pub(super) async fn amend_ask(&self, row: AskRow, act: Option<Act>) -> Outcome<()> {
        let put = "UPDATE ask SET sandbox = ?2, created_at = ?3, state = ?4, record = ?5 \
                   WHERE id = ?1";
        self.change_ask(put, row, (act, None)).await
    }

    async fn change_ask(
        &self,
        put: &'static str,
        row: AskRow,
        (act, answered): (Option<Act>, Option<Answered>),
    ) -> Outcome<()> {
        self.run("keeping an ask", move |connection| {
            let change = connection.transaction()?;
            let row = params![row.id, row.sandbox, row.created_at, row.state, row.record];
            let changed = change.prepare_cached(put)?.execute(row)?;
            if changed > 0 {
                act.map(|it| audit::append(&change, it)).transpose()?;
                answered.map(|it| hits::count(&change, &it)).transpose()?;
            }
            change.commit()
        })
        .await
    }

    pub(super) async fn ask(&self, id: String) -> Outcome<Option<Vec<u8>>> {
        Ok(self.asks_by_id(vec![id]).await?.pop())
    }

    /// Those of these that are known.
    pub(super) async fn asks_by_id(&self, ids: Vec<String>) -> Outcome<Vec<Vec<u8>>> {
        self.run("reading asks", move |connection| {
            let mut read = connection.prepare_cached("SELECT record FROM ask WHERE id = ?1")?;
            let found = ids.iter().map(|it| read.query_row([it], |row| row.get(0)).optional());
            found.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// The newest that have ended, newest first, as far as they fit into so many bytes.
    pub(super) async fn asks(&self, most: usize, bytes: usize) -> Outcome<Vec<Vec<u8>>> {
        self.run("reading asks", move |connection| {
            let read = "SELECT record FROM ask WHERE state != 'pending' \
                        ORDER BY created_at DESC, id LIMIT ?1";
            let mut read = connection.prepare_cached(read)?;
            let mut rows = read.query([i64::try_from(most).unwrap_or(i64::MAX)])?;
            let (mut all, mut left) = (Vec::<Vec<u8>>::new(), bytes);
            while let Some(row) = rows.next()? {
                let record: Vec<u8> = row.get(0)?;
                let Some(less) = left.checked_sub(record.len()) else { break };
                left = less;
                all.push(record);
            }
            Ok(all)
        })
        .await
    }

    pub(super) async fn pending_asks(&self) -> Outcome<Vec<Vec<u8>>> {
        self.run("reading asks", |connection| {
            let mut read = connection.prepare("SELECT record FROM ask WHERE state = 'pending'")?;
            read.query_map([], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Keeps the newest of each sandbox and then of all, those that somebody decided before others, and these whatever
    /// comes.
    pub(super) async fn forget_asks(&self, each: Share, all: Share, these: String) -> Outcome<()> {
        self.run("forgetting old asks", move |connection| {
            for (share, by) in [(each, "PARTITION BY sandbox"), (all, "")] {
                let old = format!(
                    "DELETE FROM ask WHERE id IN (SELECT id FROM (SELECT id, state, \
                     ROW_NUMBER() OVER newest AS nth, SUM(LENGTH(record)) OVER newest AS bytes \
                     FROM ask WINDOW newest AS ({by} ORDER BY state IN ('allowed', 'denied') DESC, \
                     created_at DESC, id ROWS UNBOUNDED PRECEDING)) \
                     WHERE state != 'pending' AND (nth > ?1 OR bytes > ?2)) \
                     AND id NOT IN (SELECT value FROM json_each(?3))"
                );
                let number = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
                connection.execute(&old, params![number(share.0), number(share.1), these])?;
            }
            Ok(())
        })
        .await
    }

    /// Reads through the whole file; `None` = sound.
    pub(super) async fn check(&self) -> Outcome<Option<String>> {
        self.run("checking the registry", |connection| {
            let word: String =
                connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            Ok((word != "ok").then_some(word))
        })
        .await
    }
}

/// Makes a sandbox's sessions those of the row: one that made room for a newer one is kept no longer.
fn put_sessions(change: &rusqlite::Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    let mut kept = change.prepare_cached("SELECT id FROM session WHERE sandbox = ?1")?;
    let mut strike = change.prepare_cached("DELETE FROM session WHERE id = ?1")?;
    for id in kept.query_map([&row.id], |it| it.get(0))? {
        let id: String = id?;
        if !row.sessions.iter().any(|it| it.id == id) {
            strike.execute([id])?;
        }
    }
    let mut put = change.prepare_cached(
        "INSERT INTO session (id, sandbox, ordinal, lease_holder, exit_code, record) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET \
         lease_holder = excluded.lease_holder, exit_code = excluded.exit_code, \
         record = excluded.record",
    )?;
    for it in &row.sessions {
        put.execute(params![it.id, row.id, it.ordinal, it.lease_holder, it.exit_code, it.record])?;
    }
    Ok(())
}

/// A name that another has.
const UNIQUE: Option<i32> = Some(rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE);

fn damaged(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn fault(doing: &str, error: &rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Fault::failed(format!("{doing}: the disk is full"))
            .hint("free some disk space, then try again"),
        Some(ErrorCode::ConstraintViolation) if error.sqlite_extended_error_code() == UNIQUE => {
            Fault::busy(format!("{doing}: the name is taken"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            Fault::failed(format!("{doing}: {error}"))
                .hint("make the state directory writable, or set SANDWATCH_HOME to another")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Fault::busy(format!("{doing}: another program holds the registry"))
        }
        _ if damaged(error) => Fault::failed(format!("{doing}: the registry is damaged"))
            .hint("restart the hub (`sandwatch hub stop`): the next one rebuilds it"),
        _ => Fault::failed(format!("{doing}: {error}")),
    }
}

fn open_or_set_aside(path: Option<&Path>) -> Outcome<(Connection, Option<PathBuf>)> {
    match connect(path) {
        Ok(connection) => {
            refuse_newer(&connection)?;
            Ok((connection, None))
        }
        Err(error) if damaged(&error) => {
            let Some(path) = path else { return Err(fault("opening the registry", &error)) };
            let aside = set_aside(path)?;
            let connection =
                connect(Some(path)).map_err(|error| fault("opening a new registry", &error))?;
            Ok((connection, Some(aside)))
        }
        Err(error) => Err(fault("opening the registry", &error)),
    }
}

/// Renames the database and its journals, so that a person can still look into them.
fn set_aside(path: &Path) -> Outcome<PathBuf> {
    let stamp = clock::wall().0;
    let beside = |path: &Path, end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let aside = beside(path, &format!(".corrupt-{stamp}"));
    for end in ["", "-wal", "-shm"] {
        match std::fs::rename(beside(path, end), beside(&aside, end)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Fault::io("setting a damaged registry aside", &error));
            }
            _ => {}
        }
    }
    Ok(aside)
}

fn connect(path: Option<&Path>) -> rusqlite::Result<Connection> {
    let mut connection = match path {
        Some(path) => Connection::open(path)?,
        None => Connection::open_in_memory()?,
    };
    connection.busy_timeout(STORE_BUSY_WITHIN)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))
        .optional()?;
    // A crash of the machine may lose the last changes, never the file; shims are the truth.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let word: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if word != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(code, Some(word)));
    }
    migrate(&mut connection)?;
    Ok(connection)
}

/// The version of a registry that a newer program has changed: what it means by its tables is not known here.
fn refuse_newer(connection: &Connection) -> Outcome<()> {
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| fault("opening the registry", &error))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if version <= known {
        return Ok(());
    }
    Err(Fault::unsupported(format!(
        "the registry is of a newer version of sandwatch: {version}, and this one knows {known}"
    ))
    .hint("start the newer one, or set SANDWATCH_HOME to another directory"))
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(0);
    for (index, step) in MIGRATIONS.iter().enumerate().skip(done) {
        let change = connection.transaction()?;
        change.execute_batch(step)?;
        change.pragma_update(None, "user_version", i64::try_from(index + 1).unwrap_or(i64::MAX))?;
        change.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
