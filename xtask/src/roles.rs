//! The origin of `cargo xtask dev --stores cassandra`: a Cassandra, a Redis, and each role as a process of its own.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use playhead_servers::{Cassandra, Front, Redis, free_port};

use crate::dev::SERVICE_TOKEN;
use crate::process::Process;
use crate::repo::{command, run, say};

/// What runs behind the edge's `origin_url`; what it holds ends with it.
pub(crate) struct Deployment {
    /// The roles' processes; to be ended before the rest, which they would miss.
    pub(crate) roles: Vec<Process>,
    /// The roles' URLs.
    pub(crate) urls: Vec<String>,
    _front: Front,
    _redis: Redis,
    _cassandra: Cassandra,
}

/// Starts all of it before `front`. The databases are there when this returns, the roles soon.
pub(crate) fn start(origin: &Path, front: SocketAddr) -> Result<Deployment> {
    say("starting a Redis and a Cassandra, which takes a while");
    let redis = Redis::start(&["--appendonly", "yes"])?;
    let cassandra = Cassandra::start(1)?;
    let stores = ["--cassandra".to_owned(), cassandra.contact_points(), "--redis".to_owned(), redis.url()];
    say(&format!("Cassandra is at {}, Redis at {}", stores[1], stores[3]));
    run(command(origin).args(["schema", "apply", "--cassandra-replication", "1"]).args(&stores))?;
    let (mut roles, mut urls) = (Vec::new(), Vec::new());
    for role in ["collect", "process", "provide"] {
        let listen = format!("127.0.0.1:{}", free_port());
        let mut serve = command(origin);
        serve.args(["serve", "--store", "cassandra", "--roles", role, "--listen", &listen]);
        serve.args(["--service-token", SERVICE_TOKEN]).args(&stores);
        roles.push(Process::start(role, &mut serve)?);
        urls.push(format!("http://{listen}"));
    }
    let front = Front::start_at(front, &urls[..1], &urls[2..])?;
    Ok(Deployment { roles, urls, _front: front, _redis: redis, _cassandra: cassandra })
}
