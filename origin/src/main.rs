//! `origin serve`: reads the configuration, binds, and runs until it is told to stop. `origin schema apply`: makes the
//! tables that it needs in Cassandra.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use playhead_origin::config::{BadConfig, CassandraConfig, Config, Settings};
use playhead_origin::store::cassandra::{self, Applied};
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
    Serve(Given),
    /// The tables in Cassandra.
    #[command(subcommand)]
    Schema(Schema),
}

#[derive(Subcommand)]
enum Schema {
    /// Makes the keyspace and its tables where they are not there; may be run again, by one process at a time.
    Apply(Given),
}

#[derive(Args)]
struct Given {
    /// A TOML file with any of the settings below; the environment and flags win over it.
    #[arg(long, env = "PLAYHEAD_ORIGIN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl Given {
    fn settings(self) -> Result<Settings, BadConfig> {
        let file = self.config.as_deref().map(Settings::from_file).transpose()?.unwrap_or_default();
        Ok(self.settings.or(file))
    }
}

fn main() -> ExitCode {
    let done = command().map_err(anyhow::Error::from).and_then(|command| match command {
        Command::Serve(given) => serve(given),
        Command::Schema(Schema::Apply(given)) => apply_schema(given),
    });
    let Err(error) = done else { return ExitCode::SUCCESS };
    if let Some(wrong) = error.downcast_ref::<BadConfig>() {
        eprintln!("origin: {wrong}");
        return ExitCode::from(2);
    }
    tracing::error!("{error:#}");
    ExitCode::FAILURE
}

fn command() -> Result<Command, BadConfig> {
    Cli::try_parse().map(|cli| cli.command).map_err(|error| {
        if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            error.exit(); // Help or version was asked for.
        }
        let text = error.to_string();
        let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        BadConfig(format!("{what}: see `origin serve --help`."))
    })
}

#[tokio::main]
async fn apply_schema(given: Given) -> anyhow::Result<()> {
    let config = CassandraConfig::try_from(&given.settings()?)?;
    let keyspace = &config.keyspace;
    match cassandra::apply(&config).await? {
        Applied::Created => println!("the keyspace {keyspace} has the tables of this version now"),
        Applied::Nothing => println!("the keyspace {keyspace} had the tables of this version already"),
    }
    Ok(())
}

#[tokio::main]
async fn serve(given: Given) -> anyhow::Result<()> {
    let config = Config::try_from(given.settings()?)?;
    let filter = EnvFilter::try_new(&config.log).map_err(|error| {
        BadConfig(format!("log is \"{}\", which is no filter ({error}): give one such as info.", config.log))
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    // Taken before anything is announced: a signal that comes early must not kill what has begun.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        BadConfig(format!("listen is {}, where this cannot listen ({error}): give a free address.", config.listen))
    })?;
    tracing::info!(listen = %listener.local_addr()?, ?config, "serving");
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    playhead_origin::run(config, listener, shutdown).await
}
