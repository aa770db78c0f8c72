//! The queue and the events in Redis: in every partition a stream of each.
//!
//! Consumers take signals under their names, and what one has not done within a while, others claim. A signal
//! leaves the queue only in the script that publishes its events. Polled in pipelines: a blocking read
//! would need a connection for each slot of a cluster.

use std::collections::BTreeMap;

use playhead_shared::id::AccountId;
use playhead_shared::time::Millis;
use redis::{Cmd, Value};

use super::keys::digest;
use super::nodes::{Partition, Pinned, read};
use super::script::Script;
use super::{Redis, Result, StoreError, millis, nonce, write};
use crate::signal::{Event, Signal, UNREADABLE_MS};
use crate::store::{DAY_MS, EventCursor, FactStore, READABLE_MS, SAID_MS, Signals};

/// A consumer that was not seen for so long, and has taken nothing, is forgotten.
const CONSUMER_GONE_MS: u64 = DAY_MS;
/// Bits of a cursor's place that name the partition.
const PARTITION_BITS: u32 = 16;

/// Names a signal: its partition, and its place in the stream there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalId {
    partition: Partition,
    place: Place,
}

/// An entry's id in a stream: a time in milliseconds, and which of that time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64, u64);

/// What one partition has to do with a publication.
#[derive(Default)]
struct Part {
    events: Vec<Event>,
    /// As they are kept.
    later: Vec<(Millis, Vec<u8>)>,
    done: Vec<String>,
}

impl<F: FactStore> Signals for Redis<F> {
    type SignalId = SignalId;

    async fn due(&self, now: Millis, limit: usize) -> Result<Vec<(SignalId, Signal)>> {
        let nodes = self.nodes.pin();
        let waiting = self.waiting(&nodes, now).await?;
        let idle = millis(self.options.claim_after);
        let take = |(partition, count)| {
            let mut command = Script::Due.on(&[self.keys.signals(partition), self.keys.later(partition)]);
            command.arg(now.0).arg(count).arg(&self.options.consumer).arg(idle);
            (partition, command)
        };
        let shares = shares(waiting, limit, nonce() as usize);
        let answers = nodes.ask_all(shares.iter().copied().map(take).collect()).await?;
        let (mut found, mut unreadable) = (Vec::new(), BTreeMap::<Partition, Part>::new());
        for ((partition, _), answer) in shares.into_iter().zip(answers) {
            let of_partition: Vec<(String, Vec<u8>)> = read(answer)?;
            for (place, bytes) in of_partition {
                match minicbor::decode(&bytes) {
                    Ok(signal) => found.push((SignalId { partition, place: place.parse()? }, signal)),
                    Err(error) => {
                        tracing::error!(%error, "a signal that a newer version wrote is put aside for an hour");
                        let part = unreadable.entry(partition).or_default();
                        part.later.push((now.plus(UNREADABLE_MS), bytes));
                        part.done.push(place);
                    }
                }
            }
        }
        let aside = unreadable.iter().map(|(partition, part)| (*partition, self.publication(*partition, part, now)));
        nodes.ask_all(aside.collect()).await?;
        found.sort_by_key(|(id, _)| (id.place, id.partition));
        Ok(found)
    }

    async fn publish(
        &self,
        events: Vec<Event>,
        later: Vec<(Millis, Signal)>,
        done: Vec<SignalId>,
        now: Millis,
    ) -> Result<()> {
        let mut parts: BTreeMap<Partition, Part> = BTreeMap::new();
        for event in events {
            parts.entry(self.keys.partition(&event.account)).or_default().events.push(event);
        }
        for (at, signal) in later {
            parts.entry(self.keys.partition(&account(&signal)?)).or_default().later.push((at, super::write(&signal)));
        }
        for SignalId { partition, place } in done {
            parts.entry(partition).or_default().done.push(place.to_string());
        }
        let commands = parts.iter().map(|(partition, part)| (*partition, self.publication(*partition, part, now)));
        self.nodes.pin().ask_all(commands.collect()).await.map(drop)
    }

    /// Of one partition none is missed. Another's may still come with a slightly earlier time, since processes
    /// publish beside each other: a reader that must not miss it reads a few seconds again.
    async fn events(
        &self,
        cursor: Option<EventCursor>,
        limit: usize,
        now: Millis,
    ) -> Result<Vec<(EventCursor, Event)>> {
        let oldest = EventCursor { at: now.minus(READABLE_MS), place: 0 };
        let after = cursor.unwrap_or_default().max(oldest);
        let nodes = self.nodes.pin();
        let ask = |partition| {
            let mut command = redis::cmd("XRANGE");
            command.arg(self.keys.events(partition)).arg(first_after(after, partition)).arg("+");
            command.arg("COUNT").arg(limit);
            (partition, command)
        };
        let answers = nodes.ask_all(nodes.partitions().map(ask).collect()).await?;
        let mut found = Vec::new();
        for (partition, answer) in nodes.partitions().zip(answers) {
            let of_partition: Vec<(String, (Value, Vec<u8>))> = read(answer)?;
            for (place, (_, bytes)) in of_partition {
                found.push((cursor_at(place.parse()?, partition), bytes));
            }
        }
        found.sort_by_key(|(cursor, _)| *cursor);
        found.truncate(limit);
        let event = |(cursor, bytes): (_, Vec<u8>)| match minicbor::decode(&bytes) {
            Ok(event) => Ok((cursor, event)),
            Err(error) => Err(StoreError::Failed(format!("Redis holds another form of event: {error}"))),
        };
        found.into_iter().map(event).collect()
    }

    async fn prune(&self, now: Millis, limit: usize) -> Result<usize> {
        let nodes = self.nodes.pin();
        let Some(last) = now.0.checked_sub(SAID_MS + 1) else { return Ok(0) };
        let count = |partition| {
            let mut command = redis::cmd("ZCOUNT");
            command.arg(self.keys.said(partition)).arg("-inf").arg(last);
            (partition, command)
        };
        let counts = nodes.ask_all(nodes.partitions().map(count).collect()).await?;
        let old = nodes.partitions().zip(counts).map(|(partition, count)| Ok((partition, read(count)?)));
        let prune = |(partition, count)| {
            let keys = &self.keys;
            let keys = [keys.events(partition), keys.said(partition), keys.signals(partition)];
            let mut command = Script::Prune.on(&keys);
            command.arg(last).arg(count).arg(CONSUMER_GONE_MS);
            (partition, command)
        };
        let shares = shares(old.collect::<Result<_>>()?, limit, nonce() as usize);
        let pruned = nodes.ask_all(shares.into_iter().map(prune).collect()).await?;
        pruned.into_iter().map(read::<usize>).sum()
    }
}

impl<F: FactStore> Redis<F> {
    /// How many signals wait in each partition.
    pub(super) async fn waiting(&self, nodes: &Pinned, now: Millis) -> Result<Vec<(Partition, usize)>> {
        let ask = |partition| {
            let (mut queue, mut later) = (redis::cmd("XLEN"), redis::cmd("ZCOUNT"));
            queue.arg(self.keys.signals(partition));
            later.arg(self.keys.later(partition)).arg("-inf").arg(now.0);
            [(partition, queue), (partition, later)]
        };
        let counts = nodes.ask_all(nodes.partitions().flat_map(ask).collect()).await?;
        let counts: Vec<usize> = counts.into_iter().map(read).collect::<Result<_>>()?;
        Ok(nodes.partitions().zip(counts.chunks(2).map(|both| both.iter().sum())).collect())
    }

    fn publication(&self, partition: Partition, part: &Part, now: Millis) -> Cmd {
        let Part { events, later, done } = part;
        let keys = &self.keys;
        let names = [
            keys.signals(partition),
            keys.later(partition),
            keys.events(partition),
            keys.said(partition),
            keys.signalled(partition),
        ];
        let mut command = Script::Publish.on(&names);
        command.arg(now.0).arg(events.len()).arg(later.len()).arg(done.len());
        for event in events {
            command.arg(&digest(&event.id)).arg(write(event));
        }
        for (at, signal) in later {
            command.arg(at.0).arg(signal);
        }
        command.arg(done);
        command
    }
}

/// Whose it is.
fn account(signal: &Signal) -> Result<AccountId> {
    match signal {
        Signal::Fact { entry, .. } | Signal::SweepAgain(entry) => {
            entry.account.parse().map_err(|_| StoreError::Failed("a signal of no account".to_owned()))
        }
        Signal::Expired { lease, .. } | Signal::LimitReached { lease, .. } => Ok(lease.account.clone()),
    }
}

/// How many to take of each partition that has some: equal shares, then what they leave of the limit, beginning
/// anywhere, so that no partition is always the last.
fn shares(waiting: Vec<(Partition, usize)>, limit: usize, start: usize) -> Vec<(Partition, usize)> {
    let mut waiting: Vec<_> = waiting.into_iter().filter(|(_, count)| *count > 0).collect();
    if waiting.is_empty() {
        return waiting;
    }
    let start = start % waiting.len();
    waiting.rotate_left(start);
    let equal = (limit / waiting.len()).max(1);
    let mut left = limit;
    let mut shares: Vec<(Partition, usize)> = Vec::with_capacity(waiting.len());
    for (partition, count) in &waiting {
        let share = equal.min(*count).min(left);
        left -= share;
        shares.push((*partition, share));
    }
    for ((_, share), (_, count)) in shares.iter_mut().zip(&waiting) {
        let more = (count - *share).min(left);
        left -= more;
        *share += more;
    }
    shares.retain(|(_, share)| *share > 0);
    shares
}

/// The cursor of an event: places count from 1, so that 0 is before all of its time.
fn cursor_at(Place(ms, which): Place, partition: Partition) -> EventCursor {
    EventCursor { at: Millis(ms), place: ((which + 1) << PARTITION_BITS) | u64::from(partition) }
}

/// From where on a partition's events are after a cursor.
fn first_after(EventCursor { at, place }: EventCursor, partition: Partition) -> String {
    let (which, of) = (place >> PARTITION_BITS, place & ((1 << PARTITION_BITS) - 1));
    match which.checked_sub(1) {
        None => format!("{at}-0"),
        Some(which) if u64::from(partition) > of => format!("{at}-{which}"),
        Some(which) => format!("({at}-{which}"),
    }
}

impl std::str::FromStr for Place {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('-').and_then(|(ms, which)| Some(Self(ms.parse().ok()?, which.parse().ok()?)));
        parts.ok_or_else(|| StoreError::Failed("Redis names an entry in another form".to_owned()))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_fair_and_leave_nothing_of_the_limit() {
        for (waiting, limit, start, expected) in [
            (vec![(0, 0), (1, 5)], 256, 0, vec![(1, 5)]),
            (vec![(0, 100), (1, 5)], 10, 0, vec![(0, 5), (1, 5)]),
            (vec![(0, 100), (1, 2), (2, 100)], 10, 1, vec![(1, 2), (2, 5), (0, 3)]),
            (vec![(0, 9), (1, 9), (2, 9)], 2, 5, vec![(2, 1), (0, 1)]),
            (vec![(0, 1)], 0, 0, vec![]),
            (vec![(0, 0)], 9, 7, vec![]),
        ] {
            assert_eq!(shares(waiting.clone(), limit, start), expected, "{waiting:?} {limit} {start}");
        }
    }

    #[test]
    fn a_cursor_stands_behind_its_event_and_before_the_next() {
        let all = [(1, 0, 0), (1, 0, 3), (1, 1, 0), (2, 0, 1)];
        let cursors = all.map(|(ms, which, partition)| cursor_at(Place(ms, which), partition));
        assert!(cursors.is_sorted());
        for (ms, cursor) in [1, 1, 1, 2].into_iter().zip(cursors) {
            assert!(cursor > EventCursor { at: Millis(ms), place: 0 });
        }
        for (partition, expected) in [(2, "(1-0"), (3, "(1-0"), (4, "1-0")] {
            assert_eq!(first_after(cursors[1], partition), expected);
        }
        assert_eq!(first_after(EventCursor { at: Millis(7), place: 0 }, 5), "7-0");
    }
}
