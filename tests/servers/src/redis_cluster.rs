//! A Redis cluster of three masters.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::port::free_port;
use crate::redis::Redis;

const SLOTS: usize = 16_384;
const MASTERS: usize = 3;

/// How long the nodes may take over agreeing that they are a cluster.
const MEETING: Duration = Duration::from_secs(30);

/// Three masters without replicas, each with a third of the slots.
#[derive(Debug)]
pub struct RedisCluster {
    /// The masters; each can be killed, frozen and started again by itself.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts the nodes, with these options each, and returns once all of them serve all slots.
    pub fn start(options: &[&str]) -> Result<Self> {
        let nodes: Vec<(Redis, u16)> = (0..MASTERS).map(|_| node(options)).collect::<Result<_>>()?;
        for (n, (node, _)) in nodes.iter().enumerate() {
            let (first, end) = (SLOTS * n / MASTERS, SLOTS * (n + 1) / MASTERS);
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()])?;
            // Masters of the same epoch would first have to settle which of them gives way.
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()])?;
        }
        let (first, others) = nodes.split_first().context("a cluster has nodes")?;
        for (other, bus) in others {
            first.0.ask(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string(), &bus.to_string()])?;
        }
        let cluster = Self { nodes: nodes.into_iter().map(|(node, _)| node).collect() };
        cluster.wait_until_whole()?;
        Ok(cluster)
    }

    /// The nodes' URLs, with commas between.
    pub fn urls(&self) -> String {
        self.nodes.iter().map(Redis::url).collect::<Vec<_>>().join(",")
    }

    /// Waits until every node says that all slots are served.
    pub fn wait_until_whole(&self) -> Result<()> {
        let deadline = Instant::now() + MEETING;
        let whole = |node: &Redis| {
            let info = node.ask(&["CLUSTER", "INFO"]).unwrap_or_default();
            let knows_all = format!("cluster_known_nodes:{MASTERS}");
            info.contains("cluster_state:ok") && info.contains(&knows_all)
        };
        while !self.nodes.iter().all(whole) {
            ensure!(Instant::now() < deadline, "the Redis cluster does not come together");
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// A node and the port at which the others talk to it; by default that lies 10,000 above its own, where we have not
/// looked whether it is free.
fn node(options: &[&str]) -> Result<(Redis, u16)> {
    let bus = free_port();
    let bus_word = bus.to_string();
    let own = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", &bus_word];
    Ok((Redis::start(&[&own, options].concat())?, bus))
}
