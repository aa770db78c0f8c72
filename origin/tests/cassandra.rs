//! What is Cassandra's own: its schema, what can be wrong with its settings, and nodes that hang or die.

mod common;

use std::process::{Command, Output};
use std::time::Duration;

use common::*;
use playhead_origin::config::{BadConfig, Login, Replication};
use playhead_origin::store::cassandra::{Applied, Cassandra as Store, apply};
use playhead_origin::store::{FactStore, StoreError};
use playhead_servers::{CASSANDRA, Cassandra, free_port, given};
use playhead_shared::id::AccountId;
use playhead_shared::register::Entry;
use scylla::client::session_builder::SessionBuilder;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

/// What a request may take that the store has given two seconds, on a machine that does other things besides.
const GIVEN_UP: Duration = Duration::from_millis(3_500);
/// How long nodes may take over knowing each other.
const MET: Duration = Duration::from_secs(120);
/// Held by the test that has started servers: all of them at once are too much for a small machine.
static STARTED: Mutex<()> = Mutex::const_new(());

/// How long after it is back a store may take over noticing it.
const NOTICED: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_schema_is_made_once_and_an_unknown_one_is_refused() {
    let InKeyspace(config) = InKeyspace::new();
    let sentence = Store::open(&config, 16).await.expect_err("there is no keyspace").to_string();
    assert!(sentence.contains("schema apply"), "{sentence}");
    assert_eq!(apply(&config).await.unwrap(), Applied::Created);
    assert_eq!(apply(&config).await.unwrap(), Applied::Nothing);
    Store::open(&config, 16).await.unwrap();

    let session = SessionBuilder::new().known_nodes(&config.contact_points).build().await.unwrap();
    let newer = format!("UPDATE {}.schema_version SET version = 99 WHERE part = 'facts'", config.keyspace);
    session.query_unpaged(newer, ()).await.unwrap();
    for refused in [Store::open(&config, 16).await.map(drop), apply(&config).await.map(drop)] {
        let sentence = refused.expect_err("of a version to come").to_string();
        assert!(sentence.contains("schema 99") && sentence.ends_with('.'), "{sentence}");
    }
}

fn origin(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut origin = Command::new(env!("CARGO_BIN_EXE_origin"));
    origin.args(arguments).env_clear().env("PLAYHEAD_ORIGIN_SERVICE_TOKEN", "0123456789abcdef");
    for (name, value) in settings {
        origin.env(format!("PLAYHEAD_ORIGIN_{name}"), value);
    }
    origin.output().unwrap()
}

/// The sentence on standard error, which has to be all that there is but for the log of a start.
fn refused(arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let output = origin(arguments, settings);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
    let sentences: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("origin: ")).collect();
    let [sentence] = sentences[..] else { panic!("not one sentence: {said}") };
    assert!(said.ends_with(&format!("origin: {sentence}\n")) && sentence.ends_with('.'), "{said}");
    sentence.to_owned()
}

const SERVE: &[&str] = &["serve", "--listen", "127.0.0.1:0"];
const APPLY: &[&str] = &["schema", "apply"];

#[test]
fn wrong_settings_are_one_sentence_and_exit_code_2() {
    let here = given(CASSANDRA).unwrap();
    let nowhere = format!("127.0.0.1:{}", free_port());
    let InKeyspace(unused) = InKeyspace::new();
    for (arguments, settings, words) in [
        (SERVE, vec![("CASSANDRA", here.as_str())], "schema apply"),
        (SERVE, vec![("CASSANDRA", &nowhere)], "cassandra is"),
        (APPLY, vec![("CASSANDRA", &nowhere)], "cassandra is"),
        (APPLY, vec![("CASSANDRA", "no-such-host.invalid:9042")], "cassandra is"),
        (APPLY, vec![("CASSANDRA", &here), ("CASSANDRA_REPLICATION", "200")], "cassandra_replication is 200"),
        (APPLY, vec![("CASSANDRA", &here), ("CASSANDRA_REPLICATION", "mars:3")], "cassandra_replication is \"mars:3\""),
        (APPLY, vec![("CASSANDRA", &here), ("CASSANDRA_DATACENTER", "mars")], "cassandra_datacenter is \"mars\""),
        (APPLY, vec![("CASSANDRA", &here), ("CASSANDRA_KEYSPACE", "a b")], "cassandra_keyspace is \"a b\""),
    ] {
        let shared = [("STORE", "cassandra"), ("REDIS", "redis://r"), ("CASSANDRA_KEYSPACE", &unused.keyspace)];
        let sentence = refused(arguments, &[&shared, &settings[..]].concat());
        assert!(sentence.contains(words), "{sentence}");
    }
}

/// One node for all of it, because to start one costs half a minute of a core.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_asks_for_a_login_and_hangs_and_dies() {
    let _alone = STARTED.lock().await;
    let mut cassandra = Cassandra::start_with(1, "authenticator: PasswordAuthenticator").unwrap();
    let mut backend = InKeyspace::at(cassandra.contact_points());
    let login = |password: &str| Some(Login { user: "cassandra".to_owned(), password: password.into() });
    backend.0.login = login("cassandra");
    // It makes its first user a moment after it has begun to answer.
    in_time(async || apply(&backend.0).await).await;
    wrong_logins_are_told(&backend, login("not-the-password"));

    let store = backend.open().await;
    merge(&store, moves(&beat(1, "film", 1_000, 20))).await;
    let before = all(&store).await;
    assert!(!before.is_empty());

    cassandra.nodes[0].freeze().unwrap();
    everything_fails_in_time(&store).await;
    cassandra.nodes[0].thaw().unwrap();
    comes_back(&store).await;

    cassandra.nodes[0].kill().unwrap();
    everything_fails_in_time(&store).await;
    cassandra.nodes[0].restart().unwrap();
    comes_back(&store).await;
    let after = all(&store).await;
    assert!(before.iter().all(|fact| after.contains(fact)), "what was acknowledged is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_of_three_changes_nothing() {
    let _alone = STARTED.lock().await;
    let mut cassandra = Cassandra::start(3).unwrap();
    let mut backend = InKeyspace::at(cassandra.contact_points());
    backend.0.replication = Replication::Everywhere(3);
    // The nodes take a moment to know each other.
    in_time(async || apply(&backend.0).await).await;
    let store = in_time(async || Store::open(&backend.0, 4096).await).await;
    everything_holds(&store, 0).await;
    cassandra.nodes[1].freeze().unwrap();
    everything_holds(&store, 1).await;
    // Not another one: those of a quorum would first have to see that this one is back.
    cassandra.nodes[1].kill().unwrap();
    everything_holds(&store, 2).await;
}

/// What is tried until it succeeds.
async fn in_time<T>(mut tried: impl AsyncFnMut() -> Result<T, BadConfig>) -> T {
    let started = Instant::now();
    loop {
        match tried().await {
            Ok(done) => return done,
            Err(sentence) => assert!(started.elapsed() < MET, "{sentence}"),
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Accounts of every node are written and read, one after another, so that none hides behind others. Once the machine
/// itself, on which three servers run beside everything else, may have been too slow.
async fn everything_holds(store: &Store, round: u64) {
    let mut slow = 0;
    for n in 0..100 {
        let account: AccountId = format!("account-{n}").parse().unwrap();
        let entry = Entry { account: account.clone(), ..moves(&beat(1, "film", 1_000 * round, 20)).swap_remove(0) };
        let written_and_read = async || {
            store.merge(vec![entry.clone()], at(0)).await?;
            store.get(&account, std::slice::from_ref(&entry.fact)).await
        };
        let read = match written_and_read().await {
            Ok(read) => read,
            Err(_) => {
                slow += 1;
                written_and_read().await.unwrap()
            }
        };
        assert_eq!(read, [Some(entry.register)]);
    }
    assert!(slow <= 1, "{slow} of 100 calls failed");
}

fn wrong_logins_are_told(backend: &InKeyspace, wrong: Option<Login>) {
    let points = backend.0.contact_points.join(",");
    let shared = [("CASSANDRA", points.as_str()), ("CASSANDRA_KEYSPACE", &backend.0.keyspace)];
    let sentence = refused(APPLY, &shared);
    assert!(sentence.contains("cassandra_user"), "{sentence}");
    let Some(Login { user, password }) = wrong else { return };
    let login = [("CASSANDRA_USER", user.as_str()), ("CASSANDRA_PASSWORD", password.reveal())];
    let sentence = refused(APPLY, &[shared, login].concat());
    assert!(sentence.contains("cassandra_password") && !sentence.contains(password.reveal()), "{sentence}");
}

/// Ten times as many calls as can be in flight: none waits for those before it to have failed. They touch nothing that
/// was acknowledged, because some may be done all the same.
async fn everything_fails_in_time(store: &Store) {
    let started = Instant::now();
    let calls = (0..2_560u64).map(|n| store.merge(moves(&beat(100 + n, "other", 2_000, 20)), at(0)));
    let outcomes = futures_util::future::join_all(calls).await;
    let count = |busy: bool| {
        outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Busy)) == busy && outcome.is_err()).count()
    };
    assert_eq!(count(true) + count(false), outcomes.len(), "none can have been taken");
    assert!(count(false) > 0, "they were tried");
    assert!(started.elapsed() < GIVEN_UP, "it took {:?}", started.elapsed());
    let started = Instant::now();
    store.sessions(&account(), &profile(), None, 10).await.unwrap_err();
    assert!(started.elapsed() < GIVEN_UP, "it took {:?}", started.elapsed());
}

async fn comes_back(store: &Store) {
    let again = async {
        while store.merge(moves(&beat(9, "other", 3_000, 20)), at(0)).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(NOTICED, again).await.unwrap();
}
