//! Facts that can be held up in the middle of a call, so that a test says what happens in between, and that count
//! what they are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use playhead_origin::store::embedded::Embedded;
use playhead_origin::store::{FactStore, Result, StoreError};
use playhead_shared::id::{AccountId, ProfileId, SessionId};
use playhead_shared::register::{Entry, Fact, Kind, Register};
use playhead_shared::time::{Millis, Stamp};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::redis::in_folder;

/// Shared between a store and its test.
#[derive(Clone)]
pub struct Gated(Arc<Inside>);

pub struct Inside {
    facts: Embedded,
    _folder: TempDir,
    /// Calls of `get` and `scan` so far.
    asked: AtomicUsize,
    pub get: Gate,
    pub scan: Gate,
    pub merge: Gate,
    /// While set, whatever is asked fails.
    pub away: AtomicBool,
}

/// Holds up the next call that has done its work and is about to return.
#[derive(Default)]
pub struct Gate {
    closed: AtomicBool,
    reached: Notify,
    open: Notify,
}

impl Gate {
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Waits until a call stands before the gate.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets it go on. Later ones are not held up.
    pub fn open(&self) {
        self.open.notify_one();
    }

    async fn pass(&self) {
        if self.closed.swap(false, Ordering::SeqCst) {
            self.reached.notify_one();
            self.open.notified().await;
        }
    }
}

impl Gated {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (get, scan, merge, away) = Default::default();
        let facts = in_folder(&folder);
        Self(Arc::new(Inside { facts, _folder: folder, asked: AtomicUsize::new(0), get, scan, merge, away }))
    }

    /// How often the facts were asked since the last time.
    pub fn asked(&self) -> usize {
        self.0.asked.swap(0, Ordering::SeqCst)
    }
}

impl Inside {
    fn there(&self) -> Result<()> {
        if self.away.load(Ordering::SeqCst) { Err(StoreError::Failed("away".to_owned())) } else { Ok(()) }
    }
}

impl std::ops::Deref for Gated {
    type Target = Inside;
    fn deref(&self) -> &Inside {
        &self.0
    }
}

impl FactStore for Gated {
    async fn merge(&self, entries: Vec<Entry>, now: Millis) -> Result<()> {
        self.there()?;
        self.facts.merge(entries, now).await?;
        self.merge.pass().await;
        Ok(())
    }

    async fn get(&self, account: &AccountId, facts: &[Fact]) -> Result<Vec<Option<Register>>> {
        self.there()?;
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.facts.get(account, facts).await?;
        self.get.pass().await;
        Ok(found)
    }

    async fn scan(
        &self,
        account: &AccountId,
        profile: &ProfileId,
        from: Kind,
        to: Kind,
    ) -> Result<Vec<(Fact, Register)>> {
        self.there()?;
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.facts.scan(account, profile, from, to).await?;
        self.scan.pass().await;
        Ok(found)
    }

    async fn sessions(
        &self,
        account: &AccountId,
        profile: &ProfileId,
        before: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<(SessionId, Register)>> {
        self.facts.sessions(account, profile, before, limit).await
    }

    async fn delete_older(&self, account: &AccountId, facts: Vec<Fact>, stamp: Stamp) -> Result<()> {
        self.there()?;
        self.facts.delete_older(account, facts, stamp).await
    }
}
