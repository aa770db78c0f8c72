//! The queue and the events in the folder.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use fjall::OwnedWriteBatch as WriteBatch;
use playhead_shared::time::Millis;

use super::{Embedded, Result, Tables, keys, read, write};
use crate::signal::{Event, Signal};
use crate::store::{EventCursor, READABLE_MS, SAID_MS, Signals};

/// A request may be written this long after its `now`.
const LATE_MS: u64 = 60_000;

impl Signals for Embedded {
    type SignalId = (Millis, u64);

    async fn due(&self, now: Millis, limit: usize) -> Result<Vec<(Self::SignalId, Signal)>> {
        let from = keys::placed(Millis(self.tables.signals_from.load(Ordering::Relaxed)), 0);
        let mut found = Vec::new();
        for row in self.tables.signals.range(from..=keys::placed(now, u64::MAX)).take(limit) {
            let (key, value) = row.into_inner()?;
            if let Some(id) = keys::read_placed(&key) {
                found.push((id, read(&value)?));
            }
        }
        if found.is_empty() {
            self.tables.signals_from.store(now.minus(LATE_MS).0, Ordering::Relaxed);
        }
        Ok(found)
    }

    async fn publish(
        &self,
        events: Vec<Event>,
        later: Vec<(Millis, Signal)>,
        done: Vec<Self::SignalId>,
        now: Millis,
    ) -> Result<()> {
        self.writer
            .write(move |tables, batch| {
                tables.say(events, now, batch)?;
                for (due, signal) in later {
                    batch.insert(&tables.signals, keys::placed(due, tables.next_place()), write(&signal));
                }
                for (at, place) in done {
                    batch.remove(&tables.signals, keys::placed(at, place));
                }
                Ok(())
            })
            .await
    }

    async fn events(
        &self,
        cursor: Option<EventCursor>,
        limit: usize,
        now: Millis,
    ) -> Result<Vec<(EventCursor, Event)>> {
        let oldest = EventCursor { at: now.minus(READABLE_MS), place: 0 };
        let after = cursor.map(|cursor| EventCursor { place: cursor.place.saturating_add(1), ..cursor });
        let from = after.unwrap_or_default().max(oldest);
        self.beside(move |tables| {
            let rows = tables.events.range(keys::placed(from.at, from.place)..).take(limit);
            let mut found = Vec::new();
            for row in rows {
                let (key, value) = row.into_inner()?;
                if let Some((at, place)) = keys::read_placed(&key) {
                    found.push((EventCursor { at, place }, read(&value)?));
                }
            }
            Ok(found)
        })
        .await
    }

    async fn prune(&self, now: Millis, limit: usize) -> Result<usize> {
        self.writer
            .write(move |tables, batch| {
                let old = ..keys::placed(now.minus(SAID_MS), 0);
                let mut pruned = 0;
                for row in tables.events.range(old).take(limit) {
                    let (key, value) = row.into_inner()?;
                    batch.remove(&tables.said, read::<Event>(&value)?.id.as_bytes());
                    batch.remove(&tables.events, key);
                    pruned += 1;
                }
                Ok(pruned)
            })
            .await
    }
}

impl Tables {
    /// Publishes those of the events that are not said yet.
    fn say(&self, events: Vec<Event>, now: Millis, batch: &mut WriteBatch) -> Result<()> {
        let mut said_here = BTreeSet::new();
        for event in events {
            if said_here.contains(&event.id) || self.said.contains_key(event.id.as_bytes())? {
                continue;
            }
            batch.insert(&self.said, event.id.as_bytes(), now.0.to_be_bytes());
            batch.insert(&self.events, keys::placed(now, self.next_place()), write(&event));
            said_here.insert(event.id);
        }
        Ok(())
    }
}
