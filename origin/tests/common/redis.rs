//! Redis under test: the run's own where it is named, else one that is shared for as long as a test of this binary uses
//! it. Every backend has a prefix of its own, and its facts in a folder of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use playhead_origin::store::embedded::{Bounds, Embedded};
use playhead_origin::store::redis::{Options, Redis};
use playhead_servers::{REDIS, REDIS_CLUSTER, RedisCluster};
use playhead_shared::rules::Rules;
use tempfile::TempDir;

use super::Backend;
use super::gated::Gated;

/// Redis over facts in a folder.
pub struct InRedis {
    folder: TempDir,
    options: Options,
    /// Nobody has opened it yet.
    new: AtomicU64,
    _server: Option<Server>,
}

pub enum Server {
    Alone(Arc<playhead_servers::Redis>),
    Cluster(Arc<RedisCluster>),
}

impl InRedis {
    pub fn alone() -> Self {
        static SHARED: Mutex<Weak<playhead_servers::Redis>> = Mutex::new(Weak::new());
        match std::env::var(REDIS) {
            Ok(url) => Self::at(&url, None),
            Err(_) => {
                let server = shared(&SHARED, || playhead_servers::Redis::start(&[]).unwrap());
                Self::at(&server.url(), Some(Server::Alone(server)))
            }
        }
    }

    pub fn in_a_cluster() -> Self {
        static SHARED: Mutex<Weak<RedisCluster>> = Mutex::new(Weak::new());
        match std::env::var(REDIS_CLUSTER) {
            Ok(urls) => Self::at(&urls, None),
            Err(_) => {
                let server = shared(&SHARED, || RedisCluster::start(&[]).unwrap());
                Self::at(&server.urls(), Some(Server::Cluster(server)))
            }
        }
    }

    pub fn at(url: &str, server: Option<Server>) -> Self {
        let folder = TempDir::new().unwrap();
        let options = Options { consumer: "test".to_owned(), ..options(url) };
        Self { folder, options, new: AtomicU64::new(1), _server: server }
    }
}

/// Options under a prefix that no test has had.
pub fn options(url: &str) -> Options {
    let options = Options::new(url.parse().unwrap());
    // The name of a new consumer is one that nobody else has.
    Options { prefix: format!("{}:", options.consumer), ..options }
}

pub fn in_folder(folder: &TempDir) -> Embedded {
    let bounds = Bounds { cache_bytes: 8 << 20, ..Bounds::default() };
    Embedded::open(folder.path(), bounds, Rules::default()).unwrap()
}

/// The server that other tests use at the moment, or a new one.
fn shared<S>(of: &Mutex<Weak<S>>, start: impl FnOnce() -> S) -> Arc<S> {
    let mut shared = of.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(start());
        *shared = Arc::downgrade(&server);
        server
    })
}

impl Backend for InRedis {
    type Store = Redis<Embedded>;

    async fn open(&self) -> Redis<Embedded> {
        let facts = in_folder(&self.folder);
        let store = Redis::connect(self.options.clone(), facts, Rules::default()).await.unwrap();
        if self.new.swap(0, Ordering::Relaxed) == 1 {
            store.assume_complete().await.unwrap();
        }
        store
    }
}

/// A store on a server of the test's own, over facts that can be held up, in which nothing is missing.
pub async fn over_gated(options: &Options) -> (Arc<Redis<Gated>>, Gated) {
    let facts = Gated::new();
    let store = over(options, &facts).await;
    store.assume_complete().await.unwrap();
    (store, facts)
}

/// Another process's store over the same.
pub async fn over(options: &Options, facts: &Gated) -> Arc<Redis<Gated>> {
    let consumer = Options::new(options.address.clone()).consumer;
    let options = Options { consumer, ..options.clone() };
    Arc::new(Redis::connect(options, facts.clone(), Rules::default()).await.unwrap())
}
