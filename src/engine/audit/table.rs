//! The audit record on disk: one table that is only added to. It reads whatever somebody made of it, so that this
//! can be found out.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params, types::ValueRef};

use crate::{
    base::{
        clock::Timestamp,
        fault::Outcome,
        limits::{AUDIT_PAGE, PROJECTS_MAX},
        text::cut,
    },
    engine::store::Store,
    model::{
        audit::{Act, Entry, Head, Value},
        chain,
    },
};

/// The triggers are against mistakes; against intent there is the chain.
pub(in crate::engine) const TABLE: &str = "
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        -- A JSON object.
        details TEXT NOT NULL,
        prev TEXT NOT NULL,
        hash TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_policy ON audit (seq) WHERE action GLOB 'policy.*';
    CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit record is only added to'); END;
    CREATE TRIGGER audit_is_whole BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit record is only added to'); END;
";

pub(in crate::engine) const COLUMNS: &str = "seq, at, actor, action, subject, details, prev, hash";

/// Adds an entry, within whatever is under way.
pub(in crate::engine) fn append(connection: &Connection, act: Act) -> rusqlite::Result<()> {
    let it = chain::seal(&head(connection)?, act);
    let details = details_out(&it.act.details);
    let put = "INSERT INTO audit (seq, at, actor, action, subject, details, prev, hash) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let Act { at, actor, action, subject, .. } = &it.act;
    let row = params![it.seq, at.0, actor, action, subject, details, it.prev, it.hash];
    connection.prepare_cached(put)?.execute(row).map(drop)
}

fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let read = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
    let mut read = connection.prepare_cached(read)?;
    let last = read.query_row([], |row| Ok(Head { seq: row.get(0)?, hash: text(row, 1)? }));
    Ok(last.optional()?.unwrap_or_else(Head::none))
}

/// Reads one row of `COLUMNS`.
pub(in crate::engine) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let details = details_in(&text(row, 5)?);
    let (actor, action, subject) = (text(row, 2)?, text(row, 3)?, text(row, 4)?);
    let act = Act { at: Timestamp(row.get(1)?), actor, action, subject, details };
    Ok(Entry { seq: row.get(0)?, act, prev: text(row, 6)?, hash: text(row, 7)? })
}

/// Bytes that are no text become some that have another hash.
fn text(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    match row.get_ref(at)? {
        ValueRef::Text(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        _ => row.get(at),
    }
}

fn details_out(details: &BTreeMap<String, Value>) -> String {
    let value = |it: &Value| match it {
        Value::Text(text) => serde_json::Value::from(text.as_str()),
        Value::Number(number) => serde_json::Value::from(*number),
        Value::List(texts) => serde_json::Value::from(texts.as_slice()),
    };
    let pairs = details.iter().map(|(key, it)| (key.clone(), value(it)));
    serde_json::Value::Object(pairs.collect()).to_string()
}

/// What was written otherwise than by `details_out` is shown as it is, and has another hash.
fn details_in(text: &str) -> BTreeMap<String, Value> {
    let read = serde_json::from_str(text).ok().and_then(read_details);
    read.filter(|it| details_out(it) == text)
        .unwrap_or_else(|| BTreeMap::from([("unreadable".to_owned(), Value::from(cut(text, 256)))]))
}

fn read_details(json: serde_json::Value) -> Option<BTreeMap<String, Value>> {
    let serde_json::Value::Object(pairs) = json else { return None };
    let value = |it| {
        Some(match it {
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Number(number) => Value::Number(number.as_u64()?),
            serde_json::Value::Array(all) => {
                let texts = all.into_iter().map(|it| match it {
                    serde_json::Value::String(text) => Some(text),
                    _ => None,
                });
                Value::List(texts.collect::<Option<_>>()?)
            }
            _ => return None,
        })
    };
    pairs.into_iter().map(|(key, it)| Some((key, value(it)?))).collect()
}

impl Store {
    /// Adds entries, in this order: all or none.
    pub(in crate::engine) async fn record(&self, acts: Vec<Act>) -> Outcome<()> {
        self.run("writing the audit record", move |connection| {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            acts.into_iter().try_for_each(|it| append(&change, it))?;
            change.commit()
        })
        .await
    }

    pub(in crate::engine) async fn audit_head(&self) -> Outcome<Head> {
        self.look(READING, |connection| head(connection)).await
    }

    /// The entries after this one, in order; fewer than a page at the end.
    pub(super) async fn audit_after(&self, seq: Option<i64>) -> Outcome<Vec<Entry>> {
        self.look(READING, move |connection| {
            let after = if seq.is_some() { "WHERE seq > ?1" } else { "WHERE ?1 IS NULL" };
            page(connection, &format!("{after} ORDER BY seq"), seq)
        })
        .await
    }

    /// The entries before this one, or before the end, the newest first.
    pub(super) async fn audit_before(&self, seq: Option<i64>) -> Outcome<Vec<Entry>> {
        self.look(READING, move |connection| {
            let before = if seq.is_some() { "WHERE seq < ?1" } else { "WHERE ?1 IS NULL" };
            page(connection, &format!("{before} ORDER BY seq DESC"), seq)
        })
        .await
    }

    /// The newest entry about each file of rules.
    pub(in crate::engine) async fn last_policies(&self) -> Outcome<Vec<Act>> {
        self.look(READING, |connection| {
            let read = format!(
                "SELECT {COLUMNS} FROM audit WHERE seq IN (SELECT MAX(seq) FROM audit \
                 WHERE action GLOB 'policy.*' GROUP BY subject) ORDER BY seq DESC LIMIT {PROJECTS_MAX}"
            );
            let mut read = connection.prepare(&read)?;
            read.query_map([], |row| Ok(entry(row)?.act))?.collect()
        })
        .await
    }

    /// What the whole registry takes on disk, in bytes.
    pub(in crate::engine) async fn bytes(&self) -> Outcome<u64> {
        self.look(READING, |connection| {
            let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            Ok(pages.saturating_mul(size).max(0).cast_unsigned())
        })
        .await
    }
}

const READING: &str = "reading the audit record";

fn page(connection: &Connection, which: &str, seq: Option<i64>) -> rusqlite::Result<Vec<Entry>> {
    let read = format!("SELECT {COLUMNS} FROM audit {which} LIMIT {AUDIT_PAGE}");
    let mut read = connection.prepare_cached(&read)?;
    read.query_map([seq], entry)?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::Action;

    fn act(subject: &str) -> Act {
        Act::new(Timestamp(7), "a\u{202e}\n\"b", Action::ProgramRun, subject)
            .with("command", vec!["sh".to_owned(), "-c".to_owned(), "\u{7}\u{7f}é".to_owned()])
            .with("uid", u64::MAX)
            .with("from", "unix")
    }

    async fn filled(count: usize) -> Store {
        let store = Store::open(None).await.unwrap().store;
        for at in 0..count {
            store.record(vec![act(&format!("{at}"))]).await.unwrap();
        }
        store
    }

    async fn all(store: &Store) -> Vec<Entry> {
        let mut all = Vec::new();
        loop {
            let page = store.audit_after(all.last().map(|it: &Entry| it.seq)).await.unwrap();
            let last = page.len() < AUDIT_PAGE;
            all.extend(page);
            if last {
                return all;
            }
        }
    }

    async fn verified(store: &Store) -> Result<Head, chain::Flaw> {
        let mut verifier = chain::Verifier::new(None);
        for it in all(store).await {
            verifier.take(&it)?;
        }
        verifier.end()
    }

    async fn sql(store: &Store, text: &'static str) -> Outcome<()> {
        store.run("tampering", move |it| it.execute_batch(text)).await
    }

    #[tokio::test]
    async fn entries_come_back_as_they_were_written_in_pages() {
        let store = filled(2 * AUDIT_PAGE + 3).await;
        let all = all(&store).await;
        assert_eq!(all.len(), 2 * AUDIT_PAGE + 3);
        assert_eq!(all[5].act, act("5"));
        let head = verified(&store).await.unwrap();
        assert_eq!(store.audit_head().await.unwrap(), head);
        assert_eq!(head.seq, i64::try_from(all.len()).unwrap());
        let newest = store.audit_before(None).await.unwrap();
        assert_eq!((newest.len(), newest[0].seq), (AUDIT_PAGE, head.seq));
        let older = store.audit_before(Some(3)).await.unwrap();
        assert_eq!(older.iter().map(|it| it.seq).collect::<Vec<_>>(), [2, 1]);
        assert!(store.bytes().await.unwrap() > 10_000);
    }

    #[tokio::test]
    async fn the_table_is_only_added_to_and_who_forces_it_is_found() {
        let tampering = [
            ("UPDATE audit SET actor = 'x' WHERE seq = 4", 4),
            ("UPDATE audit SET at = at + 1 WHERE seq = 4", 4),
            ("UPDATE audit SET details = replace(details, 'unix', 'hub') WHERE seq = 4", 4),
            ("UPDATE audit SET details = ' ' || details WHERE seq = 4", 4),
            ("UPDATE audit SET details = '{\"unreadable\":\"x\"}' WHERE seq = 4", 4),
            ("UPDATE audit SET details = 'null' WHERE seq = 4", 4),
            ("UPDATE audit SET subject = cast(x'ff' AS TEXT) WHERE seq = 4", 4),
            ("UPDATE audit SET hash = prev WHERE seq = 4", 4),
            ("DELETE FROM audit WHERE seq = 4", 4),
            ("DELETE FROM audit WHERE seq < 4", 1),
            ("UPDATE audit SET seq = -3 WHERE seq = 4", -3),
        ];
        for (tampering, seq) in tampering {
            let store = filled(9).await;
            let refused = sql(&store, tampering).await.unwrap_err();
            assert!(refused.message().contains("only added to"), "{refused}");
            assert!(verified(&store).await.is_ok());
            sql(&store, "DROP TRIGGER audit_stays; DROP TRIGGER audit_is_whole").await.unwrap();
            sql(&store, tampering).await.unwrap();
            assert_eq!(verified(&store).await.unwrap_err().seq, seq, "{tampering}");
            // What comes after is written all the same.
            store.record(vec![act("more")]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn of_several_entries_all_are_written_or_none() {
        let store = filled(1).await;
        sql(
            &store,
            "CREATE TRIGGER full BEFORE INSERT ON audit WHEN NEW.subject = 'third' \
             BEGIN SELECT RAISE(FAIL, 'no'); END",
        )
        .await
        .unwrap();
        let acts = ["second", "third"].map(act).to_vec();
        assert!(store.record(acts).await.is_err());
        assert_eq!(store.audit_head().await.unwrap().seq, 1);
        assert!(verified(&store).await.is_ok());
    }
}
