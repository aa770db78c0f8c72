//! What edge and origin say to each other: CBOR with integer keys, so that either may grow first.
//!
//! `POST` [`BATCHES`] (collect), [`ADMISSIONS`] (collect) and [`READS`] (provide), with the service token.
//! The origin always answers in registers; the rules that read them run at the edge, over what both know.

use minicbor::{Decode, Encode};

use crate::id::{AccountId, DeviceId, ProfileId, SessionId, TitleId};
use crate::register::{EndReason, Entry, Fact, Register, Unreadable};
use crate::time::{Millis, Stamp};

/// Takes a [`Batch`], answers a [`BatchAnswer`] once it is durable.
pub const BATCHES: &str = "/v1/batches";
/// Takes an [`Admission`], answers an [`AdmissionAnswer`].
pub const ADMISSIONS: &str = "/v1/admissions";
/// Takes a [`Read`], answers a [`ReadAnswer`].
pub const READS: &str = "/v1/reads";

/// A register on the wire: parts that are read one by one, so that one unreadable register hurts no other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct WireEntry {
    /// Whose fact it is.
    #[n(0)]
    pub account: String,
    /// The profile whose fact it is; empty where it is the account's.
    #[n(1)]
    pub profile: String,
    /// The number of its [`Kind`](crate::register::Kind).
    #[n(2)]
    pub kind: u8,
    /// Its name within profile and kind.
    #[n(3)]
    pub name: String,
    /// The bytes of the register.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub register: Vec<u8>,
}

impl From<Entry> for WireEntry {
    fn from(entry: Entry) -> Self {
        Self {
            account: entry.account.to_string(),
            profile: entry.fact.profile().map(ProfileId::to_string).unwrap_or_default(),
            kind: entry.fact.kind() as u8,
            name: entry.fact.name(),
            register: entry.register.into_bytes(),
        }
    }
}

impl TryFrom<WireEntry> for Entry {
    type Error = Unreadable;

    fn try_from(wire: WireEntry) -> Result<Self, Unreadable> {
        let account = wire.account.parse().map_err(|_| Unreadable("no account".to_owned()))?;
        let fact = Fact::from_parts(&wire.profile, wire.kind, &wire.name)?;
        let register = Register::from_bytes(wire.register)?;
        fact.readable(&register)?;
        Ok(Self { account, fact, register })
    }
}

/// What an edge says of one stream: soft state, renewed by every heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lease {
    /// Whose stream it is.
    #[n(0)]
    pub account: AccountId,
    /// The session that streams.
    #[n(1)]
    pub session: SessionId,
    /// Who watches.
    #[n(2)]
    pub profile: ProfileId,
    /// On what.
    #[n(3)]
    pub device: DeviceId,
    /// What.
    #[n(4)]
    pub title: TitleId,
    /// When the device observed it, in milliseconds on its axis: only a newer one applies.
    #[n(5)]
    pub observed_at: Millis,
    /// The stream was stopped by its own device.
    #[n(6)]
    pub stopped: bool,
    /// Whether the position moves; false on pause.
    #[n(7)]
    pub playing: bool,
    /// How many streams the token allows the account.
    #[n(8)]
    pub limit: u32,
    /// Its title is shown to nobody.
    #[n(9)]
    pub incognito: bool,
    /// How long ago it was observed, as far as the edge can tell: before sending it, and at the edge since.
    #[n(10)]
    pub age_ms: u64,
    /// How long the position had not moved when it was observed.
    #[n(11)]
    pub still_ms: u64,
}

/// What an edge has to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Batch {
    /// Facts, merged each under its own key.
    #[n(0)]
    pub registers: Vec<WireEntry>,
    /// Streams, the newest of each session.
    #[n(1)]
    pub leases: Vec<Lease>,
}

/// The origin has all of the batch on disk but what it names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BatchAnswer {
    /// The origin's clock.
    #[n(0)]
    pub server_time: Millis,
    /// Indices of registers that this origin cannot read: to be kept and tried again later.
    #[n(1)]
    pub unread: Vec<u32>,
    /// What the edge should know: `ended`, `forgotten` and `deleted` of the sessions and profiles in the batch.
    #[n(2)]
    pub known: Vec<WireEntry>,
    /// Sessions of the batch that hold no stream, as things stand.
    #[n(3)]
    pub verdicts: Vec<Verdict>,
}

/// A session holds no stream, though its heartbeats count.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Verdict {
    /// Whose.
    #[n(0)]
    pub account: AccountId,
    /// Which.
    #[n(1)]
    pub session: SessionId,
    /// [`EndReason::OverLimit`] or [`EndReason::Replaced`].
    #[n(2)]
    pub reason: EndReason,
    /// The device that holds the stream instead; the session's own one where it is replaced.
    #[n(3)]
    pub by: DeviceId,
}

/// A session asks for a stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Admission {
    /// The stream as it would be: not stopped, playing.
    #[n(0)]
    pub lease: Lease,
    /// What this edge holds of the account and the origin may not know yet, the evicted among it: taken first.
    #[n(1)]
    pub batch: Batch,
}

/// Whether there is room.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AdmissionAnswer {
    /// The origin's clock.
    #[n(0)]
    pub server_time: Millis,
    /// The decision.
    #[n(1)]
    pub outcome: Outcome,
    /// The account's live streams, the new one among them if it was let in.
    #[n(2)]
    pub streams: Vec<Stream>,
    /// The title's registers, and what was forgotten.
    #[n(3)]
    pub registers: Vec<WireEntry>,
    /// The session held a stream before: this admission is a repetition.
    #[n(4)]
    pub renewed: bool,
}

/// The decision on an admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Outcome {
    /// It has its stream.
    #[n(0)]
    Admitted,
    /// The origin cannot tell yet (its leases were lost, or it was away): play on.
    #[n(1)]
    Unverified,
    /// At the limit, or this very session was ended from elsewhere.
    #[n(2)]
    Refused,
}

/// A live stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stream {
    /// Which session.
    #[n(0)]
    pub session: SessionId,
    /// Who watches.
    #[n(1)]
    pub profile: ProfileId,
    /// On what.
    #[n(2)]
    pub device: DeviceId,
    /// What.
    #[n(3)]
    pub title: TitleId,
    /// Whether the position moves; false on pause.
    #[n(4)]
    pub playing: bool,
    /// Its title is shown to nobody.
    #[n(5)]
    pub incognito: bool,
}

/// What an edge asks of one profile, or of its account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Read {
    /// Whose.
    #[n(0)]
    pub account: AccountId,
    /// Which profile's.
    #[n(1)]
    pub profile: ProfileId,
    /// What.
    #[n(2)]
    pub what: What,
}

/// The questions.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum What {
    /// The registers of these titles.
    #[n(0)]
    Titles(#[n(0)] Vec<TitleId>),
    /// The registers of the titles from which continue watching of `limit` items is worked out, and of those
    /// that the edge holds something of.
    #[n(1)]
    ContinueWatching {
        /// How many items the device asked for.
        #[n(0)]
        limit: u32,
        /// What the edge holds something of, and the series and next titles that its resume points name.
        #[n(1)]
        held: Vec<TitleId>,
    },
    /// `limit` listed history entries that were born before a session (none: the newest), with what is known of
    /// those that the edge holds.
    #[n(2)]
    History {
        /// How many.
        #[n(0)]
        limit: u32,
        /// Where the last page ended.
        #[n(1)]
        before: Option<SessionId>,
    },
    /// The account's live streams.
    #[n(3)]
    Streams,
}

/// The answer to a [`Read`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReadAnswer {
    /// The origin's clock.
    #[n(0)]
    pub server_time: Millis,
    /// What was asked for, and all that was forgotten of it.
    #[n(1)]
    pub registers: Vec<WireEntry>,
    /// The history goes on after the last entry.
    #[n(2)]
    pub more: bool,
    /// The account's live streams, oldest birth first.
    #[n(3)]
    pub streams: Vec<Stream>,
}

impl Lease {
    /// Its stamp.
    pub fn stamp(&self) -> Stamp {
        self.observed_at.into()
    }

    /// The stream that it holds.
    pub fn stream(&self) -> Stream {
        Stream {
            session: self.session,
            profile: self.profile.clone(),
            device: self.device.clone(),
            title: self.title.clone(),
            playing: self.playing,
            incognito: self.incognito,
        }
    }
}
