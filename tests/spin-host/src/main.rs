//! A small host for the Spin component of the Playhead edge.
//!
//! It runs the same component that Spin does, unmodified, where Spin is not installed: in the tests, and for
//! `cargo xtask dev --edge spin`. It gives what `spin.toml` grants (one SQLite database, variables, requests
//! to the origin) and reuses instances as Spin does, and nothing more.

mod bindings;
mod component;
mod http;
mod outbound;
mod pool;
mod sqlite;
mod variables;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a Spin component. Prints `listening on http://ADDRESS` once requests can come; SIGTERM stops it.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The component, as `cargo build --target wasm32-wasip2` leaves it.
    #[arg(long, value_name = "FILE")]
    component: PathBuf,
    /// Where to listen; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// The folder of the SQLite database `default`; made if it is not there.
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// A variable of the component; repeatable.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variables::parse)]
    variables: Vec<(String, String)>,
    /// An origin that the component may send requests to; repeatable. All others are refused.
    #[arg(long = "allow-origin", value_name = "http://HOST:PORT")]
    allowed: Vec<outbound::Origin>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match start(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Wasmtime's reasons run over several lines.
            let reason = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Binds everything, says so, and serves until a signal says stop.
async fn start(args: Args) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let grants = component::Grants {
        pool: pool::Pool::open(&args.state_dir)?,
        variables: Arc::new(args.variables.into_iter().collect()),
        allowed: args.allowed.into(),
    };
    let component = component::Loaded::from_file(&args.component, grants)?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("listening on http://{}", listener.local_addr()?);
    http::run(listener, component, stop).await
}
