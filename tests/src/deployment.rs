//! Playhead as a platform runs it: Cassandra, Redis, the origin's roles as processes of their own, and edges before them.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::edge::{Edge, Kind, Settings};
use crate::origin::Origin;
use crate::{Front, Redis, artifact};

/// The origin's own default, which the keys in Redis depend on.
const PARTITIONS: u16 = 64;
/// How long nodes of Cassandra may take over hearing of each other.
const MEETING: Duration = Duration::from_secs(60);

/// What a deployment is made of.
#[derive(Clone, Debug)]
pub struct Layout {
    /// An edge of each.
    pub edges: Vec<Kind>,
    /// Where Cassandra is; whoever wants to break it has one of their own.
    pub cassandra: String,
    /// How many copies of each row there are.
    pub copies: u8,
    /// How many processes each role has.
    pub instances: usize,
}

/// A whole deployment, on free ports, with a keyspace of its own; it ends when it is dropped.
#[derive(Debug)]
pub struct Deployment {
    // Fields are dropped in this order: whoever asks before whoever is asked.
    edges: Vec<Edge>,
    /// What the edges take for the origin.
    pub front: Front,
    /// The processes of each role; each can be killed, frozen and started again by itself.
    pub collect: Vec<Origin>,
    #[allow(missing_docs)]
    pub process: Vec<Origin>,
    #[allow(missing_docs)]
    pub provide: Vec<Origin>,
    /// A Redis that nobody else has.
    pub redis: Redis,
}

impl Layout {
    /// One of everything, on the run's Cassandra.
    pub fn of(kind: Kind) -> Result<Self> {
        let cassandra = playhead_servers::given(playhead_servers::CASSANDRA)?;
        Ok(Self { edges: vec![kind], cassandra, copies: 1, instances: 1 })
    }
}

impl Deployment {
    /// Starts one of everything before the run's Cassandra.
    pub fn start(kind: Kind) -> Result<Self> {
        Self::of(&Layout::of(kind)?)
    }

    /// Starts what the layout says, and returns once all of it is ready.
    pub fn of(layout: &Layout) -> Result<Self> {
        // It forgets everything when it is restarted, which is the worst that one can do.
        let redis = Redis::start(&[])?;
        has_run_for_long(&redis)?;
        let stores = stores(layout, &redis);
        apply_schema(&stores, layout.copies)?;
        let role = |name: &str| -> Result<Vec<Origin>> {
            let arguments = [stores.as_slice(), &["--roles".to_owned(), name.to_owned()]].concat();
            (0..layout.instances).map(|_| Origin::start_with(&arguments)).collect()
        };
        let (collect, process, provide) = (role("collect")?, role("process")?, role("provide")?);
        let urls = |role: &[Origin]| role.iter().map(Origin::url).collect::<Vec<_>>();
        let front = Front::start(&urls(&collect), &urls(&provide))?;
        let edge = |kind: &Kind| Edge::start(*kind, &front.url(), &Settings::default());
        let edges = layout.edges.iter().map(edge).collect::<Result<_>>()?;
        Ok(Self { edges, front, collect, process, provide, redis })
    }

    /// Its edge of that kind.
    pub fn edge(&self, kind: Kind) -> Result<&Edge> {
        self.edges.iter().find(|edge| edge.kind() == kind).with_context(|| format!("no {kind} edge was started"))
    }

    /// Its edge of that kind, to be killed or restarted.
    pub fn edge_mut(&mut self, kind: Kind) -> Result<&mut Edge> {
        self.edges.iter_mut().find(|edge| edge.kind() == kind).with_context(|| format!("no {kind} edge was started"))
    }

    /// How many events were ever published.
    pub fn events(&self) -> Result<u64> {
        let of = |partition| self.redis.ask(&["XLEN", &key(partition, "events")])?.parse::<u64>().context("no number");
        (0..PARTITIONS).map(of).sum()
    }

    /// What each part has printed last.
    pub fn last_words(&self) -> String {
        const LINES: usize = 25;
        let edges = self.edges.iter().map(|edge| (edge.kind().to_string(), edge.log()));
        let roles = [("collect", &self.collect), ("process", &self.process), ("provide", &self.provide)];
        let roles = roles.iter().flat_map(|(name, role)| role.iter().map(|of| ((*name).to_owned(), of.log())));
        let mut words = String::new();
        for (name, log) in edges.chain(roles) {
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
            words.push_str(&format!("--- the last of {} lines of {name}:\n{last}\n", lines.len()));
        }
        words
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
    }
}

/// A new deployment begins unverified, for it cannot be told from one whose Redis was emptied. This one's Redis is made
/// to look like one that was always there.
fn has_run_for_long(redis: &Redis) -> Result<()> {
    let info = redis.ask(&["INFO", "server"])?;
    let run = info.lines().find_map(|line| line.strip_prefix("run_id:")).context("Redis does not tell its run_id")?;
    for partition in 0..PARTITIONS {
        let mark = key(partition, "mark");
        redis.ask(&["HSET", &mark, "at", "0", "since", "0", "epoch", "0", "run", run.trim()])?;
    }
    Ok(())
}

fn key(partition: u16, what: &str) -> String {
    format!("playhead:{{{partition}}}:{what}")
}

/// The arguments that say where everything is kept.
fn stores(layout: &Layout, redis: &Redis) -> Vec<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let keyspace = format!("deployment_{}_{number}_{}", std::process::id(), crate::now().0);
    [
        ("--store", "cassandra"),
        ("--cassandra", &layout.cassandra),
        ("--cassandra-keyspace", &keyspace),
        ("--redis", &redis.url()),
    ]
    .iter()
    .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
    .collect()
}

fn apply_schema(stores: &[String], copies: u8) -> Result<()> {
    // Cassandra takes one change of its schema at a time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(artifact::path("PLAYHEAD_ORIGIN_BIN")?);
    command.args(["schema", "apply", "--cassandra-replication", &copies.to_string()]).args(stores);
    // Nodes that have just started may not all know of each other yet, and then there are too few.
    let deadline = Instant::now() + MEETING;
    loop {
        let output = command.output().context("the origin could not be started")?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(copies > 1 && Instant::now() < deadline, "no schema could be made: {said}");
        sleep(Duration::from_secs(1));
    }
}
