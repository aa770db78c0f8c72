//! What the roles need of a store: three small traits, and what each may get wrong.
//!
//! A backend implements all three; the contract suite (`tests/contract.rs`) runs against every one. Writes
//! are idempotent throughout: whatever fails, or is cut off, may simply be done again.

pub mod cassandra;
pub mod embedded;
pub mod redis;

use std::future::Future;

use playhead_shared::id::{AccountId, ProfileId, SessionId};
use playhead_shared::register::{Entry, Fact, Kind, Register};
use playhead_shared::time::{Millis, Stamp};
use playhead_shared::wire::{Lease, Outcome, Stream, Verdict};
use thiserror::Error;

use crate::signal::{Event, Signal};

/// The store's fault, always: retry later. The text is for the operator's log, never for an answer.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// Too much is waiting; nothing was done.
    #[error("the store has too much to do")]
    Busy,
    /// It failed, and may or may not have done what it was asked.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// The result of asking a store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// All that collect takes in one step.
#[derive(Clone, Debug, Default)]
pub struct Taking {
    /// Facts to merge; a fact may come more than once.
    pub entries: Vec<Entry>,
    /// Streams to renew.
    pub leases: Vec<Lease>,
    /// A session that asks for a stream, after all the others.
    pub admission: Option<Lease>,
}

/// What a [`Taking`] came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The sessions among its leases that hold no stream, but for those that ended by register.
    pub verdicts: Vec<Verdict>,
    /// What its admission came to.
    pub admission: Option<Decision>,
}

/// What an admission came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether there was room.
    pub outcome: Outcome,
    /// The session held a stream before.
    pub renewed: bool,
    /// The account's live streams after it, oldest birth first.
    pub streams: Vec<Stream>,
}

/// The facts: registers under their names, merged by byte order, kept for ever.
///
/// May be stale where a backend has replicas: a read may miss what was acknowledged moments ago elsewhere,
/// never what this process was told. Never loses what was acknowledged.
pub trait FactStore: Send + Sync + 'static {
    /// Merges facts; one may come more than once. They are durable once this returns; after a failure any of them
    /// may be, and merging them again does no harm.
    fn merge(&self, entries: Vec<Entry>, now: Millis) -> impl Future<Output = Result<()>> + Send;

    /// The registers of these facts, in their order.
    fn get(&self, account: &AccountId, facts: &[Fact]) -> impl Future<Output = Result<Vec<Option<Register>>>> + Send;

    /// All that is known of a profile from one kind to another, in the order of the kinds.
    fn scan(
        &self,
        account: &AccountId,
        profile: &ProfileId,
        from: Kind,
        to: Kind,
    ) -> impl Future<Output = Result<Vec<(Fact, Register)>>> + Send;

    /// The sessions of a profile that were born before that one (none: all), newest first, `limit` at most.
    fn sessions(
        &self,
        account: &AccountId,
        profile: &ProfileId,
        before: Option<SessionId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(SessionId, Register)>>> + Send;

    /// Deletes those of the facts whose registers are older than the stamp by then. What is older and comes later may
    /// count as deleted, too, or not. May be cut off in the middle.
    fn delete_older(
        &self,
        account: &AccountId,
        facts: Vec<Fact>,
        stamp: Stamp,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// The streams, which are soft: a backend may lose them all, and knows them again within one lease.
pub trait Views: Send + Sync + 'static {
    /// Takes facts and leases, and appends the signals that follow from them. All of it is durable once this
    /// returns; after a failure any part of it may be, and taking it again does no harm. Per account it is one
    /// atomic step: of two admissions for the last place one is refused.
    ///
    /// Merges the facts itself, so that a backend with one disk makes one write of it all.
    fn take(&self, taking: Taking, now: Millis) -> impl Future<Output = Result<Taken>> + Send;

    /// The account's live streams, oldest birth first.
    fn streams(&self, account: &AccountId, now: Millis) -> impl Future<Output = Result<Vec<Stream>>> + Send;

    /// Ends leases that ran out, signals it, and forgets what ended long ago; `limit` leases, or accounts, at most.
    /// Returns how many it looked at: at the limit there are more.
    fn sweep(&self, now: Millis, limit: usize) -> impl Future<Output = Result<usize>> + Send;

    /// Notes that collect is there. Called every second while it runs; after a gap of more than ten the
    /// leases count as unverified for one lease's length.
    fn alive(&self, now: Millis) -> impl Future<Output = Result<()>> + Send;

    /// Fails unless the store can be written now.
    fn ready(&self, now: Millis) -> impl Future<Output = Result<()>> + Send;
}

/// The queue between the roles, and the events that leave the system.
pub trait Signals: Send + Sync + 'static {
    /// Names a signal in the queue.
    type SignalId: Send + Sync + Clone;

    /// Signals that are due, oldest first. They are seen again until they are [done](Self::publish).
    fn due(&self, now: Millis, limit: usize) -> impl Future<Output = Result<Vec<(Self::SignalId, Signal)>>> + Send;

    /// In one atomic step: publishes those of the events whose ids were not published in the last 8 days, queues
    /// signals for later, and removes those that are done.
    fn publish(
        &self,
        events: Vec<Event>,
        later: Vec<(Millis, Signal)>,
        done: Vec<Self::SignalId>,
        now: Millis,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Events published after `cursor`, oldest first, each with the cursor that follows it. None older than 7 days.
    fn events(
        &self,
        cursor: Option<EventCursor>,
        limit: usize,
        now: Millis,
    ) -> impl Future<Output = Result<Vec<(EventCursor, Event)>>> + Send;

    /// Drops what is kept no longer; `limit` events at most. Returns how many it dropped.
    fn prune(&self, now: Millis, limit: usize) -> impl Future<Output = Result<usize>> + Send;
}

/// Events can be read for this long …
const READABLE_MS: u64 = 7 * DAY_MS;
/// … and are kept for this long, so that their ids stay said.
const SAID_MS: u64 = 8 * DAY_MS;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// What a backend keeps as CBOR.
fn write(value: &impl minicbor::Encode<()>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(192);
    let Ok(()) = minicbor::encode(value, &mut bytes) else { unreachable!("a Vec takes all bytes") };
    bytes
}

/// Where a reader of events stands: when the event was published, and its place among those of that time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventCursor {
    /// When it was published.
    pub at: Millis,
    /// Its place.
    pub place: u64,
}

/// A whole backend.
pub trait Store: FactStore + Views + Signals {}
impl<S: FactStore + Views + Signals> Store for S {}
