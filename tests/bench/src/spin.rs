//! The Spin component, in the project's own host.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use playhead_tests::artifact;
use playhead_tests::edge::{Edge, Kind, Settings};
use playhead_tests::origin::Origin;
use playhead_tests::spin_host::SpinHost;
use tokio::runtime::Runtime;

use crate::heartbeats::{Heartbeats, Path};
use crate::load::{address, closed};
use crate::report::{Figure, Turns};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 16;
const SESSIONS: u64 = 200;

/// `spin_requests_vs_upsert`
pub(crate) fn requests(runtime: &Runtime) -> Result<Vec<Figure>> {
    let origin = Origin::start()?;
    let edge = Edge::start(Kind::Spin, &origin.url(), &Settings::default())?;
    let bare = SpinHost::of_component(artifact::path("PLAYHEAD_BARE_COMPONENT")?, &[], &origin.url())?;
    bare.set_timer(false);
    let (to_edge, to_bare) = (address(&edge.url())?, address(&bare.url())?);
    let beats = Arc::new(Heartbeats::new(Path::Edge, SESSIONS)?);
    let upserts = Arc::new(Heartbeats::new(Path::Upsert, SESSIONS)?);
    let mut turns = Turns::default();
    for round in 0..=ROUNDS {
        let taken =
            runtime.block_on(closed(to_edge, CONNECTIONS, ROUND, &beats)).with_context(|| first_lines(&edge.log()))?;
        let upserted = runtime.block_on(closed(to_bare, CONNECTIONS, ROUND, &upserts))?;
        // The first is for the caches to fill.
        if round > 0 {
            turns.0.push((taken, upserted));
        }
    }
    let note = format!("{CONNECTIONS} connections; host built for release");
    Ok(vec![Figure::beside("spin_requests_vs_upsert", "requests/s", &turns, Some(0.75)).note(&note)])
}

fn first_lines(log: &str) -> String {
    log.lines().take(10).collect::<Vec<_>>().join("; ")
}
