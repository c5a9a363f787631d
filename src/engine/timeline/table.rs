//! What nobody decided, on disk: changes of status, ends of programs, notices. A table with a bound, read together with the
//! audit record in one order.

use rusqlite::{
    Connection, OptionalExtension, Row, ToSql, params, params_from_iter, types::Value as Sql,
};

use super::words;
use crate::{
    base::{
        clock::Timestamp,
        fault::Outcome,
        id::{SandboxId, SessionId},
        limits::{OPERATORS_MAX, TIMELINE_OF_ALL_MAX, TIMELINE_OF_ONE_MAX},
    },
    engine::{audit::table as audit, store::Store},
    model::{
        audit::Action,
        event::Level,
        session::Status,
        timeline::{Happening, Kind, Mark, Place, Source, TimelineRequest},
    },
};

/// The sandbox of an entry of the audit record, where its details can be read.
const AUDIT_SANDBOX: &str =
    "CASE WHEN json_valid(details) THEN json_extract(details, '$.sandbox_id') END";
const AUDIT_SESSION: &str =
    "CASE WHEN json_valid(details) THEN json_extract(details, '$.session') END";

pub(in crate::engine) const TABLE: &str = "
    -- Outlives its sandbox, as recordings do, and is kept within bounds.
    CREATE TABLE happening (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        sandbox TEXT,
        sandbox_name TEXT,
        session TEXT,
        kind TEXT NOT NULL,
        what TEXT NOT NULL,
        level TEXT NOT NULL,
        status TEXT,
        actor TEXT,
        text TEXT NOT NULL,
        left_out INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX happening_at ON happening (at, id);
    CREATE INDEX happening_sandbox ON happening (sandbox, at, id);
    CREATE INDEX happening_name ON happening (sandbox_name, id);
    CREATE INDEX happening_status ON happening (session, id) WHERE status IS NOT NULL;
    -- The audit record in the order of its clock, and by sandbox; where somebody wrote what is no JSON, by none.
    CREATE INDEX audit_at ON audit (at, seq);
    CREATE INDEX audit_sandbox ON audit (
        CASE WHEN json_valid(details) THEN json_extract(details, '$.sandbox_id') END, at, seq);
    -- When an operator last gave a sign.
    CREATE TABLE operator (name TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT;
";

const COLUMNS: &str =
    "id, at, sandbox, sandbox_name, session, kind, what, level, status, actor, text, left_out";
const READING: &str = "reading what happened";

fn happening(row: &Row<'_>) -> rusqlite::Result<Happening> {
    let word = |at: usize| row.get::<_, Option<String>>(at);
    let kind: String = row.get(5)?;
    // Of a newer version.
    let kind = Kind::from_word(&kind).unwrap_or(Kind::Notice);
    let at = Timestamp(row.get(1)?);
    Ok(Happening {
        place: Place { at, source: Source::Hub, number: row.get(0)? },
        level: word(7)?.and_then(|it| Level::from_word(&it)).unwrap_or(Level::Info),
        sandbox: word(2)?.and_then(|it| SandboxId::parse(&it)),
        sandbox_name: word(3)?,
        session: word(4)?.and_then(|it| SessionId::parse(&it)),
        status: word(8)?.and_then(|it| Status::from_word(&it)),
        actor: word(9)?,
        left_out: row.get::<_, i64>(11)?.max(0).cast_unsigned(),
        ..Happening::new(at, kind, &row.get::<_, String>(6)?, &row.get::<_, String>(10)?)
    })
}

fn put(connection: &Connection, it: &Happening) -> rusqlite::Result<()> {
    let put = "INSERT INTO happening (at, sandbox, sandbox_name, session, kind, what, level, status, actor, text, \
               left_out) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let row = params![
        it.place.at.0,
        it.sandbox.as_ref().map(SandboxId::as_str),
        it.sandbox_name,
        it.session.as_ref().map(SessionId::as_str),
        it.kind.word(),
        it.what,
        it.level.word(),
        it.status.map(Status::word),
        it.actor,
        it.text,
        i64::try_from(it.left_out).unwrap_or(i64::MAX),
    ];
    connection.prepare_cached(put)?.execute(row).map(drop)
}

/// Conditions of one query, and their values.
struct Which {
    words: Vec<String>,
    values: Vec<Sql>,
}

impl Which {
    fn add(&mut self, words: &str, value: impl Into<Sql>) {
        self.values.push(value.into());
        self.words.push(words.replace('?', &format!("?{}", self.values.len())));
    }

    /// One of several words; none at all means nothing.
    fn any(&mut self, column: &str, words: impl Iterator<Item = &'static str>) {
        let names: Vec<String> = words
            .map(|it| {
                self.values.push(Sql::from(it.to_owned()));
                format!("?{}", self.values.len())
            })
            .collect();
        self.words.push(format!("{column} IN ({})", names.join(", ")));
    }

    fn text(&self) -> String {
        match self.words.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", self.words.join(" AND ")),
        }
    }
}

/// The conditions of a request for one of both tables. `sandbox` is the id of the one that is meant.
fn which(source: Source, request: &TimelineRequest, sandbox: Option<&str>) -> Which {
    let (of, session, number) = match source {
        Source::Audit => (AUDIT_SANDBOX, AUDIT_SESSION, "seq"),
        _ => ("sandbox", "session", "id"),
    };
    let mut out = Which { words: Vec::new(), values: Vec::new() };
    if let Some(id) = sandbox {
        out.add(&format!("{of} = ?"), id.to_owned());
    }
    if let Some(id) = &request.session {
        out.add(&format!("({session} IS NULL OR {session} = ?)"), id.to_string());
    }
    if let Some(at) = request.since {
        out.add("at >= ?", at.0);
    }
    if let Some(at) = request.until {
        out.add("at <= ?", at.0);
    }
    if let Some(mark) = request.written_after {
        let after = if source == Source::Audit { mark.audit } else { mark.hub };
        out.add(&format!("{number} > ?"), after);
    }
    if let Some(place) = request.before {
        match source.cmp(&place.source) {
            std::cmp::Ordering::Less => out.add("at <= ?", place.at.0),
            std::cmp::Ordering::Greater => out.add("at < ?", place.at.0),
            std::cmp::Ordering::Equal => {
                out.add(&format!("(at, {number}) < (?"), place.at.0);
                let last = out.words.pop().unwrap_or_default();
                out.values.push(Sql::from(place.number));
                out.words.push(format!("{last}, ?{})", out.values.len()));
            }
        }
    }
    if !request.kinds.is_empty() {
        match source {
            Source::Audit => {
                let meant = Action::ALL.iter().filter(|it| request.wants(Kind::of_action(**it)));
                out.any("action", meant.map(|it| it.word()));
            }
            _ => out.any("kind", request.kinds.iter().map(|it| it.word())),
        }
    }
    out
}

/// At most so many, in the order they are asked for: the newest first, or those that were written first.
fn read(
    connection: &Connection,
    source: Source,
    request: &TimelineRequest,
    sandbox: Option<&str>,
    most: i64,
) -> rusqlite::Result<Vec<Happening>> {
    let which = which(source, request, sandbox);
    let (columns, table, number) = match source {
        Source::Audit => (audit::COLUMNS, "audit", "seq"),
        _ => (COLUMNS, "happening", "id"),
    };
    let order = match request.written_after {
        Some(_) => number.to_owned(),
        None => format!("at DESC, {number} DESC"),
    };
    let text =
        format!("SELECT {columns} FROM {table} {} ORDER BY {order} LIMIT {most}", which.text());
    let mut read = connection.prepare_cached(&text)?;
    let values: Vec<&dyn ToSql> = which.values.iter().map(|it| it as &dyn ToSql).collect();
    let row = |row: &Row<'_>| match source {
        Source::Audit => audit::entry(row).map(|it| words::of_entry(&it)),
        _ => happening(row),
    };
    read.query_map(params_from_iter(values), row)?.collect()
}

fn mark(connection: &Connection) -> rusqlite::Result<Mark> {
    let last = |table: &str, number: &str| {
        let text = format!("SELECT COALESCE(MAX({number}), 0) FROM {table}");
        connection.query_row(&text, [], |row| row.get::<_, i64>(0))
    };
    Ok(Mark { audit: last("audit", "seq")?, hub: last("happening", "id")? })
}

impl Store {
    /// Writes what happened, in this order: all or none.
    pub(super) async fn put_happenings(&self, all: Vec<Happening>) -> Outcome<()> {
        self.run("writing what happened", move |connection| {
            let change = connection.transaction()?;
            all.iter().try_for_each(|it| put(&change, it))?;
            change.commit()
        })
        .await
    }

    /// What both tables have of this, in one order, and how far they go: one look at both.
    pub(super) async fn happenings(
        &self,
        request: TimelineRequest,
        sandbox: Option<String>,
    ) -> Outcome<(Vec<Happening>, Mark)> {
        self.run(READING, move |connection| {
            let change = connection.transaction()?;
            let mark = mark(&change)?;
            // One more tells that there are more.
            let most = i64::from(request.most) + 1;
            let mut all = Vec::new();
            for source in [Source::Audit, Source::Hub] {
                all.extend(read(&change, source, &request, sandbox.as_deref(), most)?);
            }
            Ok((all, mark))
        })
        .await
    }

    /// The id of a sandbox that is no more, by its name or id; the newest of that name.
    pub(super) async fn sandbox_that_was(&self, typed: String) -> Outcome<Option<String>> {
        self.run(READING, move |connection| {
            let by_name =
                "SELECT sandbox FROM happening WHERE sandbox_name = ?1 AND sandbox IS NOT NULL \
                 ORDER BY id DESC LIMIT 1";
            let by_id = "SELECT sandbox FROM happening WHERE sandbox = ?1 LIMIT 1";
            let in_audit = format!(
                "SELECT {AUDIT_SANDBOX} FROM audit WHERE json_valid(details) \
                 AND (json_extract(details, '$.sandbox') = ?1 OR {AUDIT_SANDBOX} = ?1) \
                 ORDER BY seq DESC LIMIT 1"
            );
            for text in [by_name, by_id, &in_audit] {
                let found = connection.query_row(text, [&typed], |row| row.get(0)).optional()?;
                if let Some(Some(id)) = found {
                    return Ok(Some(id));
                }
            }
            Ok(None)
        })
        .await
    }

    /// The last status that is kept of each session that is registered, and since when.
    pub(in crate::engine) async fn last_statuses(
        &self,
    ) -> Outcome<Vec<(SessionId, Status, Timestamp)>> {
        self.run(READING, |connection| {
            let text = "SELECT session, status, MAX(at) FROM happening WHERE id IN (SELECT MAX(id) FROM happening \
                        WHERE status IS NOT NULL AND session IN (SELECT id FROM session) GROUP BY session) \
                        GROUP BY session";
            let mut read = connection.prepare(text)?;
            let rows = read.query_map([], |row| {
                let (session, status): (Option<String>, String) = (row.get(0)?, row.get(1)?);
                Ok((session, status, Timestamp(row.get(2)?)))
            })?;
            let mut all = Vec::new();
            for row in rows {
                let (session, status, at) = row?;
                let session = session.and_then(|it| SessionId::parse(&it));
                if let (Some(session), Some(status)) = (session, Status::from_word(&status)) {
                    all.push((session, status, at));
                }
            }
            Ok(all)
        })
        .await
    }

    /// Drops what is older than this, and the oldest beyond the bounds.
    pub(super) async fn forget_happenings(&self, before: Timestamp) -> Outcome<usize> {
        self.run("forgetting what happened long ago", move |connection| {
            let change = connection.transaction()?;
            let number = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
            let mut gone =
                change.execute("DELETE FROM happening WHERE at < ?1", params![before.0])?;
            gone += change.execute(
                "DELETE FROM happening WHERE id IN (SELECT id FROM (SELECT id, ROW_NUMBER() OVER \
                 (PARTITION BY sandbox ORDER BY id DESC) AS nth FROM happening) WHERE nth > ?1)",
                params![number(TIMELINE_OF_ONE_MAX)],
            )?;
            gone += change.execute(
                "DELETE FROM happening WHERE id <= (SELECT id FROM happening ORDER BY id DESC \
                 LIMIT 1 OFFSET ?1)",
                params![number(TIMELINE_OF_ALL_MAX)],
            )?;
            change.commit()?;
            Ok(gone)
        })
        .await
    }

    /// When an operator last gave a sign; notes a new one, if there is one, which is never earlier.
    pub(super) async fn sign_of(
        &self,
        operator: String,
        sign: Option<Timestamp>,
    ) -> Outcome<Option<Timestamp>> {
        self.run("noting that somebody is there", move |connection| {
            let change = connection.transaction()?;
            let before = change
                .query_row("SELECT at FROM operator WHERE name = ?1", [&operator], |row| row.get(0))
                .optional()?;
            if let Some(at) = sign {
                let put = "INSERT INTO operator (name, at) VALUES (?1, ?2) \
                           ON CONFLICT (name) DO UPDATE SET at = MAX(at, ?2)";
                change.execute(put, params![operator, at.0])?;
                let old = "DELETE FROM operator WHERE name NOT IN \
                           (SELECT name FROM operator ORDER BY at DESC LIMIT ?1)";
                change.execute(old, params![OPERATORS_MAX])?;
            }
            change.commit()?;
            Ok(before.map(Timestamp))
        })
        .await
    }
}
