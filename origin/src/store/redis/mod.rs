//! Views and signals in Redis, over facts that are elsewhere: alone or a cluster, version 7.
//!
//! Redis keeps only what may be lost (`mark.rs` says what then holds), in partitions: all of an account is in one, so
//! that one script can change it in one step, and all keys of one are on one server. Rules are not among what the
//! scripts know: an account's leases are read, decided on in Rust, and committed if nobody was faster (`take.rs`).

mod address;
mod facts;
mod keys;
mod leases;
mod link;
mod mark;
mod nodes;
mod script;
mod signals;
mod take;
mod view;
mod views;

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use playhead_shared::id::AccountId;
use playhead_shared::rules::Rules;
use thiserror::Error;
use tokio::sync::Semaphore;

pub use self::address::Address;
use self::keys::Keys;
use self::nodes::Nodes;
pub use self::signals::SignalId;
use super::{FactStore, Result, StoreError, write};

/// Views and signals in Redis, and facts in `F`: a whole store.
pub struct Redis<F> {
    facts: F,
    nodes: Nodes,
    keys: Keys,
    options: Options,
    rules: Rules,
    /// An account that nobody asks for, to see whether the facts answer.
    probe: AccountId,
    /// How many views may be filled at once: each filling holds a whole profile in memory.
    fillings: Semaphore,
}

const FILLINGS: usize = 32;

/// What can be set of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is.
    pub address: Address,
    /// What all keys begin with, so that several deployments can share a server. Without braces.
    pub prefix: String,
    /// Into how many parts the accounts are split. Fixed for a deployment.
    pub partitions: u16,
    /// By what name this process takes signals. A process that comes back under its name goes on with those that it
    /// had taken; no two may have the same at a time.
    pub consumer: String,
    /// How long one question may take.
    pub deadline: Duration,
    /// How many signals may wait in one partition before takings are refused.
    pub queue: u64,
    /// For how long a view is good, from its filling on.
    pub view_ttl: Duration,
    /// How long filling it may take, longer than the facts' own deadline.
    pub fill_ttl: Duration,
    /// For how long a consumer must not have looked at its signals for others to take them.
    pub claim_after: Duration,
}

impl Options {
    /// All by their defaults, under a consumer's name that nobody else has.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            prefix: "playhead:".to_owned(),
            partitions: 64,
            consumer: format!("{:016x}", nonce()),
            deadline: Duration::from_secs(1),
            queue: 20_000,
            view_ttl: Duration::from_secs(3600),
            fill_ttl: Duration::from_secs(30),
            claim_after: Duration::from_secs(15),
        }
    }
}

/// A Redis that cannot be used as it is: one sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unusable(pub String);

impl<F: FactStore> Redis<F> {
    /// Connects, and looks whether what is there is this deployment's.
    pub async fn connect(options: Options, facts: F, rules: Rules) -> std::result::Result<Self, Unusable> {
        let Options { address, prefix, partitions, deadline, .. } = &options;
        if prefix.contains(['{', '}']) || *partitions == 0 {
            let what = "the prefix of keys in Redis must hold no braces, and there must be at least one partition";
            return Err(Unusable(what.to_owned()));
        }
        let keys = Keys::new(prefix, *partitions);
        let nodes = Nodes::connect(address.clone(), *partitions, *deadline).await?;
        let mut command = redis::cmd("SET");
        command.arg(keys.partitions()).arg(*partitions).arg("NX").arg("GET");
        let asked: Result<Option<String>> = nodes.pin().ask(0, command).await;
        match asked.map_err(|error| Unusable(error.to_string()))? {
            Some(began) if began != partitions.to_string() => Err(Unusable(format!(
                "this deployment began with {began} partitions in Redis, and is now set to {partitions}: set it back"
            ))),
            _ => {
                let probe = "probe".parse().map_err(|_| Unusable("no account can be asked for".to_owned()))?;
                Ok(Self { facts, nodes, keys, options, rules, probe, fillings: Semaphore::new(FILLINGS) })
            }
        }
    }

    /// The facts beneath.
    pub fn facts(&self) -> &F {
        &self.facts
    }

    /// Says that no stream is missing, though collect has not been there: of a deployment that has just been made.
    /// Without it a new one begins unverified for one lease's length, because it looks like one that was emptied.
    pub async fn assume_complete(&self) -> Result<()> {
        mark::assume_complete(&self.nodes.pin(), &self.keys).await
    }
}

/// A number that nobody else has come up with: the standard library's keys are random.
fn nonce() -> u64 {
    RandomState::new().hash_one(0)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
