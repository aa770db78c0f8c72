//! Views in Redis: never with a hole, never with something old, whatever comes between their steps.

mod common;

use std::process::Command as Process;
use std::sync::Arc;
use std::time::Duration;

use common::gated::Gated;
use common::redis::{options, over_gated};
use common::*;
use playhead_origin::store::redis::{Options, Redis};
use playhead_origin::store::{FactStore, Views};
use playhead_servers::Redis as Server;
use playhead_shared::moves::Command;
use playhead_shared::register::{Entry, Fact, Kind, Register};
use playhead_shared::time::Stamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

/// The key of the profile's view; the account's partition is known.
fn view_of(options: &Options) -> String {
    format!("{}{{32}}:view:acme:ada", options.prefix)
}

fn film() -> Fact {
    Fact::Latest(profile(), title("film"))
}

/// The resume point's stamp in ms, as the store says, or as its facts do.
async fn latest(store: &impl FactStore) -> Option<u64> {
    let register = store.get(&account(), &[film()]).await.unwrap().remove(0)?;
    Some(register.stamp().millis().0 - T0)
}

async fn play(store: &Redis<Gated>, ms: u64) {
    take(store, moves(&beat(1, "film", ms, 20)), vec![], ms).await;
}

/// Starts a read that is held up after it has read the facts, and before it has told the view.
async fn filling(store: &Arc<Redis<Gated>>, facts: &Gated) -> tokio::task::JoinHandle<Option<u64>> {
    facts.scan.close();
    let store = Arc::clone(store);
    let reading = tokio::spawn(async move { latest(&*store).await });
    facts.scan.reached().await;
    reading
}

struct Tried {
    server: Server,
    options: Options,
    store: Arc<Redis<Gated>>,
    facts: Gated,
}

/// A store in which the film was played at second 1, and no view is there.
async fn tried(change: impl FnOnce(Options) -> Options) -> Tried {
    let server = Server::start(&["--dbfilename", "kept.rdb"]).unwrap();
    let options = change(options(&server.url()));
    let (store, facts) = over_gated(&options).await;
    play(&store, 1_000).await;
    Tried { server, options, store, facts }
}

#[tokio::test]
async fn a_view_is_filled_once_and_answers_from_then_on() {
    let Tried { server, options, store, facts } = tried(|options| options).await;
    assert_eq!(latest(&*store).await, Some(1_000));
    assert_eq!(facts.asked(), 1);
    play(&store, 2_000).await;
    let late = moves(&beat(1, "film", 500, 20));
    take(&*store, late, vec![], 2_000).await;
    take(&*store, vec![command(Command::Delete(session(7)), 3_000)], vec![], 3_000).await;
    assert_eq!(latest(&*store).await, Some(2_000));
    let nothing = [Fact::Hidden(profile(), title("film")), Fact::Erased(profile())];
    assert_eq!(store.get(&account(), &nothing).await.unwrap(), [None, None]);
    let scan = async |of: &dyn Fn() -> (Kind, Kind)| {
        let (from, to) = of();
        store.scan(&account(), &profile(), from, to).await.unwrap()
    };
    assert_eq!(scan(&|| (Kind::Latest, Kind::Forgotten)).await.len(), 1);
    assert_eq!(scan(&|| (Kind::Forgotten, Kind::Deleted)).await.len(), 1);
    assert_eq!(facts.asked(), 0, "all of it from the view");
    let ttl: u64 = server.ask(&["PTTL", &view_of(&options)]).unwrap().parse().unwrap();
    assert!((3_500_000..=3_600_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn what_is_taken_while_a_view_is_filled_is_in_it() {
    let Tried { server: _server, store, facts, .. } = tried(|options| options).await;
    let reading = filling(&store, &facts).await;
    play(&store, 2_000).await;
    facts.scan.open();
    reading.await.unwrap();
    facts.asked();
    assert_eq!((latest(&*store).await, facts.asked()), (Some(2_000), 0));
}

#[tokio::test]
async fn what_is_durable_before_a_view_is_filled_and_merged_after_it_is_in_it() {
    let Tried { server: _server, store, facts, .. } = tried(|options| options).await;
    facts.merge.close();
    let taking = tokio::spawn({
        let store = Arc::clone(&store);
        async move { play(&store, 2_000).await }
    });
    facts.merge.reached().await;
    assert_eq!(latest(&*store).await, Some(2_000), "the filling has read it");
    facts.merge.open();
    taking.await.unwrap();
    facts.asked();
    assert_eq!((latest(&*store).await, facts.asked()), (Some(2_000), 0));
}

#[tokio::test]
async fn a_second_reader_does_not_wait_for_the_filling() {
    let Tried { server: _server, store, facts, .. } = tried(|options| options).await;
    let reading = filling(&store, &facts).await;
    assert_eq!((latest(&*store).await, facts.asked()), (Some(1_000), 2), "from the facts");
    facts.scan.open();
    reading.await.unwrap();
    assert_eq!((latest(&*store).await, facts.asked()), (Some(1_000), 0));
}

#[tokio::test]
async fn a_filling_that_took_too_long_comes_to_nothing() {
    let Tried { server: _server, store, facts, .. } =
        tried(|options| Options { fill_ttl: Duration::from_millis(50), ..options }).await;
    let reading = filling(&store, &facts).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    play(&store, 2_000).await;
    facts.scan.open();
    assert_eq!(reading.await.unwrap(), Some(1_000), "it was so when it was read");
    facts.asked();
    assert_eq!((latest(&*store).await, facts.asked()), (Some(2_000), 1));
}

#[tokio::test]
async fn a_filling_whose_view_is_another_by_now_comes_to_nothing() {
    let Tried { server, options, store, facts } = tried(|options| options).await;
    let first = filling(&store, &facts).await;
    server.ask(&["DEL", &view_of(&options)]).unwrap();
    play(&store, 2_000).await;
    let second = filling(&store, &facts).await;
    facts.scan.open();
    assert_eq!(first.await.unwrap(), Some(1_000), "it was so when it was read");
    assert_eq!(latest(&*store).await, Some(2_000), "the view is not full yet");
    play(&store, 3_000).await;
    facts.scan.open();
    assert_eq!(second.await.unwrap(), Some(2_000));
    facts.asked();
    assert_eq!((latest(&*store).await, facts.asked()), (Some(3_000), 0));
}

#[tokio::test]
async fn what_is_deleted_while_a_view_is_filled_does_not_come_back() {
    let Tried { server: _server, store, facts, .. } = tried(|options| options).await;
    let reading = filling(&store, &facts).await;
    store.delete_older(&account(), vec![film()], Stamp(u64::MAX)).await.unwrap();
    facts.scan.open();
    reading.await.unwrap();
    assert_eq!(latest(&*store).await, None);
    play(&store, 1_000).await;
    assert_eq!(latest(&*store).await, Some(1_000), "what comes again is there again");
    store.delete_older(&account(), vec![film()], Stamp(u64::MAX)).await.unwrap();
    assert_eq!(latest(&*store).await, None, "nor out of a view that was full");
}

#[tokio::test]
async fn a_view_runs_out_after_its_filling_however_often_it_is_written() {
    let Tried { server: _server, store, facts, .. } =
        tried(|options| Options { view_ttl: Duration::from_millis(400), ..options }).await;
    latest(&*store).await;
    facts.asked();
    for n in 2..=6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        play(&store, n * 1_000).await;
        assert_eq!(latest(&*store).await, Some(n * 1_000));
    }
    assert_eq!(facts.asked(), 1, "filled again once");
}

#[tokio::test]
async fn a_redis_that_was_emptied_is_filled_anew() {
    let Tried { server, options, store, facts } = tried(|options| options).await;
    let reading = filling(&store, &facts).await;
    server.ask(&["FLUSHALL"]).unwrap();
    facts.scan.open();
    reading.await.unwrap();
    assert_eq!(server.ask(&["EXISTS", &view_of(&options)]).unwrap(), "0");
    facts.asked();
    for _ in 0..2 {
        assert_eq!((latest(&*store).await, facts.asked()), (Some(1_000), 1), "until collect is there, from the facts");
    }
    store.alive(at(2_000)).await.unwrap();
    facts.asked();
    assert_eq!((latest(&*store).await, facts.asked()), (Some(1_000), 1));
    assert_eq!((latest(&*store).await, facts.asked()), (Some(1_000), 0));
}

#[tokio::test]
async fn a_redis_that_has_lost_its_last_writes_is_not_believed() {
    let Tried { mut server, store, facts, .. } = tried(|options| options).await;
    assert_eq!(latest(&*store).await, Some(1_000));
    server.ask(&["SAVE"]).unwrap();
    play(&store, 2_000).await;
    assert_eq!(latest(&*store).await, Some(2_000));
    server.kill().unwrap();
    facts.asked();
    assert_eq!((latest(&*store).await, facts.asked()), (Some(2_000), 1), "from the facts");
    server.restart().unwrap();
    while store.ready(at(3_000)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(latest(&*store).await, Some(2_000), "before collect was there");
    store.alive(at(3_000)).await.unwrap();
    assert_eq!(latest(&*store).await, Some(2_000));
    facts.asked();
    assert_eq!((latest(&*store).await, facts.asked()), (Some(2_000), 0));
}

/// Bytes that begin alike, are prefixes of each other, and lie on both sides of every boundary.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0u8), Just(0x41), Just(0x61), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
    prop::collection::vec(byte, 1..6).prop_map(|tail| [&[7u8; 8][..], &tail].concat())
}

async fn redis_orders_registers_as_rust_does(environment: &[(&str, &str)]) {
    let server = Server::start_in(environment, &[]).unwrap();
    let (store, facts) = over_gated(&options(&server.url())).await;
    let mut runner = TestRunner::deterministic();
    store.scan(&account(), &profile(), Kind::Latest, Kind::Deleted).await.unwrap();
    facts.asked();
    let mut expected = Vec::new();
    for n in 0..200 {
        let fact = Fact::Hidden(profile(), title(&format!("film-{n}")));
        let pair = [0; 2].map(|_| Register::from_bytes(bytes().new_tree(&mut runner).unwrap().current()).unwrap());
        for register in &pair {
            let entry = Entry { account: account(), fact: fact.clone(), register: register.clone() };
            take(&*store, vec![entry], vec![], 0).await;
        }
        expected.push((fact, pair.into_iter().max()));
    }
    let names: Vec<Fact> = expected.iter().map(|(fact, _)| fact.clone()).collect();
    let found = store.get(&account(), &names).await.unwrap();
    assert_eq!(facts.asked(), 0, "as Redis has merged them");
    for ((fact, expected), found) in expected.into_iter().zip(found) {
        assert_eq!(found, expected, "{fact:?}");
    }
}

#[tokio::test]
async fn redis_orders_registers_as_rust_does_in_the_c_locale() {
    redis_orders_registers_as_rust_does(&[("LC_ALL", "C")]).await;
}

#[tokio::test]
async fn redis_orders_registers_as_rust_does_in_another_locale() {
    let locales = TempDir::new().unwrap();
    let made =
        Process::new("localedef").args(["-i", "en_US", "-f", "UTF-8"]).arg(locales.path().join("en_US.UTF-8")).output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("skipped: this system has no localedef, or no locales to make with it");
        return;
    }
    let environment = [("LC_ALL", "en_US.UTF-8"), ("LOCPATH", locales.path().to_str().unwrap())];
    let server = Server::start_in(&environment, &[]).unwrap();
    let order = server.ask(&["EVAL", "return(string.char(97)<string.char(66))and(1)or(0)", "0"]).unwrap();
    assert_eq!(order, "1", "Lua's own order follows the locale, or this test says nothing");
    redis_orders_registers_as_rust_does(&environment).await;
}
