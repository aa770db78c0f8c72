//! What the suites share: backends to run against, and short words for facts, leases and time.
#![allow(dead_code, unreachable_pub, unused_imports)] // each suite takes what it needs

pub mod gated;
mod in_keyspace;
pub mod redis;

use std::future::Future;

use playhead_origin::process;
use playhead_origin::signal::Event as Published;
use playhead_origin::store::embedded::{Bounds, Embedded};
use playhead_origin::store::{FactStore, Store, Taken, Taking};
use playhead_shared::heartbeat::{Event, Heartbeat};
use playhead_shared::id::{AccountId, ProfileId, SessionId, TitleId};
use playhead_shared::moves::{Command, Viewer, command_move, heartbeat_moves};
use playhead_shared::register::{Entry, Fact, Register};
use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;
use playhead_shared::wire::Lease;
use tempfile::TempDir;

pub use self::in_keyspace::InKeyspace;
pub use self::redis::InRedis;

pub const T0: u64 = 1_800_000_000_000;
pub const SECOND: u64 = 1000;
pub const MINUTE: u64 = 60 * SECOND;
pub const DAY: u64 = 24 * 60 * MINUTE;

/// A backend under test: holds nothing at first, and the same again whenever it is opened.
pub trait Backend {
    type Store: Store;
    fn open(&self) -> impl Future<Output = Self::Store>;
}

/// The same of one that keeps facts, and maybe more.
pub trait FactBackend {
    type Facts: FactStore;
    fn open(&self) -> impl Future<Output = Self::Facts>;
}

impl<B: Backend> FactBackend for B {
    type Facts = B::Store;
    async fn open(&self) -> B::Store {
        Backend::open(self).await
    }
}

/// The embedded backend, in a folder of its own.
pub struct InFolder(TempDir);

impl InFolder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }
}

impl Backend for InFolder {
    type Store = Embedded;
    async fn open(&self) -> Embedded {
        let bounds = Bounds { cache_bytes: 8 << 20, ..Bounds::default() };
        Embedded::open(self.0.path(), bounds, Rules::default()).unwrap()
    }
}

/// A test of the suite for each backend: `tests` are functions of a backend that is empty.
#[macro_export]
macro_rules! on_every_backend {
    ($tests:tt) => {
        $crate::on_backend!(embedded, InFolder::new(), $tests);
        $crate::on_backend!(redis, InRedis::alone(), $tests);
        $crate::on_backend!(redis_cluster, InRedis::in_a_cluster(), $tests);
    };
}

/// The same for one of them.
#[macro_export]
macro_rules! on_backend {
    ($module:ident, $backend:expr, [$($test:ident),* $(,)?]) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test($backend).await;
                }
            )*
        }
    };
}

pub fn at(ms: u64) -> Millis {
    Millis(T0 + ms)
}

pub fn account() -> AccountId {
    "acme".parse().unwrap()
}

pub fn profile() -> ProfileId {
    "ada".parse().unwrap()
}

pub fn title(id: &str) -> TitleId {
    id.parse().unwrap()
}

/// Session `n`: born at second `n`.
pub fn session(n: u64) -> SessionId {
    SessionId::of_birth(at(n * SECOND), n)
}

pub fn viewer() -> Viewer {
    Viewer { account: account(), profile: profile(), device: "tv".parse().unwrap(), streams: 2, incognito: false }
}

/// A heartbeat of session `n` on `film` at `ms`, which has played from 0 to `position` minutes of 60.
pub fn beat(n: u64, film: &str, ms: u64, position: u64) -> Heartbeat {
    Heartbeat {
        session: session(n),
        title: title(film),
        event: Event::Progress,
        playing: true,
        observed_at: at(ms),
        moved_at: at(ms),
        position_ms: position * MINUTE,
        duration_ms: Some(60 * MINUTE),
        watched_ms: position * MINUTE,
        furthest_ms: position * MINUTE,
        credits_ms: None,
        series: None,
        next_title: None,
    }
}

pub fn moves(beat: &Heartbeat) -> Vec<Entry> {
    heartbeat_moves(&viewer(), beat, &Rules::default())
}

pub fn command(command: Command, ms: u64) -> Entry {
    command_move(&viewer(), command, at(ms))
}

/// A lease of session `n`, on a device of its own, observed at `ms`.
pub fn lease(n: u64, ms: u64) -> Lease {
    Lease {
        account: account(),
        session: session(n),
        profile: profile(),
        device: format!("device-{n}").parse().unwrap(),
        title: title("film"),
        observed_at: at(ms),
        stopped: false,
        playing: true,
        limit: 2,
        incognito: false,
        age_ms: 0,
        still_ms: 0,
    }
}

pub async fn take(store: &impl Store, entries: Vec<Entry>, leases: Vec<Lease>, ms: u64) -> Taken {
    store.take(Taking { entries, leases, admission: None }, at(ms)).await.unwrap()
}

pub async fn merge(store: &impl FactStore, entries: Vec<Entry>) {
    store.merge(entries, at(0)).await.unwrap();
}

/// All registers of the profile.
pub async fn all(store: &impl FactStore) -> Vec<(Fact, Register)> {
    use playhead_shared::register::Kind;
    store.scan(&account(), &profile(), Kind::Session, Kind::Deleted).await.unwrap()
}

/// Lets process do all there is to do at `ms`.
pub async fn process(store: &impl Store, ms: u64) {
    while process::step(store, &Rules::default(), at(ms)).await.unwrap() {}
    while process::prune(store, at(ms)).await.unwrap() {}
}

/// Every event that can be read at `ms`.
pub async fn events(store: &impl Store, ms: u64) -> Vec<Published> {
    store.events(None, 1000, at(ms)).await.unwrap().into_iter().map(|(_, event)| event).collect()
}

pub async fn words(store: &impl Store, ms: u64) -> Vec<String> {
    events(store, ms).await.iter().map(|event| event.kind.word().to_owned()).collect()
}
