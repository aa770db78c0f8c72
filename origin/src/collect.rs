//! The collect role: takes what the edges hold, and answers once it is durable.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use playhead_shared::id::{AccountId, ProfileId, TitleId};
use playhead_shared::register::{Entry, Fact, Session};
use playhead_shared::time::{Millis, Stamp};
use playhead_shared::wire::{Admission, AdmissionAnswer, Batch, BatchAnswer, Lease, WireEntry};

use crate::provide::{known, title_facts};
use crate::store::{Decision, Result, Store, StoreError, Taking};

/// Accounts whose facts are asked for at once.
const ASKED_AT_ONCE: usize = 16;
/// Later stamps than any store can order by: 292,000 years ahead, so no edge has accepted one.
const GREATEST_STAMP: Stamp = Stamp(i64::MAX as u64 - 1);

/// Takes a batch. What this version cannot read is named in the answer, and the rest is taken.
pub async fn batch(store: &impl Store, batch: Batch, now: Millis) -> Result<BatchAnswer> {
    let (entries, unread) = readable(batch.registers);
    let worth_knowing = worth_knowing(&entries, &batch.leases);
    let taken = store.take(Taking { entries, leases: batch.leases, admission: None }, now).await?;

    let mut answer = BatchAnswer { server_time: now, unread, known: Vec::new(), verdicts: taken.verdicts };
    // Each account's are elsewhere, so they are asked for side by side.
    let mut asked = Vec::with_capacity(worth_knowing.len());
    for (account, facts) in worth_knowing {
        asked.push(async move { known(store, &account, facts.into_iter().collect()).await });
    }
    answer.known = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).try_concat().await?;
    Ok(answer)
}

/// Takes the batch that comes along, then decides whether there is room, in one step.
pub async fn admission(store: &impl Store, admission: Admission, now: Millis) -> Result<AdmissionAnswer> {
    // What cannot be read stays with the edge: it comes again by a batch, whose answer names it.
    let (entries, _) = readable(admission.batch.registers);
    let Lease { account, profile, title, .. } = admission.lease.clone();
    let taking = Taking { entries, leases: admission.batch.leases, admission: Some(admission.lease) };
    let taken = store.take(taking, now).await?;
    let Some(Decision { outcome, renewed, streams }) = taken.admission else {
        return Err(StoreError::Failed("an admission without a decision".to_owned()));
    };
    let registers = known(store, &account, title_facts(&profile, &[title])).await?;
    Ok(AdmissionAnswer { server_time: now, outcome, streams, registers, renewed })
}

/// The entries that this version can read, and the indices of those that it cannot.
fn readable(registers: Vec<WireEntry>) -> (Vec<Entry>, Vec<u32>) {
    let (mut entries, mut unread) = (Vec::with_capacity(registers.len()), Vec::new());
    for (index, wire) in (0..).zip(registers) {
        match Entry::try_from(wire) {
            Ok(entry) if entry.register.stamp() <= GREATEST_STAMP => entries.push(entry),
            _ => unread.push(index),
        }
    }
    (entries, unread)
}

/// What could keep the facts of a batch from counting: an edge that does not hold it has to be told.
fn worth_knowing(entries: &[Entry], leases: &[Lease]) -> BTreeMap<AccountId, BTreeSet<Fact>> {
    let mut facts: BTreeMap<AccountId, BTreeSet<Fact>> = BTreeMap::new();
    for lease in leases {
        facts.entry(lease.account.clone()).or_default().insert(Fact::Ended(lease.session));
    }
    for entry in entries {
        let of_title = |profile: &ProfileId, title: &TitleId| {
            [Fact::Forgotten(profile.clone(), title.clone()), Fact::Erased(profile.clone())]
        };
        let facts = facts.entry(entry.account.clone()).or_default();
        match &entry.fact {
            Fact::Session(profile, session) => {
                facts.extend([Fact::Ended(*session), Fact::Deleted(profile.clone(), *session)]);
                if let Ok(Session { title, .. }) = entry.register.value() {
                    facts.extend(of_title(profile, &title));
                }
            }
            Fact::Latest(profile, title) | Fact::Watched(profile, title) | Fact::Hidden(profile, title) => {
                facts.extend(of_title(profile, title));
            }
            Fact::Forgotten(..) | Fact::Erased(_) | Fact::Deleted(..) | Fact::Ended(_) => {
                facts.insert(entry.fact.clone());
            }
            Fact::Profile(_) => {}
        }
    }
    facts
}
