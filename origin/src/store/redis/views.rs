//! Streams in Redis.

use std::collections::{BTreeMap, BTreeSet};

use playhead_shared::id::{AccountId, SessionId};
use playhead_shared::register::Fact;
use playhead_shared::time::Millis;
use playhead_shared::wire::Stream;

use super::leases::Leases;
use super::mark::{self, Found, Mark};
use super::nodes::read;
use super::{Redis, Result, StoreError};
use crate::store::{FactStore, Taken, Taking, Views};
use crate::streams::Table;
use crate::taking::Concerned;

impl<F: FactStore> Views for Redis<F> {
    async fn take(&self, taking: Taking, now: Millis) -> Result<Taken> {
        let nodes = self.nodes.pin();
        let entries = taking.entries.clone();
        let (steps, longest_queue) = self.begin(&nodes, Concerned::by_account(taking)).await?;
        if longest_queue >= self.options.queue {
            return Err(StoreError::Busy);
        }
        if !entries.is_empty() {
            self.facts.merge(entries, now).await?;
        }
        self.finish(&nodes, steps, now).await
    }

    async fn streams(&self, account: &AccountId, now: Millis) -> Result<Vec<Stream>> {
        let nodes = self.nodes.pin();
        let partition = self.keys.partition(account);
        let commands = [mark::find(&self.keys, partition), self.get_leases(partition, account)];
        let mut answers = nodes.ask_all(commands.map(|command| (partition, command)).into()).await?;
        let leases = Leases::read(read(answers.pop().unwrap_or_default())?);
        let found = Found::read(answers.pop().unwrap_or_default())?;
        // A mark that does not hold is for those who write to begin anew; it comes to the same.
        let anew = Mark { since: now, epoch: u64::MAX };
        let mark = found.holds(nodes.run(partition)?, now).unwrap_or(anew);
        let moment = mark.moment(now, &self.rules);
        let doubtful = leases.held.iter().map(|held| held.lease.session);
        let doubtful: BTreeSet<_> =
            doubtful.filter(|session| leases.epoch != Some(mark.epoch) && !leases.ended(*session)).collect();
        let ended = self.ended_by_register(account, doubtful).await?;
        let mut table = Table::new(leases.held);
        for session in ended {
            table.end(session, &moment);
        }
        Ok(table.streams(&moment))
    }

    async fn sweep(&self, now: Millis, limit: usize) -> Result<usize> {
        let nodes = self.nodes.pin();
        let ask = |partition| {
            let mut command = redis::cmd("ZRANGEBYSCORE");
            command.arg(self.keys.due(partition)).arg("-inf").arg(now.0).arg("WITHSCORES");
            command.arg("LIMIT").arg(0).arg(limit);
            (partition, command)
        };
        let mut due: Vec<(f64, String)> = Vec::new();
        for answer in nodes.ask_all(nodes.partitions().map(ask).collect()).await? {
            let of_partition: Vec<(String, f64)> = read(answer)?;
            due.extend(of_partition.into_iter().map(|(account, at)| (at, account)));
        }
        due.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        due.truncate(limit);
        let seen = due.len();
        let accounts = due.into_iter().filter_map(|(_, account)| account.parse().ok());
        let looked_at: BTreeMap<AccountId, Concerned> =
            accounts.map(|account| (account, Concerned::default())).collect();
        if !looked_at.is_empty() {
            let (steps, _) = self.begin(&nodes, looked_at).await?;
            self.finish(&nodes, steps, now).await?;
        }
        Ok(seen)
    }

    /// Only if a taking could succeed now: leases that are not taken while collect refuses everything must not run
    /// out, so that it then counts as away.
    async fn alive(&self, now: Millis) -> Result<()> {
        let nodes = self.nodes.pin();
        let runs = nodes.partitions().map(|partition| nodes.run(partition)).collect::<Result<Vec<_>>>()?;
        if self.waiting(&nodes, now).await?.into_iter().any(|(_, waiting)| waiting as u64 >= self.options.queue) {
            return Err(StoreError::Busy);
        }
        self.facts.get(&self.probe, &[Fact::Ended(SessionId::of_birth(Millis(0), 0))]).await?;
        let renew = |(partition, run)| (partition, mark::renew(&self.keys, partition, run, true, now));
        nodes.ask_all(nodes.partitions().zip(runs).map(renew).collect()).await.map(drop)
    }

    async fn ready(&self, now: Millis) -> Result<()> {
        let nodes = self.nodes.pin();
        for partition in nodes.partitions() {
            nodes.run(partition)?;
        }
        let note = |partition| {
            let mut command = redis::cmd("SET");
            command.arg(self.keys.ready(partition)).arg(now.0);
            (partition, command)
        };
        nodes.ask_all(nodes.one_of_each().into_iter().map(note).collect()).await.map(drop)
    }
}
