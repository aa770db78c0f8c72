//! [`Held`] in memory with a journal on disk: for one actor that owns its accounts (a Durable Object).
//!
//! Rows written are nearly the whole bill of such an actor. So concurrent requests are committed together,
//! as one row, written over an older one of which nothing is pending any more and which is not worth keeping.

use std::cell::RefCell;
use std::rc::Rc;

use futures_channel::oneshot;
use minicbor::{Decode, Encode};
use playhead_shared::id::{AccountId, ProfileId};
use playhead_shared::register::Register;
use playhead_shared::time::Millis;

use super::memory::{Memory, Place};
use super::{Change, Held, HeldError, Holding, Item, Key, Learnt};
use crate::host::{Host, Sql, SqlError, Value};

/// The first of a group waits so long for others.
const GATHER_MS: u64 = 2;
/// Under load, groups follow each other no faster than this …
const GROUP_EVERY_MS: u64 = 40;
/// … unless so many requests have gathered: then a row is well used.
const FULL_GROUP: usize = 10;
/// A row stays well below the 2 MiB that a Durable Object's blob may have.
const LARGEST_GROUP: usize = 2_000;

/// What is held: all of it in memory, and in the table `journal` what a restart must find again.
pub struct Journal<H, S> {
    shared: Rc<Shared<H, S>>,
}

struct Shared<H, S> {
    host: H,
    sql: S,
    memory: RefCell<Memory>,
    group: RefCell<Group>,
}

/// Changes that wait for their row, and who waits for them.
#[derive(Default)]
struct Group {
    changes: Vec<Change>,
    waiting: Vec<oneshot::Sender<Result<(), HeldError>>>,
    full: Option<oneshot::Sender<()>>,
    last_commit: Millis,
}

/// One change in a row's CBOR.
#[derive(Encode, Decode)]
struct Written {
    #[n(0)]
    account: String,
    #[n(1)]
    profile: String,
    #[n(2)]
    kind: u8,
    #[n(3)]
    name: String,
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    register: Vec<u8>,
    #[n(5)]
    due: u64,
}

impl<H: Host, S: Sql> Journal<H, S> {
    /// Opens the journal and reads it back into memory.
    pub async fn open(host: H, sql: S) -> Result<Self, SqlError> {
        for statement in [
            "CREATE TABLE IF NOT EXISTS journal (
                id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, body BLOB NOT NULL)",
            "CREATE TABLE IF NOT EXISTS settled (one INTEGER PRIMARY KEY CHECK (one = 1), below INTEGER NOT NULL)",
        ] {
            sql.run(statement, Vec::new()).await?;
        }
        let below = match sql.run("SELECT below FROM settled", Vec::new()).await?.first().map(Vec::as_slice) {
            Some([Value::Integer(below)]) => *below,
            _ => 0,
        };
        let mut memory = Memory::new(below);
        let now = host.now();
        for row in sql.run("SELECT seq, id, body FROM journal ORDER BY seq", Vec::new()).await? {
            if let [Value::Integer(seq), Value::Integer(id), Value::Blob(body)] = &row[..] {
                let (changes, readable) = read_row(body);
                memory.recall(Place { seq: *seq, id: *id }, changes, readable, now);
            }
        }
        let shared = Shared { host, sql, memory: RefCell::new(memory), group: RefCell::new(Group::default()) };
        Ok(Self { shared: Rc::new(shared) })
    }
}

impl<H: Host, S: Sql> Held for Journal<H, S> {
    async fn merge(&self, mut changes: Vec<Change>) -> Result<(), HeldError> {
        let shared = &self.shared;
        if shared.memory.borrow().is_full() {
            return Err(HeldError::Full);
        }
        // What memory holds is durable: repeats cost nothing. Should one be due earlier now, memory alone knows it;
        // after a restart it is due when the row says.
        changes.retain(|change| {
            let mut memory = shared.memory.borrow_mut();
            memory.bring_forward(change);
            memory.is_news(&change.key, &change.register)
        });
        if changes.is_empty() {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        let (is_first, wakes) = {
            let mut group = shared.group.borrow_mut();
            group.changes.append(&mut changes);
            group.waiting.push(sender);
            let full = group.waiting.len() >= FULL_GROUP || group.changes.len() >= LARGEST_GROUP / 2;
            (group.waiting.len() == 1, if full { group.full.take() } else { None })
        };
        if is_first {
            // Not this request's own work: its device may hang up, and the others still wait.
            let committing = Rc::clone(shared);
            shared.host.spawn(Box::pin(async move { committing.commit_soon().await }));
        }
        if let Some(wake) = wakes {
            // Should the commit be on its way already, it needs no waking.
            let _ = wake.send(());
        }
        receiver.await.unwrap_or(Err(HeldError::Failed(SqlError("the commit was cut off".to_owned()))))
    }

    async fn learn(&self, learnt: Learnt) -> Result<(), HeldError> {
        self.shared.memory.borrow_mut().learn(learnt);
        Ok(())
    }

    async fn read(&self, account: &AccountId, profile: &ProfileId) -> Result<Vec<Holding>, HeldError> {
        Ok(self.shared.memory.borrow().read(account, profile))
    }

    async fn next_due(&self) -> Result<Option<Millis>, HeldError> {
        Ok(self.shared.memory.borrow().next_due())
    }

    async fn due(&self, now: Millis, limit: usize) -> Result<Vec<(Key, Register)>, HeldError> {
        Ok(self.shared.memory.borrow().due(now, limit))
    }

    async fn settle(&self, sent: Vec<(Key, Register)>, now: Millis) -> Result<(), HeldError> {
        self.shared.memory.borrow_mut().settle(&sent, now);
        Ok(())
    }

    async fn put_aside(&self, unread: Vec<(Key, Register)>, due: Millis) -> Result<(), HeldError> {
        self.shared.memory.borrow_mut().put_aside(&unread, due);
        Ok(())
    }

    async fn claim(&self, now: Millis, until: Millis) -> Result<Option<u32>, HeldError> {
        Ok(self.shared.memory.borrow_mut().claim(now, until))
    }

    async fn release(&self, next: Millis, failures: u32) -> Result<(), HeldError> {
        self.shared.memory.borrow_mut().release(next, failures);
        self.shared.tidy().await
    }

    async fn sweep(&self, now: Millis) -> Result<(), HeldError> {
        self.shared.memory.borrow_mut().sweep(now);
        Ok(())
    }
}

impl<H: Host, S: Sql> Shared<H, S> {
    /// Gathers a group, then writes it as one row and answers everyone in it.
    async fn commit_soon(&self) {
        let (wake, woken) = oneshot::channel();
        let wait_ms = {
            let mut group = self.group.borrow_mut();
            let since = self.host.now().since(group.last_commit);
            let full = group.waiting.len() >= FULL_GROUP;
            group.full = Some(wake);
            if full { 0 } else { GATHER_MS.max(GROUP_EVERY_MS.saturating_sub(since)) }
        };
        let sleep = std::pin::pin!(self.host.sleep(wait_ms));
        futures_util::future::select(sleep, woken).await;
        let group = {
            let mut group = self.group.borrow_mut();
            let next = Group { last_commit: self.host.now(), ..Group::default() };
            std::mem::replace(&mut *group, next)
        };
        let written = self.write(group.changes).await;
        for waiting in group.waiting {
            // A request that was given up no longer listens.
            let _ = waiting.send(written.clone());
        }
    }

    async fn write(&self, changes: Vec<Change>) -> Result<(), HeldError> {
        for part in changes.chunks(LARGEST_GROUP) {
            let place = self.memory.borrow_mut().new_place();
            let upsert = "INSERT INTO journal (id, seq, body) VALUES (?1, ?2, ?3)
                          ON CONFLICT (id) DO UPDATE SET seq = ?2, body = ?3";
            let row = vec![Value::Integer(place.id), Value::Integer(place.seq), Value::Blob(write_row(part))];
            self.sql.run(upsert, row).await?;
            self.memory.borrow_mut().take(place, part);
        }
        Ok(())
    }

    /// Sorts the rows, and marks below which all are settled: after a restart only what stands above is sent again.
    async fn tidy(&self) -> Result<(), HeldError> {
        let thin = self.memory.borrow().thin_rows();
        if !thin.is_empty() {
            self.write(thin).await?;
        }
        let (deleted, mark) = self.memory.borrow_mut().sort_rows();
        if !deleted.is_empty() {
            let ids = Value::Text(serde_json::to_string(&deleted).unwrap_or_default());
            self.sql.run("DELETE FROM journal WHERE id IN (SELECT value FROM json_each(?1))", vec![ids]).await?;
        }
        if let Some(below) = mark {
            let upsert = "INSERT INTO settled (one, below) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET below = ?1";
            self.sql.run(upsert, vec![Value::Integer(below)]).await?;
        }
        Ok(())
    }
}

fn write_row(changes: &[Change]) -> Vec<u8> {
    let written: Vec<Written> = changes
        .iter()
        .map(|change| {
            let (profile, kind, name) = change.key.item.parts();
            Written {
                account: change.key.account.to_string(),
                profile: profile.to_owned(),
                kind,
                name,
                register: change.register.as_bytes().to_vec(),
                due: change.due.0,
            }
        })
        .collect();
    minicbor::to_vec(written).unwrap_or_default()
}

/// What a row holds; what a newer version wrote into it is left out, and the row is never dropped then.
fn read_row(body: &[u8]) -> (Vec<Change>, bool) {
    let written: Vec<Written> = match minicbor::decode(body) {
        Ok(written) => written,
        Err(_) => return (Vec::new(), false),
    };
    let total = written.len();
    let changes: Vec<Change> = written.into_iter().filter_map(change_of).collect();
    let whole = changes.len() == total;
    (changes, whole)
}

fn change_of(written: Written) -> Option<Change> {
    let item = Item::from_parts(&written.profile, written.kind, &written.name).ok()?;
    let key = Key { account: written.account.parse().ok()?, item };
    Some(Change { key, register: Register::from_bytes(written.register).ok()?, due: Millis(written.due) })
}
