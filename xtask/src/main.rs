//! `cargo xtask`: everything that a developer of Playhead does, on a machine with Rust, Node and a package manager.

mod artifacts;
mod bench;
mod demo;
mod dev;
mod drill;
mod process;
mod repo;
mod roles;
mod stores;
mod test;
mod token;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Builds, runs, tests and measures Playhead")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the whole of Playhead on this machine, with a page to try it on, until Ctrl-C
    Dev(dev::Options),
    /// Builds everything and tests it: the units, and the system over its real binaries
    Test(test::Options),
    /// Starts the databases that tests need and says where they are, until Ctrl-C
    Stores,
    /// Kills one part after another while thousands watch, and shows that nothing is lost
    #[command(disable_help_flag = true)]
    Drill(drill::Options),
    /// Measures the system
    Bench(bench::Options),
    /// Builds one part as it is deployed
    Build(artifacts::Options),
    /// Prints a device's token for a local run
    Token(token::Device),
    /// Prints a new session id, as a device would mint it
    Session,
    /// Serves the demo page for an edge that runs already
    #[command(hide = true)]
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Dev(options) => dev::run(&options),
        Command::Test(options) => test::run_all(&options),
        Command::Stores => stores::run(),
        Command::Drill(options) => drill::run_drill(&options),
        Command::Bench(options) => bench::run_bench(&options),
        Command::Build(options) => artifacts::build(&options),
        Command::Token(device) => token::print(&device),
        Command::Session => token::print_session(),
        Command::Demo(options) => demo::serve(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // What failed has said why already; a backtrace of ours would only hide it.
        Err(error) => {
            repo::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
