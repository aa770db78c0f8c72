//! The system under drill, as parts that can fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use playhead_tests::edge::{Edge, Kind, Settings};
use playhead_tests::system::System;

use crate::plan::{Failure, How, Part, Played};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What runs.
pub(crate) enum Parts {
    /// One origin over the embedded store, and an edge.
    Embedded(System, Kind),
}

impl Parts {
    pub(crate) fn embedded(kind: Kind) -> Result<Parts> {
        Ok(Parts::Embedded(System::start(&[kind])?, kind))
    }

    /// What can fail, and how.
    pub(crate) fn that_can_fail(&self) -> Vec<(Part, &'static [How])> {
        match self {
            Parts::Embedded(..) => {
                vec![(Part::Edge, &[How::Killed]), (Part::Origin, &[How::Killed, How::Frozen])]
            }
        }
    }

    /// Where the devices find their edge.
    pub(crate) fn edge_url(&self) -> Result<String> {
        match self {
            Parts::Embedded(system, kind) => Ok(system.edge(*kind)?.url()),
        }
    }

    /// Another edge before the same origin. It holds nothing: all that it answers is the origin's.
    pub(crate) fn another_edge(&self) -> Result<Edge> {
        match self {
            Parts::Embedded(system, kind) => Edge::start(*kind, &system.origin.url(), &Settings::default()),
        }
    }

    /// What each part has printed last.
    pub(crate) fn last_words(&self) -> String {
        match self {
            Parts::Embedded(system, _) => system.last_words(),
        }
    }

    fn fail(&mut self, part: Part, how: How) -> Result<()> {
        match (self, part, how) {
            (Parts::Embedded(system, kind), Part::Edge, _) => system.edge_mut(*kind)?.kill(),
            (Parts::Embedded(system, _), Part::Origin, How::Killed) => system.origin.kill(),
            (Parts::Embedded(system, _), Part::Origin, How::Frozen) => system.origin.freeze(),
        }
    }

    fn mend(&mut self, part: Part, how: How) -> Result<()> {
        match (self, part, how) {
            (Parts::Embedded(system, kind), Part::Edge, _) => system.edge_mut(*kind)?.restart(),
            (Parts::Embedded(system, _), Part::Origin, How::Killed) => system.origin.restart(),
            (Parts::Embedded(system, _), Part::Origin, How::Frozen) => system.origin.thaw(),
        }
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
            while began.elapsed() < at && !over.load(Ordering::Relaxed) {
                sleep(LOOK_EVERY.min(at.saturating_sub(began.elapsed())));
            }
            if fails && !over.load(Ordering::Relaxed) {
                open.push((failure, began.elapsed()));
                tell(failure);
                self.fail(failure.part, failure.how)?;
            } else if let Some(which) = open.iter().position(|(opened, _)| std::ptr::eq(*opened, failure)) {
                let (_, failed_at) = open.remove(which);
                self.mend(failure.part, failure.how)?;
                played.push(Played { failure: failure.clone(), began: failed_at, mended: began.elapsed() });
            }
        }
        played.sort_by_key(|played| played.began);
        Ok(played)
    }
}
