//! `origin serve`: reads the configuration, binds, and runs until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use playhead_origin::config::{BadConfig, Config, Settings};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Requests are many small allocations on all threads, freed on others: the system's allocator takes a good part of
/// the time that serving one takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The origin of Playhead: takes viewing data from the edges, keeps it, and answers for it.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the roles that are asked for, until SIGTERM or SIGINT.
    Serve {
        /// A TOML file with any of the settings below; the environment and flags win over it.
        #[arg(long, env = "PLAYHEAD_ORIGIN_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        settings: Settings,
    },
}

fn main() -> ExitCode {
    let (config, filter) = match configure() {
        Ok(configured) => configured,
        Err(wrong) => {
            eprintln!("origin: {wrong}");
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn configure() -> Result<(Config, EnvFilter), BadConfig> {
    let Cli { command: Command::Serve { config, settings } } = Cli::try_parse().map_err(|error| {
        if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            error.exit(); // Help or version was asked for.
        }
        let text = error.to_string();
        let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        BadConfig(format!("{what}: see `origin serve --help`."))
    })?;
    let file = config.as_deref().map(Settings::from_file).transpose()?.unwrap_or_default();
    let config = Config::try_from(settings.or(file))?;
    let filter = EnvFilter::try_new(&config.log).map_err(|error| {
        BadConfig(format!("log is \"{}\", which is no filter ({error}): give one such as info.", config.log))
    })?;
    Ok((config, filter))
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    // Taken before anything is announced: a signal that comes early must not kill what has begun.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    tracing::info!(listen = %listener.local_addr()?, ?config, "serving");
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    playhead_origin::run(config, listener, shutdown).await
}
