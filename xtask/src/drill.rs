//! `cargo xtask drill`: breaks the system over its real binaries while it is watched, and shows that nothing is lost.

use anyhow::Result;
use clap::Args;

use crate::artifacts::{self, Profile};
use crate::repo::{cargo, run, say, target};
use crate::tools;

/// Arguments of `cargo xtask drill`.
#[derive(Args)]
pub(crate) struct Options {
    /// What the drill itself takes, such as `--kills 50 --minutes 10 --seed 7 --edge spin`; `--help` lists all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds what is drilled, then runs the drill.
pub(crate) fn run_drill(options: &Options) -> Result<()> {
    if options.arguments.iter().any(|argument| argument.contains("cassandra")) {
        tools::redis_server()?;
        tools::java()?;
        tools::maven()?;
    }
    say("building what is drilled");
    let mut drill = cargo();
    drill
        .args(["run", "--quiet", "--release", "--package", "playhead-drill", "--", "--out"])
        .arg(target().join("drill"))
        .args(&options.arguments)
        .env("PLAYHEAD_ORIGIN_BIN", artifacts::origin(Profile::Release)?)
        .env("PLAYHEAD_WORKERS_BUNDLE", artifacts::workers()?)
        .env("PLAYHEAD_WORKERD", tools::workerd()?)
        .env("PLAYHEAD_SPIN_COMPONENT", artifacts::spin()?)
        .env("PLAYHEAD_SPIN_HOST", artifacts::spin_host(Profile::Release)?);
    run(&mut drill)
}
