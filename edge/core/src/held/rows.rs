//! [`Held`] as indexed rows: for many short-lived instances that share one database and no memory (Spin).
//!
//! Every change is one statement, since those of concurrent requests interleave. Sets go in as `VALUES`, one parameter a
//! column: 500 heartbeats make 12,000, of the 32,766 that SQLite takes.

use std::fmt;

use playhead_shared::id::{AccountId, ProfileId};
use playhead_shared::register::Register;
use playhead_shared::time::Millis;

use super::{Change, Held, HeldError, Holding, Item, KEEP_SETTLED_MS, Key, Learnt, SWEEP_EVERY_MS};
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
        too_full INTEGER NOT NULL DEFAULT 0, swept_at INTEGER NOT NULL DEFAULT 0)",
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

    /// Changes when the rows that still hold what was sent are due; `change` has the time as `?1`.
    async fn reschedule(&self, sent: Vec<(Key, Register)>, change: &str, at: Millis) -> Result<(), HeldError> {
        if sent.is_empty() {
            return Ok(());
        }
        let mut set = Set::of(vec![integer(at)]);
        for (key, register) in sent {
            set.add(names(&key).into_iter().chain([Value::Blob(register.into_bytes())]));
        }
        let update = format!(
            "UPDATE held SET {change} FROM ({set}) AS sent
             WHERE account = column1 AND profile = column2 AND kind = column3 AND name = column4
               AND register = column5 AND due IS NOT NULL"
        );
        self.run(&update, set.params).await.map(drop)
    }
}

impl<S: Sql> Held for Rows<S> {
    async fn merge(&self, changes: Vec<Change>) -> Result<(), HeldError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut set = Set::of(Vec::new());
        for Change { key, register, due } in changes {
            set.add(names(&key).into_iter().chain([Value::Blob(register.into_bytes()), integer(due)]));
        }
        let insert = format!(
            "INSERT INTO held (account, profile, kind, name, register, due)
             SELECT * FROM ({set}) WHERE NOT EXISTS (SELECT 1 FROM flushing WHERE too_full)
             ON CONFLICT (account, profile, kind, name) DO UPDATE SET
                due = CASE WHEN excluded.register > register THEN min(coalesce(due, excluded.due), excluded.due)
                      WHEN excluded.register = register THEN min(due, excluded.due) ELSE due END,
                settled_at = CASE WHEN excluded.register > register THEN NULL ELSE settled_at END,
                register = max(register, excluded.register)
             RETURNING 1"
        );
        if self.run(&insert, set.params).await?.is_empty() { Err(HeldError::Full) } else { Ok(()) }
    }

    async fn learn(&self, learnt: Learnt) -> Result<(), HeldError> {
        let at = integer(learnt.requested_at);
        if !learnt.asked.is_empty() {
            let mut set = Set::of(vec![at.clone()]);
            for key in &learnt.asked {
                set.add(names(key));
            }
            let delete = format!(
                "DELETE FROM held WHERE due IS NULL AND settled_at < ?1 AND (account, profile, kind, name) IN (SELECT * FROM ({set}))"
            );
            self.run(&delete, set.params).await?;
        }
        if learnt.answer.is_empty() {
            return Ok(());
        }
        let mut set = Set::of(vec![at]);
        for (key, register) in learnt.answer {
            set.add(names(&key).into_iter().chain([Value::Blob(register.into_bytes())]));
        }
        let insert = format!(
            "INSERT INTO held (settled_at, account, profile, kind, name, register)
             SELECT ?1, * FROM ({set}) WHERE true
             ON CONFLICT (account, profile, kind, name) DO UPDATE SET
                due = CASE WHEN excluded.register > register THEN NULL ELSE due END,
                settled_at = CASE WHEN excluded.register > register THEN excluded.settled_at ELSE settled_at END,
                register = max(register, excluded.register)"
        );
        self.run(&insert, set.params).await.map(drop)
    }

    async fn read(&self, account: &AccountId, profile: &ProfileId) -> Result<Vec<Holding>, HeldError> {
        let rows = self.run(
            "SELECT kind, name, register, due IS NOT NULL, profile != '' FROM held
             WHERE account = ?1 AND profile IN ('', ?2)",
            vec![Value::Text(account.to_string()), Value::Text(profile.to_string())],
        );
        let holding = |row: Vec<Value>| {
            let [kind, name, register, pending, of_profile] = <[Value; 5]>::try_from(row).ok()?;
            let profile = if of_profile == Value::Integer(1) { profile.as_str() } else { "" };
            let (item, register) = readable(profile, kind, name, register)?;
            Some(Holding { item, register, pending: pending == Value::Integer(1) })
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
        let mut unread = Set::of(vec![integer(now.plus(PUT_ASIDE_MS))]);
        let mut due = Vec::with_capacity(rows.len());
        for row in rows {
            let names = row.iter().take(4).cloned().collect::<Vec<_>>();
            match keyed(row) {
                Some(found) => due.push(found),
                // Left by a newer version, for which it waits; it must not stand before what this one can send.
                None => unread.add(names),
            }
        }
        if unread.rows > 0 {
            let update = format!(
                "UPDATE held SET due = ?1 WHERE due IS NOT NULL AND (account, profile, kind, name) IN (SELECT * FROM ({unread}))"
            );
            self.run(&update, unread.params).await?;
        }
        Ok(due)
    }

    async fn settle(&self, sent: Vec<(Key, Register)>, now: Millis) -> Result<(), HeldError> {
        self.reschedule(sent, "due = NULL, settled_at = ?1", now).await
    }

    async fn put_aside(&self, unread: Vec<(Key, Register)>, due: Millis) -> Result<(), HeldError> {
        self.reschedule(unread, "due = ?1", due).await
    }

    async fn claim(&self, now: Millis, until: Millis) -> Result<Option<u32>, HeldError> {
        let rows = self.run(
            "INSERT INTO flushing (one, not_before, failures) VALUES (1, ?2, 0)
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
        let turn = self.run(
            "UPDATE flushing SET swept_at = ?1 WHERE swept_at <= ?2 RETURNING 1",
            vec![integer(now), integer(now.minus(SWEEP_EVERY_MS))],
        );
        if turn.await?.is_empty() {
            return Ok(());
        }
        let old = integer(now.minus(KEEP_SETTLED_MS));
        self.run("DELETE FROM held WHERE due IS NULL AND settled_at < ?1", vec![old]).await.map(drop)
    }
}

fn integer(time: Millis) -> Value {
    Value::Integer(time.0 as i64)
}

fn millis(value: &Value) -> Option<Millis> {
    match value {
        Value::Integer(ms) => u64::try_from(*ms).ok().map(Millis),
        _ => None,
    }
}

/// Rows as one parameter a column, after the parameters that come before them. Displays as `VALUES (?, …), …`.
struct Set {
    params: Vec<Value>,
    rows: usize,
    columns: usize,
}

impl Set {
    fn of(before: Vec<Value>) -> Self {
        Self { params: before, rows: 0, columns: 0 }
    }

    fn add(&mut self, row: impl IntoIterator<Item = Value>) {
        let before = self.params.len();
        self.params.extend(row);
        self.columns = self.params.len() - before;
        self.rows += 1;
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = format!("({})", ["?"].repeat(self.columns).join(", "));
        write!(f, "VALUES {}", [row.as_str()].repeat(self.rows).join(", "))
    }
}

/// The columns that a key is: account, profile, kind, name.
fn names(key: &Key) -> [Value; 4] {
    let (profile, kind, name) = key.item.parts();
    [
        Value::Text(key.account.to_string()),
        Value::Text(profile.to_owned()),
        Value::Integer(kind.into()),
        Value::Text(name),
    ]
}

/// A row of account, profile, kind, name, register.
fn keyed(row: Vec<Value>) -> Option<(Key, Register)> {
    let [Value::Text(account), Value::Text(profile), kind, name, register] = <[Value; 5]>::try_from(row).ok()? else {
        return None;
    };
    let (item, register) = readable(&profile, kind, name, register)?;
    Some((Key { account: account.parse().ok()?, item }, register))
}

/// What a row holds. What a newer version left there is kept for it, unseen.
fn readable(profile: &str, kind: Value, name: Value, register: Value) -> Option<(Item, Register)> {
    let (Value::Integer(kind), Value::Text(name), Value::Blob(bytes)) = (kind, name, register) else { return None };
    let item = Item::from_parts(profile, u8::try_from(kind).ok()?, &name).ok()?;
    Some((item, Register::from_bytes(bytes).ok()?))
}
