//! What fails, when, and for how long: a list that is made from the seed before anything begins.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

/// A part that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Edge,
    /// The one origin, with all roles.
    Origin,
    /// The origin's roles as processes of their own.
    Collect,
    Process,
    Provide,
    /// Views, streams and the queue. It forgets everything when it is killed.
    Redis,
    /// The facts.
    Cassandra,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// As by a power cut, and started again on what its disk has.
    Killed,
    /// As a machine that hangs, connections open, and goes on later.
    Frozen,
    /// All that it held is gone, at once and for good.
    Emptied,
}

/// One failure.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) part: Part,
    pub(crate) how: How,
    /// Since the beginning of the load.
    pub(crate) at: Duration,
    /// Until it is mended. A part needs some time more to be there again.
    pub(crate) lasting: Duration,
}

/// A failure that was played, all times since the beginning of the load.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    pub(crate) failure: Failure,
    pub(crate) began: Duration,
    /// When the part answered again.
    pub(crate) mended: Duration,
}

/// Nobody waits longer for the repair.
const LONGEST: Duration = Duration::from_secs(10);
/// Before the first failure the crowd has to have something to lose.
const QUIET: f64 = 0.05;

/// So many failures within `lasting`, spread over all parts, now and then two at once.
pub(crate) fn failures(seed: u64, count: usize, lasting: Duration, parts: &[(Part, &[How])]) -> Vec<Failure> {
    let mut rng = Rng::with_seed(seed);
    let slot = lasting.mul_f64((1.0 - QUIET) / count.max(1) as f64);
    let mut failures: Vec<Failure> = Vec::with_capacity(count);
    // Every part has its turn, in an order that differs from round to round.
    let mut turn: Vec<(Part, &[How])> = Vec::new();
    let mut together = false;
    for number in 0..count {
        if turn.is_empty() {
            turn = parts.to_vec();
            rng.shuffle(&mut turn);
        }
        let Some((part, ways)) = turn.pop() else { break };
        // A kill is twice as likely as anything else.
        let how = ways[rng.usize(..=ways.len()).saturating_sub(1)];
        // A role is ready again only when its stores are.
        let alone = |part: Part| matches!(part, Part::Redis | Part::Cassandra);
        let with_last = failures
            .last()
            .filter(|last| last.part != part && !together && !alone(part) && !alone(last.part) && rng.u32(..5) == 0);
        let at = lasting.mul_f64(QUIET) + slot.mul_f64(number as f64 + rng.f64() * 0.3);
        together = with_last.is_some();
        let at = with_last.map_or(at, |last| last.at + Duration::from_millis(rng.u64(..300)));
        let lasting = slot.mul_f64(0.6).min(LONGEST).mul_f64(0.1 + 0.9 * rng.f64());
        failures.push(Failure { part, how, at, lasting });
    }
    failures
}

impl Played {
    pub(crate) fn json(&self) -> Value {
        json!({
            "part": self.failure.part.to_string(), "how": self.failure.how.to_string(),
            "at_ms": self.began.as_millis() as u64, "mended_at_ms": self.mended.as_millis() as u64,
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Part::Edge => "edge",
            Part::Origin => "origin",
            Part::Collect => "collect",
            Part::Process => "process",
            Part::Provide => "provide",
            Part::Redis => "Redis",
            Part::Cassandra => "Cassandra",
        })
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            How::Killed => "killed",
            How::Frozen => "frozen",
            How::Emptied => "emptied",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_plays_the_same_failures() {
        let parts: [(Part, &[How]); 2] = [(Part::Edge, &[How::Killed]), (Part::Origin, &[How::Killed, How::Frozen])];
        let plan = |seed| format!("{:?}", failures(seed, 50, Duration::from_secs(300), &parts));
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn no_part_fails_while_it_has_failed() {
        let parts: [(Part, &[How]); 2] = [(Part::Edge, &[How::Killed]), (Part::Origin, &[How::Killed, How::Frozen])];
        for seed in 0..200 {
            for part in [Part::Edge, Part::Origin] {
                let all = failures(seed, 40, Duration::from_secs(300), &parts);
                let of_part: Vec<_> = all.into_iter().filter(|failure| failure.part == part).collect();
                assert_eq!(of_part.len(), 20);
                for pair in of_part.windows(2) {
                    assert!(pair[0].at + pair[0].lasting < pair[1].at, "{seed}: {pair:?}");
                }
            }
        }
    }
}
