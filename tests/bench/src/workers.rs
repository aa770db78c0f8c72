//! The edge on workerd alone, everything into one Durable Object, as the platform would run it for one shard.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use playhead_tests::origin::{Origin, SERVICE_TOKEN};
use playhead_tests::workerd::Workerd;
use playhead_tests::{artifact, token};
use tokio::runtime::Runtime;

use crate::heartbeats::{Heartbeats, Path};
use crate::load::{Connection, address, closed, open, post};
use crate::report::{Figure, Turns};

/// How often a session beats while nothing happens.
const INTERVAL_S: u64 = 30;
/// As long as it takes until leases are flushed, and progress a little later.
const WARMING: Duration = Duration::from_secs(32);
const COUNTED: Duration = Duration::from_secs(20);
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const SESSIONS: u64 = 200;

/// `workers_rows_per_heartbeat`
pub(crate) fn rows_per_heartbeat(runtime: &Runtime) -> Result<Vec<Figure>> {
    [200, 300].into_iter().map(|rate| rows_at(runtime, rate)).collect()
}

/// Every session beats once in each interval, as devices do.
fn rows_at(runtime: &Runtime, rate: u64) -> Result<Figure> {
    let origin = Origin::start()?;
    let edge = edge(&origin)?;
    let to = address(&edge.url())?;
    let traffic = Arc::new(Heartbeats::new(Path::Edge, rate * INTERVAL_S)?);
    runtime.block_on(open(to, 64, rate as f64, WARMING, &traffic))?;
    let before = runtime.block_on(rows_written(to))?;
    let (heartbeats, reached) = runtime.block_on(open(to, 64, rate as f64, COUNTED, &traffic))?;
    let after = runtime.block_on(rows_written(to))?;
    ensure!(after >= before, "the object was woken anew while it was counted");
    ensure!(reached > rate as f64 * 0.95, "only {reached:.0} heartbeats/s of {rate} went through");
    let value = (after - before) as f64 / heartbeats as f64;
    let name =
        if rate == 200 { "workers_rows_per_heartbeat".to_owned() } else { format!("workers_rows_at_{rate}_per_s") };
    Ok(Figure::alone(name, "rows", value, Some(0.2)).note(&format!("{reached:.0} heartbeats/s, open loop")))
}

/// How many rows the object has written since it woke, which it tells the operator's timer.
async fn rows_written(to: std::net::SocketAddr) -> Result<u64> {
    let mut connection = Connection::open(to).await?;
    let request = post("/internal/flush", &format!("authorization: Bearer {SERVICE_TOKEN}\r\n"), 0);
    let answer = connection.ask(request.as_bytes()).await?;
    Ok(answer.header("playhead-rows-written").context("the rows are not told")?.parse()?)
}

/// `workers_requests_vs_upsert` and `workers_requests_vs_nothing`
pub(crate) fn requests(runtime: &Runtime) -> Result<Vec<Figure>> {
    let origin = Origin::start()?;
    let edge = edge(&origin)?;
    let bare = Workerd::of_bundle(&artifact::path("PLAYHEAD_BARE_BUNDLE")?, &[("SHARD_COUNT", "1")])?;
    let (edge, bare) = (address(&edge.url()).map(|to| (to, edge))?, address(&bare.url()).map(|to| (to, bare))?);
    let traffic = |path| Heartbeats::new(path, SESSIONS).map(Arc::new);
    let (beats, upserts, nothing) = (traffic(Path::Edge)?, traffic(Path::Upsert)?, traffic(Path::Nothing)?);
    let mut figures = Vec::new();
    for (connections, goals) in [(64, (Some(1.5), Some(0.6))), (16, (None, None))] {
        let (mut vs_upsert, mut vs_nothing) = (Turns::default(), Turns::default());
        for round in 0..=ROUNDS {
            let taken = runtime.block_on(closed(edge.0, connections, ROUND, &beats))?;
            let upserted = runtime.block_on(closed(bare.0, connections, ROUND, &upserts))?;
            let answered = runtime.block_on(closed(bare.0, connections, ROUND, &nothing))?;
            // The first is for the engines to compile what is hot.
            if round > 0 {
                vs_upsert.0.push((taken, upserted));
                vs_nothing.0.push((taken, answered));
            }
        }
        let name = |name: &str| if connections == 64 { name.to_owned() } else { format!("{name}_at_{connections}") };
        let note = format!("{connections} connections");
        figures.extend([
            Figure::beside(name("workers_requests_vs_upsert"), "requests/s", &vs_upsert, goals.0).note(&note),
            Figure::beside(name("workers_requests_vs_nothing"), "requests/s", &vs_nothing, goals.1).note(&note),
        ]);
    }
    Ok(figures)
}

/// An edge whose accounts all are one shard's.
fn edge(origin: &Origin) -> Result<Workerd> {
    let (jwks, origin_url) = (token::jwks(), origin.url());
    Workerd::start(&[
        ("JWKS", &jwks),
        ("SERVICE_TOKEN", SERVICE_TOKEN),
        ("ORIGIN_URL", &origin_url),
        ("SHARD_COUNT", "1"),
    ])
}
