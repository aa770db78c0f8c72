//! The process role: turns signals into events, ends streams that ran out, and deletes what is condemned.
//!
//! Every step may be cut off anywhere and is repeated harmlessly: a signal is done only in the atomic step that
//! publishes its events, and deleting twice deletes once.

use playhead_shared::id::{AccountId, ProfileId, TitleId};
use playhead_shared::register::{Ended, Entry, Fact, Kind, Register, Session, Watched};
use playhead_shared::rules::Rules;
use playhead_shared::time::{Millis, Stamp};
use playhead_shared::wire::WireEntry;

use crate::signal::{Event, EventKind, Signal, UNREADABLE_MS};
use crate::store::{FactStore, Result, Store};

/// Signals that are taken at once, and leases and events that are looked at.
const AT_ONCE: usize = 256;
/// A late write may come this long after the accept window: it waited at an edge that could not reach the origin.
const LATE_MS: u64 = 24 * 3600 * 1000;
/// A signal that could not be followed is taken up again so much later.
const AGAIN_MS: u64 = 10_000;
/// Facts that are deleted in one write.
const DELETED_AT_ONCE: usize = 500;
/// How many sessions back the one is looked for in which a title was watched.
const SESSIONS_BACK: usize = 64;

/// Does what is to be done now, a bounded piece of it. Returns whether there is more.
pub async fn step(store: &impl Store, rules: &Rules, now: Millis) -> Result<bool> {
    let swept = store.sweep(now, AT_ONCE).await?;
    let signals = store.due(now, AT_ONCE).await?;
    let more = swept == AT_ONCE || signals.len() == AT_ONCE;
    if signals.is_empty() {
        return Ok(more);
    }
    let (mut events, mut later, mut done) = (Vec::new(), Vec::new(), Vec::with_capacity(signals.len()));
    let mut failed = None;
    for (id, signal) in signals {
        done.push(id);
        if let Err(error) = follow(store, signal.clone(), rules, now, &mut events, &mut later).await {
            // It must not stand before the others for ever; they wait for the next step, for the store may be away.
            later.push((now.plus(AGAIN_MS), signal));
            failed = Some(error);
            break;
        }
    }
    store.publish(events, later, done, now).await?;
    failed.map_or(Ok(more), Err)
}

/// Drops what is kept no longer. Returns whether there is more.
pub async fn prune(store: &impl Store, now: Millis) -> Result<bool> {
    Ok(store.prune(now, AT_ONCE).await? == AT_ONCE)
}

/// Does what a signal asks for.
async fn follow(
    store: &impl Store,
    signal: Signal,
    rules: &Rules,
    now: Millis,
    events: &mut Vec<Event>,
    later: &mut Vec<(Millis, Signal)>,
) -> Result<()> {
    match signal {
        Signal::Expired { lease, since, at } => {
            let what = format!("{}/{since}", lease.session);
            events.push(Event::of_lease(EventKind::SessionExpired, &lease, &what, at));
        }
        Signal::LimitReached { lease, at } => {
            let what = lease.session.to_string();
            events.push(Event::of_lease(EventKind::LimitReached, &lease, &what, at));
        }
        Signal::Fact { entry, first } => {
            let Ok(entry) = read(entry.clone()) else {
                later.push((now.plus(UNREADABLE_MS), Signal::Fact { entry, first }));
                return Ok(());
            };
            events.extend(events_of(store, &entry, first, rules).await?);
            if condemn(store, &entry).await? {
                later.push((now.plus(rules.accept_window_ms + LATE_MS), Signal::SweepAgain(entry.into())));
            }
        }
        Signal::SweepAgain(entry) => match read(entry.clone()) {
            Ok(entry) => drop(condemn(store, &entry).await?),
            Err(()) => later.push((now.plus(UNREADABLE_MS), Signal::SweepAgain(entry))),
        },
    }
    Ok(())
}

/// Collect took it, so it can be read: one that cannot was written by a newer version beside this one.
fn read(entry: WireEntry) -> std::result::Result<Entry, ()> {
    Entry::try_from(entry).map_err(|error| tracing::error!(%error, "a signal holds what cannot be read"))
}

/// The events of a fact.
async fn events_of(store: &impl FactStore, entry: &Entry, first: bool, rules: &Rules) -> Result<Vec<Event>> {
    let (account, at) = (&entry.account, entry.register.stamp().millis());
    Ok(match &entry.fact {
        Fact::Session(profile, id) => {
            let Ok(session) = entry.register.value::<Session>() else { return Ok(Vec::new()) };
            let event = |kind, at| Event {
                profile: Some(profile.clone()),
                session_id: Some(*id),
                title_id: Some(session.title.clone()),
                device: Some(session.device.clone()),
                position_ms: Some(session.position_ms),
                watched_ms: Some(session.watched_ms),
                ..Event::new(kind, account, &id.to_string(), at)
            };
            let stopped = session.event == playhead_shared::heartbeat::Event::Stop;
            let started = first.then(|| event(EventKind::SessionStarted, id.birth()));
            let ended = stopped.then(|| event(EventKind::SessionEnded, at));
            started.into_iter().chain(ended).collect()
        }
        Fact::Ended(id) => {
            let Ok(Ended { reason, by }) = entry.register.value() else { return Ok(Vec::new()) };
            let event = |kind| Event {
                session_id: Some(*id),
                device: Some(by.clone()),
                ..Event::new(kind, account, &id.to_string(), at)
            };
            EventKind::of_end(reason).map(event).into_iter().collect()
        }
        Fact::Watched(profile, title) => {
            let stamp = entry.register.stamp();
            title_watched(store, account, profile, title, stamp, first, rules).await?.into_iter().collect()
        }
        _ => Vec::new(),
    })
}

/// One event for each session in which the title was watched, so that a rewatch is told and the beats that
/// follow are not. Where no session did it, the viewer marked it: one for each mark.
async fn title_watched(
    store: &impl FactStore,
    account: &AccountId,
    profile: &ProfileId,
    title: &TitleId,
    stamp: Stamp,
    first: bool,
    rules: &Rules,
) -> Result<Option<Event>> {
    let at = stamp.millis();
    let event = |what: String| Event {
        profile: Some(profile.clone()),
        title_id: Some(title.clone()),
        ..Event::new(EventKind::TitleWatched, account, &what, at)
    };
    // From the youngest that can have been playing then; births lie ahead of beats by so much at most.
    let before = playhead_shared::id::SessionId::of_birth(at.plus(rules.birth_ahead_ms + 1), 0);
    for (id, register) in store.sessions(account, profile, Some(before), SESSIONS_BACK).await? {
        let Ok(session) = register.value::<Session>() else { continue };
        if session.title == *title && session.moved_at >= at && id.birth() >= at.minus(rules.session_life_ms) {
            let event = event(id.to_string());
            return Ok(Some(Event { session_id: Some(id), device: Some(session.device), ..event }));
        }
    }
    let now_is = store.get(account, &[Fact::Watched(profile.clone(), title.clone())]).await?;
    let superseded = now_is
        .into_iter()
        .flatten()
        .any(|register| register.stamp() > stamp && register.value().is_ok_and(|Watched { watched }| watched));
    // Superseded by a newer beat of a session that is not here yet: that one's signal will find it.
    Ok((first || !superseded).then(|| event(format!("{profile}/{title}/{}", stamp.0))))
}

/// Deletes what a command condemned, if it is one: what is older than the command, never the command itself.
async fn condemn(store: &impl FactStore, entry: &Entry) -> Result<bool> {
    let Entry { account, fact, register } = entry;
    let stamp = register.stamp();
    match fact {
        Fact::Deleted(profile, session) => {
            let entry = Fact::Session(profile.clone(), *session);
            store.delete_older(account, vec![entry], stamp).await?;
        }
        Fact::Forgotten(profile, title) => {
            let of_title = [Fact::Latest, Fact::Watched, Fact::Hidden].map(|make| make(profile.clone(), title.clone()));
            store.delete_older(account, of_title.to_vec(), stamp).await?;
            delete(store, account, profile, (Kind::Session, Kind::Session), stamp, |register| {
                register.value().is_ok_and(|session: Session| session.title == *title)
            })
            .await?;
        }
        Fact::Erased(profile) => {
            // The command itself is not older than itself.
            delete(store, account, profile, (Kind::Session, Kind::Deleted), stamp, |_| true).await?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Deletes those of a profile's facts of some kinds that are meant and older than the stamp.
async fn delete(
    store: &impl FactStore,
    account: &AccountId,
    profile: &ProfileId,
    (from, to): (Kind, Kind),
    stamp: Stamp,
    meant: impl Fn(&Register) -> bool,
) -> Result<()> {
    let found = store.scan(account, profile, from, to).await?;
    let older = found.into_iter().filter(|(_, register)| register.stamp() < stamp && meant(register));
    let facts: Vec<Fact> = older.map(|(fact, _)| fact).collect();
    for facts in facts.chunks(DELETED_AT_ONCE) {
        store.delete_older(account, facts.to_vec(), stamp).await?;
    }
    Ok(())
}
