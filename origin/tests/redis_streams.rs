//! Streams and signals in Redis: what two processes do at the same time, and what a Redis that was emptied, restarted
//! or is full does to viewers.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::gated::Gated;
use common::redis::{options, over, over_gated};
use common::*;
use playhead_origin::process;
use playhead_origin::signal::{Event as Published, EventKind, Signal};
use playhead_origin::store::redis::{Options, Redis};
use playhead_origin::store::{FactStore, Signals, StoreError, Taking, Views};
use playhead_servers::Redis as Server;
use playhead_shared::heartbeat::{Event, Heartbeat};
use playhead_shared::moves::Command;
use playhead_shared::register::{EndReason, Fact};
use playhead_shared::rules::Rules;
use playhead_shared::wire::{Lease, Outcome};

type Store = Arc<Redis<Gated>>;

async fn admit(store: &Redis<Gated>, lease: Lease, ms: u64) -> Outcome {
    let taking = Taking { admission: Some(lease), ..Taking::default() };
    store.take(taking, at(ms)).await.unwrap().admission.unwrap().outcome
}

/// A heartbeat of session `n` at `ms`; the word it is told, if it holds no stream.
async fn beat_of(store: &Redis<Gated>, n: u64, ms: u64) -> Option<&'static str> {
    let taken = take(store, vec![], vec![lease(n, ms)], ms).await;
    taken.verdicts.first().map(|verdict| verdict.reason.word())
}

/// Collect's beat, every second from one time to another.
async fn alive(store: &Redis<Gated>, from: u64, to: u64) {
    for ms in (from..=to).step_by(1_000) {
        store.alive(at(ms)).await.unwrap();
    }
}

async fn live(store: &Redis<Gated>, ms: u64) -> Vec<u64> {
    let streams = store.streams(&account(), at(ms)).await.unwrap();
    streams.into_iter().map(|stream| (stream.session.birth().0 - T0) / SECOND).collect()
}

fn evict(n: u64, ms: u64) -> playhead_shared::register::Entry {
    command(Command::End(session(n), EndReason::Evicted), ms)
}

async fn on_a_server() -> (Server, Options, Store, Gated) {
    let server = Server::start(&["--dbfilename", "kept.rdb"]).unwrap();
    let options = options(&server.url());
    let (store, facts) = over_gated(&options).await;
    (server, options, store, facts)
}

#[tokio::test]
async fn an_eviction_beside_the_first_lease_is_not_lost() {
    for others in [vec![], vec![2]] {
        let (server, options, store, facts) = on_a_server().await;
        for n in &others {
            beat_of(&store, *n, 1_000).await;
        }
        let evicting = over(&options, &facts).await;
        facts.get.close();
        let renewing = tokio::spawn({
            let store = Arc::clone(&store);
            async move { beat_of(&store, 1, 1_000).await }
        });
        facts.get.reached().await; // It has read that the session is not ended.
        take(&*evicting, vec![evict(1, 1_000)], vec![], 1_000).await;
        facts.get.open();
        assert_eq!(renewing.await.unwrap(), None, "its register tells it");
        assert_eq!(live(&store, 1_000).await, others);
        assert_eq!(beat_of(&store, 1, 2_000).await, None);
        assert_eq!(admit(&store, lease(1, 3_000), 3_000).await, Outcome::Refused);
        assert_eq!(live(&store, 3_000).await, others);
        // What made the first one look again need not be a lease, and goes by itself.
        while store.sweep(at(13 * MINUTE), 1).await.unwrap() == 1 {}
        assert_eq!(server.ask(&["EXISTS", &format!("{}{{32}}:leases:acme", options.prefix)]).unwrap(), "0");
    }
}

#[tokio::test]
async fn the_last_place_is_given_once_though_both_saw_it_free() {
    let (_server, options, store, facts) = on_a_server().await;
    let other = over(&options, &facts).await;
    facts.merge.close();
    let of = |n, ms| Lease { limit: 1, ..lease(n, ms) };
    let asking = tokio::spawn({
        let store = Arc::clone(&store);
        let entries = moves(&beat(1, "film", 1_000, 20));
        let taking = Taking { entries, leases: vec![], admission: Some(of(1, 1_000)) };
        async move { store.take(taking, at(1_000)).await.unwrap().admission.unwrap() }
    });
    facts.merge.reached().await; // It has read that there is room.
    assert_eq!(admit(&other, of(2, 1_000), 1_000).await, Outcome::Admitted);
    facts.merge.open();
    let decision = asking.await.unwrap();
    assert_eq!((decision.outcome, decision.streams.len()), (Outcome::Refused, 1));
}

#[tokio::test]
async fn emptied_evicted_stays_evicted_and_viewers_keep_their_streams() {
    let (server, _, store, _facts) = on_a_server().await;
    alive(&store, 0, 10_000).await;
    for n in [1, 2, 3] {
        assert_eq!(beat_of(&store, n, 10_000).await, (n == 3).then_some("over_limit"));
    }
    take(&*store, vec![evict(2, 10_000)], vec![], 10_000).await;
    assert_eq!(beat_of(&store, 3, 10_000).await, None);
    server.ask(&["FLUSHALL"]).unwrap();
    // In the instant after, before collect has said anything.
    assert_eq!(admit(&store, lease(5, 10_500), 10_500).await, Outcome::Unverified);
    assert_eq!(admit(&store, lease(6, 10_500), 10_500).await, Outcome::Unverified);
    alive(&store, 11_000, 40_000).await;
    for n in [1, 3] {
        assert_eq!(beat_of(&store, n, 40_000).await, None, "it was there all the time");
    }
    assert_eq!(beat_of(&store, 2, 40_000).await, None, "its register tells it");
    assert_eq!(admit(&store, lease(2, 40_100), 40_100).await, Outcome::Refused);
    for n in [5, 6] {
        assert_eq!(beat_of(&store, n, 40_000).await, Some("over_limit"));
    }
    assert_eq!(live(&store, 40_000).await, [1, 3]);
    alive(&store, 41_000, 100_500).await;
    beat_of(&store, 1, 70_000).await;
    beat_of(&store, 3, 70_000).await;
    assert_eq!(admit(&store, lease(7, 100_500), 100_500).await, Outcome::Refused, "verified again");
}

#[tokio::test]
async fn emptied_between_deciding_and_committing_it_is_decided_again() {
    let (server, _, store, facts) = on_a_server().await;
    alive(&store, 0, 1_000).await;
    facts.merge.close();
    let asking = tokio::spawn({
        let store = Arc::clone(&store);
        let entries = moves(&beat(1, "film", 1_000, 20));
        let taking = Taking { entries, leases: vec![], admission: Some(lease(1, 1_000)) };
        async move { store.take(taking, at(1_000)).await.unwrap().admission.unwrap().outcome }
    });
    facts.merge.reached().await; // It has read that nothing is missing.
    server.ask(&["FLUSHALL"]).unwrap();
    facts.merge.open();
    assert_eq!(asking.await.unwrap(), Outcome::Unverified);
}

#[tokio::test]
async fn restarted_without_its_last_writes_nobody_is_displaced_and_evicted_stays_evicted() {
    let (mut server, _, store, _facts) = on_a_server().await;
    alive(&store, 0, 1_000).await;
    assert_eq!(admit(&store, lease(1, 1_000), 1_000).await, Outcome::Admitted);
    assert_eq!(admit(&store, lease(2, 1_000), 1_000).await, Outcome::Admitted);
    server.ask(&["SAVE"]).unwrap();
    take(&*store, vec![evict(1, 1_500)], vec![], 1_500).await;
    assert_eq!(admit(&store, lease(3, 1_500), 1_500).await, Outcome::Admitted);
    server.kill().unwrap();
    assert!(store.streams(&account(), at(1_500)).await.is_err());
    server.restart().unwrap();
    while store.ready(at(2_000)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(live(&store, 2_000).await, [2], "what it has, but for what the facts know better");
    assert_eq!(admit(&store, lease(4, 2_000), 2_000).await, Outcome::Unverified);
    alive(&store, 2_000, 20_000).await;
    assert_eq!(beat_of(&store, 1, 20_000).await, None, "its register tells it");
    assert_eq!(beat_of(&store, 2, 20_000).await, None);
    assert_eq!(beat_of(&store, 3, 20_000).await, None, "it was admitted, though nobody remembers");
    assert_eq!(live(&store, 20_000).await, [2, 3]);
    assert_eq!(beat_of(&store, 4, 21_000).await, Some("over_limit"));
}

#[tokio::test]
async fn nobody_expires_while_collect_is_away_though_process_sweeps() {
    let (_server, _, store, _facts) = on_a_server().await;
    alive(&store, 0, 1_000).await;
    beat_of(&store, 1, 1_000).await;
    for ms in (30_000..10 * MINUTE).step_by(5_000) {
        store.sweep(at(ms), 100).await.unwrap();
    }
    assert_eq!(live(&store, 10 * MINUTE).await, [1]);
    alive(&store, 10 * MINUTE, 12 * MINUTE).await;
    while store.sweep(at(12 * MINUTE), 1).await.unwrap() == 1 {}
    assert_eq!(live(&store, 12 * MINUTE).await, [0; 0], "it did not come back");
    assert_eq!(store.due(at(12 * MINUTE), 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_expires_while_collect_can_take_nothing() {
    let (_server, _, store, facts) = on_a_server().await;
    alive(&store, 0, 1_000).await;
    take(&*store, vec![], vec![lease(1, 1_000)], 1_000).await;
    facts.away.store(true, Ordering::SeqCst);
    for ms in (2_000..180_000).step_by(1_000) {
        assert!(store.alive(at(ms)).await.is_err());
        while store.sweep(at(ms), 100).await.is_ok_and(|seen| seen == 100) {}
    }
    facts.away.store(false, Ordering::SeqCst);
    alive(&store, 180_000, 182_000).await;
    while store.sweep(at(182_000), 100).await.unwrap() == 100 {}
    assert_eq!(live(&store, 182_000).await, [1], "its device had no chance to say that it plays on");
    assert!(store.due(at(182_000), 10).await.unwrap().is_empty());
}

/// Deletes what the first signal asks for only once the facts are back; the second has to wait for neither.
#[tokio::test]
async fn a_signal_that_cannot_be_followed_holds_up_no_other() {
    let (_server, _, store, facts) = on_a_server().await;
    take(&*store, vec![command(Command::Delete(session(9)), 1_000)], vec![], 1_000).await;
    facts.away.store(true, Ordering::SeqCst);
    assert!(process::step(&*store, &Rules::default(), at(1_000)).await.is_err());
    facts.away.store(false, Ordering::SeqCst);
    take(&*store, moves(&beat(1, "film", 2_000, 1)), vec![], 2_000).await;
    process::step(&*store, &Rules::default(), at(2_000)).await.unwrap();
    assert_eq!(words(&*store, 2_000).await, ["session_started"]);
    assert_eq!(store.due(at(20_000), 10).await.unwrap().len(), 1, "it comes again");
}

#[tokio::test]
async fn a_new_deployment_begins_unverified() {
    let server = Server::start(&[]).unwrap();
    let store = over(&options(&server.url()), &Gated::new()).await;
    alive(&store, 0, 0).await;
    assert_eq!(admit(&store, lease(1, 0), 0).await, Outcome::Unverified);
    alive(&store, 1_000, 90_000).await;
    assert_eq!(admit(&store, lease(1, 90_000), 90_000).await, Outcome::Admitted);
}

#[tokio::test]
async fn what_a_dead_consumer_took_is_taken_over() {
    let (_server, options, _, facts) = on_a_server().await;
    let options = Options { claim_after: Duration::from_millis(200), ..options };
    let (dead, living) = (over(&options, &facts).await, over(&options, &facts).await);
    for n in 0..20 {
        let mut entries = moves(&beat(n, "film", n * 1_000, 0));
        entries.iter_mut().for_each(|entry| entry.account = format!("account-{n}").parse().unwrap());
        take(&*dead, entries, vec![], 0).await;
    }
    let taken = dead.due(at(1_000), 100).await.unwrap();
    assert_eq!(taken.len(), 20);
    assert_eq!(living.due(at(1_000), 100).await.unwrap().len(), 0, "not yet");
    assert_eq!(dead.due(at(1_000), 100).await.unwrap(), taken, "its own, as often as it asks");
    tokio::time::sleep(Duration::from_millis(250)).await;
    process(&*living, 2_000).await;
    assert_eq!(words(&*living, 2_000).await.len(), 20);
    // It was only slow: what it says now was said.
    let event = |signal: &Signal| match signal {
        Signal::Fact { entry, .. } => {
            Published::new(EventKind::SessionStarted, &entry.account.parse().unwrap(), &entry.name, at(0))
        }
        _ => unreachable!(),
    };
    let (ids, events) = taken.iter().map(|(id, signal)| (id.clone(), event(signal))).unzip();
    dead.publish(events, vec![], ids, at(3_000)).await.unwrap();
    assert_eq!(words(&*living, 3_000).await.len(), 20);
    assert_eq!(living.due(at(3_000), 100).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_session_is_signalled_once_however_long_process_is_away() {
    let (server, options, store, _facts) = on_a_server().await;
    let stop = Heartbeat { event: Event::Stop, ..beat(1, "film", 9_000, 20) };
    for ms in 1..=8 {
        take(&*store, moves(&beat(1, "film", ms * 1_000, 20)), vec![], ms * 1_000).await;
    }
    for _ in 0..2 {
        take(&*store, moves(&stop), vec![], 9_000).await;
    }
    assert_eq!(store.due(at(9_000), 100).await.unwrap().len(), 2, "that it began, and that it ended");
    process(&*store, 10_000).await;
    take(&*store, moves(&beat(1, "film", 8_000, 20)), vec![], 11_000).await;
    take(&*store, moves(&stop), vec![], 11_000).await;
    assert_eq!(store.due(at(11_000), 100).await.unwrap().len(), 0, "all is said");
    assert_eq!(words(&*store, 11_000).await, ["session_started", "session_ended"]);
    let signalled = format!("{}{{32}}:signalled", options.prefix);
    assert_eq!(server.ask(&["EXISTS", &signalled]).unwrap(), "0", "nothing is left of it");
}

#[tokio::test]
async fn a_full_queue_takes_nothing() {
    let server = Server::start(&[]).unwrap();
    let (store, facts) = over_gated(&Options { queue: 3, ..options(&server.url()) }).await;
    for n in 1..=3 {
        take(&*store, moves(&beat(n, "film", 10_000, 0)), vec![], 10_000).await;
    }
    let taking = Taking { entries: moves(&beat(4, "film", 10_000, 0)), ..Taking::default() };
    assert!(matches!(store.take(taking.clone(), at(10_000)).await, Err(StoreError::Busy)));
    let four = Fact::Session(profile(), session(4));
    assert_eq!(facts.get(&account(), &[four]).await.unwrap(), [None]);
    process(&*store, 10_000).await;
    store.take(taking, at(10_000)).await.unwrap();
}

#[tokio::test]
async fn every_signal_comes_however_many_partitions_have_some() {
    let (_server, _, store, _facts) = on_a_server().await;
    let mut expected = BTreeSet::new();
    for n in 0..300 {
        let of = format!("account-{}", n % 150);
        let mut entries = moves(&beat(n, "film", n * 1_000, 0));
        entries.iter_mut().for_each(|entry| entry.account = of.parse().unwrap());
        expected.insert((of, session(n)));
        take(&*store, entries, vec![], 0).await;
    }
    process(&*store, 400_000).await;
    let all = events(&*store, 400_000).await;
    assert_eq!(all.len(), 300);
    let found: BTreeSet<_> = all.iter().map(|event| (event.account.to_string(), event.session_id.unwrap())).collect();
    assert_eq!(found, expected);
    let (mut cursor, mut read) = (None, Vec::new());
    while let Some((last, _)) = {
        let page = store.events(cursor, 7, at(400_000)).await.unwrap();
        read.extend(page.iter().map(|(_, event)| event.clone()));
        page.last().cloned()
    } {
        cursor = Some(last);
    }
    assert_eq!(read, all, "in pages as at once");
}
