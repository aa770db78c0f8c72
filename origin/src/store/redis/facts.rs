//! Facts: those of titles from views where these are loaded, all else from the facts beneath, which take over
//! wherever Redis fails.

use std::collections::{BTreeMap, BTreeSet};

use playhead_shared::id::{AccountId, ProfileId, SessionId};
use playhead_shared::register::{Entry, Fact, Kind, Register};
use playhead_shared::time::{Millis, Stamp};

use super::keys::in_view;
use super::leases::Leases;
use super::mark::{self, Found};
use super::nodes::{Pinned, read};
use super::view::View;
use super::{Redis, Result};
use crate::store::{FactStore, Taking, Views};

impl<F: FactStore> FactStore for Redis<F> {
    async fn merge(&self, entries: Vec<Entry>, now: Millis) -> Result<()> {
        self.take(Taking { entries, ..Taking::default() }, now).await.map(drop)
    }

    async fn get(&self, account: &AccountId, facts: &[Fact]) -> Result<Vec<Option<Register>>> {
        let mut known: BTreeMap<&Fact, Option<Register>> = BTreeMap::new();
        if let Err(error) = self.get_from_redis(account, facts, &mut known).await {
            tracing::debug!(%error, "reading the facts instead");
        }
        let unknown: Vec<Fact> = facts.iter().filter(|fact| !known.contains_key(fact)).cloned().collect();
        let mut from_facts = BTreeMap::new();
        if !unknown.is_empty() {
            let registers = self.facts.get(account, &unknown).await?;
            from_facts.extend(unknown.iter().zip(registers));
        }
        Ok(facts.iter().map(|fact| known.get(fact).or_else(|| from_facts.get(fact)).cloned().flatten()).collect())
    }

    async fn scan(
        &self,
        account: &AccountId,
        profile: &ProfileId,
        from: Kind,
        to: Kind,
    ) -> Result<Vec<(Fact, Register)>> {
        if in_view(from) && in_view(to) {
            match self.scan_in_redis(account, profile).await {
                Ok(Some(mut registers)) => {
                    registers.retain(|(fact, _)| (from..=to).contains(&fact.kind()));
                    return Ok(registers);
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "reading the facts instead"),
            }
        }
        self.facts.scan(account, profile, from, to).await
    }

    async fn sessions(
        &self,
        account: &AccountId,
        profile: &ProfileId,
        before: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<(SessionId, Register)>> {
        self.facts.sessions(account, profile, before, limit).await
    }

    async fn delete_older(&self, account: &AccountId, facts: Vec<Fact>, stamp: Stamp) -> Result<()> {
        let in_views = facts.iter().filter(|fact| in_view(fact.kind()));
        let profiles: BTreeSet<ProfileId> = in_views.filter_map(Fact::profile).cloned().collect();
        self.facts.delete_older(account, facts, stamp).await?;
        self.drop_views(account, &profiles).await
    }
}

impl<F: FactStore> Redis<F> {
    /// Of the facts those that Redis knows, or has been made to know: views that are absent are filled.
    async fn get_from_redis<'f>(
        &self,
        account: &AccountId,
        facts: &'f [Fact],
        known: &mut BTreeMap<&'f Fact, Option<Register>>,
    ) -> Result<()> {
        let mut profiles: BTreeMap<&ProfileId, Vec<&Fact>> = BTreeMap::new();
        let mut ended = Vec::new();
        for fact in facts {
            match (fact, fact.profile()) {
                (Fact::Ended(session), _) => ended.push((*session, fact)),
                (_, Some(profile)) if in_view(fact.kind()) => profiles.entry(profile).or_default().push(fact),
                _ => {}
            }
        }
        if profiles.is_empty() && ended.is_empty() {
            return Ok(());
        }
        let nodes = self.nodes.pin();
        let partition = self.keys.partition(account);
        let mut commands = vec![(partition, mark::find(&self.keys, partition))];
        if !ended.is_empty() {
            commands.push((partition, self.get_leases(partition, account)));
        }
        for (profile, facts) in &profiles {
            commands.push(self.look_up(account, profile, facts));
        }
        let mut answers = nodes.ask_all(commands).await?.into_iter();
        let (found, run) = (Found::read(answers.next().unwrap_or_default())?, nodes.run(partition)?);
        if !ended.is_empty() {
            let leases = Leases::read(read(answers.next().unwrap_or_default())?);
            let epoch = found.of_run(run).map(|mark| mark.epoch);
            let not_ended = |session| epoch.is_some_and(|epoch| leases.not_ended(session, epoch));
            known.extend(ended.into_iter().filter(|(session, _)| not_ended(*session)).map(|(_, fact)| (fact, None)));
        }
        for ((profile, facts), answer) in profiles.into_iter().zip(answers) {
            match self.looked_up(answer, &found, run)? {
                View::Loaded(registers) => known.extend(facts.into_iter().zip(registers)),
                View::Absent(None) => {}
                View::Absent(Some(epoch)) => self.get_by_filling(&nodes, account, profile, epoch, facts, known).await?,
            }
        }
        Ok(())
    }

    async fn get_by_filling<'f>(
        &self,
        nodes: &Pinned,
        account: &AccountId,
        profile: &ProfileId,
        epoch: u64,
        facts: Vec<&'f Fact>,
        known: &mut BTreeMap<&'f Fact, Option<Register>>,
    ) -> Result<()> {
        if let Some(registers) = self.fill(nodes, account, profile, epoch).await? {
            let registers: BTreeMap<Fact, Register> = registers.into_iter().collect();
            known.extend(facts.into_iter().map(|fact| (fact, registers.get(fact).cloned())));
        }
        Ok(())
    }

    async fn scan_in_redis(&self, account: &AccountId, profile: &ProfileId) -> Result<Option<Vec<(Fact, Register)>>> {
        let nodes = self.nodes.pin();
        match self.whole(&nodes, account, profile).await? {
            View::Loaded(registers) => Ok(Some(registers)),
            View::Absent(None) => Ok(None),
            View::Absent(Some(epoch)) => self.fill(&nodes, account, profile, epoch).await,
        }
    }
}
