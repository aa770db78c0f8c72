//! What [`Journal`](super::journal::Journal) knows in memory: the registers, which journal row each came by, and
//! which rows are worth keeping. It does no I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use playhead_shared::id::{AccountId, ProfileId};
use playhead_shared::register::Register;
use playhead_shared::time::Millis;

use super::{Change, Holding, Item, KEEP_SETTLED_MS, Key, Learnt, SWEEP_EVERY_MS};

/// Numbers journal rows in the order in which they were written.
pub(super) type Seq = i64;

/// Where a row is to be written: over one that is worth nothing any more, which costs one row written instead of
/// an insertion and a deletion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) seq: Seq,
    pub(super) id: i64,
}

/// The most registers that may wait for the origin, about 600 bytes of memory each: past it the edge answers 503.
const MOST_PENDING: usize = 100_000;
/// So many settled rows are kept as a cache that survives a restart; reading them back takes a few milliseconds.
const KEPT_ROWS: usize = 200;
/// Rows that are worth nothing and wait to be written over are dropped past this number.
const SPARE_ROWS: usize = 64;
/// A row of which less than this share is still pending is written anew with others, so that an origin that
/// is away for hours leaves a compact journal behind.
const THIN_SHARE: usize = 4;

struct Slot {
    register: Register,
    due: Option<Millis>,
    settled_at: Millis,
    /// The row that holds this register; none if it came from the origin.
    row: Option<Seq>,
}

#[derive(Default)]
struct Row {
    id: i64,
    changes: usize,
    pending: usize,
    live: usize,
    unreadable: bool,
}

#[derive(Default)]
pub(super) struct Memory {
    slots: HashMap<AccountId, HashMap<Item, Slot>>,
    pending: BTreeSet<(Millis, Key)>,
    rows: BTreeMap<Seq, Row>,
    spare: Vec<i64>,
    last_id: i64,
    last_seq: Seq,
    marked_below: Seq,
    not_before: Millis,
    failures: u32,
    swept_at: Millis,
}

impl Memory {
    /// Nothing yet; all rows below `settled_below` that will be recalled are settled.
    pub(super) fn new(settled_below: Seq) -> Self {
        Self { last_seq: settled_below, marked_below: settled_below, ..Self::default() }
    }

    /// A row as it was found on disk; one that is not `readable` whole is left there for a newer version.
    pub(super) fn recall(&mut self, place: Place, changes: Vec<Change>, readable: bool, now: Millis) {
        self.last_seq = self.last_seq.max(place.seq);
        self.last_id = self.last_id.max(place.id);
        let settled = place.seq < self.marked_below;
        if !settled {
            // The same register may stand in an older, settled row: a thin one, of which it was what was still pending.
            for Change { key, register, .. } in &changes {
                if self.slot(key).is_some_and(|slot| slot.register == *register && slot.due.is_none()) {
                    self.remove(key);
                }
            }
        }
        self.take(place, &changes);
        self.rows.entry(place.seq).or_default().unreadable = !readable;
        if settled {
            let sent: Vec<_> = changes.into_iter().map(|change| (change.key, change.register)).collect();
            self.settle(&sent, now);
        }
    }

    /// Where the next row goes.
    pub(super) fn new_place(&mut self) -> Place {
        self.last_seq += 1;
        let id = self.spare.pop().unwrap_or_else(|| {
            self.last_id += 1;
            self.last_id
        });
        Place { seq: self.last_seq, id }
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MOST_PENDING
    }

    pub(super) fn is_news(&self, key: &Key, register: &Register) -> bool {
        self.slot(key).is_none_or(|slot| *register > slot.register)
    }

    /// Takes in what the row at `place` now holds on disk.
    pub(super) fn take(&mut self, place: Place, changes: &[Change]) {
        self.rows.insert(place.seq, Row { id: place.id, changes: changes.len(), ..Row::default() });
        for change in changes {
            let held = self.slot(&change.key).map(|slot| (&slot.register, slot.due));
            // An equal register that is still pending moves to the new row, which is how thin rows are cleared.
            let due = match held {
                Some((register, _)) if *register > change.register => continue,
                Some((register, None)) if *register == change.register => continue,
                Some((_, Some(due))) => due.min(change.due),
                _ => change.due,
            };
            let slot =
                Slot { register: change.register.clone(), due: Some(due), settled_at: Millis(0), row: Some(place.seq) };
            self.put(change.key.clone(), slot);
        }
    }

    /// What is pending as it is, and is said again with an earlier due time, is due by then.
    pub(super) fn bring_forward(&mut self, change: &Change) {
        self.reschedule(&change.key, &change.register, |slot| slot.due = slot.due.min(Some(change.due)));
    }

    pub(super) fn learn(&mut self, learnt: Learnt) {
        for key in learnt.asked {
            let outdated = |slot: &Slot| slot.due.is_none() && slot.settled_at < learnt.requested_at;
            if self.slot(&key).is_some_and(outdated) {
                self.remove(&key);
            }
        }
        for (key, register) in learnt.answer {
            if self.is_news(&key, &register) {
                self.put(key, Slot { register, due: None, settled_at: learnt.requested_at, row: None });
            }
        }
    }

    pub(super) fn read(&self, account: &AccountId, profile: &ProfileId) -> Vec<Holding> {
        let slots = self.slots.get(account).into_iter().flatten();
        slots
            .filter(|(item, _)| item.concerns(profile))
            .map(|(item, slot)| Holding {
                item: item.clone(),
                register: slot.register.clone(),
                pending: slot.due.is_some(),
            })
            .collect()
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        self.pending.first().map(|(due, _)| (*due).max(self.not_before))
    }

    pub(super) fn due(&self, now: Millis, limit: usize) -> Vec<(Key, Register)> {
        let due = self.pending.iter().take_while(|(due, _)| *due <= now).take(limit);
        due.filter_map(|(_, key)| self.slot(key).map(|slot| (key.clone(), slot.register.clone()))).collect()
    }

    pub(super) fn settle(&mut self, sent: &[(Key, Register)], now: Millis) {
        for (key, register) in sent {
            self.reschedule(key, register, |slot| {
                slot.due = None;
                slot.settled_at = now;
            });
        }
    }

    pub(super) fn put_aside(&mut self, unread: &[(Key, Register)], due: Millis) {
        for (key, register) in unread {
            self.reschedule(key, register, |slot| slot.due = Some(due));
        }
    }

    pub(super) fn claim(&mut self, now: Millis, until: Millis) -> Option<u32> {
        if now < self.not_before {
            return None;
        }
        self.not_before = until;
        Some(self.failures)
    }

    pub(super) fn release(&mut self, next: Millis, failures: u32) {
        (self.not_before, self.failures) = (next, failures);
    }

    pub(super) fn sweep(&mut self, now: Millis) {
        if now.since(self.swept_at) < SWEEP_EVERY_MS {
            return;
        }
        self.swept_at = now;
        let old = now.minus(KEEP_SETTLED_MS);
        let expired: Vec<Key> = (self.slots.iter())
            .flat_map(|(account, slots)| slots.iter().map(move |(item, slot)| (account, item, slot)))
            .filter(|(.., slot)| slot.due.is_none() && slot.settled_at < old)
            .map(|(account, item, _)| Key { account: account.clone(), item: item.clone() })
            .collect();
        for key in expired {
            self.remove(&key);
        }
    }

    /// What is still pending in old rows that hold little else: to be written as one new row.
    pub(super) fn thin_rows(&self) -> Vec<Change> {
        let is_thin = |row: &Row| row.pending > 0 && row.pending * THIN_SHARE < row.changes && !row.unreadable;
        // One row for one row is no gain.
        if self.rows.values().filter(|row| is_thin(row)).count() < 2 * THIN_SHARE {
            return Vec::new();
        }
        (self.pending.iter())
            .filter_map(|(due, key)| self.slot(key).map(|slot| (due, key, slot)))
            .filter(|(.., slot)| slot.row.and_then(|row| self.rows.get(&row)).is_some_and(is_thin))
            .map(|(due, key, slot)| Change { key: key.clone(), register: slot.register.clone(), due: *due })
            .collect()
    }

    /// Sorts out the rows that are worth nothing any more; says which to delete, and the mark below which all
    /// rows are settled, if it moved.
    pub(super) fn sort_rows(&mut self) -> (Vec<i64>, Option<Seq>) {
        let below = self.rows.iter().find(|(_, row)| row.pending > 0).map_or(self.last_seq + 1, |(seq, _)| *seq);
        let settled = self.rows.values().filter(|row| row.pending == 0).count();
        let mut beyond = settled.saturating_sub(KEPT_ROWS);
        self.rows.retain(|_, row| {
            let old = row.pending == 0 && beyond > 0;
            beyond -= usize::from(old);
            let dead = (old || row.live == 0) && !row.unreadable;
            if dead {
                self.spare.push(row.id);
            }
            !dead
        });
        let moved = below > self.marked_below;
        self.marked_below = self.marked_below.max(below);
        let most = SPARE_ROWS.max(self.rows.len());
        let deleted = if self.spare.len() > 2 * most { self.spare.split_off(most) } else { Vec::new() };
        (deleted, moved.then_some(below))
    }

    fn slot(&self, key: &Key) -> Option<&Slot> {
        self.slots.get(&key.account)?.get(&key.item)
    }

    /// Changes when a slot is due that is pending and still holds that register.
    fn reschedule(&mut self, key: &Key, register: &Register, change: impl Fn(&mut Slot)) {
        if self.slot(key).is_some_and(|slot| slot.register == *register && slot.due.is_some())
            && let Some(mut slot) = self.remove(key)
        {
            change(&mut slot);
            self.put(key.clone(), slot);
        }
    }

    fn put(&mut self, key: Key, slot: Slot) {
        self.remove(&key);
        self.count(&slot, 1);
        if let Some(due) = slot.due {
            self.pending.insert((due, key.clone()));
        }
        self.slots.entry(key.account).or_default().insert(key.item, slot);
    }

    fn remove(&mut self, key: &Key) -> Option<Slot> {
        let slots = self.slots.get_mut(&key.account)?;
        let slot = slots.remove(&key.item)?;
        if slots.is_empty() {
            self.slots.remove(&key.account);
        }
        if let Some(due) = slot.due {
            self.pending.remove(&(due, key.clone()));
        }
        self.count(&slot, -1);
        Some(slot)
    }

    fn count(&mut self, slot: &Slot, by: isize) {
        if let Some(row) = slot.row.and_then(|id| self.rows.get_mut(&id)) {
            row.live = row.live.saturating_add_signed(by);
            row.pending = row.pending.saturating_add_signed(if slot.due.is_some() { by } else { 0 });
        }
    }
}
