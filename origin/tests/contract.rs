//! What every backend promises of streams, signals and events; of facts it is in `facts.rs`.

mod common;

use common::*;
use playhead_origin::signal::{Event as Published, EventKind, Signal};
use playhead_origin::store::{Signals, Taking, Views};
use playhead_shared::moves::Command;
use playhead_shared::register::EndReason;
use playhead_shared::wire::{Lease, Outcome};

on_every_backend!([
    streams_of_accounts_do_not_mix,
    opening_again_finds_everything,
    of_two_admissions_for_the_last_place_one_is_refused,
    an_admission_comes_after_its_batch,
    a_session_that_ended_by_register_gets_no_stream,
    a_gap_makes_admissions_unverified_and_a_restart_does_not,
    a_lease_that_ran_out_is_signalled_once_and_forgotten_later,
    a_signal_stays_until_it_is_done,
    an_event_is_published_once,
    events_are_read_from_a_cursor_on,
]);

async fn streams_of_accounts_do_not_mix(backend: impl Backend) {
    let store = backend.open().await;
    let names = ["a", "a.", "a-b", "a-b-c", "b"];
    for (n, name) in (1..).zip(names) {
        let lease = Lease { account: name.parse().unwrap(), ..lease(n, 0) };
        take(&store, vec![], vec![lease], 0).await;
    }
    for (n, name) in (1..).zip(names) {
        let streams = store.streams(&name.parse().unwrap(), at(0)).await.unwrap();
        assert_eq!(streams.iter().map(|stream| stream.session).collect::<Vec<_>>(), [session(n)]);
    }
}

async fn opening_again_finds_everything(backend: impl Backend) {
    let store = backend.open().await;
    take(&store, moves(&beat(1, "film", 1_000, 20)), vec![lease(1, 1_000)], 1_000).await;
    let event = Published::new(EventKind::LimitReached, &account(), "once", at(0));
    store.publish(vec![event.clone()], vec![], vec![], at(1_000)).await.unwrap();
    let facts = all(&store).await;
    let signals: Vec<Signal> = signals(&store, 2_000).await;
    let streams = store.streams(&account(), at(2_000)).await.unwrap();
    assert!(facts.len() == 2 && !signals.is_empty() && streams.len() == 1, "{facts:?} {signals:?} {streams:?}");
    drop(store);

    let store = backend.open().await;
    assert_eq!(all(&store).await, facts);
    assert_eq!(self::signals(&store, 2_000).await, signals);
    assert_eq!(store.streams(&account(), at(2_000)).await.unwrap(), streams);
    store.publish(vec![event.clone()], vec![], vec![], at(2_000)).await.unwrap();
    assert_eq!(events(&store, 2_000).await, [event]);
}

async fn signals(store: &impl Signals, ms: u64) -> Vec<Signal> {
    store.due(at(ms), 100).await.unwrap().into_iter().map(|(_, signal)| signal).collect()
}

async fn admit(store: &impl Views, lease: Lease, ms: u64) -> Outcome {
    let taking = Taking { admission: Some(lease), ..Taking::default() };
    store.take(taking, at(ms)).await.unwrap().admission.unwrap().outcome
}

async fn of_two_admissions_for_the_last_place_one_is_refused(backend: impl Backend) {
    let store = backend.open().await;
    for round in 0..8 {
        let of = |n| Lease { account: format!("account-{round}").parse().unwrap(), limit: 1, ..lease(n, 0) };
        let outcomes: [Outcome; 3] =
            tokio::join!(admit(&store, of(1), 0), admit(&store, of(2), 0), admit(&store, of(3), 0)).into();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Admitted).count(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Refused).count(), 2, "{outcomes:?}");
    }
}

async fn an_admission_comes_after_its_batch(backend: impl Backend) {
    let store = backend.open().await;
    for n in [1, 2] {
        assert_eq!(admit(&store, lease(n, 0), 0).await, Outcome::Admitted);
    }
    let stop = Lease { stopped: true, ..lease(1, 1_000) };
    let evict = command(Command::End(session(2), EndReason::Evicted), 1_000);
    let taking = Taking { entries: vec![evict], leases: vec![stop], admission: Some(lease(3, 1_000)) };
    let taken = store.take(taking, at(1_000)).await.unwrap();
    let decision = taken.admission.unwrap();
    assert_eq!((decision.outcome, decision.renewed), (Outcome::Admitted, false));
    assert_eq!(decision.streams.iter().map(|stream| stream.session).collect::<Vec<_>>(), [session(3)]);
    let again = Taking { admission: Some(lease(3, 2_000)), ..Taking::default() };
    assert!(store.take(again, at(2_000)).await.unwrap().admission.unwrap().renewed);
}

async fn a_session_that_ended_by_register_gets_no_stream(backend: impl Backend) {
    let store = backend.open().await;
    let stop = command(Command::End(session(1), EndReason::Stopped), 1_000);
    take(&store, vec![stop], vec![], 1_000).await;
    drop(store);
    let store = backend.open().await;
    let taken = take(&store, vec![], vec![lease(1, 2_000)], 2_000).await;
    assert_eq!(taken.verdicts, [], "its register tells it");
    assert_eq!(admit(&store, lease(1, 3_000), 3_000).await, Outcome::Refused);
    assert_eq!(store.streams(&account(), at(3_000)).await.unwrap(), []);
}

async fn a_gap_makes_admissions_unverified_and_a_restart_does_not(backend: impl Backend) {
    let store = backend.open().await;
    store.alive(at(0)).await.unwrap();
    for (n, expected) in [(1, Outcome::Admitted), (2, Outcome::Admitted), (3, Outcome::Refused)] {
        assert_eq!(admit(&store, lease(n, 0), 0).await, expected, "new, so nothing can have been lost");
    }
    drop(store);
    let store = backend.open().await;
    store.alive(at(10_000)).await.unwrap();
    assert_eq!(admit(&store, lease(3, 10_000), 10_000).await, Outcome::Refused, "a quick restart");
    drop(store);
    let store = backend.open().await;
    let back = 5 * MINUTE;
    store.alive(at(back)).await.unwrap();
    store.alive(at(back + 1_000)).await.unwrap();
    assert_eq!(admit(&store, lease(3, back), back + 1_000).await, Outcome::Unverified);
    drop(store);
    let store = backend.open().await;
    store.alive(at(back + 5_000)).await.unwrap();
    assert_eq!(admit(&store, lease(4, back), back + 5_000).await, Outcome::Unverified, "still");
    for ms in (back + 6_000..back + 90_000).step_by(1_000) {
        store.alive(at(ms)).await.unwrap();
    }
    store.sweep(at(back + 89_999), 100).await.unwrap();
    assert_eq!(store.streams(&account(), at(back + 89_999)).await.unwrap().len(), 4, "nothing expires");
    let streams = store.streams(&account(), at(back + 90_000)).await.unwrap();
    assert_eq!(streams.iter().map(|stream| stream.session).collect::<Vec<_>>(), [session(3), session(4)]);
}

async fn a_lease_that_ran_out_is_signalled_once_and_forgotten_later(backend: impl Backend) {
    let store = backend.open().await;
    take(&store, vec![], vec![lease(1, 0), Lease { incognito: true, ..lease(2, 0) }], 0).await;
    take(&store, vec![], vec![lease(1, 30_000)], 30_000).await;
    let expired = |n, since, ms| Signal::Expired { lease: lease(n, 30_000), since: at(since), at: at(ms) };
    for (ms, expected) in [
        (89_999, vec![]),
        (90_000, vec![]),
        (119_999, vec![]),
        (120_000, vec![expired(1, 0, 120_000)]),
        (121_000, vec![expired(1, 0, 120_000)]),
    ] {
        while store.sweep(at(ms), 1).await.unwrap() == 1 {}
        assert_eq!(signals(&store, ms).await, expected, "at {ms}: of an incognito one nothing is told");
    }
    while store.sweep(at(13 * MINUTE), 1).await.unwrap() == 1 {}
    assert_eq!(signals(&store, 13 * MINUTE).await.len(), 1);
    // Nothing is left that a late beat would have to be newer than.
    take(&store, vec![], vec![lease(1, 20_000)], 13 * MINUTE).await;
    assert_eq!(store.streams(&account(), at(13 * MINUTE)).await.unwrap().len(), 1);
}

async fn a_signal_stays_until_it_is_done(backend: impl Backend) {
    let store = backend.open().await;
    take(&store, moves(&beat(1, "film", 0, 1)), vec![], 0).await;
    take(&store, moves(&beat(2, "film", 0, 1)), vec![], 10).await;
    let due = store.due(at(1_000), 100).await.unwrap();
    assert_eq!(due.len(), 2);
    assert_eq!(store.due(at(1_000), 1).await.unwrap().len(), 1);
    let (first, signal) = due[0].clone();
    store.publish(vec![], vec![(at(DAY), signal.clone())], vec![first], at(1_000)).await.unwrap();
    assert_eq!(signals(&store, 1_000).await, [due[1].1.clone()]);
    assert_eq!(signals(&store, DAY - 1).await, [due[1].1.clone()]);
    assert_eq!(signals(&store, DAY).await, [due[1].1.clone(), signal]);
}

async fn an_event_is_published_once(backend: impl Backend) {
    let store = backend.open().await;
    let event = |what: &str| Published::new(EventKind::SessionStarted, &account(), what, at(0));
    store.publish(vec![event("a"), event("a"), event("b")], vec![], vec![], at(0)).await.unwrap();
    store.publish(vec![event("b"), event("c")], vec![], vec![], at(7 * DAY)).await.unwrap();
    assert_eq!(events(&store, 7 * DAY).await, [event("a"), event("b"), event("c")]);
    assert_eq!(events(&store, 7 * DAY + 1).await, [event("c")], "none older than 7 days");
    assert_eq!(store.prune(at(8 * DAY + 1), 1).await.unwrap(), 1);
    assert_eq!(store.prune(at(8 * DAY + 1), 10).await.unwrap(), 1);
    store.publish(vec![event("b"), event("c")], vec![], vec![], at(8 * DAY + 1)).await.unwrap();
    assert_eq!(events(&store, 8 * DAY + 1).await, [event("c"), event("b")], "b was forgotten, c not yet");
}

async fn events_are_read_from_a_cursor_on(backend: impl Backend) {
    let store = backend.open().await;
    for n in 0..5 {
        let event = Published::new(EventKind::SessionStarted, &account(), &n.to_string(), at(n));
        store.publish(vec![event], vec![], vec![], at(n / 2)).await.unwrap();
    }
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let page = store.events(cursor, 2, at(10)).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        cursor = Some(*last);
        seen.extend(page.into_iter().map(|(_, event)| event.at));
    }
    assert_eq!(seen, (0..5).map(at).collect::<Vec<_>>());
}
