//! Facts in the folder.

use std::ops::Bound;
use std::sync::Arc;

use playhead_shared::id::{AccountId, ProfileId, SessionId};
use playhead_shared::register::{Entry, Fact, Kind, Register, Unreadable};
use playhead_shared::time::{Millis, Stamp};

use super::{Embedded, Result, StoreError, Tables, keys};
use crate::store::{FactStore, Taking, Views};

impl FactStore for Embedded {
    async fn merge(&self, entries: Vec<Entry>, now: Millis) -> Result<()> {
        self.take(Taking { entries, ..Taking::default() }, now).await.map(drop)
    }

    /// On the caller's thread: a point read takes microseconds, less than handing it to another thread would.
    async fn get(&self, account: &AccountId, facts: &[Fact]) -> Result<Vec<Option<Register>>> {
        facts.iter().map(|fact| self.tables.register(account, fact)).collect()
    }

    async fn scan(
        &self,
        account: &AccountId,
        profile: &ProfileId,
        from: Kind,
        to: Kind,
    ) -> Result<Vec<(Fact, Register)>> {
        let (account, profile) = (account.clone(), profile.clone());
        self.beside(move |tables| {
            let first = keys::prefix(&account, Some(&profile), from);
            let mut last = keys::prefix(&account, Some(&profile), to);
            last.push(0xff); // Greater than any name.
            let mut found = Vec::new();
            for row in
                [&tables.often, &tables.seldom].into_iter().flat_map(|rows| rows.range::<&Vec<u8>, _>(&first..&last))
            {
                let (key, value) = row.into_inner()?;
                found.push((keys::read_fact(&key, &account, &profile)?, Register::from_bytes(value.to_vec())?));
            }
            found.sort_by_key(|(fact, _)| fact.kind());
            Ok(found)
        })
        .await
    }

    async fn sessions(
        &self,
        account: &AccountId,
        profile: &ProfileId,
        before: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<(SessionId, Register)>> {
        let first = keys::prefix(account, Some(profile), Kind::Session);
        let end = match before {
            Some(session) => keys::fact(account, &Fact::Session(profile.clone(), session)),
            None => [first.as_slice(), &[0xff]].concat(),
        };
        let range = (Bound::Included(first), Bound::Excluded(end));
        let mut found = Vec::new();
        for row in self.tables.facts(Kind::Session).range::<Vec<u8>, _>(range).rev().take(limit) {
            let (key, value) = row.into_inner()?;
            if let Fact::Session(_, session) = keys::read_fact(&key, account, profile)? {
                found.push((session, Register::from_bytes(value.to_vec())?));
            }
        }
        Ok(found)
    }

    async fn delete_older(&self, account: &AccountId, facts: Vec<Fact>, stamp: Stamp) -> Result<()> {
        let account = account.clone();
        self.writer
            .write(move |tables, batch| {
                for fact in facts {
                    if tables.register(&account, &fact)?.is_some_and(|register| register.stamp() < stamp) {
                        let key = keys::fact(&account, &fact);
                        tables.recent().registers.remove(key.as_slice());
                        batch.remove(tables.facts(fact.kind()), key);
                    }
                }
                Ok(())
            })
            .await
    }
}

impl Embedded {
    /// Runs a long read on a thread where it holds nobody up.
    pub(super) async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tables) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let tables = Arc::clone(&self.tables);
        let done = tokio::task::spawn_blocking(move || work(&tables)).await;
        done.map_err(|error| StoreError::Failed(error.to_string()))?
    }
}

impl Tables {
    fn register(&self, account: &AccountId, fact: &Fact) -> Result<Option<Register>> {
        let bytes = self.facts(fact.kind()).get(keys::fact(account, fact))?;
        Ok(bytes.map(|bytes| Register::from_bytes(bytes.to_vec())).transpose()?)
    }
}

impl From<Unreadable> for StoreError {
    fn from(error: Unreadable) -> Self {
        Self::Failed(error.to_string())
    }
}
