//! How often rules answered, and when last: a small table of the registry.

use rusqlite::{OptionalExtension, Transaction, params};

use super::store::Store;
use crate::base::{fault::Outcome, limits::RULE_HITS_KEPT};

pub(super) const TABLE: &str = "
    -- Of rules by their file and id, those that answered last.
    CREATE TABLE rule_hit (
        file TEXT NOT NULL,
        id TEXT NOT NULL,
        hits INTEGER NOT NULL,
        last_at INTEGER NOT NULL,
        PRIMARY KEY (file, id)
    ) STRICT;
    CREATE INDEX rule_hit_last ON rule_hit (last_at);
";

/// Of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hits {
    pub file: String,
    pub id: String,
    pub hits: u64,
    pub last_at: i64,
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Hits> {
    let hits: i64 = row.get(2)?;
    let hits = hits.max(0).cast_unsigned();
    Ok(Hits { file: row.get(0)?, id: row.get(1)?, hits, last_at: row.get(3)? })
}

/// Rules that have answered, by their files and ids, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub rules: Vec<(String, String)>,
    pub at: i64,
    pub times: u64,
}

/// They have answered so many times more. When there is a new one among them, those that answered longest ago make room.
pub(super) fn count(change: &Transaction<'_>, answered: &Answered) -> rusqlite::Result<()> {
    let put = "INSERT INTO rule_hit (file, id, hits, last_at) VALUES (?1, ?2, ?4, ?3) \
               ON CONFLICT (file, id) DO UPDATE SET hits = hits + ?4, last_at = MAX(last_at, ?3) \
               RETURNING hits";
    let mut put = change.prepare_cached(put)?;
    let times = i64::try_from(answered.times).unwrap_or(i64::MAX);
    let mut fresh = false;
    for (file, id) in &answered.rules {
        let hits: i64 = put.query_row(params![file, id, answered.at, times], |row| row.get(0))?;
        fresh |= hits == times;
    }
    if fresh {
        let old = "DELETE FROM rule_hit WHERE rowid IN (SELECT rowid FROM rule_hit \
                   ORDER BY last_at DESC, rowid DESC LIMIT -1 OFFSET ?1)";
        let kept = i64::try_from(RULE_HITS_KEPT).unwrap_or(i64::MAX);
        change.prepare_cached(old)?.execute([kept])?;
    }
    Ok(())
}

impl Store {
    pub(super) async fn rule_hits(&self) -> Outcome<Vec<Hits>> {
        self.run("reading what rules answered", |connection| {
            let read = "SELECT file, id, hits, last_at FROM rule_hit";
            connection.prepare_cached(read)?.query_map([], row)?.collect()
        })
        .await
    }

    /// Of a rule that is no more, with what was known of it.
    pub(super) async fn forget_hits(&self, file: String, id: String) -> Outcome<Option<Hits>> {
        self.run("forgetting what a rule answered", move |connection| {
            let gone = "DELETE FROM rule_hit WHERE file = ?1 AND id = ?2 \
                        RETURNING file, id, hits, last_at";
            connection.prepare_cached(gone)?.query_row([&file, &id], row).optional()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(store: &Store, rules: Vec<(String, String)>, at: i64) {
        let answered = Answered { rules, at, times: 1 };
        let counted = store.run("counting", move |connection| {
            let change = connection.transaction()?;
            count(&change, &answered)?;
            change.commit()
        });
        counted.await.unwrap();
    }

    #[tokio::test]
    async fn answers_are_counted_by_file_and_id_and_only_so_many_rules_are_kept() {
        let store = Store::open(None).await.unwrap().store;
        let name = |file: &str, id: &str| (file.to_owned(), id.to_owned());
        for at in 1..4 {
            answer(&store, vec![name("a", "x"), name("b", "x")], at).await;
        }
        answer(&store, vec![name("a", "x")], 9).await;
        let mut all = store.rule_hits().await.unwrap();
        all.sort_by(|a, b| a.file.cmp(&b.file));
        let told: Vec<_> = all.iter().map(|it| (it.file.as_str(), it.hits, it.last_at)).collect();
        assert_eq!(told, [("a", 4, 9), ("b", 3, 3)]);
        let gone = store.forget_hits("a".to_owned(), "x".to_owned()).await.unwrap();
        assert_eq!(gone.map(|it| it.hits), Some(4));
        assert_eq!(store.forget_hits("a".to_owned(), "x".to_owned()).await.unwrap(), None);
        let many = (0..RULE_HITS_KEPT).map(|it| name("c", &it.to_string())).collect();
        answer(&store, many, 10).await;
        let all = store.rule_hits().await.unwrap();
        assert!(all.len() == RULE_HITS_KEPT && all.iter().all(|it| it.file == "c"));
    }
}
