//! What a partition's soft state is worth.
//!
//! Collect marks every partition once a second. A mark that is missing (the partition was emptied), of another run of
//! the server (it was restarted, or another took over: its last writes may be gone) or too old (collect was away)
//! begins a new continuity: for one lease's length nothing expires and nobody is refused ([`Moment`]). The first two
//! begin a new epoch too: of what was written in an earlier one, a part may be lost. So a view of an earlier epoch is not
//! trusted, and of the leases of one it is asked again whether they ended.
//!
//! A new deployment cannot be told from an emptied one, so it begins unverified, too.

use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;
use redis::{Cmd, Value};

use super::Result;
use super::keys::Keys;
use super::nodes::{Partition, Pinned, read};
use super::script::Script;
use crate::streams::{GAP_MS, Moment};

/// A mark that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Since when collect has been there without a gap, and the server without a loss.
    pub(super) since: Millis,
    /// Since when the server has lost nothing; a name, not a time to reckon with.
    pub(super) epoch: u64,
}

/// A mark as it was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    at: Option<u64>,
    since: Option<u64>,
    epoch: Option<u64>,
    run: Option<String>,
}

/// Asks for a mark as [`Found`].
pub(super) fn find(keys: &Keys, partition: Partition) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command.arg(keys.mark(partition)).arg(&["at", "since", "epoch", "run"]);
    command
}

impl Found {
    pub(super) fn read(answer: Value) -> Result<Self> {
        let (at, since, epoch, run) = read(answer)?;
        Ok(Self { at, since, epoch, run })
    }

    /// The mark, if it is of that run of the server, however old.
    pub(super) fn of_run(&self, run: &str) -> Option<Mark> {
        let mark = Mark { since: Millis(self.since?), epoch: self.epoch? };
        (self.run.as_deref() == Some(run)).then_some(mark)
    }

    /// The mark, if it holds now.
    pub(super) fn holds(&self, run: &str, now: Millis) -> Option<Mark> {
        // At 0 collect has not been there yet, and somebody said that nothing is missing all the same.
        let recent = self.at.is_some_and(|at| at == 0 || now.since(Millis(at)) <= GAP_MS);
        self.of_run(run).filter(|_| recent)
    }
}

impl Mark {
    /// The moment in which leases under this mark are looked at.
    pub(super) fn moment<'r>(&self, now: Millis, rules: &'r Rules) -> Moment<'r> {
        Moment { now, continuous_since: self.since, rules }
    }
}

/// Notes that collect is there (`beat`), or only begins anew what has to begin anew. Returns the mark that then holds.
pub(super) fn renew(keys: &Keys, partition: Partition, run: &str, beat: bool, now: Millis) -> Cmd {
    let mut command = Script::Mark.on(&[keys.mark(partition)]);
    command.arg(now.0).arg(GAP_MS).arg(run).arg(u8::from(beat));
    command
}

/// Reads what [`renew`] answers.
pub(super) fn renewed(answer: Value) -> Result<Mark> {
    let (since, epoch) = read(answer)?;
    Ok(Mark { since: Millis(since), epoch })
}

/// Says of every partition that nothing is missing in it, without collect having been there.
pub(super) async fn assume_complete(nodes: &Pinned, keys: &Keys) -> Result<()> {
    let mut commands = Vec::new();
    for partition in nodes.partitions() {
        let mut command = redis::cmd("HSET");
        command.arg(keys.mark(partition)).arg("at").arg(0).arg("since").arg(0);
        command.arg("epoch").arg(0).arg("run").arg(nodes.run(partition)?);
        commands.push((partition, command));
    }
    nodes.ask_all(commands).await.map(drop)
}
