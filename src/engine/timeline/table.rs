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
        event::Level,
        session::Status,
        timeline::{Happening, Kind, Mark, Place, Source, TimelineRequest},
    },
};

/// The sandbox of an entry of the audit record, where its details can be read.
const AUDIT_SANDBOX_NAME: &str =
    "CASE WHEN json_valid(details) THEN json_extract(details, '$.sandbox') END";
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

/// The names of sandboxes in the audit record, by which one that is gone is found.
pub(in crate::engine) const BY_NAME: &str = "
    CREATE INDEX audit_sandbox_name ON audit (
        CASE WHEN json_valid(details) THEN json_extract(details, '$.sandbox') END, seq);
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
                let meant = words::ACTS.iter().filter(|it| request.wants(it.kind));
                out.any("action", meant.map(|it| it.action.word()));
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
    Ok(Mark { audit: last("audit", "seq")?, hub: last("happening", "id")?, files: 0 })
}

/// Reads the newest entry about a sandbox, by a column that is written as its index has it.
fn newest_in_audit(column: &str) -> String {
    format!("SELECT {AUDIT_SANDBOX} FROM audit WHERE {column} = ?1 ORDER BY seq DESC LIMIT 1")
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
        self.look(READING, move |connection| {
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
        self.look(READING, move |connection| {
            let by_name =
                "SELECT sandbox FROM happening WHERE sandbox_name = ?1 AND sandbox IS NOT NULL \
                 ORDER BY id DESC LIMIT 1";
            let by_id = "SELECT sandbox FROM happening WHERE sandbox = ?1 LIMIT 1";
            let (name, id) = (newest_in_audit(AUDIT_SANDBOX_NAME), newest_in_audit(AUDIT_SANDBOX));
            for text in [by_name, by_id, &name, &id] {
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
        self.look(READING, |connection| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::{Act, Action};

    fn act(at: i64, sandbox: &str) -> Act {
        let act = Act::new(Timestamp(at), "alice", Action::SandboxPaused, sandbox);
        act.with("sandbox", sandbox).with("sandbox_id", format!("id-{sandbox}"))
    }

    fn own(at: i64, sandbox: &str) -> Happening {
        Happening {
            sandbox: SandboxId::parse(&format!("id-{sandbox}")),
            sandbox_name: Some(sandbox.to_owned()),
            session: SessionId::parse(&format!("p-{sandbox}")),
            status: Some(Status::Idle),
            ..Happening::new(Timestamp(at), Kind::Status, "status.changed", "so")
        }
    }

    async fn sql(store: &Store, text: &'static str) {
        store.run("preparing", move |it| it.execute_batch(text)).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_is_gone_is_found_without_reading_the_whole_record() {
        let store = filled().await;
        assert_eq!(store.sandbox_that_was("two".to_owned()).await.unwrap().unwrap(), "id-two");
        assert_eq!(store.sandbox_that_was("nobody".to_owned()).await.unwrap(), None);
        for (column, index) in
            [(AUDIT_SANDBOX_NAME, "audit_sandbox_name"), (AUDIT_SANDBOX, "audit_sandbox ")]
        {
            let text = format!("EXPLAIN QUERY PLAN {}", newest_in_audit(column));
            let plan = store
                .look("explaining", move |it| {
                    it.query_row(&text, ["x"], |row| row.get::<_, String>(3))
                })
                .await
                .unwrap();
            assert!(plan.starts_with("SEARCH") && plan.contains(index), "{plan}");
        }
    }

    /// Both records, with moments that they share.
    async fn filled() -> Store {
        let store = Store::open(None).await.unwrap().store;
        for at in 0..10 {
            for name in ["one", "two"] {
                store.record(vec![act(at / 2, name)]).await.unwrap();
                store.put_happenings(vec![own(at / 3, name)]).await.unwrap();
            }
        }
        store
    }

    async fn pages(store: &Store, request: TimelineRequest, sandbox: Option<&str>) -> Vec<Place> {
        let (mut all, mut before) = (Vec::new(), None);
        loop {
            let request = TimelineRequest { before, most: 3, ..request.clone() };
            let sandbox = sandbox.map(str::to_owned);
            let (mut page, _) = store.happenings(request, sandbox).await.unwrap();
            page.sort_by_key(|it| std::cmp::Reverse(it.place));
            page.truncate(3);
            let Some(last) = page.last() else { return all };
            before = Some(last.place);
            all.extend(page.iter().map(|it| it.place));
        }
    }

    #[tokio::test]
    async fn pages_of_both_records_have_each_entry_once_and_in_order() {
        let store = filled().await;
        let all = pages(&store, TimelineRequest::default(), None).await;
        assert_eq!(all.len(), 40);
        assert!(all.windows(2).all(|it| it[0] > it[1]), "{all:?}");
        let one = pages(&store, TimelineRequest::default(), Some("id-one")).await;
        assert_eq!(one.len(), 20);
        let only = |kinds: Vec<Kind>| TimelineRequest { kinds, ..TimelineRequest::default() };
        assert_eq!(pages(&store, only(vec![Kind::Status]), None).await.len(), 20);
        assert_eq!(pages(&store, only(vec![Kind::Sandbox]), Some("id-two")).await.len(), 10);
        assert_eq!(pages(&store, only(vec![Kind::Gauge]), None).await.len(), 0);
        let between = TimelineRequest {
            since: Some(Timestamp(1)),
            until: Some(Timestamp(1)),
            session: SessionId::parse("p-one"),
            ..TimelineRequest::default()
        };
        // Two of the audit record for each, of which none names a session, and three of its own.
        assert_eq!(pages(&store, between, Some("id-one")).await.len(), 5);
    }

    #[tokio::test]
    async fn the_bounds_hold_and_what_is_new_stays() {
        let store = Store::open(None).await.unwrap().store;
        sql(
            &store,
            "WITH RECURSIVE nth(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM nth WHERE n < 20100) \
             INSERT INTO happening (at, sandbox, kind, what, level, text, left_out) \
             SELECT 1000 + n, 'loud', 'status', 'status.changed', 'info', 'so', 0 FROM nth",
        )
        .await;
        store.put_happenings(vec![own(5, "old"), own(2000, "calm")]).await.unwrap();
        assert_eq!(store.forget_happenings(Timestamp(1000)).await.unwrap(), 101);
        assert_eq!(store.forget_happenings(Timestamp(1000)).await.unwrap(), 0);
        let newest = |of: &'static str| {
            let request = TimelineRequest { most: 1, ..TimelineRequest::default() };
            store.happenings(request, Some(of.to_owned()))
        };
        assert_eq!(newest("loud").await.unwrap().0[0].place.at, Timestamp(21_100));
        assert_eq!(newest("id-calm").await.unwrap().0.len(), 1);
        assert_eq!(newest("id-old").await.unwrap().0.len(), 0);
    }

    #[tokio::test]
    async fn an_audit_record_that_somebody_spoiled_is_listed_and_stops_nothing() {
        let store = filled().await;
        sql(
            &store,
            "DROP INDEX audit_sandbox; DROP TRIGGER audit_stays; \
             UPDATE audit SET details = 'no json' WHERE seq = 1; \
             UPDATE audit SET details = '[1]', action = 'x.y' WHERE seq = 2; \
             CREATE INDEX audit_sandbox ON audit \
             (CASE WHEN json_valid(details) THEN json_extract(details, '$.sandbox_id') END, at, seq)",
        )
        .await;
        let all = pages(&store, TimelineRequest::default(), None).await;
        assert_eq!(all.len(), 40);
        assert_eq!(pages(&store, TimelineRequest::default(), Some("id-one")).await.len(), 19);
        assert_eq!(
            store.sandbox_that_was("two".to_owned()).await.unwrap().as_deref(),
            Some("id-two")
        );
        assert_eq!(store.sandbox_that_was("three".to_owned()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_sign_of_an_operator_is_kept_and_never_goes_back() {
        let store = Store::open(None).await.unwrap().store;
        let sign = |name: &str, at: Option<i64>| store.sign_of(name.to_owned(), at.map(Timestamp));
        assert_eq!(sign("alice", Some(7)).await.unwrap(), None);
        assert_eq!(sign("alice", Some(5)).await.unwrap(), Some(Timestamp(7)));
        assert_eq!(sign("alice", None).await.unwrap(), Some(Timestamp(7)));
        for number in 0..300 {
            sign(&format!("bob {number}"), Some(10 + number)).await.unwrap();
        }
        assert_eq!(sign("alice", None).await.unwrap(), None, "the oldest goes first");
        assert_eq!(sign("bob 299", None).await.unwrap(), Some(Timestamp(309)));
    }
}
