//! Which server holds which partition, and what keeps it so: one server, or the masters of a cluster.
//!
//! Our own and not the crate's cluster connection, because that takes one slot at a time: here all that goes to one
//! server is one pipeline, whatever the number of partitions. What is broken is made again in the background; until
//! then requests fail at once, and an edge, or the facts, can take over.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, FromRedisValue, Value};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::address::{Address, Endpoint};
use super::link::{Link, open};
use super::{Result, StoreError, Unusable, nonce};

/// The number of a partition: all that belongs to one account lies in one.
pub(super) type Partition = u16;

/// By partition: where it is; none while that server cannot be reached.
type Links = Arc<Vec<Option<Arc<Link>>>>;

pub(super) struct Nodes {
    shared: Arc<Shared>,
    maintaining: AbortHandle,
}

struct Shared {
    address: Address,
    deadline: Duration,
    /// The cluster's slot of each partition. Empty where there is no cluster.
    slots: Vec<u16>,
    links: RwLock<Links>,
    broken: Notify,
}

/// Between two attempts to make what is broken again, at first and at last.
const BACKOFF_MS: (u64, u64) = (25, 800);

impl Nodes {
    /// Connects to all servers. Fails if any of them cannot be reached.
    pub(super) async fn connect(
        address: Address,
        partitions: Partition,
        deadline: Duration,
    ) -> std::result::Result<Self, Unusable> {
        let slots = if address.cluster { slots(&address, partitions, deadline).await? } else { Vec::new() };
        let nowhere = RwLock::new(Arc::new(vec![None; partitions.into()]));
        let shared = Arc::new(Shared { address, deadline, slots, links: nowhere, broken: Notify::new() });
        shared.connect().await?;
        let maintaining = tokio::spawn(maintain(Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, maintaining })
    }

    /// The connections as they are now.
    pub(super) fn pin(&self) -> Pinned {
        Pinned { links: self.shared.links(), shared: Arc::clone(&self.shared) }
    }
}

/// The connections as they were when something began, all of whose steps go over the same ones: a server that
/// starts anew in the middle fails it, and cannot be taken for what it was.
pub(super) struct Pinned {
    shared: Arc<Shared>,
    links: Links,
}

impl Pinned {
    /// All partitions.
    pub(super) fn partitions(&self) -> Range<Partition> {
        0..self.links.len() as Partition
    }

    /// The run of the server that holds a partition.
    pub(super) fn run(&self, partition: Partition) -> Result<&str> {
        Ok(&self.link(partition)?.run)
    }

    /// One partition per server.
    pub(super) fn one_of_each(&self) -> Vec<Partition> {
        let mut seen = BTreeMap::new();
        for (partition, link) in (0..).zip(&*self.links) {
            if let Some(link) = link {
                seen.entry(link.number).or_insert(partition);
            }
        }
        seen.into_values().collect()
    }

    /// One command and its answer.
    pub(super) async fn ask<T: FromRedisValue>(&self, partition: Partition, command: Cmd) -> Result<T> {
        let mut answers = self.ask_all(vec![(partition, command)]).await?;
        answers.pop().ok_or_else(|| StoreError::Failed("Redis gave no answer".to_owned())).and_then(read)
    }

    /// Commands, each to its partition: at once, in one round trip, in their order within a partition. Returns what
    /// each was answered. Where one server fails, the others have done theirs all the same.
    pub(super) async fn ask_all(&self, commands: Vec<(Partition, Cmd)>) -> Result<Vec<Value>> {
        let count = commands.len();
        let mut of_link: BTreeMap<u64, (&Link, Vec<usize>, Vec<Cmd>)> = BTreeMap::new();
        let mut failed = None;
        for (place, (partition, command)) in commands.into_iter().enumerate() {
            match self.link(partition) {
                Ok(link) => {
                    let (_, places, commands) =
                        of_link.entry(link.number).or_insert_with(|| (link, Vec::new(), Vec::new()));
                    places.push(place);
                    commands.push(command);
                }
                Err(error) => failed = Some(error),
            }
        }
        let asking = of_link.into_values().map(async |(link, places, commands)| {
            let answers = link.ask(commands).await;
            if link.broken() {
                self.shared.broken.notify_one();
            }
            (places, answers)
        });
        let mut all = vec![Value::Nil; count];
        for (places, answers) in join_all(asking).await {
            match answers {
                Ok(answers) => places.into_iter().zip(answers).for_each(|(place, answer)| all[place] = answer),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(all), Err)
    }

    fn link(&self, partition: Partition) -> Result<&Link> {
        let link = self.links.get(usize::from(partition)).and_then(Option::as_deref).filter(|link| !link.broken());
        link.ok_or_else(|| {
            // Whoever broke it has said so; but a part of the map may have been missing from the start.
            self.shared.broken.notify_one();
            StoreError::Failed(format!("Redis is not there for partition {partition}: connecting"))
        })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.maintaining.abort();
    }
}

/// Reads an answer.
pub(super) fn read<T: FromRedisValue>(answer: Value) -> Result<T> {
    redis::from_redis_value(answer)
        .map_err(|error| StoreError::Failed(format!("Redis answers something else: {error}")))
}

/// Makes again what is broken, for as long as there is something to serve.
async fn maintain(shared: Arc<Shared>) {
    loop {
        shared.broken.notified().await;
        let (first, last) = BACKOFF_MS;
        let mut wait = first;
        while let Err(Unusable(why)) = shared.connect().await {
            tracing::warn!("{why}; trying again");
            // With jitter, so that processes that lost the same server do not come back to it all at once.
            tokio::time::sleep(Duration::from_millis(wait + nonce() % wait)).await;
            wait = (2 * wait).min(last);
        }
        tracing::info!("connected to Redis again");
    }
}

impl Shared {
    fn links(&self) -> Links {
        Arc::clone(&self.links.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Connects to every server to which there is no sound link. What can be reached is used even if another
    /// cannot, which is then told.
    async fn connect(&self) -> std::result::Result<(), Unusable> {
        let old = self.links();
        let masters = self.masters(&old).await?;
        let known = |endpoint: &Endpoint| {
            old.iter().flatten().find(|link| link.endpoint == *endpoint && !link.broken()).map(Arc::clone)
        };
        let connecting = masters.iter().map(async |(endpoint, _)| match known(endpoint) {
            Some(link) => Ok(link),
            None => Link::connect(endpoint, self.deadline).await.map(Arc::new),
        });
        let mut links = vec![None; old.len()];
        let mut unreachable = None;
        for (connected, (_, partitions)) in join_all(connecting).await.into_iter().zip(&masters) {
            match connected {
                Ok(link) => partitions.iter().for_each(|at| links[usize::from(*at)] = Some(Arc::clone(&link))),
                Err(unusable) => unreachable = Some(unusable),
            }
        }
        let missing = links.iter().position(Option::is_none);
        *self.links.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(links);
        match (unreachable, missing) {
            (Some(unusable), _) => Err(unusable),
            (None, Some(_)) => Err(Unusable("the Redis cluster has slots that no node serves".to_owned())),
            (None, None) => Ok(()),
        }
    }

    /// The servers, each with the partitions that it holds.
    async fn masters(
        &self,
        old: &[Option<Arc<Link>>],
    ) -> std::result::Result<Vec<(Endpoint, Vec<Partition>)>, Unusable> {
        let all = || (0..old.len() as Partition).collect();
        if !self.address.cluster {
            return Ok(self.address.seeds.first().map(|seed| (seed.clone(), all())).into_iter().collect());
        }
        let first = self.address.seeds.first().ok_or_else(|| Unusable("no Redis is named".to_owned()))?;
        let owners = topology(&self.candidates(old), self.deadline).await?;
        let mut masters: Vec<(Endpoint, Vec<Partition>)> = Vec::new();
        for (partition, slot) in (0..).zip(&self.slots) {
            let Some(owner) = owners.iter().find(|owner| (owner.first..=owner.last).contains(slot)) else { continue };
            let endpoint = first.at(&owner.host, owner.port);
            match masters.iter_mut().find(|(of, _)| *of == endpoint) {
                Some((_, partitions)) => partitions.push(partition),
                None => masters.push((endpoint, vec![partition])),
            }
        }
        Ok(masters)
    }

    /// Whom to ask for the map: nodes that answered a moment ago, then those that are configured.
    fn candidates(&self, old: &[Option<Arc<Link>>]) -> Vec<Endpoint> {
        let mut candidates: Vec<Endpoint> = Vec::new();
        let sound = old.iter().flatten().filter(|link| !link.broken()).map(|link| &link.endpoint);
        for endpoint in sound.chain(&self.address.seeds) {
            if !candidates.contains(endpoint) {
                candidates.push(endpoint.clone());
            }
        }
        candidates
    }
}

/// A range of slots and its master.
struct Owner {
    first: u16,
    last: u16,
    host: String,
    port: u16,
}

/// Asks one node after another for the map of the cluster.
async fn topology(candidates: &[Endpoint], deadline: Duration) -> std::result::Result<Vec<Owner>, Unusable> {
    let mut why = Unusable("no node of the Redis cluster is named".to_owned());
    for endpoint in candidates {
        match ask(endpoint, &["SLOTS"], deadline).await {
            Ok(answers) => return Ok(answers.into_iter().flat_map(|answer| owners(answer, endpoint)).collect()),
            Err(unusable) => why = unusable,
        }
    }
    Err(why)
}

/// The slots in which the partitions' keys lie, as the servers reckon them.
async fn slots(
    address: &Address,
    partitions: Partition,
    deadline: Duration,
) -> std::result::Result<Vec<u16>, Unusable> {
    let tags: Vec<String> = (0..partitions).map(|partition| format!("KEYSLOT {{{partition}}}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let mut why = Unusable("no node of the Redis cluster is named".to_owned());
    for endpoint in &address.seeds {
        let slots = ask(endpoint, &tags, deadline).await;
        match slots.map(|slots| slots.into_iter().map(redis::from_redis_value).collect()) {
            Ok(Ok(slots)) => return Ok(slots),
            Ok(Err(_)) => why = Unusable(format!("Redis at {endpoint} is no node of a cluster")),
            Err(unusable) => why = unusable,
        }
    }
    Err(why)
}

/// `CLUSTER …` commands, put to one node.
async fn ask(endpoint: &Endpoint, questions: &[&str], deadline: Duration) -> std::result::Result<Vec<Value>, Unusable> {
    let mut pipeline = redis::pipe();
    for question in questions {
        pipeline.cmd("CLUSTER").arg(question.split(' ').collect::<Vec<_>>());
    }
    let asking = async {
        let mut connection = open(endpoint, deadline).await?;
        pipeline.query_async(&mut connection).await
    };
    let unusable = |why: String| Unusable(format!("Redis at {endpoint} does not tell of its cluster: {why}"));
    match tokio::time::timeout(deadline, asking).await {
        Ok(answered) => answered.map_err(|error: redis::RedisError| unusable(error.to_string())),
        Err(_) => Err(unusable("it did not answer in time".to_owned())),
    }
}

/// The ranges of a `CLUSTER SLOTS` answer, which that node gave.
fn owners(answer: Value, by: &Endpoint) -> Vec<Owner> {
    type Range = (u16, u16, Value);
    let Value::Array(ranges) = answer else { return Vec::new() };
    let owner = |range: Value| {
        let Value::Array(mut parts) = range else { return None };
        parts.truncate(3); // What follows are replicas.
        let (first, last, master): Range = redis::from_redis_value(Value::Array(parts)).ok()?;
        let Value::Array(mut master) = master else { return None };
        master.truncate(2);
        let (host, port): (Option<String>, u16) = redis::from_redis_value(Value::Array(master)).ok()?;
        // A node that has not met another yet does not know its own address: it is where it was reached.
        let host = host.filter(|host| !host.is_empty() && host != "?").unwrap_or_else(|| by.host.clone());
        Some(Owner { first, last, host, port })
    };
    ranges.into_iter().filter_map(owner).collect()
}
