//! What every backend promises of facts.

mod common;

use std::collections::BTreeMap;

use common::*;
use playhead_origin::store::FactStore;
use playhead_shared::id::AccountId;
use playhead_shared::moves::Command;
use playhead_shared::register::{EndReason, Entry, Fact, Gone, Kind, Register};
use playhead_shared::time::Stamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

macro_rules! on_facts {
    ($tests:tt) => {
        on_every_backend!($tests);
        on_backend!(cassandra, InKeyspace::new(), $tests);
    };
}

on_facts!([
    the_newest_register_stays,
    the_greatest_bytes_stay,
    any_order_repetition_and_split_leaves_the_same_bytes,
    accounts_and_profiles_do_not_mix,
    what_is_asked_for_twice_or_is_not_there_has_its_place,
    sessions_come_newest_first,
    a_long_history_comes_in_pages_without_gap_or_repetition,
    what_is_newer_survives_deleting,
    opening_again_finds_the_facts,
]);

async fn the_newest_register_stays(backend: impl FactBackend) {
    let store = backend.open().await;
    merge(&store, moves(&beat(1, "film", 2_000, 20))).await;
    merge(&store, moves(&beat(1, "film", 1_000, 10))).await;
    let facts: Vec<Fact> = moves(&beat(1, "film", 0, 20)).into_iter().map(|entry| entry.fact).collect();
    let asked = [&[Fact::Erased(profile())][..], &facts].concat();
    let found = store.get(&account(), &asked).await.unwrap();
    assert_eq!(found.len(), asked.len());
    assert_eq!(found[0], None);
    for (expected, found) in moves(&beat(1, "film", 2_000, 20)).iter().zip(&found[1..]) {
        assert_eq!(found.as_ref(), Some(&expected.register), "{:?}", expected.fact);
    }
}

/// Registers of few stamps, whose values are often equal or one the other's beginning.
fn registers() -> impl Strategy<Value = Vec<Register>> {
    let stamp = prop_oneof![Just(0), Just(1), Just(T0 * 1000), Just(T0 * 1000 + 1)];
    let byte = prop_oneof![Just(0x00u8), Just(0x41), Just(0x7f), Just(0x80), Just(0xff)];
    let register = (stamp, prop::collection::vec(byte, 1..5)).prop_map(|(stamp, value)| {
        let bytes = [&u64::to_be_bytes(stamp)[..], &value].concat();
        Register::from_bytes(bytes).unwrap()
    });
    prop::collection::vec(register, 1..8)
}

/// Every engine's order is Rust's, ties and all, however the registers are divided into calls.
async fn the_greatest_bytes_stay(backend: impl FactBackend) {
    let store = backend.open().await;
    let mut runner = TestRunner::deterministic();
    let (mut greatest, mut calls) = (BTreeMap::new(), vec![Vec::new(); 4]);
    for n in 0..300u64 {
        let fact = Fact::Latest(profile(), title(&format!("film-{n}")));
        for register in registers().new_tree(&mut runner).unwrap().current() {
            let call = (0..calls.len()).new_tree(&mut runner).unwrap().current();
            calls[call].push(Entry { account: account(), fact: fact.clone(), register: register.clone() });
            let before = greatest.entry(fact.clone()).or_insert_with(|| register.clone());
            *before = register.max(before.clone());
        }
    }
    for call in calls {
        merge(&store, call).await;
    }
    let facts: Vec<Fact> = greatest.keys().cloned().collect();
    let found = store.get(&account(), &facts).await.unwrap();
    assert_eq!(found, greatest.into_values().map(Some).collect::<Vec<_>>());
}

/// Registers of few facts and few stamps, so that they meet, and tie.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (0..4u64, 0..4u64, 0..3u64).prop_map(|(session, ms, position)| {
        let mut moves = moves(&beat(session, &format!("film-{}", session % 2), ms * 1000, 20 * position));
        moves.push(command(Command::Forget(title("film-0")), ms * 1000));
        moves
    });
    prop::collection::vec(entry, 1..6).prop_map(|beats| beats.into_iter().flatten().collect())
}

async fn any_order_repetition_and_split_leaves_the_same_bytes(backend: impl FactBackend) {
    let store = backend.open().await;
    let mut runner = TestRunner::deterministic();
    for case in 0..12 {
        let entries = entries().new_tree(&mut runner).unwrap().current();
        let shuffled = Just(entries.clone()).prop_shuffle().new_tree(&mut runner).unwrap().current();
        let split = (0..=entries.len()).new_tree(&mut runner).unwrap().current();
        let of = |name: &str, entries: &[Entry]| -> Vec<Entry> {
            let account: AccountId = format!("{name}-{case}").parse().unwrap();
            entries.iter().map(|entry| Entry { account: account.clone(), ..entry.clone() }).collect()
        };
        merge(&store, of("one", &entries)).await;
        for part in [&shuffled[..split], &shuffled[split..], &entries[split..], &shuffled[..split]] {
            merge(&store, of("other", part)).await;
        }
        let mut found = Vec::new();
        for name in ["one", "other"] {
            let account = format!("{name}-{case}").parse().unwrap();
            found.push(store.scan(&account, &profile(), Kind::Session, Kind::Deleted).await.unwrap());
        }
        assert!(!found[0].is_empty());
        assert_eq!(found[0], found[1], "{entries:?}");
    }
}

async fn accounts_and_profiles_do_not_mix(backend: impl FactBackend) {
    let store = backend.open().await;
    let names = ["a", "a.", "a-b", "a-b-c", "b"];
    for (n, name) in (1..).zip(names) {
        for (of, whose) in [(name, "p"), ("a", name)] {
            let rename = |mut entry: Entry| {
                entry.account = of.parse().unwrap();
                if let Fact::Session(_, session) = entry.fact {
                    entry.fact = Fact::Session(whose.parse().unwrap(), session);
                }
                entry
            };
            let entries = moves(&beat(n, "film", 1_000, 1)).into_iter().filter(|e| e.fact.kind() == Kind::Session);
            merge(&store, entries.map(rename).collect()).await;
        }
    }
    for (n, name) in (1..).zip(names) {
        for (of, whose) in [(name, "p"), ("a", name)] {
            let (of, whose) = (of.parse().unwrap(), whose.parse().unwrap());
            let page = store.sessions(&of, &whose, None, 10).await.unwrap();
            assert_eq!(page.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [session(n)], "{of} {whose}");
            assert_eq!(store.scan(&of, &whose, Kind::Session, Kind::Deleted).await.unwrap().len(), 1);
        }
    }
}

async fn what_is_asked_for_twice_or_is_not_there_has_its_place(backend: impl FactBackend) {
    let store = backend.open().await;
    assert_eq!(store.get(&account(), &[]).await.unwrap(), []);
    let ended = command(Command::End(session(7), EndReason::Stopped), 1_000);
    merge(&store, [moves(&beat(1, "film", 1_000, 20)), vec![ended.clone()]].concat()).await;
    let latest = Fact::Latest(profile(), title("film"));
    let asked = [latest.clone(), Fact::Ended(session(8)), ended.fact.clone(), latest];
    let found = store.get(&account(), &asked).await.unwrap();
    assert_eq!(found[2], Some(ended.register), "a fact of the account beside those of a profile");
    assert!(found[0].is_some() && found[0] == found[3] && found[1].is_none(), "{found:?}");
}

async fn sessions_come_newest_first(backend: impl FactBackend) {
    let store = backend.open().await;
    for n in [3, 1, 5, 2, 4] {
        merge(&store, moves(&beat(n, "film", 10_000, 1))).await;
    }
    for (before, limit, expected) in [
        (None, 10, vec![5, 4, 3, 2, 1]),
        (None, 2, vec![5, 4]),
        (Some(4), 2, vec![3, 2]),
        (Some(2), 2, vec![1]),
        (Some(1), 2, vec![]),
        (Some(9), 1, vec![5]),
    ] {
        let page = store.sessions(&account(), &profile(), before.map(session), limit).await.unwrap();
        let expected: Vec<_> = expected.into_iter().map(session).collect();
        assert_eq!(page.iter().map(|(id, _)| *id).collect::<Vec<_>>(), expected);
    }
}

async fn a_long_history_comes_in_pages_without_gap_or_repetition(backend: impl FactBackend) {
    const ENTRIES: u64 = 2_500;
    let store = backend.open().await;
    let of = |n| moves(&beat(n, "film", 1_000, 0)).into_iter().filter(|entry| entry.fact.kind() == Kind::Session);
    // Neither in their order nor all at once; 7 divides no number of entries here.
    merge(&store, (0..ENTRIES).map(|n| n * 7 % ENTRIES).flat_map(of).collect()).await;
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = store.sessions(&account(), &profile(), before, 97).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        before = Some(*last);
        seen.extend(page.into_iter().map(|(session, _)| session));
    }
    assert_eq!(seen, (0..ENTRIES).rev().map(session).collect::<Vec<_>>());
    assert_eq!(store.sessions(&account(), &profile(), None, 10_000).await.unwrap().len(), seen.len());
    assert_eq!(all(&store).await.len(), seen.len(), "and in one piece");
}

async fn what_is_newer_survives_deleting(backend: impl FactBackend) {
    let store = backend.open().await;
    let of_profile = |entry: &Entry| entry.fact.profile().is_some();
    let [older, newer] = [5_000, 6_000].map(|ms| moves(&beat(1, "film", ms, 20)));
    let [older, newer] = [older, newer].map(|moves| moves.into_iter().filter(of_profile).collect::<Vec<_>>());
    let facts: Vec<Fact> = older.iter().map(|entry| entry.fact.clone()).collect();
    merge(&store, older.clone()).await;
    let before = all(&store).await;
    store.delete_older(&account(), facts.clone(), Stamp(0)).await.unwrap();
    store.delete_older(&account(), facts.clone(), Stamp::from(at(5_000))).await.unwrap();
    assert_eq!(all(&store).await, before, "the same stamp is not older");
    store.delete_older(&account(), facts.clone(), Stamp(Stamp::from(at(5_000)).0 + 1)).await.unwrap();
    assert_eq!(all(&store).await, []);
    // What was deleted and comes again may be there or not: Cassandra remembers what it deleted, another backend does
    // not, and the process role deletes once more when nothing can come late any longer. What is newer counts.
    merge(&store, [newer.clone(), older].concat()).await;
    let after = all(&store).await;
    assert_eq!(after.len(), facts.len());
    for entry in newer {
        assert!(after.contains(&(entry.fact, entry.register)));
    }
    store.delete_older(&account(), facts, Stamp::from(at(5_500))).await.unwrap();
    assert_eq!(all(&store).await, after);
}

async fn opening_again_finds_the_facts(backend: impl FactBackend) {
    let store = backend.open().await;
    merge(&store, moves(&beat(1, "film", 1_000, 20))).await;
    let facts = all(&store).await;
    assert_eq!(facts.len(), 2);
    drop(store);
    assert_eq!(all(&backend.open().await).await, facts);
}

#[test]
fn registers_order_as_bytes() {
    // What every backend above relies on: the greater stamp is the greater bytes.
    let register = |ms| Register::new(Stamp::from(at(ms)), &Gone {});
    assert!(register(2) > register(1));
}
