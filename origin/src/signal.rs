//! Signals, which join collect and process, and the events that process publishes of them.

use minicbor::{Decode, Encode};
use playhead_shared::id::{AccountId, DeviceId, ProfileId, SessionId, TitleId};
use playhead_shared::register::{EndReason, Ended, Entry, Fact, Register, Session, Watched};
use playhead_shared::time::Millis;
use playhead_shared::wire::{Lease, WireEntry};
use serde::Serialize;

/// A signal that a newer version has written is looked at again so much later: after an upgrade, perhaps.
pub(crate) const UNREADABLE_MS: u64 = 3600 * 1000;

/// Something that process has to look at. Seen at least once, in about the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Signal {
    /// A fact moved that may be worth an event, or condemns others.
    #[n(0)]
    Fact {
        /// What it is now.
        #[n(0)]
        entry: WireEntry,
        /// Nothing was known of it before, as far as the store can tell.
        #[n(1)]
        first: bool,
    },
    /// A lease ran out.
    #[n(1)]
    Expired {
        /// The newest lease.
        #[n(0)]
        lease: Lease,
        /// When it took its stream.
        #[n(1)]
        since: Millis,
        /// When it ran out.
        #[n(2)]
        at: Millis,
    },
    /// A session found no room.
    #[n(2)]
    LimitReached {
        /// What it asked for.
        #[n(0)]
        lease: Lease,
        /// When.
        #[n(1)]
        at: Millis,
    },
    /// The accept window of a command has passed: what came late is deleted too.
    #[n(3)]
    SweepAgain(#[n(0)] WireEntry),
}

/// The signal of a register that was merged over `old`. A backend that does not know the old one says none:
/// process publishes each event once, so that a signal too many does no harm.
pub fn signal_of(entry: &Entry, old: Option<&Register>) -> Option<Signal> {
    let notable = match &entry.fact {
        Fact::Session(..) => old.is_none() || (is_stop(&entry.register) && !old.is_some_and(is_stop)),
        // Every one, not only the first: a rewatch is worth an event, and only process can tell.
        Fact::Watched(..) => matches!(entry.register.value(), Ok(Watched { watched: true })),
        Fact::Ended(_) | Fact::Forgotten(..) | Fact::Erased(_) | Fact::Deleted(..) => true,
        Fact::Latest(..) | Fact::Hidden(..) | Fact::Profile(_) => false,
    };
    notable.then(|| Signal::Fact { entry: entry.clone().into(), first: old.is_none() })
}

/// The ids of all events that the signal of a fact can make, if that is all it is for; none where it is for more, or
/// where only process can tell. Once they are published, it need not be signalled again.
pub fn event_ids(entry: &Entry) -> Vec<String> {
    let id = |kind: EventKind, session: &SessionId| {
        Event::new(kind, &entry.account, &session.to_string(), entry.register.stamp().millis()).id
    };
    match &entry.fact {
        Fact::Session(_, session) if is_stop(&entry.register) => {
            vec![id(EventKind::SessionStarted, session), id(EventKind::SessionEnded, session)]
        }
        Fact::Session(_, session) => vec![id(EventKind::SessionStarted, session)],
        Fact::Ended(session) => {
            let kind = entry.register.value().ok().and_then(|Ended { reason, .. }| EventKind::of_end(reason));
            kind.map(|kind| id(kind, session)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn is_stop(register: &Register) -> bool {
    use playhead_shared::heartbeat::Event;
    register.value::<Session>().is_ok_and(|session| session.event == Event::Stop)
}

/// What happened to a viewer, for other services to follow. Its id is a function of what happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Event {
    /// The same for the same happening, however often it is signalled.
    #[n(0)]
    pub id: String,
    /// What happened.
    #[n(1)]
    pub kind: EventKind,
    /// When: on the device axis for what a device did, by the origin's clock for what the origin decided.
    #[n(2)]
    pub at: Millis,
    /// Whose.
    #[n(3)]
    pub account: AccountId,
    /// Who watched.
    #[n(4)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileId>,
    /// Which session.
    #[n(5)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// What was watched.
    #[n(6)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title_id: Option<TitleId>,
    /// The device that did it.
    #[n(7)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// Where the viewer was.
    #[n(8)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position_ms: Option<u64>,
    /// Content time played.
    #[n(9)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watched_ms: Option<u64>,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A session's first heartbeat arrived.
    #[n(0)]
    SessionStarted,
    /// Its device stopped it.
    #[n(1)]
    SessionEnded,
    /// Its device fell silent, or its position stood still for too long.
    #[n(2)]
    SessionExpired,
    /// Another device took its place.
    #[n(3)]
    SessionEvicted,
    /// It was stopped from elsewhere.
    #[n(4)]
    SessionStopped,
    /// A title was played past its threshold, or marked watched.
    #[n(5)]
    TitleWatched,
    /// A session found no room.
    #[n(6)]
    LimitReached,
}

impl EventKind {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::SessionStarted => "session_started",
            Self::SessionEnded => "session_ended",
            Self::SessionExpired => "session_expired",
            Self::SessionEvicted => "session_evicted",
            Self::SessionStopped => "session_stopped",
            Self::TitleWatched => "title_watched",
            Self::LimitReached => "limit_reached",
        }
    }

    /// The kind of an `ended` register's reason; none where the origin itself decided, which it says elsewhere.
    pub fn of_end(reason: EndReason) -> Option<Self> {
        match reason {
            EndReason::Evicted => Some(Self::SessionEvicted),
            EndReason::Stopped => Some(Self::SessionStopped),
            EndReason::OverLimit | EndReason::Replaced => None,
        }
    }
}

impl Event {
    /// An event of that kind. What makes it the same event again goes into `what`.
    pub fn new(kind: EventKind, account: &AccountId, what: &str, at: Millis) -> Self {
        Self {
            id: format!("{}/{account}/{what}", kind.word()),
            kind,
            at,
            account: account.clone(),
            profile: None,
            session_id: None,
            title_id: None,
            device: None,
            position_ms: None,
            watched_ms: None,
        }
    }

    /// The event of a lease. Of an incognito session nothing but the account and the session is told.
    pub fn of_lease(kind: EventKind, lease: &Lease, what: &str, at: Millis) -> Self {
        let told = !lease.incognito;
        Self {
            session_id: Some(lease.session),
            profile: told.then(|| lease.profile.clone()),
            title_id: told.then(|| lease.title.clone()),
            device: told.then(|| lease.device.clone()),
            ..Self::new(kind, &lease.account, what, at)
        }
    }
}
