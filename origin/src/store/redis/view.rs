//! Views: of one profile all that says where a viewer is with titles, whole or not there.
//!
//! A hash of registers by kind and name, and its state under `@`: `loading EPOCH NONCE` while it is filled,
//! `loaded EPOCH` from then on. A write merges into one that exists, in either state, *after* its fact is durable; a filling
//! reads the facts after it has made the view. So whatever is acknowledged is in the facts that the filling reads, or is
//! merged beside it. A filling whose view is not its own any more (it ran out, or what it read was deleted meanwhile)
//! comes to nothing. Readers trust only what is loaded in the mark's epoch, read on the same connection (`mark.rs`).

use playhead_shared::id::{AccountId, ProfileId};
use playhead_shared::register::{Fact, Kind, Register};
use redis::{Cmd, Value};

use super::keys::{field, read_field};
use super::mark::{self, Found};
use super::nodes::{Partition, Pinned, read};
use super::script::Script;
use super::{Redis, Result, millis, nonce};
use crate::store::FactStore;

/// Registers that are merged in one script, which holds up all others of its server.
const MERGED_AT_ONCE: usize = 256;
/// The field of the state. No register's begins like this.
const STATE: &str = "@";

/// What a view says: its registers by field, or, if it is not to be trusted, the epoch in which it can be filled.
pub(super) enum View<T> {
    Loaded(T),
    Absent(Option<u64>),
}

impl<F: FactStore> Redis<F> {
    /// Asks a view for these facts. The answers are [`Redis::looked_up`]'s.
    pub(super) fn look_up(&self, account: &AccountId, profile: &ProfileId, facts: &[&Fact]) -> (Partition, Cmd) {
        let partition = self.keys.partition(account);
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys.view(partition, account, profile)).arg(STATE);
        for fact in facts {
            command.arg(field(fact));
        }
        (partition, command)
    }

    /// The registers of [`Redis::look_up`], in its order, under the mark that was read with them.
    pub(super) fn looked_up(&self, answer: Value, found: &Found, run: &str) -> Result<View<Vec<Option<Register>>>> {
        let mut fields: Vec<Option<Vec<u8>>> = read(answer)?;
        let state = if fields.is_empty() { None } else { fields.remove(0) };
        if let Some(absent) = absent(state.as_deref(), found, run) {
            return Ok(View::Absent(absent));
        }
        let registers = fields.into_iter().map(|bytes| bytes.map(Register::from_bytes).transpose());
        Ok(View::Loaded(registers.collect::<std::result::Result<_, _>>()?))
    }

    /// All of a view.
    pub(super) async fn whole(
        &self,
        nodes: &Pinned,
        account: &AccountId,
        profile: &ProfileId,
    ) -> Result<View<Vec<(Fact, Register)>>> {
        let partition = self.keys.partition(account);
        let mut all = redis::cmd("HGETALL");
        all.arg(self.keys.view(partition, account, profile));
        let mut answers = nodes.ask_all(vec![(partition, mark::find(&self.keys, partition)), (partition, all)]).await?;
        let fields: Vec<(Vec<u8>, Vec<u8>)> = read(answers.pop().unwrap_or_default())?;
        let found = Found::read(answers.pop().unwrap_or_default())?;
        let state = fields.iter().find(|(field, _)| field == STATE.as_bytes()).map(|(_, state)| state.as_slice());
        if let Some(absent) = absent(state, &found, nodes.run(partition)?) {
            return Ok(View::Absent(absent));
        }
        let mut registers = Vec::with_capacity(fields.len());
        for (field, bytes) in fields {
            if let Some(fact) = read_field(profile, &field) {
                registers.push((fact, Register::from_bytes(bytes)?));
            }
        }
        // As the facts come: by kind, then by name.
        registers.sort_by_cached_key(|(fact, _)| field(fact));
        Ok(View::Loaded(registers))
    }

    /// Fills a view that is absent in that epoch. Returns what it then holds; none if somebody else is at it.
    pub(super) async fn fill(
        &self,
        nodes: &Pinned,
        account: &AccountId,
        profile: &ProfileId,
        epoch: u64,
    ) -> Result<Option<Vec<(Fact, Register)>>> {
        // Whoever finds none free asks the facts for no more than it needs.
        let Ok(_filling) = self.fillings.try_acquire() else { return Ok(None) };
        let partition = self.keys.partition(account);
        let view = self.keys.view(partition, account, profile);
        let nonce = format!("{:016x}", nonce());
        let mut begin = Script::BeginFill.on(&[view.clone(), self.keys.mark(partition)]);
        begin.arg(epoch).arg(&nonce).arg(millis(self.options.fill_ttl));
        if !nodes.ask::<bool>(partition, begin).await? {
            return Ok(None);
        }
        let registers = self.facts.scan(account, profile, Kind::Latest, Kind::Deleted).await?;
        let parts = registers.len().div_ceil(MERGED_AT_ONCE).max(1);
        for part in 0..parts {
            let registers = registers.iter().skip(part * MERGED_AT_ONCE).take(MERGED_AT_ONCE);
            let keep = if part + 1 == parts { millis(self.options.view_ttl) } else { 0 };
            let mut merge = Script::Fill.on(&[&view]);
            merge.arg(epoch).arg(&nonce).arg(keep).arg(registers.len());
            for (fact, register) in registers {
                merge.arg(field(fact)).arg(register.as_bytes());
            }
            if !nodes.ask::<bool>(partition, merge).await? {
                break;
            }
        }
        Ok(Some(registers))
    }

    /// Drops the views of some profiles: what is in them was deleted from the facts. A filling that has read it
    /// before comes to nothing.
    pub(super) async fn drop_views<'p>(
        &self,
        account: &AccountId,
        profiles: impl IntoIterator<Item = &'p ProfileId>,
    ) -> Result<()> {
        let partition = self.keys.partition(account);
        let drop_view = |profile| {
            let mut command = redis::cmd("DEL");
            command.arg(self.keys.view(partition, account, profile));
            (partition, command)
        };
        self.nodes.pin().ask_all(profiles.into_iter().map(drop_view).collect()).await.map(drop)
    }
}

/// Why a view of that state is not to be trusted, if it is not: with the epoch in which it can be filled.
fn absent(state: Option<&[u8]>, found: &Found, run: &str) -> Option<Option<u64>> {
    // Until collect has begun a new one there is no epoch to fill it in.
    let Some(epoch) = found.of_run(run).map(|mark| mark.epoch) else { return Some(None) };
    let loaded = state.is_some_and(|state| state == format!("loaded {epoch}").as_bytes());
    (!loaded).then_some(Some(epoch))
}
