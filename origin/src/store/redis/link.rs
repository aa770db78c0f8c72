//! One connection to one server, that knows which run of the server it speaks to.
//!
//! Our own and not the crate's reconnecting ones, because what a view is worth depends on the run: a connection that
//! was silently made again would read the views of a server that has lost its last writes as if it had not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, Value};
use tokio::time::timeout;

use super::address::Endpoint;
use super::script::Script;
use super::{Result, StoreError, Unusable};

pub(super) struct Link {
    /// No two links have the same.
    pub(super) number: u64,
    pub(super) endpoint: Endpoint,
    /// Random, made anew whenever a server starts.
    pub(super) run: String,
    connection: MultiplexedConnection,
    deadline: Duration,
    broken: AtomicBool,
}

/// Requests that may wait for the socket; the crate's 50 hold up a server of many connections.
const BUFFERED: usize = 1024;
/// The first version whose scripts may say `XADD key 1700000000000-*`.
const OLDEST_MAJOR: u64 = 7;

/// Refusals after which the connection, or the map of the cluster, is of no use any more.
const BREAKING: [&str; 9] =
    ["MOVED", "READONLY", "NOSCRIPT", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "NOAUTH", "NOPERM", "WRONGPASS"];

impl Link {
    /// Connects and looks whether the server will do.
    pub(super) async fn connect(endpoint: &Endpoint, deadline: Duration) -> std::result::Result<Self, Unusable> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let unreachable = |why: &str| Unusable(format!("Redis at {endpoint} cannot be reached: {why}"));
        let connecting = async {
            let mut connection = open(endpoint, deadline).await?;
            let mut hello = Pipeline::new();
            hello.cmd("INFO");
            for script in Script::ALL {
                hello.cmd("SCRIPT").arg("LOAD").arg(script.text());
            }
            let answers: Vec<Value> = hello.query_async(&mut connection).await?;
            Ok::<_, RedisError>((connection, answers))
        };
        let (connection, answers) = match timeout(deadline, connecting).await {
            Ok(connected) => connected.map_err(|error| unreachable(&error.to_string()))?,
            Err(_) => return Err(unreachable("it did not answer in time")),
        };
        let info: String =
            answers.first().and_then(|info| redis::from_redis_value(info.clone()).ok()).unwrap_or_default();
        let run = fit(endpoint, &info)?;
        let (number, broken) = (NUMBER.fetch_add(1, Ordering::Relaxed), AtomicBool::new(false));
        Ok(Self { number, endpoint: endpoint.clone(), run, connection, deadline, broken })
    }

    /// Sends all commands at once; what each is answered, or the first refusal.
    pub(super) async fn ask(&self, commands: Vec<Cmd>) -> Result<Vec<Value>> {
        let mut connection = self.connection.clone();
        let asking = async {
            if let [command] = commands.as_slice() {
                return Ok(vec![connection.send_packed_command(command).await?]);
            }
            let count = commands.len();
            let mut pipeline = Pipeline::with_capacity(count);
            for command in commands {
                pipeline.add_command(command);
            }
            connection.send_packed_commands(&pipeline, 0, count).await
        };
        let answers = match timeout(self.deadline, asking).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => {
                // Another question may have found it broken before.
                self.broken.fetch_or(breaks(&error), Ordering::Relaxed);
                return Err(self.failed(&error.to_string()));
            }
            Err(_) => {
                self.broken.store(true, Ordering::Relaxed);
                return Err(self.failed("it did not answer in time"));
            }
        };
        for answer in &answers {
            if let Value::ServerError(refusal) = answer {
                if BREAKING.contains(&refusal.code()) {
                    self.broken.store(true, Ordering::Relaxed);
                }
                return Err(self.failed(&refusal.to_string()));
            }
        }
        Ok(answers)
    }

    /// Whether a new connection has to take its place.
    pub(super) fn broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn failed(&self, why: &str) -> StoreError {
        StoreError::Failed(format!("Redis at {}: {why}", self.endpoint))
    }
}

/// A bare connection.
pub(super) async fn open(
    endpoint: &Endpoint,
    deadline: Duration,
) -> std::result::Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(deadline))
        .set_response_timeout(Some(deadline))
        .set_pipeline_buffer_size(BUFFERED);
    Client::open(endpoint.info())?.get_multiplexed_async_connection_with_config(&config).await
}

/// An error of the connection, and not of what was asked.
fn breaks(error: &RedisError) -> bool {
    error.code().is_none_or(|code| BREAKING.contains(&code))
}

/// The server's run, if the server will do.
fn fit(endpoint: &Endpoint, info: &str) -> std::result::Result<String, Unusable> {
    let info: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let get = |name| info.get(name).copied().unwrap_or_default();
    let version = get("redis_version");
    if version.split('.').next().and_then(|major| major.parse::<u64>().ok()).is_none_or(|major| major < OLDEST_MAJOR) {
        return Err(Unusable(format!("Redis at {endpoint} is version {version:?}: version 7 or newer is needed")));
    }
    if get("role") != "master" {
        return Err(Unusable(format!("Redis at {endpoint} is a replica: name its master")));
    }
    let policy = get("maxmemory_policy");
    if policy.starts_with("allkeys") && get("maxmemory") != "0" {
        let what = "may evict streams and signals";
        return Err(Unusable(format!(
            "Redis at {endpoint} {what} (maxmemory-policy {policy}): set it to volatile-lru, which evicts only views"
        )));
    }
    match get("run_id") {
        "" => Err(Unusable(format!("Redis at {endpoint} does not say its run_id in INFO: allow the command"))),
        run => Ok(run.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_would_lose_streams_is_refused() {
        let endpoint = "redis://:secret@a:1".parse::<super::super::Address>().unwrap().seeds.remove(0);
        let good = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nrole:master\r\nmaxmemory:9\r\n\
                    maxmemory_policy:volatile-lru\r\n";
        for (from, to, expected) in [
            ("", "", Ok("abc")),
            ("7.0.15", "6.2.1", Err("Redis at a:1 is version \"6.2.1\": version 7 or newer is needed")),
            ("7.0.15", "", Err("Redis at a:1 is version \"\": version 7 or newer is needed")),
            ("master", "slave", Err("Redis at a:1 is a replica: name its master")),
            (
                "volatile-lru",
                "allkeys-lru",
                Err("Redis at a:1 may evict streams and signals (maxmemory-policy allkeys-lru): \
                     set it to volatile-lru, which evicts only views"),
            ),
            ("maxmemory:9\r\nmaxmemory_policy:volatile-lru", "maxmemory:0\r\nmaxmemory_policy:allkeys-lru", Ok("abc")),
            ("run_id", "run", Err("Redis at a:1 does not say its run_id in INFO: allow the command")),
        ] {
            let found = fit(&endpoint, &good.replacen(from, to, 1)).map_err(|unusable| unusable.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{from} {to}");
        }
    }
}
