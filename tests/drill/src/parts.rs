//! The system under drill, as parts that can fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use playhead_servers::{Cassandra, CassandraNode, Redis};
use playhead_tests::deployment::{Deployment, Layout};
use playhead_tests::edge::{Edge, Kind, Settings};
use playhead_tests::origin::Origin;
use playhead_tests::system::System;

use crate::plan::{Failure, How, Part, Played};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A role that does not come back for so long never will.
const SUPERVISED: Duration = Duration::from_secs(60);

const KILLED_OR_FROZEN: &[How] = &[How::Killed, How::Frozen];

/// What runs.
pub(crate) enum Parts {
    /// One origin over the embedded store, and an edge.
    Embedded(System, Kind),
    /// Everything apart. Its Cassandra comes last, so that it ends last.
    Apart(Deployment, Kind, Cassandra),
}

impl Parts {
    pub(crate) fn embedded(kind: Kind) -> Result<Parts> {
        Ok(Parts::Embedded(System::start(&[kind])?, kind))
    }

    /// One of everything, with a Cassandra of its own.
    pub(crate) fn apart(kind: Kind) -> Result<Parts> {
        let cassandra = Cassandra::start(1)?;
        let layout = Layout { edges: vec![kind], cassandra: cassandra.contact_points(), copies: 1, instances: 1 };
        Ok(Parts::Apart(Deployment::of(&layout)?, kind, cassandra))
    }

    /// What can fail, and how.
    pub(crate) fn that_can_fail(&self) -> Vec<(Part, &'static [How])> {
        match self {
            Parts::Embedded(..) => vec![(Part::Edge, &[How::Killed]), (Part::Origin, KILLED_OR_FROZEN)],
            Parts::Apart(..) => vec![
                (Part::Edge, &[How::Killed]),
                (Part::Collect, KILLED_OR_FROZEN),
                (Part::Process, KILLED_OR_FROZEN),
                (Part::Provide, KILLED_OR_FROZEN),
                (Part::Redis, &[How::Killed, How::Frozen, How::Emptied]),
                (Part::Cassandra, KILLED_OR_FROZEN),
            ],
        }
    }

    /// Where the devices find their edge.
    pub(crate) fn edge_url(&self) -> Result<String> {
        Ok(match self {
            Parts::Embedded(system, kind) => system.edge(*kind)?.url(),
            Parts::Apart(deployment, kind, _) => deployment.edge(*kind)?.url(),
        })
    }

    /// Another edge before the same origin. It holds nothing: all that it answers is the origin's.
    pub(crate) fn another_edge(&self) -> Result<Edge> {
        let (kind, origin_url) = match self {
            Parts::Embedded(system, kind) => (kind, system.origin.url()),
            Parts::Apart(deployment, kind, _) => (kind, deployment.front.url()),
        };
        Edge::start(*kind, &origin_url, &Settings::default())
    }

    /// What each part has printed last.
    pub(crate) fn last_words(&self) -> String {
        match self {
            Parts::Embedded(system, _) => system.last_words(),
            Parts::Apart(deployment, ..) => deployment.last_words(),
        }
    }

    fn fail(&mut self, part: Part, how: How) -> Result<()> {
        match (self.part(part)?, how) {
            (Running::Edge(edge), _) => edge.kill(),
            (Running::Origin(origin), How::Frozen) => origin.freeze(),
            (Running::Origin(origin), _) => origin.kill(),
            (Running::Redis(redis), How::Killed) => redis.kill(),
            (Running::Redis(redis), How::Frozen) => redis.freeze(),
            (Running::Redis(redis), How::Emptied) => redis.ask(&["FLUSHALL"]).map(drop),
            (Running::Cassandra(node), How::Frozen) => node.freeze(),
            (Running::Cassandra(node), _) => node.kill(),
        }
    }

    fn mend(&mut self, part: Part, how: How) -> Result<()> {
        match (self.part(part)?, how) {
            (_, How::Emptied) => Ok(()),
            (Running::Edge(edge), _) => edge.restart(),
            (Running::Origin(origin), How::Frozen) => origin.thaw(),
            (Running::Origin(origin), _) => restart_until_ready(origin),
            (Running::Redis(redis), How::Frozen) => redis.thaw(),
            (Running::Redis(redis), _) => redis.restart(),
            (Running::Cassandra(node), How::Frozen) => node.thaw(),
            (Running::Cassandra(node), _) => node.restart(),
        }
    }

    fn part(&mut self, part: Part) -> Result<Running<'_>> {
        let running = match (self, part) {
            (Parts::Embedded(system, kind), Part::Edge) => Some(Running::Edge(system.edge_mut(*kind)?)),
            (Parts::Embedded(system, _), Part::Origin) => Some(Running::Origin(&mut system.origin)),
            (Parts::Embedded(..), _) => None,
            (Parts::Apart(deployment, kind, _), Part::Edge) => Some(Running::Edge(deployment.edge_mut(*kind)?)),
            (Parts::Apart(deployment, ..), Part::Collect) => deployment.collect.first_mut().map(Running::Origin),
            (Parts::Apart(deployment, ..), Part::Process) => deployment.process.first_mut().map(Running::Origin),
            (Parts::Apart(deployment, ..), Part::Provide) => deployment.provide.first_mut().map(Running::Origin),
            (Parts::Apart(deployment, ..), Part::Redis) => Some(Running::Redis(&mut deployment.redis)),
            (Parts::Apart(.., cassandra), Part::Cassandra) => cassandra.nodes.first_mut().map(Running::Cassandra),
            (Parts::Apart(..), Part::Origin) => None,
        };
        running.with_context(|| format!("there is no {part} here"))
    }

    /// Plays the failures, each at its time since `began`, and mends every one, until all are played or it is `over`.
    pub(crate) fn play(
        &mut self,
        began: Instant,
        failures: &[Failure],
        over: &AtomicBool,
        tell: impl Fn(&Failure),
    ) -> Result<Vec<Played>> {
        let mut steps: Vec<(Duration, &Failure, bool)> = Vec::new();
        for failure in failures {
            steps.push((failure.at, failure, true));
            steps.push((failure.at + failure.lasting, failure, false));
        }
        steps.sort_by_key(|(at, ..)| *at);
        let (mut open, mut played): (Vec<(&Failure, Duration)>, Vec<Played>) = (Vec::new(), Vec::new());
        for (at, failure, fails) in steps {
            let opened = open.iter().position(|(of, _)| std::ptr::eq(*of, failure));
            // What the repair of another part delayed lasts as long as it was to last.
            let at = opened.map_or(at, |which| open[which].1 + failure.lasting);
            while began.elapsed() < at && !over.load(Ordering::Relaxed) {
                sleep(LOOK_EVERY.min(at.saturating_sub(began.elapsed())));
            }
            if fails && !over.load(Ordering::Relaxed) {
                open.push((failure, began.elapsed()));
                tell(failure);
                self.fail(failure.part, failure.how)?;
            } else if let Some(which) = opened {
                let (_, failed_at) = open.remove(which);
                self.mend(failure.part, failure.how)?;
                played.push(Played { failure: failure.clone(), began: failed_at, mended: began.elapsed() });
            }
        }
        played.sort_by_key(|played| played.began);
        Ok(played)
    }
}

/// As whoever supervises a process does: one that finds its store busy with starting ends, and is started again.
fn restart_until_ready(origin: &mut Origin) -> Result<()> {
    let deadline = Instant::now() + SUPERVISED;
    loop {
        match origin.restart() {
            Err(_) if Instant::now() < deadline => origin.kill()?,
            restarted => return restarted,
        }
        sleep(LOOK_EVERY);
    }
}

/// A part as it runs.
enum Running<'p> {
    Edge(&'p mut Edge),
    Origin(&'p mut Origin),
    Redis(&'p mut Redis),
    Cassandra(&'p mut CassandraNode),
}
