//! A Redis that hangs, dies, lacks a node, or is not the right one.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::gated::Gated;
use common::redis::{options, over_gated};
use common::*;
use playhead_origin::store::redis::{Options, Redis};
use playhead_origin::store::{FactStore, Signals, StoreError, Taking, Views};
use playhead_servers::{Redis as Server, RedisCluster, free_port};
use playhead_shared::id::AccountId;
use playhead_shared::register::Fact;
use playhead_shared::rules::Rules;
use tokio::time::timeout;

/// What a question may take while Redis hangs: its deadline, and a little.
const WITHIN: Duration = Duration::from_millis(1_500);

fn begin(n: u64) -> Taking {
    Taking { leases: vec![lease(n, 1_000)], ..Taking::default() }
}

async fn is_back(store: &Redis<Gated>) {
    let back = async {
        while store.ready(at(0)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), back).await.expect("it comes back by itself");
}

/// Everything fails in time, and titles are read from the facts.
async fn fails_in_time(store: &Arc<Redis<Gated>>) {
    let taking = async |n| store.take(begin(n), at(1_000)).await;
    let (one, other) = timeout(WITHIN, async { tokio::join!(taking(1), taking(2)) }).await.unwrap();
    assert!(matches!((one, other), (Err(StoreError::Failed(_)), Err(StoreError::Failed(_)))));
    assert!(timeout(WITHIN, store.due(at(1_000), 9)).await.unwrap().is_err());
    assert!(timeout(WITHIN, store.alive(at(1_000))).await.unwrap().is_err());
    assert!(timeout(WITHIN, store.ready(at(1_000))).await.unwrap().is_err());
    let film = [Fact::Latest(profile(), title("film"))];
    let found = timeout(WITHIN, store.get(&account(), &film)).await.unwrap().unwrap();
    assert!(found[0].is_some());
}

#[tokio::test]
async fn a_redis_that_hangs_is_given_up_and_taken_up_again() {
    let server = Server::start(&[]).unwrap();
    let (store, _facts) = over_gated(&options(&server.url())).await;
    take(&*store, moves(&beat(1, "film", 1_000, 20)), vec![], 1_000).await;
    server.freeze().unwrap();
    fails_in_time(&store).await;
    server.thaw().unwrap();
    is_back(&store).await;
    store.take(begin(3), at(1_000)).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_is_gone_is_given_up_and_taken_up_again() {
    let mut server = Server::start(&[]).unwrap();
    let (store, _facts) = over_gated(&options(&server.url())).await;
    take(&*store, moves(&beat(1, "film", 1_000, 20)), vec![], 1_000).await;
    server.kill().unwrap();
    fails_in_time(&store).await;
    server.restart().unwrap();
    is_back(&store).await;
    store.take(begin(3), at(1_000)).await.unwrap();
}

#[tokio::test]
async fn scripts_that_were_flushed_are_loaded_again() {
    let server = Server::start(&[]).unwrap();
    let (store, _facts) = over_gated(&options(&server.url())).await;
    server.ask(&["SCRIPT", "FLUSH"]).unwrap();
    assert!(store.take(begin(1), at(1_000)).await.is_err());
    is_back(&store).await;
    store.take(begin(1), at(1_000)).await.unwrap();
}

#[tokio::test]
async fn a_node_that_is_gone_takes_only_its_accounts_along() {
    let mut cluster = RedisCluster::start(&["--cluster-require-full-coverage", "no"]).unwrap();
    let (store, _facts) = over_gated(&options(&cluster.urls())).await;
    let accounts: Vec<AccountId> = (0..60).map(|n| format!("account-{n}").parse().unwrap()).collect();
    let taken = async || {
        let mut taken = 0;
        for account in &accounts {
            let lease = playhead_shared::wire::Lease { account: account.clone(), ..lease(1, 1_000) };
            let taking = Taking { leases: vec![lease], ..Taking::default() };
            taken += usize::from(store.take(taking, at(1_000)).await.is_ok());
        }
        taken
    };
    assert_eq!(taken().await, accounts.len());
    cluster.nodes[1].kill().unwrap();
    let some = taken().await;
    assert!((20..60).contains(&some), "{some}");
    assert!(store.alive(at(2_000)).await.is_err());
    cluster.nodes[1].restart().unwrap();
    is_back(&store).await;
    assert_eq!(taken().await, accounts.len());
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let cluster = RedisCluster::start(&[]).unwrap();
    let (store, _facts) = over_gated(&options(&cluster.urls())).await;
    store.take(begin(1), at(1_000)).await.unwrap();
    // Of the account's partition: moved as after a failover that lost everything.
    let slot = cluster.nodes[0].ask(&["CLUSTER", "KEYSLOT", "{32}"]).unwrap();
    let ids: Vec<String> = cluster.nodes.iter().map(|node| node.ask(&["CLUSTER", "MYID"]).unwrap()).collect();
    let of_slot = |node: &Server| node.ask(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).unwrap() != "0";
    let from = cluster.nodes.iter().position(of_slot).unwrap();
    let to = (from + 1) % ids.len();
    cluster.nodes[from].ask(&["FLUSHALL"]).unwrap();
    for at in [to, from, 3 - from - to] {
        cluster.nodes[at].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[to]]).unwrap();
    }
    assert!(store.take(begin(1), at(1_000)).await.is_err(), "found out by asking");
    is_back(&store).await;
    timeout(Duration::from_secs(10), async {
        while store.take(begin(1), at(1_000)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(of_slot(&cluster.nodes[to]));
}

#[tokio::test]
async fn a_redis_that_will_not_do_is_refused_in_one_sentence() {
    let server = Server::start(&["--requirepass", "sesame"]).unwrap();
    let good = options(&server.url());
    let (_store, _facts) = over_gated(&good).await;
    let bare = server.url().replace(":sesame@", "");
    let wrong = server.url().replace("sesame", "secret");
    let nowhere = format!("redis://:secret@127.0.0.1:{}", free_port());
    let other = |url: &str| Options { address: url.parse().unwrap(), ..good.clone() };
    for (options, expected) in [
        (Options { partitions: 16, ..good.clone() }, "began with 64 partitions in Redis, and is now set to 16"),
        (Options { prefix: "a{b}".to_owned(), ..good.clone() }, "must hold no braces"),
        (other(&bare), "cannot be reached: "),
        (other(&wrong), "cannot be reached: "),
        (other(&nowhere), "cannot be reached: "),
        (other(&server.url().replace("redis://", "redis+cluster://")), "does not tell of its cluster: "),
    ] {
        let refused = Redis::connect(options, Gated::new(), Rules::default()).await;
        let why = refused.err().expect(expected).to_string();
        assert!(why.contains(expected) && !why.contains('\n'), "{why}");
        assert!(!why.contains("secret") && !why.contains("sesame"), "{why}");
    }
    assert!(!format!("{good:?}").contains("sesame"));
}
