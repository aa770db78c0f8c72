//! What an edge keeps: registers that the origin has yet to get, and what is worth keeping of what it has got.
//!
//! Two forms, one contract ([`Held`]): [`journal`] for one actor that owns its accounts, and [`rows`] for many
//! short-lived instances on one database.

pub mod journal;
mod memory;
pub mod rows;

use std::future::Future;

use minicbor::{Decode, Encode};
use playhead_shared::id::{AccountId, DeviceId, ProfileId, SessionId, TitleId};
use playhead_shared::register::{EndReason, Fact, Gone, Register, Unreadable};
use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;
use playhead_shared::title::ProfileFacts;
use playhead_shared::wire::{Lease, Stream, WireEntry};
use thiserror::Error;

use crate::host::SqlError;

/// How long what was settled stays readable at least …
pub const KEEP_SETTLED_MS: u64 = 50 * 60 * 1000;
/// … and how often it is looked whether something has become older, which is a walk over all that is held. Together
/// they are less than an hour, within which an erased profile is gone from every edge.
pub const SWEEP_EVERY_MS: u64 = 5 * 60 * 1000;

/// Something that an edge holds of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// A fact, as the origin has or will have it.
    Fact(Fact),
    /// A stream to be renewed at the origin. Value [`HeldLease`].
    Lease(SessionId),
    /// That the origin last said of a session that it holds no stream. Value [`HeldVerdict`].
    Verdict(SessionId),
    /// When the origin was last asked for a title: the stamp. Value [`Gone`].
    Asked(ProfileId, TitleId),
}

const LEASE: u8 = 129;
const VERDICT: u8 = 130;
const ASKED: u8 = 131;

impl Item {
    /// Its parts as rows and journals keep them: profile (empty where it is the account's), kind and name.
    pub fn parts(&self) -> (&str, u8, String) {
        match self {
            Self::Fact(fact) => (fact.profile().map_or("", ProfileId::as_str), fact.kind() as u8, fact.name()),
            Self::Lease(session) => ("", LEASE, session.to_string()),
            Self::Verdict(session) => ("", VERDICT, session.to_string()),
            Self::Asked(profile, title) => (profile.as_str(), ASKED, title.to_string()),
        }
    }

    /// The item of those parts.
    pub fn from_parts(profile: &str, kind: u8, name: &str) -> Result<Self, Unreadable> {
        let bad = |_| Unreadable(format!("no item of kind {kind}"));
        Ok(match kind {
            LEASE => Self::Lease(name.parse().map_err(bad)?),
            VERDICT => Self::Verdict(name.parse().map_err(bad)?),
            ASKED => Self::Asked(profile.parse().map_err(bad)?, name.parse().map_err(bad)?),
            _ => Self::Fact(Fact::from_parts(profile, kind, name)?),
        })
    }

    /// Whether the item is this profile's, or its account's.
    fn concerns(&self, profile: &ProfileId) -> bool {
        let of = self.parts().0;
        of.is_empty() || of == profile.as_str()
    }
}

/// A stream as the edge heard of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HeldLease {
    /// What the device said; its age is what it had when it arrived.
    #[n(0)]
    pub lease: Lease,
    /// When it arrived, by this edge's clock.
    #[n(1)]
    pub received_at: Millis,
}

impl HeldLease {
    /// The lease as it is held.
    pub fn entry(&self) -> (Key, Register) {
        let key = Key { account: self.lease.account.clone(), item: Item::Lease(self.lease.session) };
        (key, Register::new(self.lease.stamp(), self))
    }

    /// The lease as it goes out now: it has aged since.
    pub fn aged(mut self, now: Millis) -> Lease {
        self.lease.age_ms += now.since(self.received_at);
        self.lease
    }
}

/// What the origin last said of a session that holds no stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HeldVerdict {
    /// Why it holds none.
    #[n(0)]
    pub reason: EndReason,
    /// The device that took its place.
    #[n(1)]
    pub by: DeviceId,
}

/// What of whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose.
    pub account: AccountId,
    /// What.
    pub item: Item,
}

impl Key {
    /// A register under this key as it goes over the wire.
    pub fn wire_entry(&self, register: &Register) -> WireEntry {
        let (profile, kind, name) = self.item.parts();
        WireEntry {
            account: self.account.to_string(),
            profile: profile.to_owned(),
            kind,
            name,
            register: register.as_bytes().to_vec(),
        }
    }
}

/// A register to be held, and when the origin must have it at the latest.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which.
    pub key: Key,
    /// What.
    pub register: Register,
    /// By when, on this edge's clock.
    pub due: Millis,
}

/// What the origin answered, to be held as long as it is worth something.
#[derive(Clone, Debug, Default)]
pub struct Learnt {
    /// What was asked for: what was settled before is replaced by the answer, or dropped if it has none.
    pub asked: Vec<Key>,
    /// The answer.
    pub answer: Vec<(Key, Register)>,
    /// When it was asked, on this edge's clock.
    pub requested_at: Millis,
}

/// One thing held.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Which.
    pub item: Item,
    /// What.
    pub register: Register,
    /// Whether the origin has yet to get it.
    pub pending: bool,
}

/// The edge's store failed or is full; nothing of the call was applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeldError {
    /// Too much waits for the origin.
    #[error("the edge holds as much as it may")]
    Full,
    /// The text is for the log.
    #[error(transparent)]
    Failed(#[from] SqlError),
}

/// What this edge keeps durably. Calls of concurrent requests may interleave in any way.
pub trait Held: 'static {
    /// Merges the changes in. On return they are durable and will be due, unless what is held is newer, or the same
    /// and settled. Of the due times of what is pending the earliest holds. On an error nothing was taken.
    fn merge(&self, changes: Vec<Change>) -> impl Future<Output = Result<(), HeldError>>;

    /// Takes in what the origin knows. Need not be durable: the origin can be asked again. What is pending is
    /// never dropped, nor anything that was settled after the origin was asked.
    fn learn(&self, learnt: Learnt) -> impl Future<Output = Result<(), HeldError>>;

    /// Everything held of a profile and of its account.
    fn read(&self, account: &AccountId, profile: &ProfileId) -> impl Future<Output = Result<Vec<Holding>, HeldError>>;

    /// When the next flush is due; none if nothing is pending. Not before a failed flush may be tried again.
    fn next_due(&self) -> impl Future<Output = Result<Option<Millis>, HeldError>>;

    /// Up to `limit` registers that are due, the longest due first.
    fn due(&self, now: Millis, limit: usize) -> impl Future<Output = Result<Vec<(Key, Register)>, HeldError>>;

    /// The origin has these: those that are still what was sent are pending no longer, and stay readable.
    fn settle(&self, sent: Vec<(Key, Register)>, now: Millis) -> impl Future<Output = Result<(), HeldError>>;

    /// The origin could not read these: they wait until `due`, so that they block nothing and are not lost.
    fn put_aside(&self, unread: Vec<(Key, Register)>, due: Millis) -> impl Future<Output = Result<(), HeldError>>;

    /// The right to flush until `until`, with the number of failures in a row before; none while another has
    /// it, or the time of a new attempt has not come.
    fn claim(&self, now: Millis, until: Millis) -> impl Future<Output = Result<Option<u32>, HeldError>>;

    /// Gives the right back: nobody flushes before `next`, and `failures` in a row came before.
    fn release(&self, next: Millis, failures: u32) -> impl Future<Output = Result<(), HeldError>>;

    /// Drops what was settled longer than [`KEEP_SETTLED_MS`] ago; once in [`SWEEP_EVERY_MS`], however often it is called.
    fn sweep(&self, now: Millis) -> impl Future<Output = Result<(), HeldError>>;
}

/// All that is held of a profile and its account, sorted out.
#[derive(Debug, Default)]
pub struct Holdings {
    /// The facts, to be read by the rules.
    pub facts: ProfileFacts,
    /// Which facts are held, and whether the origin has yet to get each.
    pub held: Vec<(Fact, Register, bool)>,
    /// The account's streams at this edge, and whether the origin has yet to hear of each.
    pub leases: Vec<(HeldLease, bool)>,
    /// What the origin last said of the account's sessions, and when.
    pub verdicts: Vec<(SessionId, HeldVerdict, Millis)>,
    /// When the origin was last asked for each title.
    pub asked: Vec<(TitleId, Millis)>,
}

impl Holdings {
    /// Sorts out what was read. A soft item that cannot be read any more is as good as none.
    pub fn of(holdings: Vec<Holding>) -> Self {
        let mut all = Self::default();
        for Holding { item, register, pending } in holdings {
            match item {
                Item::Fact(fact) => {
                    all.held.push((fact.clone(), register.clone(), pending));
                    all.facts.merge(fact, register);
                }
                Item::Lease(_) => all.leases.extend(register.value().ok().map(|lease| (lease, pending))),
                Item::Verdict(session) => {
                    let at = register.stamp().millis();
                    all.verdicts.extend(register.value().ok().map(|verdict| (session, verdict, at)));
                }
                Item::Asked(_, title) => all.asked.push((title, register.stamp().millis())),
            }
        }
        all
    }

    /// The streams that this edge knows of itself, for as long as the origin would let them live.
    pub fn live_streams(&self, now: Millis, rules: &Rules) -> Vec<Stream> {
        let aged = self.leases.iter().map(|(held, _)| held.clone().aged(now));
        let live = |lease: &Lease| {
            let ended = self.facts.get(&Fact::Ended(lease.session)).is_some();
            !lease.stopped && !ended && lease.age_ms < rules.lease_ms && lease.still_ms + lease.age_ms < rules.still_ms
        };
        let mut youngest: Vec<Lease> = Vec::new();
        for lease in aged.filter(live) {
            let of_device = |held: &&mut Lease| held.profile == lease.profile && held.device == lease.device;
            match youngest.iter_mut().find(of_device) {
                Some(held) if lease.session > held.session => *held = lease,
                Some(_) => {}
                None => youngest.push(lease),
            }
        }
        youngest.iter().map(Lease::stream).collect()
    }
}

/// The register that says when the origin was asked.
pub fn asked_register(at: Millis) -> Register {
    Register::new(at.into(), &Gone {})
}
