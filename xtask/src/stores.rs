//! The databases of a test run: started once, unless the environment names others.

use std::process::exit;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use playhead_servers::{CASSANDRA, Cassandra, REDIS, REDIS_CLUSTER, Redis, RedisCluster};

use crate::dev::asked_to_stop;
use crate::repo::say;
use crate::tools;

/// What runs; none of what the environment names.
#[derive(Debug, Default)]
struct Servers {
    cassandra: Option<Cassandra>,
    redis: Option<Redis>,
    redis_cluster: Option<RedisCluster>,
}

/// The databases, which end when this is dropped, or when we are told to.
pub(crate) struct Stores {
    servers: Arc<Mutex<Servers>>,
    /// Where each is, by the variable that says so.
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// `cargo xtask stores`: starts them, says where they are, and waits for Ctrl-C.
pub(crate) fn run() -> Result<()> {
    let stores = Stores::start()?;
    for (name, place) in &stores.variables {
        println!("export {name}={place}");
    }
    say("until Ctrl-C");
    loop {
        thread::park();
    }
}

impl Stores {
    /// Starts those that the environment does not name.
    pub(crate) fn start() -> Result<Self> {
        let servers = Arc::new(Mutex::new(Servers::default()));
        end_when_told_to(Arc::clone(&servers))?;
        let mut stores = Self { servers, variables: Vec::new() };
        tools::redis_server()?;
        stores.name(REDIS, "a Redis", |servers| {
            let redis = servers.redis.insert(Redis::start(&[])?);
            Ok(redis.url())
        })?;
        stores.name(REDIS_CLUSTER, "a Redis cluster", |servers| {
            let cluster = servers.redis_cluster.insert(RedisCluster::start(&[])?);
            Ok(cluster.urls())
        })?;
        tools::java()?;
        tools::maven()?;
        stores.name(CASSANDRA, "a Cassandra", |servers| {
            let cassandra = servers.cassandra.insert(Cassandra::start(1)?);
            Ok(cassandra.contact_points())
        })?;
        Ok(stores)
    }

    fn name(
        &mut self,
        variable: &'static str,
        what: &str,
        start: impl FnOnce(&mut Servers) -> Result<String>,
    ) -> Result<()> {
        let place = match std::env::var(variable) {
            Ok(place) => place,
            Err(_) => {
                say(&format!("starting {what}"));
                start(&mut self.servers.lock().unwrap_or_else(PoisonError::into_inner))?
            }
        };
        self.variables.push((variable, place));
        Ok(())
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        end(&self.servers);
    }
}

/// Ctrl-C reaches us and not the servers, which are in process groups of their own.
fn end_when_told_to(servers: Arc<Mutex<Servers>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime could not be started")?;
    thread::spawn(move || {
        if runtime.block_on(asked_to_stop()).is_ok() {
            end(&servers);
            exit(130); // As a shell says that Ctrl-C ended it.
        }
    });
    Ok(())
}

fn end(servers: &Mutex<Servers>) {
    *servers.lock().unwrap_or_else(PoisonError::into_inner) = Servers::default();
}
