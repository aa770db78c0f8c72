//! The default backend: one folder of this machine, all three traits, no other service.
//!
//! One thread writes ([`writer`]), so what it reads is what it decides on, without locks; many requests share
//! one sync of the disk. Reads go beside it, from any thread, and wait for nobody.

mod facts;
mod keys;
mod recent;
mod signals;
mod views;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, UserKey, UserValue};
use playhead_shared::id::AccountId;
use playhead_shared::register::Kind;
use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;

use self::recent::Recent;
use self::writer::Writer;
use super::{Result, StoreError, write};
use crate::streams::{Held, Moment};

/// The folder, opened. Only one process can have it open.
pub struct Embedded {
    writer: Writer,
    tables: Arc<Tables>,
}

/// What bounds the backend.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How much of the folder is kept in memory for reads, in bytes.
    pub cache_bytes: u64,
    /// How many requests may wait for the disk; further ones are told that it is busy.
    pub queue: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { cache_bytes: 256 * MIB, queue: 4096 }
    }
}

const MIB: u64 = 1024 * 1024;

/// The keyspaces, and the little that is kept beside them in memory.
struct Tables {
    db: Database,
    /// Registers by account, profile, kind and name, of the kinds that every heartbeat brings.
    often: Keyspace,
    /// Those of the other kinds. Most questions after them find nothing, which is quick to tell in a keyspace
    /// that few writes go to: beside the others each would search through all that was written of late.
    seldom: Keyspace,
    /// [`Held`] by account and session.
    leases: Keyspace,
    /// When which lease has to be looked at: time, account, session.
    due: Keyspace,
    /// Signals by the time from which they are due, and their place.
    signals: Keyspace,
    /// Events by time and place.
    events: Keyspace,
    /// Ids of events that are published already.
    said: Keyspace,
    /// The marks below, as of the last write.
    marks: Keyspace,
    /// When collect was last there; 0 in a new folder.
    alive: AtomicU64,
    /// Since when it has been there without a gap; 0 where it always was.
    continuous_since: AtomicU64,
    /// The next place of a signal or an event: how often the folder was opened, then a counter, so that no place
    /// is ever given twice, whatever the clock does.
    place: AtomicU64,
    /// Signals before this time are done. Saves the scan over what was deleted since the last compaction.
    signals_from: AtomicU64,
    /// The same for [`Tables::due`].
    due_from: AtomicU64,
    recent: Mutex<Written>,
    rules: Rules,
}

/// What the writer wrote or looked at of late. Only the writing thread asks for it, so the lock is never waited for.
struct Written {
    registers: Recent<UserKey, UserValue>,
    leases: Recent<AccountId, Vec<Held>>,
}

impl Written {
    /// About 70 MB when full.
    fn new() -> Self {
        Self { registers: Recent::new(128 * 1024), leases: Recent::new(16 * 1024) }
    }
}

const ALIVE: &str = "alive";
const CONTINUOUS_SINCE: &str = "continuous_since";
const OPENED: &str = "opened";
/// Bits of a place that count within one opening of the folder.
const PLACE_BITS: u32 = 40;

impl Embedded {
    /// Opens the folder, or makes it. Fails if another process has it open.
    pub fn open(folder: &Path, bounds: Bounds, rules: Rules) -> Result<Self> {
        // The writer says when the journal goes to the disk: once for all that it took meanwhile.
        let db = Database::builder(folder).cache_size(bounds.cache_bytes).manual_journal_persist(true).open()?;
        let keyspace = |name: &str, memtable_mib: u64| {
            db.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(memtable_mib * MIB))
        };
        let marks = keyspace("marks", 1)?;
        let mark = |name: &str| -> Result<u64> {
            Ok(marks.get(name)?.and_then(|bytes| Some(u64::from_be_bytes(*bytes.first_chunk()?))).unwrap_or_default())
        };
        let opened = mark(OPENED)? + 1;
        let tables = Tables {
            often: keyspace("facts_often", 64)?,
            seldom: keyspace("facts_seldom", 16)?,
            leases: keyspace("leases", 16)?,
            due: keyspace("due", 8)?,
            signals: keyspace("signals", 8)?,
            events: keyspace("events", 8)?,
            said: keyspace("said", 8)?,
            alive: AtomicU64::new(mark(ALIVE)?),
            continuous_since: AtomicU64::new(mark(CONTINUOUS_SINCE)?),
            place: AtomicU64::new(opened << PLACE_BITS),
            signals_from: AtomicU64::new(0),
            due_from: AtomicU64::new(0),
            recent: Mutex::new(Written::new()),
            rules,
            marks,
            db,
        };
        tables.marks.insert(OPENED, opened.to_be_bytes())?;
        tables.db.persist(PersistMode::SyncAll)?;
        let tables = Arc::new(tables);
        Ok(Self { writer: Writer::start(Arc::clone(&tables), bounds.queue)?, tables })
    }

    /// Waits until the backend has failed for good: the disk refused a write, and only opening the folder again
    /// can tell what it holds.
    pub async fn failed(&self) {
        self.writer.failed().await;
    }
}

impl Tables {
    fn moment(&self, now: Millis) -> Moment<'_> {
        let continuous_since = Millis(self.continuous_since.load(Ordering::Relaxed));
        Moment { now, continuous_since, rules: &self.rules }
    }

    /// Where facts of that kind are.
    fn facts(&self, kind: Kind) -> &Keyspace {
        match kind {
            Kind::Session | Kind::Latest | Kind::Profile => &self.often,
            Kind::Watched | Kind::Hidden | Kind::Forgotten | Kind::Deleted | Kind::Ended => &self.seldom,
        }
    }

    fn recent(&self) -> MutexGuard<'_, Written> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_place(&self) -> u64 {
        self.place.fetch_add(1, Ordering::Relaxed)
    }
}

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Locked => Self::Failed("another process has the data folder open".to_owned()),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Reads what this backend itself wrote as CBOR.
fn read<'b, T: minicbor::Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T> {
    minicbor::decode(bytes).map_err(|error| StoreError::Failed(format!("the folder holds something else: {error}")))
}
