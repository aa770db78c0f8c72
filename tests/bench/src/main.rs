//! Measures Playhead over its real, release-built binaries, each figure beside a bare baseline that has the same work to
//! do, both in turns: the machine is shared, so only ratios mean something.
//!
//! `cargo xtask bench` builds what is measured and names it in the environment (`PLAYHEAD_…`).

mod bare_server;
mod heartbeats;
mod load;
mod origin;
mod report;
mod sizes;
mod spin;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::report::Figure;

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Measure only what has this in its name
    name: Option<String>,
    /// Where to write the figures as JSON
    #[arg(long, default_value = "target/bench.json")]
    out: PathBuf,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// The baseline of origin_provide, in a process of its own
    #[command(hide = true)]
    BareServer(bare_server::Options),
}

/// The names of the figures that a measurement gives, and the measurement.
type Bench = (&'static [&'static str], fn(&Runtime) -> Result<Vec<Figure>>);

const BENCHES: [Bench; 8] = [
    (&["workers_bundle"], |_| sizes::workers()),
    (&["spin_component"], |_| sizes::spin()),
    (&["player_sdk"], |_| sizes::player()),
    (&["origin_collect"], origin::collect),
    (&["origin_provide"], origin::provide),
    (&["workers_requests_vs_upsert", "workers_requests_vs_nothing"], workers::requests),
    (&["spin_requests_vs_upsert"], spin::requests),
    (&["workers_rows_per_heartbeat"], workers::rows_per_heartbeat),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.part {
        Some(Part::BareServer(options)) => bare_server::run(&options).map(|()| true),
        None => measure(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything could be measured; a goal that is missed is the table's to say.
fn measure(arguments: &Arguments) -> Result<bool> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().context("no runtime")?;
    let wanted =
        |names: &[&str]| arguments.name.as_ref().is_none_or(|part| names.iter().any(|name| name.contains(part)));
    let (mut figures, mut failed) = (Vec::new(), Vec::new());
    for (names, bench) in BENCHES.into_iter().filter(|(names, _)| wanted(names)) {
        eprintln!("bench: {}", names.join(", "));
        match bench(&runtime) {
            Ok(measured) => figures.extend(measured),
            Err(error) => failed.push(format!("{} could not be measured: {error:#}", names.join(", "))),
        }
    }
    report::print(&figures);
    report::write(&figures, &arguments.out)?;
    failed.iter().for_each(|line| eprintln!("bench: {line}"));
    anyhow::ensure!(!figures.is_empty() || !failed.is_empty(), "nothing has such a name");
    Ok(failed.is_empty())
}
