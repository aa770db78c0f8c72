//! The one idea: every fact is a register, one value with one stamp, and of two registers the greater bytes
//! are the newer.
//!
//! A register is 8 bytes of stamp, big-endian, and a CBOR value with integer keys. Its order is that of
//! bytes, so that Rust, SQLite, Redis and Cassandra agree on it without knowing what it says, and so that
//! merging is commutative, associative and idempotent: facts may arrive twice, late and out of order.

use minicbor::{Decode, Encode};
use thiserror::Error;

use crate::heartbeat::Event;
use crate::id::{AccountId, DeviceId, ProfileId, SessionId, TitleId};
use crate::time::{Millis, Stamp};

const STAMP_LENGTH: usize = 8;

/// One value with one stamp. `Ord` is the merge order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(Vec<u8>);

/// Bytes that this version cannot read: cut off, not CBOR, or of a newer version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unreadable register: {0}")]
pub struct Unreadable(pub String);

impl Register {
    /// Encodes a value under its stamp. Equal arguments give equal bytes.
    pub fn new(stamp: Stamp, value: &impl Encode<()>) -> Self {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend_from_slice(&stamp.0.to_be_bytes());
        let Ok(()) = minicbor::encode(value, &mut bytes) else { unreachable!("a Vec takes all bytes") };
        Self(bytes)
    }

    /// Takes bytes that came over a wire or from a store; their value is read, or refused, later.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Unreadable> {
        if bytes.len() <= STAMP_LENGTH {
            return Err(Unreadable(format!("{} bytes are too few", bytes.len())));
        }
        Ok(Self(bytes))
    }

    /// The bytes, as every store keeps them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, as every store keeps them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// How new it is.
    pub fn stamp(&self) -> Stamp {
        self.0.first_chunk().map_or(Stamp(0), |bytes| Stamp(u64::from_be_bytes(*bytes)))
    }

    /// What it says.
    pub fn value<'b, T: Decode<'b, ()>>(&'b self) -> Result<T, Unreadable> {
        // What exactly minicbor missed would only be text to carry to the edge: the bytes are at hand.
        minicbor::decode(&self.0[STAMP_LENGTH..]).map_err(|_| Unreadable("not a value of its kind".to_owned()))
    }
}

/// The merge of two registers of one fact: the newer one.
pub fn merge(a: Register, b: Register) -> Register {
    a.max(b)
}

/// Which fact of an account a register holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// A viewing-history entry: one play. Value [`Session`], stamped with `observed_at`.
    Session(ProfileId, SessionId),
    /// A title's resume point. Value [`Latest`], stamped with `moved_at`.
    Latest(ProfileId, TitleId),
    /// Whether a title was watched. Value [`Watched`], stamped with `moved_at`, or the mark's `observed_at`.
    Watched(ProfileId, TitleId),
    /// Whether a title is off continue watching. Value [`Hidden`].
    Hidden(ProfileId, TitleId),
    /// Nothing of the title up to the stamp counts. Value [`Gone`].
    Forgotten(ProfileId, TitleId),
    /// Nothing of the profile up to the stamp counts. Value [`Gone`].
    Erased(ProfileId),
    /// One history entry is not listed. Value [`Gone`].
    Deleted(ProfileId, SessionId),
    /// A stream was stopped from elsewhere. Value [`Ended`].
    Ended(SessionId),
    /// The account has this profile. Value [`Gone`] at stamp 0.
    Profile(ProfileId),
}

/// The kinds of facts, as stores and wires number them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // each is the variant of [`Fact`] by its name; `Forgotten` serves `Erased` too, under `*`
pub enum Kind {
    Session = 1,
    Latest = 2,
    Watched = 3,
    Hidden = 4,
    Forgotten = 5,
    Deleted = 6,
    Ended = 7,
    Profile = 8,
}

/// The name under which the erasure of a whole profile stands beside its forgotten titles.
pub const WHOLE_PROFILE: &str = "*";

impl Kind {
    /// The kind of that number, if this version knows it.
    pub fn from_number(number: u8) -> Option<Self> {
        use Kind::*;
        [Session, Latest, Watched, Hidden, Forgotten, Deleted, Ended, Profile].into_iter().find(|k| *k as u8 == number)
    }
}

impl Fact {
    /// The kind that it is stored under.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Session(..) => Kind::Session,
            Self::Latest(..) => Kind::Latest,
            Self::Watched(..) => Kind::Watched,
            Self::Hidden(..) => Kind::Hidden,
            Self::Forgotten(..) | Self::Erased(_) => Kind::Forgotten,
            Self::Deleted(..) => Kind::Deleted,
            Self::Ended(_) => Kind::Ended,
            Self::Profile(_) => Kind::Profile,
        }
    }

    /// The profile whose fact it is; none where it is the account's.
    pub fn profile(&self) -> Option<&ProfileId> {
        match self {
            Self::Session(profile, _)
            | Self::Latest(profile, _)
            | Self::Watched(profile, _)
            | Self::Hidden(profile, _)
            | Self::Forgotten(profile, _)
            | Self::Erased(profile)
            | Self::Deleted(profile, _) => Some(profile),
            Self::Ended(_) | Self::Profile(_) => None,
        }
    }

    /// Its name within its profile and kind: a session, a title, a profile, or `*`.
    pub fn name(&self) -> String {
        match self {
            Self::Session(_, session) | Self::Deleted(_, session) | Self::Ended(session) => session.to_string(),
            Self::Latest(_, title) | Self::Watched(_, title) | Self::Hidden(_, title) | Self::Forgotten(_, title) => {
                title.to_string()
            }
            Self::Erased(_) => WHOLE_PROFILE.to_owned(),
            Self::Profile(profile) => profile.to_string(),
        }
    }

    /// The fact that a store or a wire names so; `profile` is empty where the fact is the account's.
    pub fn from_parts(profile: &str, kind: u8, name: &str) -> Result<Self, Unreadable> {
        let bad = |what: &str| Unreadable(format!("no {what} of kind {kind}"));
        let kind = Kind::from_number(kind).ok_or_else(|| bad("fact"))?;
        let of_profile = || profile.parse().map_err(|_| bad("profile"));
        let of_title = || name.parse().map_err(|_| bad("title"));
        let of_session = || name.parse().map_err(|_| bad("session"));
        Ok(match kind {
            Kind::Session => Self::Session(of_profile()?, of_session()?),
            Kind::Latest => Self::Latest(of_profile()?, of_title()?),
            Kind::Watched => Self::Watched(of_profile()?, of_title()?),
            Kind::Hidden => Self::Hidden(of_profile()?, of_title()?),
            Kind::Forgotten if name == WHOLE_PROFILE => Self::Erased(of_profile()?),
            Kind::Forgotten => Self::Forgotten(of_profile()?, of_title()?),
            Kind::Deleted => Self::Deleted(of_profile()?, of_session()?),
            Kind::Ended if profile.is_empty() => Self::Ended(of_session()?),
            Kind::Profile if profile.is_empty() => Self::Profile(name.parse().map_err(|_| bad("profile"))?),
            Kind::Ended | Kind::Profile => return Err(bad("account's fact")),
        })
    }

    /// Whether `register` holds a value of this fact that this version can read.
    pub fn readable(&self, register: &Register) -> Result<(), Unreadable> {
        match self.kind() {
            Kind::Session => register.value::<Session>().map(drop),
            Kind::Latest => register.value::<Latest>().map(drop),
            Kind::Watched => register.value::<Watched>().map(drop),
            Kind::Hidden => register.value::<Hidden>().map(drop),
            Kind::Ended => register.value::<Ended>().map(drop),
            Kind::Forgotten | Kind::Deleted | Kind::Profile => register.value::<Gone>().map(drop),
        }
    }
}

/// A fact of an account and the register that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose fact it is.
    pub account: AccountId,
    /// Which fact it is.
    pub fact: Fact,
    /// What is known of it.
    pub register: Register,
}

/// One play: a viewing-history entry. Fields as in [`Heartbeat`](crate::heartbeat::Heartbeat).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
#[allow(missing_docs)]
pub struct Session {
    #[n(0)]
    pub title: TitleId,
    #[n(1)]
    pub device: DeviceId,
    #[n(2)]
    pub event: Event,
    #[n(3)]
    pub playing: bool,
    #[n(4)]
    pub position_ms: u64,
    #[n(5)]
    pub duration_ms: Option<u64>,
    #[n(6)]
    pub watched_ms: u64,
    #[n(7)]
    pub furthest_ms: u64,
    #[n(8)]
    pub moved_at: Millis,
    #[n(9)]
    pub series: Option<TitleId>,
}

/// Where the viewer stopped in a title. Nothing in it changes while the position does not move, so that an
/// idle device's beats are one register.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Latest {
    /// Where, in content time.
    #[n(0)]
    pub position_ms: u64,
    /// How long the title is; none for live.
    #[n(1)]
    pub duration_ms: Option<u64>,
    /// On which device.
    #[n(2)]
    pub device: DeviceId,
    /// The series that the title belongs to.
    #[n(3)]
    pub series: Option<TitleId>,
    /// The title that follows in the series.
    #[n(4)]
    pub next_title: Option<TitleId>,
}

/// Whether a title was watched to its threshold, or marked so.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Watched {
    /// False only by the viewer's own mark.
    #[n(0)]
    pub watched: bool,
}

/// Whether the viewer took a title off continue watching.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hidden {
    /// False once it was put back.
    #[n(0)]
    pub hidden: bool,
}

/// A fact whose stamp says it all: forgotten, deleted, profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Gone {}

/// A stream that was stopped from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ended {
    /// Why.
    #[n(0)]
    pub reason: EndReason,
    /// The device that stopped it.
    #[n(1)]
    pub by: DeviceId,
}

/// Why a session holds no stream any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum EndReason {
    /// Another device took its place at the stream limit.
    #[n(0)]
    Evicted,
    /// Someone stopped it.
    #[n(1)]
    Stopped,
    /// It was let in unverified and found no room.
    #[n(2)]
    OverLimit,
    /// The same device opened a younger session.
    #[n(3)]
    Replaced,
}

impl EndReason {
    /// The word that the device API uses.
    pub fn word(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Stopped => "stopped",
            Self::OverLimit => "over_limit",
            Self::Replaced => "replaced",
        }
    }
}
