//! Streams in the folder, and the one step in which collect's work is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use fjall::{OwnedWriteBatch as WriteBatch, UserKey, UserValue};
use playhead_shared::id::{AccountId, SessionId};
use playhead_shared::register::{Entry, Fact, Kind, Register};
use playhead_shared::time::Millis;
use playhead_shared::wire::Stream;

use super::{ALIVE, CONTINUOUS_SINCE, Embedded, Result, Tables, keys, read, write};
use crate::signal::{Signal, signal_of};
use crate::store::{Taken, Taking, Views};
use crate::streams::{Change, GAP_MS, Held, Moment, Table};
use crate::taking::{Concerned, expired};

impl Views for Embedded {
    async fn take(&self, taking: Taking, now: Millis) -> Result<Taken> {
        self.writer.write(move |tables, batch| tables.take(taking, now, batch)).await
    }

    /// On the caller's thread: an account has a handful of leases, side by side.
    async fn streams(&self, account: &AccountId, now: Millis) -> Result<Vec<Stream>> {
        Ok(self.tables.load(account)?.streams(&self.tables.moment(now)))
    }

    async fn sweep(&self, now: Millis, limit: usize) -> Result<usize> {
        self.writer.write(move |tables, batch| tables.sweep(now, limit, batch)).await
    }

    async fn alive(&self, now: Millis) -> Result<()> {
        self.writer
            .write(move |tables, batch| {
                let before = Millis(tables.alive.swap(now.0, Ordering::Relaxed));
                if before != Millis(0) && now.since(before) > GAP_MS {
                    tables.continuous_since.store(now.0, Ordering::Relaxed);
                }
                let continuous_since = tables.continuous_since.load(Ordering::Relaxed);
                batch.insert(&tables.marks, ALIVE, now.0.to_be_bytes());
                batch.insert(&tables.marks, CONTINUOUS_SINCE, continuous_since.to_be_bytes());
                Ok(())
            })
            .await
    }

    async fn ready(&self, now: Millis) -> Result<()> {
        self.writer
            .write(move |tables, batch| {
                batch.insert(&tables.marks, "ready", now.0.to_be_bytes());
                Ok(())
            })
            .await
    }
}

impl Tables {
    fn take(&self, mut taking: Taking, now: Millis, batch: &mut WriteBatch) -> Result<Taken> {
        let moment = self.moment(now);
        let mut ended: BTreeMap<AccountId, BTreeSet<SessionId>> = BTreeMap::new();
        for (account, session) in self.merge(std::mem::take(&mut taking.entries), now, batch)? {
            ended.entry(account).or_default().insert(session);
        }
        for lease in taking.leases.iter().chain(&taking.admission) {
            if self.facts(Kind::Ended).contains_key(keys::fact(&lease.account, &Fact::Ended(lease.session)))? {
                ended.entry(lease.account.clone()).or_default().insert(lease.session);
            }
        }
        let mut concerned = Concerned::by_account(taking);
        for account in ended.keys() {
            concerned.entry(account.clone()).or_default();
        }
        let mut taken = Taken::default();
        for (account, concerned) in concerned {
            let mut table = self.load_recent(&account)?;
            let ended = ended.remove(&account).unwrap_or_default();
            let (of_account, signals) = concerned.apply(&account, &mut table, &ended, &moment);
            self.keep(&account, &table, &moment, batch);
            self.signal_all(&signals, now, batch);
            taken.add(of_account);
        }
        Ok(taken)
    }

    /// Merges the entries; returns the sessions whose `ended` registers are among them.
    fn merge(&self, entries: Vec<Entry>, now: Millis, batch: &mut WriteBatch) -> Result<Vec<(AccountId, SessionId)>> {
        // In the order of the keys, which is the order of the disk; of one fact only the newest, since the batch
        // does not see its own writes.
        let mut keyed: Vec<_> =
            entries.into_iter().map(|entry| (keys::fact(&entry.account, &entry.fact), entry)).collect();
        keyed.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| y.register.cmp(&x.register)));
        keyed.dedup_by(|(later, _), (first, _)| later == first);

        let mut ended = Vec::new();
        let mut recent = self.recent();
        for (key, entry) in keyed {
            let key = UserKey::from(key);
            if let Fact::Ended(session) = &entry.fact {
                ended.push((entry.account.clone(), *session));
            }
            let kind = entry.fact.kind();
            let remembered = recent.registers.get(&key).cloned();
            let old = if remembered.is_some() { remembered.clone() } else { self.facts(kind).get(&key)? };
            if old.as_ref().is_none_or(|old| entry.register.as_bytes() > &**old) {
                let old = old.map(|bytes| Register::from_bytes(bytes.to_vec())).transpose()?;
                if let Some(signal) = signal_of(&entry, old.as_ref()) {
                    self.signal(&signal, now, batch);
                }
                let value = UserValue::from(entry.register.into_bytes());
                recent.registers.put(key.clone(), value.clone());
                batch.insert(self.facts(kind), key, value);
            } else if remembered.is_none() {
                recent.registers.put(key, old.unwrap_or_default());
            }
        }
        Ok(ended)
    }

    fn sweep(&self, now: Millis, limit: usize, batch: &mut WriteBatch) -> Result<usize> {
        let moment = self.moment(now);
        let mut due: BTreeMap<AccountId, Vec<(Millis, SessionId)>> = BTreeMap::new();
        let from = self.due_from.load(Ordering::Relaxed).to_be_bytes();
        let mut seen = 0;
        for row in self.due.range(from..=now.plus(1).0.to_be_bytes()).take(limit) {
            let Some((at, account, session)) = keys::read_due(&row.key()?) else { continue };
            due.entry(account).or_default().push((at, session));
            seen += 1;
        }
        for (account, due) in due {
            let mut table = self.load_recent(&account)?;
            self.signal_all(&expired(&table.settle(&moment), &moment), now, batch);
            self.keep(&account, &table, &moment, batch);
            for (at, session) in due {
                batch.remove(&self.due, keys::due(at, &account, session));
                if let Some(held) = table.get(session) {
                    batch.insert(&self.due, keys::due(held.due_at(&moment), &account, session), []);
                }
            }
        }
        if seen < limit {
            // Planned times lie ahead, but for the few milliseconds that a request waited for its turn.
            self.due_from.store(now.minus(GAP_MS).0, Ordering::Relaxed);
        }
        Ok(seen)
    }

    fn load(&self, account: &AccountId) -> Result<Table> {
        let rows = self.leases.prefix(keys::account(account));
        Ok(Table::new(rows.map(|row| read::<Held>(&row.value()?)).collect::<Result<Vec<_>>>()?))
    }

    /// The same on the writing thread, which may remember it.
    fn load_recent(&self, account: &AccountId) -> Result<Table> {
        let remembered = self.recent().leases.get(account).cloned();
        remembered.map_or_else(|| self.load(account), |held| Ok(Table::new(held)))
    }

    fn keep(&self, account: &AccountId, table: &Table, moment: &Moment<'_>, batch: &mut WriteBatch) {
        self.recent().leases.put(account.clone(), table.remembered().cloned().collect());
        for change in table.changes() {
            match change {
                Change::Put(held, plan) => {
                    let lease = &held.lease;
                    batch.insert(&self.leases, keys::lease(&lease.account, lease.session), write(held));
                    if plan {
                        let due = keys::due(held.due_at(moment), &lease.account, lease.session);
                        batch.insert(&self.due, due, []);
                    }
                }
                Change::Remove(Held { lease, .. }) => {
                    batch.remove(&self.leases, keys::lease(&lease.account, lease.session));
                }
            }
        }
    }

    fn signal_all(&self, signals: &[Signal], due: Millis, batch: &mut WriteBatch) {
        for signal in signals {
            self.signal(signal, due, batch);
        }
    }

    fn signal(&self, signal: &Signal, due: Millis, batch: &mut WriteBatch) {
        batch.insert(&self.signals, keys::placed(due, self.next_place()), write(signal));
    }
}
