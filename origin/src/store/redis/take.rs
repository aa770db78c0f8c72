//! Collect's one step per account: read its leases, decide by the rules in Rust, commit by a script if nothing has
//! changed meanwhile, else decide again on what is there now.
//!
//! The facts are durable before anything is decided, and the leases are read before it is asked which sessions
//! ended by register; and whoever brings such a register writes the leases, changed or not. So of a renewal and
//! an eviction at the same time the later one sees the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use playhead_shared::id::{AccountId, ProfileId, SessionId};
use playhead_shared::register::{Entry, Fact};
use playhead_shared::time::Millis;
use redis::{Cmd, Value};

use super::keys::{digest, field, in_view};
use super::leases::Leases;
use super::mark::{self, Found, Mark};
use super::nodes::{Partition, Pinned, read};
use super::script::Script;
use super::{Redis, Result, StoreError, nonce};
use crate::signal::{Signal, event_ids, signal_of};
use crate::store::{FactStore, Taken};
use crate::streams::{Moment, Table};
use crate::taking::Concerned;

/// How often a step is tried; each failure means that somebody else's has gone through.
const ATTEMPTS: u32 = 12;
/// Facts that are asked for at once.
const ASKED_AT_ONCE: usize = 32;

/// One account's step, as far as it has come.
pub(super) struct Step {
    account: AccountId,
    partition: Partition,
    concerned: Concerned,
    leases: Leases,
    mark: Found,
}

impl<F: FactStore> Redis<F> {
    /// Reads what the steps of these accounts begin with, and how long the queue of each of their partitions is.
    pub(super) async fn begin(
        &self,
        nodes: &Pinned,
        concerned: BTreeMap<AccountId, Concerned>,
    ) -> Result<(Vec<Step>, u64)> {
        let partitions: BTreeSet<Partition> = concerned.keys().map(|account| self.keys.partition(account)).collect();
        let mut commands = Vec::with_capacity(2 * partitions.len() + concerned.len());
        for partition in &partitions {
            let mut length = redis::cmd("XLEN");
            length.arg(self.keys.signals(*partition));
            commands.extend([(*partition, mark::find(&self.keys, *partition)), (*partition, length)]);
        }
        for account in concerned.keys() {
            let partition = self.keys.partition(account);
            commands.push((partition, self.get_leases(partition, account)));
        }
        let mut answers = nodes.ask_all(commands).await?.into_iter();
        let (mut marks, mut longest) = (BTreeMap::new(), 0);
        for partition in partitions {
            marks.insert(partition, Found::read(answers.next().unwrap_or_default())?);
            longest = longest.max(read(answers.next().unwrap_or_default())?);
        }
        let step = |((account, concerned), leases)| {
            let partition = self.keys.partition(&account);
            let mark = marks.get(&partition).cloned().unwrap_or_default();
            Ok(Step { account, partition, concerned, leases: Leases::read(read(leases)?), mark })
        };
        Ok((concerned.into_iter().zip(answers).map(step).collect::<Result<_>>()?, longest))
    }

    pub(super) fn get_leases(&self, partition: Partition, account: &AccountId) -> Cmd {
        let mut command = redis::cmd("GET");
        command.arg(self.keys.leases(partition, account));
        command
    }

    /// Decides and commits every step, whose facts are durable already.
    pub(super) async fn finish(&self, nodes: &Pinned, mut steps: Vec<Step>, now: Millis) -> Result<Taken> {
        let mut all = Taken::default();
        for attempt in 0..ATTEMPTS {
            let marks = self.marks(nodes, &steps, now).await?;
            let ended = self.ended(&steps, &marks).await?;
            let mut commands = Vec::with_capacity(steps.len());
            let mut decided = Vec::with_capacity(steps.len());
            for (step, ended) in steps.iter().zip(&ended) {
                let (taken, command) = self.decide(step, ended, &marks[&step.partition], now);
                decided.push(taken);
                commands.push((step.partition, command));
            }
            let answers = nodes.ask_all(commands).await?;
            let mut again = Vec::new();
            for ((step, taken), answer) in steps.into_iter().zip(decided).zip(answers) {
                match changed(answer)? {
                    None => all.add(taken),
                    Some((leases, mark)) => again.push(Step { leases, mark, ..step }),
                }
            }
            if again.is_empty() {
                return Ok(all);
            }
            steps = again;
            tokio::time::sleep(Duration::from_millis(nonce() % (1 << attempt.min(5)))).await;
        }
        Err(StoreError::Failed("too many at once want to change one account's streams".to_owned()))
    }

    /// The marks of the steps' partitions; those that do not hold are begun anew.
    async fn marks(&self, nodes: &Pinned, steps: &[Step], now: Millis) -> Result<BTreeMap<Partition, Mark>> {
        let mut marks = BTreeMap::new();
        let mut anew = BTreeMap::new();
        for step in steps {
            let run = nodes.run(step.partition)?;
            match step.mark.holds(run, now) {
                Some(mark) => drop(marks.insert(step.partition, mark)),
                None => drop(anew.insert(step.partition, mark::renew(&self.keys, step.partition, run, false, now))),
            }
        }
        // One step may have read it before another found it changed: the later reading counts.
        anew.retain(|partition, _| !marks.contains_key(partition));
        if !anew.is_empty() {
            let partitions: Vec<Partition> = anew.keys().copied().collect();
            for (partition, answer) in partitions.into_iter().zip(nodes.ask_all(anew.into_iter().collect()).await?) {
                marks.insert(partition, mark::renewed(answer)?);
            }
        }
        Ok(marks)
    }

    /// Of each step the sessions that have an `ended` register: it brings it, it is remembered, or the facts say so.
    async fn ended(&self, steps: &[Step], marks: &BTreeMap<Partition, Mark>) -> Result<Vec<BTreeSet<SessionId>>> {
        // Not `map`: the compiler cannot see that its closure serves every lifetime.
        let mut asking = Vec::with_capacity(steps.len());
        for step in steps {
            asking.push(self.ended_of(step, &marks[&step.partition]));
        }
        stream::iter(asking).buffered(ASKED_AT_ONCE).try_collect().await
    }

    async fn ended_of(&self, step: &Step, mark: &Mark) -> Result<BTreeSet<SessionId>> {
        let Step { account, concerned, leases, .. } = step;
        let held = leases.held.iter().map(|held| held.lease.session);
        let mut ended: BTreeSet<SessionId> = concerned.ended().collect();
        ended.extend(held.clone().filter(|session| leases.ended(*session)));
        let doubtful = |session: &SessionId| !ended.contains(session) && !leases.not_ended(*session, mark.epoch);
        // Of the remembered ones too: under another epoch an ending may be among what was lost.
        let doubtful: BTreeSet<SessionId> = held.chain(concerned.sessions()).filter(doubtful).collect();
        ended.extend(self.ended_by_register(account, doubtful).await?);
        Ok(ended)
    }

    /// Those of an account's sessions that have an `ended` register, from the facts.
    pub(super) async fn ended_by_register(
        &self,
        account: &AccountId,
        sessions: BTreeSet<SessionId>,
    ) -> Result<BTreeSet<SessionId>> {
        if sessions.is_empty() {
            return Ok(sessions);
        }
        let facts: Vec<Fact> = sessions.iter().copied().map(Fact::Ended).collect();
        let registers = self.facts.get(account, &facts).await?;
        Ok(sessions.into_iter().zip(registers).filter_map(|(session, register)| register.map(|_| session)).collect())
    }

    /// What a step comes to, and the command that commits it.
    fn decide(&self, step: &Step, ended: &BTreeSet<SessionId>, mark: &Mark, now: Millis) -> (Taken, Cmd) {
        let Step { account, partition, concerned, leases, .. } = step;
        let moment = mark.moment(now, &self.rules);
        let mut table = Table::new(leases.held.iter().cloned());
        let (taken, of_streams) = concerned.apply(account, &mut table, ended, &moment);

        let views = by_profile(&concerned.entries);
        let keys = &self.keys;
        let mut names = vec![keys.leases(*partition, account), keys.mark(*partition), keys.due(*partition)];
        names.extend([keys.signals(*partition), keys.said(*partition), keys.signalled(*partition)]);
        names.extend(views.keys().map(|profile| keys.view(*partition, account, profile)));
        let mut command = Script::Take.on(&names);
        command.arg(&leases.nonce).arg(mark.since.0).arg(mark.epoch).arg(account.as_str());
        let (change, due) = change(step, &table, mark, &moment);
        command.arg(change).arg(due.map(|due| due.0.to_string()).unwrap_or_default());

        let of_facts = concerned.entries.iter().filter_map(|entry| {
            let signal = only_by_event(signal_of(entry, None)?);
            Some((signal, event_ids(entry)))
        });
        let signals: Vec<_> = of_facts.chain(of_streams.into_iter().map(|signal| (signal, Vec::new()))).collect();
        command.arg(signals.len());
        for (signal, ids) in &signals {
            command.arg(super::write(signal)).arg(ids.len());
            for id in ids {
                command.arg(&digest(id));
            }
        }
        for entries in views.values() {
            command.arg(entries.len());
            for entry in entries {
                command.arg(field(&entry.fact)).arg(entry.register.as_bytes());
            }
        }
        (taken, command)
    }
}

/// Whether a commit found something changed: what is there now.
fn changed(answer: Value) -> Result<Option<(Leases, Found)>> {
    let Value::Array(mut parts) = answer else {
        return Err(StoreError::Failed("a commit has no answer".to_owned()));
    };
    if parts.len() == 1 {
        return Ok(None);
    }
    let mark = Found::read(Value::Array(parts.split_off(2.min(parts.len()))))?;
    Ok(Some((Leases::read(read(parts.pop().unwrap_or_default())?), mark)))
}

/// What is to become of the leases, and when a sweep has to look at them.
fn change(step: &Step, table: &Table, mark: &Mark, moment: &Moment<'_>) -> (Vec<u8>, Option<Millis>) {
    let Step { leases, concerned, .. } = step;
    let due = table.remembered().map(|held| held.due_at(moment)).min();
    // To an ending belongs a new nonce, though no lease changes (see above), for longer than a step can take: so what
    // holds only a nonce is dropped by a sweep alone.
    let ending = concerned.ended().next().is_some();
    if due.is_none() && !ending {
        let change = if concerned.is_empty() || !leases.held.is_empty() { "drop" } else { "" };
        return (change.into(), None);
    }
    let changed = ending || table.changes().next().is_some() || leases.epoch != Some(mark.epoch);
    let due = due.unwrap_or_else(|| moment.now.plus(moment.rules.ended_lease_ms));
    (if changed { Leases::write(table, mark.epoch) } else { Vec::new() }, Some(due))
}

/// The entries that belong into views, by profile.
fn by_profile(entries: &[Entry]) -> BTreeMap<&ProfileId, Vec<&Entry>> {
    let mut views: BTreeMap<&ProfileId, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        if let Some(profile) = entry.fact.profile().filter(|_| in_view(entry.fact.kind())) {
            views.entry(profile).or_default().push(entry);
        }
    }
    views
}

/// Whether a mark is the first of its title is not known here. As the first it would be an event of its own even where
/// a session's beat is what has superseded it, so it counts as none; a session's events are said once in any case.
fn only_by_event(signal: Signal) -> Signal {
    use playhead_shared::register::Kind;
    match signal {
        Signal::Fact { entry, .. } if entry.kind == Kind::Watched as u8 => Signal::Fact { entry, first: false },
        signal => signal,
    }
}
