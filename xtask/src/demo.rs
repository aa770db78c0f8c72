//! The server of the demo page: its files, its settings, and tokens as a platform's own login would give them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tower_http::services::{ServeDir, ServeFile};

use crate::repo::root;
use crate::token::{self, Device};

/// Arguments of `cargo xtask demo`.
#[derive(Args)]
pub(crate) struct Options {
    /// Where to listen; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The edge's URL, without a slash at its end; it has to allow the page's origin
    #[arg(long)]
    edge: String,
}

/// `cargo xtask demo`: the page alone, for an edge that runs already. Prints where it is.
pub(crate) fn serve(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime could not be started")?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", options.listen))?;
        println!("http://{}/demo/", listener.local_addr()?);
        run(listener, options.edge.clone()).await
    })
}

/// Serves the page on `listener` for an edge at `edge`, until it is dropped.
pub(crate) async fn run(listener: TcpListener, edge: String) -> Result<()> {
    let pages = ServeDir::new(player().join("demo"));
    let router = Router::new()
        .route("/", get(to_the_page))
        // Without the slash, what the page names beside itself would be looked for at the root.
        .route("/demo", get(to_the_page))
        .route("/demo/config.json", get(config))
        .route("/demo/token", get(token))
        .route_service("/playhead.js", ServeFile::new(player().join("playhead.js")))
        .nest_service("/demo/", pages)
        .with_state(edge);
    axum::serve(listener, router).await.context("the server of the demo page has ended")
}

async fn to_the_page() -> Redirect {
    Redirect::temporary("/demo/")
}

fn player() -> PathBuf {
    root().join("edge/player")
}

/// What the page has to know of where it runs, and its own `config.json` (accounts, profiles, devices) if it has one.
async fn config(State(edge): State<String>) -> Response {
    let mut config = match std::fs::read(player().join("demo/config.json")) {
        Ok(bytes) => match serde_json::from_slice::<Map<String, Value>>(&bytes) {
            Ok(config) => config,
            Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        },
        Err(_) => Map::new(),
    };
    config.insert("edge".to_owned(), json!(edge));
    config.insert("films".to_owned(), json!("/demo/films/"));
    ([(CACHE_CONTROL, "no-store")], Json(config)).into_response()
}

async fn token(Query(device): Query<Device>) -> Response {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match token::sign(&device, now.as_secs()) {
        Ok(token) => ([(CACHE_CONTROL, "no-store")], token).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
