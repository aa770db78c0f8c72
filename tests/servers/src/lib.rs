//! Real servers for tests: each runs on a free port, in a folder of its own, and ends with all that it has started
//! when it is dropped.
//!
//! `cargo xtask test` starts one of each for the whole run and names them in the environment ([`given`]); a test that
//! kills, freezes or reconfigures a server starts its own.

mod cassandra;
mod front;
mod jars;
mod port;
mod redis;
mod redis_cluster;
mod server;

use anyhow::{Context, Result};

pub use cassandra::{Cassandra, CassandraNode};
pub use front::Front;
pub use port::free_port;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use server::Server;

/// Where the run's Cassandra is: its nodes' addresses and ports, with commas between.
pub const CASSANDRA: &str = "PLAYHEAD_CASSANDRA";
/// Where the run's Redis is: its URL.
pub const REDIS: &str = "PLAYHEAD_REDIS";
/// Where the run's Redis cluster is: the URLs of its nodes, with commas between.
pub const REDIS_CLUSTER: &str = "PLAYHEAD_REDIS_CLUSTER";

/// What the run names in `variable`, such as [`REDIS`].
pub fn given(variable: &str) -> Result<String> {
    std::env::var(variable).with_context(|| format!("{variable} is not set: run the tests by cargo xtask test"))
}
