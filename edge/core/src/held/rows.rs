//! [`Held`] as indexed rows: for many short-lived instances that share one database and no memory (Spin).
//!
//! Every change is one statement, since those of concurrent requests interleave; sets go in as JSON.

use playhead_shared::id::{AccountId, ProfileId};
use playhead_shared::register::Register;
use playhead_shared::time::Millis;
use serde_json::json;

use super::{Change, Held, HeldError, Holding, Item, KEEP_SETTLED_MS, Key, Learnt};
use crate::answer::hex;
use crate::flush::PUT_ASIDE_MS;
use crate::host::{Sql, SqlError, Value};

/// The most registers that may wait for the origin, about 400 bytes each: past it the edge answers 503.
const MOST_PENDING: i64 = 1_000_000;

const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS held (
        account TEXT NOT NULL, profile TEXT NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL,
        register BLOB NOT NULL, due INTEGER, settled_at INTEGER,
        PRIMARY KEY (account, profile, kind, name)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS held_due ON held (due) WHERE due IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS flushing (
        one INTEGER PRIMARY KEY CHECK (one = 1), not_before INTEGER NOT NULL, failures INTEGER NOT NULL,
        too_full INTEGER NOT NULL)",
];

/// What is held, in the tables `held` and `flushing`.
pub struct Rows<S> {
    sql: S,
}

impl<S: Sql> Rows<S> {
    /// Opens the tables, and makes them where they are missing.
    pub async fn open(sql: S) -> Result<Self, SqlError> {
        for statement in SCHEMA {
            sql.run(statement, Vec::new()).await?;
        }
        Ok(Self { sql })
    }

    async fn run(&self, statement: &str, params: Vec<Value>) -> Result<Vec<Vec<Value>>, HeldError> {
        Ok(self.sql.run(statement, params).await?)
    }

    /// Changes when the rows that still hold what was sent are due; `change` has the time as `?2`.
    async fn reschedule(&self, sent: Vec<(Key, Register)>, change: &str, at: Millis) -> Result<(), HeldError> {
        let rows = json_rows(sent.into_iter().map(|(key, register)| (key, register, None)));
        let update = format!(
            "UPDATE held SET {change} FROM json_each(?1) AS sent
             WHERE account = sent.value->>0 AND profile = sent.value->>1 AND kind = sent.value->>2
               AND name = sent.value->>3 AND register = unhex(sent.value->>4) AND due IS NOT NULL"
        );
        self.run(&update, vec![rows, integer(at)]).await.map(drop)
    }
}

impl<S: Sql> Held for Rows<S> {
    async fn merge(&self, changes: Vec<Change>) -> Result<(), HeldError> {
        if changes.is_empty() {
            return Ok(());
        }
        let rows = json_rows(changes.into_iter().map(|c| (c.key, c.register, Some(c.due))));
        let taken = self.run(
            "INSERT INTO held (account, profile, kind, name, register, due)
             SELECT value->>0, value->>1, value->>2, value->>3, unhex(value->>4), value->>5 FROM json_each(?1)
             WHERE NOT EXISTS (SELECT 1 FROM flushing WHERE too_full)
             ON CONFLICT (account, profile, kind, name) DO UPDATE SET
                due = CASE WHEN excluded.register > register THEN min(coalesce(due, excluded.due), excluded.due)
                      WHEN excluded.register = register THEN min(due, excluded.due) ELSE due END,
                settled_at = CASE WHEN excluded.register > register THEN NULL ELSE settled_at END,
                register = max(register, excluded.register)
             RETURNING 1",
            vec![rows],
        );
        if taken.await?.is_empty() { Err(HeldError::Full) } else { Ok(()) }
    }

    async fn learn(&self, learnt: Learnt) -> Result<(), HeldError> {
        let at = integer(learnt.requested_at);
        let rows = json_rows(learnt.answer.into_iter().map(|(key, register)| (key, register, None)));
        if !learnt.asked.is_empty() {
            let asked = json_rows(learnt.asked.into_iter().map(|key| (key, EMPTY.clone(), None)));
            self.run(
                "DELETE FROM held WHERE due IS NULL AND settled_at < ?2 AND (account, profile, kind, name) IN
                    (SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each(?1))",
                vec![asked, at.clone()],
            )
            .await?;
        }
        self.run(
            "INSERT INTO held (account, profile, kind, name, register, settled_at)
             SELECT value->>0, value->>1, value->>2, value->>3, unhex(value->>4), ?2 FROM json_each(?1) WHERE true
             ON CONFLICT (account, profile, kind, name) DO UPDATE SET
                due = CASE WHEN excluded.register > register THEN NULL ELSE due END,
                settled_at = CASE WHEN excluded.register > register THEN excluded.settled_at ELSE settled_at END,
                register = max(register, excluded.register)",
            vec![rows, at],
        )
        .await
        .map(drop)
    }

    async fn read(&self, account: &AccountId, profile: &ProfileId) -> Result<Vec<Holding>, HeldError> {
        let rows = self.run(
            "SELECT account, profile, kind, name, register, due IS NOT NULL FROM held
             WHERE account = ?1 AND profile IN ('', ?2)",
            vec![Value::Text(account.to_string()), Value::Text(profile.to_string())],
        );
        let holding = |mut row: Vec<Value>| {
            let pending = row.pop() == Some(Value::Integer(1));
            keyed(row).map(|(key, register)| Holding { item: key.item, register, pending })
        };
        Ok(rows.await?.into_iter().filter_map(holding).collect())
    }

    async fn next_due(&self) -> Result<Option<Millis>, HeldError> {
        let next = "SELECT max(due, coalesce((SELECT not_before FROM flushing), 0))
                    FROM held WHERE due IS NOT NULL ORDER BY due LIMIT 1";
        let rows = self.run(next, Vec::new()).await?;
        Ok(rows.first().and_then(|row| row.first()).and_then(millis))
    }

    async fn due(&self, now: Millis, limit: usize) -> Result<Vec<(Key, Register)>, HeldError> {
        let due = "SELECT account, profile, kind, name, register FROM held WHERE due <= ?1 ORDER BY due LIMIT ?2";
        let rows = self.run(due, vec![integer(now), Value::Integer(limit as i64)]).await?;
        let (found, unread): (Vec<_>, Vec<_>) =
            rows.into_iter().map(|row| (name(&row), keyed(row))).partition(|(_, row)| row.is_some());
        if !unread.is_empty() {
            // They wait for the version that wrote them, and must not stand before what this one can send.
            let unread = serde_json::Value::from_iter(unread.into_iter().map(|(name, _)| name));
            self.run(
                "UPDATE held SET due = ?2 WHERE due IS NOT NULL AND (account, profile, kind, name) IN
                    (SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each(?1))",
                vec![Value::Text(unread.to_string()), integer(now.plus(PUT_ASIDE_MS))],
            )
            .await?;
        }
        Ok(found.into_iter().filter_map(|(_, row)| row).collect())
    }

    async fn settle(&self, sent: Vec<(Key, Register)>, now: Millis) -> Result<(), HeldError> {
        self.reschedule(sent, "due = NULL, settled_at = ?2", now).await
    }

    async fn put_aside(&self, unread: Vec<(Key, Register)>, due: Millis) -> Result<(), HeldError> {
        self.reschedule(unread, "due = ?2", due).await
    }

    async fn claim(&self, now: Millis, until: Millis) -> Result<Option<u32>, HeldError> {
        let rows = self.run(
            "INSERT INTO flushing (one, not_before, failures, too_full) VALUES (1, ?2, 0, 0)
             ON CONFLICT (one) DO UPDATE SET not_before = ?2 WHERE not_before <= ?1
             RETURNING failures",
            vec![integer(now), integer(until)],
        );
        Ok(match rows.await?.first().and_then(|row| row.first()) {
            Some(Value::Integer(failures)) => Some(u32::try_from(*failures).unwrap_or(u32::MAX)),
            _ => None,
        })
    }

    async fn release(&self, next: Millis, failures: u32) -> Result<(), HeldError> {
        // Counting is a walk over the index of what is pending: done only while the origin is away.
        self.run(
            "UPDATE flushing SET not_before = ?1, failures = ?2,
                too_full = ?2 > 0 AND (SELECT count(*) FROM held WHERE due IS NOT NULL) > ?3",
            vec![integer(next), Value::Integer(i64::from(failures)), Value::Integer(MOST_PENDING)],
        )
        .await
        .map(drop)
    }

    async fn sweep(&self, now: Millis) -> Result<(), HeldError> {
        let old = integer(now.minus(KEEP_SETTLED_MS));
        self.run("DELETE FROM held WHERE due IS NULL AND settled_at < ?1", vec![old]).await.map(drop)
    }
}

static EMPTY: std::sync::LazyLock<Register> = std::sync::LazyLock::new(|| super::asked_register(Millis(0)));

fn integer(time: Millis) -> Value {
    Value::Integer(time.0 as i64)
}

fn millis(value: &Value) -> Option<Millis> {
    match value {
        Value::Integer(ms) => u64::try_from(*ms).ok().map(Millis),
        _ => None,
    }
}

/// Rows as one JSON parameter: `[account, profile, kind, name, register in hex, due]` each.
fn json_rows(rows: impl Iterator<Item = (Key, Register, Option<Millis>)>) -> Value {
    let rows: Vec<_> = rows
        .map(|(key, register, due)| {
            let (profile, kind, name) = key.item.parts();
            json!([key.account, profile, kind, name, hex(register.as_bytes()), due])
        })
        .collect();
    Value::Text(serde_json::Value::Array(rows).to_string())
}

/// The first four columns of such a row, as [`json_rows`] has them.
fn name(row: &[Value]) -> serde_json::Value {
    let column = |value: &Value| match value {
        Value::Text(text) => json!(text),
        Value::Integer(number) => json!(number),
        _ => serde_json::Value::Null,
    };
    row.iter().take(4).map(column).collect()
}

/// A row of account, profile, kind, name, register. What a newer version left there is kept for it, unseen.
fn keyed(row: Vec<Value>) -> Option<(Key, Register)> {
    let [Value::Text(account), Value::Text(profile), Value::Integer(kind), Value::Text(name), Value::Blob(bytes)] =
        <[Value; 5]>::try_from(row).ok()?
    else {
        return None;
    };
    let item = Item::from_parts(&profile, u8::try_from(kind).ok()?, &name).ok()?;
    Some((Key { account: account.parse().ok()?, item }, Register::from_bytes(bytes).ok()?))
}
