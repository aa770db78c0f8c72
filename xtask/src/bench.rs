//! `cargo xtask bench`: measures the system over its real binaries, in the release profile.

use anyhow::Result;
use clap::Args;

use crate::artifacts::{self, Profile};
use crate::repo::{cargo, run, say, target};
use crate::tools;

/// Arguments of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct Options {
    /// Measure only what has this in its name
    name: Option<String>,
}

/// Builds what is measured and what it is measured beside, then runs the benchmark.
pub(crate) fn run_bench(options: &Options) -> Result<()> {
    say("building what is measured");
    let mut bench = cargo();
    bench
        .args(["run", "--quiet", "--release", "--package", "playhead-bench", "--", "--out"])
        .arg(target().join("bench.json"))
        .args(&options.name)
        .env("PLAYHEAD_ORIGIN_BIN", artifacts::origin(Profile::Release)?)
        .env("PLAYHEAD_WORKERS_BUNDLE", artifacts::workers()?)
        .env("PLAYHEAD_WORKERD", tools::workerd()?)
        .env("PLAYHEAD_SPIN_COMPONENT", artifacts::spin()?)
        .env("PLAYHEAD_SPIN_HOST", artifacts::spin_host(Profile::Release)?)
        .env("PLAYHEAD_PLAYER", artifacts::player()?)
        .env("PLAYHEAD_BARE_BUNDLE", artifacts::bare_worker()?)
        .env("PLAYHEAD_BARE_COMPONENT", artifacts::bare_component()?);
    run(&mut bench)
}
